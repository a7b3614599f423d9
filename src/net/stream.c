#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <pthread.h>
#include <unistd.h>

#include "net/limits.h"
#include "net/path.h"
#include "net/tls-private.h"

/* Reads of one stream in one turn, before others get theirs. */
enum { READ_BURST = 16, IOV_MAX_USED = 64, LINGER_MS = 1000, PENDING_MAX = 1024 * 1024 };

/* What all streams of a loop share: the buffers, so that idle streams hold none, and the registry. */
struct shared {
    struct list conns;
    size_t n_conns;
    char read[NET_READ_SIZE];
    char write[NET_RECORD_SIZE];
};

enum state {
    HANDSHAKE, /* TLS is being negotiated */
    OPEN,
    LINGERING, /* our FIN is sent after net_stream_close(); what still arrives is dropped so that it causes no reset */
    CLOSED     /* the socket is gone */
};

struct net_stream {
    struct loop *loop;
    struct shared *shared;
    const struct net_stream_ops *ops;
    void *arg;
    struct net_conn conn;
    struct loop_io io;
    struct loop_task task;   /* opens, reads what the engine holds, writes what is queued */
    struct loop_timer timer; /* handshake; flush of a closed stream */
    SSL *ssl;                /* NULL: plain */
    struct net_queue queue;  /* plain text to send */
    struct buf pending;      /* bytes (records, with TLS) that the socket did not take */
    struct buf unread;       /* bytes for the next owner */
    net_stream_pull_fn *pull;
    size_t high, low;
    uint64_t last_ms;
    int io_errno;            /* why the socket failed inside a TLS call */
    unsigned holds;          /* callbacks on the stack */
    uint8_t state;
    bool freed : 1;          /* net_stream_free() was called inside a callback */
    bool opened : 1;
    bool paused : 1;
    bool eof : 1;            /* the peer has ended its direction */
    bool eof_told : 1;
    bool shutting : 1;       /* we want to end ours */
    bool fin_sent : 1;
    bool closing : 1;        /* net_stream_close() */
    bool above : 1;          /* the queue has been at the high watermark */
    bool pull_wanted : 1;
    bool socket_empty : 1;   /* the last read of this turn took all there was */
    bool want_read : 1;      /* look for bytes that the TLS engine has buffered */
};

static const char shared_key;

static void finish(struct net_stream *s, enum net_close why, const char *reason);
static void on_io(struct loop_io *io, unsigned events, void *arg);
static void on_task(void *arg);
static void on_timer(void *arg);

static void shared_free(void *arg)
{
    free(arg);
}

static struct shared *shared_of(struct loop *l)
{
    struct shared *sh = loop_slot(l, &shared_key);
    if (!sh) {
        sh = malloc(sizeof(*sh));
        if (!sh) {
            abort();
        }
        list_init(&sh->conns);
        sh->n_conns = 0;
        loop_set_slot(l, &shared_key, sh, shared_free);
    }
    return sh;
}

/* ---- registry ---- */

void net_registry_each(struct loop *l, void (*fn)(const struct net_conn *c, void *arg), void *arg)
{
    struct shared *sh = shared_of(l);
    LIST_FOREACH(&sh->conns, struct net_conn, link, c)
    {
        fn(c, arg);
    }
}

size_t net_registry_count(struct loop *l)
{
    return shared_of(l)->n_conns;
}

/* ---- the socket ---- */

/* Sends at once what the socket takes; the rest becomes 'pending'. 0 or -errno. */
static int raw_write(struct net_stream *s, const char *p, size_t n)
{
    s->conn.bytes_out += n;
    if (s->pending.len == 0) {
        ssize_t r = send(s->io.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
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

/* Sends what is pending. 0, -EAGAIN, or -errno. */
static int flush_pending(struct net_stream *s)
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
    buf_init(&s->pending, PENDING_MAX);
    return 0;
}

/* ---- the BIO: OpenSSL's records go straight to the socket, and a write never blocks ---- */

static int bio_write(BIO *b, const char *p, int n)
{
    struct net_stream *s = BIO_get_data(b);
    int r = raw_write(s, p, (size_t)n);
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

/* ---- lifetime ---- */

static struct net_stream *stream_new(struct loop *l, int fd, const struct net_stream_ops *ops, void *arg)
{
    struct net_stream *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    int flags = fcntl(fd, F_GETFL), one = 1, lowat = NET_NOTSENT_LOWAT;
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    s->loop = l;
    s->shared = shared_of(l);
    s->ops = ops;
    s->arg = arg;
    s->high = NET_HIGH_WATER;
    s->low = NET_LOW_WATER;
    s->state = OPEN;
    s->last_ms = s->conn.opened_ms = loop_now_ms(l);
    s->conn.local.len = s->conn.remote.len = sizeof(struct sockaddr_un);
    if (getsockname(fd, &s->conn.local.sa, &s->conn.local.len) < 0) {
        s->conn.local.len = 0;
    }
    if (getpeername(fd, &s->conn.remote.sa, &s->conn.remote.len) < 0) {
        s->conn.remote.len = 0;
    }
    if (s->conn.local.len && s->conn.local.sa.sa_family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
        int idle = 30, interval = 10, count = 4;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    }
    net_queue_init(&s->queue);
    buf_init(&s->pending, PENDING_MAX);
    buf_init(&s->unread, PENDING_MAX);
    loop_io_init(&s->io, l, fd, on_io, s);
    loop_task_init(&s->task, l, on_task, s);
    loop_timer_init(&s->timer, l, on_timer, s);
    list_push_back(&s->shared->conns, &s->conn.link);
    s->shared->n_conns++;
    loop_task_defer(&s->task);
    return s;
}

struct net_stream *net_stream_new(struct loop *l, int fd, const struct net_stream_ops *ops, void *arg)
{
    return stream_new(l, fd, ops, arg);
}

static struct net_stream *tls_new(struct loop *l, int fd, SSL *ssl, const struct net_stream_ops *ops, void *arg)
{
    struct net_stream *s = stream_new(l, fd, ops, arg);
    s->state = HANDSHAKE;
    s->ssl = s->conn.session = ssl;
    (void)pthread_once(&bio_once, make_bio_method);
    BIO *bio = ssl ? BIO_new(bio_method) : NULL;
    if (bio) {
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
        SSL_set_bio(ssl, bio, bio);
    }
    loop_timer_start(&s->timer, NET_HANDSHAKE_MS);
    return s;
}

struct net_stream *net_stream_new_tls_server(struct loop *l, int fd, struct net_tls_server *tls,
                                             const struct net_stream_ops *ops, void *arg)
{
    return tls_new(l, fd, net_tls_server_session(tls), ops, arg);
}

struct net_stream *net_stream_new_tls_client(struct loop *l, int fd, struct net_tls_client *tls, struct str host,
                                             const struct net_stream_ops *ops, void *arg)
{
    struct net_stream *s = tls_new(l, fd, net_tls_client_session(tls, host), ops, arg);
    s->conn.outgoing = true;
    return s;
}

void net_stream_restrict_alpn(struct net_stream *s, unsigned alpn)
{
    if (s->ssl && s->state == HANDSHAKE) {
        net_tls_offer_alpn(s->ssl, alpn);
    }
}

static const struct net_stream_ops no_ops;

int net_stream_pair(struct loop *l, struct net_stream *ret_pair[2])
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        return -errno;
    }
    for (int i = 0; i < 2; i++) {
        ret_pair[i] = net_stream_new(l, fds[i], &no_ops, NULL);
        net_stream_pause(ret_pair[i]);
    }
    return 0;
}

/* Closes the socket and drops what waits. */
static void close_socket(struct net_stream *s)
{
    if (s->state == CLOSED) {
        return;
    }
    s->state = CLOSED;
    loop_io_stop(&s->io);
    loop_task_cancel(&s->task);
    loop_timer_stop(&s->timer);
    (void)close(s->io.fd);
    s->io.fd = -1;
    net_queue_deinit(&s->queue);
    buf_deinit(&s->pending);
    buf_deinit(&s->unread);
    list_remove(&s->conn.link);
    s->shared->n_conns--;
    if (s->conn.path) {
        net_path_closed(s->conn.path, &s->conn);
    }
    s->conn.session = NULL;
}

static void destroy(struct net_stream *s)
{
    SSL_free(s->ssl);
    free(s);
}

struct net_stream *net_stream_free(struct net_stream *s)
{
    if (s && !s->freed) {
        close_socket(s);
        s->freed = true;
        if (s->holds == 0) {
            destroy(s);
        }
    }
    return NULL;
}

/* Between hold() and drop() callbacks may free the stream; drop() is false when they did. */
static void hold(struct net_stream *s)
{
    s->holds++;
}

static bool drop(struct net_stream *s)
{
    s->holds--;
    if (s->freed) {
        if (s->holds == 0) {
            destroy(s);
        }
        return false;
    }
    return true;
}

static void finish(struct net_stream *s, enum net_close why, const char *reason)
{
    if (s->state == CLOSED) {
        return;
    }
    close_socket(s);
    if (s->ops->on_close) {
        s->ops->on_close(s, why, reason, s->arg);
    }
}

static void finish_errno(struct net_stream *s, int errnum)
{
    char text[128], reason[192];
    (void)snprintf(reason, sizeof(reason), "the connection broke: %s", strerror_r(errnum, text, sizeof(text)));
    finish(s, NET_CLOSE_RESET, reason);
}

/* ---- events ---- */

static bool reading(const struct net_stream *s)
{
    return s->state == HANDSHAKE || s->state == LINGERING ||
           (s->state == OPEN && !s->paused && !s->eof && !s->closing && s->unread.len == 0);
}

static void update_events(struct net_stream *s)
{
    if (s->state == CLOSED) {
        return;
    }
    unsigned events = (reading(s) && !s->eof ? LOOP_READ : 0U) | (s->pending.len > 0 ? LOOP_WRITE : 0U);
    int r = loop_io_set(&s->io, events);
    if (r < 0) {
        finish_errno(s, -r);
    }
}

/* After a failed TLS call. 'n' is its result. */
static void tls_failed(struct net_stream *s, int n)
{
    char reason[256];
    int e = SSL_get_error(s->ssl, n);
    if (s->io_errno) {
        ERR_clear_error();
        finish_errno(s, s->io_errno);
    } else if (s->eof && e == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        finish(s, NET_CLOSE_RESET, "the connection ended without a TLS close");
    } else {
        bool cut = s->eof;
        net_tls_reason(s->ssl, reason, sizeof(reason));
        /* The alert, if there is one, has been handed to the socket by bio_write() already. */
        finish(s, cut && s->opened ? NET_CLOSE_RESET : NET_CLOSE_TLS,
               cut ? (s->opened ? "the connection ended without a TLS close" : "the connection ended in the TLS handshake")
                   : reason);
    }
}

static void tell_open(struct net_stream *s)
{
    s->opened = true;
    loop_timer_stop(&s->timer);
    if (s->ssl) {
        s->conn.encrypted = true;
        s->conn.tls_version = SSL_get_version(s->ssl);
        s->conn.cipher = SSL_get_cipher_name(s->ssl);
        s->conn.peer = net_tls_peer(s->ssl);
    }
    if (s->closing) {
        loop_timer_start(&s->timer, NET_CLOSE_FLUSH_MS);
    } else if (s->ops->on_open) {
        s->ops->on_open(s, s->arg);
    }
}

/* Is the stream open (the handshake may be completed by this call)? */
static bool handshake(struct net_stream *s)
{
    if (s->state != HANDSHAKE) {
        return s->state == OPEN;
    }
    if (!s->ssl || !SSL_get_rbio(s->ssl)) {
        finish(s, NET_CLOSE_TLS, "TLS: cannot make a session for this server name");
        return false;
    }
    ERR_clear_error();
    int r = SSL_do_handshake(s->ssl);
    if (r == 1) {
        s->state = OPEN;
        s->want_read = true; /* the first request may have come with the handshake's last record */
        tell_open(s);
        return s->state == OPEN;
    }
    if (SSL_get_error(s->ssl, r) != SSL_ERROR_WANT_READ) {
        tls_failed(s, r);
    }
    return false;
}

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

static void check_both_ended(struct net_stream *s)
{
    if (s->state == OPEN && s->eof_told && s->fin_sent && !s->closing) {
        finish(s, NET_CLOSE_EOF, "the connection ended");
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
            finish_errno(s, errno);
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
        tls_failed(s, r);
        return -1;
    }
}

static void read_all(struct net_stream *s)
{
    for (int i = 0; i < READ_BURST && s->state == OPEN && reading(s); i++) {
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
    if (s->state == OPEN && s->ssl && SSL_has_pending(s->ssl)) {
        /* The socket will not tell about bytes that the TLS engine has taken already. */
        s->want_read = true;
        if (reading(s)) {
            loop_task_defer(&s->task);
        }
    }
}

static void deliver_unread(struct net_stream *s)
{
    if (s->unread.len == 0 || s->paused || s->closing || s->state != OPEN) {
        return;
    }
    struct buf b = s->unread;
    buf_init(&s->unread, PENDING_MAX);
    if (s->ops->on_data) {
        s->ops->on_data(s, buf_str(&b), s->arg);
    }
    buf_deinit(&b);
    s->want_read = true;
}

/* Plain sockets: straight from the chunks. Returns bytes, 0 for none, -1 when finished, -EAGAIN when the socket is full. */
static ssize_t write_chunks(struct net_stream *s)
{
    struct iovec iov[IOV_MAX_USED];
    struct msghdr msg = { .msg_iov = iov };
    msg.msg_iovlen = net_queue_iov(&s->queue, iov, IOV_MAX_USED);
    ssize_t r = sendmsg(s->io.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (r < 0) {
        if (errno == EINTR || errno == EAGAIN) {
            /* Makes the loop watch for room: one byte moves over to 'pending'. */
            struct str first = net_queue_peek(&s->queue);
            buf_append(&s->pending, str_sub(first, 0, 1));
            net_queue_consume(&s->queue, 1);
            s->conn.bytes_out++;
            return -EAGAIN;
        }
        finish_errno(s, errno);
        return -1;
    }
    s->last_ms = loop_now_ms(s->loop);
    s->conn.bytes_out += (size_t)r;
    net_queue_consume(&s->queue, (size_t)r);
    return r;
}

/* Fills one record from the queue and the engine, and sends it. Same results as write_chunks(). */
static ssize_t write_record(struct net_stream *s)
{
    char *stage = s->shared->write;
    size_t n = net_queue_copy(&s->queue, stage, NET_RECORD_SIZE);
    net_queue_consume(&s->queue, n);
    if (s->pull_wanted && s->queue.bytes == 0) {
        /* Cleared before, because the engine may ask for another turn while it fills. */
        s->pull_wanted = false;
        size_t pulled = n < NET_RECORD_SIZE ? s->pull(s, stage + n, NET_RECORD_SIZE - n, s->arg) : 1;
        if (s->state != OPEN) {
            return -1;
        }
        if (pulled > 0) {
            s->pull_wanted = true;
            n += n < NET_RECORD_SIZE ? pulled : 0;
        }
    }
    if (n == 0) {
        return 0;
    }
    if (!s->ssl) {
        int r = raw_write(s, stage, n);
        if (r < 0) {
            finish_errno(s, -r);
            return -1;
        }
        return (ssize_t)n;
    }
    ERR_clear_error();
    int r = SSL_write(s->ssl, stage, (int)n);
    if (r <= 0) {
        tls_failed(s, r);
        return -1;
    }
    return (ssize_t)n;
}

/* Sends what there is. False when the stream was finished. */
static bool write_all(struct net_stream *s)
{
    size_t sent = 0;
    for (;;) {
        int r = flush_pending(s);
        if (r == -EAGAIN) {
            return true;
        }
        if (r < 0) {
            finish_errno(s, -r);
            return false;
        }
        if (sent >= NET_WRITE_BURST) {
            loop_task_defer(&s->task);
            return true;
        }
        bool plain = !s->ssl && s->queue.bytes > 0;
        ssize_t n = plain ? write_chunks(s) : write_record(s);
        if (n == -1) {
            return false;
        }
        if (n == 0) {
            return true;
        }
        sent += n > 0 ? (size_t)n : 0;
    }
}

static bool all_sent(const struct net_stream *s)
{
    return s->pending.len == 0 && s->queue.bytes == 0 && !s->pull_wanted;
}

static void send_fin(struct net_stream *s)
{
    s->fin_sent = true;
    if (s->ssl) {
        ERR_clear_error();
        (void)SSL_shutdown(s->ssl);
        ERR_clear_error();
        if (s->pending.len > 0) {
            /* The close alert goes out with the next room; the FIN then follows at close. */
            return;
        }
    }
    (void)shutdown(s->io.fd, SHUT_WR);
}

/* What follows once everything is sent: end our direction, or close. */
static void after_write(struct net_stream *s)
{
    if (s->state != OPEN) {
        return;
    }
    if (s->above && net_stream_queued(s) <= s->low) {
        s->above = false;
        if (s->ops->on_drain && !s->closing) {
            s->ops->on_drain(s, s->arg);
            if (s->state != OPEN) {
                return;
            }
        }
    }
    if ((s->shutting || s->closing) && !s->fin_sent && all_sent(s)) {
        send_fin(s);
    }
    if (s->closing && s->fin_sent && s->pending.len == 0) {
        if (s->eof) {
            finish(s, NET_CLOSE_LOCAL, "closed");
            return;
        }
        s->state = LINGERING;
        loop_timer_start(&s->timer, LINGER_MS);
        return;
    }
    check_both_ended(s);
}

static void linger(struct net_stream *s)
{
    for (int i = 0; i < READ_BURST; i++) {
        ssize_t r = recv(s->io.fd, s->shared->read, sizeof(s->shared->read), MSG_DONTWAIT);
        if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (r <= 0) {
            finish(s, NET_CLOSE_LOCAL, "closed");
            return;
        }
    }
}

static void work(struct net_stream *s)
{
    if (s->state == LINGERING) {
        linger(s);
        return;
    }
    if (!handshake(s)) {
        if (s->state == HANDSHAKE) {
            int r = flush_pending(s);
            if (r < 0 && r != -EAGAIN) {
                finish_errno(s, -r);
            }
        }
        return;
    }
    if (!s->opened) {
        tell_open(s);
    }
    deliver_unread(s);
    if (s->state == OPEN && reading(s)) {
        read_all(s);
    }
    if (s->state == OPEN && write_all(s)) {
        after_write(s);
    }
}

static void run(struct net_stream *s)
{
    hold(s);
    s->socket_empty = false;
    work(s);
    if (drop(s)) {
        hold(s);
        update_events(s);
        (void)drop(s);
    }
}

static void on_io(struct loop_io *io UNUSED, unsigned events, void *arg)
{
    struct net_stream *s = arg;
    if ((events & LOOP_HUP) && !(events & LOOP_READ) && s->state == OPEN) {
        int errnum = 0;
        socklen_t len = sizeof(errnum);
        (void)getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
        if (errnum != 0) {
            hold(s);
            finish_errno(s, errnum);
            (void)drop(s);
            return;
        }
        if (!reading(s)) {
            /* Both directions have ended at the kernel, and somebody may still resume to read the rest. */
            loop_io_stop(&s->io);
            if (s->queue.bytes > 0 || s->pending.len > 0 || s->eof) {
                hold(s);
                finish(s, NET_CLOSE_RESET, "the other side closed the connection");
                (void)drop(s);
            }
            return;
        }
    }
    run(s);
}

static void on_task(void *arg)
{
    run(arg);
}

static void on_timer(void *arg)
{
    struct net_stream *s = arg;
    hold(s);
    if (s->state == LINGERING) {
        finish(s, NET_CLOSE_LOCAL, "closed");
    } else if (s->state == HANDSHAKE) {
        finish(s, NET_CLOSE_TIMEOUT, "the TLS handshake took too long");
    } else if (loop_now_ms(s->loop) - s->last_ms < NET_CLOSE_FLUSH_MS) {
        loop_timer_start_at(&s->timer, s->last_ms + NET_CLOSE_FLUSH_MS); /* slow, but it takes bytes */
    } else {
        finish(s, NET_CLOSE_TIMEOUT, "the other side did not take the last bytes in time");
    }
    (void)drop(s);
}

/* ---- verbs ---- */

void net_stream_close(struct net_stream *s)
{
    if (s->state == CLOSED || s->state == LINGERING || s->closing) {
        return;
    }
    s->closing = true;
    if (s->state == OPEN) {
        loop_timer_start(&s->timer, NET_CLOSE_FLUSH_MS);
    }
    loop_task_defer(&s->task);
}

void net_stream_set_ops(struct net_stream *s, const struct net_stream_ops *ops, void *arg)
{
    s->ops = ops;
    s->arg = arg;
    s->pull = NULL;
    s->pull_wanted = false;
}

void net_stream_unread(struct net_stream *s, struct str data)
{
    if (s->state != CLOSED && data.len > 0) {
        buf_append(&s->unread, data);
        loop_task_defer(&s->task);
    }
}

void net_stream_pause(struct net_stream *s)
{
    if (!s->paused) {
        s->paused = true;
        if (s->state == OPEN && s->opened && s->holds == 0) {
            loop_task_defer(&s->task);
        }
    }
}

void net_stream_resume(struct net_stream *s)
{
    if (s->paused) {
        s->paused = false;
        if (s->state == OPEN) {
            loop_task_defer(&s->task);
        }
    }
}

void net_stream_write(struct net_stream *s, const struct net_chunk *chunks, size_t n)
{
    bool dead = s->state == CLOSED || s->state == LINGERING || s->closing || s->shutting;
    for (size_t i = 0; i < n; i++) {
        if (dead) {
            net_chunk_unref(chunks[i]);
        } else {
            net_queue_push(&s->queue, chunks[i]);
        }
    }
    if (!dead) {
        s->above = s->above || net_stream_queued(s) >= s->high;
        loop_task_defer(&s->task);
    }
}

void net_stream_write_str(struct net_stream *s, struct str bytes)
{
    struct net_chunk c = net_chunk_copy(bytes);
    net_stream_write(s, &c, 1);
}

void net_stream_shutdown(struct net_stream *s)
{
    if (s->state != CLOSED && !s->shutting) {
        s->shutting = true;
        loop_task_defer(&s->task);
    }
}

size_t net_stream_queued(const struct net_stream *s)
{
    return s->queue.bytes + s->pending.len;
}

void net_stream_set_watermarks(struct net_stream *s, size_t high, size_t low)
{
    s->high = high;
    s->low = low;
    s->above = s->above || net_stream_queued(s) >= high;
}

void net_stream_set_pull(struct net_stream *s, net_stream_pull_fn *pull)
{
    s->pull = pull;
}

void net_stream_want_write(struct net_stream *s)
{
    if (s->state != CLOSED && s->pull) {
        s->pull_wanted = true;
        loop_task_defer(&s->task);
    }
}

struct loop *net_stream_loop(const struct net_stream *s)
{
    return s->loop;
}

const struct net_conn *net_stream_conn(const struct net_stream *s)
{
    return &s->conn;
}

void net_stream_set_path(struct net_stream *s, struct net_path *path)
{
    if (s->state == CLOSED || s->conn.path == path) {
        return;
    }
    if (s->conn.path) {
        net_path_closed(s->conn.path, &s->conn);
    }
    if (path) {
        net_path_opened(path, &s->conn);
    }
}

enum net_alpn net_stream_alpn(const struct net_stream *s)
{
    return s->ssl && s->opened ? net_tls_alpn(s->ssl) : (enum net_alpn)0;
}

uint64_t net_stream_last_activity_ms(const struct net_stream *s)
{
    return s->last_ms;
}
