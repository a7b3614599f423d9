/*
 * JSON of any type from anybody: the first two bytes choose the type, the third what is done. Whatever decodes must encode to
 * text that decodes to the same text again, and survive defaults, copies, value trees and protobuf.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/decode-json.h"
#include "api/decode-pb.h"
#include "api/default.h"
#include "api/encode-json.h"
#include "api/encode-pb.h"
#include "api/equal.h"
#include "api/stored.h"
#include "api/val-convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check_object(struct arena *a, const struct api_type *t, void *obj)
{
    struct buf first, second;
    struct val v;
    void *again = arena_alloc(a, t->size), *copy;
    struct err err;

    buf_init(&first, 1 << 24);
    buf_init(&second, 1 << 24);
    must(again != NULL);
    must(api_encode_json(&first, t, obj, NULL, NULL));
    must(json_check(buf_str(&first), JSON_DEPTH, &err));
    if (!api_decode_json(a, t, buf_str(&first), NULL, again, &err)) {
        must(err.code == ERR_TOO_LARGE);
        goto done;
    }
    must(api_encode_json(&second, t, again, NULL, NULL));
    must(str_eq(buf_str(&first), buf_str(&second)));
    if ((copy = api_copy(a, t, obj))) {
        must(api_equal(t, obj, copy));
    }
    (void)!api_to_val(a, t, obj, &v);
done:
    buf_deinit(&first);
    buf_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct err err;
    struct api_problems problems = { 0 };
    struct api_json_decode o = { .problems = &problems };
    const struct api_type *t;
    struct str text;
    void *obj;

    if (size < 3) {
        return 0;
    }
    t = api_types[(size_t)(data[0] | data[1] << 8) % api_n_types];
    o.copy = data[2] & 1;
    text = str_n((const char *)data + 3, size - 3);
    arena_init(&a, 8 << 20);
    obj = arena_alloc(&a, t->size);
    must(obj != NULL);
    if (api_decode_json(&a, t, text, &o, obj, &err)) {
        check_object(&a, t, obj);
        if ((data[2] & 2) && api_default(&a, t, obj, NULL)) {
            check_object(&a, t, obj);
        }
        if ((data[2] & 4) && !(t->flags & API_T_PROTO3)) {
            struct buf b;
            void *again = arena_alloc(&a, t->size);

            buf_init(&b, 1 << 24);
            must(again && api_encode_pb(&b, t, obj));
            (void)!api_decode_pb(&a, t, buf_str(&b), NULL, again, &err);
            buf_deinit(&b);
            api_as_stored(t, obj);
            check_object(&a, t, obj);
        }
    }
    arena_deinit(&a);
    return 0;
}
