/* root-ca-certificate-publisher: every namespace has a ConfigMap kube-root-ca.crt with the CA that
 * pods verify the apiserver by. */
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "controllers/controllers.h"

#define NAME STR("kube-root-ca.crt")
#define KEY STR("ca.crt")
/* The value that every cluster's object carries. */
#define DESCRIPTION                                                                                \
    STR("Contains a CA bundle that can be used to verify the kube-apiserver when using internal "  \
        "endpoints such as the "                                                                   \
        "internal service IP or kubernetes.default.svc. No other usage is guaranteed across "      \
        "distributions of Kubernetes "                                                             \
        "clusters.")

struct state {
    struct controller *controller;
    const struct api_resource *maps_resource;
    struct informer *namespaces, *maps;
};

static void on_map(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_config_map *m = obj ? obj : old;
    controller_enqueue(s->controller, m->metadata.namespace);
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const namespace_fields[] = { "metadata.deletionTimestamp", NULL };
    static const char *const map_fields[] = { "metadata.annotations", "data", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->maps_resource = api_resource_find(STR(""), STR("v1"), STR("configmaps"));
    struct informer_spec namespaces = { .resource = api_resource_find(STR(""), STR("v1"),
                                                                      STR("namespaces")),
                                        .fields = namespace_fields };
    struct informer_spec maps = { .resource = s->maps_resource,
                                  .field_selector = STR_INIT("metadata.name=kube-root-ca.crt"),
                                  .fields = map_fields };
    s->namespaces = controller_watch(c, informers, &namespaces);
    s->maps = informers_get(informers, &maps, on_map, s);
    return s;
}

static bool is_right(const struct core_v1_config_map *m)
{
    return m->n_data == 1 && str_eq(m->data[0].key, KEY) &&
           str_eq(m->data[0].value, controllers_config.root_ca_pem) &&
           str_eq(meta_annotation(&m->metadata, STR("kubernetes.io/description")), DESCRIPTION);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_namespace *ns = informer_get(s->namespaces, STR_NULL, key);
    const struct core_v1_config_map *have = informer_get(s->maps, key, NAME);
    if (!controllers_config.root_ca_pem.len || !ns || ns->metadata.deletion_timestamp.set ||
        (have && is_right(have))) {
        return;
    }
    struct api_str_pair data = { KEY, controllers_config.root_ca_pem };
    struct api_str_pair annotation = { STR("kubernetes.io/description"), DESCRIPTION };
    struct core_v1_config_map m = { .data = &data, .n_data = 1 };
    m.metadata.namespace = key;
    m.metadata.name = NAME;
    m.metadata.annotations = &annotation;
    m.metadata.n_annotations = 1;
    if (have) {
        m.metadata.uid = have->metadata.uid;
        m.metadata.resource_version = have->metadata.resource_version;
        act_update(a, s->maps_resource, &m);
    } else {
        act_create(a, s->maps_resource, key, &m);
        act_tolerate(a, ERR_ALREADY_EXISTS);
    }
}

const struct controller_ops controller_root_ca_publisher = {
    .name = "root-ca-certificate-publisher",
    .service_account = "root-ca-cert-publisher",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
