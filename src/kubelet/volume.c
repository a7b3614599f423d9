/* A pod's volumes as a whole: fetching what they show, setting them up, taking them down; and what several kinds share. */
#include "kubelet/volume.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "kubelet/mounts.h"

static const struct volume_ops *const kinds[] = { &volume_empty_dir, &volume_host_path, &volume_config_map,
                                                  &volume_secret,    &volume_projected, &volume_downward_api,
                                                  &volume_claim };

static bool bind(struct pod *p, const struct core_v1_volume *spec, struct volume *ret, struct err *err)
{
    *ret = (struct volume){ .pod = p, .spec = spec };
    for (size_t i = 0; i < ARRAY_SIZE(kinds) && !ret->ops; i++) {
        ret->ops = kinds[i]->matches(&spec->volume_source) ? kinds[i] : NULL;
    }
    if (!ret->ops) {
        return err_set(err, ERR_INVALID, "volume \"%.*s\" is of a kind that this kubelet does not have", STR_ARG(spec->name));
    }
    snprintf(ret->dir, sizeof(ret->dir), "%s/pods/%s/volumes/%s/%.*s", p->k->root, p->uid, ret->ops->plugin, STR_ARG(spec->name));
    return true;
}

bool volume_find(struct pod *p, struct str name, struct volume *ret, struct err *err)
{
    for (size_t i = 0; i < p->obj->spec.n_volumes; i++) {
        if (str_eq(p->obj->spec.volumes[i].name, name)) {
            return bind(p, &p->obj->spec.volumes[i], ret, err);
        }
    }
    return err_set(err, ERR_NOT_FOUND, "the pod has no volume \"%.*s\"", STR_ARG(name));
}

bool volume_path(const struct volume *v, char dst[PATH_MAX])
{
    if (v->ops->path) {
        return v->ops->path(v, dst);
    }
    snprintf(dst, PATH_MAX, "%s", v->dir);
    return true;
}

/* ---- setting up ---- */

struct setup_op {
    struct pod *p;
    struct objects_fetch *fetch;
    size_t n_needs; /* asked for so far */
};

static void cancel(void *arg)
{
    struct setup_op *op = arg;
    objects_fetch_cancel(op->fetch);
    free(op);
}

static void note(struct pod *p, const char *name, const struct err *err)
{
    if (!err) {
        p->volume_error[0] = '\0';
        return;
    }
    bool news = strncmp(p->volume_error, err->msg, sizeof(p->volume_error) - 1) != 0;
    snprintf(p->volume_error, sizeof(p->volume_error), "%.510s", err->msg);
    if (news) {
        pod_event(p, NULL, "Warning/FailedMount", "MountVolume.SetUp failed for volume %s: %s", name, err->msg);
    }
}

/* What an earlier kubelet has set up is good enough while the apiserver cannot be reached. */
static bool set_up_before(struct pod *p)
{
    char path[PATH_MAX];
    struct volume v;
    for (size_t i = 0; i < p->obj->spec.n_volumes; i++) {
        if (!bind(p, &p->obj->spec.volumes[i], &v, NULL)) {
            return false;
        }
        snprintf(path, sizeof(path), "%.4000s%s", v.dir, v.ops->path ? "" : "/..data");
        if (v.ops->needs && access(path, F_OK) < 0) {
            return false;
        }
    }
    return true;
}

static void on_fetched(void *arg, const struct err *why);

/* Fetches what the volumes need, as far as that is known now. False: there is nothing that was not asked for before. */
static bool fetch(struct setup_op *op)
{
    struct pod *p = op->p;
    struct object_need needs[OBJECT_NEEDS_MAX];
    size_t n = 0, before = op->n_needs;
    for (size_t i = 0; i < p->obj->spec.n_volumes; i++) {
        struct volume v;
        if (bind(p, &p->obj->spec.volumes[i], &v, NULL) && v.ops->needs) {
            n += v.ops->needs(&v, needs + n, ARRAY_SIZE(needs) - n);
        }
    }
    if (n == ARRAY_SIZE(needs)) {
        log_warning("pod %s/%s: its volumes show more than %d objects; the rest is not fetched", p->ns, p->name, OBJECT_NEEDS_MAX - 1);
    }
    op->n_needs = n;
    if (n == before && op->fetch) {
        return false;
    }
    op->fetch = objects_fetch(p->k->objects, p, needs, n, p->volumes_ready || op->fetch ? 1000 : 5000, on_fetched, op);
    return true;
}

static void on_fetched(void *arg, const struct err *why)
{
    struct setup_op *op = arg;
    struct pod *p = op->p;
    struct err err = { 0 };
    bool ok = why == NULL;
    char name[256] = "";
    if (ok && fetch(op)) {
        return;
    }
    free(op);
    if (why && !p->k->pods_synced && set_up_before(p)) {
        p->volumes_ready = true;
        note(p, name, NULL);
    } else if (why) {
        note(p, "objects", why);
    }
    for (size_t i = 0; ok && i < p->obj->spec.n_volumes; i++) {
        struct volume v;
        snprintf(name, sizeof(name), "\"%.*s\"", STR_ARG(p->obj->spec.volumes[i].name));
        ok = bind(p, &p->obj->spec.volumes[i], &v, &err) && v.ops->setup(&v, &err);
        if (!ok) {
            note(p, name, &err);
        }
    }
    if (ok) {
        note(p, name, NULL);
    }
    p->volumes_ready = p->volumes_ready || ok; /* a later failure leaves what there is */
    p->volumes_checked_ms = MAX(loop_now_ms(p->k->loop), (uint64_t)1);
    pod_op_done(p, false);
}

void volumes_setup(struct pod *p)
{
    struct setup_op *op = calloc(1, sizeof(*op));
    if (!op) {
        abort();
    }
    op->p = p;
    p->busy = true;
    p->op = op;
    p->op_cancel = cancel;
    p->op_soft = true;
    (void)fetch(op); /* the first time it always does */
}

bool volumes_due(const struct pod *p)
{
    if (p->volumes_checked_ms && loop_now_ms(p->k->loop) - p->volumes_checked_ms < KUBELET_VOLUME_RESYNC_MS) {
        return false;
    }
    for (size_t i = 0; i < p->obj->spec.n_volumes; i++) {
        const struct core_v1_volume_source *s = &p->obj->spec.volumes[i].volume_source;
        if (s->config_map || s->secret || s->projected || s->downward_api) {
            return true;
        }
    }
    return false;
}

/* ---- taking down ---- */

bool volumes_teardown(struct pod *p, struct err *err)
{
    char dir[PATH_MAX];
    pod_dir(p, dir);
    p->volumes_ready = false;
    p->volumes_checked_ms = 0;
    return mounts_clear(dir, err) && fs_remove_tree(dir, err);
}

int64_t pod_fs_group(const struct pod *p)
{
    const struct core_v1_pod_security_context *s = p->obj->spec.security_context;
    return s && s->has_fs_group ? s->fs_group : -1;
}
