/* Channels of an SSH session. libssh's callbacks only take data and leave marks; everything else happens in ssh_far_work(). */
#include <stdio.h>
#include <stdlib.h>

#include "tunnel/limits.h"
#include "tunnel/ssh-link-private.h"

struct ssh_far {
    struct tunnel_far base;
    struct ssh_link *link;
    ssh_channel channel;
    struct ssh_channel_callbacks_struct callbacks;
    struct list all, opening, active, blocked;
    char host[256];
    uint16_t port;
    bool open;
    bool detached;   /* nobody is told any more */
    bool paused;
    bool want_eof;   /* our end is to be sent */
    bool eof_sent, remote_eof, remote_closed, eof_told;
    size_t held;     /* in libssh's buffer */
};

static void mark(struct ssh_far *f)
{
    list_remove(&f->active);
    list_push_back(&f->link->active, &f->active);
    ssh_link_wake(f->link);
}

static void set_held(struct ssh_far *f, size_t n)
{
    f->link->shared->held += n - f->held;
    f->held = n;
}

static bool too_much_is_held(const struct ssh_links *shared)
{
    return shared->held > (shared->max_held ? shared->max_held : (size_t)TUNNEL_MAX_HELD);
}

/* ---- libssh's callbacks ---- */

static int on_data(ssh_session session UNUSED, ssh_channel channel UNUSED, void *data, uint32_t len, int is_stderr, void *arg)
{
    struct ssh_far *f = arg;
    if (is_stderr || f->detached) {
        return (int)len;
    }
    if (f->paused) {
        set_held(f, len); /* libssh's window is the bound of one channel */
        if (too_much_is_held(f->link->shared)) {
            mark(f);
        }
        return 0;
    }
    f->link->base.facts.bytes_in += len;
    set_held(f, 0);
    f->base.events->on_data(str_n(data, len), f->base.arg);
    return (int)len;
}

static void on_eof(ssh_session session UNUSED, ssh_channel channel UNUSED, void *arg)
{
    struct ssh_far *f = arg;
    f->remote_eof = true;
    mark(f);
}

static void on_close(ssh_session session UNUSED, ssh_channel channel UNUSED, void *arg)
{
    struct ssh_far *f = arg;
    f->remote_closed = true;
    mark(f);
}

/* ---- life ---- */

static void destroy(struct ssh_far *f)
{
    struct ssh_link *l = f->link;
    const struct ssh_lib *lib = l->shared->lib;
    set_held(f, 0);
    list_remove(&f->all);
    list_remove(&f->opening);
    list_remove(&f->active);
    list_remove(&f->blocked);
    l->n_fars--;
    l->base.facts.streams = l->n_fars;
    if (l->session && f->channel) {
        lib->ssh_remove_channel_callbacks(f->channel, &f->callbacks);
        /* Twice: when the socket is full the first one only sends the end of our direction. Never one that was not opened: it has
         * no number at the other side, and that of another channel would be closed. */
        if (f->open && lib->ssh_channel_close(f->channel) != SSH_OK) {
            (void)lib->ssh_channel_close(f->channel);
        }
        lib->ssh_channel_free(f->channel);
        ssh_link_wake(l);
    }
    free(f);
}

static void far_close_ssh(struct tunnel_far *base)
{
    struct ssh_far *f = CONTAINER_OF(base, struct ssh_far, base);
    if (f->link->session && !f->open) {
        /* libssh cannot take an opening back: it is closed once the answer is there. */
        f->detached = true;
        return;
    }
    destroy(f);
}

static void send_eof(struct ssh_far *f)
{
    if (!f->eof_sent) {
        f->eof_sent = true;
        if (f->link->shared->lib->ssh_channel_send_eof(f->channel) == SSH_ERROR) {
            mark(f);
        }
        ssh_link_wake(f->link);
    }
}

static void far_shutdown_ssh(struct tunnel_far *base)
{
    struct ssh_far *f = CONTAINER_OF(base, struct ssh_far, base);
    if (f->link->session && f->open && !f->remote_closed) {
        send_eof(f);
    }
}

static void far_pause_ssh(struct tunnel_far *base, bool paused)
{
    struct ssh_far *f = CONTAINER_OF(base, struct ssh_far, base);
    f->paused = paused;
    if (!paused && f->link->session) {
        mark(f);
    }
}

static bool socket_is_full(const struct ssh_link *l)
{
    return l->shared->lib->ssh_get_poll_flags(l->session) & SSH_WRITE_PENDING;
}

static size_t far_write_ssh(struct tunnel_far *base, struct str data)
{
    struct ssh_far *f = CONTAINER_OF(base, struct ssh_far, base);
    struct ssh_link *l = f->link;
    const struct ssh_lib *lib = l->shared->lib;
    size_t done = 0;
    if (!l->session || l->failure.msg[0] || f->remote_closed || f->eof_sent) {
        return data.len; /* the end is on its way */
    }
    while (done < data.len && !socket_is_full(l)) {
        size_t n = MIN(data.len - done, (size_t)TUNNEL_WRITE_SIZE);
        n = MIN(n, (size_t)lib->ssh_channel_window_size(f->channel));
        int wrote = n ? lib->ssh_channel_write(f->channel, data.ptr + done, (uint32_t)n) : 0;
        if (wrote < 0 && wrote != SSH_AGAIN) {
            mark(f);
            break;
        }
        if (wrote <= 0) {
            break;
        }
        done += (size_t)wrote;
    }
    l->base.facts.bytes_out += done;
    if (done < data.len) {
        list_remove(&f->blocked);
        list_push_back(&l->blocked, &f->blocked);
    }
    ssh_link_wake(l);
    return done;
}

static const struct tunnel_far_ops far_ops = {
    .write = far_write_ssh, .shutdown = far_shutdown_ssh, .pause = far_pause_ssh, .close = far_close_ssh,
};

struct tunnel_far *ssh_far_open(struct ssh_link *l, struct str host, uint16_t port, const struct tunnel_far_events *events, void *arg,
                                struct err *err)
{
    const struct ssh_lib *lib = l->shared->lib;
    struct ssh_far *f = calloc(1, sizeof(*f));
    ssh_channel channel = f ? lib->ssh_channel_new(l->session) : NULL;
    if (!channel) {
        free(f);
        err_set(err, ERR_NO_MEMORY, "no memory for a channel");
        return NULL;
    }
    f->base = (struct tunnel_far){ .ops = &far_ops, .events = events, .arg = arg };
    f->link = l;
    f->channel = channel;
    f->port = port;
    list_init(&f->active);
    list_init(&f->blocked);
    f->callbacks.userdata = f;
    f->callbacks.channel_data_function = on_data;
    f->callbacks.channel_eof_function = on_eof;
    f->callbacks.channel_close_function = on_close;
    ssh_callbacks_init(&f->callbacks);
    list_push_back(&l->fars, &f->all);
    list_push_back(&l->opening, &f->opening);
    l->n_fars++;
    l->base.facts.streams = l->n_fars;
    (void)snprintf(f->host, sizeof(f->host), "%.*s", STR_ARG(host));
    (void)lib->ssh_set_channel_callbacks(channel, &f->callbacks);
    ssh_link_wake(l); /* the request is sent there */
    return &f->base;
}

/* ---- work ---- */

static void look_at_opening(struct ssh_link *l)
{
    const struct ssh_lib *lib = l->shared->lib;
    LIST_FOREACH(&l->opening, struct ssh_far, opening, f) {
        int rc = lib->ssh_channel_open_forward(f->channel, f->host, f->port, "127.0.0.1", 0);
        if (rc == SSH_AGAIN) {
            continue;
        }
        list_remove(&f->opening);
        f->open = rc == SSH_OK;
        if (f->detached) {
            destroy(f);
        } else if (f->open) {
            f->base.events->on_open(f->base.arg);
        } else {
            char reason[300];
            const struct tunnel_far_events *events = f->base.events;
            void *arg = f->base.arg;
            (void)snprintf(reason, sizeof(reason), "the node's sshd did not connect to %s:%u: %s", f->host, f->port,
                           lib->ssh_get_error(l->session));
            destroy(f);
            events->on_refused(reason, arg);
        }
        if (!l->session || l->failure.msg[0]) {
            return;
        }
    }
}

/* What waited in libssh while the reader was slow. True: all of it is gone. */
static bool read_held(struct ssh_far *f)
{
    static char buffer[TUNNEL_WRITE_SIZE]; /* one loop, one thread; given away within the call */
    struct ssh_link *l = f->link;
    while (!f->paused && f->held > 0) {
        int n = l->shared->lib->ssh_channel_read_nonblocking(f->channel, buffer, sizeof(buffer), 0);
        if (n <= 0) {
            set_held(f, 0);
            break;
        }
        set_held(f, f->held > (size_t)n ? f->held - (size_t)n : 1); /* 1: look once more, what came meanwhile is not counted */
        l->base.facts.bytes_in += (unsigned)n;
        f->base.events->on_data(str_n(buffer, (size_t)n), f->base.arg);
    }
    return f->held == 0;
}

static void end(struct ssh_far *f, const char *reason)
{
    const struct tunnel_far_events *events = f->base.events;
    void *arg = f->base.arg;
    destroy(f);
    events->on_close(reason, arg);
}

static void look_at_active(struct ssh_link *l)
{
    struct list todo;
    list_init(&todo);
    while (!list_empty(&l->active)) {
        list_push_back(&todo, list_pop_front(&l->active));
    }
    while (!list_empty(&todo)) {
        struct ssh_far *f = LIST_ENTRY(list_pop_front(&todo), struct ssh_far, active);
        list_init(&f->active);
        if (f->detached || !f->open) {
            continue;
        }
        if (f->paused && f->held > 0 && too_much_is_held(l->shared)) {
            end(f, "too much waits for slow readers: this stream was cut");
            continue;
        }
        if (!read_held(f)) {
            continue;
        }
        if (f->remote_eof && !f->eof_told) {
            f->eof_told = true;
            f->base.events->on_eof(f->base.arg);
            /* on_eof may close it only by its own far_close(), which relays do not do there */
        }
        if (f->remote_closed) {
            end(f, f->remote_eof ? NULL : "the node's sshd closed the channel");
        }
    }
}

static void look_at_blocked(struct ssh_link *l)
{
    struct list todo;
    if (list_empty(&l->blocked) || socket_is_full(l)) {
        return;
    }
    list_init(&todo);
    while (!list_empty(&l->blocked)) {
        list_push_back(&todo, list_pop_front(&l->blocked));
    }
    while (!list_empty(&todo)) {
        struct ssh_far *f = LIST_ENTRY(list_pop_front(&todo), struct ssh_far, blocked);
        if (f->detached) {
            continue;
        }
        if (!f->remote_closed && (socket_is_full(l) || l->shared->lib->ssh_channel_window_size(f->channel) == 0)) {
            list_push_back(&l->blocked, &f->blocked);
        } else {
            f->base.events->on_writable(f->base.arg);
        }
    }
}

void ssh_far_work(struct ssh_link *l)
{
    look_at_opening(l);
    look_at_active(l);
    look_at_blocked(l);
}

void ssh_far_end_all(struct ssh_link *l, const char *reason)
{
    LIST_FOREACH(&l->fars, struct ssh_far, all, each) {
        each->channel = NULL; /* went with the session */
    }
    while (!list_empty(&l->fars)) {
        struct ssh_far *f = LIST_ENTRY(l->fars.next, struct ssh_far, all);
        const struct tunnel_far_events *events = f->detached ? NULL : f->base.events;
        void *arg = f->base.arg;
        bool open = f->open;
        destroy(f);
        if (events && open) {
            events->on_close(reason, arg);
        } else if (events) {
            events->on_refused(reason, arg);
        }
    }
}
