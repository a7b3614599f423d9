/*
 * What an OpenID Connect issuer says: its discovery document, and the claims of its ID tokens as a user (OpenID Connect Core 1.0,
 * Discovery 1.0; Kubernetes documentation, "OpenID Connect Tokens"). No keys and no network here.
 */
#ifndef AUTH_OIDC_CLAIMS_H
#define AUTH_OIDC_CLAIMS_H

#include "auth/user.h"

struct oidc_required {
    struct str key, value;
};

struct oidc_rules {
    struct str issuer;
    struct str client_id;         /* the audience; or one of 'audiences', when there are any */
    const struct str *audiences;
    size_t n_audiences;
    struct str uid_claim;         /* empty: no uid */
    struct str username_claim, username_prefix; /* the prefix as it is put before names */
    struct str groups_claim, groups_prefix;     /* claim empty: no groups */
    const struct oidc_required *required;
    size_t n_required;
};

/* Claims whose signature was verified, to a user: issuer, audience, times (seconds), required claims, name, groups. '*ret_expires' is
 * the token's end. False with a reason for the log. */
MUST_CHECK bool oidc_claims_user(struct str claims_json, const struct oidc_rules *rules, int64_t now, struct arena *a,
                                 struct auth_user *ret, int64_t *ret_expires, struct err *err);
/* jwks_uri of the discovery document of 'issuer', which must name itself. */
MUST_CHECK bool oidc_discovery_read(struct str json, struct str issuer, struct arena *a, struct str *ret_jwks_uri, struct err *err);

#endif
