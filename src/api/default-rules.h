/* Inside the defaulting verb: one function per rule of the schema ('rule:' lines), listed in the table of default.c. */
#ifndef API_DEFAULT_RULES_H
#define API_DEFAULT_RULES_H

#include "api/default.h"

struct defaulting {
    struct arena *arena;
    const struct api_default_ctx *ctx;
};

/* Runs before the fields of 'obj' are filled in and before anything below it. False past the arena's budget. */
typedef bool default_rule_fn(struct defaulting *d, void *obj);

/* Is the feature gate on? */
bool default_gate(const struct defaulting *d, struct str name);

/* Sets an empty string. */
static inline void default_str(struct str *s, struct str value)
{
    if (s->len == 0) {
        *s = value;
    }
}

/* A zeroed struct where there was none; NULL past the budget. */
#define DEFAULT_NEW(d, pointer) ((pointer) ? (pointer) : ((pointer) = arena_alloc((d)->arena, sizeof(*(pointer)))))

/* The value of 'key', or NULL. */
struct str *default_pairs_get(struct api_str_pair *pairs, size_t n, struct str key);
/* Adds a pair at its sorted place. */
MUST_CHECK bool default_pairs_add(struct defaulting *d, struct api_str_pair **pairs, size_t *n, struct str key, struct str value);
/* Adds what 'from' has and '*pairs' lacks. */
MUST_CHECK bool default_pairs_merge(struct defaulting *d, struct api_str_pair **pairs, size_t *n, const struct api_str_pair *from,
                                    size_t n_from);

/* Has every rule of the schema its function? For the test. */
bool default_rules_complete(void);

/* default-core.c */
default_rule_fn default_container, default_ephemeral_container, default_image_volume, default_limit_range_item, default_namespace,
    default_node_status, default_persistent_volume, default_persistent_volume_claim, default_pod, default_pod_log_options,
    default_replication_controller, default_service, default_service_port, default_service_spec, default_volume;
/* default-workloads.c */
default_rule_fn default_daemon_set_update_strategy, default_deployment_strategy, default_hpa_behavior, default_hpa_spec, default_job,
    default_stateful_set_rolling_update, default_stateful_set_update_strategy;
/* default-others.c */
default_rule_fn default_cluster_role_binding, default_crd, default_crd_names, default_csi_driver_spec, default_device_request,
    default_device_sub_request, default_device_taint, default_network_policy_spec, default_role_binding, default_subject;

#endif
