#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"

enum stage_result stage_get(struct request *r)
{
    const struct object *o = watch_cache_get(r->rest->cache, r->info.ns, r->info.name);
    if (!o) {
        status_not_found(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, r->info.name);
        return STAGE_ERROR;
    }
    respond_published(r, 200, o);
    return STAGE_ANSWERED;
}
