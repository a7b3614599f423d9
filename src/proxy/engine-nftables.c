#include "proxy/engine.h"

#include <stdlib.h>

struct nftables {
    struct engine e; /* first */
    struct ruleset *rs[2];
    size_t n;
};

static struct nftables *of(struct engine *e)
{
    return (struct nftables *)e;
}

static size_t set_service(struct engine *e, struct str key, const struct core_v1_service *service,
                          const struct discovery_v1_endpoint_slice *const *slices, size_t n_slices)
{
    size_t refused = 0;
    for (size_t i = 0; i < of(e)->n; i++) {
        refused += ruleset_set_service(of(e)->rs[i], key, service, slices, n_slices);
    }
    return refused;
}

static bool set_zone(struct engine *e, struct str zone)
{
    bool another = false;
    for (size_t i = 0; i < of(e)->n; i++) {
        another = ruleset_set_zone(of(e)->rs[i], zone) || another;
    }
    return another;
}

static void take_waiting(struct engine *e, void (*fn)(void *data, struct str key), void *data)
{
    for (size_t i = 0; i < of(e)->n; i++) {
        ruleset_take_waiting(of(e)->rs[i], fn, data);
    }
}

static bool write(struct engine *e, struct nft_batch *x, bool all)
{
    bool any = false;
    for (size_t i = 0; i < of(e)->n; i++) {
        x->family = ruleset_family(of(e)->rs[i]);
        if (all) {
            nft_delete_table(x, false);
            ruleset_write_all(of(e)->rs[i], x);
            any = true;
        } else {
            any = ruleset_write_changes(of(e)->rs[i], x) || any;
        }
    }
    return any;
}

static bool take_udp_changed(struct engine *e)
{
    bool changed = false;
    for (size_t i = 0; i < of(e)->n; i++) {
        changed = ruleset_take_udp_changed(of(e)->rs[i]) || changed;
    }
    return changed;
}

static bool is_good(const struct engine *e, const struct conntrack_flow *f, bool is_local)
{
    const struct nftables *t = (const struct nftables *)e;
    struct proxy_endpoint endpoint = { .port = f->replier_port };
    struct proxy_addr to;
    bool rewritten = flow_is_rewritten(f, &to);
    memcpy(endpoint.addr.b, f->replier, sizeof(f->replier));
    for (size_t i = 0; i < t->n; i++) {
        if (ruleset_family(t->rs[i]) == f->family) {
            return ruleset_connection_is_good(t->rs[i], f->protocol, &to, f->destination_port, is_local,
                                              rewritten ? &endpoint : NULL);
        }
    }
    return true;
}

/* A Service of both families has its pods in both: the first ruleset that has it says how many. */
static bool next_health(const struct engine *e, size_t *pos, struct ruleset_health *ret)
{
    const struct nftables *t = (const struct nftables *)e;
    const size_t bits = 8 * sizeof(size_t) - 1, mask = ((size_t)1 << bits) - 1;
    for (size_t i = *pos >> bits; i < t->n; i++) {
        size_t at = *pos & mask;
        while (ruleset_next_health(t->rs[i], &at, ret)) {
            *pos = i << bits | at;
            if (i == 0 || !ruleset_has_health(t->rs[0], ret->key)) {
                return true;
            }
        }
        *pos = (i + 1) << bits;
    }
    return false;
}

static void stats(const struct engine *e, struct ruleset_stats *ret)
{
    const struct nftables *t = (const struct nftables *)e;
    struct ruleset_stats one;
    *ret = (struct ruleset_stats){ 0 };
    for (size_t i = 0; i < t->n; i++) {
        ruleset_stats(t->rs[i], &one);
        ret->services = MAX(ret->services, one.services);
        ret->service_ports += one.service_ports;
        ret->endpoints += one.endpoints;
        ret->elements += one.elements;
    }
}

static void free_engine(struct engine *e)
{
    for (size_t i = 0; i < of(e)->n; i++) {
        ruleset_free(of(e)->rs[i]);
    }
    free(e);
}

struct engine *engine_nftables_new(const struct proxy_table_config tables[2], struct str node)
{
    static const struct engine_ops ops = {
        .mode = "nftables",
        .set_service = set_service,
        .set_zone = set_zone,
        .take_waiting = take_waiting,
        .write = write,
        .take_udp_changed = take_udp_changed,
        .is_good = is_good,
        .next_health = next_health,
        .stats = stats,
        .free = free_engine,
    };
    struct nftables *t = calloc(1, sizeof(*t));
    if (!t) {
        abort();
    }
    t->e.ops = &ops;
    for (size_t i = 0; i < 2; i++) {
        if (tables[i].family) {
            struct ruleset_config config = { .table = tables[i], .node = node };
            t->rs[t->n++] = ruleset_new(&config);
        }
    }
    return &t->e;
}
