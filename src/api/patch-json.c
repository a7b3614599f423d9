#include "api/patch-json.h"

#include <stdlib.h>

struct patcher {
    struct arena *arena;
    struct val *doc;
    struct err *err;
    size_t copied; /* bytes that copies added so far */
};

/* Where an operation acts: a container, a decoded key in it, and how deep that is. */
struct target {
    struct val *in;
    struct str key;
    unsigned depth;
};

static bool refused(struct patcher *p)
{
    return err_set(p->err, ERR_INVALID, "%s", PATCH_JSON_REFUSED);
}

static bool no_memory(struct patcher *p)
{
    return err_set(p->err, ERR_TOO_LARGE, "the patched object needs more memory than it may have");
}

/* "~1" is '/', "~0" is '~'. */
static bool decode_key(struct patcher *p, struct str token, struct str *ret)
{
    if (str_find_char(token, '~') < 0) {
        *ret = token.ptr ? token : STR_EMPTY;
        return true;
    }
    char *out = arena_alloc(p->arena, token.len + 1);
    size_t n = 0;
    if (!out) {
        return no_memory(p);
    }
    for (size_t i = 0; i < token.len; i++) {
        char next = i + 1 < token.len ? token.ptr[i + 1] : '\0';
        if (token.ptr[i] == '~' && (next == '0' || next == '1')) {
            out[n++] = next == '0' ? '~' : '/';
            i++;
        } else {
            out[n++] = token.ptr[i];
        }
    }
    *ret = str_n(out, n);
    return true;
}

/* An index into 'v' below 'end'; negative ones count from 'end'. */
static bool array_index(struct str key, size_t end, size_t *ret)
{
    int64_t i;
    if (!str_to_i64(str_starts(key, STR("+")) ? str_sub(key, 1, key.len) : key, &i)) {
        return false;
    }
    i += i < 0 ? (int64_t)end : 0;
    if (i < 0 || (uint64_t)i >= end) {
        return false;
    }
    *ret = (size_t)i;
    return true;
}

static struct val *child(const struct val *v, struct str key)
{
    size_t i;
    if (v->kind == VAL_OBJECT) {
        return val_get(v, key);
    }
    return v->kind == VAL_ARRAY && array_index(key, v->n, &i) ? &v->items[i] : NULL;
}

static bool find(struct patcher *p, struct str path, struct target *ret)
{
    struct target t = { .in = p->doc };
    struct str rest, token, head;
    if (!str_cut(path, '/', &head, &rest)) {
        return refused(p);
    }
    for (;;) {
        bool last = !str_cut(rest, '/', &token, &rest);
        t.depth++;
        if (t.depth > JSON_DEPTH || (t.in->kind != VAL_OBJECT && t.in->kind != VAL_ARRAY)) {
            return refused(p);
        }
        if (!decode_key(p, token, &t.key)) {
            return false;
        }
        if (last) {
            *ret = t;
            return true;
        }
        t.in = child(t.in, t.key);
        if (!t.in) {
            return refused(p);
        }
    }
}

/* Levels of a tree, which is never deeper than JSON_DEPTH. */
static unsigned depth_of(const struct val *v)
{
    unsigned deepest = 0;
    if (v->kind == VAL_ARRAY) {
        for (uint32_t i = 0; i < v->n; i++) {
            deepest = MAX(deepest, depth_of(&v->items[i]));
        }
    } else if (v->kind == VAL_OBJECT) {
        for (uint32_t i = 0; i < v->n; i++) {
            deepest = MAX(deepest, depth_of(&v->members[i].value));
        }
    }
    return deepest + 1;
}

/* Keeps the document within JSON_DEPTH, whatever is put where. */
static bool fits(struct patcher *p, const struct target *t, const struct val *v)
{
    return t->depth + depth_of(v) <= JSON_DEPTH || refused(p);
}

static bool put_add(struct patcher *p, const struct target *t, struct val v)
{
    size_t i;
    if (!fits(p, t, &v)) {
        return false;
    }
    if (t->in->kind == VAL_OBJECT) {
        return val_set(p->arena, t->in, t->key, v) ? true : no_memory(p);
    }
    if (str_eq_c(t->key, "-")) {
        i = t->in->n;
    } else if (!array_index(t->key, (size_t)t->in->n + 1, &i)) {
        return refused(p);
    }
    return val_insert(p->arena, t->in, i, v) ? true : no_memory(p);
}

static bool put_replace(struct patcher *p, const struct target *t, struct val v)
{
    size_t i;
    if (!fits(p, t, &v)) {
        return false;
    }
    if (t->in->kind == VAL_OBJECT) {
        return val_set(p->arena, t->in, t->key, v) ? true : no_memory(p);
    }
    if (!array_index(t->key, t->in->n, &i)) {
        return refused(p);
    }
    t->in->items[i] = v;
    return true;
}

static bool take_out(struct patcher *p, const struct target *t)
{
    size_t i;
    if (t->in->kind == VAL_OBJECT) {
        return val_remove(t->in, t->key) || refused(p);
    }
    if (!array_index(t->key, t->in->n, &i)) {
        return refused(p);
    }
    val_remove_at(t->in, i);
    return true;
}

/* The length of its JSON text, nearly: what a copy counts for. */
static size_t text_size(const struct val *v)
{
    size_t n = 2;
    switch (v->kind) {
    case VAL_STRING: return v->s.len + 2;
    case VAL_ARRAY:
        for (uint32_t i = 0; i < v->n; i++) {
            n += text_size(&v->items[i]) + 1;
        }
        return n;
    case VAL_OBJECT:
        for (uint32_t i = 0; i < v->n; i++) {
            n += v->members[i].key.len + text_size(&v->members[i].value) + 4;
        }
        return n;
    case VAL_NULL:
    case VAL_BOOL:
    case VAL_INT:
    case VAL_DOUBLE: break;
    }
    return 4;
}

static bool op_copy(struct patcher *p, struct str from, struct str path)
{
    struct target source, t;
    struct val copy = val_null();
    if (!find(p, from, &source)) {
        return false;
    }
    struct val *v = child(source.in, source.key);
    if (!v && source.in->kind == VAL_ARRAY) {
        return refused(p);
    }
    if (v) {
        p->copied += text_size(v);
        if (p->copied > PATCH_JSON_COPY_MAX) {
            return refused(p);
        }
        if (!val_copy(p->arena, v, false, &copy)) {
            return no_memory(p);
        }
    }
    return find(p, path, &t) && put_add(p, &t, copy);
}

static bool op_move(struct patcher *p, struct str from, struct str path)
{
    struct target source, t;
    if (!find(p, from, &source)) {
        return false;
    }
    struct val *v = child(source.in, source.key);
    if (!v) {
        return refused(p);
    }
    struct val moved = *v;
    return take_out(p, &source) && find(p, path, &t) && put_add(p, &t, moved);
}

static bool op_test(struct patcher *p, struct str path, const struct val *want)
{
    struct target t;
    if (!find(p, path, &t)) {
        return false;
    }
    struct val *v = child(t.in, t.key);
    if (!v && t.in->kind == VAL_ARRAY) {
        return refused(p);
    }
    /* What is missing equals null. */
    bool null = !v || v->kind == VAL_NULL, want_null = !want || want->kind == VAL_NULL;
    return (null || want_null ? null == want_null : val_equal(v, want)) || refused(p);
}

static bool op_put(struct patcher *p, struct str path, const struct val *value, bool replace)
{
    struct target t;
    struct val own = val_null();
    /* One patch value may be put in once only, but the patch stays the caller's: a copy keeps the trees apart. */
    if (value && !val_copy(p->arena, value, false, &own)) {
        return no_memory(p);
    }
    return find(p, path, &t) && (replace ? put_replace(p, &t, own) : put_add(p, &t, own));
}

static bool apply_op(struct patcher *p, const struct val *op)
{
    struct str kind = val_get_str(op, STR("op")), path = val_get_str(op, STR("path"));
    struct str from = val_get_str(op, STR("from"));
    const struct val *value = val_get(op, STR("value"));
    struct target t;
    if (str_eq_c(kind, "add")) {
        return op_put(p, path, value, false);
    }
    if (str_eq_c(kind, "replace")) {
        return op_put(p, path, value, true);
    }
    if (str_eq_c(kind, "remove")) {
        return find(p, path, &t) && take_out(p, &t);
    }
    if (str_eq_c(kind, "move")) {
        return op_move(p, from, path);
    }
    if (str_eq_c(kind, "copy")) {
        return op_copy(p, from, path);
    }
    if (str_eq_c(kind, "test")) {
        return op_test(p, path, value);
    }
    return refused(p);
}

/* The name of a value's kind in "cannot unmarshal <kind> into ...". */
static const char *kind_name(const struct val *v)
{
    static const char *const names[] = { [VAL_NULL] = "null",     [VAL_BOOL] = "bool",   [VAL_INT] = "number",
                                         [VAL_DOUBLE] = "number", [VAL_STRING] = "string", [VAL_ARRAY] = "array",
                                         [VAL_OBJECT] = "object" };
    return names[v->kind];
}

static bool check_shape(const struct val *patch, struct err *err)
{
    static const char *const texts[] = { "op", "path", "from" };
    if (patch->kind != VAL_ARRAY) {
        return err_set(err, ERR_BAD_REQUEST,
                       "error decoding patch: json: cannot unmarshal %s into Go value of type []handlers.jsonPatchOp",
                       kind_name(patch));
    }
    for (uint32_t i = 0; i < patch->n; i++) {
        const struct val *op = &patch->items[i];
        if (op->kind != VAL_OBJECT && op->kind != VAL_NULL) {
            return err_set(err, ERR_BAD_REQUEST,
                           "error decoding patch: json: cannot unmarshal %s into Go value of type handlers.jsonPatchOp",
                           kind_name(op));
        }
        for (size_t t = 0; t < ARRAY_SIZE(texts); t++) {
            const struct val *v = val_get(op, str_c(texts[t]));
            if (v && v->kind != VAL_STRING && v->kind != VAL_NULL) {
                return err_set(err, ERR_BAD_REQUEST,
                               "error decoding patch: json: cannot unmarshal %s into Go struct field jsonPatchOp.%s of type "
                               "string", kind_name(v), texts[t]);
            }
        }
    }
    return true;
}

bool patch_json_apply_val(struct arena *a, struct val *doc, const struct val *patch, struct err *err)
{
    struct patcher p = { .arena = a, .doc = doc, .err = err };
    if (!check_shape(patch, err)) {
        return false;
    }
    if (patch->n > PATCH_JSON_OPS_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "Request entity too large: The allowed maximum operations in a JSON patch is %d, got %u",
                       PATCH_JSON_OPS_MAX, patch->n);
    }
    for (uint32_t i = 0; i < patch->n; i++) {
        if (!apply_op(&p, &patch->items[i])) {
            return false;
        }
    }
    return true;
}

bool patch_json_apply(struct arena *a, struct val *doc, struct str patch, struct err *err)
{
    struct val v;
    if (!val_parse_json(a, patch, JSON_DEPTH, NULL, &v, err)) {
        return err_wrap(err, "error decoding patch");
    }
    if (v.kind == VAL_NULL) {
        v = val_array();
    }
    return patch_json_apply_val(a, doc, &v, err);
}
