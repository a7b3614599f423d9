#include "kubelet/docker-log.h"

#include "api/json-reader.h"

bool docker_log_parse(struct arena *a, struct str line, struct docker_log_line *ret)
{
    struct json_reader r;
    struct str key;
    int more;
    *ret = (struct docker_log_line){ 0 };
    json_reader_init(&r, line, a, 8, NULL);
    if (json_peek(&r) != JSON_OBJECT || !json_object_begin(&r)) {
        return false;
    }
    while ((more = json_object_next(&r, &key)) > 0) {
        struct str *to = str_eq_c(key, "log") ? &ret->text : str_eq_c(key, "stream") ? &ret->stream : str_eq_c(key, "time") ? &ret->stamp : NULL;
        if (!(to ? json_string(&r, to) : json_skip(&r))) {
            return false;
        }
    }
    if (more < 0 || !json_end(&r) || !ret->stamp.len || !ret->stream.len) {
        return false;
    }
    ret->ends = str_ends(ret->text, STR("\n"));
    if (ret->ends) {
        ret->text.len--;
    }
    return true;
}
