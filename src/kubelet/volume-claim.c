/*
 * Volumes by claim: the claim says which PersistentVolume, that where the data is: a hostPath, or a local folder. The pod's folder
 * gets a link to it, which is what containers are given from then on, also by a kubelet that cannot ask the apiserver.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/volume-match.h"
#include "base/fs.h"
#include "kubelet/disk-use.h"
#include "kubelet/limits.h"
#include "kubelet/volume.h"

static bool claim_matches(const struct core_v1_volume_source *s)
{
    return s->persistent_volume_claim != NULL;
}

static const volume_claim_t *claim_of(const struct volume *v)
{
    return objects_claim(v->pod->k->objects, str_c(v->pod->ns), v->spec->volume_source.persistent_volume_claim->claim_name);
}

/* The claim; once that is here, its volume. */
static size_t claim_needs(const struct volume *v, struct object_need *needs, size_t max)
{
    const volume_claim_t *c = claim_of(v);
    size_t n = 0;
    if (n < max) {
        needs[n++] = (struct object_need){ .kind = OBJECT_CLAIM, .name = v->spec->volume_source.persistent_volume_claim->claim_name };
    }
    if (n < max && c && c->spec.volume_name.len) {
        needs[n++] = (struct object_need){ .kind = OBJECT_VOLUME, .name = c->spec.volume_name };
    }
    return n;
}

static bool claim_path(const struct volume *v, char dst[PATH_MAX])
{
    ssize_t n = readlink(v->dir, dst, PATH_MAX - 1);
    dst[MAX(n, (ssize_t)0)] = '\0';
    return n > 0;
}

/* ---- fsGroup ---- */

struct group_walk {
    gid_t gid;
    size_t left;
    dev_t device;
};

static int set_group(struct group_walk *w, int fd, const struct stat *st)
{
    char path[64];
    if (w->left == 0) {
        return E2BIG;
    }
    w->left--;
    if (fchownat(fd, "", (uid_t)-1, w->gid, AT_EMPTY_PATH) < 0) {
        return errno;
    }
    if (S_ISLNK(st->st_mode)) {
        return 0;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* the file itself: chmod() of an O_PATH descriptor */
    return chmod(path, (st->st_mode & 07777) | 0660 | (S_ISDIR(st->st_mode) ? 02110 : 0)) < 0 ? errno : 0;
}

static int set_groups_at(struct group_walk *w, int dir, const char *name, unsigned depth);

/* Takes the descriptor. */
static int set_groups_in(struct group_walk *w, int fd, unsigned depth)
{
    DIR *d = fdopendir(fd);
    int result = d ? 0 : errno;
    if (!d) {
        close(fd);
    }
    for (const struct dirent *e; d && result == 0 && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            result = set_groups_at(w, dirfd(d), e->d_name, depth + 1);
        }
    }
    if (d) {
        closedir(d);
    }
    return result;
}

/* The folder or file and all below it, but no other file system. By descriptors, because containers that share the volume may put links
 * to the host's files into the way meanwhile. 0 or an errno. */
static int set_groups_at(struct group_walk *w, int dir, const char *name, unsigned depth)
{
    struct stat st;
    CLEANUP(fs_closep) int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? 0 : errno;
    }
    if (fstat(fd, &st) < 0) {
        return errno;
    }
    w->device = depth ? w->device : st.st_dev;
    if (st.st_dev != w->device) {
        return 0;
    }
    int result = set_group(w, fd, &st);
    if (result || !S_ISDIR(st.st_mode)) {
        return result;
    }
    int below = depth < DISK_USE_DEPTH ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (below < 0) {
        return depth < DISK_USE_DEPTH ? errno : ELOOP;
    }
    fs_closep(&fd);
    return set_groups_in(w, below, depth);
}

/* A local volume belongs to the pod's fsGroup, its files too, unless fsGroupChangePolicy is content with the folder. */
static bool set_groups(const struct volume *v, const char *path, struct err *err)
{
    const struct core_v1_pod_security_context *s = v->pod->obj->spec.security_context;
    int64_t gid = pod_fs_group(v->pod);
    struct stat st;
    if (gid < 0 || v->spec->volume_source.persistent_volume_claim->read_only) {
        return true;
    }
    if (stat(path, &st) < 0) {
        return err_set_errno(err, errno, "cannot look at %s", path);
    }
    bool fits = st.st_gid == (gid_t)gid && (st.st_mode & 02770) == 02770;
    if (fits && str_eq_c(s->fs_group_change_policy, "OnRootMismatch")) {
        return true;
    }
    struct group_walk w = { .gid = (gid_t)gid, .left = KUBELET_FS_GROUP_FILES };
    char real[PATH_MAX];
    int result = realpath(path, real) ? set_groups_at(&w, AT_FDCWD, real, 0) : errno; /* the volume's own path may go through links */
    if (result == E2BIG) {
        return err_set(err, ERR_INVALID, "%s has more than %d files: their group is not set; fsGroupChangePolicy OnRootMismatch leaves them", path,
                       KUBELET_FS_GROUP_FILES);
    }
    return result == 0 || err_set_errno(err, result, "cannot set the group of %s", path);
}

/* ---- where the data is ---- */

static bool find(const struct volume *v, const volume_t **ret, struct err *err)
{
    struct str name = v->spec->volume_source.persistent_volume_claim->claim_name;
    const volume_claim_t *c = claim_of(v);
    if (!c) {
        return err_set(err, ERR_NOT_FOUND, "persistentvolumeclaim \"%.*s\" not found", STR_ARG(name));
    }
    if (!str_eq_c(c->status.phase, "Bound") || !c->spec.volume_name.len) {
        return err_set(err, ERR_INVALID, "PVC %.*s is not bound", STR_ARG(name));
    }
    if (c->metadata.deletion_timestamp.set && access(v->dir, F_OK) < 0) {
        return err_set(err, ERR_INVALID, "PVC %.*s is being deleted", STR_ARG(name));
    }
    const volume_t *pv = objects_volume(v->pod->k->objects, c->spec.volume_name);
    if (!pv) {
        return err_set(err, ERR_NOT_FOUND, "persistentvolume \"%.*s\" not found", STR_ARG(c->spec.volume_name));
    }
    if (!pv->spec.claim_ref || !str_eq(pv->spec.claim_ref->uid, c->metadata.uid)) {
        return err_set(err, ERR_INVALID, "PV %.*s is bound to another claim than %.*s", STR_ARG(pv->metadata.name), STR_ARG(name));
    }
    if (str_eq_c(c->spec.volume_mode, "Block")) {
        return err_set(err, ERR_INVALID, "PV %.*s is a block device: this kubelet mounts file systems alone", STR_ARG(pv->metadata.name));
    }
    *ret = pv;
    return true;
}

static bool local_setup(struct volume *v, const volume_t *pv, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    if (!str_to_cstr(pv->spec.persistent_volume_source.local->path, path, sizeof(path))) {
        return err_set(err, ERR_INVALID, "the path of PV %.*s is too long", STR_ARG(pv->metadata.name));
    }
    if (stat(path, &st) < 0) {
        return err_set_errno(err, errno, "the local volume %s", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return err_set(err, ERR_INVALID, "the local volume %s is not a folder: this kubelet makes no file systems on devices", path);
    }
    return set_groups(v, path, err);
}

/* A link that is there is replaced in one step: a container may start meanwhile. */
static bool link_to(const struct volume *v, struct str target, struct err *err)
{
    char path[PATH_MAX], have[PATH_MAX], up[PATH_MAX], fresh[PATH_MAX];
    if (!str_to_cstr(target, path, sizeof(path))) {
        return err_set(err, ERR_INVALID, "the path of volume \"%.*s\" is too long", STR_ARG(v->spec->name));
    }
    if (claim_path(v, have) && strcmp(have, path) == 0) {
        return true;
    }
    snprintf(up, sizeof(up), "%s", v->dir);
    char *slash = strrchr(up, '/');
    *slash = '\0';
    snprintf(fresh, sizeof(fresh), "%.4000s.new", v->dir);
    if (!fs_mkdirs(up, 0750, err)) {
        return false;
    }
    if ((unlink(fresh) < 0 && errno != ENOENT) || symlink(path, fresh) < 0 || rename(fresh, v->dir) < 0) {
        return err_set_errno(err, errno, "cannot make %s", v->dir);
    }
    return true;
}

static bool claim_setup(struct volume *v, struct err *err)
{
    const volume_t *pv;
    if (!find(v, &pv, err)) {
        return false;
    }
    const struct core_v1_persistent_volume_source *s = &pv->spec.persistent_volume_source;
    if (s->local) {
        return local_setup(v, pv, err) && link_to(v, s->local->path, err);
    }
    if (s->host_path) {
        return host_path_prepare(s->host_path, v->spec->name, err) && link_to(v, s->host_path->path, err);
    }
    return err_set(err, ERR_INVALID, "PV %.*s is of a kind that this kubelet does not have; it has hostPath and local", STR_ARG(pv->metadata.name));
}

const struct volume_ops volume_claim = { .plugin = "kubernetes.io~claim", .matches = claim_matches, .needs = claim_needs, .setup = claim_setup,
                                         .path = claim_path };
