#include "api/encode-pb.h"

#include <stdlib.h>

#include "api/bytes.h"
#include "api/duration.h"

/*
 * The message is written backwards, from the end of a growing piece of memory to its front: so the length of a nested message
 * is known when its header is written, and one pass is enough.
 */
struct encoder {
    unsigned char *begin, *pos, *end;
    bool failed;
    bool settle; /* see encode-pb.h */
    unsigned char stack[4096];          /* most messages fit and need no heap */
};

static void encode_message(struct encoder *e, const struct api_type *t, const void *obj);

static bool make_room(struct encoder *e, size_t n)
{
    size_t used = (size_t)(e->end - e->pos), have = (size_t)(e->end - e->begin), cap;
    unsigned char *p;

    if (e->failed || n > SIZE_MAX / 4 - used) {
        e->failed = true;
        return false;
    }
    cap = MAX(have * 2, used + n);
    p = malloc(cap);
    if (!p) {
        e->failed = true;
        return false;
    }
    memcpy(p + cap - used, e->pos, used);
    if (e->begin != e->stack) {
        free(e->begin);
    }
    e->begin = p;
    e->end = p + cap;
    e->pos = e->end - used;
    return true;
}

static inline bool room(struct encoder *e, size_t n)
{
    return (size_t)(e->pos - e->begin) >= n || make_room(e, n);
}

static inline void put_bytes(struct encoder *e, struct str s)
{
    if (s.len && room(e, s.len)) {
        e->pos -= s.len;
        bytes_copy((char *)e->pos, s.ptr, s.len);
    }
}

static inline void put_varint(struct encoder *e, uint64_t v)
{
    unsigned n = 1;

    if (v < 0x80) {
        if (room(e, 1)) {
            *--e->pos = (unsigned char)v;
        }
        return;
    }
    for (uint64_t x = v >> 7; x; x >>= 7) {
        n++;
    }
    if (!room(e, n)) {
        return;
    }
    e->pos -= n;
    for (unsigned i = 0; i < n; i++) {
        e->pos[i] = (unsigned char)(v & 0x7f) | (i + 1 < n ? 0x80 : 0);
        v >>= 7;
    }
}

static inline void put_tag(struct encoder *e, unsigned number, unsigned wire)
{
    put_varint(e, number << 3 | wire);
}

/* The header of what was written since 'mark' bytes were there. */
static inline void put_length(struct encoder *e, size_t mark, unsigned number)
{
    put_varint(e, (size_t)(e->end - e->pos) - mark);
    put_tag(e, number, 2);
}

static inline size_t mark(const struct encoder *e)
{
    return (size_t)(e->end - e->pos);
}

static inline void put_string(struct encoder *e, unsigned number, struct str s)
{
    /* Short texts of low numbers, which nearly all are, with one look at the room. */
    if (s.len < 0x80 && number < 16 && room(e, s.len + 2)) {
        e->pos -= s.len + 2;
        e->pos[0] = (unsigned char)(number << 3 | 2);
        e->pos[1] = (unsigned char)s.len;
        bytes_copy((char *)e->pos + 2, s.ptr, s.len);
        return;
    }
    put_bytes(e, s);
    put_varint(e, s.len);
    put_tag(e, number, 2);
}

static void put_u64le(struct encoder *e, uint64_t v)
{
    if (room(e, 8)) {
        e->pos -= 8;
        for (unsigned i = 0; i < 8; i++) {
            e->pos[i] = (unsigned char)(v >> (8 * i));
        }
    }
}

static inline bool is_number(const struct api_field *f)
{
    return f->ftype <= API_ENUM;
}

/* The bits of a number as protobuf writes them. */
static uint64_t number_bits(const struct api_field *f, const void *p)
{
    uint64_t v;

    switch (f->ftype) {
    case API_BOOL:
        return *(const bool *)p;
    case API_INT32:
    case API_ENUM:
        return (uint64_t)(int64_t) * (const int32_t *)p;
    case API_UINT32:
        return *(const uint32_t *)p;
    default:
        memcpy(&v, p, sizeof(v));
        return v;
    }
}

static void put_number(struct encoder *e, const struct api_field *f, uint64_t bits)
{
    if (f->ftype == API_DOUBLE) {
        put_u64le(e, bits);
    } else {
        put_varint(e, bits);
    }
}

static void encode_string_list(struct encoder *e, unsigned number, const struct str *items, size_t n)
{
    size_t m = mark(e);

    for (size_t i = n; i-- > 0;) {
        put_string(e, 1, items[i]);
    }
    put_length(e, m, number);
}

/* One value that is no number, with its header. */
static void encode_value(struct encoder *e, const struct api_field *f, unsigned number, const void *p)
{
    size_t m = mark(e);

    switch (f->ftype) {
    case API_STRING:
    case API_BYTES:
        put_string(e, number, *(const struct str *)p);
        return;
    case API_QUANTITY: {
        struct str s = *(const struct str *)p;
        put_string(e, 1, s.len ? s : STR("0"));
        break;
    }
    case API_RAW:
        if (((const struct str *)p)->ptr) {
            put_string(e, 1, *(const struct str *)p);
        }
        break;
    case API_TIME:
    case API_MICROTIME: {
        const struct api_time *t = p;
        if (t->set) {
            put_varint(e, f->ftype == API_MICROTIME ? t->nsec / 1000 * 1000 : 0);
            put_tag(e, 2, 0);
            put_varint(e, (uint64_t)t->sec);
            put_tag(e, 1, 0);
        }
        break;
    }
    case API_DURATION: {
        int64_t ns = 0;

        /* What does not parse cannot have come from a decoder; it is written as zero. */
        if (!duration_parse(*(const struct str *)p, &ns, NULL)) {
            ns = 0;
        }
        put_varint(e, (uint64_t)ns);
        put_tag(e, 1, 0);
        break;
    }
    case API_INT_OR_STRING: {
        const struct api_int_or_string *v = p;
        put_string(e, 3, v->kind == API_IOS_STRING ? v->s : STR_EMPTY);
        put_varint(e, v->kind == API_IOS_STRING ? 0 : (uint64_t)(int64_t)v->i);
        put_tag(e, 2, 0);
        put_varint(e, v->kind == API_IOS_STRING);
        put_tag(e, 1, 0);
        break;
    }
    case API_MESSAGE:
        encode_message(e, f->message, p);
        break;
    case API_STRLIST: {
        const struct api_str_list *l = p;
        encode_string_list(e, number, l->items, l->n);
        return;
    }
    default:
        break;
    }
    put_length(e, m, number);
}

static void encode_list(struct encoder *e, const struct api_type *t, const struct api_field *f, const char *items, size_t n)
{
    size_t size = api_item_size(f), m = mark(e);
    bool packed = is_number(f) && (t->flags & API_T_PROTO3);

    if (f->flags & API_F_WRAPPED) {
        if (items) {
            encode_string_list(e, f->number, (const struct str *)(const void *)items, n);
        }
        return;
    }
    for (size_t i = n; i-- > 0;) {
        const char *p = items + i * size;

        if (!is_number(f)) {
            encode_value(e, f, f->number, p);
            continue;
        }
        put_number(e, f, number_bits(f, p));
        if (!packed) {
            put_tag(e, f->number, f->ftype == API_DOUBLE ? 1 : 0);
        }
    }
    if (packed && n) {
        put_length(e, m, f->number);
    }
}

static void encode_map(struct encoder *e, const struct api_field *f, const char *entries, size_t n)
{
    size_t size = api_entry_size(f);

    for (size_t i = n; i-- > 0;) {
        const char *entry = entries + i * size;
        size_t m = mark(e);

        if (is_number(f)) {
            put_number(e, f, number_bits(f, entry + API_ENTRY_VALUE));
            put_tag(e, 2, f->ftype == API_DOUBLE ? 1 : 0);
        } else if (f->ftype != API_BYTES || ((const struct str *)(const void *)(entry + API_ENTRY_VALUE))->ptr) {
            encode_value(e, f, 2, entry + API_ENTRY_VALUE);
        }
        put_string(e, 1, *(const struct str *)(const void *)entry);
        put_length(e, m, f->number);
    }
}

/* Is a single field that is no number written? Go pointers when set, proto3 scalars when not empty, everything else always. */
static bool is_written(const struct api_type *t, const struct api_field *f, const char *p)
{
    switch (f->ftype) {
    case API_STRING:
    case API_QUANTITY:
    case API_DURATION:
        if (f->flags & API_F_POINTER) {
            return ((const struct str *)(const void *)p)->ptr != NULL;
        }
        return !(t->flags & API_T_PROTO3) || ((const struct str *)(const void *)p)->len > 0;
    case API_BYTES:
        if (t->flags & API_T_PROTO3) {
            return (f->flags & API_F_POINTER) ? ((const struct str *)(const void *)p)->ptr != NULL
                                              : ((const struct str *)(const void *)p)->len > 0;
        }
        return ((const struct str *)(const void *)p)->ptr != NULL;
    case API_RAW:
        return !(f->flags & API_F_POINTER) || ((const struct str *)(const void *)p)->ptr != NULL;
    case API_TIME:
    case API_MICROTIME:
        return !(f->flags & API_F_POINTER) || ((const struct api_time *)(const void *)p)->set;
    case API_INT_OR_STRING:
        return !(f->flags & API_F_POINTER) || ((const struct api_int_or_string *)(const void *)p)->kind != API_IOS_UNSET;
    default:
        return true;
    }
}

static void encode_message(struct encoder *e, const struct api_type *t, const void *obj)
{
    for (unsigned i = t->n_by_number; i-- > 0;) {
        const struct api_field *f = &t->fields[t->by_number[i]];
        const char *p = (const char *)obj + f->offset;

        if (f->card != API_SINGLE) {
            const char *items = *(char *const *)(const void *)p;
            size_t n = *(const size_t *)(const void *)(p + sizeof(void *));

            if (n == 0 && items && e->settle) {
                *(char **)(uintptr_t)p = NULL;
                items = NULL;
            }
            if (!items) {
                continue;
            }
            if (f->card == API_LIST) {
                encode_list(e, t, f, items, n);
            } else {
                encode_map(e, f, items, n);
            }
            continue;
        }
        if (is_number(f)) {
            uint64_t bits = number_bits(f, p);

            if (f->has_offset ? *((const char *)obj + f->has_offset) != 0 : bits != 0 || !(t->flags & API_T_PROTO3)) {
                put_number(e, f, bits);
                put_tag(e, f->number, f->ftype == API_DOUBLE ? 1 : 0);
            }
            continue;
        }
        if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
            p = *(char *const *)(const void *)p;
            if (p) {
                encode_value(e, f, f->number, p);
            }
            continue;
        }
        if (f->ftype == API_STRING && !(f->flags & API_F_POINTER) && !(t->flags & API_T_PROTO3)) {
            put_string(e, f->number, *(const struct str *)(const void *)p);
            continue;
        }
        if (is_written(t, f, p)) {
            encode_value(e, f, f->number, p);
        }
    }
}

static bool finish(struct encoder *e, struct buf *b, bool ok)
{
    ok = ok && !e->failed;
    if (ok) {
        buf_append_bytes(b, e->pos, mark(e));
    }
    if (e->begin != e->stack) {
        free(e->begin);
    }
    return ok && !buf_failed(b);
}

static void encoder_init(struct encoder *e)
{
    e->begin = e->stack;
    e->end = e->pos = e->stack + sizeof(e->stack);
    e->failed = false;
    e->settle = false;
}

bool api_encode_pb(struct buf *b, const struct api_type *t, const void *obj)
{
    UNINITIALIZED struct encoder e;

    encoder_init(&e);
    encode_message(&e, t, obj);
    return finish(&e, b, true);
}

/* The envelope around the 'raw' bytes that stand at the front already. */
static void put_envelope_front(struct encoder *e, struct str api_version, struct str kind)
{
    size_t m;

    put_varint(e, mark(e));
    put_tag(e, 2, 2);
    m = mark(e);
    put_string(e, 2, kind);
    put_string(e, 1, api_version);
    put_length(e, m, 1);
    put_bytes(e, str_n("k8s\0", 4));
}

/* contentEncoding and contentType are always written, and empty. */
static const char envelope_tail[] = { 0x1a, 0x00, 0x22, 0x00 };

bool api_encode_pb_object(struct buf *b, const struct api_type *t, const void *obj, const struct api_pb_encode *o)
{
    UNINITIALIZED struct encoder e;
    size_t off;
    const struct api_field *meta = api_field_find(t, STR("metadata"), &off), *rv = NULL;

    encoder_init(&e);
    e.settle = o->settle;
    if ((o->drop_resource_version || o->resource_version.ptr) && meta && meta->ftype == API_MESSAGE) {
        size_t inner;

        rv = api_field_find(meta->message, STR("resourceVersion"), &inner);
        off += inner;
    }
    if (rv) {
        const struct str version = o->resource_version.ptr ? o->resource_version : STR_EMPTY;
        /* With another version: in the caller's own object for as long as it is written, else in a shallow copy. */
        void *with = o->settle ? (void *)(uintptr_t)obj : malloc(t->size);

        if (!with) {
            return false;
        }
        if (with != obj) {
            memcpy(with, obj, t->size);
        }
        struct str *member = (struct str *)(void *)((char *)with + off);
        const struct str before = *member;
        *member = version;
        encode_message(&e, t, with);
        *member = before;
        if (with != obj) {
            free(with);
        }
    } else {
        encode_message(&e, t, obj);
    }
    put_envelope_front(&e, o->api_version, o->kind);
    if (!finish(&e, b, true)) {
        return false;
    }
    buf_append_bytes(b, envelope_tail, sizeof(envelope_tail));
    return !buf_failed(b);
}

void api_encode_pb_envelope(struct buf *b, struct str api_version, struct str kind, struct str raw)
{
    UNINITIALIZED struct encoder e;
    size_t m;

    encoder_init(&e);
    put_varint(&e, raw.len);
    put_tag(&e, 2, 2);
    m = mark(&e);
    put_string(&e, 2, kind);
    put_string(&e, 1, api_version);
    put_length(&e, m, 1);
    put_bytes(&e, str_n("k8s\0", 4));
    (void)finish(&e, b, true);
    buf_append(b, raw);
    buf_append_bytes(b, envelope_tail, sizeof(envelope_tail));
}
