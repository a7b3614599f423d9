#include "auth/abac-policy.h"

#include "api/json-reader.h"
#include "auth/limits.h"
#include "base/log.h"

#define STAR STR("*")

/* ---- reading ---- */

struct line {
    struct str api_version, kind;
    struct abac_policy top, spec; /* the members of the object, and of its "spec" */
    bool has_spec;
};

static bool read_once(struct json_reader *r, struct str *dst)
{
    if (json_peek(r) == JSON_NULL) {
        return json_null(r);
    }
    if (dst->ptr) {
        return json_fail(r, ERR_INVALID, "a member stands there twice");
    }
    return json_string(r, dst);
}

static bool read_member(struct json_reader *r, struct str key, struct abac_policy *p, bool top)
{
    if (str_eq_c(key, "user")) {
        return read_once(r, &p->user);
    }
    if (str_eq_c(key, "group")) {
        return read_once(r, &p->group);
    }
    if (str_eq_c(key, "resource")) {
        return read_once(r, &p->resource);
    }
    if (str_eq_c(key, "namespace")) {
        return read_once(r, &p->namespace_);
    }
    if (str_eq_c(key, "readonly")) {
        return json_peek(r) == JSON_NULL ? json_null(r) : json_bool(r, &p->readonly);
    }
    if (!top && str_eq_c(key, "apiGroup")) {
        return read_once(r, &p->api_group);
    }
    if (!top && str_eq_c(key, "nonResourcePath")) {
        return read_once(r, &p->path);
    }
    log_warning("auth: the policy file, line %u: the member \"%.*s\" means nothing here", p->line, STR_ARG(key));
    return json_skip(r);
}

static bool read_spec(struct json_reader *r, struct line *l)
{
    struct str key;
    int more;
    if (l->has_spec) {
        return json_fail(r, ERR_INVALID, "\"spec\" stands there twice");
    }
    l->has_spec = true;
    if (!json_object_begin(r)) {
        return false;
    }
    while ((more = json_object_next(r, &key)) > 0) {
        if (!read_member(r, key, &l->spec, false)) {
            return false;
        }
    }
    return more == 0;
}

static bool read_line(struct json_reader *r, struct line *l)
{
    struct str key;
    int more;
    if (!json_object_begin(r)) {
        return false;
    }
    while ((more = json_object_next(r, &key)) > 0) {
        bool ok = str_eq_c(key, "apiVersion") ? read_once(r, &l->api_version)
                  : str_eq_c(key, "kind")     ? read_once(r, &l->kind)
                  : str_eq_c(key, "spec")     ? read_spec(r, l)
                                              : read_member(r, key, &l->top, true);
        if (!ok) {
            return false;
        }
    }
    return more == 0 && json_end(r);
}

/* ---- meaning ---- */

/* "*" stands for everybody who has authenticated. */
static void widen_user(struct abac_policy *p)
{
    if (str_eq(p->user, STAR) || str_eq(p->group, STAR)) {
        p->user = STR_EMPTY;
        p->group = AUTH_GROUP_AUTHENTICATED;
    }
}

static bool policy_of(struct line *l, struct abac_policy *ret, struct err *err)
{
    bool versioned = !str_empty(l->api_version) || !str_empty(l->kind);
    if (versioned) {
        if (!str_eq_c(l->api_version, "abac.authorization.kubernetes.io/v1beta1") || !str_eq_c(l->kind, "Policy")) {
            return err_set(err, ERR_INVALID, "unrecognized object: apiVersion \"%.*s\", kind \"%.*s\"", STR_ARG(l->api_version),
                           STR_ARG(l->kind));
        }
        *ret = l->spec;
        widen_user(ret);
        return true;
    }
    if (l->has_spec) {
        return err_set(err, ERR_INVALID, "\"spec\" without apiVersion and kind");
    }
    struct abac_policy p = l->top;
    if (str_empty(p.user) && str_empty(p.group)) {
        p.group = AUTH_GROUP_AUTHENTICATED;
    }
    widen_user(&p);
    if (str_empty(p.namespace_) && str_empty(p.resource)) {
        p.path = STAR;
    }
    p.namespace_ = str_empty(p.namespace_) ? STAR : p.namespace_;
    p.resource = str_empty(p.resource) ? STAR : p.resource;
    p.api_group = STAR;
    *ret = p;
    return true;
}

static bool add(struct abac_file *f, size_t *capacity, struct str text, unsigned number, struct err *err)
{
    struct line l = { .top.line = number, .spec.line = number };
    struct json_reader r;
    struct err why = { 0 };
    if (text.len > ABAC_MAX_LINE) {
        return err_set(err, ERR_TOO_LARGE, "line %u: longer than %u bytes", number, ABAC_MAX_LINE);
    }
    struct str copy = arena_str(&f->arena, text);
    json_reader_init(&r, copy, &f->arena, 8, &why);
    if (!copy.ptr || !read_line(&r, &l)) {
        return err_set(err, ERR_INVALID, "line %u: %s", number, why.code ? why.msg : "out of memory");
    }
    if (f->n == *capacity) {
        size_t more = *capacity ? 2 * *capacity : 64;
        struct abac_policy *grown = f->n < ABAC_MAX_POLICIES ? realloc(f->policies, more * sizeof(*grown)) : NULL;
        if (!grown) {
            return err_set(err, ERR_TOO_LARGE, "line %u: more than %d policies", number, ABAC_MAX_POLICIES);
        }
        f->policies = grown;
        *capacity = more;
    }
    if (!policy_of(&l, &f->policies[f->n], &why)) {
        return err_set(err, ERR_INVALID, "line %u: %s", number, why.msg);
    }
    f->n++;
    return true;
}

bool abac_file_parse(struct str text, struct abac_file *ret, struct err *err)
{
    struct abac_file f = { 0 };
    struct str line;
    unsigned number = 0;
    size_t capacity = 0;
    arena_init(&f.arena, ABAC_MAX_FILE * 2);
    while (str_split(&text, '\n', &line)) {
        number++;
        line = str_trim(line);
        if (line.len > 0 && line.ptr[0] != '#' && !add(&f, &capacity, line, number, err)) {
            abac_file_deinit(&f);
            return false;
        }
    }
    *ret = f;
    return true;
}

void abac_file_deinit(struct abac_file *f)
{
    free(f->policies);
    arena_deinit(&f->arena);
    *f = (struct abac_file){ 0 };
}

/* ---- deciding ---- */

bool abac_policy_fits_user(const struct abac_policy *p, const struct auth_user *u)
{
    if (p->user.len > 0 && !str_eq(p->user, u->name)) {
        return false;
    }
    if (p->group.len > 0 && !auth_user_in_group(u, p->group)) {
        return false;
    }
    return p->user.len > 0 || p->group.len > 0;
}

static bool is(struct str pattern, struct str s)
{
    return str_eq(pattern, STAR) || str_eq(pattern, s);
}

static bool fits_path(const struct abac_policy *p, struct str path)
{
    if (is(p->path, path)) {
        return true;
    }
    struct str prefix = p->path;
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '*') {
        prefix.len--;
    }
    return prefix.len < p->path.len && str_starts(path, prefix);
}

bool abac_policy_allows(const struct abac_policy *p, const struct authz_attributes *a)
{
    bool read = str_eq_c(a->verb, "get") || str_eq_c(a->verb, "list") || str_eq_c(a->verb, "watch");
    if (!abac_policy_fits_user(p, a->user) || (p->readonly && !read)) {
        return false;
    }
    if (!a->resource_request) {
        return fits_path(p, a->path);
    }
    return is(p->namespace_, a->namespace_) && is(p->resource, a->resource) && is(p->api_group, a->api_group);
}
