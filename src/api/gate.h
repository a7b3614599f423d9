/*
 * Feature gates of Kubernetes 1.36, and the fields behind them: a field whose gate is off is dropped from what a client sends,
 * unless the object has used it already.
 */
#ifndef API_GATE_H
#define API_GATE_H

#include "api/type.h"

struct api_gate {
    struct str name, stage; /* "ALPHA", "BETA", "GA", "DEPRECATED" */
    bool on;                /* by default */
    bool locked;            /* cannot be set otherwise */
    struct str defined_in;  /* "apiserver,kubernetes" */
};

/* Sorted by name. */
extern const struct api_gate api_gates[];
extern const size_t api_n_gates;

/* NULL when there is no such gate. */
const struct api_gate *api_gate_find(struct str name);

/* Which gates are on: the defaults, with what --feature-gates says. Zero-initialised it means the defaults. */
struct api_gates_set {
    uint64_t flipped[8]; /* one bit a gate, by index into api_gates: not as by default */
};
bool api_gate_on(const struct api_gates_set *s, struct str name);
/* False with the words of Kubernetes when the gate is unknown, or locked to the other value. */
struct err;
MUST_CHECK bool api_gate_set(struct api_gates_set *s, struct str name, bool on, struct err *err);

/* Clears the fields of 'obj' whose gates are off and that 'old' (NULL on create) uses nowhere. 's' may be NULL: the defaults. */
void api_drop_gated(const struct api_type *t, void *obj, const void *old, const struct api_gates_set *s);

#endif
