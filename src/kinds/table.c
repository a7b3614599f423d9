/* Every kind that has rules of its own, and every conversion between versions of different shape. */
#include "kinds/table.h"

const struct kind_ops *const kind_table[] = {
    &admission_mutating_binding_ops,
    &admission_mutating_policy_ops,
    &admission_mutating_webhook_ops,
    &admission_validating_binding_ops,
    &admission_validating_policy_ops,
    &admission_validating_webhook_ops,
    &apiextensions_crd_ops,
    &apiregistration_service_ops,
    &apps_controller_revision_ops,
    &apps_daemon_set_ops,
    &apps_deployment_ops,
    &apps_replica_set_ops,
    &apps_stateful_set_ops,
    &autoscaling_hpa_ops,
    &batch_cron_job_ops,
    &batch_job_ops,
    &certificates_csr_ops,
    &coordination_lease_ops,
    &core_config_map_ops,
    &core_endpoints_ops,
    &core_event_ops,
    &core_limit_range_ops,
    &core_namespace_ops,
    &core_node_ops,
    &core_persistent_volume_claim_ops,
    &core_persistent_volume_ops,
    &core_pod_ops,
    &core_pod_template_ops,
    &core_replication_controller_ops,
    &core_resource_quota_ops,
    &core_secret_ops,
    &core_service_account_ops,
    &core_service_ops,
    &discovery_endpoint_slice_ops,
    &flowcontrol_flow_schema_ops,
    &flowcontrol_priority_level_ops,
    &networking_ingress_class_ops,
    &networking_ingress_ops,
    &networking_ip_address_ops,
    &networking_network_policy_ops,
    &networking_service_cidr_ops,
    &policy_pod_disruption_budget_ops,
    &rbac_cluster_role_binding_ops,
    &rbac_cluster_role_ops,
    &rbac_role_binding_ops,
    &rbac_role_ops,
    &resource_claim_ops,
    &resource_device_class_ops,
    &resource_slice_ops,
    &scheduling_priority_class_ops,
    &storage_attachment_ops,
    &storage_attributes_class_ops,
    &storage_class_ops,
    &storage_csi_driver_ops,
    &storage_csi_node_ops,
    NULL,
};

const struct kind_conversion *const kind_conversions[] = {
    &autoscaling_hpa_v1_conversion,
    &events_event_conversion,
    NULL,
};

static const struct kind_ops plain = { 0 };

const struct kind_ops *kind_ops_find(struct str group, struct str resource)
{
    for (size_t i = 0; kind_table[i]; i++) {
        if (str_eq(kind_table[i]->resource, resource) && str_eq(kind_table[i]->group, group)) {
            return kind_table[i];
        }
    }
    return &plain;
}

const struct kind_conversion *kind_conversion_find(struct str group, struct str version, struct str kind)
{
    for (size_t i = 0; kind_conversions[i]; i++) {
        const struct kind_conversion *c = kind_conversions[i];
        if (str_eq(c->kind, kind) && str_eq(c->version, version) && str_eq(c->group, group)) {
            return c;
        }
    }
    return NULL;
}
