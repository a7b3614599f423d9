/* The namespace that everything is made in, ready for pods. */
#include "bench/namespace.h"

#include "api/decode-json.h"
#include "api/gen/core_v1.h"
#include "bench/bodies.h"

enum { TRIES = 40, TRIES_ALONE = 6, TRY_MS = 500 };

static bool post(struct bench *b, const char *what, struct buf *body, int also, struct err *err)
{
    struct bench_request r = { .method = "POST", .content_type = "application/json", .body = *body };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces%s%s%s", *what ? "/" : "", *what ? b->ns : "", what);
    return bench_do(b, &r, also, err);
}

/*
 * Before Kubernetes 1.21 a pod needed a Secret with a token of its service account. The controller manager makes it; where none runs it is made
 * here. Nobody logs in with it.
 */
static bool make_token(struct bench *b, struct err *err)
{
    struct bench_answer answer = { .left = 0 };
    struct bench_request get = { .method = "GET" };
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf body;
    struct core_v1_service_account account = { .n_secrets = 0 };
    arena_init(&a, 1 << 20);
    buf_init(&body, BUF_NO_MAX);
    buf_init(&answer.body, BUF_NO_MAX);
    snprintf(get.target, sizeof(get.target), "/api/v1/namespaces/%s/serviceaccounts/default", b->ns);
    bool ok = bench_fetch(b, &get, &answer, err) && bench_is_2xx(&get, &answer, err) &&
              api_decode_json(&a, &core_v1_service_account_type, buf_str(&answer.body), NULL, &account, err);
    if (ok) {
        buf_printf(&body, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"kubernetes.io/service-account-token\",\"metadata\":{\"name\":\"bench-token\","
                          "\"annotations\":{\"kubernetes.io/service-account.name\":\"default\",\"kubernetes.io/service-account.uid\":\"%.*s\"}},"
                          "\"data\":{\"token\":\"bm9uZQ==\"}}", STR_ARG(account.metadata.uid));
        ok = post(b, "/secrets", &body, 409, err);
    }
    if (ok) {
        struct bench_request patch = { .method = "PATCH", .content_type = "application/merge-patch+json" };
        snprintf(patch.target, sizeof(patch.target), "%s", get.target);
        buf_clear(&body);
        buf_append_c(&body, "{\"secrets\":[{\"name\":\"bench-token\"}]}");
        patch.body = body;
        ok = bench_do(b, &patch, 0, err);
    }
    buf_deinit(&answer.body);
    return ok;
}

/* Until a pod could be made: admission learns of a new service account when its informer does. */
static bool wait_for_pods(struct bench *b, struct err *err)
{
    struct bench_answer answer = { .left = 0 };
    struct bench_request r = { .method = "POST", .content_type = "application/json" };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods?dryRun=All", b->ns);
    buf_init(&r.body, BUF_NO_MAX);
    buf_init(&answer.body, BUF_NO_MAX);
    body_pod(&r.body, "could-it-be", "coracle-bench-none");
    bool ok = true, over = false;
    for (unsigned i = 0; ok && !over && i < TRIES; i++) {
        unsigned never = 1;
        struct err late;
        ok = bench_fetch(b, &r, &answer, err);
        over = ok && bench_is_2xx(&r, &answer, err);
        if (ok && !over) {
            bool token = str_find(buf_str(&answer.body), STR("No API token found")) >= 0;
            ok = i != TRIES_ALONE || !token || make_token(b, err);
            (void)!bench_wait(b, &never, TRY_MS, &late);
        }
    }
    buf_deinit(&r.body);
    buf_deinit(&answer.body);
    return ok && over;
}

bool namespace_make(struct bench *b, struct err *err)
{
    CLEANUP(buf_deinit) struct buf body;
    buf_init(&body, BUF_NO_MAX);
    buf_printf(&body, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}", b->ns);
    if (!post(b, "", &body, 409, err)) {
        return false;
    }
    buf_clear(&body);
    buf_append_c(&body, "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"default\"}}");
    return post(b, "/serviceaccounts", &body, 409, err) && wait_for_pods(b, err);
}

bool namespace_delete(struct bench *b, struct err *err)
{
    struct bench_request r = { .method = "DELETE" };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s", b->ns);
    return bench_do(b, &r, 409, err);
}
