#include "api/decode-json.h"
#include "api/gen/core_v1.h"
#include "api/gen/storage_v1.h"
#include "auth/node-graph.h"
#include "auth/rbac.h"
#include "auth/test-auth.h"

struct world {
    struct arena arena;
    struct node_graph *graph;
    struct rbac *rbac;
    struct authz_chain *chain;
    struct authz_request r;
};

static const void *decode(struct world *w, const struct api_type *t, const char *json)
{
    struct err err = { 0 };
    void *o = arena_alloc(&w->arena, t->size);
    CHECK(o != NULL);
    CHECK_OK(api_decode_json(&w->arena, t, str_c(json), NULL, o, &err), &err);
    return o;
}

static const char *const web_pod =
    "{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\"},\"spec\":{\"nodeName\":\"n1\","
    "\"serviceAccountName\":\"sa\","
    "\"imagePullSecrets\":[{\"name\":\"pull\"}],\"resourceClaims\":[{\"name\":\"gpu\","
    "\"resourceClaimName\":\"gpu-claim\"}],"
    "\"initContainers\":[{\"name\":\"i\",\"envFrom\":[{\"secretRef\":{\"name\":\"init\"}}]}],"
    "\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{"
    "\"name\":\"env\",\"key\":\"k\"}}},"
    "{\"name\":\"B\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cfg-env\",\"key\":\"k\"}}}]}],"
    "\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":\"vol\"}},{\"name\":\"m\","
    "\"configMap\":{\"name\":\"cfg-vol\"}},"
    "{\"name\":\"p\",\"projected\":{\"sources\":[{\"secret\":{\"name\":\"proj\"}},{\"configMap\":{"
    "\"name\":\"cfg-proj\"}}]}},"
    "{\"name\":\"d\",\"persistentVolumeClaim\":{\"claimName\":\"data\"}},{\"name\":\"scratch\","
    "\"ephemeral\":{}}]}}";

static void world_make(struct world *w)
{
    struct err err = { 0 };
    static struct str modes[] = { STR_INIT("Node"), STR_INIT("RBAC") };
    *w = (struct world){ 0 };
    arena_init(&w->arena, 32 << 20);
    w->graph = node_graph_new();
    w->rbac = rbac_new();
    struct authz_config cfg = {
        .modes = modes, .n_modes = 2, .rbac = w->rbac, .node_graph = w->graph
    };
    w->chain = authz_chain_new(&cfg, &err);
    CHECK_OK(w->chain, &err);
    node_graph_put_pod(w->graph, decode(w, &core_v1_pod_type, web_pod));
}

static void world_end(struct world *w)
{
    authz_chain_free(w->chain);
    rbac_free(w->rbac);
    node_graph_free(w->graph);
    arena_deinit(&w->arena);
}

static const struct str node_groups[] = { STR_INIT("system:nodes"),
                                          STR_INIT("system:authenticated") };

static bool node_can(struct world *w, const char *node, const char *verb, const char *group,
                     const char *resource, const char *ns, const char *name)
{
    char user[64];
    snprintf(user, sizeof(user), "system:node:%s", node);
    struct auth_user u = test_user(user, node_groups, 2);
    w->r = (struct authz_request){ .attr = test_attr(&u, verb, group, resource, ns, name),
                                   .arena = &w->arena };
    return authz_start(w->chain, &w->r) == AUTHZ_ALLOW;
}

TEST(node_reads_what_its_pods_refer_to_and_nothing_else)
{
    struct world w;
    world_make(&w);
    static const char *const secrets[] = { "pull", "init", "env", "vol", "proj" }, *const maps[] = {
        "cfg-env", "cfg-vol", "cfg-proj"
    };
    for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
        CHECK(node_can(&w, "n1", "get", "", "secrets", "ns", secrets[i]));
        CHECK(node_can(&w, "n1", "watch", "", "secrets", "ns", secrets[i]));
        CHECK(!node_can(&w, "n2", "get", "", "secrets", "ns", secrets[i]));
        CHECK_STR_C(w.r.reason, "no relationship found between node 'n2' and this object");
        CHECK(!node_can(&w, "n1", "get", "", "secrets", "other", secrets[i]));
        CHECK(!node_can(&w, "n1", "update", "", "secrets", "ns", secrets[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        CHECK(node_can(&w, "n1", "get", "", "configmaps", "ns", maps[i]) &&
              !node_can(&w, "n2", "get", "", "configmaps", "ns", maps[i]));
    }
    CHECK(!node_can(&w, "n1", "get", "", "secrets", "ns", "cfg-vol") &&
          !node_can(&w, "n1", "list", "", "secrets", "ns", "") &&
          !node_can(&w, "n1", "list", "", "secrets", "", ""));
    CHECK(node_can(&w, "n1", "get", "", "persistentvolumeclaims", "ns", "data") &&
          node_can(&w, "n1", "get", "", "persistentvolumeclaims", "ns", "web-scratch"));
    CHECK(node_can(&w, "n1", "patch", "", "persistentvolumeclaims/status", "ns", "data") &&
          !node_can(&w, "n1", "patch", "", "persistentvolumeclaims", "ns", "data"));
    CHECK(node_can(&w, "n1", "get", "resource.k8s.io", "resourceclaims", "ns", "gpu-claim"));
    CHECK(node_can(&w, "n1", "create", "", "serviceaccounts/token", "ns", "sa") &&
          !node_can(&w, "n1", "create", "", "serviceaccounts/token", "ns", "other"));
    node_graph_delete_pod(w.graph, STR("ns"), STR("web"));
    CHECK(!node_can(&w, "n1", "get", "", "secrets", "ns", "vol"));
    world_end(&w);
}

TEST(two_pods_share_a_secret_until_both_are_gone)
{
    struct world w;
    world_make(&w);
    node_graph_put_pod(
        w.graph,
        decode(&w, &core_v1_pod_type,
               "{\"metadata\":{\"name\":\"w2\",\"namespace\":\"ns\"},\"spec\":{\"nodeName\":\"n1\","
               "\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":\"vol\"}}]}}"));
    node_graph_delete_pod(w.graph, STR("ns"), STR("web"));
    CHECK(node_can(&w, "n1", "get", "", "secrets", "ns", "vol"));
    /* Replaced by one elsewhere. */
    node_graph_put_pod(
        w.graph,
        decode(&w, &core_v1_pod_type,
               "{\"metadata\":{\"name\":\"w2\",\"namespace\":\"ns\"},\"spec\":{\"nodeName\":\"n2\","
               "\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":\"vol\"}}]}}"));
    CHECK(!node_can(&w, "n1", "get", "", "secrets", "ns", "vol") &&
          node_can(&w, "n2", "get", "", "secrets", "ns", "vol"));
    world_end(&w);
}

TEST(mirror_pod_opens_nothing)
{
    struct world w;
    world_make(&w);
    node_graph_put_pod(w.graph,
                       decode(&w, &core_v1_pod_type,
                              "{\"metadata\":{\"name\":\"m\",\"namespace\":\"kube-system\","
                              "\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},"
                              "\"spec\":{\"nodeName\":\"n1\",\"volumes\":[{\"name\":\"s\","
                              "\"secret\":{\"secretName\":\"crown\"}}]}}"));
    CHECK(!node_can(&w, "n1", "get", "", "secrets", "kube-system", "crown") &&
          node_can(&w, "n1", "get", "", "pods", "kube-system", "m"));
    world_end(&w);
}

TEST(volume_and_its_secret_are_reached_through_the_claim)
{
    struct world w;
    world_make(&w);
    const char *pv =
        "{\"metadata\":{\"name\":\"pv1\"},\"spec\":{\"claimRef\":{\"namespace\":\"ns\",\"name\":"
        "\"data\"},\"csi\":{\"driver\":\"d\",\"volumeHandle\":\"h\","
        "\"nodePublishSecretRef\":{\"name\":\"mount\",\"namespace\":\"sys\"},"
        "\"controllerPublishSecretRef\":{\"name\":\"attach\",\"namespace\":\"sys\"}}}}";
    node_graph_put_volume(w.graph, decode(&w, &core_v1_persistent_volume_type, pv));
    CHECK(node_can(&w, "n1", "get", "", "persistentvolumes", "", "pv1") &&
          !node_can(&w, "n2", "get", "", "persistentvolumes", "", "pv1"));
    CHECK(node_can(&w, "n1", "get", "", "secrets", "sys", "mount") &&
          !node_can(&w, "n1", "get", "", "secrets", "sys", "attach"));
    node_graph_put_attachment(w.graph,
                              decode(&w, &storage_v1_volume_attachment_type,
                                     "{\"metadata\":{\"name\":\"va\"},\"spec\":{\"attacher\":\"d\","
                                     "\"nodeName\":\"n1\",\"source\":{}}}"));
    CHECK(node_can(&w, "n1", "get", "storage.k8s.io", "volumeattachments", "", "va") &&
          !node_can(&w, "n2", "get", "storage.k8s.io", "volumeattachments", "", "va"));
    node_graph_delete_volume(w.graph, STR("pv1"));
    CHECK(!node_can(&w, "n1", "get", "", "secrets", "sys", "mount"));
    node_graph_put_volume(w.graph, decode(&w, &core_v1_persistent_volume_type, pv));
    world_end(&w);
}

TEST(node_reports_itself_and_lists_its_own_pods_alone)
{
    struct world w;
    world_make(&w);
    CHECK(node_can(&w, "n1", "get", "", "nodes", "", "n1") &&
          !node_can(&w, "n1", "get", "", "nodes", "", "n2"));
    CHECK_STR_C(w.r.reason, "node 'n1' cannot read 'n2', only its own Node object");
    CHECK(node_can(&w, "n1", "patch", "", "nodes/status", "", "n1") &&
          !node_can(&w, "n1", "delete", "", "nodes", "", "n1"));
    CHECK(node_can(&w, "n1", "get", "", "pods", "ns", "web") &&
          !node_can(&w, "n2", "get", "", "pods", "ns", "web"));
    CHECK(!node_can(&w, "n1", "list", "", "pods", "", ""));
    CHECK_STR_C(w.r.reason, "can only list/watch pods with spec.nodeName field selector");
    struct auth_user u = test_user("system:node:n1", node_groups, 2);
    struct str n1 = STR("n1");
    struct authz_requirement field = {
        .key = STR("spec.nodeName"), .op = STR("In"), .values = &n1, .n_values = 1
    };
    w.r = (struct authz_request){ .attr = test_attr(&u, "list", "", "pods", "", ""),
                                  .arena = &w.arena };
    w.r.attr.fields = &field;
    w.r.attr.n_fields = 1;
    CHECK_INT(authz_start(w.chain, &w.r), AUTHZ_ALLOW);
    n1 = STR("n2");
    CHECK_INT(authz_start(w.chain, &w.r), AUTHZ_NO_OPINION);
    n1 = STR("n1");
    field.op = STR("NotIn");
    CHECK_INT(authz_start(w.chain, &w.r), AUTHZ_NO_OPINION);
    CHECK(node_can(&w, "n1", "update", "coordination.k8s.io", "leases", "kube-node-lease", "n1"));
    CHECK(!node_can(&w, "n1", "update", "coordination.k8s.io", "leases", "kube-node-lease", "n2"));
    CHECK(!node_can(&w, "n1", "update", "coordination.k8s.io", "leases", "kube-system", "n1"));
    CHECK(node_can(&w, "n1", "create", "", "events", "ns", "") &&
          node_can(&w, "n1", "watch", "", "services", "", "") &&
          !node_can(&w, "n1", "create", "", "services", "ns", ""));
    world_end(&w);
}

TEST(only_members_of_system_nodes_are_nodes)
{
    struct world w;
    world_make(&w);
    struct auth_user fake = test_user("system:node:n1", &node_groups[1], 1),
                     nameless = test_user("system:node:", node_groups, 2);
    w.r = (struct authz_request){ .attr = test_attr(&fake, "get", "", "secrets", "ns", "vol"),
                                  .arena = &w.arena };
    CHECK_INT(authz_start(w.chain, &w.r), AUTHZ_NO_OPINION);
    w.r.attr.user = &nameless;
    CHECK_INT(authz_start(w.chain, &w.r), AUTHZ_NO_OPINION);
    CHECK_STR_C(w.r.reason, "unknown node for user \"system:node:\"");
    world_end(&w);
}
