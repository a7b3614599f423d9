/* Figures for a person, as they are found, and for a program, at the end. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/bench.h"

void report_subject(const struct bench_subject *s);
void report_line(const struct bench_figure *f);
/* [{"subject":…,"name":…,"value":…,"unit":…},…] */
MUST_CHECK bool report_write(const struct bench *b, const char *path, struct err *err);

#endif
