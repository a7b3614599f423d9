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
    /* The value of any other header, absent if there is none (request-header authentication). May be NULL. */
    struct str (*header)(void *ctx, struct str name, size_t index);
    void *header_ctx;
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

/* What the server was started with. Strings are borrowed while authn_chain_new() runs; empty means not configured. */
struct authn_config {
    const char *client_ca_file;       /* --client-ca-file */
    const char *token_auth_file;      /* --token-auth-file */
    /* Service-account tokens: keys, issuers (the first one signs), audiences. */
    const char *const *service_account_key_files; /* --service-account-key-file, each may hold several */
    size_t n_service_account_key_files;
    const struct str *service_account_issuers;    /* --service-account-issuer */
    size_t n_service_account_issuers;
    const struct str *api_audiences;              /* --api-audiences; none: the issuers */
    size_t n_api_audiences;
    const struct sa_lookup *sa_lookup;            /* checks against live objects; NULL: no look-up */
    /* Asks an apiserver about tokens that nobody here knows (TokenReview): --authentication-token-webhook of the kubelet. The client
     * must outlive the chain. NULL: not configured. */
    struct client *review_client;
    uint32_t review_ttl_s;                        /* --authentication-token-webhook-cache-ttl; 0: two minutes */
    bool anonymous;                               /* --anonymous-auth */
    const struct str *anonymous_paths;            /* AuthenticationConfiguration anonymous.conditions; none: all paths */
    size_t n_anonymous_paths;
};

struct authn_ops {
    const char *name; /* "x509", as in the metrics of kube-apiserver */
    bool bearer;      /* looks at r->token: skipped when there is none */
    /* Makes the authenticator if the configuration asks for it. True with '*ret' NULL: not configured. */
    bool (*open)(const struct authn_config *cfg, struct authn **ret, struct err *err);
    enum authn_result (*authenticate)(struct authn *self, struct authn_request *r);
    /* Reads its files again; keeps what it had when they are bad, and says why. May be NULL. */
    bool (*reload)(struct authn *self, struct err *err);
    /* Forgets a request that waits. NULL for those that never wait. */
    void (*cancel)(struct authn *self, struct authn_request *r);
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
/* Reads changed files again; call on a timer (a minute) and on SIGHUP. False with the first reason; what was loaded stays. */
bool authn_chain_reload(struct authn_chain *c, struct err *err);

/* Starts; OK, FAILED, or WAIT (then r->done is called later, never from inside this call). */
MUST_CHECK enum authn_result authn_start(struct authn_chain *c, struct authn_request *r);
/* By an authenticator that answered AUTHN_WAIT: goes on with the chain and, at its end, calls r->done. */
void authn_resume(struct authn_request *r, enum authn_result result);
void authn_cancel(struct authn_request *r);
/* For TokenReview: authenticates a bare token with the token authenticators alone. */
MUST_CHECK enum authn_result authn_start_token(struct authn_chain *c, struct authn_request *r, struct str token);

#endif
