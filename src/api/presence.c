#include "api/presence.h"

enum api_presence api_presence(const struct api_field *f, const char *obj, const char *p)
{
    bool omit = (f->flags & (API_F_OMITEMPTY | API_F_OMITZERO)) != 0;
    enum api_presence unset = omit ? API_LEFT_OUT : API_AS_NULL;
    const struct str *s = (const struct str *)(const void *)p;

    if (f->card != API_SINGLE) {
        return omit && *(const size_t *)(const void *)(p + sizeof(void *)) == 0 ? API_LEFT_OUT : API_AS_VALUE;
    }
    if (f->flags & API_F_POINTER) {
        if (f->has_offset) {
            return *(obj + f->has_offset) ? API_AS_VALUE : unset;
        }
        switch (f->ftype) {
        case API_TIME:
        case API_MICROTIME:
            return ((const struct api_time *)(const void *)p)->set ? API_AS_VALUE : unset;
        case API_INT_OR_STRING:
            return ((const struct api_int_or_string *)(const void *)p)->kind != API_IOS_UNSET ? API_AS_VALUE : unset;
        case API_MESSAGE:
            return *(void *const *)(const void *)p ? API_AS_VALUE : unset;
        default:
            return s->ptr ? API_AS_VALUE : unset;
        }
    }
    if (!omit) {
        return API_AS_VALUE;
    }
    switch ((enum api_ftype)f->ftype) {
    case API_BOOL:
        return *(const bool *)(const void *)p ? API_AS_VALUE : API_LEFT_OUT;
    case API_INT32:
    case API_UINT32:
    case API_ENUM:
        return *(const uint32_t *)(const void *)p ? API_AS_VALUE : API_LEFT_OUT;
    case API_INT64:
    case API_UINT64:
        return *(const uint64_t *)(const void *)p ? API_AS_VALUE : API_LEFT_OUT;
    case API_DOUBLE:
        return *(const double *)(const void *)p < 0 || *(const double *)(const void *)p > 0 ? API_AS_VALUE : API_LEFT_OUT;
    case API_STRING:
    case API_BYTES:
    case API_DURATION:
        return s->len ? API_AS_VALUE : API_LEFT_OUT;
    case API_TIME:
    case API_MICROTIME:
        return ((const struct api_time *)(const void *)p)->set ? API_AS_VALUE : API_LEFT_OUT;
    case API_RAW: /* a Go struct: 'omitempty' never leaves it out */
    case API_QUANTITY:
    case API_INT_OR_STRING:
    case API_MESSAGE:
    case API_STRLIST:
    case API_FTYPE_MAX:
        break;
    }
    return API_AS_VALUE;
}
