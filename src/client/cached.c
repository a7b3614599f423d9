#include "client/cached.h"

#include <stdlib.h>

#include "api/copy.h"
#include "client/meta.h"

void cached_unref(struct cached *c)
{
    if (c && --c->refs == 0) {
        cached_unref(c->like);
        struct arena a = { .chunks = c->memory }; /* the header is inside */
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
        if (size - root <= (like->size - root) / 2) {
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

struct founders *founders_new(void)
{
    struct founders *f = calloc(1, sizeof(*f));
    if (!f) {
        abort();
    }
    return f;
}

void founders_free(struct founders *f)
{
    for (size_t k = 0; f && k < LIKE_SETS * LIKE_WAYS; k++) {
        cached_unref(f->sets[k / LIKE_WAYS][k % LIKE_WAYS]);
    }
    free(f);
}

struct cached *cached_new(struct founders *founders, const struct api_type *type,
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
    c->memory = a.chunks;
    c->size = (uint32_t)a.used;
    c->like = like;
    if (like) {
        like->refs++;
    } else if (set) {
        found(set, c);
    }
    return c;
}
