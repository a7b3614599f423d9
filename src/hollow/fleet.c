/* All nodes of one process: they begin at a rate, are reported on, and end together. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "hollow/hollow-private.h"

enum { RAMP_MS = 50, END_MS = 30000 };

static double seconds_of(const struct hollow_fleet *f)
{
    return (double)(clock_mono_ms() - f->begin_ms) / 1000;
}

/* ---- figures ---- */

static void report(struct hollow_fleet *f, bool all)
{
    CLEANUP(buf_deinit) struct buf b;
    uint64_t now = clock_mono_ms();
    buf_init(&b, 1 << 16);
    if (!all) {
        hollow_figures_print(&f->figures, &b, now, seconds_of(f));
        printf("%.*s\n", STR_ARG(buf_str(&b)));
        fflush(stdout);
        if (!str_empty(f->last_refusal)) {
            log_warning("hollow: an answer was %.*s", STR_ARG(f->last_refusal));
            f->last_refusal = STR_NULL;
        }
        buf_clear(&b);
    }
    hollow_figures_write(&f->figures, &b, now, seconds_of(f), all);
    buf_append_char(&b, '\n');
    if (f->report_fd >= 0 && write(f->report_fd, b.ptr, b.len) != (ssize_t)b.len) {
        log_error("hollow: the report cannot be written and ends here: %s", strerror(errno));
        fs_closep(&f->report_fd);
        f->report_fd = -1;
    }
}

static void on_report(void *arg)
{
    struct hollow_fleet *f = arg;
    report(f, false);
    loop_timer_start(&f->report, f->o->report_ms);
}

/* ---- the beginning ---- */

static void on_ramp(void *arg)
{
    struct hollow_fleet *f = arg;
    struct err err;
    uint64_t now = clock_mono_ms();
    f->owed = MIN(f->owed + f->o->rate * (double)(now - f->ramp_ms) / 1000, MAX(f->o->rate, 1.0)); /* it does not catch up in one leap */
    f->ramp_ms = now;
    while (f->owed >= 1 && f->n_begun < f->o->nodes && f->n_begun - f->figures.nodes < HOLLOW_MAX_STRANGERS) {
        struct hollow_node *n = hollow_node_start(f, f->o->first + f->n_begun, &err);
        if (!n) {
            log_error("hollow: %s", err.msg);
            break;
        }
        f->nodes[f->n_begun++] = n;
        f->owed -= 1;
    }
    if (f->n_begun < f->o->nodes) {
        loop_timer_start(&f->ramp, RAMP_MS);
    }
}

static bool open_report(struct hollow_fleet *f, struct err *err)
{
    char path[4096];
    f->report_fd = -1;
    if (str_empty(f->o->report)) {
        return true;
    }
    if (!str_to_cstr(f->o->report, path, sizeof(path))) {
        return err_set(err, ERR_INVALID, "the report's name is too long");
    }
    f->report_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return f->report_fd >= 0 || err_set_errno(err, errno, "%s cannot be written", path);
}

static bool check_files(const struct hollow_options *o, struct err *err)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_cur < o->nodes + 64) {
            return err_set(err, ERR_INVALID, "%u nodes need as many connections, and this process may open %llu files: raise nofile, or start "
                           "several of it with --first", o->nodes, (unsigned long long)files.rlim_cur);
        }
    }
    return true;
}

/* ---- the end ---- */

static void on_removed(struct hollow_node *n, int status, struct str body, void *arg)
{
    (void)status, (void)body, (void)arg;
    if (--n->fleet->removing == 0) {
        loop_stop(n->fleet->loop);
    }
}

static void on_give_up(void *arg)
{
    struct hollow_fleet *f = arg;
    log_warning("hollow: %u Nodes were not removed in %d s", f->removing, END_MS / 1000);
    loop_stop(f->loop);
}

static void end_fleet(void *arg)
{
    struct hollow_fleet *f = arg;
    if (f->ending || !f->o->remove) {
        loop_stop(f->loop);
        return;
    }
    f->ending = true;
    loop_timer_stop(&f->ramp);
    loop_timer_stop(&f->end);
    for (unsigned i = 0; i < f->n_begun; i++) {
        struct hollow_node *n = f->nodes[i];
        char target[160];
        snprintf(target, sizeof(target), "/api/v1/nodes/%s", n->name);
        loop_timer_stop(&n->lease_timer);
        loop_timer_stop(&n->status_timer);
        struct hollow_request r = { .kind = HOLLOW_POD_DELETE, .method = "DELETE", .target = str_c(target), .as_user = true };
        f->removing++;
        (void)hollow_send(n, &r, on_removed, NULL);
    }
    if (f->removing == 0) {
        loop_stop(f->loop);
    }
    loop_timer_init(&f->end, f->loop, on_give_up, f);
    loop_timer_start(&f->end, END_MS);
}

static bool begin(struct hollow_fleet *f, const struct client_config *config, struct arena *a, struct err *err)
{
    f->loop = loop_new(err);
    if (!f->loop || !check_files(f->o, err) || !open_report(f, err) || !client_endpoint_init(&f->endpoint, a, config, err)) {
        return false;
    }
    if (loop_signal_start(&f->term, f->loop, SIGTERM, end_fleet, f) != 0 || loop_signal_start(&f->interrupt, f->loop, SIGINT, end_fleet, f) != 0) {
        return err_set(err, ERR_INTERNAL, "cannot wait for signals");
    }
    f->nodes = calloc(f->o->nodes, sizeof(struct hollow_node *));
    if (!f->nodes) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    f->begin_ms = f->ramp_ms = f->figures.interval_ms = clock_mono_ms();
    f->owed = 1;
    loop_timer_init(&f->ramp, f->loop, on_ramp, f);
    loop_timer_init(&f->report, f->loop, on_report, f);
    loop_timer_start(&f->report, f->o->report_ms);
    if (f->o->duration_ms) {
        loop_timer_init(&f->end, f->loop, end_fleet, f);
        loop_timer_start(&f->end, f->o->duration_ms);
    }
    on_ramp(f);
    return true;
}

int hollow_run(const struct client_config *config, const struct hollow_options *options)
{
    struct err err;
    struct arena a;
    struct hollow_fleet *f = calloc(1, sizeof(*f));
    if (!f) {
        return 1;
    }
    f->o = options;
    arena_init(&a, 1 << 20);
    arena_init(&f->scratch, HOLLOW_MAX_SCRATCH);
    bool ok = begin(f, config, &a, &err);
    if (ok) {
        loop_run(f->loop);
        report(f, false);
        report(f, true);
    } else {
        log_error("hollow: %s", err.msg);
    }
    for (unsigned i = 0; i < f->n_begun; i++) {
        hollow_node_free(f->nodes[i]);
    }
    free(f->nodes);
    loop_timer_stop(&f->ramp);
    loop_timer_stop(&f->report);
    loop_timer_stop(&f->end);
    loop_signal_stop(&f->term);
    loop_signal_stop(&f->interrupt);
    client_endpoint_deinit(&f->endpoint);
    loop_free(f->loop);
    if (f->report_fd > 0) {
        fs_closep(&f->report_fd);
    }
    arena_deinit(&f->scratch);
    arena_deinit(&a);
    free(f);
    return ok ? 0 : 1;
}
