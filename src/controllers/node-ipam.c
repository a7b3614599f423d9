/* node-ipam: gives every Node a range of the cluster's pod addresses (--allocate-node-cidrs), of each family that --cluster-cidr has.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "base/log.h"
#include "controllers/controllers.h"
#include "controllers/setup.h"

enum { MAX_INDEX_BITS = 20 };

/* One range of --cluster-cidr, cut into ranges of nodes. */
struct family {
    bool v6;
    uint8_t base[16]; /* IPv4 in the first four bytes */
    uint32_t bits;    /* of the cluster's range */
    uint32_t mask;    /* of a node's range */
    uint16_t *used;   /* by range: nodes that have it */
    uint32_t n, first_free; /* ranges; none before that one is free */
};

struct state {
    struct controller *controller;
    const struct api_resource *nodes_resource;
    struct informer *nodes;
    struct family families[2];
    size_t n_families; /* 0: there is nothing to give */
};

static bool parse_cidr(struct str text, bool *ret_v6, uint8_t base[16], uint32_t *ret_bits)
{
    struct str ip, bits;
    char cip[INET6_ADDRSTRLEN];
    int32_t n;
    if (!str_cut(text, '/', &ip, &bits) || !str_to_cstr(ip, cip, sizeof(cip))) {
        return false;
    }
    *ret_v6 = str_find_char(ip, ':') >= 0;
    memset(base, 0, 16);
    int32_t width = *ret_v6 ? 128 : 32;
    if (inet_pton(*ret_v6 ? AF_INET6 : AF_INET, cip, base) != 1 || !str_to_i32(bits, &n) || n < 0 || n > width) {
        return false;
    }
    for (int32_t i = n; i < width; i++) {
        base[i / 8] &= (uint8_t)~(0x80u >> (i % 8));
    }
    *ret_bits = (uint32_t)n;
    return true;
}

/* Is the address in the cluster's range? Which range of a node, then: the bits between the two prefixes. */
static bool index_of(const struct family *f, const uint8_t ip[16], uint32_t *ret)
{
    uint32_t index = 0;
    for (uint32_t i = 0; i < f->bits; i++) {
        if ((ip[i / 8] ^ f->base[i / 8]) >> (7 - i % 8) & 1) {
            return false;
        }
    }
    for (uint32_t i = f->bits; i < f->mask; i++) {
        index = index << 1 | (ip[i / 8] >> (7 - i % 8) & 1);
    }
    *ret = index;
    return index < f->n;
}

static struct str range_text(struct arena *a, const struct family *f, uint32_t index)
{
    uint8_t ip[16];
    char text[INET6_ADDRSTRLEN];
    memcpy(ip, f->base, sizeof(ip));
    for (uint32_t i = f->mask; index && i-- > f->bits; index >>= 1) {
        if (index & 1) {
            ip[i / 8] |= (uint8_t)(0x80u >> (i % 8));
        }
    }
    return arena_printf(a, "%s/%u", inet_ntop(f->v6 ? AF_INET6 : AF_INET, ip, text, sizeof(text)), f->mask);
}

static void count_range(struct state *s, struct str range, int by)
{
    uint8_t base[16];
    uint32_t bits, from;
    bool v6;
    if (!parse_cidr(range, &v6, base, &bits)) {
        return;
    }
    for (size_t k = 0; k < s->n_families; k++) {
        struct family *f = &s->families[k];
        if (f->v6 != v6 || !index_of(f, base, &from)) {
            continue;
        }
        uint32_t many = bits < f->mask ? 1u << MIN(f->mask - bits, (uint32_t)MAX_INDEX_BITS) : 1;
        for (uint32_t i = from; i < f->n && i - from < many; i++) {
            f->used[i] = (uint16_t)(f->used[i] + by);
            f->first_free = by < 0 ? MIN(f->first_free, i) : f->first_free;
        }
    }
}

/* Counts the ranges of a node in or out. */
static void count(struct state *s, const struct core_v1_node *node, int by)
{
    for (size_t i = 0; node && i < node->spec.n_pod_cidrs; i++) {
        count_range(s, node->spec.pod_cidrs[i], by);
    }
    if (node && node->spec.n_pod_cidrs == 0 && node->spec.pod_cidr.len) {
        count_range(s, node->spec.pod_cidr, by);
    }
}

static void on_node(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    if (s->n_families) {
        count(s, obj, 1);
        count(s, old, -1);
    }
}

/* The sizes of --node-cidr-mask-size and its two sisters (0: not given), upstream's defaults else. */
static uint32_t mask_of(bool v6)
{
    int32_t own = v6 ? controllers_config.node_cidr_mask_v6 : controllers_config.node_cidr_mask_v4;
    int32_t mask = own ? own : controllers_config.node_cidr_mask ? controllers_config.node_cidr_mask : v6 ? 64 : 24;
    return mask < 0 ? 0 : (uint32_t)mask;
}

static bool add_family(struct state *s, struct str cidr)
{
    struct family f = { 0 };
    if (s->n_families == ARRAY_SIZE(s->families) || !parse_cidr(cidr, &f.v6, f.base, &f.bits)) {
        return false;
    }
    f.mask = mask_of(f.v6);
    if (f.mask < f.bits || f.mask > (f.v6 ? 126 : 30) || (s->n_families && s->families[0].v6 == f.v6)) {
        return false;
    }
    f.n = 1u << MIN(f.mask - f.bits, (uint32_t)MAX_INDEX_BITS);
    f.used = calloc(f.n, sizeof(*f.used));
    if (!f.used) {
        abort();
    }
    s->families[s->n_families++] = f;
    return true;
}

static void teardown(void *state)
{
    struct state *s = state;
    for (size_t i = 0; i < s->n_families; i++) {
        free(s->families[i].used);
    }
    free(s);
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "metadata.deletionTimestamp", "spec.podCIDR",
                                          "spec.podCIDRs", NULL };
    struct state *s = state_new(sizeof(*s));
    struct str rest = controllers_config.cluster_cidr, cidr;
    s->controller = c;
    s->nodes = informer_of_keys(c, informers, "", "nodes", fields);
    (void)informer_of(informers, "", "nodes", fields, on_node, s);
    s->nodes_resource = informer_resource(s->nodes);
    while (controllers_config.allocate_node_cidrs && str_split(&rest, ',', &cidr)) {
        if (!add_family(s, cidr)) {
            log_error("node-ipam: --cluster-cidr %.*s does not hold ranges of the nodes' size: no node "
                      "gets addresses",
                      STR_ARG(controllers_config.cluster_cidr));
            for (size_t i = 0; i < s->n_families; i++) {
                free(s->families[i].used);
            }
            s->n_families = 0;
            break;
        }
    }
    return s;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_node *node = informer_get(s->nodes, STR_NULL, key);
    struct str ranges[2];
    if (!s->n_families || !node || node->spec.pod_cidr.len || node->metadata.deletion_timestamp.set) {
        return;
    }
    for (size_t i = 0; i < s->n_families; i++) {
        struct family *f = &s->families[i];
        while (f->first_free < f->n && f->used[f->first_free]) {
            f->first_free++;
        }
        if (f->first_free == f->n) {
            act_event(a, s->nodes_resource, node, "Normal", "CIDRNotAvailable",
                      "Node %.*s status is now: CIDRNotAvailable", STR_ARG(key));
            act_fail(a, "no range is free in %.*s", STR_ARG(controllers_config.cluster_cidr));
            return;
        }
        ranges[i] = range_text(act_arena(a), f, f->first_free);
    }
    struct str second = s->n_families > 1 ? arena_printf(act_arena(a), ",\"%.*s\"", STR_ARG(ranges[1])) : STR_EMPTY;
    struct str patch = arena_printf(act_arena(a), "{\"spec\":{\"podCIDR\":\"%.*s\",\"podCIDRs\":[\"%.*s\"%.*s]}}", STR_ARG(ranges[0]),
                                    STR_ARG(ranges[0]), STR_ARG(second));
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
