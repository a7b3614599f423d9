/* Look-ups in the watch caches for hooks, admission and token checks. */
#ifndef APISERVER_WORLD_H
#define APISERVER_WORLD_H

#include "apiserver/server.h"
#include "auth/sa-token.h"

/* Fills s->world. */
void world_init(struct apiserver *s);
void world_free(struct apiserver *s);
/* struct sa_lookup's get; 'ctx' is the struct apiserver. */
bool world_sa_get(void *ctx, struct str resource, struct str ns, struct str name, struct arena *a, struct sa_object *ret);
/* struct sa_lookup's used: writes the label of the day, unless it is there. */
void world_sa_used(void *ctx, struct str ns, struct str name, int64_t now);

#endif
