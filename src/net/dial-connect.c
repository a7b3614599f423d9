#include "net/dial-connect.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "net/http.h"
#include "net/splice.h"
#include "net/stream-limits.h"
#include "net/stream.h"

struct net_dialer_connect {
    struct net_dialer dialer;
    char *host, *name;
    uint16_t port;
    struct net_tls_client *tls;
    struct net_dialer_connect_config config; /* its text is not used */
    struct list carried;
    unsigned n_carried;
};

/* A TLS connection to the proxy whose bytes are carried to and from a socket pair. */
struct carried {
    struct list link;
    struct net_dialer_connect *owner;
    struct net_splice *splice;
};

/* One attempt. Callers see it as a struct net_dial, which every dialer defines for itself. */
struct attempt {
    struct net_dialer_connect *owner;
    struct loop *loop;
    struct loop_timer timer, soon;
    uint64_t began_ms;
    uint32_t timeout_ms;    /* of the whole */
    struct net_dial *dial;  /* of the proxy */
    int fd;                 /* plain */
    struct loop_io io;
    struct net_stream *tls; /* with TLS */
    char target[300];       /* "10.0.0.1:10250" */
    struct buf out, in;     /* the request that is not sent yet; the answer so far */
    size_t head_len;        /* of the answer's head in 'in'; 0: not complete */
    int status;             /* of a refusal whose reason is still being read */
    size_t reason_want;     /* bytes of it */
    struct err err;
    net_dial_fn *done;
    void *arg;
};

static void observe(const struct attempt *a, enum net_dial_stage stage)
{
    const struct net_dialer_connect_config *c = &a->owner->config;
    if (c->observe) {
        c->observe(c->observe_arg, stage, loop_now_ms(a->loop) - a->began_ms);
    }
}

static void attempt_free(struct attempt *a)
{
    loop_timer_stop(&a->timer);
    loop_timer_stop(&a->soon);
    if (a->dial) {
        net_dialer_direct()->ops->cancel(a->dial);
    }
    loop_io_stop(&a->io);
    if (a->fd >= 0) {
        (void)close(a->fd);
    }
    net_stream_free(a->tls);
    buf_deinit(&a->out);
    buf_deinit(&a->in);
    free(a);
}

static void complete(struct attempt *a, int fd)
{
    net_dial_fn *done = a->done;
    void *arg = a->arg;
    struct err err = a->err;
    attempt_free(a);
    done(fd, fd >= 0 ? NULL : &err, arg);
}

PRINTF_LIKE(3, 4) static void fail(struct attempt *a, enum net_dial_stage stage, const char *fmt, ...)
{
    char why[600];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    err_set(&a->err, ERR_UNAVAILABLE, "%s %s", a->owner->name, why);
    observe(a, stage);
    complete(a, -1);
}

/* ---- success ---- */

static void on_carried_done(void *arg, const struct net_splice_result *result UNUSED)
{
    struct carried *c = arg;
    c->owner->n_carried--;
    list_remove(&c->link);
    free(c);
}

/* The bytes behind the answer's head already belong to the target. */
static void carry(struct attempt *a)
{
    int fds[2];
    struct str rest = str_sub(buf_str(&a->in), a->head_len, SIZE_MAX);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        fail(a, NET_DIAL_NO_TARGET, "cannot be used: no socket pair: %s", strerror(errno));
        return;
    }
    struct carried *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    struct net_stream *tls = TAKE(a->tls);
    static const struct net_stream_ops nobody;
    struct net_stream *local = net_stream_new(a->loop, fds[0], &nobody, NULL);
    c->owner = a->owner;
    list_push_back(&c->owner->carried, &c->link);
    c->owner->n_carried++;
    c->splice = net_splice_new(local, tls, 0, on_carried_done, c);
    if (rest.len > 0) {
        net_stream_write_str(local, rest);
    }
    observe(a, NET_DIAL_CONNECTED);
    complete(a, fds[1]);
}

static void succeed(struct attempt *a)
{
    if (a->tls) {
        carry(a);
        return;
    }
    loop_io_stop(&a->io);
    observe(a, NET_DIAL_CONNECTED);
    complete(a, TAKE_FD(a->fd));
}

/* ---- the answer ---- */

/* The words of a refusal: the status and the first line of its body, printable characters alone. */
static void refuse(struct attempt *a)
{
    char words[200];
    size_t n = 0;
    struct str body = str_trim(str_sub(buf_str(&a->in), a->head_len, a->reason_want));
    for (size_t i = 0; i < body.len && n < sizeof(words) - 1 && body.ptr[i] != '\n'; i++) {
        if (body.ptr[i] >= ' ' && body.ptr[i] < 127) {
            words[n++] = body.ptr[i];
        }
    }
    words[n] = 0;
    fail(a, NET_DIAL_NO_TARGET, "did not connect to %s: %d%s%s", a->target, a->status, n ? ": " : "", words);
}

bool connect_answer_parse(struct str head, int *ret_status, size_t *ret_reason)
{
    struct str line, rest = head, piece;
    uint64_t status, length;
    (void)str_split(&rest, '\n', &line);
    if (!str_starts(line, STR("HTTP/1.")) || line.len < 12 || line.ptr[8] != ' ' || !str_to_u64(str_sub(line, 9, 3), &status) ||
        status < 100 || status > 599 || (line.len > 12 && line.ptr[12] != ' ' && line.ptr[12] != '\r')) {
        return false;
    }
    *ret_status = (int)status;
    *ret_reason = CONNECT_MAX_REASON;
    while (str_split(&rest, '\n', &piece)) {
        struct str name, value;
        if (str_cut(piece, ':', &name, &value) && str_eq_nocase(name, STR("content-length")) &&
            str_to_u64(str_trim(value), &length)) {
            *ret_reason = (size_t)MIN(length, (uint64_t)CONNECT_MAX_REASON);
        }
    }
    return true;
}

/* Looks at what has come. The attempt may be gone afterwards. */
static void look(struct attempt *a)
{
    if (buf_failed(&a->in)) {
        fail(a, NET_DIAL_NO_TARGET, "answered with more than %u bytes of headers", CONNECT_MAX_HEAD);
        return;
    }
    if (a->head_len == 0) {
        ptrdiff_t end = str_find(buf_str(&a->in), STR("\r\n\r\n"));
        if (end < 0) {
            return;
        }
        a->head_len = (size_t)end + 4;
        if (!connect_answer_parse(str_sub(buf_str(&a->in), 0, (size_t)end), &a->status, &a->reason_want)) {
            fail(a, NET_DIAL_NO_TARGET, "does not speak HTTP CONNECT");
            return;
        }
        if (a->status / 100 == 2) {
            succeed(a);
            return;
        }
        if (a->status < 200) {
            fail(a, NET_DIAL_NO_TARGET, "answered CONNECT with status %d", a->status);
            return;
        }
        loop_timer_start(&a->timer, CONNECT_REASON_MS); /* the refusal is certain, its words are a courtesy */
    }
    if (a->in.len >= a->head_len + a->reason_want) {
        refuse(a);
    }
}

static void ended(struct attempt *a, const char *why)
{
    if (a->status) {
        refuse(a);
    } else {
        fail(a, NET_DIAL_NO_TARGET, "broke the connection off before it had connected to %s: %s", a->target, why);
    }
}

/* ---- plain ---- */

/* Takes the answer's head and not a byte more: what is behind it belongs to whoever gets the socket. */
static void plain_read(struct attempt *a)
{
    char bytes[4096];
    ssize_t n = recv(a->fd, bytes, sizeof(bytes), MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        ended(a, n < 0 ? strerror(errno) : "end of file");
        return;
    }
    size_t before = a->in.len, take = (size_t)n;
    buf_append_bytes(&a->in, bytes, take);
    if (a->head_len == 0 && !buf_failed(&a->in)) {
        ptrdiff_t end = str_find(buf_str(&a->in), STR("\r\n\r\n"));
        if (end >= 0) {
            take = (size_t)end + 4 - before;
            a->in.len = (size_t)end + 4;
        }
    }
    (void)!recv(a->fd, bytes, take, 0);
    look(a);
}

static void on_socket(struct loop_io *io UNUSED, unsigned events, void *arg)
{
    struct attempt *a = arg;
    if (a->out.len > 0) {
        ssize_t n = send(a->fd, a->out.ptr, a->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            ended(a, strerror(errno));
            return;
        }
        buf_consume(&a->out, n > 0 ? (size_t)n : 0);
        if (a->out.len == 0 && loop_io_set(&a->io, LOOP_READ) < 0) {
            ended(a, "it cannot be watched");
        }
    } else if (events & (LOOP_READ | LOOP_HUP)) {
        plain_read(a);
    }
}

/* ---- TLS ---- */

static void tls_open(struct net_stream *s, void *arg)
{
    struct attempt *a = arg;
    net_stream_write_str(s, buf_str(&a->out));
    buf_clear(&a->out);
}

static void tls_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct attempt *a = arg;
    buf_append(&a->in, data);
    look(a);
}

static void tls_eof(struct net_stream *s UNUSED, void *arg)
{
    ended(arg, "end of file");
}

static void tls_close(struct net_stream *s UNUSED, enum net_close why UNUSED, const char *reason, void *arg)
{
    struct attempt *a = arg;
    if (a->out.len > 0) {
        fail(a, NET_DIAL_NO_PROXY, "cannot be reached: %s", reason);
    } else {
        ended(a, reason);
    }
}

static const struct net_stream_ops tls_ops = {
    .on_open = tls_open, .on_data = tls_data, .on_eof = tls_eof, .on_close = tls_close,
};

/* ---- an attempt ---- */

static void on_proxy(int fd, const struct err *err, void *arg)
{
    struct attempt *a = arg;
    const struct net_dialer_connect *d = a->owner;
    a->dial = NULL;
    if (fd < 0) {
        fail(a, NET_DIAL_NO_PROXY, "cannot be reached: %s", err->msg);
        return;
    }
    if (d->tls) {
        a->tls = net_stream_new_tls_client(a->loop, fd, d->tls, str_c(d->host), &tls_ops, a);
        net_stream_restrict_alpn(a->tls, NET_ALPN_H1);
        return;
    }
    a->fd = fd;
    loop_io_init(&a->io, a->loop, fd, on_socket, a);
    if (loop_io_set(&a->io, LOOP_WRITE) < 0) {
        fail(a, NET_DIAL_NO_PROXY, "cannot be watched");
    }
}

static void on_timeout(void *arg)
{
    struct attempt *a = arg;
    if (a->status) {
        refuse(a);
    } else if (a->fd < 0 && (!a->tls || a->out.len > 0)) {
        fail(a, NET_DIAL_NO_PROXY, "cannot be reached: no answer in time");
    } else {
        fail(a, NET_DIAL_NO_TARGET, "did not connect to %s in time", a->target);
    }
}

/* The first step, one turn after start(). */
static void begin(void *arg)
{
    struct attempt *a = arg;
    const struct net_dialer_connect *d = a->owner;
    struct net_addr addr;
    struct str host;
    uint16_t port = 0;
    observe(a, NET_DIAL_BEGUN);
    bool valid = a->target[0] && net_split_host_port(str_c(a->target), &host, &port) && port > 0;
    if (valid && d->config.check && net_addr_parse_ip(host, port, &addr) &&
        !d->config.check(&addr, d->config.check_arg, &a->err)) {
        observe(a, NET_DIAL_NO_TARGET);
        complete(a, -1);
        return;
    }
    if (!valid) {
        fail(a, NET_DIAL_NO_TARGET, "cannot be asked for such an address");
        return;
    }
    buf_printf(&a->out, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", a->target, a->target);
    /* The attempt's own timer is the limit of the whole. */
    a->dial = net_dial_start(net_dialer_direct(), a->loop, str_c(d->host), d->port, a->timeout_ms, on_proxy, a);
}

/* Letters, digits and what names and addresses hold besides. */
static bool is_host(struct str s)
{
    bool ok = s.len > 0 && s.len <= 255;
    for (size_t i = 0; ok && i < s.len; i++) {
        char c = s.ptr[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(".-_:%", c);
    }
    return ok;
}

static struct net_dial *connect_start(struct net_dialer *dialer, struct loop *l, struct str host, uint16_t port, uint32_t timeout_ms,
                                      net_dial_fn *done, void *arg)
{
    struct attempt *a = calloc(1, sizeof(*a));
    if (!a) {
        abort();
    }
    a->owner = CONTAINER_OF(dialer, struct net_dialer_connect, dialer);
    a->loop = l;
    a->fd = -1;
    a->began_ms = loop_now_ms(l);
    a->timeout_ms = timeout_ms;
    a->done = done;
    a->arg = arg;
    buf_init(&a->out, 1024);
    buf_init(&a->in, CONNECT_MAX_HEAD);
    if (str_starts(host, STR("[")) && str_ends(host, STR("]"))) {
        host = str_sub(host, 1, host.len - 2);
    }
    if (is_host(host) && port > 0) {
        bool v6 = str_find_char(host, ':') >= 0;
        (void)snprintf(a->target, sizeof(a->target), v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), port);
    }
    loop_timer_init(&a->timer, l, on_timeout, a);
    loop_timer_start(&a->timer, timeout_ms);
    loop_timer_init(&a->soon, l, begin, a);
    loop_timer_start(&a->soon, 0);
    return (struct net_dial *)a;
}

static void connect_cancel(struct net_dial *dial)
{
    attempt_free((struct attempt *)dial);
}

/* ---- the dialer ---- */

static char *copy_cstr(struct str s)
{
    char *p = malloc(s.len + 1);
    if (!p) {
        abort();
    }
    if (!str_to_cstr(s, p, s.len + 1)) {
        p[0] = 0;
    }
    return p;
}

struct net_dialer_connect *net_dialer_connect_new(const struct net_dialer_connect_config *config, struct err *err)
{
    static const struct net_dialer_ops ops = { .start = connect_start, .cancel = connect_cancel };
    bool is_path = config->host.len > 0 && (config->host.ptr[0] == '/' || config->host.ptr[0] == '@');
    struct net_addr addr;
    if (is_path ? config->port != 0 || !net_addr_unix(config->host, &addr) : !is_host(config->host) || config->port == 0) {
        err_set(err, ERR_INVALID, "\"%.*s\" is neither the path of a unix socket nor a host with a port", STR_ARG(config->host));
        return NULL;
    }
    struct net_dialer_connect *d = calloc(1, sizeof(*d));
    if (!d) {
        abort();
    }
    d->dialer.ops = &ops;
    d->config = *config;
    d->host = copy_cstr(config->host);
    d->name = copy_cstr(config->name);
    d->port = config->port;
    d->tls = net_tls_client_ref(config->tls);
    list_init(&d->carried);
    return d;
}

struct net_dialer_connect *net_dialer_connect_free(struct net_dialer_connect *d)
{
    if (d) {
        LIST_FOREACH(&d->carried, struct carried, link, c)
        {
            net_splice_free(c->splice);
            free(c);
        }
        net_tls_client_unref(d->tls);
        free(d->host);
        free(d->name);
        free(d);
    }
    return NULL;
}

struct net_dialer *net_dialer_connect_dialer(struct net_dialer_connect *d)
{
    return &d->dialer;
}

unsigned net_dialer_connect_carried(const struct net_dialer_connect *d)
{
    return d->n_carried;
}
