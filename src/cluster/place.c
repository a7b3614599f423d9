#include "cluster/place.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"

char *path_of(char dst[PATH_MAX], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(dst, PATH_MAX, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= PATH_MAX) {
        abort();
    }
    return dst;
}

static void place_set(struct place *p, struct str name)
{
    memcpy(p->name, name.ptr, name.len);
    p->name[name.len] = '\0';
    snprintf(p->state, sizeof(p->state), "%s/%s", PLACE_STATE_ROOT, p->name);
    snprintf(p->run, sizeof(p->run), "%s/%s", PLACE_RUN_ROOT, p->name);
}

bool place_init(struct place *p, struct str name, struct err *err)
{
    bool ok = name.len > 0 && name.len <= PLACE_NAME_MAX && name.ptr[0] != '-' && name.ptr[name.len - 1] != '-';
    for (size_t i = 0; ok && i < name.len; i++) {
        char c = name.ptr[i];
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    }
    if (!ok) {
        return err_set(err, ERR_INVALID, "\"%.*s\" is no name for a cluster: use at most %d of a-z, 0-9 and '-'",
                       STR_ARG(name), PLACE_NAME_MAX);
    }
    if (str_eq_c(name, PLACE_HOST_NAME)) {
        return err_set(err, ERR_INVALID, "the name \"%s\" is kept for 'coracle server' and 'coracle join'", PLACE_HOST_NAME);
    }
    place_set(p, name);
    return true;
}

void place_of_host(struct place *p)
{
    place_set(p, STR(PLACE_HOST_NAME));
}

bool place_find(struct place *p, struct str name, bool given, struct err *err)
{
    char path[PATH_MAX];
    place_of_host(p);
    if (given ? str_eq_c(name, PLACE_HOST_NAME)
              : access(p->state, F_OK) == 0 && access(path_of(path, "%s/%.*s", PLACE_STATE_ROOT, STR_ARG(name)), F_OK) < 0) {
        return true;
    }
    return place_init(p, name, err);
}

bool place_in_use(const struct place *p)
{
    char path[PATH_MAX];
    CLEANUP(fs_closep) int fd = open(path_of(path, "%s/lock", p->run), O_RDONLY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}
