/*
 * Informers: a local copy of a resource, kept by list and watch, holding only the fields that were
 * asked for.
 *
 * A process has one 'struct informers'; every user asks it for a resource and names the fields it
 * reads, before informers_start(). Users of one resource with equal selectors share one copy
 * holding the union of their fields. Objects are immutable and stay valid until the loop returns to
 * waiting (they are freed deferred), so a reconcile pass reads them without copying; what must live
 * longer is held by informer_ref().
 *
 * Order of events (KEP-3157, "Reliable watches"): the copy never goes back to an older
 * resourceVersion of an object. A relist after 410 or a broken connection delivers only what
 * changed. informer_put() feeds in the answer of a write of our own, so that the next look sees it
 * ("read your writes"); informer_forget() does the same for a delete.
 */
#ifndef CLIENT_INFORMER_H
#define CLIENT_INFORMER_H

#include "client/client.h"

struct informers;
struct informer;
struct arena;

struct informer_spec {
    const struct api_resource *resource;
    struct str ns; /* absent: all namespaces */
    struct str label_selector, field_selector;
    /* JSON paths that are kept, ended by NULL: "spec.nodeName". NULL: everything; {
     * "-metadata.managedFields", NULL }: everything else. "status.conditions[Ready]" keeps of a list
     * whose items have a key the one with this key, unless somebody asks for more of the list.
     * metadata's namespace, name, uid and resourceVersion are always kept. */
    const char *const *fields;
};

/* What a user of an informer is told. 'old' is NULL for an addition, 'obj' is NULL for a removal
 * (then 'old' is the last state seen). Called on the loop thread after the copy was changed. */
typedef void informer_event_fn(void *data, const void *old, const void *obj);

struct informers *informers_new(struct client *c);
struct informers *informers_free(struct informers *s);
/* Returns the shared informer, adding the fields and, where 'on_event' is not NULL, a listener.
 * Before informers_start(). */
struct informer *informers_get(struct informers *s, const struct informer_spec *spec,
                               informer_event_fn *on_event, void *data);
/* Begins to list and watch. 'on_synced' is called once when every informer has its first list. */
void informers_start(struct informers *s, void (*on_synced)(void *data), void *data);
bool informers_synced(const struct informers *s);

/* The object, or NULL. 'ns' absent for cluster-scoped. */
const void *informer_get(const struct informer *i, struct str ns, struct str name);
size_t informer_count(const struct informer *i);
/* Steps through all objects in key order ("ns/name"): start with '*pos' = 0; NULL at the end. The
 * copy must not change meanwhile. */
const void *informer_next(const struct informer *i, size_t *pos);
/* The same for the objects of one namespace. */
const void *informer_next_in(const struct informer *i, struct str ns, size_t *pos);

/*
 * An index: 'keys' names the values of one object (owner uid, node name, …). Whoever needs it asks before informers_start();
 * the informer keeps it with each change. 'name' is static; asking twice for one name gives the same index.
 */
typedef void informer_index_fn(const struct api_type *type, const void *obj,
                               void (*emit)(void *ctx, struct str key), void *ctx);
struct informer_index;
struct informer_index *informer_index(struct informer *i, const char *name,
                                      informer_index_fn *keys);
/* Steps through the objects with this value in key order: start with '*pos' = 0; NULL at the end. */
const void *informer_index_next(const struct informer_index *x, struct str key, size_t *pos);
size_t informer_index_count(const struct informer_index *x, struct str key);
/* Steps through the values that objects have, in no order: start with '*pos' = 0; false at the end. Nothing may change
 * meanwhile. */
bool informer_index_next_value(const struct informer_index *x, size_t *pos, struct str *ret_value);
/* Index functions that many use: metadata.ownerReferences[controller=true].uid; the namespace of objects without a controller;
 * spec.nodeName of pods. */
informer_index_fn informer_by_controller_uid, informer_orphans_by_namespace, informer_by_node_name;

/* Puts in an object that a write of ours answered, if it is newer than what is there. Copies it. */
void informer_put(struct informer *i, const void *obj);
/* Removes an object that a delete of ours removed (a deletion that only set deletionTimestamp is
 * put in instead). */
void informer_forget(struct informer *i, struct str ns, struct str name, struct str uid);

/* Holds an object beyond the current callback; NULL-safe. */
const void *informer_ref(const void *obj);
void informer_unref(const void *obj);

const struct api_type *informer_type(const struct informer *i);
const struct api_resource *informer_resource(const struct informer *i);
/* False when the server answered that it does not serve the resource: the informer counts as synced, holds nothing (or what was
 * there before), and becomes live when the server serves it. */
bool informer_served(const struct informer *i);

#endif
