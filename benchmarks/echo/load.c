/* Load generator for WebSocket servers on this machine: one thread, one epoll.
 *
 * In: a mode and options (see usage). Out: one line of JSON on stdout, or a
 * message on stderr and exit status 1 when the server breaks the protocol,
 * returns other bytes than it was sent, or stops answering. */
#define _GNU_SOURCE
#include "connection.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    TAG = 8,            /* bytes at the front of each message that tell it apart */
    MAX_CONNECTIONS = 32768, /* what the tag can number */
    OPENING_AT_ONCE = 64,    /* below any server's listen backlog */
    EVENTS = 512,
    MAX_PAYLOAD = 1 << 16
};
static const double STALL_SECONDS = 10, FINISH_SECONDS = 3, JOIN_SECONDS = 0.5;

struct options {
    unsigned connections, in_flight;
    size_t size;
    enum opcode opcode;
    double seconds, warmup;
    pid_t server; /* 0: not told */
};

static struct options options = {50, 1, 64, TEXT, 2, 0.5, 0};
static struct target target = {-1, 0, "/", 1, NULL};
static struct connection *connections;
static char *pattern;       /* the payload that all messages share, after the tag */
static const char *payload_path; /* NULL: messages are made here */
static char *first_reply;   /* with --payload: what all replies must be alike */
static size_t first_length;
static bool first_compressed;
static unsigned *remaining; /* fanout: receivers that still miss message [n % in_flight] */
static unsigned started, opened, closed;
static uint64_t count;      /* what the mode measures: echoes, deliveries, cycles */
static bool stop_on_stdin, stdin_ended;

/* The loop */

/* Handle events until `done` says so. Dies when nothing was counted, opened or
 * closed for STALL_SECONDS, unless we only hold idle connections. */
static void run(const struct handler *handler, bool (*done)(void))
{
    struct epoll_event events[EVENTS];
    double progress_at = now_seconds();
    uint64_t progress = 0;
    while (!done()) {
        int n = epoll_wait(target.epoll, events, EVENTS, 100);
        if (n < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                stdin_ended = true;
            else if (c->state != CLOSED)
                connection_event(c, &target, handler, events[i].events);
        }
        if (remaining)
            connection_flush(&connections[0], &target);
        if (progress != count + opened + closed || stop_on_stdin) {
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
static bool input_ended(void) { return stdin_ended; }
static bool all_closed(void) { return closed == opened || time_is_up(); }

/* Processor time used so far by a process; 0 stands for this one. */
static double cpu_seconds(pid_t process)
{
    struct timespec used;
    clockid_t clock;
    if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &used) < 0)
        die("there is no process %d", (int)process);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Warm up, then count for the time asked, and print the line. */
static void measure(const char *mode, const struct handler *handler)
{
    deadline = now_seconds() + options.warmup;
    run(handler, time_is_up);
    uint64_t before = count;
    double cpu = cpu_seconds(0), server_cpu = cpu_seconds(options.server);
    double start = now_seconds();
    deadline = start + options.seconds;
    run(handler, time_is_up);
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
    if (first_reply) {
        printf(", \"compressed\": %d, \"reply\": \"", first_compressed);
        for (size_t i = 0; i < first_length; i++)
            printf("%02x", (unsigned char)first_reply[i]);
        printf("\"");
    }
    printf("}\n");
    fflush(stdout);
}

/* Opening and closing all connections */

static void start_next(void)
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

static void unexpected_message(struct connection *c, enum opcode opcode,
                               const char *payload, size_t length)
{
    (void)payload;
    die("connection %u got an unexpected message (opcode %d, %zu bytes)", c->id, opcode,
        length);
}

static void open_all(void)
{
    static const struct handler handler = {opened_one, unexpected_message, NULL};
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

/* Leave politely, so that the next round does not pay for this one's resets. A
 * server that is slow to close is not waited for: that is what `connect` measures. */
static void close_all(void)
{
    static const struct handler handler = {NULL, late_message, closed_one};
    free(remaining);
    remaining = NULL;
    stop_on_stdin = false;
    for (unsigned i = 0; i < options.connections; i++) {
        connection_queue_close(&connections[i]);
        connection_flush(&connections[i], &target);
    }
    deadline = now_seconds() + FINISH_SECONDS;
    run(&handler, all_closed);
}

/* Messages: a tag of connection (15 bits) and sequence number (25 bits), five bits a
 * character so that it is text, then the pattern. A message that went to the wrong
 * connection, came twice, or overtook another has the wrong tag. */

static void make_tag(char *tag, unsigned id, uint64_t sequence)
{
    uint64_t bits = (uint64_t)id << 25 | (sequence & 0x1ffffff);
    for (int i = 0; i < TAG; i++)
        tag[i] = (char)('@' + (bits >> (5 * i) & 31));
}

static void queue_message(struct connection *c)
{
    if (payload_path) {
        c->sent++;
        connection_queue(c, options.opcode | RSV1, pattern, options.size);
        return;
    }
    make_tag(pattern, c->id, c->sent++);
    connection_queue(c, options.opcode, pattern, options.size);
}

/* A server compresses the same message alike each time, when it keeps nothing of those
 * before. Whether the first reply is right is for the caller to say: it is printed. */
static void check_reply(const struct connection *c, const char *payload, size_t length)
{
    if (!first_reply) {
        first_reply = malloc(length);
        if (!first_reply)
            die("out of memory");
        memcpy(first_reply, payload, length);
        first_length = length;
        first_compressed = c->compressed;
    }
    if (c->compressed != first_compressed || length != first_length ||
        memcmp(payload, first_reply, length) != 0)
        die("connection %u got a message unlike the first", c->id);
}

static void check_message(struct connection *c, unsigned sender, enum opcode opcode,
                          const char *payload, size_t length)
{
    if (payload_path) {
        c->received++;
        check_reply(c, payload, length);
        return;
    }
    char tag[TAG];
    make_tag(tag, sender, c->received++);
    if (opcode != options.opcode || length != options.size)
        die("connection %u got opcode %d with %zu bytes", c->id, opcode, length);
    if (memcmp(payload, tag, TAG) != 0)
        die("connection %u got a message that is not its next one", c->id);
    if (memcmp(payload + TAG, pattern + TAG, length - TAG) != 0)
        die("connection %u got a message with other bytes than were sent", c->id);
}

/* Modes */

static void echoed(struct connection *c, enum opcode opcode, const char *payload,
                   size_t length)
{
    check_message(c, c->id, opcode, payload, length);
    count++;
    queue_message(c);
}

static void echo(void)
{
    static const struct handler handler = {NULL, echoed, NULL};
    open_all();
    for (unsigned i = 0; i < options.connections; i++) {
        for (unsigned k = 0; k < options.in_flight; k++)
            queue_message(&connections[i]);
        connection_flush(&connections[i], &target);
    }
    measure("echo", &handler);
    for (unsigned i = 0; i < options.connections; i++)
        if (connections[i].received == 0)
            die("connection %u never got an answer, while others did", i);
    close_all();
}

static void publish(void)
{
    remaining[connections[0].sent % options.in_flight] = options.connections;
    queue_message(&connections[0]);
}

static void delivered(struct connection *c, enum opcode opcode, const char *payload,
                      size_t length)
{
    unsigned *missing = &remaining[c->received % options.in_flight];
    check_message(c, 0, opcode, payload, length);
    count++;
    if (--*missing == 0)
        publish();
}

/* Connection 0 publishes; all of them, itself too, get each message. The next one is
 * published when all have one of the `in_flight` outstanding messages. */
static void fanout(void)
{
    static const struct handler handler = {NULL, delivered, NULL};
    open_all();
    /* A server that answered the handshake may not have listed the connection yet. */
    deadline = now_seconds() + JOIN_SECONDS;
    run(&handler, time_is_up);
    remaining = calloc(options.in_flight, sizeof *remaining);
    if (!remaining)
        die("out of memory");
    for (unsigned k = 0; k < options.in_flight; k++)
        publish();
    connection_flush(&connections[0], &target);
    measure("fanout", &handler);
    close_all();
}

static void begin_close(struct connection *c)
{
    opened++;
    connection_queue_close(c);
}

static void reopen(struct connection *c)
{
    closed++;
    count++;
    c->id = started++;
    connection_start(c, &target);
}

/* Open, upgrade, close frame both ways, and wait for the end of the TCP connection,
 * which "in most normal cases, SHOULD be closed first by the server, so that it holds
 * the TIME_WAIT state and not the client" (7.1.1). */
static void connect_and_close(void)
{
    static const struct handler handler = {begin_close, unexpected_message, reopen};
    while (started < options.connections)
        start_next();
    measure("connect", &handler);
}

static void idle(void)
{
    static const struct handler handler = {NULL, unexpected_message, NULL};
    open_all();
    printf("{\"mode\": \"idle\", \"connections\": %u}\n", opened);
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(target.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        die("stdin must be a pipe or a terminal");
    stop_on_stdin = true;
    run(&handler, input_ended);
    epoll_ctl(target.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    close_all();
}

/* Command line */

static void usage(void)
{
    fputs("usage: load echo|fanout|connect|idle --port PORT [--path PATH]\n"
          "            [--connections N] [--in-flight N] [--size BYTES] [--binary]\n"
          "            [--seconds S] [--warmup S] [--sources N] [--server-pid PID]\n"
          "            [--offer EXTENSION] [--payload FILE]\n"
          "echo     N connections, each with so many messages outstanding\n"
          "fanout   connection 0 publishes, all get each message; counts deliveries\n"
          "connect  N at a time: open, upgrade, close; counts whole cycles\n"
          "idle     opens N and holds them until stdin ends or has something to read\n"
          "--offer EXTENSION asks for permessage-deflate; the server must take it\n"
          "--payload FILE has the message, compressed, instead of --size\n"
          "--sources N connects from N addresses, 127.0.0.2 and up\n"
          "--server-pid tells whose processor time to report as server_cpu\n",
          stderr);
    exit(2);
}

static double number(const char *text, double low, double high)
{
    char *end;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(value >= low && value <= high))
        die("%s is not a number from %g to %g", text, low, high);
    return value;
}

static void set_option(int option, const char *value)
{
    switch (option) {
    case 'p': target.port = (uint16_t)number(value, 1, 65535); break;
    case 'a': target.path = value; break;
    case 'e': target.offer = value; break;
    case 'f': payload_path = value; break;
    case 'o': target.sources = (unsigned)number(value, 1, 200); break;
    case 'c': options.connections = (unsigned)number(value, 1, MAX_CONNECTIONS); break;
    case 'k': options.in_flight = (unsigned)number(value, 1, 4096); break;
    case 'n': options.size = (size_t)number(value, TAG, 1 << 24); break;
    case 'b': options.opcode = BINARY; break;
    case 's': options.seconds = number(value, 0.01, 600); break;
    case 'P': options.server = (pid_t)number(value, 1, 1 << 30); break;
    case 'w': options.warmup = number(value, 0, 60); break;
    default: usage();
    }
}

static void read_payload(void)
{
    FILE *file = fopen(payload_path, "rb");
    if (!file)
        die("%s: %s", payload_path, strerror(errno));
    pattern = malloc(MAX_PAYLOAD);
    if (pattern)
        options.size = fread(pattern, 1, MAX_PAYLOAD, file);
    if (!pattern || options.size == 0 || options.size == MAX_PAYLOAD)
        die("%s cannot be read, or is too long", payload_path);
    fclose(file);
}

static void prepare(void)
{
    connections = calloc(options.connections, sizeof *connections);
    target.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || target.epoll < 0)
        die("cannot start: %s", strerror(errno));
    if (payload_path) {
        read_payload();
        return;
    }
    pattern = malloc(options.size);
    if (!pattern)
        die("out of memory");
    for (size_t i = 0; i < options.size; i++)
        pattern[i] = (char)('a' + i % 26);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},    {"path", 1, 0, 'a'},      {"connections", 1, 0, 'c'},
        {"seconds", 1, 0, 's'}, {"in-flight", 1, 0, 'k'}, {"size", 1, 0, 'n'},
        {"binary", 0, 0, 'b'},  {"warmup", 1, 0, 'w'},    {"sources", 1, 0, 'o'},
        {"server-pid", 1, 0, 'P'}, {"offer", 1, 0, 'e'}, {"payload", 1, 0, 'f'},
        {0, 0, 0, 0}};
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"echo", echo}, {"fanout", fanout}, {"connect", connect_and_close},
                 {"idle", idle}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        set_option(option, optarg);
    if (optind != argc - 1 || target.port == 0)
        usage();
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[optind], modes[i].name) == 0) {
            prepare();
            modes[i].run();
            return 0;
        }
    }
    usage();
}
