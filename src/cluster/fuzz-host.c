/* What others write: host keys in a ConfigMap; and a configuration that a person has changed. */
#include <stdlib.h>

#include "cluster/host-objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct host h;
    struct str text = str_n((const char *)data, size), node, rest, address, keys;
    struct err err;
    struct buf b;
    if (host_parse(&h, text, &err)) {
        struct buf out;
        buf_init(&out, 65536);
        host_write(&h, &out);
        static struct host again;
        if (!host_parse(&again, buf_str(&out), &err)) {
            abort();
        }
        buf_deinit(&out);
    }
    if (!str_cut(text, '\n', &node, &rest) || !str_cut(rest, '\n', &address, &keys)) {
        return 0;
    }
    buf_init(&b, 1u << 20);
    if (host_pin_lines(node, address, 22, keys, &b)) {
        /* Every line has exactly one name, one address and one key: no pattern, no marker, no comment. */
        struct str lines = buf_str(&b), line;
        while (str_split(&lines, '\n', &line)) {
            size_t commas = 0, blanks = 0;
            for (size_t i = 0; i < line.len; i++) {
                commas += line.ptr[i] == ',';
                blanks += line.ptr[i] == ' ';
                if (strchr("*?!#\r\t", line.ptr[i])) {
                    abort();
                }
            }
            if (line.len && (commas != 1 || blanks != 2)) {
                abort();
            }
        }
    }
    buf_deinit(&b);
    return 0;
}
