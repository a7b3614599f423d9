/* Volumes that are folders: emptyDir, on disk or in memory, and hostPath. */
#include "kubelet/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/fs.h"
#include "kubelet/mounts.h"

/* ---- emptyDir ---- */

static bool empty_dir_matches(const struct core_v1_volume_source *s)
{
    return s->empty_dir != NULL;
}

/* What a volume in memory may take: its own limit, the limits of the containers when all have one, the node's memory. */
static int64_t memory_size(const struct volume *v)
{
    const struct core_v1_pod_spec *s = &v->pod->obj->spec;
    struct str own = v->spec->volume_source.empty_dir->size_limit;
    int64_t size = v->pod->k->memory_bytes, of_pod = 0;
    bool all = true;
    for (size_t i = 0; i < s->n_containers; i++) {
        const struct core_v1_resource_requirements *r = &s->containers[i].resources;
        all = all && resource_has(r->limits, r->n_limits, "memory");
        of_pod += all ? resource_value(r->limits, r->n_limits, "memory") : 0;
    }
    if (all && of_pod > 0 && (size <= 0 || of_pod < size)) {
        size = of_pod;
    }
    int64_t wanted = own.len ? quantity_value(quantity_of(own)) : 0;
    return wanted > 0 && (size <= 0 || wanted < size) ? wanted : size;
}

/*
 * A folder is made once: its mode and owner belong to the containers from then on (a database sets 0700 on its own). A file
 * outside of it says that it was finished.
 */
static bool empty_dir_on_disk(struct volume *v, struct err *err)
{
    char dir[PATH_MAX], ready[PATH_MAX];
    int64_t gid = pod_fs_group(v->pod);
    pod_dir(v->pod, dir);
    snprintf(ready, sizeof(ready), "%.3000s/plugins/%s/%.*s", dir, volume_empty_dir.plugin, STR_ARG(v->spec->name));
    if (!fs_mkdirs(ready, 0750, err)) {
        return false;
    }
    snprintf(ready + strlen(ready), sizeof(ready) - strlen(ready), "/ready");
    if (access(ready, F_OK) == 0 && access(v->dir, F_OK) == 0) {
        return true;
    }
    if (!fs_mkdirs(v->dir, 0777, err)) {
        return false;
    }
    if ((gid >= 0 && chown(v->dir, (uid_t)-1, (gid_t)gid) < 0) || chmod(v->dir, gid >= 0 ? 02777 : 0777) < 0) {
        return err_set_errno(err, errno, "cannot set owner and mode of %s", v->dir);
    }
    CLEANUP(fs_closep) int fd = open(ready, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    return fd >= 0 || err_set_errno(err, errno, "cannot make %s", ready);
}

static bool empty_dir_setup(struct volume *v, struct err *err)
{
    const struct core_v1_empty_dir_volume_source *s = v->spec->volume_source.empty_dir;
    if (!s->medium.len) {
        return empty_dir_on_disk(v, err);
    }
    return str_eq_c(s->medium, "Memory") ? mounts_tmpfs(v->dir, memory_size(v), pod_fs_group(v->pod), err)
                                         : err_set(err, ERR_INVALID, "unknown storage medium \"%.*s\"", STR_ARG(s->medium));
}

const struct volume_ops volume_empty_dir = { .plugin = "kubernetes.io~empty-dir", .matches = empty_dir_matches, .setup = empty_dir_setup };

/* ---- hostPath ---- */

static bool host_path_matches(const struct core_v1_volume_source *s)
{
    return s->host_path != NULL;
}

static bool host_path_path(const struct volume *v, char dst[PATH_MAX])
{
    return str_to_cstr(v->spec->volume_source.host_path->path, dst, PATH_MAX);
}

bool host_path_prepare(const struct core_v1_host_path_volume_source *s, struct str name, struct err *err)
{
    static const struct {
        const char *type, *words;
        mode_t format;
        bool create;
    } types[] = {
        { "DirectoryOrCreate", "directory", S_IFDIR, true },   { "Directory", "directory", S_IFDIR, false },
        { "FileOrCreate", "file", S_IFREG, true },             { "File", "file", S_IFREG, false },
        { "Socket", "socket file", S_IFSOCK, false },          { "CharDevice", "character device", S_IFCHR, false },
        { "BlockDevice", "block device", S_IFBLK, false },
    };
    char path[PATH_MAX];
    struct stat st;
    if (!str_to_cstr(s->path, path, sizeof(path))) {
        return err_set(err, ERR_INVALID, "the path of hostPath \"%.*s\" is too long", STR_ARG(name));
    }
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (!str_eq_c(s->type, types[i].type)) {
            continue;
        }
        bool there = stat(path, &st) == 0;
        if (!there && types[i].create) {
            if (types[i].format == S_IFDIR) {
                return fs_mkdirs(path, 0755, err);
            }
            int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
            if (fd < 0) {
                return err_set_errno(err, errno, "cannot make %s", path);
            }
            close(fd);
            return true;
        }
        return (there && (st.st_mode & S_IFMT) == types[i].format) ||
               err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a %s", path, types[i].words);
    }
    if (s->type.len) {
        return err_set(err, ERR_INVALID, "hostPath type \"%.*s\" is not known", STR_ARG(s->type));
    }
    if (stat(path, &st) < 0 && errno == ENOENT) {
        return fs_mkdirs(path, 0755, err); /* as runtimes have always done for an unset type */
    }
    return true;
}

static bool host_path_setup(struct volume *v, struct err *err)
{
    return host_path_prepare(v->spec->volume_source.host_path, v->spec->name, err);
}

const struct volume_ops volume_host_path = { .plugin = "kubernetes.io~host-path", .matches = host_path_matches, .setup = host_path_setup,
                                             .path = host_path_path };
