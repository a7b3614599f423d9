/*
 * ServiceAccount: every pod runs as a service account of its namespace, and has its token, the cluster's CA and the namespace's
 * name mounted at the usual place (Kubernetes documentation, "Managing Service Accounts").
 *
 * The account "default" is made by a controller a moment after its namespace; a pod that comes in between waits for it.
 */
#include "api/gen/core_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"
#include "base/rand.h"

#define MOUNT_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
#define VOLUME_PREFIX "kube-api-access-"
#define TOKEN_SECONDS 3607
#define DEFAULT_ACCOUNT_TRIES 10
#define DEFAULT_ACCOUNT_WAIT_MS 150

static bool is_mirror(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.n_annotations; i++) {
        if (str_eq_c(pod->metadata.annotations[i].key, "kubernetes.io/config.mirror")) {
            return true;
        }
    }
    return false;
}

static void try_again(void *arg)
{
    request_again(arg);
}

/* Counts in plugin_data, which is only kept while this plugin waits. */
static enum stage_result wait_for_default(struct request *r, struct admission_attrs *attrs)
{
    unsigned *tries = attrs->plugin_data;
    if (!tries) {
        tries = arena_new(&r->arena, unsigned);
        attrs->plugin_data = tries;
    }
    if (!tries || ++*tries > DEFAULT_ACCOUNT_TRIES) {
        return STAGE_DONE;
    }
    loop_timer_init(&r->rv_timer, r->srv->loop, try_again, r); /* stopped when the request ends */
    loop_timer_start(&r->rv_timer, DEFAULT_ACCOUNT_WAIT_MS);
    return STAGE_WAIT;
}

/* ---- the volume ---- */

#define NEW(r, type) arena_new(&(r)->arena, type)

static bool token_source(struct request *r, struct core_v1_volume_projection *p)
{
    p->service_account_token = NEW(r, struct core_v1_service_account_token_projection);
    if (!p->service_account_token) {
        return false;
    }
    *p->service_account_token = (struct core_v1_service_account_token_projection){
        .path = STR("token"), .expiration_seconds = TOKEN_SECONDS, .has_expiration_seconds = true,
    };
    return true;
}

static bool ca_source(struct request *r, struct core_v1_volume_projection *p)
{
    struct core_v1_key_to_path *item = NEW(r, struct core_v1_key_to_path);
    p->config_map = NEW(r, struct core_v1_config_map_projection);
    if (!item || !p->config_map) {
        return false;
    }
    item->key = STR("ca.crt");
    item->path = STR("ca.crt");
    p->config_map->local_object_reference.name = STR("kube-root-ca.crt");
    p->config_map->items = item;
    p->config_map->n_items = 1;
    return true;
}

static bool namespace_source(struct request *r, struct core_v1_volume_projection *p)
{
    struct core_v1_downward_api_volume_file *file = NEW(r, struct core_v1_downward_api_volume_file);
    struct core_v1_object_field_selector *field = NEW(r, struct core_v1_object_field_selector);
    p->downward_api = NEW(r, struct core_v1_downward_api_projection);
    if (!file || !field || !p->downward_api) {
        return false;
    }
    field->api_version = STR("v1");
    field->field_path = STR("metadata.namespace");
    file->path = STR("namespace");
    file->field_ref = field;
    p->downward_api->items = file;
    p->downward_api->n_items = 1;
    return true;
}

static bool make_volume(struct request *r, struct str name, struct core_v1_volume *v)
{
    struct core_v1_projected_volume_source *p = NEW(r, struct core_v1_projected_volume_source);
    struct core_v1_volume_projection *sources = arena_new_n(&r->arena, struct core_v1_volume_projection, 3);
    if (!p || !sources || !token_source(r, &sources[0]) || !ca_source(r, &sources[1]) || !namespace_source(r, &sources[2])) {
        return false;
    }
    *p = (struct core_v1_projected_volume_source){ .sources = sources, .n_sources = 3, .default_mode = 0644,
                                                   .has_default_mode = true };
    v->name = name;
    v->volume_source.projected = p;
    return true;
}

/* ---- mounting it ---- */

static bool has_mount(const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->n_volume_mounts; i++) {
        if (str_eq_c(c->volume_mounts[i].mount_path, MOUNT_PATH)) {
            return true;
        }
    }
    return false;
}

/* '*used' when some container got the mount. */
static bool mount_all(struct request *r, struct core_v1_container *list, size_t n, struct str volume, bool *used)
{
    for (size_t i = 0; i < n; i++) {
        struct core_v1_container *c = &list[i];
        if (has_mount(c)) {
            continue;
        }
        struct core_v1_volume_mount *m =
            arena_grow_n(&r->arena, c->volume_mounts, c->n_volume_mounts, c->n_volume_mounts + 1, sizeof(*m));
        if (!m) {
            return false;
        }
        m[c->n_volume_mounts] =
            (struct core_v1_volume_mount){ .name = volume, .read_only = true, .mount_path = STR(MOUNT_PATH) };
        c->volume_mounts = m;
        c->n_volume_mounts++;
        *used = true;
    }
    return true;
}

static bool mount_token(struct request *r, struct core_v1_pod *pod)
{
    struct str volume = STR_NULL;
    char suffix[6];
    bool there = false, used = false;
    for (size_t i = 0; i < pod->spec.n_volumes && !there; i++) {
        if (str_starts(pod->spec.volumes[i].name, STR(VOLUME_PREFIX))) {
            volume = pod->spec.volumes[i].name;
            there = true;
        }
    }
    if (!there) {
        rand_suffix(suffix, sizeof(suffix) - 1);
        volume = arena_printf(&r->arena, VOLUME_PREFIX "%s", suffix);
    }
    if (!volume.ptr || !mount_all(r, pod->spec.init_containers, pod->spec.n_init_containers, volume, &used) ||
        !mount_all(r, pod->spec.containers, pod->spec.n_containers, volume, &used)) {
        return false;
    }
    if (there || !used) {
        return true;
    }
    struct core_v1_volume *v = arena_grow_n(&r->arena, pod->spec.volumes, pod->spec.n_volumes, pod->spec.n_volumes + 1, sizeof(*v));
    if (!v || !make_volume(r, volume, &v[pod->spec.n_volumes])) {
        return false;
    }
    pod->spec.volumes = v;
    pod->spec.n_volumes++;
    return true;
}

static bool wants_token(const struct core_v1_pod *pod, const struct core_v1_service_account *sa)
{
    if (pod->spec.has_automount_service_account_token) {
        return pod->spec.automount_service_account_token;
    }
    return !sa->has_automount_service_account_token || sa->automount_service_account_token;
}

/* ---- the plugin ---- */

static enum stage_result too_large(struct request *r)
{
    status_internal(&r->status, &r->arena, "the pod is too large");
    return STAGE_ERROR;
}

static enum stage_result admit(struct request *r, struct admission_attrs *attrs)
{
    if (!admission_is(attrs, "", "pods", "") || is_mirror(attrs->obj)) {
        return STAGE_DONE;
    }
    struct core_v1_pod *pod = attrs->obj;
    struct str name = str_empty(pod->spec.service_account_name) ? STR("default") : pod->spec.service_account_name;
    const struct kind_world *w = admission_world(r);
    const struct core_v1_service_account *sa = w->get(w, &r->arena, STR_EMPTY, STR("serviceaccounts"), attrs->ns, name);
    if (!sa && str_eq_c(name, "default") && wait_for_default(r, attrs) == STAGE_WAIT) {
        return STAGE_WAIT;
    }
    if (!sa) {
        return admission_deny(r, attrs, "error looking up service account %.*s/%.*s: serviceaccount \"%.*s\" not found",
                              STR_ARG(attrs->ns), STR_ARG(name), STR_ARG(name));
    }
    pod->spec.service_account_name = name;
    pod->spec.service_account = name;
    if (wants_token(pod, sa) && !mount_token(r, pod)) {
        return too_large(r);
    }
    if (pod->spec.n_image_pull_secrets == 0 && sa->n_image_pull_secrets > 0) {
        pod->spec.image_pull_secrets = sa->image_pull_secrets;
        pod->spec.n_image_pull_secrets = sa->n_image_pull_secrets;
    }
    return STAGE_DONE;
}

/* A pod that a node made for a static one may name nothing of the API: the node could read it that way. */
static enum stage_result validate(struct request *r, struct admission_attrs *attrs)
{
    if (!admission_is(attrs, "", "pods", "") || !is_mirror(attrs->obj)) {
        return STAGE_DONE;
    }
    const struct core_v1_pod *pod = attrs->obj;
    if (!str_empty(pod->spec.service_account_name)) {
        return admission_deny(r, attrs, "a mirror pod may not reference service accounts");
    }
    for (size_t i = 0; i < pod->spec.n_volumes; i++) {
        const struct core_v1_volume_source *v = &pod->spec.volumes[i].volume_source;
        if (v->secret) {
            return admission_deny(r, attrs, "a mirror pod may not reference secrets");
        }
        for (size_t k = 0; v->projected && k < v->projected->n_sources; k++) {
            if (v->projected->sources[k].service_account_token) {
                return admission_deny(r, attrs, "a mirror pod may not use ServiceAccountToken volume projections");
            }
        }
    }
    return STAGE_DONE;
}

const struct admission_plugin admission_service_account = {
    .name = STR_INIT("ServiceAccount"),
    .ops = ADMIT_CREATE,
    .default_on = true,
    .admit = admit,
    .validate = validate,
};
