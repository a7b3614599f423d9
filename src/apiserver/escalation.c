/*
 * Nobody grants what they do not hold (Kubernetes documentation, "Privilege escalation prevention and bootstrapping"): a write of a
 * role or binding is refused unless the writer has every right in it, or holds "escalate" on the role, or "bind" on the role bound.
 * No plugin: it cannot be switched off.
 */
#include "api/equal.h"
#include "api/gen/rbac_v1.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "auth/rbac.h"

static const char *const rbac_group = "rbac.authorization.k8s.io";

/* What is written: rules of its own, or a reference to a role. */
struct grant {
    bool is_binding;
    const struct rbac_v1_policy_rule *rules;
    size_t n_rules;
    bool aggregated; /* its rules will be those of roles that others write: everything */
    const struct rbac_v1_role_ref *ref;
};

static bool read_grant(const struct request *r, struct grant *g)
{
    const struct api_type *t = r->rest->hub->type;
    *g = (struct grant){ 0 };
    if (t == &rbac_v1_role_type) {
        const struct rbac_v1_role *o = r->obj;
        g->rules = o->rules;
        g->n_rules = o->n_rules;
    } else if (t == &rbac_v1_cluster_role_type) {
        const struct rbac_v1_cluster_role *o = r->obj;
        g->rules = o->rules;
        g->n_rules = o->n_rules;
        g->aggregated = o->aggregation_rule && o->aggregation_rule->n_cluster_role_selectors > 0;
    } else if (t == &rbac_v1_role_binding_type) {
        const struct rbac_v1_role_binding *o = r->obj;
        g->is_binding = true;
        g->ref = &o->role_ref;
    } else if (t == &rbac_v1_cluster_role_binding_type) {
        const struct rbac_v1_cluster_role_binding *o = r->obj;
        g->is_binding = true;
        g->ref = &o->role_ref;
    } else {
        return false;
    }
    return true;
}

/* An update that leaves the rights alone (labels, finalizers) needs none. */
static bool same_rights(const struct request *r, const struct grant *g)
{
    const struct api_type *t = r->rest->hub->type;
    if (!r->old || r->creating) {
        return false;
    }
    if (g->is_binding) {
        return api_equal_field(t, "roleRef", r->obj, r->old) && api_equal_field(t, "subjects", r->obj, r->old);
    }
    return api_equal_field(t, "rules", r->obj, r->old) &&
           (t == &rbac_v1_role_type || api_equal_field(t, "aggregationRule", r->obj, r->old));
}

static bool wanted_rules(struct request *r, const struct grant *g, struct rbac_rule_set *set, struct err *err)
{
    static const struct str star[] = { STR_INIT("*") };
    if (g->is_binding) {
        return rbac_rules_of_ref(r->srv->rbac, r->kctx.ns, g->ref->kind, g->ref->name, &r->arena, set, err);
    }
    bool ok = rbac_rule_set_add_typed(set, &r->arena, g->rules, g->n_rules);
    if (ok && g->aggregated) {
        ok = rbac_rule_set_add(set, &r->arena, &(struct rbac_rule){ .verbs = star, .n_verbs = 1, .api_groups = star, .n_api_groups = 1,
                                                                     .resources = star, .n_resources = 1 }) &&
             rbac_rule_set_add(set, &r->arena, &(struct rbac_rule){ .verbs = star, .n_verbs = 1, .non_resource_urls = star,
                                                                     .n_non_resource_urls = 1 });
    }
    return ok || err_set(err, ERR_TOO_LARGE, "too many rules");
}

static struct str name_of(const struct request *r)
{
    return rest_meta_const(r->rest, r->obj)->name;
}

/* The writer may not go past the check: are all the rights held? */
static enum stage_result check(struct request *r)
{
    const struct api_resource *res = r->rest->hub;
    struct grant g;
    struct rbac_rule_set wanted = { 0 };
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf message;
    buf_init(&message, 64u << 10);
    if (!read_grant(r, &g)) {
        return STAGE_DONE;
    }
    if (!wanted_rules(r, &g, &wanted, &err)) {
        if (err.code == ERR_NOT_FOUND) { /* upstream names the binding's resource with the role's name */
            status_not_found(&r->status, &r->arena, res->group, res->resource, g.ref->name);
        } else {
            status_forbidden(&r->status, &r->arena, res->group, res->resource, name_of(r), "%s", err.msg);
        }
        return STAGE_ERROR;
    }
    if (rbac_check_escalation(r->srv->rbac, &r->user, r->kctx.ns, &wanted, &r->arena, &message)) {
        return STAGE_DONE;
    }
    struct str text = buf_str(&message);
    status_forbidden(&r->status, &r->arena, res->group, res->resource, name_of(r), "%.*s", STR_ARG(text));
    return STAGE_ERROR;
}

static void on_done(struct authz_request *a, enum authz_result result)
{
    struct request *r = a->owner;
    request_resume(r, result == AUTHZ_ALLOW ? STAGE_DONE : check(r));
}

enum stage_result stage_escalation(struct request *r)
{
    struct grant g;
    if (!str_eq_c(r->rest->hub->group, rbac_group) || r->sub || !read_grant(r, &g) || same_rights(r, &g)) {
        return STAGE_DONE;
    }
    r->authz = (struct authz_request){ .arena = &r->arena, .done = on_done, .owner = r };
    r->authz.attr = g.is_binding ? rbac_may_bind(&r->user, r->kctx.ns, g.ref->kind, g.ref->name)
                                 : rbac_may_escalate(&r->user, r->kctx.ns, r->rest->hub->resource, r->info.name);
    enum authz_result result = authz_start(r->srv->authz, &r->authz);
    if (result == AUTHZ_WAIT) {
        return STAGE_WAIT;
    }
    return result == AUTHZ_ALLOW ? STAGE_DONE : check(r);
}
