/* The connections that clients share, and the credentials they are made with, which follow their files. */
#include "client/client-private.h"

#include <stdlib.h>

#include "base/encoding.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "client/limits.h"
#include "client/path-report.h"
#include "net/file-watch.h"
#include "net/tls.h"
#include "pki/cert.h"

/* Takes "https://host:port/prefix" apart. */
static bool parse_server(struct arena *a, struct str server, bool *ret_tls, struct str *ret_host,
                         uint16_t *ret_port, struct str *ret_prefix, struct err *err)
{
    bool tls = str_starts(server, STR("https://"));
    if (!tls && !str_starts(server, STR("http://"))) {
        return err_set(err, ERR_BAD_REQUEST, "server \"%.*s\" is no URL that begins with https://",
                       STR_ARG(server));
    }
    struct str rest = str_sub(server, tls ? 8 : 7, SIZE_MAX), host_port, path;
    if (!str_cut(rest, '/', &host_port, &path)) {
        path = STR_EMPTY;
    }
    while (path.len && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    *ret_port = tls ? 443 : 80;
    if (!net_split_host_port(host_port, ret_host, ret_port) || str_empty(*ret_host)) {
        return err_set(err, ERR_BAD_REQUEST, "server \"%.*s\" has no host or a bad port",
                       STR_ARG(server));
    }
    *ret_tls = tls;
    *ret_host = arena_str(a, *ret_host);
    *ret_prefix = path.len ? arena_printf(a, "/%.*s", STR_ARG(path)) : STR_EMPTY;
    return true;
}

static struct net_tls_client_config tls_config(const struct client_config *config)
{
    return (struct net_tls_client_config){
        .ca_pem = config->ca_pem,
        .identity = { .cert_pem = config->client_cert_pem, .key_pem = config->client_key_pem },
        .server_name = config->tls_server_name,
        .insecure_skip_verify = config->insecure,
        .alpn = NET_ALPN_H1 | NET_ALPN_H2,
    };
}

static uint64_t print_of(const struct client_config *c)
{
    const struct str parts[] = { c->ca_pem, c->client_cert_pem, c->client_key_pem };
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        for (size_t k = 0; k < parts[i].len; k++) {
            h = (h ^ (unsigned char)parts[i].ptr[k]) * 1099511628211u;
        }
        h *= 31;
    }
    return h;
}

/* Our own certificate was signed in the past, whatever the clock says. */
static void learn_time(struct str pem)
{
    struct pki_cert *cert = pem.len ? pki_cert_read(&pem, NULL) : NULL;
    if (cert) {
        time_floor_raise(pki_cert_not_before(cert));
        pki_cert_unref(cert);
    }
}

void client_set_authorization(struct client *c, const struct client_config *config)
{
    struct buf b;
    buf_clear(&c->token);
    if (!str_empty(config->token)) {
        client_set_token(c, config->token);
    } else if (str_empty(config->token_file) && !str_empty(config->username)) {
        struct arena a;
        arena_init(&a, CLIENT_FILE_MAX);
        buf_init(&b, 8192);
        base64_encode(&b, arena_printf(&a, "%.*s:%.*s", STR_ARG(config->username), STR_ARG(config->password)));
        buf_printf(&c->token, "Basic %.*s", STR_ARG(buf_str(&b)));
        buf_deinit(&b);
        arena_deinit(&a);
    }
}

/* Everything of 'config' that the next look at the files needs. */
static void keep_source(struct client_connections *k, const struct client_config *config)
{
    struct client_config *s = &k->source;
    struct arena *a = &k->strings;
    arena_init_chunk(a, 8u << 20, 512);
    *s = (struct client_config){ .insecure = config->insecure, .no_credentials = config->no_credentials };
    s->server = arena_str(a, config->server);
    s->tls_server_name = config->tls_server_name.len ? arena_str(a, config->tls_server_name) : STR_NULL;
    s->kubeconfig = config->kubeconfig.len ? arena_str(a, config->kubeconfig) : STR_NULL;
    s->context = config->context.len ? arena_str(a, config->context) : STR_NULL;
    s->ca_file = config->ca_file.len ? arena_str(a, config->ca_file) : STR_NULL;
    s->client_cert_file = config->client_cert_file.len ? arena_str(a, config->client_cert_file) : STR_NULL;
    s->client_key_file = config->client_key_file.len ? arena_str(a, config->client_key_file) : STR_NULL;
    s->token_file = config->token_file.len ? arena_str(a, config->token_file) : STR_NULL;
    if (!s->kubeconfig.len && (s->ca_file.len || s->client_cert_file.len)) {
        /* What has no file is not read again. */
        s->ca_pem = s->ca_file.len ? STR_NULL : arena_str(a, config->ca_pem);
        s->client_cert_pem = s->client_cert_file.len ? STR_NULL : arena_str(a, config->client_cert_pem);
        s->client_key_pem = s->client_key_file.len ? STR_NULL : arena_str(a, config->client_key_pem);
    }
}

static bool reload(struct client_connections *k, struct err *err)
{
    struct arena a;
    struct client_config config = k->source;
    arena_init(&a, 8u << 20);
    bool ok = kubeconfig_reread(&a, &config, err);
    uint64_t print = ok ? print_of(&config) : 0;
    if (ok && k->tls && print != k->print) {
        const struct net_tls_client_config t = tls_config(&config);
        ok = net_tls_client_reload(k->tls, &t, err);
        if (ok) {
            k->print = print;
            http_client_renew(k->http);
            log_info("new credentials for %.*s are in use", STR_ARG(k->source.server));
        }
    }
    if (ok && k->owner && k->owner->token_file) {
        k->owner->token_is_old = true;
    } else if (ok && k->owner && k->source.kubeconfig.len && !config.no_credentials) {
        client_set_authorization(k->owner, &config);
    }
    arena_deinit(&a);
    return ok;
}

bool client_reload(struct client *c, struct err *err)
{
    return reload(c->connections, err);
}

static void on_files(void *arg)
{
    struct err err = { 0 };
    if (!reload(arg, &err)) {
        log_warning("credentials cannot be read again, the old ones stay: %s", err.msg);
    }
}

static void watch_files(struct client *c, const struct client_config *config)
{
    struct client_connections *k = c->connections;
    const struct str files[] = { config->kubeconfig, config->ca_file, config->client_cert_file, config->client_key_file,
                                 config->token_file };
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (files[i].len) {
            k->watch = k->watch ? k->watch : file_watch_new(c->loop, on_files, k);
            file_watch_add(k->watch, files[i]);
        }
    }
}

void client_hold(struct client *c, bool held)
{
    c->connections->held = held;
}

bool client_connect(struct client *c, const struct client_config *config, const struct client_options *options,
                         struct err *err)
{
    bool with_tls;
    struct str host;
    uint16_t port;
    if (!parse_server(&c->strings, config->server, &with_tls, &host, &port, &c->prefix, err)) {
        return false;
    }
    struct net_tls_client *tls = NULL;
    if (with_tls) {
        const struct net_tls_client_config t = tls_config(config);
        tls = net_tls_client_new(&t, err);
        if (!tls) {
            return false;
        }
        learn_time(config->client_cert_pem);
    }
    struct str address =
        arena_printf(&c->strings, str_find_char(host, ':') >= 0 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), port);
    struct net_path_spec what = {
        .outgoing = true,
        .peer = str_c(options->peer ? options->peer : "kube-apiserver"),
        .purpose = str_c(options->purpose ? options->purpose : PATH_PURPOSE_API),
        .address = address,
        .authn = config->client_cert_pem.len                     ? "client certificate"
                 : config->token.len || config->token_file.len ? "token"
                 : config->username.len                          ? "password"
                                                                 : "nothing of its own",
    };
    struct net_path *path = net_path_get(c->loop, &what);
    struct http_client_config h = { .host = host, .port = port, .tls = tls, .path = path, .dialer = c->dialer };
    struct http_client *http = http_client_new(c->loop, &h, err);
    net_path_unref(path);
    if (!http) {
        net_tls_client_unref(tls);
        return false;
    }
    c->connections = calloc(1, sizeof(*c->connections));
    if (!c->connections) {
        abort();
    }
    *c->connections = (struct client_connections){ .refs = 1, .http = http, .tls = tls, .owner = c, .print = print_of(config) };
    keep_source(c->connections, config);
    watch_files(c, config);
    return true;
}

void client_disconnect(struct client *c)
{
    struct client_connections *k = c->connections;
    if (k && k->owner == c) {
        k->owner = NULL;
    }
    if (k && --k->refs == 0) {
        file_watch_free(k->watch);
        http_client_free(k->http);
        net_tls_client_unref(k->tls);
        arena_deinit(&k->strings);
        free(k);
    }
}

struct str client_authorization(struct client *c)
{
    if (!c->token_file) {
        return c->token.len ? buf_str(&c->token) : STR_NULL;
    }
    uint64_t now = loop_now_ms(c->loop);
    if (!c->token.len || c->token_is_old || now - c->token_read_ms >= CLIENT_TOKEN_REREAD_MS) {
        struct err err;
        struct buf file;
        buf_init(&file, CLIENT_TOKEN_MAX);
        if (fs_read(c->token_file, CLIENT_TOKEN_MAX - 16, &file, &err)) {
            buf_clear(&c->token);
            buf_append_c(&c->token, "Bearer ");
            buf_append(&c->token, str_trim(buf_str(&file)));
            c->token_read_ms = now;
            c->token_is_old = false;
        } else {
            log_warning("the token stays as it is: %s", err.msg);
        }
        buf_deinit(&file);
    }
    return c->token.len ? buf_str(&c->token) : STR_NULL;
}
