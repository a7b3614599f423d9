#include "base/time-floor.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/timex.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

static _Atomic int64_t floor_s = TIME_FLOOR_SOURCE_S;
static _Atomic int64_t test_offset_s;
static char kept_path[PATH_MAX];
static int64_t kept_s; /* what the file says */
static _Atomic int synchronised = -1; /* for tests: 0 or 1 instead of what the kernel says */

static int64_t wall_s(void)
{
    return clock_real_s() + atomic_load(&test_offset_s);
}

/* Does the kernel know from a time server that the clock is right? */
static bool clock_is_synchronised(void)
{
    struct timex t = { .modes = 0 };
    int told = atomic_load(&synchronised);
    if (told >= 0) {
        return told != 0;
    }
    int state = adjtimex(&t);
    return state >= 0 && state != TIME_ERROR && !(t.status & STA_UNSYNC);
}

int64_t time_floor_get(void)
{
    return atomic_load(&floor_s);
}

int64_t time_floor_now_s(void)
{
    int64_t wall = wall_s(), least = time_floor_get();
    return wall > least ? wall : least;
}

bool time_floor_clock_is_unset(void)
{
    return wall_s() < time_floor_get();
}

void time_floor_raise(int64_t s)
{
    int64_t old = atomic_load(&floor_s);
    if (s <= old || s > TIME_FLOOR_MAX_S || (s > wall_s() && clock_is_synchronised())) {
        return;
    }
    while (s > old && !atomic_compare_exchange_weak(&floor_s, &old, s)) {
    }
}

void time_floor_open(const char *path)
{
    CLEANUP(buf_deinit) struct buf b;
    int64_t s = 0;
    uint32_t ns;
    buf_init(&b, 256);
    if (!str_to_cstr(str_c(path), kept_path, sizeof(kept_path))) {
        kept_path[0] = '\0';
        return;
    }
    kept_s = 0;
    if (!fs_read(path, 200, &b, NULL)) {
        return;
    }
    if (!clock_parse_rfc3339(str_trim(buf_str(&b)), &s, &ns) || s > TIME_FLOOR_MAX_S) {
        log_warning("%s holds no date, and is not used", path);
        return;
    }
    kept_s = s;
    time_floor_raise(s);
    if (time_floor_clock_is_unset()) {
        char text[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339(time_floor_get(), 0, 0, text);
        log_warning("the clock is not set: it is before %s, which certainly is over; certificates are looked at as of then", text);
    }
}

void time_floor_keep(void)
{
    struct err err;
    char text[CLOCK_RFC3339_SIZE + 1];
    int64_t s = wall_s();
    if (!kept_path[0] || s < kept_s + TIME_FLOOR_STEP_S || s > TIME_FLOOR_MAX_S || !clock_is_synchronised()) {
        return;
    }
    time_floor_raise(s);
    size_t n = clock_format_rfc3339(s, 0, 0, text);
    text[n++] = '\n';
    if (fs_write_atomic(kept_path, str_n(text, n), 0644, &err)) {
        kept_s = s;
    } else {
        log_warning("the time floor cannot be written down: %s", err.msg);
    }
}

void time_floor_test_synchronised(int answer)
{
    atomic_store(&synchronised, answer);
}

void time_floor_test(int64_t offset_s)
{
    atomic_store(&test_offset_s, offset_s);
    atomic_store(&floor_s, TIME_FLOOR_SOURCE_S);
    kept_path[0] = '\0';
    kept_s = 0;
}
