#include "base/clock.h"
#include "controllers/controllers.h"
#include "controllers/cron-schedule.h"
#include "client/fixture.h"

#define NOW 1800000000 /* 2027-01-15T08:00:00Z, a Friday */

static const char *next_of(const char *schedule, const char *zone, int64_t after,
                           char text[CLOCK_RFC3339_SIZE])
{
    struct cron_schedule s;
    struct err err;
    CHECK_OK(cron_parse(str_c(schedule), str_c(zone), &s, &err), &err);
    int64_t t = cron_next(&s, after);
    clock_format_rfc3339(t, 0, 0, text);
    return t ? text : "never";
}

TEST(schedules_tell_the_next_time)
{
    static const struct {
        const char *schedule, *zone, *want;
    } cases[] = {
        { "* * * * *", NULL, "2027-01-15T08:01:00Z" },
        { "*/15 * * * *", NULL, "2027-01-15T08:15:00Z" },
        { "0 8 * * *", NULL, "2027-01-16T08:00:00Z" },
        { "30 9-17/4 * * mon-fri", NULL, "2027-01-15T09:30:00Z" },
        { "0 0 * * SUN", NULL, "2027-01-17T00:00:00Z" },
        { "0 0 1,20 * SUN", NULL, "2027-01-17T00:00:00Z" }, /* either day decides */
        { "0 0 29 feb *", NULL, "2028-02-29T00:00:00Z" },
        { "0 0 31 2 *", NULL, "never" },
        { "@hourly", NULL, "2027-01-15T09:00:00Z" },
        { "@monthly", NULL, "2027-02-01T00:00:00Z" },
        { "@every 90s", NULL, "2027-01-15T08:01:30Z" },
        { "0 12 * * *", "America/New_York", "2027-01-15T17:00:00Z" },
        { "30 2 14 3 *", "Asia/Kolkata", "2027-03-13T21:00:00Z" },
    };
    char text[CLOCK_RFC3339_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK_STR_C(str_c(next_of(cases[i].schedule, cases[i].zone, NOW, text)), cases[i].want);
    }
}

TEST(what_is_no_schedule_is_refused)
{
    static const char *const bad[] = { "",           "* * * *",     "* * * * * *",
                                       "60 * * * *", "* * 0 * *",   "* * * 13 *",
                                       "* * * * 7",  "5-1 * * * *", "*/0 * * * *",
                                       "a * * * *",  "@often",      "@every x",
                                       "1,, * * * *" };
    struct cron_schedule s;
    struct err err;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!cron_parse(str_c(bad[i]), STR_NULL, &s, &err));
    }
    CHECK(!cron_parse(STR("* * * * *"), STR("Nowhere/Land"), &s, &err));
    CHECK(!cron_parse(STR("* * * * *"), STR("../../etc/passwd"), &s, &err));
}

#define CRON(spec, status)                                                                         \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"tick\",\"uid\":\"u\",\"resourceVersion\":"      \
    "\"1\",\"creationTimestamp\":\"2027-01-15T07:58:30Z\"},\"spec\":{\"schedule\":\"* * * * "      \
    "*\"" spec                                                                                     \
    ",\"jobTemplate\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"backoffLimit\":2,"      \
    "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}}}},\"status\":{" status "}}"

static void put_job(struct fixture *f, const char *name, const char *created, const char *status)
{
    char json[1024];
    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":"
        "\"1\",\"creationTimestamp\":\"%s\",\"ownerReferences\":[{\"apiVersion\":\"batch/v1\","
        "\"kind\":\"CronJob\",\"name\":\"tick\",\"uid\":\"u\",\"controller\":true}]},\"status\":{%"
        "s}}",
        name, name, created, status);
    fixture_put(f, "batch", "v1", "jobs", json);
}

TEST(the_newest_missed_time_gets_its_job)
{
    struct fixture f;
    fixture_init(&f, &controller_cronjob);
    f.now = NOW + 20;
    fixture_put(&f, "batch", "v1", "cronjobs", CRON("", ""));
    const char *out = fixture_pass(&f, "d/tick");
    CHECK_INT(fixture_count(out, "POST jobs d "), 1);
    CHECK(strstr(out, "\"name\":\"tick-30000000\"") != NULL &&
          strstr(out, "\"labels\":{\"a\":\"b\"}") != NULL);
    CHECK(strstr(out,
                 "\"batch.kubernetes.io/cronjob-scheduled-timestamp\":\"2027-01-15T08:00:00Z\"") !=
              NULL &&
          strstr(out, "\"backoffLimit\":2") != NULL);
    CHECK(strstr(out, "\"lastScheduleTime\":\"2027-01-15T08:00:00Z\"") != NULL &&
          strstr(out, "again after 40000 ms") != NULL);
    fixture_put(&f, "batch", "v1", "cronjobs",
                CRON("", "\"lastScheduleTime\":\"2027-01-15T08:00:00Z\""));
    CHECK_STR_C(str_c(fixture_pass(&f, "d/tick")), "again after 40000 ms\n");
    fixture_put(&f, "batch", "v1", "cronjobs", CRON(",\"suspend\":true", ""));
    CHECK_STR_C(str_c(fixture_pass(&f, "d/tick")), "");
    fixture_put(&f, "batch", "v1", "cronjobs",
                CRON("", "\"lastScheduleTime\":\"2026-12-15T08:00:00Z\"")); /* a month away */
    out = fixture_pass(&f, "d/tick");
    CHECK(fixture_count(out, "POST jobs d ") == 1 && strstr(out, "tick-30000000") != NULL);
    fixture_deinit(&f);
}

TEST(the_concurrency_policy_and_the_history_limit_are_kept)
{
    struct fixture f;
    fixture_init(&f, &controller_cronjob);
    f.now = NOW;
    put_job(&f, "j1", "2027-01-15T07:50:00Z",
            "\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}],\"completionTime\":"
            "\"2027-01-15T07:50:09Z\"");
    put_job(&f, "j2", "2027-01-15T07:51:00Z",
            "\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}]");
    put_job(&f, "j3", "2027-01-15T07:59:00Z", "");
    fixture_put(&f, "batch", "v1", "cronjobs",
                CRON(",\"concurrencyPolicy\":\"Forbid\",\"successfulJobsHistoryLimit\":1", ""));
    const char *out = fixture_pass(&f, "d/tick");
    CHECK(fixture_count(out, "POST jobs") == 0 && fixture_count(out, "DELETE jobs") == 1 &&
          strstr(out, "DELETE jobs d/j1 ") != NULL);
    CHECK(strstr(out, "\"active\":[{\"kind\":\"Job\",\"namespace\":\"d\",\"name\":\"j3\"") !=
              NULL &&
          strstr(out, "\"lastSuccessfulTime\":\"2027-01-15T07:50:09Z\"") != NULL);
    fixture_put(&f, "batch", "v1", "cronjobs", CRON(",\"concurrencyPolicy\":\"Replace\"", ""));
    out = fixture_pass(&f, "d/tick");
    CHECK(fixture_count(out, "POST jobs") == 1 && strstr(out, "DELETE jobs d/j3 ") != NULL);
    fixture_deinit(&f);
}
