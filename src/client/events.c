#include "client/events.h"

#include <stdarg.h>
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "api/json-writer.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "client/meta.h"
#include "net/loop.h"

/* client-go tools/record: EventCorrelator's constants. */
#define SIMILAR_MOST 10
#define SIMILAR_WINDOW_S 600
#define SOURCE_BURST 25
#define SOURCE_REFILL_S 300
#define KNOWN_MOST 4096
/* Events that wait to be written, about a kilobyte each; what comes beyond is dropped (client-go keeps 1,000). */
#define WAITING_MOST 4096
/* How often it is told that some were dropped. */
#define DROPPED_TOLD_S 60

/* One thing that is remembered by key: an event that was written, a group of similar ones, or an
 * object's allowance. */
struct known {
    struct list lru;
    char *key;
    /* An event that was written. */
    char *name; /* of the Event object, once the server has it */
    int32_t count;
    struct pending *waiting; /* its next write is yet to begin */
    /* A group of similar events. */
    int64_t window_s;
    unsigned n_messages;
    /* An allowance: when it will be whole again. */
    int64_t full_s;
};

/* A write that waits, or is under way. */
struct pending {
    struct list link; /* in event_recorder.waiting */
    struct arena arena; /* of the text */
    struct str key;     /* of what is known of it */
    struct event_subject subject;
    struct str type, reason, message, name;
    struct api_time first, last;
};

struct event_recorder {
    struct client *client;
    char *component, *host;
    struct map known;
    struct list lru; /* oldest first */
    /* Writes go one after another: events are the least urgent of what a component writes, and an event's count must not
     * overtake the event. */
    struct list waiting;
    size_t n_waiting;
    struct pending *writing;
    struct client_call *call; /* of the one under way */
    size_t n_dropped;
    int64_t dropped_told_s;
};

struct event_recorder *event_recorder_new(struct client *c, const char *component, const char *host)
{
    struct event_recorder *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->client = c;
    r->component = str_dup(str_c(component));
    r->host = str_dup(str_c(host));
    map_init(&r->known);
    list_init(&r->lru);
    list_init(&r->waiting);
    return r;
}

static void pending_free(struct pending *p)
{
    if (p) {
        list_remove(&p->link);
        arena_deinit(&p->arena);
        free(p);
    }
}

static void known_free(struct event_recorder *r, struct known *k)
{
    map_remove(&r->known, str_c(k->key));
    list_remove(&k->lru);
    free(k->key);
    free(k->name);
    free(k);
}

struct event_recorder *event_recorder_free(struct event_recorder *r)
{
    if (!r) {
        return NULL;
    }
    client_cancel(r->call);
    pending_free(r->writing);
    while (!list_empty(&r->waiting)) {
        pending_free(LIST_ENTRY(r->waiting.next, struct pending, link));
    }
    while (!list_empty(&r->lru)) {
        known_free(r, LIST_ENTRY(r->lru.next, struct known, lru));
    }
    map_deinit(&r->known);
    free(r->component);
    free(r->host);
    free(r);
    return NULL;
}

static struct known *known_of(struct event_recorder *r, struct str key)
{
    struct known *k = map_get(&r->known, key);
    if (!k) {
        if (r->known.n >= KNOWN_MOST) {
            known_free(r, LIST_ENTRY(r->lru.next, struct known, lru));
        }
        k = calloc(1, sizeof(*k));
        if (!k) {
            abort();
        }
        k->key = str_dup(key);
        list_init(&k->lru);
        map_put(&r->known, key, k);
    }
    list_remove(&k->lru);
    list_push_back(&r->lru, &k->lru);
    return k;
}

struct event_subject event_subject_of(const struct api_resource *r, const void *obj)
{
    const struct meta_v1_object_meta *m = meta_of(r->type, obj);
    return (struct event_subject){
        .api_version = str_empty(r->group) ? r->version : STR_NULL,
        .kind = r->kind,
        .ns = m->namespace,
        .name = m->name,
        .uid = m->uid,
        .resource_version = m->resource_version,
    };
}

/* A token of the object's allowance: SOURCE_BURST at once, one more every SOURCE_REFILL_S seconds.
 */
static bool allowed(struct event_recorder *r, struct arena *a, const struct event_subject *s,
                    int64_t now)
{
    struct known *k = known_of(r, arena_printf(a, "allow/%.*s/%.*s/%.*s/%.*s", STR_ARG(s->kind),
                                               STR_ARG(s->ns), STR_ARG(s->name), STR_ARG(s->uid)));
    int64_t full = MAX(k->full_s, now) + SOURCE_REFILL_S;
    if (full - now > (int64_t)SOURCE_BURST * SOURCE_REFILL_S) {
        return false;
    }
    k->full_s = full;
    return true;
}

static void write_next(struct event_recorder *r);

static void on_written(void *data, const struct client_answer *answer)
{
    struct event_recorder *r = data;
    struct pending *p = r->writing;
    struct known *k = map_get(&r->known, p->key);
    r->call = NULL;
    r->writing = NULL;
    if (!answer->err && k && p->name.ptr && !k->name) {
        k->name = str_dup(p->name);
    } else if (answer->err) {
        log_warning("event %.*s is dropped: %s", STR_ARG(p->key), answer->err->msg);
        if (k && k->name && answer->err->code == ERR_NOT_FOUND) {
            /* It expired on the server: the next one is new. */
            free(k->name);
            k->name = NULL;
            k->count = 0;
        }
    }
    pending_free(p);
    write_next(r);
}

/* Begins the write of the oldest one that waits. */
static void write_next(struct event_recorder *r)
{
    if (r->call || list_empty(&r->waiting)) {
        return;
    }
    struct pending *p = LIST_ENTRY(r->waiting.next, struct pending, link);
    const struct event_subject *s = &p->subject;
    struct known *k = known_of(r, p->key);
    struct client_target t = { .resource = api_resource_find(STR(""), STR("v1"), STR("events")),
                               .ns = str_empty(s->ns) ? STR("default") : s->ns };
    list_remove(&p->link);
    r->n_waiting--;
    r->writing = p;
    k->waiting = NULL;
    if (k->name) {
        char stamp[CLOCK_RFC3339_SIZE];
        struct buf patch;
        buf_init(&patch, 65536);
        clock_format_rfc3339(p->last.sec, 0, 0, stamp);
        buf_printf(&patch, "{\"count\":%d,\"lastTimestamp\":\"%s\",\"message\":", k->count, stamp);
        json_write_string(&patch, p->message);
        buf_append_char(&patch, '}');
        t.name = str_c(k->name);
        r->call = client_patch(r->client, &t, CLIENT_PATCH_MERGE, buf_str(&patch), on_written, r);
        buf_deinit(&patch);
        return;
    }
    uint64_t nanos = (uint64_t)p->last.sec * 1000000000u + p->last.nsec;
    p->name = arena_printf(&p->arena, "%.*s.%llx", STR_ARG(s->name), (unsigned long long)nanos);
    struct core_v1_event e = { 0 };
    e.metadata.namespace = t.ns;
    e.metadata.name = p->name;
    e.involved_object.kind = s->kind;
    e.involved_object.namespace = s->ns;
    e.involved_object.name = s->name;
    e.involved_object.uid = s->uid;
    e.involved_object.api_version = s->api_version;
    e.involved_object.resource_version = s->resource_version;
    e.involved_object.field_path = s->field_path;
    e.reason = p->reason;
    e.message = p->message;
    e.source.component = str_c(r->component);
    e.source.host = str_c(r->host);
    e.reporting_component = str_c(r->component);
    e.reporting_instance = str_c(r->host);
    e.first_timestamp = p->first;
    e.last_timestamp = p->last;
    e.count = MAX(k->count, 1);
    e.type = p->type;
    r->call = client_create(r->client, &t, NULL, &e, on_written, r);
}

static void drop(struct event_recorder *r, int64_t now)
{
    r->n_dropped++;
    if (now - r->dropped_told_s >= DROPPED_TOLD_S) {
        r->dropped_told_s = now;
        log_warning("%zu events were dropped so far, because more of them come than can be written",
                    r->n_dropped);
    }
}

/* Puts the event at the end of those that wait; one whose write waits already is counted there. */
static void enqueue(struct event_recorder *r, struct str key, const struct event_subject *s,
                    const char *type, const char *reason, struct str message)
{
    struct api_time now = { .set = true };
    struct known *k = known_of(r, key);
    clock_real(&now.sec, &now.nsec);
    if (k->waiting) {
        k->count++;
        k->waiting->last = now;
        if (!str_eq(k->waiting->message, message)) {
            k->waiting->message = arena_str(&k->waiting->arena, message);
        }
        return;
    }
    if (r->n_waiting >= WAITING_MOST) {
        drop(r, now.sec);
        return;
    }
    struct pending *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    arena_init_chunk(&p->arena, ARENA_NO_BUDGET, 1024);
    p->key = arena_str(&p->arena, key);
    p->type = arena_str(&p->arena, str_c(type));
    p->reason = arena_str(&p->arena, str_c(reason));
    p->message = arena_str(&p->arena, message);
    p->first = p->last = now;
    p->subject = (struct event_subject){
        .api_version = arena_str(&p->arena, s->api_version),
        .kind = arena_str(&p->arena, s->kind),
        .ns = arena_str(&p->arena, s->ns),
        .name = arena_str(&p->arena, s->name),
        .uid = arena_str(&p->arena, s->uid),
        .resource_version = arena_str(&p->arena, s->resource_version),
        .field_path = arena_str(&p->arena, s->field_path),
    };
    k->count++;
    k->waiting = p;
    list_push_back(&r->waiting, &p->link);
    r->n_waiting++;
    write_next(r);
}

void event_record(struct event_recorder *r, const struct event_subject *s, const char *type,
                  const char *reason, const char *fmt, ...)
{
    struct arena a;
    va_list ap;
    int64_t now = clock_real_s();
    arena_init(&a, 1 << 20);
    if (!allowed(r, &a, s, now)) { /* asked first: most of what a busy object says ends here */
        arena_deinit(&a);
        return;
    }
    va_start(ap, fmt);
    struct str message = arena_vprintf(&a, fmt, ap);
    va_end(ap);
    message = str_sub(message, 0, 1024); /* Event validation: at most 1024 bytes */

    struct str similar =
        arena_printf(&a, "similar/%.*s/%.*s/%.*s/%.*s/%s/%s", STR_ARG(s->kind), STR_ARG(s->ns),
                     STR_ARG(s->name), STR_ARG(s->uid), type, reason);
    struct str exact = arena_printf(&a, "%.*s/%.*s/%.*s/%.*s", STR_ARG(similar),
                                    STR_ARG(s->field_path), STR_ARG(s->uid), STR_ARG(message));
    struct known *group = known_of(r, similar);
    if (now - group->window_s > SIMILAR_WINDOW_S) {
        group->window_s = now;
        group->n_messages = 0;
    }
    if (!map_has(&r->known, exact)) {
        group->n_messages++;
    }
    if (group->n_messages > SIMILAR_MOST) {
        message = arena_printf(&a, "(combined from similar events): %.*s", STR_ARG(message));
        exact = arena_printf(&a, "combined/%.*s", STR_ARG(similar));
    }
    enqueue(r, exact, s, type, reason, message);
    arena_deinit(&a);
}
