#include "base/clock.h"

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

int64_t clock_offset_s(void)
{
    return clock_real_s() - (int64_t)(clock_mono_ms() / 1000);
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

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar; March begins the counted year, so that the leap day ends
 * it. The C library's gmtime_r() and timegm() take a lock on the time zone. */
static int64_t days_of_date(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400, day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_of_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int mp = (int)((5 * doy + 2) / 153);

    *ret_day = (int)(doy - (153 * mp + 2) / 5) + 1;
    *ret_month = mp < 10 ? mp + 3 : mp - 9;
    *ret_year = yoe + era * 400 + (*ret_month <= 2);
}

/* 'n' decimal digits of 'v', with zeros in front. */
static char *put_digits(char *dst, int64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        dst[i] = (char)('0' + v % 10);
        v /= 10;
    }
    return dst + n;
}

size_t clock_format_rfc3339(int64_t sec, uint32_t nsec, int digits, char dst[CLOCK_RFC3339_SIZE])
{
    const int64_t first = -62167219200, last = 253402300799; /* years 0 to 9999 */
    int64_t year, days, rest;
    int month, day;
    char *p = dst;

    sec = sec < first ? first : sec > last ? last : sec;
    days = (sec - first) / 86400 + first / 86400;
    rest = (sec - first) % 86400;
    date_of_days(days, &year, &month, &day);
    p = put_digits(p, year, 4);
    *p++ = '-';
    p = put_digits(p, month, 2);
    *p++ = '-';
    p = put_digits(p, day, 2);
    *p++ = 'T';
    p = put_digits(p, rest / 3600, 2);
    *p++ = ':';
    p = put_digits(p, rest / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, rest % 60, 2);
    if (digits > 0) {
        char frac[9];

        put_digits(frac, nsec, 9);
        *p++ = '.';
        digits = digits > 9 ? 9 : digits;
        memcpy(p, frac, (size_t)digits);
        p += digits;
    }
    *p++ = 'Z';
    *p = '\0';
    return (size_t)(p - dst);
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
    *ret_sec = days_of_date((int64_t)year, mon, day) * 86400 + hour * 3600 + min * 60 + sec - offset;
    *ret_nsec = nsec;
    return true;
}
