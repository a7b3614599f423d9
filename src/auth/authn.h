/*
 * Authentication: a chain of authenticators looks at a request's credentials, one after the other.
 *
 * Each is one file (authn-x509.c, authn-token-file.c, …) exporting one 'const struct authn_ops', listed in authn-table.c in the order
 * in which Kubernetes asks them. An authenticator answers
 *   AUTHN_NONE    no credential of my kind here, or not one of mine
 *   AUTHN_OK      r->user is set
 *   AUTHN_FAILED  it is mine and bad; r->err says why (for the log; the client only learns "Unauthorized")
 *   AUTHN_WAIT    it will call authn_resume() later, on the same thread (webhook, TokenReview)
 * The chain ends at the first AUTHN_OK and adds system:authenticated. A failure of one does not keep the next from trying; if nobody
 * says OK the failures are joined as Kubernetes joins them. Anonymous comes last, and only when no credential was there at all: a bad
 * token never makes somebody anonymous.
 *
 * A request that waits lives in memory of the caller. authn_cancel() makes the chain forget it.
 * Everything runs on one loop thread.
 */
#ifndef AUTH_AUTHN_H
#define AUTH_AUTHN_H

#include "auth/user.h"

struct authn;
struct client;
struct core_v1_secret;
struct http_headers;
struct loop;
struct authn_chain;
struct authn_request;
struct sa_lookup;

enum authn_result { AUTHN_NONE, AUTHN_OK, AUTHN_FAILED, AUTHN_WAIT };

struct authn_request {
    /* Set by the caller. */
    struct arena *arena;       /* of the request: the user is built here */
    struct str authorization;  /* value of the Authorization header; absent: none */
    struct str ws_protocols;   /* Sec-WebSocket-Protocol, joined by commas; browsers send their token in it */
    const struct str *peer_chain; /* client certificates in DER, leaf first; as the peer sent them, verified here */
    size_t n_peer_chain;
    const uint8_t *peer_digest; /* 32 bytes that stand for peer_chain, computed once per connection; NULL: computed when needed */
    const struct http_headers *headers; /* all headers, names in lower case (request-header authentication). NULL: none */
    int64_t now;               /* seconds since 1970 */
    const struct str *audiences; /* a token must be for one of them (TokenReview); n 0: the server's own */
    size_t n_audiences;
    struct str path;           /* of the request: anonymous may be bound to some paths */
    void (*done)(struct authn_request *r, enum authn_result result); /* called only after AUTHN_WAIT; OK or FAILED */
    void *owner;

    /* The result. */
    struct auth_user user;
    struct str *ret_audiences; /* with AUTHN_OK by an audience-aware token: those of the asked that it is for */
    size_t n_ret_audiences;
    int64_t until;             /* seconds: the credential's own end, after which it is not remembered; 0: none */
    struct str authenticator;  /* name of the one that said OK, for audit and metrics */
    struct err err;            /* with AUTHN_FAILED: all reasons */

    /* Of the chain. */
    struct authn_chain *chain;
    size_t next;               /* authenticator that is asked next */
    struct str token;          /* bearer token, taken out of authorization or ws_protocols */
    struct str failures;       /* reasons so far */
    size_t n_failures;
    bool tokens_only;
    bool waiting;
    void *wait_data;           /* of the authenticator that waits */
};

/* Front proxies that say who is asking (--requestheader-*). Not configured without a CA file. */
struct authn_requestheader_config {
    const char *client_ca_file;     /* --requestheader-client-ca-file */
    const struct str *allowed_names; /* common names of its certificates; n 0: any that the CA signed */
    size_t n_allowed_names;
    const struct str *username_headers, *uid_headers, *group_headers, *extra_prefixes;
    size_t n_username_headers, n_uid_headers, n_group_headers, n_extra_prefixes;
};

/* An OpenID Connect issuer (--oidc-*, or a jwt authenticator of an AuthenticationConfiguration). Not configured without issuer_url. */
struct authn_oidc_config {
    struct str discovery_url;        /* whole; empty: the well-known one of the issuer */
    struct str ca_pem;               /* in place of ca_file */
    const struct str *audiences;     /* in place of client_id: one of them */
    size_t n_audiences;
    bool exact_prefix;               /* username_prefix is put before names as it is */
    struct str uid_claim;            /* empty: none */
    struct str issuer_url, client_id;
    const char *ca_file;             /* NULL: the system's CAs */
    struct str username_claim;       /* empty: "sub" */
    struct str username_prefix;      /* empty: issuer_url and '#', none for the claim "email"; "-": none */
    struct str groups_claim, groups_prefix;
    const struct str *required_claims; /* "key=value" */
    size_t n_required_claims;
    const struct str *signing_algs;  /* none: RS256 */
    size_t n_signing_algs;
};

/* Looks up a bootstrap token's Secret in kube-system by its name; NULL when there is none. Lives in the arena. */
struct authn_bootstrap_lookup {
    void *ctx;
    const struct core_v1_secret *(*get)(void *ctx, struct str name, struct arena *a);
};

/* Times to live: 0 is the default, this one is none at all. */
#define AUTH_TTL_NONE UINT32_MAX

/* What the server was started with. Strings are borrowed while authn_chain_new() runs; empty means not configured. */
struct authn_config {
    const char *client_ca_file;       /* --client-ca-file */
    const char *token_auth_file;      /* --token-auth-file */
    /* Service-account tokens: keys, issuers (the first one signs), audiences. */
    const char *const *service_account_key_files; /* --service-account-key-file, each may hold several */
    size_t n_service_account_key_files;
    const struct str *service_account_issuers;    /* --service-account-issuer */
    size_t n_service_account_issuers;
    const struct str *api_audiences;              /* --api-audiences, for all kinds of tokens; none: the issuers */
    size_t n_api_audiences;
    const struct sa_lookup *sa_lookup;            /* checks against live objects; NULL: no look-up */
    /* Asks an apiserver about tokens that nobody here knows (TokenReview): --authentication-token-webhook of the kubelet. The client
     * must outlive the chain. NULL: not configured. */
    struct client *review_client;
    uint32_t review_ttl_s;                        /* --authentication-token-webhook-cache-ttl; 0: two minutes */
    /* The same of a webhook (--authentication-token-webhook-config-file): the review is posted to the client's own URL, in the version
     * "v1" or "v1beta1". */
    bool review_webhook;
    struct str review_version;
    struct loop *loop;                            /* needed by OIDC */
    struct authn_requestheader_config requestheader;
    struct authn_oidc_config oidc;
    const struct authn_oidc_config *jwt;          /* in place of 'oidc': issuers that authn_chain_set_jwt() may replace */
    size_t n_jwt;
    bool dynamic;                                 /* they may be replaced */
    const struct authn_bootstrap_lookup *bootstrap_lookup; /* --enable-bootstrap-token-auth; NULL: not configured */
    bool anonymous;                               /* --anonymous-auth */
    const struct str *anonymous_paths;            /* AuthenticationConfiguration anonymous.conditions; none: all paths */
    size_t n_anonymous_paths;
};

struct authn_ops {
    const char *name; /* "x509", as in the metrics of kube-apiserver */
    bool bearer;      /* looks at r->token: skipped when there is none */
    /* With 'bearer': knows audiences and fills ret_audiences itself. The others' tokens are for the server's own audiences, and are
     * not looked at when somebody asks for other ones. */
    bool audiences;
    /* Makes the authenticator if the configuration asks for it. True with '*ret' NULL: not configured. */
    bool (*open)(const struct authn_config *cfg, struct authn **ret, struct err *err);
    enum authn_result (*authenticate)(struct authn *self, struct authn_request *r);
    /* Reads its files again; keeps what it had when they are bad, and says why. May be NULL. */
    bool (*reload)(struct authn *self, struct err *err);
    /* Forgets a request that waits. NULL for those that never wait. */
    void (*cancel)(struct authn *self, struct authn_request *r);
    /* Does it believe this header? May be NULL. */
    bool (*believes)(const struct authn *self, struct str header);
    void (*free)(struct authn *self);
};

/* First member of each authenticator's own struct. */
struct authn {
    const struct authn_ops *ops;
};

/* In the order of asking; ends with NULL. Anonymous is not among them: the chain knows it. */
extern const struct authn_ops *const authn_table[];

MUST_CHECK struct authn_chain *authn_chain_new(const struct authn_config *cfg, struct err *err);
/* Adds an authenticator made elsewhere (tests, delegated authentication) at the end. Takes ownership. */
void authn_chain_add(struct authn_chain *c, struct authn *a);
struct authn_chain *authn_chain_free(struct authn_chain *c);
/* A new AuthenticationConfiguration counts from now on: its issuers (of a chain made with 'dynamic') and who may be anonymous. Requests
 * that wait for keys of an issuer fail. False with the reason, and everything stays. */
MUST_CHECK bool authn_chain_set_jwt(struct authn_chain *c, const struct authn_config *cfg, struct err *err);
/* Reads changed files again; call on a timer (a minute) and on SIGHUP. False with the first reason; what was loaded stays. */
bool authn_chain_reload(struct authn_chain *c, struct err *err);

/* Starts; OK, FAILED, or WAIT (then r->done is called later, never from inside this call). */
MUST_CHECK enum authn_result authn_start(struct authn_chain *c, struct authn_request *r);
/* By an authenticator that answered AUTHN_WAIT: goes on with the chain and, at its end, calls r->done. */
void authn_resume(struct authn_request *r, enum authn_result result);
void authn_cancel(struct authn_request *r);
/* Is the header one that this chain believes (front proxies' headers)? Such headers go no further than this server. Lower case. */
bool authn_is_credential_header(const struct authn_chain *c, struct str name);
/* For TokenReview: authenticates a bare token with the token authenticators alone. */
MUST_CHECK enum authn_result authn_start_token(struct authn_chain *c, struct authn_request *r, struct str token);

#endif
