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

static enum stage_result issuer(struct request *r)
{
    CLEANUP(buf_deinit) struct buf b, uri;
    buf_init(&b, 1u << 20);
    buf_init(&uri, 1u << 16);
    if (!r->srv->sa_keys || r->srv->cfg.service_account_issuers.n == 0) {
        return text(r, 404, "404 page not found\n");
    }
    buf_printf(&uri, "https://%.*s:%lld/openid/v1/jwks", STR_ARG(r->srv->cfg.advertise_address), (long long)r->srv->cfg.secure_port);
    sa_openid_configuration(r->srv->cfg.service_account_issuers.items[0], buf_str(&uri), r->srv->sa_keys, &b);
    respond_bytes(r, 200, STR("application/json"), buf_str(&b));
    return STAGE_ANSWERED;
}

static enum stage_result jwks(struct request *r)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    if (!r->srv->sa_keys) {
        return text(r, 404, "404 page not found\n");
    }
    jwks_write(r->srv->sa_keys, &b);
    respond_bytes(r, 200, STR("application/jwk-set+json"), buf_str(&b));
    return STAGE_ANSWERED;
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
