/* A gRPC server that sends anything: the input is fed to a session with one unary and one streaming call open. */
#include "net/grpc-session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_message(void *user UNUSED, struct grpc_stream *st UNUSED, struct str message UNUSED)
{
}
static void on_end(void *user UNUSED, struct grpc_stream *st UNUSED, bool refused UNUSED)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct grpc_session_events events = { .on_message = on_message, .on_end = on_end };
    struct grpc_session *s = grpc_session_new(&events, NULL);
    struct grpc_stream st[2];
    struct err err;
    struct str out;
    for (int i = 0; i < 2; i++) {
        grpc_stream_init(&st[i], 1000);
        st[i].method = "/a.B/C";
        st[i].unary = i == 0;
        st[i].send_end = true;
        grpc_frame_append(&st[i].send, STR("request"));
        if (!grpc_session_start(s, &st[i], &err)) {
            abort();
        }
    }
    while (grpc_session_send(s, &out, &err) && out.len) {
    }
    for (size_t at = 0, n = size ? 1 + data[0] : 1; at < size; at += n) {
        if (!grpc_session_recv(s, str_sub(str_n((const char *)data, size), at, n), &err)) {
            break;
        }
    }
    while (grpc_session_send(s, &out, &err) && out.len) {
    }
    grpc_session_free(s);
    /* The framing alone, reached without valid HTTP/2 around it. */
    struct grpc_deframer d;
    struct grpc_status status;
    struct str in = str_n((const char *)data, size), m;
    bool got;
    grpc_deframer_init(&d, 1000);
    while (in.len && grpc_deframe(&d, &in, &got, &m, &status)) {
    }
    grpc_deframer_deinit(&d);
    grpc_stream_deinit(&st[0]);
    grpc_stream_deinit(&st[1]);
    return 0;
}
