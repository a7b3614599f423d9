#include "lossy.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };
enum fate { ALL_LOST, SOME_LOST, LAST_TORN, FATES };

static bool write_all(int fd, const char *p, size_t n, off_t at)
{
    return n == 0 || pwrite(fd, p, n, at) == (ssize_t)n;
}

/* Undoes everything that was not synced, and makes some of it again. */
static bool crash_file(int fd, const char *notes, size_t size, uint32_t (*pick)(uint32_t), struct lossy_loss *ret)
{
    size_t *at = NULL, n = 0, capacity = 0;
    for (size_t pos = 0; pos + sizeof(struct lossy_note) <= size;) {
        struct lossy_note h;
        memcpy(&h, notes + pos, sizeof(h));
        if (pos + sizeof(h) + h.n_old + h.n_new > size) {
            break; /* killed while it was being noted: the write was not made */
        }
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            at = reallocarray(at, capacity, sizeof(*at));
        }
        at[n++] = pos;
        pos += sizeof(h) + h.n_old + h.n_new;
    }
    bool ok = true;
    struct lossy_note h;
    for (size_t i = n; i > 0; i--) {
        memcpy(&h, notes + at[i - 1], sizeof(h));
        ok &= write_all(fd, notes + at[i - 1] + sizeof(h), h.n_old, h.at) && ftruncate(fd, h.size_before) == 0;
    }
    enum fate fate = (enum fate)pick(FATES);
    uint32_t of_ten = pick(11);
    for (size_t i = 0; i < n; i++) {
        memcpy(&h, notes + at[i], sizeof(h));
        const char *bytes = notes + at[i] + sizeof(h) + h.n_old;
        ret->writes++;
        if (fate == ALL_LOST || (fate == SOME_LOST && pick(10) >= of_ten)) {
            ret->lost++;
            continue;
        }
        if (h.kind == 1) {
            ok &= ftruncate(fd, h.at) == 0;
        } else if ((fate == LAST_TORN && i + 1 == n) || (fate == SOME_LOST && pick(10) == 0)) {
            ret->torn++;
            for (uint32_t s = 0; s < h.n_new; s += SECTOR) {
                if (pick(2)) {
                    ok &= write_all(fd, bytes + s, h.n_new - s < SECTOR ? h.n_new - s : SECTOR, h.at + s);
                }
            }
        } else {
            ok &= write_all(fd, bytes, h.n_new, h.at);
        }
    }
    free(at);
    return ok;
}

bool lossy_crash(const char *folder, uint32_t (*pick)(uint32_t below), struct lossy_loss *ret)
{
    const char *data = getenv(LOSSY_DATA);
    DIR *d = opendir(folder);
    struct dirent *e;
    bool ok = d && data;
    *ret = (struct lossy_loss){ 0 };
    while (ok && (e = readdir(d))) {
        char path[PATH_MAX], file[PATH_MAX];
        struct stat st;
        if (strncmp(e->d_name, "notes-", 6) != 0 || snprintf(path, sizeof(path), "%s/%s", folder, e->d_name) >= (int)sizeof(path) ||
            snprintf(file, sizeof(file), "%s/%s", data, e->d_name + 6) >= (int)sizeof(file)) {
            continue;
        }
        int notes = open(path, O_RDWR | O_CLOEXEC), fd = open(file, O_RDWR | O_CLOEXEC);
        if (notes >= 0 && fd >= 0 && fstat(notes, &st) == 0 && st.st_size > 0) {
            char *bytes = malloc((size_t)st.st_size);
            ok = bytes && pread(notes, bytes, (size_t)st.st_size, 0) == st.st_size && crash_file(fd, bytes, (size_t)st.st_size, pick, ret) &&
                 ftruncate(notes, 0) == 0;
            free(bytes);
        }
        if (notes >= 0) {
            close(notes);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    if (d) {
        closedir(d);
    }
    return ok;
}
