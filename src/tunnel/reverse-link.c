#include "tunnel/reverse-link.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "tunnel/limits.h"
#include "tunnel/mux.h"

struct reverse_link {
    struct tunnel_link base;
    struct loop *loop;
    char node[256], kubelet_host[256];
    uint16_t kubelet_port;
    struct mux *mux;
    struct tunnel_far *probe;
    struct loop_timer timer;
    uint64_t bytes_in, bytes_out; /* of connections before this one */
};

static void set_state(struct reverse_link *r, enum tunnel_state state)
{
    r->base.facts.state = state;
    r->base.facts.since = clock_real_s();
}

/* ---- is the kubelet there? ---- */

static void probe_over(struct reverse_link *r, const char *reason)
{
    (void)snprintf(r->base.facts.kubelet, sizeof(r->base.facts.kubelet), "%s", reason);
    r->probe = NULL;
}

static void on_probe_open(void *arg)
{
    struct reverse_link *r = arg;
    struct tunnel_far *far = r->probe;
    probe_over(r, "");
    far_close(far);
}
static void on_probe_refused(const char *reason, void *arg)
{
    probe_over(arg, reason);
}
static void on_probe_data(struct str data UNUSED, void *arg UNUSED)
{
}
static void on_probe_nothing(void *arg UNUSED)
{
}
static const struct tunnel_far_events probe_events = {
    .on_open = on_probe_open, .on_refused = on_probe_refused, .on_data = on_probe_data, .on_writable = on_probe_nothing,
    .on_eof = on_probe_nothing, .on_close = on_probe_refused,
};

static void on_timer(void *arg)
{
    struct reverse_link *r = arg;
    struct err err;
    if (!r->mux) {
        return;
    }
    if (r->probe) {
        r->probe = far_close(r->probe);
        probe_over(r, "the kubelet's port did not answer in time");
    } else if (r->kubelet_port) {
        r->probe = mux_open(r->mux, str_c(r->kubelet_host), r->kubelet_port, &probe_events, r, &err);
    }
    loop_timer_start(&r->timer, r->probe ? TUNNEL_PROBE_ANSWER_MS : TUNNEL_PROBE_MS / 2 + rand_below(TUNNEL_PROBE_MS));
}

/* ---- the connection ---- */

static void read_facts(struct reverse_link *r)
{
    uint64_t in = 0, out = 0;
    if (r->mux) {
        mux_bytes(r->mux, &in, &out);
    }
    r->base.facts.bytes_in = r->bytes_in + in;
    r->base.facts.bytes_out = r->bytes_out + out;
    r->base.facts.streams = r->mux ? mux_streams(r->mux) : 0;
}

static void drop(struct reverse_link *r, const char *reason)
{
    struct mux *m = TAKE(r->mux);
    loop_timer_stop(&r->timer);
    if (m) {
        uint64_t in, out;
        mux_bytes(m, &in, &out);
        r->bytes_in += in;
        r->bytes_out += out;
        /* The reason may be the mux's own text: it is copied before that goes. */
        (void)snprintf(r->base.facts.last_error, sizeof(r->base.facts.last_error), "%s", reason);
        mux_free(m, r->base.facts.last_error);
        set_state(r, TUNNEL_WAITING);
    }
    r->probe = NULL;
    r->base.facts.kubelet[0] = '\0';
}

static void on_connect(struct mux *m UNUSED, struct tunnel_far *far, struct str host UNUSED, uint16_t port UNUSED, void *arg UNUSED)
{
    mux_refuse(far, 403, "nodes open no streams");
}

static void on_mux_close(struct mux *m UNUSED, const char *reason, void *arg)
{
    struct reverse_link *r = arg;
    log_warning("tunnel: %s: reverse tunnel from %s broke: %s", r->node, r->base.facts.address, reason);
    r->base.facts.failed++;
    drop(r, reason);
}

static const struct mux_ops mux_ops = { .on_connect = on_connect, .on_close = on_mux_close };

void reverse_link_attach(struct tunnel_link *l, struct net_stream *s, const char *subject)
{
    struct reverse_link *r = CONTAINER_OF(l, struct reverse_link, base);
    char text[NET_ADDR_TEXT_SIZE];
    drop(r, "the node called again");
    (void)net_addr_text(&net_stream_conn(s)->remote, text);
    (void)snprintf(l->facts.address, sizeof(l->facts.address), "%s", text);
    (void)snprintf(l->facts.identity, sizeof(l->facts.identity), "%s", subject);
    l->facts.trust = "certificate";
    l->facts.last_error[0] = '\0';
    l->facts.opened++;
    r->mux = mux_new(s, true, &mux_ops, r);
    set_state(r, TUNNEL_OPEN);
    log_info("tunnel: %s: reverse tunnel from %s is open", r->node, text);
    loop_timer_start(&r->timer, 50);
}

static struct tunnel_far *link_open(struct tunnel_link *l, struct str host, uint16_t port, const struct tunnel_far_events *events,
                                    void *arg, struct err *err)
{
    struct reverse_link *r = CONTAINER_OF(l, struct reverse_link, base);
    if (!r->mux) {
        err_set(err, ERR_UNAVAILABLE, "node %s has no reverse tunnel open%s%s", r->node, l->facts.last_error[0] ? ": " : "",
                l->facts.last_error);
        return NULL;
    }
    return mux_open(r->mux, host, port, events, arg, err);
}

static void link_refresh(struct tunnel_link *l)
{
    read_facts(CONTAINER_OF(l, struct reverse_link, base));
}

static void link_free(struct tunnel_link *l)
{
    struct reverse_link *r = CONTAINER_OF(l, struct reverse_link, base);
    drop(r, "the node is gone");
    free(r);
}

static const struct tunnel_link_ops link_ops = { .kind = "reverse", .open = link_open, .refresh = link_refresh, .free = link_free };

struct tunnel_link *reverse_link_new(struct loop *l, struct str node)
{
    struct reverse_link *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->base.ops = &link_ops;
    r->base.facts.trust = "";
    r->loop = l;
    (void)snprintf(r->node, sizeof(r->node), "%.*s", STR_ARG(node));
    loop_timer_init(&r->timer, l, on_timer, r);
    set_state(r, TUNNEL_WAITING);
    return &r->base;
}

void reverse_link_set_kubelet(struct tunnel_link *l, struct str host, uint16_t port)
{
    struct reverse_link *r = CONTAINER_OF(l, struct reverse_link, base);
    (void)snprintf(r->kubelet_host, sizeof(r->kubelet_host), "%.*s", STR_ARG(host));
    r->kubelet_port = str_empty(host) ? 0 : port;
}
