/*
 * The core's side of the kubelet's server: who asks (authentication), whether he may (authorisation), and the answer. The requests come
 * from the server's process as typed messages; nothing of HTTP is parsed here but the target, which the server has checked already.
 */
#include "kubelet/server-core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/encode-json.h"
#include "auth/kubelet-attributes.h"
#include "base/clock.h"
#include "base/time-floor.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/metrics.h"
#include "kubelet/cri-log.h"
#include "kubelet/node-certificates.h"
#include "kubelet/server-private.h"
#include "net/channels.h"

struct server_core {
    struct kubelet *k;
    int socket;
    pid_t pid;
    struct loop_io io;
    struct wire_queue out;
    struct loop_child child;
    struct authn_chain *authn;
    struct authz_chain *authz;
    struct list requests;
};

/* ---- answers ---- */

void core_request_free(struct core_request *r)
{
    list_remove(&r->link);
    if (r->authenticating) {
        authn_cancel(&r->authn);
    }
    if (r->authorizing) {
        authz_cancel(&r->authz);
    }
    runtime_cancel(r->k->rt, r->call);
    (void)http_call_cancel(r->proxy_call);
    http_client_free(r->proxy);
    buf_deinit(&r->proxy_report);
    arena_deinit(&r->a);
    free(r);
}

static struct core_request *core_request_new(struct server_core *s, uint32_t id)
{
    struct core_request *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->core = s;
    r->k = s->k;
    r->id = id;
    arena_init(&r->a, KUBELET_MAX_WORK_ARENA);
    list_push_back(&s->requests, &r->link);
    return r;
}

/* In order, and kept while the server is behind: an answer that is lost leaves its client waiting. */
static void send_message(struct server_core *s, const struct wire_message *m)
{
    int rc = wire_queue_send(&s->out, m);
    if (rc < 0) {
        log_warning("the server cannot be answered: %s", strerror(-rc));
    }
    (void)loop_io_set(&s->io, LOOP_READ | (wire_queue_waits(&s->out) ? LOOP_WRITE : 0));
}

static void send_answer(struct core_request *r, struct wire_message *m)
{
    m->id = r->id;
    send_message(r->core, m);
    core_request_free(r);
}

void core_request_reply(struct core_request *r, int status, const char *type, struct str body)
{
    struct wire_message m = { .what = WIRE_BODY, .number = (uint32_t)status, .n_strings = 2, .fd = -1 };
    m.strings[0] = str_c(type);
    m.strings[1] = body;
    if (body.len > WIRE_MAX_INLINE) {
        m.fd = wire_memory_file(body);
        m.strings[1] = STR_EMPTY;
    }
    int fd = m.fd;
    send_answer(r, &m);
    fs_closep(&fd);
}

void core_request_error(struct core_request *r, int status, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    core_request_reply(r, status, "text/plain; charset=utf-8", str_c(text));
}

/* ---- pods by path ---- */

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

/* ---- logs ---- */

static int open_log(struct pod_container *c, uint32_t attempt)
{
    char dir[PATH_MAX], path[PATH_MAX];
    pod_log_dir(c->pod, dir);
    snprintf(path, sizeof(path), "%.3000s/%s/%u.log", dir, c->name, attempt);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool log_grows(const struct pod_container *c, uint32_t attempt)
{
    return container_is_running(c) && c->run.attempt == attempt;
}

static void do_logs(struct core_request *r)
{
    const struct http_target *t = &r->target;
    if (t->n_segments != 4) {
        core_request_error(r, 400, "the path is /containerLogs/NAMESPACE/POD/CONTAINER");
        return;
    }
    struct cri_log_options o;
    struct err err = { 0 };
    int status;
    if (!cri_log_options(t, clock_real_s(), &o, &status, &err)) {
        core_request_error(r, status, "%s", err.msg);
        return;
    }
    struct pod *p = pods_find_name(r->k, t->segments[1], t->segments[2]);
    struct pod_container *c = NULL;
    if (!p) {
        core_request_error(r, 404, "pod \"%.*s\" does not exist", STR_ARG(t->segments[2]));
        return;
    }
    for (size_t i = 0; i < p->n_containers; i++) {
        c = str_eq_c(t->segments[3], p->containers[i]->name) ? p->containers[i] : c;
    }
    if (!c) {
        core_request_error(r, 404, "container \"%.*s\" not found in pod \"%s\"", STR_ARG(t->segments[3]), p->name);
        return;
    }
    bool previous = o.previous;
    if (previous && !c->has_last && !(c->has_run && !container_is_running(c))) {
        core_request_error(r, 400, "previous terminated container \"%s\" in pod \"%s\" not found", c->name, p->name);
        return;
    }
    if (!c->has_run) {
        const char *why = c->waiting_reason[0] ? c->waiting_reason : "ContainerCreating";
        if (strcmp(why, "ErrImagePull") == 0) {
            why = "image can't be pulled";
        } else if (strcmp(why, "ImagePullBackOff") == 0) {
            why = "trying and failing to pull image";
        }
        core_request_error(r, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", c->name, p->name, why);
        return;
    }
    uint32_t attempt = !previous ? c->run.attempt : c->has_last ? c->last.attempt : c->run.attempt;
    int fd = open_log(c, attempt);
    if (fd < 0) {
        core_request_error(r, 404, "the log of container \"%s\" in pod \"%s\" is not there: %s", c->name, p->name, strerror(errno));
        return;
    }
    struct wire_message m = { .what = WIRE_LOG, .number = attempt, .n_strings = 4, .fd = fd };
    m.strings[0] = str_c(p->ns);
    m.strings[1] = str_c(p->name);
    m.strings[2] = str_c(c->name);
    m.strings[3] = log_grows(c, attempt) ? STR("1") : STR("0");
    send_answer(r, &m);
    close(fd);
}

static void log_again(struct server_core *s, const struct wire_message *q)
{
    struct wire_message m = { .id = q->id, .what = WIRE_LOG, .fd = -1 };
    struct pod *p = q->n_strings == 3 ? pods_find_name(s->k, q->strings[0], q->strings[1]) : NULL;
    for (size_t i = 0; p && i < p->n_containers; i++) {
        if (str_eq_c(q->strings[2], p->containers[i]->name)) {
            m.number = log_grows(p->containers[i], q->number) ? 1 : 0;
            m.fd = open_log(p->containers[i], q->number);
        }
    }
    send_message(s, &m);
    fs_closep(&m.fd);
}

/* ---- streams of the runtime ---- */

/* The runtime's URL: http://127.0.0.1:PORT/path. Anything that is not on loopback is refused. */
static void on_stream_url(struct core_request *r, struct str url, const struct err *err)
{
    struct str rest = url, host, path;
    uint16_t port = 0;
    char number[16], full[2048];
    if (err) {
        core_request_error(r, err->code == ERR_NOT_FOUND ? 404 : 500, "%s", err->msg);
        return;
    }
    if (str_starts(rest, STR("http://"))) {
        rest = str_sub(rest, 7, rest.len);
    }
    (void)str_cut(rest, '/', &host, &path);
    if (!net_split_host_port(host, &host, &port) || !port || !(str_eq_c(host, "127.0.0.1") || str_eq_c(host, "[::]") || str_eq_c(host, "localhost") || str_eq_c(host, "::"))) {
        core_request_error(r, 500, "the runtime streams at %.*s, which is not on this node", STR_ARG(url));
        return;
    }
    snprintf(full, sizeof(full), "/%.*s", STR_ARG(path));
    snprintf(number, sizeof(number), "%u", r->channels);
    struct wire_message m = { .what = WIRE_UPGRADE, .number = port, .n_strings = 3, .fd = -1 };
    m.strings[0] = str_c(full);
    m.strings[1] = r->port_forward ? STR("portforward") : STR("exec");
    m.strings[2] = str_c(number);
    send_answer(r, &m);
}

static void on_exec(void *arg, const void *response, const struct err *err)
{
    struct core_request *r = arg;
    const struct cri_v1_exec_response *x = response;
    r->call = NULL;
    on_stream_url(r, x ? x->url : STR_NULL, err);
}

static void on_attach(void *arg, const void *response, const struct err *err)
{
    struct core_request *r = arg;
    const struct cri_v1_attach_response *x = response;
    r->call = NULL;
    on_stream_url(r, x ? x->url : STR_NULL, err);
}

static void on_port_forward(void *arg, const void *response, const struct err *err)
{
    struct core_request *r = arg;
    const struct cri_v1_port_forward_response *x = response;
    r->call = NULL;
    on_stream_url(r, x ? x->url : STR_NULL, err);
}

static bool wants(const struct http_target *t, const char *a, const char *b)
{
    return http_param_bool(t, str_c(a), false) || http_param_bool(t, str_c(b), false);
}

/* /exec/NAMESPACE/POD[/UID]/CONTAINER */
static struct pod_container *running_container(struct core_request *r)
{
    const struct http_target *t = &r->target;
    if (t->n_segments != 4 && t->n_segments != 5) {
        core_request_error(r, 400, "the path is /%.*s/NAMESPACE/POD/CONTAINER", STR_ARG(t->segments[0]));
        return NULL;
    }
    struct pod *p = core_request_pod(r, t->segments[1], t->segments[2]);
    struct pod_container *c = p ? core_request_container(r, p, t->segments[t->n_segments - 1]) : NULL;
    if (c && !container_is_running(c)) {
        core_request_error(r, 404, "container not found (\"%s\")", c->name);
        return NULL;
    }
    return c;
}

static void do_exec(struct core_request *r, bool attach)
{
    const struct http_target *t = &r->target;
    struct pod_container *c = running_container(r);
    if (!c) {
        return;
    }
    bool in = wants(t, "input", "stdin"), out = wants(t, "output", "stdout"), error = wants(t, "error", "stderr"), tty = http_param_bool(t, STR("tty"), false);
    if (attach) {
        tty = c->spec->tty;
        in = in && c->spec->stdin;
    }
    error = error && !tty;
    if (!in && !out && !error) {
        core_request_error(r, 400, "you must specify at least 1 of stdin, stdout, stderr");
        return;
    }
    r->channels = CHANNEL_BIT(CHANNEL_ERROR) | (in ? CHANNEL_BIT(CHANNEL_STDIN) : 0) | (out ? CHANNEL_BIT(CHANNEL_STDOUT) : 0) |
                  (error ? CHANNEL_BIT(CHANNEL_STDERR) : 0) | (tty ? CHANNEL_BIT(CHANNEL_RESIZE) : 0);
    if (attach) {
        const struct cri_v1_attach_request request = { .container_id = str_c(c->run.id), .stdin = in, .stdout = out, .stderr = error, .tty = tty };
        r->call = runtime_call(r->k->rt, &cri_v1_runtime_service_attach_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_attach, r);
        return;
    }
    struct str *command = arena_new_n(&r->a, struct str, t->n_params + 1);
    size_t n = 0, pos = 0;
    for (struct str v; command && http_param_next(t, STR("command"), &pos, &v);) {
        command[n++] = v;
    }
    const struct cri_v1_exec_request request = { .container_id = str_c(c->run.id), .cmd = command, .n_cmd = n, .stdin = in, .stdout = out,
                                                 .stderr = error, .tty = tty };
    r->call = runtime_call(r->k->rt, &cri_v1_runtime_service_exec_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_exec, r);
}

/* /portForward/NAMESPACE/POD[/UID] */
static void do_port_forward(struct core_request *r)
{
    const struct http_target *t = &r->target;
    int32_t ports[64];
    size_t n = 0, pos = 0;
    if (t->n_segments != 3 && t->n_segments != 4) {
        core_request_error(r, 400, "the path is /portForward/NAMESPACE/POD");
        return;
    }
    struct pod *p = core_request_pod(r, t->segments[1], t->segments[2]);
    if (!p) {
        return;
    }
    const struct pod_sandbox *sb = pod_ready_sandbox(p);
    if (!sb) {
        core_request_error(r, 404, "the pod is not running");
        return;
    }
    for (struct str v; n < ARRAY_SIZE(ports) && (http_param_next(t, STR("port"), &pos, &v) || http_param_next(t, STR("ports"), &pos, &v));) {
        struct str one;
        while (n < ARRAY_SIZE(ports) && str_split(&v, ',', &one)) {
            if (!str_to_i32(one, &ports[n++])) {
                core_request_error(r, 400, "\"%.*s\" is no port", STR_ARG(one));
                return;
            }
        }
    }
    r->port_forward = true;
    const struct cri_v1_port_forward_request request = { .pod_sandbox_id = str_c(sb->id), .port = ports, .n_port = n };
    r->call = runtime_call(r->k->rt, &cri_v1_runtime_service_port_forward_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_port_forward, r);
}

static void on_run(void *arg, const void *response, const struct err *err)
{
    struct core_request *r = arg;
    const struct cri_v1_exec_sync_response *x = response;
    r->call = NULL;
    if (err) {
        core_request_error(r, 500, "%s", err->msg);
        return;
    }
    struct str text = arena_printf(&r->a, "%.*s%.*s", STR_ARG(x->stdout), STR_ARG(x->stderr));
    if (x->exit_code) {
        core_request_error(r, 500, "command '%.*s' exited with %d: %.*s", STR_ARG(http_param_get(&r->target, STR("cmd"))), x->exit_code,
                      (int)MIN(text.len, (size_t)800), text.ptr);
        return;
    }
    core_request_reply(r, 200, "text/plain", text);
}

static void do_run(struct core_request *r)
{
    struct pod_container *c = running_container(r);
    struct str rest = http_param_get(&r->target, STR("cmd")), word;
    if (!c) {
        return;
    }
    struct str *command = arena_new_n(&r->a, struct str, rest.len + 1);
    size_t n = 0;
    while (command && str_split(&rest, ' ', &word)) {
        if (word.len) {
            command[n++] = word;
        }
    }
    const struct cri_v1_exec_sync_request request = { .container_id = str_c(c->run.id), .cmd = command, .n_cmd = n, .timeout = 60 };
    r->call = runtime_call(r->k->rt, &cri_v1_runtime_service_exec_sync_rpc, &request, 62000, on_run, r);
}

/* ---- lists and figures ---- */

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

static void dispatch(struct core_request *r)
{
    const struct http_target *t = &r->target;
    struct str first = t->n_segments ? t->segments[0] : STR_EMPTY;
    bool get = str_eq_c(r->method, "GET"), post = str_eq_c(r->method, "POST");
    if (!get && !post) {
        core_request_error(r, 405, "405: Method Not Allowed");
    } else if (str_eq_c(first, "containerLogs") && get) {
        do_logs(r);
    } else if (str_eq_c(first, "exec")) {
        do_exec(r, false);
    } else if (str_eq_c(first, "attach")) {
        do_exec(r, true);
    } else if (str_eq_c(first, "portForward")) {
        do_port_forward(r);
    } else if (str_eq_c(first, "run") && post) {
        do_run(r);
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
        dispatch(r);
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

static void take_plain(struct server_core *s, const struct wire_message *m)
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

/* ---- who, and may he ---- */

static void authorized(struct core_request *r, enum authz_result result);

static void on_authorized(struct authz_request *q, enum authz_result result)
{
    struct core_request *r = q->owner;
    r->authorizing = false;
    authorized(r, result);
}

static void ask_next(struct core_request *r)
{
    r->authz = (struct authz_request){ .attr = r->attributes[r->asked], .arena = &r->a, .done = on_authorized, .owner = r };
    enum authz_result result = authz_start(r->core->authz, &r->authz);
    r->authorizing = result == AUTHZ_WAIT;
    if (result != AUTHZ_WAIT) {
        authorized(r, result);
    }
}

static void authorized(struct core_request *r, enum authz_result result)
{
    if (result == AUTHZ_ALLOW) {
        dispatch(r);
        return;
    }
    if (++r->asked < r->n_attributes) {
        ask_next(r);
        return;
    }
    const struct authz_attributes *a = &r->attributes[0];
    core_request_error(r, 403, "Forbidden (user=%.*s, verb=%.*s, resource=%.*s, subresource(s)=[%.*s])\n", STR_ARG(r->authn.user.name), STR_ARG(a->verb),
                  STR_ARG(a->resource), STR_ARG(a->subresource));
}

/*
 * The path as dispatch() will see it, decoded: the right that is asked for must be that of what is then done. Of the raw path
 * "/%65xec/…" nobody would say that it runs something.
 */
static struct str dispatched_path(struct core_request *r)
{
    struct str path = STR("/");
    for (size_t i = 0; i < r->target.n_segments; i++) {
        path = arena_printf(&r->a, "%.*s%s%.*s", STR_ARG(path), i ? "/" : "", STR_ARG(r->target.segments[i]));
    }
    return path;
}

static void authenticated(struct core_request *r, enum authn_result result)
{
    if (result != AUTHN_OK) {
        log_info("a request to the kubelet was not authenticated: %s", r->authn.err.msg);
        core_request_error(r, 401, "Unauthorized");
        return;
    }
    r->n_attributes = kubelet_attributes(&r->authn.user, r->method, dispatched_path(r), str_c(r->k->node_name), r->attributes);
    ask_next(r);
}

static void on_authenticated(struct authn_request *q, enum authn_result result)
{
    struct core_request *r = q->owner;
    r->authenticating = false;
    authenticated(r, result);
}

static void take_request(struct server_core *s, const struct wire_message *m)
{
    struct core_request *r = core_request_new(s, m->id);
    struct err err = { 0 };
    if (m->n_strings < 4 || m->number != m->n_strings - 4) {
        core_request_error(r, 400, "malformed");
        return;
    }
    struct str *chain = arena_new_n(&r->a, struct str, m->number + 1u);
    for (size_t i = 0; chain && i < m->number; i++) {
        chain[i] = arena_str(&r->a, m->strings[4 + i]);
    }
    r->method = arena_str(&r->a, m->strings[0]);
    if (!http_target_parse(&r->a, arena_str(&r->a, m->strings[1]), &r->target, &err)) {
        core_request_error(r, 400, "%s", err.msg);
        return;
    }
    r->authn = (struct authn_request){ .arena = &r->a, .peer_chain = chain, .n_peer_chain = chain ? m->number : 0, .now = time_floor_now_s(),
                                       .path = r->target.path, .done = on_authenticated, .owner = r };
    r->authn.authorization = m->strings[2].len ? arena_str(&r->a, m->strings[2]) : STR_NULL;
    r->authn.ws_protocols = m->strings[3].len ? arena_str(&r->a, m->strings[3]) : STR_NULL;
    enum authn_result result = authn_start(s->authn, &r->authn);
    r->authenticating = result == AUTHN_WAIT;
    if (result != AUTHN_WAIT) {
        authenticated(r, result);
    }
}

/* ---- the serving certificate ---- */

/* To the question 'id', or unasked (0) when something of it has changed. */
static void send_tls(struct server_core *s, uint32_t id)
{
    struct wire_message m = { .id = id, .what = WIRE_BODY, .fd = -1 };
    struct err err = { 0 };
    struct buf cert, key, ca;
    buf_init(&cert, WIRE_MAX);
    buf_init(&key, WIRE_MAX);
    buf_init(&ca, WIRE_MAX);
    if (serving_read(s->k, &cert, &key, &ca, &err)) {
        m.strings[0] = buf_str(&cert);
        m.strings[1] = buf_str(&key);
        m.strings[2] = buf_str(&ca);
        m.n_strings = 3;
    } else if (err.code == ERR_UNAVAILABLE) {
        log_info("there is no serving certificate yet (%s): connections wait", err.msg);
    } else {
        log_error("the serving certificate cannot be read: %s", err.msg);
    }
    if (id || m.n_strings) {
        send_message(s, &m);
    }
    if (key.ptr) {
        explicit_bzero(key.ptr, key.len);
    }
    buf_deinit(&cert);
    buf_deinit(&key);
    buf_deinit(&ca);
}

void server_tls_changed(struct kubelet *k)
{
    struct server_core *s = k->server;
    struct err err = { 0 };
    if (!s || !s->authn) {
        return;
    }
    if (!authn_chain_reload(s->authn, &err)) {
        log_warning("client CAs cannot be read again, the old ones stay: %s", err.msg);
    }
    send_tls(s, 0);
}

/* ---- life ---- */

static void on_message(struct loop_io *io, unsigned events, void *arg)
{
    static char bytes[WIRE_MAX];
    struct server_core *s = arg;
    struct wire_message m;
    int fd;
    if (events & LOOP_WRITE) {
        wire_queue_flush(&s->out);
        (void)loop_io_set(io, LOOP_READ | (wire_queue_waits(&s->out) ? LOOP_WRITE : 0));
    }
    ssize_t n = wire_receive(io->fd, bytes, &fd);
    fs_closep(&fd); /* the server never sends one */
    if (n <= 0) {
        if (n == 0 || (n != -EAGAIN && n != -EINTR)) {
            loop_io_stop(io);
        }
        return;
    }
    if (!wire_decode(str_n(bytes, (size_t)n), &m)) {
        log_warning("the server sent a malformed message");
        return;
    }
    if (m.what == WIRE_TLS) {
        send_tls(s, m.id);
    } else if (m.what == WIRE_REQUEST) {
        take_request(s, &m);
    } else if (m.what == WIRE_PLAIN) {
        take_plain(s, &m);
    } else if (m.what == WIRE_LOG_AGAIN) {
        log_again(s, &m);
    }
}

static void on_child(struct loop_child *c UNUSED, int status, void *arg)
{
    struct server_core *s = arg;
    log_error("the server's process has ended (status %d): the kubelet ends too, to be started again; containers go on", status);
    s->pid = 0;
    s->k->failed = true;
    loop_stop(s->k->loop);
}

/* For `coracle paths`. Live as long as the process. */
static const char *core_authn_words(const struct kubelet *k)
{
    static char words[64];
    snprintf(words, sizeof(words), "%s%s%s", k->cfg->client_ca_file.len ? "x509 " : "", k->cfg->token_webhook ? "tokens " : "",
             k->cfg->anonymous_auth ? "anonymous " : "");
    words[strlen(words) - (words[0] ? 1 : 0)] = 0;
    return words[0] ? words : "nobody";
}

static const char *core_authz_words(const struct kubelet *k)
{
    return str_eq_c(k->cfg->authorization_mode, "Webhook") ? "Webhook" : "AlwaysAllow";
}

bool server_fork(struct kubelet *k, struct err *err)
{
    int pair[2];
    uint64_t uid = 0;
    if (k->cfg->port <= 0 && k->cfg->read_only_port <= 0 && k->cfg->cadvisor_port <= 0) {
        return true;
    }
    if (!str_to_u64(k->cfg->server_user, &uid) || uid > UINT32_MAX) {
        return err_set(err, ERR_INVALID, "--server-user \"%.*s\" is no number", STR_ARG(k->cfg->server_user));
    }
    struct server_core *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        free(s);
        return err_set_errno(err, errno, "no socket for the server");
    }
    int size = 4 * WIRE_MAX;
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    (void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    s->pid = fork();
    if (s->pid == 0) {
        /* Nothing but its socket and what it logs to: whatever the core was handed is not the server's. */
        if ((pair[1] > 3 && close_range(3, (unsigned)pair[1] - 1, 0) < 0) || close_range((unsigned)pair[1] + 1, UINT_MAX, 0) < 0) {
            _exit(1);
        }
        const struct server_fork_config config = { .socket = pair[1], .uid = (uint32_t)uid, .address = k->cfg->address, .port = (uint16_t)k->cfg->port,
                                                   .read_only_port = (uint16_t)k->cfg->read_only_port, .cadvisor_port = (uint16_t)k->cfg->cadvisor_port,
                                                   .idle_ms = (uint64_t)k->cfg->streaming_idle_ms, .authn = core_authn_words(k),
                                                   .authz = core_authz_words(k) };
        _exit(server_main(&config));
    }
    close(pair[1]);
    if (s->pid < 0) {
        close(pair[0]);
        free(s);
        return err_set_errno(err, errno, "no process for the server");
    }
    s->k = k;
    s->socket = pair[0];
    wire_queue_init(&s->out, pair[0]);
    list_init(&s->requests);
    k->server = s;
    return true;
}

bool server_start(struct kubelet *k, struct err *err)
{
    struct server_core *s = k->server;
    char ca[PATH_MAX];
    if (!s) {
        return true;
    }
    const struct str mode = k->cfg->authorization_mode;
    const struct authn_config authn = { .client_ca_file = k->cfg->client_ca_file.len && str_to_cstr(k->cfg->client_ca_file, ca, sizeof(ca)) ? ca : NULL,
                                        .review_client = k->cfg->token_webhook ? k->client : NULL, .anonymous = k->cfg->anonymous_auth };
    const struct authz_config authz = { .modes = &mode, .n_modes = 1, .review_client = k->client };
    if (str_eq_c(mode, "Webhook") && !k->client) {
        return err_set(err, ERR_INVALID, "--authorization-mode=Webhook needs --kubeconfig");
    }
    s->authn = authn_chain_new(&authn, err);
    s->authz = s->authn ? authz_chain_new(&authz, err) : NULL;
    if (!s->authz) {
        return false;
    }
    loop_io_init(&s->io, k->loop, s->socket, on_message, s);
    if (k->cfg->port > 0) {
        serving_start(k);
    }
    if (loop_io_set(&s->io, LOOP_READ) < 0 || loop_child_start(&s->child, k->loop, s->pid, on_child, s) < 0) {
        return err_set(err, ERR_IO, "the server's process cannot be watched");
    }
    return true;
}

void server_stop(struct kubelet *k)
{
    struct server_core *s = k->server;
    if (!s) {
        return;
    }
    serving_stop(k);
    LIST_FOREACH(&s->requests, struct core_request, link, r) {
        core_request_free(r);
    }
    loop_io_stop(&s->io);
    wire_queue_deinit(&s->out);
    loop_child_stop(&s->child);
    close(s->socket);
    if (s->pid > 0) {
        (void)kill(s->pid, SIGKILL);
        (void)waitpid(s->pid, NULL, 0);
    }
    authn_chain_free(s->authn);
    authz_chain_free(s->authz);
    free(s);
    k->server = NULL;
}
