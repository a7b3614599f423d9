/* The body of a request: read whole, then decoded into the typed struct of the version it was sent in, defaulted, and brought
 * into the hub's shape. Errors are worded as upstream's decoder words them (golden errors 057-095). */
#include "api/decode-json.h"
#include "api/decode-pb.h"
#include "api/default.h"
#include "api/val-convert.h"
#include "api/yaml.h"
#include "apiserver/body.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "base/clock.h"
#include "base/encoding.h"

static enum stage_result body_done(struct request *r, struct str body, const struct err *err)
{
    if (!err || err->code == ERR_NONE) {
        r->body = body.ptr ? body : STR_EMPTY;
        return STAGE_DONE;
    }
    if (err->code == ERR_TOO_LARGE) {
        r->status = (struct status){ .code = 413, .reason = STR("RequestEntityTooLarge"),
                                     .message = arena_printf(&r->arena, "Request entity too large: limit is %u", REQUEST_MAX_BODY) };
    } else {
        status_from_err(&r->status, &r->arena, err);
        r->cancelled |= err->code == ERR_CANCELLED;
    }
    return STAGE_ERROR;
}

struct collect {
    enum stage_result result;
    bool called;
};

static void on_body(struct http_stream *s, struct str body, const struct err *err, void *arg)
{
    struct request *r = arg;
    enum stage_result result = body_done(r, body, err);
    (void)s;
    r->collecting = false;
    front_set_ops(r);
    if (r->waiting) {
        if (r->cancelled) {
            r->waiting = false;
            r->ended = true;
            request_finish(r);
            return;
        }
        request_resume(r, result);
        return;
    }
    struct collect *c = r->verb_data;
    c->result = result;
    c->called = true;
}

static bool is_patch_type(struct str ct)
{
    return str_eq_c(ct, "application/json-patch+json") || str_eq_c(ct, "application/merge-patch+json") ||
           str_eq_c(ct, "application/strategic-merge-patch+json") || str_eq_c(ct, "application/apply-patch+yaml");
}

/* 415, before the body is read. */
static bool check_type(struct request *r)
{
    struct str type, params, ct = request_header(r, "content-type");
    if (!str_cut(ct, ';', &type, &params)) {
        type = ct;
    }
    r->content_type = str_trim(type);
    if (str_eq_c(r->info.verb, "patch")) {
        if (is_patch_type(r->content_type)) {
            return true;
        }
        r->status = (struct status){ .code = 415, .reason = STR("UnsupportedMediaType"), .has_details = true,
                                     .message = STR("415: Unsupported Media Type") };
        return false;
    }
    if (media_of_content_type(ct, &r->body_format)) {
        return true;
    }
    r->status = (struct status){ .code = 415, .reason = STR("UnsupportedMediaType"),
        .message = STR("the body of the request was in an unknown format - accepted media types include: " MEDIA_ACCEPTED) };
    return false;
}

enum stage_result stage_body(struct request *r)
{
    bool is_delete = str_eq_c(r->info.verb, "delete") || str_eq_c(r->info.verb, "deletecollection");
    if (!check_type(r) && (!is_delete || r->in->has_body)) {
        return STAGE_ERROR;
    }
    void *keep = r->verb_data;
    struct collect c = { .called = false };
    r->verb_data = &c;
    r->collecting = true;
    http_stream_collect_body(r->http, REQUEST_MAX_BODY, on_body, r);
    r->verb_data = keep;
    return c.called ? c.result : STAGE_WAIT;
}

/* ---- decoding ---- */

/* The body as error messages show it: text that begins like JSON as text, anything else in hex, cut after 30 bytes. */
static struct str summary(struct arena *a, struct str data)
{
    if (data.len == 0) {
        return STR("<empty>");
    }
    struct str cut = str_sub(data, 0, 30);
    const char *more = data.len > 30 ? " ..." : "";
    if (data.ptr[0] == '{') {
        return arena_printf(a, "%.*s%s", STR_ARG(cut), more);
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 128);
    hex_encode(&b, cut);
    return arena_printf(a, "%.*s%s", STR_ARG(buf_str(&b)), more);
}

static bool unrecognized(struct request *r, struct str kind, struct str why)
{
    struct str s = summary(&r->arena, r->body);
    (void)request_bad(r, "the object provided is unrecognized (must be of type %.*s): %.*s (%.*s)", STR_ARG(kind), STR_ARG(why), STR_ARG(s));
    return false;
}

/* Group and version out of "apps/v1". */
static void split_api_version(struct str api_version, struct str *ret_group, struct str *ret_version)
{
    if (!str_cut(api_version, '/', ret_group, ret_version)) {
        *ret_version = api_version;
        *ret_group = STR_EMPTY;
    }
}

/* "core", "apps", "rbac": the package upstream's internal types live in, as its messages show it. */
static struct str internal_package(struct str group)
{
    struct str head, tail;
    if (str_empty(group)) {
        return STR("core");
    }
    (void)str_cut(group, '.', &head, &tail);
    return head.ptr ? head : group;
}

static bool known_version(struct str group, struct str version)
{
    for (size_t i = 0; i < api_n_resources; i++) {
        if (str_eq(api_resources[i].group, group) && str_eq(api_resources[i].version, version)) {
            return true;
        }
    }
    return str_eq_c(group, "extensions");
}

/* Is what the body says it is the thing that may stand here? Missing words are taken from 'want'. */
static bool check_kind(struct request *r, const struct body_type *want, struct api_type_meta *tm)
{
    struct str group, version, wgroup, wversion;
    split_api_version(want->api_version, &wgroup, &wversion);
    if (str_empty(tm->api_version)) {
        tm->api_version = want->api_version;
    }
    if (str_empty(tm->kind)) {
        tm->kind = want->kind;
    }
    if (str_eq(tm->kind, want->kind) && str_eq(tm->api_version, want->api_version)) {
        return true;
    }
    split_api_version(tm->api_version, &group, &version);
    if (!known_version(group, version)) {
        (void)request_bad(r, "%.*s in version \"%.*s\" cannot be handled as a %.*s: no kind \"%.*s\" is registered for version "
                             "\"%.*s\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"", STR_ARG(tm->kind), STR_ARG(version),
                          STR_ARG(want->kind), STR_ARG(tm->kind), STR_ARG(tm->api_version));
        return false;
    }
    if (!str_eq(tm->kind, want->kind)) {
        struct str to = internal_package(wgroup);
        (void)request_bad(r, "%.*s in version \"%.*s\" cannot be handled as a %.*s: converting (%.*s.%.*s) to (%.*s.%.*s): unknown "
                             "conversion", STR_ARG(tm->kind), STR_ARG(version), STR_ARG(want->kind), STR_ARG(version),
                          STR_ARG(tm->kind), STR_ARG(to), STR_ARG(want->kind));
        return false;
    }
    (void)request_bad(r, "the API version in the data (%.*s) does not match the expected API version (%.*s)",
                      STR_ARG(tm->api_version), STR_ARG(want->api_version));
    return false;
}

static bool cannot_handle(struct request *r, const struct body_type *want, const struct api_type_meta *tm, struct str why)
{
    struct str group, version;
    split_api_version(tm->api_version, &group, &version);
    (void)request_bad(r, "%.*s in version \"%.*s\" cannot be handled as a %.*s: %.*s", STR_ARG(tm->kind), STR_ARG(version),
                      STR_ARG(want->kind), STR_ARG(why));
    return false;
}

static bool decode_json(struct request *r, const struct body_type *want, struct api_type_meta *tm,
                        struct api_problems *problems, void *obj)
{
    struct err err = { 0 };
    struct api_json_decode how = { .problems = problems };
    /* What is all right is read once. Anything else is looked at in the order in which upstream finds faults. */
    if (api_peek_type_meta(&r->arena, r->body, tm, &err) && str_eq(tm->kind, want->kind) && str_eq(tm->api_version, want->api_version) &&
        api_decode_json(&r->arena, want->type, r->body, &how, obj, &err)) {
        return true;
    }
    memset(obj, 0, want->type->size);
    *tm = (struct api_type_meta){ 0 };
    if (problems) {
        problems->n = 0;
    }
    if (!json_check(r->body, JSON_DEPTH_MAX, &err)) {
        struct str why = arena_printf(&r->arena, "couldn't get version/kind; json parse error: %s", err.msg);
        return unrecognized(r, want->kind, why);
    }
    if (!api_peek_type_meta(&r->arena, r->body, tm, &err)) {
        return unrecognized(r, want->kind, str_c(err.msg));
    }
    if (!check_kind(r, want, tm)) {
        return false;
    }
    return api_decode_json(&r->arena, want->type, r->body, &how, obj, &err) || cannot_handle(r, want, tm, str_c(err.msg));
}

static bool decode_yaml(struct request *r, const struct body_type *want, struct api_type_meta *tm,
                        struct api_problems *problems, void *obj)
{
    struct err err = { 0 };
    struct val v;
    struct val_dups dups;
    val_dups_init(&dups);
    if (!yaml_parse(&r->arena, r->body, problems ? &dups : NULL, &v, &err)) {
        return unrecognized(r, want->kind, str_c(err.msg));
    }
    tm->api_version = val_get_str(&v, STR("apiVersion"));
    tm->kind = val_get_str(&v, STR("kind"));
    if (!check_kind(r, want, tm)) {
        return false;
    }
    if (problems && dups.n > 0) {
        api_problems_add(&r->arena, problems, yaml_dups_message(&r->arena, &dups));
    }
    struct api_json_decode how = { .problems = problems };
    return api_from_val(&r->arena, want->type, &v, &how, obj, &err) || cannot_handle(r, want, tm, str_c(err.msg));
}

static bool decode_protobuf(struct request *r, const struct body_type *want, struct api_type_meta *tm, void *obj)
{
    struct err err = { 0 };
    struct api_pb_envelope env;
    if (!api_pb_is_envelope(r->body)) {
        return unrecognized(r, want->kind, STR("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"));
    }
    if (!api_pb_envelope(r->body, &env, &err)) {
        return unrecognized(r, want->kind, STR("unexpected EOF"));
    }
    tm->api_version = env.api_version;
    tm->kind = env.kind;
    if (!check_kind(r, want, tm)) {
        return false;
    }
    return api_decode_pb(&r->arena, want->type, env.raw, NULL, obj, &err) || cannot_handle(r, want, tm, str_c(err.msg));
}

static bool report(struct request *r, const struct body_type *want, const struct api_type_meta *tm,
                   const struct api_problems *problems)
{
    if (problems->n == 0) {
        return true;
    }
    if (r->opt.validation == FIELD_VALIDATION_STRICT) {
        return cannot_handle(r, want, tm, api_problems_text(&r->arena, problems));
    }
    for (size_t i = 0; i < problems->n; i++) {
        request_warn(r, problems->items[i]);
    }
    return true;
}

void *body_decode(struct request *r, const struct body_type *want)
{
    void *obj = arena_alloc(&r->arena, want->type->size);
    struct api_problems problems = { 0 };
    struct api_problems *p = r->opt.validation == FIELD_VALIDATION_IGNORE ? NULL : &problems;
    struct api_type_meta tm = { 0 };
    bool ok = false;
    if (!obj) {
        (void)request_bad(r, "the object is too large");
        return NULL;
    }
    switch (r->body_format) {
    case MEDIA_JSON:
        ok = decode_json(r, want, &tm, p, obj);
        break;
    case MEDIA_YAML:
        ok = decode_yaml(r, want, &tm, p, obj);
        break;
    case MEDIA_PROTOBUF:
        ok = decode_protobuf(r, want, &tm, obj);
        break;
    }
    if (!ok || !report(r, want, &tm, &problems)) {
        return NULL;
    }
    struct api_default_ctx ctx = { .now_sec = clock_real_s() };
    if (!api_default(&r->arena, want->type, obj, &ctx)) {
        (void)request_bad(r, "the object is too large");
        return NULL;
    }
    return obj;
}

void *body_to_hub(struct request *r, void *obj)
{
    const struct kind_conversion *c = r->ep->conversion;
    if (!c) {
        return obj;
    }
    void *hub = arena_alloc(&r->arena, r->rest->hub->type->size);
    if (!hub || !c->to_hub(&r->arena, obj, hub)) {
        (void)request_bad(r, "the object is too large");
        return NULL;
    }
    return hub;
}

enum stage_result stage_decode(struct request *r)
{
    struct body_type want = { .type = r->ep->res->type, .api_version = r->ep->api_version, .kind = r->ep->res->kind };
    void *obj = body_decode(r, &want);
    r->body_obj = obj && r->rest ? body_to_hub(r, obj) : obj;
    r->type = r->rest ? r->rest->hub->type : r->ep->res->type;
    return r->body_obj ? STAGE_DONE : STAGE_ERROR;
}
