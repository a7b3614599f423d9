/* Any bytes as a query and the log it is applied to, fed whole and piece by piece: both must give the same. */
#include "kubelet/cri-log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct cri_log_options *o, struct str log, size_t step, struct buf *out)
{
    struct cri_log_filter f;
    cri_log_filter_init(&f, o);
    for (size_t at = 0; at < log.len; at += step) {
        cri_log_feed(&f, str_sub(log, at, step), out);
    }
    cri_log_end(&f, out);
    if (o->limit_bytes >= 0 && (int64_t)out->len > o->limit_bytes) {
        abort();
    }
    cri_log_filter_deinit(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct http_target t;
    struct cri_log_options o;
    struct str query, log;
    int status;
    arena_init(&a, 1 << 20);
    (void)str_cut(str_n((const char *)data, size), '\n', &query, &log);
    struct str target = arena_printf(&a, "/containerLogs/ns/pod/c?%.*s", STR_ARG(query));
    if (target.ptr && http_target_parse(&a, target, &t, NULL) && cri_log_options(&t, 1795514400, &o, &status, NULL)) {
        struct buf whole, pieces;
        buf_init(&whole, BUF_NO_MAX);
        buf_init(&pieces, BUF_NO_MAX);
        read_all(&o, log, log.len ? log.len : 1, &whole);
        read_all(&o, log, 1 + size % 7, &pieces);
        if (!str_eq(buf_str(&whole), buf_str(&pieces))) {
            abort();
        }
        buf_deinit(&whole);
        buf_deinit(&pieces);
    }
    arena_deinit(&a);
    return 0;
}
