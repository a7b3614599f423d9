/*
 * node-lifecycle: a Node whose kubelet is silent becomes Unknown; conditions become taints ("Taint
 * Nodes by Condition"); pods on a node that is not ready are told to be not ready, so that Services
 * leave them out.
 *
 * Silence is measured by our own clock since the Lease or the status last changed, so that clocks
 * need not agree.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/gen/coordination_v1.h"
#include "api/gen/core_v1.h"
#include "api/json-writer.h"
#include "base/clock.h"
#include "base/map.h"
#include "controllers/controllers.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

struct heard {
    struct api_time lease, status; /* as last seen */
    uint64_t at_ms;
};

struct state {
    struct controller *controller;
    const struct api_resource *nodes_resource, *pods_resource;
    struct informer *nodes, *leases, *pods;
    struct informer_index *pods_by_node;
    struct map heard; /* node name -> struct heard */
    uint64_t evict_not_before_ms; /* --node-eviction-rate: when the next node may be given up */
};

/* May the pods of one more failed node be evicted now? Otherwise '*ret_wait_ms' says when to ask again. */
static bool may_evict(struct state *s, uint64_t *ret_wait_ms)
{
    double rate = controllers_config.node_eviction_rate;
    uint64_t now = clock_mono_ms();
    if (rate <= 0) {
        *ret_wait_ms = 60000;
        return false;
    }
    if (now < s->evict_not_before_ms) {
        *ret_wait_ms = s->evict_not_before_ms - now;
        return false;
    }
    s->evict_not_before_ms = now + (uint64_t)(1000 / rate);
    return true;
}

static void on_lease(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct coordination_v1_lease *l = obj ? obj : old;
    struct heard *h = map_get(&s->heard, l->metadata.name);
    /* A renewal needs no pass unless the node was given up. */
    if (!h || !obj) {
        controller_enqueue(s->controller, l->metadata.name);
        return;
    }
    bool was_silent =
        clock_mono_ms() - h->at_ms >= (uint64_t)controllers_config.node_monitor_grace_ms;
    h->lease = l->spec.renew_time;
    h->at_ms = clock_mono_ms();
    if (was_silent) {
        controller_enqueue(s->controller, l->metadata.name);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const node_fields[] = {
        "metadata.creationTimestamp", "metadata.deletionTimestamp", "spec.taints",
        "spec.unschedulable",         "status.conditions",          NULL
    };
    static const char *const lease_fields[] = { "spec.renewTime", NULL };
    static const char *const pod_fields[] = { POD_FACT_FIELDS, "spec.nodeName", NULL };
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    map_init(&s->heard);
    struct informer_spec leases = { .resource = api_resource_find(STR("coordination.k8s.io"),
                                                                  STR("v1"), STR("leases")),
                                    .ns = STR_INIT("kube-node-lease"),
                                    .fields = lease_fields };
    s->nodes = informer_of_keys(c, informers, "", "nodes", node_fields);
    s->leases = informers_get(informers, &leases, on_lease, s);
    s->pods = informer_of(informers, "", "pods", pod_fields, NULL, NULL);
    s->pods_by_node = informer_index(s->pods, "node", informer_by_node_name);
    s->nodes_resource = informer_resource(s->nodes);
    s->pods_resource = informer_resource(s->pods);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->heard, &pos, &key, &value);) {
        free(value);
    }
    map_deinit(&s->heard);
    free(s);
}

static const struct core_v1_node_condition *condition(const struct core_v1_node *n, struct str type)
{
    for (size_t i = 0; i < n->status.n_conditions; i++) {
        if (str_eq(n->status.conditions[i].type, type)) {
            return &n->status.conditions[i];
        }
    }
    return NULL;
}

static bool same_time(const struct api_time *a, const struct api_time *b)
{
    return a->set == b->set && a->sec == b->sec && a->nsec == b->nsec;
}

/* For how long the kubelet was silent, in milliseconds. */
static uint64_t silence(struct state *s, const struct core_v1_node *n)
{
    const struct coordination_v1_lease *l =
        informer_get(s->leases, STR("kube-node-lease"), n->metadata.name);
    const struct core_v1_node_condition *ready = condition(n, STR("Ready"));
    struct api_time lease = l ? l->spec.renew_time : (struct api_time){ 0 };
    struct api_time status = ready ? ready->last_heartbeat_time : (struct api_time){ 0 };
    struct heard *h = map_get(&s->heard, n->metadata.name);
    if (!h) {
        h = calloc(1, sizeof(*h));
        if (!h) {
            abort();
        }
        map_put(&s->heard, n->metadata.name, h);
        *h = (struct heard){ .lease = lease, .status = status, .at_ms = clock_mono_ms() };
    }
    if (!same_time(&h->lease, &lease) || !same_time(&h->status, &status)) {
        *h = (struct heard){ .lease = lease, .status = status, .at_ms = clock_mono_ms() };
    }
    return clock_mono_ms() - h->at_ms;
}

/* ---- conditions of a silent node ---- */

static void append_unknown(struct buf *b, const struct core_v1_node *n, const char *type,
                           const char *now)
{
    const struct core_v1_node_condition *c = condition(n, str_c(type));
    if (c && str_eq(c->status, STR("Unknown"))) {
        return;
    }
    char heartbeat[CLOCK_RFC3339_SIZE] = "";
    if (c && c->last_heartbeat_time.set) {
        clock_format_rfc3339(c->last_heartbeat_time.sec, 0, 0, heartbeat);
    }
    buf_printf(b,
               "%s{\"type\":\"%s\",\"status\":\"Unknown\",\"reason\":\"%s\",\"message\":\"%s\","
               "\"lastHeartbeatTime\":\"%s\",\"lastTransitionTime\":\"%s\"}",
               b->ptr && b->ptr[b->len - 1] == '}' ? "," : "", type,
               c ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
               c ? "Kubelet stopped posting node status." : "Kubelet never posted node status.",
               heartbeat[0] ? heartbeat : now, now);
}

static bool tell_unknown(struct state *s, struct actions *a, const struct core_v1_node *n)
{
    static const char *const types[] = { "Ready", "MemoryPressure", "DiskPressure", "PIDPressure" };
    char now[CLOCK_RFC3339_SIZE];
    struct buf b;
    clock_format_rfc3339(act_now(a), 0, 0, now);
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"status\":{\"conditions\":[");
    size_t empty = b.len;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        append_unknown(&b, n, types[i], now);
    }
    bool any = b.len > empty;
    buf_append_c(&b, "]}}");
    if (any) {
        act_patch(a, s->nodes_resource, STR_NULL, n->metadata.name, "status",
                  CLIENT_PATCH_STRATEGIC, buf_str(&b));
        act_event_after(a, s->nodes_resource, n, "Normal", "NodeNotReady",
                        "Node %.*s status is now: NodeNotReady", STR_ARG(n->metadata.name));
    }
    buf_deinit(&b);
    return any;
}

/* ---- taints ---- */

struct wanted_taint {
    const char *key, *effect;
    bool wanted;
};

static void wanted_taints(const struct core_v1_node *n, bool unknown, struct wanted_taint *w)
{
    const struct core_v1_node_condition *ready = condition(n, STR("Ready"));
    bool is_unknown = unknown || (ready && str_eq(ready->status, STR("Unknown"))) || !ready;
    bool not_ready = !is_unknown && ready && !str_eq(ready->status, STR("True"));
    const struct wanted_taint all[] = {
        { "node.kubernetes.io/not-ready", "NoSchedule", not_ready },
        { "node.kubernetes.io/not-ready", "NoExecute", not_ready },
        { "node.kubernetes.io/unreachable", "NoSchedule", is_unknown },
        { "node.kubernetes.io/unreachable", "NoExecute", is_unknown },
        { "node.kubernetes.io/unschedulable", "NoSchedule", n->spec.unschedulable },
        { "node.kubernetes.io/memory-pressure", "NoSchedule", false },
        { "node.kubernetes.io/disk-pressure", "NoSchedule", false },
        { "node.kubernetes.io/pid-pressure", "NoSchedule", false },
        { "node.kubernetes.io/network-unavailable", "NoSchedule", false },
    };
    static const char *const pressure[] = { "MemoryPressure", "DiskPressure", "PIDPressure",
                                            "NetworkUnavailable" };
    memcpy(w, all, sizeof(all));
    for (size_t i = 0; i < ARRAY_SIZE(pressure); i++) {
        const struct core_v1_node_condition *c = condition(n, str_c(pressure[i]));
        w[5 + i].wanted = c && str_eq(c->status, STR("True"));
    }
}
#define N_TAINTS 9
/* Those that evict, by their place in the list. */
#define NOT_READY_EXECUTE 1
#define UNREACHABLE_EXECUTE 3

static bool is_taint(const struct core_v1_taint *t, const struct wanted_taint *w)
{
    return str_eq_c(t->key, w->key) && str_eq_c(t->effect, w->effect);
}

static void set_taints(struct state *s, struct actions *a, const struct core_v1_node *n,
                       bool unknown)
{
    struct wanted_taint w[N_TAINTS];
    struct buf b;
    char now[CLOCK_RFC3339_SIZE];
    bool changed = false, first = true, has[N_TAINTS] = { false };
    wanted_taints(n, unknown, w);
    clock_format_rfc3339(act_now(a), 0, 0, now);
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"metadata\":{\"resourceVersion\":");
    json_write_string(&b, n->metadata.resource_version);
    buf_append_c(&b, "},\"spec\":{\"taints\":[");
    for (size_t i = 0; i < n->spec.n_taints; i++) {
        const struct core_v1_taint *t = &n->spec.taints[i];
        bool keep = true;
        for (size_t k = 0; k < N_TAINTS; k++) {
            if (is_taint(t, &w[k])) {
                has[k] = true;
                keep = w[k].wanted;
            }
        }
        changed = changed || !keep;
        if (keep) {
            char added[CLOCK_RFC3339_SIZE] = "";
            buf_append_c(&b, first ? "{\"key\":" : ",{\"key\":");
            json_write_string(&b, t->key);
            if (t->value.len) {
                buf_append_c(&b, ",\"value\":");
                json_write_string(&b, t->value);
            }
            buf_append_c(&b, ",\"effect\":");
            json_write_string(&b, t->effect);
            if (t->time_added.set) {
                clock_format_rfc3339(t->time_added.sec, 0, 0, added);
                buf_printf(&b, ",\"timeAdded\":\"%s\"", added);
            }
            buf_append_char(&b, '}');
            first = false;
        }
    }
    for (size_t k = 0; k < N_TAINTS; k++) {
        if (w[k].wanted && !has[k]) {
            bool evicts = k == NOT_READY_EXECUTE || k == UNREACHABLE_EXECUTE;
            uint64_t wait_ms;
            if (evicts && !has[NOT_READY_EXECUTE] && !has[UNREACHABLE_EXECUTE] && !may_evict(s, &wait_ms)) {
                act_requeue_after(a, wait_ms);
                continue;
            }
            changed = true;
            buf_printf(&b, "%s{\"key\":\"%s\",\"effect\":\"%s\"", first ? "" : ",", w[k].key,
                       w[k].effect);
            if (strcmp(w[k].effect, "NoExecute") == 0) {
                buf_printf(&b, ",\"timeAdded\":\"%s\"", now);
            }
            buf_append_char(&b, '}');
            first = false;
        }
    }
    buf_append_c(&b, "]}}");
    if (changed) {
        act_patch(a, s->nodes_resource, STR_NULL, n->metadata.name, NULL, CLIENT_PATCH_MERGE,
                  buf_str(&b));
    }
    buf_deinit(&b);
}

/* Pods of a node that is not ready are not ready either. */
static void pods_not_ready(struct state *s, struct actions *a, const struct core_v1_node *n)
{
    const struct core_v1_pod *p;
    char now[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(act_now(a), 0, 0, now);
    for (size_t pos = 0; (p = informer_index_next(s->pods_by_node, n->metadata.name, &pos));) {
        if (!pod_is_ready(p) || !pod_is_active(p)) {
            continue;
        }
        struct str patch =
            arena_printf(act_arena(a),
                         "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\","
                         "\"lastTransitionTime\":\"%s\"}]}}",
                         now);
        act_patch(a, s->pods_resource, p->metadata.namespace, p->metadata.name, "status",
                  CLIENT_PATCH_STRATEGIC, patch);
        act_tolerate(a, ERR_NOT_FOUND);
        act_event_after(a, s->pods_resource, p, "Warning", "NodeNotReady", "Node is not ready");
    }
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_node *n = informer_get(s->nodes, STR_NULL, key);
    if (!n) {
        free(map_remove(&s->heard, key));
        return;
    }
    const struct core_v1_node_condition *ready = condition(n, STR("Ready"));
    uint64_t silent_ms = silence(s, n);
    uint64_t grace_ms = (uint64_t)(ready ? controllers_config.node_monitor_grace_ms
                                         : controllers_config.node_startup_grace_ms);
    bool unknown = silent_ms >= grace_ms;
    bool waits = !ready && !unknown; /* just registered: not tainted beyond what it brought */
    if (unknown && tell_unknown(s, a, n)) {
        /* Taints and pods are the next pass's, behind the other nodes: when many fall silent at once, all of them are told
         * before the many writes for their pods begin. */
        act_requeue_after(a, grace_ms);
        return;
    }
    if (!waits) {
        set_taints(s, a, n, false);
    }
    if (unknown || (ready && !str_eq(ready->status, STR("True")))) {
        pods_not_ready(s, a, n);
    }
    act_requeue_after(a, unknown ? grace_ms : grace_ms - silent_ms + 100);
}

const struct controller_ops controller_node_lifecycle = {
    .name = "node-lifecycle",
    .service_account = "node-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .concurrency = 16, /* a rack that falls silent is told of at once */
};
