/*
 * An index of an informer: under each value that its function names, the objects that have it. Kept by the informer with
 * each change; a new version of an object whose values are the old ones costs two calls of that function and nothing else.
 */
#ifndef CLIENT_INFORMER_INDEX_H
#define CLIENT_INFORMER_INDEX_H

#include "base/list.h"
#include "client/informer.h"
#include "client/object-set.h"

/* The index of this name, made when it is not there. Belongs to the informer. */
struct informer_index *index_get(struct list *indexes, const struct api_type *type, const char *name,
                                 informer_index_fn *keys);
void indexes_free(struct list *indexes);
/* The entry's object was 'old' (NULL: it is new) and is 'obj' now (NULL: it goes). The entry still, or already, holds an object
 * of its key. */
void indexes_change(struct list *indexes, struct object_entry *e, const void *old, const void *obj);

#endif
