/*
 * What a kind has beyond its schema.
 *
 * The apiserver serves every resource of schema/ generically: decoding, defaults, metadata, versions, storing, watching and
 * printing need no code here. A kind that has rules of its own (a validation the schema cannot state, a status it fills in, a
 * column, a selectable field) has one file, src/kinds/<group>/<kind>.c, exporting one 'const struct kind_ops', listed in the one
 * table of table.c. A kind with nothing special has no file.
 *
 * Objects are typed structs of the resource's storage version, in the request's arena. Hooks run on the apiserver's loop
 * thread, never block, and keep nothing after they return. Order on create: prepare_create, validate_create; on update:
 * prepare_update, validate_update; on the status subresource: prepare_status, validate_status. Before 'prepare' the apiserver
 * has done what holds for every kind:
 *   create   uid, creationTimestamp, generation 1 (KIND_GENERATION), status cleared (unless KIND_STATUS_ON_CREATE)
 *   update   immutable metadata and status taken from the old object; generation raised when anything but metadata and status
 *            changed (KIND_GENERATION)
 *   status   everything but status taken from the old object, metadata merged as upstream does
 */
#ifndef KINDS_KIND_H
#define KINDS_KIND_H

#include "api/type.h"
#include "base/arena.h"
#include "kinds/field-error.h"

struct kind_world;
struct core_v1_pod_spec;
struct meta_v1_label_selector;
struct meta_v1_object_meta;

/* Which rule metadata.name follows (golden errors 001-010). */
enum kind_name_rule {
    KIND_NAME_SUBDOMAIN,    /* DNS-1123 subdomain: the default */
    KIND_NAME_LABEL,        /* DNS-1123 label */
    KIND_NAME_LABEL_1035,   /* DNS-1035 label */
    KIND_NAME_IP,           /* an IP address in canonical form */
    KIND_NAME_PATH_SEGMENT, /* anything that fits in a URL path segment (RBAC) */
};

enum kind_flag {
    KIND_GENERATION = 1 << 0,           /* metadata.generation counts changes of the desired state */
    KIND_CREATE_ON_UPDATE = 1 << 1,     /* PUT of an absent object creates it */
    KIND_NO_UNCONDITIONAL_UPDATE = 1 << 2, /* PUT must carry a resourceVersion */
    KIND_STATUS_ON_CREATE = 1 << 3,     /* a status sent with POST is kept (Node) */
    KIND_VOLATILE = 1 << 4,             /* writes may be lost on power failure (Lease renewals, Events): design.md 6 */
    KIND_RETURN_DELETED = 1 << 5,       /* DELETE answers with the object, not with a Status */
    KIND_GC_ORPHAN = 1 << 6,            /* dependents are orphaned unless the request says otherwise (Job, ReplicationController) */
    KIND_SPEC_UNOWNED = 1 << 8,         /* managedFields have nothing about spec and conditions (CertificateSigningRequest) */
    KIND_NO_GC = 1 << 7,                /* the garbage collector's finalizers are never put on it (Event) */
};

struct kind_ctx {
    struct arena *arena;
    const struct api_resource *resource; /* the storage version */
    struct str subresource;              /* "", "status", "ephemeralcontainers", … */
    struct str ns, name;
    struct str user;    /* name of who asks */
    struct str user_uid;
    struct str *user_groups;
    size_t n_user_groups;
    struct api_str_list_entry *user_extra; /* sorted by key */
    size_t n_user_extra;
    int64_t now_sec;    /* wall clock */
    uint32_t now_nsec;
    bool dry_run;
    struct field_errs *errs;  /* validation appends here */
    const struct kind_world *world;
    /* Warnings for the client, in the arena; kind_warn() appends. */
    struct str *warnings;
    size_t n_warnings, warnings_capacity;
};

/* What a hook may look up of the rest of the cluster. Answers are as of now, from the watch cache. */
struct kind_world {
    /* The published object, decoded into 'a' in its storage version, or NULL. 'ns' is "" for cluster-scoped resources. */
    const void *(*get)(const struct kind_world *w, struct arena *a, struct str group, struct str resource, struct str ns,
                       struct str name);
    /* Calls 'each' for every object of the resource in 'ns' ("" for all); stops when it returns false. */
    void (*each)(const struct kind_world *w, struct arena *a, struct str group, struct str resource, struct str ns,
                 bool (*each)(void *ctx, const void *obj), void *ctx);
    /* Is this IP family configured ("IPv4", "IPv6")? */
    bool (*has_ip_family)(const struct kind_world *w, struct str family);
    /* The family of Services that do not say (of the first range). */
    struct str (*first_ip_family)(const struct kind_world *w);
};

/* Sets a label, keeping labels sorted. */
void kind_set_label(struct kind_ctx *ctx, struct meta_v1_object_meta *m, struct str key, struct str value);

PRINTF_LIKE(2, 3) void kind_warn(struct kind_ctx *ctx, const char *fmt, ...);

/* One row of a table: cells are appended in the order of the kind's columns. */
struct kind_cells {
    struct arena *arena;
    struct str *json; /* JSON text of each cell */
    size_t n, capacity;
    int64_t now_sec;
    bool completed; /* the row gets the condition Completed (a pod that has ended) */
    struct str completed_reason, completed_message;
};
void cell_str(struct kind_cells *c, struct str s);
PRINTF_LIKE(2, 3) void cell_printf(struct kind_cells *c, const char *fmt, ...);
void cell_int(struct kind_cells *c, int64_t v);
void cell_bool(struct kind_cells *c, bool v);
void cell_null(struct kind_cells *c);
/* "5m", "3d4h", "<unknown>" when 't' is unset: printers' age. */
void cell_age(struct kind_cells *c, struct api_time t);
/* "a=b,c=d" of labels or a selector; "<none>" without any. */
void cell_pairs(struct kind_cells *c, const struct api_str_pair *pairs, size_t n);
/* A label selector as text; "<none>" when it is absent or empty. */
void cell_selector(struct kind_cells *c, const struct meta_v1_label_selector *s);
/* Names and images of containers, comma-separated: two cells. */
void cell_containers(struct kind_cells *c, const struct core_v1_pod_spec *spec);
struct str kind_lower(struct arena *a, struct str s); /* ASCII */
/* The text of a duration in seconds, as the printers write ages. */
struct str kind_duration_text(struct arena *a, int64_t seconds);

struct kind_field {
    struct str label; /* "spec.nodeName" */
    /* The value in 'obj', borrowed from it or in the arena. */
    struct str (*get)(struct arena *a, const void *obj);
};

struct kind_ops {
    struct str group, resource; /* of every served version */
    enum kind_name_rule name_rule;
    uint32_t flags; /* enum kind_flag */
    /* Any hook may be NULL. */
    /* What may be said in two ways becomes one, before anything looks at an object that came in (stringData of a Secret). */
    void (*decoded)(struct kind_ctx *ctx, void *obj);
    /* What reading the stored object back makes of it: defaults that depend on what 'prepare' has set. */
    void (*read_back)(void *obj);
    /* What only the system deletes: false with a reason. */
    bool (*may_delete)(const void *obj, const char **ret_why);
    void (*prepare_create)(struct kind_ctx *ctx, void *obj);
    void (*prepare_update)(struct kind_ctx *ctx, void *obj, const void *old);
    void (*prepare_status)(struct kind_ctx *ctx, void *obj, const void *old);
    void (*validate_create)(struct kind_ctx *ctx, const void *obj);
    void (*validate_update)(struct kind_ctx *ctx, const void *obj, const void *old);
    void (*validate_status)(struct kind_ctx *ctx, const void *obj, const void *old);
    /* Kinds that end gracefully (Pod): the grace period in seconds for a first deletion. False: the object goes at once. */
    bool (*grace)(const void *obj, bool asked, int64_t asked_s, int64_t *ret_s);
    /* Kinds that are taken down in steps (Namespace): marks the object and returns false, or true when it may go. */
    bool (*begin_delete)(struct kind_ctx *ctx, void *obj);
    /* Holds an object that is marked and has no finalizers (Namespace: spec.finalizers). */
    bool (*holds)(const void *obj);
    /* KIND_VOLATILE: may this write be lost on power failure? NULL: all may. 'old' NULL: a create. */
    bool (*is_volatile)(const void *obj, const void *old);
    void (*cells)(struct kind_cells *c, const void *obj); /* NULL: name and age or creation time, by the schema's columns */
    const struct kind_field *fields; /* beyond metadata.name and metadata.namespace; ended by an absent label */
};

/* The hooks of a resource; for a kind without a file the answer is a const struct with only group and resource empty. */
const struct kind_ops *kind_ops_find(struct str group, struct str resource);

/* Conversion between served versions of one resource that differ in shape (HPA v1 and v2, Event core and events.k8s.io).
 * Versions not listed have one shape. 'to_hub' and 'from_hub' fill a zeroed target in the arena; false past its budget. */
struct kind_conversion {
    struct str group, version, kind; /* the version that is not the storage version */
    bool (*to_hub)(struct arena *a, const void *obj, void *ret_hub);
    bool (*from_hub)(struct arena *a, const void *hub, void *ret_obj);
};
/* NULL: same shape. */
const struct kind_conversion *kind_conversion_find(struct str group, struct str version, struct str kind);

#endif
