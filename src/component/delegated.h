/*
 * Who may read a component's port: authentication and authorisation that ask the apiserver, as the originals delegate them
 * (--authentication-kubeconfig, --authorization-kubeconfig). Client certificates of --client-ca-file are verified here; tokens go to
 * TokenReview, everybody's rights to SubjectAccessReview. Without those kubeconfigs no token is known, and only members of
 * system:masters may do anything that is not always allowed.
 */
#ifndef COMPONENT_DELEGATED_H
#define COMPONENT_DELEGATED_H

#include "auth/authn.h"
#include "auth/authz.h"
#include "net/loop.h"

struct delegated;

struct delegated_config {
    const char *name;                                             /* of the component, for the user agent */
    struct str authentication_kubeconfig, authorization_kubeconfig; /* empty: nobody is asked */
    struct str client_ca_file;                                    /* empty: no certificate is known */
};

MUST_CHECK struct delegated *delegated_new(struct loop *l, const struct delegated_config *config, struct err *err);
/* NULL-safe. */
struct delegated *delegated_free(struct delegated *d);
struct authn_chain *delegated_authn(const struct delegated *d);
struct authz_chain *delegated_authz(const struct delegated *d);

#endif
