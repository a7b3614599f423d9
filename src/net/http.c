#include "net/http.h"

#include <time.h>

#include "base/encoding.h"
#include "net/limits.h"

struct str http_header_get(const struct http_headers *h, struct str name)
{
    size_t pos = 0;
    struct str value;
    return http_header_next(h, name, &pos, &value) ? value : STR_NULL;
}

bool http_header_next(const struct http_headers *h, struct str name, size_t *pos, struct str *ret_value)
{
    while (*pos < h->n) {
        const struct http_header *item = &h->items[(*pos)++];
        if (item->name.len == name.len && str_eq_nocase(item->name, name)) {
            *ret_value = item->value;
            return true;
        }
    }
    return false;
}

bool http_header_has_token(const struct http_headers *h, struct str name, struct str token)
{
    size_t pos = 0;
    struct str value, piece;
    while (http_header_next(h, name, &pos, &value)) {
        while (str_split(&value, ',', &piece)) {
            if (str_eq_nocase(str_trim(piece), token)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_tchar(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool http_is_token(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (!is_tchar((unsigned char)name.ptr[i])) {
            return false;
        }
    }
    return name.len > 0;
}

bool http_is_field_value(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static const struct {
    int status;
    const char *text;
} statuses[] = {
    { 100, "Continue" }, { 101, "Switching Protocols" }, { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" },
    { 203, "Non-Authoritative Information" }, { 204, "No Content" }, { 206, "Partial Content" },
    { 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" },
    { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" }, { 400, "Bad Request" }, { 401, "Unauthorized" },
    { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 406, "Not Acceptable" },
    { 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" }, { 411, "Length Required" },
    { 412, "Precondition Failed" }, { 413, "Request Entity Too Large" }, { 414, "Request URI Too Long" },
    { 415, "Unsupported Media Type" }, { 416, "Requested Range Not Satisfiable" }, { 417, "Expectation Failed" },
    { 421, "Misdirected Request" }, { 422, "Unprocessable Entity" }, { 426, "Upgrade Required" },
    { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" },
    { 501, "Not Implemented" }, { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        if (statuses[i].status == status) {
            return statuses[i].text;
        }
    }
    return "";
}

struct str http_date(int64_t unix_s, char dst[HTTP_DATE_SIZE])
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm;
    time_t t = (time_t)unix_s;
    if (!gmtime_r(&t, &tm)) {
        dst[0] = 0;
        return STR_EMPTY;
    }
    int n = snprintf(dst, HTTP_DATE_SIZE, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + tm.tm_wday * 3, tm.tm_mday,
                     months + tm.tm_mon * 3, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return str_n(dst, n > 0 && n < HTTP_DATE_SIZE ? (size_t)n : 0);
}

/* ---- targets ---- */

static size_t count_char(struct str s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += s.ptr[i] == c;
    }
    return n;
}

static bool parse_path(struct arena *a, struct http_target *t, struct err *err)
{
    struct str path = str_sub(t->path, 1, SIZE_MAX), piece;
    if (path.len > 0 && path.ptr[path.len - 1] == '/') {
        t->trailing_slash = true;
        path.len--;
    }
    if (path.len == 0 && !t->trailing_slash) {
        return true;
    }
    size_t max = count_char(path, '/') + 1;
    if (max > HTTP_MAX_SEGMENTS) {
        return err_set(err, ERR_BAD_REQUEST, "the path has more than %d segments", HTTP_MAX_SEGMENTS);
    }
    t->segments = arena_new_n(a, struct str, max);
    if (!t->segments) {
        return err_set(err, ERR_TOO_LARGE, "the path is too long");
    }
    while (str_split(&path, '/', &piece)) {
        struct str s = piece;
        if (memchr(piece.ptr, '%', piece.len) && !percent_decode(a, piece, false, &s)) {
            return err_set(err, ERR_BAD_REQUEST, "the path has a bad percent escape");
        }
        if (memchr(s.ptr, 0, s.len) || str_eq(s, STR(".")) || str_eq(s, STR(".."))) {
            return err_set(err, ERR_BAD_REQUEST, "the path has a segment that is not allowed");
        }
        t->segments[t->n_segments++] = s;
    }
    return true;
}

static bool parse_query(struct arena *a, struct http_target *t, struct err *err)
{
    struct str query = t->query, piece;
    if (query.len == 0) {
        return true;
    }
    size_t max = count_char(query, '&') + 1;
    if (max > HTTP_MAX_PARAMS) {
        return err_set(err, ERR_BAD_REQUEST, "the query has more than %d parameters", HTTP_MAX_PARAMS);
    }
    t->params = arena_new_n(a, struct http_param, max);
    if (!t->params) {
        return err_set(err, ERR_TOO_LARGE, "the query is too long");
    }
    while (str_split(&query, '&', &piece)) {
        if (piece.len == 0) {
            continue;
        }
        struct str name, value;
        if (str_find_char(piece, ';') >= 0) {
            return err_set(err, ERR_BAD_REQUEST, "the query has a semicolon as separator");
        }
        if (!str_cut(piece, '=', &name, &value)) {
            value = STR_EMPTY;
        }
        struct http_param *p = &t->params[t->n_params++];
        if (!percent_decode(a, name, true, &p->name) || !percent_decode(a, value, true, &p->value)) {
            return err_set(err, ERR_BAD_REQUEST, "the query has a bad percent escape");
        }
    }
    return true;
}

bool http_target_parse(struct arena *a, struct str raw, struct http_target *ret, struct err *err)
{
    struct http_target t = { .raw = raw };
    if (raw.len == 0 || raw.ptr[0] != '/') {
        return err_set(err, ERR_BAD_REQUEST, "the request target does not begin with '/'");
    }
    if (!str_cut(raw, '?', &t.path, &t.query)) {
        t.query = STR_NULL;
    }
    if (!parse_path(a, &t, err) || !parse_query(a, &t, err)) {
        return false;
    }
    *ret = t;
    return true;
}

bool http_param_next(const struct http_target *t, struct str name, size_t *pos, struct str *ret_value)
{
    while (*pos < t->n_params) {
        const struct http_param *p = &t->params[(*pos)++];
        if (str_eq(p->name, name)) {
            *ret_value = p->value;
            return true;
        }
    }
    return false;
}

struct str http_param_get(const struct http_target *t, struct str name)
{
    size_t pos = 0;
    struct str value;
    return http_param_next(t, name, &pos, &value) ? value : STR_NULL;
}

bool http_param_bool(const struct http_target *t, struct str name, bool fallback)
{
    struct str v = http_param_get(t, name);
    return v.ptr ? !str_eq(v, STR("0")) && !str_eq_nocase(v, STR("false")) : fallback;
}

/* ---- media types ---- */

static bool parse_q(struct str v, int *ret)
{
    /* qvalue: "0" or "1" with up to three decimals (RFC 9110 12.4.2). */
    if (v.len == 0 || v.len > 5 || (v.ptr[0] != '0' && v.ptr[0] != '1') || (v.len > 1 && v.ptr[1] != '.')) {
        return false;
    }
    int q = (v.ptr[0] - '0') * 1000, scale = 100;
    for (size_t i = 2; i < v.len; i++, scale /= 10) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9') {
            return false;
        }
        q += (v.ptr[i] - '0') * scale;
    }
    *ret = q;
    return q <= 1000;
}

static bool parse_media(struct arena *a, struct str text, struct http_media *m)
{
    struct str piece;
    size_t max = count_char(text, ';');
    if (max > HTTP_MAX_MEDIA) {
        return false;
    }
    m->q = 1000;
    m->params = arena_new_n(a, struct http_param, max + 1);
    if (!m->params || !str_split(&text, ';', &piece)) {
        return false;
    }
    m->type = str_trim(piece);
    while (str_split(&text, ';', &piece)) {
        struct str name, value;
        piece = str_trim(piece);
        if (piece.len == 0) {
            continue;
        }
        if (!str_cut(piece, '=', &name, &value)) {
            value = STR_EMPTY;
        }
        name = str_trim(name);
        value = str_trim(value);
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"') {
            value = str_sub(value, 1, value.len - 2);
        }
        if (str_eq_nocase(name, STR("q"))) {
            if (!parse_q(value, &m->q)) {
                return false;
            }
        } else {
            m->params[m->n_params++] = (struct http_param){ .name = name, .value = value };
        }
    }
    return m->type.len > 0;
}

bool http_accept_parse(struct arena *a, struct str value, struct http_media **ret, size_t *ret_n)
{
    struct str piece;
    size_t max = count_char(value, ',') + 1, n = 0;
    if (max > HTTP_MAX_MEDIA) {
        return false;
    }
    struct http_media *media = arena_new_n(a, struct http_media, max);
    if (!media) {
        return false;
    }
    while (str_split(&value, ',', &piece)) {
        piece = str_trim(piece);
        if (piece.len == 0) {
            continue;
        }
        if (!parse_media(a, piece, &media[n++])) {
            return false;
        }
    }
    *ret = media;
    *ret_n = n;
    return true;
}

struct str http_media_param(const struct http_media *m, struct str name)
{
    for (size_t i = 0; i < m->n_params; i++) {
        if (str_eq_nocase(m->params[i].name, name)) {
            return m->params[i].value;
        }
    }
    return STR_NULL;
}
