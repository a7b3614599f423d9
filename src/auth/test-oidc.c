/* Claims, discovery and URLs; the issuer itself, its keys and their rotation are tests/scenarios/authentication.sh's. */
#include "auth/https-fetch.h"
#include "auth/oidc-claims.h"
#include "auth/test-auth.h"

static const struct oidc_required required[] = { { STR_INIT("hd"), STR_INIT("example.com") } };

static struct oidc_rules rules_of(void)
{
    return (struct oidc_rules){ .issuer = STR("https://i"), .client_id = STR("c"), .username_claim = STR("sub"), .username_prefix = STR("https://i#"),
                                .groups_claim = STR("groups"), .groups_prefix = STR("oidc:") };
}

static bool ask(const char *claims, const struct oidc_rules *rules, struct arena *a, struct auth_user *u, struct err *err)
{
    int64_t expires;
    return oidc_claims_user(str_c(claims), rules, 1000, a, u, &expires, err);
}

TEST(claims_of_an_id_token_become_a_user)
{
    struct arena a;
    struct err err = { 0 };
    struct auth_user u;
    struct oidc_rules rules = rules_of();
    int64_t expires = 0;
    arena_init(&a, 1 << 20);
    struct str claims = STR("{\"iss\":\"https://i\",\"aud\":[\"x\",\"c\"],\"exp\":1001.5,\"sub\":\"7\",\"groups\":[\"a\",\"b\"],\"jti\":\"j\"}");
    CHECK_OK(oidc_claims_user(claims, &rules, 1000, &a, &u, &expires, &err), &err);
    CHECK_STR_C(u.name, "https://i#7");
    CHECK_INT(u.n_groups, 2);
    CHECK_STR_C(u.groups[1], "oidc:b");
    CHECK_STR_C(auth_user_extra(&u, AUTH_EXTRA_CREDENTIAL_ID), "JTI=j");
    CHECK_INT(expires, 1001);
    CHECK_OK(ask("{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1001,\"sub\":\"7\",\"groups\":\"one\",\"nbf\":1300}", &rules, &a, &u, &err), &err);
    CHECK(u.n_groups == 1 && str_eq(u.groups[0], STR("oidc:one")));
    rules.username_claim = STR("email");
    rules.username_prefix = STR_EMPTY;
    rules.required = required;
    rules.n_required = 1;
    CHECK_OK(ask("{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1001,\"email\":\"e@x\",\"hd\":\"example.com\"}", &rules, &a, &u, &err), &err);
    CHECK_STR_C(u.name, "e@x");
    arena_deinit(&a);
}

TEST(claims_that_do_not_hold_are_refused_with_the_reason)
{
    static const struct {
        const char *claims, *why;
    } bad[] = {
        { "{\"iss\":\"https://j\",\"aud\":\"c\",\"exp\":1001,\"sub\":\"7\"}", "another issuer" },
        { "{\"iss\":\"https://i\",\"aud\":\"d\",\"exp\":1001,\"sub\":\"7\"}", "expected audience" },
        { "{\"iss\":\"https://i\",\"exp\":1001,\"sub\":\"7\"}", "names no audience" },
        { "{\"iss\":\"https://i\",\"aud\":[\"c\",7],\"exp\":1001,\"sub\":\"7\"}", "names no audience" },
        { "{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1000,\"sub\":\"7\"}", "expired" },
        { "{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":\"1001\",\"sub\":\"7\"}", "no expiry" },
        { "{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1001,\"nbf\":1301,\"sub\":\"7\"}", "nbf" },
        { "{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1001}", "claim not present" },
        { "{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1001,\"sub\":\"\"}", "no text" },
        { "{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1001,\"sub\":\"7\",\"sub\":\"8\"}", "twice" },
        { "{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1001,\"sub\":\"7\",\"groups\":[1]}", "groups claim" },
        { "{\"iss\":\"https://i\",\"aud\":\"c\",\"exp\":1001,\"sub\":\"7\",\"_claim_names\":{\"groups\":\"s\"}}", "distributed" },
        { "[]", "cannot be read" },
        { "{\"iss\":", "cannot be read" },
    };
    struct oidc_rules rules = rules_of();
    struct auth_user u;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct arena a;
        struct err err = { 0 };
        arena_init(&a, 1 << 20);
        CHECK(!ask(bad[i].claims, &rules, &a, &u, &err));
        if (!strstr(err.msg, bad[i].why)) {
            printf("  %s: %s\n", bad[i].claims, err.msg);
        }
        CHECK(strstr(err.msg, bad[i].why) != NULL);
        arena_deinit(&a);
    }
}

TEST(discovery_document_must_be_the_issuers_own)
{
    struct arena a;
    struct err err = { 0 };
    struct str uri;
    arena_init(&a, 1 << 20);
    CHECK_OK(oidc_discovery_read(STR("{\"issuer\":\"https://i\",\"jwks_uri\":\"https://k/x\"}"), STR("https://i"), &a, &uri, &err), &err);
    CHECK_STR_C(uri, "https://k/x");
    CHECK(!oidc_discovery_read(STR("{\"issuer\":\"https://i/\",\"jwks_uri\":\"https://k/x\"}"), STR("https://i"), &a, &uri, &err));
    CHECK(!oidc_discovery_read(STR("{\"issuer\":\"https://i\"}"), STR("https://i"), &a, &uri, &err));
    CHECK(!oidc_discovery_read(STR("<html>"), STR("https://i"), &a, &uri, &err));
    arena_deinit(&a);
}

TEST(only_plain_https_urls_are_fetched)
{
    struct arena a;
    struct https_url u;
    arena_init(&a, 1 << 20);
    CHECK(https_url_parse(STR("https://h/a/b?c=d"), &a, &u, NULL) && u.port == 443 && str_eq_c(u.target, "/a/b?c=d"));
    CHECK(https_url_parse(STR("https://[::1]:8443"), &a, &u, NULL) && u.port == 8443 && strcmp(u.host, "::1") == 0 && str_eq_c(u.target, "/"));
    CHECK(https_url_parse(STR("https://h:1?x"), &a, &u, NULL) && str_eq_c(u.target, "/?x"));
    static const char *const bad[] = { "http://h", "file:///etc/passwd", "https://", "https://u@h/", "https://h:0/", "https://h:65536/", "https://h:/",
                                       "https://[::1/", "https://[::1]x/", "https://h/#f", "https://h/a b", "https://h/\r\nX: y" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!https_url_parse(str_c(bad[i]), &a, &u, NULL));
    }
    arena_deinit(&a);
}
