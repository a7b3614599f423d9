/*
 * SubjectPublicKeyInfo (RFC 5280 4.1.2.7) of the kinds of keys that there are. By hand, because OpenSSL looks through all its encoders
 * for it, which takes half a millisecond for each key. Curves that are written out in place of being named are left to it.
 */
#include "pki/pki-private.h"

#include <openssl/core_names.h>
#include <openssl/x509.h>

/* AlgorithmIdentifier with its parameters: RFC 5480, RFC 8017, RFC 8410. */
static const struct algorithm {
    enum pki_key_kind kind;
    struct str der;
} algorithms[] = {
    { PKI_KEY_P256, STR_INIT("\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07") },
    { PKI_KEY_P384, STR_INIT("\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22") },
    { PKI_KEY_P521, STR_INIT("\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23") },
    { PKI_KEY_RSA, STR_INIT("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00") },
    { PKI_KEY_ED25519, STR_INIT("\x30\x05\x06\x03\x2b\x65\x70") },
};

enum { TAG_INTEGER = 0x02, TAG_BIT_STRING = 0x03, TAG_SEQUENCE = 0x30 };

static void put_head(struct buf *b, unsigned char tag, size_t len)
{
    buf_append_char(b, (char)tag);
    if (len < 128) {
        buf_append_char(b, (char)len);
    } else if (len < 256) {
        buf_append_bytes(b, "\x81", 1);
        buf_append_char(b, (char)len);
    } else {
        buf_append_bytes(b, "\x82", 1);
        buf_append_char(b, (char)(len >> 8));
        buf_append_char(b, (char)len);
    }
}

static bool put_integer(struct buf *b, const EVP_PKEY *pkey, const char *param)
{
    unsigned char bytes[PKI_MAX_RSA_BITS / 8 + 1] = { 0 }; /* the first one stays zero: the number is positive */
    BIGNUM *n = NULL;
    if (!EVP_PKEY_get_bn_param(pkey, param, &n) || BN_num_bytes(n) >= (int)sizeof(bytes)) {
        BN_free(n);
        return false;
    }
    size_t len = (size_t)BN_bn2bin(n, bytes + 1), skip = bytes[1] & 0x80 ? 0 : 1;
    BN_free(n);
    put_head(b, TAG_INTEGER, len + 1 - skip);
    buf_append_bytes(b, bytes + skip, len + 1 - skip);
    return true;
}

static bool put_rsa(struct buf *b, const EVP_PKEY *pkey)
{
    CLEANUP(buf_deinit) struct buf numbers;
    buf_init(&numbers, 8192);
    if (!put_integer(&numbers, pkey, OSSL_PKEY_PARAM_RSA_N) || !put_integer(&numbers, pkey, OSSL_PKEY_PARAM_RSA_E)) {
        return false;
    }
    put_head(b, TAG_SEQUENCE, numbers.len);
    buf_append(b, buf_str(&numbers));
    return true;
}

static bool put_point(struct buf *b, const EVP_PKEY *pkey)
{
    unsigned char point[256];
    size_t n = sizeof(point);
    int ok = EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC
                 ? EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &n)
                 : EVP_PKEY_get_raw_public_key(pkey, point, &n);
    if (ok != 1) {
        return false;
    }
    buf_append_bytes(b, point, n);
    return true;
}

static bool names_its_curve(const EVP_PKEY *pkey)
{
    char encoding[32] = "";
    return EVP_PKEY_get_base_id(pkey) != EVP_PKEY_EC ||
           (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_EC_ENCODING, encoding, sizeof(encoding), NULL) == 1 &&
            strcmp(encoding, OSSL_PKEY_EC_ENCODING_GROUP) == 0);
}

static bool put_by_openssl(struct buf *b, const EVP_PKEY *pkey)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(pkey, &der);
    if (n > 0) {
        buf_append_bytes(b, der, (size_t)n);
    }
    OPENSSL_free(der);
    return n > 0 && !buf_failed(b);
}

bool pki_spki(const EVP_PKEY *pkey, enum pki_key_kind kind, struct buf *ret)
{
    if (!names_its_curve(pkey)) {
        return put_by_openssl(ret, pkey);
    }
    CLEANUP(buf_deinit) struct buf key;
    struct str algorithm = STR_NULL;
    for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
        algorithm = algorithms[i].kind == kind ? algorithms[i].der : algorithm;
    }
    buf_init(&key, 8192);
    if (!algorithm.ptr || !(kind == PKI_KEY_RSA ? put_rsa(&key, pkey) : put_point(&key, pkey))) {
        return false;
    }
    CLEANUP(buf_deinit) struct buf bits;
    buf_init(&bits, 8192);
    put_head(&bits, TAG_BIT_STRING, key.len + 1);
    buf_append_char(&bits, 0); /* no bit of the last byte is unused */
    buf_append(&bits, buf_str(&key));
    put_head(ret, TAG_SEQUENCE, algorithm.len + bits.len);
    buf_append(ret, algorithm);
    buf_append(ret, buf_str(&bits));
    return !buf_failed(&key) && !buf_failed(&bits) && !buf_failed(ret);
}
