/*
 * A dialer that reaches everything through a proxy that speaks HTTP CONNECT (RFC 9110 9.3.6): Konnectivity's http-connect mode,
 * and our own tunnel process. The proxy is on a unix socket or on TCP, with TLS and a client certificate or without.
 *
 * A target is named to the proxy as it was given: names are looked up at the far end. There is no way around the proxy: when it
 * is away, or says no, the attempt fails with ERR_UNAVAILABLE and its words.
 *
 * Without TLS the proxy's own socket is handed out once the answer was read, to the byte. With TLS one end of a socket pair is,
 * and the dialer carries bytes between it and the TLS connection; its memory is bounded by the splice's watermarks.
 */
#ifndef NET_DIAL_CONNECT_H
#define NET_DIAL_CONNECT_H

#include "net/dial.h"
#include "net/tls.h"

struct net_dialer_connect;

enum net_dial_stage {
    NET_DIAL_BEGUN,       /* an attempt begins */
    NET_DIAL_NO_PROXY,    /* the proxy could not be reached, or TLS to it failed */
    NET_DIAL_NO_TARGET,   /* the proxy answered, but not with success, or broke off */
    NET_DIAL_CONNECTED
};

struct net_dialer_connect_config {
    struct str host;            /* the proxy: path of a unix socket (then port is 0), name or address. Copied */
    uint16_t port;
    struct net_tls_client *tls; /* NULL: plain. A reference is taken */
    struct str name;            /* for messages: "the egress proxy". Copied */
    net_dial_check_fn *check;   /* of numeric targets, before the proxy is asked; may be NULL */
    void *check_arg;
    /* For metrics; may be NULL. 'ms' since the attempt began. */
    void (*observe)(void *arg, enum net_dial_stage stage, uint64_t ms);
    void *observe_arg;
};

MUST_CHECK struct net_dialer_connect *net_dialer_connect_new(const struct net_dialer_connect_config *config, struct err *err);
/* Cuts the TLS connections that it carries; attempts must have ended. NULL-safe; returns NULL. */
struct net_dialer_connect *net_dialer_connect_free(struct net_dialer_connect *d);
struct net_dialer *net_dialer_connect_dialer(struct net_dialer_connect *d);
/* The head of a proxy's answer, without the empty line: its status (100 to 599), and how many bytes of body say why it refused. False:
 * no HTTP/1. For the fuzzer. */
MUST_CHECK bool connect_answer_parse(struct str head, int *ret_status, size_t *ret_reason);
/* TLS connections that are carried now. */
unsigned net_dialer_connect_carried(const struct net_dialer_connect *d);

#endif
