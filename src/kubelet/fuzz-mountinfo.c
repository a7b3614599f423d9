/* Any bytes as the kernel's list of mounts. */
#include "kubelet/mounts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str path, rest = str_n((const char *)data, size);
    arena_init(&a, 4 << 20);
    while (mounts_next(&a, &rest, &path)) {
        if (!path.ptr || path.len > size) {
            abort();
        }
    }
    arena_deinit(&a);
    return 0;
}
