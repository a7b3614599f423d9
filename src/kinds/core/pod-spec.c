#include "kinds/core/pod-spec.h"

#include "api/gen/core_v1.h"
#include "api/quantity.h"
#include "kinds/rules.h"

#define UID_MAX INT64_C(2147483647)

static struct str child(struct kind_ctx *ctx, struct str path, const char *name)
{
    return path_child(ctx->arena, path, name);
}

static struct str item(struct kind_ctx *ctx, struct str path, const char *name, size_t i)
{
    return path_index(ctx->arena, path_child(ctx->arena, path, name), i);
}

/* ---- resources ---- */

static bool is_native(struct str name)
{
    return str_find_char(name, '/') < 0 || str_starts(name, STR("kubernetes.io/"));
}

static bool is_standard(struct str name)
{
    return str_eq_c(name, "cpu") || str_eq_c(name, "memory") || str_eq_c(name, "ephemeral-storage") ||
           str_starts(name, STR("hugepages-"));
}

static const struct api_str_pair *find(const struct api_str_pair *list, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i].key, key)) {
            return &list[i];
        }
    }
    return NULL;
}

static void resource(struct kind_ctx *ctx, struct str path, const struct api_str_pair *r)
{
    struct quantity q = quantity_of(r->value);
    struct str at = path_key(ctx->arena, path, r->key);
    (void)rule_name(ctx->errs, at, r->key, names_qualified);
    if (str_find_char(r->key, '/') < 0 && !is_standard(r->key)) {
        field_invalid_str(ctx->errs, at, r->key, "must be a standard resource type or fully qualified");
        field_invalid_str(ctx->errs, at, r->key, "must be a standard resource for containers");
        return;
    }
    if (quantity_sign(q) < 0) {
        field_invalid_str(ctx->errs, at, r->value, "must be greater than or equal to 0");
    }
    if (!is_standard(r->key) && !quantity_is_whole(q)) {
        field_invalid_str(ctx->errs, at, r->value, "must be an integer");
    }
}

static void resources(struct kind_ctx *ctx, struct str path, const struct core_v1_resource_requirements *r)
{
    struct str limits = child(ctx, path, "limits"), requests = child(ctx, path, "requests");
    for (size_t i = 0; i < r->n_limits; i++) {
        resource(ctx, limits, &r->limits[i]);
    }
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct api_str_pair *q = &r->requests[i], *limit = find(r->limits, r->n_limits, q->key);
        resource(ctx, requests, q);
        bool overcommit = is_native(q->key) && !str_starts(q->key, STR("hugepages-"));
        if (limit && !overcommit && quantity_cmp(quantity_of(q->value), quantity_of(limit->value)) != 0) {
            field_invalid_str(ctx->errs, requests, q->value, "must be equal to %.*s limit of %.*s", STR_ARG(q->key),
                              STR_ARG(limit->value));
        } else if (limit && quantity_cmp(quantity_of(q->value), quantity_of(limit->value)) > 0) {
            field_invalid_str(ctx->errs, requests, q->value, "must be less than or equal to %.*s limit of %.*s", STR_ARG(q->key),
                              STR_ARG(limit->value));
        } else if (!limit && !overcommit) {
            field_required(ctx->errs, limits, "Limit must be set for non overcommitable resources");
        }
    }
}

struct str pod_qos(const struct core_v1_pod_spec *spec)
{
    bool any = false, guaranteed = true;
    for (size_t pass = 0; pass < 2; pass++) {
        const struct core_v1_container *list = pass ? spec->init_containers : spec->containers;
        size_t n = pass ? spec->n_init_containers : spec->n_containers;
        for (size_t i = 0; i < n; i++) {
            const struct core_v1_resource_requirements *r = &list[i].resources;
            size_t limits = 0;
            for (size_t k = 0; k < 2; k++) {
                struct str name = k ? STR("memory") : STR("cpu");
                const struct api_str_pair *limit = find(r->limits, r->n_limits, name), *request = find(r->requests, r->n_requests, name);
                bool has_limit = limit && !quantity_is_zero(quantity_of(limit->value));
                bool has_request = request && !quantity_is_zero(quantity_of(request->value));
                any |= has_limit || has_request;
                limits += has_limit;
                if (has_request && has_limit && quantity_cmp(quantity_of(limit->value), quantity_of(request->value)) != 0) {
                    guaranteed = false;
                }
                if (has_request && !has_limit) {
                    guaranteed = false;
                }
            }
            guaranteed &= limits == 2;
        }
    }
    return !any ? STR("BestEffort") : guaranteed ? STR("Guaranteed") : STR("Burstable");
}

/* ---- containers ---- */

static void ports(struct kind_ctx *ctx, struct str path, const struct core_v1_container *c, bool host_network)
{
    static const struct str protocols[] = { STR_INIT("SCTP"), STR_INIT("TCP"), STR_INIT("UDP"), STR_NULL };
    for (size_t i = 0; i < c->n_ports; i++) {
        const struct core_v1_container_port *p = &c->ports[i];
        struct str at = item(ctx, path, "ports", i);
        if (!str_empty(p->name)) {
            (void)rule_name(ctx->errs, child(ctx, at, "name"), p->name, names_port_name);
            for (size_t j = 0; j < i; j++) {
                if (str_eq(c->ports[j].name, p->name)) {
                    field_duplicate_str(ctx->errs, child(ctx, at, "name"), p->name);
                    break;
                }
            }
        }
        if (p->container_port == 0) {
            field_required(ctx->errs, child(ctx, at, "containerPort"), "%s", "");
        } else {
            rule_port(ctx->errs, child(ctx, at, "containerPort"), p->container_port);
        }
        if (p->host_port != 0) {
            rule_port(ctx->errs, child(ctx, at, "hostPort"), p->host_port);
            if (host_network && p->host_port != p->container_port) {
                field_invalid_int(ctx->errs, child(ctx, at, "hostPort"), p->host_port,
                                  "must match `containerPort` when `hostNetwork` is true");
            }
        }
        (void)rule_enum(ctx->errs, child(ctx, at, "protocol"), p->protocol, protocols);
    }
}

/* Entries that are allowed, and lost once somebody applies the object. */
static void warn_of_doubles(struct kind_ctx *ctx, struct str path, const struct core_v1_container *c)
{
    for (size_t i = 1; i < c->n_env; i++) {
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++) {
            seen = str_eq(c->env[i].name, c->env[j].name);
        }
        if (seen) {
            kind_warn(ctx, "%.*s: hides previous definition of \"%.*s\", which may be dropped when using apply",
                      STR_ARG(item(ctx, path, "env", i)), STR_ARG(c->env[i].name));
        }
    }
    for (size_t i = 1; i < c->n_ports; i++) {
        const struct core_v1_container_port *p = &c->ports[i];
        for (size_t j = 0; j < i; j++) {
            const struct core_v1_container_port *q = &c->ports[j];
            if (p->container_port == q->container_port && str_eq(p->protocol, q->protocol) && p->host_port == q->host_port &&
                str_eq(p->host_ip, q->host_ip)) {
                kind_warn(ctx, "%.*s: duplicate port definition with %.*s", STR_ARG(item(ctx, path, "ports", i)),
                          STR_ARG(item(ctx, path, "ports", j)));
                break;
            }
        }
    }
}

/* The downward API's fields of a pod. */
static bool field_path_known(struct str p, bool volume)
{
    static const char *const env_only[] = { "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP",
                                            "status.podIPs" };
    if (str_eq_c(p, "metadata.name") || str_eq_c(p, "metadata.namespace") || str_eq_c(p, "metadata.uid")) {
        return true;
    }
    if (str_starts(p, STR("metadata.labels['")) || str_starts(p, STR("metadata.annotations['"))) {
        return str_ends(p, STR("']"));
    }
    if (volume && (str_eq_c(p, "metadata.labels") || str_eq_c(p, "metadata.annotations"))) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(env_only); i++) {
        if (str_eq_c(p, env_only[i])) {
            return true;
        }
    }
    return false;
}

static void env_source(struct kind_ctx *ctx, struct str path, const struct core_v1_env_var *v)
{
    const struct core_v1_env_var_source *s = v->value_from;
    int n = 0;
    if (s->field_ref) {
        struct str at = child(ctx, child(ctx, path, "fieldRef"), "fieldPath");
        n++;
        if (str_empty(s->field_ref->field_path)) {
            field_required(ctx->errs, at, "%s", "");
        } else if (!field_path_known(s->field_ref->field_path, false)) {
            field_invalid_str(ctx->errs, at, s->field_ref->field_path, "error converting fieldPath: field label not supported: %.*s",
                              STR_ARG(s->field_ref->field_path));
        }
    }
    n += s->resource_field_ref != NULL;
    if (s->config_map_key_ref) {
        n++;
        if (str_empty(s->config_map_key_ref->key)) {
            field_required(ctx->errs, child(ctx, child(ctx, path, "configMapKeyRef"), "key"), "%s", "");
        }
    }
    if (s->secret_key_ref) {
        n++;
        if (str_empty(s->secret_key_ref->key)) {
            field_required(ctx->errs, child(ctx, child(ctx, path, "secretKeyRef"), "key"), "%s", "");
        }
    }
    n += s->file_key_ref != NULL;
    if (!str_empty(v->value) && n != 0) {
        field_invalid_str(ctx->errs, path, STR_EMPTY, "may not be specified when `value` is not empty");
    } else if (n > 1) {
        field_invalid_str(ctx->errs, path, STR_EMPTY, "may not have more than one field specified at a time");
    } else if (n == 0) {
        field_invalid_str(ctx->errs, path, STR_EMPTY,
                          "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    }
}

static void env(struct kind_ctx *ctx, struct str path, const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->n_env; i++) {
        struct str at = item(ctx, path, "env", i);
        if (str_empty(c->env[i].name)) {
            field_required(ctx->errs, child(ctx, at, "name"), "%s", "");
        } else {
            (void)rule_name(ctx->errs, child(ctx, at, "name"), c->env[i].name, names_env_var);
        }
        if (c->env[i].value_from) {
            env_source(ctx, child(ctx, at, "valueFrom"), &c->env[i]);
        }
    }
}

static void mounts(struct kind_ctx *ctx, struct str path, const struct core_v1_container *c, const struct core_v1_pod_spec *spec)
{
    for (size_t i = 0; i < c->n_volume_mounts; i++) {
        const struct core_v1_volume_mount *m = &c->volume_mounts[i];
        struct str at = item(ctx, path, "volumeMounts", i);
        bool known = false;
        if (str_empty(m->name)) {
            field_required(ctx->errs, child(ctx, at, "name"), "%s", "");
        }
        for (size_t j = 0; j < spec->n_volumes; j++) {
            known |= str_eq(spec->volumes[j].name, m->name);
        }
        if (!known) {
            field_not_found(ctx->errs, child(ctx, at, "name"), m->name);
        }
        if (str_empty(m->mount_path)) {
            field_required(ctx->errs, child(ctx, at, "mountPath"), "%s", "");
        }
        for (size_t j = 0; j < i; j++) {
            if (!str_empty(m->mount_path) && str_eq(c->volume_mounts[j].mount_path, m->mount_path)) {
                field_invalid_str(ctx->errs, child(ctx, at, "mountPath"), m->mount_path, "must be unique");
                break;
            }
        }
        if (!str_empty(m->sub_path) && (m->sub_path.ptr[0] == '/' || str_find(m->sub_path, STR("..")) >= 0)) {
            field_invalid_str(ctx->errs, child(ctx, at, "subPath"), m->sub_path, "must not contain '..'");
        }
    }
}

static void handler(struct kind_ctx *ctx, struct str path, const struct core_v1_exec_action *exec, const struct core_v1_http_get_action *http,
                    const struct core_v1_tcp_socket_action *tcp, bool other)
{
    int n = 0;
    if (exec) {
        n++;
        if (exec->n_command == 0) {
            field_required(ctx->errs, child(ctx, child(ctx, path, "exec"), "command"), "%s", "");
        }
    }
    if (http) {
        static const struct str schemes[] = { STR_INIT("HTTP"), STR_INIT("HTTPS"), STR_NULL };
        struct str at = child(ctx, path, "httpGet");
        if (n > 0) {
            field_forbidden(ctx->errs, at, "may not specify more than 1 handler type");
        } else {
            n++;
            if (str_empty(http->path)) {
                field_required(ctx->errs, child(ctx, at, "path"), "%s", "");
            }
            rule_port_or_name(ctx->errs, child(ctx, at, "port"), &http->port);
            (void)rule_enum(ctx->errs, child(ctx, at, "scheme"), http->scheme, schemes);
        }
    }
    if (tcp) {
        struct str at = child(ctx, path, "tcpSocket");
        if (n > 0) {
            field_forbidden(ctx->errs, at, "may not specify more than 1 handler type");
        } else {
            n++;
            rule_port_or_name(ctx->errs, child(ctx, at, "port"), &tcp->port);
        }
    }
    if (n + other == 0) {
        field_required(ctx->errs, path, "must specify a handler type");
    }
}

static void probe(struct kind_ctx *ctx, struct str parent, const char *name, const struct core_v1_probe *p, bool only_one_success)
{
    if (!p) {
        return;
    }
    struct str path = child(ctx, parent, name);
    handler(ctx, path, p->probe_handler.exec, p->probe_handler.http_get, p->probe_handler.tcp_socket, p->probe_handler.grpc != NULL);
    rule_non_negative(ctx->errs, child(ctx, path, "initialDelaySeconds"), p->initial_delay_seconds);
    rule_non_negative(ctx->errs, child(ctx, path, "timeoutSeconds"), p->timeout_seconds);
    rule_non_negative(ctx->errs, child(ctx, path, "periodSeconds"), p->period_seconds);
    rule_non_negative(ctx->errs, child(ctx, path, "successThreshold"), p->success_threshold);
    rule_non_negative(ctx->errs, child(ctx, path, "failureThreshold"), p->failure_threshold);
    if (p->has_termination_grace_period_seconds && p->termination_grace_period_seconds <= 0) {
        field_invalid_int(ctx->errs, child(ctx, path, "terminationGracePeriodSeconds"), p->termination_grace_period_seconds,
                          "must be greater than 0");
    }
    if (only_one_success && p->success_threshold != 1) {
        field_invalid_int(ctx->errs, child(ctx, path, "successThreshold"), p->success_threshold, "must be 1");
    }
}

static struct str security_json(struct arena *a, const struct core_v1_security_context *s)
{
    /* Upstream prints its internal struct; only what matters for the two messages that show it is filled in. */
    return arena_printf(a, "{\"Capabilities\":null,\"Privileged\":%s,\"SELinuxOptions\":null,\"WindowsOptions\":null,\"RunAsUser\":%s,"
                           "\"RunAsGroup\":null,\"RunAsNonRoot\":null,\"ReadOnlyRootFilesystem\":null,\"AllowPrivilegeEscalation\":%s,"
                           "\"ProcMount\":null,\"SeccompProfile\":null,\"AppArmorProfile\":null}",
                        s->has_privileged ? (s->privileged ? "true" : "false") : "null",
                        s->has_run_as_user ? arena_cstr(a, arena_printf(a, "%lld", (long long)s->run_as_user)) : "null",
                        s->has_allow_privilege_escalation ? (s->allow_privilege_escalation ? "true" : "false") : "null");
}

static void security(struct kind_ctx *ctx, struct str parent, const struct core_v1_security_context *s)
{
    if (!s) {
        return;
    }
    struct str path = child(ctx, parent, "securityContext");
    if (s->has_run_as_user) {
        rule_between(ctx->errs, child(ctx, path, "runAsUser"), s->run_as_user, 0, UID_MAX);
    }
    if (s->has_run_as_group) {
        rule_between(ctx->errs, child(ctx, path, "runAsGroup"), s->run_as_group, 0, UID_MAX);
    }
    if (s->has_allow_privilege_escalation && !s->allow_privilege_escalation && s->has_privileged && s->privileged) {
        field_invalid_json(ctx->errs, path, security_json(ctx->arena, s),
                           "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
}

static void lifecycle(struct kind_ctx *ctx, struct str parent, const struct core_v1_lifecycle *l)
{
    if (!l) {
        return;
    }
    struct str path = child(ctx, parent, "lifecycle");
    for (size_t i = 0; i < 2; i++) {
        const struct core_v1_lifecycle_handler *h = i ? l->pre_stop : l->post_start;
        if (h) {
            handler(ctx, child(ctx, path, i ? "preStop" : "postStart"), h->exec, h->http_get, h->tcp_socket, h->sleep != NULL);
        }
    }
}

static void image(struct kind_ctx *ctx, struct str path, struct str name)
{
    if (str_empty(name)) {
        field_required(ctx->errs, path, "%s", "");
    } else if (str_trim(name).len != name.len) {
        field_invalid_str(ctx->errs, path, name, "must not have leading or trailing whitespace");
    }
}

static void container(struct kind_ctx *ctx, struct str path, const struct core_v1_container *c, const struct core_v1_pod_spec *spec, bool init)
{
    static const struct str message[] = { STR_INIT("File"), STR_INIT("FallbackToLogsOnError"), STR_NULL };
    static const struct str pull[] = { STR_INIT("Always"), STR_INIT("IfNotPresent"), STR_INIT("Never"), STR_NULL };
    bool sidecar = init && str_eq_c(c->restart_policy, "Always");
    image(ctx, child(ctx, path, "image"), c->image);
    if (!init || sidecar) {
        lifecycle(ctx, path, c->lifecycle);
        probe(ctx, path, "livenessProbe", c->liveness_probe, true);
        probe(ctx, path, "readinessProbe", c->readiness_probe, false);
        probe(ctx, path, "startupProbe", c->startup_probe, true);
    } else if (c->lifecycle) {
        field_forbidden(ctx->errs, child(ctx, path, "lifecycle"), "may not be set for init containers without restartPolicy=Always");
    }
    ports(ctx, path, c, spec->host_network);
    env(ctx, path, c);
    mounts(ctx, path, c, spec);
    (void)rule_enum(ctx->errs, child(ctx, path, "terminationMessagePolicy"), c->termination_message_policy, message);
    (void)rule_enum(ctx->errs, child(ctx, path, "imagePullPolicy"), c->image_pull_policy, pull);
    resources(ctx, child(ctx, path, "resources"), &c->resources);
    security(ctx, path, c->security_context);
    warn_of_doubles(ctx, path, c);
}

static void container_name(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_spec *spec, const struct core_v1_container *c)
{
    if (str_empty(c->name)) {
        field_required(ctx->errs, path, "%s", "");
        return;
    }
    (void)rule_name(ctx->errs, path, c->name, names_dns1123_label);
    for (size_t pass = 0; pass < 2; pass++) {
        const struct core_v1_container *list = pass ? spec->containers : spec->init_containers;
        size_t n = pass ? spec->n_containers : spec->n_init_containers;
        for (size_t i = 0; i < n; i++) {
            if (&list[i] == c) {
                return;
            }
            if (str_eq(list[i].name, c->name)) {
                field_duplicate_str(ctx->errs, path, c->name);
                return;
            }
        }
    }
}

static void containers(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_spec *spec)
{
    if (spec->n_containers == 0) {
        field_required(ctx->errs, child(ctx, path, "containers"), "%s", "");
    }
    for (size_t i = 0; i < spec->n_containers; i++) {
        struct str at = item(ctx, path, "containers", i);
        container_name(ctx, child(ctx, at, "name"), spec, &spec->containers[i]);
        container(ctx, at, &spec->containers[i], spec, false);
    }
    for (size_t i = 0; i < spec->n_init_containers; i++) {
        struct str at = item(ctx, path, "initContainers", i);
        container_name(ctx, child(ctx, at, "name"), spec, &spec->init_containers[i]);
        container(ctx, at, &spec->init_containers[i], spec, true);
    }
}

/* ---- volumes ---- */

static void host_path(struct kind_ctx *ctx, struct str path, const struct core_v1_host_path_volume_source *h)
{
    static const struct str types[] = { STR_INIT(""), STR_INIT("BlockDevice"), STR_INIT("CharDevice"), STR_INIT("Directory"),
                                        STR_INIT("DirectoryOrCreate"), STR_INIT("File"), STR_INIT("FileOrCreate"), STR_INIT("Socket"),
                                        STR_NULL };
    struct str rest = h->path, piece;
    if (str_empty(h->path)) {
        field_required(ctx->errs, child(ctx, path, "path"), "%s", "");
        return;
    }
    while (str_split(&rest, '/', &piece)) {
        if (str_eq_c(piece, "..")) {
            field_invalid_str(ctx->errs, child(ctx, path, "path"), h->path, "must not contain '..'");
            break;
        }
    }
    if (h->type.ptr) {
        (void)rule_enum(ctx->errs, child(ctx, path, "type"), h->type, types);
    }
}

/* Each source with its JSON name, in the order upstream looks at them. */
static void volume_source(struct kind_ctx *ctx, struct str path, const struct core_v1_volume_source *s)
{
    const struct {
        const void *p;
        const char *name;
    } sources[] = {
        { s->empty_dir, "emptyDir" }, { s->host_path, "hostPath" }, { s->git_repo, "gitRepo" }, { s->gce_persistent_disk, "gcePersistentDisk" },
        { s->aws_elastic_block_store, "awsElasticBlockStore" }, { s->secret, "secret" }, { s->nfs, "nfs" }, { s->iscsi, "iscsi" },
        { s->glusterfs, "glusterfs" }, { s->flocker, "flocker" }, { s->persistent_volume_claim, "persistentVolumeClaim" },
        { s->rbd, "rbd" }, { s->cinder, "cinder" }, { s->cephfs, "cephfs" }, { s->quobyte, "quobyte" }, { s->downward_api, "downwardAPI" },
        { s->fc, "fc" }, { s->flex_volume, "flexVolume" }, { s->config_map, "configMap" }, { s->azure_file, "azureFile" },
        { s->vsphere_volume, "vsphereVolume" }, { s->photon_persistent_disk, "photonPersistentDisk" }, { s->portworx_volume, "portworxVolume" },
        { s->azure_disk, "azureDisk" }, { s->storageos, "storageos" }, { s->projected, "projected" }, { s->scale_io, "scaleIO" },
        { s->csi, "csi" }, { s->ephemeral, "ephemeral" }, { s->image, "image" },
    };
    int n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        if (sources[i].p && n++ > 0) {
            field_forbidden(ctx->errs, child(ctx, path, sources[i].name), "may not specify more than 1 volume type");
        }
    }
    if (n == 0) {
        field_required(ctx->errs, path, "must specify a volume type");
    }
    if (s->host_path && n == 1) {
        host_path(ctx, child(ctx, path, "hostPath"), s->host_path);
    }
    if (s->secret && str_empty(s->secret->secret_name)) {
        field_required(ctx->errs, child(ctx, child(ctx, path, "secret"), "secretName"), "%s", "");
    }
    if (s->config_map && str_empty(s->config_map->local_object_reference.name)) {
        field_required(ctx->errs, child(ctx, child(ctx, path, "configMap"), "name"), "%s", "");
    }
    if (s->persistent_volume_claim && str_empty(s->persistent_volume_claim->claim_name)) {
        field_required(ctx->errs, child(ctx, child(ctx, path, "persistentVolumeClaim"), "claimName"), "%s", "");
    }
}

static void volumes(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_spec *spec)
{
    for (size_t i = 0; i < spec->n_volumes; i++) {
        struct str at = item(ctx, path, "volumes", i);
        size_t before = ctx->errs->n;
        volume_source(ctx, at, &spec->volumes[i].volume_source);
        if (str_empty(spec->volumes[i].name)) {
            field_required(ctx->errs, child(ctx, at, "name"), "%s", "");
        } else {
            (void)rule_name(ctx->errs, child(ctx, at, "name"), spec->volumes[i].name, names_dns1123_label);
        }
        /* A volume that is wrong is not among the names that later ones are compared with. */
        for (size_t j = 0; j < i && ctx->errs->n == before; j++) {
            if (str_eq(spec->volumes[j].name, spec->volumes[i].name) && before == 0) {
                field_duplicate_str(ctx->errs, child(ctx, at, "name"), spec->volumes[i].name);
            }
        }
    }
}

/* ---- scheduling ---- */

void pod_tolerations_validate(struct kind_ctx *ctx, struct str path, const struct core_v1_toleration *list, size_t n)
{
    static const struct str effects[] = { STR_INIT("NoSchedule"), STR_INIT("PreferNoSchedule"), STR_INIT("NoExecute"), STR_NULL };
    static const struct str operators[] = { STR_INIT("Equal"), STR_INIT("Exists"), STR_NULL };
    for (size_t i = 0; i < n; i++) {
        const struct core_v1_toleration *t = &list[i];
        struct str at = path_index(ctx->arena, path, i);
        if (!str_empty(t->key)) {
            (void)rule_name(ctx->errs, child(ctx, at, "key"), t->key, names_qualified);
        } else if (!str_eq_c(t->operator, "Exists")) {
            field_invalid_str(ctx->errs, child(ctx, at, "operator"), t->operator,
                              "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        }
        if (t->has_toleration_seconds && !str_eq_c(t->effect, "NoExecute")) {
            field_invalid_str(ctx->errs, child(ctx, at, "effect"), t->effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        if (str_eq_c(t->operator, "Exists")) {
            if (!str_empty(t->value)) {
                field_invalid_str(ctx->errs, child(ctx, at, "operator"), t->value, "value must be empty when `operator` is 'Exists'");
            }
        } else if (str_empty(t->operator) || str_eq_c(t->operator, "Equal")) {
            (void)rule_name(ctx->errs, child(ctx, at, "operator"), t->value, names_label_value);
        } else {
            field_not_supported(ctx->errs, child(ctx, at, "operator"), t->operator, operators);
        }
        if (!str_empty(t->effect)) {
            (void)rule_enum(ctx->errs, child(ctx, at, "effect"), t->effect, effects);
        }
    }
}

static void topology_key(struct kind_ctx *ctx, struct str path, struct str key)
{
    if (str_empty(key)) {
        field_required(ctx->errs, path, "can not be empty");
    }
    (void)rule_name(ctx->errs, path, key, names_qualified);
}

static void affinity_terms(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_affinity_term *terms, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str at = path_index(ctx->arena, path, i);
        rule_label_selector(ctx->errs, child(ctx, at, "labelSelector"), terms[i].label_selector);
        topology_key(ctx, child(ctx, at, "topologyKey"), terms[i].topology_key);
    }
}

static void node_requirements(struct kind_ctx *ctx, struct str path, const struct core_v1_node_selector_requirement *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct core_v1_node_selector_requirement *q = &list[i];
        struct str at = path_index(ctx->arena, path, i);
        bool in = str_eq_c(q->operator, "In") || str_eq_c(q->operator, "NotIn");
        bool exists = str_eq_c(q->operator, "Exists") || str_eq_c(q->operator, "DoesNotExist");
        bool order = str_eq_c(q->operator, "Gt") || str_eq_c(q->operator, "Lt");
        if (in && q->n_values == 0) {
            field_required(ctx->errs, child(ctx, at, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
        } else if (exists && q->n_values > 0) {
            field_forbidden(ctx->errs, child(ctx, at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        } else if (order && q->n_values != 1) {
            field_required(ctx->errs, child(ctx, at, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
        } else if (!in && !exists && !order) {
            field_invalid_str(ctx->errs, child(ctx, at, "operator"), q->operator, "not a valid selector operator");
        }
        (void)rule_name(ctx->errs, child(ctx, at, "key"), q->key, names_qualified);
    }
}

static void affinity(struct kind_ctx *ctx, struct str path, const struct core_v1_affinity *a)
{
    if (!a) {
        return;
    }
    if (a->node_affinity && a->node_affinity->required_during_scheduling_ignored_during_execution) {
        const struct core_v1_node_selector *s = a->node_affinity->required_during_scheduling_ignored_during_execution;
        struct str at = field_path(ctx->arena, "%.*s.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms", STR_ARG(path));
        if (s->n_node_selector_terms == 0) {
            field_required(ctx->errs, at, "must have at least one node selector term");
        }
        for (size_t i = 0; i < s->n_node_selector_terms; i++) {
            struct str term = path_index(ctx->arena, at, i);
            node_requirements(ctx, child(ctx, term, "matchExpressions"), s->node_selector_terms[i].match_expressions,
                              s->node_selector_terms[i].n_match_expressions);
        }
    }
    if (a->pod_affinity) {
        affinity_terms(ctx, field_path(ctx->arena, "%.*s.podAffinity.requiredDuringSchedulingIgnoredDuringExecution", STR_ARG(path)),
                       a->pod_affinity->required_during_scheduling_ignored_during_execution,
                       a->pod_affinity->n_required_during_scheduling_ignored_during_execution);
    }
    if (a->pod_anti_affinity) {
        affinity_terms(ctx, field_path(ctx->arena, "%.*s.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution", STR_ARG(path)),
                       a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
                       a->pod_anti_affinity->n_required_during_scheduling_ignored_during_execution);
    }
}

static void spread(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_spec *spec)
{
    static const struct str actions[] = { STR_INIT("DoNotSchedule"), STR_INIT("ScheduleAnyway"), STR_NULL };
    for (size_t i = 0; i < spec->n_topology_spread_constraints; i++) {
        const struct core_v1_topology_spread_constraint *c = &spec->topology_spread_constraints[i];
        struct str at = item(ctx, path, "topologySpreadConstraints", i);
        if (c->max_skew <= 0) {
            field_invalid_int(ctx->errs, child(ctx, at, "maxSkew"), c->max_skew, "must be greater than zero");
        }
        if (str_empty(c->topology_key)) {
            field_required(ctx->errs, child(ctx, at, "topologyKey"), "can not be empty");
        }
        (void)rule_enum(ctx->errs, child(ctx, at, "whenUnsatisfiable"), c->when_unsatisfiable, actions);
        rule_label_selector(ctx->errs, child(ctx, at, "labelSelector"), c->label_selector);
    }
}

static void pod_security(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_security_context *s)
{
    if (!s) {
        return;
    }
    if (s->has_fs_group) {
        rule_between(ctx->errs, child(ctx, path, "fsGroup"), s->fs_group, 0, UID_MAX);
    }
    if (s->has_run_as_user) {
        rule_between(ctx->errs, child(ctx, path, "runAsUser"), s->run_as_user, 0, UID_MAX);
    }
    if (s->has_run_as_group) {
        rule_between(ctx->errs, child(ctx, path, "runAsGroup"), s->run_as_group, 0, UID_MAX);
    }
    for (size_t i = 0; i < s->n_supplemental_groups; i++) {
        rule_between(ctx->errs, item(ctx, path, "supplementalGroups", i), s->supplemental_groups[i], 0, UID_MAX);
    }
}

static void windows(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_spec *spec)
{
    if (spec->host_pid) {
        field_forbidden(ctx->errs, child(ctx, path, "hostPID"), "cannot be set for a windows pod");
    }
    if (spec->host_ipc) {
        field_forbidden(ctx->errs, child(ctx, path, "hostIPC"), "cannot be set for a windows pod");
    }
    if (spec->security_context && spec->security_context->has_run_as_user) {
        field_forbidden(ctx->errs, child(ctx, child(ctx, path, "securityContext"), "runAsUser"), "cannot be set for a windows pod");
    }
}

void pod_spec_validate(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_spec *spec)
{
    static const struct str restart[] = { STR_INIT("Always"), STR_INIT("OnFailure"), STR_INIT("Never"), STR_NULL };
    static const struct str dns[] = { STR_INIT("ClusterFirstWithHostNet"), STR_INIT("ClusterFirst"), STR_INIT("Default"),
                                      STR_INIT("None"), STR_NULL };
    volumes(ctx, path, spec);
    containers(ctx, path, spec);
    (void)rule_enum(ctx->errs, child(ctx, path, "restartPolicy"), spec->restart_policy, restart);
    (void)rule_enum(ctx->errs, child(ctx, path, "dnsPolicy"), spec->dns_policy, dns);
    rule_labels(ctx->errs, child(ctx, path, "nodeSelector"), spec->node_selector, spec->n_node_selector);
    pod_security(ctx, child(ctx, path, "securityContext"), spec->security_context);
    affinity(ctx, child(ctx, path, "affinity"), spec->affinity);
    if (!str_empty(spec->service_account_name)) {
        (void)rule_name(ctx->errs, child(ctx, path, "serviceAccountName"), spec->service_account_name, names_dns1123_subdomain);
    }
    if (!str_empty(spec->node_name)) {
        (void)rule_name(ctx->errs, child(ctx, path, "nodeName"), spec->node_name, names_dns1123_subdomain);
    }
    if (spec->has_active_deadline_seconds) {
        rule_between(ctx->errs, child(ctx, path, "activeDeadlineSeconds"), spec->active_deadline_seconds, 1, INT32_MAX);
    }
    if (!str_empty(spec->hostname)) {
        (void)rule_name(ctx->errs, child(ctx, path, "hostname"), spec->hostname, names_dns1123_label);
    }
    if (!str_empty(spec->subdomain)) {
        (void)rule_name(ctx->errs, child(ctx, path, "subdomain"), spec->subdomain, names_dns1123_label);
    }
    pod_tolerations_validate(ctx, child(ctx, path, "tolerations"), spec->tolerations, spec->n_tolerations);
    spread(ctx, path, spec);
    if (!str_empty(spec->runtime_class_name)) {
        (void)rule_name(ctx->errs, child(ctx, path, "runtimeClassName"), spec->runtime_class_name, names_dns1123_subdomain);
    }
    if (spec->os && str_eq_c(spec->os->name, "windows")) {
        windows(ctx, path, spec);
    }
}

void pod_spec_decoded(struct core_v1_pod_spec *spec)
{
    if (str_empty(spec->service_account_name)) {
        spec->service_account_name = spec->service_account;
    }
    spec->service_account = spec->service_account_name;
}

void pod_template_validate(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_template_spec *t, bool only_always)
{
    static const struct str always[] = { STR_INIT("Always"), STR_NULL };
    rule_labels(ctx->errs, child(ctx, path, "labels"), t->metadata.labels, t->metadata.n_labels);
    pod_spec_validate(ctx, child(ctx, path, "spec"), &t->spec);
    if (only_always && !str_eq_c(t->spec.restart_policy, "Always")) {
        field_not_supported(ctx->errs, child(ctx, child(ctx, path, "spec"), "restartPolicy"), t->spec.restart_policy, always);
    }
    if (only_always && t->spec.has_active_deadline_seconds) {
        field_forbidden(ctx->errs, child(ctx, child(ctx, path, "spec"), "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported");
    }
}
