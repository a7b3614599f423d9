#include "net/grpc.h"

#include <assert.h>

#include "base/log.h"
#include "base/rand.h"
#include "net/dial.h"
#include "net/grpc-session.h"
#include "net/path.h"
#include "net/stream.h"
#include "net/stream-limits.h"

/* How long a connection attempt may take before its calls fail. */
#define CONNECT_TIMEOUT_MS 5000
/* Servers count pings that come more often than this as an attack (gRPC's "too_many_pings"). */
#define PING_EVERY_MS 5000

enum state {
    IDLE,       /* no connection; the next call makes one, after 'not_before_ms' */
    CONNECTING, /* dialling, or in the TLS handshake */
    CONNECTED,
};

struct endpoint {
    char *host, *authority;
    uint16_t port;
};

struct grpc_client {
    struct loop *loop;
    struct grpc_config config;
    struct net_path *net_path;
    struct endpoint *endpoints;
    size_t n_endpoints, at;      /* the one in use, or tried next */
    size_t failures;             /* attempts in a row */

    enum state state;
    struct net_dial *dial;
    struct net_stream *stream;
    struct loop_task work;       /* starts calls, fails them, sends */
    struct loop_timer timer;     /* connection attempt, or the back-off of calls that wait */
    struct loop_task leaving;    /* fn NULL: not queued */
    struct loop_timer watchdog;  /* is the server still there? */
    struct grpc_session *session;
    uint64_t received_ms;        /* when the last byte came */
    uint64_t ping_ms;            /* when the last ping went; 0: never on this connection */
    bool pinged;                 /* nothing came since */
    bool heard;                  /* a byte has come on this connection */

    struct list waiting, active; /* calls */
    size_t n_calls;
    uint64_t not_before_ms;      /* next attempt */
    uint32_t backoff_ms;
    struct err last_err;         /* why there is no connection */

    unsigned in_callback;        /* the client must not be freed under the session's feet */
    bool doomed;
};

struct grpc_call {
    struct list link;
    struct grpc_client *client;
    struct grpc_stream stream;
    char *method;
    struct loop_timer deadline;
    uint64_t deadline_ms; /* 0: none */
    uint64_t started_ms;  /* when it went to the server */
    bool active, wait_for_ready;
    enum grpc_code refused; /* the call was never to be sent, for the reason in the stream's status */
    grpc_done_fn *done;
    grpc_message_fn *on_message;
    grpc_end_fn *end;
    void *arg;
};

static struct grpc_call *call_of(struct grpc_stream *st)
{
    return CONTAINER_OF(st, struct grpc_call, stream);
}

static void call_free(struct grpc_call *call)
{
    list_remove(&call->link);
    loop_timer_stop(&call->deadline);
    call->client->n_calls--;
    grpc_stream_deinit(&call->stream);
    free(call->method);
    free(call);
}

/* Takes the call out and tells its owner how it ended. */
static void call_end(struct grpc_call *call)
{
    struct grpc_client *c = call->client;
    struct grpc_status status = call->stream.status;
    list_remove(&call->link);
    loop_timer_stop(&call->deadline);
    c->in_callback++;
    if (call->done) {
        bool ok = status.code == GRPC_OK;
        call->done(call->arg, ok ? buf_str(&call->stream.answer) : STR_EMPTY, &status);
    } else if (call->end) {
        call->end(call->arg, &status);
    }
    c->in_callback--;
    call_free(call);
}

static void client_destroy(struct grpc_client *c)
{
    loop_task_cancel(&c->work);
    loop_task_cancel(&c->leaving);
    loop_timer_stop(&c->timer);
    loop_timer_stop(&c->watchdog);
    grpc_session_free(c->session);
    net_path_unref(c->net_path);
    net_tls_client_unref(c->config.tls);
    for (size_t i = 0; i < c->n_endpoints; i++) {
        free(c->endpoints[i].host);
        free(c->endpoints[i].authority);
    }
    free(c->endpoints);
    free(c);
}

/* After callbacks: frees a client that its owner gave up meanwhile. Returns true when it is gone. */
static bool client_is_gone(struct grpc_client *c)
{
    if (c->doomed && c->in_callback == 0) {
        client_destroy(c);
        return true;
    }
    return false;
}

static struct net_dialer *dialer_of(const struct grpc_client *c)
{
    return c->config.dialer ? c->config.dialer : net_dialer_direct();
}

static void disconnect(struct grpc_client *c)
{
    loop_timer_stop(&c->timer);
    loop_timer_stop(&c->watchdog);
    if (c->dial) {
        dialer_of(c)->ops->cancel(c->dial);
        c->dial = NULL;
    }
    c->stream = net_stream_free(c->stream);
    c->state = IDLE;
}

/* The connection is lost or could not be made. Calls on it fail; those that wait are looked at by on_work(). The client may
 * be doomed afterwards. */
static void connection_failed(struct grpc_client *c, const struct err *why)
{
    /* One that took the connection and never said a word is given one chance. */
    bool was_connected = c->state == CONNECTED && (c->heard || c->failures == 0);
    struct list failed;
    assert(c->in_callback == 0);
    c->last_err = *why;
    net_path_failed(c->net_path, why->msg);
    disconnect(c);
    c->session = grpc_session_free(c->session);
    c->at = (c->at + 1) % c->n_endpoints;
    if (was_connected) {
        c->not_before_ms = 0; /* a server that restarts is looked for at once, and so is another one */
        c->backoff_ms = 0;
        c->failures = c->heard ? 0 : 1;
    } else if (++c->failures % c->n_endpoints != 0) {
        c->not_before_ms = 0; /* the others first */
    } else {
        c->backoff_ms = c->backoff_ms ? MIN(c->backoff_ms * 2, c->config.backoff_max_ms) : c->config.backoff_min_ms;
        c->not_before_ms = loop_now_ms(c->loop) + c->backoff_ms / 2 + rand_below(c->backoff_ms / 2 + 1);
    }
    list_init(&failed);
    while (!list_empty(&c->active)) {
        struct grpc_call *call = LIST_ENTRY(list_pop_front(&c->active), struct grpc_call, link);
        call->stream.id = 0;
        list_push_back(&failed, &call->link);
    }
    c->in_callback++;
    while (!list_empty(&failed)) {
        struct grpc_call *call = LIST_ENTRY(failed.next, struct grpc_call, link);
        grpc_status_set(&call->stream.status, GRPC_UNAVAILABLE, "%s", why->msg);
        call->stream.status.sent = true;
        call_end(call);
    }
    c->in_callback--;
    loop_task_defer(&c->work);
}

/* Events of the session */

static void session_message(void *user UNUSED, struct grpc_stream *st, struct str message)
{
    struct grpc_call *call = call_of(st);
    if (call->on_message && !call->client->doomed) {
        call->on_message(call->arg, message);
    }
}

static void session_end(void *user UNUSED, struct grpc_stream *st, bool refused)
{
    st->status.sent = !refused;
    call_end(call_of(st));
}

static const struct grpc_session_events session_events = { .on_message = session_message, .on_end = session_end };

/* The connection */

static bool client_send(struct grpc_client *c, struct err *err)
{
    while (!net_stream_over(c->stream, GRPC_SEND_QUEUE)) {
        struct str out;
        if (!grpc_session_send(c->session, &out, err)) {
            return false;
        }
        if (out.len == 0) {
            return true;
        }
        net_stream_write_str(c->stream, out);
    }
    return true;
}

/* After something came, or may be sent. */
static void send_or_fail(struct grpc_client *c, bool ok, struct err *err)
{
    if (ok) {
        c->in_callback++; /* a stream may end while its last frame is made */
        ok = client_send(c, err);
        c->in_callback--;
        if (client_is_gone(c)) {
            return;
        }
    }
    if (!ok) {
        connection_failed(c, err);
    } else if (list_empty(&c->active) && grpc_session_is_draining(c->session)) {
        disconnect(c);
        c->session = grpc_session_free(c->session);
        c->at = (c->at + 1) % c->n_endpoints; /* it is going away: the next one, where there is one */
        loop_task_defer(&c->work);
    }
    (void)client_is_gone(c);
}

static void stream_data(struct net_stream *stream UNUSED, struct str data, void *arg)
{
    struct grpc_client *c = arg;
    struct err err = { 0 };
    c->received_ms = loop_now_ms(c->loop);
    c->heard = true;
    c->pinged = false;
    c->in_callback++;
    bool ok = grpc_session_recv(c->session, data, &err);
    c->in_callback--;
    if (!client_is_gone(c)) {
        send_or_fail(c, ok, &err);
    }
}

static void stream_drain(struct net_stream *stream UNUSED, void *arg)
{
    struct err err = { 0 };
    send_or_fail(arg, true, &err);
}

static void stream_eof(struct net_stream *stream UNUSED, void *arg)
{
    struct grpc_client *c = arg;
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "%s closed the connection", c->endpoints[c->at].host);
    connection_failed(c, &err);
    (void)client_is_gone(c);
}

static void stream_close(struct net_stream *stream UNUSED, enum net_close why UNUSED, const char *reason, void *arg)
{
    struct grpc_client *c = arg;
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "%s: %s", c->endpoints[c->at].authority, reason);
    connection_failed(c, &err);
    (void)client_is_gone(c);
}

static void stream_open(struct net_stream *stream, void *arg)
{
    struct grpc_client *c = arg;
    if (c->config.tls && net_stream_alpn(stream) != NET_ALPN_H2) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "%s does not speak HTTP/2", c->endpoints[c->at].authority);
        connection_failed(c, &err);
        (void)client_is_gone(c);
        return;
    }
    loop_timer_stop(&c->timer);
    c->state = CONNECTED;
    c->received_ms = loop_now_ms(c->loop);
    c->ping_ms = 0;
    c->pinged = c->heard = false;
    c->session = grpc_session_new(&session_events, c);
    grpc_session_set_target(c->session, c->config.tls != NULL, c->endpoints[c->at].authority, c->config.metadata,
                            c->config.n_metadata);
    if (c->config.keepalive_ms || c->config.silence_ms) {
        loop_timer_start(&c->watchdog, c->config.silence_ms ? c->config.silence_ms / 2 : c->config.keepalive_ms / 2);
    }
    loop_task_defer(&c->work);
}

static const struct net_stream_ops stream_ops = {
    .on_open = stream_open, .on_data = stream_data, .on_eof = stream_eof, .on_drain = stream_drain, .on_close = stream_close,
};

static void on_dialled(int fd, const struct err *why, void *arg)
{
    struct grpc_client *c = arg;
    struct endpoint *e = &c->endpoints[c->at];
    c->dial = NULL;
    if (fd < 0) {
        struct err err = *why;
        connection_failed(c, &err);
        (void)client_is_gone(c);
        return;
    }
    c->stream = c->config.tls ? net_stream_new_tls_client(c->loop, fd, c->config.tls, str_c(e->host), &stream_ops, c)
                              : net_stream_new(c->loop, fd, &stream_ops, c);
    if (c->config.tls) {
        net_stream_restrict_alpn(c->stream, NET_ALPN_H2);
    }
    if (c->net_path) {
        net_stream_set_path(c->stream, c->net_path);
    }
}

static void on_timer(void *arg)
{
    struct grpc_client *c = arg;
    if (c->state == CONNECTING) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "%s did not accept the connection in %u ms", c->endpoints[c->at].host,
                c->config.connect_ms);
        connection_failed(c, &err);
        (void)client_is_gone(c);
    } else {
        loop_task_defer(&c->work);
    }
}

/* Since when has a call waited for its first byte while nothing at all came? 0: no call does. */
static uint64_t silent_since(const struct grpc_client *c)
{
    uint64_t since = 0;
    LIST_FOREACH(&c->active, struct grpc_call, link, call) {
        if (call->stream.unary) {
            uint64_t at = MAX(call->started_ms, c->received_ms);
            since = since ? MIN(since, at) : at;
        }
    }
    return since;
}

static void on_watchdog(void *arg)
{
    struct grpc_client *c = arg;
    uint64_t now = loop_now_ms(c->loop), since = silent_since(c);
    const struct grpc_config *g = &c->config;
    uint32_t patience = g->silence_ms ? g->silence_ms : g->keepalive_ms;
    struct err err = { 0 };
    loop_timer_start(&c->watchdog, MAX(patience / 2, 10u));
    if (c->pinged && now - c->ping_ms >= patience) {
        err_set(&err, ERR_UNAVAILABLE, "%s does not answer any more", c->endpoints[c->at].authority);
        connection_failed(c, &err);
        (void)client_is_gone(c);
        return;
    }
    bool silent = g->silence_ms && since && now - since >= g->silence_ms;
    bool idle = g->keepalive_ms && now - c->received_ms >= g->keepalive_ms && !list_empty(&c->active);
    if (!c->pinged && (silent || idle) && (c->ping_ms == 0 || now - c->ping_ms >= PING_EVERY_MS)) {
        c->pinged = true;
        c->ping_ms = now;
        grpc_session_ping(c->session);
        send_or_fail(c, true, &err);
    }
}

static void connect_start(struct grpc_client *c)
{
    c->state = CONNECTING;
    c->dial = net_dial_start(dialer_of(c), c->loop, str_c(c->endpoints[c->at].host), c->endpoints[c->at].port,
                             c->config.connect_ms, on_dialled, c);
    loop_timer_start(&c->timer, c->config.connect_ms);
}

static void call_start(struct grpc_call *call)
{
    struct grpc_client *c = call->client;
    struct err err;
    uint64_t now = loop_now_ms(c->loop);
    call->stream.timeout_ms = call->deadline_ms ? MAX(call->deadline_ms, now + 1) - now : 0;
    list_remove(&call->link);
    list_push_back(&c->active, &call->link);
    call->active = true;
    call->started_ms = now;
    if (!grpc_session_start(c->session, &call->stream, &err)) {
        grpc_status_set(&call->stream.status, GRPC_UNAVAILABLE, "%s", err.msg);
        call_end(call);
    }
}

/* Without a connection: ends the calls that do not wait for one, and comes back for the others. */
static void fail_waiting(struct grpc_client *c)
{
    struct list calls;
    list_init(&calls);
    LIST_FOREACH(&c->waiting, struct grpc_call, link, call) {
        if (!call->wait_for_ready) {
            list_remove(&call->link);
            list_push_back(&calls, &call->link);
        }
    }
    while (!list_empty(&calls)) {
        struct grpc_call *call = LIST_ENTRY(calls.next, struct grpc_call, link);
        grpc_status_set(&call->stream.status, GRPC_UNAVAILABLE, "%s", c->last_err.msg);
        call_end(call);
    }
    if (!list_empty(&c->waiting) && !c->doomed) {
        uint64_t now = loop_now_ms(c->loop);
        loop_timer_start(&c->timer, c->not_before_ms > now ? c->not_before_ms - now : 0);
    }
}

static void end_refused(struct grpc_client *c)
{
    struct list calls;
    list_init(&calls);
    LIST_FOREACH(&c->waiting, struct grpc_call, link, call) {
        if (call->refused != GRPC_OK) {
            list_remove(&call->link);
            list_push_back(&calls, &call->link);
        }
    }
    while (!list_empty(&calls)) {
        call_end(LIST_ENTRY(calls.next, struct grpc_call, link));
    }
}

/* The client's one deferred task: brings calls and connection together, then sends. */
static void on_work(void *arg)
{
    struct grpc_client *c = arg;
    struct err err = { 0 };
    bool ok = true;

    c->in_callback++;
    end_refused(c);
    c->in_callback--;
    if (c->state == IDLE && !c->doomed && !list_empty(&c->waiting) && loop_now_ms(c->loop) >= c->not_before_ms) {
        connect_start(c);
    }
    c->in_callback++;
    if (c->state == IDLE && !c->doomed) {
        fail_waiting(c);
    } else if (c->state == CONNECTED) {
        struct list starting;
        list_init(&starting);
        while (!grpc_session_is_draining(c->session) && !list_empty(&c->waiting)) {
            list_push_back(&starting, list_pop_front(&c->waiting));
        }
        while (!list_empty(&starting)) {
            call_start(LIST_ENTRY(starting.next, struct grpc_call, link));
        }
        ok = c->doomed || client_send(c, &err);
    }
    c->in_callback--;
    if (!ok && !c->doomed) {
        connection_failed(c, &err);
    }
    (void)client_is_gone(c);
}

/* The client */

static char *copy(struct str s)
{
    char *dst = malloc(s.len + 1);
    if (!dst) {
        abort();
    }
    if (!str_to_cstr(s, dst, s.len + 1)) {
        dst[0] = '\0'; /* a NUL inside: no such host, dialling says so */
    }
    return dst;
}

struct grpc_client *grpc_client_new(struct loop *l, const struct grpc_config *config)
{
    struct grpc_client *c = calloc(1, sizeof(*c));
    size_t n = config->unix_path ? 1 : config->n_endpoints;
    assert(n > 0);
    if (!c || !(c->endpoints = calloc(n, sizeof(*c->endpoints)))) {
        abort();
    }
    c->n_endpoints = n;
    for (size_t i = 0; i < n; i++) {
        struct endpoint *e = &c->endpoints[i];
        struct grpc_endpoint from = config->unix_path ? (struct grpc_endpoint){ .host = str_c(config->unix_path) }
                                                      : config->endpoints[i];
        bool v6 = str_find_char(from.host, ':') >= 0;
        e->host = copy(from.host);
        e->port = from.port;
        if (from.port == 0) {
            e->authority = strdup("localhost"); /* what servers on unix sockets accept */
        } else if (asprintf(&e->authority, v6 ? "[%s]:%u" : "%s:%u", e->host, from.port) < 0) {
            e->authority = NULL;
        }
        if (!e->authority) {
            abort();
        }
    }
    c->loop = l;
    c->config = *config;
    c->config.unix_path = NULL;
    c->config.endpoints = NULL;
    c->config.tls = config->tls ? net_tls_client_ref(config->tls) : NULL;
    c->net_path = config->path ? net_path_ref(config->path) : NULL;
    c->config.max_message = config->max_message ? config->max_message : GRPC_MAX_MESSAGE;
    c->config.backoff_min_ms = config->backoff_min_ms ? config->backoff_min_ms : 50;
    c->config.backoff_max_ms = config->backoff_max_ms ? config->backoff_max_ms : 3000;
    c->config.connect_ms = config->connect_ms ? config->connect_ms : CONNECT_TIMEOUT_MS;
    list_init(&c->waiting);
    list_init(&c->active);
    loop_task_init(&c->work, l, on_work, c);
    loop_timer_init(&c->timer, l, on_timer, c);
    loop_timer_init(&c->watchdog, l, on_watchdog, c);
    return c;
}

struct grpc_client *grpc_client_free(struct grpc_client *c)
{
    if (!c || c->doomed) {
        return NULL;
    }
    c->doomed = true;
    disconnect(c);
    struct list *lists[] = { &c->active, &c->waiting };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        while (!list_empty(lists[i])) {
            struct grpc_call *call = LIST_ENTRY(lists[i]->next, struct grpc_call, link);
            if (c->session) {
                grpc_session_cancel(c->session, &call->stream);
            }
            grpc_status_set(&call->stream.status, GRPC_CANCELLED, "the client was closed");
            call->stream.status.sent = call->active;
            call_end(call);
        }
    }
    (void)client_is_gone(c);
    return NULL;
}

bool grpc_client_is_connected(const struct grpc_client *c)
{
    return c->state == CONNECTED;
}

const char *grpc_client_endpoint(const struct grpc_client *c)
{
    return c->endpoints[c->at].authority;
}

static void on_left(void *arg)
{
    struct grpc_client *c = arg;
    c->leaving.fn = NULL;
    if (c->state == CONNECTED && !c->doomed) {
        struct err err = c->last_err;
        connection_failed(c, &err);
        (void)client_is_gone(c);
    }
}

void grpc_client_leave(struct grpc_client *c, const char *why)
{
    if (c->state == CONNECTED && !c->leaving.fn) {
        err_set(&c->last_err, ERR_UNAVAILABLE, "%s: %s", c->endpoints[c->at].authority, why);
        loop_task_init(&c->leaving, c->loop, on_left, c);
        loop_task_defer(&c->leaving);
    }
}

/* Calls */

static void on_deadline(void *arg)
{
    struct grpc_call *call = arg;
    struct grpc_client *c = call->client;
    if (c->session) {
        grpc_session_cancel(c->session, &call->stream);
    }
    bool away = c->state != CONNECTED && c->last_err.msg[0];
    grpc_status_set(&call->stream.status, GRPC_DEADLINE_EXCEEDED, "no answer to %s within its time%s%s", call->method, away ? ": " : "",
                    away ? c->last_err.msg : "");
    call->stream.status.sent = call->active;
    loop_task_defer(&c->work);
    call_end(call);
    (void)client_is_gone(c);
}

/* The call ends with this status without being sent. */
static void call_refuse(struct grpc_call *call, enum grpc_code code, const char *why)
{
    call->refused = code;
    grpc_status_set(&call->stream.status, code, "%s", why);
}

static void call_request(struct grpc_call *call, struct str request)
{
    call->stream.send_end = true;
    grpc_frame_append(&call->stream.send, request);
    if (buf_failed(&call->stream.send)) {
        call_refuse(call, GRPC_RESOURCE_EXHAUSTED, "request is larger than the largest message");
    }
}

static struct grpc_call *call_new(struct grpc_client *c, const char *method, uint64_t timeout_ms)
{
    struct grpc_call *call = calloc(1, sizeof(*call));
    if (!call || !(call->method = strdup(method))) {
        abort();
    }
    assert(!c->doomed);
    call->client = c;
    grpc_stream_init(&call->stream, c->config.max_message);
    call->stream.method = call->method;
    loop_timer_init(&call->deadline, c->loop, on_deadline, call);
    if (timeout_ms) {
        loop_timer_start(&call->deadline, timeout_ms);
        call->deadline_ms = loop_now_ms(c->loop) + timeout_ms;
    }
    if (c->n_calls >= GRPC_MAX_CALLS) {
        call_refuse(call, GRPC_RESOURCE_EXHAUSTED, "too many calls at once on one client");
    }
    c->n_calls++;
    list_push_back(&c->waiting, &call->link);
    loop_task_defer(&c->work);
    return call;
}

struct grpc_call *grpc_unary(struct grpc_client *c, const char *method, struct str request, uint64_t timeout_ms,
                             grpc_done_fn *done, void *arg)
{
    struct grpc_call *call = call_new(c, method, timeout_ms);
    call->stream.unary = true;
    call_request(call, request);
    call->done = done;
    call->arg = arg;
    return call;
}

struct grpc_call *grpc_server_stream(struct grpc_client *c, const char *method, struct str request, uint64_t timeout_ms,
                                     grpc_message_fn *on_message, grpc_end_fn *end, void *arg)
{
    struct grpc_call *call = grpc_bidi_stream(c, method, timeout_ms, on_message, end, arg);
    call_request(call, request);
    return call;
}

struct grpc_call *grpc_bidi_stream(struct grpc_client *c, const char *method, uint64_t timeout_ms,
                                   grpc_message_fn *on_message, grpc_end_fn *end, void *arg)
{
    struct grpc_call *call = call_new(c, method, timeout_ms);
    call->on_message = on_message;
    call->end = end;
    call->arg = arg;
    return call;
}

bool grpc_call_send(struct grpc_call *call, struct str message)
{
    struct grpc_stream *st = &call->stream;
    if (st->send_end || message.len > st->send.max - GRPC_PREFIX_SIZE ||
        st->send.len > st->send.max - GRPC_PREFIX_SIZE - message.len) {
        return false;
    }
    grpc_frame_append(&st->send, message);
    if (call->active) {
        grpc_session_more(call->client->session, st);
    }
    loop_task_defer(&call->client->work);
    return true;
}

void grpc_call_send_end(struct grpc_call *call)
{
    call->stream.send_end = true;
    if (call->active) {
        grpc_session_more(call->client->session, &call->stream);
    }
    loop_task_defer(&call->client->work);
}

void grpc_call_pause(struct grpc_call *call)
{
    call->stream.paused = true;
}

void grpc_call_resume(struct grpc_call *call)
{
    struct grpc_client *c = call->client;
    if (call->stream.paused && call->active && c->session) {
        c->in_callback++;
        grpc_session_resume(c->session, &call->stream);
        c->in_callback--;
        if (!client_is_gone(c)) {
            loop_task_defer(&c->work); /* sends the window that is free again */
        }
    } else {
        call->stream.paused = false;
    }
}

void grpc_call_wait_for_ready(struct grpc_call *call)
{
    call->wait_for_ready = true;
}

void grpc_call_cancel(struct grpc_call *call)
{
    if (call) {
        struct grpc_client *c = call->client;
        if (c->session) {
            grpc_session_cancel(c->session, &call->stream);
        }
        loop_task_defer(&c->work);
        call_free(call);
    }
}
