/* Replays the captured patches over HTTP: each starts from the state that was captured before it. */
#include <stdlib.h>

#include "api/golden.h"
#include "apiserver/golden-replay.h"
#include "base/test.h"

/* "/apis/apps/v1/namespaces/patch/deployments/d/scale?x" taken apart. */
struct target {
    struct str group, version, namespace, resource, name, object_path;
};

static struct target target_of(struct arena *a, struct str path)
{
    struct target t = { 0 };
    struct str parts[10] = { 0 }, piece, rest = path, query;
    size_t n = 0;
    if (str_cut(path, '?', &rest, &query)) {
        path = rest;
    }
    rest = path;
    while (n < ARRAY_SIZE(parts) && str_split(&rest, '/', &piece)) {
        parts[n++] = piece;
    }
    size_t at = str_eq_c(parts[1], "api") ? 2 : 3;
    t.group = at == 2 ? STR_EMPTY : parts[2];
    t.version = parts[at];
    t.namespace = parts[at + 2];
    t.resource = parts[at + 3];
    t.name = parts[at + 4];
    t.object_path = arena_printf(a, "/%.*s%s%.*s/%.*s/namespaces/%.*s/%.*s/%.*s", STR_ARG(parts[1]), at == 2 ? "" : "/", STR_ARG(t.group),
                                 STR_ARG(t.version), STR_ARG(t.namespace), STR_ARG(t.resource), STR_ARG(t.name));
    return t;
}

static bool patches_alike(struct test_server *t, const char *name, struct replay_diff *d)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 256u << 20);
    const char *golden = golden_dir();
    struct val request = replay_parse(&a, test_read(&a, "%s/patches/%s/request.json", golden, name));
    struct val meta = replay_parse(&a, test_read(&a, "%s/patches/%s/response.meta.json", golden, name));
    struct str patch = test_read(&a, "%s/patches/%s/patch.json", golden, name), path = val_get_str(&request, STR("path"));
    struct str before = test_read(&a, "%s/patches/%s/before.json", golden, name), after = test_read(&a, "%s/patches/%s/after.json", golden, name);
    struct target at = target_of(&a, path);
    const struct endpoint *ep = registry_endpoint(t->server, at.group, at.version, at.resource);
    if (!patch.ptr) {
        patch = test_read(&a, "%s/patches/%s/patch.yaml", golden, name);
    }
    if (!ep || !replay_put(t, &a, ep, at.namespace, at.name, before)) {
        (void)snprintf(d->why, sizeof(d->why), "the state before cannot be made");
        return false;
    }
    d->given = patch;
    struct test_answer r = test_request(t, &a, STR("PATCH"), path, "admin",
                                        arena_printf(&a, "Content-Type: %.*s\r\n", STR_ARG(val_get_str(&request, STR("contentType")))), patch);
    int64_t status = 0;
    CHECK(val_as_i64(val_get(&meta, STR("status")), &status));
    if (r.status != status) {
        (void)snprintf(d->why, sizeof(d->why), "status %d, want %d: %.*s", r.status, (int)status, STR_ARG(str_sub(r.body, 0, 1500)));
        return false;
    }
    if (!replay_same_headers(d, &r, &meta) ||
        !replay_same_json(&a, d, r.body, test_read(&a, "%s/patches/%s/response.json", golden, name))) {
        return false;
    }
    r = test_request(t, &a, STR("GET"), at.object_path, "admin", STR_EMPTY, STR_NULL);
    return !after.ptr || replay_same_json(&a, d, r.body, after);
}

TEST(captured_patches_are_answered_alike)
{
    struct test_server t;
    struct replay replay;
    char *names[500];
    size_t n = replay_names("patches", names, ARRAY_SIZE(names));
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 16u << 20);
    test_server_start(&t);
    (void)test_request(&t, &a, STR("POST"), STR("/api/v1/namespaces"), "admin", STR("Content-Type: application/json\r\n"),
                       STR("{\"metadata\":{\"name\":\"patch\"}}"));
    (void)test_request(&t, &a, STR("POST"), STR("/api/v1/namespaces/patch/serviceaccounts"), "admin",
                       STR("Content-Type: application/json\r\n"), STR("{\"metadata\":{\"name\":\"default\"}}"));
    replay_begin(&replay, "patches");
    for (size_t i = 0; i < n; i++) {
        struct replay_diff d = { 0 };
        if (!replay_skips(names[i])) {
            replay_case(&replay, names[i], patches_alike(&t, names[i], &d), d.why);
        }
        free(names[i]);
    }
    test_server_stop(&t);
    replay_end(&replay);
}
