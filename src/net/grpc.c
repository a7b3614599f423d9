#include "net/grpc.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"
#include "net/grpc-session.h"
#include "net/path.h"
#include "net/stream-limits.h"

/* How long a connection attempt may take before its calls fail. */
#define CONNECT_TIMEOUT_MS 5000

enum state {
    IDLE,       /* no connection; the next call makes one, after 'not_before_ms' */
    CONNECTING,
    CONNECTED,
};

struct grpc_client {
    struct loop *loop;
    struct grpc_config config;
    struct net_path *net_path;
    char *path;

    enum state state;
    int fd;
    struct loop_io io;
    struct loop_task work;       /* starts calls, fails them, sends */
    struct loop_timer timer;     /* connection attempt, or the back-off of calls that wait */
    struct grpc_session *session;
    struct str out;              /* bytes of the session that the socket did not take yet, borrowed from it */

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
    loop_timer_stop(&c->timer);
    grpc_session_free(c->session);
    net_path_unref(c->net_path);
    free(c->path);
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

static void disconnect(struct grpc_client *c)
{
    loop_io_stop(&c->io);
    loop_timer_stop(&c->timer);
    if (c->fd >= 0) {
        (void)close(c->fd);
        c->fd = -1;
    }
    if (c->state == CONNECTED) {
        net_path_count(c->net_path, -1, 0, 0);
    }
    c->out = STR_EMPTY;
    c->state = IDLE;
}

/* The connection is lost or could not be made. Calls on it fail; those that wait are looked at by on_work(). The client may
 * be doomed afterwards. */
static void connection_failed(struct grpc_client *c, const struct err *why)
{
    bool was_connected = c->state == CONNECTED;
    struct list failed;
    assert(c->in_callback == 0);
    c->last_err = *why;
    net_path_failed(c->net_path, why->msg);
    disconnect(c);
    c->session = grpc_session_free(c->session);
    if (was_connected) {
        c->not_before_ms = 0; /* a server that restarts is looked for at once */
        c->backoff_ms = 0;
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

/* The socket */

static bool client_send(struct grpc_client *c, struct err *err)
{
    for (;;) {
        if (c->out.len == 0 && !grpc_session_send(c->session, &c->out, err)) {
            return false;
        }
        if (c->out.len == 0) {
            (void)loop_io_set(&c->io, LOOP_READ);
            return true;
        }
        ssize_t n = send(c->fd, c->out.ptr, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            (void)loop_io_set(&c->io, LOOP_READ | LOOP_WRITE);
            return true;
        }
        if (n < 0) {
            return err_set_errno(err, errno, "cannot send to %s", c->path);
        }
        net_path_count(c->net_path, 0, 0, (uint64_t)n);
        c->out = str_sub(c->out, (size_t)n, SIZE_MAX);
    }
}

/* Reads what there is, up to a share of the turn. */
static bool client_receive(struct grpc_client *c, struct err *err)
{
    char chunk[32 * 1024];
    for (int i = 0; i < 8; i++) {
        ssize_t n = recv(c->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return true;
        }
        if (n < 0) {
            return err_set_errno(err, errno, "cannot receive from %s", c->path);
        }
        if (n == 0) {
            return err_set(err, ERR_UNAVAILABLE, "%s closed the connection", c->path);
        }
        net_path_count(c->net_path, 0, (uint64_t)n, 0);
        c->in_callback++;
        bool ok = grpc_session_recv(c->session, str_n(chunk, (size_t)n), err);
        c->in_callback--;
        if (!ok || c->doomed) {
            return ok;
        }
        if ((size_t)n < sizeof(chunk)) {
            return true;
        }
    }
    return true;
}

static void on_connected(struct grpc_client *c)
{
    loop_timer_stop(&c->timer);
    c->state = CONNECTED;
    net_path_count(c->net_path, 1, 0, 0);
    c->session = grpc_session_new(&session_events, c);
    c->out = STR_EMPTY;
    (void)loop_io_set(&c->io, LOOP_READ);
    loop_task_defer(&c->work);
}

static void on_io(struct loop_io *io UNUSED, unsigned events, void *arg)
{
    struct grpc_client *c = arg;
    struct err err = { 0 };
    bool ok = true;
    if (c->state == CONNECTING) {
        int e = 0;
        socklen_t n = sizeof(e);
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0 || e != 0) {
            err_set_errno(&err, e ? e : errno, "cannot connect to %s", c->path);
            connection_failed(c, &err);
        } else {
            on_connected(c);
        }
        (void)client_is_gone(c);
        return;
    }
    if (events & (LOOP_READ | LOOP_HUP)) {
        ok = client_receive(c, &err);
        if (client_is_gone(c)) {
            return;
        }
    }
    if (ok) {
        c->in_callback++; /* a stream may end while its last frame is made */
        ok = client_send(c, &err);
        c->in_callback--;
        if (client_is_gone(c)) {
            return;
        }
    }
    if (!ok) {
        connection_failed(c, &err);
    } else if (list_empty(&c->active) && grpc_session_is_draining(c->session)) {
        disconnect(c);
        c->session = grpc_session_free(c->session);
        loop_task_defer(&c->work);
    }
    (void)client_is_gone(c);
}

static void on_timer(void *arg)
{
    struct grpc_client *c = arg;
    if (c->state == CONNECTING) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "%s did not accept the connection in %d ms", c->path, CONNECT_TIMEOUT_MS);
        connection_failed(c, &err);
        (void)client_is_gone(c);
    } else {
        loop_task_defer(&c->work);
    }
}

static void connect_start(struct grpc_client *c)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct err err;
    size_t n = strlen(c->path);
    if (n >= sizeof(addr.sun_path)) {
        err_set(&err, ERR_INVALID, "socket path %s has more than %zu characters", c->path, sizeof(addr.sun_path) - 1);
        connection_failed(c, &err);
        return;
    }
    memcpy(addr.sun_path, c->path, n);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    if (c->path[0] == '@') {
        addr.sun_path[0] = '\0';
        len--;
    }
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&addr, len) != 0 && errno != EINPROGRESS)) {
        err_set_errno(&err, errno, "cannot connect to %s", c->path);
        connection_failed(c, &err);
        return;
    }
    /* A unix socket connects at once or not at all; writable tells. */
    c->state = CONNECTING;
    loop_io_init(&c->io, c->loop, c->fd, on_io, c);
    int rc = loop_io_set(&c->io, LOOP_WRITE);
    if (rc < 0) {
        err_set_errno(&err, rc, "cannot watch the connection to %s", c->path);
        connection_failed(c, &err);
        return;
    }
    loop_timer_start(&c->timer, CONNECT_TIMEOUT_MS);
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

struct grpc_client *grpc_client_new(struct loop *l, const struct grpc_config *config)
{
    struct grpc_client *c = calloc(1, sizeof(*c));
    if (!c || !(c->path = strdup(config->unix_path))) {
        abort();
    }
    c->loop = l;
    c->config = *config;
    c->config.unix_path = c->path;
    c->config.max_message = config->max_message ? config->max_message : GRPC_MAX_MESSAGE;
    c->config.backoff_min_ms = config->backoff_min_ms ? config->backoff_min_ms : 50;
    c->config.backoff_max_ms = config->backoff_max_ms ? config->backoff_max_ms : 3000;
    c->net_path = net_path_ref(config->path);
    c->fd = -1;
    list_init(&c->waiting);
    list_init(&c->active);
    loop_task_init(&c->work, l, on_work, c);
    loop_timer_init(&c->timer, l, on_timer, c);
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

/* Calls */

static void on_deadline(void *arg)
{
    struct grpc_call *call = arg;
    struct grpc_client *c = call->client;
    if (c->session) {
        grpc_session_cancel(c->session, &call->stream);
    }
    grpc_status_set(&call->stream.status, GRPC_DEADLINE_EXCEEDED, "no answer to %s within its time", call->method);
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
