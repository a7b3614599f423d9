/* Requests to dockerd: JSON over HTTP/1.1 on its unix socket, and connections that it gives over. */
#include "kubelet/docker-private.h"

#include <stdlib.h>

#include "kubelet/limits.h"

struct docker_http {
    struct docker *d;
    struct http_call *call;
    docker_http_fn *done;
    docker_hijack_fn *hijacked;
    void (*on_body)(void *arg, struct str bytes);
    void *arg;
    struct buf body;
    int status;
};

static void http_free(struct docker_http *h)
{
    (void)http_call_cancel(h->call);
    buf_deinit(&h->body);
    free(h);
}

struct docker_http *docker_http_cancel(struct docker_http *h)
{
    if (h) {
        http_free(h);
    }
    return NULL;
}

static void end(struct docker_http *h, const struct err *err)
{
    const struct docker_answer a = { .status = err && !h->status ? 0 : h->status, .body = buf_str(&h->body), .err = err };
    h->call = NULL;
    if (h->hijacked) {
        h->hijacked(h->arg, NULL, err);
    } else {
        h->done(h->arg, &a);
    }
    http_free(h);
}

/* {"message":"No such container: x"} */
static void refusal(struct docker_http *h, struct err *err)
{
    struct arena a;
    struct val v;
    struct str said = str_trim(buf_str(&h->body));
    arena_init(&a, KUBELET_MAX_CRI_ARENA);
    if (val_parse_json(&a, said, 16, NULL, &v, NULL) && docker_str(&v, "message").len) {
        said = docker_str(&v, "message");
    }
    enum err_code code = h->status == 404   ? ERR_NOT_FOUND
                         : h->status == 409 ? ERR_CONFLICT
                         : h->status == 400 ? ERR_BAD_REQUEST
                                            : ERR_INTERNAL;
    said = str_sub(said, 0, 900);
    if (said.len) {
        (void)err_set(err, code, "%.*s", STR_ARG(said));
    } else {
        (void)err_set(err, code, "dockerd answers %d", h->status);
    }
    arena_deinit(&a);
}

static void on_response(struct http_call *c UNUSED, const struct http_response *r, void *arg)
{
    struct docker_http *h = arg;
    h->status = r->status;
}

static void on_body(struct http_call *c UNUSED, struct str data, void *arg)
{
    struct docker_http *h = arg;
    if (h->on_body && h->status < 400) {
        h->on_body(h->arg, data);
    } else {
        buf_append(&h->body, data);
    }
}

static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    struct docker_http *h = arg;
    struct err err = { 0 };
    if (h->status >= 400 || h->hijacked) {
        refusal(h, &err);
        end(h, &err);
    } else if (buf_failed(&h->body)) {
        (void)err_set(&err, ERR_TOO_LARGE, "dockerd's answer is larger than %u MiB", KUBELET_MAX_DOCKER_BODY >> 20);
        end(h, &err);
    } else {
        end(h, NULL);
    }
}

static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct docker_http *h = arg;
    struct err err = e->err;
    if (err.code == ERR_UNAVAILABLE || err.code == ERR_IO) {
        h->d->minor = 0; /* whoever comes back may speak another version */
    }
    err.code = err.code == ERR_IO ? ERR_UNAVAILABLE : err.code;
    (void)err_wrap(&err, "dockerd");
    end(h, &err);
}

static void on_upgrade(struct http_call *c UNUSED, const struct http_response *r UNUSED, struct net_stream *s, void *arg)
{
    struct docker_http *h = arg;
    h->call = NULL;
    h->hijacked(h->arg, s, NULL);
    http_free(h);
}

static struct docker_http *start(struct docker *d, const struct docker_http_spec *spec, struct docker_http *h, void *arg)
{
    static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error,
                                              .on_upgrade = on_upgrade };
    struct http_header headers[3];
    struct net_chunk body;
    size_t n = 0;
    CLEANUP(buf_deinit) struct buf target;
    buf_init(&target, BUF_NO_MAX);
    h->d = d;
    h->arg = arg;
    buf_init(&h->body, KUBELET_MAX_DOCKER_BODY);
    if (!spec->unversioned) {
        buf_printf(&target, "/v1.%u", d->minor ? d->minor : DOCKER_API_MINOR_MAX);
    }
    buf_append(&target, spec->path);
    if (h->hijacked) {
        headers[n++] = (struct http_header){ STR("upgrade"), STR("tcp") };
    }
    if (spec->body.len) {
        headers[n++] = (struct http_header){ STR("content-type"), STR("application/json") };
        body = net_chunk_copy(spec->body);
    }
    if (spec->auth.len) {
        headers[n++] = (struct http_header){ STR("x-registry-auth"), spec->auth };
    }
    const struct http_call_config config = { .method = str_c(spec->method), .target = buf_str(&target), .headers = headers, .n_headers = n,
                                             .body = spec->body.len ? &body : NULL, .n_body = spec->body.len ? 1 : 0,
                                             .upgrade = h->hijacked != NULL, .stall_ms = spec->stall_ms };
    h->call = http_client_start(d->http, &config, &ops, h);
    return h;
}

struct docker_http *docker_http(struct docker *d, const struct docker_http_spec *spec, docker_http_fn *done, void *arg)
{
    struct docker_http *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    h->done = done;
    h->on_body = spec->on_body;
    return start(d, spec, h, arg);
}

struct docker_http *docker_hijack(struct docker *d, struct str path, struct str body, docker_hijack_fn *done, void *arg)
{
    struct docker_http *h = calloc(1, sizeof(*h));
    const struct docker_http_spec spec = { .method = "POST", .path = path, .body = body };
    if (!h) {
        abort();
    }
    h->hijacked = done;
    return start(d, &spec, h, arg);
}
