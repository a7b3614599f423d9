#include "apiserver/status.h"

#include <stdarg.h>

#include "api/gen/meta_v1.h"

struct str status_qualified(struct arena *a, struct str resource, struct str group)
{
    if (str_empty(group)) {
        return resource;
    }
    return arena_printf(a, "%.*s.%.*s", STR_ARG(resource), STR_ARG(group));
}

static void fill(struct status *s, int code, const char *reason, struct str message)
{
    *s = (struct status){ .code = code, .reason = str_c(reason), .message = message };
}

static void detail(struct status *s, struct str group, struct str kind, struct str name)
{
    s->has_details = true;
    s->group = group;
    s->kind = kind;
    s->name = name;
}

void status_not_found(struct status *s, struct arena *a, struct str group, struct str resource, struct str name)
{
    struct str q = status_qualified(a, resource, group);
    fill(s, 404, "NotFound", arena_printf(a, "%.*s \"%.*s\" not found", STR_ARG(q), STR_ARG(name)));
    detail(s, group, resource, name);
}

void status_no_resource(struct status *s)
{
    fill(s, 404, "NotFound", STR("the server could not find the requested resource"));
    s->has_details = true;
}

void status_already_exists(struct status *s, struct arena *a, struct str group, struct str resource, struct str name)
{
    struct str q = status_qualified(a, resource, group);
    fill(s, 409, "AlreadyExists", arena_printf(a, "%.*s \"%.*s\" already exists", STR_ARG(q), STR_ARG(name)));
    detail(s, group, resource, name);
}

void status_conflict(struct status *s, struct arena *a, struct str group, struct str resource, struct str name,
                     const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str what = arena_vprintf(a, fmt, ap), q = status_qualified(a, resource, group);
    va_end(ap);
    fill(s, 409, "Conflict",
         arena_printf(a, "Operation cannot be fulfilled on %.*s \"%.*s\": %.*s", STR_ARG(q), STR_ARG(name), STR_ARG(what)));
    detail(s, group, resource, name);
}

void status_forbidden(struct status *s, struct arena *a, struct str group, struct str resource, struct str name,
                      const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str what = arena_vprintf(a, fmt, ap), q = status_qualified(a, resource, group);
    va_end(ap);
    struct str message;
    if (str_empty(resource)) {
        message = arena_printf(a, "forbidden: %.*s", STR_ARG(what));
    } else if (str_empty(name)) {
        message = arena_printf(a, "%.*s is forbidden: %.*s", STR_ARG(q), STR_ARG(what));
    } else {
        message = arena_printf(a, "%.*s \"%.*s\" is forbidden: %.*s", STR_ARG(q), STR_ARG(name), STR_ARG(what));
    }
    fill(s, 403, "Forbidden", message);
    detail(s, group, resource, name);
}

void status_bad_request(struct status *s, struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(s, 400, "BadRequest", arena_vprintf(a, fmt, ap));
    va_end(ap);
}

void status_invalid(struct status *s, struct arena *a, struct str group, struct str kind, struct str name,
                    const struct field_errs *errs)
{
    struct str q = status_qualified(a, kind, group), all = field_errs_message(errs, a);
    fill(s, 422, "Invalid", arena_printf(a, "%.*s \"%.*s\" is invalid: %.*s", STR_ARG(q), STR_ARG(name), STR_ARG(all)));
    detail(s, group, kind, name);
    s->causes = arena_new_n(a, struct status_cause, errs->n);
    s->n_causes = s->causes ? errs->n : 0;
    for (size_t i = 0; i < s->n_causes; i++) {
        s->causes[i] = (struct status_cause){ .reason = field_reason_cause(errs->items[i].reason),
                                              .message = errs->items[i].body, .field = errs->items[i].path };
    }
}

void status_method_not_allowed(struct status *s)
{
    fill(s, 405, "MethodNotAllowed", STR("the server does not allow this method on the requested resource"));
    s->has_details = true;
}

void status_unclassified(struct status *s, struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(s, 500, "", arena_vprintf(a, fmt, ap));
    va_end(ap);
}

void status_internal(struct status *s, struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str what = arena_vprintf(a, fmt, ap);
    va_end(ap);
    fill(s, 500, "InternalError", arena_printf(a, "Internal error occurred: %.*s", STR_ARG(what)));
    s->has_details = true;
    s->causes = arena_new(a, struct status_cause);
    if (s->causes) {
        s->n_causes = 1;
        s->causes[0] = (struct status_cause){ .message = what };
    }
}

void status_store_failed(struct status *s, enum store_status why)
{
    enum err_code code = store_status_err(why);
    *s = (struct status){ .code = err_http_status(code), .reason = str_c(err_reason(code)), .message = str_c(store_status_text(why)) };
    if (why == STORE_E_UNAVAILABLE || why == STORE_E_CLOSED) {
        s->has_details = true;
        s->retry_after = 1;
    }
}

void status_rv_too_large(struct status *s, struct arena *a, uint64_t asked, uint64_t current)
{
    fill(s, 504, "Timeout", arena_printf(a, "Timeout: Too large resource version: %llu, current: %llu",
                                         (unsigned long long)asked, (unsigned long long)current));
    s->has_details = true;
    s->retry_after = 1;
    s->causes = arena_new(a, struct status_cause);
    if (s->causes) {
        s->n_causes = 1;
        s->causes[0] = (struct status_cause){ .reason = STR("ResourceVersionTooLarge"),
                                              .message = STR("Too large resource version") };
    }
}

void status_from_err(struct status *s, struct arena *a, const struct err *err)
{
    fill(s, err_http_status(err->code), err_reason(err->code), arena_str(a, str_c(err->msg)));
}

void status_to_meta(const struct status *s, struct arena *a, struct meta_v1_status *ret)
{
    *ret = (struct meta_v1_status){ .kind = STR("Status"), .api_version = STR("v1"), .status = STR("Failure"),
                                    .message = s->message, .reason = s->reason, .code = s->code };
    if (s->continue_token.len > 0) {
        ret->metadata.continue_ = s->continue_token;
    }
    if (!s->has_details) {
        return;
    }
    struct meta_v1_status_details *d = arena_new(a, struct meta_v1_status_details);
    if (!d) {
        return;
    }
    d->name = s->name;
    d->group = s->group;
    d->kind = s->kind;
    d->uid = s->uid;
    d->retry_after_seconds = s->retry_after;
    d->causes = arena_new_n(a, struct meta_v1_status_cause, s->n_causes);
    d->n_causes = d->causes ? s->n_causes : 0;
    for (size_t i = 0; i < d->n_causes; i++) {
        d->causes[i] = (struct meta_v1_status_cause){ .reason = s->causes[i].reason, .message = s->causes[i].message,
                                                      .field = s->causes[i].field };
    }
    ret->details = d;
}
