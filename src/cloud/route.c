/*
 * node-route-controller: to every node's pods (spec.podCIDRs) there is a route, and to nobody else's within --cluster-cidr. It looks at
 * all routes together, when a Node changes and every --route-reconciliation-period; whether a node's routes are there is told by its
 * condition NetworkUnavailable.
 *
 * In an agent (cloud_settings.own_node) the routes are those of its host, to all other nodes; they decide the own node's condition.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/json-writer.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "cloud/calls.h"
#include "cloud/cloud.h"
#include "cloud/ip.h"
#include "cloud/node-facts.h"

#define CLUSTER_CIDRS_MAX 8
#define KEY STR("routes")

struct state {
    struct controller *controller;
    const struct api_resource *resource;
    struct informer *nodes;
    struct cloud_calls *calls;
    struct ip_prefix cidrs[CLUSTER_CIDRS_MAX];
    size_t n_cidrs;
};

static bool same_cidrs(const struct core_v1_node *x, const struct core_v1_node *y)
{
    bool same = x->spec.n_pod_cidrs == y->spec.n_pod_cidrs;
    for (size_t i = 0; same && i < x->spec.n_pod_cidrs; i++) {
        same = str_eq(x->spec.pod_cidrs[i], y->spec.pod_cidrs[i]);
    }
    return same;
}

static void on_node(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_node *before = old, *after = obj;
    if (!before || !after || !same_cidrs(before, after) ||
        !node_same_addresses(before->status.addresses, before->status.n_addresses, after->status.addresses, after->status.n_addresses)) {
        controller_enqueue(s->controller, KEY);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "metadata.deletionTimestamp", "spec.podCIDRs", "status.addresses", "status.conditions", NULL };
    struct state *s = calloc(1, sizeof(*s));
    struct str rest = cloud_settings.cluster_cidr, one;
    if (!s) {
        abort();
    }
    s->controller = c;
    s->resource = api_resource_find(STR(""), STR("v1"), STR("nodes"));
    while (rest.len && s->n_cidrs < CLUSTER_CIDRS_MAX && str_split(&rest, ',', &one)) {
        s->n_cidrs += ip_prefix_parse(str_trim(one), true, &s->cidrs[s->n_cidrs]);
    }
    const struct informer_spec spec = { .resource = s->resource, .fields = fields };
    s->nodes = informers_get(informers, &spec, on_node, s);
    s->calls = cloud_calls_new(c);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    cloud_calls_free(s->calls);
    free(s);
}

/* ---- one look ---- */

struct look {
    struct state *s;
    struct actions *a;
    const struct cloud_route_list *have;
    struct cloud_call **ended; /* dropped together, when none waits: until then they are found again */
    size_t n_ended, capacity;
    bool waits, failed; /* of any route */
};

static bool is_in_cluster(const struct state *s, struct str cidr)
{
    struct ip_prefix p;
    bool in = false;
    if (ip_prefix_parse(cidr, true, &p)) {
        for (size_t i = 0; i < s->n_cidrs; i++) {
            in = in || (ip_prefix_has(&s->cidrs[i], &p.net) && p.bits >= s->cidrs[i].bits);
        }
    }
    return in;
}

static bool has_address(const struct core_v1_node *n, struct str ip)
{
    for (size_t i = 0; i < n->status.n_addresses; i++) {
        if (str_eq(n->status.addresses[i].type, STR("InternalIP")) && str_eq(n->status.addresses[i].address, ip)) {
            return true;
        }
    }
    return false;
}

static bool leads_to(const struct cloud_route *r, const struct core_v1_node *n, struct str cidr)
{
    return str_eq(r->cidr, cidr) && !r->blackhole && (!r->node.len || str_eq(r->node, n->metadata.name)) &&
           (!r->via.len || has_address(n, r->via));
}

static bool is_other(const struct core_v1_node *n)
{
    return !cloud_settings.own_node.len || !str_eq(n->metadata.name, cloud_settings.own_node);
}

/* The call about one route, handed to the provider when it is new. */
static struct cloud_call *ask(struct look *l, const char *verb, struct str cidr, bool *ret_new)
{
    char room[128];
    snprintf(room, sizeof(room), "%s %.*s", verb, STR_ARG(cidr));
    return cloud_calls_ask(l->s->calls, room, KEY, 0, ret_new);
}

/* 1: done, 0: it waits, -1: it failed. */
static int settle(struct look *l, struct cloud_call *call, const char *what, struct str cidr)
{
    enum cloud_call_state st = call ? cloud_call_settle(call) : CLOUD_CALL_WAITS;
    if (st == CLOUD_CALL_WAITS) {
        l->waits = true;
        return 0;
    }
    if (l->n_ended == l->capacity) {
        size_t more = l->capacity ? l->capacity * 2 : 64;
        l->ended = arena_grow_n(act_arena(l->a), l->ended, l->n_ended, more, sizeof(*l->ended));
        l->capacity = more;
        if (!l->ended) {
            abort();
        }
    }
    l->ended[l->n_ended++] = call;
    if (st == CLOUD_CALL_FAILED) {
        act_fail(l->a, "route to %.*s: cannot %s: %s", STR_ARG(cidr), what, cloud_call_err(call)->msg);
        l->failed = true;
        return -1;
    }
    return 1;
}

/* What is there and leads to nobody's pods, or to the wrong node. */
static void remove_stale(struct look *l)
{
    const struct core_v1_node *n;
    for (size_t i = 0; i < l->have->n; i++) {
        const struct cloud_route *r = &l->have->items[i];
        bool keep = !is_in_cluster(l->s, r->cidr), is_new;
        for (size_t pos = 0; !keep && (n = informer_next(l->s->nodes, &pos));) {
            for (size_t k = 0; is_other(n) && k < n->spec.n_pod_cidrs; k++) {
                keep = keep || leads_to(r, n, n->spec.pod_cidrs[k]);
            }
        }
        if (keep) {
            continue;
        }
        struct cloud_call *call = ask(l, "remove", r->cidr, &is_new);
        if (call && is_new) {
            log_info("route to %.*s is removed: it is no node's any more", STR_ARG(r->cidr));
            cloud_settings.provider->routes->remove(cloud_settings.state, r, call);
        }
        (void)settle(l, call, "remove it", r->cidr);
    }
}

static bool is_there(const struct look *l, const struct core_v1_node *n, struct str cidr)
{
    for (size_t i = 0; i < l->have->n; i++) {
        if (leads_to(&l->have->items[i], n, cidr)) {
            return true;
        }
    }
    return false;
}

/* 1: the routes to the node's pods are there, 0: not yet, -1: they cannot be made. */
static int make_missing(struct look *l, const struct core_v1_node *n)
{
    int result = 1;
    for (size_t i = 0; i < n->spec.n_pod_cidrs; i++) {
        struct str cidr = n->spec.pod_cidrs[i];
        bool is_new;
        if (!is_in_cluster(l->s, cidr)) {
            act_fail(l->a, "the pods of node %.*s have addresses outside of --cluster-cidr: %.*s; they get no route",
                     STR_ARG(n->metadata.name), STR_ARG(cidr));
            l->failed = true;
            result = -1;
            continue;
        }
        if (is_there(l, n, cidr)) {
            continue;
        }
        struct cloud_call *call = ask(l, "create", cidr, &is_new);
        if (call && is_new) {
            log_info("route to %.*s by node %.*s", STR_ARG(cidr), STR_ARG(n->metadata.name));
            cloud_settings.provider->routes->create(cloud_settings.state, n, cidr, call);
        }
        result = MIN(result, settle(l, call, "make it", cidr));
    }
    return result;
}

static void set_condition(struct look *l, const struct core_v1_node *n, bool available)
{
    const struct core_v1_node_condition *c = node_condition(n, "NetworkUnavailable");
    const char *status = available ? "False" : "True", *reason = available ? "RouteCreated" : "NoRouteCreated";
    char now[CLOCK_RFC3339_SIZE], since[CLOCK_RFC3339_SIZE];
    if (c && str_eq_c(c->status, status) && str_eq_c(c->reason, reason)) {
        return;
    }
    clock_format_rfc3339(act_now(l->a), 0, 0, now);
    bool turned = !c || !str_eq_c(c->status, status) || !c->last_transition_time.set;
    if (!turned) {
        clock_format_rfc3339(c->last_transition_time.sec, 0, 0, since);
    }
    struct str patch = arena_printf(act_arena(l->a),
                                    "{\"status\":{\"conditions\":[{\"type\":\"NetworkUnavailable\",\"status\":\"%s\",\"reason\":\"%s\","
                                    "\"message\":\"RouteController %s\",\"lastHeartbeatTime\":\"%s\",\"lastTransitionTime\":\"%s\"}]}}",
                                    status, reason, available ? "created a route" : "failed to create a route", now, turned ? now : since);
    act_patch(l->a, l->s->resource, STR_NULL, n->metadata.name, "status", CLIENT_PATCH_STRATEGIC, patch);
}

static void look_at_all(struct look *l)
{
    const struct core_v1_node *n, *own = NULL;
    remove_stale(l);
    for (size_t pos = 0; (n = informer_next(l->s->nodes, &pos));) {
        if (!is_other(n)) {
            own = n;
            continue;
        }
        int made = n->spec.n_pod_cidrs ? make_missing(l, n) : 0;
        if (!cloud_settings.own_node.len && made) {
            set_condition(l, n, made > 0);
        }
    }
    if (own && !l->waits) {
        set_condition(l, own, !l->failed);
    }
    for (size_t i = 0; !l->waits && i < l->n_ended; i++) {
        cloud_calls_drop(l->ended[i]);
    }
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    bool is_new;
    (void)key;
    act_requeue_after(a, (uint64_t)cloud_settings.route_ms);
    struct cloud_call *call = cloud_calls_ask(s->calls, "list", KEY, 0, &is_new);
    if (!call) {
        return;
    }
    if (is_new) {
        cloud_settings.provider->routes->list(cloud_settings.state, call);
    }
    enum cloud_call_state st = cloud_call_settle(call);
    if (st == CLOUD_CALL_WAITS) {
        return;
    }
    if (st == CLOUD_CALL_FAILED) {
        act_fail(a, "routes cannot be listed: %s", cloud_call_err(call)->msg);
        cloud_calls_drop(call);
        return;
    }
    struct look l = { .s = s, .a = a, .have = cloud_call_answer(call) };
    look_at_all(&l);
    if (!l.waits) {
        cloud_calls_drop(call);
    }
}

const struct controller_ops cloud_route_controller = {
    .name = "node-route",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .concurrency = 1,
};
