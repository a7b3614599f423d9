/* What the roles of a cluster made of namespaces (role.c) and those of a host that stays (host-role.c) share. */
#ifndef CLUSTER_ROLE_PRIVATE_H
#define CLUSTER_ROLE_PRIVATE_H

#include "cluster/role.h"

struct role_maker {
    const struct cluster_config *c; /* NULL: a host that stays */
    const struct machine *machine;
    struct arena *a;
    unsigned node;
    char node_name[256], node_ip[64];
    const char *state; /* <state> */
    const char *conf;  /* the node's configuration: <state>/nodes/node-N/conf, or <state>/conf */
    const char *volatile_dir;
    unsigned port; /* of the API */
    const char *pod_cidr, *service_cidr, *domain, *cluster_name;
    bool elect; /* there may be several of a program: a leader is elected */
};

/* Appends one word. */
PRINTF_LIKE(3, 4) void role_word(struct role *r, struct arena *a, const char *fmt, ...);
PRINTF_LIKE(2, 3) const char *role_text(struct arena *a, const char *fmt, ...);
/* One of our own programs, as the state folder's copy of this executable. */
void role_start(const struct role_maker *m, struct role *r, const char *name);
/* Without its store, and without its listening sockets. */
void role_apiserver(const struct role_maker *m, struct role *r);
void role_controller_manager(const struct role_maker *m, struct role *r);
void role_scheduler(const struct role_maker *m, struct role *r);
/* containerd, and what loads the images that a cluster is born with as soon as it answers at 'socket'. */
void role_containerd(const struct role_maker *m, struct role *r, const char *socket);
void role_images(const struct role_maker *m, struct role *r, const char *socket);
/* Without its runtime, and without its own certificate. */
void role_kubelet(const struct role_maker *m, struct role *r);
/* With the credentials in <conf>/'kubeconfig'. */
void role_proxy(const struct role_maker *m, struct role *r, const char *kubeconfig);

#endif
