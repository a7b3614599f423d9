#include "store/test-support.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"
#include "store/limits.h"

static uint32_t epoch;

struct cache_fixture {
    struct fixture *f;
    struct watch_cache *c;
    size_t ring_bytes;
    uint32_t ring_events;
};

static void cache_open(struct cache_fixture *x)
{
    struct watch_cache_config cfg = {
        .store = x->f->store, .prefix = STR("/registry/things/"), .namespaced = true, .indexed_fields = 1,
        .ops = &thing_ops, .arg = &epoch, .ring_bytes = x->ring_bytes, .ring_events = x->ring_events,
    };
    x->c = watch_cache_new(&cfg);
    for (int i = 0; i < 1000 && !watch_cache_ready(x->c); i++) {
        loop_turn(x->f->loop, 10);
    }
    CHECK(watch_cache_ready(x->c));
}

static struct cache_fixture cache_new(bool sqlite)
{
    struct cache_fixture x = { .f = fixture_new(sqlite) };
    fixture_open(x.f);
    cache_open(&x);
    return x;
}

static void cache_end(struct cache_fixture *x)
{
    watch_cache_free(x->c);
    fixture_end(x->f);
}

/* "ns/name" -> a write with the object attached; its revision. */
static int64_t put_thing(struct cache_fixture *x, const char *name, const char *value, int64_t expect)
{
    struct answer a = { 0 };
    char key[128];
    struct str namespace, rest;
    snprintf(key, sizeof(key), "/registry/things/%s", name);
    str_cut(str_c(name), '/', &namespace, &rest);
    struct object *o = value ? thing_new(namespace, rest, str_c(value)) : NULL;
    struct store_write w = {
        .resource = watch_cache_resource(x->c), .key = str_c(key), .value = str_c(value), .expect = expect, .object = o,
        .done = on_answer, .arg = &a,
    };
    store_write(x->f->store, &w);
    object_unref(o);
    fixture_wait(x->f, &a.done);
    CHECK_INT(a.status, STORE_OK);
    return a.revision;
}

static const char *list_text(struct snapshot_iter *it)
{
    static char text[8192];
    const struct object *o;
    size_t len = 0;
    text[0] = '\0';
    while ((o = snapshot_iter_next(it))) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s/%.*s@%lld ", STR_ARG(object_namespace(o)),
                                STR_ARG(object_name(o)), (long long)object_revision(o));
    }
    return text;
}

static const char *list(struct snapshot *s, const char *namespace)
{
    struct snapshot_iter it;
    snapshot_iter_init(&it, s, str_c(namespace), STR_EMPTY, STR_EMPTY);
    return list_text(&it);
}

TEST(lists_are_in_the_order_of_keys_whole_by_namespace_and_from_a_place)
{
    struct cache_fixture x = cache_new(false);
    put_thing(&x, "b/x", "1", STORE_ABSENT);
    put_thing(&x, "a/x", "1", STORE_ABSENT);
    put_thing(&x, "a-b/x", "1", STORE_ABSENT);
    put_thing(&x, "a/y", "1", STORE_ABSENT);
    struct snapshot *s = watch_cache_snapshot(x.c);
    CHECK_INT(snapshot_revision(s), 4);
    /* As etcd orders the keys: "a-b/" is before "a/". */
    CHECK_STR_C(str_c(list(s, "")), "a-b/x@3 a/x@2 a/y@4 b/x@1 ");
    CHECK_STR_C(str_c(list(s, "a")), "a/x@2 a/y@4 ");
    CHECK_STR_C(str_c(list(s, "zz")), "");
    struct snapshot_iter it;
    snapshot_iter_init(&it, s, STR_EMPTY, STR("a"), STR("x"));
    CHECK_INT(snapshot_iter_left(&it), 2);
    CHECK_STR_C(str_c(list_text(&it)), "a/y@4 b/x@1 ");
    snapshot_iter_init(&it, s, STR("a"), STR("a"), STR("x"));
    CHECK_INT(snapshot_iter_left(&it), 1);
    CHECK_STR_C(str_c(list_text(&it)), "a/y@4 ");
    CHECK_STR_C(object_namespace(watch_cache_get(x.c, STR("a-b"), STR("x"))), "a-b");
    CHECK(!watch_cache_get(x.c, STR("a"), STR("z")));
    snapshot_unref(s);
    cache_end(&x);
}

TEST(a_snapshot_stays_as_it_was_and_outlives_the_cache)
{
    struct cache_fixture x = cache_new(false);
    int64_t r = put_thing(&x, "a/x", "1", STORE_ABSENT);
    put_thing(&x, "a/y", "1", STORE_ABSENT);
    struct snapshot *s = watch_cache_snapshot(x.c);
    put_thing(&x, "a/x", "2", r);
    put_thing(&x, "a/z", "2", STORE_ABSENT);
    put_thing(&x, "a/y", NULL, STORE_ANY);
    cache_end(&x);
    CHECK_STR_C(str_c(list(s, "")), "a/x@1 a/y@2 ");
    snapshot_unref(s);
}

TEST(exact_lists_are_made_within_the_ring_and_refused_outside)
{
    struct cache_fixture x = { .f = fixture_new(false), .ring_events = 40 };
    fixture_open(x.f);
    cache_open(&x);
    static char model[64][4096];
    for (int i = 1; i <= 60; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n/o%d", (i * 7) % 10);
        bool there = watch_cache_get(x.c, STR("n"), str_c(name + 2)) != NULL;
        CHECK_INT(put_thing(&x, name, there && i % 3 == 0 ? NULL : "v", STORE_ANY), i);
        struct snapshot *s = watch_cache_snapshot(x.c);
        snprintf(model[i], sizeof(model[i]), "%s", list(s, ""));
        snapshot_unref(s);
    }
    for (int i = 1; i <= 60; i++) {
        struct snapshot *s = NULL;
        enum store_status st = watch_cache_snapshot_at(x.c, i, &s);
        CHECK_INT(st, i < 20 ? STORE_E_COMPACTED : STORE_OK);
        if (s) {
            CHECK_STR_C(str_c(list(s, "")), model[i]);
            CHECK_INT(snapshot_revision(s), i);
        }
        snapshot_unref(s);
    }
    struct snapshot *s;
    CHECK_INT(watch_cache_snapshot_at(x.c, 61, &s), STORE_E_FUTURE);
    cache_end(&x);
}

/* ---- watchers ---- */

struct viewer {
    struct watcher *w;
    int ready;
    bool (*match)(void *arg, const struct object *o);
};

static void on_ready(void *arg)
{
    ((struct viewer *)arg)->ready++;
}

static void watch(struct cache_fixture *x, struct viewer *v, struct watch_options opt)
{
    v->ready = 0;
    opt.ready = on_ready;
    opt.arg = v;
    CHECK_INT(watcher_new(x->c, &opt, &v->w), STORE_OK);
}

static const char *drain(struct viewer *v)
{
    static char text[16384];
    size_t len = 0;
    struct watch_item it;
    enum watch_got got;
    text[0] = '\0';
    while ((got = watch_next(v->w, &it)) != WATCH_GOT_NOTHING) {
        if (got == WATCH_GOT_EXPIRED) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "EXPIRED ");
            break;
        }
        if (got == WATCH_GOT_INITIAL_END) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "END@%lld ", (long long)it.revision);
            continue;
        }
        CHECK_INT(it.revision, object_revision(it.object));
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%c:%.*s@%lld ", watch_type_name(it.type)[0],
                                STR_ARG(object_name(it.object)), (long long)it.revision);
    }
    return text;
}

static bool label_is_web(void *arg UNUSED, const struct object *o)
{
    return str_eq_c(object_label(o, STR("app")), "web");
}

TEST(selector_decides_what_a_change_is)
{
    struct cache_fixture x = cache_new(false);
    struct viewer web = { 0 }, all = { 0 };
    watch(&x, &web, (struct watch_options){ .start = WATCH_ONLY_NEW, .field = -1, .match = label_is_web });
    watch(&x, &all, (struct watch_options){ .start = WATCH_ONLY_NEW, .field = -1 });
    CHECK_STR_C(str_c(drain(&web)), "");
    CHECK_STR_C(str_c(drain(&all)), "");
    put_thing(&x, "a/x", "label=web;1", STORE_ABSENT);
    put_thing(&x, "a/x", "label=web;2", STORE_ANY);
    put_thing(&x, "a/x", "label=db", STORE_ANY);
    put_thing(&x, "a/x", "label=db;2", STORE_ANY);
    put_thing(&x, "a/x", "label=web;3", STORE_ANY);
    put_thing(&x, "a/x", NULL, STORE_ANY);
    CHECK(web.ready && all.ready);
    CHECK_STR_C(str_c(drain(&web)), "A:x@1 M:x@2 D:x@3 A:x@5 D:x@6 ");
    CHECK_STR_C(str_c(drain(&all)), "A:x@1 M:x@2 M:x@3 M:x@4 M:x@5 D:x@6 ");
    watcher_free(web.w);
    watcher_free(all.w);
    cache_end(&x);
}

TEST(object_that_leaves_a_selector_is_the_old_one_with_the_new_revision)
{
    struct cache_fixture x = cache_new(false);
    struct viewer v = { 0 };
    struct watch_item it;
    struct err err;
    watch(&x, &v, (struct watch_options){ .start = WATCH_ONLY_NEW, .field = -1, .match = label_is_web });
    put_thing(&x, "a/x", "label=web;old", STORE_ABSENT);
    put_thing(&x, "a/x", "label=db;new", STORE_ANY);
    CHECK_INT(watch_next(v.w, &it), WATCH_GOT_ITEM);
    CHECK_INT(watch_next(v.w, &it), WATCH_GOT_ITEM);
    struct shared_bytes *b = watch_frame(v.w, &it, 1, NULL, NULL, &err);
    CHECK_STR_C(shared_bytes_str(b), "{\"type\":\"DELETED\",\"object\":{\"kind\":\"Thing\",\"apiVersion\":\"v1\",\"metadata\":{"
                                     "\"name\":\"x\",\"namespace\":\"a\",\"resourceVersion\":\"2\",\"labels\":{\"app\":\"web\"}},"
                                     "\"value\":\"label=web;old\"}}\n");
    struct shared_bytes *again = watch_frame(v.w, &it, 1, NULL, NULL, &err);
    CHECK(b == again);
    shared_bytes_unref(b);
    shared_bytes_unref(again);
    watcher_free(v.w);
    cache_end(&x);
}

struct hasty {
    struct viewer *v;
    unsigned given, done;
};

static void ask_at_once(void *arg, const struct store_result *res)
{
    struct hasty *h = arg;
    struct watch_item it;
    CHECK_INT(res->status, STORE_OK);
    while (watch_next(h->v->w, &it) == WATCH_GOT_ITEM) {
        h->given++;
    }
    h->done++;
}

TEST(a_watcher_may_be_asked_before_it_calls_back)
{
    struct cache_fixture x = cache_new(false);
    struct viewer v = { 0 };
    struct hasty h = { .v = &v };
    char key[64];
    watch(&x, &v, (struct watch_options){ .start = WATCH_ONLY_NEW, .field = -1 });
    for (int i = 0; i < 8; i++) { /* in one turn of the loop */
        snprintf(key, sizeof(key), "/registry/things/a/x%d", i);
        struct object *o = thing_new(STR("a"), str_c(key + 19), STR("v"));
        struct store_write w = { .resource = watch_cache_resource(x.c), .key = str_c(key), .value = STR("v"), .expect = STORE_ABSENT,
                                 .object = o, .done = ask_at_once, .arg = &h };
        store_write(x.f->store, &w);
        object_unref(o);
    }
    while (h.done < 8) {
        loop_turn(x.f->loop, 10);
    }
    CHECK_INT(h.given, 8);
    put_thing(&x, "a/y", "v", STORE_ABSENT);
    CHECK_STR_C(str_c(drain(&v)), "A:y@9 ");
    watcher_free(v.w);
    cache_end(&x);
}

TEST(watch_resumes_from_a_revision_and_below_the_window_gets_410)
{
    struct cache_fixture x = { .f = fixture_new(false), .ring_events = 32 };
    fixture_open(x.f);
    cache_open(&x);
    for (int i = 1; i <= 50; i++) {
        put_thing(&x, "a/x", "v", STORE_ANY);
    }
    CHECK_INT(watch_cache_oldest(x.c), 18);
    struct watcher *w;
    struct viewer v = { 0 };
    struct watch_options opt = { .start = WATCH_FROM_REVISION, .revision = 17, .field = -1, .ready = on_ready, .arg = &v };
    CHECK_INT(watcher_new(x.c, &opt, &w), STORE_E_COMPACTED);
    opt.revision = 46;
    watch(&x, &v, opt);
    CHECK_STR_C(str_c(drain(&v)), "M:x@47 M:x@48 M:x@49 M:x@50 ");
    CHECK_INT(watcher_bookmark(v.w), 50);
    put_thing(&x, "a/y", "v", STORE_ANY);
    CHECK_INT(watcher_bookmark(v.w), 0);
    CHECK_STR_C(str_c(drain(&v)), "A:y@51 ");
    CHECK_INT(watcher_bookmark(v.w), 51);
    put(x.f, "ns/elsewhere", "1", STORE_ABSENT);
    CHECK_INT(watcher_bookmark(v.w), 52);
    watcher_free(v.w);
    /* A revision that is still to come. */
    opt.revision = 54;
    watch(&x, &v, opt);
    CHECK_STR_C(str_c(drain(&v)), "");
    put_thing(&x, "a/y", "v", STORE_ANY);
    put_thing(&x, "a/y", "v", STORE_ANY);
    put_thing(&x, "a/y", "v", STORE_ANY);
    CHECK_STR_C(str_c(drain(&v)), "M:y@55 ");
    watcher_free(v.w);
    cache_end(&x);
}

TEST(what_is_there_comes_first_and_changes_meanwhile_come_once)
{
    struct cache_fixture x = cache_new(false);
    struct viewer v = { 0 }, plain = { 0 };
    struct watch_item it;
    put_thing(&x, "a/x", "1", STORE_ABSENT);
    put_thing(&x, "a/y", "1", STORE_ABSENT);
    put_thing(&x, "b/z", "1", STORE_ABSENT);
    watch(&x, &v, (struct watch_options){ .start = WATCH_INITIAL, .field = -1, .namespace = STR("a") });
    watch(&x, &plain, (struct watch_options){ .start = WATCH_FROM_NOW, .field = -1 });
    CHECK_INT(watch_next(v.w, &it), WATCH_GOT_ITEM);
    CHECK_INT(it.type, WATCH_ADDED);
    CHECK_STR_C(object_name(it.object), "x");
    CHECK_INT(watcher_bookmark(v.w), 0);
    put_thing(&x, "a/y", "2", STORE_ANY);
    put_thing(&x, "a/w", "2", STORE_ABSENT);
    CHECK_STR_C(str_c(drain(&v)), "A:y@2 END@3 M:y@4 A:w@5 ");
    CHECK_STR_C(str_c(drain(&plain)), "A:x@1 A:y@2 A:z@3 M:y@4 A:w@5 ");
    watcher_free(v.w);
    watcher_free(plain.w);
    cache_end(&x);
}

TEST(only_watchers_that_are_concerned_are_woken)
{
    struct cache_fixture x = cache_new(false);
    struct viewer node[3] = { 0 }, name = { 0 }, space = { 0 };
    const char *nodes[] = { "n1", "n2", "n3" };
    for (int i = 0; i < 3; i++) {
        watch(&x, &node[i], (struct watch_options){ .start = WATCH_ONLY_NEW, .field = 0, .field_value = str_c(nodes[i]) });
        drain(&node[i]);
    }
    watch(&x, &name, (struct watch_options){ .start = WATCH_ONLY_NEW, .field = -1, .namespace = STR("a"), .name = STR("x") });
    watch(&x, &space, (struct watch_options){ .start = WATCH_ONLY_NEW, .field = -1, .namespace = STR("b") });
    drain(&name);
    drain(&space);
    put_thing(&x, "a/x", "phase=Pending", STORE_ABSENT);
    put_thing(&x, "a/x", "node=n1;phase=Pending", STORE_ANY);
    CHECK_INT(node[0].ready, 1);
    CHECK_INT(node[1].ready + node[2].ready + space.ready, 0);
    CHECK_INT(name.ready, 1);
    CHECK_STR_C(str_c(drain(&node[0])), "A:x@2 ");
    put_thing(&x, "a/x", "node=n2", STORE_ANY);
    put_thing(&x, "b/x", "node=n2", STORE_ANY);
    CHECK_STR_C(str_c(drain(&node[0])), "D:x@3 ");
    CHECK_STR_C(str_c(drain(&node[1])), "A:x@3 A:x@4 ");
    CHECK_STR_C(str_c(drain(&name)), "A:x@1 M:x@2 M:x@3 ");
    CHECK_STR_C(str_c(drain(&space)), "A:x@4 ");
    CHECK_INT(node[2].ready, 0);
    for (int i = 0; i < 3; i++) {
        watcher_free(node[i].w);
    }
    watcher_free(name.w);
    watcher_free(space.w);
    cache_end(&x);
}

TEST(slow_watcher_reads_the_ring_and_expires_when_it_has_moved_on)
{
    struct cache_fixture x = { .f = fixture_new(false), .ring_events = 400 };
    fixture_open(x.f);
    cache_open(&x);
    struct viewer v = { 0 };
    struct watch_item it;
    watch(&x, &v, (struct watch_options){ .start = WATCH_ONLY_NEW, .field = -1 });
    drain(&v);
    for (int i = 1; i <= 300; i++) {
        put_thing(&x, "a/x", "v", STORE_ANY);
    }
    CHECK_INT(v.ready, 1);
    for (int i = 1; i <= 300; i++) {
        CHECK_INT(watch_next(v.w, &it), WATCH_GOT_ITEM);
        CHECK_INT(it.revision, i);
    }
    CHECK_INT(watch_next(v.w, &it), WATCH_GOT_NOTHING);
    for (int i = 1; i <= 401; i++) {
        put_thing(&x, "a/x", "v", STORE_ANY);
    }
    CHECK_INT(watch_next(v.w, &it), WATCH_GOT_EXPIRED);
    CHECK_INT(watch_next(v.w, &it), WATCH_GOT_EXPIRED);
    watcher_free(v.w);
    /* One that has not yet given what was there lets go of its snapshot. */
    watch(&x, &v, (struct watch_options){ .start = WATCH_INITIAL, .field = -1 });
    for (int i = 1; i <= 401; i++) {
        put_thing(&x, "a/x", "v", STORE_ANY);
    }
    CHECK_INT(watch_next(v.w, &it), WATCH_GOT_EXPIRED);
    watcher_free(v.w);
    cache_end(&x);
}

TEST(ring_is_bounded_in_bytes)
{
    struct cache_fixture x = { .f = fixture_new(false), .ring_bytes = 20000 };
    fixture_open(x.f);
    cache_open(&x);
    char value[1001];
    memset(value, 'v', 1000);
    value[1000] = '\0';
    for (int i = 1; i <= 200; i++) {
        put_thing(&x, "a/x", value, STORE_ANY);
    }
    CHECK_INT(watch_cache_oldest(x.c), 200 - WATCH_RING_MIN);
    cache_end(&x);
}

static void on_waited(void *arg, enum store_status status)
{
    *(int *)arg = status == STORE_OK ? 1 : 2;
}

TEST(waiting_for_a_revision_ends_when_it_is_reached)
{
    struct cache_fixture x = cache_new(false);
    struct watch_cache_wait w, cancelled;
    int done = 0, never = 0;
    CHECK(watch_cache_wait(x.c, &w, 0, on_waited, &done));
    CHECK(watch_cache_wait(x.c, &w, WATCH_CACHE_LATEST, on_waited, &done));
    CHECK(!watch_cache_wait(x.c, &w, 3, on_waited, &done));
    CHECK(!watch_cache_wait(x.c, &cancelled, 2, on_waited, &never));
    put_thing(&x, "a/x", "1", STORE_ABSENT);
    watch_cache_wait_cancel(&cancelled);
    CHECK_INT(done, 0);
    /* Writes of other resources count: nothing of this one is below. */
    put(x.f, "ns/a", "1", STORE_ABSENT);
    put(x.f, "ns/b", "1", STORE_ABSENT);
    CHECK_INT(done, 1);
    CHECK_INT(never, 0);
    cache_end(&x);
}

TEST(cache_loads_what_the_store_holds_and_leaves_out_what_is_broken)
{
    struct fixture *f = fixture_new(true);
    fixture_open(f);
    struct store_resource_config rc = { .prefix = STR("/registry/things/") };
    struct store_resource *r = store_resource_open(f->store, &rc);
    char key[64];
    struct answer each;
    for (int i = 0; i < 2500; i++) {
        snprintf(key, sizeof(key), "/registry/things/ns%d/t%d", i % 7, i);
        start_write(f, r, key, i == 77 ? "broken" : "v", STORE_ABSENT, 0, &each);
    }
    struct answer last = do_write_to(f, r, "/registry/things/z/z", "v", STORE_ABSENT, 0);
    CHECK_INT(last.status, STORE_OK);
    store_resource_close(r);
    struct cache_fixture x = { .f = f };
    cache_open(&x);
    CHECK_INT(watch_cache_n_objects(x.c), 2500);
    CHECK_INT(watch_cache_n_broken(x.c), 1);
    CHECK_INT(watch_cache_revision(x.c), last.revision);
    CHECK_INT(watch_cache_oldest(x.c), last.revision);
    CHECK_INT(object_revision(watch_cache_get(x.c, STR("z"), STR("z"))), last.revision);
    cache_end(&x);
}

TEST(cache_that_loads_while_others_write_shows_every_write)
{
    /* The resource is written through another handle while the cache loads it page by page. */
    struct fixture *f = fixture_new(true);
    fixture_open(f);
    struct cache_fixture x = { .f = f };
    struct watch_cache_config cfg = { .store = f->store, .prefix = STR("/registry/things/"), .namespaced = true,
                                      .ops = &thing_ops, .arg = &epoch };
    struct store_resource_config rc = { .prefix = STR("/registry/things/") };
    struct store_resource *r = store_resource_open(f->store, &rc);
    static struct answer a[3000];
    char key[64];
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "/registry/things/a/t%04d", i);
        start_write(f, r, key, "v", STORE_ABSENT, 0, &a[i]);
    }
    fixture_wait(f, &a[2999].done);
    store_resource_close(r);
    x.c = watch_cache_new(&cfg);
    for (int i = 0; i < 600; i++) {
        snprintf(key, sizeof(key), "/registry/things/a/t%04d", i * 5);
        start_write(f, watch_cache_resource(x.c), key, i % 3 ? "new" : NULL, STORE_ANY, 0, &a[i]);
        if (i % 100 == 0) {
            loop_turn(f->loop, 1);
        }
    }
    fixture_wait(f, &a[599].done);
    for (int i = 0; i < 1000 && !watch_cache_ready(x.c); i++) {
        loop_turn(f->loop, 10);
    }
    CHECK(watch_cache_ready(x.c));
    CHECK_INT(watch_cache_n_objects(x.c), 2800);
    for (int i = 0; i < 600; i++) {
        snprintf(key, sizeof(key), "t%04d", i * 5);
        const struct object *o = watch_cache_get(x.c, STR("a"), str_c(key));
        CHECK(i % 3 ? o && object_revision(o) == a[i].revision : !o);
    }
    cache_end(&x);
}

TEST(objects_of_an_older_epoch_are_made_again_when_read)
{
    struct cache_fixture x = cache_new(false);
    put_thing(&x, "a/x", "v", STORE_ABSENT);
    put_thing(&x, "a/y", "v", STORE_ABSENT);
    epoch = 1;
    watch_cache_set_epoch(x.c, 1);
    const struct object *o = watch_cache_get(x.c, STR("a"), STR("x"));
    CHECK_INT(o->epoch, 1);
    CHECK_INT(object_revision(o), 1);
    struct snapshot *s = watch_cache_snapshot(x.c);
    CHECK_STR_C(str_c(list(s, "")), "a/x@1 a/y@2 ");
    CHECK_INT(watch_cache_get(x.c, STR("a"), STR("y"))->epoch, 1);
    snapshot_unref(s);
    cache_end(&x);
}

/* Each viewer keeps the state that its events say; at the end it must be what a list with its selector says. */
enum { THINGS = 40, VIEWERS = 24 };
struct replica {
    struct viewer v;
    int64_t revision[THINGS], last;
    int speed;
    bool expired, label;
    struct watch_options opt;
};

static void follow(struct replica *r)
{
    struct watch_item it;
    for (int i = 0; i < r->speed; i++) {
        enum watch_got got = watch_next(r->v.w, &it);
        if (got == WATCH_GOT_EXPIRED) {
            r->expired = true;
            return;
        }
        if (got != WATCH_GOT_ITEM) {
            if (got == WATCH_GOT_NOTHING) {
                return;
            }
            continue;
        }
        int64_t k, *held;
        CHECK(str_to_i64(str_sub(object_name(it.object), 1, 9), &k) && k < THINGS);
        held = &r->revision[k];
        if (it.change) {
            CHECK(it.revision > r->last);
            r->last = it.revision;
        }
        CHECK((it.type == WATCH_ADDED) == (*held == 0));
        CHECK(it.type == WATCH_DELETED || it.revision > *held);
        *held = it.type == WATCH_DELETED ? 0 : it.revision;
    }
}

TEST(watchers_see_every_change_once_and_in_order_at_any_speed)
{
    struct cache_fixture x = { .f = fixture_new(true), .ring_events = 600 };
    fixture_open(x.f);
    cache_open(&x);
    static struct replica r[VIEWERS];
    memset(r, 0, sizeof(r));
    for (int i = 0; i < VIEWERS; i++) {
        r[i].opt = (struct watch_options){ .start = i % 2 ? WATCH_INITIAL : WATCH_FROM_NOW, .field = -1 };
        r[i].speed = i % 4 == 0 ? 1 : i % 4 == 1 ? 7 : 1000;
        if (i % 3 == 1) {
            r[i].opt.field = 0;
            r[i].opt.field_value = i % 2 ? STR("n0") : STR("n1");
        }
        if (i % 3 == 2) {
            r[i].opt.match = label_is_web;
        }
        if (i % 5 == 4) {
            r[i].opt.namespace = STR("ns");
        }
    }
    static struct answer a[64];
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < VIEWERS; i++) {
            if (!r[i].v.w && (int)rand_below(10) < round) {
                watch(&x, &r[i].v, r[i].opt);
            }
        }
        for (int i = 0; i < 40; i++) {
            unsigned k = (unsigned)rand_below(THINGS);
            char key[64], value[64];
            snprintf(key, sizeof(key), "/registry/things/ns/t%u", k);
            snprintf(value, sizeof(value), "node=n%u;label=%s", (unsigned)rand_below(3), rand_below(2) ? "web" : "db");
            start_write(x.f, watch_cache_resource(x.c), key, rand_below(4) ? value : NULL, STORE_ANY, 0, &a[i]);
        }
        for (int i = 0; i < 40; i++) {
            fixture_wait(x.f, &a[i].done);
        }
        for (int i = 0; i < VIEWERS; i++) {
            if (r[i].v.w && !r[i].expired && (r[i].v.ready || rand_below(2))) {
                r[i].v.ready = 0;
                follow(&r[i]);
            }
        }
    }
    int whole = 0;
    for (int i = 0; i < VIEWERS; i++) {
        r[i].speed = 100000;
        if (!r[i].expired) {
            follow(&r[i]);
        }
        for (int k = 0; k < THINGS && !r[i].expired; k++) {
            char name[16];
            snprintf(name, sizeof(name), "t%d", k);
            const struct object *o = watch_cache_get(x.c, STR("ns"), str_c(name));
            if (o && ((r[i].opt.field == 0 && !str_eq(object_field(o, 0), r[i].opt.field_value)) ||
                      (r[i].opt.match && !r[i].opt.match(NULL, o)))) {
                o = NULL;
            }
            CHECK_INT(r[i].revision[k], o ? object_revision(o) : 0);
        }
        whole += !r[i].expired;
        watcher_free(r[i].v.w);
    }
    CHECK(whole >= VIEWERS / 2);
    cache_end(&x);
}
