#include "client/reflector.h"

#include <stdlib.h>

#include "api/decode-json.h"
#include "api/encode-json.h"
#include "api/gen/meta_v1.h"
#include "base/encoding.h"
#include "base/log.h"
#include "base/rand.h"
#include "client/client-private.h"
#include "client/informer-private.h"
#include "client/item-filter.h"
#include "client/limits.h"
#include "client/meta.h"

#define BACKOFF_FIRST_MS 800
#define BACKOFF_MOST_MS 30000
/* client-go: a watch lasts between five and ten minutes, so that servers are left evenly. */
#define WATCH_LEAST_S 300

static void reflector_next(struct reflector *r);

static void on_timer(void *arg);

void reflector_init(struct reflector *r, struct informer *i)
{
    r->informer = i;
    arena_init_chunk(&r->arena, ARENA_NO_BUDGET, 512);
    buf_init(&r->line, CLIENT_WATCH_LINE_MAX);
    loop_timer_init(&r->timer, client_loop(i->set->client), on_timer, r);
}

void reflector_deinit(struct reflector *r)
{
    client_cancel(r->call);
    r->call = NULL;
    loop_timer_stop(&r->timer);
    buf_deinit(&r->line);
    arena_deinit(&r->arena);
    free(r->rv);
    free(r->next_page);
    r->rv = r->next_page = NULL;
}

static void set_text(char **place, struct str s)
{
    free(*place);
    *place = s.len ? strndup(s.ptr, s.len) : NULL;
}

/* Does somebody ask for the list whole, for what it is part of, or for something of all its items? */
static bool is_wanted_whole(const struct informer *i, struct str path)
{
    for (size_t k = 0; k < i->n_fields; k++) {
        struct str field = str_c(i->fields[k]), shorter = field.len < path.len ? field : path,
                   longer = field.len < path.len ? path : field;
        if (str_starts(longer, shorter) && (longer.len == shorter.len || longer.ptr[shorter.len] == '.')) {
            return true;
        }
    }
    return false;
}

/* The lists of which only some items are kept. */
static void filter_items(struct reflector *r)
{
    struct informer *i = r->informer;
    struct str path, key;
    for (size_t k = 0; k < i->n_items; k++) {
        if (item_filter_split(str_c(i->items[k]), &path, &key) && !is_wanted_whole(i, path) &&
            !item_filter_add(&r->arena, &r->filters, i->resource->type, path, key)) {
            log_error("informer of %.*s: %s is no item of a list with a key", STR_ARG(i->resource->resource), i->items[k]);
        }
    }
}

static const struct api_mask *mask_of(struct reflector *r)
{
    struct informer *i = r->informer;
    struct err err;
    struct str path, key;
    /* All but some fields is more than any list of fields. */
    size_t n = i->n_dropped ? i->n_dropped : i->n_fields;
    const char **paths = arena_new_n(&r->arena, const char *, n + i->n_items);
    if (!paths) {
        abort();
    }
    for (size_t k = 0; k < n; k++) {
        paths[k] = i->n_dropped ? i->dropped[k] : i->fields[k];
    }
    for (size_t k = 0; k < i->n_items && !i->n_dropped; k++) {
        (void)item_filter_split(str_c(i->items[k]), &path, &key);
        if (!(paths[n++] = arena_cstr(&r->arena, path))) {
            abort();
        }
    }
    if (!i->n_dropped) {
        filter_items(r);
    }
    const struct api_mask *mask = api_mask_new(&r->arena, i->resource->type, paths, n, &err);
    if (!mask) {
        log_error("informer of %.*s: %s; it keeps all fields", STR_ARG(i->resource->resource), err.msg);
    }
    return mask;
}

void reflector_start(struct reflector *r)
{
    if (!r->informer->everything) {
        r->mask = mask_of(r);
    }
    reflector_next(r);
}

static void relist(struct reflector *r)
{
    set_text(&r->rv, STR_NULL);
    set_text(&r->next_page, STR_NULL);
}

static void on_timer(void *arg)
{
    struct reflector *r = arg;
    if (r->call) { /* a watch that has lost a line */
        client_cancel(r->call);
        r->call = NULL;
        buf_clear(&r->line);
        relist(r);
    }
    reflector_next(r);
}

static void wait_and_go_on(struct reflector *r)
{
    if (r->progress) {
        r->failures = 0;
    }
    uint64_t ms = 0;
    if (r->failures) {
        ms = MIN((uint64_t)BACKOFF_FIRST_MS << MIN(r->failures - 1, 8u), (uint64_t)BACKOFF_MOST_MS);
        ms += rand_below(ms + 1);
    }
    loop_timer_start(&r->timer, ms);
}

static void not_served(struct reflector *r)
{
    const struct informers *set = r->informer->set;
    const struct api_resource *res = r->informer->resource;
    if (!r->not_served) {
        r->not_served = true;
        log_info("informer of %.*s %.*s/%.*s: the server does not serve it; it is asked again every %llu s",
                 STR_ARG(res->resource), STR_ARG(res->group), STR_ARG(res->version),
                 (unsigned long long)set->not_served_retry_ms / 1000);
    }
    relist(r);
    r->failures = 0;
    if (!r->synced) {
        r->synced = true;
        informers_check_synced(r->informer->set);
    }
    loop_timer_start(&r->timer, set->not_served_retry_ms + rand_below(set->not_served_retry_ms / 4 + 1));
}

/* Was the list under way answered so? */
static bool list_is_not_served(const struct reflector *r, const struct client_answer *answer)
{
    return answer->err && answer->http_status == 404 && r->state != REFLECT_WATCH && !r->next_page;
}

static void list_is_complete(struct reflector *r, struct str rv)
{
    uint64_t at = 0;
    if (str_to_u64(rv, &at)) {
        informer_list_ends(r->informer, at);
    }
    set_text(&r->rv, rv);
    r->state = REFLECT_WATCH;
    r->progress = true;
    if (r->not_served) {
        r->not_served = false;
        log_info("informer of %.*s: the server serves it now",
                 STR_ARG(r->informer->resource->resource));
    }
    if (!r->synced) {
        r->synced = true;
        informers_check_synced(r->informer->set);
    }
}

/* ---- events of a watch ---- */

/* The code of a Status that a watch carries as an ERROR event. */
static void watch_error(struct reflector *r, struct arena *a, struct str object)
{
    struct meta_v1_status s = { 0 };
    if (!api_decode_json(a, &meta_v1_status_type, object, NULL, &s, NULL)) {
        s = (struct meta_v1_status){ 0 };
    }
    const struct api_resource *res = r->informer->resource;
    if (s.code == 410 || str_eq(s.reason, STR("Expired")) || str_eq(s.reason, STR("Gone"))) {
        log_debug("informer of %.*s: %.*s; listing again", STR_ARG(res->resource),
                  STR_ARG(s.message));
        r->expired = true;
    } else {
        log_warning("informer of %.*s: the watch was ended: %.*s", STR_ARG(res->resource),
                    STR_ARG(s.message));
    }
}

/* A bookmark says how far the watch is, and whether the initial list is complete: only its metadata
 * counts. */
static void watch_bookmark(struct reflector *r, struct arena *a, struct str object)
{
    struct meta_v1_partial_object_metadata mark = { 0 };
    if (!api_decode_json(a, &meta_v1_partial_object_metadata_type, object, NULL, &mark, NULL)) {
        return;
    }
    struct str rv = mark.metadata.resource_version;
    if (r->state == REFLECT_WATCH) {
        set_text(&r->rv, rv);
    } else if (str_eq(meta_annotation(&mark.metadata, STR("k8s.io/initial-events-end")),
                      STR("true"))) {
        list_is_complete(r, rv);
    }
    r->progress = true;
}

/* The metadata that says which object and version it is. */
struct identity {
    struct str ns, name, uid, version;
};

/* Reads as far as the identity goes, which stands near the beginning. The reader is a copy: its caller reads on from before. */
static bool peek_identity(struct json_reader j, bool namespaced, struct identity *ret)
{
    struct str key, *place;
    int more;
    *ret = (struct identity){ STR_NULL };
    j.err = NULL;
    if (!json_object_begin(&j)) {
        return false;
    }
    while ((more = json_object_next(&j, &key)) > 0 && !str_eq(key, STR("metadata"))) {
        if (!json_skip(&j)) {
            return false;
        }
    }
    if (more <= 0 || !json_object_begin(&j)) {
        return false;
    }
    while (json_object_next(&j, &key) > 0) {
        place = str_eq(key, STR("name"))              ? &ret->name
                : str_eq(key, STR("namespace"))       ? &ret->ns
                : str_eq(key, STR("uid"))             ? &ret->uid
                : str_eq(key, STR("resourceVersion")) ? &ret->version
                                                      : NULL;
        if (!(place ? json_string(&j, place) : json_skip(&j))) {
            return false;
        }
        if (ret->name.len && ret->uid.len && ret->version.len && (ret->ns.len || !namespaced)) {
            return true;
        }
    }
    return false;
}

/* Is the object that comes one that is there already: mostly an answer to a write of ours? */
static bool is_known(struct reflector *r, const struct json_reader *j)
{
    struct informer *i = r->informer;
    struct identity id;
    uint64_t version;
    if (!peek_identity(*j, i->resource->namespaced, &id) || !str_to_u64(id.version, &version) ||
        !informer_knows(i, id.ns, id.name, id.uid, version, r->state == REFLECT_LIST_STREAM)) {
        return false;
    }
    if (r->state == REFLECT_WATCH) {
        set_text(&r->rv, id.version);
    }
    r->progress = true;
    return true;
}

enum watch_result { WATCH_READ, WATCH_FAILED, WATCH_LINE_DONE };

/* Reads the object of an event. */
static enum watch_result watch_object(struct reflector *r, struct json_reader *j, struct str type)
{
    struct informer *i = r->informer;
    const struct api_type *t = i->resource->type;
    struct str object;
    bool deleted = str_eq(type, STR("DELETED"));
    if (str_eq(type, STR("ERROR")) || str_eq(type, STR("BOOKMARK"))) {
        if (!json_raw(j, &object)) {
            return WATCH_FAILED;
        }
        if (str_eq(type, STR("ERROR"))) {
            watch_error(r, j->arena, object);
        } else {
            watch_bookmark(r, j->arena, object);
        }
        return WATCH_READ;
    }
    if (!deleted && is_known(r, j)) {
        return WATCH_LINE_DONE;
    }
    struct api_json_decode o = { .mask = r->mask, .own = true };
    void *obj = arena_alloc(j->arena, t->size);
    if (!obj || !api_read_json(j, t, &o, obj)) {
        return WATCH_FAILED;
    }
    item_filters_apply(r->filters, obj);
    const struct meta_v1_object_meta *m = meta_of(t, obj);
    if (deleted) {
        informer_drop(i, m->namespace, m->name, meta_rv(m));
    } else {
        informer_store(i, obj, r->state == REFLECT_LIST_STREAM);
    }
    if (r->state == REFLECT_WATCH) {
        set_text(&r->rv, m->resource_version);
    }
    r->progress = true;
    return WATCH_READ;
}

/* One line: {"type":"ADDED","object":{…}}. */
static bool watch_members(struct reflector *r, struct json_reader *j)
{
    struct str key, type = STR_NULL;
    struct json_reader object = { .begin = NULL }; /* where it begins, when it came before its type */
    int more;
    bool done = false;
    if (!json_object_begin(j)) {
        return false;
    }
    while ((more = json_object_next(j, &key)) > 0) {
        bool ok = true;
        if (str_eq(key, STR("type"))) {
            ok = json_string(j, &type);
        } else if (str_eq(key, STR("object")) && type.ptr) {
            enum watch_result result = watch_object(r, j, type);
            if (result == WATCH_LINE_DONE) {
                return true;
            }
            ok = done = result == WATCH_READ;
        } else {
            object = str_eq(key, STR("object")) ? *j : object;
            ok = json_skip(j);
        }
        if (!ok) {
            return false;
        }
    }
    if (!done && more == 0 && type.ptr && object.begin) {
        done = watch_object(r, &object, type) != WATCH_FAILED;
    }
    return more == 0 && done;
}

static void watch_line(struct reflector *r, struct str line)
{
    struct arena *a = &r->informer->set->line;
    struct err err = { 0 };
    struct json_reader j;
    json_reader_init(&j, line, a, JSON_DEPTH, &err);
    if (!watch_members(r, &j)) {
        log_error("informer of %.*s: a line of the watch cannot be read: %s",
                  STR_ARG(r->informer->resource->resource), err.msg);
    }
    arena_clear(a);
}

static void on_watch_data(void *data, struct str bytes)
{
    struct reflector *r = data;
    struct str head, tail;
    while (str_cut(bytes, '\n', &head, &tail)) {
        if (r->line.len) {
            buf_append(&r->line, head);
            if (buf_failed(&r->line)) {
                log_error(
                    "informer of %.*s: a line of the watch is longer than %u bytes: it is dropped",
                    STR_ARG(r->informer->resource->resource), CLIENT_WATCH_LINE_MAX);
                /* Nobody knows what it said: the list is read anew, soon or when the watch ends. */
                r->expired = true;
                loop_timer_start(&r->timer, BACKOFF_MOST_MS);
            } else {
                watch_line(r, buf_str(&r->line));
            }
            buf_clear(&r->line);
        } else if (head.len) {
            watch_line(r, head);
        }
        bytes = tail;
    }
    buf_append(&r->line, bytes);
}

static void on_watch_end(void *data, const struct client_answer *answer)
{
    struct reflector *r = data;
    r->call = NULL;
    /* A line's memory is given back between watches: most lines are short and one may have been
     * long. */
    buf_deinit(&r->line);
    buf_init(&r->line, CLIENT_WATCH_LINE_MAX);
    if (list_is_not_served(r, answer)) {
        not_served(r);
        return;
    }
    if (answer->err) {
        enum err_code code = answer->err->code;
        if (r->state == REFLECT_LIST_STREAM &&
            (code == ERR_INVALID || code == ERR_BAD_REQUEST || code == ERR_FORBIDDEN) &&
            answer->http_status) {
            r->no_stream_list = true;
            loop_timer_start(&r->timer, 0);
            return;
        }
        /* A watch of what is not served any more lists again, and sees. */
        r->expired = r->expired || code == ERR_EXPIRED || code == ERR_GONE || answer->http_status == 404;
        if (!r->expired) {
            log_at(r->progress ? LOG_DEBUG : LOG_WARNING, "informer of %.*s: %s",
                   STR_ARG(r->informer->resource->resource), answer->err->msg);
        }
        r->failures = r->progress ? 1 : r->failures + 1;
        r->progress = false;
    }
    if (r->expired) {
        relist(r);
    }
    wait_and_go_on(r);
}

/* ---- lists in pages ---- */

static void on_page(void *data, const struct client_answer *answer)
{
    struct reflector *r = data;
    struct informer *i = r->informer;
    const struct api_type *lt = i->resource->list_type;
    r->call = NULL;
    if (list_is_not_served(r, answer)) {
        not_served(r);
        return;
    }
    if (answer->err) {
        log_warning("informer of %.*s: cannot list: %s", STR_ARG(i->resource->resource),
                    answer->err->msg);
        relist(r);
        r->failures++;
        r->progress = false;
        wait_and_go_on(r);
        return;
    }
    const struct meta_v1_list_meta *lm;
    size_t offset = 0;
    const struct api_field *f = api_field_find(lt, STR("metadata"), &offset);
    lm = (const void *)((const char *)answer->object + (f ? offset : 0));
    f = api_field_find(lt, STR("items"), &offset);
    const char *items = *(const char *const *)(const void *)((const char *)answer->object + offset);
    size_t n =
        *(const size_t *)(const void *)((const char *)answer->object + offset + sizeof(void *));
    for (size_t k = 0; f && k < n; k++) {
        reflector_absorb(r, items + k * i->resource->type->size);
    }
    if (lm->continue_.len) {
        set_text(&r->next_page, lm->continue_);
        reflector_next(r);
        return;
    }
    set_text(&r->next_page, STR_NULL);
    list_is_complete(r, lm->resource_version);
    reflector_next(r);
}

bool reflector_absorb_text(struct reflector *r, struct str text)
{
    struct arena a;
    const struct api_type *type = r->informer->resource->type;
    struct api_json_decode o = { .mask = r->mask, .own = true };
    struct err err;
    arena_init(&a, CLIENT_ARENA_MAX);
    void *part = arena_alloc(&a, type->size);
    bool ok = part && api_decode_json(&a, type, text, &o, part, &err) && meta_of(type, part)->uid.len;
    if (ok) {
        item_filters_apply(r->filters, part);
        informer_put(r->informer, part);
    }
    arena_deinit(&a);
    return ok;
}

void reflector_absorb(struct reflector *r, const void *obj)
{
    struct informer *i = r->informer;
    bool listing = r->state == REFLECT_LIST_PAGES;
    if (!r->mask) {
        if (listing) {
            informer_store(i, obj, true);
        } else {
            informer_put(i, obj);
        }
        return;
    }
    /* Cut down to the fields by way of JSON: this is one object a write, and the decoder knows
     * masks. */
    struct arena a;
    struct buf text;
    struct err err;
    struct api_json_decode o = { .mask = r->mask, .own = true };
    arena_init(&a, CLIENT_ARENA_MAX);
    buf_init(&text, CLIENT_ANSWER_MAX);
    void *part = arena_alloc(&a, i->resource->type->size);
    if (part && api_encode_json(&text, i->resource->type, obj, NULL, NULL) &&
        api_decode_json(&a, i->resource->type, buf_str(&text), &o, part, &err)) {
        item_filters_apply(r->filters, part);
        if (listing) {
            informer_store(i, part, true);
        } else {
            informer_put(i, part);
        }
    }
    buf_deinit(&text);
    arena_deinit(&a);
}

/* ---- the next step ---- */

static void append_param(struct buf *q, const char *name, struct str value)
{
    if (q->len) {
        buf_append_char(q, '&');
    }
    buf_append_c(q, name);
    buf_append_char(q, '=');
    percent_encode(q, value, "");
}

static void reflector_next(struct reflector *r)
{
    struct informer *i = r->informer;
    struct buf query;
    buf_init(&query, 65536);
    if (i->label_selector) {
        append_param(&query, "labelSelector", str_c(i->label_selector));
    }
    if (i->field_selector) {
        append_param(&query, "fieldSelector", str_c(i->field_selector));
    }
    r->expired = false;
    struct client_target t = { .resource = i->resource, .ns = str_c(i->ns) };
    if (!r->rv && r->no_stream_list) {
        if (r->state != REFLECT_LIST_PAGES || !r->next_page) {
            i->list_round++;
        }
        r->state = REFLECT_LIST_PAGES;
        append_param(&query, "limit", STR(CLIENT_PAGE));
        if (r->next_page) {
            append_param(&query, "continue", str_c(r->next_page));
        }
        t.query = buf_str(&query);
        r->call = client_get(i->set->client, &t, on_page, r);
    } else {
        uint64_t seconds = WATCH_LEAST_S + rand_below(WATCH_LEAST_S);
        append_param(&query, "watch", STR("true"));
        append_param(&query, "allowWatchBookmarks", STR("true"));
        buf_printf(&query, "&timeoutSeconds=%llu", (unsigned long long)seconds);
        if (r->rv) {
            r->state = REFLECT_WATCH;
            append_param(&query, "resourceVersion", str_c(r->rv));
        } else {
            r->state = REFLECT_LIST_STREAM;
            i->list_round++;
            append_param(&query, "sendInitialEvents", STR("true"));
            append_param(&query, "resourceVersionMatch", STR("NotOlderThan"));
        }
        r->progress = false;
        t.query = buf_str(&query);
        t.timeout_ms = seconds * 1000 + 30000;
        r->call = client_stream(i->set->client, &t, on_watch_data, on_watch_end, r);
    }
    buf_deinit(&query);
}
