/*
 * The PKI folder of a cluster, in the shape that kubeadm gives /etc/kubernetes/pki, so that tools for one work on the other.
 *
 *   ca.crt ca.key                          signs everything below but the front proxy
 *   front-proxy-ca.* front-proxy-client.*  who may speak for users to aggregated API servers
 *   sa.key sa.pub                          signs and verifies service-account tokens
 *   apiserver.*                            serving, with all its names and addresses
 *   apiserver-kubelet-client.*             what the apiserver shows to kubelets
 *   admin.* controller-manager.* scheduler.* kube-proxy.*   client certificates which cluster/ puts into kubeconfigs
 *   nodes/NAME/kubelet-client.* kubelet.*  a node's client and serving certificates
 *
 * Writing is idempotent: a pair is kept when it is whole, signed by the present CA, has the wanted subject, usages and at least the
 * wanted names, and more than a third of its life is left; otherwise it is made anew. Keys have mode 0600, files are replaced at
 * once. A ca.crt without ca.key (kept elsewhere) is fine until something must be signed.
 */
#ifndef PKI_CLUSTER_PKI_H
#define PKI_CLUSTER_PKI_H

#include "pki/cert.h"

struct pki_cluster_spec {
    const char *dir;
    struct str cluster_domain;         /* "cluster.local" when absent */
    struct str service_ip;             /* first address of the service range, "10.96.0.1" */
    const struct str *apiserver_dns;   /* further names of the apiserver (host name) */
    size_t n_apiserver_dns;
    const struct str *apiserver_ips;   /* further addresses; 127.0.0.1 and ::1 are always there */
    size_t n_apiserver_ips;
    enum pki_key_kind key_kind;        /* PKI_KEY_P256 is 0 */
    int64_t now;                       /* seconds since 1970 */
    int64_t ca_lifetime_s;             /* 0: ten years */
    int64_t cert_lifetime_s;           /* 0: one year */
};

/* Makes what is missing or due. '*ret_changed' (may be NULL) counts the files written. */
MUST_CHECK bool pki_cluster_write(const struct pki_cluster_spec *spec, unsigned *ret_changed, struct err *err);
/* The same for one node: nodes/NAME/. 'names' and 'ips' go into its serving certificate. */
MUST_CHECK bool pki_cluster_write_node(const struct pki_cluster_spec *spec, struct str node, const struct str *dns, size_t n_dns,
                                       const struct str *ips, size_t n_ips, unsigned *ret_changed, struct err *err);
/* A client certificate for anybody, written to <dir>/<file>.crt and .key. */
MUST_CHECK bool pki_cluster_write_client(const struct pki_cluster_spec *spec, const char *file, struct str cn,
                                         const struct str *orgs, size_t n_orgs, unsigned *ret_changed, struct err *err);
/* A serving certificate for another server of the control plane, <dir>/<file>.crt and .key. */
MUST_CHECK bool pki_cluster_write_server(const struct pki_cluster_spec *spec, const char *file, const struct pki_names *names,
                                         unsigned *ret_changed, struct err *err);

/*
 * etcd's own authority, in a folder of its own (spec->dir), so that no certificate of the cluster opens the store:
 *   ca.*  client.* (what API servers show)  member-NAME.* (a member's, for its clients and its peers)
 */
struct pki_etcd_member {
    struct str name;
    struct str ip;
};
MUST_CHECK bool pki_cluster_write_etcd(const struct pki_cluster_spec *spec, const struct pki_etcd_member *members, size_t n_members,
                                       unsigned *ret_changed, struct err *err);

#endif
