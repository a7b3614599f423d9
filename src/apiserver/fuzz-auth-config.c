/* Any bytes as an AuthenticationConfiguration and as an AuthorizationConfiguration. */
#include <stdlib.h>

#include "apiserver/auth-config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str own[] = { STR_INIT("https://own.example") };
    struct str text = str_n((const char *)data, size);
    struct auth_config_authn authn;
    struct auth_config_authorizer *list;
    struct arena a;
    struct err err;
    size_t n;
    if (size > 1u << 20) {
        return 0;
    }
    arena_init(&a, ARENA_NO_BUDGET);
    if (auth_config_parse_authn(&a, text, own, 1, &authn, &err)) {
        for (size_t i = 0; i < authn.n_jwt; i++) {
            /* What is taken has an issuer, an audience and a name for the user. */
            if (str_empty(authn.jwt[i].issuer_url) || authn.jwt[i].n_audiences == 0 || str_empty(authn.jwt[i].username_claim)) {
                abort();
            }
        }
    }
    if (auth_config_parse_authz(&a, text, &list, &n, &err) && n == 0) {
        abort();
    }
    arena_deinit(&a);
    return 0;
}
