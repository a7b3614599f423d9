/* Frames by themselves, and on a real link between two network namespaces, where the kernel of the other end asks. */
#include "cloud/l2.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"
#include "net/rtnl.h"

static const struct l2_mac own = { { 2, 0, 0, 0, 0, 0x11 } };

TEST(an_arp_request_is_answered_to_who_asked)
{
    static const uint8_t request[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x22, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
                                       2, 0, 0, 0, 0, 0x22, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1 };
    struct l2_message m, back;
    uint8_t out[L2_FRAME_MAX];
    char text[IP_TEXT_SIZE];
    CHECK(l2_parse(request, sizeof(request), &m));
    CHECK_STR_C(ip_text(&m.asked, text), "192.0.2.1");
    CHECK_STR_C(ip_text(&m.asker, text), "192.0.2.9");
    size_t n = l2_answer(&m, &own, out);
    CHECK_INT(n, 60);
    CHECK(memcmp(out, request + 6, 6) == 0 && out[21] == 2);
    CHECK(l2_parse(out, n, &back) && !back.asked.family && memcmp(back.sender.b, own.b, 6) == 0);
    CHECK_STR_C(ip_text(&back.claimed, text), "192.0.2.1");
    for (size_t i = 0; i < sizeof(request); i++) {
        CHECK(!l2_parse(request, i, &m));
    }
}

TEST(a_gratuitous_frame_claims_and_asks_nobody)
{
    struct l2_message m;
    uint8_t out[L2_FRAME_MAX];
    struct ip ip;
    static const char *const ips[] = { "192.0.2.7", "fd00::7" };
    for (size_t i = 0; i < ARRAY_SIZE(ips); i++) {
        CHECK(ip_parse(str_c(ips[i]), &ip));
        for (int reply = 0; reply < 2; reply++) {
            size_t n = l2_announce(&ip, &own, reply, out);
            CHECK(l2_parse(out, n, &m) && !m.asked.family && ip_cmp(&m.claimed, &ip) == 0);
        }
    }
    CHECK(l2_parse(out, l2_probe(&ip, &own, out), &m) && !m.claimed.family && ip_cmp(&m.asked, &ip) == 0 && !m.asker.family);
    /* A changed byte of a neighbour advertisement does not pass its checksum. */
    size_t n = l2_announce(&ip, &own, false, out);
    for (size_t i = 14 + 8; i < n; i++) {
        out[i] ^= 1;
        CHECK(!l2_parse(out, n, &m));
        out[i] ^= 1;
    }
}

/* ---- a real link ---- */

struct link_fixture {
    int home, here, there; /* namespaces */
    struct loop *loop;
    struct l2 *l2;
    unsigned conflicts;
    bool yields;
};

static bool on_claimed(void *data, const struct ip *ip)
{
    struct link_fixture *f = data;
    if (f->yields) {
        l2_leave(f->l2, ip);
    }
    return !f->yields;
}

static void on_conflict(void *data, const struct ip *ip, const struct l2_mac *who, const char *link)
{
    struct link_fixture *f = data;
    (void)ip;
    (void)who;
    (void)link;
    f->conflicts++;
}

static void enter(int ns)
{
    CHECK_INT(setns(ns, CLONE_NEWNET), 0);
}

/* A command in the other namespace while this end's loop turns; true if it succeeded within a few seconds. */
static bool run_there(struct link_fixture *f, const char *command)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (setns(f->there, CLONE_NEWNET) == 0) {
            execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        }
        _exit(127);
    }
    uint64_t end = clock_mono_ms() + 8000;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        loop_turn(f->loop, 20);
        if (clock_mono_ms() > end) {
            kill(pid, SIGKILL);
            end = UINT64_MAX;
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void link_begin(struct link_fixture *f)
{
    static const struct l2_ops ops = { .claimed = on_claimed, .conflict = on_conflict };
    struct err err;
    struct rtnl r;
    *f = (struct link_fixture){ .home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) };
    if (geteuid() != 0 || (f->here = rtnl_new_netns(&err)) < 0) {
        close(f->home);
        test_skip("network namespaces need root");
    }
    f->there = rtnl_new_netns(&err);
    CHECK(f->there >= 0);
    CHECK_OK(rtnl_open(&r, f->here, &err) && rtnl_add_veth(&r, "eth0", "eth0", f->there, &err) && rtnl_up(&r, "eth0", NULL, &err) &&
                 rtnl_add_address(&r, "eth0", 0xc0000201, 24, &err),
             &err);
    rtnl_close(&r);
    enter(f->here);
    f->loop = loop_new(&err);
    f->l2 = l2_new(f->loop, &ops, f, &err);
    CHECK_OK(f->l2, &err);
    CHECK(run_there(f, "ip addr add 192.0.2.9/24 dev eth0 && ip addr add fd00::9/64 dev eth0 nodad && ip link set eth0 up"));
    l2_refresh(f->l2);
}

static void link_end(struct link_fixture *f)
{
    l2_free(f->l2);
    loop_free(f->loop);
    enter(f->home);
    close(f->home);
    close(f->here);
    close(f->there);
}

/* The kernel of the other end asks when something is sent there; its table says what it was told. */
#define ASK(ip) "curl -s -g -m 1 'http://[" ip "]/'; ip neigh show " ip " | grep -q lladdr"
/* On a machine that is busy the first question may come to nothing. */
#define FINDS(ask) "for i in 1 2 3 4 5; do " ask " && exit 0; sleep 0.3; done; exit 1"
#define ASK4 "curl -s -m 1 http://192.0.2.50/; ip neigh show 192.0.2.50 | grep -q lladdr"

TEST(the_kernel_at_the_other_end_finds_the_addresses_that_are_stood_for)
{
    struct link_fixture f;
    struct ip a, b, c;
    struct str names[] = { STR("eth0") };
    link_begin(&f);
    CHECK(ip_parse(STR("192.0.2.50"), &a) && ip_parse(STR("fd00::50"), &b) && ip_parse(STR("198.51.100.1"), &c));
    CHECK(!run_there(&f, ASK4));
    CHECK(l2_has_link(f.l2, &a, NULL, 0) && !l2_has_link(f.l2, &c, NULL, 0) && l2_has_link(f.l2, &c, names, 1));
    l2_stand(f.l2, &a, NULL, 0);
    CHECK(run_there(&f, FINDS(ASK4)));
    l2_leave(f.l2, &a);
    CHECK(!run_there(&f, "ip neigh flush all; " ASK4));
    l2_stand(f.l2, &b, names, 1);
    /* Its own link-local address is tentative for a second after the link came up. */
    CHECK(run_there(&f, FINDS(ASK("fd00::50"))));
    l2_leave(f.l2, &b);
    CHECK(!run_there(&f, "ip neigh flush all; " ASK("fd00::50")));
    link_end(&f);
}

TEST(everybody_is_told_and_forgets_who_had_it_before)
{
    struct link_fixture f;
    struct ip a, b;
    link_begin(&f);
    CHECK(ip_parse(STR("192.0.2.50"), &a) && ip_parse(STR("fd00::50"), &b));
    CHECK(run_there(&f, "ip neigh replace 192.0.2.50 lladdr 02:00:00:00:00:99 nud reachable dev eth0;"
                        "ip neigh replace fd00::50 lladdr 02:00:00:00:00:99 nud stale dev eth0"));
    struct str names[] = { STR("eth0") };
    l2_stand(f.l2, &a, names, 1);
    l2_stand(f.l2, &b, names, 1);
    /* Linux believes a change of an entry only after its locktime of a second. */
    CHECK(run_there(&f, "sleep 1.2"));
    l2_tell(f.l2, &a);
    l2_tell(f.l2, &b);
    CHECK(run_there(&f, "sleep 0.2; ! ip neigh | grep -q 02:00:00:00:00:99"));
    link_end(&f);
}

TEST(a_machine_that_has_the_address_already_is_found)
{
    struct link_fixture f;
    struct ip a, b;
    link_begin(&f);
    CHECK(ip_parse(STR("192.0.2.50"), &a) && ip_parse(STR("fd00::50"), &b));
    struct str names[] = { STR("eth0") };
    l2_stand(f.l2, &a, NULL, 0);
    l2_stand(f.l2, &b, names, 1);
    l2_ask(f.l2, &a);
    l2_ask(f.l2, &b);
    CHECK(run_there(&f, "sleep 0.2; ip addr add 192.0.2.50/32 dev eth0; ip addr add fd00::50/64 dev eth0 nodad"));
    CHECK_INT(f.conflicts, 0);
    l2_ask(f.l2, &a);
    l2_ask(f.l2, &b);
    CHECK(run_there(&f, "sleep 0.5"));
    CHECK_INT(f.conflicts, 2);
    f.yields = true;
    l2_ask(f.l2, &a);
    CHECK(run_there(&f, "sleep 0.2; ip addr del 192.0.2.50/32 dev eth0; ip neigh flush all"));
    CHECK(!run_there(&f, ASK4));
    link_end(&f);
}

TEST(an_address_that_another_claims_is_defended_and_reported_once_in_a_while)
{
    struct link_fixture f;
    struct ip a;
    link_begin(&f);
    CHECK(ip_parse(STR("192.0.2.50"), &a));
    l2_stand(f.l2, &a, NULL, 0);
    CHECK(run_there(&f, "ip addr add 192.0.2.50/32 dev eth0; for i in 1 2; do curl -s -m 1 --interface 192.0.2.50 http://192.0.2.1/; ip neigh flush all; done; true"));
    CHECK_INT(f.conflicts, 1);
    link_end(&f);
}
