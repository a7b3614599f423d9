/*
 * Container logs over HTTP: a file that the core has opened goes through cri-log.h to the client, as fast as the client takes it.
 * A follower reads the file to its end before it asks the core whether more may come: the file may have been rotated, and then
 * the next one comes with the answer.
 */
#include "kubelet/server-private.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "kubelet/cri-log.h"

/* Between two questions to the core, which answers when there is more: what a busy container writes meanwhile goes out together. */
#define PAUSE_MS 20
/* After an answer that brought nothing: the container has ended, its log is being rotated, or the core has no watch to spare. */
#define POLL_MS 200
#define READ_SIZE 65536
/* What waits for a slow client. */
#define MAX_QUEUED (256u << 10)

struct log_stream {
    struct server *srv;
    struct http_stream *s;
    int fd, next_fd;
    struct cri_log_filter filter;
    struct loop_timer timer;
    bool grows, ended;
    char where[3][264];
    uint32_t attempt, asked;
    bool fruitless;       /* nothing came since the last answer */
    uint64_t answered_ms;
    int64_t left; /* bytes of the file that are still read; INT64_MAX: as many as come */
};

static void log_free(struct log_stream *l)
{
    loop_timer_stop(&l->timer);
    if (l->asked) {
        server_forget(l->srv, l->asked);
    }
    fs_closep(&l->fd);
    fs_closep(&l->next_fd);
    cri_log_filter_deinit(&l->filter);
    http_stream_release(l->s);
    free(l);
}

/* Takes what is in 'out'. */
static void give_out(struct log_stream *l, struct buf *out)
{
    if (out->len) {
        struct net_chunk c = net_chunk_take_buf(out);
        http_stream_write(l->s, &c, 1);
    }
    buf_deinit(out);
}

/* Like the end of a file: what is left of a line goes out. */
static void end_of_file(struct log_stream *l)
{
    struct buf out;
    buf_init(&out, BUF_NO_MAX);
    cri_log_end(&l->filter, &out);
    give_out(l, &out);
}

static void finish(struct log_stream *l)
{
    if (!l->ended) {
        l->ended = true;
        end_of_file(l);
        http_stream_end(l->s);
        log_free(l);
    }
}

/* Reads on. False at the end of the file; true while the client has to take something first. */
static bool pump(struct log_stream *l)
{
    static char bytes[READ_SIZE];
    while (!cri_log_full(&l->filter)) {
        if (http_stream_queued(l->s) >= MAX_QUEUED) {
            return true;
        }
        struct buf out;
        size_t want = (size_t)MIN((int64_t)sizeof(bytes), l->left);
        ssize_t n = read(l->fd, bytes, want);
        if (n <= 0) {
            return false;
        }
        l->fruitless = false;
        if (l->left != INT64_MAX) {
            l->left -= n;
        }
        buf_init(&out, BUF_NO_MAX);
        cri_log_feed(&l->filter, str_n(bytes, (size_t)n), &out);
        give_out(l, &out);
    }
    return false;
}

static void on_again(void *arg, const struct wire_message *m)
{
    struct log_stream *l = arg;
    struct stat a, b;
    l->asked = 0;
    if (!m) {
        finish(l);
        return;
    }
    l->grows = m->number == 1;
    if (m->fd >= 0) {
        if (fstat(m->fd, &a) == 0 && fstat(l->fd, &b) == 0 && a.st_ino != b.st_ino) {
            fs_closep(&l->next_fd);
            l->next_fd = m->fd;
        } else {
            close(m->fd);
        }
    }
    l->fruitless = true;
    l->answered_ms = loop_now_ms(server_loop(l->srv));
    loop_timer_start(&l->timer, 0);
}

static void on_timer(void *arg)
{
    struct log_stream *l = arg;
    if (pump(l)) {
        return; /* on_drain() goes on */
    }
    if (cri_log_full(&l->filter)) {
        finish(l);
        return;
    }
    if (l->next_fd >= 0) {
        end_of_file(l);
        fs_closep(&l->fd);
        l->fd = TAKE_FD(l->next_fd);
        loop_timer_start(&l->timer, 0);
        return;
    }
    if (!l->filter.options.follow || !l->grows) {
        finish(l);
        return;
    }
    uint64_t now = loop_now_ms(server_loop(l->srv)), due = l->answered_ms ? l->answered_ms + (l->fruitless ? POLL_MS : PAUSE_MS) : 0;
    if (now < due) {
        loop_timer_start(&l->timer, due - now);
        return;
    }
    struct wire_message m = { .what = WIRE_LOG_AGAIN, .number = l->attempt, .n_strings = 5, .fd = -1 };
    for (size_t i = 0; i < 3; i++) {
        m.strings[i] = str_c(l->where[i]);
    }
    struct stat st = { 0 };
    char inode[24], at[24];
    (void)fstat(l->fd, &st);
    snprintf(inode, sizeof(inode), "%llu", (unsigned long long)st.st_ino);
    snprintf(at, sizeof(at), "%lld", (long long)lseek(l->fd, 0, SEEK_CUR));
    m.strings[3] = str_c(inode);
    m.strings[4] = str_c(at);
    l->asked = server_ask(l->srv, &m, on_again, l);
    if (!l->asked) {
        loop_timer_start(&l->timer, POLL_MS);
    }
}

static void on_drain(struct http_stream *s UNUSED, void *arg)
{
    struct log_stream *l = arg;
    if (!l->asked) {
        loop_timer_start(&l->timer, 0);
    }
}

static void on_cancel(struct http_stream *s UNUSED, void *arg)
{
    struct log_stream *l = arg;
    if (!l->ended) {
        l->ended = true;
        log_free(l);
    }
}

/* Moves to where the last 'lines' lines begin: lines of the file, as upstream counts them. */
static void seek_tail(int fd, int64_t lines)
{
    char block[8192];
    off_t end = lseek(fd, 0, SEEK_END), at = lines > 0 ? end : 0;
    int64_t seen = 0;
    while (at > 0) {
        size_t n = (size_t)MIN(at, (off_t)sizeof(block));
        at -= (off_t)n;
        if (pread(fd, block, n, at) != (ssize_t)n) {
            break;
        }
        for (size_t i = n; i-- > 0;) {
            off_t place = at + (off_t)i;
            if (block[i] == '\n' && place + 1 != end && ++seen == lines) {
                (void)lseek(fd, place + 1, SEEK_SET);
                return;
            }
        }
    }
    if (lines > 0) {
        (void)lseek(fd, 0, SEEK_SET);
    }
}

void server_log_start(struct server *srv, struct http_stream *s, const struct http_target *t, int fd, const struct str where[3], uint32_t attempt,
                      bool grows)
{
    static const struct http_stream_ops ops = { .on_drain = on_drain, .on_cancel = on_cancel };
    static const struct http_header headers[] = { { STR_INIT("content-type"), STR_INIT("text/plain") } };
    struct log_stream *l = calloc(1, sizeof(*l));
    struct cri_log_options o = { .limit_bytes = -1, .tail_lines = -1 };
    struct err err = { 0 };
    int status = 0;
    if (!l) {
        abort();
    }
    if (!cri_log_options(t, clock_real_s(), &o, &status, &err)) {
        /* The core has looked at them before it opened the file. */
        struct net_chunk c = net_chunk_copy(str_c(err.msg));
        http_stream_reply(s, status, headers, ARRAY_SIZE(headers), &c, 1);
        http_stream_release(s);
        close(fd);
        free(l);
        return;
    }
    *l = (struct log_stream){ .srv = srv, .s = s, .fd = fd, .next_fd = -1, .grows = grows, .attempt = attempt };
    cri_log_filter_init(&l->filter, &o);
    for (size_t i = 0; i < 3; i++) {
        snprintf(l->where[i], sizeof(l->where[i]), "%.*s", STR_ARG(where[i]));
    }
    if (o.tail_lines >= 0) {
        seek_tail(fd, o.tail_lines);
    }
    /* Without follow the answer is the log as it is now: a container that writes all the time must not keep it going. */
    struct stat st;
    off_t at = lseek(fd, 0, SEEK_CUR);
    l->left = !o.follow && at >= 0 && fstat(fd, &st) == 0 ? MAX((int64_t)(st.st_size - at), (int64_t)0) : INT64_MAX;
    loop_timer_init(&l->timer, server_loop(srv), on_timer, l);
    http_stream_set_ops(s, &ops, l);
    http_stream_respond(s, 200, headers, ARRAY_SIZE(headers), -1);
    loop_timer_start(&l->timer, 0);
}
