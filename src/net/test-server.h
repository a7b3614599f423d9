/* A server with a few paths, for the tests of both protocols and of the client. */
#ifndef NET_TEST_SERVER_H
#define NET_TEST_SERVER_H

#include "net/http-server.h"

struct test_server {
    struct loop *loop;
    struct http_server *http;
    struct net_tls_server *tls;
    uint16_t port;          /* of the listener on 127.0.0.1 */
    unsigned requests;      /* seen */
    unsigned cancelled;     /* on_cancel() or ERR_CANCELLED */
    unsigned open;          /* streams that the handler holds */
    struct http_stream *held[512]; /* of /hold, not released yet */
    unsigned n_held;
};

struct test_server_config {
    bool tls;
    bool listen;
    struct http_server_config http; /* limits; the rest is filled */
};

/* Paths: /hello; /empty (204); /headers (echoes a header); /echo (streams the body back); /collect (body up to 1000 bytes);
 * /big?n=BYTES; /hold (an answer that stays open, in held[]); /later (answers in 20 ms); /who (peer's state); /upgrade (101,
 * then echoes in capitals); /trailers; /early (413 without reading); /slow-body (pauses between reads); /never (neither
 * reads nor answers). */
void test_server_start(struct test_server *t, const struct test_server_config *config);
void test_server_stop(struct test_server *t);
/* Turns the loop for up to 'ms', until '*until' is not zero (NULL: until nothing happens for 'ms'). */
void test_turn(struct loop *l, const unsigned *until, unsigned ms);

/* A socket whose other end is served. Non-blocking. */
int test_connect(struct test_server *t);
/* Writes all of 'bytes' (turning the loop) and reads what comes until 'needle' is seen, the peer closes, or 'ms' are over. */
struct str test_exchange(struct test_server *t, int fd, struct str bytes, const char *needle, unsigned ms);

#endif
