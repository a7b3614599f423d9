/* A text that is asked about a field set, and the set's own text, with a zero byte between them. */
#include <stdlib.h>

#include "api/fields-text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* Asked of the text that the set is written as, the answers are those of the sets, unless it is said that it has to be read. */
static void compare(struct arena *a, const struct fields *x, const struct fields *y)
{
    struct fields both, rest;
    struct buf b;
    buf_init(&b, 1 << 24);
    fields_write(&b, x);
    if (fields_intersection(a, x, y, &both) && fields_difference(a, y, x, &rest)) {
        must(fields_text_meets(buf_str(&b), y) || fields_is_empty(&both));
        must(!fields_text_has_all(buf_str(&b), y) || fields_is_empty(&rest));
    }
    buf_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct fields x, y;
    struct str asked, text;
    if (!str_cut(str_n((const char *)data, size), '\0', &asked, &text)) {
        return 0;
    }
    arena_init(&a, 64 << 20);
    if (fields_parse(&a, text, &y, NULL)) {
        (void)fields_text_meets(asked, &y);
        (void)fields_text_has_all(asked, &y);
        if (fields_parse(&a, asked, &x, NULL)) {
            compare(&a, &x, &y);
            compare(&a, &y, &x);
        }
    }
    arena_deinit(&a);
    return 0;
}
