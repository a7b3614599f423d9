/* How a field shows in JSON, by the rule of its Go type: left out, null, or a value (which may be empty). */
#ifndef API_PRESENCE_H
#define API_PRESENCE_H

#include "api/type.h"

enum api_presence { API_LEFT_OUT, API_AS_NULL, API_AS_VALUE };

/* 'obj' is the message that has the field, 'p' its member. Inline: encoders ask it of every field a type has. */
static inline enum api_presence api_presence(const struct api_field *f, const char *obj, const char *p)
{
    bool there = true;

    switch ((enum api_probe)f->probe) {
    case API_PROBE_NONE:
        break;
    case API_PROBE_BYTE:
        there = *p != 0;
        break;
    case API_PROBE_HAS:
        there = *(obj + f->has_offset) != 0;
        break;
    case API_PROBE_WORD:
        there = *(const uint32_t *)(const void *)p != 0;
        break;
    case API_PROBE_LONG:
        there = *(const uint64_t *)(const void *)p != 0;
        break;
    case API_PROBE_COUNT:
        there = *(const size_t *)(const void *)(p + sizeof(void *)) != 0;
        break;
    case API_PROBE_TIME:
        there = ((const struct api_time *)(const void *)p)->set;
        break;
    case API_PROBE_DOUBLE:
        there = *(const double *)(const void *)p < 0 || *(const double *)(const void *)p > 0;
        break;
    }
    return there ? API_AS_VALUE : f->flags & (API_F_OMITEMPTY | API_F_OMITZERO) ? API_LEFT_OUT : API_AS_NULL;
}

#endif
