#include "kinds/core/pod-security.h"

#include <stdlib.h>

#include "api/gen/core_v1.h"

/* ---- labels ---- */

#define LABEL "pod-security.kubernetes.io/"

static const char *const levels[] = { "privileged", "baseline", "restricted" };

bool pod_security_parse_level(struct str s, enum pod_security_level *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (str_eq_c(s, levels[i])) {
            *ret = (enum pod_security_level)i;
            return true;
        }
    }
    return false;
}

bool pod_security_parse_version(struct str s, int32_t *ret_minor)
{
    uint64_t n;
    if (str_eq_c(s, "latest")) {
        *ret_minor = POD_SECURITY_LATEST;
        return true;
    }
    struct str digits = str_starts(s, STR("v1.")) ? str_sub(s, 3, s.len - 3) : STR_EMPTY;
    if (str_empty(digits) || (digits.len > 1 && digits.ptr[0] == '0') || !str_to_u64(digits, &n) || n > 100000) {
        return false;
    }
    *ret_minor = (int32_t)n;
    return true;
}

static struct str label(const struct meta_v1_object_meta *m, const char *key)
{
    for (size_t i = 0; i < m->n_labels; i++) {
        if (str_eq_c(m->labels[i].key, key)) {
            return m->labels[i].value.ptr ? m->labels[i].value : STR_EMPTY;
        }
    }
    return STR_NULL;
}

static void wrong(struct arena *a, struct field_errs *errs, const char *key, struct str value, const char *why)
{
    if (errs) {
        field_invalid_str(errs, path_key(a, STR("metadata.labels"), str_c(key)), value, "%s", why);
    }
}

static void read_mode(struct arena *a, const struct meta_v1_object_meta *m, const char *level_key, const char *version_key, bool enforces,
                      struct pod_security *p, struct field_errs *errs)
{
    struct str level = label(m, level_key), version = label(m, version_key);
    if (level.ptr && !pod_security_parse_level(level, &p->level)) {
        p->level = enforces ? POD_SECURITY_RESTRICTED : POD_SECURITY_PRIVILEGED;
        wrong(a, errs, level_key, level, "must be one of privileged, baseline, restricted");
    }
    if (version.ptr && !pod_security_parse_version(version, &p->minor)) {
        p->minor = POD_SECURITY_LATEST;
        wrong(a, errs, version_key, version, "must be \"latest\" or \"v1.x\"");
    }
}

struct pod_security_policy pod_security_of(struct arena *a, const struct meta_v1_object_meta *ns, const struct pod_security_policy *defaults,
                                           struct field_errs *errs)
{
    struct pod_security_policy p = *defaults;
    if (ns->n_labels > 0) {
        read_mode(a, ns, LABEL "enforce", LABEL "enforce-version", true, &p.enforce, errs);
        read_mode(a, ns, LABEL "audit", LABEL "audit-version", false, &p.audit, errs);
        read_mode(a, ns, LABEL "warn", LABEL "warn-version", false, &p.warn, errs);
    }
    return p;
}

struct str pod_security_name(struct arena *a, struct pod_security p)
{
    return p.minor == POD_SECURITY_LATEST ? arena_printf(a, "%s:latest", levels[p.level]) : arena_printf(a, "%s:v1.%d", levels[p.level], p.minor);
}

/* ---- what controls look at ---- */

/* Of a container of any of the three kinds. */
struct view {
    struct str name;
    const struct core_v1_security_context *sc;
    const struct core_v1_container_port *ports;
    size_t n_ports;
    const struct core_v1_probe *probes[3];
    const struct core_v1_lifecycle *lifecycle;
};

struct look {
    struct arena *a;
    const struct meta_v1_object_meta *m;
    const struct core_v1_pod_spec *spec;
    struct view *views;
    size_t n_views;
    int32_t minor;
    /* one control at a time */
    struct str *bad;    /* names of containers or volumes */
    size_t n_bad;
    struct str *values; /* what they have that they must not, sorted, each once */
    size_t n_values, cap_values;
    bool pod;           /* the pod itself is to blame */
    struct str detail;
};

static void add_views(struct look *k, const struct core_v1_container *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        k->views[k->n_views++] = (struct view){ c[i].name, c[i].security_context, c[i].ports, c[i].n_ports,
                                                { c[i].liveness_probe, c[i].readiness_probe, c[i].startup_probe }, c[i].lifecycle };
    }
}

static bool see(struct look *k)
{
    const struct core_v1_pod_spec *s = k->spec;
    size_t n = s->n_init_containers + s->n_containers + s->n_ephemeral_containers;
    k->views = arena_new_n(k->a, struct view, n + 1);
    k->bad = arena_new_n(k->a, struct str, MAX(n, s->n_volumes) + 1);
    if (!k->views || !k->bad) {
        return false;
    }
    add_views(k, s->init_containers, s->n_init_containers);
    add_views(k, s->containers, s->n_containers);
    for (size_t i = 0; i < s->n_ephemeral_containers; i++) {
        const struct core_v1_ephemeral_container_common *c = &s->ephemeral_containers[i].ephemeral_container_common;
        k->views[k->n_views++] = (struct view){ c->name, c->security_context, c->ports, c->n_ports,
                                                { c->liveness_probe, c->readiness_probe, c->startup_probe }, c->lifecycle };
    }
    return true;
}

static void add_value(struct look *k, struct str v)
{
    size_t at = 0;
    while (at < k->n_values && str_cmp(k->values[at], v) < 0) {
        at++;
    }
    if (at < k->n_values && str_eq(k->values[at], v)) {
        return;
    }
    if (k->n_values == k->cap_values) {
        size_t more = k->cap_values ? k->cap_values * 2 : 8;
        struct str *grown = arena_grow_n(k->a, k->values, k->n_values, more, sizeof(*grown));
        if (!grown) {
            return;
        }
        k->values = grown;
        k->cap_values = more;
    }
    memmove(&k->values[at + 1], &k->values[at], (k->n_values - at) * sizeof(*k->values));
    k->values[at] = v;
    k->n_values++;
}

static void blame(struct look *k, struct str name)
{
    if (k->n_bad == 0 || !str_eq(k->bad[k->n_bad - 1], name)) {
        k->bad[k->n_bad++] = name;
    }
}

static struct str join(struct look *k, const struct str *list, size_t n, bool quoted)
{
    struct str s = STR_EMPTY;
    for (size_t i = 0; i < n; i++) {
        s = arena_printf(k->a, "%.*s%s%s%.*s%s", STR_ARG(s), i ? ", " : "", quoted ? "\"" : "", STR_ARG(list[i]), quoted ? "\"" : "");
    }
    return s;
}

static struct str values(struct look *k)
{
    return join(k, k->values, k->n_values, true);
}

static const char *many(size_t n, const char *one, const char *more)
{
    return n == 1 ? one : more;
}

/* container "a" | containers "a", "b" */
static struct str containers(struct look *k)
{
    return arena_printf(k->a, "%s %.*s", many(k->n_bad, "container", "containers"), STR_ARG(join(k, k->bad, k->n_bad, true)));
}

/* pod | container "a" | pod and containers "a", "b" */
static struct str setters(struct look *k)
{
    if (k->n_bad == 0) {
        return STR("pod");
    }
    return arena_printf(k->a, "%s%.*s", k->pod ? "pod and " : "", STR_ARG(containers(k)));
}

/* Pods in a user namespace may be root there (KEP-127). */
static bool in_user_namespace(const struct look *k)
{
    return k->spec->has_host_users && !k->spec->host_users && k->minor >= 34;
}

static bool is_windows(const struct look *k)
{
    return k->spec->os && str_eq_c(k->spec->os->name, "windows");
}

static bool one_of(struct str s, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(s, list[i])) {
            return true;
        }
    }
    return false;
}

/* ---- baseline ---- */

static const char *app_armor(struct look *k)
{
    const struct core_v1_pod_security_context *psc = k->spec->security_context;
    if (psc && psc->app_armor_profile && str_eq_c(psc->app_armor_profile->type, "Unconfined")) {
        k->pod = true;
        add_value(k, psc->app_armor_profile->type);
    }
    for (size_t i = 0; i < k->n_views; i++) {
        const struct core_v1_security_context *sc = k->views[i].sc;
        if (sc && sc->app_armor_profile && str_eq_c(sc->app_armor_profile->type, "Unconfined")) {
            blame(k, k->views[i].name);
            add_value(k, sc->app_armor_profile->type);
        }
    }
    struct str said = k->pod || k->n_bad ? arena_printf(k->a, "%.*s must not set AppArmor profile type to %.*s", STR_ARG(setters(k)), STR_ARG(values(k)))
                                         : STR_EMPTY;
    size_t n = k->pod + k->n_bad;
    k->n_values = 0;
    for (size_t i = 0; i < k->m->n_annotations; i++) {
        struct str key = k->m->annotations[i].key, v = k->m->annotations[i].value;
        if (str_starts(key, STR("container.apparmor.security.beta.kubernetes.io/")) && !str_empty(v) && !str_eq_c(v, "runtime/default") &&
            !str_starts(v, STR("localhost/"))) {
            add_value(k, arena_printf(k->a, "%.*s=\"%.*s\"", STR_ARG(key), STR_ARG(v)));
        }
    }
    n += k->n_values;
    if (n == 0) {
        return NULL;
    }
    k->detail = arena_printf(k->a, "%.*s%s%.*s", STR_ARG(said), !str_empty(said) && k->n_values ? ", " : "",
                             STR_ARG(join(k, k->values, k->n_values, false)));
    return many(n, "forbidden AppArmor profile", "forbidden AppArmor profiles");
}

static const char *host_namespaces(struct look *k)
{
    const struct core_v1_pod_spec *s = k->spec;
    struct str list[3];
    size_t n = 0;
    if (s->host_network) {
        list[n++] = STR("hostNetwork=true");
    }
    if (s->host_pid) {
        list[n++] = STR("hostPID=true");
    }
    if (s->host_ipc) {
        list[n++] = STR("hostIPC=true");
    }
    k->detail = join(k, list, n, false);
    return n ? "host namespaces" : NULL;
}

static const char *host_ports(struct look *k)
{
    for (size_t i = 0; i < k->n_views; i++) {
        for (size_t j = 0; j < k->views[i].n_ports; j++) {
            if (k->views[i].ports[j].host_port != 0) {
                blame(k, k->views[i].name);
                add_value(k, arena_printf(k->a, "%d", k->views[i].ports[j].host_port));
            }
        }
    }
    k->detail = arena_printf(k->a, "%.*s %s %s %.*s", STR_ARG(containers(k)), many(k->n_bad, "uses", "use"),
                             many(k->n_values, "hostPort", "hostPorts"), STR_ARG(join(k, k->values, k->n_values, false)));
    return k->n_bad ? "hostPort" : NULL;
}

static void look_at_host(struct look *k, const struct view *v, const struct core_v1_http_get_action *http, const struct core_v1_tcp_socket_action *tcp)
{
    if (http && !str_empty(http->host)) {
        blame(k, v->name);
        add_value(k, http->host);
    }
    if (tcp && !str_empty(tcp->host)) {
        blame(k, v->name);
        add_value(k, tcp->host);
    }
}

static const char *host_probes(struct look *k)
{
    for (size_t i = 0; i < k->n_views; i++) {
        const struct view *v = &k->views[i];
        for (size_t j = 0; j < ARRAY_SIZE(v->probes); j++) {
            if (v->probes[j]) {
                look_at_host(k, v, v->probes[j]->probe_handler.http_get, v->probes[j]->probe_handler.tcp_socket);
            }
        }
        const struct core_v1_lifecycle_handler *hooks[] = { v->lifecycle ? v->lifecycle->post_start : NULL, v->lifecycle ? v->lifecycle->pre_stop : NULL };
        for (size_t j = 0; j < ARRAY_SIZE(hooks); j++) {
            if (hooks[j]) {
                look_at_host(k, v, hooks[j]->http_get, hooks[j]->tcp_socket);
            }
        }
    }
    qsort(k->bad, k->n_bad, sizeof(*k->bad), str_cmp_qsort);
    k->detail = arena_printf(k->a, "%.*s %s %s %.*s", STR_ARG(containers(k)), many(k->n_bad, "uses", "use"),
                             many(k->n_values, "probe or lifecycle host", "probe or lifecycle hosts"), STR_ARG(values(k)));
    return k->n_bad ? "probe or lifecycle host" : NULL;
}

static const char *privileged(struct look *k)
{
    for (size_t i = 0; i < k->n_views; i++) {
        if (k->views[i].sc && k->views[i].sc->privileged) {
            blame(k, k->views[i].name);
        }
    }
    k->detail = arena_printf(k->a, "%.*s must not set securityContext.privileged=true", STR_ARG(containers(k)));
    return k->n_bad ? "privileged" : NULL;
}

static const char *proc_mount(struct look *k)
{
    for (size_t i = 0; i < k->n_views && !in_user_namespace(k); i++) {
        const struct core_v1_security_context *sc = k->views[i].sc;
        if (sc && sc->proc_mount.ptr && !str_eq_c(sc->proc_mount, "Default")) {
            blame(k, k->views[i].name);
            add_value(k, sc->proc_mount);
        }
    }
    k->detail = arena_printf(k->a, "%.*s must not set securityContext.procMount to %.*s", STR_ARG(containers(k)), STR_ARG(values(k)));
    return k->n_bad ? "procMount" : NULL;
}

static bool se_linux_is_bad(struct look *k, const struct core_v1_se_linux_options *o, bool *user, bool *role)
{
    static const char *const types[] = { "", "container_t", "container_init_t", "container_kvm_t" };
    if (!o) {
        return false;
    }
    bool bad_type = !str_empty(o->type) && !one_of(o->type, types, ARRAY_SIZE(types)) && !(k->minor >= 31 && str_eq_c(o->type, "container_engine_t"));
    if (bad_type) {
        add_value(k, o->type);
    }
    *user |= !str_empty(o->user);
    *role |= !str_empty(o->role);
    return bad_type || !str_empty(o->user) || !str_empty(o->role);
}

static const char *se_linux(struct look *k)
{
    const struct core_v1_pod_security_context *psc = k->spec->security_context;
    bool user = false, role = false;
    k->pod = psc && se_linux_is_bad(k, psc->se_linux_options, &user, &role);
    for (size_t i = 0; i < k->n_views; i++) {
        if (k->views[i].sc && se_linux_is_bad(k, k->views[i].sc->se_linux_options, &user, &role)) {
            blame(k, k->views[i].name);
        }
    }
    struct str data = k->n_values ? arena_printf(k->a, "%s %.*s", many(k->n_values, "type", "types"), STR_ARG(values(k))) : STR_EMPTY;
    if (user) {
        data = arena_printf(k->a, "%.*s%suser may not be set", STR_ARG(data), str_empty(data) ? "" : "; ");
    }
    if (role) {
        data = arena_printf(k->a, "%.*s%srole may not be set", STR_ARG(data), str_empty(data) ? "" : "; ");
    }
    k->detail = arena_printf(k->a, "%.*s set forbidden securityContext.seLinuxOptions: %.*s", STR_ARG(setters(k)), STR_ARG(data));
    return k->pod || k->n_bad ? "seLinuxOptions" : NULL;
}

static const char *sysctls(struct look *k)
{
    static const struct {
        const char *name;
        int32_t since;
    } safe[] = { { "kernel.shm_rmid_forced", 0 }, { "net.ipv4.ip_local_port_range", 0 }, { "net.ipv4.tcp_syncookies", 0 },
                 { "net.ipv4.ping_group_range", 0 }, { "net.ipv4.ip_unprivileged_port_start", 0 }, { "net.ipv4.ip_local_reserved_ports", 27 },
                 { "net.ipv4.tcp_keepalive_time", 29 }, { "net.ipv4.tcp_fin_timeout", 29 }, { "net.ipv4.tcp_keepalive_intvl", 29 },
                 { "net.ipv4.tcp_keepalive_probes", 29 }, { "net.ipv4.tcp_rmem", 32 }, { "net.ipv4.tcp_wmem", 32 } };
    const struct core_v1_pod_security_context *psc = k->spec->security_context;
    struct str list = STR_EMPTY;
    for (size_t i = 0; psc && i < psc->n_sysctls; i++) {
        bool ok = false;
        for (size_t j = 0; j < ARRAY_SIZE(safe); j++) {
            ok |= k->minor >= safe[j].since && str_eq_c(psc->sysctls[i].name, safe[j].name);
        }
        if (!ok) {
            list = arena_printf(k->a, "%.*s%s%.*s", STR_ARG(list), str_empty(list) ? "" : ", ", STR_ARG(psc->sysctls[i].name));
        }
    }
    k->detail = list;
    return str_empty(list) ? NULL : "forbidden sysctls";
}

static const char *windows_host_process(struct look *k)
{
    const struct core_v1_pod_security_context *psc = k->spec->security_context;
    k->pod = psc && psc->windows_options && psc->windows_options->host_process;
    for (size_t i = 0; i < k->n_views; i++) {
        if (k->views[i].sc && k->views[i].sc->windows_options && k->views[i].sc->windows_options->host_process) {
            blame(k, k->views[i].name);
        }
    }
    k->detail = arena_printf(k->a, "%.*s must not set securityContext.windowsOptions.hostProcess=true", STR_ARG(setters(k)));
    return k->pod || k->n_bad ? "hostProcess" : NULL;
}

static const char *capabilities_baseline(struct look *k)
{
    static const char *const usual[] = { "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
                                         "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT" };
    for (size_t i = 0; i < k->n_views; i++) {
        const struct core_v1_capabilities *c = k->views[i].sc ? k->views[i].sc->capabilities : NULL;
        for (size_t j = 0; c && j < c->n_add; j++) {
            if (!one_of(c->add[j], usual, ARRAY_SIZE(usual))) {
                blame(k, k->views[i].name);
                add_value(k, c->add[j]);
            }
        }
    }
    k->detail = arena_printf(k->a, "%.*s must not include %.*s in securityContext.capabilities.add", STR_ARG(containers(k)), STR_ARG(values(k)));
    return k->n_bad ? "non-default capabilities" : NULL;
}

static const char *host_paths(struct look *k)
{
    for (size_t i = 0; i < k->spec->n_volumes; i++) {
        if (k->spec->volumes[i].volume_source.host_path) {
            k->bad[k->n_bad++] = k->spec->volumes[i].name;
        }
    }
    k->detail = arena_printf(k->a, "%s %.*s", many(k->n_bad, "volume", "volumes"), STR_ARG(join(k, k->bad, k->n_bad, true)));
    return k->n_bad ? "hostPath volumes" : NULL;
}

static bool seccomp_is_fine(const struct core_v1_seccomp_profile *p)
{
    return str_eq_c(p->type, "RuntimeDefault") || str_eq_c(p->type, "Localhost");
}

/* Profiles that are set and bad: both levels tell them alike. */
static bool bad_seccomp(struct look *k)
{
    const struct core_v1_pod_security_context *psc = k->spec->security_context;
    if (psc && psc->seccomp_profile && !seccomp_is_fine(psc->seccomp_profile)) {
        k->pod = true;
        add_value(k, psc->seccomp_profile->type);
    }
    for (size_t i = 0; i < k->n_views; i++) {
        const struct core_v1_security_context *sc = k->views[i].sc;
        if (sc && sc->seccomp_profile && !seccomp_is_fine(sc->seccomp_profile)) {
            blame(k, k->views[i].name);
            add_value(k, sc->seccomp_profile->type);
        }
    }
    k->detail = arena_printf(k->a, "%.*s must not set securityContext.seccompProfile.type to %.*s", STR_ARG(setters(k)), STR_ARG(values(k)));
    return k->pod || k->n_bad;
}

/* Before 1.19 annotations said it. */
static const char *seccomp_annotations(struct look *k)
{
    for (size_t i = 0; i < k->m->n_annotations; i++) {
        struct str key = k->m->annotations[i].key, v = k->m->annotations[i].value;
        bool seccomp = str_eq_c(key, "seccomp.security.alpha.kubernetes.io/pod") || str_starts(key, STR("container.seccomp.security.alpha.kubernetes.io/"));
        if (seccomp && !str_eq_c(v, "runtime/default") && !str_eq_c(v, "docker/default") && !str_starts(v, STR("localhost/"))) {
            add_value(k, arena_printf(k->a, "%.*s=\"%.*s\"", STR_ARG(key), STR_ARG(v)));
        }
    }
    k->detail = arena_printf(k->a, "forbidden %s %.*s", many(k->n_values, "annotation", "annotations"), STR_ARG(join(k, k->values, k->n_values, false)));
    return k->n_values ? "seccompProfile" : NULL;
}

static const char *seccomp_baseline(struct look *k)
{
    return k->minor < 19 ? seccomp_annotations(k) : bad_seccomp(k) ? "seccompProfile" : NULL;
}

/* ---- restricted ---- */

static const char *privilege_escalation(struct look *k)
{
    for (size_t i = 0; i < k->n_views && !(is_windows(k) && k->minor >= 25); i++) {
        const struct core_v1_security_context *sc = k->views[i].sc;
        if (!sc || !sc->has_allow_privilege_escalation || sc->allow_privilege_escalation) {
            blame(k, k->views[i].name);
        }
    }
    k->detail = arena_printf(k->a, "%.*s must set securityContext.allowPrivilegeEscalation=false", STR_ARG(containers(k)));
    return k->n_bad ? "allowPrivilegeEscalation != false" : NULL;
}

static const char *capabilities_restricted(struct look *k)
{
    struct str missing = STR_EMPTY;
    if (is_windows(k) && k->minor >= 25) {
        return NULL;
    }
    for (size_t i = 0; i < k->n_views; i++) {
        const struct core_v1_capabilities *c = k->views[i].sc ? k->views[i].sc->capabilities : NULL;
        bool all = false;
        for (size_t j = 0; c && j < c->n_drop; j++) {
            all |= str_eq_c(c->drop[j], "ALL");
        }
        if (!all) {
            blame(k, k->views[i].name);
        }
    }
    if (k->n_bad) {
        missing = arena_printf(k->a, "%.*s must set securityContext.capabilities.drop=[\"ALL\"]", STR_ARG(containers(k)));
    }
    k->n_bad = 0;
    for (size_t i = 0; i < k->n_views; i++) {
        const struct core_v1_capabilities *c = k->views[i].sc ? k->views[i].sc->capabilities : NULL;
        for (size_t j = 0; c && j < c->n_add; j++) {
            if (!str_eq_c(c->add[j], "NET_BIND_SERVICE")) {
                blame(k, k->views[i].name);
                add_value(k, c->add[j]);
            }
        }
    }
    struct str added = k->n_bad ? arena_printf(k->a, "%.*s must not include %.*s in securityContext.capabilities.add", STR_ARG(containers(k)), STR_ARG(values(k)))
                                : STR_EMPTY;
    k->detail = arena_printf(k->a, "%.*s%s%.*s", STR_ARG(missing), !str_empty(missing) && !str_empty(added) ? "; " : "", STR_ARG(added));
    return str_empty(k->detail) ? NULL : "unrestricted capabilities";
}

static const char *volume_type(const struct core_v1_volume_source *v)
{
    const struct {
        const void *is;
        const char *name;
    } types[] = { { v->host_path, "hostPath" }, { v->gce_persistent_disk, "gcePersistentDisk" }, { v->aws_elastic_block_store, "awsElasticBlockStore" },
                  { v->git_repo, "gitRepo" }, { v->nfs, "nfs" }, { v->iscsi, "iscsi" }, { v->glusterfs, "glusterfs" }, { v->rbd, "rbd" },
                  { v->flex_volume, "flexVolume" }, { v->cinder, "cinder" }, { v->cephfs, "cephfs" }, { v->flocker, "flocker" }, { v->fc, "fc" },
                  { v->azure_file, "azureFile" }, { v->vsphere_volume, "vsphereVolume" }, { v->quobyte, "quobyte" }, { v->azure_disk, "azureDisk" },
                  { v->photon_persistent_disk, "photonPersistentDisk" }, { v->portworx_volume, "portworxVolume" }, { v->scale_io, "scaleIO" },
                  { v->storageos, "storageos" } };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (types[i].is) {
            return types[i].name;
        }
    }
    return "unknown";
}

static const char *restricted_volumes(struct look *k)
{
    for (size_t i = 0; i < k->spec->n_volumes; i++) {
        const struct core_v1_volume_source *v = &k->spec->volumes[i].volume_source;
        if (!v->config_map && !v->csi && !v->downward_api && !v->empty_dir && !v->ephemeral && !v->persistent_volume_claim && !v->projected && !v->secret) {
            k->bad[k->n_bad++] = k->spec->volumes[i].name;
            add_value(k, str_c(volume_type(v)));
        }
    }
    k->detail = arena_printf(k->a, "%s %.*s %s %s %.*s", many(k->n_bad, "volume", "volumes"), STR_ARG(join(k, k->bad, k->n_bad, true)),
                             many(k->n_bad, "uses", "use"), many(k->n_values, "restricted volume type", "restricted volume types"), STR_ARG(values(k)));
    return k->n_bad ? "restricted volume types" : NULL;
}

static const char *non_root(struct look *k)
{
    const struct core_v1_pod_security_context *psc = k->spec->security_context;
    const bool pod_says = psc && psc->has_run_as_non_root && psc->run_as_non_root;
    if (in_user_namespace(k)) {
        return NULL;
    }
    k->pod = psc && psc->has_run_as_non_root && !psc->run_as_non_root;
    for (size_t i = 0; i < k->n_views; i++) {
        const struct core_v1_security_context *sc = k->views[i].sc;
        if (sc && sc->has_run_as_non_root && !sc->run_as_non_root) {
            blame(k, k->views[i].name);
        }
    }
    if (k->pod || k->n_bad) {
        k->detail = arena_printf(k->a, "%.*s must not set securityContext.runAsNonRoot=false", STR_ARG(setters(k)));
        return "runAsNonRoot != true";
    }
    for (size_t i = 0; i < k->n_views && !pod_says; i++) {
        if (!k->views[i].sc || !k->views[i].sc->has_run_as_non_root) {
            blame(k, k->views[i].name);
        }
    }
    k->detail = arena_printf(k->a, "pod or %.*s must set securityContext.runAsNonRoot=true", STR_ARG(containers(k)));
    return k->n_bad ? "runAsNonRoot != true" : NULL;
}

static const char *run_as_user(struct look *k)
{
    const struct core_v1_pod_security_context *psc = k->spec->security_context;
    if (in_user_namespace(k)) {
        return NULL;
    }
    k->pod = psc && psc->has_run_as_user && psc->run_as_user == 0;
    for (size_t i = 0; i < k->n_views; i++) {
        if (k->views[i].sc && k->views[i].sc->has_run_as_user && k->views[i].sc->run_as_user == 0) {
            blame(k, k->views[i].name);
        }
    }
    k->detail = arena_printf(k->a, "%.*s must not set runAsUser=0", STR_ARG(setters(k)));
    return k->pod || k->n_bad ? "runAsUser=0" : NULL;
}

static const char *seccomp_restricted(struct look *k)
{
    const struct core_v1_pod_security_context *psc = k->spec->security_context;
    if (is_windows(k) && k->minor >= 25) {
        return NULL;
    }
    if (bad_seccomp(k)) {
        return "seccompProfile";
    }
    for (size_t i = 0; i < k->n_views && !(psc && psc->seccomp_profile); i++) {
        if (!k->views[i].sc || !k->views[i].sc->seccomp_profile) {
            blame(k, k->views[i].name);
        }
    }
    k->detail = arena_printf(k->a, "pod or %.*s must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"", STR_ARG(containers(k)));
    return k->n_bad ? "seccompProfile" : NULL;
}

/* ---- the standards ---- */

#define NEVER INT32_MAX /* behind every version, the latest too */

/* A control of the baseline is left out at the restricted level from the version on in which a stricter one stands for it. */
static const struct control {
    enum pod_security_level level;
    int32_t since, replaced_since;
    const char *(*check)(struct look *k); /* the reason, with k->detail, or NULL */
} controls[] = {
    { POD_SECURITY_BASELINE, 0, NEVER, app_armor },
    { POD_SECURITY_BASELINE, 0, 22, capabilities_baseline },
    { POD_SECURITY_BASELINE, 0, NEVER, host_namespaces },
    { POD_SECURITY_BASELINE, 0, 0, host_paths },
    { POD_SECURITY_BASELINE, 0, NEVER, host_ports },
    { POD_SECURITY_BASELINE, 34, NEVER, host_probes },
    { POD_SECURITY_BASELINE, 0, NEVER, privileged },
    { POD_SECURITY_BASELINE, 0, NEVER, proc_mount },
    { POD_SECURITY_BASELINE, 0, NEVER, se_linux },
    { POD_SECURITY_BASELINE, 0, 19, seccomp_baseline },
    { POD_SECURITY_BASELINE, 0, NEVER, sysctls },
    { POD_SECURITY_BASELINE, 0, NEVER, windows_host_process },
    { POD_SECURITY_RESTRICTED, 8, 0, privilege_escalation },
    { POD_SECURITY_RESTRICTED, 22, 0, capabilities_restricted },
    { POD_SECURITY_RESTRICTED, 0, 0, restricted_volumes },
    { POD_SECURITY_RESTRICTED, 0, 0, non_root },
    { POD_SECURITY_RESTRICTED, 23, 0, run_as_user },
    { POD_SECURITY_RESTRICTED, 19, 0, seccomp_restricted },
};

struct str pod_security_violations(struct arena *a, struct pod_security p, const struct meta_v1_object_meta *m,
                                   const struct core_v1_pod_spec *spec, struct str *ret_reasons)
{
    struct look k = { .a = a, .m = m, .spec = spec, .minor = p.minor };
    struct str all = STR_EMPTY, reasons = STR_EMPTY;
    bool seen = p.level != POD_SECURITY_PRIVILEGED && see(&k);
    if (p.level != POD_SECURITY_PRIVILEGED && !seen) {
        all = reasons = STR("the pod is too large to be looked at");
    }
    for (size_t i = 0; seen && i < ARRAY_SIZE(controls); i++) {
        const struct control *c = &controls[i];
        bool replaced = p.level == POD_SECURITY_RESTRICTED && c->level == POD_SECURITY_BASELINE && p.minor >= c->replaced_since;
        if (c->level > p.level || p.minor < c->since || replaced) {
            continue;
        }
        k.n_bad = k.n_values = 0;
        k.pod = false;
        k.detail = STR_EMPTY;
        const char *reason = c->check(&k);
        if (reason) {
            all = arena_printf(a, "%.*s%s%s (%.*s)", STR_ARG(all), str_empty(all) ? "" : ", ", reason, STR_ARG(k.detail));
            reasons = arena_printf(a, "%.*s%s%s", STR_ARG(reasons), str_empty(reasons) ? "" : ", ", reason);
        }
    }
    if (ret_reasons) {
        *ret_reasons = reasons;
    }
    return all;
}
