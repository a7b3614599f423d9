/* ServiceAccount, Endpoints, PersistentVolume, PersistentVolumeClaim, PodTemplate, ResourceQuota. */
#include "api/gen/core_v1.h"
#include "kinds/core/quota.h"
#include "kinds/rules.h"
#include "kinds/table.h"

/* ---- ServiceAccount ---- */

const struct kind_ops core_service_account_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("serviceaccounts"), .flags = KIND_RETURN_DELETED,
};

/* ---- Endpoints ---- */

static void address(struct kind_ctx *ctx, struct str path, const struct core_v1_endpoint_address *a)
{
    struct str at = path_child(ctx->arena, path, "ip");
    if (!rule_ip(ctx->errs, at, a->ip)) {
        field_invalid_str(ctx->errs, at, a->ip, "must be a valid IP address");
        return;
    }
    if (str_starts(a->ip, STR("127.")) || str_eq_c(a->ip, "::1")) {
        field_invalid_str(ctx->errs, at, a->ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    } else if (str_starts(a->ip, STR("169.254."))) {
        field_invalid_str(ctx->errs, at, a->ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
}

static void endpoints(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_endpoints *e = obj;
    for (size_t i = 0; i < e->n_subsets; i++) {
        const struct core_v1_endpoint_subset *s = &e->subsets[i];
        struct str at = path_index(ctx->arena, STR("subsets"), i);
        if (s->n_addresses == 0 && s->n_not_ready_addresses == 0) {
            field_required(ctx->errs, at, "must specify `addresses` or `notReadyAddresses`");
        }
        for (size_t j = 0; j < s->n_addresses; j++) {
            address(ctx, path_index(ctx->arena, path_child(ctx->arena, at, "addresses"), j), &s->addresses[j]);
        }
        for (size_t j = 0; j < s->n_ports; j++) {
            struct str p = path_index(ctx->arena, path_child(ctx->arena, at, "ports"), j);
            if (s->n_ports > 1 && str_empty(s->ports[j].name)) {
                field_required(ctx->errs, path_child(ctx->arena, p, "name"), "%s", "");
            }
            rule_port(ctx->errs, path_child(ctx->arena, p, "port"), s->ports[j].port);
        }
    }
}

static void endpoints_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    endpoints(ctx, obj);
}

static void endpoints_cells(struct kind_cells *c, const void *obj)
{
    enum { SHOWN = 3 };
    const struct core_v1_endpoints *e = obj;
    struct str list = STR_EMPTY;
    size_t n = 0;
    for (size_t i = 0; i < e->n_subsets; i++) {
        const struct core_v1_endpoint_subset *s = &e->subsets[i];
        size_t ports = s->n_ports ? s->n_ports : 1;
        for (size_t p = 0; p < ports; p++) {
            for (size_t a = 0; a < s->n_addresses; a++) {
                if (n++ >= SHOWN) {
                    continue;
                }
                struct str ip = s->addresses[a].ip;
                bool v6 = str_find_char(ip, ':') >= 0;
                list = s->n_ports ? arena_printf(c->arena, "%.*s%s%s%.*s%s:%d", STR_ARG(list), n > 1 ? "," : "", v6 ? "[" : "", STR_ARG(ip),
                                                 v6 ? "]" : "", s->ports[p].port)
                                  : arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(list), n > 1 ? "," : "", STR_ARG(ip));
            }
        }
    }
    cell_str(c, e->metadata.name);
    if (n > SHOWN) {
        cell_printf(c, "%.*s + %zu more...", STR_ARG(list), n - SHOWN);
    } else {
        cell_str(c, n ? list : STR("<none>"));
    }
    cell_age(c, e->metadata.creation_timestamp);
}

const struct kind_ops core_endpoints_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("endpoints"), .flags = KIND_CREATE_ON_UPDATE, .validate_create = endpoints,
    .validate_update = endpoints_update, .cells = endpoints_cells,
};

/* ---- volumes ---- */

static struct str modes(struct arena *a, const struct str *list, size_t n)
{
    static const struct {
        const char *mode, *text;
    } table[] = { { "ReadWriteOnce", "RWO" }, { "ReadOnlyMany", "ROX" }, { "ReadWriteMany", "RWX" }, { "ReadWriteOncePod", "RWOP" } };
    struct str out = STR_EMPTY;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        for (size_t j = 0; j < n; j++) {
            if (str_eq_c(list[j], table[i].mode)) {
                out = arena_printf(a, "%.*s%s%s", STR_ARG(out), str_empty(out) ? "" : ",", table[i].text);
                break;
            }
        }
    }
    return out;
}

static struct str quantity(const struct api_str_pair *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, key)) {
            return list[i].value;
        }
    }
    return STR_EMPTY;
}

static struct str class_of(const struct meta_v1_object_meta *m, struct str class)
{
    for (size_t i = 0; i < m->n_annotations; i++) {
        if (str_eq_c(m->annotations[i].key, "volume.beta.kubernetes.io/storage-class")) {
            return m->annotations[i].value;
        }
    }
    return class;
}

static void access_modes(struct kind_ctx *ctx, const struct str *list, size_t n)
{
    static const struct str known[] = { STR_INIT("ReadOnlyMany"), STR_INIT("ReadWriteMany"), STR_INIT("ReadWriteOnce"),
                                        STR_INIT("ReadWriteOncePod"), STR_NULL };
    if (n == 0) {
        field_required(ctx->errs, STR("spec.accessModes"), "%s", "");
    }
    for (size_t i = 0; i < n; i++) {
        (void)rule_enum(ctx->errs, STR("spec.accessModes"), list[i], known);
    }
}

static void pv_prepare(struct kind_ctx *ctx, void *obj)
{
    struct core_v1_persistent_volume *pv = obj;
    pv->status = (struct core_v1_persistent_volume_status){ .phase = STR("Pending") };
    pv->status.last_phase_transition_time = (struct api_time){ .sec = ctx->now_sec, .set = true };
}

static void pv(struct kind_ctx *ctx, const void *obj)
{
    static const struct str storage[] = { STR_INIT("storage"), STR_NULL };
    const struct core_v1_persistent_volume *v = obj;
    access_modes(ctx, v->spec.access_modes, v->spec.n_access_modes);
    if (v->spec.n_capacity == 0) {
        field_required(ctx->errs, STR("spec.capacity"), "%s", "");
    }
    if (v->spec.n_capacity > 1 || str_empty(quantity(v->spec.capacity, v->spec.n_capacity, "storage"))) {
        field_not_supported_json(ctx->errs, STR("spec.capacity"), rule_labels_json(ctx->arena, v->spec.capacity, v->spec.n_capacity), storage);
    }
    static const struct core_v1_persistent_volume_source none;
    if (memcmp(&none, &v->spec.persistent_volume_source, sizeof(none)) == 0) {
        field_required(ctx->errs, STR("spec"), "must specify a volume type");
    }
}

static void pv_cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_persistent_volume *v = obj;
    cell_str(c, v->metadata.name);
    cell_str(c, quantity(v->spec.capacity, v->spec.n_capacity, "storage"));
    cell_str(c, modes(c->arena, v->spec.access_modes, v->spec.n_access_modes));
    cell_str(c, v->spec.persistent_volume_reclaim_policy);
    cell_str(c, v->metadata.deletion_timestamp.set ? STR("Terminating") : v->status.phase);
    if (v->spec.claim_ref) {
        cell_printf(c, "%.*s/%.*s", STR_ARG(v->spec.claim_ref->namespace), STR_ARG(v->spec.claim_ref->name));
    } else {
        cell_str(c, STR_EMPTY);
    }
    cell_str(c, class_of(&v->metadata, v->spec.storage_class_name));
    cell_str(c, v->spec.volume_attributes_class_name.ptr ? v->spec.volume_attributes_class_name : STR("<unset>"));
    cell_str(c, v->status.reason);
    cell_age(c, v->metadata.creation_timestamp);
    cell_str(c, v->spec.volume_mode.ptr ? v->spec.volume_mode : STR("<unset>"));
}

const struct kind_ops core_persistent_volume_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("persistentvolumes"), .flags = KIND_RETURN_DELETED, .prepare_create = pv_prepare,
    .validate_create = pv, .cells = pv_cells,
};

static void pvc_prepare(struct kind_ctx *ctx, void *obj)
{
    (void)ctx;
    ((struct core_v1_persistent_volume_claim *)obj)->status = (struct core_v1_persistent_volume_claim_status){ .phase = STR("Pending") };
}

static void pvc(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_persistent_volume_claim *p = obj;
    access_modes(ctx, p->spec.access_modes, p->spec.n_access_modes);
    if (str_empty(quantity(p->spec.resources.requests, p->spec.resources.n_requests, "storage"))) {
        field_required(ctx->errs, STR("spec.resources[storage]"), "%s", "");
    }
}

static void pvc_cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_persistent_volume_claim *p = obj;
    bool bound = !str_empty(p->spec.volume_name);
    cell_str(c, p->metadata.name);
    cell_str(c, p->metadata.deletion_timestamp.set ? STR("Terminating") : p->status.phase);
    cell_str(c, p->spec.volume_name);
    struct str capacity = quantity(p->status.capacity, p->status.n_capacity, "storage");
    cell_str(c, !bound ? STR_EMPTY : str_empty(capacity) ? STR("0") : capacity);
    cell_str(c, bound ? modes(c->arena, p->status.access_modes, p->status.n_access_modes) : STR_EMPTY);
    cell_str(c, class_of(&p->metadata, p->spec.storage_class_name));
    cell_str(c, p->spec.volume_attributes_class_name.ptr ? p->spec.volume_attributes_class_name : STR("<unset>"));
    cell_age(c, p->metadata.creation_timestamp);
    cell_str(c, p->spec.volume_mode.ptr ? p->spec.volume_mode : STR("<unset>"));
}

const struct kind_ops core_persistent_volume_claim_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("persistentvolumeclaims"), .flags = KIND_RETURN_DELETED, .prepare_create = pvc_prepare,
    .validate_create = pvc, .cells = pvc_cells,
};

/* ---- PodTemplate ---- */

static void pod_template_cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_pod_template *t = obj;
    cell_str(c, t->metadata.name);
    cell_containers(c, &t->template.spec);
    cell_pairs(c, t->template.metadata.labels, t->template.metadata.n_labels);
}

const struct kind_ops core_pod_template_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("podtemplates"), .flags = KIND_GENERATION | KIND_RETURN_DELETED, .cells = pod_template_cells,
};

/* ---- ResourceQuota ---- */

static struct str quota_text(struct arena *a, const struct core_v1_resource_quota *q, bool limits)
{
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < q->status.n_hard; i++) {
        struct str key = q->status.hard[i].key, used = quantity(q->status.used, q->status.n_used, arena_cstr(a, key));
        if (str_starts(key, STR("limits.")) != limits) {
            continue;
        }
        list = arena_printf(a, "%.*s%s%.*s: %.*s/%.*s", STR_ARG(list), str_empty(list) ? "" : ", ", STR_ARG(key),
                            STR_ARG(str_empty(used) ? STR("0") : used), STR_ARG(q->status.hard[i].value));
    }
    return list;
}

static void quota_cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_resource_quota *q = obj;
    cell_str(c, q->metadata.name);
    cell_str(c, quota_text(c->arena, q, false));
    cell_str(c, quota_text(c->arena, q, true));
    cell_age(c, q->metadata.creation_timestamp);
}

const struct kind_ops core_resource_quota_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("resourcequotas"), .flags = KIND_RETURN_DELETED,
    .validate_create = quota_validate, .validate_update = quota_validate_update, .cells = quota_cells,
};
