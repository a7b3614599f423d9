/* Any bytes as the cluster-info of a stranger; and, signed rightly, any bytes as the kubeconfig of
 * somebody who has the token. */
#include "client/cluster-info.h"
#include "api/json-writer.h"
#include "pki/detached-jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str pin =
        STR_INIT("sha256:0000000000000000000000000000000000000000000000000000000000000000");
    struct str text = str_n((const char *)data, size), token = STR("abcdef.0123456789abcdef");
    struct cluster_info info;
    struct arena a;
    arena_init(&a, 8u << 20);
    (void)!cluster_info_read(&a, text, token, NULL, 0, &info, NULL);
    struct buf b;
    buf_init(&b, 1u << 20);
    if (str_is_utf8(text)) {
        buf_append_c(&b, "{\"data\":{\"kubeconfig\":");
        json_write_string(&b, text);
        buf_append_c(&b, ",\"jws-kubeconfig-abcdef\":\"");
        detached_jws_sign(STR("abcdef"), STR("0123456789abcdef"), text, &b);
        buf_append_c(&b, "\"}}");
        (void)!cluster_info_read(&a, buf_str(&b), token, NULL, 0, &info, NULL);
        (void)!cluster_info_read(&a, buf_str(&b), token, &pin, 1, &info, NULL);
    }
    buf_deinit(&b);
    arena_deinit(&a);
    return 0;
}
