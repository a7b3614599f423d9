/*
 * The etcd store: everything on the loop's thread, over one gRPC connection to one of the members.
 *
 *   etcd-call.c    one call with its deadline, repeated where that is safe
 *   etcd-watch.c   the watch stream: the only source of events and of the watermark
 *   etcd-write.c   compare-and-put and -delete as transactions, joined with their events
 *   etcd-upkeep.c  leases for keys that end, compaction
 *   etcd.c         life, resources, ranges, revision, health
 *
 * Order and the watermark come from the watch stream alone, for our own writes as for those of others: a write is answered when
 * its transaction has been answered *and* its event has been delivered.
 *
 * The watermark. Every revision of etcd has at least one event. So a watch of all keys delivers the newest revision itself,
 * without any progress message, and the watermark is simply the revision of the last event. That is what is done below etcd
 * 3.4.31 and 3.5.13, where an answer to a progress request may overtake events (etcd issue 15220). Newer members are watched
 * below our prefix alone and asked for progress while somebody waits.
 */
#ifndef STORE_ETCD_PRIVATE_H
#define STORE_ETCD_PRIVATE_H

#include "api/gen/etcd_v3.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "net/grpc.h"
#include "store/limits.h"
#include "store/object.h"
#include "store/store.h"

struct etcd_store;
struct etcd_call;
struct etcd_write;

/* ---- calls ---- */

/* How a call ended. */
struct etcd_result {
    enum store_status status;
    bool ambiguous; /* a write: it may have been made, or may still be */
    const char *message;
};
/* 'response' is the decoded message, valid during the call; NULL unless status is STORE_OK. */
typedef void etcd_done_fn(void *arg, const void *response, const struct etcd_result *result);

struct etcd_call {
    struct list link;
    struct etcd_store *store;
    const struct api_rpc *rpc;
    struct buf request;
    struct grpc_call *grpc;
    struct loop_timer again;
    uint64_t until_ms, begun_ms;
    unsigned attempts;
    bool read;
    etcd_done_fn *done;
    void *arg;
};

/* Never NULL; 'done' is called once, in a later turn, unless the call is cancelled. A 'read' is repeated after any failure that
 * may pass; others only when they surely were not made. 'timeout_ms' 0: STORE_ETCD_CALL_MS. */
struct etcd_call *etcd_call(struct etcd_store *s, const struct api_rpc *rpc, const void *request, bool read, uint32_t timeout_ms,
                            etcd_done_fn *done, void *arg);
void etcd_call_cancel(struct etcd_call *c);
/* What a failure means to the store's callers. */
struct etcd_result etcd_result_of(const struct grpc_status *st);

/* ---- waiting for the watermark ---- */

struct etcd_wait {
    struct list link;
    int64_t revision;
    uint64_t until_ms;
    void (*done)(void *arg, bool reached); /* false: it took too long */
    void *arg;
};

struct etcd_resource {
    struct store_resource base;
    struct list link;
    struct store_resource_config cfg;
    char *prefix;
    unsigned refs; /* writes under way, and the owner */
    bool want_progress, closed;
};

struct etcd_lease {
    int64_t id, ttl_s;
    uint64_t ends_ms; /* monotonic */
    unsigned n_keys;
};

struct etcd_store {
    struct store base;
    struct store_config cfg;
    struct loop *loop;
    struct grpc_client *grpc;
    struct net_tls_client *tls;
    char *ca_file, *cert_file, *key_file;
    char *prefix;                 /* in etcd, "/registry" */
    bool closing;
    struct list calls;            /* struct etcd_call */
    struct list resources;
    unsigned n_want_progress;

    /* etcd-watch.c */
    struct grpc_call *watch;
    struct etcd_call *first_read, *version_read;
    struct loop_timer watch_again, progress;
    bool started;                 /* the watch's first revision is known: ranges may be read */
    bool trust_progress, force_trust, all_keys, watch_created, in_fragment;
    int64_t watermark, pending_watermark, seen;
    unsigned watch_failures;
    struct list waits;            /* struct etcd_wait, in the order of their revisions */
    struct loop_timer wait_timer;
    struct list before_start;     /* struct etcd_range */

    /* etcd.c: one read of the newest revision answers everybody who asked before it began */
    struct list asking, asked;
    struct etcd_call *ask;
    struct loop_task ask_task;

    /* etcd-write.c */
    struct list writes, queued;   /* all; those that wait for a free place */
    struct map by_key;            /* remote key -> struct etcd_write: the first of a chain, which is the one under way */
    unsigned n_running, n_writes;
    struct loop_timer queue_timer, stall;
    struct etcd_call *stall_read;
    uint64_t term;                /* raft's, the newest seen */

    /* etcd-upkeep.c */
    struct list lease_waiters;
    struct etcd_lease lease;      /* the one that is shared now; id 0: none */
    struct etcd_call *granting;
    int64_t granting_ttl_s;
    struct loop_timer compact;
    uint64_t compaction_interval_ms;
    int64_t compact_version, compact_revision;

    struct store_stats stats;
};

static inline struct etcd_store *etcd_of(struct store *s)
{
    return CONTAINER_OF(s, struct etcd_store, base);
}

/* etcd.c: keys here begin with "/registry/", in etcd with the store's prefix. */
#define ETCD_LOCAL_PREFIX "/registry"
/* Both write to 'dst' of STORE_MAX_KEY + 256 bytes where they have to; the second is false for a key that is not below our prefix. */
enum { ETCD_KEY_SIZE = STORE_MAX_KEY + 256 };
struct str etcd_key_out(const struct etcd_store *s, struct str key, char dst[ETCD_KEY_SIZE]);
bool etcd_key_in(const struct etcd_store *s, struct str key, char dst[ETCD_KEY_SIZE], struct str *ret);
struct etcd_resource *etcd_find_resource(struct etcd_store *s, struct str key);
void etcd_resource_unref(struct etcd_resource *r);
void etcd_release_ranges(struct etcd_store *s);

/* etcd-watch.c */
void etcd_watch_start(struct etcd_store *s);
void etcd_watch_stop(struct etcd_store *s);
void etcd_note_revision(struct etcd_store *s, int64_t revision);
void etcd_note_header(struct etcd_store *s, const struct etcd_v3_response_header *h);
void etcd_wait(struct etcd_store *s, struct etcd_wait *w, int64_t revision, uint32_t timeout_ms,
               void (*done)(void *arg, bool reached), void *arg);
/* Asks for progress soon, when somebody waits and members are asked at all. */
void etcd_want_progress(struct etcd_store *s);
void etcd_call_progress(struct etcd_store *s);

/* etcd-write.c */
void etcd_write(struct store *base, const struct store_write *w);
/* The object that one of our own writes of these bytes has attached, or NULL. 'key' is the remote one. */
struct object *etcd_write_match(struct etcd_store *s, struct str key, bool is_delete, struct str value, int64_t revision);
void etcd_writes_end(struct etcd_store *s);
/* The watch has begun: what waited for that is written. */
void etcd_writes_go_on(struct etcd_store *s);
void etcd_writes_late(void *arg);    /* of queue_timer */
void etcd_writes_stalled(void *arg); /* of stall */

/* etcd-upkeep.c */
struct etcd_lease_waiter {
    struct list link;
    int64_t ttl_s;
    void (*done)(void *arg, int64_t lease, const struct etcd_result *result);
    void *arg;
};
/* A lease for a key that ends in 'ttl_s' seconds; 'done' may be called inside. */
void etcd_lease_get(struct etcd_store *s, struct etcd_lease_waiter *w);
void etcd_upkeep_start(struct etcd_store *s);
void etcd_upkeep_stop(struct etcd_store *s);

#endif
