/* The answer of a CONNECT proxy. */
#include <stdlib.h>

#include "net/dial-connect.h"
#include "net/stream-limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int status = 0;
    size_t reason = 0;
    if (connect_answer_parse(str_n((const char *)data, size), &status, &reason) &&
        (status < 100 || status > 599 || reason > CONNECT_MAX_REASON)) {
        abort();
    }
    return 0;
}
