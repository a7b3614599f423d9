/*
 * RBAC: roles and bindings, compiled for quick decisions.
 *
 * struct rbac is fed with typed objects whenever one is put or deleted (by the apiserver from its watch cache; by anybody else from
 * informers) and copies what it needs. Bindings are found by subject: cluster-wide, and per namespace; each binding points at its
 * role, present or not, so that the order in which objects arrive does not matter. One thread at a time.
 *
 * The rules: a role grants, nothing forbids; "*" means all; resourceNames narrow; "pods/log" is a resource of its own; "*" in
 * resources also covers subresources, and "*" followed by "/scale" a subresource of everything (Kubernetes documentation, "Using RBAC
 * Authorization").
 */
#ifndef AUTH_RBAC_H
#define AUTH_RBAC_H

#include "auth/authz.h"
#include "base/buf.h"

struct rbac_v1_role;
struct rbac_v1_cluster_role;
struct rbac_v1_role_binding;
struct rbac_v1_cluster_role_binding;
struct rbac_v1_policy_rule;

struct rbac *rbac_new(void);
struct rbac *rbac_free(struct rbac *r);

/* Put replaces what was there under the same name. The object is only read during the call. */
void rbac_put_role(struct rbac *r, const struct rbac_v1_role *o);
void rbac_put_cluster_role(struct rbac *r, const struct rbac_v1_cluster_role *o);
void rbac_put_role_binding(struct rbac *r, const struct rbac_v1_role_binding *o);
void rbac_put_cluster_role_binding(struct rbac *r, const struct rbac_v1_cluster_role_binding *o);
/* Unknown names are fine. */
void rbac_delete_role(struct rbac *r, struct str namespace_, struct str name);
void rbac_delete_cluster_role(struct rbac *r, struct str name);
void rbac_delete_role_binding(struct rbac *r, struct str namespace_, struct str name);
void rbac_delete_cluster_role_binding(struct rbac *r, struct str name);

/* Forgets every object of a kind: before all of them are put again, because deletions may have been missed. */
enum rbac_kind { RBAC_ROLES, RBAC_CLUSTER_ROLES, RBAC_ROLE_BINDINGS, RBAC_CLUSTER_ROLE_BINDINGS };
void rbac_forget(struct rbac *r, enum rbac_kind kind);

/* AUTHZ_ALLOW or AUTHZ_NO_OPINION. With an arena, '*ret_reason' gets Kubernetes' text: which binding allowed, or which roles that are
 * bound could not be found (may be absent). 'arena' NULL: no text is made. */
enum authz_result rbac_authorize(const struct rbac *r, const struct authz_attributes *attr, struct arena *arena,
                                 struct str *ret_reason);

/* A rule in the form of the API, borrowed from a typed object or from struct rbac (until the next put or delete). */
struct rbac_rule {
    const struct str *verbs, *api_groups, *resources, *resource_names, *non_resource_urls;
    size_t n_verbs, n_api_groups, n_resources, n_resource_names, n_non_resource_urls;
};
struct rbac_rule_set {
    struct rbac_rule *rules;
    size_t n;
    size_t capacity;
};
MUST_CHECK bool rbac_rule_set_add(struct rbac_rule_set *s, struct arena *a, const struct rbac_rule *rule);
MUST_CHECK bool rbac_rule_set_add_typed(struct rbac_rule_set *s, struct arena *a, const struct rbac_v1_policy_rule *rules,
                                        size_t n_rules);
/* Does one rule allow it? Also what the Node authoriser asks of its fixed rules. */
bool rbac_rule_allows(const struct rbac_rule *rule, const struct authz_attributes *attr);

/* Every rule that 'user' has in 'namespace_' (and cluster-wide). Roles that are missing are named in 'err' (code ERR_NOT_FOUND) while
 * the rest is added; false only past the arena's budget. */
MUST_CHECK bool rbac_rules_for(const struct rbac *r, const struct auth_user *user, struct str namespace_, struct arena *a,
                               struct rbac_rule_set *out, struct err *err);
/* The rules behind a roleRef. False with ERR_NOT_FOUND and Kubernetes' wording when the role does not exist. */
MUST_CHECK bool rbac_rules_of_ref(const struct rbac *r, struct str namespace_, struct str kind, struct str name, struct arena *a,
                                  struct rbac_rule_set *out, struct err *err);

/*
 * Privilege escalation: nobody may grant more than they have (unless they hold the verb "escalate" on the role, or "bind" on the
 * role bound, which the caller checks first through the chain, see rbac_may_escalate() and rbac_may_bind()).
 * True when all of 'wanted' is covered by 'held'. Otherwise false, ERR_FORBIDDEN, and the message of kube-apiserver:
 *   user "bob" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
 *   {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}
 * which is longer than struct err holds and therefore goes to 'message'.
 */
MUST_CHECK bool rbac_covers(const struct rbac_rule_set *held, const struct rbac_rule_set *wanted, const struct auth_user *user,
                            struct str resolution_error, struct arena *a, struct buf *message);
/* The same for what a request's user holds in 'namespace_' ("" for cluster roles and cluster bindings). */
MUST_CHECK bool rbac_check_escalation(const struct rbac *r, const struct auth_user *user, struct str namespace_,
                                      const struct rbac_rule_set *wanted, struct arena *a, struct buf *message);
/* The attributes to ask the chain for: may the user skip the check? 'resource' is "roles" or "clusterroles". */
struct authz_attributes rbac_may_escalate(const struct auth_user *user, struct str namespace_, struct str resource, struct str name);
struct authz_attributes rbac_may_bind(const struct auth_user *user, struct str namespace_, struct str role_kind, struct str role_name);

/*
 * Aggregation: the rules that a ClusterRole with an aggregationRule should have: those of all ClusterRoles that its selectors match
 * (not itself), ordered by name, without repeats. For the controller, and for the apiserver that has none beside it.
 * False when the role is unknown or has no aggregationRule.
 */
MUST_CHECK bool rbac_aggregate(const struct rbac *r, struct str cluster_role, struct arena *a, struct rbac_rule_set *out);
/* Names of the ClusterRoles that have an aggregationRule. */
MUST_CHECK bool rbac_aggregated_roles(const struct rbac *r, struct arena *a, struct str **ret_names, size_t *ret_n);

#endif
