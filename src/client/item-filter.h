/*
 * Which items of a list an informer keeps: "status.conditions[Ready]" of a list whose items have a key. A pod has five
 * conditions of a hundred bytes each, and controllers read one of them. "status.conditions[!Initialized|PodScheduled]": all but
 * these, for who must know those that others invent. An item that one field of several keeps is there.
 */
#ifndef CLIENT_ITEM_FILTER_H
#define CLIENT_ITEM_FILTER_H

#include "api/type.h"
#include "base/arena.h"

struct item_filter {
    struct item_filter *next;
    struct str path;
    size_t list_at, key_at, item_size; /* where the list is in the object, and the key in an item */
    struct str *keep;
    size_t n_keep;
};

/* "status.conditions[Ready]" -> "status.conditions" and "Ready"; false when the field has no such end. */
bool item_filter_split(struct str field, struct str *ret_path, struct str *ret_key);
/* Adds a key that is kept to the filter of this list, which is made when it is not there. False when the path does not lead,
 * through messages that are members, to a list of messages with one key of text. */
MUST_CHECK bool item_filter_add(struct arena *a, struct item_filter **filters, const struct api_type *type, struct str path,
                                struct str key);
/* Takes the other items out of the object's lists. */
void item_filters_apply(const struct item_filter *filters, void *obj);

#endif
