/* namespaces/NAME/finalize: only spec.finalizers is taken from the body; without any the namespace goes. */
#include "api/copy.h"
#include "api/gen/core_v1.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"

enum stage_result stage_finalize_begin(struct request *r)
{
    const struct core_v1_namespace *body = r->body_obj;
    struct core_v1_namespace *ns = arena_alloc(&r->arena, r->rest->hub->type->size);
    if (!str_empty(body->metadata.name) && !str_eq(body->metadata.name, r->info.name)) {
        return request_bad(r, "the name of the object (%.*s) does not match the name on the URL (%.*s)", STR_ARG(body->metadata.name),
                           STR_ARG(r->info.name));
    }
    if (!ns || !api_copy_into(&r->arena, r->rest->hub->type, r->old, ns, false)) {
        return request_bad(r, "the object is too large");
    }
    ns->spec.finalizers = body->spec.finalizers;
    ns->spec.n_finalizers = body->spec.n_finalizers;
    ns->metadata.resource_version = body->metadata.resource_version;
    r->obj = ns;
    return write_check_update(r);
}

