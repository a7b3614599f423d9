/* A patch and the object it is for, with a zero byte between them; the first byte chooses the kind of patch. */
#include <stdlib.h>

#include "api/apply.h"
#include "api/gen/apps_v1.h"
#include "api/gen/core_v1.h"
#include "api/patch-json.h"
#include "api/patch-merge.h"
#include "api/patch-strategic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* Whatever came out can be written and read again. */
static void check(struct arena *a, const struct val *v)
{
    struct val again;
    struct err err;
    struct str text = val_to_json(a, v);
    if (text.ptr && !val_parse_json(a, text, JSON_DEPTH, NULL, &again, &err)) {
        must(err.code == ERR_TOO_LARGE);
    }
}

static void apply(struct arena *a, struct fields_at at, const struct val *doc, const struct val *patch)
{
    struct managed m = { 0 };
    struct apply_result r;
    struct err err;
    struct val empty = val_object();
    struct managed_writer w = { .manager = STR("m"), .api_version = STR("v1"), .schema = at, .empty = &empty };
    if (doc->kind == VAL_OBJECT && patch->kind == VAL_OBJECT && apply_config(a, &m, &w, doc, patch, true, &r, &err)) {
        struct val live = r.object;
        check(a, &live);
        /* Again: nothing changes. */
        if (apply_config(a, &m, &w, &live, patch, false, &r, &err)) {
            check(a, &r.object);
        }
        (void)!managed_update(a, &m, &w, &live, doc, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct val doc, patch;
    struct err err;
    struct str all = str_n((const char *)data, size), patch_text, doc_text;
    if (size < 2 || !str_cut(str_sub(all, 1, size), '\0', &patch_text, &doc_text)) {
        return 0;
    }
    arena_init(&a, 64 << 20);
    const struct api_type *t = data[0] & 8 ? &apps_v1_deployment_type : &core_v1_pod_type;
    if (val_parse_json(&a, doc_text, JSON_DEPTH, NULL, &doc, &err)) {
        bool ok = false;
        switch (data[0] & 7) {
        case 0: ok = patch_json_apply(&a, &doc, patch_text, &err); break;
        case 1: ok = patch_merge_apply(&a, &doc, patch_text, NULL, &err); break;
        case 2:
            ok = val_parse_json(&a, patch_text, JSON_DEPTH, NULL, &patch, &err) &&
                 patch_strategic_apply(&a, &doc, &patch, t, &err);
            break;
        default:
            if (val_parse_json(&a, patch_text, JSON_DEPTH, NULL, &patch, &err)) {
                apply(&a, data[0] & 16 ? fields_at_deduced() : fields_at_type(t), &doc, &patch);
            }
            break;
        }
        if (ok) {
            check(&a, &doc);
        }
    }
    arena_deinit(&a);
    return 0;
}
