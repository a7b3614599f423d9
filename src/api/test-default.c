#include "api/decode-json.h"
#include "api/default.h"
#include "api/default-rules.h"
#include "api/encode-json.h"
#include "api/gen/core_v1.h"
#include "api/golden.h"
#include "api/stored.h"
#include "api/val-convert.h"
#include "base/test.h"

TEST(every_rule_of_the_schema_has_its_function)
{
    CHECK(default_rules_complete());
}

TEST(pull_policy_follows_the_tag)
{
    static const struct {
        const char *image, *want;
    } cases[] = {
        { "nginx", "Always" },
        { "nginx:latest", "Always" },
        { "nginx:1.2", "IfNotPresent" },
        { "reg:5000/nginx", "Always" },
        { "reg:5000/nginx:1", "IfNotPresent" },
        { "nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "IfNotPresent" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a;
        struct core_v1_container c = { .image = str_c(cases[i].image) };

        arena_init(&a, ARENA_NO_BUDGET);
        CHECK(api_default(&a, &core_v1_container_type, &c, NULL));
        CHECK_STR_C(c.image_pull_policy, cases[i].want);
        CHECK_STR_C(c.termination_message_path, "/dev/termination-log");
        arena_deinit(&a);
    }
}

TEST(requests_come_from_limits_in_a_pod_and_round_up_to_milli)
{
    struct arena a;
    struct err err;
    struct core_v1_pod pod = { 0 };

    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type,
                             STR("{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"100u\",\"memory\":"
                                 "\"1Gi\"},\"requests\":{\"memory\":\"1Mi\"}}}]}}"),
                             NULL, &pod, &err),
             &err);
    CHECK(api_default(&a, &core_v1_pod_type, &pod, NULL));
    CHECK_INT(pod.spec.containers[0].resources.n_requests, 2);
    CHECK_STR_C(pod.spec.containers[0].resources.requests[0].key, "cpu");
    CHECK_STR_C(pod.spec.containers[0].resources.requests[0].value, "1m");
    CHECK_STR_C(pod.spec.containers[0].resources.limits[0].value, "1m");
    CHECK_STR_C(pod.spec.containers[0].resources.requests[1].value, "1Mi");
    arena_deinit(&a);
}

/*
 * Captured: what was posted, decoded and defaulted, must be part of what came back, and what came back must have nothing more than
 * what admission and the kind's own preparation add.
 */
static const char *const added_later[] = {
    "metadata", "status",
    /* admission: service account, tolerations, priority */
    "Pod:spec.serviceAccountName", "Pod:spec.serviceAccount", "Pod:spec.tolerations", "Pod:spec.volumes", "Pod:spec.priority",
    "Pod:spec.preemptionPolicy", "Pod:spec.containers.volumeMounts", "Pod:spec.initContainers.volumeMounts",
    "Pod:spec.ephemeralContainers",
    /* allocators and preparation */
    "Service:spec.clusterIP", "Service:spec.clusterIPs", "Service:spec.ipFamilies", "Service:spec.ipFamilyPolicy",
    "Service:spec.ports.nodePort", "Service:spec.healthCheckNodePort", "Job:spec.selector", "Job:spec.template.metadata",
    "Namespace:spec.finalizers", "CertificateSigningRequest:spec.username", "CertificateSigningRequest:spec.uid",
    "CertificateSigningRequest:spec.groups", "CertificateSigningRequest:spec.extra", "Secret:stringData", "Secret:data",
    "Node:spec.taints", "PersistentVolumeClaim:spec.dataSourceRef",
    /* v1 is converted to v2 and defaulted there */
    "HorizontalPodAutoscaler:spec.targetCPUUtilizationPercentage",
};

struct compare {
    const struct golden_object *o;
    unsigned bad;
};

static bool is_added_later(const struct compare *c, const char *path)
{
    struct str kind = c->o->resource->kind;

    for (size_t i = 0; i < ARRAY_SIZE(added_later); i++) {
        struct str entry = str_c(added_later[i]), k, p;

        if (!str_cut(entry, ':', &k, &p)) {
            p = entry;
            k = kind;
        }
        if (str_eq(k, kind) && str_eq_c(p, path)) {
            return true;
        }
    }
    return false;
}

static void compare_vals(struct compare *c, const char *path, const struct val *got, const struct val *want)
{
    if (is_added_later(c, path)) {
        return;
    }
    if (val_is(got, VAL_OBJECT) && val_is(want, VAL_OBJECT)) {
        for (uint32_t i = 0; i < want->n + got->n; i++) {
            struct str key = i < want->n ? want->members[i].key : got->members[i - want->n].key;
            char below[400];

            if (i >= want->n && val_get(want, key)) {
                continue;
            }
            snprintf(below, sizeof(below), "%s%s%.*s", path, path[0] ? "." : "", STR_ARG(key));
            compare_vals(c, below, val_get(got, key), val_get(want, key));
        }
        return;
    }
    if (val_is(got, VAL_ARRAY) && val_is(want, VAL_ARRAY) && got->n == want->n) {
        for (uint32_t i = 0; i < want->n; i++) {
            compare_vals(c, path, &got->items[i], &want->items[i]);
        }
        return;
    }
    if (!val_equal(got, want)) {
        struct buf a, b;

        buf_init(&a, BUF_NO_MAX);
        buf_init(&b, BUF_NO_MAX);
        val_write_json(&a, got);
        val_write_json(&b, want);
        printf("  %s %s: %s: got %.*s want %.*s\n", strrchr(c->o->dir, '/') + 1, c->o->name, path, STR_ARG(str_sub(buf_str(&a), 0, 200)),
               STR_ARG(str_sub(buf_str(&b), 0, 200)));
        buf_deinit(&a);
        buf_deinit(&b);
        c->bad++;
    }
}

static void defaults_of(const struct golden_object *o, void *ctx)
{
    unsigned *counts = ctx;
    struct compare c = { .o = o };
    struct arena a;
    struct err err;
    struct val got, want;
    const struct api_type *t = o->resource->type;
    struct str in;
    void *obj;

    /* A captured status was put on an object that had been defaulted before. */
    if (str_ends(str_c(o->name), STR(".status"))) {
        return;
    }
    arena_init(&a, ARENA_NO_BUDGET);
    in = golden_file(&a, o, "in.json");
    obj = arena_alloc(&a, t->size);
    CHECK_OK(api_decode_json(&a, t, in, NULL, obj, &err), &err);
    CHECK(api_default(&a, t, obj, &(struct api_default_ctx){ .now_sec = 1 }));
    api_drop_gated(t, obj, NULL, NULL);
    if (!str_eq(o->resource->kind, STR("CustomResourceDefinition")) && !str_eq(o->resource->kind, STR("APIService"))) {
        api_as_stored(t, obj);
    }
    CHECK(api_to_val(&a, t, obj, &got));
    CHECK_OK(val_parse_json(&a, golden_file(&a, o, "out.json"), JSON_DEPTH, NULL, &want, &err), &err);
    compare_vals(&c, "", &got, &want);
    counts[c.bad > 0]++;
    arena_deinit(&a);
}

TEST(golden_requests_get_the_defaults_of_the_answers)
{
    unsigned counts[2] = { 0 };

    golden_objects(defaults_of, counts);
    printf("  in.json with defaults: %u as answered, %u differ\n", counts[0], counts[1]);
    CHECK_INT(counts[1], 0);
}
