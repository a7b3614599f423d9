/*
 * NodeRestriction: what a node may write, beyond what the Node authoriser can tell from the path: itself, its lease, the status of
 * its own pods, mirror pods without references, tokens bound to its own pods (Kubernetes documentation, "Admission Control in
 * Kubernetes"; CVE-2021-25735: what is compared is what will be stored; CVE-2025-5187: a node must not make itself garbage by
 * naming an owner).
 */
#include "api/equal.h"
#include "api/gen/authentication_v1.h"
#include "api/gen/coordination_v1.h"
#include "api/gen/core_v1.h"
#include "api/gen/resource_v1.h"
#include "api/gen/storage_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"
#include "auth/user.h"

struct check {
    struct request *r;
    struct admission_attrs *attrs;
    struct str node; /* who asks */
};

#define DENY(c, ...) admission_deny((c)->r, (c)->attrs, __VA_ARGS__)

static const char *op_name(enum admission_op op)
{
    return op == ADMIT_CREATE ? "CREATE" : op == ADMIT_UPDATE ? "UPDATE" : op == ADMIT_DELETE ? "DELETE" : "CONNECT";
}

static const void *look_up(struct check *c, const char *group, const char *resource, struct str ns, struct str name)
{
    const struct kind_world *w = admission_world(c->r);
    return w->get(w, &c->r->arena, str_c(group), str_c(resource), ns, name);
}

/* ---- labels ---- */

static bool in_domain(struct str prefix, const char *domain)
{
    struct str d = str_c(domain);
    return str_eq(prefix, d) || (prefix.len > d.len && str_ends(prefix, d) && prefix.ptr[prefix.len - d.len - 1] == '.');
}

/* Labels in Kubernetes' own domains say things that others rely on: a node sets only those that it knows best. */
static bool label_forbidden(struct str key)
{
    static const char *const own[] = {
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
        "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type", "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
    };
    struct str prefix, rest;
    if (!str_cut(key, '/', &prefix, &rest)) {
        return false;
    }
    if (in_domain(prefix, "node-restriction.kubernetes.io")) {
        return true;
    }
    if (!in_domain(prefix, "kubernetes.io") && !in_domain(prefix, "k8s.io")) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        if (str_eq_c(key, own[i])) {
            return false;
        }
    }
    return !in_domain(prefix, "kubelet.kubernetes.io") && !in_domain(prefix, "node.kubernetes.io");
}

static struct str value_of(const struct api_str_pair *labels, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(labels[i].key, key)) {
            return labels[i].value.ptr ? labels[i].value : STR_EMPTY;
        }
    }
    return STR_NULL;
}

static void note_label(struct check *c, struct str key, struct str *list)
{
    *list = str_empty(*list) ? key : arena_printf(&c->r->arena, "%.*s, %.*s", STR_ARG(*list), STR_ARG(key));
}

/* Forbidden labels that were added, changed or removed, in the order of their names; absent: none. 'old' NULL: all are new. */
static struct str forbidden_changes(struct check *c, const struct meta_v1_object_meta *m, const struct meta_v1_object_meta *old)
{
    struct str list = STR_NULL;
    size_t n_old = old ? old->n_labels : 0, i = 0, k = 0;
    while (i < m->n_labels || k < n_old) { /* both sorted: a merge */
        int order = i == m->n_labels ? 1 : k == n_old ? -1 : str_cmp(m->labels[i].key, old->labels[k].key);
        struct str key = order <= 0 ? m->labels[i].key : old->labels[k].key;
        bool same = order == 0 && str_eq(m->labels[i].value, old->labels[k].value);
        i += order <= 0;
        k += order >= 0;
        if (!same && label_forbidden(key)) {
            note_label(c, key, &list);
        }
    }
    return list;
}

/* ---- nodes ---- */

/* The host keys that SSH tunnels trust for this node where none are pinned: it may name them once (src/tunnel/README.md). */
#define SSH_HOST_KEYS STR("coracle.local/ssh-host-keys")

static bool changes_host_keys(const struct core_v1_node *node, const struct core_v1_node *old)
{
    struct str before = value_of(old->metadata.annotations, old->metadata.n_annotations, SSH_HOST_KEYS);
    return before.ptr && !str_eq(before, value_of(node->metadata.annotations, node->metadata.n_annotations, SSH_HOST_KEYS));
}

static enum stage_result admit_node(struct check *c)
{
    struct admission_attrs *a = c->attrs;
    const struct core_v1_node *node = a->obj, *old = a->old;
    struct str asked = a->name;
    if (a->op == ADMIT_CREATE && node) {
        struct str labels = forbidden_changes(c, &node->metadata, NULL);
        if (!str_empty(labels)) {
            return DENY(c, "node \"%.*s\" is not allowed to set the following labels: %.*s", STR_ARG(c->node), STR_ARG(labels));
        }
        if (node->metadata.n_owner_references > 0) {
            return DENY(c, "node \"%.*s\" is not allowed to set ownerReferences", STR_ARG(c->node));
        }
        asked = str_empty(asked) ? node->metadata.name : asked;
    }
    if (!str_eq(asked, c->node)) {
        return DENY(c, "node \"%.*s\" is not allowed to modify node \"%.*s\"", STR_ARG(c->node), STR_ARG(asked));
    }
    if (a->op != ADMIT_UPDATE || !node || !old) {
        return STAGE_DONE;
    }
    if (!api_equal_field(&core_v1_node_spec_type, "taints", &node->spec, &old->spec)) {
        return DENY(c, "node \"%.*s\" is not allowed to modify taints", STR_ARG(c->node));
    }
    struct str labels = forbidden_changes(c, &node->metadata, &old->metadata);
    if (!str_empty(labels)) {
        return DENY(c, "node \"%.*s\" is not allowed to modify labels: %.*s", STR_ARG(c->node), STR_ARG(labels));
    }
    if (!api_equal_field(&meta_v1_object_meta_type, "ownerReferences", &node->metadata, &old->metadata)) {
        return DENY(c, "node \"%.*s\" is not allowed to modify ownerReferences", STR_ARG(c->node));
    }
    if (changes_host_keys(node, old)) {
        return DENY(c, "node \"%.*s\" is not allowed to modify annotation coracle.local/ssh-host-keys once it is set", STR_ARG(c->node));
    }
    return STAGE_DONE;
}

/* ---- pods ---- */

static enum stage_result check_owner(struct check *c, const struct core_v1_pod *pod)
{
    const struct meta_v1_object_meta *m = &pod->metadata;
    if (m->n_owner_references != 1) {
        return DENY(c, "node \"%.*s\" can only create pods with a single owner reference set to itself", STR_ARG(c->node));
    }
    const struct meta_v1_owner_reference *o = &m->owner_references[0];
    if (!str_eq_c(o->api_version, "v1") || !str_eq_c(o->kind, "Node") || !str_eq(o->name, c->node)) {
        return DENY(c, "node \"%.*s\" can only create pods with an owner reference set to itself", STR_ARG(c->node));
    }
    if (!o->has_controller || !o->controller) {
        return DENY(c, "node \"%.*s\" can only create pods with a controller owner reference set to itself", STR_ARG(c->node));
    }
    if (o->has_block_owner_deletion && o->block_owner_deletion) {
        return DENY(c, "node \"%.*s\" must not set blockOwnerDeletion on an owner reference", STR_ARG(c->node));
    }
    const struct core_v1_node *node = look_up(c, "", "nodes", STR_EMPTY, c->node);
    if (!node || !str_eq(node->metadata.uid, o->uid)) {
        return DENY(c, "node %.*s UID mismatch: expected %.*s got %.*s", STR_ARG(c->node), STR_ARG(o->uid),
                    STR_ARG(node ? node->metadata.uid : STR_EMPTY));
    }
    return STAGE_DONE;
}

static bool env_refers(const struct core_v1_env_var *env, size_t n, const struct core_v1_env_from_source *from, size_t n_from,
                       bool secrets)
{
    for (size_t i = 0; i < n; i++) {
        const struct core_v1_env_var_source *v = env[i].value_from;
        if (v && (secrets ? v->secret_key_ref != NULL : v->config_map_key_ref != NULL)) {
            return true;
        }
    }
    for (size_t i = 0; i < n_from; i++) {
        if (secrets ? from[i].secret_ref != NULL : from[i].config_map_ref != NULL) {
            return true;
        }
    }
    return false;
}

static bool containers_refer(const struct core_v1_container *list, size_t n, bool secrets)
{
    for (size_t i = 0; i < n; i++) {
        if (env_refers(list[i].env, list[i].n_env, list[i].env_from, list[i].n_env_from, secrets)) {
            return true;
        }
    }
    return false;
}

static bool volume_has_secret(const struct core_v1_volume_source *v)
{
    return v->secret || v->azure_file || (v->cephfs && v->cephfs->secret_ref) || (v->cinder && v->cinder->secret_ref) ||
           (v->flex_volume && v->flex_volume->secret_ref) || (v->rbd && v->rbd->secret_ref) ||
           (v->scale_io && v->scale_io->secret_ref) || (v->iscsi && v->iscsi->secret_ref) ||
           (v->storageos && v->storageos->secret_ref) || (v->csi && v->csi->node_publish_secret_ref);
}

/* What a mirror pod must not name: "secrets", "configmaps", … or NULL. */
static const char *names_something(const struct core_v1_pod *pod)
{
    const struct core_v1_pod_spec *s = &pod->spec;
    bool secrets = s->n_image_pull_secrets > 0 || containers_refer(s->containers, s->n_containers, true) ||
                   containers_refer(s->init_containers, s->n_init_containers, true);
    bool maps = containers_refer(s->containers, s->n_containers, false) ||
                containers_refer(s->init_containers, s->n_init_containers, false);
    bool claims = false, bundles = false;
    for (size_t i = 0; i < s->n_volumes; i++) {
        const struct core_v1_volume_source *v = &s->volumes[i].volume_source;
        secrets = secrets || volume_has_secret(v);
        maps = maps || v->config_map;
        claims = claims || v->persistent_volume_claim || v->ephemeral;
        for (size_t k = 0; v->projected && k < v->projected->n_sources; k++) {
            const struct core_v1_volume_projection *p = &v->projected->sources[k];
            secrets = secrets || p->secret || p->service_account_token;
            maps = maps || p->config_map;
            bundles = bundles || p->cluster_trust_bundle;
        }
    }
    return secrets ? "secrets" : maps ? "configmaps" : claims ? "persistentvolumeclaims" : bundles ? "clustertrustbundles"
           : s->n_resource_claims > 0 ? "resourceclaims" : NULL;
}

static enum stage_result admit_pod_create(struct check *c, const struct core_v1_pod *pod)
{
    const struct meta_v1_object_meta *m = &pod->metadata;
    if (!value_of(m->annotations, m->n_annotations, STR("kubernetes.io/config.mirror")).ptr) {
        return DENY(c, "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"%.*s\" can only create mirror pods",
                    STR_ARG(c->node));
    }
    if (!str_eq(pod->spec.node_name, c->node)) {
        return DENY(c, "node \"%.*s\" can only create pods with spec.nodeName set to itself", STR_ARG(c->node));
    }
    if (check_owner(c, pod) != STAGE_DONE) {
        return STAGE_ERROR;
    }
    if (!str_empty(pod->spec.service_account_name)) {
        return DENY(c, "node \"%.*s\" can not create pods that reference a service account", STR_ARG(c->node));
    }
    const char *what = names_something(pod);
    return what ? DENY(c, "node \"%.*s\" can not create pods that reference %s", STR_ARG(c->node), what) : STAGE_DONE;
}

static enum stage_result admit_pod_status(struct check *c)
{
    const struct core_v1_pod *pod = c->attrs->obj, *old = c->attrs->old;
    if (c->attrs->op != ADMIT_UPDATE || !pod || !old) {
        return DENY(c, "unexpected operation \"%s\"", op_name(c->attrs->op));
    }
    if (!str_eq(old->spec.node_name, c->node)) {
        return DENY(c, "node \"%.*s\" can only update pod status for pods with spec.nodeName set to itself", STR_ARG(c->node));
    }
    if (!api_equal_field(&meta_v1_object_meta_type, "labels", &pod->metadata, &old->metadata)) {
        return DENY(c, "node \"%.*s\" cannot update labels through pod status", STR_ARG(c->node));
    }
    if (!api_equal_field(&core_v1_pod_status_type, "resourceClaimStatuses", &pod->status, &old->status)) {
        return DENY(c, "node \"%.*s\" cannot update resource claim statuses", STR_ARG(c->node));
    }
    return STAGE_DONE;
}

/* An eviction is a delete of the pod by another name; the pod is loaded when admission is asked. */
static enum stage_result admit_eviction(struct check *c)
{
    const struct core_v1_pod *pod = c->attrs->op == ADMIT_DELETE && c->attrs->old
                                        ? c->attrs->old
                                        : look_up(c, "", "pods", c->attrs->ns, c->attrs->name);
    if (!pod) {
        status_not_found(&c->r->status, &c->r->arena, STR_EMPTY, STR("pods"), c->attrs->name);
        return STAGE_ERROR;
    }
    return str_eq(pod->spec.node_name, c->node)
               ? STAGE_DONE
               : DENY(c, "node %.*s can only evict pods with spec.nodeName set to itself", STR_ARG(c->node));
}

static enum stage_result admit_pod(struct check *c)
{
    struct str sub = c->attrs->subresource;
    if (str_eq_c(sub, "status")) {
        return admit_pod_status(c);
    }
    if (str_eq_c(sub, "eviction")) {
        return admit_eviction(c);
    }
    if (!str_empty(sub)) {
        return DENY(c, "unexpected pod subresource \"%.*s\", only 'status' and 'eviction' are allowed", STR_ARG(sub));
    }
    if (c->attrs->op == ADMIT_CREATE && c->attrs->obj) {
        return admit_pod_create(c, c->attrs->obj);
    }
    if (c->attrs->op == ADMIT_DELETE) {
        const struct core_v1_pod *pod = c->attrs->old ? c->attrs->old : look_up(c, "", "pods", c->attrs->ns, c->attrs->name);
        return !pod || str_eq(pod->spec.node_name, c->node)
                   ? STAGE_DONE
                   : DENY(c, "node \"%.*s\" can only delete pods with spec.nodeName set to itself", STR_ARG(c->node));
    }
    return DENY(c, "unexpected operation \"%s\", node \"%.*s\" can only create and delete mirror pods", op_name(c->attrs->op),
                STR_ARG(c->node));
}

/* ---- tokens ---- */

static bool pod_has_audience(const struct core_v1_pod *pod, struct str audience)
{
    for (size_t i = 0; i < pod->spec.n_volumes; i++) {
        const struct core_v1_projected_volume_source *p = pod->spec.volumes[i].volume_source.projected;
        for (size_t k = 0; p && k < p->n_sources; k++) {
            const struct core_v1_service_account_token_projection *t = p->sources[k].service_account_token;
            if (t && str_eq(t->audience, audience)) {
                return true;
            }
        }
    }
    return false;
}

/* Inline CSI volumes name a driver that may ask for tokens. */
static bool driver_has_audience(struct check *c, const struct core_v1_pod *pod, struct str audience)
{
    for (size_t i = 0; i < pod->spec.n_volumes; i++) {
        const struct core_v1_csi_volume_source *csi = pod->spec.volumes[i].volume_source.csi;
        const struct storage_v1_csi_driver *d =
            csi ? look_up(c, "storage.k8s.io", "csidrivers", STR_EMPTY, csi->driver) : NULL;
        for (size_t k = 0; d && k < d->spec.n_token_requests; k++) {
            if (str_eq(d->spec.token_requests[k].audience, audience)) {
                return true;
            }
        }
    }
    return false;
}

static enum stage_result admit_token(struct check *c)
{
    if (c->attrs->op != ADMIT_CREATE || !str_eq_c(c->attrs->subresource, "token") ||
        c->attrs->type != &authentication_v1_token_request_type || !c->attrs->obj) {
        return STAGE_DONE; /* other writes of service accounts are the authoriser's to refuse */
    }
    const struct authentication_v1_token_request *t = c->attrs->obj;
    const struct authentication_v1_bound_object_reference *ref = t->spec.bound_object_ref;
    if (!ref || !str_eq_c(ref->api_version, "v1") || !str_eq_c(ref->kind, "Pod") || str_empty(ref->name)) {
        return DENY(c, "node requested token not bound to a pod");
    }
    if (str_empty(ref->uid)) {
        return DENY(c, "node requested token with a pod binding without a uid");
    }
    const struct core_v1_pod *pod = look_up(c, "", "pods", c->attrs->ns, ref->name);
    if (!pod) {
        status_not_found(&c->r->status, &c->r->arena, STR_EMPTY, STR("pods"), ref->name);
        return STAGE_ERROR;
    }
    if (!str_eq(pod->metadata.uid, ref->uid)) {
        return DENY(c, "the UID in the bound object reference (%.*s) does not match the UID in record. The object might have been "
                       "deleted and then recreated", STR_ARG(ref->uid));
    }
    if (!str_eq(pod->spec.node_name, c->node)) {
        return DENY(c, "node requested token bound to a pod scheduled on a different node");
    }
    if (t->spec.n_audiences > 1) {
        return DENY(c, "node may only request 0 or 1 audiences");
    }
    struct str audience = t->spec.n_audiences == 1 ? t->spec.audiences[0] : STR_EMPTY;
    if (!str_empty(audience) && !pod_has_audience(pod, audience) && !driver_has_audience(c, pod, audience)) {
        return DENY(c, "audience \"%.*s\" not found in pod spec volume", STR_ARG(audience));
    }
    return STAGE_DONE;
}

/* ---- the rest ---- */

static struct str name_written(const struct admission_attrs *a, const struct meta_v1_object_meta *m)
{
    return a->op == ADMIT_CREATE && m ? m->name : a->name;
}

static enum stage_result admit_lease(struct check *c)
{
    const struct coordination_v1_lease *lease = c->attrs->obj;
    if (!str_eq_c(c->attrs->ns, "kube-node-lease")) {
        return DENY(c, "can only access leases in the \"kube-node-lease\" system namespace");
    }
    return str_eq(name_written(c->attrs, lease ? &lease->metadata : NULL), c->node)
               ? STAGE_DONE
               : DENY(c, "can only access node lease with the same name as the requesting node");
}

static enum stage_result admit_csi_node(struct check *c)
{
    const struct storage_v1_csi_node *node = c->attrs->obj;
    return str_eq(name_written(c->attrs, node ? &node->metadata : NULL), c->node)
               ? STAGE_DONE
               : DENY(c, "can only access CSINode with the same name as the requesting node");
}

static enum stage_result admit_resource_slice(struct check *c)
{
    const struct resource_v1_resource_slice *s = c->attrs->obj, *old = c->attrs->old;
    bool own = c->attrs->op == ADMIT_CREATE ? s && str_eq(s->spec.node_name, c->node) : !old || str_eq(old->spec.node_name, c->node);
    return own ? STAGE_DONE
               : DENY(c, "can only %s ResourceSlice with the same NodeName as the requesting node",
                      c->attrs->op == ADMIT_CREATE ? "create" : c->attrs->op == ADMIT_UPDATE ? "update" : "delete");
}

/* A node resizes volumes: it reports capacity and conditions, nothing else. */
static enum stage_result admit_claim(struct check *c)
{
    const struct core_v1_persistent_volume_claim *claim = c->attrs->obj, *old = c->attrs->old;
    if (!str_eq_c(c->attrs->subresource, "status") || c->attrs->op != ADMIT_UPDATE || !claim || !old) {
        return DENY(c, "may only update PVC status");
    }
    static const char *const meta_fields[] = { "labels", "annotations", "ownerReferences", "finalizers" };
    bool same = str_eq(claim->status.phase, old->status.phase) &&
                api_equal_field(&core_v1_persistent_volume_claim_status_type, "accessModes", &claim->status, &old->status) &&
                api_equal_field(&core_v1_persistent_volume_claim_type, "spec", claim, old);
    for (size_t i = 0; i < ARRAY_SIZE(meta_fields); i++) {
        same = same && api_equal_field(&meta_v1_object_meta_type, meta_fields[i], &claim->metadata, &old->metadata);
    }
    return same ? STAGE_DONE
                : DENY(c, "node \"%.*s\" is not allowed to update fields other than status.capacity and status.conditions",
                       STR_ARG(c->node));
}

static const struct {
    const char *group, *resource;
    enum stage_result (*admit)(struct check *c);
} restricted[] = {
    { "", "pods", admit_pod },
    { "", "nodes", admit_node },
    { "", "persistentvolumeclaims", admit_claim },
    { "", "serviceaccounts", admit_token },
    { "coordination.k8s.io", "leases", admit_lease },
    { "storage.k8s.io", "csinodes", admit_csi_node },
    { "resource.k8s.io", "resourceslices", admit_resource_slice },
};

static enum stage_result validate(struct request *r, struct admission_attrs *attrs)
{
    struct check c = { .r = r, .attrs = attrs, .node = auth_user_node(attrs->user) };
    if (!c.node.ptr) {
        return STAGE_DONE; /* not a node */
    }
    if (str_empty(c.node)) {
        return DENY(&c, "could not determine node from user \"%.*s\"", STR_ARG(attrs->user->name));
    }
    for (size_t i = 0; i < ARRAY_SIZE(restricted); i++) {
        if (str_eq_c(attrs->resource->group, restricted[i].group) && str_eq_c(attrs->resource->resource, restricted[i].resource)) {
            return restricted[i].admit(&c);
        }
    }
    return STAGE_DONE;
}

/* Asked when the object is final: what plugins and defaults made of it counts, and nothing changes it behind our back. */
const struct admission_plugin admission_node_restriction = {
    .name = STR_INIT("NodeRestriction"),
    .ops = ADMIT_CREATE | ADMIT_UPDATE | ADMIT_DELETE,
    .default_on = false,
    .validate = validate,
};
