#include "auth/sa-token.h"

#include "auth/authn.h"
#include "auth/test-auth.h"
#include "base/encoding.h"

/* A little cluster: which objects there are, by "resource/namespace/name". */
struct object {
    const char *key, *uid, *token;
    int64_t deleted_at;
};
struct cluster {
    struct object objects[8];
    size_t n;
};

static bool cluster_get(void *ctx, struct str resource, struct str namespace_, struct str name,
                        struct arena *a, struct sa_object *ret)
{
    struct cluster *c = ctx;
    struct str key =
        arena_printf(a, "%.*s/%.*s/%.*s", STR_ARG(resource), STR_ARG(namespace_), STR_ARG(name));
    for (size_t i = 0; i < c->n; i++) {
        const struct object *o = &c->objects[i];
        if (str_eq_c(key, o->key)) {
            *ret = (struct sa_object){ .uid = str_c(o->uid),
                                       .token = str_c(o->token),
                                       .deleting = o->deleted_at != 0,
                                       .deletion_s = o->deleted_at };
            return true;
        }
    }
    return false;
}

struct world {
    struct arena arena;
    struct pki_key *key;
    struct sa_issuer issuer;
    struct sa_token_spec spec;
    struct cluster cluster;
    struct sa_lookup lookup;
    struct test_file key_file;
    struct authn_chain *chain;
    struct authn_request r;
    struct buf token;
    struct err err;
};

static const struct str issuers[] = { STR_INIT("https://kubernetes.default.svc.cluster.local"),
                                      STR_INIT("https://old.example") };

static void world_make(struct world *w, enum pki_key_kind kind)
{
    *w = (struct world){ 0 };
    arena_init(&w->arena, 8 << 20);
    buf_init(&w->token, 1 << 20);
    w->key = pki_key_generate(kind, 0, &w->err);
    CHECK_OK(w->key, &w->err);
    w->issuer = (struct sa_issuer){
        .key = w->key, .issuer = issuers[0], .default_audiences = issuers, .n_default_audiences = 1
    };
    w->spec = (struct sa_token_spec){
        .namespace_ = STR("ns"),
        .name = STR("web"),
        .uid = STR("sa-uid"),
        .now = TEST_NOW,
        .expiration_s = 3607,
        .pod_name = STR("web-1"),
        .pod_uid = STR("pod-uid"),
        .node_name = STR("n1"),
        .node_uid = STR("node-uid"),
    };
    w->cluster = (struct cluster){ { { "serviceaccounts/ns/web", "sa-uid", NULL, 0 },
                                     { "pods/ns/web-1", "pod-uid", NULL, 0 },
                                     { "secrets/ns/web-token", "secret-uid", NULL, 0 },
                                     { "nodes//n1", "node-uid", NULL, 0 } },
                                   4 };
    w->lookup = (struct sa_lookup){ .ctx = &w->cluster, .get = cluster_get };
    struct buf pem;
    buf_init(&pem, 1 << 20);
    CHECK(pki_key_write_public(w->key, &pem));
    w->key_file = test_file_make(buf_str(&pem));
    buf_deinit(&pem);
    const char *files[] = { w->key_file.path };
    struct authn_config cfg = { .service_account_key_files = files,
                                .n_service_account_key_files = 1,
                                .service_account_issuers = issuers,
                                .n_service_account_issuers = 2,
                                .sa_lookup = &w->lookup };
    w->chain = authn_chain_new(&cfg, &w->err);
    CHECK_OK(w->chain, &w->err);
    w->r = (struct authn_request){ .arena = &w->arena, .now = TEST_NOW };
}

static void world_end(struct world *w)
{
    authn_chain_free(w->chain);
    test_file_remove(&w->key_file);
    pki_key_unref(w->key);
    buf_deinit(&w->token);
    arena_deinit(&w->arena);
}

static int64_t issue(struct world *w)
{
    char jti[37];
    int64_t expires = 0;
    buf_clear(&w->token);
    CHECK_OK(sa_token_issue(&w->issuer, &w->spec, &w->token, &expires, jti, &w->err), &w->err);
    return expires;
}

/* Each asks a chain without memory of earlier answers. */
static enum authn_result review(struct world *w)
{
    CHECK(authn_chain_reload(w->chain, NULL));
    return authn_start_token(w->chain, &w->r, buf_str(&w->token));
}

TEST(bound_token_holds_the_claims_that_kubernetes_writes)
{
    struct world w;
    struct jwt t;
    char jti[37], want[1024];
    int64_t expires;
    world_make(&w, PKI_KEY_P256);
    CHECK_OK(sa_token_issue(&w.issuer, &w.spec, &w.token, &expires, jti, &w.err), &w.err);
    CHECK_INT(expires, TEST_NOW + 3607);
    CHECK_OK(jwt_parse(buf_str(&w.token), &w.arena, &t, &w.err), &w.err);
    snprintf(want, sizeof(want),
             "{\"aud\":[\"https://"
             "kubernetes.default.svc.cluster.local\"],\"exp\":1800003607,\"iat\":1800000000,"
             "\"iss\":\"https://"
             "kubernetes.default.svc.cluster.local\",\"jti\":\"%s\",\"kubernetes.io\":{"
             "\"namespace\":\"ns\","
             "\"node\":{\"name\":\"n1\",\"uid\":\"node-uid\"},\"pod\":{\"name\":\"web-1\",\"uid\":"
             "\"pod-uid\"},"
             "\"serviceaccount\":{\"name\":\"web\",\"uid\":\"sa-uid\"}},\"nbf\":1800000000,\"sub\":"
             "\"system:serviceaccount:ns:web\"}",
             jti);
    CHECK_STR_C(t.claims, want);
    world_end(&w);
}

TEST(bound_token_gives_the_account_its_groups_and_what_it_is_bound_to)
{
    static const enum pki_key_kind kinds[] = { PKI_KEY_P256, PKI_KEY_RSA };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct world w;
        world_make(&w, kinds[i]);
        (void)issue(&w);
        CHECK_INT(review(&w), AUTHN_OK);
        const struct auth_user *u = &w.r.user;
        CHECK_STR_C(u->name, "system:serviceaccount:ns:web");
        CHECK_STR_C(u->uid, "sa-uid");
        CHECK(u->n_groups == 3 && auth_user_in_group(u, STR("system:serviceaccounts:ns")) &&
              auth_user_in_group(u, STR("system:authenticated")));
        CHECK_STR_C(auth_user_extra(u, AUTH_EXTRA_POD_NAME), "web-1");
        CHECK_STR_C(auth_user_extra(u, AUTH_EXTRA_NODE_UID), "node-uid");
        CHECK(str_starts(auth_user_extra(u, AUTH_EXTRA_CREDENTIAL_ID), STR("JTI=")));
        CHECK(w.r.n_ret_audiences == 1 && str_eq(w.r.ret_audiences[0], issuers[0]));
        world_end(&w);
    }
}

TEST(token_is_good_in_its_time_alone)
{
    struct world w;
    world_make(&w, PKI_KEY_P256);
    (void)issue(&w);
    w.r.now = TEST_NOW + 3607 + 59;
    CHECK_INT(review(&w), AUTHN_OK);
    w.r.now = TEST_NOW + 3607 + 60;
    CHECK_INT(review(&w), AUTHN_FAILED);
    CHECK_STR_C(str_c(w.r.err.msg), "service account token has expired");
    w.r.now = TEST_NOW - 61;
    CHECK_INT(review(&w), AUTHN_FAILED);
    CHECK_STR_C(str_c(w.r.err.msg), "service account token is not valid yet");
    world_end(&w);
}

TEST(token_for_another_audience_is_refused)
{
    struct world w;
    struct str vault = STR("vault"), both[] = { STR("vault"), STR("https://old.example") };
    world_make(&w, PKI_KEY_P256);
    w.spec.audiences = &vault;
    w.spec.n_audiences = 1;
    (void)issue(&w);
    CHECK_INT(review(&w), AUTHN_FAILED);
    w.r.audiences = both;
    w.r.n_audiences = 2; /* a review that asks for it */
    CHECK_INT(review(&w), AUTHN_OK);
    CHECK(w.r.n_ret_audiences == 1 && str_eq(w.r.ret_audiences[0], vault));
    world_end(&w);
}

TEST(token_dies_with_what_it_is_bound_to)
{
    struct world w;
    world_make(&w, PKI_KEY_P256);
    (void)issue(&w);
    w.cluster.objects[1].uid = "another";
    CHECK_INT(review(&w), AUTHN_FAILED);
    w.cluster.objects[1].uid = "pod-uid";
    w.cluster.objects[1].deleted_at = TEST_NOW - 59; /* still shutting down */
    CHECK_INT(review(&w), AUTHN_OK);
    w.cluster.objects[1].deleted_at = TEST_NOW - 61;
    CHECK_INT(review(&w), AUTHN_FAILED);
    w.cluster.objects[1].deleted_at = 0;
    w.cluster.objects[0].uid = "recreated";
    CHECK_INT(review(&w), AUTHN_FAILED);
    w.cluster.objects[0].uid = "sa-uid";
    CHECK_INT(review(&w), AUTHN_OK);
    /* Bound to a node alone, and to a secret. */
    w.spec.pod_name = STR_NULL;
    (void)issue(&w);
    CHECK_INT(review(&w), AUTHN_OK);
    w.cluster.objects[3].uid = "another";
    CHECK_INT(review(&w), AUTHN_FAILED);
    w.spec.node_name = STR_NULL;
    w.spec.secret_name = STR("web-token");
    w.spec.secret_uid = STR("secret-uid");
    (void)issue(&w);
    CHECK_INT(review(&w), AUTHN_OK);
    w.cluster.objects[2].uid = "another";
    CHECK_INT(review(&w), AUTHN_FAILED);
    world_end(&w);
}

TEST(good_token_is_remembered_for_ten_seconds)
{
    struct world w;
    world_make(&w, PKI_KEY_P256);
    (void)issue(&w);
    CHECK_INT(review(&w), AUTHN_OK);
    w.cluster.n = 0;
    w.r.now += 9;
    CHECK_INT(authn_start_token(w.chain, &w.r, buf_str(&w.token)), AUTHN_OK);
    CHECK_STR_C(auth_user_extra(&w.r.user, AUTH_EXTRA_POD_NAME), "web-1");
    w.r.now += 1;
    CHECK_INT(authn_start_token(w.chain, &w.r, buf_str(&w.token)), AUTHN_FAILED);
    world_end(&w);
}

TEST(extended_token_lives_a_year_and_says_when_to_renew)
{
    struct world w;
    struct jwt t;
    struct sa_claims c;
    world_make(&w, PKI_KEY_P256);
    w.spec.extend = true;
    CHECK_INT(issue(&w), TEST_NOW + 3607);
    CHECK(jwt_parse(buf_str(&w.token), &w.arena, &t, &w.err) &&
          sa_claims_read(t.claims, &w.arena, &c, &w.err));
    CHECK_INT(c.expires, TEST_NOW + SA_TOKEN_EXTENDED_S);
    CHECK_INT(c.warn_after, TEST_NOW + 3607);
    w.issuer.max_expiration_s = 1800;
    CHECK_INT(issue(&w), TEST_NOW + 1800);
    world_end(&w);
}

static void sign(struct world *w, const struct pki_key *key, const char *claims)
{
    buf_clear(&w->token);
    CHECK_OK(jwt_sign(key, str_c(claims), &w->token, &w->err), &w->err);
}

#define ISS "\"iss\":\"https://kubernetes.default.svc.cluster.local\","
#define AUD "\"aud\":\"https://kubernetes.default.svc.cluster.local\","
#define EXP "\"exp\":1800003600,"
#define K8S                                                                                        \
    "\"kubernetes.io\":{\"namespace\":\"ns\",\"serviceaccount\":{\"name\":\"web\",\"uid\":\"sa-"   \
    "uid\"}},"
#define SUB "\"sub\":\"system:serviceaccount:ns:web\""

TEST(forged_and_odd_claims_are_refused)
{
    static const struct {
        const char *claims;
        enum authn_result want;
    } cases[] = {
        { "{" ISS AUD EXP K8S SUB "}", AUTHN_OK },
        { "{" ISS EXP K8S SUB "}", AUTHN_FAILED }, /* no audience */
        { "{" ISS AUD K8S SUB "}", AUTHN_FAILED }, /* no expiry */
        { "{" ISS AUD EXP K8S "\"sub\":\"system:serviceaccount:kube-system:admin\"}",
          AUTHN_FAILED }, /* another subject */
        { "{" ISS AUD EXP K8S "\"sub\":\"system:serviceaccount:ns:web\",\"sub\":\"x\"}",
          AUTHN_FAILED },
        { "{" ISS AUD EXP K8S K8S SUB "}", AUTHN_FAILED },                   /* doubled */
        { "{" ISS AUD EXP SUB "}", AUTHN_FAILED },                           /* nobody */
        { "{" ISS AUD "\"exp\":\"1800003600\"," K8S SUB "}", AUTHN_FAILED }, /* a time as text */
        { "{" ISS AUD "\"exp\":1e300," K8S SUB "}", AUTHN_FAILED },
        { "{" ISS AUD EXP "\"nbf\":1800000061," K8S SUB "}", AUTHN_FAILED },
        { "{" ISS AUD EXP "\"iat\":1800009999," K8S SUB "}", AUTHN_FAILED },
        { "{\"iss\":\"https://evil\"," AUD EXP K8S SUB "}", AUTHN_FAILED },
        { "{\"iss\":\"https://old.example\",\"aud\":[\"https://old.example\"]," EXP K8S SUB "}",
          AUTHN_OK },
        { "{" ISS AUD EXP "\"kubernetes.io\":{\"namespace\":\"ns\",\"serviceaccount\":{\"name\":"
                          "\"web:x\",\"uid\":\"sa-uid\"}}," SUB "}",
          AUTHN_FAILED },
        { "{" ISS AUD EXP
          "\"kubernetes.io\":{\"namespace\":\"ns\",\"serviceaccount\":{\"name\":\"web\"}}," SUB "}",
          AUTHN_FAILED },
        { "[]", AUTHN_FAILED },
    };
    struct world w;
    world_make(&w, PKI_KEY_P256);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        sign(&w, w.key, cases[i].claims);
        enum authn_result got = review(&w);
        if (got != cases[i].want) {
            printf("  case %zu: %s\n", i, w.r.err.msg);
        }
        CHECK_INT(got, cases[i].want);
    }
    /* The same good claims under a stranger's key. */
    struct pki_key *stranger = pki_key_generate(PKI_KEY_P256, 0, &w.err);
    sign(&w, stranger, cases[0].claims);
    CHECK_INT(review(&w), AUTHN_FAILED);
    CHECK_STR_C(str_c(w.r.err.msg), "invalid signature");
    pki_key_unref(stranger);
    world_end(&w);
}

TEST(legacy_token_lives_in_its_secret)
{
    struct world w;
    world_make(&w, PKI_KEY_P256);
    buf_clear(&w.token);
    CHECK_OK(sa_token_issue_legacy(w.key, STR("ns"), STR("web"), STR("sa-uid"), STR("web-token"),
                                   &w.token, &w.err),
             &w.err);
    CHECK_INT(review(&w), AUTHN_FAILED); /* the secret holds no token */
    w.cluster.objects[2].token = w.token.ptr;
    CHECK_INT(review(&w), AUTHN_OK);
    CHECK_STR_C(w.r.user.name, "system:serviceaccount:ns:web");
    w.cluster.objects[0].uid = "recreated";
    CHECK_INT(review(&w), AUTHN_FAILED);
    world_end(&w);
}

TEST(discovery_names_the_algorithms_of_the_keys)
{
    struct world w;
    struct jwt_keyset keys;
    struct buf b;
    world_make(&w, PKI_KEY_P256);
    jwt_keyset_init(&keys);
    buf_init(&b, 4096);
    CHECK(jwt_keyset_add(&keys, w.key, STR_NULL));
    sa_openid_configuration(issuers[0], STR("https://10.0.0.1:6443/openid/v1/jwks"), &keys, &b);
    CHECK_STR_C(
        buf_str(&b),
        "{\"issuer\":\"https://kubernetes.default.svc.cluster.local\",\"jwks_uri\":\"https://"
        "10.0.0.1:6443/openid/v1/jwks\","
        "\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
        "\"id_token_signing_alg_values_supported\":[\"ES256\"]}");
    buf_deinit(&b);
    jwt_keyset_deinit(&keys);
    world_end(&w);
}
