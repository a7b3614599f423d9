/* What --cadvisor-port and --read-only-port show besides metrics: a page for people, and the machine. */
#include "kubelet/stats.h"

#include <sys/utsname.h>

#include "base/version.h"
#include "kubelet/limits.h"
#include "kubelet/machine-info.h"

static void cell(struct buf *b, const char *text)
{
    buf_append_c(b, "<td>");
    buf_append_html(b, str_c(text));
    buf_append_c(b, "</td>");
}

static void write_page(struct core_request *r, const struct cri_v1_list_container_stats_response *list)
{
    struct buf b;
    buf_init(&b, KUBELET_MAX_WORK_ARENA);
    buf_append_c(&b, "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    buf_append_html(&b, str_c(r->k->node_name));
    buf_append_c(&b, "</title><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
                     "<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.3em 1em;text-align:left;"
                     "border-bottom:1px solid #ddd}td.n,th.n{text-align:right}</style></head><body><h1>Node ");
    buf_append_html(&b, str_c(r->k->node_name));
    buf_printf(&b, "</h1><p>%d cores, %lld MiB of memory, %lld MiB available. <a href=\"/metrics\">Metrics</a></p>", machine_cpus(),
               (long long)(machine_memory() >> 20), (long long)(meminfo("MemAvailable") >> 20));
    buf_append_c(&b, "<table><tr><th>Namespace</th><th>Pod</th><th>Container</th><th>Image</th><th class=\"n\">CPU seconds</th>"
                     "<th class=\"n\">Memory MiB</th></tr>");
    for (size_t i = 0; i < list->n_stats; i++) {
        const struct cri_v1_container_stats *s = &list->stats[i];
        const struct pod_container *c = s->attributes ? stats_container(r->k, s->attributes->id) : NULL;
        if (!c) {
            continue;
        }
        buf_append_c(&b, "<tr>");
        cell(&b, c->pod->ns);
        cell(&b, c->pod->name);
        cell(&b, c->name);
        cell(&b, c->run.image);
        buf_printf(&b, "<td class=\"n\">%.3f</td><td class=\"n\">%.1f</td></tr>", s->cpu ? (double)stats_value(s->cpu->usage_core_nano_seconds) / 1e9 : 0.0,
                   s->memory ? (double)stats_value(s->memory->working_set_bytes) / 1048576 : 0.0);
    }
    buf_append_c(&b, "</table></body></html>\n");
    core_request_reply(r, 200, "text/html; charset=utf-8", buf_str(&b));
    buf_deinit(&b);
}

void stats_page(struct core_request *r)
{
    stats_ask(r, write_page);
}

void stats_machine(struct core_request *r)
{
    char machine_id[128] = "", boot_id[128] = "";
    struct utsname u = { 0 };
    (void)uname(&u);
    (void)read_small("/etc/machine-id", machine_id, sizeof(machine_id));
    (void)read_small("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
    core_request_reply(r, 200, "application/json",
                       arena_printf(&r->a, "{\"num_cores\":%d,\"memory_capacity\":%lld,\"machine_id\":\"%s\",\"boot_id\":\"%s\",\"kernel_version\":\"%s\"}",
                                    machine_cpus(), (long long)machine_memory(), machine_id, boot_id, u.release));
}
