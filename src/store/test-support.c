#include "store/test-support.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "store/test-etcd.h"

static void on_event(void *arg, const struct store_event *ev)
{
    struct fixture *f = arg;
    if (f->n_events < ARRAY_SIZE(f->events)) {
        f->events[f->n_events].type = ev->type;
        f->events[f->n_events].revision = ev->revision;
        snprintf(f->events[f->n_events].key, sizeof(f->events[0].key), "%.*s", STR_ARG(ev->key));
        snprintf(f->events[f->n_events].value, sizeof(f->events[0].value), "%.*s", STR_ARG(ev->value));
    }
    f->n_events++;
}

static void on_fatal(void *arg, const char *reason)
{
    struct fixture *f = arg;
    snprintf(f->fatal, sizeof(f->fatal), "%s", reason);
}

struct fixture *fixture_new(bool sqlite)
{
    struct fixture *f = calloc(1, sizeof(*f));
    CHECK(f);
    f->sqlite = sqlite;
    f->with_volatile_log = true;
    snprintf(f->dir, sizeof(f->dir), "/tmp/c-store-test-XXXXXX");
    CHECK(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/store.db", f->dir);
    struct err err;
    f->loop = loop_new(&err);
    CHECK_OK(f->loop, &err);
    return f;
}

struct fixture *fixture_new_etcd(struct test_etcd *etcd)
{
    static int number;
    struct fixture *f = fixture_new(false);
    f->etcd = etcd;
    snprintf(f->prefix, sizeof(f->prefix), "/t%d", ++number);
    return f;
}

static struct store *open_etcd(struct fixture *f, const struct store_config *cfg, struct err *err)
{
    struct str servers[TEST_ETCD_MAX];
    struct store_etcd_config e = { .servers = servers, .prefix = str_c(f->prefix), .trust_progress = f->trust_progress,
                                   .compaction_interval_ms = f->compaction_ms };
    e.n_servers = test_etcd_servers(f->etcd, servers);
    test_etcd_files(f->etcd, &e);
    return store_open_etcd(cfg, &e, err);
}

bool fixture_try_open(struct fixture *f, struct err *err)
{
    struct store_config cfg = {
        .loop = f->loop,
        .path = f->path,
        .volatile_dir = f->with_volatile_log ? f->dir : NULL,
        .on_fatal = on_fatal,
        .fatal_arg = f,
        .no_sync = !f->sync,
        .held_back_bytes = f->held_back_bytes,
    };
    f->store = f->etcd ? open_etcd(f, &cfg, err) : f->sqlite ? store_open_sqlite(&cfg, err) : store_open_memory(&cfg, err);
    if (!f->store) {
        return false;
    }
    struct store_resource_config pods = { .prefix = STR("/registry/pods/"), .on_event = on_event, .arg = f };
    struct store_resource_config leases = { .prefix = STR("/registry/leases/"), .has_volatile = true, .on_event = on_event,
                                            .arg = f };
    f->pods = store_resource_open(f->store, &pods);
    f->leases = store_resource_open(f->store, &leases);
    return true;
}

void fixture_open(struct fixture *f)
{
    struct err err;
    CHECK_OK(fixture_try_open(f, &err), &err);
    for (int i = 0; f->etcd && store_resource_watermark(f->pods) == 0; i++) {
        CHECK(i < 1000);
        loop_turn(f->loop, 10);
    }
}

void fixture_close(struct fixture *f)
{
    f->pods = store_resource_close(f->pods);
    f->leases = store_resource_close(f->leases);
    f->store = store_close(f->store);
}

void fixture_end(struct fixture *f)
{
    if (f->store) {
        fixture_close(f);
    }
    loop_free(f->loop);
    CHECK(fs_remove_tree(f->dir, NULL));
    free(f);
}

void fixture_wait(struct fixture *f, const int *flag)
{
    uint64_t end = clock_mono_ms() + 10000;
    while (!*flag) {
        CHECK(clock_mono_ms() < end);
        loop_turn(f->loop, 100);
    }
}

void fixture_turn_ms(struct fixture *f, unsigned ms)
{
    uint64_t end = clock_mono_ms() + ms;
    while (clock_mono_ms() < end) {
        loop_turn(f->loop, 5);
    }
}

void on_answer(void *arg, const struct store_result *res)
{
    struct answer *a = arg;
    a->done++;
    a->status = res->status;
    a->revision = res->revision;
    snprintf(a->value, sizeof(a->value), "%.*s", STR_ARG(res->value));
}

void start_write(struct fixture *f, struct store_resource *r, const char *key, const char *value, int64_t expect,
                 unsigned flags, struct answer *a)
{
    *a = (struct answer){ 0 };
    struct store_write w = {
        .resource = r,
        .key = str_c(key),
        .value = value ? str_c(value) : STR_NULL,
        .expect = expect,
        .flags = flags,
        .done = on_answer,
        .arg = a,
    };
    store_write(f->store, &w);
}

struct answer do_write_to(struct fixture *f, struct store_resource *r, const char *key, const char *value, int64_t expect,
                          unsigned flags)
{
    struct answer a;
    start_write(f, r, key, value, expect, flags, &a);
    fixture_wait(f, &a.done);
    return a;
}

struct answer put(struct fixture *f, const char *name, const char *value, int64_t expect)
{
    char key[128];
    snprintf(key, sizeof(key), "/registry/pods/%s", name);
    return do_write_to(f, f->pods, key, value, expect, 0);
}

struct answer delete_(struct fixture *f, const char *name, int64_t expect)
{
    return put(f, name, NULL, expect);
}

struct dump_state {
    int done;
    char next[256];
    size_t next_len;
    bool more;
    char text[65536];
    size_t len;
};

static void on_page(void *arg, const struct store_page *p)
{
    struct dump_state *d = arg;
    CHECK_INT(p->status, STORE_OK);
    for (size_t i = 0; i < p->n_items; i++) {
        int n = snprintf(d->text + d->len, sizeof(d->text) - d->len, "%.*s=%.*s@%lld ", STR_ARG(p->items[i].key),
                         STR_ARG(p->items[i].value), (long long)p->items[i].revision);
        d->len = MIN(d->len + (size_t)n, sizeof(d->text) - 1);
    }
    d->more = p->more;
    if (p->more) {
        struct str last = p->items[p->n_items - 1].key;
        memcpy(d->next, last.ptr, last.len);
        d->next[last.len] = '\0';
        d->next_len = last.len + 1;
    }
    d->done = 1;
}

const char *dump(struct fixture *f, const char *prefix)
{
    static struct dump_state d;
    char end[128];
    d = (struct dump_state){ 0 };
    struct str start = str_c(prefix);
    do {
        d.done = 0;
        store_range(f->store, start, store_prefix_end(str_c(prefix), end), 3, on_page, &d);
        fixture_wait(f, &d.done);
        start = str_n(d.next, d.next_len);
    } while (d.more);
    return d.text;
}

/* ---- things ---- */

static const struct str thing_fields[] = { STR_INIT("spec.nodeName"), STR_INIT("status.phase") };
const struct object_class thing_class = {
    .prefix = STR_INIT("{\"kind\":\"Thing\",\"apiVersion\":\"v1\","),
    .item_prefix = STR_INIT("{"),
    .fields = thing_fields,
    .n_fields = 2,
};

static struct str part_of(struct str value, const char *name)
{
    struct str piece, key, v;
    while (str_split(&value, ';', &piece)) {
        if (str_cut(piece, '=', &key, &v) && str_eq_c(key, name)) {
            return v;
        }
    }
    return STR_EMPTY;
}

struct object *thing_new(struct str namespace, struct str name, struct str value)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    struct str fields[] = { part_of(value, "node"), part_of(value, "phase") };
    struct object_label label = { .key = STR("app"), .value = part_of(value, "label") };
    buf_printf(&b, "\"metadata\":{\"name\":\"%.*s\",\"namespace\":\"%.*s\",\"resourceVersion\":\"\"", STR_ARG(name),
               STR_ARG(namespace));
    if (label.value.len) {
        buf_printf(&b, ",\"labels\":{\"app\":\"%.*s\"}", STR_ARG(label.value));
    }
    buf_printf(&b, "},\"value\":\"%.*s\"}", STR_ARG(value));
    struct object_init init = {
        .class = &thing_class,
        .json = buf_str(&b),
        .rv_at = OBJECT_FIND_RV,
        .namespace = namespace,
        .name = name,
        .labels = &label,
        .n_labels = label.value.len ? 1 : 0,
        .fields = fields,
    };
    struct err err;
    struct object *o = object_new(&init, &err);
    CHECK_OK(o, &err);
    return o;
}

static struct object *thing_build(void *arg UNUSED, struct str key, struct str value, struct err *err)
{
    ptrdiff_t slash = str_rfind_char(key, '/');
    struct str name = str_sub(key, (size_t)slash + 1, SIZE_MAX), rest = str_sub(key, 0, (size_t)slash);
    struct str namespace = str_sub(rest, (size_t)str_rfind_char(rest, '/') + 1, SIZE_MAX);
    if (str_eq_c(value, "broken")) {
        err_set(err, ERR_INVALID, "broken on purpose");
        return NULL;
    }
    return thing_new(namespace, name, value);
}

static struct object *thing_rebuild(void *arg, const struct object *old, struct err *err UNUSED)
{
    struct object *o = thing_new(object_namespace(old), object_name(old), STR("rebuilt"));
    o->epoch = *(uint32_t *)arg;
    return o;
}

const struct watch_cache_ops thing_ops = { .build = thing_build, .rebuild = thing_rebuild };
