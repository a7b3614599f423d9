/*
 * KubeletConfiguration (kubelet.config.k8s.io/v1beta1): each field that is honoured stands for a flag, so a file is turned into a
 * command line, and the real command line comes behind it.
 */
#include "kubelet/kubelet.h"

#include <stdlib.h>

#include "api/yaml.h"
#include "base/fs.h"
#include "base/log.h"
#include "kubelet/limits.h"

static const struct {
    const char *path, *flag;
} fields[] = {
    { "address", "address" },
    { "port", "port" },
    { "readOnlyPort", "read-only-port" },
    { "healthzPort", "healthz-port" },
    { "healthzBindAddress", "healthz-bind-address" },
    { "tlsCertFile", "tls-cert-file" },
    { "tlsPrivateKeyFile", "tls-private-key-file" },
    { "rotateCertificates", "rotate-certificates" },
    { "serverTLSBootstrap", "rotate-server-certificates" },
    { "authentication.x509.clientCAFile", "client-ca-file" },
    { "authentication.webhook.enabled", "authentication-token-webhook" },
    { "authentication.anonymous.enabled", "anonymous-auth" },
    { "authorization.mode", "authorization-mode" },
    { "clusterDNS", "cluster-dns" },
    { "clusterDomain", "cluster-domain" },
    { "resolvConf", "resolv-conf" },
    { "staticPodPath", "pod-manifest-path" },
    { "fileCheckFrequency", "file-check-frequency" },
    { "syncFrequency", "sync-frequency" },
    { "nodeStatusUpdateFrequency", "node-status-update-frequency" },
    { "nodeStatusReportFrequency", "node-status-report-frequency" },
    { "registerNode", "register-node" },
    { "registerWithTaints", NULL },
    { "providerID", "provider-id" },
    { "maxPods", "max-pods" },
    { "podsPerCore", "pods-per-core" },
    { "podCIDR", "pod-cidr" },
    { "podLogsDir", "pod-logs-dir" },
    { "cgroupDriver", "cgroup-driver" },
    { "cgroupRoot", "cgroup-root" },
    { "cgroupsPerQOS", "cgroups-per-qos" },
    { "failSwapOn", "fail-swap-on" },
    { "allowedUnsafeSysctls", "allowed-unsafe-sysctls" },
    { "protectKernelDefaults", "protect-kernel-defaults" },
    { "containerRuntimeEndpoint", "container-runtime-endpoint" },
    { "imageServiceEndpoint", "image-service-endpoint" },
    { "runtimeRequestTimeout", "runtime-request-timeout" },
    { "streamingConnectionIdleTimeout", "streaming-connection-idle-timeout" },
    { "imageGCHighThresholdPercent", "image-gc-high-threshold" },
    { "imageGCLowThresholdPercent", "image-gc-low-threshold" },
    { "imageMinimumGCAge", "minimum-image-ttl-duration" },
    { "containerLogMaxSize", "container-log-max-size" },
    { "containerLogMaxFiles", "container-log-max-files" },
    { "serializeImagePulls", "serialize-image-pulls" },
    { "systemReserved", "system-reserved" },
    { "kubeReserved", "kube-reserved" },
    { "featureGates", "feature-gates" },
};

/* Fields of the original that are not honoured: kubeadm and others write them as zero values, and they are accepted while they say
 * nothing. Any other name is unknown, whatever its value. */
static const char *const silent[] = {
    "enableServer", "podCIDR", "tlsCipherSuites", "tlsMinVersion", "rotateCertificates", "serverTLSBootstrap",
    "registryPullQPS", "registryBurst", "eventRecordQPS", "eventBurst", "enableDebuggingHandlers",
    "enableContentionProfiling", "oomScoreAdj", "kubeletCgroups", "systemCgroups", "cgroupRoot", "cpuManagerPolicy",
    "cpuManagerPolicyOptions", "singleProcessOOMKill", "cpuManagerReconcilePeriod", "memoryManagerPolicy",
    "topologyManagerPolicy", "topologyManagerScope", "topologyManagerPolicyOptions", "qosReserved", "hairpinMode",
    "podPidsLimit", "runOnce", "cpuCFSQuota", "cpuCFSQuotaPeriod", "nodeStatusMaxImages", "maxOpenFiles", "contentType",
    "kubeAPIQPS", "kubeAPIBurst", "maxParallelImagePulls", "evictionHard", "evictionSoft", "evictionSoftGracePeriod",
    "evictionPressureTransitionPeriod", "evictionMaxPodGracePeriod", "evictionMinimumReclaim",
    "mergeDefaultEvictionSettings", "enableControllerAttachDetach", "makeIPTablesUtilChains", "iptablesMasqueradeBit",
    "iptablesDropBit", "failCgroupV1", "memorySwap", "configMapAndSecretChangeDetectionStrategy", "reservedSystemCPUs",
    "showHiddenMetricsForVersion", "systemReservedCgroup", "kubeReservedCgroup", "enforceNodeAllocatable",
    "volumePluginDir", "logging", "enableSystemLogHandler", "enableSystemLogQuery", "shutdownGracePeriod",
    "shutdownGracePeriodCriticalPods", "shutdownGracePeriodByPodPriority", "reservedMemory", "enableProfilingHandler",
    "enableDebugFlagsHandler", "seccompDefault", "memoryThrottlingFactor", "tracing", "localStorageCapacityIsolation",
    "crashLoopBackOff", "imageMaximumGCAge", "volumeStatsAggPeriod", "nodeLeaseDurationSeconds", "staticPodURL",
    "staticPodURLHeader", "containerLogMaxWorkers", "containerLogMonitorInterval",
    "imagePullCredentialsVerificationPolicy", "preloadedImagesVerificationAllowlist", "userNamespaces",
    "httpCheckFrequency", "authentication", "authorization",
};

static bool may_be_silent(struct str path)
{
    struct str top, rest;
    if (!str_cut(path, '.', &top, &rest)) {
        top = path;
    }
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
        if (str_eq_c(top, silent[i])) {
            return true;
        }
    }
    return false;
}

static bool says_nothing(const struct val *v)
{
    switch (v->kind) {
    case VAL_NULL: return true;
    case VAL_BOOL: return !v->b;
    case VAL_INT: return v->i == 0;
    case VAL_DOUBLE: return v->d == 0;
    case VAL_STRING: return v->s.len == 0 || str_eq_c(v->s, "0s") || str_eq_c(v->s, "0");
    case VAL_ARRAY: return v->n == 0;
    case VAL_OBJECT: break;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        if (!says_nothing(&v->members[i].value)) {
            return false;
        }
    }
    return true;
}

static bool scalar_text(const struct val *v, struct buf *b)
{
    if (v->kind == VAL_STRING) {
        buf_append(b, v->s);
    } else if (v->kind == VAL_BOOL) {
        buf_append_c(b, v->b ? "true" : "false");
    } else if (v->kind == VAL_INT) {
        buf_append_i64(b, v->i);
    } else {
        return false;
    }
    return true;
}

/* "a,b" of a list, "k=v,…" of an object, the value itself of anything else. */
static bool value_text(const struct val *v, struct buf *b)
{
    if (v->kind == VAL_ARRAY) {
        for (uint32_t i = 0; i < v->n; i++) {
            if (i) {
                buf_append_char(b, ',');
            }
            if (!scalar_text(&v->items[i], b)) {
                return false;
            }
        }
        return true;
    }
    if (v->kind == VAL_OBJECT) {
        for (uint32_t i = 0; i < v->n; i++) {
            buf_printf(b, "%s%.*s=", i ? "," : "", STR_ARG(v->members[i].key));
            if (!scalar_text(&v->members[i].value, b)) {
                return false;
            }
        }
        return true;
    }
    return scalar_text(v, b);
}

static bool taints_text(const struct val *v, struct buf *b)
{
    for (uint32_t i = 0; v->kind == VAL_ARRAY && i < v->n; i++) {
        buf_printf(b, "%s%.*s=%.*s:%.*s", i ? "," : "", STR_ARG(val_get_str(&v->items[i], STR("key"))),
                   STR_ARG(val_get_str(&v->items[i], STR("value"))), STR_ARG(val_get_str(&v->items[i], STR("effect"))));
    }
    return v->kind == VAL_ARRAY;
}

/* What the format says where a file says nothing; as flags these have other defaults, those of times before there were files. */
static const struct {
    const char *flag, *word;
} file_defaults[] = {
    { "anonymous-auth", "--anonymous-auth=false" },
    { "authentication-token-webhook", "--authentication-token-webhook=true" },
    { "authorization-mode", "--authorization-mode=Webhook" },
    { "read-only-port", "--read-only-port=0" },
};

struct words {
    struct arena *a;
    char **argv;
    size_t n;
    const struct flag_result *given;
};

static bool has_fields_below(struct str path)
{
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        struct str p = str_c(fields[i].path);
        if (p.len > path.len && str_starts(p, path) && p.ptr[path.len] == '.') {
            return true;
        }
    }
    return false;
}

static bool add_field(struct words *w, struct str path, const struct val *v, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        if (!str_eq_c(path, fields[i].path)) {
            continue;
        }
        const char *flag = fields[i].flag ? fields[i].flag : "register-with-taints";
        CLEANUP(buf_deinit) struct buf b;
        buf_init(&b, KUBELET_MAX_SMALL_FILE);
        /* A duration of nothing, or an empty text, is the default, as in the original; but resolvConf: "" is no file at all. */
        bool is_default = v->kind == VAL_NULL || str_eq_c(val_as_str(v), "0s") ||
                          (v->kind == VAL_STRING && !v->s.len && !str_eq_c(path, "resolvConf"));
        if (is_default || flags_changed(w->given, flag)) {
            return true;
        }
        buf_printf(&b, "--%s=", flag);
        if (!(fields[i].flag ? value_text(v, &b) : taints_text(v, &b)) || buf_failed(&b)) {
            return err_set(err, ERR_INVALID, "field \"%.*s\" has a value of the wrong kind", STR_ARG(path));
        }
        w->argv[w->n] = arena_cstr(w->a, buf_str(&b));
        return w->argv[w->n++] != NULL || err_set(err, ERR_TOO_LARGE, "the file is too large");
    }
    if (v->kind == VAL_OBJECT && has_fields_below(path)) {
        for (uint32_t i = 0; i < v->n; i++) {
            struct str sub = arena_printf(w->a, "%.*s.%.*s", STR_ARG(path), STR_ARG(v->members[i].key));
            if (!add_field(w, sub, &v->members[i].value, err)) {
                return false;
            }
        }
        return true;
    }
    return (says_nothing(v) && may_be_silent(path)) || err_set(err, ERR_INVALID, "unknown field \"%.*s\": this kubelet does not honour it", STR_ARG(path));
}

static bool read_fields(struct words *w, struct str text, struct err *err)
{
    struct val doc;
    struct val_dups dups;
    val_dups_init(&dups);
    if (!yaml_or_json_parse(w->a, text, &dups, &doc, err)) {
        return false;
    }
    if (dups.n) {
        return err_set(err, ERR_INVALID, "%.*s", STR_ARG(yaml_dups_message(w->a, &dups)));
    }
    if (doc.kind != VAL_OBJECT || !str_eq_c(val_get_str(&doc, STR("kind")), "KubeletConfiguration") ||
        !str_eq_c(val_get_str(&doc, STR("apiVersion")), "kubelet.config.k8s.io/v1beta1")) {
        return err_set(err, ERR_INVALID, "not a KubeletConfiguration of kubelet.config.k8s.io/v1beta1");
    }
    for (uint32_t i = 0; i < doc.n; i++) {
        struct str key = doc.members[i].key;
        if (!str_eq_c(key, "kind") && !str_eq_c(key, "apiVersion") && !add_field(w, key, &doc.members[i].value, err)) {
            return false;
        }
    }
    return true;
}

bool kubelet_config_load(const struct flag_program *program, int argc, char **argv, struct kubelet_config *c,
                         struct flag_result *flags, struct err *err)
{
    /* Lives as long as the process: the options borrow from it. */
    static struct arena a;
    char path[4096];
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, KUBELET_MAX_SMALL_FILE);
    if (str_empty(c->config)) {
        return true;
    }
    arena_deinit(&a);
    arena_init(&a, 16u << 20);
    struct words w = { .a = &a, .given = flags };
    w.argv = arena_new_n(&a, char *, ARRAY_SIZE(fields) + ARRAY_SIZE(file_defaults) + (size_t)argc + 2);
    if (!w.argv || !str_to_cstr(c->config, path, sizeof(path)) || !fs_read(path, KUBELET_MAX_SMALL_FILE, &b, err)) {
        return err->code ? false : err_set(err, ERR_INVALID, "--config is too long");
    }
    w.argv[w.n++] = argv[0];
    for (size_t i = 0; i < ARRAY_SIZE(file_defaults); i++) {
        if (!flags_changed(flags, file_defaults[i].flag)) {
            w.argv[w.n++] = arena_cstr(&a, str_c(file_defaults[i].word));
        }
    }
    if (!read_fields(&w, arena_str(&a, buf_str(&b)), err)) {
        return err_wrap(err, "--config %s", path);
    }
    for (int i = 1; i < argc; i++) {
        w.argv[w.n++] = argv[i];
    }
    return flags_parse(program, (int)w.n, w.argv, flags, err) || err_wrap(err, "--config %s", path);
}
