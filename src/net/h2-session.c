#include "net/h2-session.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Smaller than the frame buffer, larger than anything else that nghttp2 asks for when a session begins. */
enum { FRAMES_MIN = 16384 };

/* ---- memory ---- */

static void *take(size_t n, void *arg)
{
    struct h2_frames *f = arg;
    if (n < FRAMES_MIN || f->at) {
        return malloc(n);
    }
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return malloc(n);
    }
    f->at = p;
    f->size = n;
    return p;
}

static void give(void *p, void *arg)
{
    struct h2_frames *f = arg;
    if (!p || p != f->at) {
        free(p);
        return;
    }
    (void)munmap(f->at, f->size);
    f->at = NULL;
}

static void *take_zeroed(size_t n, size_t size, void *arg UNUSED)
{
    return calloc(n, size);
}

static void *take_more(void *p, size_t n, void *arg)
{
    const struct h2_frames *f = arg;
    if (!p) {
        return take(n, arg);
    }
    if (p != f->at) {
        return realloc(p, n);
    }
    void *more = malloc(n);
    if (more) {
        memcpy(more, p, MIN(n, f->size));
        give(p, arg);
    }
    return more;
}

/* ---- sessions ---- */

nghttp2_session *h2_session_new(const struct h2_session_spec *spec)
{
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *o = NULL;
    nghttp2_session *session = NULL;
    nghttp2_mem mem = { .mem_user_data = spec->frames, .malloc = take, .free = give, .calloc = take_zeroed, .realloc = take_more };
    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&o) != 0) {
        abort();
    }
    spec->callbacks(cb);
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_reserved_remote_streams(o, 0);
    if (spec->options) {
        spec->options(o);
    }
    int r = spec->server ? nghttp2_session_server_new3(&session, cb, spec->arg, o, &mem)
                         : nghttp2_session_client_new3(&session, cb, spec->arg, o, &mem);
    if (r != 0) {
        abort();
    }
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(o);
    return session;
}

/* ---- header lines ---- */

static nghttp2_nv line(const char *name, size_t name_len, struct str value, bool once)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)(value.ptr ? value.ptr : ""), name_len, value.len,
                         once ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE };
}

nghttp2_nv h2_line(const char *name, struct str value)
{
    return line(name, strlen(name), value, false);
}

nghttp2_nv h2_line_once(const char *name, struct str value)
{
    return line(name, strlen(name), value, true);
}

nghttp2_nv h2_header(char *at, const struct http_header *h)
{
    for (size_t i = 0; i < h->name.len; i++) {
        char c = h->name.ptr[i];
        at[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return line(at, h->name.len, h->value, h->once);
}
