#include <stdio.h>

#include "api/decode-json-parts.h"
#include "base/buf.h"

bool decode_too_large(struct decoder *d)
{
    d->mismatch = true;
    return json_fail(d->r, ERR_TOO_LARGE, "the object needs more memory than it may have");
}

static void write_place(struct buf *b, const struct place *at)
{
    if (!at) {
        return;
    }
    write_place(b, at->up);
    if (!at->name.ptr) {
        buf_printf(b, "[%zu]", at->index);
        return;
    }
    if (b->len) {
        buf_append_char(b, '.');
    }
    buf_append(b, at->name);
}

void decode_problem(struct decoder *d, const char *what, const struct place *at)
{
    struct buf b, path;

    if (!d->o->problems || d->quiet || d->o->problems->n >= API_PROBLEMS_MAX) {
        return;
    }
    buf_init(&path, 4096);
    buf_init(&b, 5000);
    write_place(&path, at);
    buf_printf(&b, "%s field \"%.*s\"", what, STR_ARG(buf_str(&path)));
    api_problems_add(d->r->arena, d->o->problems, arena_str(d->r->arena, buf_str(&b)));
    buf_deinit(&path);
    buf_deinit(&b);
}

/* The Go type of a field's value, or of one item of it, as Go names it in errors. */
static void write_go_type(struct buf *b, const struct api_field *f, bool item)
{
    if (!item && f->card == API_LIST) {
        buf_append(b, STR("[]"));
    }
    if (!item && f->card == API_MAP) {
        if (f->ftype == API_QUANTITY) {
            buf_append(b, STR("v1.ResourceList"));
            return;
        }
        buf_append(b, STR("map[string]"));
    }
    switch ((enum api_ftype)f->ftype) {
    case API_BOOL:
        buf_append(b, STR("bool"));
        break;
    case API_INT32:
    case API_ENUM:
    case API_INT_OR_STRING:
        buf_append(b, STR("int32"));
        break;
    case API_INT64:
        buf_append(b, STR("int64"));
        break;
    case API_UINT32:
        buf_append(b, STR("uint32"));
        break;
    case API_UINT64:
        buf_append(b, STR("uint64"));
        break;
    case API_DOUBLE:
        buf_append(b, STR("float64"));
        break;
    case API_BYTES:
        buf_append(b, STR("[]uint8"));
        break;
    case API_MESSAGE: {
        struct str head, rest;

        if (str_cut(f->message->name, '.', &head, &rest)) {
            buf_append(b, rest);
        }
        break;
    }
    case API_STRLIST:
        buf_append(b, STR("v1.ExtraValue"));
        break;
    case API_QUANTITY:
        buf_append(b, STR("resource.Quantity"));
        break;
    case API_RAW:
        buf_append(b, STR("runtime.RawExtension"));
        break;
    case API_STRING:
    case API_TIME:
    case API_MICROTIME:
    case API_DURATION:
    case API_FTYPE_MAX:
        buf_append(b, STR("string"));
        break;
    }
}

/* The innermost struct around 'at', and the path without indices and keys: "PodSpec", "spec.containers". */
static const struct api_type *write_go_path(struct buf *b, const struct place *at)
{
    const struct api_type *owner;

    if (!at) {
        return NULL;
    }
    owner = write_go_path(b, at->up);
    if (!at->owner) {
        return owner;
    }
    if (b->len) {
        buf_append_char(b, '.');
    }
    buf_append(b, at->name);
    return at->owner;
}

/* "json: cannot unmarshal <what> into Go struct field PodSpec.spec.containers of type <type>". */
static bool go_mismatch(struct decoder *d, struct str what, const struct place *at, struct str type)
{
    struct buf path;
    const struct api_type *owner;

    buf_init(&path, 512);
    owner = write_go_path(&path, at);
    d->mismatch = true;
    if (owner) {
        ptrdiff_t dot = str_rfind_char(owner->name, '.');
        struct str name = str_sub(owner->name, (size_t)(dot + 1), owner->name.len);

        (void)json_fail(d->r, ERR_BAD_REQUEST, "json: cannot unmarshal %.*s into Go struct field %.*s.%.*s of type %.*s",
                        STR_ARG(what), STR_ARG(name), STR_ARG(buf_str(&path)), STR_ARG(type));
    } else {
        (void)json_fail(d->r, ERR_BAD_REQUEST, "json: cannot unmarshal %.*s into Go value of type %.*s", STR_ARG(what),
                        STR_ARG(type));
    }
    buf_deinit(&path);
    return false;
}

bool decode_wrong_kind(struct decoder *d, const struct api_field *f, bool item, const struct place *at)
{
    enum json_kind have = json_peek(d->r);
    struct buf type;

    if (have == JSON_NONE) {
        return json_skip(d->r);
    }
    buf_init(&type, 256);
    write_go_type(&type, f, item);
    (void)go_mismatch(d, str_c(json_kind_name(have)), at, buf_str(&type));
    buf_deinit(&type);
    return false;
}

bool decode_bad_number(struct decoder *d, const struct api_field *f, struct str number, const struct place *at)
{
    char what[96];
    struct buf type;
    int n = snprintf(what, sizeof(what), "number %.*s", (int)MIN(number.len, (size_t)64), number.ptr);

    buf_init(&type, 256);
    write_go_type(&type, f, true);
    (void)go_mismatch(d, str_n(what, (size_t)n), at, buf_str(&type));
    buf_deinit(&type);
    return false;
}

/* Go's time.Parse names the layout and the piece that did not fit it. */
bool decode_bad_time(struct decoder *d, struct str text, bool micro)
{
    static const struct {
        const char *layout;
        size_t width;
    } pieces[] = { { "2006", 4 }, { "-", 1 }, { "01", 2 }, { "-", 1 }, { "02", 2 }, { "T", 1 },
                   { "15", 2 },   { ":", 1 }, { "04", 2 }, { ":", 1 }, { "05", 2 } };
    const char *layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
    const char *piece = "Z07:00";
    size_t at = 0;

    d->mismatch = true;
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        bool fits = text.len - at >= pieces[i].width;

        for (size_t k = 0; fits && k < pieces[i].width; k++) {
            char c = text.ptr[at + k], want = pieces[i].layout[k];

            fits = want >= '0' && want <= '9' ? c >= '0' && c <= '9' : c == want;
        }
        if (!fits) {
            piece = pieces[i].layout;
            break;
        }
        at += pieces[i].width;
    }
    return json_fail(d->r, ERR_BAD_REQUEST, "parsing time \"%.*s\" as \"%s\": cannot parse \"%.*s\" as \"%s\"",
                     (int)MIN(text.len, (size_t)200), text.ptr, layout, (int)MIN(text.len - at, (size_t)200), text.ptr + at, piece);
}

/* Where Go's decoder stops in standard base64 text: its error tells the offset. */
static size_t base64_bad_offset(struct str s)
{
    size_t digits = 0, quantum = 0;

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';

        if (c == '\r' || c == '\n') {
            continue;
        }
        if (!digit) {
            if (c == '=' && digits % 4 >= 2) {
                /* Padding: complete, and then nothing more may come. */
                size_t k = i + 1, need = digits % 4 == 2;

                while (k < s.len && (need || s.ptr[k] == '\r' || s.ptr[k] == '\n')) {
                    if (s.ptr[k] == '=') {
                        need = 0;
                    } else if (s.ptr[k] != '\r' && s.ptr[k] != '\n') {
                        return k;
                    }
                    k++;
                }
                return need ? s.len : k;
            }
            return i;
        }
        if (digits % 4 == 0) {
            quantum = i;
        }
        digits++;
    }
    return digits % 4 == 0 ? 0 : quantum;
}

bool decode_bad_base64(struct decoder *d, struct str text)
{
    d->mismatch = true;
    return json_fail(d->r, ERR_BAD_REQUEST, "illegal base64 data at input byte %zu", base64_bad_offset(text));
}
