/*
 * struct val: one JSON-like value, the representation of everything that has no C struct: custom resources, raw fields,
 * webhook bodies, patches. Objects keep the order of their keys; absent (a NULL pointer), null, zero and empty are four things.
 *
 * A val is 24 bytes and holds its children in arrays that live in an arena. Copying the struct shares the children, so whoever
 * changes a tree must own all of it: val_copy() makes a tree of one's own. A pointer into an array or object is good until that
 * array or object changes. Keys of one object are unique when the tree came from val_parse_json(), yaml.h or val_set().
 *
 * Nothing here keeps a budget of its own: the arena's budget bounds memory (functions that allocate fail when it is used up),
 * and depth is bounded where values come in (JSON_DEPTH). Recursion here is as deep as the tree.
 */
#ifndef API_VAL_H
#define API_VAL_H

#include "api/json-reader.h"
#include "base/buf.h"

enum val_kind { VAL_NULL, VAL_BOOL, VAL_INT, VAL_DOUBLE, VAL_STRING, VAL_ARRAY, VAL_OBJECT };

struct val_member;

struct val {
    enum val_kind kind;
    union {
        bool b;
        int64_t i;
        double d;
        struct str s;
        struct {
            union {
                struct val *items;          /* VAL_ARRAY */
                struct val_member *members; /* VAL_OBJECT */
            };
            uint32_t n, capacity;
        };
    };
};

struct val_member {
    struct str key;
    struct val value;
};

static inline struct val val_null(void)
{
    return (struct val){ .kind = VAL_NULL };
}
static inline struct val val_bool(bool b)
{
    return (struct val){ .kind = VAL_BOOL, .b = b };
}
static inline struct val val_int(int64_t i)
{
    return (struct val){ .kind = VAL_INT, .i = i };
}
static inline struct val val_double(double d)
{
    return (struct val){ .kind = VAL_DOUBLE, .d = d };
}
/* Borrows the bytes. */
static inline struct val val_string(struct str s)
{
    return (struct val){ .kind = VAL_STRING, .s = s };
}
static inline struct val val_array(void)
{
    return (struct val){ .kind = VAL_ARRAY };
}
static inline struct val val_object(void)
{
    return (struct val){ .kind = VAL_OBJECT };
}
/* Is there a value of that kind? NULL-safe. */
static inline bool val_is(const struct val *v, enum val_kind kind)
{
    return v && v->kind == kind;
}

/* ---- objects ---- */

/* The value under 'key', or NULL; NULL also when 'v' is NULL or no object. */
struct val *val_get(const struct val *v, struct str key);
/* The place of 'key' among the members, or -1. */
ptrdiff_t val_index_of(const struct val *v, struct str key);
/* Down several keys: VAL_AT(v, "metadata", "labels"). NULL when one is missing. */
struct val *val_at(const struct val *v, const char *const *keys, size_t n);
#define VAL_AT(v, ...) \
    val_at((v), (const char *const[]){ __VA_ARGS__ }, ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })))
/* The string under 'key', or absent when it is missing or no string. */
struct str val_get_str(const struct val *v, struct str key);
/* The string down several keys, or absent. */
#define VAL_STR_AT(v, ...) val_as_str(VAL_AT((v), __VA_ARGS__))
static inline struct str val_as_str(const struct val *v)
{
    return val_is(v, VAL_STRING) ? v->s : STR_NULL;
}
/* A whole number that was written as one (also 3.0). */
MUST_CHECK bool val_as_i64(const struct val *v, int64_t *ret);

/* Sets 'key' (borrowed) to 'value', in its old place or at the end. Returns where it stands now, or NULL when the arena's
 * budget is used up. 'v' must be an object. */
MUST_CHECK struct val *val_set(struct arena *a, struct val *v, struct str key, struct val value);
/* Adds a member without looking for 'key', which must not be there yet. */
MUST_CHECK struct val *val_add(struct arena *a, struct val *v, struct str key, struct val value);
/* The object under 'key', made when there is none (or something else). NULL past the budget. */
MUST_CHECK struct val *val_object_at(struct arena *a, struct val *v, struct str key);
/* Removes 'key', keeping the order of the others. False when it was not there. */
bool val_remove(struct val *v, struct str key);

/* ---- arrays ---- */

MUST_CHECK struct val *val_push(struct arena *a, struct val *v, struct val value);
/* Puts 'value' before item 'at' (at most n). */
MUST_CHECK struct val *val_insert(struct arena *a, struct val *v, size_t at, struct val value);
void val_remove_at(struct val *v, size_t at);

/* ---- whole values ---- */

/* A tree of its own. 'strings': also copies keys and strings, for a result that outlives the source's text. */
MUST_CHECK bool val_copy(struct arena *a, const struct val *v, bool strings, struct val *ret);
/* Same values, whatever the order of keys; 1 and 1.0 are the same. NULL equals NULL only. */
bool val_equal(const struct val *a, const struct val *b);
/* A total order over values, as server-side apply sorts keys and set items: by kind (numbers together, then strings, booleans,
 * arrays, objects, null last), numbers by value, strings by bytes, arrays item by item, objects by their sorted keys. */
int val_cmp(const struct val *a, const struct val *b);
/* Nodes of the tree, keys not counted. */
size_t val_count(const struct val *v);
/* Sorts the keys of every object bytewise: the order in which Go writes maps. */
void val_sort(struct val *v);

/* ---- text ---- */

/* A key that came twice in one object. */
struct val_dup {
    struct str path; /* "spec.ports[0].name" */
    struct str key;  /* its last part */
    uint32_t line;   /* of the later one, from 1; 0: not known (JSON) */
    struct val_dup *next;
};
struct val_dups {
    struct val_dup *first, **last;
    size_t n;
};
/* The most duplicates that are reported; later ones are only dropped. */
#define VAL_DUPS_MAX 32

/* Parses one JSON value. Numbers that fit become int64, others double, as for Kubernetes' unstructured objects. Strings borrow
 * from 'text' or live in the arena. Of duplicate keys the last value counts; with 'dups' (prepared by val_dups_init) they are
 * reported. False with a reason: Go's words for bad syntax, ERR_TOO_LARGE past the budget. */
MUST_CHECK bool val_parse_json(struct arena *a, struct str text, uint32_t max_depth, struct val_dups *dups,
                               struct val *ret, struct err *err);
/* The same from a reader in the middle of a text: reads one value. */
MUST_CHECK bool val_read_json(struct json_reader *r, struct val_dups *dups, struct val *ret);
void val_dups_init(struct val_dups *d);
void val_dups_add(struct arena *a, struct val_dups *d, struct str path, struct str key, uint32_t line);

/* Appends JSON in the order of the keys, with Go's HTML escaping. Absent (NULL) writes null. */
void val_write_json(struct buf *b, const struct val *v);
/* JSON text in the arena, or absent past the budget. */
struct str val_to_json(struct arena *a, const struct val *v);
/* Appends what Go's "%v" prints for the decoded value: map[a:1 b:[x y] c:<nil>], keys sorted. Some of Kubernetes' messages
 * contain it. */
void val_write_go(struct buf *b, const struct val *v);

#endif
