/* What the load generator counts: echoes, deliveries, opened connections; or nothing,
 * while it holds them. See load.h. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>

static const double JOIN_SECONDS = 0.5, STARVED_SECONDS = 10;

/* Echoes */

static void echoed(struct connection *c, enum opcode opcode, const char *payload,
                   size_t length)
{
    check_message(c, c->id, opcode, payload, length);
    count++;
    queue_message(c);
}

static double starved_at;

static bool all_answered(void)
{
    for (unsigned i = 0; i < options.connections; i++) {
        if (connections[i].received > 0)
            continue;
        if (now_seconds() > starved_at)
            die("connection %u never got an answer, while others did", i);
        return false;
    }
    return true;
}

void echo(void)
{
    static const struct handler handler = {.on_message = echoed};
    open_all();
    for (unsigned i = 0; i < options.connections; i++) {
        for (unsigned k = 0; k < options.in_flight; k++)
            queue_message(&connections[i]);
        connection_flush(&connections[i], &target);
    }
    measure("echo", &handler);
    starved_at = now_seconds() + STARVED_SECONDS;
    run(&handler, all_answered);
    close_all();
}

/* Fan-out: connection 0 publishes; all of them, itself too, get each message. The next
 * one is published when all have one of the `in_flight` outstanding messages. */

static unsigned *missing; /* receivers that still miss message [n % in_flight] */

static void publish(void)
{
    missing[connections[0].sent % options.in_flight] = options.connections;
    queue_message(&connections[0]);
}

static void delivered(struct connection *c, enum opcode opcode, const char *payload,
                      size_t length)
{
    unsigned *miss_this = &missing[c->received % options.in_flight];
    check_message(c, 0, opcode, payload, length);
    count++;
    if (--*miss_this == 0)
        publish();
}

static void flush_publisher(void) { connection_flush(&connections[0], &target); }

void fanout(void)
{
    static const struct handler waiting = {.on_message = unexpected_message};
    static const struct handler handler = {.on_message = delivered,
                                           .after = flush_publisher};
    open_all();
    /* A server that answered the handshake may not have listed the connection yet. */
    run_until(&waiting, now_seconds() + JOIN_SECONDS);
    missing = calloc(options.in_flight, sizeof *missing);
    if (!missing)
        die("out of memory");
    for (unsigned k = 0; k < options.in_flight; k++)
        publish();
    flush_publisher();
    measure("fanout", &handler);
    close_all();
}

/* Open, upgrade, close frame both ways, and wait for the end of the TCP connection,
 * which "in most normal cases, SHOULD be closed first by the server, so that it holds
 * the TIME_WAIT state and not the client" (7.1.1). */

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

void connect_and_close(void)
{
    static const struct handler handler = {
        .on_open = begin_close, .on_message = unexpected_message, .on_closed = reopen};
    while (started < options.connections)
        start_next();
    measure("connect", &handler);
}

/* Silence */

void idle(void)
{
    static const struct handler handler = {.on_message = unexpected_message};
    open_all();
    printf("{\"mode\": \"idle\", \"connections\": %u}\n", opened);
    fflush(stdout);
    run_until_input(&handler);
    close_all();
}
