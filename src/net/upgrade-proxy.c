#include "net/upgrade-proxy.h"

#include <assert.h>

#include "net/splice.h"
#include "net/stream-limits.h"

#define RESPONSE_MS 30000

struct upgrade_proxy {
    struct loop *loop;
    struct http_stream *client; /* until it is upgraded or answered */
    struct http_call *call;     /* until the backend has answered */
    struct upgrade_proxy_config config;
    bool client_left;           /* nobody is left to be answered */
    bool translate;             /* the client speaks WebSocket, the backend SPDY */
    enum channels_protocol protocol;
    struct channels_handshake handshake;
    struct arena arena;

    struct buf body;            /* of an answer other than 101 */
    struct str content_type;
    int backend_status;

    struct net_splice *splice;
    struct channels_bridge *bridge;
    struct channels_tunnel *tunnel;
    struct loop_task task;      /* tells 'done' in a turn of its own */
    struct upgrade_proxy_result result;
    upgrade_proxy_done_fn *done;
    void *arg;
};

struct upgrade_proxy *upgrade_proxy_free(struct upgrade_proxy *u)
{
    if (u) {
        loop_task_cancel(&u->task);
        http_call_cancel(u->call);
        net_splice_free(u->splice);
        channels_bridge_free(u->bridge);
        channels_tunnel_free(u->tunnel);
        if (u->client) {
            http_stream_release(u->client);
        }
        buf_deinit(&u->body);
        arena_deinit(&u->arena);
        free(u);
    }
    return NULL;
}

static void on_task(void *arg)
{
    struct upgrade_proxy *u = arg;
    struct upgrade_proxy_result result = u->result;
    struct http_stream *client = result.status == 0 && !u->client_left ? TAKE(u->client) : NULL;
    upgrade_proxy_done_fn *done = u->done;
    void *done_arg = u->arg;
    upgrade_proxy_free(u);
    if (done) {
        done(done_arg, client, &result);
    }
    if (client) {
        http_stream_release(client);
    }
}

/* It is over; 'u->result' says how. */
static void finish(struct upgrade_proxy *u)
{
    loop_task_defer(&u->task);
}

static void fail(struct upgrade_proxy *u, enum err_code code, const char *what)
{
    err_set(&u->result.err, code, "%s", what);
    finish(u);
}

/* The joined connections */

static void on_splice_done(void *arg, const struct net_splice_result *r)
{
    struct upgrade_proxy *u = arg;
    u->splice = NULL;
    u->result.bytes_in = r->a_to_b;
    u->result.bytes_out = r->b_to_a;
    if (r->why != NET_CLOSE_EOF) {
        err_set(&u->result.err, ERR_UNAVAILABLE, "%s", r->reason);
    }
    finish(u);
}

static void on_bridge_done(void *arg, const struct channels_bridge_result *r)
{
    struct upgrade_proxy *u = arg;
    u->bridge = NULL;
    u->tunnel = NULL;
    u->result.bytes_in = r->bytes_to_node;
    u->result.bytes_out = r->bytes_to_client;
    u->result.err = r->err;
    finish(u);
}

/* The answer of the backend */

static const char *const reply_headers[] = {
    "upgrade", "x-stream-protocol-version", "sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions",
};

/* What a proxied application says with its 101 (cookies) is for the client. */
static bool reply_with_all(struct upgrade_proxy *u, const struct http_headers *h, struct http_header *out, size_t *n_out)
{
    static const char *const ours[] = { "connection", "date", "content-length", "transfer-encoding", "keep-alive", "proxy-connection",
                                        "proxy-authenticate", "te", "trailer" };
    for (size_t i = 0; i < h->n; i++) {
        bool drop = false;
        for (size_t k = 0; k < ARRAY_SIZE(ours); k++) {
            drop |= str_eq(h->items[i].name, str_c(ours[k]));
        }
        if (!drop && *n_out == UPGRADE_MAX_HEADERS) {
            return err_set(&u->result.err, ERR_UNAVAILABLE, "the backend switched protocols with too many headers");
        }
        if (!drop) {
            out[(*n_out)++] = h->items[i];
        }
    }
    return true;
}

/* Checks that the backend switched to what was asked for, and makes the client's 101 of its headers. */
static bool check_switch(struct upgrade_proxy *u, const struct http_headers *h, struct http_header *out, size_t *n_out)
{
    struct str asked = http_header_get(&http_stream_request(u->client)->headers, STR("upgrade"));
    if (u->translate) {
        struct str version = u->config.kind == UPGRADE_PORT_FORWARD ? STR("portforward.k8s.io") : STR("v4.channel.k8s.io");
        return channels_check_spdy_answer(h, version, &u->result.err);
    }
    if (!str_eq_nocase(str_trim(http_header_get(h, STR("upgrade"))), str_trim(asked))) {
        return err_set(&u->result.err, ERR_UNAVAILABLE, "the backend switched to another protocol than \"%.*s\"",
                       STR_ARG(str_sub(asked, 0, 100)));
    }
    *n_out = 0;
    if (u->config.kind == UPGRADE_PASS) {
        return reply_with_all(u, h, out, n_out);
    }
    for (size_t i = 0; i < ARRAY_SIZE(reply_headers); i++) {
        struct str v = http_header_get(h, str_c(reply_headers[i]));
        if (v.ptr) {
            out[(*n_out)++] = (struct http_header){ .name = str_c(reply_headers[i]), .value = v };
        }
    }
    return true;
}

static void on_upgrade(struct http_call *call UNUSED, const struct http_response *r, struct net_stream *backend, void *arg)
{
    struct upgrade_proxy *u = arg;
    struct http_header headers[UPGRADE_MAX_HEADERS];
    size_t n = 0;
    u->call = NULL;
    if (!check_switch(u, &r->headers, headers, &n)) {
        net_stream_free(backend);
        finish(u);
        return;
    }
    struct net_stream *client =
        http_stream_upgrade(u->client, u->translate ? u->handshake.headers : headers, u->translate ? u->handshake.n_headers : n);
    if (!client) {
        net_stream_free(backend);
        u->client_left = true;
        fail(u, ERR_CANCELLED, "the client left before the backend had answered");
        return;
    }
    u->result.status = 101;
    http_stream_release(u->client);
    u->client = NULL;
    if (!u->translate) {
        u->splice = net_splice_new(client, backend, u->config.idle_ms, on_splice_done, u);
    } else if (u->config.kind == UPGRADE_PORT_FORWARD) {
        u->tunnel = channels_tunnel_new(client, backend, u->config.idle_ms, on_bridge_done, u);
    } else {
        u->bridge = channels_bridge_new(client, u->protocol, backend, u->config.channels, u->config.idle_ms, on_bridge_done, u);
    }
}

static void on_response(struct http_call *call UNUSED, const struct http_response *r, void *arg)
{
    struct upgrade_proxy *u = arg;
    u->backend_status = r->status;
    u->content_type = arena_str(&u->arena, http_header_get(&r->headers, STR("content-type")));
}

static void on_body(struct http_call *call UNUSED, struct str data, void *arg)
{
    struct upgrade_proxy *u = arg;
    buf_append(&u->body, data);
    if (buf_failed(&u->body)) {
        u->call = http_call_cancel(u->call);
        fail(u, ERR_UNAVAILABLE, "the backend refused the upgrade, with too long an answer");
    }
}

static void on_end(struct http_call *call UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    struct upgrade_proxy *u = arg;
    struct http_header type = { .name = STR("content-type"), .value = u->content_type };
    u->call = NULL;
    if (u->backend_status < 400 || u->backend_status > 599) {
        err_set(&u->result.err, ERR_INTERNAL, "invalid upgrade response: status code %d", u->backend_status);
        finish(u);
        return;
    }
    err_set(&u->result.err, err_code_of(STR_NULL, u->backend_status), "the backend refused the upgrade with status %d",
            u->backend_status);
    u->result.status = u->backend_status;
    struct net_chunk chunk = net_chunk_copy(buf_str(&u->body));
    http_stream_reply(u->client, u->backend_status, &type, u->content_type.ptr ? 1 : 0, &chunk, 1);
    finish(u);
}

static void on_error(struct http_call *call UNUSED, const struct http_call_error *e, void *arg)
{
    struct upgrade_proxy *u = arg;
    u->call = NULL;
    u->result.err = e->err;
    u->result.tls = e->tls;
    finish(u);
}

static const struct http_call_ops call_ops = {
    .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error, .on_upgrade = on_upgrade,
};

static void on_cancel(struct http_stream *s UNUSED, void *arg)
{
    struct upgrade_proxy *u = arg;
    u->call = http_call_cancel(u->call);
    u->client_left = true;
    fail(u, ERR_CANCELLED, "the client left before the backend had answered");
}

static const struct http_stream_ops client_ops = { .on_cancel = on_cancel };

/* The request */

/* A WebSocket protocol list without the entry that carries a browser's bearer token. */
static struct str without_token(struct arena *a, struct str list)
{
    struct str piece, rest = list;
    struct buf out;
    buf_init(&out, list.len + 1);
    while (str_split(&rest, ',', &piece)) {
        piece = str_trim(piece);
        if (!str_starts(piece, STR("base64url.bearer.authorization.k8s.io."))) {
            if (out.len) {
                buf_append_c(&out, ",");
            }
            buf_append(&out, piece);
        }
    }
    struct str copy = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return copy;
}

#define MAX_FORWARDED 24

/* The headers of the upgrade itself, for the backend. */
static size_t forwarded_headers(struct upgrade_proxy *u, struct http_header out[MAX_FORWARDED])
{
    static const char *const names[] = {
        "upgrade", "x-stream-protocol-version", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol",
        "sec-websocket-extensions", "user-agent",
    };
    const struct http_headers *h = &http_stream_request(u->client)->headers;
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        size_t pos = 0;
        struct str v;
        while (n < MAX_FORWARDED - 8 && http_header_next(h, str_c(names[i]), &pos, &v)) {
            if (str_eq(str_c(names[i]), STR("sec-websocket-protocol"))) {
                v = without_token(&u->arena, v);
                if (v.len == 0) {
                    continue;
                }
            }
            out[n++] = (struct http_header){ .name = str_c(names[i]), .value = v };
        }
    }
    return n;
}

static size_t spdy_headers(const struct upgrade_proxy *u, struct http_header out[MAX_FORWARDED])
{
    static const struct http_header command[] = CHANNELS_SPDY_HEADERS("v4.channel.k8s.io");
    static const struct http_header forward[] = CHANNELS_SPDY_HEADERS("portforward.k8s.io");
    memcpy(out, u->config.kind == UPGRADE_PORT_FORWARD ? forward : command, sizeof(command));
    return ARRAY_SIZE(command);
}

/* Decides what becomes of a WebSocket client. */
static bool choose(struct upgrade_proxy *u, struct err *err)
{
    static const struct str tunnel[] = { STR_INIT(CHANNELS_TUNNEL_PROTOCOL) };
    const struct http_headers *h = &http_stream_request(u->client)->headers;
    if (!http_stream_wants_upgrade(u->client)) {
        return err_set(err, ERR_BAD_REQUEST, "Upgrade request required");
    }
    if (u->config.kind == UPGRADE_PASS || !websocket_is_requested(h)) {
        return true;
    }
    bool forward = u->config.kind == UPGRADE_PORT_FORWARD;
    u->translate = true;
    if (!channels_accept_websocket(h, forward ? tunnel : channels_ws_protocols,
                                   forward ? ARRAY_SIZE(tunnel) : ARRAY_SIZE(channels_ws_protocols), &u->handshake, err)) {
        return false;
    }
    if (forward) {
        return u->handshake.protocol.ptr ? true
                                         : err_set(err, ERR_BAD_REQUEST, "port-forward over WebSocket needs protocol %s",
                                                   CHANNELS_TUNNEL_PROTOCOL);
    }
    return channels_protocol_parse(u->handshake.protocol, &u->protocol) ||
           err_set(err, ERR_BAD_REQUEST, "unknown WebSocket protocol");
}

struct upgrade_proxy *upgrade_proxy_start(struct http_stream *s, struct http_client *backend,
                                          const struct upgrade_proxy_config *config, upgrade_proxy_done_fn *done, void *arg)
{
    struct upgrade_proxy *u = calloc(1, sizeof(*u));
    struct http_header headers[MAX_FORWARDED];
    if (!u) {
        abort();
    }
    u->loop = http_stream_loop(s);
    u->client = s;
    u->config = *config;
    u->done = done;
    u->arg = arg;
    arena_init(&u->arena, 256 * 1024);
    buf_init(&u->body, UPGRADE_MAX_REFUSAL);
    loop_task_init(&u->task, u->loop, on_task, u);
    http_stream_set_ops(s, &client_ops, u);
    if (!choose(u, &u->result.err)) {
        finish(u);
        return u;
    }
    size_t n = u->translate ? spdy_headers(u, headers) : forwarded_headers(u, headers);
    struct http_header *all = arena_new_n(&u->arena, struct http_header, n + config->n_headers);
    if (!all) {
        fail(u, ERR_NO_MEMORY, "the request's headers take too much memory");
        return u;
    }
    memcpy(all, headers, n * sizeof(*all));
    if (config->n_headers) {
        memcpy(all + n, config->headers, config->n_headers * sizeof(*all));
    }
    struct http_call_config call = {
        /* SPDY is asked for by POST, as clients do it: a GET could be answered from a cache. */
        .method = u->translate ? STR("POST") : http_stream_request(s)->method,
        .target = config->target,
        .headers = all,
        .n_headers = n + config->n_headers,
        .authority = config->authority,
        .upgrade = true,
        /* A refusal has its time too: it must not drip for ever. The limit ends with the upgrade. */
        .total_ms = (config->response_ms ? config->response_ms : RESPONSE_MS) + RESPONSE_MS,
        .response_ms = config->response_ms ? config->response_ms : RESPONSE_MS,
    };
    u->call = http_client_start(backend, &call, &call_ops, u);
    return u;
}
