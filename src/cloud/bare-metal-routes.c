/* Routes of bare metal: the kernel's, of the host that this runs on, marked as ours by their protocol number. */
#include <netinet/in.h>

#include "cloud/bare-metal.h"
#include "cloud/node-facts.h"

static bool wanted(void *provider, bool own)
{
    const struct bare_metal *p = provider;
    return p->config.routes_by == (own ? BARE_METAL_ROUTES_AGENTS : BARE_METAL_ROUTES_ROUTER);
}

static bool opened(struct bare_metal *p, struct cloud_call *call)
{
    struct err err;
    if (p->rtnl.nl || rtnl_open(&p->rtnl, -1, &err)) {
        return true;
    }
    cloud_call_failed(call, err.code, "%s", err.msg);
    return false;
}

struct listing {
    struct arena *a;
    struct cloud_route_list *list;
    size_t capacity;
    bool failed;
};

static void on_route(void *data, const struct rtnl_route *r)
{
    struct listing *l = data;
    char text[IP_TEXT_SIZE], gateway[IP_TEXT_SIZE];
    struct ip net = { .family = r->family == AF_INET ? 4 : 6 }, via = net;
    memcpy(net.b, r->dst, ip_len(&net));
    memcpy(via.b, r->via, ip_len(&via));
    if (l->list->n == l->capacity) {
        size_t more = l->capacity ? l->capacity * 2 : 64;
        struct cloud_route *items = arena_grow_n(l->a, l->list->items, l->list->n, more, sizeof(*items));
        l->failed = l->failed || !items;
        if (!items) {
            return;
        }
        l->list->items = items;
        l->capacity = more;
    }
    l->list->items[l->list->n++] = (struct cloud_route){ .cidr = arena_printf(l->a, "%s/%u", ip_text(&net, text).ptr, r->prefix),
                                                         .via = arena_str(l->a, ip_text(&via, gateway)),
                                                         .blackhole = r->blackhole };
}

static void list(void *provider, struct cloud_call *call)
{
    struct bare_metal *p = provider;
    struct listing l = { .a = cloud_call_arena(call), .list = arena_new(cloud_call_arena(call), struct cloud_route_list) };
    struct err err;
    if (!l.list || !opened(p, call)) {
        return;
    }
    if (!rtnl_list_routes(&p->rtnl, RTNL_PROTO_CORACLE, on_route, &l, &err)) {
        cloud_call_failed(call, err.code, "%s", err.msg);
    } else if (l.failed) {
        cloud_call_failed(call, ERR_NO_MEMORY, "there are too many routes");
    } else {
        cloud_call_done(call, l.list);
    }
}

static bool parse(struct str cidr, struct rtnl_route *ret)
{
    struct ip_prefix x;
    if (!ip_prefix_parse(cidr, true, &x)) {
        return false;
    }
    *ret = (struct rtnl_route){ .family = x.net.family == 4 ? AF_INET : AF_INET6, .prefix = x.bits, .protocol = RTNL_PROTO_CORACLE };
    memcpy(ret->dst, x.net.b, sizeof(ret->dst));
    return true;
}

static void create(void *provider, const struct core_v1_node *node, struct str cidr, struct cloud_call *call)
{
    struct bare_metal *p = provider;
    struct rtnl_route r;
    struct ip via;
    struct err err;
    if (!opened(p, call)) {
        return;
    }
    if (!parse(cidr, &r)) {
        cloud_call_failed(call, ERR_INVALID, "\"%.*s\" is no range of addresses", STR_ARG(cidr));
        return;
    }
    struct str address = node_address(node, "InternalIP", r.family == AF_INET ? 4 : 6);
    if (!ip_parse(address, &via)) {
        cloud_call_failed(call, ERR_UNAVAILABLE, "node %.*s has no InternalIP of the family of %.*s", STR_ARG(node->metadata.name), STR_ARG(cidr));
        return;
    }
    memcpy(r.via, via.b, sizeof(r.via));
    if (!rtnl_put_route(&p->rtnl, &r, &err)) {
        cloud_call_failed(call, err.code, "%s", err.msg);
        return;
    }
    cloud_call_done(call, NULL);
}

static void remove_route(void *provider, const struct cloud_route *route, struct cloud_call *call)
{
    struct bare_metal *p = provider;
    struct rtnl_route r;
    struct err err;
    if (!opened(p, call)) {
        return;
    }
    if (!parse(route->cidr, &r) || !rtnl_delete_route(&p->rtnl, &r, &err)) {
        cloud_call_failed(call, ERR_IO, "%.*s cannot be removed", STR_ARG(route->cidr));
        return;
    }
    cloud_call_done(call, NULL);
}

const struct cloud_routes bare_metal_routes = {
    .wanted = wanted,
    .list = list,
    .create = create,
    .remove = remove_route,
};
