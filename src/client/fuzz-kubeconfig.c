/* A kubeconfig that somebody was sent. Files that it names are looked for in a folder that does not exist. */
#include <stdlib.h>

#include "client/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_config config;
    struct arena a;
    struct err err;
    arena_init(&a, 8u << 20);
    if (kubeconfig_parse(&a, str_n((const char *)data, size), "/nonexistent", STR_NULL, &config, &err) && str_empty(config.server)) {
        abort();
    }
    (void)!kubeconfig_parse(&a, str_n((const char *)data, size), "/nonexistent", STR("other"), &config, &err);
    arena_deinit(&a);
    return 0;
}
