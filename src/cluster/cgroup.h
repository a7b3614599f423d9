/*
 * Control groups of a cluster, on version 2 hosts and on version 1 (or hybrid) ones (cgroups(7)).
 *
 * A group is named by one relative path ("coracle-test/node-1/system") and made in every hierarchy that has controllers,
 * under the group that the caller itself is in, or above the first systemd unit of that path: a session's scope goes away
 * with the session. The parent's limits thereby also bound the cluster.
 */
#ifndef CLUSTER_CGROUP_H
#define CLUSTER_CGROUP_H

#include <sys/types.h>

#include "base/err.h"

#define CGROUP_MAX_HIERARCHIES 16

struct cgroup_hierarchy {
    char controllers[96]; /* as in the mount options: "memory", "cpu,cpuacct", "name=systemd"; "" on version 2 */
    char mount[256];      /* "/sys/fs/cgroup/memory" */
    char parent[512];     /* below the mount, "" or "/a/b" */
};

struct cgroups {
    bool v2;
    size_t n;
    struct cgroup_hierarchy h[CGROUP_MAX_HIERARCHIES];
};

/* Reads what the machine has. False when there is nothing to make groups in. */
MUST_CHECK bool cgroups_detect(struct cgroups *c, struct err *err);
/* Version 2: are the controllers that pods are limited by there to hand down? */
MUST_CHECK bool cgroups_suffice(const struct cgroups *c, struct err *err);
/* Makes the group and its parents, fills cpuset (version 1), and hands controllers down to it (version 2). */
MUST_CHECK bool cgroups_make(const struct cgroups *c, const char *path, struct err *err);
/* Makes group/leaf, moves the only process of 'group' there, and hands controllers down to the leaf and what will stand beside it:
 * version 2 wants processes in leaves only. */
MUST_CHECK bool cgroups_make_leaf(const struct cgroups *c, const char *group, const char *leaf, pid_t pid, struct err *err);
/* Moves a process in. 0 is the caller. */
MUST_CHECK bool cgroups_enter(const struct cgroups *c, const char *path, pid_t pid, struct err *err);
/* Kills what is left inside, and removes the group and all below it. Absent is fine. */
MUST_CHECK bool cgroups_remove(const struct cgroups *c, const char *path, struct err *err);
/* Mounts the hierarchies afresh on /sys/fs/cgroup; to be called inside new mount and cgroup namespaces. */
MUST_CHECK bool cgroups_mount(const struct cgroups *c, struct err *err);
/* Bytes that the group's memory may take: its own or its parents' limit, or 0 when there is none. */
uint64_t cgroups_memory_limit(const struct cgroups *c, const char *path);

#endif
