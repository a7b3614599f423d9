#include "kinds/field-error.h"

#include <stdarg.h>

#include "api/bytes.h"

void field_errs_init(struct field_errs *e, struct arena *a)
{
    *e = (struct field_errs){ .arena = a };
}

struct str field_reason_cause(enum field_reason r)
{
    switch (r) {
    case FIELD_REQUIRED:
        return STR("FieldValueRequired");
    case FIELD_INVALID:
        return STR("FieldValueInvalid");
    case FIELD_NOT_SUPPORTED:
        return STR("FieldValueNotSupported");
    case FIELD_FORBIDDEN:
        return STR("FieldValueForbidden");
    case FIELD_DUPLICATE:
        return STR("FieldValueDuplicate");
    case FIELD_NOT_FOUND:
        return STR("FieldValueNotFound");
    case FIELD_TOO_LONG:
        return STR("FieldValueTooLong");
    case FIELD_TOO_MANY:
        return STR("FieldValueTooMany");
    case FIELD_TYPE_INVALID:
        return STR("FieldValueTypeInvalid");
    case FIELD_INTERNAL:
    case FIELD_REASON_MAX:
        break;
    }
    return STR("InternalError");
}

struct str field_path(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return s.ptr ? s : STR_EMPTY;
}

/* Every validated field builds a path, wanted or not, so these do without printf. */
static struct str join(struct arena *a, const struct str *pieces, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        len += pieces[i].len;
    }
    char *p = arena_alloc(a, len + 1), *end = p;
    if (!p) {
        return STR_EMPTY;
    }
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].len) {
            bytes_copy(end, pieces[i].ptr, pieces[i].len);
            end += pieces[i].len;
        }
    }
    return str_n(p, len);
}

struct str path_child(struct arena *a, struct str parent, const char *name)
{
    if (str_empty(parent)) {
        return str_c(name);
    }
    const struct str pieces[] = { parent, STR("."), str_c(name) };
    return join(a, pieces, ARRAY_SIZE(pieces));
}

struct str path_index(struct arena *a, struct str parent, size_t i)
{
    char digits[24], *d = digits + sizeof(digits);
    do {
        *--d = (char)('0' + i % 10);
        i /= 10;
    } while (i);
    const struct str pieces[] = { parent, STR("["), str_n(d, (size_t)(digits + sizeof(digits) - d)), STR("]") };
    return join(a, pieces, ARRAY_SIZE(pieces));
}

struct str path_key(struct arena *a, struct str parent, struct str key)
{
    const struct str pieces[] = { parent, STR("["), key, STR("]") };
    return join(a, pieces, ARRAY_SIZE(pieces));
}

void field_add(struct field_errs *e, enum field_reason r, struct str path, struct str body)
{
    if (e->n >= FIELD_ERRS_MAX || !body.ptr) {
        return;
    }
    if (e->n == e->capacity) {
        size_t capacity = e->capacity ? e->capacity * 2 : 4;
        struct field_err *items = arena_grow_n(e->arena, e->items, e->n, capacity, sizeof(*items));
        if (!items) {
            return;
        }
        e->items = items;
        e->capacity = capacity;
    }
    e->items[e->n++] = (struct field_err){ .reason = r, .path = path, .body = body };
}

/* Text in quotes as Go's strconv.Quote writes it: printable characters stay, others are escaped. */
static struct str quoted(struct arena *a, struct str s)
{
    size_t cost = 2;
    for (size_t i = 0; i < s.len; i++) {
        cost += 6;
    }
    char *out = arena_alloc(a, cost);
    if (!out) {
        return STR("\"\"");
    }
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        static const char hex[] = "0123456789abcdef";
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c == '\n' || c == '\t' || c == '\r') {
            out[n++] = '\\';
            out[n++] = c == '\n' ? 'n' : c == '\t' ? 't' : 'r';
        } else if (c < 0x20 || c == 0x7f) {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        } else {
            out[n++] = (char)c;
        }
    }
    out[n++] = '"';
    return str_n(out, n);
}

/* "<what>: <value>: <detail>", leaving out what is empty. */
static PRINTF_LIKE(4, 0) struct str body_of(struct arena *a, const char *what, struct str value, const char *detail, va_list ap)
{
    struct str d = *detail ? arena_vprintf(a, detail, ap) : STR_EMPTY;
    if (str_empty(d)) {
        return value.ptr ? arena_printf(a, "%s: %.*s", what, STR_ARG(value)) : str_c(what);
    }
    if (!value.ptr) {
        return arena_printf(a, "%s: %.*s", what, STR_ARG(d));
    }
    return arena_printf(a, "%s: %.*s: %.*s", what, STR_ARG(value), STR_ARG(d));
}

void field_required(struct field_errs *e, struct str path, const char *detail, ...)
{
    va_list ap;
    va_start(ap, detail);
    field_add(e, FIELD_REQUIRED, path, body_of(e->arena, "Required value", STR_NULL, detail, ap));
    va_end(ap);
}

void field_invalid_str(struct field_errs *e, struct str path, struct str value, const char *detail, ...)
{
    va_list ap;
    va_start(ap, detail);
    field_add(e, FIELD_INVALID, path, body_of(e->arena, "Invalid value", quoted(e->arena, value), detail, ap));
    va_end(ap);
}

void field_invalid_int(struct field_errs *e, struct str path, int64_t value, const char *detail, ...)
{
    va_list ap;
    va_start(ap, detail);
    struct str v = arena_printf(e->arena, "%lld", (long long)value);
    field_add(e, FIELD_INVALID, path, body_of(e->arena, "Invalid value", v, detail, ap));
    va_end(ap);
}

void field_invalid_json(struct field_errs *e, struct str path, struct str value, const char *detail, ...)
{
    va_list ap;
    va_start(ap, detail);
    field_add(e, FIELD_INVALID, path, body_of(e->arena, "Invalid value", value, detail, ap));
    va_end(ap);
}

void field_not_supported_json(struct field_errs *e, struct str path, struct str value, const struct str *supported)
{
    struct str list = STR_EMPTY;
    for (size_t i = 0; supported && supported[i].ptr; i++) {
        struct str q = quoted(e->arena, supported[i]);
        list = i == 0 ? q : arena_printf(e->arena, "%.*s, %.*s", STR_ARG(list), STR_ARG(q));
    }
    struct str body = str_empty(list) ? arena_printf(e->arena, "Unsupported value: %.*s", STR_ARG(value))
                                      : arena_printf(e->arena, "Unsupported value: %.*s: supported values: %.*s",
                                                     STR_ARG(value), STR_ARG(list));
    field_add(e, FIELD_NOT_SUPPORTED, path, body);
}

void field_not_supported(struct field_errs *e, struct str path, struct str value, const struct str *supported)
{
    field_not_supported_json(e, path, quoted(e->arena, value), supported);
}

void field_forbidden(struct field_errs *e, struct str path, const char *detail, ...)
{
    va_list ap;
    va_start(ap, detail);
    field_add(e, FIELD_FORBIDDEN, path, body_of(e->arena, "Forbidden", STR_NULL, detail, ap));
    va_end(ap);
}

void field_duplicate_str(struct field_errs *e, struct str path, struct str value)
{
    field_duplicate_json(e, path, quoted(e->arena, value));
}

void field_duplicate_json(struct field_errs *e, struct str path, struct str value)
{
    field_add(e, FIELD_DUPLICATE, path, arena_printf(e->arena, "Duplicate value: %.*s", STR_ARG(value)));
}

void field_not_found(struct field_errs *e, struct str path, struct str value)
{
    struct str q = quoted(e->arena, value);
    field_add(e, FIELD_NOT_FOUND, path, arena_printf(e->arena, "Not found: %.*s", STR_ARG(q)));
}

void field_too_long(struct field_errs *e, struct str path, size_t max_bytes)
{
    field_add(e, FIELD_TOO_LONG, path, arena_printf(e->arena, "Too long: may not be more than %zu bytes", max_bytes));
}

void field_too_many(struct field_errs *e, struct str path, size_t actual, size_t max)
{
    field_add(e, FIELD_TOO_MANY, path,
              arena_printf(e->arena, "Too many: %zu: must have at most %zu item%s", actual, max, max == 1 ? "" : "s"));
}

void field_internal(struct field_errs *e, struct str path, const char *detail, ...)
{
    va_list ap;
    va_start(ap, detail);
    field_add(e, FIELD_INTERNAL, path, body_of(e->arena, "Internal error", STR_NULL, detail, ap));
    va_end(ap);
}

static bool seen_before(const struct field_errs *e, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (str_eq(e->items[i].path, e->items[at].path) && str_eq(e->items[i].body, e->items[at].body)) {
            return true;
        }
    }
    return false;
}

struct str field_errs_message(const struct field_errs *e, struct arena *a)
{
    size_t total = 2, n = 0;
    for (size_t i = 0; i < e->n; i++) {
        total += e->items[i].path.len + e->items[i].body.len + 4;
    }
    char *out = arena_alloc(a, total);
    if (!out) {
        return STR_EMPTY;
    }
    size_t len = 1; /* room for '[' */
    for (size_t i = 0; i < e->n; i++) {
        if (seen_before(e, i)) {
            continue;
        }
        const struct field_err *it = &e->items[i];
        if (n++ > 0) {
            memcpy(out + len, ", ", 2);
            len += 2;
        }
        memcpy(out + len, it->path.len ? it->path.ptr : "", it->path.len);
        len += it->path.len;
        memcpy(out + len, ": ", 2);
        len += 2;
        memcpy(out + len, it->body.ptr, it->body.len);
        len += it->body.len;
    }
    if (n <= 1) {
        return str_n(out + 1, len - 1);
    }
    out[0] = '[';
    out[len++] = ']';
    return str_n(out, len);
}
