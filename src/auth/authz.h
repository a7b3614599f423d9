/*
 * Authorisation: may this user do that? Modes (AlwaysAllow, AlwaysDeny, Node, RBAC, ABAC, Webhook) are asked in the order of
 * --authorization-mode; the first that allows or denies decides; if all have no opinion the answer is no.
 *
 * Each mode is one file exporting one 'const struct authz_ops', listed in authz-table.c. Members of system:masters are allowed before
 * any mode is asked, as in kube-apiserver. RBAC takes well below a microsecond and never waits, so most requests are decided inside
 * authz_start(). Everything runs on one loop thread.
 */
#ifndef AUTH_AUTHZ_H
#define AUTH_AUTHZ_H

#include "auth/user.h"
#include "base/buf.h"

struct authz;
struct client;
struct authz_chain;
struct authz_request;
struct rbac;
struct node_graph;
struct rbac_rule_set;

enum authz_result { AUTHZ_NO_OPINION, AUTHZ_ALLOW, AUTHZ_DENY, AUTHZ_WAIT };

/* A requirement of a field or label selector that narrows a list or watch (KEP-4601). */
struct authz_requirement {
    struct str key;
    struct str op; /* "In" "NotIn"; labels also "Exists" "DoesNotExist" */
    const struct str *values;
    size_t n_values;
};

struct authz_attributes {
    const struct auth_user *user;
    struct str verb;        /* get list watch create update patch delete deletecollection proxy …; for paths the method in lower case */
    bool resource_request;  /* false: only 'path' counts */
    struct str namespace_;  /* empty: cluster scope, or all namespaces */
    struct str api_group, api_version, resource, subresource, name;
    struct str path;
    const struct authz_requirement *fields, *labels;
    size_t n_fields, n_labels;
};

struct authz_request {
    struct authz_attributes attr; /* set by the caller */
    struct arena *arena;
    void (*done)(struct authz_request *r, enum authz_result result); /* only after AUTHZ_WAIT; ALLOW, DENY or NO_OPINION */
    void *owner;
    bool want_reason; /* also say why it is allowed (SubjectAccessReview, audit) */

    struct str reason; /* of the decision, may be absent: 'RBAC: allowed by ClusterRoleBinding "x" …' */
    struct err err;    /* err.code != ERR_NONE: something could not be evaluated (the decision stands all the same) */

    struct authz_chain *chain;
    size_t next;
    struct str reason_before; /* of those asked before the one that waits */
    bool waiting;
    void *wait_data;
};

struct authz_config {
    const struct str *modes; /* --authorization-mode, in order */
    size_t n_modes;
    struct rbac *rbac;             /* needed by RBAC and Node; owned by the caller, outlives the chain */
    struct node_graph *node_graph; /* needed by Node */
    /* Needed by Webhook: whom to ask by SubjectAccessReview (the kubelet: its apiserver). Must outlive the chain. */
    struct client *review_client;
    /* The client is a webhook (--authorization-webhook-config-file): the review is posted to its own URL, in "v1" or "v1beta1". */
    bool review_webhook;
    struct str review_version;
    bool fail_denies;              /* when nobody answers, Webhook denies; else it has no opinion */
    const char *policy_file;       /* needed by ABAC: --authorization-policy-file */
    uint32_t review_allowed_ttl_s; /* --authorization-webhook-cache-authorized-ttl; 0: five minutes */
    uint32_t review_denied_ttl_s;  /* --authorization-webhook-cache-unauthorized-ttl; 0: half a minute; AUTH_TTL_NONE of authn.h: none */
};

struct authz_ops {
    struct str mode; /* "RBAC" */
    bool (*open)(const struct authz_config *cfg, struct authz **ret, struct err *err);
    enum authz_result (*authorize)(struct authz *self, struct authz_request *r);
    /* Adds the rules the user has in a namespace, for SelfSubjectRulesReview. NULL: they cannot be told. What is missing is said in
     * err while the rest is added; false only past the arena's budget. */
    bool (*rules)(struct authz *self, const struct auth_user *user, struct str namespace_, struct arena *a, struct rbac_rule_set *out,
                  struct err *err);
    void (*cancel)(struct authz *self, struct authz_request *r);
    void (*free)(struct authz *self);
};

/* First member of each authoriser's own struct. */
struct authz {
    const struct authz_ops *ops;
};

extern const struct authz_ops *const authz_table[]; /* ends with NULL */

/* Unknown or repeated modes are errors, as in kube-apiserver. */
MUST_CHECK struct authz_chain *authz_chain_new(const struct authz_config *cfg, struct err *err);
/* One authoriser of each configuration, whose modes[0] says which: AuthorizationConfiguration, where Webhook may be there several times. */
MUST_CHECK struct authz_chain *authz_chain_new_of(const struct authz_config *list, size_t n, struct err *err);
/* Requests of this chain that wait: while there are any it must not be freed. */
size_t authz_chain_waiting(const struct authz_chain *c);
void authz_chain_add(struct authz_chain *c, struct authz *a);
struct authz_chain *authz_chain_free(struct authz_chain *c);

MUST_CHECK enum authz_result authz_start(struct authz_chain *c, struct authz_request *r);
void authz_resume(struct authz_request *r, enum authz_result result);
void authz_cancel(struct authz_request *r);

/* All rules of the user in the namespace; '*ret_incomplete' with the reason in err->msg when a mode cannot list them all. False
 * only past the arena's budget. */
MUST_CHECK bool authz_rules(struct authz_chain *c, const struct auth_user *user, struct str namespace_, struct arena *a,
                            struct rbac_rule_set *out, bool *ret_incomplete, struct err *err);

/* The message of the 403 as kube-apiserver words it:
 *   pods "x" is forbidden: User "alice" cannot get resource "pods" in API group "" in the namespace "err": REASON
 *   forbidden: User "alice" cannot get path "/metrics"
 * Without a reason the last part is left out. */
void authz_forbidden_message(const struct authz_attributes *attr, struct str reason, struct buf *b);

#endif
