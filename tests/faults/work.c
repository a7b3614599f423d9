#include "work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api/val.h"
#include "base/arena.h"
#include "base/clock.h"

#define MAPS "/api/v1/namespaces/default/configmaps"
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/default/leases"
enum { DEPTH = 16, PAD_MAX = 3000 };
/* A Lease's value is its time of renewal: so many microseconds after this second. */
#define EPOCH_S INT64_C(1790000000)

uint64_t now_ns(void)
{
    return clock_mono_ns();
}

uint32_t pick(uint32_t below)
{
    static _Thread_local uint64_t state;
    if (!state) {
        static atomic_uint_fast64_t seeds;
        state = (now_ns() ^ (atomic_fetch_add(&seeds, 1) + 1) * UINT64_C(0x9e3779b97f4a7c15)) | 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

/* ---- objects ---- */

static bool is_lease(const struct work *w, uint32_t key)
{
    return key >= w->n_maps;
}

static bool key_of(const struct work *w, bool lease, struct str name, uint32_t *ret)
{
    uint64_t n;
    if (name.len < 2 || name.ptr[0] != 'k' || !str_to_u64(str_sub(name, 1, name.len - 1), &n)) {
        return false; /* somebody else's */
    }
    *ret = (uint32_t)n;
    return n < w->n_keys && is_lease(w, (uint32_t)n) == lease;
}

struct thing {
    uint32_t key;
    uint64_t value, holder;
    int64_t revision;
};

/* False: not one of ours. */
static bool read_thing(const struct work *w, bool lease, const struct val *v, struct thing *ret)
{
    uint64_t revision;
    int64_t sec;
    uint32_t nsec;
    *ret = (struct thing){ 0 };
    if (!key_of(w, lease, VAL_STR_AT(v, "metadata", "name"), &ret->key) ||
        !str_to_u64(VAL_STR_AT(v, "metadata", "resourceVersion"), &revision)) {
        return false;
    }
    ret->revision = (int64_t)revision;
    if (!lease) {
        return str_to_u64(VAL_STR_AT(v, "data", "v"), &ret->value);
    }
    struct str holder = VAL_STR_AT(v, "spec", "holderIdentity");
    if (holder.len < 2 || !str_to_u64(str_sub(holder, 1, holder.len - 1), &ret->holder) ||
        !clock_parse_rfc3339(VAL_STR_AT(v, "spec", "renewTime"), &sec, &nsec)) {
        return false;
    }
    ret->value = (uint64_t)(sec - EPOCH_S) * 1000000 + nsec / 1000;
    return true;
}

static void write_thing(const struct work *w, const struct thing *t, struct buf *b)
{
    char text[256], when[CLOCK_RFC3339_SIZE];
    int n = snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"k%u\"", t->key);
    buf_append(b, str_n(text, (size_t)n));
    if (t->revision) {
        n = snprintf(text, sizeof(text), ",\"resourceVersion\":\"%" PRId64 "\"", t->revision);
        buf_append(b, str_n(text, (size_t)n));
    }
    if (is_lease(w, t->key)) {
        clock_format_rfc3339(EPOCH_S + (int64_t)(t->value / 1000000), (uint32_t)(t->value % 1000000) * 1000, 6, when);
        n = snprintf(text, sizeof(text), "},\"spec\":{\"holderIdentity\":\"h%" PRIu64 "\",\"renewTime\":\"%s\"}}", t->holder, when);
        buf_append(b, str_n(text, (size_t)n));
        return;
    }
    n = snprintf(text, sizeof(text), "},\"data\":{\"v\":\"%" PRIu64 "\",\"pad\":\"", t->value);
    buf_append(b, str_n(text, (size_t)n));
    for (uint32_t i = pick(4) ? pick(200) : pick(PAD_MAX); i > 0; i--) {
        buf_append_char(b, (char)('a' + pick(26)));
    }
    buf_append_c(b, "\"}}");
}

/* ---- clients ---- */

struct view { /* what a client believes of a key */
    int64_t revision;  /* 0: absent, or not known */
    int64_t earlier;   /* one that was there before */
    uint64_t holder;
};

static enum outcome outcome_of(int status)
{
    switch (status) {
    case 200:
    case 201:
        return OUTCOME_OK;
    case 409:
        return OUTCOME_CONFLICT;
    case 404:
        return OUTCOME_ABSENT;
    default:
        return status >= 400 && status < 500 && status != 429 ? OUTCOME_REFUSED : OUTCOME_UNKNOWN;
    }
}

static bool answer_thing(const struct work *w, uint32_t key, struct str text, struct thing *ret)
{
    struct arena a;
    struct val v;
    struct err err;
    arena_init(&a, 16u << 20);
    bool ok = val_parse_json(&a, text, DEPTH, NULL, &v, &err) && read_thing(w, is_lease(w, key), &v, ret) && ret->key == key;
    arena_deinit(&a);
    return ok;
}

/* One request, noted. */
static enum outcome do_deed(struct work *w, struct http *c, struct history *h, unsigned life, enum deed_kind kind, struct thing *t,
                            int64_t expect, bool is_volatile, struct thing *ret)
{
    CLEANUP(buf_deinit) struct buf body, answer;
    char path[256];
    buf_init(&body, 1u << 20);
    buf_init(&answer, 16u << 20);
    static const char *const methods[] = { "POST", "PUT", "DELETE", "GET" };
    int n = snprintf(path, sizeof(path), "%s", is_lease(w, t->key) ? LEASES : MAPS);
    if (kind != DEED_CREATE) {
        snprintf(path + n, sizeof(path) - (size_t)n, "/k%u", t->key);
    }
    if (kind == DEED_CREATE || kind == DEED_UPDATE) {
        t->revision = expect;
        write_thing(w, t, &body);
    } else if (kind == DEED_DELETE) {
        char text[128];
        snprintf(text, sizeof(text), "{\"preconditions\":{\"resourceVersion\":\"%" PRId64 "\"}}", expect);
        buf_append_c(&body, text);
    }
    struct deed d = { .kind = kind, .key = t->key, .life = life, .is_volatile = is_volatile, .value = t->value, .expect = expect };
    d.begin = now_ns();
    int status = http_do(c, methods[kind], path, buf_str(&body), &answer);
    d.end = now_ns();
    d.outcome = outcome_of(status);
    if (d.outcome == OUTCOME_OK && kind != DEED_DELETE) {
        if (!answer_thing(w, t->key, buf_str(&answer), ret)) {
            fprintf(stderr, "store-checker: an answer that cannot be read: %.*s\n", (int)MIN(answer.len, (size_t)300), answer.ptr);
            abort();
        }
        d.revision = ret->revision;
        if (kind == DEED_GET) {
            d.value = ret->value;
        }
    }
    if (d.outcome == OUTCOME_REFUSED) {
        static atomic_uint said;
        if (atomic_fetch_add(&said, 1) < 3) {
            fprintf(stderr, "store-checker: %d: %.*s\n", status, (int)MIN(answer.len, (size_t)300), answer.ptr);
        }
    }
    atomic_fetch_add(d.outcome == OUTCOME_UNKNOWN ? &w->unanswered : d.outcome == OUTCOME_REFUSED ? &w->refused : &w->answered, 1);
    *history_deed(h) = d;
    return d.outcome;
}

static void one_deed(struct work *w, struct http *c, struct history *h, unsigned life, struct view *views)
{
    uint32_t key = pick(w->n_keys), dice = pick(100);
    if (key == w->n_maps - 1 || key == w->n_keys - 1) {
        return; /* the ends */
    }
    struct view *v = &views[key];
    struct thing t = { .key = key }, got = { 0 };
    enum deed_kind kind;
    int64_t expect = v->revision;
    bool is_volatile = false;
    if (dice < 22) {
        kind = DEED_GET;
        expect = 0;
    } else if (!v->revision) {
        kind = DEED_CREATE;
    } else if (dice < 32 && !is_lease(w, key)) {
        kind = DEED_DELETE;
    } else {
        kind = DEED_UPDATE;
        if (dice < 38 && v->earlier) {
            expect = v->earlier; /* must be refused */
        }
    }
    if (kind == DEED_CREATE || kind == DEED_UPDATE) {
        t.value = atomic_fetch_add(&w->next_value, 1);
        t.holder = v->holder;
        if (kind == DEED_CREATE || dice > 88) {
            t.holder = t.value;
        }
        is_volatile = is_lease(w, key) && kind == DEED_UPDATE && t.holder == v->holder;
    }
    switch (do_deed(w, c, h, life, kind, &t, expect, is_volatile, &got)) {
    case OUTCOME_OK:
        v->earlier = v->revision ? v->revision : v->earlier;
        v->revision = kind == DEED_DELETE ? 0 : got.revision;
        v->holder = got.holder;
        break;
    case OUTCOME_CONFLICT:
    case OUTCOME_ABSENT:
        if (expect == v->revision) {
            v->revision = 0;
            t.value = 0;
            /* Look what is there. */
            if (kind != DEED_GET && do_deed(w, c, h, life, DEED_GET, &t, 0, false, &got) == OUTCOME_OK) {
                v->revision = got.revision;
                v->holder = got.holder;
            }
        }
        break;
    case OUTCOME_UNKNOWN:
    case OUTCOME_REFUSED:
        v->revision = 0;
        break;
    }
}

void *client_main(void *worker)
{
    struct worker *me = worker;
    struct work *w = me->work;
    struct http c;
    unsigned life = 0;
    struct view *views = calloc(w->n_keys, sizeof(*views));
    http_init(&c, w->ports[me->number % w->n_ports]);
    while (!atomic_load(&w->stop_clients)) {
        if (atomic_load(&w->hold)) {
            usleep(1000);
            continue;
        }
        if (c.fd < 0 || life != atomic_load(&w->life)) {
            /* A connection belongs to one life: what is sent on it never reaches the next one. */
            life = atomic_load(&w->life);
            if (!http_connect(&c, w->patience_ms) || life != atomic_load(&w->life)) {
                http_close(&c);
                usleep(2000);
                continue;
            }
        }
        one_deed(w, &c, &me->history, life, views);
        if (w->pause_us) {
            usleep(pick(2 * w->pause_us));
        }
    }
    http_close(&c);
    free(views);
    return NULL;
}

/* ---- lists and watches ---- */

static void note_items(struct work *w, struct session *s, const struct val *items)
{
    for (uint32_t i = 0; val_is(items, VAL_ARRAY) && i < items->n; i++) {
        struct thing t;
        if (read_thing(w, s->leases, &items->items[i], &t)) {
            *session_sight(s) = (struct sight){ .kind = SIGHT_ITEM, .key = t.key, .value = t.value, .revision = t.revision, .at = s->end };
        }
    }
    s->n_items = s->n;
}

bool work_list(struct work *w, struct http *c, struct history *h, bool leases, unsigned life)
{
    CLEANUP(buf_deinit) struct buf b;
    struct arena a;
    struct val v;
    struct err err;
    uint64_t revision = 0, begin = now_ns();
    buf_init(&b, 64u << 20);
    if (http_do(c, "GET", leases ? LEASES : MAPS, STR_NULL, &b) != 200) {
        return false;
    }
    arena_init(&a, 256u << 20);
    bool ok = val_parse_json(&a, buf_str(&b), DEPTH, NULL, &v, &err) &&
              str_to_u64(VAL_STR_AT(&v, "metadata", "resourceVersion"), &revision);
    if (ok) {
        struct session *s = history_session(h);
        *s = (struct session){ .leases = leases, .life = life, .revision = (int64_t)revision, .begin = begin, .end = now_ns() };
        note_items(w, s, val_get(&v, STR("items")));
    }
    arena_deinit(&a);
    return ok;
}

/* False: the session is over (410, or something that is no event). */
static bool note_event(struct worker *me, struct session *s, struct str line, int64_t *last)
{
    struct arena a;
    struct val v;
    struct err err;
    struct thing t;
    uint64_t revision;
    bool ok = false;
    arena_init(&a, 16u << 20);
    if (val_parse_json(&a, line, DEPTH, NULL, &v, &err)) {
        struct str type = val_get_str(&v, STR("type"));
        const struct val *o = val_get(&v, STR("object"));
        enum sight_kind kind = str_eq_c(type, "ADDED") ? SIGHT_ADDED : str_eq_c(type, "MODIFIED") ? SIGHT_MODIFIED
                             : str_eq_c(type, "DELETED") ? SIGHT_DELETED : SIGHT_BOOKMARK;
        if (kind != SIGHT_BOOKMARK || str_eq_c(type, "BOOKMARK")) {
            ok = str_to_u64(VAL_STR_AT(o, "metadata", "resourceVersion"), &revision);
            if (ok && kind == SIGHT_BOOKMARK) {
                *session_sight(s) = (struct sight){ .kind = kind, .key = s->leases ? me->work->n_maps : 0, .revision = (int64_t)revision, .at = now_ns() };
            } else if (ok && read_thing(me->work, s->leases, o, &t)) {
                *session_sight(s) = (struct sight){ .kind = kind, .key = t.key, .value = t.value, .revision = t.revision, .at = now_ns() };
                if (t.key == (s->leases ? me->work->n_keys : me->work->n_maps) - 1) {
                    s->to_the_end = true;
                    atomic_store(&me->saw_the_end, true);
                }
            }
            *last = ok ? (int64_t)revision : *last;
        }
    }
    arena_deinit(&a);
    return ok;
}

/* Watches from '*last' on. False: a new list is needed. */
static bool watch(struct worker *me, struct http *c, struct session *s, int64_t *last)
{
    struct work *w = me->work;
    CLEANUP(buf_deinit) struct buf line;
    char path[256];
    int r = 0;
    snprintf(path, sizeof(path), "%s?watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=%" PRId64, s->leases ? LEASES : MAPS,
             2 + pick(20), *last);
    int status = http_begin(c, "GET", path, STR_NULL);
    me->last_status = status;
    me->watches++;
    if (status == 410) {
        return false;
    }
    buf_init(&line, 16u << 20);
    while (status == 200 && !atomic_load(&w->stop_watchers) && !atomic_load(&me->saw_the_end) && (r = http_line(c, &line)) >= 0) {
        if (r == 0) {
            continue;
        }
        if (!note_event(me, s, buf_str(&line), last)) {
            return false;
        }
        buf_clear(&line);
    }
    if (status != 200) {
        usleep(20000);
    }
    return true;
}

void *watcher_main(void *worker)
{
    struct worker *me = worker;
    struct work *w = me->work;
    struct http c;
    unsigned life = 0;
    int64_t last = 0;
    bool need_list = true;
    http_init(&c, w->ports[me->number % w->n_ports]);
    while (!atomic_load(&w->stop_watchers) && !atomic_load(&me->saw_the_end)) {
        life = atomic_load(&w->life);
        http_close(&c);
        if (atomic_load(&w->hold) || !http_connect(&c, 200)) {
            usleep(2000);
            continue;
        }
        if (need_list) {
            http_connect(&c, w->patience_ms);
            need_list = c.fd < 0 || !work_list(w, &c, &me->history, me->leases, life);
            if (need_list) {
                usleep(5000);
                continue;
            }
            struct session *s = &me->history.sessions[me->history.n_sessions - 1];
            last = s->revision;
            for (size_t i = 0; i < s->n_items; i++) { /* it may come so late that the end is in its list */
                if (s->sights[i].key == (me->leases ? w->n_keys : w->n_maps) - 1) {
                    s->to_the_end = true;
                    atomic_store(&me->saw_the_end, true);
                }
            }
            http_close(&c);
            if (!http_connect(&c, 200)) {
                continue;
            }
        }
        need_list = !watch(me, &c, &me->history.sessions[me->history.n_sessions - 1], &last);
    }
    http_close(&c);
    return NULL;
}

void work_write_the_end(struct work *w, struct history *h)
{
    struct http c;
    http_init(&c, w->ports[0]);
    for (int lease = 0; lease < 2; lease++) {
        struct thing t = { .key = (lease ? w->n_keys : w->n_maps) - 1, .value = 0 }, got;
        for (unsigned tries = 0; tries < 100; tries++) {
            if (c.fd < 0 && !http_connect(&c, w->patience_ms)) {
                usleep(100000);
                continue;
            }
            t.value = t.holder = atomic_fetch_add(&w->next_value, 1);
            enum outcome o = do_deed(w, &c, h, atomic_load(&w->life), DEED_CREATE, &t, 0, false, &got);
            if (o == OUTCOME_OK || o == OUTCOME_CONFLICT) {
                break;
            }
            usleep(100000);
        }
    }
    http_close(&c);
}
