/* The runtime over the Docker Engine API: calls and their ends, the version that is spoken, the state of the node's runtime. */
#include "kubelet/docker-private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/copy.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/path-report.h"
#include "kubelet/limits.h"

/* ---- a call's end ---- */

static void call_free(struct runtime_call *c)
{
    if (c->drop) {
        c->drop(c);
    }
    loop_task_cancel(&c->begin);
    loop_timer_stop(&c->deadline);
    c->http = docker_http_cancel(c->http);
    c->cni = cni_cancel(c->cni);
    list_remove(&c->link);
    arena_deinit(&c->a);
    free(c);
}

static void settle(struct runtime_call *c, const void *response, const struct err *err)
{
    runtime_done_fn *done = c->done;
    void *arg = c->arg;
    struct arena a = c->a;
    arena_init(&c->a, 0);
    call_free(c);
    done(arg, response, err);
    arena_deinit(&a);
}

void docker_done(struct runtime_call *c, const void *response)
{
    settle(c, response, NULL);
}

void docker_fail(struct runtime_call *c, const struct err *err)
{
    struct err copy = *err;
    settle(c, NULL, &copy);
}

void docker_fail_with(struct runtime_call *c, enum err_code code, const char *fmt, ...)
{
    struct err err = { 0 };
    char text[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)err_set(&err, code, "%s", text);
    settle(c, NULL, &err);
}

void *docker_response(struct runtime_call *c)
{
    void *r = arena_alloc(&c->a, c->rpc->response->size ? c->rpc->response->size : 1);
    if (!r) {
        docker_fail_with(c, ERR_TOO_LARGE, "the runtime's answer is too large");
    }
    return r;
}

bool docker_json(struct runtime_call *c, const struct docker_answer *a, struct val *ret)
{
    struct err err = { 0 };
    if (a->err) {
        docker_fail(c, a->err);
        return false;
    }
    struct str text = arena_str(&c->a, a->body);
    if (a->body.len && !text.ptr) {
        (void)err_set(&err, ERR_TOO_LARGE, "dockerd's answer is too large");
    } else if (val_parse_json(&c->a, text, DOCKER_JSON_DEPTH, NULL, ret, &err)) {
        return true;
    }
    (void)err_wrap(&err, "dockerd's answer");
    docker_fail(c, &err);
    return false;
}

/* ---- requests of a call ---- */

static void on_answer(void *arg, const struct docker_answer *a)
{
    struct runtime_call *c = arg;
    docker_next_fn *next = c->next;
    c->http = NULL;
    next(c, a);
}

void docker_ask_spec(struct runtime_call *c, const struct docker_http_spec *spec, docker_next_fn *next)
{
    c->next = next;
    c->http = docker_http(c->d, spec, on_answer, c);
}

void docker_ask(struct runtime_call *c, const char *method, struct str path, struct str body, docker_next_fn *next)
{
    const struct docker_http_spec spec = { .method = method, .path = path, .body = body };
    if (!path.ptr) {
        docker_fail_with(c, ERR_TOO_LARGE, "the request to dockerd is too large");
        return;
    }
    docker_ask_spec(c, &spec, next);
}

/* ---- which version is spoken ---- */

static void version(struct runtime_call *c)
{
    struct cri_v1_version_response *r = docker_response(c);
    if (r) {
        r->version = STR("0.1.0");
        r->runtime_name = STR("docker");
        r->runtime_version = arena_str(&c->a, str_c(c->d->version));
        r->runtime_api_version = arena_printf(&c->a, "1.%u.0", c->d->minor);
        docker_done(c, r);
    }
}

static void status(struct runtime_call *c)
{
    struct cri_v1_status_response *r = docker_response(c);
    struct err err = { 0 };
    if (!r) {
        return;
    }
    r->status = arena_new(&c->a, struct cri_v1_runtime_status);
    struct cri_v1_runtime_condition *conditions = arena_new_n(&c->a, struct cri_v1_runtime_condition, 2);
    if (!r->status || !conditions) {
        docker_fail_with(c, ERR_TOO_LARGE, "the runtime's answer is too large");
        return;
    }
    conditions[0] = (struct cri_v1_runtime_condition){ .type = STR("RuntimeReady"), .status = true };
    conditions[1] = (struct cri_v1_runtime_condition){ .type = STR("NetworkReady"), .status = cni_ready(&c->d->cni, &err) };
    if (!conditions[1].status) {
        conditions[1].reason = STR("NetworkPluginNotReady");
        conditions[1].message = arena_str(&c->a, str_c(err.msg));
    }
    r->status->conditions = conditions;
    r->status->n_conditions = 2;
    docker_done(c, r);
}

static void reopen_log(struct runtime_call *c)
{
    docker_fail_with(c, ERR_INVALID, "dockerd rotates its logs itself");
}

static const struct {
    const struct api_rpc *rpc;
    docker_op_fn *op;
} ops[] = {
    { &cri_v1_runtime_service_version_rpc, version },
    { &cri_v1_runtime_service_status_rpc, status },
    { &cri_v1_runtime_service_reopen_container_log_rpc, reopen_log },
    { &cri_v1_runtime_service_run_pod_sandbox_rpc, docker_run_sandbox },
    { &cri_v1_runtime_service_stop_pod_sandbox_rpc, docker_stop_sandbox },
    { &cri_v1_runtime_service_remove_pod_sandbox_rpc, docker_remove_sandbox },
    { &cri_v1_runtime_service_pod_sandbox_status_rpc, docker_sandbox_status },
    { &cri_v1_runtime_service_list_pod_sandbox_rpc, docker_list_sandboxes },
    { &cri_v1_runtime_service_create_container_rpc, docker_create_container },
    { &cri_v1_runtime_service_start_container_rpc, docker_start_container },
    { &cri_v1_runtime_service_stop_container_rpc, docker_stop_container },
    { &cri_v1_runtime_service_remove_container_rpc, docker_remove_container },
    { &cri_v1_runtime_service_container_status_rpc, docker_container_status },
    { &cri_v1_runtime_service_list_containers_rpc, docker_list_containers },
    { &cri_v1_runtime_service_list_container_stats_rpc, docker_list_stats },
    { &cri_v1_runtime_service_exec_sync_rpc, docker_exec_sync },
    { &cri_v1_runtime_service_exec_rpc, docker_exec },
    { &cri_v1_runtime_service_attach_rpc, docker_attach },
    { &cri_v1_runtime_service_port_forward_rpc, docker_port_forward },
    { &cri_v1_image_service_image_status_rpc, docker_image_status },
    { &cri_v1_image_service_list_images_rpc, docker_list_images },
    { &cri_v1_image_service_pull_image_rpc, docker_pull_image },
    { &cri_v1_image_service_remove_image_rpc, docker_remove_image },
};

static void dispatch(struct runtime_call *c)
{
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        if (ops[i].rpc == c->rpc) {
            ops[i].op(c);
            return;
        }
    }
    docker_fail_with(c, ERR_INVALID, "%.*s is not part of what is done with dockerd", STR_ARG(c->rpc->path));
}

/* dockerd's control groups and the pods' must be made the same way. */
static void on_info(struct runtime_call *c, const struct docker_answer *a)
{
    struct docker *d = c->d;
    struct val v;
    if (a->err) {
        d->minor = 0;
        docker_fail(c, a->err);
        return;
    }
    unsigned minor = d->minor;
    d->minor = 0;
    if (!docker_json(c, a, &v)) {
        return;
    }
    struct str driver = docker_str(&v, "CgroupDriver");
    if (!str_eq(driver, d->options.cgroup_driver)) {
        docker_fail_with(c, ERR_INVALID, "dockerd's cgroup driver is \"%.*s\", and --cgroup-driver says \"%.*s\"", STR_ARG(driver),
                         STR_ARG(d->options.cgroup_driver));
        return;
    }
    d->swap_limit = docker_bool(&v, "SwapLimit");
    d->minor = minor;
    dispatch(c);
}

static bool minor_of(struct str text, unsigned *ret)
{
    uint64_t v;
    if (!str_starts(text, STR("1.")) || !str_to_u64(str_sub(text, 2, text.len), &v) || v > 1000) {
        return false;
    }
    *ret = (unsigned)v;
    return true;
}

static void on_version(struct runtime_call *c, const struct docker_answer *a)
{
    struct docker *d = c->d;
    struct val v;
    unsigned newest, oldest;
    if (a->err) {
        docker_fail(c, a->err);
        return;
    }
    if (!docker_json(c, a, &v)) {
        return;
    }
    struct str api = docker_str(&v, "ApiVersion"), min = docker_str(&v, "MinAPIVersion");
    if (!minor_of(api, &newest) || !minor_of(min.len ? min : api, &oldest)) {
        docker_fail_with(c, ERR_INVALID, "dockerd does not say which version it speaks");
        return;
    }
    if (newest < DOCKER_API_MINOR_MIN || oldest > DOCKER_API_MINOR_MAX) {
        docker_fail_with(c, ERR_INVALID, "dockerd speaks versions 1.%u to 1.%u of its API; the kubelet speaks 1.%u to 1.%u", oldest, newest,
                         DOCKER_API_MINOR_MIN, DOCKER_API_MINOR_MAX);
        return;
    }
    d->minor = MIN(newest, DOCKER_API_MINOR_MAX);
    snprintf(d->version, sizeof(d->version), "%.*s", STR_ARG(docker_str(&v, "Version")));
    docker_ask(c, "GET", STR("/info"), STR_EMPTY, on_info);
}

static void on_begin(void *arg)
{
    struct runtime_call *c = arg;
    if (!c->request) {
        docker_fail_with(c, ERR_TOO_LARGE, "the request to the runtime is too large");
        return;
    }
    if (!c->d->minor) {
        const struct docker_http_spec spec = { .method = "GET", .path = STR("/version"), .unversioned = true };
        docker_ask_spec(c, &spec, on_version);
        return;
    }
    dispatch(c);
}

static void on_deadline(void *arg)
{
    struct runtime_call *c = arg;
    docker_fail_with(c, ERR_TIMEOUT, "dockerd did not answer in %llu ms", (unsigned long long)c->timeout_ms);
}

/* ---- the interface ---- */

static struct runtime_call *docker_call(struct runtime *rt, const struct api_rpc *rpc, const void *request, uint64_t timeout_ms,
                                        runtime_done_fn *done, void *arg)
{
    struct docker *d = CONTAINER_OF(rt, struct docker, base);
    struct runtime_call *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    *c = (struct runtime_call){ .d = d, .rpc = rpc, .done = done, .arg = arg, .timeout_ms = timeout_ms };
    arena_init(&c->a, KUBELET_MAX_CRI_ARENA);
    c->request = api_copy(&c->a, rpc->request, request);
    list_push_back(&d->calls, &c->link);
    loop_task_init(&c->begin, d->loop, on_begin, c);
    loop_task_defer(&c->begin);
    loop_timer_init(&c->deadline, d->loop, on_deadline, c);
    if (timeout_ms) {
        loop_timer_start(&c->deadline, timeout_ms);
    }
    return c;
}

static void docker_free(struct runtime *rt)
{
    struct docker *d = CONTAINER_OF(rt, struct docker, base);
    LIST_FOREACH(&d->calls, struct runtime_call, link, c) {
        call_free(c);
    }
    docker_killers_free(d);
    d->streams = docker_streams_free(d->streams);
    d->samples = docker_samples_free(d->samples);
    d->http = http_client_free(d->http);
    map_deinit(&d->networks);
    arena_deinit(&d->arena);
    free(d);
}

static struct str copy(struct docker *d, struct str s)
{
    return s.len ? arena_str(&d->arena, s) : STR_EMPTY;
}

/* What this process, and so dockerd most likely, may do with oom_score_adj. */
static void look_at_oom(struct docker *d)
{
    CLEANUP(buf_deinit) struct buf b;
    struct str rest, line;
    int64_t own = 0;
    unsigned long long capabilities = 0;
    buf_init(&b, 65536);
    if (fs_read("/proc/self/oom_score_adj", 64, &b, NULL) && str_to_i64(str_trim(buf_str(&b)), &own)) {
        d->own_oom = (int)own;
    }
    buf_clear(&b);
    if (fs_read("/proc/self/status", 65536, &b, NULL)) {
        rest = buf_str(&b);
        while (str_split(&rest, '\n', &line)) {
            if (str_starts(line, STR("CapEff:")) && sscanf(line.ptr + 7, "%llx", &capabilities) == 1) {
                d->may_lower_oom = capabilities >> 24 & 1; /* CAP_SYS_RESOURCE */
            }
        }
    }
}

struct runtime *runtime_docker_new(struct loop *l, const struct docker_options *o, struct err *err)
{
    static const struct runtime_ops runtime_ops = { docker_call, call_free, docker_free };
    char path[256];
    struct str endpoint = o->endpoint;
    if (!str_starts(endpoint, STR("unix://")) || !str_to_cstr(str_sub(endpoint, 7, endpoint.len), path, sizeof(path)) || path[0] != '/') {
        err_set(err, ERR_INVALID, "--docker-endpoint \"%.*s\" is no unix socket (unix:///var/run/docker.sock): whoever reaches dockerd over a network is root",
                STR_ARG(endpoint));
        return NULL;
    }
    struct docker *d = calloc(1, sizeof(*d));
    if (!d) {
        abort();
    }
    d->base.ops = &runtime_ops;
    d->base.scheme = "docker";
    d->base.rotates_logs = true;
    d->loop = l;
    list_init(&d->calls);
    list_init(&d->killers);
    map_init(&d->networks);
    arena_init(&d->arena, 65536);
    d->options = *o;
    d->options.endpoint = copy(d, o->endpoint);
    d->options.cgroup_driver = copy(d, o->cgroup_driver);
    d->options.pause_image = o->pause_image.len ? copy(d, o->pause_image) : STR(DOCKER_PAUSE_IMAGE);
    d->options.log_max_size = copy(d, o->log_max_size);
    d->born_ns = clock_real_s() * 1000000000;
    look_at_oom(d);
    const struct net_path_spec what = { .outgoing = true, .peer = STR("container runtime"), .purpose = STR(PATH_PURPOSE_CRI), .address = str_c(path),
                                        .authn = "file permissions", .authz = "file permissions" };
    struct net_path *net_path = net_path_get(l, &what);
    const struct http_client_config config = { .host = str_c(path), .authority = STR("docker"), .protocol = HTTP_CLIENT_H1_ONLY,
                                               .max_connections = DOCKER_MAX_CONNECTIONS, .path = net_path };
    d->http = http_client_new(l, &config, err);
    net_path_unref(net_path);
    if (!d->http || !str_to_cstr(o->cni_conf_dir, d->cni.conf, sizeof(d->cni.conf)) || !str_to_cstr(o->cni_bin_dir, d->cni.bin, sizeof(d->cni.bin)) ||
        !str_to_cstr(o->state_dir, d->cni.state, sizeof(d->cni.state)) || !fs_mkdirs(d->cni.state, 0700, err)) {
        if (d->http && err && err->code == ERR_NONE) {
            err_set(err, ERR_INVALID, "--cni-conf-dir, --cni-bin-dir or --root-dir is too long");
        }
        docker_free(&d->base);
        return NULL;
    }
    return &d->base;
}
