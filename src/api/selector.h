/*
 * Label and field selectors: parsed once, matched often.
 *
 * A label selector is a list of requirements that must all hold; an empty list matches everything, 'nothing' matches nothing
 * (a LabelSelector that is not there). Requirements borrow from the text or the object they were made of and live in the arena.
 * Requirements are sorted by key, so two selectors that mean the same often print the same.
 */
#ifndef API_SELECTOR_H
#define API_SELECTOR_H

#include "api/type.h"
#include "base/arena.h"
#include "base/err.h"

struct meta_v1_label_selector;

enum selector_op {
    SELECTOR_IN,
    SELECTOR_NOT_IN,
    SELECTOR_EQUALS,
    SELECTOR_DOUBLE_EQUALS,
    SELECTOR_NOT_EQUALS,
    SELECTOR_EXISTS,
    SELECTOR_NOT_EXISTS,
    SELECTOR_GT,
    SELECTOR_LT,
};

struct selector_req {
    struct str key;
    enum selector_op op;
    struct str *values; /* sorted, no two the same */
    size_t n_values;
    int64_t number; /* of GT and LT */
};

struct selector {
    bool nothing;
    struct selector_req *reqs;
    size_t n;
};

/* The query form: "a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1". False with Kubernetes' words. An empty text matches everything. */
MUST_CHECK bool selector_parse(struct arena *a, struct str text, struct selector *ret, struct err *err);
/* metav1.LabelSelector: NULL matches nothing, an empty one everything. False for operators and values that are not valid. */
MUST_CHECK bool selector_from_label_selector(struct arena *a, const struct meta_v1_label_selector *ls,
                                             struct selector *ret, struct err *err);
/* All of these pairs (a service's or controller's spec.selector as a map). No validation. Without pairs it matches everything. */
MUST_CHECK bool selector_from_pairs(struct arena *a, const struct api_str_pair *pairs, size_t n, struct selector *ret);

/* 'labels' are sorted by key, as decoders leave them. */
bool selector_matches(const struct selector *s, const struct api_str_pair *labels, size_t n_labels);
static inline bool selector_is_everything(const struct selector *s)
{
    return !s->nothing && s->n == 0;
}
/* The query form again. STR_NULL past the budget. */
struct str selector_str(struct arena *a, const struct selector *s);
/* If every match must have 'key' with one value, that value; otherwise absent. For indexes. */
struct str selector_exact(const struct selector *s, struct str key);

/* ---- field selectors ---- */

struct field_term {
    struct str field, value;
    bool negate;
};

struct field_selector {
    struct field_term *terms; /* all must hold */
    size_t n;
};

/* "metadata.name=x,spec.nodeName!=y": '=', '==' and '!=', with '\\' before ',', '=' and '\\' inside values. */
MUST_CHECK bool field_selector_parse(struct arena *a, struct str text, struct field_selector *ret, struct err *err);
/* 'get' gives the value of a field of the object ("" for one that is unset). */
bool field_selector_matches(const struct field_selector *s, struct str (*get)(void *object, struct str field), void *object);
/* The value 'field' must have in every match, or absent. */
struct str field_selector_exact(const struct field_selector *s, struct str field);
struct str field_selector_str(struct arena *a, const struct field_selector *s);

#endif
