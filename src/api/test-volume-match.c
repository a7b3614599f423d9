#include "api/volume-match.h"

#include "api/decode-json.h"
#include "base/test.h"

static void *decode(struct arena *a, const struct api_type *t, const char *json)
{
    struct err err;
    void *obj = arena_alloc(a, t->size);
    CHECK(obj);
    CHECK_OK(api_decode_json(a, t, str_c(json), NULL, obj, &err), &err);
    return obj;
}

#define VOLUME(name, size, modes, more)                                                                                            \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"disk\":\"" name "\"}},\"spec\":{\"capacity\":{\"storage\":\"" size             \
    "\"},\"accessModes\":[" modes "]" more "},\"status\":{\"phase\":\"Available\"}}"
#define CLAIM(size, modes, more)                                                                                                   \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"c\",\"uid\":\"u\"},\"spec\":{\"resources\":{\"requests\":{\"storage\":\"" size     \
    "\"}},\"accessModes\":[" modes "]" more "}}"
#define RWO "\"ReadWriteOnce\""
#define RWX "\"ReadWriteMany\""

/* What the claim gets of all these, "" for none. */
static struct str best(struct arena *a, const char *claim, const char *node, bool bound_only)
{
    static const char *const volumes[] = {
        VOLUME("large", "10Gi", RWO, ""),
        VOLUME("small", "1Gi", RWO, ""),
        VOLUME("middle", "5Gi", RWO, ""),
        VOLUME("shared", "4Gi", RWO "," RWX, ""),
        VOLUME("fast", "5Gi", RWO, ",\"storageClassName\":\"fast\""),
        VOLUME("raw", "5Gi", RWO, ",\"volumeMode\":\"Block\""),
        VOLUME("taken", "2Gi", RWO, ",\"claimRef\":{\"namespace\":\"d\",\"name\":\"other\"}"),
        VOLUME("mine", "50Gi", RWX, ",\"claimRef\":{\"namespace\":\"d\",\"name\":\"c\"}"),
        VOLUME("here", "3Gi", RWO, ",\"storageClassName\":\"local\",\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":"
               "[{\"key\":\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"n1\"]}]}]}}"),
    };
    struct volume_search s;
    CHECK(volume_search_begin(&s, a, decode(a, &core_v1_persistent_volume_claim_type, claim)));
    s.bound_only = bound_only;
    s.fewest_modes = !node;
    s.node = node ? decode(a, &core_v1_node_type, node) : NULL;
    for (size_t i = 0; i < ARRAY_SIZE(volumes); i++) {
        volume_search_offer(&s, decode(a, &core_v1_persistent_volume_type, volumes[i]));
    }
    return s.best ? s.best->metadata.name : STR_EMPTY;
}

TEST(a_claim_gets_the_smallest_volume_that_has_what_it_asks)
{
    static const struct {
        const char *claim, *node, *want;
        bool bound_only;
    } cases[] = {
        { CLAIM("1Gi", RWO, ""), NULL, "small", false },
        { CLAIM("2Gi", RWO, ""), NULL, "middle", false }, /* one with fewer modes goes before a smaller */
        { CLAIM("2Gi", "\"ReadWriteOnce\",\"ReadWriteMany\"", ""), NULL, "shared", false },
        { CLAIM("6Gi", RWO, ""), NULL, "large", false },
        { CLAIM("60Gi", RWO, ""), NULL, "", false },
        { CLAIM("1Gi", RWO, ",\"storageClassName\":\"fast\""), NULL, "fast", false },
        { CLAIM("1Gi", RWO, ",\"storageClassName\":\"\""), NULL, "small", false },
        { CLAIM("1Gi", RWO, ",\"volumeMode\":\"Block\""), NULL, "raw", false },
        { CLAIM("1Gi", RWO, ",\"selector\":{\"matchLabels\":{\"disk\":\"large\"}}"), NULL, "large", false },
        { CLAIM("40Gi", RWX, ""), NULL, "mine", false },
        { CLAIM("1Gi", RWO, ""), NULL, "", true },
        { CLAIM("40Gi", RWX, ""), NULL, "mine", true },
        { CLAIM("2Gi", RWO, ""), "{\"metadata\":{\"name\":\"n1\"}}", "shared", false }, /* for a node size alone counts */
        { CLAIM("1Gi", RWO, ",\"storageClassName\":\"local\""), "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/hostname\":\"n1\"}}}",
          "here", false },
        { CLAIM("1Gi", RWO, ",\"storageClassName\":\"local\""), "{\"metadata\":{\"name\":\"n2\",\"labels\":{\"kubernetes.io/hostname\":\"n2\"}}}",
          "", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a;
        arena_init(&a, ARENA_NO_BUDGET);
        struct str got = best(&a, cases[i].claim, cases[i].node, cases[i].bound_only);
        if (!str_eq_c(got, cases[i].want)) {
            printf("case %zu: %.*s\n", i, STR_ARG(got));
        }
        CHECK_STR_C(got, cases[i].want);
        arena_deinit(&a);
    }
}

TEST(a_claim_that_names_its_volume_is_told_what_does_not_fit)
{
    static const struct {
        const char *volume, *claim, *why;
    } cases[] = {
        { VOLUME("v", "1Gi", RWO, ""), CLAIM("1Gi", RWO, ""), NULL },
        { VOLUME("v", "1Gi", RWO, ""), CLAIM("2Gi", RWO, ""), "requested PV is too small" },
        { VOLUME("v", "1Gi", RWO, ""), CLAIM("1Gi", RWX, ""), "incompatible accessMode" },
        { VOLUME("v", "1Gi", RWO, ",\"storageClassName\":\"a\""), CLAIM("1Gi", RWO, ""), "storageClassName does not match" },
        { VOLUME("v", "1Gi", RWO, ",\"volumeMode\":\"Block\""), CLAIM("1Gi", RWO, ""), "incompatible volumeMode" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a;
        arena_init(&a, ARENA_NO_BUDGET);
        const char *why = volume_mismatch(decode(&a, &core_v1_persistent_volume_type, cases[i].volume),
                                          decode(&a, &core_v1_persistent_volume_claim_type, cases[i].claim));
        CHECK(cases[i].why ? why && strcmp(why, cases[i].why) == 0 : !why);
        arena_deinit(&a);
    }
}
