/* JSON Web Key Sets (RFC 7517, RFC 7518 6, RFC 8037). */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "api/json-reader.h"
#include "api/json-writer.h"
#include "base/encoding.h"
#include "pki/jwt-private.h"
#include "pki/pki-private.h"

static const struct {
    enum pki_key_kind kind;
    const char *crv, *group;
    unsigned coordinate;
} curves[] = {
    { PKI_KEY_P256, "P-256", "P-256", 32 },
    { PKI_KEY_P384, "P-384", "P-384", 48 },
    { PKI_KEY_P521, "P-521", "P-521", 66 },
};

/* ---- writing ---- */

/* 'width' 0: as short as the number is. */
static void write_number(struct buf *b, EVP_PKEY *k, const char *member, const char *param,
                         unsigned width)
{
    unsigned char raw[PKI_MAX_RSA_BITS / 8];
    BIGNUM *bn = NULL;
    if (EVP_PKEY_get_bn_param(k, param, &bn) == 1) {
        int n = width ? (int)width : BN_num_bytes(bn);
        if (n <= (int)sizeof(raw) && BN_bn2binpad(bn, raw, n) == n) {
            buf_printf(b, ",\"%s\":\"", member);
            base64url_encode(b, str_n((const char *)raw, (size_t)n));
            buf_append_char(b, '"');
        }
    }
    BN_free(bn);
}

static void write_key(struct buf *b, const struct jwt_key *k)
{
    enum pki_key_kind kind = pki_key_kind(k->key);
    EVP_PKEY *pkey = pki_key_evp(k->key);
    const struct jwt_alg_row *row = jwt_alg_of_kind(kind);
    buf_printf(b, "{\"use\":\"sig\",\"kty\":\"%s\",\"kid\":",
               kind == PKI_KEY_RSA       ? "RSA"
               : kind == PKI_KEY_ED25519 ? "OKP"
                                         : "EC");
    json_write_string(b, str_c(k->kid));
    for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
        if (curves[i].kind == kind) {
            buf_printf(b, ",\"crv\":\"%s\",\"alg\":\"%s\"", curves[i].crv, row->name);
            write_number(b, pkey, "x", OSSL_PKEY_PARAM_EC_PUB_X, curves[i].coordinate);
            write_number(b, pkey, "y", OSSL_PKEY_PARAM_EC_PUB_Y, curves[i].coordinate);
        }
    }
    if (kind == PKI_KEY_RSA) {
        buf_printf(b, ",\"alg\":\"%s\"", row->name);
        write_number(b, pkey, "n", OSSL_PKEY_PARAM_RSA_N, 0);
        write_number(b, pkey, "e", OSSL_PKEY_PARAM_RSA_E, 0);
    } else if (kind == PKI_KEY_ED25519) {
        unsigned char raw[32];
        size_t n = sizeof(raw);
        buf_printf(b, ",\"crv\":\"Ed25519\",\"alg\":\"%s\",\"x\":\"", row->name);
        if (EVP_PKEY_get_raw_public_key(pkey, raw, &n) == 1) {
            base64url_encode(b, str_n((const char *)raw, n));
        }
        buf_append_char(b, '"');
    }
    buf_append_char(b, '}');
}

void jwks_write(const struct jwt_keyset *s, struct buf *b)
{
    buf_append_c(b, "{\"keys\":[");
    for (size_t i = 0; i < s->n; i++) {
        if (i > 0) {
            buf_append_char(b, ',');
        }
        write_key(b, &s->keys[i]);
    }
    buf_append_c(b, "]}");
    ERR_clear_error();
}

/* ---- reading ---- */

enum member { M_KTY, M_USE, M_KID, M_CRV, M_N, M_E, M_X, M_Y, M_MAX };
static const char *const member_names[M_MAX] = { "kty", "use", "kid", "crv", "n", "e", "x", "y" };

struct jwk {
    struct str m[M_MAX]; /* absent where not given */
};

static bool read_jwk(struct json_reader *r, struct jwk *ret)
{
    struct str key;
    int more;
    *ret = (struct jwk){ 0 };
    if (!json_object_begin(r)) {
        return false;
    }
    while ((more = json_object_next(r, &key)) > 0) {
        struct str *dst = NULL;
        for (size_t i = 0; i < M_MAX; i++) {
            dst = str_eq_c(key, member_names[i]) ? &ret->m[i] : dst;
        }
        if (dst && dst->ptr) {
            return json_fail(r, ERR_INVALID, "a key has a member twice");
        }
        if (!(dst && json_peek(r) == JSON_STRING ? json_string(r, dst) : json_skip(r))) {
            return false;
        }
    }
    return more == 0;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static EVP_PKEY *rsa_of(const struct jwk *k, struct arena *a)
{
    struct str n, e;
    EVP_PKEY *pkey = NULL;
    if (!base64url_decode(a, k->m[M_N], &n) || !base64url_decode(a, k->m[M_E], &e) ||
        n.len > PKI_MAX_RSA_BITS / 8 + 1 || e.len > 8 || n.len == 0 || e.len == 0) {
        return NULL;
    }
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *bn_n = BN_bin2bn((const unsigned char *)n.ptr, (int)n.len, NULL);
    BIGNUM *bn_e = BN_bin2bn((const unsigned char *)e.ptr, (int)e.len, NULL);
    if (bld && bn_n && bn_e && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn_n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, bn_e) == 1) {
        pkey = from_params("RSA", bld);
    }
    OSSL_PARAM_BLD_free(bld);
    BN_free(bn_n);
    BN_free(bn_e);
    return pkey;
}

static EVP_PKEY *ec_of(const struct jwk *k, struct arena *a)
{
    struct str x, y;
    for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
        if (!str_eq_c(k->m[M_CRV], curves[i].crv)) {
            continue;
        }
        unsigned char point[1 + 2 * 66] = { 4 }; /* uncompressed */
        unsigned n = curves[i].coordinate;
        if (!base64url_decode(a, k->m[M_X], &x) || !base64url_decode(a, k->m[M_Y], &y) ||
            x.len != n || y.len != n) {
            return NULL;
        }
        memcpy(point + 1, x.ptr, n);
        memcpy(point + 1 + n, y.ptr, n);
        OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
        EVP_PKEY *pkey = NULL;
        if (bld &&
            OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group, 0) ==
                1 &&
            OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point,
                                             1 + 2 * (size_t)n) == 1) {
            pkey = from_params("EC", bld);
        }
        OSSL_PARAM_BLD_free(bld);
        return pkey;
    }
    return NULL;
}

static EVP_PKEY *okp_of(const struct jwk *k, struct arena *a)
{
    struct str x;
    if (!str_eq(k->m[M_CRV], STR("Ed25519")) || !base64url_decode(a, k->m[M_X], &x) ||
        x.len != 32) {
        return NULL;
    }
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)x.ptr, x.len);
}

/* Adds the key when it is one we can use. */
static bool add_jwk(const struct jwk *k, struct arena *a, struct jwt_keyset *s)
{
    EVP_PKEY *pkey = NULL;
    if (k->m[M_USE].ptr && !str_eq(k->m[M_USE], STR("sig"))) {
        return true;
    }
    if (str_eq(k->m[M_KTY], STR("RSA"))) {
        pkey = rsa_of(k, a);
    } else if (str_eq(k->m[M_KTY], STR("EC"))) {
        pkey = ec_of(k, a);
    } else if (str_eq(k->m[M_KTY], STR("OKP"))) {
        pkey = okp_of(k, a);
    }
    ERR_clear_error();
    CLEANUP(pki_key_unrefp) struct pki_key *key = pkey ? pki_key_wrap(pkey, false, NULL) : NULL;
    return !key || jwt_keyset_add(s, key, k->m[M_KID]);
}

static bool read_keys(struct json_reader *r, struct arena *a, struct jwt_keyset *s)
{
    int more;
    size_t n = 0;
    if (!json_array_begin(r)) {
        return false;
    }
    while ((more = json_array_next(r)) > 0) {
        struct jwk k;
        if (!read_jwk(r, &k)) {
            return false;
        }
        if (++n > JWKS_MAX_KEYS || !add_jwk(&k, a, s)) {
            return json_fail(r, ERR_TOO_LARGE, "a key set of more than %d keys", JWKS_MAX_KEYS);
        }
    }
    return more == 0;
}

bool jwks_read(struct str json, struct jwt_keyset *ret, struct err *err)
{
    struct jwt_keyset s;
    struct arena a;
    struct json_reader r;
    struct str key;
    struct err why = { 0 };
    bool ok, seen = false;
    int more = -1;
    if (json.len > JWKS_MAX_SIZE) {
        return err_set(err, ERR_TOO_LARGE, "a key set of %zu bytes, the limit is %u", json.len,
                       JWKS_MAX_SIZE);
    }
    jwt_keyset_init(&s);
    arena_init(&a, 8 * (size_t)JWKS_MAX_SIZE);
    json_reader_init(&r, json, &a, 16, &why);
    ok = json_object_begin(&r);
    while (ok && (more = json_object_next(&r, &key)) > 0) {
        if (str_eq(key, STR("keys"))) {
            ok = !seen ? read_keys(&r, &a, &s)
                       : json_fail(&r, ERR_INVALID, "\"keys\" stands there twice");
            seen = true;
        } else {
            ok = json_skip(&r);
        }
    }
    ok = ok && more == 0 && json_end(&r);
    if (ok && s.n == 0) {
        ok = err_set(&why, ERR_INVALID, "no key in it can be used");
    }
    arena_deinit(&a);
    if (!ok) {
        jwt_keyset_deinit(&s);
        return err_set(err, why.code ? why.code : ERR_INVALID, "the key set cannot be read: %s",
                       why.msg);
    }
    *ret = s;
    return true;
}
