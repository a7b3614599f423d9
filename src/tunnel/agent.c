#include "tunnel/agent.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "base/rand.h"
#include "net/dial.h"
#include "net/stream.h"
#include "tunnel/limits.h"
#include "tunnel/mux.h"
#include "tunnel/relay.h"

struct agent {
    struct loop *loop;
    char *host;
    uint16_t port;
    struct net_tls_client *tls;
    const struct tunnel_allow *allow;
    struct net_dial *dial;
    struct net_stream *stream; /* until the mux has it */
    struct mux *mux;
    struct loop_timer timer;
    uint32_t retry_ms;
    unsigned flaps; /* times in a row that it opened and broke at once */
    uint64_t open_since_ms;
    char last_error[256];
    struct list targets;
};

/* One stream: a connection to a target that is being made, then a relay. */
struct target {
    struct list link;
    struct agent *agent;
    struct tunnel_far *far; /* not accepted yet */
    struct net_dial *dial;
    struct tunnel_relay *relay;
};

static void target_free(struct target *t)
{
    list_remove(&t->link);
    if (t->dial) {
        net_dialer_direct()->ops->cancel(t->dial);
    }
    tunnel_relay_free(t->relay);
    free(t);
}

static void on_relay_done(struct tunnel_relay *r UNUSED, void *arg)
{
    struct target *t = arg;
    t->relay = NULL;
    target_free(t);
}

static void on_target_nothing(struct net_stream *s UNUSED, struct str data UNUSED, void *arg UNUSED)
{
}
static const struct net_stream_ops no_ops = { .on_data = on_target_nothing };

static void on_target_dialed(int fd, const struct err *err, void *arg)
{
    struct target *t = arg;
    struct tunnel_far *far = TAKE(t->far);
    int on = 1;
    t->dial = NULL;
    if (fd < 0) {
        mux_refuse(far, 502, err->msg);
        target_free(t);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    mux_accept(far, NULL, NULL);
    t->relay = tunnel_relay_new(net_stream_new(t->agent->loop, fd, &no_ops, t), far, STR_EMPTY, on_relay_done, t);
}

static void on_connect(struct mux *m UNUSED, struct tunnel_far *far, struct str host, uint16_t port, void *arg)
{
    struct agent *a = arg;
    struct tunnel_allow allow = *a->allow;
    struct net_addr addr;
    struct err err = { 0 };
    allow_own_addresses(&allow);
    if (!net_addr_parse_ip(host, port, &addr)) {
        mux_refuse(far, 400, "only addresses are connected to");
        return;
    }
    if (!allow_target(&allow, &addr, &err)) {
        log_warning("tunnel: refused: %s", err.msg);
        mux_refuse(far, 403, err.msg);
        return;
    }
    struct target *t = calloc(1, sizeof(*t));
    if (!t) {
        abort();
    }
    t->agent = a;
    t->far = far;
    list_push_back(&a->targets, &t->link);
    t->dial = net_dial_start(net_dialer_direct(), a->loop, host, port, TUNNEL_OPEN_MS, on_target_dialed, t);
}

static void on_abandoned(struct mux *m UNUSED, struct tunnel_far *far, void *arg)
{
    struct agent *a = arg;
    LIST_FOREACH(&a->targets, struct target, link, t) {
        if (t->far == far) {
            t->far = NULL;
            target_free(t);
            return;
        }
    }
}

/* ---- the connection to the hub ---- */

static void failed(struct agent *a, const char *reason)
{
    bool was_open = a->mux != NULL;
    bool stable = was_open && loop_now_ms(a->loop) - a->open_since_ms >= TUNNEL_STABLE_MS;
    log_at(was_open || strcmp(a->last_error, reason) != 0 ? LOG_WARNING : LOG_DEBUG, "tunnel: reverse tunnel to %s:%u %s: %s", a->host, a->port,
           was_open ? "broke" : "cannot be opened", reason);
    (void)snprintf(a->last_error, sizeof(a->last_error), "%s", reason);
    a->stream = net_stream_free(a->stream);
    a->mux = mux_free(a->mux, reason);
    a->flaps = !was_open ? a->flaps : stable ? 0 : MIN(a->flaps + 1, 6u);
    a->retry_ms = was_open || a->retry_ms == 0 ? (uint32_t)TUNNEL_RETRY_MS << a->flaps : MIN(2 * a->retry_ms, (uint32_t)TUNNEL_RETRY_MAX_MS);
    loop_timer_start(&a->timer, a->retry_ms / 2 + rand_below(a->retry_ms + 1));
}

static void on_mux_close(struct mux *m UNUSED, const char *reason, void *arg)
{
    failed(arg, reason);
}

static const struct mux_ops mux_ops = { .on_connect = on_connect, .on_abandoned = on_abandoned, .on_close = on_mux_close };

static void on_open(struct net_stream *s, void *arg)
{
    struct agent *a = arg;
    loop_timer_stop(&a->timer);
    a->stream = NULL;
    a->open_since_ms = loop_now_ms(a->loop);
    a->mux = mux_new(s, false, &mux_ops, a);
    log_info("tunnel: reverse tunnel to %s:%u is open", a->host, a->port);
}

static void on_data(struct net_stream *s UNUSED, struct str data UNUSED, void *arg UNUSED)
{
}

static void on_close(struct net_stream *s UNUSED, enum net_close why UNUSED, const char *reason, void *arg)
{
    failed(arg, reason);
}

static const struct net_stream_ops stream_ops = { .on_open = on_open, .on_data = on_data, .on_close = on_close };

static void on_dialed(int fd, const struct err *err, void *arg)
{
    struct agent *a = arg;
    int on = 1;
    a->dial = NULL;
    if (fd < 0) {
        failed(a, err->msg);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    a->stream = net_stream_new_tls_client(a->loop, fd, a->tls, str_c(a->host), &stream_ops, a);
}

static void on_timer(void *arg)
{
    struct agent *a = arg;
    a->dial = net_dial_start(net_dialer_direct(), a->loop, str_c(a->host), a->port, TUNNEL_CONNECT_MS, on_dialed, a);
}

struct agent *agent_new(struct loop *l, const struct agent_config *config, struct err *err)
{
    struct str host;
    uint16_t port = 0;
    if (!net_split_host_port(config->server, &host, &port) || port == 0 || str_empty(host)) {
        err_set(err, ERR_INVALID, "\"%.*s\" is not host:port", STR_ARG(config->server));
        return NULL;
    }
    struct agent *a = calloc(1, sizeof(*a));
    if (!a || !(a->host = strndup(host.ptr, host.len))) {
        abort();
    }
    a->loop = l;
    a->port = port;
    a->tls = net_tls_client_ref(config->tls);
    a->allow = config->allow;
    list_init(&a->targets);
    loop_timer_init(&a->timer, l, on_timer, a);
    loop_timer_start(&a->timer, 0);
    return a;
}

struct agent *agent_free(struct agent *a)
{
    if (a) {
        loop_timer_stop(&a->timer);
        if (a->dial) {
            net_dialer_direct()->ops->cancel(a->dial);
        }
        net_stream_free(a->stream);
        LIST_FOREACH(&a->targets, struct target, link, t) {
            target_free(t);
        }
        mux_free(a->mux, "the agent stops");
        net_tls_client_unref(a->tls);
        free(a->host);
        free(a);
    }
    return NULL;
}

bool agent_is_connected(const struct agent *a)
{
    return a->mux != NULL;
}

unsigned agent_streams(const struct agent *a)
{
    return a->mux ? mux_streams(a->mux) : 0;
}
