/*
 * Schedules of CronJobs ("CronJob": "Schedule syntax"): five fields of minute, hour, day of month,
 * month, day of week, with lists, ranges, steps and names; or @hourly, @daily (@midnight), @weekly,
 * @monthly, @yearly (@annually), @every DURATION.
 *
 * Times are those of a zone of the system's database. The zone is that of the process while a
 * function here runs and UTC again after it, so these are for a process of one thread.
 */
#ifndef CONTROLLERS_CRON_SCHEDULE_H
#define CONTROLLERS_CRON_SCHEDULE_H

#include "base/err.h"

struct cron_schedule {
    uint64_t minutes, hours, days, months, weekdays; /* bits */
    bool any_day, any_weekday;                       /* "*": the other one decides alone */
    int64_t every_s;                                 /* @every; 0: by the fields */
    char zone[64];                                   /* "" is UTC */
};

/* 'zone' absent: UTC. False with a reason for a text that is no schedule or a zone that is not
 * there. */
MUST_CHECK bool cron_parse(struct str text, struct str zone, struct cron_schedule *ret,
                           struct err *err);
/* The first time after 'after' (seconds since 1970), or 0: none within five years. */
int64_t cron_next(const struct cron_schedule *s, int64_t after);

#endif
