#include "base/test.h"
#include "tunnel/front-head.h"
#include "tunnel/limits.h"

TEST(connect_as_kube_apiserver_sends_it)
{
    struct front_head h;
    struct str s = STR("CONNECT 10.0.0.7:10250 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n\x16\x03\x01");
    CHECK(front_head_parse(s, &h) == FRONT_HEAD_DONE);
    CHECK(h.connect);
    CHECK_STR_C(h.host, "10.0.0.7");
    CHECK_INT(h.port, 10250);
    CHECK_INT(h.size, s.len - 3);
    for (size_t i = 0; i < h.size; i++) {
        struct front_head part;
        CHECK(front_head_parse(str_n(s.ptr, i), &part) == FRONT_HEAD_MORE);
    }
}

TEST(connect_to_ipv6_and_to_names)
{
    struct front_head h;
    CHECK(front_head_parse(STR("CONNECT [fd00::7]:443 HTTP/1.1\r\n\r\n"), &h) == FRONT_HEAD_DONE);
    CHECK_STR_C(h.host, "fd00::7");
    CHECK(front_head_parse(STR("CONNECT node-1.example:443 HTTP/1.1\r\n\r\n"), &h) == FRONT_HEAD_DONE);
    CHECK_STR_C(h.host, "node-1.example");
    CHECK(front_head_parse(STR("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"), &h) == FRONT_HEAD_DONE);
    CHECK(!h.connect);
    CHECK_STR_C(h.path, "/healthz");
}

static int refused(struct str s)
{
    struct front_head h;
    return front_head_parse(s, &h) == FRONT_HEAD_REFUSED ? h.status : 0;
}

TEST(what_could_be_read_in_two_ways_is_refused)
{
    char big[TUNNEL_MAX_HEAD + 10];
    CHECK_INT(refused(STR("CONNECT 10.0.0.7 HTTP/1.1\r\n\r\n")), 400);
    CHECK_INT(refused(STR("CONNECT 10.0.0.7:0 HTTP/1.1\r\n\r\n")), 400);
    CHECK_INT(refused(STR("CONNECT 10.0.0.7:99999 HTTP/1.1\r\n\r\n")), 400);
    CHECK_INT(refused(STR("CONNECT a@b:80 HTTP/1.1\r\n\r\n")), 400);
    CHECK_INT(refused(STR("CONNECT [fe80::1%eth0]:80 HTTP/1.1\r\n\r\n")), 400);
    CHECK_INT(refused(STR("CONNECT [abc]:80 HTTP/1.1\r\n\r\n")), 400);
    CHECK_INT(refused(STR("CONNECT a:80 HTTP/1.1\nx: y\n\n")), 400);
    CHECK_INT(refused(STR("CONNECT a:80\rb HTTP/1.1\r\n\r\n")), 400);
    CHECK_INT(refused(STR("CONNECT a:80 HTTP/2\r\n\r\n")), 505);
    CHECK_INT(refused(STR("CONNECT a:80 HTTP/1.1\r\nContent-Length: 4\r\n\r\n")), 400);
    CHECK_INT(refused(STR("CONNECT a:80 HTTP/1.1\r\n folded\r\n\r\n")), 400);
    CHECK_INT(refused(STR("POST / HTTP/1.1\r\n\r\n")), 405);
    CHECK_INT(refused(STR("\r\n\r\n")), 400);
    memset(big, 'a', sizeof(big));
    CHECK_INT(refused(str_n(big, sizeof(big))), 431);
}
