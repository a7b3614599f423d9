/*
 * Control groups of pods: /kubepods for Guaranteed pods, /kubepods/burstable and /kubepods/besteffort, and one group a pod in them,
 * with the pod's limits. The runtime makes the containers' groups inside. Under the systemd driver the runtime's systemd makes all of
 * them from the slice's name.
 */
#include "kubelet/kubelet-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define ROOT "/sys/fs/cgroup"
#define V1_LIMITS 4 /* the first of the list are made here, for their limits */
/* What the runtime makes of a pod in other hierarchies is removed with it. */
static const char *const v1_controllers[] = { "cpu", "memory", "pids", "cpuset", "cpuacct", "blkio", "devices", "freezer", "net_cls", "net_prio", "perf_event", "hugetlb", "systemd", "unified", "misc", "rdma" };

int64_t cgroup_shares(int64_t milli)
{
    return milli <= 0 ? 2 : MIN(MAX(milli * 1024 / 1000, (int64_t)2), (int64_t)262144);
}

int64_t cgroup_quota(int64_t milli)
{
    return milli <= 0 ? 0 : MAX(milli * 100000 / 1000, (int64_t)1000);
}

static bool systemd(const struct kubelet *k)
{
    return str_eq_c(k->cfg->cgroup_driver, "systemd");
}

static const char *class_of(const struct pod *p)
{
    struct str qos = pod_qos_class(p->obj);
    return str_eq_c(qos, "Guaranteed") ? "" : str_eq_c(qos, "Burstable") ? "burstable" : "besteffort";
}

static void root_of(const struct kubelet *k, char dst[256])
{
    struct str r = k->cfg->cgroup_root;
    while (r.len && r.ptr[r.len - 1] == '/') {
        r.len--;
    }
    snprintf(dst, 256, "%s%.*s", r.len && r.ptr[0] != '/' ? "/" : "", STR_ARG(r));
}

void cgroup_pod_parent(const struct pod *p, char dst[PATH_MAX])
{
    char root[256], uid[sizeof(p->uid)];
    const char *class = class_of(p);
    root_of(p->k, root);
    if (systemd(p->k)) {
        size_t n = 0;
        for (const char *q = p->uid; *q; q++) {
            uid[n++] = *q == '-' ? '_' : *q;
        }
        uid[n] = '\0';
        snprintf(dst, PATH_MAX, "kubepods%s%s-pod%s.slice", class[0] ? "-" : "", class, uid);
        return;
    }
    snprintf(dst, PATH_MAX, "%s/kubepods%s%s/pod%s", root, class[0] ? "/" : "", class, p->uid);
}

void cgroup_pods(const struct kubelet *k, char dst[PATH_MAX])
{
    char root[256];
    root_of(k, root);
    snprintf(dst, PATH_MAX, systemd(k) ? "/kubepods.slice%.0s" : "%s/kubepods", root);
}

static bool unified(void)
{
    return access(ROOT "/cgroup.controllers", F_OK) == 0;
}

static bool put(const char *dir, const char *file, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.4000s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static void put_number(const char *dir, const char *file, int64_t v)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)v);
    (void)put(dir, file, text);
}

static void copy_parent(const char *dir, const char *file)
{
    char path[PATH_MAX], text[4096];
    snprintf(path, sizeof(path), "%.4000s/../%s", dir, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    if (n > 1) {
        text[n] = '\0';
        (void)put(dir, file, text);
    }
}

/* Makes 'path' below one hierarchy, part by part: cpusets are empty until they are filled, and cgroup v2 hands controllers down. */
static bool make(const char *hierarchy, const char *path)
{
    char dir[PATH_MAX];
    for (const char *q = path; *q;) {
        const char *next = strchr(q + 1, '/');
        size_t n = next ? (size_t)(next - path) : strlen(path);
        snprintf(dir, sizeof(dir), "%.2000s%.*s", hierarchy, (int)n, path);
        if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
            return false;
        }
        if (strstr(hierarchy, "cpuset")) {
            copy_parent(dir, "cpuset.cpus");
            copy_parent(dir, "cpuset.mems");
        }
        if (unified() && next) {
            (void)put(dir, "cgroup.subtree_control", "+cpu +memory +pids");
        }
        q += n - (size_t)(q - path);
    }
    return true;
}

struct limits {
    int64_t shares, quota, memory;
};

static struct limits limits_of(const struct pod *p)
{
    struct limits l = { 0 };
    int64_t request = 0, cpu = 0, memory = 0, init_cpu = 0, init_memory = 0;
    bool all_cpu = true, all_memory = true;
    for (size_t i = 0; i < p->n_containers; i++) {
        const struct pod_container *c = p->containers[i];
        const struct core_v1_resource_requirements *r = &c->spec->resources;
        int64_t m = resource_milli(r->limits, r->n_limits, "cpu"), b = resource_value(r->limits, r->n_limits, "memory");
        if (c->kind == CONTAINER_EPHEMERAL) {
            continue;
        }
        all_cpu = all_cpu && m > 0;
        all_memory = all_memory && b > 0;
        if (c->kind == CONTAINER_INIT) {
            init_cpu = MAX(init_cpu, m);
            init_memory = MAX(init_memory, b);
            continue;
        }
        request += resource_milli(r->requests, r->n_requests, "cpu");
        cpu += m;
        memory += b;
    }
    l.shares = cgroup_shares(request);
    l.quota = all_cpu ? cgroup_quota(MAX(cpu, init_cpu)) : 0;
    l.memory = all_memory ? MAX(memory, init_memory) : 0;
    /* Resources of the pod as a whole go before the sums (KEP-2837). */
    const struct core_v1_resource_requirements *whole = p->obj->spec.resources;
    if (whole && resource_has(whole->requests, whole->n_requests, "cpu")) {
        l.shares = cgroup_shares(resource_milli(whole->requests, whole->n_requests, "cpu"));
    }
    if (whole && resource_has(whole->limits, whole->n_limits, "cpu")) {
        l.quota = cgroup_quota(resource_milli(whole->limits, whole->n_limits, "cpu"));
    }
    if (whole && resource_has(whole->limits, whole->n_limits, "memory")) {
        l.memory = resource_value(whole->limits, whole->n_limits, "memory");
    }
    return l;
}

void cgroup_make_pod(struct pod *p)
{
    char path[PATH_MAX], dir[PATH_MAX], text[64];
    if (systemd(p->k) || p->cgroup_made || !p->k->cfg->cgroups_per_qos) {
        return;
    }
    struct limits l = limits_of(p);
    cgroup_pod_parent(p, path);
    p->cgroup_made = true;
    if (unified()) {
        snprintf(dir, sizeof(dir), ROOT "%.2000s", path);
        if (!make(ROOT, path)) {
            log_warning("pod %s/%s: its control group cannot be made: %s", p->ns, p->name, strerror(errno));
            return;
        }
        (void)put(dir, "cgroup.subtree_control", "+cpu +memory +pids");
        put_number(dir, "cpu.weight", 1 + (l.shares - 2) * 9999 / 262142);
        if (l.quota) {
            snprintf(text, sizeof(text), "%lld 100000", (long long)l.quota);
            (void)put(dir, "cpu.max", text);
        }
        if (l.memory) {
            put_number(dir, "memory.max", l.memory);
        }
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(v1_controllers); i++) {
        char hierarchy[64];
        snprintf(hierarchy, sizeof(hierarchy), ROOT "/%s", v1_controllers[i]);
        if (i >= V1_LIMITS || access(hierarchy, F_OK) < 0 || !make(hierarchy, path)) {
            continue;
        }
        snprintf(dir, sizeof(dir), "%s%.2000s", hierarchy, path);
        if (strcmp(v1_controllers[i], "cpu") == 0) {
            put_number(dir, "cpu.shares", l.shares);
            if (l.quota) {
                put_number(dir, "cpu.cfs_quota_us", l.quota);
            }
        } else if (strcmp(v1_controllers[i], "memory") == 0 && l.memory) {
            put_number(dir, "memory.limit_in_bytes", l.memory);
        }
    }
}

void cgroup_remove_pod(struct pod *p)
{
    char path[PATH_MAX], dir[PATH_MAX];
    if (systemd(p->k) || !p->obj) {
        return;
    }
    cgroup_pod_parent(p, path);
    p->cgroup_made = false;
    if (unified()) {
        snprintf(dir, sizeof(dir), ROOT "%.2000s", path);
        (void)rmdir(dir); /* one with processes stays */
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(v1_controllers); i++) {
        snprintf(dir, sizeof(dir), ROOT "/%s%.2000s", v1_controllers[i], path);
        (void)rmdir(dir); /* one with processes stays */
    }
}
