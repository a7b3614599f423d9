#include "cluster/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

bool files_copy(const char *from, const char *to, mode_t mode, uid_t owner, struct err *err)
{
    struct stat a, b;
    char fresh[PATH_MAX];
    CLEANUP(fs_closep) int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat(in, &a) < 0) {
        return err_set_errno(err, errno, "cannot read %s", from);
    }
    if (stat(to, &b) == 0 && a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
        a.st_mtim.tv_nsec == b.st_mtim.tv_nsec) {
        return true;
    }
    path_of(fresh, "%s.new", to);
    (void)unlink(fresh);
    CLEANUP(fs_closep) int out = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out < 0) {
        return err_set_errno(err, errno, "cannot write %s", fresh);
    }
    for (off_t left = a.st_size; left > 0;) {
        ssize_t n = sendfile(out, in, NULL, (size_t)left);
        if (n <= 0) {
            err_set_errno(err, n < 0 ? errno : EIO, "cannot copy %s to %s", from, to);
            (void)unlink(fresh);
            return false;
        }
        left -= n;
    }
    const struct timespec times[2] = { a.st_mtim, a.st_mtim };
    /* Its owner's from the moment that it is there: whoever waits for it reads it at once. */
    if (fchown(out, owner, owner) < 0 || futimens(out, times) < 0 || rename(fresh, to) < 0) {
        return err_set_errno(err, errno, "cannot write %s", to);
    }
    return true;
}

bool files_hand_over(const char *path, uid_t uid, struct err *err)
{
    struct stat st;
    return (stat(path, &st) == 0 && st.st_uid == uid && st.st_gid == uid) || chown(path, uid, uid) == 0 ||
           err_set_errno(err, errno, "cannot hand %s over", path);
}

bool files_own_executable(char dst[PATH_MAX], struct err *err)
{
    ssize_t n = readlink("/proc/self/exe", dst, PATH_MAX - 1);
    if (n < 0) {
        return err_set_errno(err, errno, "cannot find this executable");
    }
    dst[n] = '\0';
    return true;
}
