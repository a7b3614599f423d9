/*
 * What a StatefulSet does next ("StatefulSet: Deployment and Scaling Guarantees", "Update strategies"). With OrderedReady one step
 * is taken at a time, and the first pod that is not what it should be holds up those behind it; with Parallel all that can be done
 * is done at once. A roll goes from the highest ordinal down in both.
 */
#include <stdlib.h>

#include "api/int-or-string.h"
#include "controllers/pod-facts.h"
#include "controllers/statefulset-private.h"

static bool has_phase(const struct core_v1_pod *pod, const char *phase)
{
    return str_eq_c(pod->status.phase, phase);
}

static bool is_terminating(const struct core_v1_pod *pod)
{
    return pod->metadata.deletion_timestamp.set;
}

static bool is_running_and_ready(const struct core_v1_pod *pod)
{
    return has_phase(pod, "Running") && pod_is_ready(pod);
}

static bool is_running_and_available(const struct stateful_pass *p, const struct core_v1_pod *pod)
{
    return has_phase(pod, "Running") && pod_is_available(pod, p->set->spec.min_ready_seconds, act_now(p->a), NULL);
}

static bool is_healthy(const struct core_v1_pod *pod)
{
    return pod && is_running_and_ready(pod) && !is_terminating(pod);
}

/* A pod that ended is made anew: it goes now, and the pass after it is gone makes it. */
static void replace_ended(struct stateful_pass *p, const struct core_v1_pod *pod)
{
    bool failed = has_phase(pod, "Failed");
    if (is_terminating(pod)) {
        return;
    }
    act_event(p->a, p->s->sets_resource, p->set, failed ? "Warning" : "Normal",
              failed ? "RecreatingFailedPod" : "RecreatingTerminatedPod", "StatefulSet %.*s/%.*s is recreating %s Pod %.*s",
              STR_ARG(p->set->metadata.namespace), STR_ARG(p->set->metadata.name), failed ? "failed" : "terminated",
              STR_ARG(pod->metadata.name));
    statefulset_delete_pod(p, pod);
}

/* The pods that should be there, in order. False: the rest waits. */
static bool keep_wanted(struct stateful_pass *p)
{
    int32_t *missing = arena_new_n(act_arena(p->a), int32_t, STATEFULSET_BURST);
    size_t n_missing = 0;
    bool go_on = true;
    if (!missing) {
        abort();
    }
    for (int32_t i = 0; i < p->n_wanted && (go_on || !p->ordered); i++) {
        const struct stateful_pod *x = &p->wanted[i];
        if (!x->pod) {
            if (n_missing < STATEFULSET_BURST) {
                missing[n_missing++] = x->ordinal;
            }
            go_on = false;
            continue;
        }
        if (has_phase(x->pod, "Failed") || has_phase(x->pod, "Succeeded")) {
            replace_ended(p, x->pod);
            go_on = false;
            continue;
        }
        if (has_phase(x->pod, "Pending") && !is_terminating(x->pod)) {
            statefulset_mend_claims(p, x->ordinal);
        }
        if (p->ordered && (is_terminating(x->pod) || !is_running_and_ready(x->pod) || !is_running_and_available(p, x->pod))) {
            go_on = false;
            continue;
        }
        statefulset_mend_identity(p, x);
        statefulset_mend_owners(p, x);
    }
    statefulset_create_pods(p, missing, n_missing);
    return go_on;
}

/* The one that is looked at first when pods are not well: an unhealthy pod is taken away only if no other is. */
static const struct core_v1_pod *first_unhealthy(const struct stateful_pass *p)
{
    for (int32_t i = 0; i < p->n_wanted; i++) {
        if (p->wanted[i].pod && !is_healthy(p->wanted[i].pod)) {
            return p->wanted[i].pod;
        }
    }
    for (size_t i = p->n_surplus; i > 0; i--) {
        if (!is_healthy(p->surplus[i - 1].pod)) {
            return p->surplus[i - 1].pod;
        }
    }
    return NULL;
}

/* The pods that are too many, the highest ordinal first. False: the rest waits. */
static bool drop_surplus(struct stateful_pass *p)
{
    const struct core_v1_pod *unhealthy = first_unhealthy(p);
    for (size_t i = 0; i < p->n_surplus; i++) {
        statefulset_mend_owners(p, &p->surplus[i]);
    }
    if (p->n_surplus > 0) {
        act_barrier(p->a); /* a claim that goes with its pod must know it before */
    }
    for (size_t i = 0; i < p->n_surplus; i++) {
        const struct core_v1_pod *pod = p->surplus[i].pod;
        if (is_terminating(pod)) {
            if (p->ordered) {
                return false;
            }
            continue;
        }
        if (p->ordered && pod != unhealthy && !is_running_and_available(p, pod)) {
            return false;
        }
        statefulset_delete_pod(p, pod);
        if (p->ordered) {
            return false;
        }
    }
    return true;
}

/* How many may be away at a time. The server keeps maxUnavailable only while its feature gate is on. */
static int32_t max_unavailable(const struct stateful_pass *p)
{
    const struct apps_v1_rolling_update_stateful_set_strategy *r = p->set->spec.update_strategy.rolling_update;
    int32_t n = 1;
    if (r && r->max_unavailable.kind != API_IOS_UNSET && !ios_scaled(&r->max_unavailable, p->replicas, false, &n, NULL)) {
        n = 1;
    }
    return MAX(n, 1);
}

/* Pods of another revision go, from the highest ordinal down to the partition, while so many others are well. */
static void roll(struct stateful_pass *p)
{
    const struct apps_v1_rolling_update_stateful_set_strategy *r = p->set->spec.update_strategy.rolling_update;
    int32_t lowest = r ? r->partition : 0, most = max_unavailable(p), away = 0;
    if (most > 1) { /* whoever is away counts, wherever it is */
        for (int32_t i = 0; i < p->n_wanted; i++) {
            const struct core_v1_pod *pod = p->wanted[i].pod;
            away += !is_healthy(pod) || !is_running_and_available(p, pod);
        }
    }
    for (int32_t i = p->n_wanted - 1; i >= lowest && away < most; i--) {
        const struct core_v1_pod *pod = p->wanted[i].pod;
        bool well = is_healthy(pod) && is_running_and_available(p, pod);
        if (pod && !is_terminating(pod) && !str_eq(meta_label(&pod->metadata, REVISION_LABEL), p->update_revision)) {
            statefulset_delete_pod(p, pod);
            if (str_eq(meta_label(&pod->metadata, REVISION_LABEL), p->current_revision) && p->status.current_replicas > 0) {
                p->status.current_replicas--;
            }
            away += most == 1 || well;
        } else if (most == 1) {
            away += !well;
        }
    }
}

void statefulset_step(struct stateful_pass *p)
{
    if (p->set->metadata.deletion_timestamp.set || (!keep_wanted(p) && p->ordered)) {
        return;
    }
    if (!drop_surplus(p) || str_eq_c(p->set->spec.update_strategy.type, "OnDelete")) {
        return;
    }
    roll(p);
}
