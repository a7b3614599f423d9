/* What arrives on a stream. */
#include "net/stream-private.h"

#include <errno.h>
#include <openssl/err.h>

static void tell_eof(struct net_stream *s)
{
    if (s->eof_told) {
        return;
    }
    s->eof_told = true;
    if (s->ops->on_eof) {
        s->ops->on_eof(s, s->arg);
    } else {
        net_stream_shutdown(s);
    }
}

/* One read. Returns bytes, 0 at the end of the direction, -EAGAIN, or -1 when the stream was finished. */
static ssize_t read_some(struct net_stream *s)
{
    if (!s->ssl) {
        ssize_t r = recv(s->io.fd, s->shared->read, sizeof(s->shared->read), MSG_DONTWAIT);
        if (r < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                return -EAGAIN;
            }
            stream_finish_errno(s, errno);
            return -1;
        }
        s->conn.bytes_in += (size_t)r;
        s->last_ms = loop_now_ms(s->loop);
        return r;
    }
    ERR_clear_error();
    int r = SSL_read(s->ssl, s->shared->read, sizeof(s->shared->read));
    if (r > 0) {
        return r;
    }
    switch (SSL_get_error(s->ssl, r)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    default:
        stream_tls_failed(s, r);
        return -1;
    }
}

void stream_read_all(struct net_stream *s)
{
    for (int i = 0; i < STREAM_READ_BURST && s->state == STREAM_OPEN && stream_reads(s); i++) {
        ssize_t n = read_some(s);
        if (n == -1) {
            return;
        }
        if (n == -EAGAIN) {
            s->want_read = false;
            return;
        }
        if (n == 0) {
            s->eof = true;
            s->want_read = false;
            tell_eof(s);
            return;
        }
        if (s->ops->on_data) {
            s->ops->on_data(s, str_n(s->shared->read, (size_t)n), s->arg);
        }
        if (!s->ssl && (size_t)n < sizeof(s->shared->read)) {
            return; /* most likely empty now; if not, the loop says so */
        }
    }
    if (s->state == STREAM_OPEN && s->ssl && SSL_has_pending(s->ssl)) {
        /* The socket will not tell about bytes that the TLS engine has taken already. */
        s->want_read = true;
        if (stream_reads(s)) {
            loop_task_defer(&s->task);
        }
    }
}

void stream_deliver_unread(struct net_stream *s)
{
    if (s->unread.len == 0 || s->paused || s->closing || s->state != STREAM_OPEN) {
        return;
    }
    struct buf b = s->unread;
    buf_init(&s->unread, STREAM_PENDING_MAX);
    if (s->ops->on_data) {
        s->ops->on_data(s, buf_str(&b), s->arg);
    }
    buf_deinit(&b);
    s->want_read = true;
}

void stream_linger(struct net_stream *s)
{
    for (int i = 0; i < STREAM_READ_BURST; i++) {
        ssize_t r = recv(s->io.fd, s->shared->read, sizeof(s->shared->read), MSG_DONTWAIT);
        if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (r <= 0) {
            stream_finish(s, NET_CLOSE_LOCAL, "closed");
            return;
        }
    }
}
