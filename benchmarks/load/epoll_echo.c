/* The limit: a WebSocket echo server with nothing in it but what the protocol asks.
 *
 * In: a port. It answers the opening handshake and echoes each frame, one read and
 * one write for all frames that arrived together; one thread, one epoll, no checks
 * that an echo does not need. Only benchmarks may talk to it. */
#define _GNU_SOURCE
#include "buffer.h"
#include "program.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 18, EVENTS = 512, SHA1_SIZE = 20 };

struct connection {
    int fd;
    bool open;    /* the opening handshake is done */
    bool closing; /* a close frame was answered: close once all is written */
    bool waits_for_write;
    struct buffer in, out; /* `in` holds only a frame that has not come whole yet */
};

static int epoll;
static unsigned char read_buffer[READ_SIZE];

/* SHA-1 (RFC 3174) of at most 119 bytes, which is all a handshake needs */

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(uint32_t h[5], const unsigned char *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 80; t++)
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    for (int t = 0; t < 80; t++) {
        uint32_t f = t < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                     : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                     : t < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                              : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + w[t];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

static void sha1(const char *text, unsigned char digest[SHA1_SIZE])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char blocks[128] = {0};
    size_t length = strlen(text), size = length < 56 ? 64 : 128;
    memcpy(blocks, text, length);
    blocks[length] = 0x80;
    blocks[size - 2] = (unsigned char)(length * 8 >> 8);
    blocks[size - 1] = (unsigned char)(length * 8);
    for (size_t i = 0; i < size; i += 64)
        sha1_block(h, blocks + i);
    for (int i = 0; i < SHA1_SIZE; i++)
        digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_of_digest(const unsigned char digest[SHA1_SIZE], char text[29])
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char padded[21] = {0};
    memcpy(padded, digest, SHA1_SIZE);
    for (int i = 0; i < 7; i++) {
        uint32_t bits = (uint32_t)padded[3 * i] << 16 | (uint32_t)padded[3 * i + 1] << 8 |
                        padded[3 * i + 2];
        for (int k = 0; k < 4; k++)
            text[4 * i + k] = digits[bits >> (18 - 6 * k) & 63];
    }
    text[27] = '=';
    text[28] = '\0';
}

/* The opening handshake (section 4.2.2). Returns how many bytes it took: 0 if the
 * request is not whole yet, -1 if it is none. */
static ssize_t handshake(struct connection *c, const unsigned char *data, size_t size)
{
    static const char name[] = "\r\nSec-WebSocket-Key:";
    char *end = memmem(data, size, "\r\n\r\n", 4), key[25], text[64], accept[29];
    unsigned char digest[SHA1_SIZE];
    if (!end)
        return size > 8192 ? -1 : 0;
    *end = '\0';
    char *field = strcasestr((const char *)data, name);
    if (!field || sscanf(field + sizeof name - 1, " %24s", key) != 1)
        return -1;
    /* "concatenated with the string 258EAFA5-..., in string form" */
    snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text, digest);
    base64_of_digest(digest, accept);
    char response[160];
    int length = snprintf(response, sizeof response,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                          accept);
    buffer_append(&c->out, response, (size_t)length);
    c->open = true;
    return end + 4 - (char *)data;
}

/* Frames */

static void unmask(unsigned char *to, const unsigned char *from, size_t length,
                   const unsigned char key[4])
{
    uint64_t mask, word;
    memcpy(&mask, key, 4);
    memcpy((unsigned char *)&mask + 4, key, 4);
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= mask;
        memcpy(to + i, &word, 8);
    }
    for (; i < length; i++)
        to[i] = from[i] ^ key[i % 4];
}

/* Append the echo of the frame at `p` to the output: the same opcode and length,
 * without the mask. Returns the frame's size: 0 if it is not whole yet. */
static size_t echo_frame(struct connection *c, const unsigned char *p, size_t size)
{
    if (size < 2)
        return 0;
    uint64_t length = p[1] & 0x7f;
    size_t header = length < 126 ? 2 : length == 126 ? 4 : 10;
    if (size < header + 4)
        return 0;
    if (header > 2) {
        length = 0;
        for (size_t i = 2; i < header; i++)
            length = length << 8 | p[i];
    }
    if (size - header - 4 < length)
        return 0;
    buffer_reserve(&c->out, header + length);
    unsigned char *out = (unsigned char *)c->out.data + c->out.end;
    memcpy(out, p, header);
    out[1] &= 0x7f;
    unsigned opcode = p[0] & 0x0f;
    if (opcode == 9)
        out[0] = (unsigned char)((p[0] & 0xf0) | 10); /* a ping's echo is a pong */
    unmask(out + header, p + header + 4, length, p + header);
    c->out.end += opcode == 10 ? 0 : header + length;
    c->closing = opcode == 8;
    return header + 4 + length;
}

/* Handle what is whole in `data`. Returns how many bytes that was, or -1. */
static ssize_t handle(struct connection *c, const unsigned char *data, size_t size)
{
    size_t done = 0, frame;
    if (!c->open) {
        ssize_t request = handshake(c, data, size);
        if (request <= 0)
            return request;
        done = (size_t)request;
    }
    while (!c->closing && (frame = echo_frame(c, data + done, size - done)) > 0)
        done += frame;
    return (ssize_t)done;
}

/* Connections: both steps return false when the connection is over */

static bool input(struct connection *c)
{
    ssize_t done, n = recv(c->fd, read_buffer, READ_SIZE, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    if (c->in.start == c->in.end) {
        if ((done = handle(c, read_buffer, (size_t)n)) < 0)
            return false;
        if (done < n)
            buffer_append(&c->in, read_buffer + done, (size_t)(n - done));
    } else {
        buffer_append(&c->in, read_buffer, (size_t)n);
        const char *all = c->in.data + c->in.start;
        done = handle(c, (const unsigned char *)all, c->in.end - c->in.start);
        if (done < 0)
            return false;
        c->in.start += (size_t)done;
        memmove(c->in.data, c->in.data + c->in.start, c->in.end - c->in.start);
        c->in.end -= c->in.start;
        c->in.start = 0;
    }
    return true;
}

static bool output(struct connection *c)
{
    while (c->out.start < c->out.end) {
        ssize_t n = send(c->fd, c->out.data + c->out.start, c->out.end - c->out.start,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return false;
        c->out.start += (size_t)n;
    }
    bool pending = c->out.start < c->out.end;
    if (pending != c->waits_for_write) {
        struct epoll_event event = {.events = EPOLLIN | (pending ? EPOLLOUT : 0),
                                    .data.ptr = c};
        c->waits_for_write = pending;
        if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
            die("epoll_ctl: %s", strerror(errno));
    }
    return pending || !c->closing;
}

static void watch(int fd, struct connection *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void accept_all(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c)
            die("calloc: %s", strerror(errno));
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(fd, c);
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
        die("listen: %s", strerror(errno));
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    if (argc != 2 || atoi(argv[1]) < 1 || atoi(argv[1]) > 65535) {
        fputs("usage: epoll_echo PORT\n", stderr);
        return 2;
    }
    int listener = listen_on((uint16_t)atoi(argv[1]));
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll_create1: %s", strerror(errno));
    watch(listener, NULL);
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                accept_all(listener);
            } else if (!(events[i].events & ~(unsigned)EPOLLOUT ? input(c) : true) ||
                       !output(c)) {
                close(c->fd);
                free(c->in.data);
                free(c->out.data);
                free(c);
            }
        }
    }
}
