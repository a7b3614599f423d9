/*
 * Which endpoint comes next: one after the other, or the one that a client had before (sessionAffinity: ClientIP). Pure: the time is
 * an argument.
 */
#ifndef PROXY_BALANCER_H
#define PROXY_BALANCER_H

#include "base/list.h"
#include "base/map.h"
#include "proxy/addr.h"

/* Clients that are remembered by one balancer; past it, who was not seen for longest is forgotten. 16,384 are 3 MB. */
#define BALANCER_CLIENTS_MAX 16384

struct balancer {
    struct proxy_endpoint *endpoints;
    size_t n, next;
    uint32_t seconds;   /* of affinity; 0: none */
    struct map clients; /* by address */
    struct list by_age; /* of clients, the oldest first */
};

void balancer_init(struct balancer *b);
void balancer_deinit(struct balancer *b);
/* Copies the endpoints. Clients of endpoints that are gone get others. */
void balancer_set(struct balancer *b, const struct proxy_endpoint *e, size_t n, uint32_t affinity_seconds);
/* False: there is none. 'again': the one that the client has does not answer, so another is to be taken. */
MUST_CHECK bool balancer_next(struct balancer *b, uint64_t now_ms, const struct proxy_addr *client, bool again,
                              struct proxy_endpoint *ret);

#endif
