/* Any bytes as a message between the kubelet's processes; what can be decoded encodes to the same bytes. */
#include "kubelet/server-wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_message m;
    struct str bytes = str_n((const char *)data, size);
    if (wire_decode(bytes, &m)) {
        struct buf b;
        buf_init(&b, BUF_NO_MAX);
        wire_encode(&m, &b);
        if (!str_eq(buf_str(&b), bytes)) {
            abort();
        }
        buf_deinit(&b);
    }
    return 0;
}
