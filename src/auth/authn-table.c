/* Which authenticators there are, in the order of asking. */
#include "auth/authn-table.h"

const struct authn_ops *const authn_table[] = {
    &authn_requestheader_ops,
    &authn_x509_ops,
    &authn_token_file_ops,
    &authn_service_account_ops,
    &authn_bootstrap_ops,
    &authn_oidc_ops,
    &authn_webhook_ops,
    NULL,
};
