#include "proxy/endpoints.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdlib.h>

struct candidate {
    struct proxy_endpoint e;
    bool ready, serving_terminating, local;
    bool has_node_hint, for_node, has_zone_hint, for_zone;
};

int endpoints_compare(const void *a, const void *b)
{
    const struct proxy_endpoint *x = a, *y = b;
    int c = memcmp(&x->addr, &y->addr, sizeof(x->addr));
    uint16_t p = ntohs(x->port), q = ntohs(y->port);
    return c ? c : p < q ? -1 : p > q;
}

static int compare_candidates(const void *x, const void *y)
{
    return endpoints_compare(&((const struct candidate *)x)->e, &((const struct candidate *)y)->e);
}

/* The port of the slice that the service port means: by name and protocol. NULL: it has none. */
static const struct discovery_v1_endpoint_port *
find_port(const struct discovery_v1_endpoint_slice *s, const struct core_v1_service_port *port)
{
    struct str protocol = port->protocol.len ? port->protocol : STR("TCP");
    for (size_t i = 0; i < s->n_ports; i++) {
        const struct discovery_v1_endpoint_port *p = &s->ports[i];
        if (str_eq(p->name, port->name) &&
            str_eq(p->protocol.len ? p->protocol : STR("TCP"), protocol) && p->has_port) {
            return p;
        }
    }
    return NULL;
}

static bool make_candidate(const struct endpoints_in *in, const struct discovery_v1_endpoint *e,
                           int32_t port, struct candidate *c, size_t *refused)
{
    struct proxy_addr addr;
    const struct discovery_v1_endpoint_conditions *k = &e->conditions;
    *c = (struct candidate){ 0 };
    if (!e->n_addresses || !proxy_addr_parse(in->family, e->addresses[0], &addr)) {
        return false;
    }
    if (!proxy_addr_is_routable(in->family, &addr)) {
        ++*refused;
        return false;
    }
    c->e = (struct proxy_endpoint){ .addr = addr, .port = htons((uint16_t)port) };
    c->ready = !k->has_ready || k->ready;
    c->serving_terminating =
        (k->has_serving ? k->serving : c->ready) && k->has_terminating && k->terminating;
    c->local = in->node.len && str_eq(e->node_name, in->node);
    for (size_t i = 0; e->hints && i < e->hints->n_for_zones; i++) {
        c->has_zone_hint = true;
        c->for_zone =
            c->for_zone || (in->zone.len && str_eq(e->hints->for_zones[i].name, in->zone));
    }
    for (size_t i = 0; e->hints && i < e->hints->n_for_nodes; i++) {
        c->has_node_hint = true;
        c->for_node =
            c->for_node || (in->node.len && str_eq(e->hints->for_nodes[i].name, in->node));
    }
    return c->ready || c->serving_terminating;
}

/*
 * Topology hints count only if every ready endpoint has them and one is for us ("Topology Aware
 * Routing", safeguards); hints for the node (trafficDistribution: PreferSameNode) come before those
 * for the zone.
 */
static bool by_node(const struct candidate *c)
{
    return c->for_node;
}

static bool by_zone(const struct candidate *c)
{
    return c->for_zone;
}

static bool anywhere(const struct candidate *c UNUSED)
{
    return true;
}

typedef bool match_fn(const struct candidate *c);

static match_fn *topology(const struct candidate *c, size_t n)
{
    bool node_all = true, node_one = false, zone_all = true, zone_one = false;
    for (size_t i = 0; i < n; i++) {
        if (c[i].ready) {
            node_all = node_all && c[i].has_node_hint;
            node_one = node_one || c[i].for_node;
            zone_all = zone_all && c[i].has_zone_hint;
            zone_one = zone_one || c[i].for_zone;
        }
    }
    return node_all && node_one ? by_node : zone_all && zone_one ? by_zone : anywhere;
}

bool endpoints_choose(struct arena *a, const struct endpoints_in *in, struct endpoints *ret)
{
    size_t most = 0, n = 0, kept = 0;
    struct str type = in->family == NFPROTO_IPV6 ? STR("IPv6") : STR("IPv4");
    *ret = (struct endpoints){ 0 };
    for (size_t i = 0; i < in->n_slices; i++) {
        most += in->slices[i]->n_endpoints;
    }
    struct candidate *c = arena_new_n(a, struct candidate, most);
    ret->all = arena_new_n(a, struct proxy_endpoint, most);
    ret->local = arena_new_n(a, struct proxy_endpoint, most);
    ret->here = arena_new_n(a, struct proxy_endpoint, most);
    if (!c || !ret->all || !ret->local || !ret->here) {
        return false;
    }
    for (size_t i = 0; i < in->n_slices; i++) {
        const struct discovery_v1_endpoint_slice *s = in->slices[i];
        const struct discovery_v1_endpoint_port *p =
            str_eq(s->address_type, type) ? find_port(s, in->port) : NULL;
        for (size_t k = 0; p && k < s->n_endpoints; k++) {
            n += make_candidate(in, &s->endpoints[k], p->port, &c[n], &ret->n_refused);
        }
    }
    qsort(c, n, sizeof(*c), compare_candidates);
    /* An endpoint in two slices (it is moving from one to the other): ready if it is in one of
     * them. */
    for (size_t i = 0; i < n; i++) {
        if (kept && endpoints_compare(&c[kept - 1].e, &c[i].e) == 0) {
            c[kept - 1] = c[i].ready ? c[i] : c[kept - 1];
        } else {
            c[kept++] = c[i];
        }
    }
    n = kept;
    match_fn *match = topology(c, n);
    bool ready = false, local_ready = false;
    for (size_t i = 0; i < n; i++) {
        ready = ready || c[i].ready;
        local_ready = local_ready || (c[i].ready && c[i].local);
        ret->n_local_ready += c[i].ready && c[i].local;
    }
    for (size_t i = 0; i < n; i++) {
        bool in_all = ready ? c[i].ready && match(&c[i]) : c[i].serving_terminating;
        bool in_local = c[i].local && (local_ready ? c[i].ready : c[i].serving_terminating);
        if (in_all) {
            ret->all[ret->n_all++] = c[i].e;
        }
        if (in_local) {
            ret->local[ret->n_local++] = c[i].e;
        }
        if (c[i].local && (in_all || in_local)) {
            ret->here[ret->n_here++] = c[i].e;
        }
    }
    return true;
}
