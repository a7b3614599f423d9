/* The kinds and conversions that table.c lists; each is defined in <group>/<kind>.c. */
#ifndef KINDS_TABLE_H
#define KINDS_TABLE_H

#include "kinds/kind.h"

extern const struct kind_ops admission_mutating_binding_ops;
extern const struct kind_ops admission_mutating_policy_ops;
extern const struct kind_ops admission_mutating_webhook_ops;
extern const struct kind_ops admission_validating_binding_ops;
extern const struct kind_ops admission_validating_policy_ops;
extern const struct kind_ops admission_validating_webhook_ops;
extern const struct kind_ops apiextensions_crd_ops;
extern const struct kind_ops apiregistration_service_ops;
extern const struct kind_ops apps_controller_revision_ops;
extern const struct kind_ops apps_daemon_set_ops;
extern const struct kind_ops apps_deployment_ops;
extern const struct kind_ops apps_replica_set_ops;
extern const struct kind_ops apps_stateful_set_ops;
extern const struct kind_ops autoscaling_hpa_ops;
extern const struct kind_ops batch_cron_job_ops;
extern const struct kind_ops batch_job_ops;
extern const struct kind_ops certificates_csr_ops;
extern const struct kind_ops coordination_lease_ops;
extern const struct kind_ops core_config_map_ops;
extern const struct kind_ops core_endpoints_ops;
extern const struct kind_ops core_event_ops;
extern const struct kind_ops core_limit_range_ops;
extern const struct kind_ops core_namespace_ops;
extern const struct kind_ops core_node_ops;
extern const struct kind_ops core_persistent_volume_claim_ops;
extern const struct kind_ops core_persistent_volume_ops;
extern const struct kind_ops core_pod_ops;
extern const struct kind_ops core_pod_template_ops;
extern const struct kind_ops core_replication_controller_ops;
extern const struct kind_ops core_resource_quota_ops;
extern const struct kind_ops core_secret_ops;
extern const struct kind_ops core_service_account_ops;
extern const struct kind_ops core_service_ops;
extern const struct kind_ops discovery_endpoint_slice_ops;
extern const struct kind_ops flowcontrol_flow_schema_ops;
extern const struct kind_ops flowcontrol_priority_level_ops;
extern const struct kind_ops networking_ingress_class_ops;
extern const struct kind_ops networking_ingress_ops;
extern const struct kind_ops networking_ip_address_ops;
extern const struct kind_ops networking_network_policy_ops;
extern const struct kind_ops networking_service_cidr_ops;
extern const struct kind_ops policy_pod_disruption_budget_ops;
extern const struct kind_ops rbac_cluster_role_binding_ops;
extern const struct kind_ops rbac_cluster_role_ops;
extern const struct kind_ops rbac_role_binding_ops;
extern const struct kind_ops rbac_role_ops;
extern const struct kind_ops resource_claim_ops;
extern const struct kind_ops resource_device_class_ops;
extern const struct kind_ops resource_slice_ops;
extern const struct kind_ops scheduling_priority_class_ops;
extern const struct kind_ops storage_attachment_ops;
extern const struct kind_ops storage_attributes_class_ops;
extern const struct kind_ops storage_class_ops;
extern const struct kind_ops storage_csi_driver_ops;
extern const struct kind_ops storage_csi_node_ops;
extern const struct kind_conversion autoscaling_hpa_v1_conversion;
extern const struct kind_conversion events_event_conversion;

extern const struct kind_ops *const kind_table[];              /* ends with NULL */
extern const struct kind_conversion *const kind_conversions[]; /* ends with NULL */

#endif
