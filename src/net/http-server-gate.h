/*
 * Who comes in. A server serves so many connections of one address at once that have not shown who they are (strangers); what comes
 * beside them waits, as a bare descriptor, in the order of arrival, and addresses take turns. So a thousand nodes behind one NAT all get
 * in, as fast as handshakes are made, and a flood from one address only keeps others of that address waiting.
 */
#ifndef NET_HTTP_SERVER_GATE_H
#define NET_HTTP_SERVER_GATE_H

#include "base/map.h"
#include "net/addr.h"
#include "net/loop.h"

struct http_conn;
struct http_gate_address;
struct http_server;
struct net_path;
struct net_tls_server;

struct http_gate {
    struct http_server *server;
    struct map addresses;    /* IP text -> struct http_gate_address */
    struct list crowded;     /* addresses with somebody waiting; the first one's turn is next */
    unsigned n_waiting;
    struct loop_task task;   /* lets in */
    struct loop_timer timer; /* while somebody waits: cuts who had his turn */
};

/* One that waits at the gate; references to 'tls' and 'path' are taken when it has to wait. */
struct http_arrival {
    int fd;
    struct net_tls_server *tls;
    const void *cookie;
    struct net_path *path;
    struct http_gate_address *address; /* NULL: it has none (unix sockets, whose file's permissions bound who comes) */
};

void http_gate_init(struct http_gate *g, struct http_server *srv);
void http_gate_deinit(struct http_gate *g);
/* Takes the descriptor: begins to serve it now or later, or closes it. */
void http_gate_arrive(struct http_gate *g, struct http_arrival *a, const struct net_addr *remote);
/* Counts a connection that is served among its address's strangers until http_gate_leave(): it ended, or its first request was a success. */
void http_gate_enter(struct http_conn *c, struct http_gate_address *a);
void http_gate_leave(struct http_gate *g, struct http_conn *c);
/* Closes all that wait (a server that drains). */
void http_gate_close(struct http_gate *g);

#endif
