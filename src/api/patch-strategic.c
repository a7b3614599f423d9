#include "api/patch-strategic.h"

#include <stdlib.h>

#define PATCH "$patch"
#define RETAIN_KEYS "$retainKeys"
#define DELETE_FROM "$deleteFromPrimitiveList/"
#define SET_ORDER "$setElementOrder/"

/* Where we are in the schema: a message, or a map whose values are 'map's. Neither: nothing is known below. */
struct place {
    const struct api_type *type;
    const struct api_field *map;
};

/* What the schema says about one key. */
struct meta {
    struct place below; /* of the value, or of the items of a list */
    struct str merge_key;
    bool merge, replace;
};

struct patcher {
    struct arena *arena;
    struct err *err;
};

static bool merge_map(struct patcher *p, struct val *doc, struct val *patch, struct place at);

static bool no_memory(struct patcher *p)
{
    return err_set(p->err, ERR_TOO_LARGE, "the patched object needs more memory than it may have");
}

/* Fails with "<before>map[...]<after>", the value as Go prints it. */
static bool fail_with(struct patcher *p, const char *before, const struct val *v, const char *after)
{
    struct buf b;
    buf_init(&b, 64 * 1024);
    buf_append(&b, str_c(before));
    val_write_go(&b, v);
    buf_append(&b, str_c(after));
    err_set(p->err, ERR_INTERNAL, "%.*s", STR_ARG(buf_str(&b)));
    buf_deinit(&b);
    return false;
}

static bool no_merge_key(struct patcher *p, const struct val *item, struct str key)
{
    char after[320];
    snprintf(after, sizeof(after), " does not contain declared merge key: %.*s", STR_ARG(str_sub(key, 0, 200)));
    return fail_with(p, "map: ", item, after);
}

static bool unknown_directive(struct patcher *p, const struct val *directive, const struct val *in)
{
    struct buf b;
    buf_init(&b, 64 * 1024);
    buf_append(&b, STR("unknown patch type: "));
    val_write_go(&b, directive);
    buf_append(&b, STR(" in map: "));
    val_write_go(&b, in);
    err_set(p->err, ERR_INTERNAL, "%.*s", STR_ARG(buf_str(&b)));
    buf_deinit(&b);
    return false;
}

static struct place place_of(const struct api_field *f)
{
    return (struct place){ .type = f->ftype == API_MESSAGE ? f->message : NULL };
}

static bool look_up(struct patcher *p, struct place at, struct str key, struct meta *ret)
{
    struct meta m = { .merge_key = STR_NULL };
    if (at.map) {
        m.below = place_of(at.map);
    } else if (at.type && at.type->form == API_FORM_OBJECT) {
        size_t offset;
        const struct api_field *f = api_field_find(at.type, key, &offset);
        if (!f) {
            struct str name = at.type->name;
            ptrdiff_t dot = str_rfind_char(name, '.');
            return err_set(p->err, ERR_INTERNAL, "unable to find api field in struct %.*s for the json field \"%.*s\"",
                           STR_ARG(str_sub(name, (size_t)(dot + 1), name.len)), STR_ARG(str_sub(key, 0, 200)));
        }
        m.below = f->card == API_MAP ? (struct place){ .map = f } : place_of(f);
        m.merge = f->flags & API_F_PATCH_MERGE;
        m.merge_key = f->facts->patch_key;
        /* retainKeys alone leaves maps merging; only an explicit replace of a map would not, and the API has none. */
    }
    *ret = m;
    return true;
}

/* ---- an index over values, by hash: lists come from a peer, so nothing here may be quadratic ---- */

struct index {
    struct val *keys; /* by position; copies, for the lists they come from change */
    uint32_t *slots;  /* position + 1; 0 is empty */
    uint32_t n, mask;
};

static uint64_t val_hash(const struct val *v)
{
    switch (v->kind) {
    case VAL_STRING: return str_hash(v->s);
    case VAL_INT:
    case VAL_DOUBLE: {
        double d = v->kind == VAL_INT ? (double)v->i : v->d;
        return str_hash(str_n((const char *)&d, sizeof(d)));
    }
    case VAL_NULL:
    case VAL_BOOL:
    case VAL_ARRAY:
    case VAL_OBJECT: break;
    }
    return (uint64_t)v->kind;
}

static bool index_init(struct patcher *p, struct index *x, uint32_t capacity)
{
    uint32_t slots = 8;
    while (slots < capacity * 2) {
        slots *= 2;
    }
    *x = (struct index){ .mask = slots - 1 };
    x->keys = arena_new_n(p->arena, struct val, capacity);
    x->slots = arena_new_n(p->arena, uint32_t, slots);
    return x->keys && x->slots ? true : no_memory(p);
}

/* The first position of a key, or -1. */
static ptrdiff_t index_of(const struct index *x, const struct val *key)
{
    for (uint64_t h = val_hash(key);; h++) {
        uint32_t slot = x->slots[h & x->mask];
        if (!slot) {
            return -1;
        }
        if (val_equal(&x->keys[slot - 1], key)) {
            return (ptrdiff_t)slot - 1;
        }
    }
}

/* Notes the key (NULL: no key) of the next position. Only the first of equal ones is found again. */
static void index_add(struct index *x, const struct val *key)
{
    uint32_t at = x->n++;
    if (!key || index_of(x, key) >= 0) {
        return;
    }
    x->keys[at] = *key;
    uint64_t h = val_hash(key);
    while (x->slots[h & x->mask]) {
        h++;
    }
    x->slots[h & x->mask] = at + 1;
}

/* What tells one item of a list from the others: the value of its merge key, or the item itself. */
static const struct val *item_key(const struct val *item, struct str merge_key)
{
    return merge_key.len ? val_get(item, merge_key) : item;
}

static bool index_list(struct patcher *p, struct index *x, const struct val *list, struct str merge_key, uint32_t spare)
{
    uint32_t n = list ? list->n : 0;
    if (!index_init(p, x, n + spare)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        index_add(x, item_key(&list->items[i], merge_key));
    }
    return true;
}

/* ---- directives ---- */

static bool is_directive_key(struct str k)
{
    return str_eq_c(k, PATCH) || str_eq_c(k, RETAIN_KEYS) || str_starts(k, STR(DELETE_FROM)) ||
           str_starts(k, STR(SET_ORDER));
}

/* Clears a value that is new in the document of directives and of nulls. False: the value deletes itself. */
static bool clean(struct val *v)
{
    uint32_t n = 0;
    if (v->kind == VAL_ARRAY) {
        for (uint32_t i = 0; i < v->n; i++) {
            /* {"$patch":"replace"} is about the list, and no item of it. */
            if (!str_eq_c(val_as_str(val_get(&v->items[i], STR(PATCH))), "replace") && clean(&v->items[i])) {
                v->items[n++] = v->items[i];
            }
        }
        v->n = n;
    } else if (v->kind == VAL_OBJECT) {
        if (str_eq_c(val_get_str(v, STR(PATCH)), "delete")) {
            return false;
        }
        for (uint32_t i = 0; i < v->n; i++) {
            struct val_member *m = &v->members[i];
            if (m->value.kind != VAL_NULL && !is_directive_key(m->key) && clean(&m->value)) {
                v->members[n++] = *m;
            }
        }
        v->n = n;
    }
    return true;
}

static bool retain_keys(struct patcher *p, struct val *doc, struct val *patch)
{
    const struct val *found = val_get(patch, STR(RETAIN_KEYS));
    struct index keep;
    if (!found) {
        return true;
    }
    if (found->kind != VAL_ARRAY) {
        return err_set(p->err, ERR_BAD_REQUEST, "invalid patch format of retainKeys");
    }
    struct val list = *found;
    if (!index_list(p, &keep, &list, STR_NULL, 0)) {
        return false;
    }
    val_remove(patch, STR(RETAIN_KEYS));
    for (uint32_t i = 0; i < patch->n; i++) {
        const struct val_member *m = &patch->members[i];
        struct val key = val_string(m->key);
        if (m->value.kind != VAL_NULL && !is_directive_key(m->key) && index_of(&keep, &key) < 0) {
            return err_set(p->err, ERR_INVALID, "patch content doesn't match retainKeys list");
        }
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < doc->n; i++) {
        struct val key = val_string(doc->members[i].key);
        if (index_of(&keep, &key) >= 0) {
            doc->members[n++] = doc->members[i];
        }
    }
    doc->n = n;
    return true;
}

/* ---- order ---- */

struct ranked {
    struct val item;
    ptrdiff_t rank;
    uint32_t at;
};

static int ranked_cmp(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Sorts items by their place in 'order'; those that are not in it keep their places at the end. */
static void sort_by(struct ranked *items, size_t n, const struct index *order, struct str merge_key)
{
    for (size_t i = 0; i < n; i++) {
        const struct val *key = item_key(&items[i].item, merge_key);
        ptrdiff_t rank = key ? index_of(order, key) : -1;
        items[i].rank = rank < 0 ? PTRDIFF_MAX : rank;
        items[i].at = (uint32_t)i;
    }
    if (n > 1) {
        qsort(items, n, sizeof(*items), ranked_cmp);
    }
}

/* Orders 'merged': what is in 'order' (the patch's) in that order; what only the server has in the server's order, each such item
 * before the first patch item that the server had behind it. The indexes were made before the lists were merged. */
static bool order_list(struct patcher *p, struct val *merged, const struct index *order, const struct index *server,
                       struct str merge_key)
{
    struct ranked *patch_items = arena_new_n(p->arena, struct ranked, merged->n);
    struct ranked *server_items = arena_new_n(p->arena, struct ranked, merged->n);
    size_t n_patch = 0, n_server = 0;
    if (!patch_items || !server_items) {
        return no_memory(p);
    }
    for (uint32_t i = 0; i < merged->n; i++) {
        const struct val *key = item_key(&merged->items[i], merge_key);
        if (!key) {
            return no_merge_key(p, &merged->items[i], merge_key);
        }
        if (index_of(order, key) >= 0) {
            patch_items[n_patch++].item = merged->items[i];
        } else {
            server_items[n_server++].item = merged->items[i];
        }
    }
    sort_by(patch_items, n_patch, order, merge_key);
    sort_by(server_items, n_server, server, merge_key);
    size_t l = 0, r = 0;
    for (uint32_t k = 0; k < merged->n; k++) {
        bool from_server = r >= n_patch;
        if (l < n_server && r < n_patch) {
            const struct val *key = item_key(&patch_items[r].item, merge_key);
            ptrdiff_t rank = index_of(server, key);
            from_server = rank >= 0 && server_items[l].rank != PTRDIFF_MAX && server_items[l].rank < rank;
        }
        merged->items[k] = from_server ? server_items[l++].item : patch_items[r++].item;
    }
    return true;
}

/* Do the items of the patch come in the order that $setElementOrder gives? Items that delete do not count. */
static bool check_order(struct patcher *p, const struct val *patch, const struct val *order, struct str merge_key)
{
    uint32_t o = 0;
    if (!patch || order->n == 0) {
        return true;
    }
    for (uint32_t i = 0; i < patch->n; i++) {
        const struct val *item = &patch->items[i], *key = item_key(item, merge_key);
        if (str_eq_c(val_get_str(item, STR(PATCH)), "delete")) {
            continue;
        }
        if (!key) {
            return no_merge_key(p, item, merge_key);
        }
        while (o < order->n && !val_equal(item_key(&order->items[o], merge_key), key)) {
            o++;
        }
        if (o == order->n) {
            struct buf b;
            buf_init(&b, 64 * 1024);
            buf_append(&b, STR("The order in patch list:\n"));
            val_write_go(&b, patch);
            buf_append(&b, STR("\n doesn't match $setElementOrder list:\n"));
            val_write_go(&b, order);
            buf_append(&b, STR("\n"));
            err_set(p->err, ERR_INTERNAL, "%.*s", STR_ARG(buf_str(&b)));
            buf_deinit(&b);
            return false;
        }
        o++;
    }
    return true;
}

/* ---- lists ---- */

static bool same_kind(struct patcher *p, const struct val *a, const struct val *b, enum val_kind *ret)
{
    const struct val *first = a->n ? &a->items[0] : &b->items[0];
    bool object = first->kind == VAL_OBJECT;
    for (uint32_t i = 0; i < a->n + b->n; i++) {
        const struct val *v = i < a->n ? &a->items[i] : &b->items[i - a->n];
        if (v->kind == VAL_ARRAY) {
            return err_set(p->err, ERR_INVALID, "lists of lists are not supported");
        }
        if ((v->kind == VAL_OBJECT) != object) {
            return err_set(p->err, ERR_INTERNAL, "list element types are not identical");
        }
    }
    *ret = object ? VAL_OBJECT : VAL_STRING;
    return true;
}

static bool delete_values(struct patcher *p, struct val *doc, const struct val *values)
{
    struct index gone;
    uint32_t n = 0;
    if (!index_list(p, &gone, values, STR_NULL, 0)) {
        return false;
    }
    for (uint32_t i = 0; i < doc->n; i++) {
        if (index_of(&gone, &doc->items[i]) < 0) {
            doc->items[n++] = doc->items[i];
        }
    }
    doc->n = n;
    return true;
}

/* Adds the values that are not there; of those that come twice in the document the first stays. */
static bool add_values(struct patcher *p, struct val *doc, const struct val *values)
{
    struct index have;
    struct val merged = val_array();
    if (!index_init(p, &have, doc->n + values->n)) {
        return false;
    }
    for (uint32_t i = 0; i < doc->n + values->n; i++) {
        const struct val *v = i < doc->n ? &doc->items[i] : &values->items[i - doc->n];
        if (index_of(&have, v) < 0) {
            index_add(&have, v);
            if (!val_push(p->arena, &merged, *v)) {
                return no_memory(p);
            }
        }
    }
    *doc = merged;
    return true;
}

/* Carries out items with $patch and leaves the others in '*patch'. '*ret_replaced': the list is now the patch's. */
static bool special_items(struct patcher *p, struct val *doc, struct val *patch, struct str merge_key, bool *ret_replaced)
{
    struct val rest = val_array(), gone = val_array();
    bool replace = false;
    for (uint32_t i = 0; i < patch->n; i++) {
        const struct val *item = &patch->items[i], *directive = val_get(item, STR(PATCH));
        struct str word = val_as_str(directive);
        if (!directive) {
            if (!val_push(p->arena, &rest, *item)) {
                return no_memory(p);
            }
        } else if (str_eq_c(word, "delete")) {
            const struct val *key = val_get(item, merge_key);
            if (!key) {
                return no_merge_key(p, item, merge_key);
            }
            if (!val_push(p->arena, &gone, *key)) {
                return no_memory(p);
            }
        } else if (str_eq_c(word, "replace")) {
            replace = true;
        } else if (str_eq_c(word, "merge")) {
            return err_set(p->err, ERR_INTERNAL, "merging lists cannot yet be specified in the patch");
        } else {
            return unknown_directive(p, directive, item);
        }
    }
    *patch = rest;
    *ret_replaced = replace;
    if (replace) {
        *doc = rest;
        *patch = val_array();
        return true;
    }
    struct index deleted;
    uint32_t n = 0;
    if (gone.n == 0) {
        return true;
    }
    if (!index_list(p, &deleted, &gone, STR_NULL, 0)) {
        return false;
    }
    for (uint32_t i = 0; i < doc->n; i++) {
        const struct val *key = val_get(&doc->items[i], merge_key);
        if (!key || index_of(&deleted, key) < 0) {
            doc->items[n++] = doc->items[i];
        }
    }
    doc->n = n;
    return true;
}

static bool merge_items(struct patcher *p, struct val *doc, struct val *patch, const struct meta *m)
{
    struct index have;
    struct val merged = val_array();
    /* A list of its own with room for all: pointers into it stay good while the index has them. */
    for (uint32_t i = 0; i < doc->n; i++) {
        if (!val_push(p->arena, &merged, doc->items[i])) {
            return no_memory(p);
        }
    }
    if (!index_list(p, &have, doc, m->merge_key, patch->n)) {
        return false;
    }
    for (uint32_t i = 0; i < patch->n; i++) {
        struct val *item = &patch->items[i], *key = val_get(item, m->merge_key);
        if (!key) {
            return no_merge_key(p, item, m->merge_key);
        }
        ptrdiff_t at = index_of(&have, key);
        if (at >= 0) {
            if (!merge_map(p, &merged.items[at], item, m->below)) {
                return false;
            }
            continue;
        }
        /* The index borrows the key from the patch, whose items stay where they are. */
        index_add(&have, key);
        if (!clean(item)) {
            continue;
        }
        if (!val_push(p->arena, &merged, *item)) {
            return no_memory(p);
        }
    }
    *doc = merged;
    return true;
}

static bool merge_list(struct patcher *p, struct val *doc, struct val *patch, const struct meta *m, bool deletes)
{
    enum val_kind kind = VAL_NULL;
    if (!m->merge) {
        if (deletes) {
            return delete_values(p, doc, patch);
        }
        *doc = *patch;
        return true;
    }
    if (doc->n == 0 && patch->n == 0) {
        return true;
    }
    if (!same_kind(p, doc, patch, &kind)) {
        return false;
    }
    struct index server, order;
    if (kind != VAL_OBJECT) {
        if (deletes) {
            return delete_values(p, doc, patch);
        }
        return index_list(p, &server, doc, STR_NULL, 0) && index_list(p, &order, patch, STR_NULL, 0) &&
               add_values(p, doc, patch) && order_list(p, doc, &order, &server, STR_NULL);
    }
    bool replaced = false;
    if (m->merge_key.len == 0) {
        return err_set(p->err, ERR_INTERNAL, "cannot merge lists without merge key for %.*s",
                       m->below.type ? (int)m->below.type->name.len : 0, m->below.type ? m->below.type->name.ptr : "");
    }
    if (!index_list(p, &server, doc, m->merge_key, 0) || !special_items(p, doc, patch, m->merge_key, &replaced)) {
        return false;
    }
    if (replaced) {
        clean(doc);
        return true;
    }
    return index_list(p, &order, patch, m->merge_key, 0) && merge_items(p, doc, patch, m) &&
           order_list(p, doc, &order, &server, m->merge_key);
}

/* ---- maps ---- */

/* One "$setElementOrder/x": merges list x of the patch, if there is one, and orders the result. */
static bool set_order(struct patcher *p, struct val *doc, struct val *patch, struct str field, const struct val *order,
                      struct place at)
{
    struct val *old = val_get(doc, field), *new = val_get(patch, field);
    struct meta m;
    struct index in_order, server;
    if (order->kind != VAL_ARRAY || (old && old->kind != VAL_ARRAY && old->kind != VAL_NULL) ||
        (new && new->kind != VAL_ARRAY && new->kind != VAL_NULL)) {
        return err_set(p->err, ERR_BAD_REQUEST, "invalid patch format of setElementOrder list");
    }
    if (!look_up(p, at, field, &m) || !check_order(p, val_is(new, VAL_ARRAY) ? new : NULL, order, m.merge_key)) {
        return false;
    }
    if (val_is(new, VAL_NULL) || (!val_is(old, VAL_ARRAY) && !new)) {
        return true;
    }
    if (!index_list(p, &in_order, order, m.merge_key, 0) ||
        !index_list(p, &server, val_is(old, VAL_ARRAY) ? old : NULL, m.merge_key, 0)) {
        return false;
    }
    if (val_is(old, VAL_ARRAY)) {
        if (new && !merge_list(p, old, new, &m, false)) {
            return false;
        }
    } else {
        struct val own = *new;
        clean(&own);
        old = val_set(p->arena, doc, field, own);
        if (!old) {
            return no_memory(p);
        }
    }
    val_remove(patch, field);
    return old->n == 0 || order_list(p, old, &in_order, &server, m.merge_key);
}

static bool set_orders(struct patcher *p, struct val *doc, struct val *patch, struct place at)
{
    for (uint32_t i = 0; i < patch->n;) {
        struct val_member m = patch->members[i];
        if (!str_starts(m.key, STR(SET_ORDER))) {
            i++;
            continue;
        }
        val_remove(patch, m.key);
        struct str field = str_sub(m.key, sizeof(SET_ORDER) - 1, m.key.len);
        if (!set_order(p, doc, patch, field, &m.value, at)) {
            return false;
        }
        i = 0;
    }
    return true;
}

static bool merge_member(struct patcher *p, struct val *doc, struct val_member *m, struct place at)
{
    struct meta meta;
    bool deletes = str_starts(m->key, STR(DELETE_FROM));
    struct str key = deletes ? str_sub(m->key, sizeof(DELETE_FROM) - 1, m->key.len) : m->key;
    struct val *old = val_get(doc, key), *new = &m->value;
    if (deletes && new->kind != VAL_ARRAY) {
        return err_set(p->err, ERR_BAD_REQUEST, "invalid patch format of primitive list");
    }
    if (new->kind == VAL_NULL) {
        val_remove(doc, key);
        return true;
    }
    bool both_maps = val_is(old, VAL_OBJECT) && new->kind == VAL_OBJECT;
    bool both_lists = val_is(old, VAL_ARRAY) && new->kind == VAL_ARRAY;
    if (!both_maps && !both_lists) {
        if (deletes || !clean(new)) {
            return true;
        }
        return val_set(p->arena, doc, key, *new) ? true : no_memory(p);
    }
    if (!look_up(p, at, key, &meta)) {
        return false;
    }
    return both_maps ? merge_map(p, old, new, meta.below) : merge_list(p, old, new, &meta, deletes);
}

static bool merge_map(struct patcher *p, struct val *doc, struct val *patch, struct place at)
{
    const struct val *directive = val_get(patch, STR(PATCH));
    if (directive) {
        struct str word = val_as_str(directive);
        if (str_eq_c(word, "delete")) {
            *doc = val_object();
            return true;
        }
        if (str_eq_c(word, "replace")) {
            val_remove(patch, STR(PATCH));
            clean(patch);
            *doc = *patch;
            return true;
        }
        return unknown_directive(p, directive, patch);
    }
    if (!retain_keys(p, doc, patch) || !set_orders(p, doc, patch, at)) {
        return false;
    }
    for (uint32_t i = 0; i < patch->n; i++) {
        if (!merge_member(p, doc, &patch->members[i], at)) {
            return false;
        }
    }
    return true;
}

bool patch_strategic_apply(struct arena *a, struct val *doc, struct val *patch, const struct api_type *t, struct err *err)
{
    struct patcher p = { .arena = a, .err = err };
    if (patch->kind == VAL_NULL) {
        return true;
    }
    if (patch->kind != VAL_OBJECT || doc->kind != VAL_OBJECT) {
        return err_set(err, ERR_BAD_REQUEST, "invalid JSON document");
    }
    return merge_map(&p, doc, patch, (struct place){ .type = t });
}
