/*
 * A sandbox is a host of its own made of namespaces: network, mounts, pids, host name, IPC, control groups.
 *
 * It lives as long as its first process, a reaper that does nothing else; when that ends, the kernel ends every process inside and
 * takes mounts, links and rules with it, so that nothing can be left behind. The reaper ends with the process that started it.
 *
 * Inside, the host's files are visible but read-only, except: /var, /tmp and /run are the sandbox's own (kept in its folder, /run
 * in memory), /root and /home are empty, /proc, /sys and the control groups are mounted anew, /etc/hosts, /etc/hostname and
 * /etc/resolv.conf are the sandbox's. Paths listed in the spec are bound in at the same place.
 */
#ifndef CLUSTER_SANDBOX_H
#define CLUSTER_SANDBOX_H

#include <sys/types.h>

#include "cluster/cgroup.h"
#include "cluster/confine.h"

struct sandbox_path {
    const char *path; /* absolute, outside and inside */
    bool writable;
};

struct sandbox_spec {
    const char *hostname;
    const char *dir;        /* the sandbox's own folder: var/, tmp/ and etc/ are made in it */
    const char *hosts;      /* content of /etc/hosts */
    const char *nameserver; /* for /etc/resolv.conf, or NULL: none */
    const struct sandbox_path *paths;
    size_t n_paths;
    const struct cgroups *cgroups;
    const char *cgroup; /* relative path; the sandbox sees it as the root, its processes are in "system" below it */
};

struct sandbox {
    pid_t init;  /* its first process, as the caller sees it */
    int pidfd;   /* of that process; also names all the namespaces */
    int netns;
};

/* Makes the control groups and the namespaces and waits until everything is mounted. The caller reaps 'init'. */
MUST_CHECK bool sandbox_start(const struct sandbox_spec *spec, struct sandbox *ret, struct err *err);
/* Ends the first process and with it everything inside. Safe twice and on a zeroed struct. The first process is gone only when
 * everything else is, and programs that were spawned only when their parent, the caller, has reaped them. */
void sandbox_kill(struct sandbox *s);
/* Waits until it is gone, and lets go of it. sandbox_kill() and reaping what was spawned come first. */
void sandbox_stop(struct sandbox *s);

#define SANDBOX_MAX_PASSED 8

struct sandbox_child {
    const char *program;       /* absolute path inside */
    char *const *argv;         /* argv[0] included, NULL-terminated */
    char *const *env;          /* NULL-terminated */
    int output;                /* becomes stdout and stderr */
    const int *pass_fds;       /* open descriptors that are handed in, as 3, 4, … */
    size_t n_pass_fds;
    const struct cgroups *cgroups;
    const char *cgroup;        /* of the sandbox */
    uid_t uid;                 /* not 0: without privileges, as this user and group, and confined */
    const struct confinement *confinement; /* for 'uid' that is not 0 */
    pid_t parent;              /* not 0: the program is told to end when this one, the caller, ends */
};

/* Starts a program inside, or, when 's' is NULL, right here, beside the caller. It is a child of the caller. Returns its pid, or -1 with a reason. */
MUST_CHECK pid_t sandbox_spawn(const struct sandbox *s, const struct sandbox_child *child, struct err *err);

#endif
