/*
 * Bootstrap tokens: "abcdef.0123456789abcdef", a public id and a secret, kept in a Secret of kube-system by which a node joins before
 * it has a certificate (Kubernetes documentation, "Authenticating with Bootstrap Tokens"). Read here once for everybody: the
 * authenticator, the controllers that delete and sign with them, `coracle token`.
 */
#ifndef AUTH_BOOTSTRAP_TOKEN_H
#define AUTH_BOOTSTRAP_TOKEN_H

#include "base/arena.h"
#include "base/err.h"

struct core_v1_secret;

#define BOOTSTRAP_TOKEN_TYPE STR("bootstrap.kubernetes.io/token")
#define BOOTSTRAP_TOKEN_NAMESPACE STR("kube-system")
#define BOOTSTRAP_TOKEN_NAME_PREFIX STR("bootstrap-token-")
#define BOOTSTRAP_TOKEN_USER_PREFIX STR("system:bootstrap:")
#define BOOTSTRAP_TOKEN_GROUP STR("system:bootstrappers")

/* Keys of the Secret's data. */
#define BOOTSTRAP_TOKEN_KEY_ID STR("token-id")
#define BOOTSTRAP_TOKEN_KEY_SECRET STR("token-secret")
#define BOOTSTRAP_TOKEN_KEY_EXPIRATION STR("expiration")
#define BOOTSTRAP_TOKEN_KEY_DESCRIPTION STR("description")
#define BOOTSTRAP_TOKEN_KEY_AUTHENTICATION STR("usage-bootstrap-authentication")
#define BOOTSTRAP_TOKEN_KEY_SIGNING STR("usage-bootstrap-signing")
#define BOOTSTRAP_TOKEN_KEY_GROUPS STR("auth-extra-groups")

#define BOOTSTRAP_TOKEN_ID_LEN 6
#define BOOTSTRAP_TOKEN_SECRET_LEN 16
/* "id.secret" and a NUL. */
#define BOOTSTRAP_TOKEN_SIZE (BOOTSTRAP_TOKEN_ID_LEN + 1 + BOOTSTRAP_TOKEN_SECRET_LEN + 1)
/* An expiration that cannot be read counts as long past: nothing lives for ever by a slip of the pen. */
#define BOOTSTRAP_TOKEN_LONG_PAST INT64_MIN

struct bootstrap_token {
    struct str id, secret;
    struct str description;
    bool has_expiration;
    int64_t expiration;          /* seconds since 1970, or BOOTSTRAP_TOKEN_LONG_PAST */
    bool authentication, signing; /* usages */
    const struct str *groups;    /* system:bootstrappers and the extra ones, sorted, each once */
    size_t n_groups;
    bool bad_groups;             /* an extra group has no allowed name: nobody may log in with the token; 'groups' is empty */
};

/* "id.secret" into its parts; false when it has not exactly that form. */
bool bootstrap_token_split(struct str token, struct str *ret_id, struct str *ret_secret);
bool bootstrap_token_is_id(struct str id);
/* A new random token, with its NUL. */
void bootstrap_token_make(char ret[BOOTSTRAP_TOKEN_SIZE]);
/* Reads the Secret: type, namespace, name, id and secret must fit one another, otherwise false with the reason (which never holds the
 * secret). Whether it is expired, being deleted, or of the right usage is for the caller to look at. Borrows from the Secret; lists
 * live in the arena. */
MUST_CHECK bool bootstrap_token_read(const struct core_v1_secret *s, struct arena *a, struct bootstrap_token *ret, struct err *err);
/* The expiration of any Secret of that type, valid or not (the cleaner deletes by this). False: it has none. */
bool bootstrap_token_expiration(const struct core_v1_secret *s, int64_t *ret);
/* Over at 'now' (seconds)? */
bool bootstrap_token_expired(const struct bootstrap_token *t, int64_t now);
/* May it be the name of an extra group: "system:bootstrappers:" and [a-z0-9:-], ending with a letter or digit? */
bool bootstrap_token_is_group(struct str group);
/* Fills a Secret, ready to be created. Extra groups are those of 't' besides system:bootstrappers. False past the arena's budget. */
MUST_CHECK bool bootstrap_token_to_secret(const struct bootstrap_token *t, struct arena *a, struct core_v1_secret *ret);

#endif
