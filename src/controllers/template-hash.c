#include "controllers/template-hash.h"

#include <stdlib.h>

#include "api/encode-json.h"

struct str template_hash(struct arena *a, const struct core_v1_pod_template_spec *t,
                         int32_t collisions)
{
    /* The digits of the number, each moved into an alphabet without vowels, so that no words come
     * about. */
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    struct buf b;
    char digits[16], text[16];
    uint32_t h = 2166136261u;
    buf_init(&b, 64u << 20);
    if (!api_encode_json(&b, &core_v1_pod_template_spec_type, t, NULL, NULL)) {
        abort();
    }
    if (collisions) {
        buf_printf(&b, "%d", collisions);
    }
    for (size_t i = 0; i < b.len; i++) {
        h = (h ^ (unsigned char)b.ptr[i]) * 16777619u;
    }
    buf_deinit(&b);
    int n = snprintf(digits, sizeof(digits), "%u", h);
    for (int i = 0; i < n; i++) {
        text[i] = alphabet[(unsigned char)digits[i] % (sizeof(alphabet) - 1)];
    }
    return arena_str(a, str_n(text, (size_t)n));
}
