#include "bench/target.h"

#include "base/fs.h"
#include "client/kubeconfig.h"

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
    if (!client_endpoint_init(&b->endpoint, &kept, &config, err)) {
        return false;
    }
    return (b->http = target_client(b, err)) != NULL;
}

struct http_client *target_client(struct bench *b, struct err *err)
{
    struct http_client_config h = { .host = b->endpoint.host, .port = b->endpoint.port, .tls = b->endpoint.tls };
    return http_client_new(b->loop, &h, err);
}
