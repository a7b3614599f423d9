/* JSON text as a value tree: what parses writes and parses back as the same; the tokenizer and the check agree. */
#include <stdlib.h>

#include "api/json-writer.h"
#include "api/val.h"

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
    struct val v, again, copy;
    struct val_dups dups;
    struct err err;
    struct str text = str_n((const char *)data, size);
    arena_init(&a, 16 << 20);
    val_dups_init(&dups);
    bool valid = json_check(text, JSON_DEPTH, &err);
    if (val_parse_json(&a, text, JSON_DEPTH, &dups, &v, &err)) {
        must(valid);
        struct str first = val_to_json(&a, &v);
        if (first.ptr && val_parse_json(&a, first, JSON_DEPTH, NULL, &again, &err)) {
            must(val_equal(&v, &again) && val_cmp(&v, &again) == 0);
            struct str second = val_to_json(&a, &again);
            /* Minus zero is a double when it comes as -0.0, and a whole zero as -0. */
            must(!second.ptr || str_eq(first, second) || str_find(first, STR("-0")) >= 0);
        }
        if (val_copy(&a, &v, true, &copy)) {
            val_sort(&copy);
            must(val_equal(&v, &copy));
        }
        struct buf b;
        buf_init(&b, 1 << 24);
        json_write_compact(&b, text);
        must(json_check(buf_str(&b), JSON_DEPTH, &err));
        val_write_go(&b, &v);
        buf_deinit(&b);
    }
    arena_deinit(&a);
    return 0;
}
