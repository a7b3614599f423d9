/*
 * What a control group uses, in either version of the kernel's interface, and what the network interfaces of a process's namespace
 * have carried. Reads files and knows nothing of pods.
 */
#ifndef KUBELET_CGROUP_USAGE_H
#define KUBELET_CGROUP_USAGE_H

#include "base/str.h"

struct cgroup_usage {
    bool has_cpu, has_memory, has_pids;
    uint64_t cpu_ns;
    uint64_t memory, working_set, rss, page_faults, major_page_faults; /* bytes; working set: without file pages that nobody looked at lately */
    uint64_t limit;                                                    /* of memory; 0: none */
    uint64_t pids;
};
/* 'root' is where control groups are mounted (/sys/fs/cgroup), 'group' is "/kubepods/burstable/podUID", or "" for the root. */
void cgroup_usage(const char *root, const char *group, struct cgroup_usage *ret);
/* A process of the group or of one directly below it; 0: there is none. */
int cgroup_first_pid(const char *root, const char *group);

#define NET_USAGE_MAX 16
struct net_usage {
    struct net_usage_interface {
        char name[16];
        uint64_t rx_bytes, rx_errors, tx_bytes, tx_errors;
    } interfaces[NET_USAGE_MAX]; /* without loopback */
    size_t n;
};
/* The text of /proc/net/dev. */
void net_usage_parse(struct str text, struct net_usage *ret);
/* Of the network namespace of 'pid'; 0: of this process's own. False when it cannot be read. */
bool net_usage_of(int pid, struct net_usage *ret);

#endif
