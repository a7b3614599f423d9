/*
 * The local store: loop side (local.c), sequencer (sequencer.c) and committer (committer.c) over a back end.
 *
 *   loop thread     gathers ops in 'outbox' and puts them into 'inbox'; takes 'ready' and delivers: event, answer
 *   sequencer       alone owns 'pending', 'held', 'expiry', the volatile log, and the reader half of the back end
 *   committer       alone owns the writer half of the back end
 *   'lock' guards everything marked so; it is held shortly, never over I/O
 *
 * Nobody is woken for one op where several are on their way: the loop hands over what a turn brought, the sequencer wakes the
 * committer and the loop at the end of a batch, and who is awake finds new work by himself. Whoever wakes another one does so
 * after he has let go of the lock (local_unlock), or the other one would wake up only to wait for it.
 */
#ifndef STORE_LOCAL_PRIVATE_H
#define STORE_LOCAL_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "net/loop.h"
#include "store/backend.h"
#include "store/limits.h"
#include "store/object.h"
#include "store/store.h"
#include "store/tree.h"
#include "store/volatile-log.h"

enum op_kind {
    OP_WRITE,
    OP_FLUSH,    /* a held-back value on its way to the disk; nobody waits for it */
    OP_RANGE,
    OP_REVISION,
};

struct local_resource {
    struct store_resource base;
    struct store_resource_config cfg;
    char *prefix;
    bool want_progress; /* loop thread */
    bool closed;        /* loop thread */
    /* Guarded by the store's lock. */
    struct list waiting;   /* sequenced writes in the order of revisions, the first not done or not published */
    struct list published; /* done and in 'ready', not yet delivered */
    size_t n_ops;          /* of this resource, queued anywhere */
    int64_t watermark;
};

/* What one read brought: items in 'bytes'. */
struct page_item {
    size_t key, key_len, value, value_len; /* offsets */
    int64_t revision;
};
struct page {
    struct buf bytes;
    struct page_item *items;
    size_t n, capacity;
    bool more;
};

/* One call on its way. Held by whoever brings it back to the loop, by a group, and by the sequencer's 'pending'. */
struct op {
    atomic_uint refs;
    enum op_kind kind;
    struct list link;  /* inbox, a group, a group that is done */
    struct list ready; /* after_commit, ready */
    struct list order; /* resource's waiting or published */
    struct local_resource *resource; /* NULL: expiry in a resource that nobody opened */
    struct str key, value;           /* in 'bytes'; value absent: delete */
    struct str end;                  /* of a range */
    int64_t expect;
    unsigned flags;
    uint32_t ttl_s, limit;
    struct object *object;
    union {
        store_done_fn *write;
        store_page_fn *page;
        store_revision_fn *revision;
    } done;
    void *arg;

    /* Set by the sequencer. */
    bool sequenced; /* has a revision and a place in its resource's order */
    int64_t revision, expires;
    int64_t db_revision; /* of the row on disk that this one replaces; 0: none */
    int64_t order_revision; /* the watermark is below it until it is delivered */
    char *current;    /* CONFLICT: the value that is there */
    struct op *blame; /* CONFLICT: the pending write it lost against; its failure is this one's too */
    size_t current_len;
    struct page *page;

    /* Under the lock. */
    bool is_done;
    enum store_status status;

    char bytes[];
};

/* A volatile value that is newer than its key's row on disk. Immutable but for the sequencer's own fields. */
struct held {
    atomic_uint refs;
    bool deleted;
    int64_t revision;
    int64_t db_revision; /* of the row on disk; 0: none */
    int64_t expires;
    uint32_t key_len, value_len;
    char bytes[];
};

struct expiry {
    struct heap_node node; /* by monotonic millisecond */
    int64_t revision;
    uint32_t key_len;
    char key[];
};

/* What a post on the loop holds; outlives the store when a post is late. */
struct mailbox {
    atomic_uint refs;
    struct local_store *store; /* loop thread */
    struct loop_post post;     /* to the loop, when there is no executor */
    bool queued;               /* under the store's lock */
};

struct local_store {
    struct store base;
    struct store_config cfg;
    struct backend *be;
    struct backend_meta meta;
    pthread_t sequencer, committer;
    bool threads_run;

    /* Loop thread. */
    struct local_resource **resources; /* also read under the lock; written under it. NULL: closed */
    size_t n_resources, resources_size;
    struct mailbox *mailbox;
    struct list outbox;         /* op.link: to be handed to the sequencer when the turn ends, or earlier */
    size_t n_outbox;
    struct loop_task hand_over; /* when there is a loop */
    size_t n_wants_progress;
    int64_t power_loss_floor; /* 0: no power was lost */

    bool is_full; /* committer */

    /* Sequencer. */
    struct map pending;    /* key -> struct op: the newest of its writes that are not known to be durable */
    struct tree held;      /* struct held, by key */
    size_t held_bytes;
    struct heap expiries;
    struct volatile_log vlog;
    uint64_t fail_seen;    /* 'failures' as of the last look at 'done_groups' */

    pthread_mutex_t lock;
    pthread_cond_t seq_cond, com_cond, reserve_cond;
    /* Guarded by 'lock'. */
    struct list inbox;        /* op.link */
    struct list group;        /* op.link: gathered for the next commit */
    size_t group_bytes, group_n;
    struct list done_groups;  /* op.link: committed or failed, for the sequencer to forget */
    size_t n_done_groups;
    struct list after_commit; /* op.ready: answers that wait until the commit under way is published */
    struct list ready;        /* op.ready: to be delivered on the loop */
    size_t n_pending;         /* writes that are not ready */
    bool posted;
    bool post_due, sequencer_due; /* to be woken by the next local_unlock() */
    bool committing;
    uint64_t failures;        /* groups that failed */
    int64_t revision;         /* the newest given */
    int64_t reserved;         /* durably */
    bool want_reserve, reserve_failed;
    bool closing, sequencer_ended, broken;
    bool flush_failed; /* something held back is not on disk: not to be marked as closed in order */
    struct store_stats stats;
};

static inline struct local_store *local_of(struct store *s)
{
    return CONTAINER_OF(s, struct local_store, base);
}

/* local.c */
struct op *op_new(enum op_kind kind, struct local_resource *r, struct str key, struct str value, struct str end);
struct op *op_ref(struct op *op);
void op_unref(struct op *op);
/* Under the lock: the op goes to the loop, at once or after the commit under way. */
void local_answer(struct local_store *s, struct op *op);
void local_answer_ordered(struct local_store *s, struct op *op);
/* Under the lock: publishes what is done at the head of the resource's order. */
void local_publish(struct local_store *s, struct local_resource *r);
/* Under the lock: takes a sequenced write that failed out of its resource's order and answers it. */
void local_fail(struct local_store *s, struct op *op, enum store_status status);
/* Under the lock: the loop is to be woken if there is something for it. */
void local_post(struct local_store *s);
/* Lets go of the lock, and then wakes whom there is something for. */
void local_unlock(struct local_store *s);
/* The store cannot go on. Returns only in tests; everything is answered with STORE_E_IO then. */
void local_fatal(struct local_store *s, const char *what, const char *reason);
struct local_resource *local_find_resource(struct local_store *s, struct str key);

/* sequencer.c */
void *sequencer_main(void *arg);
/* Before the threads run: brings back what was held back. False with a reason. */
bool sequencer_recover(struct local_store *s, struct err *err);
void sequencer_deinit(struct local_store *s, bool remove_log);

/* held.c; all on the sequencer */
extern const struct tree_type held_tree;
struct str held_key(const struct held *h);
struct str held_value(const struct held *h); /* absent: deleted */
struct held *held_get(const struct local_store *s, struct str key);
/* 'value' absent: deleted. */
void held_set(struct local_store *s, struct str key, struct str value, int64_t revision, int64_t db_revision, int64_t expires);
void held_drop(struct local_store *s, struct str key);
/* Appends to the volatile log: a value; that a durable write of its key is about to be committed; everything. 0 or -errno. */
int held_log(struct local_store *s, const struct held *h);
int held_log_supersede(struct local_store *s, const struct op *op);
int held_log_all(struct local_store *s);
/* Writes the log anew; the second form when it has grown too long. */
void held_rewrite_log(struct local_store *s);
void held_shorten_log(struct local_store *s);
/* Sends everything that is held back to the committer; and what becomes of it: true when it is on disk. */
void held_flush(struct local_store *s);
bool held_forget_flush(struct local_store *s, struct op *op);
/* Recovery. The first is false when there is no log of the last run, the second when the back end cannot be read. */
bool held_read_log(struct local_store *s, const char *dir);
bool held_reconcile(struct local_store *s);

/* pages.c; on the sequencer. Takes over the op. */
void pages_range(struct local_store *s, struct op *op);

/* committer.c */
void *committer_main(void *arg);

#endif
