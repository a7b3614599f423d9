/* Bootstrap tokens by which hosts join (auth/bootstrap-token.h), as `coracle token` and `coracle server` make and show
 * them. */
#ifndef CLUSTER_TOKEN_H
#define CLUSTER_TOKEN_H

#include "auth/bootstrap-token.h"
#include "client/kubeconfig.h"
#include "cluster/session.h"

#define TOKEN_DEFAULT_TTL_MS INT64_C(86400000)

/* Makes the Secret. 'token' is "id.secret"; ttl_ms 0: it never expires. Groups are besides HOST_TOKEN_GROUP's own. */
struct token_spec {
    const char *token;
    struct str description;
    int64_t ttl_ms;
    bool authentication, signing;
    const struct str *groups;
    size_t n_groups;
};
MUST_CHECK bool token_create(struct session *s, const struct token_spec *spec, struct err *err);
/* "coracle join https://… --token … --ca-pin sha256:…" */
MUST_CHECK bool token_join_command(const struct client_config *c, const char *token, struct buf *b, struct err *err);
/* "sha256:…" of the (first) CA. Lives in 'a'. */
MUST_CHECK bool token_ca_pin(struct str ca_pem, struct arena *a, struct str *ret, struct err *err);

#endif
