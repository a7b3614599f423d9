/*
 * The HTTP/1.1 parser as server and client use it: an engine without I/O over http-parser, made strict.
 *
 * What http-parser allows and this refuses (RFC 9112): lines ended by LF alone, a bare CR, continued header lines, control
 * bytes, blanks before the colon, more than one Content-Length, Content-Length beside Transfer-Encoding, any transfer coding
 * but a single "chunked", a transfer coding in HTTP/1.0, more or less than one Host in a request of HTTP/1.1, loose framing of
 * chunks (h1-chunks.h). So no two parsers can disagree about where a message ends (request smuggling).
 *
 * A message: h1_parser_eat() until on_head(), then on_body() …, then on_end(); the parser then stands still (it eats nothing)
 * until h1_parser_next(), so that bytes of a pipelined request or of another protocol stay with the caller.
 */
#ifndef NET_H1_PARSER_H
#define NET_H1_PARSER_H

#include <http_parser.h>

#include "base/buf.h"
#include "net/h1-chunks.h"
#include "net/http.h"

struct h1_head {
    struct str method;   /* requests */
    struct str target;   /* requests: origin form or "*" */
    struct str authority; /* requests: Host, or the authority of an absolute target */
    int status;          /* answers */
    int version;         /* 10 or 11 */
    struct http_headers headers; /* lower-case names */
    int64_t content_length; /* -1: none given */
    bool chunked;
    bool has_body;
    bool keep_alive;     /* the peer wants or allows more messages */
    bool upgrade;        /* "Connection: Upgrade" and an Upgrade header in HTTP/1.1 */
    bool expect_continue;
};

struct h1_parser_ops {
    /* The arena in which the head of the coming message lives. */
    struct arena *(*begin)(void *arg);
    /* Answers only: does a body follow as headers say (false: answer to HEAD)? May be NULL in requests. */
    bool (*on_head)(const struct h1_head *h, void *arg);
    void (*on_body)(struct str data, void *arg);
    void (*on_end)(const struct http_headers *trailers, void *arg);
};

enum h1_state { H1_HEAD, H1_BODY, H1_DONE, H1_FAILED };

struct h1_parser {
    http_parser p;
    const struct h1_parser_ops *ops;
    void *arg;
    bool response;
    uint8_t state;      /* enum h1_state */
    bool started;       /* a byte of the head has come */
    bool in_trailers;
    size_t max_head;
    /* The strict look at the head's bytes. */
    size_t line_len, n_lines;
    char prev;
    struct h1_chunks chunks; /* the strict look at a chunked body */
    struct buf head;    /* the head so far, when it came in pieces; later the trailers */
    /* While http-parser runs over the complete head. */
    struct arena *arena;
    struct str rest;    /* what followed the head in the bytes being eaten */
    struct h1_head out;
    struct http_header *headers;
    size_t n_headers;
    struct str name, value;
    bool in_value;
    int status;         /* what to answer when failed */
    const char *reason;
};

void h1_parser_init(struct h1_parser *p, bool response, size_t max_head, const struct h1_parser_ops *ops, void *arg);
void h1_parser_deinit(struct h1_parser *p);
/* Ready for the next message. */
void h1_parser_next(struct h1_parser *p);
/* Eats up to data.len bytes; returns how many. Fewer: the message is complete (H1_DONE) or broken (H1_FAILED: 'status' is the
 * answer, 'reason' says why). */
size_t h1_parser_eat(struct h1_parser *p, struct str data);
/* The connection ended. Returns true when that completes the message (an answer without length; on_end() was called). */
bool h1_parser_eof(struct h1_parser *p);

#endif
