#include "tunnel/tunnel.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "api/gen/core_v1.h"
#include "api/json-writer.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "client/path-report.h"
#include "net/addr.h"
#include "tunnel/direct-link.h"
#include "tunnel/front.h"
#include "tunnel/hub.h"
#include "tunnel/limits.h"
#include "tunnel/node-table.h"
#include "tunnel/report.h"
#include "tunnel/ssh-key.h"
#include "tunnel/ssh-lib.h"
#include "tunnel/ssh-link.h"

enum { TICK_MS = 2000, SYNC_TICKS = 5, MAX_CLAIMS = 64 };

#define HOST_KEYS_ANNOTATION "coracle.local/ssh-host-keys"

static struct metric sync_latency = METRIC_GAUGE("apiserver_proxy_tunnel_sync_latency_secs",
                                                 "The time since the last successful synchronization of the SSH tunnels for proxy requests.");
static struct metric tunnels_open = METRIC_GAUGE("coracle_tunnels_open", "Tunnels that are open now.", "direction");
static struct metric tunnel_streams = METRIC_GAUGE("coracle_tunnel_connections", "Connections on the unix socket now.");

struct node {
    struct tunnel *tunnel;
    char *name;
    char address[256]; /* of the kubelet, as the node sees it; what the node's name means inside the tunnel */
    struct tunnel_link *ssh, *reverse, *direct;
};

struct tunnel {
    struct loop *loop;
    struct arena arena;
    struct tunnel_config config;
    struct client *client;
    struct informer *informer;
    struct map nodes;
    struct node_table *table;
    struct ssh_links ssh;
    struct buf public_key;
    struct hub *hub;
    struct front *front;
    bool synced;
    int64_t last_sync_s;
    unsigned ticks;
    struct loop_timer sync;
    struct client_call *sync_call;
    struct timespec known_hosts_mtime;
};

static bool has_ssh(const struct tunnel *t)
{
    return t->ssh.lib != NULL;
}

/* ---- known hosts ---- */

/* Reads the file when it has changed. A file that cannot be read leaves the old keys in force. */
static bool load_known_hosts(struct tunnel *t, struct err *err)
{
    char path[4096];
    struct stat st;
    size_t pos = 0;
    struct str key;
    void *value;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, TUNNEL_MAX_KNOWN_HOSTS);
    if (!str_to_cstr(t->config.ssh_known_hosts_file, path, sizeof(path)) || !path[0]) {
        return true;
    }
    if (stat(path, &st) == 0 && t->ssh.known_hosts && st.st_mtim.tv_sec == t->known_hosts_mtime.tv_sec &&
        st.st_mtim.tv_nsec == t->known_hosts_mtime.tv_nsec) {
        return true;
    }
    if (!fs_read(path, TUNNEL_MAX_KNOWN_HOSTS, &b, err)) {
        return false;
    }
    struct known_hosts *fresh = known_hosts_parse(buf_str(&b), err);
    if (!fresh) {
        return false;
    }
    t->known_hosts_mtime = st.st_mtim;
    known_hosts_free(t->ssh.known_hosts);
    t->ssh.known_hosts = fresh;
    log_info("tunnel: %zu host keys are known from %s%s", known_hosts_count(fresh), path,
             known_hosts_bad_lines(fresh) ? "; some lines cannot be used" : "");
    while (map_next(&t->nodes, &pos, &key, &value)) {
        struct node *n = value;
        if (n->ssh) {
            ssh_link_try_now(n->ssh);
        }
    }
    return true;
}

/* ---- nodes ---- */

static struct str address_of(const struct core_v1_node *n, struct str type)
{
    for (size_t i = 0; i < n->status.n_addresses; i++) {
        if (str_eq(n->status.addresses[i].type, type)) {
            return n->status.addresses[i].address;
        }
    }
    return STR_EMPTY;
}

static struct str dialled_address(const struct tunnel *t, const struct core_v1_node *n)
{
    struct str rest = t->config.ssh_address_types, type, found = STR_EMPTY;
    while (str_empty(found) && str_split(&rest, ',', &type)) {
        found = address_of(n, str_trim(type));
    }
    return found;
}

static struct str annotation(const struct core_v1_node *n, struct str key)
{
    for (size_t i = 0; i < n->metadata.n_annotations; i++) {
        if (str_eq(n->metadata.annotations[i].key, key)) {
            return n->metadata.annotations[i].value;
        }
    }
    return STR_EMPTY;
}

static struct str reach_of(const struct tunnel *t, const struct core_v1_node *n)
{
    for (size_t i = 0; !str_empty(t->config.reach_label) && i < n->metadata.n_labels; i++) {
        if (str_eq(n->metadata.labels[i].key, t->config.reach_label)) {
            return n->metadata.labels[i].value;
        }
    }
    return STR_EMPTY;
}

/* The links that the node's label wants; one without a label has all kinds of tunnels, and never the direct way. */
static void make_links(struct tunnel *t, struct node *node, struct str reach)
{
    bool direct = str_eq_c(reach, "direct"), ssh = has_ssh(t) && !direct && !str_eq_c(reach, "reverse");
    bool reverse = !str_empty(t->config.reverse_address) && !direct && !str_eq_c(reach, "ssh");
    struct str name = str_c(node->name);
    node->direct = direct ? (node->direct ? node->direct : direct_link_new(t->loop, name)) : tunnel_link_free(node->direct);
    node->ssh = ssh ? (node->ssh ? node->ssh : ssh_link_new(&t->ssh, name)) : tunnel_link_free(node->ssh);
    node->reverse = reverse ? (node->reverse ? node->reverse : reverse_link_new(t->loop, name)) : tunnel_link_free(node->reverse);
}

static void claim_addresses(struct tunnel *t, struct node *node, const struct core_v1_node *n)
{
    struct str addresses[MAX_CLAIMS], one = n->spec.pod_cidr;
    struct node_claims c = { .name = n->metadata.name, .addresses = addresses };
    for (size_t i = 0; i < n->status.n_addresses && c.n_addresses < MAX_CLAIMS; i++) {
        addresses[c.n_addresses++] = n->status.addresses[i].address;
    }
    c.cidrs = n->spec.n_pod_cidrs ? n->spec.pod_cidrs : &one;
    c.n_cidrs = n->spec.n_pod_cidrs ? n->spec.n_pod_cidrs : !str_empty(one);
    node_table_put(t->table, &c, node);
}

static void put_node(struct tunnel *t, const struct core_v1_node *n)
{
    struct node *node = map_get(&t->nodes, n->metadata.name);
    struct str kubelet = address_of(n, STR("InternalIP"));
    int32_t port = n->status.daemon_endpoints.kubelet_endpoint.port;
    if (!node) {
        node = calloc(1, sizeof(*node));
        if (!node || !(node->name = strndup(n->metadata.name.ptr, n->metadata.name.len))) {
            abort();
        }
        node->tunnel = t;
        map_put(&t->nodes, n->metadata.name, node);
    }
    make_links(t, node, reach_of(t, n));
    if (str_empty(kubelet)) {
        kubelet = dialled_address(t, n);
    }
    (void)snprintf(node->address, sizeof(node->address), "%.*s", STR_ARG(kubelet));
    claim_addresses(t, node, n);
    uint16_t kubelet_port = port > 0 && port <= 65535 ? (uint16_t)port : 0;
    if (node->ssh) {
        struct ssh_target target = {
            .address = dialled_address(t, n), .names = { n->metadata.name, address_of(n, STR("Hostname")), kubelet }, .n_names = 3,
            .kubelet_host = kubelet, .kubelet_port = kubelet_port,
            .annotation = annotation(n, STR(HOST_KEYS_ANNOTATION)),
        };
        ssh_link_set_target(node->ssh, &target);
    }
    if (node->reverse) {
        reverse_link_set_kubelet(node->reverse, kubelet, kubelet_port);
    }
    if (node->direct) {
        direct_link_set_kubelet(node->direct, kubelet, kubelet_port);
    }
}

static void free_node(struct node *node)
{
    tunnel_link_free(node->ssh);
    tunnel_link_free(node->reverse);
    tunnel_link_free(node->direct);
    free(node->name);
    free(node);
}

static void remove_node(struct tunnel *t, const struct core_v1_node *n)
{
    struct node *node = map_remove(&t->nodes, n->metadata.name);
    node_table_remove(t->table, n->metadata.name);
    if (node) {
        log_info("tunnel: %s: the Node is gone, and its tunnel with it", node->name);
        free_node(node);
    }
}

/* The informer tells of removals only when a list or a watch that succeeded says so. */
static void on_node(void *data, const void *old, const void *obj)
{
    struct tunnel *t = data;
    const struct core_v1_node *before = old, *now = obj;
    if (before && (!now || !str_eq(before->metadata.uid, now->metadata.uid))) {
        remove_node(t, before);
    }
    if (now) {
        put_node(t, now);
    }
}

static struct tunnel_link *find_reverse(void *arg, struct str name)
{
    struct tunnel *t = arg;
    struct node *node = map_get(&t->nodes, name);
    return node ? node->reverse : NULL;
}

/* ---- CONNECT ---- */

static struct tunnel_far *on_connect(void *arg, struct str host, uint16_t port, const struct tunnel_far_events *events,
                                     void *events_arg, struct err *err)
{
    struct tunnel *t = arg;
    struct net_addr addr;
    void *owner = NULL;
    if (!t->synced) {
        err_set(err, ERR_UNAVAILABLE, "the nodes are not known yet");
        return NULL;
    }
    switch (node_table_find(t->table, host, &owner)) {
    case NODE_UNKNOWN:
        err_set(err, ERR_UNAVAILABLE, "%.*s belongs to no node of the cluster: it is not reached through a tunnel", STR_ARG(host));
        return NULL;
    case NODE_AMBIGUOUS:
        err_set(err, ERR_UNAVAILABLE, "%.*s is claimed by more than one node: it is not connected to", STR_ARG(host));
        return NULL;
    case NODE_FOUND:
    default:
        break;
    }
    struct node *node = owner;
    /* A name is ours to read; what it would mean at the node is not known. */
    if (!net_addr_parse_ip(host, port, &addr) && node->address[0]) {
        host = str_c(node->address);
    }
    struct tunnel_link *link = node->reverse && (node->reverse->facts.state == TUNNEL_OPEN || !node->ssh) ? node->reverse : node->ssh;
    link = node->direct ? node->direct : link;
    if (!link) {
        err_set(err, ERR_UNAVAILABLE, "there are no tunnels to nodes: neither --ssh-user nor --reverse-address is given");
        return NULL;
    }
    return link->ops->open(link, host, port, events, events_arg, err);
}

/* ---- GET ---- */

static int64_t seconds_since_sync(const struct tunnel *t)
{
    return t->last_sync_s ? clock_real_s() - t->last_sync_s : -1;
}

static void count_open(struct tunnel *t, unsigned *ret_ssh, unsigned *ret_reverse)
{
    size_t pos = 0;
    struct str key;
    void *value;
    *ret_ssh = *ret_reverse = 0;
    while (map_next(&t->nodes, &pos, &key, &value)) {
        const struct node *n = value;
        *ret_ssh += n->ssh && n->ssh->facts.state == TUNNEL_OPEN;
        *ret_reverse += n->reverse && n->reverse->facts.state == TUNNEL_OPEN;
    }
}

static void write_metrics(struct tunnel *t, struct buf *b)
{
    unsigned ssh, reverse;
    int64_t since = seconds_since_sync(t);
    count_open(t, &ssh, &reverse);
    metric_set(metric_cell(&sync_latency), since < 0 ? (double)clock_real_s() : (double)since);
    metric_set(metric_cell(&tunnels_open, STR("ssh")), ssh);
    metric_set(metric_cell(&tunnels_open, STR("reverse")), reverse);
    metric_set(metric_cell(&tunnel_streams), front_connections(t->front));
    metrics_write(b);
}

static int write_health(struct tunnel *t, struct buf *b)
{
    int64_t since = seconds_since_sync(t);
    bool ok = t->synced && since >= 0 && since <= TUNNEL_SYNC_STALE_S;
    if (ok) {
        buf_append_c(b, "[+]SSH Tunnel Check ok\nhealthz check passed\n");
    } else {
        buf_printf(b, "[-]SSH Tunnel Check failed: the nodes %s\nhealthz check failed\n",
                   t->synced ? "were not listed with success lately" : "are not known yet");
    }
    return ok ? 200 : 500;
}

static void write_paths(struct tunnel *t, struct buf *b)
{
    size_t pos = 0;
    struct str key;
    void *value;
    bool first = true;
    buf_printf(b, "{\"synced\":%s,\"secondsSinceSync\":%lld,\"sshUser\":", t->synced ? "true" : "false",
               (long long)seconds_since_sync(t));
    json_write_string(b, str_c(t->ssh.user));
    buf_append_c(b, ",\"sshPublicKey\":");
    json_write_string(b, buf_str(&t->public_key));
    buf_append_c(b, ",\"tunnels\":[");
    while (map_next(&t->nodes, &pos, &key, &value)) {
        const struct node *n = value;
        struct tunnel_link *links[] = { n->ssh, n->reverse, n->direct };
        for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
            if (links[i]) {
                buf_append_c(b, first ? "\n" : ",\n");
                first = false;
                report_link(b, key, links[i]);
            }
        }
    }
    buf_append_c(b, "],\"parts\":[");
    CLEANUP(buf_deinit) struct buf more;
    buf_init(&more, 32u << 20); /* 8,192 nodes of 1 KiB, and room */
    pos = 0;
    while (map_next(&t->nodes, &pos, &key, &value)) {
        const struct node *n = value;
        struct tunnel_link *links[] = { n->ssh, n->reverse, n->direct };
        for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
            if (links[i]) {
                report_link_path(&more, key, links[i], &links[i]->facts);
            }
        }
        if (n->direct && direct_link_others(n->direct)->opened) {
            report_link_path(&more, key, n->direct, direct_link_others(n->direct));
        }
    }
    path_report_write(t->loop, "tunnel", buf_str(&more), b);
    buf_append_c(b, "]}\n");
}

static int on_get(void *arg, struct str path, struct buf *b, const char **ret_type)
{
    struct tunnel *t = arg;
    if (str_eq_c(path, "/livez")) {
        buf_append_c(b, "ok\n");
        return 200;
    }
    if (str_eq_c(path, "/healthz") || str_eq_c(path, "/readyz")) {
        return write_health(t, b);
    }
    if (str_eq_c(path, "/metrics")) {
        *ret_type = "text/plain; version=0.0.4; charset=utf-8";
        write_metrics(t, b);
        return 200;
    }
    if (str_eq_c(path, "/paths")) {
        *ret_type = "application/json";
        write_paths(t, b);
        return 200;
    }
    buf_append_c(b, "404: there are /healthz, /metrics and /paths\n");
    return 404;
}

static const struct front_ops front_ops = { .open = on_connect, .get = on_get };

/* ---- the sync ---- */

static void on_sync_answer(void *data, const struct client_answer *a)
{
    struct tunnel *t = data;
    t->sync_call = NULL;
    if (!a->err && a->http_status == 200) {
        t->last_sync_s = clock_real_s();
    } else {
        log_debug("tunnel: the nodes cannot be listed now, tunnels stay as they are: %s", a->err ? a->err->msg : "");
    }
}

/* Asks whether the apiserver still lists nodes for us: what the informer does between changes does not show it. */
static void on_sync(void *arg)
{
    struct tunnel *t = arg;
    struct err err;
    if (has_ssh(t) && !load_known_hosts(t, &err)) {
        log_warning("tunnel: known hosts cannot be read again, the old keys stay: %s", err.msg);
    }
    if (t->ticks++ % SYNC_TICKS == 0 && !t->sync_call) {
        t->sync_call = client_raw(t->client, STR("GET"), STR("/api/v1/nodes?limit=1&resourceVersion=0"), STR_NULL, STR_NULL,
                                  on_sync_answer, t);
    }
    loop_timer_start(&t->sync, TICK_MS);
}

void tunnel_synced(struct tunnel *t)
{
    t->synced = true;
    t->last_sync_s = clock_real_s();
}

/* ---- life ---- */

static bool start_ssh(struct tunnel *t, struct err *err)
{
    char path[4096];
    if (str_empty(t->config.ssh_user)) {
        return true;
    }
    if (!str_to_cstr(t->config.ssh_user, t->ssh.user, sizeof(t->ssh.user))) {
        return err_set(err, ERR_INVALID, "--ssh-user is too long");
    }
    if (!str_to_cstr(t->config.ssh_keyfile, path, sizeof(path)) || !path[0]) {
        return err_set(err, ERR_INVALID, "--ssh-user needs --ssh-keyfile");
    }
    const struct ssh_lib *lib = ssh_lib(err);
    if (!lib || !(t->ssh.key = tunnel_ssh_key(path, &t->public_key, err))) {
        return false;
    }
    ssh_links_start(&t->ssh);
    t->ssh.lib = lib;
    t->ssh.loop = t->loop;
    t->ssh.port = t->config.ssh_port ? t->config.ssh_port : 22;
    t->ssh.annotation_keys = t->config.ssh_annotation_keys;
    log_info("tunnel: SSH as user %s with key %.*s", t->ssh.user, STR_ARG(buf_str(&t->public_key)));
    if (str_empty(t->config.ssh_known_hosts_file) && !t->ssh.annotation_keys) {
        return err_set(err, ERR_INVALID, "without --ssh-known-hosts-file and without --ssh-annotation-host-keys no host key can be right");
    }
    return load_known_hosts(t, err);
}

static void copy_config(struct tunnel *t, const struct tunnel_config *c)
{
    struct str *texts[] = { &t->config.socket, &t->config.ssh_user, &t->config.ssh_keyfile, &t->config.ssh_known_hosts_file,
                            &t->config.ssh_address_types, &t->config.reach_label, &t->config.reverse_address, &t->config.tls_cert_file,
                            &t->config.tls_private_key_file, &t->config.client_ca_file };
    t->config = *c;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        *texts[i] = arena_str(&t->arena, *texts[i]);
    }
}

struct tunnel *tunnel_new(struct loop *l, struct client *client, struct informers *informers, const struct tunnel_config *config,
                          struct err *err)
{
    static const char *const fields[] = { "metadata.annotations", "metadata.labels", "spec.podCIDR", "spec.podCIDRs", "status.addresses",
                                          "status.daemonEndpoints", NULL };
    struct informer_spec spec = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")), .fields = fields };
    struct tunnel *t = calloc(1, sizeof(*t));
    if (!t) {
        abort();
    }
    arena_init(&t->arena, ARENA_NO_BUDGET);
    t->loop = l;
    t->client = client;
    copy_config(t, config);
    map_init(&t->nodes);
    t->table = node_table_new();
    buf_init(&t->public_key, TUNNEL_MAX_KEY_FILE);
    loop_timer_init(&t->sync, l, on_sync, t);
    if (!start_ssh(t, err)) {
        return tunnel_free(t);
    }
    if (!str_empty(t->config.reverse_address)) {
        struct hub_config hc = { t->config.reverse_address, t->config.tls_cert_file, t->config.tls_private_key_file,
                                 t->config.client_ca_file };
        t->hub = hub_new(l, &hc, find_reverse, t, err);
        if (!t->hub) {
            return tunnel_free(t);
        }
    }
    t->front = front_new(l, t->config.socket, t->config.socket_mode, &front_ops, t, err);
    if (!t->front) {
        return tunnel_free(t);
    }
    t->informer = informers_get(informers, &spec, on_node, t);
    loop_timer_start(&t->sync, TICK_MS);
    return t;
}

struct tunnel *tunnel_free(struct tunnel *t)
{
    size_t pos = 0;
    struct str key;
    void *value;
    if (!t) {
        return NULL;
    }
    loop_timer_stop(&t->sync);
    client_cancel(t->sync_call);
    front_free(t->front);
    hub_free(t->hub);
    while (map_next(&t->nodes, &pos, &key, &value)) {
        free_node(value);
    }
    map_deinit(&t->nodes);
    node_table_free(t->table);
    known_hosts_free(t->ssh.known_hosts);
    if (t->ssh.key) {
        ssh_lib(NULL)->ssh_key_free(t->ssh.key);
    }
    buf_deinit(&t->public_key);
    arena_deinit(&t->arena);
    free(t);
    return NULL;
}
