/*
 * Which nodes a pod may be on by its own word: spec.nodeSelector and required node affinity (Kubernetes documentation, "Assigning Pods
 * to Nodes"). One rule for the scheduler and for the controller of DaemonSets.
 */
#ifndef API_NODE_AFFINITY_H
#define API_NODE_AFFINITY_H

#include "api/gen/core_v1.h"

bool node_affinity_matches(const struct core_v1_pod_spec *spec, const struct core_v1_node *node);
/* Any of its terms. */
bool node_selector_matches(const struct core_v1_node_selector *s, const struct core_v1_node *node);
/* A term that says nothing matches nothing. */
bool node_selector_term_matches(const struct core_v1_node_selector_term *t, const struct core_v1_node *node);

#endif
