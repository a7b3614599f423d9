#include "apiserver/auth-flags.h"

#include "base/log.h"

#define C struct apiserver_config
#define HOUR_MS INT64_C(3600000)

const struct flag apiserver_authentication_flags[] = {
    FLAG_STRING(C, client_ca_file, "client-ca-file", "", "CAs of client certificates: the common name is the user, organisations are groups"),
    FLAG_STRING(C, token_auth_file, "token-auth-file", "", "A CSV file of static tokens: token,user,uid,\"group1,group2\""),
    FLAG_BOOL(C, anonymous_auth, "anonymous-auth", "true", "Requests without credentials are system:anonymous",
              .unsafe = "whoever reaches the port without credentials may do everything while AlwaysAllow is a mode", .mend = "--authorization-mode=Node,RBAC"),
    FLAG_STRING(C, auth.authn_config, "authentication-config", "",
                "AuthenticationConfiguration: OpenID Connect issuers and who may be anonymous; read again when it changes"),
    FLAG_BOOL(C, auth.bootstrap_tokens, "enable-bootstrap-token-auth", "false",
              "Secrets of type bootstrap.kubernetes.io/token in kube-system authenticate"),
    FLAG_ARRAY(C, service_account_key_files, "service-account-key-file", "",
               "Public keys that verify service-account tokens; repeated, each file may hold several. Unset: the signing key's"),
    FLAG_STRING(C, service_account_signing_key_file, "service-account-signing-key-file", "", "The key that signs service-account tokens"),
    FLAG_ARRAY(C, service_account_issuers, "service-account-issuer", "https://kubernetes.default.svc.cluster.local",
               "Issuers of tokens, repeated; the first one signs, all are believed"),
    FLAG_STRING(C, auth.jwks_uri, "service-account-jwks-uri", "", "Where the issuer's keys are, if not at this server: an https URL"),
    FLAG_STRINGS(C, api_audiences, "api-audiences", "", "Audiences of tokens for this server; the issuers when empty"),
    FLAG_BOOL(C, service_account_lookup, "service-account-lookup", "true",
              "Tokens die with the service account, pod, node or Secret they are bound to"),
    FLAG_BOOL(C, extend_token_expiration, "service-account-extend-token-expiration", "true",
              "Tokens of pods live longer than asked for, so that old clients survive"),
    FLAG_DURATION(C, max_token_expiration_ms, "service-account-max-token-expiration", "0", "The longest life of an issued token"),
    FLAG_STRING(C, auth.webhook_config_file, "authentication-token-webhook-config-file", "",
                "A kubeconfig whose server is asked about tokens (TokenReview)"),
    FLAG_DURATION(C, auth.webhook_ttl_ms, "authentication-token-webhook-cache-ttl", "2m", "How long its answers are believed"),
    FLAG_STRING(C, auth.webhook_version, "authentication-token-webhook-version", "v1beta1", "Version of that TokenReview: v1 or v1beta1"),
    FLAG_STRING(C, auth.requestheader_client_ca_file, "requestheader-client-ca-file", "",
                "CAs of front proxies, whose headers say who asks"),
    FLAG_STRINGS(C, auth.requestheader_allowed_names, "requestheader-allowed-names", "",
                 "Common names of the proxies' certificates; empty: any of that CA"),
    FLAG_STRINGS(C, auth.requestheader_username_headers, "requestheader-username-headers", "", "Headers of the user name, X-Remote-User is usual"),
    FLAG_STRINGS(C, auth.requestheader_uid_headers, "requestheader-uid-headers", "", "Headers of the uid, X-Remote-Uid is usual"),
    FLAG_STRINGS(C, auth.requestheader_group_headers, "requestheader-group-headers", "", "Headers of groups, X-Remote-Group is usual"),
    FLAG_STRINGS(C, auth.requestheader_extra_prefixes, "requestheader-extra-headers-prefix", "",
                 "Prefixes of headers of extra attributes, X-Remote-Extra- is usual"),
    FLAG_STRING(C, auth.oidc_issuer_url, "oidc-issuer-url", "", "An OpenID Connect issuer, https, whose ID tokens are believed"),
    FLAG_STRING(C, auth.oidc_client_id, "oidc-client-id", "", "The audience that its tokens must be for"),
    FLAG_STRING(C, auth.oidc_ca_file, "oidc-ca-file", "", "CAs of the issuer's server; the system's when empty"),
    FLAG_STRING(C, auth.oidc_username_claim, "oidc-username-claim", "sub", "The claim that names the user"),
    FLAG_STRING(C, auth.oidc_username_prefix, "oidc-username-prefix", "",
                "Put before names; unset: the issuer and '#', nothing for the claim email; '-': nothing"),
    FLAG_STRING(C, auth.oidc_groups_claim, "oidc-groups-claim", "", "The claim of groups: a string or a list of strings"),
    FLAG_STRING(C, auth.oidc_groups_prefix, "oidc-groups-prefix", "", "Put before groups"),
    FLAG_MAP(C, auth.oidc_required_claims, "oidc-required-claim", "", "key=value that a token must have; repeated"),
    FLAG_STRINGS(C, auth.oidc_signing_algs, "oidc-signing-algs", "RS256",
                 "Accepted signatures: RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512"),
};
const size_t apiserver_n_authentication_flags = ARRAY_SIZE(apiserver_authentication_flags);

const struct flag apiserver_authorization_flags[] = {
    FLAG_STRINGS(C, authorization_modes, "authorization-mode", "AlwaysAllow",
                 "Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny; asked in this order", .secure = "Node,RBAC",
                 .unsafe = "whoever has any credential may do everything", .mend = "--authorization-mode=Node,RBAC"),
    FLAG_STRING(C, auth.authz_config, "authorization-config", "",
                "AuthorizationConfiguration: authorizers in their order, webhooks among them; read again when it changes"),
    FLAG_STRING(C, auth.policy_file, "authorization-policy-file", "", "The policies of mode ABAC, a JSON object a line"),
    FLAG_STRING(C, auth.authz_webhook_config_file, "authorization-webhook-config-file", "",
                "A kubeconfig whose server is asked in mode Webhook (SubjectAccessReview)"),
    FLAG_STRING(C, auth.authz_webhook_version, "authorization-webhook-version", "v1beta1", "Version of that SubjectAccessReview: v1 or v1beta1"),
    FLAG_DURATION(C, auth.authz_webhook_allowed_ttl_ms, "authorization-webhook-cache-authorized-ttl", "5m", "How long its yes is believed"),
    FLAG_DURATION(C, auth.authz_webhook_denied_ttl_ms, "authorization-webhook-cache-unauthorized-ttl", "30s", "How long its no is believed"),
};
const size_t apiserver_n_authorization_flags = ARRAY_SIZE(apiserver_authorization_flags);

static bool has_mode(const struct apiserver_config *c, const char *mode)
{
    for (size_t i = 0; i < c->authorization_modes.n; i++) {
        if (str_eq_c(c->authorization_modes.items[i], mode)) {
            return true;
        }
    }
    return false;
}

static bool is_version(struct str v)
{
    return str_eq_c(v, "v1") || str_eq_c(v, "v1beta1") || str_empty(v);
}

static bool validate_service_accounts(const struct apiserver_config *c, struct err *err)
{
    const struct flag_strings *list = &c->service_account_issuers;
    for (size_t i = 0; i < list->n; i++) {
        if (str_empty(list->items[i])) {
            return err_set(err, ERR_INVALID, "service-account-issuer should not be an empty string");
        }
        ptrdiff_t colon = str_find_char(list->items[i], ':');
        if (colon == 0 || str_find_char(list->items[i], ' ') >= 0) {
            return err_set(err, ERR_INVALID, "service-account-issuer \"%.*s\" contained a ':' but was not a valid URL", STR_ARG(list->items[i]));
        }
        for (size_t j = 0; j < i; j++) {
            if (str_eq(list->items[i], list->items[j])) {
                return err_set(err, ERR_INVALID, "service-account-issuer \"%.*s\" is already specified", STR_ARG(list->items[i]));
            }
        }
    }
    if (c->service_account_signing_key_file.len > 0 && list->n == 0) {
        return err_set(err, ERR_INVALID, "service-account-issuer is a required flag");
    }
    if (c->auth.jwks_uri.len > 0 && !str_starts(c->auth.jwks_uri, STR("https://"))) {
        return err_set(err, ERR_INVALID, "service-account-jwks-uri requires https scheme, parsed as: %.*s", STR_ARG(c->auth.jwks_uri));
    }
    if (c->max_token_expiration_ms != 0 &&
        (c->max_token_expiration_ms < HOUR_MS || c->max_token_expiration_ms / 1000 > INT64_C(1) << 32)) {
        return err_set(err, ERR_INVALID, "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds");
    }
    return true;
}

static bool validate_authorization(const struct apiserver_config *c, struct err *err)
{
    const struct apiserver_auth_config *a = &c->auth;
    if (a->authz_config.len > 0) {
        return a->authz_webhook_config_file.len == 0 ||
               err_set(err, ERR_INVALID, "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined");
    }
    if (has_mode(c, "ABAC") && str_empty(a->policy_file)) {
        return err_set(err, ERR_INVALID, "authorization-mode ABAC's authorization policy file not passed");
    }
    if (!has_mode(c, "ABAC") && a->policy_file.len > 0) {
        return err_set(err, ERR_INVALID, "cannot specify --authorization-policy-file without mode ABAC");
    }
    if (has_mode(c, "Webhook") && str_empty(a->authz_webhook_config_file)) {
        return err_set(err, ERR_INVALID, "authorization-mode Webhook's authorization config file not passed");
    }
    if (!has_mode(c, "Webhook") && a->authz_webhook_config_file.len > 0) {
        return err_set(err, ERR_INVALID, "cannot specify --authorization-webhook-config-file without mode Webhook");
    }
    if (!is_version(a->authz_webhook_version)) {
        return err_set(err, ERR_INVALID, "unsupported webhook authorizer version \"%.*s\", supported versions are \"v1\", \"v1beta1\"",
                       STR_ARG(a->authz_webhook_version));
    }
    if (a->authz_webhook_allowed_ttl_ms < 0 || a->authz_webhook_denied_ttl_ms < 0) {
        return err_set(err, ERR_INVALID, "--authorization-webhook-cache-authorized-ttl and -unauthorized-ttl must not be negative");
    }
    return true;
}

bool apiserver_auth_validate(const struct apiserver_config *c, struct err *err)
{
    const struct apiserver_auth_config *a = &c->auth;
    if (str_empty(a->oidc_issuer_url) != str_empty(a->oidc_client_id) ||
        (str_empty(a->oidc_issuer_url) && (a->oidc_ca_file.len || a->oidc_groups_claim.len || a->oidc_groups_prefix.len ||
                                           a->oidc_username_prefix.len || a->oidc_required_claims.n))) {
        return err_set(err, ERR_INVALID, "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
    }
    if (a->authn_config.len > 0 && a->oidc_issuer_url.len > 0) {
        return err_set(err, ERR_INVALID, "authentication-config file and oidc-* flags are mutually exclusive");
    }
    if (!is_version(a->webhook_version)) {
        return err_set(err, ERR_INVALID, "unsupported authentication webhook version \"%.*s\", supported versions are \"v1\", \"v1beta1\"",
                       STR_ARG(a->webhook_version));
    }
    if (a->webhook_ttl_ms < 0) {
        return err_set(err, ERR_INVALID, "--authentication-token-webhook-cache-ttl must not be negative");
    }
    if (str_empty(a->requestheader_client_ca_file) &&
        (a->requestheader_allowed_names.n || a->requestheader_username_headers.n || a->requestheader_group_headers.n ||
         a->requestheader_extra_prefixes.n || a->requestheader_uid_headers.n)) {
        log_warning("apiserver: --requestheader-* have no effect without --requestheader-client-ca-file: no front proxy is believed");
    }
    if (a->requestheader_client_ca_file.len > 0 && a->requestheader_allowed_names.n == 0) {
        log_warning("apiserver: --requestheader-allowed-names is empty: every certificate of --requestheader-client-ca-file may say who asks");
    }
    if (a->requestheader_client_ca_file.len > 0 && a->requestheader_username_headers.n == 0) {
        log_warning("apiserver: --requestheader-username-headers is empty: no front proxy can name a user");
    }
    return validate_service_accounts(c, err) && validate_authorization(c, err);
}
