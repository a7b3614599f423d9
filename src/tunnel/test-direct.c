/* Nodes that are reached without a tunnel: what is refused. What works is in tests/scenarios/join.sh: it takes
 * addresses that are no loopback. */
#include <stdio.h>

#include "base/test.h"
#include "tunnel/direct-link.h"

struct seen {
    bool open, closed;
    char refused[512];
};

static void on_open(void *arg)
{
    ((struct seen *)arg)->open = true;
}
static void on_refused(const char *reason, void *arg)
{
    struct seen *s = arg;
    snprintf(s->refused, sizeof(s->refused), "%s", reason);
}
static void on_data(struct str data UNUSED, void *arg UNUSED)
{
}
static void on_nothing(void *arg UNUSED)
{
}
static void on_close(const char *reason UNUSED, void *arg)
{
    ((struct seen *)arg)->closed = true;
}
static const struct tunnel_far_events events = { .on_open = on_open,
                                                 .on_refused = on_refused,
                                                 .on_data = on_data,
                                                 .on_writable = on_nothing,
                                                 .on_eof = on_nothing,
                                                 .on_close = on_close };

TEST(direct_links_reach_no_address_of_the_tunnels_own_host)
{
    static const char *const addresses[] = { "127.0.0.1", "::1",       "169.254.169.254", "0.0.0.0",
                                             "fe80::1",   "224.0.0.1", "::ffff:127.0.0.1" };
    struct err err;
    struct loop *l = loop_new(&err);
    struct tunnel_link *link = direct_link_new(l, STR("n-1"));
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        struct seen s = { 0 };
        CHECK(link->ops->open(link, str_c(addresses[i]), 10250, &events, &s, &err) != NULL);
        for (int turns = 0; turns < 200 && !s.refused[0] && !s.open; turns++) {
            loop_turn(l, 10);
        }
        CHECK(!s.open);
        CHECK(strstr(s.refused, "node n-1 is connected to directly: ") == s.refused);
    }
    CHECK_INT(link->facts.streams + direct_link_others(link)->streams, 0);
    tunnel_link_free(link);
    loop_free(l);
}

TEST(direct_links_that_go_end_their_streams)
{
    struct err err;
    struct seen s = { 0 }, t = { 0 };
    struct loop *l = loop_new(&err);
    struct tunnel_link *link = direct_link_new(l, STR("n-1"));
    direct_link_set_kubelet(link, STR("127.0.0.1"), 10250);
    CHECK(link->ops->open(link, STR("127.0.0.1"), 10250, &events, &s, &err) != NULL);
    struct tunnel_far *far = link->ops->open(link, STR("127.0.0.1"), 8080, &events, &t, &err);
    CHECK(far != NULL);
    CHECK_INT(link->facts.streams, 1);
    CHECK_INT(direct_link_others(link)->streams, 1);
    far_close(far);
    tunnel_link_free(link);
    CHECK(strstr(s.refused, "any more") != NULL);
    CHECK(!t.refused[0] && !t.closed);
    loop_turn(l, 10);
    loop_free(l);
}
