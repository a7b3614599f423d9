/*
 * taint-eviction: deletes pods from nodes with NoExecute taints that they do not tolerate, at once
 * or when their tolerationSeconds are over ("Taint based Evictions"). Keys are pods.
 */
#include <stdlib.h>

#include "api/toleration.h"
#include "controllers/controllers.h"
#include "controllers/pod-disrupted.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

struct state {
    struct controller *controller;
    const struct api_resource *pods_resource;
    struct informer *nodes, *pods;
    struct informer_index *pods_by_node;
};

static void on_node(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_node *a = old, *b = obj;
    const struct core_v1_pod *p;
    bool tainted = (a && a->spec.n_taints) || (b && b->spec.n_taints);
    if (!b || !tainted) {
        return;
    }
    for (size_t pos = 0; (p = informer_index_next(s->pods_by_node, b->metadata.name, &pos));) {
        controller_enqueue_obj(s->controller, &core_v1_pod_type, p);
    }
}

static void on_pod(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_pod *a = old, *b = obj;
    if (b && b->spec.node_name.len && (!a || !a->spec.node_name.len)) {
        controller_enqueue_obj(s->controller, &core_v1_pod_type, b);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = { POD_FACT_FIELDS, "spec.nodeName", "spec.tolerations",
                                              NULL };
    static const char *const node_fields[] = { "spec.taints", NULL };
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    s->pods = informer_of(informers, "", "pods", pod_fields, on_pod, s);
    s->pods_by_node = informer_index(s->pods, "node", informer_by_node_name);
    s->pods_resource = informer_resource(s->pods);
    s->nodes = informer_of(informers, "", "nodes", node_fields, on_node, s);
    return s;
}

/* How long the pod may stay under this taint, in seconds: -1 for ever, 0 not at all. */
static int64_t tolerated_s(const struct core_v1_pod *p, const struct core_v1_taint *taint)
{
    int64_t least = -1;
    bool any = false;
    for (size_t i = 0; i < p->spec.n_tolerations; i++) {
        const struct core_v1_toleration *t = &p->spec.tolerations[i];
        if (toleration_matches(t, taint)) {
            any = true;
            if (t->has_toleration_seconds) {
                int64_t s = MAX(t->toleration_seconds, (int64_t)0);
                least = least < 0 ? s : MIN(least, s);
            }
        }
    }
    return any ? least : 0;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    const struct core_v1_pod *p = informer_get(s->pods, ns, name);
    const struct core_v1_node *n =
        p && p->spec.node_name.len ? informer_get(s->nodes, STR_NULL, p->spec.node_name) : NULL;
    if (!n || !pod_is_active(p)) {
        return;
    }
    int64_t go_in_s = -1;
    for (size_t i = 0; i < n->spec.n_taints; i++) {
        const struct core_v1_taint *t = &n->spec.taints[i];
        if (!str_eq(t->effect, STR("NoExecute"))) {
            continue;
        }
        int64_t may_s = tolerated_s(p, t);
        if (may_s < 0) {
            continue;
        }
        int64_t since = t->time_added.set ? t->time_added.sec : act_now(a);
        int64_t left = MAX(since + may_s - act_now(a), (int64_t)0);
        go_in_s = go_in_s < 0 ? left : MIN(go_in_s, left);
    }
    if (go_in_s == 0) {
        pod_tell_disrupted(a, s->pods_resource, p, "DeletionByTaintManager",
                           "Taint manager: deleting due to NoExecute taint", false);
        act_delete(a, s->pods_resource, ns, name, p->metadata.uid, NULL);
        act_event_after(a, s->pods_resource, p, "Normal", "TaintManagerEviction",
                        "Marking for deletion Pod %.*s/%.*s", STR_ARG(ns), STR_ARG(name));
    } else if (go_in_s > 0) {
        act_requeue_after(a, (uint64_t)go_in_s * 1000 + 500);
    }
}

const struct controller_ops controller_taint_eviction = {
    .name = "taint-eviction-controller",
    .service_account = "node-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
