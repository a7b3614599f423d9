/*
 * What runs on the node, asked for once a second: two lists of the runtime, made into a fingerprint for each pod. A pod whose
 * fingerprint changed reads its own state; sandboxes of pods that nobody knows become ghosts, which end.
 */
#include "kubelet/kubelet-private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

struct seen {
    uint64_t print;
};

struct relist {
    unsigned tries; /* in a row that the runtime did not answer */
    struct kubelet *k;
    struct runtime_call *call;
    struct map seen;   /* uid -> struct seen, of this round */
    struct map before; /* of the last complete one */
};

static struct str label(const struct api_str_pair *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, key)) {
            return list[i].value;
        }
    }
    return STR_NULL;
}

/* Is something about to end: an init container, a container that is not restarted and began a short while ago? */
static bool in_flux(struct kubelet *k)
{
    int64_t now_ns = clock_real_s() * 1000000000;
    struct pod *p;
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        bool ends = p->obj && !str_eq_c(p->obj->spec.restart_policy, "Always");
        for (size_t i = 0; i < p->n_containers; i++) {
            const struct pod_container *c = p->containers[i];
            if ((ends || c->kind == CONTAINER_INIT) && container_is_running(c) && now_ns - c->run.started_ns < KUBELET_FLUX_S * 1000000000ll) {
                return true;
            }
        }
    }
    return false;
}

static void again(struct relist *r)
{
    r->tries = 0;
    loop_timer_start(&r->k->relist_timer, in_flux(r->k) ? KUBELET_RELIST_FLUX_MS : KUBELET_RELIST_MS);
}

/* A runtime that is just being started answers in a few tenths of a second: it is asked soon, then less often. */
static void again_soon(struct relist *r)
{
    uint64_t ms = MIN((uint64_t)KUBELET_RUNTIME_RETRY_MS << MIN(r->tries / 8, 10u), (uint64_t)KUBELET_RELIST_MS);
    r->tries++;
    loop_timer_start(&r->k->relist_timer, ms);
}

static void failed(struct relist *r, const struct err *err)
{
    if (r->k->runtime_up || !r->k->runtime_error[0]) {
        log_warning("the container runtime does not answer: %s", err->msg);
    }
    r->k->runtime_up = false;
    snprintf(r->k->runtime_error, sizeof(r->k->runtime_error), "%.200s", err->msg);
    node_report_runtime(r->k);
    again_soon(r);
}

static void mix(struct relist *r, struct str uid, struct str id, int32_t state)
{
    struct seen *s = map_get(&r->seen, uid);
    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s) {
            abort();
        }
        map_put(&r->seen, uid, s);
    }
    /* A sum: the order of the lists does not matter. */
    s->print += str_fnv1a(id) * 31 + (uint64_t)(uint32_t)state * 0x9e3779b97f4a7c15ull;
}

static void settle(struct relist *r)
{
    struct kubelet *k = r->k;
    struct pod *p;
    bool up = k->runtime_up;
    k->runtime_up = true;
    k->relisted_ms = loop_now_ms(k->loop);
    if (!up) {
        node_report_runtime(k);
    }
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        struct seen *s = map_get(&r->seen, str_c(p->uid)), *b = map_get(&r->before, str_c(p->uid));
        if (!up || (s ? s->print : 0) != (b ? b->print : 0)) {
            p->stale = true;
            pod_wake(p);
        }
    }
    again(r);
}

static void free_seen(struct map *m)
{
    void *s;
    struct str key;
    for (size_t pos = 0; map_next(m, &pos, &key, &s);) {
        free(s);
    }
    map_deinit(m);
}

static void on_containers(void *arg, const void *response, const struct err *err)
{
    struct relist *r = arg;
    const struct cri_v1_list_containers_response *list = response;
    r->call = NULL;
    if (err) {
        failed(r, err);
        return;
    }
    for (size_t i = 0; i < list->n_containers; i++) {
        const struct cri_v1_container *c = &list->containers[i];
        struct str uid = label(c->labels, c->n_labels, "io.kubernetes.pod.uid");
        if (uid.len) {
            mix(r, uid, c->id, c->state + 10);
        }
    }
    settle(r);
    free_seen(&r->before);
    map_init(&r->before);
}

static void on_sandboxes(void *arg, const void *response, const struct err *err)
{
    struct relist *r = arg;
    const struct cri_v1_list_pod_sandbox_response *list = response;
    const struct cri_v1_list_containers_request request = { 0 };
    r->call = NULL;
    if (err) {
        failed(r, err);
        return;
    }
    free_seen(&r->before);
    r->before = r->seen;
    map_init(&r->seen);
    for (size_t i = 0; i < list->n_items; i++) {
        const struct cri_v1_pod_sandbox *s = &list->items[i];
        struct str uid = label(s->labels, s->n_labels, "io.kubernetes.pod.uid");
        if (!uid.len) {
            continue;
        }
        if (!pods_find(r->k, uid) && (r->k->pods_synced || !r->k->client)) {
            pods_ghost(r->k, uid, label(s->labels, s->n_labels, "io.kubernetes.pod.namespace"),
                       label(s->labels, s->n_labels, "io.kubernetes.pod.name"));
        }
        mix(r, uid, s->id, s->state);
    }
    r->call = runtime_call(r->k->rt, &cri_v1_runtime_service_list_containers_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_containers, r);
}

static void relist(void *arg)
{
    struct relist *r = arg;
    const struct cri_v1_list_pod_sandbox_request request = { 0 };
    if (!r->call) {
        r->call = runtime_call(r->k->rt, &cri_v1_runtime_service_list_pod_sandbox_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_sandboxes, r);
    }
}

void pleg_start(struct kubelet *k)
{
    struct relist *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->k = k;
    map_init(&r->seen);
    map_init(&r->before);
    k->relist = r;
    loop_timer_init(&k->relist_timer, k->loop, relist, r);
    loop_timer_start(&k->relist_timer, 0);
}

void pleg_stop(struct kubelet *k)
{
    struct relist *r = k->relist;
    if (r) {
        loop_timer_stop(&k->relist_timer);
        runtime_cancel(k->rt, r->call);
        free_seen(&r->seen);
        free_seen(&r->before);
        free(r);
        k->relist = NULL;
    }
}
