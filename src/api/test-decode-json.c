#include "api/decode-json.h"
#include "api/encode-json.h"
#include "api/gen/apps_v1.h"
#include "api/gen/core_v1.h"
#include "base/test.h"

/* Decodes 'text', expects failure, and compares the reason. */
static void check_error(const struct api_type *t, const char *text, const char *want)
{
    struct arena a;
    struct err err;
    void *obj;

    arena_init(&a, ARENA_NO_BUDGET);
    obj = arena_alloc(&a, t->size);
    CHECK(!api_decode_json(&a, t, str_c(text), NULL, obj, &err));
    CHECK_STR_C(str_c(err.msg), want);
    arena_deinit(&a);
}

/* Errors 079 to 084 and 156 of the captured answers. */
TEST(wrong_types_are_told_in_the_words_of_go)
{
    check_error(&core_v1_config_map_type, "{\"data\":{\"a\":1}}",
                "json: cannot unmarshal number into Go struct field ConfigMap.data of type string");
    check_error(&core_v1_pod_type, "{\"spec\":{\"containers\":\"x\"}}",
                "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container");
    check_error(&apps_v1_deployment_type, "{\"spec\":{\"replicas\":99999999999}}",
                "json: cannot unmarshal number 99999999999 into Go struct field DeploymentSpec.spec.replicas of type int32");
    check_error(&apps_v1_deployment_type, "{\"spec\":{\"replicas\":1.5}}",
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32");
    check_error(&core_v1_config_map_type, "{\"metadata\":{\"creationTimestamp\":\"yesterday\"}}",
                "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"");
    check_error(&core_v1_secret_type, "{\"data\":{\"a\":\"e30\"}}", "illegal base64 data at input byte 0");
    check_error(&core_v1_secret_type, "{\"data\":{\"a\":\"***\"}}", "illegal base64 data at input byte 0");
    check_error(&core_v1_pod_type, "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1zz\"}}}]}}",
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    check_error(&core_v1_pod_type, "{\"spec\":{\"containers\":[{\"name\":5}]}}",
                "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string");
    check_error(&core_v1_pod_type, "[]", "json: cannot unmarshal array into Go value of type v1.Pod");
}

TEST(a_syntax_error_behind_a_wrong_type_goes_first)
{
    struct arena a;
    struct err err;
    struct core_v1_pod pod = { 0 };
    bool syntax = false;

    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(!api_decode_json(&a, &core_v1_pod_type, STR("{\"spec\":5,}"), &(struct api_json_decode){ .ret_syntax = &syntax }, &pod,
                           &err));
    CHECK_STR_C(str_c(err.msg), "invalid character '}' looking for beginning of object key string");
    CHECK(syntax);
    CHECK(!api_decode_json(&a, &core_v1_pod_type, STR("{\"spec\":5}"), &(struct api_json_decode){ .ret_syntax = &syntax }, &pod,
                           &err));
    CHECK(!syntax);
    arena_deinit(&a);
}

/* Errors 087 and 092. */
TEST(unknown_and_duplicate_fields_are_collected_in_order)
{
    struct arena a;
    struct err err;
    struct core_v1_config_map cm = { 0 };
    struct apps_v1_deployment dep = { 0 };
    struct api_problems p = { 0 };

    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(api_decode_json(&a, &core_v1_config_map_type,
                             STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"fv\",\"bogus\":1},"
                                 "\"data\":{\"a\":\"1\",\"a\":\"2\"},\"extra\":true,\"Data\":{\"q\":\"r\"}}"),
                             &(struct api_json_decode){ .problems = &p }, &cm, &err),
             &err);
    CHECK_STR_C(api_problems_text(&a, &p), "strict decoding error: unknown field \"metadata.bogus\", duplicate field \"data.a\", "
                                           "unknown field \"extra\", unknown field \"Data\"");
    CHECK_INT(cm.n_data, 1);
    CHECK_STR_C(cm.data[0].value, "2");
    p = (struct api_problems){ 0 };
    CHECK_OK(api_decode_json(&a, &apps_v1_deployment_type,
                             STR("{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"imgae\":\"x\",\"ports\":[{"
                                 "\"containerPort\":80,\"port\":1}]}]}}}}"),
                             &(struct api_json_decode){ .problems = &p }, &dep, &err),
             &err);
    CHECK_INT(p.n, 2);
    CHECK_STR_C(p.items[0], "unknown field \"spec.template.spec.containers[0].imgae\"");
    CHECK_STR_C(p.items[1], "unknown field \"spec.template.spec.containers[0].ports[0].port\"");
    arena_deinit(&a);
}

TEST(null_leaves_a_field_unset)
{
    struct arena a;
    struct err err;
    struct core_v1_pod pod = { 0 };

    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type,
                             STR("{\"metadata\":{\"name\":null,\"labels\":null,\"creationTimestamp\":null},\"spec\":{\"containers\":"
                                 "null,\"priority\":null,\"securityContext\":null}}"),
                             NULL, &pod, &err),
             &err);
    CHECK(pod.metadata.name.len == 0 && pod.spec.containers == NULL && !pod.spec.has_priority && !pod.spec.security_context);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type, STR("null"), NULL, &pod, &err), &err);
    arena_deinit(&a);
}

TEST(many_items_and_nested_lists_stay_in_order)
{
    struct arena a;
    struct err err;
    struct buf b, out;
    struct core_v1_pod pod = { 0 };

    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    buf_init(&out, BUF_NO_MAX);
    buf_append_c(&b, "{\"metadata\":{},\"spec\":{\"containers\":[");
    for (int i = 0; i < 300; i++) {
        buf_printf(&b, "%s{\"name\":\"c%d\",\"args\":[\"a\",\"b%d\"],\"env\":[{\"name\":\"x\"},{\"name\":\"y%d\"}],\"resources\":{}}",
                   i ? "," : "", i, i, i);
    }
    buf_append_c(&b, "]},\"status\":{}}");
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type, buf_str(&b), NULL, &pod, &err), &err);
    CHECK_INT(pod.spec.n_containers, 300);
    CHECK_STR_C(pod.spec.containers[299].env[1].name, "y299");
    CHECK(api_encode_json(&out, &core_v1_pod_type, &pod, NULL, NULL));
    CHECK_STR(buf_str(&out), buf_str(&b));
    buf_deinit(&b);
    buf_deinit(&out);
    arena_deinit(&a);
}

TEST(a_mask_keeps_only_what_it_names)
{
    static const char *const paths[] = { "metadata.name", "spec.nodeName", "spec.containers.resources" };
    static const char *const without[] = { "-metadata.managedFields", "-spec.volumes.configMap" };
    struct arena a;
    struct err err;
    struct core_v1_pod pod = { 0 };
    struct str text = STR("{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"},\"managedFields\":[{}]},\"spec\":{"
                          "\"nodeName\":\"n\",\"hostname\":\"h\",\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"x\"}}],"
                          "\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"1\"}}}]}}");
    const struct api_mask *m;

    arena_init(&a, ARENA_NO_BUDGET);
    m = api_mask_new(&a, &core_v1_pod_type, paths, ARRAY_SIZE(paths), &err);
    CHECK_OK(m != NULL, &err);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type, text, &(struct api_json_decode){ .mask = m }, &pod, &err), &err);
    CHECK(pod.kind.len == 0 && pod.metadata.labels == NULL && pod.spec.hostname.len == 0 && pod.spec.volumes == NULL);
    CHECK_STR_C(pod.spec.node_name, "n");
    CHECK(pod.spec.n_containers == 1 && pod.spec.containers[0].name.len == 0);
    CHECK_STR_C(pod.spec.containers[0].resources.limits[0].value, "1");
    memset(&pod, 0, sizeof(pod));
    m = api_mask_new(&a, &core_v1_pod_type, without, ARRAY_SIZE(without), &err);
    CHECK_OK(m != NULL, &err);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type, text, &(struct api_json_decode){ .mask = m }, &pod, &err), &err);
    CHECK(pod.metadata.managed_fields == NULL && pod.metadata.n_labels == 1);
    CHECK(pod.spec.n_volumes == 1 && pod.spec.volumes[0].volume_source.config_map == NULL);
    CHECK(!api_mask_new(&a, &core_v1_pod_type, (const char *const[]){ "spec.nothing" }, 1, &err));
    arena_deinit(&a);
}

TEST(a_sparse_mask_leaves_out_items_that_have_nothing_of_it)
{
    static const char *const sparse[] = { "spec.volumes?.persistentVolumeClaim" }, *const all[] = { "spec.volumes?.persistentVolumeClaim", "spec.volumes.secret" };
    struct arena a;
    struct err err;
    struct core_v1_pod pod = { 0 };
    struct str text = STR("{\"spec\":{\"volumes\":[{\"name\":\"a\",\"emptyDir\":{}},{\"name\":\"b\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}},"
                          "{\"name\":\"d\",\"secret\":{\"secretName\":\"s\"}}]}}");
    arena_init(&a, ARENA_NO_BUDGET);
    const struct api_mask *m = api_mask_new(&a, &core_v1_pod_type, sparse, ARRAY_SIZE(sparse), &err);
    CHECK_OK(m != NULL, &err);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type, text, &(struct api_json_decode){ .mask = m }, &pod, &err), &err);
    CHECK(pod.spec.n_volumes == 1 && pod.spec.volumes[0].name.len == 0);
    CHECK_STR_C(pod.spec.volumes[0].volume_source.persistent_volume_claim->claim_name, "c");
    memset(&pod, 0, sizeof(pod));
    m = api_mask_new(&a, &core_v1_pod_type, all, ARRAY_SIZE(all), &err);
    CHECK_OK(m != NULL, &err);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type, text, &(struct api_json_decode){ .mask = m }, &pod, &err), &err);
    CHECK(pod.spec.n_volumes == 3 && pod.spec.volumes[2].volume_source.secret != NULL);
    arena_deinit(&a);
}

TEST(an_arena_budget_bounds_what_is_decoded)
{
    struct arena a;
    struct err err;
    struct buf b;
    struct core_v1_pod pod = { 0 };

    arena_init(&a, 65536);
    buf_init(&b, BUF_NO_MAX);
    buf_append_c(&b, "{\"spec\":{\"containers\":[{}");
    for (int i = 0; i < 5000; i++) {
        buf_append_c(&b, ",{}");
    }
    buf_append_c(&b, "]}}");
    CHECK(!api_decode_json(&a, &core_v1_pod_type, buf_str(&b), NULL, &pod, &err));
    CHECK_INT(err.code, ERR_TOO_LARGE);
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(kind_and_version_are_read_without_decoding)
{
    struct arena a;
    struct err err;
    struct api_type_meta m;

    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(api_peek_type_meta(&a, STR("{\"spec\":{},\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"x\":1}"), &m, &err), &err);
    CHECK_STR_C(m.kind, "Pod");
    CHECK_STR_C(m.api_version, "v1");
    CHECK_OK(api_peek_type_meta(&a, STR("{}"), &m, &err), &err);
    CHECK(!m.kind.ptr && !m.api_version.ptr);
    CHECK(!api_peek_type_meta(&a, STR("{\"kind\":"), &m, &err));
    CHECK_STR_C(str_c(err.msg), "couldn't get version/kind; json parse error: unexpected end of JSON input");
    CHECK(!api_peek_type_meta(&a, STR(""), &m, &err));
    CHECK_STR_C(str_c(err.msg), "couldn't get version/kind; json parse error: unexpected end of JSON input");
    CHECK(!api_peek_type_meta(&a, STR("[]"), &m, &err));
    CHECK_STR_C(str_c(err.msg), "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type "
                                "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
                                "\"json:\\\"kind,omitempty\\\"\" }");
    arena_deinit(&a);
}

TEST(the_version_gap_lies_between_the_quotes)
{
    struct arena a;
    struct err err;
    struct buf b;
    struct api_json_offsets at;
    struct core_v1_config_map cm = { 0 };

    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    CHECK_OK(api_decode_json(&a, &core_v1_config_map_type, STR("{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"<v>\"}}"), NULL, &cm,
                             &err),
             &err);
    CHECK(api_encode_json(&b, &core_v1_config_map_type, &cm,
                          &(struct api_json_encode){ .kind = STR("ConfigMap"), .api_version = STR("v1"), .rv_gap = true }, &at));
    CHECK_STR_C(buf_str(&b), "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"\"},"
                             "\"data\":{\"k\":\"\\u003cv\\u003e\"}}");
    CHECK_STR_C(str_sub(buf_str(&b), at.rv_at, 4), "\"},\"");
    CHECK_STR_C(str_sub(buf_str(&b), at.body_at, 10), "\"metadata\"");
    buf_deinit(&b);
    arena_deinit(&a);
}
