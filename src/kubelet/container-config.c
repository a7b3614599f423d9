/* What the runtime is told to create: one container's configuration from the pod's spec. */
#include "kubelet/kubelet-private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/fs.h"
#include "kubelet/volume.h"

uint64_t container_hash(const struct core_v1_container *spec)
{
    return (str_fnv1a(spec->name) * 31) ^ str_fnv1a(spec->image);
}

void pod_dir(const struct pod *p, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/pods/%s", p->k->root, p->uid);
}

void pod_log_dir(const struct pod *p, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/%s_%s_%s", p->k->logs, p->ns, p->name, p->uid);
}

void container_termination_path(const struct pod_container *c, uint32_t attempt, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/pods/%s/containers/%s/%u", c->pod->k->root, c->pod->uid, c->name, attempt);
}

int64_t resource_milli(const struct api_str_pair *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, name)) {
            return quantity_milli(quantity_of(list[i].value));
        }
    }
    return 0;
}

int64_t resource_value(const struct api_str_pair *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, name)) {
            return quantity_value(quantity_of(list[i].value));
        }
    }
    return 0;
}

bool resource_has(const struct api_str_pair *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, name)) {
            return true;
        }
    }
    return false;
}

/* Who is killed first when memory is short (Kubernetes documentation, "Node out of memory behavior"). */
static int64_t oom_score(const struct pod *p, const struct core_v1_container *s)
{
    struct str qos = pod_qos_class(p->obj);
    if (p->obj->spec.has_priority && p->obj->spec.priority >= 2000000000) {
        return -997;
    }
    if (str_eq_c(qos, "Guaranteed")) {
        return -997;
    }
    if (str_eq_c(qos, "BestEffort") || p->k->memory_bytes <= 0) {
        return 1000;
    }
    int64_t request = resource_value(s->resources.requests, s->resources.n_requests, "memory");
    int64_t score = 1000 - (int64_t)((double)request * 1000 / (double)p->k->memory_bytes);
    return MAX(MIN(score, (int64_t)999), (int64_t)3);
}

static void resources(const struct pod *p, const struct core_v1_container *s, struct cri_v1_linux_container_resources *r)
{
    const struct core_v1_resource_requirements *q = &s->resources;
    bool asks = resource_has(q->requests, q->n_requests, "cpu");
    int64_t limit = resource_milli(q->limits, q->n_limits, "cpu");
    r->cpu_shares = cgroup_shares(asks ? resource_milli(q->requests, q->n_requests, "cpu") : limit);
    if (limit > 0) {
        r->cpu_period = 100000;
        r->cpu_quota = cgroup_quota(limit);
    }
    r->memory_limit_in_bytes = resource_value(q->limits, q->n_limits, "memory");
    r->oom_score_adj = oom_score(p, s);
}

static struct cri_v1_int64_value *number(struct arena *a, int64_t v)
{
    struct cri_v1_int64_value *n = arena_new(a, struct cri_v1_int64_value);
    if (n) {
        n->value = v;
    }
    return n;
}

static struct cri_v1_security_profile *seccomp(struct pod *p, struct arena *a, const struct core_v1_seccomp_profile *s)
{
    struct cri_v1_security_profile *r = arena_new(a, struct cri_v1_security_profile);
    if (!r) {
        return NULL;
    }
    r->profile_type = CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_UNCONFINED;
    if (s && str_eq_c(s->type, "RuntimeDefault")) {
        r->profile_type = CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_RUNTIME_DEFAULT;
    } else if (s && str_eq_c(s->type, "Localhost")) {
        r->profile_type = CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_LOCALHOST;
        r->localhost_ref = arena_printf(a, "%s/seccomp/%.*s", p->k->root, STR_ARG(s->localhost_profile));
    }
    return r;
}

static struct cri_v1_security_profile *apparmor(struct arena *a, const struct core_v1_app_armor_profile *s)
{
    struct cri_v1_security_profile *r = s ? arena_new(a, struct cri_v1_security_profile) : NULL;
    if (r) {
        r->profile_type = str_eq_c(s->type, "Localhost")    ? CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_LOCALHOST
                          : str_eq_c(s->type, "Unconfined") ? CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_UNCONFINED
                                                            : CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_RUNTIME_DEFAULT;
        r->localhost_ref = s->localhost_profile;
    }
    return r;
}

static struct cri_v1_namespace_option *namespaces(struct pod_container *c, struct arena *a, struct str target)
{
    const struct core_v1_pod_spec *s = &c->pod->obj->spec;
    struct cri_v1_namespace_option *n = arena_new(a, struct cri_v1_namespace_option);
    if (n) {
        n->network = s->host_network ? CRI_V1_NAMESPACE_MODE_NODE : CRI_V1_NAMESPACE_MODE_POD;
        n->ipc = s->host_ipc ? CRI_V1_NAMESPACE_MODE_NODE : CRI_V1_NAMESPACE_MODE_POD;
        n->pid = s->host_pid ? CRI_V1_NAMESPACE_MODE_NODE
                 : s->has_share_process_namespace && s->share_process_namespace ? CRI_V1_NAMESPACE_MODE_POD
                                                                               : CRI_V1_NAMESPACE_MODE_CONTAINER;
        if (target.len) {
            n->pid = CRI_V1_NAMESPACE_MODE_TARGET;
            n->target_id = target;
        }
    }
    return n;
}

static struct str target_of(struct pod_container *c)
{
    const struct core_v1_pod_spec *s = &c->pod->obj->spec;
    if (c->kind != CONTAINER_EPHEMERAL || c->index >= s->n_ephemeral_containers) {
        return STR_NULL;
    }
    struct str name = s->ephemeral_containers[c->index].target_container_name;
    for (size_t i = 0; name.len && i < c->pod->n_containers; i++) {
        if (str_eq_c(name, c->pod->containers[i]->name) && container_is_running(c->pod->containers[i])) {
            return str_c(c->pod->containers[i]->run.id);
        }
    }
    return STR_NULL;
}

/* The user of the image, checked against runAsNonRoot. */
static bool set_user(struct pod_container *c, struct arena *a, const struct cri_v1_image *image,
                     struct cri_v1_linux_container_security_context *r, struct err *err)
{
    const struct core_v1_pod_security_context *ps = c->pod->obj->spec.security_context;
    const struct core_v1_security_context *cs = c->spec->security_context;
    bool has_user = false, non_root;
    int64_t uid = 0;
    if (cs && cs->has_run_as_user) {
        uid = cs->run_as_user;
        has_user = true;
    } else if (ps && ps->has_run_as_user) {
        uid = ps->run_as_user;
        has_user = true;
    }
    non_root = cs && cs->has_run_as_non_root ? cs->run_as_non_root : ps && ps->has_run_as_non_root && ps->run_as_non_root;
    if (has_user) {
        r->run_as_user = number(a, uid);
    } else if (image && image->uid) {
        uid = image->uid->value;
        r->run_as_user = number(a, uid);
    } else if (image && image->username.len) {
        r->run_as_username = image->username;
        if (non_root) {
            return err_set(err, ERR_INVALID, "container has runAsNonRoot and image has non-numeric user (%.*s), cannot verify user is non-root (pod: \"%s_%s(%s)\", container: %s)",
                           STR_ARG(image->username), c->pod->name, c->pod->ns, c->pod->uid, c->name);
        }
        uid = -1;
    }
    if (non_root && uid == 0) {
        return err_set(err, ERR_INVALID, has_user ? "container's runAsUser breaks non-root policy (pod: \"%s_%s(%s)\", container: %s)"
                                                  : "container has runAsNonRoot and image will run as root (pod: \"%s_%s(%s)\", container: %s)",
                       c->pod->name, c->pod->ns, c->pod->uid, c->name);
    }
    if (cs && cs->has_run_as_group) {
        r->run_as_group = number(a, cs->run_as_group);
    } else if (ps && ps->has_run_as_group) {
        r->run_as_group = number(a, ps->run_as_group);
    }
    return true;
}

static bool set_groups(struct pod_container *c, struct arena *a, struct cri_v1_linux_container_security_context *r)
{
    const struct core_v1_pod_security_context *ps = c->pod->obj->spec.security_context;
    if (!ps || (!ps->n_supplemental_groups && !ps->has_fs_group)) {
        return true;
    }
    r->supplemental_groups = arena_new_n(a, int64_t, ps->n_supplemental_groups + 1);
    if (!r->supplemental_groups) {
        return false;
    }
    for (size_t i = 0; i < ps->n_supplemental_groups; i++) {
        r->supplemental_groups[r->n_supplemental_groups++] = ps->supplemental_groups[i];
    }
    if (ps->has_fs_group) {
        r->supplemental_groups[r->n_supplemental_groups++] = ps->fs_group;
    }
    if (str_eq_c(ps->supplemental_groups_policy, "Strict")) {
        r->supplemental_groups_policy = CRI_V1_SUPPLEMENTAL_GROUPS_POLICY_STRICT;
    }
    return true;
}

static bool security(struct pod_container *c, struct arena *a, const struct cri_v1_image *image,
                     struct cri_v1_linux_container_security_context *r, struct err *err)
{
    static struct str masked[] = {
        STR_INIT("/proc/asound"), STR_INIT("/proc/acpi"), STR_INIT("/proc/interrupts"), STR_INIT("/proc/kcore"), STR_INIT("/proc/keys"),
        STR_INIT("/proc/latency_stats"), STR_INIT("/proc/timer_list"), STR_INIT("/proc/timer_stats"), STR_INIT("/proc/sched_debug"),
        STR_INIT("/proc/scsi"), STR_INIT("/sys/firmware"), STR_INIT("/sys/devices/virtual/powercap"),
    };
    static struct str readonly[] = { STR_INIT("/proc/bus"), STR_INIT("/proc/fs"), STR_INIT("/proc/irq"), STR_INIT("/proc/sys"),
                                     STR_INIT("/proc/sysrq-trigger") };
    const struct core_v1_security_context *cs = c->spec->security_context;
    const struct core_v1_pod_security_context *ps = c->pod->obj->spec.security_context;
    r->namespace_options = namespaces(c, a, target_of(c));
    r->privileged = cs && cs->has_privileged && cs->privileged;
    r->readonly_rootfs = cs && cs->has_read_only_root_filesystem && cs->read_only_root_filesystem;
    r->no_new_privs = cs && cs->has_allow_privilege_escalation && !cs->allow_privilege_escalation && !r->privileged;
    if (cs && cs->capabilities) {
        r->capabilities = arena_new(a, struct cri_v1_capability);
        if (r->capabilities) {
            r->capabilities->add_capabilities = cs->capabilities->add;
            r->capabilities->n_add_capabilities = cs->capabilities->n_add;
            r->capabilities->drop_capabilities = cs->capabilities->drop;
            r->capabilities->n_drop_capabilities = cs->capabilities->n_drop;
        }
    }
    const struct core_v1_se_linux_options *se = cs && cs->se_linux_options ? cs->se_linux_options : ps ? ps->se_linux_options : NULL;
    if (se && (r->selinux_options = arena_new(a, struct cri_v1_se_linux_option))) {
        *r->selinux_options = (struct cri_v1_se_linux_option){ se->user, se->role, se->type, se->level };
    }
    if (!r->privileged) {
        r->seccomp = seccomp(c->pod, a, cs && cs->seccomp_profile ? cs->seccomp_profile : ps ? ps->seccomp_profile : NULL);
    }
    r->apparmor = apparmor(a, cs && cs->app_armor_profile ? cs->app_armor_profile : ps ? ps->app_armor_profile : NULL);
    if (!r->privileged && !(cs && str_eq_c(cs->proc_mount, "Unmasked"))) {
        r->masked_paths = masked;
        r->n_masked_paths = ARRAY_SIZE(masked);
        r->readonly_paths = readonly;
        r->n_readonly_paths = ARRAY_SIZE(readonly);
    }
    return set_user(c, a, image, r, err) && (set_groups(c, a, r) || err_set(err, ERR_NO_MEMORY, "the pod is too large"));
}

/* ---- mounts ---- */

static bool readonly_kind(const struct volume *v)
{
    if (v->ops == &volume_claim) {
        return v->spec->volume_source.persistent_volume_claim->read_only;
    }
    return v->ops->needs || v->ops == &volume_downward_api;
}

static bool volume_mount(struct pod_container *c, struct arena *a, size_t index, const struct core_v1_volume_mount *m,
                         const struct api_str_pair *envs, size_t n_envs, struct cri_v1_mount *ret, struct err *err)
{
    struct volume v;
    char path[PATH_MAX];
    if (!volume_find(c->pod, m->name, &v, err)) {
        return false;
    }
    struct str sub = m->sub_path_expr.len ? env_expand(a, m->sub_path_expr, envs, n_envs) : m->sub_path;
    if (sub.len) {
        if (!volume_subpath(&v, c->name, index, sub, path, err)) {
            return false;
        }
    } else if (!volume_path(&v, path)) {
        return err_set(err, ERR_INVALID, "volume %.*s has no path", STR_ARG(m->name));
    }
    *ret = (struct cri_v1_mount){ .container_path = m->mount_path, .host_path = arena_str(a, str_c(path)) };
    if (m->mount_path.len && m->mount_path.ptr[0] != '/') {
        ret->container_path = arena_printf(a, "/%.*s", STR_ARG(m->mount_path));
    }
    ret->readonly = m->read_only || readonly_kind(&v);
    ret->propagation = str_eq_c(m->mount_propagation, "Bidirectional")     ? CRI_V1_MOUNT_PROPAGATION_PROPAGATION_BIDIRECTIONAL
                       : str_eq_c(m->mount_propagation, "HostToContainer") ? CRI_V1_MOUNT_PROPAGATION_PROPAGATION_HOST_TO_CONTAINER
                                                                           : CRI_V1_MOUNT_PROPAGATION_PROPAGATION_PRIVATE;
    return true;
}

static bool mounts_have(const struct core_v1_container *s, const char *path)
{
    for (size_t i = 0; i < s->n_volume_mounts; i++) {
        if (str_eq_c(s->volume_mounts[i].mount_path, path)) {
            return true;
        }
    }
    return false;
}

static bool mounts(struct pod_container *c, struct arena *a, const struct api_str_pair *envs, size_t n_envs, uint32_t attempt,
                   struct cri_v1_container_config *ret, struct err *err)
{
    const struct core_v1_container *s = c->spec;
    char path[PATH_MAX], dir[PATH_MAX];
    ret->mounts = arena_new_n(a, struct cri_v1_mount, s->n_volume_mounts + 2);
    if (!ret->mounts) {
        return err_set(err, ERR_NO_MEMORY, "the pod is too large");
    }
    for (size_t i = 0; i < s->n_volume_mounts; i++) {
        if (!volume_mount(c, a, i, &s->volume_mounts[i], envs, n_envs, &ret->mounts[ret->n_mounts], err)) {
            return false;
        }
        ret->n_mounts++;
    }
    if (!mounts_have(s, "/etc/hosts")) {
        if (!hosts_file_write(c->pod, path, err)) {
            return false;
        }
        ret->mounts[ret->n_mounts++] = (struct cri_v1_mount){ .container_path = STR("/etc/hosts"), .host_path = arena_str(a, str_c(path)) };
    }
    if (s->termination_message_path.len) {
        container_termination_path(c, attempt, path);
        snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
        if (!fs_mkdirs(dir, 0755, err)) {
            return false;
        }
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0) {
            return err_set_errno(err, errno, "cannot make %s", path);
        }
        (void)fchmod(fd, 0666);
        close(fd);
        ret->mounts[ret->n_mounts++] =
            (struct cri_v1_mount){ .container_path = s->termination_message_path, .host_path = arena_str(a, str_c(path)) };
    }
    return true;
}

/* ---- the whole ---- */

static struct str *expand_all(struct arena *a, const struct str *in, size_t n, const struct api_str_pair *envs, size_t n_envs)
{
    struct str *out = arena_new_n(a, struct str, n ? n : 1);
    for (size_t i = 0; out && i < n; i++) {
        out[i] = env_expand(a, in[i], envs, n_envs);
    }
    return out;
}

static bool labels(struct pod_container *c, struct arena *a, uint32_t attempt, struct cri_v1_container_config *ret)
{
    const struct core_v1_container *s = c->spec;
    ret->labels = arena_new_n(a, struct api_str_pair, 4);
    ret->annotations = arena_new_n(a, struct api_str_pair, 5);
    if (!ret->labels || !ret->annotations) {
        return false;
    }
    ret->labels[ret->n_labels++] = (struct api_str_pair){ STR("io.kubernetes.container.name"), s->name };
    ret->labels[ret->n_labels++] = (struct api_str_pair){ STR("io.kubernetes.pod.name"), str_c(c->pod->name) };
    ret->labels[ret->n_labels++] = (struct api_str_pair){ STR("io.kubernetes.pod.namespace"), str_c(c->pod->ns) };
    ret->labels[ret->n_labels++] = (struct api_str_pair){ STR("io.kubernetes.pod.uid"), str_c(c->pod->uid) };
    ret->annotations[ret->n_annotations++] =
        (struct api_str_pair){ STR("io.kubernetes.container.hash"), arena_printf(a, "%llu", (unsigned long long)container_hash(s)) };
    ret->annotations[ret->n_annotations++] =
        (struct api_str_pair){ STR("io.kubernetes.container.restartCount"), arena_printf(a, "%u", attempt) };
    ret->annotations[ret->n_annotations++] =
        (struct api_str_pair){ STR("io.kubernetes.container.terminationMessagePath"), s->termination_message_path };
    ret->annotations[ret->n_annotations++] =
        (struct api_str_pair){ STR("io.kubernetes.container.terminationMessagePolicy"), s->termination_message_policy };
    ret->annotations[ret->n_annotations++] = (struct api_str_pair){ STR("io.kubernetes.pod.terminationGracePeriod"),
                                                                    arena_printf(a, "%lld", (long long)container_grace(c)) };
    return true;
}

bool container_config(struct pod_container *c, struct arena *a, const struct api_str_pair *envs, size_t n_envs,
                      const struct cri_v1_image *image, uint32_t attempt, struct cri_v1_container_config *ret, struct err *err)
{
    const struct core_v1_container *s = c->spec;
    *ret = (struct cri_v1_container_config){ .working_dir = s->working_dir, .stdin = s->stdin, .stdin_once = s->stdin_once, .tty = s->tty };
    ret->metadata = arena_new(a, struct cri_v1_container_metadata);
    ret->image = arena_new(a, struct cri_v1_image_spec);
    ret->linux_ = arena_new(a, struct cri_v1_linux_container_config);
    ret->envs = arena_new_n(a, struct cri_v1_key_value, n_envs ? n_envs : 1);
    struct cri_v1_linux_container_resources *res = arena_new(a, struct cri_v1_linux_container_resources);
    struct cri_v1_linux_container_security_context *sec = arena_new(a, struct cri_v1_linux_container_security_context);
    if (!ret->metadata || !ret->image || !ret->linux_ || !ret->envs || !res || !sec || !labels(c, a, attempt, ret)) {
        return err_set(err, ERR_NO_MEMORY, "the pod is too large");
    }
    ret->metadata->name = s->name;
    ret->metadata->attempt = attempt;
    ret->image->image = image && image->id.len ? image->id : s->image;
    ret->image->user_specified_image = s->image;
    ret->log_path = arena_printf(a, "%.*s/%u.log", STR_ARG(s->name), attempt);
    for (size_t i = 0; i < n_envs; i++) {
        ret->envs[ret->n_envs++] = (struct cri_v1_key_value){ envs[i].key, envs[i].value };
    }
    ret->command = expand_all(a, s->command, s->n_command, envs, n_envs);
    ret->n_command = s->n_command;
    ret->args = expand_all(a, s->args, s->n_args, envs, n_envs);
    ret->n_args = s->n_args;
    if (s->n_volume_devices) {
        return err_set(err, ERR_INVALID, "volumeDevices: this kubelet has no block volumes");
    }
    if (s->resources.n_claims) {
        return err_set(err, ERR_INVALID, "resources.claims: this kubelet has no dynamic resource allocation");
    }
    resources(c->pod, s, res);
    ret->linux_->resources = res;
    ret->linux_->security_context = sec;
    return security(c, a, image, sec, err) && mounts(c, a, envs, n_envs, attempt, ret, err);
}
