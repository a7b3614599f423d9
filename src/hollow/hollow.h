/*
 * Hollow nodes: kubelets without machines. Each registers a Node, renews its Lease, reports its status, watches its pods and
 * tells of them what a kubelet would, over a TLS connection of its own; no container runs. See README.md.
 */
#ifndef HOLLOW_HOLLOW_H
#define HOLLOW_HOLLOW_H

#include "client/kubeconfig.h"

struct hollow_options {
    struct str name;          /* nodes are NAME-FIRST … */
    unsigned first, nodes;
    double rate;              /* nodes that begin in a second */
    unsigned pods;            /* of a node's capacity */
    bool impersonate;         /* each node asks as system:node:NAME, so that the Node authoriser judges it */
    bool more_watches;        /* its own Node and all Services as well, as a kubelet with pods has */
    bool remove;              /* delete the Nodes at the end */
    uint64_t lease_ms;        /* between two renewals */
    uint64_t status_ms;       /* between two heartbeats of the Node's status */
    uint64_t pod_start_ms;    /* what pulling and starting takes, half to one and a half of it */
    uint64_t pod_stop_ms;     /* the same for ending */
    uint64_t job_ms;          /* how long a pod runs that may end (restartPolicy other than Always) */
    uint64_t report_ms;       /* between two lines of figures */
    uint64_t duration_ms;     /* 0: until SIGTERM */
    struct str report;        /* file that gets a JSON object a line; absent: none */
};

/* Runs until SIGTERM, SIGINT or the duration's end. Returns the exit status. */
int hollow_run(const struct client_config *config, const struct hollow_options *options);

#endif
