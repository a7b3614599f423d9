/*
 * Which programs a cluster runs, where, and with which flags: a pure function of its configuration. To add a program: one
 * more function in role.c and a line in its table.
 */
#ifndef CLUSTER_ROLE_H
#define CLUSTER_ROLE_H

#include "base/arena.h"
#include "cluster/config.h"
#include "cluster/confine.h"
#include "cluster/machine.h"

#define ROLE_MAX_WORDS 64
#define CLUSTER_MAX_ROLES (5 * CLUSTER_MAX_NODES + 4 * CLUSTER_MAX_MASTERS + 4 + CLUSTER_MAX_PUBLISHED)

/* The control plane runs without privileges: each program as a user of its own that owns only its credentials (and the store).
 * The numbers are above what distributions hand out. */
enum role_user { ROLE_ROOT = 0, ROLE_UID_APISERVER = 64201, ROLE_UID_CONTROLLER_MANAGER, ROLE_UID_SCHEDULER, ROLE_UID_ETCD, ROLE_UID_TUNNEL };

/* In node-1's /run: where the API server logs what may roll back on power loss. The supervisor makes it. */
#define ROLE_VOLATILE_DIR "/run/kube-apiserver"

/* In a master's /var: its member's data. The supervisor makes it. */
#define ROLE_ETCD_DIR "/var/lib/etcd"
#define CLUSTER_ETCD_PORT 2379
#define CLUSTER_ETCD_PEER_PORT 2380

/* Which listening sockets a program is handed, as descriptors 3 and on: the API's of the host and of node-1, or a published port's
 * of the host. The supervisor keeps them open, so that connections wait while the program restarts. */
enum role_socket { ROLE_NO_SOCKET, ROLE_API_SOCKETS, ROLE_PUBLISHED_SOCKET };

struct role {
    const char *name; /* "kube-apiserver"; also its log's name */
    unsigned node; /* 0: of a host that stays */
    const char *program; /* absolute path, inside the node */
    char *argv[ROLE_MAX_WORDS + 1];
    size_t n_argv;
    enum role_user uid;
    struct confinement confinement; /* of a role without privileges */
    enum role_socket socket;
    size_t published;   /* which one, for ROLE_PUBLISHED_SOCKET */
    bool once;          /* ends by itself; done when its status is 0 */
    const char *needs;  /* a unix socket of the node that must answer before it is started, or NULL */
    const char *needs_file; /* a file that must be there before it is started, or NULL */
    const char *health; /* URL inside the node ("https://127.0.0.1:10259/healthz", "unix:/path"), or NULL */
};

/* Fills 'roles' in the order of starting; returns how many. Everything lives in 'a'. */
size_t roles_of(const struct cluster_config *c, const struct machine *machine, struct arena *a, struct role roles[CLUSTER_MAX_ROLES]);

#endif
