#include "controllers/controllers.h"

struct controllers_config controllers_config;

const struct controller_ops *const controllers_table[] = {
    &controller_serviceaccount_token,
    &controller_serviceaccount,
    &controller_root_ca_publisher,
    &controller_node_ipam,
    &controller_node_lifecycle,
    &controller_taint_eviction,
    &controller_replicaset,
    &controller_replicationcontroller,
    &controller_deployment,
    &controller_daemonset,
    &controller_statefulset,
    &controller_job,
    &controller_cronjob,
    &controller_disruption,
    &controller_ttl_after_finished,
    &controller_hpa,
    &controller_resource_quota,
    &controller_volume_binder,
    &controller_claim_protection,
    &controller_volume_protection,
    &controller_endpointslice,
    &controller_endpoints,
    &controller_pod_gc,
    &controller_servicecidrs,
    &controller_namespace,
    &controller_garbage_collector,
    &controller_csr_signing,
    &controller_csr_approving,
    &controller_csr_cleaner,
    &controller_kubelet_serving_approving,
    &controller_bootstrap_signer,
    &controller_token_cleaner,
    &controller_legacy_token_cleaner,
    &controller_clusterrole_aggregation,
};
const size_t controllers_n = ARRAY_SIZE(controllers_table);

static const struct {
    const char *old, *name;
} aliases[] = {
    { "bootstrapsigner", "bootstrap-signer" },
    { "clusterrole-aggregation", "clusterrole-aggregation" },
    { "csrapproving", "certificatesigningrequest-approving" },
    { "csrcleaner", "certificatesigningrequest-cleaner" },
    { "csrsigning", "certificatesigningrequest-signing" },
    { "endpoint", "endpoints" },
    { "endpointslice", "endpointslice" },
    { "garbagecollector", "garbage-collector" },
    { "horizontalpodautoscaling", "horizontal-pod-autoscaler" },
    { "legacy-service-account-token-cleaner", "legacy-serviceaccount-token-cleaner" },
    { "nodeipam", "node-ipam" },
    { "nodelifecycle", "node-lifecycle" },
    { "podgc", "pod-garbage-collector" },
    { "pv-protection", "persistentvolume-protection" },
    { "pvc-protection", "persistentvolumeclaim-protection" },
    { "root-ca-cert-publisher", "root-ca-certificate-publisher" },
    { "serviceaccount-token", "serviceaccount-token" },
    { "tokencleaner", "token-cleaner" },
};

static struct str stem(struct str name)
{
    struct str end = STR("-controller");
    return str_ends(name, end) ? str_sub(name, 0, name.len - end.len) : name;
}

bool controller_has_name(const struct controller_ops *ops, struct str name)
{
    struct str own = stem(str_c(ops->name)), asked = stem(name);
    for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
        if (str_eq_c(asked, aliases[i].old)) {
            asked = str_c(aliases[i].name);
        }
    }
    return str_eq(own, asked) || (str_eq_c(own, "endpoint") && str_eq_c(asked, "endpoints"));
}
