#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000u;
}

void clock_real(int64_t *ret_sec, uint32_t *ret_nsec)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    *ret_sec = t.tv_sec;
    *ret_nsec = (uint32_t)t.tv_nsec;
}

int64_t clock_real_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

size_t clock_format_rfc3339(int64_t sec, uint32_t nsec, int digits, char dst[CLOCK_RFC3339_SIZE])
{
    struct tm tm;
    time_t t = (time_t)sec;
    gmtime_r(&t, &tm);
    int n = snprintf(dst, CLOCK_RFC3339_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (digits > 0) {
        char frac[16];
        snprintf(frac, sizeof(frac), "%09u", nsec);
        n += snprintf(dst + n, CLOCK_RFC3339_SIZE - (size_t)n, ".%.*s", digits, frac);
    }
    n += snprintf(dst + n, CLOCK_RFC3339_SIZE - (size_t)n, "Z");
    return (size_t)n;
}

static bool two_digits(struct str s, size_t at, int *ret)
{
    uint64_t v;
    if (!str_to_u64(str_sub(s, at, 2), &v) || s.len < at + 2) {
        return false;
    }
    *ret = (int)v;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

bool clock_parse_rfc3339(struct str s, int64_t *ret_sec, uint32_t *ret_nsec)
{
    uint64_t year;
    int mon, day, hour, min, sec;
    if (s.len < 20 || !str_to_u64(str_sub(s, 0, 4), &year) || s.ptr[4] != '-' || !two_digits(s, 5, &mon) ||
        s.ptr[7] != '-' || !two_digits(s, 8, &day) || s.ptr[10] != 'T' || !two_digits(s, 11, &hour) ||
        s.ptr[13] != ':' || !two_digits(s, 14, &min) || s.ptr[16] != ':' || !two_digits(s, 17, &sec)) {
        return false;
    }
    if (mon < 1 || mon > 12 || day < 1 || day > days_in_month((int)year, mon) || hour > 23 || min > 59 || sec > 59) {
        return false;
    }
    size_t at = 19;
    uint32_t nsec = 0;
    if (s.ptr[at] == '.') {
        uint32_t scale = 100000000;
        size_t from = ++at;
        while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9') {
            nsec += (uint32_t)(s.ptr[at] - '0') * scale;
            scale /= 10;
            at++;
        }
        if (at == from) {
            return false;
        }
    }
    int64_t offset = 0;
    struct str zone = str_sub(s, at, SIZE_MAX);
    if (!str_eq(zone, STR("Z"))) {
        int oh, om;
        if (zone.len != 6 || (zone.ptr[0] != '+' && zone.ptr[0] != '-') || !two_digits(zone, 1, &oh) ||
            zone.ptr[3] != ':' || !two_digits(zone, 4, &om) || oh > 23 || om > 59) {
            return false;
        }
        offset = (int64_t)(oh * 3600 + om * 60) * (zone.ptr[0] == '-' ? -1 : 1);
    }
    struct tm tm = { .tm_year = (int)year - 1900, .tm_mon = mon - 1, .tm_mday = day, .tm_hour = hour, .tm_min = min,
                     .tm_sec = sec };
    *ret_sec = (int64_t)timegm(&tm) - offset;
    *ret_nsec = nsec;
    return true;
}
