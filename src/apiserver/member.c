#include "apiserver/member.h"

const void *member_at(const struct api_type *t, const void *obj, struct str path, const struct api_field **ret_field)
{
    struct str rest = path, name;
    while (str_split(&rest, '.', &name)) {
        size_t offset;
        const struct api_field *f = api_field_find(t, name, &offset);
        if (!f) {
            return NULL;
        }
        const void *member = (const char *)obj + offset;
        if (!rest.ptr) {
            *ret_field = f;
            return member;
        }
        if (f->ftype != API_MESSAGE || f->card != API_SINGLE) {
            return NULL;
        }
        obj = f->flags & API_F_POINTER ? *(const void *const *)member : member;
        t = f->message;
        if (!obj) {
            return NULL;
        }
    }
    return NULL;
}

int32_t member_int32(const struct api_type *t, const void *obj, const char *path)
{
    const struct api_field *f;
    const void *m = member_at(t, obj, str_c(path), &f);
    return m && f->ftype == API_INT32 && f->card == API_SINGLE ? *(const int32_t *)m : 0;
}

bool member_set_int32(const struct api_type *t, void *obj, const char *path, int32_t value)
{
    const struct api_field *f;
    char *m = (char *)(uintptr_t)member_at(t, obj, str_c(path), &f);
    if (!m || f->ftype != API_INT32 || f->card != API_SINGLE) {
        return false;
    }
    *(int32_t *)(void *)m = value;
    if (f->has_offset) {
        *(bool *)(m + (f->has_offset - f->offset)) = true;
    }
    return true;
}
