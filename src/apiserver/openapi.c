#include "apiserver/openapi.h"

#include <openssl/evp.h>

#include "apiserver/openapi-pb.h"
#include "apiserver/openapi-schema.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "base/version.h"

#define MIME_V2_PB "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
#define MIME_V2_PB_NEW "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

/* Documents are made when they are asked for (a few milliseconds) and not kept: they are large and rarely wanted. Only the
 * index with its hashes stays. */
struct openapi {
    struct buf index;
};

static struct openapi *openapi_of(struct request *r)
{
    if (!r->srv->openapi) {
        struct openapi *o = calloc(1, sizeof(*o));
        if (!o) {
            abort();
        }
        buf_init(&o->index, 1u << 20);
        r->srv->openapi = o;
    }
    return r->srv->openapi;
}

struct openapi *openapi_free(struct openapi *o)
{
    if (o) {
        buf_deinit(&o->index);
        free(o);
    }
    return NULL;
}

/* The group, version and kinds under which a type is served; "*" kinds of options are left out. */
static size_t gvks_of(const struct apiserver *s, const struct api_type *t, struct openapi_gvk *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_endpoints && n < max; i++) {
        const struct api_resource *r = s->endpoints[i].res;
        if (r->type == t) {
            out[n++] = (struct openapi_gvk){ r->group, r->version, r->kind };
        } else if (r->list_type == t) {
            out[n++] = (struct openapi_gvk){ r->group, r->version, s->endpoints[i].list_kind };
        }
    }
    return n;
}

static bool in_gv(const struct api_resource *r, const struct api_resource *gv)
{
    return !gv || (str_eq(r->group, gv->group) && str_eq(r->version, gv->version));
}

/* Definitions and paths of one group-version, or of all ('gv' NULL). */
static void collect(const struct apiserver *s, const struct api_resource *gv, struct openapi_types *types, struct arena *a)
{
    for (size_t i = 0; i < s->n_endpoints; i++) {
        const struct api_resource *r = s->endpoints[i].res;
        if (!in_gv(r, gv)) {
            continue;
        }
        openapi_types_add(types, a, r->type);
        if (r->list_type) {
            openapi_types_add(types, a, r->list_type);
        }
    }
}

static void definitions(const struct apiserver *s, struct buf *b, enum openapi_version v, const struct openapi_types *types)
{
    openapi_common_definitions(b, v);
    for (size_t i = 0; i < types->n; i++) {
        struct openapi_gvk gvks[8];
        size_t n = gvks_of(s, types->items[i], gvks, ARRAY_SIZE(gvks));
        buf_append_char(b, ',');
        openapi_definition(b, v, types->items[i], gvks, n);
    }
}

static void paths(const struct apiserver *s, struct buf *b, enum openapi_version v, const struct api_resource *gv)
{
    bool first = true;
    for (size_t i = 0; i < s->n_endpoints; i++) {
        const struct api_resource *r = s->endpoints[i].res;
        if (in_gv(r, gv)) {
            if (!first) {
                buf_append_char(b, ',');
            }
            first = false;
            openapi_paths(b, v, r);
        }
    }
}

static void build_v2(const struct apiserver *s, struct buf *b)
{
    CLEANUP(arena_deinit) struct arena a;
    struct openapi_types types = { 0 };
    arena_init(&a, 64u << 20);
    collect(s, NULL, &types, &a);
    buf_append(b, STR("{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"" KUBERNETES_VERSION "\"},\"paths\":{"));
    paths(s, b, OPENAPI_V2, NULL);
    buf_append(b, STR("},\"definitions\":{"));
    definitions(s, b, OPENAPI_V2, &types);
    buf_append(b, STR("}}"));
}

static void build_v3(const struct apiserver *s, struct buf *b, const struct api_resource *gv)
{
    CLEANUP(arena_deinit) struct arena a;
    struct openapi_types types = { 0 };
    arena_init(&a, 64u << 20);
    collect(s, gv, &types, &a);
    buf_append(b, STR("{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"" KUBERNETES_VERSION "\"},\"paths\":{"));
    paths(s, b, OPENAPI_V3, gv);
    buf_append(b, STR("},\"components\":{\"schemas\":{"));
    definitions(s, b, OPENAPI_V3, &types);
    buf_append(b, STR("}}}"));
}

static void build_v2_pb(struct buf *b, struct str json)
{
    CLEANUP(arena_deinit) struct arena a;
    struct val doc;
    struct err err;
    arena_init(&a, 256u << 20);
    if (val_parse_json(&a, json, JSON_DEPTH, NULL, &doc, &err)) {
        openapi_write_pb(b, &doc);
    }
}

static struct str hash(struct arena *a, struct str s)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    if (EVP_Digest(s.ptr, s.len, md, &n, EVP_sha512(), NULL) != 1) {
        return STR_EMPTY;
    }
    for (unsigned int i = 0; i < n; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02X", md[i]);
    }
    return arena_str(a, str_n(hex, 2 * (size_t)n));
}

static struct str gv_path(struct arena *a, const struct api_resource *r)
{
    return str_empty(r->group) ? arena_printf(a, "api/%.*s", STR_ARG(r->version))
                               : arena_printf(a, "apis/%.*s/%.*s", STR_ARG(r->group), STR_ARG(r->version));
}

/* The document of a group-version by path; false when nothing of it is served. */
static bool v3_document(struct request *r, struct str path, struct buf *b)
{
    for (size_t i = 0; i < r->srv->n_endpoints; i++) {
        const struct api_resource *res = r->srv->endpoints[i].res;
        if (str_eq(gv_path(&r->arena, res), path)) {
            build_v3(r->srv, b, res);
            return true;
        }
    }
    return false;
}

/* Is this endpoint the first of its group-version? */
static bool is_first(const struct apiserver *s, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (in_gv(s->endpoints[i].res, s->endpoints[at].res)) {
            return false;
        }
    }
    return true;
}

static enum stage_result index_v3(struct request *r)
{
    struct buf *index = &openapi_of(r)->index;
    if (index->len == 0) {
        CLEANUP(buf_deinit) struct buf doc;
        buf_init(&doc, 64u << 20);
        buf_append(index, STR("{\"paths\":{"));
        const char *sep = "";
        for (size_t i = 0; i < r->srv->n_endpoints; i++) {
            if (!is_first(r->srv, i)) {
                continue;
            }
            struct str path = gv_path(&r->arena, r->srv->endpoints[i].res);
            buf_clear(&doc);
            build_v3(r->srv, &doc, r->srv->endpoints[i].res);
            struct str h = hash(&r->arena, buf_str(&doc));
            buf_printf(index, "%s\"%.*s\":{\"serverRelativeURL\":\"/openapi/v3/%.*s?hash=%.*s\"}", sep, STR_ARG(path), STR_ARG(path),
                       STR_ARG(h));
            sep = ",";
        }
        buf_append(index, STR("}}"));
    }
    respond_bytes(r, 200, STR("text/plain; charset=utf-8"), buf_str(index));
    return STAGE_ANSWERED;
}

/* Takes over the buffer when it answers with it. */
static enum stage_result document(struct request *r, struct str type, struct buf *b, bool immutable)
{
    struct str bytes = buf_str(b);
    struct str etag = arena_printf(&r->arena, "\"%.*s\"", STR_ARG(hash(&r->arena, bytes)));
    struct http_header h[] = { { STR("Cache-Control"), immutable ? STR("public, immutable") : STR("no-cache, private") },
                               { STR("ETag"), etag }, { STR("Vary"), STR("Accept") }, { STR("Content-Type"), type } };
    if (str_eq(request_header(r, "if-none-match"), etag)) {
        http_stream_reply(r->http, 304, h, ARRAY_SIZE(h), NULL, 0);
        return STAGE_ANSWERED;
    }
    if (!respond_whole_has_room(r)) {
        return STAGE_ERROR;
    }
    struct net_chunk c = respond_whole_chunk(b);
    http_stream_reply(r->http, 200, h, ARRAY_SIZE(h), &c, 1);
    return STAGE_ANSWERED;
}

static enum stage_result answer_v2(struct request *r)
{
    struct str accept = request_header(r, "accept");
    bool pb_new = str_find(accept, STR(MIME_V2_PB_NEW)) >= 0, pb = pb_new || str_find(accept, STR(MIME_V2_PB)) >= 0;
    bool json = str_empty(accept) || str_find(accept, STR("application/json")) >= 0 || str_find(accept, STR("*/*")) >= 0;
    if (!pb && !json) {
        struct http_header h[] = { { STR("Cache-Control"), STR("no-cache, private") }, { STR("Vary"), STR("Accept") } };
        http_stream_reply(r->http, 406, h, ARRAY_SIZE(h), NULL, 0);
        return STAGE_ANSWERED;
    }
    CLEANUP(buf_deinit) struct buf doc, message;
    buf_init(&doc, 64u << 20);
    buf_init(&message, 64u << 20);
    build_v2(r->srv, &doc);
    if (!pb) {
        return document(r, STR("application/json"), &doc, false);
    }
    build_v2_pb(&message, buf_str(&doc));
    /* Both names of the type are answered with the one that is a valid media type, as upstream does. */
    return document(r, STR(MIME_V2_PB_NEW), &message, false);
}

enum stage_result openapi_answer(struct request *r)
{
    struct str path = r->info.path, v3 = STR("/openapi/v3/");
    if (str_eq_c(path, "/openapi/v2")) {
        return answer_v2(r);
    }
    if (str_eq_c(path, "/openapi/v3") || str_eq(path, v3)) {
        return index_v3(r);
    }
    if (!str_starts(path, v3)) {
        return STAGE_DONE;
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64u << 20);
    if (!v3_document(r, str_sub(path, v3.len, path.len), &b)) {
        return STAGE_DONE;
    }
    return document(r, STR("application/json"), &b, request_param(r, "hash").ptr != NULL);
}
