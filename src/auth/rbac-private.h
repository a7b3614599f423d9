/* Shared by rbac.c (objects and decisions), rbac-rule.c (one rule), rbac-escalation.c and rbac-aggregate.c. */
#ifndef AUTH_RBAC_PRIVATE_H
#define AUTH_RBAC_PRIVATE_H

#include "auth/rbac.h"
#include "base/list.h"
#include "base/map.h"

struct meta_v1_label_selector;
struct api_str_pair;

/* "pods/log" taken apart. */
struct rbac_resource {
    struct str resource, sub;
};

/* A rule ready to be asked: verbs as bits, resources taken apart. */
struct rbac_compiled {
    struct rbac_rule rule; /* as the API has it, in the role's arena */
    uint32_t verbs;        /* RBAC_VERB_* bits; RBAC_ALL: "*" */
    bool other_verbs;      /* some verb has no bit: compare texts */
    bool all_groups, all_resources;
    struct rbac_resource *resources;
};
#define RBAC_ALL UINT32_MAX

/* The same rule, borrowed. */
struct rbac_rule rbac_rule_of_typed(const struct rbac_v1_policy_rule *p);
/* The bit of a well-known verb, or 0. */
uint32_t rbac_verb_bit(struct str verb);
/* Compiles a copied rule. False past the arena's budget. */
MUST_CHECK bool rbac_compile(struct arena *a, const struct rbac_rule *rule, struct rbac_compiled *ret);
/* 'bit' is rbac_verb_bit(attr->verb). */
bool rbac_compiled_allows(const struct rbac_compiled *c, const struct authz_attributes *attr, uint32_t bit);

/* A Role ("namespace/name") or ClusterRole ("/name"). It is there as long as the object exists or a binding names it. */
struct rbac_role {
    struct str namespace_, name; /* in 'key' */
    char *key;
    unsigned bindings; /* that name it */
    bool present;
    struct arena arena; /* of what follows */
    struct rbac_compiled *rules;
    size_t n_rules;
    const struct api_str_pair *labels;
    size_t n_labels;
    const struct meta_v1_label_selector *selectors; /* of the aggregationRule */
    size_t n_selectors;
    bool aggregated;
};

struct rbac_subject {
    struct str kind, name, namespace_;
    struct str member; /* what a user's name or group must be */
};

struct rbac_binding {
    struct arena arena; /* holds the binding itself */
    struct str namespace_, name, role_kind, role_name;
    struct rbac_role *role;
    struct rbac_subject *subjects;
    size_t n_subjects;
};

/* One subject of one binding: found by the subject's name. Sorted by the binding's name. */
struct rbac_grant {
    const struct rbac_binding *binding;
    const struct rbac_subject *subject;
};
struct rbac_grants {
    struct rbac_grant *items;
    size_t n;
};

/* The bindings of one namespace, or of the cluster. */
struct rbac_scope {
    struct map users, groups; /* -> struct rbac_grants */
    size_t n;                 /* grants in both */
};

struct rbac {
    struct map roles;    /* key -> struct rbac_role */
    struct map bindings; /* "namespace/name" -> struct rbac_binding */
    struct map scopes;   /* namespace -> struct rbac_scope */
    struct rbac_scope cluster;
};

/* NULL when there is no such role. */
const struct rbac_role *rbac_find_role(const struct rbac *r, struct str namespace_, struct str name);
/* 'clusterrole.rbac.authorization.k8s.io "x" not found' */
struct str rbac_missing_text(struct arena *a, struct str kind, struct str name);
/* Calls 'fn' for every grant of the user in the namespace and the cluster, cluster first; stops when it returns true. */
bool rbac_visit(const struct rbac *r, const struct auth_user *user, struct str namespace_,
                bool (*fn)(void *ctx, const struct rbac_grant *g), void *ctx);

#endif
