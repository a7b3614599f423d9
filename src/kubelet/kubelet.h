/*
 * The node's agent: takes the pods that are bound to its node (from the API, from files, and from its own memory on disk when the
 * apiserver cannot be reached) and makes the container runtime run them; tells the API how they and the node are; serves logs,
 * exec, attach and port-forward. See README.md.
 */
#ifndef KUBELET_KUBELET_H
#define KUBELET_KUBELET_H

#include "base/flags.h"

/* What the flags and the configuration file say. Durations are milliseconds. */
struct kubelet_config {
    struct str config, kubeconfig, bootstrap_kubeconfig, master, root_dir, pod_logs_dir;
    struct str runtime_endpoint, image_endpoint;
    struct str container_runtime, docker_endpoint, cni_bin_dir;
    struct str hostname_override, node_ip;
    bool register_node;
    struct flag_strings node_labels, register_with_taints;
    bool register_schedulable;
    struct str provider_id, cloud_provider;
    int32_t max_pods;
    int64_t node_status_update_ms, node_status_report_ms, lease_duration_ms, sync_ms, file_check_ms;
    struct str pod_manifest_path, cni_conf_dir, pod_cidr;
    bool cni_masquerade;
    struct str cgroup_driver, cgroup_root;
    struct flag_strings unsafe_sysctls;
    bool cgroups_per_qos, fail_swap_on, protect_kernel_defaults;
    struct flag_strings cluster_dns;
    struct str cluster_domain, resolv_conf;
    struct flag_strings system_reserved, kube_reserved;
    struct flag_strings feature_gates;
    int32_t pods_per_core;

    /* The server. */
    struct str address;
    int32_t port, read_only_port, cadvisor_port, healthz_port;
    struct str healthz_bind_address;
    struct str client_ca_file, tls_cert_file, tls_private_key_file, cert_dir;
    bool rotate_certificates, rotate_server_certificates;
    bool anonymous_auth, token_webhook;
    struct str authorization_mode;
    int64_t streaming_idle_ms;
    struct str server_user;

    /* Images, logs, dead containers. */
    int32_t image_gc_high, image_gc_low;
    int64_t image_min_age_ms, runtime_timeout_ms;
    struct str container_log_max_size;
    int32_t container_log_max_files;
    int32_t max_dead_per_container;
    bool serialize_pulls;
    struct str pod_infra_image;

    bool secure; /* --flag-defaults=secure */
    const struct flag_result *flags; /* what was given; NULL in tests */
};

/* The flags, with upstream's names, as sections of --help. */
#define KUBELET_FLAG_SECTIONS 4
void kubelet_flag_sections(struct kubelet_config *c, struct flag_section ret[KUBELET_FLAG_SECTIONS]);
/*
 * Reads --config (a KubeletConfiguration, kubelet.config.k8s.io/v1beta1) if one is given, and parses the command line again on top
 * of it: flags go before the file. A field that is not honoured is an error that names it.
 */
MUST_CHECK bool kubelet_config_load(const struct flag_program *program, int argc, char **argv, struct kubelet_config *c,
                                    struct flag_result *flags, struct err *err);
/* Runs until SIGTERM or SIGINT; returns the exit status. Containers go on running. */
int kubelet_run(const struct kubelet_config *c);

#endif
