#ifndef PROXY_RELAY_PRIVATE_H
#define PROXY_RELAY_PRIVATE_H

#include "proxy/inlet.h"
#include "proxy/relay-limits.h"
#include "proxy/relay.h"

struct relay_pipe {
    struct relay_pipe *next;
    int r, w;
};

struct relay {
    struct loop *loop;
    struct relay_config config;
    size_t n_inlets;
    /* TCP */
    struct list orphans; /* connections whose inlet is gone */
    size_t n_connections, most_connections;
    struct relay_pipe *idle_pipes;
    size_t n_idle_pipes, n_pipes;
    /* UDP */
    size_t n_clients, most_clients;
};

/* A pipe without bytes, or NULL with errno. */
struct relay_pipe *relay_take_pipe(struct relay *r);
/* 'empty': nothing is in it, and it may be used again. */
void relay_give_pipe(struct relay *r, struct relay_pipe *p, bool empty);

void relay_tcp_ready(struct loop_io *io, unsigned events, void *inlet);
void relay_tcp_resume(void *inlet);
void relay_tcp_detach(struct inlet *f);
void relay_tcp_cut_orphans(struct relay *r);

void relay_udp_ready(struct loop_io *io, unsigned events, void *inlet);
void relay_udp_expire(void *inlet);
void relay_udp_detach(struct inlet *f);

#endif
