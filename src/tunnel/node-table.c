#include "tunnel/node-table.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "net/addr.h"

enum { BITS = 128, V4_BITS = 96 /* of ::ffff:0:0 before an IPv4 address */ };

struct address {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct range {
    struct address at;
    uint8_t bits;
};

struct node {
    struct arena arena;
    void *owner;
    struct str *names; /* lower case; the node's own first */
    size_t n_names;
    struct address *addresses;
    size_t n_addresses;
    struct range *ranges;
    size_t n_ranges;
};

struct node_table {
    struct map nodes;
    struct map by_name, by_address, by_range; /* to a node, or to 'nobody' when two claim it */
    bool lengths[BITS + 1];                   /* lengths of ranges that occur */
    bool stale;
    struct node nobody;
};

static bool parse_ip(struct str text, struct address *ret)
{
    struct net_addr a;
    if (!net_addr_parse_ip(text, 1, &a)) {
        return false;
    }
    *ret = (struct address){ { [10] = 0xff, [11] = 0xff } };
    if (a.sa.sa_family == AF_INET) {
        memcpy(ret->bytes + 12, &a.in4.sin_addr, 4);
    } else {
        memcpy(ret->bytes, &a.in6.sin6_addr, 16);
    }
    return true;
}

static bool is_nobodys(const struct address *a)
{
    struct in6_addr in6;
    const uint8_t *v4 = a->bytes + 12;
    memcpy(&in6, a->bytes, 16);
    if (IN6_IS_ADDR_V4MAPPED(&in6)) {
        return v4[0] == 0 || v4[0] == 127 || v4[0] >= 224 || (v4[0] == 169 && v4[1] == 254);
    }
    return IN6_IS_ADDR_LOOPBACK(&in6) || IN6_IS_ADDR_UNSPECIFIED(&in6) || IN6_IS_ADDR_LINKLOCAL(&in6) ||
           IN6_IS_ADDR_MULTICAST(&in6) || IN6_IS_ADDR_V4COMPAT(&in6);
}

static struct range masked(const struct address *a, unsigned bits)
{
    struct range r = { .bits = (uint8_t)bits };
    for (unsigned i = 0; i < sizeof(a->bytes); i++) {
        unsigned keep = bits >= 8 * (i + 1) ? 8 : bits > 8 * i ? bits - 8 * i : 0;
        r.at.bytes[i] = (uint8_t)(a->bytes[i] & (0xff00u >> keep));
    }
    return r;
}

static bool parse_range(struct str text, struct range *ret)
{
    struct str ip, bits_text;
    struct address a;
    uint64_t bits;
    if (!str_cut(text, '/', &ip, &bits_text) || !parse_ip(ip, &a) || !str_to_u64(bits_text, &bits)) {
        return false;
    }
    bool v4 = str_find_char(ip, ':') < 0;
    if (bits == 0 || bits > (v4 ? 32 : 128)) {
        return false;
    }
    *ret = masked(&a, (unsigned)bits + (v4 ? V4_BITS : 0));
    return true;
}

static struct str lower(struct arena *a, struct str s)
{
    char *copy = arena_cstr(a, s);
    for (size_t i = 0; copy && i < s.len; i++) {
        copy[i] = copy[i] >= 'A' && copy[i] <= 'Z' ? (char)(copy[i] + 32) : copy[i];
    }
    return str_n(copy, copy ? s.len : 0);
}

struct node_table *node_table_new(void)
{
    struct node_table *t = calloc(1, sizeof(*t));
    if (!t) {
        abort();
    }
    map_init(&t->nodes);
    map_init(&t->by_name);
    map_init(&t->by_address);
    map_init(&t->by_range);
    return t;
}

static void free_node(struct node *n)
{
    if (n) {
        arena_deinit(&n->arena);
        free(n);
    }
}

struct node_table *node_table_free(struct node_table *t)
{
    size_t pos = 0;
    struct str key;
    void *n;
    if (!t) {
        return NULL;
    }
    while (map_next(&t->nodes, &pos, &key, &n)) {
        free_node(n);
    }
    map_deinit(&t->nodes);
    map_deinit(&t->by_name);
    map_deinit(&t->by_address);
    map_deinit(&t->by_range);
    free(t);
    return NULL;
}

void node_table_put(struct node_table *t, const struct node_claims *c, void *owner)
{
    struct node *n = calloc(1, sizeof(*n));
    if (!n) {
        abort();
    }
    arena_init(&n->arena, ARENA_NO_BUDGET);
    n->owner = owner;
    n->names = arena_new_n(&n->arena, struct str, c->n_addresses + 1);
    n->addresses = arena_new_n(&n->arena, struct address, c->n_addresses + 1);
    n->ranges = arena_new_n(&n->arena, struct range, c->n_cidrs + 1);
    if (!n->names || !n->addresses || !n->ranges) {
        abort();
    }
    n->names[n->n_names++] = lower(&n->arena, c->name);
    for (size_t i = 0; i < c->n_addresses; i++) {
        struct address a;
        if (!parse_ip(c->addresses[i], &a)) {
            n->names[n->n_names++] = lower(&n->arena, c->addresses[i]);
        } else if (!is_nobodys(&a)) {
            n->addresses[n->n_addresses++] = a;
        }
    }
    for (size_t i = 0; i < c->n_cidrs; i++) {
        n->n_ranges += parse_range(c->cidrs[i], &n->ranges[n->n_ranges]);
    }
    free_node(map_put(&t->nodes, c->name, n));
    t->stale = true;
}

void node_table_remove(struct node_table *t, struct str name)
{
    free_node(map_remove(&t->nodes, name));
    t->stale = true;
}

static void claim(struct node_table *t, struct map *m, struct str key, struct node *n)
{
    struct node *other = map_get(m, key);
    if (other != n) {
        map_put(m, key, other ? &t->nobody : n);
    }
}

static void build(struct node_table *t)
{
    size_t pos = 0;
    struct str key;
    void *value;
    map_clear(&t->by_name);
    map_clear(&t->by_address);
    map_clear(&t->by_range);
    memset(t->lengths, 0, sizeof(t->lengths));
    while (map_next(&t->nodes, &pos, &key, &value)) {
        struct node *n = value;
        for (size_t i = 0; i < n->n_names; i++) {
            claim(t, &t->by_name, n->names[i], n);
        }
        for (size_t i = 0; i < n->n_addresses; i++) {
            claim(t, &t->by_address, str_n((const char *)n->addresses[i].bytes, 16), n);
        }
        for (size_t i = 0; i < n->n_ranges; i++) {
            claim(t, &t->by_range, str_n((const char *)&n->ranges[i], sizeof(struct range)), n);
            t->lengths[n->ranges[i].bits] = true;
        }
    }
    t->stale = false;
}

/* All claims on an address count, so that neither a narrower range nor an address takes from another node. */
static struct node *by_address(struct node_table *t, const struct address *a)
{
    struct node *found = map_get(&t->by_address, str_n((const char *)a->bytes, 16));
    for (unsigned bits = 1; bits <= BITS; bits++) {
        if (!t->lengths[bits]) {
            continue;
        }
        struct range r = masked(a, bits);
        struct node *n = map_get(&t->by_range, str_n((const char *)&r, sizeof(r)));
        if (n) {
            found = found && found != n ? &t->nobody : n;
        }
    }
    return found;
}

enum node_found node_table_find(struct node_table *t, struct str host, void **ret_owner)
{
    struct address a;
    struct node *n = NULL;
    if (t->stale) {
        build(t);
    }
    if (parse_ip(host, &a)) {
        n = is_nobodys(&a) ? NULL : by_address(t, &a);
    } else {
        struct arena tmp;
        arena_init(&tmp, 4096);
        struct str name = lower(&tmp, host);
        n = name.ptr ? map_get(&t->by_name, name) : NULL;
        arena_deinit(&tmp);
    }
    if (!n || n == &t->nobody) {
        return n ? NODE_AMBIGUOUS : NODE_UNKNOWN;
    }
    *ret_owner = n->owner;
    return NODE_FOUND;
}
