#include "client/informer-private.h"
#include "client/limits.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "client/informer-index.h"
#include "client/item-filter.h"
#include "client/meta.h"
#include "net/loop.h"

/* An informer of fewer objects than this gains nothing from sharing. */
#define LIKE_FROM 32
/* How often a kind is asked for that the server does not serve. */
#define NOT_SERVED_RETRY_MS 60000

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

/* ---- indexes ---- */

struct informer_index *informer_index(struct informer *i, const char *name, informer_index_fn *keys)
{
    assert(!i->objects.n);
    return index_get(&i->indexes, i->resource->type, name, keys);
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
    struct object_entry *e = object_set_find(&i->objects, m->namespace, m->name);
    struct cached *old = e ? e->object : NULL;
    bool same = old && str_eq(meta_of(type, object_of(old))->uid, m->uid);
    if (old && old->rv >= meta_rv(m)) {
        e->seen = from_list && same ? i->list_round : e->seen;
        return; /* nothing newer: our own write, a relist, or one that had the name before */
    }
    /* Nothing of a Secret is kept for others when it is gone. */
    if (!i->founders && i->objects.n >= LIKE_FROM && !str_eq_c(i->resource->resource, "secrets")) {
        i->founders = founders_new();
    }
    struct cached *c = cached_new(i->founders, type, obj);
    net_trim_count(&i->set->trim);
    if (e) {
        e->object = c;
    } else {
        e = calloc(1, sizeof(*e));
        if (!e) {
            abort();
        }
        e->object = c;
        object_set_add(&i->objects, e);
    }
    e->seen = i->list_round;
    indexes_change(&i->indexes, e, old ? object_of(old) : NULL, object_of(c));
    if (old && !same) {
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

static void remove_entry(struct informer *i, struct object_entry *e)
{
    struct cached *old = e->object;
    indexes_change(&i->indexes, e, object_of(old), NULL);
    object_set_remove(&i->objects, e);
    free(e);
    tell(i, object_of(old), NULL);
    discard(i->set, old);
}

void informer_drop(struct informer *i, struct str ns, struct str name, uint64_t rv)
{
    struct object_entry *e = object_set_find(&i->objects, ns, name);
    if (e && e->object->rv <= rv) {
        remove_entry(i, e);
    }
}

void informer_list_ends(struct informer *i, uint64_t rv)
{
    struct object_entry *e, **gone = NULL;
    size_t n = 0, capacity = 0;
    for (size_t pos = 0; (e = object_set_next(&i->objects, &pos));) {
        if (e->seen == i->list_round || e->object->rv > rv) {
            continue;
        }
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            gone = reallocarray(gone, capacity, sizeof(struct object_entry *));
            if (!gone) {
                abort();
            }
        }
        gone[n++] = e;
    }
    /* Listeners may look, but nobody changes the set meanwhile. */
    for (size_t k = 0; k < n; k++) {
        remove_entry(i, gone[k]);
    }
    free(gone);
}

/* Whether an object matches a selector is the server's to say: then the watch alone brings it. */
static bool takes_writes(const struct informer *i)
{
    return !i->label_selector && !i->field_selector;
}

/* Is an object of this version, which is not there, gone already? So it is when the watch has come further: it has shown the object,
 * and its end. */
static bool is_gone(struct informer *i, const struct meta_v1_object_meta *m)
{
    uint64_t at = 0;
    return i->reflector.state == REFLECT_WATCH && str_to_u64(str_c(i->reflector.rv), &at) && meta_rv(m) <= at &&
           !object_set_find(&i->objects, m->namespace, m->name);
}

void informer_put(struct informer *i, const void *obj)
{
    const struct meta_v1_object_meta *m = meta_of(i->resource->type, obj);
    if (takes_writes(i) && (!i->ns || str_eq(m->namespace, str_c(i->ns))) && !is_gone(i, m)) {
        informer_store(i, obj, false);
    }
}

bool informer_knows(struct informer *i, struct str ns, struct str name, struct str uid, uint64_t rv,
                    bool from_list)
{
    struct object_entry *e = object_set_find(&i->objects, ns, name);
    if (!e || e->object->rv < rv ||
        !str_eq(meta_of(i->resource->type, object_of(e->object))->uid, uid)) {
        return false;
    }
    e->seen = from_list ? i->list_round : e->seen;
    return true;
}

void informer_forget(struct informer *i, struct str ns, struct str name, struct str uid)
{
    struct object_entry *e = object_set_find(&i->objects, ns, name);
    if (e && (str_empty(uid) ||
              str_eq(meta_of(i->resource->type, object_of(e->object))->uid, uid))) {
        remove_entry(i, e);
    }
}

/* ---- looking ---- */

const void *informer_get(const struct informer *i, struct str ns, struct str name)
{
    const struct object_entry *e = object_set_find(&i->objects, ns, name);
    return e ? object_of(e->object) : NULL;
}

size_t informer_count(const struct informer *i)
{
    return i->objects.n;
}

const void *informer_next(const struct informer *i, size_t *pos)
{
    const struct object_entry *e = object_set_next(&i->objects, pos);
    return e ? object_of(e->object) : NULL;
}

const void *informer_next_in(const struct informer *i, struct str ns, size_t *pos)
{
    if (*pos == 0) {
        *pos = object_set_seek(&i->objects, ns, STR_EMPTY);
    }
    const void *obj = informer_next(i, pos);
    return obj && str_eq(meta_of(i->resource->type, obj)->namespace, ns) ? obj : NULL;
}

const struct api_type *informer_type(const struct informer *i)
{
    return i->resource->type;
}

const struct api_resource *informer_resource(const struct informer *i)
{
    return i->resource;
}

bool informer_served(const struct informer *i)
{
    return !i->reflector.not_served;
}

/* ---- the set ---- */

struct informers *informers_new(struct client *c)
{
    struct informers *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->client = c;
    s->not_served_retry_ms = NOT_SERVED_RETRY_MS;
    list_init(&s->all);
    loop_task_init(&s->collect, client_loop(c), on_garbage, s);
    loop_task_init(&s->announce, client_loop(c), informers_announce, s);
    net_trim_init(&s->trim, client_loop(c), 0);
    arena_init(&s->line, CLIENT_ARENA_MAX);
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
    struct str path, key;
    for (; *fields; fields++) {
        if ((*fields)[0] == '-') {
            add_field(&i->dropped, &i->n_dropped, *fields);
        } else if (item_filter_split(str_c(*fields), &path, &key)) {
            add_field(&i->items, &i->n_items, *fields);
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
    if (!i) {
        abort();
    }
    object_set_init(&i->objects, spec->resource->type);
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

bool informers_absorb_text(struct informers *s, const struct api_resource *resource, struct str text)
{
    bool ok = true;
    LIST_FOREACH(&s->all, struct informer, link, i) {
        if (i->resource == resource && takes_writes(i)) {
            ok = reflector_absorb_text(&i->reflector, text) && ok;
        }
    }
    return ok;
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
    struct object_entry *e;
    indexes_free(&i->indexes);
    LIST_FOREACH(&i->listeners, struct informer_listener, link, l) {
        if (l->owned) {
            free(l->data);
        }
        free(l);
    }
    for (size_t pos = 0; (e = object_set_next(&i->objects, &pos));) {
        cached_unref(e->object);
        free(e);
    }
    object_set_deinit(&i->objects);
    founders_free(i->founders);
    for (size_t k = 0; k < i->n_fields; k++) {
        free(i->fields[k]);
    }
    free(i->fields);
    for (size_t k = 0; k < i->n_dropped; k++) {
        free(i->dropped[k]);
    }
    free(i->dropped);
    for (size_t k = 0; k < i->n_items; k++) {
        free(i->items[k]);
    }
    free(i->items);
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
    arena_deinit(&s->line);
    on_garbage(s);
    free(s);
    return NULL;
}
