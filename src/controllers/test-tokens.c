/* Bootstrap tokens, tokens of service accounts in Secrets, aggregated roles. */
#include "base/encoding.h"
#include "controllers/controllers.h"
#include "client/fixture.h"
#include "pki/detached-jws.h"
#include "pki/jwt.h"

#define NOW 1800000000 /* 2027-01-15T08:00:00Z */
/* "abcdef", "0123456789abcdef", "true" in base64. */
#define TOKEN(id64, id, more)                                                                      \
    "{\"metadata\":{\"namespace\":\"kube-system\",\"name\":\"bootstrap-token-" id                  \
    "\",\"uid\":\"" id "\",\"resourceVersion\":\"4\"},"                                            \
    "\"type\":\"bootstrap.kubernetes.io/token\",\"data\":{\"token-id\":\"" id64                    \
    "\",\"token-secret\":\"MDEyMzQ1Njc4OWFiY2RlZg==\"" more "}}"
#define ABCDEF(more) TOKEN("YWJjZGVm", "abcdef", more)
#define SIGNS ",\"usage-bootstrap-signing\":\"dHJ1ZQ==\""
#define ENDS_AT_0900 ",\"expiration\":\"MjAyNy0wMS0xNVQwOTowMDowMFo=\""
#define INFO(data)                                                                                 \
    "{\"metadata\":{\"namespace\":\"kube-public\",\"name\":\"cluster-info\",\"uid\":\"i\","        \
    "\"resourceVersion\":\"5\"},\"data\":{" data "}}"

TEST(cluster_info_is_signed_by_every_token_that_may_and_no_longer_than_it_lives)
{
    struct fixture f;
    struct buf jws;
    char want[512];
    buf_init(&jws, 4096);
    detached_jws_sign(STR("abcdef"), STR("0123456789abcdef"), STR("hello"), &jws);
    fixture_init(&f, &controller_bootstrap_signer);
    f.now = NOW;
    fixture_put(
        &f, "", "v1", "configmaps",
        INFO("\"kubeconfig\":\"hello\",\"jws-kubeconfig-zzzzzz\":\"old\",\"other\":\"stays\""));
    fixture_put(&f, "", "v1", "secrets", ABCDEF(SIGNS ENDS_AT_0900));
    const char *out = fixture_pass(&f, "kube-public/cluster-info");
    snprintf(
        want, sizeof(want),
        "\"data\":{\"jws-kubeconfig-abcdef\":\"%s\",\"kubeconfig\":\"hello\",\"other\":\"stays\"}",
        jws.ptr);
    CHECK(strstr(out, want) != NULL);
    CHECK(strstr(out, "PUT configmaps kube-public/cluster-info ") == out);
    CHECK(strstr(out, "again after 3600000 ms") != NULL);
    /* What is right is left alone; what has expired, or may not sign, does not sign. */
    snprintf(want, sizeof(want), INFO("\"kubeconfig\":\"hello\",\"jws-kubeconfig-abcdef\":\"%s\""),
             jws.ptr);
    fixture_put(&f, "", "v1", "configmaps", want);
    CHECK_STR_C(str_c(fixture_pass(&f, "kube-public/cluster-info")), "again after 3600000 ms\n");
    f.now = NOW + 3600;
    CHECK(strstr(fixture_pass(&f, "kube-public/cluster-info"),
                 "\"data\":{\"kubeconfig\":\"hello\"}") != NULL);
    f.now = NOW;
    fixture_put(&f, "", "v1", "secrets", ABCDEF(ENDS_AT_0900));
    CHECK(strstr(fixture_pass(&f, "kube-public/cluster-info"),
                 "\"data\":{\"kubeconfig\":\"hello\"}") != NULL);
    fixture_put(&f, "", "v1", "configmaps", INFO("\"jws-kubeconfig-abcdef\":\"x\""));
    CHECK_STR_C(str_c(fixture_pass(&f, "kube-public/cluster-info")), ""); /* nothing to sign */
    fixture_deinit(&f);
    buf_deinit(&jws);
}

TEST(an_expired_bootstrap_token_is_deleted)
{
    struct fixture f;
    fixture_init(&f, &controller_token_cleaner);
    f.now = NOW;
    fixture_put(&f, "", "v1", "secrets", ABCDEF(ENDS_AT_0900));
    CHECK_STR_C(str_c(fixture_pass(&f, "kube-system/bootstrap-token-abcdef")),
                "again after 3600000 ms\n");
    f.now = NOW + 3600;
    CHECK(strstr(fixture_pass(&f, "kube-system/bootstrap-token-abcdef"),
                 "DELETE secrets kube-system/bootstrap-token-abcdef {") != NULL);
    f.now = NOW;
    fixture_put(&f, "", "v1", "secrets", ABCDEF(",\"expiration\":\"c29vbg==\"")); /* "soon" */
    CHECK(strstr(fixture_pass(&f, "kube-system/bootstrap-token-abcdef"), "DELETE ") != NULL);
    fixture_put(&f, "", "v1", "secrets", ABCDEF(""));
    CHECK_STR_C(str_c(fixture_pass(&f, "kube-system/bootstrap-token-abcdef")), "");
    fixture_deinit(&f);
}

/* ---- tokens of service accounts ---- */

#define ACCOUNT(more)                                                                              \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"robot\",\"uid\":\"robot-uid\","                 \
    "\"resourceVersion\":\"2\",\"creationTimestamp\":\"2020-01-01T00:00:00Z\"}" more "}"
#define SECRET(annotations, labels, data)                                                          \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"t\",\"uid\":\"t-uid\",\"resourceVersion\":"     \
    "\"6\",\"creationTimestamp\":\"2020-01-01T00:00:00Z\","                                        \
    "\"annotations\":{" annotations "},\"labels\":{" labels                                        \
    "}},\"type\":\"kubernetes.io/service-account-token\",\"data\":{" data "}}"
#define OF_ROBOT "\"kubernetes.io/service-account.name\":\"robot\""

TEST(a_token_secret_is_filled_once_and_goes_with_its_account)
{
    struct fixture f;
    struct err err;
    struct arena a;
    struct jwt token;
    struct jwt_keyset keys;
    struct str b64, tail, text;
    arena_init(&a, ARENA_NO_BUDGET);
    controllers_config.root_ca_pem = STR("root");
    controllers_config.service_account_key = pki_key_generate(PKI_KEY_P256, 0, &err);
    fixture_init(&f, &controller_serviceaccount_token);
    fixture_put(&f, "", "v1", "secrets", SECRET(OF_ROBOT, "", "\"mine\":\"AAAA\""));
    const char *out = fixture_pass(&f, "d/t"); /* no account */
    CHECK(strstr(out, "GET serviceaccounts d/robot ") != NULL &&
          strstr(out, "DELETE secrets d/t {") != NULL);
    fixture_put(&f, "", "v1", "serviceaccounts", ACCOUNT(""));
    out = fixture_pass(&f, "d/t");
    CHECK(strstr(out, "PUT secrets d/t ") == out);
    CHECK(strstr(out, OF_ROBOT ",\"kubernetes.io/service-account.uid\":\"robot-uid\"") != NULL);
    CHECK(strstr(out,
                 "\"ca.crt\":\"cm9vdA==\",\"mine\":\"AAAA\",\"namespace\":\"ZA==\",\"token\":\"") !=
          NULL);
    struct str mark = STR("\"token\":\"");
    CHECK(str_cut(str_sub(str_c(out), (size_t)str_find(str_c(out), mark) + mark.len, SIZE_MAX), '"',
                  &b64, &tail));
    CHECK(base64_decode(&a, b64, &text));
    CHECK_OK(jwt_parse(text, &a, &token, &err), &err);
    jwt_keyset_init(&keys);
    CHECK(jwt_keyset_add(&keys, controllers_config.service_account_key, STR_NULL));
    CHECK_OK(jwt_verify(&token, &keys, &err), &err);
    CHECK(str_find(token.claims, STR("\"sub\":\"system:serviceaccount:d:robot\"")) >= 0);
    CHECK(str_find(token.claims, STR("robot-uid")) >= 0);
    jwt_keyset_deinit(&keys);
    fixture_put(&f, "", "v1", "secrets",
                SECRET(OF_ROBOT ",\"kubernetes.io/service-account.uid\":\"robot-uid\"", "",
                       "\"ca.crt\":\"cm9vdA==\",\"namespace\":\"ZA==\",\"token\":\"AAAA\""));
    CHECK_STR_C(str_c(fixture_pass(&f, "d/t")), "");
    /* The account was made anew: the token is another's. */
    fixture_put(&f, "", "v1", "secrets",
                SECRET(OF_ROBOT ",\"kubernetes.io/service-account.uid\":\"older\"", "", ""));
    CHECK(strstr(fixture_pass(&f, "d/t"), "DELETE secrets d/t {") != NULL);
    fixture_deinit(&f);
    controllers_config.service_account_key = pki_key_unref(controllers_config.service_account_key);
    controllers_config.root_ca_pem = STR_NULL;
    arena_deinit(&a);
}

#define TRACKED(since)                                                                             \
    "{\"metadata\":{\"namespace\":\"kube-system\",\"name\":\"kube-apiserver-legacy-service-"       \
    "account-token-tracking\",\"uid\":\"m\",\"resourceVersion\":\"2\"},\"data\":{\"since\":"       \
    "\"" since "\"}}"
#define LISTED ",\"secrets\":[{\"name\":\"t\"}]"

TEST(an_unused_token_is_marked_invalid_and_deleted_much_later)
{
    static const struct {
        const char *since, *labels, *account, *want; /* "": nothing */
    } cases[] = {
        { "2020-01-01", "", LISTED, "\"kubernetes.io/legacy-token-invalid-since\":\"2027-01-15\"" },
        { "2026-12-01", "", LISTED, "" }, /* not tracked for long enough */
        { "never", "", LISTED, "" },
        { "2020-01-01", "", "", "" }, /* a person made it */
        { "2020-01-01", "\"kubernetes.io/legacy-token-last-used\":\"2026-12-24\"", LISTED, "" },
        { "2020-01-01", "\"kubernetes.io/legacy-token-last-used\":\"2025-12-24\"", LISTED,
          "legacy-token-invalid-since" },
        { "2020-01-01", "\"kubernetes.io/legacy-token-invalid-since\":\"2026-12-24\"", LISTED, "" },
        { "2020-01-01", "\"kubernetes.io/legacy-token-invalid-since\":\"2025-12-24\"", LISTED,
          "DELETE secrets d/t {" },
    };
    controllers_config.legacy_token_cleanup_s = 365ll * 24 * 3600;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        char json[1024];
        fixture_init(&f, &controller_legacy_token_cleaner);
        f.now = NOW;
        snprintf(json, sizeof(json), TRACKED("%s"), cases[i].since);
        fixture_put(&f, "", "v1", "configmaps", json);
        snprintf(json, sizeof(json), SECRET(OF_ROBOT, "%s", ""), cases[i].labels);
        fixture_put(&f, "", "v1", "secrets", json);
        snprintf(json, sizeof(json), ACCOUNT("%s"), cases[i].account);
        fixture_put(&f, "", "v1", "serviceaccounts", json);
        const char *out = fixture_pass(&f, "all");
        CHECK(*cases[i].want ? strstr(out, cases[i].want) != NULL
                             : strcmp(out, "again after 86400000 ms\n") == 0);
        /* Somebody has it mounted. */
        fixture_put(
            &f, "", "v1", "pods",
            "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p\",\"uid\":\"p\",\"resourceVersion\":"
            "\"9\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"t\"}}]}}");
        CHECK_STR_C(str_c(fixture_pass(&f, "all")), "again after 86400000 ms\n");
        fixture_deinit(&f);
    }
}

/* ---- aggregated roles ---- */

#define ROLE(name, labels, rules, more)                                                            \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"" name                                         \
    "\",\"resourceVersion\":\"3\",\"labels\":{" labels "}},\"rules\":[" rules "]" more "}"
#define RULE(verb) "{\"verbs\":[\"" verb "\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}"
#define AGGREGATES                                                                                 \
    ",\"aggregationRule\":{\"clusterRoleSelectors\":[{\"matchLabels\":{\"to\":\"all\"}}]}"

TEST(an_aggregated_role_has_the_rules_of_its_parts_by_name_and_once)
{
    struct fixture f;
    fixture_init(&f, &controller_clusterrole_aggregation);
    fixture_put(&f, "rbac.authorization.k8s.io", "v1", "clusterroles",
                ROLE("all", "\"to\":\"all\"", "", AGGREGATES));
    fixture_put(&f, "rbac.authorization.k8s.io", "v1", "clusterroles",
                ROLE("b", "\"to\":\"all\"", RULE("list") "," RULE("get"), ""));
    fixture_put(&f, "rbac.authorization.k8s.io", "v1", "clusterroles",
                ROLE("a", "\"to\":\"all\"", RULE("get"), ""));
    fixture_put(&f, "rbac.authorization.k8s.io", "v1", "clusterroles",
                ROLE("c", "", RULE("delete"), ""));
    const char *out = fixture_pass(&f, "all");
    CHECK(strstr(out, "PUT clusterroles /all ") == out);
    CHECK(strstr(out, "\"rules\":[" RULE("get") "," RULE("list") "]") != NULL);
    fixture_put(&f, "rbac.authorization.k8s.io", "v1", "clusterroles",
                ROLE("all", "\"to\":\"all\"", RULE("get") "," RULE("list"), AGGREGATES));
    CHECK_STR_C(str_c(fixture_pass(&f, "all")), "");
    CHECK_STR_C(str_c(fixture_pass(&f, "a")), "");
    fixture_deinit(&f);
}

TEST(controllers_are_known_by_their_old_and_new_names)
{
    CHECK(controller_has_name(&controller_csr_signing, STR("csrsigning")));
    CHECK(controller_has_name(&controller_csr_signing,
                              STR("certificatesigningrequest-signing-controller")));
    CHECK(controller_has_name(&controller_endpoints, STR("endpoints-controller")) &&
          controller_has_name(&controller_endpoints, STR("endpoint")));
    CHECK(controller_has_name(&controller_deployment, STR("deployment-controller")) &&
          controller_has_name(&controller_deployment, STR("deployment")));
    CHECK(!controller_has_name(&controller_endpoints, STR("endpointslice-controller")));
    CHECK(!controller_has_name(&controller_serviceaccount, STR("serviceaccount-token-controller")));
}
