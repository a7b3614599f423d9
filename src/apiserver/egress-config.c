/* EgressSelectorConfiguration: the file of --egress-selector-config-file. Errors name the field as upstream's validation does. */
#include "api/yaml.h"
#include "apiserver/config-members.h"
#include "apiserver/egress.h"

static bool parse_url(struct str url, struct egress_selection *s, struct err *err)
{
    struct str rest;
    if (str_starts(url, STR("https://"))) {
        s->tls = true;
        rest = str_sub(url, 8, url.len);
        s->port = 443;
    } else if (str_starts(url, STR("http://"))) {
        rest = str_sub(url, 7, url.len);
        s->port = 80;
    } else {
        return err_set(err, ERR_INVALID, "transport.tcp.url: \"%.*s\" begins neither with http:// nor with https://", STR_ARG(url));
    }
    if (str_ends(rest, STR("/"))) {
        rest = str_sub(rest, 0, rest.len - 1);
    }
    if (str_find_char(rest, '/') >= 0 || str_find_char(rest, '?') >= 0 || str_find_char(rest, '@') >= 0 ||
        !net_split_host_port(rest, &s->host, &s->port) || str_empty(s->host) || s->port == 0) {
        return err_set(err, ERR_INVALID, "transport.tcp.url: \"%.*s\" is more than a host and a port", STR_ARG(url));
    }
    return true;
}

static bool parse_tcp(const struct val *tcp, struct egress_selection *s, struct err *err)
{
    const struct val *tls = val_get(tcp, STR("tlsConfig"));
    if (!CONFIG_MEMBERS_ONLY(tcp, "transport.tcp", err, "url", "tlsConfig") || !parse_url(val_get_str(tcp, STR("url")), s, err)) {
        return false;
    }
    if (!s->tls) {
        return !tls || err_set(err, ERR_INVALID, "transport.tcp.tlsConfig must not be given with an http url");
    }
    if (!tls) {
        return err_set(err, ERR_INVALID, "transport.tcp.tlsConfig must be given with an https url");
    }
    if (!CONFIG_MEMBERS_ONLY(tls, "transport.tcp.tlsConfig", err, "caBundle", "clientCert", "clientKey")) {
        return false;
    }
    s->ca_bundle = val_get_str(tls, STR("caBundle"));
    s->client_cert = val_get_str(tls, STR("clientCert"));
    s->client_key = val_get_str(tls, STR("clientKey"));
    if (str_empty(s->client_cert) || str_empty(s->client_key)) {
        return err_set(err, ERR_INVALID, "transport.tcp.tlsConfig: clientCert and clientKey are needed");
    }
    return true;
}

static bool parse_connection(const struct val *c, struct egress_selection *s, struct err *err)
{
    struct str protocol = val_get_str(c, STR("proxyProtocol"));
    const struct val *transport = val_get(c, STR("transport"));
    if (!CONFIG_MEMBERS_ONLY(c, "connection", err, "proxyProtocol", "transport")) {
        return false;
    }
    if (str_eq_c(protocol, "Direct")) {
        return !transport || err_set(err, ERR_INVALID, "connection.transport must not be given with proxyProtocol Direct");
    }
    if (str_eq_c(protocol, "GRPC")) {
        return err_set(err, ERR_INVALID, "connection.proxyProtocol: GRPC is not spoken here: use HTTPConnect, which konnectivity-server "
                                         "serves with --mode=http-connect");
    }
    if (!str_eq_c(protocol, "HTTPConnect")) {
        return err_set(err, ERR_INVALID, "connection.proxyProtocol: \"%.*s\" is none of Direct, HTTPConnect, GRPC", STR_ARG(protocol));
    }
    s->proxied = true;
    if (!transport || !CONFIG_MEMBERS_ONLY(transport, "connection.transport", err, "tcp", "uds")) {
        return transport ? false : err_set(err, ERR_INVALID, "connection.transport is needed with proxyProtocol HTTPConnect");
    }
    const struct val *tcp = val_get(transport, STR("tcp")), *uds = val_get(transport, STR("uds"));
    if (!tcp == !uds) {
        return err_set(err, ERR_INVALID, "connection.transport: exactly one of tcp and uds is needed");
    }
    if (tcp) {
        return parse_tcp(tcp, s, err);
    }
    s->host = val_get_str(uds, STR("udsName"));
    s->port = 0;
    if (!CONFIG_MEMBERS_ONLY(uds, "transport.uds", err, "udsName")) {
        return false;
    }
    return (s->host.len > 0 && s->host.ptr[0] == '/') ||
           err_set(err, ERR_INVALID, "transport.uds.udsName: an absolute path is needed");
}

static bool parse_selection(const struct val *v, struct egress_selection ret[EGRESS_PURPOSES], struct err *err)
{
    static const char *const names[] = { [EGRESS_CONTROLPLANE] = "controlplane", [EGRESS_CLUSTER] = "cluster", [EGRESS_ETCD] = "etcd" };
    struct str name = val_get_str(v, STR("name"));
    const struct val *connection = val_get(v, STR("connection"));
    if (!CONFIG_MEMBERS_ONLY(v, "egressSelections", err, "name", "connection")) {
        return false;
    }
    for (size_t i = 0; i < EGRESS_PURPOSES; i++) {
        /* v1alpha1 called the control plane by its older name. */
        if (!str_eq_c(name, names[i]) && !(i == EGRESS_CONTROLPLANE && str_eq_c(name, "master"))) {
            continue;
        }
        if (ret[i].given) {
            return err_set(err, ERR_INVALID, "egressSelections: \"%.*s\" is there twice", STR_ARG(name));
        }
        ret[i].given = true;
        return connection ? parse_connection(connection, &ret[i], err) || err_wrap(err, "egressSelections: %.*s", STR_ARG(name))
                          : err_set(err, ERR_INVALID, "egressSelections: %.*s has no connection", STR_ARG(name));
    }
    return err_set(err, ERR_INVALID, "egressSelections: name \"%.*s\" is none of controlplane, cluster, etcd", STR_ARG(name));
}

bool egress_config_parse(struct arena *a, struct str text, struct egress_selection ret[EGRESS_PURPOSES], struct err *err)
{
    static const char *const versions[] = { "apiserver.k8s.io/v1beta1", "apiserver.k8s.io/v1alpha1", "apiserver.k8s.io/v1" };
    struct val doc;
    struct val_dups dups;
    bool version = false;
    val_dups_init(&dups);
    memset(ret, 0, sizeof(*ret) * EGRESS_PURPOSES);
    if (!yaml_or_json_parse(a, text, &dups, &doc, err)) {
        return false;
    }
    if (dups.n) {
        return err_set(err, ERR_INVALID, "%.*s", STR_ARG(yaml_dups_message(a, &dups)));
    }
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        version |= str_eq_c(val_get_str(&doc, STR("apiVersion")), versions[i]);
    }
    if (!version || !str_eq_c(val_get_str(&doc, STR("kind")), "EgressSelectorConfiguration")) {
        return err_set(err, ERR_INVALID, "not an EgressSelectorConfiguration of apiserver.k8s.io/v1beta1");
    }
    const struct val *list = val_get(&doc, STR("egressSelections"));
    if (!CONFIG_MEMBERS_ONLY(&doc, "the file", err, "apiVersion", "kind", "egressSelections")) {
        return false;
    }
    if (list && list->kind != VAL_ARRAY) {
        return err_set(err, ERR_INVALID, "egressSelections: a list is needed");
    }
    for (uint32_t i = 0; list && i < list->n; i++) {
        if (!parse_selection(&list->items[i], ret, err)) {
            return false;
        }
    }
    return true;
}
