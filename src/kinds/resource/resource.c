/* DeviceClass, ResourceSlice, ResourceClaim. */
#include "api/gen/resource_v1.h"
#include "kinds/kind.h"
#include "kinds/table.h"

const struct kind_ops resource_device_class_ops = {
    .group = STR_INIT("resource.k8s.io"), .resource = STR_INIT("deviceclasses"), .flags = KIND_GENERATION,
};
const struct kind_ops resource_slice_ops = {
    .group = STR_INIT("resource.k8s.io"), .resource = STR_INIT("resourceslices"), .flags = KIND_GENERATION,
};

static void claim_cells(struct kind_cells *c, const void *obj)
{
    const struct resource_v1_resource_claim *r = obj;
    bool deleted = r->metadata.deletion_timestamp.set;
    struct str state = deleted ? STR("deleted") : STR_EMPTY;
    if (!r->status.allocation) {
        state = deleted ? state : STR("pending");
    } else {
        state = arena_printf(c->arena, "%.*s%sallocated%s", STR_ARG(state), deleted ? "," : "", r->status.n_reserved_for ? ",reserved" : "");
    }
    cell_str(c, r->metadata.name);
    cell_str(c, state);
    cell_age(c, r->metadata.creation_timestamp);
}

const struct kind_ops resource_claim_ops = {
    .group = STR_INIT("resource.k8s.io"), .resource = STR_INIT("resourceclaims"), .cells = claim_cells,
};
