/* AlwaysAllow and AlwaysDeny. The latter has no opinion either, as in Kubernetes: it only never
 * allows. */
#include "auth/authz-table.h"
#include "auth/rbac.h"

static bool allow_open(const struct authz_config *cfg, struct authz **ret, struct err *err)
{
    static struct authz one = { &authz_always_allow_ops };
    (void)cfg;
    (void)err;
    *ret = &one;
    return true;
}

static bool deny_open(const struct authz_config *cfg, struct authz **ret, struct err *err)
{
    static struct authz one = { &authz_always_deny_ops };
    (void)cfg;
    (void)err;
    *ret = &one;
    return true;
}

static enum authz_result allow(struct authz *self, struct authz_request *r)
{
    (void)self;
    (void)r;
    return AUTHZ_ALLOW;
}

static enum authz_result deny(struct authz *self, struct authz_request *r)
{
    (void)self;
    r->reason = STR("Everything is forbidden.");
    return AUTHZ_NO_OPINION;
}

static bool allow_rules(struct authz *self, const struct auth_user *user, struct str namespace_,
                        struct arena *a, struct rbac_rule_set *out, struct err *err)
{
    static const struct str star[] = { STR_INIT("*") };
    (void)self;
    (void)user;
    (void)namespace_;
    (void)err;
    return rbac_rule_set_add(out, a,
                             &(struct rbac_rule){ .verbs = star,
                                                  .n_verbs = 1,
                                                  .api_groups = star,
                                                  .n_api_groups = 1,
                                                  .resources = star,
                                                  .n_resources = 1 }) &&
           rbac_rule_set_add(out, a,
                             &(struct rbac_rule){ .verbs = star,
                                                  .n_verbs = 1,
                                                  .non_resource_urls = star,
                                                  .n_non_resource_urls = 1 });
}

static bool no_rules(struct authz *self, const struct auth_user *user, struct str namespace_,
                     struct arena *a, struct rbac_rule_set *out, struct err *err)
{
    (void)self;
    (void)user;
    (void)namespace_;
    (void)a;
    (void)out;
    (void)err;
    return true;
}

static void nothing(struct authz *self)
{
    (void)self;
}

const struct authz_ops authz_always_allow_ops = {
    .mode = STR_INIT("AlwaysAllow"),
    .open = allow_open,
    .authorize = allow,
    .rules = allow_rules,
    .free = nothing,
};
const struct authz_ops authz_always_deny_ops = {
    .mode = STR_INIT("AlwaysDeny"),
    .open = deny_open,
    .authorize = deny,
    .rules = no_rules,
    .free = nothing,
};
