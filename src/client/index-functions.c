/* Index functions that several components use. */
#include "api/gen/core_v1.h"
#include "client/informer-private.h"
#include "client/meta.h"

void informer_by_node_name(const struct api_type *type UNUSED, const void *obj,
                           void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct core_v1_pod *pod = obj;
    if (pod->spec.node_name.len) {
        emit(ctx, pod->spec.node_name);
    }
}

void informer_by_controller_uid(const struct api_type *type, const void *obj,
                                void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct meta_v1_owner_reference *owner = meta_controller_of(meta_of(type, obj));
    if (owner) {
        emit(ctx, owner->uid);
    }
}

void informer_orphans_by_namespace(const struct api_type *type, const void *obj,
                                   void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct meta_v1_object_meta *m = meta_of(type, obj);
    if (!meta_controller_of(m)) {
        emit(ctx, m->namespace);
    }
}
