/* Whatever arrives on a link: it is refused, or answered by a frame that is itself valid and says what was asked. */
#include <stdlib.h>

#include "cloud/l2-frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct l2_mac own = { { 2, 0, 0, 0, 0, 1 } };
    struct l2_message m, back;
    uint8_t out[L2_FRAME_MAX];
    if (l2_parse(data, size, &m) && m.asked.family) {
        size_t n = l2_answer(&m, &own, out);
        if (n > sizeof(out) || !l2_parse(out, n, &back) || (back.claimed.family && ip_cmp(&back.claimed, &m.asked) != 0)) {
            abort();
        }
    }
    return 0;
}
