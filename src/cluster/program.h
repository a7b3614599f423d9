/*
 * A running program of the cluster: started in its node, started again when it ends, with a back-off that grows while it keeps
 * ending early and is forgotten once it ran for a while. Its output goes straight into a file, which is kept short.
 */
#ifndef CLUSTER_PROGRAM_H
#define CLUSTER_PROGRAM_H

#include "cluster/role.h"
#include "cluster/sandbox.h"
#include "net/loop.h"

/* A log longer than this is moved aside (one old file is kept): bounded disk use for a program that repeats itself. */
#define PROGRAM_LOG_MAX (2 << 20)

enum program_state {
    PROGRAM_STOPPED, /* not wanted */
    PROGRAM_RUNNING,
    PROGRAM_WAITING, /* for its back-off */
    PROGRAM_DONE,    /* did its work once */
};

struct program {
    const struct role *role; /* borrowed */
    struct sandbox *sandbox; /* borrowed: its node's; NULL: it runs beside the supervisor, on a host that stays */
    const struct cgroups *cgroups;
    char cgroup[CLUSTER_CGROUP_SIZE];
    char log_path[PATH_MAX];
    int passed_fds[2]; /* borrowed: handed in as 3, 4 */
    size_t n_passed_fds;

    enum program_state state;
    struct loop *loop;
    struct loop_child child;
    struct loop_timer timer;
    pid_t pid;
    unsigned restarts;
    unsigned failures; /* early ends in a row, for the back-off */
    uint64_t started_ms;
    int last_status; /* as from waitpid(2), valid when restarts > 0 */
};

void program_init(struct program *c, struct loop *l, const struct role *role);
/* Starts it; when it cannot be started it is tried again later. */
void program_start(struct program *c);
/* Sends SIGTERM (or SIGKILL when 'now'), and does not start it again. The child is still waited for. */
void program_stop(struct program *c, bool now);
/* Reaps the child, which has been killed with its node, and forgets it. Does not start it again. */
void program_forget(struct program *c);
/* Moves a long log aside. */
void program_trim_log(struct program *c);
/* Its line of the control socket's answer to "status" (control.h). */
void program_write_status(const struct program *c, const char *node, struct buf *b);

#endif
