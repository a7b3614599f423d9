#include "api/decode-json.h"
#include "base/test.h"
#include "scheduler/plugins/plugins.h"
#include "scheduler/test-fixture.h"
#include "scheduler/volumes.h"

/* A few claims, volumes and classes. */
struct objects {
    struct arena arena;
    const volume_claim_t *claims[8];
    const volume_t *volumes[8];
    const struct storage_v1_storage_class *classes[4];
    size_t n_claims, n_volumes, n_classes;
    const char *reserved;
    struct volume_view view;
};

static const void *decode(struct objects *o, const struct api_type *type, const char *json)
{
    struct err err;
    void *obj = arena_alloc(&o->arena, type->size);
    CHECK_OK(api_decode_json(&o->arena, type, str_c(json), NULL, obj, &err), &err);
    return obj;
}

static const volume_claim_t *view_claim(void *data, struct str ns UNUSED, struct str name)
{
    const struct objects *o = data;
    for (size_t i = 0; i < o->n_claims; i++) {
        if (str_eq(o->claims[i]->metadata.name, name)) {
            return o->claims[i];
        }
    }
    return NULL;
}

static const volume_t *view_volume(void *data, struct str name)
{
    const struct objects *o = data;
    for (size_t i = 0; i < o->n_volumes; i++) {
        if (str_eq(o->volumes[i]->metadata.name, name)) {
            return o->volumes[i];
        }
    }
    return NULL;
}

static const volume_t *view_next(void *data, size_t *pos)
{
    const struct objects *o = data;
    return *pos < o->n_volumes ? o->volumes[(*pos)++] : NULL;
}

static const struct storage_v1_storage_class *view_class(void *data, struct str name)
{
    const struct objects *o = data;
    for (size_t i = 0; i < o->n_classes; i++) {
        if (str_eq(o->classes[i]->metadata.name, name)) {
            return o->classes[i];
        }
    }
    return NULL;
}

static bool view_is_reserved(void *data, const volume_t *pv)
{
    const struct objects *o = data;
    return o->reserved && str_eq_c(pv->metadata.name, o->reserved);
}

/* Decoded objects borrow from their text. */
static const char *json_copy(struct arena *a, const char *json)
{
    return arena_cstr(a, str_c(json));
}

static void put_claim(struct objects *o, const char *json)
{
    o->claims[o->n_claims++] = decode(o, &core_v1_persistent_volume_claim_type, json);
}

static void put_volume(struct objects *o, const char *name, const char *size, const char *class, const char *node, const char *more)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"capacity\":{\"storage\":\"%s\"},\"accessModes\":[\"ReadWriteOnce\"],"
             "\"storageClassName\":\"%s\",\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"host\","
             "\"operator\":\"In\",\"values\":[\"%s\"]}]}]}}%s},\"status\":{\"phase\":\"Available\"}}",
             name, size, class, node, more);
    o->volumes[o->n_volumes++] = decode(o, &core_v1_persistent_volume_type, json_copy(&o->arena, json));
}

static void begin(struct fixture *f, struct objects *o)
{
    fixture_init(f);
    *o = (struct objects){ .n_claims = 0 };
    arena_init(&o->arena, ARENA_NO_BUDGET);
    o->view = (struct volume_view){ .data = o, .claim = view_claim, .volume = view_volume, .next_volume = view_next, .class = view_class,
                                    .is_reserved = view_is_reserved };
    f->cache.volumes = &o->view;
    fixture_node(f, "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"host\":\"n1\"}},\"status\":{\"allocatable\":{\"cpu\":\"4\",\"memory\":\"4Gi\",\"pods\":\"10\"}}}");
    fixture_node(f, "{\"metadata\":{\"name\":\"n2\",\"labels\":{\"host\":\"n2\"}},\"status\":{\"allocatable\":{\"cpu\":\"4\",\"memory\":\"4Gi\",\"pods\":\"10\"}}}");
    o->classes[o->n_classes++] = decode(o, &storage_v1_storage_class_type,
                                        "{\"metadata\":{\"name\":\"local\"},\"provisioner\":\"kubernetes.io/no-provisioner\",\"volumeBindingMode\":\"WaitForFirstConsumer\"}");
    o->classes[o->n_classes++] = decode(o, &storage_v1_storage_class_type,
                                        "{\"metadata\":{\"name\":\"made\"},\"provisioner\":\"x.example.com\",\"volumeBindingMode\":\"WaitForFirstConsumer\","
                                        "\"allowedTopologies\":[{\"matchLabelExpressions\":[{\"key\":\"host\",\"values\":[\"n2\"]}]}]}");
}

static void end(struct fixture *f, struct objects *o)
{
    fixture_deinit(f);
    arena_deinit(&o->arena);
}

static struct str decide(struct fixture *f, const char *claim)
{
    char json[512];
    struct cycle_result r;
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p\"},\"spec\":{\"volumes\":[{\"persistentVolumeClaim\":{\"claimName\":\"%s\"}}],"
             "\"containers\":[{}]}}", claim);
    fixture_schedule(f, fixture_pod(f, json_copy(&f->arena, json)), &r);
    return r.node ? r.node->name : r.message;
}

#define LATE(name, class, size)                                                                                                    \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name "\",\"uid\":\"" name "\"},\"spec\":{\"storageClassName\":\"" class          \
    "\",\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"" size "\"}}}}"
#define BOUND(name, volume)                                                                                                        \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name "\",\"annotations\":{\"pv.kubernetes.io/bind-completed\":\"yes\"}},"        \
    "\"spec\":{\"volumeName\":\"" volume "\"},\"status\":{\"phase\":\"Bound\"}}"

TEST(a_pod_goes_where_its_volume_is)
{
    struct fixture f;
    struct objects o;
    begin(&f, &o);
    put_volume(&o, "v1", "1Gi", "local", "n1", "");
    put_volume(&o, "v2", "5Gi", "local", "n2", "");
    put_claim(&o, BOUND("on-1", "v1"));
    put_claim(&o, BOUND("on-2", "v2"));
    put_claim(&o, BOUND("gone", "nothing"));
    CHECK_STR_C(decide(&f, "on-1"), "n1");
    CHECK_STR_C(decide(&f, "on-2"), "n2");
    CHECK(str_find(decide(&f, "gone"), STR("2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")) >= 0);
    CHECK(str_find(decide(&f, "none"), STR("persistentvolumeclaim \"none\" not found")) >= 0);
    end(&f, &o);
}

TEST(a_claim_that_waits_for_a_pod_leads_it_to_a_free_volume)
{
    struct fixture f;
    struct objects o;
    begin(&f, &o);
    put_volume(&o, "v1", "1Gi", "local", "n1", "");
    put_volume(&o, "v2", "5Gi", "local", "n2", "");
    put_claim(&o, LATE("large", "local", "2Gi"));
    put_claim(&o, LATE("huge", "local", "20Gi"));
    put_claim(&o, LATE("to-make", "made", "2Gi"));
    CHECK_STR_C(decide(&f, "large"), "n2");
    CHECK(str_find(decide(&f, "huge"), STR("2 node(s) didn't find available persistent volumes to bind")) >= 0);
    CHECK_STR_C(decide(&f, "to-make"), "n2"); /* where its class may have volumes made */
    o.reserved = "v2"; /* another pod is about to have it */
    CHECK(str_find(decide(&f, "large"), STR("didn't find available persistent volumes to bind")) >= 0);
    put_volume(&o, "v3", "9Gi", "local", "n1", ",\"claimRef\":{\"namespace\":\"d\",\"name\":\"large\"}");
    CHECK_STR_C(decide(&f, "large"), "n1"); /* bound to it in advance */
    end(&f, &o);
}

TEST(a_claim_that_the_controller_has_to_bind_is_waited_for)
{
    struct fixture f;
    struct objects o;
    begin(&f, &o);
    put_claim(&o, LATE("soon", "immediate", "1Gi"));
    put_claim(&o, "{\"metadata\":{\"namespace\":\"d\",\"name\":\"going\",\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"}}");
    CHECK(str_find(decide(&f, "soon"), STR("pod has unbound immediate PersistentVolumeClaims")) >= 0);
    CHECK(str_find(decide(&f, "going"), STR("persistentvolumeclaim \"going\" is being deleted")) >= 0);
    end(&f, &o);
}

TEST(a_claim_wakes_only_the_pods_that_name_it)
{
    struct fixture f;
    struct objects o;
    volume_claim_t claim = { .metadata = { .namespace = STR("d"), .name = STR("mine") } };
    begin(&f, &o);
    const struct pod_info *p = fixture_pod(&f, "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p\"},\"spec\":{\"volumes\":["
                                               "{\"persistentVolumeClaim\":{\"claimName\":\"mine\"}}],\"containers\":[{}]}}");
    struct sched_change change = { .events = EVENT_VOLUME, .claim = &claim };
    CHECK(plugin_volume_binding.hint(&f.cache, p, &change));
    claim.metadata.namespace = STR("e");
    CHECK(!plugin_volume_binding.hint(&f.cache, p, &change));
    claim.metadata = (struct meta_v1_object_meta){ .namespace = STR("d"), .name = STR("other") };
    CHECK(!plugin_volume_binding.hint(&f.cache, p, &change));
    change.claim = NULL; /* a volume, or a class */
    CHECK(plugin_volume_binding.hint(&f.cache, p, &change));
    end(&f, &o);
}

TEST(two_claims_of_a_pod_get_two_volumes_of_one_node)
{
    struct fixture f;
    struct objects o;
    struct cycle_result r;
    begin(&f, &o);
    put_volume(&o, "v1", "5Gi", "local", "n1", "");
    put_volume(&o, "v2", "5Gi", "local", "n2", "");
    put_volume(&o, "v3", "1Gi", "local", "n2", "");
    put_claim(&o, LATE("a", "local", "1Gi"));
    put_claim(&o, LATE("b", "local", "2Gi"));
    fixture_schedule(&f, fixture_pod(&f, "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p\"},\"spec\":{\"volumes\":[{\"persistentVolumeClaim\":{\"claimName\":\"b\"}},"
                                         "{\"persistentVolumeClaim\":{\"claimName\":\"a\"}},{\"persistentVolumeClaim\":{\"claimName\":\"a\"}}],\"containers\":[{}]}}"), &r);
    CHECK(r.node != NULL);
    CHECK_STR_C(r.node->name, "n2");
    end(&f, &o);
}
