#include "bench/target.h"

#include "base/fs.h"
#include "client/kubeconfig.h"
#include "net/addr.h"
#include "net/tls.h"

static struct arena kept;

/* Reads the PEM file that a flag names, if it does. */
static bool read_flag(struct str path, struct str *ret, struct err *err)
{
    if (str_empty(path)) {
        return true;
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    if (!fs_read(path.ptr, 1 << 20, &b, err)) {
        return false;
    }
    *ret = arena_str(&kept, buf_str(&b));
    return true;
}

static bool read_config(const struct target_options *o, struct client_config *ret, struct err *err)
{
    if (!str_empty(o->kubeconfig) && !kubeconfig_read(&kept, o->kubeconfig.ptr, o->context, ret, err)) {
        return false;
    }
    if (!str_empty(o->server)) {
        ret->server = o->server;
    }
    if (!str_empty(o->token)) {
        ret->token = o->token;
    }
    if (str_empty(ret->server)) {
        return err_set(err, ERR_INVALID, "which server? --kubeconfig or --server says it");
    }
    return read_flag(o->ca, &ret->ca_pem, err) && read_flag(o->certificate, &ret->client_cert_pem, err) &&
           read_flag(o->key, &ret->client_key_pem, err);
}

bool target_connect(struct bench *b, const struct target_options *o, struct err *err)
{
    struct client_config config = { 0 };
    arena_init(&kept, ARENA_NO_BUDGET);
    if (!read_config(o, &config, err)) {
        return false;
    }
    if (!str_starts(config.server, STR("https://"))) {
        return err_set(err, ERR_INVALID, "server \"%.*s\" is no URL that begins with https://", STR_ARG(config.server));
    }
    struct str rest = str_sub(config.server, 8, SIZE_MAX), host_port, path, host;
    uint16_t port = 443;
    if (!str_cut(rest, '/', &host_port, &path)) {
        path = STR_EMPTY;
    }
    while (path.len && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    if (!net_split_host_port(host_port, &host, &port)) {
        return err_set(err, ERR_INVALID, "server \"%.*s\" has a bad port", STR_ARG(config.server));
    }
    b->prefix = path.len ? arena_printf(&kept, "/%.*s", STR_ARG(path)) : STR_EMPTY;
    if (!str_empty(config.token)) {
        b->authorization = arena_printf(&kept, "Bearer %.*s", STR_ARG(config.token));
    }
    struct net_tls_client_config t = {
        .ca_pem = config.ca_pem,
        .identity = { .cert_pem = config.client_cert_pem, .key_pem = config.client_key_pem },
        .server_name = config.tls_server_name,
        .insecure_skip_verify = config.insecure,
        .alpn = NET_ALPN_H1 | NET_ALPN_H2,
    };
    struct net_tls_client *tls = net_tls_client_new(&t, err);
    if (!tls) {
        return false;
    }
    struct http_client_config h = { .host = host, .port = port, .tls = tls };
    b->http = http_client_new(b->loop, &h, err);
    net_tls_client_unref(tls);
    return b->http != NULL;
}
