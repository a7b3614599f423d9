/* Priority: a pod's priority and preemption policy come from its PriorityClass, and only one class is the default. */
#include "api/gen/core_v1.h"
#include "api/gen/scheduling_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"

struct search {
    const struct scheduling_v1_priority_class *found;
    struct str except;
};

/* The default with the lowest value, should there be several. */
static bool look_for_default(void *ctx, const void *obj)
{
    struct search *s = ctx;
    const struct scheduling_v1_priority_class *c = obj;
    if (c->global_default && !str_eq(c->metadata.name, s->except) && (!s->found || c->value < s->found->value)) {
        s->found = c;
    }
    return true;
}

static const struct scheduling_v1_priority_class *find_default(struct request *r, struct str except)
{
    struct search s = { .except = except };
    const struct kind_world *w = admission_world(r);
    w->each(w, &r->arena, STR("scheduling.k8s.io"), STR("priorityclasses"), STR_EMPTY, look_for_default, &s);
    return s.found;
}

static enum stage_result admit_new_pod(struct request *r, struct admission_attrs *attrs, struct core_v1_pod *pod)
{
    const struct kind_world *w = admission_world(r);
    const struct scheduling_v1_priority_class *c;
    struct str *name = &pod->spec.priority_class_name;
    if (str_empty(*name)) {
        c = find_default(r, STR_EMPTY);
    } else {
        c = w->get(w, &r->arena, STR("scheduling.k8s.io"), STR("priorityclasses"), STR_EMPTY, *name);
        if (!c) {
            return admission_deny(r, attrs, "no PriorityClass with name %.*s was found", STR_ARG(*name));
        }
    }
    int32_t priority = c ? c->value : 0;
    struct str policy = c && !str_empty(c->preemption_policy) ? c->preemption_policy : STR("PreemptLowerPriority");
    if (pod->spec.has_priority && pod->spec.priority != priority) {
        return admission_deny(r, attrs, "the integer value of priority (%d) must not be provided in pod spec; priority admission "
                                        "controller computed %d from the given PriorityClass name", pod->spec.priority, priority);
    }
    if (!str_empty(pod->spec.preemption_policy) && !str_eq(pod->spec.preemption_policy, policy)) {
        return admission_deny(r, attrs, "the string value of PreemptionPolicy (%.*s) must not be provided in pod spec; priority "
                                        "admission controller computed %.*s from the given PriorityClass name",
                              STR_ARG(pod->spec.preemption_policy), STR_ARG(policy));
    }
    if (c) {
        *name = c->metadata.name;
    }
    pod->spec.priority = priority;
    pod->spec.has_priority = true;
    pod->spec.preemption_policy = policy;
    return STAGE_DONE;
}

/* A client that knows nothing of the computed fields leaves them out when it updates. */
static enum stage_result admit_old_pod(struct core_v1_pod *pod, const struct core_v1_pod *old)
{
    if (!pod->spec.has_priority && old->spec.has_priority) {
        pod->spec.priority = old->spec.priority;
        pod->spec.has_priority = true;
    }
    if (str_empty(pod->spec.preemption_policy)) {
        pod->spec.preemption_policy = old->spec.preemption_policy;
    }
    return STAGE_DONE;
}

static enum stage_result admit(struct request *r, struct admission_attrs *attrs)
{
    if (!admission_is(attrs, "", "pods", "")) {
        return STAGE_DONE;
    }
    return attrs->op == ADMIT_CREATE ? admit_new_pod(r, attrs, attrs->obj) : admit_old_pod(attrs->obj, attrs->old);
}

static enum stage_result validate(struct request *r, struct admission_attrs *attrs)
{
    if (!admission_is(attrs, "scheduling.k8s.io", "priorityclasses", "")) {
        return STAGE_DONE;
    }
    const struct scheduling_v1_priority_class *c = attrs->obj;
    const struct scheduling_v1_priority_class *other = c->global_default ? find_default(r, c->metadata.name) : NULL;
    if (other) {
        return admission_deny(r, attrs, "PriorityClass %.*s is already marked as default. Only one default can exist",
                              STR_ARG(other->metadata.name));
    }
    return STAGE_DONE;
}

const struct admission_plugin admission_priority = {
    .name = STR_INIT("Priority"),
    .ops = ADMIT_CREATE | ADMIT_UPDATE,
    .default_on = true,
    .admit = admit,
    .validate = validate,
};
