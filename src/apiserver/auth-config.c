#include "apiserver/auth-config.h"

#include "api/duration.h"
#include "api/yaml.h"

enum { MAX_JWT = 64, MAX_AUTHORIZERS = 32, MAX_TIMEOUT_MS = 30000 };

/* ---- common ---- */

/* Every member must be one of the names: what is mistyped would silently count for nothing. Names after "" need expressions. */
static bool only(const struct val *v, const char *path, const char *const *names, size_t n, struct err *err)
{
    if (!val_is(v, VAL_OBJECT)) {
        return err_set(err, ERR_INVALID, "%s: an object is needed", path);
    }
    for (uint32_t i = 0; i < v->n; i++) {
        bool known = false, expressions = false, is = false;
        for (size_t k = 0; k < n && !is; k++) {
            expressions |= !names[k][0];
            is = str_eq_c(v->members[i].key, names[k]);
        }
        known = is && !expressions;
        if (is && expressions && !(val_is(&v->members[i].value, VAL_STRING) && str_empty(v->members[i].value.s)) &&
            !(val_is(&v->members[i].value, VAL_ARRAY) && v->members[i].value.n == 0)) {
            return err_set(err, ERR_INVALID, "%s.%.*s: expressions (CEL) are not evaluated here: say it by claims, or leave it out", path,
                           STR_ARG(v->members[i].key));
        }
        if (!known && !is) {
            return err_set(err, ERR_INVALID, "%s: unknown field \"%.*s\"", path, STR_ARG(v->members[i].key));
        }
    }
    return true;
}
#define ONLY(v, path, err, ...) \
    only((v), (path), (const char *const[]){ __VA_ARGS__ }, ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })), (err))

static bool document(struct arena *a, struct str text, const char *kind, struct val *ret, struct err *err)
{
    static const char *const versions[] = { "apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1" };
    struct val_dups dups;
    bool version = false;
    val_dups_init(&dups);
    if (!yaml_or_json_parse(a, text, &dups, ret, err)) {
        return false;
    }
    if (dups.n > 0) {
        return err_set(err, ERR_INVALID, "%.*s", STR_ARG(yaml_dups_message(a, &dups)));
    }
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        version |= str_eq_c(val_get_str(ret, STR("apiVersion")), versions[i]);
    }
    return (version && str_eq_c(val_get_str(ret, STR("kind")), kind)) ||
           err_set(err, ERR_INVALID, "apiVersion and kind must be apiserver.config.k8s.io/v1 (or v1beta1, v1alpha1) and %s", kind);
}

/* A list under 'name', absent counts as empty. */
static bool list_under(const struct val *v, const char *name, const char *path, const struct val **ret, size_t *ret_n, struct err *err)
{
    const struct val *list = val_get(v, str_c(name));
    *ret = NULL;
    *ret_n = 0;
    if (!list || val_is(list, VAL_NULL)) {
        return true;
    }
    if (!val_is(list, VAL_ARRAY)) {
        return err_set(err, ERR_INVALID, "%s.%s: a list is needed", path, name);
    }
    *ret = list->items;
    *ret_n = list->n;
    return true;
}

/* ---- authentication ---- */

static bool parse_issuer(struct arena *a, const struct val *v, const char *path, struct authn_oidc_config *c, struct err *err)
{
    const struct val *list;
    struct str policy;
    if (!v || !ONLY(v, path, err, "url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy", "egressSelectorType") ||
        !list_under(v, "audiences", path, &list, &c->n_audiences, err)) {
        return v ? false : err_set(err, ERR_INVALID, "%s: Required value", path);
    }
    c->issuer_url = val_get_str(v, STR("url"));
    c->discovery_url = val_get_str(v, STR("discoveryURL"));
    c->ca_pem = val_get_str(v, STR("certificateAuthority"));
    policy = val_get_str(v, STR("audienceMatchPolicy"));
    if (str_empty(c->issuer_url)) {
        return err_set(err, ERR_INVALID, "%s.url: Required value: URL is required", path);
    }
    if (!str_starts(c->issuer_url, STR("https://"))) {
        return err_set(err, ERR_INVALID, "%s.url: Invalid value: \"%.*s\": URL scheme must be https", path, STR_ARG(c->issuer_url));
    }
    if (c->discovery_url.len && !str_starts(c->discovery_url, STR("https://"))) {
        return err_set(err, ERR_INVALID, "%s.discoveryURL: Invalid value: \"%.*s\": URL scheme must be https", path, STR_ARG(c->discovery_url));
    }
    if (c->discovery_url.len && str_eq(c->discovery_url, c->issuer_url)) {
        return err_set(err, ERR_INVALID, "%s.discoveryURL: Invalid value: \"%.*s\": discoveryURL must be different from URL", path,
                       STR_ARG(c->discovery_url));
    }
    if (val_get_str(v, STR("egressSelectorType")).len) {
        return err_set(err, ERR_INVALID, "%s.egressSelectorType: issuers are reached directly here: leave it out", path);
    }
    if (c->n_audiences == 0) {
        return err_set(err, ERR_INVALID, "%s.audiences: Required value: at least one %s.audiences is required", path, path);
    }
    struct str *audiences = arena_new_n(a, struct str, c->n_audiences);
    for (size_t i = 0; i < c->n_audiences; i++) {
        audiences[i] = val_is(&list[i], VAL_STRING) ? list[i].s : STR_EMPTY;
        if (str_empty(audiences[i])) {
            return err_set(err, ERR_INVALID, "%s.audiences[%zu]: Required value: audience can't be empty", path, i);
        }
        for (size_t k = 0; k < i; k++) {
            if (str_eq(audiences[k], audiences[i])) {
                return err_set(err, ERR_INVALID, "%s.audiences[%zu]: Duplicate value: \"%.*s\"", path, i, STR_ARG(audiences[i]));
            }
        }
    }
    c->audiences = audiences;
    if ((policy.len || c->n_audiences > 1) && !str_eq_c(policy, "MatchAny")) {
        return err_set(err, ERR_INVALID, "%s.audienceMatchPolicy: Invalid value: \"%.*s\": audienceMatchPolicy must be MatchAny for multiple audiences",
                       path, STR_ARG(policy));
    }
    return true;
}

/* claimMappings.username and .groups: a claim and what is put before it, which must be said even when it is nothing. */
static bool parse_mapping(const struct val *v, const char *path, bool required, struct str *ret_claim, struct str *ret_prefix, struct err *err)
{
    if (!v || val_is(v, VAL_NULL)) {
        return !required || err_set(err, ERR_INVALID, "%s: Required value: claim or expression is required", path);
    }
    const struct val *prefix = val_get(v, STR("prefix"));
    if (!ONLY(v, path, err, "claim", "prefix", "", "expression")) {
        return false;
    }
    *ret_claim = val_get_str(v, STR("claim"));
    *ret_prefix = val_get_str(v, STR("prefix"));
    if (str_empty(*ret_claim)) {
        return (!required && !prefix) || err_set(err, ERR_INVALID, "%s: Required value: claim or expression is required", path);
    }
    return (prefix && val_is(prefix, VAL_STRING)) ||
           err_set(err, ERR_INVALID, "%s.prefix: Required value: prefix is required when claim is set. It can be set to \"\" to disable prefixing", path);
}

static bool parse_mappings(const struct val *v, const char *path, struct authn_oidc_config *c, struct err *err)
{
    char at[160];
    if (!v || !ONLY(v, path, err, "username", "groups", "uid", "", "extra")) {
        return v ? false : err_set(err, ERR_INVALID, "%s.username: Required value: claim or expression is required", path);
    }
    (void)snprintf(at, sizeof(at), "%s.username", path);
    if (!parse_mapping(val_get(v, STR("username")), at, true, &c->username_claim, &c->username_prefix, err)) {
        return false;
    }
    (void)snprintf(at, sizeof(at), "%s.groups", path);
    if (!parse_mapping(val_get(v, STR("groups")), at, false, &c->groups_claim, &c->groups_prefix, err)) {
        return false;
    }
    c->exact_prefix = true;
    const struct val *uid = val_get(v, STR("uid"));
    (void)snprintf(at, sizeof(at), "%s.uid", path);
    if (uid && !ONLY(uid, at, err, "claim", "", "expression")) {
        return false;
    }
    c->uid_claim = uid ? val_get_str(uid, STR("claim")) : STR_EMPTY;
    return true;
}

static bool parse_rules(struct arena *a, const struct val *jwt, const char *path, struct authn_oidc_config *c, struct err *err)
{
    const struct val *list;
    char at[160];
    size_t n;
    if (!list_under(jwt, "claimValidationRules", path, &list, &n, err)) {
        return false;
    }
    struct str *required = arena_new_n(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(at, sizeof(at), "%s.claimValidationRules[%zu]", path, i);
        if (!ONLY(&list[i], at, err, "claim", "requiredValue", "", "expression", "message")) {
            return false;
        }
        struct str claim = val_get_str(&list[i], STR("claim"));
        if (str_empty(claim) || str_find_char(claim, '=') >= 0) {
            return err_set(err, ERR_INVALID, "%s: Required value: claim or expression is required", at);
        }
        required[i] = arena_printf(a, "%.*s=%.*s", STR_ARG(claim), STR_ARG(val_get_str(&list[i], STR("requiredValue"))));
    }
    c->required_claims = required;
    c->n_required_claims = n;
    return true;
}

static bool parse_jwt(struct arena *a, const struct val *v, size_t at, struct authn_oidc_config *c, struct err *err)
{
    static const struct str algs[] = { STR_INIT("RS256"), STR_INIT("RS384"), STR_INIT("RS512"), STR_INIT("ES256"), STR_INIT("ES384"),
                                       STR_INIT("ES512"), STR_INIT("PS256"), STR_INIT("PS384"), STR_INIT("PS512") };
    char path[64], issuer[80], mappings[80];
    (void)snprintf(path, sizeof(path), "jwt[%zu]", at);
    (void)snprintf(issuer, sizeof(issuer), "%s.issuer", path);
    (void)snprintf(mappings, sizeof(mappings), "%s.claimMappings", path);
    c->signing_algs = algs;
    c->n_signing_algs = ARRAY_SIZE(algs);
    return ONLY(v, path, err, "issuer", "claimMappings", "claimValidationRules", "", "userValidationRules") &&
           parse_issuer(a, val_get(v, STR("issuer")), issuer, c, err) && parse_mappings(val_get(v, STR("claimMappings")), mappings, c, err) &&
           parse_rules(a, v, path, c, err);
}

static bool parse_anonymous(struct arena *a, const struct val *v, struct auth_config_authn *ret, struct err *err)
{
    const struct val *conditions, *enabled = v ? val_get(v, STR("enabled")) : NULL;
    size_t n;
    if (!v || val_is(v, VAL_NULL)) {
        return true;
    }
    if (!ONLY(v, "anonymous", err, "enabled", "conditions") || !list_under(v, "conditions", "anonymous", &conditions, &n, err)) {
        return false;
    }
    ret->has_anonymous = true;
    ret->anonymous = enabled && val_is(enabled, VAL_BOOL) && enabled->b;
    if (n > 0 && !ret->anonymous) {
        return err_set(err, ERR_INVALID, "anonymous.conditions: Invalid value: enabled should be set to true when conditions are defined");
    }
    ret->paths = arena_new_n(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++) {
        if (!ONLY(&conditions[i], "anonymous.conditions", err, "path")) {
            return false;
        }
        ret->paths[i] = val_get_str(&conditions[i], STR("path"));
        if (str_empty(ret->paths[i])) {
            return err_set(err, ERR_INVALID, "anonymous.conditions[%zu].path: Required value: an absolute path is needed", i);
        }
    }
    ret->n_paths = n;
    return true;
}

bool auth_config_parse_authn(struct arena *a, struct str text, const struct str *own_issuers, size_t n_own_issuers,
                             struct auth_config_authn *ret, struct err *err)
{
    struct val doc;
    const struct val *list;
    *ret = (struct auth_config_authn){ 0 };
    if (!document(a, text, "AuthenticationConfiguration", &doc, err) ||
        !ONLY(&doc, "AuthenticationConfiguration", err, "apiVersion", "kind", "jwt", "anonymous") ||
        !list_under(&doc, "jwt", "AuthenticationConfiguration", &list, &ret->n_jwt, err) ||
        !parse_anonymous(a, val_get(&doc, STR("anonymous")), ret, err)) {
        return false;
    }
    if (ret->n_jwt > MAX_JWT) {
        return err_set(err, ERR_INVALID, "jwt: Too many: %zu: must have at most %d items", ret->n_jwt, MAX_JWT);
    }
    ret->jwt = arena_new_n(a, struct authn_oidc_config, ret->n_jwt + 1);
    for (size_t i = 0; i < ret->n_jwt; i++) {
        if (!parse_jwt(a, &list[i], i, &ret->jwt[i], err)) {
            return false;
        }
        struct str url = ret->jwt[i].issuer_url;
        for (size_t k = 0; k < i; k++) {
            if (str_eq(ret->jwt[k].issuer_url, url)) {
                return err_set(err, ERR_INVALID, "jwt[%zu].issuer.url: Duplicate value: \"%.*s\"", i, STR_ARG(url));
            }
        }
        for (size_t k = 0; k < n_own_issuers; k++) {
            if (str_eq(own_issuers[k], url)) {
                return err_set(err, ERR_INVALID, "jwt[%zu].issuer.url: Invalid value: \"%.*s\": URL must not overlap with disallowed issuers: "
                                                 "it is that of service accounts", i, STR_ARG(url));
            }
        }
    }
    return true;
}

/* ---- authorization ---- */

static bool read_duration(const struct val *v, const char *name, const char *path, int64_t fallback, int64_t *ret_ms, struct err *err)
{
    struct str text = val_get_str(v, str_c(name));
    int64_t ns;
    *ret_ms = fallback;
    if (str_empty(text)) {
        return true;
    }
    if (!duration_parse(text, &ns, NULL) || ns < 0) {
        return err_set(err, ERR_INVALID, "%s.%s: Invalid value: \"%.*s\": must be a duration like 3s", path, name, STR_ARG(text));
    }
    *ret_ms = (ns + 999999) / 1000000;
    return true;
}

static bool is_false(const struct val *v, const char *name)
{
    const struct val *b = val_get(v, str_c(name));
    return b && val_is(b, VAL_BOOL) && !b->b;
}

static bool parse_webhook(const struct val *v, const char *path, struct auth_config_authorizer *r, struct err *err)
{
    struct str policy, match;
    char at[160];
    if (!v || !ONLY(v, path, err, "authorizedTTL", "unauthorizedTTL", "cacheAuthorizedRequests", "cacheUnauthorizedRequests", "timeout",
                    "subjectAccessReviewVersion", "matchConditionSubjectAccessReviewVersion", "failurePolicy", "connectionInfo", "",
                    "matchConditions")) {
        return v ? false : err_set(err, ERR_INVALID, "%s: Required value: required when type=Webhook", path);
    }
    if (!read_duration(v, "timeout", path, 0, &r->timeout_ms, err) || !read_duration(v, "authorizedTTL", path, 300000, &r->allowed_ttl_ms, err) ||
        !read_duration(v, "unauthorizedTTL", path, 30000, &r->denied_ttl_ms, err)) {
        return false;
    }
    if (r->timeout_ms == 0 || r->timeout_ms > MAX_TIMEOUT_MS) {
        return err_set(err, ERR_INVALID, r->timeout_ms ? "%s.timeout: Invalid value: must be <= 30s" : "%s.timeout: Required value", path);
    }
    r->allowed_ttl_ms = is_false(v, "cacheAuthorizedRequests") ? 0 : r->allowed_ttl_ms;
    r->denied_ttl_ms = is_false(v, "cacheUnauthorizedRequests") ? 0 : r->denied_ttl_ms;
    r->version = val_get_str(v, STR("subjectAccessReviewVersion"));
    if (!str_eq_c(r->version, "v1") && !str_eq_c(r->version, "v1beta1")) {
        return err_set(err, ERR_INVALID, "%s.subjectAccessReviewVersion: Unsupported value: \"%.*s\": supported values: \"v1\", \"v1beta1\"", path,
                       STR_ARG(r->version));
    }
    match = val_get_str(v, STR("matchConditionSubjectAccessReviewVersion"));
    if (match.len && !str_eq_c(match, "v1")) {
        return err_set(err, ERR_INVALID, "%s.matchConditionSubjectAccessReviewVersion: Unsupported value: \"%.*s\": supported values: \"v1\"", path,
                       STR_ARG(match));
    }
    policy = val_get_str(v, STR("failurePolicy"));
    r->fail_denies = str_eq_c(policy, "Deny");
    if (!r->fail_denies && !str_eq_c(policy, "NoOpinion")) {
        return err_set(err, ERR_INVALID, "%s.failurePolicy: Unsupported value: \"%.*s\": supported values: \"Deny\", \"NoOpinion\"", path,
                       STR_ARG(policy));
    }
    const struct val *info = val_get(v, STR("connectionInfo"));
    (void)snprintf(at, sizeof(at), "%s.connectionInfo", path);
    if (!info || !ONLY(info, at, err, "type", "kubeConfigFile")) {
        return info ? false : err_set(err, ERR_INVALID, "%s.type: Required value", at);
    }
    if (!str_eq_c(val_get_str(info, STR("type")), "KubeConfigFile")) {
        return err_set(err, ERR_INVALID, "%s.type: \"%.*s\" is not done here: KubeConfigFile is", at, STR_ARG(val_get_str(info, STR("type"))));
    }
    r->kubeconfig = val_get_str(info, STR("kubeConfigFile"));
    if (str_empty(r->kubeconfig) || r->kubeconfig.ptr[0] != '/') {
        return err_set(err, ERR_INVALID, "%s.kubeConfigFile: Invalid value: \"%.*s\": must be an absolute path", at, STR_ARG(r->kubeconfig));
    }
    return true;
}

static bool parse_authorizer(const struct val *v, size_t i, struct auth_config_authorizer *list, struct err *err)
{
    static const char *const types[] = { "ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook" };
    struct auth_config_authorizer *r = &list[i];
    char path[64], webhook[80];
    bool known = false;
    (void)snprintf(path, sizeof(path), "authorizers[%zu]", i);
    (void)snprintf(webhook, sizeof(webhook), "%s.webhook", path);
    if (!ONLY(v, path, err, "type", "name", "webhook")) {
        return false;
    }
    r->type = val_get_str(v, STR("type"));
    r->name = val_get_str(v, STR("name"));
    for (size_t k = 0; k < ARRAY_SIZE(types); k++) {
        known |= str_eq_c(r->type, types[k]);
    }
    if (!known) {
        return err_set(err, ERR_INVALID, "%s.type: Unsupported value: \"%.*s\"", path, STR_ARG(r->type));
    }
    if (str_empty(r->name)) {
        return err_set(err, ERR_INVALID, "%s.name: Required value", path);
    }
    bool is_webhook = str_eq_c(r->type, "Webhook");
    for (size_t k = 0; k < i; k++) {
        if (str_eq(list[k].name, r->name)) {
            return err_set(err, ERR_INVALID, "%s.name: Duplicate value: \"%.*s\"", path, STR_ARG(r->name));
        }
        if (!is_webhook && str_eq(list[k].type, r->type)) {
            return err_set(err, ERR_INVALID, "%s.type: Duplicate value: \"%.*s\"", path, STR_ARG(r->type));
        }
    }
    const struct val *w = val_get(v, STR("webhook"));
    if (!is_webhook) {
        return !w || err_set(err, ERR_INVALID, "%s: Invalid value: may only be specified when type=Webhook", webhook);
    }
    return parse_webhook(w, webhook, r, err);
}

bool auth_config_parse_authz(struct arena *a, struct str text, struct auth_config_authorizer **ret, size_t *ret_n, struct err *err)
{
    struct val doc;
    const struct val *list;
    if (!document(a, text, "AuthorizationConfiguration", &doc, err) ||
        !ONLY(&doc, "AuthorizationConfiguration", err, "apiVersion", "kind", "authorizers") ||
        !list_under(&doc, "authorizers", "AuthorizationConfiguration", &list, ret_n, err)) {
        return false;
    }
    if (*ret_n == 0 || *ret_n > MAX_AUTHORIZERS) {
        return err_set(err, ERR_INVALID, *ret_n ? "authorizers: too many" : "authorizers: Required value: at least one authorization mode must be defined");
    }
    *ret = arena_new_n(a, struct auth_config_authorizer, *ret_n);
    for (size_t i = 0; i < *ret_n; i++) {
        if (!parse_authorizer(&list[i], i, *ret, err)) {
            return false;
        }
    }
    return true;
}
