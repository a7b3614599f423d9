/* The admission plugins, in the order upstream calls them. */
#include "apiserver/admission/table.h"

const struct admission_plugin *const admission_plugins[] = {
    &admission_namespace_lifecycle,
    &admission_limit_ranger,
    &admission_service_account,
    &admission_node_restriction,
    &admission_taint_nodes_by_condition,
    &admission_pod_security,
    &admission_priority,
    &admission_default_toleration_seconds,
    &admission_default_storage_class,
    &admission_storage_in_use,
    &admission_runtime_class,
    &admission_certificate_approval,
    &admission_certificate_signing,
    &admission_certificate_subject_restriction,
    &admission_resource_quota, /* last: nothing is charged for what is refused */
    NULL,
};
