/* What a stream sends: straight from chunks on plain sockets, as whole records with TLS. */
#include "net/stream-private.h"

#include <errno.h>
#include <openssl/err.h>

enum {
    FULL_RECORD = NET_RECORD_SIZE - 1024, /* an engine that fills so much of a record had no room for its next piece */
    IOV_MAX_USED = 64, /* chunks that one call of the kernel takes */
    LINGER_MS = 1000   /* so long a closed stream waits for the peer's end */
};

/* Plain sockets: straight from the chunks. Returns bytes, 0 for none, -1 when finished, -EAGAIN when the socket is full. */
static ssize_t write_chunks(struct net_stream *s)
{
    struct iovec iov[IOV_MAX_USED];
    struct msghdr msg = { .msg_iov = iov };
    msg.msg_iovlen = net_queue_iov(&s->queue, iov, IOV_MAX_USED);
    ssize_t r = sendmsg(s->io.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (r < 0) {
        if (errno == EINTR || errno == EAGAIN) {
            /* Makes the loop watch for room: one byte moves over to 'pending'. */
            struct str first = net_queue_peek(&s->queue);
            buf_append(&s->pending, str_sub(first, 0, 1));
            net_queue_consume(&s->queue, 1);
            s->conn.bytes_out++;
            return -EAGAIN;
        }
        stream_finish_errno(s, errno);
        return -1;
    }
    s->last_ms = loop_now_ms(s->loop);
    s->conn.bytes_out += (size_t)r;
    net_queue_consume(&s->queue, (size_t)r);
    return r;
}

/* Fills one record from the queue and the engine, and sends it. Same results as write_chunks(). */
static ssize_t write_record(struct net_stream *s)
{
    char *stage = s->shared->write;
    size_t n = net_queue_copy(&s->queue, stage, NET_RECORD_SIZE);
    net_queue_consume(&s->queue, n);
    if (s->pull_wanted && s->queue.bytes == 0) {
        /* Cleared before, because the engine may ask for another turn while it fills. */
        s->pull_wanted = false;
        size_t pulled = n < NET_RECORD_SIZE ? s->pull(s, stage + n, NET_RECORD_SIZE - n, s->arg) : 1;
        if (s->state != STREAM_OPEN) {
            return -1;
        }
        if (pulled > 0) {
            s->pull_wanted = true;
            n += n < NET_RECORD_SIZE ? pulled : 0;
        }
    }
    if (n == 0) {
        return 0;
    }
    s->more = n >= FULL_RECORD && (s->queue.bytes > 0 || s->pull_wanted);
    if (!s->ssl) {
        int r = stream_raw_write(s, stage, n);
        if (r < 0) {
            stream_finish_errno(s, -r);
            return -1;
        }
        return (ssize_t)n;
    }
    ERR_clear_error();
    int r = SSL_write(s->ssl, stage, (int)n);
    if (r <= 0) {
        stream_tls_failed(s, r);
        return -1;
    }
    return (ssize_t)n;
}

static bool write_all(struct net_stream *s)
{
    size_t sent = 0;
    for (;;) {
        int r = stream_flush_pending(s);
        if (r == -EAGAIN) {
            return true;
        }
        if (r < 0) {
            stream_finish_errno(s, -r);
            return false;
        }
        if (sent >= NET_WRITE_BURST) {
            loop_task_defer(&s->task);
            return true;
        }
        bool plain = !s->ssl && s->queue.bytes > 0;
        ssize_t n = plain ? write_chunks(s) : write_record(s);
        if (n == -1) {
            return false;
        }
        if (n == 0) {
            return true;
        }
        sent += n > 0 ? (size_t)n : 0;
    }
}

/* Records that follow on one another leave together, not each by itself: on one machine four of them fit into one packet. */
bool stream_write_all(struct net_stream *s)
{
    bool alive = write_all(s);
    if (alive) {
        stream_push(s);
    }
    return alive;
}

static bool all_sent(const struct net_stream *s)
{
    return s->pending.len == 0 && s->queue.bytes == 0 && !s->pull_wanted;
}

static void send_fin(struct net_stream *s)
{
    s->fin_sent = true;
    if (s->ssl) {
        ERR_clear_error();
        (void)SSL_shutdown(s->ssl);
        ERR_clear_error();
        if (s->pending.len > 0) {
            /* The close alert goes out with the next room; the FIN then follows at close. */
            return;
        }
    }
    (void)shutdown(s->io.fd, SHUT_WR);
}

void stream_after_write(struct net_stream *s)
{
    if (s->state != STREAM_OPEN) {
        return;
    }
    if (s->above && net_stream_queued(s) <= s->low) {
        s->above = false;
        if (s->ops->on_drain && !s->closing) {
            s->ops->on_drain(s, s->arg);
            if (s->state != STREAM_OPEN) {
                return;
            }
        }
    }
    if ((s->shutting || s->closing) && !s->fin_sent && all_sent(s)) {
        send_fin(s);
    }
    if (s->closing && s->fin_sent && s->pending.len == 0) {
        if (s->eof) {
            stream_finish(s, NET_CLOSE_LOCAL, "closed");
            return;
        }
        s->state = STREAM_LINGERING;
        loop_timer_start(&s->timer, LINGER_MS);
        return;
    }
    stream_check_both_ended(s);
}
