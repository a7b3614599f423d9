#include "cloud/calls.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "cloud/limits.h"
#include "net/loop.h"

/* Where a key waits that found no room. */
#define RETRY_MS 500

struct cloud_call {
    struct cloud_calls *owner; /* NULL: nobody waits for the answer any more */
    struct str name, key;      /* "verb key"; in 'arena' */
    uint64_t question;
    enum cloud_call_state state;
    bool in_pass; /* it is being asked: the pass looks itself whether the answer came */
    bool dropped; /* the controller forgot it (it was late), and the provider still has it: it still counts */
    const void *answer;
    struct err err;
    struct loop_timer timer;
    struct arena arena;
    struct list link; /* of those that the provider has */
};

struct cloud_calls {
    struct controller *controller;
    struct map by_name;
    struct list asked;
    size_t n; /* of 'asked' */
};

struct cloud_calls *cloud_calls_new(struct controller *c)
{
    struct cloud_calls *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    map_init(&s->by_name);
    list_init(&s->asked);
    return s;
}

static void call_free(struct cloud_call *c)
{
    loop_timer_stop(&c->timer);
    list_remove(&c->link);
    arena_deinit(&c->arena);
    free(c);
}

struct cloud_calls *cloud_calls_free(struct cloud_calls *s)
{
    struct str key;
    void *value;
    if (!s) {
        return NULL;
    }
    LIST_FOREACH(&s->asked, struct cloud_call, link, c) {
        loop_timer_stop(&c->timer);
        list_remove(&c->link);
        if (!c->dropped) {
            (void)map_remove(&s->by_name, c->name);
        }
        c->owner = NULL;
    }
    for (size_t pos = 0; map_next(&s->by_name, &pos, &key, &value);) {
        call_free(value);
    }
    map_deinit(&s->by_name);
    free(s);
    return NULL;
}

static void tell(struct cloud_call *c)
{
    if (!c->in_pass) {
        controller_enqueue(c->owner->controller, c->key);
    }
}

static void on_late(void *arg)
{
    struct cloud_call *c = arg;
    c->state = CLOUD_CALL_FAILED;
    err_set(&c->err, ERR_TIMEOUT, "the cloud provider did not answer within %d s", CLOUD_CALL_MS / 1000);
    tell(c);
}

struct cloud_call *cloud_calls_ask(struct cloud_calls *s, const char *verb, struct str key, uint64_t question, bool *ret_new)
{
    char room[512];
    int n = snprintf(room, sizeof(room), "%s %.*s", verb, STR_ARG(key));
    struct str name = str_n(room, MIN((size_t)n, sizeof(room) - 1));
    struct cloud_call *c = map_get(&s->by_name, name);
    *ret_new = false;
    if (c && (c->state != CLOUD_CALL_WAITS && c->question != question)) {
        cloud_calls_drop(c);
        c = NULL;
    }
    if (c) {
        return c->question == question ? c : NULL;
    }
    if (s->n >= CLOUD_CALLS_MAX) {
        controller_enqueue_after(s->controller, key, RETRY_MS);
        return NULL;
    }
    c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    arena_init(&c->arena, CLOUD_ANSWER_MAX);
    c->owner = s;
    c->name = arena_str(&c->arena, name);
    c->key = arena_str(&c->arena, key);
    c->question = question;
    c->state = CLOUD_CALL_WAITS;
    c->in_pass = true;
    list_init(&c->link);
    list_push_back(&s->asked, &c->link);
    loop_timer_init(&c->timer, controller_loop(s->controller), on_late, c);
    loop_timer_start(&c->timer, CLOUD_CALL_MS);
    map_put(&s->by_name, c->name, c);
    s->n++;
    *ret_new = true;
    return c;
}

/* The provider has answered. Does somebody wait for it? Otherwise the call may be gone. */
static bool is_awaited(struct cloud_call *c)
{
    loop_timer_stop(&c->timer);
    list_remove(&c->link);
    if (!c->owner) {
        call_free(c);
        return false;
    }
    c->owner->n--;
    if (c->dropped) {
        call_free(c);
        return false;
    }
    return c->state == CLOUD_CALL_WAITS; /* otherwise it was late, which was told; it is dropped by who sees that */
}

void cloud_call_done(struct cloud_call *c, const void *answer)
{
    if (is_awaited(c)) {
        c->state = CLOUD_CALL_DONE;
        c->answer = answer;
        tell(c);
    }
}

void cloud_call_failed(struct cloud_call *c, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    if (is_awaited(c)) {
        char text[512];
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        err_set(&c->err, code, "%s", text);
        c->state = CLOUD_CALL_FAILED;
        tell(c);
    }
}

void cloud_calls_drop(struct cloud_call *c)
{
    (void)map_remove(&c->owner->by_name, c->name);
    if (list_empty(&c->link)) {
        call_free(c);
    } else {
        c->dropped = true;
    }
}

struct arena *cloud_call_arena(struct cloud_call *c)
{
    return &c->arena;
}

enum cloud_call_state cloud_call_settle(struct cloud_call *c)
{
    c->in_pass = false;
    return c->state;
}

const void *cloud_call_answer(const struct cloud_call *c)
{
    return c->answer;
}

const struct err *cloud_call_err(const struct cloud_call *c)
{
    return &c->err;
}
