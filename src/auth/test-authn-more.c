/* Front proxies, bootstrap tokens, and audiences of tokens that know none. */
#include "api/gen/core_v1.h"
#include "auth/authn.h"
#include "auth/bootstrap-token.h"
#include "auth/test-auth.h"
#include "net/http.h"

struct ca {
    struct pki_key *key;
    struct pki_cert *cert;
    struct test_file file;
};

static void ca_make(struct ca *ca, const char *name)
{
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf pem;
    buf_init(&pem, 1 << 16);
    struct pki_cert_spec spec = { .names = { .cn = str_c(name) }, .ca = true, .path_len = -1, .not_before = TEST_NOW - 100, .not_after = TEST_NOW + 10000 };
    ca->key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK_OK(ca->key, &err);
    ca->cert = pki_cert_self_sign(ca->key, &spec, &err);
    CHECK_OK(ca->cert, &err);
    pki_cert_write_pem(ca->cert, &pem);
    ca->file = test_file_make(buf_str(&pem));
}

static void ca_end(struct ca *ca)
{
    test_file_remove(&ca->file);
    pki_cert_unref(ca->cert);
    pki_key_unref(ca->key);
}

static void issue(const struct ca *ca, const char *cn, struct buf *der)
{
    struct err err = { 0 };
    struct pki_cert_spec spec = { .names = { .cn = str_c(cn) }, .usages = PKI_USAGE_CLIENT_AUTH | PKI_USAGE_DIGITAL_SIGNATURE,
                                  .not_before = TEST_NOW - 100, .not_after = TEST_NOW + 3600 };
    struct pki_cert *c = pki_cert_sign(ca->cert, ca->key, ca->key, &spec, &err);
    CHECK_OK(c, &err);
    buf_clear(der);
    pki_cert_write_der(c, der);
    pki_cert_unref(c);
}

TEST(front_proxy_is_believed_by_its_certificate_and_name)
{
    struct str allowed[] = { STR("proxy") }, users[] = { STR("X-Remote-User") }, groups[] = { STR("X-Remote-Group") }, extra[] = { STR("X-Remote-Extra-") };
    struct http_header items[] = { { STR("x-remote-user"), STR("dora") }, { STR("x-remote-group"), STR("a") }, { STR("x-remote-group"), STR("b") },
                                   { STR("x-remote-extra-acme.com%2fscope"), STR("x") }, { STR("x-remote-extra-acme.com%2Fscope"), STR("y") } };
    struct http_headers headers = { items, ARRAY_SIZE(items) };
    struct err err = { 0 };
    struct ca clients, proxies;
    struct arena a;
    CLEANUP(buf_deinit) struct buf der;
    buf_init(&der, 1 << 16);
    arena_init(&a, 1 << 20);
    ca_make(&clients, "clients");
    ca_make(&proxies, "proxies");
    struct authn_config cfg = {
        .client_ca_file = clients.file.path,
        .anonymous = true,
        .requestheader = { .client_ca_file = proxies.file.path, .allowed_names = allowed, .n_allowed_names = 1, .username_headers = users,
                           .n_username_headers = 1, .group_headers = groups, .n_group_headers = 1, .extra_prefixes = extra, .n_extra_prefixes = 1 },
    };
    struct authn_chain *c = authn_chain_new(&cfg, &err);
    CHECK_OK(c, &err);
    issue(&proxies, "proxy", &der);
    struct str chain = buf_str(&der);
    struct authn_request r = { .arena = &a, .now = TEST_NOW, .headers = &headers, .peer_chain = &chain, .n_peer_chain = 1 };
    for (int round = 0; round < 2; round++) { /* the second time from memory */
        CHECK_INT(authn_start(c, &r), AUTHN_OK);
        CHECK_STR_C(r.user.name, "dora");
        CHECK(r.user.n_groups == 3 && auth_user_in_group(&r.user, STR("b")) && auth_user_in_group(&r.user, AUTH_GROUP_AUTHENTICATED));
        CHECK(r.user.n_extra == 1 && r.user.extra[0].n_values == 2 && str_eq(r.user.extra[0].key, STR("acme.com/scope")));
    }
    r.now = TEST_NOW + 3601; /* its certificate ends, memory or not */
    CHECK_INT(authn_start(c, &r), AUTHN_FAILED);
    r.now = TEST_NOW;
    issue(&proxies, "other", &der);
    chain = buf_str(&der);
    CHECK_INT(authn_start(c, &r), AUTHN_FAILED);
    CHECK(strstr(r.err.msg, "is not in the allowed list") != NULL);
    issue(&clients, "alice", &der); /* a client that forges the headers is itself */
    chain = buf_str(&der);
    CHECK_INT(authn_start(c, &r), AUTHN_OK);
    CHECK_STR_C(r.user.name, "alice");
    r.n_peer_chain = 0;
    CHECK_INT(authn_start(c, &r), AUTHN_OK);
    CHECK_STR_C(r.user.name, "system:anonymous");
    CHECK(authn_is_credential_header(c, STR("x-remote-user")) && authn_is_credential_header(c, STR("x-remote-extra-a")) &&
          authn_is_credential_header(c, STR("authorization")) && !authn_is_credential_header(c, STR("accept")));
    authn_chain_free(c);
    users[0] = STR("X Remote");
    CHECK(!authn_chain_new(&cfg, &err));
    ca_end(&clients);
    ca_end(&proxies);
    arena_deinit(&a);
}

/* ---- bootstrap tokens ---- */

static struct core_v1_secret *kept;

static const struct core_v1_secret *look_up(void *ctx, struct str name, struct arena *a)
{
    (void)ctx;
    (void)a;
    return kept && str_eq(name, kept->metadata.name) ? kept : NULL;
}

TEST(bootstrap_token_is_good_while_its_secret_is)
{
    struct authn_bootstrap_lookup lookup = { .get = look_up };
    struct str own[] = { STR("api") }, other[] = { STR("vault") }, both[] = { STR("vault"), STR("api") };
    struct authn_config cfg = { .bootstrap_lookup = &lookup, .anonymous = true, .api_audiences = own, .n_api_audiences = 1 };
    struct str groups[] = { STR("system:bootstrappers:lab") };
    struct bootstrap_token t = { .id = STR("abcdef"), .secret = STR("0123456789abcdef"), .authentication = true, .groups = groups, .n_groups = 1,
                                 .has_expiration = true, .expiration = TEST_NOW + 100 };
    struct core_v1_secret secret;
    struct arena a;
    struct err err = { 0 };
    arena_init(&a, 1 << 20);
    CHECK(bootstrap_token_to_secret(&t, &a, &secret));
    kept = &secret;
    struct authn_chain *c = authn_chain_new(&cfg, &err);
    CHECK_OK(c, &err);
    struct authn_request r = { .arena = &a, .now = TEST_NOW, .audiences = both, .n_audiences = 2 };
    CHECK_INT(authn_start_token(c, &r, STR("abcdef.0123456789abcdef")), AUTHN_OK);
    CHECK_STR_C(r.user.name, "system:bootstrap:abcdef");
    CHECK(r.user.n_groups == 3 && auth_user_in_group(&r.user, groups[0]) && auth_user_in_group(&r.user, BOOTSTRAP_TOKEN_GROUP));
    CHECK(r.n_ret_audiences == 1 && str_eq(r.ret_audiences[0], STR("api"))); /* it is for this server, whatever else was asked */
    r.audiences = other;
    r.n_audiences = 1;
    CHECK_INT(authn_start_token(c, &r, STR("abcdef.0123456789abcdef")), AUTHN_FAILED);
    r.n_audiences = 0;
    CHECK_INT(authn_start_token(c, &r, STR("abcdef.0123456789abcdee")), AUTHN_FAILED);
    CHECK_STR_C(str_c(r.err.msg), "invalid bearer token");
    r.now = TEST_NOW + 100;
    CHECK_INT(authn_start_token(c, &r, STR("abcdef.0123456789abcdef")), AUTHN_FAILED);
    r.now = TEST_NOW + 50;
    secret.metadata.deletion_timestamp = (struct api_time){ .sec = TEST_NOW, .set = true };
    CHECK_INT(authn_start_token(c, &r, STR("abcdef.0123456789abcdef")), AUTHN_FAILED);
    kept = NULL;
    CHECK_INT(authn_start_token(c, &r, STR("abcdef.0123456789abcdef")), AUTHN_FAILED);
    authn_chain_free(c);
    arena_deinit(&a);
}
