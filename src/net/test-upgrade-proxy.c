/* Client (raw bytes or channels) - front server with the proxy - backend server that ends exec and port-forward itself. */
#include "net/upgrade-proxy.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/test.h"
#include "net/websocket.h"

struct fix {
    struct loop *l;
    struct http_server *front, *back;
    struct http_client *to_back;
    char path[64];
    enum upgrade_kind kind;
    struct upgrade_proxy *proxy;
    int n_done;
    struct upgrade_proxy_result result;
    /* backend */
    struct channels *node;
    struct net_stream *raw;
    struct buf node_log, raw_log, seen;
    int refuse_status;
    bool hang;
    struct http_stream *hanging;
    /* client */
    struct net_stream *c;
    struct buf head;
    bool head_done, client_eof;
    struct buf got;
};

#define MASK (CHANNEL_BIT(CHANNEL_STDIN) | CHANNEL_BIT(CHANNEL_STDOUT))

static void node_data(struct channels *c, enum channel ch, struct str data, void *arg)
{
    struct fix *f = arg;
    buf_printf(&f->node_log, "%d=%.*s;", ch, STR_ARG(data));
    channels_write(c, CHANNEL_STDOUT, data);
}
static void node_end(struct channels *c, enum channel ch, void *arg)
{
    struct fix *f = arg;
    buf_printf(&f->node_log, "end %d;", ch);
    if (ch == CHANNEL_STDIN) {
        channels_write(c, CHANNEL_ERROR, STR("{\"status\":\"Success\"}"));
        channels_close(c);
    }
}
static void node_close(struct channels *c, const struct err *why UNUSED, void *arg)
{
    struct fix *f = arg;
    buf_append_c(&f->node_log, "close;");
    f->node = channels_free(c);
}
static const struct channels_ops node_ops = { .on_data = node_data, .on_end = node_end, .on_close = node_close };

static void raw_data(struct net_stream *s, struct str data, void *arg)
{
    struct fix *f = arg;
    buf_append(&f->raw_log, data);
    net_stream_write_str(s, data);
}
static void raw_close(struct net_stream *s, enum net_close how UNUSED, const char *reason UNUSED, void *arg)
{
    struct fix *f = arg;
    f->raw = net_stream_free(s);
    buf_append_c(&f->raw_log, "<closed>");
}
static const struct net_stream_ops raw_ops = { .on_data = raw_data, .on_close = raw_close };

/* The backend: "/exec" ends SPDY exec sessions, everything else is echoed after the upgrade. */
static void on_back_request(struct http_stream *s, void *arg)
{
    struct fix *f = arg;
    const struct http_request *r = http_stream_request(s);
    buf_clear(&f->seen);
    buf_printf(&f->seen, "%.*s %.*s\n", STR_ARG(r->method), STR_ARG(r->target));
    for (size_t i = 0; i < r->headers.n; i++) {
        buf_printf(&f->seen, "%.*s: %.*s\n", STR_ARG(r->headers.items[i].name), STR_ARG(r->headers.items[i].value));
    }
    if (f->hang) {
        f->hanging = s;
        return;
    }
    if (f->refuse_status) {
        struct http_header type = { STR("content-type"), STR("text/plain") };
        struct net_chunk chunk = net_chunk_static(STR("no such container"));
        http_stream_reply(s, f->refuse_status, &type, 1, &chunk, 1);
    } else {
        struct http_header h[] = {
            { STR("upgrade"), http_header_get(&r->headers, STR("upgrade")) },
            { STR("x-stream-protocol-version"), http_header_get(&r->headers, STR("x-stream-protocol-version")) },
        };
        struct net_stream *up = http_stream_upgrade(s, h, h[1].value.ptr ? 2 : 1);
        CHECK(up);
        if (str_eq(r->target, STR("/exec"))) {
            f->node = channels_new(up, &(struct channels_config){ .protocol = CHANNELS_SPDY_V4, .server = true, .mask = MASK },
                                   &node_ops, f);
        } else {
            f->raw = up;
            net_stream_set_ops(up, &raw_ops, f);
            net_stream_resume(up);
        }
    }
    http_stream_release(s);
}

static void proxy_done(void *arg, struct http_stream *s, const struct upgrade_proxy_result *r)
{
    struct fix *f = arg;
    f->n_done++;
    f->result = *r;
    f->proxy = NULL;
    if (s) {
        struct net_chunk chunk = net_chunk_copy(str_c(r->err.msg));
        http_stream_reply(s, err_http_status(r->err.code), NULL, 0, &chunk, 1);
    }
}
static void on_front_request(struct http_stream *s, void *arg)
{
    struct fix *f = arg;
    struct upgrade_proxy_config c = { .target = f->kind == UPGRADE_REMOTE_COMMAND ? STR("/exec") : STR("/raw"),
                                      .kind = f->kind, .channels = MASK };
    f->proxy = upgrade_proxy_start(s, f->to_back, &c, proxy_done, f);
}

static int listen_unix(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    CHECK(str_to_cstr(str_c(path), addr.sun_path, sizeof(addr.sun_path)));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    CHECK_INT(listen(fd, 5), 0);
    return fd;
}

static void client_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct fix *f = arg;
    if (!f->head_done) {
        buf_append(&f->head, data);
        ptrdiff_t end = str_find(buf_str(&f->head), STR("\r\n\r\n"));
        if (end < 0) {
            return;
        }
        f->head_done = true;
        buf_append(&f->got, str_sub(buf_str(&f->head), (size_t)end + 4, SIZE_MAX));
        f->head.len = (size_t)end;
    } else {
        buf_append(&f->got, data);
    }
}
static void client_eof(struct net_stream *s UNUSED, void *arg)
{
    ((struct fix *)arg)->client_eof = true;
}
static const struct net_stream_ops client_ops = { .on_data = client_data, .on_eof = client_eof };

static void turns(struct fix *f, int n)
{
    for (int i = 0; i < n; i++) {
        loop_turn(f->l, 2);
    }
}
/* Sends a request with these header lines and waits for the head of the answer. */
#define HANG (-1)
static void fix_init(struct fix *f, enum upgrade_kind kind, int refuse_status, const char *method, const char *headers)
{
    struct err err;
    char suffix[9];
    int fds[2];
    *f = (struct fix){ .kind = kind, .refuse_status = refuse_status, .hang = refuse_status == HANG };
    struct buf *bufs[] = { &f->node_log, &f->raw_log, &f->seen, &f->head, &f->got };
    for (size_t i = 0; i < ARRAY_SIZE(bufs); i++) {
        buf_init(bufs[i], BUF_NO_MAX);
    }
    f->l = loop_new(&err);
    rand_suffix(suffix, 8);
    snprintf(f->path, sizeof(f->path), "/tmp/coracle-test-upgrade-%s", suffix);
    f->back = http_server_new(f->l, &(struct http_server_config){ .on_request = on_back_request, .arg = f }, &err);
    CHECK_OK(http_server_listen(f->back, listen_unix(f->path), NULL, NULL, &err), &err);
    f->front = http_server_new(f->l, &(struct http_server_config){ .on_request = on_front_request, .arg = f }, &err);
    f->to_back = http_client_new(f->l, &(struct http_client_config){ .host = str_c(f->path) }, &err);
    CHECK(f->to_back);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    http_server_serve_fd(f->front, fds[0], NULL, NULL);
    f->c = net_stream_new(f->l, fds[1], &client_ops, f);
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    buf_printf(&b, "%s /exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n%s\r\n", method, headers);
    net_stream_write_str(f->c, buf_str(&b));
    buf_deinit(&b);
    for (int i = 0; i < 500 && !f->head_done && !f->hanging; i++) {
        loop_turn(f->l, 5);
    }
    CHECK(f->head_done || f->hanging);
}
static void fix_deinit(struct fix *f)
{
    upgrade_proxy_free(f->proxy);
    net_stream_free(f->c);
    channels_free(f->node);
    net_stream_free(f->raw);
    turns(f, 20);
    http_client_free(f->to_back);
    http_server_free(f->front);
    http_server_free(f->back);
    turns(f, 5);
    loop_free(f->l);
    (void)unlink(f->path);
    struct buf *bufs[] = { &f->node_log, &f->raw_log, &f->seen, &f->head, &f->got };
    for (size_t i = 0; i < ARRAY_SIZE(bufs); i++) {
        buf_deinit(bufs[i]);
    }
}

#define SPDY "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\n" \
             "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
#define WS(protocols) \
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Protocol: " protocols "\r\n"

TEST(upgrade_proxy_passes_other_protocols_byte_by_byte)
{
    struct fix f;
    fix_init(&f, UPGRADE_PASS, 0, "POST", SPDY);
    CHECK(str_starts(buf_str(&f.head), STR("HTTP/1.1 101 ")));
    CHECK(str_find(buf_str(&f.head), STR("SPDY/3.1")) > 0);
    /* What the backend saw: the upgrade, all versions offered, and no credentials. */
    CHECK(str_find(buf_str(&f.seen), STR("POST /raw\n")) == 0);
    CHECK(str_find(buf_str(&f.seen), STR("v5.channel.k8s.io")) > 0);
    CHECK(str_find(buf_str(&f.seen), STR("v4.channel.k8s.io")) > 0);
    CHECK(str_find(buf_str(&f.seen), STR("secret")) < 0);
    net_stream_write_str(f.c, STR("some bytes"));
    turns(&f, 20);
    CHECK_STR_C(buf_str(&f.raw_log), "some bytes");
    CHECK_STR_C(buf_str(&f.got), "some bytes");
    net_stream_shutdown(f.c);
    turns(&f, 20);
    CHECK_INT(f.n_done, 1);
    CHECK_INT(f.result.status, 101);
    CHECK_INT(f.result.bytes_in, 10);
    CHECK_OK(f.result.err.code == ERR_NONE, &f.result.err);
    fix_deinit(&f);
}

TEST(upgrade_proxy_hands_a_refusal_to_the_client)
{
    struct fix f;
    fix_init(&f, UPGRADE_REMOTE_COMMAND, 404, "POST", SPDY);
    turns(&f, 10);
    CHECK(str_starts(buf_str(&f.head), STR("HTTP/1.1 404 ")));
    CHECK_STR_C(buf_str(&f.got), "no such container");
    CHECK_INT(f.n_done, 1);
    CHECK_INT(f.result.status, 404);
    fix_deinit(&f);
}

TEST(upgrade_proxy_without_backend_leaves_the_answer_to_its_owner)
{
    struct fix f;
    struct err err;
    int fds[2];
    fix_init(&f, UPGRADE_PASS, 404, "POST", SPDY);
    turns(&f, 10);
    f.back = http_server_free(f.back);
    (void)unlink(f.path);
    http_client_free(f.to_back);
    f.to_back = http_client_new(f.l, &(struct http_client_config){ .host = str_c(f.path) }, &err);
    net_stream_free(f.c);
    buf_clear(&f.head);
    f.head_done = false;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    http_server_serve_fd(f.front, fds[0], NULL, NULL);
    f.c = net_stream_new(f.l, fds[1], &client_ops, &f);
    net_stream_write_str(f.c, STR("POST / HTTP/1.1\r\nHost: x\r\n" SPDY "\r\n"));
    turns(&f, 40);
    CHECK(str_starts(buf_str(&f.head), STR("HTTP/1.1 503 ")));
    CHECK_INT(f.n_done, 2);
    CHECK_INT(f.result.status, 0);
    fix_deinit(&f);
}

TEST(upgrade_proxy_wants_an_upgrade)
{
    struct fix f;
    fix_init(&f, UPGRADE_REMOTE_COMMAND, 0, "GET", "");
    turns(&f, 10);
    CHECK(str_starts(buf_str(&f.head), STR("HTTP/1.1 400 ")));
    CHECK_STR_C(buf_str(&f.got), "Upgrade request required");
    fix_deinit(&f);
    fix_init(&f, UPGRADE_REMOTE_COMMAND, 0, "GET", WS("v9.channel.k8s.io"));
    turns(&f, 10);
    CHECK(str_starts(buf_str(&f.head), STR("HTTP/1.1 400 ")));
    CHECK(f.seen.len == 0);
    fix_deinit(&f);
}

static void ws_data(void *user, struct str data)
{
    struct fix *f = user;
    for (size_t i = 0; i < data.len; i++) {
        if ((uint8_t)data.ptr[i] < 8) {
            buf_printf(&f->got, "<%d>", data.ptr[i]);
        } else {
            buf_append_char(&f->got, data.ptr[i]);
        }
    }
}
static void ws_close(void *user, int code, struct str reason UNUSED)
{
    buf_printf(&((struct fix *)user)->got, "close %d", code);
}
static const struct websocket_events ws_events = { .on_data = ws_data, .on_close = ws_close };

/* After the head: what came is WebSocket. */
static void ws_feed(struct fix *f, struct websocket *w, struct buf *in)
{
    struct err err;
    size_t used;
    CHECK_OK(websocket_recv(w, buf_str(in), &used, &err), &err);
    buf_clear(in);
    struct buf out;
    while (websocket_out_take(w, &out)) {
        struct net_chunk chunk = net_chunk_take_buf(&out);
        net_stream_write(f->c, &chunk, 1);
    }
}

TEST(upgrade_proxy_translates_exec_over_websocket_to_spdy)
{
    struct fix f;
    struct websocket *w;
    struct buf bytes;
    fix_init(&f, UPGRADE_REMOTE_COMMAND, 0, "GET", WS("base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io"));
    CHECK(str_starts(buf_str(&f.head), STR("HTTP/1.1 101 ")));
    CHECK(str_find(buf_str(&f.head), STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) > 0);
    CHECK(str_find(buf_str(&f.head), STR("v5.channel.k8s.io")) > 0);
    CHECK(str_find(buf_str(&f.seen), STR("POST /exec\n")) == 0);
    CHECK(str_find(buf_str(&f.seen), STR("websocket")) < 0);
    CHECK(str_find(buf_str(&f.seen), STR("c2VjcmV0")) < 0);
    w = websocket_new(WEBSOCKET_CLIENT, &ws_events, &f);
    CHECK(websocket_send(w, false, str_n("\0", 1), STR("ls")));
    CHECK(websocket_send(w, false, str_n("\xff\0", 2), STR_EMPTY));
    buf_init(&bytes, BUF_NO_MAX);
    for (int i = 0; i < 60; i++) {
        struct buf tmp = f.got;
        f.got = (struct buf){ .max = BUF_NO_MAX };
        /* f.got collects both raw bytes (from the stream) and the log (from the engine): keep them apart. */
        buf_append(&bytes, buf_str(&tmp));
        buf_deinit(&tmp);
        struct buf log = f.raw_log;
        f.got = log;
        ws_feed(&f, w, &bytes);
        f.raw_log = f.got;
        f.got = (struct buf){ .max = BUF_NO_MAX };
        loop_turn(f.l, 2);
    }
    CHECK_STR_C(buf_str(&f.node_log), "0=ls;end 0;close;");
    CHECK_STR_C(buf_str(&f.raw_log), "<1><1>ls<3>{\"status\":\"Success\"}close 1000");
    CHECK_INT(f.n_done, 1);
    CHECK_OK(f.result.err.code == ERR_NONE, &f.result.err);
    CHECK_INT(f.result.bytes_in, 2);
    websocket_free(w);
    buf_deinit(&bytes);
    fix_deinit(&f);
}

TEST(upgrade_proxy_unpacks_port_forward_tunnels)
{
    struct fix f;
    struct websocket *w;
    struct buf out;
    fix_init(&f, UPGRADE_PORT_FORWARD, 0, "GET", WS("SPDY/3.1+portforward.k8s.io"));
    CHECK(str_starts(buf_str(&f.head), STR("HTTP/1.1 101 ")));
    CHECK(str_find(buf_str(&f.seen), STR("x-stream-protocol-version: portforward.k8s.io")) > 0);
    w = websocket_new(WEBSOCKET_CLIENT, &ws_events, &f);
    CHECK(websocket_send(w, false, STR_EMPTY, STR("spdy bytes")));
    CHECK(websocket_out_take(w, &out));
    struct net_chunk chunk = net_chunk_take_buf(&out);
    net_stream_write(f.c, &chunk, 1);
    turns(&f, 20);
    CHECK_STR_C(buf_str(&f.raw_log), "spdy bytes");
    CHECK_STR(buf_str(&f.got), str_n("\x82\x0a" "spdy bytes", 12));
    f.c = net_stream_free(f.c);
    turns(&f, 40);
    CHECK_INT(f.n_done, 1);
    CHECK_STR_C(buf_str(&f.raw_log), "spdy bytes<closed>");
    websocket_free(w);
    fix_deinit(&f);
}

TEST(upgrade_proxy_that_is_freed_cuts_both_sides)
{
    struct fix f;
    fix_init(&f, UPGRADE_PASS, 0, "POST", SPDY);
    f.proxy = upgrade_proxy_free(f.proxy);
    turns(&f, 20);
    CHECK(f.client_eof);
    CHECK_INT(f.n_done, 0);
    CHECK(!f.raw);
    fix_deinit(&f);
}

TEST(upgrade_proxy_stops_when_the_client_leaves_before_the_answer)
{
    struct fix f;
    fix_init(&f, UPGRADE_PASS, HANG, "POST", SPDY);
    CHECK(f.hanging);
    f.c = net_stream_free(f.c);
    turns(&f, 40);
    CHECK_INT(f.n_done, 1);
    CHECK_INT(f.result.err.code, ERR_CANCELLED);
    CHECK(http_stream_is_dead(f.hanging)); /* the backend was let go too */
    http_stream_release(f.hanging);
    fix_deinit(&f);
}
