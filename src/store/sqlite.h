/*
 * The back end on SQLite: one file in WAL mode, pages of 2 KB, `synchronous=FULL`, so that a commit that returned survives a
 * power loss. Two connections, the sequencer's (reads) and the committer's (writes).
 *
 *   meta (one row)                          who we are, the run, the reserved revision, the compaction mark
 *   log  (rev, prev, expires, key, value)   rows by revision: appended, removed by compaction; value NULL is a tombstone
 *   live (key -> rev)                       the row of each key that exists
 *
 * A put appends to 'log' (neighbours share pages) and changes one small entry in 'live': the superseded value is history
 * without having been copied. PRAGMA user_version is the version of this format.
 */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include "store/backend.h"

#define SQLITE_FORMAT_VERSION 1
#define SQLITE_APPLICATION_ID 0x436f7261 /* "Cora" */

/* NULL with a reason for a person. 'history_left' gets the rows that compaction has not gone through. */
MUST_CHECK struct backend *sqlite_open(const char *path, bool no_sync, struct err *err);

#endif
