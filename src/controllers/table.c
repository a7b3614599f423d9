#include "controllers/controllers.h"

struct controllers_config controllers_config;

const struct controller_ops *const controllers_table[] = {
    &controller_serviceaccount,
    &controller_root_ca_publisher,
    &controller_node_ipam,
    &controller_node_lifecycle,
    &controller_taint_eviction,
    &controller_replicaset,
    &controller_replicationcontroller,
    &controller_deployment,
    &controller_endpointslice,
    &controller_endpoints,
    &controller_pod_gc,
    &controller_namespace,
    &controller_garbage_collector,
};
const size_t controllers_n = ARRAY_SIZE(controllers_table);
