/*
 * PodSecurity: a namespace's labels say which of the Pod Security Standards its pods must keep to, and which to warn about
 * (documentation, "Pod Security Admission"). Workloads are warned for their templates and never refused. There is no audit log here, so
 * the labels of the mode "audit" are checked for being right and followed by nothing.
 */
#include "api/gen/apps_v1.h"
#include "api/gen/batch_v1.h"
#include "api/gen/core_v1.h"
#include "apiserver/admission-config.h"
#include "apiserver/admission/table.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"

static const struct pod_security_policy allow_all = { { POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST },
                                                      { POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST },
                                                      { POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST } };

static bool in(const struct str *list, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], name)) {
            return true;
        }
    }
    return false;
}

static const struct pod_security_policy *defaults(const struct request *r)
{
    const struct admission_config *c = r->srv->admission_config;
    return c ? &c->defaults : &allow_all;
}

static bool is_exempt(const struct request *r, const struct admission_attrs *attrs)
{
    const struct admission_config *c = r->srv->admission_config;
    return c && (in(c->namespaces, c->n_namespaces, attrs->ns) || in(c->users, c->n_users, attrs->user->name));
}

static bool is_exempt_class(const struct request *r, const struct core_v1_pod_spec *spec)
{
    const struct admission_config *c = r->srv->admission_config;
    return c && !str_empty(spec->runtime_class_name) && in(c->runtime_classes, c->n_runtime_classes, spec->runtime_class_name);
}

/* ---- pods and templates ---- */

static void warn(struct request *r, struct pod_security p, const struct meta_v1_object_meta *m, const struct core_v1_pod_spec *spec)
{
    struct str v = pod_security_violations(&r->arena, p, m, spec, NULL);
    if (!str_empty(v)) {
        admission_warn(r, "would violate PodSecurity \"%.*s\": %.*s", STR_ARG(pod_security_name(&r->arena, p)), STR_ARG(v));
    }
}

static enum stage_result check(struct request *r, struct admission_attrs *attrs, const struct meta_v1_object_meta *m,
                               const struct core_v1_pod_spec *spec, bool enforces)
{
    const struct core_v1_namespace *ns = admission_namespace(r, attrs);
    if (!ns || is_exempt(r, attrs) || is_exempt_class(r, spec)) {
        return STAGE_DONE; /* without a namespace it has been refused already */
    }
    struct pod_security_policy p = pod_security_of(&r->arena, &ns->metadata, defaults(r), NULL);
    struct str v = enforces ? pod_security_violations(&r->arena, p.enforce, m, spec, NULL) : STR_EMPTY;
    if (!str_empty(v)) {
        return admission_deny(r, attrs, "violates PodSecurity \"%.*s\": %.*s", STR_ARG(pod_security_name(&r->arena, p.enforce)), STR_ARG(v));
    }
    warn(r, p.warn, m, spec);
    return STAGE_DONE;
}

static struct str seccomp_of(const struct core_v1_pod *p, size_t from, size_t *ret_at)
{
    for (size_t i = from; i < p->metadata.n_annotations; i++) {
        if (str_find(p->metadata.annotations[i].key, STR("seccomp.security.alpha.kubernetes.io/")) >= 0) {
            *ret_at = i + 1;
            return p->metadata.annotations[i].value;
        }
    }
    *ret_at = SIZE_MAX;
    return STR_NULL;
}

static bool same_images(const struct core_v1_container *a, size_t n_a, const struct core_v1_container *b, size_t n_b)
{
    bool same = n_a == n_b;
    for (size_t i = 0; same && i < n_a; i++) {
        same = str_eq(a[i].image, b[i].image);
    }
    return same;
}

/* Of what an update may change: images, ephemeral containers and seccomp annotations. */
static bool matters(const struct core_v1_pod *p, const struct core_v1_pod *old)
{
    if (!same_images(p->spec.containers, p->spec.n_containers, old->spec.containers, old->spec.n_containers) ||
        !same_images(p->spec.init_containers, p->spec.n_init_containers, old->spec.init_containers, old->spec.n_init_containers)) {
        return true;
    }
    for (size_t i = 0; i < p->spec.n_ephemeral_containers; i++) {
        const struct core_v1_ephemeral_container_common *c = &p->spec.ephemeral_containers[i].ephemeral_container_common;
        bool there = false;
        for (size_t k = 0; k < old->spec.n_ephemeral_containers; k++) {
            const struct core_v1_ephemeral_container_common *o = &old->spec.ephemeral_containers[k].ephemeral_container_common;
            there |= str_eq(c->name, o->name) && str_eq(c->image, o->image);
        }
        if (!there) {
            return true;
        }
    }
    for (size_t i = 0, k = 0; i != SIZE_MAX || k != SIZE_MAX;) {
        struct str a = i == SIZE_MAX ? STR_NULL : seccomp_of(p, i, &i), b = k == SIZE_MAX ? STR_NULL : seccomp_of(old, k, &k);
        if (!str_eq(a, b) || (a.ptr == NULL) != (b.ptr == NULL)) {
            return true;
        }
    }
    return false;
}

static const struct core_v1_pod_template_spec *template_of(const struct admission_attrs *attrs)
{
    const struct core_v1_replication_controller *rc = attrs->obj;
    return admission_is(attrs, "", "replicationcontrollers", "") ? rc->spec.template
           : admission_is(attrs, "", "podtemplates", "")         ? &((const struct core_v1_pod_template *)attrs->obj)->template
           : admission_is(attrs, "apps", "replicasets", "")      ? &((const struct apps_v1_replica_set *)attrs->obj)->spec.template
           : admission_is(attrs, "apps", "deployments", "")      ? &((const struct apps_v1_deployment *)attrs->obj)->spec.template
           : admission_is(attrs, "apps", "daemonsets", "")       ? &((const struct apps_v1_daemon_set *)attrs->obj)->spec.template
           : admission_is(attrs, "apps", "statefulsets", "")     ? &((const struct apps_v1_stateful_set *)attrs->obj)->spec.template
           : admission_is(attrs, "batch", "jobs", "")            ? &((const struct batch_v1_job *)attrs->obj)->spec.template
           : admission_is(attrs, "batch", "cronjobs", "") ? &((const struct batch_v1_cron_job *)attrs->obj)->spec.job_template.spec.template
                                                          : NULL;
}

/* ---- namespaces ---- */

/* What is there already and would not be let in any more: each kind of offence once, with the first pod's name. */
struct existing {
    struct request *r;
    struct pod_security p;
    size_t seen, checked;
    struct {
        struct str reason, pod;
        size_t n;
    } found[REQUEST_MAX_WARNINGS];
    size_t n_found;
};

static bool look_at_pod(void *ctx, const void *obj)
{
    struct existing *e = ctx;
    const struct core_v1_pod *pod = obj;
    struct str reasons;
    if (e->seen++ >= POD_SECURITY_MAX_PODS || is_exempt_class(e->r, &pod->spec)) {
        return true;
    }
    e->checked++;
    if (str_empty(pod_security_violations(&e->r->arena, e->p, &pod->metadata, &pod->spec, &reasons))) {
        return true;
    }
    size_t i = 0;
    while (i < e->n_found && !str_eq(e->found[i].reason, reasons)) {
        i++;
    }
    if (i == e->n_found) {
        if (i == ARRAY_SIZE(e->found)) {
            return true;
        }
        e->n_found++;
        e->found[i].reason = reasons;
        e->found[i].pod = pod->metadata.name;
    }
    e->found[i].n++;
    return true;
}

static void warn_of_pods(struct request *r, struct str ns, struct pod_security p)
{
    struct existing *e = arena_new(&r->arena, struct existing);
    const struct kind_world *w = admission_world(r);
    if (!e) {
        return;
    }
    e->r = r;
    e->p = p;
    w->each(w, &r->arena, STR_EMPTY, STR("pods"), ns, look_at_pod, e);
    if (e->seen > POD_SECURITY_MAX_PODS) {
        admission_warn(r, "new PodSecurity enforce level only checked against the first %u of %zu existing pods", POD_SECURITY_MAX_PODS, e->seen);
    }
    if (e->n_found > 0) {
        admission_warn(r, "existing pods in namespace \"%.*s\" violate the new PodSecurity enforce level \"%.*s\"", STR_ARG(ns),
                       STR_ARG(pod_security_name(&r->arena, p)));
    }
    for (size_t i = 0; i < e->n_found; i++) { /* in the order of their pods' names */
        struct str more = e->found[i].n < 2 ? STR_EMPTY
                          : e->found[i].n == 2 ? STR(" (and 1 other pod)")
                                               : arena_printf(&r->arena, " (and %zu other pods)", e->found[i].n - 1);
        admission_warn(r, "%.*s%.*s: %.*s", STR_ARG(e->found[i].pod), STR_ARG(more), STR_ARG(e->found[i].reason));
    }
}

static enum stage_result check_namespace(struct request *r, struct admission_attrs *attrs)
{
    const struct core_v1_namespace *ns = attrs->obj, *old = attrs->old;
    struct field_errs errs, old_errs;
    field_errs_init(&errs, &r->arena);
    field_errs_init(&old_errs, &r->arena);
    struct pod_security_policy p = pod_security_of(&r->arena, &ns->metadata, defaults(r), &errs), was = *defaults(r);
    if (old) {
        was = pod_security_of(&r->arena, &old->metadata, defaults(r), &old_errs);
    }
    if (errs.n > 0 && !(old && old_errs.n == errs.n && str_eq(field_errs_message(&errs, &r->arena), field_errs_message(&old_errs, &r->arena)))) {
        r->errs = errs;
        return request_invalid(r, ns->metadata.name);
    }
    bool same = p.enforce.level == was.enforce.level && p.enforce.minor == was.enforce.minor;
    bool relaxed = p.enforce.minor == was.enforce.minor && p.enforce.level <= was.enforce.level;
    const struct admission_config *c = r->srv->admission_config;
    if (old && !same && !relaxed && p.enforce.level != POD_SECURITY_PRIVILEGED && !(c && in(c->namespaces, c->n_namespaces, ns->metadata.name))) {
        warn_of_pods(r, ns->metadata.name, p.enforce);
    }
    return STAGE_DONE;
}

/* ---- the plugin ---- */

static bool is_pod(const struct admission_attrs *attrs)
{
    return admission_is(attrs, "", "pods", "") || admission_is(attrs, "", "pods", "ephemeralcontainers") || admission_is(attrs, "", "pods", "resize");
}

static enum stage_result validate(struct request *r, struct admission_attrs *attrs)
{
    if (is_pod(attrs)) {
        const struct core_v1_pod *pod = attrs->obj;
        return attrs->old && !matters(pod, attrs->old) ? STAGE_DONE : check(r, attrs, &pod->metadata, &pod->spec, true);
    }
    if (admission_is(attrs, "", "namespaces", "")) {
        return check_namespace(r, attrs);
    }
    const struct core_v1_pod_template_spec *t = template_of(attrs);
    return t ? check(r, attrs, &t->metadata, &t->spec, false) : STAGE_DONE;
}

const struct admission_plugin admission_pod_security = {
    .name = STR_INIT("PodSecurity"),
    .ops = ADMIT_CREATE | ADMIT_UPDATE,
    .default_on = true,
    .validate = validate,
};
