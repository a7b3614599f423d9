#include "api/default-rules.h"
#include "api/gen/apiextensions_v1.h"
#include "api/gen/networking_v1.h"
#include "api/gen/rbac_v1.h"
#include "api/gen/resource_v1.h"
#include "api/gen/storage_v1.h"

bool default_network_policy_spec(struct defaulting *d, void *obj)
{
    struct networking_v1_network_policy_spec *s = obj;

    if (s->n_policy_types > 0) {
        return true;
    }
    s->policy_types = arena_new_n(d->arena, struct str, 2);
    if (!s->policy_types) {
        return false;
    }
    s->policy_types[s->n_policy_types++] = STR("Ingress");
    if (s->n_egress > 0) {
        s->policy_types[s->n_policy_types++] = STR("Egress");
    }
    return true;
}

/* ---- definitions of resources ---- */

bool default_crd_names(struct defaulting *d, void *obj)
{
    struct apiextensions_v1_custom_resource_definition_names *n = obj;

    if (n->singular.len == 0 && n->kind.len > 0) {
        char *p = arena_cstr(d->arena, n->kind);

        if (!p) {
            return false;
        }
        for (size_t i = 0; i < n->kind.len; i++) {
            p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] | 0x20) : p[i];
        }
        n->singular = str_n(p, n->kind.len);
    }
    if (n->list_kind.len == 0 && n->kind.len > 0) {
        n->list_kind = arena_printf(d->arena, "%.*sList", STR_ARG(n->kind));
        return n->list_kind.ptr != NULL;
    }
    return true;
}

bool default_crd(struct defaulting *d, void *obj)
{
    struct apiextensions_v1_custom_resource_definition *c = obj;

    if (c->status.n_stored_versions > 0) {
        return true;
    }
    for (size_t i = 0; i < c->spec.n_versions; i++) {
        if (c->spec.versions[i].storage) {
            c->status.stored_versions = arena_new(d->arena, struct str);
            if (!c->status.stored_versions) {
                return false;
            }
            c->status.stored_versions[0] = c->spec.versions[i].name;
            c->status.n_stored_versions = 1;
            break;
        }
    }
    return true;
}

/* ---- devices and storage ---- */

static void one_device(struct str mode, int64_t *count)
{
    if (*count == 0 && (mode.len == 0 || str_eq(mode, STR("ExactCount")))) {
        *count = 1;
    }
}

bool default_device_request(struct defaulting *d UNUSED, void *obj)
{
    struct resource_v1_exact_device_request *r = obj;

    one_device(r->allocation_mode, &r->count);
    return true;
}

bool default_device_sub_request(struct defaulting *d UNUSED, void *obj)
{
    struct resource_v1_device_sub_request *r = obj;

    one_device(r->allocation_mode, &r->count);
    return true;
}

bool default_device_taint(struct defaulting *d, void *obj)
{
    struct resource_v1_device_taint *t = obj;

    if (!t->time_added.set && d->ctx && d->ctx->now_sec) {
        t->time_added = (struct api_time){ .sec = d->ctx->now_sec, .set = true };
    }
    return true;
}

bool default_csi_driver_spec(struct defaulting *d, void *obj)
{
    struct storage_v1_csi_driver_spec *s = obj;

    if (!s->has_prevent_pod_scheduling_if_missing && default_gate(d, STR("VolumeLimitScaling"))) {
        s->has_prevent_pod_scheduling_if_missing = true;
    }
    return true;
}

/* ---- roles ---- */

#define RBAC_GROUP STR("rbac.authorization.k8s.io")

bool default_role_binding(struct defaulting *d UNUSED, void *obj)
{
    default_str(&((struct rbac_v1_role_binding *)obj)->role_ref.api_group, RBAC_GROUP);
    return true;
}

bool default_cluster_role_binding(struct defaulting *d UNUSED, void *obj)
{
    default_str(&((struct rbac_v1_cluster_role_binding *)obj)->role_ref.api_group, RBAC_GROUP);
    return true;
}

bool default_subject(struct defaulting *d UNUSED, void *obj)
{
    struct rbac_v1_subject *s = obj;

    if (str_eq(s->kind, STR("User")) || str_eq(s->kind, STR("Group"))) {
        default_str(&s->api_group, RBAC_GROUP);
    }
    return true;
}
