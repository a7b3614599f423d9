/* What pods and node use: /stats/summary (the kubelet's Summary API) and /metrics/resource, from the runtime's figures and the kernel's. */
#include "kubelet/server-core.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "kubelet/machine-info.h"

static uint64_t node_cpu_ns(void)
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

static void now_text(char dst[CLOCK_RFC3339_SIZE])
{
    clock_format_rfc3339(clock_real_s(), 0, 0, dst);
}

static uint64_t value(const struct cri_v1_uint64_value *v)
{
    return v ? v->value : 0;
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

static const struct cri_v1_container_stats *stats_of(const struct cri_v1_list_container_stats_response *list, const struct pod_container *c)
{
    for (size_t i = 0; i < list->n_stats; i++) {
        if (list->stats[i].attributes && str_eq_c(list->stats[i].attributes->id, c->run.id)) {
            return &list->stats[i];
        }
    }
    return NULL;
}

static void cpu_memory(struct buf *b, const char *time, uint64_t cpu_ns, uint64_t nano_cores, bool has_rate, uint64_t working_set)
{
    buf_printf(b, "\"cpu\":{\"time\":\"%s\",", time);
    if (has_rate) {
        buf_printf(b, "\"usageNanoCores\":%llu,", (unsigned long long)nano_cores);
    }
    buf_printf(b, "\"usageCoreNanoSeconds\":%llu},\"memory\":{\"time\":\"%s\",\"workingSetBytes\":%llu}", (unsigned long long)cpu_ns, time,
               (unsigned long long)working_set);
}

static void pod_stats(struct pod *p, const struct cri_v1_list_container_stats_response *list, const char *now, bool *first, struct buf *b)
{
    uint64_t cpu = 0, rate = 0, memory = 0;
    char start[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(p->start_time.sec, 0, 0, start);
    buf_printf(b, "%s{\"podRef\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\"},\"startTime\":\"%s\",\"containers\":[", *first ? "" : ",", p->name, p->ns,
               p->uid, start);
    *first = false;
    bool first_c = true, rated = false;
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        const struct cri_v1_container_stats *s = container_is_running(c) ? stats_of(list, c) : NULL;
        if (!s) {
            continue;
        }
        uint64_t used = s->cpu ? value(s->cpu->usage_core_nano_seconds) : 0, nano = s->cpu ? value(s->cpu->usage_nano_cores) : 0;
        uint64_t ws = s->memory ? value(s->memory->working_set_bytes) : 0;
        bool has = s->cpu && s->cpu->usage_nano_cores;
        clock_format_rfc3339(c->run.started_ns / 1000000000, 0, 0, start);
        buf_printf(b, "%s{\"name\":\"%s\",\"startTime\":\"%s\",", first_c ? "" : ",", c->name, start);
        cpu_memory(b, now, used, nano, has, ws);
        if (s->writable_layer) {
            buf_printf(b, ",\"rootfs\":{\"time\":\"%s\",\"usedBytes\":%llu,\"inodesUsed\":%llu}", now,
                       (unsigned long long)value(s->writable_layer->used_bytes), (unsigned long long)value(s->writable_layer->inodes_used));
        }
        buf_append_char(b, '}');
        first_c = false;
        rated = rated || has;
        cpu += used;
        rate += nano;
        memory += ws;
    }
    buf_append_c(b, "],");
    cpu_memory(b, now, cpu, rate, rated, memory);
    buf_append_char(b, '}');
}

static void on_summary(void *arg, const void *response, const struct err *err)
{
    struct core_request *r = arg;
    const struct cri_v1_list_container_stats_response *list = response;
    struct kubelet *k = r->k;
    struct disk_space disk = { 0 };
    char now[CLOCK_RFC3339_SIZE];
    struct pod *p;
    struct buf b;
    r->call = NULL;
    if (err) {
        core_request_error(r, 500, "%s", err->msg);
        return;
    }
    now_text(now);
    (void)machine_disk(k->root, &disk);
    int64_t total = machine_memory(), available = meminfo("MemAvailable");
    buf_init(&b, KUBELET_MAX_WORK_ARENA);
    buf_printf(&b, "{\"node\":{\"nodeName\":\"%s\",", k->node_name);
    cpu_memory(&b, now, node_cpu_ns(), 0, false, (uint64_t)MAX(total - available, (int64_t)0));
    b.len--; /* opens the memory object again, for what only the node has */
    buf_printf(&b, ",\"availableBytes\":%lld},\"fs\":{\"time\":\"%s\",\"availableBytes\":%lld,\"capacityBytes\":%lld,\"usedBytes\":%lld,\"inodesFree\":%lld,\"inodes\":%lld}},\"pods\":[",
               (long long)available, now, (long long)disk.available, (long long)disk.total, (long long)(disk.total - disk.available),
               (long long)disk.inodes_free, (long long)disk.inodes);
    bool first = true;
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        if (p->obj && !p->mirror_only && pod_ready_sandbox(p)) {
            pod_stats(p, list, now, &first, &b);
        }
    }
    buf_append_c(&b, "]}");
    core_request_reply(r, 200, "application/json", buf_str(&b));
    buf_deinit(&b);
}

static void ask(struct core_request *r, runtime_done_fn *done)
{
    const struct cri_v1_list_container_stats_request request = { 0 };
    r->call = runtime_call(r->k->rt, &cri_v1_runtime_service_list_container_stats_rpc, &request, KUBELET_CRI_TIMEOUT_MS, done, r);
}

void stats_summary(struct core_request *r)
{
    ask(r, on_summary);
}

static void on_resource(void *arg, const void *response, const struct err *err)
{
    struct core_request *r = arg;
    const struct cri_v1_list_container_stats_response *list = response;
    struct buf b;
    r->call = NULL;
    if (err) {
        core_request_error(r, 500, "%s", err->msg);
        return;
    }
    buf_init(&b, KUBELET_MAX_WORK_ARENA);
    buf_append_c(&b, "# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds\n"
                     "# TYPE container_cpu_usage_seconds_total counter\n");
    for (int pass = 0; pass < 2; pass++) {
        if (pass) {
            buf_append_c(&b, "# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes\n"
                             "# TYPE container_memory_working_set_bytes gauge\n");
        }
        for (size_t i = 0; i < list->n_stats; i++) {
            const struct cri_v1_container_stats *s = &list->stats[i];
            struct pod_container *c = s->attributes ? stats_container(r->k, s->attributes->id) : NULL;
            if (!c) {
                continue;
            }
            buf_printf(&b, "%s{container=\"%s\",namespace=\"%s\",pod=\"%s\"} ", pass ? "container_memory_working_set_bytes" : "container_cpu_usage_seconds_total",
                       c->name, c->pod->ns, c->pod->name);
            if (pass) {
                buf_printf(&b, "%llu\n", (unsigned long long)(s->memory ? value(s->memory->working_set_bytes) : 0));
            } else {
                buf_printf(&b, "%.9g\n", s->cpu ? (double)value(s->cpu->usage_core_nano_seconds) / 1e9 : 0.0);
            }
        }
    }
    buf_printf(&b, "# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds\n# TYPE node_cpu_usage_seconds_total counter\n"
                   "node_cpu_usage_seconds_total %.9g\n# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes\n"
                   "# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes %lld\n",
               (double)node_cpu_ns() / 1e9, (long long)(machine_memory() - meminfo("MemAvailable")));
    core_request_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
    buf_deinit(&b);
}

void stats_resource_metrics(struct core_request *r)
{
    ask(r, on_resource);
}

/* ---- /metrics/cadvisor ---- */

enum figure { CPU, WORKING_SET, USAGE, RSS, FS_USAGE, START, LAST_SEEN };

static bool figure(const struct cri_v1_container_stats *s, const struct pod_container *c, enum figure which, double *ret)
{
    const struct cri_v1_memory_usage *m = s->memory;
    const struct cri_v1_uint64_value *v = NULL;
    switch (which) {
    case CPU: v = s->cpu ? s->cpu->usage_core_nano_seconds : NULL; break;
    case WORKING_SET: v = m ? m->working_set_bytes : NULL; break;
    case USAGE: v = m ? m->usage_bytes : NULL; break;
    case RSS: v = m ? m->rss_bytes : NULL; break;
    case FS_USAGE: v = s->writable_layer ? s->writable_layer->used_bytes : NULL; break;
    case START: *ret = (double)(c->run.started_ns / 1000000000); return c->run.started_ns != 0;
    case LAST_SEEN: *ret = (double)clock_real_s(); return true;
    }
    *ret = v ? (double)v->value / (which == CPU ? 1e9 : 1) : 0;
    return v != NULL;
}

static void on_cadvisor(void *arg, const void *response, const struct err *err)
{
    static const struct {
        enum figure which;
        const char *name, *type, *help;
    } figures[] = {
        { CPU, "container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds." },
        { WORKING_SET, "container_memory_working_set_bytes", "gauge", "Current working set in bytes." },
        { USAGE, "container_memory_usage_bytes", "gauge", "Current memory usage in bytes, including all memory regardless of when it was accessed." },
        { RSS, "container_memory_rss", "gauge", "Size of RSS in bytes." },
        { FS_USAGE, "container_fs_usage_bytes", "gauge", "Number of bytes that are consumed by the container on this filesystem." },
        { START, "container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds." },
        { LAST_SEEN, "container_last_seen", "gauge", "Last time a container was seen by the exporter." },
    };
    struct core_request *r = arg;
    const struct cri_v1_list_container_stats_response *list = response;
    struct buf b;
    r->call = NULL;
    if (err) {
        core_request_error(r, 500, "%s", err->msg);
        return;
    }
    buf_init(&b, KUBELET_MAX_WORK_ARENA);
    for (size_t f = 0; f < ARRAY_SIZE(figures); f++) {
        buf_printf(&b, "# HELP %s %s\n# TYPE %s %s\n", figures[f].name, figures[f].help, figures[f].name, figures[f].type);
        for (size_t i = 0; i < list->n_stats; i++) {
            const struct cri_v1_container_stats *s = &list->stats[i];
            const struct pod_container *c = s->attributes ? stats_container(r->k, s->attributes->id) : NULL;
            double v;
            if (c && figure(s, c, figures[f].which, &v)) {
                buf_printf(&b, "%s{container=\"%s\",id=\"%s\",image=\"%s\",name=\"%s\",namespace=\"%s\",pod=\"%s\"} %.15g\n", figures[f].name, c->name, c->run.id,
                           c->run.image, c->run.id, c->pod->ns, c->pod->name, v);
            }
        }
    }
    buf_printf(&b, "# HELP machine_cpu_cores Number of logical CPU cores.\n# TYPE machine_cpu_cores gauge\nmachine_cpu_cores %ld\n"
                   "# HELP machine_memory_bytes Amount of memory installed on the machine.\n# TYPE machine_memory_bytes gauge\nmachine_memory_bytes %lld\n",
               sysconf(_SC_NPROCESSORS_ONLN), (long long)machine_memory());
    core_request_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
    buf_deinit(&b);
}

void stats_cadvisor_metrics(struct core_request *r)
{
    ask(r, on_cadvisor);
}
