/*
 * Quantities of resources ("100m", "1.5Gi", "1e3") as the Kubernetes API defines resource.Quantity: exact decimal numbers down
 * to nano, up to 2^63-1, which remember the family of suffixes they were written in. Finer values round away from zero, larger
 * ones are capped. Sums beyond the cap stay exact up to 1.7e29.
 */
#ifndef API_QUANTITY_H
#define API_QUANTITY_H

#include "base/arena.h"
#include "base/err.h"

enum quantity_format {
    QUANTITY_DECIMAL,  /* n u m k M G T P E */
    QUANTITY_BINARY,   /* Ki Mi Gi Ti Pi Ei */
    QUANTITY_EXPONENT, /* e3 */
};

__extension__ typedef __int128 quantity_nano;

struct quantity {
    quantity_nano nano; /* in 10^-9 */
    enum quantity_format format;
};

/* The API's own words for what is not a quantity. */
#define QUANTITY_ERROR "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

/* False with QUANTITY_ERROR (or about the suffix) in 'err', which may be NULL. */
MUST_CHECK bool quantity_parse(struct str s, struct quantity *ret, struct err *err);
/* Zero for what does not parse (values that were validated when they came in). */
struct quantity quantity_of(struct str s);
struct quantity quantity_from_i64(int64_t v, enum quantity_format format);
struct quantity quantity_from_milli(int64_t milli, enum quantity_format format);

#define QUANTITY_SIZE 48
/* The canonical form: the largest suffix that needs no fraction. Terminated; returns the length. */
size_t quantity_format(struct quantity q, char dst[QUANTITY_SIZE]);
struct str quantity_str(struct arena *a, struct quantity q);
/* Text to canonical text: 's' itself when it is canonical already. */
MUST_CHECK bool quantity_canonical(struct arena *a, struct str s, struct str *ret, struct err *err);

int quantity_cmp(struct quantity a, struct quantity b);
/* The format is a's, unless a is zero. */
struct quantity quantity_add(struct quantity a, struct quantity b);
struct quantity quantity_sub(struct quantity a, struct quantity b);
struct quantity quantity_mul(struct quantity a, int64_t factor);
static inline bool quantity_is_zero(struct quantity q)
{
    return q.nano == 0;
}
/* -1, 0 or 1. */
static inline int quantity_sign(struct quantity q)
{
    return q.nano < 0 ? -1 : q.nano > 0;
}
/* Whole units and thousandths, rounded up (away from zero), saturating at the ends of int64. */
int64_t quantity_value(struct quantity q);
int64_t quantity_milli(struct quantity q);
/* No fraction of a unit? */
bool quantity_is_whole(struct quantity q);

#endif
