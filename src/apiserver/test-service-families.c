/* Services of one family and of two: what is filled in, what is given out, what is refused; ServiceCIDRs and IPAddresses. */
#include "apiserver/test-server.h"
#include "base/clock.h"
#include "base/test.h"

#define SERVICES "/api/v1/namespaces/default/services"
#define CIDRS "/apis/networking.k8s.io/v1/servicecidrs"
#define IPS "/apis/networking.k8s.io/v1/ipaddresses"

struct fix {
    struct test_server t;
    struct arena a;
};

static void adjust(struct apiserver_config *cfg, void *arg)
{
    cfg->service_cluster_ip_range = str_c(arg);
}

static void start(struct fix *f, char *ranges)
{
    arena_init(&f->a, 256u << 20);
    test_server_start_with(&f->t, adjust, ranges);
}

static void stop(struct fix *f)
{
    test_server_stop(&f->t);
    arena_deinit(&f->a);
}

static struct test_answer ask(struct fix *f, const char *method, const char *target, const char *body)
{
    const char *type = str_eq_c(str_c(method), "PATCH") ? "Content-Type: application/merge-patch+json\r\n" : "Content-Type: application/json\r\n";
    return test_request(&f->t, &f->a, str_c(method), str_c(target), "admin", str_c(type), str_c(body));
}

/* Does the answer have the status and all of the words (NULL at the end)? */
static bool gives(struct test_answer r, int status, const char *const *words)
{
    bool all = r.status == status;
    for (size_t i = 0; all && words[i]; i++) {
        all = str_find(r.body, str_c(words[i])) >= 0;
    }
    if (!all) {
        printf("  %d %.*s\n", r.status, STR_ARG(r.body));
    }
    return all;
}
#define GIVES(answer, status, ...) CHECK(gives((answer), (status), (const char *const[]){ __VA_ARGS__, NULL }))

static struct test_answer create(struct fix *f, const char *name, const char *spec)
{
    struct str body = arena_printf(&f->a, "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"ports\":[{\"port\":80}],%s}}", name, spec);
    return ask(f, "POST", SERVICES, body.ptr);
}

static struct test_answer patch(struct fix *f, const char *name, const char *spec)
{
    struct str target = arena_printf(&f->a, SERVICES "/%s", name), body = arena_printf(&f->a, "{\"spec\":{%s}}", spec);
    return ask(f, "PATCH", target.ptr, body.ptr);
}

static bool comes(struct fix *f, const char *target, int status, const char *what)
{
    uint64_t end = clock_mono_ms() + 4000;
    for (;;) {
        struct test_answer r = ask(f, "GET", target, "");
        if (r.status == status && str_find(r.body, str_c(what)) >= 0) {
            return true;
        }
        if (clock_mono_ms() > end) {
            printf("  %s: %d %.*s\n", target, r.status, STR_ARG(r.body));
            return false;
        }
        loop_turn(f->t.loop, 10);
    }
}

static char dual[] = "10.96.0.0/16,fd96::/112", dual6[] = "fd96::/112,10.96.0.0/16", four[] = "10.96.0.0/16";

TEST(services_say_which_families_they_want)
{
    struct fix f;
    start(&f, dual);
    GIVES(ask(&f, "GET", SERVICES "/kubernetes", ""), 200, "\"clusterIPs\":[\"10.96.0.1\"]", "\"ipFamilies\":[\"IPv4\"]", "SingleStack");
    GIVES(create(&f, "one", "\"selector\":{\"a\":\"b\"}"), 201, "\"clusterIP\":\"10.96.", "\"ipFamilies\":[\"IPv4\"]", "\"SingleStack\"");
    GIVES(create(&f, "six", "\"ipFamilies\":[\"IPv6\"]"), 201, "\"clusterIP\":\"fd96::", "\"ipFamilies\":[\"IPv6\"]", "\"SingleStack\"");
    GIVES(create(&f, "prefer", "\"ipFamilyPolicy\":\"PreferDualStack\""), 201, "\"clusterIP\":\"10.96.", ",\"fd96::", "[\"IPv4\",\"IPv6\"]");
    GIVES(create(&f, "require", "\"ipFamilyPolicy\":\"RequireDualStack\",\"ipFamilies\":[\"IPv6\"]"), 201, "\"clusterIP\":\"fd96::", "\",\"10.96.",
          "[\"IPv6\",\"IPv4\"]");
    GIVES(create(&f, "asked", "\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"fd96::7\",\"clusterIPs\":[\"fd96::7\",\"10.96.0.7\"]"), 201,
          "[\"fd96::7\",\"10.96.0.7\"]", "[\"IPv6\",\"IPv4\"]");
    GIVES(create(&f, "half", "\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"fd96::8\""), 201, "[\"fd96::8\",\"10.96.", "[\"IPv6\",\"IPv4\"]");
    GIVES(create(&f, "headless", "\"clusterIP\":\"None\",\"selector\":{\"a\":\"b\"}"), 201, "\"ipFamilies\":[\"IPv4\"]", "\"SingleStack\"");
    GIVES(create(&f, "headless2", "\"clusterIP\":\"None\",\"ipFamilyPolicy\":\"PreferDualStack\",\"selector\":{\"a\":\"b\"}"), 201,
          "\"clusterIPs\":[\"None\"]", "[\"IPv4\",\"IPv6\"]");
    GIVES(create(&f, "byhand", "\"clusterIP\":\"None\""), 201, "[\"IPv4\",\"IPv6\"]", "\"RequireDualStack\"");
    stop(&f);
}

TEST(services_that_contradict_themselves_are_refused)
{
    struct fix f;
    start(&f, dual);
    GIVES(create(&f, "x", "\"clusterIP\":\"10.96.0.7\",\"clusterIPs\":[\"10.96.0.7\",\"fd96::7\"]"), 422,
          "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
    GIVES(create(&f, "x", "\"ipFamilies\":[\"IPv4\",\"IPv6\"]"), 422, "when multiple IP families are specified");
    GIVES(create(&f, "x", "\"ipFamilies\":[\"IPv4\",\"IPv4\"],\"ipFamilyPolicy\":\"PreferDualStack\""), 422, "spec.ipFamilies[1]: Duplicate value: \\\"IPv4\\\"");
    GIVES(create(&f, "x", "\"ipFamilies\":[\"IPv5\"]"), 422, "spec.ipFamilies[0]: Unsupported value: \\\"IPv5\\\"");
    GIVES(create(&f, "x", "\"ipFamilyPolicy\":\"Both\""), 422, "spec.ipFamilyPolicy: Unsupported value: \\\"Both\\\"");
    GIVES(create(&f, "x", "\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"10.96.0.7\",\"clusterIPs\":[\"10.96.0.7\",\"10.96.0.8\"]"), 422,
          "may specify no more than one IP for each IP family");
    GIVES(create(&f, "x", "\"clusterIPs\":[\"10.96.0.7\"]"), 422, "must be empty when `clusterIP` is not specified");
    GIVES(create(&f, "x", "\"clusterIP\":\"10.96.0.7\",\"clusterIPs\":[\"10.96.0.8\"]"), 422, "first value must match `clusterIP`");
    GIVES(create(&f, "x", "\"clusterIP\":\"None\",\"clusterIPs\":[\"None\",\"fd96::7\"],\"ipFamilyPolicy\":\"PreferDualStack\""), 422,
          "'None' must be the first and only value");
    GIVES(create(&f, "x", "\"clusterIP\":\"fd96::7\",\"ipFamilies\":[\"IPv4\"]"), 422, "expected an IPv4 value as indicated by `ipFamilies[0]`");
    GIVES(create(&f, "x", "\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"10.96.0.1\""), 422, "provided IP is already allocated");
    GIVES(create(&f, "y", "\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"10.96.0.9\",\"clusterIPs\":[\"10.96.0.9\",\"fd97::1\"]"), 422,
          "failed to allocate IP fd97::1: the provided network does not match the current range");
    GIVES(create(&f, "y", "\"clusterIP\":\"10.96.0.9\""), 201, "10.96.0.9"); /* what a refused one had taken is free */
    GIVES(create(&f, "x", "\"type\":\"ExternalName\",\"externalName\":\"a.example\",\"ipFamilies\":[\"IPv4\"]"), 422,
          "spec.ipFamilies: Forbidden: may not be set for ExternalName services");
    stop(&f);
    start(&f, four);
    GIVES(create(&f, "x", "\"ipFamilyPolicy\":\"RequireDualStack\""), 422, "this cluster is not configured for dual-stack services");
    GIVES(create(&f, "x", "\"ipFamilies\":[\"IPv6\"]"), 422, "spec.ipFamilies[0]: Invalid value: \\\"IPv6\\\": not configured on this cluster");
    GIVES(create(&f, "x", "\"clusterIP\":\"fd96::7\""), 422, "IPv6 is not configured on this cluster");
    GIVES(create(&f, "x", "\"ipFamilyPolicy\":\"PreferDualStack\""), 201, "\"ipFamilies\":[\"IPv4\"]", "\"PreferDualStack\"");
    stop(&f);
}

TEST(services_are_upgraded_and_downgraded)
{
    struct fix f;
    start(&f, dual6);
    GIVES(create(&f, "s", "\"selector\":{\"a\":\"b\"},\"clusterIP\":\"fd96::50\""), 201, "[\"fd96::50\"]");
    GIVES(patch(&f, "s", "\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIPs\":[\"fd96::50\",\"10.96.0.50\"]"), 200, "[\"fd96::50\",\"10.96.0.50\"]",
          "[\"IPv6\",\"IPv4\"]");
    CHECK(comes(&f, IPS "/10.96.0.50", 200, "\"name\":\"s\""));
    GIVES(create(&f, "t", "\"clusterIP\":\"10.96.0.50\""), 422, "already allocated");
    GIVES(patch(&f, "s", "\"ipFamilies\":[\"IPv6\"]"), 422, "must be 'SingleStack' to release the secondary IP family");
    GIVES(patch(&f, "s", "\"clusterIPs\":[\"fd96::50\"]"), 422, "must be 'SingleStack' to release the secondary cluster IP");
    GIVES(patch(&f, "s", "\"clusterIPs\":[\"fd96::50\",\"10.96.0.51\"]"), 422, "spec.clusterIPs[1]: Invalid value:", "may not change once set");
    GIVES(patch(&f, "s", "\"ipFamilyPolicy\":\"SingleStack\""), 200, "\"clusterIPs\":[\"fd96::50\"]", "\"ipFamilies\":[\"IPv6\"]");
    CHECK(comes(&f, IPS "/10.96.0.50", 404, "NotFound"));
    GIVES(create(&f, "t", "\"clusterIP\":\"10.96.0.50\""), 201, "10.96.0.50");
    GIVES(patch(&f, "s", "\"ipFamilyPolicy\":\"RequireDualStack\""), 200, "[\"fd96::50\",\"10.96.", "[\"IPv6\",\"IPv4\"]");
    GIVES(patch(&f, "s", "\"type\":\"ExternalName\",\"externalName\":\"a.example\""), 200, "\"type\":\"ExternalName\"");
    struct str body = ask(&f, "GET", SERVICES "/s", "").body;
    CHECK(str_find(body, STR("\"ipFamilies\":")) < 0 && str_find(body, STR("\"ipFamilyPolicy\":")) < 0 && str_find(body, STR("\"clusterIPs\":")) < 0);
    CHECK(comes(&f, IPS "/fd96::50", 404, "NotFound"));
    GIVES(patch(&f, "s", "\"type\":\"ClusterIP\",\"externalName\":null"), 200, "\"clusterIP\":\"fd96::", "\"SingleStack\"");
    GIVES(ask(&f, "DELETE", SERVICES "/t", ""), 200, "10.96.0.50");
    CHECK(comes(&f, IPS "/10.96.0.50", 404, "NotFound"));
    stop(&f);
}

TEST(more_addresses_come_from_service_cidrs)
{
    struct fix f;
    start(&f, dual);
    CHECK(comes(&f, CIDRS "/kubernetes", 200, "\"cidrs\":[\"10.96.0.0/16\",\"fd96::/112\"]"));
    CHECK(comes(&f, IPS "/10.96.0.1", 200, "\"parentRef\":{\"resource\":\"services\",\"namespace\":\"default\",\"name\":\"kubernetes\"}"));
    GIVES(create(&f, "far", "\"clusterIP\":\"10.97.0.5\""), 422, "does not match the current range");
    GIVES(ask(&f, "POST", CIDRS, "{\"metadata\":{\"name\":\"more\"},\"spec\":{\"cidrs\":[\"10.97.0.0/24\"]}}"), 201, "more");
    loop_turn(f.t.loop, 10);
    GIVES(create(&f, "far", "\"clusterIP\":\"10.97.0.5\""), 201, "10.97.0.5");
    GIVES(create(&f, "far2", "\"clusterIP\":\"10.97.0.5\""), 422, "already allocated");
    GIVES(ask(&f, "DELETE", CIDRS "/more", ""), 200, "\"Success\"");
    loop_turn(f.t.loop, 10);
    GIVES(create(&f, "far2", "\"clusterIP\":\"10.97.0.6\""), 422, "does not match the current range");
    GIVES(ask(&f, "POST", CIDRS, "{\"metadata\":{\"name\":\"bad\"},\"spec\":{\"cidrs\":[\"10.97.0.0\"]}}"), 422, "spec.cidrs[0]");
    GIVES(ask(&f, "POST", CIDRS, "{\"metadata\":{\"name\":\"bad\"},\"spec\":{\"cidrs\":[\"10.97.0.0/24\",\"10.98.0.0/24\"]}}"), 422, "no more than one");
    stop(&f);
}
