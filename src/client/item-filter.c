#include "client/item-filter.h"

#include <stdlib.h>

bool item_filter_split(struct str field, struct str *ret_path, struct str *ret_key)
{
    struct str rest;
    if (!str_cut(field, '[', ret_path, &rest) || !str_ends(rest, STR("]"))) {
        return false;
    }
    *ret_key = str_sub(rest, 0, rest.len - 1);
    return true;
}

/* Finds the list and its key; fills 'f'. */
static bool resolve(const struct api_type *type, struct str path, struct item_filter *f)
{
    const struct api_field *field = NULL;
    struct str rest = path, name;
    size_t at;
    while (str_split(&rest, '.', &name)) {
        if (field && (field->ftype != API_MESSAGE || field->card != API_SINGLE || field->flags & API_F_POINTER)) {
            return false;
        }
        type = field ? field->message : type;
        field = api_field_find(type, name, &at);
        if (!field) {
            return false;
        }
        f->list_at += at;
    }
    if (!field || field->card != API_LIST || field->ftype != API_MESSAGE || !field->facts->keys ||
        !field->facts->keys[0].ptr || field->facts->keys[1].ptr) {
        return false;
    }
    const struct api_field *key = api_field_find(field->message, field->facts->keys[0], &f->key_at);
    f->item_size = field->message->size;
    return key && key->ftype == API_STRING && key->card == API_SINGLE;
}

bool item_filter_add(struct arena *a, struct item_filter **filters, const struct api_type *type, struct str path,
                     struct str key)
{
    struct item_filter *f = *filters, fresh = { .path = path };
    while (f && !str_eq(f->path, path)) {
        f = f->next;
    }
    if (!f) {
        f = resolve(type, path, &fresh) ? arena_new(a, struct item_filter) : NULL;
        if (!f) {
            return false;
        }
        *f = fresh;
        f->next = *filters;
        *filters = f;
    }
    struct str *keep = arena_grow_n(a, f->keep, f->n_keep, f->n_keep + 1, sizeof(struct str));
    if (!keep) {
        return false;
    }
    f->keep = keep;
    f->keep[f->n_keep++] = key;
    return true;
}

/* Does this key, or "!A|B", keep the item? */
static bool keeps(struct str keep, struct str key)
{
    struct str one;
    if (!str_starts(keep, STR("!"))) {
        return str_eq(keep, key);
    }
    for (struct str rest = str_sub(keep, 1, keep.len); str_split(&rest, '|', &one);) {
        if (str_eq(one, key)) {
            return false;
        }
    }
    return true;
}

static bool is_kept(const struct item_filter *f, struct str key)
{
    for (size_t i = 0; i < f->n_keep; i++) {
        if (keeps(f->keep[i], key)) {
            return true;
        }
    }
    return false;
}

void item_filters_apply(const struct item_filter *filters, void *obj)
{
    for (const struct item_filter *f = filters; f; f = f->next) {
        char *list = (char *)obj + f->list_at, *items;
        size_t *n = (size_t *)(void *)(list + sizeof(void *)), kept = 0;
        memcpy(&items, list, sizeof(items));
        for (size_t i = 0; i < *n; i++) {
            char *item = items + i * f->item_size;
            if (is_kept(f, *(const struct str *)(const void *)(item + f->key_at))) {
                memmove(items + kept++ * f->item_size, item, f->item_size);
            }
        }
        *n = kept;
    }
}
