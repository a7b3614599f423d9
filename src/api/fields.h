/*
 * Field sets: which fields of an object somebody owns, as server-side apply tracks them (KEP-555). A set is a trie of path
 * elements; a node may itself be in the set ('member') and have fields below it.
 *
 *     .metadata.labels.app           f:metadata -> f:labels -> f:app
 *     .spec.ports[port=80]           f:spec -> f:ports -> k:{"port":80}
 *     .metadata.finalizers[="x"]     f:metadata -> f:finalizers -> v:"x"
 *
 * Kids are sorted (names, keys, values, indices) and none of them is empty. Sets live in an arena and are immutable once made:
 * results of the operations below share parts with their operands. All fail (false) only past the arena's budget.
 * The JSON form is FieldsV1: {"f:spec":{"f:ports":{".":{},"k:{\"port\":80}":{...}}}}.
 */
#ifndef API_FIELDS_H
#define API_FIELDS_H

#include "api/val.h"

/* In the order they sort. */
enum fields_kind { FIELDS_NAME, FIELDS_KEY, FIELDS_VALUE, FIELDS_INDEX };

/* One step down. */
struct fields_pe {
    enum fields_kind kind;
    union {
        struct str name;  /* FIELDS_NAME */
        struct val value; /* FIELDS_KEY: an object with sorted keys; FIELDS_VALUE: the item; FIELDS_INDEX: an int */
    };
};

struct fields {
    struct fields_pe pe; /* of the root: unused */
    bool member;
    uint32_t n, capacity;
    struct fields *kids;
};

int fields_pe_cmp(const struct fields_pe *a, const struct fields_pe *b);
static inline bool fields_is_empty(const struct fields *f)
{
    return !f->member && f->n == 0;
}
/* The same members in the same memory: what an operation left alone. */
bool fields_is_same(const struct fields *x, const struct fields *y);
/* The kid of that step, or NULL. */
const struct fields *fields_kid(const struct fields *f, const struct fields_pe *pe);
/* Adds a kid in its place, if it is not empty (or merges it into the one that is there). For building. */
MUST_CHECK bool fields_add(struct arena *a, struct fields *f, const struct fields *kid);
/* Room for 'n' kids that will be put into f->kids[f->n++] in any order, all different and none empty; then fields_sort_kids(). */
MUST_CHECK bool fields_reserve(struct arena *a, struct fields *f, uint32_t n);
void fields_sort_kids(struct fields *f);
/* The member at a path of names, made with the nodes above it. For building: "metadata", "name". */
MUST_CHECK bool fields_add_names(struct arena *a, struct fields *f, const char *const *names, size_t n);

MUST_CHECK bool fields_union(struct arena *a, const struct fields *x, const struct fields *y, struct fields *ret);
/* Members of x that are no members of y. A member of y does not take what is below it out of x.
 * When nothing goes, '*ret' shares x's memory. */
MUST_CHECK bool fields_difference(struct arena *a, const struct fields *x, const struct fields *y, struct fields *ret);
/* x without the members of y and all that is below them. */
MUST_CHECK bool fields_exclude(struct arena *a, const struct fields *x, const struct fields *y, struct fields *ret);
MUST_CHECK bool fields_intersection(struct arena *a, const struct fields *x, const struct fields *y, struct fields *ret);
bool fields_equal(const struct fields *x, const struct fields *y);
size_t fields_count(const struct fields *f);

/* Levels of a set that are written: the set stands some levels deep in its object, which must stay readable as a whole. What is
 * deeper is owned with the last level that is written. */
#define FIELDS_DEPTH (JSON_DEPTH - 16)

/* FieldsV1 JSON. */
void fields_write(struct buf *b, const struct fields *f);
/* A node that stands 'depth' levels below the root, as the value of its key. */
void fields_write_below(struct buf *b, const struct fields *f, unsigned depth);
/* Strings are borrowed from 'text' where they can be. ERR_BAD_REQUEST for what is no field set. */
MUST_CHECK bool fields_parse(struct arena *a, struct str text, struct fields *ret, struct err *err);

/* One step as FieldsV1 has it, as a JSON string: "f:name", "k:{\\"port\\":80}". */
void fields_pe_write_json(struct buf *b, const struct fields_pe *pe);

/* Appends one step as people read it: ".name", "[name=\"x\",port=80]", "[=\"v\"]", "[0]". */
void fields_pe_write(struct buf *b, const struct fields_pe *pe);
/* Calls 'each' with the path of every member, in order (".spec.replicas"); stops when it returns false. */
bool fields_each(const struct fields *f, bool (*each)(void *ctx, struct str path), void *ctx);

#endif
