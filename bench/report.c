#include "bench/report.h"

#include <stdio.h>

#include "api/json-writer.h"
#include "base/fs.h"

void report_subject(const struct bench_subject *s)
{
    printf("%s: %s\n", s->name, s->about);
    fflush(stdout);
}

void report_line(const struct bench_figure *f)
{
    int digits = f->value >= 1000 ? 0 : f->value >= 10 ? 1 : 4;
    printf("    %-44s %12.*f %s\n", f->name, digits, f->value, f->unit);
    fflush(stdout);
}

bool report_write(const struct bench *b, const char *path, struct err *err)
{
    CLEANUP(buf_deinit) struct buf out;
    buf_init(&out, BUF_NO_MAX);
    buf_append_c(&out, "[");
    for (size_t i = 0; i < b->n_figures; i++) {
        const struct bench_figure *f = &b->figures[i];
        buf_append_c(&out, i ? ",\n {\"subject\":" : "\n {\"subject\":");
        json_write_string(&out, str_c(f->subject));
        buf_append_c(&out, ",\"name\":");
        json_write_string(&out, str_c(f->name));
        buf_append_c(&out, ",\"value\":");
        json_write_double(&out, f->value);
        buf_append_c(&out, ",\"unit\":");
        json_write_string(&out, str_c(f->unit));
        buf_append_char(&out, '}');
    }
    buf_append_c(&out, "\n]\n");
    return fs_write_atomic(path, buf_str(&out), 0644, err);
}
