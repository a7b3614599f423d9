/*
 * Copies what one store holds into another: every key below /registry/ with its value as it is, but not its revision. The source must
 * not change meanwhile (a local one is locked; of etcd's, the API servers are to be stopped, and what changed nevertheless is found).
 *
 *   - It can be broken off at any moment and begun again: what is there already is compared, not written. A mark in the target says
 *     that it is a copy in progress; a target that holds something and has no such mark is refused.
 *   - When all is copied both stores are read again and compared, object by object; then the mark goes.
 *   - Events get an hour more to live; the master leases, which end within seconds, are left behind.
 */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include "base/err.h"

struct loop;
struct store;

struct migrate_report {
    uint64_t copied, present, replaced, removed; /* of the target's keys: present ones were equal */
    uint64_t compared, bytes;
};

typedef void migrate_progress_fn(void *arg, const struct migrate_report *r);

/* Turns the loop, on which both stores were opened, until it is done. 'progress' may be NULL. */
MUST_CHECK bool store_migrate(struct loop *loop, struct store *from, struct store *to, migrate_progress_fn *progress, void *arg,
                              struct migrate_report *ret, struct err *err);

#endif
