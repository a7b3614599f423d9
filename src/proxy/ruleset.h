/*
 * What the Services put into the table, and the difference to what is there already. An engine: no
 * I/O, no clock.
 *
 *     ruleset_set_service(rs, key, service, slices, n);    for each Service that changed, or (with NULL) is gone
 *     ruleset_write_changes(rs, &batch);                   or ruleset_write_all() into a table that is made anew
 *
 * One is for one family of addresses; a dual-stack node has two, whose messages go into one transaction.
 */
#ifndef PROXY_RULESET_H
#define PROXY_RULESET_H

#include "api/gen/core_v1.h"
#include "api/gen/discovery_v1.h"
#include "proxy/table.h"

struct ruleset;

struct ruleset_config {
    struct proxy_table_config table; /* its arrays stay valid */
    struct str node;                 /* this node's name; stays valid */
};

struct ruleset *ruleset_new(const struct ruleset_config *config);
/* NULL-safe. */
struct ruleset *ruleset_free(struct ruleset *rs);
uint8_t ruleset_family(const struct ruleset *rs);
/* The node's zone (topology.kubernetes.io/zone), copied. True if it is another than before: then
 * all Services are to be set again. */
bool ruleset_set_zone(struct ruleset *rs, struct str zone);

/* Takes the Service's state ('key' is "namespace/name"; 'service' NULL: it is gone) and that of its
 * EndpointSlices; those of the other family are nothing to us. Nothing is kept of them. Returns how many
 * endpoints were refused, because their addresses are the node's own or its link's. Ports that another Service holds already stay with that
 * one; this one comes in when they are free. */
size_t ruleset_set_service(struct ruleset *rs, struct str key, const struct core_v1_service *service,
                           const struct discovery_v1_endpoint_slice *const *slices, size_t n_slices);
/* Services that wait for a port which is free now: to be set again. Calls 'fn' with each key. */
void ruleset_take_waiting(struct ruleset *rs, void (*fn)(void *data, struct str key), void *data);

/* What changed since the last write, as one transaction's messages; then the ruleset counts it as
 * applied. False: nothing changed. */
bool ruleset_write_changes(struct ruleset *rs, struct nft_batch *x);
/* Everything, for a table that does not exist. */
void ruleset_write_all(struct ruleset *rs, struct nft_batch *x);

/* Did a change since the last call concern UDP (whose connections in the kernel must be looked
 * through)? */
bool ruleset_take_udp_changed(struct ruleset *rs);
/* May a tracked connection to this address and port (network order) go on, that goes to 'endpoint'
 * now (NULL: its destination is not rewritten)? False when it belongs to a service port that no
 * longer has the endpoint. 'is_local': the address is one of this node. */
bool ruleset_connection_is_good(const struct ruleset *rs, uint8_t protocol, const struct proxy_addr *addr,
                                uint16_t port, bool is_local,
                                const struct proxy_endpoint *endpoint);

/* Load balancers' health checks (healthCheckNodePort, with externalTrafficPolicy: Local). Steps
 * through: start with '*pos' = 0. */
struct ruleset_health {
    struct str key; /* valid until the next change */
    uint16_t port;
    size_t n_local; /* ready endpoints on this node */
};
/* Is there a Service of this key among them? */
bool ruleset_has_health(const struct ruleset *rs, struct str key);
bool ruleset_next_health(const struct ruleset *rs, size_t *pos, struct ruleset_health *ret);

struct ruleset_stats {
    size_t services, service_ports, endpoints, elements;
};
void ruleset_stats(const struct ruleset *rs, struct ruleset_stats *ret);

#endif
