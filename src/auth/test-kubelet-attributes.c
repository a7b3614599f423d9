#include "auth/kubelet-attributes.h"

#include "auth/test-auth.h"

TEST(kubelet_paths_map_to_subresources_of_the_node)
{
    static const struct {
        const char *method, *path, *verb, *sub;
        size_t n;
    } cases[] = {
        { "GET", "/stats/summary", "get", "stats", 1 },
        { "GET", "/metrics", "get", "metrics", 1 },
        { "GET", "/metrics/cadvisor", "get", "metrics", 1 },
        { "GET", "/logs/", "get", "log", 1 },
        { "POST", "/checkpoint/a/b/c", "create", "checkpoint", 1 },
        { "GET", "/pods", "get", "pods", 2 },
        { "GET", "/runningpods/", "get", "pods", 2 },
        { "GET", "/healthz", "get", "healthz", 2 },
        { "HEAD", "/configz", "get", "configz", 2 },
        { "GET", "/containerLogs/ns/p/c", "get", "proxy", 1 },
        { "GET", "/exec/ns/p/c", "create", "proxy", 1 },
        { "POST", "/exec/ns/p/c", "create", "proxy", 1 },
        { "GET", "/attach/ns/p/c", "create", "proxy", 1 },
        { "GET", "/portForward/ns/p", "create", "proxy", 1 },
        { "GET", "/run/ns/p/c", "create", "proxy", 1 },
        { "GET", "/statsx", "get", "proxy", 1 },
        { "GET", "/", "get", "proxy", 1 },
        { "BREW", "/pods", "", "pods", 2 },
    };
    struct auth_user u = test_user("alice", NULL, 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct authz_attributes a[KUBELET_ATTRIBUTES_MAX];
        CHECK_INT(
            kubelet_attributes(&u, str_c(cases[i].method), str_c(cases[i].path), STR("n1"), a),
            cases[i].n);
        CHECK_STR_C(a[0].verb, cases[i].verb);
        CHECK_STR_C(a[0].subresource, cases[i].sub);
        CHECK_STR_C(a[0].name, "n1");
        CHECK(cases[i].n == 1 || str_eq(a[1].subresource, STR("proxy")));
    }
}
