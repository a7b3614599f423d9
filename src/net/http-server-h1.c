/* HTTP/1.1 on a server's connection: one request at a time, in order. */
#include "net/http-server-private.h"

#include "net/h1-parser.h"

enum { STALL_TICK_MS = 15000 };

struct h1 {
    struct http_conn *conn;
    struct h1_parser parser;
    struct http_stream *s;  /* the exchange under way */
    struct buf pipelined;   /* bytes behind the request that is being answered */
    size_t skipped;         /* body thrown away after an early answer */
    bool feeding;           /* h1_parser_eat() is on the stack */
    bool answered;          /* the whole answer is queued */
    bool keep;              /* more requests may follow */
    bool chunked;
    bool expect;            /* the client waits for "100 Continue" */
    bool held;              /* reading is paused because the handler has not taken the body */
};

static void exchange_check(struct http_conn *c);

static struct h1 *h1_of(const struct http_stream *s)
{
    return s->conn->proto;
}

/* ---- limits of time ---- */

static void wait_for_request(struct http_conn *c)
{
    loop_timer_start(&c->timer, http_conn_idle_ms(c));
}

static void on_timer(void *arg)
{
    struct http_conn *c = arg;
    struct h1 *h = c->proto;
    if (!h->s) {
        http_conn_gone(c); /* idle, or a head that never ends */
        return;
    }
    uint64_t silent = loop_now_ms(http_server_loop(c->server)) - net_stream_last_activity_ms(c->io);
    bool body_stalls = h->parser.state == H1_BODY && h->s->wants_body && !h->held && silent >= HTTP_BODY_STALL_MS;
    bool write_stalls = net_stream_queued(c->io) > 0 && silent >= http_conn_write_stall_ms(c);
    if (body_stalls || write_stalls) {
        http_conn_gone(c);
        return;
    }
    loop_timer_start(&c->timer, STALL_TICK_MS);
}

/* ---- answers of our own to requests that are none ---- */

static void answer_error(struct http_conn *c, int status, const char *reason)
{
    struct h1 *h = c->proto;
    const char *text = http_status_text(status);
    struct buf *b = http_server_scratch(c->server);
    if (h->s) {
        bool responded = h->s->responded;
        struct http_stream *s = TAKE(h->s);
        http_stream_detach(s);
        if (responded) {
            http_conn_gone(c);
            return;
        }
    }
    buf_printf(b,
               "HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %zu\r\n\r\n"
               "%d %s: %s\n",
               status, text, strlen(text) + strlen(reason) + 7, status, text, reason);
    net_stream_write_str(c->io, buf_str(b));
    http_conn_close(c);
}

/* ---- the parser's events ---- */

static struct arena *on_begin(void *arg)
{
    struct http_conn *c = arg;
    struct h1 *h = c->proto;
    h->s = http_stream_new(c, 1024);
    return &h->s->arena;
}

static bool on_head(const struct h1_head *head, void *arg)
{
    struct http_conn *c = arg;
    struct h1 *h = c->proto;
    struct http_stream *s = h->s;
    s->req.method = head->method;
    s->req.target = head->target;
    s->req.authority = head->authority;
    s->req.headers = head->headers;
    s->req.content_length = head->has_body ? head->content_length : 0;
    s->req.has_body = head->has_body;
    s->req.version = head->version;
    s->upgrade = head->upgrade;
    h->keep = head->keep_alive && head->version == 11 && !c->draining;
    h->expect = head->expect_continue && head->has_body;
    h->answered = h->chunked = h->held = false;
    h->skipped = 0;
    loop_timer_start(&c->timer, STALL_TICK_MS);
    http_stream_dispatch(s);
    return true;
}

static void on_body(struct str data, void *arg)
{
    struct http_conn *c = arg;
    struct h1 *h = c->proto;
    if (c->gone || !h->s) {
        return;
    }
    h->expect = false;
    if (h->s->dead) {
        h->skipped += data.len;
        if (h->skipped > HTTP_SKIP_BODY) {
            h->keep = false;
        }
        return;
    }
    if (http_stream_body(h->s, data) == 0 && !c->gone) {
        h->held = true;
        net_stream_pause(c->io);
    }
}

static void on_end(const struct http_headers *trailers, void *arg)
{
    struct http_conn *c = arg;
    struct h1 *h = c->proto;
    if (c->gone || !h->s) {
        return;
    }
    if (h->s->req.has_body) {
        http_stream_body_end(h->s, trailers);
    }
    if (!c->gone) {
        exchange_check(c);
    }
}

static const struct h1_parser_ops parser_ops = { on_begin, on_head, on_body, on_end };

/* ---- bytes ---- */

static void feed(struct http_conn *c, struct str data)
{
    struct h1 *h = c->proto;
    while (data.len > 0 && !c->gone && !c->closing) {
        if (h->s && h->parser.state == H1_DONE) {
            /* Pipelined: waits until the answer is complete. */
            buf_append(&h->pipelined, data);
            if (h->pipelined.len >= HTTP1_PIPELINE) {
                net_stream_pause(c->io);
            }
            return;
        }
        if (h->parser.state == H1_HEAD && !h->parser.started) {
            loop_timer_start(&c->timer, http_server_config(c->server)->header_ms);
        }
        h->feeding = true;
        size_t n = h1_parser_eat(&h->parser, data);
        h->feeding = false;
        if (c->gone) {
            return;
        }
        data = str_sub(data, n, SIZE_MAX);
        if (h->parser.state == H1_FAILED) {
            answer_error(c, h->parser.status, h->parser.reason);
            return;
        }
        exchange_check(c);
    }
}

/* Is the exchange complete in both directions? Then the next request's turn comes. */
static void exchange_check(struct http_conn *c)
{
    struct h1 *h = c->proto;
    if (h->feeding || !h->s || !h->answered) {
        return;
    }
    bool received = h->parser.state == H1_DONE;
    if (!received) {
        int64_t length = h->s->req.content_length;
        if (h->expect || length > HTTP_SKIP_BODY || h->skipped > HTTP_SKIP_BODY) {
            h->keep = false; /* cheaper to close than to read what nobody wants */
        }
        if (h->keep) {
            if (h->held) {
                h->held = false;
                net_stream_resume(c->io);
            }
            return;
        }
    }
    struct http_stream *s = TAKE(h->s);
    http_stream_detach(s);
    if (c->gone) {
        return;
    }
    if (!h->keep || c->draining) {
        http_conn_close(c);
        return;
    }
    h1_parser_next(&h->parser);
    wait_for_request(c);
    if (h->pipelined.len > 0) {
        struct buf more = h->pipelined;
        buf_init(&h->pipelined, HTTP1_PIPELINE + NET_READ_SIZE);
        (void)http_conn_hold(c);
        net_stream_resume(c->io);
        feed(c, buf_str(&more));
        buf_deinit(&more);
        http_conn_drop(c);
    }
}

static void io_data(struct net_stream *io UNUSED, struct str data, void *arg)
{
    struct http_conn *c = arg;
    (void)http_conn_hold(c);
    feed(c, data);
    http_conn_drop(c);
}

static void io_eof(struct net_stream *io UNUSED, void *arg)
{
    struct http_conn *c = arg;
    const struct h1 *h = c->proto;
    if (!h->s && net_stream_queued(c->io) > 0) {
        http_conn_close(c);
        return;
    }
    http_conn_gone(c);
}

static void io_drain(struct net_stream *io UNUSED, void *arg)
{
    struct http_conn *c = arg;
    const struct h1 *h = c->proto;
    if (h->s) {
        http_stream_wrote(h->s);
    }
}

static void io_close(struct net_stream *io UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    http_conn_gone(arg);
}

const struct net_stream_ops http_h1_stream_ops = {
    .on_data = io_data, .on_eof = io_eof, .on_drain = io_drain, .on_close = io_close,
};

/* ---- what streams ask for ---- */

static void append_headers(struct buf *b, const struct http_header *headers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (http_header_may_be_sent(&headers[i])) {
            buf_append(b, headers[i].name);
            buf_append(b, STR(": "));
            buf_append(b, headers[i].value);
            buf_append(b, STR("\r\n"));
        }
    }
}

static void append_status(struct buf *b, int status, struct str date)
{
    buf_append_c(b, "HTTP/1.1 ");
    buf_append_u64(b, (uint64_t)status);
    buf_append_char(b, ' ');
    buf_append_c(b, http_status_text(status));
    buf_append_c(b, "\r\ndate: ");
    buf_append(b, date);
    buf_append_c(b, "\r\n");
}

static void respond(struct http_stream *s, int status, const struct http_header *headers, size_t n, int64_t length)
{
    struct h1 *h = h1_of(s);
    struct buf *b = http_server_scratch(s->server);
    append_status(b, status, http_server_date(s->server));
    append_headers(b, headers, n);
    if (s->upgrade) {
        h->keep = false; /* the client may send the other protocol's bytes already */
    }
    if (length >= 0) {
        buf_append_c(b, "content-length: ");
        buf_append_u64(b, (uint64_t)length);
        buf_append_c(b, "\r\n");
    } else if (!s->no_body) {
        h->chunked = s->req.version == 11;
        h->keep = h->keep && h->chunked;
        if (h->chunked) {
            buf_append_c(b, "transfer-encoding: chunked\r\n");
        }
    }
    if (s->conn->draining || h->expect) { /* a client that was not told to continue may send its body or not */
        h->keep = false;
    }
    buf_append_c(b, h->keep ? "\r\n" : "connection: close\r\n\r\n");
    net_stream_write_str(s->conn->io, buf_str(b));
}

static void write_body(struct http_stream *s, const struct net_chunk *chunks, size_t n)
{
    const struct h1 *h = h1_of(s);
    struct net_stream *io = s->conn->io;
    net_stream_set_watermarks(io, s->high, s->low);
    if (!h->chunked) {
        net_stream_write(io, chunks, n);
        return;
    }
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += chunks[i].bytes.len;
    }
    if (total > 0) {
        char line[24];
        int len = snprintf(line, sizeof(line), "%zx\r\n", total);
        net_stream_write_str(io, str_n(line, (size_t)len));
    }
    net_stream_write(io, chunks, n);
    if (total > 0) {
        struct net_chunk crlf = net_chunk_static(STR("\r\n"));
        net_stream_write(io, &crlf, 1);
    }
}

static void end(struct http_stream *s, const struct http_header *trailers, size_t n)
{
    struct http_conn *c = s->conn;
    struct h1 *h = c->proto;
    if (h->chunked) {
        struct buf *b = http_server_scratch(s->server);
        buf_append_c(b, "0\r\n");
        append_headers(b, trailers, n);
        buf_append_c(b, "\r\n");
        net_stream_write_str(c->io, buf_str(b));
    }
    h->answered = true;
    exchange_check(c);
}

static void reset(struct http_stream *s)
{
    http_conn_gone(s->conn);
}

static void want_body(struct http_stream *s)
{
    struct h1 *h = h1_of(s);
    if (h->expect && !s->responded) {
        struct net_chunk c = net_chunk_static(STR("HTTP/1.1 100 Continue\r\n\r\n"));
        net_stream_write(s->conn->io, &c, 1);
        h->expect = false;
    }
}

static void consumed(struct http_stream *s, size_t n UNUSED)
{
    struct h1 *h = h1_of(s);
    if (h->held) {
        h->held = false;
        net_stream_resume(s->conn->io);
    }
}

static size_t queued(const struct http_stream *s)
{
    return s->conn->io ? net_stream_queued(s->conn->io) : 0;
}

static const struct net_stream_ops nobody = { .on_open = NULL };

static struct net_stream *upgrade(struct http_stream *s, const struct http_header *headers, size_t n)
{
    struct http_conn *c = s->conn;
    struct h1 *h = c->proto;
    struct net_stream *io = c->io;
    struct buf *b = http_server_scratch(s->server);
    append_status(b, 101, http_server_date(s->server));
    append_headers(b, headers, n);
    buf_append_c(b, "connection: Upgrade\r\n\r\n");
    net_stream_set_ops(io, &nobody, NULL);
    net_stream_pause(io);
    net_stream_set_watermarks(io, NET_HIGH_WATER, NET_LOW_WATER);
    net_stream_write_str(io, buf_str(b));
    /* What came behind the request belongs to the new protocol. */
    net_stream_unread(io, h->feeding ? h->parser.rest : buf_str(&h->pipelined));
    http_conn_released(c);
    return io;
}

static void drain(struct http_conn *c)
{
    const struct h1 *h = c->proto;
    if (!h->s && !h->parser.started) {
        http_conn_close(c);
    }
}

static void free_conn(struct http_conn *c)
{
    struct h1 *h = c->proto;
    if (h->s) {
        struct http_stream *s = TAKE(h->s);
        http_stream_detach(s);
    }
    h1_parser_deinit(&h->parser);
    buf_deinit(&h->pipelined);
}

static const struct http_conn_ops ops = {
    .respond = respond,
    .write = write_body,
    .end = end,
    .reset = reset,
    .want_body = want_body,
    .consumed = consumed,
    .queued = queued,
    .upgrade = upgrade,
    .drain = drain,
    .free = free_conn,
};

void http_h1_start(struct http_conn *c)
{
    struct h1 *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    c->proto = h;
    c->ops = &ops;
    h->conn = c;
    h1_parser_init(&h->parser, false, http_server_config(c->server)->max_header_bytes, &parser_ops, c);
    buf_init(&h->pipelined, HTTP1_PIPELINE + NET_READ_SIZE);
    loop_timer_init(&c->timer, http_server_loop(c->server), on_timer, c);
    loop_timer_start(&c->timer, http_server_config(c->server)->header_ms);
}
