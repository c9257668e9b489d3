/* TLS for the load generator's connections, by OpenSSL: what recv(2) and send(2) are
 * without it. Where OpenSSL's headers are missing, cc gets -DWITHOUT_TLS, and whoever
 * asks for TLS is told so. */
#ifndef TLS_H
#define TLS_H

#include "program.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX and SSL */
struct ssl_st;

#ifdef WITHOUT_TLS

static inline struct ssl_ctx_st *tls_context(const char *certificate)
{
    die("built without OpenSSL: %s cannot be used", certificate);
}
static inline struct ssl_st *tls_start(struct ssl_ctx_st *context, int fd)
{
    (void)context, (void)fd;
    return NULL;
}
static inline ssize_t tls_receive(struct ssl_st *tls, void *to, size_t room)
{
    (void)tls, (void)to, (void)room;
    return 0;
}
static inline ssize_t tls_send(struct ssl_st *tls, const void *from, size_t length)
{
    (void)tls, (void)from, (void)length;
    return 0;
}
static inline bool tls_pending(const struct ssl_st *tls) { return tls != NULL; }
static inline void tls_end(struct ssl_st *tls) { (void)tls; }

#else

/* What all connections share: they trust this certificate (a PEM file) alone. */
struct ssl_ctx_st *tls_context(const char *certificate);
/* The client's side on a socket. The handshake is done by the first tls_send. */
struct ssl_st *tls_start(struct ssl_ctx_st *, int fd);
/* As recv(2) does it; 0 is close_notify or the end of the TCP connection. */
ssize_t tls_receive(struct ssl_st *, void *to, size_t room);
/* As send(2) does it; errno is EINPROGRESS while the handshake waits for the peer. */
ssize_t tls_send(struct ssl_st *, const void *from, size_t length);
/* Whether there are bytes that were read from the socket, and not yet received. */
bool tls_pending(const struct ssl_st *);
/* Send close_notify and forget the connection; the socket stays open. */
void tls_end(struct ssl_st *);

#endif
#endif
