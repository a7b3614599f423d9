/* Any bytes as a node's report of its paths: read, judged, and written as JSON and as the page. */
#include <stdlib.h>

#include "apiserver/limits.h"
#include "apiserver/paths.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct path_part *parts = NULL;
    size_t n = 0;
    struct err err;
    struct path_catalog c;
    struct buf b;
    arena_init(&a, PATHS_ARENA);
    buf_init(&b, 64u << 20);
    if (path_report_read(&a, str_n((const char *)data, size), STR("node-1"), &parts, &n, &err)) {
        const struct path_node node = { STR("node-1"), STR("10.0.0.1:10250") };
        const struct path_world w = { .now = 1800000000, .parts = parts, .n_parts = n, .nodes = &node, .n_nodes = 1, .authz = STR("Node,RBAC") };
        if (path_catalog_build(&a, &w, &c)) {
            path_catalog_write_json(&c, &b);
            /* Neither markup nor the end of an element comes out of a report. */
            if (str_find_char(buf_str(&b), '<') >= 0) {
                abort();
            }
            path_catalog_write_page(&c, STR("n"), &b);
        }
    }
    buf_deinit(&b);
    arena_deinit(&a);
    return 0;
}
