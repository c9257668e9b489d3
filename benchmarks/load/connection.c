/* See connection.h. */
#define _GNU_SOURCE
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The key of the example in section 1.3 and what the server must answer: with a
 * constant the load generator checks the handshake without SHA-1. */
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/* Not zero, so that no server can skip unmasking, and not four equal bytes. */
static const unsigned char MASK[4] = {0x37, 0xfa, 0x21, 0x3d};

enum {
    EVENTS = 512,
    READ_AT_LEAST = 2048,
    MAX_FRAME = 1 << 26,
    MAX_RESPONSE = 1 << 16
};

/* Opening */

static int open_socket(const struct connection *c, const struct target *target)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (target->sources > 1) {
        /* Each source address has its own ephemeral ports, so connections in
         * TIME_WAIT cannot use them all up. The port is chosen at connect(2). */
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(0x7f000001u + 1 + c->id % target->sources);
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
            die("bind to a source address: %s", strerror(errno));
    }
    return fd;
}

static void queue_request(struct connection *c, const struct target *target)
{
    char request[1024];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\n"
                          "Host: 127.0.0.1:%u\r\n"
                          "Upgrade: websocket\r\n"
                          "Connection: Upgrade\r\n"
                          "Sec-WebSocket-Key: %s\r\n"
                          "Sec-WebSocket-Version: 13\r\n"
                          "%s%s%s\r\n",
                          target->path, target->port, KEY,
                          target->offer ? "Sec-WebSocket-Extensions: " : "",
                          target->offer ? target->offer : "",
                          target->offer ? "\r\n" : "");
    if (length < 0 || (size_t)length >= sizeof request)
        die("the path is too long");
    buffer_append(&c->out, request, (size_t)length);
}

void connection_start(struct connection *c, const struct target *target)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(target->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = open_socket(c, target);
    c->state = CONNECTING;
    c->close_received = false;
    c->deflates = target->offer != NULL;
    c->sent = c->received = 0;
    c->in.start = c->in.end = c->out.start = c->out.end = 0;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    c->waits_for_write = true; /* a finished connect(2) makes it writable */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(target->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
    c->tls = target->tls ? tls_start(target->tls, c->fd) : NULL;
    queue_request(c, target);
}

/* "If the response lacks a |Sec-WebSocket-Accept| header field or [its value] is
 * other than [expected], the client MUST _Fail the WebSocket Connection_" (4.1). */
static bool read_response(struct connection *c)
{
    char *text = c->in.data + c->in.start;
    size_t length = c->in.end - c->in.start;
    char *end = memmem(text, length, "\r\n\r\n", 4);
    if (!end) {
        if (length > MAX_RESPONSE)
            die("the response to the handshake does not end");
        return false;
    }
    *end = '\0';
    if (strncmp(text, "HTTP/1.1 101", 12) != 0)
        die("the handshake was refused: %.60s", text);
    if (!strstr(text, ACCEPT))
        die("Sec-WebSocket-Accept is missing or wrong");
    const char *agreed = strcasestr(text, "\r\nSec-WebSocket-Extensions:");
    if (agreed && !c->deflates)
        die("the server negotiated an extension that was not offered");
    if (c->deflates && (!agreed || !strstr(agreed, "permessage-deflate") ||
                        !strstr(agreed, "server_no_context_takeover")))
        die("the server did not agree to compress each message for itself");
    c->in.start += (size_t)(end + 4 - text);
    return true;
}

/* Frames */

void connection_queue(struct connection *c, unsigned opcode, const char *payload,
                      size_t length)
{
    buffer_reserve(&c->out, length + 14);
    unsigned char *p = (unsigned char *)c->out.data + c->out.end;
    *p++ = (unsigned char)(0x80 | opcode);
    if (length < 126) {
        *p++ = (unsigned char)(0x80 | length);
    } else if (length < 65536) {
        *p++ = 0x80 | 126;
        *p++ = (unsigned char)(length >> 8);
        *p++ = (unsigned char)length;
    } else {
        *p++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            *p++ = (unsigned char)((uint64_t)length >> shift);
    }
    memcpy(p, MASK, 4);
    p += 4;
    uint64_t mask, word;
    memcpy(&mask, MASK, 4);
    memcpy((char *)&mask + 4, MASK, 4);
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, payload + i, 8);
        word ^= mask;
        memcpy(p + i, &word, 8);
    }
    for (; i < length; i++)
        p[i] = (unsigned char)payload[i] ^ MASK[i % 4];
    c->out.end = (size_t)((char *)p + length - c->out.data);
}

void connection_queue_close(struct connection *c)
{
    connection_queue(c, CLOSE, "\x03\xe8", 2);
    c->state = CLOSING;
}

/* Read the header at the front of the input. Returns the header's size, or 0 when
 * more bytes are needed. */
static size_t read_header(const struct connection *c, enum opcode *opcode,
                          uint64_t *length)
{
    const unsigned char *p = (const unsigned char *)c->in.data + c->in.start;
    size_t available = c->in.end - c->in.start;
    if (available < 2)
        return 0;
    /* "A server MUST NOT mask any frames that it sends to the client" (5.1). */
    if (p[1] & 0x80)
        die("the server sent a masked frame");
    /* Of the extension that was offered, RSV1 marks what is compressed. */
    if (p[0] & (c->deflates && !(p[0] & 0x08) ? 0x30 : 0x70))
        die("the server set a reserved bit");
    /* Fragments would be legal; no server of this benchmark makes any. */
    if (!(p[0] & 0x80))
        die("the server sent a fragmented message");
    *opcode = p[0] & 0x0f;
    *length = p[1];
    size_t extended = p[1] < 126 ? 0 : p[1] == 126 ? 2 : 8;
    if (available < 2 + extended)
        return 0;
    if (extended) {
        *length = 0;
        for (size_t i = 0; i < extended; i++)
            *length = *length << 8 | p[2 + i];
        /* "the minimal number of bytes MUST be used to encode the length" (5.2). */
        if (*length < (extended == 2 ? 126u : 65536u))
            die("the server did not use the shortest length");
    }
    if (*length > MAX_FRAME)
        die("the server announced a frame of %llu bytes", (unsigned long long)*length);
    return 2 + extended;
}

static void control_frame(struct connection *c, const struct handler *handler,
                          enum opcode opcode, const char *payload, size_t length)
{
    if (length > 125)
        die("the server sent a control frame of %zu bytes", length);
    if (opcode == PING) {
        if (c->state == OPEN)
            connection_queue(c, PONG, payload, length);
    } else if (opcode == CLOSE) {
        int code = length < 2 ? 1005
                              : (unsigned char)payload[0] << 8 | (unsigned char)payload[1];
        if (!handler->on_closed || c->state != CLOSING)
            die("the server closed connection %u with %d", c->id, code);
        if (code != 1000 && code != 1005)
            die("the server answered a close frame with %d", code);
        c->close_received = true;
    } else if (opcode != PONG) {
        die("the server sent opcode %d", opcode);
    }
}

/* Hand each whole frame of the input to the handler. "After receiving a control frame
 * indicating the connection should be closed, a peer discards any further data
 * received" (1.4). */
static void read_frames(struct connection *c, const struct handler *handler)
{
    enum opcode opcode;
    uint64_t length;
    size_t header;
    while (!c->close_received && (header = read_header(c, &opcode, &length)) > 0) {
        if (c->in.end - c->in.start - header < length) {
            buffer_reserve(&c->in, header + length - (c->in.end - c->in.start));
            return;
        }
        const char *payload = c->in.data + c->in.start + header;
        c->compressed = c->in.data[c->in.start] & RSV1;
        c->in.start += header + length;
        if (opcode == TEXT || opcode == BINARY)
            handler->on_message(c, opcode, payload, length);
        else
            control_frame(c, handler, opcode, payload, length);
    }
}

/* Input and output */

static void drop(struct connection *c)
{
    if (c->tls)
        tls_end(c->tls);
    c->tls = NULL;
    close(c->fd); /* also takes it out of the epoll set */
    c->state = CLOSED;
}

static void ended(struct connection *c, const struct handler *handler)
{
    if (!handler->on_closed || c->state != CLOSING)
        die("the server dropped connection %u", c->id);
    if (!c->close_received)
        die("the server ended connection %u without a close frame", c->id);
    drop(c);
    handler->on_closed(c);
}

/* Read once. Returns whether there was something. */
static bool receive(struct connection *c, const struct handler *handler)
{
    buffer_reserve(&c->in, READ_AT_LEAST);
    size_t room = c->in.capacity - c->in.end;
    char *to = c->in.data + c->in.end;
    ssize_t n = c->tls ? tls_receive(c->tls, to, room) : recv(c->fd, to, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n < 0 && errno != ECONNRESET)
        die("recv: %s", strerror(errno));
    if (n <= 0) {
        ended(c, handler);
        return false;
    }
    c->in.end += (size_t)n;
    if (c->close_received)
        c->in.start = c->in.end;
    if (c->state == HANDSHAKE) {
        if (!read_response(c))
            return true;
        c->state = OPEN;
        if (handler->on_open)
            handler->on_open(c);
    }
    read_frames(c, handler);
    if ((size_t)n == room)
        buffer_reserve(&c->in, c->in.capacity + 1); /* it was too small: next time more */
    return true;
}

/* What OpenSSL has read from the socket makes no event of the socket's any more. */
static void readable(struct connection *c, const struct handler *handler)
{
    while (receive(c, handler) && c->tls && tls_pending(c->tls))
        continue;
}

void connection_flush(struct connection *c, const struct target *target)
{
    bool pending = false;
    while (c->out.start < c->out.end) {
        const char *from = c->out.data + c->out.start;
        size_t length = c->out.end - c->out.start;
        ssize_t n = c->tls ? tls_send(c->tls, from, length)
                           : send(c->fd, from, length, MSG_NOSIGNAL);
        /* A TLS handshake goes on when its answer is readable. */
        if (n < 0 && (errno == EAGAIN || errno == EINPROGRESS)) {
            pending = errno == EAGAIN;
            break;
        }
        if (n < 0 && errno != EINTR)
            die("send: %s", strerror(errno));
        if (n > 0)
            c->out.start += (size_t)n;
    }
    if (pending == c->waits_for_write)
        return;
    c->waits_for_write = pending;
    struct epoll_event event = {.events = EPOLLIN | (pending ? EPOLLOUT : 0),
                                .data.ptr = c};
    if (epoll_ctl(target->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void connection_event(struct connection *c, const struct target *target,
                             const struct handler *handler, uint32_t events)
{
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            die("connect: %s", strerror(error));
        c->state = HANDSHAKE;
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        readable(c, handler);
    if (c->state != CLOSED)
        connection_flush(c, target);
}

bool connections_step(const struct target *target, const struct handler *handler,
                      double seconds)
{
    struct epoll_event events[EVENTS];
    struct timespec timeout = {(time_t)seconds, (long)((seconds - (long)seconds) * 1e9)};
    bool other = false;
    int n = epoll_pwait2(target->epoll, events, EVENTS, &timeout, NULL);
    if (n < 0 && errno != EINTR)
        die("epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c)
            other = true;
        else if (c->state != CLOSED)
            connection_event(c, target, handler, events[i].events);
    }
    return other;
}
