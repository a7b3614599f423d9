/*
 * pod-garbage-collector: removes pods that nobody will remove otherwise: ended ones beyond a
 * threshold, oldest first; those bound to nodes that are gone; those that are being deleted and
 * were never bound. One key, "all", every 20 seconds.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/map.h"
#include "controllers/controllers.h"
#include "controllers/pod-facts.h"

#define EVERY_MS 20000
/* A node must be missing for so long before its pods go (upstream's quarantine). */
#define QUARANTINE_S 40

struct missing {
    int64_t since_s;
    bool seen; /* in the pass under way */
};

struct state {
    const struct api_resource *pods_resource;
    struct informer *pods, *nodes;
    struct map missing; /* node name -> struct missing */
};

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = { POD_FACT_FIELDS, "metadata.creationTimestamp",
                                              "spec.nodeName", NULL };
    static const char *const node_fields[] = { NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->pods_resource = api_resource_find(STR(""), STR("v1"), STR("pods"));
    struct informer_spec pods = { .resource = s->pods_resource, .fields = pod_fields };
    struct informer_spec nodes = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")),
                                   .fields = node_fields };
    s->pods = informers_get(informers, &pods, NULL, NULL);
    s->nodes = informers_get(informers, &nodes, NULL, NULL);
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

static void reconcile(void *state, struct str key UNUSED, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_pod *p, **ended = arena_new_n(act_arena(a), const struct core_v1_pod *,
                                                       informer_count(s->pods) + 1);
    size_t n = 0, most = (size_t)MAX(controllers_config.terminated_pod_gc_threshold, 0);
    if (!ended) {
        abort();
    }
    for (size_t pos = 0; (p = informer_next(s->pods, &pos));) {
        if (str_eq(p->status.phase, STR("Succeeded")) || str_eq(p->status.phase, STR("Failed"))) {
            ended[n++] = p;
        }
        if (p->spec.node_name.len ? node_is_gone(s, p->spec.node_name, act_now(a))
                                  : p->metadata.deletion_timestamp.set) {
            remove_pod(s, a, p);
        }
    }
    forget_found(s);
    if (most && n > most) {
        qsort(ended, n, sizeof(ended[0]), by_age);
        for (size_t i = 0; i < n - most; i++) {
            remove_pod(s, a, ended[i]);
        }
    }
    act_requeue_after(a, EVERY_MS);
}

const struct controller_ops controller_pod_gc = {
    .name = "pod-garbage-collector",
    .service_account = "pod-garbage-collector",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
};
