/* token-cleaner-controller: bootstrap tokens that have expired are deleted, and those whose
 * expiration cannot be read. */
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "auth/bootstrap-token.h"
#include "controllers/controllers.h"

struct state {
    const struct api_resource *secrets_resource;
    struct informer *secrets;
};

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "-metadata.managedFields", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->secrets_resource = api_resource_find(STR(""), STR("v1"), STR("secrets"));
    struct informer_spec spec = { .resource = s->secrets_resource,
                                  .ns = BOOTSTRAP_TOKEN_NAMESPACE,
                                  .field_selector = STR_INIT("type=bootstrap.kubernetes.io/token"),
                                  .fields = fields };
    s->secrets = controller_watch(c, informers, &spec);
    return s;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    int64_t end;
    const struct core_v1_secret *secret =
        str_cut(key, '/', &ns, &name) ? informer_get(s->secrets, ns, name) : NULL;
    if (!secret || !bootstrap_token_expiration(secret, &end)) {
        return;
    }
    if (end <= act_now(a)) {
        struct client_delete_options same = { .grace_seconds = -1,
                                              .resource_version =
                                                  secret->metadata.resource_version };
        act_delete(a, s->secrets_resource, ns, name, secret->metadata.uid, &same);
    } else {
        act_requeue_after(a, (uint64_t)(end - act_now(a)) * 1000);
    }
}

const struct controller_ops controller_token_cleaner = {
    .name = "token-cleaner-controller",
    .service_account = "token-cleaner",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
    .off_by_default = true,
};
