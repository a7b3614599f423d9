#include "controllers/signer.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"

/* ---- which signer wants what ---- */

static const char *const names[SIGNER_MAX] = {
    [SIGNER_APISERVER_CLIENT] = "kubernetes.io/kube-apiserver-client",
    [SIGNER_KUBELET_CLIENT] = "kubernetes.io/kube-apiserver-client-kubelet",
    [SIGNER_KUBELET_SERVING] = "kubernetes.io/kubelet-serving",
    [SIGNER_LEGACY_UNKNOWN] = "kubernetes.io/legacy-unknown",
};

struct str signer_name(enum signer_kind kind)
{
    return str_c(names[kind]);
}

bool signer_of_name(struct str name, enum signer_kind *ret)
{
    for (size_t i = 0; i < SIGNER_MAX; i++) {
        if (str_eq_c(name, names[i])) {
            *ret = (enum signer_kind)i;
            return true;
        }
    }
    return false;
}

/* 'needed' must be among them, the rest must be among digital signature and key encipherment.
 * 'whole': digital signature is needed, too. */
static bool check_usages(const struct str *usages, size_t n, const char *needed, bool whole,
                         struct err *err)
{
    bool has_needed = false, has_signature = false;
    for (size_t i = 0; i < n; i++) {
        bool signature = str_eq_c(usages[i], "digital signature");
        if (str_eq_c(usages[i], needed)) {
            has_needed = true;
        } else if (!signature && !str_eq_c(usages[i], "key encipherment")) {
            return err_set(err, ERR_INVALID, "invalid usage for %s certificate: %.*s",
                           strcmp(needed, "server auth") == 0 ? "serving" : "client",
                           STR_ARG(usages[i]));
        }
        has_signature = has_signature || signature;
    }
    if (!has_needed || (whole && !has_signature)) {
        return err_set(err, ERR_INVALID, "missing required usage for %s certificate: %s",
                       strcmp(needed, "server auth") == 0 ? "serving" : "client",
                       has_needed ? "digital signature" : needed);
    }
    return true;
}

static bool check_node_subject(const struct pki_csr *csr, struct err *err)
{
    if (csr->names.n_orgs != 1 || !str_eq_c(csr->names.orgs[0], "system:nodes")) {
        return err_set(err, ERR_INVALID, "subject organization is not system:nodes");
    }
    if (!str_starts(csr->names.cn, STR("system:node:")) ||
        csr->names.cn.len == strlen("system:node:")) {
        return err_set(err, ERR_INVALID, "subject common name does not begin with system:node:");
    }
    if (csr->names.n_emails > 0) {
        return err_set(err, ERR_INVALID, "Email subjectAltNames are not allowed");
    }
    return csr->names.n_uris == 0 ||
           err_set(err, ERR_INVALID, "URI subjectAltNames are not allowed");
}

bool signer_accepts(enum signer_kind kind, const struct pki_csr *csr, const struct str *usages,
                    size_t n_usages, struct err *err)
{
    switch (kind) {
    case SIGNER_APISERVER_CLIENT: return check_usages(usages, n_usages, "client auth", false, err);
    case SIGNER_KUBELET_CLIENT:
        if (!check_node_subject(csr, err)) {
            return false;
        }
        if (csr->names.n_dns > 0) {
            return err_set(err, ERR_INVALID, "DNS subjectAltNames are not allowed");
        }
        if (csr->names.n_ips > 0) {
            return err_set(err, ERR_INVALID, "IP subjectAltNames are not allowed");
        }
        return check_usages(usages, n_usages, "client auth", true, err);
    case SIGNER_KUBELET_SERVING:
        if (!check_node_subject(csr, err)) {
            return false;
        }
        if (csr->names.n_dns + csr->names.n_ips == 0) {
            return err_set(err, ERR_INVALID, "DNS or IP subjectAltName is required");
        }
        return check_usages(usages, n_usages, "server auth", true, err);
    case SIGNER_LEGACY_UNKNOWN: return true; /* whoever approves has looked */
    case SIGNER_MAX: break;
    }
    return err_set(err, ERR_INTERNAL, "no such signer");
}

/* ---- the CA ---- */

struct file_mark {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};

struct signer_ca {
    char *cert_file, *key_file;
    struct file_mark cert_mark, key_mark; /* of the files that were read */
    struct pki_cert *cert;                /* NULL: not read yet */
    struct pki_key *key;
};

struct signer_ca *signer_ca_new(const char *cert_file, const char *key_file)
{
    struct signer_ca *ca = calloc(1, sizeof(*ca));
    char *cert = strdup(cert_file), *key = strdup(key_file);
    if (!ca || !cert || !key) {
        abort();
    }
    ca->cert_file = cert;
    ca->key_file = key;
    return ca;
}

struct signer_ca *signer_ca_free(struct signer_ca *ca)
{
    if (ca) {
        pki_cert_unref(ca->cert);
        pki_key_unref(ca->key);
        free(ca->cert_file);
        free(ca->key_file);
        free(ca);
    }
    return NULL;
}

static struct file_mark mark_of(const char *path)
{
    struct stat st;
    struct file_mark m = { 0 };
    if (stat(path, &st) == 0) {
        m = (struct file_mark){ st.st_dev, st.st_ino, st.st_size, st.st_mtim };
    }
    return m;
}

static bool same_mark(const struct file_mark *a, const struct file_mark *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool read_pair(const struct signer_ca *ca, struct pki_cert **ret_cert,
                      struct pki_key **ret_key, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, PKI_MAX_FILE);
    if (!fs_read(ca->cert_file, PKI_MAX_FILE, &b, err)) {
        return false;
    }
    struct str pem = buf_str(&b);
    CLEANUP(pki_cert_unrefp) struct pki_cert *cert = pki_cert_read(&pem, err);
    if (!cert) {
        return err_wrap(err, "%s", ca->cert_file);
    }
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_load_private(ca->key_file, err);
    if (!key) {
        return false;
    }
    if (!pki_cert_is_ca(cert)) {
        return err_set(err, ERR_INVALID, "%s is not a CA certificate", ca->cert_file);
    }
    if (!pki_cert_matches_key(cert, key)) {
        return err_set(err, ERR_INVALID, "%s is not the key of %s", ca->key_file, ca->cert_file);
    }
    *ret_cert = TAKE(cert);
    *ret_key = TAKE(key);
    return true;
}

bool signer_ca_load(struct signer_ca *ca, struct err *err)
{
    struct file_mark cert_mark = mark_of(ca->cert_file), key_mark = mark_of(ca->key_file);
    struct pki_cert *cert;
    struct pki_key *key;
    if (ca->cert && same_mark(&cert_mark, &ca->cert_mark) && same_mark(&key_mark, &ca->key_mark)) {
        return true;
    }
    if (!read_pair(ca, &cert, &key, err)) {
        if (ca->cert) {
            log_warning("the signing CA cannot be read again, the one read before stays in use: %s",
                        err->msg);
        }
        return ca->cert != NULL;
    }
    pki_cert_unref(ca->cert);
    pki_key_unref(ca->key);
    ca->cert = cert;
    ca->key = key;
    ca->cert_mark = cert_mark;
    ca->key_mark = key_mark;
    return true;
}

/* ---- signing ---- */

bool signer_issue(struct signer_ca *ca, const struct pki_csr *csr, const struct str *usages,
                  size_t n_usages, int64_t asked_s, int64_t longest_s, int64_t now,
                  struct buf *ret_pem, struct err *err)
{
    struct pki_cert_spec spec = { .names = csr->names,
                                  .subject = csr->subject,
                                  .not_before = now - SIGNER_BACKDATE_S };
    int64_t life = asked_s <= 0 ? longest_s : MIN(MAX(asked_s, (int64_t)SIGNER_LEAST_S), longest_s);
    if (!signer_ca_load(ca, err)) {
        return false;
    }
    if (pki_cert_not_after(ca->cert) <= now) {
        return err_set(err, ERR_INVALID, "the signer has expired");
    }
    spec.not_after = now + (life < SIGNER_SHORT_S ? life : life - SIGNER_BACKDATE_S);
    for (size_t i = 0; i < n_usages; i++) {
        unsigned usage = pki_usage_of_name(usages[i]);
        if (!usage) {
            return err_set(err, ERR_INVALID, "unrecognized usage \"%.*s\"", STR_ARG(usages[i]));
        }
        spec.usages |= usage;
    }
    /* A request never makes a CA, whatever it asks for (upstream's signers say so in every
     * certificate). */
    CLEANUP(pki_cert_unrefp)
    struct pki_cert *cert = pki_cert_sign(ca->cert, ca->key, csr->key, &spec, err);
    if (!cert) {
        return false;
    }
    pki_cert_write_pem(cert, ret_pem);
    return !buf_failed(ret_pem) || err_set(err, ERR_TOO_LARGE, "the certificate is too large");
}
