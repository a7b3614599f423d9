/*
 * Keeps one certificate of this node valid for ever: asks the cluster for it by a CertificateSigningRequest, waits until it was
 * approved and signed, stores it (certificate-store.h), tells its owner, and begins anew after 70 to 90 % of its life, at a random
 * moment, so that the nodes of a cluster do not all come at once.
 *
 * A request that fails, is denied or stays unanswered for 15 minutes is made again after a back-off with jitter, from two seconds
 * to five minutes, for ever. The certificate in force stays in use until another one is there. Keys are made here and never leave
 * the node. Belongs to the loop's thread.
 */
#ifndef KUBELET_CERTIFICATE_MANAGER_H
#define KUBELET_CERTIFICATE_MANAGER_H

#include "base/metrics.h"
#include "client/client.h"
#include "kubelet/certificate-store.h"
#include "net/loop.h"

struct cert_manager;

struct cert_manager_config {
    struct loop *loop;
    const char *what;           /* for the log: "client certificate" */
    const char *signer;         /* "kubernetes.io/kube-apiserver-client-kubelet" */
    unsigned usage;             /* PKI_USAGE_CLIENT_AUTH or _SERVER_AUTH */
    struct cert_store store;
    bool rotate;                /* false: asks only while there is no valid one */
    /* Writes what the certificate should say; false: not known yet. Asked again every few seconds. */
    bool (*names)(void *arg, struct arena *a, struct pki_names *ret);
    /* Who asks the cluster; NULL: nobody can now. 'valid': is the present certificate? */
    struct client *(*client)(void *arg, bool valid);
    /* Another certificate is in force. */
    void (*changed)(void *arg);
    void *arg;
    struct metric *errors, *ttl, *life; /* counter, gauge of seconds, histogram of seconds or NULL */
};

/* Reads what is stored: cert_manager_current() is it. Nothing else happens before cert_manager_start(). */
struct cert_manager *cert_manager_new(const struct cert_manager_config *config);
/* The first certificate, when it is kept elsewhere than in the store; ignored where the store's lives longer. */
void cert_manager_adopt(struct cert_manager *m, struct str cert_pem, struct str key_pem);
/* Forgets the certificate in force: it is of no use here. Before cert_manager_start(). */
void cert_manager_drop(struct cert_manager *m);
void cert_manager_start(struct cert_manager *m);
/* The names may have changed. */
void cert_manager_wake(struct cert_manager *m);
struct cert_manager *cert_manager_free(struct cert_manager *m);

/* The certificate in force, valid or not; NULL when there is none. */
const struct cert_pair *cert_manager_current(const struct cert_manager *m);
bool cert_manager_is_valid(const struct cert_manager *m);

/* Sets the gauge of the time that is left. NULL-safe. */
void cert_manager_metrics(struct cert_manager *m);

/* When a certificate that lives from 'begin' to 'end' is due; 'random' from 0 to 1. For tests too. */
int64_t cert_manager_due(int64_t begin, int64_t end, double random);
/* How long to wait after this many failures in a row, in milliseconds. */
uint64_t cert_manager_backoff_ms(unsigned failures, double random);

#endif
