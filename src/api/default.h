/*
 * Defaults: what the apiserver fills in when it decodes an object. Values come from the schema (default= and fill=); what no
 * single value tells is a rule in default-rules-*.c. Runs on the version the client sent, and
 * again on the storage version after a conversion between shapes: the metric that a v1 HorizontalPodAutoscaler gets is a default
 * of v2.
 */
#ifndef API_DEFAULT_H
#define API_DEFAULT_H

#include "api/gate.h"
#include "base/arena.h"

struct api_default_ctx {
    int64_t now_sec; /* wall clock, for the few defaults that are a time */
    const struct api_gates_set *gates; /* NULL: the defaults of Kubernetes 1.36 */
};

/* Fills in 'obj' in place. False only past the arena's budget. 'ctx' may be NULL. */
MUST_CHECK bool api_default(struct arena *a, const struct api_type *t, void *obj, const struct api_default_ctx *ctx);

#endif
