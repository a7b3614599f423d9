/*
 * Which node an address belongs to: by the node's name, its addresses and its pods' ranges. An address that two nodes claim belongs
 * to neither (a node may write its own addresses, so a claim is no proof), also when one has it as its own and the other in its
 * pods' range. Loopback, link-local, multicast and unspecified addresses belong to nobody.
 */
#ifndef TUNNEL_NODE_TABLE_H
#define TUNNEL_NODE_TABLE_H

#include "base/str.h"

struct node_table;

struct node_claims {
    struct str name;
    const struct str *addresses; /* addresses and host names */
    size_t n_addresses;
    const struct str *cidrs; /* "10.244.1.0/24" */
    size_t n_cidrs;
};

enum node_found { NODE_UNKNOWN, NODE_FOUND, NODE_AMBIGUOUS };

struct node_table *node_table_new(void);
/* NULL-safe; returns NULL. */
struct node_table *node_table_free(struct node_table *t);
/* Sets or replaces what the node claims; 'owner' is handed out by look-ups. Copies. */
void node_table_put(struct node_table *t, const struct node_claims *c, void *owner);
void node_table_remove(struct node_table *t, struct str name);
/* 'host' is an address or a name. */
enum node_found node_table_find(struct node_table *t, struct str host, void **ret_owner);

#endif
