/* What is counted for a ResourceQuota. */
#include "client/fixture.h"
#include "controllers/controllers.h"

#define NOW 1800000000

static void begin(struct fixture *f, const char *spec, const char *status)
{
    char json[1024];
    fixture_init(f, &controller_resource_quota);
    f->now = NOW;
    snprintf(json, sizeof(json), "{\"metadata\":{\"namespace\":\"d\",\"name\":\"q\",\"uid\":\"q\",\"resourceVersion\":\"7\"},\"spec\":{%s},\"status\":{%s}}",
             spec, status);
    fixture_put(f, "", "v1", "resourcequotas", json);
}

static void put(struct fixture *f, const char *resource, const char *ns, const char *name, const char *rest)
{
    char json[1024];
    snprintf(json, sizeof(json), "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"1\"}%s}", ns, name, name, rest);
    fixture_put(f, "", "v1", resource, json);
}

static void wants(const char *out, const char *text)
{
    if (!strstr(out, text)) {
        printf("  not %s in %s\n", text, out);
        CHECK(false);
    }
}

#define RUNS(cpu, phase) ",\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"},\"limits\":{\"memory\":\"1Gi\"}}}]}," \
                         "\"status\":{\"phase\":\"" phase "\"}"

TEST(a_quota_is_counted_over_its_namespace)
{
    struct fixture f;
    begin(&f, "\"hard\":{\"pods\":\"5\",\"count/pods\":\"5\",\"requests.cpu\":\"4\",\"limits.memory\":\"8Gi\",\"services.nodeports\":\"3\",\"configmaps\":\"9\","
              "\"count/deployments.apps\":\"2\",\"gold.storageclass.storage.k8s.io/requests.storage\":\"10Gi\",\"requests.storage\":\"10Gi\"}", "");
    put(&f, "pods", "d", "a", RUNS("500m", "Running"));
    put(&f, "pods", "d", "b", RUNS("1", "Pending"));
    put(&f, "pods", "d", "over", RUNS("2", "Succeeded"));
    put(&f, "pods", "other", "c", RUNS("1", "Running"));
    put(&f, "services", "d", "s", ",\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":1},{\"port\":2}]}");
    put(&f, "configmaps", "d", "m", "");
    put(&f, "persistentvolumeclaims", "d", "v", ",\"spec\":{\"storageClassName\":\"gold\",\"resources\":{\"requests\":{\"storage\":\"2Gi\"}}}");
    put(&f, "persistentvolumeclaims", "d", "w", ",\"spec\":{\"storageClassName\":\"tin\",\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}");
    const char *out = fixture_pass(&f, "d/q");
    wants(out, "\"used\":{\"configmaps\":\"1\",\"count/deployments.apps\":\"0\",\"count/pods\":\"3\",\"gold.storageclass.storage.k8s.io/requests.storage\":\"2Gi\","
               "\"limits.memory\":\"2Gi\",\"pods\":\"2\",\"requests.cpu\":\"1500m\",\"requests.storage\":\"3Gi\",\"services.nodeports\":\"2\"}");
    wants(out, "\"hard\":{\"configmaps\":\"9\"");
    wants(out, "\"resourceVersion\":\"7\""); /* a charge in between wins */
    fixture_deinit(&f);
}

TEST(scopes_say_which_pods_are_counted)
{
    struct fixture f;
    begin(&f, "\"hard\":{\"pods\":\"5\"},\"scopes\":[\"NotBestEffort\"],\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\",\"operator\":\"In\","
              "\"values\":[\"high\"]}]}", "");
    put(&f, "pods", "d", "a", RUNS("1", "Running"));
    put(&f, "pods", "d", "b", ",\"spec\":{\"priorityClassName\":\"high\",\"containers\":[{\"name\":\"c\"}]}");
    put(&f, "pods", "d", "c", ",\"spec\":{\"priorityClassName\":\"high\",\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}");
    wants(fixture_pass(&f, "d/q"), "\"used\":{\"pods\":\"1\"}");
    fixture_deinit(&f);
}

TEST(a_quota_that_is_right_is_left_alone)
{
    struct fixture f;
    begin(&f, "\"hard\":{\"secrets\":\"5\"}", "\"hard\":{\"secrets\":\"5\"},\"used\":{\"secrets\":\"1\"}");
    put(&f, "secrets", "d", "a", "");
    CHECK(strstr(fixture_pass(&f, "d/q"), "PUT") == NULL);
    put(&f, "secrets", "d", "b", "");
    wants(fixture_pass(&f, "d/q"), "\"used\":{\"secrets\":\"2\"}");
    fixture_deinit(&f);
}
