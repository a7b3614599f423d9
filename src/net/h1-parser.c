#include "net/h1-parser.h"

#include <pthread.h>

#include "net/limits.h"

/* http-parser has one bound for all parsers; ours are per parser and tighter. */
static void set_library_bound(void)
{
    http_parser_set_max_header_size(1024 * 1024);
}

static size_t failed(struct h1_parser *p, int status, const char *reason)
{
    p->state = H1_FAILED;
    p->status = status;
    p->reason = reason;
    return 0;
}

/* ---- http-parser's callbacks ---- */

static int fail_cb(struct h1_parser *p, int status, const char *reason)
{
    failed(p, status, reason);
    return 1;
}

static int finish_header(struct h1_parser *p)
{
    if (!p->name.ptr) {
        return 0;
    }
    if (p->n_headers == HTTP_MAX_HEADERS) {
        return fail_cb(p, 431, "too many headers");
    }
    p->headers[p->n_headers++] = (struct http_header){ .name = p->name, .value = p->value.ptr ? p->value : STR_EMPTY };
    p->name = p->value = STR_NULL;
    p->in_value = false;
    return 0;
}

static int on_url(http_parser *hp, const char *at, size_t len)
{
    struct h1_parser *p = hp->data;
    p->out.target = str_n(p->out.target.ptr ? p->out.target.ptr : at, p->out.target.len + len);
    return 0;
}

/* Trailers come from a buffer of the caller: they are gathered in 'head' as name, 0, value, 0. */
static void trailer_byte_end(struct h1_parser *p)
{
    buf_append_char(&p->head, 0);
}

static int on_field(http_parser *hp, const char *at, size_t len)
{
    struct h1_parser *p = hp->data;
    if (p->in_trailers) {
        if (p->in_value) {
            trailer_byte_end(p);
            p->in_value = false;
        }
        buf_append_bytes(&p->head, at, len);
        return buf_failed(&p->head) ? fail_cb(p, 431, "the trailers are too large") : 0;
    }
    if (p->in_value || !p->name.ptr) {
        if (finish_header(p) != 0) {
            return 1;
        }
        p->name = str_n(at, 0);
    }
    p->name.len += len;
    return 0;
}

static int on_value(http_parser *hp, const char *at, size_t len)
{
    struct h1_parser *p = hp->data;
    if (p->in_trailers) {
        if (!p->in_value) {
            trailer_byte_end(p);
            p->in_value = true;
        }
        buf_append_bytes(&p->head, at, len);
        return buf_failed(&p->head) ? fail_cb(p, 431, "the trailers are too large") : 0;
    }
    p->in_value = true;
    p->value = str_n(p->value.ptr ? p->value.ptr : at, p->value.len + len);
    return 0;
}

/* Names become lower case where they lie: in our own copy of the head. */
static void lower(struct str s)
{
    char *c = (char *)(uintptr_t)s.ptr;
    for (size_t i = 0; i < s.len; i++) {
        c[i] = c[i] >= 'A' && c[i] <= 'Z' ? (char)(c[i] + 32) : c[i];
    }
}

static int check_lengths(struct h1_parser *p, const http_parser *hp)
{
    struct h1_head *h = &p->out;
    struct str v;
    size_t pos = 0, n = 0;
    while (http_header_next(&h->headers, STR("content-length"), &pos, &v)) {
        uint64_t len;
        if (++n > 1 || !str_to_u64(v, &len) || len > INT64_MAX) {
            return fail_cb(p, 400, "bad Content-Length");
        }
        h->content_length = (int64_t)len;
    }
    pos = n = 0;
    while (http_header_next(&h->headers, STR("transfer-encoding"), &pos, &v)) {
        if (++n > 1 || h->version == 10 || h->content_length >= 0) {
            return fail_cb(p, 400, "ambiguous message length");
        }
        if (!str_eq_nocase(v, STR("chunked"))) {
            return fail_cb(p, 501, "this transfer coding is not served");
        }
        h->chunked = true;
    }
    if (h->chunked != ((hp->flags & F_CHUNKED) != 0)) {
        return fail_cb(p, 400, "ambiguous message length");
    }
    return 0;
}

static int check_request(struct h1_parser *p, const http_parser *hp)
{
    struct h1_head *h = &p->out;
    struct str host = STR_NULL, v;
    size_t pos = 0, n = 0;
    h->method = str_c(http_method_str((enum http_method)hp->method));
    while (http_header_next(&h->headers, STR("host"), &pos, &v)) {
        host = v;
        n++;
    }
    if (n > 1 || (n == 0 && h->version == 11) || str_find_char(host, ',') >= 0 || str_find_char(host, '/') >= 0 ||
        str_find_char(host, ' ') >= 0) {
        return fail_cb(p, 400, "bad or missing Host");
    }
    h->authority = host.ptr ? host : STR_EMPTY;
    if (h->target.len > HTTP_MAX_TARGET) {
        return fail_cb(p, 414, "the request target is too long");
    }
    struct str scheme_end = STR("://");
    ptrdiff_t at = str_find(h->target, scheme_end);
    if (h->target.len > 0 && h->target.ptr[0] != '/' && at > 0) { /* absolute form (RFC 9112 3.2.2) */
        struct str rest = str_sub(h->target, (size_t)at + scheme_end.len, SIZE_MAX);
        ptrdiff_t slash = str_find_char(rest, '/');
        h->authority = slash >= 0 ? str_sub(rest, 0, (size_t)slash) : rest;
        h->target = slash >= 0 ? str_sub(rest, (size_t)slash, SIZE_MAX) : STR("/");
    }
    if (h->target.len == 0 || (h->target.ptr[0] != '/' && !str_eq(h->target, STR("*")))) {
        return fail_cb(p, 400, "bad request target");
    }
    return 0;
}

static int take_head(http_parser *hp)
{
    struct h1_parser *p = hp->data;
    struct h1_head *h = &p->out;
    if (finish_header(p) != 0) {
        return 1;
    }
    for (size_t i = 0; i < p->n_headers; i++) {
        if (!http_is_token(p->headers[i].name)) {
            return fail_cb(p, 400, "bad header name");
        }
        lower(p->headers[i].name);
        p->headers[i].value = str_trim(p->headers[i].value);
    }
    struct http_header *items = arena_new_n(p->arena, struct http_header, p->n_headers);
    if (!items) {
        return fail_cb(p, 431, "the headers are too large");
    }
    if (p->n_headers > 0) {
        memcpy(items, p->headers, p->n_headers * sizeof(*items));
    }
    h->headers = (struct http_headers){ .items = items, .n = p->n_headers };
    if (hp->http_major != 1 || hp->http_minor > 1) {
        return fail_cb(p, 505, "HTTP version not served");
    }
    h->version = 10 + hp->http_minor;
    h->content_length = -1;
    if (check_lengths(p, hp) != 0 || (!p->response && check_request(p, hp) != 0)) {
        return 1;
    }
    h->status = p->response ? (int)hp->status_code : 0;
    h->keep_alive = http_should_keep_alive(hp);
    h->upgrade = h->version == 11 && http_header_has_token(&h->headers, STR("connection"), STR("upgrade")) &&
                 http_header_get(&h->headers, STR("upgrade")).len > 0;
    h->expect_continue = h->version == 11 &&
                         str_eq_nocase(http_header_get(&h->headers, STR("expect")), STR("100-continue"));
    if (p->response) {
        bool none = h->status < 200 || h->status == 204 || h->status == 304;
        h->has_body = !none && (h->chunked || h->content_length != 0);
    } else {
        h->has_body = h->chunked || h->content_length > 0;
    }
    bool body = p->ops->on_head(h, p->arg);
    if (p->state == H1_FAILED) {
        return 1;
    }
    p->in_trailers = true; /* header lines from here on are trailers */
    p->in_value = false;
    buf_deinit(&p->head);
    buf_init(&p->head, 8 * 1024);
    return p->response && (!body || h->status == 101) ? 1 : 0;
}

static int on_headers_complete(http_parser *hp)
{
    /* To http-parser 1 means "no body follows", and 3 is an error. */
    const struct h1_parser *p = hp->data;
    int r = take_head(hp);
    return p->state == H1_FAILED ? 3 : r;
}

static int on_body(http_parser *hp, const char *at, size_t len)
{
    struct h1_parser *p = hp->data;
    p->ops->on_body(str_n(at, len), p->arg);
    return p->state == H1_FAILED;
}

/* Cuts the gathered trailers up. 'items' has room for HTTP_MAX_HEADERS. */
static bool split_trailers(struct h1_parser *p, struct http_header *items, size_t *ret_n)
{
    size_t n = 0;
    if (p->head.len > 0) {
        trailer_byte_end(p);
    }
    struct str rest = buf_str(&p->head), name, value;
    while (rest.len > 0) {
        if (n == HTTP_MAX_HEADERS || !str_split(&rest, 0, &name) || !str_split(&rest, 0, &value) || !http_is_token(name) ||
            !http_is_field_value(value)) {
            return false;
        }
        lower(name);
        items[n++] = (struct http_header){ .name = name, .value = str_trim(value) };
    }
    *ret_n = n;
    return true;
}

static int on_complete(http_parser *hp)
{
    struct h1_parser *p = hp->data;
    struct http_header items[HTTP_MAX_HEADERS];
    struct http_headers trailers = { .items = items };
    if (!split_trailers(p, items, &trailers.n)) {
        return fail_cb(p, 400, "bad trailers");
    }
    p->state = H1_DONE;
    http_parser_pause(hp, 1);
    p->ops->on_end(&trailers, p->arg);
    return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* ---- the strict look ---- */

enum scan { SCAN_MORE, SCAN_COMPLETE, SCAN_BAD };

/* Looks at the head's bytes up to its end. '*ret_n' is how many belong to it. */
static enum scan scan(struct h1_parser *p, struct str data, size_t *ret_n)
{
    for (size_t i = 0; i < data.len; i++) {
        char c = data.ptr[i];
        if (p->prev == '\r' && c != '\n') {
            return SCAN_BAD;
        }
        if (c == '\n') {
            if (p->prev != '\r') {
                return SCAN_BAD;
            }
            bool empty = p->line_len == 1;
            if (empty && p->n_lines == 0 && !p->response) { /* before the request: http-parser skips it too */
                p->line_len = 0;
                p->prev = c;
                continue;
            }
            if (empty) {
                *ret_n = i + 1;
                return SCAN_COMPLETE;
            }
            p->line_len = 0;
            p->n_lines++;
        } else {
            bool folded = p->line_len == 0 && p->n_lines > 0 && (c == ' ' || c == '\t');
            if (folded || ((unsigned char)c < 0x20 && c != '\t' && c != '\r') || c == 0x7f) {
                return SCAN_BAD;
            }
            p->line_len++;
        }
        p->prev = c;
    }
    *ret_n = data.len;
    return SCAN_MORE;
}

/* Runs http-parser over the complete head, which then lives in the message's arena. */
static void parse_head(struct h1_parser *p, struct str head)
{
    struct http_header headers[HTTP_MAX_HEADERS];
    p->arena = p->ops->begin(p->arg);
    struct str copy = arena_str(p->arena, head);
    if (!copy.ptr) {
        failed(p, 431, "the headers are too large");
        return;
    }
    p->headers = headers;
    p->n_headers = 0;
    p->out = (struct h1_head){ 0 };
    p->name = p->value = STR_NULL;
    p->in_value = p->in_trailers = false;
    http_parser_init(&p->p, p->response ? HTTP_RESPONSE : HTTP_REQUEST);
    p->p.data = p;
    p->state = H1_BODY;
    size_t n = http_parser_execute(&p->p, &settings, copy.ptr, copy.len);
    p->headers = NULL;
    if (p->state == H1_FAILED || p->state == H1_DONE) {
        return;
    }
    enum http_errno e = HTTP_PARSER_ERRNO(&p->p);
    if (e != HPE_OK || n != copy.len) {
        failed(p, e == HPE_INVALID_METHOD ? 501 : e == HPE_INVALID_VERSION ? 505 : 400, http_errno_description(e));
    } else if (!p->in_trailers) {
        failed(p, 400, "malformed request head"); /* to http-parser it has not ended */
    }
}

void h1_parser_init(struct h1_parser *p, bool response, size_t max_head, const struct h1_parser_ops *ops, void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_library_bound);
    *p = (struct h1_parser){ .ops = ops, .arg = arg, .response = response, .max_head = max_head };
    buf_init(&p->head, max_head);
}

void h1_parser_deinit(struct h1_parser *p)
{
    buf_deinit(&p->head);
}

void h1_parser_next(struct h1_parser *p)
{
    buf_deinit(&p->head);
    h1_parser_init(p, p->response, p->max_head, p->ops, p->arg);
}

static size_t eat_head(struct h1_parser *p, struct str data)
{
    size_t skipped = 0, n = 0;
    /* Empty lines before a request are skipped (RFC 9112 2.2), a few. */
    while (!p->response && !p->started && skipped < 8 && data.len - skipped >= 2 &&
           memcmp(data.ptr + skipped, "\r\n", 2) == 0) {
        skipped += 2;
    }
    data = str_sub(data, skipped, SIZE_MAX);
    if (data.len == 0) {
        return skipped;
    }
    p->started = true;
    enum scan r = scan(p, data, &n);
    if (r == SCAN_BAD) {
        return failed(p, 400, "malformed request head");
    }
    if (p->head.len + n > p->max_head) {
        return failed(p, 431, "the headers are too large");
    }
    if (r == SCAN_MORE || p->head.len > 0) {
        buf_append(&p->head, str_sub(data, 0, n));
    }
    if (r == SCAN_COMPLETE) {
        p->rest = str_sub(data, n, SIZE_MAX);
        if (p->head.len > 0) {
            struct buf whole = p->head;
            buf_init(&p->head, p->max_head);
            parse_head(p, buf_str(&whole));
            buf_deinit(&whole);
        } else {
            parse_head(p, str_sub(data, 0, n));
        }
    }
    return skipped + n;
}

static size_t eat_body(struct h1_parser *p, struct str data)
{
    const char *bad = NULL;
    if (p->out.chunked) {
        data = str_sub(data, 0, h1_chunks_look(&p->chunks, data, &bad));
    }
    size_t n = data.len > 0 ? http_parser_execute(&p->p, &settings, data.ptr, data.len) : 0;
    enum http_errno e = HTTP_PARSER_ERRNO(&p->p);
    if (e != HPE_OK && e != HPE_PAUSED && p->state != H1_FAILED) {
        failed(p, 400, http_errno_description(e));
    } else if (bad && p->state == H1_BODY) {
        failed(p, 400, bad);
    }
    return n;
}

size_t h1_parser_eat(struct h1_parser *p, struct str data)
{
    size_t eaten = 0;
    if (p->state == H1_HEAD) {
        eaten = eat_head(p, data);
    }
    if (p->state == H1_BODY && eaten < data.len) {
        eaten += eat_body(p, str_sub(data, eaten, SIZE_MAX));
    }
    return eaten;
}

bool h1_parser_eof(struct h1_parser *p)
{
    if (p->state == H1_BODY && p->response) {
        (void)http_parser_execute(&p->p, &settings, NULL, 0);
    }
    return p->state == H1_DONE;
}
