#include "cluster/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

void progress_begin(struct progress *p)
{
    p->begin_ms = p->last_ms = clock_mono_ms();
    p->colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
}

void progress_step(struct progress *p, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    uint64_t now = clock_mono_ms();
    printf(" %s✓%s %s (%llu ms)\n", p->colour ? "\033[32m" : "", p->colour ? "\033[0m" : "", text,
           (unsigned long long)(now - p->last_ms));
    fflush(stdout);
    p->last_ms = now;
}

void progress_fail(struct progress *p, const char *fmt, ...)
{
    char text[1400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fflush(stdout);
    fprintf(stderr, " %s✗%s %s\n", p->colour ? "\033[31m" : "", p->colour ? "\033[0m" : "", text);
}

uint64_t progress_total_ms(const struct progress *p)
{
    return clock_mono_ms() - p->begin_ms;
}
