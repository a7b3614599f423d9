#include "controllers/template-revision.h"

#include <stdlib.h>

#include "api/decode-json.h"
#include "api/encode-json.h"

struct str template_revision_data(struct arena *a, const struct core_v1_pod_template_spec *t)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64u << 20);
    buf_append_c(&b, "{\"spec\":{\"template\":{\"$patch\":\"replace\"");
    size_t at = b.len;
    if (!api_encode_json(&b, &core_v1_pod_template_spec_type, t, NULL, NULL)) {
        abort();
    }
    b.ptr[at] = ','; /* the template's own brace */
    buf_append_c(&b, "}}");
    return arena_str(a, buf_str(&b));
}

bool template_of_revision(struct arena *a, const struct apps_v1_controller_revision *r, struct core_v1_pod_template_spec *ret)
{
    struct apps_v1_daemon_set set = { 0 }; /* any kind with a template at spec.template */
    struct err err;
    if (!api_decode_json(a, &apps_v1_daemon_set_type, r->data, NULL, &set, &err)) {
        return false;
    }
    *ret = set.spec.template;
    return true;
}
