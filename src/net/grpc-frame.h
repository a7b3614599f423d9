/* The pieces of the gRPC wire format that need no connection: message framing, status codes, time-outs. */
#ifndef NET_GRPC_FRAME_H
#define NET_GRPC_FRAME_H

#include "base/buf.h"
#include "net/grpc.h"

#define GRPC_PREFIX_SIZE 5

/* Appends a message behind its prefix (uncompressed flag and length). */
void grpc_frame_append(struct buf *b, struct str message);

/* Cuts a stream of bytes into messages. */
struct grpc_deframer {
    uint8_t prefix[GRPC_PREFIX_SIZE];
    size_t n_prefix, left;
    bool in_message;
    struct buf body; /* its max is the largest message */
};

void grpc_deframer_init(struct grpc_deframer *d, size_t max_message);
void grpc_deframer_deinit(struct grpc_deframer *d);
/* Eats from '*in'. With a whole message sets '*ret_got' and '*ret_message' (borrowed from '*in' or from 'd', until the next
 * call). False on a message that is too large or compressed. */
MUST_CHECK bool grpc_deframe(struct grpc_deframer *d, struct str *in, bool *ret_got, struct str *ret_message,
                             struct grpc_status *status);
/* Is a message begun and not whole? */
bool grpc_deframer_is_inside(const struct grpc_deframer *d);

/* Sets code and reason. Returns false. */
PRINTF_LIKE(3, 4) bool grpc_status_set(struct grpc_status *st, enum grpc_code code, const char *fmt, ...);
/* The value of a grpc-status header; GRPC_UNKNOWN for anything else (gRPC over HTTP/2, "Responses"). */
enum grpc_code grpc_code_parse(struct str s);
/* What an answer that is not gRPC means, and what a stream reset without a status means. */
enum grpc_code grpc_code_of_http(int http_status);
enum grpc_code grpc_code_of_h2_error(uint32_t error_code);
/* Decodes a grpc-message value (percent-encoded; broken escapes stay as they are) into 'dst', bounded. */
void grpc_message_decode(struct str s, char *dst, size_t size);

#define GRPC_TIMEOUT_SIZE 12
/* "1500m": at most eight digits and a unit. */
void grpc_timeout_format(uint64_t timeout_ms, char dst[GRPC_TIMEOUT_SIZE]);

#endif
