/* What the runtime is told about a pod's sandbox, and the two small files that pods find their way with. */
#include "kubelet/kubelet-private.h"

#include <unistd.h>

#include "base/fs.h"

/* ---- name servers ---- */

static void add(struct arena *a, struct str **list, size_t *n, struct str s)
{
    for (size_t i = 0; i < *n; i++) {
        if (str_eq((*list)[i], s)) {
            return;
        }
    }
    struct str *grown = arena_grow_n(a, *list, *n, *n + 1, sizeof(struct str));
    if (grown) {
        *list = grown;
        grown[(*n)++] = arena_str(a, s);
    }
}

/* resolv.conf(5): nameserver, search (the last one counts), options. */
static bool read_resolv_conf(struct arena *a, struct str path, struct cri_v1_dns_config *ret, struct err *err)
{
    char file[PATH_MAX];
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, KUBELET_MAX_SMALL_FILE);
    if (str_empty(path)) {
        return true;
    }
    if (!str_to_cstr(path, file, sizeof(file)) || !fs_read(file, KUBELET_MAX_SMALL_FILE, &b, err)) {
        return false;
    }
    struct str rest = buf_str(&b), line;
    while (str_split(&rest, '\n', &line)) {
        struct str word, words = str_trim(line);
        if (!str_cut(words, ' ', &word, &words) && !str_cut(words, '\t', &word, &words)) {
            continue;
        }
        bool server = str_eq_c(word, "nameserver"), search = str_eq_c(word, "search"), options = str_eq_c(word, "options");
        if (search) {
            ret->n_searches = 0;
        }
        while ((server || search || options) && str_split(&words, ' ', &word)) {
            word = str_trim(word);
            if (!word.len) {
                continue;
            }
            if (server) {
                add(a, &ret->servers, &ret->n_servers, word);
            } else if (search) {
                add(a, &ret->searches, &ret->n_searches, word);
            } else {
                add(a, &ret->options, &ret->n_options, word);
            }
        }
    }
    return true;
}

static void cluster_first(struct pod *p, struct arena *a, struct cri_v1_dns_config *ret)
{
    const struct kubelet_config *cfg = p->k->cfg;
    struct cri_v1_dns_config host = *ret;
    *ret = (struct cri_v1_dns_config){ 0 };
    for (size_t i = 0; i < cfg->cluster_dns.n; i++) {
        add(a, &ret->servers, &ret->n_servers, cfg->cluster_dns.items[i]);
    }
    if (cfg->cluster_domain.len) {
        add(a, &ret->searches, &ret->n_searches, arena_printf(a, "%s.svc.%.*s", p->ns, STR_ARG(cfg->cluster_domain)));
        add(a, &ret->searches, &ret->n_searches, arena_printf(a, "svc.%.*s", STR_ARG(cfg->cluster_domain)));
        add(a, &ret->searches, &ret->n_searches, cfg->cluster_domain);
    }
    for (size_t i = 0; i < host.n_searches; i++) {
        add(a, &ret->searches, &ret->n_searches, host.searches[i]);
    }
    add(a, &ret->options, &ret->n_options, STR("ndots:5"));
}

bool dns_config(struct pod *p, struct arena *a, struct cri_v1_dns_config *ret, struct err *err)
{
    const struct core_v1_pod_spec *s = &p->obj->spec;
    const struct core_v1_pod_dns_config *own = s->dns_config;
    bool none = str_eq_c(s->dns_policy, "None");
    bool cluster = str_eq_c(s->dns_policy, "ClusterFirstWithHostNet") || (!none && !str_eq_c(s->dns_policy, "Default") && !s->host_network);
    *ret = (struct cri_v1_dns_config){ 0 };
    if (!none && !read_resolv_conf(a, p->k->cfg->resolv_conf, ret, err)) {
        return false;
    }
    if (cluster && p->k->cfg->cluster_dns.n) {
        cluster_first(p, a, ret);
    }
    for (size_t i = 0; own && i < own->n_nameservers; i++) {
        add(a, &ret->servers, &ret->n_servers, own->nameservers[i]);
    }
    for (size_t i = 0; own && i < own->n_searches; i++) {
        add(a, &ret->searches, &ret->n_searches, own->searches[i]);
    }
    for (size_t i = 0; own && i < own->n_options; i++) {
        const struct core_v1_pod_dns_config_option *o = &own->options[i];
        add(a, &ret->options, &ret->n_options,
            o->value.ptr ? arena_printf(a, "%.*s:%.*s", STR_ARG(o->name), STR_ARG(o->value)) : o->name);
    }
    ret->n_servers = MIN(ret->n_servers, (size_t)3);
    return true;
}

/* ---- hosts ---- */

static void hostname_of(const struct pod *p, char dst[64])
{
    const struct core_v1_pod_spec *s = &p->obj->spec;
    struct str name = s->hostname_override.len ? s->hostname_override : s->hostname.len ? s->hostname : str_c(p->name);
    size_t n = MIN(name.len, (size_t)63);
    while (n && (name.ptr[n - 1] == '-' || name.ptr[n - 1] == '.')) {
        n--;
    }
    snprintf(dst, 64, "%.*s", (int)n, name.ptr);
}

bool hosts_file_write(struct pod *p, char path[PATH_MAX], struct err *err)
{
    const struct core_v1_pod_spec *s = &p->obj->spec;
    char dir[PATH_MAX], host[64];
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, KUBELET_MAX_SMALL_FILE);
    pod_dir(p, dir);
    snprintf(path, PATH_MAX, "%.4000s/etc-hosts", dir);
    hostname_of(p, host);
    if (s->host_network) {
        if (!fs_read("/etc/hosts", KUBELET_MAX_SMALL_FILE, &b, NULL)) {
            buf_append_c(&b, "127.0.0.1\tlocalhost\n");
        }
    } else {
        buf_append_c(&b, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                         "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        for (size_t i = 0; p->n_sandboxes && i < p->sandboxes[0].n_ips; i++) {
            buf_printf(&b, "%s\t", p->sandboxes[0].ips[i]);
            if (s->subdomain.len && p->k->cfg->cluster_domain.len) {
                buf_printf(&b, "%s.%.*s.%s.svc.%.*s\t", host, STR_ARG(s->subdomain), p->ns, STR_ARG(p->k->cfg->cluster_domain));
            }
            buf_printf(&b, "%s\n", host);
        }
    }
    for (size_t i = 0; i < s->n_host_aliases; i++) {
        if (i == 0) {
            buf_append_c(&b, "\n# Entries added by HostAliases.\n");
        }
        buf_append(&b, s->host_aliases[i].ip);
        for (size_t j = 0; j < s->host_aliases[i].n_hostnames; j++) {
            buf_printf(&b, "\t%.*s", STR_ARG(s->host_aliases[i].hostnames[j]));
        }
        buf_append_char(&b, '\n');
    }
    if (!fs_mkdirs(dir, 0755, err)) {
        return false;
    }
    CLEANUP(buf_deinit) struct buf old;
    buf_init(&old, KUBELET_MAX_SMALL_FILE);
    if (fs_read(path, KUBELET_MAX_SMALL_FILE, &old, NULL) && str_eq(buf_str(&old), buf_str(&b))) {
        return true;
    }
    return fs_write_atomic(path, buf_str(&b), 0644, err);
}

/* ---- the sandbox ---- */

static bool ports(struct pod *p, struct arena *a, struct cri_v1_pod_sandbox_config *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_containers; i++) {
        n += p->containers[i]->spec->n_ports;
    }
    ret->port_mappings = arena_new_n(a, struct cri_v1_port_mapping, n ? n : 1);
    for (size_t i = 0; ret->port_mappings && i < p->n_containers; i++) {
        const struct core_v1_container *c = p->containers[i]->spec;
        for (size_t j = 0; j < c->n_ports; j++) {
            const struct core_v1_container_port *q = &c->ports[j];
            if (!q->host_port || p->obj->spec.host_network) {
                continue;
            }
            ret->port_mappings[ret->n_port_mappings++] = (struct cri_v1_port_mapping){
                .protocol = str_eq_c(q->protocol, "UDP")    ? CRI_V1_PROTOCOL_UDP
                            : str_eq_c(q->protocol, "SCTP") ? CRI_V1_PROTOCOL_SCTP
                                                            : CRI_V1_PROTOCOL_TCP,
                .container_port = q->container_port, .host_port = q->host_port, .host_ip = q->host_ip,
            };
        }
    }
    return ret->port_mappings != NULL;
}

static struct cri_v1_linux_sandbox_security_context *security(struct pod *p, struct arena *a)
{
    const struct core_v1_pod_spec *s = &p->obj->spec;
    const struct core_v1_pod_security_context *ps = s->security_context;
    struct cri_v1_linux_sandbox_security_context *r = arena_new(a, struct cri_v1_linux_sandbox_security_context);
    if (!r || !(r->namespace_options = arena_new(a, struct cri_v1_namespace_option)) ||
        !(r->seccomp = arena_new(a, struct cri_v1_security_profile))) {
        return NULL;
    }
    r->namespace_options->network = s->host_network ? CRI_V1_NAMESPACE_MODE_NODE : CRI_V1_NAMESPACE_MODE_POD;
    r->namespace_options->ipc = s->host_ipc ? CRI_V1_NAMESPACE_MODE_NODE : CRI_V1_NAMESPACE_MODE_POD;
    r->namespace_options->pid = s->host_pid ? CRI_V1_NAMESPACE_MODE_NODE
                                : s->has_share_process_namespace && s->share_process_namespace ? CRI_V1_NAMESPACE_MODE_POD
                                                                                              : CRI_V1_NAMESPACE_MODE_CONTAINER;
    r->seccomp->profile_type = CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_RUNTIME_DEFAULT;
    for (size_t i = 0; i < p->n_containers; i++) {
        const struct core_v1_security_context *cs = p->containers[i]->spec->security_context;
        r->privileged = r->privileged || (cs && cs->has_privileged && cs->privileged);
    }
    if (ps && ps->has_run_as_user && (r->run_as_user = arena_new(a, struct cri_v1_int64_value))) {
        r->run_as_user->value = ps->run_as_user;
        if (ps->has_run_as_group && (r->run_as_group = arena_new(a, struct cri_v1_int64_value))) {
            r->run_as_group->value = ps->run_as_group;
        }
    }
    return r;
}

static bool metadata(struct pod *p, struct arena *a, uint32_t attempt, struct cri_v1_pod_sandbox_config *ret)
{
    const struct meta_v1_object_meta *m = &p->obj->metadata;
    ret->metadata = arena_new(a, struct cri_v1_pod_sandbox_metadata);
    ret->labels = arena_new_n(a, struct api_str_pair, m->n_labels + 3);
    ret->annotations = m->annotations;
    ret->n_annotations = m->n_annotations;
    if (!ret->metadata || !ret->labels) {
        return false;
    }
    *ret->metadata = (struct cri_v1_pod_sandbox_metadata){ str_c(p->name), str_c(p->uid), str_c(p->ns), attempt };
    for (size_t i = 0; i < m->n_labels; i++) {
        if (!str_starts(m->labels[i].key, STR("io.kubernetes.pod."))) {
            ret->labels[ret->n_labels++] = m->labels[i];
        }
    }
    ret->labels[ret->n_labels++] = (struct api_str_pair){ STR("io.kubernetes.pod.name"), str_c(p->name) };
    ret->labels[ret->n_labels++] = (struct api_str_pair){ STR("io.kubernetes.pod.namespace"), str_c(p->ns) };
    ret->labels[ret->n_labels++] = (struct api_str_pair){ STR("io.kubernetes.pod.uid"), str_c(p->uid) };
    return true;
}

bool sandbox_config(struct pod *p, struct arena *a, uint32_t attempt, struct cri_v1_pod_sandbox_config *ret, struct err *err)
{
    const struct core_v1_pod_spec *s = &p->obj->spec;
    char dir[PATH_MAX], host[64];
    *ret = (struct cri_v1_pod_sandbox_config){ 0 };
    ret->dns_config = arena_new(a, struct cri_v1_dns_config);
    ret->linux_ = arena_new(a, struct cri_v1_linux_pod_sandbox_config);
    if (!ret->dns_config || !ret->linux_ || !metadata(p, a, attempt, ret) || !ports(p, a, ret) ||
        !(ret->linux_->security_context = security(p, a))) {
        return err_set(err, ERR_NO_MEMORY, "the pod is too large");
    }
    if (s->has_host_users && !s->host_users) {
        return err_set(err, ERR_INVALID, "hostUsers: false: this kubelet makes no user namespaces");
    }
    pod_log_dir(p, dir);
    if (!fs_mkdirs(dir, 0755, err) || !dns_config(p, a, ret->dns_config, err)) {
        return false;
    }
    ret->log_directory = arena_str(a, str_c(dir));
    if (!s->host_network) {
        hostname_of(p, host);
        ret->hostname = arena_str(a, str_c(host));
    }
    cgroup_pod_parent(p, dir);
    ret->linux_->cgroup_parent = arena_str(a, str_c(dir));
    const struct core_v1_pod_security_context *ps = s->security_context;
    ret->linux_->sysctls = arena_new_n(a, struct api_str_pair, ps && ps->n_sysctls ? ps->n_sysctls : 1);
    for (size_t i = 0; ps && ret->linux_->sysctls && i < ps->n_sysctls; i++) {
        ret->linux_->sysctls[ret->linux_->n_sysctls++] = (struct api_str_pair){ ps->sysctls[i].name, ps->sysctls[i].value };
    }
    return true;
}
