/* How the node gets to its client certificate, and keeps it. See node-certificates.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "client/client.h"
#include "client/kubeconfig.h"
#include "kubelet/node-certificates.h"

#define CONFIG_ARENA (8u << 20)

struct bootstrap {
    struct kubelet *k;
    struct cert_manager *manager;  /* NULL: the certificate is somebody else's business */
    struct client *first;          /* with the credentials of --bootstrap-kubeconfig; made when needed */
    char kubeconfig[PATH_MAX / 2], bootstrap[PATH_MAX / 2], current[PATH_MAX];
    bool write_kubeconfig;         /* there is none yet, or an old one */
};

static struct metric renew_errors = METRIC_COUNTER("kubelet_certificate_manager_client_expiration_renew_errors",
                                                   "Counter of certificate renewal errors.");
static struct metric client_ttl = METRIC_GAUGE("kubelet_certificate_manager_client_ttl_seconds",
                                               "Gauge of the TTL (time-to-live) of the Kubelet's client certificate.");

void node_identity(struct kubelet *k, struct arena *a, struct pki_names *ret)
{
    struct str *org = arena_new(a, struct str);
    if (org) {
        *org = STR("system:nodes");
        ret->orgs = org;
        ret->n_orgs = 1;
    }
    ret->cn = arena_printf(a, "system:node:%s", k->node_name);
}

static bool names(void *arg, struct arena *a, struct pki_names *ret)
{
    struct bootstrap *b = arg;
    node_identity(b->k, a, ret);
    return true;
}

/* ---- who asks ---- */

static struct client *first_client(struct bootstrap *b)
{
    struct arena a;
    struct client_config config;
    struct err err = { 0 };
    const struct client_options options = { .user_agent = KUBELET_USER_AGENT };
    if (b->first || !b->bootstrap[0]) {
        return b->first;
    }
    arena_init(&a, CONFIG_ARENA);
    b->first = kubeconfig_read(&a, b->bootstrap, STR_NULL, &config, &err) ? client_new(b->k->loop, &config, &options, &err) : NULL;
    if (!b->first) {
        log_error("--bootstrap-kubeconfig is of no use: %s", err.msg);
    }
    arena_deinit(&a);
    return b->first;
}

static struct client *who_asks(void *arg, bool valid)
{
    struct bootstrap *b = arg;
    return valid || !b->bootstrap[0] ? b->k->client : first_client(b);
}

/* ---- the kubeconfig ---- */

/* Server and CA as the bootstrap kubeconfig has them; our credentials by the name of their file. */
static bool write_kubeconfig(struct bootstrap *b, struct err *err)
{
    struct arena a;
    struct client_config config, own = { 0 };
    char dir[PATH_MAX / 2];
    arena_init(&a, CONFIG_ARENA);
    bool ok = kubeconfig_read(&a, b->bootstrap, STR_NULL, &config, err);
    if (ok) {
        own.server = config.server;
        own.tls_server_name = config.tls_server_name;
        own.insecure = config.insecure;
        own.ca_pem = config.ca_file.len ? STR_NULL : config.ca_pem;
        own.ca_file = config.ca_file;
        own.client_cert_file = own.client_key_file = str_c(b->current);
        own.namespace = STR("default");
        snprintf(dir, sizeof(dir), "%s", b->kubeconfig);
        char *slash = strrchr(dir, '/');
        if (slash && slash != dir) {
            *slash = '\0';
            ok = fs_mkdirs(dir, 0755, err);
        }
    }
    ok = ok && kubeconfig_write(b->kubeconfig, STR("default-auth"), &own, err);
    arena_deinit(&a);
    return ok;
}

static void changed(void *arg)
{
    struct bootstrap *b = arg;
    struct err err = { 0 };
    if (b->write_kubeconfig) {
        if (write_kubeconfig(b, &err)) {
            log_info("%s is written", b->kubeconfig);
            b->write_kubeconfig = false;
        } else {
            log_error("the kubeconfig cannot be written, the next start will ask for a certificate again: %s", err.msg);
        }
    }
    /* The client sees its files change by itself; this is sooner. */
    if (!client_reload(b->k->client, &err)) {
        log_error("the new client certificate cannot be used: %s", err.msg);
        return;
    }
    client_hold(b->k->client, false);
    b->first = client_free(b->first);
}

/* ---- start ---- */

static bool pem_is_valid(struct str pem)
{
    struct pki_cert *leaf = pki_cert_read(&pem, NULL);
    bool valid = leaf && time_floor_now_s() < pki_cert_not_after(leaf);
    pki_cert_unref(leaf);
    return valid;
}

/* Was the stored certificate made out to this node? After a change of name it is of no use. */
static bool is_ours(struct kubelet *k, const struct cert_pair *p)
{
    struct arena a;
    struct pki_cert_info info;
    struct pki_names want = { 0 };
    struct err err;
    arena_init(&a, 1u << 20);
    node_identity(k, &a, &want);
    bool ours = pki_cert_inspect(p->leaf, &a, &info, &err) && str_eq(info.names.cn, want.cn);
    if (!ours) {
        log_warning("the stored client certificate is not for node %s, and is not used", k->node_name);
    }
    arena_deinit(&a);
    return ours;
}

static bool make_manager(struct bootstrap *b, struct err *err)
{
    struct kubelet *k = b->k;
    struct cert_manager_config config = {
        .loop = k->loop, .what = "client certificate", .signer = "kubernetes.io/kube-apiserver-client-kubelet",
        .usage = PKI_USAGE_CLIENT_AUTH, .store = { .prefix = "kubelet-client" }, .rotate = k->cfg->rotate_certificates,
        .names = names, .client = who_asks, .changed = changed, .arg = b, .errors = &renew_errors, .ttl = &client_ttl };
    if (!str_to_cstr(k->cfg->cert_dir, config.store.dir, sizeof(config.store.dir))) {
        return err_set(err, ERR_INVALID, "--cert-dir is too long");
    }
    cert_store_current_path(&config.store, b->current);
    b->manager = cert_manager_new(&config);
    const struct cert_pair *stored = cert_manager_current(b->manager);
    if (stored && !is_ours(k, stored)) {
        cert_manager_drop(b->manager);
    }
    return true;
}

/* Decides which credentials are in force. 'config' is that of --kubeconfig when 'have', and becomes that of the client. */
static bool choose(struct bootstrap *b, struct arena *a, bool have, struct client_config *config, bool *ret_hold, struct err *err)
{
    const struct cert_pair *stored = cert_manager_current(b->manager);
    bool stored_valid = stored && cert_manager_is_valid(b->manager);
    bool expired = have && config->client_cert_pem.len && !pem_is_valid(config->client_cert_pem);
    bool usable = have && !expired;
    *ret_hold = false;
    if (usable && b->k->cfg->rotate_certificates && config->client_cert_pem.len && !str_eq_c(config->client_cert_file, b->current)) {
        /* Embedded in the kubeconfig, or in files of somebody else's: what follows is stored, and then goes before it. */
        cert_manager_adopt(b->manager, config->client_cert_pem, config->client_key_pem);
        stored = cert_manager_current(b->manager);
        config->kubeconfig = STR_NULL;
        config->client_cert_file = config->client_key_file = str_c(b->current);
        config->client_cert_pem = arena_str(a, buf_str(&stored->cert_pem));
        config->client_key_pem = arena_str(a, buf_str(&stored->key_pem));
        return true;
    }
    if (usable) {
        if (b->k->cfg->rotate_certificates && !config->client_cert_pem.len) {
            log_info("the kubeconfig has no client certificate: there is nothing to rotate");
            b->manager = cert_manager_free(b->manager);
        }
        return true;
    }
    if (!b->bootstrap[0] && !(expired && stored_valid)) {
        if (expired) {
            /* Nobody can ask for another one; the log says so for as long as the apiserver refuses it. */
            log_error("the client certificate of %s has expired, and there is no --bootstrap-kubeconfig to get another with", b->kubeconfig);
        }
        return have;
    }
    if (b->bootstrap[0]) {
        if (!kubeconfig_read(a, b->bootstrap, STR_NULL, config, err)) {
            return err_wrap(err, "--bootstrap-kubeconfig");
        }
        b->write_kubeconfig = true;
    }
    config->kubeconfig = config->token = config->token_file = config->username = config->password = STR_NULL;
    config->client_cert_file = config->client_key_file = str_c(b->current);
    config->client_cert_pem = stored_valid ? arena_str(a, buf_str(&stored->cert_pem)) : STR_NULL;
    config->client_key_pem = stored_valid ? arena_str(a, buf_str(&stored->key_pem)) : STR_NULL;
    *ret_hold = !stored_valid;
    if (stored_valid && b->write_kubeconfig) {
        b->write_kubeconfig = !write_kubeconfig(b, err);
        return !b->write_kubeconfig;
    }
    return true;
}

bool bootstrap_connect(struct kubelet *k, struct str kubeconfig, struct err *err)
{
    struct arena a;
    struct client_config config = { 0 };
    const struct client_options options = { .user_agent = KUBELET_USER_AGENT };
    struct err why = { 0 };
    bool hold = false;
    struct bootstrap *b = calloc(1, sizeof(*b));
    if (!b) {
        abort();
    }
    b->k = k;
    k->bootstrap = b;
    if (!str_to_cstr(kubeconfig, b->kubeconfig, sizeof(b->kubeconfig)) ||
        !str_to_cstr(k->cfg->bootstrap_kubeconfig, b->bootstrap, sizeof(b->bootstrap))) {
        return err_set(err, ERR_INVALID, "--kubeconfig or --bootstrap-kubeconfig is too long");
    }
    arena_init(&a, CONFIG_ARENA);
    bool have = kubeconfig_read(&a, b->kubeconfig, STR_NULL, &config, &why), ok = true;
    if (!have && !b->bootstrap[0]) {
        *err = why;
        ok = false;
    } else if (!have && access(b->kubeconfig, F_OK) == 0) {
        log_warning("the kubeconfig is of no use, a new one is made: %s", why.msg);
    }
    if (ok && (b->bootstrap[0] || k->cfg->rotate_certificates)) {
        ok = make_manager(b, err) && choose(b, &a, have, &config, &hold, err);
    }
    if (k->cfg->master.len) {
        config.server = k->cfg->master;
    }
    k->client = ok ? client_new(k->loop, &config, &options, err) : NULL;
    if (k->client && hold) {
        log_info("the node has no client certificate yet: it asks for one with the credentials of %s", b->bootstrap);
        client_hold(k->client, true);
    }
    arena_deinit(&a);
    return k->client != NULL;
}

void bootstrap_start(struct kubelet *k)
{
    struct bootstrap *b = k->bootstrap;
    if (b && b->manager) {
        cert_manager_start(b->manager);
    }
}

void bootstrap_stop(struct kubelet *k)
{
    struct bootstrap *b = k->bootstrap;
    if (b) {
        cert_manager_free(b->manager);
        client_free(b->first);
        free(b);
        k->bootstrap = NULL;
    }
}

void bootstrap_metrics(struct kubelet *k)
{
    if (k->bootstrap) {
        cert_manager_metrics(k->bootstrap->manager);
    }
}
