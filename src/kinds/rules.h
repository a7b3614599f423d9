/* Validation that several kinds share: names, numbers, selectors, percentages, immutability. Messages are Kubernetes'. */
#ifndef KINDS_RULES_H
#define KINDS_RULES_H

#include "api/names.h"
#include "api/type.h"
#include "kinds/field-error.h"

struct meta_v1_label_selector;

typedef bool names_fn(struct str s, struct names_errs *e);

/*
 * The rules that most fields are checked by are macros of one shape: does it hold, or else tell. So the path, which has to be put
 * together, is only made for a field that breaks its rule. All are true when nothing was told.
 */

/* Each message of 'fn' about 'value' becomes an Invalid. */
#define rule_name(e, path, value, fn) (rule_name_holds((value), (fn)) || rule_name_tell((e), (path), (value), (fn)))
bool rule_name_holds(struct str value, names_fn *fn);
bool rule_name_tell(struct field_errs *e, struct str path, struct str value, names_fn *fn);

#define rule_non_negative(e, path, v) ((void)((v) >= 0 || rule_non_negative_tell((e), (path), (v))))
bool rule_non_negative_tell(struct field_errs *e, struct str path, int64_t v);

#define rule_between(e, path, v, min, max) \
    ((void)(((v) >= (min) && (v) <= (max)) || rule_between_tell((e), (path), (v), (min), (max))))
bool rule_between_tell(struct field_errs *e, struct str path, int64_t v, int64_t min, int64_t max);

/* One of 'values' (ended by an absent str), told in that order when it is not. */
#define rule_enum(e, path, v, values) (rule_enum_holds((v), (values)) || rule_enum_tell((e), (path), (v), (values)))
bool rule_enum_holds(struct str v, const struct str *values);
bool rule_enum_tell(struct field_errs *e, struct str path, struct str v, const struct str *values);

/* A number from 1 to 65535. */
void rule_port(struct field_errs *e, struct str path, int64_t port);
/* A number of a port, or its name. */
void rule_port_or_name(struct field_errs *e, struct str path, const struct api_int_or_string *p);
/* Label keys and values. */
void rule_labels(struct field_errs *e, struct str path, const struct api_str_pair *labels, size_t n);
/* A metav1.LabelSelector. */
void rule_label_selector(struct field_errs *e, struct str path, const struct meta_v1_label_selector *s);
/* A whole number or a percentage, not negative. */
void rule_int_or_percent(struct field_errs *e, struct str path, const struct api_int_or_string *v);
/* "field is immutable" with the new value as JSON, when 'equal' is false. */
void rule_immutable(struct field_errs *e, struct str path, bool equal, const struct api_type *t, const void *value);
void rule_immutable_str(struct field_errs *e, struct str path, struct str new, struct str old);
/* JSON of a typed value, for messages. */
struct str rule_json(struct arena *a, const struct api_type *t, const void *value);
/* {"a":"b"} of labels. */
struct str rule_labels_json(struct arena *a, const struct api_str_pair *labels, size_t n);
/* Does the text parse as an IP address ("10.0.0.1", "fd00::1")? */
bool rule_is_ip(struct str s, bool *ret_v6);
/* "must be a valid IP address, …". True when it is one. */
bool rule_ip(struct field_errs *e, struct str path, struct str s);

#endif
