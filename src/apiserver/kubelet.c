#include "apiserver/kubelet.h"

#include "api/gen/core_v1.h"
#include "apiserver/egress.h"
#include "apiserver/limits.h"
#include "apiserver/server.h"
#include "base/fs.h"
#include "client/path-report.h"
#include "net/path.h"

/* How the other side is verified and what it is shown. */
enum trust { TRUST_KUBELET, TRUST_KUBELET_UNVERIFIED, TRUST_NODE, TRUST_NOBODY, TRUST_KINDS };

struct backend_client {
    struct list link; /* the one used last is first */
    struct http_client *client;
    char key[320];
};

struct kubelet_pool {
    struct map by_key; /* struct backend_client */
    struct list used;
    size_t n;
    struct net_tls_client *tls[TRUST_KINDS];
};

enum { CONNECT_MS = 10000, MAX_CONNECTIONS = 256 };

static struct kubelet_pool *pool_of(struct apiserver *s)
{
    if (!s->kubelets) {
        struct kubelet_pool *p = calloc(1, sizeof(*p));
        if (!p) {
            abort();
        }
        map_init(&p->by_key);
        list_init(&p->used);
        s->kubelets = p;
    }
    return s->kubelets;
}

static void drop(struct kubelet_pool *p, struct backend_client *b)
{
    (void)map_remove(&p->by_key, str_c(b->key));
    list_remove(&b->link);
    (void)http_client_free(b->client);
    free(b);
    p->n--;
}

struct kubelet_pool *kubelet_pool_free(struct kubelet_pool *p)
{
    if (p) {
        LIST_FOREACH(&p->used, struct backend_client, link, b)
        {
            drop(p, b);
        }
        map_deinit(&p->by_key);
        for (size_t i = 0; i < TRUST_KINDS; i++) {
            net_tls_client_unref(p->tls[i]);
        }
        free(p);
    }
    return NULL;
}

/* ---- TLS ---- */

bool kubelet_is_unverified(const struct apiserver_config *cfg)
{
    return str_empty(cfg->kubelet_certificate_authority) && !cfg->kubelet_must_be_verified;
}

static bool read_file(struct str path, struct buf *b, struct err *err)
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

/* Makes the material of one kind, or reads it again. */
static bool load_tls(struct apiserver *s, enum trust trust, struct err *err)
{
    struct net_tls_client **tls = &pool_of(s)->tls[trust];
    CLEANUP(buf_deinit) struct buf ca, cert, key;
    buf_init(&ca, 4u << 20);
    buf_init(&cert, 4u << 20);
    buf_init(&key, 4u << 20);
    bool kubelet = trust == TRUST_KUBELET || trust == TRUST_KUBELET_UNVERIFIED, verify = trust == TRUST_KUBELET || trust == TRUST_NODE;
    if (verify && str_empty(s->cfg.kubelet_certificate_authority) && s->cfg.kubelet_must_be_verified) {
        return err_set(err, ERR_UNAVAILABLE, "kubelets cannot be verified: this server has no --kubelet-certificate-authority");
    }
    if ((verify && !read_file(s->cfg.kubelet_certificate_authority, &ca, err)) ||
        (kubelet && (!read_file(s->cfg.kubelet_client_certificate, &cert, err) || !read_file(s->cfg.kubelet_client_key, &key, err)))) {
        return false;
    }
    struct net_tls_client_config cfg = {
        .ca_pem = buf_str(&ca), .identity = { .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) },
        .insecure_skip_verify = !verify || ca.len == 0, .alpn = NET_ALPN_H1 | NET_ALPN_H2,
    };
    if (*tls) {
        return net_tls_client_reload(*tls, &cfg, err);
    }
    *tls = net_tls_client_new(&cfg, err);
    return *tls != NULL;
}

bool kubelet_pool_reload(struct apiserver *s, struct err *err)
{
    for (size_t i = 0; s->kubelets && i < TRUST_NOBODY; i++) {
        if (s->kubelets->tls[i] && !load_tls(s, (enum trust)i, err)) {
            return false;
        }
    }
    return true;
}

/* ---- clients ---- */

/* Makes room for one more. */
static bool have_room(struct kubelet_pool *p)
{
    for (struct list *n = p->used.prev; p->n >= BACKENDS_MAX && n != &p->used;) {
        struct backend_client *b = LIST_ENTRY(n, struct backend_client, link);
        n = n->prev;
        if (http_client_is_idle(b->client)) {
            drop(p, b);
        }
    }
    return p->n < BACKENDS_MAX;
}

struct wanted {
    const char *peer_kind; /* "kubelet", "nodes", "pods", "services" */
    struct str peer_name;  /* of a node; empty otherwise */
    const char *purpose, *authn;
    struct str host;
    uint16_t port;
    bool tls;
    enum trust trust;
    enum egress_rule rule;
};

static struct http_client *make_client(struct apiserver *s, const struct wanted *w, struct err *err)
{
    char peer[300], address[300];
    int peer_len = snprintf(peer, sizeof(peer), w->peer_name.len ? "%s/%.*s" : "%s", w->peer_kind, STR_ARG(w->peer_name));
    int address_len = snprintf(address, sizeof(address), str_find_char(w->host, ':') >= 0 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(w->host), w->port);
    struct net_path_spec spec = { .outgoing = true, .peer = str_n(peer, MIN((size_t)peer_len, sizeof(peer) - 1)),
                                  .purpose = str_c(w->purpose), .authn = w->authn,
                                  .address = str_n(address, MIN((size_t)address_len, sizeof(address) - 1)) };
    if (w->trust == TRUST_NOBODY) {
        spec.address = STR_EMPTY; /* pods come and go: one path for all of them */
    }
    struct net_path *path = net_path_get(s->loop, &spec);
    struct http_client_config cfg = {
        .host = w->host, .port = w->port, .tls = w->tls ? s->kubelets->tls[w->trust] : NULL, .max_connections = MAX_CONNECTIONS,
        .connect_ms = w->trust == TRUST_NOBODY || s->cfg.kubelet_timeout_ms <= 0 ? CONNECT_MS : (uint32_t)MIN(s->cfg.kubelet_timeout_ms, 3600000),
        .dialer = egress_dialer(s->egress, EGRESS_CLUSTER, w->rule), .path = path,
    };
    struct http_client *c = http_client_new(s->loop, &cfg, err);
    net_path_unref(path);
    return c;
}

static struct http_client *client_of(struct apiserver *s, const struct wanted *w, struct err *err)
{
    struct kubelet_pool *p = pool_of(s);
    struct backend_client *b = calloc(1, sizeof(*b));
    if (!b) {
        abort();
    }
    int n = snprintf(b->key, sizeof(b->key), "%d%d%d:%.*s:%u", w->trust, w->tls, w->rule, STR_ARG(w->host), w->port);
    struct backend_client *there = n > 0 && (size_t)n < sizeof(b->key) ? map_get(&p->by_key, str_c(b->key)) : NULL;
    if (there) {
        free(b);
        list_remove(&there->link);
        list_push_front(&p->used, &there->link);
        return there->client;
    }
    bool ok = n > 0 && (size_t)n < sizeof(b->key);
    ok = ok || err_set(err, ERR_INVALID, "the address is too long");
    struct net_addr addr;
    ok = ok && (net_addr_parse_ip(w->host, w->port, &addr) || egress_rules_allow_name(w->rule, w->host, err));
    ok = ok && (!w->tls || p->tls[w->trust] || load_tls(s, w->trust, err));
    ok = ok && (have_room(p) || err_set(err, ERR_UNAVAILABLE, "too many backends are in use at once"));
    b->client = ok ? make_client(s, w, err) : NULL;
    if (!b->client) {
        free(b);
        return NULL;
    }
    (void)map_put(&p->by_key, str_c(b->key), b);
    list_push_front(&p->used, &b->link);
    p->n++;
    return b->client;
}

/* ---- nodes ---- */

static bool preferred_address(const struct apiserver *s, const struct core_v1_node *node, struct str *ret, struct err *err)
{
    struct str rest = s->cfg.kubelet_preferred_address_types, type;
    while (!str_empty(rest) && str_split(&rest, ',', &type)) {
        for (size_t i = 0; i < node->status.n_addresses; i++) {
            if (str_eq(node->status.addresses[i].type, type) && !str_empty(node->status.addresses[i].address)) {
                *ret = node->status.addresses[i].address;
                return true;
            }
        }
    }
    return err_set(err, ERR_INTERNAL, "no preferred addresses found; known addresses: %zu", node->status.n_addresses);
}

uint16_t kubelet_port(const struct apiserver *s, const struct core_v1_node *node)
{
    int32_t port = node->status.daemon_endpoints.kubelet_endpoint.port;
    return (uint16_t)(port > 0 && port < 65536 ? port : s->cfg.kubelet_port);
}

struct http_client *kubelet_client(struct apiserver *s, const struct core_v1_node *node, bool unverified, struct err *err)
{
    struct wanted w = { .peer_kind = "kubelet", .peer_name = node->metadata.name, .purpose = PATH_PURPOSE_KUBELET,
                        .authn = str_empty(s->cfg.kubelet_client_certificate) ? NULL : "client certificate",
                        .port = kubelet_port(s, node), .tls = true, .trust = unverified ? TRUST_KUBELET_UNVERIFIED : TRUST_KUBELET };
    /* A certificate that is verified for 127.0.0.1 makes this a kubelet beside us; nothing else does. */
    w.rule = unverified || str_empty(s->cfg.kubelet_certificate_authority) ? EGRESS_FOREIGN : EGRESS_VERIFIED;
    return preferred_address(s, node, &w.host, err) ? client_of(s, &w, err) : NULL;
}

struct http_client *kubelet_node_client(struct apiserver *s, const struct core_v1_node *node, uint16_t port, bool tls, struct err *err)
{
    struct wanted w = { .peer_kind = "node", .peer_name = node->metadata.name, .purpose = tls ? PATH_PURPOSE_NODE_PROXY ":https" : PATH_PURPOSE_NODE_PROXY ":http", .port = port, .tls = tls,
                        .trust = TRUST_NODE, .rule = EGRESS_FOREIGN };
    return preferred_address(s, node, &w.host, err) ? client_of(s, &w, err) : NULL;
}

struct http_client *kubelet_plain_client(struct apiserver *s, const char *what, struct str host, uint16_t port, bool tls, struct err *err)
{
    bool service = strcmp(what, "services") == 0;
    const char *purpose = service ? (tls ? PATH_PURPOSE_SERVICE_PROXY ":https" : PATH_PURPOSE_SERVICE_PROXY ":http")
                                  : (tls ? PATH_PURPOSE_POD_PROXY ":https" : PATH_PURPOSE_POD_PROXY ":http");
    struct wanted w = { .peer_kind = what, .purpose = purpose, .host = host, .port = port, .tls = tls, .trust = TRUST_NOBODY,
                        .rule = EGRESS_FOREIGN };
    return client_of(s, &w, err);
}
