#include "api/val-part.h"

#include "api/presence.h"
#include "api/val-convert.h"

/* The field that a member of a patch is about; directives are about the field behind the slash. -1: unknown. */
static int field_of(const struct api_type *t, struct str key)
{
    struct str directive, name;
    if (key.len && key.ptr[0] == '$' && str_cut(key, '/', &directive, &name)) {
        key = name;
    }
    return api_flat_find(t, key);
}

static bool is_whole_directive(struct str key)
{
    return str_eq(key, STR("$patch")) || str_eq(key, STR("$retainKeys"));
}

/* Is the part about single members of a message, so that it can be entered? */
static bool enters(const struct api_field *f, const struct val *part)
{
    if (f->card != API_SINGLE || f->ftype != API_MESSAGE || f->message->form != API_FORM_OBJECT || part->kind != VAL_OBJECT) {
        return false;
    }
    for (uint32_t i = 0; i < part->n; i++) {
        if (is_whole_directive(part->members[i].key)) {
            return false;
        }
    }
    return true;
}

bool api_part_is_known(const struct api_type *t, const struct val *part)
{
    if (t->form != API_FORM_OBJECT || part->kind != VAL_OBJECT) {
        return false;
    }
    for (uint32_t i = 0; i < part->n; i++) {
        int at = field_of(t, part->members[i].key);
        if (at < 0) {
            return false;
        }
        const struct api_field *f = t->flat[at].field;
        if (enters(f, &part->members[i].value) && !api_part_is_known(f->message, &part->members[i].value)) {
            return false;
        }
    }
    return true;
}

/* Of several members about one field (a list and its order) the first stands for all; lists are never entered. */
static bool is_first(const struct api_type *t, const struct val *part, uint32_t i, int at)
{
    for (uint32_t k = 0; k < i; k++) {
        if (field_of(t, part->members[k].key) == at) {
            return false;
        }
    }
    return true;
}

static const char *message_at(const struct api_field *f, const char *p)
{
    return f->flags & API_F_POINTER ? *(char *const *)(const void *)p : p;
}

bool api_to_val_part(struct arena *a, const struct api_type *t, const void *obj, const struct val *part, struct val *ret)
{
    *ret = val_object();
    for (uint32_t i = 0; i < part->n; i++) {
        int at = field_of(t, part->members[i].key);
        if (at < 0 || !is_first(t, part, i, at)) {
            continue;
        }
        const struct api_field *f = t->flat[at].field;
        const char *owner = (const char *)obj + t->flat[at].base, *p = owner + f->offset;
        enum api_presence how = api_presence(f, owner, p);
        struct val v = val_null();
        if (how == API_LEFT_OUT) {
            continue;
        }
        if (how == API_AS_VALUE && enters(f, &part->members[i].value)) {
            if (!api_to_val_part(a, f->message, message_at(f, p), &part->members[i].value, &v)) {
                return false;
            }
        } else if (how == API_AS_VALUE && !api_field_to_val(a, f, p, &v)) {
            return false;
        }
        if (!val_add(a, ret, f->name, v)) {
            return false;
        }
    }
    return true;
}

bool api_graft(struct arena *a, const struct api_type *t, void *dst, const void *src, const struct val *part)
{
    for (uint32_t i = 0; i < part->n; i++) {
        int at = field_of(t, part->members[i].key);
        if (at < 0) {
            continue;
        }
        const struct api_field *f = t->flat[at].field;
        char *to = (char *)dst + t->flat[at].base;
        const char *from = (const char *)src + t->flat[at].base;
        char *p = to + f->offset;
        const char *q = from + f->offset;
        bool below = enters(f, &part->members[i].value);
        if (below && !(f->flags & API_F_POINTER)) {
            if (!api_graft(a, f->message, p, q, &part->members[i].value)) {
                return false;
            }
            continue;
        }
        void **mine = (void **)(void *)p;
        void *const *theirs = (void *const *)(const void *)q;
        if (below && *mine && *theirs) {
            *mine = arena_grow_n(a, *mine, 1, 1, f->message->size);
            if (!*mine || !api_graft(a, f->message, *mine, *theirs, &part->members[i].value)) {
                return false;
            }
            continue;
        }
        memcpy(p, q, api_member_size(f));
        if (f->has_offset) {
            to[f->has_offset] = from[f->has_offset];
        }
    }
    return true;
}
