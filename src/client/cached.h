/*
 * The objects that an informer keeps: each in one piece of memory of exactly its size, immutable, counted.
 *
 * Objects that look alike (one owner, or equal labels) share what is exactly the same: labels, containers, texts. The
 * newest ones of each kind are remembered as founders; one that comes later points into its founder where it is equal.
 */
#ifndef CLIENT_CACHED_H
#define CLIENT_CACHED_H

#include "base/arena.h"

struct api_type;
struct founders;

/* A cached object: this header, the root struct right behind it, then what it points at, all in one
 * arena. What it has in common with 'like', an object that came before it, it points at there. */
struct cached {
    struct arena_chunk *memory; /* the arena's only chunk: all that is kept of it */
    unsigned refs;
    uint32_t size; /* of the memory, bytes */
    uint64_t rv;
    struct cached *next_garbage;
    struct cached *like; /* has no 'like' itself */
};

#define CACHED_ROOT ((sizeof(struct cached) + 15) & ~(size_t)15)

static inline const void *object_of(const struct cached *c)
{
    return (const char *)c + CACHED_ROOT;
}

static inline struct cached *cached_of(const void *obj)
{
    return (struct cached *)(void *)(uintptr_t)((const char *)obj - CACHED_ROOT);
}

/* A copy with one reference. 'founders' may be NULL: then it shares nothing. */
struct cached *cached_new(struct founders *founders, const struct api_type *type, const void *obj);
/* NULL-safe. */
void cached_unref(struct cached *c);

struct founders *founders_new(void);
void founders_free(struct founders *f);

#endif
