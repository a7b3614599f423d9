/* A SPDY peer that sends anything: first byte chooses role and flow control, the rest is input in odd pieces. */
#include "net/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct spdy *session;

static bool on_stream(void *user UNUSED, uint32_t id, const struct spdy_header *h UNUSED, size_t n_h UNUSED, bool fin UNUSED)
{
    spdy_reply(session, id, NULL, 0, false);
    return id % 7 != 0;
}
static void on_data(void *user UNUSED, uint32_t id, struct str data)
{
    spdy_consumed(session, id, data.len);
    if (!spdy_write(session, id, data)) {
        return; /* full or closed: the peer's doing */
    }
}
static void on_fin(void *user UNUSED, uint32_t id)
{
    spdy_fin(session, id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct spdy_events events = { .on_stream = on_stream, .on_data = on_data, .on_fin = on_fin };
    if (size == 0) {
        return 0;
    }
    struct spdy_config config = { .role = data[0] & 1 ? SPDY_SERVER : SPDY_CLIENT,
                                  .flow = data[0] & 2 ? SPDY_FLOW_WINDOWS : SPDY_FLOW_NONE };
    struct str in = str_n((const char *)data + 1, size - 1);
    struct err err;
    session = spdy_new(&config, &events, NULL);
    uint32_t id;
    if (!spdy_open(session, NULL, 0, false, &id, &err)) {
        abort();
    }
    while (in.len) {
        size_t used, n = MIN(in.len, 1 + (size_t)(data[0] >> 2));
        if (!spdy_recv(session, str_sub(in, 0, n), &used, &err)) {
            break;
        }
        in = str_sub(in, used, SIZE_MAX);
        spdy_out_consume(session, spdy_out(session).len);
    }
    session = spdy_free(session);
    return 0;
}
