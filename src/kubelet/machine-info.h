/* What the kernel tells about the machine. */
#ifndef KUBELET_MACHINE_INFO_H
#define KUBELET_MACHINE_INFO_H

#include "base/str.h"

struct disk_space {
    int64_t total, available, inodes, inodes_free;
};

/* A small file without its last newline. */
bool read_small(const char *path, char *dst, size_t size);
/* A line of /proc/meminfo in bytes. */
int64_t meminfo(const char *name);
/* Bytes the node may use: the machine's, or those of the control group it lives in. */
int64_t machine_memory(void);
int machine_cpus(void);
bool machine_disk(const char *path, struct disk_space *ret);
bool machine_swap_on(void);
void machine_ip(char dst[64]);
void machine_os(char dst[256]);
/* As Go names it: amd64. */
const char *machine_arch(void);

#endif
