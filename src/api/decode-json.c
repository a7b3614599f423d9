#include "api/decode-json.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/quantity.h"
#include "base/clock.h"
#include "base/encoding.h"

/* Where in the object we are, for problems and errors; lives on the stack of the walk. */
struct place {
    const struct place *up;
    struct str name; /* a field or a map's key; absent for a list item */
    size_t index;
    const struct api_type *owner; /* the message whose field this is; NULL for items and keys */
};

/*
 * List items are collected on a stack of chunks that never move, and copied to the arena in one piece when the list ends: so
 * arrays have exactly the size they need. Lists inside an item begin above it and end before the next item begins, so the items
 * of one list lie in a row.
 */
struct chunk {
    struct chunk *below;
    size_t size;
    char *bytes;
};

struct collector {
    struct chunk *top;
    size_t used; /* of top */
    struct chunk first;
    char first_bytes[16384] __attribute__((aligned(16)));
};

struct collected {
    size_t item_size, n, capacity;
    char *items;
    struct chunk *mark_top;
    size_t mark_used;
};

struct decoder {
    struct json_reader *r;
    const struct api_json_decode *o;
    bool quiet;    /* inside a union: Go decodes those without looking for problems */
    bool mismatch; /* the error is about types, not syntax */
    struct collector *c;
};

static bool read_message(struct decoder *d, const struct api_type *t, const struct api_mask *mask, const struct place *at, void *obj);
static bool read_value(struct decoder *d, const struct api_field *f, const struct api_mask *mask, const struct place *at, void *dst);

/* ---- the collector ---- */

static void collector_init(struct collector *c)
{
    c->first = (struct chunk){ .size = sizeof(c->first_bytes), .bytes = c->first_bytes };
    c->top = &c->first;
    c->used = 0;
}

static void pop_to(struct collector *c, struct chunk *top, size_t used)
{
    while (c->top != top) {
        struct chunk *below = c->top->below;

        free(c->top);
        c->top = below;
    }
    c->used = used;
}

static struct collected collect(struct decoder *d, size_t item_size)
{
    return (struct collected){ .item_size = item_size, .mark_top = d->c->top, .mark_used = d->c->used };
}

static bool too_large(struct decoder *d)
{
    d->mismatch = true;
    return json_fail(d->r, ERR_TOO_LARGE, "the object needs more memory than it may have");
}

/* A zeroed item behind the others; the earlier ones may move. */
static void *push(struct decoder *d, struct collected *l)
{
    struct collector *c = d->c;
    size_t need = (l->item_size + 15) & ~(size_t)15; /* a chunk's start is aligned, items are as tight as in the arena */
    char *p;

    if (l->n == 0) {
        c->used = (c->used + 15) & ~(size_t)15;
        l->items = c->top->bytes + c->used;
    }
    if (c->top->size - MIN(c->used, c->top->size) < l->item_size) {
        size_t have = l->n * l->item_size, size = MAX(have * 2 + need, (size_t)65536);
        struct chunk *next = malloc(sizeof(*next) + size);

        if (!next) {
            too_large(d);
            return NULL;
        }
        *next = (struct chunk){ .below = c->top, .size = size, .bytes = (char *)(next + 1) };
        memcpy(next->bytes, l->items, have);
        c->top = next;
        c->used = have;
        l->items = next->bytes;
    }
    p = c->top->bytes + c->used;
    c->used += l->item_size;
    l->n++;
    memset(p, 0, l->item_size);
    return p;
}

/* Copies the items to the arena and gives their memory back. */
static bool finish(struct decoder *d, struct collected *l, void **ret_items, size_t *ret_n)
{
    void *p = arena_alloc(d->r->arena, l->n * l->item_size);

    if (!p) {
        return too_large(d);
    }
    if (l->n) {
        memcpy(p, l->items, l->n * l->item_size);
    }
    pop_to(d->c, l->mark_top, l->mark_used);
    *ret_items = p;
    *ret_n = l->n;
    return true;
}

/* ---- paths, problems, errors ---- */

static void write_place(struct buf *b, const struct place *at)
{
    if (!at) {
        return;
    }
    write_place(b, at->up);
    if (!at->name.ptr) {
        buf_printf(b, "[%zu]", at->index);
        return;
    }
    if (b->len) {
        buf_append_char(b, '.');
    }
    buf_append(b, at->name);
}

void api_problems_add(struct arena *a, struct api_problems *p, struct str text)
{
    if (p->n >= API_PROBLEMS_MAX) {
        return;
    }
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 8;
        struct str *items = arena_grow_n(a, p->items, p->n, capacity, sizeof(*items));

        if (!items) {
            return;
        }
        p->items = items;
        p->capacity = capacity;
    }
    p->items[p->n++] = text;
}

struct str api_problems_text(struct arena *a, const struct api_problems *p)
{
    struct buf b;
    struct str s;

    buf_init(&b, BUF_NO_MAX);
    buf_append(&b, STR("strict decoding error: "));
    for (size_t i = 0; i < p->n; i++) {
        if (i) {
            buf_append(&b, STR(", "));
        }
        buf_append(&b, p->items[i]);
    }
    s = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return s;
}

static void problem(struct decoder *d, const char *what, const struct place *at)
{
    struct buf b, path;

    if (!d->o->problems || d->quiet || d->o->problems->n >= API_PROBLEMS_MAX) {
        return;
    }
    buf_init(&path, 4096);
    buf_init(&b, 5000);
    write_place(&path, at);
    buf_printf(&b, "%s field \"%.*s\"", what, STR_ARG(buf_str(&path)));
    api_problems_add(d->r->arena, d->o->problems, arena_str(d->r->arena, buf_str(&b)));
    buf_deinit(&path);
    buf_deinit(&b);
}

/* The Go type of a field's value, or of one item of it, as Go names it in errors. */
static void write_go_type(struct buf *b, const struct api_field *f, bool item)
{
    if (!item && f->card == API_LIST) {
        buf_append(b, STR("[]"));
    }
    if (!item && f->card == API_MAP) {
        if (f->ftype == API_QUANTITY) {
            buf_append(b, STR("v1.ResourceList"));
            return;
        }
        buf_append(b, STR("map[string]"));
    }
    switch ((enum api_ftype)f->ftype) {
    case API_BOOL:
        buf_append(b, STR("bool"));
        break;
    case API_INT32:
    case API_ENUM:
    case API_INT_OR_STRING:
        buf_append(b, STR("int32"));
        break;
    case API_INT64:
        buf_append(b, STR("int64"));
        break;
    case API_UINT32:
        buf_append(b, STR("uint32"));
        break;
    case API_UINT64:
        buf_append(b, STR("uint64"));
        break;
    case API_DOUBLE:
        buf_append(b, STR("float64"));
        break;
    case API_BYTES:
        buf_append(b, STR("[]uint8"));
        break;
    case API_MESSAGE: {
        struct str head, rest;

        if (str_cut(f->message->name, '.', &head, &rest)) {
            buf_append(b, rest);
        }
        break;
    }
    case API_STRLIST:
        buf_append(b, STR("v1.ExtraValue"));
        break;
    case API_QUANTITY:
        buf_append(b, STR("resource.Quantity"));
        break;
    case API_RAW:
        buf_append(b, STR("runtime.RawExtension"));
        break;
    case API_STRING:
    case API_TIME:
    case API_MICROTIME:
    case API_DURATION:
    case API_FTYPE_MAX:
        buf_append(b, STR("string"));
        break;
    }
}

/* The innermost struct around 'at', and the path without indices and keys: "PodSpec", "spec.containers". */
static const struct api_type *write_go_path(struct buf *b, const struct place *at)
{
    const struct api_type *owner;

    if (!at) {
        return NULL;
    }
    owner = write_go_path(b, at->up);
    if (!at->owner) {
        return owner;
    }
    if (b->len) {
        buf_append_char(b, '.');
    }
    buf_append(b, at->name);
    return at->owner;
}

/* "json: cannot unmarshal <what> into Go struct field PodSpec.spec.containers of type <type>". */
static bool go_mismatch(struct decoder *d, struct str what, const struct place *at, struct str type)
{
    struct buf path;
    const struct api_type *owner;

    buf_init(&path, 512);
    owner = write_go_path(&path, at);
    d->mismatch = true;
    if (owner) {
        ptrdiff_t dot = str_rfind_char(owner->name, '.');
        struct str name = str_sub(owner->name, (size_t)(dot + 1), owner->name.len);

        (void)json_fail(d->r, ERR_BAD_REQUEST, "json: cannot unmarshal %.*s into Go struct field %.*s.%.*s of type %.*s",
                        STR_ARG(what), STR_ARG(name), STR_ARG(buf_str(&path)), STR_ARG(type));
    } else {
        (void)json_fail(d->r, ERR_BAD_REQUEST, "json: cannot unmarshal %.*s into Go value of type %.*s", STR_ARG(what),
                        STR_ARG(type));
    }
    buf_deinit(&path);
    return false;
}

/* The next value is not what the field is made of. A value that begins nothing is a syntax error. */
static bool wrong_kind(struct decoder *d, const struct api_field *f, bool item, const struct place *at)
{
    enum json_kind have = json_peek(d->r);
    struct buf type;

    if (have == JSON_NONE) {
        return json_skip(d->r);
    }
    buf_init(&type, 256);
    write_go_type(&type, f, item);
    (void)go_mismatch(d, str_c(json_kind_name(have)), at, buf_str(&type));
    buf_deinit(&type);
    return false;
}

static bool bad_number(struct decoder *d, const struct api_field *f, struct str number, const struct place *at)
{
    char what[96];
    struct buf type;
    int n = snprintf(what, sizeof(what), "number %.*s", (int)MIN(number.len, (size_t)64), number.ptr);

    buf_init(&type, 256);
    write_go_type(&type, f, true);
    (void)go_mismatch(d, str_n(what, (size_t)n), at, buf_str(&type));
    buf_deinit(&type);
    return false;
}

/* ---- single values ---- */

static bool keep_str(struct decoder *d, struct str *s)
{
    if (d->o->copy && s->ptr >= d->r->begin && s->ptr <= d->r->end) {
        *s = arena_str(d->r->arena, *s);
        if (!s->ptr) {
            return too_large(d);
        }
    }
    return true;
}

static bool read_string(struct decoder *d, const struct api_field *f, const struct place *at, struct str *ret)
{
    if (json_peek(d->r) != JSON_STRING) {
        return wrong_kind(d, f, true, at);
    }
    return json_string(d->r, ret) && keep_str(d, ret);
}

/* Where Go's decoder stops in standard base64 text: its error tells the offset. */
static size_t base64_bad_offset(struct str s)
{
    size_t digits = 0, quantum = 0;

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';

        if (c == '\r' || c == '\n') {
            continue;
        }
        if (!digit) {
            if (c == '=' && digits % 4 >= 2) {
                /* Padding: complete, and then nothing more may come. */
                size_t k = i + 1, need = digits % 4 == 2;

                while (k < s.len && (need || s.ptr[k] == '\r' || s.ptr[k] == '\n')) {
                    if (s.ptr[k] == '=') {
                        need = 0;
                    } else if (s.ptr[k] != '\r' && s.ptr[k] != '\n') {
                        return k;
                    }
                    k++;
                }
                return need ? s.len : k;
            }
            return i;
        }
        if (digits % 4 == 0) {
            quantum = i;
        }
        digits++;
    }
    return digits % 4 == 0 ? 0 : quantum;
}

static bool read_bytes(struct decoder *d, const struct api_field *f, const struct place *at, struct str *ret)
{
    struct str text;

    if (json_peek(d->r) != JSON_STRING) {
        return wrong_kind(d, f, true, at);
    }
    if (!json_string(d->r, &text)) {
        return false;
    }
    if (!base64_decode(d->r->arena, text, ret)) {
        d->mismatch = true;
        return json_fail(d->r, ERR_BAD_REQUEST, "illegal base64 data at input byte %zu", base64_bad_offset(text));
    }
    return true;
}

/* Go's time.Parse names the layout and the piece that did not fit it. */
static bool bad_time(struct decoder *d, struct str text, bool micro)
{
    static const struct {
        const char *layout;
        size_t width;
    } pieces[] = { { "2006", 4 }, { "-", 1 }, { "01", 2 }, { "-", 1 }, { "02", 2 }, { "T", 1 },
                   { "15", 2 },   { ":", 1 }, { "04", 2 }, { ":", 1 }, { "05", 2 } };
    const char *layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
    const char *piece = "Z07:00";
    size_t at = 0;

    d->mismatch = true;
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        bool fits = text.len - at >= pieces[i].width;

        for (size_t k = 0; fits && k < pieces[i].width; k++) {
            char c = text.ptr[at + k], want = pieces[i].layout[k];

            fits = want >= '0' && want <= '9' ? c >= '0' && c <= '9' : c == want;
        }
        if (!fits) {
            piece = pieces[i].layout;
            break;
        }
        at += pieces[i].width;
    }
    return json_fail(d->r, ERR_BAD_REQUEST, "parsing time \"%.*s\" as \"%s\": cannot parse \"%.*s\" as \"%s\"",
                     (int)MIN(text.len, (size_t)200), text.ptr, layout, (int)MIN(text.len - at, (size_t)200), text.ptr + at, piece);
}

static bool read_time(struct decoder *d, const struct api_field *f, const struct place *at, struct api_time *ret)
{
    struct str text;
    struct api_time t = { .set = true };
    bool micro = f->ftype == API_MICROTIME;

    if (json_peek(d->r) != JSON_STRING) {
        return wrong_kind(d, f, true, at);
    }
    if (!json_string(d->r, &text)) {
        return false;
    }
    if (!clock_parse_rfc3339(text, &t.sec, &t.nsec)) {
        return bad_time(d, text, micro);
    }
    t.nsec = micro ? t.nsec / 1000 * 1000 : 0;
    *ret = t;
    return true;
}

static bool read_quantity(struct decoder *d, struct str *ret)
{
    struct str text;
    struct err err;
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
    return keep_str(d, ret);
}

static bool read_int_or_string(struct decoder *d, const struct api_field *f, const struct place *at, struct api_int_or_string *ret)
{
    struct str text;
    int64_t v;

    switch (json_peek(d->r)) {
    case JSON_STRING:
        if (!json_string(d->r, &text) || !keep_str(d, &text)) {
            return false;
        }
        *ret = (struct api_int_or_string){ .kind = API_IOS_STRING, .s = text };
        return true;
    case JSON_NUMBER:
        if (!json_number(d->r, &text)) {
            return false;
        }
        if (!json_number_to_i64(text, &v) || v < INT32_MIN || v > INT32_MAX) {
            return bad_number(d, f, text, at);
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
    return wrong_kind(d, f, true, at);
}

static bool read_number(struct decoder *d, const struct api_field *f, const struct place *at, void *dst)
{
    struct str text;
    int64_t v;
    bool ok = false;

    if (json_peek(d->r) != JSON_NUMBER) {
        return wrong_kind(d, f, true, at);
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
    return ok || bad_number(d, f, text, at);
}

static bool read_strings(struct decoder *d, const struct api_field *f, const struct place *at, struct str **ret_items, size_t *ret_n)
{
    struct collected l = collect(d, sizeof(struct str));
    void *items;
    int more;

    if (json_peek(d->r) != JSON_ARRAY) {
        return wrong_kind(d, f, true, at);
    }
    if (!json_array_begin(d->r)) {
        return false;
    }
    while ((more = json_array_next(d->r)) > 0) {
        struct str *s = push(d, &l);
        struct api_field one = { .ftype = API_STRING };

        if (!s) {
            return false;
        }
        if (json_peek(d->r) == JSON_NULL ? !json_null(d->r) : !read_string(d, &one, at, s)) {
            return false;
        }
    }
    if (more < 0 || !finish(d, &l, &items, ret_n)) {
        return false;
    }
    *ret_items = items;
    return true;
}

static bool read_raw(struct decoder *d, struct str *ret)
{
    return json_raw(d->r, ret) && keep_str(d, ret);
}

/* ---- lists and maps ---- */

/* One item of a list or value of a map; null leaves it zero. */
static bool read_item(struct decoder *d, const struct api_field *f, const struct api_mask *mask, const struct place *at, void *dst)
{
    if (json_peek(d->r) == JSON_NULL) {
        return json_null(d->r);
    }
    return read_value(d, f, mask, at, dst);
}

static bool read_list(struct decoder *d, const struct api_field *f, const struct api_mask *mask, const struct place *at, void *dst)
{
    struct collected l = collect(d, api_item_size(f));
    void **items = dst;
    size_t *n = (size_t *)(void *)((char *)dst + sizeof(void *));
    struct place here = { .up = at };
    int more;

    if (json_peek(d->r) != JSON_ARRAY) {
        return wrong_kind(d, f, false, at);
    }
    if (!json_array_begin(d->r)) {
        return false;
    }
    while ((more = json_array_next(d->r)) > 0) {
        void *item = push(d, &l);

        if (!item || !read_item(d, f, mask, &here, item)) {
            return false;
        }
        here.index++;
    }
    if (more < 0 || !finish(d, &l, items, n)) {
        return false;
    }
    if (f->flags & API_F_TYPE_META) {
        api_set_item_type_meta(f, *items, *n);
    }
    return true;
}

struct key_order {
    struct str key;
    size_t index;
};

static int key_order_cmp(const void *a, const void *b)
{
    const struct key_order *x = a, *y = b;
    int c = str_cmp(x->key, y->key);

    return c ? c : (x->index > y->index) - (x->index < y->index);
}

/* Sorts entries by key; of equal keys the last one stays and a problem is told. */
static bool sort_entries(struct decoder *d, const struct place *at, char *entries, size_t *n, size_t size)
{
    bool sorted = true;
    struct key_order *order;
    char *copy;
    size_t out = 0;

    for (size_t i = 1; i < *n && sorted; i++) {
        sorted = str_cmp(*(struct str *)(void *)(entries + (i - 1) * size), *(struct str *)(void *)(entries + i * size)) < 0;
    }
    if (sorted) {
        return true;
    }
    order = malloc(*n * sizeof(*order));
    copy = malloc(*n * size);
    if (!order || !copy) {
        free(order);
        free(copy);
        return too_large(d);
    }
    memcpy(copy, entries, *n * size);
    for (size_t i = 0; i < *n; i++) {
        order[i] = (struct key_order){ .key = *(struct str *)(void *)(entries + i * size), .index = i };
    }
    qsort(order, *n, sizeof(*order), key_order_cmp);
    for (size_t i = 0; i < *n; i++) {
        if (i + 1 < *n && str_eq(order[i].key, order[i + 1].key)) {
            struct place here = { .up = at, .name = order[i].key };

            problem(d, "duplicate", &here);
            continue;
        }
        memcpy(entries + out++ * size, copy + order[i].index * size, size);
    }
    *n = out;
    free(order);
    free(copy);
    return true;
}

static bool read_map(struct decoder *d, const struct api_field *f, const struct api_mask *mask, const struct place *at, void *dst)
{
    size_t size = api_entry_size(f);
    struct collected l = collect(d, size);
    void **items = dst;
    size_t *n = (size_t *)(void *)((char *)dst + sizeof(void *));
    const char *earlier = *items; /* of a duplicate field: its entries stay, as in Go */
    size_t n_earlier = earlier ? *n : 0;
    struct str key;
    int more;

    if (json_peek(d->r) != JSON_OBJECT) {
        return wrong_kind(d, f, false, at);
    }
    if (!json_object_begin(d->r)) {
        return false;
    }
    for (size_t i = 0; i < n_earlier; i++) {
        void *entry = push(d, &l);

        if (!entry) {
            return false;
        }
        memcpy(entry, earlier + i * size, size);
    }
    while ((more = json_object_next(d->r, &key)) > 0) {
        struct place here = { .up = at, .name = key };
        char *entry = push(d, &l);

        if (!entry || !keep_str(d, &key)) {
            return false;
        }
        *(struct str *)(void *)entry = key;
        if (!read_item(d, f, mask, &here, entry + API_ENTRY_VALUE)) {
            return false;
        }
    }
    return more == 0 && finish(d, &l, items, n) && sort_entries(d, at, *items, n, size);
}

/* ---- messages ---- */

static bool read_value(struct decoder *d, const struct api_field *f, const struct api_mask *mask, const struct place *at, void *dst)
{
    switch ((enum api_ftype)f->ftype) {
    case API_STRING:
    case API_DURATION:
        return read_string(d, f, at, dst);
    case API_BOOL:
        if (json_peek(d->r) != JSON_BOOL) {
            return wrong_kind(d, f, true, at);
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
    case API_MESSAGE:
        return read_message(d, f->message, mask, at, dst);
    case API_STRLIST: {
        struct api_str_list *l = dst;
        return read_strings(d, f, at, &l->items, &l->n);
    }
    case API_FTYPE_MAX:
        break;
    }
    return false;
}

/* null: pointers, lists and maps become absent, other fields keep what they have. */
static void set_null(const struct api_field *f, char *obj, char *dst)
{
    if (f->card != API_SINGLE) {
        memset(dst, 0, sizeof(void *) + sizeof(size_t));
    } else if (f->has_offset) {
        *(obj + f->has_offset) = 0;
        memset(dst, 0, api_item_size(f));
    } else if (f->flags & API_F_POINTER) {
        memset(dst, 0, f->ftype == API_MESSAGE ? sizeof(void *) : api_item_size(f));
    } else if (f->ftype == API_BYTES || f->ftype == API_TIME || f->ftype == API_MICROTIME) {
        memset(dst, 0, api_item_size(f));
    }
}

/* 'obj' is the message that has the field. */
static bool read_field(struct decoder *d, const struct api_field *f, const struct api_mask *mask, const struct place *at, char *obj)
{
    char *dst = obj + f->offset;

    if (json_peek(d->r) == JSON_NULL) {
        set_null(f, obj, dst);
        return json_null(d->r);
    }
    if (f->card == API_LIST) {
        return read_list(d, f, mask, at, dst);
    }
    if (f->card == API_MAP) {
        return read_map(d, f, mask, at, dst);
    }
    if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
        void **p = (void **)(void *)dst;

        if (!*p && !(*p = arena_alloc(d->r->arena, f->message->size))) {
            return too_large(d);
        }
        return read_message(d, f->message, mask, at, *p);
    }
    if (!read_value(d, f, mask, at, dst)) {
        return false;
    }
    if (f->has_offset) {
        *(obj + f->has_offset) = 1;
    }
    return true;
}

static bool read_union(struct decoder *d, const struct api_type *t, const struct place *at, char *obj)
{
    const struct api_field *first = &t->fields[0], *second = &t->fields[1];
    const struct api_field *schema = t->form == API_FORM_SCHEMA_OR_BOOL ? second : first;
    const struct api_field *other = t->form == API_FORM_SCHEMA_OR_BOOL ? first : second;
    enum json_kind kind = json_peek(d->r);
    bool quiet = d->quiet, ok;

    d->quiet = true;
    memset(obj, 0, t->size);
    if (kind == JSON_OBJECT) {
        ok = read_field(d, schema, NULL, at, obj);
        if (t->form == API_FORM_SCHEMA_OR_BOOL) {
            *(bool *)(void *)(obj + other->offset) = true;
        }
    } else if (kind == JSON_ARRAY && t->form != API_FORM_SCHEMA_OR_BOOL) {
        ok = read_field(d, other, NULL, at, obj);
    } else if (kind == JSON_BOOL && t->form == API_FORM_SCHEMA_OR_BOOL) {
        ok = read_field(d, other, NULL, at, obj);
    } else if (t->form == API_FORM_SCHEMA_OR_BOOL && kind != JSON_NONE) {
        d->mismatch = true;
        ok = json_fail(d->r, ERR_BAD_REQUEST, "boolean or JSON schema expected");
    } else {
        ok = json_skip(d->r);
    }
    d->quiet = quiet;
    return ok;
}

static bool read_message(struct decoder *d, const struct api_type *t, const struct api_mask *mask, const struct place *at, void *obj)
{
    uint64_t seen[4] = { 0 };
    unsigned next = 0;
    struct str key;
    int more;

    if (t->form != API_FORM_OBJECT) {
        return read_union(d, t, at, obj);
    }
    if (json_peek(d->r) != JSON_OBJECT) {
        struct api_field f = { .ftype = API_MESSAGE, .message = t };

        return wrong_kind(d, &f, true, at);
    }
    if (!json_object_begin(d->r)) {
        return false;
    }
    while ((more = json_object_next(d->r, &key)) > 0) {
        struct place here = { .up = at, .name = key, .owner = t };
        const struct api_flat *flat;
        const struct api_mask *sub = NULL;
        int i;

        /* Names mostly come in the order of the schema. */
        if (next < t->n_flat && str_eq(t->flat[next].field->name, key)) {
            i = (int)next;
        } else {
            i = api_flat_find(t, key);
        }
        if (i < 0) {
            problem(d, "unknown", &here);
            if (!json_skip(d->r)) {
                return false;
            }
            continue;
        }
        next = (unsigned)i + 1;
        if (seen[i / 64] & (1ULL << (i % 64))) {
            problem(d, "duplicate", &here);
        }
        seen[i / 64] |= 1ULL << (i % 64);
        if (mask && mask->flat_action[i] != API_MASK_KEEP) {
            if (mask->flat_action[i] == API_MASK_SKIP) {
                if (!json_skip(d->r)) {
                    return false;
                }
                continue;
            }
            sub = mask->flat_sub[i];
        }
        flat = &t->flat[i];
        if (!read_field(d, flat->field, sub, &here, (char *)obj + flat->base)) {
            return false;
        }
    }
    return more == 0;
}

static const struct api_json_decode no_options;

bool api_read_json(struct json_reader *r, const struct api_type *t, const struct api_json_decode *o, void *ret)
{
    UNINITIALIZED struct collector c;
    struct decoder d = { .r = r, .o = o ? o : &no_options, .c = &c };
    bool ok;

    collector_init(&c);
    if (json_peek(r) == JSON_NULL) {
        ok = json_null(r);
    } else {
        ok = read_message(&d, t, d.o->mask, NULL, ret);
    }
    pop_to(&c, &c.first, 0);
    if (d.o->ret_syntax) {
        *d.o->ret_syntax = !ok && !d.mismatch;
    }
    return ok;
}

bool api_decode_json(struct arena *a, const struct api_type *t, struct str text, const struct api_json_decode *o, void *ret,
                     struct err *err)
{
    struct json_reader r;
    struct api_json_decode opts = o ? *o : no_options;
    bool syntax = false;

    opts.ret_syntax = &syntax;
    json_reader_init(&r, text, a, JSON_DEPTH, err);
    if (!api_read_json(&r, t, &opts, ret)) {
        /* Go reads the whole text before it looks at types. */
        struct err earlier;

        if (!syntax && !json_check(text, JSON_DEPTH, &earlier)) {
            syntax = true;
            if (err) {
                *err = earlier;
            }
        }
    } else if (!json_end(&r)) {
        syntax = true;
    } else {
        if (o && o->ret_syntax) {
            *o->ret_syntax = false;
        }
        return true;
    }
    if (o && o->ret_syntax) {
        *o->ret_syntax = syntax;
    }
    return false;
}

/* ---- kind and apiVersion alone ---- */

#define GO_TYPE_META "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }"

bool api_peek_type_meta(struct arena *a, struct str text, struct api_type_meta *ret, struct err *err)
{
    struct json_reader r;
    struct api_type_meta m = { 0 };
    struct err why, earlier;
    struct str key;
    enum json_kind kind;
    int more = 0;

    json_reader_init(&r, text, a, JSON_DEPTH, &why);
    kind = json_peek(&r);
    if (kind != JSON_OBJECT) {
        if (!json_skip(&r) || !json_end(&r)) {
            goto failed;
        }
        if (kind == JSON_NULL) {
            *ret = m;
            return true;
        }
        (void)json_fail(&r, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go value of type " GO_TYPE_META, json_kind_name(kind));
        goto failed;
    }
    if (!json_object_begin(&r)) {
        goto failed;
    }
    while (!(m.kind.ptr && m.api_version.ptr) && (more = json_object_next(&r, &key)) > 0) {
        bool version = str_eq_nocase(key, STR("apiVersion"));

        if (!version && !str_eq_nocase(key, STR("kind"))) {
            if (!json_skip(&r)) {
                goto failed;
            }
            continue;
        }
        kind = json_peek(&r);
        if (kind == JSON_STRING) {
            if (!json_string(&r, version ? &m.api_version : &m.kind)) {
                goto failed;
            }
        } else if (kind == JSON_NULL) {
            if (!json_null(&r)) {
                goto failed;
            }
        } else if (kind == JSON_NONE) {
            (void)!json_skip(&r);
            goto failed;
        } else {
            if (!json_check(text, JSON_DEPTH, &earlier)) {
                why = earlier;
            } else {
                (void)json_fail(&r, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go struct field .%s of type string",
                                json_kind_name(kind), version ? "apiVersion" : "kind");
            }
            goto failed;
        }
    }
    if (more < 0 || (more == 0 && !(m.kind.ptr && m.api_version.ptr) && !json_end(&r))) {
        goto failed;
    }
    *ret = m;
    return true;

failed:
    return err_set(err, why.code, "couldn't get version/kind; json parse error: %s", why.msg);
}
