/*
 * service-lb-controller: a Service of type LoadBalancer without a class, or of the provider's class, gets what the provider makes for
 * it into its status. A finalizer holds the Service until the provider has removed that again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/encode-json.h"
#include "api/json-writer.h"
#include "base/arena.h"
#include "base/map.h"
#include "cloud/calls.h"
#include "cloud/cloud.h"
#include "cloud/node-facts.h"

#define FINALIZER "service.kubernetes.io/load-balancer-cleanup"

/* What the provider was told last of a Service. */
struct told {
    uint64_t service, hosts;
    bool failed; /* looked at again whenever another Service lets something go */
};

struct state {
    struct controller *controller;
    const struct api_resource *resource;
    struct informer *services, *nodes;
    struct cloud_calls *calls;
    struct map told;
};

static bool has_finalizer(const struct core_v1_service *s)
{
    for (size_t i = 0; i < s->metadata.n_finalizers; i++) {
        if (str_eq(s->metadata.finalizers[i], STR(FINALIZER))) {
            return true;
        }
    }
    return false;
}

/* Is it for this provider, whatever its type? */
static bool is_ours(const struct core_v1_service *s)
{
    const struct cloud_load_balancers *lb = cloud_settings.provider->load_balancers;
    struct str class = lb->class ? lb->class(cloud_settings.state) : STR_NULL;
    return !s->spec.load_balancer_class.len || (class.len && str_eq(s->spec.load_balancer_class, class));
}

static bool is_wanted(const struct core_v1_service *s)
{
    return str_eq(s->spec.type, STR("LoadBalancer")) && !s->metadata.deletion_timestamp.set;
}

/* ---- nodes behind a load balancer ---- */

static bool may_carry(const struct core_v1_node *n)
{
    struct str key = STR(CLOUD_LABEL_EXCLUDE);
    for (size_t i = 0; i < n->metadata.n_labels; i++) {
        if (str_eq(n->metadata.labels[i].key, key)) {
            return false;
        }
    }
    return node_is_ready(n) && !n->metadata.deletion_timestamp.set && !node_has_taint(n, "ToBeDeletedByClusterAutoscaler");
}

static const struct core_v1_node **nodes_of(struct state *s, struct arena *a, size_t *ret_n, uint64_t *ret_hash)
{
    const struct core_v1_node **list = arena_new_n(a, const struct core_v1_node *, informer_count(s->nodes) + 1), *n;
    *ret_n = 0;
    *ret_hash = 0;
    if (!list) {
        abort();
    }
    for (size_t pos = 0; (n = informer_next(s->nodes, &pos));) {
        if (may_carry(n)) {
            list[(*ret_n)++] = n;
            *ret_hash = *ret_hash * 31 + str_fnv1a(n->metadata.name);
        }
    }
    return list;
}

static void enqueue_all(struct state *s, bool failed_only)
{
    const struct core_v1_service *v;
    for (size_t pos = 0; (v = informer_next(s->services, &pos));) {
        if (str_eq(v->spec.type, STR("LoadBalancer"))) {
            char name[512];
            int n = snprintf(name, sizeof(name), "%.*s/%.*s", STR_ARG(v->metadata.namespace), STR_ARG(v->metadata.name));
            const struct told *t = map_get(&s->told, str_n(name, (size_t)n));
            if (!failed_only || (t && t->failed)) {
                controller_enqueue(s->controller, str_n(name, (size_t)n));
            }
        }
    }
}

static void on_node(void *data, const void *old, const void *obj)
{
    const struct core_v1_node *before = old, *after = obj;
    if ((before && may_carry(before)) != (after && may_carry(after))) {
        enqueue_all(data, false);
    }
}

static void on_service(void *data, const void *old, const void *obj)
{
    const struct core_v1_service *before = old, *after = obj;
    if (before && has_finalizer(before) && (!after || !has_finalizer(after))) {
        enqueue_all(data, true);
    }
}

/* ---- life ---- */

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "metadata.annotations", "metadata.creationTimestamp", "metadata.deletionTimestamp",
                                          "metadata.finalizers", "spec", "status.loadBalancer", NULL };
    static const char *const node_fields[] = { "metadata.labels", "metadata.deletionTimestamp", "spec.taints", "status.conditions", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->resource = api_resource_find(STR(""), STR("v1"), STR("services"));
    map_init(&s->told);
    const struct informer_spec services = { .resource = s->resource, .fields = fields };
    const struct informer_spec nodes = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")), .fields = node_fields };
    s->services = controller_watch(c, informers, &services);
    (void)informers_get(informers, &services, on_service, s);
    s->nodes = informers_get(informers, &nodes, on_node, s);
    s->calls = cloud_calls_new(c);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->told, &pos, &key, &value);) {
        free(value);
    }
    map_deinit(&s->told);
    cloud_calls_free(s->calls);
    free(s);
}

static struct told *told_of(struct state *s, struct str key)
{
    struct told *t = map_get(&s->told, key);
    if (!t && (t = calloc(1, sizeof(*t)))) {
        map_put(&s->told, key, t);
    }
    if (!t) {
        abort();
    }
    return t;
}

/* What the provider goes by: spec and annotations. Never 0. */
static uint64_t hash_of(const struct core_v1_service *v)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 4u << 20);
    if (!api_encode_json(&b, &core_v1_service_spec_type, &v->spec, NULL, NULL)) {
        abort();
    }
    buf_append(&b, v->metadata.uid);
    for (size_t i = 0; i < v->metadata.n_annotations; i++) {
        buf_append(&b, v->metadata.annotations[i].key);
        buf_append_char(&b, '=');
        buf_append(&b, v->metadata.annotations[i].value);
    }
    return str_fnv1a(buf_str(&b)) | 1;
}

/* ---- writes ---- */

static void write_finalizer(struct state *s, struct actions *a, const struct core_v1_service *v, bool there)
{
    CLEANUP(buf_deinit) struct buf b;
    bool first = true;
    buf_init(&b, 1u << 20);
    buf_append_c(&b, "{\"metadata\":{\"resourceVersion\":");
    json_write_string(&b, v->metadata.resource_version);
    buf_append_c(&b, ",\"finalizers\":[");
    for (size_t i = 0; i < v->metadata.n_finalizers; i++) {
        if (there || !str_eq(v->metadata.finalizers[i], STR(FINALIZER))) {
            buf_append_c(&b, first ? "" : ",");
            json_write_string(&b, v->metadata.finalizers[i]);
            first = false;
        }
    }
    if (there) {
        buf_append_c(&b, first ? "\"" FINALIZER "\"" : ",\"" FINALIZER "\"");
    }
    buf_append_c(&b, "]}}");
    act_patch(a, s->resource, v->metadata.namespace, v->metadata.name, NULL, CLIENT_PATCH_MERGE, buf_str(&b));
}

static bool same_status(const struct core_v1_load_balancer_status *x, const struct core_v1_load_balancer_status *y)
{
    bool same = x->n_ingress == y->n_ingress;
    for (size_t i = 0; same && i < x->n_ingress; i++) {
        const struct core_v1_load_balancer_ingress *p = &x->ingress[i], *q = &y->ingress[i];
        struct str mode_p = p->ip_mode.len ? p->ip_mode : STR("VIP"), mode_q = q->ip_mode.len ? q->ip_mode : STR("VIP");
        same = str_eq(p->ip, q->ip) && str_eq(p->hostname, q->hostname) && (!p->ip.len || str_eq(mode_p, mode_q));
    }
    return same;
}

static void write_status(struct state *s, struct actions *a, const struct core_v1_service *v, const struct core_v1_load_balancer_status *st)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    buf_append_c(&b, "{\"status\":{\"loadBalancer\":");
    if (!st) {
        buf_append_c(&b, "null");
    } else if (!api_encode_json(&b, &core_v1_load_balancer_status_type, st, NULL, NULL)) {
        abort();
    }
    buf_append_c(&b, "}}");
    act_patch(a, s->resource, v->metadata.namespace, v->metadata.name, "status", CLIENT_PATCH_MERGE, buf_str(&b));
}

/* ---- passes ---- */

static void failed(struct state *s, struct actions *a, const struct core_v1_service *v, struct told *t, const struct err *err)
{
    t->failed = true;
    t->service = 0;
    act_event(a, s->resource, v, "Warning", "SyncLoadBalancerFailed", "Error syncing load balancer: %s", err->msg);
    act_fail(a, "%s", err->msg);
}

static void ensured(struct state *s, struct actions *a, const struct core_v1_service *v, struct told *t,
                    const struct core_v1_load_balancer_status *st)
{
    t->failed = false;
    if (!same_status(st, &v->status.load_balancer)) {
        write_status(s, a, v, st);
        act_event_after(a, s->resource, v, "Normal", "EnsuredLoadBalancer", "Ensured load balancer");
    }
}

static void ensure(struct state *s, struct actions *a, struct str key, const struct core_v1_service *v)
{
    const struct cloud_load_balancers *lb = cloud_settings.provider->load_balancers;
    struct told *t = told_of(s, key);
    uint64_t service = hash_of(v), hosts;
    size_t n;
    bool is_new;
    if (!has_finalizer(v)) {
        act_event(a, s->resource, v, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer");
        write_finalizer(s, a, v, true);
        return;
    }
    const struct core_v1_node **nodes = nodes_of(s, act_arena(a), &n, &hosts);
    bool known = t->service == service && v->status.load_balancer.n_ingress;
    bool moved = t->hosts != hosts && lb->update;
    if (known && !moved) {
        return;
    }
    struct cloud_call *call = cloud_calls_ask(s->calls, known ? "update" : "ensure", key, service ^ hosts, &is_new);
    if (!call) {
        return;
    }
    if (is_new) {
        (known ? lb->update : lb->ensure)(cloud_settings.state, v, nodes, n, call);
    }
    enum cloud_call_state st = cloud_call_settle(call);
    if (st == CLOUD_CALL_WAITS) {
        return;
    }
    t->service = service;
    t->hosts = hosts;
    if (st == CLOUD_CALL_FAILED) {
        failed(s, a, v, t, cloud_call_err(call));
    } else if (known) {
        act_event(a, s->resource, v, "Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts");
    } else {
        ensured(s, a, v, t, cloud_call_answer(call));
    }
    cloud_calls_drop(call);
}

/* Nothing is left at the provider: so says the Service, too. */
static void removed(struct state *s, struct actions *a, const struct core_v1_service *v)
{
    if (v->status.load_balancer.n_ingress && !v->metadata.deletion_timestamp.set) {
        write_status(s, a, v, NULL); /* the finalizer goes in the pass after it */
        return;
    }
    write_finalizer(s, a, v, false);
    act_event_after(a, s->resource, v, "Normal", "DeletedLoadBalancer", "Deleted load balancer");
}

static void clean_up(struct state *s, struct actions *a, struct str key, const struct core_v1_service *v)
{
    const struct cloud_load_balancers *lb = cloud_settings.provider->load_balancers;
    struct told *t = told_of(s, key);
    bool is_new;
    t->service = 0;
    t->failed = false;
    struct cloud_call *call = cloud_calls_ask(s->calls, "get", key, 0, &is_new);
    if (!call) {
        return;
    }
    if (is_new) {
        lb->get(cloud_settings.state, v, call);
    }
    enum cloud_call_state st = cloud_call_settle(call);
    if (st == CLOUD_CALL_WAITS) {
        return;
    }
    bool none = st == CLOUD_CALL_FAILED && cloud_call_err(call)->code == ERR_NOT_FOUND;
    if (st == CLOUD_CALL_FAILED && !none) {
        failed(s, a, v, t, cloud_call_err(call));
    }
    if (none) {
        removed(s, a, v);
    }
    if (st == CLOUD_CALL_FAILED) {
        cloud_calls_drop(call);
        return;
    }
    /* It is there: that answer stays until the removal is answered, so that it is said once. */
    struct cloud_call *removal = cloud_calls_ask(s->calls, "remove", key, 0, &is_new);
    if (!removal) {
        return;
    }
    if (is_new) {
        act_event(a, s->resource, v, "Normal", "DeletingLoadBalancer", "Deleting load balancer");
        lb->remove(cloud_settings.state, v, removal);
    }
    st = cloud_call_settle(removal);
    if (st == CLOUD_CALL_WAITS) {
        return;
    }
    if (st == CLOUD_CALL_FAILED) {
        failed(s, a, v, t, cloud_call_err(removal));
    } else {
        removed(s, a, v);
    }
    cloud_calls_drop(removal);
    cloud_calls_drop(call);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    (void)str_cut(key, '/', &ns, &name);
    const struct core_v1_service *v = informer_get(s->services, ns, name);
    if (!v) {
        free(map_remove(&s->told, key));
        return;
    }
    if (!is_ours(v)) {
        return; /* another controller's, with the finalizer of its own */
    }
    if (is_wanted(v)) {
        ensure(s, a, key, v);
    } else if (has_finalizer(v)) {
        clean_up(s, a, key, v);
    }
}

const struct controller_ops cloud_service_controller = {
    .name = "service-lb",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .concurrency = 1, /* --concurrent-service-syncs */
};
