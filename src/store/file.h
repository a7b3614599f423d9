/*
 * What is done with a store's file from outside: backup, restore, check, figures. All but restore work beside the server that has the
 * store open: each reads one instant of it (one read transaction), and the server goes on writing meanwhile.
 *
 * A backup is one file, a store as after a crash: what was held back (Lease renewals, Events, heartbeats) is not in it.
 */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include "base/err.h"

struct store_file_resource {
    char name[256];       /* "pods", "services/specs", "example.com/things" */
    uint64_t keys, bytes; /* bytes of keys and values */
    uint64_t largest;     /* value */
};

struct store_file_info {
    int64_t format, run, reserved, newest; /* newest: the highest revision of a row */
    bool clean;                            /* closed in order */
    bool in_use;                           /* a server has it open */
    uint64_t keys, value_bytes;
    uint64_t page_size, pages, free_pages, file_bytes, wal_bytes;
    struct store_file_resource *resources; /* by name; freed by store_file_info_deinit() */
    size_t n_resources;
};
void store_file_info_deinit(struct store_file_info *info);
/* 'whole': also reads every page and every row, and fails when something is not as it should be. */
MUST_CHECK bool store_file_inspect(const char *path, bool whole, struct store_file_info *ret, struct err *err);

/* Writes a copy to 'to', whole or not at all, and checks it. 'force': an older file there is replaced. */
MUST_CHECK bool store_file_backup(const char *path, const char *to, bool force, struct err *err);
/*
 * Puts a backup in the place of a store that nobody has open. With 'force' a store that is there is replaced; it stays beside it as
 * "<path>.replaced". Revisions go on above those of both, or, where there was no store to read, a thousand million above the backup's:
 * what clients hold from before is answered with 410 then, and they list anew.
 */
MUST_CHECK bool store_file_restore(const char *from, const char *path, bool force, int64_t *ret_revision, struct err *err);

#endif
