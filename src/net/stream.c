#include "net/stream-private.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <unistd.h>

#include "net/path.h"
#include "net/tls-private.h"

static void on_io(struct loop_io *io, unsigned events, void *arg);
static void on_task(void *arg);
static void on_timer(void *arg);

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
    s->shared = stream_shared(l);
    s->ops = ops;
    s->arg = arg;
    s->high = NET_HIGH_WATER;
    s->low = NET_LOW_WATER;
    s->state = STREAM_OPEN;
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
    buf_init(&s->pending, STREAM_PENDING_MAX);
    buf_init(&s->unread, STREAM_PENDING_MAX);
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
    s->state = STREAM_HANDSHAKE;
    s->ssl = s->conn.session = ssl;
    stream_attach_bio(s);
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
    if (s->ssl && s->state == STREAM_HANDSHAKE) {
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
    if (s->state == STREAM_CLOSED) {
        return;
    }
    s->state = STREAM_CLOSED;
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

void stream_hold(struct net_stream *s)
{
    s->holds++;
}

bool stream_drop(struct net_stream *s)
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

void stream_finish(struct net_stream *s, enum net_close why, const char *reason)
{
    if (s->state == STREAM_CLOSED) {
        return;
    }
    close_socket(s);
    if (s->ops->on_close) {
        s->ops->on_close(s, why, reason, s->arg);
    }
}

void stream_finish_errno(struct net_stream *s, int errnum)
{
    char text[128], reason[192];
    (void)snprintf(reason, sizeof(reason), "the connection broke: %s", strerror_r(errnum, text, sizeof(text)));
    stream_finish(s, NET_CLOSE_RESET, reason);
}

/* ---- events ---- */

bool stream_reads(const struct net_stream *s)
{
    return s->state == STREAM_HANDSHAKE || s->state == STREAM_LINGERING ||
           (s->state == STREAM_OPEN && !s->paused && !s->eof && !s->closing && s->unread.len == 0);
}

static void update_events(struct net_stream *s)
{
    if (s->state == STREAM_CLOSED) {
        return;
    }
    unsigned events = (stream_reads(s) && !s->eof ? LOOP_READ : 0U) | (s->pending.len > 0 ? LOOP_WRITE : 0U);
    int r = loop_io_set(&s->io, events);
    if (r < 0) {
        stream_finish_errno(s, -r);
    }
}

void stream_tls_failed(struct net_stream *s, int n)
{
    char reason[256];
    int e = SSL_get_error(s->ssl, n);
    if (s->io_errno) {
        ERR_clear_error();
        stream_finish_errno(s, s->io_errno);
    } else if (s->eof && e == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        stream_finish(s, NET_CLOSE_RESET, "the connection ended without a TLS close");
    } else {
        bool cut = s->eof;
        net_tls_reason(s->ssl, reason, sizeof(reason));
        /* The alert, if there is one, has been handed to the socket by bio_write() already. */
        stream_finish(s, cut && s->opened ? NET_CLOSE_RESET : NET_CLOSE_TLS,
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
    if (s->state != STREAM_HANDSHAKE) {
        return s->state == STREAM_OPEN;
    }
    if (!s->ssl || !SSL_get_rbio(s->ssl)) {
        stream_finish(s, NET_CLOSE_TLS, "TLS: cannot make a session for this server name");
        return false;
    }
    ERR_clear_error();
    int r = SSL_do_handshake(s->ssl);
    if (r == 1) {
        s->state = STREAM_OPEN;
        s->want_read = true; /* the first request may have come with the handshake's last record */
        tell_open(s);
        return s->state == STREAM_OPEN;
    }
    if (SSL_get_error(s->ssl, r) != SSL_ERROR_WANT_READ) {
        stream_tls_failed(s, r);
    }
    return false;
}

void stream_check_both_ended(struct net_stream *s)
{
    if (s->state == STREAM_OPEN && s->eof_told && s->fin_sent && !s->closing) {
        stream_finish(s, NET_CLOSE_EOF, "the connection ended");
    }
}

static void work(struct net_stream *s)
{
    if (s->state == STREAM_LINGERING) {
        stream_linger(s);
        return;
    }
    if (!handshake(s)) {
        if (s->state == STREAM_HANDSHAKE) {
            int r = stream_flush_pending(s);
            if (r < 0 && r != -EAGAIN) {
                stream_finish_errno(s, -r);
            }
        }
        return;
    }
    if (!s->opened) {
        tell_open(s);
    }
    stream_deliver_unread(s);
    if (s->state == STREAM_OPEN && stream_reads(s)) {
        stream_read_all(s);
    }
    if (s->state == STREAM_OPEN && stream_write_all(s)) {
        stream_after_write(s);
    }
}

static void run(struct net_stream *s)
{
    stream_hold(s);
    s->socket_empty = false;
    work(s);
    if (stream_drop(s)) {
        stream_hold(s);
        update_events(s);
        (void)stream_drop(s);
    }
}

static void on_io(struct loop_io *io UNUSED, unsigned events, void *arg)
{
    struct net_stream *s = arg;
    if ((events & LOOP_HUP) && !(events & LOOP_READ) && s->state == STREAM_OPEN) {
        int errnum = 0;
        socklen_t len = sizeof(errnum);
        (void)getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
        if (errnum != 0) {
            stream_hold(s);
            stream_finish_errno(s, errnum);
            (void)stream_drop(s);
            return;
        }
        if (!stream_reads(s)) {
            /* Both directions have ended at the kernel, and somebody may still resume to read the rest. */
            loop_io_stop(&s->io);
            if (s->queue.bytes > 0 || s->pending.len > 0 || s->eof) {
                stream_hold(s);
                stream_finish(s, NET_CLOSE_RESET, "the other side closed the connection");
                (void)stream_drop(s);
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
    stream_hold(s);
    if (s->state == STREAM_LINGERING) {
        stream_finish(s, NET_CLOSE_LOCAL, "closed");
    } else if (s->state == STREAM_HANDSHAKE && !s->forgiven && net_stream_unread_bytes(s) > 0) {
        s->forgiven = true; /* we are slow, not the peer; once, so that a peer cannot drip bytes for ever */
        loop_timer_start(&s->timer, NET_HANDSHAKE_MS);
    } else if (s->state == STREAM_HANDSHAKE) {
        stream_finish(s, NET_CLOSE_TIMEOUT, "the TLS handshake took too long");
    } else if (loop_now_ms(s->loop) - s->last_ms < NET_CLOSE_FLUSH_MS) {
        loop_timer_start_at(&s->timer, s->last_ms + NET_CLOSE_FLUSH_MS); /* slow, but it takes bytes */
    } else {
        stream_finish(s, NET_CLOSE_TIMEOUT, "the other side did not take the last bytes in time");
    }
    (void)stream_drop(s);
}

/* ---- verbs ---- */

void net_stream_close(struct net_stream *s)
{
    if (s->state == STREAM_CLOSED || s->state == STREAM_LINGERING || s->closing) {
        return;
    }
    s->closing = true;
    if (s->state == STREAM_OPEN) {
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
    if (s->state != STREAM_CLOSED && data.len > 0) {
        buf_append(&s->unread, data);
        loop_task_defer(&s->task);
    }
}

void net_stream_pause(struct net_stream *s)
{
    if (!s->paused) {
        s->paused = true;
        if (s->state == STREAM_OPEN && s->opened && s->holds == 0) {
            loop_task_defer(&s->task);
        }
    }
}

void net_stream_resume(struct net_stream *s)
{
    if (s->paused) {
        s->paused = false;
        if (s->state == STREAM_OPEN) {
            loop_task_defer(&s->task);
        }
    }
}

void net_stream_write(struct net_stream *s, const struct net_chunk *chunks, size_t n)
{
    bool dead = s->state == STREAM_CLOSED || s->state == STREAM_LINGERING || s->closing || s->shutting;
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
    if (s->state != STREAM_CLOSED && !s->shutting) {
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
    if (s->state != STREAM_CLOSED && s->pull) {
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

enum net_alpn net_stream_alpn(const struct net_stream *s)
{
    return s->ssl && s->opened ? net_tls_alpn(s->ssl) : (enum net_alpn)0;
}

uint64_t net_stream_last_activity_ms(const struct net_stream *s)
{
    return s->last_ms;
}
