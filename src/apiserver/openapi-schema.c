#include "apiserver/openapi-schema.h"

#include "api/json-writer.h"

#define QUANTITY "io.k8s.apimachinery.pkg.api.resource.Quantity"
#define INT_OR_STRING "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
#define TIME "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
#define MICRO_TIME "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
#define RAW "io.k8s.apimachinery.pkg.runtime.RawExtension"

static bool has(const struct openapi_types *s, const struct api_type *t)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i] == t) {
            return true;
        }
    }
    return false;
}

void openapi_types_add(struct openapi_types *s, struct arena *a, const struct api_type *t)
{
    if (has(s, t)) {
        return;
    }
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 256;
        const struct api_type **grown = arena_grow_n(a, s->items, s->n, capacity, sizeof(const struct api_type *));
        if (!grown) {
            return;
        }
        s->items = grown;
        s->capacity = capacity;
    }
    s->items[s->n++] = t;
    for (size_t i = 0; i < t->n_flat; i++) {
        const struct api_field *f = t->flat[i].field;
        if (f->ftype == API_MESSAGE && f->message) {
            openapi_types_add(s, a, f->message);
        }
    }
}

void openapi_name(struct buf *b, const struct api_type *t)
{
    struct str group, rest;
    (void)str_cut(t->name, '.', &group, &rest);
    if (str_eq_c(group, "meta")) {
        buf_append_c(b, "io.k8s.apimachinery.pkg.apis.");
    } else if (str_eq_c(group, "apiextensions")) {
        buf_append_c(b, "io.k8s.apiextensions-apiserver.pkg.apis.");
    } else if (str_eq_c(group, "apiregistration")) {
        buf_append_c(b, "io.k8s.kube-aggregator.pkg.apis.");
    } else {
        buf_append_c(b, "io.k8s.api.");
    }
    buf_append(b, t->name);
}

static void ref(struct buf *b, enum openapi_version v, const char *name, const struct api_type *t)
{
    buf_append_c(b, v == OPENAPI_V2 ? "\"$ref\":\"#/definitions/" : "\"$ref\":\"#/components/schemas/");
    if (t) {
        openapi_name(b, t);
    } else {
        buf_append_c(b, name);
    }
    buf_append_char(b, '"');
}

/* The schema of one value, without braces. */
static void value(struct buf *b, enum openapi_version v, const struct api_field *f)
{
    switch ((enum api_ftype)f->ftype) {
    case API_BOOL:
        buf_append_c(b, "\"type\":\"boolean\"");
        break;
    case API_INT32:
    case API_UINT32:
    case API_ENUM:
        buf_append_c(b, "\"type\":\"integer\",\"format\":\"int32\"");
        break;
    case API_INT64:
    case API_UINT64:
        buf_append_c(b, "\"type\":\"integer\",\"format\":\"int64\"");
        break;
    case API_DOUBLE:
        buf_append_c(b, "\"type\":\"number\",\"format\":\"double\"");
        break;
    case API_STRING:
    case API_DURATION:
        buf_append_c(b, "\"type\":\"string\"");
        break;
    case API_BYTES:
        buf_append_c(b, "\"type\":\"string\",\"format\":\"byte\"");
        break;
    case API_TIME:
        ref(b, v, TIME, NULL);
        break;
    case API_MICROTIME:
        ref(b, v, MICRO_TIME, NULL);
        break;
    case API_QUANTITY:
        ref(b, v, QUANTITY, NULL);
        break;
    case API_INT_OR_STRING:
        ref(b, v, INT_OR_STRING, NULL);
        break;
    case API_RAW:
        ref(b, v, RAW, NULL);
        break;
    case API_MESSAGE:
        ref(b, v, NULL, f->message);
        break;
    case API_STRLIST:
        buf_append_c(b, "\"type\":\"array\",\"items\":{\"type\":\"string\"}");
        break;
    case API_FTYPE_MAX:
        break;
    }
}

static bool is_ref(const struct api_field *f)
{
    return f->card == API_SINGLE && (f->ftype == API_MESSAGE || f->ftype == API_TIME || f->ftype == API_MICROTIME ||
                                     f->ftype == API_QUANTITY || f->ftype == API_INT_OR_STRING || f->ftype == API_RAW);
}

static void str_list(struct buf *b, const char *key, const struct str *items)
{
    buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; items[i].ptr; i++) {
        if (i > 0) {
            buf_append_char(b, ',');
        }
        json_write_string(b, items[i]);
    }
    buf_append_char(b, ']');
}

static void extensions(struct buf *b, const struct api_field *f)
{
    static const char *const types[] = { NULL, "atomic", "set", "map", "granular" };
    const struct api_facts *k = f->facts;
    if (f->card == API_LIST && f->listmap != API_LM_NONE && f->listmap != API_LM_GRANULAR) {
        buf_printf(b, ",\"x-kubernetes-list-type\":\"%s\"", types[f->listmap]);
    } else if (f->card != API_LIST && (f->listmap == API_LM_ATOMIC || f->listmap == API_LM_GRANULAR)) {
        buf_printf(b, ",\"x-kubernetes-map-type\":\"%s\"", types[f->listmap]);
    }
    if (k->keys && f->listmap == API_LM_MAP) {
        str_list(b, "x-kubernetes-list-map-keys", k->keys);
    }
    if (f->flags & (API_F_PATCH_MERGE | API_F_RETAIN_KEYS)) {
        const char *strategy = !(f->flags & API_F_RETAIN_KEYS) ? "merge" : (f->flags & API_F_PATCH_MERGE) ? "merge,retainKeys" : "retainKeys";
        buf_printf(b, ",\"x-kubernetes-patch-strategy\":\"%s\"", strategy);
    }
    if (!str_empty(k->patch_key)) {
        buf_printf(b, ",\"x-kubernetes-patch-merge-key\":\"%.*s\"", STR_ARG(k->patch_key));
    }
}

static void property(struct buf *b, enum openapi_version v, const struct api_field *f)
{
    const struct api_facts *k = f->facts;
    json_write_string(b, f->name);
    buf_append_c(b, ":{");
    if (f->card == API_LIST) {
        buf_append_c(b, "\"type\":\"array\",\"items\":{");
        value(b, v, f);
        buf_append_char(b, '}');
    } else if (f->card == API_MAP) {
        buf_append_c(b, "\"type\":\"object\",\"additionalProperties\":{");
        value(b, v, f);
        buf_append_char(b, '}');
    } else if (is_ref(f) && v == OPENAPI_V3) {
        /* Beside a $ref nothing else may stand. */
        buf_append_c(b, "\"allOf\":[{");
        value(b, v, f);
        buf_append_c(b, "}]");
    } else {
        value(b, v, f);
    }
    buf_append_c(b, ",\"description\":");
    json_write_string(b, str_empty(k->doc) ? f->name : k->doc);
    if (k->default_json.len > 0) {
        buf_append_c(b, ",\"default\":");
        buf_append(b, k->default_json);
    }
    if (k->enum_values && (f->flags & API_F_ENUM_CLOSED) && f->card == API_SINGLE && f->ftype == API_STRING) {
        str_list(b, "enum", k->enum_values);
    }
    extensions(b, f);
    buf_append_char(b, '}');
}

static void required(struct buf *b, const struct api_type *t)
{
    bool any = false;
    for (size_t i = 0; i < t->n_flat; i++) {
        const struct api_field *f = t->flat[i].field;
        if (f->flags & API_F_REQUIRED) {
            buf_append_c(b, any ? "," : ",\"required\":[");
            json_write_string(b, f->name);
            any = true;
        }
    }
    if (any) {
        buf_append_char(b, ']');
    }
}

void openapi_definition(struct buf *b, enum openapi_version v, const struct api_type *t, const struct openapi_gvk *gvks, size_t n_gvks)
{
    buf_append_char(b, '"');
    openapi_name(b, t);
    buf_append_c(b, "\":{\"type\":\"object\",\"description\":");
    json_write_string(b, str_empty(t->doc) ? t->name : t->doc);
    if (t->form == API_FORM_OBJECT && t->n_flat > 0) {
        buf_append_c(b, ",\"properties\":{");
        bool any = false;
        for (size_t i = 0; i < t->n_flat; i++) {
            if (str_empty(t->flat[i].field->name)) {
                continue;
            }
            if (any) {
                buf_append_char(b, ',');
            }
            any = true;
            property(b, v, t->flat[i].field);
        }
        buf_append_char(b, '}');
        required(b, t);
    }
    if (n_gvks > 0) {
        buf_append_c(b, ",\"x-kubernetes-group-version-kind\":[");
        for (size_t i = 0; i < n_gvks; i++) {
            buf_printf(b, "%s{\"group\":\"%.*s\",\"kind\":\"%.*s\",\"version\":\"%.*s\"}", i ? "," : "", STR_ARG(gvks[i].group),
                       STR_ARG(gvks[i].kind), STR_ARG(gvks[i].version));
        }
        buf_append_char(b, ']');
    }
    buf_append_char(b, '}');
}

void openapi_common_definitions(struct buf *b, enum openapi_version v)
{
    bool v2 = v == OPENAPI_V2;
    buf_append_c(b, v2 ? "\"" QUANTITY "\":{\"description\":\"An exact decimal number with a suffix, such as 500m or 2Gi.\",\"type\":\"string\"}"
                       : "\"" QUANTITY "\":{\"description\":\"An exact decimal number with a suffix, such as 500m or 2Gi.\","
                         "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}");
    buf_append_c(b, v2 ? ",\"" INT_OR_STRING "\":{\"description\":\"A whole number, or text such as a percentage or a name.\",\"type\":\"string\","
                         "\"format\":\"int-or-string\"}"
                       : ",\"" INT_OR_STRING "\":{\"description\":\"A whole number, or text such as a percentage or a name.\",\"format\":"
                         "\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}");
    buf_append_c(b, ",\"" TIME "\":{\"description\":\"A time in RFC 3339, to the second.\",\"type\":\"string\",\"format\":\"date-time\"}");
    buf_append_c(b, ",\"" MICRO_TIME "\":{\"description\":\"A time in RFC 3339, to the microsecond.\",\"type\":\"string\",\"format\":\"date-time\"}");
    buf_append_c(b, ",\"" RAW "\":{\"description\":\"Any object.\",\"type\":\"object\"}");
}

/* ---- paths ---- */

static bool has_verb(struct str verbs, const char *verb)
{
    struct str rest = verbs, v;
    while (str_split(&rest, ',', &v)) {
        if (str_eq_c(v, verb)) {
            return true;
        }
    }
    return false;
}

static void parameter(struct buf *b, enum openapi_version v, const char *name, const char *type, bool first)
{
    if (!first) {
        buf_append_char(b, ',');
    }
    if (v == OPENAPI_V2) {
        buf_printf(b, "{\"name\":\"%s\",\"in\":\"query\",\"type\":\"%s\",\"uniqueItems\":true}", name, type);
    } else {
        buf_printf(b, "{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}}", name, type);
    }
}

static void operation(struct buf *b, enum openapi_version v, const struct api_resource *r, const char *method, const char *action, bool *first)
{
    static const char *const writes[] = { "dryRun", "fieldManager", "fieldValidation", NULL };
    static const char *const lists[] = { "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion",
                                         "resourceVersionMatch", "watch", "allowWatchBookmarks", "sendInitialEvents",
                                         "timeoutSeconds", NULL };
    static const char *const deletes[] = { "dryRun", "gracePeriodSeconds", "propagationPolicy", NULL };
    static const char *const none[] = { NULL };
    const char *const *params = strcmp(action, "list") == 0 || strcmp(action, "deletecollection") == 0 ? lists
                              : strcmp(action, "delete") == 0 ? deletes : strcmp(action, "get") == 0 ? none : writes;
    if (!*first) {
        buf_append_char(b, ',');
    }
    *first = false;
    buf_printf(b, "\"%s\":{\"operationId\":\"%s%.*s%.*s%.*s\",\"parameters\":[", method, action, STR_ARG(r->group), STR_ARG(r->version),
               STR_ARG(r->kind));
    for (size_t i = 0; params[i]; i++) {
        parameter(b, v, params[i], "string", i == 0);
    }
    if (strcmp(action, "patch") == 0) {
        parameter(b, v, "force", "boolean", false);
    }
    const char *shown = strcmp(action, "create") == 0 ? "post" : strcmp(action, "update") == 0 ? "put" : action;
    buf_printf(b, "],\"responses\":{\"200\":{\"description\":\"OK\"}},\"x-kubernetes-action\":\"%s\","
                  "\"x-kubernetes-group-version-kind\":{\"group\":\"%.*s\",\"kind\":\"%.*s\",\"version\":\"%.*s\"}}", shown,
               STR_ARG(r->group), STR_ARG(r->kind), STR_ARG(r->version));
}

static void path_head(struct buf *b, const struct api_resource *r, bool namespaced, const char *tail)
{
    bool core = str_empty(r->group);
    buf_printf(b, "\"/%s%.*s%s%.*s/%s%.*s%s\":{", core ? "api/" : "apis/", STR_ARG(r->group), core ? "" : "/", STR_ARG(r->version),
               namespaced ? "namespaces/{namespace}/" : "", STR_ARG(r->resource), tail);
}

void openapi_paths(struct buf *b, enum openapi_version v, const struct api_resource *r)
{
    bool first = true;
    if (has_verb(r->verbs, "list") || has_verb(r->verbs, "create")) {
        path_head(b, r, r->namespaced, "");
        if (has_verb(r->verbs, "list")) {
            operation(b, v, r, "get", "list", &first);
        }
        if (has_verb(r->verbs, "create")) {
            operation(b, v, r, "post", "create", &first);
        }
        if (has_verb(r->verbs, "deletecollection")) {
            operation(b, v, r, "delete", "deletecollection", &first);
        }
        buf_append_char(b, '}');
    }
    if (!has_verb(r->verbs, "get")) {
        return;
    }
    buf_append_char(b, ',');
    first = true;
    path_head(b, r, r->namespaced, "/{name}");
    operation(b, v, r, "get", "get", &first);
    if (has_verb(r->verbs, "update")) {
        operation(b, v, r, "put", "update", &first);
    }
    if (has_verb(r->verbs, "patch")) {
        operation(b, v, r, "patch", "patch", &first);
    }
    if (has_verb(r->verbs, "delete")) {
        operation(b, v, r, "delete", "delete", &first);
    }
    buf_append_char(b, '}');
}
