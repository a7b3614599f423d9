/* What an OpenID Connect issuer, or somebody in its name, may send: discovery, keys, claims. The first byte chooses. */
#include "auth/https-fetch.h"
#include "auth/oidc-claims.h"
#include "pki/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct oidc_required required[] = { { STR_INIT("hd"), STR_INIT("example.com") } };
    struct oidc_rules rules = { .issuer = STR("https://i"), .client_id = STR("c"), .username_claim = STR("email"), .groups_claim = STR("groups"),
                                .groups_prefix = STR("oidc:"), .required = required, .n_required = size % 2 };
    struct arena a;
    if (size == 0) {
        return 0;
    }
    struct str text = str_n((const char *)data + 1, size - 1);
    arena_init(&a, 8u << 20);
    if (data[0] % 4 == 0) {
        struct auth_user u;
        int64_t expires;
        (void)!oidc_claims_user(text, &rules, 1000, &a, &u, &expires, NULL);
    } else if (data[0] % 4 == 1) {
        struct str uri;
        (void)!oidc_discovery_read(text, rules.issuer, &a, &uri, NULL);
    } else if (data[0] % 4 == 2) {
        struct jwt_keyset keys;
        if (jwks_read(text, &keys, NULL)) {
            jwt_keyset_deinit(&keys);
        }
    } else {
        struct https_url url;
        (void)!https_url_parse(text, &a, &url, NULL);
    }
    arena_deinit(&a);
    return 0;
}
