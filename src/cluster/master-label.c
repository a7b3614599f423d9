#include "cluster/master-label.h"

#include "api/type.h"
#include "base/log.h"

static void on_labelled(void *data UNUSED, const struct client_answer *answer)
{
    if (answer->err) {
        log_warning("a node of the control plane is not labelled as one: %s", answer->err->msg);
    }
}

void master_label_put(struct client *c, const struct core_v1_node *node)
{
    static const struct str role = STR_INIT("node-role.kubernetes.io/control-plane");
    for (size_t i = 0; i < node->metadata.n_labels; i++) {
        if (str_eq(node->metadata.labels[i].key, role)) {
            return;
        }
    }
    const struct client_target target = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")), .name = node->metadata.name };
    (void)client_patch(c, &target, CLIENT_PATCH_MERGE, STR("{\"metadata\":{\"labels\":{\"node-role.kubernetes.io/control-plane\":\"\"}}}"),
                       on_labelled, NULL);
}
