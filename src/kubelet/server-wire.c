#include "kubelet/server-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/reader.h"

bool wire_decode(struct str bytes, struct wire_message *ret)
{
    struct reader r = reader_of(bytes);
    *ret = (struct wire_message){ .fd = -1 };
    if (!reader_u32(&r, &ret->id) || !reader_u8(&r, &ret->what) || !reader_u32(&r, &ret->number)) {
        return false;
    }
    while (reader_left(&r)) {
        uint32_t len;
        if (ret->n_strings == WIRE_MAX_STRINGS || !reader_u32(&r, &len) || !reader_take(&r, len, &ret->strings[ret->n_strings])) {
            return false;
        }
        ret->n_strings++;
    }
    return true;
}

static void put_u32(struct buf *b, uint32_t v)
{
    const char bytes[4] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };
    buf_append_bytes(b, bytes, 4);
}

void wire_encode(const struct wire_message *m, struct buf *b)
{
    put_u32(b, m->id);
    buf_append_char(b, (char)m->what);
    put_u32(b, m->number);
    for (size_t i = 0; i < m->n_strings; i++) {
        put_u32(b, (uint32_t)m->strings[i].len);
        buf_append(b, m->strings[i]);
    }
}

static int send_bytes(int socket, struct buf *b, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = b->ptr, .iov_len = b->len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int wire_send(int socket, const struct wire_message *m)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, WIRE_MAX);
    wire_encode(m, &b);
    return buf_failed(&b) ? -EMSGSIZE : send_bytes(socket, &b, m->fd);
}

/* ---- the queue ---- */

struct queued {
    struct list link;
    struct buf bytes;
    int fd;
};

void wire_queue_init(struct wire_queue *q, int socket)
{
    *q = (struct wire_queue){ .socket = socket };
    list_init(&q->items);
}

static void drop_first(struct wire_queue *q)
{
    struct queued *m = LIST_ENTRY(list_pop_front(&q->items), struct queued, link);
    q->n--;
    q->bytes -= m->bytes.len;
    fs_closep(&m->fd);
    buf_deinit(&m->bytes);
    free(m);
}

void wire_queue_deinit(struct wire_queue *q)
{
    while (q->n) {
        drop_first(q);
    }
}

int wire_queue_send(struct wire_queue *q, const struct wire_message *m)
{
    struct buf b;
    buf_init(&b, WIRE_MAX);
    wire_encode(m, &b);
    int rc = buf_failed(&b) ? -EMSGSIZE : q->n ? -EAGAIN : send_bytes(q->socket, &b, m->fd);
    if (rc == -EAGAIN && (q->n >= WIRE_MAX_QUEUED || q->bytes + b.len > WIRE_MAX_QUEUED_BYTES)) {
        rc = -ENOBUFS;
    }
    if (rc != -EAGAIN) {
        buf_deinit(&b);
        return rc;
    }
    int fd = m->fd >= 0 ? fcntl(m->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (m->fd >= 0 && fd < 0) {
        rc = -errno;
        buf_deinit(&b);
        return rc;
    }
    struct queued *item = calloc(1, sizeof(*item));
    if (!item) {
        abort();
    }
    *item = (struct queued){ .bytes = b, .fd = fd };
    list_push_back(&q->items, &item->link);
    q->n++;
    q->bytes += b.len;
    return 0;
}

void wire_queue_flush(struct wire_queue *q)
{
    while (q->n) {
        struct queued *m = LIST_ENTRY(q->items.next, struct queued, link);
        if (send_bytes(q->socket, &m->bytes, m->fd) == -EAGAIN) {
            return;
        }
        drop_first(q); /* any other failure means that nobody is there any more */
    }
}

ssize_t wire_receive(int socket, char dst[WIRE_MAX], int *ret_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = dst, .iov_len = WIRE_MAX };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space) };
    *ret_fd = -1;
    ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0) {
        return -errno;
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    }
    return n;
}

int wire_memory_file(struct str bytes)
{
    int fd = memfd_create("kubelet-answer", MFD_CLOEXEC);
    for (size_t at = 0; fd >= 0 && at < bytes.len;) {
        ssize_t n = write(fd, bytes.ptr + at, bytes.len - at);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        at += (size_t)n;
    }
    if (fd >= 0 && lseek(fd, 0, SEEK_SET) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}
