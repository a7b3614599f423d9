#include "apiserver/service-alloc.h"

#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "api/gen/networking_v1.h"
#include "apiserver/request.h"
#include "apiserver/service-claim.h"
#include "apiserver/service-range.h"
#include "apiserver/verbs.h"
#include "base/log.h"
#include "kinds/core/service-families.h"

enum { MAX_HOLDS = 64, MAX_FLAG_RANGES = 2 };

struct service_alloc {
    struct apiserver *srv;
    struct list ranges; /* struct service_range; those of the flag first */
    struct service_pool ports;
    uint16_t port_first;
    char first_ip[INET6_ADDRSTRLEN];
    struct service_ip own; /* the kubernetes Service's */
    bool families[2];      /* IPv4, IPv6 */
    struct watcher *watcher, *cidr_watcher;
    struct loop_task task;
    struct rest *rest, *cidrs;
    struct service_claims *claims;
};

/* What a request took; given back unless it was written. */
struct service_hold {
    struct {
        bool port;            /* else an address */
        uint32_t n;           /* of the port's pool */
        struct service_ip ip;
        bool any;             /* we chose it */
        bool claimed;         /* in the store, where others write too */
        int64_t revision;     /* of an address's claim */
    } items[MAX_HOLDS];
    size_t n;
};

static bool parse_ranges(struct service_alloc *a, struct str text, struct err *err)
{
    struct str rest = text, cidr;
    for (size_t i = 0; str_split(&rest, ',', &cidr); i++) {
        struct service_range *r = i < MAX_FLAG_RANGES ? service_range_new(cidr, err) : NULL;
        if (!r) {
            return err_set(err, ERR_INVALID, i < MAX_FLAG_RANGES ? "--service-cluster-ip-range: \"%.*s\" is no CIDR"
                                                                 : "--service-cluster-ip-range: \"%.*s\" has more than two ranges",
                           STR_ARG(text));
        }
        list_push_back(&a->ranges, &r->link);
        r->flag = r->open = true;
        if (a->families[r->base.v6]) {
            return err_set(err, ERR_INVALID, "--service-cluster-ip-range: \"%.*s\": two ranges must be of IPv4 and IPv6, in either order",
                           STR_ARG(text));
        }
        a->families[r->base.v6] = true;
    }
    return !list_empty(&a->ranges) || err_set(err, ERR_INVALID, "--service-cluster-ip-range: \"\" is no CIDR");
}

static bool parse_ports(struct service_alloc *a, struct str text, struct err *err)
{
    struct str from, to;
    uint64_t x, y;
    if (!str_cut(text, '-', &from, &to) || !str_to_u64(from, &x) || !str_to_u64(to, &y) || x == 0 || y > 65535 || x > y) {
        return err_set(err, ERR_INVALID, "--service-node-port-range: \"%.*s\" is no range of ports", STR_ARG(text));
    }
    a->port_first = (uint16_t)x;
    service_pool_init(&a->ports, (uint32_t)(y - x + 1));
    return true;
}

struct service_alloc *service_alloc_new(struct apiserver *s, struct err *err)
{
    struct service_alloc *a = calloc(1, sizeof(*a));
    if (!a) {
        abort();
    }
    a->srv = s;
    list_init(&a->ranges);
    a->claims = service_claims_new(s);
    if (!parse_ranges(a, s->cfg.service_cluster_ip_range, err) || !parse_ports(a, s->cfg.service_node_port_range, err)) {
        return service_alloc_free(a);
    }
    a->own = LIST_ENTRY(a->ranges.next, struct service_range, link)->base;
    a->own.bytes[a->own.v6 ? 15 : 3] |= 1;
    (void)service_ip_text(&a->own, a->first_ip);
    service_ranges_mark(&a->ranges, &a->own, true);
    return a;
}

struct service_alloc *service_alloc_free(struct service_alloc *a)
{
    if (a) {
        service_alloc_stop(a);
        service_claims_free(a->claims);
        while (!list_empty(&a->ranges)) {
            (void)service_range_free(LIST_ENTRY(list_pop_front(&a->ranges), struct service_range, link));
        }
        free(a->ports.bits);
        free(a);
    }
    return NULL;
}

struct str service_alloc_first_ip(const struct service_alloc *a)
{
    return str_c(a->first_ip);
}

bool service_alloc_has_family(const struct service_alloc *a, bool v6)
{
    return a->families[v6];
}

/* ---- following what is stored ---- */

static bool is_own(const struct service_alloc *a, const struct service_ip *ip)
{
    return ip->v6 == a->own.v6 && memcmp(ip->bytes, a->own.bytes, sizeof(ip->bytes)) == 0;
}

static void note(struct service_alloc *a, const struct object *o, bool taken)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, 16u << 20);
    const struct core_v1_service *svc = rest_decode(a->rest, &arena, o);
    for (size_t i = 0; svc && i < svc->spec.n_cluster_ips; i++) {
        struct service_ip ip;
        if (service_ip_parse(svc->spec.cluster_ips[i], &ip) && (taken || !is_own(a, &ip))) {
            service_ranges_mark(&a->ranges, &ip, taken);
        }
    }
    for (size_t i = 0; svc && i < svc->spec.n_ports; i++) {
        int32_t port = svc->spec.ports[i].node_port;
        if (port >= a->port_first) {
            service_pool_set(&a->ports, (uint32_t)port - a->port_first, taken);
        }
    }
    if (svc && svc->spec.health_check_node_port >= a->port_first) {
        service_pool_set(&a->ports, (uint32_t)svc->spec.health_check_node_port - a->port_first, taken);
    }
}

static void ready(void *arg)
{
    struct service_alloc *a = arg;
    loop_task_defer(&a->task);
}

static bool is_ready(const struct networking_v1_service_cidr *c)
{
    for (size_t i = 0; i < c->status.n_conditions; i++) {
        if (str_eq_c(c->status.conditions[i].type, "Ready")) {
            return str_eq_c(c->status.conditions[i].status, "True") && !c->metadata.deletion_timestamp.set;
        }
    }
    return !c->metadata.deletion_timestamp.set; /* nobody has looked at it yet */
}

static struct service_range *range_of(struct service_alloc *a, struct str cidr)
{
    LIST_FOREACH(&a->ranges, struct service_range, link, r) {
        if (service_range_is(r, cidr)) {
            return r;
        }
    }
    return NULL;
}

/* What the Services have of a range that is new. */
static void note_all(struct service_alloc *a)
{
    struct snapshot *s = watch_cache_snapshot(a->rest->cache);
    struct snapshot_iter it;
    const struct object *o;
    snapshot_iter_init(&it, s, STR_EMPTY, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        note(a, o, true);
    }
    (void)snapshot_unref(s);
    service_ranges_mark(&a->ranges, &a->own, true);
}

static bool look_at_cidr(struct service_alloc *a, const struct networking_v1_service_cidr *c)
{
    bool added = false;
    for (size_t i = 0; i < c->spec.n_cidrs; i++) {
        struct service_range *r = range_of(a, c->spec.cidrs[i]);
        struct err err = { 0 };
        if (!r && (r = service_range_new(c->spec.cidrs[i], &err))) {
            list_push_back(&a->ranges, &r->link);
            added = true;
        } else if (!r) {
            log_warning("apiserver: the ServiceCIDR %.*s: %s", STR_ARG(c->metadata.name), err.msg);
            continue;
        }
        r->open |= is_ready(c);
        r->seen = true;
    }
    return added;
}

/* The ranges as the ServiceCIDRs have them now: they are few and change seldom. */
static void sync_cidrs(struct service_alloc *a)
{
    CLEANUP(arena_deinit) struct arena arena;
    bool added = false;
    struct snapshot *s = watch_cache_snapshot(a->cidrs->cache);
    struct snapshot_iter it;
    const struct object *o;
    arena_init(&arena, 16u << 20);
    LIST_FOREACH(&a->ranges, struct service_range, link, r) {
        r->seen = r->open = r->flag;
    }
    snapshot_iter_init(&it, s, STR_EMPTY, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        const struct networking_v1_service_cidr *c = rest_decode(a->cidrs, &arena, o);
        added |= c && look_at_cidr(a, c);
    }
    (void)snapshot_unref(s);
    for (struct list *at = a->ranges.next, *next; at != &a->ranges; at = next) {
        struct service_range *r = LIST_ENTRY(at, struct service_range, link);
        next = at->next;
        if (!r->seen) {
            list_remove(&r->link);
            (void)service_range_free(r);
        }
    }
    if (added) {
        note_all(a);
    }
}

static void pump_cidrs(struct service_alloc *a)
{
    struct watch_item item;
    enum watch_got got;
    bool changed = false;
    while (a->cidr_watcher && (got = watch_next(a->cidr_watcher, &item)) != WATCH_GOT_NOTHING) {
        if (got == WATCH_GOT_EXPIRED) {
            a->cidr_watcher = watcher_free(a->cidr_watcher);
            struct watch_options opt = { .start = WATCH_FROM_NOW, .field = -1, .ready = ready, .arg = a };
            if (watcher_new(a->cidrs->cache, &opt, &a->cidr_watcher) != STORE_OK) {
                log_error("apiserver: ServiceCIDRs cannot be followed any more");
            }
        }
        changed = true;
    }
    if (changed) {
        sync_cidrs(a);
    }
}

static void pump(void *arg)
{
    struct service_alloc *a = arg;
    struct watch_item item;
    enum watch_got got;
    pump_cidrs(a);
    while ((got = watch_next(a->watcher, &item)) != WATCH_GOT_NOTHING) {
        if (got == WATCH_GOT_EXPIRED) {
            log_warning("apiserver: the service allocator fell behind and starts again");
            service_alloc_stop(a);
            service_alloc_start(a);
            return;
        }
        if (got != WATCH_GOT_ITEM || !item.object) {
            continue;
        }
        if (item.type == WATCH_DELETED) {
            note(a, item.object, false);
        } else {
            if (item.old && item.type == WATCH_MODIFIED) {
                note(a, item.old, false);
            }
            note(a, item.object, true);
        }
    }
}

void service_alloc_start(struct service_alloc *a)
{
    struct watch_options opt = { .start = WATCH_FROM_NOW, .field = -1, .ready = ready, .arg = a };
    a->rest = registry_rest(a->srv, STR_EMPTY, STR("services"));
    a->cidrs = registry_rest(a->srv, STR("networking.k8s.io"), STR("servicecidrs"));
    loop_task_init(&a->task, a->srv->loop, pump, a);
    if (a->cidrs && watcher_new(a->cidrs->cache, &opt, &a->cidr_watcher) == STORE_OK) {
        sync_cidrs(a);
    }
    if (watcher_new(a->rest->cache, &opt, &a->watcher) == STORE_OK) {
        pump(a);
    }
    service_claims_start(a->claims);
}

void service_alloc_end(struct service_alloc *a)
{
    service_alloc_stop(a);
    service_claims_stop(a->claims);
}

void service_alloc_stop(struct service_alloc *a)
{
    if (a && a->watcher) {
        loop_task_cancel(&a->task);
        a->watcher = watcher_free(a->watcher);
        a->cidr_watcher = watcher_free(a->cidr_watcher);
    }
}

/* ---- giving out ---- */

static void hold(struct request *r, bool port, uint32_t n, const struct service_ip *ip, bool any)
{
    struct service_hold *h = r->hold;
    if (!h) {
        h = r->hold = arena_new(&r->arena, struct service_hold);
    }
    if (h && h->n < MAX_HOLDS) {
        h->items[h->n].port = port;
        h->items[h->n].n = n;
        h->items[h->n].ip = ip ? *ip : (struct service_ip){ 0 };
        h->items[h->n].any = any;
        h->items[h->n++].claimed = false;
    }
}

static bool had_port(const struct core_v1_service *old, int32_t port)
{
    for (size_t i = 0; old && i < old->spec.n_ports; i++) {
        if (old->spec.ports[i].node_port == port) {
            return true;
        }
    }
    return old && old->spec.health_check_node_port == port;
}

static bool is_service(const struct request *r)
{
    return r->rest && str_eq_c(r->rest->hub->resource, "services") && str_empty(r->rest->hub->group);
}

static bool keeps_ip(const struct core_v1_service *svc, struct str ip)
{
    for (size_t i = 0; svc && i < svc->spec.n_cluster_ips; i++) {
        if (str_eq(svc->spec.cluster_ips[i], ip)) {
            return true;
        }
    }
    return false;
}

/* Claims of a Service that was deleted, or that has changed, are given back. */
static void release_old(struct request *r)
{
    struct service_alloc *a = r->srv->services;
    const struct core_v1_service *old = r->old, *now = r->removing ? NULL : r->obj;
    if (!is_service(r) || !old || r->opt.dry_run || r->unchanged || !r->new_pub ||
        r->result.status != STORE_OK || object_revision(r->new_pub) == 0 || (r->sub && !r->removing)) {
        return;
    }
    for (size_t i = 0; i < old->spec.n_cluster_ips; i++) {
        struct str ip = old->spec.cluster_ips[i];
        if (!str_eq_c(ip, "None") && !keeps_ip(now, ip)) {
            service_release_ip(a->claims, ip, old->metadata.namespace, old->metadata.name, 0);
        }
    }
    if (r->srv->store->sole_writer) {
        return; /* node ports are claimed where others write */
    }
    for (size_t i = 0; i < old->spec.n_ports; i++) {
        int32_t port = old->spec.ports[i].node_port;
        if (port > 0 && !had_port(now, port)) {
            service_release_port(a->claims, (uint32_t)port);
        }
    }
    if (old->spec.health_check_node_port > 0 && !had_port(now, old->spec.health_check_node_port)) {
        service_release_port(a->claims, (uint32_t)old->spec.health_check_node_port);
    }
}

/* ---- claiming, where other servers give out too ---- */

/* The address that stood for the family, or none, is replaced. */
static void set_ip(struct request *r, struct core_v1_service *svc, size_t at, struct str ip)
{
    size_t n = at < svc->spec.n_cluster_ips ? svc->spec.n_cluster_ips : at + 1;
    struct str *list = arena_new_n(&r->arena, struct str, n);
    if (!list) {
        return;
    }
    for (size_t i = 0; i < svc->spec.n_cluster_ips; i++) {
        list[i] = svc->spec.cluster_ips[i];
    }
    list[at] = ip;
    svc->spec.cluster_ips = list;
    svc->spec.n_cluster_ips = n;
    svc->spec.cluster_ip = list[0];
}

static void give_back(struct request *r, size_t i)
{
    struct service_alloc *a = r->srv->services;
    struct service_hold *h = r->hold;
    char text[INET6_ADDRSTRLEN];
    if (h->items[i].port) {
        service_pool_set(&a->ports, h->items[i].n, false);
    } else {
        service_ranges_mark(&a->ranges, &h->items[i].ip, false);
    }
    if (!h->items[i].claimed) {
        return;
    }
    if (h->items[i].port) {
        service_release_port(a->claims, a->port_first + h->items[i].n);
    } else {
        service_release_ip(a->claims, service_ip_text(&h->items[i].ip, text), STR_EMPTY, STR_EMPTY, h->items[i].revision);
    }
}

static bool choose_ip(struct request *r, size_t i)
{
    struct service_alloc *a = r->srv->services;
    struct core_v1_service *svc = r->obj;
    struct service_hold *h = r->hold;
    struct service_ip ip;
    char text[INET6_ADDRSTRLEN];
    struct str old = arena_str(&r->arena, service_ip_text(&h->items[i].ip, text));
    if (!service_ranges_take_any(&a->ranges, h->items[i].ip.v6, &ip)) {
        return false;
    }
    h->items[i].ip = ip;
    for (size_t k = 0; k < svc->spec.n_cluster_ips; k++) {
        if (str_eq(svc->spec.cluster_ips[k], old)) {
            set_ip(r, svc, k, arena_str(&r->arena, service_ip_text(&ip, text)));
        }
    }
    return true;
}

static bool choose_port(struct request *r, size_t i)
{
    struct service_alloc *a = r->srv->services;
    struct core_v1_service *svc = r->obj;
    struct service_hold *h = r->hold;
    int32_t old = (int32_t)(a->port_first + h->items[i].n);
    uint32_t n = service_pool_take_any(&a->ports);
    if (n == UINT32_MAX) {
        return false;
    }
    h->items[i].n = n;
    int32_t port = (int32_t)(a->port_first + n);
    for (size_t k = 0; k < svc->spec.n_ports; k++) {
        svc->spec.ports[k].node_port = svc->spec.ports[k].node_port == old ? port : svc->spec.ports[k].node_port;
    }
    svc->spec.health_check_node_port = svc->spec.health_check_node_port == old ? port : svc->spec.health_check_node_port;
    return true;
}

/* Somebody else has it. What we had chosen is chosen anew; false when there is nothing to choose. It stays marked as taken. */
static bool choose_anew(struct request *r, size_t i)
{
    struct service_hold *h = r->hold;
    if (h->items[i].any && (h->items[i].port ? choose_port(r, i) : choose_ip(r, i))) {
        return true;
    }
    h->items[i] = h->items[--h->n];
    return false;
}

static void on_claimed(void *arg, enum store_status status, int64_t revision)
{
    struct request *r = arg;
    struct service_hold *h = r->hold;
    size_t i = 0;
    r->pending--;
    while (i < h->n && (h->items[i].claimed || (h->items[i].port && r->srv->store->sole_writer))) {
        i++;
    }
    if (status == STORE_OK) {
        h->items[i].claimed = true;
        h->items[i].revision = revision;
    }
    if (r->cancelled) {
        r->waiting = false;
        r->ended = true;
        request_finish(r);
    } else if (status == STORE_OK) {
        request_again(r);
    } else if (status == STORE_E_CONFLICT) {
        if (!choose_anew(r, i)) {
            request_goto(r, stage_allocate); /* which says what cannot be had */
        }
        request_again(r);
    } else {
        status_store_failed(&r->status, status);
        request_resume(r, STAGE_ERROR);
    }
}

/* One after the other, addresses first. */
enum stage_result stage_claim(struct request *r)
{
    struct service_alloc *a = r->srv->services;
    struct service_hold *h = r->hold;
    char text[INET6_ADDRSTRLEN];
    if (!h || r->opt.dry_run) {
        return STAGE_DONE;
    }
    const struct core_v1_service *svc = r->obj;
    for (size_t i = 0; i < h->n; i++) {
        if (h->items[i].claimed || (h->items[i].port && r->srv->store->sole_writer)) {
            continue;
        }
        r->pending++;
        if (!h->items[i].port) {
            service_claim_ip(a->claims, service_ip_text(&h->items[i].ip, text), svc->metadata.namespace, svc->metadata.name, on_claimed, r);
        } else {
            service_claim_port(a->claims, a->port_first + h->items[i].n, on_claimed, r);
        }
        return STAGE_WAIT;
    }
    return STAGE_DONE;
}

void service_alloc_settle(struct request *r)
{
    struct service_hold *h = r->hold;
    bool written = r->new_pub && r->result.status == STORE_OK && !r->opt.dry_run && !r->removing &&
                   object_revision(r->new_pub) > 0;
    for (size_t i = 0; h && !written && i < h->n; i++) {
        give_back(r, i);
    }
    release_old(r);
    r->hold = NULL;
}

static bool is_headless(const struct core_v1_service *svc)
{
    return str_eq_c(svc->spec.cluster_ip, "None");
}

/* Of the address that stands at 'at', or of none yet. */
static void assign_one(struct request *r, struct core_v1_service *svc, const struct core_v1_service *old, size_t at)
{
    struct service_alloc *a = r->srv->services;
    char text[INET6_ADDRSTRLEN];
    struct service_ip ip;
    if (at >= svc->spec.n_cluster_ips || str_empty(svc->spec.cluster_ips[at])) {
        if (!service_ranges_take_any(&a->ranges, str_eq_c(svc->spec.ip_families[at], "IPv6"), &ip)) {
            field_internal(&r->errs, STR("spec.clusterIPs"), "failed to allocate an IP: range is full");
            return;
        }
        hold(r, false, 0, &ip, true);
        set_ip(r, svc, at, arena_str(&r->arena, service_ip_text(&ip, text)));
        return;
    }
    struct str given = svc->spec.cluster_ips[at];
    if (keeps_ip(old, given)) {
        return;
    }
    struct str list = service_list_json(&r->arena, svc->spec.cluster_ips, svc->spec.n_cluster_ips);
    if (!service_ip_parse(given, &ip) || !service_ranges_hold(&a->ranges, &ip)) {
        field_invalid_json(&r->errs, STR("spec.clusterIPs"), list,
                           "failed to allocate IP %.*s: the provided network does not match the current range", STR_ARG(given));
    } else if (service_ranges_taken(&a->ranges, &ip)) {
        field_invalid_json(&r->errs, STR("spec.clusterIPs"), list, "failed to allocate IP %.*s: provided IP is already allocated",
                           STR_ARG(given));
    } else {
        service_ranges_mark(&a->ranges, &ip, true);
        hold(r, false, 0, &ip, false);
    }
}

/* Those that were asked for before any is chosen: a choice could take what was asked for. */
static void assign_ips(struct request *r, struct core_v1_service *svc, const struct core_v1_service *old)
{
    if (str_eq_c(svc->spec.type, "ExternalName") || is_headless(svc)) {
        return;
    }
    size_t asked = svc->spec.n_cluster_ips;
    for (size_t i = 0; i < asked; i++) {
        assign_one(r, svc, old, i);
    }
    for (size_t i = asked; r->errs.n == 0 && i < svc->spec.n_ip_families; i++) {
        assign_one(r, svc, old, i);
    }
}

static bool wants_ports(const struct core_v1_service *svc)
{
    if (str_eq_c(svc->spec.type, "NodePort")) {
        return true;
    }
    return str_eq_c(svc->spec.type, "LoadBalancer") &&
           (!svc->spec.has_allocate_load_balancer_node_ports || svc->spec.allocate_load_balancer_node_ports);
}

static void take_port(struct request *r, struct str path, int32_t *port, const struct core_v1_service *old, bool any)
{
    struct service_alloc *a = r->srv->services;
    if (*port == 0) {
        uint32_t n = any ? service_pool_take_any(&a->ports) : UINT32_MAX;
        if (any && n == UINT32_MAX) {
            field_internal(&r->errs, path, "failed to allocate a nodePort: range is full");
        } else if (any) {
            hold(r, true, n, NULL, true);
            *port = (int32_t)(a->port_first + n);
        }
        return;
    }
    if (had_port(old, *port)) {
        return;
    }
    if (*port < a->port_first || (uint32_t)*port - a->port_first >= a->ports.size) {
        field_invalid_int(&r->errs, path, *port, "provided port is not in the valid range. The range of valid ports is %u-%u",
                          a->port_first, a->port_first + a->ports.size - 1);
        return;
    }
    uint32_t n = (uint32_t)*port - a->port_first;
    if (service_pool_has(&a->ports, n)) {
        field_invalid_int(&r->errs, path, *port, "provided port is already allocated");
        return;
    }
    service_pool_set(&a->ports, n, true);
    hold(r, true, n, NULL, false);
}

/* A port of the same number and another protocol shares its node port. */
static int32_t sibling_port(const struct core_v1_service *svc, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        const struct core_v1_service_port *p = &svc->spec.ports[i], *q = &svc->spec.ports[at];
        if (p->port == q->port && !str_eq(p->protocol, q->protocol) && (q->node_port == 0 || p->node_port == q->node_port)) {
            return p->node_port;
        }
    }
    return 0;
}

static void assign_ports(struct request *r, struct core_v1_service *svc, const struct core_v1_service *old)
{
    bool wants = wants_ports(svc);
    if (!wants && !str_eq_c(svc->spec.type, "LoadBalancer")) {
        return;
    }
    for (size_t i = 0; i < svc->spec.n_ports; i++) {
        int32_t shared = sibling_port(svc, i);
        if (shared) {
            svc->spec.ports[i].node_port = shared;
            continue;
        }
        take_port(r, field_path(&r->arena, "spec.ports[%zu].nodePort", i), &svc->spec.ports[i].node_port, old, wants);
    }
    bool health = str_eq_c(svc->spec.type, "LoadBalancer") && str_eq_c(svc->spec.external_traffic_policy, "Local");
    if (health) {
        take_port(r, STR("spec.healthCheckNodePort"), &svc->spec.health_check_node_port, old, true);
    }
}

void service_alloc_assign(struct request *r, struct core_v1_service *svc, const struct core_v1_service *old)
{
    assign_ips(r, svc, old);
    assign_ports(r, svc, old);
}

enum stage_result stage_allocate(struct request *r)
{
    if (r->sub || !str_eq_c(r->rest->hub->resource, "services") || !str_empty(r->rest->hub->group)) {
        return STAGE_DONE;
    }
    service_alloc_settle(r); /* of an earlier try */
    struct core_v1_service *svc = r->obj;
    service_alloc_assign(r, svc, r->creating ? NULL : r->old);
    return r->errs.n > 0 ? request_invalid(r, svc->metadata.name) : STAGE_DONE;
}
