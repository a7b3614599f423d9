/*
 * persistentvolume-binder: brings claims and volumes together ("Persistent Volumes"). Both sides are written: spec.claimRef of the
 * volume first, so that of two claims one wins; then spec.volumeName of the claim. Here: claims. A claim without a volume waits for
 * one, for a pod (WaitForFirstConsumer: then the scheduler writes claimRef), or for an external provisioner, which is told by an
 * annotation.
 */
#include <stdlib.h>

#include "api/equal.h"
#include "api/gen/storage_v1.h"
#include "controllers/pairs.h"
#include "controllers/setup.h"
#include "controllers/volume-binder-private.h"
#include "controllers/volume-facts.h"

#define PROVISIONER STR("volume.kubernetes.io/storage-provisioner")
#define BETA_PROVISIONER STR("volume.beta.kubernetes.io/storage-provisioner")

/* ---- events ---- */

void binder_enqueue_claim(struct binder *s, struct str ns, struct str name)
{
    char key[600];
    snprintf(key, sizeof(key), CLAIM_KEY "/%.*s/%.*s", STR_ARG(ns), STR_ARG(name));
    controller_enqueue(s->controller, str_c(key));
}

void binder_enqueue_volume(struct binder *s, struct str name)
{
    char key[600];
    snprintf(key, sizeof(key), VOLUME_KEY "/%.*s", STR_ARG(name));
    controller_enqueue(s->controller, str_c(key));
}

static bool is_bound(const volume_claim_t *c)
{
    return volume_annotation(&c->metadata, VOLUME_BIND_COMPLETED).ptr != NULL;
}

static void on_claim(void *data, const void *old, const void *obj)
{
    struct binder *s = data;
    const volume_claim_t *c = obj ? obj : old;
    const volume_t *pv;
    binder_enqueue_claim(s, c->metadata.namespace, c->metadata.name);
    if (c->spec.volume_name.len) {
        binder_enqueue_volume(s, c->spec.volume_name);
    }
    for (size_t pos = 0; !old && (pv = informer_next(s->volumes, &pos));) {
        if (volume_is_of(pv, c)) { /* bound to it in advance */
            binder_enqueue_volume(s, pv->metadata.name);
        }
    }
    if (!obj) {
        map_remove(&s->told, c->metadata.uid);
    }
}

static void on_volume(void *data, const void *old, const void *obj)
{
    struct binder *s = data;
    const volume_t *both[] = { old, obj }, *pv = obj ? obj : old;
    const volume_claim_t *c;
    binder_enqueue_volume(s, pv->metadata.name);
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        const struct core_v1_object_reference *r = both[i] ? both[i]->spec.claim_ref : NULL;
        if (r) {
            binder_enqueue_claim(s, r->namespace, r->name);
        }
    }
    if (!obj) {
        binder_forget_volume(s, pv->metadata.uid);
    }
    if (pv->spec.claim_ref && obj) {
        return;
    }
    for (size_t pos = 0; (c = informer_next(s->claims, &pos));) { /* somebody may have waited for it, or has lost it */
        if (is_bound(c) ? str_eq(c->spec.volume_name, pv->metadata.name) : str_eq(volume_claim_class(c), volume_class(pv))) {
            binder_enqueue_claim(s, c->metadata.namespace, c->metadata.name);
        }
    }
}

static void on_class(void *data, const void *old, const void *obj)
{
    struct binder *s = data;
    const struct storage_v1_storage_class *class = obj ? obj : old;
    const volume_claim_t *c;
    for (size_t pos = 0; (c = informer_next(s->claims, &pos));) {
        if (!is_bound(c) && str_eq(volume_claim_class(c), class->metadata.name)) {
            binder_enqueue_claim(s, c->metadata.namespace, c->metadata.name);
        }
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const class_fields[] = { "provisioner", "volumeBindingMode", NULL };
    struct binder *s = state_new(sizeof(*s));
    s->controller = c;
    map_init(&s->told);
    map_init(&s->removals);
    s->claims = informer_of(informers, "", "persistentvolumeclaims", whole_objects, on_claim, s);
    s->volumes = informer_of(informers, "", "persistentvolumes", whole_objects, on_volume, s);
    s->classes = informer_of(informers, "storage.k8s.io", "storageclasses", class_fields, on_class, s);
    s->claims_resource = informer_resource(s->claims);
    s->volumes_resource = informer_resource(s->volumes);
    s->pods = pods_with_claims(informers, NULL, NULL, &s->pods_by_claim);
    return s;
}

static void teardown(void *state)
{
    struct binder *s = state;
    binder_forget_volumes(s);
    map_deinit(&s->told);
    map_deinit(&s->removals);
    free(s);
}

/* ---- what a claim is told ---- */

/* An event, unless the claim was told just that. */
PRINTF_LIKE(5, 6)
static void tell(struct binder_pass *p, const volume_claim_t *c, const char *type, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(act_arena(p->a), fmt, ap);
    va_end(ap);
    void *hash = (void *)(uintptr_t)(str_fnv1a(text) | 1);
    if (map_get(&p->s->told, c->metadata.uid) != hash) {
        map_put(&p->s->told, c->metadata.uid, hash);
        act_event(p->a, p->s->claims_resource, c, type, reason, "%.*s", STR_ARG(text));
    }
}

/* ---- what is written ---- */

static void write_status(struct binder_pass *p, const volume_claim_t *c, struct str phase, const volume_t *pv)
{
    volume_claim_t changed = *c;
    changed.status.phase = phase;
    if (pv) {
        changed.status.access_modes = pv->spec.access_modes;
        changed.status.n_access_modes = pv->spec.n_access_modes;
        if (!str_eq(c->status.phase, phase) || c->status.n_capacity == 0) { /* later it is the resizer's to change */
            changed.status.capacity = pv->spec.capacity;
            changed.status.n_capacity = pv->spec.n_capacity;
        }
        changed.status.current_volume_attributes_class_name = pv->spec.volume_attributes_class_name;
    } else {
        changed.status.access_modes = NULL;
        changed.status.capacity = NULL;
        changed.status.n_access_modes = changed.status.n_capacity = 0;
    }
    if (!api_equal_field(&core_v1_persistent_volume_claim_type, "status", c, &changed)) {
        act_update_sub(p->a, p->s->claims_resource, "status", &changed);
    }
}

/* The volume's side: spec.claimRef with the claim's uid. False: written now, the rest comes with the next pass. */
static bool bind_volume(struct binder_pass *p, const volume_claim_t *c, const volume_t *pv)
{
    struct arena *arena = act_arena(p->a);
    volume_t changed = *pv;
    struct core_v1_object_reference ref = {
        .kind = STR("PersistentVolumeClaim"),
        .api_version = STR("v1"),
        .namespace = c->metadata.namespace,
        .name = c->metadata.name,
        .uid = c->metadata.uid,
        .resource_version = c->metadata.resource_version,
    };
    if (volume_is_of(pv, c) && pv->spec.claim_ref->uid.len) {
        return true;
    }
    if (!pv->spec.claim_ref) {
        changed.metadata.annotations = pairs_with(arena, pv->metadata.annotations, pv->metadata.n_annotations, VOLUME_BOUND_BY_CONTROLLER,
                                                  STR("yes"), &changed.metadata.n_annotations);
    }
    changed.spec.claim_ref = &ref;
    act_update(p->a, p->s->volumes_resource, &changed);
    return false;
}

/* The claim's side. */
static bool bind_claim(struct binder_pass *p, const volume_claim_t *c, const volume_t *pv)
{
    struct arena *arena = act_arena(p->a);
    volume_claim_t changed = *c;
    struct meta_v1_object_meta *m = &changed.metadata;
    if (is_bound(c) && str_eq(c->spec.volume_name, pv->metadata.name)) {
        return true;
    }
    if (!str_eq(c->spec.volume_name, pv->metadata.name)) {
        changed.spec.volume_name = pv->metadata.name;
        m->annotations = pairs_with(arena, m->annotations, m->n_annotations, VOLUME_BOUND_BY_CONTROLLER, STR("yes"), &m->n_annotations);
    }
    m->annotations = pairs_with(arena, m->annotations, m->n_annotations, VOLUME_BIND_COMPLETED, STR("yes"), &m->n_annotations);
    act_update(p->a, p->s->claims_resource, &changed);
    return false;
}

static void bind(struct binder_pass *p, const volume_claim_t *c, const volume_t *pv)
{
    if (bind_volume(p, c, pv) && bind_claim(p, c, pv)) {
        map_remove(&p->s->told, c->metadata.uid);
        write_status(p, c, STR("Bound"), pv);
    }
}

/* ---- a claim without a volume ---- */

static void ask_provisioner(struct binder_pass *p, const volume_claim_t *c, const struct storage_v1_storage_class *class)
{
    struct arena *arena = act_arena(p->a);
    struct str name = class->provisioner;
    if (str_starts(name, STR("kubernetes.io/"))) {
        tell(p, c, "Warning", "ProvisioningFailed", "no volume plugin matched name: %.*s", STR_ARG(name));
        return;
    }
    if (!str_eq(volume_annotation(&c->metadata, PROVISIONER), name)) {
        volume_claim_t changed = *c;
        struct meta_v1_object_meta *m = &changed.metadata;
        m->annotations = pairs_with(arena, m->annotations, m->n_annotations, BETA_PROVISIONER, name, &m->n_annotations);
        m->annotations = pairs_with(arena, m->annotations, m->n_annotations, PROVISIONER, name, &m->n_annotations);
        act_update(p->a, p->s->claims_resource, &changed);
        return;
    }
    tell(p, c, "Normal", "ExternalProvisioning",
         "Waiting for a volume to be created either by the external provisioner '%.*s' or manually by the system administrator. If "
         "volume creation is delayed, please verify that the provisioner is running and correctly registered.",
         STR_ARG(name));
}

static void tell_wait(struct binder_pass *p, const volume_claim_t *c)
{
    const struct core_v1_pod *pod;
    char key[600];
    claim_key(c->metadata.namespace, c->metadata.name, key);
    for (size_t pos = 0; (pod = informer_index_next(p->s->pods_by_claim, str_c(key), &pos));) {
        if (!pod->spec.node_name.len && !pod->metadata.deletion_timestamp.set) {
            tell(p, c, "Normal", "WaitForPodScheduled", "waiting for pod %.*s to be scheduled", STR_ARG(pod->metadata.name));
            return;
        }
    }
    tell(p, c, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
}

static void find_volume(struct binder_pass *p, const volume_claim_t *c)
{
    struct str name = volume_claim_class(c);
    const struct storage_v1_storage_class *class = name.len ? informer_get(p->s->classes, STR_NULL, name) : NULL;
    bool late = class && str_eq_c(class->volume_binding_mode, "WaitForFirstConsumer") &&
                !volume_annotation(&c->metadata, VOLUME_SELECTED_NODE).ptr;
    struct volume_search search;
    const volume_t *pv;
    if (!volume_search_begin(&search, act_arena(p->a), c)) {
        tell(p, c, "Warning", "FailedBinding", "the selector of the claim cannot be read");
        return;
    }
    search.bound_only = late;
    search.fewest_modes = true;
    for (size_t pos = 0; (pv = informer_next(p->s->volumes, &pos));) {
        volume_search_offer(&search, pv);
    }
    if (search.best) {
        bind(p, c, search.best);
        return;
    }
    write_status(p, c, STR("Pending"), NULL);
    if (late) {
        tell_wait(p, c);
    } else if (class) {
        ask_provisioner(p, c, class);
    } else if (name.len) {
        tell(p, c, "Warning", "ProvisioningFailed", "storageclass.storage.k8s.io \"%.*s\" not found", STR_ARG(name));
    } else {
        tell(p, c, "Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
    }
}

/* The claim names its volume. */
static void take_volume(struct binder_pass *p, const volume_claim_t *c)
{
    const volume_t *pv = informer_get(p->s->volumes, STR_NULL, c->spec.volume_name);
    const char *why = pv && !pv->spec.claim_ref ? volume_mismatch(pv, c) : NULL;
    if (pv && !why && (!pv->spec.claim_ref || volume_is_of(pv, c))) {
        bind(p, c, pv);
        return;
    }
    write_status(p, c, STR("Pending"), NULL);
    if (why) {
        tell(p, c, "Warning", "VolumeMismatch", "Cannot bind to requested volume \"%.*s\": %s", STR_ARG(c->spec.volume_name), why);
    } else if (pv) {
        tell(p, c, "Warning", "FailedBinding", "volume \"%.*s\" already bound to a different claim.", STR_ARG(c->spec.volume_name));
    }
}

/* ---- a claim that was bound ---- */

static void lose(struct binder_pass *p, const volume_claim_t *c, const char *reason, const char *message)
{
    if (!str_eq_c(c->status.phase, "Lost")) {
        write_status(p, c, STR("Lost"), NULL);
        act_event_after(p->a, p->s->claims_resource, c, "Warning", reason, "%s", message);
    }
}

static void keep_bound(struct binder_pass *p, const volume_claim_t *c)
{
    const volume_t *pv = c->spec.volume_name.len ? informer_get(p->s->volumes, STR_NULL, c->spec.volume_name) : NULL;
    if (!c->spec.volume_name.len) {
        lose(p, c, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    } else if (!pv) {
        lose(p, c, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    } else if (pv->spec.claim_ref && !volume_is_of(pv, c)) {
        lose(p, c, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
    } else {
        bind(p, c, pv);
    }
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct binder *s = state;
    struct binder_pass p = { .s = s, .a = a };
    struct str kind, rest, ns, name;
    str_cut(key, '/', &kind, &rest);
    if (str_eq_c(kind, VOLUME_KEY)) {
        const volume_t *pv = informer_get(s->volumes, STR_NULL, rest);
        if (pv) {
            binder_volume_pass(&p, pv);
        }
        return;
    }
    str_cut(rest, '/', &ns, &name);
    const volume_claim_t *c = informer_get(s->claims, ns, name);
    if (c && is_bound(c)) {
        keep_bound(&p, c);
    } else if (c && !c->metadata.deletion_timestamp.set) {
        if (c->spec.volume_name.len) {
            take_volume(&p, c);
        } else {
            find_volume(&p, c);
        }
    }
}

const struct controller_ops controller_volume_binder = {
    .name = "persistentvolume-binder-controller",
    .service_account = "persistent-volume-binder",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    /* A volume is given to one claim at a time: the next claim sees what the first has taken. */
    .concurrency = 1,
};
