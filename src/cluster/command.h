/* The commands of coracle: one file each (cmd-up.c, …), each exporting one of these; listed in coracle.c. */
#ifndef CLUSTER_COMMAND_H
#define CLUSTER_COMMAND_H

#include "base/macros.h"

struct cluster_command {
    const char *name;
    const char *about;                   /* one line for --help; NULL: not listed */
    int (*run)(int argc, char **argv);   /* argv[0] is the command's name; returns the exit status */
};

extern const struct cluster_command cluster_cmd_up, cluster_cmd_down, cluster_cmd_status, cluster_cmd_logs,
    cluster_cmd_kubeconfig, cluster_cmd_enter,
    cluster_cmd_forward, cluster_cmd_paths, cluster_cmd_server, cluster_cmd_host, cluster_cmd_join, cluster_cmd_token, cluster_cmd_leave, cluster_cmd_store;

#endif
