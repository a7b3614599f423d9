/* HTTP/1.1 on a client's connection: one call at a time. */
#include "net/h1-parser.h"
#include "net/http-client-private.h"

struct h1 {
    struct client_conn *conn;
    struct h1_parser parser;
    struct http_call *call;  /* under way */
    bool chunked;            /* the request's body */
    bool request_done;       /* all of it is queued at the socket */
    bool keep;               /* the server keeps the connection */
    bool heard;              /* a byte of the answer has come */
    bool interim;            /* a 1xx answer is being read */
    bool held;               /* reading is paused because the caller has not taken the body */
    bool upgraded;
};

/* ---- the request ---- */

static void append_header(struct buf *b, struct str name, struct str value)
{
    buf_append(b, name);
    buf_append(b, STR(": "));
    buf_append(b, value);
    buf_append(b, STR("\r\n"));
}

/* Headers that the connection decides about. */
static bool is_ours(struct str name)
{
    static const struct str ours[] = { STR_INIT("host"), STR_INIT("content-length"), STR_INIT("transfer-encoding"),
                                       STR_INIT("connection") };
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        if (str_eq_nocase(name, ours[i])) {
            return true;
        }
    }
    return false;
}

static void write_body(struct http_call *call)
{
    struct client_conn *c = call->conn;
    struct h1 *h = c->proto;
    struct net_chunk parts[16];
    struct iovec iov[16];
    while (call->queue.bytes > 0) {
        size_t n = net_queue_iov(&call->queue, iov, ARRAY_SIZE(iov)), total = 0;
        for (size_t i = 0; i < n; i++) {
            /* The queue keeps the owner until the bytes are copied out; a reference of their own is cheap. */
            const struct net_chunk *item = &call->queue.items[(call->queue.head + i) & (call->queue.capacity - 1)];
            parts[i] = net_chunk_of(item->owner, str_n(iov[i].iov_base, iov[i].iov_len));
            total += iov[i].iov_len;
        }
        if (h->chunked) {
            char line[24];
            int len = snprintf(line, sizeof(line), "%zx\r\n", total);
            net_stream_write_str(c->io, str_n(line, (size_t)len));
        }
        net_stream_write(c->io, parts, n);
        if (h->chunked) {
            struct net_chunk crlf = net_chunk_static(STR("\r\n"));
            net_stream_write(c->io, &crlf, 1);
        }
        net_queue_consume(&call->queue, total);
    }
    if (call->body_ended && !h->request_done) {
        h->request_done = true;
        if (h->chunked) {
            struct net_chunk last = net_chunk_static(STR("0\r\n\r\n"));
            net_stream_write(c->io, &last, 1);
        }
    }
}

static void start(struct client_conn *c, struct http_call *call)
{
    struct h1 *h = c->proto;
    struct buf *b = http_client_scratch(c->client);
    h->call = call;
    h->chunked = call->streaming && call->content_length < 0;
    h->request_done = h->keep = h->heard = h->held = h->interim = false;
    h1_parser_next(&h->parser);
    buf_append(b, call->method);
    buf_append_char(b, ' ');
    buf_append(b, call->target);
    buf_append(b, STR(" HTTP/1.1\r\n"));
    append_header(b, STR("Host"), http_call_authority(call));
    for (size_t i = 0; i < call->n_headers; i++) {
        if (!is_ours(call->headers[i].name)) {
            append_header(b, call->headers[i].name, call->headers[i].value);
        }
    }
    bool usual_body = str_eq(call->method, STR("POST")) || str_eq(call->method, STR("PUT")) || str_eq(call->method, STR("PATCH"));
    if (h->chunked) {
        append_header(b, STR("Transfer-Encoding"), STR("chunked"));
    } else if (call->content_length > 0 || usual_body) {
        buf_printf(b, "Content-Length: %lld\r\n", (long long)call->content_length);
    }
    if (call->upgrade) {
        append_header(b, STR("Connection"), STR("Upgrade"));
    }
    buf_append(b, STR("\r\n"));
    call->sent = true;
    net_stream_write_str(c->io, buf_str(b));
    write_body(call);
}

/* ---- the answer ---- */

static struct arena *on_begin(void *arg)
{
    struct client_conn *c = arg;
    struct h1 *h = c->proto;
    return &h->call->arena;
}

static bool on_head(const struct h1_head *head, void *arg)
{
    struct client_conn *c = arg;
    struct h1 *h = c->proto;
    struct http_call *call = h->call;
    h->interim = head->status < 200 && head->status != 101;
    if (h->interim) {
        return false;
    }
    h->keep = head->keep_alive && head->version == 11;
    struct http_response r = { .status = head->status,
                               .headers = head->headers,
                               .content_length = call->head || head->has_body ? head->content_length : 0,
                               .version = head->version,
                               .peer = client_conn_peer(c) };
    if (head->status == 101) {
        h->upgraded = true;
        if (!call->upgrade || !head->upgrade) {
            client_conn_kill(c, "the server switched protocols without being asked");
            return false;
        }
        struct net_stream *io = TAKE(c->io);
        static const struct net_stream_ops nobody;
        net_stream_set_ops(io, &nobody, NULL);
        net_stream_pause(io);
        net_stream_unread(io, h->parser.rest);
        (void)http_call_hold(call);
        h->call = NULL;
        http_call_upgraded(call, &r, io);
        http_call_drop(call);
        client_conn_kill(c, "upgraded");
        return false;
    }
    http_call_response(call, &r);
    return !call->head;
}

static void on_body(struct str data, void *arg)
{
    struct client_conn *c = arg;
    struct h1 *h = c->proto;
    if (c->state == CLIENT_DEAD || !h->call || h->interim) {
        return;
    }
    if (http_call_data(h->call, data) == 0 && c->state != CLIENT_DEAD && h->call) {
        h->held = true;
        net_stream_pause(c->io);
    }
}

static void on_end(const struct http_headers *trailers, void *arg)
{
    struct client_conn *c = arg;
    struct h1 *h = c->proto;
    if (c->state == CLIENT_DEAD || !h->call || h->interim || h->upgraded) {
        return;
    }
    struct http_call *call = TAKE(h->call);
    bool reusable = h->keep && h->request_done && !c->leaving;
    if (h->held) {
        h->held = false;
        net_stream_resume(c->io);
    }
    if (!reusable) {
        c->leaving = true;
    }
    http_call_complete(call, trailers);
    client_conn_free_room(c);
}

static const struct h1_parser_ops parser_ops = { on_begin, on_head, on_body, on_end };

static void io_data(struct net_stream *io UNUSED, struct str data, void *arg)
{
    struct client_conn *c = arg;
    struct h1 *h = c->proto;
    (void)client_conn_hold(c);
    while (data.len > 0 && c->state != CLIENT_DEAD) {
        if (!h->call) {
            client_conn_kill(c, "the server sent bytes that nobody asked for");
            break;
        }
        h->heard = true;
        (void)http_call_hold(h->call); /* its arena holds the head that is being parsed */
        struct http_call *call = h->call;
        size_t n = h1_parser_eat(&h->parser, data);
        http_call_drop(call);
        if (c->state == CLIENT_DEAD) {
            break;
        }
        data = str_sub(data, n, SIZE_MAX);
        if (h->parser.state == H1_FAILED) {
            char reason[160];
            (void)snprintf(reason, sizeof(reason), "the server's answer is malformed: %s", h->parser.reason);
            client_conn_kill(c, reason);
        } else if (h->parser.state == H1_DONE && h->interim) {
            h->interim = false;
            h1_parser_next(&h->parser);
        }
    }
    client_conn_drop(c);
}

/* The connection ended: with the answer complete, with a call that may be sent again, or with one that fails. */
static void ended(struct client_conn *c, const char *reason)
{
    struct h1 *h = c->proto;
    (void)client_conn_hold(c);
    if (h->call && h->heard && h1_parser_eof(&h->parser)) {
        /* on_end() was called: the answer was delimited by the connection's end. */
    } else if (h->call && !h->heard && c->served > 1 && h->call->content_length <= 0 && !h->call->streaming &&
               (h->call->head || str_eq(h->call->method, STR("GET"))) && http_call_retry(h->call)) {
        h->call = NULL;
    }
    client_conn_kill(c, reason);
    client_conn_drop(c);
}

static void io_eof(struct net_stream *io UNUSED, void *arg)
{
    ended(arg, "the server closed the connection before the answer was complete");
}

static void io_close(struct net_stream *io UNUSED, enum net_close why UNUSED, const char *reason, void *arg)
{
    ended(arg, reason);
}

static void io_drain(struct net_stream *io UNUSED, void *arg)
{
    struct client_conn *c = arg;
    const struct h1 *h = c->proto;
    if (h->call) {
        http_call_wrote(h->call);
    }
}

static const struct net_stream_ops stream_ops = {
    .on_data = io_data, .on_eof = io_eof, .on_drain = io_drain, .on_close = io_close,
};

/* ---- what calls ask for ---- */

static unsigned room(const struct client_conn *c)
{
    const struct h1 *h = c->proto;
    return h->call ? 0 : 1;
}

static size_t queued(const struct http_call *call)
{
    return net_stream_queued(call->conn->io) + call->queue.bytes;
}

static void cancel(struct http_call *call)
{
    struct client_conn *c = call->conn;
    struct h1 *h = c->proto;
    h->call = NULL;
    http_call_leave(call);
    client_conn_kill(c, "cancelled");
}

static void consumed(struct http_call *call, size_t n UNUSED)
{
    struct h1 *h = call->conn->proto;
    if (h->held) {
        h->held = false;
        net_stream_resume(call->conn->io);
    }
}

static void stop(struct client_conn *c)
{
    struct h1 *h = c->proto;
    h->call = NULL;
}

static void free_proto(struct client_conn *c)
{
    struct h1 *h = c->proto;
    h1_parser_deinit(&h->parser);
    free(h);
}

static const struct client_conn_ops ops = {
    .room = room,
    .start = start,
    .body = write_body,
    .queued = queued,
    .cancel = cancel,
    .consumed = consumed,
    .stop = stop,
    .free = free_proto,
};

void client_h1_start(struct client_conn *c)
{
    struct h1 *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    c->proto = h;
    c->ops = &ops;
    h->conn = c;
    h1_parser_init(&h->parser, true, HTTP_CLIENT_MAX_HEADER_BYTES, &parser_ops, c);
    net_stream_set_ops(c->io, &stream_ops, c);
}
