#include "net/http-server-private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/path.h"

/* Connections taken from one listener in one turn. */
enum { ACCEPT_BURST = 32, ACCEPT_PAUSE_MS = 100 };

struct http_listener {
    struct list link;
    struct http_server *server;
    struct loop_io io;
    struct loop_timer pause; /* no descriptors are left: try again later */
    struct net_tls_server *tls;
    const void *cookie;
    struct net_listener *known; /* in the registry of paths */
};

struct http_server {
    struct loop *loop;
    struct http_server_config config;
    struct list listeners, conns, pump;
    struct loop_task pump_task;
    unsigned n_conns;
    struct http_gate gate;
    struct buf scratch;
    char date[HTTP_DATE_SIZE];
    int64_t date_s;
    bool draining;
    struct loop_timer drain_timer;
    loop_fn *drain_done;
    void *drain_arg;
};

/* ---- small things for the protocols ---- */

struct str http_server_date(struct http_server *srv)
{
    int64_t now = clock_real_s();
    if (now != srv->date_s) {
        srv->date_s = now;
        (void)http_date(now, srv->date);
    }
    return str_c(srv->date);
}

int64_t http_server_date_s(const struct http_server *srv)
{
    return srv->date_s;
}

struct buf *http_server_scratch(struct http_server *srv)
{
    buf_clear(&srv->scratch);
    return &srv->scratch;
}

const struct http_server_config *http_server_config(const struct http_server *srv)
{
    return &srv->config;
}

struct loop *http_server_loop(const struct http_server *srv)
{
    return srv->loop;
}

struct list *http_server_pump(struct http_server *srv)
{
    return &srv->pump;
}

void http_server_defer_pump(struct http_server *srv)
{
    loop_task_defer(&srv->pump_task);
}

unsigned http_server_connections(const struct http_server *srv)
{
    return srv->n_conns;
}

/* ---- connections ---- */

struct http_conn *http_conn_hold(struct http_conn *c)
{
    c->holds++;
    return c;
}

void http_conn_drop(struct http_conn *c)
{
    if (--c->holds == 0) {
        if (c->peer) {
            net_ref_put(&c->peer->ref);
        }
        net_path_unref(c->path);
        free(c->proto);
        free(c);
    }
}

void http_conn_trust(struct http_conn *c)
{
    c->trusted = true;
    http_gate_leave(&c->server->gate, c);
}

uint32_t http_conn_idle_ms(const struct http_conn *c)
{
    uint32_t ms = c->server->config.idle_ms;
    return c->trusted ? ms : MIN(ms, (uint32_t)HTTP_IDLE_MS_BEFORE);
}

uint32_t http_conn_write_stall_ms(const struct http_conn *c)
{
    return c->trusted ? HTTP_WRITE_STALL_MS : HTTP_WRITE_STALL_MS_BEFORE;
}

void http_conn_close(struct http_conn *c)
{
    if (c->io) {
        c->closing = true;
        net_stream_close(c->io);
    }
}

static void check_drained(struct http_server *srv)
{
    if (srv->draining && srv->n_conns == 0 && srv->drain_done) {
        loop_fn *done = srv->drain_done;
        srv->drain_done = NULL;
        loop_timer_stop(&srv->drain_timer);
        done(srv->drain_arg);
    }
}

static void unlink_conn(struct http_conn *c)
{
    if (c->gone) {
        return;
    }
    c->gone = true;
    loop_timer_stop(&c->timer);
    http_gate_leave(&c->server->gate, c);
    list_remove(&c->link);
    c->server->n_conns--;
    (void)http_conn_hold(c);
    if (c->ops) {
        c->ops->free(c);
    }
    check_drained(c->server);
    http_conn_drop(c);
    http_conn_drop(c); /* the server's own */
}

void http_conn_gone(struct http_conn *c)
{
    c->io = net_stream_free(c->io);
    unlink_conn(c);
}

void http_conn_released(struct http_conn *c)
{
    c->io = NULL;
    unlink_conn(c);
}

static void on_first_timeout(void *arg)
{
    struct http_conn *c = arg;
    if (!c->forgiven && net_stream_unread_bytes(c->io) > 0) {
        c->forgiven = true; /* we are slow; once */
        loop_timer_start(&c->timer, NET_HANDSHAKE_MS);
        return;
    }
    http_conn_gone(c);
}

/* ---- choosing the protocol ---- */

static void start_protocol(struct http_conn *c, bool h2)
{
    const struct net_conn *info = net_stream_conn(c->io);
    if (info->peer) {
        /* The registry's view is read-only; the count inside is not. */
        c->peer = (struct net_peer *)(uintptr_t)info->peer;
        net_ref_get(&c->peer->ref);
    }
    loop_timer_stop(&c->timer);
    net_stream_set_ops(c->io, h2 ? &http_h2_stream_ops : &http_h1_stream_ops, c);
    if (h2) {
        http_h2_start(c);
    } else {
        http_h1_start(c);
    }
}

static void first_open(struct net_stream *io, void *arg)
{
    struct http_conn *c = arg;
    enum net_alpn alpn = net_stream_alpn(io);
    if (alpn != 0 || net_stream_conn(io)->encrypted) {
        start_protocol(c, alpn == NET_ALPN_H2);
    }
}

/* Plain text: HTTP/2 by prior knowledge begins with "PRI " and no HTTP/1.1 method does. */
static void first_data(struct net_stream *io UNUSED, struct str data, void *arg)
{
    struct http_conn *c = arg;
    char head[sizeof(c->first)];
    size_t n = c->n_first, take = MIN(data.len, sizeof(head) - n);
    memcpy(head, c->first, n);
    memcpy(head + n, data.ptr, take);
    bool may_be = memcmp(head, "PRI ", n + take) == 0;
    if (may_be && n + take < sizeof(head)) {
        memcpy(c->first, head, n + take);
        c->n_first = (uint8_t)(n + take);
        return;
    }
    const struct net_stream_ops *ops = may_be ? &http_h2_stream_ops : &http_h1_stream_ops;
    (void)http_conn_hold(c);
    start_protocol(c, may_be);
    if (n > 0 && c->io) {
        ops->on_data(c->io, str_n(head, n), c);
    }
    if (c->io) {
        ops->on_data(c->io, data, c);
    }
    http_conn_drop(c);
}

static void first_close(struct net_stream *io UNUSED, enum net_close why, const char *reason, void *arg)
{
    struct http_conn *c = arg;
    if (why == NET_CLOSE_TLS || why == NET_CLOSE_TIMEOUT) {
        char text[NET_ADDR_TEXT_SIZE];
        log_info("net: connection from %s dropped: %s", net_addr_text(&c->remote, text).ptr, reason);
        net_path_failed(c->path, reason);
    }
    http_conn_gone(c);
}

static void first_eof(struct net_stream *io UNUSED, void *arg)
{
    http_conn_gone(arg);
}

static const struct net_stream_ops first_ops = {
    .on_open = first_open, .on_data = first_data, .on_eof = first_eof, .on_close = first_close,
};

void http_server_serve(struct http_server *srv, const struct http_arrival *a)
{
    struct http_conn *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->server = srv;
    c->cookie = a->cookie;
    c->holds = 1;
    list_init(&c->streams);
    list_push_back(&srv->conns, &c->link);
    srv->n_conns++;
    list_init(&c->stranger);
    c->io = a->tls ? net_stream_new_tls_server(srv->loop, a->fd, a->tls, &first_ops, c)
                   : net_stream_new(srv->loop, a->fd, &first_ops, c);
    c->path = net_path_ref(a->path);
    net_stream_set_path(c->io, a->path);
    c->local = net_stream_conn(c->io)->local;
    c->remote = net_stream_conn(c->io)->remote;
    c->since_ms = loop_now_ms(srv->loop);
    loop_timer_init(&c->timer, srv->loop, on_first_timeout, c);
    loop_timer_start(&c->timer, MAX(srv->config.header_ms, (uint32_t)NET_HANDSHAKE_MS));
    http_gate_enter(c, a->address);
    if (srv->n_conns > srv->config.max_connections) {
        char text[NET_ADDR_TEXT_SIZE];
        log_warning("net: connection from %s refused: too many connections", net_addr_text(&c->remote, text).ptr);
        http_conn_gone(c);
    }
}

/* ---- listeners ---- */

static void on_accept(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct http_listener *l = arg;
    for (int i = 0; i < ACCEPT_BURST; i++) {
        struct net_addr remote = { .len = sizeof(struct sockaddr_un) };
        int fd = accept4(io->fd, &remote.sa, &remote.len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            struct http_arrival a = { .fd = fd, .tls = l->tls, .cookie = l->cookie, .path = net_listener_path(l->known) };
            http_gate_arrive(&l->server->gate, &a, &remote);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warning("net: cannot accept connections, trying again in %d ms: %s", ACCEPT_PAUSE_MS,
                        errno == EMFILE ? "too many open files" : "the system is out of resources");
            (void)loop_io_set(io, 0);
            loop_timer_start(&l->pause, ACCEPT_PAUSE_MS);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void accept_again(void *arg)
{
    struct http_listener *l = arg;
    (void)loop_io_set(&l->io, LOOP_READ);
}

static void listener_free(struct http_listener *l)
{
    loop_io_stop(&l->io);
    loop_timer_stop(&l->pause);
    (void)close(l->io.fd);
    net_listener_free(l->known);
    net_tls_server_unref(l->tls);
    list_remove(&l->link);
    free(l);
}

bool http_server_listen(struct http_server *srv, int fd, struct net_tls_server *tls, const void *cookie, struct err *err)
{
    struct http_listener *l = calloc(1, sizeof(*l));
    if (!l) {
        abort();
    }
    int flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    l->server = srv;
    l->tls = net_tls_server_ref(tls);
    l->known = net_listener_new(srv->loop, fd, tls);
    l->cookie = cookie;
    loop_io_init(&l->io, srv->loop, fd, on_accept, l);
    loop_timer_init(&l->pause, srv->loop, accept_again, l);
    list_push_back(&srv->listeners, &l->link);
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
        listener_free(l);
        return err_set(err, ERR_INVALID, "descriptor %d is not a listening socket", fd);
    }
    int r = loop_io_set(&l->io, LOOP_READ);
    if (r < 0) {
        listener_free(l);
        return err_set_errno(err, -r, "cannot watch a listening socket");
    }
    return true;
}

void http_server_describe(struct http_server *srv, int fd, const char *purpose, const char *authn, const char *authz)
{
    net_listener_describe(srv->loop, fd, purpose, authn, authz);
}

void http_server_serve_fd(struct http_server *srv, int fd, struct net_tls_server *tls, const void *cookie)
{
    struct http_arrival a = { .fd = fd, .tls = tls, .cookie = cookie };
    struct net_addr remote = { .len = sizeof(struct sockaddr_un) };
    if (getpeername(fd, &remote.sa, &remote.len) < 0) {
        remote.len = 0;
    }
    http_gate_arrive(&srv->gate, &a, &remote);
}

/* ---- the server ---- */

struct http_server *http_server_new(struct loop *l, const struct http_server_config *config, struct err *err)
{
    struct http_server *srv = calloc(1, sizeof(*srv));
    if (!srv) {
        err_set(err, ERR_NO_MEMORY, "no memory for an HTTP server");
        return NULL;
    }
    srv->loop = l;
    srv->config = *config;
    struct http_server_config *c = &srv->config;
    c->max_header_bytes = c->max_header_bytes ? c->max_header_bytes : HTTP_MAX_HEADER_BYTES;
    c->max_connections = c->max_connections ? c->max_connections : HTTP_MAX_CONNECTIONS;
    c->max_streams = c->max_streams ? c->max_streams : HTTP2_MAX_STREAMS;
    c->idle_ms = c->idle_ms ? c->idle_ms : HTTP_IDLE_MS;
    c->header_ms = c->header_ms ? c->header_ms : HTTP_HEADER_MS;
    list_init(&srv->listeners);
    list_init(&srv->conns);
    list_init(&srv->pump);
    http_gate_init(&srv->gate, srv);
    buf_init(&srv->scratch, 1024 * 1024);
    loop_task_init(&srv->pump_task, l, http_stream_pump_run, srv);
    return srv;
}

static void close_listeners(struct http_server *srv)
{
    LIST_FOREACH(&srv->listeners, struct http_listener, link, l)
    {
        listener_free(l);
    }
}

static void cut_all(struct http_server *srv)
{
    while (!list_empty(&srv->conns)) {
        http_conn_gone(LIST_ENTRY(srv->conns.next, struct http_conn, link));
    }
}

static void drain_over(void *arg)
{
    struct http_server *srv = arg;
    cut_all(srv);
    check_drained(srv);
}

void http_server_drain(struct http_server *srv, uint32_t max_ms, loop_fn *done, void *arg)
{
    srv->draining = true;
    srv->drain_done = done;
    srv->drain_arg = arg;
    close_listeners(srv);
    http_gate_close(&srv->gate);
    loop_timer_init(&srv->drain_timer, srv->loop, drain_over, srv);
    loop_timer_start(&srv->drain_timer, srv->n_conns == 0 ? 0 : max_ms);
    LIST_FOREACH(&srv->conns, struct http_conn, link, c)
    {
        c->draining = true;
        if (c->ops) {
            c->ops->drain(c);
        } else {
            http_conn_close(c);
        }
    }
}

struct http_server *http_server_free(struct http_server *srv)
{
    if (!srv) {
        return NULL;
    }
    srv->drain_done = NULL;
    loop_timer_stop(&srv->drain_timer);
    close_listeners(srv);
    cut_all(srv);
    loop_task_cancel(&srv->pump_task);
    http_gate_deinit(&srv->gate);
    buf_deinit(&srv->scratch);
    free(srv);
    return NULL;
}
