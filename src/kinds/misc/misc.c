/* Small kinds of several groups: Lease, EndpointSlice, PriorityClass, PodDisruptionBudget. */
#include "api/copy.h"
#include "api/equal.h"
#include "api/gen/coordination_v1.h"
#include "api/gen/discovery_v1.h"
#include "api/gen/policy_v1.h"
#include "api/gen/scheduling_v1.h"
#include "api/int-or-string.h"
#include "kinds/rules.h"
#include "kinds/table.h"

/* ---- Lease ---- */

static void lease(struct kind_ctx *ctx, const void *obj)
{
    const struct coordination_v1_lease *l = obj;
    if (l->spec.has_lease_duration_seconds && l->spec.lease_duration_seconds <= 0) {
        field_invalid_int(ctx->errs, STR("spec.leaseDurationSeconds"), l->spec.lease_duration_seconds, "must be greater than 0");
    }
    if (l->spec.has_lease_transitions && l->spec.lease_transitions < 0) {
        field_invalid_int(ctx->errs, STR("spec.leaseTransitions"), l->spec.lease_transitions, "must be greater than or equal to 0");
    }
}

static void lease_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    lease(ctx, obj);
}

/* A renewal changes times alone; who holds the lease is durable. */
static bool lease_is_volatile(const void *obj, const void *old_obj)
{
    const struct coordination_v1_lease *l = obj, *old = old_obj;
    return old && str_eq(l->spec.holder_identity, old->spec.holder_identity) && l->spec.lease_transitions == old->spec.lease_transitions &&
           !l->metadata.deletion_timestamp.set;
}

/* Fields of the feature CoordinatedLeaderElection, which is off, are kept only where they are in use. */
static void lease_gate(struct coordination_v1_lease *l, const struct coordination_v1_lease *old)
{
    if (!old || !old->spec.strategy.ptr) {
        l->spec.strategy = STR_NULL;
    }
    if (!old || !old->spec.preferred_holder.ptr) {
        l->spec.preferred_holder = STR_NULL;
    }
}

static void lease_prepare_create(struct kind_ctx *ctx, void *obj)
{
    (void)ctx;
    lease_gate(obj, NULL);
}

static void lease_prepare_update(struct kind_ctx *ctx, void *obj, const void *old)
{
    (void)ctx;
    lease_gate(obj, old);
}

static void lease_cells(struct kind_cells *c, const void *obj)
{
    const struct coordination_v1_lease *l = obj;
    cell_str(c, l->metadata.name);
    cell_str(c, l->spec.holder_identity);
    cell_age(c, l->metadata.creation_timestamp);
}

const struct kind_ops coordination_lease_ops = {
    .group = STR_INIT("coordination.k8s.io"), .resource = STR_INIT("leases"), .flags = KIND_VOLATILE | KIND_CREATE_ON_UPDATE,
    .prepare_create = lease_prepare_create, .prepare_update = lease_prepare_update,
    .is_volatile = lease_is_volatile, .validate_create = lease, .validate_update = lease_update, .cells = lease_cells,
};

/* ---- EndpointSlice ---- */

static void slice(struct kind_ctx *ctx, const void *obj)
{
    static const struct str types[] = { STR_INIT("FQDN"), STR_INIT("IPv4"), STR_INIT("IPv6"), STR_NULL };
    const struct discovery_v1_endpoint_slice *s = obj;
    if (str_empty(s->address_type)) {
        field_required(ctx->errs, STR("addressType"), "%s", "");
    } else {
        (void)rule_enum(ctx->errs, STR("addressType"), s->address_type, types);
    }
    for (size_t i = 0; i < s->n_endpoints; i++) {
        struct str at = path_child(ctx->arena, path_index(ctx->arena, STR("endpoints"), i), "addresses");
        if (s->endpoints[i].n_addresses == 0) {
            field_required(ctx->errs, at, "must contain at least 1 address");
        }
        for (size_t j = 0; j < s->endpoints[i].n_addresses; j++) {
            struct str ip = s->endpoints[i].addresses[j];
            bool v6 = false, valid = rule_is_ip(ip, &v6);
            if (str_eq_c(s->address_type, "IPv4") && (!valid || v6)) {
                field_invalid_str(ctx->errs, at, ip, "must be an IPv4 address");
            } else if (str_eq_c(s->address_type, "IPv6") && (!valid || !v6)) {
                field_invalid_str(ctx->errs, at, ip, "must be an IPv6 address");
            }
            if (valid && (str_starts(ip, STR("127.")) || str_eq_c(ip, "::1"))) {
                field_invalid_str(ctx->errs, path_index(ctx->arena, at, j), ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
            }
        }
    }
}

static void slice_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct discovery_v1_endpoint_slice *s = obj, *old = old_obj;
    slice(ctx, obj);
    rule_immutable_str(ctx->errs, STR("addressType"), s->address_type, old->address_type);
}

static void slice_cells(struct kind_cells *c, const void *obj)
{
    enum { SHOWN = 3 };
    const struct discovery_v1_endpoint_slice *s = obj;
    struct str ports = STR_EMPTY, ips = STR_EMPTY;
    size_t n = 0;
    for (size_t i = 0; i < s->n_ports && i < SHOWN; i++) {
        const struct discovery_v1_endpoint_port *p = &s->ports[i];
        struct str one = p->has_port ? arena_printf(c->arena, "%d", p->port) : !str_empty(p->name) ? p->name : STR("*");
        ports = i ? arena_printf(c->arena, "%.*s,%.*s", STR_ARG(ports), STR_ARG(one)) : one;
    }
    for (size_t i = 0; i < s->n_endpoints; i++) {
        for (size_t j = 0; j < s->endpoints[i].n_addresses; j++) {
            if (n++ < SHOWN) {
                ips = n > 1 ? arena_printf(c->arena, "%.*s,%.*s", STR_ARG(ips), STR_ARG(s->endpoints[i].addresses[j]))
                            : s->endpoints[i].addresses[j];
            }
        }
    }
    cell_str(c, s->metadata.name);
    cell_str(c, s->address_type);
    if (s->n_ports > SHOWN) {
        cell_printf(c, "%.*s + %zu more...", STR_ARG(ports), s->n_ports - SHOWN);
    } else {
        cell_str(c, s->n_ports ? ports : STR("<unset>"));
    }
    if (n > SHOWN) {
        cell_printf(c, "%.*s + %zu more...", STR_ARG(ips), n - SHOWN);
    } else {
        cell_str(c, n ? ips : STR("<unset>"));
    }
    cell_age(c, s->metadata.creation_timestamp);
}

static bool slice_desired_changed(const struct discovery_v1_endpoint_slice *a, const struct discovery_v1_endpoint_slice *b)
{
    return !api_equal_field(&discovery_v1_endpoint_slice_type, "endpoints", a, b) ||
           !api_equal_field(&discovery_v1_endpoint_slice_type, "ports", a, b);
}

/* Labels count for the generation too: they say which Service the slice belongs to. */
static void slice_prepare_update(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    struct discovery_v1_endpoint_slice *s = obj;
    const struct discovery_v1_endpoint_slice *old = old_obj;
    struct meta_v1_object_meta a = { .labels = s->metadata.labels, .n_labels = s->metadata.n_labels };
    struct meta_v1_object_meta b = { .labels = old->metadata.labels, .n_labels = old->metadata.n_labels };
    (void)ctx;
    if (!slice_desired_changed(s, old) && !api_equal(&meta_v1_object_meta_type, &a, &b)) {
        s->metadata.generation = old->metadata.generation + 1;
    }
}

const struct kind_ops discovery_endpoint_slice_ops = {
    .group = STR_INIT("discovery.k8s.io"), .resource = STR_INIT("endpointslices"), .flags = KIND_GENERATION, .prepare_update = slice_prepare_update,
    .validate_create = slice, .validate_update = slice_update, .cells = slice_cells,
};

/* ---- PriorityClass ---- */

#define PRIORITY_USER_MAX 1000000000

static void priority(struct kind_ctx *ctx, const void *obj)
{
    const struct scheduling_v1_priority_class *p = obj;
    if (str_starts(p->metadata.name, STR("system-"))) {
        if (!str_eq_c(p->metadata.name, "system-node-critical") && !str_eq_c(p->metadata.name, "system-cluster-critical")) {
            field_forbidden(ctx->errs, STR("metadata.name"), "priority class names with 'system-' prefix are reserved for system use only. "
                            "error: %.*s is not a known system priority class", STR_ARG(p->metadata.name));
        }
    } else if (p->value > PRIORITY_USER_MAX) {
        field_forbidden(ctx->errs, STR("value"), "maximum allowed value of a user defined priority is %d", PRIORITY_USER_MAX);
    }
    if (str_empty(p->preemption_policy)) {
        field_required(ctx->errs, STR("preemptionPolicy"), "%s", "");
    }
}

static void priority_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct scheduling_v1_priority_class *p = obj, *old = old_obj;
    if (p->value != old->value) {
        field_forbidden(ctx->errs, STR("value"), "may not be changed in an update.");
    }
    rule_immutable_str(ctx->errs, STR("preemptionPolicy"), p->preemption_policy, old->preemption_policy);
}

static bool priority_may_delete(const void *obj, const char **ret_why)
{
    *ret_why = "this is a system priority class and cannot be deleted";
    return !str_starts(((const struct scheduling_v1_priority_class *)obj)->metadata.name, STR("system-"));
}

static void priority_cells(struct kind_cells *c, const void *obj)
{
    const struct scheduling_v1_priority_class *p = obj;
    cell_str(c, p->metadata.name);
    cell_int(c, p->value);
    cell_bool(c, p->global_default);
    cell_age(c, p->metadata.creation_timestamp);
    cell_str(c, p->preemption_policy);
}

const struct kind_ops scheduling_priority_class_ops = {
    .group = STR_INIT("scheduling.k8s.io"), .resource = STR_INIT("priorityclasses"), .flags = KIND_GENERATION, .validate_create = priority,
    .validate_update = priority_update, .may_delete = priority_may_delete, .cells = priority_cells,
};

/* ---- PodDisruptionBudget ---- */

static struct str ios_text(struct arena *a, const struct api_int_or_string *v)
{
    return v->kind == API_IOS_UNSET ? STR("N/A") : ios_str(a, v);
}

static struct str ios_json(struct arena *a, const struct api_int_or_string *v)
{
    return v->kind == API_IOS_UNSET ? STR("null") : v->kind == API_IOS_INT ? ios_str(a, v) : arena_printf(a, "\"%.*s\"", STR_ARG(v->s));
}

static void pdb(struct kind_ctx *ctx, const void *obj)
{
    const struct policy_v1_pod_disruption_budget *p = obj;
    if (p->spec.min_available.kind != API_IOS_UNSET && p->spec.max_unavailable.kind != API_IOS_UNSET) {
        struct str min = ios_json(ctx->arena, &p->spec.min_available), max = ios_json(ctx->arena, &p->spec.max_unavailable);
        field_invalid_json(ctx->errs, STR("spec"),
                           arena_printf(ctx->arena, "{\"MinAvailable\":%.*s,\"Selector\":%.*s,\"MaxUnavailable\":%.*s,"
                                                    "\"UnhealthyPodEvictionPolicy\":null}", STR_ARG(min),
                                        STR_ARG(rule_json(ctx->arena, &meta_v1_label_selector_type, p->spec.selector)), STR_ARG(max)),
                           "minAvailable and maxUnavailable cannot be both set");
    }
    rule_int_or_percent(ctx->errs, STR("spec.minAvailable"), &p->spec.min_available);
    rule_int_or_percent(ctx->errs, STR("spec.maxUnavailable"), &p->spec.max_unavailable);
    rule_label_selector(ctx->errs, STR("spec.selector"), p->spec.selector);
}

static void pdb_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    pdb(ctx, obj);
}

static void pdb_cells(struct kind_cells *c, const void *obj)
{
    const struct policy_v1_pod_disruption_budget *p = obj;
    cell_str(c, p->metadata.name);
    cell_str(c, ios_text(c->arena, &p->spec.min_available));
    cell_str(c, ios_text(c->arena, &p->spec.max_unavailable));
    cell_int(c, p->status.disruptions_allowed);
    cell_age(c, p->metadata.creation_timestamp);
}

const struct kind_ops policy_pod_disruption_budget_ops = {
    .group = STR_INIT("policy"), .resource = STR_INIT("poddisruptionbudgets"), .flags = KIND_GENERATION, .validate_create = pdb,
    .validate_update = pdb_update, .cells = pdb_cells,
};
