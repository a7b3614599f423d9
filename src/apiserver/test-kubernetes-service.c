/* The kubernetes Service and its endpoints: leases that come and go, objects that somebody deletes or changes. */
#include "apiserver/kubernetes-service.h"
#include "apiserver/test-server.h"
#include "base/clock.h"
#include "base/test.h"

#define SERVICE "/api/v1/namespaces/default/services/kubernetes"
#define ENDPOINTS "/api/v1/namespaces/default/endpoints/kubernetes"
#define SLICE "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"

struct fix {
    struct test_server t;
    struct arena a;
    struct store_resource *other; /* another API server's side of the store */
};

static struct test_answer ask(struct fix *f, const char *method, const char *target, const char *headers, const char *body)
{
    return test_request(&f->t, &f->a, str_c(method), str_c(target), "admin", str_c(headers), str_c(body));
}

static bool has(struct fix *f, const char *target, const char *what)
{
    struct test_answer r = ask(f, "GET", target, "", "");
    return r.status == 200 && str_find(r.body, str_c(what)) >= 0;
}

/* Asks until the answer has the text (or has it no more), for three seconds. */
static bool comes_to_have(struct fix *f, const char *target, const char *what, bool want)
{
    uint64_t end = clock_mono_ms() + 4000;
    while (has(f, target, what) != want) {
        if (clock_mono_ms() > end) {
            printf("  %s: %.*s\n", target, STR_ARG(ask(f, "GET", target, "", "").body));
            return false;
        }
        loop_turn(f->t.loop, 10);
    }
    return true;
}

static void adjust(struct apiserver_config *cfg, void *arg)
{
    const struct apiserver_config *with = arg;
    cfg->advertise_address = STR("10.9.0.1");
    if (with) {
        cfg->kubernetes_service_node_port = with->kubernetes_service_node_port;
        cfg->endpoint_reconciler_type = with->endpoint_reconciler_type;
    }
}

static void start(struct fix *f, struct apiserver_config *with)
{
    arena_init(&f->a, 256u << 20);
    test_server_start_with(&f->t, adjust, with);
}

static void stop(struct fix *f)
{
    test_server_stop(&f->t);
    arena_deinit(&f->a);
}

TEST(kubernetes_service_leads_to_the_advertised_address)
{
    struct fix f;
    start(&f, NULL);
    CHECK(has(&f, SERVICE, "\"clusterIP\":\"10.96.0.1\"") && has(&f, SERVICE, "\"type\":\"ClusterIP\"") && has(&f, SERVICE, "\"targetPort\":6443"));
    CHECK(has(&f, ENDPOINTS, "\"addresses\":[{\"ip\":\"10.9.0.1\"}]") && has(&f, ENDPOINTS, "\"port\":6443") && has(&f, ENDPOINTS, "skip-mirror"));
    CHECK(has(&f, SLICE, "\"addresses\":[\"10.9.0.1\"]") && has(&f, SLICE, "\"kubernetes.io/service-name\":\"kubernetes\""));
    stop(&f);
}

TEST(kubernetes_service_comes_back_when_somebody_deletes_or_changes_it)
{
    static const char *const targets[] = { SERVICE, ENDPOINTS, SLICE };
    struct fix f;
    start(&f, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        CHECK_INT(ask(&f, "DELETE", targets[i], "", "").status, 200);
    }
    CHECK(comes_to_have(&f, SERVICE, "\"clusterIP\":\"10.96.0.1\"", true));
    CHECK(comes_to_have(&f, ENDPOINTS, "10.9.0.1", true) && comes_to_have(&f, SLICE, "10.9.0.1", true));
    CHECK_INT(ask(&f, "PATCH", ENDPOINTS, "Content-Type: application/merge-patch+json\r\n",
                  "{\"subsets\":[{\"addresses\":[{\"ip\":\"10.6.6.6\"}],\"ports\":[{\"port\":1}]}]}").status, 200);
    CHECK_INT(ask(&f, "PATCH", SLICE, "Content-Type: application/merge-patch+json\r\n",
                  "{\"endpoints\":[{\"addresses\":[\"10.6.6.6\"]}]}").status, 200);
    CHECK(comes_to_have(&f, ENDPOINTS, "10.6.6.6", false) && comes_to_have(&f, SLICE, "10.6.6.6", false));
    CHECK(has(&f, ENDPOINTS, "10.9.0.1") && has(&f, SLICE, "10.9.0.1"));
    stop(&f);
}

static void on_done(void *arg, const struct store_result *res)
{
    *(int *)arg = res->status == STORE_OK ? 1 : -1;
}

/* Another API server's lease, as it would write it: the value is not looked at, the key is. */
static void lease(struct fix *f, const char *ip, uint32_t ttl_s)
{
    struct rest *rest = registry_rest(f->t.server, STR_EMPTY, STR("endpoints"));
    char key[100];
    int done = 0;
    (void)snprintf(key, sizeof(key), "/registry/masterleases/%s", ip);
    struct store_write w = { .resource = f->other ? f->other : watch_cache_resource(rest->cache), .key = str_c(key), .value = STR("k8s"),
                             .expect = STORE_ANY, .flags = STORE_VOLATILE, .ttl_s = ttl_s, .done = on_done, .arg = &done };
    if (ttl_s == 0) {
        w.value = STR_NULL;
    }
    store_write(f->t.server->store, &w);
    for (int i = 0; i < 400 && !done; i++) {
        loop_turn(f->t.loop, 5);
    }
    CHECK_INT(done, 1);
}

TEST(kubernetes_endpoints_follow_the_leases_of_all_servers)
{
    struct fix f;
    start(&f, NULL);
    f.other = kubernetes_service_leases(f.t.server);
    lease(&f, "10.9.0.2", 2);
    lease(&f, "10.9.0.0", 30);
    lease(&f, "fd00::1", 30);       /* of the other family */
    lease(&f, "not-an-address", 30);
    CHECK(comes_to_have(&f, ENDPOINTS, "\"addresses\":[{\"ip\":\"10.9.0.0\"},{\"ip\":\"10.9.0.1\"},{\"ip\":\"10.9.0.2\"}]", true));
    CHECK(comes_to_have(&f, SLICE, "10.9.0.2", true) && !has(&f, SLICE, "fd00::1") && !has(&f, SLICE, "not-an"));
    lease(&f, "10.9.0.0", 0); /* it ended in order */
    CHECK(comes_to_have(&f, ENDPOINTS, "10.9.0.0", false));
    CHECK(comes_to_have(&f, ENDPOINTS, "10.9.0.2", false)); /* it hung: the store let its lease go */
    CHECK(comes_to_have(&f, SLICE, "10.9.0.2", false) && has(&f, SLICE, "10.9.0.1"));
    /* Ours ends too; the last address stays. */
    kubernetes_service_leave(f.t.server);
    for (int i = 0; i < 100; i++) {
        loop_turn(f.t.loop, 5);
    }
    CHECK(has(&f, ENDPOINTS, "10.9.0.1"));
    stop(&f);
}

TEST(kubernetes_service_has_a_node_port_when_asked_and_no_endpoints_with_none)
{
    struct fix f;
    struct apiserver_config with = { .kubernetes_service_node_port = 30443, .endpoint_reconciler_type = STR("none") };
    struct err err;
    start(&f, &with);
    CHECK(has(&f, SERVICE, "\"type\":\"NodePort\"") && has(&f, SERVICE, "\"nodePort\":30443"));
    CHECK_INT(ask(&f, "GET", ENDPOINTS, "", "").status, 404);
    stop(&f);
    struct apiserver_config cfg;
    apiserver_config_defaults(&cfg);
    CHECK_OK(kubernetes_service_check(&cfg, &err), &err);
    cfg.endpoint_reconciler_type = STR("master-count");
    CHECK(!kubernetes_service_check(&cfg, &err) && str_find(str_c(err.msg), STR("use lease")) > 0);
    cfg.endpoint_reconciler_type = STR("lease");
    cfg.kubernetes_service_node_port = 70000;
    CHECK(!kubernetes_service_check(&cfg, &err));
    cfg.kubernetes_service_node_port = 0;
    cfg.advertise_address = STR("example.com");
    CHECK(!kubernetes_service_check(&cfg, &err));
}
