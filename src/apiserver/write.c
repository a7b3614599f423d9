/* What create, update and patch share: metadata that the server sets, status kept apart from spec, admission, validation. */
#include <ctype.h>

#include "api/copy.h"
#include "api/equal.h"
#include "api/gate.h"
#include "api/gen/meta_v1.h"
#include "apiserver/meta-rules.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "base/clock.h"
#include "base/rand.h"

bool write_is_status(const struct request *r)
{
    return r->sub && str_eq_c(r->sub->name, "status");
}

static enum stage_result too_large(struct request *r)
{
    r->status = (struct status){ .code = 413, .reason = STR("RequestEntityTooLarge"), .message = STR("the object is too large") };
    return STAGE_ERROR;
}

static void fill_user(struct request *r)
{
    const struct auth_user *u = &r->user;
    struct kind_ctx *k = &r->kctx;
    k->user_uid = u->uid;
    k->user_groups = arena_new_n(&r->arena, struct str, u->n_groups);
    k->user_extra = arena_new_n(&r->arena, struct api_str_list_entry, u->n_extra);
    for (size_t i = 0; k->user_groups && i < u->n_groups; i++) {
        k->user_groups[k->n_user_groups++] = u->groups[i];
    }
    for (size_t i = 0; k->user_extra && i < u->n_extra; i++) {
        size_t at = k->n_user_extra++;
        while (at > 0 && str_cmp(k->user_extra[at - 1].key, u->extra[i].key) > 0) {
            k->user_extra[at] = k->user_extra[at - 1];
            at--;
        }
        k->user_extra[at].key = u->extra[i].key;
        k->user_extra[at].value.items = (struct str *)(uintptr_t)u->extra[i].values;
        k->user_extra[at].value.n = u->extra[i].n_values;
    }
    if (k->n_user_extra == 0) {
        k->user_extra = NULL;
    }
}

static void unify(struct request *r)
{
    if (r->rest->ops->decoded && r->obj && !r->sub) {
        r->rest->ops->decoded(&r->kctx, r->obj);
    }
}

static void begin_context(struct request *r, enum admission_op op)
{
    struct meta_v1_object_meta *m = r->obj ? rest_meta(r->rest, r->obj) : NULL;
    r->kctx = (struct kind_ctx){
        .arena = &r->arena, .resource = r->rest->hub, .subresource = r->sub ? r->sub->name : STR_EMPTY,
        .ns = r->rest->hub->namespaced ? r->info.ns : STR_EMPTY, .name = m ? m->name : r->info.name, .user = r->user.name, .dry_run = r->opt.dry_run,
        .errs = &r->errs, .world = &r->srv->world,
    };
    clock_real(&r->kctx.now_sec, &r->kctx.now_nsec);
    fill_user(r);
    r->attrs = (struct admission_attrs){
        .op = op, .resource = r->rest->hub, .subresource = r->kctx.subresource,
        .ns = r->kctx.ns, .name = r->kctx.name, .type = r->rest->hub->type, .obj = r->obj, .old = r->old, .user = &r->user,
        .dry_run = r->opt.dry_run,
    };
    r->admit_at = 0;
}

void write_begin(struct request *r, enum admission_op op)
{
    begin_context(r, op);
}

/* The namespace of the object must be that of the path; left out it is filled in, and cluster-wide objects have none. */
static bool match_namespace(struct request *r, struct meta_v1_object_meta *m)
{
    if (!r->rest->hub->namespaced) {
        m->namespace = STR_NULL;
        return true;
    }
    if (str_empty(m->namespace)) {
        m->namespace = r->info.ns;
    }
    if (str_eq(m->namespace, r->info.ns)) {
        return true;
    }
    (void)request_bad(r, "the namespace of the provided object does not match the namespace sent on the request");
    return false;
}

static void clear_status(const struct rest *rest, void *obj)
{
    if (rest->status_size > 0) {
        memset((char *)obj + rest->status_offset, 0, rest->status_size);
    }
}

/* Status subresource: everything but metadata and status stays as it was. */
static void keep_desired(struct request *r)
{
    const struct rest *rest = r->rest;
    struct meta_v1_object_meta m = *rest_meta(rest, r->obj);
    void *status = arena_alloc(&r->arena, rest->status_size);
    if (!status) {
        return;
    }
    memcpy(status, (char *)r->obj + rest->status_offset, rest->status_size);
    memcpy(r->obj, r->old, rest->hub->type->size);
    memcpy((char *)r->obj + rest->status_offset, status, rest->status_size);
    const struct meta_v1_object_meta *old = rest_meta_const(rest, r->old);
    m.finalizers = old->finalizers;
    m.n_finalizers = old->n_finalizers;
    m.owner_references = old->owner_references;
    m.n_owner_references = old->n_owner_references;
    *rest_meta(rest, r->obj) = m;
}

/* The object itself: status stays as it was, where it has a subresource of its own. */
static void keep_status(struct request *r)
{
    if (r->rest->status_size > 0 && r->rest->hub->has_status && !r->sub) {
        memcpy((char *)r->obj + r->rest->status_offset, (const char *)r->old + r->rest->status_offset, r->rest->status_size);
    }
}

/* The first attempt changes the body as it was decoded; one after a lost race reads it anew, and tells nothing twice. */
static bool take_body(struct request *r)
{
    if (!r->body_obj) {
        const enum field_validation told = r->opt.validation;
        r->opt.validation = FIELD_VALIDATION_IGNORE;
        const bool ok = stage_decode(r) == STAGE_DONE;
        r->opt.validation = told;
        if (!ok) {
            return false;
        }
    }
    r->obj = r->body_obj;
    r->body_obj = NULL;
    return true;
}

enum stage_result stage_begin_create(struct request *r)
{
    request_unload(r);
    if (!take_body(r)) {
        return too_large(r);
    }
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    if (!match_namespace(r, m)) {
        return STAGE_ERROR;
    }
    r->creating = true;
    r->http_code = 201;
    if (!(r->rest->ops->flags & KIND_STATUS_ON_CREATE)) {
        clear_status(r->rest, r->obj);
    }
    begin_context(r, ADMIT_CREATE);
    unify(r);
    return STAGE_DONE;
}

/* resourceVersion of what the client sent: 0 when it named none. */
static bool client_version(struct request *r, const struct meta_v1_object_meta *m)
{
    r->client_rv = 0;
    if (str_empty(m->resource_version) || str_to_u64(m->resource_version, &r->client_rv)) {
        return true;
    }
    status_unclassified(&r->status, &r->arena, "strconv.ParseUint: parsing \"%.*s\": invalid syntax", STR_ARG(m->resource_version));
    return false;
}

static enum stage_result not_found(struct request *r)
{
    status_not_found(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, r->info.name);
    return STAGE_ERROR;
}

enum stage_result write_conflict(struct request *r)
{
    status_conflict(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, r->info.name, STATUS_MODIFIED);
    return STAGE_ERROR;
}

/* Everything an update is checked for before anybody changes the object: name, namespace, uid, resourceVersion. */
enum stage_result write_check_update(struct request *r)
{
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    const struct api_resource *res = r->ep->res;
    if (!client_version(r, m)) {
        return STAGE_ERROR;
    }
    if (!r->old) {
        if ((!(r->rest->ops->flags & KIND_CREATE_ON_UPDATE) && !r->applied) || r->sub || r->client_rv != 0) {
            return not_found(r);
        }
        r->creating = true;
        r->http_code = 201;
        begin_context(r, ADMIT_CREATE);
        unify(r);
        return STAGE_DONE;
    }
    const struct meta_v1_object_meta *old = rest_meta_const(r->rest, r->old);
    r->http_code = 200;
    if (r->client_rv == 0 && (r->rest->ops->flags & KIND_NO_UNCONDITIONAL_UPDATE)) {
        field_invalid_int(&r->errs, STR("metadata.resourceVersion"), 0, "must be specified for an update");
        status_invalid(&r->status, &r->arena, res->group, res->resource, r->info.name, &r->errs);
        return STAGE_ERROR;
    }
    if (r->client_rv != 0 && r->client_rv != (uint64_t)r->old_revision) {
        return write_conflict(r);
    }
    if (str_eq_c(r->info.verb, "patch")) {
        /* The version is the patched object's own. One that the patch itself names differs when the object is loaded again. */
        r->client_rv = 0;
    }
    if (!str_empty(m->uid) && !str_eq(m->uid, old->uid) && !str_eq_c(r->info.verb, "patch")) {
        status_conflict(&r->status, &r->arena, res->group, res->resource, r->info.name,
                        "StorageError: invalid object, Code: 4, Key: %.*s%.*s%s%.*s, ResourceVersion: 0, AdditionalErrorMsg: "
                        "Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s", STR_ARG(r->rest->prefix),
                        STR_ARG(old->namespace), str_empty(old->namespace) ? "" : "/", STR_ARG(old->name), STR_ARG(m->uid),
                        STR_ARG(old->uid));
        return STAGE_ERROR;
    }
    m->resource_version = old->resource_version;
    if (write_is_status(r)) {
        keep_desired(r);
    } else {
        keep_status(r);
    }
    begin_context(r, ADMIT_UPDATE);
    unify(r);
    return STAGE_DONE;
}

enum stage_result stage_begin_update(struct request *r)
{
    if (!take_body(r)) {
        return too_large(r);
    }
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    if (str_empty(m->name)) {
        return request_bad(r, "the name of the object (%.*s based on URL) was undeterminable: name must be provided",
                           STR_ARG(r->info.name));
    }
    if (!str_eq(m->name, r->info.name)) {
        return request_bad(r, "the name of the object (%.*s) does not match the name on the URL (%.*s)", STR_ARG(m->name),
                           STR_ARG(r->info.name));
    }
    return match_namespace(r, m) ? write_check_update(r) : STAGE_ERROR;
}

/* ---- prepare ---- */

static void generate_name(struct request *r, struct meta_v1_object_meta *m)
{
    enum { SUFFIX = 5, MAX_NAME = 63 };
    char suffix[SUFFIX + 1];
    if (!str_empty(m->name) || str_empty(m->generate_name)) {
        return;
    }
    rand_suffix(suffix, SUFFIX);
    struct str base = str_sub(m->generate_name, 0, MAX_NAME - SUFFIX);
    m->name = arena_printf(&r->arena, "%.*s%s", STR_ARG(base), suffix);
    r->name_generated = true;
}

static enum stage_result prepare_create(struct request *r)
{
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    const struct kind_ops *ops = r->rest->ops;
    char uid[RAND_UUID_SIZE];

    if (!str_empty(m->resource_version) && !str_eq_c(m->resource_version, "0")) {
        status_unclassified(&r->status, &r->arena, "resourceVersion should not be set on objects to be created");
        return STAGE_ERROR;
    }
    m->resource_version = STR_NULL;
    m->self_link = STR_NULL;
    m->deletion_timestamp = (struct api_time){ 0 };
    m->has_deletion_grace_period_seconds = false;
    m->deletion_grace_period_seconds = 0;
    m->generation = (ops->flags & KIND_GENERATION) ? 1 : 0;
    if (!(ops->flags & KIND_STATUS_ON_CREATE)) {
        clear_status(r->rest, r->obj);
    }
    m->creation_timestamp = (struct api_time){ .sec = r->kctx.now_sec, .set = true };
    rand_uuid(uid);
    m->uid = arena_str(&r->arena, str_c(uid));
    generate_name(r, m);
    if (ops->prepare_create) {
        ops->prepare_create(&r->kctx, r->obj);
    }
    r->kctx.name = m->name;
    r->attrs.name = m->name;
    return STAGE_DONE;
}

/* Metadata that no update changes, or only in one direction. */
static void keep_metadata(struct meta_v1_object_meta *m, const struct meta_v1_object_meta *old)
{
    if (str_empty(m->uid)) {
        m->uid = old->uid;
    }
    m->self_link = STR_NULL;
    m->generation = old->generation;
    if (old->creation_timestamp.set) {
        m->creation_timestamp = old->creation_timestamp;
    }
    if (old->deletion_timestamp.set) {
        m->deletion_timestamp = old->deletion_timestamp;
    }
    if (old->has_deletion_grace_period_seconds && !m->has_deletion_grace_period_seconds) {
        m->has_deletion_grace_period_seconds = true;
        m->deletion_grace_period_seconds = old->deletion_grace_period_seconds;
    }
    if (str_empty(m->generate_name)) {
        m->generate_name = old->generate_name;
    }
}

/* Does anything differ but metadata and status? Bumps the generation when it does. */
static bool desired_changed(const struct rest *rest, const void *a, const void *b)
{
    const struct api_type *t = rest->hub->type;
    for (size_t i = 0; i < t->n_fields; i++) {
        struct str n = t->fields[i].name;
        char name[128];
        if (str_eq_c(n, "kind") || str_eq_c(n, "apiVersion") || str_eq_c(n, "metadata") || str_eq_c(n, "status") || str_empty(n)) {
            continue;
        }
        if (str_to_cstr(n, name, sizeof(name)) && !api_equal_field(t, name, a, b)) {
            return true;
        }
    }
    return false;
}

static enum stage_result prepare_update(struct request *r)
{
    const struct kind_ops *ops = r->rest->ops;
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    const struct meta_v1_object_meta *old = rest_meta_const(r->rest, r->old);

    if (write_is_status(r)) {
        keep_desired(r);
        keep_metadata(m, old);
        if (ops->prepare_status) {
            ops->prepare_status(&r->kctx, r->obj, r->old);
        }
        return STAGE_DONE;
    }
    keep_metadata(m, old);
    keep_status(r);
    if (ops->prepare_update) {
        ops->prepare_update(&r->kctx, r->obj, r->old);
    }
    if ((ops->flags & KIND_GENERATION) && desired_changed(r->rest, r->obj, r->old)) {
        m->generation = old->generation + 1;
    }
    return STAGE_DONE;
}

enum stage_result stage_prepare(struct request *r)
{
    api_drop_gated(r->rest->hub->type, r->obj, r->creating ? NULL : r->old, NULL);
    enum stage_result res = r->creating ? prepare_create(r) : prepare_update(r);
    /* What a hook could not make sense of stands alone: the rest is not looked at. */
    return res == STAGE_DONE && r->errs.n > 0 ? request_invalid(r, rest_meta_const(r->rest, r->obj)->name) : res;
}

/* ---- validate ---- */

enum stage_result stage_validate(struct request *r)
{
    const struct kind_ops *ops = r->rest->ops;
    const struct meta_v1_object_meta *m = rest_meta_const(r->rest, r->obj);
    if (r->creating) {
        meta_validate_create(&r->errs, r->rest, m);
        if (ops->validate_create) {
            ops->validate_create(&r->kctx, r->obj);
        }
    } else {
        struct meta_v1_object_meta *mut = rest_meta(r->rest, r->obj);
        /* Upstream looks at metadata twice on updates, and tells it twice: in the causes, not in the message. */
        meta_validate_update(&r->errs, r->rest, mut, rest_meta_const(r->rest, r->old));
        for (size_t i = 0, n = r->errs.n; i < n; i++) {
            field_add(&r->errs, r->errs.items[i].reason, r->errs.items[i].path, r->errs.items[i].body);
        }
        if (write_is_status(r)) {
            if (ops->validate_status) {
                ops->validate_status(&r->kctx, r->obj, r->old);
            }
        } else if (ops->validate_update) {
            ops->validate_update(&r->kctx, r->obj, r->old);
        }
    }
    if (r->errs.n > 0) {
        return request_invalid(r, m->name);
    }
    for (size_t i = 0; i < r->kctx.n_warnings; i++) {
        request_warn(r, r->kctx.warnings[i]);
    }
    return STAGE_DONE;
}

enum stage_result stage_respond_written(struct request *r)
{
    if (r->new_pub && !r->removing) {
        respond_published(r, r->http_code, r->new_pub);
    } else if (r->unchanged) {
        respond_published(r, r->http_code, r->old_pub);
    } else {
        respond_hub(r, r->http_code, r->obj);
    }
    return STAGE_ANSWERED;
}
