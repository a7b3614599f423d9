/* What the supervisor says of the programs, read back; and asking them how they are. */
#ifndef CLUSTER_STATUS_H
#define CLUSTER_STATUS_H

#include "base/arena.h"
#include "cluster/config.h"
#include "cluster/role.h"

struct status_line {
    const char *name, *node, *state, *health_url, *log_path;
    pid_t pid;
    unsigned restarts;
    uint64_t seconds;
    int last_status;
    uint64_t pss_kb;
    char health[80]; /* filled by status_probe(): "ok", or what is wrong */
};

struct status {
    struct status_line lines[CLUSTER_MAX_ROLES];
    size_t n;
};

/* ERR_NOT_FOUND when the cluster does not run. Texts live in 'a'. */
MUST_CHECK bool status_read(const struct place *place, struct arena *a, struct status *ret, struct err *err);
/* Asks every program with a health URL, inside its node, and fills 'health'; waits at most a second for each. */
void status_probe(const struct place *place, struct status *s);
/* Fills 'pss_kb': the proportional memory (PSS) of each program and of what it started in its own session: the kubelet's server,
 * containerd's shims; containers have sessions of their own. */
void status_measure(struct status *s);
/* Prints the last lines of a log to 'out', indented. */
void status_print_tail(const char *log_path, unsigned lines, FILE *out);

#endif
