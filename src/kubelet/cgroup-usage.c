#include "kubelet/cgroup-usage.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "kubelet/machine-info.h"

static bool read_number(const char *root, const char *controller, const char *group, const char *file, uint64_t *ret)
{
    char path[PATH_MAX], text[64];
    snprintf(path, sizeof(path), "%.200s%s%s%.3000s/%s", root, controller[0] ? "/" : "", controller, group, file);
    return read_small(path, text, sizeof(text)) && str_to_u64(str_c(text), ret);
}

/* "name 123" in lines. */
static uint64_t field(struct str text, const char *name)
{
    struct str line, key, number;
    uint64_t v;
    while (str_split(&text, '\n', &line)) {
        if (str_cut(line, ' ', &key, &number) && str_eq_c(key, name) && str_to_u64(number, &v)) {
            return v;
        }
    }
    return 0;
}

static struct str read_fields(const char *root, const char *controller, const char *group, const char *file, char *dst, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.200s%s%s%.3000s/%s", root, controller[0] ? "/" : "", controller, group, file);
    return read_small(path, dst, size) ? str_c(dst) : STR_EMPTY;
}

static void take_memory(struct cgroup_usage *u, uint64_t inactive_file)
{
    u->has_memory = true;
    u->working_set = u->memory - MIN(u->memory, inactive_file);
}

static void usage_v2(const char *root, const char *group, struct cgroup_usage *u)
{
    char text[16384];
    struct str s = read_fields(root, "", group, "cpu.stat", text, sizeof(text));
    u->has_cpu = s.len > 0;
    u->cpu_ns = field(s, "usage_usec") * 1000;
    s = read_fields(root, "", group, "memory.stat", text, sizeof(text));
    if (read_number(root, "", group, "memory.current", &u->memory)) {
        take_memory(u, field(s, "inactive_file"));
    }
    u->rss = field(s, "anon");
    u->page_faults = field(s, "pgfault");
    u->major_page_faults = field(s, "pgmajfault");
    (void)read_number(root, "", group, "memory.max", &u->limit); /* or "max" */
    u->has_pids = read_number(root, "", group, "pids.current", &u->pids);
}

static void usage_v1(const char *root, const char *group, struct cgroup_usage *u)
{
    char text[16384];
    u->has_cpu = read_number(root, "cpuacct", group, "cpuacct.usage", &u->cpu_ns);
    struct str s = read_fields(root, "memory", group, "memory.stat", text, sizeof(text));
    if (read_number(root, "memory", group, "memory.usage_in_bytes", &u->memory)) {
        take_memory(u, field(s, "total_inactive_file"));
    }
    u->rss = field(s, "total_rss");
    u->page_faults = field(s, "total_pgfault");
    u->major_page_faults = field(s, "total_pgmajfault");
    u->limit = field(s, "hierarchical_memory_limit");
    u->limit = u->limit < (uint64_t)INT64_MAX / 2 ? u->limit : 0; /* none is a number close to 2^63 */
    u->has_pids = read_number(root, "pids", group, "pids.current", &u->pids);
}

static bool is_unified(const char *root)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.200s/cgroup.controllers", root);
    return access(path, F_OK) == 0;
}

void cgroup_usage(const char *root, const char *group, struct cgroup_usage *ret)
{
    *ret = (struct cgroup_usage){ 0 };
    if (is_unified(root)) {
        usage_v2(root, group, ret);
    } else {
        usage_v1(root, group, ret);
    }
}

static int first_of(const char *dir)
{
    char path[PATH_MAX];
    int pid = 0;
    snprintf(path, sizeof(path), "%.4000s/cgroup.procs", dir);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%d", &pid) != 1) {
        pid = 0;
    }
    if (f) {
        fclose(f);
    }
    return pid;
}

int cgroup_first_pid(const char *root, const char *group)
{
    char dir[PATH_MAX], below[PATH_MAX];
    snprintf(dir, sizeof(dir), "%.200s%s%.3000s", root, is_unified(root) ? "" : "/memory", group);
    int pid = first_of(dir);
    DIR *d = pid ? NULL : opendir(dir);
    for (struct dirent *e; d && !pid && (e = readdir(d));) {
        if (e->d_type == DT_DIR && e->d_name[0] != '.') {
            snprintf(below, sizeof(below), "%.3000s/%.255s", dir, e->d_name);
            pid = first_of(below);
        }
    }
    if (d) {
        closedir(d);
    }
    return pid;
}

/* Who may configure a pod's network names its interfaces, and the kernel lets him use quotes and backslashes, which would not end up as
 * they are in JSON or metrics. */
static void make_plain(char *name)
{
    for (char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr(".-_@+", *c);
        *c = plain ? *c : '_';
    }
}

void net_usage_parse(struct str text, struct net_usage *ret)
{
    struct str line, name, rest;
    *ret = (struct net_usage){ 0 };
    while (ret->n < NET_USAGE_MAX && str_split(&text, '\n', &line)) {
        char numbers[512];
        unsigned long long v[12];
        if (!str_cut(line, ':', &name, &rest) || str_eq_c(str_trim(name), "lo") || !str_to_cstr(rest, numbers, sizeof(numbers)) ||
            sscanf(numbers, "%llu %llu %llu %*u %*u %*u %*u %*u %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]) != 6) {
            continue;
        }
        struct net_usage_interface *i = &ret->interfaces[ret->n];
        if (str_to_cstr(str_trim(name), i->name, sizeof(i->name))) {
            make_plain(i->name);
            i->rx_bytes = v[0];
            i->rx_errors = v[2];
            i->tx_bytes = v[3];
            i->tx_errors = v[5];
            ret->n++;
        }
    }
}

bool net_usage_of(int pid, struct net_usage *ret)
{
    char path[64], text[16384];
    snprintf(path, sizeof(path), pid ? "/proc/%d/net/dev" : "/proc/self/net/dev", pid);
    if (!read_small(path, text, sizeof(text))) {
        return false;
    }
    net_usage_parse(str_c(text), ret);
    return true;
}
