/*
 * managedFields of writes, and server-side apply: the glue between requests and api/managed-fields.h, api/apply.h.
 *
 * Ownership is tracked on trees of the version the request speaks. What a subresource cannot write is taken from the old object
 * before it is compared (write.c), so nobody comes to own what was ignored.
 */
#ifndef APISERVER_MANAGED_H
#define APISERVER_MANAGED_H

#include "api/managed-scale.h"
#include "apiserver/stage.h"

struct autoscaling_v1_scale;

/* Server-side apply: r->body is laid over r->old (which may be absent) by the rules of ownership; r->obj is the result, with its
 * managedFields, defaulted, in the hub's shape. */
enum stage_result managed_apply(struct request *r);

/* The scale subresource. A write of 'scale' where 'live' was: entries of r->obj, which already has the new replicas. */
enum stage_result managed_scale_update(struct request *r, const struct autoscaling_v1_scale *live, const struct autoscaling_v1_scale *scale);
/* An apply of r->body on 'live': first what the scale becomes, then, with r->obj made, its entries. */
struct managed_scale {
    struct managed parent, view;
};
enum stage_result managed_scale_apply(struct request *r, const struct autoscaling_v1_scale *live, struct autoscaling_v1_scale *ret,
                                      struct managed_scale *ret_entries);
enum stage_result managed_scale_adopt(struct request *r, struct managed_scale *entries);

#endif
