/*
 * What is asked on the unix socket: Konnectivity's HTTP-CONNECT ("CONNECT host:port HTTP/1.1"), or GET of a path. Strict: lines end
 * with CR LF, no control bytes, no body, no IPv6 zones, so that nobody reads it differently.
 */
#ifndef TUNNEL_FRONT_HEAD_H
#define TUNNEL_FRONT_HEAD_H

#include "base/str.h"

struct front_head {
    bool connect;      /* otherwise GET */
    struct str host;   /* CONNECT: a name or an address, without brackets */
    uint16_t port;
    struct str path;   /* GET */
    size_t size;       /* bytes of the head; what follows belongs to the stream */
    int status;        /* when it is refused: 400, 405, 431, 505 */
    const char *reason;
};

enum front_head_result { FRONT_HEAD_MORE, FRONT_HEAD_DONE, FRONT_HEAD_REFUSED };

/* Everything borrows from 'data'. */
enum front_head_result front_head_parse(struct str data, struct front_head *ret);

#endif
