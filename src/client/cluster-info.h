/*
 * The first look at an apiserver, by a host that knows nothing but a bootstrap token and perhaps
 * the pin of the cluster's CA.
 *
 * Anybody may read the ConfigMap kube-public/cluster-info; it holds a kubeconfig with the server's
 * address and CA, and for each token that may sign a detached signature (KEP "discovery with
 * tokens" as kubeadm does it). It is fetched over a connection that nothing vouches for, so until
 * both checks below hold it is a stranger's text:
 *   - the signature by our token: who answered knows the token, too
 *   - the pins, "sha256:<hex>" of the CA's public key: who else knows the token (any node that
 * joined) cannot pose as the cluster With pins, only the certificates that match one are returned
 * as the CA: another that came along is nobody's word.
 */
#ifndef CLIENT_CLUSTER_INFO_H
#define CLIENT_CLUSTER_INFO_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define CLUSTER_INFO_NAMESPACE STR("kube-public")
#define CLUSTER_INFO_NAME STR("cluster-info")
#define CLUSTER_INFO_PATH "/api/v1/namespaces/kube-public/configmaps/cluster-info"
#define CLUSTER_INFO_KUBECONFIG_KEY STR("kubeconfig")
/* data["jws-kubeconfig-" + token id] is the signature by that token. */
#define CLUSTER_INFO_JWS_PREFIX STR("jws-kubeconfig-")
/* What is read of an answer, at most: the ConfigMap's own limit in JSON. Past it: ERR_TOO_LARGE. */
#define CLUSTER_INFO_MAX (2u << 20)

struct cluster_info {
    struct str server;          /* "https://…" */
    struct str tls_server_name; /* absent: the server's host */
    struct str ca_pem;          /* those certificates that may be believed */
};

/* Checks the answer to GET CLUSTER_INFO_PATH. 'token' is "id.secret". Without pins the signature
 * alone decides: the caller must have been told so by a person ("unsafe"). Everything lives in 'a'.
 * The reason says which check failed, and never holds the secret. */
MUST_CHECK bool cluster_info_read(struct arena *a, struct str config_map_json, struct str token,
                                  const struct str *pins, size_t n_pins, struct cluster_info *ret,
                                  struct err *err);
/* "sha256:" and 64 hex digits? Whoever takes pins from a person asks this first. */
bool cluster_info_is_pin(struct str pin);
/* Appends the kubeconfig for the ConfigMap's data. */
void cluster_info_write(struct str server, struct str ca_pem, struct buf *b);

#endif
