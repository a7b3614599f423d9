#include "apiserver/health.h"

#include "apiserver/request.h"
#include "apiserver/respond.h"

static bool always(const struct apiserver *s)
{
    (void)s;
    return true;
}

static bool caches_loaded(const struct apiserver *s)
{
    return registry_ready(s);
}

static bool started(const struct apiserver *s)
{
    return s->started;
}

static bool not_stopping(const struct apiserver *s)
{
    return !s->stopping;
}

enum { HEALTHZ = 1, LIVEZ = 2, READYZ = 4, ALL = 7 };

static const struct check {
    const char *name;
    unsigned where;
    bool (*passes)(const struct apiserver *s);
} checks[] = {
    { "ping", ALL, always },
    { "log", ALL, always },
    { "etcd", ALL, always },
    { "informer-sync", READYZ, caches_loaded },
    { "poststarthook/start-system-namespaces-controller", ALL, started },
    { "poststarthook/rbac/bootstrap-roles", ALL, started },
    { "poststarthook/scheduling/bootstrap-system-priority-classes", ALL, started },
    { "poststarthook/bootstrap-controller", ALL, started },
    { "shutdown", READYZ, not_stopping },
};

const char *const health_paths[] = {
    "/.well-known/openid-configuration", "/healthz", "/healthz/etcd", "/healthz/log", "/healthz/ping", "/livez", "/livez/etcd",
    "/livez/log", "/livez/ping", "/metrics", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/openid/v1/jwks", "/readyz",
    "/readyz/etcd", "/readyz/informer-sync", "/readyz/log", "/readyz/ping", "/readyz/shutdown", "/version", NULL,
};

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

static enum stage_result all(struct request *r, const char *probe, unsigned where)
{
    CLEANUP(buf_deinit) struct buf b;
    bool ok = true, verbose = request_param(r, "verbose").ptr != NULL;
    buf_init(&b, 1u << 16);
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (!(checks[i].where & where)) {
            continue;
        }
        if (excluded(r, checks[i].name)) {
            buf_printf(&b, "[+]%s excluded: ok\n", checks[i].name);
        } else if (checks[i].passes(r->srv)) {
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
        if ((checks[i].where & where) && str_eq_c(name, checks[i].name)) {
            bool ok = checks[i].passes(r->srv);
            respond_bytes(r, ok ? 200 : 500, type, ok ? STR("ok") : STR("internal server error: not ready\n"));
            return STAGE_ANSWERED;
        }
    }
    return STAGE_DONE;
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
