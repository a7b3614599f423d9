/*
 * The node's two identities: the client certificate that it shows to the apiserver (bootstrap.c) and the serving certificate of its
 * port (serving-certificate.c).
 *
 * Client. A kubeconfig whose certificate is valid is used. Without one, --bootstrap-kubeconfig names credentials that may do one
 * thing, ask for a certificate: while it is waited for, static pods and those remembered on disk run, and calls to the apiserver
 * wait. Then --kubeconfig is written, pointing to <cert-dir>/kubelet-client-current.pem. With --rotate-certificates the certificate
 * is renewed for ever; should it have expired all the same (a node that was off for a year), the bootstrap credentials are used again.
 *
 * Serving. --tls-cert-file is read again when it changes; else with --rotate-server-certificates the cluster signs one that names the
 * node's present addresses, and another when those change; else <cert-dir>/kubelet.crt is self-signed and made anew when most of
 * its life is over. The port's process gets certificate and key over its socket (server-wire.h), never from a file.
 */
#ifndef KUBELET_NODE_CERTIFICATES_H
#define KUBELET_NODE_CERTIFICATES_H

#include "kubelet/certificate-manager.h"
#include "kubelet/kubelet-private.h"

/* Names and organisation of both certificates: system:node:<name>, system:nodes. */
void node_identity(struct kubelet *k, struct arena *a, struct pki_names *ret);

#define KUBELET_USER_AGENT "kubelet/v1.36.0 (linux) coracle/" CORACLE_VERSION

/* bootstrap.c. Makes k->client as the flags and the kubeconfig say; false when there is no way to reach the apiserver. */
MUST_CHECK bool bootstrap_connect(struct kubelet *k, struct str kubeconfig, struct err *err);
/* Begins to ask and to rotate. */
void bootstrap_start(struct kubelet *k);
void bootstrap_stop(struct kubelet *k);
void bootstrap_metrics(struct kubelet *k);

/* serving-certificate.c */
void serving_start(struct kubelet *k);
void serving_stop(struct kubelet *k);
void serving_metrics(struct kubelet *k);
/* The node's addresses may have changed. */
void serving_wake(struct kubelet *k);
/* Appends what the port shows, and the CAs of its clients. ERR_UNAVAILABLE while the cluster has not signed it yet. */
MUST_CHECK bool serving_read(struct kubelet *k, struct buf *cert, struct buf *key, struct buf *client_ca, struct err *err);

#endif
