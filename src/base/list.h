/* An intrusive doubly linked list with a sentinel. A node that is not in a list points at itself after list_init(). */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/macros.h"
#include <stdbool.h>

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void list_push_back(struct list *l, struct list *node)
{
    list_insert_before(l, node);
}
static inline void list_push_front(struct list *l, struct list *node)
{
    list_insert_before(l->next, node);
}
/* Safe on a node that is in no list, when it was list_init()ed. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
static inline struct list *list_pop_front(struct list *l)
{
    struct list *n = l->next;
    if (n == l) {
        return NULL;
    }
    list_remove(n);
    return n;
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
/* The body may remove 'var' itself. */
#define LIST_FOREACH(l, type, member, var) \
    for (struct list *var##_n = (l)->next, *var##_next = var##_n->next; var##_n != (l); \
         var##_n = var##_next, var##_next = var##_n->next) \
        for (type *var = LIST_ENTRY(var##_n, type, member), *var##_once = var; var##_once; var##_once = NULL)

#endif
