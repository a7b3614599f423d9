/* Pod Security Standards: the sentences of every control, and a whole apiserver that follows labels. */
#include "api/decode-json.h"
#include "api/gen/core_v1.h"
#include "apiserver/admission-config.h"
#include "apiserver/test-server.h"
#include "base/test.h"

#define JSON STR("Content-Type: application/json\r\n")
#define MERGE STR("Content-Type: application/merge-patch+json\r\n")

static const struct {
    enum pod_security_level level;
    int32_t minor;
    const char *meta, *spec, *want;
} cases[] = {
#define B POD_SECURITY_BASELINE, POD_SECURITY_LATEST
#define R POD_SECURITY_RESTRICTED, POD_SECURITY_LATEST
#define C(more) "\"containers\":[{\"name\":\"a\"" more "}]"
#define SC(more) C(",\"securityContext\":{" more "}")
#define GOOD "\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},\"runAsNonRoot\":true,\"seccompProfile\":{\"type\":\"RuntimeDefault\"}"
    { B, "", C(""), "" },
    { R, "", SC(GOOD), "" },
    { POD_SECURITY_PRIVILEGED, 0, "", SC("\"privileged\":true"), "" },
    { B, "", SC("\"privileged\":true") ",\"initContainers\":[{\"name\":\"i\",\"securityContext\":{\"privileged\":true}}]",
      "privileged (containers \"i\", \"a\" must not set securityContext.privileged=true)" },
    { B, "", C("") ",\"hostPID\":true,\"hostIPC\":true", "host namespaces (hostPID=true, hostIPC=true)" },
    { B, "", C(",\"ports\":[{\"containerPort\":1,\"hostPort\":80},{\"containerPort\":2,\"hostPort\":443}]"), "hostPort (container \"a\" uses hostPorts 443, 80)" },
    { B, "", C("") ",\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/\"}}]", "hostPath volumes (volume \"v\")" },
    { R, "", SC(GOOD) ",\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/\"}}]",
      "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")" },
    { B, "", SC("\"capabilities\":{\"add\":[\"SYS_ADMIN\",\"CHOWN\",\"BPF\"]}"),
      "non-default capabilities (container \"a\" must not include \"BPF\", \"SYS_ADMIN\" in securityContext.capabilities.add)" },
    { R, "", SC("\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"CHOWN\",\"NET_BIND_SERVICE\"]},\"runAsNonRoot\":true,"
                "\"seccompProfile\":{\"type\":\"Localhost\",\"localhostProfile\":\"x\"}"),
      "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]; container \"a\" must not include \"CHOWN\" in "
      "securityContext.capabilities.add)" },
    { B, "", C(",\"livenessProbe\":{\"httpGet\":{\"host\":\"h\",\"port\":1}}"), "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")" },
    { POD_SECURITY_BASELINE, 33, "", C(",\"livenessProbe\":{\"httpGet\":{\"host\":\"h\",\"port\":1}}"), "" },
    { B, "", SC("\"procMount\":\"Unmasked\""), "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")" },
    { B, "", SC("\"procMount\":\"Unmasked\"") ",\"hostUsers\":false", "" },
    { B, "", SC("\"seLinuxOptions\":{\"type\":\"spc_t\",\"user\":\"u\"}"),
      "seLinuxOptions (container \"a\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)" },
    { B, "", SC("\"seccompProfile\":{\"type\":\"Unconfined\"}") ",\"securityContext\":{\"seccompProfile\":{\"type\":\"Unconfined\"}}",
      "seccompProfile (pod and container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")" },
    { B, "", C("") ",\"securityContext\":{\"sysctls\":[{\"name\":\"kernel.x\",\"value\":\"1\"},{\"name\":\"net.ipv4.tcp_rmem\",\"value\":\"1\"}]}",
      "forbidden sysctls (kernel.x)" },
    { POD_SECURITY_BASELINE, 28, "", C("") ",\"securityContext\":{\"sysctls\":[{\"name\":\"net.ipv4.tcp_rmem\",\"value\":\"1\"}]}",
      "forbidden sysctls (net.ipv4.tcp_rmem)" },
    { B, "", C("") ",\"securityContext\":{\"windowsOptions\":{\"hostProcess\":true}}",
      "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)" },
    { B, ",\"annotations\":{\"container.apparmor.security.beta.kubernetes.io/a\":\"unconfined\"}", C(""),
      "forbidden AppArmor profile (container.apparmor.security.beta.kubernetes.io/a=\"unconfined\")" },
    { R, "", SC(GOOD ",\"privileged\":true") ",\"hostNetwork\":true",
      "host namespaces (hostNetwork=true), privileged (container \"a\" must not set securityContext.privileged=true)" },
    { R, "", SC(GOOD ",\"runAsUser\":0"), "runAsUser=0 (container \"a\" must not set runAsUser=0)" },
    { R, "", SC("\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},\"runAsNonRoot\":false,\"seccompProfile\":{\"type\":\"RuntimeDefault\"}"),
      "runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false)" },
    { R, "", C(""),
      "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"a\" "
      "must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), "
      "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")" },
    { POD_SECURITY_RESTRICTED, 7, "", SC("\"runAsNonRoot\":true"), "" },
};

TEST(each_control_of_the_pod_security_standards_has_its_sentence)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(arena_deinit) struct arena a;
        arena_init(&a, 4 << 20);
        struct core_v1_pod pod = { 0 };
        struct err err = { 0 };
        CHECK_OK(api_decode_json(&a, &core_v1_pod_type, arena_printf(&a, "{\"metadata\":{\"name\":\"p\"%s},\"spec\":{%s}}", cases[i].meta, cases[i].spec),
                                 NULL, &pod, &err), &err);
        struct pod_security p = { cases[i].level, cases[i].minor };
        CHECK_STR_C(pod_security_violations(&a, p, &pod.metadata, &pod.spec, NULL), cases[i].want);
    }
}

static struct test_answer ask(struct test_server *t, struct arena *a, const char *method, const char *path, const char *body)
{
    return test_request(t, a, str_c(method), str_c(path), "admin", *method == 'P' && method[1] == 'A' ? MERGE : JSON, str_c(body));
}

static void says(const struct test_answer *r, int status, const char *text)
{
    if (r->status != status || (str_find(r->body, str_c(text)) < 0 && str_find(r->headers, str_c(text)) < 0)) {
        printf("  %d, not %d with %s: %.*s%.*s\n", r->status, status, text, STR_ARG(r->headers), STR_ARG(r->body));
        CHECK(false);
    }
}

#define BAD_POD "{\"metadata\":{\"name\":\"bad\"},\"spec\":{\"hostPID\":true,\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

TEST(labels_of_a_namespace_say_what_its_pods_may)
{
    struct test_server t;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 64u << 20);
    test_server_start(&t);
    struct test_answer r = ask(&t, &a, "POST", "/api/v1/namespaces",
                               "{\"metadata\":{\"name\":\"x\",\"labels\":{\"pod-security.kubernetes.io/enforce\":\"bad\",\"pod-security.kubernetes.io/warn-version\":\"1\"}}}");
    says(&r, 422, "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \\\"bad\\\": must be one of privileged, baseline, restricted");
    says(&r, 422, "must be \\\"latest\\\" or \\\"v1.x\\\"");
    CHECK_INT(ask(&t, &a, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"ns\"}}").status, 201);
    CHECK_INT(ask(&t, &a, "POST", "/api/v1/namespaces/ns/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}").status, 201);
    r = ask(&t, &a, "POST", "/api/v1/namespaces/ns/pods", BAD_POD);
    CHECK_INT(r.status, 201);
    r = ask(&t, &a, "PATCH", "/api/v1/namespaces/ns", "{\"metadata\":{\"labels\":{\"pod-security.kubernetes.io/enforce\":\"baseline\"}}}");
    says(&r, 200, "existing pods in namespace \\\"ns\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"");
    says(&r, 200, "bad: host namespaces");
    r = ask(&t, &a, "POST", "/api/v1/namespaces/ns/pods", BAD_POD);
    says(&r, 403, "pods \\\"bad\\\" is forbidden: violates PodSecurity \\\"baseline:latest\\\": host namespaces (hostPID=true)");
    /* What is there is let live: changes of labels are no reason, an image is. */
    r = ask(&t, &a, "PATCH", "/api/v1/namespaces/ns/pods/bad", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    CHECK_INT(r.status, 200);
    r = test_request(&t, &a, STR("PATCH"), STR("/api/v1/namespaces/ns/pods/bad"), "admin", STR("Content-Type: application/strategic-merge-patch+json\r\n"),
                     STR("{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"j\"}]}}"));
    says(&r, 403, "violates PodSecurity");
    CHECK_INT(ask(&t, &a, "PATCH", "/api/v1/namespaces/ns", "{\"metadata\":{\"labels\":{\"pod-security.kubernetes.io/enforce\":null,"
                  "\"pod-security.kubernetes.io/warn\":\"baseline\",\"pod-security.kubernetes.io/warn-version\":\"v1.30\"}}}").status, 200);
    r = ask(&t, &a, "POST", "/apis/batch/v1/namespaces/ns/jobs", "{\"metadata\":{\"name\":\"j\"},\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true,"
            "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}");
    says(&r, 201, "would violate PodSecurity \\\"baseline:v1.30\\\": host namespaces (hostNetwork=true)");
    test_server_stop(&t);
}

static bool parse(struct admission_config *c, struct arena *a, const char *plugins, struct err *err)
{
    struct str text = arena_printf(a, "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n%s", plugins);
    memset(c, 0, sizeof(*c));
    arena_init(&c->arena, 1 << 20);
    return admission_config_parse(c, text, STR("/nowhere"), err);
}

TEST(a_file_says_what_holds_without_labels_and_for_whom_nothing_does)
{
    struct admission_config c;
    struct err err = { 0 };
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 4 << 20);
#define PS "- name: PodSecurity\n  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n    kind: PodSecurityConfiguration\n"
    CHECK_OK(parse(&c, &a, PS "    defaults: {enforce: baseline, enforce-version: v1.30}\n    exemptions: {usernames: [u, v], namespaces: [ns]}\n", &err), &err);
    CHECK_INT(c.defaults.enforce.level, POD_SECURITY_BASELINE);
    CHECK_INT(c.defaults.enforce.minor, 30);
    CHECK_INT(c.n_users, 2);
    CHECK_STR_C(c.namespaces[0], "ns");
    arena_deinit(&c.arena);
    CHECK(!parse(&c, &a, "- name: ImagePolicyWebhook\n  path: x\n", &err));
    CHECK(strstr(err.msg, "\"ImagePolicyWebhook\" cannot be configured here") != NULL);
    arena_deinit(&c.arena);
    CHECK(!parse(&c, &a, PS "    exemptions: {users: [u]}\n", &err));
    CHECK(strstr(err.msg, "unknown field \"users\"") != NULL);
    arena_deinit(&c.arena);
    CHECK(!parse(&c, &a, PS "    defaults: {enforce: strict}\n", &err));
    arena_deinit(&c.arena);
}
