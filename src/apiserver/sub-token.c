/* TokenRequest: POST …/serviceaccounts/NAME/token gives a bound token. */
#include "api/gen/authentication_v1.h"
#include "api/gen/core_v1.h"
#include "apiserver/body.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "auth/sa-token.h"
#include "base/clock.h"
#include "base/time-floor.h"

static bool validate(struct request *r, const struct authentication_v1_token_request *t)
{
    struct str path = STR("spec.expirationSeconds");
    int64_t s = t->spec.expiration_seconds;
    if (s < SA_TOKEN_MIN_S) {
        field_invalid_int(&r->errs, path, s, "may not specify a duration less than 10 minutes");
    }
    if (s > INT64_C(1) << 32) {
        field_invalid_int(&r->errs, path, s, "may not specify a duration larger than 2^32 seconds");
    }
    if (r->errs.n > 0) {
        status_invalid(&r->status, &r->arena, STR("authentication.k8s.io"), STR("TokenRequest"), t->metadata.name, &r->errs);
        return false;
    }
    return true;
}

/* What the token is bound to must be there, with the uid that was named. */
static bool bind_to(struct request *r, const struct authentication_v1_bound_object_reference *ref, struct sa_token_spec *spec)
{
    const char *resource = str_eq_c(ref->kind, "Pod") ? "pods" : str_eq_c(ref->kind, "Secret") ? "secrets"
                         : str_eq_c(ref->kind, "Node") ? "nodes" : NULL;
    if (!resource || !str_eq_c(ref->api_version, "v1")) {
        (void)request_bad(r, "cannot bind token for serviceaccount \"%.*s\" to an object of kind \"%.*s\"", STR_ARG(spec->name),
                          STR_ARG(ref->kind));
        return false;
    }
    struct rest *rest = registry_rest(r->srv, STR_EMPTY, str_c(resource));
    const struct object *o = watch_cache_get(rest->cache, str_eq_c(ref->kind, "Node") ? STR_EMPTY : r->info.ns, ref->name);
    if (!o) {
        status_not_found(&r->status, &r->arena, STR_EMPTY, str_c(resource), ref->name);
        return false;
    }
    struct str uid = object_uid(o);
    if (!str_empty(ref->uid) && !str_eq(ref->uid, uid)) {
        status_conflict(&r->status, &r->arena, STR_EMPTY, str_c(resource), ref->name,
                        "the UID in the bound object reference (%.*s) does not match the UID in record. The object might have been "
                        "deleted and then recreated", STR_ARG(ref->uid));
        return false;
    }
    if (str_eq_c(ref->kind, "Pod")) {
        const struct core_v1_pod *pod = rest_decode(rest, &r->arena, o);
        if (!pod || !str_eq(pod->spec.service_account_name, spec->name)) {
            (void)request_bad(r, "cannot bind token for serviceaccount \"%.*s\" to pod running with different serviceaccount name.",
                              STR_ARG(spec->name));
            return false;
        }
        spec->pod_name = ref->name;
        spec->pod_uid = uid;
        struct rest *nodes = registry_rest(r->srv, STR_EMPTY, STR("nodes"));
        const struct object *node = str_empty(pod->spec.node_name) ? NULL : watch_cache_get(nodes->cache, STR_EMPTY, pod->spec.node_name);
        if (!str_empty(pod->spec.node_name)) {
            spec->node_name = pod->spec.node_name;
            spec->node_uid = node ? object_uid(node) : STR_NULL;
        }
    } else if (str_eq_c(ref->kind, "Secret")) {
        spec->secret_name = ref->name;
        spec->secret_uid = uid;
    } else {
        spec->node_name = ref->name;
        spec->node_uid = uid;
    }
    return true;
}

static const struct body_type request_type = {
    .type = &authentication_v1_token_request_type, .api_version = STR_INIT("authentication.k8s.io/v1"), .kind = STR_INIT("TokenRequest"),
};

/* Reads what is asked for. Admission comes next: NodeRestriction decides which tokens a node may have. */
enum stage_result stage_token_begin(struct request *r)
{
    struct authentication_v1_token_request *t = body_decode(r, &request_type);
    if (!t) {
        return STAGE_ERROR;
    }
    if (!t->spec.has_expiration_seconds) {
        t->spec.has_expiration_seconds = true;
        t->spec.expiration_seconds = SA_TOKEN_DEFAULT_S;
    }
    if (!validate(r, t)) {
        return STAGE_ERROR;
    }
    r->body_obj = t;
    r->attrs = (struct admission_attrs){
        .op = ADMIT_CREATE, .resource = r->rest->hub, .subresource = STR("token"), .ns = r->info.ns, .name = r->info.name,
        .type = request_type.type, .obj = t, .user = &r->user, .dry_run = r->opt.dry_run,
    };
    r->admit_at = 0;
    return STAGE_DONE;
}

enum stage_result stage_token_request(struct request *r)
{
    struct authentication_v1_token_request *t = r->body_obj;
    struct err err = { 0 };
    char jti[37];
    int64_t expires;
    CLEANUP(buf_deinit) struct buf token;
    buf_init(&token, 64u << 10);
    if (!r->srv->sa_key) {
        status_internal(&r->status, &r->arena, "this server has no --service-account-signing-key-file");
        return STAGE_ERROR;
    }
    const struct core_v1_service_account *sa = r->old;
    const struct flag_strings *audiences = r->srv->cfg.api_audiences.n ? &r->srv->cfg.api_audiences : &r->srv->cfg.service_account_issuers;
    struct sa_issuer issuer = { .key = r->srv->sa_key, .issuer = r->srv->cfg.service_account_issuers.items[0],
                                .default_audiences = audiences->items, .n_default_audiences = audiences->n,
                                .max_expiration_s = r->srv->cfg.max_token_expiration_ms / 1000 };
    struct sa_token_spec spec = { .namespace_ = sa->metadata.namespace, .name = sa->metadata.name, .uid = sa->metadata.uid,
                                  .audiences = t->spec.audiences, .n_audiences = t->spec.n_audiences, .now = time_floor_now_s(),
                                  .expiration_s = t->spec.expiration_seconds };
    if (t->spec.bound_object_ref && !bind_to(r, t->spec.bound_object_ref, &spec)) {
        return STAGE_ERROR;
    }
    /* Pods' tokens are asked for with exactly this lifetime; they live longer so that old clients survive. */
    spec.extend = r->srv->cfg.extend_token_expiration && spec.pod_name.ptr && t->spec.expiration_seconds == SA_TOKEN_WARN_S &&
                  t->spec.n_audiences == 0;
    if (!sa_token_issue(&issuer, &spec, &token, &expires, jti, &err)) {
        status_internal(&r->status, &r->arena, "%s", err.msg);
        return STAGE_ERROR;
    }
    if (t->spec.n_audiences == 0) {
        t->spec.audiences = audiences->items;
        t->spec.n_audiences = audiences->n;
    }
    t->metadata.name = sa->metadata.name;
    t->metadata.namespace = sa->metadata.namespace;
    t->metadata.creation_timestamp = (struct api_time){ .sec = spec.now, .set = true };
    t->status.token = buf_str(&token);
    t->status.expiration_timestamp = (struct api_time){ .sec = expires, .set = true };
    respond_typed(r, 201, request_type.type, t, request_type.api_version, request_type.kind);
    return STAGE_ANSWERED;
}
