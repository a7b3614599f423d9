/* What the tests of this room share: a kubelet without its main, pods from JSON, a little apiserver on loopback, a folder. */
#ifndef KUBELET_TEST_KUBELET_H
#define KUBELET_TEST_KUBELET_H

#include "base/test.h"
#include "kubelet/volume.h"

struct http_server;

#define TEST_ROUTES 8

/* What the apiserver answers: the first route that fits method and target. 'json' may be changed while it serves. */
struct test_route {
    const char *method, *target;
    int status;
    const char *json;
    int asked;
    char body[2048]; /* the last one that came */
};

struct test_world {
    struct kubelet k;
    struct kubelet_config config;
    struct http_server *server;
    struct test_route routes[TEST_ROUTES];
    size_t n_routes;
    struct pod *pods[4];
    size_t n_pods;
};

/* A folder of its own below /tmp is k.root. With 'apiserver' there are k.client and k.objects. */
void test_world_init(struct test_world *w, bool apiserver);
/* Unmounts and removes the folder. */
void test_world_deinit(struct test_world *w);
/* Another answer for the same route replaces the first. */
struct test_route *test_route(struct test_world *w, const char *method, const char *target, int status, const char *json);
/* A pod as if the API had shown it; its machine does not run. Owned by the world. */
struct pod *test_pod(struct test_world *w, const char *json);
/* Turns the loop until '*done', at most five seconds. */
void test_wait(struct test_world *w, const bool *done);

/* "PATH of k.root" helpers: read a file, does it exist, its permission bits (-1: it is not there), where a link leads. */
struct str test_file(struct test_world *w, struct arena *a, const char *fmt, ...) PRINTF_LIKE(3, 4);
int test_mode(struct test_world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void test_write(struct test_world *w, const char *path, const char *content);
/* Skips the test where nothing may be mounted. */
void test_needs_mounts(void);

#endif
