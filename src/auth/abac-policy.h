/*
 * The policy file of mode ABAC (--authorization-policy-file): a JSON object a line, '#' begins a comment line (Kubernetes
 * documentation, "Using ABAC Authorization").
 *
 *     {"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"alice","namespace":"*","resource":"pods",
 *      "apiGroup":"*","readonly":true}}
 *     {"user":"bob","resource":"pods","readonly":true}
 *
 * The second form, without apiVersion and kind, is the oldest one: what it leaves out means everything.
 */
#ifndef AUTH_ABAC_POLICY_H
#define AUTH_ABAC_POLICY_H

#include "auth/authz.h"

struct abac_policy {
    struct str user, group;              /* one that is not empty must fit, "*" fits everybody; none fits nobody */
    struct str api_group, resource, namespace_; /* "*": all */
    struct str path;                     /* of requests that are no resources; "*" and "/prefix*" */
    bool readonly;
    unsigned line;
};

struct abac_file {
    struct arena arena;
    struct abac_policy *policies;
    size_t n;
};

/* False with a reason that names the line. 'text' may go afterwards. Undone by abac_file_deinit(). */
MUST_CHECK bool abac_file_parse(struct str text, struct abac_file *ret, struct err *err);
void abac_file_deinit(struct abac_file *f);
/* Does the policy allow it? */
bool abac_policy_allows(const struct abac_policy *p, const struct authz_attributes *a);
bool abac_policy_fits_user(const struct abac_policy *p, const struct auth_user *u);

#endif
