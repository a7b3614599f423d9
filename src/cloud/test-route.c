/* The route controller with a provider that answers late, as those do that ask over a network. */
#include "cloud/test-provider.h"

#include <stdarg.h>

struct late {
    struct cloud_call *waiting[100];
    size_t n;
    struct cloud_route routes[8];
    struct cloud_route_list list;
    char log[2048];
    bool refuses;
};
static struct late late;

static PRINTF_LIKE(1, 2) void note(const char *fmt, ...)
{
    va_list ap;
    size_t n = strlen(late.log);
    va_start(ap, fmt);
    vsnprintf(late.log + n, sizeof(late.log) - n, fmt, ap);
    va_end(ap);
}

static void hold(struct cloud_call *call)
{
    CHECK(late.n < ARRAY_SIZE(late.waiting));
    late.waiting[late.n++] = call;
}

static void late_list(void *p, struct cloud_call *call)
{
    (void)p;
    note("list ");
    hold(call);
}

static void late_create(void *p, const struct core_v1_node *n, struct str cidr, struct cloud_call *call)
{
    (void)p;
    note("create %.*s=%.*s ", STR_ARG(cidr), STR_ARG(n->metadata.name));
    hold(call);
}

static void late_remove(void *p, const struct cloud_route *r, struct cloud_call *call)
{
    (void)p;
    note("remove %.*s ", STR_ARG(r->cidr));
    hold(call);
}

/* Answers everything that waits: to lists with what there is. */
static void answer_all(bool lists)
{
    size_t n = late.n;
    late.n = 0;
    for (size_t i = 0; i < n; i++) {
        if (late.refuses && !lists) {
            cloud_call_failed(late.waiting[i], ERR_UNAVAILABLE, "the router is away");
        } else {
            cloud_call_done(late.waiting[i], lists ? &late.list : NULL);
        }
    }
}

static bool late_wanted(void *p, bool own)
{
    (void)p;
    return !own;
}

static void late_get(void *p, const struct core_v1_node *n, struct cloud_call *call)
{
    (void)p;
    (void)n;
    hold(call);
}

static const struct cloud_instances late_instances = { late_get };
static const struct cloud_routes late_routes = { late_wanted, late_list, late_create, late_remove };
static const struct cloud_provider late_provider = { .name = "late", .routes = &late_routes, .instances = &late_instances };

#define NODE(name, ip, cidr) \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"" name "\",\"resourceVersion\":\"1\"},\"spec\":{\"podCIDR\":\"" cidr "\",\"podCIDRs\":[\"" cidr \
    "\"]},\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"" ip "\"}]}}"

static void begin(struct fixture *f, struct str own)
{
    late = (struct late){ 0 };
    late.list.items = late.routes;
    cloud_settings = (struct cloud_settings){ .provider = &late_provider, .route_ms = 10000, .cluster_cidr = STR("10.244.0.0/16"), .own_node = own };
    fixture_init(f, &cloud_route_controller);
}

static const char *pass(struct fixture *f)
{
    late.log[0] = '\0';
    return fixture_pass(f, "routes");
}

TEST(missing_routes_are_made_wrong_ones_removed_and_the_conditions_say_so)
{
    struct fixture f;
    begin(&f, STR_NULL);
    fixture_put(&f, "", "v1", "nodes", NODE("n1", "10.0.0.1", "10.244.1.0/24"));
    fixture_put(&f, "", "v1", "nodes", NODE("n2", "10.0.0.2", "10.244.2.0/24"));
    late.routes[0] = (struct cloud_route){ .cidr = STR("10.244.2.0/24"), .via = STR("10.0.0.7") };  /* its node has moved */
    late.routes[1] = (struct cloud_route){ .cidr = STR("10.244.9.0/24"), .via = STR("10.0.0.9") };  /* nobody's */
    late.routes[2] = (struct cloud_route){ .cidr = STR("192.168.0.0/24"), .via = STR("10.0.0.9") }; /* not the cluster's */
    late.list.n = 3;
    CHECK(strstr(pass(&f), "PATCH") == NULL);
    CHECK_STR_C(str_c(late.log), "list ");
    pass(&f); /* it waits, and does not ask again */
    CHECK_STR_C(str_c(late.log), "");
    answer_all(true);
    pass(&f);
    CHECK_STR_C(str_c(late.log), "remove 10.244.2.0/24 remove 10.244.9.0/24 create 10.244.1.0/24=n1 create 10.244.2.0/24=n2 ");
    pass(&f);
    CHECK_STR_C(str_c(late.log), "");
    answer_all(false);
    const char *out = pass(&f);
    CHECK_STR_C(str_c(late.log), "");
    CHECK_INT(fixture_count(out, "\"status\":\"False\",\"reason\":\"RouteCreated\""), 2);
    pass(&f); /* the next look begins with what is there */
    CHECK_STR_C(str_c(late.log), "list ");
    answer_all(true);
    fixture_deinit(&f);
}

TEST(a_route_that_cannot_be_made_makes_the_network_unavailable)
{
    struct fixture f;
    begin(&f, STR_NULL);
    fixture_put(&f, "", "v1", "nodes", NODE("n1", "10.0.0.1", "10.244.1.0/24"));
    fixture_put(&f, "", "v1", "nodes", NODE("n2", "10.0.0.2", "10.99.2.0/24"));
    late.refuses = true;
    pass(&f);
    answer_all(true);
    pass(&f);
    CHECK_STR_C(str_c(late.log), "create 10.244.1.0/24=n1 ");
    answer_all(false);
    const char *out = pass(&f);
    CHECK_INT(fixture_count(out, "\"type\":\"NetworkUnavailable\",\"status\":\"True\",\"reason\":\"NoRouteCreated\""), 2);
    CHECK(strstr(out, "failed") != NULL);
    fixture_deinit(&f);
}

TEST(an_agent_makes_the_routes_to_the_others_and_tells_of_itself)
{
    struct fixture f;
    begin(&f, STR("n1"));
    fixture_put(&f, "", "v1", "nodes", NODE("n1", "10.0.0.1", "10.244.1.0/24"));
    fixture_put(&f, "", "v1", "nodes", NODE("n2", "10.0.0.2", "10.244.2.0/24"));
    pass(&f);
    answer_all(true);
    pass(&f);
    CHECK_STR_C(str_c(late.log), "create 10.244.2.0/24=n2 ");
    answer_all(false);
    const char *out = pass(&f);
    CHECK_INT(fixture_count(out, "RouteCreated"), 1);
    CHECK(strstr(out, "PATCH nodes /n1/status") != NULL);
    fixture_deinit(&f);
}

TEST(answers_to_a_controller_that_has_ended_are_dropped)
{
    struct fixture f;
    begin(&f, STR_NULL);
    fixture_put(&f, "", "v1", "nodes", NODE("n1", "10.0.0.1", "10.244.1.0/24"));
    pass(&f);
    fixture_deinit(&f);
    answer_all(true); /* the sanitizer tells whether that is right */
}

TEST(a_provider_that_does_not_answer_has_so_many_questions_and_no_more)
{
    struct fixture f;
    late = (struct late){ 0 };
    cloud_settings = (struct cloud_settings){ .provider = &late_provider, .node_status_ms = 300000 };
    fixture_init(&f, &cloud_node_controller);
    for (int i = 0; i < 90; i++) {
        char name[16], json[256];
        snprintf(name, sizeof(name), "n%d", i);
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"1\"}}", name, name);
        fixture_put(&f, "", "v1", "nodes", json);
        CHECK_STR_C(str_c(fixture_pass(&f, name)), "");
    }
    CHECK_INT(late.n, 64);
    late.refuses = true;
    cloud_call_failed(late.waiting[0], ERR_UNAVAILABLE, "no");
    CHECK(strstr(fixture_pass(&f, "n0"), "failed") != NULL);
    fixture_pass(&f, "n80"); /* there is room again */
    CHECK_INT(late.n, 65);
    for (size_t i = 1; i < 65; i++) {
        cloud_call_failed(late.waiting[i], ERR_UNAVAILABLE, "no");
    }
    fixture_deinit(&f);
}
