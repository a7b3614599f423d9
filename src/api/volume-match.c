#include "api/volume-match.h"

#include "api/node-affinity.h"
#include "api/quantity.h"

#define BETA_CLASS STR("volume.beta.kubernetes.io/storage-class")

struct str volume_annotation(const struct meta_v1_object_meta *m, struct str key)
{
    for (size_t i = 0; i < m->n_annotations; i++) {
        if (str_eq(m->annotations[i].key, key)) {
            return m->annotations[i].value.ptr ? m->annotations[i].value : STR_EMPTY;
        }
    }
    return STR_NULL;
}

struct str volume_class(const volume_t *pv)
{
    struct str beta = volume_annotation(&pv->metadata, BETA_CLASS);
    return beta.ptr ? beta : pv->spec.storage_class_name;
}

struct str volume_claim_class(const volume_claim_t *claim)
{
    struct str beta = volume_annotation(&claim->metadata, BETA_CLASS);
    return beta.ptr ? beta : claim->spec.storage_class_name;
}

bool volume_is_of(const volume_t *pv, const volume_claim_t *claim)
{
    const struct core_v1_object_reference *r = pv->spec.claim_ref;
    return r && str_eq(r->name, claim->metadata.name) && str_eq(r->namespace, claim->metadata.namespace) &&
           (str_empty(r->uid) || str_eq(r->uid, claim->metadata.uid));
}

static struct str mode_or_default(struct str mode)
{
    return str_empty(mode) ? STR("Filesystem") : mode;
}

bool volume_same_mode(const volume_t *pv, const volume_claim_t *claim)
{
    return str_eq(mode_or_default(pv->spec.volume_mode), mode_or_default(claim->spec.volume_mode));
}

bool volume_is_on(const volume_t *pv, const struct core_v1_node *node)
{
    const struct core_v1_volume_node_affinity *a = pv->spec.node_affinity;
    return !a || !a->required || node_selector_matches(a->required, node);
}

static struct quantity amount(const struct api_str_pair *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, "storage")) {
            return quantity_of(list[i].value);
        }
    }
    return (struct quantity){ .nano = 0 };
}

static struct quantity size_of(const volume_t *pv)
{
    return amount(pv->spec.capacity, pv->spec.n_capacity);
}

static bool is_large_enough(const volume_t *pv, const volume_claim_t *claim)
{
    return quantity_cmp(size_of(pv), amount(claim->spec.resources.requests, claim->spec.resources.n_requests)) >= 0;
}

/* Has the volume every mode that the claim asks for? */
static bool has_modes(const volume_t *pv, const volume_claim_t *claim)
{
    for (size_t i = 0; i < claim->spec.n_access_modes; i++) {
        bool found = false;
        for (size_t k = 0; k < pv->spec.n_access_modes && !found; k++) {
            found = str_eq(pv->spec.access_modes[k], claim->spec.access_modes[i]);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

const char *volume_mismatch(const volume_t *pv, const volume_claim_t *claim)
{
    if (!is_large_enough(pv, claim)) {
        return "requested PV is too small";
    }
    if (!str_eq(volume_class(pv), volume_claim_class(claim))) {
        return "storageClassName does not match";
    }
    if (!str_eq(pv->spec.volume_attributes_class_name, claim->spec.volume_attributes_class_name)) {
        return "volumeAttributesClassName does not match";
    }
    if (!volume_same_mode(pv, claim)) {
        return "incompatible volumeMode";
    }
    return has_modes(pv, claim) ? NULL : "incompatible accessMode";
}

bool volume_search_begin(struct volume_search *s, struct arena *a, const volume_claim_t *claim)
{
    *s = (struct volume_search){ .claim = claim };
    return !claim->spec.selector || selector_from_label_selector(a, claim->spec.selector, &s->selector, NULL);
}

static bool is_better(const struct volume_search *s, const volume_t *pv)
{
    if (!s->best) {
        return true;
    }
    if (s->fewest_modes && pv->spec.n_access_modes != s->best->spec.n_access_modes) {
        return pv->spec.n_access_modes < s->best->spec.n_access_modes;
    }
    int order = quantity_cmp(size_of(pv), size_of(s->best));
    return order < 0 || (order == 0 && str_cmp(pv->metadata.name, s->best->metadata.name) < 0);
}

void volume_search_offer(struct volume_search *s, const volume_t *pv)
{
    const volume_claim_t *claim = s->claim;
    bool bound = volume_is_of(pv, claim);
    if (pv->metadata.deletion_timestamp.set || !volume_same_mode(pv, claim) || !is_large_enough(pv, claim) || !has_modes(pv, claim) ||
        !str_eq(pv->spec.volume_attributes_class_name, claim->spec.volume_attributes_class_name) ||
        (s->node && !volume_is_on(pv, s->node)) || (s->best_is_bound && !bound)) {
        return;
    }
    if (!bound && (s->bound_only || pv->spec.claim_ref || !str_eq_c(pv->status.phase, "Available") ||
                   !str_eq(volume_class(pv), volume_claim_class(claim)) ||
                   !selector_matches(&s->selector, pv->metadata.labels, pv->metadata.n_labels))) {
        return;
    }
    if ((bound && !s->best_is_bound) || is_better(s, pv)) {
        s->best = pv;
        s->best_is_bound = bound;
    }
}
