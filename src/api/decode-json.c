#include "api/decode-json.h"

#include <stdlib.h>

#include "api/bytes.h"
#include "api/decode-json-parts.h"

static bool read_message(struct decoder *d, const struct api_type *t, const struct api_mask *mask, const struct place *at, void *obj);

static inline bool read_value(struct decoder *d, const struct api_field *f, const struct api_mask *mask, const struct place *at, void *dst)
{
    return f->ftype == API_MESSAGE ? read_message(d, f->message, mask, at, dst) : decode_scalar(d, f, at, dst);
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

static bool is_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static bool read_list(struct decoder *d, const struct api_field *f, const struct api_mask *mask, const struct place *at, void *dst)
{
    struct collected l = collector_begin(d->c, api_item_size(f));
    void **items = dst;
    size_t *n = (size_t *)(void *)((char *)dst + sizeof(void *));
    struct place here = { .up = at };
    int more;

    if (json_peek(d->r) != JSON_ARRAY) {
        return decode_wrong_kind(d, f, false, at);
    }
    if (!json_array_begin(d->r)) {
        return false;
    }
    while ((more = json_array_next(d->r)) > 0) {
        void *item = collector_push(d->c, &l);

        if (!item) {
            return decode_too_large(d);
        }
        if (!read_item(d, f, mask, &here, item)) {
            return false;
        }
        if (mask && mask->sparse && is_zero(item, l.item_size)) {
            collector_unpush(d->c, &l);
        }
        here.index++;
    }
    if (more < 0) {
        return false;
    }
    if (!collector_end(d->c, d->r->arena, &l, items, n)) {
        return decode_too_large(d);
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
        return decode_too_large(d);
    }
    memcpy(copy, entries, *n * size);
    for (size_t i = 0; i < *n; i++) {
        order[i] = (struct key_order){ .key = *(struct str *)(void *)(entries + i * size), .index = i };
    }
    qsort(order, *n, sizeof(*order), key_order_cmp);
    for (size_t i = 0; i < *n; i++) {
        if (i + 1 < *n && str_eq(order[i].key, order[i + 1].key)) {
            struct place here = { .up = at, .name = order[i].key };

            decode_problem(d, "duplicate", &here);
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
    struct collected l = collector_begin(d->c, size);
    void **items = dst;
    size_t *n = (size_t *)(void *)((char *)dst + sizeof(void *));
    const char *earlier = *items; /* of a duplicate field: its entries stay, as in Go */
    size_t n_earlier = earlier ? *n : 0;
    struct str key;
    int more;

    if (json_peek(d->r) != JSON_OBJECT) {
        return decode_wrong_kind(d, f, false, at);
    }
    if (!json_object_begin(d->r)) {
        return false;
    }
    for (size_t i = 0; i < n_earlier; i++) {
        void *entry = collector_push(d->c, &l);

        if (!entry) {
            return decode_too_large(d);
        }
        memcpy(entry, earlier + i * size, size);
    }
    while ((more = json_object_next(d->r, &key)) > 0) {
        struct place here = { .up = at, .name = key };
        char *entry = collector_push(d->c, &l);

        if (!entry) {
            return decode_too_large(d);
        }
        if (!decode_keep(d, &key)) {
            return false;
        }
        *(struct str *)(void *)entry = key;
        if (!read_item(d, f, mask, &here, entry + API_ENTRY_VALUE)) {
            return false;
        }
    }
    if (more < 0) {
        return false;
    }
    return collector_end(d->c, d->r->arena, &l, items, n) ? sort_entries(d, at, *items, n, size) : decode_too_large(d);
}

/* ---- messages ---- */

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
            return decode_too_large(d);
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

        return decode_wrong_kind(d, &f, true, at);
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
        if (next < t->n_flat && bytes_same(t->flat[next].field->name, key)) {
            i = (int)next;
        } else {
            i = api_flat_find(t, key);
        }
        if (i < 0) {
            decode_problem(d, "unknown", &here);
            if (!json_skip(d->r)) {
                return false;
            }
            continue;
        }
        next = (unsigned)i + 1;
        if (seen[i / 64] & (1ULL << (i % 64))) {
            decode_problem(d, "duplicate", &here);
        }
        seen[i / 64] |= 1ULL << (i % 64);
        if (mask && mask->flat_action[i] != API_MASK_KEEP) {
            if (mask->flat_action[i] == API_MASK_SKIP) {
                if (!(d->o->own ? json_skip_unchecked(d->r) : json_skip(d->r))) {
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
    collector_pop(&c, &c.first, 0);
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
