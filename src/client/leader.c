#include "client/leader.h"

#include <stdlib.h>

#include "api/copy.h"
#include "api/gen/coordination_v1.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "client/meta.h"
#include "net/loop.h"

struct leader {
    struct client *client;
    struct leader_options options;
    void (*on_started)(void *data);
    void (*on_stopped)(void *data);
    void *data;
    struct loop_timer timer;
    struct client_call *call; /* at most one is under way */
    bool leading, stopped;
    uint64_t asked_ms;   /* when the call under way was sent */
    uint64_t renewed_ms; /* when the last successful renewal was sent: our lease counts from then */

    /* The record as last seen, and since when it has not changed, by our own clock. */
    struct arena arena; /* of 'lease' and of the options' strings' copies */
    const struct coordination_v1_lease *lease;
    struct str observed_rv;
    uint64_t observed_ms;
    struct arena strings;
};

static const struct api_resource *lease_resource(void)
{
    return api_resource_find(STR("coordination.k8s.io"), STR("v1"), STR("leases"));
}

static void leader_ask(struct leader *l);

static void on_timer(void *arg)
{
    leader_ask(arg);
}

static void leader_wait(struct leader *l, uint64_t ms)
{
    loop_timer_start(&l->timer, ms);
}

/* client-go adds up to 1.2 times the period, so that candidates do not move in step. */
static uint64_t retry_jittered(const struct leader *l)
{
    return l->options.retry_ms + rand_below(l->options.retry_ms * 6 / 5 + 1);
}

static void leader_lost(struct leader *l, const char *why)
{
    log_error("leader election: %.*s/%.*s lost: %s", STR_ARG(l->options.ns),
              STR_ARG(l->options.name), why);
    l->leading = false;
    l->stopped = true;
    loop_timer_stop(&l->timer);
    l->on_stopped(l->data);
}

static void observe(struct leader *l, const struct coordination_v1_lease *lease)
{
    if (!l->lease || !str_eq(l->observed_rv, lease->metadata.resource_version)) {
        l->observed_ms = loop_now_ms(client_loop(l->client));
    }
    struct arena fresh;
    arena_init(&fresh, ARENA_NO_BUDGET);
    const struct coordination_v1_lease *copy = api_copy(&fresh, &coordination_v1_lease_type, lease);
    arena_deinit(&l->arena);
    l->arena = fresh;
    l->lease = copy;
    l->observed_rv = copy->metadata.resource_version;
}

static void on_written(void *data, const struct client_answer *answer)
{
    struct leader *l = data;
    l->call = NULL;
    if (answer->err) {
        log_debug("leader election: %.*s: %s", STR_ARG(l->options.name), answer->err->msg);
        /* Whatever is there now, look at it anew: a conflict means that somebody else wrote. */
        arena_deinit(&l->arena);
        l->lease = NULL;
        uint64_t now = loop_now_ms(client_loop(l->client));
        if (l->leading && now - l->renewed_ms >= l->options.renew_deadline_ms) {
            leader_lost(l, answer->err->msg);
            return;
        }
        leader_wait(l, retry_jittered(l));
        return;
    }
    observe(l, answer->object);
    l->renewed_ms = l->asked_ms;
    leader_wait(l, l->options.retry_ms);
    if (!l->leading) {
        l->leading = true;
        log_info("leader election: %.*s holds %.*s/%.*s", STR_ARG(l->options.identity),
                 STR_ARG(l->options.ns), STR_ARG(l->options.name));
        l->on_started(l->data);
    }
}

static struct client_target lease_target(const struct leader *l, bool named)
{
    return (struct client_target){
        .resource = lease_resource(),
        .ns = l->options.ns,
        .name = named ? l->options.name : STR_NULL,
        .timeout_ms = l->options.renew_deadline_ms / 2,
    };
}

/* Writes the record with us as holder: a new one, or over 'l->lease' under its resourceVersion. */
static void leader_write(struct leader *l, bool release)
{
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    struct api_time now = { .set = true };
    clock_real(&now.sec, &now.nsec);
    struct coordination_v1_lease *lease = l->lease
                                              ? api_copy(&a, &coordination_v1_lease_type, l->lease)
                                              : arena_new(&a, struct coordination_v1_lease);
    struct coordination_v1_lease_spec *spec = &lease->spec;
    lease->metadata.namespace = l->options.ns;
    lease->metadata.name = l->options.name;
    bool was_ours = str_eq(spec->holder_identity, l->options.identity);
    if (!was_ours) {
        spec->lease_transitions = l->lease ? spec->lease_transitions + 1 : 0;
        spec->has_lease_transitions = true;
        spec->acquire_time = now;
    }
    spec->holder_identity = release ? STR_EMPTY : l->options.identity;
    spec->lease_duration_seconds = release ? 1 : (int32_t)(l->options.lease_ms / 1000);
    spec->has_lease_duration_seconds = true;
    spec->renew_time = now;
    l->asked_ms = loop_now_ms(client_loop(l->client));
    struct client_target t = lease_target(l, l->lease != NULL);
    if (l->lease) {
        l->call = client_update(l->client, &t, lease, on_written, l);
    } else {
        l->call = client_create(l->client, &t, NULL, lease, on_written, l);
    }
    arena_deinit(&a);
}

static void on_read(void *data, const struct client_answer *answer)
{
    struct leader *l = data;
    l->call = NULL;
    if (answer->err && answer->err->code == ERR_NOT_FOUND) {
        arena_deinit(&l->arena);
        l->lease = NULL;
        leader_write(l, false);
        return;
    }
    if (answer->err) {
        log_warning("leader election: cannot read lease %.*s/%.*s: %s", STR_ARG(l->options.ns),
                    STR_ARG(l->options.name), answer->err->msg);
        uint64_t now = loop_now_ms(client_loop(l->client));
        if (l->leading && now - l->renewed_ms >= l->options.renew_deadline_ms) {
            leader_lost(l, answer->err->msg);
            return;
        }
        leader_wait(l, retry_jittered(l));
        return;
    }
    observe(l, answer->object);
    const struct coordination_v1_lease_spec *spec = &l->lease->spec;
    uint64_t now = loop_now_ms(client_loop(l->client));
    uint64_t lasts_ms = spec->has_lease_duration_seconds && spec->lease_duration_seconds > 0
                            ? (uint64_t)spec->lease_duration_seconds * 1000
                            : 0;
    bool ours = str_eq(spec->holder_identity, l->options.identity);
    if (!ours && l->leading) {
        leader_lost(l, "somebody else holds the lease");
        return;
    }
    if (!ours && !str_empty(spec->holder_identity) && now < l->observed_ms + lasts_ms) {
        uint64_t jittered = retry_jittered(l);
        leader_wait(l, MIN(jittered, l->observed_ms + lasts_ms - now));
        return;
    }
    leader_write(l, false);
}

static void leader_ask(struct leader *l)
{
    if (l->leading && l->lease) {
        leader_write(l, false);
        return;
    }
    struct client_target t = lease_target(l, true);
    l->call = client_get(l->client, &t, on_read, l);
}

struct leader *leader_new(struct client *c, const struct leader_options *o,
                          void (*on_started)(void *data), void (*on_stopped)(void *data),
                          void *data)
{
    struct leader *l = calloc(1, sizeof(*l));
    if (!l) {
        abort();
    }
    l->client = c;
    l->options = *o;
    l->options.lease_ms = o->lease_ms ? o->lease_ms : 15000;
    l->options.renew_deadline_ms = o->renew_deadline_ms ? o->renew_deadline_ms : 10000;
    l->options.retry_ms = o->retry_ms ? o->retry_ms : 2000;
    arena_init(&l->arena, ARENA_NO_BUDGET);
    arena_init(&l->strings, ARENA_NO_BUDGET);
    l->options.ns = arena_str(&l->strings, o->ns);
    l->options.name = arena_str(&l->strings, o->name);
    l->options.identity = arena_str(&l->strings, o->identity);
    l->on_started = on_started;
    l->on_stopped = on_stopped;
    l->data = data;
    loop_timer_init(&l->timer, client_loop(c), on_timer, l);
    leader_wait(l, 0);
    return l;
}

struct leader *leader_free(struct leader *l)
{
    if (!l) {
        return NULL;
    }
    loop_timer_stop(&l->timer);
    client_cancel(l->call);
    if (l->leading && l->options.release_on_cancel && l->lease) {
        leader_write(l, true);
        client_detach(l->call);
    }
    arena_deinit(&l->arena);
    arena_deinit(&l->strings);
    free(l);
    return NULL;
}

bool leader_is(const struct leader *l)
{
    return l->leading;
}
