/*
 * The last known specs of the API's pods, a file each below ROOT/checkpoints: what runs after a boot while the apiserver cannot be
 * reached. Written only when a spec changes.
 */
#include "kubelet/kubelet-private.h"

#include <dirent.h>
#include <unistd.h>

#include "api/decode-json.h"
#include "api/encode-json.h"
#include "base/fs.h"
#include "base/log.h"

static void path_of(const struct kubelet *k, const char *uid, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/checkpoints/%s.json", k->root, uid);
}

bool checkpoint_prepare(struct kubelet *k, struct err *err)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/checkpoints", k->root);
    return fs_mkdirs(dir, 0700, err);
}

void checkpoint_write(struct pod *p)
{
    char path[PATH_MAX];
    struct err err = { 0 };
    struct core_v1_pod o = *p->obj;
    CLEANUP(buf_deinit) struct buf b, old;
    buf_init(&b, KUBELET_MAX_POD_ARENA);
    buf_init(&old, KUBELET_MAX_POD_ARENA);
    o.status = (struct core_v1_pod_status){ .start_time = p->start_time };
    struct arena a;
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    if (p->finished) {
        /* What has ended does not begin again after a boot, even when the runtime has forgotten it. */
        const struct core_v1_pod_status *s = pod_status_of(p, &a);
        o.status.phase = s ? s->phase : STR_NULL;
        o.status.reason = s ? s->reason : STR_NULL;
    }
    path_of(p->k, p->uid, path);
    bool encoded = api_encode_json(&b, &core_v1_pod_type, &o, NULL, NULL);
    arena_deinit(&a);
    if (!encoded) {
        return;
    }
    if (fs_read(path, KUBELET_MAX_POD_ARENA, &old, NULL) && str_eq(buf_str(&old), buf_str(&b))) {
        return;
    }
    if (!fs_write_atomic(path, buf_str(&b), 0600, &err)) {
        log_warning("pod %s/%s is not remembered on disk: %s", p->ns, p->name, err.msg);
    }
}

void checkpoint_remove(struct kubelet *k, const char *uid)
{
    char path[PATH_MAX];
    path_of(k, uid, path);
    (void)unlink(path);
}

void checkpoint_load(struct kubelet *k)
{
    char dir[PATH_MAX], path[PATH_MAX];
    struct err err = { 0 };
    snprintf(dir, sizeof(dir), "%s/checkpoints", k->root);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct arena a;
        struct buf b;
        if (!str_ends(str_c(e->d_name), STR(".json"))) {
            continue;
        }
        arena_init(&a, KUBELET_MAX_POD_ARENA);
        buf_init(&b, KUBELET_MAX_POD_ARENA);
        snprintf(path, sizeof(path), "%.3000s/%s", dir, e->d_name);
        struct core_v1_pod *o = arena_new(&a, struct core_v1_pod);
        if (o && fs_read(path, KUBELET_MAX_POD_ARENA, &b, &err) && api_decode_json(&a, &core_v1_pod_type, buf_str(&b), NULL, o, &err)) {
            pods_set(k, o, POD_FROM_DISK);
        } else {
            log_warning("%s: %s", path, err.msg);
        }
        buf_deinit(&b);
        arena_deinit(&a);
    }
    if (d) {
        closedir(d);
    }
}

static void sweep_folder(struct kubelet *k, const char *name)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/%s", k->root, name);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct str uid = str_c(e->d_name);
        if (str_ends(uid, STR(".json"))) {
            uid.len -= 5;
        }
        if (uid.len && uid.ptr[0] != '.' && uid.len < 90 && !pods_find(k, uid)) {
            pods_ghost(k, uid, STR("unknown"), STR("unknown"));
        }
    }
    if (d) {
        closedir(d);
    }
}

void checkpoint_sweep(struct kubelet *k)
{
    sweep_folder(k, "pods");
    sweep_folder(k, "checkpoints");
}
