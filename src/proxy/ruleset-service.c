#include "proxy/ruleset-private.h"
#include "proxy/service.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* Of one Service's endpoints while it is looked at; 100,000 endpoints are 10 MB. */
#define SCRATCH_MAX (256u << 20)

/* The Service under way. */
struct pass {
    struct ruleset *rs;
    struct service *s;
    struct arena *a;
    struct wish *wishes;
    size_t n, capacity;
    struct list_state **lists;
    size_t n_lists;
    struct firewall **firewalls;
    size_t n_firewalls;
    const struct core_v1_service *service;
};

/* A service port under way. */
struct port {
    struct pass *p;
    const struct core_v1_service_port *port;
    uint8_t protocol;
    struct endpoints e;
    uint32_t affinity;             /* seconds; 0: none */
    uint32_t all_list, local_list; /* with affinity: their ids, made when first needed */
};

static uint8_t family_of(const struct port *t)
{
    return t->p->rs->config.table.family;
}

static struct wish *wish(struct pass *p, enum place place)
{
    if (p->n == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 64;
        p->wishes = realloc(p->wishes, p->capacity * sizeof(*p->wishes));
        if (!p->wishes) {
            abort();
        }
    }
    struct wish *w = &p->wishes[p->n++];
    *w = (struct wish){ .place = (uint8_t)place };
    return w;
}

/* What becomes of packets for this address (NULL: node port): the chain, which draws from these endpoints. */
static void want_way(const struct port *t, const struct proxy_addr *addr, uint16_t port, const struct proxy_chain *c,
                     const struct proxy_endpoint *all, size_t n_all, const struct proxy_endpoint *local, size_t n_local)
{
    struct wish *w = wish(t->p, addr ? PLACE_IP : PLACE_PORT);
    size_t size = sizeof(struct way) + (n_all + n_local) * sizeof(*all);
    struct way *way = arena_alloc(t->p->a, size);
    if (!way) {
        abort(); /* SCRATCH_MAX holds any number of endpoints that the API server can say */
    }
    *way = (struct way){ .chain = *c, .n_all = (uint32_t)n_all, .n_local = (uint32_t)n_local };
    if (n_all) {
        memcpy(way->endpoints, all, n_all * sizeof(*all));
    }
    if (n_local) {
        memcpy(way->endpoints + n_all, local, n_local * sizeof(*local));
    }
    rules_key_port(w, family_of(t), addr, t->protocol, port);
    w->way = way;
}

/* The list with affinity, by the port's name and protocol; its id. */
static uint32_t want_list(struct port *t, bool local)
{
    struct pass *p = t->p;
    struct list_state *l = NULL;
    char name[128];
    snprintf(name, sizeof(name), "%u/%.*s%s", t->protocol, STR_ARG(t->port->name),
             local ? "/local" : "");
    for (size_t i = 0; i < p->s->n_lists && !l; i++) {
        l = strcmp(p->s->lists[i]->port, name) == 0 ? p->s->lists[i] : NULL;
    }
    if (!l) {
        l = rules_alloc(sizeof(*l));
        l->port = strdup(name);
        l->want.id = p->rs->next_id++;
        map_put(&p->rs->lists, rules_bytes(&l->want.id, 4), l);
    }
    const struct proxy_endpoint *e = local ? t->e.local : t->e.all;
    size_t n = local ? t->e.n_local : t->e.n_all;
    if (!l->s.wanted || l->want.seconds != t->affinity || l->want.n != n ||
        (n && memcmp(l->want.endpoints, e, n * sizeof(*e)) != 0)) {
        struct proxy_endpoint *copy = rules_alloc(n * sizeof(*copy));
        memcpy(copy, e, n * sizeof(*copy));
        free((void *)(uintptr_t)l->want.endpoints);
        l->want.endpoints = copy;
        l->want.n = n;
        l->want.seconds = t->affinity;
        l->s.wanted = true;
        p->rs->udp_changed = p->rs->udp_changed || t->protocol == IPPROTO_UDP;
        rules_enqueue(&p->rs->list_queue, &l->s);
    }
    p->lists[p->n_lists++] = l;
    return l->want.id;
}

static uint32_t all_list(struct port *t)
{
    return t->all_list ? t->all_list : (t->all_list = want_list(t, false));
}

static uint32_t local_list(struct port *t)
{
    return t->local_list ? t->local_list : (t->local_list = want_list(t, true));
}

/* The chain of external packets, by externalTrafficPolicy. */
static struct proxy_chain external_chain(struct port *t, bool by_port, bool policy_local)
{
    if (t->affinity) {
        return (struct proxy_chain){ .kind = policy_local ? CHAIN_LIST_LOCAL : CHAIN_LIST_MASQ,
                                     .n = all_list(t),
                                     .n_local = policy_local && t->e.n_local ? local_list(t) : 0 };
    }
    if (policy_local) {
        return (struct proxy_chain){ .kind = by_port ? CHAIN_PORT_LOCAL : CHAIN_IP_LOCAL,
                                     .n = proxy_class(t->e.n_all),
                                     .n_local = proxy_class(t->e.n_local) };
    }
    return (struct proxy_chain){ .kind = by_port ? CHAIN_PORT_MASQ : CHAIN_IP_MASQ, .n = proxy_class(t->e.n_all) };
}

/* No endpoints anywhere: refused. Some, but none that the policy allows: dropped, as others will
 * answer for this address. */
static void want_nothing(const struct port *t, const struct proxy_addr *addr, uint16_t port)
{
    struct proxy_chain c = { .kind = t->e.n_all || t->e.n_local ? CHAIN_DROP : CHAIN_REJECT };
    want_way(t, addr, port, &c, NULL, 0, NULL, 0);
}

static void want_cluster_ip(struct port *t, struct str ip)
{
    struct proxy_addr addr;
    uint16_t port = htons((uint16_t)t->port->port);
    bool local = service_is_local(t->p->service->spec.internal_traffic_policy);
    if (!proxy_addr_parse(family_of(t), ip, &addr) || !proxy_addr_is_routable(family_of(t), &addr)) {
        return;
    }
    struct wish *w = wish(t->p, PLACE_CLUSTER_IP);
    rules_key_add(w, addr.b, proxy_addr_len(family_of(t)));
    if (local ? !t->e.n_local : !t->e.n_all) {
        want_nothing(t, &addr, port);
        return;
    }
    if (t->affinity) {
        struct proxy_chain list = { .kind = CHAIN_LIST, .n = local ? local_list(t) : all_list(t) };
        want_way(t, &addr, port, &list, NULL, 0, NULL, 0);
        return;
    }
    const struct proxy_endpoint *e = local ? t->e.local : t->e.all;
    size_t n = local ? t->e.n_local : t->e.n_all;
    struct proxy_chain c = { .kind = CHAIN_IP, .n = proxy_class(n) };
    want_way(t, &addr, port, &c, e, n, NULL, 0);
}

/* Only these sources, if any are named. */
static struct proxy_chain behind_firewall(const struct port *t, const struct proxy_chain *to)
{
    const struct core_v1_service_spec *spec = &t->p->service->spec;
    struct pass *p = t->p;
    size_t n = 0;
    if (!spec->n_load_balancer_source_ranges) {
        return *to;
    }
    struct proxy_cidr *sources = rules_alloc(spec->n_load_balancer_source_ranges * sizeof(*sources));
    for (size_t i = 0; i < spec->n_load_balancer_source_ranges; i++) {
        n += proxy_cidr_parse(str_trim(spec->load_balancer_source_ranges[i]), &sources[n]) && sources[n].family == family_of(t);
    }
    for (size_t i = 0; i < p->s->n_firewalls; i++) {
        struct firewall *f = p->s->firewalls[i];
        if (f->f.n == n && memcmp(f->f.sources, sources, n * sizeof(*sources)) == 0 &&
            memcmp(&f->f.to, to, sizeof(*to)) == 0) {
            bool there = false;
            for (size_t k = 0; k < p->n_firewalls; k++) {
                there = there || p->firewalls[k] == f;
            }
            if (!there) {
                p->firewalls[p->n_firewalls++] = f;
            }
            free(sources);
            return (struct proxy_chain){ .kind = CHAIN_FIREWALL, .n = f->f.id };
        }
    }
    struct firewall *f = rules_alloc(sizeof(*f));
    f->f = (struct proxy_firewall){ .id = p->rs->next_id++, .sources = sources, .n = n, .to = *to };
    f->s.wanted = true;
    f->to = rules_ref_chain(p->rs, to);
    map_put(&p->rs->firewalls, rules_bytes(&f->f.id, 4), f);
    rules_enqueue(&p->rs->firewall_queue, &f->s);
    p->firewalls[p->n_firewalls++] = f;
    return (struct proxy_chain){ .kind = CHAIN_FIREWALL, .n = f->f.id };
}

/* externalIPs, load balancers' addresses, and (ip absent) the node port. */
static void want_external(struct port *t, struct str ip, bool load_balancer)
{
    struct proxy_addr in_addr, *addr = ip.ptr ? &in_addr : NULL;
    uint16_t port = htons((uint16_t)(addr ? t->port->port : t->port->node_port));
    bool local = service_is_local(t->p->service->spec.external_traffic_policy);
    if (addr && (!proxy_addr_parse(family_of(t), ip, addr) || !proxy_addr_is_routable(family_of(t), addr))) {
        return;
    }
    if (!t->e.n_all) {
        /* Local ones may be left when topology or termination empties the rest; without any the
         * answer is to refuse. */
        if (!local || !t->e.n_local) {
            want_nothing(t, addr, port);
            return;
        }
    }
    struct proxy_chain c = external_chain(t, !addr, local);
    if (load_balancer) {
        c = behind_firewall(t, &c);
    }
    if (t->affinity) {
        want_way(t, addr, port, &c, NULL, 0, NULL, 0);
    } else {
        want_way(t, addr, port, &c, t->e.all, t->e.n_all, t->e.local, local ? t->e.n_local : 0);
    }
}

static void want_port(struct pass *p, const struct core_v1_service_port *port,
                      const struct endpoints *e)
{
    const struct core_v1_service *service = p->service;
    const struct core_v1_service_spec *spec = &service->spec;
    struct port t = { .p = p, .port = port, .e = *e, .affinity = service_affinity_seconds(spec), .protocol = service_protocol(port) };
    if (spec->n_cluster_ips) {
        for (size_t i = 0; i < spec->n_cluster_ips; i++) {
            want_cluster_ip(&t, spec->cluster_ips[i]);
        }
    } else {
        want_cluster_ip(&t, spec->cluster_ip);
    }
    for (size_t i = 0; i < spec->n_external_ips; i++) {
        want_external(&t, spec->external_ips[i], false);
    }
    const struct core_v1_load_balancer_status *lb = &service->status.load_balancer;
    for (size_t i = 0; i < lb->n_ingress && str_eq(spec->type, STR("LoadBalancer")); i++) {
        if (lb->ingress[i].ip.len && !str_eq(lb->ingress[i].ip_mode, STR("Proxy"))) {
            want_external(&t, lb->ingress[i].ip, true);
        }
    }
    if (port->node_port) {
        want_external(&t, STR_NULL, false);
    }
    for (size_t i = 0; i < e->n_here; i++) {
        struct wish *w = wish(p, PLACE_HAIRPIN);
        rules_key_add(w, e->here[i].addr.b, proxy_addr_len(p->rs->config.table.family));
        rules_key_add(w, e->here[i].addr.b, proxy_addr_len(p->rs->config.table.family));
    }
    p->s->n_ports++;
    p->s->n_endpoints += e->n_all;
    p->s->n_local_ready = MAX(p->s->n_local_ready, e->n_local_ready);
}

/* Lists and firewalls of the Service that were not asked for this time go. */
static void change_lists(struct pass *p)
{
    struct service *s = p->s;
    for (size_t i = 0; i < s->n_lists; i++) {
        bool kept = false;
        for (size_t k = 0; k < p->n_lists; k++) {
            kept = kept || p->lists[k] == s->lists[i];
        }
        if (!kept) {
            s->lists[i]->s.wanted = false;
            rules_enqueue(&p->rs->list_queue, &s->lists[i]->s);
        }
    }
    for (size_t i = 0; i < s->n_firewalls; i++) {
        bool kept = false;
        for (size_t k = 0; k < p->n_firewalls; k++) {
            kept = kept || p->firewalls[k] == s->firewalls[i];
        }
        if (!kept) {
            s->firewalls[i]->s.wanted = false;
            rules_unref_chain(p->rs, s->firewalls[i]->to);
            s->firewalls[i]->to = NULL;
            rules_enqueue(&p->rs->firewall_queue, &s->firewalls[i]->s);
        }
    }
    free(s->lists);
    free(s->firewalls);
    s->lists = p->lists;
    s->n_lists = p->n_lists;
    s->firewalls = p->firewalls;
    s->n_firewalls = p->n_firewalls;
}

size_t ruleset_set_service(struct ruleset *rs, struct str key, const struct core_v1_service *service,
                         const struct discovery_v1_endpoint_slice *const *slices, size_t n_slices)
{
    struct service *s = map_get(&rs->services, key);
    bool ours = service && service_is_ours(service) && service_has_cluster_ip(&service->spec, rs->config.table.family);
    struct arena a;
    size_t refused = 0;
    if (!s && !ours) {
        return 0;
    }
    if (!s) {
        s = rules_alloc(sizeof(*s));
        s->key = rules_alloc(key.len + 1);
        memcpy(s->key, key.ptr, key.len);
        map_put(&rs->services, key, s);
    }
    arena_init(&a, SCRATCH_MAX);
    struct pass p = { .rs = rs, .s = s, .a = &a, .service = service };
    rs->n_service_ports -= s->n_ports;
    rs->n_endpoints -= s->n_endpoints;
    s->n_ports = s->n_endpoints = s->n_local_ready = 0;
    s->health_port = 0;
    if (ours) {
        const struct core_v1_service_spec *spec = &service->spec;
        p.lists = rules_alloc(spec->n_ports * 2 * sizeof(struct list_state *));
        p.firewalls =
            rules_alloc(spec->n_ports * MAX(service->status.load_balancer.n_ingress, (size_t)1) *
                     sizeof(struct firewall *));
        for (size_t i = 0; i < spec->n_ports; i++) {
            struct endpoints_in in = { .family = rs->config.table.family,
                                       .slices = slices,
                                       .n_slices = n_slices,
                                       .port = &spec->ports[i],
                                       .node = rs->config.node,
                                       .zone = str_c(rs->zone) };
            struct endpoints e;
            if (endpoints_choose(&a, &in, &e)) {
                want_port(&p, &spec->ports[i], &e);
                refused += e.n_refused;
            }
        }
        s->health_port = service_health_port(spec);
        qsort(p.wishes, p.n, p.n ? sizeof(struct wish) : 1, rules_compare_wishes);
    }
    rules_change_elements(rs, s, p.wishes, p.n);
    change_lists(&p);
    rs->n_service_ports += s->n_ports;
    rs->n_endpoints += s->n_endpoints;
    free(p.wishes);
    arena_deinit(&a);
    if (!ours) {
        map_remove(&rs->services, key);
        rules_free_service(s);
    }
    return refused;
}
