#include "proxy/ruleset-private.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>

#define DATA_MAX 20 /* an IPv6 address and a port */

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

static void add_wanted_chains(struct ruleset *rs, struct nft_batch *x)
{
    for (struct state *q = rs->chain_queue; q; q = q->next) {
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

/* Padded keys and values as they stand in the element; verdicts by the chain's name. */
static void put_element(uint8_t family, struct nft_element *n, const struct element *e, bool add, char data[DATA_MAX])
{
    uint8_t len = proxy_addr_len(family);
    *n = (struct nft_element){ .key = rules_bytes(e->key, e->key_len) };
    if (!add) {
        return;
    }
    if (proxy_set_is_verdict(e->set)) {
        n->has_verdict = true;
        n->verdict = e->want.chain.kind == CHAIN_DROP ? NF_DROP : NFT_GOTO;
    } else if (e->set == SET_ENDPOINTS || e->set == SET_PORT_ENDPOINTS) {
        memcpy(data, e->want.endpoint.addr.b, len);
        memcpy(data + len, &e->want.endpoint.port, 4);
        n->data = rules_bytes(data, len + 4u);
    }
}

static void write_elements(struct ruleset *rs, struct nft_batch *x)
{
    size_t n_queued[SET_MAX] = { 0 };
    for (struct state *q = rs->element_queue; q; q = q->next) {
        n_queued[((struct element *)q)->set]++;
    }
    /* One set after the other; all deletions before all additions, since an element may move from
     * one map to another. */
    for (int adds = 0; adds < 2; adds++) {
        for (int set = 0; set < SET_MAX; set++) {
            struct nft_element *out = rules_alloc(n_queued[set] * sizeof(*out));
            char(*names)[PROXY_NAME_SIZE] = NULL, (*data)[DATA_MAX] = NULL;
            size_t n = 0;
            if (adds && proxy_set_is_verdict(set)) {
                names = rules_alloc(n_queued[set] * sizeof(*names));
            }
            if (adds && (set == SET_ENDPOINTS || set == SET_PORT_ENDPOINTS)) {
                data = rules_alloc(n_queued[set] * sizeof(*data));
            }
            for (struct state *q = n_queued[set] ? rs->element_queue : NULL; q; q = q->next) {
                struct element *e = (struct element *)q;
                bool differs =
                    !q->wanted || !q->applied || memcmp(&e->want, &e->has, sizeof(e->want)) != 0;
                if (e->set != set || !differs || (adds ? !q->wanted : !q->applied)) {
                    continue;
                }
                put_element(rs->config.table.family, &out[n], e, adds, data ? data[n] : NULL);
                if (names && e->want.chain.kind != CHAIN_DROP) {
                    proxy_chain_name(&e->want.chain, names[n]);
                    out[n].chain = names[n];
                }
                n++;
            }
            if (adds) {
                nft_add_elements(x, proxy_set_name(set), 0, out, n);
            } else {
                nft_delete_elements(x, proxy_set_name(set), out, n);
            }
            free(names);
            free(data);
            free(out);
        }
    }
    for (struct state *q = rs->element_queue, *next; q; q = next) {
        struct element *e = (struct element *)q;
        next = q->next;
        q->queued = false;
        q->applied = q->wanted;
        e->has = e->want;
        if (!q->wanted) {
            char buf[KEY_MAX + 1];
            map_remove(&rs->elements, rules_element_key(e->set, e->key, e->key_len, buf));
            free(e);
        }
    }
    rs->element_queue = NULL;
}

bool ruleset_write_changes(struct ruleset *rs, struct nft_batch *x)
{
    unsigned before = x->n_messages;
    write_wanted_lists(rs, x);
    add_wanted_chains(rs, x);
    write_elements(rs, x);
    delete_unwanted_chains(rs, x);
    delete_unwanted_lists(rs, x);
    return x->n_messages != before;
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
    ruleset_write_changes(rs, x);
    rs->udp_changed = true;
}

