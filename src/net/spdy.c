#include "net/spdy.h"

#include <assert.h>

#include "base/reader.h"
#include "net/spdy-headers.h"
#include "net/stream-limits.h"

#define FRAME_HEADER_SIZE 8
#define INITIAL_WINDOW 65536

enum frame_type {
    FRAME_SYN_STREAM = 1,
    FRAME_SYN_REPLY = 2,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_HEADERS = 8,
    FRAME_WINDOW_UPDATE = 9,
};

enum { FLAG_FIN = 0x01, FLAG_UNIDIRECTIONAL = 0x02 };
enum { SETTING_INITIAL_WINDOW = 7 };
enum { GOAWAY_OK = 0, GOAWAY_PROTOCOL_ERROR = 1 };

struct stream {
    uint32_t id;
    bool ours;        /* we opened it */
    bool replied;     /* a SYN_REPLY was sent or received */
    bool local_fin;   /* we send no more */
    bool remote_fin;  /* the peer sends no more */
    bool was_blocked; /* on_writable is owed when the window grows */
    int64_t send_window, recv_window;
    size_t unacked;   /* consumed bytes not yet given back */
};

struct spdy {
    struct spdy_config config;
    const struct spdy_events *events;
    void *user;
    struct spdy_codec codec;

    struct stream *streams; /* in order of opening */
    size_t n_streams, capacity;
    uint32_t next_id, last_peer_id, next_ping;
    bool goaway_sent, goaway_received, failed, paused;

    /* Receiving: a frame header, then either the body of a control frame or a piece of data. */
    uint8_t header[FRAME_HEADER_SIZE];
    size_t n_header;
    struct buf body;
    size_t body_left;    /* bytes of the current frame that have not come yet */
    bool in_frame;

    /* SPDY_FLOW_WINDOWS */
    int64_t session_send, session_recv, peer_initial_window;
    size_t session_unacked;

    struct buf out;
};

struct spdy *spdy_new(const struct spdy_config *config, const struct spdy_events *events, void *user)
{
    struct spdy *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->config = *config;
    if (!s->config.max_streams) {
        s->config.max_streams = SPDY_MAX_STREAMS;
    }
    if (!s->config.window) {
        s->config.window = INITIAL_WINDOW;
    }
    s->events = events;
    s->user = user;
    s->next_id = config->role == SPDY_CLIENT ? 1 : 2;
    s->next_ping = s->next_id;
    s->session_send = s->session_recv = s->peer_initial_window = INITIAL_WINDOW;
    spdy_codec_init(&s->codec);
    buf_init(&s->body, SPDY_MAX_CONTROL_FRAME);
    buf_init(&s->out, SPDY_MAX_OUT);
    if (s->config.flow == SPDY_FLOW_WINDOWS && s->config.window != INITIAL_WINDOW) {
        const uint8_t frame[] = { 0x80, 3, 0, FRAME_SETTINGS, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, SETTING_INITIAL_WINDOW };
        uint32_t w = s->config.window;
        const uint8_t value[] = { (uint8_t)(w >> 24), (uint8_t)(w >> 16), (uint8_t)(w >> 8), (uint8_t)w };
        buf_append_bytes(&s->out, frame, sizeof(frame));
        buf_append_bytes(&s->out, value, sizeof(value));
    }
    return s;
}

struct spdy *spdy_free(struct spdy *s)
{
    if (s) {
        spdy_codec_deinit(&s->codec);
        buf_deinit(&s->body);
        buf_deinit(&s->out);
        free(s->streams);
        free(s);
    }
    return NULL;
}

/* Streams */

static struct stream *stream_find(const struct spdy *s, uint32_t id)
{
    for (size_t i = 0; i < s->n_streams; i++) {
        if (s->streams[i].id == id) {
            return &s->streams[i];
        }
    }
    return NULL;
}

static struct stream *stream_add(struct spdy *s, uint32_t id, bool ours)
{
    if (s->n_streams == s->capacity) {
        size_t cap = MAX(s->capacity * 2, (size_t)8);
        struct stream *p = realloc(s->streams, cap * sizeof(*p));
        if (!p) {
            abort();
        }
        s->streams = p;
        s->capacity = cap;
    }
    struct stream *st = &s->streams[s->n_streams++];
    *st = (struct stream){ .id = id, .ours = ours, .send_window = s->peer_initial_window, .recv_window = s->config.window };
    return st;
}

static void stream_remove(struct spdy *s, uint32_t id)
{
    struct stream *st = stream_find(s, id);
    if (st) {
        size_t i = (size_t)(st - s->streams);
        memmove(st, st + 1, (s->n_streams - i - 1) * sizeof(*st));
        s->n_streams--;
    }
}

static void stream_remove_if_done(struct spdy *s, uint32_t id)
{
    struct stream *st = stream_find(s, id);
    if (st && st->local_fin && st->remote_fin) {
        stream_remove(s, id);
    }
}

size_t spdy_n_streams(const struct spdy *s)
{
    return s->n_streams;
}

bool spdy_is_open(const struct spdy *s, uint32_t id)
{
    return stream_find(s, id) != NULL;
}

bool spdy_going_away(const struct spdy *s)
{
    return s->goaway_sent || s->goaway_received;
}

/* Sending */

static void put_u32(struct buf *b, uint32_t v)
{
    uint8_t bytes[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    buf_append_bytes(b, bytes, sizeof(bytes));
}

/* Starts a control frame; its length is filled in by control_end(). Returns where it starts. */
static size_t control_begin(struct spdy *s, enum frame_type type, uint8_t flags)
{
    size_t at = s->out.len;
    put_u32(&s->out, 0x80030000u | (uint32_t)type);
    put_u32(&s->out, (uint32_t)flags << 24);
    return at;
}

static void control_end(struct spdy *s, size_t at)
{
    if (!buf_failed(&s->out)) {
        size_t n = s->out.len - at - FRAME_HEADER_SIZE;
        char *p = s->out.ptr + at + 5;
        p[0] = (char)(n >> 16);
        p[1] = (char)(n >> 8);
        p[2] = (char)n;
    }
}

static void send_two_words(struct spdy *s, enum frame_type type, uint32_t a, uint32_t b)
{
    size_t at = control_begin(s, type, 0);
    put_u32(&s->out, a);
    put_u32(&s->out, b);
    control_end(s, at);
}

static void send_header_frame(struct spdy *s, enum frame_type type, uint32_t id, const struct spdy_header *h, size_t n_h,
                              bool fin)
{
    size_t at = control_begin(s, type, fin ? FLAG_FIN : 0);
    put_u32(&s->out, id);
    if (type == FRAME_SYN_STREAM) {
        put_u32(&s->out, 0);                     /* associated with no other stream */
        buf_append_bytes(&s->out, "\0\0", 2);    /* highest priority, no slot */
    }
    spdy_codec_encode(&s->codec, h, n_h, &s->out);
    control_end(s, at);
}

struct str spdy_out(const struct spdy *s)
{
    return buf_str(&s->out);
}

void spdy_out_consume(struct spdy *s, size_t n)
{
    buf_consume(&s->out, n);
}

bool spdy_out_take(struct spdy *s, struct buf *ret)
{
    if (s->out.len == 0) {
        return false;
    }
    *ret = s->out;
    buf_init(&s->out, ret->max);
    s->out.failed = ret->failed;
    return true;
}

bool spdy_open(struct spdy *s, const struct spdy_header *h, size_t n_h, bool fin, uint32_t *ret_id, struct err *err)
{
    if (s->failed || spdy_going_away(s)) {
        return err_set(err, ERR_UNAVAILABLE, "SPDY session takes no new streams");
    }
    if (s->n_streams >= s->config.max_streams || s->next_id > 0x7fffffffu) {
        return err_set(err, ERR_TOO_MANY_REQUESTS, "SPDY session has %zu streams, limit is %u", s->n_streams,
                       s->config.max_streams);
    }
    if (s->out.len > SPDY_MAX_OUT_DATA + SPDY_MAX_CONTROL_FRAME) {
        return err_set(err, ERR_UNAVAILABLE, "SPDY session has too much to send for another stream");
    }
    uint32_t id = s->next_id;
    s->next_id += 2;
    struct stream *st = stream_add(s, id, true);
    st->local_fin = fin;
    send_header_frame(s, FRAME_SYN_STREAM, id, h, n_h, fin);
    *ret_id = id;
    return true;
}

void spdy_reply(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n_h, bool fin)
{
    struct stream *st = stream_find(s, id);
    if (!st || st->ours || st->replied || st->local_fin) {
        return;
    }
    st->replied = true;
    st->local_fin = fin;
    send_header_frame(s, FRAME_SYN_REPLY, id, h, n_h, fin);
    stream_remove_if_done(s, id);
}

size_t spdy_writable(const struct spdy *s, uint32_t id)
{
    const struct stream *st = stream_find(s, id);
    if (!st || st->local_fin || s->failed || s->out.len >= SPDY_MAX_OUT_DATA) {
        return 0;
    }
    size_t room = SPDY_MAX_OUT_DATA - s->out.len;
    if (s->config.flow == SPDY_FLOW_WINDOWS) {
        int64_t w = MIN(st->send_window, s->session_send);
        room = w <= 0 ? 0 : MIN(room, (size_t)w);
    }
    return room;
}

static void put_data(struct spdy *s, uint32_t id, uint8_t flags, struct str data)
{
    put_u32(&s->out, id);
    put_u32(&s->out, (uint32_t)flags << 24 | (uint32_t)data.len);
    buf_append(&s->out, data);
}

size_t spdy_write(struct spdy *s, uint32_t id, struct str data)
{
    size_t total = 0;
    while (data.len) {
        size_t piece = MIN(data.len, (size_t)SPDY_MAX_DATA_FRAME), n = MIN(spdy_writable(s, id), piece);
        if (n == 0) {
            break;
        }
        put_data(s, id, 0, str_n(data.ptr, n));
        if (s->config.flow == SPDY_FLOW_WINDOWS) {
            stream_find(s, id)->send_window -= (int64_t)n;
            s->session_send -= (int64_t)n;
        }
        data = str_sub(data, n, SIZE_MAX);
        total += n;
    }
    struct stream *st = data.len ? stream_find(s, id) : NULL;
    if (st) {
        st->was_blocked = true;
    }
    return total;
}

void spdy_fin(struct spdy *s, uint32_t id)
{
    struct stream *st = stream_find(s, id);
    if (!st || st->local_fin) {
        return;
    }
    st->local_fin = true;
    put_data(s, id, FLAG_FIN, STR_EMPTY);
    stream_remove_if_done(s, id);
}

void spdy_reset(struct spdy *s, uint32_t id, uint32_t status)
{
    if (stream_find(s, id)) {
        send_two_words(s, FRAME_RST_STREAM, id, status);
        stream_remove(s, id);
    }
}

void spdy_consumed(struct spdy *s, uint32_t id, size_t n)
{
    if (s->config.flow != SPDY_FLOW_WINDOWS) {
        return;
    }
    struct stream *st = stream_find(s, id);
    /* Credit goes back in halves of a window, rather than a frame for every read. */
    if (st && !st->remote_fin) {
        st->unacked += n;
        if (st->unacked >= s->config.window / 2) {
            send_two_words(s, FRAME_WINDOW_UPDATE, id, (uint32_t)st->unacked);
            st->recv_window += (int64_t)st->unacked;
            st->unacked = 0;
        }
    }
    s->session_unacked += n;
    if (s->session_unacked >= INITIAL_WINDOW / 2) {
        send_two_words(s, FRAME_WINDOW_UPDATE, 0, (uint32_t)s->session_unacked);
        s->session_recv += (int64_t)s->session_unacked;
        s->session_unacked = 0;
    }
}

void spdy_ping(struct spdy *s, uint32_t *ret_ping_id)
{
    *ret_ping_id = s->next_ping;
    s->next_ping += 2;
    size_t at = control_begin(s, FRAME_PING, 0);
    put_u32(&s->out, *ret_ping_id);
    control_end(s, at);
}

void spdy_goaway(struct spdy *s, uint32_t status)
{
    if (!s->goaway_sent) {
        s->goaway_sent = true;
        send_two_words(s, FRAME_GOAWAY, s->last_peer_id, status);
    }
}

/* Receiving */

void spdy_pause(struct spdy *s)
{
    s->paused = true;
}

void spdy_resume(struct spdy *s)
{
    s->paused = false;
}

bool spdy_paused(const struct spdy *s)
{
    return s->paused;
}

/* A stream that was never opened, as opposed to one that is gone already (whose late frames are only ignored). */
static bool never_opened(const struct spdy *s, uint32_t id)
{
    bool ours = (id & 1) == (s->config.role == SPDY_CLIENT ? 1 : 0);
    return id == 0 || (ours ? id >= s->next_id : id > s->last_peer_id);
}

static void remote_fin(struct spdy *s, uint32_t id)
{
    struct stream *st = stream_find(s, id);
    if (!st || st->remote_fin) {
        return;
    }
    st->remote_fin = true;
    if (s->events->on_fin) {
        s->events->on_fin(s->user, id);
    }
    stream_remove_if_done(s, id);
}

static bool handle_syn_stream(struct spdy *s, struct reader *r, uint8_t flags, struct err *err)
{
    uint32_t id, associated;
    struct str block;
    struct spdy_header *h;
    size_t n_h;
    CLEANUP(arena_deinit) struct arena a = { 0 };
    arena_init(&a, 2 * SPDY_MAX_HEADER_BLOCK);

    if (!reader_u32(r, &id) || !reader_u32(r, &associated) || !reader_skip(r, 2) || !reader_take(r, reader_left(r), &block)) {
        return err_set(err, ERR_BAD_REQUEST, "SYN_STREAM is cut short");
    }
    /* Decoded even for a stream that is refused: the compression is one stream for the whole session. */
    if (!spdy_codec_decode(&s->codec, block, &a, &h, &n_h, err)) {
        return false;
    }
    id &= 0x7fffffffu;
    if ((id & 1) != (s->config.role == SPDY_SERVER ? 1 : 0) || id <= s->last_peer_id) {
        return err_set(err, ERR_BAD_REQUEST, "SYN_STREAM with stream %u, which is not a new one of the peer's", id);
    }
    s->last_peer_id = id;
    if (s->goaway_sent) {
        return true; /* the peer learns from our GOAWAY that it was not looked at */
    }
    if (!s->events->on_stream || s->n_streams >= s->config.max_streams) {
        send_two_words(s, FRAME_RST_STREAM, id, SPDY_REFUSED_STREAM);
        return true;
    }
    struct stream *st = stream_add(s, id, false);
    st->remote_fin = flags & FLAG_FIN;
    st->local_fin = flags & FLAG_UNIDIRECTIONAL;
    if (!s->events->on_stream(s->user, id, h, n_h, flags & FLAG_FIN)) {
        spdy_reset(s, id, SPDY_REFUSED_STREAM);
    }
    stream_remove_if_done(s, id);
    return true;
}

static bool handle_reply_or_headers(struct spdy *s, enum frame_type type, struct reader *r, uint8_t flags, struct err *err)
{
    uint32_t id;
    struct str block;
    struct spdy_header *h;
    size_t n_h;
    CLEANUP(arena_deinit) struct arena a = { 0 };
    arena_init(&a, 2 * SPDY_MAX_HEADER_BLOCK);

    if (!reader_u32(r, &id) || !reader_take(r, reader_left(r), &block)) {
        return err_set(err, ERR_BAD_REQUEST, "SPDY header frame is cut short");
    }
    if (!spdy_codec_decode(&s->codec, block, &a, &h, &n_h, err)) {
        return false;
    }
    id &= 0x7fffffffu;
    struct stream *st = stream_find(s, id);
    if (!st) {
        if (never_opened(s, id)) {
            send_two_words(s, FRAME_RST_STREAM, id, SPDY_INVALID_STREAM);
        }
        return true;
    }
    if (st->remote_fin) {
        spdy_reset(s, id, SPDY_STREAM_ALREADY_CLOSED);
        return true;
    }
    if (type == FRAME_SYN_REPLY) {
        if (!st->ours || st->replied) {
            spdy_reset(s, id, SPDY_STREAM_IN_USE);
            return true;
        }
        st->replied = true;
        if (s->events->on_reply) {
            s->events->on_reply(s->user, id, h, n_h);
        }
    } else if (s->events->on_headers) {
        s->events->on_headers(s->user, id, h, n_h);
    }
    if (flags & FLAG_FIN) {
        remote_fin(s, id);
    }
    return true;
}

static void tell_writable(struct spdy *s)
{
    /* The callback may open and close streams: look the list over again by id. */
    for (size_t i = 0; i < s->n_streams; i++) {
        struct stream *st = &s->streams[i];
        if (st->was_blocked && spdy_writable(s, st->id) > 0) {
            st->was_blocked = false;
            if (s->events->on_writable) {
                s->events->on_writable(s->user, st->id);
            }
        }
    }
}

static bool handle_settings(struct spdy *s, struct reader *r, struct err *err)
{
    uint32_t n, id, value;
    if (!reader_u32(r, &n)) {
        return err_set(err, ERR_BAD_REQUEST, "SETTINGS is cut short");
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!reader_u32(r, &id) || !reader_u32(r, &value)) {
            return err_set(err, ERR_BAD_REQUEST, "SETTINGS is cut short");
        }
        if ((id & 0xffffffu) == SETTING_INITIAL_WINDOW) {
            if (value > 0x7fffffffu) {
                return err_set(err, ERR_BAD_REQUEST, "SETTINGS with a window of %u bytes", value);
            }
            for (size_t k = 0; k < s->n_streams; k++) {
                s->streams[k].send_window += (int64_t)value - s->peer_initial_window;
            }
            s->peer_initial_window = value;
        }
    }
    tell_writable(s);
    return true;
}

static bool handle_window_update(struct spdy *s, struct reader *r, struct err *err)
{
    uint32_t id, delta;
    if (!reader_u32(r, &id) || !reader_u32(r, &delta)) {
        return err_set(err, ERR_BAD_REQUEST, "WINDOW_UPDATE is cut short");
    }
    id &= 0x7fffffffu;
    delta &= 0x7fffffffu;
    if (s->config.flow != SPDY_FLOW_WINDOWS) {
        return true;
    }
    if (id == 0) {
        s->session_send += delta;
        if (s->session_send > INT32_MAX) {
            return err_set(err, ERR_BAD_REQUEST, "WINDOW_UPDATE makes the session's window too large");
        }
    } else {
        struct stream *st = stream_find(s, id);
        if (st) {
            st->send_window += delta;
            if (st->send_window > INT32_MAX) {
                if (s->events->on_reset) {
                    s->events->on_reset(s->user, id, SPDY_FLOW_CONTROL_ERROR);
                }
                spdy_reset(s, id, SPDY_FLOW_CONTROL_ERROR);
            }
        }
    }
    tell_writable(s);
    return true;
}

static bool handle_control(struct spdy *s, struct err *err)
{
    struct reader r = reader_of(buf_str(&s->body));
    uint32_t version = ((uint32_t)s->header[0] << 8 | s->header[1]) & 0x7fff;
    uint32_t type = (uint32_t)s->header[2] << 8 | s->header[3];
    uint8_t flags = s->header[4];
    uint32_t a, b;

    if (version != 3) {
        return err_set(err, ERR_BAD_REQUEST, "SPDY frame of version %u, only 3 is spoken here", version);
    }
    switch (type) {
    case FRAME_SYN_STREAM:
        return handle_syn_stream(s, &r, flags, err);
    case FRAME_SYN_REPLY:
    case FRAME_HEADERS:
        return handle_reply_or_headers(s, (enum frame_type)type, &r, flags, err);
    case FRAME_RST_STREAM:
        if (!reader_u32(&r, &a) || !reader_u32(&r, &b)) {
            return err_set(err, ERR_BAD_REQUEST, "RST_STREAM is cut short");
        }
        a &= 0x7fffffffu;
        if (stream_find(s, a)) {
            stream_remove(s, a);
            if (s->events->on_reset) {
                s->events->on_reset(s->user, a, b);
            }
        }
        return true;
    case FRAME_SETTINGS:
        return handle_settings(s, &r, err);
    case FRAME_PING:
        if (!reader_u32(&r, &a)) {
            return err_set(err, ERR_BAD_REQUEST, "PING is cut short");
        }
        if ((a & 1) == (s->next_ping & 1)) {
            if (s->events->on_pong) {
                s->events->on_pong(s->user, a);
            }
        } else {
            size_t at = control_begin(s, FRAME_PING, 0);
            put_u32(&s->out, a);
            control_end(s, at);
        }
        return true;
    case FRAME_GOAWAY:
        if (!reader_u32(&r, &a) || !reader_u32(&r, &b)) {
            return err_set(err, ERR_BAD_REQUEST, "GOAWAY is cut short");
        }
        s->goaway_received = true;
        if (s->events->on_goaway) {
            s->events->on_goaway(s->user, a & 0x7fffffffu, b);
        }
        return true;
    case FRAME_WINDOW_UPDATE:
        return handle_window_update(s, &r, err);
    default:
        return true; /* unknown types are to be ignored (section 2.2.1) */
    }
}

/* A piece of a data frame. Data for a stream that is gone is dropped. */
static bool handle_data(struct spdy *s, uint32_t id, struct str data, struct err *err)
{
    struct stream *st = stream_find(s, id);
    if (s->config.flow == SPDY_FLOW_WINDOWS) {
        s->session_recv -= (int64_t)data.len;
        if (s->session_recv < 0) {
            return err_set(err, ERR_BAD_REQUEST, "SPDY peer sent more than the session's window");
        }
        if (!st) {
            spdy_consumed(s, id, data.len);
        }
    }
    if (!st) {
        return true;
    }
    if (st->remote_fin) {
        spdy_reset(s, id, SPDY_STREAM_ALREADY_CLOSED);
        return true;
    }
    if (s->config.flow == SPDY_FLOW_WINDOWS) {
        st->recv_window -= (int64_t)data.len;
        if (st->recv_window < 0) {
            if (s->events->on_reset) {
                s->events->on_reset(s->user, id, SPDY_FLOW_CONTROL_ERROR);
            }
            spdy_reset(s, id, SPDY_FLOW_CONTROL_ERROR);
            return true;
        }
    }
    if (data.len && s->events->on_data) {
        s->events->on_data(s->user, id, data);
    }
    return true;
}

static uint32_t data_frame_id(const struct spdy *s)
{
    return ((uint32_t)s->header[0] << 24 | (uint32_t)s->header[1] << 16 | (uint32_t)s->header[2] << 8 | s->header[3]) &
           0x7fffffffu;
}

static bool start_frame(struct spdy *s, struct err *err)
{
    s->body_left = (size_t)s->header[5] << 16 | (size_t)s->header[6] << 8 | s->header[7];
    s->in_frame = true;
    if (s->header[0] & 0x80) {
        buf_clear(&s->body);
        if (s->body_left > SPDY_MAX_CONTROL_FRAME) {
            return err_set(err, ERR_TOO_LARGE, "SPDY control frame of %zu bytes, limit is %u", s->body_left,
                           SPDY_MAX_CONTROL_FRAME);
        }
    } else if (never_opened(s, data_frame_id(s))) {
        return err_set(err, ERR_BAD_REQUEST, "SPDY data for stream %u, which was never opened", data_frame_id(s));
    }
    return true;
}

static bool end_frame(struct spdy *s, struct err *err)
{
    s->in_frame = false;
    s->n_header = 0;
    if (s->header[0] & 0x80) {
        return handle_control(s, err);
    }
    if (s->header[4] & FLAG_FIN) {
        remote_fin(s, data_frame_id(s));
    }
    return true;
}

static bool recv_step(struct spdy *s, struct str *in, struct err *err)
{
    if (!s->in_frame) {
        size_t n = MIN(in->len, FRAME_HEADER_SIZE - s->n_header);
        memcpy(s->header + s->n_header, in->ptr, n);
        s->n_header += n;
        *in = str_sub(*in, n, SIZE_MAX);
        if (s->n_header < FRAME_HEADER_SIZE) {
            return true;
        }
        if (!start_frame(s, err)) {
            return false;
        }
    }
    size_t n = MIN(in->len, s->body_left);
    if (n) {
        struct str piece = str_n(in->ptr, n);
        s->body_left -= n;
        *in = str_sub(*in, n, SIZE_MAX);
        if (s->header[0] & 0x80) {
            buf_append(&s->body, piece);
        } else if (!handle_data(s, data_frame_id(s), piece, err)) {
            return false;
        }
    }
    return s->body_left ? true : end_frame(s, err);
}

bool spdy_recv(struct spdy *s, struct str in, size_t *ret_used, struct err *err)
{
    size_t total = in.len;
    bool ok = !s->failed || err_set(err, ERR_BAD_REQUEST, "SPDY session has failed before");
    while (ok && in.len && !s->paused) {
        ok = recv_step(s, &in, err);
        if (ok && buf_failed(&s->out)) {
            ok = err_set(err, ERR_TOO_LARGE, "SPDY peer does not read what it asks for");
        }
    }
    *ret_used = total - in.len;
    if (!ok && !s->failed) {
        s->failed = true;
        spdy_goaway(s, GOAWAY_PROTOCOL_ERROR);
    }
    return ok;
}
