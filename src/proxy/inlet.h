/*
 * A port of the host that packets for a Service are redirected to (userspace mode): its socket, whom it lets in, and where it leads
 * to. One for each service port and family; another where policies differ for those outside, or a load balancer's sources are named.
 */
#ifndef PROXY_INLET_H
#define PROXY_INLET_H

#include "net/loop.h"
#include "proxy/balancer.h"
#include "proxy/ports.h"

struct relay;

struct inlet {
    /* What it is for: for life. */
    struct relay *relay;
    uint8_t family, protocol; /* NFPROTO_…, IPPROTO_TCP or IPPROTO_UDP */
    char *name;               /* "namespace/service:port", for people */
    /* Whom it leads to. */
    struct balancer all, local;
    /* Traffic policy Local: for everybody, or only for those who are neither pods nor the node itself. */
    enum { INLET_ANYWHERE, INLET_LOCAL, INLET_LOCAL_FOR_OUTSIDERS } policy;
    const struct proxy_cidr *pods; /* NULL: not known */
    struct proxy_cidr *sources;    /* if 'limited': only these are let in */
    size_t n_sources;
    bool limited;
    /* While it is open. */
    int fd; /* -1: it has no port */
    uint16_t port; /* host order */
    struct loop_io io;
    struct loop_timer timer; /* TCP: accepting pauses; UDP: the oldest client's time is over */
    struct list users;       /* connections or clients; of clients, the one unused for longest first */
    size_t n_users;
    struct map clients; /* UDP: by address */
};

/* Names are copied. */
struct inlet *inlet_new(struct relay *r, uint8_t family, uint8_t protocol, struct str name);
/* Its port is free for others at once. TCP connections go on until they end; UDP clients are forgotten. NULL-safe. */
struct inlet *inlet_free(struct inlet *f);
/* Takes a port. */
MUST_CHECK bool inlet_open(struct inlet *f, struct err *err);
/* Takes ownership of 'sources'. */
void inlet_set_sources(struct inlet *f, struct proxy_cidr *sources, size_t n, bool limited);
bool inlet_admits(const struct inlet *f, const struct proxy_addr *client);
/* An endpoint for the client; 'from_node': it is a program of the node itself. */
MUST_CHECK bool inlet_choose(struct inlet *f, const struct proxy_addr *client, bool from_node, bool again,
                             struct proxy_endpoint *ret);

#endif
