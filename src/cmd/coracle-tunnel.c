/* coracle tunnel: the tunnel process, the node's agent for reverse tunnels, and the helpers for authorized_keys. */
#include "cmd/cmd.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/gen/core_v1.h"
#include "base/fs.h"
#include "base/log.h"
#include "cluster/confine.h"
#include "cmd/tunnel-options.h"
#include "cmd/sandbox-flags.h"
#include "net/loop.h"
#include "tunnel/agent.h"
#include "tunnel/authorized-keys.h"
#include "tunnel/known-hosts.h"
#include "tunnel/limits.h"
#include "tunnel/tunnel.h"

enum { MAX_AGENTS = 8, AGENT_RELOAD_MS = 60000 };

struct options {
    struct tunnel_options tunnel;
    bool reverse;
    struct flag_strings servers, allow_ranges, permit_open;
    struct str node_name, allow_ports;
    struct str user, authorized_keys_file, public_key_file, host;
};

static const struct flag front_flags[] = {
    FLAG_STRING(struct options, tunnel.kubeconfig, "kubeconfig", "", "How to reach the apiserver: to watch Nodes; with --reverse the kubelet's own"),
    FLAG_STRING(struct options, tunnel.socket, "socket", "/run/coracle-tunnel/tunnel.sock", "The unix socket that kube-apiserver's --tunnel-socket names"),
    FLAG_STRING(struct options, tunnel.socket_mode, "socket-mode", "0600", "Its permissions: whoever may open it reaches every node"),
    FLAG_STRING(struct options, tunnel.reach_label, "reach-label", "",
                "A Node label that says how the node is reached: direct (without a tunnel), ssh or reverse. Empty, or a Node without it: by tunnels alone"),
};

const struct flag tunnel_ssh_flags[] = {
    FLAG_STRING(struct tunnel_options, ssh_user, "ssh-user", "", "The user of SSH tunnels to nodes; empty: no SSH tunnels"),
    FLAG_STRING(struct tunnel_options, ssh_keyfile, "ssh-keyfile", "", "The private key of SSH tunnels; made when it is not there"),
    FLAG_STRING(struct tunnel_options, ssh_known_hosts_file, "ssh-known-hosts-file", "",
                "Pinned host keys of nodes, in OpenSSH's format; read again when it changes"),
    FLAG_BOOL(struct tunnel_options, ssh_annotation_host_keys, "ssh-annotation-host-keys", "true",
              "A node that is not in --ssh-known-hosts-file may name its host keys itself, once, by the annotation "
              "coracle.local/ssh-host-keys"),
    FLAG_INT(struct tunnel_options, ssh_port, "ssh-port", "22", "The port of the nodes' sshd"),
    FLAG_STRING(struct tunnel_options, ssh_address_types, "ssh-address-types", "ExternalIP,InternalIP,Hostname",
                "Which address of a node sshd is dialled at: the first that the Node has"),
};
const size_t tunnel_n_ssh_flags = ARRAY_SIZE(tunnel_ssh_flags);

static const struct flag reverse_flags[] = {
    FLAG_STRING(struct options, tunnel.reverse_address, "reverse-address", "", "Address and port where nodes open their tunnels (TLS); empty: none"),
    FLAG_STRING(struct options, tunnel.reverse_cert_file, "reverse-tls-cert-file", "", "Certificate chain of that port (PEM)"),
    FLAG_STRING(struct options, tunnel.reverse_key_file, "reverse-tls-private-key-file", "", "Its key"),
    FLAG_STRING(struct options, tunnel.reverse_client_ca_file, "reverse-client-ca-file", "", "CAs of the nodes' client certificates"),
};

static const struct flag agent_flags[] = {
    FLAG_BOOL(struct options, reverse, "reverse", "false", "Be the node's side: open tunnels to --server"),
    FLAG_STRINGS(struct options, servers, "server", "", "Where tunnel processes listen for nodes, host:port; a tunnel is opened to each"),
    FLAG_STRING(struct options, node_name, "node-name", "", "This node's name; empty takes the host's"),
    FLAG_STRING(struct options, allow_ports, "allow-loopback-ports", "10250", "Ports of 127.0.0.1 and ::1 that tunnels may reach"),
    FLAG_STRINGS(struct options, allow_ranges, "allow-ranges", "", "Ranges that tunnels may reach besides the Node's podCIDRs and its own addresses"),
};

static const struct flag key_flags[] = {
    FLAG_STRING(struct options, public_key_file, "public-key-file", "", "authorize, deauthorize: the tunnel's public key (KEYFILE.pub); pin: the host's"),
    FLAG_STRING(struct options, host, "host", "", "pin: the node's address or name, to be written to --ssh-known-hosts-file with --ssh-port"),
    FLAG_STRING(struct options, user, "user", "", "authorize, deauthorize: the user whose ~/.ssh/authorized_keys it is"),
    FLAG_STRING(struct options, authorized_keys_file, "authorized-keys-file", "", "authorize, deauthorize: another file than the user's"),
    FLAG_STRINGS(struct options, permit_open, "permit-open", "", "authorize: host:port targets that the key may reach; none: all that the node reaches"),
};

/* What both roles have. */
struct state {
    struct options *opt;
    struct loop *loop;
    struct client *client;
    struct informers *informers;
    struct loop_signal term, interrupt;
    struct tunnel *tunnel;
    struct agent *agents[MAX_AGENTS];
    size_t n_agents;
    struct tunnel_allow allow;
    struct arena arena;
    struct client_config config;
    struct net_tls_client *tls;
    struct loop_timer reload;
};

static void on_signal(void *arg)
{
    struct state *s = arg;
    log_info("tunnel: stopping");
    loop_stop(s->loop);
}

/* Two descriptors a tunnel and one a stream: as many as the system lets us have. No core dumps, no debugger (the key is in memory), and
 * none of an administrator's system calls, also for root. */
static bool prepare_process(const struct tunnel_options *o, struct err *err)
{
    const struct str read[] = { o->kubeconfig, o->ssh_known_hosts_file, o->reverse_cert_file, o->reverse_key_file, o->reverse_client_ca_file };
    const struct str write[] = { o->socket, o->ssh_keyfile };
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)prctl(PR_SET_DUMPABLE, 0);
#ifdef __SANITIZE_ADDRESS__
    (void)err; /* the sanitizers' tools need some of them */
    (void)read;
    (void)write;
    return true;
#else
    return o->sandbox.on ? sandbox_apply_files(&o->sandbox, read, ARRAY_SIZE(read), write, ARRAY_SIZE(write), 1u << CAP_NET_BIND_SERVICE, err)
                         : confine_calls(err);
#endif
}

static bool connect_client(struct state *s, const struct tunnel_options *o, struct err *err)
{
    char path[PATH_MAX];
    static const struct client_options client_options = { .user_agent = "coracle-tunnel/v1.36.0 (linux) coracle/" CORACLE_VERSION };
    if (!str_to_cstr(o->kubeconfig, path, sizeof(path)) || !path[0]) {
        return err_set(err, ERR_INVALID, "--kubeconfig is needed");
    }
    if (!kubeconfig_read(&s->arena, path, STR_NULL, &s->config, err)) {
        return false;
    }
    s->client = client_new(s->loop, &s->config, &client_options, err);
    s->informers = s->client ? informers_new(s->client) : NULL;
    return s->informers != NULL;
}

static bool begin(struct state *s, const struct tunnel_options *o, struct err *err)
{
    arena_init(&s->arena, 16u << 20);
    s->loop = loop_new(err);
    return s->loop && prepare_process(o, err) &&
           ((loop_signal_start(&s->term, s->loop, SIGTERM, on_signal, s) == 0 &&
             loop_signal_start(&s->interrupt, s->loop, SIGINT, on_signal, s) == 0) ||
            err_set(err, ERR_INTERNAL, "cannot wait for signals")) &&
           connect_client(s, o, err);
}

static int end(struct state *s, const struct err *failure)
{
    if (failure) {
        log_error("tunnel: %s", failure->msg);
    }
    for (size_t i = 0; i < s->n_agents; i++) {
        agent_free(s->agents[i]);
    }
    loop_timer_stop(&s->reload);
    tunnel_free(s->tunnel);
    informers_free(s->informers);
    client_free(s->client);
    net_tls_client_unref(s->tls);
    loop_signal_stop(&s->term);
    loop_signal_stop(&s->interrupt);
    loop_free(s->loop);
    arena_deinit(&s->arena);
    return failure ? 1 : 0;
}

/* ---- the tunnel process ---- */

static void on_synced(void *arg)
{
    struct state *s = arg;
    tunnel_synced(s->tunnel);
}

static bool start_tunnel(struct state *s, const struct tunnel_options *o, struct err *err)
{
    char mode[8];
    struct tunnel_config c = {
        .socket = o->socket, .ssh_user = o->ssh_user, .ssh_keyfile = o->ssh_keyfile, .ssh_known_hosts_file = o->ssh_known_hosts_file,
        .ssh_port = (uint16_t)o->ssh_port, .ssh_address_types = o->ssh_address_types, .ssh_annotation_keys = o->ssh_annotation_host_keys,
        .reach_label = o->reach_label,
        .reverse_address = o->reverse_address, .tls_cert_file = o->reverse_cert_file, .tls_private_key_file = o->reverse_key_file,
        .client_ca_file = o->reverse_client_ca_file,
    };
    char *rest = mode;
    if (!str_to_cstr(o->socket_mode, mode, sizeof(mode)) || (c.socket_mode = (uint32_t)strtoul(mode, &rest, 8)) > 0777 || *rest ||
        c.socket_mode == 0) {
        return err_set(err, ERR_INVALID, "--socket-mode \"%.*s\" is no mode such as 0660", STR_ARG(o->socket_mode));
    }
    if (o->ssh_port < 1 || o->ssh_port > 65535) {
        return err_set(err, ERR_INVALID, "--ssh-port %lld is no port", (long long)o->ssh_port);
    }
    if (str_empty(o->ssh_user) && str_empty(o->reverse_address)) {
        return err_set(err, ERR_INVALID, "--ssh-user (SSH tunnels), --reverse-address (nodes open them) or both are needed");
    }
    s->tunnel = tunnel_new(s->loop, s->client, s->informers, &c, err);
    if (!s->tunnel) {
        return false;
    }
    informers_start(s->informers, on_synced, s);
    return true;
}

int tunnel_process_run(const struct tunnel_options *o)
{
    struct state s = { 0 };
    struct err err = { 0 };
    if (!begin(&s, o, &err) || !start_tunnel(&s, o, &err)) {
        return end(&s, &err);
    }
    loop_run(s.loop);
    return end(&s, NULL);
}

/* ---- the agent ---- */

static void on_node(void *data, const void *old UNUSED, const void *obj)
{
    struct state *s = data;
    const struct core_v1_node *n = obj;
    struct str ranges[ALLOW_MAX_RANGES];
    size_t count = 0;
    struct err err;
    for (size_t i = 0; i < s->opt->allow_ranges.n && count < ARRAY_SIZE(ranges); i++) {
        ranges[count++] = s->opt->allow_ranges.items[i];
    }
    for (size_t i = 0; n && i < n->spec.n_pod_cidrs && count < ARRAY_SIZE(ranges); i++) {
        ranges[count++] = n->spec.pod_cidrs[i];
    }
    if (n && n->spec.n_pod_cidrs == 0 && !str_empty(n->spec.pod_cidr) && count < ARRAY_SIZE(ranges)) {
        ranges[count++] = n->spec.pod_cidr;
    }
    if (!allow_ranges(&s->allow, ranges, count, &err)) {
        log_warning("tunnel: the ranges that tunnels may reach stay as they were: %s", err.msg);
    }
}

static struct net_tls_client_config tls_of(const struct client_config *c)
{
    return (struct net_tls_client_config){ .ca_pem = c->ca_pem, .alpn = NET_ALPN_H2,
                                           .identity = { .cert_pem = c->client_cert_pem, .key_pem = c->client_key_pem } };
}

/* The kubelet's certificate is renewed now and then. */
static void on_reload(void *arg)
{
    struct state *s = arg;
    struct arena a;
    struct client_config fresh;
    struct err err;
    char path[PATH_MAX];
    arena_init(&a, 8u << 20);
    if (str_to_cstr(s->opt->tunnel.kubeconfig, path, sizeof(path)) && kubeconfig_read(&a, path, STR_NULL, &fresh, &err)) {
        struct net_tls_client_config c = tls_of(&fresh);
        if (!net_tls_client_reload(s->tls, &c, &err)) {
            log_warning("tunnel: our certificate cannot be read again, the old one stays: %s", err.msg);
        }
    }
    arena_deinit(&a);
    loop_timer_start(&s->reload, AGENT_RELOAD_MS);
}

static bool start_agents(struct state *s, struct err *err)
{
    static const char *const fields[] = { "spec.podCIDR", "spec.podCIDRs", NULL };
    struct options *o = s->opt;
    char host[256], selector[300];
    if (gethostname(host, sizeof(host) - 1) < 0) {
        return err_set_errno(err, errno, "--node-name is not given, and the host's name");
    }
    if (o->servers.n == 0 || o->servers.n > MAX_AGENTS) {
        return err_set(err, ERR_INVALID, "--reverse needs --server, one to %d of them", MAX_AGENTS);
    }
    if (str_empty(s->config.client_cert_pem) || str_empty(s->config.ca_pem)) {
        return err_set(err, ERR_INVALID, "--kubeconfig has no client certificate of the node, or no CA");
    }
    if (!allow_ports(&s->allow, o->allow_ports, err) || !allow_ranges(&s->allow, o->allow_ranges.items, o->allow_ranges.n, err)) {
        return false;
    }
    struct net_tls_client_config c = tls_of(&s->config);
    s->tls = net_tls_client_new(&c, err);
    for (size_t i = 0; s->tls && i < o->servers.n; i++) {
        struct agent_config ac = { .server = o->servers.items[i], .tls = s->tls, .allow = &s->allow };
        s->agents[i] = agent_new(s->loop, &ac, err);
        if (!s->agents[i]) {
            return false;
        }
        s->n_agents++;
    }
    (void)snprintf(selector, sizeof(selector), "metadata.name=%.*s", STR_ARG(str_empty(o->node_name) ? str_c(host) : o->node_name));
    struct informer_spec spec = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")), .field_selector = str_c(selector),
                                  .fields = fields };
    (void)informers_get(s->informers, &spec, on_node, s);
    informers_start(s->informers, NULL, NULL);
    loop_timer_init(&s->reload, s->loop, on_reload, s);
    loop_timer_start(&s->reload, AGENT_RELOAD_MS);
    return s->tls != NULL;
}

static int run_agent(struct options *o)
{
    struct state s = { .opt = o };
    struct err err = { 0 };
    if (!begin(&s, &o->tunnel, &err) || !start_agents(&s, &err)) {
        return end(&s, &err);
    }
    loop_run(s.loop);
    return end(&s, NULL);
}

/* ---- authorized_keys ---- */

static bool keys_place(const struct options *o, char path[PATH_MAX], uid_t *uid, gid_t *gid, struct err *err)
{
    char user[256];
    *uid = geteuid();
    *gid = getegid();
    if (!str_to_cstr(o->user, user, sizeof(user)) || (!user[0] && str_empty(o->authorized_keys_file))) {
        return err_set(err, ERR_INVALID, "--user or --authorized-keys-file is needed");
    }
    const struct passwd *pw = user[0] ? getpwnam(user) : NULL;
    if (user[0] && !pw) {
        return err_set(err, ERR_NOT_FOUND, "there is no user \"%s\"", user);
    }
    if (pw) {
        *uid = pw->pw_uid;
        *gid = pw->pw_gid;
    }
    if (!str_empty(o->authorized_keys_file)) {
        return str_to_cstr(o->authorized_keys_file, path, PATH_MAX) || err_set(err, ERR_INVALID, "--authorized-keys-file is too long");
    }
    return snprintf(path, PATH_MAX, "%s/.ssh/authorized_keys", pw->pw_dir) < PATH_MAX || err_set(err, ERR_INVALID, "the path is too long");
}

static int change_keys(const struct options *o, bool add)
{
    char path[PATH_MAX], pub[PATH_MAX];
    uid_t uid;
    gid_t gid;
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf key;
    buf_init(&key, TUNNEL_MAX_KEY_FILE);
    if (!str_to_cstr(o->public_key_file, pub, sizeof(pub)) || !pub[0]) {
        fprintf(stderr, "Error: --public-key-file is needed\n");
        return 1;
    }
    bool ok = fs_read(pub, TUNNEL_MAX_KEY_FILE, &key, &err) && keys_place(o, path, &uid, &gid, &err) &&
              (add ? authorized_keys_install(path, uid, gid, buf_str(&key), o->permit_open.items, o->permit_open.n, &err)
                   : authorized_keys_uninstall(path, buf_str(&key), &err));
    if (!ok) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    printf("%s: the key is %s\n", path, add ? "authorized for port forwarding only" : "not authorized");
    return 0;
}

static int pin_host(const struct options *o)
{
    char path[PATH_MAX], pub[PATH_MAX], name[KNOWN_NAME_SIZE];
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf key, old, fresh;
    buf_init(&key, TUNNEL_MAX_KEY_FILE);
    buf_init(&old, TUNNEL_MAX_KNOWN_HOSTS);
    buf_init(&fresh, TUNNEL_MAX_KNOWN_HOSTS);
    if (!str_to_cstr(o->public_key_file, pub, sizeof(pub)) || !pub[0] || str_empty(o->host) ||
        !str_to_cstr(o->tunnel.ssh_known_hosts_file, path, sizeof(path)) || !path[0]) {
        fprintf(stderr, "Error: --host, --public-key-file and --ssh-known-hosts-file are needed\n");
        return 1;
    }
    bool ok = fs_read(pub, TUNNEL_MAX_KEY_FILE, &key, &err) &&
              (fs_read(path, TUNNEL_MAX_KNOWN_HOSTS, &old, &err) || err.code == ERR_NOT_FOUND) &&
              known_hosts_pin(buf_str(&old), known_name(o->host, (uint16_t)o->tunnel.ssh_port, name), buf_str(&key), &fresh, &err) &&
              (str_eq(buf_str(&old), buf_str(&fresh)) || fs_write_atomic(path, buf_str(&fresh), 0644, &err));
    if (!ok) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    printf("%s: %s is pinned\n", path, name);
    return 0;
}

int coracle_tunnel_main(int argc, char **argv)
{
    static struct options opt;
    const struct flag_section sections[] = {
        { "Tunnel process", front_flags, ARRAY_SIZE(front_flags), &opt },
        { "SSH tunnels", tunnel_ssh_flags, ARRAY_SIZE(tunnel_ssh_flags), &opt.tunnel },
        { "Reverse tunnels, the apiserver's side", reverse_flags, ARRAY_SIZE(reverse_flags), &opt },
        { "Reverse tunnels, the node's side", agent_flags, ARRAY_SIZE(agent_flags), &opt },
        { "Keys of nodes", key_flags, ARRAY_SIZE(key_flags), &opt },
        { "Sandbox", sandbox_flags, sandbox_n_flags, &opt.tunnel.sandbox },
    };
    const struct flag_program program = {
        .name = "coracle-tunnel", .about = "Carries the apiserver's connections to nodes: by SSH, or by tunnels that nodes open.",
        .sections = sections, .n_sections = ARRAY_SIZE(sections), .takes_arguments = true,
        .usage = "coracle tunnel [flags]\n  coracle tunnel --reverse --server=HOST:PORT [flags]\n  coracle tunnel authorize|deauthorize|pin [flags]",
    };
    struct flag_result flags;
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    if (flags.n_args == 1 && (strcmp(flags.args[0], "authorize") == 0 || strcmp(flags.args[0], "deauthorize") == 0)) {
        return change_keys(&opt, flags.args[0][0] == 'a');
    }
    if (flags.n_args == 1 && strcmp(flags.args[0], "pin") == 0) {
        return pin_host(&opt);
    }
    if (flags.n_args > 0) {
        fprintf(stderr, "Error: \"%s\" is none of authorize, deauthorize, pin\n", flags.args[0]);
        return 1;
    }
    return opt.reverse ? run_agent(&opt) : tunnel_process_run(&opt.tunnel);
}
