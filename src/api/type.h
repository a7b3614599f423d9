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

/* Entries of maps; a map of messages has 'struct <type>_entry { struct str key; struct <type> value; }'. */
struct api_time_entry {
    struct str key;
    struct api_time value;
};

enum api_ftype {
    API_BOOL,
    API_INT32,
    API_INT64,
    API_UINT32,
    API_UINT64,
    API_DOUBLE,
    API_ENUM,   /* of protobuf alone (CRI, etcd): an int32_t with generated constants */
    API_STRING,
    API_BYTES,
    API_TIME,
    API_MICROTIME,
    API_DURATION, /* Go's text, "20s" */
    API_QUANTITY, /* in canonical form */
    API_INT_OR_STRING,
    API_RAW,   /* any JSON value, kept as its text: RawExtension, JSON, FieldsV1 */
    API_MESSAGE,
    API_STRLIST, /* a list of strings as map value: map<list<string>> (ExtraValue) */
    API_FTYPE_MAX
};

struct api_str_list {
    struct str *items;
    size_t n;
};

struct api_str_list_entry {
    struct str key;
    struct api_str_list value;
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
    API_F_FILL = 1 << 11,      /* a default is filled in when unset: facts->fill_json, else facts->default_json */
    API_F_WRAPPED = 1 << 12,   /* a list of strings that protobuf wraps in a message of its own (Verbs) */
    API_F_TYPE_META = 1 << 13, /* items are objects whose kind and apiVersion are filled in: facts->item_kind */
    API_F_MILLI = 1 << 14,     /* quantities of the map are rounded up to milli units */
};

/* Where the bytes lie that tell whether a field is set, so that verbs ask once and not by its type. */
enum api_probe {
    API_PROBE_NONE,   /* always shown */
    API_PROBE_BYTE,   /* a byte of the member */
    API_PROBE_HAS,    /* the has_ flag */
    API_PROBE_WORD,   /* four bytes of the member */
    API_PROBE_LONG,   /* eight: a number or a pointer */
    API_PROBE_COUNT,  /* the count or length behind a pointer */
    API_PROBE_TIME,   /* api_time's 'set' */
    API_PROBE_DOUBLE, /* a number, where -0 is zero too */
};

/* The rule, as a constant for generated tables: see api_presence(). An omitempty list is shown when it has items; a pointer when
 * it points; other fields without omitempty always, and raw values, quantities and structs whatever they hold. */
#define API_PROBE(ftype, card, flags, has)                                                                            \
    ((card) != API_SINGLE                 ? ((flags) & (API_F_OMITEMPTY | API_F_OMITZERO) ? API_PROBE_COUNT : API_PROBE_NONE) \
     : ((flags) & API_F_POINTER) && (has) ? API_PROBE_HAS                                                              \
     : ((flags) & API_F_POINTER)                                                                                       \
         ? ((ftype) == API_TIME || (ftype) == API_MICROTIME ? API_PROBE_TIME                                          \
            : (ftype) == API_INT_OR_STRING                  ? API_PROBE_WORD                                          \
                                                            : API_PROBE_LONG)                                         \
     : !((flags) & (API_F_OMITEMPTY | API_F_OMITZERO))                                    ? API_PROBE_NONE            \
     : (ftype) == API_BOOL                                                                ? API_PROBE_BYTE            \
     : (ftype) == API_INT32 || (ftype) == API_UINT32 || (ftype) == API_ENUM               ? API_PROBE_WORD            \
     : (ftype) == API_INT64 || (ftype) == API_UINT64                                      ? API_PROBE_LONG            \
     : (ftype) == API_STRING || (ftype) == API_BYTES || (ftype) == API_DURATION           ? API_PROBE_COUNT           \
     : (ftype) == API_TIME || (ftype) == API_MICROTIME                                    ? API_PROBE_TIME            \
     : (ftype) == API_DOUBLE                                                              ? API_PROBE_DOUBLE          \
                                                                                          : API_PROBE_NONE)

/* List and map semantics of server-side apply (KEP-555, x-kubernetes-list-type, x-kubernetes-map-type). */
enum api_listmap { API_LM_NONE, API_LM_ATOMIC, API_LM_SET, API_LM_MAP, API_LM_GRANULAR };

/* What only some verbs ask of a field; equal ones are shared. */
struct api_facts {
    const struct str *keys;        /* list map keys, ended by an absent str; NULL: none */
    struct str patch_key;          /* patch merge key */
    struct str default_json;       /* published default as JSON text; absent: none */
    struct str fill_json;          /* default that is filled in but not published */
    const struct str *enum_values; /* ended by an absent str; NULL: none. Closed with API_F_ENUM_CLOSED, else known ones */
    struct str gate;               /* feature gate, or absent; several are separated by commas */
    struct str constraints;        /* declared validation: "maxItems=32;unique=set" */
    struct str oneof;              /* name of the protobuf oneof it belongs to */
    struct str item_version, item_kind; /* of API_F_TYPE_META: "v1", "PersistentVolumeClaim" */
    struct str doc;                /* one line, or absent */
};

extern const struct api_facts api_no_facts; /* all absent */

struct api_field {
    struct str name; /* in JSON; "" for inline */
    uint16_t number; /* in protobuf; 0: none */
    uint8_t ftype;   /* enum api_ftype */
    uint8_t card;    /* enum api_card */
    uint16_t flags;  /* enum api_flag */
    uint8_t listmap; /* enum api_listmap */
    uint8_t probe;   /* enum api_probe */
    uint32_t offset;
    uint32_t has_offset;            /* of 'bool has_x'; 0: none */
    const struct api_type *message; /* of API_MESSAGE; of list items and map values too */
    const struct api_facts *facts;  /* never NULL */
};

/* A JSON field of a type, with those of its inline messages in place. */
struct api_flat {
    const struct api_field *field;
    uint32_t base; /* where the message that has the field begins in the outer struct; its offset comes on top */
};

/* How a message looks as JSON. */
enum api_form {
    API_FORM_OBJECT,
    API_FORM_SCHEMA_OR_BOOL,    /* true, false or a schema (JSON schema's additionalProperties) */
    API_FORM_SCHEMA_OR_ARRAY,   /* a schema or a list of them (items) */
    API_FORM_SCHEMA_OR_STRINGS, /* a schema or a list of strings (dependencies) */
};

enum api_type_flag {
    API_T_PROTO3 = 1 << 0,   /* zero scalars are not written in protobuf; lists of numbers are packed */
    API_T_DEFAULTS = 1 << 1, /* the type or something below it has defaults */
    API_T_OBJECT = 1 << 2,   /* has kind and apiVersion */
    API_T_GATED = 1 << 3,    /* the type or something below it has a field behind a feature gate */
};

struct api_type {
    struct str name; /* "core.v1.Pod" */
    uint32_t size;   /* of the struct, bytes */
    uint16_t n_fields;
    uint8_t form;    /* enum api_form */
    uint8_t flags;   /* enum api_type_flag */
    uint16_t rule;   /* enum api_rule of api/gen/index.h */
    const struct api_field *fields; /* in JSON output order */
    const struct api_flat *flat;    /* the same with inline ones resolved */
    const uint8_t *by_name;         /* indices into flat, sorted by JSON name */
    const uint8_t *hash;            /* open addressing by api_name_hash(): index into flat + 1, 0 is empty */
    uint16_t n_flat, hash_mask;
    const uint16_t *by_number;      /* indices of the fields that have a number, sorted by it */
    const uint8_t *number_index;    /* number -> index into fields + 1, 0: no such field */
    uint16_t n_by_number, max_number;
    struct str doc;
};

/* The hash of generated name tables. Must match name_hash() in tools/gen-types.py. */
static inline uint32_t api_name_hash(struct str name)
{
    const unsigned char *p = (const unsigned char *)name.ptr;

    if (name.len == 0) {
        return 0;
    }
    return (uint32_t)name.len * 5 + p[0] * 3u + p[name.len - 1] * 7u + p[name.len / 2] * 31u + p[name.len / 4] * 17u;
}

extern const uint8_t api_value_sizes[API_FTYPE_MAX]; /* 0: a message, whose type tells */
/* Bytes of one list item, of one map value, and of one map entry {struct str key; value} of 'f'. */
static inline size_t api_item_size(const struct api_field *f)
{
    return f->ftype == API_MESSAGE ? f->message->size : api_value_sizes[f->ftype];
}
static inline size_t api_entry_size(const struct api_field *f)
{
    return (sizeof(struct str) + api_item_size(f) + 7) & ~(size_t)7;
}
/* Bytes of the member of 'f' in its struct, its has_ flag apart. */
size_t api_member_size(const struct api_field *f);
#define API_ENTRY_VALUE sizeof(struct str) /* offset of the value in an entry */

/* Fills in kind and apiVersion of the 'n' items of a field with API_F_TYPE_META: protobuf has none, JSON always shows them. */
void api_set_item_type_meta(const struct api_field *f, void *items, size_t n);

/* One call of a gRPC service. */
struct api_rpc {
    struct str path; /* "/runtime.v1.RuntimeService/Version" */
    const struct api_type *request, *response;
    bool client_streams, server_streams;
};

/* One served resource, from resources.tsv: what the apiserver, clients and kubelet know of it without code. */
struct api_subresource {
    struct str name, kind; /* kind of the body, "autoscaling/v1.Scale" where foreign */
    struct str verbs;      /* comma-separated */
};

/* A column of the Table answer; the description also tells what the cell shows. */
struct api_column {
    struct str name, type, format, description;
    int32_t priority;
};

enum api_availability {
    API_ON,       /* served by default */
    API_OFF,      /* served when --runtime-config asks for it */
    API_REMOVED,  /* of an older Kubernetes */
    API_EXTERNAL, /* served by an add-on */
};

struct api_resource {
    struct str group, version, resource, singular, kind; /* group "" is core */
    bool namespaced, has_status;
    bool default_on;      /* availability is API_ON */
    bool in_1_20;         /* Kubernetes 1.20 served it */
    uint8_t availability; /* enum api_availability */
    const struct str *short_names, *categories; /* ended by an absent str */
    struct str verbs;                           /* comma-separated, "*" spelled out */
    const struct api_subresource *subresources; /* ended by an absent name */
    struct str storage_version;                 /* "v1", "apps/v1"; absent: not stored or not ours */
    struct str etcd_prefix;                     /* "/registry/pods", or absent */
    struct str since;                           /* release that introduced the version, or absent */
    const struct api_type *type, *list_type;    /* NULL: not in schema/ */
    const struct api_column *columns;
    size_t n_columns;
};

extern const struct api_resource api_resources[];
extern const size_t api_n_resources;
/* Every type by name, sorted. */
extern const struct api_type *const api_types[];
extern const size_t api_n_types;

/* Which API group and version a package of schema/ is. */
struct api_package {
    struct str name, group, version; /* "core.v1", "", "v1" */
};
extern const struct api_package api_packages[];
extern const size_t api_n_packages;

/* "core.v1.Pod" -> descriptor, or NULL. */
const struct api_type *api_type_find(struct str name);
/* By what an object says of itself: "apps/v1" and "DeploymentList". Kinds of meta/v1 (Status, DeleteOptions, WatchEvent, ...) go
 * by "v1", "meta.k8s.io/v1" and any version of any group. NULL when schema/ has no such kind. */
const struct api_type *api_type_of_kind(struct str api_version, struct str kind);
/* The field by JSON name (also through inline messages), or NULL. '*ret_offset' is where its member lies in the struct;
 * may be NULL. */
const struct api_field *api_field_find(const struct api_type *t, struct str json_name, size_t *ret_offset);
/* Its index in t->flat, or -1. */
int api_flat_find(const struct api_type *t, struct str json_name);
/* The resource by group, version and plural name, or by kind; NULL when there is none. */
const struct api_resource *api_resource_find(struct str group, struct str version, struct str resource);
const struct api_resource *api_resource_of_kind(struct str group, struct str version, struct str kind);

#endif
