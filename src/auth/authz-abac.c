/* Mode ABAC: allowed is what a line of the policy file allows. The file is read at the start, as kube-apiserver reads it. */
#include "auth/abac-policy.h"
#include "auth/authz-table.h"
#include "auth/limits.h"
#include "auth/rbac.h"
#include "base/fs.h"

struct authz_abac {
    struct authz authz;
    struct abac_file file;
};

static bool abac_open(const struct authz_config *cfg, struct authz **ret, struct err *err)
{
    struct abac_file file;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, ABAC_MAX_FILE + 1);
    if (!cfg->policy_file || !cfg->policy_file[0]) {
        return err_set(err, ERR_INVALID, "authorization-mode ABAC's authorization policy file not passed");
    }
    if (!fs_read(cfg->policy_file, ABAC_MAX_FILE, &b, err) ||
        !(abac_file_parse(buf_str(&b), &file, err) || err_wrap(err, "%s", cfg->policy_file))) {
        return err_wrap(err, "--authorization-policy-file");
    }
    struct authz_abac *a = calloc(1, sizeof(*a));
    if (!a) {
        abort();
    }
    *a = (struct authz_abac){ .authz = { &authz_abac_ops }, .file = file };
    *ret = &a->authz;
    return true;
}

static void abac_close(struct authz *self)
{
    struct authz_abac *a = CONTAINER_OF(self, struct authz_abac, authz);
    abac_file_deinit(&a->file);
    free(a);
}

static enum authz_result abac_authorize(struct authz *self, struct authz_request *r)
{
    struct authz_abac *a = CONTAINER_OF(self, struct authz_abac, authz);
    for (size_t i = 0; i < a->file.n; i++) {
        if (abac_policy_allows(&a->file.policies[i], &r->attr)) {
            if (r->want_reason) {
                r->reason = arena_printf(r->arena, "ABAC: allowed by line %u of the policy file", a->file.policies[i].line);
            }
            return AUTHZ_ALLOW;
        }
    }
    r->reason = STR("No policy matched.");
    return AUTHZ_NO_OPINION;
}

static bool abac_rules(struct authz *self, const struct auth_user *user, struct str namespace_, struct arena *arena,
                       struct rbac_rule_set *out, struct err *err)
{
    static const struct str read_verbs[] = { STR_INIT("get"), STR_INIT("list"), STR_INIT("watch") }, all_verbs[] = { STR_INIT("*") };
    struct authz_abac *a = CONTAINER_OF(self, struct authz_abac, authz);
    (void)err;
    for (size_t i = 0; i < a->file.n; i++) {
        const struct abac_policy *p = &a->file.policies[i];
        struct rbac_rule rule = { .verbs = p->readonly ? read_verbs : all_verbs, .n_verbs = p->readonly ? ARRAY_SIZE(read_verbs) : 1 };
        if (!abac_policy_fits_user(p, user) || !(str_eq_c(p->namespace_, "*") || str_eq(p->namespace_, namespace_))) {
            continue;
        }
        if (p->resource.len > 0) {
            struct rbac_rule resource = rule;
            resource.api_groups = &p->api_group;
            resource.resources = &p->resource;
            resource.n_api_groups = resource.n_resources = 1;
            if (!rbac_rule_set_add(out, arena, &resource)) {
                return false;
            }
        }
        if (p->path.len > 0) {
            rule.non_resource_urls = &p->path;
            rule.n_non_resource_urls = 1;
            if (!rbac_rule_set_add(out, arena, &rule)) {
                return false;
            }
        }
    }
    return true;
}

const struct authz_ops authz_abac_ops = {
    .mode = STR_INIT("ABAC"),
    .open = abac_open,
    .authorize = abac_authorize,
    .rules = abac_rules,
    .free = abac_close,
};
