/*
 * managedFields of writes, and server-side apply: the glue between requests and api/managed-fields.h, api/apply.h.
 *
 * Ownership is tracked on trees of the version the request speaks. What a subresource cannot write is taken from the old object
 * before it is compared (write.c), so nobody comes to own what was ignored.
 */
#ifndef APISERVER_MANAGED_H
#define APISERVER_MANAGED_H

#include "apiserver/stage.h"

/* Server-side apply: r->body is laid over r->old (which may be absent) by the rules of ownership; r->obj is the result, with its
 * managedFields, defaulted, in the hub's shape. */
enum stage_result managed_apply(struct request *r);

#endif
