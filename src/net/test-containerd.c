#include "net/test-containerd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"

/* Runs a shell script with arguments; true when it succeeded. */
static bool run_script(const char *script, const char *a, const char *b, const char *c)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", script, "sh", a, b, c, (char *)NULL);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void write_config(const struct test_containerd *t)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/config.toml", t->dir);
    FILE *f = fopen(path, "we");
    CHECK(f);
    fprintf(f,
            "version = 2\nroot = \"%s/root\"\nstate = \"%s/state\"\n[grpc]\naddress = \"%s\"\n"
            "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"test.local/busybox:1\"\n"
            "disable_apparmor = true\nrestrict_oom_score_adj = true\ndisable_hugetlb_controller = true\n"
            "tolerate_missing_hugetlb_controller = true\nnetns_mounts_under_state_dir = true\n",
            t->dir, t->dir, t->socket);
    fclose(f);
}

static void bring_up_loopback(void)
{
    struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)!ioctl(fd, SIOCSIFFLAGS, &r);
    close(fd);
}

/* The child: never returns. containerd becomes the init of a pid namespace, so that nothing it started outlives it. */
static void run_containerd(const struct test_containerd *t)
{
    char config[128], log[128];
    int status = 0;
    snprintf(config, sizeof(config), "%s/config.toml", t->dir);
    snprintf(log, sizeof(log), "%s/log", t->dir);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing running */
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || fd < 0) {
        _exit(77);
    }
    bring_up_loopback();
    pid_t pid = fork();
    if (pid != 0) {
        _exit(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(fd, 1);
    dup2(fd, 2);
    /* Shim sockets live in /run/containerd whatever the config says. */
    if (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0 ||
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
        _exit(77);
    }
    execl("/usr/bin/containerd", "containerd", "--config", config, (char *)NULL);
    _exit(127);
}

void test_containerd_start(struct test_containerd *t)
{
    if (access("/usr/bin/containerd", X_OK) != 0 || geteuid() != 0) {
        test_skip("needs root and containerd");
    }
    snprintf(t->dir, sizeof(t->dir), "/var/tmp/coracle-test-net-XXXXXX");
    CHECK(mkdtemp(t->dir));
    snprintf(t->socket, sizeof(t->socket), "%s/c.sock", t->dir);
    snprintf(t->cgroup, sizeof(t->cgroup), "/coracle-test-net-%s", t->dir + strlen(t->dir) - 6);
    write_config(t);
    t->pid = fork();
    if (t->pid == 0) {
        run_containerd(t);
    }
    for (int i = 0; i < 200 && access(t->socket, F_OK) != 0; i++) {
        int status;
        if (waitpid(t->pid, &status, WNOHANG) == t->pid) {
            t->pid = 0;
            test_containerd_stop(t);
            test_skip("containerd cannot run here (status %d)", status);
        }
        usleep(50000);
    }
}

void test_containerd_import_busybox(struct test_containerd *t, const char *name)
{
    /* A docker-archive: one layer with busybox and its usual names. */
    static const char script[] =
        "set -e; cd \"$1\"; mkdir -p image/rootfs/bin image/rootfs/tmp; cd image; cp /bin/busybox rootfs/bin/; "
        "for n in sh cat sleep echo dd wc stty true; do ln -sf busybox rootfs/bin/$n; done; "
        "tar -C rootfs -cf layer.tar .; d=$(sha256sum layer.tar | cut -d' ' -f1); "
        "printf '{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/bin/sleep\",\"1000000\"]},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}' $d > config.json; "
        "printf '[{\"Config\":\"config.json\",\"RepoTags\":[\"%s\"],\"Layers\":[\"layer.tar\"]}]' \"$2\" > manifest.json; "
        "tar -cf ../image.tar manifest.json config.json layer.tar; "
        "ctr -a \"$3\" -n k8s.io images import ../image.tar >/dev/null 2>&1";
    CHECK(run_script(script, t->dir, name, t->socket));
}

int test_containerd_connect(const struct test_containerd *t, unsigned port)
{
    char path[64];
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)t->pid);
    int ours = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), theirs = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(ours >= 0 && theirs >= 0 && setns(theirs, CLONE_NEWNET) == 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int back = setns(ours, CLONE_NEWNET);
    close(ours);
    close(theirs);
    CHECK_INT(back, 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

void test_containerd_stop(struct test_containerd *t)
{
    if (t->pid > 0) {
        char path[64];
        int init = 0;
        snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)t->pid, (int)t->pid);
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%d", &init) == 1) {
            kill(init, SIGKILL); /* and with the init everything in its namespaces */
        } else {
            kill(t->pid, SIGKILL);
        }
        if (f) {
            fclose(f);
        }
        waitpid(t->pid, NULL, 0);
    }
    run_script("for g in /sys/fs/cgroup/*\"$1\" /sys/fs/cgroup\"$1\"; do "
               "[ ! -d \"$g\" ] || find \"$g\" -depth -type d -exec rmdir {} \\; 2>/dev/null; done; "
               "rm -rf --one-file-system \"$2\"",
               t->cgroup, t->dir, "");
}
