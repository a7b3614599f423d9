/* Plugins that table.c lists; each is defined in a file named after it. */
#ifndef APISERVER_ADMISSION_TABLE_H
#define APISERVER_ADMISSION_TABLE_H

#include "apiserver/admission.h"

extern const struct admission_plugin admission_namespace_lifecycle;
extern const struct admission_plugin admission_limit_ranger;
extern const struct admission_plugin admission_pod_security;
extern const struct admission_plugin admission_resource_quota;
extern const struct admission_plugin admission_service_account;
extern const struct admission_plugin admission_node_restriction;
extern const struct admission_plugin admission_taint_nodes_by_condition;
extern const struct admission_plugin admission_priority;
extern const struct admission_plugin admission_default_toleration_seconds;
extern const struct admission_plugin admission_runtime_class;
extern const struct admission_plugin admission_storage_in_use;
extern const struct admission_plugin admission_default_storage_class;
extern const struct admission_plugin admission_certificate_approval;
extern const struct admission_plugin admission_certificate_signing;
extern const struct admission_plugin admission_certificate_subject_restriction;

#endif
