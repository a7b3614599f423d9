/*
 * The store: (key, value, revision) with compare-and-put, compare-and-delete, range, and changes in the order of their
 * revisions. It knows nothing of Kubernetes' types; keys are upstream's ("/registry/pods/default/a"), values are opaque.
 *
 * One interface, several back ends: SQLite on one machine (store_open_sqlite), memory for tests (store_open_memory), etcd.
 * Everything is asynchronous: a call queues and returns, the answer arrives as a callback on the executor given at open (the
 * component's loop thread). All functions but store_close() are called on that thread, and never block.
 *
 * What is promised:
 *  - One winner. A write is compared with what the store will hold once everything before it is durable. The loser of a race
 *    hears STORE_E_CONFLICT after the winner has been published, so that reading the watch cache then shows the winner.
 *  - Publication after durability. A durable write's event and its answer come after its group's fsync: first the event (to
 *    the resource's on_event), then the answer. An acknowledged durable write survives kill -9 and power loss.
 *  - Revisions are positive, strictly increasing over the whole store, never reused, and do not go backwards over a restart
 *    or a power loss. There may be holes.
 *  - Order per resource. The events of one resource (all keys under its prefix) arrive in the order of revisions. Between
 *    resources no order is promised; each resource has a watermark: every write of that resource at or below it has been
 *    delivered. It is the resourceVersion of the resource's lists and bookmarks.
 *  - The volatile class (STORE_VOLATILE: Lease renewals, Events, heartbeat-only Node updates, and nothing else) is answered
 *    without waiting for the disk, survives kill -9 through a log in tmpfs, and may roll back on power loss. After that the
 *    resource's floor is raised: watches and exact reads below it get 410.
 *  - A failed fsync fails its group and what depends on it, and then on_fatal is called, which ends the process by default.
 *    A full disk fails the writes (STORE_E_FULL) and nothing else: what was durable stays readable, and writes are accepted
 *    again when there is room.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/err.h"

struct loop;
struct net_dialer;
struct object;
struct store;
struct store_resource;

enum store_status {
    STORE_OK,
    STORE_E_CONFLICT,    /* the key's revision is not the expected one; the result carries what is there (AlreadyExists,
                          * Conflict or NotFound is for the caller to tell: it knows what it expected) */
    STORE_E_COMPACTED,   /* the history asked for is gone: 410 Expired */
    STORE_E_FUTURE,      /* the revision asked for does not exist yet: "Too large resource version" */
    STORE_E_FULL,        /* disk full or quota exceeded: not written. 507-like; answered as 500 or 429 */
    STORE_E_TOO_LARGE,   /* key or value past its limit (limits.h): not written. 413 */
    STORE_E_IO,          /* the back end failed, the write may or may not be there: 500, and the process ends */
    STORE_E_UNAVAILABLE, /* no answer from the back end now; not written (etcd without leader): 503, retry */
    STORE_E_UNKNOWN,     /* the answer was lost, the write may be there (etcd): 504 */
    STORE_E_CLOSED,      /* the store is being closed: not written */
    STORE_STATUS_MAX
};

/* A short English text for logs and Status messages. */
const char *store_status_text(enum store_status s);
/* The err code an apiserver answers with; CONFLICT gives ERR_CONFLICT. */
enum err_code store_status_err(enum store_status s);

/* ---- opening ---- */

/* Runs fn(arg) on the owner's thread. Called from any thread; calls run in order. */
typedef void store_post_fn(void *executor, void (*fn)(void *arg), void *arg);
/* The store cannot go on ('reason' is one line). Called on a thread of the store; must not return to a working process. */
typedef void store_fatal_fn(void *arg, const char *reason);

struct store_config {
    struct loop *loop;        /* executor: either a loop (net/loop.h) … */
    store_post_fn *post;      /* … or, when set, this function */
    void *executor;
    const char *path;         /* SQLite: the database file; its folder must exist and be ours alone */
    const char *volatile_dir; /* a folder in tmpfs for the volatile log; NULL: volatile writes do not survive kill -9 */
    store_fatal_fn *on_fatal; /* NULL: logs the reason and _exit(1) */
    void *fatal_arg;
    size_t held_back_bytes;   /* volatile values held back from disk at most; 0: the default of limits.h */
    bool no_sync;             /* tests and throw-away clusters: nothing is fsynced */
};

/* Each returns the store, or NULL with a reason for a person: a file of a newer version, a damaged file, a folder on a
 * read-only or network file system, a file that another process holds, a full disk. */
MUST_CHECK struct store *store_open_memory(const struct store_config *cfg, struct err *err);
MUST_CHECK struct store *store_open_sqlite(const struct store_config *cfg, struct err *err);
struct store_etcd_config {
    const struct str *servers; /* "https://10.0.0.1:2379", "http://…", "unix:///path"; one scheme for all */
    size_t n_servers;
    struct str ca_file, cert_file, key_file; /* PEM; empty: the system's CAs, no client certificate */
    struct str prefix;               /* in place of "/registry"; empty: that */
    uint64_t compaction_interval_ms; /* history older than this is compacted away; 0: never by us */
    uint32_t silence_ms;             /* see grpc_config; 0: 300 */
    struct net_dialer *dialer;       /* NULL: direct; lives longer than the store */
    bool trust_progress;             /* take progress answers of any version as true (tests of that path) */
};
/* etcd v3, perhaps shared with other API servers. Nothing is connected yet when it returns: that shows with the first answers. Runs
 * on cfg->loop alone, which must be set; no threads. */
MUST_CHECK struct store *store_open_etcd(const struct store_config *cfg, const struct store_etcd_config *etcd, struct err *err);
/* Reads certificates and keys again; new connections use them. Does nothing for other back ends. */
MUST_CHECK bool store_reload(struct store *s, struct err *err);

/* Writes out what is held back, answers everything that is pending (STORE_E_CLOSED where it was not written), ends the
 * threads and frees the store. Blocks for as long as the disk takes; callbacks run inside. Resources are to be closed
 * before. NULL-safe; returns NULL. */
struct store *store_close(struct store *s);

/* ---- resources ---- */

enum store_event_type { STORE_EVENT_PUT, STORE_EVENT_DELETE };

/* One change, valid during the callback. */
struct store_event {
    enum store_event_type type;
    struct str key;
    struct str value;      /* PUT: the new value. DELETE: absent */
    int64_t revision;
    struct object *object; /* what the writer attached (borrowed; take a reference to keep it), or NULL: build it */
};

struct store_resource_config {
    struct str prefix;   /* "/registry/pods/", with the slash; unique, and no prefix of another's */
    bool has_volatile;   /* STORE_VOLATILE writes will be made; decides what is forgotten after a power loss */
    void (*on_event)(void *arg, const struct store_event *ev); /* may be NULL */
    /* The watermark may have moved (after events were delivered, or because of other resources' writes). Called once a batch
     * while store_resource_want_progress() is on. May be NULL. */
    void (*on_progress)(void *arg);
    /* Changes between the watermark and now are gone for good (etcd compacted them while it could not be reached): load anew with
     * store_range(). Called before the watermark moves on. May be NULL. */
    void (*on_lost)(void *arg);
    void *arg;
};

/* Opens the resource: its events are delivered from now on. Load what is there with store_range() afterwards. */
MUST_CHECK struct store_resource *store_resource_open(struct store *s, const struct store_resource_config *cfg);
/* No callback follows. Writes under way are still made and answered. NULL-safe; returns NULL. */
struct store_resource *store_resource_close(struct store_resource *r);
/* Every write of this resource at or below this revision has been delivered. Never goes backwards. */
int64_t store_resource_watermark(struct store_resource *r);
/* Below this revision nothing is promised (after a power loss, for resources with volatile writes): answer 410. */
int64_t store_resource_floor(const struct store_resource *r);
void store_resource_want_progress(struct store_resource *r, bool on);

/* ---- writing ---- */

#define STORE_ABSENT INT64_C(0) /* expect: the key must not exist */
#define STORE_ANY INT64_C(-1)   /* expect: do not compare; a delete of an absent key answers STORE_E_CONFLICT, revision 0 */

enum store_write_flag {
    STORE_VOLATILE = 1 << 0,
    STORE_UNIQUE = 1 << 1, /* nobody else would ever write these bytes (they hold a random uid): if they are found in the store
                            * after an answer was lost, the write was made */
};

struct store_result {
    enum store_status status;
    int64_t revision;   /* OK: of the write. CONFLICT: the key's current revision, 0 when there is no such key */
    struct str value;   /* CONFLICT: the current value (absent when there is no such key); valid during the callback */
};
typedef void store_done_fn(void *arg, const struct store_result *res);

struct store_write {
    struct store_resource *resource;
    struct str key;        /* below the resource's prefix; copied */
    struct str value;      /* copied; absent: delete the key */
    int64_t expect;        /* the key's revision, STORE_ABSENT or STORE_ANY */
    unsigned flags;        /* enum store_write_flag */
    uint32_t ttl_s;        /* the key is deleted after so many seconds (Events, master leases); 0: never */
    struct object *object; /* travels to the event; a reference is taken. Its revision is set before the event is delivered,
                            * so nobody else may have it yet (object.h). For a delete: the final state, or NULL */
    store_done_fn *done;   /* called exactly once; NULL: nobody waits */
    void *arg;
};

/* Queues a write. There is no cancelling: whoever goes away sees to it that 'done' still finds its argument. */
void store_write(struct store *s, const struct store_write *w);

/* ---- reading past the watch cache ---- */

struct store_kv {
    struct str key, value;
    int64_t revision; /* of the last write of this key */
};

struct store_page {
    enum store_status status;
    const struct store_kv *items; /* in the order of keys; valid during the callback */
    size_t n_items;
    bool more;        /* go on behind the last key */
    int64_t revision; /* the store's revision when the page was read */
};
typedef void store_page_fn(void *arg, const struct store_page *page);

/* Reads keys k with start <= k < end ("now": everything answered before this call, perhaps more), at most 'limit' of them
 * (0: as many as fit a page of about 1 MB). A page is one instant; several pages are several instants. */
void store_range(struct store *s, struct str start, struct str end, uint32_t limit, store_page_fn *done, void *arg);
/* The 'end' of the range of all keys with this prefix, written to 'dst' (prefix.len bytes). Absent result: no end. */
struct str store_prefix_end(struct str prefix, char *dst);

/* The store's newest revision. Local back ends know it at once; etcd asks its members, so it is asynchronous. A consistent
 * read waits until the resource's watermark has reached it. */
typedef void store_revision_fn(void *arg, enum store_status status, int64_t revision);
void store_revision(struct store *s, store_revision_fn *done, void *arg);
/* The newest revision seen by this process; for messages and metrics. */
int64_t store_revision_seen(struct store *s);

/* Does the back end answer a consistent read within so many milliseconds? Local stores answer at once. */
typedef void store_health_fn(void *arg, enum store_status status);
void store_health(struct store *s, uint32_t timeout_ms, store_health_fn *done, void *arg);

struct store_stats {
    uint64_t writes, conflicts, groups, volatile_writes, flushes, failed_writes;
    uint64_t keys;            /* live keys */
    uint64_t held_back_bytes; /* volatile values not on disk */
    uint64_t file_bytes, wal_bytes;
    int64_t revision;
};
void store_get_stats(struct store *s, struct store_stats *ret);

/* ---- for back ends (etcd lives outside this pair of threads and implements the whole of it) ---- */

struct store_ops {
    const char *name;
    void (*close)(struct store *s);
    struct store_resource *(*resource_open)(struct store *s, const struct store_resource_config *cfg);
    void (*resource_close)(struct store_resource *r);
    int64_t (*watermark)(struct store_resource *r);
    void (*want_progress)(struct store_resource *r, bool on);
    void (*write)(struct store *s, const struct store_write *w);
    void (*range)(struct store *s, struct str start, struct str end, uint32_t limit, store_page_fn *done, void *arg);
    void (*revision)(struct store *s, store_revision_fn *done, void *arg);
    int64_t (*revision_seen)(struct store *s);
    void (*stats)(struct store *s, struct store_stats *ret);
    void (*health)(struct store *s, uint32_t timeout_ms, store_health_fn *done, void *arg); /* NULL: well as long as it is open */
    bool (*reload)(struct store *s, struct err *err);                                       /* NULL: nothing to read again */
};

struct store {
    const struct store_ops *ops;
    bool sole_writer; /* whatever was acknowledged to anybody has been delivered here: no need to ask for the revision */
};

struct store_resource {
    struct store *store;
    int64_t floor;
};

#endif
