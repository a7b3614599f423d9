/*
 * Field errors: what is wrong with an object, field by field, worded as Kubernetes words it.
 *
 * Validation appends to a struct field_errs and goes on, so that a person sees everything at once. Every message has the form
 * "<path>: <what>: <value>: <detail>" (API conventions, "Validation"); the apiserver joins them into the message of an Invalid
 * Status and lists them as its causes. Paths are built with field_path(), which needs no free: they live in the arena.
 */
#ifndef KINDS_FIELD_ERROR_H
#define KINDS_FIELD_ERROR_H

#include "base/arena.h"

enum field_reason {
    FIELD_REQUIRED,      /* "Required value" */
    FIELD_INVALID,       /* "Invalid value" */
    FIELD_NOT_SUPPORTED, /* "Unsupported value" */
    FIELD_FORBIDDEN,     /* "Forbidden" */
    FIELD_DUPLICATE,     /* "Duplicate value" */
    FIELD_NOT_FOUND,     /* "Not found" */
    FIELD_TOO_LONG,      /* "Too long" */
    FIELD_TOO_MANY,      /* "Too many" */
    FIELD_TYPE_INVALID,  /* "Invalid value", the value has the wrong type */
    FIELD_INTERNAL,      /* "Internal error" */
    FIELD_REASON_MAX
};

struct field_err {
    enum field_reason reason;
    struct str path;
    struct str body; /* "Invalid value: \"x\": must be …": the message without the path */
};

/* A list in an arena; errors past FIELD_ERRS_MAX are counted but not kept. */
#define FIELD_ERRS_MAX 100
struct field_errs {
    struct arena *arena;
    struct field_err *items;
    size_t n, capacity;
};

void field_errs_init(struct field_errs *e, struct arena *a);
/* "FieldValueRequired", …: metav1.StatusCause.reason. */
struct str field_reason_cause(enum field_reason r);

/* Builds a path: field_path(a, "%s.ports[%zu]", …) by printf rules. Past the budget it is "". */
PRINTF_LIKE(2, 3) struct str field_path(struct arena *a, const char *fmt, ...);
/* parent.name, parent[i], parent[key]; an empty parent gives the name alone. */
struct str path_child(struct arena *a, struct str parent, const char *name);
struct str path_index(struct arena *a, struct str parent, size_t i);
struct str path_key(struct arena *a, struct str parent, struct str key);

/* Each appends one error. 'detail' may be "". Values: _str is quoted as Go's %q does, _int and _json are written as they are. */
PRINTF_LIKE(3, 4) void field_required(struct field_errs *e, struct str path, const char *detail, ...);
PRINTF_LIKE(4, 5) void field_invalid_str(struct field_errs *e, struct str path, struct str value, const char *detail, ...);
PRINTF_LIKE(4, 5) void field_invalid_int(struct field_errs *e, struct str path, int64_t value, const char *detail, ...);
/* 'value' is written as it stands: JSON text, "null", … */
PRINTF_LIKE(4, 5) void field_invalid_json(struct field_errs *e, struct str path, struct str value, const char *detail, ...);
/* 'supported' ends with an absent str; written in the order given. */
void field_not_supported(struct field_errs *e, struct str path, struct str value, const struct str *supported);
void field_not_supported_json(struct field_errs *e, struct str path, struct str value, const struct str *supported);
PRINTF_LIKE(3, 4) void field_forbidden(struct field_errs *e, struct str path, const char *detail, ...);
void field_duplicate_str(struct field_errs *e, struct str path, struct str value);
void field_duplicate_json(struct field_errs *e, struct str path, struct str value);
void field_not_found(struct field_errs *e, struct str path, struct str value);
/* "may not be more than 262144 bytes". */
void field_too_long(struct field_errs *e, struct str path, size_t max_bytes);
void field_too_many(struct field_errs *e, struct str path, size_t actual, size_t max);
PRINTF_LIKE(3, 4) void field_internal(struct field_errs *e, struct str path, const char *detail, ...);
/* Appends with a finished body ("Invalid value: …"). */
void field_add(struct field_errs *e, enum field_reason r, struct str path, struct str body);

/* One error gives "path: body"; several give "[a, b]", without repeating equal ones (as utilerrors.Aggregate does). */
struct str field_errs_message(const struct field_errs *e, struct arena *a);

#endif
