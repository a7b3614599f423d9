#include "api/patch-merge.h"

/* Members that are null are of no use in what is new: they would remove what is not there. */
static void prune_nulls(struct val *v)
{
    if (v->kind == VAL_ARRAY) {
        for (uint32_t i = 0; i < v->n; i++) {
            prune_nulls(&v->items[i]);
        }
    } else if (v->kind == VAL_OBJECT) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < v->n; i++) {
            if (v->members[i].value.kind != VAL_NULL) {
                prune_nulls(&v->members[i].value);
                v->members[n++] = v->members[i];
            }
        }
        v->n = n;
    }
}

static bool merge(struct arena *a, struct val *doc, const struct val *patch)
{
    for (uint32_t i = 0; i < patch->n; i++) {
        const struct val_member *m = &patch->members[i];
        struct val *old = val_get(doc, m->key);
        if (m->value.kind == VAL_NULL) {
            val_remove(doc, m->key);
        } else if (val_is(old, VAL_OBJECT) && m->value.kind == VAL_OBJECT) {
            if (!merge(a, old, &m->value)) {
                return false;
            }
        } else {
            struct val own;
            if (!val_copy(a, &m->value, false, &own)) {
                return false;
            }
            prune_nulls(&own);
            if (!val_set(a, doc, m->key, own)) {
                return false;
            }
        }
    }
    return true;
}

bool patch_merge_apply_val(struct arena *a, struct val *doc, const struct val *patch, struct err *err)
{
    static const char *const names[] = { [VAL_NULL] = "null",     [VAL_BOOL] = "bool",   [VAL_INT] = "number",
                                         [VAL_DOUBLE] = "number", [VAL_STRING] = "string", [VAL_ARRAY] = "array",
                                         [VAL_OBJECT] = "object" };
    if (patch->kind == VAL_NULL) {
        return true;
    }
    if (patch->kind != VAL_OBJECT) {
        return err_set(err, ERR_BAD_REQUEST,
                       "error decoding patch: json: cannot unmarshal %s into Go value of type map[string]interface {}",
                       names[patch->kind]);
    }
    if (!merge(a, doc, patch)) {
        return err_set(err, ERR_TOO_LARGE, "the patched object needs more memory than it may have");
    }
    return true;
}

bool patch_merge_apply(struct arena *a, struct val *doc, struct str patch, struct val_dups *dups, struct err *err)
{
    struct val v;
    if (!val_parse_json(a, patch, JSON_DEPTH, dups, &v, err)) {
        return err_wrap(err, "error decoding patch");
    }
    return patch_merge_apply_val(a, doc, &v, err);
}
