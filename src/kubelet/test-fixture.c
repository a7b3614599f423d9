#include "kubelet/test-fixture.h"

#include <stdlib.h>
#include <unistd.h>

#include "api/default.h"
#include "api/val-convert.h"
#include "api/yaml.h"
#include "base/clock.h"
#include "base/fs.h"

struct runtime_call {
    struct fake *f;
    struct loop_task task;
    struct arena a;
    void *response;
    struct err err;
    runtime_done_fn *done;
    void *arg;
};

static void answer(void *arg)
{
    struct runtime_call *c = arg;
    struct runtime_call copy = *c;
    free(c);
    copy.done(copy.arg, copy.response, copy.response ? NULL : &copy.err);
    arena_deinit(&copy.a);
}

static struct str label(const struct api_str_pair *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, key)) {
            return list[i].value;
        }
    }
    return STR_EMPTY;
}

static struct fake_container *find(struct fake *f, struct str id)
{
    for (size_t i = 0; i < f->n_containers; i++) {
        if (str_eq_c(id, f->containers[i].id)) {
            return &f->containers[i];
        }
    }
    return NULL;
}

static struct fake_sandbox *find_sandbox(struct fake *f, struct str id)
{
    for (size_t i = 0; i < f->n_sandboxes; i++) {
        if (str_eq_c(id, f->sandboxes[i].id)) {
            return &f->sandboxes[i];
        }
    }
    return NULL;
}

static int64_t tick(struct fake *f)
{
    struct api_time now;
    clock_real(&now.sec, &now.nsec);
    int64_t t = now.sec * 1000000000 + now.nsec;
    f->clock = MAX(f->clock + 1, t);
    return f->clock;
}

static void end(struct fake *f, struct fake_container *c, int code)
{
    if (c->state == CRI_V1_CONTAINER_STATE_CONTAINER_RUNNING) {
        c->state = CRI_V1_CONTAINER_STATE_CONTAINER_EXITED;
        c->exit_code = code;
        c->finished = tick(f);
    }
}

static void fill_list(struct fake *f, struct runtime_call *c, const struct cri_v1_list_containers_request *q)
{
    struct cri_v1_list_containers_response *r = c->response;
    r->containers = arena_new_n(&c->a, struct cri_v1_container, f->n_containers + 1);
    for (size_t i = 0; i < f->n_containers; i++) {
        struct fake_container *x = &f->containers[i];
        if (!x->id[0] || (q->filter && !str_eq_c(q->filter->label_selector[0].value, x->uid))) {
            continue;
        }
        struct cri_v1_container *o = &r->containers[r->n_containers++];
        o->id = str_c(x->id);
        o->pod_sandbox_id = str_c(x->sandbox);
        o->metadata = arena_new(&c->a, struct cri_v1_container_metadata);
        o->metadata->name = str_c(x->name);
        o->metadata->attempt = x->attempt;
        o->state = x->state;
        o->created_at = x->created;
        o->annotations = arena_new(&c->a, struct api_str_pair);
        o->annotations[o->n_annotations++] =
            (struct api_str_pair){ STR("io.kubernetes.container.hash"), arena_printf(&c->a, "%llu", (unsigned long long)x->hash) };
    }
}

static void fill_sandboxes(struct fake *f, struct runtime_call *c, const struct cri_v1_list_pod_sandbox_request *q)
{
    struct cri_v1_list_pod_sandbox_response *r = c->response;
    r->items = arena_new_n(&c->a, struct cri_v1_pod_sandbox, f->n_sandboxes + 1);
    for (size_t i = 0; i < f->n_sandboxes; i++) {
        struct fake_sandbox *x = &f->sandboxes[i];
        if (x->removed || (q->filter && !str_eq_c(q->filter->label_selector[0].value, x->uid))) {
            continue;
        }
        struct cri_v1_pod_sandbox *o = &r->items[r->n_items++];
        o->id = str_c(x->id);
        o->state = x->ready ? CRI_V1_POD_SANDBOX_STATE_SANDBOX_READY : CRI_V1_POD_SANDBOX_STATE_SANDBOX_NOTREADY;
        o->created_at = x->created;
        o->metadata = arena_new(&c->a, struct cri_v1_pod_sandbox_metadata);
        o->metadata->attempt = x->attempt;
    }
}

static void create(struct fake *f, struct runtime_call *c, const struct cri_v1_create_container_request *q)
{
    struct cri_v1_create_container_response *r = c->response;
    CHECK(f->n_containers < ARRAY_SIZE(f->containers));
    struct fake_container *x = &f->containers[f->n_containers++];
    snprintf(x->id, sizeof(x->id), "c%zu", f->n_containers);
    snprintf(x->sandbox, sizeof(x->sandbox), "%.*s", STR_ARG(q->pod_sandbox_id));
    snprintf(x->name, sizeof(x->name), "%.*s", STR_ARG(q->config->metadata->name));
    snprintf(x->uid, sizeof(x->uid), "%.*s", STR_ARG(label(q->config->labels, q->config->n_labels, "io.kubernetes.pod.uid")));
    x->attempt = q->config->metadata->attempt;
    x->created = tick(f);
    x->stop_timeout = -1;
    CHECK(str_to_u64(label(q->config->annotations, q->config->n_annotations, "io.kubernetes.container.hash"), &x->hash));
    r->container_id = str_c(x->id);
}

static void words(struct fake *f, struct str id, const char *what, bool in, bool out, bool error, bool tty)
{
    snprintf(f->exec_asked, sizeof(f->exec_asked), "%s%.*s%s%s%s%s%s", what[0] == '[' ? "" : what, STR_ARG(id), what[0] == '[' ? what + 1 : "", in ? " in" : "",
             out ? " out" : "", error ? " err" : "", tty ? " tty" : "");
}

/* exec, attach and port-forward: a URL each. */
static bool stream(struct fake *f, struct runtime_call *c, const struct api_rpc *rpc, const void *request)
{
    struct str url = str_c(f->stream_url);
    if (rpc == &cri_v1_runtime_service_exec_rpc) {
        const struct cri_v1_exec_request *q = request;
        char text[200] = "[ ";
        for (size_t i = 0, n = 2; i < q->n_cmd && n < sizeof(text); i++) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "[%.*s]", STR_ARG(q->cmd[i]));
        }
        words(f, q->container_id, text, q->stdin, q->stdout, q->stderr, q->tty);
        ((struct cri_v1_exec_response *)c->response)->url = url;
    } else if (rpc == &cri_v1_runtime_service_attach_rpc) {
        const struct cri_v1_attach_request *q = request;
        words(f, q->container_id, "attach ", q->stdin, q->stdout, q->stderr, q->tty);
        ((struct cri_v1_attach_response *)c->response)->url = url;
    } else if (rpc == &cri_v1_runtime_service_port_forward_rpc) {
        const struct cri_v1_port_forward_request *q = request;
        snprintf(f->exec_asked, sizeof(f->exec_asked), "forward %.*s %d", STR_ARG(q->pod_sandbox_id), q->n_port ? q->port[0] : 0);
        ((struct cri_v1_port_forward_response *)c->response)->url = url;
    } else {
        return false;
    }
    return true;
}

static struct cri_v1_uint64_value *figure(struct arena *a, uint64_t v)
{
    struct cri_v1_uint64_value *r = arena_new(a, struct cri_v1_uint64_value);
    CHECK(r != NULL);
    r->value = v;
    return r;
}

/* The same figures for every container that runs. */
static void fill_stats(struct fake *f, struct runtime_call *c)
{
    struct cri_v1_list_container_stats_response *r = c->response;
    r->stats = arena_new_n(&c->a, struct cri_v1_container_stats, f->n_containers + 1);
    for (size_t i = 0; i < f->n_containers; i++) {
        if (f->containers[i].state == CRI_V1_CONTAINER_STATE_CONTAINER_RUNNING) {
            struct cri_v1_container_stats *s = &r->stats[r->n_stats++];
            s->attributes = arena_new(&c->a, struct cri_v1_container_attributes);
            s->attributes->id = str_c(f->containers[i].id);
            s->cpu = arena_new(&c->a, struct cri_v1_cpu_usage);
            s->cpu->usage_core_nano_seconds = figure(&c->a, 2500000000);
            s->memory = arena_new(&c->a, struct cri_v1_memory_usage);
            s->memory->working_set_bytes = figure(&c->a, 5000);
        }
    }
}

static bool carry_out(struct fake *f, struct runtime_call *c, const struct api_rpc *rpc, const void *request)
{
    struct fake_container *x;
    struct fake_sandbox *s;
    if (rpc == &cri_v1_runtime_service_list_pod_sandbox_rpc) {
        fill_sandboxes(f, c, request);
    } else if (rpc == &cri_v1_runtime_service_list_containers_rpc) {
        fill_list(f, c, request);
    } else if (rpc == &cri_v1_runtime_service_container_status_rpc) {
        struct cri_v1_container_status_response *r = c->response;
        x = find(f, ((const struct cri_v1_container_status_request *)request)->container_id);
        if (!x) {
            return err_set(&c->err, ERR_NOT_FOUND, "no such container");
        }
        r->status = arena_new(&c->a, struct cri_v1_container_status);
        r->status->state = x->state;
        r->status->created_at = x->created;
        r->status->started_at = x->started;
        r->status->finished_at = x->finished;
        r->status->exit_code = x->exit_code;
    } else if (rpc == &cri_v1_runtime_service_run_pod_sandbox_rpc) {
        const struct cri_v1_run_pod_sandbox_request *q = request;
        s = &f->sandboxes[f->n_sandboxes++];
        snprintf(s->id, sizeof(s->id), "s%zu", f->n_sandboxes);
        snprintf(s->uid, sizeof(s->uid), "%.*s", STR_ARG(q->config->metadata->uid));
        s->ready = true;
        s->attempt = q->config->metadata->attempt;
        s->created = tick(f);
        ((struct cri_v1_run_pod_sandbox_response *)c->response)->pod_sandbox_id = str_c(s->id);
    } else if (rpc == &cri_v1_runtime_service_pod_sandbox_status_rpc) {
        struct cri_v1_pod_sandbox_status_response *r = c->response;
        r->status = arena_new(&c->a, struct cri_v1_pod_sandbox_status);
        r->status->network = arena_new(&c->a, struct cri_v1_pod_sandbox_network_status);
        r->status->network->ip = STR("10.9.0.7");
    } else if (rpc == &cri_v1_runtime_service_stop_pod_sandbox_rpc || rpc == &cri_v1_runtime_service_remove_pod_sandbox_rpc) {
        struct str id = ((const struct cri_v1_stop_pod_sandbox_request *)request)->pod_sandbox_id;
        s = find_sandbox(f, id);
        s->ready = false;
        for (size_t i = 0; i < f->n_containers; i++) {
            if (str_eq_c(id, f->containers[i].sandbox)) {
                end(f, &f->containers[i], 137);
                if (rpc == &cri_v1_runtime_service_remove_pod_sandbox_rpc) {
                    f->containers[i].id[0] = '\0';
                }
            }
        }
        s->removed = rpc == &cri_v1_runtime_service_remove_pod_sandbox_rpc;
    } else if (rpc == &cri_v1_runtime_service_create_container_rpc) {
        create(f, c, request);
    } else if (rpc == &cri_v1_runtime_service_start_container_rpc) {
        x = find(f, ((const struct cri_v1_start_container_request *)request)->container_id);
        x->state = CRI_V1_CONTAINER_STATE_CONTAINER_RUNNING;
        x->started = tick(f);
    } else if (rpc == &cri_v1_runtime_service_stop_container_rpc) {
        const struct cri_v1_stop_container_request *q = request;
        x = find(f, q->container_id);
        x->stop_timeout = q->timeout;
        end(f, x, 143);
    } else if (rpc == &cri_v1_runtime_service_remove_container_rpc) {
        x = find(f, ((const struct cri_v1_remove_container_request *)request)->container_id);
        x->id[0] = '\0';
    } else if (rpc == &cri_v1_runtime_service_exec_sync_rpc) {
        const struct cri_v1_exec_sync_request *q = request;
        ((struct cri_v1_exec_sync_response *)c->response)->exit_code = q->n_cmd && f->exec_fails.len && str_eq(q->cmd[0], f->exec_fails) ? 1 : 0;
    } else if (rpc == &cri_v1_image_service_image_status_rpc) {
        struct cri_v1_image_status_response *r = c->response;
        r->image = f->no_image ? NULL : arena_new(&c->a, struct cri_v1_image);
        if (r->image) {
            r->image->id = STR("sha256:1");
        }
    } else if (rpc == &cri_v1_runtime_service_list_container_stats_rpc) {
        fill_stats(f, c);
    } else if (!f->stream_url[0] || !stream(f, c, rpc, request)) {
        return err_set(&c->err, ERR_UNAVAILABLE, "%.*s is not to be had", STR_ARG(rpc->path));
    }
    return true;
}

static struct runtime_call *fake_call(struct runtime *rt, const struct api_rpc *rpc, const void *request, uint64_t timeout_ms UNUSED,
                                      runtime_done_fn *done, void *arg)
{
    struct fake *f = CONTAINER_OF(rt, struct fake, base);
    struct runtime_call *c = calloc(1, sizeof(*c));
    CHECK(c != NULL);
    *c = (struct runtime_call){ .f = f, .done = done, .arg = arg };
    arena_init(&c->a, 1u << 20);
    c->response = arena_alloc(&c->a, rpc->response->size);
    f->calls++;
    if (f->hold_pulls && rpc == &cri_v1_image_service_pull_image_rpc) {
        CHECK(f->n_pulls < ARRAY_SIZE(f->pulls));
        f->pulls[f->n_pulls++] = c;
        loop_task_init(&c->task, f->loop, answer, c);
        return c;
    }
    if (!carry_out(f, c, rpc, request)) {
        c->response = NULL;
    }
    loop_task_init(&c->task, f->loop, answer, c);
    loop_task_defer(&c->task);
    return c;
}

static void drop_pull(struct fake *f, const struct runtime_call *c)
{
    for (size_t i = 0; i < f->n_pulls; i++) {
        if (f->pulls[i] == c) {
            memmove(&f->pulls[i], &f->pulls[i + 1], (--f->n_pulls - i) * sizeof(f->pulls[0]));
        }
    }
}

static void fake_cancel(struct runtime_call *c)
{
    drop_pull(c->f, c);
    loop_task_cancel(&c->task);
    arena_deinit(&c->a);
    free(c);
}

static void fake_free(struct runtime *rt UNUSED)
{
}

void fixture_init(struct fixture *f)
{
    static const struct runtime_ops ops = { fake_call, fake_cancel, fake_free };
    struct err err = { 0 };
    memset(f, 0, sizeof(*f));
    arena_init(&f->a, 16u << 20);
    snprintf(f->dir, sizeof(f->dir), "/tmp/coracle-test-kubelet-XXXXXX");
    CHECK(mkdtemp(f->dir));
    f->cfg = (struct kubelet_config){ .sync_ms = 60000, .cluster_domain = STR("cluster.local"), .cgroup_driver = STR("cgroupfs"), .max_pods = 110 };
    f->fake.base.ops = &ops;
    f->fake.loop = f->k.loop = loop_new(&err);
    CHECK_OK(f->k.loop, &err);
    f->k.cfg = &f->cfg;
    f->k.rt = &f->fake.base;
    f->k.cpu_milli = 2000;
    f->k.memory_bytes = 1ll << 30;
    f->k.max_pods = 110;
    snprintf(f->k.node_name, sizeof(f->k.node_name), "n1");
    snprintf(f->k.node_ip, sizeof(f->k.node_ip), "192.0.2.1");
    snprintf(f->k.root, sizeof(f->k.root), "%s/root", f->dir);
    snprintf(f->k.logs, sizeof(f->k.logs), "%s/logs", f->dir);
    CHECK(fs_mkdirs(f->k.root, 0755, &err) && fs_mkdirs(f->k.logs, 0755, &err));
    map_init(&f->k.pods);
    f->k.objects = objects_new(&f->k);
    CHECK_OK(checkpoint_prepare(&f->k, &err), &err);
    f->k.runtime_up = true;
}

void fixture_deinit(struct fixture *f)
{
    pods_free(&f->k);
    objects_free(f->k.objects);
    loop_free(f->k.loop);
    (void)!fs_remove_tree(f->dir, NULL);
    arena_deinit(&f->a);
}

void fixture_pulled(struct fixture *f)
{
    struct runtime_call *c = f->fake.pulls[0];
    CHECK(f->fake.n_pulls > 0);
    drop_pull(&f->fake, c);
    f->fake.no_image = false;
    loop_task_defer(&c->task);
    fixture_settle(f);
}

struct pod *fixture_pod(struct fixture *f, const char *yaml)
{
    struct val doc;
    struct err err = { 0 };
    struct core_v1_pod *o = arena_new(&f->a, struct core_v1_pod);
    CHECK_OK(yaml_parse(&f->a, str_c(yaml), NULL, &doc, &err), &err);
    CHECK_OK(api_from_val(&f->a, &core_v1_pod_type, &doc, NULL, o, &err), &err);
    CHECK(api_default(&f->a, &core_v1_pod_type, o, NULL));
    if (!o->metadata.uid.len) {
        o->metadata.uid = STR("uid-1");
    }
    if (!o->metadata.namespace.len) {
        o->metadata.namespace = STR("default");
    }
    pods_set(&f->k, o, POD_FROM_API);
    return pods_find(&f->k, o->metadata.uid);
}

void fixture_settle(struct fixture *f)
{
    /* Tasks add tasks: a turn that made no call and woke nobody is the end. */
    for (unsigned quiet = 0, i = 0; quiet < 3 && i < 2000; i++) {
        unsigned before = f->fake.calls;
        loop_turn(f->k.loop, 0);
        quiet = f->fake.calls == before ? quiet + 1 : 0;
    }
}

struct fake_container *fixture_run(struct fixture *f, const char *name)
{
    struct fake_container *newest = NULL;
    for (size_t i = 0; i < f->fake.n_containers; i++) {
        struct fake_container *c = &f->fake.containers[i];
        if (c->id[0] && strcmp(c->name, name) == 0) {
            newest = c;
        }
    }
    return newest;
}

void fixture_exit(struct fixture *f, struct pod *p, const char *name, int code)
{
    end(&f->fake, fixture_run(f, name), code);
    p->stale = true;
    pod_wake(p);
    fixture_settle(f);
}

const struct core_v1_pod_status *fixture_status(struct fixture *f, struct pod *p)
{
    const struct core_v1_pod_status *s = pod_status_of(p, &f->a);
    CHECK(s != NULL);
    return s;
}
