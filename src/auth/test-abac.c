#include "auth/abac-policy.h"
#include "auth/rbac.h"
#include "auth/test-auth.h"

#define V1 "{\"apiVersion\":\"abac.authorization.kubernetes.io/v1beta1\",\"kind\":\"Policy\",\"spec\":"

static struct abac_file parse(const char *text)
{
    struct abac_file f;
    struct err err = { 0 };
    CHECK_OK(abac_file_parse(str_c(text), &f, &err), &err);
    return f;
}

static bool allows(const struct abac_file *f, const struct authz_attributes *a)
{
    for (size_t i = 0; i < f->n; i++) {
        if (abac_policy_allows(&f->policies[i], a)) {
            return true;
        }
    }
    return false;
}

static struct authz_attributes path_attr(const struct auth_user *u, const char *verb, const char *path)
{
    return (struct authz_attributes){ .user = u, .verb = str_c(verb), .path = str_c(path) };
}

TEST(policies_of_version_v1beta1_fit_by_all_that_they_name)
{
    struct str groups[] = { STR("devs"), AUTH_GROUP_AUTHENTICATED };
    struct auth_user alice = test_user("alice", groups, 2), bob = test_user("bob", groups + 1, 1), nobody = test_user("bob", NULL, 0);
    struct abac_file f = parse("# who may do what\n\n" V1 "{\"user\":\"alice\",\"namespace\":\"ns\",\"resource\":\"pods\",\"apiGroup\":\"\"}}\n" V1
                               "{\"group\":\"devs\",\"namespace\":\"*\",\"resource\":\"*\",\"apiGroup\":\"apps\",\"readonly\":true}}\r\n" V1
                               "{\"user\":\"*\",\"nonResourcePath\":\"/healthz*\",\"readonly\":true}}\n" V1 "{\"resource\":\"nodes\"}}\n");
    struct authz_attributes a = test_attr(&alice, "create", "", "pods", "ns", "");
    CHECK_INT(f.n, 4);
    CHECK_INT(f.policies[0].line, 3);
    CHECK(allows(&f, &a));
    a = test_attr(&alice, "create", "", "pods", "other", "");
    CHECK(!allows(&f, &a));
    a = test_attr(&bob, "get", "", "pods", "ns", "");
    CHECK(!allows(&f, &a));
    a = test_attr(&alice, "watch", "apps", "deployments", "x", "");
    CHECK(allows(&f, &a));
    a = test_attr(&alice, "delete", "apps", "deployments", "x", "");
    CHECK(!allows(&f, &a)); /* read only */
    a = path_attr(&bob, "get", "/healthz/etcd");
    CHECK(allows(&f, &a));
    a = path_attr(&bob, "post", "/healthz");
    CHECK(!allows(&f, &a));
    a = path_attr(&nobody, "get", "/healthz"); /* "*" is who has authenticated */
    CHECK(!allows(&f, &a));
    a = test_attr(&alice, "get", "", "nodes", "", ""); /* nobody is named: nobody fits */
    CHECK(!allows(&f, &a));
    abac_file_deinit(&f);
}

TEST(oldest_policies_mean_everything_that_they_leave_out)
{
    struct str groups[] = { AUTH_GROUP_AUTHENTICATED };
    struct auth_user admin = test_user("admin", groups, 1), kubelet = test_user("kubelet", groups, 1), bob = test_user("bob", groups, 1);
    struct abac_file f = parse("{\"user\":\"admin\"}\n{\"user\":\"kubelet\",\"resource\":\"pods\",\"readonly\":true}\n"
                               "{\"resource\":\"events\",\"namespace\":\"ns\"}\n");
    struct authz_attributes a = test_attr(&admin, "delete", "apps", "deployments", "x", "d");
    CHECK(allows(&f, &a));
    a = path_attr(&admin, "get", "/metrics");
    CHECK(allows(&f, &a));
    a = test_attr(&kubelet, "list", "", "pods", "", "");
    CHECK(allows(&f, &a));
    a = path_attr(&kubelet, "get", "/metrics");
    CHECK(!allows(&f, &a));
    a = test_attr(&bob, "create", "", "events", "ns", "");
    CHECK(allows(&f, &a));
    a = test_attr(&bob, "create", "", "events", "other", "");
    CHECK(!allows(&f, &a));
    abac_file_deinit(&f);
}

TEST(errors_of_a_policy_file_name_the_line)
{
    static const struct {
        const char *text, *want;
    } bad[] = {
        { "{\"user\":\"a\"}\n\n{\"user\":\n", "line 3: " },
        { "user,group\n", "line 1: " },
        { "# c\n{\"apiVersion\":\"abac.authorization.kubernetes.io/v2\",\"kind\":\"Policy\",\"spec\":{}}", "line 2: unrecognized object" },
        { "{\"kind\":\"Policy\",\"spec\":{\"user\":\"a\"}}", "line 1: unrecognized object" },
        { "{\"spec\":{\"user\":\"a\"}}", "line 1: \"spec\" without" },
        { "{\"user\":\"a\"} {\"user\":\"b\"}", "line 1: " },
        { "{\"user\":\"a\",\"user\":\"*\"}", "line 1: a member stands there twice" },
        { "{\"user\":7}", "line 1: " },
        { "{\"readonly\":\"true\"}", "line 1: " },
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct abac_file f;
        struct err err = { 0 };
        CHECK(!abac_file_parse(str_c(bad[i].text), &f, &err));
        CHECK_STR(str_sub(str_c(err.msg), 0, strlen(bad[i].want)), str_c(bad[i].want));
    }
}

TEST(mode_abac_decides_and_lists_by_its_file)
{
    struct test_file file = test_file_make(STR("{\"user\":\"alice\",\"resource\":\"pods\",\"readonly\":true}\n"));
    struct str modes[] = { STR("ABAC") };
    struct err err = { 0 };
    struct arena arena;
    struct rbac_rule_set rules = { 0 };
    bool incomplete = true;
    arena_init(&arena, 1 << 20);
    struct authz_config cfg = { .modes = modes, .n_modes = 1, .policy_file = file.path };
    struct authz_chain *c = authz_chain_new(&cfg, &err);
    CHECK_OK(c, &err);
    struct auth_user alice = test_user("alice", NULL, 0);
    struct authz_request r = { .attr = test_attr(&alice, "get", "", "pods", "ns", "p"), .arena = &arena, .want_reason = true };
    CHECK_INT(authz_start(c, &r), AUTHZ_ALLOW);
    CHECK_STR_C(r.reason, "ABAC: allowed by line 1 of the policy file");
    r.attr = test_attr(&alice, "delete", "", "pods", "ns", "p");
    CHECK_INT(authz_start(c, &r), AUTHZ_NO_OPINION);
    CHECK_STR_C(r.reason, "No policy matched.");
    CHECK(authz_rules(c, &alice, STR("ns"), &arena, &rules, &incomplete, &err) && !incomplete);
    CHECK_INT(rules.n, 1);
    CHECK_INT(rules.rules[0].n_verbs, 3);
    authz_chain_free(c);
    cfg.policy_file = NULL;
    CHECK(!authz_chain_new(&cfg, &err));
    CHECK_STR_C(str_c(err.msg), "authorization-mode ABAC's authorization policy file not passed");
    cfg.policy_file = "/nonexistent/policy";
    CHECK(!authz_chain_new(&cfg, &err));
    arena_deinit(&arena);
    test_file_remove(&file);
}
