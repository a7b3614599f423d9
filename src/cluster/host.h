/*
 * A host that stays: what 'coracle server' and 'coracle join' made of it. Pure data, kept in /etc/coracle/coracle.conf
 * as "key=value" lines which a person may read and change; the programs take a change when coracle.service is started
 * again.
 *
 *   /etc/coracle/            coracle.conf, admin.conf (the administrator's kubeconfig, of a server)
 *   /var/lib/coracle/host/   as a cluster's state (place.h), with conf/ for the node's credentials and containerd/ for
 * its containers /run/coracle/host/       lock, control.sock, the sockets of containerd and of the tunnel process
 */
#ifndef CLUSTER_HOST_H
#define CLUSTER_HOST_H

#include "cluster/config.h"
#include "cluster/role.h"

#define HOST_CONF_DIR "/etc/coracle"
#define HOST_CONF_FILE HOST_CONF_DIR "/coracle.conf"
#define HOST_ADMIN_CONF HOST_CONF_DIR "/admin.conf"
/* What a server tells those who join: a ConfigMap of kube-system. */
#define HOST_SETTINGS_NAME "coracle"
/* Where those who join by SSH leave their host keys: a namespace in which they may create, and nothing else. */
#define HOST_PINS_NAMESPACE "coracle-host-keys"
#define HOST_TOKEN_GROUP "system:bootstrappers:coracle:nodes"
#define HOST_TUNNEL_USER "system:coracle:tunnel"
/* How the API server reaches a node: "direct", "ssh" or "reverse" (coracle tunnel --reach-label). */
#define HOST_REACH_LABEL "coracle.local/reach"
#define HOST_REVERSE_PORT 8132
#define HOST_SSH_USER "coracle-tunnel"
#define HOST_MAX_ROLES 12

/* How the API server reaches the node. */
enum host_reach { HOST_DIRECT, HOST_BY_SSH, HOST_BY_REVERSE };

struct host {
    struct place place;
    bool server, node;    /* what runs here: either or both */
    char name[254];       /* of its Node */
    char address[64];     /* where others find it: advertised, and the Node's InternalIP */
    uint16_t port;        /* of the API: here, or the server's */
    char server_url[300]; /* "https://10.0.0.1:6443" */
    char names[1024];     /* further names and addresses of the API server, by commas */
    char pod_cidr[64], service_cidr[64], domain[128];
    char etcd_servers[1024], etcd_ca[256], etcd_cert[256], etcd_key[256]; /* empty: SQLite */
    /* a server's tunnels to nodes that are not reached directly */
    bool tunnels;
    char ssh_user[33];
    uint16_t ssh_port, reverse_port;
    /* a joined node */
    enum host_reach reach;
    char reverse_server[300]; /* "10.0.0.1:8132" */
    bool made_ssh_user;
};

/* A server's defaults. */
void host_init(struct host *h);
/* ERR_NOT_FOUND when this host is neither server nor node. */
MUST_CHECK bool host_load(struct host *h, struct err *err);
MUST_CHECK bool host_save(const struct host *h, struct err *err);
/* The same as text. Pure. */
MUST_CHECK bool host_parse(struct host *h, struct str text, struct err *err);
void host_write(const struct host *h, struct buf *b);
const char *host_reach_word(enum host_reach r);
/* This host's own address on the way to 'towards' (a numeric address; absent: to the default route). */
MUST_CHECK bool host_find_address(struct str towards, char ret[64], struct err *err);
/* The host's name in lower case, as Nodes are named. */
MUST_CHECK bool host_find_name(char ret[254], struct err *err);
/* "10.96.0.0/16" -> "10.96.0.1"; false with a reason when it is no IPv4 range with room for services. */
MUST_CHECK bool host_first_address(const char *cidr, char ret[64], struct err *err);

/* The programs that run here and their command lines, in the order of starting. */
size_t host_roles(const struct host *h, const struct machine *machine, struct arena *a,
                  struct role roles[HOST_MAX_ROLES]);

#endif
