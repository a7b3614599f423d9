#include "apiserver/managed.h"

#include "apiserver/request.h"

enum stage_result managed_apply(struct request *r)
{
    r->status = (struct status){ .code = 415, .reason = STR("UnsupportedMediaType"), .has_details = true,
                                 .message = STR("415: Unsupported Media Type") };
    return STAGE_ERROR;
}
