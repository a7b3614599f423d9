/* Service: cluster IP families and policies are filled in here; addresses and node ports are given out by the apiserver. */
#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "kinds/core/service-families.h"
#include "kinds/rules.h"
#include "kinds/table.h"

static bool is_type(const struct core_v1_service *s, const char *type)
{
    return str_eq_c(s->spec.type, type);
}

static bool is_headless(const struct core_v1_service *s)
{
    return str_eq_c(s->spec.cluster_ip, "None");
}

static struct str *one(struct arena *a, struct str s)
{
    struct str *list = arena_new(a, struct str);
    if (list) {
        *list = s;
    }
    return list;
}

static bool same_ips(const struct core_v1_service *a, const struct core_v1_service *b)
{
    bool same = a->spec.n_cluster_ips == b->spec.n_cluster_ips;
    for (size_t i = 0; same && i < a->spec.n_cluster_ips; i++) {
        same = str_eq(a->spec.cluster_ips[i], b->spec.cluster_ips[i]);
    }
    return same;
}

/* clusterIP and clusterIPs[0] are the same field in two forms: clients of before knew the first alone. */
static void sync_ips(struct kind_ctx *ctx, struct core_v1_service *s, const struct core_v1_service *old)
{
    if (old && same_ips(s, old) && !str_eq(s->spec.cluster_ip, old->spec.cluster_ip)) {
        s->spec.cluster_ips = NULL; /* one of the two forms changed, the other still says what was */
        s->spec.n_cluster_ips = 0;
    }
    if (!str_empty(s->spec.cluster_ip) && s->spec.n_cluster_ips == 0) {
        s->spec.cluster_ips = one(ctx->arena, s->spec.cluster_ip);
        s->spec.n_cluster_ips = s->spec.cluster_ips ? 1 : 0;
    }
}

static void fill_traffic(struct core_v1_service *s)
{
    bool ports = is_type(s, "NodePort") || is_type(s, "LoadBalancer");
    if (ports && str_empty(s->spec.external_traffic_policy)) {
        s->spec.external_traffic_policy = STR("Cluster");
    }
    if (!is_type(s, "ExternalName") && str_empty(s->spec.internal_traffic_policy)) {
        s->spec.internal_traffic_policy = STR("Cluster");
    }
    if (is_type(s, "LoadBalancer") && !s->spec.has_allocate_load_balancer_node_ports) {
        s->spec.has_allocate_load_balancer_node_ports = true;
        s->spec.allocate_load_balancer_node_ports = true;
    }
}

static void prepare_create(struct kind_ctx *ctx, void *obj)
{
    struct core_v1_service *s = obj;
    sync_ips(ctx, s, NULL);
    service_families_fill(ctx, s, NULL);
    fill_traffic(s);
}

/* A change of type drops what the new type has no use for, when the client did not touch it itself. */
static void drop_dependents(struct core_v1_service *s, const struct core_v1_service *old)
{
    bool external = is_type(s, "ExternalName"), was_external = is_type(old, "ExternalName");
    if (external && !was_external && (str_empty(s->spec.cluster_ip) || str_eq(s->spec.cluster_ip, old->spec.cluster_ip))) {
        s->spec.cluster_ip = STR_NULL;
        s->spec.cluster_ips = NULL;
        s->spec.n_cluster_ips = 0;
    }
    if (external && !was_external) {
        bool same = s->spec.n_ip_families == old->spec.n_ip_families;
        for (size_t i = 0; same && i < s->spec.n_ip_families; i++) {
            same = str_eq(s->spec.ip_families[i], old->spec.ip_families[i]);
        }
        if (same) {
            s->spec.ip_families = NULL;
            s->spec.n_ip_families = 0;
        }
        if (str_eq(s->spec.ip_family_policy, old->spec.ip_family_policy)) {
            s->spec.ip_family_policy = STR_NULL;
        }
        if (str_eq(s->spec.internal_traffic_policy, old->spec.internal_traffic_policy)) {
            s->spec.internal_traffic_policy = STR_NULL;
        }
    }
    bool had_ports = is_type(old, "NodePort") || is_type(old, "LoadBalancer");
    bool has_ports = is_type(s, "NodePort") || is_type(s, "LoadBalancer");
    if (had_ports && !has_ports) {
        for (size_t i = 0; i < s->spec.n_ports; i++) {
            for (size_t j = 0; j < old->spec.n_ports; j++) {
                if (s->spec.ports[i].node_port == old->spec.ports[j].node_port) {
                    s->spec.ports[i].node_port = 0;
                }
            }
        }
        if (str_eq(s->spec.external_traffic_policy, old->spec.external_traffic_policy) && s->spec.n_external_ips == 0) {
            s->spec.external_traffic_policy = STR_NULL;
        }
    }
    bool had_health = is_type(old, "LoadBalancer") && str_eq_c(old->spec.external_traffic_policy, "Local");
    bool has_health = is_type(s, "LoadBalancer") && str_eq_c(s->spec.external_traffic_policy, "Local");
    if (had_health && !has_health && s->spec.health_check_node_port == old->spec.health_check_node_port) {
        s->spec.health_check_node_port = 0;
    }
    if (is_type(old, "LoadBalancer") && !is_type(s, "LoadBalancer")) {
        s->spec.has_allocate_load_balancer_node_ports = false;
        s->spec.allocate_load_balancer_node_ports = false;
    }
}

static void prepare_update(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    struct core_v1_service *s = obj;
    const struct core_v1_service *old = old_obj;
    /* Left out of an update, addresses and ports stay as they were. */
    if (!is_type(s, "ExternalName") && !is_type(old, "ExternalName")) {
        if (str_empty(s->spec.cluster_ip)) {
            s->spec.cluster_ip = old->spec.cluster_ip;
        }
        if (s->spec.n_cluster_ips == 0 && str_eq(s->spec.cluster_ip, old->spec.cluster_ip)) {
            s->spec.cluster_ips = old->spec.cluster_ips;
            s->spec.n_cluster_ips = old->spec.n_cluster_ips;
        }
    }
    for (size_t i = 0; i < s->spec.n_ports; i++) {
        struct core_v1_service_port *p = &s->spec.ports[i];
        for (size_t j = 0; p->node_port == 0 && j < old->spec.n_ports; j++) {
            const struct core_v1_service_port *o = &old->spec.ports[j];
            if (o->port == p->port && str_eq(o->protocol, p->protocol) && (is_type(s, "NodePort") || is_type(s, "LoadBalancer"))) {
                p->node_port = o->node_port;
            }
        }
    }
    if (is_type(s, "LoadBalancer") && s->spec.health_check_node_port == 0) {
        s->spec.health_check_node_port = old->spec.health_check_node_port;
    }
    sync_ips(ctx, s, old);
    drop_dependents(s, old);
    service_families_fill(ctx, s, old);
    fill_traffic(s);
}

/* ---- validation ---- */

static struct str port_json(struct arena *a, const struct core_v1_service_port *p)
{
    struct str target = p->target_port.kind == API_IOS_STRING ? arena_printf(a, "\"%.*s\"", STR_ARG(p->target_port.s)) : STR("0");
    return arena_printf(a, "{\"Name\":\"%.*s\",\"Protocol\":\"%.*s\",\"AppProtocol\":null,\"Port\":%d,\"TargetPort\":%.*s,\"NodePort\":%d}",
                        STR_ARG(p->name), STR_ARG(p->protocol), p->port, STR_ARG(target), p->node_port);
}

static void validate_port(struct kind_ctx *ctx, const struct core_v1_service *s, size_t i)
{
    static const struct str protocols[] = { STR_INIT("SCTP"), STR_INIT("TCP"), STR_INIT("UDP"), STR_NULL };
    const struct core_v1_service_port *p = &s->spec.ports[i];
    struct str at = path_index(ctx->arena, STR("spec.ports"), i);
    if (s->spec.n_ports > 1 && str_empty(p->name)) {
        field_required(ctx->errs, path_child(ctx->arena, at, "name"), "%s", "");
    } else if (!str_empty(p->name)) {
        (void)rule_name(ctx->errs, path_child(ctx->arena, at, "name"), p->name, names_dns1123_label);
        for (size_t j = 0; j < i; j++) {
            if (str_eq(s->spec.ports[j].name, p->name)) {
                field_duplicate_str(ctx->errs, path_child(ctx->arena, at, "name"), p->name);
                break;
            }
        }
    }
    rule_port(ctx->errs, path_child(ctx->arena, at, "port"), p->port);
    (void)rule_enum(ctx->errs, path_child(ctx->arena, at, "protocol"), p->protocol, protocols);
    if (p->target_port.kind == API_IOS_STRING || p->target_port.i != 0) {
        rule_port_or_name(ctx->errs, path_child(ctx->arena, at, "targetPort"), &p->target_port);
    }
    if (p->node_port != 0 && !is_type(s, "NodePort") && !is_type(s, "LoadBalancer")) {
        field_forbidden(ctx->errs, path_child(ctx->arena, at, "nodePort"), "may not be used when `type` is '%.*s'", STR_ARG(s->spec.type));
    }
}

static void validate_ports(struct kind_ctx *ctx, const struct core_v1_service *s)
{
    if (s->spec.n_ports == 0 && !is_headless(s) && !is_type(s, "ExternalName")) {
        field_required(ctx->errs, STR("spec.ports"), "%s", "");
    }
    for (size_t i = 0; i < s->spec.n_ports; i++) {
        validate_port(ctx, s, i);
    }
    for (size_t i = 0; i < s->spec.n_ports; i++) {
        const struct core_v1_service_port *p = &s->spec.ports[i];
        for (size_t j = 0; j < i; j++) {
            if (s->spec.ports[j].port == p->port && str_eq(s->spec.ports[j].protocol, p->protocol)) {
                struct core_v1_service_port shown = *p;
                shown.name = STR_EMPTY;
                shown.node_port = 0;
                shown.target_port = (struct api_int_or_string){ .kind = API_IOS_INT };
                field_duplicate_json(ctx->errs, path_index(ctx->arena, STR("spec.ports"), i), port_json(ctx->arena, &shown));
                break;
            }
        }
    }
}

static void validate_ips(struct kind_ctx *ctx, const struct core_v1_service *s)
{
    if (!is_type(s, "ExternalName")) {
        return; /* looked at when the families were filled in */
    }
    if (s->spec.n_cluster_ips > 0) {
        field_forbidden(ctx->errs, STR("spec.clusterIPs"), "may not be set for ExternalName services");
    }
    if (s->spec.n_ip_families > 0) {
        field_forbidden(ctx->errs, STR("spec.ipFamilies"), "may not be set for ExternalName services");
    }
    if (!str_empty(s->spec.ip_family_policy)) {
        field_forbidden(ctx->errs, STR("spec.ipFamilyPolicy"), "may not be set for ExternalName services");
    }
}

static void external_ips(struct kind_ctx *ctx, const struct core_v1_service *s)
{
    for (size_t i = 0; i < s->spec.n_external_ips; i++) {
        struct str ip = s->spec.external_ips[i], at = path_index(ctx->arena, STR("spec.externalIPs"), i), rest = ip, octet;
        bool zeros = false;
        while (str_find_char(ip, ':') < 0 && str_split(&rest, '.', &octet)) {
            zeros |= octet.len > 1 && octet.ptr[0] == '0';
        }
        if (zeros) {
            field_invalid_str(ctx->errs, at, ip, "must not have leading 0s");
        } else {
            (void)rule_ip(ctx->errs, at, ip);
        }
    }
    if (s->spec.n_external_ips > 0) {
        if (is_type(s, "ExternalName")) {
            kind_warn(ctx, "spec.externalIPs is ignored when spec.type is \"%.*s\"", STR_ARG(s->spec.type));
        }
        kind_warn(ctx, "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
}

static void validate(struct kind_ctx *ctx, const struct core_v1_service *s)
{
    static const struct str types[] = { STR_INIT("ClusterIP"), STR_INIT("ExternalName"), STR_INIT("LoadBalancer"), STR_INIT("NodePort"),
                                        STR_NULL };
    static const struct str affinity[] = { STR_INIT("ClientIP"), STR_INIT("None"), STR_NULL };
    static const struct str external[] = { STR_INIT("Cluster"), STR_INIT("Local"), STR_NULL };
    bool known = rule_enum(&(struct field_errs){ .arena = ctx->arena }, STR_EMPTY, s->spec.type, types);
    validate_ports(ctx, s);
    if (is_type(s, "ExternalName")) {
        if (str_empty(s->spec.external_name)) {
            field_required(ctx->errs, STR("spec.externalName"), "%s", "");
        } else {
            (void)rule_name(ctx->errs, STR("spec.externalName"), s->spec.external_name, names_dns1123_subdomain);
        }
    }
    rule_labels(ctx->errs, STR("spec.selector"), s->spec.selector, s->spec.n_selector);
    (void)rule_enum(ctx->errs, STR("spec.sessionAffinity"), s->spec.session_affinity, affinity);
    if (known) {
        validate_ips(ctx, s);
    }
    external_ips(ctx, s);
    if (!known) {
        field_not_supported(ctx->errs, STR("spec.type"), s->spec.type, types);
    }
    bool reachable = is_type(s, "NodePort") || is_type(s, "LoadBalancer") || s->spec.n_external_ips > 0;
    if (!str_empty(s->spec.external_traffic_policy)) {
        if (!reachable) {
            field_invalid_str(ctx->errs, STR("spec.externalTrafficPolicy"), s->spec.external_traffic_policy,
                              "may only be set for externally-accessible services");
        } else {
            (void)rule_enum(ctx->errs, STR("spec.externalTrafficPolicy"), s->spec.external_traffic_policy, external);
        }
    }
    if (!str_empty(s->spec.internal_traffic_policy)) {
        (void)rule_enum(ctx->errs, STR("spec.internalTrafficPolicy"), s->spec.internal_traffic_policy, external);
    }
}

static void validate_create(struct kind_ctx *ctx, const void *obj)
{
    validate(ctx, obj);
}

static void validate_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct core_v1_service *s = obj;
    service_families_validate_update(ctx, s, old_obj);
    validate(ctx, s);
}

/* ---- table and fields ---- */

static struct str joined(struct arena *a, struct str list, struct str s)
{
    return str_empty(list) ? s : arena_printf(a, "%.*s,%.*s", STR_ARG(list), STR_ARG(s));
}

static struct str external_text(struct arena *a, const struct core_v1_service *s)
{
    struct str list = STR_EMPTY;
    if (is_type(s, "ExternalName")) {
        return s->spec.external_name;
    }
    if (is_type(s, "LoadBalancer")) {
        for (size_t i = 0; i < s->status.load_balancer.n_ingress; i++) {
            const struct core_v1_load_balancer_ingress *in = &s->status.load_balancer.ingress[i];
            list = joined(a, list, str_empty(in->ip) ? in->hostname : in->ip);
        }
    }
    for (size_t i = 0; i < s->spec.n_external_ips; i++) {
        list = joined(a, list, s->spec.external_ips[i]);
    }
    if (!str_empty(list)) {
        return list;
    }
    return is_type(s, "LoadBalancer") ? STR("<pending>") : STR("<none>");
}

static struct str ports_text(struct arena *a, const struct core_v1_service *s)
{
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < s->spec.n_ports; i++) {
        const struct core_v1_service_port *p = &s->spec.ports[i];
        struct str one_port = p->node_port > 0 ? arena_printf(a, "%d:%d/%.*s", p->port, p->node_port, STR_ARG(p->protocol))
                                               : arena_printf(a, "%d/%.*s", p->port, STR_ARG(p->protocol));
        list = joined(a, list, one_port);
    }
    return str_empty(list) ? STR("<none>") : list;
}

static void cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_service *s = obj;
    struct str ip = s->spec.n_cluster_ips > 0 ? s->spec.cluster_ips[0] : s->spec.cluster_ip;
    cell_str(c, s->metadata.name);
    cell_str(c, s->spec.type);
    cell_str(c, str_empty(ip) ? STR("<none>") : ip);
    cell_str(c, external_text(c->arena, s));
    cell_str(c, ports_text(c->arena, s));
    cell_age(c, s->metadata.creation_timestamp);
    cell_pairs(c, s->spec.selector, s->spec.n_selector);
}

static struct str field_ip(struct arena *a, const void *obj)
{
    (void)a;
    return ((const struct core_v1_service *)obj)->spec.cluster_ip;
}

static struct str field_type(struct arena *a, const void *obj)
{
    (void)a;
    return ((const struct core_v1_service *)obj)->spec.type;
}

static const struct kind_field fields[] = { { STR_INIT("spec.clusterIP"), field_ip }, { STR_INIT("spec.type"), field_type }, { STR_NULL, NULL } };

const struct kind_ops core_service_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("services"), .name_rule = KIND_NAME_LABEL, .flags = KIND_RETURN_DELETED,
    .prepare_create = prepare_create, .prepare_update = prepare_update, .validate_create = validate_create,
    .validate_update = validate_update, .cells = cells, .fields = fields,
};
