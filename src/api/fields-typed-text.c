/* What a new object sets, as text: see fields_write_new(). */
#include "api/bytes.h"
#include "api/fields-typed-parts.h"

struct text {
    struct arena *a;
    struct buf *b;
    bool unfit;
};

static bool text_of_message(struct text *w, const struct api_type *t, const char *obj, unsigned depth);

/* A key and its colon, behind a comma unless it is the first in its braces. */
static void put_step(struct text *w, const struct fields_pe *pe)
{
    struct buf *b = w->b;
    if (b->len && b->ptr[b->len - 1] != '{') {
        buf_append_char(b, ',');
    }
    size_t len = pe->kind == FIELDS_NAME ? pe->name.len : 0;
    char *p = bytes_room(b, len + 5);
    if (p && pe->kind == FIELDS_NAME && bytes_copy_safe(p + 3, pe->name.ptr, len)) {
        memcpy(p, "\"f:", 3);
        memcpy(p + 3 + len, "\":", 2);
        bytes_done(b, len + 5);
        return;
    }
    fields_pe_write_json(b, pe);
    buf_append_char(b, ':');
}

/* A place with places below it: they follow, then its brace. Where none follow it is a leaf. */
static void put_begin(struct text *w)
{
    buf_append(w->b, STR("{\".\":{}"));
}

static void put_end(struct text *w, size_t begin)
{
    static const char alone[] = "{\".\":{}";
    if (w->b->len == begin + sizeof(alone) - 1) {
        w->b->len = begin;
        buf_append(w->b, STR("{"));
    }
    buf_append_char(w->b, '}');
}

static bool text_by_tree(struct text *w, const struct api_field *f, struct fields_at at, const char *p, unsigned depth)
{
    struct fields set = { .member = true };
    if (!typed_all_by_tree(w->a, f, at, p, &set)) {
        return false;
    }
    fields_write_below(w->b, &set, depth);
    return true;
}

static bool text_of_items(struct text *w, const struct api_field *f, struct fields_at item, const struct typed_items *x, unsigned depth)
{
    for (size_t i = 0; i < x->n; i++) {
        put_step(w, &x->items[i].pe);
        if (item.atomic) {
            buf_append(w->b, STR("{}"));
        } else if (!text_of_message(w, f->message, x->items[i].obj, depth + 1)) {
            return false;
        }
    }
    return true;
}

/* Entries in the order of their keys, as decoders leave them. */
static bool text_of_keys(struct text *w, const struct api_field *f, const char *items, size_t n, bool *ret_sorted)
{
    size_t size = api_entry_size(f), begin = w->b->len;
    *ret_sorted = true;
    put_begin(w);
    for (size_t i = 0; i < n; i++) {
        const struct str *key = (const struct str *)(const void *)(items + i * size);
        if (i > 0 && str_cmp(*(const struct str *)(const void *)(items + (i - 1) * size), *key) >= 0) {
            *ret_sorted = false;
            w->b->len = begin;
            return true;
        }
        struct fields_pe pe = typed_name_pe(*key);
        put_step(w, &pe);
        buf_append(w->b, STR("{}"));
    }
    put_end(w, begin);
    return true;
}

/* As all_of_field(). */
static bool text_of_field(struct text *w, const struct api_field *f, const char *p, unsigned depth)
{
    struct fields_at at = fields_at_field(f);
    struct typed_items x;
    bool sorted;
    if (at.shape == FIELDS_LEAF || at.atomic || (at.shape == FIELDS_LIST && at.list == API_LM_ATOMIC) || depth >= FIELDS_DEPTH - 2) {
        buf_append(w->b, STR("{}"));
        return true;
    }
    if (typed_is_struct(f, at)) {
        return text_of_message(w, f->message, typed_message(f, p), depth);
    }
    if (f->card == API_MAP && fields_at_item(at).shape == FIELDS_LEAF) {
        return text_of_keys(w, f, typed_items(p), typed_items(p) ? typed_count(p) : 0, &sorted) && (sorted || text_by_tree(w, f, at, p, depth));
    }
    if (!typed_is_keyed(f, at)) {
        return text_by_tree(w, f, at, p, depth);
    }
    if (!typed_index(w->a, at, f, p, &x)) {
        return false;
    }
    if (x.twins) {
        return text_by_tree(w, f, at, p, depth);
    }
    size_t begin = w->b->len;
    put_begin(w);
    if (!text_of_items(w, f, fields_at_item(at), &x, depth)) {
        return false;
    }
    put_end(w, begin);
    return true;
}

static bool text_of_message(struct text *w, const struct api_type *t, const char *obj, unsigned depth)
{
    size_t begin = w->b->len;
    if (depth >= FIELDS_DEPTH - 2) {
        buf_append(w->b, STR("{}"));
        return true;
    }
    put_begin(w);
    for (unsigned i = 0; i < t->n_flat; i++) {
        const struct api_flat *flat = &t->flat[t->by_name[i]];
        const char *owner = obj + flat->base, *p = owner + flat->field->offset;
        enum api_presence how = api_presence(flat->field, owner, p);
        if (how == API_LEFT_OUT) {
            continue;
        }
        struct fields_pe pe = typed_name_pe(flat->field->name);
        put_step(w, &pe);
        if (how == API_AS_NULL) {
            buf_append(w->b, STR("{}"));
        } else if (!text_of_field(w, flat->field, p, depth + 1)) {
            return false;
        }
    }
    put_end(w, begin);
    return true;
}

static bool text_of_new(struct text *w, const struct api_type *t, const char *zero, const char *obj, const struct fields *skip,
                        unsigned depth);

/* A field that is shown in both, and differs. The key is written already; nothing behind it: there is no difference that trees show. */
static bool text_of_changed(struct text *w, const struct api_field *f, enum api_presence x, const char *from, enum api_presence y,
                            const char *to, const struct fields *skip, unsigned depth)
{
    struct fields_at at = fields_at_field(f);
    struct fields_diff d = { 0 };
    struct fields both;
    if (x == API_AS_VALUE && y == API_AS_VALUE && typed_is_struct(f, at)) {
        return text_of_new(w, f->message, typed_message(f, from), typed_message(f, to), skip, depth);
    }
    w->unfit = w->unfit || skip;
    if (x == API_AS_VALUE && y == API_AS_VALUE && typed_is_keyed(f, at) && typed_count(to) > 0) {
        struct typed_items items;
        if (!typed_index(w->a, at, f, to, &items)) {
            return false;
        }
        if (!items.twins && items.n > 0) {
            buf_append_char(w->b, '{');
            if (!text_of_items(w, f, fields_at_item(at), &items, depth)) {
                return false;
            }
            buf_append_char(w->b, '}');
            return true;
        }
    }
    if (!typed_compare_by_tree(w->a, f, at, x, from, y, to, &d) || !fields_union(w->a, &d.modified, &d.added, &both)) {
        return false;
    }
    if (!fields_is_empty(&both)) {
        fields_write_below(w->b, &both, depth);
    }
    return true;
}

/* As compare_messages() with a struct of zeroes. Writes nothing when there is nothing. */
static bool text_of_new(struct text *w, const struct api_type *t, const char *zero, const char *obj, const struct fields *skip,
                        unsigned depth)
{
    struct buf *b = w->b;
    size_t begin = b->len;
    buf_append_char(b, '{');
    for (unsigned i = 0; i < t->n_flat; i++) {
        const struct api_flat *flat = &t->flat[t->by_name[i]];
        const struct api_field *f = flat->field;
        const char *before = zero + flat->base, *after = obj + flat->base, *p = after + f->offset;
        enum api_presence x = api_presence(f, before, before + f->offset), y = api_presence(f, after, p);
        if (y == API_LEFT_OUT || (x == y && (x != API_AS_VALUE || api_same_field(f, before, after)))) {
            continue;
        }
        struct fields_pe pe = typed_name_pe(f->name);
        const struct fields *below = skip ? fields_kid(skip, &pe) : NULL;
        size_t key = b->len, value;
        if (below && below->member) {
            continue;
        }
        put_step(w, &pe);
        value = b->len;
        if (x != API_LEFT_OUT) {
            if (!text_of_changed(w, f, x, before + f->offset, y, p, below, depth + 1)) {
                return false;
            }
        } else if (y == API_AS_NULL) {
            buf_append(b, STR("{}"));
        } else if (!text_of_field(w, f, p, depth + 1)) {
            return false;
        } else {
            w->unfit = w->unfit || below;
        }
        if (b->len == value) {
            b->len = key;
        }
    }
    if (b->len == begin + 1) {
        b->len = begin;
    } else {
        buf_append_char(b, '}');
    }
    return true;
}

bool fields_write_new(struct arena *a, const struct api_type *t, const void *object, const struct fields *skip, struct buf *b, bool *ret)
{
    struct text w = { .a = a, .b = b };
    void *zero = arena_alloc(a, t->size);
    size_t begin = b->len;
    if (!zero || !text_of_new(&w, t, zero, object, skip, 0)) {
        return false;
    }
    *ret = !w.unfit;
    if (w.unfit) {
        b->len = begin;
    } else if (b->len == begin) {
        buf_append(b, STR("{}"));
    }
    return !buf_failed(b);
}
