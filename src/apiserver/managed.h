/* managedFields of writes, and server-side apply. */
#ifndef APISERVER_MANAGED_H
#define APISERVER_MANAGED_H

#include "apiserver/stage.h"

/* Server-side apply: r->body is merged into r->old (which may be absent) by the rules of ownership; r->obj is the result, with its
 * managedFields, defaulted, in the hub's shape. */
enum stage_result managed_apply(struct request *r);

#endif
