/* Which path is answered by whom; and those answers that need no more than what is here. */
#include "kubelet/core-private.h"

#include "api/encode-json.h"
#include "base/metrics.h"
#include "kubelet/node-certificates.h"

struct pod *core_request_pod(struct core_request *r, struct str ns, struct str name)
{
    struct pod *p = pods_find_name(r->k, ns, name);
    if (!p) {
        core_request_error(r, 404, "pod does not exist");
    }
    return p;
}

struct pod_container *core_request_container(struct core_request *r, struct pod *p, struct str name)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        if (str_eq_c(name, p->containers[i]->name)) {
            return p->containers[i];
        }
    }
    core_request_error(r, 404, "container not found (\"%.*s\")", STR_ARG(name));
    return NULL;
}

static void do_pods(struct core_request *r, bool running)
{
    struct core_v1_pod_list list = { .kind = STR("PodList"), .api_version = STR("v1") };
    struct pod *p;
    struct buf b;
    size_t n = 0;
    for (size_t pos = 0; pods_next(r->k, &pos);) {
        n++;
    }
    list.items = arena_new_n(&r->a, struct core_v1_pod, n + 1);
    for (size_t pos = 0; list.items && (p = pods_next(r->k, &pos));) {
        if (!p->obj || p->mirror_only || (running && !pod_ready_sandbox(p))) {
            continue;
        }
        struct core_v1_pod *o = &list.items[list.n_items++];
        *o = *p->obj;
        const struct core_v1_pod_status *s = pod_status_of(p, &r->a);
        if (s) {
            o->status = *s;
        }
    }
    buf_init(&b, KUBELET_MAX_CRI_ARENA);
    bool ok = api_encode_json(&b, &core_v1_pod_list_type, &list, NULL, NULL);
    if (ok) {
        core_request_reply(r, 200, "application/json", buf_str(&b));
    } else {
        core_request_error(r, 500, "the list is too large");
    }
    buf_deinit(&b);
}

static void do_metrics(struct core_request *r)
{
    static struct metric pods = METRIC_GAUGE("kubelet_running_pods", "Number of pods that have a running pod sandbox");
    static struct metric containers = METRIC_GAUGE("kubelet_running_containers", "Number of containers currently running", "container_state");
    struct pod *p;
    struct buf b;
    double n = 0, c = 0;
    for (size_t pos = 0; (p = pods_next(r->k, &pos));) {
        n += pod_ready_sandbox(p) ? 1 : 0;
        for (size_t i = 0; i < p->n_containers; i++) {
            c += container_is_running(p->containers[i]) ? 1 : 0;
        }
    }
    metric_set(metric_cell(&pods, STR_EMPTY), n);
    metric_set(metric_cell(&containers, STR("running")), c);
    bootstrap_metrics(r->k);
    serving_metrics(r->k);
    buf_init(&b, 16u << 20);
    metrics_write(&b);
    core_request_reply(r, 200, METRIC_CONTENT_TYPE, buf_str(&b));
    buf_deinit(&b);
}

static void do_healthz(struct core_request *r)
{
    if (r->k->runtime_up) {
        core_request_reply(r, 200, "text/plain; charset=utf-8", STR("ok"));
    } else {
        core_request_error(r, 500, "[-]container-runtime failed: %s", r->k->runtime_error);
    }
}

static void do_configz(struct core_request *r)
{
    const struct kubelet_config *c = r->k->cfg;
    core_request_reply(r, 200, "application/json",
                  arena_printf(&r->a,
                               "{\"kubeletconfig\":{\"kind\":\"KubeletConfiguration\",\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"address\":\"%.*s\",\"port\":%d,"
                               "\"readOnlyPort\":%d,\"authentication\":{\"x509\":{\"clientCAFile\":\"%.*s\"},\"webhook\":{\"enabled\":%s},\"anonymous\":{\"enabled\":%s}},"
                               "\"authorization\":{\"mode\":\"%.*s\"},\"clusterDomain\":\"%.*s\",\"maxPods\":%d,\"cgroupDriver\":\"%.*s\",\"containerRuntimeEndpoint\":\"%.*s\"}}",
                               STR_ARG(c->address), c->port, c->read_only_port, STR_ARG(c->client_ca_file), c->token_webhook ? "true" : "false",
                               c->anonymous_auth ? "true" : "false", STR_ARG(c->authorization_mode), STR_ARG(c->cluster_domain), c->max_pods,
                               STR_ARG(c->cgroup_driver), STR_ARG(c->runtime_endpoint)));
}

void core_dispatch(struct core_request *r)
{
    const struct http_target *t = &r->target;
    struct str first = t->n_segments ? t->segments[0] : STR_EMPTY;
    bool get = str_eq_c(r->method, "GET"), post = str_eq_c(r->method, "POST");
    if (!get && !post) {
        core_request_error(r, 405, "405: Method Not Allowed");
    } else if (str_eq_c(first, "containerLogs") && get) {
        core_logs(r);
    } else if (str_eq_c(first, "exec")) {
        core_exec(r, false);
    } else if (str_eq_c(first, "attach")) {
        core_exec(r, true);
    } else if (str_eq_c(first, "portForward")) {
        core_port_forward(r);
    } else if (str_eq_c(first, "run") && post) {
        core_run(r);
    } else if (str_eq_c(first, "pods") && get) {
        do_pods(r, false);
    } else if (str_eq_c(first, "runningpods") && get) {
        do_pods(r, true);
    } else if (str_eq_c(first, "healthz") && get) {
        do_healthz(r);
    } else if (str_eq_c(first, "paths") && t->n_segments == 1 && get) {
        paths_report(r);
    } else if (str_eq_c(first, "configz") && get) {
        do_configz(r);
    } else if (str_eq_c(first, "stats") && t->n_segments == 2 && str_eq_c(t->segments[1], "summary") && get) {
        stats_summary(r);
    } else if (str_eq_c(first, "metrics") && t->n_segments == 2 && str_eq_c(t->segments[1], "resource") && get) {
        stats_resource_metrics(r);
    } else if (str_eq_c(first, "metrics") && t->n_segments == 2 && str_eq_c(t->segments[1], "cadvisor") && get) {
        stats_cadvisor_metrics(r);
    } else if (str_eq_c(first, "metrics") && t->n_segments == 1 && get) {
        do_metrics(r);
    } else if (str_eq_c(first, "logs")) {
        /* The node's own log files: upstream's enableSystemLogHandler, which is off here. */
        core_request_error(r, 405, "logs endpoint is disabled.");
    } else {
        core_request_error(r, 404, "404 page not found");
    }
}

/* ---- ports that authenticate nobody ---- */

/* What the read-only port serves: reads without side effects. */
static void dispatch_read_only(struct core_request *r)
{
    const struct http_target *t = &r->target;
    struct str first = t->n_segments ? t->segments[0] : STR_EMPTY, second = t->n_segments == 2 ? t->segments[1] : STR_EMPTY;
    bool alone = t->n_segments == 1;
    if ((alone && (str_eq_c(first, "pods") || str_eq_c(first, "runningpods") || str_eq_c(first, "healthz") || str_eq_c(first, "metrics"))) ||
        (str_eq_c(first, "stats") && str_eq_c(second, "summary")) ||
        (str_eq_c(first, "metrics") && (str_eq_c(second, "resource") || str_eq_c(second, "cadvisor")))) {
        core_dispatch(r);
    } else if (alone && str_eq_c(first, "spec")) {
        stats_machine(r);
    } else {
        core_request_error(r, 404, "404 page not found");
    }
}

static void dispatch_cadvisor(struct core_request *r)
{
    const struct http_target *t = &r->target;
    if (t->n_segments == 1 && str_eq_c(t->segments[0], "metrics")) {
        stats_cadvisor_metrics(r);
    } else if (t->n_segments == 1 && str_eq_c(t->segments[0], "healthz")) {
        do_healthz(r);
    } else if (t->n_segments == 0 || (t->n_segments == 1 && str_eq_c(t->segments[0], "containers"))) {
        stats_page(r);
    } else {
        core_request_error(r, 404, "404 page not found");
    }
}

void core_take_plain(struct server_core *s, const struct wire_message *m)
{
    const struct kubelet_config *c = s->k->cfg;
    struct core_request *r = core_request_new(s, m->id);
    struct err err = { 0 };
    if (m->n_strings != 2) {
        core_request_error(r, 400, "malformed");
        return;
    }
    r->method = arena_str(&r->a, m->strings[0]);
    if (!http_target_parse(&r->a, arena_str(&r->a, m->strings[1]), &r->target, &err)) {
        core_request_error(r, 400, "%s", err.msg);
    } else if (!str_eq_c(r->method, "GET")) {
        core_request_error(r, 405, "only GET is served here");
    } else if (c->read_only_port > 0 && m->number == (uint32_t)c->read_only_port) {
        dispatch_read_only(r);
    } else if (c->cadvisor_port > 0 && m->number == (uint32_t)c->cadvisor_port) {
        dispatch_cadvisor(r);
    } else {
        core_request_error(r, 403, "there is no such port"); /* the server's process lies */
    }
}
