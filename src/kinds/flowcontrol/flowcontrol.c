/* FlowSchema, PriorityLevelConfiguration. */
#include "api/gen/flowcontrol_v1.h"
#include "kinds/kind.h"
#include "kinds/table.h"

static void schema_cells(struct kind_cells *c, const void *obj)
{
    const struct flowcontrol_v1_flow_schema *f = obj;
    struct str dangling = STR("?");
    for (size_t i = 0; i < f->status.n_conditions; i++) {
        if (str_eq_c(f->status.conditions[i].type, "Dangling")) {
            dangling = f->status.conditions[i].status;
        }
    }
    cell_str(c, f->metadata.name);
    cell_str(c, f->spec.priority_level_configuration.name);
    cell_int(c, f->spec.matching_precedence);
    cell_str(c, f->spec.distinguisher_method ? f->spec.distinguisher_method->type : STR("<none>"));
    cell_age(c, f->metadata.creation_timestamp);
    cell_str(c, dangling);
}

const struct kind_ops flowcontrol_flow_schema_ops = {
    .group = STR_INIT("flowcontrol.apiserver.k8s.io"), .resource = STR_INIT("flowschemas"), .flags = KIND_GENERATION, .cells = schema_cells,
};

static void level_cells(struct kind_cells *c, const void *obj)
{
    const struct flowcontrol_v1_priority_level_configuration *p = obj;
    const struct flowcontrol_v1_limited_priority_level_configuration *l = p->spec.limited;
    const struct flowcontrol_v1_queuing_configuration *q = l ? l->limit_response.queuing : NULL;
    cell_str(c, p->metadata.name);
    cell_str(c, p->spec.type);
    if (l) {
        cell_int(c, l->nominal_concurrency_shares);
    } else {
        cell_str(c, STR("<none>"));
    }
    if (q) {
        cell_int(c, q->queues);
        cell_int(c, q->hand_size);
        cell_int(c, q->queue_length_limit);
    } else {
        cell_str(c, STR("<none>"));
        cell_str(c, STR("<none>"));
        cell_str(c, STR("<none>"));
    }
    cell_age(c, p->metadata.creation_timestamp);
}

const struct kind_ops flowcontrol_priority_level_ops = {
    .group = STR_INIT("flowcontrol.apiserver.k8s.io"), .resource = STR_INIT("prioritylevelconfigurations"), .flags = KIND_GENERATION,
    .cells = level_cells,
};
