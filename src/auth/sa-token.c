/* Issuing service-account tokens, and the issuer's discovery document. */
#include "auth/sa-token.h"

#include "api/json-writer.h"
#include "auth/limits.h"
#include "base/rand.h"

static void member(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, ",\"%s\":", name);
    json_write_string(b, value);
}

static void name_and_uid(struct buf *b, const char *what, struct str name, struct str uid)
{
    buf_printf(b, ",\"%s\":{\"name\":", what);
    json_write_string(b, name);
    if (uid.len > 0) {
        member(b, "uid", uid);
    }
    buf_append_char(b, '}');
}

/* Members are sorted by name, as kube-apiserver writes them. */
static void write_claims(struct buf *b, const struct sa_issuer *issuer,
                         const struct sa_token_spec *s, const struct str *audiences,
                         size_t n_audiences, int64_t expires, int64_t warn_after, const char *jti)
{
    buf_append_c(b, "{\"aud\":[");
    for (size_t i = 0; i < n_audiences; i++) {
        buf_append_c(b, i ? "," : "");
        json_write_string(b, audiences[i]);
    }
    buf_printf(b, "],\"exp\":%lld,\"iat\":%lld", (long long)expires, (long long)s->now);
    member(b, "iss", issuer->issuer);
    buf_printf(b, ",\"jti\":\"%s\",\"kubernetes.io\":{\"namespace\":", jti);
    json_write_string(b, s->namespace_);
    if (s->node_name.len > 0) {
        name_and_uid(b, "node", s->node_name, s->node_uid);
    }
    if (s->pod_name.len > 0) {
        name_and_uid(b, "pod", s->pod_name, s->pod_uid);
    }
    if (s->secret_name.len > 0) {
        name_and_uid(b, "secret", s->secret_name, s->secret_uid);
    }
    name_and_uid(b, "serviceaccount", s->name, s->uid);
    if (warn_after > 0) {
        buf_printf(b, ",\"warnafter\":%lld", (long long)warn_after);
    }
    buf_printf(b, "},\"nbf\":%lld,\"sub\":", (long long)s->now);
    struct buf sub;
    buf_init(&sub, 1024);
    buf_printf(&sub, "system:serviceaccount:%.*s:%.*s", STR_ARG(s->namespace_), STR_ARG(s->name));
    json_write_string(b, buf_str(&sub));
    buf_deinit(&sub);
    buf_append_char(b, '}');
}

bool sa_token_issue(const struct sa_issuer *issuer, const struct sa_token_spec *spec,
                    struct buf *ret, int64_t *ret_expires, char ret_jti[37], struct err *err)
{
    const struct str *audiences = spec->n_audiences ? spec->audiences : issuer->default_audiences;
    size_t n_audiences = spec->n_audiences ? spec->n_audiences : issuer->n_default_audiences;
    int64_t asked = spec->expiration_s ? spec->expiration_s : SA_TOKEN_DEFAULT_S;
    if (n_audiences > AUTH_MAX_AUDIENCES) {
        return err_set(err, ERR_BAD_REQUEST, "more than %d audiences", AUTH_MAX_AUDIENCES);
    }
    if (issuer->max_expiration_s > 0 && asked > issuer->max_expiration_s) {
        asked = issuer->max_expiration_s;
    }
    bool extend = spec->extend && asked == SA_TOKEN_WARN_S && spec->pod_name.len > 0;
    int64_t lives = extend ? SA_TOKEN_EXTENDED_S : asked;
    if (extend && issuer->max_expiration_s > 0) {
        lives = MIN(lives, issuer->max_expiration_s);
    }
    char jti[RAND_UUID_SIZE];
    rand_uuid(jti);
    struct buf claims;
    buf_init(&claims, JWT_MAX_TOKEN / 2);
    write_claims(&claims, issuer, spec, audiences, n_audiences, spec->now + lives,
                 extend ? spec->now + asked : 0, jti);
    bool ok = !buf_failed(&claims) ? jwt_sign(issuer->key, buf_str(&claims), ret, err)
                                   : err_set(err, ERR_TOO_LARGE, "the token would be too large");
    buf_deinit(&claims);
    if (ok) {
        memcpy(ret_jti, jti, sizeof(jti));
        *ret_expires = spec->now + asked;
    }
    return ok;
}

bool sa_token_issue_legacy(const struct pki_key *key, struct str namespace_, struct str name,
                           struct str uid, struct str secret_name, struct buf *ret, struct err *err)
{
    struct buf b, sub;
    buf_init(&b, JWT_MAX_TOKEN / 2);
    buf_init(&sub, 1024);
    buf_append_c(&b, "{\"iss\":");
    json_write_string(&b, SA_LEGACY_ISSUER);
    member(&b, "kubernetes.io/serviceaccount/namespace", namespace_);
    member(&b, "kubernetes.io/serviceaccount/secret.name", secret_name);
    member(&b, "kubernetes.io/serviceaccount/service-account.name", name);
    member(&b, "kubernetes.io/serviceaccount/service-account.uid", uid);
    buf_printf(&sub, "system:serviceaccount:%.*s:%.*s", STR_ARG(namespace_), STR_ARG(name));
    member(&b, "sub", buf_str(&sub));
    buf_append_char(&b, '}');
    bool ok = !buf_failed(&b) ? jwt_sign(key, buf_str(&b), ret, err)
                              : err_set(err, ERR_TOO_LARGE, "the token would be too large");
    buf_deinit(&sub);
    buf_deinit(&b);
    return ok;
}

void sa_openid_configuration(struct str issuer, struct str jwks_uri, const struct jwt_keyset *keys,
                             struct buf *b)
{
    static const struct {
        enum pki_key_kind kind;
        const char *alg;
    } algs[] = {
        { PKI_KEY_RSA, "RS256" },  { PKI_KEY_P256, "ES256" },    { PKI_KEY_P384, "ES384" },
        { PKI_KEY_P521, "ES512" }, { PKI_KEY_ED25519, "EdDSA" },
    };
    bool first = true;
    buf_append_c(b, "{\"issuer\":");
    json_write_string(b, issuer);
    member(b, "jwks_uri", jwks_uri);
    buf_append_c(
        b, ",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
           "\"id_token_signing_alg_values_supported\":[");
    for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
        bool have = false;
        for (size_t j = 0; j < keys->n && !have; j++) {
            have = pki_key_kind(keys->keys[j].key) == algs[i].kind;
        }
        if (have) {
            buf_printf(b, "%s\"%s\"", first ? "" : ",", algs[i].alg);
            first = false;
        }
    }
    buf_append_c(b, "]}");
}
