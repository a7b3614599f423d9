#include "proxy/userspace.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "proxy/endpoints.h"
#include "proxy/inlet.h"
#include "proxy/redirects.h"
#include "proxy/relay.h"
#include "proxy/service.h"

#define SCRATCH_MAX (256u << 20)
/* After all ports were taken, nobody is tried again for so long, unless one becomes free. */
#define AGAIN_MS 10000

static struct metric metric_ports = METRIC_GAUGE("kubeproxy_userspace_ports", "Ports of the host that are taken for Services.");
static struct metric metric_exhausted =
    METRIC_COUNTER("kubeproxy_userspace_port_allocation_failures_total", "Service ports for which no port of the host was free.");

enum role { ROLE_INTERNAL, ROLE_EXTERNAL, ROLE_BALANCER };

/* A inlet and what it is of its Service. */
struct entry {
    struct entry *next;
    struct inlet *inlet;
    enum role role;
    char *port; /* the service port's name and protocol */
    bool asked;
};

struct service {
    char *key;
    struct entry *entries;
    struct redirect_owner owners[2];
    size_t n_ports, n_endpoints, n_local_ready;
    uint16_t health_port;
    bool told;    /* that a protocol is not passed on */
    bool waiting; /* for an address or port of another Service, or of the host */
};

struct userspace {
    struct engine e; /* first */
    struct loop *loop;
    struct userspace_config config;
    struct relay *relay;
    struct redirects *redirects[2];
    char *zone;
    struct map services;
    struct loop_timer again;
    bool exhausted; /* all ports of the range were taken, and none was given back since */
    bool freed;
    size_t n_ports, n_endpoints, n_waiting;
};

static struct userspace *of(struct engine *e)
{
    return (struct userspace *)e;
}

static void *allocate(size_t n)
{
    void *p = calloc(1, MAX(n, (size_t)1));
    if (!p) {
        abort();
    }
    return p;
}

/* ---- one Service ---- */

/* A service port of one family under way. */
struct pass {
    struct userspace *u;
    struct service *s;
    const struct core_v1_service *service;
    const struct core_v1_service_port *port;
    const struct endpoints *e;
    size_t family; /* 0: IPv4, 1: IPv6 */
    uint8_t protocol;
    char name[160]; /* of the service port, with its protocol */
    bool waiting;
};

static uint8_t family_of(const struct pass *p)
{
    return p->u->config.tables[p->family].family;
}

static void exhausted(struct pass *p, const struct err *err)
{
    char text[1600];
    p->waiting = true;
    metric_add(metric_cell(&metric_exhausted), 1);
    snprintf(text, sizeof(text), "no port of the host for port %.*s of Service %s: %s; tried again when one is free", STR_ARG(str_c(p->name)),
             p->s->key, err->msg);
    log_error("%s", text);
    p->u->config.tell(p->u->config.data, p->service, "ProxyPortsExhausted", text);
    p->u->exhausted = err->code == ERR_UNAVAILABLE;
    if (!loop_timer_runs(&p->u->again)) {
        loop_timer_start(&p->u->again, AGAIN_MS);
    }
}

static struct entry *find_entry(const struct pass *p, enum role role)
{
    for (struct entry *e = p->s->entries; e; e = e->next) {
        if (e->role == role && e->inlet->family == family_of(p) && strcmp(e->port, p->name) == 0) {
            return e;
        }
    }
    return NULL;
}

static void set_sources(const struct pass *p, struct inlet *f, bool limited)
{
    const struct core_v1_service_spec *spec = &p->service->spec;
    struct proxy_cidr *sources = limited ? allocate(spec->n_load_balancer_source_ranges * sizeof(*sources)) : NULL;
    size_t n = 0;
    for (size_t i = 0; limited && i < spec->n_load_balancer_source_ranges; i++) {
        n += proxy_cidr_parse(str_trim(spec->load_balancer_source_ranges[i]), &sources[n]) && sources[n].family == family_of(p);
    }
    inlet_set_sources(f, sources, n, limited);
}

/* The inlet in this role, made when first asked for; NULL: there is no port for it. */
static struct inlet *ask_inlet(struct pass *p, enum role role)
{
    struct userspace *u = p->u;
    const struct core_v1_service_spec *spec = &p->service->spec;
    const struct proxy_table_config *t = &u->config.tables[p->family];
    struct entry *e = find_entry(p, role);
    struct err err;
    if (!e) {
        char name[600];
        if (u->exhausted) {
            p->waiting = true;
            return NULL;
        }
        snprintf(name, sizeof(name), "%s:%s", p->s->key, p->name);
        struct inlet *f = inlet_new(u->relay, family_of(p), p->protocol, str_c(name));
        if (!inlet_open(f, &err)) {
            inlet_free(f);
            exhausted(p, &err);
            return NULL;
        }
        e = allocate(sizeof(*e));
        *e = (struct entry){ .next = p->s->entries, .inlet = f, .role = role, .port = strdup(p->name) };
        p->s->entries = e;
    }
    struct inlet *f = e->inlet;
    if (!e->asked) {
        bool local = role == ROLE_INTERNAL ? service_is_local(spec->internal_traffic_policy) : service_is_local(spec->external_traffic_policy);
        e->asked = true;
        f->policy = !local ? INLET_ANYWHERE : role == ROLE_INTERNAL ? INLET_LOCAL : INLET_LOCAL_FOR_OUTSIDERS;
        f->pods = t->has_pod_cidr ? &t->pod_cidr : NULL;
        balancer_set(&f->all, p->e->all, p->e->n_all, service_affinity_seconds(spec));
        balancer_set(&f->local, p->e->local, p->e->n_local, service_affinity_seconds(spec));
        set_sources(p, f, role == ROLE_BALANCER);
    }
    return f;
}

static void claim(struct pass *p, const struct redirect *r)
{
    p->waiting = !redirects_claim(p->u->redirects[p->family], &p->s->owners[p->family], r) || p->waiting;
}

/* 'ip' absent: the node port. */
static void redirect(struct pass *p, struct str ip, enum role role)
{
    const struct core_v1_service_spec *spec = &p->service->spec;
    struct redirect r = { .kind = ip.ptr ? REDIRECT_ADDRESS : REDIRECT_NODEPORT,
                          .protocol = p->protocol,
                          .port = htons((uint16_t)(ip.ptr ? p->port->port : p->port->node_port)) };
    if (ip.ptr && (!proxy_addr_parse(family_of(p), ip, &r.addr) || !proxy_addr_is_routable(family_of(p), &r.addr))) {
        return;
    }
    /* Without policies that differ, one port of the host is enough. */
    if (role == ROLE_EXTERNAL && !service_is_local(spec->external_traffic_policy) && !service_is_local(spec->internal_traffic_policy)) {
        role = ROLE_INTERNAL;
    }
    if (role == ROLE_INTERNAL && ip.ptr) {
        struct redirect cluster = { .kind = REDIRECT_CLUSTER_IP, .addr = r.addr };
        for (size_t i = 0; i < MAX(spec->n_cluster_ips, (size_t)1); i++) {
            if (str_eq(ip, spec->n_cluster_ips ? spec->cluster_ips[i] : spec->cluster_ip)) {
                claim(p, &cluster);
            }
        }
    }
    const struct inlet *f = ask_inlet(p, role);
    if (f) {
        struct redirect port = { .kind = REDIRECT_PROXY_PORT, .protocol = p->protocol, .port = htons(f->port) };
        r.to = f->port;
        claim(p, &r);
        claim(p, &port);
    }
}

static void set_port(struct pass *p)
{
    const struct core_v1_service_spec *spec = &p->service->spec;
    const struct core_v1_load_balancer_status *lb = &p->service->status.load_balancer;
    for (size_t i = 0; i < MAX(spec->n_cluster_ips, (size_t)1); i++) {
        redirect(p, spec->n_cluster_ips ? spec->cluster_ips[i] : spec->cluster_ip, ROLE_INTERNAL);
    }
    for (size_t i = 0; i < spec->n_external_ips; i++) {
        redirect(p, spec->external_ips[i], ROLE_EXTERNAL);
    }
    for (size_t i = 0; i < lb->n_ingress && str_eq(spec->type, STR("LoadBalancer")); i++) {
        if (lb->ingress[i].ip.len && !str_eq(lb->ingress[i].ip_mode, STR("Proxy"))) {
            redirect(p, lb->ingress[i].ip, spec->n_load_balancer_source_ranges ? ROLE_BALANCER : ROLE_EXTERNAL);
        }
    }
    if (p->port->node_port) {
        redirect(p, STR_NULL, ROLE_EXTERNAL);
    }
    p->s->n_ports++;
    p->s->n_endpoints += p->e->n_all;
    p->s->n_local_ready = MAX(p->s->n_local_ready, p->e->n_local_ready);
}

static size_t set_ports(struct userspace *u, struct service *s, const struct core_v1_service *service,
                        const struct discovery_v1_endpoint_slice *const *slices, size_t n_slices, size_t family, bool *waiting)
{
    const struct core_v1_service_spec *spec = &service->spec;
    struct arena a;
    size_t refused = 0;
    arena_init(&a, SCRATCH_MAX);
    for (size_t i = 0; i < spec->n_ports; i++) {
        struct endpoints e;
        struct pass p = { .u = u, .s = s, .service = service, .port = &spec->ports[i], .e = &e, .family = family };
        struct endpoints_in in = { .family = family_of(&p),
                                   .slices = slices,
                                   .n_slices = n_slices,
                                   .port = p.port,
                                   .node = u->config.node,
                                   .zone = str_c(u->zone) };
        struct str protocol = p.port->protocol.len ? p.port->protocol : STR("TCP");
        snprintf(p.name, sizeof(p.name), "%.*s/%.*s/%d", STR_ARG(p.port->name), STR_ARG(protocol), p.port->port);
        if (str_eq(protocol, STR("SCTP"))) {
            if (!s->told) {
                log_error("Service %s: SCTP is not passed on in the userspace mode: port %d is left out", s->key, p.port->port);
                u->config.tell(u->config.data, service, "ProtocolNotSupported", "kube-proxy's userspace mode does not pass SCTP on");
            }
            s->told = true;
            continue;
        }
        p.protocol = service_protocol(p.port);
        if (endpoints_choose(&a, &in, &e)) {
            set_port(&p);
            refused += e.n_refused;
        }
        *waiting = *waiting || p.waiting;
    }
    arena_deinit(&a);
    return refused;
}

static void drop_entries(struct userspace *u, struct service *s)
{
    for (struct entry **at = &s->entries, *e; (e = *at);) {
        if (e->asked) {
            e->asked = false;
            at = &e->next;
        } else {
            *at = e->next;
            inlet_free(e->inlet);
            free(e->port);
            free(e);
            u->exhausted = false;
            u->freed = true;
        }
    }
}

static size_t set_service(struct engine *engine, struct str key, const struct core_v1_service *service,
                          const struct discovery_v1_endpoint_slice *const *slices, size_t n_slices)
{
    struct userspace *u = of(engine);
    struct service *s = map_get(&u->services, key);
    bool ours = service && service_is_ours(service), waiting = false;
    size_t refused = 0;
    if (!s && !ours) {
        return 0;
    }
    if (!s) {
        s = allocate(sizeof(*s));
        s->key = strndup(key.ptr, key.len);
        redirects_owner_init(&s->owners[0]);
        redirects_owner_init(&s->owners[1]);
        map_put(&u->services, key, s);
    }
    u->n_ports -= s->n_ports;
    u->n_endpoints -= s->n_endpoints;
    u->n_waiting -= s->waiting;
    s->n_ports = s->n_endpoints = s->n_local_ready = 0;
    for (size_t i = 0; i < 2; i++) {
        if (u->redirects[i]) {
            redirects_begin(u->redirects[i], &s->owners[i]);
            if (ours && service_has_cluster_ip(&service->spec, u->config.tables[i].family)) {
                refused += set_ports(u, s, service, slices, n_slices, i, &waiting);
            }
            u->freed = redirects_end(u->redirects[i], &s->owners[i]) || u->freed;
        }
    }
    drop_entries(u, s);
    s->health_port = ours ? service_health_port(&service->spec) : 0;
    s->waiting = waiting;
    u->n_waiting += waiting;
    u->n_ports += s->n_ports;
    u->n_endpoints += s->n_endpoints;
    if (!ours) {
        map_remove(&u->services, key);
        free(s->key);
        free(s);
    }
    struct relay_stats stats;
    relay_stats(u->relay, &stats);
    metric_set(metric_cell(&metric_ports), (double)stats.inlets);
    return refused;
}

/* ---- the engine ---- */

static bool set_zone(struct engine *e, struct str zone)
{
    struct userspace *u = of(e);
    if (str_eq(str_c(u->zone), zone)) {
        return false;
    }
    free(u->zone);
    u->zone = strndup(zone.len ? zone.ptr : "", zone.len);
    return true;
}

static void each_waiting(struct userspace *u, void (*fn)(void *data, struct str key), void *data)
{
    struct str key;
    void *value;
    for (size_t pos = 0; u->n_waiting && map_next(&u->services, &pos, &key, &value);) {
        if (((struct service *)value)->waiting) {
            fn(data, key);
        }
    }
}

static void take_waiting(struct engine *e, void (*fn)(void *data, struct str key), void *data)
{
    if (of(e)->freed) {
        each_waiting(of(e), fn, data);
    }
    of(e)->freed = false;
}

static void on_again(void *arg)
{
    struct userspace *u = arg;
    u->exhausted = false;
    each_waiting(u, u->config.again, u->config.data);
}

static bool write(struct engine *e, struct nft_batch *x, bool all)
{
    struct userspace *u = of(e);
    bool any = false;
    for (size_t i = 0; i < 2; i++) {
        if (!u->redirects[i]) {
            continue;
        }
        x->family = u->config.tables[i].family;
        if (all) {
            nft_delete_table(x, false);
            redirects_write_all(u->redirects[i], x);
            any = true;
        } else {
            any = redirects_write_changes(u->redirects[i], x) || any;
        }
    }
    return any;
}

static bool take_udp_changed(struct engine *e)
{
    bool changed = false;
    for (size_t i = 0; i < 2; i++) {
        changed = (of(e)->redirects[i] && redirects_take_udp_changed(of(e)->redirects[i])) || changed;
    }
    return changed;
}

static bool is_good(const struct engine *e, const struct conntrack_flow *f, bool local)
{
    const struct userspace *u = (const struct userspace *)e;
    struct proxy_addr to;
    bool rewritten = flow_is_rewritten(f, &to);
    const struct redirects *r = u->redirects[f->family == NFPROTO_IPV6];
    return !r || redirects_is_good(r, f->protocol, &to, f->destination_port, local, rewritten ? ntohs(f->replier_port) : 0);
}

static bool next_health(const struct engine *e, size_t *pos, struct ruleset_health *ret)
{
    struct str key;
    void *value;
    while (map_next(&((const struct userspace *)e)->services, pos, &key, &value)) {
        const struct service *s = value;
        if (s->health_port) {
            *ret = (struct ruleset_health){ .key = key, .port = s->health_port, .n_local = s->n_local_ready };
            return true;
        }
    }
    return false;
}

static void stats(const struct engine *e, struct ruleset_stats *ret)
{
    const struct userspace *u = (const struct userspace *)e;
    *ret = (struct ruleset_stats){ .services = u->services.n, .service_ports = u->n_ports, .endpoints = u->n_endpoints };
    for (size_t i = 0; i < 2; i++) {
        ret->elements += u->redirects[i] ? redirects_count(u->redirects[i]) : 0;
    }
}

static void free_engine(struct engine *e)
{
    struct userspace *u = of(e);
    struct str key;
    void *value;
    loop_timer_stop(&u->again);
    for (size_t pos = 0; map_next(&u->services, &pos, &key, &value);) {
        struct service *s = value;
        drop_entries(u, s);
        free(s->key);
        free(s);
    }
    map_deinit(&u->services);
    redirects_free(u->redirects[0]);
    redirects_free(u->redirects[1]);
    relay_free(u->relay);
    free(u->zone);
    free(u);
}

struct engine *engine_userspace_new(struct loop *l, const struct userspace_config *config)
{
    static const struct engine_ops ops = {
        .mode = "userspace",
        .set_service = set_service,
        .set_zone = set_zone,
        .take_waiting = take_waiting,
        .write = write,
        .take_udp_changed = take_udp_changed,
        .is_good = is_good,
        .next_health = next_health,
        .stats = stats,
        .free = free_engine,
    };
    struct userspace *u = allocate(sizeof(*u));
    struct relay_config relay = { .range = config->range,
                                  .bind = { config->bind[0], config->bind[1] },
                                  .udp_timeout_ms = config->udp_timeout_ms,
                                  .files = config->files };
    u->e.ops = &ops;
    u->loop = l;
    u->config = *config;
    u->relay = relay_new(l, &relay);
    map_init(&u->services);
    loop_timer_init(&u->again, l, on_again, u);
    for (size_t i = 0; i < 2; i++) {
        if (config->tables[i].family) {
            u->redirects[i] = redirects_new(&config->tables[i], &config->bind[i]);
        }
    }
    return &u->e;
}
