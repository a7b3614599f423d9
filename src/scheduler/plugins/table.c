#include "scheduler/plugins/plugins.h"

/* The order of kube-scheduler's default profile: cheap filters that often reject come first. */
const struct sched_plugin *const sched_plugins[] = {
    &plugin_node_unschedulable,  &plugin_node_name,          &plugin_taint_toleration,
    &plugin_node_affinity,       &plugin_node_ports,         &plugin_node_resources_fit,
    &plugin_volume_binding,      &plugin_pod_topology_spread, &plugin_inter_pod_affinity,
    &plugin_balanced_allocation, &plugin_image_locality,
};
const size_t sched_n_plugins = ARRAY_SIZE(sched_plugins);
_Static_assert(ARRAY_SIZE(sched_plugins) <= SCHED_PLUGINS_MAX,
               "more plugins than a cycle has room for");
