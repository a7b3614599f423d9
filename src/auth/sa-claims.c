/* Reading and checking the claims of service-account tokens. */
#include <openssl/crypto.h>

#include "api/json-reader.h"
#include "auth/limits.h"
#include "auth/sa-token.h"

/* ---- reading ---- */

static bool read_once(struct json_reader *r, struct str *dst)
{
    if (dst->ptr) {
        return json_fail(r, ERR_UNAUTHORIZED, "a claim stands there twice");
    }
    return json_string(r, dst);
}

/* NumericDate (RFC 7519 2): seconds, perhaps with a fraction. */
static bool read_time(struct json_reader *r, int64_t *dst)
{
    struct str number;
    double d;
    if (!json_number(r, &number)) {
        return false;
    }
    if (json_number_to_i64(number, dst)) {
        return true;
    }
    if (!json_number_to_double(number, &d) || !(d > -1e15 && d < 1e15)) {
        return json_fail(r, ERR_UNAUTHORIZED, "a time is out of range");
    }
    *dst = (int64_t)d;
    return true;
}

/* One string, or a list of them. */
static bool read_audiences(struct json_reader *r, struct sa_claims *c)
{
    struct str *list = arena_new_n(r->arena, struct str, AUTH_MAX_AUDIENCES);
    int more;
    if (!list) {
        return json_fail(r, ERR_NO_MEMORY, "the token is too large");
    }
    c->audiences = list;
    c->n_audiences = 0;
    if (json_peek(r) == JSON_STRING) {
        c->n_audiences = 1;
        return json_string(r, list);
    }
    if (!json_array_begin(r)) {
        return false;
    }
    while ((more = json_array_next(r)) > 0) {
        if (c->n_audiences == AUTH_MAX_AUDIENCES) {
            return json_fail(r, ERR_UNAUTHORIZED, "more than %d audiences", AUTH_MAX_AUDIENCES);
        }
        if (!json_string(r, &list[c->n_audiences++])) {
            return false;
        }
    }
    return more == 0;
}

static bool read_ref(struct json_reader *r, struct str *name, struct str *uid)
{
    struct str key;
    int more;
    if (!json_object_begin(r)) {
        return false;
    }
    while ((more = json_object_next(r, &key)) > 0) {
        bool ok = str_eq(key, STR("name"))  ? read_once(r, name)
                  : str_eq(key, STR("uid")) ? read_once(r, uid)
                                            : json_skip(r);
        if (!ok) {
            return false;
        }
    }
    return more == 0;
}

static bool read_kubernetes(struct json_reader *r, struct sa_claims *c)
{
    struct str key;
    int more;
    if (!json_object_begin(r)) {
        return false;
    }
    while ((more = json_object_next(r, &key)) > 0) {
        bool ok;
        if (str_eq(key, STR("namespace"))) {
            ok = read_once(r, &c->namespace_);
        } else if (str_eq(key, STR("serviceaccount"))) {
            ok = read_ref(r, &c->name, &c->uid);
        } else if (str_eq(key, STR("pod"))) {
            ok = read_ref(r, &c->pod_name, &c->pod_uid);
        } else if (str_eq(key, STR("secret"))) {
            ok = read_ref(r, &c->secret_name, &c->secret_uid);
        } else if (str_eq(key, STR("node"))) {
            ok = read_ref(r, &c->node_name, &c->node_uid);
        } else if (str_eq(key, STR("warnafter")) && json_peek(r) == JSON_NUMBER) {
            ok = read_time(r, &c->warn_after);
        } else {
            ok = json_skip(r);
        }
        if (!ok) {
            return false;
        }
    }
    return more == 0;
}

static bool read_member(struct json_reader *r, struct str key, struct sa_claims *c)
{
    static const struct {
        const char *name;
        size_t offset;
    } strings[] = {
        { "iss", offsetof(struct sa_claims, issuer) },
        { "sub", offsetof(struct sa_claims, subject) },
        { "jti", offsetof(struct sa_claims, jti) },
        { "kubernetes.io/serviceaccount/namespace", offsetof(struct sa_claims, namespace_) },
        { "kubernetes.io/serviceaccount/service-account.name", offsetof(struct sa_claims, name) },
        { "kubernetes.io/serviceaccount/service-account.uid", offsetof(struct sa_claims, uid) },
        { "kubernetes.io/serviceaccount/secret.name", offsetof(struct sa_claims, secret_name) },
    };
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        if (str_eq_c(key, strings[i].name)) {
            return read_once(r, (struct str *)(void *)((char *)c + strings[i].offset));
        }
    }
    if (str_eq(key, STR("aud"))) {
        return c->audiences ? json_fail(r, ERR_UNAUTHORIZED, "a claim stands there twice")
                            : read_audiences(r, c);
    }
    if (str_eq(key, STR("exp"))) {
        return read_time(r, &c->expires);
    }
    if (str_eq(key, STR("nbf"))) {
        return read_time(r, &c->not_before);
    }
    if (str_eq(key, STR("iat"))) {
        return read_time(r, &c->issued);
    }
    if (str_eq(key, STR("kubernetes.io"))) {
        return read_kubernetes(r, c);
    }
    return json_skip(r);
}

bool sa_claims_read(struct str claims_json, struct arena *a, struct sa_claims *ret, struct err *err)
{
    struct sa_claims c = { 0 };
    struct json_reader r;
    struct err why = { 0 };
    struct str key;
    int more = -1;
    json_reader_init(&r, claims_json, a, AUTH_CLAIMS_DEPTH, &why);
    bool ok = json_object_begin(&r);
    while (ok && (more = json_object_next(&r, &key)) > 0) {
        ok = read_member(&r, key, &c);
    }
    if (!ok || more < 0 || !json_end(&r)) {
        return err_set(err, ERR_UNAUTHORIZED, "the token's claims cannot be read: %s", why.msg);
    }
    c.legacy = str_eq(c.issuer, SA_LEGACY_ISSUER);
    *ret = c;
    return true;
}

/* ---- checking ---- */

static bool gone(const struct sa_object *o, int64_t now)
{
    return o->deleting && o->deletion_s < now - AUTH_CLOCK_LEEWAY_S;
}

/* Is the object there, alive, and the one that was meant? */
static bool check_object(const struct sa_lookup *l, struct arena *a, const char *resource,
                         const char *what, struct str namespace_, struct str name, struct str uid,
                         int64_t now, struct sa_object *ret, struct err *err)
{
    if (!l->get(l->ctx, str_c(resource), namespace_, name, a, ret) || gone(ret, now)) {
        return err_set(err, ERR_UNAUTHORIZED,
                       "service account token has been invalidated: the %s it belongs to is gone",
                       what);
    }
    if (!str_eq(ret->uid, uid)) {
        return err_set(err, ERR_UNAUTHORIZED,
                       "%s UID (%.*s) does not match service account %s ref claim (%.*s)", what,
                       STR_ARG(ret->uid), what, STR_ARG(uid));
    }
    return true;
}

static bool check_times(const struct sa_claims *c, int64_t now, struct err *err)
{
    if (c->expires <= now - AUTH_CLOCK_LEEWAY_S) {
        return err_set(err, ERR_UNAUTHORIZED,
                       c->expires ? "service account token has expired"
                                  : "service account token has no expiry");
    }
    if (c->not_before > now + AUTH_CLOCK_LEEWAY_S) {
        return err_set(err, ERR_UNAUTHORIZED, "service account token is not valid yet");
    }
    if (c->issued > now + AUTH_CLOCK_LEEWAY_S) {
        return err_set(err, ERR_UNAUTHORIZED, "service account token is issued in the future");
    }
    return true;
}

static bool check_bound(const struct sa_claims *c, int64_t now, const struct sa_lookup *l,
                        struct arena *a, struct err *err)
{
    struct sa_object o = { 0 };
    if (!check_times(c, now, err)) {
        return false;
    }
    if (!l) {
        return true;
    }
    if (c->secret_name.len > 0 && !check_object(l, a, "secrets", "secret", c->namespace_,
                                                c->secret_name, c->secret_uid, now, &o, err)) {
        return false;
    }
    if (!check_object(l, a, "serviceaccounts", "service account", c->namespace_, c->name, c->uid,
                      now, &o, err)) {
        return false;
    }
    if (c->pod_name.len > 0) {
        return check_object(l, a, "pods", "pod", c->namespace_, c->pod_name, c->pod_uid, now, &o,
                            err);
    }
    if (c->node_name.len > 0) {
        return check_object(l, a, "nodes", "node", STR_EMPTY, c->node_name, c->node_uid, now, &o,
                            err);
    }
    return true;
}

static bool check_legacy(const struct sa_claims *c, struct str token, int64_t now,
                         const struct sa_lookup *l, struct arena *a, struct err *err)
{
    struct sa_object o = { 0 };
    if (c->secret_name.len == 0 || c->uid.len == 0) {
        return err_set(err, ERR_UNAUTHORIZED,
                       "a legacy service account token without secret name or uid");
    }
    if (!l) {
        return true;
    }
    if (!l->get(l->ctx, STR("secrets"), c->namespace_, c->secret_name, a, &o) || gone(&o, now) ||
        o.token.len != token.len || CRYPTO_memcmp(o.token.ptr, token.ptr, token.len) != 0) {
        return err_set(
            err, ERR_UNAUTHORIZED,
            "service account token has been invalidated: its secret is gone or holds another one");
    }
    if (o.invalid) {
        return err_set(err, ERR_UNAUTHORIZED, "the service account token of the secret %.*s is marked as invalid", STR_ARG(c->secret_name));
    }
    if (!check_object(l, a, "serviceaccounts", "service account", c->namespace_, c->name, c->uid, now, &o, err)) {
        return false;
    }
    if (l->used) {
        l->used(l->ctx, c->namespace_, c->secret_name, now);
    }
    return true;
}

static bool add_extra(const struct sa_claims *c, struct arena *a, struct auth_user *u)
{
    struct str jti = c->jti.len > 0 ? arena_printf(a, "JTI=%.*s", STR_ARG(c->jti)) : STR_NULL;
    const struct {
        struct str key, value;
    } all[] = {
        { AUTH_EXTRA_CREDENTIAL_ID, jti },    { AUTH_EXTRA_POD_NAME, c->pod_name },
        { AUTH_EXTRA_POD_UID, c->pod_uid },   { AUTH_EXTRA_NODE_NAME, c->node_name },
        { AUTH_EXTRA_NODE_UID, c->node_uid },
    };
    struct auth_extra *extra = arena_new_n(a, struct auth_extra, ARRAY_SIZE(all));
    struct str *values = arena_new_n(a, struct str, ARRAY_SIZE(all));
    if (!extra || !values) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (all[i].value.len > 0) {
            values[i] = all[i].value;
            extra[u->n_extra++] =
                (struct auth_extra){ .key = all[i].key, .values = &values[i], .n_values = 1 };
        }
    }
    u->extra = extra;
    return true;
}

bool sa_claims_check(const struct sa_claims *c, struct str token, int64_t now,
                     const struct sa_lookup *lookup, struct arena *a, struct auth_user *ret,
                     struct err *err)
{
    struct auth_user u;
    if (str_empty(c->namespace_) || str_empty(c->name) || (!c->legacy && str_empty(c->uid))) {
        return err_set(err, ERR_UNAUTHORIZED, "the token's claims name no service account");
    }
    if (str_find_char(c->namespace_, ':') >= 0 || str_find_char(c->name, ':') >= 0 ||
        !auth_service_account_user(a, c->namespace_, c->name, c->uid, &u)) {
        return err_set(err, ERR_UNAUTHORIZED, "the token's claims name no service account");
    }
    if (!str_eq(c->subject, u.name)) {
        return err_set(err, ERR_UNAUTHORIZED, "the token's subject is not its service account");
    }
    if (!(c->legacy ? check_legacy(c, token, now, lookup, a, err)
                    : check_bound(c, now, lookup, a, err))) {
        return false;
    }
    if (!add_extra(c, a, &u)) {
        return err_set(err, ERR_NO_MEMORY, "out of memory while a user was built");
    }
    *ret = u;
    return true;
}
