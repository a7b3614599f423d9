/* /metrics/resource, which metrics-server reads, and those names of cAdvisor's that dashboards are built on. */
#include "kubelet/stats.h"

#include <unistd.h>

#include "base/clock.h"
#include "kubelet/machine-info.h"

/* Everything that is shown, looked at once: families of a metric stand together, so each goes over all of it. */
struct shown_pod {
    struct pod *pod;
    bool has_usage, has_network;
    struct cgroup_usage usage;
    struct net_usage network;
};
struct metrics {
    struct core_request *r;
    const struct cri_v1_list_container_stats_response *list;
    struct shown_pod *pods;
    size_t n;
    int64_t now_ms;
    struct buf b;
};

static bool begin(struct metrics *m, struct core_request *r, const struct cri_v1_list_container_stats_response *list)
{
    struct pod *p;
    size_t n = 0;
    int64_t sec;
    uint32_t nsec;
    *m = (struct metrics){ .r = r, .list = list };
    clock_real(&sec, &nsec);
    m->now_ms = sec * 1000 + nsec / 1000000;
    for (size_t pos = 0; pods_next(r->k, &pos);) {
        n++;
    }
    m->pods = arena_new_n(&r->a, struct shown_pod, n + 1);
    if (!m->pods) {
        core_request_error(r, 500, "too many pods");
        return false;
    }
    for (size_t pos = 0; (p = pods_next(r->k, &pos));) {
        if (stats_pod_is_shown(p)) {
            struct shown_pod *s = &m->pods[m->n++];
            s->pod = p;
            s->has_usage = stats_pod_usage(p, &s->usage);
            s->has_network = stats_pod_network(p, &s->network);
        }
    }
    buf_init(&m->b, KUBELET_MAX_WORK_ARENA);
    return true;
}

static void end(struct metrics *m)
{
    if (buf_failed(&m->b)) {
        core_request_error(m->r, 500, "the metrics are too large");
    } else {
        core_request_reply(m->r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&m->b));
    }
    buf_deinit(&m->b);
}

static void head(struct metrics *m, const char *name, const char *type, const char *help)
{
    buf_printf(&m->b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

enum figure { CPU, WORKING_SET, USAGE, RSS, FS_USAGE, SWAP, START, LAST_SEEN };

/* Of a container. */
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
    case SWAP: v = s->swap ? s->swap->swap_usage_bytes : NULL; break;
    case START: *ret = (double)(c->run.started_ns / 1000000000); return c->run.started_ns != 0;
    case LAST_SEEN: *ret = (double)clock_real_s(); return true;
    }
    *ret = v ? (double)v->value / (which == CPU ? 1e9 : 1) : 0;
    return v != NULL;
}

/* Of a pod as a whole. */
static bool pod_figure(const struct shown_pod *p, enum figure which, double *ret)
{
    const struct cgroup_usage *u = &p->usage;
    *ret = which == CPU           ? (double)u->cpu_ns / 1e9
           : which == WORKING_SET ? (double)u->working_set
           : which == USAGE       ? (double)u->memory
           : which == RSS         ? (double)u->rss
                                  : 0;
    return p->has_usage && (which == CPU ? u->has_cpu : u->has_memory && (which == WORKING_SET || which == USAGE || which == RSS));
}

/* ---- /metrics/resource ---- */

static void of_containers(struct metrics *m, const char *name, const char *type, const char *help, enum figure which)
{
    head(m, name, type, help);
    for (size_t i = 0; i < m->list->n_stats; i++) {
        const struct cri_v1_container_stats *s = &m->list->stats[i];
        const struct pod_container *c = s->attributes ? stats_container(m->r->k, s->attributes->id) : NULL;
        double v;
        if (c && container_is_running(c) && figure(s, c, which, &v)) {
            buf_printf(&m->b, "%s{container=\"%s\",namespace=\"%s\",pod=\"%s\"} %.15g %lld\n", name, c->name, c->pod->ns, c->pod->name, v, (long long)m->now_ms);
        }
    }
}

static void of_pods(struct metrics *m, const char *name, const char *type, const char *help, enum figure which)
{
    head(m, name, type, help);
    for (size_t i = 0; i < m->n; i++) {
        double v;
        if (pod_figure(&m->pods[i], which, &v)) {
            buf_printf(&m->b, "%s{namespace=\"%s\",pod=\"%s\"} %.15g %lld\n", name, m->pods[i].pod->ns, m->pods[i].pod->name, v, (long long)m->now_ms);
        }
    }
}

static void of_node(struct metrics *m, const char *name, const char *type, const char *help, double v)
{
    head(m, name, type, help);
    buf_printf(&m->b, "%s %.15g %lld\n", name, v, (long long)m->now_ms);
}

static void write_resource(struct core_request *r, const struct cri_v1_list_container_stats_response *list)
{
    struct metrics m;
    if (!begin(&m, r, list)) {
        return;
    }
    of_containers(&m, "container_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the container in core-seconds", CPU);
    of_containers(&m, "container_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the container in bytes", WORKING_SET);
    of_containers(&m, "container_start_time_seconds", "gauge", "[STABLE] Start time of the container since unix epoch in seconds", START);
    of_containers(&m, "container_swap_usage_bytes", "gauge", "[ALPHA] Current amount of the container swap usage in bytes", SWAP);
    of_node(&m, "node_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
            (double)stats_node_cpu_ns() / 1e9);
    of_node(&m, "node_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the node in bytes",
            (double)(machine_memory() - meminfo("MemAvailable")));
    of_node(&m, "node_swap_usage_bytes", "gauge", "[ALPHA] Current swap usage of the node in bytes", (double)(meminfo("SwapTotal") - meminfo("SwapFree")));
    of_pods(&m, "pod_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds", CPU);
    of_pods(&m, "pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes", WORKING_SET);
    head(&m, "resource_scrape_error", "gauge", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise");
    buf_append_c(&m.b, "resource_scrape_error 0\n");
    end(&m);
}

void stats_resource_metrics(struct core_request *r)
{
    stats_ask(r, write_resource);
}

/* ---- /metrics/cadvisor ---- */

static void cadvisor_figure(struct metrics *m, const char *name, enum figure which)
{
    for (size_t i = 0; i < m->list->n_stats; i++) {
        const struct cri_v1_container_stats *s = &m->list->stats[i];
        const struct pod_container *c = s->attributes ? stats_container(m->r->k, s->attributes->id) : NULL;
        double v;
        if (c && figure(s, c, which, &v)) {
            buf_printf(&m->b, "%s{container=\"%s\",id=\"%s\",image=\"%s\",name=\"%s\",namespace=\"%s\",pod=\"%s\"} %.15g\n", name, c->name, c->run.id,
                       c->run.image, c->run.id, c->pod->ns, c->pod->name, v);
        }
    }
    for (size_t i = 0; i < m->n; i++) {
        double v;
        if (pod_figure(&m->pods[i], which, &v)) {
            buf_printf(&m->b, "%s{container=\"\",id=\"/kubepods/pod%s\",image=\"\",name=\"\",namespace=\"%s\",pod=\"%s\"} %.15g\n", name, m->pods[i].pod->uid,
                       m->pods[i].pod->ns, m->pods[i].pod->name, v);
        }
    }
}

static void cadvisor_network(struct metrics *m)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } figures[] = {
        { "container_network_receive_bytes_total", "Cumulative count of bytes received", offsetof(struct net_usage_interface, rx_bytes) },
        { "container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", offsetof(struct net_usage_interface, rx_errors) },
        { "container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", offsetof(struct net_usage_interface, tx_bytes) },
        { "container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", offsetof(struct net_usage_interface, tx_errors) },
    };
    for (size_t f = 0; f < ARRAY_SIZE(figures); f++) {
        head(m, figures[f].name, "counter", figures[f].help);
        for (size_t i = 0; i < m->n; i++) {
            const struct shown_pod *p = &m->pods[i];
            for (size_t j = 0; p->has_network && j < p->network.n; j++) {
                uint64_t v;
                memcpy(&v, (const char *)&p->network.interfaces[j] + figures[f].offset, sizeof(v));
                buf_printf(&m->b, "%s{container=\"\",id=\"/kubepods/pod%s\",image=\"\",interface=\"%s\",name=\"\",namespace=\"%s\",pod=\"%s\"} %llu\n", figures[f].name,
                           p->pod->uid, p->network.interfaces[j].name, p->pod->ns, p->pod->name, (unsigned long long)v);
            }
        }
    }
}

static void cadvisor_processes(struct metrics *m)
{
    head(m, "container_processes", "gauge", "Number of processes running inside the container.");
    for (size_t i = 0; i < m->n; i++) {
        if (m->pods[i].usage.has_pids) {
            buf_printf(&m->b, "container_processes{container=\"\",id=\"/kubepods/pod%s\",image=\"\",name=\"\",namespace=\"%s\",pod=\"%s\"} %llu\n", m->pods[i].pod->uid,
                       m->pods[i].pod->ns, m->pods[i].pod->name, (unsigned long long)m->pods[i].usage.pids);
        }
    }
}

static void write_cadvisor(struct core_request *r, const struct cri_v1_list_container_stats_response *list)
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
    struct metrics m;
    if (!begin(&m, r, list)) {
        return;
    }
    for (size_t f = 0; f < ARRAY_SIZE(figures); f++) {
        head(&m, figures[f].name, figures[f].type, figures[f].help);
        cadvisor_figure(&m, figures[f].name, figures[f].which);
    }
    cadvisor_network(&m);
    cadvisor_processes(&m);
    buf_printf(&m.b, "# HELP machine_cpu_cores Number of logical CPU cores.\n# TYPE machine_cpu_cores gauge\nmachine_cpu_cores %ld\n"
                     "# HELP machine_memory_bytes Amount of memory installed on the machine.\n# TYPE machine_memory_bytes gauge\nmachine_memory_bytes %lld\n",
               sysconf(_SC_NPROCESSORS_ONLN), (long long)machine_memory());
    end(&m);
}

void stats_cadvisor_metrics(struct core_request *r)
{
    stats_ask(r, write_cadvisor);
}
