/*
 * persistentvolume-binder: volumes. A volume is Available until a claim has it, Bound while it does, and Released once the claim is
 * gone; then spec.persistentVolumeReclaimPolicy says what becomes of it. What an external provisioner has made it also deletes; of
 * the kinds that are deleted here there is hostPath, below /tmp, as it is in Kubernetes.
 */
#include <stdlib.h>

#include "base/fs.h"
#include "controllers/pairs.h"
#include "controllers/volume-binder-private.h"

/* ---- removing a folder, on a worker ---- */

struct removal {
    struct loop_work work;
    struct binder *s;
    char *path, *name, *uid;
    bool runs, orphaned; /* orphaned: nobody waits for the answer */
    bool ok;
    int64_t failed_s;    /* when it was tried in vain; 0: it was not */
    struct err err;
};

static void removal_free(struct removal *r)
{
    free(r->path);
    free(r->name);
    free(r->uid);
    free(r);
}

static void remove_run(struct loop_work *w)
{
    struct removal *r = CONTAINER_OF(w, struct removal, work);
    r->ok = fs_remove_tree(r->path, &r->err);
}

static void remove_done(struct loop_work *w)
{
    struct removal *r = CONTAINER_OF(w, struct removal, work);
    r->runs = false;
    if (r->orphaned) {
        removal_free(r);
    } else {
        binder_enqueue_volume(r->s, str_c(r->name));
    }
}

void binder_forget_volume(struct binder *s, struct str uid)
{
    struct removal *r = map_remove(&s->removals, uid);
    if (r && r->runs) {
        r->orphaned = true;
    } else if (r) {
        removal_free(r);
    }
}

void binder_forget_volumes(struct binder *s)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->removals, &pos, &key, &value);) {
        struct removal *r = value;
        if (r->runs) {
            r->orphaned = true; /* the loop ends the worker; what it holds goes with the process */
        } else {
            removal_free(r);
        }
    }
}

static bool begin_removal(struct binder *s, const volume_t *pv, struct removal **ret)
{
    struct removal *r = *ret;
    if (!r) {
        r = calloc(1, sizeof(*r));
        if (!r) {
            abort();
        }
        r->s = s;
        r->path = str_dup(pv->spec.persistent_volume_source.host_path->path);
        r->name = str_dup(pv->metadata.name);
        r->uid = str_dup(pv->metadata.uid);
        map_put(&s->removals, pv->metadata.uid, r);
        *ret = r;
    }
    r->work.run = remove_run;
    r->work.done = remove_done;
    r->failed_s = 0;
    r->err.msg[0] = '\0';
    struct loop_workers *pool = loop_default_workers(controller_loop(s->controller));
    r->runs = pool && loop_workers_submit(pool, &r->work) == 0;
    return r->runs;
}

/* What is deleted is below /tmp and nowhere else: a folder is named there, and no ".." leads out again. */
static bool is_below_tmp(struct str path)
{
    struct str rest, piece;
    bool named = false;
    if (!str_starts(path, STR("/tmp/"))) {
        return false;
    }
    rest = str_sub(path, strlen("/tmp/"), SIZE_MAX);
    while (str_split(&rest, '/', &piece)) {
        if (str_eq_c(piece, "..")) {
            return false;
        }
        named = named || (piece.len && !str_eq_c(piece, "."));
    }
    return named;
}

/* ---- what is written ---- */

static void set_phase(struct binder_pass *p, const volume_t *pv, const char *phase, struct str message)
{
    if (str_eq_c(pv->status.phase, phase) && str_eq(pv->status.message, message)) {
        return;
    }
    volume_t changed = *pv;
    changed.status.phase = str_c(phase);
    changed.status.message = message;
    if (!str_eq_c(pv->status.phase, phase)) {
        changed.status.last_phase_transition_time = (struct api_time){ .sec = act_now(p->a), .set = true };
    }
    act_update_sub(p->a, p->s->volumes_resource, "status", &changed);
}

static void fail(struct binder_pass *p, const volume_t *pv, const char *reason, struct str message)
{
    bool news = !str_eq_c(pv->status.phase, "Failed") || !str_eq(pv->status.message, message);
    set_phase(p, pv, "Failed", message);
    if (news) {
        act_event(p->a, p->s->volumes_resource, pv, "Warning", reason, "%.*s", STR_ARG(message));
    }
}

/* The claim that it was given to has another: it is free again. What the administrator has written into claimRef stays. */
static void unbind(struct binder_pass *p, const volume_t *pv)
{
    volume_t changed = *pv;
    struct core_v1_object_reference ref = *pv->spec.claim_ref;
    if (volume_annotation(&pv->metadata, VOLUME_BOUND_BY_CONTROLLER).ptr) {
        changed.spec.claim_ref = NULL;
        changed.metadata.annotations = pairs_without(act_arena(p->a), pv->metadata.annotations, pv->metadata.n_annotations,
                                                     VOLUME_BOUND_BY_CONTROLLER, &changed.metadata.n_annotations);
    } else {
        ref.uid = ref.resource_version = STR_NULL;
        changed.spec.claim_ref = &ref;
    }
    act_update(p->a, p->s->volumes_resource, &changed);
}

/* ---- reclaiming ---- */

static void delete_host_path(struct binder_pass *p, const volume_t *pv)
{
    struct str path = pv->spec.persistent_volume_source.host_path->path;
    struct removal *r = map_get(&p->s->removals, pv->metadata.uid);
    int64_t again_s = MAX(controllers_config.volume_sync_ms / 1000, (int64_t)1);
    if (!is_below_tmp(path)) {
        fail(p, pv, "VolumeFailedDelete",
             arena_printf(act_arena(p->a), "host_path deleter only supports /tmp/.+ but received provided %.*s", STR_ARG(path)));
        return;
    }
    if (r && r->runs) {
        return;
    }
    if (r && r->ok) {
        act_delete(p->a, p->s->volumes_resource, STR_NULL, pv->metadata.name, pv->metadata.uid, NULL);
        return;
    }
    if (r && r->err.msg[0]) {
        r->failed_s = r->failed_s ? r->failed_s : act_now(p->a);
        fail(p, pv, "VolumeFailedDelete", arena_printf(act_arena(p->a), "%s", r->err.msg));
        if (act_now(p->a) < r->failed_s + again_s) {
            act_requeue_after(p->a, (uint64_t)(r->failed_s + again_s - act_now(p->a)) * 1000);
            return;
        }
    }
    if (!begin_removal(p->s, pv, &r)) {
        act_requeue_after(p->a, 1000);
    }
}

static void reclaim(struct binder_pass *p, const volume_t *pv)
{
    struct str policy = pv->spec.persistent_volume_reclaim_policy;
    struct str provisioner = volume_annotation(&pv->metadata, VOLUME_PROVISIONED_BY);
    if (pv->metadata.deletion_timestamp.set || volume_annotation(&pv->metadata, STR("pv.kubernetes.io/migrated-to")).ptr) {
        return;
    }
    if (str_eq_c(policy, "Recycle")) {
        fail(p, pv, "VolumeFailedRecycle", STR("No recycler plugin found for the volume!"));
    } else if (str_eq_c(policy, "Delete") && (!provisioner.len || str_starts(provisioner, STR("kubernetes.io/")))) {
        if (pv->spec.persistent_volume_source.host_path) {
            delete_host_path(p, pv);
        } else {
            fail(p, pv, "VolumeFailedDelete",
                 arena_printf(act_arena(p->a), "error getting deleter volume plugin for volume \"%.*s\": no deletable volume plugin matched",
                              STR_ARG(pv->metadata.name)));
        }
    }
}

/* First the phase, which tells external provisioners; then what the policy says. */
static void release(struct binder_pass *p, const volume_t *pv)
{
    if (str_eq_c(pv->status.phase, "Released") || str_eq_c(pv->status.phase, "Failed")) {
        reclaim(p, pv);
    } else {
        set_phase(p, pv, "Released", STR_EMPTY);
    }
}

void binder_volume_pass(struct binder_pass *p, const volume_t *pv)
{
    const struct core_v1_object_reference *ref = pv->spec.claim_ref;
    if (!ref || !ref->uid.len) {
        set_phase(p, pv, "Available", STR_EMPTY);
        return;
    }
    const volume_claim_t *c = informer_get(p->s->claims, ref->namespace, ref->name);
    if (!c || !str_eq(c->metadata.uid, ref->uid)) {
        /* The claims that we know may be older than the volume: data would go for a claim that is there. */
        act_require_absent(p->a, p->s->claims_resource, ref->namespace, ref->name, ref->uid);
        release(p, pv);
        return;
    }
    if (!c->spec.volume_name.len) {
        if (!volume_same_mode(pv, c)) {
            act_event(p->a, p->s->volumes_resource, pv, "Warning", "VolumeMismatch",
                      "Cannot bind PersistentVolume to requested PersistentVolumeClaim \"%.*s\" due to incompatible volumeMode.",
                      STR_ARG(c->metadata.name));
            return;
        }
        binder_enqueue_claim(p->s, c->metadata.namespace, c->metadata.name); /* its side is not written yet */
    } else if (str_eq(c->spec.volume_name, pv->metadata.name)) {
        set_phase(p, pv, "Bound", STR_EMPTY);
    } else if (volume_annotation(&pv->metadata, VOLUME_PROVISIONED_BY).ptr && str_eq_c(pv->spec.persistent_volume_reclaim_policy, "Delete")) {
        release(p, pv); /* made for a claim that has found another */
    } else {
        unbind(p, pv);
    }
}
