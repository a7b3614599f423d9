#include "cmd/cmd.h"

#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h> /* before any of linux/ that has the same structs */

#include <linux/netfilter.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/yaml.h"
#include "base/fs.h"
#include "base/log.h"
#include "cmd/absent-flags.h"
#include "cmd/sandbox-flags.h"
#include "net/addr.h"
#include "proxy/proxier.h"

#define CONFIG_MAX (1u << 20)

struct options {
    struct str config, hostname, cluster_cidr, mode, healthz_address, metrics_address;
    struct flag_strings nodeport_addresses;
    bool masquerade_all, cleanup;
    int32_t masquerade_bit;
    int64_t sync_ms;
    struct str detect_local_mode, bind_address, port_range;
    bool bind_hard_fail;
    int32_t healthz_port;
    int64_t udp_timeout_ms;
};

static const struct flag flags[] = {
    FLAG_STRING(struct options, config, "config", "",
                "A KubeProxyConfiguration file; flags that are given come before it"),
    FLAG_STRING(struct options, hostname, "hostname-override", "",
                "This node's name; empty takes the host's name"),
    FLAG_STRING(struct options, cluster_cidr, "cluster-cidr", "",
                "The pods' addresses, a range for each family: what comes to a cluster IP from elsewhere leaves with "
                "the node's address"),
    FLAG_STRING(struct options, mode, "proxy-mode", "nftables",
                "nftables: the kernel passes packets on; userspace: this process does, from ports of its own that the table redirects to"),
    FLAG_STRINGS(
        struct options, nodeport_addresses, "nodeport-addresses", "",
        "Ranges of the node's addresses that answer on node ports; a family without any takes all but loopback"),
    FLAG_BOOL(struct options, masquerade_all, "masquerade-all", "false",
              "Everything that goes to a cluster IP leaves with the node's address"),
    FLAG_INT32(struct options, masquerade_bit, "iptables-masquerade-bit", "14",
               "The bit of the packet mark that is used: only 14", .hidden = true),
    FLAG_BOOL(struct options, cleanup, "cleanup", "false",
              "Remove everything that kube-proxy made, and end"),
    FLAG_DURATION(struct options, sync_ms, "nftables-sync-period", "30s",
                  "How often it is looked whether the table is still there"),
    FLAG_STRING(struct options, bind_address, "bind-address", "0.0.0.0",
                "The node's address for others, which health checks of Services and the ports of the userspace mode are on; 0.0.0.0 or ::: all"),
    FLAG_STRING(struct options, healthz_address, "healthz-bind-address", "0.0.0.0",
                "Address of /healthz and /livez, with a port or with --healthz-port's; empty serves none", .secure = "127.0.0.1",
                .unsafe = "whoever reaches it learns over HTTP, without authentication, that the proxy runs and whether the node is going",
                .mend = "--healthz-bind-address=127.0.0.1"),
    FLAG_INT32(struct options, healthz_port, "healthz-port", "10256", "The port of /healthz; 0 serves none"),
    FLAG_STRING(struct options, metrics_address, "metrics-bind-address", "127.0.0.1:10249",
                "Address and port of /metrics and /proxyMode over HTTP, without authentication; empty or port 0 serves none",
                .unsafe = "it shows metrics to everybody who reaches it, in the clear", .mend = "--metrics-bind-address=127.0.0.1:10249"),
    FLAG_BOOL(struct options, bind_hard_fail, "bind-address-hard-fail", "false",
              "A health or metrics port that cannot be listened on ends the program; otherwise it is logged and done without"),
    FLAG_STRING(struct options, detect_local_mode, "detect-local-mode", "ClusterCIDR",
                "How pods of this node are told from others: only ClusterCIDR"),
    FLAG_STRING(struct options, port_range, "proxy-port-range", "0-0",
                "Ports of the host that the userspace mode may take: first-last, first+more or one; 0-0 takes any. That mode alone has such ports"),
    FLAG_DURATION(struct options, udp_timeout_ms, "udp-timeout", "250ms",
                  "How long a UDP client of the userspace mode is remembered after the last datagram"),
};

struct state {
    struct sandbox_options sandbox;
    struct options options;
    const struct flag_result *flags;
    struct proxy_cidr *nodeport_addresses[2];
    struct port_range range;
    struct proxy_addr bind[2];
    struct proxier *proxier;
};

/* ---- --config ---- */

/* What a KubeProxyConfiguration may say, and the flag that says the same. */
struct setting {
    const char *path; /* "nftables.masqueradeAll" */
    const char *flag;
    enum { SET_STRING, SET_BOOL, SET_STRINGS, SET_DURATION, SET_MODE } kind;
    size_t offset;
};

static const struct setting settings[] = {
    { "hostnameOverride", "hostname-override", SET_STRING, offsetof(struct options, hostname) },
    { "clusterCIDR", "cluster-cidr", SET_STRING, offsetof(struct options, cluster_cidr) },
    { "mode", "proxy-mode", SET_MODE, offsetof(struct options, mode) },
    { "nodePortAddresses", "nodeport-addresses", SET_STRINGS,
      offsetof(struct options, nodeport_addresses) },
    { "nftables.masqueradeAll", "masquerade-all", SET_BOOL,
      offsetof(struct options, masquerade_all) },
    { "nftables.syncPeriod", "nftables-sync-period", SET_DURATION,
      offsetof(struct options, sync_ms) },
    { "healthzBindAddress", "healthz-bind-address", SET_STRING,
      offsetof(struct options, healthz_address) },
    { "metricsBindAddress", "metrics-bind-address", SET_STRING,
      offsetof(struct options, metrics_address) },
    { "bindAddressHardFail", "bind-address-hard-fail", SET_BOOL, offsetof(struct options, bind_hard_fail) },
    { "bindAddress", "bind-address", SET_STRING, offsetof(struct options, bind_address) },
    { "portRange", "proxy-port-range", SET_STRING, offsetof(struct options, port_range) },
    { "udpIdleTimeout", "udp-timeout", SET_DURATION, offsetof(struct options, udp_timeout_ms) },
    { "detectLocalMode", "detect-local-mode", SET_STRING, offsetof(struct options, detect_local_mode) },
};

/* Sections that tune other modes and what is left alone: a complete file as kubeadm writes it names them, and they say nothing while
 * the mode is ours. Anything else is an error. */
static const char *const ignored[] = { "apiVersion", "kind", "iptables", "ipvs", "winkernel" };
/* Fields that are not honoured, and may be there while they say nothing: tools write them as zero values. */
static const char *const silent[] = { "conntrack", "configSyncPeriod", "enableProfiling", "logging", "oomScoreAdj", "detectLocal",
                                      "showHiddenMetricsForVersion", "windowsRunAsService", "clientConnection", "nftables" };

static bool is_unset(const struct val *v)
{
    if (v && v->kind == VAL_OBJECT) {
        for (size_t i = 0; i < v->n; i++) {
            if (!is_unset(&v->members[i].value)) {
                return false;
            }
        }
        return true;
    }
    return !v || v->kind == VAL_NULL ||
           (v->kind == VAL_STRING && (!v->s.len || str_eq(v->s, STR("0s")) || str_eq(v->s, STR("0")))) ||
           (v->kind == VAL_BOOL && !v->b) || (v->kind == VAL_INT && !v->i) ||
           (v->kind == VAL_ARRAY && !v->n);
}

static bool set_option(const struct setting *s, const struct val *v, struct options *o,
                       struct err *err)
{
    void *to = (char *)o + s->offset;
    int64_t ms;
    if ((s->kind == SET_STRING || s->kind == SET_MODE) && v->kind == VAL_STRING) {
        *(struct str *)to = v->s;
        return true;
    }
    if (s->kind == SET_BOOL && v->kind == VAL_BOOL) {
        *(bool *)to = v->b;
        return true;
    }
    if (s->kind == SET_DURATION && v->kind == VAL_STRING && flags_parse_duration(v->s, &ms)) {
        *(int64_t *)to = ms;
        return true;
    }
    if (s->kind == SET_STRINGS && v->kind == VAL_ARRAY) {
        struct flag_strings list = { .items = calloc(v->n, sizeof(struct str)), .n = v->n };
        if (!list.items) {
            abort();
        }
        for (size_t i = 0; i < v->n; i++) {
            list.items[i] = val_as_str(&v->items[i]);
        }
        *(struct flag_strings *)to = list;
        return true;
    }
    return err_set(err, ERR_BAD_REQUEST, "--config: %s has a value of the wrong kind", s->path);
}

static const struct setting *find_setting(struct str section, struct str key)
{
    char path[128];
    snprintf(path, sizeof(path), "%.*s%s%.*s", STR_ARG(section), section.len ? "." : "",
             STR_ARG(key));
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        if (strcmp(settings[i].path, path) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

static bool is_ignored(struct str key)
{
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
        if (str_eq_c(key, ignored[i])) {
            return true;
        }
    }
    return false;
}

static bool is_silent(struct str key)
{
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
        if (str_eq_c(key, silent[i])) {
            return true;
        }
    }
    return false;
}

/* featureGates: as the flag says it. They live as long as the process. */
static void read_gates(const struct val *v, struct component_options *component)
{
    struct flag_strings list = { .items = calloc(MAX(v->n, (uint32_t)1), sizeof(struct str)) };
    for (size_t i = 0; list.items && i < v->n; i++) {
        const struct val *on = &v->members[i].value;
        char *text = NULL;
        int n = asprintf(&text, "%.*s=%s", STR_ARG(v->members[i].key), on->kind != VAL_BOOL ? "?" : on->b ? "true" : "false");
        if (n < 0) {
            abort();
        }
        list.items[list.n++] = str_n(text, (size_t)n);
    }
    component->feature_gates = list;
}

/* clientConnection: where the apiserver is. */
static bool read_client_connection(const struct val *v, const struct flag_result *given,
                                   struct component_options *component, struct err *err)
{
    const struct val *qps = val_get(v, STR("qps")), *burst = val_get(v, STR("burst"));
    struct str kubeconfig = val_get_str(v, STR("kubeconfig"));
    int64_t n;
    if (kubeconfig.len && !flags_changed(given, "kubeconfig")) {
        component->kubeconfig = kubeconfig;
    }
    if (!is_unset(qps) && !flags_changed(given, "kube-api-qps")) {
        if (qps->kind != VAL_DOUBLE && qps->kind != VAL_INT) {
            return err_set(err, ERR_BAD_REQUEST, "--config: clientConnection.qps is no number");
        }
        component->kube_api_qps = qps->kind == VAL_DOUBLE ? qps->d : (double)qps->i;
    }
    if (!is_unset(burst) && !flags_changed(given, "kube-api-burst")) {
        if (!val_as_i64(burst, &n) || n < 0 || n > INT32_MAX) {
            return err_set(err, ERR_BAD_REQUEST, "--config: clientConnection.burst is no number");
        }
        component->kube_api_burst = (int32_t)n;
    }
    return true;
}

static bool read_object(const struct val *v, struct str section, const struct flag_result *given,
                        struct options *o, struct component_options *component, struct err *err)
{
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        const struct setting *s = find_setting(section, m->key);
        if (s) {
            if (m->value.kind != VAL_NULL && !is_unset(&m->value) &&
                !flags_changed(given, s->flag) && !set_option(s, &m->value, o, err)) {
                return false;
            }
        } else if (!section.len && str_eq(m->key, STR("clientConnection")) &&
                   m->value.kind == VAL_OBJECT) {
            if (!read_client_connection(&m->value, given, component, err)) {
                return false;
            }
        } else if (!section.len && str_eq(m->key, STR("featureGates")) && m->value.kind == VAL_OBJECT) {
            if (!flags_changed(given, "feature-gates")) {
                read_gates(&m->value, component);
            }
        } else if (!section.len && str_eq(m->key, STR("nftables")) && m->value.kind == VAL_OBJECT) {
            if (!read_object(&m->value, m->key, given, o, component, err)) {
                return false;
            }
        } else if (section.len && str_eq(m->key, STR("masqueradeBit")) &&
                   m->value.kind == VAL_INT) {
            o->masquerade_bit = (int32_t)m->value.i;
        } else if ((!is_unset(&m->value) || (!section.len && !is_silent(m->key) && !is_ignored(m->key))) &&
                   (section.len ? !str_eq(m->key, STR("minSyncPeriod")) : !is_ignored(m->key)) &&
                   !(str_eq(m->key, STR("configSyncPeriod")) && str_eq(val_as_str(&m->value), STR("15m0s"))) &&
                   !(section.len && !str_eq(section, STR("nftables")))) {
            return err_set(err, ERR_BAD_REQUEST, "--config: unknown field \"%.*s%s%.*s\": this kube-proxy does not honour it",
                           STR_ARG(section), section.len ? "." : "", STR_ARG(m->key));
        }
    }
    return true;
}

/* What it says lives as long as the process. */
static bool read_config(const struct flag_result *given, struct options *o,
                        struct component_options *component, struct err *err)
{
    static struct arena a;
    struct val v;
    struct buf b;
    if (!o->config.len) {
        return true;
    }
    arena_init(&a, 16 * CONFIG_MAX);
    buf_init(&b, CONFIG_MAX);
    bool ok = fs_read(arena_cstr(&a, o->config), CONFIG_MAX, &b, err) &&
              (yaml_or_json_parse(&a, arena_str(&a, buf_str(&b)), NULL, &v, err) ||
               err_wrap(err, "--config"));
    buf_deinit(&b);
    if (!ok) {
        return false;
    }
    if (v.kind != VAL_OBJECT ||
        !str_eq(val_get_str(&v, STR("kind")), STR("KubeProxyConfiguration")) ||
        !str_eq(val_get_str(&v, STR("apiVersion")), STR("kubeproxy.config.k8s.io/v1alpha1"))) {
        return err_set(
            err, ERR_BAD_REQUEST,
            "--config: this is no KubeProxyConfiguration of kubeproxy.config.k8s.io/v1alpha1");
    }
    return read_object(&v, STR_NULL, given, o, component, err);
}

/* ---- life ---- */

/* The pods' ranges: at most one of each family. */
static bool parse_cluster_cidr(struct str list, struct proxy_table_config tables[2], struct err *err)
{
    struct str one;
    struct proxy_cidr c;
    while (list.len && str_split(&list, ',', &one)) {
        if (!proxy_cidr_parse(str_trim(one), &c)) {
            return err_set(err, ERR_BAD_REQUEST,
                           "--cluster-cidr: \"%.*s\" is no range of addresses", STR_ARG(one));
        }
        struct proxy_table_config *t = &tables[c.family == NFPROTO_IPV6];
        if (t->has_pod_cidr) {
            return err_set(err, ERR_BAD_REQUEST, "--cluster-cidr: two ranges of one family");
        }
        t->has_pod_cidr = true;
        t->pod_cidr = c;
    }
    return true;
}

static bool parse_nodeport_addresses(struct state *s, struct proxy_table_config tables[2], struct err *err)
{
    const struct flag_strings *list = &s->options.nodeport_addresses;
    struct proxy_cidr c;
    for (size_t i = 0; i < 2; i++) {
        s->nodeport_addresses[i] = calloc(MAX(list->n, (size_t)1), sizeof(c));
        if (!s->nodeport_addresses[i]) {
            abort();
        }
        tables[i].nodeport_addresses = s->nodeport_addresses[i];
    }
    for (size_t i = 0; i < list->n; i++) {
        if (!list->items[i].len) {
            continue;
        }
        if (str_eq(list->items[i], STR("primary"))) {
            return err_set(err, ERR_BAD_REQUEST,
                           "--nodeport-addresses: \"primary\" is not supported: name the ranges");
        }
        if (!proxy_cidr_parse(list->items[i], &c)) {
            return err_set(err, ERR_BAD_REQUEST,
                           "--nodeport-addresses: \"%.*s\" is no range of addresses",
                           STR_ARG(list->items[i]));
        }
        struct proxy_table_config *t = &tables[c.family == NFPROTO_IPV6];
        s->nodeport_addresses[c.family == NFPROTO_IPV6][t->n_nodeport_addresses++] = c;
    }
    return true;
}

/* The rules are all that we need rights for: no other capability stays, and none comes back. */
static bool confine(struct err *err)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { { .effective = 1u << CAP_NET_ADMIN,
                                                .permitted = 1u << CAP_NET_ADMIN } };
    return (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
            syscall(SYS_capset, &header, data) == 0) ||
           err_set_errno(err, errno, "cannot give up capabilities");
}

/* "IP", "IP:PORT", or empty: to "IP:PORT", or empty when nothing is to be served. '*ret' may be in 'dst'. */
static bool address_of(struct str text, int32_t port, bool port_given, const char *flag, const char *port_flag, char dst[NET_ADDR_TEXT_SIZE],
                       struct str *ret, struct err *err)
{
    struct net_addr addr;
    *ret = STR_EMPTY;
    if (port < 0 || port > 65535) {
        return err_set(err, ERR_BAD_REQUEST, "--%s=%d is no port", port_flag, port);
    }
    if (!text.len) {
        return true;
    }
    if (net_addr_parse_ip(text, (uint16_t)port, &addr)) {
        /* an address alone: the port is the other flag's */
    } else if (net_addr_parse(text, &addr) && addr.sa.sa_family != AF_UNIX) {
        if (port_given && port && net_addr_port(&addr) != port) {
            return err_set(err, ERR_BAD_REQUEST, "--%s=%.*s and --%s=%d contradict each other", flag, STR_ARG(text), port_flag, port);
        }
        if (port_given && !port) {
            return true;
        }
    } else {
        return err_set(err, ERR_BAD_REQUEST, "--%s: \"%.*s\" is no IP address, with or without a port", flag, STR_ARG(text));
    }
    *ret = net_addr_port(&addr) ? net_addr_text(&addr, dst) : STR_EMPTY;
    return true;
}

/* What is accepted is done: values that are not implemented are refused, and so are contradictions. */
static bool check_options(struct state *s, struct err *err)
{
    static char healthz[NET_ADDR_TEXT_SIZE], metrics[NET_ADDR_TEXT_SIZE];
    struct options *o = &s->options;
    struct net_addr addr;
    bool userspace = str_eq(o->mode, STR("userspace"));
    if (o->mode.len && !userspace && !str_eq(o->mode, STR("nftables"))) {
        return err_set(err, ERR_BAD_REQUEST, "--proxy-mode=%.*s is not supported: nftables or userspace",
                       STR_ARG(o->mode));
    }
    if (o->detect_local_mode.len && !str_eq(o->detect_local_mode, STR("ClusterCIDR"))) {
        return err_set(err, ERR_BAD_REQUEST,
                       "--detect-local-mode=%.*s is not supported: only ClusterCIDR",
                       STR_ARG(o->detect_local_mode));
    }
    if (o->masquerade_bit != 14) {
        return err_set(err, ERR_BAD_REQUEST, "the masquerade bit is 14 and cannot be changed");
    }
    if (!port_range_parse(o->port_range, &s->range, err)) {
        return err_wrap(err, "--proxy-port-range");
    }
    if (s->range.n && !userspace) {
        return err_set(err, ERR_BAD_REQUEST, "--proxy-port-range=%.*s and --proxy-mode=nftables contradict each other: only the userspace mode takes ports of the host",
                       STR_ARG(o->port_range));
    }
    if (o->udp_timeout_ms <= 0) {
        return err_set(err, ERR_BAD_REQUEST, "--udp-timeout must be more than 0");
    }
    if (o->udp_timeout_ms != 250 && !userspace) {
        return err_set(err, ERR_BAD_REQUEST, "--udp-timeout and --proxy-mode=nftables contradict each other: only the userspace mode remembers UDP clients");
    }
    if (!net_addr_parse_ip(o->bind_address, 1, &addr)) {
        return err_set(err, ERR_BAD_REQUEST, "--bind-address: \"%.*s\" is no IP address", STR_ARG(o->bind_address));
    }
    if (userspace && net_addr_is_local(&addr)) {
        return err_set(err, ERR_BAD_REQUEST,
                       "--bind-address=%.*s and --proxy-mode=userspace contradict each other: packets of others can be redirected to "
                       "loopback only by a setting (route_localnet) that opens loopback to the whole network",
                       STR_ARG(o->bind_address));
    }
    uint8_t family = NFPROTO_IPV4;
    struct proxy_addr bind;
    uint16_t port;
    if (proxy_addr_of_sockaddr(&addr.sa, &family, &bind, &port)) {
        s->bind[family == NFPROTO_IPV6] = bind;
    }
    return address_of(o->healthz_address, o->healthz_port, flags_changed(s->flags, "healthz-port"), "healthz-bind-address", "healthz-port", healthz,
                      &o->healthz_address, err) &&
           address_of(o->metrics_address, 10249, false, "metrics-bind-address", "metrics-bind-address", metrics, &o->metrics_address, err);
}

static bool is_remote(struct str address)
{
    struct net_addr addr;
    return address.len && net_addr_parse(address, &addr) && !net_addr_is_local(&addr);
}

static void note_unsafe(const struct state *s)
{
    if (is_remote(s->options.healthz_address)) {
        flags_note_unsafe(s->flags, "healthz-bind-address");
    }
    if (is_remote(s->options.metrics_address)) {
        flags_note_unsafe(s->flags, "metrics-bind-address");
    }
}

static void on_synced(void *data)
{
    proxier_synced(((struct state *)data)->proxier);
}

static bool start(struct component *c, void *data, struct err *err)
{
    struct state *s = data;
    struct options *o = &s->options;
    struct proxier_config config = {
        .node = o->hostname.len ? o->hostname : str_c(component_hostname(c)),
        .tables = { { .family = NFPROTO_IPV4, .masquerade_all = o->masquerade_all },
                    { .family = NFPROTO_IPV6, .masquerade_all = o->masquerade_all } },
        .userspace = str_eq(o->mode, STR("userspace")),
        .range = s->range,
        .bind = { s->bind[0], s->bind[1] },
        .udp_timeout_ms = (uint64_t)o->udp_timeout_ms,
        .healthz_address = o->healthz_address,
        .metrics_address = o->metrics_address,
        .check_address = o->bind_address,
        .soft_bind = !o->bind_hard_fail,
        .check_ms = (uint64_t)MAX(o->sync_ms, (int64_t)0),
    };
    if (!parse_cluster_cidr(o->cluster_cidr, config.tables, err) ||
        !parse_nodeport_addresses(s, config.tables, err) ||
        !(s->proxier = proxier_new(c, &config, err)) || !confine(err)) {
        return false;
    }
    component_on_synced(c, on_synced, s);
    struct event_subject node = { .api_version = STR("v1"),
                                  .kind = STR("Node"),
                                  .name = config.node,
                                  .uid = config.node };
    event_record(component_events(c), &node, "Normal", "Starting", "Starting kube-proxy.");
    return true;
}

static void stop(void *data)
{
    struct state *s = data;
    s->proxier = proxier_free(s->proxier);
    free(s->nodeport_addresses[0]);
    free(s->nodeport_addresses[1]);
}

int kube_proxy_main(int argc, char **argv)
{
    static struct state state;
    static struct component_options options;
    static const struct component_spec spec = { .name = "kube-proxy" };
    const struct flag_section sections[] = { { "Proxy", flags, ARRAY_SIZE(flags), &state.options },
                                             component_flag_section(&options),
                                             { "Sandbox", sandbox_flags, sandbox_n_flags, &state.sandbox } };
    struct flag_program program = { "kube-proxy", "Makes Services reachable on this node.",
                                          sections, ARRAY_SIZE(sections) };
    struct flag_result result;
    struct err err;
    program.why_absent = absent_flag;
    int status = flags_main(&program, argc, argv, &result);
    if (status >= 0) {
        return status;
    }
    if (state.options.cleanup) {
        if (!proxier_cleanup(&err)) {
            log_error("%s", err.msg);
            return 1;
        }
        return 0;
    }
    state.flags = &result;
    struct component *c = read_config(&result, &state.options, &options, &err) && check_options(&state, &err) &&
                                      sandbox_apply(&program, &state.sandbox, 1u << CAP_NET_ADMIN | 1u << CAP_NET_BIND_SERVICE, &err)
                              ? component_new(&spec, &options, &result, &err)
                              : NULL;
    if (!c) {
        log_error("%s", err.msg);
        return 1;
    }
    note_unsafe(&state);
    return component_run(c, start, stop, &state);
}
