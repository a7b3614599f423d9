#include "client/informer-private.h"

#include <assert.h>
#include <stdlib.h>

#include "api/copy.h"
#include "base/log.h"
#include "client/meta.h"
#include "net/loop.h"

/*
 * A cached object: this header, the root struct right behind it, then what it points at, all in one
 * arena. What it has in common with 'like', an object that came before it, it points at there.
 */
struct cached {
    struct arena arena;
    unsigned refs;
    uint32_t seen; /* the last list that named it */
    uint64_t rv;
    struct cached *next_garbage;
    struct cached *like; /* has no 'like' itself */
};

#define CACHED_ROOT ((sizeof(struct cached) + 15) & ~(size_t)15)

static const void *object_of(const struct cached *c)
{
    return (const char *)c + CACHED_ROOT;
}

static struct cached *cached_of(const void *obj)
{
    return (struct cached *)(void *)(uintptr_t)((const char *)obj - CACHED_ROOT);
}

static void cached_unref(struct cached *c)
{
    if (c && --c->refs == 0) {
        cached_unref(c->like);
        struct arena a = c->arena; /* the header is inside */
        arena_deinit(&a);
    }
}

static struct cached *cached_copy(struct arena *a, const struct api_type *type, const void *obj,
                                  struct cached *like)
{
    struct cached *c = arena_alloc(a, CACHED_ROOT + type->size);
    if (!c || !api_copy_like(a, type, obj, (char *)c + CACHED_ROOT,
                             like ? object_of(like) : NULL)) {
        abort();
    }
    return c;
}

/* The bytes that a copy takes, found by making one that goes at once. */
static size_t cached_size(const struct api_type *type, const void *obj, struct cached *like)
{
    struct arena probe;
    arena_init_chunk(&probe, ARENA_NO_BUDGET, 8192);
    (void)cached_copy(&probe, type, obj, like);
    size_t size = arena_exact_chunk(&probe);
    arena_deinit(&probe);
    return size;
}

/* ---- objects that look alike ---- */

/* An informer of fewer objects than this gains nothing. */
#define LIKE_FROM 32
/* Objects that are remembered: two of each key, as pods that run differ from those that wait. */
#define LIKE_SETS 32
#define LIKE_WAYS 2

struct founders {
    struct cached *sets[LIKE_SETS][LIKE_WAYS]; /* the one that fitted last is first */
};

/* A number that objects with much in common share. */
static size_t likeness(const struct meta_v1_object_meta *m)
{
    uint64_t h = m->n_owner_references ? str_hash(m->owner_references[0].uid)
                                       : str_hash(m->namespace);
    for (size_t i = 0; !m->n_owner_references && i < m->n_labels; i++) {
        h = h * 31 + str_hash(m->labels[i].value);
    }
    return (h * UINT64_C(0x9e3779b97f4a7c15)) >> 59;
}

/* Looks for an object that has more than half of what 'obj' points at. The bytes a copy takes. */
static size_t find_like(struct cached **set, const struct api_type *type, const void *obj,
                        struct cached **ret_like)
{
    const size_t root = CACHED_ROOT + type->size;
    for (size_t k = 0; k < LIKE_WAYS && set[k]; k++) {
        struct cached *like = set[k];
        size_t size = cached_size(type, obj, like);
        if (size - root <= (like->arena.used - root) / 2) {
            memmove(set + 1, set, k * sizeof(struct cached *));
            set[0] = like;
            *ret_like = like;
            return size;
        }
    }
    *ret_like = NULL;
    return cached_size(type, obj, NULL);
}

static void found(struct cached **set, struct cached *c)
{
    cached_unref(set[LIKE_WAYS - 1]);
    memmove(set + 1, set, (LIKE_WAYS - 1) * sizeof(struct cached *));
    set[0] = c;
    c->refs++;
}

static void founders_free(struct founders *f)
{
    for (size_t k = 0; f && k < LIKE_SETS * LIKE_WAYS; k++) {
        cached_unref(f->sets[k / LIKE_WAYS][k % LIKE_WAYS]);
    }
    free(f);
}

static struct cached *cached_new(struct founders *founders, const struct api_type *type,
                                 const void *obj)
{
    const struct meta_v1_object_meta *m = meta_of(type, obj);
    struct cached *like = NULL;
    struct cached **set = founders ? founders->sets[likeness(m)] : NULL;
    size_t size = set ? find_like(set, type, obj, &like) : cached_size(type, obj, NULL);
    struct arena a;
    arena_init_chunk(&a, ARENA_NO_BUDGET, size);
    struct cached *c = cached_copy(&a, type, obj, like);
    c->refs = 1;
    c->rv = meta_rv(m);
    c->arena = a;
    c->like = like;
    if (like) {
        like->refs++;
    } else if (set) {
        found(set, c);
    }
    return c;
}

const void *informer_ref(const void *obj)
{
    if (obj) {
        cached_of(obj)->refs++;
    }
    return obj;
}

void informer_unref(const void *obj)
{
    if (obj) {
        cached_unref(cached_of(obj));
    }
}

/* ---- a sorted vector of cached objects ---- */

struct vec {
    struct cached **items;
    size_t n, capacity;
};

static int compare_key(const struct meta_v1_object_meta *m, struct str ns, struct str name)
{
    int c = str_cmp(m->namespace, ns);
    return c ? c : str_cmp(m->name, name);
}

/* The place of the key, or where it would stand. */
static size_t vec_place(const struct vec *v, const struct api_type *type, struct str ns,
                        struct str name, bool *ret_found)
{
    size_t lo = 0, hi = v->n;
    *ret_found = false;
    /* Lists come in key order: look at the end first. */
    if (hi && compare_key(meta_of(type, object_of(v->items[hi - 1])), ns, name) < 0) {
        return hi;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare_key(meta_of(type, object_of(v->items[mid])), ns, name);
        if (c == 0) {
            *ret_found = true;
            return mid;
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void vec_insert(struct vec *v, size_t at, struct cached *c)
{
    if (v->n == v->capacity) {
        v->capacity = v->capacity ? v->capacity * 2 : 4;
        v->items = reallocarray(v->items, v->capacity, sizeof(struct cached *));
        if (!v->items) {
            abort();
        }
    }
    memmove(v->items + at + 1, v->items + at, (v->n - at) * sizeof(struct cached *));
    v->items[at] = c;
    v->n++;
}

static void vec_remove(struct vec *v, size_t at)
{
    v->n--;
    memmove(v->items + at, v->items + at + 1, (v->n - at) * sizeof(struct cached *));
}

/* ---- indexes ---- */

struct informer_index {
    struct list link; /* in informer.indexes */
    const char *name;
    informer_index_fn *keys;
    const struct api_type *type;
    struct map by_key; /* value -> struct vec */
};

struct index_change {
    struct informer_index *x;
    struct cached *c;
};

static void index_emit_add(void *ctx, struct str key)
{
    struct index_change *ch = ctx;
    struct vec *v = map_get(&ch->x->by_key, key);
    if (!v) {
        v = calloc(1, sizeof(*v));
        if (!v) {
            abort();
        }
        map_put(&ch->x->by_key, key, v);
    }
    const struct meta_v1_object_meta *m = meta_of(ch->x->type, object_of(ch->c));
    bool found;
    size_t at = vec_place(v, ch->x->type, m->namespace, m->name, &found);
    if (!found) {
        vec_insert(v, at, ch->c);
    }
}

static void index_emit_remove(void *ctx, struct str key)
{
    struct index_change *ch = ctx;
    struct vec *v = map_get(&ch->x->by_key, key);
    const struct meta_v1_object_meta *m = meta_of(ch->x->type, object_of(ch->c));
    bool found = false;
    size_t at = v ? vec_place(v, ch->x->type, m->namespace, m->name, &found) : 0;
    if (found) {
        vec_remove(v, at);
        if (!v->n) {
            map_remove(&ch->x->by_key, key);
            free(v->items);
            free(v);
        }
    }
}

static void indexes_change(struct informer *i, struct cached *c, bool add)
{
    LIST_FOREACH(&i->indexes, struct informer_index, link, x) {
        struct index_change ch = { .x = x, .c = c };
        x->keys(x->type, object_of(c), add ? index_emit_add : index_emit_remove, &ch);
    }
}

struct informer_index *informer_index(struct informer *i, const char *name, informer_index_fn *keys)
{
    LIST_FOREACH(&i->indexes, struct informer_index, link, known) {
        if (strcmp(known->name, name) == 0) {
            return known;
        }
    }
    assert(!i->objects->n);
    struct informer_index *x = calloc(1, sizeof(*x));
    if (!x) {
        abort();
    }
    x->name = name;
    x->keys = keys;
    x->type = i->resource->type;
    map_init(&x->by_key);
    list_push_back(&i->indexes, &x->link);
    return x;
}

static void index_free(struct informer_index *x)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&x->by_key, &pos, &key, &value);) {
        struct vec *v = value;
        free(v->items);
        free(v);
    }
    map_deinit(&x->by_key);
    list_remove(&x->link);
    free(x);
}

const void *informer_index_next(const struct informer_index *x, struct str key, size_t *pos)
{
    const struct vec *v = map_get(&x->by_key, key);
    return v && *pos < v->n ? object_of(v->items[(*pos)++]) : NULL;
}

/* ---- changes ---- */

static void on_garbage(void *arg)
{
    struct informers *s = arg;
    while (s->garbage) {
        struct cached *c = s->garbage;
        s->garbage = c->next_garbage;
        cached_unref(c);
    }
}

/* Frees the object when the loop went round. */
static void discard(struct informers *s, struct cached *c)
{
    c->next_garbage = s->garbage;
    s->garbage = c;
    loop_task_defer(&s->collect);
}

static void tell(struct informer *i, const void *old, const void *obj)
{
    LIST_FOREACH(&i->listeners, struct informer_listener, link, l) {
        l->fn(l->data, old, obj);
    }
}

void informer_store(struct informer *i, const void *obj, bool from_list)
{
    const struct api_type *type = i->resource->type;
    const struct meta_v1_object_meta *m = meta_of(type, obj);
    bool found;
    size_t at = vec_place(i->objects, type, m->namespace, m->name, &found);
    struct cached *old = found ? i->objects->items[at] : NULL;
    if (old && old->rv >= meta_rv(m) && str_eq(meta_of(type, object_of(old))->uid, m->uid)) {
        old->seen = from_list ? i->list_round : old->seen;
        return; /* nothing newer: our own write, or a relist */
    }
    /* Nothing of a Secret is kept for others when it is gone. */
    if (!i->founders && i->objects->n >= LIKE_FROM &&
        !str_eq_c(i->resource->resource, "secrets")) {
        i->founders = calloc(1, sizeof(*i->founders));
    }
    struct cached *c = cached_new(i->founders, type, obj);
    c->seen = i->list_round;
    net_trim_count(&i->set->trim);
    if (old) {
        indexes_change(i, old, false);
        i->objects->items[at] = c;
    } else {
        vec_insert(i->objects, at, c);
    }
    indexes_change(i, c, true);
    if (old && !str_eq(meta_of(type, object_of(old))->uid, m->uid)) {
        /* Removed and made again in between: two events, so that nobody mixes the two up. */
        tell(i, object_of(old), NULL);
        tell(i, NULL, object_of(c));
    } else {
        tell(i, old ? object_of(old) : NULL, object_of(c));
    }
    if (old) {
        discard(i->set, old);
    }
}

static void remove_at(struct informer *i, size_t at)
{
    struct cached *old = i->objects->items[at];
    indexes_change(i, old, false);
    vec_remove(i->objects, at);
    tell(i, object_of(old), NULL);
    discard(i->set, old);
}

void informer_drop(struct informer *i, struct str ns, struct str name, uint64_t rv)
{
    bool found;
    size_t at = vec_place(i->objects, i->resource->type, ns, name, &found);
    if (found && i->objects->items[at]->rv <= rv) {
        remove_at(i, at);
    }
}

void informer_list_ends(struct informer *i, uint64_t rv)
{
    /* Backwards, as removal moves what is behind. Listeners may look, but nobody changes the vector
     * meanwhile. */
    for (size_t at = i->objects->n; at-- > 0;) {
        const struct cached *c = i->objects->items[at];
        if (c->seen != i->list_round && c->rv <= rv) {
            remove_at(i, at);
        }
    }
}

void informer_put(struct informer *i, const void *obj)
{
    const struct api_type *type = i->resource->type;
    const struct meta_v1_object_meta *m = meta_of(type, obj);
    /* Whether it matches a selector is the server's to say: then the watch brings it. */
    if (i->label_selector || i->field_selector || (i->ns && !str_eq(m->namespace, str_c(i->ns)))) {
        return;
    }
    informer_store(i, obj, false);
}

void informer_forget(struct informer *i, struct str ns, struct str name, struct str uid)
{
    bool found;
    const struct api_type *type = i->resource->type;
    size_t at = vec_place(i->objects, type, ns, name, &found);
    if (found &&
        (str_empty(uid) || str_eq(meta_of(type, object_of(i->objects->items[at]))->uid, uid))) {
        remove_at(i, at);
    }
}

/* ---- looking ---- */

const void *informer_get(const struct informer *i, struct str ns, struct str name)
{
    bool found;
    size_t at = vec_place(i->objects, i->resource->type, ns, name, &found);
    return found ? object_of(i->objects->items[at]) : NULL;
}

size_t informer_count(const struct informer *i)
{
    return i->objects->n;
}

const void *informer_next(const struct informer *i, size_t *pos)
{
    return *pos < i->objects->n ? object_of(i->objects->items[(*pos)++]) : NULL;
}

const void *informer_next_in(const struct informer *i, struct str ns, size_t *pos)
{
    if (*pos == 0) {
        bool found;
        *pos = vec_place(i->objects, i->resource->type, ns, STR_EMPTY, &found);
    }
    if (*pos >= i->objects->n) {
        return NULL;
    }
    const void *obj = object_of(i->objects->items[*pos]);
    if (!str_eq(meta_of(i->resource->type, obj)->namespace, ns)) {
        return NULL;
    }
    (*pos)++;
    return obj;
}

const struct api_type *informer_type(const struct informer *i)
{
    return i->resource->type;
}

const struct api_resource *informer_resource(const struct informer *i)
{
    return i->resource;
}

/* ---- the set ---- */

struct informers *informers_new(struct client *c)
{
    struct informers *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->client = c;
    list_init(&s->all);
    loop_task_init(&s->collect, client_loop(c), on_garbage, s);
    loop_task_init(&s->announce, client_loop(c), informers_announce, s);
    net_trim_init(&s->trim, client_loop(c), 0);
    return s;
}

static char *copy_or_null(struct str s)
{
    return s.len ? strndup(s.ptr, s.len) : NULL;
}

static bool same_text(const char *a, struct str b)
{
    return str_eq(str_c(a), b);
}

static void add_field(char ***fields, size_t *n, const char *field)
{
    for (size_t k = 0; k < *n; k++) {
        if (strcmp((*fields)[k], field) == 0) {
            return;
        }
    }
    *fields = reallocarray(*fields, *n + 1, sizeof(char *));
    if (!*fields || !((*fields)[(*n)++] = strdup(field))) {
        abort();
    }
}

static void add_fields(struct informer *i, const char *const *fields)
{
    if (!fields) {
        i->everything = true;
        return;
    }
    for (; *fields; fields++) {
        if ((*fields)[0] == '-') {
            add_field(&i->dropped, &i->n_dropped, *fields);
        } else {
            add_field(&i->fields, &i->n_fields, *fields);
        }
    }
}

static struct informer *informer_new(struct informers *s, const struct informer_spec *spec)
{
    static const char *const always[] = { "metadata.namespace", "metadata.name", "metadata.uid",
                                          "metadata.resourceVersion", NULL };
    struct informer *i = calloc(1, sizeof(*i));
    if (!i || !(i->objects = calloc(1, sizeof(*i->objects)))) {
        abort();
    }
    i->set = s;
    i->resource = spec->resource;
    i->ns = copy_or_null(spec->ns);
    i->label_selector = copy_or_null(spec->label_selector);
    i->field_selector = copy_or_null(spec->field_selector);
    list_init(&i->listeners);
    list_init(&i->indexes);
    add_fields(i, always);
    reflector_init(&i->reflector, i);
    list_push_back(&s->all, &i->link);
    return i;
}

struct informer *informers_get(struct informers *s, const struct informer_spec *spec,
                               informer_event_fn *on_event, void *data)
{
    struct informer *found = NULL;
    assert(!s->started && spec->resource);
    LIST_FOREACH(&s->all, struct informer, link, i) {
        if (i->resource == spec->resource && same_text(i->ns, spec->ns) &&
            same_text(i->label_selector, spec->label_selector) &&
            same_text(i->field_selector, spec->field_selector)) {
            found = i;
        }
    }
    if (!found) {
        found = informer_new(s, spec);
    }
    add_fields(found, spec->fields);
    if (on_event) {
        struct informer_listener *l = calloc(1, sizeof(*l));
        if (!l) {
            abort();
        }
        l->fn = on_event;
        l->data = data;
        list_push_back(&found->listeners, &l->link);
    }
    return found;
}

struct informer *informers_get_owned(struct informers *s, const struct informer_spec *spec,
                                     informer_event_fn *on_event, void *data)
{
    struct informer *i = informers_get(s, spec, on_event, data);
    LIST_ENTRY(i->listeners.prev, struct informer_listener, link)->owned = true;
    return i;
}

void informers_start(struct informers *s, void (*on_synced)(void *data), void *data)
{
    s->started = true;
    s->on_synced = on_synced;
    s->data = data;
    LIST_FOREACH(&s->all, struct informer, link, i) {
        reflector_start(&i->reflector);
    }
    informers_check_synced(s);
}

bool informers_synced(const struct informers *s)
{
    for (const struct list *n = s->all.next; n != &s->all; n = n->next) {
        const struct informer *i =
            (const void *)((const char *)n - offsetof(struct informer, link));
        if (!i->reflector.synced) {
            return false;
        }
    }
    return s->started;
}

void informers_announce(void *arg)
{
    struct informers *s = arg;
    if (!s->announced && informers_synced(s)) {
        s->announced = true;
        if (s->on_synced) {
            s->on_synced(s->data);
        }
    }
}

void informers_check_synced(struct informers *s)
{
    if (!s->announced && informers_synced(s)) {
        loop_task_defer(&s->announce);
    }
}

void informers_absorb(struct informers *s, const struct api_resource *resource, const void *obj)
{
    LIST_FOREACH(&s->all, struct informer, link, i) {
        if (i->resource == resource) {
            reflector_absorb(&i->reflector, obj);
        }
    }
}

void informers_absorb_delete(struct informers *s, const struct api_resource *resource,
                             struct str ns, struct str name, struct str uid)
{
    LIST_FOREACH(&s->all, struct informer, link, i) {
        if (i->resource == resource) {
            informer_forget(i, ns, name, uid);
        }
    }
}

static void informer_free(struct informer *i)
{
    reflector_deinit(&i->reflector);
    LIST_FOREACH(&i->indexes, struct informer_index, link, x) {
        index_free(x);
    }
    LIST_FOREACH(&i->listeners, struct informer_listener, link, l) {
        if (l->owned) {
            free(l->data);
        }
        free(l);
    }
    for (size_t at = 0; at < i->objects->n; at++) {
        cached_unref(i->objects->items[at]);
    }
    founders_free(i->founders);
    for (size_t k = 0; k < i->n_fields; k++) {
        free(i->fields[k]);
    }
    free(i->fields);
    for (size_t k = 0; k < i->n_dropped; k++) {
        free(i->dropped[k]);
    }
    free(i->dropped);
    free(i->objects->items);
    free(i->objects);
    free(i->ns);
    free(i->label_selector);
    free(i->field_selector);
    free(i);
}

struct informers *informers_free(struct informers *s)
{
    if (!s) {
        return NULL;
    }
    LIST_FOREACH(&s->all, struct informer, link, i) {
        informer_free(i);
    }
    loop_task_cancel(&s->collect);
    loop_task_cancel(&s->announce);
    net_trim_deinit(&s->trim);
    on_garbage(s);
    free(s);
    return NULL;
}
