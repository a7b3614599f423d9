#include "scheduler/volumes.h"

#include <stdlib.h>

#include "api/quantity.h"

#define NO_PROVISIONER STR("kubernetes.io/no-provisioner")

bool pod_has_claims(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->spec.n_volumes; i++) {
        if (pod->spec.volumes[i].volume_source.persistent_volume_claim) {
            return true;
        }
    }
    return false;
}

bool pod_names_claim(const struct core_v1_pod *pod, const volume_claim_t *claim)
{
    for (size_t i = 0; i < pod->spec.n_volumes && str_eq(pod->metadata.namespace, claim->metadata.namespace); i++) {
        const struct core_v1_persistent_volume_claim_volume_source *s = pod->spec.volumes[i].volume_source.persistent_volume_claim;
        if (s && str_eq(s->claim_name, claim->metadata.name)) {
            return true;
        }
    }
    return false;
}

/* ---- what a pod claims ---- */

static bool waits_for_node(const struct volume_view *v, const volume_claim_t *c)
{
    struct str name = volume_claim_class(c);
    const struct storage_v1_storage_class *class = name.len ? v->class(v->data, name) : NULL;
    return class && str_eq_c(class->volume_binding_mode, "WaitForFirstConsumer");
}

static struct quantity asked(const volume_claim_t *c)
{
    for (size_t i = 0; i < c->spec.resources.n_requests; i++) {
        if (str_eq_c(c->spec.resources.requests[i].key, "storage")) {
            return quantity_of(c->spec.resources.requests[i].value);
        }
    }
    return (struct quantity){ .nano = 0 };
}

/* Small claims choose first, so that they leave the large volumes to those that need them. */
static int by_size(const void *va, const void *vb)
{
    const volume_claim_t *a = *(const volume_claim_t *const *)va, *b = *(const volume_claim_t *const *)vb;
    int order = quantity_cmp(asked(a), asked(b));
    return order ? order : str_cmp(a->metadata.name, b->metadata.name);
}

static struct str sort_out(const struct volume_view *v, struct arena *a, const volume_claim_t *c, struct pod_claims *ret)
{
    if (c->metadata.deletion_timestamp.set) {
        return arena_printf(a, "persistentvolumeclaim \"%.*s\" is being deleted", STR_ARG(c->metadata.name));
    }
    if (str_eq_c(c->status.phase, "Lost")) {
        return arena_printf(a, "persistentvolumeclaim \"%.*s\" bound to non-existent persistentvolume \"%.*s\"", STR_ARG(c->metadata.name),
                            STR_ARG(c->spec.volume_name));
    }
    if (c->spec.volume_name.len && volume_annotation(&c->metadata, VOLUME_BIND_COMPLETED).ptr) {
        const volume_t *pv = v->volume(v->data, c->spec.volume_name);
        ret->lost = ret->lost || !pv;
        if (pv) {
            ret->bound[ret->n_bound++] = pv;
        }
        return STR_NULL;
    }
    if (c->spec.volume_name.len || !waits_for_node(v, c)) {
        return STR("pod has unbound immediate PersistentVolumeClaims");
    }
    for (size_t i = 0; i < ret->n_late; i++) {
        if (ret->late[i] == c) {
            return STR_NULL; /* two volumes of the pod may be of one claim */
        }
    }
    ret->late[ret->n_late++] = c;
    return STR_NULL;
}

struct str volumes_of_pod(const struct volume_view *v, struct arena *a, const struct core_v1_pod *pod, struct pod_claims *ret)
{
    *ret = (struct pod_claims){ .bound = arena_new_n(a, const volume_t *, pod->spec.n_volumes),
                                .late = arena_new_n(a, const volume_claim_t *, pod->spec.n_volumes) };
    if (!ret->bound || !ret->late) {
        abort();
    }
    for (size_t i = 0; i < pod->spec.n_volumes; i++) {
        const struct core_v1_persistent_volume_claim_volume_source *s = pod->spec.volumes[i].volume_source.persistent_volume_claim;
        if (!s) {
            continue;
        }
        const volume_claim_t *c = v->claim(v->data, pod->metadata.namespace, s->claim_name);
        struct str why = c ? sort_out(v, a, c, ret)
                           : arena_printf(a, "persistentvolumeclaim \"%.*s\" not found", STR_ARG(s->claim_name));
        if (why.ptr) {
            return why;
        }
    }
    qsort(ret->late, ret->n_late, sizeof(*ret->late), by_size);
    return STR_NULL;
}

/* ---- volumes on a node ---- */

static bool is_chosen(const volume_t *pv, const volume_t *const *chosen, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (chosen[i] == pv) {
            return true;
        }
    }
    return false;
}

static bool topology_has(const struct core_v1_topology_selector_term *t, const struct core_v1_node *node)
{
    for (size_t i = 0; i < t->n_match_label_expressions; i++) {
        const struct core_v1_topology_selector_label_requirement *r = &t->match_label_expressions[i];
        bool found = false;
        for (size_t k = 0; k < node->metadata.n_labels && !found; k++) {
            for (size_t j = 0; str_eq(node->metadata.labels[k].key, r->key) && j < r->n_values; j++) {
                found = found || str_eq(node->metadata.labels[k].value, r->values[j]);
            }
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

/* May a provisioner be asked for a volume on the node? */
static bool can_be_made(const struct volume_view *v, const volume_claim_t *c, const struct core_v1_node *node)
{
    const struct storage_v1_storage_class *class = v->class(v->data, volume_claim_class(c));
    if (!class || !class->provisioner.len || str_eq(class->provisioner, NO_PROVISIONER)) {
        return false;
    }
    for (size_t i = 0; i < class->n_allowed_topologies; i++) {
        if (topology_has(&class->allowed_topologies[i], node)) {
            return true;
        }
    }
    return class->n_allowed_topologies == 0;
}

static const volume_t *find(const struct volume_view *v, struct arena *a, const volume_claim_t *c, const struct core_v1_node *node,
                            const volume_t *const *chosen, size_t n_chosen)
{
    struct volume_search s;
    const volume_t *pv;
    if (!volume_search_begin(&s, a, c)) {
        return NULL;
    }
    s.node = node;
    for (size_t pos = 0; (pv = v->next_volume(v->data, &pos));) {
        if (!is_chosen(pv, chosen, n_chosen) && !v->is_reserved(v->data, pv)) {
            volume_search_offer(&s, pv);
        }
    }
    return s.best;
}

bool volumes_choose(const struct volume_view *v, struct arena *a, const struct pod_claims *claims, const struct core_v1_node *node,
                    const volume_t **ret)
{
    for (size_t i = 0; i < claims->n_late; i++) {
        const volume_claim_t *c = claims->late[i];
        struct str selected = volume_annotation(&c->metadata, VOLUME_SELECTED_NODE);
        if (selected.len && !str_eq(selected, node->metadata.name)) {
            return false; /* a volume is being made for it elsewhere */
        }
        ret[i] = selected.len ? NULL : find(v, a, c, node, ret, i);
        if (!ret[i] && !can_be_made(v, c, node)) {
            return false;
        }
    }
    return true;
}
