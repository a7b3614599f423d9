/* --cloud-config of bare-metal: anything is read or refused; what is read has pools that do not overlap. */
#include <stdlib.h>

#include "cloud/bare-metal-config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bare_metal_config c;
    struct arena a;
    struct err err;
    arena_init(&a, 8u << 20);
    if (bare_metal_config_parse(&a, str_n((const char *)data, size), &c, &err)) {
        for (size_t i = 0; i < c.n_pools; i++) {
            for (size_t k = 0; k < c.pools[i].n_ranges; k++) {
                const struct bare_metal_range *r = &c.pools[i].ranges[k];
                if (ip_cmp(&r->first, &r->last) > 0 || bare_metal_config_pool(&c, &r->last) != &c.pools[i]) {
                    abort();
                }
            }
        }
    }
    arena_deinit(&a);
    return 0;
}
