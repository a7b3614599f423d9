#include "api/val-convert.h"

#include "api/bytes.h"
#include "api/json-writer.h"
#include "api/presence.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "base/encoding.h"

static bool message_to_val(struct arena *a, const struct api_type *t, const char *obj, struct val *ret);

static bool bytes_to_val(struct arena *a, struct str s, struct val *ret)
{
    struct buf b;

    if (!s.ptr) {
        *ret = val_null();
        return true;
    }
    buf_init(&b, BUF_NO_MAX);
    base64_encode(&b, s);
    *ret = val_string(arena_str(a, buf_str(&b)));
    buf_deinit(&b);
    return ret->s.ptr != NULL;
}

static bool time_to_val(struct arena *a, const struct api_time *t, bool micro, struct val *ret)
{
    char text[CLOCK_RFC3339_SIZE];
    size_t n;

    if (!t->set) {
        *ret = val_null();
        return true;
    }
    n = clock_format_rfc3339(t->sec, micro ? t->nsec : 0, micro ? 6 : 0, text);
    *ret = val_string(arena_str(a, str_n(text, n)));
    return ret->s.ptr != NULL;
}

static bool raw_to_val(struct arena *a, struct str s, struct val *ret)
{
    if (s.len == 0) {
        *ret = val_null();
        return true;
    }
    /* Bytes that came in protobuf were never looked at; what is no JSON shows as null. */
    if (!val_parse_json(a, s, JSON_DEPTH, NULL, ret, NULL)) {
        *ret = val_null();
    }
    return true;
}

static struct val str_or_empty(struct str s)
{
    return val_string(s.ptr ? s : STR_EMPTY);
}

/* An array of known size whose items the caller fills. */
static struct val *new_array(struct arena *a, size_t n, struct val *ret)
{
    *ret = val_array();
    ret->items = arena_new_n(a, struct val, n);
    ret->n = ret->capacity = (uint32_t)n;
    return ret->items;
}

static bool strings_to_val(struct arena *a, const struct str *items, size_t n, struct val *ret)
{
    struct val *v = new_array(a, n, ret);

    for (size_t i = 0; v && i < n; i++) {
        v[i] = str_or_empty(items[i]);
    }
    return v != NULL;
}

static bool value_to_val(struct arena *a, const struct api_field *f, const void *p, struct val *ret)
{
    const struct str *s = p;

    switch ((enum api_ftype)f->ftype) {
    case API_BOOL:
        *ret = val_bool(*(const bool *)p);
        return true;
    case API_INT32:
    case API_ENUM:
        *ret = val_int(*(const int32_t *)p);
        return true;
    case API_UINT32:
        *ret = val_int(*(const uint32_t *)p);
        return true;
    case API_INT64:
        *ret = val_int(*(const int64_t *)p);
        return true;
    case API_UINT64: {
        uint64_t v = *(const uint64_t *)p;
        *ret = v <= INT64_MAX ? val_int((int64_t)v) : val_double((double)v);
        return true;
    }
    case API_DOUBLE:
        *ret = val_double(*(const double *)p);
        return true;
    case API_STRING:
    case API_DURATION:
        *ret = str_or_empty(*s);
        return true;
    case API_QUANTITY:
        *ret = val_string(s->len ? *s : STR("0"));
        return true;
    case API_BYTES:
        return bytes_to_val(a, *s, ret);
    case API_TIME:
    case API_MICROTIME:
        return time_to_val(a, p, f->ftype == API_MICROTIME, ret);
    case API_INT_OR_STRING: {
        const struct api_int_or_string *v = p;
        *ret = v->kind == API_IOS_STRING ? str_or_empty(v->s) : val_int(v->i);
        return true;
    }
    case API_RAW:
        return raw_to_val(a, *s, ret);
    case API_MESSAGE:
        return message_to_val(a, f->message, p, ret);
    case API_STRLIST: {
        const struct api_str_list *l = p;
        if (!l->items) {
            *ret = val_null();
            return true;
        }
        return strings_to_val(a, l->items, l->n, ret);
    }
    case API_FTYPE_MAX:
        break;
    }
    return false;
}

static bool items_to_val(struct arena *a, const struct api_field *f, const char *items, size_t n, struct val *ret)
{
    size_t size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

    if (!items) {
        *ret = val_null();
        return true;
    }
    if (f->card == API_LIST) {
        struct val *v = new_array(a, n, ret);

        for (size_t i = 0; v && i < n; i++) {
            if (!value_to_val(a, f, items + i * size, &v[i])) {
                return false;
            }
        }
        return v != NULL;
    }
    *ret = val_object();
    ret->members = arena_new_n(a, struct val_member, n);
    ret->n = ret->capacity = (uint32_t)n;
    for (size_t i = 0; ret->members && i < n; i++) {
        const char *entry = items + i * size;

        ret->members[i].key = *(const struct str *)(const void *)entry;
        if (!value_to_val(a, f, entry + API_ENTRY_VALUE, &ret->members[i].value)) {
            return false;
        }
    }
    return ret->members != NULL;
}

bool api_field_to_val(struct arena *a, const struct api_field *f, const char *p, struct val *ret)
{
    if (f->card != API_SINGLE) {
        return items_to_val(a, f, *(char *const *)(const void *)p, *(const size_t *)(const void *)(p + sizeof(void *)), ret);
    }
    if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
        p = *(char *const *)(const void *)p;
    }
    return value_to_val(a, f, p, ret);
}

static bool union_to_val(struct arena *a, const struct api_type *t, const char *obj, struct val *ret)
{
    const struct api_field *first = &t->fields[0], *second = &t->fields[1];
    const struct api_field *schema = t->form == API_FORM_SCHEMA_OR_BOOL ? second : first;
    const struct api_field *other = t->form == API_FORM_SCHEMA_OR_BOOL ? first : second;
    const char *s = *(char *const *)(const void *)(obj + schema->offset), *p = obj + other->offset;
    bool list = t->form != API_FORM_SCHEMA_OR_BOOL && *(const size_t *)(const void *)(p + sizeof(void *)) > 0;

    if (!list && s) {
        return message_to_val(a, schema->message, s, ret);
    }
    if (list || t->form == API_FORM_SCHEMA_OR_BOOL) {
        return api_field_to_val(a, other, p, ret);
    }
    *ret = val_null();
    return true;
}

static bool message_to_val(struct arena *a, const struct api_type *t, const char *obj, struct val *ret)
{
    struct val_member *members;
    uint32_t n = 0;

    if (t->form != API_FORM_OBJECT) {
        return union_to_val(a, t, obj, ret);
    }
    /* First how many members there are: a tree has no room to spare. */
    for (unsigned i = 0; i < t->n_flat; i++) {
        const char *owner = obj + t->flat[i].base;

        n += api_presence(t->flat[i].field, owner, owner + t->flat[i].field->offset) != API_LEFT_OUT;
    }
    *ret = val_object();
    members = arena_new_n(a, struct val_member, n);
    if (!members) {
        return false;
    }
    ret->members = members;
    ret->n = ret->capacity = n;
    n = 0;
    for (unsigned i = 0; i < t->n_flat; i++) {
        const struct api_field *f = t->flat[i].field;
        const char *owner = obj + t->flat[i].base, *p = owner + f->offset;
        enum api_presence how = api_presence(f, owner, p);

        if (how == API_LEFT_OUT) {
            continue;
        }
        members[n].key = f->name;
        if (how == API_AS_NULL) {
            members[n].value = val_null();
        } else if (!api_field_to_val(a, f, p, &members[n].value)) {
            return false;
        }
        n++;
    }
    return true;
}

bool api_to_val_sharing(struct arena *a, const struct api_type *t, const void *obj, const void *twin, const struct val *tree,
                        struct val *ret)
{
    *ret = val_object();
    for (unsigned i = 0; i < t->n_flat; i++) {
        const struct api_field *f = t->flat[i].field;
        size_t base = t->flat[i].base, at = base + f->offset;
        const char *owner = (const char *)obj + base, *p = (const char *)obj + at;
        bool same = memcmp(p, (const char *)twin + at, api_member_size(f)) == 0 &&
                    (!f->has_offset || owner[f->has_offset] == ((const char *)twin + base)[f->has_offset]);
        const struct val *shared = same ? val_get(tree, f->name) : NULL;
        enum api_presence how = api_presence(f, owner, p);
        struct val v = shared ? *shared : val_null();

        if (how == API_LEFT_OUT) {
            continue;
        }
        if ((how == API_AS_VALUE && !shared && !api_field_to_val(a, f, p, &v)) || !val_add(a, ret, f->name, v)) {
            return false;
        }
    }
    return true;
}

bool api_to_val(struct arena *a, const struct api_type *t, const void *obj, struct val *ret)
{
    return message_to_val(a, t, obj, ret);
}

/* ---- trees to structs ---- */

/*
 * The direct way knows no errors: false means that the JSON way has to be taken, which words them, and knows what is rare (unions,
 * masks, unknown fields, keys out of order, bytes that are not UTF-8).
 */
static bool message_from_val(struct arena *a, const struct api_type *t, const struct val *v, char *obj);

static bool str_from_val(const struct val *v, struct str *ret)
{
    if (v->kind != VAL_STRING) {
        return false;
    }
    *ret = v->s.ptr ? v->s : STR_EMPTY;
    return bytes_plain_run(ret->ptr, ret->ptr + ret->len) == ret->ptr + ret->len || str_is_utf8(*ret);
}

static bool i32_from_val(const struct val *v, int32_t *ret)
{
    if (v->kind != VAL_INT || v->i < INT32_MIN || v->i > INT32_MAX) {
        return false;
    }
    *ret = (int32_t)v->i;
    return true;
}

/* 'p' is zeroed; null leaves it so. */
static bool value_from_val(struct arena *a, const struct api_field *f, const struct val *v, void *p)
{
    struct str s;

    switch ((enum api_ftype)f->ftype) {
    case API_STRING:
    case API_DURATION:
        return str_from_val(v, p);
    case API_BOOL:
        *(bool *)p = v->kind == VAL_BOOL && v->b;
        return v->kind == VAL_BOOL;
    case API_INT32:
    case API_ENUM:
        return i32_from_val(v, p);
    case API_INT64:
        *(int64_t *)p = v->kind == VAL_INT ? v->i : 0;
        return v->kind == VAL_INT;
    case API_TIME:
    case API_MICROTIME: {
        struct api_time *t = p;
        if (v->kind != VAL_STRING || !clock_parse_rfc3339(v->s, &t->sec, &t->nsec)) {
            return false;
        }
        t->nsec = f->ftype == API_MICROTIME ? t->nsec / 1000 * 1000 : 0;
        t->set = true;
        return true;
    }
    case API_QUANTITY: {
        struct err err;
        return str_from_val(v, &s) && quantity_canonical(a, str_trim(s), p, &err);
    }
    case API_INT_OR_STRING: {
        struct api_int_or_string *x = p;
        x->kind = v->kind == VAL_STRING ? API_IOS_STRING : API_IOS_INT;
        return v->kind == VAL_STRING ? str_from_val(v, &x->s) : i32_from_val(v, &x->i);
    }
    case API_MESSAGE:
        return message_from_val(a, f->message, v, p);
    case API_UINT32:
    case API_UINT64:
    case API_DOUBLE:
    case API_BYTES:
    case API_RAW:
    case API_STRLIST:
    case API_FTYPE_MAX:
        break;
    }
    return false;
}

static bool items_from_val(struct arena *a, const struct api_field *f, const struct val *v, char *p)
{
    bool map = f->card == API_MAP;
    size_t size = map ? api_entry_size(f) : api_item_size(f);
    char *items = v->kind == (map ? VAL_OBJECT : VAL_ARRAY) ? arena_alloc_n(a, v->n, size) : NULL;

    for (uint32_t i = 0; items && i < v->n; i++) {
        char *item = items + i * size;
        const struct val *from = map ? &v->members[i].value : &v->items[i];

        if (map) {
            const struct str key = v->members[i].key;

            if ((i > 0 && str_cmp(v->members[i - 1].key, key) >= 0) || !str_from_val(&(const struct val){ .kind = VAL_STRING, .s = key }, (struct str *)(void *)item)) {
                return false;
            }
            item += API_ENTRY_VALUE;
        }
        if (from->kind != VAL_NULL && !value_from_val(a, f, from, item)) {
            return false;
        }
    }
    *(char **)(void *)p = items;
    *(size_t *)(void *)(p + sizeof(void *)) = items ? v->n : 0;
    if (items && (f->flags & API_F_TYPE_META)) {
        api_set_item_type_meta(f, items, v->n);
    }
    return items != NULL;
}

static bool message_from_val(struct arena *a, const struct api_type *t, const struct val *v, char *obj)
{
    unsigned next = 0;

    if (t->form != API_FORM_OBJECT || v->kind != VAL_OBJECT) {
        return false;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        /* Names mostly come in the order of the schema. */
        int at = next < t->n_flat && bytes_same(t->flat[next].field->name, m->key) ? (int)next : api_flat_find(t, m->key);

        if (at < 0) {
            return false;
        }
        next = (unsigned)at + 1;
        const struct api_field *f = t->flat[at].field;
        char *owner = obj + t->flat[at].base, *p = owner + f->offset;

        if (m->value.kind == VAL_NULL) {
            continue;
        }
        if (f->card != API_SINGLE) {
            if (!items_from_val(a, f, &m->value, p)) {
                return false;
            }
            continue;
        }
        if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
            char *below = arena_alloc(a, f->message->size);

            if (!below || !message_from_val(a, f->message, &m->value, below)) {
                return false;
            }
            *(char **)(void *)p = below;
            continue;
        }
        if (!value_from_val(a, f, &m->value, p)) {
            return false;
        }
        if (f->has_offset) {
            owner[f->has_offset] = 1;
        }
    }
    return true;
}

bool api_from_val(struct arena *a, const struct api_type *t, const struct val *v, const struct api_json_decode *o, void *ret,
                  struct err *err)
{
    if (!o || (!o->mask && !o->copy)) {
        if (message_from_val(a, t, v, ret)) {
            if (o && o->ret_syntax) {
                *o->ret_syntax = false;
            }
            return true;
        }
        memset(ret, 0, t->size);
    }
    struct str text = val_to_json(a, v);

    if (!text.ptr) {
        return err_set(err, ERR_TOO_LARGE, "the object needs more memory than it may have");
    }
    return api_decode_json(a, t, text, o, ret, err);
}
