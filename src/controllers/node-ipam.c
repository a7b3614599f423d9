/* node-ipam: gives every Node a range of the cluster's pod addresses (--allocate-node-cidrs). IPv4.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "base/log.h"
#include "controllers/controllers.h"
#include "controllers/setup.h"

struct state {
    struct controller *controller;
    const struct api_resource *nodes_resource;
    struct informer *nodes;
    uint32_t base;  /* of --cluster-cidr, host byte order */
    uint16_t *used; /* by range: nodes that have it; NULL: there is nothing to give */
    uint32_t n, first_free; /* ranges; none before that one is free */
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

/* Counts the ranges of a node in or out. */
static void count(struct state *s, const struct core_v1_node *node, int by)
{
    uint32_t base, bits, mask = (uint32_t)controllers_config.node_cidr_mask;
    if (!node || !node->spec.pod_cidr.len || !parse_cidr(node->spec.pod_cidr, &base, &bits) ||
        base < s->base) {
        return;
    }
    uint32_t from = (base - s->base) >> (32 - mask);
    uint32_t many = bits < mask ? 1u << MIN(mask - bits, 20u) : 1;
    for (uint32_t i = from; i < s->n && i - from < many; i++) {
        s->used[i] = (uint16_t)(s->used[i] + by);
        s->first_free = by < 0 ? MIN(s->first_free, i) : s->first_free;
    }
}

static void on_node(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    if (s->used) {
        count(s, obj, 1);
        count(s, old, -1);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "metadata.deletionTimestamp", "spec.podCIDR",
                                          "spec.podCIDRs", NULL };
    struct state *s = state_new(sizeof(*s));
    uint32_t cluster_bits;
    s->controller = c;
    s->nodes = informer_of_keys(c, informers, "", "nodes", fields);
    (void)informer_of(informers, "", "nodes", fields, on_node, s);
    s->nodes_resource = informer_resource(s->nodes);
    if (controllers_config.allocate_node_cidrs) {
        int32_t mask = controllers_config.node_cidr_mask;
        if (parse_cidr(controllers_config.cluster_cidr, &s->base, &cluster_bits) &&
            mask >= (int32_t)cluster_bits && mask <= 30) {
            s->n = 1u << MIN((uint32_t)mask - cluster_bits, 20u);
            s->used = calloc(s->n, sizeof(*s->used));
            if (!s->used) {
                abort();
            }
        } else {
            log_error("node-ipam: --cluster-cidr %.*s does not hold ranges of /%d: no node gets "
                      "addresses",
                      STR_ARG(controllers_config.cluster_cidr), mask);
        }
    }
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    free(s->used);
    free(s);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_node *node = informer_get(s->nodes, STR_NULL, key);
    if (!s->used || !node || node->spec.pod_cidr.len || node->metadata.deletion_timestamp.set) {
        return;
    }
    uint32_t bits = (uint32_t)controllers_config.node_cidr_mask;
    while (s->first_free < s->n && s->used[s->first_free]) {
        s->first_free++;
    }
    uint32_t at = s->first_free;
    if (at == s->n) {
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
    .teardown = teardown,
    .concurrency = 1, /* two passes at once would take the same range */
};
