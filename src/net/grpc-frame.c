#include "net/grpc-frame.h"

#include <nghttp2/nghttp2.h>

static const struct {
    const char *name;
    enum err_code err;
} codes[GRPC_CODE_MAX] = {
    [GRPC_OK] = { "OK", ERR_NONE },
    [GRPC_CANCELLED] = { "CANCELLED", ERR_CANCELLED },
    [GRPC_UNKNOWN] = { "UNKNOWN", ERR_INTERNAL },
    [GRPC_INVALID_ARGUMENT] = { "INVALID_ARGUMENT", ERR_BAD_REQUEST },
    [GRPC_DEADLINE_EXCEEDED] = { "DEADLINE_EXCEEDED", ERR_TIMEOUT },
    [GRPC_NOT_FOUND] = { "NOT_FOUND", ERR_NOT_FOUND },
    [GRPC_ALREADY_EXISTS] = { "ALREADY_EXISTS", ERR_ALREADY_EXISTS },
    [GRPC_PERMISSION_DENIED] = { "PERMISSION_DENIED", ERR_FORBIDDEN },
    [GRPC_RESOURCE_EXHAUSTED] = { "RESOURCE_EXHAUSTED", ERR_TOO_MANY_REQUESTS },
    [GRPC_FAILED_PRECONDITION] = { "FAILED_PRECONDITION", ERR_CONFLICT },
    [GRPC_ABORTED] = { "ABORTED", ERR_CONFLICT },
    [GRPC_OUT_OF_RANGE] = { "OUT_OF_RANGE", ERR_BAD_REQUEST },
    [GRPC_UNIMPLEMENTED] = { "UNIMPLEMENTED", ERR_METHOD_NOT_ALLOWED },
    [GRPC_INTERNAL] = { "INTERNAL", ERR_INTERNAL },
    [GRPC_UNAVAILABLE] = { "UNAVAILABLE", ERR_UNAVAILABLE },
    [GRPC_DATA_LOSS] = { "DATA_LOSS", ERR_INTERNAL },
    [GRPC_UNAUTHENTICATED] = { "UNAUTHENTICATED", ERR_UNAUTHORIZED },
};

const char *grpc_code_name(enum grpc_code code)
{
    return (unsigned)code < GRPC_CODE_MAX ? codes[code].name : "UNKNOWN";
}

enum err_code grpc_err_code(enum grpc_code code)
{
    return (unsigned)code < GRPC_CODE_MAX ? codes[code].err : ERR_INTERNAL;
}

bool grpc_status_set(struct grpc_status *st, enum grpc_code code, const char *fmt, ...)
{
    va_list ap;
    st->code = code;
    st->err = (struct err){ .code = grpc_err_code(code) };
    va_start(ap, fmt);
    vsnprintf(st->err.msg, sizeof(st->err.msg), fmt, ap);
    va_end(ap);
    return false;
}

void grpc_frame_append(struct buf *b, struct str message)
{
    uint32_t n = (uint32_t)message.len;
    uint8_t prefix[GRPC_PREFIX_SIZE] = { 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };
    buf_append_bytes(b, prefix, sizeof(prefix));
    buf_append(b, message);
}

void grpc_deframer_init(struct grpc_deframer *d, size_t max_message)
{
    *d = (struct grpc_deframer){ 0 };
    buf_init(&d->body, max_message);
}

void grpc_deframer_deinit(struct grpc_deframer *d)
{
    buf_deinit(&d->body);
}

bool grpc_deframer_is_inside(const struct grpc_deframer *d)
{
    return d->in_message || d->n_prefix > 0;
}

static bool read_prefix(struct grpc_deframer *d, struct str *in, struct grpc_status *status)
{
    size_t n = MIN(in->len, GRPC_PREFIX_SIZE - d->n_prefix);
    if (n) {
        memcpy(d->prefix + d->n_prefix, in->ptr, n);
    }
    d->n_prefix += n;
    *in = str_sub(*in, n, SIZE_MAX);
    if (d->n_prefix < GRPC_PREFIX_SIZE) {
        return true;
    }
    if (d->prefix[0] != 0) {
        return grpc_status_set(status, GRPC_INTERNAL, "server sent a compressed message, which nobody asked for");
    }
    d->left = (size_t)d->prefix[1] << 24 | (size_t)d->prefix[2] << 16 | (size_t)d->prefix[3] << 8 | d->prefix[4];
    if (d->left > d->body.max) {
        return grpc_status_set(status, GRPC_RESOURCE_EXHAUSTED, "server sent a message of %zu bytes, limit is %zu", d->left,
                               d->body.max);
    }
    d->in_message = true;
    buf_clear(&d->body);
    return true;
}

bool grpc_deframe(struct grpc_deframer *d, struct str *in, bool *ret_got, struct str *ret_message,
                  struct grpc_status *status)
{
    *ret_got = false;
    if (!d->in_message) {
        if (!read_prefix(d, in, status)) {
            return false;
        }
        if (!d->in_message) {
            return true;
        }
    }
    size_t n = MIN(in->len, d->left);
    struct str piece = str_n(n ? in->ptr : "", n);
    d->left -= n;
    *in = str_sub(*in, n, SIZE_MAX);
    if (d->left || d->body.len) {
        buf_append(&d->body, piece);
        if (buf_failed(&d->body)) {
            return grpc_status_set(status, GRPC_RESOURCE_EXHAUSTED, "out of memory for a message");
        }
        piece = buf_str(&d->body);
    }
    if (d->left == 0) {
        d->in_message = false;
        d->n_prefix = 0;
        *ret_got = true;
        *ret_message = piece;
    }
    return true;
}

enum grpc_code grpc_code_parse(struct str s)
{
    uint64_t v;
    return str_to_u64(s, &v) && v < GRPC_CODE_MAX ? (enum grpc_code)v : GRPC_UNKNOWN;
}

enum grpc_code grpc_code_of_http(int http_status)
{
    switch (http_status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

enum grpc_code grpc_code_of_h2_error(uint32_t error_code)
{
    switch (error_code) {
    case NGHTTP2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

void grpc_message_decode(struct str s, char *dst, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len && n + 1 < size; i++) {
        char c = s.ptr[i];
        if (c == '%' && s.len - i > 2 && hex_digit(s.ptr[i + 1]) >= 0 && hex_digit(s.ptr[i + 2]) >= 0) {
            c = (char)(hex_digit(s.ptr[i + 1]) * 16 + hex_digit(s.ptr[i + 2]));
            i += 2;
        }
        dst[n++] = c == '\n' || c == '\0' ? ' ' : c; /* an err is one line */
    }
    dst[n] = '\0';
}

void grpc_timeout_format(uint64_t timeout_ms, char dst[GRPC_TIMEOUT_SIZE])
{
    if (timeout_ms < 100000000) {
        snprintf(dst, GRPC_TIMEOUT_SIZE, "%um", (unsigned)timeout_ms);
    } else {
        uint64_t s = MIN(timeout_ms / 1000, (uint64_t)99999999);
        snprintf(dst, GRPC_TIMEOUT_SIZE, "%uS", (unsigned)s);
    }
}
