#include "net/websocket.h"

#include "base/rand.h"
#include "base/test.h"
#include "net/stream-limits.h"

struct side {
    struct websocket *w;
    struct buf log;
    bool quiet;
    size_t n_data, pause_after;
};

static void on_message(void *user, bool text)
{
    buf_append_c(&((struct side *)user)->log, text ? "T(" : "B(");
}
static void on_data(void *user, struct str data)
{
    struct side *s = user;
    s->n_data += data.len;
    if (!s->quiet) {
        buf_append(&s->log, data);
    }
    if (s->pause_after && s->n_data >= s->pause_after) {
        websocket_pause(s->w);
    }
}
static void on_message_end(void *user)
{
    buf_append_c(&((struct side *)user)->log, ")");
}
static void on_pong(void *user, struct str payload)
{
    buf_printf(&((struct side *)user)->log, "pong(%.*s)", STR_ARG(payload));
}
static void on_close(void *user, int code, struct str reason)
{
    buf_printf(&((struct side *)user)->log, "close(%d %.*s)", code, STR_ARG(reason));
}
static const struct websocket_events events = {
    .on_message = on_message, .on_data = on_data, .on_message_end = on_message_end, .on_pong = on_pong, .on_close = on_close,
};

static void side_init(struct side *s, enum websocket_role role)
{
    *s = (struct side){ .w = websocket_new(role, &events, s) };
    buf_init(&s->log, BUF_NO_MAX);
}
static void side_deinit(struct side *s)
{
    websocket_free(s->w);
    buf_deinit(&s->log);
}
static bool move(struct side *from, struct side *to, size_t split, struct err *err)
{
    bool moved = false;
    while (websocket_out(from->w).len) {
        size_t used, n = split ? split : 1 + rand_below(300);
        if (!websocket_recv(to->w, str_sub(websocket_out(from->w), 0, n), &used, err)) {
            return false;
        }
        websocket_out_consume(from->w, used);
        moved = true;
    }
    return moved;
}
static void pump(struct side *a, struct side *b, size_t split)
{
    struct err err = { 0 };
    while (move(a, b, split, &err) || move(b, a, split, &err)) {
    }
    CHECK_OK(err.code == ERR_NONE, &err);
}
/* Feeds raw bytes to a fresh side of 'role'. Returns whether they were taken; 'ret_log' and the output are checked. */
static bool feed(enum websocket_role role, const void *bytes, size_t n, int want_close, struct buf *ret_log)
{
    struct side s;
    struct err err;
    size_t used;
    side_init(&s, role);
    bool ok = websocket_recv(s.w, str_n(bytes, n), &used, &err);
    if (want_close) {
        struct str out = websocket_out(s.w);
        CHECK(out.len >= 2 && (uint8_t)out.ptr[0] == 0x88); /* a server's frames are not masked */
        CHECK_INT(out.len >= 4 ? (uint8_t)out.ptr[2] << 8 | (uint8_t)out.ptr[3] : 1005, want_close);
    }
    if (ret_log) {
        buf_init(ret_log, BUF_NO_MAX);
        buf_append(ret_log, buf_str(&s.log));
    }
    side_deinit(&s);
    return ok;
}

TEST(websocket_messages_arrive_whatever_the_splits)
{
    for (size_t split = 0; split < 10; split++) {
        struct side c, s;
        side_init(&c, WEBSOCKET_CLIENT);
        side_init(&s, WEBSOCKET_SERVER);
        CHECK(websocket_send(c.w, true, STR("0"), STR("aGk=")));
        CHECK(websocket_send(c.w, false, STR_EMPTY, STR_EMPTY));
        CHECK(websocket_send(s.w, false, STR("1"), STR("out")));
        websocket_ping(c.w, STR("are you there"));
        pump(&c, &s, split);
        CHECK_STR_C(buf_str(&s.log), "T(0aGk=)B()");
        CHECK_STR_C(buf_str(&c.log), "B(1out)pong(are you there)");
        websocket_close(c.w, WEBSOCKET_CLOSE_NORMAL, STR("bye"));
        CHECK(!websocket_send(c.w, false, STR("x"), STR("x")));
        pump(&c, &s, split);
        CHECK(str_ends(buf_str(&s.log), STR("close(1000 bye)")));
        CHECK(str_ends(buf_str(&c.log), STR("close(1000 bye)")));
        CHECK(websocket_close_sent(s.w) && websocket_close_received(c.w));
        side_deinit(&c);
        side_deinit(&s);
    }
}

TEST(websocket_large_messages_come_in_pieces_and_pause)
{
    struct side c, s;
    struct err err;
    size_t used;
    static char big[200000];
    side_init(&c, WEBSOCKET_CLIENT);
    side_init(&s, WEBSOCKET_SERVER);
    s.quiet = true;
    CHECK(websocket_send(c.w, false, STR("0"), str_n(big, sizeof(big))));
    s.pause_after = 10000;
    struct str out = websocket_out(c.w);
    CHECK_OK(websocket_recv(s.w, out, &used, &err), &err);
    CHECK(s.n_data >= 10000 && s.n_data <= 10000 + 4096);
    CHECK(used < 20000);
    s.pause_after = 0;
    websocket_resume(s.w);
    CHECK_OK(websocket_recv(s.w, str_sub(out, used, SIZE_MAX), &used, &err), &err);
    CHECK_INT(s.n_data, sizeof(big) + 1);
    CHECK_STR_C(buf_str(&s.log), "B()");
    side_deinit(&c);
    side_deinit(&s);
}

TEST(websocket_output_takes_data_up_to_its_bound)
{
    struct side c;
    static char big[100000];
    int n = 0;
    side_init(&c, WEBSOCKET_CLIENT);
    while (n < 100 && websocket_send(c.w, false, STR_EMPTY, str_n(big, sizeof(big)))) {
        n++;
    }
    CHECK_INT(n, 3);
    struct buf b;
    CHECK(websocket_out_take(c.w, &b));
    CHECK(b.len > 300000);
    buf_deinit(&b);
    CHECK(websocket_send(c.w, false, STR_EMPTY, STR("again")));
    side_deinit(&c);
}

TEST(websocket_fragments_become_one_message_with_control_frames_between)
{
    /* Masked with a zero key. */
    static const char bytes[] = "\x02\x82\0\0\0\0ab" "\x89\x81\0\0\0\0p" "\x00\x81\0\0\0\0c" "\x80\x80\0\0\0\0";
    struct buf log;
    CHECK(feed(WEBSOCKET_SERVER, bytes, sizeof(bytes) - 1, 0, &log));
    CHECK_STR_C(buf_str(&log), "B(abc)");
    buf_deinit(&log);
}

TEST(websocket_violations_close_with_their_codes)
{
    static const struct {
        const char *bytes;
        size_t n;
        int code;
    } cases[] = {
        { "\x82\x01x", 3, 1002 },                                    /* not masked, from a client */
        { "\xc2\x81\0\0\0\0x", 7, 1002 },                            /* reserved bit */
        { "\x83\x81\0\0\0\0x", 7, 1002 },                            /* unknown opcode */
        { "\x80\x81\0\0\0\0x", 7, 1002 },                            /* continuation of nothing */
        { "\x09\x80\0\0\0\0", 6, 1005 },                             /* fragmented ping; wslay gives no code */
        { "\x81\x82\0\0\0\0\xc3\x28", 8, 1007 },                     /* broken UTF-8 */
        { "\x82\xff\0\0\0\0\x40\0\0\0\0\0\0\0x", 15, 1009 },         /* a frame of 1 GiB */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK(!feed(WEBSOCKET_SERVER, cases[i].bytes, cases[i].n, cases[i].code, NULL));
    }
    /* A server's frames must not be masked. */
    CHECK(!feed(WEBSOCKET_CLIENT, "\x82\x81\0\0\0\0x", 7, 0, NULL));
}

TEST(websocket_peer_that_pings_without_reading_is_cut_off)
{
    struct side s;
    struct err err;
    size_t used;
    bool ok = true;
    side_init(&s, WEBSOCKET_SERVER);
    for (int i = 0; i < 1000000 && ok; i++) {
        ok = websocket_recv(s.w, str_n("\x89\x84\0\0\0\0ping", 10), &used, &err);
    }
    CHECK(!ok);
    CHECK_INT(err.code, ERR_TOO_LARGE);
    side_deinit(&s);
}

TEST(websocket_handshake_values_are_those_of_the_rfc)
{
    char accept[WEBSOCKET_ACCEPT_SIZE], key[WEBSOCKET_KEY_SIZE];
    CHECK(websocket_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="), accept));
    CHECK_STR_C(str_c(accept), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(!websocket_accept(STR("dGhlIHNhbXBsZSBub25j"), accept));
    CHECK(!websocket_accept(STR_NULL, accept));
    websocket_make_key(key);
    CHECK_INT(strlen(key), 24);
    CHECK(websocket_accept(str_c(key), accept));
    static const struct str ours[] = { STR_INIT("v5.channel.k8s.io"), STR_INIT("v4.channel.k8s.io") };
    CHECK_STR_C(websocket_choose_protocol(STR("x, v4.channel.k8s.io,v5.channel.k8s.io"), ours, 2), "v4.channel.k8s.io");
    CHECK(!websocket_choose_protocol(STR("x,y"), ours, 2).ptr);
    CHECK(!websocket_choose_protocol(STR_NULL, ours, 2).ptr);
}
