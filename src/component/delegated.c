#include "component/delegated.h"

#include <limits.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/version.h"
#include "client/client.h"
#include "client/kubeconfig.h"
#include "net/file-watch.h"

struct delegated {
    struct client *authn_client, *authz_client;
    struct authn_chain *authn;
    struct authz_chain *authz;
    struct file_watch *files;
};

static bool open_client(struct loop *l, const char *name, struct str path, struct client **ret, struct err *err)
{
    struct arena a;
    struct client_config config;
    char file[PATH_MAX], agent[128];
    if (str_empty(path)) {
        return true;
    }
    snprintf(agent, sizeof(agent), "%s/v1.36.0 (linux) coracle/%s", name, CORACLE_VERSION);
    const struct client_options options = { .user_agent = agent };
    if (!str_to_cstr(path, file, sizeof(file))) {
        return err_set(err, ERR_INVALID, "the path is too long");
    }
    arena_init(&a, 8u << 20);
    *ret = kubeconfig_read(&a, file, STR_NULL, &config, err) ? client_new(l, &config, &options, err) : NULL;
    arena_deinit(&a);
    return *ret != NULL;
}

static void on_reload(void *arg)
{
    struct delegated *d = arg;
    struct err err;
    if (!authn_chain_reload(d->authn, &err)) {
        log_warning("--client-ca-file cannot be read again, the old CAs stay: %s", err.msg);
    }
}

struct delegated *delegated_new(struct loop *l, const struct delegated_config *c, struct err *err)
{
    struct delegated *d = calloc(1, sizeof(*d));
    char ca[PATH_MAX];
    if (!d) {
        abort();
    }
    if (!open_client(l, c->name, c->authentication_kubeconfig, &d->authn_client, err)) {
        err_wrap(err, "--authentication-kubeconfig");
        return delegated_free(d);
    }
    if (!open_client(l, c->name, c->authorization_kubeconfig, &d->authz_client, err)) {
        err_wrap(err, "--authorization-kubeconfig");
        return delegated_free(d);
    }
    const struct authn_config authn = { .client_ca_file = c->client_ca_file.len && str_to_cstr(c->client_ca_file, ca, sizeof(ca)) ? ca : NULL,
                                        .review_client = d->authn_client, .anonymous = true };
    const struct str mode = d->authz_client ? STR("Webhook") : STR("AlwaysDeny");
    const struct authz_config authz = { .modes = &mode, .n_modes = 1, .review_client = d->authz_client };
    d->authn = authn_chain_new(&authn, err);
    d->authz = d->authn ? authz_chain_new(&authz, err) : NULL;
    if (!d->authz) {
        return delegated_free(d);
    }
    d->files = file_watch_new(l, on_reload, d);
    file_watch_add(d->files, c->client_ca_file);
    return d;
}

struct delegated *delegated_free(struct delegated *d)
{
    if (d) {
        file_watch_free(d->files);
        authn_chain_free(d->authn);
        authz_chain_free(d->authz);
        client_free(d->authn_client);
        client_free(d->authz_client);
        free(d);
    }
    return NULL;
}

struct authn_chain *delegated_authn(const struct delegated *d)
{
    return d->authn;
}

struct authz_chain *delegated_authz(const struct delegated *d)
{
    return d->authz;
}
