/* Feeds: watchers of our own that keep the authorisers' caches (RBAC rules, the graph of nodes) in step with the store. */
#ifndef APISERVER_FEEDS_H
#define APISERVER_FEEDS_H

#include "apiserver/server.h"

/* Begins to follow; call when the caches are loaded. What is there is fed before this returns. */
void feeds_start(struct apiserver *s);
void feeds_stop(struct apiserver *s);
/* 'o' was committed just now, and 'obj' is what it was made of: feeds of 'rest' take that in place of decoding 'o' again. */
void feeds_committed(struct apiserver *s, const struct rest *rest, const struct object *o, const void *obj);

#endif
