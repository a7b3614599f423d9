/*
 * Files that change all at once, as pods see them: DIR/..TIME/… holds the content, the link DIR/..data leads to it and is
 * replaced by rename(2), and each visible name is a link through ..data.
 */
#include "kubelet/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/rand.h"

void volume_files_add(struct volume_files *f, struct str path, struct str data, uint32_t mode)
{
    if (f->n == f->capacity) {
        size_t capacity = f->capacity ? f->capacity * 2 : 16;
        struct volume_file *grown = arena_grow_n(f->a, f->items, f->n, capacity, sizeof(*grown));
        if (!grown) {
            return;
        }
        f->items = grown;
        f->capacity = capacity;
    }
    f->items[f->n++] = (struct volume_file){ path, data, mode };
}

/* Relative, no "..", no empty parts; the writer's own names start with "..". */
static bool path_is_fine(struct str path)
{
    struct str rest = path, part;
    if (!path.len || path.len > 1024 || path.ptr[0] == '/' || str_starts(path, STR(".."))) {
        return false;
    }
    while (str_split(&rest, '/', &part)) {
        if (!part.len || str_eq_c(part, "..") || str_eq_c(part, ".")) {
            return false;
        }
    }
    return true;
}

static bool same_content(const char *dir, const struct volume_file *files, size_t n)
{
    char path[PATH_MAX];
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 8u << 20);
    snprintf(path, sizeof(path), "%.3000s/..data", dir);
    if (access(path, F_OK) < 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        buf_clear(&b);
        snprintf(path, sizeof(path), "%.2900s/..data/%.*s", dir, STR_ARG(files[i].path));
        if (!fs_read(path, 8u << 20, &b, NULL) || !str_eq(buf_str(&b), files[i].data)) {
            return false;
        }
    }
    return true;
}

static bool write_one(const char *dir, const struct volume_file *f, int64_t gid, struct err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.3000s/%.*s", dir, STR_ARG(f->path));
    char *slash = strrchr(path, '/');
    *slash = '\0';
    if (!fs_mkdirs(path, 0755, err)) {
        return false;
    }
    *slash = '/';
    CLEANUP(fs_closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot make %s", path);
    }
    for (size_t at = 0; at < f->data.len;) {
        ssize_t n = write(fd, f->data.ptr + at, f->data.len - at);
        if (n <= 0) {
            return err_set_errno(err, errno, "cannot write %s", path);
        }
        at += (size_t)n;
    }
    uint32_t mode = f->mode;
    if (gid >= 0) {
        (void)!fchown(fd, (uid_t)-1, (gid_t)gid);
        mode |= 0440;
    }
    return fchmod(fd, mode & 0777) == 0 || err_set_errno(err, errno, "cannot set the mode of %s", path);
}

/* The visible links: one for each first part of a path. Links of names that went away are removed. */
static bool link_names(const char *dir, const struct volume_file *files, size_t n, struct err *err)
{
    char path[PATH_MAX], target[PATH_MAX];
    for (size_t i = 0; i < n; i++) {
        struct str head, tail;
        str_cut(files[i].path, '/', &head, &tail);
        snprintf(path, sizeof(path), "%.3000s/%.*s", dir, STR_ARG(head));
        snprintf(target, sizeof(target), "..data/%.*s", STR_ARG(head));
        if (symlink(target, path) < 0 && errno != EEXIST) {
            return err_set_errno(err, errno, "cannot link %s", path);
        }
    }
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        bool wanted = e->d_name[0] == '.' && (e->d_name[1] == '\0' || e->d_name[1] == '.');
        for (size_t i = 0; i < n && !wanted; i++) {
            struct str head, tail;
            str_cut(files[i].path, '/', &head, &tail);
            wanted = str_eq_c(head, e->d_name);
        }
        if (!wanted) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d) {
        closedir(d);
    }
    return true;
}

bool atomic_write(const char *dir, const struct volume_file *files, size_t n, int64_t gid, struct err *err)
{
    char stamp[64], fresh[PATH_MAX], link[PATH_MAX], temp[PATH_MAX], old[PATH_MAX];
    char suffix[9];
    struct tm tm;
    time_t now = time(NULL);
    for (size_t i = 0; i < n; i++) {
        if (!path_is_fine(files[i].path)) {
            return err_set(err, ERR_INVALID, "path \"%.*s\" is not fit for a file of a volume", STR_ARG(files[i].path));
        }
    }
    if (same_content(dir, files, n)) {
        return link_names(dir, files, n, err);
    }
    gmtime_r(&now, &tm);
    rand_suffix(suffix, 8);
    size_t len = strftime(stamp, sizeof(stamp), "..%Y_%m_%d_%H_%M_%S.", &tm);
    snprintf(stamp + len, sizeof(stamp) - len, "%s", suffix);
    snprintf(fresh, sizeof(fresh), "%.3000s/%s", dir, stamp);
    snprintf(link, sizeof(link), "%.3000s/..data", dir);
    snprintf(temp, sizeof(temp), "%.3000s/..data_tmp", dir);
    if (!fs_mkdirs(fresh, 0755, err)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!write_one(fresh, &files[i], gid, err)) {
            return false;
        }
    }
    ssize_t old_len = readlink(link, old, sizeof(old) - 1);
    (void)unlink(temp);
    if (symlink(stamp, temp) < 0 || rename(temp, link) < 0) {
        return err_set_errno(err, errno, "cannot switch %s", link);
    }
    if (old_len > 0) {
        old[old_len] = '\0';
        snprintf(fresh, sizeof(fresh), "%.3000s/%.1000s", dir, old);
        (void)!fs_remove_tree(fresh, NULL);
    }
    return link_names(dir, files, n, err);
}
