/* The label of nodes that run the control plane: a node may not give it to itself (NodeRestriction), so the supervisor does. */
#ifndef CLUSTER_MASTER_LABEL_H
#define CLUSTER_MASTER_LABEL_H

#include "api/gen/core_v1.h"
#include "client/client.h"

/* Labels the node when it has no such label; a failure is logged, and tried again with the node's next change. */
void master_label_put(struct client *c, const struct core_v1_node *node);

#endif
