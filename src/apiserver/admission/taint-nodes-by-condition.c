/* TaintNodesByCondition: a node is born not ready, so that nothing is scheduled on it before its conditions are known. */
#include "api/gen/core_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"

static enum stage_result admit(struct request *r, struct admission_attrs *attrs)
{
    if (!admission_is(attrs, "", "nodes", "")) {
        return STAGE_DONE;
    }
    struct core_v1_node *node = attrs->obj;
    struct core_v1_taint taint = { .key = STR("node.kubernetes.io/not-ready"), .effect = STR("NoSchedule") };
    for (size_t i = 0; i < node->spec.n_taints; i++) {
        if (str_eq(node->spec.taints[i].key, taint.key) && str_eq(node->spec.taints[i].effect, taint.effect)) {
            return STAGE_DONE;
        }
    }
    struct core_v1_taint *t = arena_grow_n(&r->arena, node->spec.taints, node->spec.n_taints, node->spec.n_taints + 1, sizeof(*t));
    if (!t) {
        status_internal(&r->status, &r->arena, "the node is too large");
        return STAGE_ERROR;
    }
    t[node->spec.n_taints++] = taint;
    node->spec.taints = t;
    return STAGE_DONE;
}

const struct admission_plugin admission_taint_nodes_by_condition = {
    .name = STR_INIT("TaintNodesByCondition"),
    .ops = ADMIT_CREATE,
    .default_on = true,
    .admit = admit,
};
