/*
 * One try of a probe or hook: a command in the container, an HTTP GET, a TCP connection, a gRPC health check (grpc.health.v1), or
 * a sleep. A failure is told apart from what could not be tried at all.
 */
#include "kubelet/kubelet-private.h"

#include <stdlib.h>
#include <unistd.h>

#include "client/path-report.h"
#include "net/dial.h"
#include "net/http-client.h"

struct handler {
    struct pod_container *c;
    handler_done_fn *done;
    void *arg;
    bool probe;
    struct loop_timer timer; /* the time limit, or the sleep */
    bool sleeping;
    struct loop_task task;   /* a result that was known at once */
    struct runtime_call *exec;
    struct net_dial *dial;
    struct http_client *http;
    struct http_call *call;
    int status;
    bool grpc;
    enum handler_result result;
    char output[KUBELET_MAX_HANDLER_OUTPUT];
    size_t output_len;
};

static void handler_free(struct handler *h)
{
    loop_timer_stop(&h->timer);
    loop_task_cancel(&h->task);
    runtime_cancel(h->c->pod->k->rt, h->exec);
    if (h->dial) {
        net_dialer_direct()->ops->cancel(h->dial);
    }
    http_call_cancel(h->call);
    http_client_free(h->http);
    free(h);
}

struct handler *handler_cancel(struct handler *h)
{
    if (h) {
        handler_free(h);
    }
    return NULL;
}

static void say(struct handler *h, struct str s)
{
    size_t n = MIN(s.len, sizeof(h->output) - 1 - h->output_len);
    memcpy(h->output + h->output_len, s.ptr ? s.ptr : "", n);
    h->output_len += n;
}

static void finish(void *arg)
{
    struct handler *h = arg;
    char output[KUBELET_MAX_HANDLER_OUTPUT];
    struct str text = { output, h->output_len };
    memcpy(output, h->output, h->output_len);
    enum handler_result result = h->result;
    handler_done_fn *done = h->done;
    void *user = h->arg;
    handler_free(h);
    done(user, result, text);
}

/* In a later turn: HTTP clients must not be freed inside their callbacks. */
static void end(struct handler *h, enum handler_result result)
{
    h->result = result;
    loop_timer_stop(&h->timer);
    loop_task_defer(&h->task);
}

static void on_timeout(void *arg)
{
    struct handler *h = arg;
    if (h->sleeping) {
        end(h, HANDLER_OK);
        return;
    }
    h->output_len = 0;
    say(h, STR("command or request timed out"));
    end(h, HANDLER_FAILED);
}

/* ---- exec ---- */

static void on_exec(void *arg, const void *response, const struct err *err)
{
    struct handler *h = arg;
    const struct cri_v1_exec_sync_response *r = response;
    h->exec = NULL;
    if (err) {
        say(h, str_c(err->msg));
        end(h, err->code == ERR_TIMEOUT ? HANDLER_FAILED : HANDLER_ERROR);
        return;
    }
    say(h, r->stdout);
    say(h, r->stderr);
    end(h, r->exit_code == 0 ? HANDLER_OK : HANDLER_FAILED);
}

static void start_exec(struct handler *h, const struct core_v1_exec_action *e, uint64_t timeout_ms)
{
    const struct cri_v1_exec_sync_request request = { .container_id = str_c(h->c->run.id), .cmd = e->command, .n_cmd = e->n_command,
                                                      .timeout = (int64_t)((timeout_ms + 999) / 1000) };
    h->exec = runtime_call(h->c->pod->k->rt, &cri_v1_runtime_service_exec_sync_rpc, &request, timeout_ms + 2000, on_exec, h);
}

/* ---- addresses ---- */

static bool port_of(struct handler *h, const struct api_int_or_string *p, uint16_t *ret)
{
    const struct core_v1_container *s = h->c->spec;
    int64_t n = p->kind == API_IOS_INT ? p->i : 0;
    if (p->kind == API_IOS_STRING && !str_to_i64(p->s, &n)) {
        for (size_t i = 0; i < s->n_ports; i++) {
            if (str_eq(s->ports[i].name, p->s)) {
                n = s->ports[i].container_port;
            }
        }
    }
    if (n < 1 || n > 65535) {
        say(h, STR("the port of the probe is not known"));
        return false;
    }
    *ret = (uint16_t)n;
    return true;
}

static struct str host_of(struct handler *h, struct str host)
{
    const struct pod *p = h->c->pod;
    return host.len ? host : p->obj->spec.host_network ? str_c(p->k->node_ip) : p->n_sandboxes ? str_c(p->sandboxes[0].ips[0]) : STR_EMPTY;
}

/* ---- TCP ---- */

static void on_dialled(int fd, const struct err *err, void *arg)
{
    struct handler *h = arg;
    h->dial = NULL;
    if (fd >= 0) {
        close(fd);
    } else {
        say(h, str_c(err->msg));
    }
    end(h, fd >= 0 ? HANDLER_OK : HANDLER_FAILED);
}

/* ---- HTTP ---- */

static void on_response(struct http_call *c UNUSED, const struct http_response *r, void *arg)
{
    struct handler *h = arg;
    h->status = r->status;
}

static void on_body(struct http_call *c UNUSED, struct str data, void *arg)
{
    struct handler *h = arg;
    say(h, data);
}

static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers, void *arg)
{
    struct handler *h = arg;
    h->call = NULL;
    if (h->grpc) {
        /* A HealthCheckResponse in one frame: status (field 1) is SERVING (1). */
        bool serving = h->output_len >= 7 && h->output[5] == 0x08 && h->output[6] == 0x01;
        struct str status = trailers ? http_header_get(trailers, STR("grpc-status")) : STR_NULL;
        bool ok = serving && (!status.len || str_eq_c(status, "0"));
        h->output_len = 0;
        say(h, ok ? STR_EMPTY : STR("service unhealthy"));
        end(h, ok ? HANDLER_OK : HANDLER_FAILED);
        return;
    }
    bool ok = h->status >= 200 && h->status < 400;
    if (!ok) {
        char text[96];
        int n = snprintf(text, sizeof(text), "HTTP probe failed with statuscode: %d", h->status);
        h->output_len = 0;
        say(h, str_n(text, (size_t)n));
    }
    end(h, ok ? HANDLER_OK : HANDLER_FAILED);
}

static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct handler *h = arg;
    h->call = NULL;
    h->output_len = 0;
    say(h, str_c(e->err.msg));
    end(h, HANDLER_FAILED);
}

static const struct http_call_ops http_ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };

static bool open_client(struct handler *h, struct str host, uint16_t port, bool tls, enum http_client_protocol protocol)
{
    struct err err = { 0 };
    struct loop *loop = h->c->pod->k->loop;
    const struct net_path_spec what = { .outgoing = true, .peer = STR("pods"), .purpose = STR(PATH_PURPOSE_PROBE) };
    struct net_path *path = net_path_get(loop, &what);
    struct http_client_config config = { .host = host, .port = port, .protocol = protocol, .path = path };
    if (tls) {
        /* Probes do not verify the container's certificate (API documentation of httpGet.scheme). */
        const struct net_tls_client_config t = { .insecure_skip_verify = true, .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
        config.tls = net_tls_client_new(&t, &err);
    }
    h->http = tls && !config.tls ? NULL : http_client_new(loop, &config, &err);
    net_path_unref(path);
    net_tls_client_unref(config.tls);
    if (!h->http) {
        say(h, str_c(err.msg));
    }
    return h->http != NULL;
}

static bool start_http(struct handler *h, const struct core_v1_http_get_action *g, uint64_t timeout_ms)
{
    uint16_t port;
    struct http_header headers[34];
    size_t n = 0;
    char target[2048];
    bool agent = false;
    if (!port_of(h, &g->port, &port) || !open_client(h, host_of(h, g->host), port, str_eq_nocase(g->scheme, STR("HTTPS")), HTTP_CLIENT_H1_ONLY)) {
        return false;
    }
    snprintf(target, sizeof(target), "%s%.*s", g->path.len && g->path.ptr[0] == '/' ? "" : "/", STR_ARG(g->path));
    for (size_t i = 0; i < g->n_http_headers && n < 32; i++) {
        if (!str_eq_nocase(g->http_headers[i].name, STR("host")) && http_is_token(g->http_headers[i].name)) {
            headers[n++] = (struct http_header){ g->http_headers[i].name, g->http_headers[i].value };
            agent = agent || str_eq_nocase(g->http_headers[i].name, STR("user-agent"));
        }
    }
    if (!agent) {
        headers[n++] = (struct http_header){ STR("user-agent"), STR("kube-probe/1.36") };
    }
    headers[n++] = (struct http_header){ STR("accept"), STR("*/*") };
    const struct http_call_config config = { .method = STR("GET"), .target = str_c(target), .headers = headers, .n_headers = n,
                                             .total_ms = (uint32_t)timeout_ms };
    h->call = http_client_start(h->http, &config, &http_ops, h);
    return true;
}

static bool start_grpc(struct handler *h, const struct core_v1_grpc_action *g, uint64_t timeout_ms)
{
    static const struct http_header headers[] = { { STR_INIT("content-type"), STR_INIT("application/grpc") }, { STR_INIT("te"), STR_INIT("trailers") } };
    char frame[5 + 2 + 128];
    size_t n = MIN(g->service.len, (size_t)127);
    if (!open_client(h, host_of(h, STR_NULL), (uint16_t)g->port, false, HTTP_CLIENT_H2_PRIOR)) {
        return false;
    }
    memset(frame, 0, 5);
    frame[5] = 0x0a;
    frame[6] = (char)n;
    memcpy(frame + 7, g->service.ptr ? g->service.ptr : "", n);
    n = n ? n + 2 : 0;
    frame[4] = (char)n;
    struct net_chunk body = net_chunk_copy(str_n(frame, 5 + n));
    const struct http_call_config config = { .method = STR("POST"), .target = STR("/grpc.health.v1.Health/Check"), .headers = headers,
                                             .n_headers = ARRAY_SIZE(headers), .body = &body, .n_body = 1, .total_ms = (uint32_t)timeout_ms };
    h->grpc = true;
    h->call = http_client_start(h->http, &config, &http_ops, h);
    return true;
}

struct handler *handler_start(struct pod_container *c, const struct handler_action *action, uint64_t timeout_ms, bool probe,
                              handler_done_fn *done, void *arg)
{
    struct handler *h = calloc(1, sizeof(*h));
    struct loop *l = c->pod->k->loop;
    uint16_t port;
    if (!h) {
        abort();
    }
    *h = (struct handler){ .c = c, .done = done, .arg = arg, .probe = probe };
    loop_timer_init(&h->timer, l, on_timeout, h);
    loop_task_init(&h->task, l, finish, h);
    loop_timer_start(&h->timer, timeout_ms);
    bool ok = true;
    if (action->exec) {
        start_exec(h, action->exec, timeout_ms);
    } else if (action->http_get) {
        ok = start_http(h, action->http_get, timeout_ms);
    } else if (action->grpc) {
        ok = start_grpc(h, action->grpc, timeout_ms);
    } else if (action->tcp_socket) {
        ok = port_of(h, &action->tcp_socket->port, &port);
        if (ok) {
            h->dial = net_dial_start(net_dialer_direct(), l, host_of(h, action->tcp_socket->host), port, (uint32_t)timeout_ms, on_dialled, h);
        }
    } else if (action->sleep) {
        h->sleeping = true;
        loop_timer_start(&h->timer, MIN(timeout_ms, (uint64_t)MAX(action->sleep->seconds, (int64_t)0) * 1000));
    }
    if (!ok) {
        end(h, HANDLER_ERROR);
    }
    return h;
}
