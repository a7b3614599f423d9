/*
 * Connections to kubelets, pods and services: logs, exec, attach, port-forward, proxy.
 *
 * A pool keeps one HTTP client per address; all kubelets are verified against --kubelet-certificate-authority and shown
 * --kubelet-client-certificate. Without a CA the connection is refused rather than made unverified.
 */
#ifndef APISERVER_KUBELET_H
#define APISERVER_KUBELET_H

#include "base/err.h"
#include "net/http-client.h"

struct apiserver;
struct core_v1_node;
struct kubelet_pool;
struct request;

/* The client for the kubelet of a node, by its preferred address; NULL with a reason. Belongs to the pool. */
struct http_client *kubelet_client(struct apiserver *s, const struct core_v1_node *node, struct err *err);
/* The client for any other address ("http" or "https" for pods and services, whose certificates nobody can verify: upstream
 * does not either). */
struct http_client *kubelet_plain_client(struct apiserver *s, struct str host, uint16_t port, bool tls, struct err *err);
/* Reads the certificate shown to kubelets and their CA again; on failure the old ones stay. */
bool kubelet_pool_reload(struct apiserver *s, struct err *err);
struct kubelet_pool *kubelet_pool_free(struct kubelet_pool *p);

#endif
