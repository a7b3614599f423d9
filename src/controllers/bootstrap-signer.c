/*
 * bootstrap-signer-controller: signs the kubeconfig of the ConfigMap kube-public/cluster-info with
 * every bootstrap token that may sign, so that a host which knows such a token can believe it
 * (client/cluster-info.h is the other end). One key, the ConfigMap.
 */
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "auth/bootstrap-token.h"
#include "client/cluster-info.h"
#include "controllers/controllers.h"
#include "pki/detached-jws.h"

#define KEY STR("kube-public/cluster-info")
/* Expirations are looked at again at least so often, in case the clock was set. */
#define LONGEST_WAIT_S 3600

struct state {
    struct controller *controller;
    const struct api_resource *maps_resource;
    struct informer *maps, *secrets;
};

static void on_secret(void *data, const void *old UNUSED, const void *obj UNUSED)
{
    struct state *s = data;
    controller_enqueue(s->controller, KEY);
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "-metadata.managedFields", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->maps_resource = api_resource_find(STR(""), STR("v1"), STR("configmaps"));
    struct informer_spec maps = { .resource = s->maps_resource,
                                  .ns = CLUSTER_INFO_NAMESPACE,
                                  .field_selector = STR_INIT("metadata.name=cluster-info"),
                                  .fields = fields };
    struct informer_spec secrets = { .resource =
                                         api_resource_find(STR(""), STR("v1"), STR("secrets")),
                                     .ns = BOOTSTRAP_TOKEN_NAMESPACE,
                                     .field_selector =
                                         STR_INIT("type=bootstrap.kubernetes.io/token"),
                                     .fields = fields };
    s->maps = controller_watch(c, informers, &maps);
    s->secrets = informers_get(informers, &secrets, on_secret, s);
    return s;
}

static int by_key(const void *a, const void *b)
{
    const struct api_str_pair *x = a, *y = b;
    return str_cmp(x->key, y->key);
}

/* Appends one signature per token; '*ret_wait_s' until the first of them ends. */
static size_t add_signatures(struct state *s, struct actions *a, struct str kubeconfig,
                             struct api_str_pair *data, size_t n, int64_t *ret_wait_s)
{
    const struct core_v1_secret *secret;
    for (size_t pos = 0; (secret = informer_next(s->secrets, &pos));) {
        struct bootstrap_token t;
        if (secret->metadata.deletion_timestamp.set ||
            !bootstrap_token_read(secret, act_arena(a), &t, NULL) || !t.signing ||
            bootstrap_token_expired(&t, act_now(a))) {
            continue;
        }
        CLEANUP(buf_deinit) struct buf jws;
        buf_init(&jws, 4096);
        detached_jws_sign(t.id, t.secret, kubeconfig, &jws);
        struct str key =
            arena_printf(act_arena(a), "%.*s%.*s", STR_ARG(CLUSTER_INFO_JWS_PREFIX), STR_ARG(t.id));
        if (!buf_failed(&jws)) {
            data[n++] = (struct api_str_pair){ key, arena_str(act_arena(a), buf_str(&jws)) };
        }
        if (t.has_expiration) {
            *ret_wait_s = MIN(*ret_wait_s, MAX(t.expiration - act_now(a), (int64_t)1));
        }
    }
    return n;
}

static bool same(const struct api_str_pair *a, size_t n_a, const struct api_str_pair *b, size_t n_b)
{
    for (size_t i = 0; i < n_a && n_a == n_b; i++) {
        if (!str_eq(a[i].key, b[i].key) || !str_eq(a[i].value, b[i].value)) {
            return false;
        }
    }
    return n_a == n_b;
}

static void reconcile(void *state, struct str key UNUSED, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_config_map *m =
        informer_get(s->maps, CLUSTER_INFO_NAMESPACE, CLUSTER_INFO_NAME);
    int64_t wait_s = LONGEST_WAIT_S;
    struct str kubeconfig = STR_NULL;
    size_t n = 0;
    if (!m || m->metadata.deletion_timestamp.set) {
        return;
    }
    struct api_str_pair *data =
        arena_new_n(act_arena(a), struct api_str_pair, m->n_data + informer_count(s->secrets) + 1);
    if (!data) {
        abort();
    }
    for (size_t i = 0; i < m->n_data; i++) {
        if (str_eq(m->data[i].key, CLUSTER_INFO_KUBECONFIG_KEY)) {
            kubeconfig = m->data[i].value;
        }
        if (!str_starts(m->data[i].key, CLUSTER_INFO_JWS_PREFIX)) {
            data[n++] = m->data[i];
        }
    }
    if (!kubeconfig.ptr) {
        return; /* nothing to sign */
    }
    n = add_signatures(s, a, kubeconfig, data, n, &wait_s);
    qsort(data, n, sizeof(*data), by_key);
    if (!same(data, n, m->data, m->n_data)) {
        struct core_v1_config_map changed = *m;
        changed.data = data;
        changed.n_data = n;
        act_update(a, s->maps_resource, &changed);
    }
    if (informer_count(s->secrets) > 0) {
        act_requeue_after(a, (uint64_t)wait_s * 1000);
    }
}

const struct controller_ops controller_bootstrap_signer = {
    .name = "bootstrap-signer-controller",
    .service_account = "bootstrap-signer",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
    .concurrency = 1,
    .off_by_default = true,
};
