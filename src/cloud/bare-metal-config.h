/* --cloud-config of the provider bare-metal: YAML or JSON, strict (docs/cloud.md shows it). */
#ifndef CLOUD_BARE_METAL_CONFIG_H
#define CLOUD_BARE_METAL_CONFIG_H

#include "api/gen/core_v1.h"
#include "base/arena.h"
#include "base/err.h"
#include "cloud/ip.h"

struct bare_metal_node {
    struct str name, provider_id, instance_type, zone, region;
    struct core_v1_node_address *addresses;
    size_t n_addresses;
    struct api_str_pair *labels;
    size_t n_labels;
    bool shutdown, absent;
};

struct bare_metal_range {
    struct ip first, last;
};

struct bare_metal_pool {
    struct str name;
    struct bare_metal_range *ranges; /* none of any pool overlaps another */
    size_t n_ranges;
    struct str *namespaces; /* none: every one */
    size_t n_namespaces;
    bool auto_assign;       /* otherwise only for Services that name the pool or an address of it */
    struct str *interfaces; /* where the agent speaks for its addresses; none: the link whose network they are of */
    size_t n_interfaces;
};

enum bare_metal_routes_by { BARE_METAL_ROUTES_AGENTS, BARE_METAL_ROUTES_ROUTER, BARE_METAL_ROUTES_NOBODY };

struct bare_metal_config {
    struct str region, class;
    bool only_listed; /* a Node that 'nodes' does not name does not exist */
    struct bare_metal_node *nodes; /* sorted by name */
    size_t n_nodes;
    struct bare_metal_pool *pools;
    size_t n_pools;
    enum bare_metal_routes_by routes_by;
    struct str lease_namespace;
    int64_t lease_ms;
};

/* Everything lives in 'a'. An absent or empty text gives the defaults. */
MUST_CHECK bool bare_metal_config_parse(struct arena *a, struct str text, struct bare_metal_config *ret, struct err *err);
/* The node's entry, or NULL. */
const struct bare_metal_node *bare_metal_config_node(const struct bare_metal_config *c, struct str name);
/* The pool that has the address, or NULL. */
const struct bare_metal_pool *bare_metal_config_pool(const struct bare_metal_config *c, const struct ip *ip);

#endif
