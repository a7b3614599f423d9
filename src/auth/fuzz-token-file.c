/* Any bytes as a token file. */
#include "auth/token-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token_file *f = token_file_parse(str_n((const char *)data, size), NULL);
    if (f) {
        (void)token_file_find(f, STR("x"));
        token_file_free(f);
    }
    return 0;
}
