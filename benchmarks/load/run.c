/* The loop of the load generator; see load.h. */
#include "load.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { OPENING_AT_ONCE = 64 }; /* below any server's listen backlog */
static const double WAIT_SECONDS = 0.1, STALL_SECONDS = 10, FINISH_SECONDS = 3;

unsigned started, opened, closed;
uint64_t count;
static bool stdin_is_ready;

void step(const struct handler *handler, double seconds)
{
    if (connections_step(&target, handler, seconds))
        stdin_is_ready = true;
    if (handler->after)
        handler->after();
}

void run(const struct handler *handler, bool (*done)(void))
{
    double progress_at = now_seconds();
    uint64_t progress = 0;
    while (!done()) {
        step(handler, WAIT_SECONDS);
        if (progress != count + opened + closed) {
            progress = count + opened + closed;
            progress_at = now_seconds();
        } else if (now_seconds() - progress_at > STALL_SECONDS) {
            die("the server stopped answering (%u of %u connections opened, %llu counted)",
                opened, started, (unsigned long long)count);
        }
    }
}

static double deadline;

static bool time_is_up(void) { return now_seconds() >= deadline; }
static bool all_opened(void) { return opened == options.connections; }
static bool all_closed(void) { return closed == opened || time_is_up(); }

void run_until(const struct handler *handler, double until)
{
    deadline = until;
    run(handler, time_is_up);
}

void run_until_input(const struct handler *handler)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(target.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        die("stdin must be a pipe or a terminal");
    while (!stdin_is_ready)
        step(handler, WAIT_SECONDS);
    epoll_ctl(target.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

void measure(const char *mode, const struct handler *handler)
{
    run_until(handler, now_seconds() + options.warmup);
    uint64_t before = count;
    double cpu = cpu_seconds(0), server_cpu = cpu_seconds(options.server);
    double start = now_seconds();
    run_until(handler, start + options.seconds);
    double seconds = now_seconds() - start;
    cpu = (cpu_seconds(0) - cpu) / seconds;
    server_cpu = (cpu_seconds(options.server) - server_cpu) / seconds;
    if (count == before)
        die("nothing was counted in %.1f seconds", seconds);
    printf("{\"mode\": \"%s\", \"connections\": %u, \"in_flight\": %u, \"size\": %zu, "
           "\"seconds\": %.3f, \"count\": %llu, \"per_second\": %.1f, \"cpu\": %.3f",
           mode, options.connections, options.in_flight, options.size, seconds,
           (unsigned long long)(count - before), (double)(count - before) / seconds, cpu);
    if (options.server)
        printf(", \"server_cpu\": %.3f", server_cpu);
    print_reply();
    printf("}\n");
    fflush(stdout);
}

/* Opening and closing all connections */

void start_next(void)
{
    struct connection *c = &connections[started];
    c->id = started++;
    connection_start(c, &target);
}

static void opened_one(struct connection *c)
{
    (void)c;
    opened++;
    if (started < options.connections)
        start_next();
}

void unexpected_message(struct connection *c, enum opcode opcode, const char *payload,
                        size_t length)
{
    (void)payload;
    die("connection %u got an unexpected message (opcode %d, %zu bytes)", c->id, opcode,
        length);
}

void open_all(void)
{
    static const struct handler handler = {.on_open = opened_one,
                                           .on_message = unexpected_message};
    while (started < options.connections && started < OPENING_AT_ONCE)
        start_next();
    run(&handler, all_opened);
}

static void late_message(struct connection *c, enum opcode opcode, const char *payload,
                         size_t length)
{
    (void)c, (void)opcode, (void)payload, (void)length;
}

static void closed_one(struct connection *c)
{
    (void)c;
    closed++;
}

/* A server that is slow to close is not waited for: that is what `connect` measures. */
void close_all(void)
{
    static const struct handler handler = {.on_message = late_message,
                                           .on_closed = closed_one};
    for (unsigned i = 0; i < options.connections; i++) {
        connection_queue_close(&connections[i]);
        connection_flush(&connections[i], &target);
    }
    deadline = now_seconds() + FINISH_SECONDS;
    run(&handler, all_closed);
}
