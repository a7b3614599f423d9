/* endpoints: the older Endpoints object of every Service with a selector: the same facts as its
 * EndpointSlices, in one object. */
#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "client/meta.h"
#include "controllers/controllers.h"
#include "controllers/service-endpoints.h"
#include "controllers/setup.h"

/* More addresses do not fit the object; EndpointSlices have them all. */
#define ADDRESSES_MOST 1000

struct state {
    const struct api_resource *endpoints_resource;
    struct service_informers in;
    struct informer *endpoints;
};

static void on_pod(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    service_endpoints_enqueue(&s->in, old, obj);
}

static void *setup(struct controller *c, struct informers *informers)
{
    struct state *s = state_new(sizeof(*s));
    service_informers_init(&s->in, c, informers, on_pod, s);
    s->endpoints = informer_of_keys(c, informers, "", "endpoints", whole_objects);
    s->endpoints_resource = informer_resource(s->endpoints);
    return s;
}

static struct core_v1_endpoint_address
make_address(struct arena *a, const struct core_v1_service *svc, const struct service_endpoint *e)
{
    struct core_v1_object_reference *ref = arena_new(a, struct core_v1_object_reference);
    if (!ref) {
        abort();
    }
    ref->kind = STR("Pod");
    ref->namespace = e->pod->metadata.namespace;
    ref->name = e->pod->metadata.name;
    ref->uid = e->pod->metadata.uid;
    return (struct core_v1_endpoint_address){
        .ip = e->ip,
        .hostname = e->pod->spec.hostname.len && str_eq(e->pod->spec.subdomain, svc->metadata.name)
                        ? e->pod->spec.hostname
                        : STR_NULL,
        .node_name = e->pod->spec.node_name.len ? e->pod->spec.node_name : STR_NULL,
        .target_ref = ref,
    };
}

static int by_ip(const void *va, const void *vb)
{
    const struct service_endpoint *a = *(const struct service_endpoint *const *)va;
    const struct service_endpoint *b = *(const struct service_endpoint *const *)vb;
    int c = str_cmp(a->ip, b->ip);
    return c ? c : str_cmp(a->pod->metadata.uid, b->pod->metadata.uid);
}

static int by_port_name(const void *va, const void *vb)
{
    const struct core_v1_endpoint_port *a = va, *b = vb;
    int c = str_cmp(a->name, b->name);
    return c ? c : a->port - b->port;
}

static void add_subset(struct arena *a, const struct core_v1_service *svc,
                       const struct service_endpoint **es, size_t n, size_t first, bool *done,
                       struct core_v1_endpoint_subset *ret)
{
    const struct service_endpoint *like = es[first];
    ret->addresses = arena_new_n(a, struct core_v1_endpoint_address, n + 1);
    ret->not_ready_addresses = arena_new_n(a, struct core_v1_endpoint_address, n + 1);
    ret->ports = arena_new_n(a, struct core_v1_endpoint_port, like->n_ports + 1);
    if (!ret->addresses || !ret->not_ready_addresses || !ret->ports) {
        abort();
    }
    for (size_t i = first; i < n; i++) {
        if (done[i] || !service_endpoints_same_ports(like, es[i])) {
            continue;
        }
        done[i] = true;
        if (es[i]->ready) {
            ret->addresses[ret->n_addresses++] = make_address(a, svc, es[i]);
        } else {
            ret->not_ready_addresses[ret->n_not_ready_addresses++] = make_address(a, svc, es[i]);
        }
    }
    for (size_t i = 0; i < like->n_ports; i++) {
        ret->ports[ret->n_ports++] = (struct core_v1_endpoint_port){
            .name = like->ports[i].name,
            .port = like->ports[i].port,
            .protocol = like->ports[i].protocol,
            .app_protocol = like->ports[i].app_protocol.len ? like->ports[i].app_protocol : STR_NULL
        };
    }
    qsort(ret->ports, ret->n_ports, sizeof(ret->ports[0]), by_port_name);
}

static void make_subsets(struct arena *a, const struct core_v1_service *svc,
                         const struct service_endpoints *all, struct core_v1_endpoints *ret)
{
    const struct service_endpoint **es =
        arena_new_n(a, const struct service_endpoint *, all->n + 1);
    bool *done = arena_new_n(a, bool, all->n + 1);
    size_t n = 0;
    ret->subsets = arena_new_n(a, struct core_v1_endpoint_subset, all->n + 1);
    if (!es || !done || !ret->subsets) {
        abort();
    }
    for (size_t i = 0; i < all->n && n < ADDRESSES_MOST; i++) {
        /* A terminating pod is no address at all here, unless it is published in any state. */
        if (!all->items[i].terminating || svc->spec.publish_not_ready_addresses) {
            es[n++] = &all->items[i];
        }
    }
    qsort(es, n, sizeof(es[0]), by_ip);
    ret->n_subsets = 0;
    for (size_t i = 0; i < n; i++) {
        if (!done[i]) {
            add_subset(a, svc, es, n, i, done, &ret->subsets[ret->n_subsets++]);
        }
    }
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    static const struct api_str_pair own = { STR_INIT("endpoints.kubernetes.io/managed-by"),
                                             STR_INIT("endpoint-controller") };
    struct state *s = state;
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    const struct core_v1_service *svc = informer_get(s->in.services, ns, name);
    const struct core_v1_endpoints *have = informer_get(s->endpoints, ns, name);
    if (!svc || svc->metadata.deletion_timestamp.set) {
        /* Leader-election records and hand-made Endpoints carry no mark of ours and stay. */
        if (have && !svc &&
            meta_label(&have->metadata, own.key).len) {
            act_delete(a, s->endpoints_resource, ns, name, have->metadata.uid, NULL);
        }
        return;
    }
    if (!svc->spec.n_selector || str_eq(svc->spec.type, STR("ExternalName"))) {
        return;
    }
    bool ipv6 = svc->spec.n_ip_families && str_eq(svc->spec.ip_families[0], STR("IPv6"));
    struct service_endpoints es = service_endpoints_of(&s->in, act_arena(a), svc, ipv6);
    struct core_v1_endpoints want = { 0 };
    if (have && !api_copy_into(act_arena(a), &core_v1_endpoints_type, have, &want, false)) {
        abort();
    }
    want.metadata.namespace = ns;
    want.metadata.name = name;
    service_endpoints_labels(act_arena(a), svc, &own, 1, &want.metadata);
    make_subsets(act_arena(a), svc, &es, &want);
    if (!have) {
        act_create(a, s->endpoints_resource, ns, &want);
        act_tolerate(a, ERR_ALREADY_EXISTS);
    } else if (!api_equal(&core_v1_endpoints_type, have, &want)) {
        act_update(a, s->endpoints_resource, &want);
    }
}

const struct controller_ops controller_endpoints = {
    .name = "endpoint",
    .service_account = "endpoint-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
