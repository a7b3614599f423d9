/*
 * What makes a pod of a StatefulSet its own ("StatefulSet: Pod Identity"): the name with its ordinal, the hostname below the
 * governing Service, labels, and claims of its own that outlive it.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "api/json-writer.h"
#include "controllers/pairs.h"
#include "controllers/statefulset-private.h"

/* How soon a pod is tried again whose claim is being deleted. */
#define CLAIM_RETRY_MS 1000

bool statefulset_ordinal(struct str set, struct str pod, int32_t *ret)
{
    if (pod.len <= set.len + 1 || !str_starts(pod, set) || pod.ptr[set.len] != '-') {
        return false;
    }
    struct str digits = str_sub(pod, set.len + 1, SIZE_MAX);
    return digits.ptr[0] != '-' && digits.ptr[0] != '+' && str_to_i32(digits, ret);
}

static struct str pod_name(const struct stateful_pass *p, int32_t ordinal)
{
    return arena_printf(act_arena(p->a), "%.*s-%d", STR_ARG(p->set->metadata.name), ordinal);
}

static struct str claim_name(const struct stateful_pass *p, const claim_t *template, int32_t ordinal)
{
    return arena_printf(act_arena(p->a), "%.*s-%.*s-%d", STR_ARG(template->metadata.name), STR_ARG(p->set->metadata.name), ordinal);
}

/* ---- who owns a claim ---- */

static bool deletes(struct str policy)
{
    return str_eq_c(policy, "Delete");
}

/* The owner that the retention policy gives the claim of this place, or false: none. 'pod' may be NULL. */
static bool claim_owner(const struct stateful_pass *p, int32_t ordinal, const struct core_v1_pod *pod,
                        struct meta_v1_owner_reference *ret)
{
    const struct apps_v1_stateful_set_persistent_volume_claim_retention_policy *policy =
        p->set->spec.persistent_volume_claim_retention_policy;
    bool scaled_down = ordinal < p->start || ordinal >= (int64_t)p->start + p->replicas;
    if (!policy) {
        return false;
    }
    if (deletes(policy->when_scaled) && scaled_down) { /* it goes with its pod */
        if (!pod) {
            return false;
        }
        *ret = owner_reference(act_arena(p->a), p->s->pods_resource, &pod->metadata);
        return true;
    }
    if (deletes(policy->when_deleted)) {
        *ret = p->owner;
        return true;
    }
    return false;
}

static bool is_ours(const struct stateful_pass *p, const struct meta_v1_owner_reference *o, int32_t ordinal)
{
    return str_eq(o->uid, p->set->metadata.uid) || (str_eq_c(o->kind, "Pod") && str_eq(o->name, pod_name(p, ordinal)));
}

static void mend_owner(struct stateful_pass *p, const struct stateful_pod *x, const claim_t *claim)
{
    struct meta_v1_owner_reference wanted;
    bool has_wanted = claim_owner(p, x->ordinal, x->pod, &wanted), found = false;
    claim_t changed = *claim;
    struct meta_v1_owner_reference *all =
        arena_new_n(act_arena(p->a), struct meta_v1_owner_reference, claim->metadata.n_owner_references + 1);
    size_t n = 0;
    if (!all) {
        abort();
    }
    for (size_t i = 0; i < claim->metadata.n_owner_references; i++) {
        const struct meta_v1_owner_reference *o = &claim->metadata.owner_references[i];
        if (!is_ours(p, o, x->ordinal)) {
            if (o->has_controller && o->controller) {
                return; /* somebody else controls it: its life is theirs */
            }
            all[n++] = *o;
        } else if (has_wanted && str_eq(o->uid, wanted.uid)) {
            found = true;
            all[n++] = wanted;
        }
    }
    if (has_wanted && !found) {
        all[n++] = wanted;
    }
    changed.metadata.owner_references = n ? all : NULL;
    changed.metadata.n_owner_references = n;
    if (!api_equal_field(&meta_v1_object_meta_type, "ownerReferences", &claim->metadata, &changed.metadata)) {
        act_update(p->a, p->s->claims_resource, &changed);
    }
}

void statefulset_mend_owners(struct stateful_pass *p, const struct stateful_pod *x)
{
    for (size_t i = 0; i < p->set->spec.n_volume_claim_templates; i++) {
        struct str name = claim_name(p, &p->set->spec.volume_claim_templates[i], x->ordinal);
        const claim_t *claim = informer_get(p->s->claims, p->set->metadata.namespace, name);
        if (claim && !claim->metadata.deletion_timestamp.set) {
            mend_owner(p, x, claim);
        }
    }
}

/* ---- creating ---- */

static void create_claim(struct stateful_pass *p, const claim_t *template, struct str name, int32_t ordinal)
{
    struct arena *arena = act_arena(p->a);
    const struct meta_v1_label_selector *selector = p->set->spec.selector;
    claim_t *claim = arena_new(arena, claim_t);
    struct meta_v1_owner_reference *owner = arena_new(arena, struct meta_v1_owner_reference);
    if (!claim || !owner) {
        abort();
    }
    claim->metadata.namespace = p->set->metadata.namespace;
    claim->metadata.name = name;
    claim->metadata.labels = template->metadata.labels;
    claim->metadata.n_labels = template->metadata.n_labels;
    for (size_t i = 0; selector && i < selector->n_match_labels; i++) {
        claim->metadata.labels = pairs_with(arena, claim->metadata.labels, claim->metadata.n_labels, selector->match_labels[i].key,
                                             selector->match_labels[i].value, &claim->metadata.n_labels);
    }
    claim->metadata.annotations = template->metadata.annotations;
    claim->metadata.n_annotations = template->metadata.n_annotations;
    claim->metadata.finalizers = template->metadata.finalizers;
    claim->metadata.n_finalizers = template->metadata.n_finalizers;
    claim->spec = template->spec;
    if (claim_owner(p, ordinal, NULL, owner)) {
        claim->metadata.owner_references = owner;
        claim->metadata.n_owner_references = 1;
    }
    act_create(p->a, p->s->claims_resource, p->set->metadata.namespace, claim);
    act_event_after(p->a, p->s->sets_resource, p->set, "Normal", "SuccessfulCreate",
                    "create Claim %.*s Pod %.*s in StatefulSet %.*s success", STR_ARG(name), STR_ARG(pod_name(p, ordinal)),
                    STR_ARG(p->set->metadata.name));
    act_event_on_failure(p->a, p->s->sets_resource, p->set, "Warning", "FailedCreate",
                         "create Claim %.*s for Pod %.*s in StatefulSet %.*s failed error", STR_ARG(name),
                         STR_ARG(pod_name(p, ordinal)), STR_ARG(p->set->metadata.name));
}

/* False: one is being deleted, and must be gone first. */
static bool create_claims(struct stateful_pass *p, int32_t ordinal, bool *ret_any)
{
    bool ok = true;
    for (size_t i = 0; i < p->set->spec.n_volume_claim_templates; i++) {
        const claim_t *template = &p->set->spec.volume_claim_templates[i];
        struct str name = claim_name(p, template, ordinal);
        const claim_t *claim = informer_get(p->s->claims, p->set->metadata.namespace, name);
        if (!claim) {
            create_claim(p, template, name, ordinal);
            *ret_any = true;
        } else if (claim->metadata.deletion_timestamp.set) {
            act_requeue_after(p->a, CLAIM_RETRY_MS);
            ok = false;
        }
    }
    return ok;
}

void statefulset_mend_claims(struct stateful_pass *p, int32_t ordinal)
{
    bool any = false;
    (void)create_claims(p, ordinal, &any);
}

/* The claims come first; a volume of the template with the name of a claim gives way to it. */
static void set_volumes(struct stateful_pass *p, struct core_v1_pod_spec *spec, int32_t ordinal)
{
    struct arena *arena = act_arena(p->a);
    size_t n_claims = p->set->spec.n_volume_claim_templates, n = n_claims;
    struct core_v1_volume *all = arena_new_n(arena, struct core_v1_volume, n_claims + spec->n_volumes);
    struct core_v1_persistent_volume_claim_volume_source *sources =
        arena_new_n(arena, struct core_v1_persistent_volume_claim_volume_source, n_claims);
    if (!all || !sources) {
        abort();
    }
    for (size_t i = 0; i < n_claims; i++) {
        const claim_t *template = &p->set->spec.volume_claim_templates[i];
        sources[i].claim_name = claim_name(p, template, ordinal);
        all[i].name = template->metadata.name;
        all[i].volume_source.persistent_volume_claim = &sources[i];
    }
    for (size_t i = 0; i < spec->n_volumes; i++) {
        bool taken = false;
        for (size_t k = 0; k < n_claims && !taken; k++) {
            taken = str_eq(all[k].name, spec->volumes[i].name);
        }
        if (!taken) {
            all[n++] = spec->volumes[i];
        }
    }
    spec->volumes = n ? all : NULL;
    spec->n_volumes = n;
}

static void set_label(struct arena *a, struct meta_v1_object_meta *m, struct str key, struct str value)
{
    m->labels = pairs_with(a, m->labels, m->n_labels, key, value, &m->n_labels);
}

/* Of the present revision: what is below the partition; otherwise of the one that rolls out. */
static bool is_of_current(const struct stateful_pass *p, int32_t ordinal)
{
    const struct apps_v1_stateful_set_update_strategy *u = &p->set->spec.update_strategy;
    if (str_eq_c(u->type, "OnDelete")) {
        return false;
    }
    int64_t kept = u->rolling_update ? u->rolling_update->partition : p->set->status.current_replicas;
    return ordinal < p->start + kept;
}

static void create_pod(struct stateful_pass *p, int32_t ordinal)
{
    struct arena *arena = act_arena(p->a);
    bool old = is_of_current(p, ordinal);
    const struct core_v1_pod_template_spec *t = old ? &p->current_template : &p->set->spec.template;
    struct core_v1_pod *pod = arena_new(arena, struct core_v1_pod);
    if (!pod || !api_copy_into(arena, &core_v1_pod_spec_type, &t->spec, &pod->spec, false)) {
        abort();
    }
    pod->metadata.generate_name = arena_printf(arena, "%.*s-", STR_ARG(p->set->metadata.name));
    pod->metadata.name = pod_name(p, ordinal);
    pod->metadata.namespace = p->set->metadata.namespace;
    pod->metadata.labels = t->metadata.labels;
    pod->metadata.n_labels = t->metadata.n_labels;
    set_label(arena, &pod->metadata, REVISION_LABEL, old ? p->current_revision : p->update_revision);
    set_label(arena, &pod->metadata, POD_NAME_LABEL, pod->metadata.name);
    set_label(arena, &pod->metadata, POD_INDEX_LABEL, arena_printf(arena, "%d", ordinal));
    pod->metadata.annotations = t->metadata.annotations;
    pod->metadata.n_annotations = t->metadata.n_annotations;
    pod->metadata.finalizers = t->metadata.finalizers;
    pod->metadata.n_finalizers = t->metadata.n_finalizers;
    pod->metadata.owner_references = &p->owner;
    pod->metadata.n_owner_references = 1;
    pod->spec.hostname = pod->metadata.name;
    pod->spec.subdomain = p->set->spec.service_name;
    set_volumes(p, &pod->spec, ordinal);
    act_create(p->a, p->s->pods_resource, p->set->metadata.namespace, pod);
    act_event_after(p->a, p->s->sets_resource, p->set, "Normal", "SuccessfulCreate",
                    "create Pod %.*s in StatefulSet %.*s successful", STR_ARG(pod->metadata.name), STR_ARG(p->set->metadata.name));
    act_event_on_failure(p->a, p->s->sets_resource, p->set, "Warning", "FailedCreate",
                         "create Pod %.*s in StatefulSet %.*s failed error", STR_ARG(pod->metadata.name),
                         STR_ARG(p->set->metadata.name));
}

void statefulset_create_pods(struct stateful_pass *p, const int32_t *ordinals, size_t n)
{
    bool any_claim = false;
    bool *ok = arena_new_n(act_arena(p->a), bool, n);
    if (!ok) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        ok[i] = create_claims(p, ordinals[i], &any_claim);
    }
    if (any_claim) {
        act_barrier(p->a);
    }
    for (size_t i = 0; i < n; i++) {
        if (ok[i]) {
            create_pod(p, ordinals[i]);
        }
    }
}

/* ---- what is there already ---- */

void statefulset_delete_pod(struct stateful_pass *p, const struct core_v1_pod *pod)
{
    act_delete(p->a, p->s->pods_resource, pod->metadata.namespace, pod->metadata.name, pod->metadata.uid, NULL);
    act_event_after(p->a, p->s->sets_resource, p->set, "Normal", "SuccessfulDelete",
                    "delete Pod %.*s in StatefulSet %.*s successful", STR_ARG(pod->metadata.name), STR_ARG(p->set->metadata.name));
    act_event_on_failure(p->a, p->s->sets_resource, p->set, "Warning", "FailedDelete",
                         "delete Pod %.*s in StatefulSet %.*s failed error", STR_ARG(pod->metadata.name),
                         STR_ARG(p->set->metadata.name));
}

void statefulset_mend_identity(struct stateful_pass *p, const struct stateful_pod *x)
{
    const struct meta_v1_object_meta *m = &x->pod->metadata;
    if (m->deletion_timestamp.set || str_eq(meta_label(m, POD_NAME_LABEL), m->name)) {
        return;
    }
    struct buf b;
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"metadata\":{\"uid\":");
    json_write_string(&b, m->uid);
    buf_append_c(&b, ",\"labels\":{");
    json_write_string(&b, POD_NAME_LABEL);
    buf_append_char(&b, ':');
    json_write_string(&b, m->name);
    buf_append_char(&b, ',');
    json_write_string(&b, POD_INDEX_LABEL);
    buf_printf(&b, ":\"%d\"}}}", x->ordinal);
    act_patch(p->a, p->s->pods_resource, m->namespace, m->name, NULL, CLIENT_PATCH_MERGE, buf_str(&b));
    act_tolerate(p->a, ERR_NOT_FOUND);
    buf_deinit(&b);
}
