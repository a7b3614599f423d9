#include "auth/oidc-claims.h"

#include "api/json-reader.h"
#include "auth/limits.h"

/* The claims that are looked at, as JSON text. */
struct wanted {
    struct str name, raw; /* raw absent: not in the token */
};

enum { W_ISS, W_AUD, W_EXP, W_NBF, W_JTI, W_EMAIL_VERIFIED, W_CLAIM_NAMES, W_USERNAME, W_GROUPS, W_UID, W_FIXED };

static bool collect(struct str json, struct wanted *list, size_t n, struct arena *a, struct err *err)
{
    struct json_reader r;
    struct err why = { 0 };
    struct str key, raw;
    int more;
    json_reader_init(&r, json, a, AUTH_CLAIMS_DEPTH, &why);
    if (!json_object_begin(&r)) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: the token's claims cannot be read: %s", why.msg);
    }
    while ((more = json_object_next(&r, &key)) > 0) {
        if (!json_raw(&r, &raw)) {
            break;
        }
        for (size_t i = 0; i < n; i++) {
            if (str_eq(list[i].name, key)) {
                if (list[i].raw.ptr) {
                    return err_set(err, ERR_UNAUTHORIZED, "oidc: the claim \"%.*s\" stands there twice", STR_ARG(key));
                }
                list[i].raw = raw;
            }
        }
    }
    if (more != 0 || !json_end(&r)) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: the token's claims cannot be read: %s", why.msg);
    }
    return true;
}

static bool text_of(const struct wanted *w, struct arena *a, struct str *ret)
{
    struct json_reader r;
    json_reader_init(&r, w->raw, a, 4, NULL);
    return w->raw.ptr && json_peek(&r) == JSON_STRING && json_string(&r, ret);
}

static bool time_of(const struct wanted *w, struct arena *a, int64_t *ret)
{
    struct json_reader r;
    struct str number;
    double d;
    json_reader_init(&r, w->raw, a, 4, NULL);
    if (!w->raw.ptr || json_peek(&r) != JSON_NUMBER || !json_number(&r, &number)) {
        return false;
    }
    if (json_number_to_i64(number, ret)) {
        return true;
    }
    if (!json_number_to_double(number, &d) || !(d > -1e15 && d < 1e15)) {
        return false;
    }
    *ret = (int64_t)d;
    return true;
}

/* One string or a list of strings. */
static bool list_of(const struct wanted *w, size_t max, struct arena *a, struct str **ret, size_t *ret_n)
{
    struct json_reader r;
    int more;
    size_t n = 0, capacity = 16;
    struct str *list = arena_new_n(a, struct str, capacity);
    json_reader_init(&r, w->raw, a, 4, NULL);
    if (!list || !w->raw.ptr) {
        return false;
    }
    if (json_peek(&r) == JSON_STRING) {
        *ret = list;
        *ret_n = 1;
        return json_string(&r, list);
    }
    if (json_peek(&r) != JSON_ARRAY || !json_array_begin(&r)) {
        return false;
    }
    while ((more = json_array_next(&r)) > 0) {
        if (n == capacity) {
            list = n < max ? arena_grow_n(a, list, n, 2 * n, sizeof(*list)) : NULL;
            capacity = 2 * n;
        }
        if (!list || json_peek(&r) != JSON_STRING || !json_string(&r, &list[n])) {
            return false;
        }
        n++;
    }
    *ret = list;
    *ret_n = n;
    return more == 0;
}

static bool check_token(const struct wanted *w, const struct oidc_rules *rules, int64_t now, struct arena *a, int64_t *ret_expires,
                        struct err *err)
{
    struct str issuer, *audiences;
    size_t n;
    int64_t not_before;
    bool mine = false;
    if (!text_of(&w[W_ISS], a, &issuer) || !str_eq(issuer, rules->issuer)) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: the token is of another issuer");
    }
    if (!list_of(&w[W_AUD], AUTH_MAX_AUDIENCES, a, &audiences, &n)) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: the token names no audience");
    }
    for (size_t i = 0; i < n; i++) {
        mine |= rules->n_audiences == 0 && str_eq(audiences[i], rules->client_id);
        for (size_t k = 0; k < rules->n_audiences; k++) {
            mine |= str_eq(audiences[i], rules->audiences[k]);
        }
    }
    if (!mine && rules->n_audiences > 0) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: the token is for none of the %zu audiences", rules->n_audiences);
    }
    if (!mine) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: expected audience \"%.*s\", the token is for others", STR_ARG(rules->client_id));
    }
    if (!time_of(&w[W_EXP], a, ret_expires)) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: the token has no expiry");
    }
    if (now >= *ret_expires) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: token is expired");
    }
    if (w[W_NBF].raw.ptr && (!time_of(&w[W_NBF], a, &not_before) || not_before > now + AUTH_OIDC_NBF_LEEWAY_S)) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: current time is before the nbf (not before) time");
    }
    return true;
}

static bool read_name(const struct wanted *w, const struct oidc_rules *rules, struct arena *a, struct auth_user *u, struct err *err)
{
    struct str name;
    if (!w[W_USERNAME].raw.ptr) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: parse username claims \"%.*s\": claim not present", STR_ARG(rules->username_claim));
    }
    if (!text_of(&w[W_USERNAME], a, &name) || str_empty(name)) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: parse username claims \"%.*s\": no text", STR_ARG(rules->username_claim));
    }
    if (str_eq_c(rules->username_claim, "email") && w[W_EMAIL_VERIFIED].raw.ptr && !str_eq_c(w[W_EMAIL_VERIFIED].raw, "true")) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: email not verified");
    }
    u->name = arena_printf(a, "%.*s%.*s", STR_ARG(rules->username_prefix), STR_ARG(name));
    return u->name.ptr || err_set(err, ERR_NO_MEMORY, "out of memory while a user was built");
}

static bool read_uid(const struct wanted *w, const struct oidc_rules *rules, struct arena *a, struct auth_user *u, struct err *err)
{
    return str_empty(rules->uid_claim) || text_of(&w[W_UID], a, &u->uid) ||
           err_set(err, ERR_UNAUTHORIZED, "oidc: parse uid claim \"%.*s\": claim not present, or no text", STR_ARG(rules->uid_claim));
}

/* Does "_claim_names" say that the groups are to be fetched somewhere else? */
static bool groups_are_elsewhere(const struct wanted *w, const struct oidc_rules *rules, struct arena *a)
{
    struct json_reader r;
    struct str key;
    int more;
    json_reader_init(&r, w[W_CLAIM_NAMES].raw, a, AUTH_CLAIMS_DEPTH, NULL);
    if (!w[W_CLAIM_NAMES].raw.ptr || json_peek(&r) != JSON_OBJECT || !json_object_begin(&r)) {
        return false;
    }
    while ((more = json_object_next(&r, &key)) > 0) {
        if (str_eq(key, rules->groups_claim)) {
            return true;
        }
        if (!json_skip(&r)) {
            return false;
        }
    }
    return false;
}

static bool read_groups(const struct wanted *w, const struct oidc_rules *rules, struct arena *a, struct auth_user *u, struct err *err)
{
    struct str *groups;
    size_t n;
    if (str_empty(rules->groups_claim)) {
        return true;
    }
    if (!w[W_GROUPS].raw.ptr || str_eq_c(w[W_GROUPS].raw, "null")) {
        return groups_are_elsewhere(w, rules, a)
                   ? err_set(err, ERR_UNAUTHORIZED, "oidc: the claim \"%.*s\" is distributed, such claims are not fetched here",
                             STR_ARG(rules->groups_claim))
                   : true;
    }
    if (!list_of(&w[W_GROUPS], AUTH_MAX_GROUPS, a, &groups, &n)) {
        return err_set(err, ERR_UNAUTHORIZED, "oidc: parse groups claim \"%.*s\": neither a string nor a list of them",
                       STR_ARG(rules->groups_claim));
    }
    for (size_t i = 0; i < n; i++) {
        groups[i] = arena_printf(a, "%.*s%.*s", STR_ARG(rules->groups_prefix), STR_ARG(groups[i]));
        if (!groups[i].ptr) {
            return err_set(err, ERR_NO_MEMORY, "out of memory while a user was built");
        }
    }
    u->groups = groups;
    u->n_groups = n;
    return true;
}

bool oidc_claims_user(struct str claims_json, const struct oidc_rules *rules, int64_t now, struct arena *a, struct auth_user *ret,
                      int64_t *ret_expires, struct err *err)
{
    size_t n = W_FIXED + rules->n_required;
    struct wanted *w = arena_new_n(a, struct wanted, n);
    struct auth_user u = { 0 };
    struct str text, jti;
    if (!w) {
        return err_set(err, ERR_NO_MEMORY, "out of memory while a user was built");
    }
    w[W_ISS].name = STR("iss");
    w[W_AUD].name = STR("aud");
    w[W_EXP].name = STR("exp");
    w[W_NBF].name = STR("nbf");
    w[W_JTI].name = STR("jti");
    w[W_EMAIL_VERIFIED].name = STR("email_verified");
    w[W_CLAIM_NAMES].name = STR("_claim_names");
    w[W_USERNAME].name = rules->username_claim;
    w[W_UID].name = rules->uid_claim;
    w[W_GROUPS].name = rules->groups_claim.len > 0 ? rules->groups_claim : STR_NULL;
    for (size_t i = 0; i < rules->n_required; i++) {
        w[W_FIXED + i].name = rules->required[i].key;
    }
    if (!collect(claims_json, w, n, a, err) || !check_token(w, rules, now, a, ret_expires, err) || !read_name(w, rules, a, &u, err) ||
        !read_uid(w, rules, a, &u, err) || !read_groups(w, rules, a, &u, err)) {
        return false;
    }
    for (size_t i = 0; i < rules->n_required; i++) {
        if (!text_of(&w[W_FIXED + i], a, &text)) {
            return err_set(err, ERR_UNAUTHORIZED, "oidc: required claim %.*s not present in ID token", STR_ARG(rules->required[i].key));
        }
        if (!str_eq(text, rules->required[i].value)) {
            return err_set(err, ERR_UNAUTHORIZED, "oidc: required claim %.*s value does not match", STR_ARG(rules->required[i].key));
        }
    }
    if (text_of(&w[W_JTI], a, &jti) && jti.len > 0) {
        struct auth_extra *extra = arena_new(a, struct auth_extra);
        struct str *id = arena_new(a, struct str);
        if (!extra || !id) {
            return err_set(err, ERR_NO_MEMORY, "out of memory while a user was built");
        }
        *id = arena_printf(a, "JTI=%.*s", STR_ARG(jti));
        *extra = (struct auth_extra){ .key = AUTH_EXTRA_CREDENTIAL_ID, .values = id, .n_values = 1 };
        u.extra = extra;
        u.n_extra = 1;
    }
    *ret = u;
    return true;
}

bool oidc_discovery_read(struct str json, struct str issuer, struct arena *a, struct str *ret_jwks_uri, struct err *err)
{
    struct wanted w[] = { { .name = STR("issuer") }, { .name = STR("jwks_uri") } };
    struct str named;
    if (!collect(json, w, ARRAY_SIZE(w), a, err)) {
        return err_set(err, ERR_INVALID, "the discovery document cannot be read");
    }
    if (!text_of(&w[0], a, &named) || !str_eq(named, issuer)) {
        return err_set(err, ERR_INVALID, "the discovery document is of another issuer than \"%.*s\"", STR_ARG(issuer));
    }
    return text_of(&w[1], a, ret_jwks_uri) || err_set(err, ERR_INVALID, "the discovery document has no jwks_uri");
}
