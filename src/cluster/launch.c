#include "cluster/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "cluster/cgroup.h"
#include "cluster/supervisor.h"
#include "net/addr.h"

/* How far above the usual port a cluster of another name looks for a free one. */
#define PORTS_TRIED 100

int launch_lock(const struct place *place, struct err *err)
{
    char path[PATH_MAX];
    if (!fs_mkdirs(place->run, 0755, err)) {
        return -1;
    }
    path_of(path, "%s/lock", place->run);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_set_errno(err, errno, "cannot open %s", path);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        err_set(err, ERR_ALREADY_EXISTS, "the cluster \"%s\" is running", place->name);
        close(fd);
        return -1;
    }
    if (ftruncate(fd, 0) < 0) {
        err_set_errno(err, errno, "cannot empty %s", path);
        close(fd);
        return -1;
    }
    return fd;
}

bool launch_sweep(const struct cluster_config *c, struct err *err)
{
    struct cgroups groups;
    char top[CLUSTER_CGROUP_SIZE];
    cluster_cgroup(c, 0, top);
    return cgroups_detect(&groups, err) && cgroups_remove(&groups, top, err);
}

static int listen_on(uint16_t port, struct err *err)
{
    struct net_addr a;
    if (!net_addr_parse_ip(STR("127.0.0.1"), port, &a)) {
        abort();
    }
    return net_listen(&a, 0, err);
}

static bool bind_ports(struct cluster_config *c, bool choose_port, struct supervisor_start *start, struct err *err)
{
    start->api_socket = listen_on(c->api_port, err);
    for (unsigned i = 1; start->api_socket < 0 && choose_port && i < PORTS_TRIED; i++) {
        c->api_port++;
        start->api_socket = listen_on(c->api_port, err);
    }
    if (start->api_socket < 0) {
        return err_set(err, ERR_CONFLICT, "port %u of 127.0.0.1 is taken: end what listens there (ss -ltnp 'sport = %u'), or choose "
                       "another with --port", c->api_port, c->api_port);
    }
    for (size_t i = 0; i < c->n_published; i++) {
        start->published[i] = listen_on(c->published[i].host, err);
        for (unsigned tries = 1; start->published[i] < 0 && c->published[i].any_host && tries < PORTS_TRIED; tries++) {
            c->published[i].host++;
            start->published[i] = listen_on(c->published[i].host, err);
        }
        if (start->published[i] < 0) {
            return err_set(err, ERR_CONFLICT, "port %u of 127.0.0.1 is taken: choose another with --publish", c->published[i].host);
        }
    }
    return true;
}

/* What the caller happened to have open must not live as long as the cluster. */
static void close_strangers(const struct supervisor_start *start, int progress)
{
    for (int fd = 3; fd < 1024; fd++) {
        bool ours = fd == start->lock || fd == start->api_socket || fd == progress;
        for (size_t i = 0; i < start->config->n_published; i++) {
            ours = ours || fd == start->published[i];
        }
        if (!ours) {
            close(fd);
        }
    }
}

/* The supervisor's process: in the background, its log in the state folder. */
static NORETURN void be_supervisor(struct supervisor_start *start, int progress)
{
    char path[PATH_MAX];
    int null = open("/dev/null", O_RDWR);
    int log = open(path_of(path, "%s/logs/supervisor.log", start->config->place.state), O_WRONLY | O_CREAT | O_APPEND,
                   0640);
    if (setsid() < 0 || chdir("/") < 0 || null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 ||
        dup2(log, 2) < 0) {
        _exit(1);
    }
    close(null);
    close(log);
    close_strangers(start, progress);
    umask(022);
    start->progress = progress;
    (void)dprintf(start->lock, "%d\n", (int)getpid()); /* for people who look */
    _exit(supervisor_run(start));
}

/* Reads the supervisor's steps until it closes the pipe. */
static bool follow(int fd, struct progress *p, struct err *err)
{
    FILE *f = fdopen(fd, "r");
    char line[1200];
    bool ok = true, any = false;
    if (!f) {
        close(fd);
        return err_set_errno(err, errno, "cannot follow the supervisor");
    }
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '+') {
            any = true;
            progress_step(p, "%s", line + 1);
        } else if (line[0] == '!') {
            ok = err_set(err, ERR_IO, "%s", line + 1);
        }
    }
    fclose(f);
    return ok && !any ? err_set(err, ERR_IO, "the supervisor ended at once; its log says why") : ok;
}

bool launch(struct cluster_config *c, const struct machine *m, bool choose_port, struct progress *p, struct err *err)
{
    struct supervisor_start start = { .config = c, .machine = m, .lock = -1, .api_socket = -1 };
    char path[PATH_MAX];
    int pipe_fds[2];
    for (size_t i = 0; i < CLUSTER_MAX_PUBLISHED; i++) {
        start.published[i] = -1;
    }
    start.lock = launch_lock(&c->place, err);
    bool ok = start.lock >= 0 && launch_sweep(c, err) && bind_ports(c, choose_port, &start, err) &&
              cluster_config_save(c, err) && fs_mkdirs(path_of(path, "%s/logs", c->place.state), 0755, err);
    if (ok && pipe2(pipe_fds, O_CLOEXEC) < 0) {
        ok = err_set_errno(err, errno, "cannot make a pipe");
    }
    if (ok) {
        fflush(NULL);
        /* Twice, so that the supervisor is nobody's child and nobody has to reap it. */
        pid_t between = fork();
        if (between == 0) {
            if (fork() == 0) {
                close(pipe_fds[0]);
                be_supervisor(&start, pipe_fds[1]);
            }
            _exit(0);
        }
        close(pipe_fds[1]);
        while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR) {
        }
        ok = follow(pipe_fds[0], p, err);
    }
    /* The supervisor has its own copies of all of these. */
    fs_closep(&start.lock);
    fs_closep(&start.api_socket);
    for (size_t i = 0; i < c->n_published; i++) {
        fs_closep(&start.published[i]);
    }
    return ok;
}
