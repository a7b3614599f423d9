/*
 * Leases: a key with a time to live is put under a lease of etcd, which deletes it. Leases are shared by keys that end at about the
 * same time, as upstream does: the lease lives 5 % longer than the key asked for (a minute at most), and is given to keys
 * that come within that time.
 *
 * Compaction: all API servers of a cluster, upstream's too, agree by one key, "compact_rev_key". Each remembers the key's version
 * and the newest revision of an interval ago; whoever finds the version unchanged raises it and compacts to that revision.
 */
#include "base/clock.h"
#include "base/log.h"
#include "store/etcd-private.h"

#define COMPACT_KEY "compact_rev_key"

/* ---- leases ---- */

static int64_t spare(int64_t ttl_s)
{
    return MIN(ttl_s / 20, (int64_t)STORE_ETCD_LEASE_REUSE_S);
}

static bool fits(const struct etcd_store *s, int64_t ttl_s)
{
    uint64_t need = clock_mono_ms() + (uint64_t)ttl_s * 1000;
    return s->lease.id && s->lease.n_keys < STORE_ETCD_LEASE_KEYS && s->lease.ends_ms >= need &&
           s->lease.ends_ms <= need + (uint64_t)spare(ttl_s) * 1000;
}

static void grant(struct etcd_store *s);

static void on_granted(void *arg, const void *response, const struct etcd_result *result)
{
    struct etcd_store *s = arg;
    const struct etcd_v3_lease_grant_response *r = response;
    s->granting = NULL;
    if (r && r->id && str_empty(r->error)) {
        s->lease = (struct etcd_lease){ .id = r->id, .ttl_s = s->granting_ttl_s,
                                        .ends_ms = clock_mono_ms() + (uint64_t)s->granting_ttl_s * 1000 };
    }
    bool ok = r && r->id && str_empty(r->error);
    struct list due;
    list_init(&due);
    LIST_FOREACH(&s->lease_waiters, struct etcd_lease_waiter, link, w) {
        if (w->ttl_s + spare(w->ttl_s) == s->granting_ttl_s) {
            list_remove(&w->link);
            list_push_back(&due, &w->link);
        }
    }
    /* A lease is no write of its own: whatever became of it, the key was not written. */
    struct etcd_result failed = { .status = result->status == STORE_OK ? STORE_E_UNAVAILABLE
                                          : result->status == STORE_E_UNKNOWN ? STORE_E_UNAVAILABLE : result->status,
                                  .message = result->message };
    while (!list_empty(&due)) {
        struct etcd_lease_waiter *w = LIST_ENTRY(list_pop_front(&due), struct etcd_lease_waiter, link);
        list_init(&w->link);
        s->lease.n_keys++;
        w->done(w->arg, ok ? s->lease.id : 0, ok ? result : &failed);
    }
    grant(s);
}

static void grant(struct etcd_store *s)
{
    if (s->granting || list_empty(&s->lease_waiters) || s->closing) {
        return;
    }
    struct etcd_lease_waiter *w = LIST_ENTRY(s->lease_waiters.next, struct etcd_lease_waiter, link);
    s->granting_ttl_s = w->ttl_s + spare(w->ttl_s);
    struct etcd_v3_lease_grant_request req = { .ttl = s->granting_ttl_s };
    /* To grant one too many does no harm: it ends by itself. */
    s->granting = etcd_call(s, &etcd_v3_lease_lease_grant_rpc, &req, true, 0, on_granted, s);
}

void etcd_lease_get(struct etcd_store *s, struct etcd_lease_waiter *w)
{
    list_init(&w->link);
    if (fits(s, w->ttl_s)) {
        struct etcd_result ok = { .status = STORE_OK };
        s->lease.n_keys++;
        w->done(w->arg, s->lease.id, &ok);
        return;
    }
    list_push_back(&s->lease_waiters, &w->link);
    grant(s);
}

/* ---- compaction ---- */

static void compact_later(struct etcd_store *s)
{
    loop_timer_start(&s->compact, s->compaction_interval_ms);
}

static void on_compacted(void *arg, const void *response, const struct etcd_result *result)
{
    struct etcd_store *s = arg;
    if (response) {
        log_debug("store: etcd's history is compacted up to revision %lld", (long long)s->compact_revision);
    } else if (result->status != STORE_E_COMPACTED) {
        log_warning("store: etcd cannot be compacted: %s", result->message ? result->message : "");
    }
}

static void on_compact_key(void *arg, const void *response, const struct etcd_result *result)
{
    struct etcd_store *s = arg;
    const struct etcd_v3_txn_response *t = response;
    if (!t || !t->header) {
        if (result->status != STORE_E_CLOSED) {
            log_warning("store: compaction: %s", result->message ? result->message : "etcd does not answer");
        }
        return;
    }
    int64_t to = s->compact_revision;
    s->compact_revision = t->header->revision;
    if (!t->succeeded) {
        /* Another server compacted, or this is our first look. */
        const struct etcd_v3_range_response *r = t->n_responses ? t->responses[0].response_range : NULL;
        s->compact_version = r && r->n_kvs ? r->kvs[0].version : 0;
        return;
    }
    s->compact_version++;
    if (to > 0) {
        struct etcd_v3_compaction_request req = { .revision = to };
        (void)etcd_call(s, &etcd_v3_kv_compact_rpc, &req, true, 0, on_compacted, s);
    }
}

static void on_compact_time(void *arg)
{
    struct etcd_store *s = arg;
    char text[24];
    compact_later(s);
    (void)snprintf(text, sizeof(text), "%lld", (long long)s->compact_revision);
    struct str key = STR(COMPACT_KEY);
    struct etcd_v3_compare compare = { .target = 0 /* VERSION */, .key = key, .version = s->compact_version, .has_version = true };
    struct etcd_v3_put_request put = { .key = key, .value = str_c(text) };
    struct etcd_v3_range_request get = { .key = key };
    struct etcd_v3_request_op then = { .request_put = &put }, otherwise = { .request_range = &get };
    struct etcd_v3_txn_request txn = { .compare = &compare, .n_compare = 1, .success = &then, .n_success = 1, .failure = &otherwise,
                                       .n_failure = 1 };
    (void)etcd_call(s, &etcd_v3_kv_txn_rpc, &txn, false, 0, on_compact_key, s);
}

void etcd_upkeep_start(struct etcd_store *s)
{
    loop_timer_init(&s->compact, s->loop, on_compact_time, s);
    if (s->compaction_interval_ms) {
        compact_later(s);
    }
}

void etcd_upkeep_stop(struct etcd_store *s)
{
    loop_timer_stop(&s->compact);
    etcd_call_cancel(s->granting);
    s->granting = NULL;
}
