/*
 * What processes cost, read from /proc (proc(5)): CPU time from stat, in ticks of 10 ms that the kernel scales to the exact
 * run time; memory as PSS from smaps_rollup, which counts a page that several processes share in equal parts.
 */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <sys/types.h>

#include "base/err.h"

#define USAGE_PROCESSES_MAX 16

struct usage_process {
    char name[32]; /* "apiserver" */
    pid_t pid;
};

/* What bench/count.c counts in a process that was started with it. */
struct usage_counts {
    uint64_t allocations, bytes; /* allocated */
    uint64_t file_bytes, syncs;  /* written to files */
    uint64_t copied;             /* bytes, by memcpy and memmove */
    uint64_t unused[3];
};

struct usage {
    struct usage_counts counts;         /* zeroes without usage_open_counts() */
    double cpu_s[USAGE_PROCESSES_MAX];  /* since the process began */
    double pss_mb[USAGE_PROCESSES_MAX]; /* 10^6 bytes */
};

/* From now on usage_read() also reads the counters in the file at 'path'. */
MUST_CHECK bool usage_open_counts(const char *path, struct err *err);
bool usage_has_counts(void);
/* Reads both for each process. False when one is gone or /proc may not be read. */
MUST_CHECK bool usage_read(const struct usage_process *processes, size_t n, struct usage *ret, struct err *err);
/* Raises each memory figure of 'most' to that of 'u'. */
void usage_most(struct usage *most, const struct usage *u, size_t n);

#endif
