/*
 * The gRPC client and exec channels against a real containerd. Skipped where containerd is missing or namespaces cannot be
 * made.
 */
#include "net/grpc.h"

#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/test.h"
#include "net/channels.h"
#include "net/loop.h"
#include "net/test-containerd.h"

struct result {
    int n_done;
    enum grpc_code code;
    char msg[1024];
    struct buf response;
};

static void done(void *arg, struct str response, const struct grpc_status *st)
{
    struct result *r = arg;
    r->n_done++;
    r->code = st->code;
    snprintf(r->msg, sizeof(r->msg), "%s", st->err.msg);
    buf_clear(&r->response);
    buf_append(&r->response, response);
}

static void call(struct loop *l, struct grpc_client *c, struct result *r, const char *method, struct str request)
{
    int before = r->n_done;
    grpc_call_wait_for_ready(grpc_unary(c, method, request, 20000, done, r));
    uint64_t end = clock_mono_ms() + 30000;
    while (r->n_done == before && clock_mono_ms() < end) {
        loop_turn(l, 10);
    }
    CHECK_INT(r->n_done, before + 1);
}

/* Protobuf by hand: the CRI's types are generated above this room. */
static void pb_bytes(struct buf *b, unsigned field, struct str s)
{
    buf_append_char(b, (char)(field << 3 | 2));
    if (s.len >= 128) {
        buf_append_char(b, (char)((s.len & 0x7f) | 0x80));
        buf_append_char(b, (char)(s.len >> 7));
    } else {
        buf_append_char(b, (char)s.len);
    }
    buf_append(b, s);
}
static void pb_flag(struct buf *b, unsigned field, unsigned v)
{
    buf_append_char(b, (char)(field << 3));
    buf_append_char(b, (char)v);
}
/* The first field of a response, which is an id or a URL. */
static struct str pb_first(struct str response)
{
    CHECK(response.len > 2 && response.ptr[0] == 0x0a && (uint8_t)response.ptr[1] == response.len - 2);
    return str_sub(response, 2, SIZE_MAX);
}

struct node {
    struct test_containerd t;
    struct loop *l;
    struct grpc_client *c;
    struct result r;
    char container[80], sandbox[80];
};

static void node_call(struct node *n, const char *method, struct buf *request)
{
    call(n->l, n->c, &n->r, method, buf_str(request));
    CHECK_STR_C(str_c(n->r.msg), "");
    CHECK_INT(n->r.code, GRPC_OK);
    buf_clear(request);
}

static void node_init(struct node *n)
{
    struct err err;
    *n = (struct node){ 0 };
    test_containerd_start(&n->t);
    n->l = loop_new(&err);
    n->c = grpc_client_new(n->l, &(struct grpc_config){ .unix_path = n->t.socket });
    buf_init(&n->r.response, BUF_NO_MAX);
}

static void node_deinit(struct node *n)
{
    grpc_client_free(n->c);
    for (int i = 0; i < 30; i++) {
        loop_turn(n->l, 1);
    }
    loop_free(n->l);
    buf_deinit(&n->r.response);
    test_containerd_stop(&n->t);
}

TEST(grpc_speaks_cri_with_containerd)
{
    struct node n;
    node_init(&n);
    call(n.l, n.c, &n.r, "/runtime.v1.RuntimeService/Version", STR_EMPTY);
    CHECK_STR_C(str_c(n.r.msg), "");
    CHECK_INT(n.r.code, GRPC_OK);
    /* VersionResponse: runtime_name = 2, runtime_api_version = 4. */
    CHECK(str_find(buf_str(&n.r.response), STR("\x12\x0a" "containerd")) >= 0);
    CHECK(str_find(buf_str(&n.r.response), STR("\x22\x02" "v1")) >= 0);
    call(n.l, n.c, &n.r, "/runtime.v1.RuntimeService/Status", STR_EMPTY);
    CHECK_INT(n.r.code, GRPC_OK);
    CHECK(str_find(buf_str(&n.r.response), STR("RuntimeReady")) >= 0);
    call(n.l, n.c, &n.r, "/runtime.v1.RuntimeService/ListContainers", STR_EMPTY);
    CHECK_INT(n.r.code, GRPC_OK);
    CHECK_INT(n.r.response.len, 0);
    /* ContainerStatusRequest: container_id = 1. */
    call(n.l, n.c, &n.r, "/runtime.v1.RuntimeService/ContainerStatus", STR("\x0a\x04gone"));
    CHECK_INT(n.r.code, GRPC_NOT_FOUND);
    CHECK(str_find(str_c(n.r.msg), STR("\"gone\"")) >= 0);
    call(n.l, n.c, &n.r, "/runtime.v1.RuntimeService/NoSuchMethod", STR_EMPTY);
    CHECK_INT(n.r.code, GRPC_UNIMPLEMENTED);
    node_deinit(&n);
}

/* ---- exec: containerd's streaming server is the kind of peer that SPDY and the channels are for ---- */

/* One pod with one container that sleeps. Sets n->container. */
static void node_run_container(struct node *n)
{
    struct buf meta, linux_, sec, ns, sandbox, req, cc, image;
    struct buf *all[] = { &meta, &linux_, &sec, &ns, &sandbox, &req, &cc, &image };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        buf_init(all[i], BUF_NO_MAX);
    }
    test_containerd_import_busybox(&n->t, "test.local/busybox:1");
    pb_bytes(&meta, 1, STR("pod"));
    pb_bytes(&meta, 2, STR("uid"));
    pb_bytes(&meta, 3, STR("default"));
    pb_flag(&ns, 1, 2); /* the network of the node: no CNI */
    pb_bytes(&sec, 1, buf_str(&ns));
    pb_bytes(&linux_, 1, str_c(n->t.cgroup));
    pb_bytes(&linux_, 2, buf_str(&sec));
    pb_bytes(&sandbox, 1, buf_str(&meta));
    pb_bytes(&sandbox, 8, buf_str(&linux_));
    pb_bytes(&req, 1, buf_str(&sandbox));
    node_call(n, "/runtime.v1.RuntimeService/RunPodSandbox", &req);
    CHECK(str_to_cstr(pb_first(buf_str(&n->r.response)), n->sandbox, sizeof(n->sandbox)));

    buf_clear(&meta);
    buf_clear(&linux_);
    buf_clear(&sec);
    pb_bytes(&meta, 1, STR("main"));
    pb_bytes(&image, 1, STR("test.local/busybox:1"));
    pb_bytes(&sec, 3, buf_str(&ns));
    pb_bytes(&linux_, 2, buf_str(&sec));
    pb_bytes(&cc, 1, buf_str(&meta));
    pb_bytes(&cc, 2, buf_str(&image));
    pb_bytes(&cc, 15, buf_str(&linux_));
    pb_bytes(&req, 1, str_c(n->sandbox));
    pb_bytes(&req, 2, buf_str(&cc));
    pb_bytes(&req, 3, buf_str(&sandbox));
    node_call(n, "/runtime.v1.RuntimeService/CreateContainer", &req);
    CHECK(str_to_cstr(pb_first(buf_str(&n->r.response)), n->container, sizeof(n->container)));
    pb_bytes(&req, 1, str_c(n->container));
    node_call(n, "/runtime.v1.RuntimeService/StartContainer", &req);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        buf_deinit(all[i]);
    }
}

static void node_remove_pod(struct node *n)
{
    struct buf req;
    buf_init(&req, BUF_NO_MAX);
    pb_bytes(&req, 1, str_c(n->sandbox));
    node_call(n, "/runtime.v1.RuntimeService/StopPodSandbox", &req);
    pb_bytes(&req, 1, str_c(n->sandbox));
    node_call(n, "/runtime.v1.RuntimeService/RemovePodSandbox", &req);
    buf_deinit(&req);
}

/* Prepares an exec of "sh -c 'script'" and upgrades a connection to containerd's streaming server. */
static struct net_stream *node_exec(struct node *n, const char *script, bool tty, const char *upgrade_headers)
{
    struct buf req, http;
    char url[200], head[2048];
    unsigned port;
    size_t got = 0;
    buf_init(&req, BUF_NO_MAX);
    buf_init(&http, BUF_NO_MAX);
    pb_bytes(&req, 1, str_c(n->container));
    pb_bytes(&req, 2, STR("/bin/sh"));
    pb_bytes(&req, 2, STR("-c"));
    pb_bytes(&req, 2, str_c(script));
    pb_flag(&req, 3, tty);
    pb_flag(&req, 4, 1);
    pb_flag(&req, 5, 1);
    pb_flag(&req, 6, !tty);
    node_call(n, "/runtime.v1.RuntimeService/Exec", &req);
    CHECK(str_to_cstr(pb_first(buf_str(&n->r.response)), url, sizeof(url)));
    CHECK_INT(sscanf(url, "http://127.0.0.1:%u/", &port), 1);
    int fd = test_containerd_connect(&n->t, port);
    buf_printf(&http, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n%s\r\n",
               strstr(upgrade_headers, "SPDY") ? "POST" : "GET", strchr(url + 7, '/'), upgrade_headers);
    CHECK_INT(send(fd, http.ptr, http.len, 0), http.len);
    do {
        CHECK(got < sizeof(head) - 1 && recv(fd, head + got, 1, 0) == 1);
        head[++got] = '\0';
    } while (!strstr(head, "\r\n\r\n"));
    CHECK(str_starts(str_c(head), STR("HTTP/1.1 101 ")));
    buf_deinit(&req);
    buf_deinit(&http);
    struct net_stream *s = net_stream_new(n->l, fd, NULL, NULL);
    net_stream_pause(s);
    return s;
}

#define SPDY_UPGRADE "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
#define WS_UPGRADE(protocol) \
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Protocol: " protocol "\r\n"

struct command {
    struct channels *c;
    struct buf out[CHANNEL_MAX];
    unsigned ended;
    size_t n_out;
    bool count_only, opened, closed;
    struct err why;
};

static void command_open(struct channels *c UNUSED, void *arg)
{
    ((struct command *)arg)->opened = true;
}
static void command_data(struct channels *c UNUSED, enum channel ch, struct str data, void *arg)
{
    struct command *cmd = arg;
    cmd->n_out += data.len;
    if (!cmd->count_only || ch != CHANNEL_STDOUT) {
        buf_append(&cmd->out[ch], data);
    }
}
static void command_end(struct channels *c UNUSED, enum channel ch, void *arg)
{
    ((struct command *)arg)->ended |= CHANNEL_BIT(ch);
}
static void command_close(struct channels *c UNUSED, const struct err *why, void *arg)
{
    struct command *cmd = arg;
    cmd->closed = true;
    cmd->why = *why;
}
static const struct channels_ops command_ops = {
    .on_open = command_open, .on_data = command_data, .on_end = command_end, .on_close = command_close,
};

#define PIPES \
    (CHANNEL_BIT(CHANNEL_STDIN) | CHANNEL_BIT(CHANNEL_STDOUT) | CHANNEL_BIT(CHANNEL_STDERR))
#define TTY (CHANNEL_BIT(CHANNEL_STDIN) | CHANNEL_BIT(CHANNEL_STDOUT) | CHANNEL_BIT(CHANNEL_RESIZE))

static void command_init(struct command *cmd, struct net_stream *s, enum channels_protocol p, unsigned mask)
{
    *cmd = (struct command){ 0 };
    for (size_t i = 0; i < CHANNEL_MAX; i++) {
        buf_init(&cmd->out[i], BUF_NO_MAX);
    }
    cmd->c = channels_new(s, &(struct channels_config){ .protocol = p, .mask = mask }, &command_ops, cmd);
}
static void command_deinit(struct command *cmd)
{
    channels_free(cmd->c);
    for (size_t i = 0; i < CHANNEL_MAX; i++) {
        buf_deinit(&cmd->out[i]);
    }
}
static void run_until(struct node *n, const bool *flag)
{
    uint64_t end = clock_mono_ms() + 30000;
    while (!*flag && clock_mono_ms() < end) {
        loop_turn(n->l, 10);
    }
    CHECK(*flag);
}

static const char exit_3[] = "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}";

static void exec_over_spdy(struct node *n)
{
    struct command cmd;
    command_init(&cmd, node_exec(n, "cat; echo oops >&2; exit 3", false, SPDY_UPGRADE), CHANNELS_SPDY_V4, PIPES);
    run_until(n, &cmd.opened);
    channels_write(cmd.c, CHANNEL_STDIN, STR("hello "));
    channels_write(cmd.c, CHANNEL_STDIN, STR("world"));
    channels_end(cmd.c, CHANNEL_STDIN);
    run_until(n, &cmd.closed);
    CHECK_STR_C(buf_str(&cmd.out[CHANNEL_STDOUT]), "hello world");
    CHECK_STR_C(buf_str(&cmd.out[CHANNEL_STDERR]), "oops\n");
    CHECK(str_find(buf_str(&cmd.out[CHANNEL_ERROR]), str_c(exit_3)) >= 0);
    CHECK_INT(cmd.ended & (PIPES | CHANNEL_BIT(CHANNEL_ERROR)), PIPES | CHANNEL_BIT(CHANNEL_ERROR));
    command_deinit(&cmd);
}

static void exec_megabytes_over_spdy(struct node *n)
{
    struct command cmd;
    static char big[64 * 1024];
    command_init(&cmd, node_exec(n, "wc -c; dd if=/dev/zero bs=65536 count=160 2>/dev/null", false, SPDY_UPGRADE),
                 CHANNELS_SPDY_V4, PIPES);
    cmd.count_only = true;
    run_until(n, &cmd.opened);
    for (int sent = 0; sent < 64;) {
        if (!channels_is_full(cmd.c)) {
            channels_write(cmd.c, CHANNEL_STDIN, str_n(big, sizeof(big)));
            sent++;
        }
        loop_turn(n->l, 1);
    }
    channels_end(cmd.c, CHANNEL_STDIN);
    run_until(n, &cmd.closed);
    CHECK_INT(cmd.n_out, strlen("4194304\n") + 160 * 65536 + cmd.out[CHANNEL_ERROR].len);
    CHECK(str_find(buf_str(&cmd.out[CHANNEL_ERROR]), STR("Success")) >= 0);
    command_deinit(&cmd);
}

static void exec_tty_over_spdy(struct node *n)
{
    struct command cmd;
    command_init(&cmd, node_exec(n, "read x; stty size", true, SPDY_UPGRADE), CHANNELS_SPDY_V4, TTY);
    run_until(n, &cmd.opened);
    channels_write(cmd.c, CHANNEL_RESIZE, STR("{\"Width\":123,\"Height\":45}\n"));
    for (int i = 0; i < 30; i++) {
        loop_turn(n->l, 10);
    }
    channels_write(cmd.c, CHANNEL_STDIN, STR("\n"));
    run_until(n, &cmd.closed);
    CHECK(str_find(buf_str(&cmd.out[CHANNEL_STDOUT]), STR("45 123")) >= 0);
    command_deinit(&cmd);
}

static void exec_over_websocket(struct node *n, const char *headers, enum channels_protocol p)
{
    struct command cmd;
    command_init(&cmd, node_exec(n, "read x; echo got $x; exit 3", false, headers), p, PIPES);
    run_until(n, &cmd.opened);
    channels_write(cmd.c, CHANNEL_STDIN, STR("line\n"));
    run_until(n, &cmd.closed);
    CHECK_STR_C(buf_str(&cmd.out[CHANNEL_STDOUT]), "got line\n");
    CHECK(str_find(buf_str(&cmd.out[CHANNEL_ERROR]), str_c(exit_3)) >= 0);
    command_deinit(&cmd);
}

static void bridge_done(void *arg, const struct channels_bridge_result *r)
{
    CHECK_OK(r->err.code == ERR_NONE, &r->err);
    *(bool *)arg = true;
}

static void exec_through_the_bridge(struct node *n)
{
    struct command cmd;
    struct net_stream *pair[2];
    bool over = false;
    CHECK_INT(net_stream_pair(n->l, pair), 0);
    command_init(&cmd, pair[0], CHANNELS_WS_V5, PIPES);
    channels_bridge_new(pair[1], CHANNELS_WS_V5, node_exec(n, "cat; exit 3", false, SPDY_UPGRADE), PIPES, 0, bridge_done, &over);
    channels_write(cmd.c, CHANNEL_STDIN, STR("through the bridge"));
    channels_end(cmd.c, CHANNEL_STDIN);
    run_until(n, &cmd.closed);
    run_until(n, &over);
    CHECK_STR_C(buf_str(&cmd.out[CHANNEL_STDOUT]), "through the bridge");
    CHECK(str_find(buf_str(&cmd.out[CHANNEL_ERROR]), str_c(exit_3)) >= 0);
    CHECK_OK(cmd.why.code == ERR_NONE, &cmd.why);
    command_deinit(&cmd);
}

TEST(channels_exec_in_a_container_of_containerd)
{
    struct node n;
    node_init(&n);
    node_run_container(&n);
    exec_over_spdy(&n);
    exec_megabytes_over_spdy(&n);
    exec_tty_over_spdy(&n);
    exec_over_websocket(&n, WS_UPGRADE("v4.channel.k8s.io"), CHANNELS_WS_V4);
    exec_over_websocket(&n, WS_UPGRADE("v4.base64.channel.k8s.io"), CHANNELS_WS_V4_BASE64);
    exec_through_the_bridge(&n);
    node_remove_pod(&n);
    node_deinit(&n);
}
