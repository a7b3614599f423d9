#include "cluster/host-objects.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/gen/core_v1.h"
#include "api/json-writer.h"
#include "api/type.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/client.h"
#include "client/cluster-info.h"
#include "client/informer.h"
#include "cluster/files.h"
#include "cluster/host-prepare.h"
#include "cluster/master-label.h"
#include "net/addr.h"

enum { AGAIN_MS = 500, MAX_BODY = 1 << 20, MAX_PINS_FILE = 8 << 20, MAX_KEYS = 4096, SSH_KEY_MAX = 4096 };

#define RBAC "/apis/rbac.authorization.k8s.io/v1"
#define BIND_CLUSTER(name, role, kind, subject)                                                                        \
    {                                                                                                                  \
        RBAC "/clusterrolebindings",                                                                                   \
            "{\"apiVersion\":\"rbac.authorization.k8s.io/"                                                             \
            "v1\",\"kind\":\"ClusterRoleBinding\",\"metadata\":{\"name\":\"" name                                      \
            "\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"" role    \
            "\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"" kind "\",\"name\":\"" subject  \
            "\"}]}"                                                                                                    \
    }
#define ROLE(ns, name, rules)                                                                                          \
    {                                                                                                                  \
        RBAC "/namespaces/" ns "/roles",                                                                               \
            "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"Role\",\"metadata\":{\"name\":\"" name        \
            "\"},\"rules\":[" rules "]}"                                                                               \
    }
#define BIND(ns, name, subjects)                                                                                       \
    {                                                                                                                  \
        RBAC "/namespaces/" ns "/rolebindings",                                                                        \
            "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"RoleBinding\",\"metadata\":{\"name\":\"" name \
            "\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"" name           \
            "\"},\"subjects\":[" subjects "]}"                                                                         \
    }
#define SUBJECT(kind, name) "{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"" kind "\",\"name\":\"" name "\"}"

/* Made once; what is there stays as it is, so that a person may change it. */
static const struct fixed {
    const char *path, *body;
} fixed[] = {
    BIND_CLUSTER("coracle:nodes-ask", "system:node-bootstrapper", "Group", HOST_TOKEN_GROUP),
    BIND_CLUSTER("coracle:nodes-approved", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "Group",
                 HOST_TOKEN_GROUP),
    BIND_CLUSTER("coracle:nodes-renewed", "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
                 "Group", "system:nodes"),
    /* kube-proxy and the routes of a node go by the node's own credentials. */
    BIND_CLUSTER("coracle:nodes-proxy", "system:node-proxier", "Group", "system:nodes"),
    { RBAC "/clusterroles",
      "{\"apiVersion\":\"rbac.authorization.k8s.io/"
      "v1\",\"kind\":\"ClusterRole\",\"metadata\":{\"name\":\"coracle:tunnel\"},"
      "\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],\"verbs\":[\"get\",\"list\",\"watch\"]}]}" },
    BIND_CLUSTER("coracle:tunnel", "coracle:tunnel", "User", HOST_TUNNEL_USER),
    ROLE("kube-public", "coracle:cluster-info",
         "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"resourceNames\":[\"cluster-info\"],\"verbs\":[\"get\"]"
         "}"),
    BIND("kube-public", "coracle:cluster-info",
         SUBJECT("User", "system:anonymous") "," SUBJECT("Group", HOST_TOKEN_GROUP)),
    ROLE("kube-system", "coracle:join",
         "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"resourceNames\":[\"" HOST_SETTINGS_NAME
         "\"],\"verbs\":[\"get\"]}"),
    BIND("kube-system", "coracle:join", SUBJECT("Group", HOST_TOKEN_GROUP)),
    { "/api/v1/namespaces",
      "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" HOST_PINS_NAMESPACE "\"}}" },
    ROLE(HOST_PINS_NAMESPACE, "coracle:pin",
         "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"verbs\":[\"create\"]}"),
    BIND(HOST_PINS_NAMESPACE, "coracle:pin", SUBJECT("Group", HOST_TOKEN_GROUP)),
};

enum { STEP_INFO = ARRAY_SIZE(fixed), STEP_SETTINGS, STEP_END };

struct host_objects {
    const struct host *host;
    struct loop *loop;
    struct arena arena; /* of the credentials */
    struct client_config config;
    struct client *client;
    struct client_call *call;
    struct loop_timer again;
    unsigned step;
    bool patching; /* the object of this step is there: it is changed */
    bool said;     /* that it is tried again */
    struct informers *informers;
    struct informer *pins;
};

/* ---- host keys ---- */

static bool is_plain(struct str s, const char *more)
{
    bool ok = s.len > 0 && s.len < 1024;
    for (size_t i = 0; ok && i < s.len; i++) {
        char c = s.ptr[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(more, c);
    }
    return ok;
}

static void write_name(struct buf *b, struct str name, uint16_t port)
{
    if (port == 22) {
        buf_append(b, name);
    } else {
        buf_printf(b, "[%.*s]:%u", STR_ARG(name), port);
    }
}

bool host_pin_lines(struct str node, struct str address, uint16_t port, struct str keys, struct buf *b)
{
    struct net_addr a;
    struct str line, type, rest, key, comment;
    size_t lines = 0;
    if (!is_plain(node, ".-") || !net_addr_parse_ip(address, 0, &a) || keys.len > MAX_KEYS) {
        return false;
    }
    while (str_split(&keys, '\n', &line)) {
        line = str_trim(line);
        if (str_empty(line)) {
            continue;
        }
        if (!str_cut(line, ' ', &type, &rest)) {
            return false;
        }
        if (!str_cut(rest, ' ', &key, &comment)) {
            key = rest;
        }
        if (!is_plain(type, "-.@") || !is_plain(key, "+/=")) {
            return false;
        }
        write_name(b, address, port);
        buf_append_char(b, ',');
        write_name(b, node, port);
        buf_printf(b, " %.*s %.*s\n", STR_ARG(type), STR_ARG(key));
        lines++;
    }
    return lines > 0;
}

static struct str data_of(const struct core_v1_config_map *m, const char *key)
{
    for (size_t i = 0; i < m->n_data; i++) {
        if (str_eq_c(m->data[i].key, key)) {
            return m->data[i].value;
        }
    }
    return STR_NULL;
}

static int by_age(const void *a, const void *b)
{
    const struct core_v1_config_map *x = *(const struct core_v1_config_map *const *)a,
                                    *y = *(const struct core_v1_config_map *const *)b;
    int64_t s = x->metadata.creation_timestamp.sec, t = y->metadata.creation_timestamp.sec;
    return s != t ? (s > t) - (s < t) : str_cmp(x->metadata.name, y->metadata.name);
}

/* The name says whose it is, so that a second pin for one node cannot be made. */
static bool is_pin(const struct core_v1_config_map *m)
{
    return str_eq(m->metadata.name, data_of(m, "node"));
}

static void write_known_hosts(struct host_objects *o)
{
    const struct core_v1_config_map *m, **list;
    size_t n = 0, room = 0;
    char path[PATH_MAX];
    struct err err;
    CLEANUP(buf_deinit) struct buf b;
    CLEANUP(buf_deinit) struct buf old;
    for (size_t pos = 0; informer_next(o->pins, &pos);) {
        room++;
    }
    list = calloc(room + 1, sizeof(*list));
    if (!list) {
        abort();
    }
    for (size_t pos = 0; n < room && (m = informer_next(o->pins, &pos));) {
        list[n++] = m;
    }
    qsort(list, n, sizeof(*list), by_age);
    buf_init(&b, MAX_PINS_FILE);
    buf_init(&old, MAX_PINS_FILE);
    for (size_t i = 0; i < n; i++) {
        bool taken = false;
        if (str_empty(data_of(list[i], "node"))) {
            continue; /* kube-root-ca.crt, which every namespace has */
        }
        for (size_t k = 0; !taken && k < i; k++) {
            taken = is_pin(list[k]) && str_eq(data_of(list[k], "address"), data_of(list[i], "address"));
        }
        size_t before = b.len;
        if (taken || !is_pin(list[i]) ||
            !host_pin_lines(data_of(list[i], "node"), data_of(list[i], "address"), o->host->ssh_port,
                            data_of(list[i], "keys"), &b)) {
            b.len = before;
            log_warning("the host keys in ConfigMap " HOST_PINS_NAMESPACE "/%.*s are not taken: %s",
                        STR_ARG(list[i]->metadata.name),
                        taken ? "another node has that address"
                              : "they are not of the node of that name, or not in the form of *.pub files");
        }
    }
    free(list);
    path_of(path, "%s/kube/tunnel/known_hosts", o->host->place.state);
    if (fs_read(path, MAX_PINS_FILE, &old, NULL) && str_eq(buf_str(&old), buf_str(&b))) {
        return;
    }
    if (buf_failed(&b) || !fs_write_atomic(path, buf_str(&b), 0644, &err) ||
        !files_hand_over(path, ROLE_UID_TUNNEL, &err)) {
        log_error("host keys cannot be written: %s", buf_failed(&b) ? "there are too many" : err.msg);
        return;
    }
    log_info("host keys of nodes were written to %s", path);
}

static void on_pin(void *data, const void *old UNUSED, const void *obj UNUSED)
{
    struct host_objects *o = data;
    if (host_objects_done(o) && informers_synced(o->informers)) {
        write_known_hosts(o);
    }
}

static void on_synced(void *arg)
{
    struct host_objects *o = arg;
    if (o->pins) {
        write_known_hosts(o);
    }
}

static void on_own_node(void *data, const void *old UNUSED, const void *obj)
{
    struct host_objects *o = data;
    if (obj) {
        master_label_put(o->client, obj);
    }
}

/* The host keys that nodes tell, where there are tunnels, and our own Node. */
static void watch(struct host_objects *o)
{
    static const char *const labels[] = { "metadata.labels", NULL };
    const struct informer_spec pins = { .resource = api_resource_find(STR(""), STR("v1"), STR("configmaps")),
                                        .ns = STR_INIT(HOST_PINS_NAMESPACE) };
    const struct informer_spec node = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")),
                                        .fields = labels,
                                        .field_selector = arena_printf(&o->arena, "metadata.name=%s", o->host->name) };
    o->informers = informers_new(o->client);
    o->pins = o->host->tunnels ? informers_get(o->informers, &pins, on_pin, o) : NULL;
    (void)informers_get(o->informers, &node, on_own_node, o);
    informers_start(o->informers, on_synced, o);
}

/* ---- objects ---- */

static void write_data(struct buf *b, const char *key, struct str value, bool first)
{
    buf_printf(b, "%s\"%s\":", first ? "" : ",", key);
    json_write_string(b, value);
}

static void write_info(const struct host_objects *o, struct buf *b)
{
    CLEANUP(buf_deinit) struct buf text;
    buf_init(&text, MAX_BODY);
    cluster_info_write(str_c(o->host->server_url), o->config.ca_pem, &text);
    buf_append_c(b, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"cluster-info\","
                    "\"namespace\":\"kube-public\"},\"data\":{");
    write_data(b, "kubeconfig", buf_str(&text), true);
    buf_append_c(b, "}}");
}

/* False: the tunnel process has not made its key yet. */
static bool write_settings(const struct host_objects *o, struct buf *b)
{
    char path[PATH_MAX], number[16];
    const struct host *h = o->host;
    CLEANUP(buf_deinit) struct buf key;
    buf_init(&key, SSH_KEY_MAX);
    if (h->tunnels && !fs_read(path_of(path, "%s/kube/tunnel/ssh.key.pub", h->place.state), SSH_KEY_MAX, &key, NULL)) {
        return false;
    }
    buf_append_c(b, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" HOST_SETTINGS_NAME
                    "\",\"namespace\":\"kube-system\"},\"data\":{");
    write_data(b, "clusterCIDR", str_c(h->pod_cidr), true);
    write_data(b, "serviceCIDR", str_c(h->service_cidr), false);
    write_data(b, "clusterDomain", str_c(h->domain), false);
    write_data(b, "tunnels", h->tunnels ? STR("true") : STR("false"), false);
    if (h->tunnels) {
        (void)snprintf(number, sizeof(number), "%u", h->reverse_port);
        write_data(b, "reversePort", str_c(number), false);
        write_data(b, "sshUser", str_c(h->ssh_user), false);
        write_data(b, "sshPublicKey", str_trim(buf_str(&key)), false);
    }
    buf_append_c(b, "}}");
    return true;
}

static void next(void *arg);

static void later(struct host_objects *o, const char *why)
{
    if (!o->said) {
        log_info("objects for hosts that join are made once the API answers (%s)", why);
        o->said = true;
    }
    loop_timer_start(&o->again, AGAIN_MS);
}

static void on_answer(void *data, const struct client_answer *a)
{
    struct host_objects *o = data;
    o->call = NULL;
    if (a->http_status == 409 && o->step >= STEP_INFO && !o->patching) {
        o->patching = true;
    } else if (a->http_status == 409 || (!a->err && a->http_status < 300)) {
        o->patching = false;
        o->step++;
    } else {
        later(o, a->err ? a->err->msg : "refused");
        return;
    }
    loop_timer_start(&o->again, 0);
}

static void next(void *arg)
{
    struct host_objects *o = arg;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, MAX_BODY);
    if (o->step == STEP_END) {
        log_info("hosts can join: coracle token create --print-join-command");
        watch(o);
        return;
    }
    const char *path = o->step == STEP_INFO ? "/api/v1/namespaces/kube-public/configmaps"
                                            : "/api/v1/namespaces/kube-system/configmaps";
    if (o->step < STEP_INFO) {
        path = fixed[o->step].path;
        buf_append_c(&b, fixed[o->step].body);
    } else if (o->step == STEP_INFO) {
        write_info(o, &b);
    } else if (!write_settings(o, &b)) {
        later(o, "the tunnel's SSH key is not there yet");
        return;
    }
    char full[300];
    (void)snprintf(full, sizeof(full), "%s/%s", path, o->step == STEP_INFO ? "cluster-info" : HOST_SETTINGS_NAME);
    o->call = o->patching
                  ? client_raw(o->client, STR("PATCH"), str_c(full), STR("application/merge-patch+json"), buf_str(&b),
                               on_answer, o)
                  : client_raw(o->client, STR("POST"), str_c(path), STR("application/json"), buf_str(&b), on_answer, o);
}

struct host_objects *host_objects_new(struct loop *l, const struct host *h, struct err *err)
{
    const struct client_options options = { .user_agent = "coracle/" CORACLE_VERSION };
    struct host_objects *o = calloc(1, sizeof(*o));
    if (!o) {
        abort();
    }
    o->host = h;
    o->loop = l;
    arena_init(&o->arena, ARENA_NO_BUDGET);
    loop_timer_init(&o->again, l, next, o);
    o->client = host_admin_config(h, &o->arena, &o->config, err) ? client_new(l, &o->config, &options, err) : NULL;
    if (!o->client) {
        return host_objects_free(o);
    }
    loop_timer_start(&o->again, 1);
    return o;
}

struct host_objects *host_objects_free(struct host_objects *o)
{
    if (o) {
        loop_timer_stop(&o->again);
        client_cancel(o->call);
        o->informers = informers_free(o->informers);
        o->client = client_free(o->client);
        arena_deinit(&o->arena);
        free(o);
    }
    return NULL;
}

bool host_objects_done(const struct host_objects *o)
{
    return o->step == STEP_END;
}
