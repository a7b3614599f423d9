/*
 * The back end on SQLite: one file in WAL mode, pages of 2 KB, `synchronous=FULL`, so that a commit that returned survives a
 * power loss. Two connections, the sequencer's (reads) and the committer's (writes).
 *
 *   meta (one row)                          who we are, the run, the reserved revision, closed in order?
 *   kv   (id, rev, expires, key, value)     a row per key; UNIQUE key makes the index
 *
 * An update changes its row in place, most often within its page, so a commit writes about a page for each of its updates, and
 * pages that are written again before the WAL is copied into the file are copied once. PRAGMA user_version is the version of
 * this format.
 */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include "store/backend.h"

#define SQLITE_FORMAT_VERSION 1
#define SQLITE_APPLICATION_ID 0x436f7261 /* "Cora" */

/* NULL with a reason for a person. */
MUST_CHECK struct backend *sqlite_open(const char *path, bool no_sync, struct err *err);

#endif
