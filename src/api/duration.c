#include "api/duration.h"

#include <stdio.h>

static bool bad(struct str s, struct err *err)
{
    return err_set(err, ERR_BAD_REQUEST, "time: invalid duration \"%.*s\"", STR_ARG(str_sub(s, 0, 200)));
}

static uint64_t unit_ns(struct str u)
{
    static const struct {
        struct str name;
        uint64_t ns;
    } units[] = {
        { STR_INIT("ns"), 1 },        { STR_INIT("us"), 1000 },       { STR_INIT("µs"), 1000 },
        { STR_INIT("μs"), 1000 },     { STR_INIT("ms"), 1000000 },    { STR_INIT("s"), 1000000000 },
        { STR_INIT("m"), 60000000000 }, { STR_INIT("h"), 3600000000000 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (str_eq(u, units[i].name)) {
            return units[i].ns;
        }
    }
    return 0;
}

static bool is_digit(struct str s, size_t i)
{
    return i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9';
}

bool duration_parse(struct str s, int64_t *ret_ns, struct err *err)
{
    bool negative = s.len && s.ptr[0] == '-';
    size_t i = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    uint64_t total = 0;
    if (s.len - i == 1 && s.ptr[i] == '0') {
        *ret_ns = 0;
        return true;
    }
    if (i == s.len) {
        return bad(s, err);
    }
    while (i < s.len) {
        uint64_t whole = 0, fraction = 0, fraction_unit = 1;
        size_t start = i;
        for (; is_digit(s, i); i++) {
            if (__builtin_mul_overflow(whole, 10, &whole) ||
                __builtin_add_overflow(whole, (uint64_t)(s.ptr[i] - '0'), &whole)) {
                return bad(s, err);
            }
        }
        bool digits = i > start;
        if (i < s.len && s.ptr[i] == '.') {
            size_t point = ++i;
            for (; is_digit(s, i); i++) {
                /* What is finer than the type can hold does not count. */
                if (fraction_unit < 1000000000000000) {
                    fraction = fraction * 10 + (uint64_t)(s.ptr[i] - '0');
                    fraction_unit *= 10;
                }
            }
            digits = digits || i > point;
        }
        if (!digits) {
            return bad(s, err);
        }
        size_t unit_start = i;
        while (i < s.len && s.ptr[i] != '.' && !is_digit(s, i)) {
            i++;
        }
        struct str u = str_n(s.ptr + unit_start, i - unit_start);
        if (u.len == 0) {
            return err_set(err, ERR_BAD_REQUEST, "time: missing unit in duration \"%.*s\"", STR_ARG(str_sub(s, 0, 200)));
        }
        uint64_t ns = unit_ns(u);
        if (!ns) {
            return err_set(err, ERR_BAD_REQUEST, "time: unknown unit \"%.*s\" in duration \"%.*s\"",
                           STR_ARG(str_sub(u, 0, 100)), STR_ARG(str_sub(s, 0, 200)));
        }
        uint64_t piece;
        if (__builtin_mul_overflow(whole, ns, &piece) ||
            __builtin_add_overflow(piece, (uint64_t)((double)fraction * ((double)ns / (double)fraction_unit)), &piece) ||
            __builtin_add_overflow(total, piece, &total) || total > (uint64_t)INT64_MAX + 1) {
            return bad(s, err);
        }
    }
    if (!negative && total > INT64_MAX) {
        return bad(s, err);
    }
    *ret_ns = negative ? (int64_t)(0 - total) : (int64_t)total;
    return true;
}

/* The digits of 'v' in units of 10^-digits without trailing zeros: ".5", or nothing. */
static void format_fraction(uint64_t v, int digits, char dst[16])
{
    if (v == 0) {
        dst[0] = '\0';
        return;
    }
    int n = snprintf(dst, 16, ".%0*llu", digits, (unsigned long long)v);
    while (n > 0 && dst[n - 1] == '0') {
        dst[--n] = '\0';
    }
}

size_t duration_format(int64_t ns, char dst[DURATION_SIZE])
{
    uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    const char *sign = ns < 0 ? "-" : "";
    char fraction[16];
    int n;
    if (u == 0) {
        n = snprintf(dst, DURATION_SIZE, "0s");
    } else if (u < 1000) {
        n = snprintf(dst, DURATION_SIZE, "%s%lluns", sign, (unsigned long long)u);
    } else if (u < 1000000) {
        format_fraction(u % 1000, 3, fraction);
        n = snprintf(dst, DURATION_SIZE, "%s%llu%sµs", sign, (unsigned long long)(u / 1000), fraction);
    } else if (u < 1000000000) {
        format_fraction(u % 1000000, 6, fraction);
        n = snprintf(dst, DURATION_SIZE, "%s%llu%sms", sign, (unsigned long long)(u / 1000000), fraction);
    } else {
        unsigned long long seconds = u / 1000000000, minutes = seconds / 60, hours = minutes / 60;
        format_fraction(u % 1000000000, 9, fraction);
        if (hours) {
            n = snprintf(dst, DURATION_SIZE, "%s%lluh%llum%llu%ss", sign, hours, minutes % 60, seconds % 60, fraction);
        } else if (minutes) {
            n = snprintf(dst, DURATION_SIZE, "%s%llum%llu%ss", sign, minutes, seconds % 60, fraction);
        } else {
            n = snprintf(dst, DURATION_SIZE, "%s%llu%ss", sign, seconds, fraction);
        }
    }
    return (size_t)n;
}
