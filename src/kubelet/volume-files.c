/* Volumes that show objects as files: configMap, secret, downwardAPI, and projected, which joins them and adds tokens. */
#include "kubelet/volume.h"

#include "base/fs.h"
#include "kubelet/mounts.h"

static bool add_items(struct volume_files *f, const struct api_str_pair *data, size_t n_data, const struct core_v1_key_to_path *items,
                      size_t n_items, bool optional, uint32_t mode, const char *what, struct str name, struct err *err)
{
    if (!n_items) {
        for (size_t i = 0; i < n_data; i++) {
            volume_files_add(f, data[i].key, data[i].value, mode);
        }
        return true;
    }
    for (size_t i = 0; i < n_items; i++) {
        bool found = false;
        for (size_t j = 0; j < n_data; j++) {
            if (str_eq(data[j].key, items[i].key)) {
                volume_files_add(f, items[i].path, data[j].value, items[i].has_mode ? (uint32_t)items[i].mode : mode);
                found = true;
            }
        }
        if (!found && !optional) {
            return err_set(err, ERR_NOT_FOUND, "%s \"%.*s\" references non-existent key: %.*s", what, STR_ARG(name), STR_ARG(items[i].key));
        }
    }
    return true;
}

bool volume_files_config_map(struct volume_files *f, struct pod *p, struct str name, const struct core_v1_key_to_path *items,
                             size_t n_items, bool optional, uint32_t mode, struct err *err)
{
    const struct core_v1_config_map *m = objects_config_map(p->k->objects, str_c(p->ns), name);
    if (!m) {
        return optional || err_set(err, ERR_NOT_FOUND, "configmap \"%.*s\" not found", STR_ARG(name));
    }
    struct api_str_pair *all = arena_new_n(f->a, struct api_str_pair, m->n_data + m->n_binary_data + 1);
    size_t n = 0;
    if (!all) {
        return err_set(err, ERR_TOO_LARGE, "configmap \"%.*s\" is too large", STR_ARG(name));
    }
    for (size_t i = 0; i < m->n_data; i++) {
        all[n++] = m->data[i];
    }
    for (size_t i = 0; i < m->n_binary_data; i++) {
        all[n++] = m->binary_data[i];
    }
    return add_items(f, all, n, items, n_items, optional, mode, "configmap", name, err);
}

bool volume_files_secret(struct volume_files *f, struct pod *p, struct str name, const struct core_v1_key_to_path *items,
                         size_t n_items, bool optional, uint32_t mode, struct err *err)
{
    const struct core_v1_secret *s = objects_secret(p->k->objects, str_c(p->ns), name);
    if (!s) {
        return optional || err_set(err, ERR_NOT_FOUND, "secret \"%.*s\" not found", STR_ARG(name));
    }
    return add_items(f, s->data, s->n_data, items, n_items, optional, mode, "secret", name, err);
}

bool volume_files_downward(struct volume_files *f, struct pod *p, const struct core_v1_downward_api_volume_file *items,
                           size_t n_items, uint32_t mode, struct err *err)
{
    for (size_t i = 0; i < n_items; i++) {
        struct str value = STR_EMPTY;
        bool ok = items[i].field_ref            ? downward_field(p, f->a, items[i].field_ref->field_path, &value, err)
                  : items[i].resource_field_ref ? downward_resource(p, f->a, NULL, items[i].resource_field_ref, &value, err)
                                                : true;
        if (!ok) {
            return false;
        }
        volume_files_add(f, items[i].path, value, items[i].has_mode ? (uint32_t)items[i].mode : mode);
    }
    return true;
}

#define DEFAULT_MODE 0644

static uint32_t mode_of(bool has, int32_t mode)
{
    return has ? (uint32_t)mode : DEFAULT_MODE;
}

/* Secrets and tokens never touch the disk. */
static bool write_all(struct volume *v, struct volume_files *f, bool memory, struct err *err)
{
    if (f->failed) {
        return err_set(err, ERR_TOO_LARGE, "volume \"%.*s\" shows too many files", STR_ARG(v->spec->name));
    }
    return (memory ? mounts_tmpfs(v->dir, 0, -1, err) : fs_mkdirs(v->dir, 0777, err)) &&
           atomic_write(v->dir, f->items, f->n, pod_fs_group(v->pod), err);
}

/* ---- configMap ---- */

static bool config_map_matches(const struct core_v1_volume_source *s)
{
    return s->config_map != NULL;
}

static size_t config_map_needs(const struct volume *v, struct object_need *needs, size_t max)
{
    const struct core_v1_config_map_volume_source *s = v->spec->volume_source.config_map;
    if (max) {
        needs[0] = (struct object_need){ .kind = OBJECT_CONFIG_MAP, .name = s->local_object_reference.name, .optional = s->has_optional && s->optional };
    }
    return max ? 1 : 0;
}

static bool config_map_setup(struct volume *v, struct err *err)
{
    const struct core_v1_config_map_volume_source *s = v->spec->volume_source.config_map;
    struct arena a;
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    struct volume_files f = { .a = &a };
    bool ok = volume_files_config_map(&f, v->pod, s->local_object_reference.name, s->items, s->n_items, s->has_optional && s->optional,
                                      mode_of(s->has_default_mode, s->default_mode), err) &&
              write_all(v, &f, false, err);
    arena_deinit(&a);
    return ok;
}

const struct volume_ops volume_config_map = { .plugin = "kubernetes.io~configmap", .matches = config_map_matches, .needs = config_map_needs,
                                              .setup = config_map_setup, .changes = true };

/* ---- secret ---- */

static bool secret_matches(const struct core_v1_volume_source *s)
{
    return s->secret != NULL;
}

static size_t secret_needs(const struct volume *v, struct object_need *needs, size_t max)
{
    const struct core_v1_secret_volume_source *s = v->spec->volume_source.secret;
    if (max) {
        needs[0] = (struct object_need){ .kind = OBJECT_SECRET, .name = s->secret_name, .optional = s->has_optional && s->optional };
    }
    return max ? 1 : 0;
}

static bool secret_setup(struct volume *v, struct err *err)
{
    const struct core_v1_secret_volume_source *s = v->spec->volume_source.secret;
    struct arena a;
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    struct volume_files f = { .a = &a };
    bool ok = volume_files_secret(&f, v->pod, s->secret_name, s->items, s->n_items, s->has_optional && s->optional,
                                  mode_of(s->has_default_mode, s->default_mode), err) &&
              write_all(v, &f, true, err);
    arena_deinit(&a);
    return ok;
}

const struct volume_ops volume_secret = { .plugin = "kubernetes.io~secret", .matches = secret_matches, .needs = secret_needs, .setup = secret_setup,
                                          .changes = true };

/* ---- downwardAPI ---- */

static bool downward_matches(const struct core_v1_volume_source *s)
{
    return s->downward_api != NULL;
}

static bool downward_setup(struct volume *v, struct err *err)
{
    const struct core_v1_downward_api_volume_source *s = v->spec->volume_source.downward_api;
    struct arena a;
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    struct volume_files f = { .a = &a };
    bool ok = volume_files_downward(&f, v->pod, s->items, s->n_items, mode_of(s->has_default_mode, s->default_mode), err) &&
              write_all(v, &f, true, err);
    arena_deinit(&a);
    return ok;
}

const struct volume_ops volume_downward_api = { .plugin = "kubernetes.io~downward-api", .matches = downward_matches, .setup = downward_setup,
                                                .changes = true };

/* ---- projected ---- */

static bool projected_matches(const struct core_v1_volume_source *s)
{
    return s->projected != NULL;
}

static struct object_need token_need(const struct pod *p, const struct core_v1_service_account_token_projection *t)
{
    struct str account = p->obj->spec.service_account_name;
    return (struct object_need){ .kind = OBJECT_TOKEN, .name = account.len ? account : STR("default"), .audience = t->audience,
                                 .expiration_s = t->has_expiration_seconds ? t->expiration_seconds : 3600 };
}

/* The user that every container runs as, where the spec says so; otherwise -1. */
static int64_t token_owner(const struct pod *p)
{
    const struct core_v1_pod_security_context *ps = p->obj->spec.security_context;
    int64_t owner = -1;
    for (size_t i = 0; i < p->n_containers; i++) {
        const struct core_v1_security_context *cs = p->containers[i]->spec ? p->containers[i]->spec->security_context : NULL;
        int64_t own = cs && cs->has_run_as_user ? cs->run_as_user : ps && ps->has_run_as_user ? ps->run_as_user : -1;
        if (own < 0 || (owner >= 0 && own != owner)) {
            return -1;
        }
        owner = own;
    }
    return owner;
}

static size_t projected_needs(const struct volume *v, struct object_need *needs, size_t max)
{
    const struct core_v1_projected_volume_source *s = v->spec->volume_source.projected;
    size_t n = 0;
    for (size_t i = 0; i < s->n_sources && n < max; i++) {
        const struct core_v1_volume_projection *q = &s->sources[i];
        if (q->secret) {
            needs[n++] = (struct object_need){ .kind = OBJECT_SECRET, .name = q->secret->local_object_reference.name,
                                               .optional = q->secret->has_optional && q->secret->optional };
        } else if (q->config_map) {
            needs[n++] = (struct object_need){ .kind = OBJECT_CONFIG_MAP, .name = q->config_map->local_object_reference.name,
                                               .optional = q->config_map->has_optional && q->config_map->optional };
        } else if (q->service_account_token) {
            needs[n++] = token_need(v->pod, q->service_account_token);
        }
    }
    return n;
}

static bool project_one(struct volume *v, const struct core_v1_volume_projection *q, uint32_t mode, struct volume_files *f, struct err *err)
{
    struct pod *p = v->pod;
    if (q->secret) {
        return volume_files_secret(f, p, q->secret->local_object_reference.name, q->secret->items, q->secret->n_items,
                                   q->secret->has_optional && q->secret->optional, mode, err);
    }
    if (q->config_map) {
        return volume_files_config_map(f, p, q->config_map->local_object_reference.name, q->config_map->items, q->config_map->n_items,
                                       q->config_map->has_optional && q->config_map->optional, mode, err);
    }
    if (q->downward_api) {
        return volume_files_downward(f, p, q->downward_api->items, q->downward_api->n_items, mode, err);
    }
    if (q->service_account_token) {
        struct object_need need = token_need(p, q->service_account_token);
        struct str token = objects_token(p->k->objects, p, &need);
        if (!token.len && !p->k->pods_synced) {
            return true; /* it follows when the apiserver is back */
        }
        if (!token.len) {
            return err_set(err, ERR_UNAVAILABLE, "there is no token of service account \"%.*s\" yet", STR_ARG(need.name));
        }
        int64_t owner = token_owner(p);
        /* Others cannot read it where somebody is known who must (documentation of projected volumes, "SecurityContext
         * interactions"); the pod's group is added by the writer. */
        volume_files_add_owned(f, q->service_account_token->path, token, owner >= 0 || pod_fs_group(p) >= 0 ? 0600 : mode, owner);
        return true;
    }
    return err_set(err, ERR_INVALID, "volume \"%.*s\" has a source that this kubelet does not have", STR_ARG(v->spec->name));
}

static bool projected_setup(struct volume *v, struct err *err)
{
    const struct core_v1_projected_volume_source *s = v->spec->volume_source.projected;
    struct arena a;
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    struct volume_files f = { .a = &a };
    bool ok = true;
    for (size_t i = 0; ok && i < s->n_sources; i++) {
        ok = project_one(v, &s->sources[i], mode_of(s->has_default_mode, s->default_mode), &f, err);
    }
    ok = ok && write_all(v, &f, true, err);
    arena_deinit(&a);
    return ok;
}

const struct volume_ops volume_projected = { .plugin = "kubernetes.io~projected", .matches = projected_matches, .needs = projected_needs,
                                             .setup = projected_setup, .changes = true };
