/* Pod: a fresh status, quality of service, graceful deletion, and what an update may change. */
#include "api/copy.h"
#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "kinds/core/pod-cells.h"
#include "kinds/core/pod-spec.h"
#include "kinds/core/pod-status.h"
#include "kinds/rules.h"
#include "kinds/table.h"

static bool is_sub(const struct kind_ctx *ctx, const char *name)
{
    return str_eq_c(ctx->subresource, name);
}

static void prepare_create(struct kind_ctx *ctx, void *obj)
{
    struct core_v1_pod *p = obj;
    pod_spec_decoded(&p->spec); /* admission has named a service account */
    p->status = (struct core_v1_pod_status){ .phase = STR("Pending"), .qos_class = pod_qos(&p->spec) };
    if (p->spec.n_scheduling_gates > 0) {
        struct core_v1_pod_condition *c = arena_new(ctx->arena, struct core_v1_pod_condition);
        if (c) {
            *c = (struct core_v1_pod_condition){ .type = STR("PodScheduled"), .status = STR("False"), .reason = STR("SchedulingGated"),
                                                 .message = STR("Scheduling is blocked due to non-empty scheduling gates"),
                                                 .last_transition_time = { .sec = ctx->now_sec, .set = true } };
            p->status.conditions = c;
            p->status.n_conditions = 1;
        }
    }
}

static void prepare_update(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    struct core_v1_pod *p = obj;
    const struct core_v1_pod *old = old_obj;
    if (is_sub(ctx, "ephemeralcontainers")) {
        struct core_v1_ephemeral_container *list = p->spec.ephemeral_containers;
        size_t n = p->spec.n_ephemeral_containers;
        p->spec = old->spec;
        p->status = old->status;
        p->spec.ephemeral_containers = list;
        p->spec.n_ephemeral_containers = n;
    } else if (is_sub(ctx, "resize")) {
        struct core_v1_container *sent = p->spec.containers;
        size_t n = p->spec.n_containers;
        p->spec = old->spec;
        p->status = old->status;
        p->spec.containers = arena_new_n(ctx->arena, struct core_v1_container, old->spec.n_containers);
        for (size_t i = 0; p->spec.containers && i < old->spec.n_containers; i++) {
            p->spec.containers[i] = old->spec.containers[i];
            for (size_t j = 0; j < n; j++) {
                if (str_eq(sent[j].name, old->spec.containers[i].name)) {
                    p->spec.containers[i].resources = sent[j].resources;
                    p->spec.containers[i].resize_policy = sent[j].resize_policy;
                    p->spec.containers[i].n_resize_policy = sent[j].n_resize_policy;
                }
            }
        }
    } else {
        p->status = old->status;
        p->spec.ephemeral_containers = old->spec.ephemeral_containers;
        p->spec.n_ephemeral_containers = old->spec.n_ephemeral_containers;
    }
}

static void prepare_status(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    struct core_v1_pod *p = obj;
    const struct core_v1_pod *old = old_obj;
    pod_status_prepare(ctx, &p->status);
    if (str_empty(p->status.qos_class)) {
        p->status.qos_class = str_empty(old->status.qos_class) ? pod_qos(&p->spec) : old->status.qos_class;
    }
}

static void validate_status(struct kind_ctx *ctx, const void *obj, const void *old)
{
    pod_status_validate(ctx, &((const struct core_v1_pod *)obj)->status, &((const struct core_v1_pod *)old)->status);
}

/* The profiles of before securityContext.seccompProfile: kept as annotations, and still checked. */
static void seccomp_annotations(struct kind_ctx *ctx, const struct core_v1_pod *p)
{
    for (size_t i = 0; i < p->metadata.n_annotations; i++) {
        struct str key = p->metadata.annotations[i].key, v = p->metadata.annotations[i].value;
        bool seccomp = str_eq_c(key, "seccomp.security.alpha.kubernetes.io/pod") ||
                       str_starts(key, STR("container.seccomp.security.alpha.kubernetes.io/"));
        bool known = str_eq_c(v, "runtime/default") || str_eq_c(v, "docker/default") || str_eq_c(v, "unconfined") ||
                     (str_starts(v, STR("localhost/")) && v.len > 10);
        if (seccomp && !known) {
            field_invalid_str(ctx->errs, field_path(ctx->arena, "metadata.annotations.%.*s", STR_ARG(key)), v, "must be a valid seccomp profile");
        }
    }
}

static void validate_create(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_pod *p = obj;
    struct str spec = STR("spec");
    seccomp_annotations(ctx, p);
    pod_spec_validate(ctx, spec, &p->spec);
    if (p->spec.n_ephemeral_containers > 0) {
        field_forbidden(ctx->errs, STR("spec.ephemeralContainers"), "cannot be set on create");
    }
    if (p->spec.n_scheduling_gates > 0 && !str_empty(p->spec.node_name)) {
        field_forbidden(ctx->errs, STR("spec.nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

/* ---- updates: images, deadlines, tolerations, gates ---- */

static bool same_toleration(const struct core_v1_toleration *a, const struct core_v1_toleration *b)
{
    return str_eq(a->key, b->key) && str_eq(a->operator, b->operator) && str_eq(a->value, b->value) && str_eq(a->effect, b->effect);
}

static void tolerations_only_added(struct kind_ctx *ctx, const struct core_v1_pod_spec *new, const struct core_v1_pod_spec *old)
{
    for (size_t i = 0; i < old->n_tolerations; i++) {
        bool kept = false;
        for (size_t j = 0; j < new->n_tolerations && !kept; j++) {
            kept = same_toleration(&old->tolerations[i], &new->tolerations[j]);
        }
        if (!kept) {
            field_forbidden(ctx->errs, STR("spec.tolerations"), "existing toleration can not be modified except its tolerationSeconds");
            return;
        }
    }
}

static void deadline(struct kind_ctx *ctx, const struct core_v1_pod_spec *new, const struct core_v1_pod_spec *old)
{
    struct str path = STR("spec.activeDeadlineSeconds");
    if (new->has_active_deadline_seconds) {
        if (new->active_deadline_seconds < 0 || new->active_deadline_seconds > INT32_MAX) {
            rule_between(ctx->errs, path, new->active_deadline_seconds, 0, INT32_MAX);
        } else if (old->has_active_deadline_seconds && old->active_deadline_seconds < new->active_deadline_seconds) {
            field_invalid_int(ctx->errs, path, new->active_deadline_seconds, "must be less than or equal to previous value");
        }
    } else if (old->has_active_deadline_seconds) {
        field_invalid_json(ctx->errs, path, STR("null"), "must not update from a positive integer to nil value");
    }
}

static bool copy_images(struct arena *a, struct core_v1_container **list, size_t n, const struct core_v1_container *from, size_t n_from)
{
    if (n != n_from) {
        return false;
    }
    struct core_v1_container *copy = arena_new_n(a, struct core_v1_container, n);
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = (*list)[i];
        copy[i].image = from[i].image;
    }
    *list = copy;
    return copy != NULL;
}

/* The new spec with everything that may change put back: what is left must equal the old one. */
static bool changed_otherwise(struct kind_ctx *ctx, const struct core_v1_pod *new, const struct core_v1_pod *old)
{
    struct core_v1_pod munged = *new;
    struct core_v1_pod_spec *m = &munged.spec;
    const struct core_v1_pod_spec *o = &old->spec;
    if (!copy_images(ctx->arena, &m->containers, m->n_containers, o->containers, o->n_containers) ||
        !copy_images(ctx->arena, &m->init_containers, m->n_init_containers, o->init_containers, o->n_init_containers)) {
        return true;
    }
    m->active_deadline_seconds = o->active_deadline_seconds;
    m->has_active_deadline_seconds = o->has_active_deadline_seconds;
    m->tolerations = o->tolerations;
    m->n_tolerations = o->n_tolerations;
    if (o->has_termination_grace_period_seconds && o->termination_grace_period_seconds < 0 && m->termination_grace_period_seconds == 1) {
        m->termination_grace_period_seconds = o->termination_grace_period_seconds;
    }
    if (o->n_scheduling_gates > 0) {
        m->scheduling_gates = o->scheduling_gates;
        m->n_scheduling_gates = o->n_scheduling_gates;
        m->node_selector = o->node_selector;
        m->n_node_selector = o->n_node_selector;
        m->affinity = o->affinity;
    }
    return !api_equal_field(&core_v1_pod_type, "spec", &munged, old);
}

static void validate_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct core_v1_pod *p = obj, *old = old_obj;
    if (is_sub(ctx, "ephemeralcontainers") || is_sub(ctx, "resize")) {
        pod_spec_validate(ctx, STR("spec"), &p->spec);
        return;
    }
    pod_spec_validate(ctx, STR("spec"), &p->spec);
    deadline(ctx, &p->spec, &old->spec);
    tolerations_only_added(ctx, &p->spec, &old->spec);
    if (p->spec.n_scheduling_gates > old->spec.n_scheduling_gates) {
        field_forbidden(ctx->errs, STR("spec.schedulingGates"), "only deletion is allowed, but found new scheduling gates");
    }
    if (changed_otherwise(ctx, p, old)) {
        field_forbidden(ctx->errs, STR("spec"),
                        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
                        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
                        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)");
    }
}

static bool grace(const void *obj, bool asked, int64_t asked_s, int64_t *ret_s)
{
    const struct core_v1_pod *p = obj;
    int64_t s = asked ? asked_s : p->spec.has_termination_grace_period_seconds ? p->spec.termination_grace_period_seconds : 0;
    if (str_empty(p->spec.node_name) || str_eq_c(p->status.phase, "Succeeded") || str_eq_c(p->status.phase, "Failed")) {
        s = 0;
    }
    *ret_s = s < 0 ? 1 : s;
    return true;
}

/* ---- selectable fields ---- */

#define FIELD(name, expr) \
    static struct str field_##name(struct arena *a, const void *obj) \
    { \
        const struct core_v1_pod *p = obj; \
        (void)a; \
        return (expr); \
    }
FIELD(node_name, p->spec.node_name)
FIELD(restart_policy, p->spec.restart_policy)
FIELD(scheduler_name, p->spec.scheduler_name)
FIELD(service_account, p->spec.service_account_name)
FIELD(host_network, p->spec.host_network ? STR("true") : STR("false"))
FIELD(phase, p->status.phase)
FIELD(pod_ip, p->status.n_pod_ips > 0 ? p->status.pod_ips[0].ip : STR_EMPTY)
FIELD(nominated, p->status.nominated_node_name)

static const struct kind_field fields[] = {
    { STR_INIT("spec.nodeName"), field_node_name },
    { STR_INIT("spec.restartPolicy"), field_restart_policy },
    { STR_INIT("spec.schedulerName"), field_scheduler_name },
    { STR_INIT("spec.serviceAccountName"), field_service_account },
    { STR_INIT("spec.hostNetwork"), field_host_network },
    { STR_INIT("status.phase"), field_phase },
    { STR_INIT("status.podIP"), field_pod_ip },
    { STR_INIT("status.podIPs"), field_pod_ip },
    { STR_INIT("status.nominatedNodeName"), field_nominated },
    { STR_NULL, NULL },
};

static void decoded(struct kind_ctx *ctx, void *obj)
{
    (void)ctx;
    pod_spec_decoded(&((struct core_v1_pod *)obj)->spec);
}

const struct kind_ops core_pod_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("pods"),
    .flags = KIND_GENERATION | KIND_RETURN_DELETED,
    .prepare_create = prepare_create, .prepare_update = prepare_update, .prepare_status = prepare_status,
    .validate_create = validate_create, .validate_update = validate_update, .validate_status = validate_status,
    .decoded = decoded, .grace = grace, .cells = pod_cells, .fields = fields,
};
