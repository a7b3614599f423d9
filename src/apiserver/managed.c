#include "apiserver/managed.h"

#include "api/apply.h"
#include "api/copy.h"
#include "api/decode-json.h"
#include "api/default.h"
#include "api/equal.h"
#include "api/gen/autoscaling_v1.h"
#include "api/gen/meta_v1.h"
#include "api/managed-fields.h"
#include "api/val-convert.h"
#include "api/yaml.h"
#include "apiserver/body.h"
#include "apiserver/render.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "base/clock.h"

/* Where every kind with a scale keeps its replicas. */
static const char *const scale_path[] = { "spec", "replicas" };

/* fieldManager, else the User-Agent up to its slash, printable characters only. */
static struct str manager_name(struct request *r)
{
    struct str head, tail, ua = r->user_agent;
    if (!str_empty(r->opt.field_manager)) {
        return r->opt.field_manager;
    }
    (void)str_cut(ua, '/', &head, &tail);
    char *out = arena_alloc(&r->arena, head.len);
    size_t n = 0;
    for (size_t i = 0; out && i < head.len && n < MANAGED_NAME_MAX; i++) {
        unsigned char c = (unsigned char)head.ptr[i];
        if (c >= 0x20 && c != 0x7f) {
            out[n++] = (char)c;
        }
    }
    return out ? str_n(out, n) : STR_EMPTY;
}

/* A hub struct in an endpoint's version, without managedFields; everything else is shared. NULL past the budget. */
static const void *bare_of(struct arena *a, const struct endpoint *ep, const void *hub)
{
    const struct api_type *t = ep->res->type;
    const void *obj = render_convert(ep, a, hub);
    char *bare = arena_alloc(a, t->size);
    size_t at;
    if (!obj || !bare) {
        return NULL;
    }
    memcpy(bare, obj, t->size);
    if (api_field_find(t, STR("metadata"), &at)) {
        struct meta_v1_object_meta *m = (struct meta_v1_object_meta *)(void *)(bare + at);
        m->managed_fields = NULL;
        m->n_managed_fields = 0;
    }
    return bare;
}

static bool bare_tree(struct arena *a, const struct endpoint *ep, const void *bare, struct val *ret)
{
    return api_to_val(a, ep->res->type, bare, ret) && val_set(a, ret, STR("kind"), val_string(ep->res->kind)) &&
           val_set(a, ret, STR("apiVersion"), val_string(ep->api_version));
}

static bool tree_of(struct arena *a, const struct endpoint *ep, const void *hub, struct val *ret)
{
    const void *bare = bare_of(a, ep, hub);
    *ret = val_null();
    return bare && bare_tree(a, ep, bare, ret);
}

/* For tracking: of a struct that is bare already. */
static bool tree_of_bare(void *user, struct arena *a, const void *bare, struct val *ret)
{
    struct request *r = user;
    return bare_tree(a, r->ep, bare, ret);
}

/* Entries of another version of the same resource. */
static bool convert(void *user, struct arena *a, struct str api_version, const struct val *v, struct val *ret,
                    struct fields_at *ret_schema, bool *ret_drop)
{
    struct request *r = user;
    const struct endpoint *to = NULL;
    struct err err;
    for (size_t i = 0; i < r->srv->n_endpoints && !to; i++) {
        const struct endpoint *ep = &r->srv->endpoints[i];
        to = ep->rest == r->rest && str_eq(ep->api_version, api_version) ? ep : NULL;
    }
    *ret_drop = to == NULL;
    if (!to || (!to->conversion && !r->ep->conversion)) {
        return false;
    }
    void *obj = arena_alloc(a, r->ep->res->type->size);
    if (!obj || !api_from_val(a, r->ep->res->type, v, NULL, obj, &err)) {
        return false;
    }
    void *hub = obj;
    if (r->ep->conversion) {
        hub = arena_alloc(a, r->rest->hub->type->size);
        if (!hub || !r->ep->conversion->to_hub(a, obj, hub)) {
            return false;
        }
    }
    *ret_schema = fields_at_type(to->res->type);
    return tree_of(a, to, hub, ret);
}

static enum stage_result too_large(struct request *r)
{
    r->status = (struct status){ .code = 413, .reason = STR("RequestEntityTooLarge"), .message = STR("the object is too large") };
    return STAGE_ERROR;
}

/* An object of the type with nothing in it: what a create is compared with. */
static const struct val *empty_tree(struct request *r)
{
    void *zero = arena_alloc(&r->arena, r->rest->hub->type->size);
    struct val *v = arena_new(&r->arena, struct val);
    return zero && v && tree_of(&r->arena, r->ep, zero, v) ? v : NULL;
}

/* A request of a certificate: nobody owns what was asked for; by the status nobody owns decisions, by the approval no certificate. */
static bool not_owned_beside_spec(struct request *r, struct str sub, struct fields *reset)
{
    bool status = str_eq_c(sub, "status"), approval = str_eq_c(sub, "approval");
    return fields_add_names(&r->arena, reset, (const char *const[]){ "spec" }, 1) &&
           (!status || fields_add_names(&r->arena, reset, (const char *const[]){ "status", "conditions" }, 2)) &&
           (!approval || fields_add_names(&r->arena, reset, (const char *const[]){ "status", "certificate" }, 2));
}

static bool writer_of(struct request *r, struct managed_writer *ret)
{
    struct fields *reset = arena_new(&r->arena, struct fields);
    struct str sub = r->sub ? r->sub->name : STR_EMPTY;
    *ret = (struct managed_writer){
        .manager = manager_name(r), .api_version = r->ep->api_version, .subresource = sub, .now_sec = clock_real_s(),
        .schema = fields_at_type(r->ep->res->type), .ignore = reset, .convert = convert, .tree = tree_of_bare, .user = r,
    };
    bool unowned = r->rest->ops->flags & KIND_SPEC_UNOWNED;
    return reset && managed_reset_fields(&r->arena, r->rest->hub->has_status, sub, reset) &&
           (!unowned || not_owned_beside_spec(r, sub, reset));
}

/* A write that changes nothing but times of entries keeps the old entries. */
static void keep_old_times(struct request *r, struct meta_v1_object_meta *m, const struct meta_v1_object_meta *old)
{
    if (!managed_same_but_times(m->managed_fields, m->n_managed_fields, old->managed_fields, old->n_managed_fields)) {
        return;
    }
    struct meta_v1_managed_fields_entry *mine = m->managed_fields;
    size_t n = m->n_managed_fields;
    m->managed_fields = old->managed_fields;
    m->n_managed_fields = old->n_managed_fields;
    if (!api_equal(r->rest->hub->type, r->obj, r->old)) {
        m->managed_fields = mine;
        m->n_managed_fields = n;
    }
}

enum stage_result stage_manage(struct request *r)
{
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    const struct meta_v1_object_meta *old = r->creating ? NULL : rest_meta_const(r->rest, r->old);
    struct managed_writer w;
    struct managed managed = { 0 };
    struct err err = { 0 };

    if (r->applied) {
        return STAGE_DONE; /* apply has done it */
    }
    const void *live = r->creating ? NULL : bare_of(&r->arena, r->ep, r->old), *object = bare_of(&r->arena, r->ep, r->obj);
    if (!writer_of(r, &w) || !object || (!live && !r->creating)) {
        return too_large(r);
    }
    if (!managed_init(&r->arena, old ? old->managed_fields : NULL, old ? old->n_managed_fields : 0,
                      r->sub ? NULL : m->managed_fields, r->sub ? 0 : m->n_managed_fields, &managed, &err) ||
        !managed_update_typed(&r->arena, &managed, &w, r->ep->res->type, live, object, &err) ||
        !managed_encode(&r->arena, &managed, &m->managed_fields, &m->n_managed_fields, &err)) {
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    if (old) {
        keep_old_times(r, m, old);
    }
    return STAGE_DONE;
}

/* ---- apply ---- */

static bool parse_config(struct request *r, struct val *config, struct str *ret_dups)
{
    struct err err = { 0 };
    struct val_dups dups;
    val_dups_init(&dups);
    if (!yaml_or_json_parse(&r->arena, r->body, &dups, config, &err)) {
        (void)request_bad(r, "error decoding YAML: %s", err.msg);
        return false;
    }
    if (config->kind != VAL_OBJECT) {
        (void)request_bad(r, "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal into Go value "
                             "of type map[string]interface {}");
        return false;
    }
    *ret_dups = dups.n > 0 ? yaml_dups_message(&r->arena, &dups) : STR_NULL;
    return true;
}

/* Kind, name and namespace must be those of the path; left out, name and namespace are filled in. */
static bool check_config(struct request *r, struct val *config)
{
    struct str kind = val_get_str(config, STR("kind")), api_version = val_get_str(config, STR("apiVersion")), group, version;
    if (!str_eq(kind, r->ep->res->kind) || !str_eq(api_version, r->ep->api_version)) {
        if (!str_cut(api_version, '/', &group, &version)) {
            version = api_version;
            group = STR_EMPTY;
        }
        (void)request_bad(r, "invalid object type: %.*s/%.*s, Kind=%.*s", STR_ARG(group), STR_ARG(version), STR_ARG(kind));
        return false;
    }
    struct val *meta = val_object_at(&r->arena, config, STR("metadata"));
    if (!meta) {
        (void)too_large(r);
        return false;
    }
    struct str name = val_get_str(meta, STR("name")), ns = val_get_str(meta, STR("namespace"));
    if (str_empty(name)) {
        if (!val_set(&r->arena, meta, STR("name"), val_string(r->info.name))) {
            (void)too_large(r);
            return false;
        }
    } else if (!str_eq(name, r->info.name)) {
        (void)request_bad(r, "the name of the object (%.*s) does not match the name on the URL (%.*s)", STR_ARG(name),
                          STR_ARG(r->info.name));
        return false;
    }
    if (r->rest->hub->namespaced && !str_empty(ns) && !str_eq(ns, r->info.ns)) {
        (void)request_bad(r, "the namespace of the provided object does not match the namespace sent on the request");
        return false;
    }
    return true;
}

/* uid and resourceVersion in a configuration are preconditions. */
static bool check_preconditions(struct request *r, const struct val *config)
{
    const struct api_resource *res = r->ep->res;
    struct str uid = VAL_STR_AT(config, "metadata", "uid"), rv = VAL_STR_AT(config, "metadata", "resourceVersion");
    uint64_t version;
    if (!r->old && !str_empty(uid)) {
        status_conflict(&r->status, &r->arena, res->group, res->resource, r->info.name,
                        "uid mismatch: the provided object specified uid %.*s, and no existing object was found", STR_ARG(uid));
        return false;
    }
    if (r->old && !str_empty(uid) && !str_eq(uid, rest_meta_const(r->rest, r->old)->uid)) {
        status_conflict(&r->status, &r->arena, res->group, res->resource, r->info.name, STATUS_MODIFIED);
        return false;
    }
    if (!str_empty(rv) && (!str_to_u64(rv, &version) || (r->old && version != (uint64_t)r->old_revision))) {
        (void)write_conflict(r);
        return false;
    }
    return true;
}

static enum stage_result conflicts(struct request *r, const struct apply_result *result, const struct err *err)
{
    status_from_err(&r->status, &r->arena, err);
    if (err->code == ERR_INTERNAL) {
        status_unclassified(&r->status, &r->arena, "%s", err->msg);
    }
    if (err->code != ERR_CONFLICT) {
        return STAGE_ERROR;
    }
    r->status.has_details = true;
    r->status.causes = arena_new_n(&r->arena, struct status_cause, result->n_conflicts);
    r->status.n_causes = r->status.causes ? result->n_conflicts : 0;
    for (size_t i = 0; i < r->status.n_causes; i++) {
        r->status.causes[i] = (struct status_cause){ .reason = STR("FieldManagerConflict"), .message = result->conflicts[i].message,
                                                     .field = result->conflicts[i].field };
    }
    return STAGE_ERROR;
}

/* The applied tree as the hub's struct, with its entries. */
static enum stage_result adopt(struct request *r, const struct val *object, struct managed *managed)
{
    struct err err = { 0 };
    struct api_default_ctx ctx = { .now_sec = clock_real_s() };
    void *obj = arena_alloc(&r->arena, r->ep->res->type->size);
    if (!obj) {
        return too_large(r);
    }
    if (!api_from_val(&r->arena, r->ep->res->type, object, NULL, obj, &err)) {
        return request_bad(r, "%s", err.msg);
    }
    if (!api_default(&r->arena, r->ep->res->type, obj, &ctx)) {
        return too_large(r);
    }
    r->obj = body_to_hub(r, obj);
    if (!r->obj) {
        return STAGE_ERROR;
    }
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    if (r->rest->hub->namespaced) {
        m->namespace = r->info.ns;
    }
    if (!managed_encode(&r->arena, managed, &m->managed_fields, &m->n_managed_fields, &err)) {
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    if (r->old) {
        keep_old_times(r, m, rest_meta_const(r->rest, r->old));
    }
    return STAGE_DONE;
}

enum stage_result managed_apply(struct request *r)
{
    struct val config, live;
    struct managed managed = { 0 };
    struct managed_writer w;
    struct apply_result result = { 0 };
    struct err err = { 0 };
    struct str dups;

    if (!parse_config(r, &config, &dups) || !check_config(r, &config) || !check_preconditions(r, &config)) {
        return STAGE_ERROR;
    }
    r->applied = true;
    if (!writer_of(r, &w) || !(w.empty = empty_tree(r)) || (r->old && !tree_of(&r->arena, r->ep, r->old, &live))) {
        return too_large(r);
    }
    if (!r->old) {
        live = *w.empty;
    } else {
        const struct meta_v1_object_meta *old = rest_meta_const(r->rest, r->old);
        if (!managed_init(&r->arena, old->managed_fields, old->n_managed_fields, NULL, 0, &managed, &err)) {
            status_from_err(&r->status, &r->arena, &err);
            return STAGE_ERROR;
        }
    }
    if (!apply_config(&r->arena, &managed, &w, &live, &config, r->opt.force, &result, &err)) {
        return conflicts(r, &result, &err);
    }
    /* Keys that come twice are told after conflicts. */
    if (dups.ptr && r->opt.validation == FIELD_VALIDATION_STRICT) {
        return request_bad(r, "error strict decoding YAML: %.*s", STR_ARG(dups));
    }
    if (dups.ptr && r->opt.validation == FIELD_VALIDATION_WARN) {
        request_warn(r, dups);
    }
    return adopt(r, &result.object, &managed);
}

/* ---- the scale subresource ---- */

/* The writer of a Scale: a view of the parent with a type of its own. */
static bool scale_writer(struct request *r, struct managed_writer *ret)
{
    struct val *empty = arena_new(&r->arena, struct val);
    const struct autoscaling_v1_scale zero = { .kind = STR("Scale"), .api_version = STR(MANAGED_SCALE_VERSION) };
    *ret = (struct managed_writer){ .manager = manager_name(r), .api_version = STR(MANAGED_SCALE_VERSION), .subresource = STR("scale"),
                                    .now_sec = clock_real_s(), .schema = fields_at_type(&autoscaling_v1_scale_type), .empty = empty };
    return empty && api_to_val(&r->arena, &autoscaling_v1_scale_type, &zero, empty);
}

static enum stage_result entries_of_scale(struct request *r, struct managed *parent, const struct managed *scale)
{
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    struct err err = { 0 };
    if (!managed_from_scale(&r->arena, parent, r->ep->api_version, scale_path, ARRAY_SIZE(scale_path), scale)) {
        return too_large(r);
    }
    if (!managed_encode(&r->arena, parent, &m->managed_fields, &m->n_managed_fields, &err)) {
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    keep_old_times(r, m, rest_meta_const(r->rest, r->old));
    r->applied = true;
    return STAGE_DONE;
}

static bool scale_entries(struct request *r, struct managed *parent, struct managed *scale)
{
    const struct meta_v1_object_meta *old = rest_meta_const(r->rest, r->old);
    struct err err = { 0 };
    return managed_init(&r->arena, old->managed_fields, old->n_managed_fields, NULL, 0, parent, &err) &&
           managed_to_scale(&r->arena, parent, scale_path, ARRAY_SIZE(scale_path), scale);
}

enum stage_result managed_scale_update(struct request *r, const struct autoscaling_v1_scale *live, const struct autoscaling_v1_scale *scale)
{
    struct managed parent = { 0 }, view = { 0 };
    struct managed_writer w;
    struct val before, after;
    struct err err = { 0 };
    if (!scale_writer(r, &w) || !scale_entries(r, &parent, &view) ||
        !api_to_val(&r->arena, &autoscaling_v1_scale_type, live, &before) ||
        !api_to_val(&r->arena, &autoscaling_v1_scale_type, scale, &after)) {
        return too_large(r);
    }
    if (!managed_update(&r->arena, &view, &w, &before, &after, &err)) {
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    return entries_of_scale(r, &parent, &view);
}

enum stage_result managed_scale_apply(struct request *r, const struct autoscaling_v1_scale *live, struct autoscaling_v1_scale *ret,
                                      struct managed_scale *ret_entries)
{
    struct managed_writer w;
    struct apply_result result = { 0 };
    struct val config, before;
    struct str dups;
    struct err err = { 0 };
    *ret_entries = (struct managed_scale){ 0 };
    if (!parse_config(r, &config, &dups)) {
        return STAGE_ERROR;
    }
    if (!str_eq_c(val_get_str(&config, STR("kind")), "Scale") || !str_eq_c(val_get_str(&config, STR("apiVersion")), MANAGED_SCALE_VERSION)) {
        return request_bad(r, "invalid object type: %.*s, Kind=%.*s", STR_ARG(val_get_str(&config, STR("apiVersion"))),
                           STR_ARG(val_get_str(&config, STR("kind"))));
    }
    if (!scale_writer(r, &w) || !scale_entries(r, &ret_entries->parent, &ret_entries->view) ||
        !api_to_val(&r->arena, &autoscaling_v1_scale_type, live, &before)) {
        return too_large(r);
    }
    if (!apply_config(&r->arena, &ret_entries->view, &w, &before, &config, r->opt.force, &result, &err)) {
        return conflicts(r, &result, &err);
    }
    if (!api_from_val(&r->arena, &autoscaling_v1_scale_type, &result.object, NULL, ret, &err)) {
        return request_bad(r, "%s", err.msg);
    }
    return STAGE_DONE;
}

enum stage_result managed_scale_adopt(struct request *r, struct managed_scale *entries)
{
    return entries_of_scale(r, &entries->parent, &entries->view);
}
