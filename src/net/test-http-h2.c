/* HTTP/2 peers that misbehave, frame by frame. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"
#include "net/limits.h"
#include "net/test-server.h"

enum { DATA = 0, HEADERS = 1, PRIORITY = 2, RST = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8, CONTINUATION = 9 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { ENHANCE_YOUR_CALM = 11, REFUSED_STREAM = 7 };

static void frame(struct buf *b, int type, int flags, uint32_t id, struct str payload)
{
    const char head[9] = { (char)(payload.len >> 16), (char)(payload.len >> 8), (char)payload.len, (char)type, (char)flags,
                           (char)(id >> 24), (char)(id >> 16), (char)(id >> 8), (char)id };
    buf_append_bytes(b, head, sizeof(head));
    buf_append(b, payload);
}

/* A complete request; 'method' is HPACK's static index: 0x82 GET, 0x83 POST. */
static void request(struct buf *b, uint32_t id, char method, const char *path, bool end)
{
    char block[128] = { method, (char)0x86, 0x01, 0x01, 'x', 0x04, (char)strlen(path) };
    memcpy(block + 7, path, strlen(path));
    frame(b, HEADERS, END_HEADERS | (end ? END_STREAM : 0), id, str_n(block, 7 + strlen(path)));
}

struct peer {
    struct test_server t;
    int fd;
    struct buf in; /* what came, from its first unread frame on */
    bool closed;
};

static void peer_send(struct peer *p, struct buf *b)
{
    size_t at = 0;
    for (int i = 0; at < b->len && i < 2000; i++) {
        ssize_t r = send(p->fd, b->ptr + at, b->len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r > 0) {
            at += (size_t)r;
        } else if (errno != EAGAIN) {
            break;
        }
        loop_turn(p->t.loop, 1);
    }
    buf_clear(b);
}

static void peer_open(struct peer *p, const struct http_server_config *http)
{
    struct buf b;
    *p = (struct peer){ 0 };
    test_server_start(&p->t, &(struct test_server_config){ .http = http ? *http : (struct http_server_config){ 0 } });
    p->fd = test_connect(&p->t);
    buf_init(&p->in, BUF_NO_MAX);
    buf_init(&b, 1000);
    buf_append_c(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frame(&b, SETTINGS, 0, 0, STR_EMPTY);
    frame(&b, SETTINGS, ACK, 0, STR_EMPTY);
    peer_send(p, &b);
    buf_deinit(&b);
}

static void peer_close(struct peer *p)
{
    buf_deinit(&p->in);
    (void)close(p->fd);
    test_turn(p->t.loop, NULL, 10);
    CHECK_INT(http_server_connections(p->t.http), 0);
    test_server_stop(&p->t);
}

struct got {
    int type, flags;
    uint32_t id, word; /* 'word': the payload's last four bytes (error codes) */
    size_t len;
};

/* The next frame within 'ms'; false: none. */
static bool peer_next(struct peer *p, struct got *g, int ms)
{
    for (int i = 0; i <= ms; i++) {
        const uint8_t *d = (const uint8_t *)p->in.ptr;
        size_t len = p->in.len >= 9 ? ((size_t)d[0] << 16) + ((size_t)d[1] << 8) + d[2] : SIZE_MAX - 9;
        if (p->in.len >= 9 + len) {
            *g = (struct got){ .type = d[3], .flags = d[4], .id = (uint32_t)((d[5] << 24) + (d[6] << 16) + (d[7] << 8) + d[8]),
                               .len = len };
            for (size_t k = g->type == GOAWAY ? 4 : 0; k < 8 && k < len; k++) {
                g->word = (g->word << 8) + d[9 + k];
            }
            buf_consume(&p->in, 9 + len);
            return true;
        }
        char *room = buf_reserve(&p->in, 65536);
        ssize_t r = recv(p->fd, room, 65536, MSG_DONTWAIT);
        if (r > 0) {
            buf_commit(&p->in, (size_t)r);
            i--;
        } else if (r == 0) {
            p->closed = true;
            return false;
        }
        loop_turn(p->t.loop, 1);
    }
    return false;
}

/* Waits for a frame of the type; false when the connection ended before or 'ms' of silence passed. */
static bool peer_wait(struct peer *p, int type, struct got *g, int ms)
{
    while (peer_next(p, g, ms)) {
        if (g->type == type) {
            return true;
        }
    }
    return false;
}

TEST(h2_answers_a_request_frame_by_frame)
{
    struct peer p;
    struct got g;
    struct buf b;
    buf_init(&b, 1000);
    peer_open(&p, NULL);
    CHECK(peer_next(&p, &g, 100) && g.type == SETTINGS && g.flags == 0);
    request(&b, 1, (char)0x82, "/hello", true);
    for (size_t i = 0; i < b.len; i++) {
        CHECK(send(p.fd, b.ptr + i, 1, 0) == 1);
        loop_turn(p.t.loop, 1);
    }
    CHECK(peer_wait(&p, HEADERS, &g, 100) && g.id == 1);
    CHECK(peer_wait(&p, DATA, &g, 100) && g.id == 1 && g.len == 6 && (g.flags & END_STREAM));
    buf_deinit(&b);
    peer_close(&p);
}

TEST(h2_rapid_reset_ends_the_connection)
{
    struct peer p;
    struct got g;
    struct buf b;
    buf_init(&b, 1 << 20);
    peer_open(&p, NULL);
    for (uint32_t i = 0; i < 3000; i++) {
        request(&b, 1 + 2 * i, (char)0x82, "/never", true);
        frame(&b, RST, 0, 1 + 2 * i, str_n("\0\0\0\x08", 4));
    }
    peer_send(&p, &b);
    CHECK(peer_wait(&p, GOAWAY, &g, 100));
    CHECK_INT(g.word, ENHANCE_YOUR_CALM);
    CHECK(p.t.requests <= HTTP2_RESET_BURST + 2);
    CHECK_INT(p.t.cancelled, p.t.requests);
    while (peer_next(&p, &g, 200)) {
    }
    CHECK(p.closed);
    buf_deinit(&b);
    peer_close(&p);
}

TEST(h2_header_block_without_end_ends_the_connection)
{
    struct peer p;
    struct got g;
    struct buf b;
    char filler[1000] = { 0x00, 0x01, 'a', 0x7f, (char)0xe2, 0x06 }; /* a literal whose value is 993 bytes */
    buf_init(&b, 1 << 22);
    peer_open(&p, NULL);
    frame(&b, HEADERS, 0, 1, str_n("\x82\x86\x84\x01\x01x", 6));
    for (int i = 0; i < 1000; i++) {
        frame(&b, CONTINUATION, 0, 1, str_n(filler, 5 + 127 + 0x362 - 127));
    }
    peer_send(&p, &b);
    CHECK(peer_wait(&p, GOAWAY, &g, 100));
    CHECK_INT(p.t.requests, 0);
    buf_deinit(&b);
    peer_close(&p);
}

TEST(h2_too_many_header_bytes_are_answered_with_431)
{
    struct peer p;
    struct got g;
    struct buf b;
    buf_init(&b, 1 << 20);
    peer_open(&p, &(struct http_server_config){ .max_header_bytes = 2000 });
    char block[3000] = { (char)0x82, (char)0x86, (char)0x84, 0x01, 0x01, 'x' };
    size_t n = 6;
    for (int i = 0; i < 80; i++) {
        block[n++] = 0;
        block[n++] = 1;
        block[n++] = 'a';
        block[n++] = 10;
        memset(block + n, 'x', 10);
        n += 10;
    }
    frame(&b, HEADERS, END_HEADERS | END_STREAM, 1, str_n(block, n));
    request(&b, 3, (char)0x82, "/hello", true);
    peer_send(&p, &b);
    CHECK(peer_wait(&p, HEADERS, &g, 100));
    CHECK(g.id == 1 && (g.flags & END_STREAM));
    CHECK(peer_wait(&p, DATA, &g, 100) && g.id == 3 && g.len == 6);
    CHECK_INT(p.t.requests, 1);
    buf_deinit(&b);
    peer_close(&p);
}

TEST(h2_floods_of_control_frames_end_the_connection)
{
    static const struct {
        int type;
        size_t len;
        uint32_t id;
    } floods[] = { { PING, 8, 0 }, { SETTINGS, 0, 0 }, { PRIORITY, 5, 9 } };
    for (size_t k = 0; k < ARRAY_SIZE(floods); k++) {
        struct peer p;
        struct got g;
        struct buf b;
        buf_init(&b, 1 << 20);
        peer_open(&p, NULL);
        for (int i = 0; i < 4 * HTTP2_CONTROL_BURST; i++) {
            frame(&b, floods[k].type, 0, floods[k].id, str_n("\0\0\0\0\0\0\0\0", floods[k].len));
        }
        peer_send(&p, &b);
        bool goaway = peer_wait(&p, GOAWAY, &g, 100);
        CHECK(goaway || p.closed);
        buf_deinit(&b);
        peer_close(&p);
    }
}

TEST(h2_streams_past_the_limit_are_refused)
{
    struct peer p;
    struct got g;
    struct buf b;
    buf_init(&b, 1 << 20);
    peer_open(&p, &(struct http_server_config){ .max_streams = 5 });
    for (uint32_t i = 0; i < 7; i++) {
        request(&b, 1 + 2 * i, (char)0x82, "/hold", true);
    }
    peer_send(&p, &b);
    unsigned ended = 0;
    while (peer_next(&p, &g, 50)) {
        ended += g.type == RST || g.type == GOAWAY;
    }
    CHECK_INT(p.t.n_held, 5);
    CHECK(ended > 0);
    buf_deinit(&b);
    peer_close(&p);
}

TEST(h2_body_that_nobody_reads_stops_at_the_window)
{
    struct peer p;
    struct got g;
    struct buf b;
    static const char block[16384];
    buf_init(&b, 1 << 22);
    peer_open(&p, NULL);
    request(&b, 1, (char)0x83, "/never", false);
    for (int i = 0; i < 4; i++) {
        frame(&b, DATA, 0, 1, str_n(block, 16000));
    }
    peer_send(&p, &b);
    CHECK(!peer_wait(&p, WINDOW_UPDATE, &g, 50));
    /* More than the windows allow is a flow-control error. */
    for (int i = 0; i < 20; i++) {
        frame(&b, DATA, 0, 1, str_n(block, 16000));
    }
    peer_send(&p, &b);
    CHECK(peer_wait(&p, GOAWAY, &g, 100));
    buf_deinit(&b);
    peer_close(&p);
    CHECK_INT(p.t.cancelled, 1);
}

TEST(h2_peer_that_does_not_read_makes_the_server_hold_little)
{
    struct peer p;
    struct got g;
    struct buf b;
    buf_init(&b, 1 << 20);
    peer_open(&p, NULL);
    /* A window so large that only the socket stops the server. */
    frame(&b, SETTINGS, 0, 0, str_n("\0\x04\x7f\xff\xff\xff", 6));
    frame(&b, WINDOW_UPDATE, 0, 0, str_n("\x7f\xff\0\0", 4));
    for (uint32_t i = 0; i < 10; i++) {
        request(&b, 1 + 2 * i, (char)0x82, "/big?n=9000000", true);
    }
    peer_send(&p, &b);
    test_turn(p.t.loop, NULL, 100);
    CHECK_INT(p.t.open, 10);
    size_t total = 0;
    while (total < 90000000 && peer_next(&p, &g, 1000)) {
        total += g.type == DATA ? g.len : 0;
    }
    CHECK_INT(total, 90000000);
    buf_deinit(&b);
    peer_close(&p);
}

TEST(h2_many_watches_share_one_connection_fairly)
{
    struct peer p;
    struct got g;
    struct buf b;
    buf_init(&b, 1 << 20);
    peer_open(&p, NULL);
    for (uint32_t i = 0; i < 50; i++) {
        request(&b, 1 + 2 * i, (char)0x82, "/hold", true);
    }
    peer_send(&p, &b);
    test_turn(p.t.loop, NULL, 20);
    CHECK_INT(p.t.n_held, 50);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 50; i++) {
            struct net_chunk c = net_chunk_static(STR("event\n"));
            http_stream_write(p.t.held[i], &c, 1);
        }
        unsigned seen = 0;
        while (seen < 50 && peer_next(&p, &g, 100)) {
            seen += g.type == DATA && g.len == 6;
        }
        CHECK_INT(seen, 50);
    }
    buf_deinit(&b);
    peer_close(&p);
    CHECK_INT(p.t.cancelled, 50);
}

TEST(h2_slow_start_without_a_request_is_closed)
{
    struct peer p;
    struct got g;
    peer_open(&p, &(struct http_server_config){ .header_ms = 50, .idle_ms = 60 });
    while (peer_next(&p, &g, 300)) {
    }
    CHECK(p.closed);
    peer_close(&p);
}
