#include "apiserver/options.h"

#include "api/gen/meta_v1.h"
#include "api/decode-json.h"
#include "api/decode-pb.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"

/* Go's strconv.ParseInt and ParseUint, with their words. */
static bool parse_int(struct request *r, const char *key, int64_t *ret)
{
    struct str v = request_param(r, key);
    if (str_empty(v)) {
        return true;
    }
    struct str digits = v.ptr[0] == '+' ? str_sub(v, 1, v.len) : v;
    if (str_to_i64(digits, ret)) {
        return true;
    }
    bool numeric = digits.len > 0;
    for (size_t i = digits.len > 0 && digits.ptr[0] == '-' ? 1 : 0; i < digits.len; i++) {
        numeric &= digits.ptr[i] >= '0' && digits.ptr[i] <= '9';
    }
    (void)request_bad(r, "strconv.ParseInt: parsing \"%.*s\": %s", STR_ARG(v), numeric ? "value out of range" : "invalid syntax");
    return false;
}

/* As Kubernetes decodes booleans of queries: present and neither "false" nor "0" is true. */
static bool parse_bool(struct request *r, const char *key, bool *ret_present)
{
    struct str v = request_param(r, key);
    if (ret_present) {
        *ret_present = v.ptr != NULL;
    }
    return v.ptr && !str_eq_nocase(v, STR("false")) && !str_eq_c(v, "0");
}

static enum stage_result options_invalid(struct request *r, const char *kind)
{
    status_invalid(&r->status, &r->arena, STR("meta.k8s.io"), str_c(kind), STR_EMPTY, &r->errs);
    return STAGE_ERROR;
}

/* For a single get and for watches an invalid version is an error nobody classified, for lists it is a bad request. */
static bool parse_rv(struct request *r, bool list)
{
    struct request_options *o = &r->opt;
    o->resource_version = request_param(r, "resourceVersion");
    if (str_empty(o->resource_version) || str_to_u64(o->resource_version, &o->rv)) {
        return true;
    }
    struct str text = arena_printf(&r->arena, "resourceVersion: Invalid value: \"%.*s\": strconv.ParseUint: parsing \"%.*s\": "
                                   "invalid syntax", STR_ARG(o->resource_version), STR_ARG(o->resource_version));
    if (list) {
        status_bad_request(&r->status, &r->arena, "invalid resource version: %.*s", STR_ARG(text));
    } else {
        status_unclassified(&r->status, &r->arena, "%.*s", STR_ARG(text));
    }
    return false;
}

enum stage_result stage_options_get(struct request *r)
{
    return parse_rv(r, false) ? STAGE_DONE : STAGE_ERROR;
}

static void validate_match(struct request *r, struct str match)
{
    static const struct str list_values[] = { STR_INIT("Exact"), STR_INIT("NotOlderThan"), STR_INIT(""), STR_NULL };
    static const struct str watch_values[] = { STR_INIT("NotOlderThan"), STR_NULL };
    struct request_options *o = &r->opt;
    struct str path = STR("resourceVersionMatch");
    bool exact = str_eq_c(match, "Exact"), not_older = str_eq_c(match, "NotOlderThan");

    o->rv_match = exact ? RV_MATCH_EXACT : not_older ? RV_MATCH_NOT_OLDER : RV_MATCH_UNSET;
    if (o->watch) {
        if (o->has_send_initial && !not_older) {
            field_forbidden(&r->errs, path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if (!str_empty(match)) {
            if (!o->has_send_initial) {
                field_forbidden(&r->errs, path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
            }
            if (!not_older) {
                field_not_supported(&r->errs, path, match, watch_values);
            }
            if (!str_empty(o->continue_token)) {
                field_forbidden(&r->errs, path, "resourceVersionMatch is forbidden when continue is provided");
            }
        }
        return;
    }
    if (!str_empty(match)) {
        if (str_empty(o->resource_version)) {
            field_forbidden(&r->errs, path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if (!str_empty(o->continue_token)) {
            field_forbidden(&r->errs, path, "resourceVersionMatch is forbidden when continue is provided");
        }
        if (!exact && !not_older) {
            field_not_supported(&r->errs, path, match, list_values);
        }
        if (exact && str_eq_c(o->resource_version, "0")) {
            field_forbidden(&r->errs, path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    if (o->has_send_initial) {
        field_forbidden(&r->errs, STR("sendInitialEvents"), "sendInitialEvents is forbidden for list");
    }
}

enum stage_result stage_options_list(struct request *r)
{
    struct request_options *o = &r->opt;
    o->label_selector = request_param(r, "labelSelector");
    o->field_selector = request_param(r, "fieldSelector");
    o->watch = parse_bool(r, "watch", NULL) || str_eq_c(r->info.verb, "watch");
    o->allow_bookmarks = parse_bool(r, "allowWatchBookmarks", NULL);
    o->send_initial = parse_bool(r, "sendInitialEvents", &o->has_send_initial);
    o->continue_token = request_param(r, "continue");
    if (!parse_int(r, "limit", &o->limit) || !parse_int(r, "timeoutSeconds", &o->timeout_s)) {
        return STAGE_ERROR;
    }
    o->limit = o->limit < 0 ? 0 : o->limit;
    o->resource_version = request_param(r, "resourceVersion");
    validate_match(r, request_param(r, "resourceVersionMatch"));
    if (r->errs.n > 0) {
        return options_invalid(r, "ListOptions");
    }
    return parse_rv(r, !o->watch) ? STAGE_DONE : STAGE_ERROR;
}

static void validate_dry_run(struct request *r, const struct str *values, size_t n)
{
    static const struct str supported[] = { STR_INIT("All"), STR_NULL };
    if (n == 0) {
        return;
    }
    if (n == 1 && str_eq_c(values[0], "All")) {
        r->opt.dry_run = true;
        return;
    }
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < n; i++) {
        list = arena_printf(&r->arena, "%.*s%s\"%.*s\"", STR_ARG(list), i ? "," : "", STR_ARG(values[i]));
    }
    field_not_supported_json(&r->errs, STR("dryRun"), arena_printf(&r->arena, "[%.*s]", STR_ARG(list)), supported);
}

static void validate_manager(struct request *r)
{
    struct str m = r->opt.field_manager;
    if (m.len > FIELD_MANAGER_MAX) {
        field_too_long(&r->errs, STR("fieldManager"), FIELD_MANAGER_MAX);
    }
    for (size_t i = 0; i < m.len; i++) {
        if ((unsigned char)m.ptr[i] < 0x20 || m.ptr[i] == 0x7f) {
            field_invalid_str(&r->errs, STR("fieldManager"), m, "should only contain printable characters");
            break;
        }
    }
}

static void write_options(struct request *r)
{
    static const struct str supported[] = { STR_INIT(""), STR_INIT("Ignore"), STR_INIT("Strict"), STR_INIT("Warn"), STR_NULL };
    struct request_options *o = &r->opt;
    struct str *dry, validation = request_param(r, "fieldValidation");
    size_t n = query_get_all(&r->arena, r->query, STR("dryRun"), &dry);
    validate_dry_run(r, dry, n);
    o->field_manager = request_param(r, "fieldManager");
    validate_manager(r);
    if (str_empty(validation) || str_eq_c(validation, "Warn")) {
        o->validation = FIELD_VALIDATION_WARN;
    } else if (str_eq_c(validation, "Ignore")) {
        o->validation = FIELD_VALIDATION_IGNORE;
    } else if (str_eq_c(validation, "Strict")) {
        o->validation = FIELD_VALIDATION_STRICT;
    } else {
        field_not_supported(&r->errs, STR("fieldValidation"), validation, supported);
    }
}

enum stage_result stage_options_create(struct request *r)
{
    write_options(r);
    return r->errs.n > 0 ? options_invalid(r, "CreateOptions") : STAGE_DONE;
}

enum stage_result stage_options_update(struct request *r)
{
    write_options(r);
    return r->errs.n > 0 ? options_invalid(r, "UpdateOptions") : STAGE_DONE;
}

enum stage_result stage_options_patch(struct request *r)
{
    struct str type, params, ct = request_header(r, "content-type");
    if (!str_cut(ct, ';', &type, &params)) {
        type = ct;
    }
    bool apply = str_starts(str_trim(type), STR("application/apply-patch+"));
    r->opt.force = parse_bool(r, "force", &r->opt.has_force);
    if (apply && str_empty(request_param(r, "fieldManager"))) {
        field_required(&r->errs, STR("fieldManager"), "is required for apply patch");
    }
    if (!apply && r->opt.has_force) {
        field_forbidden(&r->errs, STR("force"), "may not be specified for non-apply patch");
    }
    write_options(r);
    return r->errs.n > 0 ? options_invalid(r, "PatchOptions") : STAGE_DONE;
}

/* ---- deletes: options in the body, else in the query ---- */

static bool delete_body(struct request *r, struct meta_v1_delete_options *o)
{
    struct err err;
    struct api_type_meta tm = { 0 };
    if (r->body_format == MEDIA_PROTOBUF && api_pb_is_envelope(r->body)) {
        struct api_pb_envelope env;
        if (!api_pb_envelope(r->body, &env, &err) ||
            !api_decode_pb(&r->arena, &meta_v1_delete_options_type, env.raw, NULL, o, &err)) {
            (void)request_bad(r, "%s", err.msg);
            return false;
        }
        return true;
    }
    if (!api_peek_type_meta(&r->arena, r->body, &tm, &err)) {
        (void)request_bad(r, "%s", err.msg);
        return false;
    }
    if (!str_empty(tm.kind) && !str_eq_c(tm.kind, "DeleteOptions")) {
        (void)request_bad(r, "no kind \"%.*s\" is registered for version \"%.*s\" in scheme "
                             "\"pkg/apis/meta/internalversion/scheme/register.go:27\"", STR_ARG(tm.kind), STR_ARG(tm.api_version));
        return false;
    }
    if (!api_decode_json(&r->arena, &meta_v1_delete_options_type, r->body, NULL, o, &err)) {
        (void)request_bad(r, "%s", err.msg);
        return false;
    }
    return true;
}

static bool delete_query(struct request *r, struct meta_v1_delete_options *o)
{
    int64_t grace = INT64_MIN;
    if (!parse_int(r, "gracePeriodSeconds", &grace)) {
        return false;
    }
    if (grace != INT64_MIN) {
        o->has_grace_period_seconds = true;
        o->grace_period_seconds = grace;
    }
    o->orphan_dependents = parse_bool(r, "orphanDependents", &o->has_orphan_dependents);
    o->propagation_policy = request_param(r, "propagationPolicy");
    o->n_dry_run = query_get_all(&r->arena, r->query, STR("dryRun"), &o->dry_run);
    return true;
}

enum stage_result stage_options_delete(struct request *r)
{
    static const struct str policies[] = { STR_INIT("Foreground"), STR_INIT("Background"), STR_INIT("Orphan"), STR_INIT("nil"),
                                           STR_NULL };
    struct meta_v1_delete_options d = { 0 };
    struct request_options *o = &r->opt;
    if (!(r->body.len > 0 ? delete_body(r, &d) : delete_query(r, &d))) {
        return STAGE_ERROR;
    }
    struct str p = d.propagation_policy;
    if (d.has_orphan_dependents && !str_empty(p)) {
        field_invalid_str(&r->errs, STR("propagationPolicy"), p, "orphanDependents and deletionPropagation cannot be both set");
    } else if (!str_empty(p) && !str_eq_c(p, "Foreground") && !str_eq_c(p, "Background") && !str_eq_c(p, "Orphan")) {
        field_not_supported(&r->errs, STR("propagationPolicy"), p, policies);
    }
    validate_dry_run(r, d.dry_run, d.n_dry_run);
    if (r->errs.n > 0) {
        return options_invalid(r, "DeleteOptions");
    }
    o->has_grace = d.has_grace_period_seconds;
    o->grace_s = d.grace_period_seconds;
    o->propagation = p.ptr ? p : STR_EMPTY;
    o->has_orphan = d.has_orphan_dependents;
    o->orphan = d.orphan_dependents;
    if (d.preconditions) {
        o->precondition_uid = d.preconditions->uid;
        o->precondition_rv = d.preconditions->resource_version;
    }
    return STAGE_DONE;
}
