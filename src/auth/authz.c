#include "auth/authz.h"

#include <assert.h>

struct authz_chain {
    struct authz **list;
    size_t n;
    size_t waiting;
};

/* ---- making ---- */

void authz_chain_add(struct authz_chain *c, struct authz *a)
{
    struct authz **grown = realloc(c->list, (c->n + 1) * sizeof(*grown));
    if (!grown) {
        abort();
    }
    c->list = grown;
    c->list[c->n++] = a;
}

static const struct authz_ops *find_mode(struct str mode)
{
    for (size_t i = 0; authz_table[i]; i++) {
        if (str_eq(authz_table[i]->mode, mode)) {
            return authz_table[i];
        }
    }
    return NULL;
}

struct authz_chain *authz_chain_new(const struct authz_config *cfg, struct err *err)
{
    struct authz_chain *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    if (cfg->n_modes == 0) {
        (void)err_set(err, ERR_INVALID, "at least one authorization-mode must be passed");
        return authz_chain_free(c);
    }
    for (size_t i = 0; i < cfg->n_modes; i++) {
        const struct authz_ops *ops = find_mode(cfg->modes[i]);
        struct authz *a = NULL;
        for (size_t j = 0; j < i; j++) {
            if (str_eq(cfg->modes[i], cfg->modes[j])) {
                (void)err_set(err, ERR_INVALID,
                              "authorization-mode \"%.*s\" has mode specified more than once",
                              STR_ARG(cfg->modes[i]));
                return authz_chain_free(c);
            }
        }
        if (!ops) {
            (void)err_set(err, ERR_INVALID, "authorization-mode \"%.*s\" is not a valid mode",
                          STR_ARG(cfg->modes[i]));
            return authz_chain_free(c);
        }
        if (!ops->open(cfg, &a, err)) {
            return authz_chain_free(c);
        }
        authz_chain_add(c, a);
    }
    return c;
}

struct authz_chain *authz_chain_new_of(const struct authz_config *list, size_t n, struct err *err)
{
    struct authz_chain *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        const struct authz_ops *ops = find_mode(list[i].modes[0]);
        struct authz *a = NULL;
        if (!ops) {
            (void)err_set(err, ERR_INVALID, "\"%.*s\" is no type of authorizer", STR_ARG(list[i].modes[0]));
        }
        if (!ops || !ops->open(&list[i], &a, err)) {
            return authz_chain_free(c);
        }
        authz_chain_add(c, a);
    }
    return c;
}

size_t authz_chain_waiting(const struct authz_chain *c)
{
    return c->waiting;
}

struct authz_chain *authz_chain_free(struct authz_chain *c)
{
    if (c) {
        for (size_t i = 0; i < c->n; i++) {
            c->list[i]->ops->free(c->list[i]);
        }
        free(c->list);
        free(c);
    }
    return NULL;
}

/* ---- asking ---- */

/* Joins the reasons of those that had no opinion, a line each. */
static void keep_reason(struct authz_request *r, struct str before)
{
    if (str_empty(r->reason)) {
        r->reason = before;
    } else if (!str_empty(before)) {
        struct str joined =
            arena_printf(r->arena, "%.*s\n%.*s", STR_ARG(before), STR_ARG(r->reason));
        r->reason = joined.ptr ? joined : before;
    }
}

static enum authz_result run(struct authz_request *r)
{
    while (r->next < r->chain->n) {
        struct authz *a = r->chain->list[r->next];
        struct str before = r->reason;
        r->reason = STR_NULL;
        enum authz_result result = a->ops->authorize(a, r);
        if (result == AUTHZ_WAIT) {
            r->waiting = true;
            r->chain->waiting++;
            r->reason_before = before;
            return AUTHZ_WAIT;
        }
        if (result != AUTHZ_NO_OPINION) {
            return result;
        }
        keep_reason(r, before);
        r->next++;
    }
    return AUTHZ_NO_OPINION;
}

enum authz_result authz_start(struct authz_chain *c, struct authz_request *r)
{
    r->chain = c;
    r->next = 0;
    r->waiting = false;
    r->reason = STR_NULL;
    r->err.code = ERR_NONE;
    if (auth_user_in_group(r->attr.user, AUTH_GROUP_MASTERS)) {
        return AUTHZ_ALLOW;
    }
    return run(r);
}

void authz_resume(struct authz_request *r, enum authz_result result)
{
    assert(r->waiting && result != AUTHZ_WAIT);
    r->waiting = false;
    r->chain->waiting--;
    if (result == AUTHZ_NO_OPINION) {
        keep_reason(r, r->reason_before);
        r->next++;
        result = run(r);
    }
    if (result != AUTHZ_WAIT) {
        r->done(r, result);
    }
}

void authz_cancel(struct authz_request *r)
{
    if (r->waiting) {
        struct authz *a = r->chain->list[r->next];
        r->waiting = false;
        r->chain->waiting--;
        if (a->ops->cancel) {
            a->ops->cancel(a, r);
        }
    }
}

bool authz_rules(struct authz_chain *c, const struct auth_user *user, struct str namespace_,
                 struct arena *a, struct rbac_rule_set *out, bool *ret_incomplete, struct err *err)
{
    bool incomplete = false;
    for (size_t i = 0; i < c->n; i++) {
        const struct authz_ops *ops = c->list[i]->ops;
        struct err why = { 0 };
        if (!ops->rules) {
            (void)err_set(err, ERR_UNAVAILABLE,
                          "%.*s authorizer does not support user rule resolution",
                          STR_ARG(ops->mode));
            incomplete = true;
            continue;
        }
        if (!ops->rules(c->list[i], user, namespace_, a, out, &why)) {
            return err_set(err, why.code ? why.code : ERR_NO_MEMORY, "%s", why.msg);
        }
        if (why.code != ERR_NONE) {
            (void)err_set(err, why.code, "%s", why.msg);
            incomplete = true;
        }
    }
    *ret_incomplete = incomplete;
    return true;
}

/* ---- the answer to a client ---- */

static void quoted(struct buf *b, struct str s)
{
    /* As Go's %q writes what occurs in names. */
    buf_append_char(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '"' || c == '\\') {
            buf_append_char(b, '\\');
            buf_append_char(b, c);
        } else if (c == '\n') {
            buf_append_c(b, "\\n");
        } else if (c == '\t') {
            buf_append_c(b, "\\t");
        } else if (c == '\r') {
            buf_append_c(b, "\\r");
        } else if ((unsigned char)c < ' ' || c == 0x7f) {
            buf_printf(b, "\\x%02x", (unsigned char)c);
        } else {
            buf_append_char(b, c);
        }
    }
    buf_append_char(b, '"');
}

void authz_forbidden_message(const struct authz_attributes *attr, struct str reason, struct buf *b)
{
    if (attr->resource_request) {
        buf_append(b, attr->resource);
        if (!str_empty(attr->api_group)) {
            buf_append_char(b, '.');
            buf_append(b, attr->api_group);
        }
        if (!str_empty(attr->name)) {
            buf_append_char(b, ' ');
            quoted(b, attr->name);
        }
        buf_append_c(b, " is ");
    }
    buf_append_c(b, "forbidden: User ");
    quoted(b, attr->user->name);
    buf_append_c(b, " cannot ");
    buf_append(b, attr->verb);
    if (!attr->resource_request) {
        buf_append_c(b, " path ");
        quoted(b, attr->path);
    } else {
        struct buf full;
        buf_init(&full, 4096);
        buf_append(&full, attr->resource);
        if (!str_empty(attr->subresource)) {
            buf_append_char(&full, '/');
            buf_append(&full, attr->subresource);
        }
        buf_append_c(b, " resource ");
        quoted(b, buf_str(&full));
        buf_deinit(&full);
        buf_append_c(b, " in API group ");
        quoted(b, attr->api_group);
        if (str_empty(attr->namespace_)) {
            buf_append_c(b, " at the cluster scope");
        } else {
            buf_append_c(b, " in the namespace ");
            quoted(b, attr->namespace_);
        }
    }
    if (!str_empty(reason)) {
        buf_append_c(b, ": ");
        buf_append(b, reason);
    }
}
