/*
 * A command in a container whose output is collected: probes and hooks. When its time is up, or nobody waits for it any more, the
 * process is killed: dockerd has no request for that, but tells its number.
 */
#include "kubelet/docker-private.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kubelet/docker-frame.h"
#include "kubelet/limits.h"

/* The exit code is known a moment after the output has ended. */
#define LOOK_MS 20
#define LOOKS 250

struct sync {
    struct str id; /* of the exec */
    struct net_stream *stream;
    struct docker_frames frames;
    struct buf out, err;
    struct loop_timer timer; /* the command's time; then looking for its exit code */
    unsigned looks;
    bool ended;
};

/* ---- ending what goes on without us ---- */

struct docker_killer {
    struct list link;
    struct docker_http *http;
    char container[128];
};

static void killer_free(struct docker_killer *k)
{
    list_remove(&k->link);
    k->http = docker_http_cancel(k->http);
    free(k);
}

void docker_killers_free(struct docker *d)
{
    LIST_FOREACH(&d->killers, struct docker_killer, link, k) {
        killer_free(k);
    }
}

static void kill_process(int64_t pid, struct str container)
{
    /* By descriptor: the number may be another process's by now. */
    int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
    if (fd >= 0) {
        if (docker_owns_pid(pid, container)) {
            (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
        }
        close(fd);
    }
}

static void on_pid(void *arg, const struct docker_answer *a)
{
    struct docker_killer *k = arg;
    struct arena mem;
    struct val v;
    k->http = NULL;
    arena_init(&mem, KUBELET_MAX_CRI_ARENA);
    if (!a->err && val_parse_json(&mem, a->body, DOCKER_JSON_DEPTH, NULL, &v, NULL) && docker_bool(&v, "Running")) {
        kill_process(docker_int(&v, "Pid"), str_c(k->container));
    }
    arena_deinit(&mem);
    killer_free(k);
}

static void end_exec(struct docker *d, struct str exec, struct str container)
{
    struct docker_killer *k = calloc(1, sizeof(*k));
    struct arena a;
    if (!k) {
        abort();
    }
    arena_init(&a, 4096);
    list_push_back(&d->killers, &k->link);
    const struct docker_http_spec spec = { .method = "GET", .path = docker_path(&a, "/exec/", exec, "/json") };
    if (str_to_cstr(container, k->container, sizeof(k->container)) && spec.path.ptr) {
        k->http = docker_http(d, &spec, on_pid, k);
    } else {
        killer_free(k);
    }
    arena_deinit(&a);
}

static void drop(struct runtime_call *c)
{
    struct sync *s = c->state;
    if (s->id.len && !s->ended) {
        end_exec(c->d, s->id, ((const struct cri_v1_exec_sync_request *)c->request)->container_id);
    }
    loop_timer_stop(&s->timer);
    net_stream_free(s->stream);
    buf_deinit(&s->out);
    buf_deinit(&s->err);
}

static void look(struct runtime_call *c);

static void on_looked(struct runtime_call *c, const struct docker_answer *a)
{
    struct sync *s = c->state;
    struct cri_v1_exec_sync_response *r;
    struct val v;
    if (!docker_json(c, a, &v)) {
        return;
    }
    if (docker_bool(&v, "Running")) {
        if (++s->looks < LOOKS) {
            loop_timer_start(&s->timer, LOOK_MS);
        } else {
            docker_fail_with(c, ERR_INTERNAL, "the command's output has ended, but not the command");
        }
        return;
    }
    s->ended = true;
    if ((r = docker_response(c))) {
        r->exit_code = (int32_t)docker_int(&v, "ExitCode");
        r->stdout = buf_str(&s->out);
        r->stderr = buf_str(&s->err);
        struct str out = arena_str(&c->a, r->stdout), err = arena_str(&c->a, r->stderr);
        r->stdout = out;
        r->stderr = err;
        docker_done(c, r);
    }
}

static void look(struct runtime_call *c)
{
    struct sync *s = c->state;
    docker_ask(c, "GET", docker_path(&c->a, "/exec/", s->id, "/json"), STR_EMPTY, on_looked);
}

static void on_timer(void *arg)
{
    struct runtime_call *c = arg;
    struct sync *s = c->state;
    if (s->stream) {
        docker_fail_with(c, ERR_TIMEOUT, "command timed out after %llds", (long long)((const struct cri_v1_exec_sync_request *)c->request)->timeout);
        return;
    }
    look(c);
}

static void take(void *arg, bool error, struct str bytes)
{
    struct sync *s = arg;
    struct buf *b = error ? &s->err : &s->out;
    buf_append(b, str_sub(bytes, 0, b->max - MIN(b->len, b->max)));
}

static void on_data(struct net_stream *n UNUSED, struct str data, void *arg)
{
    struct sync *s = ((struct runtime_call *)arg)->state;
    docker_frames_feed(&s->frames, data);
}

static void ended(struct runtime_call *c)
{
    struct sync *s = c->state;
    s->stream = net_stream_free(s->stream);
    loop_timer_stop(&s->timer);
    look(c);
}

static void on_eof(struct net_stream *n UNUSED, void *arg)
{
    ended(arg);
}

static void on_close(struct net_stream *n UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    ended(arg);
}

static void on_stream(void *arg, struct net_stream *stream, const struct err *err)
{
    static const struct net_stream_ops ops = { .on_data = on_data, .on_eof = on_eof, .on_close = on_close };
    struct runtime_call *c = arg;
    const struct cri_v1_exec_sync_request *q = c->request;
    struct sync *s = c->state;
    c->http = NULL;
    if (err) {
        docker_fail(c, err);
        return;
    }
    s->stream = stream;
    net_stream_set_ops(stream, &ops, c);
    net_stream_resume(stream);
    if (q->timeout > 0) {
        loop_timer_start(&s->timer, (uint64_t)q->timeout * 1000);
    }
}

static void on_made(struct runtime_call *c, const struct docker_answer *a)
{
    struct sync *s = c->state;
    struct val v;
    if (a->err) {
        docker_fail(c, a->err);
        return;
    }
    if (docker_json(c, a, &v)) {
        s->id = docker_str(&v, "Id");
        c->http = docker_hijack(c->d, docker_path(&c->a, "/exec/", s->id, "/start"), STR("{\"Detach\":false,\"Tty\":false}"), on_stream, c);
    }
}

void docker_exec_sync(struct runtime_call *c)
{
    const struct cri_v1_exec_sync_request *q = c->request;
    struct sync *s = arena_new(&c->a, struct sync);
    CLEANUP(buf_deinit) struct buf body;
    buf_init(&body, KUBELET_MAX_CRI_REQUEST);
    if (!s) {
        docker_fail_with(c, ERR_TOO_LARGE, "the request to dockerd is too large");
        return;
    }
    buf_init(&s->out, DOCKER_MAX_EXEC_OUTPUT);
    buf_init(&s->err, DOCKER_MAX_EXEC_OUTPUT);
    s->frames = (struct docker_frames){ .take = take, .arg = s };
    loop_timer_init(&s->timer, c->d->loop, on_timer, c);
    c->state = s;
    c->drop = drop;
    docker_exec_body(&body, q->cmd, q->n_cmd, false, true, true, false);
    docker_ask(c, "POST", docker_path(&c->a, "/containers/", q->container_id, "/exec"), buf_str(&body), on_made);
}
