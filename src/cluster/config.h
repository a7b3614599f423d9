/*
 * What a cluster is made of: the answers of the command line, and all names and addresses that follow from them. Pure data;
 * kept in the state folder ("key=value" lines), so that a later command or a restart finds the same.
 */
#ifndef CLUSTER_CONFIG_H
#define CLUSTER_CONFIG_H

#include "cluster/place.h"

#define CLUSTER_MAX_NODES 16
#define CLUSTER_MAX_PUBLISHED 16
#define CLUSTER_MAX_MASTERS 5
#define CLUSTER_API_PORT 6443

/* Addresses exist only inside the cluster's own network namespaces, so every cluster has the same. Host byte order. */
#define CLUSTER_NODE_NET 0x0a590000u /* 10.89.0.0/24; the switch is .1, node N is .(N + 1) */
#define CLUSTER_NODE_PREFIX 24
#define CLUSTER_POD_NET 0x0af40000u /* 10.244.0.0/16, a /24 for each node */
#define CLUSTER_POD_PREFIX 16
#define CLUSTER_POD_CIDR "10.244.0.0/16"
#define CLUSTER_SERVICE_NET 0x0a600000u /* 10.96.0.0/16 */
#define CLUSTER_SERVICE_PREFIX 16
#define CLUSTER_SERVICE_CIDR "10.96.0.0/16"
#define CLUSTER_API_SERVICE_IP "10.96.0.1"
#define CLUSTER_DOMAIN "cluster.local"

/* A port of the host's loopback that leads to a port of node 1 (a NodePort). */
struct cluster_published {
    uint16_t host, node;
    bool any_host; /* nobody asked for this host port: a free one above it does as well; not kept */
};

struct cluster_config {
    struct place place;
    unsigned n_nodes;
    bool offline;
    bool memory_store, etcd_store; /* neither: SQLite */
    bool docker; /* containers by dockerd in place of containerd */
    unsigned n_masters; /* nodes 1 to this run the control plane; more than one only with etcd, of which each runs a member */
    uint16_t api_port; /* on 127.0.0.1 of the host */
    struct cluster_published published[CLUSTER_MAX_PUBLISHED];
    size_t n_published;
    char kubeconfig[512]; /* the user's file that the context was written into, "" for none */
    int64_t certificate_s; /* how long certificates live; 0: a year */
    unsigned verbosity; /* -v of the programs */
    char without[160]; /* names of programs that are not started, by commas: for bringing one's own, and for tests */
};

/* "sqlite", "memory" or "etcd". */
const char *cluster_store_name(const struct cluster_config *c);
/* False when there is no such store. */
MUST_CHECK bool cluster_store_parse(struct cluster_config *c, struct str name);
/* Node numbers begin with 1; node 1 runs the control plane. */
void cluster_node_name(unsigned node, char dst[16]);
uint32_t cluster_node_addr(unsigned node);
#define CLUSTER_IP_SIZE 16
char *cluster_ip_text(uint32_t addr, char dst[CLUSTER_IP_SIZE]);
#define CLUSTER_CGROUP_SIZE 96
/* The cluster's control group, and a node's. */
void cluster_cgroup(const struct cluster_config *c, unsigned node /* 0: all */, char dst[CLUSTER_CGROUP_SIZE]);
/* The node's folder: <state>/nodes/node-N. */
char *cluster_node_dir(const struct cluster_config *c, unsigned node, char dst[PATH_MAX]);

MUST_CHECK bool cluster_config_save(const struct cluster_config *c, struct err *err);
/* 'place' is set by the caller. ERR_NOT_FOUND when there is no such cluster. */
MUST_CHECK bool cluster_config_load(struct cluster_config *c, struct err *err);
/* "8080:30080" */
MUST_CHECK bool cluster_published_parse(struct str text, struct cluster_published *ret);

#endif
