#include "apiserver/health.h"

#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/tunnel-check.h"

static bool always(const struct apiserver *s)
{
    (void)s;
    return true;
}

static bool caches_loaded(const struct apiserver *s)
{
    return registry_ready(s);
}

static bool store_is_well(const struct apiserver *s)
{
    (void)s; /* asked in health_answer() */
    return false;
}

static bool started(const struct apiserver *s)
{
    return s->started;
}

static bool not_stopping(const struct apiserver *s)
{
    return !s->stopping;
}

/* Of --ssh-user and --tunnel-socket; as in kube-apiserver of /healthz alone: the tunnel process needs this server first. */
static bool nodes_are_listed(const struct apiserver *s)
{
    return tunnel_check_passes(s->tunnel);
}

static bool has_tunnel(const struct apiserver *s)
{
    return s->tunnel != NULL;
}

enum { HEALTHZ = 1, LIVEZ = 2, READYZ = 4, ALL = 7 };

static const struct check {
    const char *name;
    unsigned where;
    bool (*passes)(const struct apiserver *s);
    bool (*exists)(const struct apiserver *s); /* NULL: always */
} checks[] = {
    { "ping", ALL, always, NULL },
    { "log", ALL, always, NULL },
    { "etcd", ALL, store_is_well, NULL },
    { "etcd-readiness", READYZ, store_is_well, NULL },
    { "informer-sync", READYZ, caches_loaded, NULL },
    { "poststarthook/start-system-namespaces-controller", ALL, started, NULL },
    { "poststarthook/rbac/bootstrap-roles", ALL, started, NULL },
    { "poststarthook/scheduling/bootstrap-system-priority-classes", ALL, started, NULL },
    { "poststarthook/bootstrap-controller", ALL, started, NULL },
    { "SSH Tunnel Check", HEALTHZ, nodes_are_listed, has_tunnel },
    { "shutdown", READYZ, not_stopping, NULL },
};

const char *const health_paths[] = {
    "/.well-known/openid-configuration", "/healthz", "/healthz/etcd", "/healthz/log", "/healthz/ping", "/livez", "/livez/etcd",
    "/livez/log", "/livez/ping", "/metrics", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/openid/v1/jwks", "/readyz",
    "/readyz/etcd", "/readyz/etcd-readiness", "/readyz/informer-sync", "/readyz/log", "/readyz/ping", "/readyz/shutdown", "/version", NULL,
};

static bool passes(const struct request *r, const struct check *c)
{
    return c->passes == store_is_well ? r->store_health == STORE_WELL : c->passes(r->srv);
}

static bool excluded(struct request *r, const char *name)
{
    struct str *list;
    size_t n = query_get_all(&r->arena, r->query, STR("exclude"), &list);
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i], name)) {
            return true;
        }
    }
    return false;
}

static bool is_of(const struct check *c, unsigned where, const struct apiserver *s)
{
    return (c->where & where) && (!c->exists || c->exists(s));
}

static enum stage_result all(struct request *r, const char *probe, unsigned where)
{
    CLEANUP(buf_deinit) struct buf b;
    bool ok = true, verbose = request_param(r, "verbose").ptr != NULL;
    buf_init(&b, 1u << 16);
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (!is_of(&checks[i], where, r->srv)) {
            continue;
        }
        if (excluded(r, checks[i].name)) {
            buf_printf(&b, "[+]%s excluded: ok\n", checks[i].name);
        } else if (passes(r, &checks[i])) {
            buf_printf(&b, "[+]%s ok\n", checks[i].name);
        } else {
            buf_printf(&b, "[-]%s failed: reason withheld\n", checks[i].name);
            ok = false;
        }
    }
    buf_printf(&b, "%s check %s\n", probe, ok ? "passed" : "failed");
    struct str type = STR("text/plain; charset=utf-8");
    respond_bytes(r, ok ? 200 : 500, type, ok && !verbose ? STR("ok") : buf_str(&b));
    return STAGE_ANSWERED;
}

static enum stage_result one(struct request *r, struct str name, unsigned where)
{
    struct str type = STR("text/plain; charset=utf-8");
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (is_of(&checks[i], where, r->srv) && str_eq_c(name, checks[i].name)) {
            bool ok = passes(r, &checks[i]);
            respond_bytes(r, ok ? 200 : 500, type, ok ? STR("ok") : STR("internal server error: not ready\n"));
            return STAGE_ANSWERED;
        }
    }
    return STAGE_DONE;
}

static void on_store_health(void *arg, enum store_status status)
{
    struct request *r = arg;
    r->pending--;
    r->store_health = status == STORE_OK ? STORE_WELL : STORE_ILL;
    if (!r->waiting) {
        return; /* the store knew at once */
    }
    if (r->cancelled) {
        r->waiting = false;
        r->ended = true;
        request_finish(r);
        return;
    }
    request_again(r);
}

/* WAIT until the store has answered, or has not. */
static enum stage_result ask_store(struct request *r, bool ready)
{
    int64_t ms = ready ? r->srv->cfg.etcd.readycheck_ms : r->srv->cfg.etcd.healthcheck_ms;
    r->pending++;
    r->waiting = false;
    store_health(r->srv->store, ms > 0 ? (uint32_t)MIN(ms, INT64_C(60000)) : 2000, on_store_health, r);
    return r->store_health == STORE_NOT_ASKED ? STAGE_WAIT : STAGE_DONE;
}

enum stage_result health_answer(struct request *r)
{
    static const struct {
        const char *name;
        unsigned where;
    } probes[] = { { "healthz", HEALTHZ }, { "livez", LIVEZ }, { "readyz", READYZ } };
    struct str path = r->info.path;
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
        size_t len = strlen(probes[i].name);
        if (path.len > len && str_eq_c(str_sub(path, 1, len), probes[i].name)) {
            struct str rest = str_sub(path, 1 + len, path.len);
            if (rest.len && rest.ptr[0] != '/') {
                continue;
            }
            if (r->store_health == STORE_NOT_ASKED && ask_store(r, probes[i].where == READYZ) == STAGE_WAIT) {
                return STAGE_WAIT;
            }
            if (str_empty(rest) || str_eq_c(rest, "/")) {
                return all(r, probes[i].name, probes[i].where);
            }
            if (rest.ptr[0] == '/') {
                return one(r, str_sub(rest, 1, rest.len), probes[i].where);
            }
        }
    }
    return STAGE_DONE;
}
