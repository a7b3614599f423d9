#include "api/decode-json-parts.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "base/encoding.h"

static bool read_string(struct decoder *d, const struct api_field *f, const struct place *at, struct str *ret)
{
    if (json_peek(d->r) != JSON_STRING) {
        return decode_wrong_kind(d, f, true, at);
    }
    return json_string(d->r, ret) && decode_keep(d, ret);
}

static bool read_bytes(struct decoder *d, const struct api_field *f, const struct place *at, struct str *ret)
{
    struct str text;

    if (json_peek(d->r) != JSON_STRING) {
        return decode_wrong_kind(d, f, true, at);
    }
    if (!json_string(d->r, &text)) {
        return false;
    }
    if (!base64_decode(d->r->arena, text, ret)) {
        return decode_bad_base64(d, text);
    }
    return true;
}

static bool read_time(struct decoder *d, const struct api_field *f, const struct place *at, struct api_time *ret)
{
    struct str text;
    struct api_time t = { .set = true };
    bool micro = f->ftype == API_MICROTIME;

    if (json_peek(d->r) != JSON_STRING) {
        return decode_wrong_kind(d, f, true, at);
    }
    if (!json_string(d->r, &text)) {
        return false;
    }
    if (!clock_parse_rfc3339(text, &t.sec, &t.nsec)) {
        return decode_bad_time(d, text, micro);
    }
    t.nsec = micro ? t.nsec / 1000 * 1000 : 0;
    *ret = t;
    return true;
}

static bool read_quantity(struct decoder *d, struct str *ret)
{
    struct str text;
    UNINITIALIZED struct err err; /* large, and mostly not written */
    enum json_kind kind = json_peek(d->r);

    if (kind == JSON_STRING) {
        if (!json_string(d->r, &text)) {
            return false;
        }
    } else if (!json_raw(d->r, &text)) {
        return false;
    }
    if (!quantity_canonical(d->r->arena, str_trim(text), ret, &err)) {
        d->mismatch = true;
        return json_fail(d->r, err.code == ERR_TOO_LARGE ? ERR_TOO_LARGE : ERR_BAD_REQUEST, "%s", err.msg);
    }
    return decode_keep(d, ret);
}

static bool read_int_or_string(struct decoder *d, const struct api_field *f, const struct place *at, struct api_int_or_string *ret)
{
    struct str text;
    int64_t v;

    switch (json_peek(d->r)) {
    case JSON_STRING:
        if (!json_string(d->r, &text) || !decode_keep(d, &text)) {
            return false;
        }
        *ret = (struct api_int_or_string){ .kind = API_IOS_STRING, .s = text };
        return true;
    case JSON_NUMBER:
        if (!json_number(d->r, &text)) {
            return false;
        }
        if (!json_number_to_i64(text, &v) || v < INT32_MIN || v > INT32_MAX) {
            return decode_bad_number(d, f, text, at);
        }
        *ret = (struct api_int_or_string){ .kind = API_IOS_INT, .i = (int32_t)v };
        return true;
    case JSON_NONE:
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return decode_wrong_kind(d, f, true, at);
}

static bool read_number(struct decoder *d, const struct api_field *f, const struct place *at, void *dst)
{
    struct str text;
    int64_t v;
    bool ok = false;

    if (json_peek(d->r) != JSON_NUMBER) {
        return decode_wrong_kind(d, f, true, at);
    }
    if (!json_number(d->r, &text)) {
        return false;
    }
    switch (f->ftype) {
    case API_DOUBLE:
        ok = json_number_to_double(text, dst);
        break;
    case API_INT64:
        ok = json_number_to_i64(text, dst);
        break;
    case API_UINT64:
        ok = json_number_to_u64(text, dst);
        break;
    case API_UINT32:
        ok = json_number_to_i64(text, &v) && v >= 0 && v <= UINT32_MAX;
        if (ok) {
            *(uint32_t *)dst = (uint32_t)v;
        }
        break;
    default:
        ok = json_number_to_i64(text, &v) && v >= INT32_MIN && v <= INT32_MAX;
        if (ok) {
            *(int32_t *)dst = (int32_t)v;
        }
        break;
    }
    return ok || decode_bad_number(d, f, text, at);
}

static bool read_strings(struct decoder *d, const struct api_field *f, const struct place *at, struct str **ret_items, size_t *ret_n)
{
    struct collected l = collector_begin(d->c, sizeof(struct str));
    void *items;
    int more;

    if (json_peek(d->r) != JSON_ARRAY) {
        return decode_wrong_kind(d, f, true, at);
    }
    if (!json_array_begin(d->r)) {
        return false;
    }
    while ((more = json_array_next(d->r)) > 0) {
        struct str *s = collector_push(d->c, &l);
        struct api_field one = { .ftype = API_STRING };

        if (!s) {
            return decode_too_large(d);
        }
        if (json_peek(d->r) == JSON_NULL ? !json_null(d->r) : !read_string(d, &one, at, s)) {
            return false;
        }
    }
    if (more < 0) {
        return false;
    }
    if (!collector_end(d->c, d->r->arena, &l, &items, ret_n)) {
        return decode_too_large(d);
    }
    *ret_items = items;
    return true;
}

static bool read_raw(struct decoder *d, struct str *ret)
{
    return (d->o->own ? json_raw_unchecked(d->r, ret) : json_raw(d->r, ret)) && decode_keep(d, ret);
}

bool decode_scalar(struct decoder *d, const struct api_field *f, const struct place *at, void *dst)
{
    switch ((enum api_ftype)f->ftype) {
    case API_STRING:
    case API_DURATION:
        return read_string(d, f, at, dst);
    case API_BOOL:
        if (json_peek(d->r) != JSON_BOOL) {
            return decode_wrong_kind(d, f, true, at);
        }
        return json_bool(d->r, dst);
    case API_INT32:
    case API_INT64:
    case API_UINT32:
    case API_UINT64:
    case API_DOUBLE:
    case API_ENUM:
        return read_number(d, f, at, dst);
    case API_BYTES:
        return read_bytes(d, f, at, dst);
    case API_TIME:
    case API_MICROTIME:
        return read_time(d, f, at, dst);
    case API_QUANTITY:
        return read_quantity(d, dst);
    case API_INT_OR_STRING:
        return read_int_or_string(d, f, at, dst);
    case API_RAW:
        return read_raw(d, dst);
    case API_STRLIST: {
        struct api_str_list *l = dst;
        return read_strings(d, f, at, &l->items, &l->n);
    }
    case API_MESSAGE: /* has a walker of its own */
    case API_FTYPE_MAX:
        break;
    }
    return false;
}
