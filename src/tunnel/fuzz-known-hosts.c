/* A known_hosts file and an annotation, which a node writes: the input is both. */
#include <stdlib.h>

#include "tunnel/known-hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    struct str text = str_n((const char *)data, size), type, types[4];
    const struct str names[] = { STR("10.0.0.1"), STR("[node-1]:2222"), STR("node-1.example") };
    struct known_hosts *k = known_hosts_parse(text, &err);
    struct buf blob;
    buf_init(&blob, 16384);
    bool parsed = known_key_parse(text, &type, &blob);
    if (k) {
        enum known_verdict v = known_hosts_check(k, names, 3, parsed ? buf_str(&blob) : STR("key"));
        size_t n = known_hosts_types(k, names, 3, types, 4);
        if (known_hosts_count(k) == 0 && (v != KNOWN_NOTHING || n != 0)) {
            abort();
        }
    }
    buf_deinit(&blob);
    known_hosts_free(k);
    return 0;
}
