/* Bytes between a stream and its socket, and the same as a BIO under OpenSSL. */
#include "net/stream-private.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/ioctl.h>

int stream_raw_write(struct net_stream *s, const char *p, size_t n)
{
    s->conn.bytes_out += n;
    if (s->pending.len == 0) {
        ssize_t r = send(s->io.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT | (s->more ? MSG_MORE : 0));
        if (r < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                return -errno;
            }
            r = 0;
        }
        if (r > 0) {
            s->last_ms = loop_now_ms(s->loop);
        }
        p += r;
        n -= (size_t)r;
    }
    if (n > 0) {
        buf_append_bytes(&s->pending, p, n);
        if (buf_failed(&s->pending)) {
            return -ENOBUFS;
        }
    }
    return 0;
}

void stream_push(struct net_stream *s)
{
    int one = 1;
    if (s->more) {
        s->more = false;
        (void)setsockopt(s->io.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* sends what MSG_MORE kept (tcp(7)) */
    }
}

int stream_flush_pending(struct net_stream *s)
{
    while (s->pending.len > 0) {
        ssize_t r = send(s->io.fd, s->pending.ptr, s->pending.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        s->last_ms = loop_now_ms(s->loop);
        buf_consume(&s->pending, (size_t)r);
    }
    buf_deinit(&s->pending);
    buf_init(&s->pending, STREAM_PENDING_MAX);
    return 0;
}

size_t net_stream_unread_bytes(const struct net_stream *s)
{
    int n = 0;
    return s->io.fd >= 0 && ioctl(s->io.fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* ---- the BIO: OpenSSL's records go straight to the socket, and a write never blocks ---- */

static int bio_write(BIO *b, const char *p, int n)
{
    struct net_stream *s = BIO_get_data(b);
    int r = stream_raw_write(s, p, (size_t)n);
    BIO_clear_retry_flags(b);
    if (r < 0) {
        s->io_errno = -r;
        return -1;
    }
    return n;
}

static int bio_read(BIO *b, char *p, int n)
{
    struct net_stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (s->socket_empty) {
        BIO_set_retry_read(b);
        return -1;
    }
    ssize_t r = recv(s->io.fd, p, (size_t)n, MSG_DONTWAIT);
    s->socket_empty = r > 0 && r < n; /* what comes later is told by the loop */
    if (r < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            BIO_set_retry_read(b);
        } else {
            s->io_errno = errno;
        }
        return -1;
    }
    if (r == 0) {
        s->eof = true;
    } else {
        s->conn.bytes_in += (size_t)r;
        s->last_ms = loop_now_ms(s->loop);
    }
    return (int)r;
}

static long bio_ctrl(BIO *b, int cmd, long num UNUSED, void *ptr UNUSED)
{
    const struct net_stream *s = BIO_get_data(b);
    if (cmd == BIO_CTRL_EOF) {
        return s->eof;
    }
    return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "net_stream");
    if (!bio_method || !BIO_meth_set_write(bio_method, bio_write) || !BIO_meth_set_read(bio_method, bio_read) ||
        !BIO_meth_set_ctrl(bio_method, bio_ctrl)) {
        abort();
    }
}

void stream_attach_bio(struct net_stream *s)
{
    (void)pthread_once(&bio_once, make_bio_method);
    BIO *bio = s->ssl ? BIO_new(bio_method) : NULL;
    if (bio) {
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
        SSL_set_bio(s->ssl, bio, bio);
    }
}
