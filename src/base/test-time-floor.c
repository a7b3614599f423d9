#include "base/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/time-floor.h"

TEST(a_clock_that_is_set_is_the_time)
{
    time_floor_test(0);
    CHECK(!time_floor_clock_is_unset());
    CHECK(time_floor_now_s() - clock_real_s() <= 1);
    time_floor_raise(clock_real_s() - 100);
    CHECK(!time_floor_clock_is_unset());
}

TEST(a_clock_of_1970_is_raised_to_what_is_certainly_over)
{
    time_floor_test(-clock_real_s());
    time_floor_test_synchronised(0);
    CHECK(time_floor_clock_is_unset());
    CHECK(time_floor_now_s() == TIME_FLOOR_SOURCE_S);
    time_floor_raise(TIME_FLOOR_SOURCE_S + 1000);
    time_floor_raise(TIME_FLOOR_SOURCE_S + 10); /* lower evidence changes nothing */
    CHECK(time_floor_now_s() == TIME_FLOOR_SOURCE_S + 1000);
    time_floor_raise(TIME_FLOOR_MAX_S + 1); /* no date */
    CHECK(time_floor_now_s() == TIME_FLOOR_SOURCE_S + 1000);
    time_floor_test(0);
    time_floor_test_synchronised(1);
    time_floor_raise(clock_real_s() + 86400); /* a certificate dated into the future, by mistake */
    CHECK(!time_floor_clock_is_unset());
    time_floor_test_synchronised(-1);
    time_floor_test(0);
}

TEST(the_floor_outlives_the_process_and_is_written_rarely)
{
    char dir[] = "/tmp/c-floor-XXXXXX", path[64];
    struct stat a, b;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/time-floor", dir);
    time_floor_test(0);
    time_floor_open(path);
    time_floor_test_synchronised(0);
    time_floor_keep(); /* a clock that nobody vouches for is not written down */
    CHECK(stat(path, &a) < 0);
    time_floor_test_synchronised(1);
    time_floor_keep();
    CHECK(stat(path, &a) == 0);
    time_floor_keep(); /* too early for another write */
    CHECK(stat(path, &b) == 0 && a.st_ino == b.st_ino);
    time_floor_test_synchronised(0);
    time_floor_test(-clock_real_s());
    CHECK(time_floor_now_s() == TIME_FLOOR_SOURCE_S);
    time_floor_open(path);
    CHECK(time_floor_clock_is_unset());
    CHECK(clock_real_s() - time_floor_now_s() <= 5);
    struct err err;
    CHECK(fs_write_atomic(path, STR("yesterday\n"), 0600, &err));
    time_floor_test(-clock_real_s());
    time_floor_open(path); /* not a date: not used */
    CHECK(time_floor_now_s() == TIME_FLOOR_SOURCE_S);
    time_floor_test(0);
    time_floor_test_synchronised(-1);
    unlink(path);
    rmdir(dir);
}
