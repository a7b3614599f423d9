/*
 * Exec, attach and port-forward: the kubelet's server is told a URL on loopback with a ticket that is good once and for a minute;
 * what comes there is SPDY, and is joined to a connection that dockerd gives over, or to ports of the pod.
 */
#include "kubelet/docker-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/encoding.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/rand.h"
#include "client/path-report.h"
#include "kubelet/docker-frame.h"
#include "kubelet/limits.h"
#include "net/addr.h"
#include "net/channels.h"
#include "net/http-server.h"
#include "net/portforward.h"

/* What waits between the two sides before the faster one is stopped. */
#define QUEUE (256u << 10)
#define LOOK_MS 20
#define LOOKS 250

enum kind { KIND_EXEC, KIND_ATTACH, KIND_FORWARD };
static const char *const kind_names[] = { "exec", "attach", "portforward" };

struct docker_streams {
    struct docker *d;
    struct http_server *server;
    uint16_t port;
    struct list tickets, sessions;
    size_t n_tickets;
    struct loop_timer sweep;
};

struct ticket {
    struct list link;
    enum kind kind;
    char token[33];
    char id[128];         /* of the container or sandbox */
    char *body;           /* of the exec, owned */
    bool in, out, err, tty;
    uint64_t until_ms;
};

struct forward {
    struct list link;
    struct session *s;
    struct portforward_conn *conn;
    struct netns_dial *dial;
    uint16_t port;
};

struct session {
    struct list link;
    struct docker_streams *streams;
    struct docker *d;
    struct ticket *t;
    struct channels *channels;
    struct portforward *forward;
    struct net_stream *node; /* dockerd's end */
    struct docker_frames frames;
    struct docker_http *http, *resizing;
    char exec[128];
    bool stdin_ended, started, node_ended;
    struct { unsigned w, h; bool due; } size;
    struct loop_timer timer;
    unsigned looks;
    int netns;
    bool netns_asked;
    struct list forwards;
    struct err failure;
};

/* ---- ends ---- */

static void ticket_free(struct ticket *t)
{
    free(t->body);
    free(t);
}

static void forward_free(struct forward *f)
{
    list_remove(&f->link);
    f->dial = netns_dial_cancel(f->dial);
    free(f);
}

static void session_free(struct session *s)
{
    list_remove(&s->link);
    LIST_FOREACH(&s->forwards, struct forward, link, f) {
        forward_free(f);
    }
    s->channels = channels_free(s->channels);
    s->forward = portforward_free(s->forward);
    s->node = net_stream_free(s->node);
    s->http = docker_http_cancel(s->http);
    s->resizing = docker_http_cancel(s->resizing);
    loop_timer_stop(&s->timer);
    fs_closep(&s->netns);
    ticket_free(s->t);
    free(s);
}

struct docker_streams *docker_streams_free(struct docker_streams *st)
{
    if (st) {
        LIST_FOREACH(&st->sessions, struct session, link, s) {
            session_free(s);
        }
        LIST_FOREACH(&st->tickets, struct ticket, link, t) {
            ticket_free(t);
        }
        loop_timer_stop(&st->sweep);
        st->server = http_server_free(st->server);
        free(st);
    }
    return NULL;
}

/* The command's end, as v4.channel.k8s.io tells it. */
static void tell(struct session *s, const struct err *err, int64_t code)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 8192);
    if (err) {
        buf_append_c(&b, "{\"metadata\":{},\"status\":\"Failure\",\"message\":");
        json_text_append(&b, str_c(err->msg));
        buf_append_c(&b, ",\"reason\":\"InternalError\",\"code\":500}");
    } else if (code) {
        buf_printf(&b,
                   "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: exit status %lld\","
                   "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"%lld\"}]}}",
                   (long long)code, (long long)code);
    } else {
        buf_append_c(&b, "{\"metadata\":{},\"status\":\"Success\"}");
    }
    channels_write(s->channels, CHANNEL_ERROR, buf_str(&b));
    channels_close(s->channels);
}

/* ---- sizes of terminals ---- */

static void resize(struct session *s);

static void on_resized(void *arg, const struct docker_answer *a UNUSED)
{
    struct session *s = arg;
    s->resizing = NULL;
    resize(s);
}

static void resize(struct session *s)
{
    struct arena a;
    char after[64];
    if (!s->size.due || !s->started || s->resizing || s->node_ended) {
        return;
    }
    s->size.due = false;
    arena_init(&a, 4096);
    snprintf(after, sizeof(after), "/resize?h=%u&w=%u", s->size.h, s->size.w);
    bool exec = s->t->kind == KIND_EXEC;
    const struct docker_http_spec spec = { .method = "POST", .path = docker_path(&a, exec ? "/exec/" : "/containers/", str_c(exec ? s->exec : s->t->id), after) };
    s->resizing = docker_http(s->d, &spec, on_resized, s);
    arena_deinit(&a);
}

/* {"Width":80,"Height":24} */
static void take_size(struct session *s, struct str data)
{
    struct arena a;
    struct val v;
    arena_init(&a, 65536);
    if (val_parse_json(&a, str_trim(data), 4, NULL, &v, NULL)) {
        int64_t w = docker_int(&v, "Width"), h = docker_int(&v, "Height");
        if (w > 0 && h > 0 && w < 65536 && h < 65536) {
            s->size.w = (unsigned)w;
            s->size.h = (unsigned)h;
            s->size.due = true;
            resize(s);
        }
    }
    arena_deinit(&a);
}

/* ---- dockerd's end ---- */

static void look(void *arg);

static void on_looked(void *arg, const struct docker_answer *a)
{
    struct session *s = arg;
    struct arena mem;
    struct val v;
    struct err err = { 0 };
    s->http = NULL;
    if (a->err) {
        tell(s, a->err, 0);
        return;
    }
    arena_init(&mem, KUBELET_MAX_CRI_ARENA);
    if (!val_parse_json(&mem, a->body, DOCKER_JSON_DEPTH, NULL, &v, &err)) {
        tell(s, &err, 0);
    } else if (docker_bool(&v, "Running") && ++s->looks < LOOKS) {
        loop_timer_start(&s->timer, LOOK_MS);
    } else {
        tell(s, NULL, docker_int(&v, "ExitCode"));
    }
    arena_deinit(&mem);
}

/* The exit code is known a moment after the output has ended. */
static void look(void *arg)
{
    struct session *s = arg;
    struct arena a;
    arena_init(&a, 4096);
    const struct docker_http_spec spec = { .method = "GET", .path = docker_path(&a, "/exec/", str_c(s->exec), "/json") };
    s->http = docker_http(s->d, &spec, on_looked, s);
    arena_deinit(&a);
}

static void node_ended(struct session *s)
{
    if (s->node_ended) {
        return;
    }
    s->node_ended = true;
    s->node = net_stream_free(s->node);
    if (s->t->kind == KIND_EXEC) {
        look(s);
    } else {
        tell(s, NULL, 0);
    }
}

static void on_frame(void *arg, bool error, struct str bytes)
{
    struct session *s = arg;
    if (error ? s->t->err : s->t->out) {
        channels_write(s->channels, error ? CHANNEL_STDERR : CHANNEL_STDOUT, bytes);
    }
}

static void on_node_data(struct net_stream *n, struct str data, void *arg)
{
    struct session *s = arg;
    if (s->t->tty) {
        on_frame(s, false, data);
    } else {
        docker_frames_feed(&s->frames, data);
    }
    if (channels_is_full(s->channels)) {
        net_stream_pause(n);
    }
}

static void on_node_eof(struct net_stream *n UNUSED, void *arg)
{
    node_ended(arg);
}

static void on_node_drain(struct net_stream *n UNUSED, void *arg)
{
    channels_resume(((struct session *)arg)->channels);
}

static void on_node_close(struct net_stream *n UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    node_ended(arg);
}

static void on_hijacked(void *arg, struct net_stream *node, const struct err *err)
{
    static const struct net_stream_ops ops = { .on_data = on_node_data, .on_eof = on_node_eof, .on_drain = on_node_drain, .on_close = on_node_close };
    struct session *s = arg;
    s->http = NULL;
    if (err) {
        tell(s, err, 0);
        return;
    }
    s->node = node;
    s->started = true;
    net_stream_set_ops(node, &ops, s);
    net_stream_resume(node);
    channels_resume(s->channels); /* standard input may come now */
    if (s->stdin_ended) {
        net_stream_shutdown(node);
    }
    resize(s);
}

static void on_exec_made(void *arg, const struct docker_answer *a)
{
    struct session *s = arg;
    struct arena mem;
    struct val v;
    struct err err = { 0 };
    s->http = NULL;
    if (a->err) {
        tell(s, a->err, 0);
        return;
    }
    arena_init(&mem, 1u << 20);
    if (!val_parse_json(&mem, a->body, DOCKER_JSON_DEPTH, NULL, &v, &err) || !str_to_cstr(docker_str(&v, "Id"), s->exec, sizeof(s->exec))) {
        (void)err_set(&err, ERR_INTERNAL, "dockerd's answer makes no sense");
        tell(s, &err, 0);
    } else {
        s->http = docker_hijack(s->d, docker_path(&mem, "/exec/", str_c(s->exec), "/start"),
                                s->t->tty ? STR("{\"Detach\":false,\"Tty\":true}") : STR("{\"Detach\":false,\"Tty\":false}"), on_hijacked, s);
    }
    arena_deinit(&mem);
}

/* ---- the client's end ---- */

static void on_open(struct channels *c, void *arg)
{
    struct session *s = arg;
    struct arena a;
    arena_init(&a, 4096);
    channels_pause(c); /* until dockerd has given its connection */
    if (s->t->kind == KIND_EXEC) {
        const struct docker_http_spec spec = { .method = "POST", .path = docker_path(&a, "/containers/", str_c(s->t->id), "/exec"), .body = str_c(s->t->body) };
        s->http = docker_http(s->d, &spec, on_exec_made, s);
    } else {
        char after[96];
        snprintf(after, sizeof(after), "/attach?stream=1&stdin=%d&stdout=%d&stderr=%d", s->t->in, s->t->out, s->t->err);
        s->http = docker_hijack(s->d, docker_path(&a, "/containers/", str_c(s->t->id), after), STR_EMPTY, on_hijacked, s);
    }
    arena_deinit(&a);
}

static void on_channel_data(struct channels *c, enum channel ch, struct str data, void *arg)
{
    struct session *s = arg;
    if (ch == CHANNEL_RESIZE) {
        take_size(s, data);
    } else if (ch == CHANNEL_STDIN && s->node) {
        net_stream_write_str(s->node, data);
        if (net_stream_over(s->node, QUEUE)) {
            channels_pause(c);
        }
    }
}

static void on_channel_end(struct channels *c UNUSED, enum channel ch, void *arg)
{
    struct session *s = arg;
    if (ch == CHANNEL_STDIN && !s->stdin_ended) {
        s->stdin_ended = true;
        if (s->node) {
            net_stream_shutdown(s->node);
        }
    }
}

static void on_channel_drain(struct channels *c UNUSED, void *arg)
{
    struct session *s = arg;
    if (s->node) {
        net_stream_resume(s->node);
    }
}

static void on_channels_close(struct channels *c UNUSED, const struct err *why UNUSED, void *arg)
{
    session_free(arg);
}

/* ---- port-forward ---- */

static void on_dialled(void *arg, int fd, const char *why)
{
    struct forward *f = arg;
    f->dial = NULL;
    if (fd >= 0) {
        portforward_join(f->conn, net_stream_new(f->s->d->loop, fd, NULL, NULL));
    } else {
        portforward_fail(f->conn, why);
    }
    forward_free(f);
}

static void dial(struct session *s)
{
    LIST_FOREACH(&s->forwards, struct forward, link, f) {
        if (f->dial) {
            continue;
        }
        if (s->netns >= 0) {
            f->dial = netns_dial(s->d->loop, s->netns, f->port, on_dialled, f);
        } else {
            portforward_fail(f->conn, s->failure.msg);
            forward_free(f);
        }
    }
}

static void on_sandbox(void *arg, const struct docker_answer *a)
{
    struct session *s = arg;
    struct arena mem;
    struct val v;
    char path[64];
    s->http = NULL;
    arena_init(&mem, KUBELET_MAX_CRI_ARENA);
    if (a->err) {
        s->failure = *a->err;
    } else if (val_parse_json(&mem, a->body, DOCKER_JSON_DEPTH, NULL, &v, &s->failure)) {
        int64_t pid = docker_int(val_get(&v, STR("State")), "Pid");
        snprintf(path, sizeof(path), "/proc/%lld/ns/net", (long long)pid);
        s->netns = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (s->netns < 0 || !docker_owns_pid(pid, str_c(s->t->id))) {
            fs_closep(&s->netns);
            (void)err_set(&s->failure, ERR_NOT_FOUND, "the pod is not running");
        }
    }
    arena_deinit(&mem);
    dial(s);
    s->netns_asked = s->netns >= 0; /* a failure is looked into again with the next connection */
}

static void on_connect(struct portforward *p UNUSED, struct portforward_conn *conn, uint16_t port, void *arg)
{
    struct session *s = arg;
    struct forward *f = calloc(1, sizeof(*f));
    struct arena a;
    if (!f) {
        abort();
    }
    *f = (struct forward){ .s = s, .conn = conn, .port = port };
    list_push_back(&s->forwards, &f->link);
    if (s->netns >= 0) {
        dial(s);
    } else if (!s->http) {
        arena_init(&a, 4096);
        const struct docker_http_spec spec = { .method = "GET", .path = docker_path(&a, "/containers/", str_c(s->t->id), "/json") };
        s->http = docker_http(s->d, &spec, on_sandbox, s);
        arena_deinit(&a);
    }
}

static void on_abandon(struct portforward *p UNUSED, struct portforward_conn *conn, void *arg)
{
    struct session *s = arg;
    LIST_FOREACH(&s->forwards, struct forward, link, f) {
        if (f->conn == conn) {
            forward_free(f);
        }
    }
}

static void on_forward_close(struct portforward *p UNUSED, const struct err *why UNUSED, void *arg)
{
    session_free(arg);
}

/* ---- the server ---- */

static void answer(struct http_stream *h, int status, const char *text)
{
    static const struct http_header type[] = { { STR_INIT("content-type"), STR_INIT("text/plain") } };
    struct net_chunk body = net_chunk_copy(str_c(text));
    http_stream_reply(h, status, type, 1, &body, 1);
}

static struct ticket *take_ticket(struct docker_streams *st, struct str path)
{
    uint64_t now = loop_now_ms(st->d->loop);
    LIST_FOREACH(&st->tickets, struct ticket, link, t) {
        char want[64];
        snprintf(want, sizeof(want), "/%s/%s", kind_names[t->kind], t->token);
        if (t->until_ms > now && str_eq_c(path, want)) {
            list_remove(&t->link);
            st->n_tickets--;
            return t;
        }
    }
    return NULL;
}

static void begin(struct docker_streams *st, struct ticket *t, struct net_stream *up)
{
    static const struct channels_ops channel_ops = { on_open, on_channel_data, on_channel_end, on_channel_drain, on_channels_close };
    static const struct portforward_ops forward_ops = { on_connect, on_abandon, on_forward_close };
    struct session *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    *s = (struct session){ .streams = st, .d = st->d, .t = t, .netns = -1 };
    list_init(&s->forwards);
    list_push_back(&st->sessions, &s->link);
    loop_timer_init(&s->timer, st->d->loop, look, s);
    s->frames = (struct docker_frames){ .take = on_frame, .arg = s };
    if (t->kind == KIND_FORWARD) {
        s->forward = portforward_new(up, st->d->options.idle_ms, &forward_ops, s);
        return;
    }
    const struct channels_config config = {
        .protocol = CHANNELS_SPDY_V4, .server = true, .idle_ms = st->d->options.idle_ms,
        .mask = CHANNEL_BIT(CHANNEL_ERROR) | (t->in ? CHANNEL_BIT(CHANNEL_STDIN) : 0) | (t->out ? CHANNEL_BIT(CHANNEL_STDOUT) : 0) |
                (t->err ? CHANNEL_BIT(CHANNEL_STDERR) : 0) | (t->tty ? CHANNEL_BIT(CHANNEL_RESIZE) : 0),
    };
    s->channels = channels_new(up, &config, &channel_ops, s);
}

static void on_request(struct http_stream *h, void *arg)
{
    struct docker_streams *st = arg;
    const struct http_request *r = http_stream_request(h);
    struct ticket *t = take_ticket(st, r->target);
    struct str version = t && t->kind == KIND_FORWARD ? STR("portforward.k8s.io") : STR("v4.channel.k8s.io");
    if (!t) {
        answer(h, 404, "no such session: its address is good once, and for a minute\n");
    } else if (!http_stream_wants_upgrade(h) || !str_eq_nocase(http_header_get(&r->headers, STR("upgrade")), STR("SPDY/3.1"))) {
        answer(h, 400, "only an upgrade to SPDY/3.1 is served\n");
        ticket_free(t);
    } else {
        const struct http_header headers[] = { { STR("upgrade"), STR("SPDY/3.1") }, { STR("x-stream-protocol-version"), version } };
        struct net_stream *up = http_stream_upgrade(h, headers, ARRAY_SIZE(headers));
        if (up) {
            begin(st, t, up);
        } else {
            ticket_free(t);
        }
    }
    http_stream_release(h);
}

static void on_sweep(void *arg)
{
    struct docker_streams *st = arg;
    uint64_t now = loop_now_ms(st->d->loop);
    LIST_FOREACH(&st->tickets, struct ticket, link, t) {
        if (t->until_ms <= now) {
            list_remove(&t->link);
            st->n_tickets--;
            ticket_free(t);
        }
    }
    if (st->n_tickets) {
        loop_timer_start(&st->sweep, DOCKER_TICKET_MS);
    }
}

static bool listen_on_loopback(struct docker_streams *st, struct err *err)
{
    struct net_addr to, own = { .len = sizeof(own.in6) };
    const struct http_server_config config = { .on_request = on_request, .arg = st };
    int fd = net_addr_parse_ip(STR("127.0.0.1"), 0, &to) ? net_listen(&to, 0, err) : -1;
    if (fd < 0) {
        return false;
    }
    if (getsockname(fd, &own.sa, &own.len) < 0) {
        close(fd);
        return err_set_errno(err, errno, "the streaming server");
    }
    st->port = net_addr_port(&own);
    st->server = http_server_new(st->d->loop, &config, err);
    if (!st->server) {
        close(fd);
        return false;
    }
    if (!http_server_listen(st->server, fd, NULL, NULL, err)) {
        return false;
    }
    http_server_describe(st->server, fd, PATH_PURPOSE_STREAM, "a ticket that is good once", "the kubelet, before it gave the ticket");
    return true;
}

static struct docker_streams *streams_of(struct docker *d, struct err *err)
{
    if (!d->streams) {
        struct docker_streams *st = calloc(1, sizeof(*st));
        if (!st) {
            abort();
        }
        st->d = d;
        list_init(&st->tickets);
        list_init(&st->sessions);
        loop_timer_init(&st->sweep, d->loop, on_sweep, st);
        if (!listen_on_loopback(st, err)) {
            (void)docker_streams_free(st);
            return NULL;
        }
        d->streams = st;
    }
    return d->streams;
}

/* The URL of a new ticket, or absent after docker_fail(). */
static struct str issue(struct runtime_call *c, const struct ticket *what, struct str id, struct str body)
{
    struct err err = { 0 };
    struct docker_streams *st = streams_of(c->d, &err);
    unsigned char random[16];
    if (!st) {
        docker_fail(c, &err);
        return STR_NULL;
    }
    if (st->n_tickets >= DOCKER_MAX_TICKETS) {
        docker_fail_with(c, ERR_TOO_MANY_REQUESTS, "too many sessions were asked for and not begun");
        return STR_NULL;
    }
    struct ticket *t = calloc(1, sizeof(*t));
    if (!t) {
        abort();
    }
    *t = *what;
    if (!str_to_cstr(id, t->id, sizeof(t->id))) {
        free(t);
        docker_fail_with(c, ERR_NOT_FOUND, "no such container");
        return STR_NULL;
    }
    t->body = body.len ? strndup(body.ptr, body.len) : NULL;
    rand_bytes(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        snprintf(t->token + 2 * i, 3, "%02x", random[i]);
    }
    t->until_ms = loop_now_ms(c->d->loop) + DOCKER_TICKET_MS;
    list_push_back(&st->tickets, &t->link);
    st->n_tickets++;
    if (!loop_timer_runs(&st->sweep)) {
        loop_timer_start(&st->sweep, DOCKER_TICKET_MS);
    }
    return arena_printf(&c->a, "http://127.0.0.1:%u/%s/%s", st->port, kind_names[t->kind], t->token);
}

/* ---- the calls ---- */

void docker_exec(struct runtime_call *c)
{
    const struct cri_v1_exec_request *q = c->request;
    const struct ticket t = { .kind = KIND_EXEC, .in = q->stdin, .out = q->stdout, .err = q->stderr && !q->tty, .tty = q->tty };
    CLEANUP(buf_deinit) struct buf body;
    buf_init(&body, KUBELET_MAX_CRI_REQUEST);
    docker_exec_body(&body, q->cmd, q->n_cmd, t.in, t.out, t.err, t.tty);
    struct str url = issue(c, &t, q->container_id, buf_str(&body));
    struct cri_v1_exec_response *r = url.ptr ? docker_response(c) : NULL;
    if (r) {
        r->url = url;
        docker_done(c, r);
    }
}

void docker_attach(struct runtime_call *c)
{
    const struct cri_v1_attach_request *q = c->request;
    const struct ticket t = { .kind = KIND_ATTACH, .in = q->stdin, .out = q->stdout, .err = q->stderr && !q->tty, .tty = q->tty };
    struct str url = issue(c, &t, q->container_id, STR_EMPTY);
    struct cri_v1_attach_response *r = url.ptr ? docker_response(c) : NULL;
    if (r) {
        r->url = url;
        docker_done(c, r);
    }
}

void docker_port_forward(struct runtime_call *c)
{
    const struct cri_v1_port_forward_request *q = c->request;
    const struct ticket t = { .kind = KIND_FORWARD };
    struct str url = issue(c, &t, q->pod_sandbox_id, STR_EMPTY);
    struct cri_v1_port_forward_response *r = url.ptr ? docker_response(c) : NULL;
    if (r) {
        r->url = url;
        docker_done(c, r);
    }
}
