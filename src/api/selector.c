#include "api/selector.h"

#include <stdlib.h>

#include "api/gen/meta_v1.h"
#include "api/json-writer.h"
#include "api/names.h"

/* ---- requirements ---- */

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the selector needs more memory than it may have");
}

static int req_cmp(const void *a, const void *b)
{
    const struct selector_req *x = a, *y = b;
    return str_cmp(x->key, y->key);
}

/* "field: Invalid value: "value": reasons", as field.Invalid prints. */
static bool invalid(struct err *err, const char *field, struct str value, const struct names_errs *e)
{
    struct buf b;
    buf_init(&b, 64 * 1024);
    buf_printf(&b, "%s: Invalid value: ", field);
    json_write_string_plain(&b, str_sub(value, 0, 300));
    for (unsigned i = 0; i < e->n; i++) {
        buf_printf(&b, "%s%s", i ? "; " : ": ", e->msg[i]);
    }
    err_set(err, ERR_BAD_REQUEST, "%.*s", STR_ARG(buf_str(&b)));
    buf_deinit(&b);
    return false;
}

static bool check_key(struct str key, const char *field, struct err *err)
{
    struct names_errs e = { 0 };
    return names_qualified(key, &e) || invalid(err, field, key, &e);
}

static bool check_count(const struct selector_req *r, const char *message, struct err *err)
{
    struct buf b;
    buf_init(&b, 64 * 1024);
    for (size_t i = 0; i < r->n_values; i++) {
        buf_append(&b, i ? STR(",") : STR_EMPTY);
        json_write_string(&b, str_sub(r->values[i], 0, 64));
    }
    /* Go prints a nil list as null, and an empty one as []. */
    err_set(err, ERR_BAD_REQUEST, "values: Invalid value: [%.*s]: %s", STR_ARG(str_sub(buf_str(&b), 0, 600)), message);
    buf_deinit(&b);
    return false;
}

static bool check_req(struct selector_req *r, struct err *err)
{
    struct names_errs e = { 0 };
    if (!check_key(r->key, "key", err)) {
        return false;
    }
    switch (r->op) {
    case SELECTOR_IN:
    case SELECTOR_NOT_IN:
        if (r->n_values == 0) {
            return check_count(r, "for 'in', 'notin' operators, values set can't be empty", err);
        }
        break;
    case SELECTOR_EQUALS:
    case SELECTOR_DOUBLE_EQUALS:
    case SELECTOR_NOT_EQUALS:
        if (r->n_values != 1) {
            return check_count(r, "exact-match compatibility requires one single value", err);
        }
        break;
    case SELECTOR_EXISTS:
    case SELECTOR_NOT_EXISTS:
        if (r->n_values != 0) {
            return check_count(r, "values set must be empty for exists and does not exist", err);
        }
        break;
    case SELECTOR_GT:
    case SELECTOR_LT:
        if (r->n_values != 1) {
            return check_count(r, "for 'Gt', 'Lt' operators, exactly one value is required", err);
        }
        if (!str_to_i64(r->values[0], &r->number)) {
            struct names_errs number = { .msg = { "for 'Gt', 'Lt' operators, the value must be an integer" }, .n = 1 };
            return invalid(err, "values[0]", r->values[0], &number);
        }
        break;
    }
    for (size_t i = 0; i < r->n_values; i++) {
        if (!names_label_value(r->values[i], &e)) {
            char field[384];
            snprintf(field, sizeof(field), "values[%zu][%.*s]", i, STR_ARG(str_sub(r->key, 0, 320)));
            return invalid(err, field, r->values[i], &e);
        }
    }
    return true;
}

static void sort_values(struct selector_req *r)
{
    size_t n = 0;
    if (r->n_values < 2) {
        return;
    }
    qsort(r->values, r->n_values, sizeof(*r->values), str_cmp_qsort);
    for (size_t i = 0; i < r->n_values; i++) {
        if (i == 0 || !str_eq(r->values[i], r->values[n - 1])) {
            r->values[n++] = r->values[i];
        }
    }
    r->n_values = n;
}

/* ---- the query form ---- */

enum token { T_END, T_ID, T_COMMA, T_OPEN, T_CLOSE, T_EQ, T_EQ2, T_NE, T_NOT, T_GT, T_LT, T_IN, T_NOT_IN };

struct parser {
    struct arena *arena;
    struct str text;
    size_t pos;
    struct err *err;
    struct selector_req *reqs;
    size_t n, capacity;
};

static bool is_special(char c)
{
    return c && strchr("=!(),<>", c);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Reads the token at '*pos'. In 'values' the words "in" and "notin" are identifiers. */
static enum token lex(const struct parser *p, size_t *pos, bool values, struct str *ret_text)
{
    static const struct {
        const char *text;
        enum token token;
    } symbols[] = { { "==", T_EQ2 }, { "!=", T_NE }, { "=", T_EQ }, { "!", T_NOT }, { "(", T_OPEN },
                    { ")", T_CLOSE }, { ",", T_COMMA }, { ">", T_GT }, { "<", T_LT } };
    size_t i = *pos;
    while (i < p->text.len && is_space(p->text.ptr[i])) {
        i++;
    }
    struct str rest = str_n(p->text.ptr + i, p->text.len - i);
    if (rest.len == 0) {
        *pos = i;
        *ret_text = STR_EMPTY;
        return T_END;
    }
    for (size_t s = 0; s < ARRAY_SIZE(symbols); s++) {
        struct str symbol = str_c(symbols[s].text);
        if (str_starts(rest, symbol)) {
            *pos = i + symbol.len;
            *ret_text = str_n(rest.ptr, symbol.len);
            return symbols[s].token;
        }
    }
    size_t n = 0;
    while (n < rest.len && !is_special(rest.ptr[n]) && !is_space(rest.ptr[n])) {
        n++;
    }
    if (n == 0) {
        n = 1;
    }
    *pos = i + n;
    *ret_text = str_n(rest.ptr, n);
    if (!values && str_eq_c(*ret_text, "in")) {
        return T_IN;
    }
    if (!values && str_eq_c(*ret_text, "notin")) {
        return T_NOT_IN;
    }
    return T_ID;
}

static enum token look(const struct parser *p, struct str *ret_text)
{
    size_t pos = p->pos;
    return lex(p, &pos, true, ret_text);
}

static enum token take(struct parser *p, struct str *ret_text)
{
    return lex(p, &p->pos, true, ret_text);
}

static bool unexpected(struct parser *p, struct str found, const char *expected)
{
    return err_set(p->err, ERR_BAD_REQUEST, "found '%.*s'%s", STR_ARG(str_sub(found, 0, 300)), expected);
}

static bool add_value(struct parser *p, struct selector_req *r, size_t *capacity, struct str value)
{
    if (r->n_values == *capacity) {
        size_t more = *capacity ? *capacity * 2 : 4;
        struct str *values = arena_grow_n(p->arena, r->values, r->n_values, more, sizeof(*values));
        if (!values) {
            return no_memory(p->err);
        }
        r->values = values;
        *capacity = more;
    }
    r->values[r->n_values++] = value.ptr ? value : STR_EMPTY;
    return true;
}

/* What stands between the parentheses of in and notin; "(,a)" has an empty value, as upstream reads it. */
static bool parse_list(struct parser *p, struct selector_req *r)
{
    size_t capacity = 0;
    struct str text;
    for (;;) {
        enum token t = take(p, &text);
        if (t == T_ID) {
            if (!add_value(p, r, &capacity, text)) {
                return false;
            }
            t = look(p, &text);
            if (t == T_CLOSE) {
                return true;
            }
            if (t != T_COMMA) {
                return unexpected(p, text, ", expected: ',' or ')'");
            }
        } else if (t == T_COMMA) {
            if (r->n_values == 0 && !add_value(p, r, &capacity, STR_EMPTY)) {
                return false;
            }
            t = look(p, &text);
            if (t == T_CLOSE) {
                return add_value(p, r, &capacity, STR_EMPTY);
            }
            if (t == T_COMMA) {
                take(p, &text);
                if (!add_value(p, r, &capacity, STR_EMPTY)) {
                    return false;
                }
            }
        } else {
            return unexpected(p, text, ", expected: ',', or identifier");
        }
    }
}

static bool parse_set(struct parser *p, struct selector_req *r)
{
    struct str text;
    if (take(p, &text) != T_OPEN) {
        return unexpected(p, text, " expected: '('");
    }
    switch (look(p, &text)) {
    case T_ID:
    case T_COMMA:
        if (!parse_list(p, r)) {
            return false;
        }
        return take(p, &text) == T_CLOSE || unexpected(p, text, ", expected: ')'");
    case T_CLOSE: take(p, &text); return true;
    case T_END:
    case T_OPEN:
    case T_EQ:
    case T_EQ2:
    case T_NE:
    case T_NOT:
    case T_GT:
    case T_LT:
    case T_IN:
    case T_NOT_IN: break;
    }
    return unexpected(p, text, ", expected: ',', ')' or identifier");
}

static bool parse_exact(struct parser *p, struct selector_req *r)
{
    size_t capacity = 0;
    struct str text;
    enum token t = look(p, &text);
    if (t == T_END || t == T_COMMA) {
        return add_value(p, r, &capacity, STR_EMPTY);
    }
    t = take(p, &text);
    return t == T_ID ? add_value(p, r, &capacity, text) : unexpected(p, text, ", expected: identifier");
}

static bool parse_operator(struct parser *p, enum selector_op *ret)
{
    struct str text;
    switch (lex(p, &p->pos, false, &text)) {
    case T_IN: *ret = SELECTOR_IN; return true;
    case T_NOT_IN: *ret = SELECTOR_NOT_IN; return true;
    case T_EQ: *ret = SELECTOR_EQUALS; return true;
    case T_EQ2: *ret = SELECTOR_DOUBLE_EQUALS; return true;
    case T_NE: *ret = SELECTOR_NOT_EQUALS; return true;
    case T_GT: *ret = SELECTOR_GT; return true;
    case T_LT: *ret = SELECTOR_LT; return true;
    case T_END:
    case T_ID:
    case T_COMMA:
    case T_OPEN:
    case T_CLOSE:
    case T_NOT: break;
    }
    return unexpected(p, text, ", expected: in, notin, =, ==, !=, gt, lt");
}

static bool parse_req(struct parser *p, struct selector_req *r)
{
    struct str text;
    bool negate = false;
    enum token t = take(p, &text);
    if (t == T_NOT) {
        negate = true;
        t = take(p, &text);
    }
    if (t != T_ID) {
        return unexpected(p, text, ", expected: identifier");
    }
    if (!check_key(text, "<nil>", p->err)) {
        return false;
    }
    *r = (struct selector_req){ .key = text };
    t = look(p, &text);
    if (negate || t == T_END || t == T_COMMA) {
        r->op = negate ? SELECTOR_NOT_EXISTS : SELECTOR_EXISTS;
        return true;
    }
    if (!parse_operator(p, &r->op)) {
        return false;
    }
    bool set = r->op == SELECTOR_IN || r->op == SELECTOR_NOT_IN;
    if (!(set ? parse_set(p, r) : parse_exact(p, r))) {
        return false;
    }
    sort_values(r);
    return check_req(r, p->err);
}

static bool add_req(struct parser *p, const struct selector_req *r)
{
    if (p->n == p->capacity) {
        size_t more = p->capacity ? p->capacity * 2 : 4;
        struct selector_req *reqs = arena_grow_n(p->arena, p->reqs, p->n, more, sizeof(*reqs));
        if (!reqs) {
            return no_memory(p->err);
        }
        p->reqs = reqs;
        p->capacity = more;
    }
    p->reqs[p->n++] = *r;
    return true;
}

static bool parse_all(struct parser *p)
{
    struct str text;
    for (;;) {
        enum token t = look(p, &text);
        if (t == T_END) {
            return true;
        }
        if (t != T_ID && t != T_NOT) {
            return unexpected(p, text, ", expected: !, identifier, or 'end of string'");
        }
        struct selector_req r;
        if (!parse_req(p, &r)) {
            return err_wrap(p->err, "unable to parse requirement");
        }
        if (!add_req(p, &r)) {
            return false;
        }
        t = take(p, &text);
        if (t == T_END) {
            return true;
        }
        if (t != T_COMMA) {
            return unexpected(p, text, ", expected: ',' or 'end of string'");
        }
        t = look(p, &text);
        if (t != T_ID && t != T_NOT) {
            return unexpected(p, text, ", expected: identifier after ','");
        }
    }
}

bool selector_parse(struct arena *a, struct str text, struct selector *ret, struct err *err)
{
    struct parser p = { .arena = a, .text = text.ptr ? text : STR_EMPTY, .err = err };
    if (!parse_all(&p)) {
        return false;
    }
    if (p.n > 1) {
        qsort(p.reqs, p.n, sizeof(*p.reqs), req_cmp);
    }
    *ret = (struct selector){ .reqs = p.reqs, .n = p.n };
    return true;
}

/* ---- from objects ---- */

bool selector_from_pairs(struct arena *a, const struct api_str_pair *pairs, size_t n, struct selector *ret)
{
    struct selector s = { .n = n };
    s.reqs = n ? arena_new_n(a, struct selector_req, n) : NULL;
    struct str *values = n ? arena_new_n(a, struct str, n) : NULL;
    if (n && (!s.reqs || !values)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = pairs[i].value.ptr ? pairs[i].value : STR_EMPTY;
        s.reqs[i] = (struct selector_req){ .key = pairs[i].key, .op = SELECTOR_EQUALS, .values = &values[i],
                                           .n_values = 1 };
    }
    if (n > 1) {
        qsort(s.reqs, n, sizeof(*s.reqs), req_cmp);
    }
    *ret = s;
    return true;
}

static bool req_from_expression(struct arena *a, const struct meta_v1_label_selector_requirement *e,
                                struct selector_req *ret, struct err *err)
{
    static const struct {
        const char *word;
        enum selector_op op;
    } ops[] = { { "In", SELECTOR_IN }, { "NotIn", SELECTOR_NOT_IN }, { "Exists", SELECTOR_EXISTS },
                { "DoesNotExist", SELECTOR_NOT_EXISTS } };
    struct selector_req r = { .key = e->key, .n_values = e->n_values };
    size_t i = 0;
    while (i < ARRAY_SIZE(ops) && !str_eq_c(e->operator, ops[i].word)) {
        i++;
    }
    if (i == ARRAY_SIZE(ops)) {
        return err_set(err, ERR_INVALID, "\"%.*s\" is not a valid label selector operator",
                       STR_ARG(str_sub(e->operator, 0, 100)));
    }
    r.op = ops[i].op;
    /* Sorted below, so they are copied. */
    if (e->n_values) {
        r.values = arena_grow_n(a, e->values, e->n_values, e->n_values, sizeof(*e->values));
        if (!r.values) {
            return no_memory(err);
        }
    }
    sort_values(&r);
    *ret = r;
    return check_req(ret, err);
}

bool selector_from_label_selector(struct arena *a, const struct meta_v1_label_selector *ls, struct selector *ret,
                                  struct err *err)
{
    struct selector s;
    if (!ls) {
        *ret = (struct selector){ .nothing = true };
        return true;
    }
    if (!selector_from_pairs(a, ls->match_labels, ls->n_match_labels, &s)) {
        return no_memory(err);
    }
    for (size_t i = 0; i < s.n; i++) {
        if (!check_req(&s.reqs[i], err)) {
            return false;
        }
    }
    if (ls->n_match_expressions) {
        s.reqs = arena_grow_n(a, s.reqs, s.n, s.n + ls->n_match_expressions, sizeof(*s.reqs));
        if (!s.reqs) {
            return no_memory(err);
        }
        for (size_t i = 0; i < ls->n_match_expressions; i++) {
            if (!req_from_expression(a, &ls->match_expressions[i], &s.reqs[s.n++], err)) {
                return false;
            }
        }
        qsort(s.reqs, s.n, sizeof(*s.reqs), req_cmp);
    }
    *ret = s;
    return true;
}

/* ---- matching ---- */

static const struct str *find_label(const struct api_str_pair *labels, size_t n, struct str key)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = str_cmp(labels[middle].key, key);
        if (c == 0) {
            return &labels[middle].value;
        }
        if (c < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static bool has_value(const struct selector_req *r, struct str v)
{
    for (size_t i = 0; i < r->n_values; i++) {
        if (str_eq(r->values[i], v)) {
            return true;
        }
    }
    return false;
}

static bool req_matches(const struct selector_req *r, const struct str *label)
{
    int64_t number;
    switch (r->op) {
    case SELECTOR_IN:
    case SELECTOR_EQUALS:
    case SELECTOR_DOUBLE_EQUALS: return label && has_value(r, *label);
    case SELECTOR_NOT_IN:
    case SELECTOR_NOT_EQUALS: return !label || !has_value(r, *label);
    case SELECTOR_EXISTS: return label != NULL;
    case SELECTOR_NOT_EXISTS: return label == NULL;
    case SELECTOR_GT: return label && str_to_i64(*label, &number) && number > r->number;
    case SELECTOR_LT: return label && str_to_i64(*label, &number) && number < r->number;
    }
    return false;
}

bool selector_matches(const struct selector *s, const struct api_str_pair *labels, size_t n_labels)
{
    if (s->nothing) {
        return false;
    }
    for (size_t i = 0; i < s->n; i++) {
        if (!req_matches(&s->reqs[i], find_label(labels, n_labels, s->reqs[i].key))) {
            return false;
        }
    }
    return true;
}

struct str selector_exact(const struct selector *s, struct str key)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct selector_req *r = &s->reqs[i];
        bool one = r->op == SELECTOR_EQUALS || r->op == SELECTOR_DOUBLE_EQUALS || r->op == SELECTOR_IN;
        if (one && r->n_values == 1 && str_eq(r->key, key)) {
            return r->values[0];
        }
    }
    return STR_NULL;
}

struct str selector_str(struct arena *a, const struct selector *s)
{
    static const char *const ops[] = { [SELECTOR_IN] = " in ", [SELECTOR_NOT_IN] = " notin ", [SELECTOR_EQUALS] = "=",
                                       [SELECTOR_DOUBLE_EQUALS] = "==", [SELECTOR_NOT_EQUALS] = "!=",
                                       [SELECTOR_EXISTS] = "", [SELECTOR_NOT_EXISTS] = "", [SELECTOR_GT] = ">",
                                       [SELECTOR_LT] = "<" };
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    for (size_t i = 0; i < s->n; i++) {
        const struct selector_req *r = &s->reqs[i];
        bool set = r->op == SELECTOR_IN || r->op == SELECTOR_NOT_IN;
        buf_append(&b, i ? STR(",") : STR_EMPTY);
        buf_append(&b, r->op == SELECTOR_NOT_EXISTS ? STR("!") : STR_EMPTY);
        buf_append(&b, r->key);
        buf_append(&b, str_c(ops[r->op]));
        buf_append(&b, set ? STR("(") : STR_EMPTY);
        for (size_t v = 0; v < r->n_values; v++) {
            buf_append(&b, v ? STR(",") : STR_EMPTY);
            buf_append(&b, r->values[v]);
        }
        buf_append(&b, set ? STR(")") : STR_EMPTY);
    }
    struct str text = buf_failed(&b) ? STR_NULL : arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return text;
}

/* ---- field selectors ---- */

/* The next term up to a ',' that no '\\' stands before. */
static bool next_term(struct str *rest, struct str *ret)
{
    if (!rest->ptr) {
        return false;
    }
    for (size_t i = 0; i < rest->len; i++) {
        if (rest->ptr[i] == '\\') {
            i++;
        } else if (rest->ptr[i] == ',') {
            *ret = str_n(rest->ptr, i);
            *rest = str_n(rest->ptr + i + 1, rest->len - i - 1);
            return true;
        }
    }
    *ret = *rest;
    *rest = STR_NULL;
    return true;
}

static bool unescape(struct arena *a, struct str s, struct str *ret, struct err *err)
{
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;
    if (!out) {
        return no_memory(err);
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\') {
            char next = i + 1 < s.len ? s.ptr[i + 1] : '\0';
            if (next != '\\' && next != ',' && next != '=') {
                return err_set(err, ERR_BAD_REQUEST, "invalid field selector: invalid escape sequence: %.*s",
                               STR_ARG(str_sub(s, i, 2)));
            }
            c = next;
            i++;
        } else if (c == ',' || c == '=') {
            return err_set(err, ERR_BAD_REQUEST, "invalid field selector: unescaped character in value: %d", c);
        }
        out[n++] = c;
    }
    *ret = str_n(out, n);
    return true;
}

static bool parse_term(struct arena *a, struct str text, struct str part, struct field_term *ret, struct err *err)
{
    static const char *const ops[] = { "!=", "==", "=" };
    for (size_t i = 0; i < part.len; i++) {
        for (size_t o = 0; o < ARRAY_SIZE(ops); o++) {
            struct str rest = str_n(part.ptr + i, part.len - i);
            if (str_starts(rest, str_c(ops[o]))) {
                ret->field = str_n(part.ptr, i);
                ret->negate = o == 0;
                return unescape(a, str_sub(rest, strlen(ops[o]), rest.len), &ret->value, err);
            }
        }
    }
    return err_set(err, ERR_BAD_REQUEST, "invalid selector: '%.*s'; can't understand '%.*s'",
                   STR_ARG(str_sub(text, 0, 300)), STR_ARG(str_sub(part, 0, 300)));
}

static int term_cmp(const void *a, const void *b)
{
    const struct field_term *x = a, *y = b;
    int c = str_cmp(x->field, y->field);
    return c ? c : str_cmp(x->value, y->value);
}

bool field_selector_parse(struct arena *a, struct str text, struct field_selector *ret, struct err *err)
{
    struct field_selector s = { 0 };
    struct str rest = text, part;
    size_t capacity = 0;
    while (next_term(&rest, &part)) {
        struct field_term t;
        if (part.len == 0) {
            continue;
        }
        if (!parse_term(a, text, part, &t, err)) {
            return false;
        }
        if (s.n == capacity) {
            capacity = capacity ? capacity * 2 : 2;
            s.terms = arena_grow_n(a, s.terms, s.n, capacity, sizeof(*s.terms));
            if (!s.terms) {
                return no_memory(err);
            }
        }
        s.terms[s.n++] = t;
    }
    if (s.n > 1) {
        qsort(s.terms, s.n, sizeof(*s.terms), term_cmp);
    }
    *ret = s;
    return true;
}

bool field_selector_matches(const struct field_selector *s, struct str (*get)(void *object, struct str field), void *object)
{
    for (size_t i = 0; i < s->n; i++) {
        if (str_eq(get(object, s->terms[i].field), s->terms[i].value) == s->terms[i].negate) {
            return false;
        }
    }
    return true;
}

struct str field_selector_exact(const struct field_selector *s, struct str field)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!s->terms[i].negate && str_eq(s->terms[i].field, field)) {
            return s->terms[i].value;
        }
    }
    return STR_NULL;
}

struct str field_selector_str(struct arena *a, const struct field_selector *s)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    for (size_t i = 0; i < s->n; i++) {
        buf_append(&b, i ? STR(",") : STR_EMPTY);
        buf_append(&b, s->terms[i].field);
        buf_append(&b, s->terms[i].negate ? STR("!=") : STR("="));
        for (size_t c = 0; c < s->terms[i].value.len; c++) {
            char v = s->terms[i].value.ptr[c];
            buf_append(&b, v == '\\' || v == ',' || v == '=' ? STR("\\") : STR_EMPTY);
            buf_append_bytes(&b, &v, 1);
        }
    }
    struct str text = buf_failed(&b) ? STR_NULL : arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return text;
}
