#include "scheduler/scheduler.h"

#include <stdlib.h>

#include "api/json-writer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "client/meta.h"
#include "net/loop.h"
#include "scheduler/volumes.h"

/* Cycles run in a row before the loop gets to see answers and watches again. */
#define CYCLES_PER_TURN 32
#define BINDING_MOST 256
/* Memory of one cycle. */
#define CYCLE_ARENA_MAX (64u << 20)

static struct metric metric_attempts =
    METRIC_COUNTER("scheduler_schedule_attempts_total", "Attempts to schedule pods, by result.",
                   "result", "profile");
static struct metric metric_duration = METRIC_HISTOGRAM(
    "scheduler_scheduling_attempt_duration_seconds", "Time of one attempt, binding included.",
    metric_buckets_seconds, "result", "profile");
static struct metric metric_pending =
    METRIC_GAUGE("scheduler_pending_pods", "Pods that wait, by queue.", "queue");
static struct metric metric_victims =
    METRIC_COUNTER("scheduler_preemption_victims", "Pods removed to make room.", NULL);

struct scheduler {
    struct component *component;
    struct scheduler_config config;
    const struct api_resource *pods_resource;
    struct informer *pods, *nodes, *namespaces, *budgets;
    struct sched_volumes *volumes;
    struct cache cache;
    struct sched_queue queue;
    struct map by_key; /* "namespace/name" -> struct pod_info: every pod that is waiting, assumed or
                          on a node */
    unsigned n_binding;
    struct loop_timer timer;
    struct loop_task work;
    struct arena arena; /* of the cycle that runs */
    bool synced;
};

/* ---- pods and their keys ---- */

/* "namespace/name"; both are names, 253 bytes at most. */
#define KEY_SIZE 600

static struct str key_text(struct str ns, struct str name, char dst[KEY_SIZE])
{
    ns = str_sub(ns, 0, KEY_SIZE / 2 - 2);
    name = str_sub(name, 0, KEY_SIZE / 2 - 2);
    memcpy(dst, ns.ptr ? ns.ptr : "", ns.len);
    dst[ns.len] = '/';
    memcpy(dst + ns.len + 1, name.ptr ? name.ptr : "", name.len);
    dst[ns.len + 1 + name.len] = '\0';
    return str_n(dst, ns.len + 1 + name.len);
}

static struct str key_of(const struct core_v1_pod *pod, char dst[KEY_SIZE])
{
    return key_text(pod->metadata.namespace, pod->metadata.name, dst);
}

static bool is_over(const struct core_v1_pod *pod)
{
    return str_eq(pod->status.phase, STR("Succeeded")) || str_eq(pod->status.phase, STR("Failed"));
}

/* NULL: the pod is not ours. */
static const struct sched_profile *profile_of(const struct scheduler *s, const struct core_v1_pod *pod)
{
    struct str name =
        pod->spec.scheduler_name.len ? pod->spec.scheduler_name : STR("default-scheduler");
    for (size_t i = 0; i < s->config.n_profiles; i++) {
        if (str_eq(name, s->config.profiles[i].name)) {
            return &s->config.profiles[i];
        }
    }
    return NULL;
}

static void plan(struct scheduler *s)
{
    if (s->synced) {
        loop_task_defer(&s->work);
    }
}

static void tell_queue(struct scheduler *s, const struct sched_change *change)
{
    sched_queue_event(&s->queue, change, loop_now_ms(component_loop(s->component)));
    plan(s);
}

/* Something happened to, or on, a node ('n' may be NULL: somewhere), or to a pod (or NULL). */
static void happened(struct scheduler *s, unsigned events, const struct node_info *n, const struct core_v1_pod *pod)
{
    struct sched_change change = { .events = events, .node = n, .pod = pod };
    tell_queue(s, &change);
}

/* Does the change help the pod, by a plugin that rejected it? */
static bool hint(void *data, const struct pod_info *p, const struct sched_change *change)
{
    struct scheduler *s = data;
    for (uint64_t by = p->rejected_by; by; by &= by - 1) {
        const struct sched_plugin *plugin = sched_plugins[__builtin_ctzll(by)];
        if ((plugin->events & change->events) && (!plugin->hint || plugin->hint(&s->cache, p, change))) {
            return true;
        }
    }
    return false;
}

/* The node of a pod while it is there: one that is not may be gone with its last pod. */
static const struct node_info *lasting_node(const struct pod_info *p)
{
    return p->node && p->node->node ? p->node : NULL;
}

static void forget_pod(struct scheduler *s, struct pod_info *p)
{
    char key[KEY_SIZE];
    bool held_room = p->node || p->promised; /* what a pod is promised counts as used for those that are no more important */
    const struct node_info *n = p->promised ? p->promised : lasting_node(p);
    sched_queue_remove(&s->queue, p);
    cache_remove_pod(&s->cache, p);
    cache_promise(&s->cache, p, STR_NULL);
    map_remove(&s->by_key, key_of(p->pod, key));
    const struct core_v1_pod *obj = p->pod;
    pod_info_free(p);
    if (held_room) {
        happened(s, EVENT_POD_DELETE, n, obj);
    }
    informer_unref(obj);
}

/* A pod that is on a node changed, or the watch confirms where it is. */
static void change_placed(struct scheduler *s, struct pod_info *p, const struct core_v1_pod *pod)
{
    bool confirmed = pod->spec.node_name.len > 0, was_confirmed = !p->assumed;
    bool stays = !confirmed || str_eq(pod->spec.node_name, p->node->name);
    bool alike = stays && pods_alike(p->pod, pod);
    if (alike) {
        pod_info_set(p, pod);
    } else {
        char *name = str_dup(stays ? p->node->name : pod->spec.node_name);
        cache_remove_pod(&s->cache, p);
        pod_info_set(p, pod);
        cache_add_pod(&s->cache, p, str_c(name));
        free(name);
    }
    p->assumed = !confirmed;
    if (confirmed && !p->in_cycle) {
        sched_queue_remove(&s->queue, p);
    }
    if (confirmed && !was_confirmed) {
        happened(s, EVENT_POD_ADD, lasting_node(p), pod);
    } else if (!alike) {
        happened(s, EVENT_POD_UPDATE, lasting_node(p), pod);
    }
}

static void take_pod(struct scheduler *s, const struct core_v1_pod *pod)
{
    char key[KEY_SIZE];
    uint64_t now = loop_now_ms(component_loop(s->component));
    struct pod_info *p = map_get(&s->by_key, key_of(pod, key));
    if (is_over(pod) ||
        (!pod->spec.node_name.len && (!profile_of(s, pod) || pod->metadata.deletion_timestamp.set))) {
        if (p) {
            forget_pod(s, p);
        }
        return;
    }
    const struct core_v1_pod *old = p ? p->pod : NULL;
    informer_ref(pod);
    if (p && p->node) {
        change_placed(s, p, pod);
    } else {
        bool is_new = !p;
        if (is_new) {
            p = pod_info_new(pod);
            map_put(&s->by_key, str_c(key), p);
        } else {
            pod_info_set(p, pod);
        }
        if (pod->spec.node_name.len) {
            if (!p->in_cycle) {
                sched_queue_remove(&s->queue, p);
            }
            cache_add_pod(&s->cache, p, pod->spec.node_name);
            happened(s, EVENT_POD_ADD, lasting_node(p), pod);
        } else if (is_new) {
            sched_queue_add(&s->queue, p, now);
        } else if (!pods_alike(old, pod)) {
            /* Not what is written of it: its condition, which we write ourselves, would bring the next cycle and so on. */
            sched_queue_update(&s->queue, p, now);
        }
    }
    informer_unref(old);
    plan(s);
}

static void on_pod(void *data, const void *old, const void *obj)
{
    struct scheduler *s = data;
    if (obj) {
        take_pod(s, obj);
        return;
    }
    char key[KEY_SIZE];
    struct pod_info *p = map_get(&s->by_key, key_of(old, key));
    if (p) {
        forget_pod(s, p);
    }
}

/* ---- nodes ---- */

static bool labels_differ(const struct core_v1_node *a, const struct core_v1_node *b)
{
    if (a->metadata.n_labels != b->metadata.n_labels) {
        return true;
    }
    for (size_t i = 0; i < a->metadata.n_labels; i++) {
        if (!str_eq(a->metadata.labels[i].key, b->metadata.labels[i].key) ||
            !str_eq(a->metadata.labels[i].value, b->metadata.labels[i].value)) {
            return true;
        }
    }
    return false;
}

static bool taints_differ(const struct core_v1_node *a, const struct core_v1_node *b)
{
    if (a->spec.unschedulable != b->spec.unschedulable || a->spec.n_taints != b->spec.n_taints) {
        return true;
    }
    for (size_t i = 0; i < a->spec.n_taints; i++) {
        const struct core_v1_taint *x = &a->spec.taints[i], *y = &b->spec.taints[i];
        if (!str_eq(x->key, y->key) || !str_eq(x->value, y->value) ||
            !str_eq(x->effect, y->effect)) {
            return true;
        }
    }
    return false;
}

static bool allocatable_differs(const struct core_v1_node *a, const struct core_v1_node *b)
{
    if (a->status.n_allocatable != b->status.n_allocatable) {
        return true;
    }
    for (size_t i = 0; i < a->status.n_allocatable; i++) {
        if (!str_eq(a->status.allocatable[i].key, b->status.allocatable[i].key) ||
            !str_eq(a->status.allocatable[i].value, b->status.allocatable[i].value)) {
            return true;
        }
    }
    return false;
}

static void on_node(void *data, const void *old, const void *obj)
{
    struct scheduler *s = data;
    const struct core_v1_node *a = old, *b = obj;
    unsigned events = 0;
    if (!b) {
        cache_remove_node(&s->cache, a->metadata.name);
        informer_unref(a);
        happened(s, EVENT_NODE_DELETE, NULL, NULL);
        return;
    }
    const struct node_info *n = cache_put_node(&s->cache, informer_ref(b));
    if (!a) {
        events = EVENT_NODE_ADD;
    } else {
        events |= labels_differ(a, b) ? EVENT_NODE_LABEL : 0;
        events |= taints_differ(a, b) ? EVENT_NODE_TAINT : 0;
        events |= allocatable_differs(a, b) ? EVENT_NODE_ALLOCATABLE : 0;
        informer_unref(a);
    }
    if (events) {
        happened(s, events, n, NULL);
    }
}

static void on_namespace(void *data, const void *old UNUSED, const void *obj UNUSED)
{
    struct scheduler *s = data;
    index_namespaces_changed(&s->cache.index);
    happened(s, EVENT_NAMESPACE, NULL, NULL);
}

static void on_budget(void *data, const void *old, const void *obj)
{
    struct scheduler *s = data;
    const struct policy_v1_pod_disruption_budget *was = old;
    if (obj) {
        budgets_put(&s->cache.budgets, obj);
    } else {
        budgets_remove(&s->cache.budgets, was->metadata.namespace, was->metadata.name);
    }
}

static void on_volumes_change(void *data, const volume_claim_t *claim)
{
    struct scheduler *s = data;
    struct sched_change change = { .events = EVENT_VOLUME, .claim = claim };
    tell_queue(s, &change);
}

static const struct api_str_pair *namespace_labels(void *data, struct str ns, size_t *ret_n)
{
    const struct scheduler *s = data;
    const struct core_v1_namespace *n = informer_get(s->namespaces, STR_NULL, ns);
    *ret_n = n ? n->metadata.n_labels : 0;
    return n ? n->metadata.labels : NULL;
}

/* ---- what goes out ---- */

static struct str profile_name(const struct scheduler *s, const struct pod_info *p)
{
    const struct sched_profile *profile = profile_of(s, p->pod);
    return profile ? profile->name : STR_EMPTY;
}

static void observe(struct scheduler *s, const struct pod_info *p, const char *result)
{
    uint64_t took = loop_now_ms(component_loop(s->component)) - p->attempted_ms;
    metric_add(metric_cell(&metric_attempts, str_c(result), profile_name(s, p)), 1);
    metric_observe(metric_cell(&metric_duration, str_c(result), profile_name(s, p)),
                   (double)took / 1000);
}

static void on_patched(void *data UNUSED, const struct client_answer *answer)
{
    if (answer->err && answer->err->code != ERR_NOT_FOUND) {
        log_warning("a pod's condition was not written: %s", answer->err->msg);
    }
}

/* Condition PodScheduled=False with the reason, and the nomination (absent: as it is; empty: none). */
static void tell_condition(struct scheduler *s, struct pod_info *p, const char *reason,
                           struct str message, struct str nominated)
{
    if (str_eq(p->told_reason, message) && !nominated.ptr) {
        return;
    }
    free((void *)(uintptr_t)p->told_reason.ptr);
    p->told_reason = message.len ? str_n(strndup(message.ptr, message.len), message.len) : STR_NULL;
    char now[CLOCK_RFC3339_SIZE];
    struct buf b;
    clock_format_rfc3339(clock_real_s(), 0, 0, now);
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"status\":{");
    if (nominated.len) {
        buf_append_c(&b, "\"nominatedNodeName\":");
        json_write_string(&b, nominated);
        buf_append_char(&b, ',');
    } else if (nominated.ptr) {
        buf_append_c(&b, "\"nominatedNodeName\":null,");
    }
    buf_printf(&b,
               "\"$setElementOrder/conditions\":[{\"type\":\"PodScheduled\"}],"
               "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"%s\","
               "\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\",\"message\":",
               reason, now);
    json_write_string(&b, message);
    buf_append_c(&b, "}]}}");
    struct client_target t = { .resource = s->pods_resource,
                               .ns = p->pod->metadata.namespace,
                               .name = p->pod->metadata.name,
                               .subresource = STR("status") };
    client_patch(component_client(s->component), &t, CLIENT_PATCH_STRATEGIC, buf_str(&b),
                 on_patched, NULL);
    buf_deinit(&b);
}

static void tell_event(struct scheduler *s, const struct core_v1_pod *pod, const char *type,
                       const char *reason, struct str message)
{
    struct event_subject subject = event_subject_of(s->pods_resource, pod);
    event_record(component_events(s->component), &subject, type, reason, "%.*s", STR_ARG(message));
}

struct binding {
    struct scheduler *scheduler;
    struct str ns, name, uid, node; /* in 'arena' */
    struct arena arena;
};

static void on_bound(void *data, const struct client_answer *answer)
{
    struct binding *b = data;
    struct scheduler *s = b->scheduler;
    char key[KEY_SIZE];
    struct pod_info *p = map_get(&s->by_key, key_text(b->ns, b->name, key));
    s->n_binding--;
    if (p && !str_eq(p->pod->metadata.uid, b->uid)) {
        p = NULL; /* deleted and made again meanwhile */
    }
    if (!answer->err) {
        if (p) {
            observe(s, p, "scheduled");
            sched_queue_bound(&s->queue, p);
            struct event_subject subject = event_subject_of(s->pods_resource, p->pod);
            event_record(component_events(s->component), &subject, "Normal", "Scheduled",
                         "Successfully assigned %.*s/%.*s to %.*s", STR_ARG(b->ns), STR_ARG(b->name), STR_ARG(b->node));
        }
    } else if (p && p->in_cycle) {
        log_warning("binding %s to %.*s failed: %s; the pod is tried again", key, STR_ARG(b->node),
                    answer->err->msg);
        const struct node_info *n = lasting_node(p);
        bool was_assumed = p->assumed;
        if (was_assumed) {
            cache_remove_pod(&s->cache, p);
        }
        observe(s, p, "error");
        sched_queue_failed(&s->queue, p, 0, loop_now_ms(component_loop(s->component)));
        if (was_assumed) {
            happened(s, EVENT_POD_DELETE, n, p->pod); /* the room it had been given is free */
        }
    }
    arena_deinit(&b->arena);
    free(b);
    plan(s);
}

/* A more important pod takes the node: those of lower priority that it was promised to may look anew. */
static void break_lower_promises(struct scheduler *s, const struct pod_info *p, struct node_info *n)
{
    uint64_t now = loop_now_ms(component_loop(s->component));
    LIST_FOREACH(&n->promised, struct pod_info, on_promised, other) {
        if (other != p && other->priority < p->priority) {
            cache_promise(&s->cache, other, STR_NULL);
            free((void *)(uintptr_t)other->nominated.ptr);
            other->nominated = STR_NULL;
            sched_queue_update(&s->queue, other, now);
        }
    }
}

static void post_binding(struct binding *b)
{
    struct scheduler *s = b->scheduler;
    struct core_v1_binding body = { .kind = STR_INIT("Binding"), .api_version = STR_INIT("v1") };
    body.metadata.namespace = b->ns;
    body.metadata.name = b->name;
    body.metadata.uid = b->uid;
    body.target.kind = STR("Node");
    body.target.name = b->node;
    struct client_target t = { .resource = s->pods_resource,
                               .ns = b->ns,
                               .name = b->name,
                               .subresource = STR("binding"),
                               .answer_type = &meta_v1_status_type };
    s->n_binding++;
    client_create(component_client(s->component), &t, &core_v1_binding_type, &body, on_bound, b);
}

static void on_volumes(void *data, const struct err *err)
{
    struct binding *b = data;
    if (err) {
        b->scheduler->n_binding++; /* on_bound() counts it down */
        on_bound(b, &(struct client_answer){ .err = err });
    } else {
        post_binding(b);
    }
}

/* Its volumes first, should it have claims; a pod that waits for those holds up no other. */
static void bind(struct scheduler *s, struct pod_info *p, struct node_info *n)
{
    break_lower_promises(s, p, n);
    struct binding *b = calloc(1, sizeof(*b));
    if (!b) {
        abort();
    }
    arena_init_chunk(&b->arena, ARENA_NO_BUDGET, 512);
    b->scheduler = s;
    b->ns = arena_str(&b->arena, p->pod->metadata.namespace);
    b->name = arena_str(&b->arena, p->pod->metadata.name);
    b->uid = arena_str(&b->arena, p->pod->metadata.uid);
    b->node = arena_str(&b->arena, n->name);
    cache_add_pod(&s->cache, p, n->name);
    p->assumed = true;
    if (pod_has_claims(p->pod)) {
        sched_volumes_bind(s->volumes, p->pod, n->node, on_volumes, b);
    } else {
        post_binding(b);
    }
}

static void on_victim_deleted(void *data, const struct client_answer *answer)
{
    if (answer->err && answer->err->code != ERR_NOT_FOUND) {
        log_warning("a pod that should make room was not deleted: %s", answer->err->msg);
        happened(data, EVENT_POD_DELETE, NULL, NULL); /* who waits for it has to look elsewhere */
    }
}

/* Condition DisruptionTarget: the pod goes by no fault of its own. Should it be gone before, nobody needs it. */
static void tell_victim(struct scheduler *s, const struct core_v1_pod *v, const struct pod_info *p)
{
    char now[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(clock_real_s(), 0, 0, now);
    struct str name = profile_name(s, p),
               patch = arena_printf(&s->arena,
                                    "{\"metadata\":{\"uid\":\"%.*s\"},\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\","
                                    "\"status\":\"True\",\"reason\":\"PreemptionByScheduler\",\"message\":\"%.*s: preempting to "
                                    "accommodate a higher priority pod\",\"lastTransitionTime\":\"%s\"}]}}",
                                    STR_ARG(v->metadata.uid), STR_ARG(name), now);
    struct client_target t = { .resource = s->pods_resource,
                               .ns = v->metadata.namespace,
                               .name = v->metadata.name,
                               .subresource = STR("status") };
    client_patch(component_client(s->component), &t, CLIENT_PATCH_STRATEGIC, patch, on_patched, NULL);
}

static void preempt(struct scheduler *s, struct pod_info *p, const struct cycle_result *r)
{
    for (size_t i = 0; i < r->n_victims; i++) {
        const struct core_v1_pod *v = r->victims[i]->pod;
        struct client_target t = { .resource = s->pods_resource,
                                   .ns = v->metadata.namespace,
                                   .name = v->metadata.name };
        struct client_delete_options o = { .uid = v->metadata.uid, .grace_seconds = -1 };
        tell_victim(s, v, p);
        client_delete(component_client(s->component), &t, &o, on_victim_deleted, s);
        tell_event(s, v, "Normal", "Preempted",
                   arena_printf(&s->arena, "Preempted by pod %.*s on node %.*s",
                                STR_ARG(p->pod->metadata.uid), STR_ARG(r->nominated->name)));
        metric_add(metric_cell(&metric_victims), 1);
    }
    free((void *)(uintptr_t)p->nominated.ptr);
    p->nominated =
        str_n(strndup(r->nominated->name.ptr, r->nominated->name.len), r->nominated->name.len);
    cache_promise(&s->cache, p, p->nominated);
}

/* The pod waits for no node in particular: what it was promised is free for others. */
static void give_promise_up(struct scheduler *s, struct pod_info *p)
{
    const struct node_info *n = p->promised;
    cache_promise(&s->cache, p, STR_NULL);
    free((void *)(uintptr_t)p->nominated.ptr);
    p->nominated = STR_NULL;
    if (n) {
        happened(s, EVENT_POD_DELETE, n, p->pod);
    }
}

/* ---- cycles ---- */

static void run_cycle(struct scheduler *s, struct pod_info *p)
{
    struct cycle_result r;
    struct cycle c = { .cache = &s->cache,
                       .pod = p,
                       .arena = &s->arena,
                       .profile = profile_of(s, p->pod) };
    uint64_t now = loop_now_ms(component_loop(s->component));
    p->attempted_ms = now;
    cycle_run(&c, &s->config.cycle, &r);
    if (r.node) {
        bind(s, p, r.node);
    } else {
        observe(s, p, "unschedulable");
        struct str nominated = STR_NULL;
        if (r.nominated) {
            preempt(s, p, &r);
            nominated = r.nominated->name;
        } else if (r.no_victims && p->nominated.len) {
            give_promise_up(s, p);
            nominated = STR_EMPTY;
        }
        tell_event(s, p->pod, "Warning", "FailedScheduling", r.message);
        tell_condition(s, p, "Unschedulable", r.message, nominated);
        sched_queue_failed(&s->queue, p, r.rejected_by, now);
    }
    arena_clear(&s->arena);
}

static void work(void *arg)
{
    struct scheduler *s = arg;
    uint64_t now = loop_now_ms(component_loop(s->component));
    unsigned most = s->config.max_binding ? s->config.max_binding : BINDING_MOST;
    struct pod_info *p;
    for (unsigned i = 0;
         i < CYCLES_PER_TURN && s->n_binding < most && (p = sched_queue_pop(&s->queue, now)); i++) {
        run_cycle(s, p);
    }
    uint64_t wait = s->n_binding < most ? sched_queue_wait_ms(&s->queue, now) : UINT64_MAX;
    if (wait != UINT64_MAX) {
        loop_timer_start(&s->timer, wait);
    }
}

void scheduler_synced(struct scheduler *s)
{
    s->synced = true;
    log_info("%zu nodes, %zu pods wait", s->cache.n_nodes,
             sched_queue_len(&s->queue, QUEUE_ACTIVE));
    plan(s);
}

static void write_gauges(void *user)
{
    const struct scheduler *s = user;
    metric_set(metric_cell(&metric_pending, STR("active")),
               (double)sched_queue_len(&s->queue, QUEUE_ACTIVE));
    metric_set(metric_cell(&metric_pending, STR("backoff")),
               (double)sched_queue_len(&s->queue, QUEUE_BACKOFF));
    metric_set(metric_cell(&metric_pending, STR("unschedulable")),
               (double)sched_queue_len(&s->queue, QUEUE_UNSCHEDULABLE));
    metric_set(metric_cell(&metric_pending, STR("gated")),
               (double)sched_queue_len(&s->queue, QUEUE_GATED));
}

struct scheduler *scheduler_new(struct component *c, const struct scheduler_config *config)
{
    static const char *const pod_fields[] = { "metadata.labels",
                                              "metadata.ownerReferences",
                                              "metadata.deletionTimestamp",
                                              "spec.nodeName",
                                              "spec.schedulerName",
                                              "spec.priority",
                                              "spec.preemptionPolicy",
                                              "spec.nodeSelector",
                                              "spec.affinity",
                                              "spec.tolerations",
                                              "spec.topologySpreadConstraints",
                                              "spec.schedulingGates",
                                              "spec.overhead",
                                              "spec.resources",
                                              "spec.volumes?.persistentVolumeClaim.claimName",
                                              "spec.containers.resources",
                                              "spec.containers.ports",
                                              "spec.containers.image",
                                              "spec.initContainers.resources",
                                              "spec.initContainers.ports",
                                              "spec.initContainers.restartPolicy",
                                              "status.phase",
                                              "status.startTime",
                                              "status.nominatedNodeName",
                                              NULL };
    static const char *const node_fields[] = { "metadata.labels", "spec.unschedulable",
                                               "spec.taints",     "status.allocatable",
                                               "status.images",   NULL };
    static const char *const namespace_fields[] = { "metadata.labels", NULL };
    static const char *const budget_fields[] = { "spec.selector", "status.disruptionsAllowed", "status.disruptedPods", NULL };
    struct scheduler *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    struct informers *set = component_informers(c);
    s->component = c;
    s->config = *config;
    s->pods_resource = api_resource_find(STR(""), STR("v1"), STR("pods"));
    cache_init(&s->cache);
    s->cache.index.namespace_labels = namespace_labels;
    s->cache.index.namespace_data = s;
    sched_queue_init(&s->queue);
    s->queue.hint = hint;
    s->queue.hint_data = s;
    if (config->initial_backoff_ms) {
        s->queue.initial_backoff_ms = config->initial_backoff_ms;
    }
    if (config->max_backoff_ms) {
        s->queue.max_backoff_ms = config->max_backoff_ms;
    }
    s->queue.max_backoff_ms = MAX(s->queue.max_backoff_ms, s->queue.initial_backoff_ms);
    for (size_t i = 0; i < sched_n_plugins; i++) {
        s->queue.events[i] = sched_plugins[i]->events;
    }
    map_init(&s->by_key);
    arena_init(&s->arena, CYCLE_ARENA_MAX);
    loop_timer_init(&s->timer, component_loop(c), work, s);
    loop_task_init(&s->work, component_loop(c), work, s);
    struct informer_spec pods = { .resource = s->pods_resource, .fields = pod_fields };
    struct informer_spec nodes = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")),
                                   .fields = node_fields };
    struct informer_spec namespaces = { .resource = api_resource_find(STR(""), STR("v1"),
                                                                      STR("namespaces")),
                                        .fields = namespace_fields };
    struct informer_spec budgets = { .resource = api_resource_find(STR("policy"), STR("v1"), STR("poddisruptionbudgets")),
                                     .fields = budget_fields };
    s->nodes = informers_get(set, &nodes, on_node, s);
    s->pods = informers_get(set, &pods, on_pod, s);
    s->namespaces = informers_get(set, &namespaces, on_namespace, s);
    s->budgets = informers_get(set, &budgets, on_budget, s);
    s->volumes = sched_volumes_new(set, component_client(c), component_loop(c), on_volumes_change, s);
    s->cache.volumes = sched_volumes_view(s->volumes);
    metrics_on_write(write_gauges, s);
    return s;
}

struct scheduler *scheduler_free(struct scheduler *s)
{
    struct str key;
    void *value;
    if (!s) {
        return NULL;
    }
    loop_timer_stop(&s->timer);
    loop_task_cancel(&s->work);
    sched_volumes_free(s->volumes);
    for (size_t i = 0; i < s->cache.n_nodes; i++) {
        informer_unref(s->cache.nodes[i]->node);
    }
    cache_deinit(&s->cache);
    for (size_t pos = 0; map_next(&s->by_key, &pos, &key, &value);) {
        struct pod_info *p = value;
        const void *obj = p->pod;
        pod_info_free(p);
        informer_unref(obj);
    }
    map_deinit(&s->by_key);
    sched_queue_deinit(&s->queue);
    arena_deinit(&s->arena);
    free(s);
    return NULL;
}
