/* Every kind that has rules of its own, and every conversion between versions of different shape. */
#include "kinds/table.h"

const struct kind_ops *const kind_table[] = {
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
    &policy_pod_disruption_budget_ops,
    &rbac_cluster_role_binding_ops,
    &rbac_cluster_role_ops,
    &rbac_role_binding_ops,
    &rbac_role_ops,
    &scheduling_priority_class_ops,
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
