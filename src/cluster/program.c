#include "cluster/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "net/addr.h"

#define FIRST_BACKOFF_MS 100
#define MAX_BACKOFF_MS 10000
/* How often it is looked whether what a program needs is there. */
#define NEEDS_POLL_MS 10
/* Between the tries of a program that does its work once. */
#define ONCE_AGAIN_MS 50
/* Having run this long, an end is an accident rather than a habit. */
#define HEALTHY_AFTER_MS 10000

/* Where it runs, for the log. */
static const char *place_of(const struct program *c, char dst[32])
{
    (void)snprintf(dst, 32, " on node-%u", c->role->node);
    if (!c->role->node) {
        dst[0] = '\0';
    }
    return dst;
}

static void program_again(void *arg)
{
    program_start(arg);
}

void program_init(struct program *c, struct loop *l, const struct role *role)
{
    *c = (struct program){ .role = role, .loop = l };
    loop_timer_init(&c->timer, l, program_again, c);
}

static void retry_later(struct program *c)
{
    uint64_t wait = FIRST_BACKOFF_MS;
    for (unsigned i = 0; i < c->failures && wait < MAX_BACKOFF_MS; i++) {
        wait *= 2;
    }
    c->failures++;
    c->state = PROGRAM_WAITING;
    loop_timer_start(&c->timer, MIN(wait, (uint64_t)MAX_BACKOFF_MS));
}

static void on_end(struct loop_child *child UNUSED, int status, void *arg)
{
    struct program *c = arg;
    c->pid = 0;
    c->last_status = status;
    if (c->state == PROGRAM_STOPPED) {
        return;
    }
    if (c->role->once) {
        /* It may have come before what it needs; that is no accident worth a line. */
        c->state = status == 0 ? PROGRAM_DONE : PROGRAM_WAITING;
        if (status != 0) {
            loop_timer_start(&c->timer, c->failures++ < 50 ? ONCE_AGAIN_MS : MAX_BACKOFF_MS);
        }
        return;
    }
    c->restarts++;
    if (loop_now_ms(c->loop) - c->started_ms >= HEALTHY_AFTER_MS) {
        c->failures = 0;
    }
    char where[32];
    if (WIFSIGNALED(status)) {
        log_warning("%s%s was ended by signal %d and starts again", c->role->name, place_of(c, where), WTERMSIG(status));
    } else {
        log_warning("%s%s ended with status %d and starts again", c->role->name, place_of(c, where), WEXITSTATUS(status));
    }
    retry_later(c);
}

static bool spawn(struct program *c, struct err *err)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", home[] = "HOME=/root",
                lang[] = "LANG=C.UTF-8";
    char *env[] = { path, home, lang, NULL };
    char dir[PATH_MAX];
    path_of(dir, "%s", c->log_path);
    *strrchr(dir, '/') = '\0';
    if (!fs_mkdirs(dir, 0755, err)) {
        return false;
    }
    CLEANUP(fs_closep) int log = open(c->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log < 0) {
        return err_set_errno(err, errno, "cannot open %s", c->log_path);
    }
    const struct sandbox_child child = {
        .program = c->role->program,
        .argv = c->role->argv,
        .env = env,
        .output = log,
        .pass_fds = c->passed_fds,
        .n_pass_fds = c->n_passed_fds,
        .cgroups = c->cgroups,
        .cgroup = c->cgroup,
        .uid = (uid_t)c->role->uid,
        .confinement = &c->role->confinement,
        .parent = c->sandbox ? 0 : getpid(),
    };
    c->pid = sandbox_spawn(c->sandbox, &child, err);
    return c->pid > 0;
}

/* Starting a program only to see it fail would take the processor from what it waits for. */
static bool socket_answers(const struct program *c)
{
    char path[PATH_MAX];
    struct net_addr a;
    CLEANUP(fs_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->sandbox) {
        path_of(path, "/proc/%d/root%s", (int)c->sandbox->init, c->role->needs);
    } else {
        path_of(path, "%s", c->role->needs);
    }
    return fd >= 0 && net_addr_unix(str_c(path), &a) &&
           connect(fd, &a.sa, a.len) == 0;
}

void program_start(struct program *c)
{
    struct err err;
    if ((c->role->needs && !socket_answers(c)) || (c->role->needs_file && access(c->role->needs_file, F_OK) < 0)) {
        c->state = PROGRAM_WAITING;
        loop_timer_start(&c->timer, NEEDS_POLL_MS);
        return;
    }
    loop_update_now(c->loop);
    c->started_ms = loop_now_ms(c->loop);
    if (!spawn(c, &err)) {
        c->pid = 0;
        c->restarts++;
        char where[32];
        log_error("%s%s could not be started: %s", c->role->name, place_of(c, where), err.msg);
        retry_later(c);
        return;
    }
    c->state = PROGRAM_RUNNING;
    int status = loop_child_start(&c->child, c->loop, c->pid, on_end, c);
    if (status < 0) {
        log_error("cannot watch over %s: %s", c->role->name, strerror(-status));
    }
}

void program_stop(struct program *c, bool now)
{
    loop_timer_stop(&c->timer);
    c->state = PROGRAM_STOPPED;
    if (c->pid > 0) {
        (void)loop_child_kill(&c->child, now ? SIGKILL : SIGTERM);
    }
}

void program_forget(struct program *c)
{
    loop_timer_stop(&c->timer);
    c->state = PROGRAM_STOPPED;
    if (c->pid > 0) {
        loop_child_stop(&c->child);
        while (waitpid(c->pid, &c->last_status, 0) < 0 && errno == EINTR) {
        }
        c->pid = 0;
    }
}

/* The program keeps the file open for appending: so its content is copied, and the file emptied. */
void program_trim_log(struct program *c)
{
    struct stat st;
    CLEANUP(fs_closep) int log = open(c->log_path, O_RDWR | O_CLOEXEC);
    if (log < 0 || fstat(log, &st) < 0 || st.st_size <= PROGRAM_LOG_MAX) {
        return;
    }
    char old_path[PATH_MAX];
    CLEANUP(fs_closep) int old = open(path_of(old_path, "%s.1", c->log_path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    off_t from = MAX((off_t)0, st.st_size - PROGRAM_LOG_MAX);
    while (old >= 0 && sendfile(old, log, &from, PROGRAM_LOG_MAX) > 0) {
    }
    if (ftruncate(log, 0) < 0) {
        log_warning("cannot shorten %s: %s", c->log_path, strerror(errno));
    }
}

void program_write_status(const struct program *c, const char *node, struct buf *b)
{
    static const char *const words[] = { "stopped", "running", "waiting", "done" };
    uint64_t now = loop_now_ms(c->loop);
    buf_printf(b, "%s\t%s\t%d\t%s\t%u\t%llu\t%s\t%d\t%s\n", c->role->name, node, (int)c->pid, words[c->state], c->restarts,
               (unsigned long long)((now - MIN(c->started_ms, now)) / 1000), c->role->health ? c->role->health : "-", c->last_status, c->log_path);
}
