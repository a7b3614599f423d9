/*
 * What one spec.schedulerName stands for: which plugins filter and score, with which weights and arguments
 * (KubeSchedulerConfiguration, "profiles"). A zero-initialised profile is the default one but for its name.
 */
#ifndef SCHEDULER_PROFILE_H
#define SCHEDULER_PROFILE_H

#include "base/macros.h"
#include "base/str.h"

#define SCHED_PLUGINS_MAX 32
#define SCHED_PROFILES_MAX 8

enum sched_fit { SCHED_LEAST_ALLOCATED, SCHED_MOST_ALLOCATED };

struct sched_profile {
    struct str name;
    uint32_t no_filter, no_score; /* a bit per plugin, by its index in sched_plugins */
    int32_t weights[SCHED_PLUGINS_MAX]; /* 0: the plugin's own */
    bool no_preemption;
    unsigned percentage_of_nodes; /* 0: the scheduler's */
    /* NodeResourcesFit: scoringStrategy. Both weights 0 mean 1 each. */
    enum sched_fit fit;
    int32_t cpu_weight, memory_weight;
    /* InterPodAffinity. */
    bool has_hard_affinity_weight; /* otherwise 1 */
    int32_t hard_affinity_weight;
    bool ignore_preferred_of_existing;
};

extern const struct sched_profile sched_default_profile;

#endif
