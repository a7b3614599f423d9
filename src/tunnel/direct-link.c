#include "tunnel/direct-link.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "net/addr.h"
#include "net/dial.h"
#include "net/stream.h"
#include "tunnel/limits.h"

struct direct_link {
    struct tunnel_link base;
    struct loop *loop;
    struct net_dialer_checked dialer;
    char node[256], kubelet_host[256];
    uint16_t kubelet_port;
    struct tunnel_facts others;
    struct list fars;
};

struct direct_far {
    struct tunnel_far base;
    struct list link;
    struct direct_link *owner; /* NULL: the link is gone, and events end with it */
    struct tunnel_facts *facts;
    struct net_dial *dial;
    struct net_stream *stream;
    uint64_t in, out; /* counted already */
};

/* The tunnel process's own host, and addresses that are no host's, are never a node. */
static bool check_address(const struct net_addr *a, void *arg UNUSED, struct err *err)
{
    bool bad = net_addr_is_local(a);
    if (a->sa.sa_family == AF_INET) {
        uint32_t ip = ntohl(a->in4.sin_addr.s_addr);
        bad = bad || ip >> 24 == 0 || ip >> 16 == 0xa9fe || ip >> 28 >= 0xe;
    } else if (a->sa.sa_family == AF_INET6) {
        const struct in6_addr *ip = &a->in6.sin6_addr;
        bad = bad || IN6_IS_ADDR_UNSPECIFIED(ip) || IN6_IS_ADDR_LINKLOCAL(ip) || IN6_IS_ADDR_MULTICAST(ip) ||
              IN6_IS_ADDR_V4MAPPED(ip);
    }
    return !bad || err_set(err, ERR_FORBIDDEN, "loopback, link-local and multicast addresses are no node's");
}

static void count(struct direct_far *f)
{
    if (f->stream) {
        const struct net_conn *c = net_stream_conn(f->stream);
        f->facts->bytes_in += c->bytes_in - f->in;
        f->facts->bytes_out += c->bytes_out - f->out;
        f->in = c->bytes_in;
        f->out = c->bytes_out;
    }
}

static void far_free(struct direct_far *f)
{
    count(f);
    f->facts->streams--;
    list_remove(&f->link);
    if (f->dial) {
        f->dial = NULL;
    }
    net_stream_free(f->stream);
    free(f);
}

/* ---- one stream ---- */

static void on_open(struct net_stream *s UNUSED, void *arg)
{
    struct direct_far *f = arg;
    f->facts->opened++;
    f->facts->last_error[0] = '\0';
    f->base.events->on_open(f->base.arg);
}

static void on_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct direct_far *f = arg;
    f->base.events->on_data(data, f->base.arg);
}

static void on_eof(struct net_stream *s UNUSED, void *arg)
{
    struct direct_far *f = arg;
    f->base.events->on_eof(f->base.arg);
}

static void on_drain(struct net_stream *s UNUSED, void *arg)
{
    struct direct_far *f = arg;
    f->base.events->on_writable(f->base.arg);
}

static void on_close(struct net_stream *s UNUSED, enum net_close why, const char *reason, void *arg)
{
    struct direct_far *f = arg;
    const struct tunnel_far_events *events = f->base.events;
    void *data = f->base.arg;
    char text[256];
    (void)snprintf(text, sizeof(text), "%s", reason);
    far_free(f);
    events->on_close(why == NET_CLOSE_EOF ? NULL : text, data);
}

static const struct net_stream_ops stream_ops = {
    .on_open = on_open, .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close
};

static void on_dialled(int fd, const struct err *err, void *arg)
{
    struct direct_far *f = arg;
    f->dial = NULL;
    if (fd < 0) {
        const struct tunnel_far_events *events = f->base.events;
        void *data = f->base.arg;
        char text[800];
        (void)snprintf(text, sizeof(text), "node %s is connected to directly: %.400s", f->owner->node, err->msg);
        (void)snprintf(f->facts->last_error, sizeof(f->facts->last_error), "%.250s", err->msg);
        f->facts->failed++;
        far_free(f);
        events->on_refused(text, data);
        return;
    }
    f->stream = net_stream_new(f->owner->loop, fd, &stream_ops, f);
}

static size_t far_write_some(struct tunnel_far *far, struct str data)
{
    struct direct_far *f = CONTAINER_OF(far, struct direct_far, base);
    if (!f->stream || net_stream_queued(f->stream) >= TUNNEL_HIGH_WATER) {
        return 0;
    }
    net_stream_write_str(f->stream, data);
    return data.len;
}

static void far_end(struct tunnel_far *far)
{
    struct direct_far *f = CONTAINER_OF(far, struct direct_far, base);
    if (f->stream) {
        net_stream_shutdown(f->stream);
    }
}

static void far_hold(struct tunnel_far *far, bool paused)
{
    struct direct_far *f = CONTAINER_OF(far, struct direct_far, base);
    if (f->stream && paused) {
        net_stream_pause(f->stream);
    } else if (f->stream) {
        net_stream_resume(f->stream);
    }
}

static void far_break(struct tunnel_far *far)
{
    struct direct_far *f = CONTAINER_OF(far, struct direct_far, base);
    if (f->dial) {
        f->owner->dialer.dialer.ops->cancel(f->dial);
        f->dial = NULL;
    }
    far_free(f);
}

static const struct tunnel_far_ops far_ops = {
    .write = far_write_some, .shutdown = far_end, .pause = far_hold, .close = far_break
};

/* ---- the link ---- */

static struct tunnel_far *link_open(struct tunnel_link *l, struct str host, uint16_t port,
                                    const struct tunnel_far_events *events, void *arg, struct err *err)
{
    struct direct_link *d = CONTAINER_OF(l, struct direct_link, base);
    bool kubelet = port == d->kubelet_port && str_eq_c(host, d->kubelet_host);
    if (d->base.facts.streams + d->others.streams >= TUNNEL_MAX_STREAMS) {
        err_set(err, ERR_UNAVAILABLE, "node %s has %d connections already", d->node, TUNNEL_MAX_STREAMS);
        return NULL;
    }
    struct direct_far *f = calloc(1, sizeof(*f));
    if (!f) {
        abort();
    }
    *f = (struct direct_far){ .base = { .ops = &far_ops, .events = events, .arg = arg },
                              .owner = d,
                              .facts = kubelet ? &d->base.facts : &d->others };
    list_push_back(&d->fars, &f->link);
    f->facts->streams++;
    (void)snprintf(f->facts->address, sizeof(f->facts->address),
                   strchr(d->kubelet_host, ':') ? "[%.120s]:%u" : "%.120s:%u", d->kubelet_host, d->kubelet_port);
    f->dial = net_dial_start(&d->dialer.dialer, d->loop, host, port, TUNNEL_OPEN_MS, on_dialled, f);
    return &f->base;
}

static void link_refresh(struct tunnel_link *l)
{
    struct direct_link *d = CONTAINER_OF(l, struct direct_link, base);
    LIST_FOREACH(&d->fars, struct direct_far, link, f) {
        count(f);
    }
}

static void link_free(struct tunnel_link *l)
{
    struct direct_link *d = CONTAINER_OF(l, struct direct_link, base);
    while (!list_empty(&d->fars)) {
        struct direct_far *f = CONTAINER_OF(d->fars.next, struct direct_far, link);
        const struct tunnel_far_events *events = f->base.events;
        void *arg = f->base.arg;
        bool open = f->stream != NULL;
        far_break(&f->base);
        if (open) {
            events->on_close("the node is not connected to directly any more", arg);
        } else {
            events->on_refused("the node is not connected to directly any more", arg);
        }
    }
    free(d);
}

static const struct tunnel_link_ops link_ops = {
    .kind = "direct", .open = link_open, .refresh = link_refresh, .free = link_free
};

struct tunnel_link *direct_link_new(struct loop *l, struct str node)
{
    struct direct_link *d = calloc(1, sizeof(*d));
    if (!d) {
        abort();
    }
    d->base.ops = &link_ops;
    d->base.facts = d->others = (struct tunnel_facts){ .state = TUNNEL_OPEN, .since = clock_real_s() };
    d->base.facts.trust = "kubelet";
    d->others.trust = "direct";
    d->loop = l;
    net_dialer_checked_init(&d->dialer, check_address, NULL);
    list_init(&d->fars);
    (void)snprintf(d->node, sizeof(d->node), "%.*s", STR_ARG(node));
    return &d->base;
}

void direct_link_set_kubelet(struct tunnel_link *l, struct str host, uint16_t port)
{
    struct direct_link *d = CONTAINER_OF(l, struct direct_link, base);
    (void)snprintf(d->kubelet_host, sizeof(d->kubelet_host), "%.*s", STR_ARG(host));
    d->kubelet_port = port;
}

const struct tunnel_facts *direct_link_others(struct tunnel_link *l)
{
    return &CONTAINER_OF(l, struct direct_link, base)->others;
}
