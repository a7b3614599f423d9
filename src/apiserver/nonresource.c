/* Paths that are no resources: discovery, version, health, metrics, the issuer's keys, OpenAPI. */
#include "apiserver/discovery.h"
#include "apiserver/health.h"
#include "apiserver/openapi.h"
#include "apiserver/paths.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "auth/sa-token.h"
#include "apiserver/tunnel-check.h"
#include "base/metrics.h"
#include "base/version.h"
#include "pki/jwt.h"

static const char version_json[] = "{\n"
                                   "  \"major\": \"" KUBERNETES_MAJOR "\",\n"
                                   "  \"minor\": \"" KUBERNETES_MINOR "\",\n"
                                   "  \"emulationMajor\": \"" KUBERNETES_MAJOR "\",\n"
                                   "  \"emulationMinor\": \"" KUBERNETES_MINOR "\",\n"
                                   "  \"minCompatibilityMajor\": \"1\",\n"
                                   "  \"minCompatibilityMinor\": \"35\",\n"
                                   "  \"gitVersion\": \"" KUBERNETES_VERSION "\",\n"
                                   "  \"gitCommit\": \"coracle-" CORACLE_VERSION "\",\n"
                                   "  \"gitTreeState\": \"clean\",\n"
                                   "  \"buildDate\": \"1970-01-01T00:00:00Z\",\n"
                                   "  \"goVersion\": \"none\",\n"
                                   "  \"compiler\": \"gcc\",\n"
                                   "  \"platform\": \"linux/amd64\"\n"
                                   "}";

static enum stage_result text(struct request *r, int code, const char *s)
{
    respond_bytes(r, code, STR("text/plain; charset=utf-8"), str_c(s));
    return STAGE_ANSWERED;
}

static enum stage_result version(struct request *r)
{
    respond_bytes(r, 200, STR("application/json"), str_c(version_json));
    return STAGE_ANSWERED;
}

static enum stage_result metrics(struct request *r)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64u << 20);
    metrics_write(&b);
    tunnel_check_write_metrics(r->srv->tunnel, &b);
    respond_bytes(r, 200, STR(METRIC_CONTENT_TYPE), buf_str(&b));
    return STAGE_ANSWERED;
}

static enum stage_result root(struct request *r)
{
    respond_bytes(r, 200, STR("application/json"), discovery_root(r->srv->discovery, health_paths));
    return STAGE_ANSWERED;
}

/* Whoever verifies tokens elsewhere may keep these documents for an hour. */
static enum stage_result cached(struct request *r, struct str type, struct buf *b)
{
    struct http_header cache = { STR("Cache-Control"), STR("public, max-age=3600") };
    respond_with_headers(r, 200, type, b, &cache, 1);
    return STAGE_ANSWERED;
}

/* Only an https URL without query and fragment can be discovered (OpenID Connect Discovery 1.0, 3); for other issuers there is nothing. */
static bool can_be_discovered(const struct apiserver *s)
{
    struct str first = s->cfg.service_account_issuers.n ? s->cfg.service_account_issuers.items[0] : STR_EMPTY;
    return s->sa_keys && s->sa_keys->n > 0 && str_starts(first, STR("https://")) && str_find_char(first, '?') < 0 &&
           str_find_char(first, '#') < 0;
}

static enum stage_result issuer(struct request *r)
{
    const struct apiserver_config *c = &r->srv->cfg;
    struct buf b, uri;
    if (!can_be_discovered(r->srv)) {
        return text(r, 404, "404 page not found\n");
    }
    buf_init(&b, 1u << 20);
    buf_init(&uri, 1u << 16);
    bool v6 = str_find_char(c->advertise_address, ':') >= 0;
    if (str_empty(c->auth.jwks_uri)) {
        buf_printf(&uri, "https://%s%.*s%s:%lld/openid/v1/jwks", v6 ? "[" : "", STR_ARG(c->advertise_address), v6 ? "]" : "",
                   (long long)c->secure_port);
    } else {
        buf_append(&uri, c->auth.jwks_uri);
    }
    sa_openid_configuration(c->service_account_issuers.items[0], buf_str(&uri), r->srv->sa_keys, &b);
    buf_deinit(&uri);
    return cached(r, STR("application/json"), &b);
}

static enum stage_result jwks(struct request *r)
{
    struct buf b;
    if (!can_be_discovered(r->srv)) {
        return text(r, 404, "404 page not found\n");
    }
    buf_init(&b, 1u << 20);
    jwks_write(r->srv->sa_keys, &b);
    return cached(r, STR("application/jwk-set+json"), &b);
}

static const struct {
    const char *path;
    enum stage_result (*answer)(struct request *r);
} paths[] = {
    { "/version", version },
    { "/metrics", metrics },
    { "/paths", paths_answer },
    { "/", root },
    { "/.well-known/openid-configuration", issuer },
    { "/openid/v1/jwks", jwks },
};

/* Discovery documents, negotiated; a trailing slash is the same document. */
static enum stage_result discover(struct request *r, struct str path)
{
    struct str accept = request_header(r, "accept");
    if (path.len > 1 && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    const struct discovery_doc *doc = discovery_find(r->srv->discovery, path, false);
    if (!doc) {
        return STAGE_DONE;
    }
    unsigned allow = str_eq_c(path, "/api") || str_eq_c(path, "/apis") ? MEDIA_ALLOW_AGGREGATED : 0;
    if (media_negotiate(&r->arena, accept, allow, &r->media) != MEDIA_OK) {
        enum stage_result result = stage_negotiate_plain(r);
        if (result != STAGE_DONE) {
            return result;
        }
    }
    r->media.pretty = media_wants_pretty(request_param(r, "pretty"), r->user_agent);
    if (r->media.as == MEDIA_AS_AGGREGATED) {
        doc = discovery_find(r->srv->discovery, path, true);
    }
    respond_document(r, doc->type, doc->json, doc->etag);
    return STAGE_ANSWERED;
}

enum stage_result stage_nonresource(struct request *r)
{
    struct str path = r->info.path;
    bool read = str_eq_c(r->in->method, "GET") || r->is_head;
    for (size_t i = 0; i < ARRAY_SIZE(paths) && read; i++) {
        if (str_eq_c(path, paths[i].path)) {
            return paths[i].answer(r);
        }
    }
    enum stage_result result = read ? discover(r, path) : STAGE_DONE;
    if (result == STAGE_DONE) {
        result = health_answer(r);
    }
    if (result == STAGE_DONE && read) {
        result = openapi_answer(r);
    }
    if (result != STAGE_DONE) {
        return result;
    }
    if (discovery_find(r->srv->discovery, path, false)) {
        status_method_not_allowed(&r->status);
        return STAGE_ERROR;
    }
    return text(r, 404, "404 page not found\n");
}
