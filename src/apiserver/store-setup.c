#include "apiserver/store-setup.h"

#include <stdio.h>

#include "apiserver/egress.h"
#include "apiserver/server.h"

#include "base/fs.h"
#include "base/log.h"

#define C struct apiserver_config

const struct flag apiserver_store_flags[] = {
    FLAG_STRING(C, store, "store", "sqlite", "Where objects are kept: sqlite, memory or etcd"),
    FLAG_STRING(C, data_dir, "data-dir", "/var/lib/coracle", "The folder of the SQLite store"),
    FLAG_STRING(C, volatile_dir, "volatile-dir", "", "A folder in tmpfs for what may be lost on power failure (lease renewals, events)"),
    FLAG_BOOL(C, no_sync, "unsafe-no-sync", "false", "Do not wait for the disk: for tests"),
    FLAG_STRINGS(C, etcd.servers, "etcd-servers", "", "etcd's members (scheme://ip:port, by commas); chooses --store=etcd"),
    FLAG_STRING(C, etcd.ca_file, "etcd-cafile", "", "CAs that verify etcd's members"),
    FLAG_STRING(C, etcd.cert_file, "etcd-certfile", "", "The certificate shown to etcd"),
    FLAG_STRING(C, etcd.key_file, "etcd-keyfile", "", "The key of etcd-certfile"),
    FLAG_STRING(C, etcd.prefix, "etcd-prefix", "/registry", "What all keys in etcd begin with"),
    FLAG_DURATION(C, etcd.compaction_interval_ms, "etcd-compaction-interval", "5m", "How long etcd's history is kept; 0: this server does not compact"),
    FLAG_DURATION(C, etcd.healthcheck_ms, "etcd-healthcheck-timeout", "2s", "How long etcd may take to answer /livez and /healthz"),
    FLAG_DURATION(C, etcd.readycheck_ms, "etcd-readycheck-timeout", "2s", "How long etcd may take to answer /readyz"),
    FLAG_STRINGS(C, etcd.overrides, "etcd-servers-overrides", "", "Other members for some resources: not supported here"),
    FLAG_STRING(C, storage_media_type, "storage-media-type", "application/vnd.kubernetes.protobuf", "How built-in objects are stored: that, or application/json"),
    FLAG_STRING(C, storage_backend, "storage-backend", "", "etcd3, with --etcd-servers"),
};
const size_t apiserver_n_store_flags = ARRAY_SIZE(apiserver_store_flags);

#undef C

bool store_setup_validate(struct apiserver_config *c, const struct flag_result *flags, struct err *err)
{
    static const char *const of_etcd[] = { "etcd-cafile", "etcd-certfile", "etcd-keyfile", "etcd-prefix", "etcd-compaction-interval",
                                           "etcd-healthcheck-timeout", "etcd-readycheck-timeout" };
    if (c->etcd.overrides.n) {
        return err_set(err, ERR_INVALID, "--etcd-servers-overrides: this server keeps all resources in one etcd");
    }
    if (!str_empty(c->storage_backend) && !str_eq_c(c->storage_backend, "etcd3")) {
        return err_set(err, ERR_INVALID, "--storage-backend: \"%.*s\" is not etcd3", STR_ARG(c->storage_backend));
    }
    if (!str_eq_c(c->storage_media_type, "application/vnd.kubernetes.protobuf") && !str_eq_c(c->storage_media_type, "application/json")) {
        return err_set(err, ERR_INVALID, "--storage-media-type: \"%.*s\" is neither application/vnd.kubernetes.protobuf nor application/json",
                       STR_ARG(c->storage_media_type));
    }
    if (c->etcd.servers.n) {
        if (flags_changed(flags, "store") && !str_eq_c(c->store, "etcd")) {
            return err_set(err, ERR_INVALID, "--etcd-servers contradicts --store=%.*s", STR_ARG(c->store));
        }
        c->store = STR("etcd");
        return true;
    }
    if (str_eq_c(c->store, "etcd")) {
        return err_set(err, ERR_INVALID, "--store=etcd needs --etcd-servers");
    }
    for (size_t i = 0; i < ARRAY_SIZE(of_etcd); i++) {
        if (flags_changed(flags, of_etcd[i])) {
            return err_set(err, ERR_INVALID, "--%s means nothing without --etcd-servers", of_etcd[i]);
        }
    }
    return str_empty(c->storage_backend) || err_set(err, ERR_INVALID, "--storage-backend=etcd3 needs --etcd-servers");
}

static const char *cstr(struct str s, char *dst, size_t size)
{
    return s.len > 0 && str_to_cstr(s, dst, size) ? dst : NULL;
}

static bool open_etcd(struct apiserver *s, const struct store_config *cfg, struct err *err)
{
    const struct apiserver_etcd_config *e = &s->cfg.etcd;
    struct store_etcd_config etcd = {
        .servers = e->servers.items, .n_servers = e->servers.n, .ca_file = e->ca_file, .cert_file = e->cert_file, .key_file = e->key_file,
        .prefix = e->prefix, .dialer = egress_dialer(s->egress, EGRESS_ETCD, EGRESS_ANY), .compaction_interval_ms = (uint64_t)MAX(e->compaction_interval_ms, INT64_C(0)),
    };
    s->store = store_open_etcd(cfg, &etcd, err);
    return s->store != NULL;
}

bool store_setup_open(struct apiserver *s, struct err *err)
{
    char path[4096], volatile_dir[4096], dir[4000];
    struct store_config cfg = { .loop = s->loop, .no_sync = s->cfg.no_sync };
    if (str_eq_c(s->cfg.store, "etcd")) {
        return open_etcd(s, &cfg, err);
    }
    if (str_eq_c(s->cfg.store, "memory")) {
        s->store = store_open_memory(&cfg, err);
        return s->store != NULL;
    }
    if (!str_eq_c(s->cfg.store, "sqlite")) {
        return err_set(err, ERR_INVALID, "--store: \"%.*s\" is neither sqlite nor memory nor etcd", STR_ARG(s->cfg.store));
    }
    if (!cstr(s->cfg.data_dir, dir, sizeof(dir))) {
        return err_set(err, ERR_INVALID, "--data-dir is needed with --store=sqlite");
    }
    if (!fs_mkdirs(dir, 0700, err)) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "%s/coracle.db", dir);
    cfg.path = path;
    cfg.volatile_dir = cstr(s->cfg.volatile_dir, volatile_dir, sizeof(volatile_dir));
    if (cfg.volatile_dir && !fs_mkdirs(cfg.volatile_dir, 0700, err)) {
        return false;
    }
    s->store = store_open_sqlite(&cfg, err);
    return s->store != NULL;
}
