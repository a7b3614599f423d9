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

/* One thing that is remembered by key: an event that was written, a group of similar ones, or an
 * object's allowance. */
struct known {
    struct list lru;
    char *key;
    /* An event that was written. */
    char *name; /* of the Event object */
    int32_t count;
    struct api_time first;
    /* A group of similar events. */
    int64_t window_s;
    unsigned n_messages;
    /* An allowance: when it will be whole again. */
    int64_t full_s;
};

struct event_recorder {
    struct client *client;
    char *component, *host;
    struct map known;
    struct list lru;     /* oldest first */
    struct list pending; /* calls under way */
};

struct pending {
    struct list link; /* in event_recorder.pending */
    struct event_recorder *recorder;
    struct client_call *call;
    char *key;
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
    list_init(&r->pending);
    return r;
}

static void pending_free(struct pending *p)
{
    client_cancel(p->call);
    list_remove(&p->link);
    free(p->key);
    free(p);
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
    while (!list_empty(&r->pending)) {
        pending_free(LIST_ENTRY(r->pending.next, struct pending, link));
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

static void on_written(void *data, const struct client_answer *answer)
{
    struct pending *p = data;
    p->call = NULL;
    if (answer->err) {
        log_warning("event %s is dropped: %s", p->key, answer->err->msg);
        struct known *k = map_get(&p->recorder->known, str_c(p->key));
        if (k && answer->err->code == ERR_NOT_FOUND) {
            known_free(p->recorder, k); /* it expired on the server: the next one is new */
        }
    }
    pending_free(p);
}

static void write_event(struct event_recorder *r, struct arena *a, struct known *k,
                        const struct event_subject *s, const char *type, const char *reason,
                        struct str message)
{
    struct api_time now = { .set = true };
    clock_real(&now.sec, &now.nsec);
    const struct api_resource *events = api_resource_find(STR(""), STR("v1"), STR("events"));
    struct client_target t = { .resource = events,
                               .ns = str_empty(s->ns) ? STR("default") : s->ns };
    struct pending *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    p->recorder = r;
    list_push_back(&r->pending, &p->link);
    p->key = str_dup(str_c(k->key));
    k->count++;
    if (k->name) {
        char stamp[CLOCK_RFC3339_SIZE];
        struct buf patch;
        buf_init(&patch, 65536);
        clock_format_rfc3339(now.sec, 0, 0, stamp);
        buf_printf(&patch, "{\"count\":%d,\"lastTimestamp\":\"%s\",\"message\":", k->count, stamp);
        json_write_string(&patch, message);
        buf_append_char(&patch, '}');
        t.name = str_c(k->name);
        p->call = client_patch(r->client, &t, CLIENT_PATCH_MERGE, buf_str(&patch), on_written, p);
        buf_deinit(&patch);
        return;
    }
    k->first = now;
    uint64_t nanos = (uint64_t)now.sec * 1000000000u + now.nsec;
    struct str name = arena_printf(a, "%.*s.%llx", STR_ARG(s->name), (unsigned long long)nanos);
    k->name = str_dup(name);
    struct core_v1_event e = { 0 };
    e.metadata.namespace = t.ns;
    e.metadata.name = name;
    e.involved_object.kind = s->kind;
    e.involved_object.namespace = s->ns;
    e.involved_object.name = s->name;
    e.involved_object.uid = s->uid;
    e.involved_object.api_version = s->api_version;
    e.involved_object.resource_version = s->resource_version;
    e.involved_object.field_path = s->field_path;
    e.reason = str_c(reason);
    e.message = message;
    e.source.component = str_c(r->component);
    e.source.host = str_c(r->host);
    e.reporting_component = str_c(r->component);
    e.reporting_instance = str_c(r->host);
    e.first_timestamp = e.last_timestamp = now;
    e.count = 1;
    e.type = str_c(type);
    p->call = client_create(r->client, &t, NULL, &e, on_written, p);
}

void event_record(struct event_recorder *r, const struct event_subject *s, const char *type,
                  const char *reason, const char *fmt, ...)
{
    struct arena a;
    va_list ap;
    arena_init(&a, 1 << 20);
    va_start(ap, fmt);
    struct str message = arena_vprintf(&a, fmt, ap);
    va_end(ap);
    message = str_sub(message, 0, 1024); /* Event validation: at most 1024 bytes */

    int64_t now = clock_real_s();
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
    if (allowed(r, &a, s, now)) {
        write_event(r, &a, known_of(r, exact), s, type, reason, message);
    } else {
        log_debug("event %s about %.*s/%.*s is over its allowance", reason, STR_ARG(s->ns),
                  STR_ARG(s->name));
    }
    arena_deinit(&a);
}
