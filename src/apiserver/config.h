/* What kube-apiserver is started with: filled from flags by src/cmd/kube-apiserver.c, or by tests. Text lives as long as the
 * process. Names follow the flags. */
#ifndef APISERVER_CONFIG_H
#define APISERVER_CONFIG_H

#include "base/flags.h"
#include "base/str.h"

/* Authentication and authorisation beyond the first few flags; filled by auth-flags.c. Durations are milliseconds. */
struct apiserver_auth_config {
    struct str authn_config;    /* --authentication-config */
    struct str authz_config;    /* --authorization-config */
    bool anonymous_given;       /* --anonymous-auth was given: the file must not say it, too */
    bool bootstrap_tokens;      /* --enable-bootstrap-token-auth */
    struct str jwks_uri;        /* --service-account-jwks-uri */
    struct str webhook_config_file, webhook_version; /* --authentication-token-webhook-* */
    int64_t webhook_ttl_ms;
    struct str requestheader_client_ca_file;
    struct flag_strings requestheader_allowed_names, requestheader_username_headers, requestheader_uid_headers,
        requestheader_group_headers, requestheader_extra_prefixes;
    struct str oidc_issuer_url, oidc_client_id, oidc_ca_file, oidc_username_claim, oidc_username_prefix, oidc_groups_claim,
        oidc_groups_prefix;
    struct flag_strings oidc_required_claims, oidc_signing_algs;
    struct str policy_file;     /* --authorization-policy-file */
    struct str authz_webhook_config_file, authz_webhook_version;
    int64_t authz_webhook_allowed_ttl_ms, authz_webhook_denied_ttl_ms;
};

struct apiserver_etcd_config {
    struct flag_strings servers, overrides;
    struct str ca_file, cert_file, key_file, prefix;
    int64_t compaction_interval_ms, healthcheck_ms, readycheck_ms;
};

struct apiserver_config {
    struct str store;    /* "memory", "sqlite" or "etcd" */
    struct apiserver_etcd_config etcd;
    struct str storage_media_type, storage_backend;
    struct str data_dir; /* sqlite: where coracle.db lies */
    struct str volatile_dir;
    bool no_sync;
    struct str advertise_address; /* of the kubernetes Service's endpoint */
    int64_t secure_port;
    struct str endpoint_reconciler_type; /* "lease" or "none" */
    int64_t kubernetes_service_node_port; /* 0: the kubernetes Service is of type ClusterIP */
    struct str service_cluster_ip_range; /* "10.96.0.0/16" */
    struct str service_node_port_range;  /* "30000-32767" */
    struct str client_ca_file, token_auth_file;
    struct flag_strings service_account_key_files, service_account_issuers, api_audiences;
    struct str service_account_signing_key_file;
    bool extend_token_expiration, service_account_lookup;
    int64_t max_token_expiration_ms; /* 0: none */
    bool anonymous_auth;
    struct flag_strings authorization_modes;
    struct str enable_admission_plugins, disable_admission_plugins, admission_control_config_file;
    struct str kubelet_client_certificate, kubelet_client_key, kubelet_certificate_authority;
    struct str kubelet_preferred_address_types;
    bool kubelet_must_be_verified; /* --flag-defaults=secure: without a CA kubelets are not talked to */
    int64_t kubelet_timeout_ms, kubelet_port;
    uint32_t proxy_response_ms; /* how long a proxied backend may take until its headers are there; 0: PROXY_RESPONSE_MS */
    struct str egress_selector_config_file, tunnel_socket, proxy_denied_cidrs;
    int64_t event_ttl_s;
    struct apiserver_auth_config auth;
};

/* Defaults as upstream's; for tests and as the base of flags. */
void apiserver_config_defaults(struct apiserver_config *c);

#endif
