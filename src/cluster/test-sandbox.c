#include "cluster/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "net/rtnl.h"

struct host {
    char dir[64], group[64];
    struct cgroups cgroups;
    struct sandbox sandbox;
};

static bool start(struct host *h, struct err *err)
{
    if (geteuid() != 0) {
        test_skip("namespaces need root");
    }
    snprintf(h->dir, sizeof(h->dir), "/var/lib/coracle-test-%d", (int)getpid());
    snprintf(h->group, sizeof(h->group), "coracle-test-%d/one", (int)getpid());
    const struct sandbox_spec spec = { .hostname = "one", .dir = h->dir, .hosts = "127.0.0.1 localhost one\n",
                                       .cgroups = &h->cgroups, .cgroup = h->group };
    return cgroups_detect(&h->cgroups, err) && fs_mkdirs(h->dir, 0755, err) && sandbox_start(&spec, &h->sandbox, err);
}

static void stop(struct host *h)
{
    struct err err;
    char top[64];
    snprintf(top, sizeof(top), "coracle-test-%d", (int)getpid());
    sandbox_stop(&h->sandbox);
    CHECK_OK(cgroups_remove(&h->cgroups, top, &err), &err);
    CHECK_OK(fs_remove_tree(h->dir, &err), &err);
}

/* Runs a shell line inside, as a confined user unless 'uid' is 0; returns its exit status and what it printed. */
static int run_as(struct host *h, uid_t uid, const struct confinement *confinement, const char *line, char *out, size_t size)
{
    static char sh[] = "sh", c[] = "-c", path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char text[1024];
    snprintf(text, sizeof(text), "%s", line);
    char *argv[] = { sh, c, text, NULL }, *env[] = { path, NULL };
    int p[2], status = -1;
    struct err err;
    CHECK(pipe2(p, O_CLOEXEC) == 0);
    const struct sandbox_child child = { .program = "/bin/sh", .argv = argv, .env = env, .output = p[1],
                                         .cgroups = &h->cgroups, .cgroup = h->group, .uid = uid,
                                         .confinement = confinement };
    pid_t pid = sandbox_spawn(&h->sandbox, &child, &err);
    close(p[1]);
    CHECK_OK(pid > 0, &err);
    size_t got = 0;
    ssize_t n;
    while (got < size - 1 && (n = read(p[0], out + got, size - 1 - got)) > 0) {
        got += (size_t)n;
    }
    out[got] = '\0';
    close(p[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(struct host *h, const char *line, char *out, size_t size)
{
    return run_as(h, 0, NULL, line, out, size);
}

TEST(sandbox_is_a_host_of_its_own_and_leaves_nothing)
{
    struct host h = { 0 };
    struct err err;
    char out[4096];
    CHECK_OK(start(&h, &err), &err);
    CHECK_INT(run(&h, "hostname; cat /etc/hostname", out, sizeof(out)), 0);
    CHECK_STR_C(str_c(out), "one\none\n");
    CHECK_INT(run(&h, "ps -e | wc -l; test $(ls /proc | grep -c '^[0-9]') -lt 8", out, sizeof(out)), 0);
    CHECK_INT(run(&h, "touch /etc/x 2>/dev/null || touch /usr/x 2>/dev/null || touch /x 2>/dev/null", out, sizeof(out)), 1);
    CHECK_INT(run(&h, "touch /var/x /tmp/x /run/x && ls /root", out, sizeof(out)), 0);
    CHECK_STR_C(str_c(out), "");
    CHECK(access("/var/x", F_OK) < 0);
    CHECK_INT(run(&h, "ip -o link | wc -l; ip route", out, sizeof(out)), 0);
    CHECK(out[1] == '\n' && out[2] == '\0'); /* a few links of the kernel's, no route */
    CHECK_INT(run(&h, "cat /proc/self/cgroup", out, sizeof(out)), 0);
    CHECK(strstr(out, "/system") != NULL && !strstr(out, "coracle-test"));
    CHECK_INT(run(&h, "cd /sys/fs/cgroup; test -d memory && cd memory; mkdir pods && rmdir pods", out, sizeof(out)), 0);
    stop(&h);
    CHECK(access(h.dir, F_OK) < 0);
}

TEST(confined_program_sees_its_own_files_and_makes_no_namespaces)
{
    struct host h = { 0 };
    struct err err;
    char out[4096];
    const struct confinement c = { .read = { "/var/readable" }, .write = { "/var/writable" } };
    CHECK_OK(start(&h, &err), &err);
    CHECK_INT(run(&h, "cd /var && mkdir readable writable other && echo x >readable/x && echo y >other/y && chmod 644 */* && "
                      "chown 64201 writable && chmod 777 /var", out, sizeof(out)), 0);
    CHECK_INT(run_as(&h, 64201, &c, "id -u; id -g; cat /var/readable/x; echo z >/var/writable/z && cat /var/writable/z", out, sizeof(out)),
              0);
    CHECK_STR_C(str_c(out), "64201\n64201\nx\nz\n");
    CHECK_INT(run_as(&h, 64201, &c, "grep -h '^CapEff\\|^NoNewPrivs\\|^Seccomp:' /proc/self/status", out, sizeof(out)), 0);
    CHECK_STR_C(str_c(out), "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
    CHECK(run_as(&h, 64201, &c, "cat /var/other/y 2>/dev/null", out, sizeof(out)) != 0);
    CHECK(run_as(&h, 64201, &c, "touch /var/new 2>/dev/null || touch /var/readable/new 2>/dev/null", out, sizeof(out)) != 0);
    CHECK(run_as(&h, 64201, &c, "unshare -Ur true 2>/dev/null", out, sizeof(out)) != 0);
    CHECK_INT(run_as(&h, 64201, &c, "ulimit -c", out, sizeof(out)), 0);
    CHECK_STR_C(str_c(out), "0\n");
    stop(&h);
}

TEST(confined_program_gets_only_usual_sockets)
{
    static const struct {
        int family, type, want; /* an errno, or 0 */
    } cases[] = {
        { AF_INET, SOCK_STREAM, 0 },           { AF_UNIX, SOCK_STREAM, 0 },
        { AF_NETLINK, SOCK_RAW, 0 },           { AF_PACKET, SOCK_DGRAM, EAFNOSUPPORT },
        { AF_ALG, SOCK_SEQPACKET, EAFNOSUPPORT }, { AF_VSOCK, SOCK_STREAM, EAFNOSUPPORT },
        { AF_X25, SOCK_SEQPACKET, EAFNOSUPPORT },
    };
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        int bad = confine_calls(&err) ? 0 : 100;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            errno = 0;
            bool made = socket(cases[i].family, cases[i].type, 0) >= 0;
            bad += made != (cases[i].want == 0) || (!made && errno != cases[i].want);
        }
        _exit(bad);
    }
    int status = -1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

TEST(sandbox_spawn_says_why_a_program_does_not_run)
{
    struct host h = { 0 };
    struct err err;
    CHECK_OK(start(&h, &err), &err);
    static char name[] = "none";
    char *argv[] = { name, NULL }, *env[] = { NULL };
    const struct sandbox_child child = { .program = "/no/such/program", .argv = argv, .env = env, .output = 2,
                                         .cgroups = &h.cgroups, .cgroup = h.group };
    CHECK(sandbox_spawn(&h.sandbox, &child, &err) < 0);
    CHECK_STR_C(str_c(err.msg), "cannot run /no/such/program: No such file or directory");
    stop(&h);
}

TEST(rtnl_joins_two_hosts_through_a_bridge)
{
    if (geteuid() != 0) {
        test_skip("namespaces need root");
    }
    struct err err;
    struct rtnl sw, one;
    int sw_ns = rtnl_new_netns(&err), one_ns = rtnl_new_netns(&err);
    CHECK(sw_ns >= 0 && one_ns >= 0);
    CHECK_OK(rtnl_open(&sw, sw_ns, &err) && rtnl_open(&one, one_ns, &err), &err);
    CHECK_OK(rtnl_add_bridge(&sw, "br0", &err) && rtnl_add_address(&sw, "br0", 0x0a590001, 24, &err) &&
                 rtnl_up(&sw, "br0", NULL, &err),
             &err);
    CHECK_OK(rtnl_add_veth(&sw, "port1", "eth0", one_ns, &err) && rtnl_up(&sw, "port1", "br0", &err), &err);
    CHECK_OK(rtnl_add_address(&one, "eth0", 0x0a590002, 24, &err) && rtnl_up(&one, "eth0", NULL, &err), &err);
    CHECK_OK(rtnl_set_route(&one, 0, 0, 0x0a590001, &err), &err);
    CHECK_OK(rtnl_set_blackhole(&sw, 0x0a600000, 16, &err), &err);
    CHECK_OK(rtnl_set_route(&sw, 0x0af40100, 24, 0x0a590002, &err), &err);
    CHECK_OK(rtnl_set_route(&sw, 0x0af40100, 24, 0x0a590002, &err), &err); /* again is fine */
    CHECK(!rtnl_up(&sw, "none", NULL, &err));
    CHECK_OK(rtnl_delete(&sw, "port1", &err) && rtnl_delete(&sw, "port1", &err), &err);
    rtnl_close(&sw);
    rtnl_close(&one);
    close(sw_ns);
    close(one_ns);
}
