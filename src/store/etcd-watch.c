#include "api/decode-pb.h"
#include "api/encode-pb.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "store/etcd-private.h"

enum { AGAIN_MIN_MS = 20, AGAIN_MAX_MS = 1000 };

static void watch_open(struct etcd_store *s);

/* ---- the watermark and who waits for it ---- */

void etcd_note_revision(struct etcd_store *s, int64_t revision)
{
    s->seen = MAX(s->seen, revision);
}

void etcd_note_header(struct etcd_store *s, const struct etcd_v3_response_header *h)
{
    s->term = MAX(s->term, h->raft_term);
    etcd_note_revision(s, h->revision);
}

static void start_wait_timer(struct etcd_store *s)
{
    uint64_t next = UINT64_MAX, now = loop_now_ms(s->loop);
    LIST_FOREACH(&s->waits, struct etcd_wait, link, w) {
        next = MIN(next, w->until_ms);
    }
    if (next != UINT64_MAX) {
        loop_timer_start(&s->wait_timer, next > now ? next - now : 0);
    }
}

static void on_wait_timer(void *arg)
{
    struct etcd_store *s = arg;
    uint64_t now = loop_now_ms(s->loop);
    struct list late;
    list_init(&late);
    LIST_FOREACH(&s->waits, struct etcd_wait, link, w) {
        if (w->until_ms <= now) {
            list_remove(&w->link);
            list_push_back(&late, &w->link);
        }
    }
    while (!list_empty(&late)) {
        struct etcd_wait *w = LIST_ENTRY(list_pop_front(&late), struct etcd_wait, link);
        list_init(&w->link);
        w->done(w->arg, false);
    }
    start_wait_timer(s);
}

void etcd_wait(struct etcd_store *s, struct etcd_wait *w, int64_t revision, uint32_t timeout_ms,
               void (*done)(void *arg, bool reached), void *arg)
{
    *w = (struct etcd_wait){ .revision = revision, .until_ms = loop_now_ms(s->loop) + timeout_ms, .done = done, .arg = arg };
    list_init(&w->link);
    if (s->started && s->watermark >= revision) {
        done(arg, true);
        return;
    }
    struct list *at = s->waits.prev;
    while (at != &s->waits && LIST_ENTRY(at, struct etcd_wait, link)->revision > revision) {
        at = at->prev;
    }
    list_insert_before(at->next, &w->link);
    start_wait_timer(s);
    etcd_want_progress(s);
}

void etcd_call_progress(struct etcd_store *s)
{
    LIST_FOREACH(&s->resources, struct etcd_resource, link, r) {
        if (r->want_progress && r->cfg.on_progress && !r->closed) {
            r->cfg.on_progress(r->cfg.arg);
        }
    }
}

static void set_watermark(struct etcd_store *s, int64_t revision)
{
    s->watermark = MAX(s->watermark, revision);
    etcd_note_revision(s, revision);
    while (!list_empty(&s->waits)) {
        struct etcd_wait *w = LIST_ENTRY(s->waits.next, struct etcd_wait, link);
        if (w->revision > s->watermark) {
            break;
        }
        list_remove(&w->link);
        list_init(&w->link);
        w->done(w->arg, true);
    }
    if (s->n_want_progress) {
        etcd_call_progress(s);
    }
}

/* ---- asking for progress ---- */

static bool is_behind(const struct etcd_store *s)
{
    return s->watermark < s->seen && (s->n_want_progress || !list_empty(&s->waits));
}

static void on_progress_timer(void *arg)
{
    struct etcd_store *s = arg;
    if (!is_behind(s) || !s->watch || !s->watch_created) {
        return;
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64);
    struct etcd_v3_watch_progress_request progress = { 0 };
    struct etcd_v3_watch_request req = { .progress_request = &progress };
    if (api_encode_pb(&b, &etcd_v3_watch_request_type, &req)) {
        (void)!grpc_call_send(s->watch, buf_str(&b));
    }
    loop_timer_start(&s->progress, STORE_ETCD_PROGRESS_MS);
}

void etcd_want_progress(struct etcd_store *s)
{
    if (!s->all_keys && is_behind(s) && !loop_timer_runs(&s->progress)) {
        loop_timer_start(&s->progress, 0);
    }
}

/* ---- the stream ---- */

static void again(struct etcd_store *s)
{
    uint64_t wait = MIN((uint64_t)AGAIN_MIN_MS << MIN(s->watch_failures, 6u), (uint64_t)AGAIN_MAX_MS);
    s->watch_failures++;
    loop_timer_start(&s->watch_again, wait / 2 + rand_below(wait / 2 + 1));
}

static void drop_watch(struct etcd_store *s)
{
    grpc_call_cancel(s->watch);
    s->watch = NULL;
    s->watch_created = false;
    s->in_fragment = false;
    s->pending_watermark = 0;
}

/* The revisions behind the watermark have been compacted away: everybody loads anew. */
static void lost(struct etcd_store *s, int64_t compacted)
{
    log_warning("store: etcd has compacted history up to revision %lld, this server had seen %lld: everything is loaded anew",
                (long long)compacted, (long long)s->watermark);
    drop_watch(s);
    s->started = false;
    loop_timer_start(&s->watch_again, 0);
}

static void deliver(struct etcd_store *s, const struct etcd_v3_event *ev)
{
    char local[ETCD_KEY_SIZE];
    struct str key;
    if (!ev->kv) {
        return;
    }
    bool gone = ev->type == 1;
    int64_t revision = ev->kv->mod_revision;
    s->pending_watermark = MAX(s->pending_watermark, revision);
    if (revision <= s->watermark || !etcd_key_in(s, ev->kv->key, local, &key)) {
        return;
    }
    struct object *own = etcd_write_match(s, ev->kv->key, gone, ev->kv->value, revision);
    struct etcd_resource *r = etcd_find_resource(s, key);
    if (own) {
        object_set_revision(own, revision);
    }
    if (r && r->cfg.on_event) {
        struct store_event e = {
            .type = gone ? STORE_EVENT_DELETE : STORE_EVENT_PUT,
            .key = key,
            /* An empty value is a value. */
            .value = gone ? STR_NULL : ev->kv->value.ptr ? ev->kv->value : STR_EMPTY,
            .revision = revision,
            .object = own,
        };
        r->cfg.on_event(r->cfg.arg, &e);
    }
    object_unref(own);
}

static void on_message(void *arg, struct str message)
{
    struct etcd_store *s = arg;
    CLEANUP(arena_deinit) struct arena a;
    struct etcd_v3_watch_response resp = { 0 };
    struct err err = { 0 };
    arena_init(&a, STORE_ETCD_MAX_ARENA);
    if (!s->watch) {
        return;
    }
    if (!api_decode_pb(&a, &etcd_v3_watch_response_type, message, NULL, &resp, &err)) {
        log_error("store: a message of etcd's watch cannot be read: %s; watching again", err.msg);
        drop_watch(s);
        again(s);
        return;
    }
    if (resp.canceled) {
        if (resp.compact_revision > 0) {
            lost(s, resp.compact_revision);
        } else {
            log_warning("store: etcd ended the watch: %.*s", STR_ARG(resp.cancel_reason));
            drop_watch(s);
            again(s);
        }
        return;
    }
    if (resp.created) {
        s->watch_created = true;
        s->watch_failures = 0;
        etcd_want_progress(s);
        return;
    }
    if (resp.n_events == 0) {
        /* Progress. Those that come by themselves are in order with the events in every version. */
        bool asked_for = resp.watch_id == -1;
        if (resp.header && !s->in_fragment && (!asked_for || s->trust_progress)) {
            set_watermark(s, resp.header->revision);
        }
        return;
    }
    for (size_t i = 0; i < resp.n_events; i++) {
        deliver(s, &resp.events[i]);
    }
    s->in_fragment = resp.fragment;
    if (!resp.fragment) {
        int64_t to = s->pending_watermark;
        s->pending_watermark = 0;
        set_watermark(s, to);
    }
}

static void on_end(void *arg, const struct grpc_status *st)
{
    struct etcd_store *s = arg;
    s->watch = NULL;
    if (st->code == GRPC_UNAVAILABLE && strstr(st->err.msg, "no leader")) {
        grpc_client_leave(s->grpc, "it has no leader");
    }
    if (s->watch_failures == 3) {
        log_warning("store: etcd's watch ended: %s; trying again", st->err.msg);
    }
    drop_watch(s);
    if (!s->closing) {
        again(s);
    }
}

static void watch_open(struct etcd_store *s)
{
    CLEANUP(buf_deinit) struct buf b;
    char end[ETCD_KEY_SIZE];
    struct str prefix = str_c(s->prefix);
    char with_slash[ETCD_KEY_SIZE];
    (void)snprintf(with_slash, sizeof(with_slash), "%.*s/", STR_ARG(prefix));
    /* "\0" as start and end: all keys there are. */
    struct etcd_v3_watch_create_request create = {
        .key = s->all_keys ? str_n("\0", 1) : str_c(with_slash),
        .range_end = s->all_keys ? str_n("\0", 1) : store_prefix_end(str_c(with_slash), end),
        .start_revision = s->watermark + 1,
        .progress_notify = true,
        .fragment = true,
    };
    struct etcd_v3_watch_request req = { .create_request = &create };
    buf_init(&b, 4096);
    if (!api_encode_pb(&b, &etcd_v3_watch_request_type, &req)) {
        abort();
    }
    s->watch = grpc_bidi_stream(s->grpc, etcd_v3_watch_watch_rpc.path.ptr, 0, on_message, on_end, s);
    grpc_call_wait_for_ready(s->watch);
    (void)!grpc_call_send(s->watch, buf_str(&b));
}

/* ---- the beginning ---- */

static void on_first_read(void *arg, const void *response, const struct etcd_result *result)
{
    struct etcd_store *s = arg;
    const struct etcd_v3_range_response *r = response;
    s->first_read = NULL;
    if (!r || !r->header) {
        if (s->watch_failures % 4 == 0) {
            log_warning("store: etcd (%s) does not answer: %s; trying again", grpc_client_endpoint(s->grpc),
                        result->message ? result->message : "no header");
        }
        again(s);
        return;
    }
    bool anew = s->watermark > 0;
    s->started = true;
    s->watch_failures = 0;
    LIST_FOREACH(&s->resources, struct etcd_resource, link, res) {
        if (anew && !res->closed) {
            res->base.floor = r->header->revision;
            if (res->cfg.on_lost) {
                res->cfg.on_lost(res->cfg.arg);
            }
        }
    }
    etcd_note_header(s, r->header);
    /* The watch begins behind this revision: whatever a page shows was written at or below, or comes as an event. */
    s->watermark = MAX(s->watermark, r->header->revision);
    watch_open(s);
    set_watermark(s, s->watermark);
    etcd_release_ranges(s);
    etcd_writes_go_on(s);
}

/* From 3.4.31, and from 3.5.13 on. */
static bool is_trusted(struct str version)
{
    struct str part[3] = { STR_EMPTY, STR_EMPTY, STR_EMPTY };
    uint64_t n[3] = { 0 };
    for (size_t i = 0; i < 3 && str_split(&version, '.', &part[i]); i++) {
        size_t digits = 0;
        while (digits < part[i].len && part[i].ptr[digits] >= '0' && part[i].ptr[digits] <= '9') {
            digits++;
        }
        if (!str_to_u64(str_sub(part[i], 0, digits), &n[i])) {
            return false;
        }
    }
    return n[0] > 3 || (n[0] == 3 && (n[1] > 5 || (n[1] == 5 && n[2] >= 13) || (n[1] == 4 && n[2] >= 31)));
}

static void on_version(void *arg, const void *response, const struct etcd_result *result)
{
    struct etcd_store *s = arg;
    const struct etcd_v3_status_response *r = response;
    s->version_read = NULL;
    if (!r) {
        if (s->watch_failures % 4 == 0) {
            log_warning("store: etcd (%s) does not answer: %s; trying again", grpc_client_endpoint(s->grpc), result->message);
        }
        again(s);
        return;
    }
    bool trusted = s->force_trust || is_trusted(r->version);
    if (!s->started && s->watermark == 0) {
        log_info("store: etcd %.*s at %s: %s", STR_ARG(r->version), grpc_client_endpoint(s->grpc),
                 trusted ? "watching our prefix, asking for progress" : "watching all keys, because this version's progress is not to be trusted");
    }
    s->trust_progress = trusted;
    s->all_keys = !trusted;
    if (s->started) {
        watch_open(s);
        return;
    }
    struct etcd_v3_range_request req = { .key = STR(ETCD_LOCAL_PREFIX), .keys_only = true, .limit = 1 };
    s->first_read = etcd_call(s, &etcd_v3_kv_range_rpc, &req, true, 0, on_first_read, s);
}

static void watch_again(void *arg)
{
    struct etcd_store *s = arg;
    struct etcd_v3_status_request req = { 0 };
    if (s->watch || s->first_read || s->version_read || s->closing) {
        return;
    }
    s->version_read = etcd_call(s, &etcd_v3_maintenance_status_rpc, &req, true, 3000, on_version, s);
}

void etcd_watch_start(struct etcd_store *s)
{
    list_init(&s->waits);
    loop_timer_init(&s->watch_again, s->loop, watch_again, s);
    loop_timer_init(&s->progress, s->loop, on_progress_timer, s);
    loop_timer_init(&s->wait_timer, s->loop, on_wait_timer, s);
    watch_again(s);
}

void etcd_watch_stop(struct etcd_store *s)
{
    loop_timer_stop(&s->watch_again);
    loop_timer_stop(&s->progress);
    loop_timer_stop(&s->wait_timer);
    etcd_call_cancel(s->first_read);
    etcd_call_cancel(s->version_read);
    s->first_read = s->version_read = NULL;
    drop_watch(s);
    while (!list_empty(&s->waits)) {
        struct etcd_wait *w = LIST_ENTRY(list_pop_front(&s->waits), struct etcd_wait, link);
        list_init(&w->link);
        w->done(w->arg, false);
    }
}
