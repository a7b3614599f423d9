/* Shared by fields-typed.c (how two structs differ) and fields-typed-text.c (what a new one sets, written at once). */
#ifndef API_FIELDS_TYPED_PARTS_H
#define API_FIELDS_TYPED_PARTS_H

#include "api/copy.h"
#include "api/fields-typed.h"
#include "api/presence.h"

/* Names of a list's key that are looked for; no type has more than three. */
#define TYPED_KEYS_MAX 8

/* ---- what stands at a field's place in a struct ---- */

static inline size_t typed_count(const char *p)
{
    return *(const size_t *)(const void *)(p + sizeof(void *));
}

static inline const char *typed_items(const char *p)
{
    return *(char *const *)(const void *)p;
}

/* The message of a single field. */
static inline const char *typed_message(const struct api_field *f, const char *p)
{
    return f->flags & API_F_POINTER ? typed_items(p) : p;
}

static inline struct fields_pe typed_name_pe(struct str key)
{
    return (struct fields_pe){ .kind = FIELDS_NAME, .name = key };
}

/* Lists of structs that are told apart by members of theirs. */
static inline bool typed_is_keyed(const struct api_field *f, struct fields_at at)
{
    return at.shape == FIELDS_LIST && at.list == API_LM_MAP && f->ftype == API_MESSAGE && f->message->form == API_FORM_OBJECT &&
           !fields_at_key(at, TYPED_KEYS_MAX).ptr;
}

static inline bool typed_is_struct(const struct api_field *f, struct fields_at at)
{
    return at.shape == FIELDS_MAP && !at.atomic && f->card == API_SINGLE;
}

/* ---- list items by their key ---- */

struct typed_item {
    struct fields_pe pe;
    const char *obj;
    size_t at;
};

struct typed_items {
    struct typed_item *items; /* sorted by key */
    size_t n;
    bool twins; /* two have the same key */
};

/* The items of a list that typed_is_keyed(), but for those without a key. False past the budget, as all of these. */
MUST_CHECK bool typed_index(struct arena *a, struct fields_at at, const struct api_field *f, const char *p, struct typed_items *ret);

/* ---- what the struct cannot tell by itself ---- */

/* All that is in a field, which the other struct does not have. */
MUST_CHECK bool typed_all_by_tree(struct arena *a, const struct api_field *f, struct fields_at at, const char *p, struct fields *ret);
/* How a field differs that is there in both, as a value or as null. */
MUST_CHECK bool typed_compare_by_tree(struct arena *a, const struct api_field *f, struct fields_at at, enum api_presence x, const char *from,
                                      enum api_presence y, const char *to, struct fields_diff *d);

#endif
