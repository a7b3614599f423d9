/* What dockerd is told to create, from what the runtime's interface says: pure, JSON into a buffer. */
#include "kubelet/docker-private.h"

#include <stdio.h>

#include "api/json-writer.h"
#include "api/quantity.h"
#include "base/encoding.h"
#include "base/fs.h"
#include "kubelet/limits.h"

/* ---- JSON and paths ---- */

void dj_key(struct buf *b, const char *key)
{
    char last = b->len ? b->ptr[b->len - 1] : '{';
    if (last != '{' && last != '[') {
        buf_append_char(b, ',');
    }
    if (key) {
        json_write_string(b, str_c(key));
        buf_append_char(b, ':');
    }
}

void dj_str(struct buf *b, const char *key, struct str value)
{
    dj_key(b, key);
    json_write_string(b, value);
}

void dj_int(struct buf *b, const char *key, int64_t value)
{
    dj_key(b, key);
    json_write_i64(b, value);
}

void dj_bool(struct buf *b, const char *key, bool value)
{
    dj_key(b, key);
    json_write_bool(b, value);
}

void dj_list(struct buf *b, const char *key, const struct str *items, size_t n)
{
    dj_key(b, key);
    buf_append_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        dj_str(b, NULL, items[i]);
    }
    buf_append_char(b, ']');
}

struct str docker_path(struct arena *a, const char *before, struct str segment, const char *after)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 65536);
    buf_append_c(&b, before);
    percent_encode(&b, segment, ":/@"); /* dockerd takes names of images with their slashes */
    buf_append_c(&b, after);
    return buf_failed(&b) ? STR_NULL : arena_str(a, buf_str(&b));
}

struct str docker_filters(struct arena *a, const char *type, const struct api_str_pair *labels, size_t n)
{
    CLEANUP(buf_deinit) struct buf b, q;
    buf_init(&b, 65536);
    buf_init(&q, 262144);
    buf_append_c(&b, "{\"label\":[");
    if (type) {
        dj_str(&b, NULL, arena_printf(a, "%s=%s", DOCKER_LABEL_TYPE, type));
    }
    for (size_t i = 0; i < n; i++) {
        dj_str(&b, NULL, arena_printf(a, "%.*s=%.*s", STR_ARG(labels[i].key), STR_ARG(labels[i].value)));
    }
    buf_append_c(&b, "]}");
    buf_append_c(&q, "filters=");
    percent_encode(&q, buf_str(&b), "");
    return buf_failed(&b) || buf_failed(&q) ? STR_NULL : arena_str(a, buf_str(&q));
}

void docker_exec_body(struct buf *b, const struct str *cmd, size_t n_cmd, bool in, bool out, bool err, bool tty)
{
    buf_append_char(b, '{');
    dj_bool(b, "AttachStdin", in);
    dj_bool(b, "AttachStdout", out);
    dj_bool(b, "AttachStderr", err);
    dj_bool(b, "Tty", tty);
    dj_list(b, "Cmd", cmd, n_cmd);
    buf_append_char(b, '}');
}

/* ---- names and labels ---- */

void docker_sandbox_name(struct buf *b, const struct cri_v1_pod_sandbox_config *config)
{
    const struct cri_v1_pod_sandbox_metadata *m = config->metadata;
    buf_printf(b, "k8s_POD_%.*s_%.*s_%.*s_%u", STR_ARG(m->name), STR_ARG(m->namespace), STR_ARG(m->uid), m->attempt);
}

void docker_container_name(struct buf *b, const struct cri_v1_create_container_request *q)
{
    const struct cri_v1_pod_sandbox_metadata *m = q->sandbox_config->metadata;
    buf_printf(b, "k8s_%.*s_%.*s_%.*s_%.*s_%u", STR_ARG(q->config->metadata->name), STR_ARG(m->name), STR_ARG(m->namespace), STR_ARG(m->uid),
               q->config->metadata->attempt);
}

static void labels(struct buf *b, const struct api_str_pair *list, size_t n, const struct api_str_pair *annotations, size_t n_annotations)
{
    char key[512];
    for (size_t i = 0; i < n; i++) {
        if (str_to_cstr(list[i].key, key, sizeof(key))) {
            dj_str(b, key, list[i].value);
        }
    }
    for (size_t i = 0; i < n_annotations; i++) {
        if (annotations[i].key.len < 400) {
            snprintf(key, sizeof(key), DOCKER_ANNOTATION "%.*s", STR_ARG(annotations[i].key));
            dj_str(b, key, annotations[i].value);
        }
    }
}

/* ---- what sandboxes and containers have in common ---- */

/* A score below our own takes a right that not every machine gives to its daemons; runc then fails with a misleading reason. */
static void oom_score(const struct docker *d, struct buf *b, int64_t score)
{
    dj_int(b, "OomScoreAdj", d->may_lower_oom ? score : MAX(score, (int64_t)d->own_oom));
}

static void log_config(const struct docker *d, struct buf *b)
{
    char text[32];
    int64_t size = quantity_value(quantity_of(d->options.log_max_size));
    dj_key(b, "LogConfig");
    buf_append_c(b, "{\"Type\":\"json-file\",\"Config\":{");
    if (size > 0) {
        snprintf(text, sizeof(text), "%lld", (long long)size);
        dj_str(b, "max-size", str_c(text));
        snprintf(text, sizeof(text), "%d", MAX(d->options.log_max_files, 1));
        dj_str(b, "max-file", str_c(text));
    }
    buf_append_c(b, "}}");
}

static void no_health_check(struct buf *b)
{
    static const struct str none[] = { STR_INIT("NONE") };
    dj_key(b, "Healthcheck");
    buf_append_char(b, '{');
    dj_list(b, "Test", none, 1);
    buf_append_char(b, '}');
}

static void user(struct buf *b, const struct cri_v1_int64_value *uid, const struct cri_v1_int64_value *gid, struct str name)
{
    char text[64];
    if (uid) {
        snprintf(text, sizeof(text), gid ? "%lld:%lld" : "%lld", (long long)uid->value, gid ? (long long)gid->value : 0ll);
        dj_str(b, "User", str_c(text));
    } else if (name.len && gid) {
        CLEANUP(buf_deinit) struct buf both;
        buf_init(&both, 1024);
        buf_printf(&both, "%.*s:%lld", STR_ARG(name), (long long)gid->value);
        dj_str(b, "User", buf_str(&both));
    } else if (name.len) {
        dj_str(b, "User", name);
    } else if (gid) {
        snprintf(text, sizeof(text), "0:%lld", (long long)gid->value); /* the image says nobody: root */
        dj_str(b, "User", str_c(text));
    }
}

static void groups(struct buf *b, const int64_t *list, size_t n)
{
    char text[32];
    dj_key(b, "GroupAdd");
    buf_append_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "%lld", (long long)list[i]);
        dj_str(b, NULL, str_c(text));
    }
    buf_append_char(b, ']');
}

/* ---- SecurityOpt ---- */

static void option(struct buf *b, const char *name, struct str value)
{
    CLEANUP(buf_deinit) struct buf text;
    buf_init(&text, KUBELET_MAX_SMALL_FILE + 64);
    buf_printf(&text, "%s%.*s", name, STR_ARG(value));
    dj_str(b, NULL, buf_str(&text));
}

static bool seccomp(struct buf *b, const struct cri_v1_security_profile *p, bool privileged, struct err *err)
{
    char path[4096];
    CLEANUP(buf_deinit) struct buf file = { 0 }, compact = { 0 };
    if (privileged || !p || p->profile_type == CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_RUNTIME_DEFAULT) {
        return true;
    }
    if (p->profile_type == CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_UNCONFINED) {
        option(b, "seccomp=unconfined", STR_EMPTY);
        return true;
    }
    buf_init(&file, KUBELET_MAX_SMALL_FILE);
    buf_init(&compact, KUBELET_MAX_SMALL_FILE);
    if (!str_to_cstr(p->localhost_ref, path, sizeof(path)) || !fs_read(path, KUBELET_MAX_SMALL_FILE, &file, err)) {
        return false;
    }
    if (!json_check(buf_str(&file), DOCKER_JSON_DEPTH, err)) {
        return err_wrap(err, "%s", path);
    }
    json_write_compact(&compact, buf_str(&file));
    option(b, "seccomp=", buf_str(&compact));
    return true;
}

static void apparmor(struct buf *b, const struct cri_v1_security_profile *p, bool privileged)
{
    if (privileged || !p || p->profile_type == CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_RUNTIME_DEFAULT) {
        return;
    }
    option(b, "apparmor=", p->profile_type == CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_UNCONFINED ? STR("unconfined") : p->localhost_ref);
}

static void selinux(struct buf *b, const struct cri_v1_se_linux_option *s)
{
    if (s && s->user.len) {
        option(b, "label=user:", s->user);
    }
    if (s && s->role.len) {
        option(b, "label=role:", s->role);
    }
    if (s && s->type.len) {
        option(b, "label=type:", s->type);
    }
    if (s && s->level.len) {
        option(b, "label=level:", s->level);
    }
}

static bool security_opt(struct buf *b, const struct cri_v1_security_profile *seccomp_profile, const struct cri_v1_security_profile *apparmor_profile,
                         const struct cri_v1_se_linux_option *se, bool no_new_privs, bool privileged, struct err *err)
{
    dj_key(b, "SecurityOpt");
    buf_append_char(b, '[');
    if (no_new_privs) {
        option(b, "no-new-privileges", STR_EMPTY);
    }
    if (!seccomp(b, seccomp_profile, privileged, err)) {
        return false;
    }
    apparmor(b, apparmor_profile, privileged);
    selinux(b, se);
    buf_append_char(b, ']');
    return true;
}

/* ---- the sandbox ---- */

static bool sandbox_host(const struct docker *d, const struct cri_v1_pod_sandbox_config *c, struct buf *b, struct err *err)
{
    const struct cri_v1_linux_pod_sandbox_config *l = c->linux_;
    const struct cri_v1_linux_sandbox_security_context *s = l ? l->security_context : NULL;
    const struct cri_v1_namespace_option *n = s ? s->namespace_options : NULL;
    char key[256];
    dj_str(b, "NetworkMode", n && n->network == CRI_V1_NAMESPACE_MODE_NODE ? STR("host") : STR("none"));
    dj_str(b, "IpcMode", n && n->ipc == CRI_V1_NAMESPACE_MODE_NODE ? STR("host") : STR("shareable"));
    dj_str(b, "PidMode", n && n->pid == CRI_V1_NAMESPACE_MODE_NODE ? STR("host") : STR_EMPTY);
    dj_str(b, "CgroupParent", l ? l->cgroup_parent : STR_EMPTY);
    dj_int(b, "CpuShares", 2);
    dj_int(b, "ShmSize", 64 << 20);
    oom_score(d, b, -998);
    dj_key(b, "Sysctls");
    buf_append_char(b, '{');
    for (size_t i = 0; l && i < l->n_sysctls; i++) {
        if (str_to_cstr(l->sysctls[i].key, key, sizeof(key))) {
            dj_str(b, key, l->sysctls[i].value);
        }
    }
    buf_append_char(b, '}');
    dj_bool(b, "Privileged", s && s->privileged);
    dj_bool(b, "ReadonlyRootfs", s && s->readonly_rootfs);
    groups(b, s ? s->supplemental_groups : NULL, s ? s->n_supplemental_groups : 0);
    log_config(d, b);
    return security_opt(b, s ? s->seccomp : NULL, s ? s->apparmor : NULL, s ? s->selinux_options : NULL, !(s && s->privileged), s && s->privileged, err);
}

bool docker_sandbox_body(const struct docker *d, const struct cri_v1_run_pod_sandbox_request *q, struct buf *b, struct err *err)
{
    const struct cri_v1_pod_sandbox_config *c = q->config;
    const struct cri_v1_linux_sandbox_security_context *s = c->linux_ ? c->linux_->security_context : NULL;
    if (q->runtime_handler.len && !str_eq_c(q->runtime_handler, "docker")) {
        return err_set(err, ERR_INVALID, "RuntimeClass handler \"%.*s\": dockerd is the only one here", STR_ARG(q->runtime_handler));
    }
    buf_append_char(b, '{');
    dj_str(b, "Image", d->options.pause_image);
    if (c->hostname.len) {
        dj_str(b, "Hostname", c->hostname);
    }
    user(b, s ? s->run_as_user : NULL, s ? s->run_as_group : NULL, STR_EMPTY);
    no_health_check(b);
    dj_key(b, "Labels");
    buf_append_char(b, '{');
    labels(b, c->labels, c->n_labels, c->annotations, c->n_annotations);
    dj_str(b, DOCKER_LABEL_TYPE, STR(DOCKER_TYPE_SANDBOX));
    buf_append_char(b, '}');
    dj_key(b, "HostConfig");
    buf_append_char(b, '{');
    if (!sandbox_host(d, c, b, err)) {
        return false;
    }
    buf_append_c(b, "}}");
    return !buf_failed(b) || err_set(err, ERR_TOO_LARGE, "the pod is too large for dockerd");
}

/* ---- a container ---- */

static void resources(const struct docker *d, const struct cri_v1_linux_container_resources *r, struct buf *b)
{
    if (!r) {
        return;
    }
    dj_int(b, "CpuShares", r->cpu_shares);
    dj_int(b, "CpuPeriod", r->cpu_period);
    dj_int(b, "CpuQuota", r->cpu_quota);
    dj_int(b, "Memory", r->memory_limit_in_bytes);
    if (r->memory_limit_in_bytes > 0 && d->swap_limit) {
        dj_int(b, "MemorySwap", r->memory_limit_in_bytes); /* no swap */
    }
    if (r->cpuset_cpus.len) {
        dj_str(b, "CpusetCpus", r->cpuset_cpus);
    }
    if (r->cpuset_mems.len) {
        dj_str(b, "CpusetMems", r->cpuset_mems);
    }
    oom_score(d, b, r->oom_score_adj);
}

static bool mounts(const struct cri_v1_container_config *c, struct buf *b, struct err *err)
{
    static const char *const propagation[] = { "rprivate", "rslave", "rshared" };
    dj_key(b, "Mounts");
    buf_append_char(b, '[');
    for (size_t i = 0; i < c->n_mounts; i++) {
        const struct cri_v1_mount *m = &c->mounts[i];
        if (m->image || m->recursive_read_only || m->n_uid_mappings) {
            return err_set(err, ERR_INVALID, "volumes of images, recursiveReadOnly and mapped users are not done with dockerd");
        }
        dj_key(b, NULL);
        buf_append_char(b, '{');
        dj_str(b, "Type", STR("bind"));
        dj_str(b, "Source", m->host_path);
        dj_str(b, "Target", m->container_path);
        dj_bool(b, "ReadOnly", m->readonly);
        dj_key(b, "BindOptions");
        buf_append_char(b, '{');
        dj_str(b, "Propagation", str_c(propagation[m->propagation >= 0 && m->propagation < 3 ? m->propagation : 0]));
        buf_append_c(b, "}}");
    }
    buf_append_char(b, ']');
    return true;
}

static void devices(const struct cri_v1_container_config *c, struct buf *b)
{
    dj_key(b, "Devices");
    buf_append_char(b, '[');
    for (size_t i = 0; i < c->n_devices; i++) {
        dj_key(b, NULL);
        buf_append_char(b, '{');
        dj_str(b, "PathOnHost", c->devices[i].host_path);
        dj_str(b, "PathInContainer", c->devices[i].container_path);
        dj_str(b, "CgroupPermissions", c->devices[i].permissions);
        buf_append_char(b, '}');
    }
    buf_append_char(b, ']');
}

static void namespaces(const struct cri_v1_create_container_request *q, const struct cri_v1_namespace_option *n, struct buf *b)
{
    CLEANUP(buf_deinit) struct buf sandbox, target;
    buf_init(&sandbox, 256);
    buf_init(&target, 256);
    buf_printf(&sandbox, "container:%.*s", STR_ARG(q->pod_sandbox_id));
    dj_str(b, "NetworkMode", buf_str(&sandbox));
    dj_str(b, "IpcMode", n && n->ipc == CRI_V1_NAMESPACE_MODE_NODE ? STR("host") : buf_str(&sandbox));
    if (n && n->pid == CRI_V1_NAMESPACE_MODE_TARGET) {
        buf_printf(&target, "container:%.*s", STR_ARG(n->target_id));
        dj_str(b, "PidMode", buf_str(&target));
    } else {
        dj_str(b, "PidMode", n && n->pid == CRI_V1_NAMESPACE_MODE_NODE ? STR("host") : n && n->pid == CRI_V1_NAMESPACE_MODE_POD ? buf_str(&sandbox) : STR_EMPTY);
    }
    if (n && n->network == CRI_V1_NAMESPACE_MODE_NODE) {
        dj_str(b, "UTSMode", STR("host"));
    }
}

static bool container_host(const struct docker *d, const struct cri_v1_create_container_request *q, struct buf *b, struct err *err)
{
    const struct cri_v1_container_config *c = q->config;
    const struct cri_v1_linux_container_security_context *s = c->linux_ ? c->linux_->security_context : NULL;
    bool privileged = s && s->privileged;
    if (s && s->n_supplemental_groups && s->supplemental_groups_policy == CRI_V1_SUPPLEMENTAL_GROUPS_POLICY_STRICT) {
        return err_set(err, ERR_INVALID, "supplementalGroupsPolicy Strict: dockerd always adds the groups of the image");
    }
    if (!mounts(c, b, err)) {
        return false;
    }
    devices(c, b);
    resources(d, c->linux_ ? c->linux_->resources : NULL, b);
    dj_str(b, "CgroupParent", q->sandbox_config->linux_ ? q->sandbox_config->linux_->cgroup_parent : STR_EMPTY);
    log_config(d, b);
    namespaces(q, s ? s->namespace_options : NULL, b);
    dj_bool(b, "Privileged", privileged);
    dj_bool(b, "ReadonlyRootfs", s && s->readonly_rootfs);
    groups(b, s ? s->supplemental_groups : NULL, s ? s->n_supplemental_groups : 0);
    if (s && s->capabilities) {
        dj_list(b, "CapAdd", s->capabilities->add_capabilities, s->capabilities->n_add_capabilities);
        dj_list(b, "CapDrop", s->capabilities->drop_capabilities, s->capabilities->n_drop_capabilities);
    }
    if (s && !privileged) {
        dj_list(b, "MaskedPaths", s->masked_paths, s->n_masked_paths);
        dj_list(b, "ReadonlyPaths", s->readonly_paths, s->n_readonly_paths);
    }
    return security_opt(b, s ? s->seccomp : NULL, s ? s->apparmor : NULL, s ? s->selinux_options : NULL, s && s->no_new_privs, privileged, err);
}

static void environment(const struct cri_v1_container_config *c, struct buf *b)
{
    CLEANUP(buf_deinit) struct buf text;
    buf_init(&text, KUBELET_MAX_CRI_REQUEST);
    dj_key(b, "Env");
    buf_append_char(b, '[');
    for (size_t i = 0; i < c->n_envs; i++) {
        buf_clear(&text);
        buf_append(&text, c->envs[i].key);
        buf_append_char(&text, '=');
        buf_append(&text, c->envs[i].value);
        dj_str(b, NULL, buf_str(&text));
    }
    buf_append_char(b, ']');
}

bool docker_container_body(const struct docker *d, const struct cri_v1_create_container_request *q, struct buf *b, struct err *err)
{
    const struct cri_v1_container_config *c = q->config;
    const struct cri_v1_linux_container_security_context *s = c->linux_ ? c->linux_->security_context : NULL;
    CLEANUP(buf_deinit) struct buf log;
    buf_init(&log, 8192);
    buf_append_char(b, '{');
    dj_str(b, "Image", c->image->image);
    user(b, s ? s->run_as_user : NULL, s ? s->run_as_group : NULL, s ? s->run_as_username : STR_EMPTY);
    if (c->n_command) {
        dj_list(b, "Entrypoint", c->command, c->n_command);
    }
    if (c->n_args) {
        dj_list(b, "Cmd", c->args, c->n_args);
    }
    if (c->working_dir.len) {
        dj_str(b, "WorkingDir", c->working_dir);
    }
    environment(c, b);
    dj_bool(b, "OpenStdin", c->stdin);
    dj_bool(b, "StdinOnce", c->stdin_once);
    dj_bool(b, "Tty", c->tty);
    no_health_check(b);
    dj_key(b, "Labels");
    buf_append_char(b, '{');
    labels(b, c->labels, c->n_labels, c->annotations, c->n_annotations);
    dj_str(b, DOCKER_LABEL_TYPE, STR(DOCKER_TYPE_CONTAINER));
    dj_str(b, DOCKER_LABEL_SANDBOX, q->pod_sandbox_id);
    dj_str(b, DOCKER_LABEL_IMAGE, c->image->user_specified_image.len ? c->image->user_specified_image : c->image->image);
    buf_printf(&log, "%.*s/%.*s", STR_ARG(q->sandbox_config->log_directory), STR_ARG(c->log_path));
    dj_str(b, DOCKER_LABEL_LOG, buf_str(&log));
    buf_append_char(b, '}');
    dj_key(b, "HostConfig");
    buf_append_char(b, '{');
    if (!container_host(d, q, b, err)) {
        return false;
    }
    buf_append_c(b, "}}");
    return !buf_failed(b) || err_set(err, ERR_TOO_LARGE, "the container's configuration is too large for dockerd");
}

/* ---- resolv.conf ---- */

void docker_resolv_conf(const struct cri_v1_dns_config *dns, struct buf *b)
{
    for (size_t i = 0; i < dns->n_servers; i++) {
        buf_printf(b, "nameserver %.*s\n", STR_ARG(dns->servers[i]));
    }
    for (size_t i = 0; i < dns->n_searches; i++) {
        buf_printf(b, "%s%.*s%s", i == 0 ? "search " : " ", STR_ARG(dns->searches[i]), i + 1 == dns->n_searches ? "\n" : "");
    }
    for (size_t i = 0; i < dns->n_options; i++) {
        buf_printf(b, "%s%.*s%s", i == 0 ? "options " : " ", STR_ARG(dns->options[i]), i + 1 == dns->n_options ? "\n" : "");
    }
}
