/* How a field shows in JSON, by the rule of its Go type: left out, null, or a value (which may be empty). */
#ifndef API_PRESENCE_H
#define API_PRESENCE_H

#include "api/type.h"

enum api_presence { API_LEFT_OUT, API_AS_NULL, API_AS_VALUE };

/* 'obj' is the message that has the field, 'p' its member. */
enum api_presence api_presence(const struct api_field *f, const char *obj, const char *p);

#endif
