#include "controllers/cron-schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api/duration.h"

struct field {
    int low, high;
    const char *const *names; /* of 'low' and on */
    int n_names;
};

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun",
                                           "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const day_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };
static const struct field fields[5] = { { 0, 59, NULL, 0 },
                                        { 0, 23, NULL, 0 },
                                        { 1, 31, NULL, 0 },
                                        { 1, 12, month_names, 12 },
                                        { 0, 6, day_names, 7 } };

static bool read_number(const struct field *f, struct str text, int *ret)
{
    int32_t n;
    for (int i = 0; i < f->n_names; i++) {
        if (str_eq_nocase(text, str_c(f->names[i]))) {
            *ret = f->low + i;
            return true;
        }
    }
    if (!str_to_i32(text, &n) || n < f->low || n > f->high) {
        return false;
    }
    *ret = n;
    return true;
}

/* "*", "a", "a-b", each with "/step". */
static bool read_part(const struct field *f, struct str part, uint64_t *bits, bool *star)
{
    struct str range, step_text, first_text, last_text;
    int first = f->low, last = f->high;
    int32_t step = 1;
    bool stepped = str_cut(part, '/', &range, &step_text);
    if (stepped && (!str_to_i32(step_text, &step) || step <= 0)) {
        return false;
    }
    if (str_eq_c(range, "*") || str_eq_c(range, "?")) {
        *star = *star || step == 1;
    } else if (str_cut(range, '-', &first_text, &last_text)) {
        if (!read_number(f, first_text, &first) || !read_number(f, last_text, &last) ||
            last < first) {
            return false;
        }
    } else {
        if (!read_number(f, range, &first)) {
            return false;
        }
        last = stepped ? f->high : first;
    }
    for (int i = first; i <= last; i += step) {
        *bits |= 1ull << i;
    }
    return true;
}

static bool read_field(const struct field *f, struct str text, uint64_t *bits, bool *star)
{
    struct str rest = text, part;
    *bits = 0;
    *star = false;
    while (str_split(&rest, ',', &part)) {
        if (!read_part(f, part, bits, star)) {
            return false;
        }
    }
    return *bits != 0;
}

static bool read_fields(struct str text, struct cron_schedule *s)
{
    uint64_t bits[5];
    bool star[5];
    size_t n = 0;
    struct str rest = str_trim(text), word;
    while (str_split(&rest, ' ', &word)) {
        if (str_empty(word)) {
            continue;
        }
        if (n == 5 || !read_field(&fields[n], word, &bits[n], &star[n])) {
            return false;
        }
        n++;
    }
    if (n != 5) {
        return false;
    }
    s->minutes = bits[0];
    s->hours = bits[1];
    s->days = bits[2];
    s->months = bits[3];
    s->weekdays = bits[4];
    s->any_day = star[2];
    s->any_weekday = star[4];
    return true;
}

static bool read_zone(struct str zone, struct cron_schedule *s, struct err *err)
{
    char path[128];
    bool sane =
        zone.len < sizeof(s->zone) && str_find(zone, STR("..")) < 0 && !str_starts(zone, STR("/"));
    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%.*s", sane ? (int)zone.len : 0,
             zone.ptr ? zone.ptr : "");
    if (!str_empty(zone) && !str_eq_c(zone, "UTC") && !str_eq_c(zone, "Etc/UTC")) {
        if (!sane || access(path, R_OK) != 0) {
            return err_set(err, ERR_INVALID, "unknown time zone %.*s", STR_ARG(zone));
        }
        snprintf(s->zone, sizeof(s->zone), "%.*s", STR_ARG(zone));
    }
    return true;
}

bool cron_parse(struct str text, struct str zone, struct cron_schedule *ret, struct err *err)
{
    static const struct {
        const char *name, *fields;
    } known[] = {
        { "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },
        { "@weekly", "0 0 * * 0" }, { "@daily", "0 0 * * *" },    { "@midnight", "0 0 * * *" },
        { "@hourly", "0 * * * *" },
    };
    struct cron_schedule s = { 0 };
    struct str body = str_trim(text);
    if (!read_zone(zone, &s, err)) {
        return false;
    }
    if (str_starts(body, STR("@every "))) {
        int64_t ns;
        if (!duration_parse(str_trim(str_sub(body, 7, SIZE_MAX)), &ns, NULL) || ns < 1000000000) {
            return err_set(err, ERR_INVALID, "\"%.*s\" is no schedule", STR_ARG(text));
        }
        s.every_s = ns / 1000000000;
        *ret = s;
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        body = str_eq_c(body, known[i].name) ? str_c(known[i].fields) : body;
    }
    if (!read_fields(body, &s)) {
        return err_set(err, ERR_INVALID, "\"%.*s\" is no schedule", STR_ARG(text));
    }
    *ret = s;
    return true;
}

static bool has(uint64_t bits, int i)
{
    return (bits >> i) & 1;
}

static bool day_fits(const struct cron_schedule *s, const struct tm *tm)
{
    bool day = has(s->days, tm->tm_mday), weekday = has(s->weekdays, tm->tm_wday);
    return s->any_day || s->any_weekday ? day && weekday : day || weekday;
}

static int64_t search(const struct cron_schedule *s, int64_t after)
{
    time_t t = (time_t)(after - (after % 60 + 60) % 60 + 60);
    struct tm tm;
    int year = localtime_r(&t, &tm) ? tm.tm_year + 5 : 0;
    /* Each turn takes the largest step that cannot jump over a match; the days of five years are
     * the most. */
    for (int turn = 0; turn < 8000 && localtime_r(&t, &tm) && tm.tm_year <= year; turn++) {
        time_t next;
        if (!has(s->months, tm.tm_mon + 1) || !day_fits(s, &tm)) {
            bool month = !has(s->months, tm.tm_mon + 1);
            tm = (struct tm){ .tm_year = tm.tm_year,
                              .tm_mon = tm.tm_mon + month,
                              .tm_mday = month ? 1 : tm.tm_mday + 1,
                              .tm_isdst = -1 };
            next = mktime(&tm);
        } else if (!has(s->hours, tm.tm_hour)) {
            next = t + 3600 - tm.tm_min * 60;
        } else if (!has(s->minutes, tm.tm_min)) {
            next = t + 60;
        } else {
            return t;
        }
        t = next > t ? next : t + 60; /* where clocks are set back */
    }
    return 0;
}

int64_t cron_next(const struct cron_schedule *s, int64_t after)
{
    if (s->every_s) {
        return after + s->every_s;
    }
    setenv("TZ", s->zone[0] ? s->zone : "UTC0", 1);
    tzset();
    int64_t t = search(s, after);
    setenv("TZ", "UTC0", 1);
    tzset();
    return t;
}
