/*
 * LIST: a pinned snapshot, streamed. JSON of the published bytes is sent without copying; other representations are made
 * piece by piece and given to the connection as it takes them, so that a list holds no memory that grows with its length
 * (protobuf, YAML and indented JSON have their length in front or need the whole: they are made in one piece).
 */
#include "apiserver/list.h"


#include "api/encode-json.h"
#include "api/encode-pb.h"
#include "api/gen/meta_v1.h"
#include "apiserver/continue-token.h"
#include "apiserver/limits.h"
#include "apiserver/render.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/selection.h"
#include "apiserver/verbs.h"
#include "base/clock.h"

struct list_run {
    struct net_ref ref; /* keeps the snapshot while its bytes are being sent */
    struct snapshot *snapshot;

    struct request *r;
    struct render how;
    struct selection selection;
    struct snapshot_iter iter;
    const struct object **picked; /* of a limited list or of deleted objects; NULL: from the iterator */
    size_t n_picked, at;
    struct str rv, continue_token;
    int64_t remaining; /* 0: not told */
    bool first, done;
};

static void run_release(struct net_ref *ref)
{
    struct list_run *run = CONTAINER_OF(ref, struct list_run, ref);
    (void)snapshot_unref(run->snapshot);
    free(run);
}

static const struct object *next(struct list_run *run)
{
    if (run->picked) {
        return run->at < run->n_picked ? run->picked[run->at++] : NULL;
    }
    const struct object *o;
    while ((o = snapshot_iter_next(&run->iter))) {
        if (selection_matches(&run->selection, o)) {
            return o;
        }
    }
    return NULL;
}

static struct str list_api_version(const struct list_run *run)
{
    if (run->how.media.as == MEDIA_AS_PARTIAL) {
        return str_eq_c(run->how.media.version, "v1beta1") ? STR("meta.k8s.io/v1beta1") : STR("meta.k8s.io/v1");
    }
    return run->how.ep->api_version;
}

static struct str list_kind(const struct list_run *run)
{
    return run->how.media.as == MEDIA_AS_PARTIAL ? STR("PartialObjectMetadataList") : run->how.ep->list_kind;
}

static void json_head(struct list_run *run, struct buf *b)
{
    if (run->how.media.as == MEDIA_AS_TABLE) {
        table_begin(&run->how, b, run->rv, run->continue_token, run->remaining, true);
        return;
    }
    buf_printf(b, "{\"kind\":\"%.*s\",\"apiVersion\":\"%.*s\",\"metadata\":{\"resourceVersion\":\"%.*s\"", STR_ARG(list_kind(run)),
               STR_ARG(list_api_version(run)), STR_ARG(run->rv));
    if (run->continue_token.len > 0) {
        buf_printf(b, ",\"continue\":\"%.*s\"", STR_ARG(run->continue_token));
    }
    if (run->remaining > 0) {
        buf_printf(b, ",\"remainingItemCount\":%lld", (long long)run->remaining);
    }
    buf_append(b, STR("},\"items\":["));
}

static void json_foot(struct list_run *run, struct buf *b)
{
    if (run->how.media.as == MEDIA_AS_TABLE) {
        table_end(b);
    } else {
        buf_append(b, STR("]}"));
    }
}

static bool json_item(struct list_run *run, const struct object *o, struct buf *b, struct err *err)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, REQUEST_ARENA);
    if (!run->first) {
        buf_append_char(b, ',');
    }
    run->first = false;
    if (render_is_verbatim(&run->how)) {
        object_item_append(o, b);
        return true;
    }
    const void *hub = rest_decode(run->how.ep->rest, &a, o);
    if (!hub) {
        return err_set(err, ERR_INTERNAL, "a stored object cannot be read");
    }
    if (run->how.media.as == MEDIA_AS_TABLE) {
        return table_row(&run->how, &a, o, hub, b, err);
    }
    if (run->how.media.as == MEDIA_AS_PARTIAL) {
        struct render json = run->how;
        json.media.format = MEDIA_JSON;
        return render_hub(&json, &a, hub, b, err);
    }
    const void *obj = render_convert(run->how.ep, &a, hub);
    struct api_json_encode how = { .no_type_meta = true };
    return (obj && api_encode_json(b, run->how.ep->res->type, obj, &how, NULL)) ||
           err_set(err, ERR_TOO_LARGE, "object is too large");
}

static void send_text(struct list_run *run, struct buf *b)
{
    if (b->len > 0) {
        struct net_chunk c = net_chunk_take_buf(b);
        http_stream_write(run->r->http, &c, 1);
    }
}

/* The published bytes of one item, without copying. */
static void send_item(struct list_run *run, const struct object *o)
{
    struct iovec iov[OBJECT_IOV];
    struct net_chunk chunks[OBJECT_IOV + 1];
    size_t n = 0;
    int n_iov = object_item_iov(o, iov);
    if (!run->first) {
        chunks[n++] = net_chunk_static(STR(","));
    }
    run->first = false;
    for (int i = 0; i < n_iov; i++) {
        chunks[n++] = net_chunk_of(&run->ref, str_n(iov[i].iov_base, iov[i].iov_len));
    }
    http_stream_write(run->r->http, chunks, n);
}

/* Goes on until the connection has enough, or the list is over. True when it is over. */
static bool pump(struct list_run *run)
{
    struct buf b;
    struct err err = { 0 };
    bool verbatim = render_is_verbatim(&run->how);
    buf_init(&b, 256u << 20);
    while (!run->done && http_stream_queued(run->r->http) < LIST_BATCH_BYTES) {
        const struct object *o = next(run);
        if (!o) {
            run->done = true;
            break;
        }
        if (verbatim) {
            send_item(run, o);
        } else if (!json_item(run, o, &b, &err)) {
            buf_deinit(&b);
            http_stream_reset(run->r->http);
            return true;
        } else if (b.len >= 64u << 10) {
            send_text(run, &b);
        }
    }
    if (run->done) {
        json_foot(run, &b);
        buf_append_char(&b, '\n');
        send_text(run, &b);
        http_stream_end(run->r->http);
    } else {
        send_text(run, &b);
    }
    return run->done;
}

static void on_drain(struct http_stream *s, void *arg)
{
    struct request *r = arg;
    (void)s;
    if (pump(r->verb_data)) {
        request_resume(r, STAGE_ANSWERED);
    }
}

static void on_cancel(struct http_stream *s, void *arg)
{
    struct request *r = arg;
    (void)s;
    r->cancelled = true;
    request_resume(r, STAGE_ANSWERED);
}

static const struct http_stream_ops list_ops = { .on_drain = on_drain, .on_cancel = on_cancel };

static void cleanup(struct request *r)
{
    struct list_run *run = r->verb_data;
    run->r = NULL;
    net_ref_put(&run->ref);
}

static enum stage_result stream_json(struct list_run *run)
{
    struct request *r = run->r;
    struct buf b;
    buf_init(&b, 16u << 20);
    respond_begin(r, 200, STR("application/json"), -1);
    json_head(run, &b);
    send_text(run, &b);
    http_stream_set_watermarks(r->http, LIST_BATCH_BYTES, LIST_BATCH_BYTES / 4);
    http_stream_set_ops(r->http, &list_ops, r);
    loop_timer_stop(&r->timer);
    return pump(run) ? STAGE_ANSWERED : STAGE_WAIT;
}

static bool pb_items(struct list_run *run, struct buf *raw, struct err *err)
{
    const struct object *o;
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf item;
    arena_init(&a, REQUEST_ARENA);
    buf_init(&item, 64u << 20);
    while ((o = next(run))) {
        buf_clear(&item);
        const void *hub = rest_decode(run->how.ep->rest, &a, o);
        bool ok = hub != NULL;
        if (ok && run->how.media.as == MEDIA_AS_PARTIAL) {
            struct meta_v1_partial_object_metadata p = { .metadata = *rest_meta_const(run->how.ep->rest, hub) };
            ok = api_encode_pb(&item, &meta_v1_partial_object_metadata_type, &p);
        } else if (ok) {
            const void *obj = render_convert(run->how.ep, &a, hub);
            ok = obj && api_encode_pb(&item, run->how.ep->res->type, obj);
        }
        if (!ok) {
            return err_set(err, ERR_TOO_LARGE, "object is too large");
        }
        uint64_t n = item.len;
        buf_append_char(raw, 0x12); /* field 2, length-delimited */
        do {
            buf_append_char(raw, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
            n >>= 7;
        } while (n);
        buf_append(raw, buf_str(&item));
        arena_clear(&a);
    }
    return !buf_failed(raw) || err_set(err, ERR_TOO_LARGE, "list is too large");
}

static bool pb_whole(struct list_run *run, struct buf *b, struct err *err)
{
    CLEANUP(buf_deinit) struct buf raw, meta;
    struct meta_v1_list_meta m = { .resource_version = run->rv, .continue_ = run->continue_token };
    buf_init(&raw, 512u << 20);
    buf_init(&meta, 8192);
    if (run->remaining > 0) {
        m.has_remaining_item_count = true;
        m.remaining_item_count = run->remaining;
    }
    if (!api_encode_pb(&meta, &meta_v1_list_meta_type, &m)) {
        return err_set(err, ERR_TOO_LARGE, "list is too large");
    }
    uint64_t n = meta.len;
    buf_append_char(&raw, 0x0a);
    do {
        buf_append_char(&raw, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
        n >>= 7;
    } while (n);
    buf_append(&raw, buf_str(&meta));
    if (!pb_items(run, &raw, err)) {
        return false;
    }
    api_encode_pb_envelope(b, list_api_version(run), list_kind(run), buf_str(&raw));
    return true;
}

static void send_whole(struct request *r, struct buf *b)
{
    struct net_chunk c = respond_whole_chunk(b);
    http_stream_write(r->http, &c, 1);
    http_stream_end(r->http);
}

/* Representations that are made whole. */
static enum stage_result answer_whole(struct list_run *run)
{
    struct request *r = run->r;
    struct err err = { 0 };
    struct buf json, b;
    bool ok = true;
    if (!respond_whole_has_room(r)) {
        return STAGE_ERROR;
    }
    buf_init(&json, 512u << 20);
    buf_init(&b, 1u << 30);
    if (run->how.media.format == MEDIA_PROTOBUF) {
        ok = pb_whole(run, &b, &err);
    } else {
        const struct object *o;
        json_head(run, &json);
        while (ok && (o = next(run))) {
            ok = json_item(run, o, &json, &err);
        }
        json_foot(run, &json);
        if (ok && run->how.media.format == MEDIA_YAML) {
            ok = render_yaml(&r->arena, buf_str(&json), &b, &err);
        } else if (ok) {
            media_indent(&b, buf_str(&json));
        }
    }
    buf_deinit(&json);
    if (!ok || buf_failed(&b)) {
        buf_deinit(&b);
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    respond_begin(r, 200, media_type_name(run->how.media.format), (int64_t)b.len);
    send_whole(r, &b);
    return STAGE_ANSWERED;
}

static struct list_run *run_new(struct request *r, struct snapshot *snapshot)
{
    struct list_run *run = calloc(1, sizeof(*run));
    if (!run) {
        abort();
    }
    net_ref_init(&run->ref, run_release);
    run->snapshot = snapshot;
    run->r = r;
    run->first = true;
    run->how = (struct render){ .ep = r->ep, .media = r->media, .include_object = request_param(r, "includeObject"),
                                .now_sec = clock_real_s() };
    run->rv = arena_printf(&r->arena, "%lld", (long long)snapshot_revision(snapshot));
    r->verb_data = run;
    r->cleanup = cleanup;
    return run;
}

static enum stage_result answer(struct list_run *run)
{
    return run->how.media.format == MEDIA_JSON && !run->how.media.pretty ? stream_json(run) : answer_whole(run);
}

enum stage_result list_answer(struct request *r, struct snapshot *snapshot, const struct object **objects, size_t n)
{
    struct list_run *run = run_new(r, snapshot);
    run->picked = objects;
    run->n_picked = n;
    return answer(run);
}

static enum stage_result expired(struct request *r, const struct continue_token *t)
{
    bool with_ns = r->rest->hub->namespaced && str_empty(r->info.ns);
    if (!t) {
        r->status = (struct status){ .code = 410, .reason = STR("Expired"),
                                     .message = STR("The resourceVersion for the provided list is too old.") };
        return STAGE_ERROR;
    }
    struct continue_token loose = { .rv = -1, .ns = t->ns, .name = t->name };
    r->status = (struct status){
        .code = 410, .reason = STR("Expired"), .continue_token = continue_encode(&r->arena, &loose, with_ns),
        .message = STR("The provided continue parameter is too old to display a consistent list result. You can start a new list "
                       "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
                       "the results. Continuing with the provided token results in an inconsistent list - objects that were "
                       "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
                       "list."),
    };
    return STAGE_ERROR;
}

/* The snapshot that the request is about, or the reason why there is none. */
static enum stage_result pin(struct request *r, const struct continue_token *t, struct snapshot **ret)
{
    int64_t rv = t ? t->rv : r->opt.rv_match == RV_MATCH_EXACT ? (int64_t)r->opt.rv : 0;
    if (rv <= 0) {
        *ret = watch_cache_snapshot(r->rest->cache);
        return STAGE_DONE;
    }
    enum store_status status = watch_cache_snapshot_at(r->rest->cache, rv, ret);
    if (status == STORE_OK) {
        return STAGE_DONE;
    }
    if (status == STORE_E_FUTURE) {
        status_rv_too_large(&r->status, &r->arena, (uint64_t)rv, (uint64_t)watch_cache_revision(r->rest->cache));
        return STAGE_ERROR;
    }
    return expired(r, t);
}

/* The first 'limit' matches, and whether there is more. */
static bool pick(struct request *r, struct list_run *run, bool with_ns)
{
    size_t capacity = 0;
    const struct object *o = NULL, *last = NULL;
    while (run->n_picked < (size_t)r->opt.limit && (o = snapshot_iter_next(&run->iter))) {
        if (!selection_matches(&run->selection, o)) {
            continue;
        }
        if (run->n_picked == capacity) {
            size_t more = capacity ? capacity * 2 : 64;
            const struct object **grown = arena_grow_n(&r->arena, run->picked, capacity, more, sizeof(const struct object *));
            if (!grown) {
                return false;
            }
            run->picked = grown;
            capacity = more;
        }
        run->picked[run->n_picked++] = last = o;
    }
    if (!run->picked) {
        run->picked = arena_alloc(&r->arena, sizeof(const struct object *));
    }
    size_t left = snapshot_iter_left(&run->iter);
    if (last && left > 0) {
        struct continue_token t = { .rv = snapshot_revision(run->snapshot), .ns = object_namespace(last),
                                    .name = object_name(last) };
        if (run->selection.is_everything) {
            run->remaining = (int64_t)left;
        } else {
            /* With a selector the rest may hold no match; upstream looks ahead by pages and so do we. */
            struct snapshot_iter ahead = run->iter;
            bool any = false;
            while (!any && (o = snapshot_iter_next(&ahead))) {
                any = selection_matches(&run->selection, o);
            }
            if (!any) {
                return true;
            }
        }
        run->continue_token = continue_encode(&r->arena, &t, with_ns);
    }
    return run->picked != NULL;
}

enum stage_result stage_list(struct request *r)
{
    struct selection selection;
    struct continue_token token, *t = NULL;
    struct snapshot *snapshot = NULL;
    struct err err = { 0 };
    bool with_ns = r->rest->hub->namespaced && str_empty(r->info.ns);

    if (!selection_parse(&r->arena, r, &selection)) {
        return STAGE_ERROR;
    }
    if (!str_empty(r->opt.continue_token)) {
        if (!str_empty(r->opt.resource_version) && !str_eq_c(r->opt.resource_version, "0")) {
            return request_bad(r, "specifying resource version is not allowed when using continue");
        }
        if (!continue_decode(&r->arena, r->opt.continue_token, with_ns, &token, &err)) {
            return request_bad(r, "invalid continue token: %s", err.msg);
        }
        t = &token;
    }
    enum stage_result result = pin(r, t, &snapshot);
    if (result != STAGE_DONE) {
        return result;
    }
    struct list_run *run = run_new(r, snapshot);
    run->selection = selection;
    snapshot_iter_init(&run->iter, snapshot, r->info.ns, t ? (with_ns ? t->ns : r->info.ns) : STR_EMPTY, t ? t->name : STR_EMPTY);
    /* From the cache at any version upstream gives everything, whatever the limit. */
    bool limited = r->opt.limit > 0 && !(str_eq_c(r->opt.resource_version, "0") && !t);
    if (limited && !pick(r, run, with_ns)) {
        return request_bad(r, "the list is too large");
    }
    return answer(run);
}
