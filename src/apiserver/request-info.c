#include "apiserver/request-info.h"

#include "base/encoding.h"

/* Steps to the next non-empty key=value of a query string. False at the end. */
static bool query_next(struct str *rest, struct str *ret_key, struct str *ret_value)
{
    struct str piece;
    while (rest->ptr && str_split(rest, '&', &piece)) {
        if (str_empty(piece)) {
            continue;
        }
        struct str key, value;
        if (!str_cut(piece, '=', &key, &value)) {
            value = STR_EMPTY;
        }
        *ret_key = key;
        *ret_value = value;
        return true;
    }
    return false;
}

static struct str decoded(struct arena *a, struct str s)
{
    struct str out;
    if (str_find_char(s, '%') < 0 && str_find_char(s, '+') < 0) {
        return s.ptr ? s : STR_EMPTY;
    }
    return percent_decode(a, s, true, &out) ? out : STR_NULL;
}

struct str query_get(struct arena *a, struct str query, struct str key)
{
    struct str rest = query, k, v;
    while (query_next(&rest, &k, &v)) {
        struct str value = str_eq(decoded(a, k), key) ? decoded(a, v) : STR_NULL;
        if (value.ptr) {
            return value;
        }
    }
    return STR_NULL;
}

size_t query_get_all(struct arena *a, struct str query, struct str key, struct str **ret_values)
{
    struct str rest = query, k, v;
    size_t n = 0;
    while (query_next(&rest, &k, &v)) {
        n += str_eq(decoded(a, k), key);
    }
    *ret_values = arena_new_n(a, struct str, n);
    if (!*ret_values) {
        return 0;
    }
    rest = query;
    size_t i = 0;
    while (i < n && query_next(&rest, &k, &v)) {
        struct str value = str_eq(decoded(a, k), key) ? decoded(a, v) : STR_NULL;
        if (value.ptr) {
            (*ret_values)[i++] = value;
        }
    }
    return i;
}

/* The path cut at its slashes, leading and trailing ones dropped; at most 'max' pieces, the last holding what is left. */
static size_t split_path(struct str path, struct str *parts, size_t max, bool *ret_trailing)
{
    struct str rest = path;
    *ret_trailing = path.len > 1 && path.ptr[path.len - 1] == '/';
    while (rest.len > 0 && rest.ptr[0] == '/') {
        rest = str_sub(rest, 1, rest.len);
    }
    while (rest.len > 0 && rest.ptr[rest.len - 1] == '/') {
        rest.len--;
    }
    size_t n = 0;
    while (rest.len > 0 && n + 1 < max) {
        struct str head, tail;
        bool more = str_cut(rest, '/', &head, &tail);
        parts[n++] = head;
        rest = more ? tail : STR_EMPTY;
    }
    if (rest.len > 0) {
        parts[n++] = rest;
    }
    return n;
}

static struct str verb_of_method(struct str method)
{
    static const struct {
        const char *method, *verb;
    } table[] = { { "GET", "get" },     { "HEAD", "get" },    { "POST", "create" },
                  { "PUT", "update" }, { "PATCH", "patch" }, { "DELETE", "delete" } };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (str_eq_c(method, table[i].method)) {
            return str_c(table[i].verb);
        }
    }
    return STR_EMPTY;
}

static struct str lower(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len);
    if (!out) {
        return STR_EMPTY;
    }
    for (size_t i = 0; i < s.len; i++) {
        out[i] = (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + 32 : s.ptr[i]);
    }
    return str_n(out, s.len);
}

static bool truthy(struct str v)
{
    bool b;
    return v.ptr && !str_eq_c(v, "false") && !str_eq_c(v, "0") && (str_empty(v) || !str_to_bool(v, &b) || b);
}

/* A list or watch of exactly one name counts as a request for that name: "fieldSelector=metadata.name=x". */
static struct str name_of_selector(struct arena *a, struct str query)
{
    struct str sel = query_get(a, query, STR("fieldSelector"));
    struct str key = STR("metadata.name=");
    if (!str_starts(sel, key) || str_find_char(sel, ',') >= 0) {
        return STR_EMPTY;
    }
    struct str name = str_sub(sel, key.len, sel.len);
    if (name.len > 0 && name.ptr[0] == '=') {
        name = str_sub(name, 1, name.len);
    }
    return name;
}

bool request_info_parse(struct arena *a, struct str method, struct str path, struct str query, struct request_info *ret,
                        struct err *err)
{
    struct request_info info = { .path = path, .prefix = STR_EMPTY, .group = STR_EMPTY, .version = STR_EMPTY, .ns = STR_EMPTY,
                                 .resource = STR_EMPTY, .subresource = STR_EMPTY, .name = STR_EMPTY, .rest = STR_EMPTY };
    info.verb = lower(a, method);

    struct str parts[12];
    bool trailing;
    size_t n = split_path(path, parts, ARRAY_SIZE(parts), &trailing), at = 0;
    bool groupless = n > 0 && str_eq_c(parts[0], "api");
    if (n < 3 || (!groupless && !str_eq_c(parts[0], "apis")) || (!groupless && n < 4)) {
        *ret = info;
        return true;
    }
    info.prefix = parts[at++];
    if (!groupless) {
        info.group = parts[at++];
    }
    info.is_resource = true;
    info.version = parts[at++];

    bool special = str_eq_c(parts[at], "watch") || str_eq_c(parts[at], "proxy");
    if (special) {
        if (n - at < 2) {
            return err_set(err, ERR_NOT_FOUND, "unable to determine kind and namespace from url, %.*s", STR_ARG(path));
        }
        info.verb = parts[at++];
    } else {
        info.verb = verb_of_method(method);
    }
    if (str_eq_c(parts[at], "namespaces")) {
        if (n - at > 1) {
            info.ns = parts[at + 1];
            bool sub = n - at > 2 && (str_eq_c(parts[at + 2], "status") || str_eq_c(parts[at + 2], "finalize"));
            if (n - at > 2 && !sub) {
                at += 2;
            }
        }
    }
    info.resource = parts[at];
    if (n - at >= 2) {
        info.name = parts[at + 1];
    }
    if (n - at >= 3 && !special) {
        info.subresource = parts[at + 2];
    }
    if (n - at >= 3) {
        const char *end = parts[at + 2].ptr + parts[at + 2].len;
        const char *path_end = path.ptr + path.len;
        info.rest_slash = end < path_end;
        if (n - at >= 4) {
            info.rest = str_n(parts[at + 3].ptr, (size_t)(path_end - parts[at + 3].ptr));
        }
    }
    if (str_empty(info.name) && str_eq_c(info.verb, "get")) {
        info.verb = truthy(query_get(a, query, STR("watch"))) ? STR("watch") : STR("list");
        info.name = name_of_selector(a, query);
    }
    if (str_empty(info.name) && str_eq_c(info.verb, "delete")) {
        info.verb = STR("deletecollection");
    }
    *ret = info;
    return true;
}
