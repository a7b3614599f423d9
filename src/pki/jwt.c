#include "pki/jwt.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "api/json-reader.h"
#include "api/json-writer.h"
#include "base/encoding.h"
#include "pki/jwt-private.h"
#include "pki/pki-private.h"

/* Within one kind the first row is what a key of that kind signs with. */
static const struct jwt_alg_row algs[] = {
    { JWT_RS256, "RS256", PKI_KEY_RSA, EVP_sha256, false, 0 },
    { JWT_RS384, "RS384", PKI_KEY_RSA, EVP_sha384, false, 0 },
    { JWT_RS512, "RS512", PKI_KEY_RSA, EVP_sha512, false, 0 },
    { JWT_PS256, "PS256", PKI_KEY_RSA, EVP_sha256, true, 0 },
    { JWT_PS384, "PS384", PKI_KEY_RSA, EVP_sha384, true, 0 },
    { JWT_PS512, "PS512", PKI_KEY_RSA, EVP_sha512, true, 0 },
    { JWT_ES256, "ES256", PKI_KEY_P256, EVP_sha256, false, 32 },
    { JWT_ES384, "ES384", PKI_KEY_P384, EVP_sha384, false, 48 },
    { JWT_ES512, "ES512", PKI_KEY_P521, EVP_sha512, false, 66 },
    { JWT_EDDSA, "EdDSA", PKI_KEY_ED25519, NULL, false, 0 },
};

const struct jwt_alg_row *jwt_alg_row(enum jwt_alg alg)
{
    for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
        if (algs[i].alg == alg) {
            return &algs[i];
        }
    }
    return NULL;
}

const struct jwt_alg_row *jwt_alg_of_kind(enum pki_key_kind kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
        if (algs[i].kind == kind) {
            return &algs[i];
        }
    }
    return NULL;
}

const char *jwt_alg_name(enum jwt_alg alg)
{
    const struct jwt_alg_row *row = jwt_alg_row(alg);
    return row ? row->name : "unknown";
}

enum jwt_alg jwt_alg_of_name(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
        if (str_eq_c(name, algs[i].name)) {
            return algs[i].alg;
        }
    }
    return JWT_ALG_UNKNOWN;
}

/* ---- parsing ---- */

static bool split(struct str token, struct str ret[3])
{
    struct str rest;
    return str_cut(token, '.', &ret[0], &rest) && str_cut(rest, '.', &ret[1], &ret[2]) &&
           ret[0].len > 0 && ret[1].len > 0 && ret[2].len > 0 && str_find_char(ret[2], '.') < 0;
}

bool jwt_looks_like(struct str token)
{
    struct str parts[3];
    return token.len <= JWT_MAX_TOKEN && split(token, parts);
}

static bool read_header(struct str json, struct arena *a, struct jwt *t, struct err *err)
{
    struct json_reader r;
    struct str key, text;
    int more;
    json_reader_init(&r, json, a, 8, err);
    if (!json_object_begin(&r)) {
        return false;
    }
    while ((more = json_object_next(&r, &key)) > 0) {
        bool alg = str_eq(key, STR("alg")), kid = str_eq(key, STR("kid"));
        if (alg || kid) {
            struct str *dst = alg ? &t->alg_name : &t->kid;
            if (dst->ptr) {
                return json_fail(&r, ERR_UNAUTHORIZED, "the token's header has a member twice");
            }
            if (!json_string(&r, &text)) {
                return false;
            }
            *dst = text;
        } else if (str_eq(key, STR("crit")) || str_eq(key, STR("b64"))) {
            return json_fail(&r, ERR_UNAUTHORIZED,
                             "the token's header asks for extensions that are not supported");
        } else if (!json_skip(&r)) {
            return false;
        }
    }
    return more == 0 && json_end(&r);
}

bool jwt_parse(struct str token, struct arena *a, struct jwt *ret, struct err *err)
{
    struct jwt t = { 0 };
    struct str parts[3], header;
    struct err why = { 0 };
    if (token.len > JWT_MAX_TOKEN) {
        return err_set(err, ERR_TOO_LARGE, "a token of %zu bytes, the limit is %u", token.len,
                       JWT_MAX_TOKEN);
    }
    if (!split(token, parts)) {
        return err_set(err, ERR_UNAUTHORIZED, "not a signed token in compact form");
    }
    if (parts[0].len > JWT_MAX_HEADER) {
        return err_set(err, ERR_TOO_LARGE, "the token's header is larger than %u bytes",
                       JWT_MAX_HEADER);
    }
    if (!base64url_decode(a, parts[0], &header) || !base64url_decode(a, parts[1], &t.claims) ||
        !base64url_decode(a, parts[2], &t.signature)) {
        return err_set(err, ERR_UNAUTHORIZED, "the token is not base64url");
    }
    if (!read_header(header, a, &t, &why)) {
        return err_set(err, ERR_UNAUTHORIZED, "the token's header cannot be read: %s", why.msg);
    }
    if (str_empty(t.alg_name)) {
        return err_set(err, ERR_UNAUTHORIZED, "the token's header names no algorithm");
    }
    t.alg = jwt_alg_of_name(t.alg_name);
    t.signing_input = str_n(token.ptr, parts[0].len + 1 + parts[1].len);
    *ret = t;
    return true;
}

bool jwt_peek_issuer(struct str token, struct arena *a, struct str *ret)
{
    struct str parts[3], claims, key;
    struct json_reader r;
    if (token.len > JWT_MAX_TOKEN || !split(token, parts) ||
        !base64url_decode(a, parts[1], &claims)) {
        return false;
    }
    struct str issuer = STR_NULL;
    int more;
    json_reader_init(&r, claims, a, 32, NULL);
    if (!json_object_begin(&r)) {
        return false;
    }
    while ((more = json_object_next(&r, &key)) > 0) {
        if (str_eq(key, STR("iss")) && json_peek(&r) == JSON_STRING) {
            if (issuer.ptr || !json_string(&r, &issuer)) {
                return false;
            }
        } else if (!json_skip(&r)) {
            return false;
        }
    }
    if (more < 0 || !issuer.ptr) {
        return false;
    }
    *ret = issuer;
    return true;
}

/* ---- key sets ---- */

void jwt_keyset_init(struct jwt_keyset *s)
{
    *s = (struct jwt_keyset){ 0 };
}

void jwt_keyset_deinit(struct jwt_keyset *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->keys[i].kid);
        pki_key_unref(s->keys[i].key);
    }
    free(s->keys);
    *s = (struct jwt_keyset){ 0 };
}

void jwt_key_id(const struct pki_key *k, struct buf *b)
{
    uint8_t md[32];
    pki_key_spki_sha256(k, md);
    base64url_encode(b, str_n((const char *)md, sizeof(md)));
}

bool jwt_keyset_has(const struct jwt_keyset *s, struct str kid)
{
    for (size_t i = 0; i < s->n; i++) {
        if (str_eq_c(kid, s->keys[i].kid)) {
            return true;
        }
    }
    return false;
}

bool jwt_keyset_add(struct jwt_keyset *s, struct pki_key *k, struct str kid)
{
    struct buf id;
    buf_init(&id, JWT_MAX_HEADER);
    if (kid.ptr) {
        buf_append(&id, kid);
    } else {
        jwt_key_id(k, &id);
    }
    for (size_t i = 0; i < s->n; i++) {
        if (pki_key_same_public(s->keys[i].key, k) && str_eq_c(buf_str(&id), s->keys[i].kid)) {
            buf_deinit(&id);
            return true;
        }
    }
    struct pki_key *pub = pki_key_is_private(k) ? pki_key_public_of(k) : pki_key_ref(k);
    struct jwt_key *grown = s->n < JWKS_MAX_KEYS && pub && !buf_failed(&id)
                                ? realloc(s->keys, (s->n + 1) * sizeof(*grown))
                                : NULL;
    char *text = grown ? strndup(buf_str(&id).ptr, id.len) : NULL;
    buf_deinit(&id);
    if (grown) {
        s->keys = grown;
    }
    if (!text) {
        pki_key_unref(pub);
        return false;
    }
    s->keys[s->n++] = (struct jwt_key){ .kid = text, .key = pub };
    return true;
}

bool jwt_keyset_add_pem(struct jwt_keyset *s, struct str pem, struct err *err)
{
    struct err e = { 0 };
    size_t found = 0;
    for (;;) {
        CLEANUP(pki_key_unrefp) struct pki_key *k = pki_key_read_public(&pem, &e);
        if (!k) {
            break;
        }
        found++;
        if (!jwt_keyset_add(s, k, STR_NULL)) {
            return err_set(err, ERR_TOO_LARGE, "more than %d keys", JWKS_MAX_KEYS);
        }
    }
    if (e.code != ERR_NOT_FOUND) {
        return err_set(err, e.code, "%s", e.msg);
    }
    return found > 0 ? true
                     : err_set(err, ERR_INVALID,
                               "no public key, certificate or private key found in the PEM text");
}

/* ---- signatures ---- */

/* JOSE writes ECDSA signatures as r and s side by side (RFC 7518 3.4), OpenSSL as DER. Returns the
 * DER, or NULL. */
static unsigned char *ecdsa_to_der(struct str raw, unsigned coordinate, int *ret_len)
{
    unsigned char *der = NULL;
    ECDSA_SIG *sig = raw.len == 2 * (size_t)coordinate ? ECDSA_SIG_new() : NULL;
    const unsigned char *p = (const unsigned char *)raw.ptr;
    BIGNUM *r = sig ? BN_bin2bn(p, (int)coordinate, NULL) : NULL;
    BIGNUM *s = sig ? BN_bin2bn(p + coordinate, (int)coordinate, NULL) : NULL;
    if (r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        *ret_len = i2d_ECDSA_SIG(sig, &der);
        der = *ret_len > 0 ? der : NULL;
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return der;
}

static bool set_padding(EVP_PKEY_CTX *ctx, const struct jwt_alg_row *row)
{
    return !row->pss || (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                         EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static bool verify_one(const struct jwt *t, const struct jwt_alg_row *row, const struct pki_key *k)
{
    if (pki_key_kind(k) != row->kind) {
        return false;
    }
    const unsigned char *sig = (const unsigned char *)t->signature.ptr;
    size_t sig_len = t->signature.len;
    unsigned char *der = NULL;
    if (row->coordinate) {
        int n = 0;
        der = ecdsa_to_der(t->signature, row->coordinate, &n);
        if (!der) {
            ERR_clear_error();
            return false;
        }
        sig = der;
        sig_len = (size_t)n;
    }
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    bool ok =
        md &&
        EVP_DigestVerifyInit(md, &ctx, row->md ? row->md() : NULL, NULL, pki_key_evp(k)) == 1 &&
        set_padding(ctx, row) &&
        EVP_DigestVerify(md, sig, sig_len, (const unsigned char *)t->signing_input.ptr,
                         t->signing_input.len) == 1;
    EVP_MD_CTX_free(md);
    OPENSSL_free(der);
    ERR_clear_error();
    return ok;
}

bool jwt_verify(const struct jwt *t, const struct jwt_keyset *keys, struct err *err)
{
    const struct jwt_alg_row *row = jwt_alg_row(t->alg);
    if (!row) {
        return err_set(err, ERR_UNAUTHORIZED, "the token's algorithm is not accepted");
    }
    bool by_kid = t->kid.ptr && jwt_keyset_has(keys, t->kid), fits = false;
    for (size_t i = 0; i < keys->n; i++) {
        if (by_kid && !str_eq_c(t->kid, keys->keys[i].kid)) {
            continue;
        }
        fits = fits || pki_key_kind(keys->keys[i].key) == row->kind;
        if (verify_one(t, row, keys->keys[i].key)) {
            return true;
        }
    }
    return fits ? err_set(err, ERR_UNAUTHORIZED, "invalid signature")
                : err_set(err, ERR_UNAUTHORIZED,
                          "invalid signature, no key fits the token's algorithm");
}

static bool append_signature(struct buf *b, const struct jwt_alg_row *row, const unsigned char *sig,
                             size_t len)
{
    if (!row->coordinate) {
        base64url_encode(b, str_n((const char *)sig, len));
        return true;
    }
    unsigned char raw[2 * 66];
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &sig, (long)len);
    int n = (int)row->coordinate;
    bool ok = s && BN_bn2binpad(ECDSA_SIG_get0_r(s), raw, n) == n &&
              BN_bn2binpad(ECDSA_SIG_get0_s(s), raw + n, n) == n;
    ECDSA_SIG_free(s);
    if (ok) {
        base64url_encode(b, str_n((const char *)raw, 2 * (size_t)n));
    }
    return ok;
}

bool jwt_sign(const struct pki_key *key, struct str claims_json, struct buf *b, struct err *err)
{
    const struct jwt_alg_row *row = jwt_alg_of_kind(pki_key_kind(key));
    struct buf header;
    size_t start = b->len;
    if (!row || !pki_key_is_private(key)) {
        return err_set(err, ERR_INTERNAL, "the key cannot sign tokens");
    }
    buf_init(&header, 1024);
    buf_printf(&header, "{\"alg\":\"%s\",\"kid\":\"", row->name);
    jwt_key_id(key, &header);
    buf_append_c(&header, "\"}");
    base64url_encode(b, buf_str(&header));
    buf_append_char(b, '.');
    base64url_encode(b, claims_json);
    buf_deinit(&header);
    if (buf_failed(b)) {
        return err_set(err, ERR_TOO_LARGE, "the token is too large");
    }
    unsigned char sig[PKI_MAX_RSA_BITS / 8];
    size_t len = sizeof(sig);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    bool ok =
        md &&
        EVP_DigestSignInit(md, &ctx, row->md ? row->md() : NULL, NULL, pki_key_evp(key)) == 1 &&
        set_padding(ctx, row) &&
        EVP_DigestSign(md, sig, &len, (const unsigned char *)b->ptr + start, b->len - start) == 1;
    EVP_MD_CTX_free(md);
    buf_append_char(b, '.');
    if (!ok || !append_signature(b, row, sig, len)) {
        return pki_fail(err, ERR_INTERNAL, "the token could not be signed");
    }
    return buf_failed(b) ? err_set(err, ERR_TOO_LARGE, "the token is too large") : true;
}
