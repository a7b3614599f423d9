/*
 * An ordered, copy-on-write B+tree of counted items: the order of the watch cache, of the memory back end, and of what the
 * sequencer holds back.
 *
 * A root is a reference to a node. tree_root_ref() pins it: what was there stays there, unchanged, for as long as the root is
 * held, while the owner goes on writing: a write copies only the nodes it passes that somebody else holds too (a path of two
 * or three). Without a pinned root nothing is copied.
 *
 * One thread writes through one root; pinned roots can be read and dropped on any thread.
 */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include <stdbool.h>

#include "base/macros.h"

struct tree_node;

/* What the tree must know of its items. */
struct tree_type {
    int (*cmp)(const void *item, const void *key); /* <0: item before key */
    void (*ref)(const void *item);
    void (*unref)(const void *item);
};

struct tree {
    const struct tree_type *type;
    struct tree_node *root; /* NULL: empty */
};

void tree_init(struct tree *t, const struct tree_type *type);
void tree_deinit(struct tree *t);
/* The item (borrowed), or NULL. */
const void *tree_get(const struct tree *t, const void *key);
/* Puts the item, whose key is 'key', taking over the caller's reference. Returns the item that was there (the caller drops
 * its reference), or NULL. */
const void *tree_put(struct tree *t, const void *key, const void *item);
/* Removes the item and returns it (the caller drops its reference), or NULL. */
const void *tree_remove(struct tree *t, const void *key);
size_t tree_count(const struct tree *t);
/* A second tree that shares everything with 't' now; tree_deinit() drops it. Both can be written from then on. */
struct tree tree_pin(const struct tree *t);

#define TREE_DEPTH 12
struct tree_iter {
    const struct tree_node *node[TREE_DEPTH];
    uint16_t index[TREE_DEPTH];
    uint8_t depth; /* 0: at the end */
};
/* At the first item that is not before 'key' ('after': at the first behind it); NULL key: at the first item. The tree must
 * not be written while the iterator is used; iterate over a pinned one. */
void tree_iter_init(struct tree_iter *it, const struct tree *t, const void *key, bool after);
/* The next item (borrowed), or NULL at the end. */
const void *tree_iter_next(struct tree_iter *it);
/* How many items tree_iter_next() would still give. */
size_t tree_iter_left(const struct tree_iter *it);

#endif
