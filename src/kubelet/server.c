/*
 * The server's process: TLS and HTTP on the kubelet's port, and nothing else. It holds no credentials but the serving key, runs as a
 * user of its own, and asks the core (server-wire.h) what to answer.
 */
#include "kubelet/server-private.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "kubelet/server-confine.h"
#include "client/path-report.h"
#include "kubelet/limits.h"
#include "net/upgrade-proxy.h"

/* How soon the core is asked again when it could not be. */
#define TLS_ASK_AGAIN_MS 1000

struct question {
    struct list link;
    uint32_t id;
    server_answer_fn *done;
    void *arg;
};

struct server {
    struct loop *loop;
    const struct server_fork_config *config;
    struct loop_io io;
    struct wire_queue out;
    struct list questions;
    size_t n_requests; /* that the core has not answered */
    uint32_t next_id;
    struct net_tls_server *tls;
    struct http_server *http;
    struct loop_timer ask_again;
    int listen_fd;
    uint16_t plain_ports[2]; /* what their listeners are given */
};

/* A request under way. */
struct exchange {
    struct server *srv;
    struct http_stream *s;
    uint32_t asked;
    struct http_target target;
    struct upgrade_proxy *proxy;
    struct http_client *backend;
};

struct loop *server_loop(struct server *s)
{
    return s->loop;
}

/* ---- the core ---- */

static void watch_core(struct server *s)
{
    (void)loop_io_set(&s->io, LOOP_READ | (wire_queue_waits(&s->out) ? LOOP_WRITE : 0));
}

uint32_t server_ask(struct server *s, struct wire_message *m, server_answer_fn *done, void *arg)
{
    s->next_id = s->next_id == UINT32_MAX ? 1 : s->next_id + 1;
    m->id = s->next_id;
    m->fd = -1;
    int rc = wire_queue_send(&s->out, m);
    if (rc < 0) {
        log_warning("the core cannot be asked: %s", strerror(-rc));
        return 0;
    }
    watch_core(s);
    struct question *q = calloc(1, sizeof(*q));
    if (!q) {
        abort();
    }
    *q = (struct question){ .id = m->id, .done = done, .arg = arg };
    list_push_back(&s->questions, &q->link);
    return q->id;
}

void server_forget(struct server *s, uint32_t id)
{
    LIST_FOREACH(&s->questions, struct question, link, q) {
        if (q->id == id) {
            list_remove(&q->link);
            free(q);
            return;
        }
    }
}

static void on_tls(void *arg, const struct wire_message *m);

static void on_core(struct loop_io *io, unsigned events, void *arg)
{
    static char bytes[WIRE_MAX];
    struct server *s = arg;
    int fd;
    if (events & LOOP_WRITE) {
        wire_queue_flush(&s->out);
        watch_core(s);
    }
    ssize_t n = wire_receive(io->fd, bytes, &fd);
    struct wire_message m;
    if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR)) {
        loop_stop(s->loop); /* the core is gone, and so are we */
        return;
    }
    if (n < 0) {
        return;
    }
    if (wire_decode(str_n(bytes, (size_t)n), &m)) {
        m.fd = fd;
        if (m.id == 0) {
            on_tls(s, &m);
            return;
        }
        LIST_FOREACH(&s->questions, struct question, link, q) {
            if (q->id == m.id) {
                server_answer_fn *done = q->done;
                void *user = q->arg;
                list_remove(&q->link);
                free(q);
                done(user, &m);
                return;
            }
        }
    }
    fs_closep(&fd);
}

/* ---- answers ---- */

static void reply_text(struct http_stream *s, int status, struct str type, struct net_chunk body)
{
    const struct http_header headers[] = { { STR("content-type"), type }, { STR("x-content-type-options"), STR("nosniff") } };
    http_stream_reply(s, status, headers, ARRAY_SIZE(headers), &body, 1);
}

static void exchange_free(struct exchange *e)
{
    if (e->asked) {
        server_forget(e->srv, e->asked);
        e->srv->n_requests--;
    }
    upgrade_proxy_free(e->proxy);
    http_client_free(e->backend);
    if (e->s) {
        http_stream_release(e->s);
    }
    free(e);
}

static void on_upgraded(void *arg, struct http_stream *s, const struct upgrade_proxy_result *result)
{
    struct exchange *e = arg;
    e->proxy = NULL;
    if (s) {
        struct buf b;
        buf_init(&b, 4096);
        buf_printf(&b, "%s\n", result->err.msg);
        reply_text(s, result->err.code == ERR_BAD_REQUEST ? 400 : 502, STR("text/plain; charset=utf-8"), net_chunk_take_buf(&b));
    }
    exchange_free(e);
}

static void upgrade(struct exchange *e, const struct wire_message *m)
{
    struct err err = { 0 };
    uint64_t channels = 0;
    const struct net_path_spec what = { .outgoing = true, .peer = STR("container runtime"), .purpose = STR(PATH_PURPOSE_STREAM) };
    struct net_path *path = net_path_get(e->srv->loop, &what);
    const struct http_client_config backend = { .host = STR("127.0.0.1"), .port = (uint16_t)m->number, .protocol = HTTP_CLIENT_H1_ONLY, .path = path };
    struct upgrade_proxy_config config = { .target = m->strings[0], .idle_ms = e->srv->config->idle_ms };
    config.kind = str_eq_c(m->strings[1], "portforward") ? UPGRADE_PORT_FORWARD : UPGRADE_REMOTE_COMMAND;
    (void)!str_to_u64(m->strings[2], &channels);
    config.channels = (unsigned)channels;
    e->backend = http_client_new(e->srv->loop, &backend, &err);
    net_path_unref(path);
    if (!e->backend) {
        reply_text(e->s, 502, STR("text/plain"), net_chunk_copy(str_c(err.msg)));
        exchange_free(e);
        return;
    }
    e->proxy = upgrade_proxy_start(TAKE(e->s), e->backend, &config, on_upgraded, e);
}

static struct net_chunk chunk_of_file(int fd)
{
    struct stat st;
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    size_t size = fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
    char *at = buf_reserve(&b, size ? size : 1);
    ssize_t n = at ? pread(fd, at, size, 0) : -1;
    buf_commit(&b, n > 0 ? (size_t)n : 0);
    return net_chunk_take_buf(&b);
}

/* The core's answer to /paths is {"parts":[…]}: ours is added. */
static void reply_paths(struct exchange *e, struct net_chunk core)
{
    struct buf b;
    struct str text = core.bytes;
    buf_init(&b, 16u << 20);
    if (str_ends(text, STR("]}"))) {
        buf_append(&b, str_sub(text, 0, text.len - 2));
        buf_append_char(&b, ',');
        path_report_write(e->srv->loop, "kubelet server", STR_NULL, &b);
        buf_append_c(&b, "]}");
    }
    net_chunk_unref(core);
    int status = buf_failed(&b) || !b.len ? 500 : 200;
    reply_text(e->s, status, STR("application/json"), net_chunk_take_buf(&b));
}

static void on_answer(void *arg, const struct wire_message *m)
{
    struct exchange *e = arg;
    e->asked = 0;
    e->srv->n_requests--;
    if (m->what == WIRE_LOG && m->n_strings >= 4 && m->fd >= 0) {
        server_log_start(e->srv, TAKE(e->s), &e->target, m->fd, m->strings, m->number, str_eq_c(m->strings[3], "1"));
        exchange_free(e);
        return;
    }
    int fd = m->fd;
    if (m->what == WIRE_UPGRADE && m->n_strings >= 3) {
        upgrade(e, m);
    } else {
        bool good = m->what == WIRE_BODY && m->n_strings >= 2;
        if (good && m->number == 200 && e->target.n_segments == 1 && str_eq_c(e->target.segments[0], "paths")) {
            reply_paths(e, fd >= 0 ? chunk_of_file(fd) : net_chunk_copy(m->strings[1]));
            exchange_free(e);
            fs_closep(&fd);
            return;
        }
        reply_text(e->s, good ? (int)m->number : 500, good ? m->strings[0] : STR("text/plain"),
                   !good ? net_chunk_static(STR("the core's answer makes no sense\n")) : fd >= 0 ? chunk_of_file(fd) : net_chunk_copy(m->strings[1]));
        exchange_free(e);
    }
    fs_closep(&fd);
}

static void on_cancel(struct http_stream *s UNUSED, void *arg)
{
    exchange_free(arg);
}

/* ---- requests ---- */

static void ask(struct exchange *e, struct wire_message *m)
{
    e->asked = server_ask(e->srv, m, on_answer, e);
    if (e->asked) {
        e->srv->n_requests++;
    } else {
        /* Its headers are larger than a message, or the core is far behind. */
        reply_text(e->s, 503, STR("text/plain; charset=utf-8"), net_chunk_static(STR("the kubelet cannot take this request\n")));
        exchange_free(e);
    }
}

/* A request to a port that authenticates nobody: no credentials go on. */
static void ask_plain(struct exchange *e, const struct http_request *r)
{
    struct wire_message m = { .what = WIRE_PLAIN, .number = *(const uint16_t *)r->listener, .n_strings = 2 };
    m.strings[0] = r->method;
    m.strings[1] = r->target;
    ask(e, &m);
}

static void on_request(struct http_stream *s, void *arg)
{
    static const struct http_stream_ops ops = { .on_cancel = on_cancel };
    struct server *srv = arg;
    const struct http_request *r = http_stream_request(s);
    struct exchange *e = calloc(1, sizeof(*e));
    struct err err = { 0 };
    struct buf protocols;
    if (!e) {
        abort();
    }
    if (srv->n_requests >= KUBELET_MAX_REQUESTS) {
        free(e);
        reply_text(s, 429, STR("text/plain; charset=utf-8"), net_chunk_static(STR("too many requests, please try again later\n")));
        http_stream_release(s);
        return;
    }
    e->srv = srv;
    e->s = s;
    if (!http_target_parse(http_stream_arena(s), r->target, &e->target, &err)) {
        reply_text(s, 400, STR("text/plain"), net_chunk_copy(str_c(err.msg)));
        exchange_free(e);
        return;
    }
    http_stream_set_ops(s, &ops, e);
    if (r->listener) {
        ask_plain(e, r);
        return;
    }
    buf_init(&protocols, 8192);
    size_t pos = 0;
    for (struct str v; http_header_next(&r->headers, STR("sec-websocket-protocol"), &pos, &v);) {
        buf_printf(&protocols, "%s%.*s", protocols.len ? "," : "", STR_ARG(v));
    }
    struct wire_message m = { .what = WIRE_REQUEST, .n_strings = 4 };
    m.strings[0] = r->method;
    m.strings[1] = r->target;
    m.strings[2] = http_header_get(&r->headers, STR("authorization"));
    m.strings[3] = buf_str(&protocols);
    for (size_t i = 0; r->peer && r->peer->state != NET_PEER_NONE && i < r->peer->n_chain && m.n_strings < WIRE_MAX_STRINGS; i++) {
        m.strings[m.n_strings++] = r->peer->chain[i];
        m.number++;
    }
    ask(e, &m);
    buf_deinit(&protocols);
}

/* ---- TLS, start ---- */

static void on_tls(void *arg, const struct wire_message *m)
{
    struct server *s = arg;
    struct err err = { 0 };
    int fd = m->fd;
    fs_closep(&fd);
    if (m->n_strings < 3) {
        return; /* the core said why; what it gets later it sends unasked */
    }
    const struct net_tls_server_config config = { .identity = { .cert_pem = m->strings[0], .key_pem = m->strings[1] }, .client_ca_pem = m->strings[2],
                                                  .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    if (s->tls) {
        if (!net_tls_server_reload(s->tls, &config, &err)) {
            log_warning("the serving certificate cannot be read again, the old one stays: %s", err.msg);
        }
        return;
    }
    s->tls = net_tls_server_new(&config, &err);
    if (!s->tls || !http_server_listen(s->http, s->listen_fd, s->tls, NULL, &err)) {
        log_error("cannot serve: %s", err.msg);
        loop_stop(s->loop);
        return;
    }
    http_server_describe(s->http, s->listen_fd, PATH_PURPOSE_KUBELET, s->config->authn, s->config->authz);
}

static void ask_tls(void *arg)
{
    struct server *s = arg;
    struct wire_message m = { .what = WIRE_TLS };
    if (!server_ask(s, &m, on_tls, s)) {
        loop_timer_start(&s->ask_again, TLS_ASK_AGAIN_MS);
    }
}

/* A plain port; 0 is none. False with the reason. */
static bool open_plain(struct server *s, size_t i, uint16_t port, int *ret_fd, struct err *err)
{
    struct net_addr addr;
    s->plain_ports[i] = port;
    *ret_fd = -1;
    if (!port) {
        return true;
    }
    return net_addr_parse_ip(s->config->address, port, &addr) && (*ret_fd = net_listen(&addr, 0600, err)) >= 0;
}

static bool become_nobody(uint32_t uid, struct err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return err_set_errno(err, errno, "cannot give up privileges");
    }
    if (uid && geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)) {
        return err_set_errno(err, errno, "cannot become user %u", uid);
    }
    /* After the change of user, which clears it: the server never outlives the core. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    return true;
}

int server_main(const struct server_fork_config *config)
{
    struct server *s = calloc(1, sizeof(*s));
    struct err err = { 0 };
    struct net_addr addr;
    if (!s) {
        abort();
    }
    signal(SIGINT, SIG_IGN); /* the core ends us, also when a whole group is told to stop */
    signal(SIGTERM, SIG_IGN);
    s->config = config;
    list_init(&s->questions);
    if (!net_addr_parse_ip(config->address, config->port, &addr)) {
        log_error("--address %.*s is no IP address", STR_ARG(config->address));
        return 1;
    }
    s->listen_fd = config->port ? net_listen(&addr, 0600, &err) : -1;
    int plain[2];
    const struct http_server_config http = { .on_request = on_request, .arg = s };
    if ((config->port && s->listen_fd < 0) || !open_plain(s, 0, config->read_only_port, &plain[0], &err) ||
        !open_plain(s, 1, config->cadvisor_port, &plain[1], &err) || !become_nobody(config->uid, &err) || !(s->loop = loop_new(&err)) ||
        !(s->http = http_server_new(s->loop, &http, &err))) {
        log_error("cannot serve: %s", err.msg);
        return 1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
        if (plain[i] >= 0 && !http_server_listen(s->http, plain[i], NULL, &s->plain_ports[i], &err)) {
            log_error("cannot serve port %u: %s", s->plain_ports[i], err.msg);
            return 1;
        }
        if (plain[i] >= 0) {
            http_server_describe(s->http, plain[i], i == 0 ? PATH_PURPOSE_READ_ONLY : PATH_PURPOSE_CADVISOR, "nobody", "reads without side effects");
        }
    }
    if (!server_confine(&err)) {
        log_error("cannot confine the server's process: %s", err.msg);
        return 1;
    }
    wire_queue_init(&s->out, config->socket);
    loop_io_init(&s->io, s->loop, config->socket, on_core, s);
    if (loop_io_set(&s->io, LOOP_READ) < 0) {
        return 1;
    }
    loop_timer_init(&s->ask_again, s->loop, ask_tls, s);
    if (config->port) {
        ask_tls(s);
    }
    loop_run(s->loop);
    return 0;
}
