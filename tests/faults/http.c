#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

void http_init(struct http *c, uint16_t port)
{
    *c = (struct http){ .fd = -1, .port = port };
    buf_init(&c->in, 64u << 20);
}

void http_close(struct http *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    buf_deinit(&c->in);
    buf_init(&c->in, 64u << 20);
    c->at = 0;
}

bool http_connect(struct http *c, unsigned timeout_ms)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(c->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000 };
    int one = 1;
    http_close(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0) {
        http_close(c);
        return false;
    }
    return true;
}

/* 1, 0 (not in time), -1 (the end). */
static int more(struct http *c)
{
    if (c->at == c->in.len) {
        buf_clear(&c->in);
        c->at = 0;
    }
    char piece[16384];
    ssize_t n = recv(c->fd, piece, sizeof(piece), 0);
    if (n > 0) {
        buf_append(&c->in, str_n(piece, (size_t)n));
        return 1;
    }
    return n < 0 && errno == EAGAIN ? 0 : -1;
}

/* A line of the connection without its end: 1 and '*ret', 0, -1. */
static int raw_line(struct http *c, struct str *ret)
{
    size_t from = c->at;
    for (;;) {
        const char *end = from < c->in.len ? memchr(c->in.ptr + from, '\n', c->in.len - from) : NULL;
        if (end) {
            size_t len = (size_t)(end - (c->in.ptr + c->at));
            *ret = str_n(c->in.ptr + c->at, len && end[-1] == '\r' ? len - 1 : len);
            c->at += len + 1;
            return 1;
        }
        size_t unused = c->in.len - c->at;
        int r = more(c);
        if (r <= 0) {
            return r;
        }
        from = c->at + unused;
    }
}

int http_begin(struct http *c, const char *method, const char *path, struct str body)
{
    CLEANUP(buf_deinit) struct buf out;
    char head[1024];
    struct str line;
    int r, status = 0;
    buf_init(&out, 16u << 20);
    int n = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n", method, path, body.len);
    buf_append(&out, str_n(head, (size_t)n));
    buf_append(&out, body);
    for (size_t sent = 0; sent < out.len;) {
        ssize_t k = send(c->fd, out.ptr + sent, out.len - sent, MSG_NOSIGNAL);
        if (k <= 0) {
            return -1;
        }
        sent += (size_t)k;
    }
    if ((r = raw_line(c, &line)) <= 0) {
        return r;
    }
    if (line.len < 12 || (status = (int)strtol(line.ptr + 9, NULL, 10)) < 100) {
        return -1;
    }
    c->chunked = c->ended = false;
    c->left = 0;
    while ((r = raw_line(c, &line)) > 0 && line.len) {
        if (line.len > 15 && strncasecmp(line.ptr, "content-length:", 15) == 0) {
            c->left = (size_t)strtoul(line.ptr + 15, NULL, 10);
        } else if (line.len > 18 && strncasecmp(line.ptr, "transfer-encoding:", 18) == 0) {
            c->chunked = true;
        }
    }
    return r <= 0 ? -1 : status;
}

/* Sees to it that some of the body is in the buffer: 1, 0, -1 (its end, or broken; 'ended' tells). */
static int some_body(struct http *c)
{
    struct str line;
    int r;
    while (c->chunked && c->left == 0 && !c->ended) {
        if ((r = raw_line(c, &line)) <= 0) {
            return r;
        }
        if (!line.len) {
            continue; /* the end of the chunk before */
        }
        c->left = strtoul(line.ptr, NULL, 16);
        if (c->left == 0) {
            c->ended = true;
            if (raw_line(c, &line) <= 0) {
                return -1;
            }
        }
    }
    if (c->left == 0) {
        c->ended = true;
        return -1;
    }
    return c->at < c->in.len ? 1 : more(c);
}

static struct str take_body(struct http *c)
{
    struct str s = str_n(c->in.ptr + c->at, MIN(c->left, c->in.len - c->at));
    c->at += s.len;
    c->left -= s.len;
    return s;
}

bool http_body(struct http *c, struct buf *body)
{
    int r;
    while ((r = some_body(c)) > 0) {
        buf_append(body, take_body(c));
    }
    return r < 0 && c->ended;
}

int http_do(struct http *c, const char *method, const char *path, struct str body, struct buf *answer)
{
    buf_clear(answer);
    int status = http_begin(c, method, path, body);
    if (status <= 0 || !http_body(c, answer)) {
        http_close(c);
        return status > 0 ? -1 : status;
    }
    return status;
}

int http_line(struct http *c, struct buf *line)
{
    for (;;) {
        const char *end;
        int r = some_body(c);
        if (r <= 0) {
            return r;
        }
        size_t n = MIN(c->left, c->in.len - c->at);
        if ((end = memchr(c->in.ptr + c->at, '\n', n))) {
            n = (size_t)(end - (c->in.ptr + c->at)) + 1;
            buf_append(line, str_n(c->in.ptr + c->at, n - 1));
            c->at += n;
            c->left -= n;
            return 1;
        }
        buf_append(line, take_body(c));
    }
}
