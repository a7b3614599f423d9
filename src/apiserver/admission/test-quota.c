/* ResourceQuotas, asked of a whole apiserver: what is charged, and what is refused. The controller's part is done by hand. */
#include "apiserver/test-server.h"
#include "base/test.h"

#define JSON STR("Content-Type: application/json\r\n")
#define MERGE STR("Content-Type: application/merge-patch+json\r\n")
#define QUOTAS "/api/v1/namespaces/ns/resourcequotas"
#define PODS STR("/api/v1/namespaces/ns/pods")

static struct test_answer ask(struct test_server *t, struct arena *a, const char *method, struct str path, struct str body)
{
    return test_request(t, a, str_c(method), path, "admin", str_eq_c(str_c(method), "PATCH") ? MERGE : JSON, body);
}

static void says(const struct test_answer *r, int status, const char *text)
{
    if (r->status != status || str_find(r->body, str_c(text)) < 0) {
        printf("  %d, not %d with %s: %.*s\n", r->status, status, text, STR_ARG(r->body));
        CHECK(false);
    }
}

static void begin(struct test_server *t, struct arena *a)
{
    test_server_start(t);
    CHECK_INT(ask(t, a, "POST", STR("/api/v1/namespaces"), STR("{\"metadata\":{\"name\":\"ns\"}}")).status, 201);
    CHECK_INT(ask(t, a, "POST", STR("/api/v1/namespaces/ns/serviceaccounts"), STR("{\"metadata\":{\"name\":\"default\"}}")).status, 201);
}

/* A quota that was counted: 'hard' and 'used' are members of JSON objects. */
static void quota(struct test_server *t, struct arena *a, const char *name, const char *hard, const char *used, const char *more)
{
    struct test_answer r = ask(t, a, "POST", STR(QUOTAS), arena_printf(a, "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"hard\":{%s}%s}}", name, hard, more));
    CHECK_INT(r.status, 201);
    if (used) {
        r = ask(t, a, "PATCH", arena_printf(a, QUOTAS "/%s/status", name),
                 arena_printf(a, "{\"status\":{\"hard\":{%s},\"used\":{%s}}}", hard, used));
        CHECK_INT(r.status, 200);
    }
}

static struct test_answer see(struct test_server *t, struct arena *a, const char *name)
{
    return ask(t, a, "GET", arena_printf(a, QUOTAS "/%s", name), STR_EMPTY);
}

static struct str pod(struct arena *a, const char *name, const char *resources, const char *more)
{
    return arena_printf(a, "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{%s}}]%s}}", name,
                        resources, more);
}

TEST(what_is_made_is_charged_until_the_quota_is_full)
{
    struct test_server t;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 64u << 20);
    begin(&t, &a);
    quota(&t, &a, "q", "\"pods\":\"2\",\"requests.cpu\":\"1\",\"limits.memory\":\"4Gi\"", "\"pods\":\"0\",\"requests.cpu\":\"0\",\"limits.memory\":\"0\"", "");
    quota(&t, &a, "z", "\"count/pods\":\"9\"", "\"count/pods\":\"3\"", "");
    struct test_answer r = ask(&t, &a, "POST", PODS, pod(&a, "a", "\"requests\":{\"cpu\":\"600m\"},\"limits\":{\"memory\":\"1Gi\"}", ""));
    CHECK_INT(r.status, 201);
    r = see(&t, &a, "q");
    says(&r, 200, "\"used\":{\"limits.memory\":\"1Gi\",\"pods\":\"1\",\"requests.cpu\":\"600m\"}");
    r = see(&t, &a, "z");
    says(&r, 200, "\"used\":{\"count/pods\":\"4\"}");
    r = ask(&t, &a, "POST", PODS, pod(&a, "b", "\"requests\":{\"cpu\":\"500m\"},\"limits\":{\"memory\":\"5Gi\"}", ""));
    says(&r, 403, "pods \\\"b\\\" is forbidden: exceeded quota: q, requested: limits.memory=5Gi,requests.cpu=500m, used: limits.memory=1Gi,requests.cpu=600m, "
                  "limited: limits.memory=4Gi,requests.cpu=1");
    r = ask(&t, &a, "POST", PODS, pod(&a, "b", "\"requests\":{\"cpu\":\"0\"}", ""));
    says(&r, 403, "failed quota: q: must specify limits.memory for: c");
    r = ask(&t, &a, "POST", STR("/api/v1/namespaces/ns/pods?dryRun=All"), pod(&a, "b", "\"requests\":{\"cpu\":\"1m\"},\"limits\":{\"memory\":\"1\"}", ""));
    CHECK_INT(r.status, 201);
    r = see(&t, &a, "q");
    says(&r, 200, "\"pods\":\"1\",\"requests.cpu\":\"600m\""); /* a dry run is not charged */
    test_server_stop(&t);
}

TEST(services_and_claims_are_charged_for_what_they_become)
{
    struct test_server t;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 64u << 20);
    begin(&t, &a);
    quota(&t, &a, "q", "\"services\":\"5\",\"services.nodeports\":\"2\",\"services.loadbalancers\":\"0\"",
          "\"services\":\"0\",\"services.nodeports\":\"0\",\"services.loadbalancers\":\"0\"", "");
    quota(&t, &a, "v", "\"gold.storageclass.storage.k8s.io/requests.storage\":\"2Gi\"", "\"gold.storageclass.storage.k8s.io/requests.storage\":\"0\"", "");
    struct str services = STR("/api/v1/namespaces/ns/services"), claims = STR("/api/v1/namespaces/ns/persistentvolumeclaims");
    struct test_answer r = ask(&t, &a, "POST", services, STR("{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"name\":\"a\",\"port\":1},{\"name\":\"b\",\"port\":2}]}}"));
    CHECK_INT(r.status, 201);
    r = ask(&t, &a, "PATCH", STR("/api/v1/namespaces/ns/services/s"), STR("{\"spec\":{\"type\":\"NodePort\"}}"));
    CHECK_INT(r.status, 200);
    r = see(&t, &a, "q");
    says(&r, 200, "\"used\":{\"services\":\"1\",\"services.loadbalancers\":\"0\",\"services.nodeports\":\"2\"}");
    r = ask(&t, &a, "PATCH", STR("/api/v1/namespaces/ns/services/s"), STR("{\"spec\":{\"type\":\"LoadBalancer\"}}"));
    says(&r, 403, "services \\\"s\\\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: services.loadbalancers=0");
    r = ask(&t, &a, "POST", claims, STR("{\"metadata\":{\"name\":\"c\"},\"spec\":{\"storageClassName\":\"gold\",\"accessModes\":[\"ReadWriteOnce\"],\"resources\":"
                                         "{\"requests\":{\"storage\":\"3Gi\"}}}}"));
    says(&r, 403, "exceeded quota: v, requested: gold.storageclass.storage.k8s.io/requests.storage=3Gi, used: gold.storageclass.storage.k8s.io/requests.storage=0, "
                  "limited: gold.storageclass.storage.k8s.io/requests.storage=2Gi");
    r = ask(&t, &a, "POST", claims, STR("{\"metadata\":{\"name\":\"c\"},\"spec\":{\"storageClassName\":\"tin\",\"accessModes\":[\"ReadWriteOnce\"],\"resources\":"
                                         "{\"requests\":{\"storage\":\"3Gi\"}}}}"));
    CHECK_INT(r.status, 201);
    test_server_stop(&t);
}

TEST(a_quota_is_for_what_its_scopes_select_and_must_have_been_counted)
{
    struct test_server t;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 64u << 20);
    begin(&t, &a);
    quota(&t, &a, "best", "\"pods\":\"0\"", "\"pods\":\"0\"", ",\"scopes\":[\"BestEffort\"]");
    quota(&t, &a, "ending", "\"pods\":\"0\"", "\"pods\":\"0\"", ",\"scopes\":[\"Terminating\"]");
    quota(&t, &a, "far", "\"pods\":\"0\"", "\"pods\":\"0\"", ",\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"CrossNamespacePodAffinity\",\"operator\":\"Exists\"}]}");
    quota(&t, &a, "rank", "\"pods\":\"0\"", "\"pods\":\"0\"",
          ",\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\",\"operator\":\"In\",\"values\":[\"system-node-critical\"]}]}");
    static const char some[] = "\"requests\":{\"cpu\":\"1\"}";
    struct test_answer r = ask(&t, &a, "POST", PODS, pod(&a, "a", some, ""));
    CHECK_INT(r.status, 201);
    r = ask(&t, &a, "POST", PODS, pod(&a, "b", "", ""));
    says(&r, 403, "exceeded quota: best, requested: pods=1");
    r = ask(&t, &a, "POST", PODS, pod(&a, "b", some, ",\"activeDeadlineSeconds\":5"));
    says(&r, 403, "exceeded quota: ending");
    r = ask(&t, &a, "POST", PODS, pod(&a, "b", some, ",\"priorityClassName\":\"system-node-critical\""));
    says(&r, 403, "exceeded quota: rank");
    r = ask(&t, &a, "POST", PODS, pod(&a, "b", some, ",\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"a/b\","
                                       "\"labelSelector\":{},\"namespaceSelector\":{}}]}}"));
    says(&r, 403, "exceeded quota: far");
    /* One that nobody has counted holds nobody up, as its status names nothing; one that was counted in part does. */
    quota(&t, &a, "new", "\"configmaps\":\"1\"", NULL, "");
    r = ask(&t, &a, "POST", STR("/api/v1/namespaces/ns/configmaps"), STR("{\"metadata\":{\"name\":\"m\"}}"));
    CHECK_INT(r.status, 201);
    quota(&t, &a, "part", "\"secrets\":\"1\"", "\"x\":\"0\"", "");
    r = ask(&t, &a, "POST", STR("/api/v1/namespaces/ns/secrets"), STR("{\"metadata\":{\"name\":\"m\"}}"));
    says(&r, 403, "status unknown for quota: part, resources: secrets");
    test_server_stop(&t);
}
