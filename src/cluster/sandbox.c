#include "cluster/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "cluster/place.h"

/* What glibc 2.36 and the kernel's headers may or may not have both; values from mount_setattr(2). */
struct mount_attributes {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};
#define MOUNT_READ_ONLY UINT64_C(1)
#define WHOLE_TREE 0x8000 /* AT_RECURSIVE */

/* ---- inside the new namespaces: every failure is written to the parent and ends the child ---- */

struct inside {
    const struct sandbox_spec *spec;
    int to_parent, from_parent;
};

static NORETURN void give_up(const struct inside *in, const struct err *err)
{
    ssize_t ignored = write(in->to_parent, err->msg, strlen(err->msg));
    (void)ignored;
    _exit(1);
}

static NORETURN PRINTF_LIKE(2, 3) void fail(const struct inside *in, const char *fmt, ...)
{
    int e = errno;
    char what[512];
    struct err err;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    err_set_errno(&err, e, "%s", what);
    give_up(in, &err);
}

static void do_mount(const struct inside *in, const char *from, const char *to, const char *type, unsigned long flags,
                     const char *options)
{
    if (mount(from, to, type, flags, options) < 0) {
        fail(in, "cannot mount %s on %s", from ? from : type, to);
    }
}

static void set_read_only(const struct inside *in, const char *path, bool on)
{
    struct mount_attributes a = { .attr_set = on ? MOUNT_READ_ONLY : 0, .attr_clr = on ? 0 : MOUNT_READ_ONLY };
    if (syscall(SYS_mount_setattr, AT_FDCWD, path, WHOLE_TREE, &a, sizeof(a)) < 0) {
        fail(in, "cannot make %s %s", path, on ? "read-only" : "writable");
    }
}

static void make_dirs(const struct inside *in, const char *path, mode_t mode)
{
    struct err err;
    if (!fs_mkdirs(path, mode, &err)) {
        give_up(in, &err);
    }
}

static void write_text(const struct inside *in, const char *path, const char *text)
{
    CLEANUP(fs_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        fail(in, "cannot write %s", path);
    }
}

/* Puts the sandbox's own text in the place of a file of /etc, wherever that leads (resolv.conf is often a link into /run). */
static void replace_file(const struct inside *in, const char *name, const char *text)
{
    char own[PATH_MAX], etc[PATH_MAX], target[PATH_MAX];
    path_of(own, "%s/etc/%s", in->spec->dir, name);
    path_of(etc, "/etc/%s", name);
    write_text(in, own, text);
    ssize_t n = readlink(etc, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    char *run = strstr(target, "/run/");
    if (run) {
        /* /run is fresh: what the link wants there is made. */
        char *slash = strrchr(run, '/');
        *slash = '\0';
        make_dirs(in, run, 0755);
        *slash = '/';
        write_text(in, run, text);
    }
    if (access(etc, F_OK) == 0) {
        do_mount(in, own, etc, NULL, MS_BIND, NULL);
    }
}

/* The folders that programs expect in /var, in the sandbox's own. */
static void make_var(const struct inside *in, const char *var)
{
    static const char *const folders[] = { "lib", "lib/kubelet", "lib/cni", "log", "log/pods", "log/containers", "cache",
                                           "spool", "opt" };
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        path_of(path, "%s/%s", var, folders[i]);
        make_dirs(in, path, 0755);
    }
    path_of(path, "%s/tmp", var);
    make_dirs(in, path, 01777);
    path_of(path, "%s/run", var);
    if (symlink("/run", path) < 0 && errno != EEXIST) {
        fail(in, "cannot link %s", path);
    }
    path_of(path, "%s/lock", var);
    if (symlink("/run/lock", path) < 0 && errno != EEXIST) {
        fail(in, "cannot link %s", path);
    }
}

static void bind_path(const struct inside *in, const char *var, const struct sandbox_path *p)
{
    char place[PATH_MAX];
    struct stat st;
    if (stat(p->path, &st) < 0) {
        fail(in, "cannot find %s", p->path);
    }
    /* Below /var the place is made in the sandbox's own /var; elsewhere the path is visible as it is. */
    if (strncmp(p->path, "/var/", 5) != 0) {
        return;
    }
    path_of(place, "%s/%s", var, p->path + 5);
    if (S_ISDIR(st.st_mode)) {
        make_dirs(in, place, 0755);
    } else {
        char *slash = strrchr(place, '/');
        *slash = '\0';
        make_dirs(in, place, 0755);
        *slash = '/';
        write_text(in, place, "");
    }
    do_mount(in, p->path, place, NULL, MS_BIND | MS_REC, NULL);
}

static void mount_all(const struct inside *in)
{
    const struct sandbox_spec *s = in->spec;
    char var[PATH_MAX], tmp[PATH_MAX], etc[PATH_MAX], text[256];
    struct err err;
    bool apparmor = access("/sys/kernel/security/apparmor", F_OK) == 0;

    /* Nothing that is mounted here may show up outside. */
    do_mount(in, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    path_of(var, "%s/var", s->dir);
    path_of(tmp, "%s/tmp", s->dir);
    path_of(etc, "%s/etc", s->dir);
    make_dirs(in, var, 0755);
    make_dirs(in, tmp, 0755);
    make_dirs(in, etc, 0755);
    if (chmod(tmp, 01777) < 0) {
        fail(in, "cannot set the mode of %s", tmp);
    }
    make_var(in, var);
    for (size_t i = 0; i < s->n_paths; i++) {
        bind_path(in, var, &s->paths[i]);
    }

    do_mount(in, "tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=256m");
    make_dirs(in, "/run/lock", 01777);
    do_mount(in, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    /* The host's /sys shows the host's network; a new one shows the sandbox's. It comes without the mounts below it. */
    do_mount(in, "sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    if (!cgroups_mount(s->cgroups, &err)) {
        give_up(in, &err);
    }
    if (apparmor) {
        do_mount(in, "securityfs", "/sys/kernel/security", "securityfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    }
    snprintf(text, sizeof(text), "%s\n", s->hostname);
    replace_file(in, "hostname", text);
    replace_file(in, "hosts", s->hosts);
    snprintf(text, sizeof(text), "%s%s%s", s->nameserver ? "nameserver " : "# no name server: the cluster is offline",
             s->nameserver ? s->nameserver : "", "\n");
    replace_file(in, "resolv.conf", text);

    set_read_only(in, "/", true);
    do_mount(in, tmp, "/tmp", NULL, MS_BIND, NULL);
    do_mount(in, var, "/var", NULL, MS_BIND | MS_REC, NULL);
    static const char *const writable[] = { "/var", "/tmp", "/run", "/proc", "/sys", "/dev" };
    for (size_t i = 0; i < ARRAY_SIZE(writable); i++) {
        set_read_only(in, writable[i], false);
    }
    for (size_t i = 0; i < s->n_paths; i++) {
        if (!s->paths[i].writable && strncmp(s->paths[i].path, "/var/", 5) == 0) {
            set_read_only(in, s->paths[i].path, true);
        }
    }
    do_mount(in, "tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
    static const char *const hidden[] = { "/root", "/home" };
    for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
        if (access(hidden[i], F_OK) == 0) {
            do_mount(in, "tmpfs", hidden[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "mode=755,size=4k");
        }
    }
    /* Volumes with mountPropagation need a shared root; the group is the sandbox's own. */
    do_mount(in, NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
}

/* The first process: reaps what is orphaned, and ends everything on SIGTERM. */
static NORETURN void be_init(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (;;) {
        siginfo_t info;
        if (sigwaitinfo(&all, &info) == SIGTERM) {
            _exit(0);
        }
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}

static void close_others(int keep_a, int keep_b)
{
    for (int fd = 3; fd < 1024; fd++) {
        if (fd != keep_a && fd != keep_b) {
            close(fd);
        }
    }
}

static NORETURN void inside_main(struct inside *in, pid_t parent)
{
    char go;
    close_others(in->to_parent, in->from_parent);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NAME, "coracle-node") < 0) {
        fail(in, "cannot follow the parent");
    }
    (void)parent;
    /* The parent moves this process into its control group, which unshare() then makes the root. */
    if (read(in->from_parent, &go, 1) != 1 || unshare(CLONE_NEWCGROUP) < 0) {
        fail(in, "cannot make a control group namespace");
    }
    if (sethostname(in->spec->hostname, strlen(in->spec->hostname)) < 0) {
        fail(in, "cannot set the host name");
    }
    mount_all(in);
    write_text(in, "/proc/sys/net/ipv4/ip_forward", "1");
    if (write(in->to_parent, "", 1) != 1 || read(in->from_parent, &go, 1) != 1) {
        _exit(1);
    }
    int null = open("/dev/null", O_RDWR);
    if (chdir("/") < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0) {
        _exit(1);
    }
    close_others(-1, -1);
    be_init();
}

/* ---- outside ---- */

/* Reads the child's report: one NUL is success, a text is its reason. */
static bool await(int fd, struct err *err)
{
    char text[900];
    ssize_t n = read(fd, text, sizeof(text) - 1);
    if (n == 1 && text[0] == '\0') {
        return true;
    }
    if (n <= 0) {
        return err_set(err, ERR_IO, "the sandbox's first process ended without a word");
    }
    text[n] = '\0';
    return err_set(err, ERR_IO, "%s", text);
}

static bool settle(const struct sandbox_spec *spec, struct sandbox *s, int to_child, int from_child,
                   struct err *err)
{
    char path[64];
    s->pidfd = (int)syscall(SYS_pidfd_open, s->init, 0);
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)s->init);
    s->netns = open(path, O_RDONLY | O_CLOEXEC);
    if (s->pidfd < 0 || s->netns < 0) {
        return err_set_errno(err, errno, "cannot open the sandbox's namespaces");
    }
    if (!cgroups_enter(spec->cgroups, spec->cgroup, s->init, err)) {
        return false;
    }
    if (write(to_child, "", 1) != 1) {
        return err_set(err, ERR_IO, "the sandbox's first process ended early");
    }
    if (!await(from_child, err)) {
        return false;
    }
    if (!cgroups_make_leaf(spec->cgroups, spec->cgroup, "system", s->init, err)) {
        return false;
    }
    return write(to_child, "", 1) == 1 || err_set(err, ERR_IO, "the sandbox's first process ended early");
}

bool sandbox_start(const struct sandbox_spec *spec, struct sandbox *ret, struct err *err)
{
    int up[2], down[2];
    struct sandbox s = { .pidfd = -1, .netns = -1 };
    if (!cgroups_make(spec->cgroups, spec->cgroup, err)) {
        return false;
    }
    if (pipe2(up, O_CLOEXEC) < 0) {
        return err_set_errno(err, errno, "cannot make a pipe");
    }
    if (pipe2(down, O_CLOEXEC) < 0) {
        err_set_errno(err, errno, "cannot make a pipe");
        close(up[0]);
        close(up[1]);
        return false;
    }
    pid_t parent = getpid();
    s.init = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC,
                            0, 0, 0, 0);
    if (s.init == 0) {
        struct inside in = { .spec = spec, .to_parent = up[1], .from_parent = down[0] };
        inside_main(&in, parent);
    }
    int clone_errno = errno;
    close(up[1]);
    close(down[0]);
    bool ok = s.init > 0 ? settle(spec, &s, down[1], up[0], err)
                         : err_set_errno(err, clone_errno, "cannot make namespaces");
    close(up[0]);
    close(down[1]);
    if (!ok) {
        sandbox_stop(&s);
        return err_wrap(err, "node %s", spec->hostname);
    }
    *ret = s;
    return true;
}

void sandbox_kill(struct sandbox *s)
{
    if (s->init > 0) {
        kill(s->init, SIGKILL);
    }
}

void sandbox_stop(struct sandbox *s)
{
    sandbox_kill(s);
    if (s->init > 0) {
        while (waitpid(s->init, NULL, 0) < 0 && errno == EINTR) {
        }
        close(s->pidfd);
        close(s->netns);
    }
    *s = (struct sandbox){ .pidfd = -1, .netns = -1 };
}

/* Runs in the process between the caller and the program: it enters the namespaces, since a pid namespace takes only children. */
static pid_t enter_and_clone(const struct sandbox *s, const struct sandbox_child *child, struct err *err)
{
    char system[256];
    if (!s) {
        pid_t here = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_PARENT, 0, 0, 0, 0);
        if (here < 0) {
            err_set_errno(err, errno, "cannot start a process");
        }
        return here;
    }
    snprintf(system, sizeof(system), "%s/system", child->cgroup);
    if (!cgroups_enter(child->cgroups, system, 0, err)) {
        return -1;
    }
    if (setns(s->pidfd, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP) < 0) {
        err_set_errno(err, errno, "cannot enter the node");
        return -1;
    }
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_PARENT, 0, 0, 0, 0);
    if (pid < 0) {
        err_set_errno(err, errno, "cannot start a process in the node");
    }
    return pid;
}

/* Puts the descriptors where the program looks for them: first out of the way, since their places may be taken by one another. */
static bool pass_descriptors(const struct sandbox_child *child, int *report)
{
    int moved[SANDBOX_MAX_PASSED];
    if (child->n_pass_fds > SANDBOX_MAX_PASSED || (*report = fcntl(*report, F_DUPFD_CLOEXEC, 64)) < 0) {
        return false;
    }
    for (size_t i = 0; i < child->n_pass_fds; i++) {
        moved[i] = fcntl(child->pass_fds[i], F_DUPFD_CLOEXEC, 64);
        if (moved[i] < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < child->n_pass_fds; i++) {
        if (dup2(moved[i], 3 + (int)i) < 0) {
            return false;
        }
    }
    return true;
}

/* 'report' is close-on-exec: it closes without a word when the program runs. */
static NORETURN void become(const struct sandbox_child *child, int report)
{
    struct err err;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY);
    bool ok = setsid() >= 0 && null >= 0 && dup2(null, 0) >= 0 && dup2(child->output, 1) >= 0 &&
              dup2(child->output, 2) >= 0 && chdir("/") == 0;
    ok = ok && pass_descriptors(child, &report);
    if (ok && child->uid) {
        ok = setgroups(0, NULL) == 0 && setresgid(child->uid, child->uid, child->uid) == 0 &&
             setresuid(child->uid, child->uid, child->uid) == 0;
    }
    if (ok && child->uid) {
        /* Keys and Secrets are in its memory: a crash must not put them on a disk. */
        ok = setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) == 0;
    }
    if (ok && child->uid && (!confine_files(child->confinement, &err) || !confine_calls(&err))) {
        ssize_t ignored = write(report, err.msg, strlen(err.msg));
        (void)ignored;
        _exit(127);
    }
    /* In a sandbox the end of the first process ends all; after the change of user, which forgets it. */
    if (ok && child->parent) {
        ok = prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == child->parent;
    }
    if (ok) {
        execve(child->program, child->argv, child->env);
    }
    err_set_errno(&err, errno, "cannot run %s", child->program);
    ssize_t ignored = write(report, err.msg, strlen(err.msg));
    (void)ignored;
    _exit(127);
}

/* What the process between reports: the pid of the program, or why there is none. */
struct spawn_report {
    pid_t pid;
    char reason[500];
};

static NORETURN void be_between(const struct sandbox *s, const struct sandbox_child *child, int report, int exec_report)
{
    struct spawn_report r = { .pid = -1 };
    struct err why;
    r.pid = enter_and_clone(s, child, &why);
    if (r.pid == 0) {
        become(child, exec_report);
    }
    if (r.pid < 0) {
        snprintf(r.reason, sizeof(r.reason), "%.490s", why.msg);
    }
    ssize_t ignored = write(report, &r, sizeof(r));
    (void)ignored;
    _exit(0);
}

pid_t sandbox_spawn(const struct sandbox *s, const struct sandbox_child *child, struct err *err)
{
    int p[2], q[2];
    if (pipe2(p, O_CLOEXEC) < 0) {
        err_set_errno(err, errno, "cannot make a pipe");
        return -1;
    }
    if (pipe2(q, O_CLOEXEC) < 0) {
        err_set_errno(err, errno, "cannot make a pipe");
        close(p[0]);
        close(p[1]);
        return -1;
    }
    pid_t between = fork();
    if (between == 0) {
        be_between(s, child, p[1], q[1]);
    }
    int fork_errno = errno;
    close(p[1]);
    close(q[1]);
    struct spawn_report r = { .pid = -1, .reason = "the process that enters the node ended early" };
    if (between < 0) {
        snprintf(r.reason, sizeof(r.reason), "cannot fork: %s", strerror(fork_errno));
    } else {
        while (waitpid(between, NULL, 0) < 0 && errno == EINTR) {
        }
        if (read(p[0], &r, sizeof(r)) != (ssize_t)sizeof(r)) {
            r.pid = -1;
        }
    }
    if (r.pid > 0) {
        ssize_t n = read(q[0], r.reason, sizeof(r.reason) - 1);
        if (n > 0) {
            r.reason[n] = '\0';
            while (waitpid(r.pid, NULL, 0) < 0 && errno == EINTR) {
            }
            r.pid = -1;
        }
    }
    close(p[0]);
    close(q[0]);
    if (r.pid < 0) {
        err_set(err, ERR_IO, "%s", r.reason);
    }
    return r.pid;
}
