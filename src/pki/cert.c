#include "pki/cert.h"

#include <stdatomic.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "base/fs.h"
#include "base/rand.h"
#include "pki/pki-private.h"

struct pki_cert {
    atomic_uint refs;
    X509 *x;
    int64_t not_before, not_after;
};

/* ---- lifecycle ---- */

static int64_t seconds_of(const ASN1_TIME *t)
{
    static const int64_t unreadable = INT64_MIN;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0, secs = 0;
    int ok = epoch && ASN1_TIME_diff(&days, &secs, epoch, t);
    ASN1_TIME_free(epoch);
    return ok ? (int64_t)days * 86400 + secs : unreadable;
}

static struct pki_cert *wrap(X509 *x, struct err *err)
{
    struct pki_cert *c = calloc(1, sizeof(*c));
    if (!c) {
        X509_free(x);
        (void)pki_fail(err, ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    atomic_init(&c->refs, 1);
    c->x = x;
    c->not_before = seconds_of(X509_get0_notBefore(x));
    c->not_after = seconds_of(X509_get0_notAfter(x));
    ERR_clear_error();
    return c;
}

struct pki_cert *pki_cert_ref(struct pki_cert *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

struct pki_cert *pki_cert_unref(struct pki_cert *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        X509_free(c->x);
        free(c);
    }
    return NULL;
}

void pki_cert_unrefp(struct pki_cert **c)
{
    *c = pki_cert_unref(*c);
}

static void x509_freep(X509 **x)
{
    X509_free(*x);
}

/* ---- making ---- */

/* Bits of KeyUsage (RFC 5280 4.2.1.3) and extended usages beside ours. */
static const struct {
    unsigned usage;
    int bit, nid;
    const char *name, *name2;
} usages[] = {
    { PKI_USAGE_DIGITAL_SIGNATURE, 0, 0, "digital signature", "signing" },
    { PKI_USAGE_CONTENT_COMMITMENT, 1, 0, "content commitment", NULL },
    { PKI_USAGE_KEY_ENCIPHERMENT, 2, 0, "key encipherment", NULL },
    { PKI_USAGE_DATA_ENCIPHERMENT, 3, 0, "data encipherment", NULL },
    { PKI_USAGE_KEY_AGREEMENT, 4, 0, "key agreement", NULL },
    { PKI_USAGE_CERT_SIGN, 5, 0, "cert sign", NULL },
    { PKI_USAGE_CRL_SIGN, 6, 0, "crl sign", NULL },
    { PKI_USAGE_ENCIPHER_ONLY, 7, 0, "encipher only", NULL },
    { PKI_USAGE_DECIPHER_ONLY, 8, 0, "decipher only", NULL },
    { PKI_USAGE_SERVER_AUTH, -1, NID_server_auth, "server auth", NULL },
    { PKI_USAGE_CLIENT_AUTH, -1, NID_client_auth, "client auth", NULL },
    { PKI_USAGE_CODE_SIGNING, -1, NID_code_sign, "code signing", NULL },
    { PKI_USAGE_EMAIL, -1, NID_email_protect, "email protection", "s/mime" },
    { PKI_USAGE_TIME_STAMPING, -1, NID_time_stamp, "timestamping", NULL },
    { PKI_USAGE_OCSP_SIGNING, -1, NID_OCSP_sign, "ocsp signing", NULL },
    { PKI_USAGE_ANY, -1, NID_anyExtendedKeyUsage, "any", NULL },
    { PKI_USAGE_IPSEC_END_SYSTEM, -1, NID_ipsecEndSystem, "ipsec end system", NULL },
    { PKI_USAGE_IPSEC_TUNNEL, -1, NID_ipsecTunnel, "ipsec tunnel", NULL },
    { PKI_USAGE_IPSEC_USER, -1, NID_ipsecUser, "ipsec user", NULL },
    { PKI_USAGE_MICROSOFT_SGC, -1, NID_ms_sgc, "microsoft sgc", NULL },
    { PKI_USAGE_NETSCAPE_SGC, -1, NID_ns_sgc, "netscape sgc", NULL },
};

unsigned pki_usage_of_name(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(usages); i++) {
        if (str_eq_c(name, usages[i].name) ||
            (usages[i].name2 && str_eq_c(name, usages[i].name2))) {
            return usages[i].usage;
        }
    }
    return 0;
}

static bool add_usages(X509 *x, unsigned want)
{
    ASN1_BIT_STRING *ku = ASN1_BIT_STRING_new();
    EXTENDED_KEY_USAGE *eku = sk_ASN1_OBJECT_new_null();
    bool has_ku = false, ok = ku && eku;
    for (size_t i = 0; ok && i < ARRAY_SIZE(usages); i++) {
        if (!(want & usages[i].usage)) {
            continue;
        }
        if (usages[i].bit >= 0) {
            has_ku = true;
            ok = ASN1_BIT_STRING_set_bit(ku, usages[i].bit, 1) == 1;
        } else {
            ok = sk_ASN1_OBJECT_push(eku, OBJ_nid2obj(usages[i].nid)) > 0;
        }
    }
    if (ok && has_ku) {
        ok = X509_add1_ext_i2d(x, NID_key_usage, ku, 1, X509V3_ADD_DEFAULT) == 1;
    }
    if (ok && sk_ASN1_OBJECT_num(eku) > 0) {
        ok = X509_add1_ext_i2d(x, NID_ext_key_usage, eku, 0, X509V3_ADD_DEFAULT) == 1;
    }
    ASN1_BIT_STRING_free(ku);
    sk_ASN1_OBJECT_pop_free(eku, ASN1_OBJECT_free);
    return ok;
}

static bool add_basic_constraints(X509 *x, bool ca, int path_len)
{
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
    bool ok = bc != NULL;
    if (ok) {
        bc->ca = ca ? 0xff : 0;
        if (ca && path_len >= 0) {
            bc->pathlen = ASN1_INTEGER_new();
            ok = bc->pathlen && ASN1_INTEGER_set(bc->pathlen, path_len) == 1;
        }
        ok = ok && X509_add1_ext_i2d(x, NID_basic_constraints, bc, 1, X509V3_ADD_DEFAULT) == 1;
    }
    BASIC_CONSTRAINTS_free(bc);
    return ok;
}

/* Key identifiers: the first 160 bits of SHA-256 over the public key (RFC 7093, method 1). */
static bool add_key_ids(X509 *x, X509 *ca)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    ASN1_OCTET_STRING *ski = ASN1_OCTET_STRING_new();
    bool ok = ski && X509_pubkey_digest(x, EVP_sha256(), md, &n) == 1 && n >= 20 &&
              ASN1_OCTET_STRING_set(ski, md, 20) == 1 &&
              X509_add1_ext_i2d(x, NID_subject_key_identifier, ski, 0, X509V3_ADD_DEFAULT) == 1;
    ASN1_OCTET_STRING_free(ski);
    const ASN1_OCTET_STRING *ca_ski = ca ? X509_get0_subject_key_id(ca) : NULL;
    if (ok && ca_ski) {
        AUTHORITY_KEYID *aki = AUTHORITY_KEYID_new();
        ok = aki != NULL;
        if (ok) {
            aki->keyid = ASN1_OCTET_STRING_dup(ca_ski);
            ok = aki->keyid && X509_add1_ext_i2d(x, NID_authority_key_identifier, aki, 0,
                                                 X509V3_ADD_DEFAULT) == 1;
        }
        AUTHORITY_KEYID_free(aki);
    }
    return ok;
}

static bool set_serial(X509 *x)
{
    uint8_t raw[15];
    rand_bytes(raw, sizeof(raw));
    raw[0] = (uint8_t)((raw[0] & 0x7f) | 0x40); /* positive, and always of the same length */
    BIGNUM *bn = BN_bin2bn(raw, sizeof(raw), NULL);
    bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));
    BN_free(bn);
    return ok;
}

static const EVP_MD *digest_of(const struct pki_key *k)
{
    switch (pki_key_kind(k)) {
    case PKI_KEY_P384: return EVP_sha384();
    case PKI_KEY_P521: return EVP_sha512();
    case PKI_KEY_ED25519: return NULL;
    case PKI_KEY_P256:
    case PKI_KEY_RSA: break;
    }
    return EVP_sha256();
}

static X509_NAME *subject_of(const struct pki_cert_spec *spec, struct err *err)
{
    const unsigned char *der = (const unsigned char *)spec->subject.ptr;
    if (!spec->subject.ptr) {
        return pki_name_new(&spec->names, err);
    }
    X509_NAME *name = d2i_X509_NAME(NULL, &der, (long)spec->subject.len);
    if (!name) {
        (void)pki_fail(err, ERR_INVALID, "the subject cannot be read");
    }
    return name;
}

/* 'ca' NULL: self-signed. */
static struct pki_cert *make(X509 *ca, const struct pki_key *signer,
                             const struct pki_key *subject_key, const struct pki_cert_spec *spec,
                             struct err *err)
{
    if (spec->not_after <= spec->not_before) {
        (void)err_set(err, ERR_INVALID, "a certificate that ends before it begins");
        return NULL;
    }
    CLEANUP(x509_freep) X509 *x = X509_new();
    CLEANUP(pki_name_freep) X509_NAME *name = subject_of(spec, err);
    if (!x || !name) {
        return NULL;
    }
    struct err san_err = { 0 };
    bool empty_subject = X509_NAME_entry_count(name) == 0;
    CLEANUP(pki_ext_freep) X509_EXTENSION *san = pki_san_new(&spec->names, empty_subject, &san_err);
    if (!san && san_err.code != ERR_NONE) {
        (void)err_set(err, san_err.code, "%s", san_err.msg);
        return NULL;
    }
    bool ok = X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
              X509_set_subject_name(x, name) == 1 &&
              X509_set_issuer_name(x, ca ? X509_get_subject_name(ca) : name) == 1 &&
              ASN1_TIME_set(X509_getm_notBefore(x), (time_t)spec->not_before) &&
              ASN1_TIME_set(X509_getm_notAfter(x), (time_t)spec->not_after) &&
              X509_set_pubkey(x, pki_key_evp(subject_key)) == 1 && add_usages(x, spec->usages) &&
              add_basic_constraints(x, spec->ca, spec->path_len) && add_key_ids(x, ca) &&
              (!san || X509_add_ext(x, san, -1) == 1) &&
              X509_sign(x, pki_key_evp(signer), digest_of(signer)) > 0;
    if (!ok) {
        (void)pki_fail(err, ERR_INTERNAL, "the certificate could not be made");
        return NULL;
    }
    return wrap(TAKE(x), err);
}

struct pki_cert *pki_cert_self_sign(const struct pki_key *key, const struct pki_cert_spec *spec,
                                    struct err *err)
{
    struct pki_cert_spec s = *spec;
    s.ca = true;
    s.usages |= PKI_USAGE_CERT_SIGN | PKI_USAGE_DIGITAL_SIGNATURE | PKI_USAGE_KEY_ENCIPHERMENT;
    if (!pki_key_is_private(key)) {
        (void)err_set(err, ERR_INVALID, "the CA's private key is missing");
        return NULL;
    }
    return make(NULL, key, key, &s, err);
}

struct pki_cert *pki_cert_sign(const struct pki_cert *ca, const struct pki_key *ca_key,
                               const struct pki_key *subject_key, const struct pki_cert_spec *spec,
                               struct err *err)
{
    if (!pki_cert_is_ca(ca)) {
        (void)err_set(err, ERR_INVALID, "the signing certificate is not a CA");
        return NULL;
    }
    if (!pki_key_is_private(ca_key) || !pki_cert_matches_key(ca, ca_key)) {
        (void)err_set(err, ERR_INVALID, "the private key does not belong to the CA certificate");
        return NULL;
    }
    struct pki_cert_spec s = *spec;
    s.not_before = MAX(s.not_before, ca->not_before);
    s.not_after = MIN(s.not_after, ca->not_after);
    return make(ca->x, ca_key, subject_key, &s, err);
}

/* ---- reading and writing ---- */

struct pki_cert *pki_cert_of_der(struct str der, struct err *err)
{
    if (der.len > PKI_MAX_CERT_DER) {
        (void)err_set(err, ERR_TOO_LARGE, "a certificate of %zu bytes, the limit is %u", der.len,
                      PKI_MAX_CERT_DER);
        return NULL;
    }
    const unsigned char *p = (const unsigned char *)der.ptr;
    X509 *x = der.len > 0 ? d2i_X509(NULL, &p, (long)der.len) : NULL;
    if (x && p != (const unsigned char *)der.ptr + der.len) {
        X509_free(x);
        x = NULL;
    }
    if (!x) {
        (void)pki_fail(err, ERR_INVALID, "x509: malformed certificate");
        return NULL;
    }
    struct pki_cert *c = wrap(x, err);
    if (c && (c->not_before == INT64_MIN || c->not_after == INT64_MIN)) {
        (void)err_set(err, ERR_INVALID, "x509: malformed certificate: its validity cannot be read");
        return pki_cert_unref(c);
    }
    return c;
}

struct pki_cert *pki_cert_read(struct str *pem, struct err *err)
{
    for (;;) {
        CLEANUP(pki_pem_deinit) struct pki_pem p = { 0 };
        if (!pki_pem_next(pem, &p, err)) {
            return NULL;
        }
        if (strcmp(p.name, "CERTIFICATE") == 0 || strcmp(p.name, "X509 CERTIFICATE") == 0) {
            return pki_cert_of_der(str_n((const char *)p.data, (size_t)p.len), err);
        }
    }
}

void pki_cert_write_pem(const struct pki_cert *c, struct buf *b)
{
    CLEANUP(pki_bio_freep) BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio_X509(bio, c->x) != 1 || !pki_bio_append(bio, b)) {
        b->failed = true;
    }
}

void pki_cert_write_der(const struct pki_cert *c, struct buf *b)
{
    unsigned char *der = NULL;
    int n = i2d_X509(c->x, &der);
    if (n > 0) {
        buf_append_bytes(b, der, (size_t)n);
    } else {
        b->failed = true;
    }
    OPENSSL_free(der);
}

void pki_cert_sha256(const struct pki_cert *c, uint8_t ret[32])
{
    unsigned n = 32;
    if (X509_digest(c->x, EVP_sha256(), ret, &n) != 1) {
        memset(ret, 0, 32);
    }
}

int64_t pki_cert_not_before(const struct pki_cert *c)
{
    return c->not_before;
}

int64_t pki_cert_not_after(const struct pki_cert *c)
{
    return c->not_after;
}

bool pki_cert_is_ca(const struct pki_cert *c)
{
    return X509_check_ca(c->x) == 1;
}

struct pki_key *pki_cert_key(const struct pki_cert *c, struct err *err)
{
    EVP_PKEY *k = X509_get_pubkey(c->x);
    if (!k) {
        (void)pki_fail(err, ERR_INVALID, "the certificate's public key cannot be read");
        return NULL;
    }
    return pki_key_wrap(k, false, err);
}

bool pki_cert_matches_key(const struct pki_cert *c, const struct pki_key *k)
{
    CLEANUP(pki_key_unrefp) struct pki_key *own = pki_cert_key(c, NULL);
    return own && pki_key_same_public(own, k);
}

struct x509_st *pki_cert_x509(const struct pki_cert *c)
{
    return c->x;
}

/* ---- looking into ---- */

static struct str name_text(const X509_NAME *name, struct arena *a)
{
    CLEANUP(pki_bio_freep) BIO *bio = BIO_new(BIO_s_mem());
    struct buf b;
    buf_init(&b, 64 << 10);
    struct str text = STR_EMPTY;
    if (bio &&
        X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >=
            0 &&
        pki_bio_append(bio, &b)) {
        text = arena_str(a, buf_str(&b));
    }
    buf_deinit(&b);
    return text;
}

static struct str hex_text(struct arena *a, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char *dst = arena_alloc(a, 2 * n + 1);
    for (size_t i = 0; dst && i < n; i++) {
        dst[2 * i] = digits[p[i] >> 4];
        dst[2 * i + 1] = digits[p[i] & 15];
    }
    return dst ? str_n(dst, 2 * n) : STR_NULL;
}

static unsigned usages_of(X509 *x)
{
    unsigned got = 0;
    ASN1_BIT_STRING *ku = X509_get_ext_d2i(x, NID_key_usage, NULL, NULL);
    EXTENDED_KEY_USAGE *eku = X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(usages); i++) {
        if (usages[i].bit >= 0 && ku && ASN1_BIT_STRING_get_bit(ku, usages[i].bit)) {
            got |= usages[i].usage;
        }
        for (int j = 0; usages[i].nid && eku && j < sk_ASN1_OBJECT_num(eku); j++) {
            got |= OBJ_obj2nid(sk_ASN1_OBJECT_value(eku, j)) == usages[i].nid ? usages[i].usage : 0;
        }
    }
    ASN1_BIT_STRING_free(ku);
    sk_ASN1_OBJECT_pop_free(eku, ASN1_OBJECT_free);
    ERR_clear_error();
    return got;
}

bool pki_cert_inspect(const struct pki_cert *c, struct arena *a, struct pki_cert_info *ret,
                      struct err *err)
{
    struct pki_cert_info i = { 0 };
    if (!pki_names_read(X509_get_subject_name(c->x), X509_get0_extensions(c->x), a, &i.names,
                        err)) {
        return false;
    }
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_cert_key(c, err);
    if (!key) {
        return false;
    }
    uint8_t md[32];
    char pin[PKI_PIN_SIZE];
    const ASN1_INTEGER *serial = X509_get0_serialNumber(c->x);
    pki_cert_sha256(c, md);
    pki_key_pin(key, pin);
    i.subject = name_text(X509_get_subject_name(c->x), a);
    i.issuer = name_text(X509_get_issuer_name(c->x), a);
    i.serial = hex_text(a, ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial));
    i.not_before = c->not_before;
    i.not_after = c->not_after;
    i.usages = usages_of(c->x);
    i.ca = pki_cert_is_ca(c);
    i.fingerprint = hex_text(a, md, sizeof(md));
    i.pin = arena_str(a, str_c(pin));
    if (!i.subject.ptr || !i.issuer.ptr || !i.serial.ptr || !i.fingerprint.ptr || !i.pin.ptr) {
        return err_set(err, ERR_TOO_LARGE, "the certificate is too large to show");
    }
    *ret = i;
    return true;
}

/* ---- bundles ---- */

bool pki_bundle_read(struct pki_bundle *ret, struct str pem, struct err *err)
{
    struct pki_bundle b = { 0 };
    struct err e = { 0 };
    for (;;) {
        struct pki_cert *c = pki_cert_read(&pem, &e);
        if (!c) {
            break;
        }
        struct pki_cert **grown =
            b.n < PKI_MAX_BUNDLE ? realloc(b.certs, (b.n + 1) * sizeof(*grown)) : NULL;
        if (!grown) {
            pki_cert_unref(c);
            (void)err_set(&e, ERR_TOO_LARGE, "more than %d certificates in one bundle",
                          PKI_MAX_BUNDLE);
            break;
        }
        b.certs = grown;
        b.certs[b.n++] = c;
    }
    if (e.code != ERR_NOT_FOUND || b.n == 0) {
        pki_bundle_deinit(&b);
        return e.code != ERR_NOT_FOUND
                   ? err_set(err, e.code, "%s", e.msg)
                   : err_set(err, ERR_INVALID, "no certificate found in the PEM text");
    }
    *ret = b;
    return true;
}

bool pki_bundle_load(struct pki_bundle *ret, const char *path, struct err *err)
{
    struct buf b;
    buf_init(&b, PKI_MAX_FILE);
    bool ok = fs_read(path, PKI_MAX_FILE, &b, err);
    if (ok) {
        ok = pki_bundle_read(ret, buf_str(&b), err) || err_wrap(err, "%s", path);
    }
    buf_deinit(&b);
    return ok;
}

void pki_bundle_deinit(struct pki_bundle *b)
{
    for (size_t i = 0; i < b->n; i++) {
        pki_cert_unref(b->certs[i]);
    }
    free(b->certs);
    *b = (struct pki_bundle){ 0 };
}
