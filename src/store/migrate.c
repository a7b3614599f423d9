#include "store/migrate.h"

#include <stdlib.h>

#include "base/buf.h"
#include "net/loop.h"
#include "store/store.h"

#define ALL STR("/registry/")
#define MARK STR("/registry/.migration/in-progress")
#define LEASES STR("/registry/masterleases/")
#define EVENTS STR("/registry/events/")
enum { AT_ONCE = 128, EVENT_TTL_S = 3600, TRIES = 10 };

struct item {
    size_t key, key_len, value, value_len; /* in the page's bytes */
    int64_t revision;
};

/* Pages of one store, one after the other. */
struct walk {
    struct loop *loop;
    struct store *store;
    struct buf bytes;
    struct item *items;
    size_t n, at;
    bool more, arrived;
    enum store_status status;
};

struct migration {
    struct loop *loop;
    struct store *to;
    struct store_resource *all;
    unsigned under_way;
    enum store_status failure;
    struct migrate_report *report;
    migrate_progress_fn *progress;
    void *arg;
};

struct putting {
    struct migration *m;
    bool removes, is_again;
    uint32_t ttl_s;
    size_t key_len, value_len;
    char bytes[];
};

/* ---- reading ---- */

static void on_page(void *arg, const struct store_page *p)
{
    struct walk *w = arg;
    w->status = p->status;
    w->more = p->more;
    w->arrived = true;
    w->n = w->at = 0;
    buf_clear(&w->bytes);
    w->items = reallocarray(w->items, p->n_items + 1, sizeof(*w->items));
    if (!w->items) {
        abort();
    }
    for (size_t i = 0; i < p->n_items; i++) {
        const struct store_kv *kv = &p->items[i];
        if (str_starts(kv->key, LEASES) || str_eq(kv->key, MARK)) {
            continue;
        }
        struct item *it = &w->items[w->n++];
        *it = (struct item){ .key = w->bytes.len, .key_len = kv->key.len, .value_len = kv->value.len, .revision = kv->revision };
        buf_append(&w->bytes, kv->key);
        it->value = w->bytes.len;
        buf_append(&w->bytes, kv->value);
    }
    /* Also the last key, which the next page begins behind, when it is one that is left out. */
    if (p->n_items) {
        struct str last = p->items[p->n_items - 1].key;
        w->items[w->n] = (struct item){ .key = w->bytes.len, .key_len = last.len };
        buf_append(&w->bytes, last);
        buf_append_char(&w->bytes, '\0');
    }
}

static bool load(struct walk *w, struct str start, struct err *err)
{
    char end[16];
    CLEANUP(buf_deinit) struct buf from;
    buf_init(&from, 4096);
    buf_append(&from, start);
    for (unsigned tries = 0;; tries++) {
        w->arrived = false;
        store_range(w->store, buf_str(&from), store_prefix_end(ALL, end), 0, on_page, w);
        while (!w->arrived) {
            loop_turn(w->loop, 100);
        }
        if (w->status == STORE_OK) {
            return true;
        }
        if (w->status != STORE_E_UNAVAILABLE || tries == TRIES) {
            return err_set(err, store_status_err(w->status), "cannot read the store: %s", store_status_text(w->status));
        }
    }
}

static void walk_init(struct walk *w, struct loop *loop, struct store *store)
{
    *w = (struct walk){ .loop = loop, .store = store };
    buf_init(&w->bytes, BUF_NO_MAX);
}

static void walk_deinit(struct walk *w)
{
    buf_deinit(&w->bytes);
    free(w->items);
}

/* The next item: 1, 0 at the end, -1. */
static int walk_next(struct walk *w, struct str *key, struct str *value, struct err *err)
{
    while (w->at == w->n) {
        struct str start = ALL;
        if (w->arrived) {
            if (!w->more) {
                return 0;
            }
            const struct item *last = &w->items[w->n]; /* with the zero behind it: the first key that can follow */
            start = str_n(w->bytes.ptr + last->key, last->key_len + 1);
        }
        if (!load(w, start, err)) {
            return -1;
        }
    }
    const struct item *it = &w->items[w->at++];
    *key = str_n(w->bytes.ptr + it->key, it->key_len);
    *value = str_n(w->bytes.ptr + it->value, it->value_len);
    return 1;
}

/* ---- writing ---- */

static void on_put(void *arg, const struct store_result *res);

static void put(struct putting *p, int64_t expect)
{
    struct store_write w = { .resource = p->m->all, .key = str_n(p->bytes, p->key_len), .expect = expect, .ttl_s = p->ttl_s, .done = on_put, .arg = p };
    if (!p->removes) {
        w.value = str_n(p->bytes + p->key_len, p->value_len);
    }
    store_write(p->m->to, &w);
}

static void on_put(void *arg, const struct store_result *res)
{
    struct putting *p = arg;
    struct migration *m = p->m;
    if (res->status == STORE_E_CONFLICT && !p->removes && !p->is_again && !str_eq(res->value, str_n(p->bytes + p->key_len, p->value_len))) {
        p->is_again = true;
        put(p, res->revision);
        return;
    }
    if (res->status == STORE_OK) {
        uint64_t *n = p->removes ? &m->report->removed : p->is_again ? &m->report->replaced : &m->report->copied;
        (*n)++;
    } else if (res->status == STORE_E_CONFLICT && !p->is_again) {
        m->report->present += !p->removes; /* or it is gone already */
    } else {
        m->failure = res->status;
    }
    m->under_way--;
    free(p);
}

static bool settle(struct migration *m, unsigned at_most, struct err *err)
{
    while (m->under_way > at_most) {
        loop_turn(m->loop, 100);
    }
    return m->failure == STORE_OK || err_set(err, store_status_err(m->failure), "cannot write to the target: %s; begin again to go on from here",
                                             store_status_text(m->failure));
}

/* Absent value: removes. */
static bool start_put(struct migration *m, struct str key, struct str value, int64_t expect, struct err *err)
{
    struct putting *p = malloc(sizeof(*p) + key.len + value.len);
    if (!p) {
        abort();
    }
    *p = (struct putting){ .m = m, .removes = !value.ptr, .ttl_s = str_starts(key, EVENTS) && value.ptr ? EVENT_TTL_S : 0, .key_len = key.len,
                           .value_len = value.len };
    memcpy(p->bytes, key.ptr, key.len);
    if (value.len) {
        memcpy(p->bytes + key.len, value.ptr, value.len);
    }
    m->under_way++;
    put(p, expect);
    return settle(m, AT_ONCE, err);
}

/* ---- the steps ---- */

struct probe {
    bool arrived, marked, holds;
    enum store_status status;
};

static void on_probe(void *arg, const struct store_page *p)
{
    struct probe *probe = arg;
    probe->arrived = true;
    probe->status = p->status;
    for (size_t i = 0; i < p->n_items; i++) {
        probe->marked |= str_eq(p->items[i].key, MARK);
        probe->holds |= !str_eq(p->items[i].key, MARK) && !str_starts(p->items[i].key, LEASES);
    }
}

/* Empty, or a copy in progress? "/registry/." sorts before every resource, so the first keys tell. */
static bool check_target(struct migration *m, struct err *err)
{
    struct probe probe = { 0 };
    char end[16];
    store_range(m->to, ALL, store_prefix_end(ALL, end), 2, on_probe, &probe);
    while (!probe.arrived) {
        loop_turn(m->loop, 100);
    }
    if (probe.status != STORE_OK) {
        return err_set(err, store_status_err(probe.status), "cannot read the target: %s", store_status_text(probe.status));
    }
    if (probe.holds && !probe.marked) {
        return err_set(err, ERR_CONFLICT, "the target is not empty, and what it holds is no copy in progress");
    }
    return true;
}

static bool set_mark(struct migration *m, bool on, struct err *err)
{
    struct migrate_report mine = { 0 }, *theirs = m->report;
    m->report = &mine;
    bool ok = start_put(m, MARK, on ? STR("coracle store migrate") : STR_NULL, on ? STORE_ABSENT : STORE_ANY, err) && settle(m, 0, err);
    m->report = theirs;
    return ok;
}

static void tell(struct migration *m, uint64_t n)
{
    if (m->progress && n % 1000 == 0) {
        m->progress(m->arg, m->report);
    }
}

/* Both in the order of keys: what the target lacks is written, what it has besides is removed. */
static bool copy(struct migration *m, struct store *from, bool verify, struct err *err)
{
    struct walk a, b;
    struct str ka, va, kb, vb;
    walk_init(&a, m->loop, from);
    walk_init(&b, m->loop, m->to);
    int ra = walk_next(&a, &ka, &va, err), rb = walk_next(&b, &kb, &vb, err);
    bool ok = true;
    uint64_t n = 0;
    while (ok && ra >= 0 && rb >= 0 && (ra || rb)) {
        int order = !ra ? 1 : !rb ? -1 : str_cmp(ka, kb);
        if (verify && (order != 0 || !str_eq(va, vb))) {
            ok = err_set(err, ERR_CONFLICT, "%.*s differs: something wrote to the source or the target meanwhile; stop it and begin again",
                         STR_ARG(order <= 0 ? ka : kb));
            break;
        }
        if (verify) {
            m->report->compared++;
            m->report->bytes += ka.len + va.len;
        } else if (order < 0) {
            ok = start_put(m, ka, va, STORE_ABSENT, err);
        } else if (order > 0) {
            ok = start_put(m, kb, STR_NULL, STORE_ANY, err);
        } else if (!str_eq(va, vb)) {
            ok = start_put(m, ka, va, STORE_ABSENT, err);
        } else {
            m->report->present++;
        }
        tell(m, ++n);
        ra = order <= 0 ? walk_next(&a, &ka, &va, err) : ra;
        rb = order >= 0 ? walk_next(&b, &kb, &vb, err) : rb;
    }
    walk_deinit(&a);
    walk_deinit(&b);
    struct err more;
    bool settled = settle(m, 0, ok ? err : &more);
    return ok && settled && ra >= 0 && rb >= 0;
}

bool store_migrate(struct loop *loop, struct store *from, struct store *to, migrate_progress_fn *progress, void *arg,
                   struct migrate_report *ret, struct err *err)
{
    struct migration m = { .loop = loop, .to = to, .report = ret, .progress = progress, .arg = arg };
    const struct store_resource_config all = { .prefix = ALL };
    *ret = (struct migrate_report){ 0 };
    m.all = store_resource_open(to, &all);
    bool ok = check_target(&m, err) && set_mark(&m, true, err) && copy(&m, from, false, err) && copy(&m, from, true, err) &&
              set_mark(&m, false, err);
    (void)settle(&m, 0, &(struct err){ 0 });
    store_resource_close(m.all);
    return ok;
}
