#include "net/spdy.h"

#include "base/rand.h"
#include "base/test.h"
#include "net/stream-limits.h"

/* Two sessions joined by byte strings; every side logs what happens. */
struct side {
    struct spdy *s;
    struct buf log, data;
    bool refuse, echo;
    size_t pause_after;
};

static bool on_stream(void *user, uint32_t id, const struct spdy_header *h, size_t n_h, bool fin)
{
    struct side *side = user;
    struct str type = spdy_header_get(h, n_h, "streamtype");
    buf_printf(&side->log, "stream %u %.*s%s;", id, STR_ARG(type), fin ? " fin" : "");
    if (!side->refuse) {
        spdy_reply(side->s, id, NULL, 0, false);
    }
    return !side->refuse;
}
static void on_reply(void *user, uint32_t id, const struct spdy_header *h UNUSED, size_t n_h UNUSED)
{
    buf_printf(&((struct side *)user)->log, "reply %u;", id);
}
static void on_data(void *user, uint32_t id, struct str data)
{
    struct side *side = user;
    buf_append(&side->data, data);
    spdy_consumed(side->s, id, data.len);
    if (side->echo) {
        CHECK_INT(spdy_write(side->s, id, data), data.len);
    }
    if (side->pause_after && side->data.len >= side->pause_after) {
        spdy_pause(side->s);
    }
}
static void on_fin(void *user, uint32_t id)
{
    buf_printf(&((struct side *)user)->log, "fin %u;", id);
}
static void on_reset(void *user, uint32_t id, uint32_t status)
{
    buf_printf(&((struct side *)user)->log, "reset %u %u;", id, status);
}
static void on_pong(void *user, uint32_t id)
{
    buf_printf(&((struct side *)user)->log, "pong %u;", id);
}
static void on_goaway(void *user, uint32_t last, uint32_t status)
{
    buf_printf(&((struct side *)user)->log, "goaway %u %u;", last, status);
}
static void on_writable(void *user, uint32_t id)
{
    buf_printf(&((struct side *)user)->log, "writable %u;", id);
}

static const struct spdy_events events = {
    .on_stream = on_stream, .on_reply = on_reply,   .on_data = on_data,     .on_fin = on_fin,
    .on_reset = on_reset,   .on_goaway = on_goaway, .on_writable = on_writable, .on_pong = on_pong,
};

static void side_init(struct side *side, enum spdy_role role, enum spdy_flow flow)
{
    *side = (struct side){ 0 };
    side->s = spdy_new(&(struct spdy_config){ .role = role, .flow = flow }, &events, side);
    buf_init(&side->log, BUF_NO_MAX);
    buf_init(&side->data, BUF_NO_MAX);
}
static void side_deinit(struct side *side)
{
    spdy_free(side->s);
    buf_deinit(&side->log);
    buf_deinit(&side->data);
}

/* Moves everything from one to the other in pieces of 'split' bytes (0: random). */
static bool move(struct side *from, struct side *to, size_t split, struct err *err)
{
    bool moved = false;
    while (spdy_out(from->s).len && !spdy_paused(to->s)) {
        struct str out = spdy_out(from->s);
        size_t used, n = split ? split : 1 + rand_below(700);
        bool ok = spdy_recv(to->s, str_sub(out, 0, n), &used, err);
        spdy_out_consume(from->s, used);
        if (!ok) {
            return false;
        }
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

static uint32_t open_stream(struct side *side, const char *type, bool fin)
{
    struct err err;
    struct spdy_header h[] = { { STR("streamType"), str_c(type) }, { STR("port"), STR("8080") } };
    uint32_t id = 0;
    CHECK_OK(spdy_open(side->s, h, 2, fin, &id, &err), &err);
    return id;
}

TEST(spdy_streams_open_carry_data_and_end_whatever_the_splits)
{
    for (size_t split = 0; split < 12; split++) {
        struct side c, s;
        side_init(&c, SPDY_CLIENT, SPDY_FLOW_NONE);
        side_init(&s, SPDY_SERVER, SPDY_FLOW_NONE);
        s.echo = true;
        uint32_t err_id = open_stream(&c, "error", true), in_id = open_stream(&c, "stdin", false);
        CHECK_INT(err_id, 1);
        CHECK_INT(in_id, 3);
        CHECK_INT(spdy_write(c.s, in_id, STR("hello ")), 6);
        CHECK_INT(spdy_write(c.s, in_id, STR("world")), 5);
        spdy_fin(c.s, in_id);
        pump(&c, &s, split);
        CHECK_STR_C(buf_str(&s.log), "stream 1 error fin;stream 3 stdin;fin 3;");
        CHECK_STR_C(buf_str(&s.data), "hello world");
        CHECK_STR_C(buf_str(&c.data), "hello world");
        spdy_fin(s.s, 1);
        spdy_fin(s.s, 3);
        pump(&c, &s, split);
        CHECK_STR_C(buf_str(&c.log), "reply 1;reply 3;fin 1;fin 3;");
        CHECK_INT(spdy_n_streams(c.s), 0);
        CHECK_INT(spdy_n_streams(s.s), 0);
        side_deinit(&c);
        side_deinit(&s);
    }
}

TEST(spdy_refused_streams_and_resets_reach_the_other_side)
{
    struct side c, s;
    side_init(&c, SPDY_CLIENT, SPDY_FLOW_NONE);
    side_init(&s, SPDY_SERVER, SPDY_FLOW_NONE);
    s.refuse = true;
    open_stream(&c, "bad", false);
    pump(&c, &s, 0);
    CHECK_STR_C(buf_str(&c.log), "reset 1 3;");
    s.refuse = false;
    open_stream(&c, "good", false);
    spdy_reset(c.s, 3, SPDY_CANCEL);
    pump(&c, &s, 0);
    CHECK_STR_C(buf_str(&s.log), "stream 1 bad;stream 3 good;reset 3 5;");
    CHECK_INT(spdy_n_streams(s.s), 0);
    side_deinit(&c);
    side_deinit(&s);
}

TEST(spdy_pings_are_answered_and_goaway_ends_new_streams)
{
    struct side c, s;
    struct err err;
    uint32_t id;
    side_init(&c, SPDY_CLIENT, SPDY_FLOW_NONE);
    side_init(&s, SPDY_SERVER, SPDY_FLOW_NONE);
    spdy_ping(c.s, &id);
    spdy_ping(s.s, &id);
    spdy_goaway(s.s, 0);
    pump(&c, &s, 0);
    CHECK_STR_C(buf_str(&c.log), "goaway 0 0;pong 1;");
    CHECK_STR_C(buf_str(&s.log), "pong 2;");
    CHECK(!spdy_open(c.s, NULL, 0, false, &id, &err));
    CHECK_INT(err.code, ERR_UNAVAILABLE);
    side_deinit(&c);
    side_deinit(&s);
}

TEST(spdy_pause_stops_receiving_in_the_middle_of_data)
{
    struct side c, s;
    struct err err;
    size_t used;
    side_init(&c, SPDY_CLIENT, SPDY_FLOW_NONE);
    side_init(&s, SPDY_SERVER, SPDY_FLOW_NONE);
    uint32_t id = open_stream(&c, "stdin", false);
    char big[10000];
    memset(big, 'x', sizeof(big));
    CHECK_INT(spdy_write(c.s, id, str_n(big, sizeof(big))), sizeof(big));
    s.pause_after = 1000;
    struct str out = spdy_out(c.s);
    CHECK_OK(spdy_recv(s.s, str_sub(out, 0, out.len - 8000), &used, &err), &err);
    CHECK_INT(s.data.len, 2000);
    spdy_out_consume(c.s, used);
    out = spdy_out(c.s);
    CHECK_OK(spdy_recv(s.s, out, &used, &err), &err);
    CHECK_INT(used, 0);
    spdy_resume(s.s);
    CHECK_OK(spdy_recv(s.s, out, &used, &err), &err);
    CHECK_INT(used, 8000);
    CHECK_INT(s.data.len, 10000);
    side_deinit(&c);
    side_deinit(&s);
}

TEST(spdy_without_windows_takes_data_up_to_its_output_bound)
{
    struct side c;
    side_init(&c, SPDY_CLIENT, SPDY_FLOW_NONE);
    uint32_t id = open_stream(&c, "stdin", false);
    static char big[SPDY_MAX_OUT_DATA * 2];
    size_t n = spdy_write(c.s, id, str_n(big, sizeof(big)));
    CHECK(n > SPDY_MAX_OUT_DATA / 2 && n < SPDY_MAX_OUT_DATA);
    CHECK_INT(spdy_write(c.s, id, STR("x")), 0);
    spdy_fin(c.s, id); /* control always has room */
    side_deinit(&c);
}

TEST(spdy_windows_bound_what_is_sent_and_open_again_when_consumed)
{
    struct side c, s;
    side_init(&c, SPDY_CLIENT, SPDY_FLOW_WINDOWS);
    side_init(&s, SPDY_SERVER, SPDY_FLOW_WINDOWS);
    uint32_t id = open_stream(&c, "stdin", false);
    static char big[200000];
    memset(big, 'y', sizeof(big));
    size_t sent = spdy_write(c.s, id, str_n(big, sizeof(big)));
    CHECK_INT(sent, 65536);
    while (sent < sizeof(big)) {
        pump(&c, &s, 0);
        size_t n = spdy_write(c.s, id, str_n(big + sent, sizeof(big) - sent));
        CHECK(n > 0);
        sent += n;
    }
    pump(&c, &s, 0);
    CHECK_INT(s.data.len, sizeof(big));
    CHECK(str_find(buf_str(&c.log), STR("writable 1;")) >= 0);
    side_deinit(&c);
    side_deinit(&s);
}

TEST(spdy_peer_that_passes_its_window_is_reset)
{
    struct side c, s;
    side_init(&c, SPDY_CLIENT, SPDY_FLOW_NONE); /* sends without looking at windows */
    side_init(&s, SPDY_SERVER, SPDY_FLOW_WINDOWS);
    uint32_t id = open_stream(&c, "stdin", false);
    static char big[70000];
    CHECK_INT(spdy_write(c.s, id, str_n(big, sizeof(big))), sizeof(big));
    s.pause_after = 1;
    struct err err;
    size_t used;
    /* One window less than a byte goes through in a single piece only when it was consumed; here nothing is. */
    struct spdy_events none = { .on_stream = on_stream, .on_reset = on_reset };
    spdy_free(s.s);
    s.s = spdy_new(&(struct spdy_config){ .role = SPDY_SERVER, .flow = SPDY_FLOW_WINDOWS }, &none, &s);
    CHECK(!spdy_recv(s.s, spdy_out(c.s), &used, &err));
    CHECK_INT(err.code, ERR_BAD_REQUEST);
    side_deinit(&c);
    side_deinit(&s);
}

TEST(spdy_broken_input_ends_the_session_with_goaway)
{
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        { "\x80\x02\x00\x01\x00\x00\x00\x00", 8 },                                     /* version 2 */
        { "\x80\x03\x00\x01\x00\xff\xff\xff", 8 },                                     /* huge control frame */
        { "\x80\x03\x00\x01\x00\x00\x00\x04\x00\x00\x00\x01", 12 },                    /* short SYN_STREAM */
        { "\x80\x03\x00\x01\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00zz", 20 }, /* not zlib */
        { "\x00\x00\x00\x09\x00\x00\x00\x01x", 9 },                                    /* data of no stream */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct side s;
        struct err err = { 0 };
        size_t used;
        side_init(&s, SPDY_SERVER, SPDY_FLOW_NONE);
        CHECK(!spdy_recv(s.s, str_n(cases[i].bytes, cases[i].n), &used, &err));
        CHECK(err.code != ERR_NONE);
        CHECK(str_starts(spdy_out(s.s), str_n("\x80\x03\x00\x07", 4)));
        CHECK(!spdy_recv(s.s, STR("x"), &used, &err));
        side_deinit(&s);
    }
}

TEST(spdy_header_blocks_past_the_limit_are_refused)
{
    struct side c, s;
    struct err err = { 0 };
    size_t used;
    uint32_t id;
    side_init(&c, SPDY_CLIENT, SPDY_FLOW_NONE);
    side_init(&s, SPDY_SERVER, SPDY_FLOW_NONE);
    struct spdy_header h[SPDY_MAX_HEADERS + 1];
    char names[SPDY_MAX_HEADERS + 1][8];
    for (size_t i = 0; i < ARRAY_SIZE(h); i++) {
        snprintf(names[i], sizeof(names[i]), "h%zu", i);
        h[i] = (struct spdy_header){ str_c(names[i]), STR("v") };
    }
    CHECK(spdy_open(c.s, h, ARRAY_SIZE(h), false, &id, &err));
    CHECK(!spdy_recv(s.s, spdy_out(c.s), &used, &err));
    CHECK_INT(err.code, ERR_TOO_LARGE);
    side_deinit(&c);
    side_deinit(&s);
}

TEST(spdy_peer_that_pings_without_reading_is_cut_off)
{
    struct side s;
    struct err err = { 0 };
    size_t used;
    bool ok = true;
    side_init(&s, SPDY_SERVER, SPDY_FLOW_NONE);
    for (int i = 0; i < 200000 && ok; i++) {
        ok = spdy_recv(s.s, str_n("\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01", 12), &used, &err);
    }
    CHECK(!ok);
    CHECK_INT(err.code, ERR_TOO_LARGE);
    side_deinit(&s);
}
