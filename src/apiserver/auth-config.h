/*
 * The files of --authentication-config (AuthenticationConfiguration) and --authorization-config (AuthorizationConfiguration), group
 * apiserver.config.k8s.io. They are read again when they change; a file that became wrong changes nothing and is told in the log.
 * What needs expressions (CEL) is refused with the name of its field. Errors name the field as upstream's validation does.
 */
#ifndef APISERVER_AUTH_CONFIG_H
#define APISERVER_AUTH_CONFIG_H

#include "auth/authn.h"

struct auth_config_authn {
    struct authn_oidc_config *jwt;
    size_t n_jwt;
    bool has_anonymous, anonymous; /* 'has': the file says who may be anonymous */
    struct str *paths;
    size_t n_paths;
};

/* 'own_issuers' are those of service-account tokens, which no other may be. Text is in the arena, or points into 'text'. */
MUST_CHECK bool auth_config_parse_authn(struct arena *a, struct str text, const struct str *own_issuers, size_t n_own_issuers,
                                        struct auth_config_authn *ret, struct err *err);

struct auth_config_authorizer {
    struct str type, name;
    /* Of a webhook. */
    struct str kubeconfig, version;
    int64_t timeout_ms, allowed_ttl_ms, denied_ttl_ms; /* 0: not remembered */
    bool fail_denies;
};

MUST_CHECK bool auth_config_parse_authz(struct arena *a, struct str text, struct auth_config_authorizer **ret, size_t *ret_n, struct err *err);

#endif
