#include "apiserver/service-alloc.h"

#include <arpa/inet.h>

#include "api/gen/core_v1.h"
#include "apiserver/request.h"
#include "apiserver/service-claim.h"
#include "apiserver/verbs.h"
#include "base/log.h"
#include "base/rand.h"

enum { MAX_BITS = 20, MAX_HOLDS = 64 };

/* Numbers below 'size' that are taken. */
struct pool {
    uint8_t *bits;
    uint32_t size;
    uint32_t band; /* numbers below are given out by choice only when nothing above is free */
};

struct service_alloc {
    struct apiserver *srv;
    bool v6;
    uint8_t base[16]; /* of the range; IPv4 in the first four bytes */
    struct pool ips;  /* offsets into the range */
    struct pool ports;
    uint16_t port_first;
    char first_ip[INET6_ADDRSTRLEN];
    struct watcher *watcher;
    struct loop_task task;
    struct rest *rest;
    struct service_claims *claims;
};

/* What a request took; given back unless it was written. */
struct service_hold {
    struct {
        struct pool *pool;
        uint32_t n;
        bool any;         /* we chose it */
        bool claimed;     /* in the store, where others write too */
        int64_t revision; /* of an address's claim */
    } items[MAX_HOLDS];
    size_t n;
};

static bool pool_has(const struct pool *p, uint32_t n)
{
    return n < p->size && (p->bits[n / 8] >> (n % 8) & 1);
}

static void pool_set(struct pool *p, uint32_t n, bool on)
{
    if (n < p->size) {
        p->bits[n / 8] = (uint8_t)(on ? p->bits[n / 8] | 1u << (n % 8) : p->bits[n / 8] & ~(1u << (n % 8)));
    }
}

static void pool_init(struct pool *p, uint32_t size)
{
    p->size = size;
    p->bits = calloc(size / 8 + 1, 1);
    if (!p->bits) {
        abort();
    }
    /* Upstream's static band: a sixteenth of the range, between 16 and 256. */
    p->band = size / 16 < 16 ? 16 : size / 16 > 256 ? 256 : size / 16;
    if (size <= p->band) {
        p->band = 0;
    }
}

/* Any free number, from the upper band first; UINT32_MAX when all are taken. */
static uint32_t pool_take_any(struct pool *p)
{
    uint32_t upper = p->size - p->band, start = (uint32_t)rand_below(upper ? upper : 1);
    for (uint32_t i = 0; i < upper; i++) {
        uint32_t n = p->band + (start + i) % upper;
        if (!pool_has(p, n)) {
            pool_set(p, n, true);
            return n;
        }
    }
    for (uint32_t n = 0; n < p->band; n++) {
        if (!pool_has(p, n)) {
            pool_set(p, n, true);
            return n;
        }
    }
    return UINT32_MAX;
}

static bool parse_range(struct service_alloc *a, struct str text, struct err *err)
{
    struct str first, rest, ip, bits_text;
    char host[INET6_ADDRSTRLEN];
    uint64_t bits;
    if (!str_cut(text, ',', &first, &rest)) {
        first = text;
    }
    if (!str_cut(first, '/', &ip, &bits_text) || !str_to_cstr(ip, host, sizeof(host)) || !str_to_u64(bits_text, &bits)) {
        return err_set(err, ERR_INVALID, "--service-cluster-ip-range: \"%.*s\" is no CIDR", STR_ARG(text));
    }
    a->v6 = str_find_char(ip, ':') >= 0;
    unsigned width = a->v6 ? 128 : 32;
    if (inet_pton(a->v6 ? AF_INET6 : AF_INET, host, a->base) != 1 || bits > width - 2) {
        return err_set(err, ERR_INVALID, "--service-cluster-ip-range: \"%.*s\" is no CIDR", STR_ARG(text));
    }
    unsigned host_bits = width - (unsigned)bits > MAX_BITS ? MAX_BITS : width - (unsigned)bits;
    for (unsigned i = (unsigned)bits; i < width; i++) {
        a->base[i / 8] &= (uint8_t)~(0x80u >> (i % 8));
    }
    pool_init(&a->ips, 1u << host_bits);
    pool_set(&a->ips, 0, true); /* the network's own address */
    if (!a->v6) {
        pool_set(&a->ips, a->ips.size - 1, true); /* broadcast */
    }
    return true;
}

static bool parse_ports(struct service_alloc *a, struct str text, struct err *err)
{
    struct str from, to;
    uint64_t x, y;
    if (!str_cut(text, '-', &from, &to) || !str_to_u64(from, &x) || !str_to_u64(to, &y) || x == 0 || y > 65535 || x > y) {
        return err_set(err, ERR_INVALID, "--service-node-port-range: \"%.*s\" is no range of ports", STR_ARG(text));
    }
    a->port_first = (uint16_t)x;
    pool_init(&a->ports, (uint32_t)(y - x + 1));
    return true;
}

static struct str ip_text(const struct service_alloc *a, uint32_t n, char dst[INET6_ADDRSTRLEN])
{
    uint8_t ip[16];
    memcpy(ip, a->base, sizeof(ip));
    size_t last = a->v6 ? 15 : 3;
    for (size_t i = 0; i < 4; i++) {
        ip[last - i] = (uint8_t)(ip[last - i] | (n >> (8 * i) & 0xff));
    }
    return str_c(inet_ntop(a->v6 ? AF_INET6 : AF_INET, ip, dst, INET6_ADDRSTRLEN));
}

/* The offset of an address in the range; false when it is outside. */
static bool ip_offset(const struct service_alloc *a, struct str text, uint32_t *ret)
{
    char host[INET6_ADDRSTRLEN];
    uint8_t ip[16] = { 0 };
    if (!str_to_cstr(text, host, sizeof(host)) || inet_pton(a->v6 ? AF_INET6 : AF_INET, host, ip) != 1) {
        return false;
    }
    size_t last = a->v6 ? 15 : 3;
    uint32_t n = 0;
    for (size_t i = 0; i <= last; i++) {
        uint8_t diff = (uint8_t)(ip[i] ^ a->base[i]);
        if (i + 4 <= last && diff) {
            return false;
        }
        if (i + 4 > last) {
            n = n << 8 | diff;
        }
    }
    /* Bits of the base above the range's own must agree: they do when the difference is small enough. */
    *ret = n;
    return n < a->ips.size;
}

struct service_alloc *service_alloc_new(struct apiserver *s, struct err *err)
{
    struct service_alloc *a = calloc(1, sizeof(*a));
    if (!a) {
        abort();
    }
    a->srv = s;
    a->claims = service_claims_new(s);
    if (!parse_range(a, s->cfg.service_cluster_ip_range, err) || !parse_ports(a, s->cfg.service_node_port_range, err)) {
        return service_alloc_free(a);
    }
    (void)ip_text(a, 1, a->first_ip);
    pool_set(&a->ips, 1, true);
    return a;
}

struct service_alloc *service_alloc_free(struct service_alloc *a)
{
    if (a) {
        service_alloc_stop(a);
        service_claims_free(a->claims);
        free(a->ips.bits);
        free(a->ports.bits);
        free(a);
    }
    return NULL;
}

struct str service_alloc_first_ip(const struct service_alloc *a)
{
    return str_c(a->first_ip);
}

/* ---- following what is stored ---- */

static void note(struct service_alloc *a, const struct object *o, bool taken)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, 16u << 20);
    const struct core_v1_service *svc = rest_decode(a->rest, &arena, o);
    for (size_t i = 0; svc && i < svc->spec.n_cluster_ips; i++) {
        uint32_t n;
        if (ip_offset(a, svc->spec.cluster_ips[i], &n) && (taken || n != 1)) {
            pool_set(&a->ips, n, taken);
        }
    }
    for (size_t i = 0; svc && i < svc->spec.n_ports; i++) {
        int32_t port = svc->spec.ports[i].node_port;
        if (port >= a->port_first) {
            pool_set(&a->ports, (uint32_t)port - a->port_first, taken);
        }
    }
    if (svc && svc->spec.health_check_node_port >= a->port_first) {
        pool_set(&a->ports, (uint32_t)svc->spec.health_check_node_port - a->port_first, taken);
    }
}

static void pump(void *arg)
{
    struct service_alloc *a = arg;
    struct watch_item item;
    enum watch_got got;
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

static void ready(void *arg)
{
    struct service_alloc *a = arg;
    loop_task_defer(&a->task);
}

void service_alloc_start(struct service_alloc *a)
{
    struct watch_options opt = { .start = WATCH_FROM_NOW, .field = -1, .ready = ready, .arg = a };
    a->rest = registry_rest(a->srv, STR_EMPTY, STR("services"));
    loop_task_init(&a->task, a->srv->loop, pump, a);
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
    }
}

/* ---- giving out ---- */

static void hold(struct request *r, struct pool *pool, uint32_t n, bool any)
{
    struct service_hold *h = r->hold;
    if (!h) {
        h = r->hold = arena_new(&r->arena, struct service_hold);
    }
    if (h && h->n < MAX_HOLDS) {
        h->items[h->n].pool = pool;
        h->items[h->n].any = any;
        h->items[h->n].claimed = false;
        h->items[h->n++].n = n;
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
    if (!is_service(r) || r->srv->store->sole_writer || !old || r->opt.dry_run || r->unchanged || !r->new_pub ||
        r->result.status != STORE_OK || object_revision(r->new_pub) == 0 || (r->sub && !r->removing)) {
        return;
    }
    for (size_t i = 0; i < old->spec.n_cluster_ips; i++) {
        struct str ip = old->spec.cluster_ips[i];
        if (!str_eq_c(ip, "None") && !keeps_ip(now, ip)) {
            service_release_ip(a->claims, ip, old->metadata.namespace, old->metadata.name, 0);
        }
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

static void set_ip(struct request *r, struct core_v1_service *svc, struct str ip)
{
    struct str *list = arena_new(&r->arena, struct str);
    if (list) {
        *list = ip;
        svc->spec.cluster_ip = ip;
        svc->spec.cluster_ips = list;
        svc->spec.n_cluster_ips = 1;
    }
}

static void give_back(struct request *r, size_t i)
{
    struct service_alloc *a = r->srv->services;
    struct service_hold *h = r->hold;
    char text[INET6_ADDRSTRLEN];
    if (!h->items[i].claimed) {
        return;
    }
    if (h->items[i].pool == &a->ips) {
        service_release_ip(a->claims, ip_text(a, h->items[i].n, text), STR_EMPTY, STR_EMPTY, h->items[i].revision);
    } else {
        service_release_port(a->claims, a->port_first + h->items[i].n);
    }
}

/* Somebody else has it. What we had chosen is chosen anew; false when there is nothing to choose. It stays marked as taken. */
static bool choose_anew(struct request *r, size_t i)
{
    struct service_alloc *a = r->srv->services;
    struct core_v1_service *svc = r->obj;
    struct service_hold *h = r->hold;
    char text[INET6_ADDRSTRLEN];
    int32_t old = (int32_t)(a->port_first + h->items[i].n);
    uint32_t n = h->items[i].any ? pool_take_any(h->items[i].pool) : UINT32_MAX;
    if (n == UINT32_MAX) {
        h->items[i] = h->items[--h->n];
        return false;
    }
    h->items[i].n = n;
    if (h->items[i].pool == &a->ips) {
        set_ip(r, svc, arena_str(&r->arena, ip_text(a, n, text)));
        return true;
    }
    int32_t port = (int32_t)(a->port_first + n);
    for (size_t k = 0; k < svc->spec.n_ports; k++) {
        svc->spec.ports[k].node_port = svc->spec.ports[k].node_port == old ? port : svc->spec.ports[k].node_port;
    }
    svc->spec.health_check_node_port = svc->spec.health_check_node_port == old ? port : svc->spec.health_check_node_port;
    return true;
}

static void on_claimed(void *arg, enum store_status status, int64_t revision)
{
    struct request *r = arg;
    struct service_hold *h = r->hold;
    size_t i = 0;
    r->pending--;
    while (i < h->n && h->items[i].claimed) {
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
    if (!h || r->opt.dry_run || r->srv->store->sole_writer) {
        return STAGE_DONE;
    }
    const struct core_v1_service *svc = r->obj;
    for (size_t i = 0; i < h->n; i++) {
        if (h->items[i].claimed) {
            continue;
        }
        r->pending++;
        if (h->items[i].pool == &a->ips) {
            service_claim_ip(a->claims, ip_text(a, h->items[i].n, text), svc->metadata.namespace, svc->metadata.name, on_claimed, r);
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
        pool_set(h->items[i].pool, h->items[i].n, false);
        give_back(r, i);
    }
    release_old(r);
    r->hold = NULL;
}

static bool is_headless(const struct core_v1_service *svc)
{
    return str_eq_c(svc->spec.cluster_ip, "None");
}

static struct str list_json(struct arena *a, const struct str *items, size_t n)
{
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < n; i++) {
        list = arena_printf(a, "%.*s%s\"%.*s\"", STR_ARG(list), i ? "," : "", STR_ARG(items[i]));
    }
    return arena_printf(a, "[%.*s]", STR_ARG(list));
}

static void assign_ip(struct request *r, struct core_v1_service *svc, const struct core_v1_service *old)
{
    struct service_alloc *a = r->srv->services;
    char text[INET6_ADDRSTRLEN];
    uint32_t n;
    if (str_eq_c(svc->spec.type, "ExternalName") || is_headless(svc)) {
        return;
    }
    if (str_empty(svc->spec.cluster_ip)) {
        n = pool_take_any(&a->ips);
        if (n == UINT32_MAX) {
            field_internal(&r->errs, STR("spec.clusterIPs"), "failed to allocate an IP: range is full");
            return;
        }
        hold(r, &a->ips, n, true);
        set_ip(r, svc, arena_str(&r->arena, ip_text(a, n, text)));
        return;
    }
    if (old && str_eq(old->spec.cluster_ip, svc->spec.cluster_ip)) {
        return;
    }
    struct str ip = svc->spec.cluster_ip, list = list_json(&r->arena, svc->spec.cluster_ips, svc->spec.n_cluster_ips);
    if (!ip_offset(a, ip, &n)) {
        field_invalid_json(&r->errs, STR("spec.clusterIPs"), list,
                           "failed to allocate IP %.*s: the provided network does not match the current range", STR_ARG(ip));
    } else if (pool_has(&a->ips, n)) {
        field_invalid_json(&r->errs, STR("spec.clusterIPs"), list, "failed to allocate IP %.*s: provided IP is already allocated",
                           STR_ARG(ip));
    } else {
        pool_set(&a->ips, n, true);
        hold(r, &a->ips, n, false);
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
        uint32_t n = any ? pool_take_any(&a->ports) : UINT32_MAX;
        if (any && n == UINT32_MAX) {
            field_internal(&r->errs, path, "failed to allocate a nodePort: range is full");
        } else if (any) {
            hold(r, &a->ports, n, true);
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
    if (pool_has(&a->ports, n)) {
        field_invalid_int(&r->errs, path, *port, "provided port is already allocated");
        return;
    }
    pool_set(&a->ports, n, true);
    hold(r, &a->ports, n, false);
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
    assign_ip(r, svc, old);
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
