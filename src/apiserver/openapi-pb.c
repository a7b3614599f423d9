#include "apiserver/openapi-pb.h"

#include "api/yaml.h"

/* Field numbers of gnostic's openapiv2/OpenAPIv2.proto, as far as our documents use them. */
enum {
    DOCUMENT_SWAGGER = 1, DOCUMENT_INFO = 2, DOCUMENT_PATHS = 8, DOCUMENT_DEFINITIONS = 9,
    INFO_TITLE = 1, INFO_VERSION = 2,
    DEFINITIONS_ITEM = 1, NAMED_NAME = 1, NAMED_VALUE = 2,
    SCHEMA_REF = 1, SCHEMA_FORMAT = 2, SCHEMA_DESCRIPTION = 4, SCHEMA_DEFAULT = 5, SCHEMA_REQUIRED = 19, SCHEMA_ENUM = 20,
    SCHEMA_ADDITIONAL = 21, SCHEMA_TYPE = 22, SCHEMA_ITEMS = 23, SCHEMA_PROPERTIES = 25, SCHEMA_EXTENSION = 31,
    ANY_YAML = 2, TYPE_VALUE = 1, ITEMS_SCHEMA = 1, ADDITIONAL_SCHEMA = 1, PROPERTIES_ITEM = 1,
    PATHS_ITEM = 2, PATH_GET = 2, PATH_PUT = 3, PATH_POST = 4, PATH_DELETE = 5, PATH_PATCH = 8,
    OPERATION_ID = 5, OPERATION_PARAMETERS = 8, OPERATION_RESPONSES = 9, OPERATION_EXTENSION = 13,
    PARAMETERS_ITEM_PARAMETER = 1, PARAMETER_NON_BODY = 2, NON_BODY_QUERY = 3,
    QUERY_IN = 2, QUERY_NAME = 4, QUERY_TYPE = 6,
    RESPONSES_CODE = 1, RESPONSE_VALUE_RESPONSE = 1, RESPONSE_DESCRIPTION = 1,
};

static void varint(struct buf *b, uint64_t n)
{
    do {
        buf_append_char(b, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
        n >>= 7;
    } while (n);
}

static void bytes(struct buf *b, unsigned field, struct str s)
{
    varint(b, (uint64_t)field << 3 | 2);
    varint(b, s.len);
    buf_append(b, s);
}

typedef void write_fn(struct buf *b, const struct val *v);

/* A nested message. */
static void nested(struct buf *b, unsigned field, write_fn *fn, const struct val *v)
{
    CLEANUP(buf_deinit) struct buf inner;
    buf_init(&inner, 64u << 20);
    fn(&inner, v);
    bytes(b, field, buf_str(&inner));
}

/* name and value, as a nested message. */
static void named(struct buf *b, unsigned field, struct str name, write_fn *fn, const struct val *v)
{
    CLEANUP(buf_deinit) struct buf inner;
    buf_init(&inner, 64u << 20);
    bytes(&inner, NAMED_NAME, name);
    nested(&inner, NAMED_VALUE, fn, v);
    bytes(b, field, buf_str(&inner));
}

static void text(struct buf *b, unsigned field, const struct val *v, const char *key)
{
    struct str s = val_get_str(v, str_c(key));
    if (s.ptr) {
        bytes(b, field, s);
    }
}

static void any(struct buf *b, const struct val *v)
{
    CLEANUP(buf_deinit) struct buf yaml;
    buf_init(&yaml, 1u << 20);
    yaml_write(&yaml, v);
    bytes(b, ANY_YAML, buf_str(&yaml));
}

static void extensions(struct buf *b, unsigned field, const struct val *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        if (str_starts(v->members[i].key, STR("x-"))) {
            named(b, field, v->members[i].key, any, &v->members[i].value);
        }
    }
}

static write_fn schema;

static void type_item(struct buf *b, const struct val *v)
{
    bytes(b, TYPE_VALUE, v->s);
}

static void items_item(struct buf *b, const struct val *v)
{
    nested(b, ITEMS_SCHEMA, schema, v);
}

static void additional(struct buf *b, const struct val *v)
{
    nested(b, ADDITIONAL_SCHEMA, schema, v);
}

static void named_schemas(struct buf *b, const struct val *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        named(b, PROPERTIES_ITEM, v->members[i].key, schema, &v->members[i].value);
    }
}

static void schema(struct buf *b, const struct val *v)
{
    const struct val *x;
    text(b, SCHEMA_REF, v, "$ref");
    text(b, SCHEMA_FORMAT, v, "format");
    text(b, SCHEMA_DESCRIPTION, v, "description");
    if ((x = val_get(v, STR("default")))) {
        nested(b, SCHEMA_DEFAULT, any, x);
    }
    x = val_get(v, STR("required"));
    for (uint32_t i = 0; x && i < x->n; i++) {
        bytes(b, SCHEMA_REQUIRED, x->items[i].s);
    }
    x = val_get(v, STR("enum"));
    for (uint32_t i = 0; x && i < x->n; i++) {
        nested(b, SCHEMA_ENUM, any, &x->items[i]);
    }
    if ((x = val_get(v, STR("additionalProperties")))) {
        nested(b, SCHEMA_ADDITIONAL, additional, x);
    }
    if ((x = val_get(v, STR("type")))) {
        nested(b, SCHEMA_TYPE, type_item, x);
    }
    if ((x = val_get(v, STR("items")))) {
        nested(b, SCHEMA_ITEMS, items_item, x);
    }
    if ((x = val_get(v, STR("properties")))) {
        nested(b, SCHEMA_PROPERTIES, named_schemas, x);
    }
    extensions(b, SCHEMA_EXTENSION, v);
}

static void query(struct buf *b, const struct val *v)
{
    text(b, QUERY_IN, v, "in");
    text(b, QUERY_NAME, v, "name");
    text(b, QUERY_TYPE, v, "type");
}

static void non_body(struct buf *b, const struct val *v)
{
    nested(b, NON_BODY_QUERY, query, v);
}

static void parameter(struct buf *b, const struct val *v)
{
    nested(b, PARAMETER_NON_BODY, non_body, v);
}

static void parameters_item(struct buf *b, const struct val *v)
{
    nested(b, PARAMETERS_ITEM_PARAMETER, parameter, v);
}

static void response(struct buf *b, const struct val *v)
{
    text(b, RESPONSE_DESCRIPTION, v, "description");
}

static void response_value(struct buf *b, const struct val *v)
{
    nested(b, RESPONSE_VALUE_RESPONSE, response, v);
}

static void responses(struct buf *b, const struct val *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        named(b, RESPONSES_CODE, v->members[i].key, response_value, &v->members[i].value);
    }
}

static void operation(struct buf *b, const struct val *v)
{
    const struct val *x;
    text(b, OPERATION_ID, v, "operationId");
    x = val_get(v, STR("parameters"));
    for (uint32_t i = 0; x && i < x->n; i++) {
        nested(b, OPERATION_PARAMETERS, parameters_item, &x->items[i]);
    }
    if ((x = val_get(v, STR("responses")))) {
        nested(b, OPERATION_RESPONSES, responses, x);
    }
    extensions(b, OPERATION_EXTENSION, v);
}

static void path_item(struct buf *b, const struct val *v)
{
    static const struct {
        const char *method;
        unsigned field;
    } methods[] = { { "get", PATH_GET }, { "put", PATH_PUT }, { "post", PATH_POST }, { "delete", PATH_DELETE }, { "patch", PATH_PATCH } };
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        const struct val *x = val_get(v, str_c(methods[i].method));
        if (x) {
            nested(b, methods[i].field, operation, x);
        }
    }
}

static void paths(struct buf *b, const struct val *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        named(b, PATHS_ITEM, v->members[i].key, path_item, &v->members[i].value);
    }
}

static void info(struct buf *b, const struct val *v)
{
    text(b, INFO_TITLE, v, "title");
    text(b, INFO_VERSION, v, "version");
}

void openapi_write_pb(struct buf *b, const struct val *doc)
{
    const struct val *x;
    text(b, DOCUMENT_SWAGGER, doc, "swagger");
    if ((x = val_get(doc, STR("info")))) {
        nested(b, DOCUMENT_INFO, info, x);
    }
    if ((x = val_get(doc, STR("paths")))) {
        nested(b, DOCUMENT_PATHS, paths, x);
    }
    if ((x = val_get(doc, STR("definitions")))) {
        nested(b, DOCUMENT_DEFINITIONS, named_schemas, x);
    }
}
