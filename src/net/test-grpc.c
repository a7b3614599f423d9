/* The gRPC client against a small server on nghttp2 in the same loop. */
#include "net/grpc.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/test.h"
#include "net/grpc-frame.h"
#include "net/stream-limits.h"

/* What the server does with a call is told by its path. */
struct reply {
    struct list link;
    int32_t id;
    char path[64];
    struct buf request, body;
    size_t pos;
    bool answered;
    struct server *server;
};

struct server {
    struct loop *loop;
    char path[64];
    int listen_fd, fd;
    struct loop_io listen_io, io;
    nghttp2_session *ng;
    struct list replies;
    struct buf out;
    int n_connections;
    bool die_after_request;
};

static const char *const trailer_ok[] = { "grpc-status", "0" };

static nghttp2_nv nv(const char *n, const char *v)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)n, (uint8_t *)(uintptr_t)v, strlen(n), strlen(v), 0 };
}

static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *dst, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user UNUSED)
{
    struct reply *r = source->ptr;
    size_t n = MIN(size, r->body.len - r->pos);
    if (n) {
        memcpy(dst, r->body.ptr + r->pos, n);
    }
    r->pos += n;
    if (r->pos == r->body.len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (strcmp(r->path, "/no-trailer") != 0) {
            nghttp2_nv t = nv(trailer_ok[0], trailer_ok[1]);
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(ng, id, &t, 1);
        }
    }
    return (ssize_t)n;
}

static void answer(struct server *s, struct reply *r)
{
    nghttp2_nv ok[] = { nv(":status", "200"), nv("content-type", "application/grpc+proto") };
    r->answered = true;
    buf_init(&r->body, BUF_NO_MAX);
    if (strcmp(r->path, "/hang") == 0) {
        return;
    }
    if (strcmp(r->path, "/not-found") == 0) {
        nghttp2_nv only[] = { ok[0], ok[1], nv("grpc-status", "5"), nv("grpc-message", "no such container \"%C3%A9\"%") };
        nghttp2_submit_response(s->ng, r->id, only, 4, NULL);
        return;
    }
    if (strcmp(r->path, "/http-503") == 0) {
        nghttp2_nv bad[] = { nv(":status", "503"), nv("content-type", "text/html") };
        nghttp2_submit_response(s->ng, r->id, bad, 2, NULL);
        return;
    }
    if (strcmp(r->path, "/reset") == 0) {
        nghttp2_submit_rst_stream(s->ng, 0, r->id, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (strcmp(r->path, "/too-large") == 0) {
        buf_append(&r->body, str_n("\0\x7f\xff\xff\xff", 5));
    } else if (strcmp(r->path, "/compressed") == 0) {
        buf_append(&r->body, str_n("\1\0\0\0\1x", 6));
    } else if (strcmp(r->path, "/cut") == 0) {
        buf_append(&r->body, str_n("\0\0\0\0\5abc", 8));
    } else if (strcmp(r->path, "/two") == 0) {
        grpc_frame_append(&r->body, STR("one"));
        grpc_frame_append(&r->body, STR("two"));
    } else if (strcmp(r->path, "/count") == 0) {
        for (int i = 0; i < 3000; i++) {
            char text[1000];
            snprintf(text, sizeof(text), "%d", i);
            grpc_frame_append(&r->body, str_n(text, sizeof(text)));
        }
    } else if (strcmp(r->path, "/none") != 0) {
        buf_append(&r->body, buf_str(&r->request)); /* framed as it came: an echo */
    }
    nghttp2_data_provider p = { .source = { .ptr = r }, .read_callback = read_body };
    nghttp2_submit_response(s->ng, r->id, ok, 2, &p);
}

static struct reply *reply_find(struct server *s, int32_t id)
{
    LIST_FOREACH(&s->replies, struct reply, link, r) {
        if (r->id == id) {
            return r;
        }
    }
    return NULL;
}

static int server_header(nghttp2_session *ng UNUSED, const nghttp2_frame *f, const uint8_t *n, size_t n_len,
                         const uint8_t *v, size_t v_len, uint8_t flags UNUSED, void *user)
{
    struct server *s = user;
    if (str_eq(str_n((const char *)n, n_len), STR(":path"))) {
        struct reply *r = calloc(1, sizeof(*r));
        r->id = f->hd.stream_id;
        r->server = s;
        buf_init(&r->request, BUF_NO_MAX);
        CHECK(str_to_cstr(str_n((const char *)v, v_len), r->path, sizeof(r->path)));
        list_push_back(&s->replies, &r->link);
    }
    return 0;
}
static int server_data(nghttp2_session *ng UNUSED, uint8_t flags UNUSED, int32_t id, const uint8_t *p, size_t n, void *user)
{
    buf_append_bytes(&reply_find(user, id)->request, p, n);
    return 0;
}
static int server_frame(nghttp2_session *ng UNUSED, const nghttp2_frame *f, void *user)
{
    struct server *s = user;
    struct reply *r = reply_find(s, f->hd.stream_id);
    if (r && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) && !s->die_after_request) {
        answer(s, r);
    }
    return 0;
}

static void server_hangup(struct server *s)
{
    loop_io_stop(&s->io);
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
    nghttp2_session_del(s->ng);
    s->ng = NULL;
    LIST_FOREACH(&s->replies, struct reply, link, r) {
        list_remove(&r->link);
        buf_deinit(&r->request);
        buf_deinit(&r->body);
        free(r);
    }
}

static void server_io(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct server *s = arg;
    char in[20000];
    ssize_t n = recv(s->fd, in, sizeof(in), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        server_hangup(s);
        return;
    }
    if (n > 0) {
        CHECK_INT(nghttp2_session_mem_recv(s->ng, (uint8_t *)in, (size_t)n), n);
        if (s->die_after_request && !list_empty(&s->replies)) {
            server_hangup(s);
            return;
        }
    }
    const uint8_t *p;
    ssize_t m;
    while (s->out.len < 100000 && (m = nghttp2_session_mem_send(s->ng, &p)) > 0) {
        buf_append_bytes(&s->out, p, (size_t)m);
    }
    n = send(s->fd, s->out.ptr, s->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        buf_consume(&s->out, (size_t)n);
    }
    loop_io_set(io, s->out.len || nghttp2_session_want_write(s->ng) ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void server_accept(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct server *s = arg;
    nghttp2_session_callbacks *cb;
    s->fd = accept(s->listen_fd, NULL, NULL);
    s->n_connections++;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, server_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, server_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, server_frame);
    nghttp2_session_server_new(&s->ng, cb, s);
    nghttp2_session_callbacks_del(cb);
    nghttp2_settings_entry e = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 50 };
    nghttp2_submit_settings(s->ng, 0, &e, 1);
    buf_clear(&s->out);
    loop_io_init(&s->io, s->loop, s->fd, server_io, s);
    loop_io_set(&s->io, LOOP_READ | LOOP_WRITE);
}

static void server_listen(struct server *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    memcpy(addr.sun_path + 1, s->path + 1, strlen(s->path) - 1);
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(s->listen_fd, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(s->path))), 0);
    CHECK_INT(listen(s->listen_fd, 4), 0);
    loop_io_init(&s->listen_io, s->loop, s->listen_fd, server_accept, s);
    loop_io_set(&s->listen_io, LOOP_READ);
}

static void server_init(struct server *s, struct loop *l)
{
    char suffix[11];
    rand_suffix(suffix, 10);
    *s = (struct server){ .loop = l, .fd = -1, .listen_fd = -1 };
    snprintf(s->path, sizeof(s->path), "@coracle-test-grpc-%s", suffix);
    list_init(&s->replies);
    buf_init(&s->out, BUF_NO_MAX);
}
static void server_deinit(struct server *s)
{
    server_hangup(s);
    loop_io_stop(&s->listen_io);
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
        s->listen_fd = -1;
    }
    buf_deinit(&s->out);
}

/* One test's loop, server and client, and what calls came to. */
struct fix {
    struct loop *l;
    struct server s;
    struct grpc_client *c;
    int n_done;
    enum grpc_code code;
    bool sent;
    char msg[1024];
    struct buf got;
    int n_messages;
    struct grpc_call *call;
    int pause_at;
};

static void fix_init(struct fix *f, bool listening)
{
    struct err err;
    *f = (struct fix){ 0 };
    f->l = loop_new(&err);
    CHECK(f->l);
    server_init(&f->s, f->l);
    if (listening) {
        server_listen(&f->s);
    }
    f->c = grpc_client_new(f->l, &(struct grpc_config){ .unix_path = f->s.path, .backoff_min_ms = 20 });
    buf_init(&f->got, BUF_NO_MAX);
}
static void fix_deinit(struct fix *f)
{
    f->c = grpc_client_free(f->c);
    server_deinit(&f->s);
    buf_deinit(&f->got);
    loop_free(f->l);
}
static void note(struct fix *f, const struct grpc_status *st)
{
    f->n_done++;
    f->code = st->code;
    f->sent = st->sent;
    snprintf(f->msg, sizeof(f->msg), "%s", st->err.msg);
}
static void done(void *arg, struct str response, const struct grpc_status *st)
{
    struct fix *f = arg;
    note(f, st);
    buf_clear(&f->got);
    buf_append(&f->got, response);
}
static void on_end(void *arg, const struct grpc_status *st)
{
    note(arg, st);
}
static void on_message(void *arg, struct str message)
{
    struct fix *f = arg;
    buf_append(&f->got, message);
    if (++f->n_messages == f->pause_at) {
        grpc_call_pause(f->call);
    }
}
static void run(struct fix *f, int n_done)
{
    uint64_t end = clock_mono_ms() + 30000;
    while (f->n_done < n_done && clock_mono_ms() < end) {
        loop_turn(f->l, 10);
    }
    CHECK_INT(f->n_done, n_done);
}

TEST(grpc_unary_calls_get_their_answers)
{
    struct fix f;
    fix_init(&f, true);
    grpc_unary(f.c, "/echo", STR("hello"), 5000, done, &f);
    CHECK_INT(f.n_done, 0);
    run(&f, 1);
    CHECK_INT(f.code, GRPC_OK);
    CHECK_STR_C(buf_str(&f.got), "hello");
    grpc_unary(f.c, "/echo", STR_EMPTY, 0, done, &f);
    run(&f, 2);
    CHECK_INT(f.code, GRPC_OK);
    CHECK_INT(f.got.len, 0);
    CHECK_INT(f.s.n_connections, 1);
    fix_deinit(&f);
}

TEST(grpc_errors_keep_code_and_message)
{
    static const struct {
        const char *path;
        enum grpc_code code;
        const char *msg;
    } cases[] = {
        { "/not-found", GRPC_NOT_FOUND, "no such container \"\xc3\xa9\"%" },
        { "/http-503", GRPC_UNAVAILABLE, "server answered with HTTP status 503" },
        { "/reset", GRPC_INTERNAL, "stream was reset by the server: INTERNAL_ERROR" },
        { "/too-large", GRPC_RESOURCE_EXHAUSTED, "server sent a message of 2147483647 bytes, limit is 16777216" },
        { "/compressed", GRPC_INTERNAL, "server sent a compressed message, which nobody asked for" },
        { "/cut", GRPC_INTERNAL, "server ended the call without a whole message" },
        { "/none", GRPC_INTERNAL, "server ended the call without a whole message" },
        { "/two", GRPC_INTERNAL, "server sent two messages to a call with one answer" },
        { "/no-trailer", GRPC_UNKNOWN, "server ended the call without a status" },
    };
    struct fix f;
    fix_init(&f, true);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        grpc_unary(f.c, cases[i].path, STR("x"), 5000, done, &f);
        run(&f, (int)i + 1);
        CHECK_STR_C(str_c(f.msg), cases[i].msg);
        CHECK_INT(f.code, cases[i].code);
        CHECK_INT(f.got.len, 0);
    }
    CHECK_INT(f.s.n_connections, 1);
    fix_deinit(&f);
}

TEST(grpc_many_large_calls_share_one_connection)
{
    struct fix f;
    fix_init(&f, true);
    static char big[300000];
    memset(big, 'b', sizeof(big));
    for (int i = 0; i < 200; i++) {
        grpc_unary(f.c, "/echo", str_n(big, sizeof(big)), 20000, done, &f);
    }
    run(&f, 200);
    CHECK_INT(f.code, GRPC_OK);
    CHECK_INT(f.got.len, sizeof(big));
    CHECK_INT(f.s.n_connections, 1);
    fix_deinit(&f);
}

TEST(grpc_calls_past_the_limit_are_refused)
{
    struct fix f;
    fix_init(&f, true);
    for (unsigned i = 0; i < GRPC_MAX_CALLS; i++) {
        grpc_unary(f.c, "/hang", STR("x"), 0, done, &f);
    }
    grpc_unary(f.c, "/echo", STR("x"), 0, done, &f);
    run(&f, 1);
    CHECK_INT(f.code, GRPC_RESOURCE_EXHAUSTED);
    CHECK(!f.sent);
    f.c = grpc_client_free(f.c);
    CHECK_INT(f.n_done, 1 + GRPC_MAX_CALLS);
    CHECK_INT(f.code, GRPC_CANCELLED);
    fix_deinit(&f);
}

TEST(grpc_deadline_ends_a_call)
{
    struct fix f;
    fix_init(&f, true);
    grpc_unary(f.c, "/hang", STR("x"), 50, done, &f);
    run(&f, 1);
    CHECK_INT(f.code, GRPC_DEADLINE_EXCEEDED);
    CHECK_STR_C(str_c(f.msg), "no answer to /hang within its time");
    grpc_unary(f.c, "/echo", STR("x"), 5000, done, &f);
    run(&f, 2);
    CHECK_INT(f.code, GRPC_OK);
    fix_deinit(&f);
}

TEST(grpc_cancelled_calls_stay_silent)
{
    struct fix f;
    fix_init(&f, true);
    grpc_call_cancel(grpc_unary(f.c, "/echo", STR("x"), 5000, done, &f));
    struct grpc_call *call = grpc_unary(f.c, "/hang", STR("x"), 5000, done, &f);
    grpc_unary(f.c, "/echo", STR("x"), 5000, done, &f);
    run(&f, 1);
    grpc_call_cancel(call);
    grpc_unary(f.c, "/echo", STR("y"), 5000, done, &f);
    run(&f, 2);
    CHECK_STR_C(buf_str(&f.got), "y");
    fix_deinit(&f);
}

TEST(grpc_server_streams_deliver_in_order_and_pause)
{
    struct fix f;
    fix_init(&f, true);
    f.pause_at = 7;
    f.call = grpc_server_stream(f.c, "/count", STR("x"), 0, on_message, on_end, &f);
    for (int i = 0; i < 300; i++) {
        loop_turn(f.l, 1);
    }
    CHECK_INT(f.n_messages, 7);
    CHECK_INT(f.n_done, 0);
    /* Another call is not held back by the one that does not read. */
    grpc_unary(f.c, "/echo", STR("x"), 5000, done, &f);
    run(&f, 1);
    buf_clear(&f.got);
    grpc_call_resume(f.call);
    run(&f, 2);
    CHECK_INT(f.code, GRPC_OK);
    CHECK_INT(f.n_messages, 3000);
    CHECK(str_starts(buf_str(&f.got), str_n("7\0", 2)));
    fix_deinit(&f);
}

TEST(grpc_bidi_streams_send_later_messages)
{
    struct fix f;
    fix_init(&f, true);
    f.call = grpc_bidi_stream(f.c, "/echo", 0, on_message, on_end, &f);
    CHECK(grpc_call_send(f.call, STR("a")));
    for (int i = 0; i < 10; i++) {
        loop_turn(f.l, 1);
    }
    CHECK(grpc_call_send(f.call, STR("bc")));
    grpc_call_send_end(f.call);
    run(&f, 1);
    CHECK_INT(f.code, GRPC_OK);
    CHECK_INT(f.n_messages, 2);
    CHECK_STR_C(buf_str(&f.got), "abc");
    fix_deinit(&f);
}

TEST(grpc_without_server_fails_at_once_and_recovers)
{
    struct fix f;
    fix_init(&f, false);
    grpc_unary(f.c, "/echo", STR("x"), 5000, done, &f);
    run(&f, 1);
    CHECK_INT(f.code, GRPC_UNAVAILABLE);
    CHECK(!f.sent);
    CHECK(str_ends(str_c(f.msg), STR("Connection refused")));
    /* This one waits until the server is there. */
    grpc_call_wait_for_ready(grpc_unary(f.c, "/echo", STR("x"), 5000, done, &f));
    for (int i = 0; i < 5; i++) {
        loop_turn(f.l, 10);
    }
    CHECK_INT(f.n_done, 1);
    server_listen(&f.s);
    run(&f, 2);
    CHECK_INT(f.code, GRPC_OK);
    fix_deinit(&f);
}

TEST(grpc_lost_connection_fails_its_calls_and_the_next_call_connects_again)
{
    struct fix f;
    fix_init(&f, true);
    f.s.die_after_request = true;
    grpc_unary(f.c, "/echo", STR("x"), 5000, done, &f);
    run(&f, 1);
    CHECK_INT(f.code, GRPC_UNAVAILABLE);
    CHECK(f.sent);
    f.s.die_after_request = false;
    grpc_unary(f.c, "/echo", STR("x"), 5000, done, &f);
    run(&f, 2);
    CHECK_INT(f.code, GRPC_OK);
    CHECK_INT(f.s.n_connections, 2);
    fix_deinit(&f);
}

static void done_frees_client(void *arg, struct str response UNUSED, const struct grpc_status *st)
{
    struct fix *f = arg;
    note(f, st);
    f->c = grpc_client_free(f->c);
}

TEST(grpc_client_may_be_freed_inside_a_callback)
{
    struct fix f;
    fix_init(&f, true);
    grpc_unary(f.c, "/hang", STR("x"), 5000, done, &f);
    grpc_unary(f.c, "/echo", STR("x"), 5000, done_frees_client, &f);
    run(&f, 2);
    CHECK_INT(f.code, GRPC_CANCELLED);
    fix_deinit(&f);
}

TEST(grpc_messages_are_cut_right_whatever_the_splits)
{
    struct buf b;
    struct grpc_deframer d;
    struct grpc_status st;
    buf_init(&b, BUF_NO_MAX);
    grpc_frame_append(&b, STR("first"));
    grpc_frame_append(&b, STR_EMPTY);
    grpc_frame_append(&b, STR("third message"));
    for (size_t split = 1; split <= b.len; split++) {
        struct buf log;
        buf_init(&log, BUF_NO_MAX);
        grpc_deframer_init(&d, 100);
        for (size_t at = 0; at < b.len; at += split) {
            struct str in = str_sub(buf_str(&b), at, split);
            while (in.len) {
                bool got;
                struct str m;
                CHECK(grpc_deframe(&d, &in, &got, &m, &st));
                if (got) {
                    buf_printf(&log, "[%.*s]", STR_ARG(m));
                }
            }
        }
        CHECK_STR_C(buf_str(&log), "[first][][third message]");
        CHECK(!grpc_deframer_is_inside(&d));
        grpc_deframer_deinit(&d);
        buf_deinit(&log);
    }
    buf_deinit(&b);
}

TEST(grpc_timeouts_fit_eight_digits)
{
    char t[GRPC_TIMEOUT_SIZE];
    grpc_timeout_format(1500, t);
    CHECK_STR_C(str_c(t), "1500m");
    grpc_timeout_format(200000000, t);
    CHECK_STR_C(str_c(t), "200000S");
    grpc_timeout_format(UINT64_MAX, t);
    CHECK_STR_C(str_c(t), "99999999S");
}
