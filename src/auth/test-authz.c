#include "auth/authz.h"

#include "auth/rbac.h"
#include "auth/test-auth.h"

static struct authz_chain *chain_of(struct str *modes, size_t n, struct rbac *rbac)
{
    struct err err = { 0 };
    struct authz_config cfg = { .modes = modes, .n_modes = n, .rbac = rbac };
    struct authz_chain *c = authz_chain_new(&cfg, &err);
    CHECK_OK(c, &err);
    return c;
}

TEST(modes_are_checked)
{
    struct err err = { 0 };
    struct str twice[] = { STR("AlwaysAllow"), STR("AlwaysAllow") }, unknown[] = { STR("Magic") };
    struct authz_config cfg = { .modes = twice, .n_modes = 2 };
    CHECK(!authz_chain_new(&cfg, &err));
    CHECK_STR_C(str_c(err.msg),
                "authorization-mode \"AlwaysAllow\" has mode specified more than once");
    cfg = (struct authz_config){ .modes = unknown, .n_modes = 1 };
    CHECK(!authz_chain_new(&cfg, &err));
    CHECK_STR_C(str_c(err.msg), "authorization-mode \"Magic\" is not a valid mode");
    cfg.n_modes = 0;
    CHECK(!authz_chain_new(&cfg, &err));
}

TEST(masters_pass_before_any_mode_and_others_by_the_first_that_allows)
{
    struct str deny[] = { STR("AlwaysDeny") }, both[] = { STR("AlwaysDeny"), STR("AlwaysAllow") },
               masters = STR("system:masters");
    struct authz_chain *c = chain_of(deny, 1, NULL), *d = chain_of(both, 2, NULL);
    struct auth_user admin = test_user("admin", &masters, 1), alice = test_user("alice", NULL, 0);
    struct arena a;
    arena_init(&a, 1 << 20);
    struct authz_request r = { .attr = test_attr(&admin, "get", "", "pods", "ns", "p"),
                               .arena = &a };
    CHECK_INT(authz_start(c, &r), AUTHZ_ALLOW);
    r.attr.user = &alice;
    CHECK_INT(authz_start(c, &r), AUTHZ_NO_OPINION);
    CHECK_STR_C(r.reason, "Everything is forbidden.");
    CHECK_INT(authz_start(d, &r), AUTHZ_ALLOW);
    arena_deinit(&a);
    authz_chain_free(c);
    authz_chain_free(d);
}

/* ---- an authoriser of the test that waits ---- */

struct waiter {
    struct authz authz;
    struct authz_request *r;
    int cancelled;
};

static enum authz_result wait_authorize(struct authz *self, struct authz_request *r)
{
    CONTAINER_OF(self, struct waiter, authz)->r = r;
    return AUTHZ_WAIT;
}

static void wait_cancel(struct authz *self, struct authz_request *r)
{
    (void)r;
    CONTAINER_OF(self, struct waiter, authz)->cancelled++;
}

static void wait_free(struct authz *self)
{
    (void)self;
}

static const struct authz_ops wait_ops = {
    .mode = STR_INIT("Wait"), .authorize = wait_authorize, .cancel = wait_cancel, .free = wait_free
};

static void keep_result(struct authz_request *r, enum authz_result result)
{
    *(enum authz_result *)r->owner = result;
}

TEST(waiting_authoriser_resumes_the_chain_and_reasons_are_joined)
{
    struct str deny[] = { STR("AlwaysDeny") };
    struct authz_chain *c = chain_of(deny, 1, NULL);
    struct waiter w1 = { .authz = { &wait_ops } }, w2 = { .authz = { &wait_ops } };
    struct auth_user alice = test_user("alice", NULL, 0);
    struct arena a;
    enum authz_result got = AUTHZ_WAIT;
    arena_init(&a, 1 << 20);
    authz_chain_add(c, &w1.authz);
    authz_chain_add(c, &w2.authz);
    struct authz_request r = { .attr = test_attr(&alice, "get", "", "pods", "ns", "p"),
                               .arena = &a,
                               .done = keep_result,
                               .owner = &got };
    CHECK_INT(authz_start(c, &r), AUTHZ_WAIT);
    r.reason = STR("second says nothing");
    authz_resume(w1.r, AUTHZ_NO_OPINION);
    CHECK_INT(got, AUTHZ_WAIT); /* the third is asked */
    authz_resume(w2.r, AUTHZ_NO_OPINION);
    CHECK_INT(got, AUTHZ_NO_OPINION);
    CHECK_STR_C(r.reason, "Everything is forbidden.\nsecond says nothing");
    CHECK_INT(authz_start(c, &r), AUTHZ_WAIT);
    authz_cancel(&r);
    CHECK_INT(w1.cancelled, 1);
    CHECK_INT(authz_start(c, &r), AUTHZ_WAIT);
    authz_resume(&r, AUTHZ_DENY);
    CHECK_INT(got, AUTHZ_DENY);
    arena_deinit(&a);
    authz_chain_free(c);
}

/* As captured from kube-apiserver (errors 128 to 145). */
TEST(refusals_read_as_kubernetes_words_them)
{
    static const struct {
        const char *user, *verb, *group, *resource, *namespace_, *name, *path, *want;
    } cases[] = {
        { "system:anonymous", "get", "", "pods", "err", "pod", NULL,
          "pods \"pod\" is forbidden: User \"system:anonymous\" cannot get resource \"pods\" in "
          "API group \"\" in the namespace \"err\"" },
        { "alice", "list", "", "pods", "err", "", NULL,
          "pods is forbidden: User \"alice\" cannot list resource \"pods\" in API group \"\" in "
          "the namespace \"err\"" },
        { "alice", "list", "", "pods", "", "", NULL,
          "pods is forbidden: User \"alice\" cannot list resource \"pods\" in API group \"\" at "
          "the cluster scope" },
        { "alice", "create", "apps", "deployments", "err", "", NULL,
          "deployments.apps is forbidden: User \"alice\" cannot create resource \"deployments\" in "
          "API group \"apps\" in the namespace \"err\"" },
        { "alice", "delete", "", "nodes", "", "x", NULL,
          "nodes \"x\" is forbidden: User \"alice\" cannot delete resource \"nodes\" in API group "
          "\"\" at the cluster scope" },
        { "alice", "get", "", "pods/log", "err", "pod", NULL,
          "pods \"pod\" is forbidden: User \"alice\" cannot get resource \"pods/log\" in API group "
          "\"\" in the namespace \"err\"" },
        { "alice", "get", NULL, "", "", "", "/metrics",
          "forbidden: User \"alice\" cannot get path \"/metrics\"" },
        { "alice", "list", "none.example.com", "foos", "", "", NULL,
          "foos.none.example.com is forbidden: User \"alice\" cannot list resource \"foos\" in API "
          "group \"none.example.com\" at the cluster scope" },
        { "alice", "deletecollection", "", "pods", "err", "", NULL,
          "pods is forbidden: User \"alice\" cannot deletecollection resource \"pods\" in API "
          "group \"\" in the namespace \"err\"" },
        { "a\"b", "get", NULL, "", "", "", "/x\ny",
          "forbidden: User \"a\\\"b\" cannot get path \"/x\\ny\"" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf b;
        struct auth_user u = test_user(cases[i].user, NULL, 0);
        struct authz_attributes attr =
            test_attr(&u, cases[i].verb, cases[i].group, cases[i].resource, cases[i].namespace_,
                      cases[i].name);
        buf_init(&b, 4096);
        attr.path = str_c(cases[i].path);
        attr.resource_request = cases[i].path == NULL;
        authz_forbidden_message(&attr, STR_NULL, &b);
        CHECK_STR_C(buf_str(&b), cases[i].want);
        buf_deinit(&b);
    }
}

TEST(rules_of_a_user_are_listed_over_all_modes)
{
    struct str modes[] = { STR("AlwaysAllow"), STR("RBAC") };
    struct rbac *rbac = rbac_new();
    struct authz_chain *c = chain_of(modes, 2, rbac);
    struct auth_user alice = test_user("alice", NULL, 0);
    struct rbac_rule_set set = { 0 };
    struct err err = { 0 };
    struct arena a;
    bool incomplete = true;
    arena_init(&a, 1 << 20);
    CHECK_OK(authz_rules(c, &alice, STR("ns"), &a, &set, &incomplete, &err), &err);
    CHECK(set.n == 2 && !incomplete);
    arena_deinit(&a);
    authz_chain_free(c);
    rbac_free(rbac);
}
