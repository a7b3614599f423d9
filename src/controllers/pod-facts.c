#include "controllers/pod-facts.h"

#include "client/meta.h"

bool pod_is_active(const struct core_v1_pod *p)
{
    return !str_eq(p->status.phase, STR("Succeeded")) && !str_eq(p->status.phase, STR("Failed")) &&
           !p->metadata.deletion_timestamp.set;
}

bool pod_is_terminating(const struct core_v1_pod *p)
{
    return !str_eq(p->status.phase, STR("Succeeded")) && !str_eq(p->status.phase, STR("Failed")) &&
           p->metadata.deletion_timestamp.set;
}

const struct core_v1_pod_condition *pod_condition(const struct core_v1_pod *p, struct str type)
{
    for (size_t i = 0; i < p->status.n_conditions; i++) {
        if (str_eq(p->status.conditions[i].type, type)) {
            return &p->status.conditions[i];
        }
    }
    return NULL;
}

bool pod_is_ready(const struct core_v1_pod *p)
{
    const struct core_v1_pod_condition *c = pod_condition(p, STR("Ready"));
    return c && str_eq(c->status, STR("True"));
}

bool pod_is_available(const struct core_v1_pod *p, int32_t min_ready_seconds, int64_t now,
                      int64_t *ret_in_s)
{
    if (ret_in_s) {
        *ret_in_s = 0;
    }
    if (!pod_is_ready(p)) {
        return false;
    }
    int64_t since = pod_condition(p, STR("Ready"))->last_transition_time.sec;
    int64_t left = min_ready_seconds > 0 ? since + min_ready_seconds - now : 0;
    if (left <= 0) {
        return true;
    }
    if (ret_in_s) {
        *ret_in_s = left;
    }
    return false;
}

static bool same_controller(const struct meta_v1_object_meta *a,
                            const struct meta_v1_object_meta *b)
{
    const struct meta_v1_owner_reference *x = meta_controller_of(a), *y = meta_controller_of(b);
    return x && y ? str_eq(x->uid, y->uid) : x == y;
}

bool pod_counts_change(const struct core_v1_pod *old, const struct core_v1_pod *pod)
{
    if (!old || !pod) {
        return true;
    }
    const struct core_v1_pod_condition *a = pod_condition(old, STR("Ready")),
                                       *b = pod_condition(pod, STR("Ready"));
    bool same_ready = a && b ? str_eq(a->status, b->status) &&
                                   a->last_transition_time.sec == b->last_transition_time.sec
                             : pod_is_ready(old) == pod_is_ready(pod);
    return !same_ready || pod_is_active(old) != pod_is_active(pod) ||
           pod_is_terminating(old) != pod_is_terminating(pod) ||
           !str_eq(old->status.phase, pod->status.phase) ||
           !meta_same_labels(&old->metadata, &pod->metadata) ||
           !same_controller(&old->metadata, &pod->metadata);
}
