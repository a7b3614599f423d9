#include "api/encode-json.h"

#include "api/bytes.h"
#include "api/json-writer.h"
#include "api/presence.h"
#include "base/clock.h"
#include "base/encoding.h"

/* What a buffer that is empty gets at once. */
#define FIRST_BYTES 4096

struct writer {
    struct buf *b;
    const struct api_json_encode *o;
    struct api_json_offsets at;
    size_t begin; /* length of the buffer before the object */
};

/* On the way to the gap: metadata of the object, then its resourceVersion. */
enum look { LOOK_FOR_NOTHING, LOOK_FOR_METADATA, LOOK_FOR_VERSION };

static void write_message(struct writer *w, const struct api_type *t, const char *obj, enum look look);

/* ---- bytes ---- */

static inline void put(struct writer *w, const char *p, size_t n)
{
    char *dst = bytes_room(w->b, n);

    if (dst) {
        bytes_copy(dst, p, n);
        bytes_done(w->b, n);
    }
}

#define PUT(w, lit) put((w), "" lit, sizeof(lit) - 1)

static void write_string(struct writer *w, struct str s)
{
    char *p = bytes_room(w->b, s.len + 2);

    if (!p) {
        return;
    }
    if (!bytes_copy_safe(p + 1, s.ptr, s.len)) {
        json_write_string(w->b, s);
        return;
    }
    p[0] = '"';
    p[s.len + 1] = '"';
    bytes_done(w->b, s.len + 2);
}

/* A field's name with its quotes and colon, behind a comma unless it is the first. */
static inline void write_name(struct writer *w, struct str name, bool first)
{
    char *p = bytes_room(w->b, name.len + 4);

    if (p) {
        p[0] = ',';
        p += !first;
        p[0] = '"';
        bytes_copy(p + 1, name.ptr, name.len);
        p[name.len + 1] = '"';
        p[name.len + 2] = ':';
        bytes_done(w->b, name.len + 3 + !first);
    }
}

/* Raw JSON: compact nearly always, and then copied whole. */
static void write_raw(struct writer *w, struct str s)
{
    if (s.len == 0) {
        PUT(w, "null");
        return;
    }
    if (bytes_all_compact(s.ptr, s.len)) {
        put(w, s.ptr, s.len);
    } else {
        json_write_compact(w->b, s);
    }
}

static void write_i64(struct writer *w, int64_t v)
{
    if (v >= 0 && v < 10) {
        char c = (char)('0' + v);
        put(w, &c, 1);
    } else {
        json_write_i64(w->b, v);
    }
}

static void write_time(struct writer *w, const struct api_time *t, bool micro)
{
    char text[CLOCK_RFC3339_SIZE + 2];
    size_t n;

    if (!t->set) {
        PUT(w, "null");
        return;
    }
    text[0] = '"';
    n = clock_format_rfc3339(t->sec, micro ? t->nsec : 0, micro ? 6 : 0, text + 1);
    text[n + 1] = '"';
    put(w, text, n + 2);
}

/* ---- values ---- */

static void write_strings(struct writer *w, const struct str *items, size_t n)
{
    PUT(w, "[");
    for (size_t i = 0; i < n; i++) {
        if (i) {
            PUT(w, ",");
        }
        write_string(w, items[i]);
    }
    PUT(w, "]");
}

static void write_value(struct writer *w, const struct api_field *f, const void *p, enum look look)
{
    const struct str *s = p;

    switch ((enum api_ftype)f->ftype) {
    case API_BOOL:
        if (*(const bool *)p) {
            PUT(w, "true");
        } else {
            PUT(w, "false");
        }
        break;
    case API_INT32:
    case API_ENUM:
        write_i64(w, *(const int32_t *)p);
        break;
    case API_INT64:
        write_i64(w, *(const int64_t *)p);
        break;
    case API_UINT32:
        json_write_u64(w->b, *(const uint32_t *)p);
        break;
    case API_UINT64:
        json_write_u64(w->b, *(const uint64_t *)p);
        break;
    case API_DOUBLE:
        json_write_double(w->b, *(const double *)p);
        break;
    case API_STRING:
    case API_DURATION:
        write_string(w, *s);
        break;
    case API_QUANTITY:
        write_string(w, s->len ? *s : STR("0"));
        break;
    case API_BYTES:
        if (!s->ptr) {
            PUT(w, "null");
        } else {
            PUT(w, "\"");
            base64_encode(w->b, *s);
            PUT(w, "\"");
        }
        break;
    case API_TIME:
    case API_MICROTIME:
        write_time(w, p, f->ftype == API_MICROTIME);
        break;
    case API_INT_OR_STRING: {
        const struct api_int_or_string *v = p;
        if (v->kind == API_IOS_STRING) {
            write_string(w, v->s);
        } else {
            write_i64(w, v->i);
        }
        break;
    }
    case API_RAW:
        write_raw(w, *s);
        break;
    case API_MESSAGE:
        write_message(w, f->message, p, look);
        break;
    case API_STRLIST: {
        const struct api_str_list *l = p;
        if (l->items) {
            write_strings(w, l->items, l->n);
        } else {
            PUT(w, "null");
        }
        break;
    }
    case API_FTYPE_MAX:
        break;
    }
}

static void write_items(struct writer *w, const struct api_field *f, const char *items, size_t n)
{
    size_t size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

    if (!items) {
        PUT(w, "null");
        return;
    }
    if (f->card == API_LIST) {
        PUT(w, "[");
        for (size_t i = 0; i < n; i++) {
            if (i) {
                PUT(w, ",");
            }
            write_value(w, f, items + i * size, LOOK_FOR_NOTHING);
        }
        PUT(w, "]");
        return;
    }
    PUT(w, "{");
    for (size_t i = 0; i < n; i++) {
        const char *entry = items + i * size;

        if (i) {
            PUT(w, ",");
        }
        write_string(w, *(const struct str *)(const void *)entry);
        PUT(w, ":");
        write_value(w, f, entry + API_ENTRY_VALUE, LOOK_FOR_NOTHING);
    }
    PUT(w, "}");
}

/* ---- messages ---- */

/* The fields of 'obj' without braces; '*first' tells whether nothing was written before. */
static void write_fields(struct writer *w, const struct api_type *t, const char *obj, bool *first, unsigned from, enum look look)
{
    for (unsigned i = from; i < t->n_fields; i++) {
        const struct api_field *f = &t->fields[i];
        const char *p = obj + f->offset;
        enum api_presence how;
        enum look below = LOOK_FOR_NOTHING;
        bool gap_here = false;

        if (f->flags & API_F_INLINE) {
            write_fields(w, f->message, p, first, 0, LOOK_FOR_NOTHING);
            continue;
        }
        if (look == LOOK_FOR_VERSION) {
            gap_here = str_eq(f->name, STR("resourceVersion"));
        } else if (look == LOOK_FOR_METADATA && str_eq(f->name, STR("metadata"))) {
            below = LOOK_FOR_VERSION;
        }
        how = api_presence(f, obj, p);
        if (how == API_LEFT_OUT && !gap_here) {
            continue;
        }
        write_name(w, f->name, *first);
        *first = false;
        if (gap_here) {
            PUT(w, "\"");
            w->at.rv_at = w->b->len - w->begin;
            PUT(w, "\"");
        } else if (how == API_AS_NULL) {
            PUT(w, "null");
        } else if (f->card != API_SINGLE) {
            write_items(w, f, *(char *const *)(const void *)p, *(const size_t *)(const void *)(p + sizeof(void *)));
        } else {
            if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
                p = *(char *const *)(const void *)p;
            }
            write_value(w, f, p, below);
        }
    }
}

static void write_union(struct writer *w, const struct api_type *t, const char *obj)
{
    const struct api_field *first = &t->fields[0], *second = &t->fields[1];
    const struct api_field *schema = t->form == API_FORM_SCHEMA_OR_BOOL ? second : first;
    const struct api_field *other = t->form == API_FORM_SCHEMA_OR_BOOL ? first : second;
    const char *s = *(char *const *)(const void *)(obj + schema->offset), *p = obj + other->offset;
    bool list = t->form != API_FORM_SCHEMA_OR_BOOL && *(const size_t *)(const void *)(p + sizeof(void *)) > 0;

    if (list) {
        write_items(w, other, *(char *const *)(const void *)p, *(const size_t *)(const void *)(p + sizeof(void *)));
    } else if (s) {
        write_message(w, schema->message, s, LOOK_FOR_NOTHING);
    } else if (t->form == API_FORM_SCHEMA_OR_BOOL) {
        write_value(w, other, p, LOOK_FOR_NOTHING);
    } else {
        PUT(w, "null");
    }
}

static void write_message(struct writer *w, const struct api_type *t, const char *obj, enum look look)
{
    bool first = true;

    if (t->form != API_FORM_OBJECT) {
        write_union(w, t, obj);
        return;
    }
    PUT(w, "{");
    write_fields(w, t, obj, &first, 0, look);
    PUT(w, "}");
}

/* kind and apiVersion, always the first two fields of an object. Returns how many fields that were. */
static unsigned write_type_meta(struct writer *w, const struct api_type *t, const char *obj, bool *first)
{
    struct str own[2];

    if (!(t->flags & API_T_OBJECT) || t->n_fields < 2 || !str_eq(t->fields[0].name, STR("kind")) ||
        !str_eq(t->fields[1].name, STR("apiVersion"))) {
        return 0;
    }
    if (w->o->no_type_meta) {
        return 2;
    }
    own[0] = w->o->kind.ptr ? w->o->kind : *(const struct str *)(const void *)(obj + t->fields[0].offset);
    own[1] = w->o->api_version.ptr ? w->o->api_version : *(const struct str *)(const void *)(obj + t->fields[1].offset);
    for (unsigned i = 0; i < 2; i++) {
        if (own[i].len) {
            write_name(w, t->fields[i].name, *first);
            *first = false;
            write_string(w, own[i]);
        }
    }
    return 2;
}

bool api_encode_json(struct buf *b, const struct api_type *t, const void *obj, const struct api_json_encode *o,
                     struct api_json_offsets *ret)
{
    static const struct api_json_encode none;
    struct writer w = { .b = b, .o = o ? o : &none, .begin = b->len };
    bool first = true;

    /* Most objects fit, so that the buffer does not grow by doubling while it is written. */
    if (b->capacity == 0 && !buf_reserve(b, MIN((size_t)FIRST_BYTES, b->max))) {
        return false;
    }
    if (t->form != API_FORM_OBJECT) {
        write_union(&w, t, obj);
    } else {
        unsigned from;

        PUT(&w, "{");
        from = write_type_meta(&w, t, obj, &first);
        w.at.body_at = b->len - w.begin + !first;
        write_fields(&w, t, obj, &first, from, w.o->rv_gap ? LOOK_FOR_METADATA : LOOK_FOR_NOTHING);
        PUT(&w, "}");
    }
    if (ret) {
        *ret = w.at;
    }
    return !buf_failed(b);
}
