/* Completion indexes as sets and as text: status.completedIndexes, status.failedIndexes. */
#include <stdlib.h>

#include "base/buf.h"
#include "controllers/job-private.h"

struct job_indexes job_indexes_new(struct arena *a, int32_t n)
{
    struct job_indexes x = { .in = arena_new_n(a, uint8_t, (size_t)MAX(n, 1)), .n = n };
    if (!x.in) {
        abort();
    }
    return x;
}

int32_t job_indexes_count(const struct job_indexes *x)
{
    int32_t n = 0;
    for (int32_t i = 0; i < x->n; i++) {
        n += x->in[i];
    }
    return n;
}

struct str job_indexes_str(struct arena *a, const struct job_indexes *x)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 2u << 20);
    for (int32_t i = 0; i < x->n; i++) {
        int32_t last = i;
        if (!x->in[i]) {
            continue;
        }
        while (last + 1 < x->n && x->in[last + 1]) {
            last++;
        }
        buf_printf(&b, "%s%d", b.len ? "," : "", i);
        if (last > i) {
            buf_printf(&b, "%c%d", last == i + 1 ? ',' : '-', last);
        }
        i = last;
    }
    return b.len ? arena_str(a, buf_str(&b)) : STR_NULL;
}

bool job_indexes_parse(struct str text, struct job_indexes *ret)
{
    struct str rest = text, one;
    while (!str_empty(rest) && str_split(&rest, ',', &one)) {
        struct str first_text, last_text;
        int32_t first, last;
        bool range = str_cut(one, '-', &first_text, &last_text);
        if (!str_to_i32(first_text, &first) || first < 0 ||
            (range && !str_to_i32(last_text, &last))) {
            return false;
        }
        last = range ? last : first;
        if (last < first) {
            return false;
        }
        for (int32_t i = first; i <= last && i < ret->n; i++) {
            ret->in[i] = 1;
        }
        if (last >= ret->n) {
            return false;
        }
    }
    return true;
}

int32_t job_index_of(const struct core_v1_pod *pod, int32_t completions)
{
    int32_t i;
    struct str text = meta_annotation(&pod->metadata, JOB_INDEX_KEY);
    return text.len && str_to_i32(text, &i) && i >= 0 && i < completions ? i : -1;
}
