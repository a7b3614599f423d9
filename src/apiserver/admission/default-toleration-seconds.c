/* DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or not reachable, unless it says otherwise. */
#include "api/gen/core_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"

#define DEFAULT_SECONDS 300

static const struct str taints[] = { STR_INIT("node.kubernetes.io/not-ready"), STR_INIT("node.kubernetes.io/unreachable") };

static bool tolerates(const struct core_v1_pod *pod, struct str key)
{
    for (size_t i = 0; i < pod->spec.n_tolerations; i++) {
        const struct core_v1_toleration *t = &pod->spec.tolerations[i];
        if ((str_empty(t->key) || str_eq(t->key, key)) && (str_empty(t->effect) || str_eq_c(t->effect, "NoExecute"))) {
            return true;
        }
    }
    return false;
}

static enum stage_result admit(struct request *r, struct admission_attrs *attrs)
{
    if (!admission_is(attrs, "", "pods", "")) {
        return STAGE_DONE;
    }
    struct core_v1_pod *pod = attrs->obj;
    for (size_t i = 0; i < ARRAY_SIZE(taints); i++) {
        if (tolerates(pod, taints[i])) {
            continue;
        }
        struct core_v1_toleration *t =
            arena_grow_n(&r->arena, pod->spec.tolerations, pod->spec.n_tolerations, pod->spec.n_tolerations + 1, sizeof(*t));
        if (!t) {
            status_internal(&r->status, &r->arena, "the pod is too large");
            return STAGE_ERROR;
        }
        t[pod->spec.n_tolerations++] = (struct core_v1_toleration){
            .key = taints[i], .operator = STR("Exists"), .effect = STR("NoExecute"), .toleration_seconds = DEFAULT_SECONDS,
            .has_toleration_seconds = true,
        };
        pod->spec.tolerations = t;
    }
    return STAGE_DONE;
}

const struct admission_plugin admission_default_toleration_seconds = {
    .name = STR_INIT("DefaultTolerationSeconds"),
    .ops = ADMIT_CREATE | ADMIT_UPDATE,
    .default_on = true,
    .admit = admit,
};
