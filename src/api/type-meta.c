#include "api/decode-json.h"

#define GO_TYPE_META "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }"

bool api_peek_type_meta(struct arena *a, struct str text, struct api_type_meta *ret, struct err *err)
{
    struct json_reader r;
    struct api_type_meta m = { 0 };
    struct err why, earlier;
    struct str key;
    enum json_kind kind;
    int more = 0;

    json_reader_init(&r, text, a, JSON_DEPTH, &why);
    kind = json_peek(&r);
    if (kind != JSON_OBJECT) {
        if (!json_skip(&r) || !json_end(&r)) {
            goto failed;
        }
        if (kind == JSON_NULL) {
            *ret = m;
            return true;
        }
        (void)json_fail(&r, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go value of type " GO_TYPE_META, json_kind_name(kind));
        goto failed;
    }
    if (!json_object_begin(&r)) {
        goto failed;
    }
    while (!(m.kind.ptr && m.api_version.ptr) && (more = json_object_next(&r, &key)) > 0) {
        bool version = str_eq_nocase(key, STR("apiVersion"));

        if (!version && !str_eq_nocase(key, STR("kind"))) {
            if (!json_skip(&r)) {
                goto failed;
            }
            continue;
        }
        kind = json_peek(&r);
        if (kind == JSON_STRING) {
            if (!json_string(&r, version ? &m.api_version : &m.kind)) {
                goto failed;
            }
        } else if (kind == JSON_NULL) {
            if (!json_null(&r)) {
                goto failed;
            }
        } else if (kind == JSON_NONE) {
            (void)!json_skip(&r);
            goto failed;
        } else {
            if (!json_check(text, JSON_DEPTH, &earlier)) {
                why = earlier;
            } else {
                (void)json_fail(&r, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go struct field .%s of type string",
                                json_kind_name(kind), version ? "apiVersion" : "kind");
            }
            goto failed;
        }
    }
    if (more < 0 || (more == 0 && !(m.kind.ptr && m.api_version.ptr) && !json_end(&r))) {
        goto failed;
    }
    *ret = m;
    return true;

failed:
    return err_set(err, why.code, "couldn't get version/kind; json parse error: %s", why.msg);
}
