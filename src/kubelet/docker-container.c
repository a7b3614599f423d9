/* Containers of pods: created, started, stopped, removed, looked at. */
#include "kubelet/docker-private.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/rand.h"
#include "kubelet/limits.h"

/* ---- create ---- */

struct making {
    struct buf body;
    struct str name;
    bool removed; /* what had the name */
};

static void drop_making(struct runtime_call *c)
{
    struct making *m = c->state;
    buf_deinit(&m->body);
}

static void create(struct runtime_call *c);

static void on_old_removed(struct runtime_call *c, const struct docker_answer *a)
{
    struct making *m = c->state;
    char suffix[9];
    if (a->err && !docker_absent(a)) {
        /* It runs, or is being removed: another name, as dockershim did. */
        rand_suffix(suffix, 8);
        m->name = arena_printf(&c->a, "%.*s_%s", STR_ARG(m->name), suffix);
    }
    create(c);
}

static void on_created(struct runtime_call *c, const struct docker_answer *a)
{
    struct making *m = c->state;
    struct val v;
    struct cri_v1_create_container_response *r;
    if (a->err && a->err->code == ERR_CONFLICT && !m->removed) {
        m->removed = true;
        docker_ask(c, "DELETE", docker_path(&c->a, "/containers/", m->name, "?v=1"), STR_EMPTY, on_old_removed);
        return;
    }
    if (a->err) {
        struct err err = *a->err;
        err.code = err.code == ERR_NOT_FOUND ? ERR_INTERNAL : err.code; /* an image or a sandbox; the container was never there */
        docker_fail(c, &err);
        return;
    }
    if (!docker_json(c, a, &v) || !(r = docker_response(c))) {
        return;
    }
    r->container_id = docker_str(&v, "Id");
    docker_done(c, r);
}

static void create(struct runtime_call *c)
{
    struct making *m = c->state;
    docker_ask(c, "POST", docker_path(&c->a, "/containers/create?name=", m->name, ""), buf_str(&m->body), on_created);
}

void docker_create_container(struct runtime_call *c)
{
    const struct cri_v1_create_container_request *q = c->request;
    struct making *m = arena_new(&c->a, struct making);
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf name;
    buf_init(&name, 2048);
    if (!m) {
        docker_fail_with(c, ERR_TOO_LARGE, "the container's configuration is too large");
        return;
    }
    buf_init(&m->body, KUBELET_MAX_CRI_REQUEST);
    c->state = m;
    c->drop = drop_making;
    docker_container_name(&name, q);
    m->name = arena_str(&c->a, buf_str(&name));
    if (!docker_container_body(c->d, q, &m->body, &err)) {
        docker_fail(c, &err);
        return;
    }
    create(c);
}

/* ---- start ---- */

/* Where the kubelet looks for the log there is a link to dockerd's own file. */
static void link_log(const struct val *v)
{
    char link[PATH_MAX], target[PATH_MAX], dir[PATH_MAX];
    char *slash;
    if (!str_to_cstr(VAL_STR_AT(v, "Config", "Labels", DOCKER_LABEL_LOG), link, sizeof(link)) || link[0] != '/' ||
        !str_to_cstr(docker_str(v, "LogPath"), target, sizeof(target)) || target[0] != '/') {
        return;
    }
    snprintf(dir, sizeof(dir), "%s", link);
    slash = strrchr(dir, '/');
    *slash = '\0';
    struct err err = { 0 };
    if (!fs_mkdirs(dir, 0755, &err)) {
        log_warning("%s", err.msg);
        return;
    }
    (void)unlink(link);
    if (symlink(target, link) < 0) {
        log_warning("%s cannot be linked to the log: %s", link, strerror(errno));
    }
}

static void on_log_known(struct runtime_call *c, const struct docker_answer *a)
{
    struct val v;
    if (a->err && c->err.code == ERR_NONE) {
        docker_fail(c, a->err);
        return;
    }
    if (!a->err) {
        if (!docker_json(c, a, &v)) {
            return;
        }
        link_log(&v);
    }
    if (c->err.code != ERR_NONE) {
        struct err err = c->err;
        docker_fail(c, &err);
        return;
    }
    const void *r = docker_response(c);
    if (r) {
        docker_done(c, r);
    }
}

static void on_started(struct runtime_call *c, const struct docker_answer *a)
{
    const struct cri_v1_start_container_request *q = c->request;
    if (a->err) {
        c->err = *a->err;
        /* dockerd answers 404 also when the program is not in the image: the container is there all the same. */
        c->err.code = ERR_INTERNAL;
    }
    docker_ask(c, "GET", docker_path(&c->a, "/containers/", q->container_id, "/json"), STR_EMPTY, on_log_known);
}

void docker_start_container(struct runtime_call *c)
{
    const struct cri_v1_start_container_request *q = c->request;
    docker_ask(c, "POST", docker_path(&c->a, "/containers/", q->container_id, "/start"), STR_EMPTY, on_started);
}

/* ---- stop and remove ---- */

static void on_ended(struct runtime_call *c, const struct docker_answer *a)
{
    if (a->err && !docker_absent(a) && a->err->code != ERR_CONFLICT) {
        docker_fail(c, a->err);
        return;
    }
    const void *r = docker_response(c);
    if (r) {
        docker_done(c, r);
    }
}

void docker_stop_container(struct runtime_call *c)
{
    const struct cri_v1_stop_container_request *q = c->request;
    char after[64];
    snprintf(after, sizeof(after), "/stop?t=%lld", (long long)MAX(q->timeout, (int64_t)0));
    docker_ask(c, "POST", docker_path(&c->a, "/containers/", q->container_id, after), STR_EMPTY, on_ended);
}

static void on_log_to_unlink(struct runtime_call *c, const struct docker_answer *a)
{
    const struct cri_v1_remove_container_request *q = c->request;
    char link[PATH_MAX];
    struct val v;
    if (a->err && !docker_absent(a)) {
        docker_fail(c, a->err);
        return;
    }
    if (!a->err) {
        if (!docker_json(c, a, &v)) {
            return;
        }
        if (str_to_cstr(VAL_STR_AT(&v, "Config", "Labels", DOCKER_LABEL_LOG), link, sizeof(link)) && link[0] == '/') {
            char target[PATH_MAX], own[PATH_MAX];
            ssize_t n = readlink(link, target, sizeof(target) - 1);
            if (n > 0 && str_to_cstr(docker_str(&v, "LogPath"), own, sizeof(own)) && str_eq_c(str_n(target, (size_t)n), own)) {
                (void)unlink(link);
            }
        }
    }
    docker_ask(c, "DELETE", docker_path(&c->a, "/containers/", q->container_id, "?v=1&force=1"), STR_EMPTY, on_ended);
}

void docker_remove_container(struct runtime_call *c)
{
    const struct cri_v1_remove_container_request *q = c->request;
    docker_ask(c, "GET", docker_path(&c->a, "/containers/", q->container_id, "/json"), STR_EMPTY, on_log_to_unlink);
}

/* ---- status ---- */

static struct cri_v1_container_metadata *metadata(struct arena *a, struct str name)
{
    struct str parts[4];
    struct cri_v1_container_metadata *m = arena_new(a, struct cri_v1_container_metadata);
    uint32_t attempt;
    if (m && docker_name_parse(name, parts, &attempt)) {
        *m = (struct cri_v1_container_metadata){ .name = parts[0], .attempt = attempt };
    }
    return m;
}

static void state(const struct val *v, struct cri_v1_container_status *s)
{
    const struct val *st = val_get(v, STR("State"));
    struct str word = docker_str(st, "Status");
    s->started_at = docker_time(docker_str(st, "StartedAt"));
    s->finished_at = docker_time(docker_str(st, "FinishedAt"));
    s->exit_code = (int32_t)docker_int(st, "ExitCode");
    s->message = docker_str(st, "Error");
    if (docker_bool(st, "Running") && !str_eq_c(word, "created")) {
        s->state = CRI_V1_CONTAINER_STATE_CONTAINER_RUNNING;
        s->finished_at = 0;
        s->exit_code = 0;
        return;
    }
    if (str_eq_c(word, "created") && !s->exit_code) {
        s->state = CRI_V1_CONTAINER_STATE_CONTAINER_CREATED;
        return;
    }
    s->state = CRI_V1_CONTAINER_STATE_CONTAINER_EXITED;
    if (str_eq_c(word, "created")) {
        /* dockerd could not start it. */
        s->reason = STR("ContainerCannotRun");
        s->started_at = s->finished_at = s->created_at;
        return;
    }
    s->reason = docker_bool(st, "OOMKilled") ? STR("OOMKilled") : s->exit_code == 0 ? STR("Completed") : STR("Error");
}

static void on_status(struct runtime_call *c, const struct docker_answer *a)
{
    struct val v;
    struct cri_v1_container_status_response *r;
    if (!docker_json(c, a, &v) || !(r = docker_response(c))) {
        return;
    }
    struct cri_v1_container_status *s = r->status = arena_new(&c->a, struct cri_v1_container_status);
    const struct val *labels = VAL_AT(&v, "Config", "Labels");
    if (!s || !(s->metadata = metadata(&c->a, docker_str(&v, "Name"))) || !(s->image = arena_new(&c->a, struct cri_v1_image_spec)) ||
        !docker_labels(&c->a, labels, &s->labels, &s->n_labels, &s->annotations, &s->n_annotations)) {
        docker_fail_with(c, ERR_TOO_LARGE, "the runtime's answer is too large");
        return;
    }
    s->id = docker_str(&v, "Id");
    s->created_at = docker_time(docker_str(&v, "Created"));
    s->image->image = docker_str(labels, DOCKER_LABEL_IMAGE).len ? docker_str(labels, DOCKER_LABEL_IMAGE) : VAL_STR_AT(&v, "Config", "Image");
    s->image_ref = s->image_id = docker_str(&v, "Image");
    s->log_path = docker_str(labels, DOCKER_LABEL_LOG);
    state(&v, s);
    docker_done(c, r);
}

void docker_container_status(struct runtime_call *c)
{
    const struct cri_v1_container_status_request *q = c->request;
    docker_ask(c, "GET", docker_path(&c->a, "/containers/", q->container_id, "/json"), STR_EMPTY, on_status);
}

/* ---- list ---- */

static int32_t state_of(struct str word)
{
    if (str_eq_c(word, "running") || str_eq_c(word, "paused") || str_eq_c(word, "restarting")) {
        return CRI_V1_CONTAINER_STATE_CONTAINER_RUNNING;
    }
    return str_eq_c(word, "created") ? CRI_V1_CONTAINER_STATE_CONTAINER_CREATED : CRI_V1_CONTAINER_STATE_CONTAINER_EXITED;
}

static void on_list(struct runtime_call *c, const struct docker_answer *a)
{
    struct val v;
    struct cri_v1_list_containers_response *r;
    if (!docker_json(c, a, &v) || !(r = docker_response(c))) {
        return;
    }
    size_t n = val_is(&v, VAL_ARRAY) ? v.n : 0;
    r->containers = arena_new_n(&c->a, struct cri_v1_container, n + 1);
    for (size_t i = 0; r->containers && i < n; i++) {
        const struct val *item = &v.items[i], *names = val_get(item, STR("Names")), *labels = val_get(item, STR("Labels"));
        struct cri_v1_container *s = &r->containers[r->n_containers];
        s->id = docker_str(item, "Id");
        s->metadata = metadata(&c->a, val_is(names, VAL_ARRAY) && names->n ? val_as_str(&names->items[0]) : STR_NULL);
        s->image = arena_new(&c->a, struct cri_v1_image_spec);
        s->pod_sandbox_id = docker_str(labels, DOCKER_LABEL_SANDBOX);
        s->image_ref = s->image_id = docker_str(item, "ImageID");
        s->state = state_of(docker_str(item, "State"));
        s->created_at = docker_int(item, "Created") * 1000000000;
        if (s->metadata && s->image && docker_labels(&c->a, labels, &s->labels, &s->n_labels, &s->annotations, &s->n_annotations)) {
            s->image->image = docker_str(labels, DOCKER_LABEL_IMAGE).len ? docker_str(labels, DOCKER_LABEL_IMAGE) : docker_str(item, "Image");
            r->n_containers++;
        }
    }
    docker_done(c, r);
}

void docker_list_containers(struct runtime_call *c)
{
    const struct cri_v1_list_containers_request *q = c->request;
    const struct cri_v1_container_filter *f = q->filter;
    struct str filters = docker_filters(&c->a, DOCKER_TYPE_CONTAINER, f ? f->label_selector : NULL, f ? f->n_label_selector : 0);
    docker_ask(c, "GET", arena_printf(&c->a, "/containers/json?all=1&%.*s", STR_ARG(filters)), STR_EMPTY, on_list);
}
