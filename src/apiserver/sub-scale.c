/* The scale subresource: autoscaling/v1 Scale over spec.replicas of Deployment, ReplicaSet, StatefulSet, ReplicationController. */
#include "api/copy.h"
#include "api/decode-json.h"
#include "api/gen/autoscaling_v1.h"
#include "api/gen/core_v1.h"
#include "api/patch-json.h"
#include "api/patch-merge.h"
#include "api/patch-strategic.h"
#include "api/selector.h"
#include "api/val-convert.h"
#include "apiserver/body.h"
#include "apiserver/managed.h"
#include "apiserver/member.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"

static struct str selector_text(struct arena *a, const struct rest *rest, const void *obj)
{
    struct selector s;
    struct err err;
    if (str_eq_c(rest->hub->resource, "replicationcontrollers")) {
        const struct core_v1_replication_controller *rc = obj;
        return selector_from_pairs(a, rc->spec.selector, rc->spec.n_selector, &s) ? selector_str(a, &s) : STR_EMPTY;
    }
    const struct api_field *f;
    const void *m = member_at(rest->hub->type, obj, STR("spec.selector"), &f);
    const struct meta_v1_label_selector *ls = m && f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)
                                                  ? *(const struct meta_v1_label_selector *const *)m : NULL;
    return ls && selector_from_label_selector(a, ls, &s, &err) ? selector_str(a, &s) : STR_EMPTY;
}

static void scale_of(struct request *r, const void *obj, struct str resource_version, struct autoscaling_v1_scale *ret)
{
    const struct meta_v1_object_meta *m = rest_meta_const(r->rest, obj);
    const struct api_type *t = r->rest->hub->type;
    *ret = (struct autoscaling_v1_scale){
        .kind = STR("Scale"), .api_version = STR("autoscaling/v1"),
        .metadata = { .name = m->name, .namespace = m->namespace, .uid = m->uid, .resource_version = resource_version,
                      .creation_timestamp = m->creation_timestamp },
        .spec.replicas = member_int32(t, obj, "spec.replicas"),
        .status = { .replicas = member_int32(t, obj, "status.replicas"), .selector = selector_text(&r->arena, r->rest, obj) },
    };
}

static enum stage_result answer(struct request *r, const void *obj, struct str resource_version)
{
    struct autoscaling_v1_scale s;
    scale_of(r, obj, resource_version, &s);
    respond_typed(r, 200, &autoscaling_v1_scale_type, &s, s.api_version, s.kind);
    return STAGE_ANSWERED;
}

enum stage_result stage_scale_get(struct request *r)
{
    return answer(r, r->old, object_revision_text(r->old_pub));
}

enum stage_result stage_respond_scale(struct request *r)
{
    const struct object *o = r->new_pub ? r->new_pub : r->old_pub;
    return answer(r, r->obj, object_revision_text(o));
}

/* The Scale that the client wants: its body, or the present one patched. */
static struct autoscaling_v1_scale *wanted(struct request *r)
{
    struct body_type type = { .type = &autoscaling_v1_scale_type, .api_version = STR("autoscaling/v1"), .kind = STR("Scale") };
    struct autoscaling_v1_scale now;
    struct val doc, patch;
    struct err err = { 0 };
    if (!str_eq_c(r->info.verb, "patch")) {
        return body_decode(r, &type);
    }
    scale_of(r, r->old, object_revision_text(r->old_pub), &now);
    struct autoscaling_v1_scale *s = arena_new(&r->arena, struct autoscaling_v1_scale);
    bool ok = s && api_to_val(&r->arena, type.type, &now, &doc);
    if (ok && str_eq_c(r->content_type, "application/json-patch+json")) {
        ok = patch_json_apply(&r->arena, &doc, r->body, &err);
    } else if (ok && str_eq_c(r->content_type, "application/strategic-merge-patch+json")) {
        ok = val_parse_json(&r->arena, r->body, JSON_DEPTH, NULL, &patch, &err) &&
             patch_strategic_apply(&r->arena, &doc, &patch, type.type, &err);
    } else if (ok) {
        ok = patch_merge_apply(&r->arena, &doc, r->body, NULL, &err);
    }
    if (!ok || !api_from_val(&r->arena, type.type, &doc, NULL, s, &err)) {
        status_from_err(&r->status, &r->arena, &err);
        return NULL;
    }
    return s;
}

enum stage_result stage_scale_begin(struct request *r)
{
    struct autoscaling_v1_scale now, applied = { 0 }, *s = &applied;
    struct managed_scale entries;
    bool apply = str_eq_c(r->info.verb, "patch") && str_eq_c(r->content_type, "application/apply-patch+yaml");
    enum stage_result result = STAGE_DONE;
    scale_of(r, r->old, object_revision_text(r->old_pub), &now);
    if (apply) {
        result = managed_scale_apply(r, &now, &applied, &entries);
    } else {
        s = wanted(r);
    }
    if (!s || result != STAGE_DONE) {
        return STAGE_ERROR;
    }
    if (!str_empty(s->metadata.name) && !str_eq(s->metadata.name, r->info.name)) {
        return request_bad(r, "the name of the object (%.*s) does not match the name on the URL (%.*s)", STR_ARG(s->metadata.name),
                           STR_ARG(r->info.name));
    }
    if (s->spec.replicas < 0) {
        field_invalid_int(&r->errs, STR("spec.replicas"), s->spec.replicas, "must be greater than or equal to 0");
        status_invalid(&r->status, &r->arena, STR("autoscaling"), STR("Scale"), r->info.name, &r->errs);
        return STAGE_ERROR;
    }
    r->obj = arena_alloc(&r->arena, r->rest->hub->type->size);
    if (!r->obj || !api_copy_into(&r->arena, r->rest->hub->type, r->old, r->obj, false) ||
        !member_set_int32(r->rest->hub->type, r->obj, "spec.replicas", s->spec.replicas)) {
        return request_bad(r, "the object is too large");
    }
    rest_meta(r->rest, r->obj)->resource_version = s->metadata.resource_version;
    rest_meta(r->rest, r->obj)->uid = s->metadata.uid;
    result = apply ? managed_scale_adopt(r, &entries) : managed_scale_update(r, &now, s);
    return result == STAGE_DONE ? write_check_update(r) : result;
}
