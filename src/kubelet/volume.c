/* A pod's volumes as a whole: fetching what they show, setting them up, taking them down; and what several kinds share. */
#include "kubelet/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"

static const struct volume_ops *const kinds[] = { &volume_empty_dir, &volume_host_path, &volume_config_map,
                                                  &volume_secret,    &volume_projected, &volume_downward_api };

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

static void on_fetched(void *arg, const struct err *why)
{
    struct setup_op *op = arg;
    struct pod *p = op->p;
    struct err err = { 0 };
    bool ok = why == NULL;
    char name[256] = "";
    free(op);
    if (why) {
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
    struct object_need needs[OBJECT_NEEDS_MAX];
    size_t n = 0;
    struct setup_op *op = calloc(1, sizeof(*op));
    if (!op) {
        abort();
    }
    op->p = p;
    p->busy = true;
    p->op = op;
    p->op_cancel = cancel;
    p->op_soft = true;
    for (size_t i = 0; i < p->obj->spec.n_volumes; i++) {
        struct volume v;
        if (bind(p, &p->obj->spec.volumes[i], &v, NULL) && v.ops->needs) {
            n += v.ops->needs(&v, needs + n, ARRAY_SIZE(needs) - n);
        }
    }
    op->fetch = objects_fetch(p->k->objects, p, needs, n, p->volumes_ready ? 1000 : 5000, on_fetched, op);
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

bool volume_is_mounted(const char *dir)
{
    struct stat a, b;
    char parent[PATH_MAX];
    snprintf(parent, sizeof(parent), "%.4000s/..", dir);
    return stat(dir, &a) == 0 && stat(parent, &b) == 0 && a.st_dev != b.st_dev;
}

/* Unmounts below 'dir', deepest first, as /proc/self/mountinfo tells (proc(5)): field 5 is the mount point. */
static bool unmount_below(const char *dir, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 16u << 20);
    int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    char *at;
    ssize_t n = 1;
    while (fd >= 0 && n > 0 && (at = buf_reserve(&b, 65536))) {
        n = read(fd, at, 65536);
        buf_commit(&b, n > 0 ? (size_t)n : 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    struct str rest = buf_str(&b), line;
    char *found[256];
    size_t n_found = 0;
    while (str_split(&rest, '\n', &line)) {
        struct str field, fields = line;
        for (int i = 0; i < 5 && str_split(&fields, ' ', &field); i++) {
        }
        if (n_found < ARRAY_SIZE(found) && str_starts(field, str_c(dir)) && field.len > strlen(dir) && field.ptr[strlen(dir)] == '/') {
            found[n_found++] = strndup(field.ptr, field.len);
        }
    }
    bool ok = true;
    while (n_found) {
        char *path = found[--n_found]; /* later mounts come later in the list */
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL) {
            ok = err_set_errno(err, errno, "cannot unmount %s", path);
        }
        free(path);
    }
    return ok;
}

bool volumes_teardown(struct pod *p, struct err *err)
{
    char dir[PATH_MAX];
    pod_dir(p, dir);
    p->volumes_ready = false;
    p->volumes_checked_ms = 0;
    return unmount_below(dir, err) && fs_remove_tree(dir, err);
}

bool volume_mount_tmpfs(const char *dir, int64_t size, struct err *err)
{
    char options[64] = "mode=0777";
    if (!fs_mkdirs(dir, 0777, err)) {
        return false;
    }
    if (volume_is_mounted(dir)) {
        return true;
    }
    if (size > 0) {
        snprintf(options, sizeof(options), "mode=0777,size=%lld", (long long)size);
    }
    return mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0 || err_set_errno(err, errno, "cannot mount a tmpfs on %s", dir);
}

/* ---- subPath ---- */

static int open_beneath(int root, const char *path, int flags)
{
    struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* Makes the missing folders of the path one by one, never through a link that leads out. */
static bool make_beneath(int root, const char *path)
{
    char part[PATH_MAX];
    for (const char *q = path; q; q = strchr(q + 1, '/')) {
        const char *next = strchr(q == path ? q : q + 1, '/');
        size_t n = next ? (size_t)(next - path) : strlen(path);
        snprintf(part, sizeof(part), "%.*s", (int)n, path);
        int fd = open_beneath(root, part, O_PATH);
        if (fd >= 0) {
            close(fd);
        } else {
            char up[PATH_MAX];
            snprintf(up, sizeof(up), "%s", part);
            char *slash = strrchr(up, '/');
            int parent = slash ? (*slash = '\0', open_beneath(root, up, O_PATH | O_DIRECTORY)) : dup(root);
            int rc = parent < 0 ? -1 : mkdirat(parent, slash ? slash + 1 : up, 0750);
            if (rc == 0) {
                rc = fchmodat(parent, slash ? slash + 1 : up, 0777, 0);
            }
            if (parent >= 0) {
                close(parent);
            }
            if (rc < 0) {
                return false;
            }
        }
        if (!next) {
            break;
        }
    }
    return true;
}

bool volume_subpath(const struct volume *v, struct str sub, char dst[PATH_MAX], struct err *err)
{
    char base[PATH_MAX], path[PATH_MAX], link[64];
    while (sub.len && sub.ptr[0] == '/') {
        return err_set(err, ERR_INVALID, "subPath \"%.*s\" must not be absolute", STR_ARG(sub));
    }
    if (!volume_path(v, base) || !str_to_cstr(sub, path, sizeof(path))) {
        return err_set(err, ERR_INVALID, "subPath \"%.*s\" is no path", STR_ARG(sub));
    }
    CLEANUP(fs_closep) int root = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        return err_set_errno(err, errno, "cannot open the volume of subPath \"%s\"", path);
    }
    CLEANUP(fs_closep) int fd = open_beneath(root, path, O_PATH);
    if (fd < 0 && errno == ENOENT && make_beneath(root, path)) {
        fd = open_beneath(root, path, O_PATH);
    }
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot open subPath \"%s\" within its volume", path);
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, dst, PATH_MAX - 1);
    if (n <= 0) {
        return err_set_errno(err, errno, "cannot resolve subPath \"%s\"", path);
    }
    dst[n] = '\0';
    return true;
}

int64_t pod_fs_group(const struct pod *p)
{
    const struct core_v1_pod_security_context *s = p->obj->spec.security_context;
    return s && s->has_fs_group ? s->fs_group : -1;
}
