#include "apiserver/media.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"

static enum stage_result negotiate(struct request *r, unsigned allow)
{
    struct str accept = request_header(r, "accept");
    enum media_result result = media_negotiate(&r->arena, accept, allow, &r->media);
    r->media.pretty = media_wants_pretty(request_param(r, "pretty"), r->user_agent);
    if (result == MEDIA_OK) {
        return STAGE_DONE;
    }
    /* Upstream writes these indented whatever was asked for. */
    r->media = (struct media){ .format = MEDIA_JSON, .pretty = true };
    if (result == MEDIA_NO_TYPE) {
        r->status = (struct status){ .code = 406, .reason = STR("NotAcceptable"), .has_details = true,
                                     .message = STR("406: Not Acceptable\n\nAvailable representations: " MEDIA_ACCEPTED) };
    } else {
        r->status = (struct status){ .code = 406, .reason = STR("NotAcceptable"),
                                     .message = STR("only the following media types are accepted: " MEDIA_ACCEPTED) };
    }
    return STAGE_ERROR;
}

enum stage_result stage_negotiate_object(struct request *r)
{
    return negotiate(r, MEDIA_ALLOW_TABLE | MEDIA_ALLOW_PARTIAL);
}

enum stage_result stage_negotiate_list(struct request *r)
{
    return negotiate(r, MEDIA_ALLOW_TABLE | MEDIA_ALLOW_PARTIAL);
}

enum stage_result stage_negotiate_plain(struct request *r)
{
    return negotiate(r, 0);
}
