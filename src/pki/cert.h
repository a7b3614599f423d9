/*
 * Certificates: making, reading, looking into, verifying.
 *
 * struct pki_cert is immutable and reference-counted. Everything a cluster issues goes through pki_cert_sign(): subject CN and O,
 * subject alternative names, usages, and a lifetime that begins a little in the past (clocks of nodes differ).
 */
#ifndef PKI_CERT_H
#define PKI_CERT_H

#include "base/arena.h"
#include "pki/key.h"
#include "pki/limits.h"

struct x509_st;
struct pki_cert;

/* Usages, as a set. The names beside are those of certificates.k8s.io/v1 "usages". */
enum pki_usage {
    PKI_USAGE_DIGITAL_SIGNATURE = 1 << 0,  /* "digital signature", "signing" */
    PKI_USAGE_KEY_ENCIPHERMENT = 1 << 1,   /* "key encipherment" */
    PKI_USAGE_CERT_SIGN = 1 << 2,          /* "cert sign" */
    PKI_USAGE_CRL_SIGN = 1 << 3,           /* "crl sign" */
    PKI_USAGE_CONTENT_COMMITMENT = 1 << 4, /* "content commitment" */
    PKI_USAGE_DATA_ENCIPHERMENT = 1 << 5,  /* "data encipherment" */
    PKI_USAGE_KEY_AGREEMENT = 1 << 6,      /* "key agreement" */
    PKI_USAGE_ENCIPHER_ONLY = 1 << 7,      /* "encipher only" */
    PKI_USAGE_DECIPHER_ONLY = 1 << 8,      /* "decipher only" */
    PKI_USAGE_SERVER_AUTH = 1 << 16,       /* "server auth"; this and below are extended usages */
    PKI_USAGE_CLIENT_AUTH = 1 << 17,       /* "client auth" */
    PKI_USAGE_CODE_SIGNING = 1 << 18,      /* "code signing" */
    PKI_USAGE_EMAIL = 1 << 19,             /* "email protection", "s/mime" */
    PKI_USAGE_TIME_STAMPING = 1 << 20,     /* "timestamping" */
    PKI_USAGE_OCSP_SIGNING = 1 << 21,      /* "ocsp signing" */
    PKI_USAGE_ANY = 1 << 22,               /* "any" */
    PKI_USAGE_IPSEC_END_SYSTEM = 1 << 23,  /* "ipsec end system" */
    PKI_USAGE_IPSEC_TUNNEL = 1 << 24,      /* "ipsec tunnel" */
    PKI_USAGE_IPSEC_USER = 1 << 25,        /* "ipsec user" */
    PKI_USAGE_MICROSOFT_SGC = 1 << 26,     /* "microsoft sgc" */
    PKI_USAGE_NETSCAPE_SGC = 1 << 27,      /* "netscape sgc" */
};

/* What a certificate or request says of its holder. Lists are borrowed. */
struct pki_names {
    struct str cn;
    const struct str *orgs; /* O, in this order */
    size_t n_orgs;
    const struct str *dns;
    size_t n_dns;
    const struct str *ips; /* in text, IPv4 or IPv6 */
    size_t n_ips;
    const struct str *uris;
    size_t n_uris;
    const struct str *emails;
    size_t n_emails;
};

struct pki_cert_spec {
    struct pki_names names;
    struct str subject; /* DER of a whole subject, in place of names.cn and names.orgs (of a request: struct pki_csr); or absent */
    unsigned usages;    /* enum pki_usage */
    bool ca;            /* basic constraints CA:TRUE */
    int path_len;       /* with 'ca': most intermediates below; -1: no limit */
    int64_t not_before; /* seconds since 1970; callers backdate (PKI_BACKDATE_S) */
    int64_t not_after;
};

/* How far certificates begin in the past: nodes' clocks may be this much behind. As kube-controller-manager's signer does. */
#define PKI_BACKDATE_S 300

/* Makes a self-signed CA certificate ("ca" and key usages are set whatever the spec says). */
MUST_CHECK struct pki_cert *pki_cert_self_sign(const struct pki_key *key, const struct pki_cert_spec *spec, struct err *err);
/* Signs 'subject_key' (public half is enough) with a CA. The lifetime is cut to the CA's own. Refused when ca_key is not the CA's
 * or 'ca' is no CA. Serial numbers are 120 random bits. */
MUST_CHECK struct pki_cert *pki_cert_sign(const struct pki_cert *ca, const struct pki_key *ca_key,
                                          const struct pki_key *subject_key, const struct pki_cert_spec *spec, struct err *err);

MUST_CHECK struct pki_cert *pki_cert_of_der(struct str der, struct err *err);
/* The first CERTIFICATE block; '*pem' moves behind it. ERR_NOT_FOUND when there is none left. */
MUST_CHECK struct pki_cert *pki_cert_read(struct str *pem, struct err *err);
struct pki_cert *pki_cert_ref(struct pki_cert *c);
struct pki_cert *pki_cert_unref(struct pki_cert *c);
void pki_cert_unrefp(struct pki_cert **c);

void pki_cert_write_pem(const struct pki_cert *c, struct buf *b);
void pki_cert_write_der(const struct pki_cert *c, struct buf *b);
void pki_cert_sha256(const struct pki_cert *c, uint8_t ret[32]); /* over the DER: the fingerprint */
int64_t pki_cert_not_before(const struct pki_cert *c);
int64_t pki_cert_not_after(const struct pki_cert *c);
bool pki_cert_is_ca(const struct pki_cert *c);
MUST_CHECK struct pki_key *pki_cert_key(const struct pki_cert *c, struct err *err); /* its public key */
bool pki_cert_matches_key(const struct pki_cert *c, const struct pki_key *k);

/* Everything a person or the catalog of paths shows of a certificate. */
struct pki_cert_info {
    struct pki_names names;
    struct str subject, issuer; /* RFC 2253 text */
    struct str serial;          /* hex */
    int64_t not_before, not_after;
    unsigned usages;
    bool ca;
    struct str fingerprint; /* SHA-256, lower-case hex */
    struct str pin;         /* "sha256:<hex>" of the public key */
};
/* Copies into the arena. Names holding a NUL byte or invalid text are refused: they would read differently elsewhere. */
MUST_CHECK bool pki_cert_inspect(const struct pki_cert *c, struct arena *a, struct pki_cert_info *ret, struct err *err);

/* A set of certificates: a CA bundle, or a chain with the leaf first. */
struct pki_bundle {
    struct pki_cert **certs;
    size_t n;
};
/* Every CERTIFICATE block of the text. At least one, or ERR_INVALID. Undone by pki_bundle_deinit(). */
MUST_CHECK bool pki_bundle_read(struct pki_bundle *ret, struct str pem, struct err *err);
MUST_CHECK bool pki_bundle_load(struct pki_bundle *ret, const char *path, struct err *err);
void pki_bundle_deinit(struct pki_bundle *b);

/*
 * Verifies a peer's chain (leaf first) against trusted roots at time 'now' (seconds; of the present: time_floor_now_s()): signatures, lifetimes, CA flags, path lengths,
 * and that the leaf may be used as 'usage' (PKI_USAGE_CLIENT_AUTH or _SERVER_AUTH; 0: any use). The reasons read as Go's crypto/x509
 * words them ("x509: certificate signed by unknown authority"), because that is what people search for.
 */
MUST_CHECK bool pki_verify(const struct pki_bundle *roots, struct pki_cert *const *chain, size_t n_chain, unsigned usage,
                           int64_t now, struct err *err);
/* Does the leaf carry this host: a DNS name (RFC 6125 wildcards) or an IP address in text? */
bool pki_cert_matches_host(const struct pki_cert *c, struct str host);

/* For code that hands the certificate to OpenSSL itself. Borrowed. */
struct x509_st *pki_cert_x509(const struct pki_cert *c);

/* "client auth" -> PKI_USAGE_CLIENT_AUTH; 0 when unknown. */
unsigned pki_usage_of_name(struct str name);

#endif
