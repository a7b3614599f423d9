#include "store/watch-cache.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/watch-cache-private.h"

/* ---- the order of keys: that of namespace + "/" + name ---- */

static int key_cmp(const void *item, const void *key)
{
    const struct object *o = item;
    const struct cache_key *k = key;
    struct str a = object_namespace(o), b = k->namespace;
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c != 0) {
        return c;
    }
    if (a.len == b.len) {
        return str_cmp(object_name(o), k->name);
    }
    return a.len < b.len ? '/' - (int)(uint8_t)b.ptr[n] : (int)(uint8_t)a.ptr[n] - '/';
}

static void item_ref(const void *item)
{
    object_ref(item);
}

static void item_unref(const void *item)
{
    object_unref(item);
}

static const struct tree_type object_tree = { .cmp = key_cmp, .ref = item_ref, .unref = item_unref };

static struct cache_key key_of(const struct object *o)
{
    return (struct cache_key){ .namespace = object_namespace(o), .name = object_name(o) };
}

/* Takes over 'o'. Returns the object that was there (the caller drops it), or NULL. */
static struct object *index_put(struct tree *t, struct object *o)
{
    struct cache_key k = key_of(o);
    return (struct object *)(uintptr_t)tree_put(t, &k, o);
}

static struct object *index_remove(struct tree *t, struct cache_key k)
{
    return (struct object *)(uintptr_t)tree_remove(t, &k);
}

/* "/registry/pods/ns/name" -> (ns, name). */
static bool split_key(const struct watch_cache *c, struct str key, struct cache_key *ret)
{
    if (!str_starts(key, c->cfg.prefix)) {
        return false;
    }
    struct str rest = str_sub(key, c->cfg.prefix.len, SIZE_MAX);
    if (!c->cfg.namespaced) {
        *ret = (struct cache_key){ .namespace = STR_EMPTY, .name = rest };
        return rest.len > 0;
    }
    return str_cut(rest, '/', &ret->namespace, &ret->name) && ret->name.len > 0;
}

void watch_cache_key(const struct watch_cache *c, struct str namespace, struct str name, struct buf *b)
{
    buf_append(b, c->cfg.prefix);
    if (c->cfg.namespaced) {
        buf_append(b, namespace);
        buf_append_char(b, '/');
    }
    buf_append(b, name);
}

/* ---- ring ---- */

static void frames_free(struct watch_change *ch)
{
    while (ch->frames) {
        struct watch_frame *f = ch->frames;
        ch->frames = f->next;
        shared_bytes_unref(f->bytes);
        free(f);
    }
}

static void ring_trim_one(struct watch_cache *c)
{
    struct watch_change *ch = ring_at(c, c->tail);
    c->trimmed = ch->revision;
    if (ch->old) {
        c->ring_bytes -= object_memory(ch->old);
    }
    frames_free(ch);
    object_unref(ch->cur);
    object_unref(ch->old);
    object_unref(ch->gone);
    *ch = (struct watch_change){ 0 };
    c->tail++;
}

static void ring_grow(struct watch_cache *c)
{
    uint64_t old_capacity = c->ring ? c->mask + 1 : 0;
    uint64_t capacity = old_capacity ? old_capacity * 2 : 16;
    struct watch_change *ring = calloc(capacity, sizeof(*ring));
    if (!ring) {
        abort();
    }
    for (uint64_t i = c->tail; i < c->head; i++) {
        ring[i & (capacity - 1)] = *ring_at(c, i);
    }
    free(c->ring);
    c->ring = ring;
    c->mask = capacity - 1;
}

/* Takes over both objects. */
static void ring_push(struct watch_cache *c, int64_t revision, struct object *cur, struct object *old, struct object *gone)
{
    uint64_t tail = c->tail;
    if (c->head - c->tail >= c->cfg.ring_events) {
        ring_trim_one(c);
    }
    if (!c->ring || c->head - c->tail == c->mask + 1) {
        ring_grow(c);
    }
    *ring_at(c, c->head) = (struct watch_change){
        .revision = revision, .cur = cur, .old = old, .gone = gone, .at_ms = clock_mono_ms(),
    };
    c->head++;
    if (old) {
        c->ring_bytes += object_memory(old);
    }
    while (c->ring_bytes > c->cfg.ring_bytes && c->head - c->tail > WATCH_RING_MIN) {
        ring_trim_one(c);
    }
    for (; c->frames_from + WATCH_FRAMES < c->head; c->frames_from++) {
        if (c->frames_from >= c->tail) {
            frames_free(ring_at(c, c->frames_from));
        }
    }
    if (c->tail != tail) {
        watchers_trimmed(c);
    }
    watch_cache_age(c);
}

void watch_cache_age(struct watch_cache *c)
{
    uint64_t tail = c->tail, now = 0;
    while ((c->ring_bytes > WATCH_RING_IDLE_BYTES || c->head - c->tail > WATCH_RING_IDLE_EVENTS) &&
           c->head - c->tail > WATCH_RING_MIN) {
        now = now ? now : clock_mono_ms();
        if (now - ring_at(c, c->tail)->at_ms < WATCH_RING_AGE_MS) {
            break;
        }
        ring_trim_one(c);
    }
    if (c->tail != tail) {
        watchers_trimmed(c);
    }
}

/* ---- changes ---- */

static struct object *build(struct watch_cache *c, struct str key, struct str value, int64_t revision)
{
    struct err err = { 0 };
    struct object *o = c->cfg.ops->build(c->cfg.arg, key, value, &err);
    if (!o) {
        log_error("store: %.*s at revision %lld cannot be decoded and is left out: %s", STR_ARG(key), (long long)revision,
                  err.msg);
        c->n_broken++;
        return NULL;
    }
    object_set_revision(o, revision);
    return o;
}

static void on_event(void *arg, const struct store_event *ev)
{
    struct watch_cache *c = arg;
    struct cache_key k;
    if (!split_key(c, ev->key, &k)) {
        log_error("store: key %.*s does not belong to %.*s and is left out", STR_ARG(ev->key), STR_ARG(c->cfg.prefix));
        return;
    }
    struct tree *objects = c->reloading ? &c->fresh : &c->objects;
    bool loading = !c->ready || c->reloading;
    const struct object *there = tree_get(objects, &k);
    c->applied = MAX(c->applied, ev->revision);
    if (there && there->revision >= ev->revision) {
        return; /* a page was read later than this write was made */
    }
    if (ev->type == STORE_EVENT_DELETE) {
        if (loading) {
            map_put(&c->load_gone, ev->key, c);
        }
        struct object *old = index_remove(objects, k);
        if (loading || !old) {
            object_unref(old);
            return;
        }
        ring_push(c, ev->revision, NULL, old, ev->object ? object_ref(ev->object) : NULL);
    } else {
        struct object *o = ev->object ? object_ref(ev->object) : build(c, ev->key, ev->value, ev->revision);
        if (!o) {
            /* What cannot be decoded is not served in an older form either. */
            struct object *old = index_remove(objects, k);
            if (old && !loading) {
                ring_push(c, ev->revision, NULL, old, NULL);
                watchers_dispatch(c, c->head - 1);
            } else {
                object_unref(old);
            }
            return;
        }
        c->stale |= o->epoch < c->epoch;
        if (loading) {
            map_remove(&c->load_gone, ev->key);
        }
        struct object *old = index_put(objects, o);
        if (loading) {
            object_unref(old);
            return;
        }
        ring_push(c, ev->revision, object_ref(o), old, NULL);
    }
    watchers_dispatch(c, c->head - 1);
}

/* ---- waiting ---- */

static void load_next(struct watch_cache *c);

struct watch_cache_ask {
    struct watch_cache_wait *wait; /* NULL: cancelled */
};

void watch_cache_update_progress(struct watch_cache *c)
{
    bool want = !list_empty(&c->waits) || !list_empty(&c->ready_list) || (c->loaded && (!c->ready || c->reloading));
    if (want != c->wants_progress) {
        c->wants_progress = want;
        store_resource_want_progress(c->resource, want);
    }
}

static void call_waits(struct watch_cache *c)
{
    if (!c->ready || list_empty(&c->waits)) {
        return;
    }
    int64_t revision = watch_cache_revision(c);
    struct list due;
    list_init(&due);
    LIST_FOREACH(&c->waits, struct watch_cache_wait, link, w) {
        if (!w->ask && w->revision <= revision) {
            list_remove(&w->link);
            list_push_back(&due, &w->link);
        }
    }
    struct list *n;
    while ((n = list_pop_front(&due))) {
        struct watch_cache_wait *w = LIST_ENTRY(n, struct watch_cache_wait, link);
        w->cache = NULL;
        w->done(w->arg, STORE_OK);
    }
}

/* Ready means that everything up to what the pages showed has been delivered: then a list made now has a revision from which
 * a watch misses nothing. */
static void check_loaded(struct watch_cache *c)
{
    if (!c->loaded || (c->ready && !c->reloading) || store_resource_watermark(c->resource) < c->load_newest) {
        return;
    }
    map_deinit(&c->load_gone);
    map_init(&c->load_gone);
    if (c->reloading) {
        while (c->tail < c->head) {
            ring_trim_one(c);
        }
        tree_deinit(&c->objects);
        c->objects = c->fresh;
        c->reloading = false;
        c->stale = true;
        watchers_expire_all(c);
    }
    c->ready = true;
    c->trimmed = watch_cache_revision(c);
}

/* The way from what is here to what is there is not known. Readers get the old state until the new one is loaded. */
static void on_lost(void *arg)
{
    struct watch_cache *c = arg;
    if (c->reloading) {
        tree_deinit(&c->fresh);
        tree_init(&c->fresh, &object_tree);
    } else if (c->ready) {
        c->frozen = watch_cache_revision(c);
        c->reloading = true;
        tree_init(&c->fresh, &object_tree);
    } else {
        tree_deinit(&c->objects);
        tree_init(&c->objects, &object_tree);
    }
    map_deinit(&c->load_gone);
    map_init(&c->load_gone);
    free(c->load_from);
    c->load_from = NULL;
    c->load_newest = 0;
    c->loaded = false;
    watch_cache_update_progress(c);
    if (c->loading) {
        c->restart = true;
    } else {
        load_next(c);
    }
}

static void on_progress(void *arg)
{
    struct watch_cache *c = arg;
    check_loaded(c);
    watchers_call_ready(c);
    call_waits(c);
    watch_cache_update_progress(c);
}

static void on_latest(void *arg, enum store_status status, int64_t revision)
{
    struct watch_cache_ask *ask = arg;
    struct watch_cache_wait *w = ask->wait;
    free(ask);
    if (!w) {
        return;
    }
    struct watch_cache *c = w->cache;
    w->ask = NULL;
    if (status != STORE_OK) {
        list_remove(&w->link);
        w->cache = NULL;
        w->done(w->arg, status);
    } else {
        w->revision = revision;
        call_waits(c);
    }
}

bool watch_cache_wait(struct watch_cache *c, struct watch_cache_wait *w, int64_t revision,
                      void (*done)(void *arg, enum store_status status), void *arg)
{
    bool ask = revision == WATCH_CACHE_LATEST && !c->cfg.store->sole_writer;
    *w = (struct watch_cache_wait){ .revision = MAX(revision, INT64_C(0)), .done = done, .arg = arg };
    list_init(&w->link);
    if (!ask && c->ready && watch_cache_revision(c) >= w->revision) {
        return true;
    }
    w->cache = c;
    list_push_back(&c->waits, &w->link);
    watch_cache_update_progress(c);
    if (!c->loading && !c->loaded) {
        load_next(c); /* had failed */
    }
    if (ask) {
        w->ask = malloc(sizeof(*w->ask));
        if (!w->ask) {
            abort();
        }
        w->ask->wait = w;
        store_revision(c->cfg.store, on_latest, w->ask);
    }
    return false;
}

void watch_cache_wait_cancel(struct watch_cache_wait *w)
{
    if (w->cache) {
        list_remove(&w->link);
        watch_cache_update_progress(w->cache);
        w->cache = NULL;
        if (w->ask) {
            w->ask->wait = NULL;
            w->ask = NULL;
        }
    }
}

/* ---- loading ---- */

static void cache_destroy(struct watch_cache *c)
{
    while (c->tail < c->head) {
        ring_trim_one(c);
    }
    free(c->ring);
    tree_deinit(&c->objects);
    if (c->reloading) {
        tree_deinit(&c->fresh);
    }
    map_deinit(&c->load_gone);
    map_deinit(&c->buckets);
    free(c->load_from);
    free(c->prefix);
    free(c);
}

static void on_page(void *arg, const struct store_page *page)
{
    struct watch_cache *c = arg;
    if (c->dead) {
        cache_destroy(c);
        return;
    }
    c->loading = false;
    if (c->restart) {
        c->restart = false;
        load_next(c);
        return;
    }
    struct tree *objects = c->reloading ? &c->fresh : &c->objects;
    if (page->status != STORE_OK) {
        if (page->status != STORE_E_CLOSED) {
            log_error("store: cannot load %.*s: %s; trying again when it is next waited for", STR_ARG(c->cfg.prefix),
                      store_status_text(page->status));
        }
        return;
    }
    for (size_t i = 0; i < page->n_items; i++) {
        const struct store_kv *kv = &page->items[i];
        struct cache_key k;
        if (!split_key(c, kv->key, &k)) {
            continue;
        }
        const struct object *there = tree_get(objects, &k);
        if ((there && there->revision >= kv->revision) || map_has(&c->load_gone, kv->key)) {
            continue;
        }
        struct object *o = build(c, kv->key, kv->value, kv->revision);
        c->load_newest = MAX(c->load_newest, kv->revision);
        if (o) {
            c->stale |= o->epoch < c->epoch;
            object_unref(index_put(objects, o));
        }
    }
    if (!page->more || page->n_items == 0) {
        free(c->load_from);
        c->load_from = NULL;
        c->loaded = true;
        check_loaded(c);
        watchers_call_ready(c);
        call_waits(c);
        watch_cache_update_progress(c);
        return;
    }
    struct str last = page->items[page->n_items - 1].key;
    free(c->load_from);
    c->load_from = malloc(last.len + 1);
    if (!c->load_from) {
        abort();
    }
    memcpy(c->load_from, last.ptr, last.len);
    c->load_from[last.len] = '\0'; /* the smallest key behind it */
    c->load_from_len = last.len + 1;
    load_next(c);
}

static void load_next(struct watch_cache *c)
{
    char end[STORE_MAX_KEY];
    struct str start = c->load_from ? str_n(c->load_from, c->load_from_len) : c->cfg.prefix;
    c->loading = true;
    store_range(c->cfg.store, start, store_prefix_end(c->cfg.prefix, end), 0, on_page, c);
}

/* ---- life ---- */

struct watch_cache *watch_cache_new(const struct watch_cache_config *cfg)
{
    struct watch_cache *c = calloc(1, sizeof(*c));
    char *prefix = malloc(cfg->prefix.len + 1);
    if (!c || !prefix) {
        abort();
    }
    memcpy(prefix, cfg->prefix.ptr, cfg->prefix.len);
    prefix[cfg->prefix.len] = '\0';
    c->cfg = *cfg;
    c->prefix = prefix;
    c->cfg.prefix = str_n(prefix, cfg->prefix.len);
    c->cfg.ring_bytes = cfg->ring_bytes ? cfg->ring_bytes : WATCH_RING_BYTES;
    c->cfg.ring_events = cfg->ring_events ? cfg->ring_events : WATCH_RING_EVENTS;
    tree_init(&c->objects, &object_tree);
    map_init(&c->load_gone);
    map_init(&c->buckets);
    list_init(&c->all);
    list_init(&c->starting);
    list_init(&c->ready_list);
    list_init(&c->waits);
    c->head = c->tail = c->frames_from = 1;
    struct store_resource_config rc = {
        .prefix = c->cfg.prefix,
        .has_volatile = cfg->has_volatile,
        .on_event = on_event,
        .on_progress = on_progress,
        .on_lost = on_lost,
        .arg = c,
    };
    c->resource = store_resource_open(cfg->store, &rc);
    load_next(c);
    return c;
}

struct watch_cache *watch_cache_free(struct watch_cache *c)
{
    if (!c) {
        return NULL;
    }
    assert(c->n_watchers == 0);
    while (!list_empty(&c->waits)) {
        watch_cache_wait_cancel(LIST_ENTRY(c->waits.next, struct watch_cache_wait, link));
    }
    c->resource = store_resource_close(c->resource);
    if (c->loading) {
        c->dead = true; /* on_page() ends it */
    } else {
        cache_destroy(c);
    }
    return NULL;
}

bool watch_cache_ready(const struct watch_cache *c)
{
    return c->ready;
}

struct store_resource *watch_cache_resource(const struct watch_cache *c)
{
    return c->resource;
}

size_t watch_cache_n_objects(const struct watch_cache *c)
{
    return tree_count(&c->objects);
}

size_t watch_cache_n_broken(const struct watch_cache *c)
{
    return c->n_broken;
}

int64_t watch_cache_revision(struct watch_cache *c)
{
    int64_t watermark = store_resource_watermark(c->resource);
    if (c->reloading) {
        return c->frozen;
    }
    return MAX(watermark, c->applied);
}

int64_t watch_cache_oldest(const struct watch_cache *c)
{
    return MAX(c->trimmed, store_resource_floor(c->resource));
}

/* ---- schema epoch ---- */

void watch_cache_set_epoch(struct watch_cache *c, uint32_t epoch)
{
    c->stale |= epoch != c->epoch && tree_count(&c->objects) > 0;
    c->epoch = epoch;
}

/* The object in the current epoch: made again and put in its place when it is older. Borrowed. */
static const struct object *refresh(struct watch_cache *c, const struct object *o)
{
    if (o->epoch >= c->epoch || !c->cfg.ops->rebuild) {
        return o;
    }
    struct err err = { 0 };
    struct object *fresh = c->cfg.ops->rebuild(c->cfg.arg, o, &err);
    if (!fresh) {
        log_error("store: %.*s/%.*s cannot be brought to the current schema and is served as it was: %s",
                  STR_ARG(object_namespace(o)), STR_ARG(object_name(o)), err.msg);
        return o;
    }
    object_set_revision(fresh, o->revision);
    object_unref(index_put(&c->objects, fresh));
    return fresh;
}

static void refresh_all(struct watch_cache *c)
{
    struct tree pinned = tree_pin(&c->objects);
    struct tree_iter it;
    const struct object *o;
    tree_iter_init(&it, &pinned, NULL, false);
    while ((o = tree_iter_next(&it))) {
        refresh(c, o);
    }
    tree_deinit(&pinned);
    c->stale = false;
}

const struct object *watch_cache_get(struct watch_cache *c, struct str namespace, struct str name)
{
    struct cache_key k = { .namespace = c->cfg.namespaced ? namespace : STR_EMPTY, .name = name };
    const struct object *o = tree_get(&c->objects, &k);
    return o && c->stale ? refresh(c, o) : o;
}

/* ---- snapshots ---- */

static struct snapshot *snapshot_new(struct watch_cache *c, int64_t revision)
{
    if (c->stale && c->cfg.ops->rebuild) {
        refresh_all(c);
    }
    struct snapshot *s = malloc(sizeof(*s));
    if (!s) {
        abort();
    }
    *s = (struct snapshot){ .objects = tree_pin(&c->objects), .revision = revision };
    atomic_init(&s->refs, 1);
    return s;
}

struct snapshot *watch_cache_snapshot(struct watch_cache *c)
{
    return snapshot_new(c, watch_cache_revision(c));
}

enum store_status watch_cache_snapshot_at(struct watch_cache *c, int64_t revision, struct snapshot **ret)
{
    if (revision > watch_cache_revision(c)) {
        return STORE_E_FUTURE;
    }
    if (revision < watch_cache_oldest(c)) {
        return STORE_E_COMPACTED;
    }
    struct snapshot *s = snapshot_new(c, revision);
    /* Undo what came after it, newest first. */
    for (uint64_t i = c->head; i > c->tail && ring_at(c, i - 1)->revision > revision; i--) {
        const struct watch_change *ch = ring_at(c, i - 1);
        object_unref(ch->old ? index_put(&s->objects, object_ref(ch->old)) : index_remove(&s->objects, key_of(ch->cur)));
    }
    *ret = s;
    return STORE_OK;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct snapshot *snapshot_unref(struct snapshot *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        tree_deinit(&s->objects);
        free(s);
    }
    return NULL;
}

int64_t snapshot_revision(const struct snapshot *s)
{
    return s->revision;
}

void snapshot_iter_init(struct snapshot_iter *it, const struct snapshot *s, struct str namespace, struct str after_namespace,
                        struct str after_name)
{
    struct cache_key k = { .namespace = namespace, .name = STR_EMPTY };
    bool after = after_name.len > 0;
    if (after) {
        k = (struct cache_key){ .namespace = after_namespace, .name = after_name };
    }
    it->snapshot = s;
    it->namespace = namespace;
    tree_iter_init(&it->tree, &s->objects, after || namespace.len ? &k : NULL, after);
}

const struct object *snapshot_iter_next(struct snapshot_iter *it)
{
    const struct object *o = tree_iter_next(&it->tree);
    if (o && it->namespace.len && !str_eq(object_namespace(o), it->namespace)) {
        it->tree.depth = 0;
        return NULL;
    }
    return o;
}

size_t snapshot_iter_left(const struct snapshot_iter *it)
{
    size_t left = tree_iter_left(&it->tree);
    if (it->namespace.len == 0 || left == 0) {
        return left;
    }
    struct tree_iter end;
    struct cache_key k = { .namespace = it->namespace, .name = STR("\xff") };
    tree_iter_init(&end, &it->snapshot->objects, &k, false);
    size_t behind = tree_iter_left(&end);
    return left > behind ? left - behind : 0;
}
