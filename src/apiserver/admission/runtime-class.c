/* RuntimeClass: a pod that names one gets its overhead and where it may run (KEP-688); a class that is not there refuses the pod. */
#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "api/gen/node_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"

static const struct node_v1_runtime_class *class_of(struct request *r, const struct core_v1_pod *pod)
{
    const struct kind_world *w = admission_world(r);
    return w->get(w, &r->arena, STR("node.k8s.io"), STR("runtimeclasses"), STR_EMPTY, pod->spec.runtime_class_name);
}

static bool same_pairs(const struct api_str_pair *a, size_t n_a, const struct api_str_pair *b, size_t n_b)
{
    bool same = n_a == n_b;
    for (size_t i = 0; same && i < n_a; i++) {
        same = str_eq(a[i].key, b[i].key) && str_eq(a[i].value, b[i].value);
    }
    return same;
}

/* The class's selector is added to the pod's; a key that both have must say the same. */
static enum stage_result add_selector(struct request *r, struct admission_attrs *attrs, struct core_v1_pod *pod, const struct node_v1_scheduling *s)
{
    struct api_str_pair *all = arena_new_n(&r->arena, struct api_str_pair, pod->spec.n_node_selector + s->n_node_selector);
    size_t i = 0, j = 0, n = 0;
    if (!all) {
        return request_bad(r, "the object is too large");
    }
    while (i < pod->spec.n_node_selector || j < s->n_node_selector) {
        const struct api_str_pair *p = i < pod->spec.n_node_selector ? &pod->spec.node_selector[i] : NULL;
        const struct api_str_pair *c = j < s->n_node_selector ? &s->node_selector[j] : NULL;
        int order = !p ? 1 : !c ? -1 : str_cmp(p->key, c->key);
        if (order == 0 && !str_eq(p->value, c->value)) {
            return admission_deny(r, attrs, "conflict: runtimeClass.scheduling.nodeSelector[%.*s] = %.*s; pod.spec.nodeSelector[%.*s] = %.*s",
                                  STR_ARG(c->key), STR_ARG(c->value), STR_ARG(p->key), STR_ARG(p->value));
        }
        all[n++] = order <= 0 ? *p : *c;
        i += order <= 0;
        j += order >= 0;
    }
    pod->spec.node_selector = n ? all : NULL;
    pod->spec.n_node_selector = n;
    return STAGE_DONE;
}

static bool add_tolerations(struct request *r, struct core_v1_pod *pod, const struct node_v1_scheduling *s)
{
    struct core_v1_toleration *all = arena_new_n(&r->arena, struct core_v1_toleration, pod->spec.n_tolerations + s->n_tolerations);
    size_t n = pod->spec.n_tolerations;
    if (!all) {
        return false;
    }
    if (n > 0) {
        memcpy(all, pod->spec.tolerations, n * sizeof(*all));
    }
    for (size_t i = 0; i < s->n_tolerations; i++) {
        bool there = false;
        for (size_t k = 0; k < n && !there; k++) {
            there = api_equal(&core_v1_toleration_type, &all[k], &s->tolerations[i]);
        }
        if (!there) {
            all[n++] = s->tolerations[i];
        }
    }
    pod->spec.tolerations = n ? all : NULL;
    pod->spec.n_tolerations = n;
    return true;
}

static enum stage_result admit(struct request *r, struct admission_attrs *attrs)
{
    struct core_v1_pod *pod = attrs->obj;
    if (!admission_is(attrs, "", "pods", "") || str_empty(pod->spec.runtime_class_name)) {
        return STAGE_DONE;
    }
    const struct node_v1_runtime_class *c = class_of(r, pod);
    if (!c) {
        return admission_deny(r, attrs, "pod rejected: RuntimeClass \"%.*s\" not found", STR_ARG(pod->spec.runtime_class_name));
    }
    if (c->overhead && c->overhead->n_pod_fixed > 0) {
        if (pod->spec.n_overhead > 0 &&
            !same_pairs(pod->spec.overhead, pod->spec.n_overhead, c->overhead->pod_fixed, c->overhead->n_pod_fixed)) {
            return admission_deny(r, attrs, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
        }
        pod->spec.overhead = c->overhead->pod_fixed;
        pod->spec.n_overhead = c->overhead->n_pod_fixed;
    }
    if (c->scheduling && add_selector(r, attrs, pod, c->scheduling) != STAGE_DONE) {
        return STAGE_ERROR;
    }
    return c->scheduling && !add_tolerations(r, pod, c->scheduling) ? request_bad(r, "the object is too large") : STAGE_DONE;
}

static enum stage_result validate(struct request *r, struct admission_attrs *attrs)
{
    const struct core_v1_pod *pod = attrs->obj;
    if (!admission_is(attrs, "", "pods", "") || pod->spec.n_overhead == 0) {
        return STAGE_DONE;
    }
    const struct node_v1_runtime_class *c = str_empty(pod->spec.runtime_class_name) ? NULL : class_of(r, pod);
    if (!c || !c->overhead) {
        return admission_deny(r, attrs, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    }
    return STAGE_DONE;
}

const struct admission_plugin admission_runtime_class = {
    .name = STR_INIT("RuntimeClass"),
    .ops = ADMIT_CREATE,
    .default_on = true,
    .admit = admit,
    .validate = validate,
};
