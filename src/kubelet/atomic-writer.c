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

/* The API limits objects to 1.5 MB. */
#define MAX_FILE (8u << 20)

void volume_files_add(struct volume_files *f, struct str path, struct str data, uint32_t mode)
{
    volume_files_add_owned(f, path, data, mode, -1);
}

void volume_files_add_owned(struct volume_files *f, struct str path, struct str data, uint32_t mode, int64_t owner)
{
    for (size_t i = 0; i < f->n; i++) {
        if (str_eq(f->items[i].path, path)) {
            f->items[i] = (struct volume_file){ path, data, mode, owner };
            return;
        }
    }
    if (f->n == f->capacity) {
        size_t capacity = f->capacity ? f->capacity * 2 : 16;
        struct volume_file *grown = arena_grow_n(f->a, f->items, f->n, capacity, sizeof(*grown));
        if (!grown) {
            f->failed = true;
            return;
        }
        f->items = grown;
        f->capacity = capacity;
    }
    f->items[f->n++] = (struct volume_file){ path, data, mode, owner };
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

/* The mode as it is written: the pod's group reads along. */
static uint32_t mode_of(const struct volume_file *f, int64_t gid)
{
    return (f->mode | (gid >= 0 ? 0440u : 0u)) & 0777;
}

/* How many files are below the folder; stops counting past 'max'. Takes the fd. */
static size_t count_files(int fd, size_t max)
{
    size_t n = 0;
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    if (!d) {
        fs_closep(&fd);
        return 0;
    }
    while (n <= max && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        n += sub >= 0 ? count_files(sub, max - n) : 1;
    }
    closedir(d);
    return n;
}

static bool same_content(const char *dir, const struct volume_file *files, size_t n, int64_t gid)
{
    char path[PATH_MAX];
    struct stat st;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, MAX_FILE);
    snprintf(path, sizeof(path), "%.3000s/..data/", dir);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || count_files(fd, n) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        buf_clear(&b);
        snprintf(path, sizeof(path), "%.2900s/..data/%.*s", dir, STR_ARG(files[i].path));
        if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 0777) != mode_of(&files[i], gid) ||
            (size_t)st.st_size != files[i].data.len || !fs_read(path, MAX_FILE, &b, NULL) || !str_eq(buf_str(&b), files[i].data)) {
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
    if ((gid >= 0 || f->owner >= 0) && fchown(fd, (uid_t)f->owner, (gid_t)gid) < 0) { /* -1 leaves it (chown(2)) */
        return err_set_errno(err, errno, "cannot set the owner of %s", path);
    }
    return fchmod(fd, mode_of(f, gid)) == 0 || err_set_errno(err, errno, "cannot set the mode of %s", path);
}

static bool is_wanted(const char *name, const struct volume_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str head, tail;
        str_cut(files[i].path, '/', &head, &tail);
        if (str_eq_c(head, name)) {
            return true;
        }
    }
    return false;
}

/* The visible links, one for each first part of a path. Links of names that went away are removed, and folders of times that
 * are not the present one: an earlier kubelet may have ended between two steps. */
static bool link_names(const char *dir, const struct volume_file *files, size_t n, struct err *err)
{
    char path[PATH_MAX], target[PATH_MAX], now[PATH_MAX];
    for (size_t i = 0; i < n; i++) {
        struct str head, tail;
        str_cut(files[i].path, '/', &head, &tail);
        snprintf(path, sizeof(path), "%.3000s/%.*s", dir, STR_ARG(head));
        snprintf(target, sizeof(target), "..data/%.*s", STR_ARG(head));
        if (symlink(target, path) < 0 && errno != EEXIST) {
            return err_set_errno(err, errno, "cannot link %s", path);
        }
    }
    snprintf(path, sizeof(path), "%.3000s/..data", dir);
    ssize_t len = readlink(path, now, sizeof(now) - 1);
    now[MAX(len, (ssize_t)0)] = '\0';
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, "..data") == 0 || strcmp(e->d_name, now) == 0) {
            continue;
        }
        if (strncmp(e->d_name, "..", 2) == 0) {
            snprintf(path, sizeof(path), "%.3000s/%s", dir, e->d_name);
            (void)!fs_remove_tree(path, NULL);
        } else if (!is_wanted(e->d_name, files, n)) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d) {
        closedir(d);
    }
    return true;
}

/* A folder whose name is the present time, holding the files; removed again when one cannot be written. */
static bool write_folder(const char *dir, const char *stamp, const struct volume_file *files, size_t n, int64_t gid, struct err *err)
{
    char fresh[PATH_MAX];
    snprintf(fresh, sizeof(fresh), "%.3000s/%s", dir, stamp);
    bool ok = fs_mkdirs(fresh, 0755, err);
    for (size_t i = 0; ok && i < n; i++) {
        ok = write_one(fresh, &files[i], gid, err);
    }
    if (!ok) {
        (void)!fs_remove_tree(fresh, NULL);
    }
    return ok;
}

bool atomic_write(const char *dir, const struct volume_file *files, size_t n, int64_t gid, struct err *err)
{
    char stamp[64], suffix[9], link[PATH_MAX], temp[PATH_MAX];
    struct tm tm;
    time_t now = time(NULL);
    for (size_t i = 0; i < n; i++) {
        if (!path_is_fine(files[i].path)) {
            return err_set(err, ERR_INVALID, "path \"%.*s\" is not fit for a file of a volume", STR_ARG(files[i].path));
        }
    }
    if (same_content(dir, files, n, gid)) {
        return link_names(dir, files, n, err);
    }
    gmtime_r(&now, &tm);
    rand_suffix(suffix, 8);
    size_t len = strftime(stamp, sizeof(stamp), "..%Y_%m_%d_%H_%M_%S.", &tm);
    snprintf(stamp + len, sizeof(stamp) - len, "%s", suffix);
    if (!write_folder(dir, stamp, files, n, gid, err)) {
        return false;
    }
    snprintf(link, sizeof(link), "%.3000s/..data", dir);
    snprintf(temp, sizeof(temp), "%.3000s/..data_tmp", dir);
    (void)unlink(temp);
    if (symlink(stamp, temp) < 0 || rename(temp, link) < 0) {
        return err_set_errno(err, errno, "cannot switch %s", link);
    }
    return link_names(dir, files, n, err);
}
