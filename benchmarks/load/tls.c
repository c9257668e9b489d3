/* See tls.h. */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>

static const char HOST[] = "127.0.0.1";

static void __attribute__((noreturn)) failed(const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    die("TLS: %s: %s", what, reason ? reason : "no reason given");
}

struct ssl_ctx_st *tls_context(const char *certificate)
{
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_load_verify_locations(context, certificate, NULL) != 1)
        failed(certificate);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* One read(2) for a whole record, and more if they are there. */
    SSL_CTX_set_read_ahead(context, 1);
    return context;
}

struct ssl_st *tls_start(struct ssl_ctx_st *context, int fd)
{
    SSL *tls = SSL_new(context);
    if (!tls || SSL_set_fd(tls, fd) != 1 ||
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), HOST) != 1)
        failed("cannot start");
    SSL_set_connect_state(tls);
    return tls;
}

ssize_t tls_receive(struct ssl_st *tls, void *to, size_t room)
{
    size_t n;
    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(tls, to, room, &n) == 1)
        return (ssize_t)n;
    switch (SSL_get_error(tls, 0)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_SYSCALL:
        return errno ? -1 : 0;
    }
    /* A server that ends TCP alone; the frames have told that it meant to. */
    if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return 0;
    failed("cannot receive");
}

ssize_t tls_send(struct ssl_st *tls, const void *from, size_t length)
{
    size_t n;
    ERR_clear_error();
    errno = 0;
    if (SSL_write_ex(tls, from, length, &n) == 1)
        return (ssize_t)n;
    switch (SSL_get_error(tls, 0)) {
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_READ:
        errno = EINPROGRESS;
        return -1;
    case SSL_ERROR_SYSCALL:
        if (errno)
            return -1;
    }
    failed("cannot send");
}

bool tls_pending(const struct ssl_st *tls) { return SSL_has_pending(tls); }

void tls_end(struct ssl_st *tls)
{
    ERR_clear_error();
    SSL_shutdown(tls);
    SSL_free(tls);
}
