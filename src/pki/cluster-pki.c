#include "pki/cluster-pki.h"

#include <arpa/inet.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "pki/pki-private.h"

#define CA_LIFETIME_S ((int64_t)3650 * 86400)
#define CERT_LIFETIME_S ((int64_t)365 * 86400)

/* A certificate authority of the folder. The key is absent when it is kept elsewhere. */
struct authority {
    struct pki_cert *cert;
    struct pki_key *key;
};

static void authority_deinit(struct authority *a)
{
    a->cert = pki_cert_unref(a->cert);
    a->key = pki_key_unref(a->key);
}

/* One work on the folder. */
struct writer {
    const struct pki_cluster_spec *spec;
    unsigned changed;
    struct err *err;
};

/* ---- files ---- */

static bool path_of(const struct writer *w, const char *file, const char *ext, char dst[PATH_MAX])
{
    int n = snprintf(dst, PATH_MAX, "%s/%s%s", w->spec->dir, file, ext);
    return n > 0 && n < PATH_MAX ? true
                                 : err_set(w->err, ERR_INVALID, "the path of %s is too long", file);
}

static bool write_file(struct writer *w, const char *file, const char *ext, struct buf *content,
                       mode_t mode)
{
    char path[PATH_MAX];
    bool ok = !buf_failed(content) ||
              err_set(w->err, ERR_NO_MEMORY, "out of memory while %s%s was written", file, ext);
    ok = ok && path_of(w, file, ext, path) && fs_write_atomic(path, buf_str(content), mode, w->err);
    if (content->ptr) {
        explicit_bzero(content->ptr, content->capacity);
    }
    buf_deinit(content);
    w->changed += ok ? 1 : 0;
    return ok;
}

static bool write_key(struct writer *w, const char *file, const struct pki_key *k)
{
    struct buf b;
    buf_init(&b, PKI_MAX_FILE);
    if (!pki_key_write_traditional(k, &b)) {
        b.failed = true;
    }
    return write_file(w, file, ".key", &b, 0600);
}

static bool write_cert(struct writer *w, const char *file, const struct pki_cert *c)
{
    struct buf b;
    buf_init(&b, PKI_MAX_FILE);
    pki_cert_write_pem(c, &b);
    return write_file(w, file, ".crt", &b, 0644);
}

/* NULL with ret_absent when there is no file; NULL without it when it cannot be read (then it is
 * made anew). */
static struct pki_cert *load_cert(const struct writer *w, const char *file, bool *ret_absent)
{
    char path[PATH_MAX];
    struct err e = { 0 };
    struct pki_bundle b = { 0 };
    struct pki_cert *c = NULL;
    if (path_of(w, file, ".crt", path) && pki_bundle_load(&b, path, &e)) {
        c = pki_cert_ref(b.certs[0]);
        pki_bundle_deinit(&b);
    }
    *ret_absent = !c && e.code == ERR_NOT_FOUND;
    return c;
}

static struct pki_key *load_key(const struct writer *w, const char *file, bool *ret_absent)
{
    char path[PATH_MAX];
    struct err e = { 0 };
    struct pki_key *k = path_of(w, file, ".key", path) ? pki_key_load_private(path, &e) : NULL;
    *ret_absent = !k && e.code == ERR_NOT_FOUND && access(path, F_OK) != 0;
    return k;
}

/* ---- authorities ---- */

static bool open_authority(struct writer *w, const char *file, struct str cn, struct authority *ret)
{
    bool no_cert, no_key;
    struct authority a = { .cert = load_cert(w, file, &no_cert),
                           .key = load_key(w, file, &no_key) };
    int64_t now = w->spec->now;
    if (a.cert && !pki_cert_is_ca(a.cert)) {
        (void)err_set(w->err, ERR_INVALID, "%s/%s.crt is not a CA certificate", w->spec->dir, file);
        goto fail;
    }
    if (a.cert && now < pki_cert_not_after(a.cert) &&
        (a.key ? pki_cert_matches_key(a.cert, a.key) : no_key)) {
        *ret = a;
        return true;
    }
    if ((!a.cert && !no_cert) || (!a.key && !no_key) ||
        (a.cert && a.key && !pki_cert_matches_key(a.cert, a.key))) {
        /* Everything in the cluster trusts it: a broken CA is not replaced behind a person's back.
         */
        (void)err_set(w->err, ERR_INVALID,
                      "%s/%s.crt and .key cannot be read or do not belong together; restore them, "
                      "or remove both",
                      w->spec->dir, file);
        goto fail;
    }
    if (a.cert && !a.key) {
        (void)err_set(w->err, ERR_INVALID, "%s/%s.crt has expired and its key is not here",
                      w->spec->dir, file);
        goto fail;
    }
    bool new_key = !a.key;
    a.cert = pki_cert_unref(a.cert);
    if (new_key) {
        a.key = pki_key_generate(w->spec->key_kind, 0, w->err);
    }
    struct pki_cert_spec s = {
        .names = { .cn = cn, .dns = &cn, .n_dns = 1 },
        .ca = true,
        .path_len = -1,
        .not_before = now - PKI_BACKDATE_S,
        .not_after = now + (w->spec->ca_lifetime_s ? w->spec->ca_lifetime_s : CA_LIFETIME_S),
    };
    a.cert = a.key ? pki_cert_self_sign(a.key, &s, w->err) : NULL;
    if (!a.cert || (new_key && !write_key(w, file, a.key)) || !write_cert(w, file, a.cert)) {
        goto fail;
    }
    *ret = a;
    return true;
fail:
    authority_deinit(&a);
    return false;
}

/* ---- leaves ---- */

static bool has_all(const struct str *have, size_t n_have, const struct str *want, size_t n_want,
                    bool ip)
{
    for (size_t i = 0; i < n_want; i++) {
        bool found = false;
        char text[INET6_ADDRSTRLEN], canonical[INET6_ADDRSTRLEN];
        struct str name = want[i];
        unsigned char raw[16];
        if (ip && str_to_cstr(name, text, sizeof(text))) {
            int family = str_find_char(name, ':') >= 0 ? AF_INET6 : AF_INET;
            if (inet_pton(family, text, raw) == 1 &&
                inet_ntop(family, raw, canonical, sizeof(canonical))) {
                name = str_c(canonical);
            }
        }
        for (size_t j = 0; j < n_have && !found; j++) {
            found = ip ? str_eq(have[j], name) : str_eq_nocase(have[j], name);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static bool still_good(const struct writer *w, const struct authority *ca, struct pki_cert *c,
                       const struct pki_key *k, const struct pki_names *names, unsigned usages)
{
    struct pki_cert_info info;
    struct arena a;
    int64_t now = w->spec->now;
    int64_t life = pki_cert_not_after(c) - pki_cert_not_before(c) - PKI_BACKDATE_S;
    if (!pki_cert_matches_key(c, k) || pki_cert_not_after(c) - now <= life / 3) {
        return false;
    }
    struct pki_cert *roots[] = { ca->cert };
    struct pki_bundle bundle = { .certs = roots, .n = 1 };
    bool ok = pki_verify(&bundle, &c, 1, usages & (PKI_USAGE_CLIENT_AUTH | PKI_USAGE_SERVER_AUTH),
                         now, NULL);
    arena_init(&a, 1 << 20);
    ok = ok && pki_cert_inspect(c, &a, &info, NULL) && (info.usages & usages) == usages &&
         str_eq(info.names.cn, names->cn) && info.names.n_orgs == names->n_orgs &&
         has_all(info.names.orgs, info.names.n_orgs, names->orgs, names->n_orgs, false) &&
         has_all(info.names.dns, info.names.n_dns, names->dns, names->n_dns, false) &&
         has_all(info.names.ips, info.names.n_ips, names->ips, names->n_ips, true);
    arena_deinit(&a);
    return ok;
}

static bool ensure_pair(struct writer *w, const struct authority *ca, const char *file,
                        const struct pki_names *names, unsigned usages)
{
    bool absent;
    CLEANUP(pki_cert_unrefp) struct pki_cert *c = load_cert(w, file, &absent);
    CLEANUP(pki_key_unrefp) struct pki_key *k = load_key(w, file, &absent);
    if (c && k && still_good(w, ca, c, k, names, usages)) {
        return true;
    }
    if (!ca->key) {
        return err_set(w->err, ERR_INVALID,
                       "%s/%s.crt must be made, but the key of its CA is not here", w->spec->dir,
                       file);
    }
    int64_t now = w->spec->now;
    struct pki_cert_spec s = {
        .names = *names,
        .usages = usages | PKI_USAGE_DIGITAL_SIGNATURE |
                  (w->spec->key_kind == PKI_KEY_RSA ? PKI_USAGE_KEY_ENCIPHERMENT : 0),
        .not_before = now - PKI_BACKDATE_S,
        .not_after = now + (w->spec->cert_lifetime_s ? w->spec->cert_lifetime_s : CERT_LIFETIME_S),
    };
    c = pki_cert_unref(c);
    k = pki_key_unref(k);
    k = pki_key_generate(w->spec->key_kind, 0, w->err);
    c = k ? pki_cert_sign(ca->cert, ca->key, k, &s, w->err) : NULL;
    return c && write_key(w, file, k) && write_cert(w, file, c);
}

static bool ensure_sa_keys(struct writer *w)
{
    bool absent;
    char path[PATH_MAX];
    CLEANUP(pki_key_unrefp) struct pki_key *k = load_key(w, "sa", &absent);
    if (!k && !absent) {
        return err_set(w->err, ERR_INVALID,
                       "%s/sa.key cannot be read; restore it, or remove it and every token with it",
                       w->spec->dir);
    }
    if (!k) {
        k = pki_key_generate(w->spec->key_kind, 0, w->err);
        if (!k || !write_key(w, "sa", k)) {
            return false;
        }
    }
    if (!path_of(w, "sa", ".pub", path)) {
        return false;
    }
    struct buf want, have;
    buf_init(&want, PKI_MAX_FILE);
    buf_init(&have, PKI_MAX_FILE);
    bool ok =
        pki_key_write_public(k, &want) || err_set(w->err, ERR_INTERNAL, "sa.pub could not be made");
    bool same =
        ok && fs_read(path, PKI_MAX_FILE, &have, NULL) && str_eq(buf_str(&have), buf_str(&want));
    buf_deinit(&have);
    if (!ok || same) {
        buf_deinit(&want);
        return ok;
    }
    return write_file(w, "sa", ".pub", &want, 0644);
}

/* ---- the folder ---- */

static const struct client_row {
    const char *file, *cn, *org;
} clients[] = {
    { "apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters" },
    { "admin", "kubernetes-admin", "system:masters" },
    { "controller-manager", "system:kube-controller-manager", NULL },
    { "scheduler", "system:kube-scheduler", NULL },
    { "kube-proxy", "system:kube-proxy", NULL },
};

static bool ensure_client(struct writer *w, const struct authority *ca, const char *file,
                          struct str cn, const struct str *orgs, size_t n_orgs)
{
    struct pki_names names = { .cn = cn, .orgs = orgs, .n_orgs = n_orgs };
    return ensure_pair(w, ca, file, &names, PKI_USAGE_CLIENT_AUTH);
}

static bool ensure_apiserver(struct writer *w, const struct authority *ca)
{
    const struct pki_cluster_spec *s = w->spec;
    struct str domain = s->cluster_domain.len ? s->cluster_domain : STR("cluster.local");
    struct arena a;
    arena_init(&a, 1 << 20);
    struct str *dns = arena_new_n(&a, struct str, 5 + s->n_apiserver_dns);
    struct str *ips = arena_new_n(&a, struct str, 3 + s->n_apiserver_ips);
    bool ok = dns && ips;
    if (ok) {
        size_t n_dns = 0, n_ips = 0;
        dns[n_dns++] = STR("kubernetes");
        dns[n_dns++] = STR("kubernetes.default");
        dns[n_dns++] = STR("kubernetes.default.svc");
        dns[n_dns++] = arena_printf(&a, "kubernetes.default.svc.%.*s", STR_ARG(domain));
        dns[n_dns++] = STR("localhost");
        for (size_t i = 0; i < s->n_apiserver_dns; i++) {
            dns[n_dns++] = s->apiserver_dns[i];
        }
        ips[n_ips++] = STR("127.0.0.1");
        ips[n_ips++] = STR("::1");
        if (!str_empty(s->service_ip)) {
            ips[n_ips++] = s->service_ip;
        }
        for (size_t i = 0; i < s->n_apiserver_ips; i++) {
            ips[n_ips++] = s->apiserver_ips[i];
        }
        struct pki_names names = {
            .cn = STR("kube-apiserver"), .dns = dns, .n_dns = n_dns, .ips = ips, .n_ips = n_ips
        };
        ok = ensure_pair(w, ca, "apiserver", &names, PKI_USAGE_SERVER_AUTH);
    }
    arena_deinit(&a);
    return ok;
}

static bool ensure_all(struct writer *w)
{
    CLEANUP(authority_deinit) struct authority ca = { 0 };
    CLEANUP(authority_deinit) struct authority front = { 0 };
    if (!fs_mkdirs(w->spec->dir, 0755, w->err) ||
        !open_authority(w, "ca", STR("kubernetes"), &ca) ||
        !open_authority(w, "front-proxy-ca", STR("front-proxy-ca"), &front) || !ensure_sa_keys(w) ||
        !ensure_apiserver(w, &ca)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        struct str org = str_c(clients[i].org);
        if (!ensure_client(w, &ca, clients[i].file, str_c(clients[i].cn), &org, org.ptr ? 1 : 0)) {
            return false;
        }
    }
    return ensure_client(w, &front, "front-proxy-client", STR("front-proxy-client"), NULL, 0);
}

bool pki_cluster_write(const struct pki_cluster_spec *spec, unsigned *ret_changed, struct err *err)
{
    struct writer w = { .spec = spec, .err = err };
    bool ok = ensure_all(&w);
    if (ok && ret_changed) {
        *ret_changed = w.changed;
    }
    return ok;
}

bool pki_cluster_write_client(const struct pki_cluster_spec *spec, const char *file, struct str cn,
                              const struct str *orgs, size_t n_orgs, unsigned *ret_changed,
                              struct err *err)
{
    struct writer w = { .spec = spec, .err = err };
    CLEANUP(authority_deinit) struct authority ca = { 0 };
    bool ok = fs_mkdirs(spec->dir, 0755, err) && open_authority(&w, "ca", STR("kubernetes"), &ca) &&
              ensure_client(&w, &ca, file, cn, orgs, n_orgs);
    if (ok && ret_changed) {
        *ret_changed = w.changed;
    }
    return ok;
}

bool pki_cluster_write_server(const struct pki_cluster_spec *spec, const char *file, const struct pki_names *names,
                              unsigned *ret_changed, struct err *err)
{
    struct writer w = { .spec = spec, .err = err };
    CLEANUP(authority_deinit) struct authority ca = { 0 };
    bool ok = fs_mkdirs(spec->dir, 0755, err) && open_authority(&w, "ca", STR("kubernetes"), &ca) &&
              ensure_pair(&w, &ca, file, names, PKI_USAGE_SERVER_AUTH);
    if (ok && ret_changed) {
        *ret_changed = w.changed;
    }
    return ok;
}

bool pki_cluster_write_node(const struct pki_cluster_spec *spec, struct str node,
                            const struct str *dns, size_t n_dns, const struct str *ips,
                            size_t n_ips, unsigned *ret_changed, struct err *err)
{
    struct writer w = { .spec = spec, .err = err };
    char dir[PATH_MAX], client[512], serving[512], cn[320];
    if (node.len == 0 || node.len > 253 || str_find_char(node, '/') >= 0 || node.ptr[0] == '.') {
        return err_set(err, ERR_INVALID, "\"%.*s\" is no name for a node", STR_ARG(node));
    }
    snprintf(client, sizeof(client), "nodes/%.*s/kubelet-client", STR_ARG(node));
    snprintf(serving, sizeof(serving), "nodes/%.*s/kubelet", STR_ARG(node));
    snprintf(cn, sizeof(cn), "system:node:%.*s", STR_ARG(node));
    int n = snprintf(dir, sizeof(dir), "%s/nodes/%.*s", spec->dir, STR_ARG(node));
    if (n < 0 || n >= (int)sizeof(dir)) {
        return err_set(err, ERR_INVALID, "the path of the PKI folder is too long");
    }
    CLEANUP(authority_deinit) struct authority ca = { 0 };
    struct str org = STR("system:nodes");
    struct str *all_dns = calloc(n_dns + 1, sizeof(*all_dns));
    if (!all_dns) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    all_dns[0] = node;
    for (size_t i = 0; i < n_dns; i++) {
        all_dns[i + 1] = dns[i];
    }
    struct pki_names server = {
        .cn = str_c(cn),
        .orgs = &org,
        .n_orgs = 1,
        .dns = all_dns,
        .n_dns = n_dns + 1,
        .ips = ips,
        .n_ips = n_ips,
    };
    bool ok = fs_mkdirs(dir, 0755, err) && open_authority(&w, "ca", STR("kubernetes"), &ca) &&
              ensure_client(&w, &ca, client, str_c(cn), &org, 1) &&
              ensure_pair(&w, &ca, serving, &server, PKI_USAGE_SERVER_AUTH);
    free(all_dns);
    if (ok && ret_changed) {
        *ret_changed = w.changed;
    }
    return ok;
}

bool pki_cluster_write_etcd(const struct pki_cluster_spec *spec, const struct pki_etcd_member *members, size_t n_members,
                            unsigned *ret_changed, struct err *err)
{
    struct writer w = { .spec = spec, .err = err };
    CLEANUP(authority_deinit) struct authority ca = { 0 };
    bool ok = fs_mkdirs(spec->dir, 0700, err) && open_authority(&w, "ca", STR("etcd-ca"), &ca) &&
              ensure_client(&w, &ca, "client", STR("kube-apiserver-etcd-client"), NULL, 0);
    for (size_t i = 0; ok && i < n_members; i++) {
        char file[300];
        const struct str dns[] = { members[i].name, STR("localhost") }, ips[] = { members[i].ip, STR("127.0.0.1") };
        /* Members are clients of each other. */
        const struct pki_names names = { .cn = members[i].name, .dns = dns, .n_dns = 2, .ips = ips, .n_ips = 2 };
        (void)snprintf(file, sizeof(file), "member-%.*s", STR_ARG(members[i].name));
        ok = ensure_pair(&w, &ca, file, &names, PKI_USAGE_SERVER_AUTH | PKI_USAGE_CLIENT_AUTH);
    }
    if (ok && ret_changed) {
        *ret_changed = w.changed;
    }
    return ok;
}
