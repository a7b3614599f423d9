/* Anybody who may open the unix socket sends anything. */
#include <stdlib.h>

#include "tunnel/front-head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct front_head h, part;
    struct str s = str_n((const char *)data, size);
    enum front_head_result r = front_head_parse(s, &h);
    if (r == FRONT_HEAD_DONE && (h.size > size || (h.connect ? h.port == 0 || h.host.len == 0 : h.path.len == 0))) {
        abort();
    }
    if (r == FRONT_HEAD_DONE && size > 0 && front_head_parse(str_n(s.ptr, h.size - 1), &part) != FRONT_HEAD_MORE) {
        abort();
    }
    return 0;
}
