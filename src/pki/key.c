#include "pki/key.h"

#include <stdarg.h>
#include <stdatomic.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include "base/encoding.h"
#include "base/fs.h"
#include "net/tls-key.h"
#include "pki/limits.h"
#include "pki/pki-private.h"

struct pki_key {
    atomic_uint refs;
    EVP_PKEY *pkey;
    enum pki_key_kind kind;
    bool is_private;
    uint8_t spki_sha256[32];
};

/* ---- OpenSSL's edges ---- */

bool pki_fail(struct err *err, enum err_code code, const char *fmt, ...)
{
    char msg[512];
    va_list ap;
    ERR_clear_error();
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    return err_set(err, code, "%s", msg);
}

BIO *pki_bio_of(struct str s)
{
    return s.len <= PKI_MAX_FILE ? BIO_new_mem_buf(s.ptr ? s.ptr : "", (int)s.len) : NULL;
}

void pki_bio_freep(BIO **b)
{
    BIO_free_all(*b);
}

bool pki_bio_append(BIO *bio, struct buf *b)
{
    char *data = NULL;
    long n = BIO_get_mem_data(bio, &data);
    if (n <= 0) {
        return false;
    }
    buf_append_bytes(b, data, (size_t)n);
    return !buf_failed(b);
}

void pki_pem_deinit(struct pki_pem *p)
{
    OPENSSL_free(p->name);
    OPENSSL_free(p->header);
    OPENSSL_clear_free(p->data, p->len > 0 ? (size_t)p->len : 0);
    *p = (struct pki_pem){ 0 };
}

bool pki_pem_next(struct str *pem, struct pki_pem *ret, struct err *err)
{
    struct pki_pem p = { 0 };
    if (pem->len > PKI_MAX_FILE) {
        return err_set(err, ERR_TOO_LARGE, "PEM text of %zu bytes, the limit is %u", pem->len,
                       PKI_MAX_FILE);
    }
    CLEANUP(pki_bio_freep) BIO *bio = pki_bio_of(*pem);
    if (!bio) {
        return pki_fail(err, ERR_NO_MEMORY, "out of memory");
    }
    if (PEM_read_bio(bio, &p.name, &p.header, &p.data, &p.len) != 1) {
        bool none = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
        return none ? pki_fail(err, ERR_NOT_FOUND, "no PEM block found")
                    : pki_fail(err, ERR_INVALID, "a PEM block is damaged");
    }
    size_t left = (size_t)BIO_ctrl_pending(bio);
    *pem = str_sub(*pem, pem->len - left, left);
    *ret = p;
    return true;
}

/* ---- lifecycle ---- */

struct key_kind_row {
    enum pki_key_kind kind;
    int base_id;
    int nid; /* of the curve */
    const char *group;
};
static const struct key_kind_row kinds[] = {
    { PKI_KEY_P256, EVP_PKEY_EC, NID_X9_62_prime256v1, "P-256" },
    { PKI_KEY_P384, EVP_PKEY_EC, NID_secp384r1, "P-384" },
    { PKI_KEY_P521, EVP_PKEY_EC, NID_secp521r1, "P-521" },
    { PKI_KEY_RSA, EVP_PKEY_RSA, 0, NULL },
    { PKI_KEY_ED25519, EVP_PKEY_ED25519, 0, NULL },
};

static bool kind_of(EVP_PKEY *pkey, enum pki_key_kind *ret, struct err *err)
{
    int id = EVP_PKEY_get_base_id(pkey);
    int nid = 0;
    char group[64] = "";
    if (id == EVP_PKEY_EC) {
        size_t n = 0;
        if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), &n) != 1) {
            return pki_fail(err, ERR_INVALID, "the elliptic curve of the key has no name");
        }
        nid = OBJ_sn2nid(group);
    } else if (id == EVP_PKEY_RSA) {
        int bits = EVP_PKEY_get_bits(pkey);
        if (bits < PKI_MIN_RSA_BITS || bits > PKI_MAX_RSA_BITS) {
            return pki_fail(err, ERR_INVALID,
                            "an RSA key of %d bits is refused: %d to %d are accepted", bits,
                            PKI_MIN_RSA_BITS, PKI_MAX_RSA_BITS);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].base_id == id && kinds[i].nid == nid) {
            *ret = kinds[i].kind;
            return true;
        }
    }
    return pki_fail(err, ERR_INVALID,
                    "the key is of a kind that is not supported (ECDSA P-256, P-384, P-521, RSA "
                    "and Ed25519 are)");
}

struct pki_key *pki_key_wrap(EVP_PKEY *pkey, bool is_private, struct err *err)
{
    enum pki_key_kind kind;
    if (!kind_of(pkey, &kind, err)) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    CLEANUP(buf_deinit) struct buf der;
    buf_init(&der, 8192);
    struct pki_key *k = pki_spki(pkey, kind, &der) ? calloc(1, sizeof(*k)) : NULL;
    if (!k) {
        EVP_PKEY_free(pkey);
        (void)pki_fail(err, ERR_INVALID, "the key has no public half");
        return NULL;
    }
    atomic_init(&k->refs, 1);
    k->pkey = pkey;
    k->kind = kind;
    k->is_private = is_private;
    SHA256((const unsigned char *)der.ptr, der.len, k->spki_sha256);
    return k;
}

struct pki_key *pki_key_generate(enum pki_key_kind kind, unsigned rsa_bits, struct err *err)
{
    EVP_PKEY *pkey = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].kind != kind) {
            continue;
        }
        if (kinds[i].base_id == EVP_PKEY_EC) {
            pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", kinds[i].group);
        } else if (kinds[i].base_id == EVP_PKEY_RSA) {
            pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA",
                                     (size_t)(rsa_bits ? rsa_bits : PKI_MIN_RSA_BITS));
        } else {
            pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        }
    }
    if (!pkey) {
        (void)pki_fail(err, ERR_INTERNAL, "a key could not be made");
        return NULL;
    }
    return pki_key_wrap(pkey, true, err);
}

struct pki_key *pki_key_ref(struct pki_key *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

struct pki_key *pki_key_unref(struct pki_key *k)
{
    if (k && atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) == 1) {
        EVP_PKEY_free(k->pkey);
        free(k);
    }
    return NULL;
}

void pki_key_unrefp(struct pki_key **k)
{
    *k = pki_key_unref(*k);
}

/* ---- reading ---- */

static struct pki_key *private_of_pem(const struct pki_pem *p, struct err *err)
{
    if (p->header[0] != '\0' || strcmp(p->name, "ENCRYPTED PRIVATE KEY") == 0) {
        (void)pki_fail(err, ERR_INVALID,
                       "the private key is encrypted with a passphrase; store it without one");
        return NULL;
    }
    EVP_PKEY *pkey = net_tls_key_of_der(p->name, p->data, p->len);
    if (!pkey) {
        (void)pki_fail(err, ERR_INVALID, "the private key cannot be read");
        return NULL;
    }
    return pki_key_wrap(pkey, true, err);
}

struct pki_key *pki_key_read_private(struct str pem, struct err *err)
{
    for (;;) {
        CLEANUP(pki_pem_deinit) struct pki_pem p = { 0 };
        if (!pki_pem_next(&pem, &p, err)) {
            if (err && err->code == ERR_NOT_FOUND) {
                (void)err_set(err, ERR_NOT_FOUND, "no private key found in the PEM text");
            }
            return NULL;
        }
        if (net_tls_key_is_name(p.name)) {
            return private_of_pem(&p, err);
        }
    }
}

static struct pki_key *public_of_pem(const struct pki_pem *p, struct err *err)
{
    const unsigned char *data = p->data;
    EVP_PKEY *pkey = NULL;
    if (strcmp(p->name, "PUBLIC KEY") == 0) {
        pkey = d2i_PUBKEY(NULL, &data, p->len);
    } else if (strcmp(p->name, "RSA PUBLIC KEY") == 0) {
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &data, p->len);
    } else if (strcmp(p->name, "CERTIFICATE") == 0) {
        X509 *x = d2i_X509(NULL, &data, p->len);
        pkey = x ? X509_get_pubkey(x) : NULL;
        X509_free(x);
    } else {
        CLEANUP(pki_key_unrefp) struct pki_key *k = private_of_pem(p, err);
        return k ? pki_key_public_of(k) : NULL;
    }
    if (!pkey) {
        (void)pki_fail(err, ERR_INVALID, "the public key cannot be read");
        return NULL;
    }
    ERR_clear_error();
    return pki_key_wrap(pkey, false, err);
}

struct pki_key *pki_key_read_public(struct str *pem, struct err *err)
{
    for (;;) {
        CLEANUP(pki_pem_deinit) struct pki_pem p = { 0 };
        if (!pki_pem_next(pem, &p, err)) {
            return NULL;
        }
        if (net_tls_key_is_name(p.name) || strcmp(p.name, "PUBLIC KEY") == 0 ||
            strcmp(p.name, "RSA PUBLIC KEY") == 0 || strcmp(p.name, "CERTIFICATE") == 0) {
            return public_of_pem(&p, err);
        }
    }
}

struct pki_key *pki_key_of_spki(struct str der, struct err *err)
{
    const unsigned char *p = (const unsigned char *)der.ptr;
    EVP_PKEY *pkey =
        der.len > 0 && der.len < PKI_MAX_CERT_DER ? d2i_PUBKEY(NULL, &p, (long)der.len) : NULL;
    if (!pkey) {
        (void)pki_fail(err, ERR_INVALID, "the public key cannot be read");
        return NULL;
    }
    ERR_clear_error();
    return pki_key_wrap(pkey, false, err);
}

struct pki_key *pki_key_load_private(const char *path, struct err *err)
{
    struct buf b;
    buf_init(&b, PKI_MAX_FILE);
    struct pki_key *k = NULL;
    if (fs_read(path, PKI_MAX_FILE, &b, err)) {
        k = pki_key_read_private(buf_str(&b), err);
        if (!k) {
            (void)err_wrap(err, "%s", path);
        }
    }
    if (b.ptr) {
        explicit_bzero(b.ptr, b.capacity);
    }
    buf_deinit(&b);
    return k;
}

struct pki_key *pki_key_public_of(const struct pki_key *k)
{
    CLEANUP(buf_deinit) struct buf der;
    buf_init(&der, 8192);
    return pki_spki(k->pkey, k->kind, &der) ? pki_key_of_spki(buf_str(&der), NULL) : NULL;
}

/* ---- what it is ---- */

enum pki_key_kind pki_key_kind(const struct pki_key *k)
{
    return k->kind;
}

bool pki_key_is_private(const struct pki_key *k)
{
    return k->is_private;
}

bool pki_key_same_public(const struct pki_key *a, const struct pki_key *b)
{
    return memcmp(a->spki_sha256, b->spki_sha256, sizeof(a->spki_sha256)) == 0;
}

void pki_key_spki_sha256(const struct pki_key *k, uint8_t ret[32])
{
    memcpy(ret, k->spki_sha256, 32);
}

void pki_key_pin(const struct pki_key *k, char ret[PKI_PIN_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    memcpy(ret, "sha256:", 7);
    for (size_t i = 0; i < 32; i++) {
        ret[7 + 2 * i] = digits[k->spki_sha256[i] >> 4];
        ret[8 + 2 * i] = digits[k->spki_sha256[i] & 15];
    }
    ret[PKI_PIN_SIZE - 1] = '\0';
}

struct evp_pkey_st *pki_key_evp(const struct pki_key *k)
{
    return k->pkey;
}

/* ---- writing ---- */

enum pem_form { FORM_PKCS8, FORM_TRADITIONAL, FORM_PUBLIC };

static bool write_pem(const struct pki_key *k, enum pem_form form, struct buf *b)
{
    if (form != FORM_PUBLIC && !k->is_private) {
        return false;
    }
    /* Secure memory wipes the private text when it is freed. */
    CLEANUP(pki_bio_freep) BIO *bio = BIO_new(BIO_s_secmem());
    int ok = 0;
    if (bio && form == FORM_PKCS8) {
        ok = PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL);
    } else if (bio && form == FORM_TRADITIONAL) {
        ok = PEM_write_bio_PrivateKey_traditional(bio, k->pkey, NULL, NULL, 0, NULL, NULL);
    } else if (bio) {
        ok = PEM_write_bio_PUBKEY(bio, k->pkey);
    }
    ERR_clear_error();
    return ok == 1 && pki_bio_append(bio, b);
}

bool pki_key_write_private(const struct pki_key *k, struct buf *b)
{
    return write_pem(k, FORM_PKCS8, b);
}

bool pki_key_write_traditional(const struct pki_key *k, struct buf *b)
{
    return write_pem(k, k->kind == PKI_KEY_ED25519 ? FORM_PKCS8 : FORM_TRADITIONAL, b);
}

bool pki_key_write_public(const struct pki_key *k, struct buf *b)
{
    return write_pem(k, FORM_PUBLIC, b);
}

void pki_key_write_spki(const struct pki_key *k, struct buf *b)
{
    (void)!pki_spki(k->pkey, k->kind, b); /* it was made once, when the key was read */
}
