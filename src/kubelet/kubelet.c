#include "kubelet/kubelet.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "client/client.h"
#include "client/meta.h"
#include "component/component.h"
#include "component/gates.h"
#include "component/health-server.h"
#include "kubelet/docker.h"
#include "kubelet/node-certificates.h"
#include "kubelet/objects.h"
#include "net/addr.h"

/* How long a start waits for the API's pods before those remembered on disk are run. */
#define OFFLINE_MS 1500
/* How often it is looked whether the time floor is to be written down. */
#define KEEP_TIME_MS 600000

void pod_event(struct pod *p, const struct pod_container *c, const char *type_reason, const char *fmt, ...)
{
    char message[1024], type[16];
    const char *slash = strchr(type_reason, '/');
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    snprintf(type, sizeof(type), "%.*s", (int)(slash - type_reason), type_reason);
    log_at(type[0] == 'W' ? LOG_WARNING : LOG_INFO, "pod %s/%s: %s%s%s: %s", p->ns, p->name, c ? c->name : "", c ? ": " : "", slash + 1, message);
    const struct pod *face = p->mirror ? p->mirror : p;
    if (!p->k->events || !face->obj || (p->source == POD_FROM_FILE && !p->mirror)) {
        return;
    }
    char field[128] = "";
    if (c && c->kind != CONTAINER_EPHEMERAL) {
        snprintf(field, sizeof(field), "spec.%s{%s}", c->kind == CONTAINER_MAIN ? "containers" : "initContainers", c->name);
    } else if (c) {
        snprintf(field, sizeof(field), "spec.ephemeralContainers{%s}", c->name);
    }
    struct event_subject s = event_subject_of(api_resource_find(STR_EMPTY, STR("v1"), STR("pods")), face->obj);
    s.field_path = str_c(field);
    event_record(p->k->events, &s, type, slash + 1, "%s", message);
}

/* ---- sources ---- */

static void on_pod(void *data, const void *old, const void *obj)
{
    struct kubelet *k = data;
    const struct core_v1_pod *before = old, *now = obj;
    if (before && (!now || !str_eq(before->metadata.uid, now->metadata.uid))) {
        pods_gone(k, before->metadata.uid, POD_FROM_API);
    }
    if (now) {
        pods_set(k, now, POD_FROM_API);
    }
}

static void on_pods_synced(void *data)
{
    struct kubelet *k = data;
    log_info("the pods of node %s are known", k->node_name);
    pods_synced(k);
    checkpoint_sweep(k);
}

static void on_services_synced(void *data)
{
    struct kubelet *k = data;
    k->services_synced = true;
}

static void watch_api(struct kubelet *k)
{
    static const char *const fields[] = { "-metadata.managedFields", NULL };
    static const char *const service_fields[] = { "spec.clusterIP", "spec.ports", NULL };
    char selector[300];
    snprintf(selector, sizeof(selector), "spec.nodeName=%s", k->node_name);
    const struct informer_spec pods = { .resource = api_resource_find(STR_EMPTY, STR("v1"), STR("pods")), .field_selector = str_c(selector), .fields = fields };
    const struct informer_spec services = { .resource = api_resource_find(STR_EMPTY, STR("v1"), STR("services")), .fields = service_fields };
    k->pod_informers = informers_new(k->client);
    k->service_informers = informers_new(k->client);
    k->pod_informer = informers_get(k->pod_informers, &pods, on_pod, k);
    k->service_informer = informers_get(k->service_informers, &services, NULL, NULL);
    informers_start(k->service_informers, on_services_synced, k);
    informers_start(k->pod_informers, on_pods_synced, k);
}

/* The apiserver had its chance: what ran last runs again. */
static void on_offline(void *arg)
{
    struct kubelet *k = arg;
    if (!k->pods_synced) {
        checkpoint_load(k);
    }
}

/* ---- life ---- */

static bool connect_api(struct kubelet *k, struct err *err)
{
    const struct kubelet_config *c = k->cfg;
    struct str file = c->kubeconfig;
    bool ok;
    if (str_eq_c(file, COMPONENT_KUBECONFIG) && !flags_changed(c->flags, "kubeconfig") && access(COMPONENT_KUBECONFIG, F_OK) < 0 &&
        str_empty(c->bootstrap_kubeconfig)) {
        file = STR_EMPTY;
    }
    if (file.len) {
        ok = bootstrap_connect(k, file, err);
    } else if (c->bootstrap_kubeconfig.len || c->rotate_certificates || c->rotate_server_certificates) {
        return err_set(err, ERR_INVALID, "--bootstrap-kubeconfig, --rotate-certificates and --rotate-server-certificates need --kubeconfig: "
                                         "certificates are signed by the cluster");
    } else if (c->master.len) {
        const struct client_options options = { .user_agent = KUBELET_USER_AGENT };
        const struct client_config config = { .server = c->master };
        ok = (k->client = client_new(k->loop, &config, &options, err)) != NULL;
    } else {
        log_info("no --kubeconfig and no --master: only static pods run");
        return true;
    }
    if (ok) {
        k->events = event_recorder_new(k->client, "kubelet", k->node_name);
        bootstrap_start(k);
    }
    return ok;
}

static void on_keep_time(void *arg)
{
    struct kubelet *k = arg;
    time_floor_keep();
    loop_timer_start(&k->keep_time, KEEP_TIME_MS);
}

/* Before the server's process is made, which then knows the time floor too. */
static void open_time_floor(struct kubelet *k)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/time-floor", k->root);
    time_floor_open(path);
}

/* What Kubernetes expects of the kernel (documentation of --protect-kernel-defaults). */
static bool check_kernel(struct err *err)
{
    static const struct {
        const char *path;
        int32_t want;
    } settings[] = {
        { "vm/overcommit_memory", 1 },  { "vm/panic_on_oom", 0 },           { "kernel/panic", 10 },
        { "kernel/panic_on_oops", 1 },  { "kernel/keys/root_maxkeys", 1000000 }, { "kernel/keys/root_maxbytes", 25000000 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        char path[128];
        int32_t is;
        CLEANUP(buf_deinit) struct buf b;
        buf_init(&b, 256);
        snprintf(path, sizeof(path), "/proc/sys/%s", settings[i].path);
        if (!fs_read(path, 256, &b, err) || !str_to_i32(str_trim(buf_str(&b)), &is)) {
            return err_wrap(err, "--protect-kernel-defaults");
        }
        if (is != settings[i].want) {
            return err_set(err, ERR_INVALID, "--protect-kernel-defaults: %s is %d, expected is %d", path, is, settings[i].want);
        }
    }
    return true;
}

static bool check_ports(const struct kubelet_config *c, struct err *err)
{
    const struct {
        const char *flag;
        int32_t port;
        bool same_address; /* as --port */
    } ports[] = { { "port", c->port, true }, { "read-only-port", c->read_only_port, true }, { "cadvisor-port", c->cadvisor_port, true },
                  { "healthz-port", c->healthz_port, str_eq(c->address, c->healthz_bind_address) } };
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
        if (ports[i].port < 0 || ports[i].port > 65535) {
            return err_set(err, ERR_INVALID, "--%s=%d is no port", ports[i].flag, ports[i].port);
        }
        for (size_t j = 0; j < i; j++) {
            if (ports[i].port && ports[i].port == ports[j].port && ports[i].same_address && ports[j].same_address) {
                return err_set(err, ERR_INVALID, "--%s and --%s are both %d", ports[j].flag, ports[i].flag, ports[i].port);
            }
        }
    }
    return true;
}

/* What is accepted is done: values that are not implemented are refused. */
static bool check_options(const struct kubelet_config *c, struct err *err)
{
    if (c->cloud_provider.len && !str_eq(c->cloud_provider, STR("external"))) {
        return err_set(err, ERR_INVALID, "--cloud-provider=%.*s: providers are the cloud-controller-manager's: \"external\" or empty",
                       STR_ARG(c->cloud_provider));
    }
    if (c->image_endpoint.len && !str_eq(c->image_endpoint, c->runtime_endpoint)) {
        return err_set(err, ERR_INVALID, "--image-service-endpoint: images come from --container-runtime-endpoint; another one is not implemented");
    }
    if (c->max_dead_per_container != 1) {
        return err_set(err, ERR_INVALID, "--maximum-dead-containers-per-container=%d is not implemented: one ended run is kept", c->max_dead_per_container);
    }
    char dir[PATH_MAX / 2];
    if (!str_to_cstr(c->cert_dir, dir, sizeof(dir))) {
        return err_set(err, ERR_INVALID, "--cert-dir is too long");
    }
    if (c->runtime_timeout_ms < 1000) {
        return err_set(err, ERR_INVALID, "--runtime-request-timeout is less than a second");
    }
    return flags_together(c->flags, "tls-cert-file", "tls-private-key-file", err) && gates_check(&c->feature_gates, err) &&
           (!c->protect_kernel_defaults || check_kernel(err));
}

/* Is a port on this address reached from other machines? */
static bool is_remote(struct str ip)
{
    struct net_addr addr;
    return net_addr_parse_ip(ip, 1, &addr) && !net_addr_is_local(&addr);
}

static void note_unsafe(const struct kubelet_config *c)
{
    bool remote = is_remote(c->address), everything = str_eq_c(c->authorization_mode, "AlwaysAllow");
    if (remote && c->read_only_port) {
        flags_note_unsafe(c->flags, "read-only-port");
    }
    if (remote && c->cadvisor_port) {
        flags_note_unsafe(c->flags, "cadvisor-port");
    }
    if (c->port && everything) {
        flags_note_unsafe(c->flags, "authorization-mode");
        if (c->anonymous_auth) {
            flags_note_unsafe(c->flags, "anonymous-auth");
        }
    }
}

static bool prepare(struct kubelet *k, struct err *err)
{
    const struct kubelet_config *c = k->cfg;
    if (!str_to_cstr(c->root_dir, k->root, sizeof(k->root)) || !str_to_cstr(c->pod_logs_dir, k->logs, sizeof(k->logs))) {
        return err_set(err, ERR_INVALID, "--root-dir or --pod-logs-dir is too long");
    }
    if (c->hostname_override.len) {
        snprintf(k->node_name, sizeof(k->node_name), "%.*s", STR_ARG(c->hostname_override));
    } else if (gethostname(k->node_name, sizeof(k->node_name) - 1) < 0) {
        return err_set(err, ERR_IO, "the host has no name");
    }
    for (char *q = k->node_name; *q; q++) {
        *q = (char)tolower((unsigned char)*q);
    }
    if (!str_eq_c(c->cgroup_driver, "cgroupfs") && !str_eq_c(c->cgroup_driver, "systemd")) {
        return err_set(err, ERR_INVALID, "--cgroup-driver is cgroupfs or systemd");
    }
    if (!str_eq_c(c->authorization_mode, "AlwaysAllow") && !str_eq_c(c->authorization_mode, "Webhook")) {
        return err_set(err, ERR_INVALID, "--authorization-mode is AlwaysAllow or Webhook");
    }
    if (!check_ports(c, err) || !check_options(c, err)) {
        return false;
    }
    if (!fs_mkdirs(k->root, 0750, err)) {
        return false;
    }
    open_time_floor(k);
    return checkpoint_prepare(k, err) && fs_mkdirs(k->logs, 0755, err) && node_machine(k, err);
}

static bool check_runtime(void *data, struct err *err)
{
    const struct kubelet *k = data;
    return k->runtime_up || err_set(err, ERR_UNAVAILABLE, "the container runtime does not answer: %s", k->runtime_error);
}

static bool serve_health(struct kubelet *k, struct health_server **ret, struct err *err)
{
    const struct health_server_config config = { .bind_address = k->cfg->healthz_bind_address, .port = (uint16_t)k->cfg->healthz_port, .plain = true,
                                                 .hostname = k->node_name };
    const struct health_check check = { "container-runtime", check_runtime, k };
    if (k->cfg->healthz_port <= 0) {
        return true;
    }
    *ret = health_server_new(k->loop, &config, err);
    if (!*ret) {
        return err_wrap(err, "--healthz-port %d", k->cfg->healthz_port);
    }
    health_server_add(*ret, &check);
    return true;
}

static void on_signal(void *arg)
{
    struct kubelet *k = arg;
    log_info("told to stop; the containers go on");
    loop_stop(k->loop);
}

/* Which runtime is driven: --container-runtime, or the endpoint that is given, or what the defaults in force say. */
static bool chose_docker(const struct kubelet_config *c, bool *ret, struct err *err)
{
    bool docker = c->flags && flags_changed(c->flags, "docker-endpoint"), remote = c->flags && flags_changed(c->flags, "container-runtime-endpoint");
    if (str_empty(c->container_runtime)) {
        /* With a configuration file the defaults are that format's, which knows CRI alone. */
        *ret = docker || (!remote && c->flags && !c->secure && str_empty(c->config));
        return !(docker && remote) || err_set(err, ERR_INVALID, "--docker-endpoint and --container-runtime-endpoint are two runtimes: --container-runtime says which");
    }
    if (str_eq_c(c->container_runtime, "docker") || str_eq_c(c->container_runtime, "remote")) {
        *ret = str_eq_c(c->container_runtime, "docker");
        return true;
    }
    return err_set(err, ERR_INVALID, "--container-runtime is docker or remote");
}

static bool start_runtime(struct kubelet *k, struct err *err)
{
    const struct kubelet_config *c = k->cfg;
    char state[PATH_MAX];
    bool docker = false;
    if (!chose_docker(c, &docker, err)) {
        return false;
    }
    if (!docker) {
        if (c->flags && flags_changed(c->flags, "cni-bin-dir")) {
            return err_set(err, ERR_INVALID, "--cni-bin-dir is for --container-runtime=docker: other runtimes run the plugins themselves");
        }
        k->rt = runtime_cri_new(k->loop, c->runtime_endpoint, err);
        return k->rt != NULL;
    }
    snprintf(state, sizeof(state), "%s/cni", k->root);
    const struct docker_options options = {
        .endpoint = c->docker_endpoint, .cgroup_driver = c->cgroup_driver, .cni_conf_dir = c->cni_conf_dir.len ? c->cni_conf_dir : STR("/etc/cni/net.d"),
        .cni_bin_dir = c->cni_bin_dir, .state_dir = str_c(state), .pause_image = c->pod_infra_image, .log_max_size = c->container_log_max_size,
        .log_max_files = c->container_log_max_files, .idle_ms = (uint64_t)MAX(c->streaming_idle_ms, (int64_t)0),
    };
    log_info("the container runtime is dockerd at %.*s", STR_ARG(c->docker_endpoint));
    k->rt = runtime_docker_new(k->loop, &options, err);
    return k->rt != NULL;
}

static bool start(struct kubelet *k, struct err *err)
{
    (void)start_runtime(k, err);
    if (!k->rt || !connect_api(k, err)) {
        return false;
    }
    note_unsafe(k->cfg); /* after the server's process was made, which would say it too */
    k->rt->request_timeout_ms = (uint64_t)k->cfg->runtime_timeout_ms;
    k->objects = objects_new(k);
    loop_timer_init(&k->keep_time, k->loop, on_keep_time, k);
    loop_timer_start(&k->keep_time, 1000);
    loop_timer_init(&k->offline_timer, k->loop, on_offline, k);
    loop_timer_start(&k->offline_timer, k->client ? OFFLINE_MS : 0);
    pleg_start(k);
    if (!node_start(k, err)) {
        return false;
    }
    statics_start(k);
    if (k->client) {
        watch_api(k);
    }
    collector_start(k);
    evictor_start(k);
    return true;
}

static void stop(struct kubelet *k)
{
    loop_timer_stop(&k->offline_timer);
    loop_timer_stop(&k->keep_time);
    collector_stop(k);
    evictor_stop(k);
    server_stop(k);
    statics_stop(k);
    pleg_stop(k);
    node_stop(k);
    pods_free(k);
    k->objects = objects_free(k->objects);
    event_recorder_free(k->events);
    informers_free(k->pod_informers);
    informers_free(k->service_informers);
    bootstrap_stop(k);
    client_free(k->client);
    k->rt = runtime_free(k->rt);
}

int kubelet_run(const struct kubelet_config *c)
{
    struct kubelet *k = calloc(1, sizeof(*k));
    struct health_server *health = NULL;
    struct loop_signal term = { 0 }, interrupt = { 0 };
    struct err err = { 0 };
    if (!k) {
        abort();
    }
    k->cfg = c;
    map_init(&k->pods);
    /* The server's process is made first: it inherits nothing but its socket. */
    bool ok = prepare(k, &err) && server_fork(k, &err);
    k->loop = ok ? loop_new(&err) : NULL;
    ok = k->loop && loop_signal_start(&term, k->loop, SIGTERM, on_signal, k) == 0 && loop_signal_start(&interrupt, k->loop, SIGINT, on_signal, k) == 0 &&
         start(k, &err) && server_start(k, &err) && serve_health(k, &health, &err);
    if (ok) {
        log_info("node %s (%s): %lld mCPU, %lld MiB for pods", k->node_name, k->node_ip, (long long)k->cpu_milli, (long long)(k->memory_bytes >> 20));
        loop_run(k->loop);
    } else {
        log_error("%s", err.msg);
    }
    if (k->loop) {
        health_server_free(health);
        loop_signal_stop(&term);
        loop_signal_stop(&interrupt);
        stop(k);
        loop_free(k->loop);
    }
    ok = ok && !k->failed;
    free(k);
    return ok ? 0 : 1;
}
