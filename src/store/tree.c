#include "store/tree.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define FANOUT 32
#define MERGE_BELOW (FANOUT / 3)

/*
 * 'first' of an inner node are the first items of its children's subtrees, not counted: they live as long as the child, and
 * every write below a child passes through here and sets them again.
 */
struct tree_node {
    atomic_uint refs;
    uint16_t n;
    bool leaf;
    size_t count; /* items below */
    const void *slot[FANOUT]; /* items, or children */
    const void *first[];      /* FANOUT of them in an inner node */
};

static const struct tree_node *child(const struct tree_node *n, unsigned i)
{
    return n->slot[i];
}

static struct tree_node *node_new(bool leaf)
{
    struct tree_node *n = malloc(sizeof(*n) + (leaf ? 0 : FANOUT * sizeof(void *)));
    if (!n) {
        abort();
    }
    atomic_init(&n->refs, 1);
    n->n = 0;
    n->leaf = leaf;
    n->count = 0;
    return n;
}

static void node_ref(const struct tree_node *n)
{
    atomic_fetch_add_explicit(&((struct tree_node *)(uintptr_t)n)->refs, 1, memory_order_relaxed);
}

static void node_unref(const struct tree_type *type, const struct tree_node *cn)
{
    struct tree_node *n = (struct tree_node *)(uintptr_t)cn;
    if (!n || atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < n->n; i++) {
        if (n->leaf) {
            type->unref(n->slot[i]);
        } else {
            node_unref(type, child(n, i));
        }
    }
    free(n);
}

/* The node itself when nobody else holds it, else a copy; takes over the caller's reference. */
static struct tree_node *node_own(const struct tree_type *type, const struct tree_node *cn)
{
    struct tree_node *n = (struct tree_node *)(uintptr_t)cn;
    if (atomic_load_explicit(&n->refs, memory_order_acquire) == 1) {
        return n;
    }
    struct tree_node *copy = node_new(n->leaf);
    copy->n = n->n;
    copy->count = n->count;
    memcpy(copy->slot, n->slot, n->n * sizeof(n->slot[0]));
    if (!n->leaf) {
        memcpy(copy->first, n->first, n->n * sizeof(n->first[0]));
    }
    for (unsigned i = 0; i < n->n; i++) {
        if (n->leaf) {
            type->ref(n->slot[i]);
        } else {
            node_ref(child(n, i));
        }
    }
    node_unref(type, n);
    return copy;
}

static const void *first_item(const struct tree_node *n)
{
    return n->leaf ? n->slot[0] : n->first[0];
}

/* In a leaf: the first place whose item is not before 'key' ('*ret_equal' when it has that key). */
static unsigned leaf_find(const struct tree_type *type, const struct tree_node *n, const void *key, bool *ret_equal)
{
    unsigned lo = 0, hi = n->n;
    *ret_equal = false;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        int c = type->cmp(n->slot[mid], key);
        if (c < 0) {
            lo = mid + 1;
        } else {
            *ret_equal = c == 0 ? true : *ret_equal;
            hi = mid;
        }
    }
    return lo;
}

/* In an inner node: the child that holds 'key' if any does. */
static unsigned inner_find(const struct tree_type *type, const struct tree_node *n, const void *key)
{
    unsigned lo = 1, hi = n->n;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (type->cmp(n->first[mid], key) <= 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo - 1;
}

void tree_init(struct tree *t, const struct tree_type *type)
{
    *t = (struct tree){ .type = type };
}

void tree_deinit(struct tree *t)
{
    node_unref(t->type, t->root);
    t->root = NULL;
}

size_t tree_count(const struct tree *t)
{
    return t->root ? t->root->count : 0;
}

struct tree tree_pin(const struct tree *t)
{
    if (t->root) {
        node_ref(t->root);
    }
    return *t;
}

const void *tree_get(const struct tree *t, const void *key)
{
    const struct tree_node *n = t->root;
    if (!n) {
        return NULL;
    }
    while (!n->leaf) {
        n = child(n, inner_find(t->type, n, key));
    }
    bool equal;
    unsigned i = leaf_find(t->type, n, key, &equal);
    return equal ? n->slot[i] : NULL;
}

static void slot_insert(struct tree_node *n, unsigned at, const void *what)
{
    memmove(&n->slot[at + 1], &n->slot[at], (n->n - at) * sizeof(n->slot[0]));
    n->slot[at] = what;
    if (!n->leaf) {
        memmove(&n->first[at + 1], &n->first[at], (n->n - at) * sizeof(n->first[0]));
        n->first[at] = first_item(what);
    }
    n->n++;
}

static void slot_remove(struct tree_node *n, unsigned at)
{
    n->n--;
    memmove(&n->slot[at], &n->slot[at + 1], (n->n - at) * sizeof(n->slot[0]));
    if (!n->leaf) {
        memmove(&n->first[at], &n->first[at + 1], (n->n - at) * sizeof(n->first[0]));
    }
}

static size_t count_of(const struct tree_node *n)
{
    if (n->leaf) {
        return n->n;
    }
    size_t count = 0;
    for (unsigned i = 0; i < n->n; i++) {
        count += child(n, i)->count;
    }
    return count;
}

/* Moves what is behind 'keep' into a new right neighbour. */
static struct tree_node *node_split(struct tree_node *n, unsigned keep)
{
    struct tree_node *right = node_new(n->leaf);
    right->n = (uint16_t)(n->n - keep);
    memcpy(right->slot, &n->slot[keep], right->n * sizeof(n->slot[0]));
    if (!n->leaf) {
        memcpy(right->first, &n->first[keep], right->n * sizeof(n->first[0]));
    }
    n->n = (uint16_t)keep;
    n->count = count_of(n);
    right->count = count_of(right);
    return right;
}

/* 'n' is owned. '*ret_split' is the new right neighbour when the node had to be split. */
static const void *node_put(const struct tree_type *type, struct tree_node *n, const void *key, const void *item,
                            struct tree_node **ret_split)
{
    *ret_split = NULL;
    unsigned at;
    const void *insert, *old = NULL;
    if (n->leaf) {
        bool equal;
        at = leaf_find(type, n, key, &equal);
        if (equal) {
            old = n->slot[at];
            n->slot[at] = item;
            return old;
        }
        insert = item;
    } else {
        unsigned i = inner_find(type, n, key);
        struct tree_node *c = node_own(type, child(n, i)), *split;
        n->slot[i] = c;
        old = node_put(type, c, key, item, &split);
        n->first[i] = first_item(c);
        n->count += old ? 0 : 1;
        if (!split) {
            return old;
        }
        insert = split;
        at = i + 1;
    }
    if (n->n == FANOUT) {
        /* Keys often arrive in order: then leave the left node full. */
        unsigned keep = at == FANOUT ? FANOUT - 2 : FANOUT / 2;
        struct tree_node *right = node_split(n, keep);
        if (at > keep) {
            slot_insert(right, at - keep, insert);
            right->count = count_of(right);
        } else {
            slot_insert(n, at, insert);
        }
        *ret_split = right;
    } else {
        slot_insert(n, at, insert);
    }
    n->count = count_of(n);
    return old;
}

const void *tree_put(struct tree *t, const void *key, const void *item)
{
    t->root = t->root ? node_own(t->type, t->root) : node_new(true);
    struct tree_node *split;
    const void *old = node_put(t->type, t->root, key, item, &split);
    if (split) {
        struct tree_node *root = node_new(false);
        slot_insert(root, 0, t->root);
        slot_insert(root, 1, split);
        root->count = count_of(root);
        t->root = root;
    }
    return old;
}

/* Joins children i and i + 1 of 'n' when they fit in one with some room to grow. */
static void join_children(const struct tree_type *type, struct tree_node *n, unsigned i)
{
    if (i + 1 >= n->n || child(n, i)->n + child(n, i + 1)->n > FANOUT - MERGE_BELOW / 2) {
        return;
    }
    struct tree_node *left = node_own(type, child(n, i)), *right = node_own(type, child(n, i + 1));
    memcpy(&left->slot[left->n], right->slot, right->n * sizeof(left->slot[0]));
    if (!left->leaf) {
        memcpy(&left->first[left->n], right->first, right->n * sizeof(left->first[0]));
    }
    left->n = (uint16_t)(left->n + right->n);
    left->count += right->count;
    free(right);
    n->slot[i] = left;
    n->first[i] = first_item(left);
    slot_remove(n, i + 1);
}

static const void *node_remove(const struct tree_type *type, struct tree_node *n, const void *key)
{
    if (n->leaf) {
        bool equal;
        unsigned at = leaf_find(type, n, key, &equal);
        assert(equal);
        const void *old = n->slot[at];
        slot_remove(n, at);
        n->count--;
        return old;
    }
    unsigned i = inner_find(type, n, key);
    struct tree_node *c = node_own(type, child(n, i));
    n->slot[i] = c;
    const void *old = node_remove(type, c, key);
    n->count--;
    if (c->n == 0) {
        slot_remove(n, i);
        node_unref(type, c);
        return old;
    }
    n->first[i] = first_item(c);
    if (c->n < MERGE_BELOW) {
        join_children(type, n, i);
        if (i > 0) {
            join_children(type, n, i - 1);
        }
    }
    return old;
}

const void *tree_remove(struct tree *t, const void *key)
{
    if (!tree_get(t, key)) {
        return NULL;
    }
    t->root = node_own(t->type, t->root);
    const void *old = node_remove(t->type, t->root, key);
    while (t->root && !t->root->leaf && t->root->n <= 1) {
        struct tree_node *root = t->root;
        const struct tree_node *only = root->n ? child(root, 0) : NULL;
        if (only) {
            node_ref(only);
        }
        t->root = (struct tree_node *)(uintptr_t)only;
        node_unref(t->type, root);
    }
    if (t->root && t->root->n == 0) {
        node_unref(t->type, t->root);
        t->root = NULL;
    }
    return old;
}

/* Goes up to the nearest node with something left, and down its left edge. */
static void iter_settle(struct tree_iter *it)
{
    while (it->depth > 0 && it->index[it->depth - 1] >= it->node[it->depth - 1]->n) {
        it->depth--;
        if (it->depth > 0) {
            it->index[it->depth - 1]++;
        }
    }
    while (it->depth > 0 && !it->node[it->depth - 1]->leaf) {
        const struct tree_node *n = it->node[it->depth - 1];
        assert(it->depth < TREE_DEPTH);
        it->node[it->depth] = child(n, it->index[it->depth - 1]);
        it->index[it->depth] = 0;
        it->depth++;
    }
}

void tree_iter_init(struct tree_iter *it, const struct tree *t, const void *key, bool after)
{
    it->depth = 0;
    const struct tree_node *n = t->root;
    while (n) {
        assert(it->depth < TREE_DEPTH);
        unsigned at;
        bool equal = false;
        if (!key) {
            at = 0;
        } else if (n->leaf) {
            at = leaf_find(t->type, n, key, &equal);
            at += equal && after;
        } else {
            at = inner_find(t->type, n, key);
        }
        it->node[it->depth] = n;
        it->index[it->depth] = (uint16_t)at;
        it->depth++;
        n = n->leaf ? NULL : child(n, at);
    }
    iter_settle(it);
}

const void *tree_iter_next(struct tree_iter *it)
{
    if (it->depth == 0) {
        return NULL;
    }
    unsigned top = it->depth - 1u;
    const void *item = it->node[top]->slot[it->index[top]];
    it->index[top]++;
    iter_settle(it);
    return item;
}

size_t tree_iter_left(const struct tree_iter *it)
{
    size_t left = 0;
    for (unsigned d = 0; d < it->depth; d++) {
        const struct tree_node *n = it->node[d];
        if (n->leaf) {
            left += (size_t)(n->n - it->index[d]);
        } else {
            for (unsigned i = it->index[d] + 1u; i < n->n; i++) {
                left += child(n, i)->count;
            }
        }
    }
    return left;
}
