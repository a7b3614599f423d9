#include "api/fields-walk.h"

#include <stdlib.h>

static struct fields_pe name_pe(struct str key)
{
    return (struct fields_pe){ .kind = FIELDS_NAME, .name = key };
}

static bool is_empty_map(const struct val *v)
{
    return !val_is(v, VAL_OBJECT) || v->n == 0;
}

static bool is_empty_list(const struct val *v)
{
    return !val_is(v, VAL_ARRAY) || v->n == 0;
}

/* The member under 'key', which is mostly where the other version has it. */
static const struct val *get_near(const struct val *v, struct str key, uint32_t near)
{
    if (!val_is(v, VAL_OBJECT)) {
        return NULL;
    }
    if (near < v->n && str_eq(v->members[near].key, key)) {
        return &v->members[near].value;
    }
    return val_get(v, key);
}

/* ---- list items by their key ---- */

struct item {
    struct fields_pe pe;
    const struct val *v;
    uint32_t at;
};

struct items {
    struct item *items; /* sorted by key, then by place */
    uint32_t n;
};

static int item_cmp(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int c = fields_pe_cmp(&x->pe, &y->pe);
    return c ? c : x->at < y->at ? -1 : x->at > y->at;
}

/* Items without a key (of objects stored before the key was one) are left out: nobody can own them. */
static bool index_items(struct arena *a, struct fields_at at, const struct val *list, struct items *ret)
{
    uint32_t n = val_is(list, VAL_ARRAY) ? list->n : 0;
    struct items x = { .n = 0 };
    x.items = n ? arena_new_n(a, struct item, n) : NULL;
    if (n && !x.items) {
        return false;
    }
    bool sorted = true;
    for (uint32_t i = 0; i < n; i++) {
        struct item *item = &x.items[x.n];
        if (!fields_item_pe(a, at, &list->items[i], &item->pe, NULL)) {
            continue;
        }
        item->v = &list->items[i];
        item->at = i;
        sorted = sorted && (x.n == 0 || fields_pe_cmp(&item[-1].pe, &item->pe) <= 0);
        x.n++;
    }
    if (!sorted) {
        qsort(x.items, x.n, sizeof(*x.items), item_cmp);
    }
    *ret = x;
    return true;
}

/* How many items from 'i' on have the same key. */
static uint32_t run_length(const struct items *x, uint32_t i)
{
    uint32_t n = 1;
    while (i + n < x->n && fields_pe_cmp(&x->items[i].pe, &x->items[i + n].pe) == 0) {
        n++;
    }
    return n;
}

/* The first item of that key, or NULL. */
static const struct item *find_item(const struct items *x, const struct fields_pe *pe)
{
    uint32_t low = 0, high = x->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (fields_pe_cmp(&x->items[middle].pe, pe) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < x->n && fields_pe_cmp(&x->items[low].pe, pe) == 0 ? &x->items[low] : NULL;
}

/* ---- the fields of one object ---- */

static bool set_of(struct arena *a, struct fields_at at, const struct val *v, struct fields *f);

static bool set_of_map(struct arena *a, struct fields_at at, const struct val *v, struct fields *f)
{
    for (uint32_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        struct fields kid = { .pe = name_pe(m->key) };
        struct fields_at below;
        bool declared;
        fields_at_member(at, m->key, &below, &declared);
        if (!set_of(a, below, &m->value, &kid)) {
            return false;
        }
        bool empty = m->value.kind == VAL_NULL || (m->value.kind == VAL_OBJECT && m->value.n == 0);
        kid.member = kid.member || empty || !declared;
        if (!fields_add(a, f, &kid)) {
            return false;
        }
    }
    return true;
}

static bool set_of_list(struct arena *a, struct fields_at at, const struct val *v, struct fields *f)
{
    struct items items;
    struct fields_at below = fields_at_item(at);
    if (!index_items(a, at, v, &items)) {
        return false;
    }
    for (uint32_t i = 0, n; i < items.n; i += n) {
        struct fields kid = { .pe = items.items[i].pe, .member = true };
        n = run_length(&items, i);
        /* Items of one key are owned together, as a whole. */
        if (n == 1 && !set_of(a, below, items.items[i].v, &kid)) {
            return false;
        }
        kid.member = true;
        if (!fields_add(a, f, &kid)) {
            return false;
        }
    }
    return true;
}

static bool set_of(struct arena *a, struct fields_at at, const struct val *v, struct fields *f)
{
    if (fields_at_is_leaf(at, v)) {
        f->member = true;
        return true;
    }
    if (v->kind == VAL_OBJECT) {
        return set_of_map(a, at, v, f);
    }
    return v->kind != VAL_ARRAY || set_of_list(a, at, v, f);
}

bool fields_of(struct arena *a, struct fields_at at, const struct val *v, struct fields *ret)
{
    struct fields f = { 0 };
    if (!set_of(a, at, v, &f)) {
        return false;
    }
    *ret = f;
    return true;
}

/* ---- two versions ---- */

bool fields_everything(struct arena *a, struct fields_at at, const struct val *v, struct fields *f)
{
    f->member = true;
    if (fields_at_is_leaf(at, v)) {
        return true;
    }
    if (v->kind == VAL_OBJECT && v->n) {
        if (!fields_reserve(a, f, v->n)) {
            return false;
        }
        for (uint32_t i = 0; i < v->n; i++) {
            struct fields *kid = &f->kids[f->n++];
            struct fields_at below;
            bool declared;
            kid->pe = name_pe(v->members[i].key);
            fields_at_member(at, v->members[i].key, &below, &declared);
            if (!fields_everything(a, below, &v->members[i].value, kid)) {
                return false;
            }
        }
        fields_sort_kids(f);
    } else if (v->kind == VAL_ARRAY && v->n) {
        struct items items;
        struct fields_at below = fields_at_item(at);
        if (!index_items(a, at, v, &items) || !fields_reserve(a, f, items.n)) {
            return false;
        }
        for (uint32_t i = 0, n; i < items.n; i += n) {
            struct fields *kid = &f->kids[f->n++];
            n = run_length(&items, i);
            *kid = (struct fields){ .pe = items.items[i].pe, .member = true };
            if (n == 1 && !fields_everything(a, below, items.items[i].v, kid)) {
                return false;
            }
        }
    }
    return true;
}

static bool compare(struct arena *a, struct fields_at at, const struct val *from, const struct val *to,
                    struct fields_diff *d);

/* Adds what was found at one step below to each of the three sets. */
static bool add_below(struct arena *a, struct fields_diff *d, const struct fields_diff *below)
{
    return fields_add(a, &d->added, &below->added) && fields_add(a, &d->modified, &below->modified) &&
           fields_add(a, &d->removed, &below->removed);
}

static struct fields_diff diff_at(struct fields_pe pe)
{
    struct fields f = { .pe = pe };
    return (struct fields_diff){ .added = f, .modified = f, .removed = f };
}

static bool compare_member(struct arena *a, struct fields_at at, struct str key, const struct val *from, const struct val *to,
                           struct fields_diff *d)
{
    struct fields_diff below = diff_at(name_pe(key));
    struct fields_at member;
    bool declared;
    fields_at_member(at, key, &member, &declared);
    return compare(a, member, from, to, &below) && add_below(a, d, &below);
}

static bool compare_maps(struct arena *a, struct fields_at at, const struct val *from, const struct val *to,
                         struct fields_diff *d)
{
    uint32_t n = val_is(to, VAL_OBJECT) ? to->n : 0, common = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct val_member *m = &to->members[i];
        const struct val *old = get_near(from, m->key, i);
        common += old != NULL;
        if (!compare_member(a, at, m->key, old, &m->value, d)) {
            return false;
        }
    }
    if (!val_is(from, VAL_OBJECT) || common == from->n) {
        return true;
    }
    for (uint32_t i = 0; i < from->n; i++) {
        const struct val_member *m = &from->members[i];
        if (!get_near(to, m->key, i) && !compare_member(a, at, m->key, &m->value, NULL, d)) {
            return false;
        }
    }
    return true;
}

static bool same_run(const struct items *x, uint32_t i, uint32_t n, const struct items *y, uint32_t j, uint32_t m)
{
    for (uint32_t k = 0; n == m && k < n; k++) {
        if (!val_equal(x->items[i + k].v, y->items[j + k].v)) {
            return false;
        }
    }
    return n == m;
}

static bool compare_lists(struct arena *a, struct fields_at at, const struct val *from, const struct val *to,
                          struct fields_diff *d)
{
    struct items x, y;
    struct fields_at item = fields_at_item(at);
    if (!index_items(a, at, from, &x) || !index_items(a, at, to, &y)) {
        return false;
    }
    for (uint32_t i = 0, j = 0; i < x.n || j < y.n;) {
        int c = i == x.n ? 1 : j == y.n ? -1 : fields_pe_cmp(&x.items[i].pe, &y.items[j].pe);
        uint32_t n = c <= 0 ? run_length(&x, i) : 0, m = c >= 0 ? run_length(&y, j) : 0;
        struct fields_diff below = diff_at(n ? x.items[i].pe : y.items[j].pe);
        if (n <= 1 && m <= 1) {
            if (!compare(a, item, n ? x.items[i].v : NULL, m ? y.items[j].v : NULL, &below)) {
                return false;
            }
        } else if (n == 0) {
            below.added.member = true;
        } else if (m == 0) {
            below.removed.member = true;
        } else {
            /* Items of one key are owned as a whole, a single one by its fields: those go or come. */
            below.modified.member = !same_run(&x, i, n, &y, j, m);
            if ((n == 1 && !set_of(a, item, x.items[i].v, &below.removed)) ||
                (m == 1 && !set_of(a, item, y.items[j].v, &below.added))) {
                return false;
            }
        }
        if (!add_below(a, d, &below)) {
            return false;
        }
        i += n;
        j += m;
    }
    return true;
}

/* One tree that both share (api_to_val_sharing()). */
static bool is_same_tree(const struct val *x, const struct val *y)
{
    return x == y || (x->kind == VAL_OBJECT && y->kind == VAL_OBJECT && x->n == y->n && x->members == y->members);
}

static bool compare(struct arena *a, struct fields_at at, const struct val *from, const struct val *to,
                    struct fields_diff *d)
{
    bool ok = true, leaf;
    if (!from || !to) {
        return from ? fields_everything(a, at, from, &d->removed) : fields_everything(a, at, to, &d->added);
    }
    if (is_same_tree(from, to)) {
        return true;
    }
    if (at.shape == FIELDS_DEDUCED) {
        bool map_from = val_is(from, VAL_OBJECT), map_to = val_is(to, VAL_OBJECT);
        leaf = !map_from && !map_to;
        ok = leaf || compare_maps(a, at, map_from ? from : NULL, map_to ? to : NULL, d);
        /* From a map to something else or back: the place itself changed as well. */
        d->modified.member = map_from != map_to;
    } else if (at.shape == FIELDS_MAP) {
        leaf = at.atomic || (is_empty_map(from) && is_empty_map(to));
        ok = leaf || compare_maps(a, at, from, to, d);
    } else if (at.shape == FIELDS_LIST) {
        leaf = at.list == API_LM_ATOMIC || (is_empty_list(from) && is_empty_list(to));
        ok = leaf || compare_lists(a, at, from, to, d);
    } else {
        leaf = true;
    }
    if (leaf && !val_equal(from, to)) {
        d->modified.member = true;
    }
    return ok;
}

bool fields_compare(struct arena *a, struct fields_at at, const struct val *from, const struct val *to, struct fields_diff *ret)
{
    struct fields_diff d = { 0 };
    if ((from || to) && !compare(a, at, from, to, &d)) {
        return false;
    }
    *ret = d;
    return true;
}

/* ---- merging ---- */

static bool merge_maps(struct arena *a, struct fields_at at, const struct val *live, const struct val *config,
                       struct val *ret)
{
    struct val out = val_object();
    for (uint32_t i = 0; val_is(live, VAL_OBJECT) && i < live->n; i++) {
        const struct val_member *m = &live->members[i];
        const struct val *over = get_near(config, m->key, i);
        struct val merged = m->value;
        if (over) {
            struct fields_at below;
            bool declared;
            fields_at_member(at, m->key, &below, &declared);
            if (!fields_merge(a, below, &m->value, over, &merged)) {
                return false;
            }
        }
        if (!val_add(a, &out, m->key, merged)) {
            return false;
        }
    }
    for (uint32_t i = 0; val_is(config, VAL_OBJECT) && i < config->n; i++) {
        const struct val_member *m = &config->members[i];
        if (!get_near(live, m->key, i) && !val_add(a, &out, m->key, m->value)) {
            return false;
        }
    }
    *ret = out;
    return true;
}

/* A list's items in their own order, each with its key and whether the other list has it. */
struct ordered {
    struct item *items;
    uint32_t n;
};

static bool in_order(struct arena *a, struct fields_at at, const struct val *list, struct ordered *ret)
{
    struct ordered o = { .n = 0 };
    uint32_t n = val_is(list, VAL_ARRAY) ? list->n : 0;
    o.items = n ? arena_new_n(a, struct item, n) : NULL;
    if (n && !o.items) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct item *item = &o.items[o.n];
        if (fields_item_pe(a, at, &list->items[i], &item->pe, NULL)) {
            item->v = &list->items[i];
            item->at = i;
            o.n++;
        }
    }
    *ret = o;
    return true;
}

static bool merge_item(struct arena *a, struct fields_at at, const struct item *live, const struct item *config, struct val *out)
{
    struct val merged = live ? *live->v : *config->v;
    if (live && config && !fields_merge(a, at, live->v, config->v, &merged)) {
        return false;
    }
    return val_push(a, out, merged) != NULL;
}

/* Items that both have keep config's order, the others of live stay in front of the shared item they were in front of. */
static bool merge_lists(struct arena *a, struct fields_at at, const struct val *live, const struct val *config,
                        struct val *ret)
{
    struct ordered l, r;
    struct items by_live, by_config;
    struct fields_at below = fields_at_item(at);
    struct val out = val_array();
    if (!in_order(a, at, live, &l) || !in_order(a, at, config, &r) || !index_items(a, at, live, &by_live) ||
        !index_items(a, at, config, &by_config)) {
        return false;
    }
    bool *merged = arena_new_n(a, bool, r.n + 1);
    uint32_t shared = 0; /* the next item of config that live has too */
    if (!merged) {
        return false;
    }
    /* by_config's 'at' is the place in config's array; 'merged' is by place in 'r', the same unless items have no key. */
    for (uint32_t i = 0, j = 0; i < l.n || j < r.n;) {
        while (shared < r.n && (shared < j || !find_item(&by_live, &r.items[shared].pe))) {
            shared++;
        }
        if (i < l.n && j < r.n && fields_pe_cmp(&l.items[i].pe, &r.items[j].pe) == 0) {
            if (!merge_item(a, below, &l.items[i], &r.items[j], &out)) {
                return false;
            }
            merged[j] = true;
            i++;
            j++;
            continue;
        }
        const struct item *over = i < l.n ? find_item(&by_config, &l.items[i].pe) : NULL;
        if (i < l.n && j < r.n && over && shared < r.n && fields_pe_cmp(&r.items[shared].pe, &l.items[i].pe) != 0) {
            i++; /* comes later, in config's order */
            continue;
        }
        if (i < l.n && !over) {
            if (!merge_item(a, below, &l.items[i], NULL, &out)) {
                return false;
            }
            i++;
            continue;
        }
        if (i < l.n && over && over->at < r.n && merged[over->at]) {
            i++;
        }
        if (j < r.n) {
            if (!merge_item(a, below, find_item(&by_live, &r.items[j].pe), &r.items[j], &out)) {
                return false;
            }
            merged[j] = true;
            j++;
        } else if (i < l.n && over && !merged[over->at < r.n ? over->at : r.n]) {
            i++;
        }
    }
    *ret = out;
    return true;
}

bool fields_merge(struct arena *a, struct fields_at at, const struct val *live, const struct val *config, struct val *ret)
{
    bool both_maps = val_is(live, VAL_OBJECT) && (config->kind == VAL_OBJECT || config->kind == VAL_NULL);
    bool both_lists = val_is(live, VAL_ARRAY) && (config->kind == VAL_ARRAY || config->kind == VAL_NULL);
    bool map = at.shape == FIELDS_MAP || (at.shape == FIELDS_DEDUCED && config->kind == VAL_OBJECT);
    if (map && !at.atomic && both_maps && live->n) {
        return merge_maps(a, at, live, config, ret);
    }
    if (at.shape == FIELDS_LIST && at.list != API_LM_ATOMIC && both_lists && live->n) {
        return merge_lists(a, at, live, config, ret);
    }
    *ret = *config;
    return true;
}

/* ---- taking out ---- */

static bool remove_from_map(struct arena *a, struct fields_at at, const struct val *v, const struct fields *set,
                            struct val *ret)
{
    struct val out = val_object();
    for (uint32_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        struct fields_pe pe = name_pe(m->key);
        const struct fields *kid = fields_kid(set, &pe);
        struct val rest = m->value;
        if (kid && kid->member) {
            continue;
        }
        if (kid) {
            struct fields_at below;
            bool declared;
            fields_at_member(at, m->key, &below, &declared);
            if (!fields_remove(a, below, &m->value, kid, &rest)) {
                return false;
            }
        }
        if (!val_add(a, &out, m->key, rest)) {
            return false;
        }
    }
    *ret = out.n ? out : val_null();
    return true;
}

static bool remove_from_list(struct arena *a, struct fields_at at, const struct val *v, const struct fields *set,
                             struct val *ret)
{
    struct val out = val_array();
    struct fields_at below = fields_at_item(at);
    for (uint32_t i = 0; i < v->n; i++) {
        struct fields_pe pe;
        const struct fields *kid = fields_item_pe(a, at, &v->items[i], &pe, NULL) ? fields_kid(set, &pe) : NULL;
        struct val rest = v->items[i];
        if (kid && kid->member) {
            continue;
        }
        if ((kid && !fields_remove(a, below, &v->items[i], kid, &rest)) || !val_push(a, &out, rest)) {
            return false;
        }
    }
    *ret = out.n ? out : val_null();
    return true;
}

bool fields_remove(struct arena *a, struct fields_at at, const struct val *v, const struct fields *set, struct val *ret)
{
    if (set->n == 0 || fields_at_is_leaf(at, v) || (v->kind != VAL_OBJECT && v->kind != VAL_ARRAY) || v->n == 0) {
        *ret = *v;
        return true;
    }
    if (v->kind == VAL_OBJECT) {
        return remove_from_map(a, at, v, set, ret);
    }
    if (at.shape == FIELDS_LIST) {
        return remove_from_list(a, at, v, set, ret);
    }
    *ret = *v;
    return true;
}

static struct fields_at at_step(struct fields_at at, const struct fields_pe *pe, bool *ret_declared)
{
    struct fields_at below = fields_at_deduced();
    *ret_declared = false;
    if (pe->kind == FIELDS_NAME) {
        if (at.shape == FIELDS_MAP) {
            fields_at_member(at, pe->name, &below, ret_declared);
        }
        return below;
    }
    return at.shape == FIELDS_LIST ? fields_at_item(at) : below;
}

bool fields_with_parents(struct arena *a, struct fields_at at, const struct fields *set, struct fields *ret)
{
    struct fields out = { .pe = set->pe, .member = set->member, .n = set->n, .capacity = set->n };
    out.kids = set->n ? arena_new_n(a, struct fields, set->n) : NULL;
    if (set->n && !out.kids) {
        return false;
    }
    for (uint32_t i = 0; i < set->n; i++) {
        bool declared;
        struct fields_at below = at_step(at, &set->kids[i].pe, &declared);
        if (!fields_with_parents(a, below, &set->kids[i], &out.kids[i])) {
            return false;
        }
        out.kids[i].member = out.kids[i].member || (declared && out.kids[i].n);
    }
    *ret = out;
    return true;
}

/* ---- validation ---- */

struct step {
    const struct step *up;
    struct fields_pe pe;
};

struct validator {
    struct arena *arena;
    bool allow_duplicates;
    struct buf errors; /* one a line */
    unsigned n;
};

/* Messages in one answer; an object with more is wrong enough. */
#define VALIDATE_MAX 20

static void write_steps(struct buf *b, const struct step *s)
{
    if (s) {
        write_steps(b, s->up);
        fields_pe_write(b, &s->pe);
    }
}

PRINTF_LIKE(3, 4) static void complain(struct validator *w, const struct step *s, const char *fmt, ...)
{
    va_list ap;
    if (w->n++ >= VALIDATE_MAX) {
        return;
    }
    if (w->errors.len) {
        buf_append(&w->errors, STR("\n"));
    }
    write_steps(&w->errors, s);
    buf_append(&w->errors, s ? STR(": ") : STR_EMPTY);
    va_start(ap, fmt);
    buf_vprintf(&w->errors, fmt, ap);
    va_end(ap);
}

static void complain_kind(struct validator *w, const struct step *s, const char *before, const struct val *v, const char *after)
{
    struct buf b;
    buf_init(&b, 4096);
    val_write_go(&b, v);
    complain(w, s, "%s%.*s%s", before, STR_ARG(str_sub(buf_str(&b), 0, 300)), after);
    buf_deinit(&b);
}

static const char *go_type(const struct val *v)
{
    static const char *const names[] = { [VAL_NULL] = "<nil>",     [VAL_BOOL] = "bool",     [VAL_INT] = "int64",
                                         [VAL_DOUBLE] = "float64", [VAL_STRING] = "string", [VAL_ARRAY] = "[]interface {}",
                                         [VAL_OBJECT] = "map[string]interface {}" };
    return names[v->kind];
}

static void validate(struct validator *w, struct fields_at at, const struct val *v, const struct step *s);

static void validate_scalar(struct validator *w, struct fields_at at, const struct val *v, const struct step *s)
{
    switch (at.scalar) {
    case FIELDS_STRING:
        if (v->kind != VAL_STRING) {
            complain_kind(w, s, "expected string, got &value.valueUnstructured{Value:", v, "}");
        }
        break;
    case FIELDS_NUMBER:
        if (v->kind != VAL_INT && v->kind != VAL_DOUBLE) {
            complain(w, s, "expected numeric (int or float), got %s", go_type(v));
        }
        break;
    case FIELDS_BOOL:
        if (v->kind != VAL_BOOL) {
            complain_kind(w, s, "expected boolean, got &{", v, "}");
        }
        break;
    case FIELDS_ANY: break;
    }
}

static void validate_map(struct validator *w, struct fields_at at, const struct val *v, const struct step *s)
{
    if (v->kind != VAL_OBJECT) {
        complain_kind(w, s, "expected map, got &{", v, "}");
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        struct step below = { .up = s, .pe = name_pe(v->members[i].key) };
        struct fields_at member;
        bool declared;
        if (!fields_at_member(at, v->members[i].key, &member, &declared)) {
            complain(w, &below, "field not declared in schema");
            return;
        }
        validate(w, member, &v->members[i].value, &below);
    }
}

static void validate_list(struct validator *w, struct fields_at at, const struct val *v, const struct step *s)
{
    struct fields_at item = fields_at_item(at);
    struct items sorted;
    if (v->kind != VAL_ARRAY) {
        complain_kind(w, s, "expected list, got &{", v, "}");
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        struct step below = { .up = s, .pe = { .kind = FIELDS_INDEX, .value = val_int(i) } };
        struct err err;
        if (at.list != API_LM_ATOMIC && !fields_item_pe(w->arena, at, &v->items[i], &below.pe, &err)) {
            complain(w, s, "element %u: %s", i, err.msg);
            return;
        }
        validate(w, item, &v->items[i], &below);
    }
    if (at.list == API_LM_ATOMIC || w->allow_duplicates || !index_items(w->arena, at, v, &sorted)) {
        return;
    }
    for (uint32_t i = 0, n; i < sorted.n; i += n) {
        n = run_length(&sorted, i);
        for (uint32_t k = 1; k < n; k++) {
            struct buf b;
            buf_init(&b, 4096);
            fields_pe_write(&b, &sorted.items[i].pe);
            complain(w, s, "duplicate entries for key %.*s", STR_ARG(str_sub(buf_str(&b), 0, 300)));
            buf_deinit(&b);
        }
    }
}

static void validate(struct validator *w, struct fields_at at, const struct val *v, const struct step *s)
{
    if (v->kind == VAL_NULL || w->n >= VALIDATE_MAX) {
        return;
    }
    switch (at.shape) {
    case FIELDS_LEAF: validate_scalar(w, at, v, s); break;
    case FIELDS_MAP: validate_map(w, at, v, s); break;
    case FIELDS_LIST: validate_list(w, at, v, s); break;
    case FIELDS_DEDUCED: break;
    }
}

bool fields_validate(struct arena *a, struct fields_at at, const struct val *v, bool allow_duplicates, struct err *err)
{
    struct validator w = { .arena = a, .allow_duplicates = allow_duplicates };
    buf_init(&w.errors, 64 * 1024);
    validate(&w, at, v, NULL);
    bool ok = w.n == 0;
    if (w.n == 1) {
        err_set(err, ERR_INTERNAL, "%.*s", STR_ARG(buf_str(&w.errors)));
    } else if (w.n > 1) {
        struct str rest = buf_str(&w.errors), line;
        struct buf all;
        buf_init(&all, 64 * 1024);
        buf_append(&all, STR("errors:"));
        while (str_split(&rest, '\n', &line)) {
            buf_append(&all, STR("\n  "));
            buf_append(&all, line);
        }
        err_set(err, ERR_INTERNAL, "%.*s", STR_ARG(buf_str(&all)));
        buf_deinit(&all);
    }
    buf_deinit(&w.errors);
    return ok;
}
