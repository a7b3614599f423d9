/* The authorisers' tables of functions; one file each. */
#ifndef AUTH_AUTHZ_TABLE_H
#define AUTH_AUTHZ_TABLE_H

#include "auth/authz.h"

extern const struct authz_ops authz_always_allow_ops;
extern const struct authz_ops authz_always_deny_ops;
extern const struct authz_ops authz_rbac_ops;
extern const struct authz_ops authz_node_ops;
extern const struct authz_ops authz_abac_ops;
extern const struct authz_ops authz_webhook_ops;

#endif
