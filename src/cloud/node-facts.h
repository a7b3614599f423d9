/* What several controllers ask about a Node, and how they change its taints. Pure. */
#ifndef CLOUD_NODE_FACTS_H
#define CLOUD_NODE_FACTS_H

#include "api/gen/core_v1.h"
#include "base/buf.h"

#define CLOUD_TAINT_UNINITIALIZED "node.cloudprovider.kubernetes.io/uninitialized"
#define CLOUD_TAINT_SHUTDOWN "node.cloudprovider.kubernetes.io/shutdown"
#define CLOUD_LABEL_EXCLUDE "node.kubernetes.io/exclude-from-external-load-balancers"

/* The condition, or NULL. */
const struct core_v1_node_condition *node_condition(const struct core_v1_node *n, const char *type);
bool node_is_ready(const struct core_v1_node *n);
bool node_has_taint(const struct core_v1_node *n, const char *key);
/* The first address of that type and, when 'family' is not 0, of that family (4 or 6); or absent. */
struct str node_address(const struct core_v1_node *n, const char *type, int family);
/* Appends "taints":[…] with all taints but those with the key 'drop' (may be NULL), and 'add' (may be NULL), NoSchedule. */
void node_write_taints(struct buf *b, const struct core_v1_node *n, const char *drop, const char *add);
/* Appends "addresses":[…]. */
void node_write_addresses(struct buf *b, const struct core_v1_node_address *list, size_t n);
bool node_same_addresses(const struct core_v1_node_address *a, size_t n_a, const struct core_v1_node_address *b, size_t n_b);

#endif
