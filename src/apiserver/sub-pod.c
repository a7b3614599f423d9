/* log, exec, attach and port-forward of a pod: passed on to its kubelet. */
#include "api/gen/core_v1.h"
#include "apiserver/backend.h"
#include "apiserver/kubelet.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "base/encoding.h"
#include "base/log.h"

static struct str names_of(struct arena *a, const struct core_v1_container *list, size_t n)
{
    struct str out = STR_EMPTY;
    for (size_t i = 0; i < n; i++) {
        out = arena_printf(a, "%.*s%s%.*s", STR_ARG(out), i ? " " : "", STR_ARG(list[i].name));
    }
    return out;
}

static bool has_container(const struct core_v1_pod *p, struct str name)
{
    for (size_t i = 0; i < p->spec.n_containers; i++) {
        if (str_eq(p->spec.containers[i].name, name)) {
            return true;
        }
    }
    for (size_t i = 0; i < p->spec.n_init_containers; i++) {
        if (str_eq(p->spec.init_containers[i].name, name)) {
            return true;
        }
    }
    for (size_t i = 0; i < p->spec.n_ephemeral_containers; i++) {
        if (str_eq(p->spec.ephemeral_containers[i].ephemeral_container_common.name, name)) {
            return true;
        }
    }
    return false;
}

/* The container that is named, or the only one, or the annotated default. */
static bool choose_container(struct request *r, const struct core_v1_pod *p, struct str *ret)
{
    struct str name = request_param(r, "container"), pod = p->metadata.name;
    for (size_t i = 0; str_empty(name) && i < p->metadata.n_annotations; i++) {
        if (str_eq_c(p->metadata.annotations[i].key, "kubectl.kubernetes.io/default-container") &&
            has_container(p, p->metadata.annotations[i].value)) {
            name = p->metadata.annotations[i].value;
        }
    }
    if (!str_empty(name)) {
        if (!has_container(p, name)) {
            (void)request_bad(r, "container %.*s is not valid for pod %.*s", STR_ARG(name), STR_ARG(pod));
            return false;
        }
        *ret = name;
        return true;
    }
    if (p->spec.n_containers == 1) {
        *ret = p->spec.containers[0].name;
        return true;
    }
    struct str all = names_of(&r->arena, p->spec.containers, p->spec.n_containers);
    struct str init = names_of(&r->arena, p->spec.init_containers, p->spec.n_init_containers);
    if (p->spec.n_init_containers > 0) {
        (void)request_bad(r, "a container name must be specified for pod %.*s, choose one of: [%.*s] or one of the init containers: [%.*s]",
                          STR_ARG(pod), STR_ARG(all), STR_ARG(init));
    } else {
        (void)request_bad(r, "a container name must be specified for pod %.*s, choose one of: [%.*s]", STR_ARG(pod), STR_ARG(all));
    }
    return false;
}

static struct http_client *client_of_pod(struct request *r, const struct core_v1_pod *p, bool unverified)
{
    struct err err = { 0 };
    struct rest *nodes = registry_rest(r->srv, STR_EMPTY, STR("nodes"));
    if (str_empty(p->spec.node_name)) {
        (void)request_bad(r, "pod %.*s does not have a host assigned", STR_ARG(p->metadata.name));
        return NULL;
    }
    const struct object *o = watch_cache_get(nodes->cache, STR_EMPTY, p->spec.node_name);
    const struct core_v1_node *node = o ? rest_decode(nodes, &r->arena, o) : NULL;
    if (!node) {
        status_not_found(&r->status, &r->arena, STR_EMPTY, STR("nodes"), p->spec.node_name);
        return NULL;
    }
    struct http_client *c = kubelet_client(r->srv, node, unverified, &err);
    if (!c && err.code == ERR_UNAVAILABLE) {
        r->status = (struct status){ .code = 503, .reason = STR("ServiceUnavailable"), .message = arena_printf(&r->arena, "%s", err.msg) };
    } else if (!c && err.code == ERR_FORBIDDEN) {
        (void)request_bad(r, "%s", err.msg);
    } else if (!c) {
        status_internal(&r->status, &r->arena, "%s", err.msg);
    }
    return c;
}

static bool flag(struct request *r, const char *name)
{
    struct str v = request_param(r, name);
    return v.ptr && !str_eq_c(v, "0") && !str_eq_nocase(v, STR("false"));
}

/* ---- log ---- */

static void positive(struct request *r, const char *key, int64_t min, const char *what, struct buf *query)
{
    struct str v = request_param(r, key);
    int64_t n;
    if (!v.ptr) {
        return;
    }
    if (!str_to_i64(v, &n) || n < min) {
        field_invalid_int(&r->errs, str_c(key), str_to_i64(v, &n) ? n : 0, "must be greater than %s0", what);
        return;
    }
    buf_printf(query, "%s%s=%lld", query->len ? "&" : "?", key, (long long)n);
}

enum stage_result stage_pod_log(struct request *r)
{
    const struct core_v1_pod *p = r->old;
    struct str container;
    CLEANUP(buf_deinit) struct buf query;
    buf_init(&query, 8192);
    static const char *const bools[] = { "follow", "previous", "timestamps" };
    for (size_t i = 0; i < ARRAY_SIZE(bools); i++) {
        if (flag(r, bools[i])) {
            buf_printf(&query, "%s%s=true", query.len ? "&" : "?", bools[i]);
        }
    }
    positive(r, "tailLines", 0, "or equal to ", &query);
    positive(r, "limitBytes", 1, "", &query);
    positive(r, "sinceSeconds", 1, "", &query);
    struct str since = request_param(r, "sinceTime"), stream = request_param(r, "stream");
    if (!str_empty(since)) {
        buf_printf(&query, "%ssinceTime=", query.len ? "&" : "?");
        percent_encode(&query, since, "");
    }
    if (!str_empty(stream) && !str_eq_c(stream, "All")) {
        buf_printf(&query, "%sstream=", query.len ? "&" : "?");
        percent_encode(&query, stream, "");
    }
    if (r->errs.n > 0) {
        status_invalid(&r->status, &r->arena, STR_EMPTY, STR("PodLogOptions"), r->info.name, &r->errs);
        return STAGE_ERROR;
    }
    if (!choose_container(r, p, &container)) {
        return STAGE_ERROR;
    }
    bool unverified = flag(r, "insecureSkipTLSVerifyBackend");
    struct http_client *c = client_of_pod(r, p, unverified);
    if (!c) {
        return STAGE_ERROR;
    }
    if (unverified) {
        log_warning("apiserver: %.*s asked for logs of %.*s/%.*s without verifying the kubelet", STR_ARG(r->user.name),
                    STR_ARG(p->metadata.namespace), STR_ARG(p->metadata.name));
    }
    struct str target = arena_printf(&r->arena, "/containerLogs/%.*s/%.*s/%.*s%.*s", STR_ARG(p->metadata.namespace),
                                     STR_ARG(p->metadata.name), STR_ARG(container), STR_ARG(buf_str(&query)));
    struct backend_call call = { .client = c, .style = BACKEND_KUBELET, .method = STR("GET"), .target = target,
                                 /* The original kubelet begins its answer with the first line of the log. */
                                 .patient = flag(r, "follow") };
    return backend_stream(r, &call);
}

/* ---- exec, attach, port-forward ---- */

static unsigned channels_of(struct request *r, struct buf *query)
{
    static const struct {
        const char *asked, *sent;
        unsigned bit;
    } table[] = {
        { "stdin", "input", CHANNEL_BIT(CHANNEL_STDIN) },
        { "stdout", "output", CHANNEL_BIT(CHANNEL_STDOUT) },
        { "stderr", "error", CHANNEL_BIT(CHANNEL_STDERR) },
        { "tty", "tty", CHANNEL_BIT(CHANNEL_RESIZE) },
    };
    unsigned mask = CHANNEL_BIT(CHANNEL_ERROR);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (flag(r, table[i].asked)) {
            mask |= table[i].bit;
            buf_printf(query, "%s%s=1", query->len ? "&" : "?", table[i].sent);
        }
    }
    return mask;
}

enum stage_result stage_pod_stream(struct request *r)
{
    const struct core_v1_pod *p = r->old;
    bool exec = str_eq_c(r->sub->name, "exec"), forward = str_eq_c(r->sub->name, "portforward");
    struct str container = STR_EMPTY, *list;
    unsigned channels = 0;
    CLEANUP(buf_deinit) struct buf target, query;
    buf_init(&target, 64u << 10);
    buf_init(&query, 64u << 10);
    if (!http_stream_wants_upgrade(r->http)) {
        return request_bad(r, "Upgrade request required");
    }
    if (!forward && !choose_container(r, p, &container)) {
        return STAGE_ERROR;
    }
    if (forward) {
        size_t n = query_get_all(&r->arena, r->query, STR("ports"), &list);
        for (size_t i = 0; i < n; i++) {
            buf_printf(&query, "%sport=", query.len ? "&" : "?");
            percent_encode(&query, list[i], ",");
        }
    } else {
        channels = channels_of(r, &query);
        if (!(channels & ~(CHANNEL_BIT(CHANNEL_ERROR) | CHANNEL_BIT(CHANNEL_RESIZE)))) {
            return request_bad(r, "you must specify at least 1 of stdin, stdout, stderr");
        }
    }
    if (exec) {
        size_t n = query_get_all(&r->arena, r->query, STR("command"), &list);
        if (n == 0) {
            return request_bad(r, "you must specify at least one command for the container");
        }
        for (size_t i = 0; i < n; i++) {
            buf_printf(&query, "%scommand=", query.len ? "&" : "?");
            percent_encode(&query, list[i], "");
        }
    }
    struct http_client *c = client_of_pod(r, p, false);
    if (!c) {
        return STAGE_ERROR;
    }
    buf_printf(&target, "/%s/%.*s/%.*s", forward ? "portForward" : exec ? "exec" : "attach", STR_ARG(p->metadata.namespace),
               STR_ARG(p->metadata.name));
    if (!forward) {
        buf_printf(&target, "/%.*s", STR_ARG(container));
    }
    buf_append(&target, buf_str(&query));
    struct backend_call call = { .client = c, .style = BACKEND_KUBELET, .target = arena_str(&r->arena, buf_str(&target)) };
    return backend_upgrade(r, &call, forward ? UPGRADE_PORT_FORWARD : UPGRADE_REMOTE_COMMAND, channels);
}
