/* exec, attach, port-forward and run: what the runtime streams, and where the server's process finds it. */
#include "kubelet/core-private.h"

#include "net/addr.h"
#include "net/channels.h"

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
    core_request_send(r, &m);
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

void core_exec(struct core_request *r, bool attach)
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
void core_port_forward(struct core_request *r)
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

void core_run(struct core_request *r)
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
