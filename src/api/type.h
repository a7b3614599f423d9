/*
 * Descriptors: what the generator knows of every API type, as const tables. Each verb (decode, encode, default, merge, …) is
 * one hand-written walker over them; there are no generated parsers. The generator (tools/gen-types.py) writes one struct
 * and one 'const struct api_type' per type of schema/ into api/gen/<group>_<version>.h and .c.
 *
 * Layout rules of the generated structs (README.md tells them with examples):
 *   string, bytes, quantity, duration, raw JSON   struct str; ptr == NULL is absent
 *   bool, int32, int64, double                    plain; with API_F_POINTER a 'bool has_x' beside it tells presence
 *   time, microtime                               struct api_time
 *   int-or-string                                 struct api_int_or_string
 *   message                                       embedded; with API_F_POINTER a pointer, NULL is absent
 *   list                                          'T *x; size_t n_x': pointer at 'offset', count right behind it
 *   map                                           the same, of entries { struct str key; V value; }, sorted by key
 */
#ifndef API_TYPE_H
#define API_TYPE_H

#include "base/str.h"

struct api_type;

struct api_time {
    int64_t sec;   /* since 1970 UTC */
    uint32_t nsec; /* microtime keeps microseconds */
    bool set;      /* false: null */
};

struct api_int_or_string {
    enum { API_IOS_UNSET, API_IOS_INT, API_IOS_STRING } kind;
    int32_t i;
    struct str s;
};

struct api_str_pair {
    struct str key, value;
};

enum api_ftype {
    API_BOOL,
    API_INT32,
    API_INT64,
    API_UINT32,
    API_UINT64,
    API_DOUBLE,
    API_STRING,
    API_BYTES,
    API_TIME,
    API_MICROTIME,
    API_DURATION,
    API_QUANTITY,
    API_INT_OR_STRING,
    API_RAW,   /* any JSON value, kept as its text: RawExtension, JSON, FieldsV1 */
    API_MESSAGE,
    API_STRLIST, /* a list of strings as map value: map<list<string>> (ExtraValue); value is { struct str *items; size_t n; } */
    API_FTYPE_MAX
};

struct api_str_list {
    struct str *items;
    size_t n;
};

enum api_card { API_SINGLE, API_LIST, API_MAP };

enum api_flag {
    API_F_REQUIRED = 1 << 0,
    API_F_POINTER = 1 << 1,    /* unset and zero differ */
    API_F_OMITEMPTY = 1 << 2,  /* left out when empty ('e' of types.tsv) */
    API_F_OMITZERO = 1 << 3,   /* left out when zero ('z') */
    API_F_NULL = 1 << 4,       /* an unset value is written as null */
    API_F_INLINE = 1 << 5,     /* the message's JSON fields stand in place; protobuf nests it */
    API_F_IMMUTABLE = 1 << 6,  /* declared immutable */
    API_F_ENUM_CLOSED = 1 << 7,
    API_F_NO_PROTO = 1 << 8,   /* not in protobuf */
    API_F_RETAIN_KEYS = 1 << 9,/* patch strategy retainKeys */
    API_F_PATCH_MERGE = 1 << 10,/* patch strategy merge */
};

/* List and map semantics of server-side apply (KEP-555, x-kubernetes-list-type, x-kubernetes-map-type). */
enum api_listmap { API_LM_NONE, API_LM_ATOMIC, API_LM_SET, API_LM_MAP, API_LM_GRANULAR };

struct api_field {
    struct str name; /* in JSON; "" for inline */
    uint16_t number; /* in protobuf; 0: none */
    uint8_t ftype;   /* enum api_ftype */
    uint8_t card;    /* enum api_card */
    uint16_t flags;  /* enum api_flag */
    uint8_t listmap; /* enum api_listmap */
    uint32_t offset;
    uint32_t has_offset;             /* of 'bool has_x'; 0: none */
    const struct api_type *message;  /* of API_MESSAGE; of list items and map values too */
    const struct str *keys;          /* list map keys, ended by an absent str; NULL: none */
    struct str patch_key;            /* patch merge key */
    struct str default_json;         /* schema default as JSON text; absent: none */
    const struct str *enum_values;   /* ended by an absent str; NULL: none */
    struct str gate;                 /* feature gate, or absent */
    struct str constraints;          /* declared validation, as types.tsv words it */
    struct str wire;                 /* protobuf wire type where it is not the obvious one */
    struct str doc;                  /* one line, or absent */
};

struct api_type {
    struct str name; /* "core.v1.Pod" */
    uint32_t size;   /* of the struct, bytes */
    uint16_t n_fields;
    const struct api_field *fields;   /* in JSON output order */
    const uint16_t *by_name;          /* indices into fields, sorted by name (bytewise) */
    const uint16_t *by_number;        /* indices of the fields that have a number, sorted by it */
    uint16_t n_by_number;
    struct str doc;
};

/* One served resource, from resources.tsv: what the apiserver, clients and kubelet know of it without code. */
struct api_subresource {
    struct str name, kind; /* kind of the body, "autoscaling/v1.Scale" where foreign */
    struct str verbs;      /* comma-separated */
};

struct api_resource {
    struct str group, version, resource, singular, kind; /* group "" is core */
    bool namespaced, has_status, default_on;
    const struct str *short_names, *categories; /* ended by an absent str */
    struct str verbs;                           /* comma-separated, "*" spelled out */
    const struct api_subresource *subresources; /* ended by an absent name */
    struct str storage_version, etcd_prefix;
    const struct api_type *type, *list_type;
};

extern const struct api_resource api_resources[];
extern const size_t api_n_resources;
/* Every type by name, sorted. */
extern const struct api_type *const api_types[];
extern const size_t api_n_types;

/* "core.v1.Pod" -> descriptor, or NULL. */
const struct api_type *api_type_find(struct str name);
/* The field by JSON name (also through inline messages: then '*ret_offset' is added up), or NULL. */
const struct api_field *api_field_find(const struct api_type *t, struct str json_name, size_t *ret_offset);
/* The resource by group, version and plural name, or by kind; NULL when there is none. */
const struct api_resource *api_resource_find(struct str group, struct str version, struct str resource);
const struct api_resource *api_resource_of_kind(struct str group, struct str version, struct str kind);

#endif
