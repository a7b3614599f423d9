#include "apiserver/media.h"

#include "net/http.h"

static bool type_is(struct str type, const char *name)
{
    return str_eq_nocase(type, str_c(name));
}

static bool clause_format(struct str type, unsigned allow, enum media_format *ret)
{
    if (type_is(type, "*/*") || type_is(type, "application/json") || type_is(type, "application/*")) {
        *ret = MEDIA_JSON;
    } else if (type_is(type, "application/yaml")) {
        *ret = MEDIA_YAML;
    } else if (type_is(type, "application/vnd.kubernetes.protobuf") && !(allow & MEDIA_ALLOW_NO_PROTOBUF)) {
        *ret = MEDIA_PROTOBUF;
    } else {
        return false;
    }
    return true;
}

static bool clause_as(const struct http_media *m, unsigned allow, struct media *ret)
{
    struct str as = http_media_param(m, STR("as")), g = http_media_param(m, STR("g")), v = http_media_param(m, STR("v"));
    bool v1 = str_eq_c(v, "v1") || str_eq_c(v, "v1beta1");

    ret->as = MEDIA_AS_OBJECT;
    ret->version = v;
    if (!as.ptr && !g.ptr && !v.ptr) {
        return true;
    }
    if (str_eq_c(as, "Table") && (allow & MEDIA_ALLOW_TABLE) && str_eq_c(g, "meta.k8s.io") && v1) {
        ret->as = MEDIA_AS_TABLE;
        return true;
    }
    if ((str_eq_c(as, "PartialObjectMetadata") || str_eq_c(as, "PartialObjectMetadataList")) &&
        (allow & MEDIA_ALLOW_PARTIAL) && str_eq_c(g, "meta.k8s.io") && v1) {
        ret->as = MEDIA_AS_PARTIAL;
        return true;
    }
    if (str_eq_c(as, "APIGroupDiscoveryList") && (allow & MEDIA_ALLOW_AGGREGATED) && str_eq_c(g, "apidiscovery.k8s.io") &&
        str_eq_c(v, "v2")) {
        ret->as = MEDIA_AS_AGGREGATED;
        return true;
    }
    return false;
}

enum media_result media_negotiate(struct arena *a, struct str accept, unsigned allow, struct media *ret)
{
    *ret = (struct media){ .format = MEDIA_JSON };
    if (str_empty(str_trim(accept))) {
        return MEDIA_OK;
    }
    struct http_media *clauses;
    size_t n;
    if (!http_accept_parse(a, accept, &clauses, &n)) {
        return MEDIA_NO_TYPE;
    }
    bool any_type = false;
    /* By falling weight, among equals in the order written. */
    for (int q = 1001;;) {
        int next = -1;
        for (size_t i = 0; i < n; i++) {
            next = clauses[i].q < q && clauses[i].q > next ? clauses[i].q : next;
        }
        if (next <= 0) {
            return any_type ? MEDIA_NO_FORM : MEDIA_NO_TYPE;
        }
        q = next;
        for (size_t i = 0; i < n; i++) {
            struct media m = { 0 };
            if (clauses[i].q != q || !clause_format(clauses[i].type, allow, &m.format)) {
                continue;
            }
            any_type = true;
            if (clause_as(&clauses[i], allow, &m) && !(m.as == MEDIA_AS_TABLE && m.format == MEDIA_PROTOBUF)) {
                *ret = m;
                return MEDIA_OK;
            }
        }
    }
}

bool media_wants_pretty(struct str pretty_param, struct str user_agent)
{
    bool b;
    if (pretty_param.ptr) {
        return str_to_bool(pretty_param, &b) && b;
    }
    return str_starts(user_agent, STR("curl")) || str_starts(user_agent, STR("Wget")) ||
           str_starts(user_agent, STR("Mozilla/5.0"));
}

bool media_of_content_type(struct str content_type, enum media_format *ret)
{
    struct str type, params;
    if (!str_cut(content_type, ';', &type, &params)) {
        type = content_type;
    }
    type = str_trim(type);
    if (str_empty(type) || type_is(type, "application/json")) {
        *ret = MEDIA_JSON;
    } else if (type_is(type, "application/yaml")) {
        *ret = MEDIA_YAML;
    } else if (type_is(type, "application/vnd.kubernetes.protobuf")) {
        *ret = MEDIA_PROTOBUF;
    } else {
        return false;
    }
    return true;
}

struct str media_type_name(enum media_format f)
{
    switch (f) {
    case MEDIA_YAML:
        return STR("application/yaml");
    case MEDIA_PROTOBUF:
        return STR("application/vnd.kubernetes.protobuf");
    case MEDIA_JSON:
        break;
    }
    return STR("application/json");
}

static void newline(struct buf *b, size_t depth)
{
    buf_append_char(b, '\n');
    for (size_t i = 0; i < depth; i++) {
        buf_append(b, STR("  "));
    }
}

void media_indent(struct buf *b, struct str json)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        if (in_string) {
            buf_append_char(b, c);
            if (c == '\\' && i + 1 < json.len) {
                buf_append_char(b, json.ptr[++i]);
            } else if (c == '"') {
                in_string = false;
            }
            continue;
        }
        switch (c) {
        case '"':
            in_string = true;
            buf_append_char(b, c);
            break;
        case '{':
        case '[':
            buf_append_char(b, c);
            if (i + 1 < json.len && (json.ptr[i + 1] == '}' || json.ptr[i + 1] == ']')) {
                buf_append_char(b, json.ptr[++i]);
            } else {
                newline(b, ++depth);
            }
            break;
        case '}':
        case ']':
            newline(b, depth > 0 ? --depth : 0);
            buf_append_char(b, c);
            break;
        case ',':
            buf_append_char(b, c);
            newline(b, depth);
            break;
        case ':':
            buf_append(b, STR(": "));
            break;
        case ' ':
        case '\n':
        case '\t':
        case '\r':
            break;
        default:
            buf_append_char(b, c);
            break;
        }
    }
}
