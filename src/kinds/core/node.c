/* Node: comes with its status; writes that are nothing but heartbeats are volatile. */
#include "api/copy.h"
#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "kinds/rules.h"
#include "kinds/table.h"

static void taints(struct kind_ctx *ctx, const struct core_v1_node *n)
{
    static const struct str effects[] = { STR_INIT("NoSchedule"), STR_INIT("PreferNoSchedule"), STR_INIT("NoExecute"), STR_NULL };
    for (size_t i = 0; i < n->spec.n_taints; i++) {
        const struct core_v1_taint *t = &n->spec.taints[i];
        struct str at = path_index(ctx->arena, STR("metadata.taints"), i);
        (void)rule_name(ctx->errs, path_child(ctx->arena, at, "key"), t->key, names_qualified);
        (void)rule_name(ctx->errs, path_child(ctx->arena, at, "value"), t->value, names_label_value);
        (void)rule_enum(ctx->errs, path_child(ctx->arena, at, "effect"), t->effect, effects);
        for (size_t j = 0; j < i; j++) {
            if (str_eq(n->spec.taints[j].key, t->key) && str_eq(n->spec.taints[j].effect, t->effect)) {
                field_duplicate_json(ctx->errs, at, rule_json(ctx->arena, &core_v1_taint_type, t));
                break;
            }
        }
    }
}

static void cidrs(struct kind_ctx *ctx, const struct core_v1_node *n)
{
    for (size_t i = 0; i < n->spec.n_pod_cidrs; i++) {
        struct str ip, bits;
        uint64_t width;
        bool v6 = false;
        if (!str_cut(n->spec.pod_cidrs[i], '/', &ip, &bits) || !rule_is_ip(ip, &v6) || !str_to_u64(bits, &width) || width > (v6 ? 128u : 32u)) {
            field_invalid_str(ctx->errs, path_index(ctx->arena, STR("spec.podCIDRs"), i), n->spec.pod_cidrs[i],
                              "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
        }
    }
}

static void sync_cidr(struct kind_ctx *ctx, void *obj)
{
    struct core_v1_node *n = obj;
    if (!str_empty(n->spec.pod_cidr) && n->spec.n_pod_cidrs == 0) {
        n->spec.pod_cidrs = arena_new(ctx->arena, struct str);
        if (n->spec.pod_cidrs) {
            n->spec.pod_cidrs[0] = n->spec.pod_cidr;
            n->spec.n_pod_cidrs = 1;
        }
    } else if (str_empty(n->spec.pod_cidr) && n->spec.n_pod_cidrs > 0) {
        n->spec.pod_cidr = n->spec.pod_cidrs[0];
    }
}

static void prepare_update(struct kind_ctx *ctx, void *obj, const void *old)
{
    (void)old;
    sync_cidr(ctx, obj);
}

static void validate_create(struct kind_ctx *ctx, const void *obj)
{
    taints(ctx, obj);
    cidrs(ctx, obj);
}

static void validate_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct core_v1_node *n = obj, *old = old_obj;
    taints(ctx, n);
    cidrs(ctx, n);
    if (!str_empty(old->spec.pod_cidr) && !str_eq(old->spec.pod_cidr, n->spec.pod_cidr)) {
        field_forbidden(ctx->errs, STR("spec.podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
    }
    if (!str_empty(old->spec.provider_id) && !str_eq(old->spec.provider_id, n->spec.provider_id)) {
        field_forbidden(ctx->errs, STR("spec.providerID"), "node updates may not change providerID except from \"\" to valid");
    }
}

/* Nothing but heartbeat times (and the entries that note them) changed. */
static bool is_volatile(const void *obj, const void *old_obj)
{
    struct core_v1_node n, old;
    if (!old_obj) {
        return false;
    }
    n = *(const struct core_v1_node *)obj;
    old = *(const struct core_v1_node *)old_obj;
    if (n.status.n_conditions != old.status.n_conditions) {
        return false;
    }
    for (size_t i = 0; i < n.status.n_conditions; i++) {
        struct core_v1_node_condition a = n.status.conditions[i], b = old.status.conditions[i];
        a.last_heartbeat_time = b.last_heartbeat_time;
        if (!api_equal(&core_v1_node_condition_type, &a, &b)) {
            return false;
        }
    }
    n.status.conditions = old.status.conditions;
    n.metadata.managed_fields = old.metadata.managed_fields;
    n.metadata.n_managed_fields = old.metadata.n_managed_fields;
    n.metadata.resource_version = old.metadata.resource_version;
    return api_equal(&core_v1_node_type, &n, &old);
}

static struct str roles(struct arena *a, const struct core_v1_node *n)
{
    struct str list = STR_EMPTY, prefix = STR("node-role.kubernetes.io/");
    for (size_t i = 0; i < n->metadata.n_labels; i++) {
        const struct api_str_pair *l = &n->metadata.labels[i];
        struct str role = str_starts(l->key, prefix) ? str_sub(l->key, prefix.len, l->key.len)
                        : str_eq_c(l->key, "kubernetes.io/role") ? l->value : STR_EMPTY;
        if (!str_empty(role)) {
            list = str_empty(list) ? role : arena_printf(a, "%.*s,%.*s", STR_ARG(list), STR_ARG(role));
        }
    }
    return str_empty(list) ? STR("<none>") : list;
}

static struct str address(const struct core_v1_node *n, const char *type)
{
    for (size_t i = 0; i < n->status.n_addresses; i++) {
        if (str_eq_c(n->status.addresses[i].type, type)) {
            return n->status.addresses[i].address;
        }
    }
    return STR("<none>");
}

static struct str or_unknown(struct str s)
{
    return str_empty(s) ? STR("<unknown>") : s;
}

/* The kubelet's dynamic configuration is gone; what it said is kept only where it was. */
static void prepare_status(struct kind_ctx *ctx, void *obj, const void *old)
{
    (void)ctx;
    if (!((const struct core_v1_node *)old)->status.config) {
        ((struct core_v1_node *)obj)->status.config = NULL;
    }
}

static void cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_node *n = obj;
    const struct core_v1_node_system_info *i = &n->status.node_info;
    struct str status = STR("Unknown");
    for (size_t k = 0; k < n->status.n_conditions; k++) {
        if (str_eq_c(n->status.conditions[k].type, "Ready")) {
            status = str_eq_c(n->status.conditions[k].status, "True") ? STR("Ready") : STR("NotReady");
        }
    }
    cell_str(c, n->metadata.name);
    cell_printf(c, "%.*s%s", STR_ARG(status), n->spec.unschedulable ? ",SchedulingDisabled" : "");
    cell_str(c, roles(c->arena, n));
    cell_age(c, n->metadata.creation_timestamp);
    cell_str(c, i->kubelet_version);
    cell_str(c, address(n, "InternalIP"));
    cell_str(c, address(n, "ExternalIP"));
    cell_str(c, or_unknown(i->os_image));
    if (str_empty(i->architecture) || str_empty(i->kernel_version)) {
        cell_str(c, or_unknown(i->kernel_version));
    } else {
        cell_printf(c, "%.*s (%.*s)", STR_ARG(i->kernel_version), STR_ARG(i->architecture));
    }
    cell_str(c, or_unknown(i->container_runtime_version));
}

static struct str field_unschedulable(struct arena *a, const void *obj)
{
    (void)a;
    return ((const struct core_v1_node *)obj)->spec.unschedulable ? STR("true") : STR("false");
}

static const struct kind_field fields[] = { { STR_INIT("spec.unschedulable"), field_unschedulable }, { STR_NULL, NULL } };

const struct kind_ops core_node_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("nodes"), .flags = KIND_STATUS_ON_CREATE | KIND_VOLATILE, .is_volatile = is_volatile,
    .prepare_create = sync_cidr, .prepare_update = prepare_update, .prepare_status = prepare_status, .validate_create = validate_create,
    .validate_update = validate_update, .cells = cells, .fields = fields,
};
