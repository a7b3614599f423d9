/* The controllers of kube-controller-manager. */
#ifndef CONTROLLERS_CONTROLLERS_H
#define CONTROLLERS_CONTROLLERS_H

#include "client/controller.h"
#include "client/meta.h"

/* What controllers are told by flags. One for the process, set before the first controller is made.
 */
struct controllers_config {
    struct str root_ca_pem; /* --root-ca-file: for the root CA publisher; absent: it does not run */
    struct str cluster_cidr; /* --cluster-cidr, with --allocate-node-cidrs */
    int32_t node_cidr_mask;  /* --node-cidr-mask-size */
    bool allocate_node_cidrs;
    int64_t node_monitor_grace_ms; /* --node-monitor-grace-period */
    int64_t node_startup_grace_ms; /* --node-startup-grace-period */
    double node_eviction_rate;     /* --node-eviction-rate, nodes a second */
    int32_t terminated_pod_gc_threshold;
    struct str signing_cert_pem,
        signing_key_pem; /* --cluster-signing-*; absent: CSRs are not signed */
    int64_t signing_duration_ms;
    struct str service_account_key_file;
};
extern struct controllers_config controllers_config;

extern const struct controller_ops *const controllers_table[];
extern const size_t controllers_n;

extern const struct controller_ops controller_replicaset, controller_replicationcontroller,
    controller_deployment, controller_endpointslice, controller_endpoints, controller_namespace,
    controller_serviceaccount, controller_root_ca_publisher, controller_garbage_collector,
    controller_node_lifecycle, controller_taint_eviction, controller_node_ipam, controller_pod_gc;

#endif
