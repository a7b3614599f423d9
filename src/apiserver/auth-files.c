#include "apiserver/auth-files.h"

#include <stdlib.h>

#include "apiserver/auth-config.h"
#include "apiserver/auth-setup.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/client.h"

enum { LOOK_MS = 5000, MAX_FILE = 1 << 20 };

/* One state of the authorization file. */
struct authorizers {
    struct list link;
    struct authz_chain *chain;
    struct client **clients;
    size_t n_clients;
};

struct auth_files {
    struct apiserver *srv;
    struct loop_timer timer;
    struct buf authn_text, authz_text; /* as they count */
    struct arena authn_arena;          /* of what stands in the configuration of the start */
    struct arena modes_arena;
    struct authorizers *now;
    struct list retired; /* struct authorizers in which somebody waits */
};

static void on_look(void *arg);

static struct auth_files *files_of(struct apiserver *s)
{
    if (!s->auth_files) {
        struct auth_files *f = s->auth_files = calloc(1, sizeof(*f));
        if (!f) {
            abort();
        }
        f->srv = s;
        buf_init(&f->authn_text, MAX_FILE + 1);
        buf_init(&f->authz_text, MAX_FILE + 1);
        arena_init(&f->authn_arena, ARENA_NO_BUDGET);
        arena_init(&f->modes_arena, ARENA_NO_BUDGET);
        list_init(&f->retired);
        loop_timer_init(&f->timer, s->loop, on_look, f);
        loop_timer_start(&f->timer, LOOK_MS);
    }
    return s->auth_files;
}

static bool read_file(struct str path, const char *flag, struct buf *b, struct err *err)
{
    char text[4096];
    if (!str_to_cstr(path, text, sizeof(text))) {
        return err_set(err, ERR_INVALID, "--%s: the path is too long", flag);
    }
    return fs_read(text, MAX_FILE, b, err) || err_wrap(err, "--%s", flag);
}

static void swap(struct buf *a, struct buf *b)
{
    struct buf c = *a;
    *a = *b;
    *b = c;
}

/* ---- authentication ---- */

static bool parse_authn(struct apiserver *s, struct arena *a, struct str text, struct authn_config *cfg, struct err *err)
{
    struct auth_config_authn file;
    if (!auth_config_parse_authn(a, text, s->cfg.service_account_issuers.items, s->cfg.service_account_issuers.n, &file, err)) {
        return err_wrap(err, "--authentication-config");
    }
    if (file.has_anonymous && s->cfg.auth.anonymous_given) {
        return err_set(err, ERR_INVALID, "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file");
    }
    cfg->jwt = file.jwt;
    cfg->n_jwt = file.n_jwt;
    cfg->anonymous = file.has_anonymous ? file.anonymous : s->cfg.anonymous_auth;
    cfg->anonymous_paths = file.paths;
    cfg->n_anonymous_paths = file.n_paths;
    return true;
}

bool auth_files_open_authn(struct apiserver *s, struct authn_config *cfg, struct err *err)
{
    if (str_empty(s->cfg.auth.authn_config)) {
        return true;
    }
    struct auth_files *f = files_of(s);
    cfg->dynamic = true;
    return read_file(s->cfg.auth.authn_config, "authentication-config", &f->authn_text, err) && parse_authn(s, &f->authn_arena, buf_str(&f->authn_text), cfg, err);
}

static bool change_authn(struct auth_files *f, struct str text, struct err *err)
{
    CLEANUP(arena_deinit) struct arena a;
    struct authn_config cfg = { .loop = f->srv->loop };
    arena_init(&a, ARENA_NO_BUDGET); /* the file is bounded */
    return parse_authn(f->srv, &a, text, &cfg, err) && authn_chain_set_jwt(f->srv->authn, &cfg, err);
}

/* ---- authorisation ---- */

static void authorizers_free(struct authorizers *z)
{
    if (z) {
        z->chain = authz_chain_free(z->chain);
        for (size_t i = 0; i < z->n_clients; i++) {
            (void)client_free(z->clients[i]);
        }
        free(z->clients);
        free(z);
    }
}

static uint32_t ttl_s(int64_t ms)
{
    return ms <= 0 ? AUTH_TTL_NONE : (uint32_t)MIN((ms + 999) / 1000, (int64_t)UINT32_MAX - 1);
}

static bool open_one(struct apiserver *s, struct arena *a, struct authorizers *z, const struct auth_config_authorizer *f, struct authz_config *c,
                     struct err *err)
{
    *c = (struct authz_config){
        .modes = &f->type, .n_modes = 1, .rbac = s->rbac, .node_graph = s->node_graph, .review_webhook = true, .review_version = f->version,
        .review_allowed_ttl_s = ttl_s(f->allowed_ttl_ms), .review_denied_ttl_s = ttl_s(f->denied_ttl_ms), .fail_denies = f->fail_denies,
        .policy_file = str_empty(s->cfg.auth.policy_file) ? NULL : arena_cstr(a, s->cfg.auth.policy_file),
    };
    if (!str_eq_c(f->type, "Webhook")) {
        return true;
    }
    struct client *client = NULL;
    if (!auth_setup_webhook_client(s, f->kubeconfig, "authorization-config", (uint32_t)f->timeout_ms, &client, err)) {
        return err_wrap(err, "authorizer %.*s", STR_ARG(f->name));
    }
    z->clients[z->n_clients++] = c->review_client = client;
    return true;
}

static bool change_authz(struct auth_files *f, struct str text, struct err *err)
{
    CLEANUP(arena_deinit) struct arena a;
    struct apiserver *s = f->srv;
    struct auth_config_authorizer *list;
    size_t n;
    arena_init(&a, ARENA_NO_BUDGET); /* the file is bounded */
    if (!auth_config_parse_authz(&a, text, &list, &n, err)) {
        return err_wrap(err, "--authorization-config");
    }
    struct authorizers *z = calloc(1, sizeof(*z));
    struct authz_config *configs = arena_new_n(&a, struct authz_config, n);
    if (!z || !configs || !(z->clients = calloc(n, sizeof(struct client *)))) {
        abort();
    }
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        ok = open_one(s, &a, z, &list[i], &configs[i], err);
    }
    z->chain = ok ? authz_chain_new_of(configs, n, err) : NULL;
    if (!z->chain) {
        authorizers_free(z);
        return err_wrap(err, "--authorization-config");
    }
    if (f->now) {
        list_push_back(&f->retired, &f->now->link);
    }
    f->now = z;
    s->authz = z->chain;
    arena_clear(&f->modes_arena);
    struct str *modes = arena_new_n(&f->modes_arena, struct str, n);
    for (size_t i = 0; i < n; i++) {
        modes[i] = arena_str(&f->modes_arena, list[i].type);
    }
    s->cfg.authorization_modes = (struct flag_strings){ .items = modes, .n = n };
    return true;
}

bool auth_files_open_authz(struct apiserver *s, struct err *err)
{
    struct auth_files *f = files_of(s);
    return read_file(s->cfg.auth.authz_config, "authorization-config", &f->authz_text, err) && change_authz(f, buf_str(&f->authz_text), err);
}

/* ---- following the files ---- */

static void look(struct auth_files *f, struct str path, const char *flag, struct buf *known, bool (*change)(struct auth_files *, struct str, struct err *))
{
    struct buf fresh;
    struct err err = { 0 };
    if (str_empty(path)) {
        return;
    }
    buf_init(&fresh, MAX_FILE + 1);
    if (!read_file(path, flag, &fresh, &err)) {
        log_error("apiserver: %s; it counts as it was", err.msg);
    } else if (!str_eq(buf_str(&fresh), buf_str(known))) {
        if (change(f, buf_str(&fresh), &err)) {
            log_info("apiserver: --%s was read again", flag);
        } else {
            log_error("apiserver: %s; it counts as it was", err.msg);
        }
        swap(known, &fresh); /* what is wrong is told once */
    }
    buf_deinit(&fresh);
}

static void on_look(void *arg)
{
    struct auth_files *f = arg;
    look(f, f->srv->cfg.auth.authn_config, "authentication-config", &f->authn_text, change_authn);
    look(f, f->srv->cfg.auth.authz_config, "authorization-config", &f->authz_text, change_authz);
    LIST_FOREACH (&f->retired, struct authorizers, link, z) {
        if (authz_chain_waiting(z->chain) == 0) {
            list_remove(&z->link);
            authorizers_free(z);
        }
    }
    loop_timer_start(&f->timer, LOOK_MS);
}

void auth_files_close(struct apiserver *s)
{
    struct auth_files *f = s->auth_files;
    if (!f) {
        return;
    }
    loop_timer_stop(&f->timer);
    if (f->now) {
        s->authz = NULL;
        authorizers_free(f->now);
    }
    while (!list_empty(&f->retired)) {
        authorizers_free(LIST_ENTRY(list_pop_front(&f->retired), struct authorizers, link));
    }
    buf_deinit(&f->authn_text);
    buf_deinit(&f->authz_text);
    arena_deinit(&f->authn_arena);
    arena_deinit(&f->modes_arena);
    free(f);
    s->auth_files = NULL;
}
