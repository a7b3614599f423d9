/* What a tunnel costs: N SSH links to one sshd of loopback. ninja -C build/release src/tunnel/bench-tunnels && …/bench-tunnels as root. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/test.h"
#include "net/addr.h"
#include "tunnel/ssh-key.h"
#include "tunnel/ssh-lib.h"
#include "tunnel/ssh-link.h"
#include "tunnel/test-sshd.h"

static long pss_kb(void)
{
    char line[256];
    long kb = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "Pss:", 4) == 0) {
            kb = strtol(line + 4, NULL, 10);
        }
    }
    if (f) {
        (void)fclose(f);
    }
    return kb;
}

static double cpu_s(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static size_t got;
static bool is_open;
static void on_open(void *arg)
{
    (void)arg;
    is_open = true;
}
static void on_refused(const char *reason, void *arg)
{
    (void)arg;
    printf("refused: %s\n", reason);
    exit(1);
}
static void on_data(struct str data, void *arg)
{
    (void)arg;
    got += data.len;
}
static void on_nothing(void *arg)
{
    (void)arg;
}
static void on_close(const char *reason, void *arg)
{
    (void)reason;
    (void)arg;
}
static const struct tunnel_far_events events = { on_open, on_refused, on_data, on_nothing, on_nothing, on_close };

TEST(bench)
{
    enum { BYTES = 512 << 20 };
    unsigned n = getenv("TUNNELS") ? (unsigned)strtoul(getenv("TUNNELS"), NULL, 10) : 100;
    static struct tunnel_link *links[5000];
    static char zeros[65536];
    char dir[] = "/tmp/test-tunnel.XXXXXX", path[64], line[1200];
    struct test_sshd sshd;
    struct err err;
    struct buf public_key;
    log_setup("bench", LOG_ERROR);
    buf_init(&public_key, 8192);
    CHECK(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/key", dir);
    struct ssh_links shared = { .loop = loop_new(&err), .lib = ssh_lib(&err) };
    shared.key = tunnel_ssh_key(path, &public_key, &err);
    CHECK_OK(shared.key, &err);
    test_sshd_start(&sshd, NULL, buf_str(&public_key));
    shared.port = sshd.port;
    (void)snprintf(shared.user, sizeof(shared.user), "%s", sshd.user);
    (void)snprintf(line, sizeof(line), "[127.0.0.1]:%u %s\n", sshd.port, sshd.host_key);
    shared.known_hosts = known_hosts_parse(str_c(line), &err);
    long before = pss_kb();
    double cpu = cpu_s();
    uint64_t start = clock_mono_ms();
    struct ssh_target t = { .address = STR("127.0.0.1"), .kubelet_host = STR("127.0.0.1"), .kubelet_port = sshd.port };
    for (unsigned i = 0; i < n; i++) {
        links[i] = ssh_link_new(&shared, STR("node"));
        ssh_link_set_target(links[i], &t);
    }
    unsigned open = 0;
    while (open < n && clock_mono_ms() - start < 120000) {
        loop_turn(shared.loop, 20);
        open = 0;
        for (unsigned i = 0; i < n; i++) {
            open += links[i]->facts.state == TUNNEL_OPEN;
        }
    }
    (void)malloc_trim(0);
    printf("%u of %u tunnels open after %.1f s, %.1f ms of CPU each, %.1f KB each (PSS %ld KB in all)\n", open, n,
           (double)(clock_mono_ms() - start) / 1000, 1000 * (cpu_s() - cpu) / n, (double)(pss_kb() - before) / n, pss_kb());
    cpu = cpu_s();
    start = clock_mono_ms();
    while (clock_mono_ms() - start < 10000) {
        loop_turn(shared.loop, 20);
    }
    printf("idle: %.3f %% of a core\n", 100 * (cpu_s() - cpu) / 10);
    /* A source that sends as fast as it can, through one of them. */
    struct net_addr a;
    uint16_t port = test_free_port();
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), port, &a));
    int listen_fd = net_listen(&a, 0600, &err), fd = -1;
    struct tunnel_far *far = links[0]->ops->open(links[0], STR("127.0.0.1"), port, &events, NULL, &err);
    while (!is_open || fd < 0) {
        loop_turn(shared.loop, 5);
        fd = fd < 0 ? accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK) : fd;
    }
    cpu = cpu_s();
    start = clock_mono_ms();
    while (got < BYTES && clock_mono_ms() - start < 30000) {
        while (write(fd, zeros, sizeof(zeros)) > 0) {
        }
        loop_turn(shared.loop, 1);
    }
    double s = (double)(clock_mono_ms() - start) / 1000;
    printf("one stream: %.0f MB/s, %.2f ms of CPU a MB\n", (double)got / 1e6 / s, 1000 * (cpu_s() - cpu) / ((double)got / 1e6));
    far_close(far);
    for (unsigned i = 0; i < n; i++) {
        links[i] = tunnel_link_free(links[i]);
    }
    loop_free(shared.loop);
    known_hosts_free(shared.known_hosts);
    shared.lib->ssh_key_free(shared.key);
    buf_deinit(&public_key);
    (void)close(fd);
    (void)close(listen_fd);
    test_sshd_end(&sshd);
    (void)!fs_remove_tree(dir, &err);
}
