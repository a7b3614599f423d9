#include "tunnel/test-sshd.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "net/addr.h"

#define SSHD "/usr/sbin/sshd"

uint16_t test_free_port(void)
{
    struct net_addr a;
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    struct err err;
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), 0, &a));
    int fd = net_listen(&a, 0600, &err);
    CHECK(fd >= 0 && getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    (void)close(fd);
    return ntohs(in.sin_port);
}

static int run(const char *const *argv, bool wait, pid_t *ret_pid)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        (void)setpgid(0, 0);
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        (void)close_range(3, ~0U, 0);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    CHECK(pid > 0);
    (void)setpgid(pid, pid);
    if (ret_pid) {
        *ret_pid = pid;
    }
    int status = 0;
    return wait ? (waitpid(pid, &status, 0), status) : 0;
}

static void write_file(const char *dir, const char *name, mode_t mode, struct str content)
{
    char path[200];
    struct err err;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    CHECK_OK(fs_write_atomic(path, content, mode, &err), &err);
}

static bool answers(uint16_t port)
{
    struct net_addr a;
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), port, &a));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, &a.sa, a.len) == 0;
    (void)close(fd);
    return ok;
}

void test_sshd_again(struct test_sshd *s)
{
    char config[128];
    (void)snprintf(config, sizeof(config), "%s/config", s->dir);
    const char *argv[] = { SSHD, "-D", "-f", config, NULL };
    (void)run(argv, false, &s->pid);
    for (int i = 0; i < 500 && !answers(s->port); i++) {
        (void)usleep(10000);
    }
    CHECK(answers(s->port));
}

void test_sshd_start(struct test_sshd *s, const char *options, struct str client_public)
{
    char path[200], text[2000];
    struct err err;
    CLEANUP(buf_deinit) struct buf b;
    if (access(SSHD, X_OK) != 0) {
        test_skip("no %s", SSHD);
    }
    if (geteuid() == 0) {
        (void)mkdir("/run/sshd", 0755); /* sshd's own folder, which the package's service makes */
    }
    memset(s, 0, sizeof(*s));
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/test-tunnel.XXXXXX");
    CHECK(mkdtemp(s->dir));
    (void)snprintf(path, sizeof(path), "%s/host", s->dir);
    const char *keygen[] = { "/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path, NULL };
    CHECK_INT(run(keygen, true, NULL), 0);
    (void)snprintf(path, sizeof(path), "%s/host.pub", s->dir);
    buf_init(&b, 4096);
    CHECK_OK(fs_read(path, 4096, &b, &err), &err);
    CHECK(str_to_cstr(str_trim(buf_str(&b)), s->host_key, sizeof(s->host_key)));
    (void)snprintf(s->user, sizeof(s->user), "%s", getpwuid(geteuid())->pw_name);
    s->port = test_free_port();
    write_file(s->dir, "authorized", 0600, client_public);
    int n = snprintf(text, sizeof(text),
                     "Port %u\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\n"
                     "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
                     "MaxStartups 200\n%s\n", s->port, s->dir, s->dir, options ? options : "");
    write_file(s->dir, "config", 0600, str_n(text, (size_t)n));
    test_sshd_again(s);
}

/* Each connection's sshd is a session leader of its own: found as a descendant. */
static void signal_tree(pid_t pid, int signo, int depth)
{
    char path[64], line[4096] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    FILE *f = depth < 4 ? fopen(path, "r") : NULL;
    if (f) {
        (void)!fgets(line, sizeof(line), f);
        (void)fclose(f);
    }
    for (char *at = line, *rest = line; *at; at = rest) {
        long child = strtol(at, &rest, 10);
        if (child <= 1 || rest == at) {
            break;
        }
        signal_tree((pid_t)child, signo, depth + 1);
    }
    (void)kill(pid, signo);
}

void test_sshd_signal(struct test_sshd *s, int signo)
{
    signal_tree(s->pid, signo, 0);
}

void test_sshd_kill(struct test_sshd *s)
{
    if (s->pid > 0) {
        test_sshd_signal(s, SIGKILL);
        (void)waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
}

void test_sshd_end(struct test_sshd *s)
{
    struct err err;
    test_sshd_kill(s);
    if (s->dir[0]) {
        (void)!fs_remove_tree(s->dir, &err);
    }
}
