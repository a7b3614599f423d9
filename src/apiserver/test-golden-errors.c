/* Replays the captured requests of errors/ against a server in this process and compares the answers. */
#include <stdlib.h>

#include "api/golden.h"
#include "apiserver/golden-replay.h"
#include "base/test.h"

/* What was there before the captured requests were made, as far as their answers tell. */
static const struct {
    const char *path, *body;
} setup[] = {
#define NS(n) { "/api/v1/namespaces", "{\"metadata\":{\"name\":\"" n "\"}}" }
#define SA(n) { "/api/v1/namespaces/" n "/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}" }
#define POD_SPEC "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}"
#define WORKLOAD(kind, name) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"replicas\":1,\"serviceName\":\"x\",\"selector\":{\"matchLabels\":" \
    "{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}," POD_SPEC "}}}"
    NS("err"), NS("golden"), NS("golden2"), NS("patch"), NS("lw"), NS("term"),
    SA("err"), SA("golden"), SA("golden2"), SA("patch"), SA("lw"), SA("term"),
    { "/api/v1/namespaces/err/configmaps", "{\"metadata\":{\"name\":\"cm\"},\"data\":{\"a\":\"1\"}}" },
    { "/api/v1/namespaces/err/configmaps", "{\"metadata\":{\"name\":\"imm\"},\"data\":{\"a\":\"1\"},\"immutable\":true}" },
    { "/api/v1/namespaces/err/configmaps", "{\"metadata\":{\"name\":\"fin\",\"finalizers\":[\"example.com/x\"]}}" },
    { "/api/v1/namespaces/term/configmaps", "{\"metadata\":{\"name\":\"k\"}}" },
    { "/api/v1/namespaces/err/secrets", "{\"metadata\":{\"name\":\"sec\"},\"stringData\":{\"a\":\"1\"}}" },
    { "/api/v1/namespaces/err/pods", "{\"metadata\":{\"name\":\"pod\"}," POD_SPEC "}" },
    { "/api/v1/namespaces/err/services", "{\"metadata\":{\"name\":\"svc\"},\"spec\":{\"ports\":[{\"port\":80}]}}" },
    { "/api/v1/namespaces/golden/services", "{\"metadata\":{\"name\":\"np\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30081}]}}" },
    { "/apis/apps/v1/namespaces/err/deployments", WORKLOAD("Deployment", "dep") },
    { "/apis/apps/v1/namespaces/err/statefulsets", WORKLOAD("StatefulSet", "st") },
    { "/apis/batch/v1/namespaces/err/jobs", "{\"metadata\":{\"name\":\"j\"},\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":"
                                            "[{\"name\":\"c\",\"image\":\"i\"}]}}}}" },
    { "/apis/rbac.authorization.k8s.io/v1/namespaces/err/rolebindings",
      "{\"metadata\":{\"name\":\"rb\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"view\"}}" },
    { "/apis/rbac.authorization.k8s.io/v1/namespaces/err/roles",
      "{\"metadata\":{\"name\":\"rbacadmin\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":[\"roles\",\"rolebindings\"],"
      "\"verbs\":[\"create\",\"get\",\"update\"]},{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"verbs\":[\"get\"]}]}" },
    { "/apis/rbac.authorization.k8s.io/v1/namespaces/err/rolebindings",
      "{\"metadata\":{\"name\":\"bob\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"rbacadmin\"},"
      "\"subjects\":[{\"kind\":\"User\",\"name\":\"bob\"}]}" },
    { "/api/v1/nodes", "{\"metadata\":{\"name\":\"full\"}}" },
    { "/api/v1/namespaces/golden2/limitranges",
      "{\"metadata\":{\"name\":\"full\"},\"spec\":{\"limits\":[{\"type\":\"Container\",\"max\":{\"cpu\":\"2\",\"memory\":\"1Gi\"},"
      "\"min\":{\"cpu\":\"10m\",\"memory\":\"1Mi\"},\"default\":{\"cpu\":\"500m\",\"memory\":\"256Mi\"},\"defaultRequest\":{\"cpu\":\"100m\"},"
      "\"maxLimitRequestRatio\":{\"cpu\":\"50\"}},{\"type\":\"Pod\",\"max\":{\"cpu\":\"4\"}}]}}" },
    { "/apis/storage.k8s.io/v1/storageclasses", "{\"metadata\":{\"name\":\"full\"},\"provisioner\":\"p\",\"parameters\":{\"a\":\"b\"}}" },
};

static const char *token_of(struct str user)
{
    return str_starts(user, STR("admin")) ? "admin" : str_starts(user, STR("alice")) ? "alice" : str_starts(user, STR("bob")) ? "bob"
         : str_starts(user, STR("invalid")) ? "wrong" : NULL;
}

/* Bodies of a size: only their note was kept. */
static struct str body_of(struct arena *a, const char *name, struct str body)
{
    bool annotation = strstr(name, "annotation-too-long") != NULL, data = strstr(name, "configmap-over-1MiB") != NULL;
    bool too_large = strstr(name, "body-too-large") != NULL;
    size_t len = annotation ? 262145 : data ? 1100000 : 3200087;
    if (!annotation && !data && !too_large) {
        return replay_cleaned(a, body);
    }
    char *big = arena_alloc(a, len);
    CHECK(big != NULL);
    memset(big, 'v', len);
    return too_large ? str_n(big, len)
         : annotation ? arena_printf(a, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\","
                                        "\"annotations\":{\"a\":\"%.*s\"}}}", (int)len, big)
                      : arena_printf(a, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"},"
                                        "\"data\":{\"a\":\"%.*s\"}}", (int)len, big);
}

/* Lists of what is there depend on what else was made; of those only the kind is compared. */
static bool is_list(const struct val *v)
{
    return str_ends(val_get_str(v, STR("kind")), STR("List")) && val_get(v, STR("items"));
}

static bool answers_alike(struct test_server *t, const char *name, struct replay_diff *d)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 512u << 20);
    const char *golden = golden_dir();
    struct val request = replay_parse(&a, test_read(&a, "%s/errors/%s/request.json", golden, name));
    struct val meta = replay_parse(&a, test_read(&a, "%s/errors/%s/response.meta.json", golden, name));
    struct str headers = STR_EMPTY, want = test_read(&a, "%s/errors/%s/response.json", golden, name);
    const struct val *h = val_get(&request, STR("headers"));
    for (uint32_t i = 0; h && i < h->n; i++) {
        headers = arena_printf(&a, "%.*s%.*s: %.*s\r\n", STR_ARG(headers), STR_ARG(h->members[i].key), STR_ARG(h->members[i].value.s));
    }
    d->given = body_of(&a, name, test_read(&a, "%s/errors/%s/request.body", golden, name));
    struct test_answer r = test_request(t, &a, val_get_str(&request, STR("method")), val_get_str(&request, STR("path")),
                                        token_of(val_get_str(&request, STR("user"))), headers, d->given);
    int64_t status = 0;
    CHECK(val_as_i64(val_get(&meta, STR("status")), &status));
    struct val v = replay_parse(&a, want);
    if (r.status != status) {
        (void)snprintf(d->why, sizeof(d->why), "status %d, want %d: %.*s", r.status, (int)status, STR_ARG(str_sub(r.body, 0, 1200)));
        return false;
    }
    if (!replay_same_headers(d, &r, &meta)) {
        return false;
    }
    return is_list(&v) || replay_same_json(&a, d, r.body, want);
}

/* What the captured cluster's quota said once it was counted. */
static void count_quota(struct test_server *t, const char *name)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 64u << 20);
    if (strcmp(name, "320-quota-exceeded-setup") == 0) {
        struct test_answer r = test_request(t, &a, STR("PATCH"), STR("/api/v1/namespaces/err/resourcequotas/q/status"), "admin",
                                            STR("Content-Type: application/merge-patch+json\r\n"),
                                            STR("{\"status\":{\"hard\":{\"count/configmaps\":\"1\",\"pods\":\"0\",\"requests.cpu\":\"1\"},"
                                                "\"used\":{\"count/configmaps\":\"1\",\"pods\":\"0\",\"requests.cpu\":\"0\"}}}"));
        CHECK_INT(r.status, 200);
    }
}

TEST(captured_errors_are_answered_alike)
{
    struct test_server t;
    struct replay replay;
    char *names[1000];
    size_t n = replay_names("errors", names, ARRAY_SIZE(names));
    test_server_start(&t);
    for (size_t i = 0; i < ARRAY_SIZE(setup); i++) {
        CLEANUP(arena_deinit) struct arena a;
        arena_init(&a, 64u << 20);
        struct test_answer r = test_request(&t, &a, STR("POST"), str_c(setup[i].path), "admin", STR("Content-Type: application/json\r\n"),
                                            str_c(setup[i].body));
        if (r.status != 201 && r.status != 409) {
            printf("  setup %s: %d %.*s\n", setup[i].path, r.status, STR_ARG(r.body));
        }
    }
    replay_begin(&replay, "errors");
    for (size_t i = 0; i < n; i++) {
        struct replay_diff d = { 0 };
        bool same = answers_alike(&t, names[i], &d);
        if (!replay_skips(names[i])) {
            replay_case(&replay, names[i], same, d.why);
        }
        count_quota(&t, names[i]);
        free(names[i]);
    }
    test_server_stop(&t);
    replay_end(&replay);
}
