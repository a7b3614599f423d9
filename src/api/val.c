#include "api/val.h"

#include <math.h>
#include <stdlib.h>

#include "api/json-writer.h"

ptrdiff_t val_index_of(const struct val *v, struct str key)
{
    if (!val_is(v, VAL_OBJECT)) {
        return -1;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        if (str_eq(v->members[i].key, key)) {
            return i;
        }
    }
    return -1;
}

struct val *val_get(const struct val *v, struct str key)
{
    ptrdiff_t i = val_index_of(v, key);
    return i < 0 ? NULL : &v->members[i].value;
}

struct val *val_at(const struct val *v, const char *const *keys, size_t n)
{
    struct val *at = NULL;
    for (size_t i = 0; i < n; i++) {
        at = val_get(i == 0 ? v : at, str_c(keys[i]));
        if (!at) {
            return NULL;
        }
    }
    return at;
}

struct str val_get_str(const struct val *v, struct str key)
{
    return val_as_str(val_get(v, key));
}

bool val_as_i64(const struct val *v, int64_t *ret)
{
    if (val_is(v, VAL_INT)) {
        *ret = v->i;
        return true;
    }
    if (val_is(v, VAL_DOUBLE) && v->d >= -9007199254740992.0 && v->d <= 9007199254740992.0 && trunc(v->d) == v->d) {
        *ret = (int64_t)v->d;
        return true;
    }
    return false;
}

/* Room for one more item of 'size' bytes. */
static bool grow(struct arena *a, struct val *v, size_t size)
{
    if (v->n < v->capacity) {
        return true;
    }
    if (v->n >= UINT32_MAX / 4) {
        return false;
    }
    uint32_t capacity = v->capacity ? v->capacity * 2 : 4;
    void *p = arena_grow_n(a, v->items, v->n, capacity, size);
    if (!p) {
        return false;
    }
    v->items = p;
    v->capacity = capacity;
    return true;
}

struct val *val_add(struct arena *a, struct val *v, struct str key, struct val value)
{
    if (!grow(a, v, sizeof(struct val_member))) {
        return NULL;
    }
    struct val_member *m = &v->members[v->n++];
    *m = (struct val_member){ .key = key, .value = value };
    return &m->value;
}

struct val *val_set(struct arena *a, struct val *v, struct str key, struct val value)
{
    struct val *old = val_get(v, key);
    if (old) {
        *old = value;
        return old;
    }
    return val_add(a, v, key, value);
}

struct val *val_object_at(struct arena *a, struct val *v, struct str key)
{
    struct val *at = val_get(v, key);
    if (val_is(at, VAL_OBJECT)) {
        return at;
    }
    return val_set(a, v, key, val_object());
}

bool val_remove(struct val *v, struct str key)
{
    ptrdiff_t i = val_index_of(v, key);
    if (i < 0) {
        return false;
    }
    v->n--;
    memmove(&v->members[i], &v->members[i + 1], (v->n - (size_t)i) * sizeof(*v->members));
    return true;
}

struct val *val_insert(struct arena *a, struct val *v, size_t at, struct val value)
{
    if (!grow(a, v, sizeof(struct val))) {
        return NULL;
    }
    memmove(&v->items[at + 1], &v->items[at], (v->n - at) * sizeof(*v->items));
    v->items[at] = value;
    v->n++;
    return &v->items[at];
}

struct val *val_push(struct arena *a, struct val *v, struct val value)
{
    return val_insert(a, v, v->n, value);
}

void val_remove_at(struct val *v, size_t at)
{
    v->n--;
    memmove(&v->items[at], &v->items[at + 1], (v->n - at) * sizeof(*v->items));
}

static bool copy_str(struct arena *a, struct str s, bool strings, struct str *ret)
{
    *ret = strings ? arena_str(a, s) : s;
    return ret->ptr || !s.ptr;
}

bool val_copy(struct arena *a, const struct val *v, bool strings, struct val *ret)
{
    struct val copy = *v;
    switch (v->kind) {
    case VAL_STRING:
        if (!copy_str(a, v->s, strings, &copy.s)) {
            return false;
        }
        break;
    case VAL_ARRAY:
        copy.capacity = v->n;
        copy.items = v->n ? arena_new_n(a, struct val, v->n) : NULL;
        if (v->n && !copy.items) {
            return false;
        }
        for (uint32_t i = 0; i < v->n; i++) {
            if (!val_copy(a, &v->items[i], strings, &copy.items[i])) {
                return false;
            }
        }
        break;
    case VAL_OBJECT:
        copy.capacity = v->n;
        copy.members = v->n ? arena_new_n(a, struct val_member, v->n) : NULL;
        if (v->n && !copy.members) {
            return false;
        }
        for (uint32_t i = 0; i < v->n; i++) {
            if (!copy_str(a, v->members[i].key, strings, &copy.members[i].key) ||
                !val_copy(a, &v->members[i].value, strings, &copy.members[i].value)) {
                return false;
            }
        }
        break;
    case VAL_NULL:
    case VAL_BOOL:
    case VAL_INT:
    case VAL_DOUBLE: break;
    }
    *ret = copy;
    return true;
}

static int cmp_numbers(const struct val *a, const struct val *b)
{
    if (a->kind == VAL_INT && b->kind == VAL_INT) {
        return a->i < b->i ? -1 : a->i > b->i;
    }
    double x = a->kind == VAL_INT ? (double)a->i : a->d, y = b->kind == VAL_INT ? (double)b->i : b->d;
    return x < y ? -1 : x > y;
}

bool val_equal(const struct val *a, const struct val *b)
{
    if (!a || !b) {
        return a == b;
    }
    if ((a->kind == VAL_INT || a->kind == VAL_DOUBLE) && (b->kind == VAL_INT || b->kind == VAL_DOUBLE)) {
        return cmp_numbers(a, b) == 0;
    }
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case VAL_BOOL: return a->b == b->b;
    case VAL_STRING: return str_eq(a->s, b->s);
    case VAL_ARRAY:
        if (a->n != b->n) {
            return false;
        }
        for (uint32_t i = 0; i < a->n; i++) {
            if (!val_equal(&a->items[i], &b->items[i])) {
                return false;
            }
        }
        return true;
    case VAL_OBJECT:
        if (a->n != b->n) {
            return false;
        }
        for (uint32_t i = 0; i < a->n; i++) {
            /* Two versions of one object mostly have the same order. */
            const struct val_member *m = &a->members[i];
            const struct val *other = str_eq(b->members[i].key, m->key) ? &b->members[i].value : val_get(b, m->key);
            if (!other || !val_equal(&m->value, other)) {
                return false;
            }
        }
        return true;
    case VAL_NULL:
    case VAL_INT:
    case VAL_DOUBLE: break;
    }
    return true;
}

static int member_cmp_qsort(const void *a, const void *b)
{
    return str_cmp(((const struct val_member *)a)->key, ((const struct val_member *)b)->key);
}

/* The member of the smallest key above 'after' (or the smallest of all), or NULL: a sorted walk that allocates nothing. */
static const struct val_member *next_by_key(const struct val *v, const struct val_member *after)
{
    const struct val_member *best = NULL;
    for (uint32_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        if ((!after || str_cmp(m->key, after->key) > 0) && (!best || str_cmp(m->key, best->key) < 0)) {
            best = m;
        }
    }
    return best;
}

static int kind_rank(enum val_kind k)
{
    static const int ranks[] = { [VAL_INT] = 0, [VAL_DOUBLE] = 0, [VAL_STRING] = 1, [VAL_BOOL] = 2,
                                 [VAL_ARRAY] = 3, [VAL_OBJECT] = 4, [VAL_NULL] = 5 };
    return ranks[k];
}

int val_cmp(const struct val *a, const struct val *b)
{
    int c = kind_rank(a->kind) - kind_rank(b->kind);
    if (c != 0) {
        return c;
    }
    switch (a->kind) {
    case VAL_INT:
    case VAL_DOUBLE: return cmp_numbers(a, b);
    case VAL_STRING: return str_cmp(a->s, b->s);
    case VAL_BOOL: return (int)a->b - (int)b->b;
    case VAL_ARRAY:
        for (uint32_t i = 0; i < a->n && i < b->n; i++) {
            c = val_cmp(&a->items[i], &b->items[i]);
            if (c != 0) {
                return c;
            }
        }
        return a->n < b->n ? -1 : a->n > b->n;
    case VAL_OBJECT: {
        const struct val_member *x = next_by_key(a, NULL), *y = next_by_key(b, NULL);
        for (; x && y; x = next_by_key(a, x), y = next_by_key(b, y)) {
            c = str_cmp(x->key, y->key);
            c = c ? c : val_cmp(&x->value, &y->value);
            if (c != 0) {
                return c;
            }
        }
        return x ? 1 : y ? -1 : 0;
    }
    case VAL_NULL: break;
    }
    return 0;
}

size_t val_count(const struct val *v)
{
    size_t n = 1;
    if (v->kind == VAL_ARRAY) {
        for (uint32_t i = 0; i < v->n; i++) {
            n += val_count(&v->items[i]);
        }
    } else if (v->kind == VAL_OBJECT) {
        for (uint32_t i = 0; i < v->n; i++) {
            n += val_count(&v->members[i].value);
        }
    }
    return n;
}

void val_sort(struct val *v)
{
    if (v->kind == VAL_ARRAY) {
        for (uint32_t i = 0; i < v->n; i++) {
            val_sort(&v->items[i]);
        }
    } else if (v->kind == VAL_OBJECT) {
        if (v->n > 1) {
            qsort(v->members, v->n, sizeof(*v->members), member_cmp_qsort);
        }
        for (uint32_t i = 0; i < v->n; i++) {
            val_sort(&v->members[i].value);
        }
    }
}

/* ---- text ---- */

void val_dups_init(struct val_dups *d)
{
    d->first = NULL;
    d->last = &d->first;
    d->n = 0;
}

void val_dups_add(struct arena *a, struct val_dups *d, struct str path, struct str key, uint32_t line)
{
    if (d->n >= VAL_DUPS_MAX) {
        return;
    }
    struct val_dup *dup = arena_new(a, struct val_dup);
    if (dup) {
        dup->path = arena_str(a, path);
        dup->key = arena_str(a, key);
        dup->line = line;
        *d->last = dup;
        d->last = &dup->next;
        d->n++;
    }
}

/* Where the parser is, as a chain on its stack: turned into a path only when there is something to report. */
struct place {
    const struct place *up;
    struct str key; /* absent: an index */
    size_t index;
};

static void write_place(struct buf *b, const struct place *p)
{
    if (!p) {
        return;
    }
    write_place(b, p->up);
    if (p->key.ptr) {
        if (p->up) {
            buf_append(b, STR("."));
        }
        buf_append(b, p->key);
    } else {
        buf_printf(b, "[%zu]", p->index);
    }
}

static bool no_memory(struct json_reader *r)
{
    return json_fail(r, ERR_TOO_LARGE, "the object needs more memory than it may have");
}

static bool read_value(struct json_reader *r, struct val_dups *dups, const struct place *up, struct val *ret);

/* Objects with more keys than this look for duplicates by sorting once at the end. */
#define FEW_KEYS 24

static void report_dup(struct json_reader *r, struct val_dups *dups, const struct place *up, struct str key)
{
    struct buf b;
    if (!dups) {
        return;
    }
    buf_init(&b, 64 * 1024);
    write_place(&b, &(struct place){ .up = up, .key = key });
    val_dups_add(r->arena, dups, buf_str(&b), key, 0);
    buf_deinit(&b);
}

struct keyed {
    struct str key;
    uint32_t index;
};

static int keyed_cmp(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int c = str_cmp(x->key, y->key);
    return c ? c : x->index < y->index ? -1 : x->index > y->index;
}

/* Many members may hold a key twice: keeps the first place and the last value of each, in one pass over sorted keys. */
static bool fold_duplicates(struct json_reader *r, struct val_dups *dups, const struct place *up, struct val *v)
{
    struct keyed *sorted = arena_new_n(r->arena, struct keyed, v->n);
    if (!sorted) {
        return no_memory(r);
    }
    for (uint32_t i = 0; i < v->n; i++) {
        sorted[i] = (struct keyed){ .key = v->members[i].key, .index = i };
    }
    qsort(sorted, v->n, sizeof(*sorted), keyed_cmp);
    bool found = false;
    for (uint32_t i = 0; i < v->n;) {
        uint32_t first = sorted[i].index, j = i + 1;
        for (; j < v->n && str_eq(sorted[j].key, sorted[i].key); j++) {
            v->members[first].value = v->members[sorted[j].index].value;
            v->members[sorted[j].index].key = STR_NULL;
            report_dup(r, dups, up, sorted[i].key);
            found = true;
        }
        i = j;
    }
    if (found) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < v->n; i++) {
            if (v->members[i].key.ptr) {
                v->members[n++] = v->members[i];
            }
        }
        v->n = n;
    }
    return true;
}

static bool read_object(struct json_reader *r, struct val_dups *dups, const struct place *up, struct val *ret)
{
    struct val v = val_object();
    struct str key;
    int more;
    if (!json_object_begin(r)) {
        return false;
    }
    while ((more = json_object_next(r, &key)) > 0) {
        struct val member;
        if (!key.ptr) {
            key = STR_EMPTY;
        }
        if (!read_value(r, dups, &(struct place){ .up = up, .key = key }, &member)) {
            return false;
        }
        struct val *old = v.n < FEW_KEYS ? val_get(&v, key) : NULL;
        if (old) {
            report_dup(r, dups, up, key);
            *old = member;
        } else if (!val_add(r->arena, &v, key, member)) {
            return no_memory(r);
        }
    }
    if (more < 0 || (v.n >= FEW_KEYS && !fold_duplicates(r, dups, up, &v))) {
        return false;
    }
    *ret = v;
    return true;
}

static bool read_array(struct json_reader *r, struct val_dups *dups, const struct place *up, struct val *ret)
{
    struct val v = val_array();
    int more;
    if (!json_array_begin(r)) {
        return false;
    }
    while ((more = json_array_next(r)) > 0) {
        struct val item;
        if (!read_value(r, dups, &(struct place){ .up = up, .index = v.n }, &item)) {
            return false;
        }
        if (!val_push(r->arena, &v, item)) {
            return no_memory(r);
        }
    }
    *ret = v;
    return more == 0;
}

static bool read_value(struct json_reader *r, struct val_dups *dups, const struct place *up, struct val *ret)
{
    struct str s;
    switch (json_peek(r)) {
    case JSON_OBJECT: return read_object(r, dups, up, ret);
    case JSON_ARRAY: return read_array(r, dups, up, ret);
    case JSON_STRING:
        ret->kind = VAL_STRING;
        return json_string(r, &ret->s);
    case JSON_BOOL:
        ret->kind = VAL_BOOL;
        return json_bool(r, &ret->b);
    case JSON_NULL:
        ret->kind = VAL_NULL;
        return json_null(r);
    case JSON_NUMBER:
        if (!json_number(r, &s)) {
            return false;
        }
        if (json_number_to_i64(s, &ret->i)) {
            ret->kind = VAL_INT;
            return true;
        }
        ret->kind = VAL_DOUBLE;
        if (!json_number_to_double(s, &ret->d)) {
            return json_fail(r, ERR_BAD_REQUEST, "json: cannot unmarshal number %.*s into Go value of type float64",
                             (int)MIN(s.len, (size_t)100), s.ptr);
        }
        return true;
    case JSON_NONE: break;
    }
    /* Fails with the syntax error. */
    return json_skip(r);
}

bool val_read_json(struct json_reader *r, struct val_dups *dups, struct val *ret)
{
    return read_value(r, dups, NULL, ret);
}

bool val_parse_json(struct arena *a, struct str text, uint32_t max_depth, struct val_dups *dups, struct val *ret,
                    struct err *err)
{
    struct json_reader r;
    struct val v;
    json_reader_init(&r, text, a, max_depth, err);
    if (!read_value(&r, dups, NULL, &v) || !json_end(&r)) {
        return false;
    }
    *ret = v;
    return true;
}

void val_write_json(struct buf *b, const struct val *v)
{
    if (!v) {
        json_write_null(b);
        return;
    }
    switch (v->kind) {
    case VAL_NULL: json_write_null(b); break;
    case VAL_BOOL: json_write_bool(b, v->b); break;
    case VAL_INT: json_write_i64(b, v->i); break;
    case VAL_DOUBLE: json_write_double(b, v->d); break;
    case VAL_STRING: json_write_string(b, v->s); break;
    case VAL_ARRAY:
        buf_append(b, STR("["));
        for (uint32_t i = 0; i < v->n; i++) {
            if (i) {
                buf_append(b, STR(","));
            }
            val_write_json(b, &v->items[i]);
        }
        buf_append(b, STR("]"));
        break;
    case VAL_OBJECT:
        buf_append(b, STR("{"));
        for (uint32_t i = 0; i < v->n; i++) {
            if (i) {
                buf_append(b, STR(","));
            }
            json_write_string(b, v->members[i].key);
            buf_append(b, STR(":"));
            val_write_json(b, &v->members[i].value);
        }
        buf_append(b, STR("}"));
        break;
    }
}

struct str val_to_json(struct arena *a, const struct val *v)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    val_write_json(&b, v);
    struct str s = buf_failed(&b) ? STR_NULL : arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return s;
}

/* strconv's 'g' with the shortest digits: an exponent (of two digits at least) below 1e-4 and from 1e21 on. */
static void write_go_double(struct buf *b, double d)
{
    char text[JSON_DOUBLE_SIZE];
    if (isnan(d)) {
        buf_append(b, STR("NaN"));
        return;
    }
    if (isinf(d)) {
        buf_append(b, d > 0 ? STR("+Inf") : STR("-Inf"));
        return;
    }
    json_format_double(d, text);
    double size = fabs(d);
    if (size != 0 && size < 1e-4) {
        for (int precision = 0; precision <= 16; precision++) {
            snprintf(text, sizeof(text), "%.*e", precision, d);
            if (strtod(text, NULL) == d) {
                break;
            }
        }
    }
    buf_append(b, str_c(text));
}

void val_write_go(struct buf *b, const struct val *v)
{
    if (!v) {
        buf_append(b, STR("<nil>"));
        return;
    }
    switch (v->kind) {
    case VAL_NULL: buf_append(b, STR("<nil>")); break;
    case VAL_BOOL: json_write_bool(b, v->b); break;
    case VAL_INT: json_write_i64(b, v->i); break;
    case VAL_DOUBLE: write_go_double(b, v->d); break;
    case VAL_STRING: buf_append(b, v->s); break;
    case VAL_ARRAY:
        buf_append(b, STR("["));
        for (uint32_t i = 0; i < v->n; i++) {
            if (i) {
                buf_append(b, STR(" "));
            }
            val_write_go(b, &v->items[i]);
        }
        buf_append(b, STR("]"));
        break;
    case VAL_OBJECT: {
        bool first = true;
        buf_append(b, STR("map["));
        for (const struct val_member *m = next_by_key(v, NULL); m; m = next_by_key(v, m)) {
            if (!first) {
                buf_append(b, STR(" "));
            }
            first = false;
            buf_append(b, m->key);
            buf_append(b, STR(":"));
            val_write_go(b, &m->value);
        }
        buf_append(b, STR("]"));
        break;
    }
    }
}
