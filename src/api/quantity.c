#include "api/quantity.h"

#include <stdio.h>

#define NANO ((quantity_nano)1000000000)
#define CAP ((quantity_nano)INT64_MAX * NANO)
/* Far above the cap, so that sums of capped values stay exact, and far from overflow. */
#define SATURATED (CAP * 1000000000)

/* Digits kept of a number; more cannot change a value that is below the cap and rounded to nano. */
#define MANTISSA_DIGITS 30

struct decimal {
    quantity_nano mantissa;
    int64_t exponent; /* of ten */
    bool inexact;     /* something above zero was dropped */
};

static void drop_digit(struct decimal *d)
{
    d->inexact = d->inexact || d->mantissa % 10 != 0;
    d->mantissa /= 10;
    d->exponent++;
}

/* "12.50" without a sign; moves '*at' behind it. False without any digit. */
static bool parse_decimal(struct str s, size_t *at, struct decimal *ret)
{
    struct decimal d = { 0 };
    int digits = 0;
    bool any = false, point = false;
    size_t i = *at;
    for (; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.') {
            if (point) {
                return false;
            }
            point = true;
            continue;
        }
        if (c < '0' || c > '9') {
            break;
        }
        any = true;
        if (digits >= MANTISSA_DIGITS) {
            d.inexact = d.inexact || c != '0';
            d.exponent += point ? 0 : 1;
            continue;
        }
        d.mantissa = d.mantissa * 10 + (c - '0');
        digits += d.mantissa != 0;
        d.exponent -= point ? 1 : 0;
    }
    *at = i;
    *ret = d;
    return any;
}

/* Suffix to powers of ten and of two. */
static bool parse_suffix(struct str s, int64_t *ret_ten, unsigned *ret_two, enum quantity_format *ret_format)
{
    static const char decimal[] = "num kMGTPE", binary[] = "KMGTPE";
    *ret_ten = 0;
    *ret_two = 0;
    *ret_format = QUANTITY_DECIMAL;
    if (s.len == 0) {
        return true;
    }
    if (s.len == 2 && s.ptr[1] == 'i') {
        const char *p = strchr(binary, s.ptr[0]);
        *ret_format = QUANTITY_BINARY;
        *ret_two = p ? (unsigned)(p - binary + 1) * 10 : 0;
        return p && s.ptr[0];
    }
    if (s.len == 1) {
        const char *p = s.ptr[0] && s.ptr[0] != ' ' ? strchr(decimal, s.ptr[0]) : NULL;
        *ret_ten = p ? (p - decimal - 3) * 3 : 0;
        return p != NULL;
    }
    if (s.ptr[0] == 'e' || s.ptr[0] == 'E') {
        struct str n = str_sub(s, s.ptr[1] == '+' ? 2 : 1, s.len);
        *ret_format = QUANTITY_EXPONENT;
        return str_to_i64(n, ret_ten);
    }
    return false;
}

/* d * 10^ten * 2^two in nano, rounded away from zero, capped. */
static quantity_nano scale(struct decimal d, int64_t ten, unsigned two)
{
    if (d.mantissa == 0) {
        return d.inexact ? 1 : 0;
    }
    if (ten > 100 || ten < -100) {
        return ten > 0 ? CAP : 1;
    }
    quantity_nano v;
    while (__builtin_mul_overflow(d.mantissa, (quantity_nano)1 << two, &v)) {
        drop_digit(&d);
    }
    d.mantissa = v;
    d.exponent += ten + 9;
    for (; d.exponent > 0; d.exponent--) {
        if (__builtin_mul_overflow(d.mantissa, (quantity_nano)10, &d.mantissa)) {
            return CAP;
        }
    }
    while (d.exponent < 0 && d.mantissa) {
        drop_digit(&d);
    }
    v = d.mantissa + (d.inexact ? 1 : 0);
    return v > CAP ? CAP : v;
}

bool quantity_parse(struct str s, struct quantity *ret, struct err *err)
{
    static const char letters[] = "eEinumkKMGTP";
    struct decimal d;
    struct quantity q;
    size_t at = 0;
    bool negative = s.len && s.ptr[0] == '-';
    at += s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    if (!parse_decimal(s, &at, &d)) {
        return err_set(err, ERR_BAD_REQUEST, QUANTITY_ERROR);
    }
    struct str suffix = str_n(s.ptr + at, s.len - at);
    size_t i = 0;
    while (i < suffix.len && suffix.ptr[i] && strchr(letters, suffix.ptr[i])) {
        i++;
    }
    i += i < suffix.len && (suffix.ptr[i] == '-' || suffix.ptr[i] == '+');
    while (i < suffix.len && suffix.ptr[i] >= '0' && suffix.ptr[i] <= '9') {
        i++;
    }
    if (i < suffix.len) {
        return err_set(err, ERR_BAD_REQUEST, QUANTITY_ERROR);
    }
    int64_t ten;
    unsigned two;
    if (!parse_suffix(suffix, &ten, &two, &q.format)) {
        return err_set(err, ERR_BAD_REQUEST, "unable to parse quantity's suffix");
    }
    q.nano = scale(d, ten, two);
    /* A fraction of a unit has no binary form. */
    if (q.format == QUANTITY_BINARY && q.nano < NANO && q.nano > 0) {
        q.format = QUANTITY_DECIMAL;
    }
    q.nano = negative ? -q.nano : q.nano;
    *ret = q;
    return true;
}

struct quantity quantity_of(struct str s)
{
    struct quantity q;
    return quantity_parse(s, &q, NULL) ? q : (struct quantity){ 0 };
}

struct quantity quantity_from_i64(int64_t v, enum quantity_format format)
{
    return (struct quantity){ .nano = (quantity_nano)v * NANO, .format = format };
}

struct quantity quantity_from_milli(int64_t milli, enum quantity_format format)
{
    return (struct quantity){ .nano = (quantity_nano)milli * (NANO / 1000), .format = format };
}

/* 'v' in decimal, then 'suffix'. */
static size_t put(char dst[QUANTITY_SIZE], quantity_nano v, const char *suffix)
{
    char digits[42];
    size_t n = sizeof(digits);
    bool negative = v < 0;
    do {
        int d = (int)(v % 10);
        digits[--n] = (char)('0' + (d < 0 ? -d : d));
        v /= 10;
    } while (v);
    if (negative) {
        digits[--n] = '-';
    }
    int len = snprintf(dst, QUANTITY_SIZE, "%.*s%s", (int)(sizeof(digits) - n), digits + n, suffix);
    return (size_t)len;
}

size_t quantity_format(struct quantity q, char dst[QUANTITY_SIZE])
{
    static const char *const binary[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    static const char *const decimal[] = { "n", "u", "m", "", "k", "M", "G", "T", "P", "E" };
    char suffix[16] = "";
    if (q.nano == 0) {
        return put(dst, 0, "");
    }
    if (q.format == QUANTITY_BINARY && q.nano % NANO == 0 && (q.nano <= -1024 * NANO || q.nano >= 1024 * NANO)) {
        quantity_nano v = q.nano / NANO;
        unsigned power = 0;
        for (; power < 6 && v % 1024 == 0; power++) {
            v /= 1024;
        }
        return put(dst, v, binary[power]);
    }
    quantity_nano v = q.nano;
    int exponent = -9;
    while (v % 10 == 0) {
        v /= 10;
        exponent++;
    }
    /* Suffixes are powers of a thousand. */
    int over = ((exponent % 3) + 3) % 3;
    for (; over; over--) {
        v *= 10;
        exponent--;
    }
    for (; exponent > 18; exponent -= 3) {
        v *= 1000;
    }
    if (q.format == QUANTITY_EXPONENT) {
        if (exponent) {
            snprintf(suffix, sizeof(suffix), "e%d", exponent);
        }
        return put(dst, v, suffix);
    }
    return put(dst, v, decimal[exponent / 3 + 3]);
}

struct str quantity_str(struct arena *a, struct quantity q)
{
    char text[QUANTITY_SIZE];
    size_t n = quantity_format(q, text);
    return arena_str(a, str_n(text, n));
}

bool quantity_canonical(struct arena *a, struct str s, struct str *ret, struct err *err)
{
    struct quantity q;
    char text[QUANTITY_SIZE];
    if (!quantity_parse(s, &q, err)) {
        return false;
    }
    struct str canonical = str_n(text, quantity_format(q, text));
    if (str_eq(canonical, s)) {
        *ret = s;
        return true;
    }
    canonical = arena_str(a, canonical);
    if (!canonical.ptr) {
        return err_set(err, ERR_TOO_LARGE, "the object needs more memory than it may have");
    }
    *ret = canonical;
    return true;
}

int quantity_cmp(struct quantity a, struct quantity b)
{
    return a.nano < b.nano ? -1 : a.nano > b.nano;
}

static quantity_nano saturate(quantity_nano v)
{
    return v > SATURATED ? SATURATED : v < -SATURATED ? -SATURATED : v;
}

struct quantity quantity_add(struct quantity a, struct quantity b)
{
    return (struct quantity){ .nano = saturate(a.nano + b.nano), .format = a.nano == 0 ? b.format : a.format };
}

struct quantity quantity_sub(struct quantity a, struct quantity b)
{
    return (struct quantity){ .nano = saturate(a.nano - b.nano), .format = a.nano == 0 ? b.format : a.format };
}

struct quantity quantity_mul(struct quantity a, int64_t factor)
{
    quantity_nano v;
    if (__builtin_mul_overflow(a.nano, (quantity_nano)factor, &v)) {
        v = (a.nano < 0) != (factor < 0) ? -SATURATED : SATURATED;
    }
    return (struct quantity){ .nano = saturate(v), .format = a.format };
}

static int64_t round_up(quantity_nano nano, quantity_nano unit)
{
    quantity_nano v = nano / unit, rest = nano % unit;
    v += rest > 0 ? 1 : rest < 0 ? -1 : 0;
    return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

int64_t quantity_value(struct quantity q)
{
    return round_up(q.nano, NANO);
}

int64_t quantity_milli(struct quantity q)
{
    return round_up(q.nano, NANO / 1000);
}

bool quantity_is_whole(struct quantity q)
{
    return q.nano % NANO == 0;
}
