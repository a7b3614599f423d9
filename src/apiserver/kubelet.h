/*
 * Connections to kubelets, nodes, pods and services: one HTTP client for each address, kept while it is used.
 *
 * Kubelets are shown --kubelet-client-certificate and verified against --kubelet-certificate-authority: the certificate, and that it is
 * for the very address that is dialled. Without that flag they are not verified, as the original's documentation says
 * (kubelet_is_unverified() tells, it is logged at start and listed as unsafe), except under --flag-defaults=secure, where such a
 * connection is refused. Pods and services are never shown a certificate, and theirs are not verified: nobody could know by what.
 *
 * All go the way that egress.h picks, with its check of addresses.
 */
#ifndef APISERVER_KUBELET_H
#define APISERVER_KUBELET_H

#include "base/err.h"
#include "net/http-client.h"

struct apiserver;
struct apiserver_config;
struct core_v1_node;
struct kubelet_pool;
struct request;

/* A client that may not be used any more after the next call of one of these, unless a call was started with it. NULL with a reason;
 * it belongs to the pool. */

/* The kubelet of a node, by its preferred address. 'unverified': somebody asked for logs without verification. */
struct http_client *kubelet_client(struct apiserver *s, const struct core_v1_node *node, bool unverified, struct err *err);
/* Another port of a node, plain or by TLS: verified with the kubelets' CA where there is one, without a client certificate. */
struct http_client *kubelet_node_client(struct apiserver *s, const struct core_v1_node *node, uint16_t port, bool tls, struct err *err);
/* A pod, or an endpoint of a service; 'what' ("pods", "services") is for the list of paths. */
struct http_client *kubelet_plain_client(struct apiserver *s, const char *what, struct str host, uint16_t port, bool tls, struct err *err);
/* The port that the node's kubelet is at. */
uint16_t kubelet_port(const struct apiserver *s, const struct core_v1_node *node);
/* Is every kubelet taken for what it says it is? */
bool kubelet_is_unverified(const struct apiserver_config *cfg);
/* Reads certificates again; connections that stand go on with the old ones. */
bool kubelet_pool_reload(struct apiserver *s, struct err *err);
struct kubelet_pool *kubelet_pool_free(struct kubelet_pool *p);

#endif
