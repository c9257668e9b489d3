/* Echoes at a fixed rate, and how long each took from when it was due.
 *
 * Message n is due n / rate seconds after the beginning, on connection n % connections,
 * whatever has become of those before it: whoever is late with one is late with all
 * behind it, and that counts ("coordinated omission" is what it is called where it does
 * not). Nothing need be remembered: a connection's kth message is number
 * k * connections + id of all. */
#define _GNU_SOURCE
#include "histogram.h"
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/prctl.h>

/* A server holds the rate if what is under way at the end is no more than this. */
static const double HELD_SECONDS = 0.25;
static const double DRAIN_SECONDS = 3, LONGEST_WAIT = 0.1;

static struct histogram taken, late; /* echoes; how late we were ourselves */
static uint64_t begun, from, to;     /* of what is due in between the time is told */
static uint64_t n_sent, n_answered;
static double interval; /* nanoseconds */

static uint64_t due(uint64_t n) { return begun + (uint64_t)((double)n * interval); }

static bool counts(uint64_t time) { return time >= from && time < to; }

static void answered(struct connection *c, enum opcode opcode, const char *payload,
                     size_t length)
{
    uint64_t was_due = due(c->received * options.connections + c->id);
    check_message(c, c->id, opcode, payload, length);
    n_answered++;
    if (counts(was_due))
        histogram_note(&taken, (now_ns() - was_due) / 1000);
}

static const struct handler handler = {.on_message = answered};

/* Send what is due, but no more than one on each connection: then it is time to read. */
static void send_due(void)
{
    for (unsigned i = 0; i < options.connections; i++) {
        uint64_t next = due(n_sent), now = now_ns();
        if (next > now)
            return;
        struct connection *c = &connections[n_sent++ % options.connections];
        queue_message(c);
        connection_flush(c, &target);
        if (counts(next))
            histogram_note(&late, (now - next) / 1000);
    }
}

static void go_on(uint64_t until)
{
    for (uint64_t now = now_ns(); now < until; now = now_ns()) {
        send_due();
        uint64_t next = due(n_sent) < until ? due(n_sent) : until;
        now = now_ns();
        step(&handler, next > now ? (double)(next - now) / 1e9 : 0);
    }
}

/* Wait for what is still under way. */
static void drain(void)
{
    double due_by_now = options.rate * (double)(to - begun) / 1e9;
    double behind = due_by_now - (double)n_answered;
    uint64_t last = now_ns() + ns(DRAIN_SECONDS);
    while (n_answered < n_sent && now_ns() < last)
        step(&handler, LONGEST_WAIT);
    if (behind > options.rate * HELD_SECONDS || n_answered < n_sent)
        die("it does not hold %.0f messages a second: it was %.0f behind at the end",
            options.rate, behind);
}

void latency(void)
{
    open_all();
    prctl(PR_SET_TIMERSLACK, 1); /* ns; else each wait is 50 us too long */
    interval = 1e9 / options.rate;
    begun = now_ns();
    from = begun + ns(options.warmup);
    to = from + ns(options.seconds);
    go_on(from);
    double cpu = cpu_seconds(0), server_cpu = cpu_seconds(options.server);
    go_on(to);
    cpu = (cpu_seconds(0) - cpu) / options.seconds;
    server_cpu = (cpu_seconds(options.server) - server_cpu) / options.seconds;
    drain();
    printf("{\"mode\": \"latency\", \"count\": %" PRIu64 ", \"p50\": %.3f, "
           "\"p90\": %.3f, \"p99\": %.3f, \"p99.9\": %.3f, \"longest\": %.3f, "
           "\"late\": %.3f, \"cpu\": %.3f, \"server_cpu\": %.3f}\n",
           taken.count, histogram_percentile(&taken, 0.5),
           histogram_percentile(&taken, 0.9), histogram_percentile(&taken, 0.99),
           histogram_percentile(&taken, 0.999), (double)taken.longest / 1e3,
           histogram_percentile(&late, 0.99), cpu, server_cpu);
    fflush(stdout);
    close_all();
}
