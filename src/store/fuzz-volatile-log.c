/* The volatile log as a crash may leave it: any bytes behind the header. Checksums are made right, so that what is behind them
 * is reached. */
#include <stdlib.h>
#include <zlib.h>

#include "store/limits.h"
#include "store/volatile-log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_record(void *arg, const struct volatile_record *r)
{
    size_t *sum = arg;
    for (size_t i = 0; i < r->key.len; i++) {
        *sum += (uint8_t)r->key.ptr[i];
    }
    for (size_t i = 0; i < r->value.len; i++) {
        *sum += (uint8_t)r->value.ptr[i];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t sum = 0;
    volatile_log_decode(str_n((const char *)data, size), on_record, &sum);
    if (size >= 8) {
        uint8_t *copy = malloc(size);
        uint32_t len = (uint32_t)size - 8, crc = (uint32_t)crc32(0, data + 8, (uInt)len);
        memcpy(copy, data, size);
        for (int i = 0; i < 4; i++) {
            copy[i] = (uint8_t)(len >> (8 * i));
            copy[4 + i] = (uint8_t)(crc >> (8 * i));
        }
        volatile_log_decode(str_n((const char *)copy, size), on_record, &sum);
        free(copy);
    }
    return sum == SIZE_MAX;
}
