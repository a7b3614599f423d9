/* What the kubelet's port shows. See node-certificates.h. */
#include <stdlib.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "kubelet/node-certificates.h"
#include "net/addr.h"
#include "net/file-watch.h"

#define FILE_MAX (1u << 20)
#define SELF_SIGNED_S ((int64_t)365 * 86400)
/* How often a self-signed certificate's age is looked at. */
#define LOOK_MS (6 * 3600000)
/* A Node may list a handful of addresses; a cloud's provider some more. */
#define MAX_NAMES 32

struct serving {
    struct kubelet *k;
    struct cert_manager *manager; /* NULL: files, or self-signed */
    struct file_watch *files;
    struct loop_timer look;
};

static struct metric renew_errors = METRIC_COUNTER("kubelet_server_expiration_renew_errors", "Counter of certificate renewal errors.");
static struct metric server_ttl = METRIC_GAUGE("kubelet_certificate_manager_server_ttl_seconds",
                                               "Gauge of the shortest TTL (time-to-live) of the Kubelet's serving certificate.");
static const double ages[] = { 60,   3600,   14400,   86400,   604800,   2592000,
                               7776000, 15552000, 31104000, 124416000, 0 };
static struct metric server_life = METRIC_HISTOGRAM("kubelet_certificate_manager_server_rotation_seconds",
                                                    "Histogram of the number of seconds the previous certificate lived before being rotated.",
                                                    ages);

/* ---- signed by the cluster ---- */

static void add(struct str *list, size_t *n, struct str one)
{
    for (size_t i = 0; i < *n; i++) {
        if (str_eq(list[i], one)) {
            return;
        }
    }
    if (one.len && *n < MAX_NAMES) {
        list[(*n)++] = one;
    }
}

/* What the Node says: whoever approves compares with that, and others (a cloud's provider) write there too. A change of our own
 * address is in it a moment later. */
static bool names(void *arg, struct arena *a, struct pki_names *ret)
{
    struct serving *s = arg;
    struct net_addr addr;
    struct str *dns = arena_new_n(a, struct str, MAX_NAMES), *ips = arena_new_n(a, struct str, MAX_NAMES);
    const struct core_v1_node *node = node_object(s->k);
    if (!dns || !ips || !node) {
        return false;
    }
    node_identity(s->k, a, ret);
    for (size_t i = 0; i < node->status.n_addresses; i++) {
        struct str one = node->status.addresses[i].address;
        bool is_ip = net_addr_parse_ip(one, 0, &addr);
        add(is_ip ? ips : dns, is_ip ? &ret->n_ips : &ret->n_dns, arena_str(a, one));
    }
    ret->dns = dns;
    ret->ips = ips;
    return ret->n_dns + ret->n_ips > 0;
}

static struct client *who_asks(void *arg, bool valid UNUSED)
{
    return ((struct serving *)arg)->k->client;
}

static void changed(void *arg)
{
    server_tls_changed(((struct serving *)arg)->k);
}

/* ---- self-signed ---- */

static bool read_file(struct str path, struct buf *b, struct err *err)
{
    char p[PATH_MAX];
    return (str_to_cstr(path, p, sizeof(p)) || err_set(err, ERR_INVALID, "a path is too long")) && fs_read(p, FILE_MAX, b, err);
}

/* A chain whose leaf has at least a tenth of its life left. */
static bool is_fresh(struct str pem)
{
    struct pki_cert *leaf = pki_cert_read(&pem, NULL);
    bool fresh = leaf && time_floor_now_s() < pki_cert_not_after(leaf) - (pki_cert_not_after(leaf) - pki_cert_not_before(leaf)) / 10;
    pki_cert_unref(leaf);
    return fresh;
}

/* Made once and kept in --cert-dir, as the original does when no certificate is given; made anew before it ends. */
static bool self_signed(struct kubelet *k, struct buf *cert, struct buf *key, struct err *err)
{
    char dir[PATH_MAX / 2], cert_path[PATH_MAX], key_path[PATH_MAX];
    struct str dns[] = { str_c(k->node_name) }, ips[] = { str_c(k->node_ip), STR("127.0.0.1") };
    int64_t now = time_floor_now_s();
    if (!str_to_cstr(k->cfg->cert_dir, dir, sizeof(dir))) {
        return err_set(err, ERR_INVALID, "--cert-dir is too long");
    }
    if (!fs_mkdirs(dir, 0700, err)) {
        return false;
    }
    snprintf(cert_path, sizeof(cert_path), "%s/kubelet.crt", dir);
    snprintf(key_path, sizeof(key_path), "%s/kubelet.key", dir);
    if (fs_read(cert_path, FILE_MAX, cert, NULL) && fs_read(key_path, FILE_MAX, key, NULL) && is_fresh(buf_str(cert))) {
        return true;
    }
    buf_clear(cert);
    buf_clear(key);
    log_warning("no --tls-cert-file: a self-signed certificate is made in %s", dir);
    struct pki_cert_spec root = { .names = { .cn = STR("kubelet-ca") }, .ca = true, .not_before = now - PKI_BACKDATE_S,
                                  .not_after = now + SELF_SIGNED_S };
    struct pki_cert_spec leaf = { .names = { .cn = str_c(k->node_name), .dns = dns, .n_dns = 1, .ips = ips, .n_ips = 2 },
                                  .usages = PKI_USAGE_DIGITAL_SIGNATURE | PKI_USAGE_KEY_ENCIPHERMENT | PKI_USAGE_SERVER_AUTH,
                                  .not_before = now - PKI_BACKDATE_S, .not_after = now + SELF_SIGNED_S };
    CLEANUP(pki_key_unrefp) struct pki_key *ca_key = pki_key_generate(PKI_KEY_P256, 0, err);
    CLEANUP(pki_key_unrefp) struct pki_key *own = ca_key ? pki_key_generate(PKI_KEY_P256, 0, err) : NULL;
    CLEANUP(pki_cert_unrefp) struct pki_cert *ca = own ? pki_cert_self_sign(ca_key, &root, err) : NULL;
    CLEANUP(pki_cert_unrefp) struct pki_cert *c = ca ? pki_cert_sign(ca, ca_key, own, &leaf, err) : NULL;
    if (!c) {
        return false;
    }
    pki_cert_write_pem(c, cert);
    pki_cert_write_pem(ca, cert);
    return (pki_key_write_private(own, key) || err_set(err, ERR_INTERNAL, "the serving key cannot be written")) &&
           fs_write_atomic(key_path, buf_str(key), 0600, err) && fs_write_atomic(cert_path, buf_str(cert), 0644, err);
}

static void on_look(void *arg)
{
    struct serving *s = arg;
    server_tls_changed(s->k);
    loop_timer_start(&s->look, LOOK_MS);
}

/* ---- all three ---- */

bool serving_read(struct kubelet *k, struct buf *cert, struct buf *key, struct buf *client_ca, struct err *err)
{
    const struct kubelet_config *c = k->cfg;
    struct cert_manager *m = k->serving ? k->serving->manager : NULL;
    bool ok;
    if (c->tls_cert_file.len) {
        ok = read_file(c->tls_cert_file, cert, err) && read_file(c->tls_private_key_file, key, err);
    } else if (m) {
        const struct cert_pair *p = cert_manager_current(m);
        ok = p ? true : err_set(err, ERR_UNAVAILABLE, "the cluster has not signed it yet");
        if (ok) {
            buf_append(cert, buf_str(&p->cert_pem));
            buf_append(key, buf_str(&p->key_pem));
        }
    } else {
        ok = self_signed(k, cert, key, err);
    }
    return ok && (!c->client_ca_file.len || read_file(c->client_ca_file, client_ca, err));
}

void serving_start(struct kubelet *k)
{
    const struct kubelet_config *c = k->cfg;
    struct serving *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->k = k;
    k->serving = s;
    loop_timer_init(&s->look, k->loop, on_look, s);
    s->files = file_watch_new(k->loop, changed, s);
    file_watch_add(s->files, c->client_ca_file);
    if (c->tls_cert_file.len) {
        file_watch_add(s->files, c->tls_cert_file);
        file_watch_add(s->files, c->tls_private_key_file);
        if (c->rotate_server_certificates) {
            log_warning("--tls-cert-file goes before --rotate-server-certificates: whoever writes the file renews it");
        }
    } else if (c->rotate_server_certificates) {
        struct cert_manager_config config = {
            .loop = k->loop, .what = "serving certificate", .signer = "kubernetes.io/kubelet-serving", .usage = PKI_USAGE_SERVER_AUTH,
            .store = { .prefix = "kubelet-server" }, .rotate = true, .names = names, .client = who_asks, .changed = changed, .arg = s,
            .errors = &renew_errors, .ttl = &server_ttl, .life = &server_life };
        (void)!str_to_cstr(c->cert_dir, config.store.dir, sizeof(config.store.dir)); /* looked at in kubelet.c */
        s->manager = cert_manager_new(&config);
        cert_manager_start(s->manager);
    } else {
        loop_timer_start(&s->look, LOOK_MS);
    }
}

void serving_stop(struct kubelet *k)
{
    struct serving *s = k->serving;
    if (s) {
        cert_manager_free(s->manager);
        file_watch_free(s->files);
        loop_timer_stop(&s->look);
        free(s);
        k->serving = NULL;
    }
}

void serving_metrics(struct kubelet *k)
{
    if (k->serving) {
        cert_manager_metrics(k->serving->manager);
    }
}

void serving_wake(struct kubelet *k)
{
    if (k->serving && k->serving->manager) {
        cert_manager_wake(k->serving->manager);
    }
}
