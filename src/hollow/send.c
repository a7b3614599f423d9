#include "hollow/hollow-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

struct hollow_call {
    struct list link;
    struct hollow_node *node;
    struct http_call *call;
    hollow_done_fn *done;
    void *arg;
    uint64_t begin_ns;
    enum hollow_kind kind;
    int status;
    bool keep;
    struct buf body;
};

/* Which latencies are kept of which requests. */
static const struct {
    bool counted;
    enum hollow_latency latency;
} latencies[HOLLOW_KINDS] = {
    [HOLLOW_REGISTER] = { true, HOLLOW_L_REGISTER }, [HOLLOW_LEASE] = { true, HOLLOW_L_LEASE },
    [HOLLOW_NODE_STATUS] = { true, HOLLOW_L_STATUS }, [HOLLOW_POD_STATUS] = { true, HOLLOW_L_STATUS },
    [HOLLOW_LIST] = { true, HOLLOW_L_LIST },
};

static void call_free(struct hollow_call *c)
{
    list_remove(&c->link);
    buf_deinit(&c->body);
    free(c);
}

/* The first of a refusal's words are kept for the report: 404s and 409s are part of the game. */
static void note_refusal(struct hollow_call *c)
{
    struct hollow_fleet *f = c->node->fleet;
    if (c->status == 404 || c->status == 409) {
        return;
    }
    f->figures.now.refused++;
    int n = snprintf(f->refusal_text, sizeof(f->refusal_text), "%s: HTTP %d: %.*s", c->node->name, c->status,
                     (int)MIN(c->body.len, (size_t)400), c->body.ptr ? c->body.ptr : "");
    f->last_refusal = str_n(f->refusal_text, MIN((size_t)MAX(n, 0), sizeof(f->refusal_text) - 1));
}

static void on_response(struct http_call *http, const struct http_response *r, void *arg)
{
    (void)http;
    struct hollow_call *c = arg;
    c->status = r->status;
}

static void on_body(struct http_call *http, struct str data, void *arg)
{
    (void)http;
    struct hollow_call *c = arg;
    if (c->keep || c->status > 299) {
        buf_append(&c->body, c->keep ? data : str_sub(data, 0, 1024 - MIN(c->body.len, (size_t)1024)));
    }
}

static void on_end(struct http_call *http, const struct http_headers *trailers, void *arg)
{
    (void)http, (void)trailers;
    struct hollow_call *c = arg;
    struct hollow_figures *figures = &c->node->fleet->figures;
    c->call = NULL;
    if (c->status > 299) {
        note_refusal(c);
    } else if (latencies[c->kind].counted) {
        hollow_figures_latency(figures, latencies[c->kind].latency, clock_mono_ns() - c->begin_ns);
    }
    if (buf_failed(&c->body)) {
        c->status = 0;
        figures->now.failed++;
    }
    c->done(c->node, c->status, buf_str(&c->body), c->arg);
    call_free(c);
}

static void on_error(struct http_call *http, const struct http_call_error *e, void *arg)
{
    (void)http;
    struct hollow_call *c = arg;
    c->call = NULL;
    c->node->fleet->figures.now.failed++;
    log_debug("%s: %s", c->node->name, e->err.msg);
    c->done(c->node, 0, STR_EMPTY, c->arg);
    call_free(c);
}

static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };

size_t hollow_headers(const struct hollow_node *n, bool as_user, struct http_header headers[6])
{
    static __thread char user[HOLLOW_NAME_MAX + 16];
    size_t count = 0;
    headers[count++] = (struct http_header){ STR("user-agent"), STR("kubelet/v1.36.0 (hollow) coracle/" CORACLE_VERSION) };
    headers[count++] = (struct http_header){ STR("accept"), STR("application/json") };
    if (!str_empty(n->fleet->endpoint.authorization)) {
        headers[count++] = (struct http_header){ STR("authorization"), n->fleet->endpoint.authorization };
    }
    if (n->fleet->o->impersonate && !as_user) {
        snprintf(user, sizeof(user), "system:node:%s", n->name);
        headers[count++] = (struct http_header){ STR("impersonate-user"), str_c(user) };
        headers[count++] = (struct http_header){ STR("impersonate-group"), STR("system:nodes") };
    }
    return count;
}

struct hollow_call *hollow_send(struct hollow_node *n, const struct hollow_request *r, hollow_done_fn *done, void *arg)
{
    struct hollow_call *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    char target[1024];
    snprintf(target, sizeof(target), "%.*s%.*s", STR_ARG(n->fleet->endpoint.prefix), STR_ARG(r->target));
    struct http_header headers[7];
    size_t n_headers = hollow_headers(n, r->as_user, headers);
    struct net_chunk body;
    struct http_call_config config = { .method = str_c(r->method), .target = str_c(target), .headers = headers,
                                       .total_ms = HOLLOW_REQUEST_MS };
    if (r->content_type) {
        headers[n_headers++] = (struct http_header){ STR("content-type"), str_c(r->content_type) };
        body = net_chunk_copy(r->body);
        config.body = &body;
        config.n_body = 1;
    }
    config.n_headers = n_headers;
    *c = (struct hollow_call){ .node = n, .done = done, .arg = arg, .kind = r->kind, .keep = r->keep, .begin_ns = clock_mono_ns() };
    buf_init(&c->body, HOLLOW_MAX_ANSWER);
    list_push_back(&n->calls, &c->link);
    n->fleet->figures.now.requests++;
    c->call = http_client_start(n->http, &config, &ops, c);
    return c;
}

void hollow_call_cancel(struct hollow_call *c)
{
    if (c) {
        http_call_cancel(c->call);
        call_free(c);
    }
}

bool hollow_parse(struct hollow_fleet *f, struct str json, struct val *ret)
{
    struct err err;
    arena_clear(&f->scratch);
    return val_parse_json(&f->scratch, json, JSON_DEPTH, NULL, ret, &err) && ret->kind == VAL_OBJECT;
}
