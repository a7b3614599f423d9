/*
 * What server-side apply asks of a schema, at one place of an object: is this one value (a leaf), a map or struct, or a list,
 * and what are its items told apart by? Answers come from the descriptors for built-in types and from the structural schema for
 * custom resources; without any schema, maps are open and lists are one value ("deduced").
 */
#ifndef API_FIELDS_SCHEMA_H
#define API_FIELDS_SCHEMA_H

#include "api/fields.h"
#include "api/type.h"

struct apiextensions_v1_json_schema_props;

enum fields_shape {
    FIELDS_LEAF,    /* a scalar, or anything that is owned as a whole */
    FIELDS_MAP,     /* a struct or a map; 'atomic' makes it a leaf too */
    FIELDS_LIST,
    FIELDS_DEDUCED, /* whatever the value is: open map, atomic list or scalar */
};

enum fields_scalar { FIELDS_ANY, FIELDS_STRING, FIELDS_NUMBER, FIELDS_BOOL };

/* A place in the schema. Passed by value; what it points at is the caller's. */
struct fields_at {
    enum fields_shape shape;
    enum fields_scalar scalar; /* of a leaf: what validation expects */
    bool atomic;
    enum api_listmap list;     /* of FIELDS_LIST: API_LM_ATOMIC, API_LM_SET or API_LM_MAP */
    const struct api_type *type;   /* a built-in struct */
    const struct api_field *field; /* a built-in list or map: its items */
    const struct apiextensions_v1_json_schema_props *crd;
    bool crd_root; /* the object itself: has apiVersion, kind and metadata besides */
};

struct fields_at fields_at_type(const struct api_type *t);
/* A field of a built-in struct. */
struct fields_at fields_at_field(const struct api_field *f);
/* The root of a custom resource's version; 'schema' NULL: nothing is known. */
struct fields_at fields_at_crd(const struct apiextensions_v1_json_schema_props *schema);
struct fields_at fields_at_deduced(void);

/* Below a map or struct. '*ret_declared': the schema names the field (it is not just a key of a map). False: a struct that has no
 * such field ('*ret' is then deduced). */
bool fields_at_member(struct fields_at at, struct str key, struct fields_at *ret, bool *ret_declared);
/* The items of a list. */
struct fields_at fields_at_item(struct fields_at at);

/* The i-th name of the key of a FIELDS_LIST with API_LM_MAP; absent behind the last. */
struct str fields_at_key(struct fields_at at, size_t i);
/* The value a key has in an item that leaves it out. False: it has none. '*ret' borrows from the schema or the arena. */
MUST_CHECK bool fields_at_key_default(struct arena *a, struct fields_at at, struct str key, struct val *ret);

/* Is this one leaf for the value there? Maps and lists that are atomic, scalars, and by value where it is deduced. */
bool fields_at_is_leaf(struct fields_at at, const struct val *v);

/* What tells 'item' from the others of the list. False with a reason: a key is missing, null or the item has the wrong kind. */
MUST_CHECK bool fields_item_pe(struct arena *a, struct fields_at list, const struct val *item, struct fields_pe *ret,
                               struct err *err);

#endif
