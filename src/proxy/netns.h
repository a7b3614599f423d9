/*
 * For tests and benches: three network namespaces of our own, without a route out. The node (where
 * the table is) stands between clients and endpoints. Sockets belong to the namespace that the
 * thread is in when they are made.
 *
 *     clients 10.9.2.1 .2 .3 --- 10.9.2.254 node 10.9.1.254 --- endpoints 10.9.1.1 .2 .3
 *     fd09:2::1 ::2 ::3      --- fd09:2::fe      fd09:1::fe --- fd09:1::1 ::2 ::3
 */
#ifndef PROXY_NETNS_H
#define PROXY_NETNS_H

#include "base/err.h"

struct netns {
    int home, node, clients, endpoints; /* namespaces; -1: none */
};

/* False with the reason (no rights, no "ip"). The thread is then in the node. */
MUST_CHECK bool netns_make(struct netns *n, struct err *err);
/* Goes home; the namespaces end with their last socket. */
void netns_end(struct netns *n);
/* Moves the thread. */
void netns_enter(int ns);
/* "ipv4/ip_forward" of the namespace that the thread is in. */
bool netns_sysctl(const char *name, const char *value);
/* Runs a command in the namespace that the thread is in; true if it succeeded. */
bool netns_run(const char *const *argv);

#endif
