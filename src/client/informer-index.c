#include "client/informer-index.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/map.h"

/* Values of one object. */
#define VALUES_MAX (1u << 20)

struct informer_index {
    struct list link;
    const char *name;
    informer_index_fn *keys;
    const struct api_type *type;
    struct map by_key;   /* value -> struct object_set */
    struct buf was, now; /* values of the object that changes, each as its length and its bytes */
};

struct informer_index *index_get(struct list *indexes, const struct api_type *type, const char *name,
                                 informer_index_fn *keys)
{
    LIST_FOREACH(indexes, struct informer_index, link, known) {
        if (strcmp(known->name, name) == 0) {
            return known;
        }
    }
    struct informer_index *x = calloc(1, sizeof(*x));
    if (!x) {
        abort();
    }
    x->name = name;
    x->keys = keys;
    x->type = type;
    map_init(&x->by_key);
    buf_init(&x->was, VALUES_MAX);
    buf_init(&x->now, VALUES_MAX);
    list_push_back(indexes, &x->link);
    return x;
}

void indexes_free(struct list *indexes)
{
    LIST_FOREACH(indexes, struct informer_index, link, x) {
        struct str key;
        void *value;
        for (size_t pos = 0; map_next(&x->by_key, &pos, &key, &value);) {
            object_set_deinit(value);
            free(value);
        }
        map_deinit(&x->by_key);
        buf_deinit(&x->was);
        buf_deinit(&x->now);
        list_remove(&x->link);
        free(x);
    }
}

static void note(void *ctx, struct str key)
{
    struct buf *values = ctx;
    buf_append_bytes(values, &key.len, sizeof(key.len));
    buf_append(values, key);
}

/* The next value of 'values'. */
static bool next_value(const struct buf *values, size_t *pos, struct str *ret)
{
    size_t len;
    if (*pos + sizeof(len) > values->len) {
        return false;
    }
    memcpy(&len, values->ptr + *pos, sizeof(len));
    *ret = str_n(values->ptr + *pos + sizeof(len), len);
    *pos += sizeof(len) + len;
    return true;
}

static void add(struct informer_index *x, struct str key, struct object_entry *e)
{
    struct object_set *s = map_get(&x->by_key, key);
    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s) {
            abort();
        }
        object_set_init(s, x->type);
        map_put(&x->by_key, key, s);
    }
    object_set_add(s, e); /* a value that is named twice counts once */
}

static void take_out(struct informer_index *x, struct str key, const struct object_entry *e)
{
    struct object_set *s = map_get(&x->by_key, key);
    if (s && object_set_remove(s, e) && !s->n) {
        map_remove(&x->by_key, key);
        object_set_deinit(s);
        free(s);
    }
}

void indexes_change(struct list *indexes, struct object_entry *e, const void *old, const void *obj)
{
    LIST_FOREACH(indexes, struct informer_index, link, x) {
        struct str key;
        buf_clear(&x->was);
        buf_clear(&x->now);
        if (old) {
            x->keys(x->type, old, note, &x->was);
        }
        if (obj) {
            x->keys(x->type, obj, note, &x->now);
        }
        if (buf_failed(&x->was) || buf_failed(&x->now)) {
            abort(); /* a megabyte of values of one object, which is larger than objects may be */
        }
        if (str_eq(buf_str(&x->was), buf_str(&x->now))) {
            continue;
        }
        for (size_t pos = 0; next_value(&x->was, &pos, &key);) {
            take_out(x, key, e);
        }
        for (size_t pos = 0; next_value(&x->now, &pos, &key);) {
            add(x, key, e);
        }
    }
}

const void *informer_index_next(const struct informer_index *x, struct str key, size_t *pos)
{
    const struct object_set *s = map_get(&x->by_key, key);
    const struct object_entry *e = s ? object_set_next(s, pos) : NULL;
    return e ? object_of(e->object) : NULL;
}

size_t informer_index_count(const struct informer_index *x, struct str key)
{
    const struct object_set *s = map_get(&x->by_key, key);
    return s ? s->n : 0;
}

bool informer_index_next_value(const struct informer_index *x, size_t *pos, struct str *ret_value)
{
    void *set;
    return map_next(&x->by_key, pos, ret_value, &set);
}
