#include "base/clock.h"

#include <time.h>

#include "base/test.h"

TEST(times_are_written_and_read_as_the_c_library_does)
{
    /* Every 13 days and some seconds from year 1 to 9999. */
    for (int64_t t = -62135596800; t < 253402300799; t += 1123457) {
        char text[CLOCK_RFC3339_SIZE], want[80];
        struct tm tm;
        time_t tt = (time_t)t;
        int64_t sec;
        uint32_t nsec;
        size_t n = clock_format_rfc3339(t, 123456789, t & 1 ? 6 : 0, text);

        gmtime_r(&tt, &tm);
        snprintf(want, sizeof(want), "%04d-%02d-%02dT%02d:%02d:%02d%sZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                 tm.tm_min, tm.tm_sec, t & 1 ? ".123456" : "");
        CHECK_STR_C(str_n(text, n), want);
        CHECK(clock_parse_rfc3339(str_n(text, n), &sec, &nsec));
        CHECK_INT(sec, t);
        CHECK_INT(nsec, t & 1 ? 123456000 : 0);
    }
}

TEST(years_beyond_four_digits_are_cut)
{
    char text[CLOCK_RFC3339_SIZE];

    CHECK_STR_C(str_n(text, clock_format_rfc3339(INT64_MAX, 0, 0, text)), "9999-12-31T23:59:59Z");
    CHECK_STR_C(str_n(text, clock_format_rfc3339(INT64_MIN, 0, 0, text)), "0000-01-01T00:00:00Z");
}

TEST(offsets_are_taken_off)
{
    int64_t sec;
    uint32_t nsec;

    CHECK(clock_parse_rfc3339(STR("1970-01-01T01:00:00.5+01:00"), &sec, &nsec));
    CHECK(sec == 0 && nsec == 500000000);
    CHECK(!clock_parse_rfc3339(STR("1970-02-29T01:00:00Z"), &sec, &nsec));
    CHECK(clock_parse_rfc3339(STR("2000-02-29T00:00:00Z"), &sec, &nsec));
}
