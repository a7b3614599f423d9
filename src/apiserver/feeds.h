/* Feeds: watchers of our own that keep the authorisers' caches (RBAC rules, the graph of nodes) in step with the store. */
#ifndef APISERVER_FEEDS_H
#define APISERVER_FEEDS_H

#include "apiserver/server.h"

/* Begins to follow; call when the caches are loaded. What is there is fed before this returns. */
void feeds_start(struct apiserver *s);
void feeds_stop(struct apiserver *s);

#endif
