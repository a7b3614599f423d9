/*
 * What a folder takes on disk, measured in steps, since containers decide how much is in it. Nothing is followed: no symbolic link,
 * no other file system. A file with several names counts for its share by each of them.
 */
#ifndef KUBELET_DISK_USE_H
#define KUBELET_DISK_USE_H

#include "base/err.h"

struct disk_use {
    uint64_t bytes, inodes; /* blocks, not lengths; the folder itself included */
    bool too_deep;          /* deeper than DISK_USE_DEPTH: what is below has not been counted */
};

/* A stack of open folders: each takes a descriptor and the C library's 32 KB. */
#define DISK_USE_DEPTH 200

struct disk_walk;
/* NULL with -errno in '*ret_errno' when the folder cannot be read. */
struct disk_walk *disk_walk_new(const char *dir, int *ret_errno);
/* Looks at 'n' entries at most. True when all were seen: then '*ret' is what was found. */
bool disk_walk_step(struct disk_walk *w, size_t n, struct disk_use *ret);
/* NULL-safe. */
struct disk_walk *disk_walk_free(struct disk_walk *w);

#endif
