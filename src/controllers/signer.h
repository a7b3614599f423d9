/*
 * The four signers of kubernetes.io (Kubernetes documentation, "Certificates and Certificate
 * Signing Requests", "Kubernetes signers"): which requests each accepts, with which CA it signs,
 * and for how long. Whether a request may be signed at all was decided before, by its approval.
 */
#ifndef CONTROLLERS_SIGNER_H
#define CONTROLLERS_SIGNER_H

#include "base/buf.h"
#include "base/err.h"
#include "pki/csr.h"

enum signer_kind {
    SIGNER_APISERVER_CLIENT, /* kubernetes.io/kube-apiserver-client */
    SIGNER_KUBELET_CLIENT,   /* kubernetes.io/kube-apiserver-client-kubelet */
    SIGNER_KUBELET_SERVING,  /* kubernetes.io/kubelet-serving */
    SIGNER_LEGACY_UNKNOWN,   /* kubernetes.io/legacy-unknown */
    SIGNER_MAX
};

/* Certificates begin that much before they are made ... */
#define SIGNER_BACKDATE_S PKI_BACKDATE_S
/* ... and those that live shorter than this keep their whole length all the same. */
#define SIGNER_SHORT_S (8 * 3600)
/* Whatever is asked for, nothing lives shorter than this. */
#define SIGNER_LEAST_S 600

struct str signer_name(enum signer_kind kind);
/* False: another's, which is not our business. */
bool signer_of_name(struct str name, enum signer_kind *ret);

/* What a certificate request must be, for its signer; the reason is worded for the condition
 * "Failed". */
MUST_CHECK bool signer_accepts(enum signer_kind kind, const struct pki_csr *csr,
                               const struct str *usages, size_t n_usages, struct err *err);

/* A CA that is read again when its files change, so that a renewed one needs no restart. */
struct signer_ca;
struct signer_ca *signer_ca_new(const char *cert_file, const char *key_file);
struct signer_ca *signer_ca_free(struct signer_ca *ca);
/* Reads the files when they are other than those read last. A CA that was read once stays in use
 * when they are broken for a while. */
MUST_CHECK bool signer_ca_load(struct signer_ca *ca, struct err *err);

/* Signs: 'asked_s' is spec.expirationSeconds, 0 for none; 'longest_s' the longest life
 * (--cluster-signing-duration). Never longer than the CA itself. Appends PEM. */
MUST_CHECK bool signer_issue(struct signer_ca *ca, const struct pki_csr *csr,
                             const struct str *usages, size_t n_usages, int64_t asked_s,
                             int64_t longest_s, int64_t now, struct buf *ret_pem, struct err *err);

#endif
