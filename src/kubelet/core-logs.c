/* /containerLogs: which file a log is; the server's process reads it. */
#include "kubelet/core-private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
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

void core_log_again(struct server_core *s, const struct wire_message *q)
{
    struct wire_message m = { .id = q->id, .what = WIRE_LOG, .fd = -1 };
    struct pod *p = q->n_strings == 3 ? pods_find_name(s->k, q->strings[0], q->strings[1]) : NULL;
    for (size_t i = 0; p && i < p->n_containers; i++) {
        if (str_eq_c(q->strings[2], p->containers[i]->name)) {
            m.number = log_grows(p->containers[i], q->number) ? 1 : 0;
            m.fd = open_log(p->containers[i], q->number);
        }
    }
    core_send(s, &m);
    fs_closep(&m.fd);
}
