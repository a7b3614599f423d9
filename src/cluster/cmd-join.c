/* coracle join */
#include "cluster/command.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/flags.h"
#include "base/fs.h"
#include "client/cluster-info.h"
#include "cluster/discover.h"
#include "cluster/host-prepare.h"
#include "cluster/host-start.h"
#include "cluster/ssh-user.h"
#include "cluster/token-input.h"
#include "net/addr.h"

struct join_options {
    struct str token, token_file, name, address, reverse_server, host_keys;
    struct flag_strings pins;
    int64_t wait_ms;
    bool unsafe_without_pin, ssh, reverse, foreground;
};

static const struct flag join_flags[] = {
    FLAG_STRING(struct join_options, token, "token", "",
                "The bootstrap token; - reads it from standard input. Who may list processes reads it here: better are "
                "--token-file and $CORACLE_TOKEN."),
    FLAG_STRING(struct join_options, token_file, "token-file", "", "A file that holds the token."),
    FLAG_STRINGS(
        struct join_options, pins, "ca-pin", "",
        "sha256:HEX of the public key of the cluster's CA, as 'coracle token create --print-join-command' says it."),
    FLAG_BOOL(struct join_options, unsafe_without_pin, "unsafe-skip-ca-pin", "false",
              "Believes whoever knows the token: any host that ever joined with it can then pose as the server."),
    FLAG_STRING(struct join_options, name, "node-name", "", "The node's name; empty takes the host's."),
    FLAG_STRING(struct join_options, address, "node-ip", "",
                "The node's address; empty takes the one on the way to the server."),
    FLAG_BOOL(struct join_options, ssh, "ssh-tunnel", "false",
              "The server reaches this node by SSH alone: its key is authorized here, and this host's keys are pinned "
              "there."),
    FLAG_BOOL(struct join_options, reverse, "reverse-tunnel", "false",
              "The server has no way to this node (NAT): the node opens a tunnel to the server."),
    FLAG_STRING(
        struct join_options, reverse_server, "reverse-server", "",
        "With --reverse-tunnel: host:port of the server's end; empty takes the server's host and the port it says."),
    FLAG_STRING(struct join_options, host_keys, "ssh-host-keys", "/etc/ssh/ssh_host_*_key.pub",
                "With --ssh-tunnel: the files of sshd's public host keys."),
    FLAG_BOOL(struct join_options, foreground, "foreground", "false", "Runs here instead of by systemd."),
    FLAG_DURATION(struct join_options, wait_ms, "wait", "60s",
                  "How long to wait for the node's certificate when systemd runs it."),
};

/* "https://host:port" into '*ret_host'; the port is 6443 unless it is said. */
static bool take_server(const char *arg, struct host *h, char ret_host[256], struct err *err)
{
    struct str rest = str_c(arg), host;
    uint16_t port = CLUSTER_API_PORT;
    if (str_starts(rest, STR("https://"))) {
        rest = str_n(rest.ptr + 8, rest.len - 8);
    } else if (str_find_char(rest, '/') >= 0) {
        return err_set(err, ERR_INVALID, "\"%s\" is no https:// address of a server", arg);
    }
    if (rest.len > 1 && rest.ptr[rest.len - 1] == '/') {
        rest.len--;
    }
    if (!net_split_host_port(rest, &host, &port) || str_empty(host) || str_find_char(host, '/') >= 0 ||
        !str_to_cstr(host, ret_host, 256)) {
        return err_set(err, ERR_INVALID, "\"%s\" is no https:// address of a server", arg);
    }
    h->port = port;
    (void)snprintf(h->server_url, sizeof(h->server_url), strchr(ret_host, ':') ? "https://[%s]:%u" : "https://%s:%u",
                   ret_host, port);
    return true;
}

static bool check(const struct join_options *o, const struct flag_result *flags, struct err *err)
{
    if (flags->n_args != 1) {
        return err_set(err, ERR_INVALID, "coracle join takes the server's address, https://HOST:6443");
    }
    for (size_t i = 0; i < o->pins.n; i++) {
        if (!cluster_info_is_pin(o->pins.items[i])) {
            return err_set(err, ERR_INVALID, "--ca-pin \"%.*s\" is not sha256: and 64 hexadecimal digits",
                           STR_ARG(o->pins.items[i]));
        }
    }
    if (o->pins.n == 0 && !o->unsafe_without_pin) {
        return err_set(err, ERR_INVALID,
                       "--ca-pin is needed: without it whoever knows the token can pose as the server "
                       "(--unsafe-skip-ca-pin takes that risk)");
    }
    if (o->pins.n && o->unsafe_without_pin) {
        return err_set(err, ERR_INVALID, "--ca-pin and --unsafe-skip-ca-pin contradict each other");
    }
    return flags_exclusive(flags, "ssh-tunnel", "reverse-tunnel", err);
}

static bool is_node_name(const char *s)
{
    size_t n = strlen(s);
    bool ok = n > 0 && n <= 253 && s[0] != '-' && s[0] != '.' && s[n - 1] != '-' && s[n - 1] != '.';
    for (; ok && *s; s++) {
        ok = (*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '-' || *s == '.';
    }
    return ok;
}

static bool configure(const struct join_options *o, const char *server_host, struct host *h, struct err *err)
{
    struct net_addr a;
    h->node = true;
    h->reach = o->ssh ? HOST_BY_SSH : o->reverse ? HOST_BY_REVERSE : HOST_DIRECT;
    if (str_empty(o->name) ? !host_find_name(h->name, err) : !str_to_cstr(o->name, h->name, sizeof(h->name))) {
        return str_empty(o->name) ? false : err_set(err, ERR_INVALID, "--node-name is too long");
    }
    if (!is_node_name(h->name)) {
        return err_set(err, ERR_INVALID,
                       "\"%s\" is no name for a node: a-z, 0-9, '-' and '.'; give another one with --node-name",
                       h->name);
    }
    if (!str_empty(o->address)) {
        return (str_to_cstr(o->address, h->address, sizeof(h->address)) && net_addr_parse_ip(o->address, 0, &a)) ||
               err_set(err, ERR_INVALID, "--node-ip \"%.*s\" is no address", STR_ARG(o->address));
    }
    /* A name: by the default route. */
    return host_find_address(net_addr_parse_ip(str_c(server_host), 0, &a) ? str_c(server_host) : STR_NULL, h->address,
                             err) ||
           err_wrap(err, "--node-ip");
}

static bool apply(const struct join_options *o, const struct discovery *d, const char *server_host, struct host *h,
                  struct err *err)
{
    if (h->reach != HOST_DIRECT && !d->tunnels) {
        return err_set(err, ERR_UNAVAILABLE, "the server has no tunnels (coracle server --tunnels)");
    }
    if (h->reach == HOST_BY_SSH && !str_to_cstr(d->ssh_user, h->ssh_user, sizeof(h->ssh_user))) {
        return err_set(err, ERR_INVALID, "the server's user for SSH has too long a name");
    }
    h->tunnels = false; /* the server's own business */
    h->reverse_port = d->reverse_port;
    if (h->reach == HOST_BY_REVERSE) {
        if (!str_empty(o->reverse_server)) {
            if (!str_to_cstr(o->reverse_server, h->reverse_server, sizeof(h->reverse_server))) {
                return err_set(err, ERR_INVALID, "--reverse-server is too long");
            }
        } else {
            (void)snprintf(h->reverse_server, sizeof(h->reverse_server), strchr(server_host, ':') ? "[%s]:%u" : "%s:%u",
                           server_host, d->reverse_port);
        }
    }
    return (str_to_cstr(d->pod_cidr, h->pod_cidr, sizeof(h->pod_cidr)) &&
            str_to_cstr(d->domain, h->domain, sizeof(h->domain))) ||
           err_set(err, ERR_INVALID, "the settings of the server are too long");
}

/* The token stays in this file, for the day when the node's certificate has ended and the token has not. */
static bool write_credentials(const struct host *h, const struct discovery *d, const char *token, struct err *err)
{
    char path[PATH_MAX];
    const struct client_config c = {
        .server = str_c(h->server_url), .ca_pem = d->ca_pem, .token = str_c(token), .namespace = STR("default")
    };
    path_of(path, "%s/conf", h->place.state);
    return fs_mkdirs(path, 0700, err) &&
           fs_write_atomic(path_of(path, "%s/conf/ca.crt", h->place.state), d->ca_pem, 0644, err) &&
           kubeconfig_write(path_of(path, "%s/conf/bootstrap.conf", h->place.state), STR("coracle"), &c, err);
}

static bool prepare_ssh(const struct join_options *o, const struct discovery *d, const char *token, struct host *h,
                        struct progress *p, struct err *err)
{
    char pattern[PATH_MAX];
    CLEANUP(buf_deinit) struct buf keys;
    buf_init(&keys, 65536);
    if (h->reach != HOST_BY_SSH) {
        return true;
    }
    if (!str_to_cstr(o->host_keys, pattern, sizeof(pattern)) || !ssh_user_host_keys(pattern, &keys, err) ||
        !ssh_user_authorize(h, d->ssh_public_key, &h->made_ssh_user, err) || !host_save(h, err)) {
        return false;
    }
    progress_step(p, "SSH: the server's key may forward connections as user %s", h->ssh_user);
    if (!discover_pin_host_keys(h->server_url, d->ca_pem, str_c(token), h->name, h->address, buf_str(&keys), err)) {
        return false;
    }
    progress_step(p, "SSH: this host's keys are pinned at the server");
    return true;
}

static void say_joined(const struct host *h)
{
    printf("\nThe node \"%s\" has joined %s.\n  kubectl get node %s   (on the server: kubectl "
           "--kubeconfig " HOST_ADMIN_CONF " …)\n",
           h->name, h->server_url, h->name);
    fflush(stdout);
}

/* What was read is taken out of the list of processes: with --foreground this one lives long. */
static bool hide(struct str token)
{
    memset((char *)(uintptr_t)token.ptr, 'x', token.len);
    return true;
}

/* Everything until the programs can be started. */
static bool join(const struct join_options *o, const struct flag_result *flags, struct arena *a, struct host *h,
                 struct machine *m, struct progress *p, struct err *err)
{
    struct discovery d;
    char token[BOOTSTRAP_TOKEN_SIZE], server_host[256];
    bool known;
    if (!check(o, flags, err) || !host_start_check(h, &known, err)) {
        return false;
    }
    if (known) {
        return err_set(err, ERR_CONFLICT,
                       "this host is %s already: coracle host goes on with it, coracle leave takes it out first",
                       h->server ? "a server" : "a node");
    }
    if (!host_start_can(o->foreground, err) || !token_input(o->token, o->token_file, token, err) || !hide(o->token) ||
        !take_server(flags->args[0], h, server_host, err) || !configure(o, server_host, h, err) ||
        !fs_mkdirs(PLACE_STATE_ROOT, 0755, err) || !host_start_needs_nft(err) ||
        !machine_inspect(m, PLACE_STATE_ROOT, true, false, err) ||
        !discover(h->server_url, str_c(token), o->pins.items, o->pins.n, a, &d, err)) {
        return false;
    }
    progress_step(p, "server: %s, its CA is the one that %s", h->server_url,
                  o->pins.n ? "was pinned" : "the token vouches for");
    if (!apply(o, &d, server_host, h, err)) {
        return false;
    }
    bool ok = host_prepare(h, m, err) && write_credentials(h, &d, token, err);
    if (ok) {
        progress_step(p, "files: " HOST_CONF_FILE ", programs, images");
        ok = prepare_ssh(o, &d, token, h, p, err);
    }
    explicit_bzero(token, sizeof(token));
    if (!ok) {
        char why[sizeof(err->msg)];
        (void)snprintf(why, sizeof(why), "%s", err->msg);
        err_set(err, err->code, "%.900s; before the next try: coracle leave", why);
    }
    return ok;
}

static int run(int argc, char **argv)
{
    static struct join_options o;
    static struct host h;
    static struct machine m;
    const struct flag_section sections[] = { { "join", join_flags, ARRAY_SIZE(join_flags), &o } };
    const struct flag_program program = { .name = "coracle join",
                                          .about = "Makes this host a node of a cluster that stays.",
                                          .usage = "coracle join https://HOST:6443 --ca-pin sha256:… [flags]",
                                          .sections = sections,
                                          .n_sections = 1,
                                          .takes_arguments = true };
    struct flag_result flags;
    struct progress p;
    struct arena a;
    struct err err = { .code = ERR_NONE };
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    umask(022);
    progress_begin(&p);
    arena_init(&a, 64u << 20);
    bool ok = join(&o, &flags, &a, &h, &m, &p, &err);
    arena_deinit(&a);
    if (!ok) {
        progress_fail(&p, "%s", err.msg);
        return 1;
    }
    return host_start(&h, &m, o.foreground, &p, o.wait_ms, say_joined);
}

const struct cluster_command cluster_cmd_join = { .name = "join",
                                                  .about = "make this host a node of a cluster that stays",
                                                  .run = run };
