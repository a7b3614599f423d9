/*
 * cloud-node-lifecycle-controller: of a Node that is not ready the provider says whether its machine still exists. When it does not,
 * the Node is deleted; when it is shut down, the Node gets a taint, which goes when it is ready again.
 */
#include <stdlib.h>

#include "api/json-writer.h"
#include "cloud/calls.h"
#include "cloud/cloud.h"
#include "cloud/node-facts.h"

struct state {
    const struct api_resource *resource;
    struct informer *nodes;
    struct cloud_calls *calls;
};

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "metadata.labels", "metadata.annotations", "metadata.deletionTimestamp", "spec.taints",
                                          "spec.providerID", "status.addresses", "status.conditions", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->resource = api_resource_find(STR(""), STR("v1"), STR("nodes"));
    const struct informer_spec spec = { .resource = s->resource, .fields = fields };
    s->nodes = controller_watch(c, informers, &spec);
    s->calls = cloud_calls_new(c);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    cloud_calls_free(s->calls);
    free(s);
}

static void set_shutdown(struct state *s, struct actions *a, const struct core_v1_node *n, bool is)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    if (is == node_has_taint(n, CLOUD_TAINT_SHUTDOWN)) {
        return;
    }
    buf_append_c(&b, "{\"metadata\":{\"resourceVersion\":");
    json_write_string(&b, n->metadata.resource_version);
    buf_append_c(&b, "},\"spec\":{");
    node_write_taints(&b, n, CLOUD_TAINT_SHUTDOWN, is ? CLOUD_TAINT_SHUTDOWN : NULL);
    buf_append_c(&b, "}}");
    act_patch(a, s->resource, STR_NULL, n->metadata.name, NULL, CLIENT_PATCH_MERGE, buf_str(&b));
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_node *n = informer_get(s->nodes, STR_NULL, key);
    bool is_new;
    if (!n || n->metadata.deletion_timestamp.set) {
        return;
    }
    if (node_is_ready(n)) {
        set_shutdown(s, a, n, false);
        return;
    }
    act_requeue_after(a, (uint64_t)cloud_settings.node_monitor_ms);
    struct cloud_call *call = cloud_calls_ask(s->calls, "instance", key, 0, &is_new);
    if (!call) {
        return;
    }
    if (is_new) {
        cloud_settings.provider->instances->get(cloud_settings.state, n, call);
    }
    enum cloud_call_state st = cloud_call_settle(call);
    if (st == CLOUD_CALL_WAITS) {
        return;
    }
    if (st == CLOUD_CALL_DONE) {
        const struct cloud_instance *i = cloud_call_answer(call);
        set_shutdown(s, a, n, i->shutdown);
    } else if (cloud_call_err(call)->code == ERR_NOT_FOUND) {
        act_event(a, s->resource, n, "Normal", "DeletingNode", "Deleting node %.*s because it does not exist in the cloud provider",
                  STR_ARG(key));
        act_delete(a, s->resource, STR_NULL, key, n->metadata.uid, NULL);
    } else {
        act_fail(a, "whether the machine exists cannot be said: %s", cloud_call_err(call)->msg);
    }
    cloud_calls_drop(call);
}

const struct controller_ops cloud_node_lifecycle_controller = {
    .name = "cloud-node-lifecycle",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .concurrency = 1,
};
