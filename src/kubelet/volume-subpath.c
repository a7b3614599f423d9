/*
 * subPath. The volume belongs to containers, which may change it at any moment, so nothing is looked at by path twice: each step
 * works on descriptors, and the result is bound by descriptor (the history: CVE-2017-1002101, CVE-2021-25741).
 */
#include "kubelet/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "kubelet/mounts.h"

/* Never out of 'root', be it by "..", by an absolute link or by one of /proc's (openat2(2)). */
static int open_beneath(int root, const char *path, int flags)
{
    struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* Makes one folder in 'parent'. The mode is set through a descriptor: by name it could reach what a link leads to. */
static bool make_folder(int parent, const char *name, mode_t mode)
{
    if (mkdirat(parent, name, 0750) < 0) {
        return errno == EEXIST;
    }
    CLEANUP(fs_closep) int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && fchmod(fd, mode) == 0;
}

/* Makes what is missing of 'path', part by part. */
static bool make_beneath(int root, const char *path, mode_t mode)
{
    char part[PATH_MAX];
    struct str rest = str_c(path), name;
    size_t len = 0;
    CLEANUP(fs_closep) int at = open_beneath(root, ".", O_PATH | O_DIRECTORY);
    while (at >= 0 && str_split(&rest, '/', &name)) {
        char one[NAME_MAX + 1];
        if (!name.len) {
            continue;
        }
        if (!str_to_cstr(name, one, sizeof(one))) {
            errno = ENAMETOOLONG;
            return false;
        }
        len += (size_t)snprintf(part + len, sizeof(part) - len, "%s%s", len ? "/" : "", one);
        int next = open_beneath(root, part, O_PATH | O_DIRECTORY);
        if (next < 0 && errno == ENOENT && make_folder(at, one, mode)) {
            next = open_beneath(root, part, O_PATH | O_DIRECTORY);
        }
        fs_closep(&at);
        at = next;
    }
    return at >= 0;
}

static bool has_backstep(struct str path)
{
    struct str part;
    while (str_split(&path, '/', &part)) {
        if (str_eq_c(part, "..")) {
            return true;
        }
    }
    return false;
}

bool volume_subpath(const struct volume *v, const char *container, size_t index, struct str sub, char dst[PATH_MAX], struct err *err)
{
    char base[PATH_MAX], path[PATH_MAX / 2];
    struct stat st;
    if (sub.ptr[0] == '/') {
        return err_set(err, ERR_INVALID, "subPath \"%.*s\" must not be an absolute path", STR_ARG(sub));
    }
    if (has_backstep(sub)) {
        return err_set(err, ERR_INVALID, "subPath \"%.*s\" must not contain '..'", STR_ARG(sub));
    }
    if (!volume_path(v, base) || !str_to_cstr(sub, path, sizeof(path))) {
        return err_set(err, ERR_INVALID, "subPath \"%.*s\" is no path", STR_ARG(sub));
    }
    CLEANUP(fs_closep) int root = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fstat(root, &st) < 0) {
        return err_set_errno(err, errno, "cannot open the volume of subPath \"%s\"", path);
    }
    CLEANUP(fs_closep) int fd = open_beneath(root, path, O_PATH);
    if (fd < 0 && errno == ENOENT && make_beneath(root, path, st.st_mode & 03777)) {
        fd = open_beneath(root, path, O_PATH);
    }
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot open subPath \"%s\" within its volume", path);
    }
    pod_dir(v->pod, base);
    int n = snprintf(dst, PATH_MAX, "%s/volume-subpaths/%.*s/%s/%zu", base, STR_ARG(v->spec->name), container, index);
    if (n >= PATH_MAX) {
        return err_set(err, ERR_INVALID, "the path of subPath \"%s\" is too long", path);
    }
    return mounts_bind_fd(fd, dst, err);
}
