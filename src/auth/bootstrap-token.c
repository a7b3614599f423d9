#include "auth/bootstrap-token.h"

#include "api/gen/core_v1.h"
#include "auth/limits.h"
#include "base/clock.h"
#include "base/rand.h"

/* ---- the token's text ---- */

static bool is_plain(struct str s, size_t len)
{
    if (s.len != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= '0' && s.ptr[i] <= '9'))) {
            return false;
        }
    }
    return true;
}

bool bootstrap_token_is_id(struct str id)
{
    return is_plain(id, BOOTSTRAP_TOKEN_ID_LEN);
}

bool bootstrap_token_split(struct str token, struct str *ret_id, struct str *ret_secret)
{
    struct str id, secret;
    if (token.len != BOOTSTRAP_TOKEN_SIZE - 1 || !str_cut(token, '.', &id, &secret) || !bootstrap_token_is_id(id) ||
        !is_plain(secret, BOOTSTRAP_TOKEN_SECRET_LEN)) {
        return false;
    }
    *ret_id = id;
    *ret_secret = secret;
    return true;
}

void bootstrap_token_make(char ret[BOOTSTRAP_TOKEN_SIZE])
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    for (size_t i = 0; i < BOOTSTRAP_TOKEN_SIZE - 1; i++) {
        ret[i] = alphabet[rand_below(sizeof(alphabet) - 1)];
    }
    ret[BOOTSTRAP_TOKEN_ID_LEN] = '.';
    ret[BOOTSTRAP_TOKEN_SIZE - 1] = '\0';
}

/* ---- the Secret ---- */

static struct str data_of(const struct core_v1_secret *s, struct str key)
{
    for (size_t i = 0; i < s->n_data; i++) {
        if (str_eq(s->data[i].key, key)) {
            return s->data[i].value;
        }
    }
    return STR_NULL;
}

bool bootstrap_token_expiration(const struct core_v1_secret *s, int64_t *ret)
{
    struct str text = data_of(s, BOOTSTRAP_TOKEN_KEY_EXPIRATION);
    uint32_t nsec;
    if (str_empty(text)) {
        return false;
    }
    if (!clock_parse_rfc3339(text, ret, &nsec)) {
        *ret = BOOTSTRAP_TOKEN_LONG_PAST;
    }
    return true;
}

bool bootstrap_token_expired(const struct bootstrap_token *t, int64_t now)
{
    return t->has_expiration && now >= t->expiration;
}

bool bootstrap_token_is_group(struct str group)
{
    struct str prefix = STR("system:bootstrappers:");
    struct str rest = str_sub(group, prefix.len, group.len);
    if (!str_starts(group, prefix) || rest.len == 0 || rest.len > 256) {
        return false;
    }
    for (size_t i = 0; i < rest.len; i++) {
        char c = rest.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (i + 1 == rest.len || (c != ':' && c != '-'))) {
            return false;
        }
    }
    return true;
}

/* Puts 'g' into its place; a name that is there already stays once. */
static size_t insert(struct str *list, size_t n, struct str g)
{
    size_t at = n;
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], g)) {
            return n;
        }
    }
    while (at > 0 && str_cmp(list[at - 1], g) > 0) {
        list[at] = list[at - 1];
        at--;
    }
    list[at] = g;
    return n + 1;
}

static bool read_groups(const struct core_v1_secret *s, struct arena *a, struct bootstrap_token *t)
{
    struct str rest = data_of(s, BOOTSTRAP_TOKEN_KEY_GROUPS), piece;
    struct str *list = arena_new_n(a, struct str, BOOTSTRAP_MAX_GROUPS + 1);
    size_t n = 0;
    if (!list) {
        return false;
    }
    list[n++] = BOOTSTRAP_TOKEN_GROUP;
    while (rest.len > 0 && rest.ptr && str_split(&rest, ',', &piece)) {
        piece = str_trim(piece);
        if (n > BOOTSTRAP_MAX_GROUPS || !bootstrap_token_is_group(piece)) {
            t->bad_groups = true;
            return true;
        }
        n = insert(list, n, piece);
    }
    t->groups = list;
    t->n_groups = n;
    return true;
}

bool bootstrap_token_read(const struct core_v1_secret *s, struct arena *a, struct bootstrap_token *ret, struct err *err)
{
    struct bootstrap_token t = {
        .id = data_of(s, BOOTSTRAP_TOKEN_KEY_ID),
        .secret = data_of(s, BOOTSTRAP_TOKEN_KEY_SECRET),
        .description = data_of(s, BOOTSTRAP_TOKEN_KEY_DESCRIPTION),
        .authentication = str_eq_c(data_of(s, BOOTSTRAP_TOKEN_KEY_AUTHENTICATION), "true"),
        .signing = str_eq_c(data_of(s, BOOTSTRAP_TOKEN_KEY_SIGNING), "true"),
    };
    struct str prefix = BOOTSTRAP_TOKEN_NAME_PREFIX, name = s->metadata.name;
    if (!str_eq(s->type, BOOTSTRAP_TOKEN_TYPE)) {
        return err_set(err, ERR_INVALID, "the Secret is not of type %.*s", STR_ARG(BOOTSTRAP_TOKEN_TYPE));
    }
    if (!str_eq(s->metadata.namespace, BOOTSTRAP_TOKEN_NAMESPACE)) {
        return err_set(err, ERR_INVALID, "a bootstrap token's Secret must be in the namespace %.*s", STR_ARG(BOOTSTRAP_TOKEN_NAMESPACE));
    }
    if (!bootstrap_token_is_id(t.id)) {
        return err_set(err, ERR_INVALID, "token-id must be six letters or digits, [a-z0-9]");
    }
    if (!str_starts(name, prefix) || !str_eq(str_sub(name, prefix.len, name.len), t.id)) {
        return err_set(err, ERR_INVALID, "the Secret's name must be %.*s%.*s", STR_ARG(prefix), STR_ARG(t.id));
    }
    if (!is_plain(t.secret, BOOTSTRAP_TOKEN_SECRET_LEN)) {
        return err_set(err, ERR_INVALID, "token-secret must be sixteen letters or digits, [a-z0-9]");
    }
    t.has_expiration = bootstrap_token_expiration(s, &t.expiration);
    if (!read_groups(s, a, &t)) {
        return err_set(err, ERR_NO_MEMORY, "out of memory while a bootstrap token was read");
    }
    *ret = t;
    return true;
}

static bool add(struct core_v1_secret *s, struct arena *a, struct str key, struct str value)
{
    size_t at = s->n_data++;
    while (at > 0 && str_cmp(s->data[at - 1].key, key) > 0) {
        s->data[at] = s->data[at - 1];
        at--;
    }
    s->data[at] = (struct api_str_pair){ .key = key, .value = arena_str(a, value) };
    return s->data[at].value.ptr != NULL;
}

bool bootstrap_token_to_secret(const struct bootstrap_token *t, struct arena *a, struct core_v1_secret *ret)
{
    enum { KEYS = 7 };
    char when[CLOCK_RFC3339_SIZE];
    struct str groups = STR_NULL;
    *ret = (struct core_v1_secret){ .type = BOOTSTRAP_TOKEN_TYPE };
    ret->metadata.namespace = BOOTSTRAP_TOKEN_NAMESPACE;
    ret->metadata.name = arena_printf(a, "%.*s%.*s", STR_ARG(BOOTSTRAP_TOKEN_NAME_PREFIX), STR_ARG(t->id));
    ret->data = arena_new_n(a, struct api_str_pair, KEYS);
    if (!ret->data || !ret->metadata.name.ptr || !add(ret, a, BOOTSTRAP_TOKEN_KEY_ID, t->id) ||
        !add(ret, a, BOOTSTRAP_TOKEN_KEY_SECRET, t->secret)) {
        return false;
    }
    if (t->has_expiration) {
        struct str text = str_n(when, clock_format_rfc3339(t->expiration, 0, 0, when));
        if (!add(ret, a, BOOTSTRAP_TOKEN_KEY_EXPIRATION, text)) {
            return false;
        }
    }
    for (size_t i = 0; i < t->n_groups; i++) {
        if (!str_eq(t->groups[i], BOOTSTRAP_TOKEN_GROUP)) {
            groups = groups.ptr ? arena_printf(a, "%.*s,%.*s", STR_ARG(groups), STR_ARG(t->groups[i])) : t->groups[i];
        }
    }
    return (str_empty(t->description) || add(ret, a, BOOTSTRAP_TOKEN_KEY_DESCRIPTION, t->description)) &&
           (!t->authentication || add(ret, a, BOOTSTRAP_TOKEN_KEY_AUTHENTICATION, STR("true"))) &&
           (!t->signing || add(ret, a, BOOTSTRAP_TOKEN_KEY_SIGNING, STR("true"))) &&
           (!groups.ptr || add(ret, a, BOOTSTRAP_TOKEN_KEY_GROUPS, groups));
}
