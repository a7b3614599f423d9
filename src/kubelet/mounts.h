/*
 * Mounts below a pod's folder: a tmpfs for what must not touch the disk, and a bind for each subPath. What is mounted is
 * always read from the kernel (proc(5), /proc/PID/mountinfo), never remembered: an earlier kubelet may have made it.
 */
#ifndef KUBELET_MOUNTS_H
#define KUBELET_MOUNTS_H

#include "base/arena.h"
#include "base/err.h"

/* The next mount point of a mountinfo text, unescaped into the arena; false at the end. Lines that are cut short are skipped. */
bool mounts_next(struct arena *a, struct str *rest, struct str *ret_path);

/* Is 'dir' itself a mount point? Unlike a look at st_dev this sees binds within one file system. False with a reason when the
 * kernel's list cannot be read. */
MUST_CHECK bool mounts_has(const char *dir, bool *ret, struct err *err);
/* Mounts a tmpfs on 'dir', which is made, unless one is there. 'size' in bytes, 0: the kernel's default. 'gid' -1: root. */
MUST_CHECK bool mounts_tmpfs(const char *dir, int64_t size, int64_t gid, struct err *err);
/* Binds what 'fd' (O_PATH will do) refers to on 'target', which is made as folder or file; a mount that is there is replaced. */
MUST_CHECK bool mounts_bind_fd(int fd, const char *target, struct err *err);
/*
 * Unmounts everything below 'dir' and looks again. True only when the kernel says that nothing is left: whoever removes the
 * tree then cannot reach through a mount into somebody else's files. An absent 'dir' is fine.
 */
MUST_CHECK bool mounts_clear(const char *dir, struct err *err);

#endif
