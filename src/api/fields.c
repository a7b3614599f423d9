#include "api/fields.h"

#include <stdlib.h>

#include "api/bytes.h"
#include "api/json-writer.h"

/* Keys are objects with sorted members, so they compare in step. */
static int key_cmp(const struct val *a, const struct val *b)
{
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        int c = str_cmp(a->members[i].key, b->members[i].key);
        c = c ? c : val_cmp(&a->members[i].value, &b->members[i].value);
        if (c != 0) {
            return c;
        }
    }
    return a->n < b->n ? -1 : a->n > b->n;
}

int fields_pe_cmp(const struct fields_pe *a, const struct fields_pe *b)
{
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    switch (a->kind) {
    case FIELDS_NAME: return str_cmp(a->name, b->name);
    case FIELDS_KEY: return key_cmp(&a->value, &b->value);
    case FIELDS_VALUE:
    case FIELDS_INDEX: break;
    }
    return val_cmp(&a->value, &b->value);
}

/* The place of 'pe' among the kids, or where it would be. */
static uint32_t lower_bound(const struct fields *f, const struct fields_pe *pe, bool *ret_found)
{
    uint32_t low = 0, high = f->n;
    *ret_found = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int c = fields_pe_cmp(&f->kids[middle].pe, pe);
        if (c == 0) {
            *ret_found = true;
            return middle;
        }
        if (c < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct fields *fields_kid(const struct fields *f, const struct fields_pe *pe)
{
    bool found;
    uint32_t at = lower_bound(f, pe, &found);
    return found ? &f->kids[at] : NULL;
}

static bool insert_at(struct arena *a, struct fields *f, uint32_t at, const struct fields *kid)
{
    if (f->n == f->capacity) {
        uint32_t more = f->capacity ? f->capacity * 2 : 4;
        struct fields *kids = arena_grow_n(a, f->kids, f->n, more, sizeof(*kids));
        if (!kids) {
            return false;
        }
        f->kids = kids;
        f->capacity = more;
    }
    memmove(&f->kids[at + 1], &f->kids[at], (f->n - at) * sizeof(*f->kids));
    f->kids[at] = *kid;
    f->n++;
    return true;
}

/* Behind the last one: for callers that go in order. */
static bool append(struct arena *a, struct fields *f, const struct fields *kid)
{
    return fields_is_empty(kid) || insert_at(a, f, f->n, kid);
}

bool fields_add(struct arena *a, struct fields *f, const struct fields *kid)
{
    bool found;
    if (fields_is_empty(kid)) {
        return true;
    }
    if (f->n == 0 || fields_pe_cmp(&f->kids[f->n - 1].pe, &kid->pe) < 0) {
        return insert_at(a, f, f->n, kid);
    }
    uint32_t at = lower_bound(f, &kid->pe, &found);
    if (!found) {
        return insert_at(a, f, at, kid);
    }
    struct fields merged;
    if (!fields_union(a, &f->kids[at], kid, &merged)) {
        return false;
    }
    f->kids[at] = merged;
    return true;
}

bool fields_reserve(struct arena *a, struct fields *f, uint32_t n)
{
    f->kids = n ? arena_new_n(a, struct fields, n) : NULL;
    f->capacity = n;
    f->n = 0;
    return f->kids || n == 0;
}

static int kid_cmp(const void *a, const void *b)
{
    return fields_pe_cmp(&((const struct fields *)a)->pe, &((const struct fields *)b)->pe);
}

void fields_sort_kids(struct fields *f)
{
    if (f->n > 16) {
        qsort(f->kids, f->n, sizeof(*f->kids), kid_cmp);
        return;
    }
    for (uint32_t i = 1; i < f->n; i++) {
        struct fields kid = f->kids[i];
        uint32_t k = i;
        if (fields_pe_cmp(&f->kids[k - 1].pe, &kid.pe) <= 0) {
            continue;
        }
        for (; k > 0 && fields_pe_cmp(&f->kids[k - 1].pe, &kid.pe) > 0; k--) {
            f->kids[k] = f->kids[k - 1];
        }
        f->kids[k] = kid;
    }
}

bool fields_add_names(struct arena *a, struct fields *f, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct fields_pe pe = { .kind = FIELDS_NAME, .name = str_c(names[i]) };
        bool found;
        uint32_t at = lower_bound(f, &pe, &found);
        if (!found && !insert_at(a, f, at, &(struct fields){ .pe = pe })) {
            return false;
        }
        f = &f->kids[at];
    }
    f->member = true;
    return true;
}

bool fields_union(struct arena *a, const struct fields *x, const struct fields *y, struct fields *ret)
{
    struct fields out = { .pe = x->pe, .member = x->member || y->member };
    uint32_t i = 0, j = 0;
    if (x->n == 0 || y->n == 0) {
        const struct fields *from = x->n ? x : y;
        out.kids = from->kids;
        out.n = from->n;
        out.capacity = from->n; /* shared: the next insertion copies */
        *ret = out;
        return true;
    }
    while (i < x->n || j < y->n) {
        int c = i == x->n ? 1 : j == y->n ? -1 : fields_pe_cmp(&x->kids[i].pe, &y->kids[j].pe);
        struct fields both;
        const struct fields *next = c < 0 ? &x->kids[i] : &y->kids[j];
        if (c == 0) {
            if (!fields_union(a, &x->kids[i], &y->kids[j], &both)) {
                return false;
            }
            next = &both;
        }
        if (!append(a, &out, next)) {
            return false;
        }
        i += c <= 0;
        j += c >= 0;
    }
    *ret = out;
    return true;
}

bool fields_is_same(const struct fields *x, const struct fields *y)
{
    return x->member == y->member && x->n == y->n && (x->n == 0 || x->kids == y->kids);
}

bool fields_difference(struct arena *a, const struct fields *x, const struct fields *y, struct fields *ret)
{
    struct fields out = { .pe = x->pe, .member = x->member && !y->member };
    bool changed = false;
    for (uint32_t i = 0, j = 0; i < x->n; i++) {
        int c = -1;
        while (j < y->n && (c = fields_pe_cmp(&x->kids[i].pe, &y->kids[j].pe)) > 0) {
            j++;
        }
        struct fields rest = x->kids[i];
        if (j < y->n && c == 0 && !fields_difference(a, &x->kids[i], &y->kids[j], &rest)) {
            return false;
        }
        /* What stays whole is not copied: from the first change on the kids are new ones. */
        if (!changed && !fields_is_same(&rest, &x->kids[i])) {
            changed = true;
            for (uint32_t k = 0; k < i; k++) {
                if (!append(a, &out, &x->kids[k])) {
                    return false;
                }
            }
        }
        if (changed && !append(a, &out, &rest)) {
            return false;
        }
    }
    if (!changed) {
        out.kids = x->kids;
        out.n = x->n;
        out.capacity = x->n;
    }
    *ret = out;
    return true;
}

bool fields_exclude(struct arena *a, const struct fields *x, const struct fields *y, struct fields *ret)
{
    struct fields out = { .pe = x->pe, .member = x->member && !y->member };
    for (uint32_t i = 0; i < x->n && !y->member; i++) {
        const struct fields *gone = fields_kid(y, &x->kids[i].pe);
        struct fields rest = x->kids[i];
        if ((gone && !fields_exclude(a, &x->kids[i], gone, &rest)) || !append(a, &out, &rest)) {
            return false;
        }
    }
    *ret = out;
    return true;
}

bool fields_intersection(struct arena *a, const struct fields *x, const struct fields *y, struct fields *ret)
{
    struct fields out = { .pe = x->pe, .member = x->member && y->member };
    for (uint32_t i = 0, j = 0; i < x->n && j < y->n;) {
        int c = fields_pe_cmp(&x->kids[i].pe, &y->kids[j].pe);
        if (c == 0) {
            struct fields both;
            if (!fields_intersection(a, &x->kids[i], &y->kids[j], &both) || !append(a, &out, &both)) {
                return false;
            }
        }
        i += c <= 0;
        j += c >= 0;
    }
    *ret = out;
    return true;
}

bool fields_equal(const struct fields *x, const struct fields *y)
{
    if (x->member != y->member || x->n != y->n) {
        return false;
    }
    for (uint32_t i = 0; i < x->n; i++) {
        if (fields_pe_cmp(&x->kids[i].pe, &y->kids[i].pe) != 0 || !fields_equal(&x->kids[i], &y->kids[i])) {
            return false;
        }
    }
    return true;
}

size_t fields_count(const struct fields *f)
{
    size_t n = f->member;
    for (uint32_t i = 0; i < f->n; i++) {
        n += fields_count(&f->kids[i]);
    }
    return n;
}

/* ---- JSON ---- */

/* "k:{\"name\":\"x\"}" at once, when the key is one text and nothing in it is to be escaped: nearly all keys. */
static bool write_plain_key(struct buf *b, const struct val *key)
{
    static const char between[] = "\\\":\\\"", behind[] = "\\\"}\"", before[] = "\"k:{\\\"";
    if (key->n != 1 || key->members[0].value.kind != VAL_STRING) {
        return false;
    }
    struct str name = key->members[0].key, text = key->members[0].value.s;
    char *p = bytes_room(b, sizeof(before) + name.len + sizeof(between) + text.len + sizeof(behind)), *q = p;
    if (!p) {
        return true;
    }
    memcpy(q, before, sizeof(before) - 1);
    q += sizeof(before) - 1;
    bool plain = bytes_copy_safe(q, name.ptr, name.len);
    q += name.len;
    memcpy(q, between, sizeof(between) - 1);
    q += sizeof(between) - 1;
    plain = bytes_copy_safe(q, text.ptr, text.len) && plain;
    q += text.len;
    memcpy(q, behind, sizeof(behind) - 1);
    q += sizeof(behind) - 1;
    if (plain) {
        bytes_done(b, (size_t)(q - p));
    }
    return plain;
}

/* A step with JSON in it, or one whose name is escaped: through 'step', since it is escaped once more. */
static void write_step(struct buf *b, struct buf *step, const struct fields_pe *pe)
{
    if (pe->kind == FIELDS_KEY && write_plain_key(b, &pe->value)) {
        return;
    }
    buf_clear(step);
    switch (pe->kind) {
    case FIELDS_NAME:
        buf_append(step, STR("f:"));
        buf_append(step, pe->name);
        break;
    case FIELDS_KEY: buf_append(step, STR("k:")); break;
    case FIELDS_VALUE: buf_append(step, STR("v:")); break;
    case FIELDS_INDEX: buf_append(step, STR("i:")); break;
    }
    if (pe->kind != FIELDS_NAME) {
        val_write_json(step, &pe->value);
    }
    json_write_string(b, buf_str(step));
    b->failed |= buf_failed(step);
}

/* 'step' is a buffer to work in. */
static void write_node(struct buf *b, struct buf *step, const struct fields *f, unsigned levels)
{
    uint32_t n = levels ? f->n : 0;
    if (n == 0) {
        buf_append(b, STR("{}"));
        return;
    }
    buf_append(b, f->member ? STR("{\".\":{}") : STR("{"));
    for (uint32_t i = 0; i < n; i++) {
        const struct fields *kid = &f->kids[i];
        bool comma = i > 0 || f->member, leaf = kid->n == 0 || levels == 1;
        size_t len = kid->pe.kind == FIELDS_NAME ? kid->pe.name.len : 0;
        char *p = bytes_room(b, len + 8);
        if (!p) {
            return;
        }
        /* A plain name in one step, and a leaf with it: ,"f:name":{} */
        p[0] = ',';
        if (kid->pe.kind == FIELDS_NAME && bytes_copy_safe(p + comma + 3, kid->pe.name.ptr, len)) {
            memcpy(p + comma, "\"f:", 3);
            memcpy(p + comma + 3 + len, "\":{}", 4);
            bytes_done(b, comma + len + (leaf ? 7 : 5));
        } else {
            bytes_done(b, comma);
            write_step(b, step, &kid->pe);
            buf_append(b, leaf ? STR(":{}") : STR(":"));
        }
        if (!leaf) {
            write_node(b, step, kid, levels - 1);
        }
    }
    buf_append_char(b, '}');
}

void fields_write_below(struct buf *b, const struct fields *f, unsigned depth)
{
    CLEANUP(buf_deinit) struct buf step;
    buf_init(&step, b->max);
    write_node(b, &step, f, depth < FIELDS_DEPTH - 2 ? FIELDS_DEPTH - 2 - depth : 0);
}

void fields_write(struct buf *b, const struct fields *f)
{
    fields_write_below(b, f, 0);
}

void fields_pe_write_json(struct buf *b, const struct fields_pe *pe)
{
    CLEANUP(buf_deinit) struct buf step;
    buf_init(&step, b->max);
    write_step(b, &step, pe);
}

static bool parse_step(struct arena *a, struct str key, struct fields_pe *ret, struct err *err)
{
    struct str text = str_sub(key, 2, key.len);
    if (key.len < 2 || key.ptr[1] != ':') {
        return err_set(err, ERR_BAD_REQUEST, "missing colon: %.*s", STR_ARG(str_sub(key, 0, 100)));
    }
    switch (key.ptr[0]) {
    case 'f':
        *ret = (struct fields_pe){ .kind = FIELDS_NAME, .name = text };
        return true;
    case 'k':
        ret->kind = FIELDS_KEY;
        if (!val_parse_json(a, text, JSON_DEPTH, NULL, &ret->value, err)) {
            return false;
        }
        if (ret->value.kind != VAL_OBJECT) {
            return err_set(err, ERR_BAD_REQUEST, "a key that is no map: %.*s", STR_ARG(str_sub(key, 0, 100)));
        }
        val_sort(&ret->value);
        return true;
    case 'v':
        ret->kind = FIELDS_VALUE;
        return val_parse_json(a, text, JSON_DEPTH, NULL, &ret->value, err);
    case 'i':
        ret->kind = FIELDS_INDEX;
        ret->value = val_int(0);
        if (!str_to_i64(text, &ret->value.i)) {
            return err_set(err, ERR_BAD_REQUEST, "an index that is no number: %.*s", STR_ARG(str_sub(key, 0, 100)));
        }
        return true;
    default: break;
    }
    return err_set(err, ERR_BAD_REQUEST, "unknown path element: %.*s", STR_ARG(str_sub(key, 0, 100)));
}

/* The object at the reader: the node's kids, and "." for the node itself. */
static bool parse_node(struct arena *a, struct json_reader *r, struct fields *f, bool root)
{
    struct str key;
    int more;
    bool any = false;
    if (!json_object_begin(r)) {
        return false;
    }
    while ((more = json_object_next(r, &key)) > 0) {
        struct fields kid = { 0 };
        any = true;
        if (str_eq_c(key, ".")) {
            f->member = true;
            if (!json_skip(r)) {
                return false;
            }
            continue;
        }
        if (!parse_step(a, key, &kid.pe, r->err)) {
            r->failed = true;
            return false;
        }
        if (!parse_node(a, r, &kid, false)) {
            return false;
        }
        if (!fields_add(a, f, &kid)) {
            return json_fail(r, ERR_TOO_LARGE, "the field set needs more memory than it may have");
        }
    }
    f->member = f->member || (!any && !root);
    return more == 0;
}

bool fields_parse(struct arena *a, struct str text, struct fields *ret, struct err *err)
{
    struct json_reader r;
    struct fields f = { 0 };
    struct err unused;
    json_reader_init(&r, text, a, FIELDS_DEPTH, err ? err : &unused);
    if (!parse_node(a, &r, &f, true) || !json_end(&r)) {
        return false;
    }
    *ret = f;
    return true;
}

/* ---- paths ---- */

void fields_pe_write(struct buf *b, const struct fields_pe *pe)
{
    switch (pe->kind) {
    case FIELDS_NAME:
        buf_append(b, STR("."));
        buf_append(b, pe->name);
        return;
    case FIELDS_KEY:
        buf_append(b, STR("["));
        for (uint32_t i = 0; i < pe->value.n; i++) {
            buf_append(b, i ? STR(",") : STR_EMPTY);
            buf_append(b, pe->value.members[i].key);
            buf_append(b, STR("="));
            val_write_json(b, &pe->value.members[i].value);
        }
        break;
    case FIELDS_VALUE:
        buf_append(b, STR("[="));
        val_write_json(b, &pe->value);
        break;
    case FIELDS_INDEX:
        buf_append(b, STR("["));
        val_write_json(b, &pe->value);
        break;
    }
    buf_append(b, STR("]"));
}

static bool each_below(struct buf *path, const struct fields *f, bool (*each)(void *ctx, struct str path), void *ctx)
{
    size_t len = path->len;
    if (f->member && !each(ctx, buf_str(path))) {
        return false;
    }
    for (uint32_t i = 0; i < f->n; i++) {
        fields_pe_write(path, &f->kids[i].pe);
        bool go_on = each_below(path, &f->kids[i], each, ctx);
        path->len = len;
        if (!go_on) {
            return false;
        }
    }
    return true;
}

bool fields_each(const struct fields *f, bool (*each)(void *ctx, struct str path), void *ctx)
{
    struct buf path;
    buf_init(&path, BUF_NO_MAX);
    bool all = each_below(&path, f, each, ctx);
    buf_deinit(&path);
    return all;
}
