/* A KubeSchedulerConfiguration with anything in it: honoured, or an error; never more profiles than there is room for. */
#include <stdlib.h>

#include "scheduler/config-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct flag_result given;
    struct component_options component = { .leader_elect = true };
    struct sched_settings settings = { .n_profiles = 0 };
    struct arena a;
    struct err err;
    arena_init(&a, 8u << 20);
    if (sched_config_read(&a, str_n((const char *)data, size), &given, &component, &settings, &err) &&
        (settings.n_profiles > SCHED_PROFILES_MAX || settings.percentage_of_nodes > 100)) {
        abort();
    }
    arena_deinit(&a);
    return 0;
}
