/*
 * struct pki_key: a private or public key, immutable and reference-counted (safe to share between threads).
 *
 * ECDSA on P-256 is what the project makes by default: small certificates, and the cheapest handshakes. RSA below 2048 bits
 * and curves other than P-256, P-384, P-521 and Ed25519 are refused when loaded. Private bytes are wiped when freed (OpenSSL).
 */
#ifndef PKI_KEY_H
#define PKI_KEY_H

#include "base/buf.h"
#include "base/err.h"

struct evp_pkey_st;
struct pki_key;

enum pki_key_kind {
    PKI_KEY_P256,
    PKI_KEY_P384,
    PKI_KEY_P521,
    PKI_KEY_RSA,
    PKI_KEY_ED25519,
};

/* Makes a private key. 'rsa_bits' is for PKI_KEY_RSA alone (0: 2048). NULL with a reason. */
MUST_CHECK struct pki_key *pki_key_generate(enum pki_key_kind kind, unsigned rsa_bits, struct err *err);
/* The first private key of a PEM text: PKCS#8, PKCS#1 ("RSA PRIVATE KEY") or SEC1 ("EC PRIVATE KEY"); other blocks before it are
 * skipped. Encrypted keys are refused. */
MUST_CHECK struct pki_key *pki_key_read_private(struct str pem, struct err *err);
/* The first key of a PEM text as a public one: "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE", or a private key, of which the public
 * half is kept (as --service-account-key-file allows). '*pem' moves behind it, so that a file with several keys is read by
 * calling until it returns NULL with err->code ERR_NOT_FOUND. */
MUST_CHECK struct pki_key *pki_key_read_public(struct str *pem, struct err *err);
/* The public key of a DER SubjectPublicKeyInfo. */
MUST_CHECK struct pki_key *pki_key_of_spki(struct str der, struct err *err);
/* Loads a private key from a file of at most PKI_MAX_FILE bytes. */
MUST_CHECK struct pki_key *pki_key_load_private(const char *path, struct err *err);
/* The public half as a key of its own. */
MUST_CHECK struct pki_key *pki_key_public_of(const struct pki_key *k);

struct pki_key *pki_key_ref(struct pki_key *k);
/* Returns NULL. NULL-safe. */
struct pki_key *pki_key_unref(struct pki_key *k);
void pki_key_unrefp(struct pki_key **k);

enum pki_key_kind pki_key_kind(const struct pki_key *k);
bool pki_key_is_private(const struct pki_key *k);
/* Are the public halves the same key? */
bool pki_key_same_public(const struct pki_key *a, const struct pki_key *b);
/* Appends PEM: PKCS#8 "PRIVATE KEY", or "PUBLIC KEY". False when the key has no private half. */
MUST_CHECK bool pki_key_write_private(const struct pki_key *k, struct buf *b);
MUST_CHECK bool pki_key_write_public(const struct pki_key *k, struct buf *b);
/* Appends PEM in the kind's traditional form ("EC PRIVATE KEY", "RSA PRIVATE KEY"; PKCS#8 for Ed25519), as kubeadm writes keys. */
MUST_CHECK bool pki_key_write_traditional(const struct pki_key *k, struct buf *b);
/* Appends the DER SubjectPublicKeyInfo. */
void pki_key_write_spki(const struct pki_key *k, struct buf *b);
/* SHA-256 over the SubjectPublicKeyInfo. */
void pki_key_spki_sha256(const struct pki_key *k, uint8_t ret[32]);
/* "sha256:<hex>", the CA pin of kubeadm's discovery (RFC 7469 digest, in hex). */
#define PKI_PIN_SIZE (7 + 64 + 1)
void pki_key_pin(const struct pki_key *k, char ret[PKI_PIN_SIZE]);

/* For code that hands the key to OpenSSL itself (TLS set-up). Borrowed. */
struct evp_pkey_st *pki_key_evp(const struct pki_key *k);

#endif
