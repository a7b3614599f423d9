/*
 * endpointslice: the EndpointSlices of every Service with a selector, at most 100 endpoints each,
 * changed as little as possible: endpoints stay in the slice they are in; new ones fill slices with
 * room before a slice is added; empty slices go.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "api/gen/discovery_v1.h"
#include "base/rand.h"
#include "controllers/controllers.h"
#include "controllers/owner.h"
#include "controllers/service-endpoints.h"
#include "controllers/setup.h"

/* --max-endpoints-per-slice */
#define SLICE_MOST 100
#define SERVICE_NAME STR("kubernetes.io/service-name")
#define MANAGED_BY STR("endpointslice.kubernetes.io/managed-by")
#define MANAGER STR("endpointslice-controller.k8s.io")

struct state {
    struct controller *controller;
    const struct api_resource *services_resource, *slices_resource;
    struct service_informers in;
    struct informer *slices, *nodes;
    struct informer_index *by_service;
};

/* Slices of ours by "namespace/service". */
static void index_service(const struct api_type *type UNUSED, const void *obj,
                          void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct discovery_v1_endpoint_slice *s = obj;
    struct str service = meta_label(&s->metadata, SERVICE_NAME);
    char key[600];
    if (service.len && str_eq(meta_label(&s->metadata, MANAGED_BY), MANAGER)) {
        snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(s->metadata.namespace), STR_ARG(service));
        emit(ctx, str_c(key));
    }
}

static void on_pod(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    service_endpoints_enqueue(&s->in, old, obj);
}

static void enqueue_service(void *ctx, struct str key)
{
    controller_enqueue(((struct state *)ctx)->controller, key);
}

static void on_slice(void *data, const void *old, const void *obj)
{
    index_service(NULL, obj ? obj : old, enqueue_service, data);
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const node_fields[] = { "metadata.labels", NULL };
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    service_informers_init(&s->in, c, informers, on_pod, s);
    s->slices =
        informer_of(informers, "discovery.k8s.io", "endpointslices", whole_objects, on_slice, s);
    controller_needs(c, s->slices);
    s->by_service = informer_index(s->slices, "service", index_service);
    s->nodes = informer_of(informers, "", "nodes", node_fields, NULL, NULL);
    s->services_resource = informer_resource(s->in.services);
    s->slices_resource = informer_resource(s->slices);
    return s;
}

/* ---- one pass ---- */

/* A slice as it will be: an existing one, or a new one. */
struct plan {
    const struct discovery_v1_endpoint_slice *have; /* NULL: to be made */
    struct str address_type;
    const struct service_endpoint
        *like; /* any endpoint with its ports; NULL: nothing of this slice stays */
    struct discovery_v1_endpoint *endpoints;
    size_t n;
};

struct pass {
    struct state *s;
    struct actions *a;
    const struct core_v1_service *svc;
    struct plan *plans;
    size_t n_plans, capacity;
};

static struct discovery_v1_endpoint make_endpoint(struct pass *p, const struct service_endpoint *e)
{
    struct arena *a = act_arena(p->a);
    struct discovery_v1_endpoint x = { .addresses = arena_new(a, struct str), .n_addresses = 1 };
    struct core_v1_object_reference *ref = arena_new(a, struct core_v1_object_reference);
    if (!x.addresses || !ref) {
        abort();
    }
    x.addresses[0] = e->ip;
    x.conditions = (struct discovery_v1_endpoint_conditions){ .ready = e->ready,
                                                              .has_ready = true,
                                                              .serving = e->serving,
                                                              .has_serving = true,
                                                              .terminating = e->terminating,
                                                              .has_terminating = true };
    ref->kind = STR("Pod");
    ref->namespace = e->pod->metadata.namespace;
    ref->name = e->pod->metadata.name;
    ref->uid = e->pod->metadata.uid;
    x.target_ref = ref;
    x.node_name = e->pod->spec.node_name.len ? e->pod->spec.node_name : STR_NULL;
    x.hostname = e->pod->spec.hostname.len && str_eq(e->pod->spec.subdomain, p->svc->metadata.name)
                     ? e->pod->spec.hostname
                     : STR_NULL;
    const void *node = e->pod->spec.node_name.len
                           ? informer_get(p->s->nodes, STR_NULL, e->pod->spec.node_name)
                           : NULL;
    struct str zone =
        node ? meta_label(meta_of(&core_v1_node_type, node), STR("topology.kubernetes.io/zone"))
             : STR_NULL;
    x.zone = zone.len ? zone : STR_NULL;
    return x;
}

static bool slice_has_ports(const struct discovery_v1_endpoint_slice *s,
                            const struct service_endpoint *e)
{
    if (s->n_ports != e->n_ports) {
        return false;
    }
    for (size_t i = 0; i < e->n_ports; i++) {
        if (!str_eq(s->ports[i].name, e->ports[i].name) || s->ports[i].port != e->ports[i].port ||
            !str_eq(s->ports[i].protocol, e->ports[i].protocol) ||
            !str_eq(s->ports[i].app_protocol, e->ports[i].app_protocol)) {
            return false;
        }
    }
    return true;
}

static bool plan_takes(const struct plan *x, const struct service_endpoint *e)
{
    return x->like ? service_endpoints_same_ports(x->like, e)
                   : x->have && slice_has_ports(x->have, e);
}

static struct plan *plan_add(struct pass *p, const struct discovery_v1_endpoint_slice *have,
                             struct str address_type)
{
    if (p->n_plans == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 8;
        p->plans =
            arena_grow_n(act_arena(p->a), p->plans, p->n_plans, p->capacity, sizeof(*p->plans));
        if (!p->plans) {
            abort();
        }
    }
    struct plan *x = &p->plans[p->n_plans++];
    *x = (struct plan){ .have = have,
                        .address_type = address_type,
                        .endpoints = arena_new_n(act_arena(p->a), struct discovery_v1_endpoint,
                                                 SLICE_MOST) };
    if (!x->endpoints) {
        abort();
    }
    return x;
}

static void plan_put(struct pass *p, struct plan *x, const struct service_endpoint *e)
{
    x->like = x->like ? x->like : e;
    x->endpoints[x->n++] = make_endpoint(p, e);
}

/* The existing slice that names this pod, when it can keep it. */
static struct plan *plan_of(struct pass *p, const struct service_endpoint *e,
                            struct str address_type)
{
    for (size_t i = 0; i < p->n_plans; i++) {
        struct plan *x = &p->plans[i];
        if (!x->have || !str_eq(x->address_type, address_type) || !slice_has_ports(x->have, e)) {
            continue;
        }
        for (size_t k = 0; k < x->have->n_endpoints; k++) {
            const struct core_v1_object_reference *ref = x->have->endpoints[k].target_ref;
            if (ref && str_eq(ref->uid, e->pod->metadata.uid) && x->n < SLICE_MOST) {
                return x;
            }
        }
    }
    return NULL;
}

static void plan_family(struct pass *p, bool ipv6)
{
    struct str address_type = ipv6 ? STR("IPv6") : STR("IPv4");
    struct service_endpoints es = service_endpoints_of(&p->s->in, act_arena(p->a), p->svc, ipv6);
    bool *placed = arena_new_n(act_arena(p->a), bool, es.n + 1);
    if (!placed) {
        abort();
    }
    for (size_t i = 0; i < es.n; i++) {
        struct plan *x = plan_of(p, &es.items[i], address_type);
        if (x) {
            plan_put(p, x, &es.items[i]);
            placed[i] = true;
        }
    }
    for (size_t i = 0; i < es.n; i++) {
        struct plan *room = NULL;
        for (size_t k = 0; !placed[i] && k < p->n_plans; k++) {
            struct plan *x = &p->plans[k];
            /* The fullest with room, so that slices are filled before others are begun. */
            if (x->n < SLICE_MOST && str_eq(x->address_type, address_type) &&
                plan_takes(x, &es.items[i]) && (!room || x->n > room->n)) {
                room = x;
            }
        }
        if (!placed[i]) {
            plan_put(p, room ? room : plan_add(p, NULL, address_type), &es.items[i]);
        }
    }
}

static void fill_slice(struct pass *p, const struct plan *x,
                       struct discovery_v1_endpoint_slice *slice)
{
    struct arena *a = act_arena(p->a);
    struct discovery_v1_endpoint_port *ports =
        arena_new_n(a, struct discovery_v1_endpoint_port, x->like->n_ports + 1);
    if (!ports) {
        abort();
    }
    for (size_t i = 0; i < x->like->n_ports; i++) {
        const struct service_port *sp = &x->like->ports[i];
        ports[i] = (struct discovery_v1_endpoint_port){ .name = sp->name.ptr ? sp->name : STR_EMPTY,
                                                        .protocol = sp->protocol,
                                                        .port = sp->port,
                                                        .has_port = true,
                                                        .app_protocol = sp->app_protocol.len
                                                                            ? sp->app_protocol
                                                                            : STR_NULL };
    }
    slice->ports = ports;
    slice->n_ports = x->like->n_ports;
    slice->endpoints = x->endpoints;
    slice->n_endpoints = x->n;
    slice->address_type = x->address_type;
}

static void set_labels(struct pass *p, struct discovery_v1_endpoint_slice *slice)
{
    struct api_str_pair own[] = { { MANAGED_BY, MANAGER }, { SERVICE_NAME, p->svc->metadata.name } };
    service_endpoints_labels(act_arena(p->a), p->svc, own, ARRAY_SIZE(own), &slice->metadata);
}

static void create_slice(struct pass *p, const struct plan *x)
{
    struct arena *a = act_arena(p->a);
    char suffix[6];
    struct discovery_v1_endpoint_slice slice = { 0 };
    struct meta_v1_owner_reference owner =
        owner_reference(a, p->s->services_resource, &p->svc->metadata);
    rand_suffix(suffix, 5);
    slice.metadata.namespace = p->svc->metadata.namespace;
    slice.metadata.generate_name =
        arena_printf(a, "%.*s-", STR_ARG(str_sub(p->svc->metadata.name, 0, 57)));
    slice.metadata.name = arena_printf(a, "%.*s%s", STR_ARG(slice.metadata.generate_name), suffix);
    slice.metadata.owner_references = &owner;
    slice.metadata.n_owner_references = 1;
    set_labels(p, &slice);
    fill_slice(p, x, &slice);
    act_create(p->a, p->s->slices_resource, slice.metadata.namespace, &slice);
}

static void carry_out(struct pass *p, const struct plan *x, bool last)
{
    if (!x->have) {
        create_slice(p, x);
        return;
    }
    const struct meta_v1_object_meta *m = &x->have->metadata;
    if (!x->n && !last) {
        act_delete(p->a, p->s->slices_resource, m->namespace, m->name, m->uid, NULL);
        return;
    }
    struct discovery_v1_endpoint_slice *copy =
        arena_new(act_arena(p->a), struct discovery_v1_endpoint_slice);
    if (!copy ||
        !api_copy_into(act_arena(p->a), &discovery_v1_endpoint_slice_type, x->have, copy, false)) {
        abort();
    }
    set_labels(p, copy);
    if (x->n) {
        fill_slice(p, x, copy);
    } else {
        copy->endpoints = NULL;
        copy->n_endpoints = 0;
    }
    if (!api_equal(&discovery_v1_endpoint_slice_type, x->have, copy)) {
        act_update(p->a, p->s->slices_resource, copy);
    }
}

static bool wants_family(const struct core_v1_service *svc, bool ipv6)
{
    for (size_t i = 0; i < svc->spec.n_ip_families; i++) {
        if (str_eq(svc->spec.ip_families[i], ipv6 ? STR("IPv6") : STR("IPv4"))) {
            return true;
        }
    }
    return !svc->spec.n_ip_families && !ipv6;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    const struct discovery_v1_endpoint_slice *slice;
    str_cut(key, '/', &ns, &name);
    const struct core_v1_service *svc = informer_get(s->in.services, ns, name);
    bool gone = !svc || svc->metadata.deletion_timestamp.set;
    if (!gone && (!svc->spec.n_selector || str_eq(svc->spec.type, STR("ExternalName")))) {
        return; /* its slices are somebody else's */
    }
    struct pass p = { .s = s, .a = a, .svc = svc };
    for (size_t pos = 0; (slice = informer_index_next(s->by_service, key, &pos));) {
        if (gone) {
            act_delete(a, s->slices_resource, ns, slice->metadata.name, slice->metadata.uid, NULL);
        } else if (!slice->metadata.deletion_timestamp.set) {
            plan_add(&p, slice, slice->address_type);
        }
    }
    if (gone) {
        return;
    }
    for (int v6 = 0; v6 <= 1; v6++) {
        if (wants_family(svc, v6)) {
            plan_family(&p, v6);
        }
    }
    if (!p.n_plans) {
        /* A Service without endpoints has one empty slice: so others see that it was looked at. */
        struct service_endpoint none = { .pod = NULL };
        struct plan *x = plan_add(&p, NULL, wants_family(svc, false) ? STR("IPv4") : STR("IPv6"));
        x->like = &none;
        create_slice(&p, x);
        return;
    }
    size_t used = 0;
    for (size_t i = 0; i < p.n_plans; i++) {
        used += p.plans[i].n > 0;
    }
    for (size_t i = 0; i < p.n_plans; i++) {
        carry_out(&p, &p.plans[i], !used && i == 0);
    }
}

const struct controller_ops controller_endpointslice = {
    .name = "endpointslice",
    .service_account = "endpointslice-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
