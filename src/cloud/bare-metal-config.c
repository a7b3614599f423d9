#include "cloud/bare-metal-config.h"

#include <stdlib.h>

#include "api/yaml.h"
#include "base/flags.h"
#include "cloud/limits.h"

#define API_VERSION "bare-metal.coracle.local/v1"
#define KIND "BareMetalConfiguration"

struct reader {
    struct arena *a;
    struct err *err;
    struct bare_metal_config *config;
};

static bool wrong(struct reader *r, const char *path, const char *what)
{
    return err_set(r->err, ERR_INVALID, "--cloud-config: %s %s", path, what);
}

static bool no_memory(struct reader *r)
{
    return err_set(r->err, ERR_TOO_LARGE, "--cloud-config is too large");
}

static bool read_str(struct reader *r, const char *path, const struct val *v, struct str *ret)
{
    *ret = val_as_str(v);
    return ret->ptr != NULL || wrong(r, path, "must be a string");
}

static bool read_bool(struct reader *r, const char *path, const struct val *v, bool *ret)
{
    *ret = v->kind == VAL_BOOL && v->b;
    return v->kind == VAL_BOOL || wrong(r, path, "must be true or false");
}

static bool read_strs(struct reader *r, const char *path, const struct val *v, size_t max, struct str **ret, size_t *ret_n)
{
    if (v->kind != VAL_ARRAY || v->n > max) {
        return wrong(r, path, "must be a list of strings, and not too long");
    }
    *ret = arena_new_n(r->a, struct str, v->n + 1);
    *ret_n = v->n;
    if (!*ret) {
        return no_memory(r);
    }
    for (size_t i = 0; i < v->n; i++) {
        if (!read_str(r, path, &v->items[i], &(*ret)[i])) {
            return false;
        }
    }
    return true;
}

static bool unknown(struct reader *r, const char *path, struct str key)
{
    return err_set(r->err, ERR_INVALID, "--cloud-config: unknown field \"%s%s%.*s\"", path, path[0] ? "." : "", STR_ARG(key));
}

static bool is_object(struct reader *r, const char *path, const struct val *v)
{
    return v->kind == VAL_OBJECT || wrong(r, path, "must be a mapping");
}

/* ---- nodes ---- */

static bool read_addresses(struct reader *r, const struct val *v, struct bare_metal_node *n)
{
    static const char *const types[] = { "InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS" };
    if (v->kind != VAL_ARRAY || v->n > CLOUD_CONFIG_ADDRESSES) {
        return wrong(r, "nodes[].addresses", "must be a list, and not too long");
    }
    n->addresses = arena_new_n(r->a, struct core_v1_node_address, v->n + 1);
    if (!n->addresses) {
        return no_memory(r);
    }
    for (size_t i = 0; i < v->n; i++) {
        struct core_v1_node_address *at = &n->addresses[n->n_addresses++];
        bool known = false;
        struct ip ip;
        if (!is_object(r, "nodes[].addresses[]", &v->items[i])) {
            return false;
        }
        for (size_t k = 0; k < v->items[i].n; k++) {
            const struct val_member *m = &v->items[i].members[k];
            bool type = str_eq(m->key, STR("type"));
            if (!type && !str_eq(m->key, STR("address"))) {
                return unknown(r, "nodes[].addresses[]", m->key);
            }
            if (!read_str(r, "nodes[].addresses[]", &m->value, type ? &at->type : &at->address)) {
                return false;
            }
        }
        for (size_t k = 0; k < ARRAY_SIZE(types); k++) {
            known = known || str_eq_c(at->type, types[k]);
        }
        if (!known || !at->address.len || (str_ends(at->type, STR("IP")) && !ip_parse(at->address, &ip))) {
            return err_set(r->err, ERR_INVALID, "--cloud-config: node %.*s: \"%.*s\" is no address of type \"%.*s\"", STR_ARG(n->name),
                           STR_ARG(at->address), STR_ARG(at->type));
        }
    }
    return true;
}

static bool read_labels(struct reader *r, const struct val *v, struct bare_metal_node *n)
{
    if (!is_object(r, "nodes[].labels", v)) {
        return false;
    }
    n->labels = arena_new_n(r->a, struct api_str_pair, v->n + 1);
    if (!n->labels) {
        return no_memory(r);
    }
    for (size_t i = 0; i < v->n; i++) {
        struct api_str_pair *p = &n->labels[n->n_labels++];
        p->key = v->members[i].key;
        if (!read_str(r, "nodes[].labels", &v->members[i].value, &p->value)) {
            return false;
        }
    }
    return true;
}

static bool read_node(struct reader *r, const struct val *v, struct bare_metal_node *n)
{
    if (!is_object(r, "nodes[]", v)) {
        return false;
    }
    n->name = val_get_str(v, STR("name"));
    if (!n->name.len) {
        return wrong(r, "nodes[].name", "is required");
    }
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        struct str *text = str_eq(m->key, STR("name"))           ? &n->name
                           : str_eq(m->key, STR("providerID"))   ? &n->provider_id
                           : str_eq(m->key, STR("instanceType")) ? &n->instance_type
                           : str_eq(m->key, STR("zone"))         ? &n->zone
                           : str_eq(m->key, STR("region"))       ? &n->region
                                                                 : NULL;
        bool *flag = str_eq(m->key, STR("shutdown")) ? &n->shutdown : str_eq(m->key, STR("absent")) ? &n->absent : NULL;
        bool ok = text ? read_str(r, "nodes[]", &m->value, text)
                  : flag ? read_bool(r, "nodes[]", &m->value, flag)
                  : str_eq(m->key, STR("addresses")) ? read_addresses(r, &m->value, n)
                  : str_eq(m->key, STR("labels"))    ? read_labels(r, &m->value, n)
                                                     : unknown(r, "nodes[]", m->key);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static int by_name(const void *x, const void *y)
{
    const struct bare_metal_node *a = x, *b = y;
    return str_cmp(a->name, b->name);
}

static bool read_nodes(struct reader *r, const struct val *v)
{
    struct bare_metal_config *c = r->config;
    if (v->kind != VAL_ARRAY || v->n > CLOUD_CONFIG_NODES) {
        return wrong(r, "nodes", "must be a list, and not too long");
    }
    c->nodes = arena_new_n(r->a, struct bare_metal_node, v->n + 1);
    if (!c->nodes) {
        return no_memory(r);
    }
    for (size_t i = 0; i < v->n; i++) {
        if (!read_node(r, &v->items[i], &c->nodes[c->n_nodes++])) {
            return false;
        }
    }
    qsort(c->nodes, c->n_nodes, sizeof(*c->nodes), by_name);
    for (size_t i = 1; i < c->n_nodes; i++) {
        if (str_eq(c->nodes[i - 1].name, c->nodes[i].name)) {
            return err_set(r->err, ERR_INVALID, "--cloud-config: two nodes are named \"%.*s\"", STR_ARG(c->nodes[i].name));
        }
    }
    return true;
}

/* ---- pools ---- */

/* "192.0.2.0/28", "192.0.2.10-192.0.2.20", or one address. */
static bool parse_range(struct str text, struct bare_metal_range *ret)
{
    struct str from, to;
    struct ip_prefix p;
    if (str_find_char(text, '/') >= 0) {
        if (!ip_prefix_parse(text, false, &p)) {
            return false;
        }
        *ret = (struct bare_metal_range){ .first = p.net, .last = ip_prefix_last(&p) };
    } else {
        bool two = str_cut(text, '-', &from, &to);
        if (!ip_parse(str_trim(from), &ret->first) || !ip_parse(two ? str_trim(to) : from, &ret->last) ||
            ret->first.family != ret->last.family || ip_cmp(&ret->first, &ret->last) > 0) {
            return false;
        }
    }
    return ip_is_unicast(&ret->first) && ip_is_unicast(&ret->last);
}

static bool overlaps(const struct bare_metal_config *c, const struct bare_metal_range *x, const struct bare_metal_range *self)
{
    for (size_t i = 0; i < c->n_pools; i++) {
        for (size_t k = 0; k < c->pools[i].n_ranges; k++) {
            const struct bare_metal_range *y = &c->pools[i].ranges[k];
            if (y != self && y->first.family == x->first.family && ip_cmp(&y->first, &x->last) <= 0 && ip_cmp(&x->first, &y->last) <= 0) {
                return true;
            }
        }
    }
    return false;
}

static bool read_ranges(struct reader *r, const struct val *v, struct bare_metal_pool *p)
{
    struct str *texts;
    size_t n;
    if (!read_strs(r, "loadBalancer.pools[].addresses", v, CLOUD_CONFIG_RANGES, &texts, &n)) {
        return false;
    }
    p->ranges = arena_new_n(r->a, struct bare_metal_range, n + 1);
    if (!p->ranges) {
        return no_memory(r);
    }
    for (size_t i = 0; i < n; i++) {
        struct bare_metal_range *at = &p->ranges[p->n_ranges];
        if (!parse_range(texts[i], at)) {
            return err_set(r->err, ERR_INVALID, "--cloud-config: \"%.*s\" is no range of addresses: a network, FIRST-LAST, or an address",
                           STR_ARG(texts[i]));
        }
        p->n_ranges++;
        if (overlaps(r->config, at, at)) {
            return err_set(r->err, ERR_INVALID, "--cloud-config: \"%.*s\" overlaps another range", STR_ARG(texts[i]));
        }
    }
    return true;
}

static bool read_pool(struct reader *r, const struct val *v, struct bare_metal_pool *p)
{
    p->auto_assign = true;
    if (!is_object(r, "loadBalancer.pools[]", v)) {
        return false;
    }
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        bool ok = str_eq(m->key, STR("name"))         ? read_str(r, "loadBalancer.pools[].name", &m->value, &p->name)
                  : str_eq(m->key, STR("addresses"))  ? read_ranges(r, &m->value, p)
                  : str_eq(m->key, STR("namespaces")) ? read_strs(r, "loadBalancer.pools[].namespaces", &m->value, 1000, &p->namespaces, &p->n_namespaces)
                  : str_eq(m->key, STR("interfaces")) ? read_strs(r, "loadBalancer.pools[].interfaces", &m->value, CLOUD_POOL_INTERFACES, &p->interfaces, &p->n_interfaces)
                  : str_eq(m->key, STR("autoAssign")) ? read_bool(r, "loadBalancer.pools[].autoAssign", &m->value, &p->auto_assign)
                                                      : unknown(r, "loadBalancer.pools[]", m->key);
        if (!ok) {
            return false;
        }
    }
    for (struct bare_metal_pool *other = r->config->pools; other < p; other++) {
        if (str_eq(other->name, p->name)) {
            return err_set(r->err, ERR_INVALID, "--cloud-config: two pools are named \"%.*s\"", STR_ARG(p->name));
        }
    }
    return (p->name.len && p->n_ranges) || wrong(r, "loadBalancer.pools[]", "needs a name and addresses");
}

static bool read_pools(struct reader *r, const struct val *v)
{
    struct bare_metal_config *c = r->config;
    if (v->kind != VAL_ARRAY || v->n > CLOUD_CONFIG_POOLS) {
        return wrong(r, "loadBalancer.pools", "must be a list, and not too long");
    }
    c->pools = arena_new_n(r->a, struct bare_metal_pool, v->n + 1);
    if (!c->pools) {
        return no_memory(r);
    }
    for (size_t i = 0; i < v->n; i++) {
        if (!read_pool(r, &v->items[i], &c->pools[c->n_pools++])) {
            return false;
        }
    }
    return true;
}

static bool read_lease(struct reader *r, const struct val *v)
{
    struct bare_metal_config *c = r->config;
    struct str text;
    /* A Lease says whole seconds, and is renewed three times in its length. */
    return read_str(r, "loadBalancer.leaseDuration", v, &text) &&
           ((flags_parse_duration(text, &c->lease_ms) && c->lease_ms >= 2000 && c->lease_ms <= 300000 && c->lease_ms % 1000 == 0) ||
            wrong(r, "loadBalancer.leaseDuration", "must be whole seconds from 2s to 5m"));
}

static bool read_load_balancer(struct reader *r, const struct val *v)
{
    struct bare_metal_config *c = r->config;
    if (!is_object(r, "loadBalancer", v)) {
        return false;
    }
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        bool ok = str_eq(m->key, STR("class"))            ? read_str(r, "loadBalancer.class", &m->value, &c->class)
                  : str_eq(m->key, STR("leaseNamespace")) ? read_str(r, "loadBalancer.leaseNamespace", &m->value, &c->lease_namespace)
                  : str_eq(m->key, STR("leaseDuration"))  ? read_lease(r, &m->value)
                  : str_eq(m->key, STR("pools"))          ? read_pools(r, &m->value)
                                                          : unknown(r, "loadBalancer", m->key);
        if (!ok) {
            return false;
        }
    }
    return c->lease_namespace.len || wrong(r, "loadBalancer.leaseNamespace", "must not be empty");
}

/* ---- the whole ---- */

static bool read_routes(struct reader *r, const struct val *v)
{
    static const char *const names[] = { "agents", "router", "nobody" };
    if (!is_object(r, "routes", v)) {
        return false;
    }
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        struct str by;
        bool known = false;
        if (!str_eq(m->key, STR("by"))) {
            return unknown(r, "routes", m->key);
        }
        if (!read_str(r, "routes.by", &m->value, &by)) {
            return false;
        }
        for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
            if (str_eq_c(by, names[k])) {
                r->config->routes_by = (enum bare_metal_routes_by)k;
                known = true;
            }
        }
        if (!known) {
            return wrong(r, "routes.by", "must be \"agents\", \"router\" or \"nobody\"");
        }
    }
    return true;
}

static bool read_member(struct reader *r, const struct val_member *m)
{
    struct str text;
    if (str_eq(m->key, STR("apiVersion"))) {
        return read_str(r, "apiVersion", &m->value, &text) &&
               (str_eq(text, STR(API_VERSION)) || wrong(r, "apiVersion", "must be \"" API_VERSION "\""));
    }
    if (str_eq(m->key, STR("kind"))) {
        return read_str(r, "kind", &m->value, &text) && (str_eq(text, STR(KIND)) || wrong(r, "kind", "must be \"" KIND "\""));
    }
    return str_eq(m->key, STR("region"))            ? read_str(r, "region", &m->value, &r->config->region)
           : str_eq(m->key, STR("onlyListedNodes")) ? read_bool(r, "onlyListedNodes", &m->value, &r->config->only_listed)
           : str_eq(m->key, STR("nodes"))           ? read_nodes(r, &m->value)
           : str_eq(m->key, STR("loadBalancer"))    ? read_load_balancer(r, &m->value)
           : str_eq(m->key, STR("routes"))          ? read_routes(r, &m->value)
                                                    : unknown(r, "", m->key);
}

bool bare_metal_config_parse(struct arena *a, struct str text, struct bare_metal_config *ret, struct err *err)
{
    struct reader r = { .a = a, .err = err, .config = ret };
    struct val_dups dups;
    struct val v;
    *ret = (struct bare_metal_config){ .lease_namespace = STR("kube-system"), .lease_ms = 6000 };
    if (!text.len) {
        return true;
    }
    val_dups_init(&dups);
    if (!yaml_or_json_parse(a, text, &dups, &v, err)) {
        return err_wrap(err, "--cloud-config");
    }
    if (dups.n) {
        return err_set(err, ERR_INVALID, "--cloud-config: %.*s", STR_ARG(yaml_dups_message(a, &dups)));
    }
    if (v.kind != VAL_OBJECT || !val_get(&v, STR("apiVersion")) || !val_get(&v, STR("kind"))) {
        return err_set(err, ERR_INVALID, "--cloud-config: this is no " KIND " of " API_VERSION);
    }
    for (size_t i = 0; i < v.n; i++) {
        if (!read_member(&r, &v.members[i])) {
            return false;
        }
    }
    return true;
}

const struct bare_metal_node *bare_metal_config_node(const struct bare_metal_config *c, struct str name)
{
    const struct bare_metal_node key = { .name = name };
    return c->n_nodes ? bsearch(&key, c->nodes, c->n_nodes, sizeof(*c->nodes), by_name) : NULL;
}

const struct bare_metal_pool *bare_metal_config_pool(const struct bare_metal_config *c, const struct ip *ip)
{
    for (size_t i = 0; i < c->n_pools; i++) {
        for (size_t k = 0; k < c->pools[i].n_ranges; k++) {
            const struct bare_metal_range *r = &c->pools[i].ranges[k];
            if (r->first.family == ip->family && ip_cmp(&r->first, ip) <= 0 && ip_cmp(ip, &r->last) <= 0) {
                return &c->pools[i];
            }
        }
    }
    return NULL;
}
