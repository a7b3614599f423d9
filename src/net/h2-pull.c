#include "net/h2-pull.h"

#include "net/limits.h"

enum {
    MIN_DATA = 512, /* room in a record that is worth starting a DATA frame */
    FRAME_HEADER = 9
};

ssize_t h2_pull_run(struct h2_pull *p, nghttp2_session *session, char *dst, size_t max)
{
    ssize_t result = 0;
    p->out = dst;
    p->n = 0;
    p->max = max;
    p->no_room = false;
    while (p->n < max && !p->no_room) {
        if (p->pend_n == 0) {
            ssize_t n = nghttp2_session_mem_send(session, &p->pend);
            if (n < 0) {
                result = -1;
                break;
            }
            if (n == 0) {
                break;
            }
            p->pend_n = (size_t)n;
        }
        size_t take = MIN(p->pend_n, max - p->n);
        memcpy(dst + p->n, p->pend, take);
        p->n += take;
        p->pend += take;
        p->pend_n -= take;
    }
    p->out = NULL;
    return result < 0 ? result : (ssize_t)p->n;
}

ssize_t h2_pull_length(const struct h2_pull *p, int32_t session_window, int32_t stream_window, uint32_t max_frame)
{
    size_t room = p->out ? p->max - p->n : 0;
    size_t n = room >= FRAME_HEADER + MIN_DATA ? room - FRAME_HEADER : NET_RECORD_SIZE - FRAME_HEADER;
    int32_t window = MIN(session_window, stream_window);
    n = MIN(n, (size_t)max_frame);
    return window > 0 && (size_t)window < n ? window : (ssize_t)n;
}

ssize_t h2_pull_read(const struct net_queue *q, bool ended, size_t length, uint32_t *flags)
{
    size_t n = MIN(length, q->bytes);
    if (n == 0 && !ended) {
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (ended && n == q->bytes) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

int h2_pull_data(struct h2_pull *p, const uint8_t *frame_header, struct net_queue *q, size_t length)
{
    if (p->max - p->n < FRAME_HEADER + length) {
        p->no_room = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    memcpy(p->out + p->n, frame_header, FRAME_HEADER);
    p->n += FRAME_HEADER;
    p->n += net_queue_copy(q, p->out + p->n, length);
    net_queue_consume(q, length);
    return 0;
}
