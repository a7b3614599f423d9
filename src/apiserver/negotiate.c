#include "apiserver/media.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"

/* Versions that are served on, and what to use in their place. */
static void warn_deprecated(struct request *r)
{
    static const struct {
        const char *group, *version, *resource, *text;
    } old[] = {
        { "", "v1", "endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice" },
        { "", "v1", "componentstatuses", "v1 ComponentStatus is deprecated in v1.19+" },
    };
    for (size_t i = 0; r->ep && i < ARRAY_SIZE(old); i++) {
        const struct api_resource *res = r->ep->res;
        if (str_eq_c(res->resource, old[i].resource) && str_eq_c(res->version, old[i].version) && str_eq_c(res->group, old[i].group)) {
            request_warn(r, str_c(old[i].text));
        }
    }
}

static enum stage_result negotiate(struct request *r, unsigned allow)
{
    warn_deprecated(r);
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
