#include "client/cluster-info.h"

#include <ctype.h>

#include "api/decode-json.h"
#include "api/gen/core_v1.h"
#include "api/yaml.h"
#include "base/encoding.h"
#include "pki/cert.h"
#include "pki/detached-jws.h"

#define TOKEN_ID_LEN 6
#define TOKEN_SECRET_LEN 16
#define PIN_PREFIX STR("sha256:")

/* ---- the signature ---- */

static bool is_token_part(struct str s, size_t len)
{
    bool ok = s.len == len;
    for (size_t i = 0; ok && i < s.len; i++) {
        ok = (s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= '0' && s.ptr[i] <= '9');
    }
    return ok;
}

static struct str data_of(const struct core_v1_config_map *m, struct str key)
{
    for (size_t i = 0; i < m->n_data; i++) {
        if (str_eq(m->data[i].key, key)) {
            return m->data[i].value;
        }
    }
    return STR_NULL;
}

static bool check_signature(struct arena *a, const struct core_v1_config_map *m, struct str token,
                            struct str *ret_kubeconfig, struct err *err)
{
    struct str id, secret;
    if (!str_cut(token, '.', &id, &secret) || !is_token_part(id, TOKEN_ID_LEN) ||
        !is_token_part(secret, TOKEN_SECRET_LEN)) {
        return err_set(err, ERR_BAD_REQUEST, "the token has not the form abcdef.0123456789abcdef");
    }
    struct str key = arena_printf(a, "%.*s%.*s", STR_ARG(CLUSTER_INFO_JWS_PREFIX), STR_ARG(id));
    struct str jws = data_of(m, key), kubeconfig = data_of(m, CLUSTER_INFO_KUBECONFIG_KEY);
    if (str_empty(kubeconfig)) {
        return err_set(err, ERR_INVALID, "cluster-info holds no kubeconfig");
    }
    if (str_empty(jws)) {
        return err_set(err, ERR_UNAUTHORIZED,
                       "cluster-info is not signed by the token \"%.*s\": it is unknown there, has "
                       "expired, may not sign, or was "
                       "made a moment ago",
                       STR_ARG(id));
    }
    if (!detached_jws_verify(jws, id, secret, kubeconfig)) {
        return err_set(err, ERR_UNAUTHORIZED,
                       "the signature of cluster-info is not by the token \"%.*s\": this is "
                       "another cluster, or somebody between",
                       STR_ARG(id));
    }
    *ret_kubeconfig = kubeconfig;
    return true;
}

/* ---- the kubeconfig ---- */

static const struct val *named(const struct val *list, struct str name, const char *what)
{
    for (uint32_t i = 0; val_is(list, VAL_ARRAY) && i < list->n; i++) {
        if (str_eq(val_get_str(&list->items[i], STR("name")), name)) {
            return val_get(&list->items[i], str_c(what));
        }
    }
    return NULL;
}

/* The cluster without a name, as kubeadm writes it, or that of the current context. */
static const struct val *find_cluster(const struct val *root)
{
    const struct val *clusters = val_get(root, STR("clusters"));
    const struct val *c = named(clusters, STR_EMPTY, "cluster");
    if (!c) {
        const struct val *ctx = named(val_get(root, STR("contexts")),
                                      val_get_str(root, STR("current-context")), "context");
        c = ctx ? named(clusters, val_get_str(ctx, STR("cluster")), "cluster") : NULL;
    }
    return c;
}

static bool read_kubeconfig(struct arena *a, struct str text, struct cluster_info *ret,
                            struct err *err)
{
    struct val root;
    if (!yaml_or_json_parse(a, text, NULL, &root, err)) {
        return err_wrap(err, "the kubeconfig of cluster-info");
    }
    const struct val *cluster = find_cluster(&root);
    struct str ca64 = val_get_str(cluster, STR("certificate-authority-data"));
    const struct val *insecure = val_get(cluster, STR("insecure-skip-tls-verify"));
    if (!cluster) {
        return err_set(err, ERR_INVALID, "the kubeconfig of cluster-info names no cluster");
    }
    ret->server = arena_str(a, val_get_str(cluster, STR("server")));
    ret->tls_server_name = arena_str(a, val_get_str(cluster, STR("tls-server-name")));
    if (!str_starts(ret->server, STR("https://"))) {
        return err_set(err, ERR_INVALID, "the server of cluster-info is not an https address");
    }
    if (val_is(insecure, VAL_BOOL) && insecure->b) {
        return err_set(err, ERR_INVALID,
                       "the kubeconfig of cluster-info asks for insecure-skip-tls-verify: refused");
    }
    if (str_empty(ca64) || !base64_decode(a, ca64, &ret->ca_pem)) {
        return err_set(err, ERR_INVALID,
                       "the kubeconfig of cluster-info carries no certificate-authority-data");
    }
    return true;
}

/* ---- the pins ---- */

bool cluster_info_is_pin(struct str pin)
{
    struct str hex = str_sub(pin, PIN_PREFIX.len, SIZE_MAX);
    bool ok = str_starts(pin, PIN_PREFIX) && hex.len == 64;
    for (size_t i = 0; ok && i < hex.len; i++) {
        ok = isxdigit((unsigned char)hex.ptr[i]);
    }
    return ok;
}

static bool is_pinned(const struct pki_cert *c, const struct str *pins, size_t n_pins)
{
    char pin[PKI_PIN_SIZE];
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_cert_key(c, NULL);
    bool found = false;
    if (key) {
        pki_key_pin(key, pin);
        for (size_t i = 0; i < n_pins; i++) {
            found = found || str_eq_nocase(pins[i], str_c(pin));
        }
    }
    return found;
}

/* Keeps the CA certificates that a pin names; all when there are no pins. */
static bool keep_pinned(struct arena *a, const struct str *pins, size_t n_pins,
                        struct cluster_info *info, struct err *err)
{
    struct pki_bundle bundle;
    struct buf kept;
    size_t n = 0;
    if (!pki_bundle_read(&bundle, info->ca_pem, err)) {
        return err_wrap(err, "the CA of cluster-info");
    }
    buf_init(&kept, CLUSTER_INFO_MAX);
    for (size_t i = 0; i < bundle.n; i++) {
        if (pki_cert_is_ca(bundle.certs[i]) &&
            (n_pins == 0 || is_pinned(bundle.certs[i], pins, n_pins))) {
            pki_cert_write_pem(bundle.certs[i], &kept);
            n++;
        }
    }
    info->ca_pem = arena_str(a, buf_str(&kept));
    bool failed = buf_failed(&kept) || !info->ca_pem.ptr;
    buf_deinit(&kept);
    pki_bundle_deinit(&bundle);
    if (failed) {
        return err_set(err, ERR_TOO_LARGE, "the CA of cluster-info is too large");
    }
    if (n == 0) {
        return n_pins ? err_set(err, ERR_UNAUTHORIZED,
                                "no CA of cluster-info has a public key of the given pins: this is "
                                "another "
                                "cluster, or somebody between who knows the token")
                      : err_set(err, ERR_INVALID, "cluster-info carries no CA certificate");
    }
    return true;
}

bool cluster_info_read(struct arena *a, struct str config_map_json, struct str token,
                       const struct str *pins, size_t n_pins, struct cluster_info *ret,
                       struct err *err)
{
    struct core_v1_config_map m = { 0 };
    struct cluster_info info = { 0 };
    struct str kubeconfig;
    if (config_map_json.len > CLUSTER_INFO_MAX) {
        return err_set(err, ERR_TOO_LARGE, "cluster-info of %zu bytes, the limit is %u",
                       config_map_json.len, CLUSTER_INFO_MAX);
    }
    for (size_t i = 0; i < n_pins; i++) {
        if (!cluster_info_is_pin(pins[i])) {
            return err_set(err, ERR_BAD_REQUEST,
                           "the pin \"%.*s\" has not the form sha256:<64 hex digits>",
                           STR_ARG(pins[i]));
        }
    }
    if (!api_decode_json(a, &core_v1_config_map_type, config_map_json, NULL, &m, err)) {
        return err_wrap(err, "cluster-info");
    }
    if (!check_signature(a, &m, token, &kubeconfig, err) ||
        !read_kubeconfig(a, kubeconfig, &info, err) || !keep_pinned(a, pins, n_pins, &info, err)) {
        return false;
    }
    *ret = info;
    return true;
}

void cluster_info_write(struct str server, struct str ca_pem, struct buf *b)
{
    buf_append_c(b, "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: ");
    base64_encode(b, ca_pem);
    buf_printf(b,
               "\n    server: %.*s\n  name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: "
               "Config\npreferences: {}\nusers: null\n",
               STR_ARG(server));
}
