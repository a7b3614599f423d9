#include "api/fields-typed.h"

#include <stdlib.h>

#include "api/bytes.h"
#include "api/copy.h"
#include "api/presence.h"
#include "api/val-convert.h"

/* Names of a list's key that are looked for; no type has more than three. */
#define KEYS_MAX 8

static bool all_of_message(struct arena *a, const struct api_type *t, const char *obj, struct fields *f);
static bool compare_messages(struct arena *a, const struct api_type *t, const char *from, const char *to, struct fields_diff *d);

static size_t count_at(const char *p)
{
    return *(const size_t *)(const void *)(p + sizeof(void *));
}

static const char *items_at(const char *p)
{
    return *(char *const *)(const void *)p;
}

/* The message of a single field. */
static const char *message_at(const struct api_field *f, const char *p)
{
    return f->flags & API_F_POINTER ? items_at(p) : p;
}

static struct fields_pe name_pe(struct str key)
{
    return (struct fields_pe){ .kind = FIELDS_NAME, .name = key };
}

/* ---- list items by their key ---- */

struct item {
    struct fields_pe pe;
    const char *obj;
    size_t at;
};

struct items {
    struct item *items; /* sorted by key */
    size_t n;
    bool twins; /* two have the same key */
};

static int item_cmp(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int c = fields_pe_cmp(&x->pe, &y->pe);
    return c ? c : x->at < y->at ? -1 : x->at > y->at;
}

/* The key as a tree: an object of the key's members alone stands for the item. '*ret' false: it has no key. */
static bool key_of(struct arena *a, struct fields_at at, const struct api_type *t, const char *obj, struct fields_pe *ret_pe, bool *ret)
{
    struct val_member members[KEYS_MAX];
    struct val key = { .kind = VAL_OBJECT, .members = members, .capacity = KEYS_MAX };
    struct str name;
    size_t names = 0;
    for (; names < KEYS_MAX && (name = fields_at_key(at, names)).ptr; names++) {
        int flat = api_flat_find(t, name);
        if (flat < 0) {
            continue;
        }
        const struct api_field *f = t->flat[flat].field;
        const char *owner = obj + t->flat[flat].base, *p = owner + f->offset;
        enum api_presence how = api_presence(f, owner, p);
        struct val v = val_null();
        if (how == API_LEFT_OUT) {
            continue;
        }
        if (how == API_AS_VALUE && !api_field_to_val(a, f, p, &v)) {
            return false;
        }
        members[key.n++] = (struct val_member){ .key = name, .value = v };
    }
    /* One name, and it is there: nothing to sort, and no default to look for. */
    if (names == 1 && key.n == 1) {
        key.members = arena_grow_n(a, members, 1, 1, sizeof(*members));
        key.capacity = 1;
        *ret_pe = (struct fields_pe){ .kind = FIELDS_KEY, .value = key };
        *ret = true;
        return key.members != NULL;
    }
    *ret = fields_item_pe(a, at, &key, ret_pe, NULL);
    return true;
}

static bool index_items(struct arena *a, struct fields_at at, const struct api_field *f, const char *p, struct items *ret)
{
    size_t n = items_at(p) ? count_at(p) : 0, size = api_item_size(f);
    struct items x = { .n = 0 };
    bool sorted = true;
    x.items = n ? arena_new_n(a, struct item, n) : NULL;
    if (n && !x.items) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct item *item = &x.items[x.n];
        bool has_key;
        item->obj = items_at(p) + i * size;
        item->at = i;
        if (!key_of(a, at, f->message, item->obj, &item->pe, &has_key)) {
            return false;
        }
        if (has_key) {
            sorted = sorted && (x.n == 0 || fields_pe_cmp(&item[-1].pe, &item->pe) < 0);
            x.n++;
        }
    }
    if (!sorted) {
        qsort(x.items, x.n, sizeof(*x.items), item_cmp);
        for (size_t i = 1; i < x.n; i++) {
            x.twins = x.twins || fields_pe_cmp(&x.items[i - 1].pe, &x.items[i].pe) == 0;
        }
    }
    *ret = x;
    return true;
}

/* Lists of structs that are told apart by members of theirs. */
static bool is_keyed(const struct api_field *f, struct fields_at at)
{
    return at.shape == FIELDS_LIST && at.list == API_LM_MAP && f->ftype == API_MESSAGE && f->message->form == API_FORM_OBJECT &&
           !fields_at_key(at, KEYS_MAX).ptr;
}

static bool is_struct(const struct api_field *f, struct fields_at at)
{
    return at.shape == FIELDS_MAP && !at.atomic && f->card == API_SINGLE;
}

/* ---- all there is in a field that the other object does not have ---- */

static bool all_by_tree(struct arena *a, const struct api_field *f, struct fields_at at, const char *p, struct fields *ret)
{
    struct val v;
    return api_field_to_val(a, f, p, &v) && fields_everything(a, at, &v, ret);
}

static bool all_of_item(struct arena *a, const struct api_field *f, struct fields_at item, const char *obj, struct fields *ret)
{
    ret->member = true;
    return item.atomic || all_of_message(a, f->message, obj, ret);
}

/* 'ret' is a member already. */
static bool all_of_field(struct arena *a, const struct api_field *f, const char *p, struct fields *ret)
{
    struct fields_at at = fields_at_field(f);
    struct items x;
    ret->member = true;
    if (at.shape == FIELDS_LEAF || at.atomic || (at.shape == FIELDS_LIST && at.list == API_LM_ATOMIC)) {
        return true;
    }
    if (is_struct(f, at)) {
        return all_of_message(a, f->message, message_at(f, p), ret);
    }
    if (f->card == API_MAP && fields_at_item(at).shape == FIELDS_LEAF) {
        size_t n = items_at(p) ? count_at(p) : 0, size = api_entry_size(f);
        if (n > UINT32_MAX || !fields_reserve(a, ret, (uint32_t)n)) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            struct fields *kid = &ret->kids[ret->n++];
            kid->pe = name_pe(*(const struct str *)(const void *)(items_at(p) + i * size));
            kid->member = true;
        }
        fields_sort_kids(ret);
        return true;
    }
    if (!is_keyed(f, at)) {
        return all_by_tree(a, f, at, p, ret);
    }
    if (!index_items(a, at, f, p, &x)) {
        return false;
    }
    if (x.twins || x.n > UINT32_MAX) {
        return all_by_tree(a, f, at, p, ret);
    }
    if (!fields_reserve(a, ret, (uint32_t)x.n)) {
        return false;
    }
    for (size_t i = 0; i < x.n; i++) {
        struct fields *kid = &ret->kids[ret->n++];
        kid->pe = x.items[i].pe;
        if (!all_of_item(a, f, fields_at_item(at), x.items[i].obj, kid)) {
            return false;
        }
    }
    return true;
}

static bool all_of_message(struct arena *a, const struct api_type *t, const char *obj, struct fields *ret)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < t->n_flat; i++) {
        const char *owner = obj + t->flat[i].base;
        n += api_presence(t->flat[i].field, owner, owner + t->flat[i].field->offset) != API_LEFT_OUT;
    }
    if (!fields_reserve(a, ret, n)) {
        return false;
    }
    for (unsigned i = 0; i < t->n_flat && n; i++) {
        const struct api_flat *flat = &t->flat[t->by_name[i]];
        const char *owner = obj + flat->base, *p = owner + flat->field->offset;
        enum api_presence how = api_presence(flat->field, owner, p);
        if (how == API_LEFT_OUT) {
            continue;
        }
        struct fields *kid = &ret->kids[ret->n++];
        kid->pe = name_pe(flat->field->name);
        kid->member = true;
        if (how == API_AS_VALUE && !all_of_field(a, flat->field, p, kid)) {
            return false;
        }
    }
    return true;
}

/* ---- what differs ---- */

static struct fields_diff diff_at(struct fields_pe pe)
{
    struct fields f = { .pe = pe };
    return (struct fields_diff){ .added = f, .modified = f, .removed = f };
}

static bool add_below(struct arena *a, struct fields_diff *d, const struct fields_diff *below)
{
    return fields_add(a, &d->added, &below->added) && fields_add(a, &d->modified, &below->modified) &&
           fields_add(a, &d->removed, &below->removed);
}

static bool by_tree(struct arena *a, const struct api_field *f, struct fields_at at, enum api_presence x, const char *from,
                    enum api_presence y, const char *to, struct fields_diff *d)
{
    struct val before = val_null(), after = val_null();
    struct fields_diff found;
    if ((x == API_AS_VALUE && !api_field_to_val(a, f, from, &before)) || (y == API_AS_VALUE && !api_field_to_val(a, f, to, &after)) ||
        !fields_compare(a, at, &before, &after, &found)) {
        return false;
    }
    found.added.pe = d->added.pe;
    found.modified.pe = d->modified.pe;
    found.removed.pe = d->removed.pe;
    *d = found;
    return true;
}

/* An item owned as a whole. */
static bool compare_whole(struct arena *a, const struct api_type *t, const char *from, const char *to, bool *ret_same)
{
    struct val x, y;
    if (!api_to_val(a, t, from, &x) || !api_to_val(a, t, to, &y)) {
        return false;
    }
    *ret_same = val_equal(&x, &y);
    return true;
}

static bool compare_lists(struct arena *a, const struct api_field *f, struct fields_at at, const char *from, const char *to,
                          struct fields_diff *d)
{
    struct fields_at item = fields_at_item(at);
    struct items x, y;
    if (count_at(from) == 0 && count_at(to) == 0) {
        d->modified.member = !items_at(from) != !items_at(to);
        return true;
    }
    if (!index_items(a, at, f, from, &x) || !index_items(a, at, f, to, &y)) {
        return false;
    }
    if (x.twins || y.twins) {
        return by_tree(a, f, at, API_AS_VALUE, from, API_AS_VALUE, to, d);
    }
    for (size_t i = 0, j = 0; i < x.n || j < y.n;) {
        int c = i == x.n ? 1 : j == y.n ? -1 : fields_pe_cmp(&x.items[i].pe, &y.items[j].pe);
        struct fields_diff below = diff_at(c <= 0 ? x.items[i].pe : y.items[j].pe);
        bool ok, same = true;
        if (c < 0) {
            ok = all_of_item(a, f, item, x.items[i].obj, &below.removed);
        } else if (c > 0) {
            ok = all_of_item(a, f, item, y.items[j].obj, &below.added);
        } else if (item.atomic) {
            ok = compare_whole(a, f->message, x.items[i].obj, y.items[j].obj, &same);
            below.modified.member = !same;
        } else {
            ok = compare_messages(a, f->message, x.items[i].obj, y.items[j].obj, &below);
        }
        if (!ok || !add_below(a, d, &below)) {
            return false;
        }
        i += c <= 0;
        j += c >= 0;
    }
    return true;
}

static bool compare_field(struct arena *a, const struct api_field *f, enum api_presence x, const char *from, enum api_presence y,
                          const char *to, struct fields_diff *d)
{
    if (x == API_LEFT_OUT || y == API_LEFT_OUT) {
        struct fields *set = x == API_LEFT_OUT ? &d->added : &d->removed;
        set->member = true;
        return (x == API_LEFT_OUT ? y : x) == API_AS_NULL || all_of_field(a, f, x == API_LEFT_OUT ? to : from, set);
    }
    struct fields_at at = fields_at_field(f);
    if (x == API_AS_VALUE && y == API_AS_VALUE) {
        if (is_struct(f, at)) {
            return compare_messages(a, f->message, message_at(f, from), message_at(f, to), d);
        }
        if (is_keyed(f, at)) {
            return compare_lists(a, f, at, from, to, d);
        }
    }
    return by_tree(a, f, at, x, from, y, to, d);
}

static bool compare_messages(struct arena *a, const struct api_type *t, const char *from, const char *to, struct fields_diff *d)
{
    for (unsigned i = 0; i < t->n_flat; i++) {
        const struct api_flat *flat = &t->flat[t->by_name[i]];
        const struct api_field *f = flat->field;
        const char *before = from + flat->base, *after = to + flat->base;
        enum api_presence x = api_presence(f, before, before + f->offset), y = api_presence(f, after, after + f->offset);
        if (x == y && (x != API_AS_VALUE || api_same_field(f, before, after))) {
            continue;
        }
        struct fields_diff below = diff_at(name_pe(f->name));
        if (!compare_field(a, f, x, before + f->offset, y, after + f->offset, &below) || !add_below(a, d, &below)) {
            return false;
        }
    }
    return true;
}

bool fields_compare_typed(struct arena *a, const struct api_type *t, const void *from, const void *to, struct fields_diff *ret)
{
    struct fields_diff d = { 0 };
    if (!compare_messages(a, t, from, to, &d)) {
        return false;
    }
    *ret = d;
    return true;
}

/* ---- what a new object sets, written at once ---- */

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
    if (!all_by_tree(w->a, f, at, p, &set)) {
        return false;
    }
    fields_write_below(w->b, &set, depth);
    return true;
}

static bool text_of_items(struct text *w, const struct api_field *f, struct fields_at item, const struct items *x, unsigned depth)
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
        struct fields_pe pe = name_pe(*key);
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
    struct items x;
    bool sorted;
    if (at.shape == FIELDS_LEAF || at.atomic || (at.shape == FIELDS_LIST && at.list == API_LM_ATOMIC) || depth >= FIELDS_DEPTH - 2) {
        buf_append(w->b, STR("{}"));
        return true;
    }
    if (is_struct(f, at)) {
        return text_of_message(w, f->message, message_at(f, p), depth);
    }
    if (f->card == API_MAP && fields_at_item(at).shape == FIELDS_LEAF) {
        return text_of_keys(w, f, items_at(p), items_at(p) ? count_at(p) : 0, &sorted) && (sorted || text_by_tree(w, f, at, p, depth));
    }
    if (!is_keyed(f, at)) {
        return text_by_tree(w, f, at, p, depth);
    }
    if (!index_items(w->a, at, f, p, &x)) {
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
        struct fields_pe pe = name_pe(flat->field->name);
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
    if (x == API_AS_VALUE && y == API_AS_VALUE && is_struct(f, at)) {
        return text_of_new(w, f->message, message_at(f, from), message_at(f, to), skip, depth);
    }
    w->unfit = w->unfit || skip;
    if (x == API_AS_VALUE && y == API_AS_VALUE && is_keyed(f, at) && count_at(to) > 0) {
        struct items items;
        if (!index_items(w->a, at, f, to, &items)) {
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
    if (!by_tree(w->a, f, at, x, from, y, to, &d) || !fields_union(w->a, &d.modified, &d.added, &both)) {
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
        struct fields_pe pe = name_pe(f->name);
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
