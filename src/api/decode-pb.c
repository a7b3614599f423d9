#include "api/decode-pb.h"

#include <stdlib.h>

#include "api/duration.h"
#include "base/reader.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_FIXED32 = 5 };

struct decoder {
    struct arena *arena;
    struct err *err;
};

static bool decode_message(struct decoder *d, const struct api_type *t, struct str bytes, const struct api_mask *mask, unsigned depth,
                           void *obj);

static bool malformed(struct decoder *d, const struct api_type *t)
{
    return err_set(d->err, ERR_BAD_REQUEST, "malformed protobuf in %.*s", STR_ARG(t->name));
}

static bool out_of_budget(struct decoder *d)
{
    return err_set(d->err, ERR_TOO_LARGE, "the message needs more memory than it may have");
}

static inline bool varint(struct reader *r, uint64_t *ret)
{
    /* Nearly every tag and length has one or two bytes. */
    size_t left = reader_left(r);

    if (left >= 1 && r->pos[0] < 0x80) {
        *ret = *r->pos++;
        return true;
    }
    if (left >= 2 && r->pos[1] < 0x80) {
        *ret = (uint64_t)(r->pos[0] & 0x7f) | (uint64_t)r->pos[1] << 7;
        r->pos += 2;
        return true;
    }
    return reader_varint(r, ret);
}

/* A tag: field number and wire type. Field numbers of our types are small; others are skipped. */
static inline bool tag(struct reader *r, uint64_t *ret_number, unsigned *ret_wire)
{
    uint64_t v;

    if (!varint(r, &v) || v >> 3 == 0 || v >> 32 != 0) {
        return false;
    }
    *ret_number = v >> 3;
    *ret_wire = (unsigned)(v & 7);
    return true;
}

static inline bool length_delimited(struct reader *r, struct str *ret)
{
    uint64_t n;

    return varint(r, &n) && n <= reader_left(r) && reader_take(r, (size_t)n, ret);
}

/* Groups are a dead form of protobuf that no schema of ours has; their contents are skipped, nested ones as well. */
static bool skip_group(struct reader *r)
{
    unsigned open = 1;

    while (open > 0) {
        uint64_t number, v;
        unsigned wire;
        struct str s;

        if (!tag(r, &number, &wire)) {
            return false;
        }
        switch (wire) {
        case WIRE_VARINT:
            if (!varint(r, &v)) {
                return false;
            }
            break;
        case WIRE_FIXED64:
            if (!reader_skip(r, 8)) {
                return false;
            }
            break;
        case WIRE_BYTES:
            if (!length_delimited(r, &s)) {
                return false;
            }
            break;
        case WIRE_GROUP:
            open++;
            break;
        case WIRE_GROUP_END:
            open--;
            break;
        case WIRE_FIXED32:
            if (!reader_skip(r, 4)) {
                return false;
            }
            break;
        default:
            return false;
        }
    }
    return true;
}

static inline bool skip_value(struct reader *r, unsigned wire)
{
    uint64_t v;
    struct str s;

    switch (wire) {
    case WIRE_VARINT:
        return varint(r, &v);
    case WIRE_FIXED64:
        return reader_skip(r, 8);
    case WIRE_BYTES:
        return length_delimited(r, &s);
    case WIRE_GROUP:
        return skip_group(r);
    case WIRE_FIXED32:
        return reader_skip(r, 4);
    default:
        return false;
    }
}

/* How often 'number' occurs from here on: what a list needs, so that its items lie in one piece. */
static bool count_field(struct reader r, uint64_t want, size_t *ret)
{
    size_t n = 0;

    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;

        if (!tag(&r, &number, &wire) || !skip_value(&r, wire)) {
            return false;
        }
        n += number == want;
    }
    *ret = n;
    return true;
}

static bool count_varints(struct str packed, size_t *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < packed.len; i++) {
        n += ((unsigned char)packed.ptr[i] & 0x80) == 0;
    }
    *ret = n;
    return true;
}

static bool decode_time(struct str bytes, bool micro, struct api_time *ret)
{
    struct reader r = reader_of(bytes);
    uint64_t sec = 0, nsec = 0;

    /* An empty message is the zero time (null). */
    if (bytes.len == 0) {
        *ret = (struct api_time){ 0 };
        return true;
    }
    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;

        if (!tag(&r, &number, &wire)) {
            return false;
        }
        if (wire == WIRE_VARINT && number <= 2) {
            if (!varint(&r, number == 1 ? &sec : &nsec)) {
                return false;
            }
        } else if (!skip_value(&r, wire)) {
            return false;
        }
    }
    /* Times have whole seconds; microtimes six digits. */
    *ret = (struct api_time){ .sec = (int64_t)sec, .nsec = micro && nsec < 1000000000 ? (uint32_t)nsec / 1000 * 1000 : 0, .set = true };
    return true;
}

static bool decode_int_or_string(struct str bytes, struct api_int_or_string *ret)
{
    struct reader r = reader_of(bytes);
    uint64_t type = 0, i = 0;
    struct str s = STR_EMPTY;

    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;

        if (!tag(&r, &number, &wire)) {
            return false;
        }
        if (wire == WIRE_VARINT && (number == 1 || number == 2)) {
            if (!varint(&r, number == 1 ? &type : &i)) {
                return false;
            }
        } else if (wire == WIRE_BYTES && number == 3) {
            if (!length_delimited(&r, &s)) {
                return false;
            }
        } else if (!skip_value(&r, wire)) {
            return false;
        }
    }
    *ret = type == 1 ? (struct api_int_or_string){ .kind = API_IOS_STRING, .s = s }
                     : (struct api_int_or_string){ .kind = API_IOS_INT, .i = (int32_t)i };
    return true;
}

/* A message whose only field is bytes or text with number 1: Quantity, RawExtension, JSON, FieldsV1. */
static bool decode_wrapped_bytes(struct str bytes, struct str *ret)
{
    struct reader r = reader_of(bytes);
    struct str s = STR_NULL;

    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;

        if (!tag(&r, &number, &wire)) {
            return false;
        }
        if (wire == WIRE_BYTES && number == 1) {
            if (!length_delimited(&r, &s)) {
                return false;
            }
        } else if (!skip_value(&r, wire)) {
            return false;
        }
    }
    *ret = s;
    return true;
}

/* Nanoseconds; kept as Go's text. */
static bool decode_duration(struct decoder *d, struct str bytes, struct str *ret)
{
    struct reader r = reader_of(bytes);
    uint64_t ns = 0;
    char text[DURATION_SIZE];

    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;

        if (!tag(&r, &number, &wire)) {
            return false;
        }
        if (wire == WIRE_VARINT && number == 1) {
            if (!varint(&r, &ns)) {
                return false;
            }
        } else if (!skip_value(&r, wire)) {
            return false;
        }
    }
    *ret = arena_str(d->arena, str_n(text, duration_format((int64_t)ns, text)));
    return ret->ptr != NULL;
}

/* A list of strings in a message of its own, number 1: ExtraValue, Verbs. */
static bool decode_string_list(struct decoder *d, struct str bytes, struct str **ret_items, size_t *ret_n)
{
    struct reader r = reader_of(bytes);
    size_t n, i = 0;
    struct str *items;

    if (!count_field(r, 1, &n) || !(items = arena_new_n(d->arena, struct str, n))) {
        return false;
    }
    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;

        if (!tag(&r, &number, &wire)) {
            return false;
        }
        if (wire == WIRE_BYTES && number == 1 && i < n) {
            if (!length_delimited(&r, &items[i++])) {
                return false;
            }
        } else if (!skip_value(&r, wire)) {
            return false;
        }
    }
    *ret_items = items;
    *ret_n = i;
    return true;
}

static enum wire wire_of(const struct api_field *f)
{
    switch ((enum api_ftype)f->ftype) {
    case API_BOOL:
    case API_INT32:
    case API_INT64:
    case API_UINT32:
    case API_UINT64:
    case API_ENUM:
        return WIRE_VARINT;
    case API_DOUBLE:
        return WIRE_FIXED64;
    case API_STRING:
    case API_BYTES:
    case API_TIME:
    case API_MICROTIME:
    case API_DURATION:
    case API_QUANTITY:
    case API_INT_OR_STRING:
    case API_RAW:
    case API_MESSAGE:
    case API_STRLIST:
    case API_FTYPE_MAX:
        break;
    }
    return WIRE_BYTES;
}

/* One number: reads it from 'r' into 'dst'. */
static bool decode_number(struct reader *r, const struct api_field *f, void *dst)
{
    uint64_t v;

    if (f->ftype == API_DOUBLE) {
        if (!reader_u64le(r, &v)) {
            return false;
        }
        memcpy(dst, &v, sizeof(v));
        return true;
    }
    if (!varint(r, &v)) {
        return false;
    }
    switch (f->ftype) {
    case API_BOOL:
        *(bool *)dst = v != 0;
        break;
    case API_INT32:
    case API_UINT32:
    case API_ENUM:
        *(uint32_t *)dst = (uint32_t)v;
        break;
    default:
        *(uint64_t *)dst = v;
        break;
    }
    return true;
}

/* One value of a length-delimited kind into 'dst'. */
static bool decode_bytes(struct decoder *d, const struct api_type *t, const struct api_field *f, struct str bytes,
                         const struct api_mask *sub, unsigned depth, void *dst)
{
    switch (f->ftype) {
    case API_STRING:
    case API_BYTES:
        *(struct str *)dst = bytes;
        return true;
    case API_QUANTITY:
        if (!decode_wrapped_bytes(bytes, dst)) {
            return malformed(d, t);
        }
        return true;
    case API_RAW:
        if (!decode_wrapped_bytes(bytes, dst)) {
            return malformed(d, t);
        }
        return true;
    case API_TIME:
    case API_MICROTIME:
        return decode_time(bytes, f->ftype == API_MICROTIME, dst) || malformed(d, t);
    case API_DURATION:
        return decode_duration(d, bytes, dst) || malformed(d, t);
    case API_INT_OR_STRING:
        return decode_int_or_string(bytes, dst) || malformed(d, t);
    case API_MESSAGE:
        return decode_message(d, f->message, bytes, sub, depth + 1, dst);
    case API_STRLIST: {
        struct api_str_list *l = dst;
        return decode_string_list(d, bytes, &l->items, &l->n) || malformed(d, t);
    }
    default:
        return malformed(d, t);
    }
}

static bool decode_entry(struct decoder *d, const struct api_type *t, const struct api_field *f, struct str bytes,
                         const struct api_mask *sub, unsigned depth, char *entry)
{
    struct reader r = reader_of(bytes);
    struct str *key = (struct str *)(void *)entry;

    *key = STR_EMPTY;
    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;
        struct str s;

        if (!tag(&r, &number, &wire)) {
            return malformed(d, t);
        }
        if (number == 1 && wire == WIRE_BYTES) {
            if (!length_delimited(&r, key)) {
                return malformed(d, t);
            }
        } else if (number == 2 && wire == WIRE_BYTES && wire_of(f) == WIRE_BYTES) {
            if (!length_delimited(&r, &s)) {
                return malformed(d, t);
            }
            if (!decode_bytes(d, t, f, s, sub, depth, entry + API_ENTRY_VALUE)) {
                return false;
            }
        } else if (number == 2 && wire == (unsigned)wire_of(f)) {
            if (!decode_number(&r, f, entry + API_ENTRY_VALUE)) {
                return malformed(d, t);
            }
        } else if (!skip_value(&r, wire)) {
            return malformed(d, t);
        }
    }
    return true;
}

static int entry_cmp(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Maps come sorted from Go; others are sorted here. Of equal keys one stays. */
static void sort_entries(char *entries, size_t *n, size_t size)
{
    size_t out = 0;
    bool sorted = true;

    for (size_t i = 1; i < *n && sorted; i++) {
        sorted = entry_cmp(entries + (i - 1) * size, entries + i * size) < 0;
    }
    if (sorted) {
        return;
    }
    qsort(entries, *n, size, entry_cmp);
    for (size_t i = 1; i < *n; i++) {
        if (entry_cmp(entries + out * size, entries + i * size) != 0) {
            out++;
            memmove(entries + out * size, entries + i * size, size);
        }
    }
    *n = out + 1;
}

/* The array of a list or map: made when its first item occurs, as large as the rest of the message says. */
struct growing {
    void **items;
    size_t *n;
};

static struct growing growing_at(const struct api_field *f, void *obj)
{
    char *p = (char *)obj + f->offset;

    return (struct growing){ .items = (void **)(void *)p, .n = (size_t *)(void *)(p + sizeof(void *)) };
}

/* Room for 'more' items behind those that are there. */
static bool grow(struct decoder *d, struct growing g, size_t more, size_t size)
{
    void *p = arena_grow_n(d->arena, *g.items, *g.n, *g.n + more, size);

    if (!p) {
        return out_of_budget(d);
    }
    *g.items = p;
    return true;
}

static bool decode_packed(struct decoder *d, const struct api_type *t, const struct api_field *f, struct str bytes, void *obj)
{
    struct growing g = growing_at(f, obj);
    size_t size = api_item_size(f), n = bytes.len / 8;
    struct reader r = reader_of(bytes);

    if (f->ftype != API_DOUBLE) {
        (void)count_varints(bytes, &n);
    }
    if (!grow(d, g, n, size)) {
        return false;
    }
    while (reader_left(&r) > 0) {
        if (n-- == 0 || !decode_number(&r, f, (char *)*g.items + *g.n * size)) {
            return malformed(d, t);
        }
        (*g.n)++;
    }
    return true;
}

static bool decode_message(struct decoder *d, const struct api_type *t, struct str bytes, const struct api_mask *mask, unsigned depth,
                           void *obj)
{
    struct reader r = reader_of(bytes);
    size_t room_of = 0, room = 0; /* the list that was counted last, and how many of its items are still to come */

    if (depth > API_PB_DEPTH) {
        return err_set(d->err, ERR_BAD_REQUEST, "protobuf nests deeper than %d messages", API_PB_DEPTH);
    }
    while (reader_left(&r) > 0) {
        struct reader here = r;
        const struct api_field *f;
        const struct api_mask *sub = NULL;
        uint64_t number;
        unsigned wire, want, index;
        char *dst;
        struct str s;

        if (!tag(&r, &number, &wire)) {
            return malformed(d, t);
        }
        index = number <= t->max_number ? t->number_index[number] : 0;
        if (index == 0 || (mask && mask->field_action[index - 1] == API_MASK_SKIP)) {
            if (!skip_value(&r, wire)) {
                return malformed(d, t);
            }
            continue;
        }
        f = &t->fields[index - 1];
        if (mask && mask->field_action[index - 1] == API_MASK_PART) {
            sub = mask->field_sub[index - 1];
        }
        dst = (char *)obj + f->offset;
        want = wire_of(f);
        if (f->card == API_SINGLE) {
            if (wire != want) {
                return malformed(d, t);
            }
            if (want != WIRE_BYTES) {
                if (!decode_number(&r, f, dst)) {
                    return malformed(d, t);
                }
                if (f->has_offset) {
                    *((char *)obj + f->has_offset) = 1;
                }
                continue;
            }
            if (!length_delimited(&r, &s)) {
                return malformed(d, t);
            }
            if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
                void **p = (void **)(void *)dst;
                if (!*p && !(*p = arena_alloc(d->arena, f->message->size))) {
                    return out_of_budget(d);
                }
                dst = *p;
            }
            if (!decode_bytes(d, t, f, s, sub, depth, dst)) {
                return false;
            }
            continue;
        }
        if (f->card == API_LIST && want != WIRE_BYTES && wire == WIRE_BYTES) {
            if (!length_delimited(&r, &s)) {
                return malformed(d, t);
            }
            if (!decode_packed(d, t, f, s, obj)) {
                return false;
            }
            room = 0;
            continue;
        }
        if (f->flags & API_F_WRAPPED) {
            struct growing g = growing_at(f, obj);
            struct str *items;
            size_t n;
            if (wire != WIRE_BYTES || !length_delimited(&r, &s) || !decode_string_list(d, s, &items, &n)) {
                return malformed(d, t);
            }
            *g.items = items;
            *g.n = n;
            continue;
        }
        if (wire != (f->card == API_MAP ? WIRE_BYTES : want)) {
            return malformed(d, t);
        }
        struct growing g = growing_at(f, obj);
        size_t size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);
        if (room == 0 || room_of != number) {
            if (!count_field(here, number, &room)) {
                return malformed(d, t);
            }
            room_of = number;
            if (!grow(d, g, room, size)) {
                return false;
            }
        }
        dst = (char *)*g.items + *g.n * size;
        if (want != WIRE_BYTES && f->card == API_LIST) {
            if (!decode_number(&r, f, dst)) {
                return malformed(d, t);
            }
        } else {
            if (!length_delimited(&r, &s)) {
                return malformed(d, t);
            }
            if (!(f->card == API_MAP ? decode_entry(d, t, f, s, sub, depth, dst) : decode_bytes(d, t, f, s, sub, depth, dst))) {
                return false;
            }
        }
        ++*g.n;
        if (--room == 0 && f->card == API_MAP) {
            sort_entries(*g.items, g.n, size);
        } else if (f->flags & API_F_TYPE_META) {
            api_set_item_type_meta(f, dst, 1);
        }
    }
    return true;
}

bool api_decode_pb(struct arena *a, const struct api_type *t, struct str bytes, const struct api_mask *mask, void *ret,
                   struct err *err)
{
    struct decoder d = { .arena = a, .err = err };

    return decode_message(&d, t, bytes, mask, 0, ret);
}

static bool decode_type_meta(struct str bytes, struct api_pb_envelope *ret)
{
    struct reader r = reader_of(bytes);

    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;

        if (!tag(&r, &number, &wire)) {
            return false;
        }
        if (wire == WIRE_BYTES && number <= 2) {
            if (!length_delimited(&r, number == 1 ? &ret->api_version : &ret->kind)) {
                return false;
            }
        } else if (!skip_value(&r, wire)) {
            return false;
        }
    }
    return true;
}

bool api_pb_envelope(struct str bytes, struct api_pb_envelope *ret, struct err *err)
{
    struct api_pb_envelope e = { 0 };
    struct reader r;

    if (!api_pb_is_envelope(bytes)) {
        return err_set(err, ERR_BAD_REQUEST, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    }
    r = reader_of(str_sub(bytes, 4, bytes.len - 4));
    while (reader_left(&r) > 0) {
        uint64_t number;
        unsigned wire;
        struct str s;

        if (!tag(&r, &number, &wire)) {
            return err_set(err, ERR_BAD_REQUEST, "malformed protobuf envelope");
        }
        if (wire != WIRE_BYTES || number > 4) {
            if (!skip_value(&r, wire)) {
                return err_set(err, ERR_BAD_REQUEST, "malformed protobuf envelope");
            }
            continue;
        }
        if (!length_delimited(&r, &s) || (number == 1 && !decode_type_meta(s, &e))) {
            return err_set(err, ERR_BAD_REQUEST, "malformed protobuf envelope");
        }
        if (number == 2) {
            e.raw = s;
        } else if (number == 3) {
            e.content_encoding = s;
        } else if (number == 4) {
            e.content_type = s;
        }
    }
    *ret = e;
    return true;
}

bool api_decode_pb_object(struct arena *a, const struct api_type *t, struct str bytes, const struct api_mask *mask, void *ret,
                          struct err *err)
{
    struct api_pb_envelope e;
    size_t off;
    const struct api_field *f;

    if (!api_pb_envelope(bytes, &e, err) || !api_decode_pb(a, t, e.raw, mask, ret, err)) {
        return false;
    }
    if ((f = api_field_find(t, STR("kind"), &off)) && f->number == 0) {
        *(struct str *)(void *)((char *)ret + off) = e.kind;
    }
    if ((f = api_field_find(t, STR("apiVersion"), &off)) && f->number == 0) {
        *(struct str *)(void *)((char *)ret + off) = e.api_version;
    }
    return true;
}
