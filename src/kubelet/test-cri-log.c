#include "kubelet/cri-log.h"

#include "base/test.h"

#define T "2026-11-24T10:00:0"

static struct str run(struct arena *a, const char *query, const char *log, size_t step)
{
    struct http_target t;
    struct err err = { 0 };
    struct cri_log_options o;
    struct cri_log_filter f;
    int status = 0;
    struct buf out;
    char target[512];
    snprintf(target, sizeof(target), "/containerLogs/ns/pod/c?%s", query);
    CHECK_OK(http_target_parse(a, arena_str(a, str_c(target)), &t, &err), &err);
    CHECK_OK(cri_log_options(&t, 1795514410 /* 2026-11-24T10:00:10Z */, &o, &status, &err), &err);
    cri_log_filter_init(&f, &o);
    buf_init(&out, 1 << 20);
    for (size_t at = 0; at < strlen(log); at += step) {
        cri_log_feed(&f, str_sub(str_c(log), at, step), &out);
    }
    cri_log_end(&f, &out);
    struct str r = arena_str(a, str_n(out.ptr ? out.ptr : "", out.len));
    buf_deinit(&out);
    cri_log_filter_deinit(&f);
    return r;
}

#define LOG T "1.5Z stdout F one\n" T "2Z stderr F oops\n" T "3Z stdout P thr\n" T "3Z stdout F ee\n" T "4Z stdout F \n" T "5Z stdout F:x a b  c\n"

TEST(log_lines_lose_their_prefix_and_parts_are_joined)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t step = 1; step < 40; step++) {
        CHECK_STR_C(run(&a, "", LOG, step), "one\noops\nthree\n\na b  c\n");
    }
    arena_deinit(&a);
}

TEST(timestamps_stand_once_before_each_line)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    CHECK_STR_C(run(&a, "timestamps=true", LOG, 7),
                T "1.5Z one\n" T "2Z oops\n" T "3Z three\n" T "4Z \n" T "5Z a b  c\n");
    arena_deinit(&a);
}

TEST(one_stream_or_what_is_new_enough_can_be_asked_for)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    CHECK_STR_C(run(&a, "stream=Stderr", LOG, 9), "oops\n");
    CHECK_STR_C(run(&a, "stream=Stdout", LOG, 9), "one\nthree\n\na b  c\n");
    CHECK_STR_C(run(&a, "sinceTime=2026-11-24T10:00:03Z", LOG, 9), "three\n\na b  c\n");
    CHECK_STR_C(run(&a, "sinceTime=2026-11-24T10:00:01.6Z", LOG, 9), "oops\nthree\n\na b  c\n");
    CHECK_STR_C(run(&a, "sinceSeconds=6", LOG, 9), "\na b  c\n");
    CHECK_STR_C(run(&a, "sinceSeconds=9223372036854775807", LOG, 9), "one\noops\nthree\n\na b  c\n");
    arena_deinit(&a);
}

TEST(limit_counts_every_byte_that_is_given_out)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    CHECK_STR_C(run(&a, "limitBytes=1", LOG, 100), "o");
    CHECK_STR_C(run(&a, "limitBytes=4", LOG, 3), "one\n");
    CHECK_STR_C(run(&a, "limitBytes=11", LOG, 3), "one\noops\nth");
    CHECK_STR_C(run(&a, "limitBytes=5&timestamps=1", LOG, 3), "2026-");
    arena_deinit(&a);
}

TEST(log_lines_that_are_none_are_left_out)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    CHECK_STR_C(run(&a, "", "nonsense\n\n" T "1Z stdin F x\n" T "1Z stdout F\n" T "1Z stdout F y\n", 5), "y\n");
    /* The runtime was killed while it wrote. */
    CHECK_STR_C(run(&a, "", T "1Z stdout F y\n" T "2Z stdout F cut", 5), "y\ncut");
    CHECK_STR_C(run(&a, "", T "1Z stdout F y\n" T "2Z std", 5), "y\n");
    arena_deinit(&a);
}

TEST(line_without_end_is_skipped_and_takes_no_more_memory)
{
    struct cri_log_options o = { .limit_bytes = -1 };
    struct cri_log_filter f;
    struct buf out;
    char block[65536];
    memset(block, 'x', sizeof(block));
    cri_log_filter_init(&f, &o);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 100; i++) {
        cri_log_feed(&f, str_n(block, sizeof(block)), &out);
        CHECK(f.rest.len <= CRI_LOG_MAX_LINE);
    }
    CHECK_INT(out.len, 0);
    cri_log_feed(&f, STR("\n" T "1Z stdout F after\n"), &out);
    CHECK_STR_C(buf_str(&out), "after\n");
    buf_deinit(&out);
    cri_log_filter_deinit(&f);
}

static int status_of(const char *query)
{
    struct arena a;
    struct http_target t;
    struct err err = { 0 };
    struct cri_log_options o;
    int status = 200;
    arena_init(&a, 1 << 16);
    CHECK_OK(http_target_parse(&a, arena_printf(&a, "/containerLogs/ns/pod/c?%s", query), &t, &err), &err);
    bool ok = cri_log_options(&t, 1000, &o, &status, &err);
    CHECK(ok == (status == 200));
    arena_deinit(&a);
    return status;
}

TEST(log_options_that_make_no_sense_are_refused_as_kubernetes_does)
{
    CHECK_INT(status_of(""), 200);
    CHECK_INT(status_of("tailLines=0&limitBytes=1&sinceSeconds=1&follow=&previous=false"), 200);
    CHECK_INT(status_of("tail=all"), 200);
    CHECK_INT(status_of("tail=5"), 200);
    CHECK_INT(status_of("tail=x"), 400);
    CHECK_INT(status_of("tailLines=x"), 400);
    CHECK_INT(status_of("tailLines=99999999999999999999"), 400);
    CHECK_INT(status_of("sinceTime=yesterday"), 400);
    CHECK_INT(status_of("tailLines=-1"), 422);
    CHECK_INT(status_of("limitBytes=0"), 422);
    CHECK_INT(status_of("sinceSeconds=0"), 422);
    CHECK_INT(status_of("sinceSeconds=1&sinceTime=2026-11-24T10:00:00Z"), 422);
    CHECK_INT(status_of("stream=stdout"), 422);
    CHECK_INT(status_of("stream=Stdout&tailLines=1"), 422);
    CHECK_INT(status_of("stream=All&tailLines=1"), 200);
}
