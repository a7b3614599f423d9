#include "api/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <yaml.h>

#include "api/json-writer.h"
#include "base/encoding.h"

#define TAG(name) "tag:yaml.org,2002:" name

struct anchor {
    struct str name;
    struct val value;
    struct anchor *next;
};

struct place {
    const struct place *up;
    struct str key; /* absent: an index */
    size_t index;
};

struct yaml_reader {
    yaml_parser_t parser;
    struct arena *arena;
    struct val_dups *dups;
    struct err *err;
    struct anchor *anchors;
    size_t nodes;
};

static struct str yaml_str(const unsigned char *p, size_t len)
{
    return str_n((const char *)p, len);
}

static bool no_memory(struct yaml_reader *y)
{
    return err_set(y->err, ERR_TOO_LARGE, "the document needs more memory than it may have");
}

/* The parser's reason, with the line as go-yaml counts it. */
static bool parser_error(struct yaml_reader *y)
{
    const yaml_parser_t *p = &y->parser;
    size_t line = 0;
    if (p->error == YAML_MEMORY_ERROR) {
        return no_memory(y);
    }
    if (p->problem_mark.line != 0) {
        line = p->problem_mark.line + (p->error == YAML_SCANNER_ERROR ? 1 : 0);
    } else if (p->context_mark.line != 0) {
        line = p->context_mark.line;
    }
    const char *problem = p->problem ? p->problem : "unknown problem parsing YAML content";
    if (line) {
        return err_set(y->err, ERR_BAD_REQUEST, "yaml: line %zu: %s", line, problem);
    }
    return err_set(y->err, ERR_BAD_REQUEST, "yaml: %s", problem);
}

/* Takes the next event, which the caller deletes. */
static bool next_event(struct yaml_reader *y, yaml_event_t *ret)
{
    return yaml_parser_parse(&y->parser, ret) ? true : parser_error(y);
}

/* ---- scalars ---- */

static bool one_of(struct str s, const char *const *words)
{
    for (; *words; words++) {
        if (str_eq_c(s, *words)) {
            return true;
        }
    }
    return false;
}

static const char *const true_words[] = { "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL };
static const char *const false_words[] = { "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF",
                                           NULL };
static const char *const null_words[] = { "", "~", "null", "Null", "NULL", NULL };
static const char *const special_floats[] = { ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf",
                                              "+.INF", "-.inf", "-.Inf", "-.INF", NULL };

/* Digits of 'base' to an unsigned number. */
static bool parse_digits(struct str s, unsigned base, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.len == 0) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 99;
        if (d >= base || __builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v)) {
            return false;
        }
    }
    *ret = v;
    return true;
}

/* A whole number as Go's strconv reads it with base 0; what does not fit an int64 becomes a double. */
static bool parse_int(struct str s, struct val *ret)
{
    bool negative = s.len && s.ptr[0] == '-';
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        s = str_sub(s, 1, s.len);
    }
    unsigned base = 10;
    if (s.len > 1 && s.ptr[0] == '0') {
        char c = (char)(s.ptr[1] | 0x20);
        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        s = str_sub(s, base == 8 && c != 'o' ? 1 : 2, s.len);
    }
    uint64_t u;
    if (!parse_digits(s, base, &u)) {
        return false;
    }
    if (u <= (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        *ret = val_int(negative ? (int64_t)(0 - u) : (int64_t)u);
    } else {
        *ret = val_double(negative ? -(double)u : (double)u);
    }
    return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool looks_like_float(struct str s)
{
    size_t i = 0, before = 0, after = 0;
    i += i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+');
    for (; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++) {
        before++;
    }
    if (i < s.len && s.ptr[i] == '.') {
        for (i++; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++) {
            after++;
        }
    }
    if (before + after == 0) {
        return false;
    }
    if (i < s.len && (s.ptr[i] | 0x20) == 'e') {
        i++;
        i += i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+');
        size_t digits = i;
        for (; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++) {
        }
        if (i == digits) {
            return false;
        }
    }
    return i == s.len;
}

/* What a plain scalar means. False only for a number JSON cannot hold. */
static bool resolve_plain(struct str s, struct val *ret, struct err *err)
{
    char c = s.len ? s.ptr[0] : '\0';
    if (one_of(s, null_words)) {
        *ret = val_null();
    } else if (one_of(s, true_words)) {
        *ret = val_bool(true);
    } else if (one_of(s, false_words)) {
        *ret = val_bool(false);
    } else if (one_of(s, special_floats)) {
        return err_set(err, ERR_BAD_REQUEST, "json: unsupported value: %s",
                       c == '-' ? "-Inf" : str_find_char(s, 'n') == 1 || str_find_char(s, 'N') == 1 ? "NaN" : "+Inf");
    } else if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.') {
        /* Underscores between digits are only for the eye. */
        char digits[512];
        size_t n = 0;
        for (size_t i = 0; i < s.len && n < sizeof(digits); i++) {
            if (s.ptr[i] != '_') {
                digits[n++] = s.ptr[i];
            }
        }
        struct str plain = str_n(digits, n);
        double d;
        if (n < sizeof(digits) && c != '.' && parse_int(plain, ret)) {
            return true;
        }
        if (n < sizeof(digits) && looks_like_float(plain)) {
            if (plain.ptr[0] == '+') {
                plain = str_sub(plain, 1, plain.len);
            }
            if (json_number_to_double(plain, &d)) {
                *ret = val_double(d);
                return true;
            }
        }
        *ret = val_string(s);
    } else {
        *ret = val_string(s);
    }
    return true;
}

static bool resolve_tagged(struct yaml_reader *y, struct str s, const char *tag, size_t line, struct val *ret)
{
    struct val v;
    if (strcmp(tag, TAG("str")) == 0 || strcmp(tag, "!") == 0 || strcmp(tag, TAG("timestamp")) == 0) {
        *ret = val_string(s);
        return true;
    }
    if (strcmp(tag, TAG("binary")) == 0) {
        *ret = val_string(STR_NULL);
        if (base64_decode(y->arena, s, &ret->s)) {
            return true;
        }
        return err_set(y->err, ERR_BAD_REQUEST, "yaml: !!binary value contains invalid base64 data");
    }
    if (!resolve_plain(s, &v, y->err)) {
        return false;
    }
    bool ok = (strcmp(tag, TAG("int")) == 0 && v.kind == VAL_INT) ||
              (strcmp(tag, TAG("bool")) == 0 && v.kind == VAL_BOOL) ||
              (strcmp(tag, TAG("null")) == 0 && v.kind == VAL_NULL);
    if (strcmp(tag, TAG("float")) == 0 && (v.kind == VAL_INT || v.kind == VAL_DOUBLE)) {
        v = v.kind == VAL_INT ? val_double((double)v.i) : v;
        ok = true;
    }
    if (!ok) {
        return err_set(y->err, ERR_BAD_REQUEST, "yaml: line %zu: cannot decode `%.*s` as a %.100s", line + 1,
                       (int)MIN(s.len, (size_t)100), s.ptr, tag);
    }
    *ret = v;
    return true;
}

static bool read_scalar(struct yaml_reader *y, const yaml_event_t *e, struct val *ret)
{
    struct str s = arena_str(y->arena, yaml_str(e->data.scalar.value, e->data.scalar.length));
    if (!s.ptr) {
        return no_memory(y);
    }
    if (e->data.scalar.tag) {
        return resolve_tagged(y, s, (const char *)e->data.scalar.tag, e->start_mark.line, ret);
    }
    if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        return resolve_plain(s, ret, y->err);
    }
    *ret = val_string(s);
    return true;
}

/* ---- structure ---- */

static bool read_node(struct yaml_reader *y, yaml_event_t *e, const struct place *up, unsigned depth, struct val *ret);

/* The anchor is noted after its node, so an alias inside it is unknown: no cycles. */
static bool note_anchor(struct yaml_reader *y, const unsigned char *name, const struct val *v)
{
    struct anchor *n = arena_new(y->arena, struct anchor);
    if (!n) {
        return no_memory(y);
    }
    n->name = arena_str(y->arena, str_c((const char *)name));
    n->value = *v;
    n->next = y->anchors;
    y->anchors = n;
    return true;
}

static bool count_nodes(struct yaml_reader *y, size_t n)
{
    y->nodes += n;
    if (y->nodes > YAML_NODES_MAX) {
        return err_set(y->err, ERR_BAD_REQUEST, "yaml: document contains excessive aliasing");
    }
    return true;
}

static bool read_alias(struct yaml_reader *y, const yaml_event_t *e, struct val *ret)
{
    struct str name = str_c((const char *)e->data.alias.anchor);
    for (const struct anchor *n = y->anchors; n; n = n->next) {
        if (str_eq(n->name, name)) {
            /* Counted before it is copied: copying is what the bound is for. */
            if (!count_nodes(y, val_count(&n->value))) {
                return false;
            }
            return val_copy(y->arena, &n->value, false, ret) ? true : no_memory(y);
        }
    }
    return err_set(y->err, ERR_BAD_REQUEST, "yaml: unknown anchor '%.100s' referenced", name.ptr);
}

/* A key's text: what JSON would have for it. */
static bool key_text(struct yaml_reader *y, const struct val *v, struct str *ret)
{
    char text[JSON_DOUBLE_SIZE];
    switch (v->kind) {
    case VAL_STRING: *ret = v->s; return true;
    case VAL_BOOL: *ret = v->b ? STR("true") : STR("false"); return true;
    case VAL_INT: *ret = arena_printf(y->arena, "%lld", (long long)v->i); break;
    case VAL_DOUBLE:
        json_format_double(v->d, text);
        *ret = arena_str(y->arena, str_c(text));
        break;
    case VAL_NULL:
    case VAL_ARRAY:
    case VAL_OBJECT:
        return err_set(y->err, ERR_BAD_REQUEST, "yaml: unsupported map key of type: %s",
                       v->kind == VAL_NULL ? "null" : v->kind == VAL_ARRAY ? "sequence" : "map");
    }
    return ret->ptr ? true : no_memory(y);
}

/* "<<": keys of 'from' (a map or a list of maps, earlier ones first) that 'v' has not. */
static bool merge_into(struct yaml_reader *y, struct val *v, const struct val *from)
{
    if (from->kind == VAL_ARRAY) {
        for (uint32_t i = 0; i < from->n; i++) {
            if (from->items[i].kind != VAL_OBJECT || !merge_into(y, v, &from->items[i])) {
                return err_set(y->err, ERR_BAD_REQUEST, "yaml: map merge requires map or sequence of maps as the value");
            }
        }
        return true;
    }
    if (from->kind != VAL_OBJECT) {
        return err_set(y->err, ERR_BAD_REQUEST, "yaml: map merge requires map or sequence of maps as the value");
    }
    for (uint32_t i = 0; i < from->n; i++) {
        if (!val_get(v, from->members[i].key) && !val_add(y->arena, v, from->members[i].key, from->members[i].value)) {
            return no_memory(y);
        }
    }
    return true;
}

static void write_place(struct buf *b, const struct place *p)
{
    if (!p) {
        return;
    }
    write_place(b, p->up);
    if (p->key.ptr) {
        buf_append(b, p->up ? STR(".") : STR_EMPTY);
        buf_append(b, p->key);
    } else {
        buf_printf(b, "[%zu]", p->index);
    }
}

static void report_dup(struct yaml_reader *y, const struct place *up, struct str key, size_t line)
{
    if (y->dups) {
        struct buf b;
        buf_init(&b, 64 * 1024);
        write_place(&b, &(struct place){ .up = up, .key = key });
        val_dups_add(y->arena, y->dups, buf_str(&b), key, (uint32_t)line);
        buf_deinit(&b);
    }
}

static bool read_member(struct yaml_reader *y, yaml_event_t *key_event, const struct place *up, unsigned depth,
                        struct val *v, struct val *merges)
{
    struct val key_value, value;
    struct str key;
    size_t line = key_event->start_mark.line + 1;
    bool merge = key_event->type == YAML_SCALAR_EVENT && key_event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                 !key_event->data.scalar.tag && key_event->data.scalar.length == 2 &&
                 memcmp(key_event->data.scalar.value, "<<", 2) == 0;
    if (!read_node(y, key_event, up, depth, &key_value) || !key_text(y, &key_value, &key)) {
        return false;
    }
    yaml_event_t e;
    if (!next_event(y, &e)) {
        return false;
    }
    bool ok = read_node(y, &e, &(struct place){ .up = up, .key = key }, depth, &value);
    yaml_event_delete(&e);
    if (!ok) {
        return false;
    }
    if (merge) {
        return val_push(y->arena, merges, value) ? true : no_memory(y);
    }
    struct val *old = val_get(v, key);
    if (old) {
        report_dup(y, up, key, line);
        *old = value;
        return true;
    }
    return val_add(y->arena, v, key, value) ? true : no_memory(y);
}

static bool read_mapping(struct yaml_reader *y, const struct place *up, unsigned depth, struct val *ret)
{
    struct val v = val_object(), merges = val_array();
    for (;;) {
        yaml_event_t e;
        if (!next_event(y, &e)) {
            return false;
        }
        bool end = e.type == YAML_MAPPING_END_EVENT;
        bool ok = end || read_member(y, &e, up, depth, &v, &merges);
        yaml_event_delete(&e);
        if (!ok) {
            return false;
        }
        if (end) {
            break;
        }
    }
    for (uint32_t i = 0; i < merges.n; i++) {
        if (!merge_into(y, &v, &merges.items[i])) {
            return false;
        }
    }
    *ret = v;
    return true;
}

static bool read_sequence(struct yaml_reader *y, const struct place *up, unsigned depth, struct val *ret)
{
    struct val v = val_array();
    for (;;) {
        yaml_event_t e;
        struct val item;
        if (!next_event(y, &e)) {
            return false;
        }
        bool end = e.type == YAML_SEQUENCE_END_EVENT;
        bool ok = end || read_node(y, &e, &(struct place){ .up = up, .index = v.n }, depth, &item);
        yaml_event_delete(&e);
        if (!ok) {
            return false;
        }
        if (end) {
            break;
        }
        if (!val_push(y->arena, &v, item)) {
            return no_memory(y);
        }
    }
    *ret = v;
    return true;
}

static bool read_node(struct yaml_reader *y, yaml_event_t *e, const struct place *up, unsigned depth, struct val *ret)
{
    const unsigned char *anchor = NULL;
    bool ok;
    if (depth > YAML_DEPTH) {
        return err_set(y->err, ERR_BAD_REQUEST, "yaml: exceeded max depth");
    }
    if (!count_nodes(y, 1)) {
        return false;
    }
    if (e->type == YAML_ALIAS_EVENT) {
        return read_alias(y, e, ret);
    }
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        ok = read_scalar(y, e, ret);
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        ok = read_sequence(y, up, depth + 1, ret);
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        ok = read_mapping(y, up, depth + 1, ret);
    } else {
        return err_set(y->err, ERR_BAD_REQUEST, "yaml: did not find a value");
    }
    return ok && (!anchor || note_anchor(y, anchor, ret));
}

/* Aliases are copied, but an anchored node itself stays shared with nothing: its first use is the tree's own. A second
 * document, or a stream that never starts, ends here as well. */
static bool read_stream(struct yaml_reader *y, struct val *ret)
{
    bool have = false;
    for (;;) {
        yaml_event_t e;
        bool ok = true, end = false;
        if (!next_event(y, &e)) {
            return false;
        }
        switch (e.type) {
        case YAML_STREAM_END_EVENT: end = true; break;
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
        case YAML_NO_EVENT: break;
        case YAML_DOCUMENT_START_EVENT:
            if (have) {
                ok = err_set(y->err, ERR_BAD_REQUEST, "yaml: the text has more than one document");
            }
            break;
        case YAML_ALIAS_EVENT:
        case YAML_SCALAR_EVENT:
        case YAML_SEQUENCE_START_EVENT:
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_START_EVENT:
        case YAML_MAPPING_END_EVENT:
            ok = read_node(y, &e, NULL, 0, ret);
            have = true;
            break;
        }
        yaml_event_delete(&e);
        if (!ok || end) {
            return ok;
        }
    }
}

bool yaml_parse(struct arena *a, struct str text, struct val_dups *dups, struct val *ret, struct err *err)
{
    struct yaml_reader y = { .arena = a, .dups = dups, .err = err };
    struct val v = val_null();
    if (!yaml_parser_initialize(&y.parser)) {
        return no_memory(&y);
    }
    yaml_parser_set_encoding(&y.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&y.parser, (const unsigned char *)(text.ptr ? text.ptr : ""), text.len);
    bool ok = read_stream(&y, &v);
    yaml_parser_delete(&y.parser);
    if (ok) {
        *ret = v;
    }
    return ok;
}

bool yaml_or_json_parse(struct arena *a, struct str text, struct val_dups *dups, struct val *ret, struct err *err)
{
    struct str trimmed = str_trim(text);
    if (trimmed.len && trimmed.ptr[0] == '{') {
        return val_parse_json(a, text, JSON_DEPTH, dups, ret, err);
    }
    return yaml_parse(a, text, dups, ret, err);
}

struct str yaml_dups_message(struct arena *a, const struct val_dups *dups)
{
    struct buf b;
    buf_init(&b, 64 * 1024);
    buf_append(&b, STR("yaml: unmarshal errors:"));
    for (const struct val_dup *d = dups->first; d; d = d->next) {
        buf_printf(&b, "\n  line %u: key \"%.*s\" already set in map", d->line, STR_ARG(d->key));
    }
    struct str s = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return s;
}

bool yaml_next_document(struct str *rest, struct str *ret_document)
{
    struct str s = *rest;
    if (!s.ptr) {
        return false;
    }
    for (size_t at = 0; at < s.len;) {
        struct str line = str_sub(s, at, s.len);
        ptrdiff_t newline = str_find_char(line, '\n');
        size_t line_len = newline < 0 ? line.len : (size_t)newline + 1;
        /* The mark that opens the first document ends nothing. */
        if (str_starts(line, STR("---")) && str_trim(str_sub(s, 0, at)).len) {
            *ret_document = str_sub(s, 0, at);
            *rest = str_sub(s, at + line_len, s.len);
            /* "--- value" on one line keeps its value. */
            struct str behind = str_sub(s, at + 3, line_len - 3);
            if (str_trim(behind).len) {
                *rest = str_sub(s, at, s.len);
            }
            return true;
        }
        at += line_len;
    }
    *ret_document = s;
    *rest = STR_NULL;
    return str_trim(s).len > 0;
}

/* ---- writing ---- */

/* Can it stand without quotes and read back as the same string? */
static bool is_plain(struct str s)
{
    struct val v;
    struct err err;
    if (s.len == 0 || s.len > 200) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '/';
        bool inside = c == '.' || c == '-' || c == '+' || c == '@' || c == '=' || c == '(' || c == ')' || c == ';' ||
                      (c == ':' && i + 1 < s.len && s.ptr[i + 1] != ' ') ||
                      (c == ' ' && i + 1 < s.len && s.ptr[i + 1] != '#' && s.ptr[i + 1] != ' ');
        if (!word && !(inside && i > 0)) {
            return false;
        }
    }
    return resolve_plain(s, &v, &err) && v.kind == VAL_STRING && !str_starts(s, STR("---"));
}

/* Can it be written as a literal block? */
static bool is_block(struct str s)
{
    if (str_find_char(s, '\n') < 0 || s.ptr[0] == ' ' || s.ptr[0] == '\n' || !str_is_utf8(s)) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < 0x20 && c != '\n') || c == 0x7f || (c == 0xc2 && i + 1 < s.len) || c == 0xe2 || c == 0xef) {
            return false;
        }
    }
    return true;
}

static void write_indent(struct buf *b, unsigned indent)
{
    for (unsigned i = 0; i < indent; i++) {
        buf_append(b, STR(" "));
    }
}

static void write_block(struct buf *b, struct str s, unsigned indent)
{
    bool one_newline = str_ends(s, STR("\n")), more = str_ends(s, STR("\n\n"));
    buf_append(b, more ? STR("|+\n") : one_newline ? STR("|\n") : STR("|-\n"));
    struct str rest = one_newline ? str_n(s.ptr, s.len - 1) : s, line;
    while (str_split(&rest, '\n', &line)) {
        if (line.len) {
            write_indent(b, indent);
        }
        buf_append(b, line);
        buf_append(b, STR("\n"));
    }
}

/* JSON's double quotes, with what YAML does not take as it is (delete, C1 controls, byte order marks, non-characters) escaped. */
static void write_quoted(struct buf *b, struct str s)
{
    struct buf json;
    if (is_plain(s)) {
        buf_append(b, s);
        return;
    }
    buf_init(&json, b->max);
    json_write_string_plain(&json, s);
    const unsigned char *p = (const unsigned char *)json.ptr, *end = p + json.len;
    for (; p < end; p++) {
        unsigned code = 0, more = 0;
        if (*p == 0x7f) {
            code = 0x7f;
        } else if (*p == 0xc2 && end - p > 1 && p[1] < 0xa0) {
            code = p[1];
            more = 1;
        } else if (*p == 0xef && end - p > 2) {
            unsigned c = 0xf000u | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
            code = c == 0xfeff || c >= 0xfffe ? c : 0;
            more = 2;
        }
        if (code) {
            buf_printf(b, "\\u%04x", code);
            p += more;
        } else {
            buf_append_bytes(b, p, 1);
        }
    }
    b->failed = b->failed || buf_failed(&json);
    buf_deinit(&json);
}

static void write_node(struct buf *b, const struct val *v, unsigned indent, bool in_list);

static bool is_flat(const struct val *v)
{
    return !(v->kind == VAL_OBJECT || v->kind == VAL_ARRAY) || v->n == 0;
}

static void write_flat(struct buf *b, const struct val *v, unsigned indent)
{
    if (v->kind == VAL_OBJECT) {
        buf_append(b, STR("{}\n"));
    } else if (v->kind == VAL_ARRAY) {
        buf_append(b, STR("[]\n"));
    } else if (v->kind == VAL_STRING && indent > 0 && is_block(v->s)) {
        write_block(b, v->s, indent);
    } else {
        if (v->kind == VAL_STRING) {
            write_quoted(b, v->s);
        } else {
            val_write_json(b, v);
        }
        buf_append(b, STR("\n"));
    }
}

/* 'in_list': the first line stands behind "- " already. */
static void write_node(struct buf *b, const struct val *v, unsigned indent, bool in_list)
{
    if (is_flat(v)) {
        write_flat(b, v, indent);
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        if (!in_list || i > 0) {
            write_indent(b, indent);
        }
        if (v->kind == VAL_ARRAY) {
            buf_append(b, STR("- "));
            write_node(b, &v->items[i], indent + 2, true);
            continue;
        }
        const struct val_member *m = &v->members[i];
        write_quoted(b, m->key);
        buf_append(b, STR(":"));
        if (is_flat(&m->value)) {
            buf_append(b, STR(" "));
            write_flat(b, &m->value, indent + 2);
        } else {
            buf_append(b, STR("\n"));
            /* Lists stand under their key without more indentation, as Kubernetes writes them. */
            write_node(b, &m->value, m->value.kind == VAL_ARRAY ? indent : indent + 2, false);
        }
    }
}

void yaml_write(struct buf *b, const struct val *v)
{
    write_node(b, v, 0, false);
}
