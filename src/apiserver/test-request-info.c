#include "apiserver/request-info.h"
#include "base/test.h"

static struct request_info parse(struct arena *a, const char *method, const char *path, const char *query)
{
    struct request_info info;
    struct err err;
    CHECK_OK(request_info_parse(a, str_c(method), str_c(path), str_c(query), &info, &err), &err);
    return info;
}

TEST(a_path_is_read_as_group_version_namespace_resource_name_subresource)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 1 << 16);
    struct request_info i = parse(&a, "GET", "/apis/apps/v1/namespaces/n/deployments/d/scale", NULL);
    CHECK(i.is_resource);
    CHECK_STR_C(i.verb, "get");
    CHECK_STR_C(i.group, "apps");
    CHECK_STR_C(i.version, "v1");
    CHECK_STR_C(i.ns, "n");
    CHECK_STR_C(i.resource, "deployments");
    CHECK_STR_C(i.name, "d");
    CHECK_STR_C(i.subresource, "scale");
}

TEST(namespaces_are_a_resource_with_their_own_subresources)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 1 << 16);
    struct request_info i = parse(&a, "PUT", "/api/v1/namespaces/term/finalize", NULL);
    CHECK_STR_C(i.resource, "namespaces");
    CHECK_STR_C(i.name, "term");
    CHECK_STR_C(i.ns, "term");
    CHECK_STR_C(i.subresource, "finalize");
    i = parse(&a, "GET", "/api/v1/namespaces", NULL);
    CHECK_STR_C(i.resource, "namespaces");
    CHECK_STR_C(i.verb, "list");
}

TEST(verbs_come_from_method_query_and_name)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 1 << 16);
    CHECK_STR_C(parse(&a, "GET", "/api/v1/pods", "watch=1").verb, "watch");
    CHECK_STR_C(parse(&a, "GET", "/api/v1/pods", "watch=false").verb, "list");
    CHECK_STR_C(parse(&a, "DELETE", "/api/v1/namespaces/n/pods", NULL).verb, "deletecollection");
    CHECK_STR_C(parse(&a, "DELETE", "/api/v1/namespaces/n/pods/p", NULL).verb, "delete");
    CHECK_STR_C(parse(&a, "GET", "/api/v1/watch/namespaces/n/pods", NULL).verb, "watch");
    CHECK_STR_C(parse(&a, "GET", "/api/v1/pods", "fieldSelector=metadata.name%3Dw7&watch=1").name, "w7");
    CHECK(!parse(&a, "GET", "/healthz", NULL).is_resource);
    CHECK(!parse(&a, "GET", "/apis/apps/v1", NULL).is_resource);
    CHECK(!parse(&a, "GET", "/api/v1", NULL).is_resource);
}

TEST(a_parameter_whose_escapes_are_none_is_not_there)
{
    CLEANUP(arena_deinit) struct arena a;
    struct str *all;
    arena_init(&a, 1 << 16);
    CHECK_STR_C(query_get(&a, STR("x=%zz&x=b"), STR("x")), "b");
    CHECK(!query_get(&a, STR("x=%zz"), STR("x")).ptr);
    CHECK(query_get_all(&a, STR("x=%zz&x=b&%zz=c&x="), STR("x"), &all) == 2);
    CHECK_STR_C(all[0], "b");
    CHECK_STR_C(parse(&a, "GET", "/api/v1/pods", "watch=%zz&watch=1").verb, "watch");
}

TEST(what_follows_a_subresource_is_the_rest)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 1 << 16);
    struct request_info i = parse(&a, "GET", "/api/v1/namespaces/n/pods/p:80/proxy/a/b/", NULL);
    CHECK_STR_C(i.subresource, "proxy");
    CHECK_STR_C(i.rest, "a/b/");
    i = parse(&a, "GET", "/api/v1/namespaces/n/pods/p/proxy", NULL);
    CHECK(!i.rest_slash);
}
