/* Certificate signing requests (PKCS#10): what a kubelet asks with, and what the signer reads. */
#ifndef PKI_CSR_H
#define PKI_CSR_H

#include "pki/cert.h"

/* Appends a PEM "CERTIFICATE REQUEST" for the key with the names (subject, SANs). */
MUST_CHECK bool pki_csr_write(const struct pki_key *key, const struct pki_names *names, struct buf *b, struct err *err);

struct pki_csr {
    struct pki_names names; /* in the arena */
    struct str subject;     /* the whole subject in DER, in the arena: parts besides CN and O too */
    struct pki_key *key;    /* owned: the public key asked for */
};
/* Reads exactly one PEM block and verifies its own signature. Undone by pki_csr_deinit(). */
MUST_CHECK bool pki_csr_read(struct str pem, struct arena *a, struct pki_csr *ret, struct err *err);
void pki_csr_deinit(struct pki_csr *csr);
/* Is the first PEM block a certificate request at all? Without looking at its key and signature, which a signer does: what the API
 * asks of every CertificateSigningRequest, whoever will sign it. */
MUST_CHECK bool pki_csr_check(struct str pem, struct err *err);

#endif
