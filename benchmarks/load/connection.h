/* One WebSocket client connection of the load generator: bytes from an epoll
 * loop in, whole messages out through a callback; frames in, masked bytes out.
 *
 * Whatever breaks RFC 6455 on the server's side ends the process through die():
 * a figure measured against a server that misbehaves is worth nothing. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include "buffer.h"
#include "program.h"
#include "tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opcode { CONT = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* Beside an opcode, for connection_queue: the payload is compressed (RFC 7692). */
enum { RSV1 = 0x40 };

enum state { CLOSED, CONNECTING, HANDSHAKE, OPEN, CLOSING };

struct connection {
    int fd;
    enum state state;
    bool waits_for_write; /* EPOLLOUT is being watched */
    bool close_received;
    bool deflates;   /* permessage-deflate was offered, and the server must take it */
    bool compressed; /* RSV1 of the message at hand */
    unsigned id;
    struct ssl_st *tls; /* NULL: plain TCP */
    struct buffer in, out;
    uint64_t sent, received; /* data messages; used as sequence numbers */
};

/* Where and how to connect, the same for all connections of a run. */
struct target {
    int epoll;
    uint16_t port;
    const char *path;
    unsigned sources; /* how many 127.0.0.x addresses to connect from */
    const char *offer; /* the extension to ask for, or NULL */
    struct ssl_ctx_st *tls; /* NULL: plain TCP */
};

/* What a mode does with events; all but on_message may be NULL. The end of a connection
 * is an error unless on_closed is there and we began to close. */
struct handler {
    void (*on_open)(struct connection *);
    void (*on_message)(struct connection *, enum opcode, const char *, size_t);
    void (*on_closed)(struct connection *);
    void (*after)(void); /* run.c calls it after each round of events */
};

/* Start a TCP connection and its opening handshake (section 4.1). */
void connection_start(struct connection *, const struct target *);
/* Queue one masked frame; connection_flush or the next event writes it. */
void connection_queue(struct connection *, unsigned opcode, const char *payload,
                      size_t length);
void connection_flush(struct connection *, const struct target *);
/* Wait so many seconds at most, and handle what happens to connections. Returns whether
 * a descriptor is ready that was added to the epoll set with a NULL pointer. */
bool connections_step(const struct target *, const struct handler *, double seconds);
/* Start the closing handshake: queue a close frame with 1000 (section 7.1.2). */
void connection_queue_close(struct connection *);

#endif
