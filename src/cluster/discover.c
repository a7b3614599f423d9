#include "cluster/discover.h"

#include <unistd.h>

#include "api/json-writer.h"
#include "base/buf.h"
#include "client/cluster-info.h"

enum { MAX_BODY = 65536, TRIES = 20, AGAIN_MS = 250 };

/* The ConfigMap as a stranger's text. A token that was made a moment ago may not have signed yet. */
static bool read_info(const char *server, struct str token, const struct str *pins, size_t n_pins, struct arena *a,
                      struct cluster_info *ret, struct err *err)
{
    const struct client_config stranger = { .server = str_c(server), .insecure = true, .no_credentials = true };
    struct session s;
    bool ok = session_open_as(&s, &stranger, err);
    for (unsigned i = 0; ok; i++) {
        struct str body;
        int status = 0;
        if (!session_read(&s, CLUSTER_INFO_PATH, a, &body, &status, err)) {
            ok = status == 403 || status == 401
                     ? err_set(err, ERR_FORBIDDEN,
                               "%s does not show its cluster-info to strangers: is it a Coracle server?", server)
                 : status == 404
                     ? err_set(err, ERR_NOT_FOUND, "%s has no cluster-info: is it a Coracle server?", server)
                     : false;
            break;
        }
        if (body.len > CLUSTER_INFO_MAX) {
            ok = err_set(err, ERR_TOO_LARGE, "the cluster-info of %s is too large to be one", server);
            break;
        }
        if (cluster_info_read(a, body, token, pins, n_pins, ret, err)) {
            break;
        }
        if (i + 1 == TRIES || !strstr(err->msg, "made a moment ago")) {
            ok = false;
            break;
        }
        usleep(AGAIN_MS * 1000);
    }
    session_close(&s);
    return ok ||
           err_wrap(err, "this is not the cluster that the token and the pin are of, or the token is no longer good");
}

static bool read_port(const struct val *data, const char *key, uint16_t *ret)
{
    uint64_t n;
    if (!str_to_u64(val_get_str(data, str_c(key)), &n) || n < 1 || n > 65535) {
        return false;
    }
    *ret = (uint16_t)n;
    return true;
}

static struct client_config with_token(const char *server, struct str ca_pem, struct str token)
{
    return (struct client_config){ .server = str_c(server), .ca_pem = ca_pem, .token = token };
}

static bool read_settings(const char *server, struct str token, struct arena *a, struct discovery *d, struct err *err)
{
    const struct client_config config = with_token(server, d->ca_pem, token);
    struct session s;
    struct val v;
    int status = 0;
    if (!session_open_as(&s, &config, err)) {
        return false;
    }
    bool ok = session_ask(&s, "GET", "/api/v1/namespaces/kube-system/configmaps/" HOST_SETTINGS_NAME, STR_NULL, a, &v,
                          &status, err);
    session_close(&s);
    if (!ok) {
        return status == 401 ? err_set(err, ERR_UNAUTHORIZED,
                                       "the server does not know the token, or it has expired: coracle token create "
                                       "--print-join-command")
               : status == 403 ? err_set(err, ERR_FORBIDDEN,
                                         "the token is not for hosts that join (its groups lack " HOST_TOKEN_GROUP ")")
                               : err_wrap(err, "the settings for hosts that join");
    }
    const struct val *data = val_get(&v, STR("data"));
    d->pod_cidr = val_get_str(data, STR("clusterCIDR"));
    d->domain = val_get_str(data, STR("clusterDomain"));
    d->tunnels = str_eq_c(val_get_str(data, STR("tunnels")), "true");
    d->ssh_user = val_get_str(data, STR("sshUser"));
    d->ssh_public_key = val_get_str(data, STR("sshPublicKey"));
    if (str_empty(d->pod_cidr) || str_empty(d->domain) ||
        (d->tunnels && !read_port(data, "reversePort", &d->reverse_port))) {
        return err_set(err, ERR_INVALID,
                       "the settings of the server (ConfigMap kube-system/" HOST_SETTINGS_NAME ") are not complete");
    }
    return true;
}

bool discover(const char *server, struct str token, const struct str *pins, size_t n_pins, struct arena *a,
              struct discovery *ret, struct err *err)
{
    struct cluster_info info;
    *ret = (struct discovery){ 0 };
    if (!read_info(server, token, pins, n_pins, a, &info, err)) {
        return false;
    }
    ret->ca_pem = info.ca_pem;
    return read_settings(server, token, a, ret, err);
}

bool discover_pin_host_keys(const char *server, struct str ca_pem, struct str token, const char *node,
                            const char *address, struct str keys, struct err *err)
{
    const struct client_config config = with_token(server, ca_pem, token);
    struct session s;
    struct arena a;
    struct val v;
    int status = 0;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, MAX_BODY);
    buf_append_c(&b, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":");
    json_write_string(&b, str_c(node));
    buf_append_c(&b, "},\"data\":{\"node\":");
    json_write_string(&b, str_c(node));
    buf_append_c(&b, ",\"address\":");
    json_write_string(&b, str_c(address));
    buf_append_c(&b, ",\"keys\":");
    json_write_string(&b, keys);
    buf_append_c(&b, "}}");
    if (!session_open_as(&s, &config, err)) {
        return false;
    }
    arena_init(&a, 4u << 20);
    bool ok = session_ask(&s, "POST", "/api/v1/namespaces/" HOST_PINS_NAMESPACE "/configmaps", buf_str(&b), &a, &v,
                          &status, err);
    if (!ok && status == 409) {
        err_set(
            err, ERR_ALREADY_EXISTS,
            "the server has host keys of a node \"%s\" already: if it is this one set up anew, or another one is gone, "
            "kubectl -n " HOST_PINS_NAMESPACE " delete configmap %s",
            node, node);
    }
    arena_deinit(&a);
    session_close(&s);
    return ok;
}
