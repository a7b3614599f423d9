#include "api/fields-schema.h"

#include "api/gen/admissionregistration_v1.h"
#include "api/gen/apiextensions_v1.h"
#include "api/gen/core_v1.h"
#include "api/gen/meta_v1.h"

/* Types of list items that are owned as a whole. Single fields of such types say so themselves; list items cannot. */
static bool is_atomic_item(const struct api_type *t)
{
    return t == &core_v1_local_object_reference_type || t == &core_v1_object_reference_type ||
           t == &meta_v1_owner_reference_type || t == &admissionregistration_v1_variable_type;
}

static enum fields_scalar scalar_of(enum api_ftype t)
{
    switch (t) {
    case API_BOOL: return FIELDS_BOOL;
    case API_INT32:
    case API_INT64:
    case API_UINT32:
    case API_UINT64:
    case API_ENUM:
    case API_DOUBLE: return FIELDS_NUMBER;
    case API_STRING:
    case API_BYTES:
    case API_TIME:
    case API_MICROTIME:
    case API_DURATION: return FIELDS_STRING;
    case API_QUANTITY:
    case API_INT_OR_STRING:
    case API_RAW:
    case API_MESSAGE:
    case API_STRLIST:
    case API_FTYPE_MAX: break;
    }
    return FIELDS_ANY;
}

/* One value of the field, as a single field or as the item of a list or map. */
static struct fields_at at_value(const struct api_field *f, bool atomic)
{
    if (f->ftype == API_MESSAGE && f->message->form == API_FORM_OBJECT) {
        return (struct fields_at){ .shape = FIELDS_MAP, .atomic = atomic, .type = f->message };
    }
    if (f->ftype == API_STRLIST) {
        return (struct fields_at){ .shape = FIELDS_LIST, .list = API_LM_ATOMIC };
    }
    return (struct fields_at){ .shape = FIELDS_LEAF, .scalar = scalar_of((enum api_ftype)f->ftype) };
}

struct fields_at fields_at_field(const struct api_field *f)
{
    switch ((enum api_card)f->card) {
    case API_LIST: {
        bool keyed = f->listmap == API_LM_SET || f->listmap == API_LM_MAP;
        return (struct fields_at){ .shape = FIELDS_LIST, .field = f,
                                   .list = keyed ? (enum api_listmap)f->listmap : API_LM_ATOMIC };
    }
    case API_MAP: return (struct fields_at){ .shape = FIELDS_MAP, .atomic = f->listmap == API_LM_ATOMIC, .field = f };
    case API_SINGLE: break;
    }
    return at_value(f, f->listmap == API_LM_ATOMIC);
}

struct fields_at fields_at_type(const struct api_type *t)
{
    return (struct fields_at){ .shape = FIELDS_MAP, .type = t };
}

struct fields_at fields_at_deduced(void)
{
    return (struct fields_at){ .shape = FIELDS_DEDUCED };
}

/* ---- structural schemas ---- */

static struct fields_at at_crd(const struct apiextensions_v1_json_schema_props *s)
{
    if (!s) {
        return fields_at_deduced();
    }
    if (s->x_kubernetes_int_or_string) {
        return (struct fields_at){ .shape = FIELDS_LEAF };
    }
    if (str_eq_c(s->type, "array")) {
        enum api_listmap list = str_eq_c(s->x_kubernetes_list_type, "set")   ? API_LM_SET
                                : str_eq_c(s->x_kubernetes_list_type, "map") ? API_LM_MAP
                                                                             : API_LM_ATOMIC;
        return (struct fields_at){ .shape = FIELDS_LIST, .list = list, .crd = s };
    }
    if (str_eq_c(s->type, "object")) {
        bool known = s->n_properties || s->additional_properties || s->x_kubernetes_embedded_resource;
        bool atomic = str_eq_c(s->x_kubernetes_map_type, "atomic");
        if (!known && !atomic && s->x_kubernetes_preserve_unknown_fields) {
            return fields_at_deduced();
        }
        return (struct fields_at){ .shape = FIELDS_MAP, .atomic = atomic, .crd = s,
                                   .crd_root = s->x_kubernetes_embedded_resource };
    }
    if (s->type.len == 0) {
        return fields_at_deduced();
    }
    enum fields_scalar scalar = str_eq_c(s->type, "string")                                        ? FIELDS_STRING
                                : str_eq_c(s->type, "boolean")                                     ? FIELDS_BOOL
                                : str_eq_c(s->type, "integer") || str_eq_c(s->type, "number") ? FIELDS_NUMBER
                                                                                              : FIELDS_ANY;
    return (struct fields_at){ .shape = FIELDS_LEAF, .scalar = scalar };
}

struct fields_at fields_at_crd(const struct apiextensions_v1_json_schema_props *schema)
{
    return (struct fields_at){ .shape = FIELDS_MAP, .crd = schema, .crd_root = true };
}

static const struct apiextensions_v1_json_schema_props *property(const struct apiextensions_v1_json_schema_props *s,
                                                                 struct str key)
{
    size_t low = 0, high = s ? s->n_properties : 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = str_cmp(s->properties[middle].key, key);
        if (c == 0) {
            return &s->properties[middle].value;
        }
        if (c < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static bool crd_member(struct fields_at at, struct str key, struct fields_at *ret, bool *ret_declared)
{
    *ret_declared = true;
    if (at.crd_root && str_eq_c(key, "metadata")) {
        *ret = fields_at_type(&meta_v1_object_meta_type);
        return true;
    }
    if (at.crd_root && (str_eq_c(key, "apiVersion") || str_eq_c(key, "kind"))) {
        *ret = (struct fields_at){ .shape = FIELDS_LEAF, .scalar = FIELDS_STRING };
        return true;
    }
    const struct apiextensions_v1_json_schema_props *s = property(at.crd, key);
    if (s) {
        *ret = at_crd(s);
        return true;
    }
    *ret_declared = false;
    if (at.crd && at.crd->additional_properties) {
        *ret = at_crd(at.crd->additional_properties->schema);
        return true;
    }
    *ret = fields_at_deduced();
    return !at.crd || at.crd->x_kubernetes_preserve_unknown_fields;
}

/* ---- going down ---- */

bool fields_at_member(struct fields_at at, struct str key, struct fields_at *ret, bool *ret_declared)
{
    *ret_declared = false;
    if (at.type) {
        size_t offset;
        const struct api_field *f = api_field_find(at.type, key, &offset);
        if (!f) {
            *ret = fields_at_deduced();
            return false;
        }
        *ret_declared = true;
        *ret = fields_at_field(f);
        return true;
    }
    if (at.field) {
        *ret = at_value(at.field, false);
        return true;
    }
    if (at.crd || at.crd_root) {
        return crd_member(at, key, ret, ret_declared);
    }
    *ret = fields_at_deduced();
    return true;
}

struct fields_at fields_at_item(struct fields_at at)
{
    if (at.field) {
        return at_value(at.field, at.field->ftype == API_MESSAGE && is_atomic_item(at.field->message));
    }
    if (at.crd) {
        return at_crd(at.crd->items ? at.crd->items->schema : NULL);
    }
    return fields_at_deduced();
}

struct str fields_at_key(struct fields_at at, size_t i)
{
    if (at.field) {
        const struct str *keys = at.field->facts->keys;
        for (size_t k = 0; keys && keys[k].ptr; k++) {
            if (k == i) {
                return keys[k];
            }
        }
        return STR_NULL;
    }
    return at.crd && i < at.crd->n_x_kubernetes_list_map_keys ? at.crd->x_kubernetes_list_map_keys[i] : STR_NULL;
}

static bool builtin_default(struct arena *a, const struct api_type *t, struct str key, struct val *ret)
{
    size_t offset;
    const struct api_field *f = api_field_find(t, key, &offset);
    if (!f) {
        return false;
    }
    if (f->facts->default_json.ptr) {
        return val_parse_json(a, f->facts->default_json, JSON_DEPTH, NULL, ret, NULL);
    }
    /* Fields that are always written publish their zero value as the default. */
    if (f->flags & (API_F_POINTER | API_F_OMITEMPTY | API_F_OMITZERO)) {
        return false;
    }
    switch (scalar_of((enum api_ftype)f->ftype)) {
    case FIELDS_STRING: *ret = val_string(STR_EMPTY); return true;
    case FIELDS_NUMBER: *ret = val_int(0); return true;
    case FIELDS_BOOL: *ret = val_bool(false); return true;
    case FIELDS_ANY: break;
    }
    return false;
}

bool fields_at_key_default(struct arena *a, struct fields_at at, struct str key, struct val *ret)
{
    if (at.field) {
        return at.field->ftype == API_MESSAGE && builtin_default(a, at.field->message, key, ret);
    }
    const struct apiextensions_v1_json_schema_props *item = at.crd && at.crd->items ? at.crd->items->schema : NULL;
    const struct apiextensions_v1_json_schema_props *s = property(item, key);
    return s && s->default_.ptr && val_parse_json(a, s->default_, JSON_DEPTH, NULL, ret, NULL);
}

bool fields_at_is_leaf(struct fields_at at, const struct val *v)
{
    switch (at.shape) {
    case FIELDS_LEAF: return true;
    case FIELDS_MAP: return at.atomic;
    case FIELDS_LIST: return at.list == API_LM_ATOMIC;
    case FIELDS_DEDUCED: break;
    }
    return !val_is(v, VAL_OBJECT);
}

static bool key_of(struct arena *a, struct fields_at list, const struct val *item, struct fields_pe *ret, struct err *err)
{
    struct val key = val_object();
    struct str name;
    if (item->kind != VAL_OBJECT) {
        return err_set(err, ERR_INVALID, item->kind == VAL_NULL ? "associative list with keys may not have a null element"
                                                                : "associative list with keys may not have non-map elements");
    }
    for (size_t i = 0; (name = fields_at_key(list, i)).ptr; i++) {
        const struct val *v = val_get(item, name);
        struct val by_default;
        if (!v && fields_at_key_default(a, list, name, &by_default)) {
            v = &by_default;
        }
        if (!v) {
            return err_set(err, ERR_INVALID, "associative list with keys has an element that omits key field \"%.*s\" (and "
                                             "doesn't have default value)", STR_ARG(name));
        }
        /* Sorted in: there are one to three of them. */
        if (!val_add(a, &key, name, *v)) {
            return err_set(err, ERR_TOO_LARGE, "the object needs more memory than it may have");
        }
        for (uint32_t k = key.n - 1; k > 0 && str_cmp(key.members[k].key, key.members[k - 1].key) < 0; k--) {
            struct val_member m = key.members[k];
            key.members[k] = key.members[k - 1];
            key.members[k - 1] = m;
        }
    }
    *ret = (struct fields_pe){ .kind = FIELDS_KEY, .value = key };
    return true;
}

bool fields_item_pe(struct arena *a, struct fields_at list, const struct val *item, struct fields_pe *ret, struct err *err)
{
    if (list.list == API_LM_MAP) {
        return key_of(a, list, item, ret, err);
    }
    if (item->kind == VAL_NULL || item->kind == VAL_ARRAY) {
        return err_set(err, ERR_INVALID, item->kind == VAL_NULL ? "associative list without keys has an element that's an "
                                                                  "explicit null"
                                                                : "associative list without keys has an element that's a "
                                                                  "list type");
    }
    if (item->kind == VAL_OBJECT) {
        return err_set(err, ERR_INVALID, "associative list without keys has an element that's a map type");
    }
    *ret = (struct fields_pe){ .kind = FIELDS_VALUE, .value = *item };
    return true;
}
