/* YAML text: what parses is written as YAML that parses to the same value. */
#include <stdlib.h>

#include "api/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct val v, again;
    struct val_dups dups;
    struct err err;
    struct str rest = str_n((const char *)data, size), document;
    arena_init(&a, 16 << 20);
    while (yaml_next_document(&rest, &document)) {
        val_dups_init(&dups);
        if (!yaml_or_json_parse(&a, document, &dups, &v, &err)) {
            continue;
        }
        struct buf b;
        buf_init(&b, 1 << 24);
        yaml_write(&b, &v);
        if (!buf_failed(&b) && (!yaml_parse(&a, buf_str(&b), NULL, &again, &err) || !val_equal(&v, &again)) &&
            err.code != ERR_TOO_LARGE && val_count(&v) < 1000) {
            struct str json = val_to_json(&a, &v);
            /* Text that is not UTF-8 cannot be written; nesting of the writer's own may pass the reader's bound. */
            if (json.ptr && str_find(json, STR("\\ufffd")) < 0 && !str_starts(str_c(err.msg), STR("yaml: exceeded"))) {
                abort();
            }
        }
        buf_deinit(&b);
    }
    arena_deinit(&a);
    return 0;
}
