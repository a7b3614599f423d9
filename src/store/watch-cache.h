/*
 * The watch cache of one resource: all its published objects in the order of keys, the recent changes, and the watchers.
 * Everything that reads in the apiserver reads here. Lives on the loop thread; snapshots may be read on other threads.
 *
 * A LIST takes a snapshot: a pinned copy-on-write root, so that writing goes on beside it and nothing is copied; it streams
 * the objects it points at. A WATCH is a watcher: the consumer pulls items when its connection can take them; a watcher that
 * is behind holds no objects of its own, it reads from the ring of recent changes. When the ring has moved past it, it ends
 * with WATCH_EXPIRED, and the client resumes or relists. So neither holds memory that grows.
 *
 * resourceVersion: a list's and a bookmark's is watch_cache_revision(), the resource's watermark.
 */
#ifndef STORE_WATCH_CACHE_H
#define STORE_WATCH_CACHE_H

#include "base/list.h"
#include "store/object.h"
#include "store/store.h"
#include "store/tree.h"

struct watch_cache;
struct snapshot;
struct watcher;

struct watch_cache_ops {
    /* Makes the object of a stored value: at start, and for writes of others. The revision is set by the cache. NULL with a
     * reason when it cannot be decoded: the cache logs it, counts it and leaves the key out. */
    struct object *(*build)(void *arg, struct str key, struct str value, struct err *err);
    /* Makes an object's bytes again after the schema epoch moved (same revision, no event). May be NULL: bytes never age. */
    struct object *(*rebuild)(void *arg, const struct object *old, struct err *err);
};

struct watch_cache_config {
    struct store *store;
    struct str prefix;    /* "/registry/pods/" */
    bool namespaced;      /* keys are prefix + namespace + "/" + name, else prefix + name */
    bool has_volatile;    /* see store_resource_config */
    uint32_t indexed_fields; /* bit i: watchers that ask class field i to equal a value are found by it (spec.nodeName) */
    const struct watch_cache_ops *ops;
    void *arg;
    size_t ring_bytes;    /* superseded objects kept for resuming; 0: the default of limits.h */
    uint32_t ring_events; /* changes kept; 0: the default */
};

/* Opens the resource in the store and begins to load it. Aborts when out of memory. */
struct watch_cache *watch_cache_new(const struct watch_cache_config *cfg);
/* Watchers must be closed before; snapshots may outlive it. NULL-safe; returns NULL. */
struct watch_cache *watch_cache_free(struct watch_cache *c);

/* Everything is loaded. Before that, reads answer what they find and watches do not start: wait with watch_cache_wait(). */
bool watch_cache_ready(const struct watch_cache *c);
struct store_resource *watch_cache_resource(const struct watch_cache *c);
size_t watch_cache_n_objects(const struct watch_cache *c);
/* Objects that could not be decoded. */
size_t watch_cache_n_broken(const struct watch_cache *c);
/* The resourceVersion of a list made now. */
int64_t watch_cache_revision(struct watch_cache *c);
/* The oldest revision a watch can resume from and an exact list can be made at. */
int64_t watch_cache_oldest(const struct watch_cache *c);
/* Appends the store's key of an object. 'namespace' is ignored by cluster-wide resources. */
void watch_cache_key(const struct watch_cache *c, struct str namespace, struct str name, struct buf *b);
/* The schema epoch; after it was raised, objects of older epochs are made again when they are next read. */
void watch_cache_set_epoch(struct watch_cache *c, uint32_t epoch);

/* The object (borrowed until the loop's callback returns: take a reference to keep it), or NULL. */
const struct object *watch_cache_get(struct watch_cache *c, struct str namespace, struct str name);

/* ---- waiting for a revision ---- */

/*
 * Waits until the cache is ready and has reached a revision. For GET and LIST:
 *   resourceVersion unset   watch_cache_wait(…, WATCH_CACHE_LATEST, …): everything acknowledged anywhere before the call
 *   resourceVersion "0"     watch_cache_wait(…, 0, …): whatever is there
 *   resourceVersion N       watch_cache_wait(…, N, …): not older than N
 * Returns true when that is so now (the local store knows at once); else false, and 'w->done' is called later, once. The
 * caller runs a timer (3 seconds upstream), cancels, and answers "Too large resource version: N, current: M".
 */
#define WATCH_CACHE_LATEST INT64_C(-1)
struct watch_cache_ask;
struct watch_cache_wait {
    struct list link;
    struct watch_cache *cache;
    int64_t revision;
    struct watch_cache_ask *ask; /* the store has been asked for its revision */
    void (*done)(void *arg, enum store_status status);
    void *arg;
};
MUST_CHECK bool watch_cache_wait(struct watch_cache *c, struct watch_cache_wait *w, int64_t revision,
                                 void (*done)(void *arg, enum store_status status), void *arg);
void watch_cache_wait_cancel(struct watch_cache_wait *w);

/* ---- lists ---- */

/* The objects as they are now, at watch_cache_revision(). A snapshot keeps alive what is superseded while it is held: end a
 * list that makes no progress after a deadline. */
MUST_CHECK struct snapshot *watch_cache_snapshot(struct watch_cache *c);
/* The objects exactly as they were at 'revision' (resourceVersionMatch=Exact, continue tokens). STORE_OK, STORE_E_COMPACTED
 * (410) or STORE_E_FUTURE. */
MUST_CHECK enum store_status watch_cache_snapshot_at(struct watch_cache *c, int64_t revision, struct snapshot **ret);
struct snapshot *snapshot_ref(struct snapshot *s);
/* NULL-safe; returns NULL. From any thread. */
struct snapshot *snapshot_unref(struct snapshot *s);
int64_t snapshot_revision(const struct snapshot *s);

/* A place in a snapshot; holds no memory, valid as long as the snapshot. */
struct snapshot_iter {
    const struct snapshot *snapshot;
    struct str namespace; /* borrowed from the caller of snapshot_iter_init() */
    struct tree_iter tree;
};
/* All objects, or those of one namespace when it is not empty, in the order of keys; begins behind the object
 * (after_namespace, after_name) when after_name is not empty (a continue token). */
void snapshot_iter_init(struct snapshot_iter *it, const struct snapshot *s, struct str namespace, struct str after_namespace,
                        struct str after_name);
/* The next object (lives as long as the snapshot), or NULL at the end. */
const struct object *snapshot_iter_next(struct snapshot_iter *it);
/* How many objects are left (remainingItemCount, when no selector is given). */
size_t snapshot_iter_left(const struct snapshot_iter *it);

/* ---- watches ---- */

enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR, WATCH_TYPE_MAX };
const char *watch_type_name(enum watch_type t); /* "ADDED" */

enum watch_start {
    WATCH_FROM_REVISION, /* changes above 'revision' */
    WATCH_FROM_NOW,      /* resourceVersion unset or "0": ADDED for all that is there, then changes */
    WATCH_INITIAL,       /* sendInitialEvents=true: the same, with WATCH_GOT_INITIAL_END between */
    WATCH_ONLY_NEW,      /* sendInitialEvents=false without a revision: only changes from now on */
};

struct watch_options {
    enum watch_start start;
    int64_t revision;
    struct str namespace; /* empty: all; copied */
    struct str name;      /* metadata.name=…, or empty; copied */
    int field;            /* a class field that must equal 'field_value', indexed or not; -1: none */
    struct str field_value; /* copied */
    /* The rest of the selectors; NULL: everything matches. Called with objects of any age. */
    bool (*match)(void *arg, const struct object *o);
    void *match_arg;
    /* watch_next() has something to give again, after it had answered WATCH_GOT_NOTHING; called once, at the end of a batch
     * of changes. Pull now or later; closing the watcher here is allowed. At the beginning just call watch_next(). */
    void (*ready)(void *arg);
    void *arg;
};

/* STORE_OK, or STORE_E_COMPACTED: "too old resource version: N (watch_cache_oldest())". A revision in the future is taken:
 * nothing up to it is given. The cache must be ready. */
MUST_CHECK enum store_status watcher_new(struct watch_cache *c, const struct watch_options *opt, struct watcher **ret);
struct watcher *watcher_free(struct watcher *w);

enum watch_got {
    WATCH_GOT_ITEM,
    WATCH_GOT_INITIAL_END, /* all that was there has been given: send the bookmark with k8s.io/initial-events-end */
    WATCH_GOT_NOTHING,     /* 'ready' will be called */
    WATCH_GOT_EXPIRED,     /* too slow, or the history was lost: send an ERROR event with Status 410 and end */
};

struct watch_item {
    enum watch_type type;
    const struct object *object; /* borrowed until the next watch_next() or watcher_free() */
    const struct object *old;    /* the object before the change where there was one: for Table and conversion; or NULL */
    int64_t revision;            /* object's, or the bookmark's */
    uint64_t change;             /* number of the change in the ring; 0 for initial items */
};

MUST_CHECK enum watch_got watch_next(struct watcher *w, struct watch_item *ret);
/* The revision a bookmark may carry now: everything up to it has been given. 0: something is still to be given. */
int64_t watcher_bookmark(struct watcher *w);

/*
 * The frame of an item in a representation, shared between the watchers that want the same one: the bytes as they go to the
 * client ({"type":"ADDED","object":…}\n, or a length and protobuf). Made by 'encode' when it is not there. A new reference;
 * NULL with a reason when 'encode' failed. JSON of the object's own version is made without 'encode' when that is NULL.
 */
typedef bool watch_encode_fn(void *arg, const struct watch_item *item, struct buf *b, struct err *err);
MUST_CHECK struct shared_bytes *watch_frame(struct watcher *w, const struct watch_item *item, uint32_t representation,
                                            watch_encode_fn *encode, void *arg, struct err *err);
/* JSON frame of an item without a frame being kept: pieces that live as long as the item. Returns their number. */
enum { WATCH_IOV = OBJECT_IOV + 2 };
int watch_item_iov(const struct watch_item *item, struct iovec iov[WATCH_IOV]);
/* The same as chunks with references of their own. */
int watch_item_chunks(const struct watch_item *item, struct net_chunk chunks[WATCH_IOV]);

#endif
