#include "proxy/ruleset-private.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>

#define DATA_MAX 20 /* an IPv6 address and a port */
#define SHARED_MAX 100 /* three kinds, of 32 classes at most */

static bool list_differs(const struct list_state *l)
{
    return l->want.n != l->has.n || l->want.seconds != l->has.seconds ||
           (l->want.n && memcmp(l->want.endpoints, l->has.endpoints,
                                l->want.n * sizeof(*l->want.endpoints)) != 0);
}

static void write_wanted_lists(struct ruleset *rs, struct nft_batch *x)
{
    for (struct state *q = rs->list_queue; q; q = q->next) {
        struct list_state *l = (struct list_state *)q;
        if (q->wanted && (!q->applied || list_differs(l))) {
            proxy_table_change_list(x, q->applied ? &l->has : NULL, &l->want);
            struct proxy_endpoint *copy = rules_alloc(l->want.n * sizeof(*copy));
            memcpy(copy, l->want.endpoints, l->want.n * sizeof(*copy));
            free((void *)(uintptr_t)l->has.endpoints);
            l->has = l->want;
            l->has.endpoints = copy;
            q->applied = true;
        }
    }
}

static void delete_unwanted_lists(struct ruleset *rs, struct nft_batch *x)
{
    for (struct state *q = rs->list_queue, *next; q; q = next) {
        struct list_state *l = (struct list_state *)q;
        next = q->next;
        q->queued = false;
        if (!q->wanted) {
            if (q->applied) {
                proxy_table_change_list(x, &l->has, NULL);
            }
            map_remove(&rs->lists, rules_bytes(&l->want.id, 4));
            rules_free_list(l);
        }
    }
    rs->list_queue = NULL;
}

static int compare_shared(const void *x, const void *y)
{
    const struct proxy_chain *a = *(const struct proxy_chain *const *)x, *b = *(const struct proxy_chain *const *)y;
    return a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : a->n < b->n ? -1 : a->n > b->n;
}

/* The rules that find the shared chains. */
static void write_services(struct ruleset *rs, struct nft_batch *x)
{
    const struct proxy_chain *shared[SHARED_MAX];
    size_t n = 0;
    struct str key;
    void *value;
    for (size_t pos = 0; n < SHARED_MAX && map_next(&rs->chains, &pos, &key, &value);) {
        const struct chain *c = value;
        if (c->s.wanted && proxy_chain_is_shared(&c->c)) {
            shared[n++] = &c->c;
        }
    }
    qsort(shared, n, sizeof(shared[0]), compare_shared);
    proxy_table_write_services(x, &rs->config.table, shared, n);
}

/* With 'services' the rules that find them too, though none of them comes or goes. */
static void add_wanted_chains(struct ruleset *rs, struct nft_batch *x, bool services)
{
    for (struct state *q = rs->chain_queue; q; q = q->next) {
        services = services || (q->wanted != q->applied && proxy_chain_is_shared(&((struct chain *)q)->c));
        if (q->wanted && !q->applied) {
            proxy_table_add_chain(x, &rs->config.table, &((struct chain *)q)->c);
            q->applied = true;
        }
    }
    for (struct state *q = rs->firewall_queue; q; q = q->next) {
        if (q->wanted && !q->applied) {
            proxy_table_add_firewall(x, &((struct firewall *)q)->f);
            q->applied = true;
        }
    }
    if (services) {
        write_services(rs, x);
    }
}

static void delete_unwanted_chains(struct ruleset *rs, struct nft_batch *x)
{
    for (struct state *q = rs->firewall_queue, *next; q; q = next) {
        struct firewall *f = (struct firewall *)q;
        next = q->next;
        q->queued = false;
        if (!q->wanted) {
            if (q->applied) {
                proxy_table_delete_firewall(x, f->f.id);
            }
            map_remove(&rs->firewalls, rules_bytes(&f->f.id, 4));
            rules_free_firewall(f);
        }
    }
    rs->firewall_queue = NULL;
    for (struct state *q = rs->chain_queue, *next; q; q = next) {
        struct chain *c = (struct chain *)q;
        next = q->next;
        q->queued = false;
        if (!q->wanted) {
            if (q->applied) {
                proxy_table_delete_chain(x, &c->c);
            }
            map_remove(&rs->chains, rules_bytes(&c->c, sizeof(c->c)));
            free(c);
        }
    }
    rs->chain_queue = NULL;
}

/* ---- elements ---- */

/* Which set or map has the element: an enum proxy_set, or SET_MAX and more for those of shared chains. */
static uint32_t set_of(const struct element *e, const struct way *w)
{
    bool by_port = e->place == PLACE_PORT;
    if (e->place == PLACE_CLUSTER_IP || e->place == PLACE_HAIRPIN) {
        return e->place == PLACE_HAIRPIN ? SET_HAIRPIN : SET_CLUSTER_IPS;
    }
    if (w->chain.kind == CHAIN_REJECT) {
        return by_port ? SET_REJECTED_PORTS : SET_REJECTED_IPS;
    }
    if (w->chain.kind == CHAIN_DROP) {
        return by_port ? SET_DROPPED_PORTS : SET_DROPPED_IPS;
    }
    if (proxy_chain_is_shared(&w->chain)) {
        return SET_MAX + 32 * w->chain.kind + (uint32_t)__builtin_ctz(w->chain.n);
    }
    return by_port ? SET_NODEPORTS : SET_SERVICE_IPS;
}

/* Does its place in a set or verdict map change (its endpoints may all the same)? */
static bool moves(const struct element *e)
{
    return e->s.wanted != e->s.applied ||
           (e->want && memcmp(&e->want->chain, &e->has->chain, sizeof(e->want->chain)) != 0);
}

struct move {
    struct element *e;
    uint32_t set;
};

static int compare_moves(const void *x, const void *y)
{
    const struct move *a = x, *b = y;
    return a->set < b->set ? -1 : a->set > b->set;
}

/* Takes elements out of their sets or puts them in, one set after the other. */
static void write_moves(struct nft_batch *x, struct move *m, size_t n, bool adds)
{
    char name[PROXY_NAME_SIZE];
    struct nft_elements l = { 0 };
    qsort(m, n, sizeof(*m), compare_moves);
    for (size_t i = 0; i < n; i++) {
        const struct element *e = m[i].e;
        const struct way *w = adds ? e->want : e->has;
        struct nft_element out = { .key = rules_bytes(e->key, e->key_len) };
        char chain[PROXY_NAME_SIZE];
        if (i == 0 || m[i].set != m[i - 1].set) {
            nft_elements_end(&l);
            if (m[i].set >= SET_MAX) {
                proxy_chain_name(&w->chain, name);
            }
            nft_elements_begin(&l, x, m[i].set < SET_MAX ? proxy_set_name(m[i].set) : name, 0, adds);
        }
        if (adds && (m[i].set == SET_SERVICE_IPS || m[i].set == SET_NODEPORTS)) {
            proxy_chain_name(&w->chain, chain);
            out.has_verdict = true;
            out.verdict = NFT_GOTO;
            out.chain = chain;
        }
        nft_elements_put(&l, &out);
    }
    nft_elements_end(&l);
}

static void write_moved(struct ruleset *rs, struct nft_batch *x, struct move *m, bool adds)
{
    size_t n = 0;
    for (struct state *q = rs->element_queue; q; q = q->next) {
        struct element *e = (struct element *)q;
        if (moves(e) && (adds ? q->wanted : q->applied)) {
            m[n++] = (struct move){ .e = e, .set = set_of(e, adds ? e->want : e->has) };
        }
    }
    write_moves(x, m, n, adds);
}

/* Those of 'to' whose number has another endpoint, or none, in 'from'. */
static void put_numbers(uint8_t family, struct nft_elements *l, const struct element *e, const struct proxy_endpoint *to, size_t n_to,
                        const struct proxy_endpoint *from, size_t n_from, uint32_t first)
{
    uint8_t key[KEY_MAX], len = proxy_addr_len(family);
    char data[DATA_MAX];
    memcpy(key, e->key, e->key_len);
    for (size_t i = 0; i < n_to; i++) {
        uint32_t number = first + (uint32_t)i;
        if (i < n_from && memcmp(&to[i], &from[i], sizeof(to[i])) == 0) {
            continue;
        }
        struct nft_element out = { .key = rules_bytes(key, e->key_len + 4u) };
        memcpy(key + e->key_len, &number, 4);
        if (l->adds) {
            memcpy(data, to[i].addr.b, len);
            memcpy(data + len, &to[i].port, 4);
            out.data = rules_bytes(data, len + 4u);
        }
        nft_elements_put(l, &out);
    }
}

static void write_endpoints(struct ruleset *rs, struct nft_batch *x, uint8_t place, bool adds)
{
    static const struct way none;
    struct nft_elements l;
    uint8_t family = rs->config.table.family;
    nft_elements_begin(&l, x, proxy_set_name(place == PLACE_IP ? SET_ENDPOINTS : SET_PORT_ENDPOINTS), 0, adds);
    for (struct state *q = rs->element_queue; q; q = q->next) {
        const struct element *e = (struct element *)q;
        if (e->place == place) {
            const struct way *want = q->wanted ? e->want : &none, *has = q->applied ? e->has : &none;
            const struct way *to = adds ? want : has, *from = adds ? has : want;
            put_numbers(family, &l, e, to->endpoints, to->n_all, from->endpoints, from->n_all, 0);
            put_numbers(family, &l, e, to->endpoints + to->n_all, to->n_local, from->endpoints + from->n_all, from->n_local,
                        PROXY_LOCAL_FIRST);
        }
    }
    nft_elements_end(&l);
}

static void count_as_applied(struct ruleset *rs)
{
    for (struct state *q = rs->element_queue, *next; q; q = next) {
        struct element *e = (struct element *)q;
        next = q->next;
        q->queued = false;
        q->applied = q->wanted;
        if (!q->wanted) {
            char buf[KEY_MAX + 1];
            map_remove(&rs->elements, rules_element_key(e->place, e->key, e->key_len, buf));
            rules_free_element(e);
        } else if (e->has != e->want) {
            free(e->has);
            e->has = e->want;
        }
    }
    rs->element_queue = NULL;
}

/* All deletions before all additions, since an element may move from one set to another. */
static void write_elements(struct ruleset *rs, struct nft_batch *x)
{
    size_t n = 0;
    for (struct state *q = rs->element_queue; q; q = q->next) {
        n++;
    }
    struct move *m = rules_alloc(n * sizeof(*m));
    for (int adds = 0; adds < 2; adds++) {
        write_moved(rs, x, m, adds);
        write_endpoints(rs, x, PLACE_IP, adds);
        write_endpoints(rs, x, PLACE_PORT, adds);
    }
    free(m);
    count_as_applied(rs);
}

static bool write_changes(struct ruleset *rs, struct nft_batch *x, bool services)
{
    unsigned before = x->n_messages;
    write_wanted_lists(rs, x);
    add_wanted_chains(rs, x, services);
    write_elements(rs, x);
    delete_unwanted_chains(rs, x);
    delete_unwanted_lists(rs, x);
    return x->n_messages != before;
}

bool ruleset_write_changes(struct ruleset *rs, struct nft_batch *x)
{
    return write_changes(rs, x, false);
}

static void forget_applied(const struct map *m, struct state **queue)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(m, &pos, &key, &value);) {
        struct state *s = value; /* the first member of all of them */
        s->applied = false;
        rules_enqueue(queue, s);
    }
}

void ruleset_write_all(struct ruleset *rs, struct nft_batch *x)
{
    proxy_table_create(x, &rs->config.table);
    forget_applied(&rs->elements, &rs->element_queue);
    forget_applied(&rs->chains, &rs->chain_queue);
    forget_applied(&rs->lists, &rs->list_queue);
    forget_applied(&rs->firewalls, &rs->firewall_queue);
    write_changes(rs, x, true);
    rs->udp_changed = true;
}
