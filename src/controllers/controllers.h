/* The controllers of kube-controller-manager. */
#ifndef CONTROLLERS_CONTROLLERS_H
#define CONTROLLERS_CONTROLLERS_H

#include "client/controller.h"
#include "client/meta.h"

struct pki_key;

/* A signer of certificate requests (controllers/signer.h). Both NULL: it is not ours to sign. */
struct controllers_signer {
    const char *cert_file, *key_file;
};
#define CONTROLLERS_SIGNERS 4

/* --horizontal-pod-autoscaler-*, --concurrent-horizontal-pod-autoscaler-syncs. */
struct controllers_hpa {
    int64_t sync_ms, downscale_stabilization_ms, cpu_initialization_ms, initial_readiness_ms;
    double tolerance;
    int32_t syncs;
};

/* --concurrent-resource-quota-syncs, --resource-quota-sync-period. */
struct controllers_quota {
    int64_t sync_ms; /* 0: only when something changes */
    int32_t syncs;
};

/* What controllers are told by flags. One for the process, set before the first controller is made.
 */
struct controllers_config {
    struct str root_ca_pem; /* --root-ca-file: for the root CA publisher; absent: it does not run */
    struct str cluster_cidr; /* --cluster-cidr, with --allocate-node-cidrs */
    /* --node-cidr-mask-size (the one family), --node-cidr-mask-size-ipv4, --node-cidr-mask-size-ipv6; 0: upstream's size */
    int32_t node_cidr_mask, node_cidr_mask_v4, node_cidr_mask_v6;
    bool allocate_node_cidrs;
    int64_t node_monitor_grace_ms; /* --node-monitor-grace-period */
    int64_t node_startup_grace_ms; /* --node-startup-grace-period */
    double node_eviction_rate;     /* --node-eviction-rate, nodes a second */
    int32_t terminated_pod_gc_threshold;
    struct str service_cidrs; /* --service-cluster-ip-range */
    int32_t statefulset_syncs; /* --concurrent-statefulset-syncs */
    struct controllers_hpa hpa;
    struct controllers_quota quota;
    int64_t volume_sync_ms;    /* --pvclaimbinder-sync-period */
    struct controllers_signer signers[CONTROLLERS_SIGNERS]; /* --cluster-signing-*, by enum signer_kind */
    int64_t signing_duration_ms;    /* --cluster-signing-duration */
    int64_t legacy_token_cleanup_s; /* --legacy-service-account-token-clean-up-period */
    struct pki_key *service_account_key; /* --service-account-private-key-file; NULL: token Secrets are not filled */
};
extern struct controllers_config controllers_config;

extern const struct controller_ops *const controllers_table[];
extern const size_t controllers_n;
/* Is the controller meant by this name of --controllers? Upstream's names end with "-controller" since 1.28; its older names are
 * known, too. */
bool controller_has_name(const struct controller_ops *ops, struct str name);

extern const struct controller_ops controller_replicaset, controller_replicationcontroller,
    controller_deployment, controller_endpointslice, controller_endpoints, controller_namespace,
    controller_serviceaccount, controller_root_ca_publisher, controller_garbage_collector,
    controller_node_lifecycle, controller_taint_eviction, controller_node_ipam, controller_servicecidrs, controller_pod_gc,
    controller_csr_signing, controller_csr_approving, controller_csr_cleaner,
    controller_kubelet_serving_approving, controller_bootstrap_signer, controller_token_cleaner,
    controller_legacy_token_cleaner, controller_serviceaccount_token,
    controller_clusterrole_aggregation, controller_daemonset, controller_job, controller_ttl_after_finished,
    controller_disruption, controller_cronjob, controller_statefulset,
    controller_volume_binder, controller_claim_protection, controller_volume_protection,
    controller_hpa, controller_resource_quota;

#endif
