#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"
#include "net/limits.h"
#include "net/test-server.h"

static struct str tail(struct str answer)
{
    ptrdiff_t at = str_find(answer, STR("\r\n\r\n"));
    return at < 0 ? STR_EMPTY : str_sub(answer, (size_t)at + 4, SIZE_MAX);
}

static bool has(struct str text, const char *needle)
{
    return str_find(text, str_c(needle)) >= 0;
}

/* Sends 'request' on a new connection and checks that the answer begins with 'want_status'. */
static void check_status(const char *request, size_t len, const char *want_status)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str got = test_exchange(&t, fd, str_n(request, len ? len : strlen(request)), "\r\n\r\n", 500);
    if (!str_starts(got, str_c(want_status))) {
        printf("  request: %.60s\n", request);
    }
    CHECK_STR(str_sub(got, 0, strlen(want_status)), str_c(want_status));
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_answers_a_get_and_keeps_the_connection)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    for (int i = 0; i < 3; i++) {
        struct str got = test_exchange(&t, fd, STR("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "hello\n", 1000);
        CHECK(str_starts(got, STR("HTTP/1.1 200 OK\r\ndate: ")));
        CHECK(has(got, "content-length: 6\r\n"));
        CHECK(has(got, "Content-Type: text/plain\r\n"));
        CHECK_STR_C(tail(got), "hello\n");
    }
    CHECK_INT(t.requests, 3);
    CHECK_INT(http_server_connections(t.http), 1);
    (void)close(fd);
    test_turn(t.loop, NULL, 20);
    CHECK_INT(http_server_connections(t.http), 0);
    test_server_stop(&t);
}

TEST(h1_takes_a_request_byte_by_byte)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str request = STR("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5;a=b\r\npedia\r\n0\r\n"
                             "X-Check: sum\r\n\r\n");
    struct str got = STR_EMPTY;
    for (size_t i = 0; i < request.len; i++) {
        CHECK(send(fd, request.ptr + i, 1, MSG_NOSIGNAL) == 1);
        loop_turn(t.loop, 5);
    }
    got = test_exchange(&t, fd, STR_EMPTY, "0\r\n\r\n", 1000);
    CHECK(has(got, "transfer-encoding: chunked\r\n"));
    CHECK(has(got, "sum\r\n0\r\n\r\n"));
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_answers_pipelined_requests_in_order)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str got = test_exchange(&t, fd,
                                   STR("GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
                                       "GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"),
                                   "no such path\n", 1000);
    ptrdiff_t a = str_find(got, STR("later\n")), b = str_find(got, STR("hello\n"));
    CHECK(a > 0 && b > a);
    CHECK_INT(t.requests, 4);
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_refuses_what_two_parsers_could_read_differently)
{
    static const struct {
        const char *request, *status;
    } cases[] = {
        { "GET /hello HTTP/1.1\r\n\r\n", "HTTP/1.1 400" },
        { "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400" },
        { "GET /hello HTTP/1.1\nHost: x\n\n", "HTTP/1.1 400" },
        { "GET /hello HTTP/1.1\r\nHost: x\rY: z\r\n\r\n", "HTTP/1.1 400" },
        { "GET /hello HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "HTTP/1.1 400" },
        { "GET /hello HTTP/1.1\r\nHost : x\r\n\r\n", "HTTP/1.1 400" },
        { "GET /hello HTTP/1.1\r\nHost: x\r\nA\x01: b\r\n\r\n", "HTTP/1.1 400" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 400" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc", "HTTP/1.1 400" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", "HTTP/1.1 400" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "POST /collect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", "HTTP/1.1 400" },
        { "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501" },
        { "GET /hello HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505" },
        { "GET hello HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400" },
        { "GET http://other/hello HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200" },
        { "\r\nGET /hello HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nY: 1\r\n\r\n", "HTTP/1.1 200" },
        { "GET /hello HTTP/1.0\r\n\r\n", "HTTP/1.1 200" },
        { "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400" },
        { "GET /a/%2e%2e/b HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400" },
        { "\x16\x03\x01\x02", "HTTP/1.1 400" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_status(cases[i].request, 0, cases[i].status);
    }
    check_status("GET /hello HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 38, "HTTP/1.1 400");
}

#define CHUNKED "POST /collect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

TEST(h1_refuses_chunks_that_two_parsers_could_read_differently)
{
    static const struct {
        const char *body, *status;
    } cases[] = {
        { "4\r\nabcd\r\n0\r\n\r\n", "HTTP/1.1 200" },
        { "0004;a=b;c\r\nabcd\r\n000\r\nA: b\r\n\r\n", "HTTP/1.1 200" },
        { "4 ;a=\"b\"\r\nabcd\r\n0\r\n\r\n", "HTTP/1.1 200" },
        { "4\r\nabcdXX0\r\n\r\n", "HTTP/1.1 400" },
        { "4\r\nabcd\r\r0\r\n\r\n", "HTTP/1.1 400" },
        { "4\r\nabcd\n0\r\n\r\n", "HTTP/1.1 400" },
        { "4\rXabcd\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "4\nabcd\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "4;a\nabcd\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "\r\nabcd\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { ";a\r\nabcd\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "0x4\r\nabcd\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "-4\r\nabcd\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "10000000000000004\r\nabcd\r\n0\r\n\r\n", "HTTP/1.1 400" },
        { "4\r\nabcd\r\n0\r\nA: b\n\r\n", "HTTP/1.1 400" },
        { "4\r\nabcd\r\n0\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 400" },
        { "4\r\nabcd\r\n0\r\nA: b\rc\r\n\r\n", "HTTP/1.1 400" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char request[400];
        snprintf(request, sizeof(request), CHUNKED "%s", cases[i].body);
        check_status(request, 0, cases[i].status);
    }
}

TEST(h1_bounds_chunk_extensions)
{
    char request[40000];
    size_t n = (size_t)snprintf(request, sizeof(request), CHUNKED);
    while (n < sizeof(request) - 80) { /* many small ones count together */
        n += (size_t)snprintf(request + n, sizeof(request) - n, "1;abcdefghabcdefghabcdefghabcdefghabcdefghabcdefgh\r\nx\r\n");
    }
    check_status(request, n, "HTTP/1.1 400");
}

TEST(h1_bounds_headers_and_target)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_append_c(&b, "GET /hello HTTP/1.1\r\nHost: x\r\nA: ");
    for (int i = 0; i < 70000; i++) {
        buf_append_char(&b, 'a');
    }
    buf_append_c(&b, "\r\n\r\n");
    check_status(b.ptr, b.len, "HTTP/1.1 431");
    buf_clear(&b);
    buf_append_c(&b, "GET /hello HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 200; i++) {
        buf_printf(&b, "X%d: y\r\n", i);
    }
    buf_append_c(&b, "\r\n");
    check_status(b.ptr, b.len, "HTTP/1.1 431");
    buf_clear(&b);
    buf_append_c(&b, "GET /");
    for (int i = 0; i < 40000; i++) {
        buf_append_char(&b, 'a');
    }
    buf_append_c(&b, " HTTP/1.1\r\nHost: x\r\n\r\n");
    check_status(b.ptr, b.len, "HTTP/1.1 414");
    buf_deinit(&b);
}

TEST(h1_says_continue_only_when_the_handler_wants_the_body)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str got = test_exchange(
        &t, fd, STR("POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"), "\r\n\r\n", 1000);
    CHECK_STR_C(got, "HTTP/1.1 100 Continue\r\n\r\n");
    got = test_exchange(&t, fd, STR("body"), "body", 1000);
    CHECK_STR_C(tail(got), "body");
    got = test_exchange(&t, fd, STR("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"), NULL,
                        300);
    CHECK(str_starts(got, STR("HTTP/1.1 413")));
    CHECK(has(got, "connection: close"));
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_early_answer_to_a_short_body_keeps_the_connection_and_to_a_long_one_closes_it)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str got = test_exchange(&t, fd, STR("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234"), "large\n", 500);
    CHECK(str_starts(got, STR("HTTP/1.1 413")));
    got = test_exchange(&t, fd, STR("56789GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "hello\n", 500);
    CHECK_STR_C(tail(got), "hello\n");
    got = test_exchange(&t, fd, STR("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n01234"), NULL, 1000);
    CHECK(str_starts(got, STR("HTTP/1.1 413")));
    (void)close(fd);
    test_turn(t.loop, NULL, 20);
    CHECK_INT(http_server_connections(t.http), 0);
    test_server_stop(&t);
}

TEST(h1_collects_up_to_the_maximum)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct buf b;
    buf_init(&b, 10000);
    buf_append_c(&b, "POST /collect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 11; i++) {
        buf_printf(&b, "64\r\n%0100d\r\n", i);
    }
    buf_append_c(&b, "0\r\n\r\n");
    struct str got = test_exchange(&t, fd, buf_str(&b), "bytes", 500);
    CHECK(str_starts(got, STR("HTTP/1.1 413")));
    CHECK(has(got, "the request body is larger than 1000 bytes"));
    buf_deinit(&b);
    (void)close(fd);
    fd = test_connect(&t);
    got = test_exchange(&t, fd, STR("POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"), "bytes", 500);
    CHECK(str_starts(got, STR("HTTP/1.1 413")));
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_handler_hears_when_the_client_goes_away)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    static const char *const requests[] = {
        "GET /never HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        int fd = test_connect(&t);
        (void)test_exchange(&t, fd, str_c(requests[i]), NULL, 30);
        CHECK_INT(t.cancelled, i);
        (void)close(fd);
        test_turn(t.loop, NULL, 20);
        CHECK_INT(t.cancelled, i + 1);
    }
    CHECK_INT(http_server_connections(t.http), 0);
    test_server_stop(&t);
}

TEST(h1_slow_handler_holds_the_body_back_and_gets_all_of_it)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_append_c(&b, "POST /slow-body HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n");
    for (int i = 0; i < 500000; i++) {
        buf_append_char(&b, 'x');
    }
    struct str got = test_exchange(&t, fd, buf_str(&b), "500000\n", 5000);
    CHECK_STR_C(tail(got), "500000\n");
    buf_deinit(&b);
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_slow_reader_gets_all_and_the_server_queues_little)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str request = STR("GET /big?n=20000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    CHECK(send(fd, request.ptr, request.len, 0) == (ssize_t)request.len);
    test_turn(t.loop, NULL, 50);
    CHECK_INT(t.open, 1); /* far from done: nobody reads */
    static char chunk[65536];
    size_t total = 0;
    for (;;) {
        loop_turn(t.loop, 0);
        ssize_t r = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (r == 0) {
            break;
        }
        total += r > 0 ? (size_t)r : 0;
    }
    CHECK(total > 20000000 && total < 20000400);
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_upgrade_hands_out_the_stream_with_what_came_behind_the_request)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str got = test_exchange(
        &t, fd, STR("POST /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\nContent-Length: 0\r\n\r\nabc"),
        "ABC", 500);
    CHECK(str_starts(got, STR("HTTP/1.1 101 Switching Protocols\r\n")));
    CHECK(has(got, "Upgrade: shout\r\n"));
    CHECK(has(got, "connection: Upgrade\r\n"));
    CHECK_STR_C(tail(got), "ABC");
    got = test_exchange(&t, fd, STR("more"), "MORE", 500);
    CHECK_STR_C(got, "MORE");
    CHECK_INT(http_server_connections(t.http), 0);
    CHECK_INT(net_registry_count(t.loop), 1);
    (void)close(fd);
    test_turn(t.loop, NULL, 20);
    CHECK_INT(net_registry_count(t.loop), 0);
    test_server_stop(&t);
}

TEST(h1_refused_upgrade_closes_so_that_no_foreign_byte_is_taken_for_a_request)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str got = test_exchange(&t, fd,
                                   STR("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"
                                       "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"),
                                   NULL, 200);
    CHECK(has(got, "connection: close\r\n"));
    CHECK_INT(t.requests, 1);
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_head_and_204_have_no_body_and_1_0_no_chunks)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ 0 });
    int fd = test_connect(&t);
    struct str got = test_exchange(&t, fd, STR("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "\r\n\r\n", 500);
    CHECK(has(got, "content-length: 6\r\n"));
    CHECK_STR_C(tail(got), "");
    got = test_exchange(&t, fd, STR("GET /empty HTTP/1.1\r\nHost: x\r\n\r\n"), "\r\n\r\n", 500);
    CHECK(str_starts(got, STR("HTTP/1.1 204 No Content\r\n")));
    CHECK(!has(got, "content-length"));
    got = test_exchange(&t, fd, STR("GET /trailers HTTP/1.1\r\nHost: x\r\n\r\n"), "42\r\n\r\n", 500);
    CHECK_STR_C(tail(got), "5\r\nbody\n\r\n0\r\nX-Sum: 42\r\n\r\n");
    got = test_exchange(&t, fd, STR("GET /big?n=10&chunked HTTP/1.0\r\n\r\n"), NULL, 200);
    CHECK_INT(tail(got).len, 10);
    CHECK(!has(got, "chunked"));
    (void)close(fd);
    test_server_stop(&t);
}

TEST(h1_slowloris_and_idle_connections_are_closed)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .http = { .header_ms = 60, .idle_ms = 60 } });
    int fd = test_connect(&t), idle = test_connect(&t);
    (void)test_exchange(&t, fd, STR("GET /hel"), NULL, 20);
    (void)test_exchange(&t, idle, STR("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "hello", 200);
    CHECK_INT(http_server_connections(t.http), 2);
    test_turn(t.loop, NULL, 120);
    CHECK_INT(http_server_connections(t.http), 0);
    (void)close(fd);
    (void)close(idle);
    test_server_stop(&t);
}

static void set_flag(void *arg)
{
    unsigned *flag = arg;
    *flag = 1;
}

TEST(h1_drain_closes_idle_connections_and_waits_for_requests)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    int idle = test_connect(&t), busy = test_connect(&t);
    (void)test_exchange(&t, idle, STR("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "hello", 200);
    CHECK(send(busy, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 32, 0) == 32);
    test_turn(t.loop, NULL, 5);
    unsigned done = 0;
    http_server_drain(t.http, 2000, set_flag, &done);
    CHECK_INT(test_exchange(&t, idle, STR_EMPTY, NULL, 100).len, 0);
    (void)close(idle);
    struct str got = test_exchange(&t, busy, STR_EMPTY, NULL, 500);
    CHECK(has(got, "connection: close\r\n"));
    CHECK_STR_C(tail(got), "later\n");
    (void)close(busy);
    test_turn(t.loop, &done, 1000);
    CHECK_INT(done, 1);
    test_server_stop(&t);
}
