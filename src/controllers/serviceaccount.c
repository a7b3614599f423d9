/* serviceaccount: every namespace that is not ending has a ServiceAccount "default". */
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "controllers/controllers.h"

struct state {
    struct controller *controller;
    const struct api_resource *accounts_resource;
    struct informer *namespaces, *accounts;
};

static void on_account(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_service_account *sa = old;
    if (!obj && str_eq(sa->metadata.name, STR("default"))) {
        controller_enqueue(s->controller, sa->metadata.namespace);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const namespace_fields[] = { "status.phase", "metadata.deletionTimestamp",
                                                    NULL };
    static const char *const account_fields[] = { NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->accounts_resource = api_resource_find(STR(""), STR("v1"), STR("serviceaccounts"));
    struct informer_spec namespaces = { .resource = api_resource_find(STR(""), STR("v1"),
                                                                      STR("namespaces")),
                                        .fields = namespace_fields };
    struct informer_spec accounts = { .resource = s->accounts_resource, .fields = account_fields };
    s->namespaces = controller_watch(c, informers, &namespaces);
    s->accounts = informers_get(informers, &accounts, on_account, s);
    return s;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_namespace *ns = informer_get(s->namespaces, STR_NULL, key);
    if (!ns || ns->metadata.deletion_timestamp.set ||
        informer_get(s->accounts, key, STR("default"))) {
        return;
    }
    struct core_v1_service_account sa = { .metadata = { .name = STR_INIT("default") } };
    sa.metadata.namespace = key;
    act_create(a, s->accounts_resource, key, &sa);
    act_tolerate(a, ERR_ALREADY_EXISTS);
}

const struct controller_ops controller_serviceaccount = {
    .name = "serviceaccount",
    .service_account = "service-account-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
