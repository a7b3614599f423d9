/*
 * Protobuf of any type from anybody: the first two bytes choose the type. Whatever decodes must encode to bytes that decode to
 * the same bytes again, and must be writable as JSON.
 */
#include <stdlib.h>

#include "api/decode-pb.h"
#include "api/encode-json.h"
#include "api/encode-pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct err err;
    struct api_pb_envelope e;
    struct buf first, second, json;
    const struct api_type *t;
    struct str bytes;
    void *obj, *again;

    if (size < 2) {
        return 0;
    }
    t = api_types[(size_t)(data[0] | data[1] << 8) % api_n_types];
    bytes = str_n((const char *)data + 2, size - 2);
    (void)!api_pb_envelope(bytes, &e, &err);
    arena_init(&a, 8 << 20);
    buf_init(&first, 1 << 24);
    buf_init(&second, 1 << 24);
    buf_init(&json, 1 << 25);
    obj = arena_alloc(&a, t->size);
    again = arena_alloc(&a, t->size);
    must(obj && again);
    if (api_decode_pb(&a, t, bytes, NULL, obj, &err)) {
        must(api_encode_pb(&first, t, obj));
        if (api_decode_pb(&a, t, buf_str(&first), NULL, again, &err)) {
            must(api_encode_pb(&second, t, again));
            must(str_eq(buf_str(&first), buf_str(&second)));
        } else {
            must(err.code == ERR_TOO_LARGE || err.code == ERR_BAD_REQUEST);
        }
        (void)!api_encode_json(&json, t, obj, NULL, NULL);
    }
    buf_deinit(&first);
    buf_deinit(&second);
    buf_deinit(&json);
    arena_deinit(&a);
    return 0;
}
