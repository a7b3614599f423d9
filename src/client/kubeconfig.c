#include "client/kubeconfig.h"

#include <libgen.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdlib.h>

#include "api/yaml.h"
#include "base/encoding.h"
#include "base/fs.h"
#include "client/limits.h"

#define IN_CLUSTER_DIR "/var/run/secrets/kubernetes.io/serviceaccount/"

struct reading {
    struct arena *a;
    const char *dir;
    struct err *err;
};

/* The member of an array of { name: …, <what>: … } with this name. */
static const struct val *named(const struct val *list, struct str name, const char *what)
{
    for (uint32_t i = 0; val_is(list, VAL_ARRAY) && i < list->n; i++) {
        if (str_eq(val_get_str(&list->items[i], STR("name")), name)) {
            return val_get(&list->items[i], str_c(what));
        }
    }
    return NULL;
}

static struct str file_path(struct reading *r, struct str path)
{
    if (!path.len || path.ptr[0] == '/' || !r->dir) {
        return arena_str(r->a, path);
    }
    return arena_printf(r->a, "%s/%.*s", r->dir, STR_ARG(path));
}

static bool read_file(struct arena *a, struct str path, struct str *ret, struct err *err)
{
    struct buf b;
    buf_init(&b, CLIENT_FILE_MAX);
    char *name = arena_cstr(a, path);
    bool ok = name && fs_read(name, CLIENT_FILE_MAX, &b, err);
    if (ok) {
        *ret = arena_str(a, buf_str(&b));
    }
    if (b.ptr) {
        explicit_bzero(b.ptr, b.len);
    }
    buf_deinit(&b);
    return ok;
}

/* "<what>-data" in base64, or the file that "<what>" names; absent when there is neither. */
static bool read_pem(struct reading *r, const struct val *v, const char *what, struct str *ret,
                     struct str *ret_file)
{
    struct str data = val_get_str(v, arena_printf(r->a, "%s-data", what));
    struct str path = val_get_str(v, str_c(what));
    if (data.len) {
        return base64_decode(r->a, data, ret) ||
               err_set(r->err, ERR_BAD_REQUEST, "%s-data is not base64", what);
    }
    if (!path.len) {
        return true;
    }
    *ret_file = file_path(r, path);
    return read_file(r->a, *ret_file, ret, r->err);
}

static struct str copy_text(struct reading *r, const struct val *v, const char *key)
{
    struct str s = val_get_str(v, str_c(key));
    return s.len ? arena_str(r->a, s) : STR_NULL;
}

static bool read_cluster(struct reading *r, const struct val *cluster, struct client_config *c)
{
    const struct val *insecure = val_get(cluster, STR("insecure-skip-tls-verify"));
    c->server = copy_text(r, cluster, "server");
    c->tls_server_name = copy_text(r, cluster, "tls-server-name");
    c->insecure = val_is(insecure, VAL_BOOL) && insecure->b;
    if (!c->server.len) {
        return err_set(r->err, ERR_BAD_REQUEST, "the cluster has no server");
    }
    if (val_get_str(cluster, STR("proxy-url")).len) {
        return err_set(r->err, ERR_BAD_REQUEST, "proxy-url is not supported");
    }
    return read_pem(r, cluster, "certificate-authority", &c->ca_pem, &c->ca_file);
}

static bool read_user(struct reading *r, const struct val *user, struct client_config *c)
{
    static const char *const refused[] = { "exec", "auth-provider", "as", "as-uid", "as-groups" };
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        if (val_get(user, str_c(refused[i]))) {
            return err_set(r->err, ERR_BAD_REQUEST,
                           "users[].user.%s is not supported: use certificates or a token",
                           refused[i]);
        }
    }
    c->token = copy_text(r, user, "token");
    struct str token_file = val_get_str(user, STR("tokenFile"));
    if (token_file.len) {
        c->token_file = file_path(r, token_file);
        c->token = STR_NULL; /* the file has precedence, as in client-go */
    }
    c->username = copy_text(r, user, "username");
    c->password = copy_text(r, user, "password");
    return read_pem(r, user, "client-certificate", &c->client_cert_pem, &c->client_cert_file) &&
           read_pem(r, user, "client-key", &c->client_key_pem, &c->client_key_file);
}

bool kubeconfig_parse(struct arena *a, struct str yaml, const char *dir, struct str context,
                      struct client_config *ret, struct err *err)
{
    struct val root;
    struct reading r = { .a = a, .dir = dir, .err = err };
    struct client_config c = { 0 };
    if (!yaml_or_json_parse(a, yaml, NULL, &root, err)) {
        return false;
    }
    struct str kind = val_get_str(&root, STR("kind"));
    if (root.kind != VAL_OBJECT || (kind.len && !str_eq(kind, STR("Config")))) {
        return err_set(err, ERR_BAD_REQUEST, "this is no kubeconfig: kind is not Config");
    }
    if (!context.len) {
        context = val_get_str(&root, STR("current-context"));
    }
    const struct val *ctx = named(val_get(&root, STR("contexts")), context, "context");
    if (!ctx) {
        return err_set(err, ERR_BAD_REQUEST, "the kubeconfig has no context \"%.*s\"",
                       STR_ARG(context));
    }
    struct str cluster_name = val_get_str(ctx, STR("cluster")),
               user_name = val_get_str(ctx, STR("user"));
    const struct val *cluster = named(val_get(&root, STR("clusters")), cluster_name, "cluster");
    const struct val *user = named(val_get(&root, STR("users")), user_name, "user");
    if (!cluster) {
        return err_set(err, ERR_BAD_REQUEST, "the kubeconfig has no cluster \"%.*s\"",
                       STR_ARG(cluster_name));
    }
    if (user_name.len && !user) {
        return err_set(err, ERR_BAD_REQUEST, "the kubeconfig has no user \"%.*s\"",
                       STR_ARG(user_name));
    }
    if (!read_cluster(&r, cluster, &c) || (user && !read_user(&r, user, &c))) {
        return false;
    }
    struct str ns = val_get_str(ctx, STR("namespace"));
    c.namespace = ns.len ? arena_str(a, ns) : STR("default");
    *ret = c;
    return true;
}

bool kubeconfig_read(struct arena *a, const char *path, struct str context,
                     struct client_config *ret, struct err *err)
{
    struct str text;
    char dir[PATH_MAX];
    if (!read_file(a, str_c(path), &text, err)) {
        return false;
    }
    if (!str_to_cstr(str_c(path), dir, sizeof(dir))) {
        return err_set(err, ERR_BAD_REQUEST, "path is too long: %s", path);
    }
    if (!kubeconfig_parse(a, text, dirname(dir), context, ret, err)) {
        return err_wrap(err, "%s", path);
    }
    ret->kubeconfig = arena_str(a, str_c(path));
    ret->context = context.len ? arena_str(a, context) : STR_NULL;
    return true;
}

bool kubeconfig_reread(struct arena *a, struct client_config *c, struct err *err)
{
    struct client_config fresh = *c;
    if (c->kubeconfig.len) {
        char *path = arena_cstr(a, c->kubeconfig);
        if (!path || !kubeconfig_read(a, path, c->context, &fresh, err)) {
            return false;
        }
        fresh.server = c->server;
        fresh.tls_server_name = c->tls_server_name;
        fresh.insecure = c->insecure;
        fresh.no_credentials = c->no_credentials;
        fresh.namespace = c->namespace;
    } else if ((c->ca_file.len && !read_file(a, c->ca_file, &fresh.ca_pem, err)) ||
               (c->client_cert_file.len &&
                !read_file(a, c->client_cert_file, &fresh.client_cert_pem, err)) ||
               (c->client_key_file.len &&
                !read_file(a, c->client_key_file, &fresh.client_key_pem, err))) {
        return false;
    }
    if (fresh.no_credentials) {
        fresh.client_cert_pem = fresh.client_key_pem = STR_NULL;
        fresh.client_cert_file = fresh.client_key_file = STR_NULL;
        fresh.token = fresh.token_file = fresh.username = fresh.password = STR_NULL;
    }
    *c = fresh;
    return true;
}

bool kubeconfig_in_cluster(struct arena *a, struct client_config *ret, struct err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    struct client_config c = { 0 };
    if (!host || !*host || !port || !*port) {
        return err_set(
            err, ERR_BAD_REQUEST,
            "not in a pod (KUBERNETES_SERVICE_HOST and _PORT are unset): give --kubeconfig");
    }
    bool v6 = strchr(host, ':') != NULL;
    c.server = arena_printf(a, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
    c.token_file = STR(IN_CLUSTER_DIR "token");
    c.ca_file = STR(IN_CLUSTER_DIR "ca.crt");
    if (!read_file(a, c.ca_file, &c.ca_pem, err) ||
        !read_file(a, STR(IN_CLUSTER_DIR "namespace"), &c.namespace, err)) {
        return err_wrap(err, "in-cluster configuration");
    }
    *ret = c;
    return true;
}

/* ---- writing ---- */

static void write_field(struct buf *b, const char *indent, const char *key, struct str value)
{
    if (value.len) {
        buf_printf(b, "%s%s: ", indent, key);
        struct val v = val_string(value);
        yaml_write(b, &v);
    }
}

/* "<key>-data" with the PEM, or "<key>" with the name of its file. */
static void write_pem(struct buf *b, const char *key, struct str pem, struct str file)
{
    if (pem.len) {
        buf_printf(b, "    %s-data: ", key);
        base64_encode(b, pem);
        buf_append_char(b, '\n');
    } else {
        write_field(b, "    ", key, file);
    }
}

static bool says_the_same(const char *path, struct str text)
{
    struct buf b;
    buf_init(&b, CLIENT_FILE_MAX);
    bool same = fs_read(path, CLIENT_FILE_MAX, &b, NULL) && str_eq(buf_str(&b), text);
    if (b.ptr) {
        explicit_bzero(b.ptr, b.len);
    }
    buf_deinit(&b);
    return same;
}

bool kubeconfig_write(const char *path, struct str name, const struct client_config *c,
                      struct err *err)
{
    struct buf b;
    buf_init(&b, CLIENT_FILE_MAX);
    buf_append_c(&b, "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n");
    write_pem(&b, "certificate-authority", c->ca_pem, c->ca_file);
    if (c->insecure) {
        buf_append_c(&b, "    insecure-skip-tls-verify: true\n");
    }
    write_field(&b, "    ", "server", c->server);
    write_field(&b, "    ", "tls-server-name", c->tls_server_name);
    write_field(&b, "  ", "name", name);
    buf_append_c(&b, "contexts:\n- context:\n");
    write_field(&b, "    ", "cluster", name);
    write_field(&b, "    ", "namespace",
                str_eq(c->namespace, STR("default")) ? STR_NULL : c->namespace);
    write_field(&b, "    ", "user", name);
    write_field(&b, "  ", "name", name);
    write_field(&b, "", "current-context", name);
    buf_append_c(&b, "users:\n- name: ");
    struct val v = val_string(name);
    yaml_write(&b, &v);
    buf_append_c(&b, "  user:\n");
    write_pem(&b, "client-certificate", c->client_cert_pem, c->client_cert_file);
    write_pem(&b, "client-key", c->client_key_pem, c->client_key_file);
    write_field(&b, "    ", "token", c->token);
    write_field(&b, "    ", "tokenFile", c->token_file);
    write_field(&b, "    ", "username", c->username);
    write_field(&b, "    ", "password", c->password);
    bool ok = buf_failed(&b) ? err_set(err, ERR_TOO_LARGE, "the kubeconfig is too large")
                             : says_the_same(path, buf_str(&b)) || fs_write_atomic(path, buf_str(&b), 0600, err);
    if (b.ptr) {
        explicit_bzero(b.ptr, b.len);
    }
    buf_deinit(&b);
    return ok;
}
