#include "kubelet/kubelet-private.h"

#include "base/log.h"

bool server_fork(struct kubelet *k, struct err *err UNUSED)
{
    if (k->cfg->port) {
        log_warning("the kubelet's port %d is not served by this build", k->cfg->port);
    }
    return true;
}

bool server_start(struct kubelet *k UNUSED, struct err *err UNUSED)
{
    return true;
}

void server_stop(struct kubelet *k UNUSED)
{
}
