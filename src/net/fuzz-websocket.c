/* A WebSocket peer that sends anything: the first byte chooses the role and the size of the pieces. */
#include "net/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct websocket *ws;

static void on_data(void *user UNUSED, struct str data)
{
    (void)!websocket_send(ws, false, STR("1"), data);
}
static void on_close(void *user UNUSED, int code UNUSED, struct str reason UNUSED)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct websocket_events events = { .on_data = on_data, .on_close = on_close };
    if (size == 0) {
        return 0;
    }
    struct str in = str_n((const char *)data + 1, size - 1);
    struct err err;
    ws = websocket_new(data[0] & 1 ? WEBSOCKET_SERVER : WEBSOCKET_CLIENT, &events, NULL);
    while (in.len) {
        size_t used;
        if (!websocket_recv(ws, str_sub(in, 0, 1 + (size_t)(data[0] >> 1)), &used, &err)) {
            break;
        }
        in = str_sub(in, used, SIZE_MAX);
        websocket_out_consume(ws, websocket_out(ws).len);
    }
    ws = websocket_free(ws);
    /* The header values of a handshake. */
    char accept[WEBSOCKET_ACCEPT_SIZE];
    struct str text = str_n((const char *)data, size), ours[] = { STR("v5.channel.k8s.io"), STR("v4.channel.k8s.io") };
    (void)!websocket_accept(text, accept);
    (void)websocket_choose_protocol(text, ours, 2);
    return 0;
}
