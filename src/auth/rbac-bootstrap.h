/* The roles and bindings that every cluster begins with (schema/rbac-bootstrap.json, embedded into the executable). */
#ifndef AUTH_RBAC_BOOTSTRAP_H
#define AUTH_RBAC_BOOTSTRAP_H

#include "base/arena.h"
#include "base/err.h"

struct rbac_v1_role;
struct rbac_v1_cluster_role;
struct rbac_v1_role_binding;
struct rbac_v1_cluster_role_binding;
struct rbac;

struct rbac_bootstrap {
    struct rbac_v1_cluster_role *cluster_roles;
    size_t n_cluster_roles;
    struct rbac_v1_cluster_role_binding *cluster_role_bindings;
    size_t n_cluster_role_bindings;
    struct rbac_v1_role *roles;
    size_t n_roles;
    struct rbac_v1_role_binding *role_bindings;
    size_t n_role_bindings;
};
/* Decodes all of them into the arena: objects ready to be created (metadata with labels and annotations, no uid or version). */
MUST_CHECK bool rbac_bootstrap_decode(struct arena *a, struct rbac_bootstrap *ret, struct err *err);
/* One ClusterRole of them, without reading the others. It must not be one that is made of others. */
MUST_CHECK bool rbac_bootstrap_cluster_role(struct arena *a, struct str name, struct rbac_v1_cluster_role *ret, struct err *err);
/* Puts them all into 'r', aggregated roles filled. For tests, and for a server before its store has answered. */
MUST_CHECK bool rbac_bootstrap_feed(struct rbac *r, struct err *err);
/* Reconciliation at start (annotation rbac.authorization.kubernetes.io/autoupdate not "false"): what is missing in 'have' is added,
 * what somebody added stays. True when '*ret' differs from 'have' and should be written. */
bool rbac_bootstrap_merge_role(const struct rbac_v1_cluster_role *have, const struct rbac_v1_cluster_role *want, struct arena *a,
                               struct rbac_v1_cluster_role *ret);

#endif
