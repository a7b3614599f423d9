/*
 * A hash map from text to a pointer. Open addressing, keyed SipHash (peers may choose keys). The map copies its keys and
 * never touches what the values point at. Iteration order is unspecified; inserting while iterating is not allowed,
 * removing the current entry is.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t n;        /* entries */
    size_t n_used;   /* entries and tombstones */
    size_t capacity; /* a power of two, or 0 */
};

void map_init(struct map *m);
/* Frees keys and table, not the values. NULL-safe. */
void map_deinit(struct map *m);
void map_clear(struct map *m);
/* The value, or NULL. */
void *map_get(const struct map *m, struct str key);
bool map_has(const struct map *m, struct str key);
/* Sets key to value (not NULL) and returns the value that was there, or NULL. Aborts when out of memory. */
void *map_put(struct map *m, struct str key, void *value);
/* Removes the key and returns its value, or NULL. */
void *map_remove(struct map *m, struct str key);
/* Steps through all entries: start with '*pos' = 0; false at the end. 'ret_key' is valid until the entry is removed. */
bool map_next(const struct map *m, size_t *pos, struct str *ret_key, void **ret_value);

#endif
