/* Mode RBAC: asks the compiled roles and bindings (rbac.h). */
#include "auth/authz-table.h"
#include "auth/rbac.h"

struct authz_rbac {
    struct authz authz;
    struct rbac *rbac;
};

static bool rbac_open(const struct authz_config *cfg, struct authz **ret, struct err *err)
{
    if (!cfg->rbac) {
        return err_set(err, ERR_INTERNAL, "mode RBAC without roles");
    }
    struct authz_rbac *a = calloc(1, sizeof(*a));
    if (!a) {
        abort();
    }
    *a = (struct authz_rbac){ .authz = { &authz_rbac_ops }, .rbac = cfg->rbac };
    *ret = &a->authz;
    return true;
}

static enum authz_result authorize(struct authz *self, struct authz_request *r)
{
    struct authz_rbac *a = CONTAINER_OF(self, struct authz_rbac, authz);
    enum authz_result result = rbac_authorize(a->rbac, &r->attr, NULL, NULL);
    /* The text is made when somebody will read it: a refusal names roles that are missing, a review
     * asks why. */
    if (result != AUTHZ_ALLOW || r->want_reason) {
        result = rbac_authorize(a->rbac, &r->attr, r->arena, &r->reason);
    }
    return result;
}

static bool rules(struct authz *self, const struct auth_user *user, struct str namespace_,
                  struct arena *a, struct rbac_rule_set *out, struct err *err)
{
    struct authz_rbac *z = CONTAINER_OF(self, struct authz_rbac, authz);
    return rbac_rules_for(z->rbac, user, namespace_, a, out, err);
}

static void rbac_close(struct authz *self)
{
    free(CONTAINER_OF(self, struct authz_rbac, authz));
}

const struct authz_ops authz_rbac_ops = {
    .mode = STR_INIT("RBAC"),
    .open = rbac_open,
    .authorize = authorize,
    .rules = rules,
    .free = rbac_close,
};
