#include "apiserver/admission.h"

#include <stdarg.h>

#include "api/gen/core_v1.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"

bool admission_is(const struct admission_attrs *attrs, const char *group, const char *resource, const char *subresource)
{
    return str_eq_c(attrs->resource->group, group) && str_eq_c(attrs->resource->resource, resource) &&
           str_eq_c(attrs->subresource, subresource);
}

enum stage_result admission_deny(struct request *r, const struct admission_attrs *attrs, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str why = arena_vprintf(&r->arena, fmt, ap);
    va_end(ap);
    status_forbidden(&r->status, &r->arena, attrs->resource->group, attrs->resource->resource, attrs->name, "%.*s", STR_ARG(why));
    return STAGE_ERROR;
}

void admission_warn(struct request *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    request_warn(r, arena_vprintf(&r->arena, fmt, ap));
    va_end(ap);
}

const struct kind_world *admission_world(const struct request *r)
{
    return &r->srv->world;
}

const struct core_v1_namespace *admission_namespace(struct request *r, struct admission_attrs *attrs)
{
    const struct kind_world *w = admission_world(r);
    if (!attrs->namespace_ || !str_eq(attrs->namespace_->metadata.name, attrs->ns)) {
        attrs->namespace_ = str_empty(attrs->ns) ? NULL : w->get(w, &r->arena, STR_EMPTY, STR("namespaces"), STR_EMPTY, attrs->ns);
    }
    return attrs->namespace_;
}

struct arena *admission_arena(struct request *r)
{
    return &r->arena;
}

static size_t n_plugins(void)
{
    size_t n = 0;
    while (admission_plugins[n]) {
        n++;
    }
    return n;
}

size_t admission_count(void)
{
    return n_plugins();
}

/* Plugins of upstream that are not built in here are no error when disabled, and none when they do nothing without being
 * configured. */
static bool set_all(struct str names, bool on, bool *enabled, struct err *err)
{
    struct str rest = names, name;
    while (!str_empty(rest) && str_split(&rest, ',', &name)) {
        bool found = str_empty(name);
        for (size_t i = 0; admission_plugins[i]; i++) {
            if (str_eq(admission_plugins[i]->name, name)) {
                enabled[i] = on;
                found = true;
            }
        }
        if (!found && on) {
            return err_set(err, ERR_INVALID, "--enable-admission-plugins: there is no admission plugin \"%.*s\" here", STR_ARG(name));
        }
    }
    return true;
}

bool admission_select(struct str enable, struct str disable, bool *ret_enabled, size_t n, struct err *err)
{
    for (size_t i = 0; i < n && admission_plugins[i]; i++) {
        ret_enabled[i] = admission_plugins[i]->default_on;
    }
    return set_all(enable, true, ret_enabled, err) && set_all(disable, false, ret_enabled, err);
}

/* Asks the plugins in order; a plugin that waits is asked again. */
static enum stage_result run(struct request *r, bool validate)
{
    for (; admission_plugins[r->admit_at]; r->admit_at++) {
        const struct admission_plugin *p = admission_plugins[r->admit_at];
        enum stage_result (*hook)(struct request *, struct admission_attrs *) = validate ? p->validate : p->admit;
        if (!r->srv->admission_enabled[r->admit_at] || !hook || !(p->ops & r->attrs.op)) {
            continue;
        }
        enum stage_result result = hook(r, &r->attrs);
        if (result != STAGE_DONE) {
            return result;
        }
        r->attrs.plugin_data = NULL;
    }
    r->admit_at = 0;
    return STAGE_DONE;
}

enum stage_result stage_admit(struct request *r)
{
    return run(r, false);
}

enum stage_result stage_admit_validate(struct request *r)
{
    return run(r, true);
}
