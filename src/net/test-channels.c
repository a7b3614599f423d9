#include "net/channels.h"

#include "base/test.h"
#include "net/limits.h"
#include "net/stream-limits.h"
#include "net/websocket.h"

#define ALL                                                                                                                \
    (CHANNEL_BIT(CHANNEL_STDIN) | CHANNEL_BIT(CHANNEL_STDOUT) | CHANNEL_BIT(CHANNEL_STDERR) | CHANNEL_BIT(CHANNEL_RESIZE))

/* One end of a session, with everything that happened. */
struct end {
    struct channels *c;
    struct buf log;
    size_t n_data, pause_at;
    bool quiet, echo, free_on_data;
    struct err why;
    int n_closed;
};

static void on_open(struct channels *c UNUSED, void *arg)
{
    buf_append_c(&((struct end *)arg)->log, "open;");
}
static void on_data(struct channels *c, enum channel ch, struct str data, void *arg)
{
    struct end *e = arg;
    e->n_data += data.len;
    if (!e->quiet) {
        buf_printf(&e->log, "%d=%.*s;", ch, STR_ARG(data));
    }
    if (e->echo && ch == CHANNEL_STDIN) {
        channels_write(c, CHANNEL_STDOUT, data);
        if (channels_is_full(c)) {
            channels_pause(c);
        }
    }
    if (e->pause_at && e->n_data >= e->pause_at) {
        channels_pause(c);
    }
    if (e->free_on_data) {
        e->c = channels_free(e->c);
    }
}
static void on_end(struct channels *c UNUSED, enum channel ch, void *arg)
{
    buf_printf(&((struct end *)arg)->log, "end %d;", ch);
}
static void on_drain(struct channels *c, void *arg)
{
    if (((struct end *)arg)->echo) {
        channels_resume(c);
    }
}
static void on_close(struct channels *c UNUSED, const struct err *why, void *arg)
{
    struct end *e = arg;
    e->n_closed++;
    e->why = *why;
    buf_append_c(&e->log, "close;");
}
static const struct channels_ops ops = {
    .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_close = on_close,
};

static void end_init(struct end *e, struct net_stream *s, enum channels_protocol p, bool server, unsigned mask)
{
    buf_init(&e->log, BUF_NO_MAX);
    e->c = channels_new(s, &(struct channels_config){ .protocol = p, .server = server, .mask = mask, .open_ms = 100 }, &ops, e);
}
static void end_deinit(struct end *e)
{
    channels_free(e->c);
    buf_deinit(&e->log);
}

struct fix {
    struct loop *l;
    struct end client, server;
    struct channels_bridge *bridge;
    int n_done;
    struct channels_bridge_result result;
};

static void turns(struct fix *f, int n)
{
    for (int i = 0; i < n; i++) {
        loop_turn(f->l, 1);
    }
}
static void session_init(struct fix *f, enum channels_protocol p, unsigned mask)
{
    struct err err;
    struct net_stream *s[2];
    *f = (struct fix){ 0 };
    f->l = loop_new(&err);
    CHECK_INT(net_stream_pair(f->l, s), 0);
    end_init(&f->client, s[0], p, false, mask);
    end_init(&f->server, s[1], p, true, mask);
}
static void bridge_done(void *arg, const struct channels_bridge_result *r)
{
    struct fix *f = arg;
    f->n_done++;
    f->result = *r;
    f->bridge = NULL;
}
/* kubectl (WebSocket client) - bridge - kubelet (SPDY server) */
static void bridge_init(struct fix *f, enum channels_protocol p, unsigned mask)
{
    struct err err;
    struct net_stream *a[2], *b[2];
    *f = (struct fix){ 0 };
    f->l = loop_new(&err);
    CHECK_INT(net_stream_pair(f->l, a), 0);
    CHECK_INT(net_stream_pair(f->l, b), 0);
    end_init(&f->client, a[0], p, false, mask);
    end_init(&f->server, b[0], CHANNELS_SPDY_V4, true, mask);
    f->bridge = channels_bridge_new(a[1], p, b[1], mask, 0, bridge_done, f);
}
static void fix_deinit(struct fix *f)
{
    channels_bridge_free(f->bridge);
    end_deinit(&f->client);
    end_deinit(&f->server);
    turns(f, 30); /* connections that were left to close by themselves */
    loop_free(f->l);
}

TEST(channels_carry_every_channel_in_every_protocol)
{
    static const enum channels_protocol protocols[] = {
        CHANNELS_WS_V5, CHANNELS_WS_V4, CHANNELS_WS_V4_BASE64, CHANNELS_WS_V1, CHANNELS_WS_V1_BASE64, CHANNELS_SPDY_V4,
    };
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        struct fix f;
        session_init(&f, protocols[i], ALL);
        turns(&f, 10);
        CHECK_STR_C(buf_str(&f.server.log), "open;");
        CHECK_STR_C(buf_str(&f.client.log), "open;");
        channels_write(f.client.c, CHANNEL_RESIZE, STR("{\"Width\":80}"));
        channels_write(f.client.c, CHANNEL_STDIN, STR("ls\n"));
        channels_write(f.server.c, CHANNEL_STDOUT, STR("a b"));
        channels_write(f.server.c, CHANNEL_STDERR, STR("oh"));
        channels_write(f.server.c, CHANNEL_ERROR, STR("{}"));
        channels_end(f.client.c, CHANNEL_STDIN);
        turns(&f, 10);
        bool can_end = protocols[i] == CHANNELS_WS_V5 || protocols[i] == CHANNELS_SPDY_V4;
        CHECK_STR_C(buf_str(&f.server.log), can_end ? "open;4={\"Width\":80};0=ls\n;end 0;" : "open;4={\"Width\":80};0=ls\n;");
        CHECK_STR_C(buf_str(&f.client.log), "open;1=a b;2=oh;3={};");
        channels_close(f.server.c);
        turns(&f, 10);
        CHECK_INT(f.server.n_closed, 1);
        CHECK_INT(f.client.n_closed, 1);
        CHECK_OK(f.client.why.code == ERR_NONE, &f.client.why);
        CHECK_INT(f.server.why.code, ERR_NONE);
        fix_deinit(&f);
    }
}

TEST(channels_echo_megabytes_with_bounded_memory)
{
    static const enum channels_protocol protocols[] = { CHANNELS_WS_V5, CHANNELS_WS_V4_BASE64, CHANNELS_SPDY_V4 };
    static char big[3 << 20];
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        struct fix f;
        session_init(&f, protocols[i], ALL);
        f.server.quiet = f.client.quiet = true;
        f.server.echo = true;
        turns(&f, 10);
        for (size_t at = 0; at < sizeof(big);) {
            if (!channels_is_full(f.client.c)) {
                channels_write(f.client.c, CHANNEL_STDIN, str_n(big + at, 64 * 1024));
                at += 64 * 1024;
            }
            loop_turn(f.l, 1);
        }
        for (int k = 0; k < 2000 && f.client.n_data < sizeof(big); k++) {
            loop_turn(f.l, 1);
        }
        CHECK_INT(f.client.n_data, sizeof(big));
        fix_deinit(&f);
    }
}

TEST(channels_pause_holds_the_sender_back_and_loses_nothing)
{
    static const enum channels_protocol protocols[] = { CHANNELS_WS_V5, CHANNELS_SPDY_V4 };
    static char big[64 * 1024];
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        struct fix f;
        session_init(&f, protocols[i], ALL);
        f.server.quiet = true;
        f.server.pause_at = 1000;
        turns(&f, 10);
        size_t sent = 0;
        for (int k = 0; k < 300; k++) {
            if (!channels_is_full(f.client.c)) {
                channels_write(f.client.c, CHANNEL_STDIN, str_n(big, sizeof(big)));
                sent += sizeof(big);
            }
            loop_turn(f.l, 1);
        }
        CHECK(channels_is_full(f.client.c));
        CHECK(f.server.n_data <= 200 * 1024);
        f.server.pause_at = 0;
        channels_resume(f.server.c);
        for (int k = 0; k < 1000 && f.server.n_data < sent; k++) {
            loop_turn(f.l, 1);
        }
        CHECK_INT(f.server.n_data, sent);
        fix_deinit(&f);
    }
}

TEST(channels_may_be_freed_inside_a_callback)
{
    static const enum channels_protocol protocols[] = { CHANNELS_WS_V5, CHANNELS_SPDY_V4 };
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        struct fix f;
        session_init(&f, protocols[i], ALL);
        f.server.free_on_data = true;
        turns(&f, 10);
        channels_write(f.client.c, CHANNEL_STDIN, STR("one"));
        channels_write(f.client.c, CHANNEL_STDIN, STR("two"));
        turns(&f, 10);
        CHECK_STR_C(buf_str(&f.server.log), "open;0=one;");
        CHECK_INT(f.client.n_closed, 1);
        CHECK_INT(f.client.why.code, ERR_UNAVAILABLE);
        fix_deinit(&f);
    }
}

TEST(channels_spdy_server_gives_up_on_a_client_that_opens_too_few_streams)
{
    struct fix f;
    struct err err;
    struct net_stream *s[2];
    f = (struct fix){ 0 };
    f.l = loop_new(&err);
    CHECK_INT(net_stream_pair(f.l, s), 0);
    end_init(&f.client, s[0], CHANNELS_SPDY_V4, false, CHANNEL_BIT(CHANNEL_STDOUT));
    end_init(&f.server, s[1], CHANNELS_SPDY_V4, true, ALL);
    for (int i = 0; i < 100 && !f.server.n_closed; i++) {
        loop_turn(f.l, 5);
    }
    CHECK_INT(f.server.why.code, ERR_TIMEOUT);
    fix_deinit(&f);
}

TEST(bridge_carries_a_command_from_start_to_status)
{
    static const enum channels_protocol protocols[] = { CHANNELS_WS_V5, CHANNELS_WS_V4, CHANNELS_WS_V4_BASE64 };
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        struct fix f;
        bridge_init(&f, protocols[i], ALL);
        channels_write(f.client.c, CHANNEL_STDIN, STR("early"));
        turns(&f, 20);
        CHECK_STR_C(buf_str(&f.server.log), "open;0=early;");
        channels_write(f.client.c, CHANNEL_RESIZE, STR("{\"Width\":80}"));
        channels_end(f.client.c, CHANNEL_STDIN);
        channels_write(f.server.c, CHANNEL_STDOUT, STR("out"));
        channels_write(f.server.c, CHANNEL_STDERR, STR("err"));
        channels_write(f.server.c, CHANNEL_ERROR, STR("{\"status\":"));
        turns(&f, 20);
        channels_write(f.server.c, CHANNEL_ERROR, STR("\"Success\"}"));
        turns(&f, 20);
        CHECK_STR_C(buf_str(&f.server.log), protocols[i] == CHANNELS_WS_V5 ? "open;0=early;4={\"Width\":80};end 0;"
                                                                            : "open;0=early;4={\"Width\":80};");
        CHECK_STR_C(buf_str(&f.client.log), "open;1=out;2=err;");
        channels_close(f.server.c);
        turns(&f, 30);
        CHECK_STR_C(buf_str(&f.client.log), "open;1=out;2=err;3={\"status\":\"Success\"};close;");
        CHECK_OK(f.client.why.code == ERR_NONE, &f.client.why);
        CHECK_INT(f.n_done, 1);
        CHECK_OK(f.result.err.code == ERR_NONE, &f.result.err);
        CHECK_INT(f.result.bytes_to_client, 6);
        fix_deinit(&f);
    }
}

TEST(bridge_tells_the_client_when_the_node_breaks_off)
{
    struct fix f;
    bridge_init(&f, CHANNELS_WS_V5, ALL);
    turns(&f, 20);
    f.server.c = channels_free(f.server.c);
    turns(&f, 30);
    CHECK_INT(f.n_done, 1);
    CHECK_INT(f.result.err.code, ERR_UNAVAILABLE);
    CHECK(str_find(buf_str(&f.client.log), STR("\"status\":\"Failure\"")) >= 0);
    CHECK(str_ends(buf_str(&f.client.log), STR("close;")));
    CHECK_INT(f.client.why.code, ERR_NONE);
    fix_deinit(&f);
}

TEST(bridge_closes_the_node_when_the_client_leaves)
{
    struct fix f;
    bridge_init(&f, CHANNELS_WS_V5, ALL);
    turns(&f, 20);
    f.client.c = channels_free(f.client.c);
    turns(&f, 30);
    CHECK_INT(f.n_done, 1);
    CHECK(f.result.err.code != ERR_NONE);
    CHECK(f.server.n_closed == 1);
    fix_deinit(&f);
}

TEST(bridge_delivers_the_end_to_a_client_that_takes_its_time)
{
    struct fix f;
    static char big[400 * 1024];
    bridge_init(&f, CHANNELS_WS_V5, ALL);
    f.client.quiet = true;
    turns(&f, 20);
    channels_pause(f.client.c);
    turns(&f, 5);
    channels_write(f.server.c, CHANNEL_STDOUT, str_n(big, sizeof(big)));
    channels_write(f.server.c, CHANNEL_ERROR, STR("{}"));
    channels_close(f.server.c);
    /* Longer than a plain close would wait. */
    uint64_t end = loop_now_ms(f.l) + NET_CLOSE_FLUSH_MS + 500;
    while (loop_now_ms(f.l) < end) {
        loop_turn(f.l, 100);
    }
    channels_resume(f.client.c);
    for (int k = 0; k < 1000 && !f.client.n_closed; k++) {
        loop_turn(f.l, 1);
    }
    CHECK_INT(f.client.n_data, sizeof(big) + 2);
    CHECK_INT(f.client.why.code, ERR_NONE);
    fix_deinit(&f);
}

TEST(bridge_is_bounded_when_the_client_does_not_read)
{
    struct fix f;
    static char big[64 * 1024];
    bridge_init(&f, CHANNELS_WS_V5, ALL);
    f.client.quiet = true;
    turns(&f, 20);
    channels_pause(f.client.c);
    size_t sent = 0;
    for (int k = 0; k < 1000; k++) {
        if (!channels_is_full(f.server.c)) {
            channels_write(f.server.c, CHANNEL_STDOUT, str_n(big, sizeof(big)));
            sent += sizeof(big);
        }
        loop_turn(f.l, 0);
    }
    CHECK(channels_is_full(f.server.c));
    CHECK(sent < 4 << 20);
    channels_resume(f.client.c);
    channels_write(f.server.c, CHANNEL_ERROR, STR("{}"));
    channels_close(f.server.c);
    for (int k = 0; k < 3000 && !f.client.n_closed; k++) {
        loop_turn(f.l, 1);
    }
    CHECK_INT(f.client.n_data, sent + 2);
    CHECK_INT(f.n_done, 1);
    fix_deinit(&f);
}

/* The tunnel: the client side is a bare WebSocket engine. */
struct tunnel_end {
    struct net_stream *s;
    struct websocket *w;
    struct buf got;
    bool closed;
};
static void tunnel_message(void *user, struct str data)
{
    buf_append(&((struct tunnel_end *)user)->got, data);
}
static void tunnel_close_frame(void *user, int code UNUSED, struct str reason UNUSED)
{
    ((struct tunnel_end *)user)->closed = true;
}
static const struct websocket_events tunnel_events = { .on_data = tunnel_message, .on_close = tunnel_close_frame };
static void tunnel_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct tunnel_end *e = arg;
    struct err err;
    size_t used;
    if (e->w) {
        CHECK_OK(websocket_recv(e->w, data, &used, &err), &err);
    } else {
        buf_append(&e->got, data);
    }
}
static void tunnel_closed(struct net_stream *s UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    ((struct tunnel_end *)arg)->closed = true;
}
static const struct net_stream_ops tunnel_ops = { .on_data = tunnel_data, .on_close = tunnel_closed };

TEST(tunnel_moves_bytes_inside_messages_and_closes_in_order)
{
    struct fix f = { 0 };
    struct err err;
    struct net_stream *a[2], *b[2];
    struct tunnel_end client = { 0 }, node = { 0 };
    struct buf out;
    f.l = loop_new(&err);
    CHECK_INT(net_stream_pair(f.l, a), 0);
    CHECK_INT(net_stream_pair(f.l, b), 0);
    struct channels_tunnel *tunnel = channels_tunnel_new(a[1], b[1], 0, bridge_done, &f);
    CHECK(tunnel);
    client.s = a[0];
    client.w = websocket_new(WEBSOCKET_CLIENT, &tunnel_events, &client);
    node.s = b[0];
    buf_init(&client.got, BUF_NO_MAX);
    buf_init(&node.got, BUF_NO_MAX);
    net_stream_set_ops(client.s, &tunnel_ops, &client);
    net_stream_set_ops(node.s, &tunnel_ops, &node);
    net_stream_resume(client.s);
    net_stream_resume(node.s);

    static char big[200 * 1024];
    CHECK(websocket_send(client.w, false, STR_EMPTY, str_n(big, sizeof(big))));
    CHECK(websocket_out_take(client.w, &out));
    struct net_chunk chunk = net_chunk_take_buf(&out);
    net_stream_write(client.s, &chunk, 1);
    net_stream_write_str(node.s, str_n(big, 100 * 1024));
    turns(&f, 40);
    CHECK_INT(node.got.len, sizeof(big));
    CHECK_INT(client.got.len, 100 * 1024);
    CHECK_INT(f.n_done, 0);
    net_stream_close(node.s);
    turns(&f, 40);
    CHECK(client.closed);
    CHECK_INT(f.n_done, 1);
    CHECK_INT(f.result.bytes_to_node, sizeof(big));
    net_stream_free(client.s);
    net_stream_free(node.s);
    websocket_free(client.w);
    buf_deinit(&client.got);
    buf_deinit(&node.got);
    turns(&f, 20);
    loop_free(f.l);
}

TEST(channels_handshake_chooses_a_protocol_or_says_why_not)
{
    struct http_header items[] = {
        { STR("connection"), STR("keep-alive, Upgrade") },
        { STR("upgrade"), STR("websocket") },
        { STR("sec-websocket-version"), STR("13") },
        { STR("sec-websocket-key"), STR("dGhlIHNhbXBsZSBub25jZQ==") },
        { STR("sec-websocket-protocol"), STR("v9.channel.k8s.io,v5.channel.k8s.io") },
    };
    struct http_headers h = { items, 5 };
    struct channels_handshake hs;
    enum channels_protocol p;
    struct err err;
    CHECK_OK(channels_accept_websocket(&h, channels_ws_protocols, 5, &hs, &err), &err);
    CHECK_STR_C(hs.protocol, "v5.channel.k8s.io");
    CHECK_INT(hs.n_headers, 3);
    CHECK_STR_C(hs.headers[1].value, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(channels_protocol_parse(hs.protocol, &p));
    CHECK_INT(p, CHANNELS_WS_V5);
    items[4].value = STR("v9.channel.k8s.io");
    CHECK(!channels_accept_websocket(&h, channels_ws_protocols, 5, &hs, &err));
    h.n = 4;
    CHECK_OK(channels_accept_websocket(&h, channels_ws_protocols, 5, &hs, &err), &err);
    CHECK(!hs.protocol.ptr);
    CHECK_INT(hs.n_headers, 2);
    items[2].value = STR("8");
    CHECK(!channels_accept_websocket(&h, channels_ws_protocols, 5, &hs, &err));
    CHECK(channels_protocol_parse(STR("v4.base64.channel.k8s.io"), &p));
    CHECK(!channels_protocol_parse(STR("v7"), &p));
}
