/*
 * What the sequencer and the committer need of a place to keep rows: memory.c and sqlite.c.
 *
 * Two threads use a back end at once: the reader functions are called by the sequencer, the writer functions by the committer.
 * A reader sees whole commits only, and every commit that returned before it was called.
 *
 * Rows are kept by revision, the live one of each key and superseded ones until compaction. A row names the row it supersedes
 * ('prev'), so compaction needs no search: it goes through the rows in order and removes what each of them superseded.
 */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H

#include "base/buf.h"
#include "base/err.h"

enum backend_result {
    BACKEND_OK,
    BACKEND_FULL,   /* nothing was written, and can be again when there is room */
    BACKEND_FAILED, /* whether it was written is not known; the process ends */
};

enum backend_row_kind {
    BACKEND_PUT,
    BACKEND_DELETE,       /* leaves a tombstone until compaction */
    BACKEND_FLUSH_PUT,    /* a volatile value at last written down: keeps no history, its 'prev' goes at once */
    BACKEND_FLUSH_DELETE, /* the same for a deleted one: no tombstone either */
};

struct backend_row {
    enum backend_row_kind kind;
    struct str key, value;
    int64_t revision;
    int64_t prev;    /* revision of the key's live row that is replaced; 0: none */
    int64_t expires; /* Unix seconds; 0: never */
};

struct backend_meta {
    uint8_t id[16];   /* of this store, random */
    int64_t run;      /* counts openings */
    int64_t last;     /* clean: the newest revision given. Else that of the newest row */
    int64_t reserved; /* no revision above it was ever given */
    int64_t compacted;
    bool clean;       /* was closed in order, nothing held back */
    bool fresh;       /* just made */
};

struct backend_commit {
    const struct backend_row *rows;
    size_t n_rows;
    int64_t reserve; /* new reserved revision, or 0 */
    int64_t begin_run; /* new number of the run: from now on not clean; or 0 */
    bool end_run;      /* closing in order … */
    int64_t last;      /* … and this is the newest revision given */
};

struct backend_stats {
    uint64_t keys, file_bytes, wal_bytes, history;
    int64_t compacted;
};

/* False stops. */
typedef bool backend_row_fn(void *arg, struct str key, struct str value, int64_t revision);
typedef bool backend_change_fn(void *arg, struct str key, struct str value, struct str prev_value, int64_t revision,
                               int64_t prev_revision);
typedef void backend_expiry_fn(void *arg, struct str key, int64_t revision, int64_t expires);

struct backend;
struct backend_ops {
    const char *name;
    bool durable;
    void (*close)(struct backend *be);
    void (*meta)(struct backend *be, struct backend_meta *ret); /* as found at opening */

    /* Reader. 'value' (may be NULL) gets the value appended. '*ret_revision' is 0 when there is no such key. */
    enum backend_result (*get)(struct backend *be, struct str key, struct buf *value, int64_t *ret_revision);
    /* Calls 'fn' in the order of keys until it returns false (that row counts as not read). */
    enum backend_result (*range)(struct backend *be, struct str start, struct str end, backend_row_fn *fn, void *arg);
    enum backend_result (*history)(struct backend *be, struct str prefix, int64_t after, backend_change_fn *fn, void *arg,
                                   int64_t *ret_compacted);
    enum backend_result (*expiring)(struct backend *be, backend_expiry_fn *fn, void *arg);

    /* Writer. 'reason' gets a line when it is not OK. */
    enum backend_result (*commit)(struct backend *be, const struct backend_commit *c, char reason[256]);
    /* Forgets superseded rows: goes through at most 'max' rows above the compaction mark and at or below 'upto'. '*ret_left':
     * rows of history that remain. '*ret_done': none at or below 'upto' are left. */
    enum backend_result (*compact)(struct backend *be, int64_t upto, uint32_t max, uint64_t *ret_left, bool *ret_done,
                                   char reason[256]);
    /* Any thread. */
    void (*stats)(struct backend *be, bool with_sizes, struct backend_stats *ret);
    /* The reader's last failure, for the log. */
    void (*reader_error)(struct backend *be, char reason[256]);
};

struct backend {
    const struct backend_ops *ops;
};

#endif
