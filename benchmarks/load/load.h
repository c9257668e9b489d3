/* What the parts of the load generator share: its options, its connections, the loop
 * that serves them, and the messages that they send and check. */
#ifndef LOAD_H
#define LOAD_H

#include "connection.h"

#include <sys/types.h>

enum {
    TAG = 8,                 /* bytes at the front of each message that tell it apart */
    MAX_CONNECTIONS = 32768  /* what the tag can number */
};

struct options {
    unsigned connections, in_flight;
    size_t size;
    enum opcode opcode;
    double seconds, warmup;
    double rate;         /* latency: messages a second, of all connections together */
    pid_t server;        /* whose processor time is told; 0: nobody's */
    const char *payload; /* a file with the message, compressed; NULL: made here */
};

extern struct options options;
extern struct target target;
extern struct connection *connections;
extern unsigned started, opened, closed;
extern uint64_t count; /* what the mode measures: echoes, deliveries, cycles */

/* run.c: the loop. */

/* Wait so many seconds at most, and handle what has happened. */
void step(const struct handler *, double seconds);
/* Handle events until `done` says so. Dies when nothing was counted, opened or closed
 * for a while. */
void run(const struct handler *, bool (*done)(void));
/* The same until a time. */
void run_until(const struct handler *, double deadline);
/* Hold the connections, whatever they do, until stdin has ended or can be read. */
void run_until_input(const struct handler *);
/* Warm up, then count for the time asked, and print the line. */
void measure(const char *mode, const struct handler *);
void start_next(void);
void open_all(void);
/* Leave politely, so that the next round does not pay for this one's resets. */
void close_all(void);
void unexpected_message(struct connection *, enum opcode, const char *, size_t);

/* messages.c */

void prepare_messages(void);
/* Queue the connection's next message; connection_flush or the next event writes it. */
void queue_message(struct connection *);
/* Die unless this is the next message of `sender`, which `c` must get. */
void check_message(struct connection *c, unsigned sender, enum opcode, const char *,
                   size_t);
/* With options.payload: write what all replies were alike, as a part of a JSON object. */
void print_reply(void);

/* modes.c and latency.c: each takes one figure, and prints it. */

void echo(void);
void fanout(void);
void connect_and_close(void);
void idle(void);
void latency(void);

#endif
