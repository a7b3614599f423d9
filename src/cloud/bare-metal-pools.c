/*
 * Load balancers of bare metal: an address of a pool for each family of the Service. What is given away is read back from the
 * Services' statuses, so nothing is kept elsewhere and nothing is given twice after a restart; an address that was chosen just now is
 * held until its status is seen.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cloud/bare-metal.h"
#include "client/meta.h"

#define KEY_SIZE 512

static struct str key_of(const struct core_v1_service *s, char room[KEY_SIZE])
{
    int n = snprintf(room, KEY_SIZE, "%.*s/%.*s", STR_ARG(s->metadata.namespace), STR_ARG(s->metadata.name));
    return str_n(room, MIN((size_t)n, (size_t)KEY_SIZE - 1));
}

/* ---- who has what ---- */

static bool holds(const struct core_v1_service *s, const struct ip *ip)
{
    for (size_t i = 0; s && str_eq(s->spec.type, STR("LoadBalancer")) && i < s->status.load_balancer.n_ingress; i++) {
        struct ip has;
        if (ip_parse(s->status.load_balancer.ingress[i].ip, &has) && ip_cmp(&has, ip) == 0) {
            return true;
        }
    }
    return false;
}

/* The "ns/name" that has it, or NULL. */
static const char *owner_of(const struct bare_metal *p, const struct ip *ip)
{
    char text[IP_TEXT_SIZE];
    return map_get(&p->used, ip_text(ip, text));
}

static void set_owner(struct bare_metal *p, const struct ip *ip, struct str key)
{
    char text[IP_TEXT_SIZE];
    if (!owner_of(p, ip)) {
        char *copy = strndup(key.ptr, key.len);
        if (!copy) {
            abort();
        }
        map_put(&p->used, ip_text(ip, text), copy);
    }
}

static void release(struct bare_metal *p, const struct ip *ip, struct str key)
{
    char text[IP_TEXT_SIZE], room[KEY_SIZE];
    const char *owner = owner_of(p, ip);
    const struct core_v1_service *s;
    if (!owner || !str_eq_c(key, owner)) {
        return;
    }
    free(map_remove(&p->used, ip_text(ip, text)));
    /* Another Service may say that it has it (somebody wrote its status): then it does, now. */
    for (size_t pos = 0; p->services && (s = informer_next(p->services, &pos));) {
        struct str other = key_of(s, room);
        if (holds(s, ip) && !str_eq(other, key)) {
            set_owner(p, ip, other);
            return;
        }
    }
}

void bare_metal_pools_see(void *data, const void *old, const void *obj)
{
    struct bare_metal *p = data;
    const struct core_v1_service *before = old, *after = obj;
    char room[KEY_SIZE];
    struct str key = key_of(after ? after : before, room);
    struct ip ip;
    for (size_t i = 0; before && i < before->status.load_balancer.n_ingress; i++) {
        if (ip_parse(before->status.load_balancer.ingress[i].ip, &ip) && holds(before, &ip) && !holds(after, &ip)) {
            release(p, &ip, key);
        }
    }
    for (size_t i = 0; after && i < after->status.load_balancer.n_ingress; i++) {
        if (ip_parse(after->status.load_balancer.ingress[i].ip, &ip) && holds(after, &ip)) {
            set_owner(p, &ip, key);
        }
    }
}

/* ---- choosing ---- */

struct choice {
    struct bare_metal *p;
    const struct core_v1_service *service;
    struct str key, pool; /* pool: named by the annotation; or absent */
    struct cloud_call *call;
};

static bool may_use(const struct choice *c, const struct bare_metal_pool *pool, bool asked_for)
{
    bool ns = !pool->n_namespaces;
    for (size_t i = 0; i < pool->n_namespaces; i++) {
        ns = ns || str_eq(pool->namespaces[i], c->service->metadata.namespace);
    }
    return ns && (c->pool.len ? str_eq(pool->name, c->pool) : asked_for || pool->auto_assign);
}

static bool is_free(const struct choice *c, const struct ip *ip)
{
    const char *owner = owner_of(c->p, ip);
    return !owner || str_eq_c(c->key, owner);
}

static bool first_free(const struct choice *c, int family, struct ip *ret)
{
    for (size_t i = 0; i < c->p->config.n_pools; i++) {
        const struct bare_metal_pool *pool = &c->p->config.pools[i];
        for (size_t k = 0; may_use(c, pool, false) && k < pool->n_ranges; k++) {
            struct ip at = pool->ranges[k].first;
            bool more = at.family == family;
            while (more && ip_cmp(&at, &pool->ranges[k].last) <= 0) {
                if (is_free(c, &at)) {
                    *ret = at;
                    return true;
                }
                more = ip_next(&at, &at);
            }
        }
    }
    return false;
}

/* The address of that family among those asked for: 1, 0 when none was, -1 when it cannot be had (the call has failed). */
static int requested(const struct choice *c, int family, struct ip *ret)
{
    struct str list = meta_annotation(&c->service->metadata, STR(BARE_METAL_IPS)), one;
    char text[IP_TEXT_SIZE];
    list = list.len ? list : c->service->spec.load_balancer_ip;
    while (list.len && str_split(&list, ',', &one)) {
        struct ip ip;
        if (!ip_parse(str_trim(one), &ip)) {
            cloud_call_failed(c->call, ERR_INVALID, "the requested \"%.*s\" is no IP address", STR_ARG(one));
            return -1;
        }
        if (ip.family != family) {
            continue;
        }
        const struct bare_metal_pool *pool = bare_metal_config_pool(&c->p->config, &ip);
        if (!pool || !may_use(c, pool, true)) {
            cloud_call_failed(c->call, ERR_INVALID, "the requested %s is in no pool that this Service may use", ip_text(&ip, text).ptr);
            return -1;
        }
        if (!is_free(c, &ip)) {
            cloud_call_failed(c->call, ERR_CONFLICT, "the requested %s is in use by Service %s", ip_text(&ip, text).ptr, owner_of(c->p, &ip));
            return -1;
        }
        *ret = ip;
        return 1;
    }
    return 0;
}

/* What it has already, when that may stay. */
static bool present(const struct choice *c, int family, struct ip *ret)
{
    for (size_t i = 0; i < c->service->status.load_balancer.n_ingress; i++) {
        struct ip ip;
        if (ip_parse(c->service->status.load_balancer.ingress[i].ip, &ip) && ip.family == family) {
            const struct bare_metal_pool *pool = bare_metal_config_pool(&c->p->config, &ip);
            if (pool && may_use(c, pool, true) && is_free(c, &ip)) {
                *ret = ip;
                return true;
            }
        }
    }
    return false;
}

/* As requested(); 0: the pools have none. */
static int choose(const struct choice *c, int family, struct ip *ret)
{
    int asked = requested(c, family, ret);
    return asked ? asked : present(c, family, ret) || first_free(c, family, ret);
}

static bool knows_pool(const struct bare_metal *p, struct str name)
{
    for (size_t i = 0; i < p->config.n_pools; i++) {
        if (str_eq(p->config.pools[i].name, name)) {
            return true;
        }
    }
    return false;
}

static void ensure(void *provider, const struct core_v1_service *service, const struct core_v1_node *const *nodes, size_t n_nodes,
                   struct cloud_call *call)
{
    struct arena *a = cloud_call_arena(call);
    char room[KEY_SIZE];
    struct choice c = { .p = provider, .service = service, .key = key_of(service, room), .call = call,
                        .pool = meta_annotation(&service->metadata, STR(BARE_METAL_POOL)) };
    struct ip chosen[2];
    size_t n = 0, n_families = MIN(service->spec.n_ip_families, (size_t)2);
    bool prefers = str_eq(service->spec.ip_family_policy, STR("PreferDualStack"));
    (void)nodes;
    (void)n_nodes;
    if (c.pool.len && !knows_pool(c.p, c.pool)) {
        cloud_call_failed(call, ERR_INVALID, "there is no pool \"%.*s\"", STR_ARG(c.pool));
        return;
    }
    for (size_t i = 0; i < MAX(n_families, (size_t)1); i++) {
        int family = n_families && str_eq(service->spec.ip_families[i], STR("IPv6")) ? 6 : 4;
        int got = choose(&c, family, &chosen[n]);
        if (got < 0) {
            return;
        }
        n += (size_t)got;
        if (!got && (!prefers || (i && !n))) {
            cloud_call_failed(call, ERR_UNAVAILABLE, "no IPv%d address is free in %s%.*s", family,
                              c.pool.len ? "pool " : "the pools that this Service may use", STR_ARG(c.pool));
            return;
        }
    }
    struct core_v1_load_balancer_status *st = arena_new(a, struct core_v1_load_balancer_status);
    struct core_v1_load_balancer_ingress *ingress = arena_new_n(a, struct core_v1_load_balancer_ingress, 2);
    if (!st || !ingress || !n) {
        cloud_call_failed(call, ERR_UNAVAILABLE, "no address is free");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char text[IP_TEXT_SIZE];
        set_owner(c.p, &chosen[i], c.key);
        ingress[i] = (struct core_v1_load_balancer_ingress){ .ip = arena_str(a, ip_text(&chosen[i], text)), .ip_mode = STR("VIP") };
    }
    *st = (struct core_v1_load_balancer_status){ .ingress = ingress, .n_ingress = n };
    cloud_call_done(call, st);
}

/* ---- the rest ---- */

static void get(void *provider, const struct core_v1_service *service, struct cloud_call *call)
{
    struct bare_metal *p = provider;
    char room[KEY_SIZE];
    struct str key = key_of(service, room), ip;
    void *owner;
    for (size_t pos = 0; map_next(&p->used, &pos, &ip, &owner);) {
        if (str_eq_c(key, owner)) {
            cloud_call_done(call, &service->status.load_balancer);
            return;
        }
    }
    cloud_call_failed(call, ERR_NOT_FOUND, "Service %.*s has no address", STR_ARG(key));
}

static void remove_addresses(void *provider, const struct core_v1_service *service, struct cloud_call *call)
{
    struct bare_metal *p = provider;
    char room[KEY_SIZE];
    struct str key = key_of(service, room), ip;
    void *owner;
    for (size_t pos = 0; map_next(&p->used, &pos, &ip, &owner);) {
        if (str_eq_c(key, owner)) {
            free(map_remove(&p->used, ip));
        }
    }
    cloud_call_done(call, NULL);
}

static struct str class_of(void *provider)
{
    const struct bare_metal *p = provider;
    return p->config.class;
}

const struct cloud_load_balancers bare_metal_load_balancers = {
    .class = class_of,
    .get = get,
    .ensure = ensure,
    .remove = remove_addresses,
};
