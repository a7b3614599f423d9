/*
 * persistentvolumeclaim-protection and persistentvolume-protection: what is in use is not taken away ("Storage Object in Use
 * Protection"). Claims and volumes are born with a finalizer (or get it here); once they are being deleted it is taken off when no
 * pod on a node names the claim, and when no claim has the volume.
 */
#include <stdlib.h>

#include "api/decode-json.h"
#include "api/gen/core_v1.h"
#include "base/log.h"
#include "base/map.h"
#include "client/client.h"
#include "controllers/controllers.h"
#include "controllers/setup.h"
#include "controllers/volume-facts.h"

#define CLAIM_FINALIZER STR("kubernetes.io/pvc-protection")
#define VOLUME_FINALIZER STR("kubernetes.io/pv-protection")

struct state {
    struct controller *controller;
    const struct api_resource *resource;
    struct informer *objects, *pods;
    struct informer_index *pods_by_claim;
    struct map looks; /* of claims that are about to go: key -> struct look */
};

/* ---- which pods use which claims ---- */

void claim_key(struct str ns, struct str claim, char dst[600])
{
    snprintf(dst, 600, "%.*s/%.*s", STR_ARG(ns), STR_ARG(claim));
}

static void by_claim(const struct api_type *type UNUSED, const void *obj, void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct core_v1_pod *pod = obj;
    for (size_t i = 0; i < pod->spec.n_volumes; i++) {
        const struct core_v1_persistent_volume_claim_volume_source *c = pod->spec.volumes[i].volume_source.persistent_volume_claim;
        char key[600];
        if (c) {
            claim_key(pod->metadata.namespace, c->claim_name, key);
            emit(ctx, str_c(key));
        }
    }
}

struct informer *pods_with_claims(struct informers *informers, informer_event_fn *on_event, void *data, struct informer_index **ret_by_claim)
{
    static const char *const fields[] = { "metadata.deletionTimestamp", "spec.nodeName", "spec.volumes?.persistentVolumeClaim.claimName", NULL };
    struct informer *i = informer_of(informers, "", "pods", fields, on_event, data);
    *ret_by_claim = informer_index(i, "claims", by_claim);
    return i;
}

/* ---- finalizers ---- */

static bool has_finalizer(const struct meta_v1_object_meta *m, struct str finalizer)
{
    for (size_t i = 0; i < m->n_finalizers; i++) {
        if (str_eq(m->finalizers[i], finalizer)) {
            return true;
        }
    }
    return false;
}

static void write_finalizer(struct state *s, struct actions *a, const void *obj, struct str finalizer, bool wanted)
{
    struct arena *arena = act_arena(a);
    const struct api_type *type = s->resource->type;
    void *copy = arena_alloc(arena, type->size);
    if (!copy) {
        abort();
    }
    memcpy(copy, obj, type->size); /* what is below stays shared: only the list is replaced */
    struct meta_v1_object_meta *m = meta_of_mut(type, copy);
    struct str *all = arena_new_n(arena, struct str, m->n_finalizers + 1);
    size_t n = 0;
    if (!all) {
        abort();
    }
    for (size_t i = 0; i < m->n_finalizers; i++) {
        if (!str_eq(m->finalizers[i], finalizer)) {
            all[n++] = m->finalizers[i];
        }
    }
    if (wanted) {
        all[n++] = finalizer;
    }
    m->finalizers = n ? all : NULL;
    m->n_finalizers = n;
    act_update(a, s->resource, copy);
    act_tolerate(a, ERR_NOT_FOUND);
}

static void protect(struct state *s, struct actions *a, const void *obj, struct str finalizer, bool in_use)
{
    const struct meta_v1_object_meta *m = meta_of(s->resource->type, obj);
    bool has = has_finalizer(m, finalizer), deleting = m->deletion_timestamp.set;
    if (deleting ? has && !in_use : !has) {
        write_finalizer(s, a, obj, finalizer, !deleting);
    }
}

static struct state *state_of(struct controller *c, struct informers *informers, const char *resource)
{
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    s->objects = informer_of_keys(c, informers, "", resource, whole_objects);
    s->resource = informer_resource(s->objects);
    return s;
}

/* ---- claims ---- */

static void on_pod(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_pod *pod = obj ? obj : old;
    for (size_t i = 0; i < pod->spec.n_volumes; i++) {
        const struct core_v1_persistent_volume_claim_volume_source *c = pod->spec.volumes[i].volume_source.persistent_volume_claim;
        char key[600];
        if (c) {
            claim_key(pod->metadata.namespace, c->claim_name, key);
            controller_enqueue(s->controller, str_c(key));
        }
    }
}

static void *setup_claims(struct controller *c, struct informers *informers)
{
    struct state *s = state_of(c, informers, "persistentvolumeclaims");
    map_init(&s->looks);
    s->pods = pods_with_claims(informers, on_pod, s, &s->pods_by_claim);
    return s;
}

/* A pod without a node does not count: the scheduler gives it none while the claim is being deleted. */
static bool uses(const struct core_v1_pod *pod, struct str claim)
{
    for (size_t i = 0; pod->spec.node_name.len && i < pod->spec.n_volumes; i++) {
        const struct core_v1_persistent_volume_claim_volume_source *c = pod->spec.volumes[i].volume_source.persistent_volume_claim;
        if (c && str_eq(c->claim_name, claim)) {
            return true;
        }
    }
    return false;
}

static bool is_used(const struct state *s, struct str key)
{
    const struct core_v1_pod *pod;
    for (size_t pos = 0; (pod = informer_index_next(s->pods_by_claim, key, &pos));) {
        if (pod->spec.node_name.len) {
            return true;
        }
    }
    return false;
}

/* What the server said of a claim's pods, when asked just before the finalizer goes: the pods that we know may be older. */
struct look {
    struct state *s;
    char *key, *uid;
    struct client_call *call; /* NULL: it was answered */
    bool failed, used;
};

static void look_free(struct look *l)
{
    if (l) {
        client_cancel(l->call);
        free(l->key);
        free(l->uid);
        free(l);
    }
}

static bool any_uses(struct arena *a, struct str body, struct str claim, bool *ret, struct err *err)
{
    static const char *const fields[] = { "items.spec.nodeName", "items.spec.volumes?.persistentVolumeClaim.claimName" };
    struct core_v1_pod_list list = { .items = NULL };
    struct api_json_decode o = { .mask = api_mask_new(a, &core_v1_pod_list_type, fields, ARRAY_SIZE(fields), err) };
    if (!o.mask || !api_decode_json(a, &core_v1_pod_list_type, body, &o, &list, err)) {
        return false;
    }
    *ret = false;
    for (size_t i = 0; i < list.n_items; i++) {
        *ret = *ret || uses(&list.items[i], claim);
    }
    return true;
}

static void on_pods(void *data, const struct client_answer *answer)
{
    struct look *l = data;
    struct str ns, name;
    struct arena a;
    struct err err = { .msg = "" };
    l->call = NULL;
    arena_init(&a, ARENA_NO_BUDGET); /* the answer is bounded */
    str_cut(str_c(l->key), '/', &ns, &name);
    l->failed = answer->err || !any_uses(&a, answer->body, name, &l->used, &err);
    if (l->failed) {
        log_warning("the pods of claim %s were not told: %s; it is tried again", l->key, answer->err ? answer->err->msg : err.msg);
    }
    arena_deinit(&a);
    controller_enqueue(l->s->controller, str_c(l->key));
}

/* Asks the server which pods there are. */
static void look(struct state *s, struct str key, struct str ns, struct str uid)
{
    struct look *l = calloc(1, sizeof(*l));
    char path[256];
    if (!l) {
        abort();
    }
    *l = (struct look){ .s = s, .key = str_dup(key), .uid = str_dup(uid) };
    map_put(&s->looks, key, l);
    snprintf(path, sizeof(path), "/api/v1/namespaces/%.*s/pods", STR_ARG(ns));
    l->call = client_raw(controller_client(s->controller), STR("GET"), str_c(path), STR_NULL, STR_NULL, on_pods, l);
}

static void reconcile_claim(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    const struct core_v1_persistent_volume_claim *claim = informer_get(s->objects, ns, name);
    struct look *l = map_get(&s->looks, key);
    bool going = claim && claim->metadata.deletion_timestamp.set && has_finalizer(&claim->metadata, CLAIM_FINALIZER) && !is_used(s, key);
    if (l && (!going || !str_eq_c(claim->metadata.uid, l->uid))) {
        look_free(map_remove(&s->looks, key));
        l = NULL;
    }
    if (!going) {
        if (claim) {
            protect(s, a, claim, CLAIM_FINALIZER, true);
        }
    } else if (!l) {
        look(s, key, ns, claim->metadata.uid);
    } else if (!l->call) { /* an answer serves one decision */
        if (l->failed || l->used) {
            act_requeue_after(a, 1000);
        } else {
            protect(s, a, claim, CLAIM_FINALIZER, false);
        }
        look_free(map_remove(&s->looks, key));
    }
}

static void teardown_claims(void *state)
{
    struct state *s = state;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->looks, &pos, &key, &value);) {
        look_free(value);
    }
    map_deinit(&s->looks);
    free(s);
}

const struct controller_ops controller_claim_protection = {
    .name = "persistentvolumeclaim-protection-controller",
    .service_account = "pvc-protection-controller",
    .setup = setup_claims,
    .reconcile = reconcile_claim,
    .teardown = teardown_claims,
};

/* ---- volumes ---- */

static void *setup_volumes(struct controller *c, struct informers *informers)
{
    return state_of(c, informers, "persistentvolumes");
}

static void reconcile_volume(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_persistent_volume *pv = informer_get(s->objects, STR_NULL, key);
    if (pv) {
        protect(s, a, pv, VOLUME_FINALIZER, str_eq_c(pv->status.phase, "Bound"));
    }
}

const struct controller_ops controller_volume_protection = {
    .name = "persistentvolume-protection-controller",
    .service_account = "pv-protection-controller",
    .setup = setup_volumes,
    .reconcile = reconcile_volume,
    .teardown = free,
};
