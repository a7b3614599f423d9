/*
 * SQLite writes its log in pieces: 24 bytes, a page, 24 bytes, a page. This file system layer of SQLite's gathers what follows
 * on one another, and writes it when the log is synced: before that nobody reads it, because a commit counts, for SQLite's readers as
 * for a restart, when it has been synced.
 *
 * For connections with synchronous=FULL only: others do not sync. Any thread.
 */
#ifndef STORE_WAL_FILE_H
#define STORE_WAL_FILE_H

/* For sqlite3_open_v2(). NULL when there is no memory: then SQLite's own is as good. */
const char *wal_file_layer(void);

#endif
