#include "api/copy.h"

/* ---- exactly equal: absent and empty differ, and quantities are texts ---- */

static bool same_message(const struct api_type *t, const char *a, const char *b);

static bool same_str(const void *a, const void *b)
{
    const struct str *x = a, *y = b;

    return x->ptr == y->ptr ? x->len == y->len : x->ptr && y->ptr && str_eq(*x, *y);
}

static bool same_value(const struct api_field *f, const char *a, const char *b)
{
    switch ((enum api_ftype)f->ftype) {
    case API_STRING:
    case API_BYTES:
    case API_DURATION:
    case API_QUANTITY:
    case API_RAW:
        return same_str(a, b);
    case API_TIME:
    case API_MICROTIME: {
        const struct api_time *x = (const void *)a, *y = (const void *)b;
        return x->set == y->set && x->sec == y->sec && x->nsec == y->nsec;
    }
    case API_INT_OR_STRING: {
        const struct api_int_or_string *x = (const void *)a, *y = (const void *)b;
        return x->kind == y->kind && x->i == y->i && same_str(&x->s, &y->s);
    }
    case API_STRLIST: {
        const struct api_str_list *x = (const void *)a, *y = (const void *)b;
        bool same = x->n == y->n && !x->items == !y->items;
        for (size_t i = 0; same && i < x->n; i++) {
            same = same_str(&x->items[i], &y->items[i]);
        }
        return same;
    }
    case API_MESSAGE:
        return same_message(f->message, a, b);
    case API_BOOL:
    case API_INT32:
    case API_UINT32:
    case API_ENUM:
    case API_INT64:
    case API_UINT64:
    case API_DOUBLE:
        return memcmp(a, b, api_item_size(f)) == 0;
    case API_FTYPE_MAX:
        break;
    }
    return false;
}

static char *pointer_at(const char *p)
{
    return *(char *const *)(const void *)p;
}

static size_t count_at(const char *p)
{
    return *(const size_t *)(const void *)(p + sizeof(void *));
}

/* Memory that both share is the same. */
static bool same_items(const struct api_field *f, const char *a, const char *b)
{
    const char *x = pointer_at(a), *y = pointer_at(b);
    size_t n = count_at(a), size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

    if (n != count_at(b) || !x != !y) {
        return false;
    }
    for (size_t i = 0; x != y && i < n; i++, x += size, y += size) {
        if (f->card == API_MAP ? !same_str(x, y) || !same_value(f, x + API_ENTRY_VALUE, y + API_ENTRY_VALUE)
                               : !same_value(f, x, y)) {
            return false;
        }
    }
    return true;
}

bool api_same_field(const struct api_field *f, const char *a, const char *b)
{
    const char *x = a + f->offset, *y = b + f->offset;

    if (f->card != API_SINGLE) {
        return same_items(f, x, y);
    }
    if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
        x = pointer_at(x);
        y = pointer_at(y);
        return x == y || (x && y && same_message(f->message, x, y));
    }
    return (!f->has_offset || a[f->has_offset] == b[f->has_offset]) && same_value(f, x, y);
}

static bool same_message(const struct api_type *t, const char *a, const char *b)
{
    for (unsigned i = 0; i < t->n_fields; i++) {
        if (!api_same_field(&t->fields[i], a, b)) {
            return false;
        }
    }
    return true;
}

/* ---- copies ---- */

struct copier {
    struct arena *a;
    bool strings;
};

/* The bytes of the struct are copied first; then everything that points outside is replaced by a copy of its own, or by what
 * 'like' (may be NULL) has in this place when that is the same. */
static bool copy_below(const struct copier *c, const struct api_type *t, char *obj, const char *like);

static bool copy_str(const struct copier *c, void *p, const void *like)
{
    struct str *s = p;

    if (!s->ptr || !c->strings) {
        return true;
    }
    if (like && same_str(s, like)) {
        *s = *(const struct str *)like;
        return true;
    }
    *s = arena_str(c->a, *s);
    return s->ptr != NULL;
}

static bool copy_value(const struct copier *c, const struct api_field *f, char *p, const char *like)
{
    switch (f->ftype) {
    case API_STRING:
    case API_BYTES:
    case API_DURATION:
    case API_QUANTITY:
    case API_RAW:
        return copy_str(c, p, like);
    case API_INT_OR_STRING:
        return copy_str(c, &((struct api_int_or_string *)(void *)p)->s,
                        like ? &((const struct api_int_or_string *)(const void *)like)->s : NULL);
    case API_STRLIST: {
        struct api_str_list *l = (struct api_str_list *)(void *)p;

        if (like && same_value(f, p, like)) {
            *l = *(const struct api_str_list *)(const void *)like;
        } else if (l->items) {
            struct str *items = arena_grow_n(c->a, l->items, l->n, l->n, sizeof(struct str));

            if (!items) {
                return false;
            }
            l->items = items;
            for (size_t i = 0; i < l->n; i++) {
                if (!copy_str(c, &items[i], NULL)) {
                    return false;
                }
            }
        }
        return true;
    }
    case API_MESSAGE:
        return copy_below(c, f->message, p, like);
    default:
        return true;
    }
}

/* Is there anything to copy in one value besides its bytes? */
static inline bool points_out(const struct copier *c, const struct api_field *f)
{
    return f->ftype == API_MESSAGE || f->ftype == API_STRLIST || (c->strings && f->ftype >= API_STRING);
}

static bool copy_items(const struct copier *c, const struct api_field *f, char *p, const char *like)
{
    void **items = (void **)(void *)p;
    size_t n = count_at(p), size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

    if (!*items) {
        return true;
    }
    if (like && same_items(f, p, like)) {
        *items = pointer_at(like);
        return true;
    }
    *items = arena_grow_n(c->a, *items, n, n, size);
    if (!*items) {
        return false;
    }
    if (!points_out(c, f) && !(c->strings && f->card == API_MAP)) {
        return true;
    }
    size_t n_like = like && pointer_at(like) ? count_at(like) : 0;
    for (size_t i = 0; i < n; i++) {
        char *item = (char *)*items + i * size;
        const char *other = i < n_like ? pointer_at(like) + i * size : NULL;

        if (f->card == API_MAP) {
            if (!copy_str(c, item, other)) {
                return false;
            }
            item += API_ENTRY_VALUE;
            other = other ? other + API_ENTRY_VALUE : NULL;
        }
        if (!copy_value(c, f, item, other)) {
            return false;
        }
    }
    return true;
}

static bool copy_pointer(const struct copier *c, const struct api_type *t, char *p, const char *like)
{
    void **m = (void **)(void *)p;
    const char *other = like ? pointer_at(like) : NULL;

    if (!*m) {
        return true;
    }
    if (other && same_message(t, *m, other)) {
        *m = pointer_at(like);
        return true;
    }
    *m = arena_grow_n(c->a, *m, 1, 1, t->size);
    return *m && copy_below(c, t, *m, other);
}

static bool copy_below(const struct copier *c, const struct api_type *t, char *obj, const char *like)
{
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct api_field *f = &t->fields[i];
        char *p = obj + f->offset;
        const char *other = like ? like + f->offset : NULL;
        bool ok;

        if (f->card != API_SINGLE) {
            ok = !pointer_at(p) || copy_items(c, f, p, other);
        } else if (!points_out(c, f)) {
            continue;
        } else if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
            ok = !pointer_at(p) || copy_pointer(c, f->message, p, other);
        } else {
            ok = copy_value(c, f, p, other);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool api_copy_into(struct arena *a, const struct api_type *t, const void *src, void *dst, bool strings)
{
    const struct copier c = { .a = a, .strings = strings };

    memmove(dst, src, t->size);
    return copy_below(&c, t, dst, NULL);
}

bool api_copy_like(struct arena *a, const struct api_type *t, const void *src, void *dst, const void *like)
{
    const struct copier c = { .a = a, .strings = true };

    memmove(dst, src, t->size);
    return copy_below(&c, t, dst, like);
}

void *api_copy(struct arena *a, const struct api_type *t, const void *src)
{
    void *dst = arena_alloc(a, t->size);

    return dst && api_copy_into(a, t, src, dst, true) ? dst : NULL;
}
