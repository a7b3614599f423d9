/* Shared by watch-cache.c (objects, ring, lists) and watcher.c (watchers and their index). */
#ifndef STORE_WATCH_CACHE_PRIVATE_H
#define STORE_WATCH_CACHE_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "store/limits.h"
#include "store/tree.h"
#include "store/watch-cache.h"

struct watch_frame {
    struct watch_frame *next;
    struct shared_bytes *bytes;
    uint32_t representation;
    uint8_t type;
};

/* One change. 'cur' is NULL for a delete, 'old' for a create. 'gone' is what a DELETED event carries: the old object with the
 * revision of the change, made when first needed. */
struct watch_change {
    int64_t revision;
    struct object *cur, *old, *gone;
    struct watch_frame *frames;
    uint64_t at_ms; /* monotonic */
};

struct watch_cache {
    struct watch_cache_config cfg;
    char *prefix;
    struct store_resource *resource;
    struct tree objects; /* struct object, by struct cache_key */
    size_t n_broken;
    uint32_t epoch;
    bool ready, stale; /* stale: objects of an older epoch may be there */
    int64_t applied;   /* revision of the newest change */

    /* Loading. */
    bool loading;       /* a page is under way */
    bool loaded;        /* the last page has come; ready when what was seen in pages has been delivered too */
    bool dead;          /* the cache was freed while a page was under way */
    int64_t load_newest; /* revision of the newest object seen in pages */
    char *load_from;
    size_t load_from_len;
    /* History was lost: the old state is served, as of 'frozen', until the new one is loaded into 'fresh'. */
    bool reloading, restart; /* restart: the page under way is of no use */
    struct tree fresh;
    int64_t frozen;
    struct map load_gone; /* keys deleted while loading: what a page brings of them is older */

    /* Ring: changes [tail, head), at ring[number & mask]. Numbers begin at 1. */
    struct watch_change *ring;
    uint64_t head, tail, mask;
    uint64_t frames_from; /* changes before it hold no frames */
    int64_t trimmed;      /* revision of the newest change that has left the ring */
    size_t ring_bytes;    /* superseded objects held by the ring */

    /* Watchers. */
    struct list all;      /* found by nothing */
    struct map buckets;   /* "n<namespace>", "o<namespace>/<name>", "f<i>=<value>" -> struct watch_bucket */
    struct list starting; /* give what was there from a snapshot */
    struct list ready_list;
    size_t n_watchers;

    struct list waits;
    bool wants_progress;
};

struct cache_key {
    struct str namespace, name;
};

struct snapshot {
    atomic_uint refs;
    struct tree objects;
    int64_t revision;
};

static inline struct watch_change *ring_at(const struct watch_cache *c, uint64_t number)
{
    return &c->ring[number & c->mask];
}

/* watcher.c: tells the watchers that may be concerned of change 'number'; of changes that left the ring. */
void watchers_dispatch(struct watch_cache *c, uint64_t number);
void watchers_trimmed(struct watch_cache *c);
void watchers_call_ready(struct watch_cache *c);
/* All watchers end: what they would have to be told is not known. */
void watchers_expire_all(struct watch_cache *c);

/* watch-cache.c: drops changes that are old, when there are many. */
void watch_cache_age(struct watch_cache *c);
/* Asks the store for on_progress() while somebody waits for it. */
void watch_cache_update_progress(struct watch_cache *c);

#endif
