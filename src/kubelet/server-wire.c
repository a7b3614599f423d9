#include "kubelet/server-wire.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

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

int wire_send(int socket, const struct wire_message *m)
{
    CLEANUP(buf_deinit) struct buf b;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    buf_init(&b, WIRE_MAX);
    put_u32(&b, m->id);
    buf_append_char(&b, (char)m->what);
    put_u32(&b, m->number);
    for (size_t i = 0; i < m->n_strings; i++) {
        put_u32(&b, (uint32_t)m->strings[i].len);
        buf_append(&b, m->strings[i]);
    }
    if (buf_failed(&b)) {
        return -EMSGSIZE;
    }
    struct iovec iov = { .iov_base = b.ptr, .iov_len = b.len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (m->fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &m->fd, sizeof(int));
    }
    return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
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
