/* The writing of what a decision means for claims: see volumes.h. */
#include <stdlib.h>

#include "api/json-writer.h"
#include "client/client.h"
#include "net/loop.h"
#include "scheduler/volumes.h"

#define BIND_TIMEOUT_MS 600000
/* Pods with late claims that are written or waited for at once. Further ones are told to try again. */
#define BINDINGS_MAX 1024

struct sched_volumes {
    struct client *client;
    struct loop *loop;
    struct informer *claims, *volumes, *classes;
    const struct api_resource *claims_resource, *volumes_resource;
    struct volume_view view;
    struct list bindings; /* struct volumes_binding */
    size_t n_bindings;
    sched_volumes_change_fn *on_change;
    void *data;
};

/* One claim of a pod, and what it gets. */
struct wanted {
    struct volumes_binding *b;
    struct str ns, name, uid, volume; /* in the arena; volume absent: a provisioner makes it */
    struct client_call *call;
};

struct volumes_binding {
    struct list link;
    struct sched_volumes *v;
    struct arena arena;
    struct wanted *wanted;
    size_t n;
    struct err err;
    bool failed;
    struct loop_task end;
    struct loop_timer timeout;
    sched_volumes_done_fn *done;
    void *data;
};

/* ---- the end ---- */

static void binding_free(struct volumes_binding *b)
{
    for (size_t i = 0; i < b->n; i++) {
        client_cancel(b->wanted[i].call);
    }
    loop_task_cancel(&b->end);
    loop_timer_stop(&b->timeout);
    list_remove(&b->link);
    b->v->n_bindings--;
    arena_deinit(&b->arena);
    free(b);
}

static void on_end(void *arg)
{
    struct volumes_binding *b = arg;
    sched_volumes_done_fn *done = b->done;
    void *data = b->data;
    struct sched_volumes *v = b->v;
    struct err err = b->err;
    bool failed = b->failed;
    binding_free(b);
    if (failed) {
        v->on_change(v->data, NULL); /* what was reserved is free */
    }
    done(data, failed ? &err : NULL);
}

static void fail(struct volumes_binding *b, const struct err *err)
{
    if (!b->failed) {
        b->failed = true;
        b->err = *err;
        loop_task_defer(&b->end);
    }
}

static void on_timeout(void *arg)
{
    struct err err;
    err_set(&err, ERR_TIMEOUT, "binding volumes: timed out waiting for the condition");
    fail(arg, &err);
}

static bool is_bound(const struct sched_volumes *v, const struct wanted *w)
{
    const volume_claim_t *c = informer_get(v->claims, w->ns, w->name);
    return c && str_eq(c->metadata.uid, w->uid) && c->spec.volume_name.len && volume_annotation(&c->metadata, VOLUME_BIND_COMPLETED).ptr;
}

/* Are all claims bound? A provisioner that gives up takes the node's name off the claim: then the pod is decided anew. */
static void look(struct volumes_binding *b)
{
    struct sched_volumes *v = b->v;
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct wanted *w = &b->wanted[i];
        const volume_claim_t *c = informer_get(v->claims, w->ns, w->name);
        struct err err;
        if (is_bound(v, w)) {
            n++;
        } else if (!c || !str_eq(c->metadata.uid, w->uid)) {
            err_set(&err, ERR_NOT_FOUND, "persistentvolumeclaim \"%.*s\" not found", STR_ARG(w->name));
            fail(b, &err);
        } else if (!w->call && !w->volume.len && !volume_annotation(&c->metadata, VOLUME_SELECTED_NODE).ptr) {
            err_set(&err, ERR_CONFLICT, "provisioning failed for PVC \"%.*s\"", STR_ARG(w->name));
            fail(b, &err);
        }
    }
    if (n == b->n) {
        loop_task_defer(&b->end);
    }
}

static void changed(struct sched_volumes *v, const volume_claim_t *claim)
{
    LIST_FOREACH(&v->bindings, struct volumes_binding, link, b) {
        look(b);
    }
    v->on_change(v->data, claim);
}

static void on_claim(void *data, const void *old, const void *obj)
{
    changed(data, obj ? obj : old);
}

static void on_object(void *data, const void *old UNUSED, const void *obj UNUSED)
{
    changed(data, NULL);
}

/* ---- writing ---- */

static void on_written(void *data, const struct client_answer *answer)
{
    struct wanted *w = data;
    struct volumes_binding *b = w->b;
    w->call = NULL;
    if (answer->err) {
        fail(b, answer->err);
        return;
    }
    informer_put(w->volume.len ? b->v->volumes : b->v->claims, answer->object);
    look(b);
}

/* A merge patch that holds only for the version that was looked at. */
static void begin_patch(struct buf *p, const struct meta_v1_object_meta *m, struct str key, struct str value)
{
    buf_init(p, 65536);
    buf_append_c(p, "{\"metadata\":{\"resourceVersion\":");
    json_write_string(p, m->resource_version);
    buf_append_c(p, ",\"uid\":");
    json_write_string(p, m->uid);
    if (key.len) {
        buf_append_c(p, ",\"annotations\":{");
        json_write_string(p, key);
        buf_append_char(p, ':');
        json_write_string(p, value);
        buf_append_char(p, '}');
    }
    buf_append_char(p, '}');
}

static void give(struct wanted *w, const volume_t *pv, const volume_claim_t *c)
{
    struct sched_volumes *v = w->b->v;
    CLEANUP(buf_deinit) struct buf p;
    begin_patch(&p, &pv->metadata, pv->spec.claim_ref ? STR_NULL : VOLUME_BOUND_BY_CONTROLLER, STR("yes"));
    buf_append_c(&p, ",\"spec\":{\"claimRef\":{\"kind\":\"PersistentVolumeClaim\",\"apiVersion\":\"v1\",\"namespace\":");
    json_write_string(&p, w->ns);
    buf_append_c(&p, ",\"name\":");
    json_write_string(&p, w->name);
    buf_append_c(&p, ",\"uid\":");
    json_write_string(&p, w->uid);
    buf_append_c(&p, ",\"resourceVersion\":");
    json_write_string(&p, c->metadata.resource_version);
    buf_append_c(&p, "}}}");
    struct client_target t = { .resource = v->volumes_resource, .name = w->volume };
    w->call = client_patch(v->client, &t, CLIENT_PATCH_MERGE, buf_str(&p), on_written, w);
}

static void ask_for_one(struct wanted *w, const volume_claim_t *c, const struct core_v1_node *node)
{
    struct sched_volumes *v = w->b->v;
    CLEANUP(buf_deinit) struct buf p;
    begin_patch(&p, &c->metadata, VOLUME_SELECTED_NODE, node->metadata.name);
    buf_append_char(&p, '}');
    struct client_target t = { .resource = v->claims_resource, .ns = w->ns, .name = w->name };
    w->call = client_patch(v->client, &t, CLIENT_PATCH_MERGE, buf_str(&p), on_written, w);
}

void sched_volumes_bind(struct sched_volumes *v, const struct core_v1_pod *pod, const struct core_v1_node *node,
                        sched_volumes_done_fn *done, void *data)
{
    struct volumes_binding *b = calloc(1, sizeof(*b));
    struct pod_claims claims;
    struct err err;
    if (!b) {
        abort();
    }
    *b = (struct volumes_binding){ .v = v, .done = done, .data = data };
    arena_init(&b->arena, ARENA_NO_BUDGET);
    loop_task_init(&b->end, v->loop, on_end, b);
    loop_timer_init(&b->timeout, v->loop, on_timeout, b);
    list_push_back(&v->bindings, &b->link);
    v->n_bindings++;
    struct str why = volumes_of_pod(&v->view, &b->arena, pod, &claims);
    const volume_t **chosen = arena_new_n(&b->arena, const volume_t *, claims.n_late);
    struct wanted *wanted = arena_new_n(&b->arena, struct wanted, claims.n_late);
    if (!chosen || !wanted) {
        abort();
    }
    if (v->n_bindings > BINDINGS_MAX || why.ptr || !volumes_choose(&v->view, &b->arena, &claims, node, chosen)) {
        err_set(&err, ERR_CONFLICT, "the volumes that were chosen are not free any more");
        fail(b, &err);
        return;
    }
    b->wanted = wanted;
    for (size_t i = 0; i < claims.n_late; i++) {
        const volume_claim_t *c = claims.late[i];
        wanted[i] = (struct wanted){ .b = b,
                                     .ns = arena_str(&b->arena, c->metadata.namespace),
                                     .name = arena_str(&b->arena, c->metadata.name),
                                     .uid = arena_str(&b->arena, c->metadata.uid),
                                     .volume = chosen[i] ? arena_str(&b->arena, chosen[i]->metadata.name) : STR_NULL };
        b->n++;
        bool written = chosen[i] ? volume_is_of(chosen[i], c) && chosen[i]->spec.claim_ref->uid.len
                                 : volume_annotation(&c->metadata, VOLUME_SELECTED_NODE).ptr != NULL;
        if (!written && chosen[i]) {
            give(&wanted[i], chosen[i], c);
        } else if (!written) {
            ask_for_one(&wanted[i], c, node);
        }
    }
    loop_timer_start(&b->timeout, BIND_TIMEOUT_MS);
    look(b);
}

/* ---- the view ---- */

static const volume_claim_t *view_claim(void *data, struct str ns, struct str name)
{
    return informer_get(((struct sched_volumes *)data)->claims, ns, name);
}

static const volume_t *view_volume(void *data, struct str name)
{
    return informer_get(((struct sched_volumes *)data)->volumes, STR_NULL, name);
}

static const volume_t *view_next(void *data, size_t *pos)
{
    return informer_next(((struct sched_volumes *)data)->volumes, pos);
}

static const struct storage_v1_storage_class *view_class(void *data, struct str name)
{
    return informer_get(((struct sched_volumes *)data)->classes, STR_NULL, name);
}

static bool view_is_reserved(void *data, const volume_t *pv)
{
    struct sched_volumes *v = data;
    LIST_FOREACH(&v->bindings, struct volumes_binding, link, b) {
        for (size_t i = 0; i < b->n; i++) {
            if (str_eq(b->wanted[i].volume, pv->metadata.name)) {
                return true;
            }
        }
    }
    return false;
}

const struct volume_view *sched_volumes_view(const struct sched_volumes *v)
{
    return &v->view;
}

struct sched_volumes *sched_volumes_new(struct informers *set, struct client *client, struct loop *loop, sched_volumes_change_fn *on_change,
                                        void *data)
{
    static const char *const claim_fields[] = { "metadata.annotations", "metadata.deletionTimestamp", "spec", "status.phase", NULL };
    static const char *const volume_fields[] = { "metadata.annotations", "metadata.labels",      "metadata.deletionTimestamp", "spec.capacity",
                                                 "spec.accessModes",     "spec.claimRef",        "spec.storageClassName",      "spec.volumeMode",
                                                 "spec.nodeAffinity",    "spec.volumeAttributesClassName", "status.phase",     NULL };
    static const char *const class_fields[] = { "provisioner", "volumeBindingMode", "allowedTopologies", NULL };
    struct sched_volumes *v = calloc(1, sizeof(*v));
    if (!v) {
        abort();
    }
    *v = (struct sched_volumes){
        .client = client,
        .loop = loop,
        .claims_resource = api_resource_find(STR(""), STR("v1"), STR("persistentvolumeclaims")),
        .volumes_resource = api_resource_find(STR(""), STR("v1"), STR("persistentvolumes")),
        .on_change = on_change,
        .data = data,
        .view = { .data = v, .claim = view_claim, .volume = view_volume, .next_volume = view_next, .class = view_class,
                  .is_reserved = view_is_reserved },
    };
    list_init(&v->bindings);
    struct informer_spec claims = { .resource = v->claims_resource, .fields = claim_fields };
    struct informer_spec volumes = { .resource = v->volumes_resource, .fields = volume_fields };
    struct informer_spec classes = { .resource = api_resource_find(STR("storage.k8s.io"), STR("v1"), STR("storageclasses")),
                                     .fields = class_fields };
    v->claims = informers_get(set, &claims, on_claim, v);
    v->volumes = informers_get(set, &volumes, on_object, v);
    v->classes = informers_get(set, &classes, on_object, v);
    return v;
}

struct sched_volumes *sched_volumes_free(struct sched_volumes *v)
{
    if (!v) {
        return NULL;
    }
    LIST_FOREACH(&v->bindings, struct volumes_binding, link, b) {
        binding_free(b);
    }
    free(v);
    return NULL;
}
