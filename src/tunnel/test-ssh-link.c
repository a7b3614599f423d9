/* SSH links against the real sshd on loopback. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/test.h"
#include "net/stream.h"
#include "tunnel/limits.h"
#include "tunnel/relay.h"
#include "tunnel/ssh-key.h"
#include "tunnel/ssh-lib.h"
#include "tunnel/ssh-link.h"
#include "tunnel/test-sshd.h"

struct fixture {
    struct loop *loop;
    struct test_sshd sshd;
    struct ssh_links shared;
    struct tunnel_link *link;
    struct buf public_key;
    char dir[64];
};

static void fixture_init(struct fixture *f, const char *sshd_options, bool authorize)
{
    struct err err;
    char path[128];
    memset(f, 0, sizeof(*f));
    log_setup("test", LOG_ERROR);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-tunnel.XXXXXX");
    CHECK(mkdtemp(f->dir));
    (void)snprintf(path, sizeof(path), "%s/key", f->dir);
    buf_init(&f->public_key, 8192);
    f->loop = loop_new(&err);
    CHECK(f->loop);
    f->shared.lib = ssh_lib(&err);
    if (!f->shared.lib) {
        test_skip("%s", err.msg);
    }
    f->shared.key = tunnel_ssh_key(path, &f->public_key, &err);
    CHECK_OK(f->shared.key, &err);
    test_sshd_start(&f->sshd, sshd_options, authorize ? buf_str(&f->public_key) : STR(""));
    f->shared.loop = f->loop;
    f->shared.port = f->sshd.port;
    (void)snprintf(f->shared.user, sizeof(f->shared.user), "%s", f->sshd.user);
}

static void pin(struct fixture *f, const char *key)
{
    char line[1200];
    struct err err;
    (void)snprintf(line, sizeof(line), "[127.0.0.1]:%u %s\n", f->sshd.port, key);
    f->shared.known_hosts = known_hosts_parse(str_c(line), &err);
    CHECK(f->shared.known_hosts);
}

static void connect_link(struct fixture *f, struct str annotation)
{
    struct ssh_target t = { .address = STR("127.0.0.1"), .kubelet_host = STR("127.0.0.1"), .kubelet_port = f->sshd.port,
                            .annotation = annotation };
    f->link = ssh_link_new(&f->shared, STR("node-1"));
    ssh_link_set_target(f->link, &t);
}

static void fixture_deinit(struct fixture *f)
{
    struct err err;
    f->link = tunnel_link_free(f->link);
    known_hosts_free(f->shared.known_hosts);
    f->shared.lib->ssh_key_free(f->shared.key);
    loop_turn(f->loop, 0);
    loop_free(f->loop);
    buf_deinit(&f->public_key);
    test_sshd_end(&f->sshd);
    (void)!fs_remove_tree(f->dir, &err);
}

static bool until_state(struct fixture *f, enum tunnel_state state, int ms)
{
    uint64_t end = clock_mono_ms() + (uint64_t)ms;
    while (f->link->facts.state != state && clock_mono_ms() < end) {
        loop_turn(f->loop, 10);
    }
    return f->link->facts.state == state;
}

static bool until_error(struct fixture *f, const char *text, int ms)
{
    uint64_t end = clock_mono_ms() + (uint64_t)ms;
    while (!strstr(f->link->facts.last_error, text) && clock_mono_ms() < end) {
        loop_turn(f->loop, 10);
    }
    if (!strstr(f->link->facts.last_error, text)) {
        printf("  last error: %s\n", f->link->facts.last_error);
    }
    return strstr(f->link->facts.last_error, text) != NULL;
}

/* ---- a target that the tunnel leads to, and a stream towards it ---- */

struct target {
    int listen_fd, fd;
    uint16_t port;
};

static void target_init(struct target *t)
{
    struct net_addr a;
    struct err err;
    t->fd = -1;
    t->port = test_free_port();
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), t->port, &a));
    t->listen_fd = net_listen(&a, 0600, &err);
    CHECK(t->listen_fd >= 0);
}

static void target_accept(struct fixture *f, struct target *t)
{
    uint64_t end = clock_mono_ms() + 5000;
    while (t->fd < 0 && clock_mono_ms() < end) {
        loop_turn(f->loop, 5);
        t->fd = accept4(t->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    CHECK(t->fd >= 0);
}

static void target_deinit(struct target *t)
{
    (void)close(t->listen_fd);
    if (t->fd >= 0) {
        (void)close(t->fd);
    }
}

struct probe_stream {
    struct tunnel_far *far;
    bool open, eof, closed, writable;
    char refused[400], reason[400];
    size_t got;
    uint32_t sum;
};

static void on_open(void *arg)
{
    ((struct probe_stream *)arg)->open = true;
}
static void on_refused(const char *reason, void *arg)
{
    struct probe_stream *p = arg;
    p->far = NULL;
    (void)snprintf(p->refused, sizeof(p->refused), "%s", reason);
}
static void on_data(struct str data, void *arg)
{
    struct probe_stream *p = arg;
    p->got += data.len;
    for (size_t i = 0; i < data.len; i++) {
        p->sum = p->sum * 31 + (unsigned char)data.ptr[i];
    }
}
static void on_writable(void *arg)
{
    ((struct probe_stream *)arg)->writable = true;
}
static void on_eof(void *arg)
{
    ((struct probe_stream *)arg)->eof = true;
}
static void on_close(const char *reason, void *arg)
{
    struct probe_stream *p = arg;
    p->far = NULL;
    p->closed = true;
    (void)snprintf(p->reason, sizeof(p->reason), "%s", reason ? reason : "");
}
static const struct tunnel_far_events events = { on_open, on_refused, on_data, on_writable, on_eof, on_close };

static void open_stream(struct fixture *f, struct probe_stream *p, uint16_t port)
{
    struct err err;
    memset(p, 0, sizeof(*p));
    p->far = f->link->ops->open(f->link, STR("127.0.0.1"), port, &events, p, &err);
    CHECK_OK(p->far, &err);
    uint64_t end = clock_mono_ms() + 5000;
    while (!p->open && !p->refused[0] && clock_mono_ms() < end) {
        loop_turn(f->loop, 10);
    }
}

TEST(a_tunnel_opens_with_a_pinned_key_and_carries_bytes_both_ways)
{
    enum { TOTAL = 6 << 20, PIECE = 50000 };
    struct fixture f;
    struct target t;
    struct probe_stream p;
    static char piece[PIECE];
    fixture_init(&f, NULL, true);
    pin(&f, f.sshd.host_key);
    connect_link(&f, STR_NULL);
    CHECK(until_state(&f, TUNNEL_OPEN, 10000));
    CHECK_STR_C(str_c(f.link->facts.trust), "pinned");
    CHECK(str_starts(str_c(f.link->facts.identity), STR("SHA256:")));
    target_init(&t);
    open_stream(&f, &p, t.port);
    CHECK(p.open);
    target_accept(&f, &t);
    /* The target sends back what it gets. */
    size_t sent = 0, echoed = 0, waiting = 0;
    uint32_t sum = 0;
    char back[65536];
    uint64_t end = clock_mono_ms() + 30000;
    p.writable = true;
    while (p.got < TOTAL && clock_mono_ms() < end) {
        if (p.writable && sent < TOTAL) {
            size_t n = MIN((size_t)PIECE, TOTAL - sent);
            for (size_t i = 0; i < n; i++) {
                piece[i] = (char)((sent + i) * 7 + ((sent + i) >> 9));
            }
            size_t took = far_write(p.far, str_n(piece, n));
            for (size_t i = 0; i < took; i++) {
                sum = sum * 31 + (unsigned char)piece[i];
            }
            sent += took;
            p.writable = took == n;
        }
        if (waiting == 0) {
            ssize_t n = read(t.fd, back, sizeof(back));
            waiting = n > 0 ? (size_t)n : 0;
            echoed = 0;
        }
        if (waiting) {
            ssize_t n = write(t.fd, back + echoed, waiting);
            if (n > 0) {
                echoed += (size_t)n;
                waiting -= (size_t)n;
            }
        }
        loop_turn(f.loop, 0);
    }
    CHECK_INT(p.got, TOTAL);
    CHECK(p.sum == sum);
    CHECK(f.link->facts.bytes_in >= TOTAL && f.link->facts.bytes_out >= TOTAL);
    /* Ends of directions are passed on alone. */
    far_shutdown(p.far);
    ssize_t n = -1;
    for (int i = 0; i < 500 && n != 0; i++) {
        loop_turn(f.loop, 10);
        n = read(t.fd, back, sizeof(back));
    }
    CHECK_INT(n, 0);
    CHECK(!p.eof && !p.closed);
    CHECK(write(t.fd, "bye", 3) == 3);
    (void)close(t.fd);
    t.fd = -1;
    for (int i = 0; i < 500 && !p.closed; i++) {
        loop_turn(f.loop, 10);
    }
    CHECK(p.closed && p.eof);
    CHECK_INT(p.got, TOTAL + 3);
    CHECK_STR_C(str_c(p.reason), "");
    target_deinit(&t);
    fixture_deinit(&f);
}

TEST(a_target_that_refuses_is_told_and_the_tunnel_stays)
{
    struct fixture f;
    struct probe_stream p;
    fixture_init(&f, NULL, true);
    pin(&f, f.sshd.host_key);
    connect_link(&f, STR_NULL);
    CHECK(until_state(&f, TUNNEL_OPEN, 10000));
    open_stream(&f, &p, test_free_port());
    CHECK(!p.open);
    CHECK(strstr(p.refused, "did not connect"));
    CHECK_INT(f.link->facts.state, TUNNEL_OPEN);
    /* and one that is given up while it opens */
    struct err err;
    p.far = f.link->ops->open(f.link, STR("127.0.0.1"), f.sshd.port, &events, &p, &err);
    CHECK(p.far);
    far_close(p.far);
    for (int i = 0; i < 50; i++) {
        loop_turn(f.loop, 10);
    }
    CHECK_INT(f.link->facts.streams, 0);
    fixture_deinit(&f);
}

TEST(a_tunnel_over_ipv6)
{
    struct fixture f;
    struct probe_stream p;
    char line[1200];
    struct err err;
    fixture_init(&f, "ListenAddress ::1", true);
    (void)snprintf(line, sizeof(line), "[::1]:%u %s\n", f.sshd.port, f.sshd.host_key);
    f.shared.known_hosts = known_hosts_parse(str_c(line), &err);
    f.link = ssh_link_new(&f.shared, STR("node-1"));
    struct ssh_target t = { .address = STR("::1"), .kubelet_host = STR("::1"), .kubelet_port = f.sshd.port };
    ssh_link_set_target(f.link, &t);
    if (!until_state(&f, TUNNEL_OPEN, 5000) && strstr(f.link->facts.last_error, "cannot connect")) {
        fixture_deinit(&f);
        test_skip("no IPv6 on loopback");
    }
    CHECK_INT(f.link->facts.state, TUNNEL_OPEN);
    memset(&p, 0, sizeof(p));
    p.far = f.link->ops->open(f.link, STR("::1"), f.sshd.port, &events, &p, &err);
    for (int i = 0; i < 500 && p.got == 0; i++) {
        loop_turn(f.loop, 10);
    }
    CHECK(p.open && p.got > 4); /* sshd's own greeting, by way of the tunnel */
    far_close(p.far);
    fixture_deinit(&f);
}

TEST(a_forged_host_key_is_refused_before_our_key_is_shown)
{
    struct fixture f;
    fixture_init(&f, NULL, true);
    pin(&f, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKmZSmEOiKVAwECU/IVvFaOp3YCXSPdC8Vv6oYfTyXq");
    connect_link(&f, str_c(f.sshd.host_key)); /* an annotation does not outweigh what is pinned */
    f.shared.annotation_keys = true;
    CHECK(until_error(&f, "HOST KEY CHANGED", 10000));
    CHECK(f.link->facts.state != TUNNEL_OPEN);
    CHECK_INT(f.link->facts.streams, 0);
    struct err err;
    CHECK(!f.link->ops->open(f.link, STR("127.0.0.1"), 1, &events, NULL, &err));
    CHECK(strstr(err.msg, "is down"));
    fixture_deinit(&f);
}

TEST(an_unknown_host_key_is_refused_and_the_annotations_is_a_fallback)
{
    struct fixture f;
    fixture_init(&f, NULL, true);
    connect_link(&f, STR_NULL);
    f.shared.annotation_keys = true;
    CHECK(until_error(&f, "HOST KEY UNKNOWN", 10000));
    struct ssh_target t = { .address = STR("127.0.0.1"), .annotation = str_c(f.sshd.host_key) };
    ssh_link_set_target(f.link, &t);
    CHECK(until_state(&f, TUNNEL_OPEN, 10000));
    CHECK_STR_C(str_c(f.link->facts.trust), "annotation");
    /* The node may say it once: another key later is not taken. */
    t.annotation = STR("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKmZSmEOiKVAwECU/IVvFaOp3YCXSPdC8Vv6oYfTyXq");
    ssh_link_set_target(f.link, &t);
    test_sshd_kill(&f.sshd);
    CHECK(until_state(&f, TUNNEL_WAITING, 10000));
    test_sshd_again(&f.sshd);
    CHECK(until_state(&f, TUNNEL_OPEN, 20000));
    fixture_deinit(&f);
}

TEST(sshd_that_does_not_know_our_key_is_said_so)
{
    struct fixture f;
    fixture_init(&f, NULL, false);
    pin(&f, f.sshd.host_key);
    connect_link(&f, STR_NULL);
    CHECK(until_error(&f, "authorized_keys", 10000));
    CHECK(f.link->facts.failed >= 1);
    fixture_deinit(&f);
}

TEST(streams_end_when_sshd_is_killed_and_the_tunnel_comes_back)
{
    struct fixture f;
    struct target t;
    struct probe_stream p;
    fixture_init(&f, NULL, true);
    pin(&f, f.sshd.host_key);
    connect_link(&f, STR_NULL);
    CHECK(until_state(&f, TUNNEL_OPEN, 10000));
    target_init(&t);
    open_stream(&f, &p, t.port);
    CHECK(p.open);
    test_sshd_kill(&f.sshd);
    CHECK(until_state(&f, TUNNEL_WAITING, 10000));
    CHECK(p.closed && strstr(p.reason, "broke"));
    test_sshd_again(&f.sshd);
    CHECK(until_state(&f, TUNNEL_OPEN, 20000));
    open_stream(&f, &p, t.port);
    CHECK(p.open);
    far_close(p.far);
    target_deinit(&t);
    fixture_deinit(&f);
}

TEST(a_stalled_sshd_is_noticed)
{
    struct fixture f;
    fixture_init(&f, NULL, true);
    pin(&f, f.sshd.host_key);
    f.shared.probe_ms = 200;
    f.shared.probe_answer_ms = 500;
    connect_link(&f, STR_NULL);
    CHECK(until_state(&f, TUNNEL_OPEN, 10000));
    test_sshd_signal(&f.sshd, SIGSTOP);
    CHECK(until_error(&f, "did not answer", 5000));
    test_sshd_signal(&f.sshd, SIGCONT);
    CHECK(until_state(&f, TUNNEL_OPEN, 20000));
    fixture_deinit(&f);
}

/* What is sent towards a reader that does not read stops at libssh's window, and nothing is lost. */
TEST(a_slow_reader_holds_a_bounded_amount)
{
    enum { TOTAL = 24 << 20 };
    struct fixture f;
    struct target t;
    struct probe_stream p;
    static char piece[65536];
    size_t sent = 0, highest = 0;
    fixture_init(&f, NULL, true);
    pin(&f, f.sshd.host_key);
    connect_link(&f, STR_NULL);
    CHECK(until_state(&f, TUNNEL_OPEN, 10000));
    target_init(&t);
    open_stream(&f, &p, t.port);
    CHECK(p.open);
    target_accept(&f, &t);
    far_pause(p.far, true);
    for (uint64_t end = clock_mono_ms() + 2000; clock_mono_ms() < end;) {
        ssize_t n = sent < TOTAL ? write(t.fd, piece, MIN(sizeof(piece), TOTAL - sent)) : 0;
        sent += n > 0 ? (size_t)n : 0;
        loop_turn(f.loop, 1);
        highest = MAX(highest, f.shared.held);
    }
    CHECK_INT(p.got, 0);
    CHECK(sent < TOTAL);
    CHECK(highest > 0 && highest < 2u << 20);
    far_pause(p.far, false);
    for (uint64_t end = clock_mono_ms() + 20000; p.got < TOTAL && clock_mono_ms() < end;) {
        ssize_t n = sent < TOTAL ? write(t.fd, piece, MIN(sizeof(piece), TOTAL - sent)) : 0;
        sent += n > 0 ? (size_t)n : 0;
        loop_turn(f.loop, 1);
    }
    CHECK_INT(p.got, TOTAL);
    CHECK_INT(f.shared.held, 0);
    far_close(p.far);
    target_deinit(&t);
    fixture_deinit(&f);
}

TEST(a_reader_for_whom_too_much_waits_is_cut_and_the_tunnel_stays)
{
    struct fixture f;
    struct target t;
    struct probe_stream p;
    static char piece[65536];
    fixture_init(&f, NULL, true);
    pin(&f, f.sshd.host_key);
    f.shared.max_held = 200000;
    connect_link(&f, STR_NULL);
    CHECK(until_state(&f, TUNNEL_OPEN, 10000));
    target_init(&t);
    open_stream(&f, &p, t.port);
    CHECK(p.open);
    target_accept(&f, &t);
    far_pause(p.far, true);
    for (uint64_t end = clock_mono_ms() + 5000; !p.closed && clock_mono_ms() < end;) {
        (void)!write(t.fd, piece, sizeof(piece));
        loop_turn(f.loop, 1);
    }
    CHECK(p.closed && strstr(p.reason, "slow readers"));
    CHECK_INT(f.shared.held, 0);
    CHECK_INT(f.link->facts.state, TUNNEL_OPEN);
    target_deinit(&t);
    fixture_deinit(&f);
}

TEST(a_client_key_is_made_for_us_alone_and_an_open_one_is_refused)
{
    char dir[] = "/tmp/test-tunnel.XXXXXX", path[64], pub[64];
    struct err err;
    struct stat st;
    CLEANUP(buf_deinit) struct buf b, line;
    const struct ssh_lib *lib = ssh_lib(&err);
    if (!lib) {
        test_skip("%s", err.msg);
    }
    buf_init(&b, 8192);
    buf_init(&line, 8192);
    CHECK(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/key", dir);
    (void)snprintf(pub, sizeof(pub), "%s/key.pub", dir);
    ssh_key key = tunnel_ssh_key(path, &b, &err);
    CHECK_OK(key, &err);
    lib->ssh_key_free(key);
    CHECK(stat(path, &st) == 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    CHECK_OK(fs_read(pub, 8192, &line, &err), &err);
    CHECK_STR(str_trim(buf_str(&line)), buf_str(&b));
    buf_clear(&line);
    key = tunnel_ssh_key(path, &line, &err); /* read again: the same */
    CHECK_OK(key, &err);
    lib->ssh_key_free(key);
    CHECK_STR(buf_str(&line), buf_str(&b));
    CHECK(chmod(path, 0640) == 0);
    CHECK(!tunnel_ssh_key(path, &line, &err));
    CHECK(strstr(err.msg, "may be read"));
    (void)!fs_remove_tree(dir, &err);
}
