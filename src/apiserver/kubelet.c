#include "apiserver/kubelet.h"

#include "api/gen/core_v1.h"
#include "apiserver/server.h"
#include "base/fs.h"

struct kubelet_pool {
    struct map clients; /* "k:host:port", "h:host:port", "s:host:port" */
    struct net_tls_client *kubelet_tls, *any_tls;
};

enum { CONNECT_MS = 10000, KUBELET_PORT = 10250 };

static struct kubelet_pool *pool_of(struct apiserver *s)
{
    if (!s->kubelets) {
        struct kubelet_pool *p = calloc(1, sizeof(*p));
        if (!p) {
            abort();
        }
        map_init(&p->clients);
        s->kubelets = p;
    }
    return s->kubelets;
}

struct kubelet_pool *kubelet_pool_free(struct kubelet_pool *p)
{
    if (p) {
        size_t pos = 0;
        struct str key;
        void *client;
        while (map_next(&p->clients, &pos, &key, &client)) {
            (void)http_client_free(client);
        }
        map_deinit(&p->clients);
        net_tls_client_unref(p->kubelet_tls);
        net_tls_client_unref(p->any_tls);
        free(p);
    }
    return NULL;
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

/* Makes what is shown to kubelets and what they are verified against; 'again' reads the files once more. */
static bool kubelet_tls(struct apiserver *s, struct kubelet_pool *p, bool again, struct err *err)
{
    CLEANUP(buf_deinit) struct buf ca, cert, key;
    buf_init(&ca, 4u << 20);
    buf_init(&cert, 4u << 20);
    buf_init(&key, 4u << 20);
    if (p->kubelet_tls && !again) {
        return true;
    }
    if (str_empty(s->cfg.kubelet_certificate_authority)) {
        return err_set(err, ERR_UNAVAILABLE, "kubelets cannot be verified: this server has no --kubelet-certificate-authority");
    }
    if (!read_file(s->cfg.kubelet_certificate_authority, &ca, err) || !read_file(s->cfg.kubelet_client_certificate, &cert, err) ||
        !read_file(s->cfg.kubelet_client_key, &key, err)) {
        return false;
    }
    struct net_tls_client_config cfg = { .ca_pem = buf_str(&ca), .identity = { .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) },
                                         .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    if (p->kubelet_tls) {
        return net_tls_client_reload(p->kubelet_tls, &cfg, err);
    }
    p->kubelet_tls = net_tls_client_new(&cfg, err);
    return p->kubelet_tls != NULL;
}

bool kubelet_pool_reload(struct apiserver *s, struct err *err)
{
    return !s->kubelets || !s->kubelets->kubelet_tls || kubelet_tls(s, s->kubelets, true, err);
}

static struct http_client *client_of(struct apiserver *s, char kind, struct str host, uint16_t port, struct net_tls_client *tls,
                                     struct err *err)
{
    char key[320];
    int n = snprintf(key, sizeof(key), "%c:%.*s:%u", kind, STR_ARG(host), port);
    if (n < 0 || (size_t)n >= sizeof(key)) {
        err_set(err, ERR_INVALID, "the address is too long");
        return NULL;
    }
    struct kubelet_pool *p = pool_of(s);
    struct http_client *c = map_get(&p->clients, str_n(key, (size_t)n));
    if (!c) {
        struct http_client_config cfg = { .host = host, .port = port, .tls = tls, .connect_ms = CONNECT_MS };
        c = http_client_new(s->loop, &cfg, err);
        if (c) {
            (void)map_put(&p->clients, str_n(key, (size_t)n), c);
        }
    }
    return c;
}

static struct str preferred_address(const struct apiserver *s, const struct core_v1_node *node)
{
    struct str rest = s->cfg.kubelet_preferred_address_types, type;
    while (!str_empty(rest) && str_split(&rest, ',', &type)) {
        for (size_t i = 0; i < node->status.n_addresses; i++) {
            if (str_eq(node->status.addresses[i].type, type)) {
                return node->status.addresses[i].address;
            }
        }
    }
    return STR_NULL;
}

struct http_client *kubelet_client(struct apiserver *s, const struct core_v1_node *node, struct err *err)
{
    struct kubelet_pool *p = pool_of(s);
    struct str host = preferred_address(s, node);
    int32_t port = node->status.daemon_endpoints.kubelet_endpoint.port;
    if (str_empty(host)) {
        err_set(err, ERR_UNAVAILABLE, "no preferred addresses found; known addresses: %zu", node->status.n_addresses);
        return NULL;
    }
    if (!kubelet_tls(s, p, false, err)) {
        return NULL;
    }
    return client_of(s, 'k', host, (uint16_t)(port > 0 && port < 65536 ? port : KUBELET_PORT), p->kubelet_tls, err);
}

struct http_client *kubelet_plain_client(struct apiserver *s, struct str host, uint16_t port, bool tls, struct err *err)
{
    struct kubelet_pool *p = pool_of(s);
    if (tls && !p->any_tls) {
        struct net_tls_client_config cfg = { .insecure_skip_verify = true, .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
        p->any_tls = net_tls_client_new(&cfg, err);
        if (!p->any_tls) {
            return NULL;
        }
    }
    return client_of(s, tls ? 's' : 'h', host, port, tls ? p->any_tls : NULL, err);
}
