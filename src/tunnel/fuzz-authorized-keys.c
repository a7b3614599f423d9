/*
 * A user's authorized_keys with anything in it, up to the first empty line, and then a key: lines of others stay, a key is there once when it was
 * put there twice, and nothing of it is left when it was taken out.
 */
#include <stdlib.h>

#include "tunnel/allow.h"
#include "tunnel/authorized-keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str permit[] = { STR_INIT("127.0.0.1:10250") };
    struct str text = str_n((const char *)data, size), file = text, key = STR_EMPTY;
    struct tunnel_allow allow = { .n_ports = 0 };
    struct buf once, twice, without;
    struct err err;
    size_t removed;
    ptrdiff_t at = str_find(text, STR("\n\n"));
    if (at >= 0) {
        file = str_sub(text, 0, (size_t)at + 1);
        key = str_sub(text, (size_t)at + 2, SIZE_MAX);
    }
    buf_init(&once, 1 << 22);
    buf_init(&twice, 1 << 22);
    buf_init(&without, 1 << 22);
    if (authorized_keys_add(file, key, permit, 1, &once, &err)) {
        must(authorized_keys_add(buf_str(&once), key, permit, 1, &twice, &err) && str_eq(buf_str(&once), buf_str(&twice)));
        must(authorized_keys_remove(buf_str(&once), key, &without, &removed, &err) && removed >= 1);
    }
    buf_deinit(&once);
    buf_deinit(&twice);
    buf_deinit(&without);
    (void)!allow_ports(&allow, key, &err);
    (void)!allow_ranges(&allow, &key, 1, &err);
    return 0;
}
