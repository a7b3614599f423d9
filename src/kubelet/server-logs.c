/*
 * Container logs as the kubelet serves them: lines of the CRI log format ("TIME STREAM TAG text", tag P for a part of a line),
 * with tailLines, sinceSeconds and sinceTime, timestamps, limitBytes, stream and follow. A file that was rotated is read to its end
 * before the next one is asked for.
 */
#include "kubelet/server-private.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"

#define POLL_MS 200
#define READ_SIZE 65536
/* A log line of the runtime is at most 16 KB of text. */
#define MAX_LINE (1u << 20)

struct log_stream {
    struct server *srv;
    struct http_stream *s;
    int fd, next_fd;
    struct buf rest;         /* an unfinished line */
    struct loop_timer timer;
    bool follow, timestamps, grows, ended;
    char only[8];            /* "stdout", "stderr", or "" */
    int64_t since_s;
    uint32_t since_ns;
    int64_t left;            /* of limitBytes; -1: no limit */
    char where[3][264];
    uint32_t attempt, asked;
};

static void log_free(struct log_stream *l)
{
    loop_timer_stop(&l->timer);
    if (l->asked) {
        server_forget(l->srv, l->asked);
    }
    fs_closep(&l->fd);
    fs_closep(&l->next_fd);
    buf_deinit(&l->rest);
    http_stream_release(l->s);
    free(l);
}

static void finish(struct log_stream *l)
{
    if (!l->ended) {
        l->ended = true;
        http_stream_end(l->s);
        log_free(l);
    }
}

static void emit(struct log_stream *l, struct buf *out, struct str line)
{
    struct str stamp, stream, tag, text, tail;
    int64_t sec;
    uint32_t ns;
    if (!str_cut(line, ' ', &stamp, &tail) || !str_cut(tail, ' ', &stream, &tail) || !str_cut(tail, ' ', &tag, &text)) {
        return;
    }
    if ((l->only[0] && !str_eq_c(stream, l->only)) ||
        (l->since_s && clock_parse_rfc3339(stamp, &sec, &ns) && (sec < l->since_s || (sec == l->since_s && ns < l->since_ns)))) {
        return;
    }
    size_t from = out->len;
    if (l->timestamps) {
        buf_printf(out, "%.*s ", STR_ARG(stamp));
    }
    buf_append(out, text);
    if (tag.len && tag.ptr[0] == 'F') {
        buf_append_char(out, '\n');
    }
    if (l->left >= 0) {
        size_t n = out->len - from;
        if ((int64_t)n > l->left) {
            out->len = from + (size_t)l->left;
            n = (size_t)l->left;
        }
        l->left -= (int64_t)n;
    }
}

/* Reads on. Returns what read(2) returned last. */
static ssize_t pump(struct log_stream *l)
{
    struct buf out;
    ssize_t n = 1;
    while (n > 0 && http_stream_queued(l->s) < (256u << 10) && l->left != 0) {
        char *at = buf_reserve(&l->rest, READ_SIZE);
        if (!at) {
            buf_clear(&l->rest); /* a line without end: dropped */
            continue;
        }
        n = read(l->fd, at, READ_SIZE);
        if (n <= 0) {
            break;
        }
        buf_commit(&l->rest, (size_t)n);
        buf_init(&out, BUF_NO_MAX);
        size_t used = 0;
        const char *end;
        while (used < l->rest.len && (end = memchr(l->rest.ptr + used, '\n', l->rest.len - used)) && l->left != 0) {
            size_t len = (size_t)(end - (l->rest.ptr + used));
            emit(l, &out, str_n(l->rest.ptr + used, len));
            used += len + 1;
        }
        buf_consume(&l->rest, used);
        if (out.len) {
            struct net_chunk c = net_chunk_take_buf(&out);
            http_stream_write(l->s, &c, 1);
        }
        buf_deinit(&out);
    }
    return n;
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
    loop_timer_start(&l->timer, l->grows && l->next_fd < 0 ? POLL_MS : 0);
}

static void on_timer(void *arg)
{
    struct log_stream *l = arg;
    ssize_t n = pump(l);
    if (l->left == 0) {
        finish(l);
        return;
    }
    if (n > 0) {
        return; /* the client is slow: on_drain goes on */
    }
    if (l->next_fd >= 0) {
        fs_closep(&l->fd);
        l->fd = TAKE_FD(l->next_fd);
        loop_timer_start(&l->timer, 0);
        return;
    }
    if (!l->follow || !l->grows) {
        finish(l);
        return;
    }
    struct wire_message m = { .what = WIRE_LOG_AGAIN, .number = l->attempt, .n_strings = 3, .fd = -1 };
    for (size_t i = 0; i < 3; i++) {
        m.strings[i] = str_c(l->where[i]);
    }
    l->asked = server_ask(l->srv, &m, on_again, l);
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

/* Moves to where the last 'lines' lines begin. */
static void seek_tail(int fd, uint64_t lines)
{
    char block[8192];
    off_t at = lseek(fd, 0, SEEK_END);
    uint64_t seen = 0;
    off_t end = at;
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
            if (lines == 0) {
                (void)lseek(fd, end, SEEK_SET);
                return;
            }
        }
    }
    (void)lseek(fd, 0, SEEK_SET);
}

void server_log_start(struct server *srv, struct http_stream *s, const struct http_target *t, int fd, const struct str where[3], uint32_t attempt,
                      bool grows)
{
    static const struct http_stream_ops ops = { .on_drain = on_drain, .on_cancel = on_cancel };
    static const struct http_header headers[] = { { STR_INIT("content-type"), STR_INIT("text/plain") } };
    struct log_stream *l = calloc(1, sizeof(*l));
    uint64_t lines, limit, seconds;
    struct str value;
    if (!l) {
        abort();
    }
    *l = (struct log_stream){ .srv = srv, .s = s, .fd = fd, .next_fd = -1, .grows = grows, .attempt = attempt, .left = -1 };
    l->follow = http_param_bool(t, STR("follow"), false);
    l->timestamps = http_param_bool(t, STR("timestamps"), false);
    for (size_t i = 0; i < 3; i++) {
        snprintf(l->where[i], sizeof(l->where[i]), "%.*s", STR_ARG(where[i]));
    }
    value = http_param_get(t, STR("stream"));
    snprintf(l->only, sizeof(l->only), "%s", str_eq_nocase(value, STR("stdout")) ? "stdout" : str_eq_nocase(value, STR("stderr")) ? "stderr" : "");
    if (str_to_u64(http_param_get(t, STR("limitBytes")), &limit)) {
        l->left = (int64_t)limit;
    }
    if (str_to_u64(http_param_get(t, STR("sinceSeconds")), &seconds)) {
        l->since_s = clock_real_s() - (int64_t)seconds;
    } else if ((value = http_param_get(t, STR("sinceTime"))).len) {
        (void)!clock_parse_rfc3339(value, &l->since_s, &l->since_ns);
    }
    if (str_to_u64(http_param_get(t, STR("tailLines")), &lines)) {
        seek_tail(fd, lines);
    }
    buf_init(&l->rest, MAX_LINE);
    loop_timer_init(&l->timer, server_loop(srv), on_timer, l);
    http_stream_set_ops(s, &ops, l);
    http_stream_respond(s, 200, headers, ARRAY_SIZE(headers), -1);
    loop_timer_start(&l->timer, 0);
}
