#include "api/copy.h"

/* The bytes of the struct are copied first; then everything that points outside is replaced by a copy of its own. */
static bool copy_below(struct arena *a, const struct api_type *t, char *obj, bool strings);

static bool copy_str(struct arena *a, struct str *s)
{
    if (!s->ptr) {
        return true;
    }
    *s = arena_str(a, *s);
    return s->ptr != NULL;
}

static bool copy_value(struct arena *a, const struct api_field *f, char *p, bool strings)
{
    switch (f->ftype) {
    case API_STRING:
    case API_BYTES:
    case API_DURATION:
    case API_QUANTITY:
    case API_RAW:
        return !strings || copy_str(a, (struct str *)(void *)p);
    case API_INT_OR_STRING:
        return !strings || copy_str(a, &((struct api_int_or_string *)(void *)p)->s);
    case API_STRLIST: {
        struct api_str_list *l = (struct api_str_list *)(void *)p;

        if (l->items) {
            struct str *items = arena_grow_n(a, l->items, l->n, l->n, sizeof(struct str));

            if (!items) {
                return false;
            }
            l->items = items;
            for (size_t i = 0; strings && i < l->n; i++) {
                if (!copy_str(a, &items[i])) {
                    return false;
                }
            }
        }
        return true;
    }
    case API_MESSAGE:
        return copy_below(a, f->message, p, strings);
    default:
        return true;
    }
}

static bool copy_items(struct arena *a, const struct api_field *f, char *p, bool strings)
{
    void **items = (void **)(void *)p;
    size_t n = *(size_t *)(void *)(p + sizeof(void *));
    size_t size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

    if (!*items) {
        return true;
    }
    *items = arena_grow_n(a, *items, n, n, size);
    if (!*items) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char *item = (char *)*items + i * size;

        if (f->card == API_MAP) {
            if (strings && !copy_str(a, (struct str *)(void *)item)) {
                return false;
            }
            item += API_ENTRY_VALUE;
        }
        if (!copy_value(a, f, item, strings)) {
            return false;
        }
    }
    return true;
}

static bool copy_below(struct arena *a, const struct api_type *t, char *obj, bool strings)
{
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct api_field *f = &t->fields[i];
        char *p = obj + f->offset;

        if (f->card != API_SINGLE) {
            if (!copy_items(a, f, p, strings)) {
                return false;
            }
        } else if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
            void **m = (void **)(void *)p;

            if (*m) {
                *m = arena_grow_n(a, *m, 1, 1, f->message->size);
                if (!*m || !copy_below(a, f->message, *m, strings)) {
                    return false;
                }
            }
        } else if (!copy_value(a, f, p, strings)) {
            return false;
        }
    }
    return true;
}

bool api_copy_into(struct arena *a, const struct api_type *t, const void *src, void *dst, bool strings)
{
    memmove(dst, src, t->size);
    return copy_below(a, t, dst, strings);
}

void *api_copy(struct arena *a, const struct api_type *t, const void *src)
{
    void *dst = arena_alloc(a, t->size);

    return dst && api_copy_into(a, t, src, dst, true) ? dst : NULL;
}
