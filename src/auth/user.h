/* Who makes a request: the result of authentication, the subject of authorisation. */
#ifndef AUTH_USER_H
#define AUTH_USER_H

#include "base/arena.h"
#include "base/err.h"

struct auth_extra {
    struct str key;
    const struct str *values;
    size_t n_values;
};

/* Everything is borrowed from the arena of the request (or from whoever made the user). */
struct auth_user {
    struct str name;
    struct str uid; /* absent: none */
    const struct str *groups;
    size_t n_groups;
    const struct auth_extra *extra;
    size_t n_extra;
};

/* Names with a meaning of their own (Kubernetes documentation, "Authenticating", "Using RBAC Authorization"). */
#define AUTH_USER_ANONYMOUS STR("system:anonymous")
#define AUTH_GROUP_AUTHENTICATED STR("system:authenticated")
#define AUTH_GROUP_UNAUTHENTICATED STR("system:unauthenticated")
#define AUTH_GROUP_MASTERS STR("system:masters")
#define AUTH_GROUP_NODES STR("system:nodes")
#define AUTH_GROUP_SERVICE_ACCOUNTS STR("system:serviceaccounts")
#define AUTH_GROUP_SERVICE_ACCOUNTS_PREFIX STR("system:serviceaccounts:")
#define AUTH_SERVICE_ACCOUNT_PREFIX STR("system:serviceaccount:")
#define AUTH_NODE_PREFIX STR("system:node:")

/* Keys of 'extra' that Kubernetes sets. */
#define AUTH_EXTRA_POD_NAME STR("authentication.kubernetes.io/pod-name")
#define AUTH_EXTRA_POD_UID STR("authentication.kubernetes.io/pod-uid")
#define AUTH_EXTRA_NODE_NAME STR("authentication.kubernetes.io/node-name")
#define AUTH_EXTRA_NODE_UID STR("authentication.kubernetes.io/node-uid")
#define AUTH_EXTRA_CREDENTIAL_ID STR("authentication.kubernetes.io/credential-id")

bool auth_user_in_group(const struct auth_user *u, struct str group);
/* The first value of an extra key, or absent. */
struct str auth_user_extra(const struct auth_user *u, struct str key);
/* Adds a group when it is not there yet. False past the arena's budget. */
MUST_CHECK bool auth_user_add_group(struct auth_user *u, struct arena *a, struct str group);
/* A deep copy. */
MUST_CHECK bool auth_user_copy(struct auth_user *dst, const struct auth_user *src, struct arena *a);
/* "system:serviceaccount:NS:NAME" -> its parts; false when it is no such name. */
bool auth_service_account_split(struct str user_name, struct str *ret_namespace, struct str *ret_name);
/* The user and groups of a service account. */
MUST_CHECK bool auth_service_account_user(struct arena *a, struct str namespace_, struct str name, struct str uid,
                                          struct auth_user *ret);
/* The node's name when the user is a node ("system:node:NAME" in group system:nodes); absent otherwise. */
struct str auth_user_node(const struct auth_user *u);

#endif
