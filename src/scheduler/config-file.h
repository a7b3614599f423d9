/* --config: a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1). */
#ifndef SCHEDULER_CONFIG_FILE_H
#define SCHEDULER_CONFIG_FILE_H

#include "component/component.h"
#include "scheduler/profile.h"

struct sched_settings {
    struct sched_profile profiles[SCHED_PROFILES_MAX];
    size_t n_profiles;
    unsigned percentage_of_nodes;
    uint64_t initial_backoff_ms, max_backoff_ms; /* 0: as upstream, 1 s and 10 s */
};

/* Reads the text into '*settings', and what concerns connection and leader election into '*component' where no flag was given. What it
 * says is honoured or an error that names it. Strings live in the arena. */
MUST_CHECK bool sched_config_read(struct arena *a, struct str text, const struct flag_result *given, struct component_options *component,
                                  struct sched_settings *settings, struct err *err);

#endif
