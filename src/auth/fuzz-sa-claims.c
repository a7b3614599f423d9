/* Any bytes as the claims of a token that verified. */
#include "auth/sa-token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct sa_claims c;
    struct auth_user u;
    arena_init(&a, 1 << 20);
    if (sa_claims_read(str_n((const char *)data, size), &a, &c, NULL)) {
        (void)!sa_claims_check(&c, STR("x"), 1800000000, NULL, &a, &u, NULL);
    }
    arena_deinit(&a);
    return 0;
}
