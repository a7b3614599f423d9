#include "apiserver/continue-token.h"

#include "api/val.h"
#include "base/encoding.h"

struct str continue_encode(struct arena *a, const struct continue_token *t, bool with_ns)
{
    CLEANUP(buf_deinit) struct buf json, b64;
    buf_init(&json, 4096);
    buf_init(&b64, 8192);
    buf_printf(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%lld,\"start\":\"", (long long)t->rv);
    buf_append(&json, t->rv < 0 ? STR_EMPTY : STR("/"));
    if (with_ns) {
        buf_printf(&json, "%.*s/", STR_ARG(t->ns));
    }
    buf_printf(&json, "%.*s\\u0000\"}", STR_ARG(t->name));
    base64url_encode(&b64, buf_str(&json));
    return arena_str(a, buf_str(&b64));
}

/* Where Go's decoder of the URL alphabet without padding stops. */
static size_t bad_offset(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!ok) {
            return i;
        }
    }
    return s.len;
}

static bool split_start(struct str start, bool with_ns, struct continue_token *ret)
{
    if (start.len > 0 && start.ptr[0] == '/') {
        start = str_sub(start, 1, start.len);
    }
    if (start.len > 0 && start.ptr[start.len - 1] == '\0') {
        start.len--;
    }
    ret->ns = STR_EMPTY;
    ret->name = start;
    if (with_ns && !str_cut(start, '/', &ret->ns, &ret->name)) {
        return false;
    }
    return !str_empty(ret->name) && str_find_char(ret->name, '/') < 0 && !str_eq_c(ret->name, "..") && !str_eq_c(ret->name, ".");
}

bool continue_decode(struct arena *a, struct str text, bool with_ns, struct continue_token *ret, struct err *err)
{
    struct str json;
    struct val v;
    struct err inner = { 0 };
    if (!base64url_decode(a, text, &json)) {
        return err_set(err, ERR_BAD_REQUEST, "continue key is not valid: illegal base64 data at input byte %zu", bad_offset(text));
    }
    if (!val_parse_json(a, json, 8, NULL, &v, &inner)) {
        return err_set(err, ERR_BAD_REQUEST, "continue key is not valid: %s", inner.msg);
    }
    struct str version = val_get_str(&v, STR("v")), start = val_get_str(&v, STR("start"));
    if (!str_eq_c(version, "meta.k8s.io/v1")) {
        return err_set(err, ERR_BAD_REQUEST, "continue key is not valid: server does not recognize this encoded version \"%.*s\"",
                       STR_ARG(version));
    }
    if (!val_as_i64(val_get(&v, STR("rv")), &ret->rv) || ret->rv == 0) {
        return err_set(err, ERR_BAD_REQUEST, "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
    }
    if (str_empty(start)) {
        return err_set(err, ERR_BAD_REQUEST, "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)");
    }
    return split_start(start, with_ns, ret) ||
           err_set(err, ERR_BAD_REQUEST, "continue key is not valid: %.*s", STR_ARG(start));
}
