/* Two operations of a pod: making its sandbox, and starting one container. */
#include "kubelet/objects.h"

#include <stdlib.h>
#include <unistd.h>

#include "api/gen/node_v1.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/client.h"
#include "kubelet/image-auth.h"

/* ---- the sandbox ---- */

struct sandbox_op {
    struct pod *p;
    struct runtime_call *call;
    struct client_call *class_call;
    char handler[64]; /* of the RuntimeClass */
    uint32_t attempt;
};

static void sandbox_cancel(void *arg)
{
    struct sandbox_op *op = arg;
    runtime_cancel(op->p->k->rt, op->call);
    client_cancel(op->class_call);
    free(op);
}

static void sandbox_failed(struct pod *p, const char *why)
{
    uint64_t now = loop_now_ms(p->k->loop);
    p->sandbox_backoff_ms = p->sandbox_backoff_ms ? MIN(p->sandbox_backoff_ms * 2, (uint64_t)60000) : KUBELET_SANDBOX_RETRY_MS;
    p->sandbox_not_before_ms = now + p->sandbox_backoff_ms;
    snprintf(p->sandbox_error, sizeof(p->sandbox_error), "%.500s", why);
    pod_event(p, NULL, "Warning/FailedCreatePodSandBox", "Failed to create pod sandbox: %s", why);
}

static void on_sandbox(void *arg, const void *response UNUSED, const struct err *err)
{
    struct sandbox_op *op = arg;
    struct pod *p = op->p;
    if (err) {
        sandbox_failed(p, err->msg);
    } else {
        p->sandbox_backoff_ms = 0;
        p->sandbox_error[0] = '\0';
    }
    free(op);
    pod_op_done(p, true);
}

static void run_sandbox(struct sandbox_op *op)
{
    struct pod *p = op->p;
    struct arena a;
    struct err err = { 0 };
    struct cri_v1_pod_sandbox_config config;
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    cgroup_make_pod(p);
    if (!sandbox_config(p, &a, op->attempt, &config, &err)) {
        sandbox_failed(p, err.msg);
        arena_deinit(&a);
        free(op);
        pod_op_done(p, false);
        return;
    }
    const struct cri_v1_run_pod_sandbox_request request = { .config = &config, .runtime_handler = str_c(op->handler) };
    op->call = runtime_call(p->k->rt, &cri_v1_runtime_service_run_pod_sandbox_rpc, &request, KUBELET_SANDBOX_TIMEOUT_MS, on_sandbox, op);
    arena_deinit(&a);
}

static void on_class(void *data, const struct client_answer *answer)
{
    struct sandbox_op *op = data;
    struct pod *p = op->p;
    char why[256];
    op->class_call = NULL;
    if (!p->obj) {
        free(op);
        pod_op_done(p, true);
        return;
    }
    if (answer->err) {
        snprintf(why, sizeof(why), "RuntimeClass \"%.*s\": %.150s", STR_ARG(p->obj->spec.runtime_class_name), answer->err->msg);
        sandbox_failed(p, why);
        free(op);
        pod_op_done(p, false);
        return;
    }
    const struct node_v1_runtime_class *c = answer->object;
    snprintf(op->handler, sizeof(op->handler), "%.*s", STR_ARG(c->handler));
    run_sandbox(op);
}

/* A RuntimeClass names the runtime's handler (KEP-585). */
static void choose_handler(struct sandbox_op *op)
{
    struct pod *p = op->p;
    struct str class = p->obj->spec.runtime_class_name;
    if (!class.len) {
        run_sandbox(op);
        return;
    }
    if (!p->k->client) {
        sandbox_failed(p, "runtimeClassName needs an apiserver to tell the handler");
        free(op);
        pod_op_done(p, false);
        return;
    }
    const struct client_target t = { .resource = api_resource_find(STR("node.k8s.io"), STR("v1"), STR("runtimeclasses")), .name = class };
    op->class_call = client_get(p->k->client, &t, on_class, op);
}

static void on_old_stopped(void *arg, const void *response UNUSED, const struct err *err UNUSED)
{
    struct sandbox_op *op = arg;
    op->call = NULL;
    choose_handler(op);
}

void pod_start_sandbox(struct pod *p)
{
    struct sandbox_op *op = calloc(1, sizeof(*op));
    if (!op) {
        abort();
    }
    op->p = p;
    p->busy = true;
    p->op = op;
    p->op_cancel = sandbox_cancel;
    if (p->n_sandboxes) {
        /* The old one's address and network are given back first. */
        const struct cri_v1_stop_pod_sandbox_request request = { .pod_sandbox_id = str_c(p->sandboxes[0].id) };
        op->attempt = p->sandboxes[0].attempt + 1;
        pod_event(p, NULL, "Normal/SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        op->call = runtime_call(p->k->rt, &cri_v1_runtime_service_stop_pod_sandbox_rpc, &request, KUBELET_SANDBOX_TIMEOUT_MS, on_old_stopped, op);
        return;
    }
    choose_handler(op);
}

/* ---- a container ---- */

struct start_op {
    struct pod *p;
    struct pod_container *c;
    struct runtime_call *call;
    struct objects_fetch *fetch;
    struct arena a;
    struct cri_v1_image *image; /* in the arena */
    uint32_t attempt;
    char id[CRI_ID_SIZE];
    uint64_t pull_begun_ms;
    struct start_op *next_pull; /* the one that pulls after this */
};

static void pull_begin(struct start_op *op);

/* --serialize-image-pulls: one at a time, in the order of asking. */
static void pull_enter(struct start_op *op)
{
    struct start_op **at = &op->p->k->pulls;
    bool first = !*at;
    if (!op->p->k->cfg->serialize_pulls) {
        pull_begin(op);
        return;
    }
    while (*at) {
        at = &(*at)->next_pull;
    }
    *at = op;
    if (first) {
        pull_begin(op);
    }
}

/* It does not pull or wait any more; the next one begins. */
static void pull_leave(struct start_op *op)
{
    struct kubelet *k = op->p->k;
    bool first = k->pulls == op;
    for (struct start_op **at = &k->pulls; *at; at = &(*at)->next_pull) {
        if (*at == op) {
            *at = op->next_pull;
            op->next_pull = NULL;
            break;
        }
    }
    if (first && k->pulls) {
        pull_begin(k->pulls);
    }
}

static void start_cancel(void *arg)
{
    struct start_op *op = arg;
    runtime_cancel(op->p->k->rt, op->call);
    objects_fetch_cancel(op->fetch);
    pull_leave(op);
    arena_deinit(&op->a);
    free(op);
}

static void start_done(struct start_op *op, bool stale)
{
    struct pod *p = op->p;
    start_cancel(op);
    pod_op_done(p, stale);
}

static void note(struct pod_container *c, const char *reason, const char *message)
{
    snprintf(c->waiting_reason, sizeof(c->waiting_reason), "%s", reason);
    snprintf(c->waiting_message, sizeof(c->waiting_message), "%.510s", message);
}

/* Something before the start failed: tell it and try again in a while. */
static void start_failed(struct start_op *op, const char *reason, const char *message, bool stale)
{
    struct pod_container *c = op->c;
    note(c, reason, message);
    pod_event(op->p, c, "Warning/Failed", "Error: %s", message);
    c->not_before_ms = loop_now_ms(op->p->k->loop) + 5000;
    start_done(op, stale);
}

static void link_log(struct pod_container *c, const char *id, uint32_t attempt)
{
    char dir[PATH_MAX], target[PATH_MAX], link[PATH_MAX];
    if (strcmp(c->pod->k->logs, "/var/log/pods") != 0 || !fs_mkdirs("/var/log/containers", 0755, NULL)) {
        return;
    }
    pod_log_dir(c->pod, dir);
    snprintf(target, sizeof(target), "%.3000s/%s/%u.log", dir, c->name, attempt);
    snprintf(link, sizeof(link), "/var/log/containers/%s_%s_%s-%s.log", c->pod->name, c->pod->ns, c->name, id);
    (void)!symlink(target, link);
}

static void on_started(void *arg, const void *response UNUSED, const struct err *err)
{
    struct start_op *op = arg;
    struct pod_container *c = op->c;
    op->call = NULL;
    if (err) {
        c->restarts = (int32_t)MAX((uint32_t)c->restarts, op->attempt);
        start_failed(op, "RunContainerError", err->msg, true);
        return;
    }
    link_log(c, op->id, op->attempt);
    c->waiting_reason[0] = '\0';
    c->waiting_message[0] = '\0';
    c->post_start_done = false;
    snprintf(c->started_here, sizeof(c->started_here), "%s", op->id);
    c->backoff_ms = op->attempt == 0 ? 0 : c->backoff_ms ? MIN(c->backoff_ms * 2, (uint64_t)KUBELET_BACKOFF_MAX_MS) : KUBELET_BACKOFF_MIN_MS;
    pod_event(op->p, c, "Normal/Started", "Container started");
    start_done(op, true);
}

static void on_created(void *arg, const void *response, const struct err *err)
{
    struct start_op *op = arg;
    const struct cri_v1_create_container_response *r = response;
    op->call = NULL;
    if (err) {
        start_failed(op, "CreateContainerError", err->msg, true);
        return;
    }
    const struct cri_v1_start_container_request request = { .container_id = r->container_id };
    snprintf(op->id, sizeof(op->id), "%.*s", STR_ARG(r->container_id));
    pod_event(op->p, op->c, "Normal/Created", "Container created");
    op->call = runtime_call(op->p->k->rt, &cri_v1_runtime_service_start_container_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_started, op);
}

static void create(struct start_op *op)
{
    struct pod *p = op->p;
    struct pod_container *c = op->c;
    struct api_str_pair *envs;
    size_t n_envs;
    struct err err = { 0 };
    struct cri_v1_container_config config;
    struct cri_v1_pod_sandbox_config sandbox;
    const struct pod_sandbox *sb = pod_ready_sandbox(p);
    if (!sb || !c->spec) {
        start_done(op, true);
        return;
    }
    op->attempt = c->has_run ? MAX(c->run.attempt + 1, (uint32_t)c->restarts + 1) : 0;
    if (!env_build(c, &op->a, &envs, &n_envs, &err) || !container_config(c, &op->a, envs, n_envs, op->image, op->attempt, &config, &err) ||
        !sandbox_config(p, &op->a, sb->attempt, &sandbox, &err)) {
        start_failed(op, "CreateContainerConfigError", err.msg, false);
        return;
    }
    const struct cri_v1_create_container_request request = { str_c(sb->id), &config, &sandbox };
    op->call = runtime_call(p->k->rt, &cri_v1_runtime_service_create_container_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_created, op);
}

/* ---- the image ---- */

static void on_needs(void *arg, const struct err *err)
{
    struct start_op *op = arg;
    op->fetch = NULL;
    if (err) {
        start_failed(op, "CreateContainerConfigError", err->msg, false);
        return;
    }
    create(op);
}

static void image_ready(struct start_op *op)
{
    struct object_need needs[OBJECT_NEEDS_MAX];
    op->c->pull_backoff_ms = 0;
    op->c->pull_error[0] = '\0';
    size_t n = env_needs(op->c->spec, needs, ARRAY_SIZE(needs));
    if (n == 0) {
        create(op);
        return;
    }
    op->fetch = objects_fetch(op->p->k->objects, op->p, needs, n, 5000, on_needs, op);
}

static struct str policy_of(const struct core_v1_container *s)
{
    if (s->image_pull_policy.len) {
        return s->image_pull_policy;
    }
    return str_ends(s->image, STR(":latest")) ? STR("Always") : STR("IfNotPresent");
}

static void keep_image(struct start_op *op, const struct cri_v1_image *image)
{
    op->image = arena_new(&op->a, struct cri_v1_image);
    if (op->image) {
        op->image->id = arena_str(&op->a, image->id);
        op->image->username = arena_str(&op->a, image->username);
        if (image->uid && (op->image->uid = arena_new(&op->a, struct cri_v1_int64_value))) {
            op->image->uid->value = image->uid->value;
        }
    }
}

static void pull_failed(struct start_op *op, const char *why)
{
    struct pod_container *c = op->c;
    uint64_t now = loop_now_ms(op->p->k->loop);
    char message[512];
    c->pull_backoff_ms = c->pull_backoff_ms ? MIN(c->pull_backoff_ms * 2, (uint64_t)KUBELET_BACKOFF_MAX_MS) : KUBELET_BACKOFF_MIN_MS;
    c->pull_not_before_ms = now + c->pull_backoff_ms;
    snprintf(c->pull_error, sizeof(c->pull_error), "%.510s", why);
    snprintf(message, sizeof(message), "failed to pull image \"%.*s\": %.380s", STR_ARG(c->spec->image), why);
    note(c, "ErrImagePull", message);
    pod_event(op->p, c, "Warning/Failed", "Failed to pull image \"%.*s\": %.600s", STR_ARG(c->spec->image), why);
    pod_event(op->p, c, "Warning/Failed", "Error: ErrImagePull");
    start_done(op, false);
}

static void on_image_again(void *arg, const void *response, const struct err *err)
{
    struct start_op *op = arg;
    const struct cri_v1_image_status_response *r = response;
    op->call = NULL;
    if (err || !r->image) {
        pull_failed(op, err ? err->msg : "the image is not there after it was pulled");
        return;
    }
    keep_image(op, r->image);
    image_ready(op);
}

static void ask_image(struct start_op *op, runtime_done_fn *done)
{
    struct cri_v1_image_spec spec = { .image = op->c->spec->image };
    const struct cri_v1_image_status_request request = { .image = &spec };
    op->call = runtime_call(op->p->k->rt, &cri_v1_image_service_image_status_rpc, &request, KUBELET_CRI_TIMEOUT_MS, done, op);
}

static void on_pulled(void *arg, const void *response UNUSED, const struct err *err)
{
    struct start_op *op = arg;
    struct pod *p = op->p;
    op->call = NULL;
    pull_leave(op);
    if (!op->c->spec) {
        start_done(op, true);
        return;
    }
    if (err) {
        pull_failed(op, err->msg);
        return;
    }
    loop_update_now(p->k->loop);
    pod_event(p, op->c, "Normal/Pulled", "Successfully pulled image \"%.*s\" in %llums", STR_ARG(op->c->spec->image),
              (unsigned long long)(loop_now_ms(p->k->loop) - op->pull_begun_ms));
    ask_image(op, on_image_again);
}

/* The credentials of the first pull secret that knows the image's registry. */
static bool find_auth(struct start_op *op, struct cri_v1_auth_config *ret)
{
    const struct core_v1_pod_spec *s = &op->p->obj->spec;
    for (size_t i = 0; i < s->n_image_pull_secrets; i++) {
        const struct core_v1_secret *secret = objects_secret(op->p->k->objects, str_c(op->p->ns), s->image_pull_secrets[i].name);
        if (secret && image_auth_find(&op->a, secret, op->c->spec->image, ret)) {
            return true;
        }
    }
    return false;
}

static void pull_begin(struct start_op *op)
{
    struct pod *p = op->p;
    if (!op->c->spec) {
        start_done(op, true);
        return;
    }
    struct cri_v1_image_spec spec = { .image = op->c->spec->image };
    struct cri_v1_pod_sandbox_config sandbox;
    struct cri_v1_auth_config auth;
    struct err err = { 0 };
    const struct pod_sandbox *sb = pod_ready_sandbox(p);
    if (!sandbox_config(p, &op->a, sb ? sb->attempt : 0, &sandbox, &err)) {
        pull_failed(op, err.msg);
        return;
    }
    const struct cri_v1_pull_image_request request = { .image = &spec, .sandbox_config = &sandbox, .auth = find_auth(op, &auth) ? &auth : NULL };
    op->pull_begun_ms = loop_now_ms(p->k->loop);
    pod_event(p, op->c, "Normal/Pulling", "Pulling image \"%.*s\"", STR_ARG(spec.image));
    op->call = runtime_call(p->k->rt, &cri_v1_image_service_pull_image_rpc, &request, 0, on_pulled, op);
}

static void on_pull_secrets(void *arg, const struct err *err UNUSED)
{
    struct start_op *op = arg;
    op->fetch = NULL;
    if (!op->c->spec) {
        start_done(op, true);
        return;
    }
    pull_enter(op); /* a secret that is not there is no error: the registry may let anybody in */
}

static void pull(struct start_op *op)
{
    const struct core_v1_pod_spec *s = &op->p->obj->spec;
    struct object_need needs[OBJECT_NEEDS_MAX];
    size_t n = 0;
    op->p->op_soft = true;
    if (op->c->pull_error[0] && strcmp(op->c->waiting_reason, "ImagePullBackOff") == 0) {
        op->c->waiting_reason[0] = '\0';
    }
    for (size_t i = 0; i < s->n_image_pull_secrets && n < ARRAY_SIZE(needs); i++) {
        needs[n++] = (struct object_need){ .kind = OBJECT_SECRET, .name = s->image_pull_secrets[i].name, .optional = true };
    }
    if (n == 0) {
        pull_enter(op);
        return;
    }
    op->fetch = objects_fetch(op->p->k->objects, op->p, needs, n, 60000, on_pull_secrets, op);
}

static void on_image(void *arg, const void *response, const struct err *err)
{
    struct start_op *op = arg;
    struct pod_container *c = op->c;
    const struct cri_v1_image_status_response *r = response;
    char message[512];
    op->call = NULL;
    if (!c->spec) {
        start_done(op, true);
        return;
    }
    if (err) {
        snprintf(message, sizeof(message), "Failed to inspect image \"%.*s\": %.380s", STR_ARG(c->spec->image), err->msg);
        start_failed(op, err->code == ERR_BAD_REQUEST || err->code == ERR_INVALID ? "InvalidImageName" : "ImageInspectError", message, false);
        return;
    }
    bool never = str_eq_c(policy_of(c->spec), "Never"), always = str_eq_c(policy_of(c->spec), "Always");
    if (r->image && !always) {
        keep_image(op, r->image);
        pod_event(op->p, c, "Normal/Pulled", "Container image \"%.*s\" already present on machine", STR_ARG(c->spec->image));
        image_ready(op);
    } else if (never) {
        snprintf(message, sizeof(message), "Container image \"%.*s\" is not present with pull policy of Never", STR_ARG(c->spec->image));
        pod_event(op->p, c, "Warning/ErrImageNeverPull", "%s", message);
        start_failed(op, "ErrImageNeverPull", message, false);
    } else {
        pull(op);
    }
}

void pod_start_container(struct pod_container *c)
{
    struct pod *p = c->pod;
    struct start_op *op = calloc(1, sizeof(*op));
    if (!op) {
        abort();
    }
    op->p = p;
    op->c = c;
    arena_init(&op->a, KUBELET_MAX_WORK_ARENA);
    p->busy = true;
    p->op = op;
    p->op_cancel = start_cancel;
    p->op_soft = false;
    ask_image(op, on_image);
}
