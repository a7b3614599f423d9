#include "cloud/agent.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/copy.h"
#include "api/gen/coordination_v1.h"
#include "api/gen/discovery_v1.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "client/meta.h"
#include "cloud/bare-metal.h"
#include "cloud/l2.h"
#include "cloud/limits.h"
#include "cloud/node-facts.h"
#include "cloud/seat.h"
#include "component/component.h"

#define LEASE_LABEL BARE_METAL_PREFIX "announces"
#define LEASE_ADDRESS BARE_METAL_PREFIX "address"
/* How often links are read and Leases that nobody needs are looked for. */
#define REFRESH_MS 5000
/* A Lease of an address that no Service has is deleted when it was not renewed for so long. */
#define ORPHAN_S 60
/* Nobody's clock is asked: a holder that says more is not believed. */
#define LASTS_MOST_MS 600000
/* Everybody is told several times, as frames get lost: after so many milliseconds. */
static const uint64_t tells_ms[] = { 0, 500, 1500, 4000, 10000 };
/* In doubt, the link is asked so often whether another has the address. */
#define DOUBT_MS 1000
/* At the end, Leases are given back; the others need not wait for it longer. */
#define STOP_MS 1000

static struct metric stood = METRIC_GAUGE("bare_metal_addresses", "Load balancers' addresses that this node stands for.");
static struct metric taken = METRIC_COUNTER("bare_metal_address_transitions_total", "Times that this node began to stand for an address.");

struct agent;

/* An address of a Service. */
struct place {
    struct agent *agent;
    struct ip ip;
    char text[IP_TEXT_SIZE], lease[64];
    struct str service; /* "ns/name", allocated */
    char seen_rv[32];   /* of the Lease */
    struct seat seat;
    enum seat_action asked;
    struct client_call *call;
    bool wanted;        /* some Service still has it */
    bool stands, doubts;
    uint64_t asked_ms;  /* in doubt: when the link was asked last */
    unsigned told;      /* of tells_ms */
    uint64_t since_ms;
};

struct agent {
    struct bare_metal *provider;
    struct loop *loop;
    struct client *client;
    struct event_recorder *events;
    struct str node;
    struct informer *services, *slices, *nodes, *leases;
    const struct api_resource *lease_resource, *service_resource;
    struct informer_index *slices_of;
    struct l2 *l2;
    struct map places; /* address as text -> struct place */
    struct loop_timer timer, refresh;
    struct loop_task look;
    bool synced, full_said, stopping;
};

/* ---- which nodes may carry ---- */

static bool is_excluded(const struct core_v1_node *n)
{
    for (size_t i = 0; i < n->metadata.n_labels; i++) {
        if (str_eq(n->metadata.labels[i].key, STR(CLOUD_LABEL_EXCLUDE))) {
            return true;
        }
    }
    return !node_is_ready(n) || n->metadata.deletion_timestamp.set;
}

static void by_service(const struct api_type *type, const void *obj, void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct discovery_v1_endpoint_slice *s = obj;
    char key[512];
    struct str name = meta_label(&s->metadata, STR("kubernetes.io/service-name"));
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(s->metadata.namespace), STR_ARG(name));
    (void)type;
    emit(ctx, str_n(key, MIN((size_t)n, sizeof(key) - 1)));
}

/* Has the node an endpoint of the Service that is ready, of the address's family? */
static bool has_endpoint(const struct agent *g, struct str service, int family, struct str node)
{
    const struct discovery_v1_endpoint_slice *s;
    for (size_t pos = 0; (s = informer_index_next(g->slices_of, service, &pos));) {
        for (size_t i = 0; str_eq_c(s->address_type, family == 4 ? "IPv4" : "IPv6") && i < s->n_endpoints; i++) {
            const struct discovery_v1_endpoint *e = &s->endpoints[i];
            if (str_eq(e->node_name, node) && (!e->conditions.has_ready || e->conditions.ready)) {
                return true;
            }
        }
    }
    return false;
}

static uint64_t weight(const struct place *p, struct str node)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s %.*s", p->text, STR_ARG(node));
    /* FNV's last bytes change only the low bits: mixed, so that neighbours' addresses spread. */
    uint64_t h = str_fnv1a(str_n(text, MIN((size_t)n, sizeof(text) - 1)));
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
    return h ^ (h >> 33);
}

/* Whether this node may carry the address, and its rank: every node counts alike, by weights that differ for each address. */
static void judge(struct agent *g, struct place *p, const struct core_v1_service *s)
{
    const struct bare_metal_pool *pool = bare_metal_config_pool(&g->provider->config, &p->ip);
    const struct core_v1_node *n, *own = informer_get(g->nodes, STR_NULL, g->node);
    bool local = str_eq(s->spec.external_traffic_policy, STR("Local"));
    uint64_t mine = weight(p, g->node);
    p->seat.eligible = pool && own && !is_excluded(own) && l2_has_link(g->l2, &p->ip, pool->interfaces, pool->n_interfaces) &&
                       (!local || has_endpoint(g, p->service, p->ip.family, g->node)) && !g->stopping;
    p->seat.rank = 0;
    /* Beyond the rank that waits longest, counting says nothing more. */
    for (size_t pos = 0; p->seat.eligible && !p->seat.holding && p->seat.rank < SEAT_RANK_MOST_MS / SEAT_RANK_MS && (n = informer_next(g->nodes, &pos));) {
        if (weight(p, n->metadata.name) > mine && !is_excluded(n) && (!local || has_endpoint(g, p->service, p->ip.family, n->metadata.name))) {
            p->seat.rank++;
        }
    }
}

/* ---- places ---- */

static struct place *place_new(struct agent *g, const struct ip *ip)
{
    struct place *p = calloc(1, sizeof(*p));
    size_t at;
    if (!p) {
        abort();
    }
    p->agent = g;
    p->ip = *ip;
    ip_text(ip, p->text);
    at = (size_t)snprintf(p->lease, sizeof(p->lease), "bare-metal-");
    for (size_t i = 0; i < ip_len(ip); i++) {
        at += (size_t)snprintf(p->lease + at, sizeof(p->lease) - at, "%02x", ip->b[i]);
    }
    seat_init(&p->seat, (uint32_t)g->provider->config.lease_ms, loop_now_ms(g->loop));
    map_put(&g->places, str_c(p->text), p);
    return p;
}

static void set_service(struct place *p, struct str service)
{
    if (!str_eq(p->service, service)) {
        free((char *)(uintptr_t)p->service.ptr);
        char *copy = strndup(service.ptr, service.len);
        if (!copy) {
            abort();
        }
        p->service = str_n(copy, service.len);
    }
}

static void stop_standing(struct place *p)
{
    if (p->stands) {
        log_info("%s (Service %.*s) is no longer stood for here", p->text, STR_ARG(p->service));
        l2_leave(p->agent->l2, &p->ip);
        metric_add(metric_cell(&stood), -1);
        p->stands = p->doubts = false;
    }
}

static void place_free(struct place *p)
{
    stop_standing(p);
    (void)map_remove(&p->agent->places, str_c(p->text));
    client_cancel(p->call);
    free((char *)(uintptr_t)p->service.ptr);
    free(p);
}

static const struct coordination_v1_lease *lease_of(const struct place *p)
{
    return informer_get(p->agent->leases, p->agent->provider->config.lease_namespace, str_c(p->lease));
}

/* The Lease as the informer has it now. */
static void see_lease(struct place *p)
{
    const struct coordination_v1_lease *l = lease_of(p);
    struct str rv = l ? l->metadata.resource_version : STR("none");
    if (str_eq_c(rv, p->seen_rv)) {
        return;
    }
    snprintf(p->seen_rv, sizeof(p->seen_rv), "%.*s", STR_ARG(rv));
    bool held = l && l->spec.holder_identity.len;
    uint64_t lasts = held && l->spec.has_lease_duration_seconds && l->spec.lease_duration_seconds > 0
                         ? (uint64_t)l->spec.lease_duration_seconds * 1000
                         : 0;
    seat_saw(&p->seat, held, held && str_eq(l->spec.holder_identity, p->agent->node), MIN(lasts, (uint64_t)LASTS_MOST_MS),
             loop_now_ms(p->agent->loop));
}

/* ---- writing the Lease ---- */

static void agent_step(struct agent *g);

static void on_written(void *data, const struct client_answer *answer)
{
    struct place *p = data;
    struct agent *g = p->agent;
    p->call = NULL;
    if (answer->err) {
        bool raced = answer->err->code == ERR_CONFLICT || answer->err->code == ERR_ALREADY_EXISTS;
        log_at(raced ? LOG_DEBUG : LOG_WARNING, "the Lease of %s cannot be written: %s", p->text, answer->err->msg);
    } else if (answer->object && answer->type == g->lease_resource->type) {
        informer_put(g->leases, answer->object);
        const struct coordination_v1_lease *l = answer->object;
        snprintf(p->seen_rv, sizeof(p->seen_rv), "%.*s", STR_ARG(l->metadata.resource_version));
    }
    seat_answer(&p->seat, p->asked, !answer->err, loop_now_ms(g->loop));
    agent_step(g);
}

static void write_lease(struct place *p, enum seat_action action)
{
    struct agent *g = p->agent;
    const struct coordination_v1_lease *seen = lease_of(p);
    struct arena a;
    struct api_str_pair label = { STR(LEASE_LABEL), STR("address") }, note = { STR(LEASE_ADDRESS), str_c(p->text) };
    struct api_time now = { .set = true };
    clock_real(&now.sec, &now.nsec);
    arena_init(&a, 1u << 20);
    struct coordination_v1_lease *l = seen ? api_copy(&a, &coordination_v1_lease_type, seen) : arena_new(&a, struct coordination_v1_lease);
    if (!l) {
        abort();
    }
    l->metadata.namespace = g->provider->config.lease_namespace;
    l->metadata.name = str_c(p->lease);
    l->metadata.labels = &label;
    l->metadata.annotations = &note;
    l->metadata.n_labels = l->metadata.n_annotations = 1;
    struct coordination_v1_lease_spec *spec = &l->spec;
    if (action == SEAT_TAKE) {
        spec->lease_transitions = seen ? spec->lease_transitions + 1 : 0;
        spec->has_lease_transitions = true;
        spec->acquire_time = now;
    }
    spec->holder_identity = action == SEAT_RELEASE ? STR_EMPTY : g->node;
    spec->lease_duration_seconds = action == SEAT_RELEASE ? 1 : (int32_t)(p->seat.lease_ms / 1000);
    spec->has_lease_duration_seconds = true;
    spec->renew_time = now;
    struct client_target t = { .resource = g->lease_resource, .ns = l->metadata.namespace, .name = seen ? l->metadata.name : STR_NULL,
                               .timeout_ms = p->seat.lease_ms / 2 };
    p->asked = action;
    seat_ask(&p->seat, loop_now_ms(g->loop));
    p->call = seen ? client_update(g->client, &t, l, on_written, p) : client_create(g->client, &t, NULL, l, on_written, p);
    arena_deinit(&a);
}

/* ---- standing ---- */

static void start_standing(struct place *p)
{
    struct agent *g = p->agent;
    const struct bare_metal_pool *pool = bare_metal_config_pool(&g->provider->config, &p->ip);
    struct str ns, name;
    p->stands = true;
    p->told = 0;
    p->since_ms = loop_now_ms(g->loop);
    l2_stand(g->l2, &p->ip, pool ? pool->interfaces : NULL, pool ? pool->n_interfaces : 0);
    l2_ask(g->l2, &p->ip);
    metric_add(metric_cell(&stood), 1);
    metric_add(metric_cell(&taken), 1);
    log_info("%s (Service %.*s) is stood for here", p->text, STR_ARG(p->service));
    (void)str_cut(p->service, '/', &ns, &name);
    const struct core_v1_service *s = informer_get(g->services, ns, name);
    if (s) {
        struct event_subject about = event_subject_of(g->service_resource, s);
        event_record(g->events, &about, "Normal", "AddressStoodFor", "Node %.*s answers for %s", STR_ARG(g->node), p->text);
    }
}

/* The Lease cannot be renewed: perhaps nobody can, perhaps another node has it. */
static void doubt(struct place *p, bool doubts, uint64_t now)
{
    if (p->stands && doubts != p->doubts) {
        log_info("%s (Service %.*s): %s", p->text, STR_ARG(p->service),
                 doubts ? "its Lease cannot be renewed; it is stood for until another node does" : "its Lease is renewed again");
        p->doubts = doubts;
        p->asked_ms = 0;
    }
    if (p->stands && p->doubts && now >= p->asked_ms + DOUBT_MS) {
        p->asked_ms = now;
        l2_ask(p->agent->l2, &p->ip);
    }
}

/* What is due of one place. Returns when it is to be looked at again. */
static uint64_t place_step(struct place *p)
{
    struct agent *g = p->agent;
    uint64_t now = loop_now_ms(g->loop), wake, until;
    enum seat_action action = seat_next(&p->seat, now, &wake);
    if (action != SEAT_WAIT) {
        if (action == SEAT_RELEASE) {
            stop_standing(p); /* before another may begin */
        }
        write_lease(p, action);
        wake = UINT64_MAX;
    }
    enum seat_standing standing = seat_stands(&p->seat, now, &until);
    if (standing == SEAT_HERE && !p->stands) {
        start_standing(p);
    } else if (standing == SEAT_ELSEWHERE) {
        stop_standing(p);
    }
    doubt(p, standing == SEAT_IN_DOUBT, now);
    while (p->stands && p->told < ARRAY_SIZE(tells_ms) && now >= p->since_ms + tells_ms[p->told]) {
        l2_tell(g->l2, &p->ip);
        p->told++;
    }
    if (p->stands) {
        wake = MIN(wake, p->doubts ? p->asked_ms + DOUBT_MS : until);
        wake = p->told < ARRAY_SIZE(tells_ms) ? MIN(wake, p->since_ms + tells_ms[p->told]) : wake;
    }
    return wake;
}

static void agent_step(struct agent *g)
{
    uint64_t wake = UINT64_MAX;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&g->places, &pos, &key, &value);) {
        struct place *p = value;
        if (!p->wanted && !p->seat.holding && !p->seat.ours && !p->call) {
            place_free(p);
        } else {
            wake = MIN(wake, place_step(p));
        }
    }
    loop_timer_stop(&g->timer);
    if (wake != UINT64_MAX) {
        loop_timer_start_at(&g->timer, wake);
    }
}

static void on_timer(void *arg)
{
    agent_step(arg);
}

/* ---- looking ---- */

static bool is_ours(const struct agent *g, const struct core_v1_service *s)
{
    return str_eq(s->spec.type, STR("LoadBalancer")) &&
           (!s->spec.load_balancer_class.len || str_eq(s->spec.load_balancer_class, g->provider->config.class));
}

static void look_at_address(struct agent *g, const struct core_v1_service *s, const struct core_v1_load_balancer_ingress *in)
{
    struct ip ip;
    char text[IP_TEXT_SIZE], key[512];
    if (!ip_parse(in->ip, &ip) || str_eq(in->ip_mode, STR("Proxy")) || !bare_metal_config_pool(&g->provider->config, &ip)) {
        return;
    }
    struct place *p = map_get(&g->places, ip_text(&ip, text));
    if (!p && g->places.n >= CLOUD_ANNOUNCE_MAX) {
        if (!g->full_said) {
            log_error("there are more than %d load balancers' addresses: the others are not stood for here", CLOUD_ANNOUNCE_MAX);
        }
        g->full_said = true;
        return;
    }
    p = p ? p : place_new(g, &ip);
    if (p->wanted) {
        return; /* two Services say that they have it: the first does */
    }
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(s->metadata.namespace), STR_ARG(s->metadata.name));
    p->wanted = true;
    set_service(p, str_n(key, MIN((size_t)n, sizeof(key) - 1)));
    see_lease(p);
    judge(g, p, s);
}

static void look(void *arg)
{
    struct agent *g = arg;
    const struct core_v1_service *s;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&g->places, &pos, &key, &value);) {
        ((struct place *)value)->wanted = false;
    }
    for (size_t pos = 0; (s = informer_next(g->services, &pos));) {
        for (size_t i = 0; is_ours(g, s) && i < s->status.load_balancer.n_ingress; i++) {
            look_at_address(g, s, &s->status.load_balancer.ingress[i]);
        }
    }
    for (size_t pos = 0; map_next(&g->places, &pos, &key, &value);) {
        struct place *p = value;
        if (!p->wanted) {
            p->seat.eligible = false;
            see_lease(p);
        }
    }
    agent_step(g);
}

static void on_change(void *data, const void *old, const void *obj)
{
    struct agent *g = data;
    (void)old;
    (void)obj;
    if (g->synced) {
        loop_task_defer(&g->look);
    }
}

/* A kubelet's heartbeat changes nothing here. */
static void on_node(void *data, const void *old, const void *obj)
{
    const struct core_v1_node *before = old, *after = obj;
    if (!before || !after || is_excluded(before) != is_excluded(after)) {
        on_change(data, old, obj);
    }
}

/* Renewals of others are most of what comes: they change one place alone. */
static void on_lease(void *data, const void *old, const void *obj)
{
    struct agent *g = data;
    const struct coordination_v1_lease *l = obj ? obj : old;
    struct place *p = map_get(&g->places, meta_annotation(&l->metadata, STR(LEASE_ADDRESS)));
    if (g->synced && p && str_eq_c(l->metadata.name, p->lease)) {
        see_lease(p);
        agent_step(g);
    }
}

/* The Lease of an address that no Service has any more, and that nobody renews. Who is late has a conflict, which is fine. */
static void delete_orphans(struct agent *g)
{
    const struct coordination_v1_lease *l;
    for (size_t pos = 0; (l = informer_next(g->leases, &pos));) {
        if (map_get(&g->places, meta_annotation(&l->metadata, STR(LEASE_ADDRESS))) || l->spec.renew_time.sec + ORPHAN_S > clock_real_s()) {
            continue;
        }
        struct client_target t = { .resource = g->lease_resource, .ns = l->metadata.namespace, .name = l->metadata.name };
        struct client_delete_options o = { .uid = l->metadata.uid, .resource_version = l->metadata.resource_version, .grace_seconds = -1 };
        client_detach(client_delete(g->client, &t, &o, NULL, NULL));
    }
}

static void on_refresh(void *arg)
{
    struct agent *g = arg;
    l2_refresh(g->l2);
    delete_orphans(g);
    look(g);
    loop_timer_start(&g->refresh, REFRESH_MS);
}

static bool on_claimed(void *data, const struct ip *ip)
{
    struct agent *g = data;
    char text[IP_TEXT_SIZE];
    struct place *p = map_get(&g->places, ip_text(ip, text));
    if (!p || !p->doubts) {
        return true;
    }
    seat_yield(&p->seat);
    stop_standing(p);
    return false;
}

static void on_conflict(void *data, const struct ip *ip, const struct l2_mac *who, const char *link)
{
    struct agent *g = data;
    char text[IP_TEXT_SIZE], message[160];
    struct str ns, name;
    const struct place *p = map_get(&g->places, ip_text(ip, text));
    snprintf(message, sizeof(message), "%02x:%02x:%02x:%02x:%02x:%02x on %s says that it has %s, which node %.*s answers for", who->b[0],
             who->b[1], who->b[2], who->b[3], who->b[4], who->b[5], link, text, (int)MIN(g->node.len, (size_t)63), g->node.ptr);
    log_warning("%s", message);
    (void)str_cut(p ? p->service : STR_EMPTY, '/', &ns, &name);
    const struct core_v1_service *s = p ? informer_get(g->services, ns, name) : NULL;
    if (s) {
        struct event_subject about = event_subject_of(g->service_resource, s);
        event_record(g->events, &about, "Warning", "AddressConflict", "%s", message);
    }
}

/* ---- life ---- */

void *agent_start(void *provider, struct component *c, struct str node, struct err *err)
{
    static const char *const service_fields[] = { "spec.type", "spec.loadBalancerClass", "spec.externalTrafficPolicy", "status.loadBalancer", NULL };
    static const char *const slice_fields[] = { "metadata.labels", "addressType", "endpoints", NULL };
    static const char *const node_fields[] = { "metadata.labels", "metadata.deletionTimestamp", "status.conditions", NULL };
    static const struct l2_ops ops = { .claimed = on_claimed, .conflict = on_conflict };
    struct informers *informers = component_informers(c);
    struct agent *g = calloc(1, sizeof(*g));
    if (!g) {
        abort();
    }
    g->provider = provider;
    g->loop = component_loop(c);
    g->client = component_client(c);
    g->events = component_events(c);
    g->node = node;
    g->l2 = l2_new(g->loop, &ops, g, err);
    if (!g->l2) {
        free(g);
        return NULL;
    }
    map_init(&g->places);
    g->lease_resource = api_resource_find(STR("coordination.k8s.io"), STR("v1"), STR("leases"));
    g->service_resource = api_resource_find(STR(""), STR("v1"), STR("services"));
    const struct informer_spec services = { .resource = g->service_resource, .fields = service_fields };
    const struct informer_spec slices = { .resource = api_resource_find(STR("discovery.k8s.io"), STR("v1"), STR("endpointslices")),
                                          .fields = slice_fields };
    const struct informer_spec nodes = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")), .fields = node_fields };
    const struct informer_spec leases = { .resource = g->lease_resource, .ns = g->provider->config.lease_namespace,
                                          .label_selector = STR(LEASE_LABEL "=address") };
    g->services = informers_get(informers, &services, on_change, g);
    g->slices = informers_get(informers, &slices, on_change, g);
    g->slices_of = informer_index(g->slices, "service", by_service);
    g->nodes = informers_get(informers, &nodes, on_node, g);
    g->leases = informers_get(informers, &leases, on_lease, g);
    loop_timer_init(&g->timer, g->loop, on_timer, g);
    loop_timer_init(&g->refresh, g->loop, on_refresh, g);
    loop_task_init(&g->look, g->loop, look, g);
    return g;
}

void agent_synced(void *agent)
{
    struct agent *g = agent;
    g->synced = true;
    on_refresh(g);
}

static bool any_call(const struct agent *g)
{
    struct str key;
    void *value;
    bool any = false;
    for (size_t pos = 0; map_next(&g->places, &pos, &key, &value);) {
        any = any || ((struct place *)value)->call;
    }
    return any;
}

void agent_stop(void *agent)
{
    struct agent *g = agent;
    struct str key;
    void *value;
    /* Gives the Leases back, so that others take over at once. */
    g->stopping = true;
    g->synced = false;
    loop_timer_stop(&g->refresh);
    for (size_t pos = 0; map_next(&g->places, &pos, &key, &value);) {
        ((struct place *)value)->seat.eligible = false;
    }
    agent_step(g);
    uint64_t end = clock_mono_ms() + STOP_MS;
    while (any_call(g) && clock_mono_ms() < end) {
        loop_turn(g->loop, 50);
    }
    for (size_t pos = 0; map_next(&g->places, &pos, &key, &value);) {
        place_free(value);
    }
    map_deinit(&g->places);
    loop_timer_stop(&g->timer);
    loop_task_cancel(&g->look);
    l2_free(g->l2);
    free(g);
}
