/* The plugins: one file each, listed in table.c in the order in which they run. */
#ifndef SCHEDULER_PLUGINS_PLUGINS_H
#define SCHEDULER_PLUGINS_PLUGINS_H

#include "scheduler/framework.h"

extern const struct sched_plugin plugin_node_unschedulable, plugin_node_name,
    plugin_taint_toleration, plugin_node_affinity, plugin_node_ports, plugin_node_resources_fit,
    plugin_balanced_allocation, plugin_image_locality, plugin_pod_topology_spread,
    plugin_inter_pod_affinity, plugin_volume_binding;

#endif
