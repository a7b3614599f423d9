/* The plugins alone: a request with a world of a few objects. */
#include "api/decode-json.h"
#include "api/gen/authentication_v1.h"
#include "api/gen/coordination_v1.h"
#include "api/gen/core_v1.h"
#include "api/gen/scheduling_v1.h"
#include "api/gen/storage_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"
#include "base/test.h"

struct thing {
    const char *resource, *ns, *name, *json;
    const struct api_type *type;
};

static const struct thing objects[] = {
    { "namespaces", "", "ns", "{\"metadata\":{\"name\":\"ns\"},\"status\":{\"phase\":\"Active\"}}", &core_v1_namespace_type },
    { "namespaces", "", "term", "{\"metadata\":{\"name\":\"term\"},\"status\":{\"phase\":\"Terminating\"}}", &core_v1_namespace_type },
    { "serviceaccounts", "ns", "default", "{\"metadata\":{\"name\":\"default\"},\"imagePullSecrets\":[{\"name\":\"pull\"}]}", &core_v1_service_account_type },
    { "serviceaccounts", "ns", "quiet", "{\"metadata\":{\"name\":\"quiet\"},\"automountServiceAccountToken\":false}", &core_v1_service_account_type },
    { "priorityclasses", "", "high", "{\"metadata\":{\"name\":\"high\"},\"value\":1000,\"preemptionPolicy\":\"Never\"}", &scheduling_v1_priority_class_type },
    { "priorityclasses", "", "usual", "{\"metadata\":{\"name\":\"usual\"},\"value\":7,\"globalDefault\":true}", &scheduling_v1_priority_class_type },
    { "storageclasses", "", "slow", "{\"metadata\":{\"name\":\"slow\"},\"provisioner\":\"x/y\"}", &storage_v1_storage_class_type },
    { "storageclasses", "", "fast", "{\"metadata\":{\"name\":\"fast\",\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}},\"provisioner\":\"x/y\"}", &storage_v1_storage_class_type },
    { "nodes", "", "n1", "{\"metadata\":{\"name\":\"n1\",\"uid\":\"n1-uid\"}}", &core_v1_node_type },
    { "pods", "ns", "web", "{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\",\"uid\":\"web-uid\"},\"spec\":{\"nodeName\":\"n1\",\"volumes\":[{\"name\":\"t\","
                           "\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"audience\":\"vault\",\"path\":\"t\"}}]}}]}}", &core_v1_pod_type },
};

static const void *decode(struct arena *a, const struct api_type *t, const char *json)
{
    struct err err = { 0 };
    void *o = arena_alloc(a, t->size);
    CHECK(o != NULL);
    CHECK_OK(api_decode_json(a, t, str_c(json), NULL, o, &err), &err);
    return o;
}

static const void *world_get(const struct kind_world *w, struct arena *a, struct str group, struct str resource, struct str ns, struct str name)
{
    (void)w;
    (void)group;
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        if (str_eq_c(resource, objects[i].resource) && str_eq_c(ns, objects[i].ns) && str_eq_c(name, objects[i].name)) {
            return decode(a, objects[i].type, objects[i].json);
        }
    }
    return NULL;
}

static void world_each(const struct kind_world *w, struct arena *a, struct str group, struct str resource, struct str ns,
                       bool (*each)(void *ctx, const void *obj), void *ctx)
{
    (void)w;
    (void)group;
    (void)ns;
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        if (str_eq_c(resource, objects[i].resource) && !each(ctx, decode(a, objects[i].type, objects[i].json))) {
            return;
        }
    }
}

struct fixture {
    struct apiserver srv;
    struct request r;
    struct admission_attrs attrs;
};

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->srv.world = (struct kind_world){ .get = world_get, .each = world_each };
    f->r.srv = &f->srv;
    arena_init(&f->r.arena, 4 << 20);
}

static void end(struct fixture *f)
{
    arena_deinit(&f->r.arena);
}

/* Asks one plugin with an object as JSON ("" for none). */
static enum stage_result ask(struct fixture *f, const struct admission_plugin *p, enum admission_op op, const char *group, const char *resource,
                             const char *sub, const struct api_type *type, const char *obj, const char *old, const char *name,
                             const struct auth_user *user)
{
    static const struct auth_user nobody = { .name = STR_INIT("alice") };
    const struct api_resource *res = api_resource_find(str_c(group), STR("v1"), str_c(resource));
    CHECK(res != NULL);
    f->r.status = (struct status){ 0 };
    f->attrs = (struct admission_attrs){
        .op = op, .resource = res, .subresource = str_c(sub), .ns = res->namespaced ? STR("ns") : STR_EMPTY, .name = str_c(name), .type = type,
        .user = user ? user : &nobody,
    };
    if (*obj) {
        const void *o = decode(&f->r.arena, type, obj);
        memcpy(&f->attrs.obj, &o, sizeof(o));
    }
    f->attrs.old = *old ? decode(&f->r.arena, res->type, old) : NULL;
    enum stage_result result = p->admit ? p->admit(&f->r, &f->attrs) : STAGE_DONE;
    return result == STAGE_DONE && p->validate ? p->validate(&f->r, &f->attrs) : result;
}

static enum stage_result ask_pod(struct fixture *f, const struct admission_plugin *p, const char *json)
{
    return ask(f, p, ADMIT_CREATE, "", "pods", "", &core_v1_pod_type, json, "", "p", NULL);
}

TEST(nothing_is_created_in_a_namespace_that_is_missing_or_ending)
{
    struct fixture f;
    begin(&f);
    const struct admission_plugin *p = &admission_namespace_lifecycle;
    CHECK_INT(ask(&f, p, ADMIT_CREATE, "", "configmaps", "", &core_v1_config_map_type, "{}", "", "x", NULL), STAGE_DONE);
    f.attrs.ns = STR("nope");
    CHECK_INT(p->admit(&f.r, &f.attrs), STAGE_ERROR);
    CHECK_STR_C(f.r.status.message, "namespaces \"nope\" not found");
    CHECK_INT(f.r.status.code, 404);
    f.attrs.ns = STR("term");
    CHECK_INT(p->admit(&f.r, &f.attrs), STAGE_ERROR);
    CHECK_STR_C(f.r.status.message, "configmaps \"x\" is forbidden: unable to create new content in namespace term because it is being terminated");
    CHECK(f.r.status.n_causes == 1 && str_eq(f.r.status.causes[0].reason, STR("NamespaceTerminating")));
    f.attrs.op = ADMIT_UPDATE;
    CHECK_INT(p->admit(&f.r, &f.attrs), STAGE_DONE);
    CHECK_INT(ask(&f, p, ADMIT_DELETE, "", "namespaces", "", NULL, "", "", "kube-system", NULL), STAGE_ERROR);
    CHECK_STR_C(f.r.status.message, "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");
    CHECK_INT(ask(&f, p, ADMIT_DELETE, "", "namespaces", "", NULL, "", "", "other", NULL), STAGE_DONE);
    end(&f);
}

TEST(pod_gets_its_account_and_token)
{
    struct fixture f;
    begin(&f);
    const struct admission_plugin *p = &admission_service_account;
    CHECK_INT(ask_pod(&f, p, "{\"spec\":{\"initContainers\":[{\"name\":\"i\"}],\"containers\":[{\"name\":\"c\"},{\"name\":\"d\",\"volumeMounts\":["
                             "{\"name\":\"own\",\"mountPath\":\"/var/run/secrets/kubernetes.io/serviceaccount\"}]}]}}"), STAGE_DONE);
    const struct core_v1_pod *pod = f.attrs.obj;
    CHECK_STR_C(pod->spec.service_account_name, "default");
    CHECK(pod->spec.n_volumes == 1 && str_starts(pod->spec.volumes[0].name, STR("kube-api-access-")) && pod->spec.volumes[0].name.len == 21);
    CHECK(pod->spec.volumes[0].volume_source.projected->n_sources == 3);
    CHECK(pod->spec.init_containers[0].n_volume_mounts == 1 && pod->spec.containers[0].n_volume_mounts == 1);
    CHECK(pod->spec.containers[1].n_volume_mounts == 1 && str_eq(pod->spec.containers[1].volume_mounts[0].name, STR("own")));
    CHECK(pod->spec.n_image_pull_secrets == 1);
    CHECK_INT(ask_pod(&f, p, "{\"spec\":{\"serviceAccountName\":\"quiet\",\"containers\":[{\"name\":\"c\"}]}}"), STAGE_DONE);
    pod = f.attrs.obj;
    CHECK(pod->spec.n_volumes == 0 && pod->spec.containers[0].n_volume_mounts == 0);
    CHECK_INT(ask_pod(&f, p, "{\"spec\":{\"serviceAccountName\":\"quiet\",\"automountServiceAccountToken\":true,\"containers\":[{\"name\":\"c\"}]}}"), STAGE_DONE);
    CHECK(((const struct core_v1_pod *)f.attrs.obj)->spec.n_volumes == 1);
    CHECK_INT(ask_pod(&f, p, "{\"spec\":{\"serviceAccountName\":\"nope\"}}"), STAGE_ERROR);
    CHECK_STR_C(f.r.status.message, "pods \"p\" is forbidden: error looking up service account ns/nope: serviceaccount \"nope\" not found");
    CHECK_INT(ask_pod(&f, p, "{\"metadata\":{\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"serviceAccountName\":\"default\"}}"), STAGE_ERROR);
    end(&f);
}

TEST(pod_gets_its_priority_from_its_class)
{
    struct fixture f;
    begin(&f);
    const struct admission_plugin *p = &admission_priority;
    CHECK_INT(ask_pod(&f, p, "{}"), STAGE_DONE);
    const struct core_v1_pod *pod = f.attrs.obj;
    CHECK(pod->spec.has_priority && pod->spec.priority == 7 && str_eq(pod->spec.priority_class_name, STR("usual")));
    CHECK_STR_C(pod->spec.preemption_policy, "PreemptLowerPriority");
    CHECK_INT(ask_pod(&f, p, "{\"spec\":{\"priorityClassName\":\"high\"}}"), STAGE_DONE);
    pod = f.attrs.obj;
    CHECK(pod->spec.priority == 1000 && str_eq(pod->spec.preemption_policy, STR("Never")));
    CHECK_INT(ask_pod(&f, p, "{\"spec\":{\"priorityClassName\":\"nope\"}}"), STAGE_ERROR);
    CHECK_STR_C(f.r.status.message, "pods \"p\" is forbidden: no PriorityClass with name nope was found");
    CHECK_INT(ask_pod(&f, p, "{\"spec\":{\"priority\":5}}"), STAGE_ERROR);
    CHECK_STR_C(f.r.status.message, "pods \"p\" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority "
                                    "admission controller computed 7 from the given PriorityClass name");
    CHECK_INT(ask(&f, p, ADMIT_UPDATE, "", "pods", "", &core_v1_pod_type, "{}", "{\"spec\":{\"priority\":3,\"preemptionPolicy\":\"Never\"}}", "p", NULL), STAGE_DONE);
    pod = f.attrs.obj;
    CHECK(pod->spec.priority == 3 && str_eq(pod->spec.preemption_policy, STR("Never")));
    CHECK_INT(ask(&f, p, ADMIT_CREATE, "scheduling.k8s.io", "priorityclasses", "", &scheduling_v1_priority_class_type,
                  "{\"metadata\":{\"name\":\"second\"},\"globalDefault\":true}", "", "second", NULL), STAGE_ERROR);
    CHECK_STR_C(f.r.status.message, "priorityclasses.scheduling.k8s.io \"second\" is forbidden: PriorityClass usual is already marked as default. "
                                    "Only one default can exist");
    end(&f);
}

TEST(pod_stays_five_minutes_unless_it_says_otherwise)
{
    struct fixture f;
    begin(&f);
    CHECK_INT(ask_pod(&f, &admission_default_toleration_seconds, "{\"spec\":{\"tolerations\":[{\"key\":\"node.kubernetes.io/not-ready\",\"effect\":\"NoExecute\"}]}}"), STAGE_DONE);
    const struct core_v1_pod *pod = f.attrs.obj;
    CHECK(pod->spec.n_tolerations == 2 && str_eq(pod->spec.tolerations[1].key, STR("node.kubernetes.io/unreachable")) &&
          pod->spec.tolerations[1].toleration_seconds == 300);
    CHECK_INT(ask_pod(&f, &admission_default_toleration_seconds, "{\"spec\":{\"tolerations\":[{\"operator\":\"Exists\"}]}}"), STAGE_DONE);
    CHECK_INT(((const struct core_v1_pod *)f.attrs.obj)->spec.n_tolerations, 1);
    CHECK_INT(ask(&f, &admission_taint_nodes_by_condition, ADMIT_CREATE, "", "nodes", "", &core_v1_node_type, "{}", "", "n", NULL), STAGE_DONE);
    CHECK_INT(((const struct core_v1_node *)f.attrs.obj)->spec.n_taints, 1);
    end(&f);
}

static const struct str node_groups[] = { STR_INIT("system:nodes") };
static const struct auth_user n1 = { .name = STR_INIT("system:node:n1"), .groups = node_groups, .n_groups = 1 };
static const struct auth_user n2 = { .name = STR_INIT("system:node:n2"), .groups = node_groups, .n_groups = 1 };

TEST(node_writes_itself_alone_and_not_its_taints_labels_and_owners)
{
    static const struct {
        enum admission_op op;
        const char *sub, *obj, *old, *name, *why; /* NULL: fine */
    } cases[] = {
        { ADMIT_CREATE, "", "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/hostname\":\"h\",\"x\":\"y\",\"a.node.kubernetes.io/b\":\"c\"}}}", "", "n1", NULL },
        { ADMIT_CREATE, "", "{\"metadata\":{\"name\":\"n2\"}}", "", "n2", "node \"n1\" is not allowed to modify node \"n2\"" },
        { ADMIT_CREATE, "", "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"node-role.kubernetes.io/master\":\"\",\"node-restriction.kubernetes.io/a\":\"\"}}}", "", "n1",
          "node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/a, node-role.kubernetes.io/master" },
        { ADMIT_UPDATE, "status", "{\"status\":{\"phase\":\"x\"}}", "{}", "n1", NULL },
        { ADMIT_UPDATE, "", "{\"spec\":{\"taints\":[]}}", "{\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}}", "n1", "node \"n1\" is not allowed to modify taints" },
        { ADMIT_UPDATE, "", "{\"metadata\":{\"labels\":{\"k8s.io/a\":\"2\"}}}", "{\"metadata\":{\"labels\":{\"k8s.io/a\":\"1\"}}}", "n1", "node \"n1\" is not allowed to modify labels: k8s.io/a" },
        { ADMIT_UPDATE, "", "{}", "{\"metadata\":{\"labels\":{\"k8s.io/a\":\"1\"}}}", "n1", "node \"n1\" is not allowed to modify labels: k8s.io/a" },
        { ADMIT_UPDATE, "", "{\"metadata\":{\"labels\":{\"k8s.io/a\":\"1\",\"z\":\"1\"}}}", "{\"metadata\":{\"labels\":{\"k8s.io/a\":\"1\"}}}", "n1", NULL },
        { ADMIT_UPDATE, "", "{\"metadata\":{\"ownerReferences\":[{\"name\":\"x\",\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"uid\":\"u\"}]}}", "{}", "n1", "node \"n1\" is not allowed to modify ownerReferences" },
        { ADMIT_UPDATE, "status", "{}", "{}", "n2", "node \"n1\" is not allowed to modify node \"n2\"" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        begin(&f);
        enum stage_result got = ask(&f, &admission_node_restriction, cases[i].op, "", "nodes", cases[i].sub, &core_v1_node_type, cases[i].obj, cases[i].old, cases[i].name, &n1);
        if (cases[i].why) {
            char want[512];
            snprintf(want, sizeof(want), "nodes \"%s\" is forbidden: %s", cases[i].name, cases[i].why);
            CHECK_INT(got, STAGE_ERROR);
            CHECK_STR_C(f.r.status.message, want);
        } else {
            CHECK_INT(got, STAGE_DONE);
        }
        CHECK_INT(ask(&f, &admission_node_restriction, cases[i].op, "", "nodes", cases[i].sub, &core_v1_node_type, cases[i].obj, cases[i].old, cases[i].name, NULL), STAGE_DONE);
        end(&f);
    }
}

#define OWNER "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n1\",\"uid\":\"n1-uid\",\"controller\":true}]"
#define MIRROR "\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}"

TEST(node_makes_mirror_pods_of_its_own_and_touches_no_others)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        { "{\"metadata\":{" MIRROR "," OWNER "},\"spec\":{\"nodeName\":\"n1\"}}", NULL },
        { "{\"metadata\":{" OWNER "},\"spec\":{\"nodeName\":\"n1\"}}", "pod does not have \"kubernetes.io/config.mirror\" annotation" },
        { "{\"metadata\":{" MIRROR "," OWNER "},\"spec\":{\"nodeName\":\"n2\"}}", "spec.nodeName set to itself" },
        { "{\"metadata\":{" MIRROR "},\"spec\":{\"nodeName\":\"n1\"}}", "single owner reference" },
        { "{\"metadata\":{" MIRROR "," OWNER "},\"spec\":{\"nodeName\":\"n1\",\"serviceAccountName\":\"x\"}}", "reference a service account" },
        { "{\"metadata\":{" MIRROR "," OWNER "},\"spec\":{\"nodeName\":\"n1\",\"volumes\":[{\"name\":\"a\",\"secret\":{\"secretName\":\"x\"}}]}}", "reference secrets" },
        { "{\"metadata\":{" MIRROR "," OWNER "},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"a\",\"envFrom\":[{\"configMapRef\":{\"name\":\"x\"}}]}]}}", "reference configmaps" },
    };
    struct fixture f;
    begin(&f);
    const struct admission_plugin *p = &admission_node_restriction;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        enum stage_result got = ask(&f, p, ADMIT_CREATE, "", "pods", "", &core_v1_pod_type, cases[i].json, "", "p", &n1);
        CHECK_INT(got, cases[i].why ? STAGE_ERROR : STAGE_DONE);
        CHECK(!cases[i].why || str_find(f.r.status.message, str_c(cases[i].why)) >= 0);
    }
    static const char *const own = "{\"spec\":{\"nodeName\":\"n1\"}}";
    CHECK_INT(ask(&f, p, ADMIT_DELETE, "", "pods", "", &core_v1_pod_type, "", own, "p", &n1), STAGE_DONE);
    CHECK_INT(ask(&f, p, ADMIT_DELETE, "", "pods", "", &core_v1_pod_type, "", own, "p", &n2), STAGE_ERROR);
    CHECK_INT(ask(&f, p, ADMIT_DELETE, "", "pods", "eviction", &core_v1_pod_type, "", own, "p", &n1), STAGE_DONE);
    CHECK_INT(ask(&f, p, ADMIT_DELETE, "", "pods", "eviction", &core_v1_pod_type, "", own, "p", &n2), STAGE_ERROR);
    CHECK_INT(ask(&f, p, ADMIT_UPDATE, "", "pods", "status", &core_v1_pod_type, "{\"spec\":{\"nodeName\":\"n1\"},\"status\":{\"phase\":\"Running\"}}", own, "p", &n1), STAGE_DONE);
    CHECK_INT(ask(&f, p, ADMIT_UPDATE, "", "pods", "status", &core_v1_pod_type, own, own, "p", &n2), STAGE_ERROR);
    CHECK_INT(ask(&f, p, ADMIT_UPDATE, "", "pods", "status", &core_v1_pod_type, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", own, "p", &n1), STAGE_ERROR);
    CHECK_INT(ask(&f, p, ADMIT_UPDATE, "", "pods", "", &core_v1_pod_type, own, own, "p", &n1), STAGE_ERROR);
    CHECK_INT(ask(&f, p, ADMIT_CREATE, "", "pods", "binding", &core_v1_pod_type, own, "", "p", &n1), STAGE_ERROR);
    end(&f);
}

TEST(node_gets_tokens_of_pods_that_run_on_it)
{
    static const struct {
        const struct auth_user *user;
        const char *spec, *why;
    } cases[] = {
        { &n1, "\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"web\",\"uid\":\"web-uid\"}", NULL },
        { &n1, "\"audiences\":[\"vault\"],\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"web\",\"uid\":\"web-uid\"}", NULL },
        { &n1, "\"audiences\":[\"other\"],\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"web\",\"uid\":\"web-uid\"}", "audience \"other\" not found in pod spec volume" },
        { &n2, "\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"web\",\"uid\":\"web-uid\"}", "node requested token bound to a pod scheduled on a different node" },
        { &n1, "\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"web\",\"uid\":\"other\"}", "does not match the UID in record" },
        { &n1, "\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"web\"}", "node requested token with a pod binding without a uid" },
        { &n1, "\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"gone\",\"uid\":\"x\"}", "pods \"gone\" not found" },
        { &n1, "\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"name\":\"web\",\"uid\":\"x\"}", "node requested token not bound to a pod" },
        { &n1, "\"audiences\":[]", "node requested token not bound to a pod" },
    };
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char json[512];
        snprintf(json, sizeof(json), "{\"spec\":{%s}}", cases[i].spec);
        enum stage_result got = ask(&f, &admission_node_restriction, ADMIT_CREATE, "", "serviceaccounts", "token", &authentication_v1_token_request_type,
                                    json, "", "default", cases[i].user);
        CHECK_INT(got, cases[i].why ? STAGE_ERROR : STAGE_DONE);
        CHECK(!cases[i].why || str_find(f.r.status.message, str_c(cases[i].why)) >= 0);
    }
    CHECK_INT(ask(&f, &admission_node_restriction, ADMIT_CREATE, "coordination.k8s.io", "leases", "", &coordination_v1_lease_type, "{\"metadata\":{\"name\":\"n1\"}}", "", "n1", &n1), STAGE_ERROR);
    f.attrs.ns = STR("kube-node-lease");
    CHECK_INT(admission_node_restriction.validate(&f.r, &f.attrs), STAGE_DONE);
    f.attrs.user = &n2;
    CHECK_INT(admission_node_restriction.validate(&f.r, &f.attrs), STAGE_ERROR);
    end(&f);
}

TEST(claims_get_the_default_class_and_with_volumes_a_finalizer)
{
    struct fixture f;
    begin(&f);
    for (int i = 0; i < 2; i++) {
        struct core_v1_persistent_volume_claim claim = { .spec.storage_class_name = i ? STR_EMPTY : STR_NULL };
        f.attrs = (struct admission_attrs){ .op = ADMIT_CREATE, .resource = api_resource_find(STR(""), STR("v1"), STR("persistentvolumeclaims")), .obj = &claim };
        CHECK_INT(admission_default_storage_class.admit(&f.r, &f.attrs), STAGE_DONE);
        CHECK_STR_C(claim.spec.storage_class_name, i ? "" : "fast"); /* an empty one is a choice */
        CHECK_INT(admission_storage_in_use.admit(&f.r, &f.attrs), STAGE_DONE);
        CHECK_INT(admission_storage_in_use.admit(&f.r, &f.attrs), STAGE_DONE);
        CHECK(claim.metadata.n_finalizers == 1 && str_eq_c(claim.metadata.finalizers[0], "kubernetes.io/pvc-protection"));
    }
    struct core_v1_persistent_volume pv = { 0 };
    f.attrs = (struct admission_attrs){ .op = ADMIT_CREATE, .resource = api_resource_find(STR(""), STR("v1"), STR("persistentvolumes")), .obj = &pv };
    CHECK_INT(admission_storage_in_use.admit(&f.r, &f.attrs), STAGE_DONE);
    CHECK(pv.metadata.n_finalizers == 1 && str_eq_c(pv.metadata.finalizers[0], "kubernetes.io/pv-protection"));
    end(&f);
}
