#include "tunnel/front.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "net/http.h"
#include "net/stream-retire.h"
#include "tunnel/front-head.h"
#include "tunnel/limits.h"
#include "tunnel/relay.h"

enum { MAX_ANSWER = 64 << 20, ACCEPTS_PER_TURN = 64 };

struct front {
    struct loop *loop;
    const struct front_ops *ops;
    void *arg;
    char *path;
    int fd;
    struct loop_io io;
    struct loop_timer again; /* no descriptor was left */
    struct list conns;
    unsigned n_conns;
};

/* One connection, from accept to the end of its relay. */
struct conn {
    struct list link;
    struct front *front;
    struct net_stream *stream; /* until the relay has it */
    struct tunnel_far *far;    /* while it opens */
    struct tunnel_relay *relay;
    struct buf in;             /* the head; what follows it waits here */
    size_t head_size;
    struct loop_timer timer;   /* of the head, then of opening */
    char target[300];
};

static void conn_free(struct conn *c)
{
    list_remove(&c->link);
    c->front->n_conns--;
    loop_timer_stop(&c->timer);
    net_stream_free(c->stream);
    far_close(c->far);
    tunnel_relay_free(c->relay);
    buf_deinit(&c->in);
    free(c);
}

/* Answers and ends the connection once the answer is sent. */
static void answer(struct conn *c, int status, const char *type, struct str body)
{
    char head[256];
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
                     http_status_text(status), type, body.len);
    net_stream_write_str(c->stream, str_n(head, (size_t)n));
    net_stream_write_str(c->stream, body);
    net_stream_retire(c->stream);
    c->stream = NULL;
    conn_free(c);
}

static void refuse(struct conn *c, int status, const char *reason)
{
    char body[600];
    int n = snprintf(body, sizeof(body), "%.590s\n", reason);
    answer(c, status, "text/plain; charset=utf-8", str_n(body, (size_t)n));
}

/* ---- the far end opens ---- */

static void on_relay_done(struct tunnel_relay *r UNUSED, void *arg)
{
    struct conn *c = arg;
    c->relay = NULL;
    conn_free(c);
}

static void on_far_open(void *arg)
{
    struct conn *c = arg;
    struct net_stream *stream = TAKE(c->stream);
    struct tunnel_far *far = TAKE(c->far);
    loop_timer_stop(&c->timer);
    net_stream_write_str(stream, STR("HTTP/1.1 200 Connection established\r\n\r\n"));
    c->relay = tunnel_relay_new(stream, far, str_sub(buf_str(&c->in), c->head_size, c->in.len), on_relay_done, c);
    buf_deinit(&c->in);
}

static void on_far_refused(const char *reason, void *arg)
{
    struct conn *c = arg;
    c->far = NULL;
    log_debug("tunnel: CONNECT %s: %s", c->target, reason);
    refuse(c, 503, reason);
}

static void on_early_data(struct str data UNUSED, void *arg UNUSED)
{
}
static void on_early(void *arg UNUSED)
{
}
static void on_early_close(const char *reason, void *arg)
{
    on_far_refused(reason ? reason : "the stream ended", arg);
}

static const struct tunnel_far_events opening = {
    .on_open = on_far_open, .on_refused = on_far_refused, .on_data = on_early_data, .on_writable = on_early, .on_eof = on_early,
    .on_close = on_early_close,
};

/* ---- what is asked ---- */

static void on_timer(void *arg)
{
    struct conn *c = arg;
    if (c->head_size == 0) {
        conn_free(c);
        return;
    }
    log_debug("tunnel: CONNECT %s: no answer in time", c->target);
    c->far = far_close(c->far);
    refuse(c, 503, "the node did not answer in time");
}

static void start_connect(struct conn *c, const struct front_head *h)
{
    struct err err = { 0 };
    (void)snprintf(c->target, sizeof(c->target), "%.*s:%u", STR_ARG(h->host), h->port);
    c->far = c->front->ops->open(c->front->arg, h->host, h->port, &opening, c, &err);
    if (!c->far) {
        log_debug("tunnel: CONNECT %s: %s", c->target, err.msg);
        refuse(c, 503, err.msg);
        return;
    }
    loop_timer_start(&c->timer, TUNNEL_OPEN_MS);
}

static void start_get(struct conn *c, struct str path)
{
    CLEANUP(buf_deinit) struct buf b;
    const char *type = "text/plain; charset=utf-8";
    buf_init(&b, MAX_ANSWER);
    int status = c->front->ops->get(c->front->arg, path, &b, &type);
    answer(c, buf_failed(&b) ? 500 : status, type, buf_failed(&b) ? STR("the answer is too big\n") : buf_str(&b));
}

static void on_data(struct net_stream *s, struct str data, void *arg)
{
    struct conn *c = arg;
    struct front_head h;
    buf_append(&c->in, data);
    if (buf_failed(&c->in)) {
        refuse(c, 431, "the head is too long");
        return;
    }
    enum front_head_result r = front_head_parse(buf_str(&c->in), &h);
    if (r == FRONT_HEAD_MORE) {
        return;
    }
    net_stream_pause(s);
    loop_timer_stop(&c->timer);
    if (r == FRONT_HEAD_REFUSED) {
        refuse(c, h.status, h.reason);
        return;
    }
    c->head_size = h.size;
    if (h.connect) {
        start_connect(c, &h);
    } else {
        start_get(c, h.path);
    }
}

/* Whoever ends its direction while the tunnel opens is gone: half a connection says nothing before it is joined. */
static void on_eof(struct net_stream *s UNUSED, void *arg)
{
    conn_free(arg);
}

static void on_close(struct net_stream *s UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    conn_free(arg);
}

static const struct net_stream_ops conn_ops = { .on_data = on_data, .on_eof = on_eof, .on_close = on_close };

static void accept_one(struct front *f, int fd)
{
    struct conn *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->front = f;
    list_push_back(&f->conns, &c->link);
    f->n_conns++;
    buf_init(&c->in, TUNNEL_MAX_HEAD + (64u << 10)); /* one read may follow the head */
    loop_timer_init(&c->timer, f->loop, on_timer, c);
    c->stream = net_stream_new(f->loop, fd, &conn_ops, c);
    loop_timer_start(&c->timer, TUNNEL_HEAD_MS);
    if (f->n_conns > TUNNEL_MAX_CONNECTIONS) {
        refuse(c, 503, "too many connections through tunnels");
    }
}

static void on_again(void *arg)
{
    struct front *f = arg;
    (void)loop_io_set(&f->io, LOOP_READ);
}

static void on_accept(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct front *f = arg;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(f, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            log_warning("tunnel: no descriptor or memory is left for another connection");
            (void)loop_io_set(io, 0);
            loop_timer_start(&f->again, 100);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

struct front *front_new(struct loop *l, struct str path, mode_t mode, const struct front_ops *ops, void *arg, struct err *err)
{
    struct net_addr addr;
    if (!net_addr_unix(path, &addr)) {
        err_set(err, ERR_INVALID, "\"%.*s\" is no path of a unix socket", STR_ARG(path));
        return NULL;
    }
    /* The file must never be open to others, not for a moment. */
    mode_t old = umask(0777 & ~mode);
    int fd = net_listen(&addr, mode, err);
    (void)umask(old);
    if (fd < 0) {
        return NULL;
    }
    struct front *f = calloc(1, sizeof(*f));
    if (!f || !(f->path = strndup(path.ptr, path.len))) {
        abort();
    }
    f->loop = l;
    f->ops = ops;
    f->arg = arg;
    f->fd = fd;
    list_init(&f->conns);
    loop_timer_init(&f->again, l, on_again, f);
    loop_io_init(&f->io, l, fd, on_accept, f);
    if (loop_io_set(&f->io, LOOP_READ) < 0) {
        err_set(err, ERR_IO, "the unix socket cannot be watched");
        return front_free(f);
    }
    return f;
}

struct front *front_free(struct front *f)
{
    if (f) {
        LIST_FOREACH(&f->conns, struct conn, link, c) {
            conn_free(c);
        }
        loop_timer_stop(&f->again);
        loop_io_stop(&f->io);
        (void)close(f->fd);
        if (f->path[0] != '@') {
            (void)unlink(f->path);
        }
        free(f->path);
        free(f);
    }
    return NULL;
}

unsigned front_connections(const struct front *f)
{
    return f->n_conns;
}
