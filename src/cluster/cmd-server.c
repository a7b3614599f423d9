/* coracle server, and `coracle host`, which is what coracle.service runs. */
#include "cluster/command.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/flags.h"
#include "base/fs.h"
#include "cluster/host-prepare.h"
#include "cluster/host-run.h"
#include "cluster/host-start.h"
#include "cluster/token.h"
#include "net/addr.h"

struct server_options {
    struct str address, name, pod_cidr, service_cidr, domain, etcd_ca, etcd_cert, etcd_key, ssh_user;
    struct flag_strings etcd_servers, names;
    int64_t port, ssh_port, reverse_port, wait_ms;
    bool node, tunnels, foreground;
};

static const struct flag server_flags[] = {
    FLAG_BOOL(struct server_options, node, "node", "false", "This host also runs pods."),
    FLAG_STRING(struct server_options, address, "advertise-address", "",
                "The address where nodes find this server; empty takes the one of the default route."),
    FLAG_INT(struct server_options, port, "port", "6443", "The port of the API."),
    FLAG_STRINGS(struct server_options, names, "tls-san", "",
                 "Further names and addresses of this server, for its certificate."),
    FLAG_STRING(struct server_options, name, "node-name", "",
                "With --node: the name of the node; empty takes the host's."),
    FLAG_STRING(struct server_options, pod_cidr, "cluster-cidr", CLUSTER_POD_CIDR,
                "Where pods' addresses come from, a /24 for each node."),
    FLAG_STRING(struct server_options, service_cidr, "service-cidr", CLUSTER_SERVICE_CIDR,
                "Where Services' addresses come from."),
    FLAG_STRING(struct server_options, domain, "cluster-domain", CLUSTER_DOMAIN, "The cluster's DNS domain."),
    FLAG_STRINGS(struct server_options, etcd_servers, "etcd-servers", "",
                 "Keeps objects in this etcd, https://host:2379,…; empty keeps them in SQLite on this host."),
    FLAG_STRING(struct server_options, etcd_ca, "etcd-cafile", "", "The CA of etcd's certificates."),
    FLAG_STRING(struct server_options, etcd_cert, "etcd-certfile", "", "Our certificate for etcd."),
    FLAG_STRING(struct server_options, etcd_key, "etcd-keyfile", "", "Its key."),
    FLAG_BOOL(struct server_options, tunnels, "tunnels", "true",
              "Nodes may join with --ssh-tunnel and --reverse-tunnel; false runs no tunnel process and connects to all "
              "nodes directly."),
    FLAG_STRING(struct server_options, ssh_user, "ssh-user", HOST_SSH_USER,
                "The user at nodes that are reached by SSH."),
    FLAG_INT(struct server_options, ssh_port, "ssh-port", "22", "The port of these nodes' sshd."),
    FLAG_INT(struct server_options, reverse_port, "reverse-port", "8132",
             "The port where nodes open their reverse tunnels."),
    FLAG_BOOL(struct server_options, foreground, "foreground", "false", "Runs here instead of by systemd."),
    FLAG_DURATION(struct server_options, wait_ms, "wait", "60s", "How long to wait for the API when systemd runs it."),
};

static bool take_text(const struct flag_result *flags, bool known, const char *flag, struct str value, char *dst,
                      size_t size, struct err *err)
{
    if (known && !flags_changed(flags, flag)) {
        return true;
    }
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.ptr[i] <= ' ') {
            return err_set(err, ERR_INVALID, "--%s may hold no blanks", flag);
        }
    }
    return str_to_cstr(value, dst, size) || err_set(err, ERR_INVALID, "--%s is too long", flag);
}

static bool take_list(const struct flag_result *flags, bool known, const char *flag, const struct flag_strings *values,
                      char *dst, size_t size, struct err *err)
{
    struct buf b;
    buf_init(&b, size);
    for (size_t i = 0; i < values->n; i++) {
        buf_printf(&b, "%s%.*s", i ? "," : "", STR_ARG(values->items[i]));
    }
    bool ok = buf_failed(&b) ? err_set(err, ERR_INVALID, "--%s is too long", flag)
                             : take_text(flags, known, flag, buf_str(&b), dst, size, err);
    buf_deinit(&b);
    return ok;
}

static bool take_port(const struct flag_result *flags, bool known, const char *flag, int64_t value, uint16_t *dst,
                      struct err *err)
{
    if (known && !flags_changed(flags, flag)) {
        return true;
    }
    *dst = (uint16_t)value;
    return (value >= 1 && value <= 65535) || err_set(err, ERR_INVALID, "--%s takes 1 to 65535", flag);
}

/* What was given wins over what this host was before, and that over the defaults. */
static bool configure(const struct server_options *o, const struct flag_result *f, bool known, struct host *h,
                      struct err *err)
{
    struct net_addr addr;
    char first[64];
    if (known && !h->server) {
        return err_set(err, ERR_CONFLICT, "this host is a node of %s: coracle leave takes it out first", h->server_url);
    }
    h->server = true;
    if (!known || flags_changed(f, "node")) {
        h->node = o->node;
    }
    if (!known || flags_changed(f, "tunnels")) {
        h->tunnels = o->tunnels;
    }
    if (!take_text(f, known, "advertise-address", o->address, h->address, sizeof(h->address), err) ||
        !take_text(f, known, "node-name", o->name, h->name, sizeof(h->name), err) ||
        !take_text(f, known, "cluster-cidr", o->pod_cidr, h->pod_cidr, sizeof(h->pod_cidr), err) ||
        !take_text(f, known, "service-cidr", o->service_cidr, h->service_cidr, sizeof(h->service_cidr), err) ||
        !take_text(f, known, "cluster-domain", o->domain, h->domain, sizeof(h->domain), err) ||
        !take_text(f, known, "etcd-cafile", o->etcd_ca, h->etcd_ca, sizeof(h->etcd_ca), err) ||
        !take_text(f, known, "etcd-certfile", o->etcd_cert, h->etcd_cert, sizeof(h->etcd_cert), err) ||
        !take_text(f, known, "etcd-keyfile", o->etcd_key, h->etcd_key, sizeof(h->etcd_key), err) ||
        !take_text(f, known, "ssh-user", o->ssh_user, h->ssh_user, sizeof(h->ssh_user), err) ||
        !take_list(f, known, "etcd-servers", &o->etcd_servers, h->etcd_servers, sizeof(h->etcd_servers), err) ||
        !take_list(f, known, "tls-san", &o->names, h->names, sizeof(h->names), err) ||
        !take_port(f, known, "port", o->port, &h->port, err) ||
        !take_port(f, known, "ssh-port", o->ssh_port, &h->ssh_port, err) ||
        !take_port(f, known, "reverse-port", o->reverse_port, &h->reverse_port, err) ||
        !flags_together(f, "etcd-certfile", "etcd-keyfile", err)) {
        return false;
    }
    if (!h->address[0] && !host_find_address(STR_NULL, h->address, err)) {
        return err_wrap(err, "--advertise-address");
    }
    if (!net_addr_parse_ip(str_c(h->address), h->port, &addr) || net_addr_is_local(&addr)) {
        return err_set(err, ERR_INVALID, "--advertise-address \"%s\" is no address that other hosts reach", h->address);
    }
    if (!h->name[0] && !host_find_name(h->name, err)) {
        return false;
    }
    if ((h->etcd_ca[0] && h->etcd_ca[0] != '/') || (h->etcd_cert[0] && h->etcd_cert[0] != '/') ||
        (h->etcd_key[0] && h->etcd_key[0] != '/')) {
        return err_set(err, ERR_INVALID, "--etcd-cafile, --etcd-certfile and --etcd-keyfile take absolute paths");
    }
    char text[NET_ADDR_TEXT_SIZE];
    (void)snprintf(h->server_url, sizeof(h->server_url), "https://%.*s", STR_ARG(net_addr_text(&addr, text)));
    return host_first_address(h->service_cidr, first, err) &&
           (host_first_address(h->pod_cidr, first, err) || err_wrap(err, "--cluster-cidr"));
}

/* A token is printed for a person alone: what is not a terminal may be a log. */
static void print_join(const struct host *h)
{
    struct arena a;
    struct client_config c;
    struct session s;
    struct err err;
    char token[BOOTSTRAP_TOKEN_SIZE];
    const struct str groups[] = { STR(HOST_TOKEN_GROUP) };
    const struct token_spec spec = { .token = token,
                                     .description = STR("made by coracle server"),
                                     .ttl_ms = TOKEN_DEFAULT_TTL_MS,
                                     .authentication = true,
                                     .signing = true,
                                     .groups = groups,
                                     .n_groups = 1 };
    printf("\nThe server is up: %s\n  kubectl --kubeconfig " HOST_ADMIN_CONF " get nodes\n", h->server_url);
    if (!isatty(STDOUT_FILENO)) {
        printf("Hosts join by what this prints:\n  coracle token create --print-join-command\n");
        fflush(stdout);
        return;
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 8192);
    arena_init(&a, ARENA_NO_BUDGET);
    bootstrap_token_make(token);
    bool ok = host_admin_config(h, &a, &c, &err) && session_open_as(&s, &c, &err);
    if (ok) {
        ok = token_create(&s, &spec, &err);
        session_close(&s);
    }
    c.server = str_c(h->server_url);
    ok = ok && token_join_command(&c, token, &b, &err);
    if (ok) {
        printf("Hosts join within 24 hours by\n  %.*s\n(more: coracle token --help)\n", STR_ARG(buf_str(&b)));
    } else {
        printf("Hosts join by what this prints: coracle token create --print-join-command (%s)\n", err.msg);
    }
    fflush(stdout);
    arena_deinit(&a);
}

static int run(int argc, char **argv)
{
    static struct server_options o;
    static struct host h;
    static struct machine m;
    const struct flag_section sections[] = { { "server", server_flags, ARRAY_SIZE(server_flags), &o } };
    const struct flag_program program = { .name = "coracle server",
                                          .about = "Makes this host the server of a cluster that stays: API server, "
                                                   "managers, scheduler, and tunnels to nodes.",
                                          .sections = sections,
                                          .n_sections = 1 };
    struct flag_result flags;
    struct progress p;
    struct err err = { .code = ERR_NONE };
    bool known;
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    umask(022); /* the programs run as users of their own and must reach their files */
    progress_begin(&p);
    if (!host_start_check(&h, &known, &err) || !host_start_can(o.foreground, &err) ||
        !configure(&o, &flags, known, &h, &err) ||
        (h.node && (!fs_mkdirs(PLACE_STATE_ROOT, 0755, &err) || !host_start_needs_nft(&err) ||
                    !machine_inspect(&m, PLACE_STATE_ROOT, true, false, &err))) ||
        !host_prepare(&h, &m, &err)) {
        progress_fail(&p, "%s", err.msg);
        return 1;
    }
    progress_step(&p, "files: " HOST_CONF_FILE ", certificates, programs");
    return host_start(&h, &m, o.foreground, &p, o.wait_ms, print_join);
}

const struct cluster_command cluster_cmd_server = { .name = "server",
                                                    .about = "make this host the server of a cluster that stays",
                                                    .run = run };

static int run_host(int argc, char **argv)
{
    static struct host h;
    static struct machine m;
    const struct flag_program program = { .name = "coracle host",
                                          .about =
                                              "Runs the programs that this host's configuration (" HOST_CONF_FILE ") "
                                              "names, in the foreground: what coracle.service does." };
    struct flag_result flags;
    struct err err = { .code = ERR_NONE };
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    umask(022);
    if (!host_load(&h, &err)) {
        fprintf(stderr, "Error: %s\n",
                err.code == ERR_NOT_FOUND ? "this host is neither server nor node: coracle server, coracle join"
                                          : err.msg);
        return 1;
    }
    if ((h.node && !machine_inspect(&m, PLACE_STATE_ROOT, true, false, &err)) || !host_prepare(&h, &m, &err)) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    return host_run(&h, &m, NULL);
}

const struct cluster_command cluster_cmd_host = { .name = "host", .run = run_host };
