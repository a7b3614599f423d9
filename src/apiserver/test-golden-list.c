/* Replays the captured lists and watches of the namespace "lw". What was there is put into the store as it was captured. */
#include <stdlib.h>

#include "api/golden.h"
#include "apiserver/golden-replay.h"
#include "base/test.h"

static struct str captured_file(struct arena *a, struct str file)
{
    return test_read(a, "%s/lists-and-watches/%.*s", golden_dir(), STR_ARG(file));
}

static void put(struct test_server *t, struct arena *a, const char *resource, const struct val *object)
{
    const struct endpoint *ep = registry_endpoint(t->server, STR_EMPTY, STR("v1"), str_c(resource));
    CHECK(ep && replay_put(t, a, ep, VAL_STR_AT(object, "metadata", "namespace"), VAL_STR_AT(object, "metadata", "name"), val_to_json(a, object)));
}

/* The items of a captured list, all but the one that was made later. */
static void put_items(struct test_server *t, struct arena *a, const char *file, const char *resource, const char *later, bool only_later)
{
    struct val list = replay_parse(a, captured_file(a, str_c(file)));
    const struct val *items = val_get(&list, STR("items"));
    for (uint32_t i = 0; items && i < items->n; i++) {
        if ((later && str_eq_c(VAL_STR_AT(&items->items[i], "metadata", "name"), later)) == only_later) {
            put(t, a, resource, &items->items[i]);
        }
    }
}

/* The continue token of a captured page names a version of that cluster; the live one stands for it. */
static struct str live_path(struct arena *a, struct str path, struct str token)
{
    ptrdiff_t at = str_find(path, STR("continue="));
    return at < 0 ? path : arena_printf(a, "%.*scontinue=%.*s", STR_ARG(str_sub(path, 0, (size_t)at)), STR_ARG(token));
}

static void create_namespace(struct test_server *t)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 16u << 20);
    struct test_answer r = test_request(t, &a, STR("POST"), STR("/api/v1/namespaces"), "admin", STR("Content-Type: application/json\r\n"),
                                        STR("{\"metadata\":{\"name\":\"lw\"}}"));
    CHECK_INT(r.status, 201);
}

TEST(captured_lists_are_answered_alike)
{
    CLEANUP(arena_deinit) struct arena a;
    struct test_server t;
    struct replay replay;
    struct str token = STR_EMPTY;
    bool later = false;
    arena_init(&a, 128u << 20);
    struct val cases = replay_parse(&a, captured_file(&a, STR("lists.index.json")));
    if (cases.kind != VAL_ARRAY) {
        test_skip("no captured lists");
    }
    test_server_start(&t);
    create_namespace(&t);
    put_items(&t, &a, "lists/rv0.json", "configmaps", "c00", false);
    put_items(&t, &a, "lists/pods-spec-nodeName.json", "pods", NULL, false);
    struct val pod = replay_parse(&a, test_read(&a, "%s/objects/core.v1.Pod/full.status.out.json", golden_dir()));
    struct val other = replay_parse(&a, test_read(&a, "%s/objects/core.v1.Pod/minimal.out.json", golden_dir()));
    if (pod.kind == VAL_OBJECT && other.kind == VAL_OBJECT) {
        put(&t, &a, "pods", &pod);
        put(&t, &a, "pods", &other);
    }
    replay_begin(&replay, "lists");
    for (uint32_t i = 0; i < cases.n; i++) {
        const struct val *one = &cases.items[i];
        struct str file = val_get_str(one, STR("file")), accept = val_get_str(one, STR("accept")), path = val_get_str(one, STR("path"));
        char name[200];
        struct replay_diff d = { .given = path };
        if (!str_ends(file, STR(".json")) || !str_to_cstr(str_sub(file, 6, file.len), name, sizeof(name))) {
            continue;
        }
        if (!later && !str_starts(file, STR("lists/page"))) {
            put_items(&t, &a, "lists/rv0.json", "configmaps", "c00", true);
            later = true;
        }
        struct test_answer r = test_request(&t, &a, STR("GET"), live_path(&a, path, token), "admin",
                                            arena_printf(&a, "Accept: %.*s\r\n", STR_ARG(accept)), STR_NULL);
        struct val got = replay_parse(&a, r.body);
        token = strncmp(name, "page", 4) == 0 ? VAL_STR_AT(&got, "metadata", "continue") : token;
        bool same = r.status == 200 && replay_same_json(&a, &d, r.body, captured_file(&a, file));
        if (r.status != 200) {
            (void)snprintf(d.why, sizeof(d.why), "status %d: %.*s", r.status, STR_ARG(str_sub(r.body, 0, 600)));
        }
        if (!replay_skips(name)) {
            replay_case(&replay, name, same, d.why);
        }
    }
    test_server_stop(&t);
    replay_end(&replay);
}

/* ---- watches ---- */

static void write_one(struct test_server *t, struct arena *a, const char *method, struct str path, const char *type, struct str body)
{
    struct test_answer r = test_request(t, a, str_c(method), path, "admin", arena_printf(a, "Content-Type: %s\r\n", type), body);
    CHECK(r.status == 200 || r.status == 201);
}

/* What the capture did while the stream was open; here it is done before, and read from the cache's history. */
static void take_steps(struct test_server *t, struct arena *a, struct str name)
{
    static const char *const patches[] = { "{\"data\":{\"a\":\"2\"}}", "{\"metadata\":{\"labels\":{\"w\":\"2\"}}}",
                                           "{\"metadata\":{\"labels\":{\"w\":\"1\"}}}" };
    struct str all = STR("/api/v1/namespaces/lw/configmaps"), one = arena_printf(a, "%.*s/%.*s", STR_ARG(all), STR_ARG(name));
    write_one(t, a, "POST", all, "application/json",
              arena_printf(a, "{\"metadata\":{\"name\":\"%.*s\",\"labels\":{\"w\":\"1\"}},\"data\":{\"a\":\"1\"}}", STR_ARG(name)));
    for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
        write_one(t, a, "PATCH", one, "application/merge-patch+json", str_c(patches[i]));
    }
    write_one(t, a, "DELETE", one, "application/json", STR_NULL);
}

/* The path with the version that is current now, where it named one of the captured cluster's. */
static struct str at_version(struct arena *a, struct str path, struct str version)
{
    ptrdiff_t at = str_find(path, STR("resourceVersion="));
    uint64_t was;
    if (at < 0) {
        return arena_printf(a, "%.*s&resourceVersion=%.*s", STR_ARG(path), STR_ARG(version));
    }
    struct str head = str_sub(path, 0, (size_t)at), rest = str_sub(path, (size_t)at + 16, path.len), value, tail = STR_EMPTY;
    (void)str_cut(rest, '&', &value, &tail);
    return str_to_u64(value, &was) && was > 2
               ? arena_printf(a, "%.*sresourceVersion=%.*s&%.*s", STR_ARG(head), STR_ARG(version), STR_ARG(tail)) : path;
}

static bool same_stream(struct arena *a, struct replay_diff *d, struct str got, struct str want)
{
    struct str g = STR_EMPTY, w = STR_EMPTY;
    while (str_split(&want, '\n', &w)) {
        if (w.len == 0) {
            continue;
        }
        do {
            if (!str_split(&got, '\n', &g)) {
                (void)snprintf(d->why, sizeof(d->why), "the stream ends before %.*s", STR_ARG(str_sub(w, 0, 600)));
                return false;
            }
        } while (g.len == 0);
        if (!replay_same_json(a, d, g, w)) {
            return false;
        }
    }
    if (str_trim(got).len > 0) {
        (void)snprintf(d->why, sizeof(d->why), "more than wanted: %.*s", STR_ARG(str_sub(got, 0, 600)));
        return false;
    }
    return true;
}

TEST(captured_watches_are_answered_alike)
{
    CLEANUP(arena_deinit) struct arena a;
    struct test_server t;
    struct replay replay;
    unsigned stepped = 0;
    arena_init(&a, 128u << 20);
    struct val cases = replay_parse(&a, captured_file(&a, STR("watches.index.json")));
    if (cases.kind != VAL_ARRAY) {
        test_skip("no captured watches");
    }
    test_server_start(&t);
    create_namespace(&t);
    put_items(&t, &a, "lists/rv0.json", "configmaps", NULL, false);
    replay_begin(&replay, "watches");
    for (uint32_t i = 0; i < cases.n; i++) {
        const struct val *one = &cases.items[i], *steps = val_get(one, STR("steps"));
        struct str file = val_get_str(one, STR("file")), accept = val_get_str(one, STR("accept")), path = val_get_str(one, STR("path"));
        char name[200];
        struct replay_diff d = { 0 };
        stepped += steps && steps->n > 0;
        if (!str_ends(file, STR(".json")) || !str_to_cstr(str_sub(file, 8, file.len), name, sizeof(name)) ||
            str_find(path, STR("widgets")) >= 0) {
            continue;
        }
        struct test_answer r = test_request(&t, &a, STR("GET"), STR("/api/v1/namespaces/lw/configmaps?limit=1"), "admin", STR_EMPTY, STR_NULL);
        struct val now = replay_parse(&a, r.body);
        if (steps && steps->n > 0) {
            take_steps(&t, &a, arena_printf(&a, "w%u", stepped));
            path = at_version(&a, path, VAL_STR_AT(&now, "metadata", "resourceVersion"));
        }
        r = test_request(&t, &a, STR("GET"), path, "admin", arena_printf(&a, "Accept: %.*s\r\n", STR_ARG(accept)), STR_NULL);
        bool same = r.status == 200 && same_stream(&a, &d, r.body, captured_file(&a, file));
        if (r.status != 200) {
            (void)snprintf(d.why, sizeof(d.why), "status %d: %.*s", r.status, STR_ARG(str_sub(r.body, 0, 600)));
        }
        if (!replay_skips(name)) {
            replay_case(&replay, name, same, d.why);
        }
    }
    test_server_stop(&t);
    replay_end(&replay);
}
