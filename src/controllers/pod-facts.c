#include "controllers/pod-facts.h"

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
