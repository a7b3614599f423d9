/*
 * LimitRanger: a namespace's LimitRanges give containers defaults and hold containers, pods and claims to their bounds
 * (documentation, "Limit Ranges"). A pod's resources change when it is made and by its resize subresource alone, so it is looked at
 * then. The ranges come from the published objects, decoded once (world.c).
 */
#include <stdarg.h>

#include "api/gen/core_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"
#include "kinds/core/pod-resources.h"

#define ANNOTATION STR("kubernetes.io/limit-ranger")

struct pass {
    struct request *r;
    struct admission_attrs *attrs;
    bool mutate;
    bool full;              /* the arena is */
    struct str *problems;   /* of one range */
    size_t n_problems, capacity;
    struct str notes;       /* for the annotation */
    enum stage_result result;
};

static bool is_pod(const struct admission_attrs *attrs)
{
    return admission_is(attrs, "", "pods", "") || admission_is(attrs, "", "pods", "resize");
}

static const struct api_str_pair *find(const struct api_str_pair *list, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i].key, key)) {
            return &list[i];
        }
    }
    return NULL;
}

/* ---- defaults ---- */

/* Sets a key in a sorted list. */
static bool put(struct arena *a, struct api_str_pair **list, size_t *n, struct str key, struct str value)
{
    struct api_str_pair *copy = arena_new_n(a, struct api_str_pair, *n + 1);
    size_t k = 0;
    bool done = false;
    if (!copy) {
        return false;
    }
    for (size_t i = 0; i < *n; i++) {
        int order = str_cmp((*list)[i].key, key);
        if (order >= 0 && !done) {
            copy[k++] = (struct api_str_pair){ key, value };
            done = true;
        }
        if (order != 0) {
            copy[k++] = (*list)[i];
        }
    }
    if (!done) {
        copy[k++] = (struct api_str_pair){ key, value };
    }
    *list = copy;
    *n = k;
    return true;
}

/* What is missing in 'list' comes from 'defaults'; what was set is told. */
static void fill(struct pass *p, struct api_str_pair **list, size_t *n, const struct api_str_pair *defaults, size_t n_defaults,
                 const char *what, struct str name)
{
    struct arena *a = &p->r->arena;
    struct str set = STR_EMPTY;
    for (size_t i = 0; i < n_defaults; i++) {
        if (find(*list, *n, defaults[i].key)) {
            continue;
        }
        p->full |= !put(a, list, n, defaults[i].key, defaults[i].value);
        set = arena_printf(a, "%.*s%s%.*s", STR_ARG(set), str_empty(set) ? "" : ", ", STR_ARG(defaults[i].key));
    }
    if (!str_empty(set)) {
        p->notes = arena_printf(a, "%.*s%s%.*s %s %.*s", STR_ARG(p->notes), str_empty(p->notes) ? "" : "; ", STR_ARG(set), what, STR_ARG(name));
    }
}

static void default_containers(struct pass *p, struct core_v1_container *c, size_t n, const struct core_v1_limit_range_item *l, bool init)
{
    for (size_t i = 0; i < n; i++) {
        fill(p, &c[i].resources.requests, &c[i].resources.n_requests, l->default_request, l->n_default_request,
             init ? "request for init container" : "request for container", c[i].name);
        fill(p, &c[i].resources.limits, &c[i].resources.n_limits, l->default_, l->n_default_,
             init ? "limit for init container" : "limit for container", c[i].name);
    }
}

static void set_defaults(struct pass *p, const struct core_v1_limit_range *range, struct core_v1_pod *pod)
{
    p->notes = STR_EMPTY;
    for (size_t i = 0; i < range->spec.n_limits; i++) {
        const struct core_v1_limit_range_item *l = &range->spec.limits[i];
        if (str_eq_c(l->type, "Container")) {
            default_containers(p, pod->spec.containers, pod->spec.n_containers, l, false);
            default_containers(p, pod->spec.init_containers, pod->spec.n_init_containers, l, true);
        }
    }
    if (!str_empty(p->notes)) {
        p->full |= !put(&p->r->arena, &pod->metadata.annotations, &pod->metadata.n_annotations, ANNOTATION,
                        arena_printf(&p->r->arena, "LimitRanger plugin set: %.*s", STR_ARG(p->notes)));
    }
}

/* ---- bounds ---- */

/* A sentence once, as upstream joins errors. */
PRINTF_LIKE(2, 3) static void problem(struct pass *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(&p->r->arena, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < p->n_problems; i++) {
        if (str_eq(p->problems[i], text)) {
            return;
        }
    }
    if (p->n_problems == p->capacity) {
        size_t more = p->capacity ? p->capacity * 2 : 8;
        struct str *grown = arena_grow_n(&p->r->arena, p->problems, p->n_problems, more, sizeof(*grown));
        if (!grown) {
            p->full = true;
            return;
        }
        p->problems = grown;
        p->capacity = more;
    }
    p->problems[p->n_problems++] = text;
}

/* What is asked for: of a container, a pod or a claim. */
struct asked {
    struct str type;
    const struct api_str_pair *requests, *limits;
    size_t n_requests, n_limits;
    bool requests_only; /* a claim has no limits */
};

static int compare(const struct api_str_pair *a, struct str b)
{
    return quantity_cmp(quantity_of(a->value), quantity_of(b));
}

static void check_min(struct pass *p, const struct asked *x, const struct api_str_pair *bound)
{
    const struct api_str_pair *req = find(x->requests, x->n_requests, bound->key), *lim = find(x->limits, x->n_limits, bound->key);
    if (!req) {
        problem(p, "minimum %.*s usage per %.*s is %.*s.  No request is specified", STR_ARG(bound->key), STR_ARG(x->type), STR_ARG(bound->value));
    } else if (compare(req, bound->value) < 0) {
        problem(p, "minimum %.*s usage per %.*s is %.*s, but request is %.*s", STR_ARG(bound->key), STR_ARG(x->type), STR_ARG(bound->value),
                STR_ARG(req->value));
    } else if (lim && compare(lim, bound->value) < 0) {
        problem(p, "minimum %.*s usage per %.*s is %.*s, but limit is %.*s", STR_ARG(bound->key), STR_ARG(x->type), STR_ARG(bound->value),
                STR_ARG(lim->value));
    }
}

static void check_max(struct pass *p, const struct asked *x, const struct api_str_pair *bound)
{
    const struct api_str_pair *req = find(x->requests, x->n_requests, bound->key), *lim = find(x->limits, x->n_limits, bound->key);
    if (x->requests_only ? !req : !lim) {
        problem(p, "maximum %.*s usage per %.*s is %.*s.  No %s is specified", STR_ARG(bound->key), STR_ARG(x->type), STR_ARG(bound->value),
                x->requests_only ? "request" : "limit");
    } else if (lim && compare(lim, bound->value) > 0) {
        problem(p, "maximum %.*s usage per %.*s is %.*s, but limit is %.*s", STR_ARG(bound->key), STR_ARG(x->type), STR_ARG(bound->value),
                STR_ARG(lim->value));
    } else if (req && compare(req, bound->value) > 0) {
        problem(p, "maximum %.*s usage per %.*s is %.*s, but request is %.*s", STR_ARG(bound->key), STR_ARG(x->type), STR_ARG(bound->value),
                STR_ARG(req->value));
    }
}

static void check_ratio(struct pass *p, const struct asked *x, const struct api_str_pair *bound)
{
    const struct api_str_pair *req = find(x->requests, x->n_requests, bound->key), *lim = find(x->limits, x->n_limits, bound->key);
    struct quantity r = req ? quantity_of(req->value) : (struct quantity){ 0 }, l = lim ? quantity_of(lim->value) : (struct quantity){ 0 };
    if (quantity_is_zero(r) || quantity_is_zero(l)) {
        const char *what = quantity_is_zero(r) ? "request" : "limit";
        problem(p, "%.*s max limit to request ratio per %.*s is %.*s, but no %s is specified or %s is 0", STR_ARG(bound->key), STR_ARG(x->type),
                STR_ARG(bound->value), what, what);
        return;
    }
    double ratio = (double)l.nano / (double)r.nano, most = (double)quantity_of(bound->value).nano / 1e9;
    if (ratio > most) {
        problem(p, "%.*s max limit to request ratio per %.*s is %.*s, but provided ratio is %f", STR_ARG(bound->key), STR_ARG(x->type),
                STR_ARG(bound->value), ratio);
    }
}

static void check(struct pass *p, const struct asked *x, const struct core_v1_limit_range_item *l)
{
    for (size_t i = 0; i < l->n_min; i++) {
        check_min(p, x, &l->min[i]);
    }
    for (size_t i = 0; i < l->n_max; i++) {
        check_max(p, x, &l->max[i]);
    }
    for (size_t i = 0; !x->requests_only && i < l->n_max_limit_request_ratio; i++) {
        check_ratio(p, x, &l->max_limit_request_ratio[i]);
    }
}

static void check_containers(struct pass *p, const struct core_v1_container *c, size_t n, const struct core_v1_limit_range_item *l)
{
    for (size_t i = 0; i < n; i++) {
        const struct core_v1_resource_requirements *r = &c[i].resources;
        struct asked x = { .type = l->type, .requests = r->requests, .n_requests = r->n_requests, .limits = r->limits, .n_limits = r->n_limits };
        check(p, &x, l);
    }
}

static void check_pod(struct pass *p, const struct core_v1_pod *pod, const struct core_v1_limit_range_item *l)
{
    struct arena *a = &p->r->arena;
    struct amounts requests, limits;
    struct api_str_pair *req = NULL, *lim = NULL;
    struct asked x = { .type = l->type };
    if (!pod_resources(a, pod, 0, &requests) || !pod_resources(a, pod, POD_RESOURCES_LIMITS, &limits) ||
        !amounts_pairs(a, &requests, &req, &x.n_requests) || !amounts_pairs(a, &limits, &lim, &x.n_limits)) {
        p->full = true;
        return;
    }
    x.requests = req;
    x.limits = lim;
    check(p, &x, l);
}

static void check_range(struct pass *p, const struct core_v1_limit_range *range)
{
    const struct core_v1_pod *pod = is_pod(p->attrs) ? p->attrs->obj : NULL;
    const struct core_v1_persistent_volume_claim *claim = pod ? NULL : p->attrs->obj;
    for (size_t i = 0; i < range->spec.n_limits; i++) {
        const struct core_v1_limit_range_item *l = &range->spec.limits[i];
        if (pod && str_eq_c(l->type, "Container")) {
            check_containers(p, pod->spec.containers, pod->spec.n_containers, l);
            check_containers(p, pod->spec.init_containers, pod->spec.n_init_containers, l);
        } else if (pod && str_eq_c(l->type, "Pod")) {
            check_pod(p, pod, l);
        } else if (claim && str_eq_c(l->type, "PersistentVolumeClaim")) {
            struct asked x = { .type = l->type, .requests = claim->spec.resources.requests, .n_requests = claim->spec.resources.n_requests,
                               .requests_only = true };
            check(p, &x, l);
        }
    }
}

static enum stage_result deny(struct pass *p)
{
    struct str all = p->problems[0];
    for (size_t i = 1; i < p->n_problems; i++) {
        all = arena_printf(&p->r->arena, "%.*s, %.*s", STR_ARG(all), STR_ARG(p->problems[i]));
    }
    bool many = p->n_problems > 1;
    return admission_deny(p->r, p->attrs, "%s%.*s%s", many ? "[" : "", STR_ARG(all), many ? "]" : "");
}

/* ---- the plugin ---- */

static bool one_range(void *ctx, const void *obj)
{
    struct pass *p = ctx;
    const struct core_v1_limit_range *range = obj;
    if (p->mutate) {
        set_defaults(p, range, p->attrs->obj);
    } else {
        check_range(p, range);
    }
    if (p->full) {
        p->result = request_bad(p->r, "the object is too large");
    } else if (p->n_problems > 0) {
        p->result = deny(p);
    }
    return p->result == STAGE_DONE;
}

/* What is being deleted may be finished in whatever shape it is. */
static bool is_ending(const struct admission_attrs *attrs)
{
    if (!attrs->old) {
        return false;
    }
    return is_pod(attrs) ? ((const struct core_v1_pod *)attrs->old)->metadata.deletion_timestamp.set
                         : ((const struct core_v1_persistent_volume_claim *)attrs->old)->metadata.deletion_timestamp.set;
}

static enum stage_result run(struct request *r, struct admission_attrs *attrs, bool mutate)
{
    struct pass p = { .r = r, .attrs = attrs, .mutate = mutate, .result = STAGE_DONE };
    bool claim = !mutate && admission_is(attrs, "", "persistentvolumeclaims", "");
    bool pod = is_pod(attrs) && (attrs->op == ADMIT_CREATE || !str_empty(attrs->subresource));
    if (!claim && !pod) {
        return STAGE_DONE;
    }
    if (is_ending(attrs)) {
        return STAGE_DONE;
    }
    const struct kind_world *w = admission_world(r);
    w->each(w, &r->arena, STR_EMPTY, STR("limitranges"), attrs->ns, one_range, &p);
    return p.result;
}

static enum stage_result admit(struct request *r, struct admission_attrs *attrs)
{
    return run(r, attrs, true);
}

static enum stage_result validate(struct request *r, struct admission_attrs *attrs)
{
    return run(r, attrs, false);
}

const struct admission_plugin admission_limit_ranger = {
    .name = STR_INIT("LimitRanger"),
    .ops = ADMIT_CREATE | ADMIT_UPDATE,
    .default_on = true,
    .admit = admit,
    .validate = validate,
};
