/* /stats/summary: the kubelet's Summary API. */
#include "kubelet/stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "kubelet/machine-info.h"
#include "kubelet/volume.h"

#define CGROUPS "/sys/fs/cgroup"

/* ---- what the other files use too ---- */

uint64_t stats_node_cpu_ns(void)
{
    char text[4096];
    unsigned long long user, nice, sys, idle, io, irq, soft, steal;
    if (!read_small("/proc/stat", text, sizeof(text)) ||
        sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &sys, &idle, &io, &irq, &soft, &steal) != 8) {
        return 0;
    }
    long hz = sysconf(_SC_CLK_TCK);
    return (user + nice + sys + irq + soft + steal) * (1000000000ull / (uint64_t)(hz > 0 ? hz : 100));
}

struct pod_container *stats_container(struct kubelet *k, struct str id)
{
    struct pod *p;
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        for (size_t i = 0; i < p->n_containers; i++) {
            if (p->containers[i]->has_run && str_eq_c(id, p->containers[i]->run.id)) {
                return p->containers[i];
            }
        }
    }
    return NULL;
}

const struct cri_v1_container_stats *stats_of(const struct cri_v1_list_container_stats_response *list, const struct pod_container *c)
{
    for (size_t i = 0; i < list->n_stats; i++) {
        if (list->stats[i].attributes && str_eq_c(list->stats[i].attributes->id, c->run.id)) {
            return &list->stats[i];
        }
    }
    return NULL;
}

bool stats_pod_is_shown(struct pod *p)
{
    return p->obj && !p->mirror_only && pod_ready_sandbox(p);
}

/* systemd keeps a-b.slice below a.slice. */
static void pod_group(const struct pod *p, char dst[PATH_MAX])
{
    char name[PATH_MAX];
    size_t n = 0;
    cgroup_pod_parent(p, name);
    if (name[0] == '/') {
        snprintf(dst, PATH_MAX, "%.3000s", name);
        return;
    }
    for (const char *dash = strchr(name, '-'); dash && n < 2000; dash = strchr(dash + 1, '-')) {
        n += (size_t)snprintf(dst + n, PATH_MAX - n, "/%.*s.slice", (int)(dash - name), name);
    }
    snprintf(dst + n, PATH_MAX - n, "/%.300s", name);
}

bool stats_pod_usage(struct pod *p, struct cgroup_usage *ret)
{
    char group[PATH_MAX];
    *ret = (struct cgroup_usage){ 0 };
    if (!p->k->cfg->cgroups_per_qos) {
        return false;
    }
    pod_group(p, group);
    cgroup_usage(CGROUPS, group, ret);
    return ret->has_cpu || ret->has_memory;
}

bool stats_pod_network(struct pod *p, struct net_usage *ret)
{
    char group[PATH_MAX];
    if (!p->k->cfg->cgroups_per_qos || p->obj->spec.host_network) {
        return false;
    }
    pod_group(p, group);
    int pid = cgroup_first_pid(CGROUPS, group);
    return pid > 0 && net_usage_of(pid, ret);
}

struct asked {
    struct core_request *r;
    stats_fn *fn;
};

static void on_answer(void *arg, const void *response, const struct err *err)
{
    struct asked a = *(struct asked *)arg; /* in the request's arena */
    a.r->call = NULL;
    if (err) {
        core_request_error(a.r, 500, "%s", err->msg);
    } else {
        a.fn(a.r, response);
    }
}

void stats_ask(struct core_request *r, stats_fn *fn)
{
    const struct cri_v1_list_container_stats_request request = { 0 };
    struct asked *a = arena_new(&r->a, struct asked);
    if (!a) {
        core_request_error(r, 500, "out of memory");
        return;
    }
    *a = (struct asked){ .r = r, .fn = fn };
    r->call = runtime_call(r->k->rt, &cri_v1_runtime_service_list_container_stats_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_answer, a);
}

/* ---- how fast CPU is used ---- */

/* The last two looks at somebody's CPU: a rate is their difference. */
struct sample {
    uint64_t at_ns, cpu_ns, nano_cores;
    bool has_rate;
    unsigned round;
};
struct stats_samples {
    struct map by_id;
    unsigned round;
};
/* Two looks closer than this make no rate: who asks twice gets the one before. */
#define RATE_MIN_NS 1000000000ull

static struct stats_samples *samples_of(struct core_request *r)
{
    if (!r->k->samples) {
        r->k->samples = calloc(1, sizeof(*r->k->samples));
        if (!r->k->samples) {
            abort();
        }
        map_init(&r->k->samples->by_id);
    }
    return r->k->samples;
}

void stats_stop(struct kubelet *k)
{
    struct str key;
    void *value;
    if (k->samples) {
        for (size_t pos = 0; map_next(&k->samples->by_id, &pos, &key, &value);) {
            free(value);
        }
        map_deinit(&k->samples->by_id);
        free(k->samples);
        k->samples = NULL;
    }
}

static const struct sample *rate_of(struct stats_samples *all, const char *id, uint64_t cpu_ns)
{
    struct sample *s = map_get(&all->by_id, str_c(id));
    uint64_t now = clock_mono_ns();
    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s) {
            abort();
        }
        *s = (struct sample){ .at_ns = now, .cpu_ns = cpu_ns };
        map_put(&all->by_id, str_c(id), s);
    } else if (now - s->at_ns >= RATE_MIN_NS) {
        s->has_rate = cpu_ns >= s->cpu_ns;
        s->nano_cores = s->has_rate ? (uint64_t)((double)(cpu_ns - s->cpu_ns) * 1e9 / (double)(now - s->at_ns)) : 0;
        s->at_ns = now;
        s->cpu_ns = cpu_ns;
    }
    s->round = all->round;
    return s;
}

static void forget_old(struct stats_samples *all)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&all->by_id, &pos, &key, &value);) {
        if (((struct sample *)value)->round != all->round) {
            free(map_remove(&all->by_id, key));
        }
    }
    all->round++;
}

/* ---- the parts of the answer ---- */

struct summary {
    struct core_request *r;
    struct kubelet *k;
    const struct cri_v1_list_container_stats_response *list;
    struct stats_samples *samples;
    struct buf b;
    char now[CLOCK_RFC3339_SIZE];
};

#define U(v) ((unsigned long long)(v))

static void write_cpu(struct summary *s, const char *id, uint64_t cpu_ns)
{
    const struct sample *rate = rate_of(s->samples, id, cpu_ns);
    buf_printf(&s->b, "\"cpu\":{\"time\":\"%s\",", s->now);
    if (rate->has_rate) {
        buf_printf(&s->b, "\"usageNanoCores\":%llu,", U(rate->nano_cores));
    }
    buf_printf(&s->b, "\"usageCoreNanoSeconds\":%llu}", U(cpu_ns));
}

static void write_memory(struct summary *s, const struct cgroup_usage *u, bool has_available, uint64_t available)
{
    buf_printf(&s->b, ",\"memory\":{\"time\":\"%s\",", s->now);
    if (has_available) {
        buf_printf(&s->b, "\"availableBytes\":%llu,", U(available));
    }
    buf_printf(&s->b, "\"usageBytes\":%llu,\"workingSetBytes\":%llu,\"rssBytes\":%llu,\"pageFaults\":%llu,\"majorPageFaults\":%llu}", U(u->memory),
               U(u->working_set), U(u->rss), U(u->page_faults), U(u->major_page_faults));
}

static void write_group(struct summary *s, const char *id, const struct cgroup_usage *u)
{
    write_cpu(s, id, u->cpu_ns);
    write_memory(s, u, u->limit > 0, u->limit - MIN(u->limit, u->working_set));
}

/* The first one is the pod's, or the node's way out; then all of them. */
static void write_network(struct summary *s, const struct net_usage *n)
{
    for (size_t i = 0; i < n->n; i++) {
        const struct net_usage_interface *x = &n->interfaces[i];
        if (i == 0) {
            buf_printf(&s->b, ",\"network\":{\"time\":\"%s\",\"name\":\"%s\",\"rxBytes\":%llu,\"rxErrors\":%llu,\"txBytes\":%llu,\"txErrors\":%llu,\"interfaces\":[",
                       s->now, x->name, U(x->rx_bytes), U(x->rx_errors), U(x->tx_bytes), U(x->tx_errors));
        }
        buf_printf(&s->b, "%s{\"name\":\"%s\",\"rxBytes\":%llu,\"rxErrors\":%llu,\"txBytes\":%llu,\"txErrors\":%llu}%s", i ? "," : "", x->name, U(x->rx_bytes),
                   U(x->rx_errors), U(x->tx_bytes), U(x->tx_errors), i + 1 == n->n ? "]}" : "");
    }
}

static void write_fs_members(struct summary *s, const struct disk_space *d, uint64_t used, uint64_t inodes_used)
{
    buf_printf(&s->b, "\"time\":\"%s\",\"availableBytes\":%lld,\"capacityBytes\":%lld,\"usedBytes\":%llu,\"inodesFree\":%lld,\"inodes\":%lld,\"inodesUsed\":%llu", s->now,
               (long long)d->available, (long long)d->total, U(used), (long long)d->inodes_free, (long long)d->inodes, U(inodes_used));
}

static void write_fs(struct summary *s, const char *name, const struct disk_space *d, uint64_t used, uint64_t inodes_used)
{
    buf_printf(&s->b, "\"%s\":{", name);
    write_fs_members(s, d, used, inodes_used);
    buf_append_char(&s->b, '}');
}

/* Files of a folder without those below it. */
static void folder_use(const char *dir, uint64_t *bytes, uint64_t *inodes)
{
    DIR *d = opendir(dir);
    struct stat st;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
            *bytes += (uint64_t)st.st_blocks * 512;
            ++*inodes;
        }
    }
    if (d) {
        closedir(d);
    }
}

struct ephemeral {
    uint64_t bytes, inodes;
};

static void write_container(struct summary *s, struct pod_container *c, const struct cri_v1_container_stats *x, struct ephemeral *sum)
{
    char start[CLOCK_RFC3339_SIZE], dir[PATH_MAX], path[PATH_MAX], mount[PATH_MAX] = "";
    struct disk_space disk = { 0 };
    clock_format_rfc3339(c->run.started_ns / 1000000000, 0, 0, start);
    buf_printf(&s->b, "{\"name\":\"%s\",\"startTime\":\"%s\",", c->name, start);
    const struct cri_v1_memory_usage *m = x->memory;
    struct cgroup_usage u = { .cpu_ns = x->cpu ? stats_value(x->cpu->usage_core_nano_seconds) : 0 };
    if (m) {
        u.working_set = stats_value(m->working_set_bytes);
        u.memory = m->usage_bytes ? m->usage_bytes->value : u.working_set; /* older runtimes know the working set alone */
        u.rss = stats_value(m->rss_bytes);
        u.page_faults = stats_value(m->page_faults);
        u.major_page_faults = stats_value(m->major_page_faults);
    }
    write_cpu(s, c->run.id, u.cpu_ns);
    write_memory(s, &u, m && m->available_bytes && m->available_bytes->value, m ? stats_value(m->available_bytes) : 0);
    if (x->writable_layer) {
        const struct cri_v1_filesystem_usage *w = x->writable_layer;
        if (w->fs_id && str_to_cstr(w->fs_id->mountpoint, mount, sizeof(mount)) && !machine_disk(mount, &disk)) {
            (void)machine_disk(s->k->root, &disk);
        }
        buf_append_char(&s->b, ',');
        write_fs(s, "rootfs", &disk, stats_value(w->used_bytes), stats_value(w->inodes_used));
        sum->bytes += stats_value(w->used_bytes);
        sum->inodes += stats_value(w->inodes_used);
    }
    uint64_t bytes = 0, inodes = 0;
    pod_log_dir(c->pod, dir);
    snprintf(path, sizeof(path), "%.3000s/%s", dir, c->name);
    folder_use(path, &bytes, &inodes);
    sum->bytes += bytes;
    sum->inodes += inodes;
    if (machine_disk(s->k->logs, &disk)) {
        buf_append_char(&s->b, ',');
        write_fs(s, "logs", &disk, bytes, inodes);
    }
    buf_append_char(&s->b, '}');
}

static void write_volumes(struct summary *s, struct pod *p, struct ephemeral *sum)
{
    bool first = true;
    for (size_t i = 0; i < p->obj->spec.n_volumes; i++) {
        const struct core_v1_volume *v = &p->obj->spec.volumes[i];
        const struct core_v1_empty_dir_volume_source *e = v->volume_source.empty_dir;
        struct volume_use use;
        struct volume vol;
        struct disk_space disk;
        struct err err = { 0 };
        if (v->volume_source.host_path || !volume_use_of(p, v->name, &use) || !volume_find(p, v->name, &vol, &err) || !machine_disk(vol.dir, &disk)) {
            continue;
        }
        buf_append_c(&s->b, first ? ",\"volume\":[{" : ",{");
        first = false;
        write_fs_members(s, &disk, use.bytes, use.inodes);
        buf_printf(&s->b, ",\"name\":\"%.*s\"}", STR_ARG(v->name));
        if (!e || !e->medium.len) {
            sum->bytes += use.bytes;
            sum->inodes += use.inodes;
        }
    }
    buf_append_c(&s->b, first ? "" : "]");
}

static void write_pod(struct summary *s, struct pod *p)
{
    char start[CLOCK_RFC3339_SIZE];
    struct cgroup_usage u;
    struct net_usage n;
    struct disk_space disk = { 0 };
    struct ephemeral sum = { 0 };
    bool first = true;
    clock_format_rfc3339(p->start_time.sec, 0, 0, start);
    buf_printf(&s->b, "{\"podRef\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\"},\"startTime\":\"%s\",\"containers\":[", p->name, p->ns, p->uid, start);
    struct cgroup_usage of_containers = { 0 };
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        const struct cri_v1_container_stats *x = container_is_running(c) ? stats_of(s->list, c) : NULL;
        if (x) {
            buf_append_c(&s->b, first ? "" : ",");
            first = false;
            write_container(s, c, x, &sum);
            of_containers.cpu_ns += x->cpu ? stats_value(x->cpu->usage_core_nano_seconds) : 0;
            of_containers.working_set += x->memory ? stats_value(x->memory->working_set_bytes) : 0;
            of_containers.memory += x->memory ? stats_value(x->memory->usage_bytes ? x->memory->usage_bytes : x->memory->working_set_bytes) : 0;
            of_containers.rss += x->memory ? stats_value(x->memory->rss_bytes) : 0;
        }
    }
    buf_append_c(&s->b, "],");
    bool own = stats_pod_usage(p, &u);
    write_group(s, p->uid, own ? &u : &of_containers);
    if (stats_pod_network(p, &n)) {
        write_network(s, &n);
    }
    write_volumes(s, p, &sum);
    if (machine_disk(s->k->root, &disk)) {
        buf_append_char(&s->b, ',');
        write_fs(s, "ephemeral-storage", &disk, sum.bytes, sum.inodes);
    }
    if (own && u.has_pids) {
        buf_printf(&s->b, ",\"process_stats\":{\"process_count\":%llu}", U(u.pids));
    }
    buf_append_char(&s->b, '}');
}

/* The kubelet itself, by the kernel's account of its process; and all pods together. */
static void write_system_containers(struct summary *s, const char *start)
{
    struct rusage self, children;
    struct cgroup_usage u = { 0 };
    char text[128], group[PATH_MAX];
    unsigned long long pages = 0, resident = 0;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    u.cpu_ns = (uint64_t)(self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000000 +
               (uint64_t)(self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000;
    if (read_small("/proc/self/statm", text, sizeof(text)) && sscanf(text, "%llu %llu", &pages, &resident) == 2) {
        u.memory = u.working_set = u.rss = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    u.page_faults = (uint64_t)self.ru_minflt;
    u.major_page_faults = (uint64_t)self.ru_majflt;
    buf_printf(&s->b, "\"systemContainers\":[{\"name\":\"kubelet\",\"startTime\":\"%s\",", start);
    write_group(s, "/kubelet", &u);
    buf_append_char(&s->b, '}');
    cgroup_pods(s->k, group);
    cgroup_usage(CGROUPS, group, &u);
    if (s->k->cfg->cgroups_per_qos && u.has_memory) {
        buf_printf(&s->b, ",{\"name\":\"pods\",\"startTime\":\"%s\",", start);
        write_group(s, "/pods", &u);
        buf_append_char(&s->b, '}');
    }
    buf_append_c(&s->b, "],");
}

static void write_node(struct summary *s)
{
    struct cgroup_usage u;
    struct net_usage n;
    struct disk_space disk = { 0 };
    char start[CLOCK_RFC3339_SIZE], text[128];
    double up = 0;
    long long threads = 0, most = 0;
    int64_t total = machine_memory(), available = meminfo("MemAvailable");
    if (read_small("/proc/uptime", text, sizeof(text))) {
        (void)sscanf(text, "%lf", &up);
    }
    clock_format_rfc3339(clock_real_s() - (int64_t)up, 0, 0, start);
    buf_printf(&s->b, "\"node\":{\"nodeName\":\"%s\",", s->k->node_name);
    write_system_containers(s, start);
    buf_printf(&s->b, "\"startTime\":\"%s\",", start);
    cgroup_usage(CGROUPS, "", &u);
    /* The machine's own account: a node that lives in a control group sees its limit as its size. */
    u.working_set = (uint64_t)MAX(total - available, (int64_t)0);
    u.memory = (uint64_t)MAX(total - meminfo("MemFree"), (int64_t)u.working_set);
    u.rss = u.rss ? u.rss : (uint64_t)meminfo("AnonPages");
    write_cpu(s, "/", stats_node_cpu_ns());
    write_memory(s, &u, true, (uint64_t)available);
    if (net_usage_of(0, &n)) {
        write_network(s, &n);
    }
    if (machine_disk(s->k->root, &disk)) {
        buf_append_char(&s->b, ',');
        write_fs(s, "fs", &disk, (uint64_t)(disk.total - disk.available), (uint64_t)(disk.inodes - disk.inodes_free));
    }
    const struct cri_v1_filesystem_usage *w = NULL;
    for (size_t i = 0; i < s->list->n_stats && !w; i++) {
        w = s->list->stats[i].writable_layer;
    }
    char mount[PATH_MAX] = "";
    if (w && w->fs_id && str_to_cstr(w->fs_id->mountpoint, mount, sizeof(mount)) && machine_disk(mount, &disk)) {
        buf_append_c(&s->b, ",\"runtime\":{");
        write_fs(s, "imageFs", &disk, (uint64_t)(disk.total - disk.available), (uint64_t)(disk.inodes - disk.inodes_free));
        buf_append_char(&s->b, '}');
    }
    if (read_small("/proc/loadavg", text, sizeof(text)) && sscanf(text, "%*f %*f %*f %*d/%lld", &threads) == 1 &&
        read_small("/proc/sys/kernel/pid_max", text, sizeof(text)) && sscanf(text, "%lld", &most) == 1) {
        buf_printf(&s->b, ",\"rlimit\":{\"time\":\"%s\",\"maxpid\":%lld,\"curproc\":%lld}", s->now, most, threads);
    }
    buf_append_char(&s->b, '}');
}

static void write_summary(struct core_request *r, const struct cri_v1_list_container_stats_response *list)
{
    struct summary s = { .r = r, .k = r->k, .list = list, .samples = samples_of(r) };
    struct pod *p;
    bool first = true;
    clock_format_rfc3339(clock_real_s(), 0, 0, s.now);
    buf_init(&s.b, KUBELET_MAX_WORK_ARENA);
    buf_append_char(&s.b, '{');
    write_node(&s);
    buf_append_c(&s.b, ",\"pods\":[");
    for (size_t pos = 0; (p = pods_next(r->k, &pos));) {
        if (stats_pod_is_shown(p)) {
            buf_append_c(&s.b, first ? "" : ",");
            first = false;
            write_pod(&s, p);
        }
    }
    buf_append_c(&s.b, "]}");
    forget_old(s.samples);
    if (buf_failed(&s.b)) {
        core_request_error(r, 500, "the summary is too large");
    } else {
        core_request_reply(r, 200, "application/json", buf_str(&s.b));
    }
    buf_deinit(&s.b);
}

void stats_summary(struct core_request *r)
{
    stats_ask(r, write_summary);
}
