/* Binding a pod to a node: POST …/pods/NAME/binding, or …/bindings with the pod's name in the body. */
#include "api/copy.h"
#include "api/gen/core_v1.h"
#include "apiserver/body.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"

static enum stage_result conflict(struct request *r, struct str what)
{
    status_conflict(&r->status, &r->arena, STR_EMPTY, STR("pods/binding"), r->info.name, "%.*s", STR_ARG(what));
    return STAGE_ERROR;
}

/* Upstream leaves these errors unclassified. */
static enum stage_result check_target(struct request *r, const struct core_v1_binding *b)
{
    static const struct str kinds[] = { STR_INIT("Node"), STR_INIT("<empty>"), STR_NULL };
    if (!str_empty(b->target.kind) && !str_eq_c(b->target.kind, "Node")) {
        field_not_supported(&r->errs, STR("target.kind"), b->target.kind, kinds);
    }
    if (str_empty(b->target.name)) {
        field_required(&r->errs, STR("target.name"), "%s", "");
    }
    if (r->errs.n > 0) {
        struct str text = field_errs_message(&r->errs, &r->arena);
        status_unclassified(&r->status, &r->arena, "%.*s", STR_ARG(text));
        return STAGE_ERROR;
    }
    return STAGE_DONE;
}

/* /bindings: the body says which pod. Comes before loading. */
enum stage_result stage_binding_named(struct request *r)
{
    struct body_type type = { .type = &core_v1_binding_type, .api_version = STR("v1"), .kind = STR("Binding") };
    struct core_v1_binding *b = body_decode(r, &type);
    if (!b) {
        return STAGE_ERROR;
    }
    r->body_obj = b;
    if (str_empty(r->info.name)) {
        if (str_empty(b->metadata.name)) {
            return request_bad(r, "name is required");
        }
        r->info.name = b->metadata.name;
    } else if (!str_empty(b->metadata.name) && !str_eq(b->metadata.name, r->info.name)) {
        return request_bad(r, "name in URL does not match name in Binding object");
    }
    if (!r->rest) { /* /bindings is no stored resource: it writes pods */
        r->rest = registry_rest(r->srv, STR_EMPTY, STR("pods"));
        r->ep = registry_endpoint(r->srv, STR_EMPTY, STR("v1"), STR("pods"));
    }
    return check_target(r, b);
}

static bool merge_pairs(struct arena *a, struct api_str_pair **into, size_t *n, const struct api_str_pair *from, size_t n_from)
{
    for (size_t i = 0; i < n_from; i++) {
        size_t at = 0;
        while (at < *n && str_cmp((*into)[at].key, from[i].key) < 0) {
            at++;
        }
        if (at < *n && str_eq((*into)[at].key, from[i].key)) {
            (*into)[at].value = from[i].value;
            continue;
        }
        struct api_str_pair *grown = arena_new_n(a, struct api_str_pair, *n + 1);
        if (!grown) {
            return false;
        }
        if (*n > 0) {
            memcpy(grown, *into, at * sizeof(*grown));
            memcpy(grown + at + 1, *into + at, (*n - at) * sizeof(*grown));
        }
        grown[at] = from[i];
        *into = grown;
        (*n)++;
    }
    return true;
}

static bool set_scheduled(struct request *r, struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status.n_conditions; i++) {
        struct core_v1_pod_condition *c = &pod->status.conditions[i];
        if (str_eq_c(c->type, "PodScheduled")) {
            if (!str_eq_c(c->status, "True")) {
                c->last_transition_time = (struct api_time){ .sec = r->kctx.now_sec, .set = true };
            }
            c->status = STR("True");
            c->reason = c->message = STR_NULL;
            return true;
        }
    }
    struct core_v1_pod_condition *grown = arena_grow_n(&r->arena, pod->status.conditions, pod->status.n_conditions,
                                                       pod->status.n_conditions + 1, sizeof(*grown));
    if (!grown) {
        return false;
    }
    grown[pod->status.n_conditions++] = (struct core_v1_pod_condition){
        .type = STR("PodScheduled"), .status = STR("True"), .last_transition_time = { .sec = r->kctx.now_sec, .set = true },
    };
    pod->status.conditions = grown;
    return true;
}

enum stage_result stage_binding_begin(struct request *r)
{
    const struct core_v1_binding *b = r->body_obj;
    const struct core_v1_pod *old = r->old;
    struct core_v1_pod *pod = arena_alloc(&r->arena, r->rest->hub->type->size);
    if (!str_empty(b->metadata.uid) && !str_eq(b->metadata.uid, old->metadata.uid)) {
        return conflict(r, arena_printf(&r->arena, "Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s",
                                        STR_ARG(b->metadata.uid), STR_ARG(old->metadata.uid)));
    }
    if (old->metadata.deletion_timestamp.set) {
        return conflict(r, arena_printf(&r->arena, "pod %.*s is being deleted, cannot be assigned to a host", STR_ARG(old->metadata.name)));
    }
    if (!str_empty(old->spec.node_name)) {
        return conflict(r, arena_printf(&r->arena, "pod %.*s is already assigned to node \"%.*s\"", STR_ARG(old->metadata.name),
                                        STR_ARG(old->spec.node_name)));
    }
    if (old->spec.n_scheduling_gates > 0) {
        return conflict(r, arena_printf(&r->arena, "pod %.*s has non-empty .spec.schedulingGates", STR_ARG(old->metadata.name)));
    }
    if (!pod || !api_copy_into(&r->arena, r->rest->hub->type, old, pod, false)) {
        return request_bad(r, "the object is too large");
    }
    r->obj = pod;
    r->client_rv = 0;
    write_begin(r, ADMIT_CREATE);
    r->attrs.type = &core_v1_binding_type;
    r->attrs.obj = r->body_obj;
    r->attrs.old = NULL;
    pod->spec.node_name = b->target.name;
    if (!merge_pairs(&r->arena, &pod->metadata.annotations, &pod->metadata.n_annotations, b->metadata.annotations,
                     b->metadata.n_annotations) ||
        !merge_pairs(&r->arena, &pod->metadata.labels, &pod->metadata.n_labels, b->metadata.labels, b->metadata.n_labels) ||
        !set_scheduled(r, pod)) {
        return request_bad(r, "the object is too large");
    }
    return STAGE_DONE;
}

/* 201 Success, as creating subresources without a body of their own answer. */
enum stage_result stage_respond_created_status(struct request *r)
{
    struct meta_v1_status s = { .status = STR("Success"), .code = 201 };
    respond_typed(r, 201, &meta_v1_status_type, &s, STR("v1"), STR("Status"));
    return STAGE_ANSWERED;
}
