/*
 * What the sequencer and the committer need of a place to keep rows: memory.c and sqlite.c.
 *
 * Two threads use a back end at once: the reader functions are called by the sequencer, the writer functions by the committer.
 * A reader sees whole commits only, and at least those that returned before refresh() was called last.
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

struct backend_row {
    struct str key, value; /* value absent: delete */
    int64_t revision;
    bool replaces;   /* the key has a row */
    int64_t expires; /* Unix seconds; 0: never */
};

struct backend_meta {
    uint8_t id[16];   /* of this store, random */
    int64_t run;      /* counts openings */
    int64_t reserved; /* no revision above it was ever given; clean: this is the newest one given */
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
    uint64_t keys, file_bytes, wal_bytes;
};

/* False stops. */
typedef bool backend_row_fn(void *arg, struct str key, struct str value, int64_t revision);
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
    /* What is read from here on is looked at anew. Absent: it always is. Whoever stops reading calls it too. */
    void (*refresh)(struct backend *be);
    enum backend_result (*expiring)(struct backend *be, backend_expiry_fn *fn, void *arg);

    /* Writer. 'reason' gets a line when it is not OK. */
    enum backend_result (*commit)(struct backend *be, const struct backend_commit *c, char reason[256]);
    /* Any thread. */
    void (*stats)(struct backend *be, bool with_sizes, struct backend_stats *ret);
    /* The reader's last failure, for the log. */
    void (*reader_error)(struct backend *be, char reason[256]);
};

struct backend {
    const struct backend_ops *ops;
};

#endif
