/* Files that a cluster or a host is made of: copied into place and handed to the user of the program that reads them.
 */
#ifndef CLUSTER_FILES_H
#define CLUSTER_FILES_H

#include <sys/types.h>

#include "cluster/place.h"

/* The owner of a copy stays who makes it. */
#define FILES_SAME_OWNER ((uid_t)-1)

/* Copies a file into place at once. The same size and time of change are taken for the same file. */
MUST_CHECK bool files_copy(const char *from, const char *to, mode_t mode, uid_t owner, struct err *err);
/* Hands a file or folder over, and leaves it alone when that is done: a change of owner would look like a change of
 * content. */
MUST_CHECK bool files_hand_over(const char *path, uid_t uid, struct err *err);
/* The path of the running executable. */
MUST_CHECK bool files_own_executable(char dst[PATH_MAX], struct err *err);

#endif
