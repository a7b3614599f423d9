/* Filling TLS records from an nghttp2 session: shared by server and client. DATA goes from chunks to the record in one copy. */
#ifndef NET_H2_PULL_H
#define NET_H2_PULL_H

#include <nghttp2/nghttp2.h>

#include "net/chunk.h"

struct h2_pull {
    char *out;           /* the record being filled, or NULL */
    size_t n, max;
    bool no_room;        /* the next DATA frame did not fit */
    const uint8_t *pend; /* nghttp2's bytes that did not fit; valid until its next call */
    size_t pend_n;
};

/* Fills up to 'max' bytes; 0: nothing to send. -1: the session is broken. */
ssize_t h2_pull_run(struct h2_pull *p, nghttp2_session *session, char *dst, size_t max);
/* For nghttp2's data_source_read_length_callback: the size that fills the record. */
ssize_t h2_pull_length(const struct h2_pull *p, int32_t session_window, int32_t stream_window, uint32_t max_frame);
/* For a data source's read callback: how much of 'q' goes into this frame, without a copy; 'ended': nothing follows. Or
 * NGHTTP2_ERR_DEFERRED: the session waits until nghttp2_session_resume_data(). */
ssize_t h2_pull_read(const struct net_queue *q, bool ended, size_t length, uint32_t *flags);
/* For nghttp2's send_data_callback: moves 'length' bytes of 'q'. 0 or NGHTTP2_ERR_WOULDBLOCK. */
int h2_pull_data(struct h2_pull *p, const uint8_t *frame_header, struct net_queue *q, size_t length);

#endif
