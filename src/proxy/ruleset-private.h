/* What the parts of ruleset.h share: what is wanted, what the table has, and the queues of what differs. */
#ifndef PROXY_RULESET_PRIVATE_H
#define PROXY_RULESET_PRIVATE_H

#include "base/arena.h"
#include "base/map.h"
#include "proxy/endpoints.h"
#include "proxy/ruleset.h"

#define KEY_MAX 32 /* two IPv6 addresses */

/* What a wish or an element is about. */
enum place {
    PLACE_IP,         /* address . protocol . port */
    PLACE_PORT,       /* protocol . port: a node port */
    PLACE_CLUSTER_IP, /* address */
    PLACE_HAIRPIN     /* address . address */
};

/* What becomes of packets for a PLACE_IP or PLACE_PORT. With affinity the lists have the endpoints. */
struct way {
    struct proxy_chain chain;
    uint32_t n_all, n_local;
    struct proxy_endpoint endpoints[]; /* all by number, then the local ones by number */
};

/* What is wanted and what the table has; in the queue from the first difference to
 * the next write. */
struct state {
    bool wanted, applied, queued;
    struct state *next;
};

struct chain {
    struct state s; /* first; wanted while 'refs' */
    uint32_t refs;
    struct proxy_chain c;
    char name[PROXY_NAME_SIZE];
};

/* Only a PLACE_HAIRPIN has more than one owner. Endpoints are elements of nothing but their way: an element each in the kernel, a part of
 * a record here. */
struct element {
    struct state s; /* first */
    uint8_t place, key_len;
    uint32_t refs;
    struct way *want, *has; /* the same one when nothing is to be written; NULL without a way */
    struct chain *chain;    /* of 'want', where that is one of ours */
    uint8_t key[];
};

/* A list of endpoints with affinity. */
struct list_state {
    struct state s; /* first */
    struct proxy_list want, has;
    char *port; /* "tcp/http", and "/local" behind it: for life */
};

struct firewall {
    struct state s; /* first */
    struct proxy_firewall f;
    struct chain *to;
};

struct service {
    char *key;
    struct element **elements; /* sorted by place and key */
    size_t n_elements;
    struct list_state **lists;
    size_t n_lists;
    struct firewall **firewalls;
    size_t n_firewalls;
    size_t n_ports, n_endpoints, n_local_ready;
    uint16_t health_port;
    bool waiting; /* for a port that another Service holds */
};

struct ruleset {
    struct ruleset_config config;
    char *zone;
    struct map services;  /* by key: struct service */
    struct map elements;  /* by place and key: struct element */
    struct map chains;    /* by struct proxy_chain: struct chain */
    struct map lists;     /* by id: struct list_state */
    struct map firewalls; /* by id: struct firewall */
    uint32_t next_id;
    struct state *element_queue, *chain_queue, *list_queue, *firewall_queue;
    size_t n_waiting, n_service_ports, n_endpoints;
    bool freed; /* something that a waiting Service may take */
    bool udp_changed;
};

/* An element that the Service under way asks for. */
struct wish {
    uint8_t place, key_len;
    uint8_t key[KEY_MAX];
    const struct way *way; /* NULL: none; endpoints in the order of endpoints_compare() */
};

/* ---- ruleset.c ---- */
void *rules_alloc(size_t n); /* zeros; aborts without memory */
void rules_enqueue(struct state **queue, struct state *s);
struct str rules_bytes(const void *p, size_t n);
void rules_free_list(struct list_state *l);
void rules_free_firewall(struct firewall *f);
void rules_free_service(struct service *s);
void rules_free_element(struct element *e);

/* ---- ruleset-elements.c ---- */
/* The chain by number, made when first used; NULL for kinds that do not stand by themselves. */
struct chain *rules_ref_chain(struct ruleset *rs, const struct proxy_chain *c);
void rules_unref_chain(struct ruleset *rs, struct chain *c);
struct str rules_element_key(uint8_t place, const uint8_t *key, uint8_t len, char dst[KEY_MAX + 1]);
void rules_key_add(struct wish *w, const void *bytes, uint8_t n);
/* The key of an address and port ('addr' NULL: of a node port). */
void rules_key_port(struct wish *w, uint8_t family, const struct proxy_addr *addr, uint8_t protocol, uint16_t port);
int rules_compare_wishes(const void *x, const void *y);
/* Goes from the Service's elements to the wishes, both sorted. */
void rules_change_elements(struct ruleset *rs, struct service *s, const struct wish *w, size_t n);
const struct element *rules_find(const struct ruleset *rs, const struct wish *w);
bool rules_contains(const struct proxy_endpoint *list, size_t n, const struct proxy_endpoint *e);

#endif
