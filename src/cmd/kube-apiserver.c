/* kube-apiserver: options, store, loop, doors, close. */
#include "cmd/cmd.h"
#include "cmd/tunnel-options.h"

#include <limits.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include "apiserver/auth-flags.h"
#include "apiserver/kubelet.h"
#include "apiserver/server.h"
#include "apiserver/store-setup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "cmd/absent-flags.h"
#include "cmd/apiserver-ports.h"
#include "component/gates.h"
#include "net/addr.h"
#include "net/file-watch.h"
#include "net/tls.h"
#include "pki/cert.h"

enum { ACCEPT_TRIES = 200 + 250, DRAIN_MS = 5000, KEEP_TIME_MS = 600000 };

struct options {
    struct apiserver_config cfg;
    struct apiserver_ports ports;
    struct str tls_cert_file, tls_private_key_file, cert_dir;
    struct flag_strings feature_gates, enable_admission, disable_admission;
    int64_t event_ttl_ms;
    bool allow_privileged, kubelet_https;
    struct str tls_min_version;
};

static const struct flag serving_flags[] = {
    FLAG_INT(struct options, cfg.secure_port, "secure-port", "6443", "The port for HTTPS with authentication and authorization; 0 serves nothing"),
    FLAG_STRING(struct options, tls_cert_file, "tls-cert-file", "", "The server's certificate chain (PEM)"),
    FLAG_STRING(struct options, tls_private_key_file, "tls-private-key-file", "", "The key of tls-cert-file (PEM)"),
    FLAG_STRING(struct options, cert_dir, "cert-dir", "/var/run/kubernetes", "Where a self-signed certificate is kept when no tls-cert-file is given"),
    FLAG_STRING(struct options, tls_min_version, "tls-min-version", "VersionTLS12", "VersionTLS12 or VersionTLS13"),
    FLAG_STRING(struct options, cfg.advertise_address, "advertise-address", "", "The address other members reach this server at; empty takes --bind-address, or the default interface's"),
};

static const struct flag event_flags[] = {
    FLAG_DURATION(struct options, event_ttl_ms, "event-ttl", "1h", "How long events are kept"),
};

static const struct flag admission_flags[] = {
    FLAG_STRINGS(struct options, enable_admission, "enable-admission-plugins", "", "Plugins besides the default ones", .secure = "NodeRestriction",
                 .unsafe = "a node that was broken into may change every Node and pod that the Node authorizer lets it reach",
                 .mend = "--enable-admission-plugins=NodeRestriction"),
    FLAG_STRINGS(struct options, disable_admission, "disable-admission-plugins", "", "Default plugins that are left out"),
    FLAG_STRING(struct options, cfg.admission_control_config_file, "admission-control-config-file", "",
                "File of an AdmissionConfiguration; of its plugins PodSecurity can be configured"),
    FLAG_BOOL(struct options, allow_privileged, "allow-privileged", "true", "Privileged containers are allowed"),
};

static const struct flag cluster_flags[] = {
    FLAG_STRING(struct options, cfg.service_cluster_ip_range, "service-cluster-ip-range", "10.0.0.0/24", "Addresses of Services"),
    FLAG_STRING(struct options, cfg.endpoint_reconciler_type, "endpoint-reconciler-type", "lease",
                "Who is among the endpoints of the kubernetes Service: lease (every server that renews its lease in the store), or none (nobody is written there)"),
    FLAG_INT(struct options, cfg.kubernetes_service_node_port, "kubernetes-service-node-port", "0",
             "If not 0, the kubernetes Service is of type NodePort with this port; else of type ClusterIP"),
    FLAG_STRING(struct options, cfg.service_node_port_range, "service-node-port-range", "30000-32767", "Ports of Services on nodes"),
    FLAG_STRING(struct options, cfg.kubelet_client_certificate, "kubelet-client-certificate", "", "Certificate shown to kubelets"),
    FLAG_STRING(struct options, cfg.kubelet_client_key, "kubelet-client-key", "", "Its key"),
    FLAG_STRING(struct options, cfg.kubelet_certificate_authority, "kubelet-certificate-authority", "", "CAs of the kubelets' serving certificates",
                .unsafe = "whoever is between this server and a kubelet can pretend to be the kubelet: its serving certificate is not verified",
                .mend = "--kubelet-certificate-authority=FILE"),
    FLAG_STRING(struct options, cfg.kubelet_preferred_address_types, "kubelet-preferred-address-types",
                "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP", "Which address of a node is dialled"),
    FLAG_DURATION(struct options, cfg.kubelet_timeout_ms, "kubelet-timeout", "5s", "How long a connection to a kubelet may take to be made"),
    FLAG_INT(struct options, cfg.kubelet_port, "kubelet-port", "10250", "The port of kubelets whose Node does not name one"),
    FLAG_BOOL(struct options, kubelet_https, "kubelet-https", "true", "Kubelets are reached over HTTPS; false is refused"),
    FLAG_STRING(struct options, cfg.egress_selector_config_file, "egress-selector-config-file", "",
                "An EgressSelectorConfiguration: Konnectivity proxies that kubelets, nodes, pods and services are reached through"),
    FLAG_STRING(struct options, cfg.tunnel_socket, "tunnel-socket", "",
                "The unix socket of the tunnel process; kubelets, nodes, pods and services are reached through it and never directly"),
    FLAG_STRING(struct options, cfg.proxy_denied_cidrs, "proxy-denied-cidrs", "",
                "Networks that the proxies of nodes, pods and services never lead to, besides loopback, link-local and metadata addresses"),
    FLAG_MAP(struct options, feature_gates, "feature-gates", "", "Feature gates, Name=true,…: accepted where they say what is the case here"),
};

static const struct flag tunnel_flags[] = {
    FLAG_STRING(struct tunnel_options, kubeconfig, "tunnel-kubeconfig", "",
                "With --ssh-user: how the tunnel process, which watches Nodes, reaches this server"),
};

struct main_state {
    struct loop *loop;
    struct apiserver *server;
    struct options *opt;
    struct net_tls_server *tls;
    struct loop_signal term, interrupt;
    struct loop_timer keep_time, accept;
    struct file_watch *files;
    const struct flag_result *flags;
    int sockets[8], insecure; /* -1: none */
    size_t n_sockets;
    bool draining;
    unsigned accept_tries;
};

static bool read_text(struct str path, struct buf *b, struct err *err)
{
    char p[4096];
    if (str_empty(path)) {
        return true;
    }
    if (!str_to_cstr(path, p, sizeof(p))) {
        return err_set(err, ERR_INVALID, "a path is too long");
    }
    return fs_read(p, 4u << 20, b, err);
}

/* A certificate of our own when none was given: good until the process ends; clients must skip its verification. */
static bool self_signed(const struct options *o, struct buf *cert, struct buf *key, struct err *err)
{
    enum { YEAR_S = 365 * 24 * 3600 };
    struct str names[] = { STR("localhost"), STR("kubernetes"), STR("kubernetes.default"), STR("kubernetes.default.svc") };
    struct str ips[] = { STR("127.0.0.1"), o->cfg.advertise_address };
    int64_t now = time_floor_now_s();
    struct pki_cert_spec ca_spec = { .names = { .cn = STR("kube-apiserver-ca") }, .ca = true, .path_len = 0,
                                     .not_before = now - PKI_BACKDATE_S, .not_after = now + YEAR_S };
    struct pki_cert_spec spec = {
        .names = { .cn = STR("kube-apiserver"), .dns = names, .n_dns = ARRAY_SIZE(names), .ips = ips, .n_ips = ARRAY_SIZE(ips) },
        .usages = PKI_USAGE_DIGITAL_SIGNATURE | PKI_USAGE_KEY_ENCIPHERMENT | PKI_USAGE_SERVER_AUTH,
        .not_before = now - PKI_BACKDATE_S, .not_after = now + YEAR_S,
    };
    CLEANUP(pki_key_unrefp) struct pki_key *ca_key = pki_key_generate(PKI_KEY_P256, 0, err);
    CLEANUP(pki_key_unrefp) struct pki_key *own = ca_key ? pki_key_generate(PKI_KEY_P256, 0, err) : NULL;
    CLEANUP(pki_cert_unrefp) struct pki_cert *ca = own ? pki_cert_self_sign(ca_key, &ca_spec, err) : NULL;
    CLEANUP(pki_cert_unrefp) struct pki_cert *leaf = ca ? pki_cert_sign(ca, ca_key, own, &spec, err) : NULL;
    if (!leaf) {
        return false;
    }
    pki_cert_write_pem(leaf, cert);
    pki_cert_write_pem(ca, cert);
    return pki_key_write_private(own, key) || err_set(err, ERR_INTERNAL, "the serving key cannot be written");
}

/* The certificate of an earlier start in --cert-dir, while it is good for another month. */
static bool kept_certificate(const struct options *o, struct buf *cert, struct buf *key)
{
    enum { MONTH_S = 30 * 24 * 3600 };
    char dir[3800], path[4096];
    struct err err;
    if (!str_to_cstr(o->cert_dir, dir, sizeof(dir)) || !dir[0]) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "%s/apiserver.crt", dir);
    bool ok = fs_read(path, 4u << 20, cert, &err);
    (void)snprintf(path, sizeof(path), "%s/apiserver.key", dir);
    ok = ok && fs_read(path, 4u << 20, key, &err);
    struct str pem = buf_str(cert);
    CLEANUP(pki_cert_unrefp) struct pki_cert *leaf = ok ? pki_cert_read(&pem, &err) : NULL;
    if (!leaf || pki_cert_not_after(leaf) < time_floor_now_s() + MONTH_S) {
        buf_clear(cert);
        buf_clear(key);
        return false;
    }
    return true;
}

/* Kept for the next start, so that clients that pinned it go on. A folder that cannot be written is no reason not to serve. */
static void keep_certificate(const struct options *o, struct str cert, struct str key)
{
    char dir[3800], path[4096];
    struct err err;
    if (!str_to_cstr(o->cert_dir, dir, sizeof(dir)) || !dir[0]) {
        return;
    }
    bool ok = fs_mkdirs(dir, 0700, &err);
    (void)snprintf(path, sizeof(path), "%s/apiserver.key", dir);
    ok = ok && fs_write_atomic(path, key, 0600, &err);
    (void)snprintf(path, sizeof(path), "%s/apiserver.crt", dir);
    ok = ok && fs_write_atomic(path, cert, 0644, &err);
    if (!ok) {
        log_warning("apiserver: the self-signed certificate is not kept in --cert-dir: %s", err.msg);
    }
}

static bool load_tls(struct main_state *m, struct err *err)
{
    const struct options *o = m->opt;
    CLEANUP(buf_deinit) struct buf cert, key, ca;
    char min_version[64] = "";
    buf_init(&cert, 4u << 20);
    buf_init(&key, 4u << 20);
    buf_init(&ca, 4u << 20);
    if (!read_text(o->tls_cert_file, &cert, err) || !read_text(o->tls_private_key_file, &key, err) ||
        !read_text(o->cfg.client_ca_file, &ca, err)) {
        return false;
    }
    buf_append_char(&ca, '\n'); /* certificates of both kinds are asked for; who believes which is the authenticators' matter */
    if (!read_text(o->cfg.auth.requestheader_client_ca_file, &ca, err)) {
        return false;
    }
    if (cert.len == 0) {
        if (m->tls) {
            return true; /* a certificate of our own is made once */
        }
        if (!kept_certificate(o, &cert, &key)) {
            if (!self_signed(o, &cert, &key, err)) {
                return false;
            }
            keep_certificate(o, buf_str(&cert), buf_str(&key));
        }
        log_warning("apiserver: no --tls-cert-file: serving with a self-signed certificate of --cert-dir");
    }
    struct net_tls_server_config cfg = {
        .identity = { .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) }, .client_ca_pem = str_trim(buf_str(&ca)),
        .alpn = NET_ALPN_H1 | NET_ALPN_H2,
    };
    if (str_to_cstr(o->tls_min_version, min_version, sizeof(min_version)) && min_version[0]) {
        cfg.min_version = min_version;
    }
    if (m->tls) {
        return net_tls_server_reload(m->tls, &cfg, err);
    }
    m->tls = net_tls_server_new(&cfg, err);
    if (m->tls) {
        time_floor_raise(net_tls_server_not_before(m->tls)); /* whatever the clock says, it was signed in the past */
    }
    return m->tls != NULL;
}

/* Certificates, keys, CAs or tokens have changed on disk. Connections that are open go on with what they began with. */
static void on_files(void *arg)
{
    struct main_state *m = arg;
    struct err err = { 0 };
    if (!load_tls(m, &err)) {
        log_warning("apiserver: the serving certificate cannot be read again, the old one stays: %s", err.msg);
    } else {
        log_info("apiserver: certificates were read again");
    }
    if (!apiserver_reload(m->server, &err)) {
        log_warning("apiserver: credentials cannot be read again, the old ones stay: %s", err.msg);
    }
}

static void watch_files(struct main_state *m)
{
    const struct apiserver_config *c = &m->opt->cfg;
    const struct str files[] = { m->opt->tls_cert_file, m->opt->tls_private_key_file, c->client_ca_file, c->token_auth_file,
                                 c->auth.requestheader_client_ca_file, c->auth.oidc_ca_file,
                                 c->service_account_signing_key_file, c->kubelet_client_certificate, c->kubelet_client_key,
                                 c->kubelet_certificate_authority, c->etcd.ca_file, c->etcd.cert_file, c->etcd.key_file };
    m->files = file_watch_new(m->loop, on_files, m);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        file_watch_add(m->files, files[i]);
    }
    for (size_t i = 0; i < c->service_account_key_files.n; i++) {
        file_watch_add(m->files, c->service_account_key_files.items[i]);
    }
}

/* The time floor (base/time-floor.h) is kept beside the objects. */
static void on_keep_time(void *arg)
{
    struct main_state *m = arg;
    time_floor_keep();
    loop_timer_start(&m->keep_time, KEEP_TIME_MS);
}

static void open_time_floor(const struct options *o)
{
    char path[4096];
    if (str_eq_c(o->cfg.store, "sqlite")) {
        snprintf(path, sizeof(path), "%.*s/time-floor", STR_ARG(o->cfg.data_dir));
        time_floor_open(path);
    }
}

static void on_drained(void *arg)
{
    struct main_state *m = arg;
    loop_stop(m->loop);
}

static void on_signal(void *arg)
{
    struct main_state *m = arg;
    if (m->draining) {
        loop_stop(m->loop);
        return;
    }
    m->draining = true;
    log_info("apiserver: stopping");
    apiserver_drain(m->server, DRAIN_MS, on_drained, m);
}

static struct str joined(const struct flag_strings *list)
{
    static char text[2][4096];
    static int which;
    char *out = text[which++ % 2];
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        int len = snprintf(out + n, sizeof(text[0]) - n, "%s%.*s", i ? "," : "", STR_ARG(list->items[i]));
        n += len > 0 && (size_t)len < sizeof(text[0]) - n ? (size_t)len : 0;
    }
    return str_n(out, n);
}

static bool has_mode(const struct options *o, const char *mode)
{
    for (size_t i = 0; i < o->cfg.authorization_modes.n; i++) {
        if (str_eq_c(o->cfg.authorization_modes.items[i], mode)) {
            return true;
        }
    }
    return false;
}

static void note_unsafe(const struct main_state *m)
{
    const struct options *o = m->opt;
    if (o->ports.insecure_port) {
        flags_note_unsafe(m->flags, "insecure-port");
    }
    if (kubelet_is_unverified(&o->cfg)) {
        flags_note_unsafe(m->flags, "kubelet-certificate-authority");
    }
    if (str_empty(o->cfg.auth.authz_config) && has_mode(o, "AlwaysAllow")) {
        flags_note_unsafe(m->flags, "authorization-mode");
        if (o->cfg.anonymous_auth) {
            flags_note_unsafe(m->flags, "anonymous-auth");
        }
    }
}

static bool complete(struct options *o, const struct flag_result *flags, struct err *err)
{
    if (!o->allow_privileged) {
        return err_set(err, ERR_INVALID, "--allow-privileged=false is not implemented: Pod Security admission says who may");
    }
    if (!o->kubelet_https) {
        return err_set(err, ERR_INVALID, "--kubelet-https=false: kubelets are reached over HTTPS alone");
    }
    if (o->cfg.kubelet_port < 1 || o->cfg.kubelet_port > 65535) {
        return err_set(err, ERR_INVALID, "--kubelet-port %lld is no port", (long long)o->cfg.kubelet_port);
    }
    if (!apiserver_ports_check(&o->ports, o->cfg.secure_port, err) || !gates_check(&o->feature_gates, err) ||
        !flags_together(flags, "tls-cert-file", "tls-private-key-file", err) ||
        !flags_together(flags, "kubelet-client-certificate", "kubelet-client-key", err)) {
        return false;
    }
    if (!store_setup_validate(&o->cfg, flags, err)) {
        return false;
    }
    if (!str_empty(o->cfg.auth.authz_config) && flags_changed(flags, "authorization-mode")) {
        return err_set(err, ERR_INVALID, "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined");
    }
    o->cfg.auth.anonymous_given = flags_changed(flags, "anonymous-auth");
    if (!apiserver_auth_validate(&o->cfg, err)) {
        return false;
    }
    if (str_empty(o->cfg.advertise_address)) {
        o->cfg.advertise_address = apiserver_ports_advertise(&o->ports);
    }
    o->cfg.enable_admission_plugins = joined(&o->enable_admission);
    o->cfg.disable_admission_plugins = joined(&o->disable_admission);
    o->cfg.event_ttl_s = o->event_ttl_ms / 1000;
    return true;
}

/* Whoever comes before the default roles are there would be told "forbidden" and try again much later: so connections wait in
 * the sockets' queues until the server is ready, which takes milliseconds. When the store (etcd) cannot be reached for long, health
 * must be answered nevertheless. */
static void on_accept(void *arg)
{
    struct main_state *m = arg;
    struct err err;
    if (!apiserver_is_ready(m->server) && m->accept_tries < ACCEPT_TRIES) {
        loop_timer_start(&m->accept, m->accept_tries++ < 200 ? 1 : 20);
        return;
    }
    for (size_t i = 0; i < m->n_sockets; i++) {
        if (!apiserver_listen(m->server, m->sockets[i], m->tls, &err)) {
            log_error("apiserver: %s", err.msg);
            loop_stop(m->loop);
        }
    }
    if (m->insecure >= 0 && !apiserver_listen_insecure(m->server, m->insecure, &err)) {
        log_error("apiserver: %s", err.msg);
        loop_stop(m->loop);
    }
    (void)malloc_trim(0); /* what loading took for a moment goes back */
}

static bool start(struct main_state *m, struct err *err)
{
    if (!complete(m->opt, m->flags, err)) {
        return false;
    }
    open_time_floor(m->opt);
    if (!load_tls(m, err)) {
        return false;
    }
    if (!apiserver_ports_secure(&m->opt->ports, m->opt->cfg.secure_port, m->sockets, &m->n_sockets, err) ||
        !apiserver_ports_insecure(&m->opt->ports, &m->insecure, err)) {
        return false;
    }
    note_unsafe(m);
    m->server = apiserver_new(m->loop, &m->opt->cfg, err);
    loop_timer_init(&m->accept, m->loop, on_accept, m);
    loop_timer_start(&m->accept, 0);
    return m->server != NULL;
}

/* --ssh-user: the tunnel process is forked off first, before anything secret is read. */
static bool start_tunnel(struct options *o, struct tunnel_options *t, struct err *err)
{
    static char socket[PATH_MAX];
    char dir[PATH_MAX];
    if (str_empty(t->ssh_user)) {
        return str_empty(t->ssh_keyfile) || err_set(err, ERR_INVALID, "--ssh-keyfile needs --ssh-user");
    }
    t->socket = o->cfg.tunnel_socket;
    if (!str_to_cstr(o->cfg.data_dir, dir, sizeof(dir)) || !tunnel_process_start(t, dir, socket, err)) {
        return false;
    }
    o->cfg.tunnel_socket = str_c(socket);
    return true;
}

int kube_apiserver_main(int argc, char **argv)
{
    static struct options opt;
    static struct tunnel_options tunnel;
    const struct flag_section sections[] = {
        { "Secure serving", serving_flags, ARRAY_SIZE(serving_flags), &opt },
        { "Listening", apiserver_port_flags, apiserver_n_port_flags, &opt.ports },
        { "Store", apiserver_store_flags, apiserver_n_store_flags, &opt.cfg },
        { "Events", event_flags, ARRAY_SIZE(event_flags), &opt },
        { "Authentication", apiserver_authentication_flags, apiserver_n_authentication_flags, &opt.cfg },
        { "Authorization", apiserver_authorization_flags, apiserver_n_authorization_flags, &opt.cfg },
        { "Admission", admission_flags, ARRAY_SIZE(admission_flags), &opt },
        { "Cluster", cluster_flags, ARRAY_SIZE(cluster_flags), &opt },
        { "SSH tunnels", tunnel_ssh_flags, tunnel_n_ssh_flags, &tunnel },
        { "Tunnel process", tunnel_flags, ARRAY_SIZE(tunnel_flags), &tunnel },
        { "Sandbox", sandbox_flags, sandbox_n_flags, &tunnel.sandbox },
    };
    struct flag_program program = { "kube-apiserver", "Serves the Kubernetes API.", sections, ARRAY_SIZE(sections) };
    struct flag_result flags;
    struct err err = { 0 };
    struct main_state m = { .opt = &opt, .flags = &flags, .insecure = -1 };
    program.why_absent = absent_flag;
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    if (!start_tunnel(&opt, &tunnel, &err) || !sandbox_apply(&program, &tunnel.sandbox, 1u << CAP_NET_BIND_SERVICE, &err)) {
        log_error("apiserver: %s", err.msg);
        return 1;
    }
    opt.cfg.kubelet_must_be_verified = flags.secure;
    /* A big answer's memory goes back when the answer is gone: glibc would learn from it to keep such blocks. */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    m.loop = loop_new(&err);
    if (!m.loop || loop_signal_start(&m.term, m.loop, SIGTERM, on_signal, &m) < 0 ||
        loop_signal_start(&m.interrupt, m.loop, SIGINT, on_signal, &m) < 0 || !start(&m, &err)) {
        log_error("apiserver: %s", err.msg);
        m.server = apiserver_free(m.server);
        net_tls_server_unref(m.tls);
        loop_free(m.loop);
        return 1;
    }
    watch_files(&m);
    loop_timer_init(&m.keep_time, m.loop, on_keep_time, &m);
    loop_timer_start(&m.keep_time, 1000);
    loop_run(m.loop);
    loop_timer_stop(&m.keep_time);
    m.files = file_watch_free(m.files);
    loop_timer_stop(&m.accept);
    m.server = apiserver_free(m.server);
    net_tls_server_unref(m.tls);
    loop_free(m.loop);
    return 0;
}
