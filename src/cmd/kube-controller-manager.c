#include "cmd/cmd.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/log.h"
#include "cmd/absent-flags.h"
#include "cmd/controllers-flag.h"
#include "cmd/sandbox-flags.h"
#include "component/component.h"
#include "controllers/controllers.h"
#include "controllers/credentials.h"
#include "controllers/signer.h"

#define PEM_MAX (1u << 20)

struct running;

struct options {
    struct flag_strings controllers;
    struct str root_ca_file, service_account_private_key_file, cluster_cidr, cluster_name;
    struct str signing_cert_file, signing_key_file, service_cluster_ip_range;
    struct str client_cert_file, client_key_file, kubelet_client_cert_file, kubelet_client_key_file;
    struct str kubelet_serving_cert_file, kubelet_serving_key_file, legacy_cert_file, legacy_key_file;
    bool allocate_node_cidrs, use_service_account_credentials;
    int32_t node_cidr_mask, node_cidr_mask_v4, node_cidr_mask_v6, terminated_pod_gc_threshold, statefulset_syncs;
    int64_t node_monitor_grace_ms, node_startup_grace_ms, signing_duration_ms;
    int64_t legacy_token_cleanup_ms, volume_sync_ms;
    struct controllers_hpa hpa;
    struct controllers_quota quota;
    double node_eviction_rate;
};

static const struct flag flags[] = {
    FLAG_STRINGS(struct options, controllers, "controllers", "*",
                 "Controllers to run: '*' all that are on by default, 'name' this one, '-name' not "
                 "this one"),
    FLAG_STRING(struct options, root_ca_file, "root-ca-file", "",
                "CA bundle published in every namespace as ConfigMap kube-root-ca.crt"),
    FLAG_STRING(struct options, service_account_private_key_file,
                "service-account-private-key-file", "",
                "Key that signs the tokens of Secrets of type kubernetes.io/service-account-token"),
    FLAG_STRING(struct options, cluster_cidr, "cluster-cidr", "",
                "Address range of pods, or one of each family with a comma between, from which nodes get "
                "theirs with --allocate-node-cidrs"),
    FLAG_STRING(struct options, service_cluster_ip_range, "service-cluster-ip-range", "",
                "Address range of Services; no node gets addresses of it"),
    FLAG_STRING(struct options, cluster_name, "cluster-name", "kubernetes", "Name of the cluster"),
    FLAG_BOOL(struct options, allocate_node_cidrs, "allocate-node-cidrs", "false",
              "Give every node an address range for its pods"),
    FLAG_INT32(struct options, node_cidr_mask, "node-cidr-mask-size", "0",
               "Size of a node's address range, in bits; 0: 24 of IPv4, 64 of IPv6"),
    FLAG_INT32(struct options, node_cidr_mask_v4, "node-cidr-mask-size-ipv4", "0", "The same of IPv4, where there are both"),
    FLAG_INT32(struct options, node_cidr_mask_v6, "node-cidr-mask-size-ipv6", "0", "The same of IPv6, where there are both"),
    FLAG_DURATION(struct options, node_monitor_grace_ms, "node-monitor-grace-period", "50s",
                  "A node whose kubelet was silent for so long is unknown"),
    FLAG_DURATION(struct options, node_startup_grace_ms, "node-startup-grace-period", "1m",
                  "The same for a node that was just registered"),
    FLAG_FLOAT(struct options, node_eviction_rate, "node-eviction-rate", "0.1",
               "Nodes a second whose pods are evicted when nodes fail"),
    FLAG_INT32(struct options, terminated_pod_gc_threshold, "terminated-pod-gc-threshold", "12500",
               "Ended pods that are kept; 0 keeps all"),
    FLAG_INT32(struct options, statefulset_syncs, "concurrent-statefulset-syncs", "5",
               "StatefulSets that are worked on at once"),
    FLAG_INT32(struct options, quota.syncs, "concurrent-resource-quota-syncs", "5",
               "ResourceQuotas that are counted at a time"),
    FLAG_DURATION(struct options, quota.sync_ms, "resource-quota-sync-period", "5m",
                  "ResourceQuotas are counted anew after this time, whatever happens"),
    FLAG_INT32(struct options, hpa.syncs, "concurrent-horizontal-pod-autoscaler-syncs", "5",
               "HorizontalPodAutoscalers that are worked on at once"),
    FLAG_DURATION(struct options, hpa.sync_ms, "horizontal-pod-autoscaler-sync-period", "15s",
                  "How often a HorizontalPodAutoscaler looks"),
    FLAG_DURATION(struct options, hpa.downscale_stabilization_ms,
                  "horizontal-pod-autoscaler-downscale-stabilization", "5m",
                  "Of the recommendations of so long the highest counts, where spec.behavior says nothing"),
    FLAG_FLOAT(struct options, hpa.tolerance, "horizontal-pod-autoscaler-tolerance", "0.1",
               "A ratio of usage to target that is so near to 1 changes nothing"),
    FLAG_DURATION(struct options, hpa.cpu_initialization_ms,
                  "horizontal-pod-autoscaler-cpu-initialization-period", "5m",
                  "A pod that is younger is counted only once it is ready and was measured since"),
    FLAG_DURATION(struct options, hpa.initial_readiness_ms,
                  "horizontal-pod-autoscaler-initial-readiness-delay", "30s",
                  "A pod that became unready so soon after its start was never ready"),
    FLAG_DURATION(struct options, volume_sync_ms, "pvclaimbinder-sync-period", "15s",
                  "A volume that could not be deleted is tried again after so long"),
    FLAG_STRING(struct options, signing_cert_file, "cluster-signing-cert-file", "",
                "CA certificate that signs certificate requests of all four kubernetes.io signers; "
                "no other --cluster-signing-*-file may be given beside it"),
    FLAG_STRING(struct options, signing_key_file, "cluster-signing-key-file", "",
                "Key of --cluster-signing-cert-file"),
    FLAG_STRING(struct options, client_cert_file, "cluster-signing-kube-apiserver-client-cert-file",
                "", "CA certificate of the signer kubernetes.io/kube-apiserver-client"),
    FLAG_STRING(struct options, client_key_file, "cluster-signing-kube-apiserver-client-key-file", "",
                "Key of --cluster-signing-kube-apiserver-client-cert-file"),
    FLAG_STRING(struct options, kubelet_client_cert_file, "cluster-signing-kubelet-client-cert-file",
                "", "CA certificate of the signer kubernetes.io/kube-apiserver-client-kubelet"),
    FLAG_STRING(struct options, kubelet_client_key_file, "cluster-signing-kubelet-client-key-file", "",
                "Key of --cluster-signing-kubelet-client-cert-file"),
    FLAG_STRING(struct options, kubelet_serving_cert_file, "cluster-signing-kubelet-serving-cert-file",
                "", "CA certificate of the signer kubernetes.io/kubelet-serving"),
    FLAG_STRING(struct options, kubelet_serving_key_file, "cluster-signing-kubelet-serving-key-file", "",
                "Key of --cluster-signing-kubelet-serving-cert-file"),
    FLAG_STRING(struct options, legacy_cert_file, "cluster-signing-legacy-unknown-cert-file",
                "", "CA certificate of the signer kubernetes.io/legacy-unknown"),
    FLAG_STRING(struct options, legacy_key_file, "cluster-signing-legacy-unknown-key-file", "",
                "Key of --cluster-signing-legacy-unknown-cert-file"),
    FLAG_DURATION(struct options, signing_duration_ms, "cluster-signing-duration", "8760h",
                  "Longest life of a signed certificate"),
    FLAG_DURATION(struct options, legacy_token_cleanup_ms,
                  "legacy-service-account-token-clean-up-period", "8760h",
                  "Tokens in Secrets that were not used for so long are marked invalid, and deleted "
                  "after as much time again"),
    FLAG_BOOL(struct options, use_service_account_credentials, "use-service-account-credentials",
              "false", "Give each controller the rights of its own service account in kube-system"),
};

static const struct flag port_flags[] = { COMPONENT_PORT_FLAGS("0.0.0.0", "10252", "10257") };

struct state {
    struct sandbox_options sandbox;
    struct options options;
    struct arena arena;       /* of the files */
    struct client *anonymous; /* with --use-service-account-credentials: what the running
                                 controllers' clients share */
    struct running *running;
    size_t n;
    bool synced;
};

/* A controller that runs, with what is its own. */
struct running {
    struct state *state;
    const struct controller_ops *ops;
    struct client *client; /* NULL: the component's */
    struct credentials *credentials;
    struct event_recorder *recorder;
    struct controller *controller;
    bool may_start; /* it has its credentials */
};

static bool read_file(struct state *s, struct str path, struct str *ret, struct err *err)
{
    struct buf b;
    if (!path.len) {
        return true;
    }
    buf_init(&b, PEM_MAX);
    bool ok = fs_read(arena_cstr(&s->arena, path), PEM_MAX, &b, err);
    *ret = ok ? arena_str(&s->arena, buf_str(&b)) : STR_NULL;
    buf_deinit(&b);
    return ok;
}

/* The CA of one signer: its own files, or those of --cluster-signing-cert-file. Looked at now, so that a wrong one is told at
 * start. */
static bool set_signer(struct state *s, enum signer_kind kind, struct str cert, struct str key, struct err *err)
{
    const struct options *o = &s->options;
    struct controllers_signer *signer = &controllers_config.signers[kind];
    if (o->signing_cert_file.len || o->signing_key_file.len) {
        if (cert.len || key.len) {
            return err_set(err, ERR_BAD_REQUEST, "--cluster-signing-cert-file and --cluster-signing-key-file sign for every signer: no "
                                                 "other --cluster-signing-*-file may be given beside them");
        }
        cert = o->signing_cert_file;
        key = o->signing_key_file;
    }
    if (!cert.len && !key.len) {
        return true;
    }
    if (!cert.len || !key.len) {
        return err_set(err, ERR_BAD_REQUEST, "the CA of signer %.*s needs both a certificate and a key file", STR_ARG(signer_name(kind)));
    }
    signer->cert_file = arena_cstr(&s->arena, cert);
    signer->key_file = arena_cstr(&s->arena, key);
    struct signer_ca *ca = signer_ca_new(signer->cert_file, signer->key_file);
    bool ok = signer_ca_load(ca, err);
    signer_ca_free(ca);
    return ok;
}

static bool set_keys(struct state *s, struct err *err)
{
    const struct options *o = &s->options;
    if (o->service_account_private_key_file.len) {
        const char *path = arena_cstr(&s->arena, o->service_account_private_key_file);
        if (!(controllers_config.service_account_key = pki_key_load_private(path, err))) {
            return err_wrap(err, "--service-account-private-key-file");
        }
    }
    return set_signer(s, SIGNER_APISERVER_CLIENT, o->client_cert_file, o->client_key_file, err) &&
           set_signer(s, SIGNER_KUBELET_CLIENT, o->kubelet_client_cert_file, o->kubelet_client_key_file, err) &&
           set_signer(s, SIGNER_KUBELET_SERVING, o->kubelet_serving_cert_file, o->kubelet_serving_key_file, err) &&
           set_signer(s, SIGNER_LEGACY_UNKNOWN, o->legacy_cert_file, o->legacy_key_file, err);
}

static bool configure(struct state *s, struct err *err)
{
    const struct options *o = &s->options;
    struct controllers_config *c = &controllers_config;
    c->cluster_cidr = o->cluster_cidr;
    c->node_cidr_mask = o->node_cidr_mask;
    c->node_cidr_mask_v4 = o->node_cidr_mask_v4;
    c->node_cidr_mask_v6 = o->node_cidr_mask_v6;
    c->allocate_node_cidrs = o->allocate_node_cidrs;
    c->node_monitor_grace_ms = o->node_monitor_grace_ms;
    c->node_startup_grace_ms = o->node_startup_grace_ms;
    c->node_eviction_rate = o->node_eviction_rate;
    c->terminated_pod_gc_threshold = o->terminated_pod_gc_threshold;
    c->signing_duration_ms = o->signing_duration_ms;
    c->statefulset_syncs = o->statefulset_syncs;
    c->volume_sync_ms = o->volume_sync_ms;
    c->hpa = o->hpa;
    c->quota = o->quota;
    if (o->quota.syncs < 1 || o->quota.sync_ms <= 0) {
        return err_set(err, ERR_BAD_REQUEST, "--concurrent-resource-quota-syncs and --resource-quota-sync-period must be more than zero");
    }
    c->service_cidrs = o->service_cluster_ip_range;
    c->legacy_token_cleanup_s = o->legacy_token_cleanup_ms / 1000;
    if (o->hpa.syncs < 1 || o->hpa.sync_ms <= 0 || o->hpa.tolerance < 0) {
        return err_set(err, ERR_BAD_REQUEST, "--concurrent-horizontal-pod-autoscaler-syncs and --horizontal-pod-autoscaler-sync-period must "
                                             "be more than 0, --horizontal-pod-autoscaler-tolerance not less");
    }
    if (o->statefulset_syncs < 1) {
        return err_set(err, ERR_BAD_REQUEST, "--concurrent-statefulset-syncs: must be 1 or more");
    }
    if (o->allocate_node_cidrs && !o->cluster_cidr.len) {
        return err_set(err, ERR_BAD_REQUEST, "--allocate-node-cidrs needs --cluster-cidr");
    }
    if (str_find_char(o->cluster_cidr, ',') >= 0 && o->node_cidr_mask) {
        return err_set(err, ERR_BAD_REQUEST, "usage of --node-cidr-mask-size is not allowed with dual-stack clusters: "
                                             "--node-cidr-mask-size-ipv4 and --node-cidr-mask-size-ipv6 say the same");
    }
    return controllers_flag_check(&o->controllers, controllers_table, controllers_n, controller_has_name, err) &&
           read_file(s, o->root_ca_file, &c->root_ca_pem, err) && set_keys(s, err);
}

static void start_when_ready(struct running *r)
{
    if (r->may_start && r->state->synced) {
        controller_start(r->controller);
    }
}

static void on_credentials(void *data)
{
    struct running *r = data;
    r->may_start = true;
    start_when_ready(r);
}

static void run_controller(struct state *s, struct component *c, const struct controller_ops *ops)
{
    struct running *r = &s->running[s->n++];
    char source[64];
    size_t n = strlen(ops->name);
    bool named = n > 11 && strcmp(ops->name + n - 11, "-controller") == 0;
    snprintf(source, sizeof(source), named ? "%s" : "%s-controller", ops->name);
    r->state = s;
    r->ops = ops;
    if (s->anonymous && ops->service_account) {
        r->client = client_share(s->anonymous);
        r->credentials = credentials_new(component_client(c), r->client, ops->service_account,
                                         on_credentials, r);
    } else {
        r->may_start = true;
    }
    struct client *client = r->client ? r->client : component_client(c);
    r->recorder = event_recorder_new(client, source, "");
    r->controller = controller_new(ops, client, component_informers(c), r->recorder);
}

static bool start(struct component *c, void *data, struct err *err)
{
    struct state *s = data;
    s->running = calloc(controllers_n, sizeof(*s->running));
    if (!s->running) {
        abort();
    }
    if (s->options.use_service_account_credentials &&
        !(s->anonymous = component_anonymous_client(c, err))) {
        return false;
    }
    for (size_t i = 0; i < controllers_n; i++) {
        if (controllers_flag_wants(&s->options.controllers, controllers_table[i], controller_has_name)) {
            run_controller(s, c, controllers_table[i]);
        } else {
            log_info("controller %s is off", controllers_table[i]->name);
        }
    }
    return true;
}

static void on_synced(void *data)
{
    struct state *s = data;
    s->synced = true;
    for (size_t i = 0; i < s->n; i++) {
        start_when_ready(&s->running[i]);
    }
}

static void stop(void *data)
{
    struct state *s = data;
    for (size_t i = 0; i < s->n; i++) {
        controller_free(s->running[i].controller);
        event_recorder_free(s->running[i].recorder);
        credentials_free(s->running[i].credentials);
        client_free(s->running[i].client);
    }
    client_free(s->anonymous);
    free(s->running);
    controllers_config.service_account_key = pki_key_unref(controllers_config.service_account_key);
    arena_deinit(&s->arena);
}

/* Flags that upstream has and whose controllers are not here yet: said aloud, rather than taken in silence. */
static void warn_without_effect(const struct flag_result *given)
{
    static const char *const names[] = { "cluster-name" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (flags_changed(given, names[i])) {
            log_warning("--%s has no effect: no controller of this build uses it", names[i]);
        }
    }
}

int kube_controller_manager_main(int argc, char **argv)
{
    static struct state state;
    static struct component_options options;
    static const struct component_spec spec = { .name = "kube-controller-manager",
                                                .leader_name = "kube-controller-manager" };
    const struct flag_section sections[] = { { "Controllers", flags, ARRAY_SIZE(flags),
                                               &state.options },
                                             component_flag_section(&options),
                                             component_leader_section(&options),
                                             { "Ports", port_flags, ARRAY_SIZE(port_flags), &options },
                                             component_serving_section(&options),
                                             { "Sandbox", sandbox_flags, sandbox_n_flags, &state.sandbox } };
    struct flag_program program = {
        "kube-controller-manager",
        "Runs the control loops that bring the cluster to the state its objects tell.", sections,
        ARRAY_SIZE(sections)
    };
    struct flag_result result;
    struct err err;
    program.why_absent = absent_flag;
    int status = flags_main(&program, argc, argv, &result);
    if (status >= 0) {
        return status;
    }
    warn_without_effect(&result);
    arena_init(&state.arena, 16u << 20);
    struct component *c =
        configure(&state, &err) && sandbox_apply(&program, &state.sandbox, 0, &err) ? component_new(&spec, &options, &result, &err) : NULL;
    if (!c) {
        log_error("%s", err.msg);
        arena_deinit(&state.arena);
        return 1;
    }
    component_on_synced(c, on_synced, &state);
    return component_run(c, start, stop, &state);
}
