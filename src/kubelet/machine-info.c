/* What the kernel tells about the machine: for capacity, nodeInfo and the summary of statistics. */
#include "kubelet/machine-info.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include "base/buf.h"
#include "base/fs.h"

bool read_small(const char *path, char *dst, size_t size)
{
    CLEANUP(fs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, dst, size - 1) : -1;
    dst[n > 0 ? n : 0] = '\0';
    while (n > 0 && (dst[n - 1] == '\n' || dst[n - 1] == ' ')) {
        dst[--n] = '\0';
    }
    return n > 0;
}

int64_t meminfo(const char *name)
{
    char text[8192], *at;
    if (!read_small("/proc/meminfo", text, sizeof(text)) || !(at = strstr(text, name))) {
        return 0;
    }
    long long kb = 0;
    return sscanf(at + strlen(name), ": %lld", &kb) == 1 ? kb * 1024 : 0;
}

/* A node may itself live in a control group (a sandbox, a container): its limit is then its size. */
int64_t machine_memory(void)
{
    static const char *const files[] = { "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes" };
    int64_t total = meminfo("MemTotal"), limit;
    char text[64];
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (read_small(files[i], text, sizeof(text)) && str_to_i64(str_c(text), &limit) && limit > 0 && limit < total) {
            total = limit;
        }
    }
    return total;
}

int machine_cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;
    return n > 0 ? n : 1;
}

bool machine_disk(const char *path, struct disk_space *ret)
{
    struct statvfs v;
    if (statvfs(path, &v) < 0) {
        return false;
    }
    *ret = (struct disk_space){ .total = (int64_t)(v.f_blocks * v.f_frsize), .available = (int64_t)(v.f_bavail * v.f_frsize),
                                .inodes = (int64_t)v.f_files, .inodes_free = (int64_t)v.f_favail };
    return true;
}

bool machine_swap_on(void)
{
    char text[4096];
    const char *line;
    return read_small("/proc/swaps", text, sizeof(text)) && (line = strchr(text, '\n')) && line[1];
}

/* The address of the interface that holds the default route, else the first that is not loopback, else loopback. */
void machine_ip(char dst[64])
{
    char routes[16384], dev[32] = "", best[64] = "";
    struct ifaddrs *list = NULL;
    snprintf(dst, 64, "127.0.0.1");
    if (read_small("/proc/net/route", routes, sizeof(routes))) {
        struct str rest = str_c(routes), line;
        while (str_split(&rest, '\n', &line)) {
            char name[32];
            unsigned to;
            if (sscanf(line.ptr, "%31s %8x", name, &to) == 2 && to == 0 && !dev[0]) {
                snprintf(dev, sizeof(dev), "%s", name);
            }
        }
    }
    if (getifaddrs(&list) < 0) {
        return;
    }
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        char text[64];
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK)) {
            continue;
        }
        struct sockaddr_in in;
        memcpy(&in, i->ifa_addr, sizeof(in));
        inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
        if (!best[0] || strcmp(i->ifa_name, dev) == 0) {
            snprintf(best, sizeof(best), "%s", text);
        }
    }
    freeifaddrs(list);
    if (best[0]) {
        snprintf(dst, 64, "%s", best);
    }
}

void machine_os(char dst[256])
{
    char text[8192], *at;
    snprintf(dst, 256, "Linux");
    if (read_small("/etc/os-release", text, sizeof(text)) && (at = strstr(text, "PRETTY_NAME="))) {
        struct str v = str_c(at + 12), line;
        str_split(&v, '\n', &line);
        if (line.len >= 2 && line.ptr[0] == '"') {
            line = str_sub(line, 1, line.len - 2);
        }
        snprintf(dst, 256, "%.*s", STR_ARG(line));
    }
}

const char *machine_arch(void)
{
#if defined(__x86_64__)
    return "amd64";
#elif defined(__aarch64__)
    return "arm64";
#elif defined(__arm__)
    return "arm";
#elif defined(__riscv)
    return "riscv64";
#else
    return "unknown";
#endif
}
