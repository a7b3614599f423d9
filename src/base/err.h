/*
 * struct err: why something failed, for a person or a client.
 *
 * Filled by whoever finds the reason, wrapped with context on the way up, logged or answered once by whoever handles it.
 * The code maps in one table to the HTTP status and the Kubernetes Status reason (API conventions, "Response Status Kind")
 * and to the gRPC status.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/str.h"

enum err_code {
    ERR_NONE,
    ERR_BAD_REQUEST,        /* 400 BadRequest */
    ERR_UNAUTHORIZED,       /* 401 Unauthorized */
    ERR_FORBIDDEN,          /* 403 Forbidden */
    ERR_NOT_FOUND,          /* 404 NotFound */
    ERR_METHOD_NOT_ALLOWED, /* 405 MethodNotAllowed */
    ERR_NOT_ACCEPTABLE,     /* 406 NotAcceptable */
    ERR_ALREADY_EXISTS,     /* 409 AlreadyExists */
    ERR_CONFLICT,           /* 409 Conflict */
    ERR_GONE,               /* 410 Gone */
    ERR_EXPIRED,            /* 410 Expired */
    ERR_TOO_LARGE,          /* 413 RequestEntityTooLarge */
    ERR_UNSUPPORTED_MEDIA,  /* 415 UnsupportedMediaType */
    ERR_INVALID,            /* 422 Invalid */
    ERR_TOO_MANY_REQUESTS,  /* 429 TooManyRequests */
    ERR_INTERNAL,           /* 500 InternalError */
    ERR_UNAVAILABLE,        /* 503 ServiceUnavailable */
    ERR_TIMEOUT,            /* 504 Timeout */
    ERR_IO,                 /* 500: the operating system refused; message says what and why */
    ERR_NO_MEMORY,          /* 500: a budget is used up */
    ERR_CANCELLED,          /* the caller went away */
    ERR_CODE_MAX
};

struct err {
    enum err_code code;
    char msg[1024];  /* one sentence without a newline, bounded */
    char field[256]; /* path of the offending field, "spec.containers[0].name", or "" */
};

/* Both return false, so that a function can end with 'return err_set(...)'. 'err' may be NULL (the caller does not care). */
PRINTF_LIKE(3, 4) bool err_set(struct err *err, enum err_code code, const char *fmt, ...);
/* The same for a failed system call: adds ": " and the text of 'errnum'. */
PRINTF_LIKE(3, 4) bool err_set_errno(struct err *err, int errnum, const char *fmt, ...);
/* Puts "context: " before the message. Returns false. */
PRINTF_LIKE(2, 3) bool err_wrap(struct err *err, const char *fmt, ...);
/* Sets the field path. Returns false. */
PRINTF_LIKE(2, 3) bool err_field(struct err *err, const char *fmt, ...);

/* 400, 404, … */
int err_http_status(enum err_code code);
/* "NotFound", … as in metav1.Status.reason. */
const char *err_reason(enum err_code code);
/* The code of a Status answered by a server, by reason ("AlreadyExists") or, without one, by HTTP status. */
enum err_code err_code_of(struct str reason, int http_status);

#endif
