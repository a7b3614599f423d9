/* node-ipam: gives every Node a range of the cluster's pod addresses (--allocate-node-cidrs). IPv4.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "base/log.h"
#include "controllers/controllers.h"

struct state {
    struct controller *controller;
    const struct api_resource *nodes_resource;
    struct informer *nodes;
    uint32_t base, cluster_mask_bits; /* of --cluster-cidr, host byte order */
    bool on;
};

static bool parse_cidr(struct str text, uint32_t *ret_base, uint32_t *ret_bits)
{
    struct str ip, bits;
    char cip[INET_ADDRSTRLEN];
    struct in_addr addr;
    int32_t n;
    if (!str_cut(text, '/', &ip, &bits) || !str_to_cstr(ip, cip, sizeof(cip)) ||
        inet_pton(AF_INET, cip, &addr) != 1 || !str_to_i32(bits, &n) || n < 0 || n > 32) {
        return false;
    }
    uint32_t mask = n ? ~0u << (32 - n) : 0;
    *ret_base = ntohl(addr.s_addr) & mask;
    *ret_bits = (uint32_t)n;
    return true;
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "metadata.deletionTimestamp", "spec.podCIDR",
                                          "spec.podCIDRs", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->nodes_resource = api_resource_find(STR(""), STR("v1"), STR("nodes"));
    struct informer_spec nodes = { .resource = s->nodes_resource, .fields = fields };
    s->nodes = controller_watch(c, informers, &nodes);
    if (controllers_config.allocate_node_cidrs) {
        s->on = parse_cidr(controllers_config.cluster_cidr, &s->base, &s->cluster_mask_bits) &&
                controllers_config.node_cidr_mask >= (int32_t)s->cluster_mask_bits &&
                controllers_config.node_cidr_mask <= 30;
        if (!s->on) {
            log_error("node-ipam: --cluster-cidr %.*s does not hold ranges of /%d: no node gets "
                      "addresses",
                      STR_ARG(controllers_config.cluster_cidr), controllers_config.node_cidr_mask);
        }
    }
    return s;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_node *node = informer_get(s->nodes, STR_NULL, key), *other;
    if (!s->on || !node || node->spec.pod_cidr.len || node->metadata.deletion_timestamp.set) {
        return;
    }
    uint32_t bits = (uint32_t)controllers_config.node_cidr_mask,
             n = 1u << MIN(bits - s->cluster_mask_bits, 20u);
    uint8_t *used = arena_new_n(act_arena(a), uint8_t, n);
    if (!used) {
        abort();
    }
    for (size_t pos = 0; (other = informer_next(s->nodes, &pos));) {
        uint32_t base, other_bits;
        if (other->spec.pod_cidr.len && parse_cidr(other->spec.pod_cidr, &base, &other_bits) &&
            base >= s->base) {
            uint32_t from = (base - s->base) >> (32 - bits);
            uint32_t many = other_bits < bits ? 1u << (bits - other_bits) : 1;
            for (uint32_t i = from; i < n && i < from + many; i++) {
                used[i] = 1;
            }
        }
    }
    uint32_t at = 0;
    while (at < n && used[at]) {
        at++;
    }
    if (at == n) {
        act_event(a, s->nodes_resource, node, "Normal", "CIDRNotAvailable",
                  "Node %.*s status is now: CIDRNotAvailable", STR_ARG(key));
        act_fail(a, "no range is free in %.*s", STR_ARG(controllers_config.cluster_cidr));
        return;
    }
    uint32_t base = s->base + (at << (32 - bits));
    struct str patch = arena_printf(
        act_arena(a),
        "{\"spec\":{\"podCIDR\":\"%u.%u.%u.%u/%u\",\"podCIDRs\":[\"%u.%u.%u.%u/%u\"]}}", base >> 24,
        base >> 16 & 255, base >> 8 & 255, base & 255, bits, base >> 24, base >> 16 & 255,
        base >> 8 & 255, base & 255, bits);
    act_patch(a, s->nodes_resource, STR_NULL, key, NULL, CLIENT_PATCH_STRATEGIC, patch);
}

const struct controller_ops controller_node_ipam = {
    .name = "node-ipam",
    .service_account = "node-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
    .concurrency = 1, /* two passes at once would take the same range */
};
