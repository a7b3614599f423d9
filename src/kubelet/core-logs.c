/* /containerLogs: which file a log is, and when there is more in it; the server's process reads it. */
#include "kubelet/core-private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "kubelet/cri-log.h"

static int open_log(struct pod_container *c, uint32_t attempt)
{
    char dir[PATH_MAX], path[PATH_MAX];
    pod_log_dir(c->pod, dir);
    snprintf(path, sizeof(path), "%.3000s/%s/%u.log", dir, c->name, attempt);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool log_grows(const struct pod_container *c, uint32_t attempt)
{
    return container_is_running(c) && c->run.attempt == attempt;
}

void core_logs(struct core_request *r)
{
    const struct http_target *t = &r->target;
    if (t->n_segments != 4) {
        core_request_error(r, 400, "the path is /containerLogs/NAMESPACE/POD/CONTAINER");
        return;
    }
    struct cri_log_options o;
    struct err err = { 0 };
    int status;
    if (!cri_log_options(t, clock_real_s(), &o, &status, &err)) {
        core_request_error(r, status, "%s", err.msg);
        return;
    }
    struct pod *p = pods_find_name(r->k, t->segments[1], t->segments[2]);
    struct pod_container *c = NULL;
    if (!p) {
        core_request_error(r, 404, "pod \"%.*s\" does not exist", STR_ARG(t->segments[2]));
        return;
    }
    for (size_t i = 0; i < p->n_containers; i++) {
        c = str_eq_c(t->segments[3], p->containers[i]->name) ? p->containers[i] : c;
    }
    if (!c) {
        core_request_error(r, 404, "container \"%.*s\" not found in pod \"%s\"", STR_ARG(t->segments[3]), p->name);
        return;
    }
    bool previous = o.previous;
    if (previous && !c->has_last && !(c->has_run && !container_is_running(c))) {
        core_request_error(r, 400, "previous terminated container \"%s\" in pod \"%s\" not found", c->name, p->name);
        return;
    }
    if (!c->has_run) {
        const char *why = c->waiting_reason[0] ? c->waiting_reason : "ContainerCreating";
        if (strcmp(why, "ErrImagePull") == 0) {
            why = "image can't be pulled";
        } else if (strcmp(why, "ImagePullBackOff") == 0) {
            why = "trying and failing to pull image";
        }
        core_request_error(r, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", c->name, p->name, why);
        return;
    }
    uint32_t attempt = !previous ? c->run.attempt : c->has_last ? c->last.attempt : c->run.attempt;
    int fd = open_log(c, attempt);
    if (fd < 0) {
        core_request_error(r, 404, "the log of container \"%s\" in pod \"%s\" is not there: %s", c->name, p->name, strerror(errno));
        return;
    }
    struct wire_message m = { .what = WIRE_LOG, .number = attempt, .n_strings = 4, .fd = fd };
    m.strings[0] = str_c(p->ns);
    m.strings[1] = str_c(p->name);
    m.strings[2] = str_c(c->name);
    m.strings[3] = log_grows(c, attempt) ? STR("1") : STR("0");
    core_request_send(r, &m);
    close(fd);
}

/* ---- followers ---- */

/* Writes, the writer's end, and what rotation does. */
#define CHANGES (IN_MODIFY | IN_CLOSE_WRITE | IN_MOVE_SELF | IN_DELETE_SELF)

/* A follower that has read everything there is: its question is answered when there is more, or when it cannot come any more. */
struct log_wait {
    struct list link;
    uint32_t id; /* of the question */
    char ns[64], pod[260], container[64];
    uint32_t attempt;
    uint64_t inode, read; /* the file it has, and how much of that */
    uint64_t until_ms;
    int wd;
};

struct core_logs {
    struct server_core *core;
    int inotify;
    struct loop_io io;
    struct loop_timer timer;
    struct list waits;
    size_t n;
};

static void unwatch(struct core_logs *l, int wd)
{
    LIST_FOREACH(&l->waits, struct log_wait, link, w) {
        if (w->wd == wd) {
            return;
        }
    }
    if (wd >= 0) {
        (void)inotify_rm_watch(l->inotify, wd);
    }
}

static void wait_free(struct core_logs *l, struct log_wait *w)
{
    int wd = w->wd;
    list_remove(&w->link);
    l->n--;
    free(w);
    unwatch(l, wd);
}

/* Is there something to say? Then '*m' is the answer, with the present file. */
static bool has_news(struct kubelet *k, const struct log_wait *w, struct wire_message *m)
{
    struct pod *p = pods_find_name(k, str_c(w->ns), str_c(w->pod));
    struct stat st;
    *m = (struct wire_message){ .id = w->id, .what = WIRE_LOG, .fd = -1 };
    for (size_t i = 0; p && i < p->n_containers; i++) {
        if (strcmp(w->container, p->containers[i]->name) == 0) {
            m->number = log_grows(p->containers[i], w->attempt) ? 1 : 0;
            m->fd = open_log(p->containers[i], w->attempt);
        }
    }
    return m->number == 0 || m->fd < 0 || fstat(m->fd, &st) < 0 || st.st_ino != w->inode || (uint64_t)st.st_size != w->read;
}

static void answer(struct core_logs *l, struct log_wait *w, struct wire_message *m)
{
    core_send(l->core, m);
    fs_closep(&m->fd);
    wait_free(l, w);
}

static void start_timer(struct core_logs *l)
{
    uint64_t first = UINT64_MAX;
    LIST_FOREACH(&l->waits, struct log_wait, link, w) {
        first = MIN(first, w->until_ms);
    }
    if (first != UINT64_MAX) {
        loop_timer_start_at(&l->timer, first);
    }
}

/* Answers those that have something to hear: with this watch (-1: with any), or of this pod (not NULL), or whose time is over. */
static void look(struct core_logs *l, int wd, const struct pod *p)
{
    uint64_t now = loop_now_ms(l->core->k->loop);
    LIST_FOREACH(&l->waits, struct log_wait, link, w) {
        struct wire_message m;
        bool late = now >= w->until_ms;
        bool meant = p ? strcmp(w->pod, p->name) == 0 && strcmp(w->ns, p->ns) == 0 : wd < 0 || w->wd == wd;
        if (!meant && !late) {
            continue;
        }
        if (has_news(l->core->k, w, &m) || late) {
            answer(l, w, &m);
        } else {
            fs_closep(&m.fd);
        }
    }
    start_timer(l);
}

static void on_late(void *arg)
{
    struct core_logs *l = arg;
    look(l, INT_MAX, NULL);
}

static void on_change(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct core_logs *l = arg;
    char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while ((n = read(io->fd, bytes, sizeof(bytes))) > 0) {
        int last = INT_MAX;
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(bytes + at);
            int wd = e->mask & IN_Q_OVERFLOW ? -1 : e->wd;
            if (wd != last) { /* a container that writes a lot makes many of one kind */
                look(l, wd, NULL);
            }
            last = wd;
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
}

void core_logs_start(struct server_core *s)
{
    struct core_logs *l = calloc(1, sizeof(*l));
    if (!l) {
        abort();
    }
    l->core = s;
    s->logs = l;
    list_init(&l->waits);
    loop_timer_init(&l->timer, s->k->loop, on_late, l);
    l->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (l->inotify >= 0) {
        loop_io_init(&l->io, s->k->loop, l->inotify, on_change, l);
        (void)loop_io_set(&l->io, LOOP_READ);
    } else {
        log_warning("no inotify (%s): logs that are followed are looked at five times a second", strerror(errno));
    }
}

void core_logs_stop(struct server_core *s)
{
    struct core_logs *l = s->logs;
    if (!l) {
        return;
    }
    LIST_FOREACH(&l->waits, struct log_wait, link, w) {
        list_remove(&w->link);
        free(w);
    }
    loop_timer_stop(&l->timer);
    if (l->inotify >= 0) {
        loop_io_stop(&l->io);
        close(l->inotify);
    }
    free(l);
    s->logs = NULL;
}

void core_logs_pod_changed(struct pod *p)
{
    struct server_core *s = p->k->server;
    if (s && s->logs && s->logs->n > 0) {
        look(s->logs, INT_MAX, p);
    }
}

void core_log_again(struct server_core *s, const struct wire_message *q)
{
    struct core_logs *l = s->logs;
    struct log_wait *w = calloc(1, sizeof(*w));
    struct wire_message m = { .id = q->id, .what = WIRE_LOG, .fd = -1 };
    char path[64];
    if (!w) {
        abort();
    }
    *w = (struct log_wait){ .id = q->id, .attempt = q->number, .wd = -1 };
    list_push_back(&l->waits, &w->link);
    l->n++;
    bool good = q->n_strings == 5 && str_to_cstr(q->strings[0], w->ns, sizeof(w->ns)) && str_to_cstr(q->strings[1], w->pod, sizeof(w->pod)) &&
                str_to_cstr(q->strings[2], w->container, sizeof(w->container)) && str_to_u64(q->strings[3], &w->inode) &&
                str_to_u64(q->strings[4], &w->read);
    bool news = !good || has_news(s->k, w, &m);
    if (!news && l->n <= KUBELET_MAX_LOG_WATCHES && l->inotify >= 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", m.fd);
        w->wd = inotify_add_watch(l->inotify, path, CHANGES);
    }
    if (!news && w->wd >= 0) {
        fs_closep(&m.fd);
        news = has_news(s->k, w, &m); /* between the look and the watch */
    }
    if (news || w->wd < 0) {
        answer(l, w, &m); /* who heard nothing new asks again after a while */
        return;
    }
    fs_closep(&m.fd);
    w->until_ms = loop_now_ms(s->k->loop) + KUBELET_LOG_WAIT_MS;
    start_timer(l);
}
