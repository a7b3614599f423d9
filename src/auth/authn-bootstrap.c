/* Bootstrap tokens (--enable-bootstrap-token-auth): system:bootstrap:ID, by a Secret of kube-system. What is wrong with a token's
 * Secret makes the token nobody's, as in kube-apiserver; the reason is for the log. */
#include <openssl/crypto.h>

#include "api/gen/core_v1.h"
#include "auth/authn-table.h"
#include "auth/bootstrap-token.h"
#include "base/log.h"

struct authn_bootstrap {
    struct authn authn;
    struct authn_bootstrap_lookup lookup;
};

static bool bootstrap_open(const struct authn_config *cfg, struct authn **ret, struct err *err)
{
    (void)err;
    if (!cfg->bootstrap_lookup) {
        *ret = NULL;
        return true;
    }
    struct authn_bootstrap *b = calloc(1, sizeof(*b));
    if (!b) {
        abort();
    }
    *b = (struct authn_bootstrap){ .authn = { &authn_bootstrap_ops }, .lookup = *cfg->bootstrap_lookup };
    *ret = &b->authn;
    return true;
}

static void bootstrap_close(struct authn *self)
{
    free(CONTAINER_OF(self, struct authn_bootstrap, authn));
}

/* Why the Secret does not let the token in; NULL when it does. */
static const char *refusal(const struct core_v1_secret *s, const struct bootstrap_token *t, struct str secret, int64_t now)
{
    if (s->metadata.deletion_timestamp.set) {
        return "it is being deleted";
    }
    if (t->secret.len != secret.len || CRYPTO_memcmp(t->secret.ptr, secret.ptr, secret.len) != 0) {
        return "its secret is another one";
    }
    if (bootstrap_token_expired(t, now)) {
        return "it has expired";
    }
    if (!t->authentication) {
        return "it is not meant for authentication";
    }
    return t->bad_groups ? "an extra group has a name that is not allowed" : NULL;
}

static enum authn_result bootstrap_authenticate(struct authn *self, struct authn_request *r)
{
    struct authn_bootstrap *b = CONTAINER_OF(self, struct authn_bootstrap, authn);
    struct str id, secret;
    struct bootstrap_token t;
    struct err why = { 0 };
    if (!bootstrap_token_split(r->token, &id, &secret)) {
        return AUTHN_NONE;
    }
    struct str name = arena_printf(r->arena, "%.*s%.*s", STR_ARG(BOOTSTRAP_TOKEN_NAME_PREFIX), STR_ARG(id));
    const struct core_v1_secret *s = name.ptr ? b->lookup.get(b->lookup.ctx, name, r->arena) : NULL;
    if (!s) {
        return AUTHN_NONE;
    }
    if (!bootstrap_token_read(s, r->arena, &t, &why)) {
        log_info("auth: bootstrap token %.*s is refused: %s", STR_ARG(id), why.msg);
        return AUTHN_NONE;
    }
    const char *no = refusal(s, &t, secret, r->now);
    if (no) {
        log_info("auth: bootstrap token %.*s is refused: %s", STR_ARG(id), no);
        return AUTHN_NONE;
    }
    struct str user = arena_printf(r->arena, "%.*s%.*s", STR_ARG(BOOTSTRAP_TOKEN_USER_PREFIX), STR_ARG(id));
    if (!user.ptr) {
        (void)err_set(&r->err, ERR_NO_MEMORY, "out of memory while a user was built");
        return AUTHN_FAILED;
    }
    r->user = (struct auth_user){ .name = user, .groups = t.groups, .n_groups = t.n_groups };
    return AUTHN_OK;
}

const struct authn_ops authn_bootstrap_ops = {
    .name = "bootstraptoken",
    .bearer = true,
    .open = bootstrap_open,
    .authenticate = bootstrap_authenticate,
    .free = bootstrap_close,
};
