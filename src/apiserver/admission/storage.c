/*
 * DefaultStorageClass: a claim that names no class gets the cluster's default one (documentation, "Change the default
 * StorageClass"). StorageObjectInUseProtection: volumes and claims are born with a finalizer, which the controllers take off once
 * nobody uses them.
 */
#include "api/gen/core_v1.h"
#include "api/gen/storage_v1.h"
#include "api/volume-match.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"

/* ---- DefaultStorageClass ---- */

struct search {
    const struct storage_v1_storage_class *found;
};

static bool is_default(const struct meta_v1_object_meta *m)
{
    return str_eq_c(volume_annotation(m, STR("storageclass.kubernetes.io/is-default-class")), "true") ||
           str_eq_c(volume_annotation(m, STR("storageclass.beta.kubernetes.io/is-default-class")), "true");
}

/* Of several the one that was made last, by name where they are of one age. */
static bool look(void *ctx, const void *obj)
{
    struct search *s = ctx;
    const struct storage_v1_storage_class *c = obj, *best = s->found;
    if (!is_default(&c->metadata)) {
        return true;
    }
    int64_t age = c->metadata.creation_timestamp.sec;
    if (!best || age > best->metadata.creation_timestamp.sec ||
        (age == best->metadata.creation_timestamp.sec && str_cmp(c->metadata.name, best->metadata.name) < 0)) {
        s->found = c;
    }
    return true;
}

static enum stage_result admit_class(struct request *r, struct admission_attrs *attrs)
{
    struct core_v1_persistent_volume_claim *claim = attrs->obj;
    struct search s = { .found = NULL };
    if (!admission_is(attrs, "", "persistentvolumeclaims", "") || volume_claim_class(claim).ptr) {
        return STAGE_DONE; /* an empty class is a class: none is wanted */
    }
    const struct kind_world *w = admission_world(r);
    w->each(w, &r->arena, STR("storage.k8s.io"), STR("storageclasses"), STR_EMPTY, look, &s);
    if (s.found) {
        claim->spec.storage_class_name = s.found->metadata.name;
    }
    return STAGE_DONE;
}

const struct admission_plugin admission_default_storage_class = {
    .name = STR_INIT("DefaultStorageClass"),
    .ops = ADMIT_CREATE,
    .default_on = true,
    .admit = admit_class,
};

/* ---- StorageObjectInUseProtection ---- */

static enum stage_result add_finalizer(struct request *r, struct meta_v1_object_meta *m, struct str finalizer)
{
    for (size_t i = 0; i < m->n_finalizers; i++) {
        if (str_eq(m->finalizers[i], finalizer)) {
            return STAGE_DONE;
        }
    }
    struct str *all = arena_new_n(&r->arena, struct str, m->n_finalizers + 1);
    if (!all) {
        return request_bad(r, "the object is too large");
    }
    if (m->n_finalizers) {
        memcpy(all, m->finalizers, m->n_finalizers * sizeof(*all));
    }
    all[m->n_finalizers++] = finalizer;
    m->finalizers = all;
    return STAGE_DONE;
}

static enum stage_result admit_protection(struct request *r, struct admission_attrs *attrs)
{
    if (admission_is(attrs, "", "persistentvolumeclaims", "")) {
        return add_finalizer(r, &((struct core_v1_persistent_volume_claim *)attrs->obj)->metadata, STR("kubernetes.io/pvc-protection"));
    }
    if (admission_is(attrs, "", "persistentvolumes", "")) {
        return add_finalizer(r, &((struct core_v1_persistent_volume *)attrs->obj)->metadata, STR("kubernetes.io/pv-protection"));
    }
    return STAGE_DONE;
}

const struct admission_plugin admission_storage_in_use = {
    .name = STR_INIT("StorageObjectInUseProtection"),
    .ops = ADMIT_CREATE,
    .default_on = true,
    .admit = admit_protection,
};
