#include "pki/jwt.h"

#include <openssl/hmac.h>

#include "base/encoding.h"
#include "pki/test-pki.h"

struct world {
    struct arena a;
    struct buf b;
    struct pki_key *key;
    struct jwt_keyset keys;
    struct err err;
};

static void world_make(struct world *w, enum pki_key_kind kind)
{
    *w = (struct world){ 0 };
    arena_init(&w->a, 4 << 20);
    buf_init(&w->b, 1 << 20);
    jwt_keyset_init(&w->keys);
    w->key = pki_key_generate(kind, 0, &w->err);
    CHECK_OK(w->key, &w->err);
    CHECK(jwt_keyset_add(&w->keys, w->key, STR_NULL));
}

static void world_end(struct world *w)
{
    jwt_keyset_deinit(&w->keys);
    pki_key_unref(w->key);
    buf_deinit(&w->b);
    arena_deinit(&w->a);
}

static bool accepted(struct world *w, struct str token)
{
    struct jwt t;
    return jwt_parse(token, &w->a, &t, &w->err) && jwt_verify(&t, &w->keys, &w->err);
}

TEST(tokens_of_every_key_kind_sign_and_verify)
{
    static const enum pki_key_kind kinds[] = { PKI_KEY_P256, PKI_KEY_P384, PKI_KEY_P521,
                                               PKI_KEY_RSA, PKI_KEY_ED25519 };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct world w;
        struct jwt t;
        world_make(&w, kinds[i]);
        CHECK_OK(jwt_sign(w.key, STR("{\"iss\":\"me\"}"), &w.b, &w.err), &w.err);
        CHECK_OK(jwt_parse(buf_str(&w.b), &w.a, &t, &w.err), &w.err);
        CHECK_STR_C(t.claims, "{\"iss\":\"me\"}");
        CHECK_OK(jwt_verify(&t, &w.keys, &w.err), &w.err);
        /* Every single byte of the token counts. */
        for (size_t at = 0; at < w.b.len; at += 7) {
            char kept = w.b.ptr[at];
            w.b.ptr[at] = kept == 'A' ? 'B' : 'A';
            if (w.b.ptr[at] != kept && kept != '.' && at != w.b.len - 1) {
                CHECK(!accepted(&w, buf_str(&w.b)));
            }
            w.b.ptr[at] = kept;
        }
        world_end(&w);
    }
}

/* RFC 7515, appendix A.3. */
TEST(the_es256_example_of_the_rfc_verifies)
{
    struct world w;
    struct jwt_keyset keys;
    struct jwt t;
    world_make(&w, PKI_KEY_P256);
    CHECK_OK(jwks_read(STR("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                           "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                           "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}"),
                       &keys, &w.err),
             &w.err);
    CHECK_OK(jwt_parse(STR("eyJhbGciOiJFUzI1NiJ9."
                           "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmN"
                           "vbS9pc19yb290Ijp"
                           "0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-"
                           "F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"),
                       &w.a, &t, &w.err),
             &w.err);
    CHECK_OK(jwt_verify(&t, &keys, &w.err), &w.err);
    jwt_keyset_deinit(&keys);
    world_end(&w);
}

static void forge(struct world *w, const char *header, const char *claims, struct str signature)
{
    buf_clear(&w->b);
    base64url_encode(&w->b, str_c(header));
    buf_append_char(&w->b, '.');
    base64url_encode(&w->b, str_c(claims));
    buf_append_char(&w->b, '.');
    base64url_encode(&w->b, signature);
}

TEST(alg_none_is_refused_with_and_without_a_signature)
{
    struct world w;
    world_make(&w, PKI_KEY_RSA);
    static const char *const names[] = { "none", "None", "NONE", "", "nOnE" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char header[64];
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", names[i]);
        forge(&w, header, "{}", STR(""));
        CHECK(!accepted(&w, buf_str(&w.b)));
        forge(&w, header, "{}", STR("x"));
        CHECK(!accepted(&w, buf_str(&w.b)));
    }
    world_end(&w);
}

TEST(hs256_with_the_public_key_as_secret_is_refused)
{
    struct world w;
    struct buf pem;
    unsigned char mac[32];
    unsigned n = sizeof(mac);
    world_make(&w, PKI_KEY_RSA);
    buf_init(&pem, 1 << 20);
    CHECK(pki_key_write_public(w.key, &pem));
    static const char *const algs[] = { "HS256", "RS256", "ES256" };
    for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
        char header[64];
        snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}", algs[i]);
        forge(&w, header, "{\"sub\":\"admin\"}", STR("x"));
        size_t input = (size_t)str_rfind_char(buf_str(&w.b), '.');
        CHECK(HMAC(EVP_sha256(), pem.ptr, (int)pem.len, (const unsigned char *)w.b.ptr, input, mac,
                   &n) != NULL);
        forge(&w, header, "{\"sub\":\"admin\"}", str_n((const char *)mac, n));
        CHECK(!accepted(&w, buf_str(&w.b)));
    }
    buf_deinit(&pem);
    world_end(&w);
}

TEST(header_must_agree_with_the_key_and_hold_nothing_odd)
{
    struct world w;
    struct jwt t;
    world_make(&w, PKI_KEY_P256);
    forge(&w, "{\"alg\":\"ES384\"}", "{}", STR("x"));
    CHECK(jwt_parse(buf_str(&w.b), &w.a, &t, &w.err) && !jwt_verify(&t, &w.keys, &w.err));
    CHECK_STR_C(str_c(w.err.msg), "invalid signature, no key fits the token's algorithm");
    static const char *const odd[] = {
        "{\"alg\":\"ES256\",\"alg\":\"none\"}",
        "{\"alg\":\"ES256\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"ES256\",\"b64\":false}",
        "{\"alg\":1}",
        "[]",
        "",
        "{\"alg\":\"ES256\"} x",
        "{}",
        "{\"alg\":\"ES256\",\"kid\":7}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
        forge(&w, odd[i], "{}", STR("x"));
        CHECK(!jwt_parse(buf_str(&w.b), &w.a, &t, &w.err));
    }
    /* All-zero ECDSA signature. */
    static const char zero[64];
    forge(&w, "{\"alg\":\"ES256\"}", "{}", str_n(zero, sizeof(zero)));
    CHECK(!accepted(&w, buf_str(&w.b)));
    world_end(&w);
}

TEST(shapes_that_are_no_token_are_refused_and_huge_ones_without_work)
{
    struct world w;
    struct jwt t;
    world_make(&w, PKI_KEY_P256);
    static const char *const bad[] = { "",     ".",    "..",      "a.b",   "a..b",
                                       ".a.b", "a.b.", "a.b.c.d", "!.!.!", "e30.e30.e30=" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!jwt_parse(str_c(bad[i]), &w.a, &t, &w.err));
    }
    for (size_t i = 0; i < JWT_MAX_TOKEN + 1; i++) {
        buf_append_char(&w.b, i == 10 || i == 20 ? '.' : 'A');
    }
    CHECK(!jwt_looks_like(buf_str(&w.b)) && !jwt_parse(buf_str(&w.b), &w.a, &t, &w.err) &&
          w.err.code == ERR_TOO_LARGE);
    world_end(&w);
}

TEST(several_keys_are_told_apart_by_kid_or_tried_in_turn)
{
    struct world w;
    world_make(&w, PKI_KEY_P256);
    struct pki_key *second = pki_key_generate(PKI_KEY_P256, 0, &w.err),
                   *stranger = pki_key_generate(PKI_KEY_P256, 0, &w.err);
    CHECK(second && stranger && jwt_keyset_add(&w.keys, second, STR("named")) &&
          jwt_keyset_add(&w.keys, second, STR("named")));
    CHECK_INT(w.keys.n, 2);
    CHECK_OK(jwt_sign(second, STR("{}"), &w.b, &w.err),
             &w.err); /* its kid is the hash, the set knows it as "named": all are tried */
    CHECK(accepted(&w, buf_str(&w.b)));
    buf_clear(&w.b);
    CHECK_OK(jwt_sign(stranger, STR("{}"), &w.b, &w.err), &w.err);
    CHECK(!accepted(&w, buf_str(&w.b)));
    CHECK_STR_C(str_c(w.err.msg), "invalid signature");
    pki_key_unref(second);
    pki_key_unref(stranger);
    world_end(&w);
}

TEST(key_sets_round_trip_and_pass_over_what_they_cannot_use)
{
    static const enum pki_key_kind kinds[] = { PKI_KEY_P384, PKI_KEY_P521, PKI_KEY_RSA,
                                               PKI_KEY_ED25519 };
    struct world w;
    struct jwt_keyset read;
    world_make(&w, PKI_KEY_P256);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct pki_key *k = pki_key_generate(kinds[i], 0, &w.err);
        CHECK(k && jwt_keyset_add(&w.keys, k, STR_NULL));
        pki_key_unref(k);
    }
    jwks_write(&w.keys, &w.b);
    CHECK_OK(jwks_read(buf_str(&w.b), &read, &w.err), &w.err);
    CHECK_INT(read.n, w.keys.n);
    for (size_t i = 0; i < read.n; i++) {
        CHECK(pki_key_same_public(read.keys[i].key, w.keys.keys[i].key) &&
              strcmp(read.keys[i].kid, w.keys.keys[i].kid) == 0);
    }
    jwt_keyset_deinit(&read);
    CHECK(!jwks_read(STR("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"EC\",\"crv\":\"P-"
                         "256\",\"x\":\"AA\",\"y\":\"AA\"},"
                         "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}"),
                     &read, &w.err));
    CHECK_STR_C(str_c(w.err.msg), "the key set cannot be read: no key in it can be used");
    /* A point that is not on the curve. */
    CHECK(!jwks_read(STR("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                         "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                         "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}]}"),
                     &read, &w.err));
    CHECK(!jwks_read(STR("{\"keys\":{}}"), &read, &w.err) && !jwks_read(STR("[]"), &read, &w.err) &&
          !jwks_read(STR(""), &read, &w.err));
    world_end(&w);
}

TEST(issuer_can_be_peeked_at)
{
    struct world w;
    struct str iss;
    world_make(&w, PKI_KEY_P256);
    forge(&w, "{\"alg\":\"none\"}", "{\"a\":[1,{\"iss\":\"x\"}],\"iss\":\"https://me\"}", STR("x"));
    CHECK(jwt_peek_issuer(buf_str(&w.b), &w.a, &iss));
    CHECK_STR_C(iss, "https://me");
    forge(&w, "{\"alg\":\"none\"}", "{\"iss\":\"a\",\"iss\":\"b\"}", STR("x"));
    CHECK(!jwt_peek_issuer(buf_str(&w.b), &w.a, &iss));
    forge(&w, "{\"alg\":\"none\"}", "{\"iss\":7}", STR("x"));
    CHECK(!jwt_peek_issuer(buf_str(&w.b), &w.a, &iss));
    world_end(&w);
}
