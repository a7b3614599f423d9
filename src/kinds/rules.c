#include "kinds/rules.h"

#include <arpa/inet.h>

#include "api/encode-json.h"
#include "api/gen/meta_v1.h"
#include "api/int-or-string.h"
#include "api/json-writer.h"

bool rule_name_holds(struct str value, names_fn *fn)
{
    struct names_errs n = { 0 };
    return fn(value, &n);
}

bool rule_name_tell(struct field_errs *e, struct str path, struct str value, names_fn *fn)
{
    struct names_errs n = { 0 };
    bool ok = fn(value, &n);
    for (unsigned i = 0; i < n.n; i++) {
        field_invalid_str(e, path, value, "%s", n.msg[i]);
    }
    return ok;
}

bool rule_non_negative_tell(struct field_errs *e, struct str path, int64_t v)
{
    field_invalid_int(e, path, v, "must be greater than or equal to 0");
    return false;
}

bool rule_between_tell(struct field_errs *e, struct str path, int64_t v, int64_t min, int64_t max)
{
    field_invalid_int(e, path, v, "must be between %lld and %lld, inclusive", (long long)min, (long long)max);
    return false;
}

bool rule_enum_holds(struct str v, const struct str *values)
{
    for (size_t i = 0; values[i].ptr; i++) {
        if (str_eq(values[i], v)) {
            return true;
        }
    }
    return false;
}

bool rule_enum_tell(struct field_errs *e, struct str path, struct str v, const struct str *values)
{
    field_not_supported(e, path, v, values);
    return false;
}

void rule_port(struct field_errs *e, struct str path, int64_t port)
{
    struct names_errs n = { 0 };
    (void)names_port_number(port, &n);
    for (unsigned i = 0; i < n.n; i++) {
        field_invalid_int(e, path, port, "%s", n.msg[i]);
    }
}

void rule_port_or_name(struct field_errs *e, struct str path, const struct api_int_or_string *p)
{
    if (p->kind == API_IOS_STRING) {
        (void)rule_name(e, path, p->s, names_port_name);
    } else {
        rule_port(e, path, p->kind == API_IOS_INT ? p->i : 0);
    }
}

void rule_labels(struct field_errs *e, struct str path, const struct api_str_pair *labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)rule_name(e, path, labels[i].key, names_qualified);
        (void)rule_name(e, path, labels[i].value, names_label_value);
    }
}

static void selector_requirement(struct field_errs *e, struct str path, const struct meta_v1_label_selector_requirement *r)
{
    if (str_eq_c(r->operator, "In") || str_eq_c(r->operator, "NotIn")) {
        if (r->n_values == 0) {
            field_required(e, path_child(e->arena, path, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
    } else if (str_eq_c(r->operator, "Exists") || str_eq_c(r->operator, "DoesNotExist")) {
        if (r->n_values > 0) {
            field_forbidden(e, path_child(e->arena, path, "values"),
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
    } else {
        field_invalid_str(e, path_child(e->arena, path, "operator"), r->operator, "not a valid selector operator");
    }
    (void)rule_name(e, path_child(e->arena, path, "key"), r->key, names_qualified);
    for (size_t i = 0; i < r->n_values; i++) {
        (void)rule_name(e, path_index(e->arena, path_child(e->arena, path, "values"), i), r->values[i], names_label_value);
    }
}

void rule_label_selector(struct field_errs *e, struct str path, const struct meta_v1_label_selector *s)
{
    if (!s) {
        return;
    }
    rule_labels(e, path_child(e->arena, path, "matchLabels"), s->match_labels, s->n_match_labels);
    for (size_t i = 0; i < s->n_match_expressions; i++) {
        selector_requirement(e, path_index(e->arena, path_child(e->arena, path, "matchExpressions"), i), &s->match_expressions[i]);
    }
}

void rule_int_or_percent(struct field_errs *e, struct str path, const struct api_int_or_string *v)
{
    if (v->kind == API_IOS_STRING) {
        (void)rule_name(e, path, v->s, names_percent);
    } else if (v->kind == API_IOS_INT) {
        rule_non_negative(e, path, v->i);
    }
}

struct str rule_json(struct arena *a, const struct api_type *t, const void *value)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    if (!value) {
        return STR("null");
    }
    return api_encode_json(&b, t, value, NULL, NULL) ? arena_str(a, buf_str(&b)) : STR("null");
}

struct str rule_labels_json(struct arena *a, const struct api_str_pair *labels, size_t n)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    if (!labels) {
        return STR("null");
    }
    buf_append_char(&b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            buf_append_char(&b, ',');
        }
        json_write_string(&b, labels[i].key);
        buf_append_char(&b, ':');
        json_write_string(&b, labels[i].value);
    }
    buf_append_char(&b, '}');
    return arena_str(a, buf_str(&b));
}

void rule_immutable(struct field_errs *e, struct str path, bool equal, const struct api_type *t, const void *value)
{
    if (!equal) {
        field_invalid_json(e, path, rule_json(e->arena, t, value), "field is immutable");
    }
}

void rule_immutable_str(struct field_errs *e, struct str path, struct str new, struct str old)
{
    if (!str_eq(new, old)) {
        field_invalid_str(e, path, new, "field is immutable");
    }
}

bool rule_is_ip(struct str s, bool *ret_v6)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    bool v6 = str_find_char(s, ':') >= 0;
    if (ret_v6) {
        *ret_v6 = v6;
    }
    return str_to_cstr(s, text, sizeof(text)) && inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes) == 1;
}

bool rule_ip(struct field_errs *e, struct str path, struct str s)
{
    if (rule_is_ip(s, NULL)) {
        return true;
    }
    field_invalid_str(e, path, s, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    return false;
}
