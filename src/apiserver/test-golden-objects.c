/* Replays the captured objects: what is posted comes back, is stored, read as a table and given a status as upstream does. */
#include <stdlib.h>

#include "api/decode-json.h"
#include "api/decode-pb.h"
#include "api/encode-json.h"
#include "api/golden.h"
#include "apiserver/golden-replay.h"
#include "base/test.h"

struct objects {
    struct test_server t;
    struct replay posted, stored, tables, statuses;
};

static struct str folder_of(struct arena *a, const struct golden_object *o, struct str namespace)
{
    const struct api_resource *r = o->resource;
    struct str base = r->group.len ? arena_printf(a, "/apis/%.*s/%.*s", STR_ARG(r->group), STR_ARG(r->version))
                                   : arena_printf(a, "/api/%.*s", STR_ARG(r->version));
    return r->namespaced ? arena_printf(a, "%.*s/namespaces/%.*s/%.*s", STR_ARG(base), STR_ARG(namespace), STR_ARG(r->resource))
                         : arena_printf(a, "%.*s/%.*s", STR_ARG(base), STR_ARG(r->resource));
}

struct stored {
    struct arena *a;
    struct str value;
    bool done;
};

static void take_page(void *arg, const struct store_page *page)
{
    struct stored *s = arg;
    s->value = page->n_items ? arena_str(s->a, page->items[0].value) : STR_NULL;
    s->done = true;
}

static struct str stored_value(struct test_server *t, struct arena *a, struct str key)
{
    struct stored s = { .a = a };
    store_range(t->server->store, key, arena_printf(a, "%.*s%c", STR_ARG(key), 1), 1, take_page, &s);
    for (int i = 0; i < 1000 && !s.done; i++) {
        loop_turn(t->loop, 1);
    }
    return s.value;
}

/* What a stored value holds, as JSON; absent when it cannot be read. */
static struct str stored_json(struct arena *a, const struct rest *rest, struct str value)
{
    CLEANUP(buf_deinit) struct buf b;
    struct err err;
    buf_init(&b, 16u << 20);
    void *obj = arena_alloc(a, rest->hub->type->size);
    CHECK(obj != NULL);
    bool ok = api_pb_is_envelope(value) ? api_decode_pb_object(a, rest->hub->type, value, NULL, obj, &err)
                                        : api_decode_json(a, rest->hub->type, value, NULL, obj, &err);
    return ok && api_encode_json(&b, rest->hub->type, obj, NULL, NULL) ? arena_str(a, buf_str(&b)) : STR_NULL;
}

static bool same_stored(struct objects *c, struct arena *a, const struct golden_object *o, struct replay_diff *d)
{
    const struct rest *rest = registry_rest(c->t.server, o->resource->group, o->resource->resource);
    struct str want = golden_file(a, o, "etcd.bin"), key = golden_line(golden_file(a, o, "key.txt"));
    struct str got = stored_value(&c->t, a, key);
    if (!rest || !got.ptr) {
        (void)snprintf(d->why, sizeof(d->why), "nothing is stored at %.*s", STR_ARG(key));
        return false;
    }
    /* "k8s\0" and the version and kind, up to where the object begins; or the same text. */
    size_t head = 0;
    while (head < want.len && head < 200 && (head < 6 || want.ptr[head] != 0x12 || want.ptr[5] + 6 != (int)head)) {
        head++;
    }
    if (api_pb_is_envelope(want) != api_pb_is_envelope(got) ||
        (api_pb_is_envelope(want) && !str_eq(str_sub(got, 0, head), str_sub(want, 0, head)))) {
        (void)snprintf(d->why, sizeof(d->why), "stored in another shape or version");
        return false;
    }
    return replay_same_json(a, d, stored_json(a, rest, got), stored_json(a, rest, want));
}

static bool same_answer(struct arena *a, struct replay_diff *d, const struct test_answer *r, int status, struct str want)
{
    if (r->status != status) {
        (void)snprintf(d->why, sizeof(d->why), "status %d: %.*s", r->status, STR_ARG(str_sub(r->body, 0, 1500)));
        return false;
    }
    return replay_same_json(a, d, r->body, want);
}

/* A status was captured from a live object: what the server filled in there is what it filled in here. */
static struct str as_live(struct objects *c, struct arena *a, struct str path, struct str body)
{
    struct test_answer r = test_request(&c->t, a, STR("GET"), path, "admin", STR_EMPTY, STR_NULL);
    struct val live = replay_parse(a, r.body), sent = replay_parse(a, body);
    struct str was = VAL_STR_AT(&sent, "metadata", "uid"), is = VAL_STR_AT(&live, "metadata", "uid"), out = STR_EMPTY, rest = body;
    if (r.status != 200 || sent.kind != VAL_OBJECT || was.len != 36 || is.len != 36) {
        return body;
    }
    for (ptrdiff_t at; (at = str_find(rest, was)) >= 0; rest = str_sub(rest, (size_t)at + was.len, rest.len)) {
        out = arena_printf(a, "%.*s%.*s%.*s", STR_ARG(out), STR_ARG(str_sub(rest, 0, (size_t)at)), STR_ARG(is));
    }
    sent = replay_parse(a, arena_printf(a, "%.*s%.*s", STR_ARG(out), STR_ARG(rest)));
    struct val *meta = val_get(&sent, STR("metadata")), *spec = val_get(&live, STR("spec"));
    if (!meta || !val_get(&live, STR("metadata"))) {
        return body;
    }
    (void)val_remove(meta, STR("resourceVersion"));
    CHECK(val_set(a, meta, STR("managedFields"), *VAL_AT(&live, "metadata", "managedFields")) != NULL);
    if (spec) {
        CHECK(val_set(a, &sent, STR("spec"), *spec) != NULL);
    }
    return val_to_json(a, &sent);
}

static void replay_object(const struct golden_object *o, void *ctx)
{
    struct objects *c = ctx;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 128u << 20);
    struct replay_diff d = { 0 };
    struct str out = golden_file(&a, o, "out.json"), body = golden_file(&a, o, "in.json"), table = golden_file(&a, o, "table.json");
    struct val object = replay_parse(&a, out);
    struct str name = VAL_STR_AT(&object, "metadata", "name"), path = folder_of(&a, o, VAL_STR_AT(&object, "metadata", "namespace"));
    struct str one = arena_printf(&a, "%.*s/%.*s", STR_ARG(path), STR_ARG(name)), json = STR("Content-Type: application/json\r\n");
    bool is_status = strstr(o->name, ".status") != NULL;
    char label[700];
    const char *dir = strrchr(o->dir, '/') + 1;
    (void)snprintf(label, sizeof(label), "%s/%s", dir, o->name);
    d.given = is_status ? STR_EMPTY : body;
    struct test_answer r;
    if (is_status) {
        body = as_live(c, &a, one, body);
        r = test_request(&c->t, &a, STR("PUT"), arena_printf(&a, "%.*s/status", STR_ARG(one)), "admin", json, body);
        if (!replay_skips(label)) {
            replay_case(&c->statuses, label, same_answer(&a, &d, &r, 200, out), d.why);
        }
    } else {
        r = test_request(&c->t, &a, STR("POST"), path, "admin", json, d.given);
        if (!replay_skips(label)) {
            replay_case(&c->posted, label, same_answer(&a, &d, &r, 201, out), d.why);
        }
    }
    if (replay_skips(label)) {
        return;
    }
    if (golden_file(&a, o, "etcd.bin").ptr) {
        replay_case(&c->stored, label, same_stored(c, &a, o, &d), d.why);
    }
    if (table.ptr) {
        r = test_request(&c->t, &a, STR("GET"), one, "admin", STR("Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n"), STR_NULL);
        replay_case(&c->tables, label, same_answer(&a, &d, &r, 200, table), d.why);
    }
}

TEST(captured_objects_are_created_stored_and_shown_alike)
{
    static const char *const namespaces[] = { "golden", "golden2" };
    struct objects c;
    (void)golden_dir();
    test_server_start(&c.t);
    for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
        CLEANUP(arena_deinit) struct arena a;
        arena_init(&a, 16u << 20);
        struct str json = STR("Content-Type: application/json\r\n");
        (void)test_request(&c.t, &a, STR("POST"), STR("/api/v1/namespaces"), "admin", json,
                           arena_printf(&a, "{\"metadata\":{\"name\":\"%s\"}}", namespaces[i]));
        (void)test_request(&c.t, &a, STR("POST"), arena_printf(&a, "/api/v1/namespaces/%s/serviceaccounts", namespaces[i]), "admin", json,
                           STR("{\"metadata\":{\"name\":\"default\"}}"));
    }
    replay_begin(&c.posted, "objects");
    replay_begin(&c.stored, "objects-stored");
    replay_begin(&c.tables, "objects-tables");
    replay_begin(&c.statuses, "objects-statuses");
    golden_objects(replay_object, &c);
    test_server_stop(&c.t);
    replay_end(&c.posted);
    replay_end(&c.stored);
    replay_end(&c.tables);
    replay_end(&c.statuses);
}
