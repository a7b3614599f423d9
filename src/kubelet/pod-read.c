/* Reads what the runtime knows of one pod: its sandboxes, its containers, and the state of those that changed. */
#include "kubelet/kubelet-private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "kubelet/cri-log.h"

struct read_op {
    struct pod *p;
    struct runtime_call *calls[2]; /* of the two lists */
    struct list statuses;
    size_t pending;
    bool failed;
};

struct status_call {
    struct list link;
    struct read_op *op;
    struct pod_container *c;
    struct container_run *run; /* of c, or NULL for the sandbox */
    struct runtime_call *call;
};

static const struct api_str_pair *selector(struct pod *p, struct api_str_pair *pair)
{
    *pair = (struct api_str_pair){ STR("io.kubernetes.pod.uid"), str_c(p->uid) };
    return pair;
}

static void op_free(struct read_op *op)
{
    for (size_t i = 0; i < ARRAY_SIZE(op->calls); i++) {
        runtime_cancel(op->p->k->rt, op->calls[i]);
    }
    LIST_FOREACH(&op->statuses, struct status_call, link, s) {
        runtime_cancel(op->p->k->rt, s->call);
        free(s);
    }
    free(op);
}

static void cancel(void *arg)
{
    op_free(arg);
}

static void finish(struct read_op *op)
{
    struct pod *p = op->p;
    bool failed = op->failed;
    op_free(op);
    if (failed) {
        /* The relist tells when the runtime is back; a container that went away meanwhile is seen again soon. */
        p->read_once = false;
        p->stale = true;
        p->busy = false;
        p->op = NULL;
        p->op_cancel = NULL;
        loop_timer_start(&p->timer, KUBELET_RELIST_MS);
        return;
    }
    p->read_once = true;
    pod_op_done(p, false);
}

/* ---- termination messages ---- */

static char *text_of_file(const char *path, size_t max, bool tail)
{
    /* A log may be a link to the runtime's file: its folder is the kubelet's. The message's file is the container's. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (tail ? 0 : O_NOFOLLOW));
    struct stat st;
    char *text = NULL;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        off_t from = tail && (size_t)st.st_size > max ? st.st_size - (off_t)max : 0;
        text = calloc(1, max + 1);
        ssize_t n = text ? pread(fd, text, max, from) : -1;
        if (n <= 0) {
            free(text);
            text = NULL;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return text;
}

/* The text of the last lines of a log. */
static char *log_tail(const char *path)
{
    const struct cri_log_options all = { .limit_bytes = -1, .tail_lines = -1 };
    char *raw = text_of_file(path, 16384, true);
    struct cri_log_filter f;
    struct buf b;
    size_t len;
    if (!raw) {
        return NULL;
    }
    buf_init(&b, 65536);
    cri_log_filter_init(&f, &all);
    cri_log_feed(&f, str_c(raw), &b);
    cri_log_end(&f, &b);
    cri_log_filter_deinit(&f);
    free(raw);
    if (b.len > KUBELET_MAX_TERMINATION_LOG) {
        buf_consume(&b, b.len - KUBELET_MAX_TERMINATION_LOG);
    }
    if (!b.len) {
        buf_deinit(&b);
        return NULL;
    }
    return buf_take(&b, &len);
}

static void read_message(struct pod_container *c, struct container_run *r, struct str runtime_message)
{
    char path[PATH_MAX], dir[PATH_MAX];
    free(r->message);
    container_termination_path(c, r->attempt, path);
    r->message = text_of_file(path, KUBELET_MAX_TERMINATION_MESSAGE, false);
    if (!r->message && c->spec && r->exit_code != 0 && str_eq_c(c->spec->termination_message_policy, "FallbackToLogsOnError")) {
        pod_log_dir(c->pod, dir);
        snprintf(path, sizeof(path), "%.3000s/%s/%u.log", dir, c->name, r->attempt);
        r->message = log_tail(path);
    }
    if (!r->message && runtime_message.len) {
        r->message = strndup(runtime_message.ptr, MIN(runtime_message.len, (size_t)KUBELET_MAX_TERMINATION_MESSAGE));
    }
    if (r->message && !str_is_utf8(str_c(r->message))) {
        for (char *q = r->message; *q; q++) {
            *q = (unsigned char)*q < 0x80 ? *q : '?';
        }
    }
}

/* ---- statuses ---- */

static void settle(struct status_call *s, bool ok)
{
    struct read_op *op = s->op;
    list_remove(&s->link);
    free(s);
    op->failed = op->failed || !ok;
    if (--op->pending == 0) {
        finish(op);
    }
}

static void set_text(char *dst, size_t size, struct str s)
{
    snprintf(dst, size, "%.*s", STR_ARG(s));
}

static void take_status(struct pod_container *c, struct container_run *r, const struct cri_v1_container_status *st)
{
    r->state = st->state;
    r->created_ns = st->created_at;
    r->started_ns = st->started_at;
    r->finished_ns = st->finished_at;
    r->exit_code = st->exit_code;
    set_text(r->reason, sizeof(r->reason), st->reason);
    set_text(r->image, sizeof(r->image), st->image ? st->image->image : STR_EMPTY);
    set_text(r->image_ref, sizeof(r->image_ref), st->image_ref);
    if (r->state == CRI_V1_CONTAINER_STATE_CONTAINER_EXITED) {
        read_message(c, r, st->message);
    }
}

static void on_container(void *arg, const void *response, const struct err *err)
{
    struct status_call *s = arg;
    const struct cri_v1_container_status_response *r = response;
    s->call = NULL;
    if (!err && r->status) {
        take_status(s->c, s->run, r->status);
    } else if (err && err->code == ERR_NOT_FOUND) {
        bool *has = s->run == &s->c->run ? &s->c->has_run : &s->c->has_last;
        *has = false;
    }
    settle(s, !err || err->code == ERR_NOT_FOUND);
}

static void on_sandbox(void *arg, const void *response, const struct err *err)
{
    struct status_call *s = arg;
    const struct cri_v1_pod_sandbox_status_response *r = response;
    struct pod_sandbox *sb = &s->op->p->sandboxes[0];
    s->call = NULL;
    if (!err && r->status && r->status->network) {
        const struct cri_v1_pod_sandbox_network_status *n = r->status->network;
        sb->n_ips = 0;
        if (n->ip.len) {
            set_text(sb->ips[sb->n_ips++], sizeof(sb->ips[0]), n->ip);
        }
        if (n->ip.len && n->n_additional_ips) {
            set_text(sb->ips[sb->n_ips++], sizeof(sb->ips[0]), n->additional_ips[0].ip);
        }
        sb->has_status = true;
    }
    settle(s, !err || err->code == ERR_NOT_FOUND);
}

static struct status_call *status_call(struct read_op *op, struct pod_container *c, struct container_run *run)
{
    struct status_call *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    *s = (struct status_call){ .op = op, .c = c, .run = run };
    list_push_back(&op->statuses, &s->link);
    op->pending++;
    return s;
}

static void ask_container(struct read_op *op, struct pod_container *c, struct container_run *run)
{
    const struct cri_v1_container_status_request request = { .container_id = str_c(run->id) };
    struct status_call *s = status_call(op, c, run);
    s->call = runtime_call(op->p->k->rt, &cri_v1_runtime_service_container_status_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_container, s);
}

/* ---- lists ---- */

static struct str pair(const struct api_str_pair *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, key)) {
            return list[i].value;
        }
    }
    return STR_NULL;
}

static void add_dead(struct pod *p, struct str id, struct str name)
{
    struct dead_container *d = calloc(1, sizeof(*d));
    if (!d) {
        abort();
    }
    set_text(d->id, sizeof(d->id), id);
    set_text(d->name, sizeof(d->name), name);
    d->next = p->dead;
    p->dead = d;
}

static void clear_lists(struct pod *p)
{
    while (p->dead) {
        struct dead_container *d = p->dead;
        p->dead = d->next;
        free(d);
    }
    for (size_t i = 0; i < p->n_strangers; i++) {
        free(p->strangers[i]);
    }
    p->n_strangers = 0;
}

static struct pod_container *by_name(struct pod *p, struct str name)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        if (str_eq_c(name, p->containers[i]->name)) {
            return p->containers[i];
        }
    }
    return NULL;
}

/* Fills one run's record from the list; true when its status has to be asked for. */
static bool take_run(struct container_run *r, bool had, const struct cri_v1_container *c)
{
    if (had && str_eq_c(c->id, r->id) && r->state == c->state && r->created_ns) {
        return false;
    }
    uint64_t hash = 0;
    uint32_t attempt = c->metadata ? c->metadata->attempt : 0;
    (void)!str_to_u64(pair(c->annotations, c->n_annotations, "io.kubernetes.container.hash"), &hash);
    free(r->message);
    *r = (struct container_run){ .state = c->state, .attempt = attempt, .created_ns = c->created_at, .hash = hash };
    set_text(r->id, sizeof(r->id), c->id);
    set_text(r->sandbox, sizeof(r->sandbox), c->pod_sandbox_id);
    return true;
}

static int newest_first(const void *a, const void *b)
{
    const struct cri_v1_container *x = a, *y = b;
    if (x->created_at != y->created_at) {
        return x->created_at < y->created_at ? 1 : -1;
    }
    /* A runtime that tells whole seconds. */
    uint32_t m = x->metadata ? x->metadata->attempt : 0, n = y->metadata ? y->metadata->attempt : 0;
    return m < n ? 1 : m > n ? -1 : 0;
}

static void take_container(struct read_op *op, struct pod_container *c, const struct cri_v1_container **runs, size_t n)
{
    if (n == 0) {
        c->has_run = c->has_last = false;
        return;
    }
    if (c->has_run && !str_eq_c(runs[0]->id, c->run.id)) {
        /* A new run: what was the newest is now the one before. */
        free(c->last.message);
        c->last = c->run;
        c->has_last = true;
        c->run = (struct container_run){ 0 };
        c->has_run = false;
    }
    if (take_run(&c->run, c->has_run, runs[0])) {
        ask_container(op, c, &c->run);
    }
    c->has_run = true;
    c->restarts = (int32_t)MAX((uint32_t)c->restarts, c->run.attempt);
    if (n > 1) {
        if (take_run(&c->last, c->has_last, runs[1])) {
            ask_container(op, c, &c->last);
        }
        c->has_last = true;
    }
    for (size_t i = 2; i < n; i++) {
        add_dead(op->p, runs[i]->id, str_c(c->name));
    }
}

static void on_containers(void *arg, const void *response, const struct err *err)
{
    struct read_op *op = arg;
    struct pod *p = op->p;
    const struct cri_v1_list_containers_response *list = response;
    op->calls[1] = NULL;
    if (err) {
        op->failed = true;
        finish(op);
        return;
    }
    op->pending = 1; /* of this function */
    clear_lists(p);
    if (list->n_containers) {
        qsort(list->containers, list->n_containers, sizeof(*list->containers), newest_first);
    }
    for (size_t i = 0; i < p->n_containers; i++) {
        const struct cri_v1_container *runs[32];
        size_t n = 0;
        for (size_t j = 0; j < list->n_containers && n < ARRAY_SIZE(runs); j++) {
            const struct cri_v1_container *c = &list->containers[j];
            if (c->metadata && str_eq_c(c->metadata->name, p->containers[i]->name)) {
                runs[n++] = c;
            }
        }
        take_container(op, p->containers[i], runs, n);
    }
    for (size_t j = 0; j < list->n_containers; j++) {
        const struct cri_v1_container *c = &list->containers[j];
        if ((!c->metadata || !by_name(p, c->metadata->name)) && p->n_strangers < ARRAY_SIZE(p->strangers)) {
            p->strangers[p->n_strangers++] = strndup(c->id.ptr, c->id.len);
        }
    }
    if (p->n_sandboxes && p->sandboxes[0].ready && !p->sandboxes[0].has_status) {
        const struct cri_v1_pod_sandbox_status_request request = { .pod_sandbox_id = str_c(p->sandboxes[0].id) };
        struct status_call *s = status_call(op, NULL, NULL);
        s->call = runtime_call(p->k->rt, &cri_v1_runtime_service_pod_sandbox_status_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_sandbox, s);
    }
    if (--op->pending == 0) {
        finish(op);
    }
}

static int sandbox_newest_first(const void *a, const void *b)
{
    const struct cri_v1_pod_sandbox *x = a, *y = b;
    if (x->created_at != y->created_at) {
        return x->created_at < y->created_at ? 1 : -1;
    }
    uint32_t m = x->metadata ? x->metadata->attempt : 0, n = y->metadata ? y->metadata->attempt : 0;
    return m < n ? 1 : m > n ? -1 : 0;
}

static void take_sandboxes(struct pod *p, const struct cri_v1_list_pod_sandbox_response *list)
{
    struct pod_sandbox before = p->sandboxes[0];
    size_t n_before = p->n_sandboxes;
    if (list->n_items) {
        qsort(list->items, list->n_items, sizeof(*list->items), sandbox_newest_first);
    }
    p->n_sandboxes = 0;
    for (size_t i = 0; i < list->n_items && i < POD_MAX_SANDBOXES; i++) {
        const struct cri_v1_pod_sandbox *s = &list->items[i];
        struct pod_sandbox *to = &p->sandboxes[p->n_sandboxes++];
        if (i == 0 && n_before && str_eq_c(s->id, before.id)) {
            *to = before;
        } else {
            *to = (struct pod_sandbox){ .created_ns = s->created_at };
            set_text(to->id, sizeof(to->id), s->id);
        }
        to->attempt = s->metadata ? s->metadata->attempt : 0;
        to->ready = s->state == CRI_V1_POD_SANDBOX_STATE_SANDBOX_READY;
    }
}

static void on_sandboxes(void *arg, const void *response, const struct err *err)
{
    struct read_op *op = arg;
    struct api_str_pair uid;
    struct cri_v1_container_filter filter = { .n_label_selector = 1 };
    const struct cri_v1_list_containers_request request = { .filter = &filter };
    op->calls[0] = NULL;
    if (err) {
        op->failed = true;
        finish(op);
        return;
    }
    take_sandboxes(op->p, response);
    selector(op->p, &uid);
    filter.label_selector = &uid;
    op->calls[1] = runtime_call(op->p->k->rt, &cri_v1_runtime_service_list_containers_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_containers, op);
}

void pod_read(struct pod *p)
{
    struct api_str_pair uid;
    struct cri_v1_pod_sandbox_filter filter = { .n_label_selector = 1 };
    const struct cri_v1_list_pod_sandbox_request request = { .filter = &filter };
    struct read_op *op = calloc(1, sizeof(*op));
    if (!op) {
        abort();
    }
    op->p = p;
    list_init(&op->statuses);
    p->busy = true;
    p->stale = false;
    p->op = op;
    p->op_cancel = cancel;
    selector(p, &uid);
    filter.label_selector = &uid;
    op->calls[0] = runtime_call(p->k->rt, &cri_v1_runtime_service_list_pod_sandbox_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_sandboxes, op);
}
