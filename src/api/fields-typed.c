#include "api/fields-typed.h"

#include <stdlib.h>

#include "api/fields-typed-parts.h"
#include "api/val-convert.h"

static bool all_of_message(struct arena *a, const struct api_type *t, const char *obj, struct fields *f);
static bool compare_messages(struct arena *a, const struct api_type *t, const char *from, const char *to, struct fields_diff *d);

/* ---- list items by their key ---- */

static int item_cmp(const void *a, const void *b)
{
    const struct typed_item *x = a, *y = b;
    int c = fields_pe_cmp(&x->pe, &y->pe);
    return c ? c : x->at < y->at ? -1 : x->at > y->at;
}

/* The key as a tree: an object of the key's members alone stands for the item. '*ret' false: it has no key. */
static bool key_of(struct arena *a, struct fields_at at, const struct api_type *t, const char *obj, struct fields_pe *ret_pe, bool *ret)
{
    struct val_member members[TYPED_KEYS_MAX];
    struct val key = { .kind = VAL_OBJECT, .members = members, .capacity = TYPED_KEYS_MAX };
    struct str name;
    size_t names = 0;
    for (; names < TYPED_KEYS_MAX && (name = fields_at_key(at, names)).ptr; names++) {
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

bool typed_index(struct arena *a, struct fields_at at, const struct api_field *f, const char *p, struct typed_items *ret)
{
    size_t n = typed_items(p) ? typed_count(p) : 0, size = api_item_size(f);
    struct typed_items x = { .n = 0 };
    bool sorted = true;
    x.items = n ? arena_new_n(a, struct typed_item, n) : NULL;
    if (n && !x.items) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct typed_item *item = &x.items[x.n];
        bool has_key;
        item->obj = typed_items(p) + i * size;
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

/* ---- all there is in a field that the other object does not have ---- */

bool typed_all_by_tree(struct arena *a, const struct api_field *f, struct fields_at at, const char *p, struct fields *ret)
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
    struct typed_items x;
    ret->member = true;
    if (at.shape == FIELDS_LEAF || at.atomic || (at.shape == FIELDS_LIST && at.list == API_LM_ATOMIC)) {
        return true;
    }
    if (typed_is_struct(f, at)) {
        return all_of_message(a, f->message, typed_message(f, p), ret);
    }
    if (f->card == API_MAP && fields_at_item(at).shape == FIELDS_LEAF) {
        size_t n = typed_items(p) ? typed_count(p) : 0, size = api_entry_size(f);
        if (n > UINT32_MAX || !fields_reserve(a, ret, (uint32_t)n)) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            struct fields *kid = &ret->kids[ret->n++];
            kid->pe = typed_name_pe(*(const struct str *)(const void *)(typed_items(p) + i * size));
            kid->member = true;
        }
        fields_sort_kids(ret);
        return true;
    }
    if (!typed_is_keyed(f, at)) {
        return typed_all_by_tree(a, f, at, p, ret);
    }
    if (!typed_index(a, at, f, p, &x)) {
        return false;
    }
    if (x.twins || x.n > UINT32_MAX) {
        return typed_all_by_tree(a, f, at, p, ret);
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
        kid->pe = typed_name_pe(flat->field->name);
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

bool typed_compare_by_tree(struct arena *a, const struct api_field *f, struct fields_at at, enum api_presence x, const char *from,
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
    struct typed_items x, y;
    if (typed_count(from) == 0 && typed_count(to) == 0) {
        d->modified.member = !typed_items(from) != !typed_items(to);
        return true;
    }
    if (!typed_index(a, at, f, from, &x) || !typed_index(a, at, f, to, &y)) {
        return false;
    }
    if (x.twins || y.twins) {
        return typed_compare_by_tree(a, f, at, API_AS_VALUE, from, API_AS_VALUE, to, d);
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
        if (typed_is_struct(f, at)) {
            return compare_messages(a, f->message, typed_message(f, from), typed_message(f, to), d);
        }
        if (typed_is_keyed(f, at)) {
            return compare_lists(a, f, at, from, to, d);
        }
    }
    return typed_compare_by_tree(a, f, at, x, from, y, to, d);
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
        struct fields_diff below = diff_at(typed_name_pe(f->name));
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
