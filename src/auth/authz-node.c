/*
 * Mode Node: a node may read what its own pods need, and write what it reports (Kubernetes
 * documentation, "Using Node Authorization"). Whatever is not told apart per node is decided by the
 * fixed rules of the ClusterRole system:node.
 */
#include "api/gen/rbac_v1.h"
#include "auth/authz-table.h"
#include "auth/node-graph.h"
#include "auth/rbac-bootstrap.h"
#include "auth/rbac-private.h"

struct authz_node {
    struct authz authz;
    const struct node_graph *graph;
    struct arena arena;
    struct rbac_compiled *rules;
    size_t n_rules;
};

struct question {
    const struct authz_node *self;
    struct authz_request *r;
    const struct authz_attributes *attr;
    struct str node;
};

static enum authz_result no(const struct question *q, const char *why)
{
    q->r->reason = str_c(why);
    return AUTHZ_NO_OPINION;
}

static enum authz_result no_way(const struct question *q)
{
    q->r->reason = arena_printf(
        q->r->arena, "no relationship found between node '%.*s' and this object", STR_ARG(q->node));
    return AUTHZ_NO_OPINION;
}

static bool verb_is(const struct question *q, const char *const *verbs)
{
    for (; *verbs; verbs++) {
        if (str_eq_c(q->attr->verb, *verbs)) {
            return true;
        }
    }
    return false;
}

#define VERBS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Does the list ask for this one value of the field alone? */
static bool narrowed_to(const struct question *q, const char *field, struct str value)
{
    for (size_t i = 0; i < q->attr->n_fields; i++) {
        const struct authz_requirement *f = &q->attr->fields[i];
        bool equal = str_eq(f->op, STR("In"));
        if (equal && str_eq_c(f->key, field) && f->n_values == 1 && str_eq(f->values[0], value)) {
            return true;
        }
    }
    return false;
}

static enum authz_result refers(const struct question *q, enum node_ref kind)
{
    if (str_empty(q->attr->name)) {
        return no(q, "No Object name found");
    }
    return node_graph_refers(q->self->graph, q->node, kind, q->attr->namespace_, q->attr->name)
               ? AUTHZ_ALLOW
               : no_way(q);
}

/* ---- resource by resource ---- */

/* Secrets and config maps: read one at a time (list and watch are of one name). */
static enum authz_result read_object(const struct question *q, enum node_ref kind)
{
    if (!verb_is(q, VERBS("get", "list", "watch"))) {
        return no(q, "can only read resources of this type");
    }
    if (!str_empty(q->attr->subresource)) {
        return no(q, "cannot read subresource");
    }
    if (str_empty(q->attr->namespace_)) {
        return no(q, "can only read namespaced object of this type");
    }
    return refers(q, kind);
}

static bool single_get(const struct question *q, enum authz_result *ret)
{
    if (!str_eq(q->attr->verb, STR("get"))) {
        *ret = no(q, "can only get individual resources of this type");
        return false;
    }
    if (!str_empty(q->attr->subresource)) {
        *ret = no(q, "cannot get subresource");
        return false;
    }
    if (str_empty(q->attr->name)) {
        *ret = no(q, "No Object name found");
        return false;
    }
    return true;
}

static enum authz_result secrets(const struct question *q)
{
    return read_object(q, NODE_REF_SECRET);
}

static enum authz_result config_maps(const struct question *q)
{
    return read_object(q, NODE_REF_CONFIG_MAP);
}

static enum authz_result claims(const struct question *q)
{
    enum authz_result ret;
    if (str_eq(q->attr->subresource, STR("status"))) {
        return verb_is(q, VERBS("update", "patch"))
                   ? refers(q, NODE_REF_CLAIM)
                   : no(q, "can only update or patch the status of this type");
    }
    return single_get(q, &ret) ? refers(q, NODE_REF_CLAIM) : ret;
}

static enum authz_result resource_claims(const struct question *q)
{
    enum authz_result ret;
    return single_get(q, &ret) ? refers(q, NODE_REF_RESOURCE_CLAIM) : ret;
}

static enum authz_result volumes(const struct question *q)
{
    enum authz_result ret;
    if (!single_get(q, &ret)) {
        return ret;
    }
    return node_graph_has_volume(q->self->graph, q->node, q->attr->name) ? AUTHZ_ALLOW : no_way(q);
}

static enum authz_result attachments(const struct question *q)
{
    enum authz_result ret;
    if (!single_get(q, &ret)) {
        return ret;
    }
    return node_graph_has_attachment(q->self->graph, q->node, q->attr->name) ? AUTHZ_ALLOW
                                                                             : no_way(q);
}

static enum authz_result service_accounts(const struct question *q)
{
    if (str_empty(q->attr->name)) {
        return no(q, "can only get or create tokens for individual service accounts");
    }
    bool token = str_eq(q->attr->verb, STR("create")) && str_eq(q->attr->subresource, STR("token"));
    bool read = str_eq(q->attr->verb, STR("get")) && str_empty(q->attr->subresource);
    if (!token && !read) {
        return no(q, "can only create token subresource of serviceaccount, or get it");
    }
    return refers(q, NODE_REF_SERVICE_ACCOUNT);
}

static enum authz_result own_object(const struct question *q, const char *what_verbs,
                                    const char *what_name)
{
    if (!verb_is(q, VERBS("get", "create", "update", "patch", "delete"))) {
        return no(q, what_verbs);
    }
    /* The name is not known yet on create; NodeRestriction looks at it. */
    if (!str_eq(q->attr->verb, STR("create")) && !str_eq(q->attr->name, q->node)) {
        return no(q, what_name);
    }
    return AUTHZ_ALLOW;
}

static enum authz_result leases(const struct question *q)
{
    if (!str_eq(q->attr->namespace_, STR("kube-node-lease"))) {
        return no(q, "can only access leases in the \"kube-node-lease\" system namespace");
    }
    return own_object(q, "can only get, create, update, patch, or delete a node lease",
                      "can only access node lease with the same name as the requesting node");
}

static enum authz_result csi_nodes(const struct question *q)
{
    if (!str_empty(q->attr->subresource)) {
        return no(q, "cannot authorize CSINode subresources");
    }
    return own_object(q, "can only get, create, update, patch, or delete a CSINode",
                      "can only access CSINode with the same name as the requesting node");
}

static enum authz_result nodes(const struct question *q)
{
    bool own = str_eq(q->attr->name, q->node);
    if (str_eq(q->attr->subresource, STR("status"))) {
        return verb_is(q, VERBS("update", "patch"))
                   ? AUTHZ_ALLOW
                   : no(q, "can only update or patch the status of a node");
    }
    if (!str_empty(q->attr->subresource)) {
        return no(q, "cannot access subresources of nodes");
    }
    if (verb_is(q, VERBS("create", "update", "patch"))) {
        return AUTHZ_ALLOW; /* of which node: NodeRestriction */
    }
    if (verb_is(q, VERBS("get", "list", "watch"))) {
        if (own ||
            (!str_eq(q->attr->verb, STR("get")) && narrowed_to(q, "metadata.name", q->node))) {
            return AUTHZ_ALLOW;
        }
        q->r->reason =
            arena_printf(q->r->arena, "node '%.*s' cannot read '%.*s', only its own Node object",
                         STR_ARG(q->node), STR_ARG(q->attr->name));
    }
    return AUTHZ_NO_OPINION;
}

static enum authz_result pods(const struct question *q)
{
    if (str_eq(q->attr->subresource, STR("status"))) {
        return verb_is(q, VERBS("update", "patch"))
                   ? AUTHZ_ALLOW
                   : no(q, "can only update or patch the status of a pod");
    }
    if (str_eq(q->attr->subresource, STR("eviction"))) {
        return str_eq(q->attr->verb, STR("create")) ? AUTHZ_ALLOW
                                                    : no(q, "can only create an eviction");
    }
    if (!str_empty(q->attr->subresource)) {
        return no(q, "cannot access this subresource of pods");
    }
    if (verb_is(q, VERBS("create", "delete"))) {
        return AUTHZ_ALLOW; /* which ones: NodeRestriction */
    }
    if (str_eq(q->attr->verb, STR("get"))) {
        return node_graph_has_pod(q->self->graph, q->node, q->attr->namespace_, q->attr->name)
                   ? AUTHZ_ALLOW
                   : no_way(q);
    }
    if (verb_is(q, VERBS("list", "watch"))) {
        return narrowed_to(q, "spec.nodeName", q->node)
                   ? AUTHZ_ALLOW
                   : no(q, "can only list/watch pods with spec.nodeName field selector");
    }
    return AUTHZ_NO_OPINION;
}

static enum authz_result resource_slices(const struct question *q)
{
    if (!str_empty(q->attr->subresource)) {
        return no(q, "cannot access subresources of ResourceSlices");
    }
    if (str_eq(q->attr->verb, STR("create"))) {
        return AUTHZ_ALLOW; /* for which node: NodeRestriction */
    }
    if (verb_is(q, VERBS("list", "watch", "deletecollection"))) {
        return narrowed_to(q, "spec.nodeName", q->node)
                   ? AUTHZ_ALLOW
                   : no(q, "can only list/watch/deletecollection ResourceSlices with spec.nodeName "
                           "field selector");
    }
    return no_way(q);
}

static const struct {
    const char *group, *resource;
    enum authz_result (*ask)(const struct question *q);
} resources[] = {
    { "", "secrets", secrets },
    { "", "configmaps", config_maps },
    { "", "pods", pods },
    { "", "nodes", nodes },
    { "", "serviceaccounts", service_accounts },
    { "", "persistentvolumeclaims", claims },
    { "", "persistentvolumes", volumes },
    { "coordination.k8s.io", "leases", leases },
    { "storage.k8s.io", "volumeattachments", attachments },
    { "storage.k8s.io", "csinodes", csi_nodes },
    { "resource.k8s.io", "resourceclaims", resource_claims },
    { "resource.k8s.io", "resourceslices", resource_slices },
};

static enum authz_result authorize(struct authz *authz, struct authz_request *r)
{
    struct authz_node *self = CONTAINER_OF(authz, struct authz_node, authz);
    struct question q = {
        .self = self, .r = r, .attr = &r->attr, .node = auth_user_node(r->attr.user)
    };
    if (!q.node.ptr) {
        return AUTHZ_NO_OPINION;
    }
    if (str_empty(q.node)) {
        r->reason =
            arena_printf(r->arena, "unknown node for user \"%.*s\"", STR_ARG(r->attr.user->name));
        return AUTHZ_NO_OPINION;
    }
    for (size_t i = 0; r->attr.resource_request && i < ARRAY_SIZE(resources); i++) {
        if (str_eq_c(r->attr.resource, resources[i].resource) &&
            str_eq_c(r->attr.api_group, resources[i].group)) {
            return resources[i].ask(&q);
        }
    }
    uint32_t bit = rbac_verb_bit(r->attr.verb);
    for (size_t i = 0; i < self->n_rules; i++) {
        if (rbac_compiled_allows(&self->rules[i], &r->attr, bit)) {
            return AUTHZ_ALLOW;
        }
    }
    return AUTHZ_NO_OPINION;
}

/* What a node may do depends on its pods: it cannot be told as rules. Nobody else gets anything from this mode. */
static bool rules(struct authz *authz, const struct auth_user *user, struct str namespace_,
                  struct arena *a, struct rbac_rule_set *out, struct err *err)
{
    (void)authz;
    (void)namespace_;
    (void)a;
    (void)out;
    if (auth_user_node(user).ptr) {
        (void)err_set(err, ERR_UNAVAILABLE, "node authorizer does not support user rule resolution");
    }
    return true;
}

/* ---- lifecycle ---- */

static void node_close(struct authz *authz)
{
    struct authz_node *self = CONTAINER_OF(authz, struct authz_node, authz);
    arena_deinit(&self->arena);
    free(self);
}

static bool load_rules(struct authz_node *self, struct err *err)
{
    struct rbac_v1_cluster_role role = { 0 };
    struct rbac_rule_set set = { 0 };
    if (!rbac_bootstrap_cluster_role(&self->arena, STR("system:node"), &role, err)) {
        return false;
    }
    if (!rbac_rule_set_add_typed(&set, &self->arena, role.rules, role.n_rules)) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    self->rules = arena_new_n(&self->arena, struct rbac_compiled, set.n + 1);
    for (size_t i = 0; self->rules && i < set.n; i++) {
        if (!rbac_compile(&self->arena, &set.rules[i], &self->rules[i])) {
            return err_set(err, ERR_NO_MEMORY, "out of memory");
        }
    }
    self->n_rules = set.n;
    return set.n > 0 ||
           err_set(err, ERR_INTERNAL, "the RBAC bootstrap has no rules for system:node");
}

static bool node_open(const struct authz_config *cfg, struct authz **ret, struct err *err)
{
    if (!cfg->node_graph) {
        return err_set(err, ERR_INTERNAL, "mode Node without a graph");
    }
    struct authz_node *self = calloc(1, sizeof(*self));
    if (!self) {
        abort();
    }
    *self = (struct authz_node){ .authz = { &authz_node_ops }, .graph = cfg->node_graph };
    arena_init(&self->arena, ARENA_NO_BUDGET);
    if (!load_rules(self, err)) {
        node_close(&self->authz);
        return false;
    }
    *ret = &self->authz;
    return true;
}

const struct authz_ops authz_node_ops = {
    .mode = STR_INIT("Node"),
    .open = node_open,
    .authorize = authorize,
    .rules = rules,
    .free = node_close,
};
