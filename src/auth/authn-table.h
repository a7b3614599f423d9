/* The authenticators' tables of functions; one file each. */
#ifndef AUTH_AUTHN_TABLE_H
#define AUTH_AUTHN_TABLE_H

#include "auth/authn.h"

extern const struct authn_ops authn_requestheader_ops;
extern const struct authn_ops authn_x509_ops;
extern const struct authn_ops authn_token_file_ops;
extern const struct authn_ops authn_service_account_ops;
extern const struct authn_ops authn_bootstrap_ops;
extern const struct authn_ops authn_oidc_ops;
extern const struct authn_ops authn_webhook_ops;

/* Other issuers in place of those there are; of 'cfg' only jwt and loop are looked at. False with the reason, and they stay. */
MUST_CHECK bool authn_oidc_replace(struct authn *self, const struct authn_config *cfg, struct err *err);

#endif
