#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rand.h"

void fs_closep(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

bool fs_read(const char *path, size_t max, struct buf *b, struct err *err)
{
    CLEANUP(fs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int e = errno;
        err_set_errno(err, e, "cannot open %s", path);
        if (err && e == ENOENT) {
            err->code = ERR_NOT_FOUND;
        }
        return false;
    }
    size_t got = 0;
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return err_set_errno(err, errno, "cannot read %s", path);
        }
        if (n == 0) {
            return true;
        }
        got += (size_t)n;
        if (got > max) {
            return err_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max);
        }
        buf_append_bytes(b, chunk, (size_t)n);
        if (buf_failed(b)) {
            return err_set(err, ERR_NO_MEMORY, "no memory for %s", path);
        }
    }
}

static bool write_all(int fd, struct str s)
{
    while (s.len) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        s.ptr += n;
        s.len -= (size_t)n;
    }
    return true;
}

bool fs_write_atomic(const char *path, struct str content, mode_t mode, struct err *err)
{
    char tmp[PATH_MAX], suffix[9], dir[PATH_MAX];
    rand_suffix(suffix, 8);
    if (snprintf(tmp, sizeof(tmp), "%s.%s", path, suffix) >= (int)sizeof(tmp)) {
        return err_set(err, ERR_BAD_REQUEST, "path is too long: %s", path);
    }
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (!slash) {
        snprintf(dir, sizeof(dir), ".");
    } else {
        slash[slash == dir ? 1 : 0] = '\0';
    }
    CLEANUP(fs_closep) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot create %s", tmp);
    }
    if (fchmod(fd, mode) < 0 || !write_all(fd, content) || fsync(fd) < 0 || rename(tmp, path) < 0) {
        err_set_errno(err, errno, "cannot write %s", path);
        (void)unlink(tmp);
        return false;
    }
    CLEANUP(fs_closep) int dfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dfd < 0 || fsync(dfd) < 0) {
        return err_set_errno(err, errno, "cannot sync folder %s", dir);
    }
    return true;
}

bool fs_mkdirs(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof(part)) {
        return err_set(err, ERR_BAD_REQUEST, "path is too long: %s", path);
    }
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST) {
            return err_set_errno(err, errno, "cannot make folder %s", part);
        }
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        return err_set(err, ERR_IO, "%s is not a folder", path);
    }
    return true;
}

static int remove_at(int dirfd, const char *name, dev_t dev)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISDIR(st.st_mode)) {
        return unlinkat(dirfd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
    }
    if (st.st_dev != dev) {
        return -EXDEV;
    }
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    DIR *d = fdopendir(fd);
    if (!d) {
        int e = errno;
        close(fd);
        return -e;
    }
    int r = 0;
    struct dirent *e;
    while (r == 0 && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            r = remove_at(fd, e->d_name, dev);
        }
    }
    closedir(d);
    if (r < 0) {
        return r;
    }
    return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

bool fs_remove_tree(const char *path, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? true : err_set_errno(err, errno, "cannot look at %s", path);
    }
    int r = remove_at(AT_FDCWD, path, st.st_dev);
    return r < 0 ? err_set_errno(err, -r, "cannot remove %s", path) : true;
}
