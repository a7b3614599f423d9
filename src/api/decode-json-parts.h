/* What the files of the JSON decoder share; nobody else includes it. decode-json.h tells what it does. */
#ifndef API_DECODE_JSON_PARTS_H
#define API_DECODE_JSON_PARTS_H

#include "api/collector.h"
#include "api/decode-json.h"

/* Where in the object we are, for problems and errors; lives on the stack of the walk. */
struct place {
    const struct place *up;
    struct str name; /* a field or a map's key; absent for a list item */
    size_t index;
    const struct api_type *owner; /* the message whose field this is; NULL for items and keys */
};

struct decoder {
    struct json_reader *r;
    const struct api_json_decode *o;
    bool quiet;    /* inside a union: Go decodes those without looking for problems */
    bool mismatch; /* the error is about types, not syntax */
    struct collector *c;
};

/* ---- decode-json-errors.c: reasons, in Go's words. All return false ---- */

bool decode_too_large(struct decoder *d);
/* 'what' ("unknown", "duplicate") field at 'at': for those who want to know. */
void decode_problem(struct decoder *d, const char *what, const struct place *at);
/* The next value is not what the field ('item': one item of it) is made of. A value that begins nothing is a syntax error. */
bool decode_wrong_kind(struct decoder *d, const struct api_field *f, bool item, const struct place *at);
bool decode_bad_number(struct decoder *d, const struct api_field *f, struct str number, const struct place *at);
bool decode_bad_time(struct decoder *d, struct str text, bool micro);
bool decode_bad_base64(struct decoder *d, struct str text);

/* ---- decode-json-values.c ---- */

/* One value that is no message. */
bool decode_scalar(struct decoder *d, const struct api_field *f, const struct place *at, void *dst);

/* Takes a text that may lie in the input into the arena, when the options want that. */
static inline bool decode_keep(struct decoder *d, struct str *s)
{
    if (d->o->copy && s->ptr >= d->r->begin && s->ptr <= d->r->end) {
        *s = arena_str(d->r->arena, *s);
        if (!s->ptr) {
            return decode_too_large(d);
        }
    }
    return true;
}

#endif
