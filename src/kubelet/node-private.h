/* Shared by node.c, node-status.c, cni.c. */
#ifndef KUBELET_NODE_PRIVATE_H
#define KUBELET_NODE_PRIVATE_H

#include "kubelet/kubelet-private.h"

enum { NODE_MEMORY, NODE_DISK, NODE_PID, NODE_READY, NODE_CONDITIONS };

struct node_agent {
    struct kubelet *k;
    struct informers *informers;
    struct informer *informer;
    struct loop_timer status_timer, lease_timer;
    struct client_call *status_call, *lease_call, *create_call;
    struct runtime_call *version_call, *images_call, *health_call;
    unsigned looks_soon; /* for the network to be ready, since its configuration was written */
    bool network_ready;
    uint64_t born_ms;
    char runtime_version[128], network_message[256];
    struct arena images_arena;
    const struct core_v1_container_image *images;
    size_t n_images;
    char *sent;              /* status JSON without heartbeats, owned */
    uint64_t sent_ms;
    bool dirty;
    char states[NODE_CONDITIONS];
    struct api_time transitions[NODE_CONDITIONS];
    char cidr[128];
    bool lease_made;
    unsigned lease_failures;
};

/* Does the runtime answer, or did it until a moment ago (KUBELET_RUNTIME_GRACE_MS)? A runtime that restarts makes no node NotReady. */
bool node_runtime_lately(const struct node_agent *n);
/* The status as it is now; 'heartbeat' into its conditions. */
bool node_status(struct node_agent *n, struct arena *a, struct core_v1_node_status *ret);
MUST_CHECK bool cni_write(struct kubelet *k, struct str cidr, struct err *err);
/* Memory, CPU and pods that pods may use. */
void node_sizes(struct kubelet *k);

#endif
