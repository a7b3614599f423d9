#include "cluster/token.h"

#include <stdio.h>

#include "api/encode-json.h"
#include "api/gen/core_v1.h"
#include "base/clock.h"
#include "cluster/host.h"
#include "pki/cert.h"

enum { MAX_SECRET = 65536 };

bool token_create(struct session *s, const struct token_spec *spec, struct err *err)
{
    struct bootstrap_token t = { .description = spec->description,
                                 .authentication = spec->authentication,
                                 .signing = spec->signing,
                                 .groups = spec->groups,
                                 .n_groups = spec->n_groups };
    struct core_v1_secret secret;
    struct arena a;
    struct val v;
    int status = 0;
    CLEANUP(buf_deinit) struct buf b;
    if (!bootstrap_token_split(str_c(spec->token), &t.id, &t.secret)) {
        return err_set(err, ERR_INVALID, "a token has the form abcdef.0123456789abcdef: 6 and 16 of a-z and 0-9");
    }
    t.has_expiration = spec->ttl_ms != 0;
    t.expiration = clock_real_s() + spec->ttl_ms / 1000;
    arena_init(&a, 1u << 20);
    buf_init(&b, MAX_SECRET);
    bool ok = bootstrap_token_to_secret(&t, &a, &secret) || err_set(err, ERR_INVALID, "the description is too long");
    if (ok) {
        const struct api_json_encode as = { .kind = STR("Secret"), .api_version = STR("v1") };
        ok = (api_encode_json(&b, &core_v1_secret_type, &secret, &as, NULL) ||
              err_set(err, ERR_TOO_LARGE, "the token is too large")) &&
             session_ask(s, "POST", "/api/v1/namespaces/kube-system/secrets", buf_str(&b), &a, &v, &status, err);
        if (!ok && status == 409) {
            err_set(err, ERR_ALREADY_EXISTS, "there is a token with the id \"%.*s\"", STR_ARG(t.id));
        }
    }
    arena_deinit(&a);
    return ok;
}

bool token_ca_pin(struct str ca_pem, struct arena *a, struct str *ret, struct err *err)
{
    struct pki_bundle b;
    struct pki_cert_info info;
    if (!pki_bundle_read(&b, ca_pem, err)) {
        return false;
    }
    bool ok = pki_cert_inspect(b.certs[0], a, &info, err);
    pki_bundle_deinit(&b);
    *ret = info.pin;
    return ok;
}

bool token_join_command(const struct client_config *c, const char *token, struct buf *b, struct err *err)
{
    struct arena a;
    struct str pin;
    arena_init(&a, 1u << 20);
    bool ok = token_ca_pin(c->ca_pem, &a, &pin, err);
    if (ok) {
        buf_printf(b, "coracle join %.*s --token %s --ca-pin %.*s", STR_ARG(c->server), token, STR_ARG(pin));
    }
    arena_deinit(&a);
    return ok;
}
