/*
 * Service-account tokens: issuing (TokenRequest) and believing them.
 *
 * A bound token names issuer, audiences, times, and in the claim "kubernetes.io" its namespace, service account and, when bound to
 * one, the pod (with its node), secret or node, each with its uid (Kubernetes documentation, "Managing Service Accounts", KEP-1205,
 * KEP-4193). It dies with what it is bound to: a look-up by uid tells. A legacy token (issuer "kubernetes/serviceaccount", for ever)
 * lives in a Secret that must still hold it.
 */
#ifndef AUTH_SA_TOKEN_H
#define AUTH_SA_TOKEN_H

#include "auth/user.h"
#include "base/buf.h"
#include "pki/jwt.h"

/* Issuer of legacy tokens. */
#define SA_LEGACY_ISSUER STR("kubernetes/serviceaccount")
/* Tokens live at least ten minutes (API validation), kube-apiserver's default is an hour; extended ones a year. */
#define SA_TOKEN_MIN_S 600
#define SA_TOKEN_DEFAULT_S 3600
#define SA_TOKEN_WARN_S 3607 /* an exact request for this many seconds from a kubelet is extended */
#define SA_TOKEN_EXTENDED_S (365 * 24 * 3600)

/* Live objects, for checking tokens against. All calls are answered at once, from a cache. */
struct sa_object {
    struct str uid;
    bool deleting;        /* deletionTimestamp is set … */
    int64_t deletion_s;   /* … to this */
    struct str token;     /* of secrets: data.token, for legacy tokens */
    bool invalid;         /* of secrets: labelled kubernetes.io/legacy-token-invalid-since */
};
struct sa_lookup {
    void *ctx;
    /* 'resource' is "serviceaccounts", "pods", "secrets" or "nodes". False when there is no such object. What 'ret' borrows lives in
     * the arena or until the loop's next turn. */
    bool (*get)(void *ctx, struct str resource, struct str namespace_, struct str name, struct arena *a, struct sa_object *ret);
    /* A legacy token was used at 'now': its Secret is to say so (kubernetes.io/legacy-token-last-used). May be NULL. */
    void (*used)(void *ctx, struct str namespace_, struct str secret, int64_t now);
};
/* Labels of legacy tokens' Secrets; both hold a day, "2026-11-24". */
#define SA_LABEL_LAST_USED STR("kubernetes.io/legacy-token-last-used")
#define SA_LABEL_INVALID_SINCE STR("kubernetes.io/legacy-token-invalid-since")

/* ---- issuing ---- */
struct sa_token_spec {
    struct str namespace_, name, uid; /* the service account */
    const struct str *audiences;      /* n 0: the issuer's own */
    size_t n_audiences;
    int64_t now;                      /* seconds */
    int64_t expiration_s;             /* lifetime asked for */
    /* Bound to at most one of these; 'node' also beside 'pod'. Absent names: not bound. */
    struct str pod_name, pod_uid;
    struct str secret_name, secret_uid;
    struct str node_name, node_uid;
    /* Asked by a kubelet for the default hour and --service-account-extend-token-expiration: the token lives a year, "warnafter"
     * says when it should have been renewed. */
    bool extend;
};
struct sa_issuer {
    const struct pki_key *key;
    struct str issuer;
    const struct str *default_audiences;
    size_t n_default_audiences;
    int64_t max_expiration_s; /* --service-account-max-token-expiration; 0: none */
};
/* Appends the token. '*ret_expires' (seconds since 1970) is what TokenRequest's status says: without extension. 'ret_jti' gets the
 * token's id, for the audit annotation. */
MUST_CHECK bool sa_token_issue(const struct sa_issuer *issuer, const struct sa_token_spec *spec, struct buf *ret,
                               int64_t *ret_expires, char ret_jti[37], struct err *err);
/* A legacy token for a Secret of type kubernetes.io/service-account-token. */
MUST_CHECK bool sa_token_issue_legacy(const struct pki_key *key, struct str namespace_, struct str name, struct str uid,
                                      struct str secret_name, struct buf *ret, struct err *err);

/* ---- claims ---- */
struct sa_claims {
    struct str issuer, subject, jti;
    const struct str *audiences;
    size_t n_audiences;
    int64_t expires, not_before, issued; /* 0: not in the token */
    int64_t warn_after;
    struct str namespace_, name, uid;
    struct str pod_name, pod_uid, secret_name, secret_uid, node_name, node_uid;
    bool legacy;
};
/* Reads the claims of a token that was verified. */
MUST_CHECK bool sa_claims_read(struct str claims_json, struct arena *a, struct sa_claims *ret, struct err *err);
/* Times, subject, and live objects; 'now' in seconds, with a minute's leeway. 'token' is the token's text (legacy tokens are compared
 * with the Secret). '*ret' is the user. */
MUST_CHECK bool sa_claims_check(const struct sa_claims *c, struct str token, int64_t now, const struct sa_lookup *lookup,
                                struct arena *a, struct auth_user *ret, struct err *err);

/* ---- discovery of the issuer ---- */
/* Appends the body of /.well-known/openid-configuration; 'jwks_uri' is --service-account-jwks-uri or ISSUER/openid/v1/jwks. */
void sa_openid_configuration(struct str issuer, struct str jwks_uri, const struct jwt_keyset *keys, struct buf *b);

#endif
