#include "controllers/all-resources.h"
#include "controllers/controllers.h"
#include "client/fixture.h"

/* The key of an object as the collector writes it. */
static const char *key_of(const char *group, const char *resource, const char *name, char dst[128])
{
    size_t index = 0;
    for (size_t i = 0; i < api_n_resources; i++) {
        if (!resource_is_collected(&api_resources[i])) {
            continue;
        }
        if (str_eq_c(api_resources[i].group, group) &&
            str_eq_c(api_resources[i].resource, resource)) {
            snprintf(dst, 128, "%zu|d/%s", index, name);
            return dst;
        }
        index++;
    }
    printf("  %s is not collected\n", resource);
    test_fail(__FILE__, __LINE__);
}

#define SET(name, owner, more)                                                                     \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name "\",\"uid\":\"" name                     \
    "\",\"resourceVersion\":\"3\"," more "\"ownerReferences\":[{\"apiVersion\":\"apps/"            \
    "v1\",\"kind\":\"Deployment\",\"name\":\"web\",\"uid\":\"" owner                               \
    "\",\"controller\":true,\"blockOwnerDeletion\":true}]}}"
#define DEPLOYMENT(more)                                                                           \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\",\"uid\":\"u\",\"resourceVersion\":"       \
    "\"2\"" more "}}"

TEST(what_an_absent_owner_owned_is_deleted_after_asking_the_server)
{
    struct fixture f;
    char key[128];
    fixture_init(&f, &controller_garbage_collector);
    fixture_put(&f, "apps", "v1", "replicasets", SET("a", "gone", ""));
    const char *out = fixture_pass(&f, key_of("apps", "replicasets", "a", key));
    CHECK_STR_C(
        str_c(out),
        "--\nGET deployments d/web \n--\nDELETE replicasets d/a "
        "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{\"uid\":\"a\","
        "\"resourceVersion\":\"3\"},\"propagationPolicy\":\"Background\"}\n");
    fixture_deinit(&f);
}

TEST(what_a_present_owner_owns_stays)
{
    struct fixture f;
    char key[128];
    fixture_init(&f, &controller_garbage_collector);
    fixture_put(&f, "apps", "v1", "deployments", DEPLOYMENT(""));
    fixture_put(&f, "apps", "v1", "replicasets", SET("a", "u", ""));
    CHECK_STR_C(str_c(fixture_pass(&f, key_of("apps", "replicasets", "a", key))), "");
    fixture_deinit(&f);
}

TEST(an_owner_of_a_kind_that_is_not_served_is_not_absent)
{
    struct fixture f;
    char key[128];
    fixture_init(&f, &controller_garbage_collector);
    fixture_serve(&f, "apps", "v1", "deployments", false);
    fixture_put(&f, "apps", "v1", "replicasets", SET("a", "gone", ""));
    CHECK_STR_C(str_c(fixture_pass(&f, key_of("apps", "replicasets", "a", key))), "");
    fixture_serve(&f, "apps", "v1", "deployments", true);
    CHECK_INT(fixture_count(fixture_pass(&f, key_of("apps", "replicasets", "a", key)), "DELETE"), 1);
    fixture_deinit(&f);
}

TEST(foreground_deletion_deletes_dependents_and_then_lets_the_owner_go)
{
    struct fixture f;
    char key[128];
    fixture_init(&f, &controller_garbage_collector);
    fixture_put(&f, "apps", "v1", "deployments",
                DEPLOYMENT(",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"finalizers\":["
                           "\"foregroundDeletion\"]"));
    key_of("apps", "deployments", "web", key);
    CHECK(
        strstr(fixture_pass(&f, key), "PATCH deployments d/web {\"metadata\":{\"finalizers\":[],"));
    fixture_put(&f, "apps", "v1", "replicasets", SET("a", "u", ""));
    const char *out = fixture_pass(&f, key);
    CHECK(strstr(out, "DELETE replicasets d/a"));
    CHECK(strstr(out, "\"propagationPolicy\":\"Foreground\""));
    CHECK(!strstr(out, "PATCH"));
    fixture_deinit(&f);
}

TEST(orphaning_takes_the_owner_out_of_its_dependents_first)
{
    struct fixture f;
    char key[128];
    fixture_init(&f, &controller_garbage_collector);
    fixture_put(
        &f, "apps", "v1", "deployments",
        DEPLOYMENT(",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"finalizers\":[\"orphan\"]"));
    fixture_put(&f, "apps", "v1", "replicasets", SET("a", "u", ""));
    const char *out = fixture_pass(&f, key_of("apps", "deployments", "web", key));
    const char *release = strstr(
        out, "PATCH replicasets d/a {\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\"");
    const char *finish = strstr(out, "PATCH deployments d/web");
    CHECK(release && finish && release < finish);
    fixture_deinit(&f);
}
