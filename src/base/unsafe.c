#include "base/unsafe.h"

#include <string.h>

#include "base/encoding.h"
#include "base/log.h"
#include "base/metrics.h"

/* More than all unsafe flags of one program. */
enum { MAX_FLAGS = 32, MAX_VALUE = 256 };

static struct unsafe_flag entries[MAX_FLAGS];
static char values[MAX_FLAGS][MAX_VALUE];
static size_t n_entries;

static struct metric metric = METRIC_GAUGE("coracle_unsafe_flag", "Flags whose value is unsafe on an untrusted network, and what mends them.",
                                           "flag", "value", "given", "mend");

void unsafe_note(const char *program, const char *flag, struct str value, bool given, const char *why, const char *mend)
{
    size_t i = 0;
    while (i < n_entries && !(strcmp(entries[i].program, program) == 0 && strcmp(entries[i].flag, flag) == 0)) {
        i++;
    }
    log_warning("unsafe on an untrusted network: --%s=%.*s%s: %s; mended by %s", flag, STR_ARG(value), given ? "" : " (the default)", why, mend);
    if (i == MAX_FLAGS) {
        return; /* it was logged; the registry is larger than any program's table */
    }
    snprintf(values[i], MAX_VALUE, "%.*s", STR_ARG(value));
    entries[i] = (struct unsafe_flag){ .program = program, .flag = flag, .value = values[i], .why = why, .mend = mend, .given = given };
    n_entries += i == n_entries;
    metric_set(metric_cell(&metric, str_c(flag), str_c(values[i]), given ? STR("true") : STR("false"), str_c(mend)), 1);
}

size_t unsafe_count(void)
{
    return n_entries;
}

const struct unsafe_flag *unsafe_at(size_t i)
{
    return &entries[i];
}

void unsafe_write_json(struct buf *b)
{
    buf_append_char(b, '[');
    for (size_t i = 0; i < n_entries; i++) {
        const struct unsafe_flag *f = &entries[i];
        buf_printf(b, "%s{\"program\":\"%s\",\"flag\":\"--%s\",\"value\":", i ? "," : "", f->program, f->flag);
        json_text_append(b, str_c(f->value));
        buf_printf(b, ",\"given\":%s,\"why\":", f->given ? "true" : "false");
        json_text_append(b, str_c(f->why));
        buf_append_c(b, ",\"mend\":");
        json_text_append(b, str_c(f->mend));
        buf_append_char(b, '}');
    }
    buf_append_char(b, ']');
}

void unsafe_clear(void)
{
    for (size_t i = 0; i < n_entries; i++) {
        const struct str labels[METRIC_MAX_LABELS + 1] = { str_c(entries[i].flag), str_c(entries[i].value),
                                                           entries[i].given ? STR("true") : STR("false"), str_c(entries[i].mend) };
        metric_forget(&metric, labels);
    }
    n_entries = 0;
}
