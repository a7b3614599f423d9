/*
 * The log of the volatile class: a file in tmpfs to which every volatile write is appended, so that it survives kill -9. It is
 * never fsynced; after a power loss it is gone, and the store notices by that.
 *
 * The file is named by the run of the store it belongs to ("volatile-<run>"), and its header names store and run. It is
 * written anew ('rewrite') when the store has been opened (for the next run, before that run begins), after a flush, and when
 * most of it is superseded. Records end at the first one that is cut short or does not match its checksum.
 *
 *   header: "CORV" 0001 | id[16] | run u64
 *   record: length u32 (of what follows) | crc32 u32 (of what follows it) | kind u8 | revision u64 | db_revision u64 |
 *           expires u64 | key length u32 | key | value                                 (little-endian)
 */
#ifndef STORE_VOLATILE_LOG_H
#define STORE_VOLATILE_LOG_H

#include "base/buf.h"
#include "base/err.h"

enum volatile_kind {
    VOLATILE_PUT = 1,
    VOLATILE_DELETE = 2,
    VOLATILE_SUPERSEDED = 3, /* a durable put of the key, at 'revision', is about to be committed */
    VOLATILE_DELETED = 4,    /* the same, a delete */
    VOLATILE_FORGET = 5,     /* it has been committed: what was held back of the key is void */
};

struct volatile_record {
    enum volatile_kind kind;
    struct str key, value;
    int64_t revision;
    int64_t db_revision; /* of the key's row on disk that it stands before; 0: none */
    int64_t expires;     /* Unix seconds; 0: never */
};

struct volatile_log {
    int fd; /* -1: closed; nothing is kept */
    size_t bytes;
    int old_fd; /* the file in use, while a rewrite is under way; else -1 */
    size_t old_bytes;
    char *path;
    struct buf scratch;
};

void volatile_log_init(struct volatile_log *l);
/* Closes; with 'remove' the file goes too. */
void volatile_log_deinit(struct volatile_log *l, bool remove);

typedef void volatile_record_fn(void *arg, const struct volatile_record *r);
/* Reads the log of a run. False: there is none that belongs to it (power was lost, or it was the first run). */
bool volatile_log_read(const char *dir, const uint8_t id[16], int64_t run, volatile_record_fn *fn, void *arg);
/* Reads the records behind a header, up to the first that is not whole. */
void volatile_log_decode(struct str records, volatile_record_fn *fn, void *arg);
/* Opens an empty log for 'run', beside that of other runs. False with a reason. */
MUST_CHECK bool volatile_log_create(struct volatile_log *l, const char *dir, const uint8_t id[16], int64_t run,
                                    struct err *err);
/* Removes the log of a run. */
void volatile_log_remove(const char *dir, int64_t run);
/* 0 or -errno (tmpfs full): the record is not there then. */
MUST_CHECK int volatile_log_append(struct volatile_log *l, const struct volatile_record *r);
/* Between begin and end, appended records go to a new file that takes the old one's place at the end. Each 0 or -errno; a
 * failed end leaves the old file in use. */
MUST_CHECK int volatile_log_rewrite_begin(struct volatile_log *l);
MUST_CHECK int volatile_log_rewrite_end(struct volatile_log *l, bool ok);

#endif
