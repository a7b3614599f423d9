#include "controllers/csr-facts.h"

#include <stdlib.h>

#include "auth/user.h"

const struct api_resource *csr_resource(void)
{
    return api_resource_find(STR("certificates.k8s.io"), STR("v1"),
                             STR("certificatesigningrequests"));
}

struct informer *csr_informer(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "-metadata.managedFields", NULL };
    struct informer_spec spec = { .resource = csr_resource(), .fields = fields };
    return controller_watch(c, informers, &spec);
}

const csr_condition_t *csr_condition(const csr_t *csr, const char *type)
{
    for (size_t i = 0; i < csr->status.n_conditions; i++) {
        if (str_eq_c(csr->status.conditions[i].type, type)) {
            return &csr->status.conditions[i];
        }
    }
    return NULL;
}

bool csr_is_decided(const csr_t *csr)
{
    return csr->status.certificate.len > 0 || csr_condition(csr, "Approved") ||
           csr_condition(csr, "Denied") || csr_condition(csr, "Failed");
}

struct str csr_node(const csr_t *csr)
{
    struct auth_user user = { .name = csr->spec.username,
                              .groups = csr->spec.groups,
                              .n_groups = csr->spec.n_groups };
    return auth_user_node(&user);
}

void csr_add_condition(struct actions *a, const csr_t *csr, const char *subresource,
                       const char *type, const char *reason, struct str message)
{
    csr_t changed = *csr;
    csr_condition_t *all = arena_new_n(act_arena(a), csr_condition_t, csr->status.n_conditions + 1);
    if (!all) {
        abort();
    }
    if (csr->status.n_conditions) {
        memcpy(all, csr->status.conditions, csr->status.n_conditions * sizeof(*all));
    }
    all[csr->status.n_conditions] = (csr_condition_t){
        .type = str_c(type),
        .status = STR("True"),
        .reason = str_c(reason),
        .message = message,
        .last_update_time = { .sec = act_now(a), .set = true },
    };
    changed.status.conditions = all;
    changed.status.n_conditions = csr->status.n_conditions + 1;
    act_update_sub(a, csr_resource(), subresource, &changed);
}
