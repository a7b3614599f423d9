/*
 * Nobody grants more than they hold: writes of roles and bindings are checked against the rules of who writes, unless that
 * user may "escalate" the role or "bind" the role referred to ("Using RBAC Authorization", privilege escalation prevention).
 */
#include "api/equal.h"
#include "api/gen/rbac_v1.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "auth/rbac.h"

/* Does the chain allow it now? An authoriser that has to be waited for counts as no. */
static bool may(struct request *r, struct authz_attributes attr)
{
    struct authz_request q = { .attr = attr, .arena = &r->arena };
    enum authz_result result = authz_start(r->srv->authz, &q);
    if (result == AUTHZ_WAIT) {
        authz_cancel(&q);
    }
    return result == AUTHZ_ALLOW;
}

static enum stage_result covered(struct request *r, struct str ns, const struct rbac_rule_set *wanted, struct str name)
{
    CLEANUP(buf_deinit) struct buf message;
    buf_init(&message, 1u << 20);
    if (rbac_check_escalation(r->srv->rbac, &r->user, ns, wanted, &r->arena, &message)) {
        return STAGE_DONE;
    }
    status_forbidden(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, name, "%.*s", STR_ARG(buf_str(&message)));
    return STAGE_ERROR;
}

static enum stage_result too_large(struct request *r)
{
    return request_bad(r, "too many rules");
}

static enum stage_result role(struct request *r, const struct meta_v1_object_meta *m, const struct rbac_v1_policy_rule *rules, size_t n,
                              bool everything)
{
    static const struct str star[] = { STR_INIT("*") };
    static const struct rbac_rule all[] = {
        { .verbs = star, .n_verbs = 1, .api_groups = star, .n_api_groups = 1, .resources = star, .n_resources = 1 },
        { .verbs = star, .n_verbs = 1, .non_resource_urls = star, .n_non_resource_urls = 1 },
    };
    struct rbac_rule_set wanted = { 0 };
    struct str ns = r->rest->hub->namespaced ? r->info.ns : STR_EMPTY;
    if (may(r, rbac_may_escalate(&r->user, ns, r->ep->res->resource, m->name))) {
        return STAGE_DONE;
    }
    if (!rbac_rule_set_add_typed(&wanted, &r->arena, rules, n)) {
        return too_large(r);
    }
    for (size_t i = 0; everything && i < ARRAY_SIZE(all); i++) {
        if (!rbac_rule_set_add(&wanted, &r->arena, &all[i])) {
            return too_large(r);
        }
    }
    return covered(r, ns, &wanted, m->name);
}

static enum stage_result binding(struct request *r, const struct meta_v1_object_meta *m, const struct rbac_v1_role_ref *ref)
{
    struct rbac_rule_set wanted = { 0 };
    struct err err = { 0 };
    struct str ns = r->rest->hub->namespaced ? r->info.ns : STR_EMPTY;
    if (may(r, rbac_may_bind(&r->user, ns, ref->kind, ref->name))) {
        return STAGE_DONE;
    }
    if (!rbac_rules_of_ref(r->srv->rbac, ns, ref->kind, ref->name, &r->arena, &wanted, &err)) {
        if (err.code == ERR_NOT_FOUND) {
            status_not_found(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, ref->name);
            return STAGE_ERROR;
        }
        return too_large(r);
    }
    return covered(r, ns, &wanted, m->name);
}

static bool unchanged(const struct request *r, const char *field)
{
    return !r->creating && r->old && api_equal_field(r->rest->hub->type, field, r->obj, r->old);
}

enum stage_result stage_grant(struct request *r)
{
    const struct api_resource *hub = r->rest->hub;
    if (!str_eq_c(hub->group, "rbac.authorization.k8s.io") || !r->srv->rbac) {
        return STAGE_DONE;
    }
    if (str_eq_c(hub->resource, "roles")) {
        const struct rbac_v1_role *o = r->obj;
        return unchanged(r, "rules") ? STAGE_DONE : role(r, &o->metadata, o->rules, o->n_rules, false);
    }
    if (str_eq_c(hub->resource, "clusterroles")) {
        const struct rbac_v1_cluster_role *o = r->obj;
        bool aggregates = o->aggregation_rule && !unchanged(r, "aggregationRule");
        return unchanged(r, "rules") && !aggregates ? STAGE_DONE : role(r, &o->metadata, o->rules, o->n_rules, aggregates);
    }
    if (unchanged(r, "subjects") && unchanged(r, "roleRef")) {
        return STAGE_DONE;
    }
    if (str_eq_c(hub->resource, "rolebindings")) {
        const struct rbac_v1_role_binding *o = r->obj;
        return binding(r, &o->metadata, &o->role_ref);
    }
    const struct rbac_v1_cluster_role_binding *o = r->obj;
    return binding(r, &o->metadata, &o->role_ref);
}
