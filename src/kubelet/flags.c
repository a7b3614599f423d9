/* The kubelet's flags, with the names and defaults of the document "Master-Node communication" and of upstream. */
#include "component/component.h"
#include "kubelet/kubelet.h"

#define C struct kubelet_config

static const struct flag node_flags[] = {
    FLAG_STRING(C, config, "config", "", "Path to a KubeletConfiguration file; flags go before what it says"),
    FLAG_STRING(C, master, "master", "", "The apiserver's address; overrides the one in the kubeconfig"),
    FLAG_STRING(C, kubeconfig, "kubeconfig", COMPONENT_KUBECONFIG,
                "How to reach the apiserver; the default file need not be there: then --master alone says where, or only static pods run"),
    FLAG_STRING(C, bootstrap_kubeconfig, "bootstrap-kubeconfig", "", "Credentials that may ask for a client certificate, used while --kubeconfig does not exist or its certificate has expired"),
    FLAG_BOOL(C, rotate_certificates, "rotate-certificates", "false", "Ask the cluster for another client certificate before the present one ends"),
    FLAG_STRING(C, root_dir, "root-dir", "/var/lib/kubelet", "Where volumes and the kubelet's own files are"),
    FLAG_STRING(C, hostname_override, "hostname-override", "", "Name of the node instead of the host's name"),
    FLAG_STRING(C, node_ip, "node-ip", "", "Address of the node; empty takes the one of the default route"),
    FLAG_BOOL(C, register_node, "register-node", "true", "Create the Node object"),
    FLAG_MAP(C, node_labels, "node-labels", "", "Labels of a Node that is created: key=value,…"),
    FLAG_STRINGS(C, register_with_taints, "register-with-taints", "", "Taints of a Node that is created: key=value:effect,…"),
    FLAG_BOOL(C, register_schedulable, "register-schedulable", "true", "Create the Node as schedulable"),
    FLAG_STRING(C, provider_id, "provider-id", "", "spec.providerID of the Node"),
    FLAG_STRING(C, cloud_provider, "cloud-provider", "",
                "\"external\": a cloud-controller-manager says what this node is: a Node that is created takes no pods before that, "
                "and its addresses are not written here; empty: there is none"),
    FLAG_INT32(C, max_pods, "max-pods", "110", "How many pods may run"),
    FLAG_INT32(C, pods_per_core, "pods-per-core", "0", "How many pods may run for each core; 0 is no limit"),
    FLAG_DURATION(C, node_status_update_ms, "node-status-update-frequency", "10s", "How often the node is looked at"),
    FLAG_DURATION(C, node_status_report_ms, "node-status-report-frequency", "5m", "How often an unchanged status is sent"),
    FLAG_DURATION(C, lease_duration_ms, "node-lease-duration", "40s", "Duration in the node's Lease; it is renewed four times as often"),
    FLAG_DURATION(C, sync_ms, "sync-frequency", "1m", "Longest time between two looks at a pod"),
    FLAG_MAP(C, system_reserved, "system-reserved", "", "Resources kept for the system: cpu=100m,memory=200Mi"),
    FLAG_MAP(C, kube_reserved, "kube-reserved", "", "Resources kept for the node's agents"),
    FLAG_MAP(C, feature_gates, "feature-gates", "", "Feature gates, Name=true,…: accepted where they say what is the case here"),
    FLAG_STRING(C, pod_manifest_path, "pod-manifest-path", "",
                "Folder of manifests of static pods, or a single manifest; files whose name starts with a dot are ignored"),
    FLAG_DURATION(C, file_check_ms, "file-check-frequency", "20s", "How often static pods are looked at besides change events"),
};

static const struct flag runtime_flags[] = {
    FLAG_STRING(C, runtime_endpoint, "container-runtime-endpoint", "unix:///run/containerd/containerd.sock", "Socket of the container runtime (CRI)"),
    FLAG_STRING(C, container_runtime, "container-runtime", "",
                "\"docker\" (--docker-endpoint) or \"remote\" (--container-runtime-endpoint); empty: the one whose endpoint is given, and with neither "
                "docker under the document's defaults, remote under the secure ones and with a --config"),
    FLAG_STRING(C, docker_endpoint, "docker-endpoint", "unix:///var/run/docker.sock", "Socket of dockerd (Docker Engine API)"),
    FLAG_STRING(C, image_endpoint, "image-service-endpoint", "", "Socket of the image service: only the runtime's own"),
    FLAG_DURATION(C, runtime_timeout_ms, "runtime-request-timeout", "2m", "How long the runtime may take to answer"),
    FLAG_STRING(C, pod_logs_dir, "pod-logs-dir", "/var/log/pods", "Where the runtime writes the containers' logs"),
    FLAG_STRING(C, cni_conf_dir, "cni-conf-dir", "", "Write a CNI configuration for the node's podCIDR here; empty writes none (and with docker, one in /etc/cni/net.d is used)"),
    FLAG_STRING(C, cni_bin_dir, "cni-bin-dir", "/opt/cni/bin", "Folders of CNI plugins, separated by colons, for --container-runtime=docker"),
    FLAG_BOOL(C, cni_masquerade, "cni-masquerade", "true", "Traffic of pods to other networks leaves with the node's address (needs iptables)"),
    FLAG_STRING(C, pod_cidr, "pod-cidr", "", "Range of pod addresses when there is no apiserver to tell it"),
    FLAG_STRING(C, cgroup_driver, "cgroup-driver", "cgroupfs", "\"cgroupfs\" or \"systemd\", as the runtime has it"),
    FLAG_STRING(C, cgroup_root, "cgroup-root", "", "Control group that the pods' groups are made in"),
    FLAG_BOOL(C, cgroups_per_qos, "cgroups-per-qos", "true", "Make a control group for each class of service and each pod"),
    FLAG_BOOL(C, fail_swap_on, "fail-swap-on", "true", "Refuse to start while swap is on"),
    FLAG_BOOL(C, protect_kernel_defaults, "protect-kernel-defaults", "false", "Refuse to start when the kernel's settings differ from what Kubernetes expects; they are never changed"),
    FLAG_STRINGS(C, unsafe_sysctls, "allowed-unsafe-sysctls", "", "Further sysctls that pods may set; a pattern may end in *"),
    FLAG_STRINGS(C, cluster_dns, "cluster-dns", "", "Name servers of pods with dnsPolicy ClusterFirst"),
    FLAG_STRING(C, cluster_domain, "cluster-domain", "", "Domain of the cluster, for the pods' search list"),
    FLAG_STRING(C, resolv_conf, "resolv-conf", "/etc/resolv.conf", "The node's resolver configuration, for pods that use it"),
};

static const struct flag server_flags[] = {
    FLAG_STRING(C, address, "address", "0.0.0.0", "The address that --port, --read-only-port and --cadvisor-port are served on"),
    FLAG_INT32(C, port, "port", "10250", "The port of the kubelet's API; 0 serves nothing"),
    FLAG_INT32(C, read_only_port, "read-only-port", "10255",
               "A port for reading pods, stats and metrics over HTTP, without authentication; 0 serves nothing", .secure = "0",
               .unsafe = "everybody who reaches it reads the specifications and figures of all pods, in the clear", .mend = "--read-only-port=0"),
    FLAG_INT32(C, cadvisor_port, "cadvisor-port", "4194",
               "A port for the containers' metrics and a page that shows them, over HTTP, without authentication; 0 serves nothing",
               .secure = "0", .unsafe = "everybody who reaches it reads the names and figures of all containers, in the clear",
               .mend = "--cadvisor-port=0"),
    FLAG_INT32(C, healthz_port, "healthz-port", "10248", "The port of /healthz; 0 serves nothing"),
    FLAG_STRING(C, healthz_bind_address, "healthz-bind-address", "127.0.0.1", "The address of /healthz; 0.0.0.0: all interfaces"),
    FLAG_STRING(C, client_ca_file, "client-ca-file", "", "CAs of client certificates"),
    FLAG_STRING(C, tls_cert_file, "tls-cert-file", "", "Serving certificate (PEM); empty makes a self-signed one in --cert-dir"),
    FLAG_STRING(C, tls_private_key_file, "tls-private-key-file", "", "Its key"),
    FLAG_STRING(C, cert_dir, "cert-dir", "/var/lib/kubelet/pki", "Where certificates that the cluster signed, or that are self-signed, are kept"),
    FLAG_BOOL(C, rotate_server_certificates, "rotate-server-certificates", "false", "Have the serving certificate signed and renewed by the cluster; needs approval of its requests"),
    FLAG_BOOL(C, anonymous_auth, "anonymous-auth", "true", "Serve requests without credentials as system:anonymous",
              .secure = "false", .unsafe = "requests without credentials are served, and AlwaysAllow lets them do everything",
              .mend = "--anonymous-auth=false"),
    FLAG_BOOL(C, token_webhook, "authentication-token-webhook", "false", "Ask the apiserver who a bearer token is (TokenReview)",
              .secure = "true"),
    FLAG_STRING(C, authorization_mode, "authorization-mode", "AlwaysAllow", "\"AlwaysAllow\" or \"Webhook\" (SubjectAccessReview)",
                .secure = "Webhook", .unsafe = "whoever is served may run commands in every container", .mend = "--authorization-mode=Webhook"),
    FLAG_DURATION(C, streaming_idle_ms, "streaming-connection-idle-timeout", "4h", "Longest silence of exec, attach and port-forward"),
    FLAG_STRING(C, server_user, "server-user", "65534", "Number of the user that the server's process runs as; 0 stays root"),
};

static const struct flag gc_flags[] = {
    FLAG_INT32(C, image_gc_high, "image-gc-high-threshold", "85", "Percentage of disk use at which unused images are removed"),
    FLAG_INT32(C, image_gc_low, "image-gc-low-threshold", "80", "Percentage of disk use that image removal aims at"),
    FLAG_DURATION(C, image_min_age_ms, "minimum-image-ttl-duration", "2m", "Younger images are not removed"),
    FLAG_STRING(C, container_log_max_size, "container-log-max-size", "10Mi", "A container's log is rotated at this size"),
    FLAG_INT32(C, container_log_max_files, "container-log-max-files", "5", "How many files of one container's log are kept"),
    FLAG_INT32(C, max_dead_per_container, "maximum-dead-containers-per-container", "1", "How many ended runs of a container are kept: only 1"),
    FLAG_BOOL(C, serialize_pulls, "serialize-image-pulls", "true", "Pull one image at a time"),
    FLAG_STRING(C, pod_infra_image, "pod-infra-container-image", "", "The sandbox image, which is never removed"),
};
#undef C

void kubelet_flag_sections(struct kubelet_config *c, struct flag_section ret[KUBELET_FLAG_SECTIONS])
{
    ret[0] = (struct flag_section){ "Node", node_flags, ARRAY_SIZE(node_flags), c };
    ret[1] = (struct flag_section){ "Runtime", runtime_flags, ARRAY_SIZE(runtime_flags), c };
    ret[2] = (struct flag_section){ "Server", server_flags, ARRAY_SIZE(server_flags), c };
    ret[3] = (struct flag_section){ "Collection", gc_flags, ARRAY_SIZE(gc_flags), c };
}
