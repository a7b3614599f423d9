/* Volumes that are folders: emptyDir, on disk or in memory, and hostPath. */
#include "kubelet/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/fs.h"

/* ---- emptyDir ---- */

static bool empty_dir_matches(const struct core_v1_volume_source *s)
{
    return s->empty_dir != NULL;
}

static bool empty_dir_setup(struct volume *v, struct err *err)
{
    const struct core_v1_empty_dir_volume_source *s = v->spec->volume_source.empty_dir;
    if (s->medium.len && !str_eq_c(s->medium, "Memory")) {
        return err_set(err, ERR_INVALID, "medium \"%.*s\" of emptyDir is not there", STR_ARG(s->medium));
    }
    if (s->medium.len ? !volume_mount_tmpfs(v->dir, s->size_limit.len ? quantity_value(quantity_of(s->size_limit)) : 0, err)
                      : !fs_mkdirs(v->dir, 0777, err)) {
        return false;
    }
    int64_t gid = pod_fs_group(v->pod);
    if (chmod(v->dir, gid >= 0 ? 02777 : 0777) < 0 || (gid >= 0 && chown(v->dir, (uid_t)-1, (gid_t)gid) < 0)) {
        return err_set_errno(err, errno, "cannot set the owner of %s", v->dir);
    }
    return true;
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

static bool host_path_setup(struct volume *v, struct err *err)
{
    const struct core_v1_host_path_volume_source *s = v->spec->volume_source.host_path;
    static const struct {
        const char *type;
        mode_t format;
        bool create;
    } types[] = {
        { "DirectoryOrCreate", S_IFDIR, true }, { "Directory", S_IFDIR, false },     { "FileOrCreate", S_IFREG, true },
        { "File", S_IFREG, false },             { "Socket", S_IFSOCK, false },       { "CharDevice", S_IFCHR, false },
        { "BlockDevice", S_IFBLK, false },
    };
    char path[PATH_MAX];
    struct stat st;
    if (!host_path_path(v, path)) {
        return err_set(err, ERR_INVALID, "the path of hostPath \"%.*s\" is too long", STR_ARG(v->spec->name));
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
               err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a %s", path, types[i].type);
    }
    if (s->type.len) {
        return err_set(err, ERR_INVALID, "hostPath type \"%.*s\" is not known", STR_ARG(s->type));
    }
    if (stat(path, &st) < 0 && errno == ENOENT) {
        return fs_mkdirs(path, 0755, err); /* as runtimes have always done for an unset type */
    }
    return true;
}

const struct volume_ops volume_host_path = { .plugin = "kubernetes.io~host-path", .matches = host_path_matches, .setup = host_path_setup,
                                             .path = host_path_path };
