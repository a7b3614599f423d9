/* Ingress, IngressClass, NetworkPolicy, ServiceCIDR, IPAddress. */
#include <arpa/inet.h>

#include "api/gen/core_v1.h"
#include "api/gen/networking_v1.h"
#include "kinds/rules.h"
#include "kinds/table.h"

/* ---- Ingress ---- */

static void ingress_cells(struct kind_cells *c, const void *obj)
{
    enum { SHOWN = 3 };
    const struct networking_v1_ingress *g = obj;
    struct str hosts = STR_EMPTY, addresses = STR_EMPTY;
    size_t n = 0;
    bool more = false;
    for (size_t i = 0; i < g->spec.n_rules; i++) {
        struct str host = g->spec.rules[i].host;
        more = more || n == SHOWN;
        if (!more && !str_empty(host)) {
            hosts = arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(hosts), n++ ? "," : "", STR_ARG(host));
        }
    }
    for (size_t i = 0; i < g->status.load_balancer.n_ingress; i++) {
        const struct networking_v1_ingress_load_balancer_ingress *a = &g->status.load_balancer.ingress[i];
        addresses = arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(addresses), i ? "," : "", STR_ARG(str_empty(a->ip) ? a->hostname : a->ip));
    }
    cell_str(c, g->metadata.name);
    cell_str(c, str_empty(g->spec.ingress_class_name) ? STR("<none>") : g->spec.ingress_class_name);
    if (n == 0) {
        cell_str(c, STR("*"));
    } else if (more) {
        cell_printf(c, "%.*s + %zu more...", STR_ARG(hosts), g->spec.n_rules - SHOWN);
    } else {
        cell_str(c, hosts);
    }
    cell_str(c, addresses);
    cell_str(c, g->spec.n_tls > 0 ? STR("80, 443") : STR("80"));
    cell_age(c, g->metadata.creation_timestamp);
}

/* A path like "/a/b": absolute, without empty parts, "." or "..", or an encoded "/". */
static bool has(struct str s, const char *part)
{
    return str_find(s, str_c(part)) >= 0;
}

static bool plain_path(struct str p)
{
    return str_starts(p, STR("/")) && !has(p, "//") && !has(p, "/./") && !has(p, "/../") &&
           !str_ends(p, STR("/..")) && !str_ends(p, STR("/.")) && !has(p, "%2f") && !has(p, "%2F");
}

static void backend(struct kind_ctx *ctx, struct str at, const struct networking_v1_ingress_backend *b)
{
    if (b->resource && b->service) {
        field_invalid_str(ctx->errs, at, STR_EMPTY, "cannot set both resource and service backends");
        return;
    }
    if (b->resource) {
        if (str_empty(b->resource->kind)) {
            field_required(ctx->errs, path_child(ctx->arena, at, "resource.kind"), "%s", "");
        }
        if (str_empty(b->resource->name)) {
            field_required(ctx->errs, path_child(ctx->arena, at, "resource.name"), "%s", "");
        }
        return;
    }
    if (!b->service) {
        field_invalid_str(ctx->errs, at, STR_EMPTY, "resource or service backend is required");
        return;
    }
    struct str name = path_child(ctx->arena, at, "service.name"), port = path_child(ctx->arena, at, "service.port");
    if (str_empty(b->service->name)) {
        field_required(ctx->errs, name, "%s", "");
    } else {
        (void)rule_name(ctx->errs, name, b->service->name, names_dns1035_label);
    }
    bool has_name = !str_empty(b->service->port.name), has_number = b->service->port.number != 0;
    if (has_name && has_number) {
        field_invalid_str(ctx->errs, at, STR_EMPTY, "cannot set both port name & port number");
    } else if (has_number) {
        rule_port(ctx->errs, path_child(ctx->arena, port, "number"), b->service->port.number);
    } else if (!has_name) {
        field_required(ctx->errs, at, "port name or number is required");
    }
}

static void ingress_path(struct kind_ctx *ctx, struct str at, const struct networking_v1_http_ingress_path *p)
{
    static const struct str types[] = { STR_INIT("Exact"), STR_INIT("ImplementationSpecific"), STR_INIT("Prefix"), STR_NULL };
    struct str path = path_child(ctx->arena, at, "path");
    if (str_empty(p->path_type)) {
        field_required(ctx->errs, path_child(ctx->arena, at, "pathType"), "pathType must be specified");
    } else if (str_eq_c(p->path_type, "ImplementationSpecific")) {
        if (!str_empty(p->path) && !str_starts(p->path, STR("/"))) {
            field_invalid_str(ctx->errs, path, p->path, "must be an absolute path");
        }
    } else if (rule_enum(ctx->errs, path_child(ctx->arena, at, "pathType"), p->path_type, types)) {
        if (!str_starts(p->path, STR("/"))) {
            field_invalid_str(ctx->errs, path, p->path, "must be an absolute path");
        } else if (!plain_path(p->path)) {
            field_invalid_str(ctx->errs, path, p->path, "must not contain '//', '/./', '/../', '%%2f', '%%2F', or end in '/..' or '/.'");
        }
    }
    backend(ctx, path_child(ctx->arena, at, "backend"), &p->backend);
}

static void ingress(struct kind_ctx *ctx, const void *obj)
{
    const struct networking_v1_ingress *g = obj;
    if (g->spec.n_rules == 0 && !g->spec.default_backend) {
        field_invalid_json(ctx->errs, STR("spec"), STR("[]"), "either `defaultBackend` or `rules` must be specified");
    }
    if (g->spec.default_backend) {
        backend(ctx, STR("spec.defaultBackend"), g->spec.default_backend);
    }
    for (size_t i = 0; i < g->spec.n_rules; i++) {
        const struct networking_v1_ingress_rule *r = &g->spec.rules[i];
        struct str at = path_index(ctx->arena, STR("spec.rules"), i), host = path_child(ctx->arena, at, "host");
        bool v6;
        if (!str_empty(r->host)) {
            if (rule_is_ip(r->host, &v6)) {
                field_invalid_str(ctx->errs, host, r->host, "must be a DNS name, not an IP address");
            } else if (has(r->host, "*")) {
                (void)rule_name(ctx->errs, host, r->host, names_wildcard_subdomain);
            } else {
                (void)rule_name(ctx->errs, host, r->host, names_dns1123_subdomain);
            }
        }
        const struct networking_v1_http_ingress_rule_value *http = r->ingress_rule_value.http;
        if (http && http->n_paths == 0) {
            field_required(ctx->errs, path_child(ctx->arena, at, "http.paths"), "%s", "");
        }
        for (size_t j = 0; http && j < http->n_paths; j++) {
            ingress_path(ctx, path_index(ctx->arena, path_child(ctx->arena, at, "http.paths"), j), &http->paths[j]);
        }
    }
    if (!str_empty(g->spec.ingress_class_name)) {
        (void)rule_name(ctx->errs, STR("spec.ingressClassName"), g->spec.ingress_class_name, names_dns1123_subdomain);
    }
}

static void ingress_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    ingress(ctx, obj);
}

const struct kind_ops networking_ingress_ops = {
    .group = STR_INIT("networking.k8s.io"), .resource = STR_INIT("ingresses"), .flags = KIND_GENERATION, .validate_create = ingress,
    .validate_update = ingress_update, .cells = ingress_cells,
};

/* ---- IngressClass ---- */

static bool is_default(const struct meta_v1_object_meta *m, const char *key)
{
    for (size_t i = 0; i < m->n_annotations; i++) {
        if (str_eq_c(m->annotations[i].key, key)) {
            return str_eq_c(m->annotations[i].value, "true");
        }
    }
    return false;
}

static void ingress_class_cells(struct kind_cells *c, const void *obj)
{
    const struct networking_v1_ingress_class *g = obj;
    const struct networking_v1_ingress_class_parameters_reference *p = g->spec.parameters;
    cell_printf(c, "%.*s%s", STR_ARG(g->metadata.name), is_default(&g->metadata, "ingressclass.kubernetes.io/is-default-class") ? " (default)" : "");
    cell_str(c, g->spec.controller);
    if (p) {
        cell_printf(c, "%.*s%s%.*s/%.*s", STR_ARG(p->kind), str_empty(p->api_group) ? "" : ".", STR_ARG(p->api_group), STR_ARG(p->name));
    } else {
        cell_str(c, STR("<none>"));
    }
    cell_age(c, g->metadata.creation_timestamp);
}

static void ingress_class_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct networking_v1_ingress_class *g = obj, *old = old_obj;
    rule_immutable_str(ctx->errs, STR("spec.controller"), g->spec.controller, old->spec.controller);
}

const struct kind_ops networking_ingress_class_ops = {
    .group = STR_INIT("networking.k8s.io"), .resource = STR_INIT("ingressclasses"), .flags = KIND_GENERATION, .validate_update = ingress_class_update,
    .cells = ingress_class_cells,
};

/* ---- NetworkPolicy ---- */

static void policy_ports(struct kind_ctx *ctx, struct str at, const struct networking_v1_network_policy_port *ports, size_t n)
{
    static const struct str protocols[] = { STR_INIT("SCTP"), STR_INIT("TCP"), STR_INIT("UDP"), STR_NULL };
    for (size_t i = 0; i < n; i++) {
        const struct networking_v1_network_policy_port *p = &ports[i];
        struct str one = path_index(ctx->arena, at, i);
        if (!str_empty(p->protocol)) {
            (void)rule_enum(ctx->errs, path_child(ctx->arena, one, "protocol"), p->protocol, protocols);
        }
        if (p->port.kind != API_IOS_UNSET) {
            rule_port_or_name(ctx->errs, path_child(ctx->arena, one, "port"), &p->port);
        }
        if (!p->has_end_port) {
            continue;
        }
        struct str end = path_child(ctx->arena, one, "endPort");
        if (p->port.kind == API_IOS_UNSET) {
            field_required(ctx->errs, path_child(ctx->arena, one, "port"), "must be specified when `endPort` is specified");
        } else if (p->port.kind == API_IOS_STRING) {
            field_invalid_str(ctx->errs, end, p->port.s, "may not be specified when `port` is non-numeric");
        } else if (p->end_port < p->port.i) {
            field_invalid_int(ctx->errs, end, p->port.i, "must be greater than or equal to `port`");
        } else {
            rule_port(ctx->errs, end, p->end_port);
        }
    }
}

struct network {
    uint8_t base[16];
    unsigned bits;
    bool v6;
};

static bool network_of(struct str cidr, struct network *ret)
{
    char text[INET6_ADDRSTRLEN];
    struct str host, length;
    int64_t bits;
    *ret = (struct network){ 0 };
    if (!str_cut(cidr, '/', &host, &length) || !rule_is_ip(host, &ret->v6) || !str_to_cstr(host, text, sizeof(text)) ||
        !str_to_i64(length, &bits) || bits < 0 || bits > (ret->v6 ? 128 : 32)) {
        return false;
    }
    ret->bits = (unsigned)bits;
    return inet_pton(ret->v6 ? AF_INET6 : AF_INET, text, ret->base) == 1;
}

static bool strictly_inside(const struct network *inner, const struct network *outer)
{
    if (inner->v6 != outer->v6 || inner->bits <= outer->bits) {
        return false;
    }
    for (unsigned i = 0; i < outer->bits; i++) {
        if (((inner->base[i / 8] ^ outer->base[i / 8]) >> (7 - i % 8)) & 1) {
            return false;
        }
    }
    return true;
}

static void policy_peers(struct kind_ctx *ctx, struct str at, const struct networking_v1_network_policy_peer *peers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct networking_v1_network_policy_peer *p = &peers[i];
        struct str one = path_index(ctx->arena, at, i);
        if (p->pod_selector) {
            rule_label_selector(ctx->errs, path_child(ctx->arena, one, "podSelector"), p->pod_selector);
        }
        if (p->namespace_selector) {
            rule_label_selector(ctx->errs, path_child(ctx->arena, one, "namespaceSelector"), p->namespace_selector);
        }
        if (p->ip_block) {
            struct network outer, inner;
            struct str block = path_child(ctx->arena, one, "ipBlock"), cidr = path_child(ctx->arena, block, "cidr");
            bool valid = network_of(p->ip_block->cidr, &outer);
            if (str_empty(p->ip_block->cidr)) {
                field_required(ctx->errs, cidr, "%s", "");
            } else if (!valid) {
                field_invalid_str(ctx->errs, cidr, p->ip_block->cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
            }
            for (size_t j = 0; j < p->ip_block->n_except; j++) {
                struct str except = path_index(ctx->arena, path_child(ctx->arena, block, "except"), j), text = p->ip_block->except[j];
                if (!network_of(text, &inner)) {
                    field_invalid_str(ctx->errs, except, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
                } else if (valid && !strictly_inside(&inner, &outer)) {
                    field_invalid_str(ctx->errs, except, text, "must be a strict subset of `cidr`");
                }
            }
        }
        size_t n_kinds = (p->pod_selector || p->namespace_selector) + (p->ip_block != NULL);
        if (n_kinds == 0) {
            field_required(ctx->errs, one, "must specify a peer");
        } else if (n_kinds > 1) {
            field_forbidden(ctx->errs, one, "may not specify both ipBlock and another peer");
        }
    }
}

static void network_policy(struct kind_ctx *ctx, const void *obj)
{
    static const struct str types[] = { STR_INIT("Egress"), STR_INIT("Ingress"), STR_NULL };
    enum { MAX_TYPES = 2 };
    const struct networking_v1_network_policy *p = obj;
    rule_label_selector(ctx->errs, STR("spec.podSelector"), &p->spec.pod_selector);
    for (size_t i = 0; i < p->spec.n_ingress; i++) {
        struct str at = path_index(ctx->arena, STR("spec.ingress"), i);
        policy_ports(ctx, path_child(ctx->arena, at, "ports"), p->spec.ingress[i].ports, p->spec.ingress[i].n_ports);
        policy_peers(ctx, path_child(ctx->arena, at, "from"), p->spec.ingress[i].from, p->spec.ingress[i].n_from);
    }
    for (size_t i = 0; i < p->spec.n_egress; i++) {
        struct str at = path_index(ctx->arena, STR("spec.egress"), i);
        policy_ports(ctx, path_child(ctx->arena, at, "ports"), p->spec.egress[i].ports, p->spec.egress[i].n_ports);
        policy_peers(ctx, path_child(ctx->arena, at, "to"), p->spec.egress[i].to, p->spec.egress[i].n_to);
    }
    if (p->spec.n_policy_types > MAX_TYPES) {
        field_invalid_str(ctx->errs, STR("spec.policyTypes"), STR_EMPTY, "may not specify more than two policyTypes");
        return;
    }
    for (size_t i = 0; i < p->spec.n_policy_types; i++) {
        (void)rule_enum(ctx->errs, path_index(ctx->arena, STR("spec.policyTypes"), i), p->spec.policy_types[i], types);
    }
}

static void network_policy_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    network_policy(ctx, obj);
}

static void network_policy_cells(struct kind_cells *c, const void *obj)
{
    const struct networking_v1_network_policy *p = obj;
    cell_str(c, p->metadata.name);
    cell_selector(c, &p->spec.pod_selector);
    cell_age(c, p->metadata.creation_timestamp);
}

const struct kind_ops networking_network_policy_ops = {
    .group = STR_INIT("networking.k8s.io"), .resource = STR_INIT("networkpolicies"), .flags = KIND_GENERATION, .validate_create = network_policy,
    .validate_update = network_policy_update, .cells = network_policy_cells,
};

/* ---- ServiceCIDR, IPAddress ---- */

static void service_cidr_cells(struct kind_cells *c, const void *obj)
{
    const struct networking_v1_service_cidr *s = obj;
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < s->spec.n_cidrs; i++) {
        list = arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(list), i ? "," : "", STR_ARG(s->spec.cidrs[i]));
    }
    cell_str(c, s->metadata.name);
    cell_str(c, list);
    cell_age(c, s->metadata.creation_timestamp);
}

static void service_cidr(struct kind_ctx *ctx, const void *obj)
{
    const struct networking_v1_service_cidr *s = obj;
    struct network net[2];
    bool valid = true;
    if (s->spec.n_cidrs == 0) {
        field_required(ctx->errs, STR("spec.cidrs"), "at least one CIDR required");
        return;
    }
    if (s->spec.n_cidrs > 2) {
        field_invalid_json(ctx->errs, STR("spec"), STR("{}"), "may only hold up to 2 values");
        return;
    }
    for (size_t i = 0; i < s->spec.n_cidrs; i++) {
        if (!network_of(s->spec.cidrs[i], &net[i])) {
            valid = false;
            field_invalid_str(ctx->errs, path_index(ctx->arena, STR("spec.cidrs"), i), s->spec.cidrs[i],
                              "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
            continue;
        }
        for (unsigned b = net[i].bits; b < (net[i].v6 ? 128u : 32u); b++) {
            if (net[i].base[b / 8] >> (7 - b % 8) & 1) {
                valid = false;
                field_invalid_str(ctx->errs, path_index(ctx->arena, STR("spec.cidrs"), i), s->spec.cidrs[i],
                                  "must not have bits set beyond the prefix length");
                break;
            }
        }
    }
    if (valid && s->spec.n_cidrs == 2 && net[0].v6 == net[1].v6) {
        field_invalid_json(ctx->errs, STR("spec.cidrs"),
                           arena_printf(ctx->arena, "[\"%.*s\",\"%.*s\"]", STR_ARG(s->spec.cidrs[0]), STR_ARG(s->spec.cidrs[1])),
                           "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96");
    }
}

static void service_cidr_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct networking_v1_service_cidr *s = obj, *old = old_obj;
    bool same = s->spec.n_cidrs == old->spec.n_cidrs;
    for (size_t i = 0; same && i < s->spec.n_cidrs; i++) {
        same = str_eq(s->spec.cidrs[i], old->spec.cidrs[i]);
    }
    if (!same) {
        struct str list = STR_EMPTY;
        for (size_t i = 0; i < s->spec.n_cidrs; i++) {
            list = arena_printf(ctx->arena, "%.*s%s\"%.*s\"", STR_ARG(list), i ? "," : "", STR_ARG(s->spec.cidrs[i]));
        }
        field_invalid_json(ctx->errs, STR("spec.cidrs"), arena_printf(ctx->arena, "[%.*s]", STR_ARG(list)), "field is immutable");
    }
}

const struct kind_ops networking_service_cidr_ops = {
    .group = STR_INIT("networking.k8s.io"), .resource = STR_INIT("servicecidrs"), .validate_create = service_cidr,
    .validate_update = service_cidr_update, .cells = service_cidr_cells,
};

/* Three cells under two columns, as upstream has it. */
static void ip_address_cells(struct kind_cells *c, const void *obj)
{
    const struct networking_v1_ip_address *a = obj;
    const struct networking_v1_parent_reference *p = a->spec.parent_ref;
    cell_str(c, a->metadata.name);
    if (p) {
        struct str resource = kind_lower(c->arena, p->resource);
        cell_printf(c, "%.*s%s%.*s%s%.*s/%.*s", STR_ARG(resource), str_empty(p->group) ? "" : ".", STR_ARG(p->group),
                    str_empty(p->namespace) ? "" : "/", STR_ARG(p->namespace), STR_ARG(p->name));
    } else {
        cell_str(c, STR("<none>"));
    }
    cell_age(c, a->metadata.creation_timestamp);
}

const struct kind_ops networking_ip_address_ops = {
    .group = STR_INIT("networking.k8s.io"), .resource = STR_INIT("ipaddresses"), .name_rule = KIND_NAME_IP, .cells = ip_address_cells,
};
