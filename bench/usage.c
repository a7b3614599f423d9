#include "bench/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"

static const volatile struct usage_counts *counts;

bool usage_open_counts(const char *path, struct err *err)
{
    CLEANUP(fs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "%s", path);
    }
    void *p = mmap(NULL, sizeof(struct usage_counts), PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return err_set_errno(err, errno, "%s cannot be mapped", path);
    }
    counts = p;
    return true;
}

bool usage_has_counts(void)
{
    return counts != NULL;
}

static bool read_proc(pid_t pid, const char *file, struct buf *b, struct err *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    buf_clear(b);
    return fs_read(path, 65536, b, err);
}

/* Fields 14 and 15 of stat, counted behind the command's closing bracket, which is behind field 2. */
static bool cpu_of(struct str stat, double *ret)
{
    ptrdiff_t at = str_rfind_char(stat, ')');
    if (at < 0) {
        return false;
    }
    struct str rest = str_sub(stat, (size_t)at + 2, SIZE_MAX), piece;
    uint64_t user = 0, kernel = 0;
    for (int field = 3; field <= 15 && str_split(&rest, ' ', &piece); field++) {
        if ((field == 14 && !str_to_u64(piece, &user)) || (field == 15 && !str_to_u64(piece, &kernel))) {
            return false;
        }
    }
    *ret = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

static bool pss_of(struct str rollup, double *ret)
{
    struct str line;
    while (str_split(&rollup, '\n', &line)) {
        if (str_starts(line, STR("Pss:"))) {
            struct str number = str_trim(str_sub(line, 4, SIZE_MAX)), unit;
            uint64_t kb;
            if (!str_cut(number, ' ', &number, &unit) || !str_to_u64(number, &kb)) {
                return false;
            }
            *ret = (double)kb * 1024 / 1e6;
            return true;
        }
    }
    return false;
}

bool usage_read(const struct usage_process *processes, size_t n, struct usage *ret, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 65536);
    if (counts) {
        ret->counts = *counts;
    }
    for (size_t i = 0; i < n; i++) {
        const struct usage_process *p = &processes[i];
        if (!read_proc(p->pid, "stat", &b, err)) {
            return false;
        }
        if (!cpu_of(buf_str(&b), &ret->cpu_s[i])) {
            return err_set(err, ERR_IO, "/proc/%d/stat cannot be understood", (int)p->pid);
        }
        if (!read_proc(p->pid, "smaps_rollup", &b, err)) {
            return false;
        }
        if (!pss_of(buf_str(&b), &ret->pss_mb[i])) {
            return err_set(err, ERR_IO, "/proc/%d/smaps_rollup has no Pss", (int)p->pid);
        }
    }
    return true;
}

void usage_most(struct usage *most, const struct usage *u, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (u->pss_mb[i] > most->pss_mb[i]) {
            most->pss_mb[i] = u->pss_mb[i];
        }
    }
}
