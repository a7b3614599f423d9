/*
 * Objects in the order of their keys (namespace, name): what an informer holds, and what stands under one value of an index.
 *
 * The places are entries that live as long as the key is there, so an index holds entries and needs no change when an
 * object's next version comes. They stand in chunks of at most 256, so an addition moves 2 KB however many there are.
 */
#ifndef CLIENT_OBJECT_SET_H
#define CLIENT_OBJECT_SET_H

#include "base/str.h"
#include "client/cached.h"

struct object_chunk;

struct object_entry {
    struct cached *object;
    uint32_t seen; /* the last list that named it */
};

struct object_set {
    struct object_chunk **chunks; /* none is empty */
    size_t n_chunks, capacity;
    size_t n; /* entries */
    size_t meta_at; /* where metadata is in the objects */
};

void object_set_init(struct object_set *s, const struct api_type *type);
/* Frees the chunks, not the entries. */
void object_set_deinit(struct object_set *s);
struct object_entry *object_set_find(const struct object_set *s, struct str ns, struct str name);
/* Adds the entry under the key of its object; false when the key is there. */
bool object_set_add(struct object_set *s, struct object_entry *e);
/* Takes the entry out; false when it is not there. */
bool object_set_remove(struct object_set *s, const struct object_entry *e);
/* Steps through the entries in order, beginning with '*pos' = 0 or the answer of object_set_seek(); NULL at the end. The set
 * must not change meanwhile. */
struct object_entry *object_set_next(const struct object_set *s, size_t *pos);
/* The place of the first entry whose key is not before this one. */
size_t object_set_seek(const struct object_set *s, struct str ns, struct str name);

#endif
