#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    int http;
    const char *reason;
} err_table[ERR_CODE_MAX] = {
    [ERR_NONE] = { 200, "" },
    [ERR_BAD_REQUEST] = { 400, "BadRequest" },
    [ERR_UNAUTHORIZED] = { 401, "Unauthorized" },
    [ERR_FORBIDDEN] = { 403, "Forbidden" },
    [ERR_NOT_FOUND] = { 404, "NotFound" },
    [ERR_METHOD_NOT_ALLOWED] = { 405, "MethodNotAllowed" },
    [ERR_NOT_ACCEPTABLE] = { 406, "NotAcceptable" },
    [ERR_ALREADY_EXISTS] = { 409, "AlreadyExists" },
    [ERR_CONFLICT] = { 409, "Conflict" },
    [ERR_GONE] = { 410, "Gone" },
    [ERR_EXPIRED] = { 410, "Expired" },
    [ERR_TOO_LARGE] = { 413, "RequestEntityTooLarge" },
    [ERR_UNSUPPORTED_MEDIA] = { 415, "UnsupportedMediaType" },
    [ERR_INVALID] = { 422, "Invalid" },
    [ERR_TOO_MANY_REQUESTS] = { 429, "TooManyRequests" },
    [ERR_INTERNAL] = { 500, "InternalError" },
    [ERR_UNAVAILABLE] = { 503, "ServiceUnavailable" },
    [ERR_TIMEOUT] = { 504, "Timeout" },
    [ERR_IO] = { 500, "InternalError" },
    [ERR_NO_MEMORY] = { 500, "InternalError" },
    [ERR_CANCELLED] = { 499, "" },
};

PRINTF_LIKE(2, 0) static void set_message(struct err *err, const char *fmt, va_list ap)
{
    vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
}

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        err->code = code;
        err->field[0] = '\0';
        va_start(ap, fmt);
        set_message(err, fmt, ap);
        va_end(ap);
    }
    return false;
}

bool err_set_errno(struct err *err, int errnum, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        char text[128];
        err->code = ERR_IO;
        err->field[0] = '\0';
        va_start(ap, fmt);
        set_message(err, fmt, ap);
        va_end(ap);
        size_t n = strlen(err->msg);
        snprintf(err->msg + n, sizeof(err->msg) - n, ": %s",
                 strerror_r(errnum < 0 ? -errnum : errnum, text, sizeof(text)));
    }
    return false;
}

bool err_wrap(struct err *err, const char *fmt, ...)
{
    if (err) {
        char old[sizeof(err->msg)];
        va_list ap;
        memcpy(old, err->msg, sizeof(old));
        va_start(ap, fmt);
        set_message(err, fmt, ap);
        va_end(ap);
        size_t n = strlen(err->msg);
        snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", old);
    }
    return false;
}

bool err_field(struct err *err, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->field, sizeof(err->field), fmt, ap);
        va_end(ap);
    }
    return false;
}

int err_http_status(enum err_code code)
{
    return err_table[code].http;
}

const char *err_reason(enum err_code code)
{
    return err_table[code].reason;
}

enum err_code err_code_of(struct str reason, int http_status)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int c = ERR_BAD_REQUEST; c < ERR_CODE_MAX; c++) {
            if (pass == 0 ? (reason.len && str_eq_c(reason, err_table[c].reason)) : err_table[c].http == http_status) {
                return (enum err_code)c;
            }
        }
    }
    return http_status >= 200 && http_status < 300 ? ERR_NONE : ERR_INTERNAL;
}
