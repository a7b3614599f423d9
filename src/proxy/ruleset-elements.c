#include "proxy/ruleset-private.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>

/* ---- chains ---- */

static bool is_own_chain(const struct proxy_chain *c)
{
    return c->kind != CHAIN_REJECT && c->kind != CHAIN_DROP && c->kind != CHAIN_FIREWALL &&
           c->kind != CHAIN_LIST;
}

struct chain *rules_ref_chain(struct ruleset *rs, const struct proxy_chain *c)
{
    struct str key = rules_bytes(c, sizeof(*c));
    if (!is_own_chain(c)) {
        return NULL;
    }
    struct chain *chain = map_get(&rs->chains, key);
    if (!chain) {
        chain = rules_alloc(sizeof(*chain));
        chain->c = *c;
        proxy_chain_name(c, chain->name);
        map_put(&rs->chains, key, chain);
    }
    if (chain->refs++ == 0) {
        chain->s.wanted = true;
        rules_enqueue(&rs->chain_queue, &chain->s);
    }
    return chain;
}

void rules_unref_chain(struct ruleset *rs, struct chain *c)
{
    if (c && --c->refs == 0) {
        c->s.wanted = false;
        rules_enqueue(&rs->chain_queue, &c->s);
    }
}

struct str rules_element_key(uint8_t place, const uint8_t *key, uint8_t len, char dst[KEY_MAX + 1])
{
    dst[0] = (char)place;
    memcpy(dst + 1, key, len);
    return str_n(dst, (size_t)len + 1);
}

static int compare_keys(uint8_t place_a, const uint8_t *a, uint8_t place_b, const uint8_t *b, uint8_t len)
{
    /* Keys of one place are equally long. */
    return place_a != place_b ? (place_a < place_b ? -1 : 1) : memcmp(a, b, len);
}

int rules_compare_wishes(const void *x, const void *y)
{
    const struct wish *a = x, *b = y;
    return compare_keys(a->place, a->key, b->place, b->key, a->key_len);
}

/* Numbers the wanted endpoints (in the order of endpoints_compare()): those that have a number keep it, as far as it is below 'n', so
 * that one that comes or goes moves one other at most. */
static void number_endpoints(struct proxy_endpoint *dst, const struct proxy_endpoint *want, size_t n, const struct proxy_endpoint *old,
                             size_t n_old)
{
    bool *placed = rules_alloc(2 * n * sizeof(*placed)), *kept = placed + n;
    for (size_t i = 0; i < MIN(n, n_old); i++) {
        const struct proxy_endpoint *e = bsearch(&old[i], want, n, sizeof(*want), endpoints_compare);
        if (e) {
            dst[i] = *e;
            kept[i] = placed[e - want] = true;
        }
    }
    for (size_t i = 0, next = 0; i < n; i++) {
        if (!kept[i]) {
            while (placed[next]) {
                next++;
            }
            dst[i] = want[next++];
        }
    }
    free(placed);
}

static size_t way_size(const struct way *w)
{
    return sizeof(*w) + ((size_t)w->n_all + w->n_local) * sizeof(w->endpoints[0]);
}

static struct way *make_way(const struct way *w, const struct way *old)
{
    struct way *ret = rules_alloc(way_size(w));
    ret->chain = w->chain;
    ret->n_all = w->n_all;
    ret->n_local = w->n_local;
    number_endpoints(ret->endpoints, w->endpoints, w->n_all, old ? old->endpoints : NULL, old ? old->n_all : 0);
    number_endpoints(ret->endpoints + w->n_all, w->endpoints + w->n_all, w->n_local, old ? old->endpoints + old->n_all : NULL,
                     old ? old->n_local : 0);
    return ret;
}

static void set_way(struct ruleset *rs, struct element *e, const struct wish *w)
{
    struct chain *old = e->chain;
    struct way *way = w->way ? make_way(w->way, e->want) : NULL;
    if (e->s.wanted && (!way || (e->want && way_size(way) == way_size(e->want) && memcmp(way, e->want, way_size(way)) == 0))) {
        free(way);
        return;
    }
    e->chain = way ? rules_ref_chain(rs, &way->chain) : NULL;
    rules_unref_chain(rs, old);
    if (e->want != e->has) {
        free(e->want);
    }
    e->want = way;
    e->s.wanted = true;
    rules_enqueue(&rs->element_queue, &e->s);
}

/* The element for the wish, or NULL when another Service holds it. */
static struct element *acquire(struct ruleset *rs, const struct wish *w)
{
    char buf[KEY_MAX + 1];
    struct str key = rules_element_key(w->place, w->key, w->key_len, buf);
    struct element *e = map_get(&rs->elements, key);
    if (e && e->s.wanted) {
        e->refs += w->place == PLACE_HAIRPIN;
        return w->place == PLACE_HAIRPIN ? e : NULL;
    }
    if (!e) {
        e = rules_alloc(sizeof(*e) + w->key_len);
        e->place = w->place;
        e->key_len = w->key_len;
        memcpy(e->key, w->key, w->key_len);
        map_put(&rs->elements, key, e);
    }
    e->refs = 1;
    set_way(rs, e, w);
    return e;
}

static void release(struct ruleset *rs, struct element *e)
{
    if (--e->refs == 0) {
        rules_unref_chain(rs, e->chain);
        e->chain = NULL;
        e->s.wanted = false;
        rs->freed = true;
        rules_enqueue(&rs->element_queue, &e->s);
    }
}

/* Is it about UDP, whose connections live on in the kernel when endpoints change? */
static bool is_udp(uint8_t family, uint8_t place, const uint8_t *key)
{
    return (place == PLACE_IP && key[proxy_addr_len(family)] == IPPROTO_UDP) || (place == PLACE_PORT && key[0] == IPPROTO_UDP);
}

void rules_change_elements(struct ruleset *rs, struct service *s, const struct wish *w, size_t n)
{
    struct element **now = rules_alloc(n * sizeof(*now));
    size_t n_now = 0, old = 0;
    bool waiting = false;
    for (size_t i = 0; i < n || old < s->n_elements;) {
        struct element *e = old < s->n_elements ? s->elements[old] : NULL;
        int c = !e ? 1 : i == n ? -1 : compare_keys(e->place, e->key, w[i].place, w[i].key, e->key_len);
        if (i > 0 && i < n && c >= 0 && rules_compare_wishes(&w[i - 1], &w[i]) == 0) {
            i++; /* asked for twice (one address in two roles): the first counts */
            continue;
        }
        if (c == 0) {
            const struct way *before = e->want;
            set_way(rs, e, &w[i]);
            rs->udp_changed = rs->udp_changed || (e->want != before && is_udp(rs->config.table.family, e->place, e->key));
            now[n_now++] = e;
        } else if (c < 0) {
            rs->udp_changed = rs->udp_changed || is_udp(rs->config.table.family, e->place, e->key);
            release(rs, e);
        } else {
            struct element *got = acquire(rs, &w[i]);
            rs->udp_changed = rs->udp_changed || is_udp(rs->config.table.family, w[i].place, w[i].key);
            waiting = waiting || !got;
            if (got) {
                now[n_now++] = got;
            }
        }
        old += c <= 0;
        i += c >= 0;
    }
    free(s->elements);
    s->elements = now;
    s->n_elements = n_now;
    rs->n_waiting += waiting;
    rs->n_waiting -= s->waiting;
    s->waiting = waiting;
}

void rules_key_add(struct wish *w, const void *bytes, uint8_t n)
{
    assert(w->key_len + ((n + 3u) & ~3u) <= KEY_MAX);
    memcpy(w->key + w->key_len, bytes, n);
    w->key_len = (uint8_t)(w->key_len + ((n + 3) & ~3));
}

void rules_key_port(struct wish *w, uint8_t family, const struct proxy_addr *addr, uint8_t protocol, uint16_t port)
{
    if (addr) {
        rules_key_add(w, addr->b, proxy_addr_len(family));
    }
    rules_key_add(w, &protocol, 1);
    rules_key_add(w, &port, 2);
}

bool rules_contains(const struct proxy_endpoint *list, size_t n, const struct proxy_endpoint *e)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&list[i], e, sizeof(*e)) == 0) {
            return true;
        }
    }
    return false;
}

const struct element *rules_find(const struct ruleset *rs, const struct wish *w)
{
    char buf[KEY_MAX + 1];
    const struct element *e = map_get(&rs->elements, rules_element_key(w->place, w->key, w->key_len, buf));
    return e && e->s.wanted ? e : NULL;
}
