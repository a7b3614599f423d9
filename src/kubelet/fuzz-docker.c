/* dockerd's two formats: frames give the same however they are cut; a line of a log never reads past itself. */
#include <stdlib.h>

#include "base/buf.h"
#include "kubelet/docker-frame.h"
#include "kubelet/docker-log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(void *arg, bool error, struct str bytes)
{
    struct buf *b = arg;
    for (size_t i = 0; i < bytes.len; i++) {
        buf_append_char(b, error ? '2' : '1');
        buf_append_char(b, bytes.ptr[i]);
    }
}

static void feed(struct str bytes, size_t step, struct buf *out)
{
    struct docker_frames f = { .take = take, .arg = out };
    buf_init(out, BUF_NO_MAX);
    while (bytes.len) {
        size_t n = MIN(step, bytes.len);
        docker_frames_feed(&f, str_sub(bytes, 0, n));
        bytes = str_sub(bytes, n, bytes.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n((const char *)data, size);
    struct docker_log_line line;
    struct arena a;
    struct buf whole, pieces;
    feed(bytes, size ? size : 1, &whole);
    feed(bytes, 1 + size % 11, &pieces);
    if (!str_eq(buf_str(&whole), buf_str(&pieces))) {
        abort();
    }
    buf_deinit(&whole);
    buf_deinit(&pieces);
    arena_init(&a, 1u << 20);
    if (docker_log_parse(&a, bytes, &line) && (line.text.len > size * 3 || !line.stamp.len)) {
        abort(); /* a byte that is not UTF-8 becomes three */
    }
    arena_deinit(&a);
    return 0;
}
