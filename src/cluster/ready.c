#include "cluster/ready.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/status.h"

#define POLL_MS 10
/* A program that ended this often while the cluster starts will not mend itself. */
#define TOO_MANY_RESTARTS 4
/* One that has run this long has mended itself, however often it ended before. */
#define STEADY_AFTER_S 10

static const struct status_line *failing(const struct status *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->lines[i].restarts >= TOO_MANY_RESTARTS && s->lines[i].seconds < STEADY_AFTER_S) {
            return &s->lines[i];
        }
    }
    return NULL;
}

bool ready_possible(void *arg, struct err *err)
{
    static struct status s;
    const struct cluster_config *c = arg;
    struct arena a;
    arena_init(&a, 1 << 20);
    const struct status_line *bad = NULL;
    bool ok = status_read(&c->place, &a, &s, err);
    if (ok && (bad = failing(&s)) != NULL) {
        ok = err_set(err, ERR_UNAVAILABLE, "%s on %s keeps ending", bad->name, bad->node);
    }
    arena_deinit(&a);
    return ok;
}

/* Sleeps a little. False, with the reason, when time is up or waiting is of no use. */
static bool wait_on(struct session *s, uint64_t until_ms, const char *what, const struct err *last, struct err *err)
{
    if (!session_look(s, err)) {
        return false;
    }
    if (clock_mono_ms() >= until_ms) {
        return err_set(err, ERR_TIMEOUT, "%s in time%s%s", what, last->msg[0] ? ": " : "", last->msg);
    }
    usleep(POLL_MS * 1000);
    return true;
}

bool ready_api(struct session *s, uint64_t until_ms, struct err *err)
{
    for (;;) {
        struct arena a;
        struct val answer;
        struct err why = { .code = ERR_NONE };
        int status = 0;
        arena_init(&a, 1 << 20);
        bool ok = session_ask(s, "GET", "/readyz", STR_NULL, &a, &answer, &status, &why);
        arena_deinit(&a);
        if (ok) {
            return true;
        }
        if (!wait_on(s, until_ms, "the API server was not ready", &why, err)) {
            return false;
        }
    }
}

static bool condition_is(const struct val *object, const char *type)
{
    const struct val *list = VAL_AT(object, "status", "conditions");
    for (size_t i = 0; val_is(list, VAL_ARRAY) && i < list->n; i++) {
        if (str_eq_c(val_get_str(&list->items[i], STR("type")), type)) {
            return str_eq_c(val_get_str(&list->items[i], STR("status")), "True");
        }
    }
    return false;
}

/* How many of our nodes are as they should be; 'why' says what the first other one lacks. */
static unsigned count_ready(const struct cluster_config *c, const struct val *list, struct err *why)
{
    unsigned n = 0;
    const struct val *items = val_get(list, STR("items"));
    for (unsigned node = 1; node <= c->n_nodes; node++) {
        char name[16];
        const struct val *found = NULL;
        cluster_node_name(node, name);
        for (size_t i = 0; val_is(items, VAL_ARRAY) && i < items->n; i++) {
            if (str_eq_c(VAL_STR_AT(&items->items[i], "metadata", "name"), name)) {
                found = &items->items[i];
            }
        }
        if (!found) {
            (void)err_set(why, ERR_UNAVAILABLE, "%s is not registered", name);
        } else if (str_empty(VAL_STR_AT(found, "spec", "podCIDR"))) {
            (void)err_set(why, ERR_UNAVAILABLE, "%s has no podCIDR", name);
        } else if (!condition_is(found, "Ready")) {
            (void)err_set(why, ERR_UNAVAILABLE, "%s is not Ready", name);
        } else {
            n++;
        }
    }
    return n;
}

/* A pod that comes before its images would fail first and be tried again a second later. */
static bool images_are_there(const struct cluster_config *c, struct err *why)
{
    static struct status s;
    struct arena a;
    arena_init(&a, 1 << 20);
    bool ok = status_read(&c->place, &a, &s, why);
    for (size_t i = 0; ok && i < s.n; i++) {
        if (strcmp(s.lines[i].name, "images") == 0 && strcmp(s.lines[i].state, "done") != 0) {
            ok = err_set(why, ERR_UNAVAILABLE, "%s has not loaded its images", s.lines[i].node);
        }
    }
    arena_deinit(&a);
    return ok;
}

bool ready_nodes(const struct cluster_config *c, struct session *s, uint64_t until_ms, struct err *err)
{
    for (;;) {
        struct arena a;
        struct val list;
        struct err why = { .code = ERR_NONE };
        arena_init(&a, 16 << 20);
        bool ok = session_ask(s, "GET", "/api/v1/nodes", STR_NULL, &a, &list, NULL, &why) &&
                  count_ready(c, &list, &why) == c->n_nodes && images_are_there(c, &why);
        arena_deinit(&a);
        if (ok) {
            return true;
        }
        if (!wait_on(s, until_ms, c->n_nodes == 1 ? "the node was not ready" : "the nodes were not ready", &why,
                     err)) {
            return false;
        }
    }
}

/* ---- the demo ---- */

static const char demo_deployment[] =
    "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\","
    "\"labels\":{\"app\":\"web\"}},\"spec\":{\"replicas\":2,\"selector\":{\"matchLabels\":{\"app\":\"web\"}},"
    "\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"web\","
    "\"image\":\"coracle.local/demo:1\",\"ports\":[{\"name\":\"http\",\"containerPort\":8080}],"
    "\"env\":[{\"name\":\"POD_NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}},"
    "{\"name\":\"NODE_NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.nodeName\"}}}],"
    "\"readinessProbe\":{\"tcpSocket\":{\"port\":8080},\"periodSeconds\":1}}]}}}}";
static const char demo_service[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\","
    "\"labels\":{\"app\":\"web\"}},\"spec\":{\"type\":\"NodePort\",\"selector\":{\"app\":\"web\"},"
    "\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":8080,\"nodePort\":30080}]}}";

/* Makes the object "web" of a collection unless it is there: making the Service again would fail for its port, which it has. */
static bool create(struct session *s, const char *path, const char *body, struct err *err)
{
    struct arena a;
    struct val answer;
    int status = 0;
    char name[160];
    arena_init(&a, 4 << 20);
    snprintf(name, sizeof(name), "%s/web", path);
    bool ok = session_ask(s, "GET", name, STR_NULL, &a, &answer, &status, err);
    if (!ok && status == 404) {
        ok = session_ask(s, "POST", path, str_c(body), &a, &answer, &status, err);
    }
    arena_deinit(&a);
    return ok;
}

bool ready_demo(struct session *s, uint64_t until_ms, struct err *err)
{
    while (!create(s, "/apis/apps/v1/namespaces/default/deployments", demo_deployment, err) ||
           !create(s, "/api/v1/namespaces/default/services", demo_service, err)) {
        struct err why = *err;
        if (!wait_on(s, until_ms, "the demo could not be deployed", &why, err)) {
            return false;
        }
    }
    for (;;) {
        struct arena a;
        struct val deployment;
        struct err why = { .code = ERR_NONE };
        arena_init(&a, 4 << 20);
        bool ok = session_ask(s, "GET", "/apis/apps/v1/namespaces/default/deployments/web", STR_NULL, &a, &deployment,
                              NULL, &why) &&
                  condition_is(&deployment, "Available");
        arena_deinit(&a);
        if (ok) {
            return true;
        }
        if (!wait_on(s, until_ms, "the demo's pods were not available", &why, err)) {
            return false;
        }
    }
}

/* ---- when it goes wrong ---- */

void ready_explain(const struct cluster_config *c)
{
    static struct status s;
    struct arena a;
    struct err err;
    char path[PATH_MAX];
    arena_init(&a, 1 << 20);
    if (!status_read(&c->place, &a, &s, &err)) {
        fprintf(stderr, "   The supervisor is gone. Its last words:\n");
        status_print_tail(path_of(path, "%s/logs/supervisor.log", c->place.state), 8, stderr);
        arena_deinit(&a);
        return;
    }
    status_probe(&c->place, &s);
    for (size_t i = 0; i < s.n; i++) {
        const struct status_line *l = &s.lines[i];
        if (strcmp(l->health, "ok") == 0 && l->restarts < TOO_MANY_RESTARTS) {
            continue;
        }
        fprintf(stderr, "   %s on %s: %s, started again %u times. Its last words:\n", l->name, l->node, l->health,
                l->restarts);
        status_print_tail(l->log_path, 8, stderr);
    }
    bool usual = strcmp(c->place.name, PLACE_DEFAULT_NAME) == 0;
    const char *flag = usual ? "" : " --name ", *name = usual ? "" : c->place.name;
    fprintf(stderr,
            "   It is left as it is, to look at: 'coracle status%s%s', 'coracle logs%s%s COMPONENT'. 'coracle down%s%s' ends it.\n",
            flag, name, flag, name, flag, name);
    arena_deinit(&a);
}
