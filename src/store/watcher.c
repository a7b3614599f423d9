#include <assert.h>
#include <stdlib.h>

#include "store/watch-cache-private.h"

/*
 * A watcher is in one of three places:
 *   INITIAL  gives what was there from a snapshot; then goes on with SCAN from the change after the snapshot
 *   SCAN     reads the ring from 'cursor' on, asking every change
 *   QUEUE    has caught up: the changes that concern it are found by the index and queued by number
 * A queue that is full sends it back to SCAN. A cursor or queued number that has left the ring ends it: EXPIRED.
 */
enum watcher_state { WATCHER_INITIAL, WATCHER_SCAN, WATCHER_QUEUE, WATCHER_EXPIRED };

struct watch_bucket {
    struct list watchers;
    size_t n;
};

struct watcher {
    struct watch_cache *cache;
    struct watch_options opt; /* its texts are copies, in 'text' */
    struct list link;         /* in a bucket, or in cache->all */
    struct list starting;     /* in cache->starting while INITIAL */
    struct list ready_link;   /* in cache->ready_list */
    struct watch_bucket *bucket;
    struct str bucket_key;
    enum watcher_state state;
    bool idle;        /* watch_next() has answered NOTHING */
    bool tell_initial_end;
    int64_t after;    /* changes up to this revision are not given */

    struct snapshot *snapshot; /* INITIAL */
    struct snapshot_iter iter;
    uint64_t cursor;           /* SCAN, and where SCAN begins after INITIAL */

    uint64_t *queue; /* QUEUE: numbers of changes */
    uint16_t q_head, q_n, q_size;

    struct object *held, *held_old; /* of the item given last */
    char *text;
};

static const char *const type_names[WATCH_TYPE_MAX] = {
    [WATCH_ADDED] = "ADDED", [WATCH_MODIFIED] = "MODIFIED", [WATCH_DELETED] = "DELETED",
    [WATCH_BOOKMARK] = "BOOKMARK", [WATCH_ERROR] = "ERROR",
};

const char *watch_type_name(enum watch_type t)
{
    return (unsigned)t < WATCH_TYPE_MAX ? type_names[t] : "ERROR";
}

/* ---- which changes concern a watcher ---- */

static bool matches(const struct watcher *w, const struct object *o)
{
    const struct watch_options *opt = &w->opt;
    return o && (opt->namespace.len == 0 || str_eq(object_namespace(o), opt->namespace)) &&
           (opt->name.len == 0 || str_eq(object_name(o), opt->name)) &&
           (opt->field < 0 || str_eq(object_field(o, (size_t)opt->field), opt->field_value)) &&
           (!opt->match || opt->match(opt->match_arg, o));
}

/* What the change is to this watcher: a type, or WATCH_TYPE_MAX when it does not concern it. */
static enum watch_type type_for(const struct watcher *w, const struct watch_change *ch)
{
    if (ch->revision <= w->after) {
        return WATCH_TYPE_MAX;
    }
    bool cur = matches(w, ch->cur), old = matches(w, ch->old);
    if (cur) {
        return old ? WATCH_MODIFIED : WATCH_ADDED;
    }
    return old ? WATCH_DELETED : WATCH_TYPE_MAX;
}

/* ---- index ---- */

static struct str bucket_name(char *dst, size_t size, char kind, unsigned field, struct str a, struct str b)
{
    int n = kind == 'f' ? snprintf(dst, size, "f%u=%.*s", field, STR_ARG(a))
                        : snprintf(dst, size, "%c%.*s/%.*s", kind, STR_ARG(a), STR_ARG(b));
    return n >= 0 && (size_t)n < size ? str_n(dst, (size_t)n) : STR_NULL;
}

enum { BUCKET_NAME = 768 };

/* The narrowest bucket that a watcher can be found by; absent: it is asked for every change. */
static struct str bucket_of(const struct watcher *w, char dst[BUCKET_NAME])
{
    const struct watch_options *opt = &w->opt;
    bool namespaced = w->cache->cfg.namespaced;
    if (opt->name.len && (opt->namespace.len || !namespaced)) {
        return bucket_name(dst, BUCKET_NAME, 'o', 0, opt->namespace, opt->name);
    }
    if (opt->field >= 0 && opt->field < 32 && (w->cache->cfg.indexed_fields >> opt->field & 1)) {
        return bucket_name(dst, BUCKET_NAME, 'f', (unsigned)opt->field, opt->field_value, STR_EMPTY);
    }
    if (opt->namespace.len) {
        return bucket_name(dst, BUCKET_NAME, 'n', 0, opt->namespace, STR_EMPTY);
    }
    return STR_NULL;
}

static void index_add(struct watcher *w)
{
    char name[BUCKET_NAME];
    struct str key = bucket_of(w, name);
    if (!key.ptr) {
        list_push_back(&w->cache->all, &w->link);
        return;
    }
    struct watch_bucket *b = map_get(&w->cache->buckets, key);
    if (!b) {
        b = malloc(sizeof(*b));
        if (!b) {
            abort();
        }
        list_init(&b->watchers);
        b->n = 0;
        map_put(&w->cache->buckets, key, b);
    }
    b->n++;
    w->bucket = b;
    list_push_back(&b->watchers, &w->link);
}

static void index_drop(struct watcher *w)
{
    list_remove(&w->link);
    if (w->bucket && --w->bucket->n == 0) {
        char name[BUCKET_NAME];
        map_remove(&w->cache->buckets, bucket_of(w, name));
        free(w->bucket);
    }
    w->bucket = NULL;
}

/* ---- dispatch ---- */

static void watcher_wake(struct watcher *w)
{
    if (!w->idle) {
        return;
    }
    w->idle = false;
    list_remove(&w->ready_link); /* whoever asked before he was called back is in it still */
    list_push_back(&w->cache->ready_list, &w->ready_link);
    watch_cache_update_progress(w->cache);
}

static void queue_push(struct watcher *w, uint64_t number)
{
    if (w->q_n == w->q_size && w->q_size < WATCHER_QUEUE_MAX) {
        uint16_t size = w->q_size ? (uint16_t)(w->q_size * 2) : 4;
        uint64_t *queue = malloc(size * sizeof(*queue));
        if (!queue) {
            abort();
        }
        for (unsigned i = 0; i < w->q_n; i++) {
            queue[i] = w->queue[(w->q_head + i) % w->q_size];
        }
        free(w->queue);
        w->queue = queue;
        w->q_size = size;
        w->q_head = 0;
    }
    if (w->q_n == w->q_size) {
        w->state = WATCHER_SCAN;
        w->cursor = w->queue[w->q_head];
        w->q_n = 0;
        return;
    }
    w->queue[(w->q_head + w->q_n) % w->q_size] = number;
    w->q_n++;
}

static void offer(struct watcher *w, uint64_t number, const struct watch_change *ch)
{
    if (w->state == WATCHER_QUEUE && type_for(w, ch) != WATCH_TYPE_MAX) {
        queue_push(w, number);
        watcher_wake(w);
    }
}

static void offer_list(struct list *l, uint64_t number, const struct watch_change *ch)
{
    LIST_FOREACH(l, struct watcher, link, w) {
        offer(w, number, ch);
    }
}

static void offer_bucket(struct watch_cache *c, struct str key, uint64_t number, const struct watch_change *ch)
{
    struct watch_bucket *b = key.ptr ? map_get(&c->buckets, key) : NULL;
    if (b) {
        offer_list(&b->watchers, number, ch);
    }
}

void watchers_dispatch(struct watch_cache *c, uint64_t number)
{
    if (c->n_watchers == 0) {
        return;
    }
    const struct watch_change *ch = ring_at(c, number);
    const struct object *any = ch->cur ? ch->cur : ch->old;
    offer_list(&c->all, number, ch);
    if (c->buckets.n == 0) {
        return;
    }
    char name[BUCKET_NAME];
    struct str namespace = object_namespace(any);
    offer_bucket(c, bucket_name(name, sizeof(name), 'n', 0, namespace, STR_EMPTY), number, ch);
    offer_bucket(c, bucket_name(name, sizeof(name), 'o', 0, namespace, object_name(any)), number, ch);
    for (unsigned f = 0; f < 32 && c->cfg.indexed_fields >> f; f++) {
        if (!(c->cfg.indexed_fields >> f & 1)) {
            continue;
        }
        struct str cur = ch->cur ? object_field(ch->cur, f) : STR_NULL;
        struct str old = ch->old ? object_field(ch->old, f) : STR_NULL;
        if (ch->cur) {
            offer_bucket(c, bucket_name(name, sizeof(name), 'f', f, cur, STR_EMPTY), number, ch);
        }
        if (ch->old && !(ch->cur && str_eq(cur, old))) {
            offer_bucket(c, bucket_name(name, sizeof(name), 'f', f, old, STR_EMPTY), number, ch);
        }
    }
}

void watchers_call_ready(struct watch_cache *c)
{
    struct list *n;
    if (list_empty(&c->ready_list)) {
        return;
    }
    /* A watcher that is woken again by what the callbacks do waits for the next round. */
    struct list now;
    list_init(&now);
    while ((n = list_pop_front(&c->ready_list))) {
        list_push_back(&now, n);
    }
    while ((n = list_pop_front(&now))) {
        struct watcher *w = LIST_ENTRY(n, struct watcher, ready_link);
        w->opt.ready(w->opt.arg);
    }
}

static void watcher_expire(struct watcher *w)
{
    w->state = WATCHER_EXPIRED;
    w->snapshot = snapshot_unref(w->snapshot);
    list_remove(&w->starting);
}

/* Those that still give what was there hold a snapshot; it may hold no more than the ring does. */
void watchers_trimmed(struct watch_cache *c)
{
    LIST_FOREACH(&c->starting, struct watcher, starting, w) {
        if (w->cursor < c->tail) {
            watcher_expire(w);
        }
    }
}

static void expire_list(struct list *l)
{
    LIST_FOREACH(l, struct watcher, link, w) {
        watcher_expire(w);
        watcher_wake(w);
    }
}

void watchers_expire_all(struct watch_cache *c)
{
    size_t at = 0;
    struct str key;
    void *bucket;
    expire_list(&c->all);
    while (map_next(&c->buckets, &at, &key, &bucket)) {
        expire_list(&((struct watch_bucket *)bucket)->watchers);
    }
}

/* ---- life ---- */

/* The first change above 'revision'. */
static uint64_t ring_after(const struct watch_cache *c, int64_t revision)
{
    uint64_t lo = c->tail, hi = c->head;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (ring_at(c, mid)->revision <= revision) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void copy_texts(struct watcher *w, const struct watch_options *opt)
{
    w->text = malloc(opt->namespace.len + opt->name.len + opt->field_value.len + 1);
    if (!w->text) {
        abort();
    }
    char *at = w->text;
    struct str *part[] = { &w->opt.namespace, &w->opt.name, &w->opt.field_value };
    for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
        if (part[i]->len) {
            memcpy(at, part[i]->ptr, part[i]->len);
        }
        *part[i] = str_n(at, part[i]->len);
        at += part[i]->len;
    }
}

enum store_status watcher_new(struct watch_cache *c, const struct watch_options *opt, struct watcher **ret)
{
    assert(c->ready);
    if (opt->start == WATCH_FROM_REVISION && opt->revision < watch_cache_oldest(c)) {
        return STORE_E_COMPACTED;
    }
    struct watcher *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    w->cache = c;
    w->opt = *opt;
    copy_texts(w, opt);
    list_init(&w->starting);
    list_init(&w->ready_link);
    w->cursor = c->head;
    switch (opt->start) {
    case WATCH_FROM_REVISION:
        w->state = WATCHER_SCAN;
        w->cursor = ring_after(c, opt->revision);
        w->after = opt->revision;
        break;
    case WATCH_ONLY_NEW:
        w->state = WATCHER_SCAN;
        break;
    case WATCH_INITIAL:
    case WATCH_FROM_NOW:
        w->state = WATCHER_INITIAL;
        w->tell_initial_end = opt->start == WATCH_INITIAL;
        w->snapshot = watch_cache_snapshot(c);
        snapshot_iter_init(&w->iter, w->snapshot, w->opt.namespace, STR_EMPTY, STR_EMPTY);
        list_push_back(&c->starting, &w->starting);
        break;
    }
    index_add(w);
    c->n_watchers++;
    *ret = w;
    return STORE_OK;
}

static void let_go(struct watcher *w)
{
    w->held = object_unref(w->held);
    w->held_old = object_unref(w->held_old);
}

struct watcher *watcher_free(struct watcher *w)
{
    if (!w) {
        return NULL;
    }
    let_go(w);
    list_remove(&w->starting);
    list_remove(&w->ready_link);
    snapshot_unref(w->snapshot);
    index_drop(w);
    w->cache->n_watchers--;
    free(w->queue);
    free(w->text);
    free(w);
    return NULL;
}

/* ---- giving ---- */

static void give_change(struct watcher *w, uint64_t number, enum watch_type type, struct watch_item *ret)
{
    struct watch_change *ch = ring_at(w->cache, number);
    const struct object *o = ch->cur;
    if (type == WATCH_DELETED) {
        if (!ch->gone) {
            ch->gone = object_with_revision(ch->old, ch->revision);
        }
        o = ch->gone;
    }
    w->held = object_ref(o);
    w->held_old = ch->old ? object_ref(ch->old) : NULL;
    w->after = ch->revision;
    *ret = (struct watch_item){
        .type = type,
        .object = w->held,
        .old = w->held_old,
        .revision = ch->revision,
        .change = number,
    };
}

static enum watch_got next_initial(struct watcher *w, struct watch_item *ret)
{
    const struct object *o;
    while ((o = snapshot_iter_next(&w->iter))) {
        if (matches(w, o)) {
            w->held = object_ref(o);
            *ret = (struct watch_item){ .type = WATCH_ADDED, .object = o, .revision = o->revision };
            return WATCH_GOT_ITEM;
        }
    }
    int64_t revision = snapshot_revision(w->snapshot);
    w->state = WATCHER_SCAN;
    w->after = revision;
    w->snapshot = snapshot_unref(w->snapshot);
    list_remove(&w->starting);
    if (w->tell_initial_end) {
        *ret = (struct watch_item){ .type = WATCH_BOOKMARK, .revision = revision };
        return WATCH_GOT_INITIAL_END;
    }
    return WATCH_GOT_NOTHING; /* goes on scanning */
}

static enum watch_got next_scanned(struct watcher *w, struct watch_item *ret)
{
    struct watch_cache *c = w->cache;
    if (w->cursor < c->tail) {
        watcher_expire(w);
        return WATCH_GOT_EXPIRED;
    }
    while (w->cursor < c->head) {
        uint64_t number = w->cursor++;
        enum watch_type type = type_for(w, ring_at(c, number));
        if (type != WATCH_TYPE_MAX) {
            give_change(w, number, type, ret);
            return WATCH_GOT_ITEM;
        }
    }
    w->state = WATCHER_QUEUE;
    return WATCH_GOT_NOTHING;
}

static enum watch_got next_queued(struct watcher *w, struct watch_item *ret)
{
    if (w->q_n == 0) {
        return WATCH_GOT_NOTHING;
    }
    uint64_t number = w->queue[w->q_head];
    w->q_head = (uint16_t)((w->q_head + 1) % w->q_size);
    w->q_n--;
    if (number < w->cache->tail) {
        watcher_expire(w);
        return WATCH_GOT_EXPIRED;
    }
    give_change(w, number, type_for(w, ring_at(w->cache, number)), ret);
    return WATCH_GOT_ITEM;
}

enum watch_got watch_next(struct watcher *w, struct watch_item *ret)
{
    let_go(w);
    enum watch_got got = WATCH_GOT_NOTHING;
    if (w->state == WATCHER_INITIAL) {
        got = next_initial(w, ret);
    }
    if (got == WATCH_GOT_NOTHING && w->state == WATCHER_SCAN) {
        got = next_scanned(w, ret);
    } else if (got == WATCH_GOT_NOTHING && w->state == WATCHER_QUEUE) {
        got = next_queued(w, ret);
    }
    if (w->state == WATCHER_EXPIRED) {
        return WATCH_GOT_EXPIRED;
    }
    w->idle = got == WATCH_GOT_NOTHING;
    return got;
}

int64_t watcher_bookmark(struct watcher *w)
{
    watch_cache_age(w->cache); /* bookmarks come once a minute, also when nothing changes */
    bool caught_up = (w->state == WATCHER_QUEUE && w->q_n == 0) || (w->state == WATCHER_SCAN && w->cursor == w->cache->head);
    int64_t revision = watch_cache_revision(w->cache);
    return caught_up ? MAX(revision, w->after) : 0;
}

/* ---- frames ---- */

int watch_item_iov(const struct watch_item *item, struct iovec iov[WATCH_IOV])
{
    static const struct str head[WATCH_TYPE_MAX] = {
        [WATCH_ADDED] = STR_INIT("{\"type\":\"ADDED\",\"object\":"),
        [WATCH_MODIFIED] = STR_INIT("{\"type\":\"MODIFIED\",\"object\":"),
        [WATCH_DELETED] = STR_INIT("{\"type\":\"DELETED\",\"object\":"),
        [WATCH_BOOKMARK] = STR_INIT("{\"type\":\"BOOKMARK\",\"object\":"),
        [WATCH_ERROR] = STR_INIT("{\"type\":\"ERROR\",\"object\":"),
    };
    const struct str tail = STR("}\n");
    struct str h = head[item->type];
    iov[0] = (struct iovec){ .iov_base = (void *)(uintptr_t)h.ptr, .iov_len = h.len };
    int n = 1 + object_json_iov(item->object, iov + 1);
    iov[n] = (struct iovec){ .iov_base = (void *)(uintptr_t)tail.ptr, .iov_len = tail.len };
    return n + 1;
}

int watch_item_chunks(const struct watch_item *item, struct net_chunk chunks[WATCH_IOV])
{
    struct iovec iov[WATCH_IOV];
    int n = watch_item_iov(item, iov);
    chunks[0] = net_chunk_static(str_n(iov[0].iov_base, iov[0].iov_len));
    object_json_chunks(item->object, chunks + 1);
    chunks[n - 1] = net_chunk_static(str_n(iov[n - 1].iov_base, iov[n - 1].iov_len));
    return n;
}

static bool encode_json(const struct watch_item *item, struct buf *b)
{
    struct iovec iov[WATCH_IOV];
    int n = watch_item_iov(item, iov);
    for (int i = 0; i < n; i++) {
        buf_append_bytes(b, iov[i].iov_base, iov[i].iov_len);
    }
    return true;
}

struct shared_bytes *watch_frame(struct watcher *w, const struct watch_item *item, uint32_t representation,
                                 watch_encode_fn *encode, void *arg, struct err *err)
{
    struct watch_cache *c = w->cache;
    bool keep = item->change >= c->tail && item->change >= c->frames_from && item->change < c->head;
    struct watch_change *ch = keep ? ring_at(c, item->change) : NULL;
    for (struct watch_frame *f = ch ? ch->frames : NULL; f; f = f->next) {
        if (f->representation == representation && f->type == item->type) {
            return shared_bytes_ref(f->bytes);
        }
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 2 * (size_t)OBJECT_MAX_JSON);
    if (encode ? !encode(arg, item, &b, err) : !encode_json(item, &b)) {
        return NULL;
    }
    if (buf_failed(&b)) {
        err_set(err, ERR_TOO_LARGE, "watch event is larger than %u bytes", 2 * OBJECT_MAX_JSON);
        return NULL;
    }
    struct shared_bytes *bytes = shared_bytes_new(buf_str(&b));
    if (ch) {
        struct watch_frame *f = malloc(sizeof(*f));
        if (!f) {
            abort();
        }
        *f = (struct watch_frame){
            .next = ch->frames,
            .bytes = shared_bytes_ref(bytes),
            .representation = representation,
            .type = (uint8_t)item->type,
        };
        ch->frames = f;
    }
    return bytes;
}
