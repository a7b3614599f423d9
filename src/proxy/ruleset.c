#include "proxy/ruleset.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "proxy/endpoints.h"

/* Of one Service's endpoints while it is looked at; 100,000 endpoints are 10 MB. */
#define SCRATCH_MAX (256u << 20)
#define AFFINITY_SECONDS 10800 /* DefaultClientIPServiceAffinitySeconds */
#define KEY_MAX 16

union value {
    struct proxy_chain chain;
    struct proxy_endpoint endpoint;
    uint8_t bytes[16];
};

/* What is wanted and what the table has; in the queue from the first difference to
 * the next write. */
struct state {
    bool wanted, applied, queued;
    struct state *next;
};

struct chain {
    struct state s; /* first; wanted while 'refs' */
    uint32_t refs;
    struct proxy_chain c;
    char name[PROXY_NAME_SIZE];
};

/* An element of a set or map. Only SET_HAIRPIN's have more than one owner. */
struct element {
    struct state s; /* first */
    uint8_t set, key_len;
    uint8_t key[KEY_MAX];
    uint32_t refs;
    union value want, has;
    struct chain *chain; /* of 'want', where that is one of ours */
};

/* A list of endpoints with affinity. */
struct list_state {
    struct state s; /* first */
    struct proxy_list want, has;
    char *port; /* "tcp/http", and "/local" behind it: for life */
};

struct firewall {
    struct state s; /* first */
    struct proxy_firewall f;
    struct chain *to;
};

struct service {
    char *key;
    struct element **elements; /* sorted by set and key */
    size_t n_elements;
    struct list_state **lists;
    size_t n_lists;
    struct firewall **firewalls;
    size_t n_firewalls;
    size_t n_ports, n_endpoints, n_local_ready;
    uint16_t health_port;
    bool waiting; /* for a port that another Service holds */
};

struct ruleset {
    struct ruleset_config config;
    char *zone;
    struct map services;  /* by key: struct service */
    struct map elements;  /* by set and key: struct element */
    struct map chains;    /* by struct proxy_chain: struct chain */
    struct map lists;     /* by id: struct list_state */
    struct map firewalls; /* by id: struct firewall */
    uint32_t next_id;
    struct state *element_queue, *chain_queue, *list_queue, *firewall_queue;
    size_t n_waiting, n_service_ports, n_endpoints;
    bool freed; /* something that a waiting Service may take */
    bool udp_changed;
};

static void *allocate(size_t n)
{
    void *p = calloc(1, MAX(n, (size_t)1));
    if (!p) {
        abort();
    }
    return p;
}

static void enqueue(struct state **queue, struct state *s)
{
    if (!s->queued) {
        s->queued = true;
        s->next = *queue;
        *queue = s;
    }
}

static struct str bytes_of(const void *p, size_t n)
{
    return str_n(p, n);
}

struct ruleset *ruleset_new(const struct ruleset_config *config)
{
    struct ruleset *rs = allocate(sizeof(*rs));
    rs->config = *config;
    rs->next_id = 1;
    map_init(&rs->services);
    map_init(&rs->elements);
    map_init(&rs->chains);
    map_init(&rs->lists);
    map_init(&rs->firewalls);
    return rs;
}

static void free_list(struct list_state *l)
{
    free((void *)(uintptr_t)l->want.endpoints);
    free((void *)(uintptr_t)l->has.endpoints);
    free(l->port);
    free(l);
}

static void free_firewall(struct firewall *f)
{
    free((void *)(uintptr_t)f->f.sources);
    free(f);
}

static void free_service(struct service *s)
{
    free(s->key);
    free(s->elements);
    free(s->lists);
    free(s->firewalls);
    free(s);
}

struct ruleset *ruleset_free(struct ruleset *rs)
{
    struct str key;
    void *value;
    if (!rs) {
        return NULL;
    }
    for (size_t pos = 0; map_next(&rs->services, &pos, &key, &value);) {
        free_service(value);
    }
    for (size_t pos = 0; map_next(&rs->elements, &pos, &key, &value);) {
        free(value);
    }
    for (size_t pos = 0; map_next(&rs->chains, &pos, &key, &value);) {
        free(value);
    }
    for (size_t pos = 0; map_next(&rs->lists, &pos, &key, &value);) {
        free_list(value);
    }
    for (size_t pos = 0; map_next(&rs->firewalls, &pos, &key, &value);) {
        free_firewall(value);
    }
    map_deinit(&rs->services);
    map_deinit(&rs->elements);
    map_deinit(&rs->chains);
    map_deinit(&rs->lists);
    map_deinit(&rs->firewalls);
    free(rs->zone);
    free(rs);
    return NULL;
}

bool ruleset_set_zone(struct ruleset *rs, struct str zone)
{
    if (str_eq(str_c(rs->zone), zone)) {
        return false;
    }
    free(rs->zone);
    rs->zone = allocate(zone.len + 1);
    if (zone.len) {
        memcpy(rs->zone, zone.ptr, zone.len);
    }
    return true;
}

/* ---- chains ---- */

static bool is_own_chain(const struct proxy_chain *c)
{
    return c->kind != CHAIN_REJECT && c->kind != CHAIN_DROP && c->kind != CHAIN_FIREWALL &&
           c->kind != CHAIN_LIST;
}

static struct chain *ref_chain(struct ruleset *rs, const struct proxy_chain *c)
{
    struct str key = bytes_of(c, sizeof(*c));
    if (!is_own_chain(c)) {
        return NULL;
    }
    struct chain *chain = map_get(&rs->chains, key);
    if (!chain) {
        chain = allocate(sizeof(*chain));
        chain->c = *c;
        proxy_chain_name(c, chain->name);
        map_put(&rs->chains, key, chain);
    }
    if (chain->refs++ == 0) {
        chain->s.wanted = true;
        enqueue(&rs->chain_queue, &chain->s);
    }
    return chain;
}

static void unref_chain(struct ruleset *rs, struct chain *c)
{
    if (c && --c->refs == 0) {
        c->s.wanted = false;
        enqueue(&rs->chain_queue, &c->s);
    }
}

/* ---- elements ---- */

/* An element that the Service under way asks for. */
struct wish {
    uint8_t set, key_len;
    uint8_t key[KEY_MAX];
    union value value;
};

static struct str element_key(uint8_t set, const uint8_t *key, uint8_t len, char dst[KEY_MAX + 1])
{
    dst[0] = (char)set;
    memcpy(dst + 1, key, len);
    return str_n(dst, (size_t)len + 1);
}

static int compare_keys(uint8_t set_a, const uint8_t *a, uint8_t set_b, const uint8_t *b)
{
    /* Keys of one set are equally long, and the rest of the array is zero. */
    return set_a != set_b ? (set_a < set_b ? -1 : 1) : memcmp(a, b, KEY_MAX);
}

static int compare_wishes(const void *x, const void *y)
{
    const struct wish *a = x, *b = y;
    return compare_keys(a->set, a->key, b->set, b->key);
}

static void set_value(struct ruleset *rs, struct element *e, const union value *v)
{
    struct chain *old = e->chain;
    if (e->s.wanted && memcmp(&e->want, v, sizeof(*v)) == 0) {
        return;
    }
    e->chain = proxy_set_is_verdict(e->set) ? ref_chain(rs, &v->chain) : NULL;
    unref_chain(rs, old);
    e->want = *v;
    e->s.wanted = true;
    enqueue(&rs->element_queue, &e->s);
}

/* The element for the wish, or NULL when another Service holds it. */
static struct element *acquire(struct ruleset *rs, const struct wish *w)
{
    char buf[KEY_MAX + 1];
    struct str key = element_key(w->set, w->key, w->key_len, buf);
    struct element *e = map_get(&rs->elements, key);
    if (e && e->s.wanted) {
        e->refs += w->set == SET_HAIRPIN;
        return w->set == SET_HAIRPIN ? e : NULL;
    }
    if (!e) {
        e = allocate(sizeof(*e));
        e->set = w->set;
        e->key_len = w->key_len;
        memcpy(e->key, w->key, sizeof(e->key));
        map_put(&rs->elements, key, e);
    }
    e->refs = 1;
    set_value(rs, e, &w->value);
    return e;
}

static void release(struct ruleset *rs, struct element *e)
{
    if (--e->refs == 0) {
        unref_chain(rs, e->chain);
        e->chain = NULL;
        e->s.wanted = false;
        rs->freed = true;
        enqueue(&rs->element_queue, &e->s);
    }
}

/* Is it about UDP, whose connections live on in the kernel when endpoints change? */
static bool is_udp(uint8_t set, const uint8_t *key)
{
    bool by_port =
        set == SET_NODEPORTS || set == SET_PORT_ENDPOINTS || set == SET_NO_ENDPOINT_PORTS;
    return set != SET_CLUSTER_IPS && set != SET_HAIRPIN && key[by_port ? 0 : 4] == IPPROTO_UDP;
}

/* Goes from the Service's elements to the wishes, both sorted. */
static void change_elements(struct ruleset *rs, struct service *s, const struct wish *w, size_t n)
{
    struct element **now = allocate(n * sizeof(*now));
    size_t n_now = 0, old = 0;
    bool waiting = false;
    for (size_t i = 0; i < n || old < s->n_elements;) {
        struct element *e = old < s->n_elements ? s->elements[old] : NULL;
        int c = !e ? 1 : i == n ? -1 : compare_keys(e->set, e->key, w[i].set, w[i].key);
        if (i > 0 && i < n && c >= 0 && compare_wishes(&w[i - 1], &w[i]) == 0) {
            i++; /* asked for twice (one address in two roles): the first counts */
            continue;
        }
        if (c == 0) {
            set_value(rs, e, &w[i].value);
            now[n_now++] = e;
        } else if (c < 0) {
            rs->udp_changed = rs->udp_changed || is_udp(e->set, e->key);
            release(rs, e);
        } else {
            struct element *got = acquire(rs, &w[i]);
            rs->udp_changed = rs->udp_changed || is_udp(w[i].set, w[i].key);
            waiting = waiting || !got;
            if (got) {
                now[n_now++] = got;
            }
        }
        old += c <= 0;
        i += c >= 0;
    }
    free(s->elements);
    s->elements = now;
    s->n_elements = n_now;
    rs->n_waiting += waiting;
    rs->n_waiting -= s->waiting;
    s->waiting = waiting;
}

/* ---- one Service ---- */

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

static struct wish *wish(struct pass *p, enum proxy_set set)
{
    if (p->n == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 64;
        p->wishes = realloc(p->wishes, p->capacity * sizeof(*p->wishes));
        if (!p->wishes) {
            abort();
        }
    }
    struct wish *w = &p->wishes[p->n++];
    *w = (struct wish){ .set = (uint8_t)set };
    return w;
}

static void key_add(struct wish *w, const void *bytes, uint8_t n)
{
    memcpy(w->key + w->key_len, bytes, n);
    w->key_len = (uint8_t)(w->key_len + ((n + 3) & ~3));
}

/* The key of an address and port ('addr' NULL: of a node port). */
static void key_port(struct wish *w, const uint32_t *addr, uint8_t protocol, uint16_t port)
{
    if (addr) {
        key_add(w, addr, 4);
    }
    key_add(w, &protocol, 1);
    key_add(w, &port, 2);
}

static void want_endpoints(const struct port *t, const uint32_t *addr, uint16_t port,
                           const struct proxy_endpoint *e, size_t n, uint32_t first)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t number = first + (uint32_t)i;
        struct wish *w = wish(t->p, addr ? SET_ENDPOINTS : SET_PORT_ENDPOINTS);
        key_port(w, addr, t->protocol, port);
        key_add(w, &number, 4);
        w->value.endpoint = e[i];
    }
}

static bool contains(const struct proxy_endpoint *list, size_t n, const struct proxy_endpoint *e)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].addr == e->addr && list[i].port == e->port) {
            return true;
        }
    }
    return false;
}

/* Those on this node first, then the others; where the local ones are not among all, then all. Sets
 * first and n of the chain. */
static void want_both(const struct port *t, const uint32_t *addr, uint16_t port,
                      struct proxy_chain *c)
{
    const struct endpoints *e = &t->e;
    uint32_t number = (uint32_t)e->n_local;
    want_endpoints(t, addr, port, e->local, e->n_local, 0);
    for (size_t i = 0; i < e->n_all; i++) {
        if (!e->local_is_part || !contains(e->local, e->n_local, &e->all[i])) {
            want_endpoints(t, addr, port, &e->all[i], 1, number++);
        }
    }
    c->n = (uint32_t)e->n_all;
    c->first = e->local_is_part ? 0 : (uint32_t)e->n_local;
    c->n_local = (uint32_t)e->n_local;
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
        l = allocate(sizeof(*l));
        l->port = strdup(name);
        l->want.id = p->rs->next_id++;
        map_put(&p->rs->lists, bytes_of(&l->want.id, 4), l);
    }
    const struct proxy_endpoint *e = local ? t->e.local : t->e.all;
    size_t n = local ? t->e.n_local : t->e.n_all;
    if (!l->s.wanted || l->want.seconds != t->affinity || l->want.n != n ||
        (n && memcmp(l->want.endpoints, e, n * sizeof(*e)) != 0)) {
        struct proxy_endpoint *copy = allocate(n * sizeof(*copy));
        memcpy(copy, e, n * sizeof(*copy));
        free((void *)(uintptr_t)l->want.endpoints);
        l->want.endpoints = copy;
        l->want.n = n;
        l->want.seconds = t->affinity;
        l->s.wanted = true;
        p->rs->udp_changed = p->rs->udp_changed || t->protocol == IPPROTO_UDP;
        enqueue(&p->rs->list_queue, &l->s);
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

/* What happens to packets for this address (NULL: node port): external ones, by
 * externalTrafficPolicy. */
static struct proxy_chain external_chain(struct port *t, const uint32_t *addr, uint16_t port,
                                         bool policy_local)
{
    struct proxy_chain c = { 0 };
    if (t->affinity) {
        c.kind = policy_local ? CHAIN_LIST_LOCAL : CHAIN_LIST_MASQ;
        c.n = all_list(t);
        c.n_local = policy_local && t->e.n_local ? local_list(t) : 0;
    } else if (policy_local) {
        c.kind = addr ? CHAIN_IP_LOCAL : CHAIN_PORT_LOCAL;
        want_both(t, addr, port, &c);
    } else {
        c.kind = addr ? CHAIN_IP_MASQ : CHAIN_PORT_MASQ;
        c.n = (uint32_t)t->e.n_all;
        want_endpoints(t, addr, port, t->e.all, t->e.n_all, 0);
    }
    return c;
}

static struct proxy_chain internal_chain(struct port *t, const uint32_t *addr, uint16_t port,
                                         bool policy_local)
{
    size_t n = policy_local ? t->e.n_local : t->e.n_all;
    struct proxy_chain c = { .kind = CHAIN_IP, .n = (uint32_t)n };
    if (t->affinity) {
        c = (struct proxy_chain){ .kind = CHAIN_LIST,
                                  .n = policy_local ? local_list(t) : all_list(t) };
    } else {
        want_endpoints(t, addr, port, policy_local ? t->e.local : t->e.all, n, 0);
    }
    return c;
}

static void want_verdict(const struct port *t, enum proxy_set set, const uint32_t *addr,
                         uint16_t port, const struct proxy_chain *c)
{
    struct wish *w = wish(t->p, set);
    key_port(w, addr, t->protocol, port);
    w->value.chain = *c;
}

/* No endpoints anywhere: refused. Some, but none that the policy allows: dropped, as others will
 * answer for this address. */
static void want_nothing(const struct port *t, const uint32_t *addr, uint16_t port)
{
    struct proxy_chain c = { .kind = t->e.n_all || t->e.n_local ? CHAIN_DROP : CHAIN_REJECT };
    want_verdict(t, addr ? SET_NO_ENDPOINTS : SET_NO_ENDPOINT_PORTS, addr, port, &c);
}

static bool parse_ipv4(struct str s, uint32_t *ret)
{
    char text[INET_ADDRSTRLEN];
    return s.len && str_to_cstr(s, text, sizeof(text)) && inet_pton(AF_INET, text, ret) == 1;
}

static void want_cluster_ip(struct port *t, struct str ip)
{
    uint32_t addr;
    uint16_t port = htons((uint16_t)t->port->port);
    bool local = str_eq(t->p->service->spec.internal_traffic_policy, STR("Local"));
    if (!parse_ipv4(ip, &addr)) {
        return;
    }
    struct wish *w = wish(t->p, SET_CLUSTER_IPS);
    key_add(w, &addr, 4);
    if (local ? !t->e.n_local : !t->e.n_all) {
        want_nothing(t, &addr, port);
        return;
    }
    struct proxy_chain c = internal_chain(t, &addr, port, local);
    want_verdict(t, SET_SERVICE_IPS, &addr, port, &c);
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
    struct proxy_cidr *sources = allocate(spec->n_load_balancer_source_ranges * sizeof(*sources));
    for (size_t i = 0; i < spec->n_load_balancer_source_ranges; i++) {
        n += proxy_cidr_parse(str_trim(spec->load_balancer_source_ranges[i]), &sources[n]);
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
    struct firewall *f = allocate(sizeof(*f));
    f->f = (struct proxy_firewall){ .id = p->rs->next_id++, .sources = sources, .n = n, .to = *to };
    f->s.wanted = true;
    f->to = ref_chain(p->rs, to);
    map_put(&p->rs->firewalls, bytes_of(&f->f.id, 4), f);
    enqueue(&p->rs->firewall_queue, &f->s);
    p->firewalls[p->n_firewalls++] = f;
    return (struct proxy_chain){ .kind = CHAIN_FIREWALL, .n = f->f.id };
}

/* externalIPs, load balancers' addresses, and (ip absent) the node port. */
static void want_external(struct port *t, struct str ip, bool load_balancer)
{
    uint32_t in_addr = 0, *addr = ip.ptr ? &in_addr : NULL;
    uint16_t port = htons((uint16_t)(addr ? t->port->port : t->port->node_port));
    bool local = str_eq(t->p->service->spec.external_traffic_policy, STR("Local"));
    if (addr && !parse_ipv4(ip, addr)) {
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
    struct proxy_chain c = external_chain(t, addr, port, local);
    if (load_balancer) {
        c = behind_firewall(t, &c);
    }
    want_verdict(t, addr ? SET_SERVICE_IPS : SET_NODEPORTS, addr, port, &c);
}

static uint32_t affinity_seconds(const struct core_v1_service_spec *spec)
{
    const struct core_v1_session_affinity_config *c = spec->session_affinity_config;
    if (!str_eq(spec->session_affinity, STR("ClientIP"))) {
        return 0;
    }
    return c && c->client_ip && c->client_ip->has_timeout_seconds &&
                   c->client_ip->timeout_seconds > 0
               ? (uint32_t)c->client_ip->timeout_seconds
               : AFFINITY_SECONDS;
}

static void want_port(struct pass *p, const struct core_v1_service_port *port,
                      const struct endpoints *e)
{
    const struct core_v1_service *service = p->service;
    const struct core_v1_service_spec *spec = &service->spec;
    struct port t = { .p = p, .port = port, .e = *e, .affinity = affinity_seconds(spec) };
    t.protocol = str_eq(port->protocol, STR("UDP"))    ? IPPROTO_UDP
                 : str_eq(port->protocol, STR("SCTP")) ? IPPROTO_SCTP
                                                       : IPPROTO_TCP;
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
        struct wish *w = wish(p, SET_HAIRPIN);
        key_add(w, &e->here[i].addr, 4);
        key_add(w, &e->here[i].addr, 4);
    }
    p->s->n_ports++;
    p->s->n_endpoints += e->n_all;
    p->s->n_local_ready = MAX(p->s->n_local_ready, e->n_local_ready);
}

static bool is_ours(const struct core_v1_service *s)
{
    const struct core_v1_service_spec *spec = &s->spec;
    for (size_t i = 0; i < s->metadata.n_labels; i++) {
        if (str_eq(s->metadata.labels[i].key, STR("service.kubernetes.io/service-proxy-name"))) {
            return false;
        }
    }
    return !str_eq(spec->type, STR("ExternalName")) && spec->cluster_ip.len &&
           !str_eq(spec->cluster_ip, STR("None"));
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
            enqueue(&p->rs->list_queue, &s->lists[i]->s);
        }
    }
    for (size_t i = 0; i < s->n_firewalls; i++) {
        bool kept = false;
        for (size_t k = 0; k < p->n_firewalls; k++) {
            kept = kept || p->firewalls[k] == s->firewalls[i];
        }
        if (!kept) {
            s->firewalls[i]->s.wanted = false;
            unref_chain(p->rs, s->firewalls[i]->to);
            s->firewalls[i]->to = NULL;
            enqueue(&p->rs->firewall_queue, &s->firewalls[i]->s);
        }
    }
    free(s->lists);
    free(s->firewalls);
    s->lists = p->lists;
    s->n_lists = p->n_lists;
    s->firewalls = p->firewalls;
    s->n_firewalls = p->n_firewalls;
}

void ruleset_set_service(struct ruleset *rs, struct str key, const struct core_v1_service *service,
                         const struct discovery_v1_endpoint_slice *const *slices, size_t n_slices)
{
    struct service *s = map_get(&rs->services, key);
    bool ours = service && is_ours(service);
    struct arena a;
    if (!s && !ours) {
        return;
    }
    if (!s) {
        s = allocate(sizeof(*s));
        s->key = allocate(key.len + 1);
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
        p.lists = allocate(spec->n_ports * 2 * sizeof(struct list_state *));
        p.firewalls =
            allocate(spec->n_ports * MAX(service->status.load_balancer.n_ingress, (size_t)1) *
                     sizeof(struct firewall *));
        for (size_t i = 0; i < spec->n_ports; i++) {
            struct endpoints_in in = { .slices = slices,
                                       .n_slices = n_slices,
                                       .port = &spec->ports[i],
                                       .node = rs->config.node,
                                       .zone = str_c(rs->zone) };
            struct endpoints e;
            if (endpoints_choose(&a, &in, &e)) {
                want_port(&p, &spec->ports[i], &e);
            }
        }
        if (str_eq(spec->type, STR("LoadBalancer")) &&
            str_eq(spec->external_traffic_policy, STR("Local"))) {
            s->health_port = (uint16_t)spec->health_check_node_port;
        }
        qsort(p.wishes, p.n, p.n ? sizeof(struct wish) : 1, compare_wishes);
    }
    change_elements(rs, s, p.wishes, p.n);
    change_lists(&p);
    rs->n_service_ports += s->n_ports;
    rs->n_endpoints += s->n_endpoints;
    free(p.wishes);
    arena_deinit(&a);
    if (!ours) {
        map_remove(&rs->services, key);
        free_service(s);
    }
}

void ruleset_take_waiting(struct ruleset *rs, void (*fn)(void *data, struct str key), void *data)
{
    struct str key;
    void *value;
    if (rs->freed && rs->n_waiting) {
        for (size_t pos = 0; map_next(&rs->services, &pos, &key, &value);) {
            if (((struct service *)value)->waiting) {
                fn(data, key);
            }
        }
    }
    rs->freed = false;
}

/* ---- writing ---- */

static bool list_differs(const struct list_state *l)
{
    return l->want.n != l->has.n || l->want.seconds != l->has.seconds ||
           (l->want.n && memcmp(l->want.endpoints, l->has.endpoints,
                                l->want.n * sizeof(*l->want.endpoints)) != 0);
}

static void write_wanted_lists(struct ruleset *rs, struct nft_batch *x)
{
    for (struct state *q = rs->list_queue; q; q = q->next) {
        struct list_state *l = (struct list_state *)q;
        if (q->wanted && (!q->applied || list_differs(l))) {
            proxy_table_change_list(x, q->applied ? &l->has : NULL, &l->want);
            struct proxy_endpoint *copy = allocate(l->want.n * sizeof(*copy));
            memcpy(copy, l->want.endpoints, l->want.n * sizeof(*copy));
            free((void *)(uintptr_t)l->has.endpoints);
            l->has = l->want;
            l->has.endpoints = copy;
            q->applied = true;
        }
    }
}

static void delete_unwanted_lists(struct ruleset *rs, struct nft_batch *x)
{
    for (struct state *q = rs->list_queue, *next; q; q = next) {
        struct list_state *l = (struct list_state *)q;
        next = q->next;
        q->queued = false;
        if (!q->wanted) {
            if (q->applied) {
                proxy_table_change_list(x, &l->has, NULL);
            }
            map_remove(&rs->lists, bytes_of(&l->want.id, 4));
            free_list(l);
        }
    }
    rs->list_queue = NULL;
}

static void add_wanted_chains(struct ruleset *rs, struct nft_batch *x)
{
    for (struct state *q = rs->chain_queue; q; q = q->next) {
        if (q->wanted && !q->applied) {
            proxy_table_add_chain(x, &rs->config.table, &((struct chain *)q)->c);
            q->applied = true;
        }
    }
    for (struct state *q = rs->firewall_queue; q; q = q->next) {
        if (q->wanted && !q->applied) {
            proxy_table_add_firewall(x, &((struct firewall *)q)->f);
            q->applied = true;
        }
    }
}

static void delete_unwanted_chains(struct ruleset *rs, struct nft_batch *x)
{
    for (struct state *q = rs->firewall_queue, *next; q; q = next) {
        struct firewall *f = (struct firewall *)q;
        next = q->next;
        q->queued = false;
        if (!q->wanted) {
            if (q->applied) {
                proxy_table_delete_firewall(x, f->f.id);
            }
            map_remove(&rs->firewalls, bytes_of(&f->f.id, 4));
            free_firewall(f);
        }
    }
    rs->firewall_queue = NULL;
    for (struct state *q = rs->chain_queue, *next; q; q = next) {
        struct chain *c = (struct chain *)q;
        next = q->next;
        q->queued = false;
        if (!q->wanted) {
            if (q->applied) {
                proxy_table_delete_chain(x, &c->c);
            }
            map_remove(&rs->chains, bytes_of(&c->c, sizeof(c->c)));
            free(c);
        }
    }
    rs->chain_queue = NULL;
}

/* Padded keys and values as they stand in the element; verdicts by the chain's name. */
static void put_element(struct nft_element *n, const struct element *e, bool add)
{
    *n = (struct nft_element){ .key = bytes_of(e->key, e->key_len) };
    if (!add) {
        return;
    }
    if (proxy_set_is_verdict(e->set)) {
        n->has_verdict = true;
        n->verdict = e->want.chain.kind == CHAIN_DROP ? NF_DROP : NFT_GOTO;
    } else if (e->set == SET_ENDPOINTS || e->set == SET_PORT_ENDPOINTS) {
        n->data = bytes_of(&e->want.endpoint, sizeof(e->want.endpoint));
    }
}

static void write_elements(struct ruleset *rs, struct nft_batch *x)
{
    size_t n_queued[SET_MAX] = { 0 };
    for (struct state *q = rs->element_queue; q; q = q->next) {
        n_queued[((struct element *)q)->set]++;
    }
    /* One set after the other; all deletions before all additions, since an element may move from
     * one map to another. */
    for (int adds = 0; adds < 2; adds++) {
        for (int set = 0; set < SET_MAX; set++) {
            struct nft_element *out = allocate(n_queued[set] * sizeof(*out));
            char(*names)[PROXY_NAME_SIZE] = NULL;
            size_t n = 0;
            if (adds && proxy_set_is_verdict(set)) {
                names = allocate(n_queued[set] * sizeof(*names));
            }
            for (struct state *q = n_queued[set] ? rs->element_queue : NULL; q; q = q->next) {
                struct element *e = (struct element *)q;
                bool differs =
                    !q->wanted || !q->applied || memcmp(&e->want, &e->has, sizeof(e->want)) != 0;
                if (e->set != set || !differs || (adds ? !q->wanted : !q->applied)) {
                    continue;
                }
                put_element(&out[n], e, adds);
                if (names && e->want.chain.kind != CHAIN_DROP) {
                    proxy_chain_name(&e->want.chain, names[n]);
                    out[n].chain = names[n];
                }
                n++;
            }
            if (adds) {
                nft_add_elements(x, proxy_set_name(set), 0, out, n);
            } else {
                nft_delete_elements(x, proxy_set_name(set), out, n);
            }
            free(names);
            free(out);
        }
    }
    for (struct state *q = rs->element_queue, *next; q; q = next) {
        struct element *e = (struct element *)q;
        next = q->next;
        q->queued = false;
        q->applied = q->wanted;
        e->has = e->want;
        if (!q->wanted) {
            char buf[KEY_MAX + 1];
            map_remove(&rs->elements, element_key(e->set, e->key, e->key_len, buf));
            free(e);
        }
    }
    rs->element_queue = NULL;
}

bool ruleset_write_changes(struct ruleset *rs, struct nft_batch *x)
{
    unsigned before = x->n_messages;
    write_wanted_lists(rs, x);
    add_wanted_chains(rs, x);
    write_elements(rs, x);
    delete_unwanted_chains(rs, x);
    delete_unwanted_lists(rs, x);
    return x->n_messages != before;
}

static void forget_applied(const struct map *m, struct state **queue)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(m, &pos, &key, &value);) {
        struct state *s = value; /* the first member of all of them */
        s->applied = false;
        enqueue(queue, s);
    }
}

void ruleset_write_all(struct ruleset *rs, struct nft_batch *x)
{
    proxy_table_create(x, &rs->config.table);
    forget_applied(&rs->elements, &rs->element_queue);
    forget_applied(&rs->chains, &rs->chain_queue);
    forget_applied(&rs->lists, &rs->list_queue);
    forget_applied(&rs->firewalls, &rs->firewall_queue);
    ruleset_write_changes(rs, x);
    rs->udp_changed = true;
}

/* ---- questions ---- */

bool ruleset_take_udp_changed(struct ruleset *rs)
{
    bool changed = rs->udp_changed;
    rs->udp_changed = false;
    return changed;
}

static const struct element *find(const struct ruleset *rs, const struct wish *w)
{
    char buf[KEY_MAX + 1];
    const struct element *e = map_get(&rs->elements, element_key(w->set, w->key, w->key_len, buf));
    return e && e->s.wanted ? e : NULL;
}

/* Does the chain of this address (NULL: node port) lead to the endpoint? */
static bool leads_to(const struct ruleset *rs, const struct proxy_chain *c, const uint32_t *addr,
                     uint8_t protocol, uint16_t port, const struct proxy_endpoint *e)
{
    if (c->kind == CHAIN_FIREWALL) {
        const struct firewall *f = map_get(&rs->firewalls, bytes_of(&c->n, 4));
        return f && leads_to(rs, &f->f.to, addr, protocol, port, e);
    }
    if (c->kind == CHAIN_LIST || c->kind == CHAIN_LIST_MASQ || c->kind == CHAIN_LIST_LOCAL) {
        const struct list_state *all = map_get(&rs->lists, bytes_of(&c->n, 4));
        const struct list_state *local =
            c->n_local ? map_get(&rs->lists, bytes_of(&c->n_local, 4)) : NULL;
        return (all && contains(all->want.endpoints, all->want.n, e)) ||
               (local && contains(local->want.endpoints, local->want.n, e));
    }
    for (uint32_t i = 0; i < MAX(c->first + c->n, c->n_local); i++) {
        struct wish w = { .set = addr ? SET_ENDPOINTS : SET_PORT_ENDPOINTS };
        key_port(&w, addr, protocol, port);
        key_add(&w, &i, 4);
        const struct element *x = find(rs, &w);
        if (x && x->want.endpoint.addr == e->addr && x->want.endpoint.port == e->port) {
            return true;
        }
    }
    return false;
}

bool ruleset_connection_is_good(const struct ruleset *rs, uint8_t protocol, uint32_t addr,
                                uint16_t port, bool is_local, const struct proxy_endpoint *endpoint)
{
    struct wish by_ip = { .set = SET_SERVICE_IPS }, by_port = { .set = SET_NODEPORTS };
    key_port(&by_ip, &addr, protocol, port);
    key_port(&by_port, NULL, protocol, port);
    const struct element *e = find(rs, &by_ip);
    if (e) {
        return endpoint && leads_to(rs, &e->want.chain, &addr, protocol, port, endpoint);
    }
    if (is_local && (e = find(rs, &by_port))) {
        return endpoint && leads_to(rs, &e->want.chain, NULL, protocol, port, endpoint);
    }
    by_ip.set = SET_NO_ENDPOINTS;
    by_port.set = SET_NO_ENDPOINT_PORTS;
    if (find(rs, &by_ip) || (is_local && find(rs, &by_port))) {
        return false;
    }
    return true;
}

bool ruleset_next_health(const struct ruleset *rs, size_t *pos, struct ruleset_health *ret)
{
    struct str key;
    void *value;
    while (map_next(&rs->services, pos, &key, &value)) {
        const struct service *s = value;
        if (s->health_port) {
            *ret = (struct ruleset_health){ .key = key,
                                            .port = s->health_port,
                                            .n_local = s->n_local_ready };
            return true;
        }
    }
    return false;
}

void ruleset_stats(const struct ruleset *rs, struct ruleset_stats *ret)
{
    *ret = (struct ruleset_stats){ .services = rs->services.n,
                                   .service_ports = rs->n_service_ports,
                                   .endpoints = rs->n_endpoints,
                                   .elements = rs->elements.n };
}
