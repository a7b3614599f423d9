/* LimitRanges, asked of a whole apiserver. */
#include "apiserver/test-server.h"
#include "base/test.h"

#define JSON STR("Content-Type: application/json\r\n")
#define POD(containers) "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[" containers "]}}"
#define C(name, resources) "{\"name\":\"" name "\",\"image\":\"i\",\"resources\":" resources "}"

static struct test_answer post(struct test_server *t, struct arena *a, const char *path, const char *body)
{
    return test_request(t, a, STR("POST"), str_c(path), "admin", JSON, str_c(body));
}

static void begin(struct test_server *t, struct arena *a, const char *limits)
{
    test_server_start(t);
    CHECK_INT(post(t, a, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"ns\"}}").status, 201);
    CHECK_INT(post(t, a, "/api/v1/namespaces/ns/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}").status, 201);
    struct str range = arena_printf(a, "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"limits\":[%s]}}", limits);
    CHECK_INT(test_request(t, a, STR("POST"), STR("/api/v1/namespaces/ns/limitranges"), "admin", JSON, range).status, 201);
}

static void says(const struct test_answer *r, int status, const char *text)
{
    if (r->status != status || str_find(r->body, str_c(text)) < 0) {
        printf("  %d, not %d with %s: %.*s\n", r->status, status, text, STR_ARG(r->body));
        CHECK(false);
    }
}

TEST(containers_get_the_defaults_of_a_limit_range_and_it_is_told)
{
    struct test_server t;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 64u << 20);
    begin(&t, &a, "{\"type\":\"Container\",\"default\":{\"cpu\":\"2\",\"memory\":\"1Gi\"},\"defaultRequest\":{\"cpu\":\"1\"}}");
    struct test_answer r = post(&t, &a, "/api/v1/namespaces/ns/pods",
        "{\"metadata\":{\"name\":\"p\",\"annotations\":{\"z\":\"1\",\"a\":\"2\"}},\"spec\":{\"initContainers\":[{\"name\":\"i\",\"image\":\"i\"}],"
        "\"containers\":[" C("c", "{\"limits\":{\"cpu\":\"3\"},\"requests\":{\"cpu\":\"2\"}}") "]}}");
    says(&r, 201, "\"kubernetes.io/limit-ranger\":\"LimitRanger plugin set: memory request for container c; memory limit for container c; "
                  "cpu, memory request for init container i; cpu, memory limit for init container i\"");
    says(&r, 201, "\"limits\":{\"cpu\":\"3\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"2\",\"memory\":\"1Gi\"}");
    says(&r, 201, "\"limits\":{\"cpu\":\"2\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}");
    /* Other namespaces have nothing of it. */
    CHECK_INT(post(&t, &a, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}").status, 201);
    r = post(&t, &a, "/api/v1/namespaces/default/pods", POD(C("c", "{}")));
    says(&r, 201, "\"resources\":{}");
    test_server_stop(&t);
}

TEST(what_is_outside_of_a_limit_range_is_refused_with_all_reasons)
{
    struct test_server t;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 64u << 20);
    begin(&t, &a, "{\"type\":\"Container\",\"min\":{\"cpu\":\"100m\"},\"max\":{\"memory\":\"1Gi\"},\"maxLimitRequestRatio\":{\"cpu\":\"4\"}},"
                  "{\"type\":\"Pod\",\"max\":{\"cpu\":\"3\"}},{\"type\":\"PersistentVolumeClaim\",\"min\":{\"storage\":\"1Gi\"},\"max\":{\"storage\":\"2Gi\"}}");
    static const char pods[] = "/api/v1/namespaces/ns/pods", claims[] = "/api/v1/namespaces/ns/persistentvolumeclaims";
    struct test_answer r = post(&t, &a, pods, POD(C("c", "{\"requests\":{\"cpu\":\"50m\"},\"limits\":{\"cpu\":\"1\",\"memory\":\"2Gi\"}}")));
    says(&r, 403, "pods \\\"p\\\" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, maximum memory usage per Container is 1Gi, "
                  "but limit is 2Gi, cpu max limit to request ratio per Container is 4, but provided ratio is 20.000000]");
    r = post(&t, &a, pods, POD(C("c", "{\"requests\":{\"cpu\":\"2\"},\"limits\":{\"cpu\":\"2\",\"memory\":\"1Gi\"}}") ","
                               C("d", "{\"requests\":{\"cpu\":\"1\"},\"limits\":{\"cpu\":\"1100m\",\"memory\":\"1Gi\"}}")));
    says(&r, 403, "forbidden: maximum cpu usage per Pod is 3, but limit is 3100m\"");
    r = post(&t, &a, pods, POD(C("c", "{\"limits\":{\"memory\":\"1Gi\"}}")));
    /* A minimum is the default of requests, too. */
    says(&r, 403, "[cpu max limit to request ratio per Container is 4, but no limit is specified or limit is 0, maximum cpu usage per Pod is 3.  No limit is "
                  "specified]");
    r = post(&t, &a, pods, POD(C("c", "{\"requests\":{\"cpu\":\"1\"},\"limits\":{\"cpu\":\"2\",\"memory\":\"1Gi\"}}")));
    CHECK_INT(r.status, 201);
    /* A resize is held to the same bounds; other updates change no resources. */
    r = test_request(&t, &a, STR("PATCH"), STR("/api/v1/namespaces/ns/pods/p/resize"), "admin", STR("Content-Type: application/strategic-merge-patch+json\r\n"),
                     STR("{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"3500m\"}}}]}}"));
    says(&r, 403, "maximum cpu usage per Pod is 3, but limit is 3500m");
    r = post(&t, &a, claims, "{\"metadata\":{\"name\":\"v\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"3Gi\"}}}}");
    says(&r, 403, "persistentvolumeclaims \\\"v\\\" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi");
    r = post(&t, &a, claims, "{\"metadata\":{\"name\":\"v\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Mi\"}}}}");
    says(&r, 403, "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi");
    test_server_stop(&t);
}
