/*
 * GET /paths: the catalog as a page for browsers, as JSON for everybody else, or with ?watch=true as a stream: server-sent events for
 * "Accept: text/event-stream" (the page), otherwise one JSON object a line. Who may read it is said by roles, as for every path that is no
 * resource (nonResourceURLs: ["/paths"]).
 */
#include "apiserver/limits.h"
#include "apiserver/paths.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "base/encoding.h"
#include "base/rand.h"

struct serving {
    struct request *r;
    struct paths_ask *ask;
    struct loop_timer again; /* of a stream */
    bool page, watching, events, blocked;
};

enum { PAGE_MAX = 64 << 20, NONCE_BYTES = 18 };

static void cleanup(struct request *r)
{
    struct serving *s = r->verb_data;
    paths_cancel(s->ask);
    loop_timer_stop(&s->again);
    r->srv->n_path_watches -= s->watching;
    free(s);
}

/* Nothing of another place, no script but the page's own, never inside another page's frame. */
static void send_page(struct serving *s, const struct path_catalog *c)
{
    unsigned char random[NONCE_BYTES];
    CLEANUP(buf_deinit) struct buf nonce, policy;
    struct buf page;
    struct request *r = s->r;
    buf_init(&nonce, 64);
    buf_init(&policy, 512);
    buf_init(&page, PAGE_MAX);
    rand_bytes(random, sizeof(random));
    base64url_encode(&nonce, str_n((const char *)random, sizeof(random)));
    path_catalog_write_page(c, buf_str(&nonce), &page);
    buf_printf(&policy,
               "default-src 'none'; script-src 'nonce-%.*s'; style-src 'nonce-%.*s'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
               "frame-ancestors 'none'",
               STR_ARG(buf_str(&nonce)), STR_ARG(buf_str(&nonce)));
    const struct http_header headers[] = {
        { STR("Content-Type"), STR("text/html; charset=utf-8") }, { STR("Content-Security-Policy"), buf_str(&policy) },
        { STR("X-Content-Type-Options"), STR("nosniff") },         { STR("X-Frame-Options"), STR("DENY") },
        { STR("Referrer-Policy"), STR("no-referrer") },            { STR("Cache-Control"), STR("no-store") },
        { STR("Vary"), STR("Accept") },
    };
    struct net_chunk body = net_chunk_take_buf(&page);
    http_stream_reply(r->http, 200, headers, ARRAY_SIZE(headers), &body, 1);
}

static void send_snapshot(struct serving *s, const struct path_catalog *c)
{
    struct buf b;
    buf_init(&b, PAGE_MAX);
    if (s->events) {
        buf_append_c(&b, "data: ");
    }
    path_catalog_write_json(c, &b); /* one line */
    if (s->events) {
        buf_append_char(&b, '\n');
    }
    struct net_chunk chunk = net_chunk_take_buf(&b);
    http_stream_write(s->r->http, &chunk, 1);
}

static void collected(void *arg, const struct path_catalog *c)
{
    struct serving *s = arg;
    struct request *r = s->r;
    s->ask = NULL;
    if (s->watching) {
        send_snapshot(s, c);
        loop_timer_start(&s->again, PATHS_WATCH_MS);
        return;
    }
    if (s->page) {
        send_page(s, c);
    } else {
        CLEANUP(buf_deinit) struct buf b;
        buf_init(&b, PAGE_MAX);
        path_catalog_write_json(c, &b);
        respond_bytes(r, 200, STR("application/json"), buf_str(&b));
    }
    request_resume(r, STAGE_ANSWERED);
}

static void on_again(void *arg)
{
    struct serving *s = arg;
    if (s->r->srv->stopping) {
        http_stream_end(s->r->http);
        request_resume(s->r, STAGE_ANSWERED);
    } else if (http_stream_queued(s->r->http) > 0) {
        loop_timer_start(&s->again, PATHS_WATCH_MS); /* it has not taken the last one */
    } else {
        s->ask = paths_collect(s->r->srv, collected, s);
    }
}

static void on_cancel(struct http_stream *stream UNUSED, void *arg)
{
    struct request *r = arg;
    r->cancelled = true;
    request_resume(r, STAGE_ANSWERED);
}

static bool wants_page(struct request *r)
{
    struct str output = request_param(r, "output"), accept = request_header(r, "accept");
    if (!str_empty(output)) {
        return str_eq_c(output, "html");
    }
    ptrdiff_t html = str_find(accept, STR("text/html")), json = str_find(accept, STR("application/json"));
    return html >= 0 && (json < 0 || html < json);
}

static enum stage_result begin_watch(struct serving *s)
{
    static const struct http_stream_ops ops = { .on_cancel = on_cancel };
    struct request *r = s->r;
    if (r->srv->n_path_watches >= PATHS_MAX_WATCHES) {
        r->status = (struct status){ .code = 429, .reason = STR("TooManyRequests"), .has_details = true, .retry_after = 1,
                                     .message = STR("too many others watch the paths, please try again later") };
        return STAGE_ERROR;
    }
    s->watching = true;
    r->srv->n_path_watches++;
    s->events = str_find(request_header(r, "accept"), STR("text/event-stream")) >= 0;
    loop_timer_stop(&r->timer);
    request_uncount(r);
    respond_begin(r, 200, s->events ? STR("text/event-stream") : STR("application/json"), -1);
    http_stream_set_ops(r->http, &ops, r);
    s->ask = paths_collect(r->srv, collected, s);
    return STAGE_WAIT;
}

enum stage_result paths_answer(struct request *r)
{
    struct serving *s = calloc(1, sizeof(*s));
    bool watch = false;
    if (!s) {
        abort();
    }
    s->r = r;
    s->page = wants_page(r);
    loop_timer_init(&s->again, r->srv->loop, on_again, s);
    r->verb_data = s;
    r->cleanup = cleanup;
    if (str_to_bool(request_param(r, "watch"), &watch) && watch && !r->is_head) {
        return begin_watch(s);
    }
    s->ask = paths_collect(r->srv, collected, s);
    return STAGE_WAIT;
}
