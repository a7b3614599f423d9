#include "client/client-private.h"

#include <assert.h>
#include <stdlib.h>

#include "api/encode-json.h"
#include "api/gen/meta_v1.h"
#include "base/encoding.h"
#include "client/limits.h"

struct client *client_new(struct loop *loop, const struct client_config *config,
                          const struct client_options *options, struct err *err)
{
    struct client *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->loop = loop;
    list_init(&c->calls);
    arena_init(&c->strings, ARENA_NO_BUDGET);
    buf_init(&c->token, CLIENT_TOKEN_MAX);
    c->user_agent =
        arena_str(&c->strings, str_c(options->user_agent ? options->user_agent : "coracle"));
    c->dialer = options->dialer;
    c->timeout_ms = options->timeout_ms ? options->timeout_ms : 30000;
    if (options->qps > 0) {
        c->token_ns = (uint64_t)(1e9 / options->qps);
        c->burst_ns = c->token_ns * MAX(options->burst, 1u);
    }
    if (str_empty(config->token) && !str_empty(config->token_file)) {
        c->token_file = arena_cstr(&c->strings, config->token_file);
    } else {
        client_set_authorization(c, config);
    }
    if (!client_connect(c, config, options, err)) {
        return client_free(c);
    }
    return c;
}

struct client *client_share(struct client *c)
{
    struct client *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->loop = c->loop;
    s->connections = c->connections;
    s->connections->refs++;
    list_init(&s->calls);
    arena_init_chunk(&s->strings, ARENA_NO_BUDGET, 256);
    buf_init(&s->token, CLIENT_TOKEN_MAX);
    s->prefix = arena_str(&s->strings, c->prefix);
    s->user_agent = arena_str(&s->strings, c->user_agent);
    s->timeout_ms = c->timeout_ms;
    s->token_ns = c->token_ns;
    s->burst_ns = c->burst_ns;
    return s;
}

void client_set_token(struct client *c, struct str token)
{
    buf_clear(&c->token);
    if (token.len) {
        buf_append_c(&c->token, "Bearer ");
        buf_append(&c->token, token);
    }
}

struct client *client_free(struct client *c)
{
    if (!c) {
        return NULL;
    }
    while (!list_empty(&c->calls)) {
        client_call_free(LIST_ENTRY(c->calls.next, struct client_call, link));
    }
    client_disconnect(c);
    if (c->token.ptr) {
        explicit_bzero(c->token.ptr, c->token.len);
    }
    buf_deinit(&c->token);
    arena_deinit(&c->strings);
    free(c);
    return NULL;
}

struct loop *client_loop(const struct client *c)
{
    return c->loop;
}

/* "/apis/apps/v1/namespaces/default/deployments/web/status?query" behind the server's prefix. */
static void target_path(struct buf *b, const struct client *c, const struct client_target *t)
{
    const struct api_resource *r = t->resource;
    buf_append(b, c->prefix);
    if (str_empty(r->group)) {
        buf_append_c(b, "/api/");
    } else {
        buf_append_c(b, "/apis/");
        buf_append(b, r->group);
        buf_append_char(b, '/');
    }
    buf_append(b, r->version);
    if (t->ns.len) {
        buf_append_c(b, "/namespaces/");
        percent_encode(b, t->ns, "");
    }
    buf_append_char(b, '/');
    buf_append(b, r->resource);
    if (t->name.len) {
        buf_append_char(b, '/');
        percent_encode(b, t->name, ":");
        if (t->subresource.len) {
            buf_append_char(b, '/');
            percent_encode(b, t->subresource, "/");
        }
    }
    if (t->query.len) {
        buf_append_char(b, '?');
        buf_append(b, t->query);
    }
}

static struct client_call *call_on(struct client *c, const struct client_target *t,
                                   struct str method, enum call_kind kind, client_done_fn *done,
                                   void *data)
{
    struct buf path;
    buf_init(&path, 65536);
    target_path(&path, c, t);
    struct client_call *call = client_call_new(c, method, buf_str(&path), kind, done, data);
    buf_deinit(&path);
    return call;
}

struct client_call *client_send(struct client *c, const struct client_target *t,
                                const struct client_request *r, client_done_fn *done, void *data)
{
    struct client_call *call = call_on(c, t, r->method, r->raw ? CALL_RAW : CALL_DECODED, done, data);
    call->type = r->answer_type   ? r->answer_type
                 : t->answer_type ? t->answer_type
                                  : t->resource->type;
    client_call_set_body(call, r->content_type, r->body);
    client_call_begin(call, t->timeout_ms ? t->timeout_ms : c->timeout_ms);
    return call;
}

struct client_call *client_stream(struct client *c, const struct client_target *t,
                                  client_data_fn *on_data, client_done_fn *done, void *data)
{
    struct client_call *call = call_on(c, t, STR("GET"), CALL_STREAM, done, data);
    call->on_data = on_data;
    client_call_begin(call, t->timeout_ms);
    return call;
}

struct client_call *client_raw(struct client *c, struct str method, struct str path,
                               struct str content_type, struct str body, client_done_fn *done,
                               void *data)
{
    struct buf target;
    buf_init(&target, 65536);
    buf_append(&target, c->prefix);
    buf_append(&target, path);
    if (target.len == 0) {
        buf_append_char(&target, '/');
    }
    struct client_call *call = client_call_new(c, method, buf_str(&target), CALL_RAW, done, data);
    buf_deinit(&target);
    client_call_set_body(call, content_type, body);
    client_call_begin(call, c->timeout_ms);
    return call;
}

struct client_call *client_get(struct client *c, const struct client_target *t,
                               client_done_fn *done, void *data)
{
    struct client_request r = { .method = STR("GET") };
    if (!t->name.len && !t->answer_type) {
        r.answer_type = t->resource->list_type;
    }
    return client_send(c, t, &r, done, data);
}

static struct client_call *send_object(struct client *c, const struct client_target *t,
                                       struct str method, const struct api_type *type,
                                       const void *object, client_done_fn *done, void *data)
{
    struct buf body;
    struct api_json_encode e = { 0 };
    char api_version[256];
    if (type == t->resource->type) {
        const struct api_resource *r = t->resource;
        snprintf(api_version, sizeof(api_version), "%.*s%s%.*s", STR_ARG(r->group),
                 str_empty(r->group) ? "" : "/", STR_ARG(r->version));
        e.kind = r->kind;
        e.api_version = str_c(api_version);
    }
    buf_init(&body, CLIENT_ANSWER_MAX);
    if (!api_encode_json(&body, type, object, &e, NULL)) {
        abort(); /* an object of ours beyond 64 MiB */
    }
    struct client_request r = { .method = method,
                                .content_type = STR("application/json"),
                                .body = buf_str(&body) };
    r.answer_type = t->answer_type ? t->answer_type : type;
    struct client_call *call = client_send(c, t, &r, done, data);
    buf_deinit(&body);
    return call;
}

struct client_call *client_create(struct client *c, const struct client_target *t,
                                  const struct api_type *body_type, const void *object,
                                  client_done_fn *done, void *data)
{
    return send_object(c, t, STR("POST"), body_type ? body_type : t->resource->type, object, done,
                       data);
}

struct client_call *client_update(struct client *c, const struct client_target *t,
                                  const void *object, client_done_fn *done, void *data)
{
    return send_object(c, t, STR("PUT"), t->resource->type, object, done, data);
}

struct str client_patch_content_type(enum client_patch_type type)
{
    static const struct str content_types[] = {
        [CLIENT_PATCH_JSON] = STR_INIT("application/json-patch+json"),
        [CLIENT_PATCH_MERGE] = STR_INIT("application/merge-patch+json"),
        [CLIENT_PATCH_STRATEGIC] = STR_INIT("application/strategic-merge-patch+json"),
        [CLIENT_PATCH_APPLY] = STR_INIT("application/apply-patch+yaml"),
    };
    return content_types[type];
}

struct client_call *client_patch(struct client *c, const struct client_target *t,
                                 enum client_patch_type type, struct str patch,
                                 client_done_fn *done, void *data)
{
    struct client_request r = { .method = STR("PATCH"),
                                .content_type = client_patch_content_type(type),
                                .body = patch };
    return client_send(c, t, &r, done, data);
}

struct str client_delete_body(struct arena *a, const struct client_delete_options *options)
{
    struct meta_v1_delete_options o = { .kind = STR_INIT("DeleteOptions"),
                                        .api_version = STR_INIT("v1") };
    struct meta_v1_preconditions preconditions = { 0 };
    struct buf b;
    if (options->uid.len || options->resource_version.len) {
        preconditions.uid = options->uid.len ? options->uid : STR_NULL;
        preconditions.resource_version =
            options->resource_version.len ? options->resource_version : STR_NULL;
        o.preconditions = &preconditions;
    }
    if (options->grace_seconds >= 0) {
        o.has_grace_period_seconds = true;
        o.grace_period_seconds = options->grace_seconds;
    }
    o.propagation_policy = options->propagation.len ? options->propagation : STR_NULL;
    buf_init(&b, 65536);
    if (!api_encode_json(&b, &meta_v1_delete_options_type, &o, NULL, NULL)) {
        abort();
    }
    struct str body = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return body;
}

struct client_call *client_delete(struct client *c, const struct client_target *t,
                                  const struct client_delete_options *options, client_done_fn *done,
                                  void *data)
{
    static const struct client_delete_options none = { .grace_seconds = -1 };
    struct arena a;
    arena_init(&a, 1 << 20);
    struct client_request r = { .method = STR("DELETE"),
                                .content_type = STR("application/json"),
                                .body = client_delete_body(&a, options ? options : &none) };
    struct client_call *call = client_send(c, t, &r, done, data);
    arena_deinit(&a);
    return call;
}

void client_cancel(struct client_call *call)
{
    if (call) {
        client_call_free(call);
    }
}

void client_detach(struct client_call *call)
{
    if (call) {
        assert(call->kind != CALL_STREAM);
        call->done = NULL;
    }
}
