/*
 * kubelet-serving-csr-approving-controller, our own: approves a node's request for a serving
 * certificate when everything it names is the node's. Kubernetes leaves that to an approver of the
 * operator's, because nodes write their own addresses; so it is off unless
 * --controllers names it, and looks at more than the Node:
 *   - the node itself asks: its user, in the group of nodes, and the certificate's common name is
 * that user
 *   - every DNS name and IP address is one of status.addresses of its Node, which exists
 *   - no other Node has that address, so no node becomes another
 *   - none is the control plane's or everybody's: "kubernetes", names below it, Service names,
 * "localhost", loopback, unspecified and multicast addresses, the ranges of Services and pods What
 * does not hold leaves the request pending, for a person to decide; it is looked at again when
 * Nodes change.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "base/log.h"
#include "base/map.h"
#include "controllers/csr-facts.h"
#include "controllers/signer.h"

struct state {
    struct controller *controller;
    struct informer *requests, *nodes;
    struct map told; /* name of a request whose reason to wait was logged -> anything */
};

static bool is_ours(const csr_t *csr)
{
    return !csr_is_decided(csr) &&
           str_eq(csr->spec.signer_name, signer_name(SIGNER_KUBELET_SERVING));
}

static void on_node(void *data, const void *old UNUSED, const void *obj UNUSED)
{
    struct state *s = data;
    const csr_t *csr;
    for (size_t pos = 0; (csr = informer_next(s->requests, &pos));) {
        if (is_ours(csr)) {
            controller_enqueue(s->controller, csr->metadata.name);
        }
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const node_fields[] = { "status.addresses", "metadata.deletionTimestamp",
                                               NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    map_init(&s->told);
    s->requests = csr_informer(c, informers);
    struct informer_spec nodes = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")),
                                   .fields = node_fields };
    s->nodes = informers_get(informers, &nodes, on_node, s);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    map_deinit(&s->told);
    free(s);
}

/* ---- addresses ---- */

struct ip {
    int family; /* AF_UNSPEC: none */
    uint8_t bytes[16];
};

static struct ip ip_of(struct str text)
{
    struct ip ip = { .family = AF_UNSPEC };
    char s[INET6_ADDRSTRLEN];
    if (str_to_cstr(text, s, sizeof(s))) {
        ip.family = inet_pton(AF_INET, s, ip.bytes) == 1    ? AF_INET
                    : inet_pton(AF_INET6, s, ip.bytes) == 1 ? AF_INET6
                                                            : AF_UNSPEC;
    }
    return ip;
}

static bool same_address(struct str a, struct str b)
{
    struct ip x = ip_of(a), y = ip_of(b);
    if (x.family == AF_UNSPEC || y.family == AF_UNSPEC) {
        return x.family == y.family && str_eq_nocase(a, b);
    }
    return x.family == y.family && memcmp(x.bytes, y.bytes, x.family == AF_INET ? 4 : 16) == 0;
}

static bool has_address(const struct core_v1_node *node, struct str address)
{
    for (size_t i = 0; i < node->status.n_addresses; i++) {
        if (same_address(node->status.addresses[i].address, address)) {
            return true;
        }
    }
    return false;
}

static bool in_range(const struct ip *ip, struct str cidr)
{
    struct str base_text, bits_text;
    uint64_t bits;
    if (!str_cut(cidr, '/', &base_text, &bits_text) || !str_to_u64(bits_text, &bits)) {
        return false;
    }
    struct ip base = ip_of(base_text);
    if (base.family != ip->family || bits > (base.family == AF_INET ? 32 : 128)) {
        return false;
    }
    for (size_t i = 0; i < bits; i++) {
        if ((base.bytes[i / 8] ^ ip->bytes[i / 8]) & (0x80 >> (i % 8))) {
            return false;
        }
    }
    return true;
}

static bool in_ranges(const struct ip *ip, struct str ranges)
{
    struct str rest = ranges, one;
    while (!str_empty(rest) && str_split(&rest, ',', &one)) {
        if (in_range(ip, str_trim(one))) {
            return true;
        }
    }
    return false;
}

static bool is_everybodys_ip(const struct ip *ip)
{
    static const char *const ranges =
        "127.0.0.0/8,0.0.0.0/8,224.0.0.0/4,::/128,::1/128,ff00::/8,::ffff:0:0/96";
    return in_ranges(ip, str_c(ranges)) || in_ranges(ip, controllers_config.service_cidrs) ||
           in_ranges(ip, controllers_config.cluster_cidr);
}

static bool is_everybodys_name(struct str name)
{
    static const char *const ends[] = { ".svc", ".cluster.local", ".localhost", "." };
    char lower[256];
    if (!str_to_cstr(name, lower, sizeof(lower)) || str_find_char(name, '*') >= 0) {
        return true;
    }
    for (char *p = lower; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    }
    struct str s = str_c(lower);
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        if (str_ends(s, str_c(ends[i]))) {
            return true;
        }
    }
    return str_eq_c(s, "kubernetes") || str_starts(s, STR("kubernetes.")) ||
           str_eq_c(s, "localhost") || str_find(s, STR(".svc.")) >= 0;
}

/* ---- the decision ---- */

static bool check_name(struct state *s, const struct core_v1_node *node, struct str name,
                       bool is_ip, struct err *err)
{
    const struct core_v1_node *other;
    struct ip ip = ip_of(name);
    if (is_ip ? ip.family == AF_UNSPEC || is_everybodys_ip(&ip)
              : ip.family != AF_UNSPEC || is_everybodys_name(name)) {
        return err_set(err, ERR_FORBIDDEN, "\"%.*s\" belongs to no single node", STR_ARG(name));
    }
    if (!has_address(node, name)) {
        return err_set(err, ERR_FORBIDDEN, "\"%.*s\" is not an address of the node", STR_ARG(name));
    }
    for (size_t pos = 0; (other = informer_next(s->nodes, &pos));) {
        if (!str_eq(other->metadata.name, node->metadata.name) &&
            (has_address(other, name) || (!is_ip && str_eq_nocase(other->metadata.name, name)))) {
            return err_set(err, ERR_FORBIDDEN, "\"%.*s\" is an address of node \"%.*s\" too",
                           STR_ARG(name), STR_ARG(other->metadata.name));
        }
    }
    return true;
}

static bool check(struct state *s, const csr_t *csr, const struct pki_csr *request, struct err *err)
{
    struct str name = csr_node(csr);
    const struct core_v1_node *node = name.len ? informer_get(s->nodes, STR_NULL, name) : NULL;
    if (!name.len || !str_eq(csr->spec.username, request->names.cn)) {
        return err_set(err, ERR_FORBIDDEN, "it is asked by \"%.*s\" for \"%.*s\"",
                       STR_ARG(csr->spec.username), STR_ARG(request->names.cn));
    }
    if (!node || node->metadata.deletion_timestamp.set) {
        return err_set(err, ERR_FORBIDDEN, "there is no node \"%.*s\"", STR_ARG(name));
    }
    for (size_t i = 0; i < request->names.n_dns; i++) {
        if (!check_name(s, node, request->names.dns[i], false, err)) {
            return false;
        }
    }
    for (size_t i = 0; i < request->names.n_ips; i++) {
        if (!check_name(s, node, request->names.ips[i], true, err)) {
            return false;
        }
    }
    return true;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const csr_t *csr = informer_get(s->requests, STR_NULL, key);
    struct pki_csr request;
    struct err err;
    if (!csr || !is_ours(csr)) {
        (void)map_remove(&s->told, key);
        return;
    }
    if (!pki_csr_read(csr->spec.request, act_arena(a), &request, &err)) {
        return;
    }
    if (signer_accepts(SIGNER_KUBELET_SERVING, &request, csr->spec.usages, csr->spec.n_usages,
                       &err) &&
        check(s, csr, &request, &err)) {
        csr_add_condition(a, csr, "approval", "Approved", "AutoApproved",
                          STR("Auto approving kubelet serving certificate: every name is an "
                              "address of the requesting node alone."));
    } else if (!map_put(&s->told, key, s)) {
        log_warning("request %.*s for a kubelet's serving certificate stays pending: %s",
                    STR_ARG(key), err.msg);
    }
    pki_csr_deinit(&request);
}

const struct controller_ops controller_kubelet_serving_approving = {
    .name = "kubelet-serving-csr-approving-controller",
    .service_account = "kubelet-serving-csr-approver",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .off_by_default = true,
};
