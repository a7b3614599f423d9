/*
 * The published object: one immutable, reference-counted form of an API object that everybody shares, in as few bytes as can
 * be. It holds the JSON that is served, cut at the resourceVersion (which is known only when the write is published), and
 * the few facts that reads need, so that lists, selectors and watches never decode anything.
 *
 *      {"kind":"Pod","apiVersion":"v1",  "metadata":{…"resourceVersion":"   812   "…},"spec":{…}}
 *      '-- object_class.prefix -------'  '-- head ------------------------' gap   '-- tail ----'
 *
 * The prefix belongs to the class (one resource in one version), so versions of one shape share the bytes, and an item of a
 * LIST of built-ins, which carries no kind and apiVersion, is just "{" + head + gap + tail. Custom resources have their kind
 * inside: their prefix is "{" in both places.
 *
 * Life: object_new() makes it without a revision; it is given to store_write(); the store sets the revision once, before it
 * hands the object to anybody else. From then on it never changes. References may be taken and dropped on any thread.
 */
#ifndef STORE_OBJECT_H
#define STORE_OBJECT_H

#include <sys/uio.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/chunk.h"
#include "store/shape.h"

/* What all objects of one resource in one version have in common. Lives as long as any of its objects. */
struct object_class {
    struct str prefix;      /* before the head when the object stands alone: GET, WATCH */
    struct str item_prefix; /* before the head in a LIST; "{" for built-ins */
    const struct str *fields; /* names of the selectable fields besides metadata.name and metadata.namespace, in the order of
                               * object_init.fields: {"spec.nodeName", "status.phase", …} */
    uint16_t n_fields;
    struct shapes *shapes; /* objects that look alike borrow their bytes of one another (shape.h): then all objects of the class
                            * are made on one thread. NULL: each has its own */
};

struct object_label {
    struct str key, value;
};

/* What the builder (the apiserver) gives; everything is copied. */
struct object_init {
    const struct object_class *class;
    struct str json; /* the whole JSON without the class's prefix; the resourceVersion is left out between its quotes:
                      * "metadata":{"name":"a","resourceVersion":"","uid":… */
    size_t rv_at;    /* offset in 'json' where the digits belong; OBJECT_FIND_RV: the first "resourceVersion":" */
    struct str namespace, name, uid;
    const struct object_label *labels; /* sorted by key */
    size_t n_labels;
    const struct str *fields; /* class->n_fields values; absent and "" are the same */
    const struct str *owner_uids;
    size_t n_owner_uids;
    uint32_t epoch; /* schema epoch the bytes were made in */
    uint32_t flags; /* enum object_flag */
};
#define OBJECT_FIND_RV SIZE_MAX

enum object_flag {
    OBJECT_DELETING = 1 << 0,    /* has a deletionTimestamp */
    OBJECT_USER_FLAG = 1 << 8,   /* from here on: free for the apiserver (per resource) */
};

struct object_ref { /* a fact: a piece of the object's own bytes, or of its shape's */
    uint32_t borrowed : 1;
    uint32_t at : 31;
    uint32_t len;
};

/* Private layout; use the functions. */
struct object {
    struct net_ref ref; /* so that its bytes can be sent as chunks */
    int64_t revision;   /* 0: not published yet */
    const struct object_class *class;
    struct object *base;       /* set: bytes and facts are this object's (object_with_revision) */
    struct shape *shape;       /* set: the JSON is a row of pieces */
    uint32_t head_len, tail_len;
    uint32_t own_len;          /* bytes of the object itself: its JSON or what is its own of it, and facts that do not occur
                                * in one piece of it */
    uint32_t borrowed;         /* of each piece: whether it is of the shape */
    uint32_t flags, epoch;
    uint16_t n_labels, n_fields, n_owners;
    uint8_t n_pieces, n_head;  /* the first n_head are the head */
    bool founder;              /* the shape was made for this object */
    uint8_t rv_len;
    char rv[20];
    struct object_ref refs_[]; /* namespace, name, uid, labels, fields, owners; then the pieces; then the bytes */
};

/* NULL with a reason: no place for the resourceVersion, or larger than limits.h allows. */
MUST_CHECK struct object *object_new(const struct object_init *init, struct err *err);
struct object *object_ref(const struct object *o);
/* NULL-safe; returns NULL. */
struct object *object_unref(const struct object *o);
/* Once, before anybody else has the object. The store does it. */
void object_set_revision(struct object *o, int64_t revision);
/* The same object under another revision, without copying its bytes: what a DELETED event carries. */
MUST_CHECK struct object *object_with_revision(const struct object *o, int64_t revision);

static inline int64_t object_revision(const struct object *o)
{
    return o->revision;
}
/* The digits of the revision; "" before publication. */
struct str object_revision_text(const struct object *o);
struct str object_namespace(const struct object *o);
struct str object_name(const struct object *o);
struct str object_uid(const struct object *o);
size_t object_n_labels(const struct object *o);
struct object_label object_label_at(const struct object *o, size_t i);
/* The label's value, absent when it has no such label. */
struct str object_label(const struct object *o, struct str key);
/* The i-th selectable field of the class; "" when unset. */
struct str object_field(const struct object *o, size_t i);
size_t object_n_owners(const struct object *o);
struct str object_owner_uid(const struct object *o, size_t i);

/* ---- bytes ---- */

enum { OBJECT_IOV = 2 + SHAPE_MAX_PIECES };
/* The JSON as at most OBJECT_IOV pieces that live as long as the object. Returns their number. */
int object_json_iov(const struct object *o, struct iovec iov[OBJECT_IOV]);
/* The same as an item of a LIST. */
int object_item_iov(const struct object *o, struct iovec iov[OBJECT_IOV]);
/* The JSON with another prefix (another version of the same shape: {"kind":"Event","apiVersion":"events.k8s.io/v1",). */
int object_json_iov_as(const struct object *o, struct str prefix, struct iovec iov[OBJECT_IOV]);
/* The same as chunks, each with a reference of its own: to be queued on a stream, which releases them. */
int object_json_chunks(const struct object *o, struct net_chunk chunks[OBJECT_IOV]);
int object_item_chunks(const struct object *o, struct net_chunk chunks[OBJECT_IOV]);
/* Bytes of the JSON standing alone, and as a LIST item. */
size_t object_json_size(const struct object *o);
size_t object_item_size(const struct object *o);
/* Appends the JSON; to decode it, or to gather records. */
void object_json_append(const struct object *o, struct buf *b);
void object_item_append(const struct object *o, struct buf *b);
/* Whether the JSON is the same but for the revision. */
bool object_same_json(const struct object *a, const struct object *b);
/* Bytes of memory the object holds (its base, and what it borrows of others, not counted). */
size_t object_memory(const struct object *o);

/* ---- shared bytes: encodings made once and given to many (frames, protobuf) ---- */

struct shared_bytes {
    struct net_ref ref;
    uint32_t len;
    char bytes[];
};
/* Copies 's'. Aborts when out of memory. */
struct shared_bytes *shared_bytes_new(struct str s);
struct shared_bytes *shared_bytes_ref(struct shared_bytes *b);
/* NULL-safe; returns NULL. From any thread. */
struct shared_bytes *shared_bytes_unref(struct shared_bytes *b);
static inline struct str shared_bytes_str(const struct shared_bytes *b)
{
    return str_n(b->bytes, b->len);
}
/* A chunk of all of it, with a reference of its own. */
static inline struct net_chunk shared_bytes_chunk(struct shared_bytes *b)
{
    return net_chunk_of(&b->ref, shared_bytes_str(b));
}

/*
 * Encodings of objects that can be made again at any time (protobuf, PartialObjectMetadata, Table rows), kept within a
 * budget, least recently used out first. One per loop thread.
 */
struct object_encodings;
/* Appends the encoding of 'o' in the representation; false with a reason. */
typedef bool object_encode_fn(void *arg, const struct object *o, struct buf *b, struct err *err);

struct object_encodings *object_encodings_new(size_t budget);
struct object_encodings *object_encodings_free(struct object_encodings *e);
/* The encoding (a new reference), made by 'encode' when it is not there. 'representation' is any number the caller chose for
 * type, version and options. NULL with a reason when 'encode' failed. */
MUST_CHECK struct shared_bytes *object_encoding(struct object_encodings *e, const struct object *o, uint32_t representation,
                                                object_encode_fn *encode, void *arg, struct err *err);

#endif
