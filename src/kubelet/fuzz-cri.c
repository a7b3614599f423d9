/*
 * What a CRI runtime answers: the first byte chooses the call. Whatever decodes encodes to bytes that decode to the same again. And what
 * CNI plugins answer, what Docker's names say, and pull secrets, from the same bytes.
 */
#include <stdlib.h>

#include "api/decode-pb.h"
#include "api/encode-pb.h"
#include "api/gen/core_v1.h"
#include "api/gen/cri_v1.h"
#include "api/val.h"
#include "kubelet/cni-exec.h"
#include "kubelet/image-auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void answer(struct arena *a, const struct api_type *t, struct str bytes)
{
    struct err err;
    struct buf first, second;
    void *obj = arena_alloc(a, t->size), *again = arena_alloc(a, t->size);
    must(obj && again);
    buf_init(&first, 1 << 24);
    buf_init(&second, 1 << 24);
    if (api_decode_pb(a, t, bytes, NULL, obj, &err) && api_encode_pb(&first, t, obj) && api_decode_pb(a, t, buf_str(&first), NULL, again, &err)) {
        must(api_encode_pb(&second, t, again) && str_eq(buf_str(&first), buf_str(&second)));
    }
    buf_deinit(&first);
    buf_deinit(&second);
}

static void network(struct arena *a, struct str text)
{
    struct cni_result result = { .n_ips = 0 };
    struct val v;
    struct err err;
    if (val_parse_json(a, text, 64, NULL, &v, &err)) {
        cni_result_ips(&v, &result);
        must(result.n_ips <= 2);
    }
}

static void pull_secret(struct arena *a, struct str text)
{
    static const char *const kinds[][2] = { { "kubernetes.io/dockerconfigjson", ".dockerconfigjson" }, { "kubernetes.io/dockercfg", ".dockercfg" } };
    for (size_t i = 0; i < 2; i++) {
        struct api_str_pair pair = { str_c(kinds[i][1]), text };
        struct core_v1_secret secret = { .type = str_c(kinds[i][0]) };
        struct cri_v1_auth_config found = { 0 };
        secret.data = &pair;
        secret.n_data = 1;
        (void)image_auth_find(a, &secret, STR("registry.example:5000/team/app:1"), &found);
    }
    struct str host, path;
    image_name_split(text, &host, &path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct api_type *const answers[] = {
        &cri_v1_version_response_type,          &cri_v1_status_response_type,          &cri_v1_list_pod_sandbox_response_type,
        &cri_v1_pod_sandbox_status_response_type, &cri_v1_list_containers_response_type, &cri_v1_container_status_response_type,
        &cri_v1_list_images_response_type,      &cri_v1_image_status_response_type,    &cri_v1_image_fs_info_response_type,
        &cri_v1_list_container_stats_response_type, &cri_v1_exec_sync_response_type,   &cri_v1_exec_response_type,
        &cri_v1_runtime_config_response_type,   &cri_v1_container_event_response_type,
    };
    if (size < 1) {
        return 0;
    }
    struct arena a;
    struct str bytes = str_n((const char *)data + 1, size - 1);
    arena_init(&a, 16 << 20);
    answer(&a, answers[data[0] % ARRAY_SIZE(answers)], bytes);
    network(&a, bytes);
    pull_secret(&a, bytes);
    arena_deinit(&a);
    return 0;
}
