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
#include "api/fields-typed.h"
#include "api/stored.h"
#include "api/val-convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* Our own text is read alike by the way that trusts it. */
static void check_own(struct arena *a, const struct api_type *t, struct str text)
{
    const struct api_json_decode own = { .own = true };
    void *again = arena_alloc(a, t->size);
    struct buf b;
    struct err err;

    buf_init(&b, 1 << 24);
    if (again && api_decode_json(a, t, text, &own, again, &err)) {
        must(api_encode_json(&b, t, again, NULL, NULL) && str_eq(buf_str(&b), text));
    }
    buf_deinit(&b);
}

/* The tree becomes what its JSON becomes, and tells the same fields as the struct does by itself. */
static void check_tree(struct arena *a, const struct api_type *t, const void *obj, const struct val *v)
{
    void *again = arena_alloc(a, t->size), *slowly = arena_alloc(a, t->size), *zero = arena_alloc(a, t->size);
    struct str text = val_to_json(a, v);
    struct val nothing;
    struct fields_diff typed, trees;
    struct fields both;
    struct buf b, c;
    struct err err;
    bool written;

    buf_init(&b, 1 << 24);
    buf_init(&c, 1 << 24);
    if (again && slowly && text.ptr && api_from_val(a, t, v, NULL, again, &err)) {
        if (!api_decode_json(a, t, text, NULL, slowly, &err)) {
            must(err.code == ERR_TOO_LARGE);
            goto done;
        }
        must(api_encode_json(&b, t, again, NULL, NULL) && api_encode_json(&c, t, slowly, NULL, NULL));
        must(str_eq(buf_str(&b), buf_str(&c)));
        buf_clear(&c);
    }
    buf_clear(&b);
    if (zero && t->form == API_FORM_OBJECT && api_to_val(a, t, zero, &nothing) && fields_compare_typed(a, t, zero, obj, &typed) &&
        fields_compare(a, fields_at_type(t), &nothing, v, &trees) && fields_union(a, &trees.modified, &trees.added, &both)) {
        must(fields_equal(&typed.added, &trees.added) && fields_equal(&typed.modified, &trees.modified) &&
             fields_equal(&typed.removed, &trees.removed));
        buf_clear(&b);
        fields_write(&c, &both);
        if (fields_write_new(a, t, obj, NULL, &b, &written)) {
            must(written && str_eq(buf_str(&b), buf_str(&c)));
        }
    }
done:
    buf_deinit(&b);
    buf_deinit(&c);
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
    check_own(a, t, buf_str(&first));
    if (api_to_val(a, t, obj, &v)) {
        check_tree(a, t, obj, &v);
    }
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
