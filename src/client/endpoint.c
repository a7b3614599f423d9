#include "client/endpoint.h"

#include "net/addr.h"

static bool take_url_apart(struct client_endpoint *e, struct arena *a, struct str url, struct err *err)
{
    struct str scheme = STR("https://"), rest, host_port, path;
    if (!str_starts(url, scheme)) {
        return err_set(err, ERR_INVALID, "server \"%.*s\" is no URL that begins with https://", STR_ARG(url));
    }
    rest = str_sub(url, scheme.len, SIZE_MAX);
    if (!str_cut(rest, '/', &host_port, &path)) {
        path = STR_EMPTY;
    }
    while (path.len && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    e->port = 443;
    if (!net_split_host_port(host_port, &e->host, &e->port)) {
        return err_set(err, ERR_INVALID, "server \"%.*s\" has a bad port", STR_ARG(url));
    }
    e->prefix = path.len ? arena_printf(a, "/%.*s", STR_ARG(path)) : STR_EMPTY;
    return true;
}

bool client_endpoint_init(struct client_endpoint *e, struct arena *a, const struct client_config *config, struct err *err)
{
    *e = (struct client_endpoint){ 0 };
    if (!take_url_apart(e, a, config->server, err)) {
        return false;
    }
    if (!str_empty(config->token)) {
        e->authorization = arena_printf(a, "Bearer %.*s", STR_ARG(config->token));
    }
    struct net_tls_client_config t = {
        .ca_pem = config->ca_pem,
        .identity = { .cert_pem = config->client_cert_pem, .key_pem = config->client_key_pem },
        .server_name = config->tls_server_name,
        .insecure_skip_verify = config->insecure,
        .alpn = NET_ALPN_H1 | NET_ALPN_H2,
    };
    e->tls = net_tls_client_new(&t, err);
    return e->tls != NULL;
}

void client_endpoint_deinit(struct client_endpoint *e)
{
    e->tls = net_tls_client_unref(e->tls);
}
