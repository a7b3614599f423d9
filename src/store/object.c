#include "store/object.h"

#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "store/limits.h"

enum { REF_NAMESPACE, REF_NAME, REF_UID, REF_LABELS };

static const struct object *base_of(const struct object *o)
{
    return o->base ? o->base : o;
}

static size_t n_refs(const struct object *b)
{
    return REF_LABELS + 2u * b->n_labels + b->n_fields + b->n_owners;
}

static const struct shape_piece *pieces_of(const struct object *b)
{
    return (const struct shape_piece *)&b->refs_[n_refs(b)];
}

static const char *bytes_of(const struct object *b)
{
    return (const char *)(pieces_of(b) + b->n_pieces);
}

static struct str ref_str(const struct object *b, size_t i)
{
    const struct object_ref *r = &b->refs_[i];
    return str_n((r->borrowed ? b->shape->bytes : bytes_of(b)) + r->at, r->len);
}

/* Facts are looked for in the JSON from where the last one was found on, as most follow one another. What is far away is not
 * worth the search when its text is short. */
#define FACT_NEAR 256u
#define FACT_SHORT 24u

struct fact_placer {
    struct object_ref *refs;
    size_t n;
    struct str json;
    size_t hint;
    size_t extra; /* bytes of facts that are not in the JSON */
};

static void place_fact(struct fact_placer *p, struct str s)
{
    struct object_ref *r = &p->refs[p->n++];
    *r = (struct object_ref){ 0 };
    if (s.len == 0) {
        return;
    }
    r->len = (uint32_t)s.len;
    size_t left = p->json.len - p->hint;
    const char *at = memmem(p->json.ptr + p->hint, s.len <= FACT_SHORT ? MIN(left, FACT_NEAR) : left, s.ptr, s.len);
    if (!at && p->hint && s.len > FACT_SHORT) {
        at = memmem(p->json.ptr, MIN(p->hint + s.len, p->json.len), s.ptr, s.len);
    }
    if (at) {
        r->at = (uint32_t)(at - p->json.ptr) & INT32_MAX;
        p->hint = r->at + s.len;
        return;
    }
    r->at = (uint32_t)(p->json.len + p->extra) & INT32_MAX;
    p->extra += s.len;
}

static void place_facts(struct fact_placer *p, const struct object_init *init)
{
    place_fact(p, init->name);
    place_fact(p, init->namespace);
    place_fact(p, init->uid);
    struct object_ref name = p->refs[0];
    p->refs[0] = p->refs[1]; /* looked for in the order of the JSON, kept in the order of the enum */
    p->refs[1] = name;
    for (size_t i = 0; i < init->n_labels; i++) {
        place_fact(p, init->labels[i].key);
        place_fact(p, init->labels[i].value);
    }
    size_t after_labels = p->hint;
    for (size_t i = 0; i < init->n_owner_uids; i++) {
        place_fact(p, init->owner_uids[i]);
    }
    p->hint = after_labels;
    for (size_t i = 0; i < init->class->n_fields; i++) {
        place_fact(p, init->fields[i]);
    }
}

static void copy_fact(const struct object_ref *r, struct str s, size_t json_len, char *bytes)
{
    if (r->len && !r->borrowed && r->at >= json_len) {
        memcpy(bytes + r->at, s.ptr, s.len);
    }
}

/* Where the facts are once the text is cut into pieces. One that is not whole in a piece is kept beside the JSON. */
static void move_facts(struct fact_placer *p, const struct shape_cut *cut)
{
    size_t extra = cut->n_own;
    for (size_t i = 0; i < p->n; i++) {
        struct object_ref *r = &p->refs[i];
        size_t begin = 0;
        bool whole = false;
        for (unsigned k = 0; k < cut->n_pieces && r->at < p->json.len && begin <= r->at; k++) {
            const struct shape_piece *piece = &cut->pieces[k];
            if (r->at + r->len <= begin + piece->len) {
                r->borrowed = (cut->borrowed >> k) & 1;
                r->at = (uint32_t)(piece->at + (r->at - begin)) & INT32_MAX;
                whole = true;
                break;
            }
            begin += piece->len;
        }
        if (!whole) {
            r->at = (uint32_t)extra & INT32_MAX;
            extra += r->len;
        }
    }
    p->extra = extra - cut->n_own;
}

/* Copies the facts that are not in the JSON, or not in one piece, into the room behind the 'json_len' own bytes of it. */
static void copy_extra(const struct fact_placer *p, const struct object_init *init, size_t json_len, char *bytes)
{
    size_t i = 0;
    const struct str head[] = { init->namespace, init->name, init->uid };
    for (size_t k = 0; k < ARRAY_SIZE(head); k++) {
        copy_fact(&p->refs[i++], head[k], json_len, bytes);
    }
    for (size_t k = 0; k < init->n_labels; k++) {
        copy_fact(&p->refs[i++], init->labels[k].key, json_len, bytes);
        copy_fact(&p->refs[i++], init->labels[k].value, json_len, bytes);
    }
    for (size_t k = 0; k < init->n_owner_uids; k++) {
        copy_fact(&p->refs[i++], init->owner_uids[k], json_len, bytes);
    }
    for (size_t k = 0; k < init->class->n_fields; k++) {
        copy_fact(&p->refs[i++], init->fields[k], json_len, bytes);
    }
}

static bool find_rv(const struct object_init *init, size_t *ret_at, struct err *err)
{
    if (init->rv_at != OBJECT_FIND_RV) {
        if (init->rv_at > init->json.len) {
            return err_set(err, ERR_INTERNAL, "place of the resourceVersion is outside of the object");
        }
        *ret_at = init->rv_at;
        return true;
    }
    /* Inside of a JSON string the quotes would be escaped, so this text is always a key and the beginning of its value. */
    const struct str needle = STR("\"resourceVersion\":\"");
    ptrdiff_t at = str_find(init->json, needle);
    if (at < 0) {
        return err_set(err, ERR_INTERNAL, "object has no place for its resourceVersion");
    }
    *ret_at = (size_t)at + needle.len;
    return true;
}

static void object_release(struct net_ref *r)
{
    struct object *o = CONTAINER_OF(r, struct object, ref);
    object_unref(o->base);
    if (o->shape) {
        net_ref_put(&o->shape->ref);
    }
    free(o);
}

/* A number that objects with much in common share: the pods of one owner, and without an owner those of equal labels. */
static uint64_t likeness(const struct object_init *init)
{
    uint64_t h = str_hash(init->namespace) ^ (uintptr_t)init->class;
    if (init->n_owner_uids > 0) {
        return h ^ str_hash(init->owner_uids[0]);
    }
    for (size_t i = 0; i < init->n_labels; i++) {
        h = h * 31 + (str_hash(init->labels[i].key) ^ (str_hash(init->labels[i].value) >> 1));
    }
    return h;
}

static void copy_own(struct str json, const struct shape_cut *cut, char *bytes)
{
    const char *from = json.ptr;
    for (unsigned i = 0; i < cut->n_pieces; i++) {
        const struct shape_piece *piece = &cut->pieces[i];
        if (!((cut->borrowed >> i) & 1)) {
            memcpy(bytes + piece->at, from, piece->len);
        }
        from += piece->len;
    }
}

struct object *object_new(const struct object_init *init, struct err *err)
{
    size_t rv_at;
    if (init->json.len > OBJECT_MAX_JSON) {
        err_set(err, ERR_TOO_LARGE, "object of %zu bytes, limit is %u", init->json.len, OBJECT_MAX_JSON);
        return NULL;
    }
    if (init->n_labels > UINT16_MAX || init->n_owner_uids > UINT16_MAX) {
        err_set(err, ERR_TOO_LARGE, "object has too many labels or owners");
        return NULL;
    }
    if (!find_rv(init, &rv_at, err)) {
        return NULL;
    }
    size_t refs = REF_LABELS + 2 * init->n_labels + init->class->n_fields + init->n_owner_uids;
    struct object_ref small[64], *place = small;
    if (refs > ARRAY_SIZE(small)) {
        place = calloc(refs, sizeof(*place));
        if (!place) {
            abort();
        }
    }
    struct fact_placer p = { .refs = place, .json = init->json };
    place_facts(&p, init);
    struct shape_cut cut;
    bool shared = init->class->shapes && shapes_cut(init->class->shapes, likeness(init), init->json, rv_at, &cut);
    if (!shared) {
        cut.shape = NULL;
        cut.borrowed = 0;
        cut.n_pieces = cut.n_head = 0;
        cut.founder = false;
        cut.n_own = init->json.len;
    } else {
        move_facts(&p, &cut);
    }
    struct object *o = malloc(sizeof(*o) + refs * sizeof(struct object_ref) + cut.n_pieces * sizeof(struct shape_piece) +
                              cut.n_own + p.extra);
    if (!o) {
        abort();
    }
    *o = (struct object){
        .epoch = init->epoch,
        .class = init->class,
        .shape = cut.shape,
        .borrowed = cut.borrowed,
        .n_pieces = (uint8_t)cut.n_pieces,
        .n_head = (uint8_t)cut.n_head,
        .founder = cut.founder,
        .head_len = (uint32_t)rv_at,
        .tail_len = (uint32_t)(init->json.len - rv_at),
        .own_len = (uint32_t)(cut.n_own + p.extra),
        .flags = init->flags,
        .n_labels = (uint16_t)init->n_labels,
        .n_fields = init->class->n_fields,
        .n_owners = (uint16_t)init->n_owner_uids,
    };
    net_ref_init(&o->ref, object_release);
    memcpy(o->refs_, place, refs * sizeof(struct object_ref));
    if (cut.n_pieces) {
        memcpy(&o->refs_[refs], cut.pieces, cut.n_pieces * sizeof(struct shape_piece));
    }
    char *bytes = (char *)(uintptr_t)bytes_of(o);
    if (shared) {
        copy_own(init->json, &cut, bytes);
    } else {
        memcpy(bytes, init->json.ptr, init->json.len);
    }
    if (p.extra) {
        copy_extra(&p, init, cut.n_own, bytes);
    }
    if (place != small) {
        free(place);
    }
    return o;
}

struct object *object_ref(const struct object *co)
{
    struct object *o = (struct object *)(uintptr_t)co;
    net_ref_get(&o->ref);
    return o;
}

struct object *object_unref(const struct object *co)
{
    struct object *o = (struct object *)(uintptr_t)co;
    if (o) {
        net_ref_put(&o->ref);
    }
    return NULL;
}

void object_set_revision(struct object *o, int64_t revision)
{
    assert(revision > 0);
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%lld", (long long)revision);
    o->revision = revision;
    o->rv_len = (uint8_t)n;
    memcpy(o->rv, digits, (size_t)n);
}

struct object *object_with_revision(const struct object *o, int64_t revision)
{
    const struct object *b = base_of(o);
    struct object *copy = malloc(sizeof(*copy));
    if (!copy) {
        abort();
    }
    *copy = (struct object){ .epoch = b->epoch, .class = b->class, .flags = b->flags, .base = object_ref(b) };
    net_ref_init(&copy->ref, object_release);
    object_set_revision(copy, revision);
    return copy;
}

struct str object_revision_text(const struct object *o)
{
    return str_n(o->rv, o->rv_len);
}

struct str object_namespace(const struct object *o)
{
    return ref_str(base_of(o), REF_NAMESPACE);
}

struct str object_name(const struct object *o)
{
    return ref_str(base_of(o), REF_NAME);
}

struct str object_uid(const struct object *o)
{
    return ref_str(base_of(o), REF_UID);
}

size_t object_n_labels(const struct object *o)
{
    return base_of(o)->n_labels;
}

struct object_label object_label_at(const struct object *o, size_t i)
{
    const struct object *b = base_of(o);
    return (struct object_label){ .key = ref_str(b, REF_LABELS + 2 * i), .value = ref_str(b, REF_LABELS + 2 * i + 1) };
}

struct str object_label(const struct object *o, struct str key)
{
    const struct object *b = base_of(o);
    for (size_t i = 0; i < b->n_labels; i++) {
        if (b->refs_[REF_LABELS + 2 * i].len == key.len && str_eq(ref_str(b, REF_LABELS + 2 * i), key)) {
            return ref_str(b, REF_LABELS + 2 * i + 1);
        }
    }
    return STR_NULL;
}

struct str object_field(const struct object *o, size_t i)
{
    const struct object *b = base_of(o);
    return i < b->n_fields ? ref_str(b, REF_LABELS + 2u * b->n_labels + b->n_owners + i) : STR_EMPTY;
}

size_t object_n_owners(const struct object *o)
{
    return base_of(o)->n_owners;
}

struct str object_owner_uid(const struct object *o, size_t i)
{
    const struct object *b = base_of(o);
    return i < b->n_owners ? ref_str(b, REF_LABELS + 2u * b->n_labels + i) : STR_EMPTY;
}

static struct iovec iov_of(const char *p, size_t n)
{
    return (struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = n };
}

int object_json_iov_as(const struct object *o, struct str prefix, struct iovec iov[OBJECT_IOV])
{
    const struct object *b = base_of(o);
    const char *bytes = bytes_of(b);
    iov[0] = iov_of(prefix.ptr, prefix.len);
    if (!b->shape) {
        iov[1] = iov_of(bytes, b->head_len);
        iov[2] = iov_of(o->rv, o->rv_len);
        iov[3] = iov_of(bytes + b->head_len, b->tail_len);
        return 4;
    }
    const struct shape_piece *pieces = pieces_of(b);
    int n = 1;
    for (unsigned i = 0; i < b->n_pieces; i++) {
        if (i == b->n_head) {
            iov[n++] = iov_of(o->rv, o->rv_len);
        }
        iov[n++] = iov_of(((b->borrowed >> i) & 1 ? b->shape->bytes : bytes) + pieces[i].at, pieces[i].len);
    }
    return n;
}

int object_json_iov(const struct object *o, struct iovec iov[OBJECT_IOV])
{
    return object_json_iov_as(o, o->class->prefix, iov);
}

int object_item_iov(const struct object *o, struct iovec iov[OBJECT_IOV])
{
    return object_json_iov_as(o, o->class->item_prefix, iov);
}

static int chunks_of(const struct object *o, struct str prefix, struct net_chunk chunks[OBJECT_IOV])
{
    struct iovec iov[OBJECT_IOV];
    int n = object_json_iov_as(o, prefix, iov);
    struct net_ref *owner = &((struct object *)(uintptr_t)o)->ref;
    for (int i = 0; i < n; i++) {
        chunks[i] = net_chunk_of(owner, str_n(iov[i].iov_base, iov[i].iov_len));
    }
    return n;
}

int object_json_chunks(const struct object *o, struct net_chunk chunks[OBJECT_IOV])
{
    return chunks_of(o, o->class->prefix, chunks);
}

int object_item_chunks(const struct object *o, struct net_chunk chunks[OBJECT_IOV])
{
    return chunks_of(o, o->class->item_prefix, chunks);
}

static size_t size_with(const struct object *o, struct str prefix)
{
    const struct object *b = base_of(o);
    return prefix.len + b->head_len + o->rv_len + b->tail_len;
}

size_t object_json_size(const struct object *o)
{
    return size_with(o, o->class->prefix);
}

size_t object_item_size(const struct object *o)
{
    return size_with(o, o->class->item_prefix);
}

static void append_with(const struct object *o, struct str prefix, struct buf *b)
{
    struct iovec iov[OBJECT_IOV];
    int n = object_json_iov_as(o, prefix, iov);
    for (int i = 0; i < n; i++) {
        buf_append_bytes(b, iov[i].iov_base, iov[i].iov_len);
    }
}

void object_json_append(const struct object *o, struct buf *b)
{
    append_with(o, o->class->prefix, b);
}

void object_item_append(const struct object *o, struct buf *b)
{
    append_with(o, o->class->item_prefix, b);
}

bool object_same_json(const struct object *x, const struct object *y)
{
    /* Piece by piece, as both may be cut in different places. The revisions are left out: an empty iovec is passed over. */
    struct iovec a[OBJECT_IOV], b[OBJECT_IOV];
    int n_a = object_json_iov(x, a), n_b = object_json_iov(y, b);
    if (x->class != y->class || base_of(x)->head_len != base_of(y)->head_len ||
        base_of(x)->tail_len != base_of(y)->tail_len) {
        return false;
    }
    for (int i = 0, k = 0;;) {
        if (i < n_a && (a[i].iov_len == 0 || a[i].iov_base == (const void *)x->rv)) {
            i++;
        } else if (k < n_b && (b[k].iov_len == 0 || b[k].iov_base == (const void *)y->rv)) {
            k++;
        } else if (i == n_a || k == n_b) {
            return i == n_a && k == n_b;
        } else {
            size_t n = MIN(a[i].iov_len, b[k].iov_len);
            if (a[i].iov_base != b[k].iov_base && memcmp(a[i].iov_base, b[k].iov_base, n) != 0) {
                return false;
            }
            a[i] = iov_of((const char *)a[i].iov_base + n, a[i].iov_len - n);
            b[k] = iov_of((const char *)b[k].iov_base + n, b[k].iov_len - n);
        }
    }
}

size_t object_memory(const struct object *o)
{
    if (o->base) {
        return sizeof(*o);
    }
    return sizeof(*o) + n_refs(o) * sizeof(struct object_ref) + o->n_pieces * sizeof(struct shape_piece) + o->own_len +
           (o->founder ? o->shape->len : 0);
}

static void shared_bytes_release(struct net_ref *r)
{
    free(CONTAINER_OF(r, struct shared_bytes, ref));
}

struct shared_bytes *shared_bytes_new(struct str s)
{
    struct shared_bytes *b = malloc(sizeof(*b) + s.len + 1);
    if (!b || s.len > UINT32_MAX) {
        abort();
    }
    net_ref_init(&b->ref, shared_bytes_release);
    b->len = (uint32_t)s.len;
    if (s.len) {
        memcpy(b->bytes, s.ptr, s.len);
    }
    b->bytes[s.len] = '\0';
    return b;
}

struct shared_bytes *shared_bytes_ref(struct shared_bytes *b)
{
    net_ref_get(&b->ref);
    return b;
}

struct shared_bytes *shared_bytes_unref(struct shared_bytes *b)
{
    if (b) {
        net_ref_put(&b->ref);
    }
    return NULL;
}

/* ---- encodings ---- */

#define ENCODING_BUCKETS 512
#define ENCODING_OVERHEAD 128

struct encoding {
    struct list lru; /* most recent first */
    struct encoding *next;
    struct object *object;
    struct shared_bytes *bytes;
    uint32_t representation;
};

struct object_encodings {
    size_t budget, used;
    struct list lru;
    struct encoding *bucket[ENCODING_BUCKETS];
};

struct object_encodings *object_encodings_new(size_t budget)
{
    struct object_encodings *e = calloc(1, sizeof(*e));
    if (!e) {
        abort();
    }
    e->budget = budget;
    list_init(&e->lru);
    return e;
}

static struct encoding **encoding_bucket(struct object_encodings *e, const struct object *o, uint32_t representation)
{
    uint64_t h = ((uintptr_t)o >> 4) * UINT64_C(0x9e3779b97f4a7c15) + representation * UINT64_C(0xc2b2ae3d27d4eb4f);
    return &e->bucket[(h >> 32) % ENCODING_BUCKETS];
}

static size_t encoding_cost(const struct encoding *n)
{
    return n->bytes->len + ENCODING_OVERHEAD;
}

static void encoding_drop(struct object_encodings *e, struct encoding *n)
{
    struct encoding **at = encoding_bucket(e, n->object, n->representation);
    while (*at != n) {
        at = &(*at)->next;
    }
    *at = n->next;
    e->used -= encoding_cost(n);
    list_remove(&n->lru);
    object_unref(n->object);
    shared_bytes_unref(n->bytes);
    free(n);
}

struct object_encodings *object_encodings_free(struct object_encodings *e)
{
    if (e) {
        while (!list_empty(&e->lru)) {
            encoding_drop(e, LIST_ENTRY(e->lru.next, struct encoding, lru));
        }
        free(e);
    }
    return NULL;
}

struct shared_bytes *object_encoding(struct object_encodings *e, const struct object *o, uint32_t representation,
                                     object_encode_fn *encode, void *arg, struct err *err)
{
    struct encoding **bucket = encoding_bucket(e, o, representation);
    for (struct encoding *n = *bucket; n; n = n->next) {
        if (n->object == o && n->representation == representation) {
            list_remove(&n->lru);
            list_push_front(&e->lru, &n->lru);
            return shared_bytes_ref(n->bytes);
        }
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, OBJECT_MAX_JSON);
    if (!encode(arg, o, &b, err)) {
        return NULL;
    }
    if (buf_failed(&b)) {
        err_set(err, ERR_TOO_LARGE, "encoding of an object is larger than %u bytes", OBJECT_MAX_JSON);
        return NULL;
    }
    struct shared_bytes *bytes = shared_bytes_new(buf_str(&b));
    if (bytes->len + ENCODING_OVERHEAD > e->budget / 4) {
        return bytes; /* one large object does not push everything else out */
    }
    struct encoding *n = malloc(sizeof(*n));
    if (!n) {
        abort();
    }
    *n = (struct encoding){
        .next = *bucket,
        .object = object_ref(o),
        .bytes = shared_bytes_ref(bytes),
        .representation = representation,
    };
    *bucket = n;
    list_push_front(&e->lru, &n->lru);
    e->used += encoding_cost(n);
    while (e->used > e->budget) {
        encoding_drop(e, LIST_ENTRY(e->lru.prev, struct encoding, lru));
    }
    return bytes;
}
