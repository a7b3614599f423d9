/*
 * What the Node authoriser knows: which node runs which pods, and what these pods refer to (Kubernetes documentation, "Using Node
 * Authorization"). Fed with pods, persistent volumes and volume attachments as they change; one thread at a time.
 *
 *   node <- pod -> secrets, config maps, claims, service accounts, resource claims
 *   claim -> persistent volume -> secrets of its driver
 *   node <- volume attachment
 *
 * A mirror pod (made by a node for a static pod) contributes its claim to the node but nothing it refers to: otherwise a node could
 * read any secret by naming it.
 */
#ifndef AUTH_NODE_GRAPH_H
#define AUTH_NODE_GRAPH_H

#include "base/arena.h"

struct core_v1_pod;
struct core_v1_persistent_volume;
struct storage_v1_volume_attachment;
struct node_graph;

enum node_ref {
    NODE_REF_SECRET,
    NODE_REF_CONFIG_MAP,
    NODE_REF_CLAIM, /* PersistentVolumeClaim */
    NODE_REF_SERVICE_ACCOUNT,
    NODE_REF_RESOURCE_CLAIM,
    NODE_REF_MAX
};

struct node_graph *node_graph_new(void);
struct node_graph *node_graph_free(struct node_graph *g);

/* Put replaces; a pod without spec.nodeName is forgotten. */
void node_graph_put_pod(struct node_graph *g, const struct core_v1_pod *pod);
void node_graph_delete_pod(struct node_graph *g, struct str namespace_, struct str name);
void node_graph_put_volume(struct node_graph *g, const struct core_v1_persistent_volume *pv);
void node_graph_delete_volume(struct node_graph *g, struct str name);
void node_graph_put_attachment(struct node_graph *g, const struct storage_v1_volume_attachment *va);
void node_graph_delete_attachment(struct node_graph *g, struct str name);

/* Forgets every object of a kind: before all of them are put again, because deletions may have been missed. */
void node_graph_forget_pods(struct node_graph *g);
void node_graph_forget_volumes(struct node_graph *g);
void node_graph_forget_attachments(struct node_graph *g);

/* Is there a way from the object to the node? */
bool node_graph_refers(const struct node_graph *g, struct str node, enum node_ref kind, struct str namespace_, struct str name);
bool node_graph_has_pod(const struct node_graph *g, struct str node, struct str namespace_, struct str name);
bool node_graph_has_volume(const struct node_graph *g, struct str node, struct str name);
bool node_graph_has_attachment(const struct node_graph *g, struct str node, struct str name);

#endif
