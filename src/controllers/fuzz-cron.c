/* Any bytes as a schedule and as completion indexes: both are texts of whoever may write a CronJob
 * or a Job's status. */
#include "controllers/cron-schedule.h"
#include "controllers/job-private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size), schedule, zone;
    struct cron_schedule s;
    uint8_t in[64] = { 0 };
    struct job_indexes x = { .in = in, .n = sizeof(in) };
    (void)str_cut(text, '\n', &schedule, &zone);
    if (cron_parse(schedule, zone, &s, NULL)) {
        (void)cron_next(&s, 1800000000);
    }
    (void)job_indexes_parse(text, &x);
    return 0;
}
