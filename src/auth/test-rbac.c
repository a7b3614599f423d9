#include "auth/rbac.h"

#include "api/decode-json.h"
#include "api/gen/rbac_v1.h"
#include "auth/rbac-bootstrap.h"
#include "auth/test-auth.h"
#include "base/clock.h"

struct world {
    struct arena arena;
    struct rbac *rbac;
};

static void world_make(struct world *w)
{
    arena_init(&w->arena, 64 << 20);
    w->rbac = rbac_new();
}

static void world_end(struct world *w)
{
    rbac_free(w->rbac);
    arena_deinit(&w->arena);
}

static const void *decode(struct world *w, const struct api_type *t, const char *json)
{
    struct err err = { 0 };
    void *o = arena_alloc(&w->arena, t->size);
    CHECK(o != NULL);
    CHECK_OK(api_decode_json(&w->arena, t, str_c(json), NULL, o, &err), &err);
    return o;
}

#define PUT(w, what, json) rbac_put_##what((w)->rbac, decode((w), &rbac_v1_##what##_type, (json)))

static bool can(struct world *w, const struct authz_attributes *attr)
{
    return rbac_authorize(w->rbac, attr, NULL, NULL) == AUTHZ_ALLOW;
}

TEST(rules_match_verbs_groups_resources_subresources_and_names)
{
    struct world w;
    struct auth_user u = { .name = STR("alice") };
    world_make(&w);
    PUT(&w, cluster_role_binding,
        "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"r\"},"
        "\"subjects\":[{\"kind\":\"User\",\"name\":\"alice\"}]}");
    PUT(&w, cluster_role,
        "{\"metadata\":{\"name\":\"r\"},\"rules\":["
        "{\"verbs\":[\"get\",\"frobnicate\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"pods/"
        "log\"]},"
        "{\"verbs\":[\"update\"],\"apiGroups\":[\"apps\"],\"resources\":[\"*/scale\"]},"
        "{\"verbs\":[\"delete\"],\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],"
        "\"resourceNames\":[\"one\"]},"
        "{\"verbs\":[\"*\"],\"apiGroups\":[\"x.io\"],\"resources\":[\"*\"]},"
        "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/api/*\"]}]}");
    static const struct {
        const char *verb, *group, *resource, *name;
        bool want;
    } cases[] = {
        { "get", "", "pods", "p", true },
        { "list", "", "pods", "", false },
        { "frobnicate", "", "pods", "", true },
        { "get", "", "pods/log", "p", true },
        { "get", "", "pods/exec", "p", false },
        { "get", "apps", "pods", "p", false },
        { "update", "apps", "deployments/scale", "d", true },
        { "update", "apps", "deployments", "d", false },
        { "update", "", "deployments/scale", "d", false },
        { "delete", "", "secrets", "one", true },
        { "delete", "", "secrets", "two", false },
        { "delete", "", "secrets", "", false },
        { "zap", "x.io", "any/sub", "", true },
        { "get", "", "pod", "p", false },
        { "get", "", "pods/lo", "p", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct authz_attributes a =
            test_attr(&u, cases[i].verb, cases[i].group, cases[i].resource, "ns", cases[i].name);
        if (can(&w, &a) != cases[i].want) {
            printf("  case %zu: %s %s\n", i, cases[i].verb, cases[i].resource);
        }
        CHECK(can(&w, &a) == cases[i].want);
    }
    static const struct {
        const char *verb, *path;
        bool want;
    } paths[] = {
        { "get", "/healthz", true }, { "get", "/healthz/x", false }, { "get", "/api/v1", true },
        { "get", "/api", false },    { "post", "/healthz", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct authz_attributes a = { .user = &u,
                                      .verb = str_c(paths[i].verb),
                                      .path = str_c(paths[i].path) };
        CHECK(can(&w, &a) == paths[i].want);
    }
    world_end(&w);
}

TEST(subjects_are_users_groups_and_service_accounts)
{
    struct world w;
    world_make(&w);
    PUT(&w, cluster_role,
        "{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],"
        "\"resources\":[\"pods\"]}]}");
    PUT(&w, role_binding,
        "{\"metadata\":{\"name\":\"b\",\"namespace\":\"ns\"},\"roleRef\":{\"kind\":\"ClusterRole\","
        "\"name\":\"r\"},\"subjects\":["
        "{\"kind\":\"Group\",\"name\":\"devs\"},{\"kind\":\"ServiceAccount\",\"name\":\"web\"},"
        "{\"kind\":\"ServiceAccount\",\"name\":\"ci\",\"namespace\":\"tools\"},{\"kind\":\"User\","
        "\"name\":\"devs\"}]}");
    struct str devs = STR("devs");
    struct auth_user dev = test_user("x", &devs, 1),
                     web = test_user("system:serviceaccount:ns:web", NULL, 0),
                     ci = test_user("system:serviceaccount:tools:ci", NULL, 0),
                     other = test_user("system:serviceaccount:tools:web", NULL, 0);
    const struct auth_user *good[] = { &dev, &web, &ci };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct authz_attributes a = test_attr(good[i], "get", "", "pods", "ns", "p"),
                                b = test_attr(good[i], "get", "", "pods", "other", "p"),
                                all = test_attr(good[i], "get", "", "pods", "", "");
        CHECK(can(&w, &a) && !can(&w, &b) && !can(&w, &all));
    }
    struct authz_attributes a = test_attr(&other, "get", "", "pods", "ns", "p");
    CHECK(!can(&w, &a));
    world_end(&w);
}

TEST(order_of_arrival_does_not_matter_and_deletion_takes_effect)
{
    struct world w;
    struct auth_user u = { .name = STR("alice") };
    struct authz_attributes a = test_attr(&u, "get", "", "pods", "ns", "p");
    static const char *const role =
        "{\"metadata\":{\"name\":\"r\",\"namespace\":\"ns\"},\"rules\":[{\"verbs\":[\"get\"],"
        "\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]}";
    static const char *const binding =
        "{\"metadata\":{\"name\":\"b\",\"namespace\":\"ns\"},\"roleRef\":{\"kind\":\"Role\","
        "\"name\":\"r\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"alice\"}]}";
    struct str reason = STR_NULL;
    world_make(&w);
    PUT(&w, role_binding, binding);
    CHECK(!can(&w, &a));
    CHECK_INT(rbac_authorize(w.rbac, &a, &w.arena, &reason), AUTHZ_NO_OPINION);
    CHECK_STR_C(reason, "RBAC: role.rbac.authorization.k8s.io \"r\" not found");
    PUT(&w, role, role);
    CHECK(can(&w, &a));
    CHECK_INT(rbac_authorize(w.rbac, &a, &w.arena, &reason), AUTHZ_ALLOW);
    CHECK_STR_C(reason, "RBAC: allowed by RoleBinding \"b/ns\" of Role \"r\" to User \"alice\"");
    rbac_delete_role(w.rbac, STR("ns"), STR("r"));
    CHECK(!can(&w, &a));
    PUT(&w, role, role);
    PUT(&w, role_binding, binding);
    CHECK(can(&w, &a));
    rbac_delete_role_binding(w.rbac, STR("ns"), STR("b"));
    CHECK(!can(&w, &a));
    rbac_delete_role_binding(w.rbac, STR("ns"), STR("b"));
    rbac_delete_role(w.rbac, STR("ns"), STR("r"));
    rbac_delete_cluster_role(w.rbac, STR("none"));
    world_end(&w);
}

TEST(forgetting_a_kind_leaves_the_others)
{
    struct world w;
    struct err err = { 0 };
    struct str authenticated = STR("system:authenticated");
    struct auth_user alice = test_user("alice", &authenticated, 1);
    struct authz_attributes a = { .user = &alice, .verb = STR("get"), .path = STR("/apis/apps/v1") };
    world_make(&w);
    CHECK_OK(rbac_bootstrap_feed(w.rbac, &err), &err);
    CHECK(can(&w, &a));
    rbac_forget(w.rbac, RBAC_ROLE_BINDINGS);
    rbac_forget(w.rbac, RBAC_ROLES);
    CHECK(can(&w, &a));
    rbac_forget(w.rbac, RBAC_CLUSTER_ROLES);
    CHECK(!can(&w, &a));
    CHECK_OK(rbac_bootstrap_feed(w.rbac, &err), &err);
    CHECK(can(&w, &a));
    rbac_forget(w.rbac, RBAC_CLUSTER_ROLE_BINDINGS);
    CHECK(!can(&w, &a));
    world_end(&w);
}

TEST(bootstrap_gives_masters_all_and_everybody_discovery)
{
    struct world w;
    struct err err = { 0 };
    world_make(&w);
    CHECK_OK(rbac_bootstrap_feed(w.rbac, &err), &err);
    struct str masters = STR("system:masters"), authenticated = STR("system:authenticated");
    struct auth_user admin = test_user("admin", &masters, 1),
                     alice = test_user("alice", &authenticated, 1);
    struct auth_user sched = test_user("system:kube-scheduler", &authenticated, 1);
    struct authz_attributes a = test_attr(&admin, "delete", "any.io", "things", "ns", "x"),
                            b = test_attr(&alice, "get", "", "pods", "ns", "p");
    struct authz_attributes c = { .user = &alice,
                                  .verb = STR("get"),
                                  .path = STR("/apis/apps/v1") };
    struct authz_attributes d =
        test_attr(&alice, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", "");
    struct authz_attributes e = test_attr(&sched, "create", "", "pods/binding", "ns", "p");
    CHECK(can(&w, &a) && !can(&w, &b) && can(&w, &c) && can(&w, &d) && can(&w, &e));
    struct str reason;
    CHECK_INT(rbac_authorize(w.rbac, &a, &w.arena, &reason), AUTHZ_ALLOW);
    CHECK_STR_C(reason, "RBAC: allowed by ClusterRoleBinding \"cluster-admin\" of ClusterRole "
                        "\"cluster-admin\" to Group \"system:masters\"");
    world_end(&w);
}

TEST(bootstrap_roles_are_whole_and_marked)
{
    struct world w;
    struct err err = { 0 };
    struct rbac_bootstrap b;
    size_t seen = 0;
    world_make(&w);
    CHECK_OK(rbac_bootstrap_decode(&w.arena, &b, &err), &err);
    CHECK(b.n_cluster_roles == 70 && b.n_cluster_role_bindings == 51 && b.n_roles == 7 &&
          b.n_role_bindings == 7);
    for (size_t i = 0; i < b.n_cluster_roles; i++) {
        const struct rbac_v1_cluster_role *o = &b.cluster_roles[i];
        CHECK(o->metadata.n_annotations == 1 && o->n_rules > 0);
        bool marked = false;
        for (size_t k = 0; k < o->metadata.n_labels; k++) {
            marked =
                marked || str_eq(o->metadata.labels[k].key, STR("kubernetes.io/bootstrapping"));
            CHECK(k == 0 || str_cmp(o->metadata.labels[k - 1].key, o->metadata.labels[k].key) < 0);
        }
        CHECK(marked);
        seen += str_eq(o->metadata.name, STR("admin")) || str_eq(o->metadata.name, STR("edit"));
    }
    CHECK_INT(seen, 2);
    struct rbac_v1_cluster_role merged, poor = b.cluster_roles[1];
    poor.n_rules = 0;
    CHECK(!rbac_bootstrap_merge_role(&b.cluster_roles[1], &b.cluster_roles[1], &w.arena, &merged));
    CHECK(rbac_bootstrap_merge_role(&poor, &b.cluster_roles[1], &w.arena, &merged) &&
          merged.n_rules == 2);
    world_end(&w);
}

TEST(aggregated_role_follows_its_parts)
{
    struct world w;
    struct rbac_rule_set set = { 0 };
    struct str *names;
    size_t n;
    world_make(&w);
    PUT(&w, cluster_role,
        "{\"metadata\":{\"name\":\"sum\"},\"aggregationRule\":{\"clusterRoleSelectors\":[{"
        "\"matchLabels\":{\"a\":\"1\"}},{\"matchLabels\":{\"b\":\"1\"}}]}}");
    PUT(&w, cluster_role,
        "{\"metadata\":{\"name\":\"z\",\"labels\":{\"a\":\"1\"}},\"rules\":[{\"verbs\":[\"get\"],"
        "\"apiGroups\":[\"\"],\"resources\":[\"z\"]}]}");
    PUT(&w, cluster_role,
        "{\"metadata\":{\"name\":\"y\",\"labels\":{\"a\":\"1\",\"b\":\"1\"}},\"rules\":[{\"verbs\":"
        "[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"y\"]}]}");
    PUT(&w, cluster_role,
        "{\"metadata\":{\"name\":\"x\"},\"rules\":[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],"
        "\"resources\":[\"x\"]}]}");
    CHECK(rbac_aggregate(w.rbac, STR("sum"), &w.arena, &set));
    CHECK_INT(set.n, 2);
    CHECK_STR_C(set.rules[0].resources[0], "y");
    CHECK_STR_C(set.rules[1].resources[0], "z");
    CHECK(!rbac_aggregate(w.rbac, STR("x"), &w.arena, &set));
    CHECK(rbac_aggregated_roles(w.rbac, &w.arena, &names, &n) && n == 1);
    world_end(&w);
}

/* Messages as captured from kube-apiserver (errors 146 and 147). */
TEST(escalation_is_refused_in_the_words_of_kubernetes)
{
    struct world w;
    struct buf b;
    struct str groups[] = { STR("system:authenticated") };
    struct auth_user bob = test_user("bob", groups, 1);
    world_make(&w);
    buf_init(&b, 1 << 16);
    PUT(&w, role,
        "{\"metadata\":{\"name\":\"r\",\"namespace\":\"err\"},\"rules\":[{\"verbs\":[\"get\"],"
        "\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"]}]}");
    PUT(&w, role_binding,
        "{\"metadata\":{\"name\":\"b\",\"namespace\":\"err\"},\"roleRef\":{\"kind\":\"Role\","
        "\"name\":\"r\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"bob\"}]}");
    const struct rbac_v1_role *esc =
        decode(&w, &rbac_v1_role_type,
               "{\"metadata\":{\"name\":\"esc\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":["
               "\"secrets\",\"pods\"],\"verbs\":[\"get\",\"list\"]},"
               "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"verbs\":[\"get\"]}]}");
    struct rbac_rule_set wanted = { 0 };
    CHECK(rbac_rule_set_add_typed(&wanted, &w.arena, esc->rules, esc->n_rules));
    CHECK(!rbac_check_escalation(w.rbac, &bob, STR("err"), &wanted, &w.arena, &b));
    CHECK_STR_C(buf_str(&b),
                "user \"bob\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC "
                "permissions not currently held:\n"
                "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"list\"]}\n"
                "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}");
    PUT(&w, cluster_role,
        "{\"metadata\":{\"name\":\"cluster-admin\"},\"rules\":[{\"apiGroups\":[\"*\"],"
        "\"resources\":[\"*\"],\"verbs\":[\"*\"]},{\"nonResourceURLs\":[\"*\"],\"verbs\":[\"*\"]}]"
        "}");
    struct rbac_rule_set all = { 0 };
    struct err err = { 0 };
    CHECK_OK(rbac_rules_of_ref(w.rbac, STR("err"), STR("ClusterRole"), STR("cluster-admin"),
                               &w.arena, &all, &err),
             &err);
    buf_clear(&b);
    CHECK(!rbac_check_escalation(w.rbac, &bob, STR("err"), &all, &w.arena, &b));
    CHECK_STR_C(buf_str(&b), "user \"bob\" (groups=[\"system:authenticated\"]) is attempting to "
                             "grant RBAC permissions not currently held:\n"
                             "{APIGroups:[\"*\"], Resources:[\"*\"], "
                             "Verbs:[\"*\"]}\n{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}");
    CHECK(!rbac_rules_of_ref(w.rbac, STR("err"), STR("Role"), STR("none"), &w.arena, &all, &err) &&
          err.code == ERR_NOT_FOUND);
    world_end(&w);
    buf_deinit(&b);
}

TEST(covering_knows_stars_subresources_names_and_paths)
{
    static const struct {
        const char *held, *wanted;
        bool want;
    } cases[] = {
        { "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}",
          "{\"verbs\":[\"get\"],\"apiGroups\":[\"a\"],\"resources\":[\"b/c\"]}", true },
        { "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"*/log\"]}",
          "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods/log\"]}", true },
        { "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}",
          "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods/log\"]}", false },
        { "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}",
          "{\"verbs\":[\"*\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}", false },
        { "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":["
          "\"a\"]}",
          "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}", false },
        { "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":["
          "\"a\",\"b\"]}",
          "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":["
          "\"b\"]}",
          true },
        { "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/api/*\"]}",
          "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/api/v1\"]}", true },
        { "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/api/*\"]}",
          "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"*\"]}", false },
    };
    struct auth_user u = { .name = STR("u") };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        struct buf b;
        struct rbac_rule_set held = { 0 }, wanted = { 0 };
        world_make(&w);
        buf_init(&b, 1 << 16);
        CHECK(rbac_rule_set_add_typed(&held, &w.arena,
                                      decode(&w, &rbac_v1_policy_rule_type, cases[i].held), 1) &&
              rbac_rule_set_add_typed(&wanted, &w.arena,
                                      decode(&w, &rbac_v1_policy_rule_type, cases[i].wanted), 1));
        bool got = rbac_covers(&held, &wanted, &u, STR_NULL, &w.arena, &b);
        if (got != cases[i].want) {
            printf("  case %zu\n", i);
        }
        CHECK(got == cases[i].want);
        buf_deinit(&b);
        world_end(&w);
    }
}

TEST(huge_rules_are_not_broken_down_for_ever)
{
    struct world w;
    struct buf b;
    struct str many[300];
    struct auth_user u = { .name = STR("u") };
    world_make(&w);
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        many[i] = arena_printf(&w.arena, "x%zu", i);
    }
    struct rbac_rule rule = { .verbs = many,
                              .n_verbs = 300,
                              .api_groups = many,
                              .n_api_groups = 300,
                              .resources = many,
                              .n_resources = 300 };
    struct rbac_rule_set wanted = { .rules = &rule, .n = 1 }, held = { 0 };
    CHECK(!rbac_covers(&held, &wanted, &u, STR_NULL, &w.arena, &b));
    CHECK_STR_C(buf_str(&b),
                "the rules are too many to be checked for escalation, at most 16384 rights");
    buf_deinit(&b);
    world_end(&w);
}

TEST(decisions_are_quick)
{
    struct world w;
    struct err err = { 0 };
    world_make(&w);
    CHECK_OK(rbac_bootstrap_feed(w.rbac, &err), &err);
    struct str groups[] = { STR("system:serviceaccounts"),
                            STR("system:serviceaccounts:kube-system"),
                            STR("system:authenticated") };
    struct auth_user u =
        test_user("system:serviceaccount:kube-system:deployment-controller", groups, 3);
    struct authz_attributes yes = test_attr(&u, "update", "apps", "replicasets", "ns", "x"),
                            no = test_attr(&u, "delete", "", "secrets", "ns", "x");
    CHECK(can(&w, &yes) && !can(&w, &no));
    uint64_t start = clock_mono_ns();
    for (int i = 0; i < 20000; i++) {
        (void)can(&w, &yes);
        (void)can(&w, &no);
    }
    printf("  %llu ns a decision (sanitizers slow it down)\n",
           (unsigned long long)(clock_mono_ns() - start) / 40000);
    world_end(&w);
}
