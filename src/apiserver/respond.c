#include "apiserver/respond.h"

#include <stdatomic.h>

#include "api/decode-json.h"
#include "api/gen/meta_v1.h"
#include "apiserver/limits.h"
#include "apiserver/render.h"
#include "apiserver/request.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/rand.h"

static struct metric requests_total =
    METRIC_COUNTER("apiserver_request_total", "Requests answered, by verb, group, version, resource, subresource and code.", "verb",
                   "group", "version", "resource", "subresource", "code");

enum { MAX_HEADERS = 16 + 32 };

/* A Warning header is '299 - "text"' with quotes and backslashes escaped (RFC 7234 5.5); control characters make it unsendable. */
static struct str warning_value(struct arena *a, struct str text)
{
    char *out = arena_alloc(a, text.len * 2 + 10);
    size_t n = 7;
    if (!out) {
        return STR_NULL;
    }
    memcpy(out, "299 - \"", 7);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
        }
        out[n++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    out[n++] = '"';
    return str_n(out, n);
}

static void begin(struct request *r, int code, struct str content_type, int64_t length, const struct http_header *more, size_t n_more)
{
    struct http_header h[MAX_HEADERS];
    size_t n = 0;
    char audit_id[RAND_UUID_SIZE], code_text[8];
    rand_uuid(audit_id);
    (void)snprintf(code_text, sizeof(code_text), "%d", code);
    metric_add(metric_cell(&requests_total, r->info.verb, r->info.group, r->info.version, r->info.resource, r->info.subresource,
                           str_c(code_text)), 1);
    h[n++] = (struct http_header){ STR("Audit-Id"), str_c(audit_id), .once = true };
    bool caching = false;
    for (size_t i = 0; i < n_more && n < 16; i++) {
        caching |= str_eq_nocase(more[i].name, STR("cache-control"));
        h[n++] = more[i];
    }
    if (!caching) {
        h[n++] = (struct http_header){ STR("Cache-Control"), STR("no-cache, private") };
    }
    h[n++] = (struct http_header){ STR("Content-Type"), content_type };
    if (code == 403 || str_starts(content_type, STR("text/plain"))) {
        h[n++] = (struct http_header){ STR("X-Content-Type-Options"), STR("nosniff") };
    }
    for (size_t i = 0; i < r->n_warnings && n < MAX_HEADERS; i++) {
        struct str v = warning_value(&r->arena, r->warnings[i]);
        if (v.ptr) {
            h[n++] = (struct http_header){ STR("Warning"), v };
        }
    }
    http_stream_respond(r->http, code, h, n, length);
}

void respond_begin(struct request *r, int code, struct str content_type, int64_t content_length)
{
    begin(r, code, content_type, content_length, NULL, 0);
}

static void send_buf(struct request *r, int code, struct str content_type, struct buf *b, const struct http_header *more, size_t n_more)
{
    struct net_chunk c;
    begin(r, code, content_type, (int64_t)b->len, more, n_more);
    c = net_chunk_take_buf(b);
    http_stream_write(r->http, &c, 1);
    http_stream_end(r->http);
}

/* JSON answers end with a newline unless they are indented, as upstream's serializer leaves them. */
static void finish_json(struct request *r, struct buf *b)
{
    if (r->media.format != MEDIA_JSON) {
        return;
    }
    if (r->media.pretty) {
        struct buf out;
        buf_init(&out, 128u << 20);
        media_indent(&out, buf_str(b));
        buf_deinit(b);
        *b = out;
    } else {
        buf_append_char(b, '\n');
    }
}

void respond_status(struct request *r)
{
    if (http_stream_responded(r->http)) {
        http_stream_reset(r->http);
        return;
    }
    struct meta_v1_status s;
    struct err err;
    struct buf b;
    buf_init(&b, 16u << 20);
    status_to_meta(&r->status, &r->arena, &s);
    if (r->status.code < 100) {
        s.code = r->status.code = 500;
    }
    if (!render_typed(r->media.format, &r->arena, &meta_v1_status_type, &s, STR("v1"), STR("Status"), &b, &err)) {
        buf_clear(&b);
        r->media = (struct media){ .format = MEDIA_JSON };
        buf_append(&b, STR("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"code\":500}"));
    }
    finish_json(r, &b);
    struct http_header retry = { STR("Retry-After"), STR_NULL };
    if (r->status.retry_after > 0) {
        retry.value = arena_printf(&r->arena, "%d", r->status.retry_after);
    }
    send_buf(r, r->status.code, media_type_name(r->media.format), &b, &retry, retry.value.ptr ? 1 : 0);
}

void respond_typed(struct request *r, int code, const struct api_type *type, const void *obj, struct str api_version, struct str kind)
{
    struct err err = { 0 };
    struct buf b;
    buf_init(&b, 128u << 20);
    if (!render_typed(r->media.format, &r->arena, type, obj, api_version, kind, &b, &err)) {
        buf_deinit(&b);
        status_from_err(&r->status, &r->arena, &err);
        respond_status(r);
        return;
    }
    finish_json(r, &b);
    send_buf(r, code, media_type_name(r->media.format), &b, NULL, 0);
}

void respond_success(struct request *r, struct str name, struct str group, struct str kind, struct str uid)
{
    struct meta_v1_status_details d = { .name = name, .group = group, .kind = kind, .uid = uid };
    struct meta_v1_status s = { .status = STR("Success"), .details = &d };
    respond_typed(r, 200, &meta_v1_status_type, &s, STR("v1"), STR("Status"));
}

static struct render how_of(struct request *r)
{
    return (struct render){ .ep = r->ep, .media = r->media, .include_object = request_param(r, "includeObject"),
                            .now_sec = clock_real_s() };
}

/* Keeps a published object while its bytes are being sent. */
struct holder {
    struct net_ref ref;
    const struct object *object;
};

static void holder_release(struct net_ref *ref)
{
    struct holder *h = CONTAINER_OF(ref, struct holder, ref);
    (void)object_unref(h->object);
    free(h);
}

static void send_verbatim(struct request *r, int code, const struct object *o)
{
    struct iovec iov[OBJECT_IOV];
    struct net_chunk chunks[OBJECT_IOV + 1];
    struct holder *h = malloc(sizeof(*h));
    int n = object_json_iov_as(o, r->ep->prefix, iov);
    size_t size = 1, n_chunks = 0;
    if (!h) {
        abort();
    }
    net_ref_init(&h->ref, holder_release);
    h->object = object_ref(o);
    for (int i = 0; i < n; i++) {
        size += iov[i].iov_len;
        chunks[n_chunks++] = net_chunk_of(&h->ref, str_n(iov[i].iov_base, iov[i].iov_len));
    }
    chunks[n_chunks++] = net_chunk_static(STR("\n"));
    net_ref_put(&h->ref);
    begin(r, code, STR("application/json"), (int64_t)size, NULL, 0);
    http_stream_write(r->http, chunks, n_chunks);
    http_stream_end(r->http);
}

void respond_published(struct request *r, int code, const struct object *o)
{
    struct render how = how_of(r);
    if (render_is_verbatim(&how) && !r->media.pretty) {
        send_verbatim(r, code, o);
        return;
    }
    struct err err = { 0 };
    struct buf b;
    buf_init(&b, 128u << 20);
    if (!render_object(&how, &r->arena, o, &b, &err)) {
        buf_deinit(&b);
        status_from_err(&r->status, &r->arena, &err);
        respond_status(r);
        return;
    }
    finish_json(r, &b);
    send_buf(r, code, media_type_name(r->media.format), &b, NULL, 0);
}

void respond_hub(struct request *r, int code, const void *obj)
{
    struct render how = how_of(r);
    struct err err = { 0 };
    struct buf b;
    buf_init(&b, 128u << 20);
    if (!render_hub(&how, &r->arena, obj, &b, &err)) {
        buf_deinit(&b);
        status_from_err(&r->status, &r->arena, &err);
        respond_status(r);
        return;
    }
    finish_json(r, &b);
    send_buf(r, code, media_type_name(r->media.format), &b, NULL, 0);
}

void respond_bytes(struct request *r, int code, struct str content_type, struct str bytes)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    buf_append(&b, bytes);
    send_buf(r, code, content_type, &b, NULL, 0);
}

void respond_with_headers(struct request *r, int code, struct str content_type, struct buf *b, const struct http_header *more, size_t n_more)
{
    send_buf(r, code, content_type, b, more, n_more);
}

void respond_document(struct request *r, const char *type, struct str json, struct str etag)
{
    struct http_header more[3] = { { STR("Cache-Control"), STR("public") }, { STR("ETag"), etag }, { STR("Vary"), STR("Accept") } };
    size_t n_more = etag.ptr ? ARRAY_SIZE(more) : 0;
    struct err err = { 0 };
    struct buf b;
    buf_init(&b, 64u << 20);
    if (etag.ptr && str_eq(request_header(r, "if-none-match"), etag)) {
        struct http_header h[] = { more[0], more[1], more[2] };
        http_stream_reply(r->http, 304, h, ARRAY_SIZE(h), NULL, 0);
        return;
    }
    bool ok = true;
    struct str content_type = media_type_name(r->media.format);
    if (r->media.as == MEDIA_AS_AGGREGATED) {
        content_type = arena_printf(&r->arena, "%.*s;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", STR_ARG(content_type));
    }
    struct str text = str_trim(json);
    if (r->media.format == MEDIA_JSON) {
        buf_append(&b, text);
        finish_json(r, &b);
    } else if (r->media.format == MEDIA_YAML) {
        ok = render_yaml(&r->arena, text, &b, &err);
    } else {
        const struct api_type *t = api_type_find(str_c(type));
        void *obj = t ? arena_alloc(&r->arena, t->size) : NULL;
        struct api_type_meta tm = { 0 };
        ok = obj && api_peek_type_meta(&r->arena, text, &tm, &err) && api_decode_json(&r->arena, t, text, NULL, obj, &err) &&
             render_typed(MEDIA_PROTOBUF, &r->arena, t, obj, tm.api_version, tm.kind, &b, &err);
    }
    if (!ok) {
        buf_deinit(&b);
        status_internal(&r->status, &r->arena, "%s", err.msg);
        r->media = (struct media){ .format = MEDIA_JSON };
        respond_status(r);
        return;
    }
    send_buf(r, 200, content_type, &b, more, n_more);
}

/* ---- in one piece ---- */

struct whole {
    struct net_ref ref;
    struct buf bytes;
};

static atomic_size_t whole_bytes;

static void whole_release(struct net_ref *ref)
{
    struct whole *w = CONTAINER_OF(ref, struct whole, ref);
    atomic_fetch_sub(&whole_bytes, w->bytes.len);
    buf_deinit(&w->bytes);
    free(w);
}

bool respond_whole_has_room(struct request *r)
{
    if (atomic_load(&whole_bytes) <= LISTS_WHOLE_BUDGET) {
        return true;
    }
    r->status = (struct status){ .code = 429, .reason = STR("TooManyRequests"), .has_details = true, .retry_after = 1,
                                 .message = STR("Too many requests, please try again later.") };
    return false;
}

struct net_chunk respond_whole_chunk(struct buf *b)
{
    struct whole *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    net_ref_init(&w->ref, whole_release);
    w->bytes = *b;
    buf_init(b, 0);
    atomic_fetch_add(&whole_bytes, w->bytes.len);
    struct net_chunk c = net_chunk_of(&w->ref, buf_str(&w->bytes));
    net_ref_put(&w->ref);
    return c;
}
