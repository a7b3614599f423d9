/* The policy file of mode ABAC, and a decision with whatever it says. */
#include "auth/abac-policy.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct abac_file f;
    struct str group = AUTH_GROUP_AUTHENTICATED;
    struct auth_user u = { .name = STR("alice"), .groups = &group, .n_groups = 1 };
    struct authz_attributes pod = { .user = &u, .verb = STR("get"), .resource_request = true, .resource = STR("pods"), .namespace_ = STR("ns") };
    struct authz_attributes path = { .user = &u, .verb = STR("get"), .path = STR("/healthz") };
    log_setup("fuzz", LOG_ERROR);
    if (abac_file_parse(str_n((const char *)data, size), &f, NULL)) {
        for (size_t i = 0; i < f.n; i++) {
            (void)abac_policy_allows(&f.policies[i], &pod);
            (void)abac_policy_allows(&f.policies[i], &path);
        }
        abac_file_deinit(&f);
    }
    return 0;
}
