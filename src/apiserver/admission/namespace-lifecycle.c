/*
 * NamespaceLifecycle: nothing is created in a namespace that is missing or going away, and three namespaces are never deleted
 * (Kubernetes documentation, "Admission Control in Kubernetes").
 */
#include "api/gen/core_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"

static const struct str immortal[] = { STR_INIT("default"), STR_INIT("kube-system"), STR_INIT("kube-public") };

static enum stage_result terminating(struct request *r, const struct admission_attrs *attrs)
{
    struct status_cause *cause = arena_new(&r->arena, struct status_cause);
    (void)admission_deny(r, attrs, "unable to create new content in namespace %.*s because it is being terminated",
                         STR_ARG(attrs->ns));
    if (cause) {
        *cause = (struct status_cause){
            .reason = STR("NamespaceTerminating"),
            .message = arena_printf(&r->arena, "namespace %.*s is being terminated", STR_ARG(attrs->ns)),
            .field = STR("metadata.namespace"),
        };
        r->status.causes = cause;
        r->status.n_causes = 1;
    }
    return STAGE_ERROR;
}

static enum stage_result admit(struct request *r, struct admission_attrs *attrs)
{
    bool is_namespace = str_empty(attrs->resource->group) && str_eq_c(attrs->resource->resource, "namespaces");
    if (is_namespace && attrs->op == ADMIT_DELETE && str_empty(attrs->subresource)) {
        for (size_t i = 0; i < ARRAY_SIZE(immortal); i++) {
            if (str_eq(attrs->name, immortal[i])) {
                return admission_deny(r, attrs, "this namespace may not be deleted");
            }
        }
    }
    /* Deleting is always fine, and a review of rights writes nothing. */
    if (is_namespace || str_empty(attrs->ns) || attrs->op == ADMIT_DELETE ||
        admission_is(attrs, "authorization.k8s.io", "localsubjectaccessreviews", "")) {
        return STAGE_DONE;
    }
    const struct core_v1_namespace *ns = admission_namespace(r, attrs);
    if (!ns) {
        status_not_found(&r->status, &r->arena, STR_EMPTY, STR("namespaces"), attrs->ns);
        return STAGE_ERROR;
    }
    bool ending = str_eq_c(ns->status.phase, "Terminating") || ns->metadata.deletion_timestamp.set;
    return ending && attrs->op == ADMIT_CREATE ? terminating(r, attrs) : STAGE_DONE;
}

const struct admission_plugin admission_namespace_lifecycle = {
    .name = STR_INIT("NamespaceLifecycle"),
    .ops = ADMIT_CREATE | ADMIT_UPDATE | ADMIT_DELETE,
    .default_on = true,
    .admit = admit,
};
