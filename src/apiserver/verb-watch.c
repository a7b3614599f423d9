/*
 * WATCH: a watcher of the resource's cache, pulled while the connection takes frames. A frame is shared with the other
 * watchers that want the same representation; a slow connection holds no objects, and is told 410 when history has moved past.
 * A watch stays for minutes, and there are thousands: it takes the stream over from its request, which ends, and keeps no more
 * than it needs.
 */
#include "api/encode-pb.h"
#include "api/gen/meta_v1.h"
#include "apiserver/limits.h"
#include "apiserver/render.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/selection.h"
#include "apiserver/verbs.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rand.h"

static struct metric watchers_now = METRIC_GAUGE("apiserver_longrunning_requests", "Watches under way.", "verb");

struct watch_run {
    struct http_stream *http; /* a reference */
    const struct rest *rest;
    struct watcher *watcher;
    struct arena arena;       /* what the request said */
    struct render how;
    struct selection selection;
    struct loop_timer timeout, bookmark;
    struct loop_task pump_task;
    bool columns_sent; /* of tables: only the first event carries them */
    bool bookmarks;    /* the client takes them */
    bool blocked;      /* the connection is full */
};

/* A counted frame as a chunk's owner. */
struct frame {
    struct net_ref ref;
    struct shared_bytes *bytes;
};

static void frame_release(struct net_ref *ref)
{
    struct frame *f = CONTAINER_OF(ref, struct frame, ref);
    (void)shared_bytes_unref(f->bytes);
    free(f);
}

static void send_shared(struct watch_run *w, struct shared_bytes *bytes)
{
    struct frame *f = malloc(sizeof(*f));
    if (!f) {
        abort();
    }
    net_ref_init(&f->ref, frame_release);
    f->bytes = bytes;
    struct net_chunk c = { .bytes = shared_bytes_str(bytes), .owner = &f->ref };
    http_stream_write(w->http, &c, 1);
}

static void send_buf(struct watch_run *w, struct buf *b)
{
    struct net_chunk c = net_chunk_take_buf(b);
    http_stream_write(w->http, &c, 1);
}

static void put_varint(struct buf *b, uint64_t n)
{
    do {
        buf_append_char(b, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
        n >>= 7;
    } while (n);
}

static void begin_json(struct buf *b, const char *type)
{
    buf_append(b, STR("{\"type\":\""));
    buf_append_c(b, type);
    buf_append(b, STR("\",\"object\":"));
}

/* {"type":…,"object":…}\n, or four bytes of length and a WatchEvent. */
static void wrap(const struct watch_run *w, const char *type, struct str object, struct buf *b)
{
    if (w->how.media.format != MEDIA_PROTOBUF) {
        begin_json(b, type);
        buf_append(b, object);
        buf_append(b, STR("}\n"));
        return;
    }
    CLEANUP(buf_deinit) struct buf raw, event;
    buf_init(&raw, 128u << 20);
    buf_init(&event, 128u << 20);
    buf_append_char(&raw, 0x0a); /* RawExtension.raw */
    put_varint(&raw, object.len);
    buf_append(&raw, object);
    buf_append_char(&event, 0x0a); /* WatchEvent.type */
    put_varint(&event, strlen(type));
    buf_append_c(&event, type);
    buf_append_char(&event, 0x12); /* WatchEvent.object */
    put_varint(&event, raw.len);
    buf_append(&event, buf_str(&raw));
    uint32_t n = (uint32_t)event.len;
    char head[4] = { (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n };
    buf_append_bytes(b, head, sizeof(head));
    buf_append(b, buf_str(&event));
}

/* Tables have columns in the first event only, so their rows are made here and not by render_object(). */
static bool render_event(struct watch_run *w, struct arena *a, const struct object *o, const void *hub, struct buf *b,
                         struct err *err)
{
    if (w->how.media.as != MEDIA_AS_TABLE) {
        return o ? render_object(&w->how, a, o, b, err) : render_hub(&w->how, a, hub, b, err);
    }
    const void *obj = o ? rest_decode(w->how.ep->rest, a, o) : hub;
    if (!obj) {
        return err_set(err, ERR_INTERNAL, "a stored object cannot be read");
    }
    table_begin(&w->how, b, rest_meta_const(w->how.ep->rest, obj)->resource_version, STR_NULL, 0, !w->columns_sent);
    if (!table_row(&w->how, a, o, obj, b, err)) {
        return false;
    }
    table_end(b);
    return true;
}

static bool encode(void *arg, const struct watch_item *item, struct buf *b, struct err *err)
{
    struct watch_run *w = arg;
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf object;
    arena_init(&a, REQUEST_ARENA);
    buf_init(&object, 128u << 20);
    if (w->how.media.format != MEDIA_PROTOBUF) {
        (void)!buf_reserve(b, object_json_size(item->object) + 256);
        begin_json(b, watch_type_name(item->type));
        bool ok = render_event(w, &a, item->object, NULL, b, err);
        buf_append(b, STR("}\n"));
        return ok;
    }
    if (!render_event(w, &a, item->object, NULL, &object, err)) {
        return false;
    }
    wrap(w, watch_type_name(item->type), buf_str(&object), b);
    return true;
}

static void watch_free(struct watch_run *w)
{
    metric_add(metric_cell(&watchers_now, STR("WATCH")), -1);
    loop_timer_stop(&w->timeout);
    loop_timer_stop(&w->bookmark);
    loop_task_cancel(&w->pump_task);
    w->watcher = watcher_free(w->watcher);
    http_stream_set_ops(w->http, NULL, NULL);
    http_stream_release(w->http);
    arena_deinit(&w->arena);
    free(w);
}

static void end(struct watch_run *w)
{
    http_stream_end(w->http);
    watch_free(w);
}

/* An ERROR event with a Status, and the end. */
static void fail(struct watch_run *w, int code, const char *reason, struct str message)
{
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf object;
    struct buf b;
    struct err err;
    struct meta_v1_status s = { .status = STR("Failure"), .message = message, .reason = str_c(reason), .code = code };
    arena_init(&a, 1u << 20);
    buf_init(&object, 1u << 20);
    buf_init(&b, 2u << 20);
    if (render_typed(w->how.media.format, &a, &meta_v1_status_type, &s, STR("v1"), STR("Status"), &object, &err)) {
        wrap(w, "ERROR", buf_str(&object), &b);
        send_buf(w, &b);
    }
    buf_deinit(&b);
}

static void send_bookmark(struct watch_run *w, int64_t revision, bool initial_end)
{
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf object;
    struct buf b;
    struct err err = { 0 };
    arena_init(&a, 1u << 20);
    buf_init(&object, 1u << 20);
    buf_init(&b, 2u << 20);
    const struct rest *rest = w->rest;
    void *obj = arena_alloc(&a, rest->hub->type->size);
    if (obj) {
        struct meta_v1_object_meta *m = rest_meta(rest, obj);
        struct api_str_pair mark = { .key = STR("k8s.io/initial-events-end"), .value = STR("true") };
        m->resource_version = arena_printf(&a, "%lld", (long long)revision);
        if (initial_end) {
            m->annotations = &mark;
            m->n_annotations = 1;
        }
        if (render_event(w, &a, NULL, obj, &object, &err)) {
            w->columns_sent = true;
            wrap(w, "BOOKMARK", buf_str(&object), &b);
            send_buf(w, &b);
        }
    }
    buf_deinit(&b);
}

static bool send_item(struct watch_run *w, const struct watch_item *item)
{
    struct err err = { 0 };
    /* The first event of a table is like no other's. */
    bool own = w->how.media.as == MEDIA_AS_TABLE;
    if (own) {
        struct buf b;
        buf_init(&b, 128u << 20);
        if (!encode(w, item, &b, &err)) {
            buf_deinit(&b);
            log_error("apiserver: watch of %.*s: %s", STR_ARG(w->rest->hub->resource), err.msg);
            return false;
        }
        w->columns_sent = true;
        send_buf(w, &b);
        return true;
    }
    struct shared_bytes *bytes = watch_frame(w->watcher, item, render_representation(&w->how), encode, w, &err);
    if (!bytes) {
        log_error("apiserver: watch of %.*s: %s", STR_ARG(w->rest->hub->resource), err.msg);
        return false;
    }
    send_shared(w, bytes);
    return true;
}

static void pump(void *arg)
{
    struct watch_run *w = arg;
    struct watch_item item;
    for (;;) {
        if (http_stream_queued(w->http) >= LIST_BATCH_BYTES) {
            w->blocked = true;
            return;
        }
        switch (watch_next(w->watcher, &item)) {
        case WATCH_GOT_ITEM:
            if (!send_item(w, &item)) {
                fail(w, 500, "InternalError", STR("an object of the watch cannot be encoded"));
                end(w);
                return;
            }
            break;
        case WATCH_GOT_INITIAL_END:
            send_bookmark(w, item.revision, true); /* of what was there: later changes are still to come */
            break;
        case WATCH_GOT_EXPIRED:
            fail(w, 410, "Expired", STR("the watch was too slow, or its history was lost: start again from a new list"));
            end(w);
            return;
        case WATCH_GOT_NOTHING:
            return;
        }
    }
}

static void on_ready(void *arg)
{
    struct watch_run *w = arg;
    if (!w->blocked) {
        loop_task_defer(&w->pump_task);
    }
}

static void on_drain(struct http_stream *s UNUSED, void *arg)
{
    struct watch_run *w = arg;
    w->blocked = false;
    pump(w);
}

static void on_cancel(struct http_stream *s UNUSED, void *arg)
{
    watch_free(arg);
}

static const struct http_stream_ops watch_ops = { .on_drain = on_drain, .on_cancel = on_cancel };

static void bookmark_now(struct watch_run *w)
{
    int64_t rv = watcher_bookmark(w->watcher);
    if (rv > 0 && w->bookmarks && !w->blocked) {
        send_bookmark(w, rv, false);
    }
}

static void on_bookmark(void *arg)
{
    struct watch_run *w = arg;
    bookmark_now(w);
    loop_timer_start(&w->bookmark, WATCH_BOOKMARK_MS);
}

static void on_timeout(void *arg)
{
    struct watch_run *w = arg;
    bookmark_now(w);
    end(w);
}

static bool match(void *arg, const struct object *o)
{
    return selection_matches(arg, o);
}

static enum watch_start how_to_start(const struct request *r)
{
    bool rv = !str_empty(r->opt.resource_version) && r->opt.rv > 0;
    if (r->opt.send_initial) {
        return WATCH_INITIAL;
    }
    if (rv) {
        return WATCH_FROM_REVISION;
    }
    if (r->opt.has_send_initial) {
        return WATCH_ONLY_NEW;
    }
    return WATCH_FROM_NOW;
}

static enum store_status start(struct watch_run *w, const struct request *r)
{
    struct watch_options opt = {
        .start = how_to_start(r), .revision = (int64_t)r->opt.rv, .namespace = r->info.ns, .name = w->selection.name,
        .field = w->selection.field, .field_value = w->selection.field_value, .match_arg = &w->selection, .ready = on_ready, .arg = w,
    };
    if (!w->selection.is_everything) {
        opt.match = match;
    }
    return watcher_new(r->rest->cache, &opt, &w->watcher);
}

/* The stream is the watch's from here on; whoever made the request is answered for as long as the watch lives. */
static void take_over(struct watch_run *w, struct request *r)
{
    uint64_t seconds = r->opt.timeout_s > 0 ? (uint64_t)r->opt.timeout_s : WATCH_MIN_TIMEOUT_S + rand_below(WATCH_MIN_TIMEOUT_S);
    r->handed_over = true;
    http_stream_set_watermarks(w->http, LIST_BATCH_BYTES, LIST_BATCH_BYTES / 4);
    http_stream_set_ops(w->http, &watch_ops, w);
    loop_task_init(&w->pump_task, r->srv->loop, pump, w);
    loop_timer_init(&w->timeout, r->srv->loop, on_timeout, w);
    loop_timer_start(&w->timeout, seconds * 1000);
    loop_timer_init(&w->bookmark, r->srv->loop, on_bookmark, w);
    if (w->bookmarks) {
        loop_timer_start(&w->bookmark, WATCH_BOOKMARK_MS);
    }
    metric_add(metric_cell(&watchers_now, STR("WATCH")), 1);
}

static enum stage_result refuse(struct watch_run *w)
{
    arena_deinit(&w->arena);
    free(w);
    return STAGE_ERROR;
}

enum stage_result stage_watch(struct request *r)
{
    struct watch_run *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    w->http = r->http;
    w->rest = r->rest;
    w->bookmarks = r->opt.allow_bookmarks;
    arena_init_chunk(&w->arena, REQUEST_ARENA, 256);
    if (!selection_parse(&w->arena, r, &w->selection)) {
        return refuse(w);
    }
    w->how = (struct render){ .ep = r->ep, .media = r->media, .include_object = arena_str(&w->arena, request_param(r, "includeObject")),
                              .now_sec = clock_real_s() };
    w->how.media.version = arena_str(&w->arena, r->media.version);
    if (w->how.media.format == MEDIA_YAML) {
        r->media = (struct media){ .format = MEDIA_JSON, .pretty = true };
        r->status = (struct status){ .code = 406, .reason = STR("NotAcceptable"),
            .message = STR("only the following media types are accepted: application/json;stream=watch, "
                           "application/vnd.kubernetes.protobuf;stream=watch") };
        return refuse(w);
    }
    respond_begin(r, 200, w->how.media.format == MEDIA_PROTOBUF ? STR("application/vnd.kubernetes.protobuf;stream=watch")
                                                                : STR("application/json"), -1);
    take_over(w, r);
    enum store_status status = start(w, r);
    if (status != STORE_OK) {
        struct str text = status == STORE_E_COMPACTED
            ? arena_printf(&r->arena, "too old resource version: %llu (%lld)", (unsigned long long)r->opt.rv,
                           (long long)watch_cache_oldest(r->rest->cache))
            : str_c(store_status_text(status));
        fail(w, status == STORE_E_COMPACTED ? 410 : 500, status == STORE_E_COMPACTED ? "Expired" : "InternalError", text);
        end(w);
        return STAGE_ANSWERED;
    }
    loop_task_defer(&w->pump_task);
    return STAGE_ANSWERED;
}
