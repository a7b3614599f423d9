/* An apiserver with a memory store in this process, and a client that speaks HTTP/1.1 to it over a socket pair. For tests. */
#ifndef APISERVER_TEST_SERVER_H
#define APISERVER_TEST_SERVER_H

#include "apiserver/server.h"
#include "base/buf.h"

struct test_server {
    struct loop *loop;
    struct apiserver *server;
    int fd; /* the client's end */
    char token_file[64], key_file[64];
    struct buf in;
};

struct test_answer {
    int status;
    struct str headers; /* raw, from the status line on */
    struct str body;
};

/* Starts and waits until it is ready. Users: "admin" (system:masters), "alice" (devs), "bob". RBAC and Node, default admission. */
void test_server_start(struct test_server *t);
/* The same; 'adjust' may change the configuration before. */
void test_server_start_with(struct test_server *t, void (*adjust)(struct apiserver_config *cfg, void *arg), void *arg);
/* A new connection for the requests that follow. */
void test_reconnect(struct test_server *t);
void test_server_stop(struct test_server *t);
/* Sends one request and waits for the whole answer, which lives in 'a'. 'token' NULL: none. 'headers' are raw lines ended by CRLF. */
struct test_answer test_request(struct test_server *t, struct arena *a, struct str method, struct str target, const char *token,
                                struct str headers, struct str body);
/* The value of a header, absent when there is none. */
struct str test_header(const struct test_answer *r, const char *name);

/* A file into the arena; absent when it is not there. */
PRINTF_LIKE(2, 3) struct str test_read(struct arena *a, const char *fmt, ...);

#endif
