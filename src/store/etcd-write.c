/*
 * Writes. Of one key at most one of ours is under way, so the first caller wins, and nobody of us loses against himself.
 *
 *   a place is free -> (lease) -> Txn: compare mod_revision, put or delete; else get the key
 *     succeeded   wait for its own event, then STORE_OK
 *     not         wait until the winner's event has been delivered, then STORE_E_CONFLICT with what is there
 *     no answer   and a read shows that there has been an election since: the proposal may have gone down with the old leader; as lost
 *     lost        ask for the newest revision, wait for it on the watch. A write of unique bytes whose event came was made.
 *                 A compared one of a key that exists is safe to send again: it can be made once only. All others:
 *                 STORE_E_UNKNOWN, never success.
 */
#include <assert.h>

#include "base/log.h"
#include "store/etcd-private.h"

struct etcd_write {
    struct list link;   /* all */
    struct list queued; /* waits for a place */
    struct etcd_write *next_same; /* of the same key, behind this one */
    struct etcd_store *s;
    struct etcd_resource *r;
    char *key;
    size_t key_len;
    struct str value;   /* absent: delete */
    int64_t expect;
    uint32_t ttl_s;
    bool unique, doubtful; /* doubtful: an attempt's answer was lost */
    struct object *object;
    int64_t seen_revision; /* of the event that had our bytes; 0: none came */
    store_done_fn *done;
    void *arg;

    struct etcd_lease_waiter lease_waiter;
    int64_t lease;
    struct etcd_call *call;
    struct etcd_wait wait;
    uint64_t until_ms, begun_ms;
    uint64_t term;      /* the newest that was known when the transaction was sent */
    bool asks;          /* 'call' is the question after a lost answer */
    bool other_leader;  /* elected after that */
    enum store_status status;
    int64_t revision;
    char *current;
    size_t current_len;
    bool has_current;
    char bytes[];
};

static void run(struct etcd_write *w);
static void fill(struct etcd_store *s);

static struct str key_of(const struct etcd_write *w)
{
    return str_n(w->key, w->key_len);
}

/* Takes the write out, lets the next one of its key begin, and answers. */
static void answer(struct etcd_write *w)
{
    struct etcd_store *s = w->s;
    struct store_result res = {
        .status = w->status, .revision = w->revision,
        .value = w->has_current ? str_n(w->current, w->current_len) : STR_NULL,
    };
    if (w->object && w->status == STORE_OK && object_revision(w->object) == 0) {
        object_set_revision(w->object, w->revision); /* its event is late or came with other bytes */
    }
    list_remove(&w->link);
    s->n_writes--;
    s->n_running--;
    if (w->next_same) {
        (void)map_put(&s->by_key, key_of(w), w->next_same);
        list_push_back(&s->queued, &w->next_same->queued);
    } else {
        (void)map_remove(&s->by_key, key_of(w));
    }
    s->stats.conflicts += w->status == STORE_E_CONFLICT;
    s->stats.failed_writes += w->status != STORE_OK && w->status != STORE_E_CONFLICT;
    if (w->done) {
        w->done(w->arg, &res);
    }
    object_unref(w->object);
    etcd_resource_unref(w->r);
    free(w->current);
    free(w);
    if (!s->closing) {
        fill(s);
    }
}

static void fail(struct etcd_write *w, enum store_status status)
{
    w->status = status;
    w->revision = 0;
    answer(w);
}

static void on_event_seen(void *arg, bool reached UNUSED)
{
    struct etcd_write *w = arg;
    answer(w);
}

/* Answers once everything up to 'revision' has been delivered, or after a while without. */
static void answer_at(struct etcd_write *w, int64_t revision)
{
    etcd_wait(w->s, &w->wait, revision, STORE_ETCD_EVENT_WAIT_MS, on_event_seen, w);
}

/* ---- after a lost answer ---- */

static void on_caught_up(void *arg, bool reached)
{
    struct etcd_write *w = arg;
    if (w->seen_revision && w->unique) {
        w->status = STORE_OK;
        w->revision = w->seen_revision;
        answer(w);
    } else if (reached && (w->expect > 0 || (w->unique && w->other_leader)) && loop_now_ms(w->s->loop) < w->until_ms) {
        run(w);
    } else {
        fail(w, STORE_E_UNKNOWN);
    }
}

static void on_newest(void *arg, const void *response, const struct etcd_result *result UNUSED)
{
    struct etcd_write *w = arg;
    const struct etcd_v3_range_response *r = response;
    w->call = NULL;
    if (!r || !r->header) {
        fail(w, STORE_E_UNKNOWN);
        return;
    }
    etcd_note_header(w->s, r->header);
    etcd_wait(w->s, &w->wait, r->header->revision, STORE_ETCD_EVENT_WAIT_MS, on_caught_up, w);
}

static void doubt(struct etcd_write *w)
{
    struct etcd_v3_range_request req = { .key = key_of(w), .keys_only = true, .limit = 1 };
    w->doubtful = true;
    w->asks = true;
    w->call = etcd_call(w->s, &etcd_v3_kv_range_rpc, &req, true, 0, on_newest, w);
}

/* ---- the transaction ---- */

static void refused(struct etcd_write *w, const struct etcd_v3_txn_response *t)
{
    const struct etcd_v3_range_response *there = t->n_responses ? t->responses[0].response_range : NULL;
    const struct etcd_v3_key_value *kv = there && there->n_kvs ? &there->kvs[0] : NULL;
    if (w->doubtful) {
        /* Who won: an earlier attempt of this very write, or somebody else? */
        if (w->unique && w->seen_revision) {
            w->status = STORE_OK;
            w->revision = w->seen_revision;
            answer(w);
        } else {
            fail(w, STORE_E_UNKNOWN);
        }
        return;
    }
    w->status = STORE_E_CONFLICT;
    w->revision = kv ? kv->mod_revision : 0;
    if (kv) {
        w->has_current = true;
        w->current_len = kv->value.len;
        w->current = malloc(kv->value.len + 1);
        if (!w->current) {
            abort();
        }
        memcpy(w->current, kv->value.len ? kv->value.ptr : "", kv->value.len);
    }
    answer_at(w, kv ? kv->mod_revision : t->header->revision);
}

static void on_txn(void *arg, const void *response, const struct etcd_result *result)
{
    struct etcd_write *w = arg;
    const struct etcd_v3_txn_response *t = response;
    w->call = NULL;
    if (t && t->header) {
        etcd_note_header(w->s, t->header);
        if (!t->succeeded) {
            refused(w, t);
            return;
        }
        const struct etcd_v3_response_op *op = t->n_responses ? &t->responses[0] : NULL;
        if (!w->value.ptr && (!op || !op->response_delete_range || op->response_delete_range->deleted == 0)) {
            w->status = STORE_E_CONFLICT; /* a delete that did not compare found nothing */
            w->revision = 0;
            answer_at(w, t->header->revision);
            return;
        }
        w->status = STORE_OK;
        w->revision = t->header->revision;
        answer_at(w, w->revision);
        return;
    }
    if (result->ambiguous || t) {
        doubt(w);
    } else {
        if (result->status == STORE_E_IO) {
            log_error("store: etcd refuses a write of %.*s: %s", STR_ARG(key_of(w)), result->message ? result->message : "");
        }
        fail(w, w->doubtful ? STORE_E_UNKNOWN : result->status);
    }
}

static void on_stall_read(void *arg, const void *response, const struct etcd_result *result UNUSED)
{
    struct etcd_store *s = arg;
    const struct etcd_v3_range_response *r = response;
    s->stall_read = NULL;
    if (!r || !r->header) {
        return;
    }
    etcd_note_header(s, r->header);
    uint64_t now = loop_now_ms(s->loop);
    LIST_FOREACH(&s->writes, struct etcd_write, link, w) {
        if (w->call && !w->asks && w->term && w->term < r->header->raft_term && now - w->begun_ms >= STORE_ETCD_STALL_MS) {
            etcd_call_cancel(w->call);
            w->call = NULL;
            w->other_leader = true;
            doubt(w);
        }
    }
}

/* While transactions are under way: has one waited for long? */
void etcd_writes_stalled(void *arg)
{
    struct etcd_store *s = arg;
    uint64_t now = loop_now_ms(s->loop);
    bool stalled = false;
    LIST_FOREACH(&s->writes, struct etcd_write, link, w) {
        stalled = stalled || (w->call && now - w->begun_ms >= STORE_ETCD_STALL_MS);
    }
    if (stalled && !s->stall_read) {
        struct etcd_v3_range_request req = { .key = STR(ETCD_LOCAL_PREFIX), .keys_only = true, .limit = 1 };
        s->stall_read = etcd_call(s, &etcd_v3_kv_range_rpc, &req, true, STORE_ETCD_ATTEMPT_MS, on_stall_read, s);
    }
    if (s->n_running) {
        loop_timer_start(&s->stall, STORE_ETCD_STALL_MS / 2);
    }
}

static void transact(struct etcd_write *w)
{
    w->begun_ms = loop_now_ms(w->s->loop);
    w->term = w->s->term;
    w->asks = false;
    if (!loop_timer_runs(&w->s->stall)) {
        loop_timer_start(&w->s->stall, STORE_ETCD_STALL_MS);
    }
    struct str key = key_of(w);
    struct etcd_v3_compare compare = { .result = 0 /* EQUAL */, .target = 2 /* MOD */, .key = key, .mod_revision = w->expect,
                                       .has_mod_revision = true };
    struct etcd_v3_put_request put = { .key = key, .value = w->value, .lease = w->lease };
    struct etcd_v3_delete_range_request del = { .key = key };
    struct etcd_v3_range_request get = { .key = key };
    struct etcd_v3_request_op then = { 0 }, otherwise = { .request_range = &get };
    if (w->value.ptr) {
        then.request_put = &put;
    } else {
        then.request_delete_range = &del;
    }
    struct etcd_v3_txn_request txn = { .compare = &compare, .n_compare = w->expect == STORE_ANY ? 0 : 1, .success = &then, .n_success = 1,
                                       .failure = &otherwise, .n_failure = 1 };
    w->call = etcd_call(w->s, &etcd_v3_kv_txn_rpc, &txn, false, 0, on_txn, w);
}

static void on_lease(void *arg, int64_t lease, const struct etcd_result *result)
{
    struct etcd_write *w = arg;
    if (lease == 0) {
        fail(w, w->doubtful ? STORE_E_UNKNOWN : result->status);
        return;
    }
    w->lease = lease;
    transact(w);
}

static void run(struct etcd_write *w)
{
    if (w->ttl_s && w->value.ptr) {
        w->lease_waiter.ttl_s = w->ttl_s;
        w->lease_waiter.done = on_lease;
        w->lease_waiter.arg = w;
        etcd_lease_get(w->s, &w->lease_waiter);
    } else {
        transact(w);
    }
}

/* Starts writes while there are places. */
static void fill(struct etcd_store *s)
{
    /* A write made before the watch has begun would have no event. */
    if (!s->started) {
        if (!loop_timer_runs(&s->queue_timer)) {
            loop_timer_start(&s->queue_timer, STORE_ETCD_CALL_MS);
        }
        return;
    }
    while (!list_empty(&s->queued) && s->n_running < STORE_ETCD_MAX_TXNS) {
        struct etcd_write *w = LIST_ENTRY(list_pop_front(&s->queued), struct etcd_write, queued);
        list_init(&w->queued);
        s->n_running++;
        run(w);
    }
}

void etcd_writes_go_on(struct etcd_store *s)
{
    loop_timer_stop(&s->queue_timer);
    fill(s);
}

void etcd_writes_late(void *arg)
{
    struct etcd_store *s = arg;
    uint64_t now = loop_now_ms(s->loop);
    struct list late;
    list_init(&late);
    LIST_FOREACH(&s->queued, struct etcd_write, queued, w) {
        if (w->until_ms <= now + STORE_ETCD_CALL_MS / 2) {
            list_remove(&w->queued);
            list_push_back(&late, &w->queued);
        }
    }
    while (!list_empty(&late)) {
        struct etcd_write *w = LIST_ENTRY(list_pop_front(&late), struct etcd_write, queued);
        s->n_running++; /* answer() takes it back */
        fail(w, STORE_E_UNAVAILABLE);
    }
    if (!s->started && !list_empty(&s->queued)) {
        loop_timer_start(&s->queue_timer, STORE_ETCD_CALL_MS / 2);
    }
}

/* ---- calls ---- */

struct refusal {
    struct loop_post post;
    store_done_fn *done;
    void *arg;
    enum store_status status;
};

static void on_refusal(void *arg)
{
    struct refusal *r = arg;
    struct store_result res = { .status = r->status };
    if (r->done) {
        r->done(r->arg, &res);
    }
    free(r);
}

static void refuse(struct etcd_store *s, const struct store_write *w, enum store_status status)
{
    struct refusal *r = malloc(sizeof(*r));
    if (!r) {
        abort();
    }
    *r = (struct refusal){ .done = w->done, .arg = w->arg, .status = status };
    loop_call(s->loop, on_refusal, r);
}

void etcd_write(struct store *base, const struct store_write *in)
{
    struct etcd_store *s = etcd_of(base);
    struct etcd_resource *r = CONTAINER_OF(in->resource, struct etcd_resource, base);
    char remote[ETCD_KEY_SIZE];
    assert(str_starts(in->key, r->cfg.prefix));
    if (in->value.len > STORE_MAX_VALUE || in->key.len > STORE_MAX_KEY) {
        refuse(s, in, STORE_E_TOO_LARGE);
        return;
    }
    if (s->closing || s->n_writes >= STORE_MAX_PENDING) {
        refuse(s, in, s->closing ? STORE_E_CLOSED : STORE_E_UNAVAILABLE);
        return;
    }
    struct str key = etcd_key_out(s, in->key, remote);
    struct etcd_write *w = calloc(1, sizeof(*w) + key.len + in->value.len + 1);
    if (!w) {
        abort();
    }
    w->s = s;
    w->r = r;
    r->refs++;
    w->key = w->bytes;
    w->key_len = key.len;
    memcpy(w->bytes, key.ptr, key.len);
    if (in->value.ptr) {
        memcpy(w->bytes + key.len, in->value.ptr, in->value.len);
        w->value = str_n(w->bytes + key.len, in->value.len);
    }
    w->expect = in->expect;
    w->ttl_s = in->ttl_s;
    w->unique = (in->flags & STORE_UNIQUE) != 0;
    w->object = in->object ? object_ref(in->object) : NULL;
    w->done = in->done;
    w->arg = in->arg;
    w->until_ms = loop_now_ms(s->loop) + STORE_ETCD_CALL_MS;
    list_init(&w->queued);
    list_init(&w->lease_waiter.link);
    list_push_back(&s->writes, &w->link);
    s->n_writes++;
    s->stats.writes++;
    struct etcd_write *before = map_get(&s->by_key, key);
    if (before) {
        while (before->next_same) {
            before = before->next_same;
        }
        before->next_same = w;
        return;
    }
    (void)map_put(&s->by_key, key, w);
    list_push_back(&s->queued, &w->queued);
    fill(s);
}

/* Equal bytes make equal objects, whoever wrote them. */
struct object *etcd_write_match(struct etcd_store *s, struct str key, bool is_delete, struct str value, int64_t revision)
{
    struct etcd_write *w = map_get(&s->by_key, key);
    if (!w || w->seen_revision || is_delete == (w->value.ptr != NULL) || (!is_delete && !str_eq(w->value, value))) {
        return NULL;
    }
    if (w->status == STORE_OK && w->revision && w->revision != revision) {
        return NULL;
    }
    w->seen_revision = revision;
    if (!w->object || object_revision(w->object) != 0) {
        return NULL;
    }
    return object_ref(w->object);
}

void etcd_writes_end(struct etcd_store *s)
{
    loop_timer_stop(&s->queue_timer);
    loop_timer_stop(&s->stall);
    etcd_call_cancel(s->stall_read);
    s->stall_read = NULL;
    LIST_FOREACH(&s->writes, struct etcd_write, link, w) {
        /* What was sent may be there. */
        bool sent = w->call != NULL || w->doubtful;
        list_remove(&w->queued);
        list_init(&w->queued);
        list_remove(&w->lease_waiter.link);
        etcd_call_cancel(w->call);
        w->call = NULL;
        w->next_same = NULL;
        s->n_running++; /* answer() takes one back */
        if (w->status != STORE_OK || w->revision == 0) {
            w->status = sent ? STORE_E_UNKNOWN : STORE_E_CLOSED;
            w->revision = 0;
        }
        answer(w);
    }
}
