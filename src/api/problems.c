#include "api/decode-json.h"
#include "base/buf.h"

void api_problems_add(struct arena *a, struct api_problems *p, struct str text)
{
    if (p->n >= API_PROBLEMS_MAX) {
        return;
    }
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 8;
        struct str *items = arena_grow_n(a, p->items, p->n, capacity, sizeof(*items));

        if (!items) {
            return;
        }
        p->items = items;
        p->capacity = capacity;
    }
    p->items[p->n++] = text;
}

struct str api_problems_text(struct arena *a, const struct api_problems *p)
{
    struct buf b;
    struct str s;

    buf_init(&b, BUF_NO_MAX);
    buf_append(&b, STR("strict decoding error: "));
    for (size_t i = 0; i < p->n; i++) {
        if (i) {
            buf_append(&b, STR(", "));
        }
        buf_append(&b, p->items[i]);
    }
    s = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return s;
}
