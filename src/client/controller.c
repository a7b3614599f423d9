#include "client/controller.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "api/decode-json.h"
#include "api/encode-json.h"
#include "api/gen/meta_v1.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "client/client-private.h"
#include "client/informer-private.h"
#include "client/limits.h"
#include "client/meta.h"
#include "client/queue.h"
#include "net/loop.h"

/* Calls of one pass that are under way together. */
#define PASS_PARALLEL 64
/* Memory of one pass. */
#define PASS_ARENA_MAX (256u << 20)

struct controller {
    const struct controller_ops *ops;
    struct client *client;
    struct informers *informers;
    struct event_recorder *events;
    struct queue *queue;
    struct loop_timer timer;
    struct loop_task work;
    struct list passes; /* under way */
    unsigned n_passes;
    bool started;
    const struct informer **needs; /* of resources without which it rests */
    size_t n_needs;
    void *state;
};

enum action_kind { ACTION_CALL, ACTION_DELETE, ACTION_BARRIER, ACTION_REQUIRE_ABSENT };

/* How soon a key is looked at again whose required absence did not hold. */
#define ABSENT_RETRY_MS 1000
/* ... and could not be told. */
#define UNTOLD_RETRY_MS 60000
/* How often a controller that rests looks whether it may go on. */
#define REST_MS 10000

/* An event that waits for how its action ends. */
struct action_event {
    struct event_subject subject;
    const char *type, *reason;
    struct str text;
};

struct action {
    struct action *next;
    struct action_event *after, *on_failure;
    struct actions *pass;
    enum action_kind kind;
    const struct api_resource *resource;
    struct client_target target; /* strings in the pass's arena */
    struct client_request request;
    struct str uid; /* of a delete */
    bool absorb;    /* the answer is the object itself: into the informers with it */
    bool create;
    enum err_code tolerate;
    struct client_call *call;
};

struct actions {
    struct list link; /* in controller.passes */
    struct controller *controller;
    struct arena arena;
    struct str key; /* the queue's, valid until queue_done() */
    struct action *first, **last;
    struct action *next; /* to be started */
    unsigned n_running, n_creating;
    unsigned creates_most; /* under way together: one at first, one more for each that succeeds */
    uint64_t requeue_ms; /* UINT64_MAX: not asked for */
    int64_t now;
    bool failed;
    /* Asked for again and again in a pass: */
    const struct api_resource *version_of; /* whose apiVersion 'version' is */
    struct str version;
    const void *subject_of; /* which object 'subject' is */
    struct event_subject subject;
    struct buf *dry; /* a dry run: what is said goes here */
};

/* ---- what a reconciler says ---- */

static struct action *action_new(struct actions *a, enum action_kind kind,
                                 const struct api_resource *r)
{
    struct action *x = arena_new(&a->arena, struct action);
    if (!x) {
        abort(); /* a pass beyond 256 MiB: a bug of the controller */
    }
    x->pass = a;
    x->kind = kind;
    x->resource = r;
    x->target.resource = r;
    *a->last = x;
    a->last = &x->next;
    return x;
}

/* "apps/v1", or "v1" for core. */
static struct str api_version(struct actions *a, const struct api_resource *r)
{
    if (str_empty(r->group)) {
        return r->version;
    }
    if (a->version_of != r) {
        a->version_of = r;
        a->version = arena_printf(&a->arena, "%.*s/%.*s", STR_ARG(r->group), STR_ARG(r->version));
    }
    return a->version;
}

static struct str encode(struct actions *a, const struct api_type *type, const void *obj,
                         const struct api_resource *r)
{
    struct buf b;
    struct api_json_encode e = { 0 };
    if (r) {
        e.kind = r->kind;
        e.api_version = api_version(a, r);
    }
    buf_init(&b, CLIENT_ANSWER_MAX);
    if (!api_encode_json(&b, type, obj, &e, NULL)) {
        abort();
    }
    struct str text = arena_str(&a->arena, buf_str(&b));
    buf_deinit(&b);
    return text;
}

static void set_request(struct action *x, struct str method, struct str content_type,
                        struct str body)
{
    x->request.method = method;
    x->request.content_type = content_type;
    x->request.body = body;
}

/* The answer's text goes into the informers, which read their fields of it; nobody needs it decoded. */
static void set_absorbed(struct action *x)
{
    x->absorb = true;
    x->request.raw = true;
}

void act_create(struct actions *a, const struct api_resource *r, struct str ns, const void *obj)
{
    struct action *x = action_new(a, ACTION_CALL, r);
    x->target.ns = arena_str(&a->arena, ns);
    x->create = true;
    set_absorbed(x);
    set_request(x, STR("POST"), STR("application/json"), encode(a, r->type, obj, r));
}

static void update(struct actions *a, const struct api_resource *r, const char *subresource,
                   const void *obj)
{
    const struct meta_v1_object_meta *m = meta_of(r->type, obj);
    struct action *x = action_new(a, ACTION_CALL, r);
    x->target.ns = arena_str(&a->arena, m->namespace);
    x->target.name = arena_str(&a->arena, m->name);
    x->target.subresource = arena_str(&a->arena, str_c(subresource));
    set_absorbed(x);
    set_request(x, STR("PUT"), STR("application/json"), encode(a, r->type, obj, r));
}

void act_update(struct actions *a, const struct api_resource *r, const void *obj)
{
    update(a, r, NULL, obj);
}

void act_update_sub(struct actions *a, const struct api_resource *r, const char *subresource,
                    const void *obj)
{
    update(a, r, subresource, obj);
}

void act_patch(struct actions *a, const struct api_resource *r, struct str ns, struct str name,
               const char *subresource, enum client_patch_type type, struct str patch)
{
    struct action *x = action_new(a, ACTION_CALL, r);
    x->target.ns = arena_str(&a->arena, ns);
    x->target.name = arena_str(&a->arena, name);
    x->target.subresource = arena_str(&a->arena, str_c(subresource));
    if (!subresource || strcmp(subresource, "scale") != 0) {
        set_absorbed(x);
    }
    set_request(x, STR("PATCH"), client_patch_content_type(type), arena_str(&a->arena, patch));
}

void act_post_sub(struct actions *a, const struct api_resource *r, struct str ns, struct str name,
                  const char *subresource, const struct api_type *body_type, const void *body)
{
    struct action *x = action_new(a, ACTION_CALL, r);
    x->target.ns = arena_str(&a->arena, ns);
    x->target.name = arena_str(&a->arena, name);
    x->target.subresource = arena_str(&a->arena, str_c(subresource));
    x->target.answer_type = body_type;
    set_request(x, STR("POST"), STR("application/json"), encode(a, body_type, body, NULL));
}

void act_delete(struct actions *a, const struct api_resource *r, struct str ns, struct str name,
                struct str uid, const struct client_delete_options *options)
{
    struct client_delete_options o =
        options ? *options : (struct client_delete_options){ .grace_seconds = -1 };
    struct action *x = action_new(a, ACTION_DELETE, r);
    x->target.ns = arena_str(&a->arena, ns);
    x->target.name = arena_str(&a->arena, name);
    x->uid = arena_str(&a->arena, uid);
    if (str_empty(o.uid)) {
        o.uid = x->uid;
    }
    set_request(x, STR("DELETE"), STR("application/json"), client_delete_body(&a->arena, &o));
    x->tolerate = ERR_NOT_FOUND;
}

void act_barrier(struct actions *a)
{
    action_new(a, ACTION_BARRIER, NULL);
}

void act_require_absent(struct actions *a, const struct api_resource *r, struct str ns,
                        struct str name, struct str uid)
{
    act_barrier(a);
    struct action *x = action_new(a, ACTION_REQUIRE_ABSENT, r);
    x->target.ns = arena_str(&a->arena, ns);
    x->target.name = arena_str(&a->arena, name);
    x->uid = arena_str(&a->arena, uid);
    set_request(x, STR("GET"), STR_NULL, STR_NULL);
    x->tolerate = ERR_NOT_FOUND;
    act_barrier(a);
}

void act_delete_collection(struct actions *a, const struct api_resource *r, struct str ns)
{
    static const struct client_delete_options none = { .grace_seconds = -1 };
    struct action *x = action_new(a, ACTION_CALL, r);
    x->target.ns = arena_str(&a->arena, ns);
    x->target.answer_type = r->list_type;
    set_request(x, STR("DELETE"), STR("application/json"), client_delete_body(&a->arena, &none));
}

void act_requeue_after(struct actions *a, uint64_t ms)
{
    a->requeue_ms = MIN(a->requeue_ms, ms);
}

void act_fail(struct actions *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(&a->arena, fmt, ap);
    va_end(ap);
    log_warning("%s %.*s: %.*s; it is tried again", a->controller->ops->name, STR_ARG(a->key),
                STR_ARG(text));
    a->failed = true;
}

/* The object may be gone when the event is written: its names are copied. */
static struct action_event *event_new(struct actions *a, const struct api_resource *r,
                                      const void *obj, const char *type, const char *reason,
                                      struct str text)
{
    struct action_event *e = arena_new(&a->arena, struct action_event);
    if (!e) {
        abort();
    }
    if (a->subject_of != obj || !str_eq(a->subject.uid, meta_of(r->type, obj)->uid)) {
        struct event_subject s = event_subject_of(r, obj);
        a->subject_of = obj;
        a->subject = (struct event_subject){
            .api_version = api_version(a, r),
            .kind = s.kind,
            .ns = arena_str(&a->arena, s.ns),
            .name = arena_str(&a->arena, s.name),
            .uid = arena_str(&a->arena, s.uid),
            .resource_version = arena_str(&a->arena, s.resource_version),
        };
    }
    e->subject = a->subject;
    e->type = type;
    e->reason = reason;
    e->text = text;
    return e;
}

static void event_write(struct actions *a, const struct action_event *e, const char *more)
{
    if (e && a->dry) {
        buf_printf(a->dry, "event %s %s: %.*s\n", e->type, e->reason, STR_ARG(e->text));
    }
    if (e && a->controller->events) {
        event_record(a->controller->events, &e->subject, e->type, e->reason, "%.*s%s%s",
                     STR_ARG(e->text), more ? ": " : "", more ? more : "");
    }
}

static struct action *last_action(struct actions *a)
{
    assert(a->first);
    return CONTAINER_OF(a->last, struct action, next);
}

void act_event(struct actions *a, const struct api_resource *r, const void *obj, const char *type,
               const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    event_write(a, event_new(a, r, obj, type, reason, arena_vprintf(&a->arena, fmt, ap)), NULL);
    va_end(ap);
}

void act_event_after(struct actions *a, const struct api_resource *r, const void *obj,
                     const char *type, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    last_action(a)->after = event_new(a, r, obj, type, reason, arena_vprintf(&a->arena, fmt, ap));
    va_end(ap);
}

void act_event_on_failure(struct actions *a, const struct api_resource *r, const void *obj,
                          const char *type, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    last_action(a)->on_failure =
        event_new(a, r, obj, type, reason, arena_vprintf(&a->arena, fmt, ap));
    va_end(ap);
}

void act_tolerate(struct actions *a, enum err_code code)
{
    last_action(a)->tolerate = code;
}

struct arena *act_arena(struct actions *a)
{
    return &a->arena;
}

int64_t act_now(const struct actions *a)
{
    return a->now;
}

/* ---- carrying it out ---- */

static void pass_step(struct actions *a);

static void pass_free(struct actions *a)
{
    for (struct action *x = a->first; x; x = x->next) {
        client_cancel(x->call);
    }
    list_remove(&a->link);
    a->controller->n_passes--;
    arena_deinit(&a->arena);
    free(a);
}

static void pass_end(struct actions *a)
{
    struct controller *c = a->controller;
    uint64_t now = loop_now_ms(client_loop(c->client));
    if (a->failed) {
        queue_add_backoff(c->queue, a->key, now);
    } else {
        queue_forget(c->queue, a->key);
        if (a->requeue_ms != UINT64_MAX) {
            queue_add(c->queue, a->key, now, a->requeue_ms);
        }
    }
    queue_done(c->queue, a->key, now);
    pass_free(a);
    loop_task_defer(&c->work);
}

/* Does the error speak of the object, and not of its kind? The Status of an object that is not found names it; that of a
 * resource which is not served names nothing, or there is none. */
static bool is_of_object(struct actions *a, const struct client_answer *answer, struct str name)
{
    struct meta_v1_status s = { 0 };
    return api_decode_json(&a->arena, &meta_v1_status_type, answer->body, NULL, &s, NULL) &&
           s.details && str_eq(s.details->name, name);
}

static void on_answer(void *data, const struct client_answer *answer)
{
    struct action *x = data;
    struct actions *a = x->pass;
    struct controller *c = a->controller;
    x->call = NULL;
    a->n_running--;
    a->n_creating -= x->create;
    a->creates_most += x->create && !answer->err;
    if (answer->err && answer->err->code != x->tolerate) {
        bool conflict =
            answer->err->code == ERR_CONFLICT || answer->err->code == ERR_ALREADY_EXISTS;
        log_at(conflict ? LOG_DEBUG : LOG_WARNING, "%s %.*s: %s; it is tried again", c->ops->name,
               STR_ARG(a->key), answer->err->msg);
        a->failed = true;
        event_write(a, x->on_failure, answer->err->msg);
    } else if (x->kind == ACTION_DELETE && (answer->err || answer->type != x->resource->type)) {
        informers_absorb_delete(c->informers, x->resource, x->target.ns, x->target.name, x->uid);
    } else if (x->kind == ACTION_DELETE && !answer->err) {
        /* The object as it was deleted, or as it now waits for its finalizers or its grace. */
        const struct meta_v1_object_meta *m = meta_of(answer->type, answer->object);
        bool waits =
            m->deletion_timestamp.set && (m->n_finalizers || m->deletion_grace_period_seconds > 0);
        if (waits) {
            informers_absorb(c->informers, x->resource, answer->object);
        } else {
            informers_absorb_delete(c->informers, x->resource, x->target.ns, x->target.name,
                                    x->uid);
        }
    } else if (x->kind == ACTION_REQUIRE_ABSENT) {
        if (!answer->err && answer->object && answer->type == x->resource->type &&
            str_eq(meta_of(answer->type, answer->object)->uid, x->uid)) {
            a->next = NULL;
            act_requeue_after(a, ABSENT_RETRY_MS);
        } else if (answer->err && !is_of_object(a, answer, x->target.name)) {
            a->next = NULL;
            act_requeue_after(a, UNTOLD_RETRY_MS);
        }
    } else if (x->absorb && !answer->err && !informers_absorb_text(c->informers, x->resource, answer->body)) {
        log_debug("%s %.*s: an answer is no object of %.*s", c->ops->name, STR_ARG(a->key),
                  STR_ARG(x->resource->resource));
    }
    if (!answer->err) {
        event_write(a, x->after, NULL);
    }
    pass_step(a);
}

/*
 * Starts what may be started; ends the pass when nothing is left.
 *
 * Creates begin slowly, as upstream's: what fails (a quota, an admission plugin) fails for all of them mostly, and hundreds of
 * refused requests help nobody. After a failure no further creates begin, and nothing behind a barrier; the next pass says
 * anew what is to be done.
 */
static void pass_step(struct actions *a)
{
    while (a->next && a->n_running < PASS_PARALLEL) {
        struct action *x = a->next;
        if (x->kind == ACTION_BARRIER && a->n_running) {
            return;
        }
        if (x->kind == ACTION_BARRIER && a->failed) {
            a->next = NULL;
            break;
        }
        if (x->create && !a->failed && a->n_creating >= a->creates_most) {
            return;
        }
        a->next = x->next;
        if (x->kind != ACTION_BARRIER && !(x->create && a->failed)) {
            a->n_running++;
            a->n_creating += x->create;
            x->call = client_send(a->controller->client, &x->target, &x->request, on_answer, x);
        }
    }
    if (!a->n_running && !a->next) {
        pass_end(a);
    }
}

static struct actions *pass_new(struct controller *c, struct str key, int64_t now)
{
    struct actions *a = calloc(1, sizeof(*a));
    if (!a) {
        abort();
    }
    a->controller = c;
    a->key = key;
    a->last = &a->first;
    a->requeue_ms = UINT64_MAX;
    a->creates_most = 1;
    a->now = now;
    arena_init(&a->arena, PASS_ARENA_MAX);
    list_push_back(&c->passes, &a->link);
    c->n_passes++;
    return a;
}

static void pass_begin(struct controller *c, struct str key)
{
    struct actions *a = pass_new(c, key, time_floor_now_s());
    c->ops->reconcile(c->state, key, a);
    bool failed = a->failed;
    a->failed = false; /* the actions that were given run all the same */
    a->next = a->first;
    if (failed && !a->first) {
        a->failed = true;
    } else if (failed) {
        act_requeue_after(a, 1000);
    }
    pass_step(a);
}

void controller_dry_run(struct controller *c, struct str key, int64_t now, struct buf *out)
{
    struct actions *a = pass_new(c, key, now);
    a->dry = out;
    c->ops->reconcile(c->state, key, a);
    for (const struct action *x = a->first; x; x = x->next) {
        if (x->kind == ACTION_BARRIER) {
            buf_append_c(out, "--\n");
            continue;
        }
        buf_printf(out, "%.*s %.*s %.*s", STR_ARG(x->request.method),
                   STR_ARG(x->resource->resource), STR_ARG(x->target.ns));
        if (x->target.name.len) {
            buf_printf(out, "/%.*s", STR_ARG(x->target.name));
        }
        if (x->target.subresource.len) {
            buf_printf(out, "/%.*s", STR_ARG(x->target.subresource));
        }
        buf_printf(out, " %.*s\n", STR_ARG(x->request.body));
        if (x->after) {
            buf_printf(out, "  event %s %s: %.*s\n", x->after->type, x->after->reason,
                       STR_ARG(x->after->text));
        }
    }
    if (a->failed) {
        buf_append_c(out, "failed\n");
    }
    if (a->requeue_ms != UINT64_MAX) {
        buf_printf(out, "again after %llu ms\n", (unsigned long long)a->requeue_ms);
    }
    pass_free(a);
}

static unsigned most_passes(const struct controller_ops *ops)
{
    if (ops->concurrency_flag && *ops->concurrency_flag > 0) {
        return (unsigned)*ops->concurrency_flag;
    }
    return ops->concurrency ? ops->concurrency : 5;
}

static bool rests(const struct controller *c)
{
    for (size_t i = 0; i < c->n_needs; i++) {
        if (!informer_served(c->needs[i])) {
            return true;
        }
    }
    return false;
}

/* Takes keys while there is room; otherwise sets the timer for the next that is due. */
static void work(void *arg)
{
    struct controller *c = arg;
    struct str key;
    unsigned most = most_passes(c->ops);
    if (!c->started || !informers_synced(c->informers)) {
        return;
    }
    if (rests(c)) {
        if (queue_len(c->queue)) {
            loop_timer_start(&c->timer, REST_MS);
        }
        return;
    }
    uint64_t now = loop_now_ms(client_loop(c->client));
    while (c->n_passes < most && queue_take(c->queue, now, &key)) {
        pass_begin(c, key);
    }
    uint64_t wait = queue_wait_ms(c->queue, now);
    if (c->n_passes < most && wait != UINT64_MAX) {
        loop_timer_start(&c->timer, wait);
    }
}

static void on_timer(void *arg)
{
    work(arg);
}

struct controller *controller_new(const struct controller_ops *ops, struct client *client,
                                  struct informers *informers, struct event_recorder *events)
{
    struct controller *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->ops = ops;
    c->client = client;
    c->informers = informers;
    c->events = events;
    c->queue = queue_new();
    list_init(&c->passes);
    loop_timer_init(&c->timer, client_loop(client), on_timer, c);
    loop_task_init(&c->work, client_loop(client), work, c);
    c->state = ops->setup(c, informers);
    return c;
}

struct controller *controller_free(struct controller *c)
{
    if (!c) {
        return NULL;
    }
    LIST_FOREACH(&c->passes, struct actions, link, a) {
        pass_free(a);
    }
    loop_timer_stop(&c->timer);
    loop_task_cancel(&c->work);
    if (c->ops->teardown) {
        c->ops->teardown(c->state);
    }
    queue_free(c->queue);
    free(c->needs);
    free(c);
    return NULL;
}

void controller_start(struct controller *c)
{
    c->started = true;
    loop_task_defer(&c->work);
}

void controller_enqueue(struct controller *c, struct str key)
{
    controller_enqueue_after(c, key, 0);
}

void controller_enqueue_after(struct controller *c, struct str key, uint64_t ms)
{
    queue_add(c->queue, key, loop_now_ms(client_loop(c->client)), ms);
    loop_task_defer(&c->work);
}

void controller_enqueue_obj(struct controller *c, const struct api_type *type, const void *obj)
{
    char key[600]; /* namespace (63), '/', name (253) as validation bounds them, with room */
    const struct meta_v1_object_meta *m = meta_of(type, obj);
    snprintf(key, sizeof(key), "%.*s%s%.*s", STR_ARG(m->namespace), m->namespace.len ? "/" : "",
             STR_ARG(m->name));
    controller_enqueue(c, str_c(key));
}

void controller_needs(struct controller *c, const struct informer *i)
{
    c->needs = reallocarray(c->needs, c->n_needs + 1, sizeof(struct informer *));
    if (!c->needs) {
        abort();
    }
    c->needs[c->n_needs++] = i;
}

struct client *controller_client(const struct controller *c)
{
    return c->client;
}

struct loop *controller_loop(const struct controller *c)
{
    return client_loop(c->client);
}

struct watch {
    struct controller *controller;
    const struct api_type *type;
};

static void on_event(void *data, const void *old, const void *obj)
{
    const struct watch *w = data;
    controller_enqueue_obj(w->controller, w->type, obj ? obj : old);
}

struct informer *controller_watch(struct controller *c, struct informers *informers,
                                  const struct informer_spec *spec)
{
    struct watch *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    w->controller = c;
    w->type = spec->resource->type;
    struct informer *i = informers_get_owned(informers, spec, on_event, w);
    controller_needs(c, i);
    return i;
}
