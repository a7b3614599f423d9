/*
 * pod-garbage-collector: removes pods that nobody will remove otherwise: ended ones beyond a
 * threshold, oldest first; those bound to nodes that are gone; those that are being deleted and
 * were never bound. One key, "all", every 20 seconds.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/map.h"
#include "controllers/controllers.h"
#include "controllers/pod-disrupted.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

#define EVERY_MS 20000
/* A node must be missing for so long before its pods go (upstream's quarantine). */
#define QUARANTINE_S 40

struct missing {
    int64_t since_s;
    bool seen; /* in the pass under way */
};

struct state {
    const struct api_resource *pods_resource;
    struct informer *nodes;
    struct informer_index *pods_by_node, *pods_by_end;
    struct map missing; /* node name -> struct missing */
};

#define ENDED STR("ended")
#define NEVER_BOUND STR("never bound, and deleted")

static void by_end(const struct api_type *type UNUSED, const void *obj,
                   void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct core_v1_pod *p = obj;
    if (str_eq(p->status.phase, STR("Succeeded")) || str_eq(p->status.phase, STR("Failed"))) {
        emit(ctx, ENDED);
    }
    if (!p->spec.node_name.len && p->metadata.deletion_timestamp.set) {
        emit(ctx, NEVER_BOUND);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = { POD_FACT_FIELDS, "metadata.creationTimestamp",
                                              "spec.nodeName", NULL };
    static const char *const node_fields[] = { NULL };
    struct state *s = state_new(sizeof(*s));
    struct informer *pods = informer_of(informers, "", "pods", pod_fields, NULL, NULL);
    s->pods_resource = informer_resource(pods);
    s->pods_by_node = informer_index(pods, "node", informer_by_node_name);
    s->pods_by_end = informer_index(pods, "end", by_end);
    s->nodes = informer_of(informers, "", "nodes", node_fields, NULL, NULL);
    map_init(&s->missing);
    controller_enqueue(c, STR("all"));
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->missing, &pos, &key, &value);) {
        free(value);
    }
    map_deinit(&s->missing);
    free(s);
}

/* A pod that has not ended will not say so any more: we do, for those (Jobs) who wait for it. */
static void say_over(struct state *s, struct actions *a, const struct core_v1_pod *p,
                     const char *reason, const char *message)
{
    if (!str_eq(p->status.phase, STR("Succeeded")) && !str_eq(p->status.phase, STR("Failed"))) {
        pod_tell_disrupted(a, s->pods_resource, p, reason, message, true);
    }
}

static void remove_pod(struct state *s, struct actions *a, const struct core_v1_pod *p)
{
    struct client_delete_options now = { .grace_seconds = 0 };
    act_delete(a, s->pods_resource, p->metadata.namespace, p->metadata.name, p->metadata.uid, &now);
}

/* Has the pod's node been missing long enough? */
static bool node_is_gone(struct state *s, struct str name, int64_t now)
{
    struct missing *m = map_get(&s->missing, name);
    if (informer_get(s->nodes, STR_NULL, name)) {
        return false;
    }
    if (!m) {
        m = calloc(1, sizeof(*m));
        if (!m) {
            abort();
        }
        m->since_s = now;
        map_put(&s->missing, name, m);
    }
    m->seen = true;
    return now - m->since_s >= QUARANTINE_S;
}

static void forget_found(struct state *s)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->missing, &pos, &key, &value);) {
        struct missing *m = value;
        if (!m->seen) {
            map_remove(&s->missing, key);
            free(m);
        } else {
            m->seen = false;
        }
    }
}

static int by_age(const void *va, const void *vb)
{
    const struct core_v1_pod *a = *(const struct core_v1_pod *const *)va,
                             *b = *(const struct core_v1_pod *const *)vb;
    int64_t x = a->metadata.creation_timestamp.sec, y = b->metadata.creation_timestamp.sec;
    return x < y ? -1 : x > y;
}

/* Those beyond the threshold, oldest first. */
static void remove_ended(struct state *s, struct actions *a)
{
    size_t n = 0, has = informer_index_count(s->pods_by_end, ENDED),
           most = (size_t)MAX(controllers_config.terminated_pod_gc_threshold, 0);
    if (!most || has <= most) {
        return;
    }
    const struct core_v1_pod *p, **ended = arena_new_n(act_arena(a), const struct core_v1_pod *, has);
    if (!ended) {
        abort();
    }
    for (size_t pos = 0; (p = informer_index_next(s->pods_by_end, ENDED, &pos));) {
        ended[n++] = p;
    }
    qsort(ended, n, sizeof(ended[0]), by_age);
    for (size_t i = 0; i < n - most; i++) {
        remove_pod(s, a, ended[i]);
    }
}

static void reconcile(void *state, struct str key UNUSED, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_pod *p;
    struct str node;
    for (size_t at = 0; informer_index_next_value(s->pods_by_node, &at, &node);) {
        if (node_is_gone(s, node, act_now(a))) {
            for (size_t pos = 0; (p = informer_index_next(s->pods_by_node, node, &pos));) {
                say_over(s, a, p, "DeletionByPodGC", "PodGC: node no longer exists");
                remove_pod(s, a, p);
            }
        }
    }
    for (size_t pos = 0; (p = informer_index_next(s->pods_by_end, NEVER_BOUND, &pos));) {
        say_over(s, a, p, NULL, NULL);
        remove_pod(s, a, p);
    }
    forget_found(s);
    remove_ended(s, a);
    act_requeue_after(a, EVERY_MS);
}

const struct controller_ops controller_pod_gc = {
    .name = "pod-garbage-collector",
    .service_account = "pod-garbage-collector",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
};
