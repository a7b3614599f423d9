/* Which modes there are. */
#include "auth/authz-table.h"

const struct authz_ops *const authz_table[] = {
    &authz_always_allow_ops,
    &authz_always_deny_ops,
    &authz_node_ops,
    &authz_rbac_ops,
    &authz_abac_ops,
    &authz_webhook_ops,
    NULL,
};
