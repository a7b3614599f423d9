/* Files as the components need them: bounded reads, atomic writes, folders. All descriptors are close-on-exec. */
#ifndef BASE_FS_H
#define BASE_FS_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Appends the whole file. False with a reason that names the path; ERR_TOO_LARGE past 'max' bytes, ERR_NOT_FOUND if absent. */
MUST_CHECK bool fs_read(const char *path, size_t max, struct buf *b, struct err *err);
/* Replaces the file at once: writes beside it, fsyncs, renames, fsyncs the folder. 'mode' as for open(2). */
MUST_CHECK bool fs_write_atomic(const char *path, struct str content, mode_t mode, struct err *err);
/* Makes the folder and its parents. An existing folder is fine. */
MUST_CHECK bool fs_mkdirs(const char *path, mode_t mode, struct err *err);
/* Removes a tree without following symbolic links and without crossing into another file system. Absent is fine. */
MUST_CHECK bool fs_remove_tree(const char *path, struct err *err);
/* close() for CLEANUP(fs_closep): does nothing for -1. */
void fs_closep(int *fd);

#endif
