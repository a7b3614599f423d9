#include <string.h>

#include "cloud/bare-metal.h"
#include "cloud/cloud.h"

struct cloud_settings cloud_settings;

const struct cloud_provider *const cloud_providers[] = { &cloud_bare_metal };
const size_t cloud_providers_n = ARRAY_SIZE(cloud_providers);

const struct cloud_provider *cloud_provider_find(struct str name)
{
    for (size_t i = 0; i < cloud_providers_n; i++) {
        if (str_eq_c(name, cloud_providers[i]->name)) {
            return cloud_providers[i];
        }
    }
    return NULL;
}

const struct controller_ops *const cloud_controllers[] = { &cloud_node_controller, &cloud_node_lifecycle_controller,
                                                           &cloud_service_controller, &cloud_route_controller };
const size_t cloud_controllers_n = ARRAY_SIZE(cloud_controllers);

bool cloud_controller_has_name(const struct controller_ops *ops, struct str name)
{
    static const struct {
        const char *now, *before;
    } names[] = { { "cloud-node-controller", "cloud-node" },
                  { "cloud-node-lifecycle-controller", "cloud-node-lifecycle" },
                  { "service-lb-controller", "service" },
                  { "node-route-controller", "route" } };
    for (size_t i = 0; i < cloud_controllers_n; i++) {
        if (cloud_controllers[i] == ops) {
            return str_eq_c(name, names[i].now) || str_eq_c(name, names[i].before);
        }
    }
    return false;
}
