/* PATCH: the object as it is, as a tree in the version of the request; the patch applied; decoded strictly into a struct again. */
#include <stdlib.h>

#include "api/copy.h"
#include "api/decode-json.h"
#include "api/default.h"
#include "api/gen/meta_v1.h"
#include "api/patch-json.h"
#include "api/patch-merge.h"
#include "api/patch-strategic.h"
#include "api/val-convert.h"
#include "api/val-part.h"
#include "apiserver/body.h"
#include "apiserver/managed.h"
#include "apiserver/render.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "base/clock.h"

enum patch_kind { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY };

static enum patch_kind kind_of(const struct request *r)
{
    if (str_eq_c(r->content_type, "application/json-patch+json")) {
        return PATCH_JSON;
    }
    if (str_eq_c(r->content_type, "application/merge-patch+json")) {
        return PATCH_MERGE;
    }
    return str_eq_c(r->content_type, "application/apply-patch+yaml") ? PATCH_APPLY : PATCH_STRATEGIC;
}

/* The reason of a failed patch as upstream answers it. */
static enum stage_result failed(struct request *r, const struct err *err)
{
    if (err->code == ERR_INTERNAL) {
        status_unclassified(&r->status, &r->arena, "%s", err->msg);
        return STAGE_ERROR;
    }
    status_from_err(&r->status, &r->arena, err);
    if (err->code == ERR_TOO_LARGE && !str_starts(r->status.message, STR("Request entity too large"))) {
        r->status.message = arena_printf(&r->arena, "Request entity too large: %s", err->msg);
    }
    if (err->code == ERR_INVALID && str_eq_c(str_c(err->msg), PATCH_JSON_REFUSED)) {
        r->status.has_details = true;
    }
    return STAGE_ERROR;
}

/* ' "" is invalid: patch: Invalid value: "<what>": <why>'. */
static enum stage_result refused(struct request *r, struct str what, struct str why)
{
    field_invalid_str(&r->errs, STR("patch"), what, "%.*s", STR_ARG(why));
    status_invalid(&r->status, &r->arena, STR_EMPTY, STR_EMPTY, STR_EMPTY, &r->errs);
    return STAGE_ERROR;
}

static bool report(struct request *r, const struct api_problems *problems, struct str what, enum stage_result *ret)
{
    if (problems->n == 0 || r->opt.validation == FIELD_VALIDATION_IGNORE) {
        return true;
    }
    if (r->opt.validation == FIELD_VALIDATION_STRICT) {
        *ret = refused(r, what, api_problems_text(&r->arena, problems));
        return false;
    }
    for (size_t i = 0; i < problems->n; i++) {
        request_warn(r, problems->items[i]);
    }
    return true;
}

/* Upstream's merge keeps the text of what a patch does not touch and sorts the keys of what it does; messages show that. */
static bool sort_touched(struct arena *a, const struct val *doc, const struct val *patch, struct val *ret)
{
    *ret = val_object();
    if (doc->kind != VAL_OBJECT || patch->kind != VAL_OBJECT) {
        *ret = *doc;
        return true;
    }
    struct str *keys = arena_new_n(a, struct str, doc->n ? doc->n : 1);
    if (!keys) {
        return false;
    }
    for (uint32_t i = 0; i < doc->n; i++) {
        keys[i] = doc->members[i].key;
    }
    qsort(keys, doc->n, sizeof(*keys), str_cmp_qsort);
    for (uint32_t i = 0; i < doc->n; i++) {
        const struct val *v = val_get(doc, keys[i]), *below = val_get(patch, keys[i]);
        struct val sorted = *v;
        if ((below && !sort_touched(a, v, below, &sorted)) || !val_add(a, ret, keys[i], sorted)) {
            return false;
        }
    }
    return true;
}

/* A patch that makes the object another kind is decoded as that, and refused. */
static bool same_kind(struct request *r, const struct val *doc, struct err *err)
{
    struct str kind = val_get_str(doc, STR("kind")), api_version = val_get_str(doc, STR("apiVersion")), group, version;
    if (str_eq(kind, r->ep->res->kind) && str_eq(api_version, r->ep->api_version)) {
        return true;
    }
    if (!str_cut(api_version, '/', &group, &version)) {
        version = api_version;
        group = STR_EMPTY;
    }
    const struct api_resource *other = api_resource_of_kind(group, version, kind);
    if (!other || !other->type) {
        return err_set(err, ERR_INVALID, "no kind \"%.*s\" is registered for version \"%.*s\"", STR_ARG(kind), STR_ARG(api_version));
    }
    void *obj = arena_alloc(&r->arena, other->type->size);
    if (obj && !api_from_val(&r->arena, other->type, doc, NULL, obj, err)) {
        return false;
    }
    return err_set(err, ERR_INVALID, "the object is a %.*s of %.*s, and cannot become a %.*s of %.*s", STR_ARG(r->ep->res->kind),
                   STR_ARG(r->ep->api_version), STR_ARG(kind), STR_ARG(api_version));
}

/* The patched tree as the struct of the request's version, defaulted, in the hub's shape. */
static enum stage_result decode_whole(struct request *r, const struct val *doc, struct str what, struct api_problems *problems)
{
    struct err err = { 0 };
    enum stage_result result = STAGE_DONE;
    const struct api_type *t = r->ep->res->type;
    void *obj = arena_alloc(&r->arena, t->size);
    struct api_json_decode how = { .problems = problems };
    struct api_default_ctx ctx = { .now_sec = clock_real_s() };
    if (!obj) {
        return request_bad(r, "the object is too large");
    }
    if (!same_kind(r, doc, &err)) {
        return refused(r, what, str_c(err.msg));
    }
    if (!api_from_val(&r->arena, t, doc, &how, obj, &err)) {
        return refused(r, what, str_c(err.msg));
    }
    if (!report(r, problems, what, &result)) {
        return result;
    }
    if (!api_default(&r->arena, t, obj, &ctx)) {
        return request_bad(r, "the object is too large");
    }
    r->obj = body_to_hub(r, obj);
    return r->obj ? STAGE_DONE : STAGE_ERROR;
}

static enum stage_result check_identity(struct request *r)
{
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    if (!str_eq(m->name, r->info.name)) {
        return request_bad(r, "the name of the object (%.*s) does not match the name on the URL (%.*s)", STR_ARG(m->name),
                           STR_ARG(r->info.name));
    }
    if (r->rest->hub->namespaced && !str_eq(m->namespace, r->info.ns)) {
        return request_bad(r, "the namespace of the provided object does not match the namespace sent on the request");
    }
    return STAGE_DONE;
}

/* The whole object as a tree. */
static enum stage_result apply_whole(struct request *r, const void *current)
{
    struct err err = { 0 };
    struct val doc, patch;
    struct val_dups dups;
    struct api_problems problems = { 0 };
    enum patch_kind kind = kind_of(r);
    struct str what;

    val_dups_init(&dups);
    if (!api_to_val(&r->arena, r->ep->res->type, current, &doc) ||
        !val_set(&r->arena, &doc, STR("kind"), val_string(r->ep->res->kind)) ||
        !val_set(&r->arena, &doc, STR("apiVersion"), val_string(r->ep->api_version))) {
        return request_bad(r, "the object is too large");
    }
    if (kind == PATCH_JSON) {
        if (!patch_json_apply(&r->arena, &doc, r->body, &err)) {
            return failed(r, &err);
        }
        what = val_to_json(&r->arena, &doc);
    } else if (kind == PATCH_MERGE) {
        if (!patch_merge_apply(&r->arena, &doc, r->body, &dups, &err)) {
            return failed(r, &err);
        }
        struct val shown = doc;
        if (val_parse_json(&r->arena, r->body, JSON_DEPTH, NULL, &patch, &err) && !sort_touched(&r->arena, &doc, &patch, &shown)) {
            return request_bad(r, "the object is too large");
        }
        what = val_to_json(&r->arena, &shown);
    } else {
        CLEANUP(buf_deinit) struct buf text;
        buf_init(&text, 4u << 20);
        if (!val_parse_json(&r->arena, r->body, JSON_DEPTH, &dups, &patch, &err)) {
            return request_bad(r, "error decoding patch: %s", err.msg);
        }
        if (patch.kind != VAL_OBJECT) {
            return request_bad(r, "error decoding patch: json: cannot unmarshal %s into Go value of type map[string]interface {}",
                               patch.kind == VAL_ARRAY ? "array" : patch.kind == VAL_STRING ? "string" : "value");
        }
        val_write_go(&text, &patch);
        what = arena_str(&r->arena, buf_str(&text));
        if (!patch_strategic_apply(&r->arena, &doc, &patch, r->ep->res->type, &err)) {
            return failed(r, &err);
        }
    }
    for (struct val_dup *d = dups.first; d; d = d->next) {
        api_problems_add(&r->arena, &problems, arena_printf(&r->arena, "duplicate field \"%.*s\"", STR_ARG(d->path)));
    }
    return decode_whole(r, &doc, what, &problems);
}

/*
 * Most patches touch a few members of a large object: only those become a tree. False when this is no such patch, or when
 * anything about it is to be said to the client, which is then found again, with the whole object to show, by apply_whole().
 */
static bool apply_part(struct request *r, const void *current)
{
    struct err err;
    struct val doc, patch;
    struct val_dups dups;
    struct api_problems problems = { 0 };
    struct api_json_decode how = { .problems = &problems };
    struct api_default_ctx ctx = { .now_sec = clock_real_s() };
    const struct api_type *t = r->ep->res->type;
    enum patch_kind kind = kind_of(r);

    val_dups_init(&dups);
    if (kind == PATCH_JSON || !val_parse_json(&r->arena, r->body, JSON_DEPTH, &dups, &patch, &err) || dups.n > 0 ||
        !api_part_is_known(t, &patch) || val_get(&patch, STR("kind")) || val_get(&patch, STR("apiVersion")) ||
        !api_to_val_part(&r->arena, t, current, &patch, &doc)) {
        return false;
    }
    /* A strategic merge uses its patch up; the graft asks it for names only. */
    const struct val names = patch;
    struct val used;
    void *part = arena_alloc(&r->arena, t->size), *obj = arena_alloc(&r->arena, t->size);
    bool ok = part && obj &&
              (kind == PATCH_MERGE ? patch_merge_apply_val(&r->arena, &doc, &patch, &err)
                                   : val_copy(&r->arena, &patch, false, &used) && patch_strategic_apply(&r->arena, &doc, &used, t, &err)) &&
              api_from_val(&r->arena, t, &doc, &how, part, &err) && problems.n == 0 &&
              api_copy_into(&r->arena, t, current, obj, false) && api_graft(&r->arena, t, obj, part, &names) &&
              api_default(&r->arena, t, obj, &ctx);
    if (!ok) {
        return false;
    }
    r->obj = body_to_hub(r, obj);
    return r->obj != NULL;
}

static enum stage_result apply_one(struct request *r)
{
    const void *current = render_convert(r->ep, &r->arena, r->old);
    if (!current) {
        return request_bad(r, "the object is too large");
    }
    enum stage_result result = apply_part(r, current) ? STAGE_DONE : apply_whole(r, current);
    return result == STAGE_DONE ? check_identity(r) : result;
}

enum stage_result stage_apply_patch(struct request *r)
{
    enum stage_result result;
    if (kind_of(r) == PATCH_APPLY) {
        result = managed_apply(r);
    } else if (!r->old) {
        status_not_found(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, r->info.name);
        return STAGE_ERROR;
    } else {
        result = apply_one(r);
    }
    return result == STAGE_DONE ? write_check_update(r) : result;
}
