#include "proxy/relay-private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "proxy/table.h"

static struct metric metric_connections =
    METRIC_COUNTER("kubeproxy_userspace_connections_total", "TCP connections that were passed on, and those that were not.", "result");
static struct metric metric_bytes = METRIC_COUNTER("kubeproxy_userspace_bytes_total", "Bytes passed on.", "protocol", "direction");
static struct metric metric_open = METRIC_GAUGE("kubeproxy_userspace_connections", "TCP connections that are open.");

/* An endpoint has so long to answer; then the next one is tried (the original's times). */
static const uint16_t dial_ms[] = { 250, 500, 1000, 2000 };

struct side {
    struct connection *c;
    int fd;
    bool hup; /* both directions are over, or it broke: epoll goes on saying so */
    struct loop_io io;
};

/* One direction. Bytes that 'to' does not take yet wait in a pipe; only then is there one. */
struct flow {
    struct side *from, *to;
    struct relay_pipe *pipe;
    size_t in_pipe;
    bool eof;  /* 'from' has ended */
    bool done; /* and 'to' was told */
};

struct connection {
    struct list link; /* the inlet's, or the relay's orphans */
    struct relay *relay;
    struct inlet *inlet; /* NULL: it is gone */
    struct side client, endpoint;
    struct flow up, down;
    struct loop_timer timer; /* while dialling */
    struct proxy_addr addr;  /* of the client */
    bool from_node, established;
    unsigned attempts;
    struct proxy_endpoint to;
};

static void close_side(struct side *s)
{
    if (s->fd >= 0) {
        loop_io_stop(&s->io);
        close(s->fd);
        s->fd = -1;
    }
}

static void reset(int fd)
{
    const struct linger now = { .l_onoff = 1 };
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* 'broken': what was not finished is reset, so that neither side takes it for a whole answer. */
static void free_connection(struct connection *c, bool broken)
{
    struct side *const sides[] = { &c->client, &c->endpoint };
    for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
        if (broken && sides[i]->fd >= 0) {
            reset(sides[i]->fd);
        }
        close_side(sides[i]);
    }
    loop_timer_stop(&c->timer);
    relay_give_pipe(c->relay, c->up.pipe, !c->up.in_pipe);
    relay_give_pipe(c->relay, c->down.pipe, !c->down.in_pipe);
    list_remove(&c->link);
    if (c->inlet) {
        c->inlet->n_users--;
    }
    c->relay->n_connections--;
    metric_set(metric_cell(&metric_open), (double)c->relay->n_connections);
    free(c);
}

/* ---- moving bytes ---- */

static const unsigned splice_flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

/* From the pipe on. False: it broke. */
static bool empty_pipe(struct flow *f)
{
    while (f->in_pipe) {
        ssize_t n = splice(f->pipe->r, NULL, f->to->fd, NULL, f->in_pipe, splice_flags);
        if (n > 0) {
            f->in_pipe -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            return true;
        } else if (n == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* False: it broke. */
static bool pump(struct relay *r, struct flow *f, struct metric_cell *bytes)
{
    bool ok = empty_pipe(f);
    for (int i = 0; ok && !f->eof && !f->in_pipe && i < RELAY_TURN_READS; i++) {
        if (!f->pipe && !(f->pipe = relay_take_pipe(r))) {
            return false;
        }
        ssize_t n = splice(f->from->fd, NULL, f->pipe->w, NULL, RELAY_PIPE_BYTES, splice_flags);
        if (n > 0) {
            f->in_pipe += (size_t)n;
            metric_add(bytes, (double)n);
            ok = empty_pipe(f);
        } else if (n == 0) {
            f->eof = true;
        } else if (errno == EAGAIN) {
            break;
        } else {
            ok = errno == EINTR;
        }
    }
    if (ok && f->eof && !f->in_pipe && !f->done) {
        (void)shutdown(f->to->fd, SHUT_WR);
        f->done = true;
    }
    if (!f->in_pipe) {
        relay_give_pipe(r, f->pipe, true);
        f->pipe = NULL;
    }
    return ok;
}

static int watch(struct side *s, const struct flow *out_of, const struct flow *into)
{
    unsigned events = (!out_of->eof && !out_of->in_pipe ? (unsigned)LOOP_READ : 0) | (into->in_pipe ? (unsigned)LOOP_WRITE : 0);
    if (!events && s->hup) {
        loop_io_stop(&s->io);
        return 0;
    }
    return loop_io_set(&s->io, events);
}

static void go_on(struct connection *c)
{
    static struct metric_cell *up, *down;
    if (!up) {
        up = metric_cell(&metric_bytes, STR("tcp"), STR("to_endpoint"));
        down = metric_cell(&metric_bytes, STR("tcp"), STR("to_client"));
    }
    bool ok = pump(c->relay, &c->up, up) && pump(c->relay, &c->down, down);
    if (!ok || (c->up.done && c->down.done)) {
        free_connection(c, !ok);
    } else if (watch(&c->client, &c->up, &c->down) < 0 || watch(&c->endpoint, &c->down, &c->up) < 0) {
        free_connection(c, true);
    }
}

static void on_side(struct loop_io *io UNUSED, unsigned events, void *arg)
{
    struct side *s = arg;
    s->hup = s->hup || (events & LOOP_HUP);
    go_on(s->c);
}

/* ---- dialling ---- */

static void dial(struct connection *c);

static void prepare(int fd)
{
    const int one = 1, idle = 60, interval = 15, count = 4;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static void give_up(struct connection *c, struct str why)
{
    metric_add(metric_cell(&metric_connections, why), 1);
    free_connection(c, true);
}

/* The endpoint refused, or did not answer in time. */
static void try_next(struct connection *c)
{
    close_side(&c->endpoint);
    loop_timer_stop(&c->timer);
    if (!c->inlet || c->attempts == ARRAY_SIZE(dial_ms)) {
        log_warning("%s: no endpoint answers", c->inlet ? c->inlet->name : "a Service that is gone");
        give_up(c, STR("unreachable"));
    } else {
        dial(c);
    }
}

static void on_dial_timeout(void *arg)
{
    try_next(arg);
}

static void on_dialled(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct side *s = arg;
    struct connection *c = s->c;
    int e = 0;
    socklen_t n = sizeof(e);
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0 || e) {
        try_next(c);
        return;
    }
    loop_timer_stop(&c->timer);
    c->established = true;
    c->client.io.fn = c->endpoint.io.fn = on_side;
    metric_add(metric_cell(&metric_connections, STR("ok")), 1);
    go_on(c);
}

/* A client that went away meanwhile. One that only ended its own direction stays. */
static void on_client_waiting(struct loop_io *io UNUSED, unsigned events, void *arg)
{
    struct side *s = arg;
    if (events & LOOP_HUP) {
        give_up(s->c, STR("client_gone"));
    }
}

static void dial(struct connection *c)
{
    struct sockaddr_storage sa;
    struct side *s = &c->endpoint;
    if (!inlet_choose(c->inlet, &c->addr, c->from_node, c->attempts > 0, &c->to)) {
        give_up(c, STR("no_endpoints"));
        return;
    }
    bool v6 = c->inlet->family == NFPROTO_IPV6;
    socklen_t len = proxy_addr_to_sockaddr(c->inlet->family, &c->to.addr, c->to.port, &sa);
    s->fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        give_up(c, STR("limit"));
        return;
    }
    prepare(s->fd);
    loop_io_init(&s->io, c->relay->loop, s->fd, on_dialled, s);
    loop_timer_start(&c->timer, dial_ms[c->attempts++]);
    /* A refusal comes at once where the endpoint is on this node: it is taken up from the loop as any other, as is a descriptor
     * that cannot be watched, by the timer. */
    if ((connect(s->fd, (const struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) || loop_io_set(&s->io, LOOP_WRITE) < 0) {
        close_side(s);
        loop_timer_start(&c->timer, 0);
    }
}

/* ---- accepting ---- */

static void accepted(struct inlet *f, int fd, const struct proxy_addr *addr)
{
    struct relay *r = f->relay;
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct proxy_addr here;
    uint16_t port;
    uint8_t family;
    struct connection *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->relay = r;
    c->inlet = f;
    c->addr = *addr;
    /* What the node itself sends is redirected to loopback. */
    c->from_node = getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
                   proxy_addr_of_sockaddr((const struct sockaddr *)&sa, &family, &here, &port) &&
                   (proxy_addr_is_loopback(family, &here) || memcmp(&here, addr, sizeof(here)) == 0);
    c->client = (struct side){ .c = c, .fd = fd };
    c->endpoint = (struct side){ .c = c, .fd = -1 };
    c->up = (struct flow){ .from = &c->client, .to = &c->endpoint };
    c->down = (struct flow){ .from = &c->endpoint, .to = &c->client };
    list_init(&c->link);
    list_push_back(&f->users, &c->link);
    f->n_users++;
    r->n_connections++;
    metric_set(metric_cell(&metric_open), (double)r->n_connections);
    loop_timer_init(&c->timer, r->loop, on_dial_timeout, c);
    loop_io_init(&c->client.io, r->loop, fd, on_client_waiting, &c->client);
    prepare(fd);
    if (loop_io_set(&c->client.io, LOOP_HUP) < 0) {
        give_up(c, STR("limit"));
        return;
    }
    dial(c);
}

void relay_tcp_ready(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct inlet *f = arg;
    struct relay *r = f->relay;
    for (int i = 0; i < RELAY_TURN_ACCEPTS; i++) {
        struct sockaddr_storage sa;
        struct proxy_addr addr;
        socklen_t len = sizeof(sa);
        uint16_t port;
        uint8_t family;
        int fd = accept4(f->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            log_warning("%s: no connection can be accepted (%s)", f->name, strerror(errno));
            (void)loop_io_set(io, 0);
            loop_timer_start(&f->timer, RELAY_ACCEPT_PAUSE_MS);
            return;
        }
        if (fd < 0 && errno == EAGAIN) {
            return;
        }
        if (fd < 0) {
            continue; /* that one broke before it was taken */
        }
        const char *refused = NULL;
        if (!proxy_addr_of_sockaddr((const struct sockaddr *)&sa, &family, &addr, &port) || !inlet_admits(f, &addr)) {
            refused = "not_allowed";
        } else if (r->n_connections >= r->most_connections || f->n_users >= r->most_connections / RELAY_SHARE) {
            refused = "limit";
        }
        if (refused) {
            metric_add(metric_cell(&metric_connections, str_c(refused)), 1);
            reset(fd);
            close(fd);
        } else {
            accepted(f, fd, &addr);
        }
    }
}

void relay_tcp_resume(void *arg)
{
    struct inlet *f = arg;
    if (loop_io_set(&f->io, LOOP_READ) < 0) {
        loop_timer_start(&f->timer, RELAY_ACCEPT_PAUSE_MS);
    }
}

void relay_tcp_detach(struct inlet *f)
{
    LIST_FOREACH (&f->users, struct connection, link, c) {
        if (c->established) {
            list_remove(&c->link);
            list_push_back(&f->relay->orphans, &c->link);
            c->inlet = NULL;
        } else {
            give_up(c, STR("no_endpoints"));
        }
    }
    f->n_users = 0;
}

void relay_tcp_cut_orphans(struct relay *r)
{
    while (!list_empty(&r->orphans)) {
        free_connection(LIST_ENTRY(r->orphans.next, struct connection, link), true);
    }
}
